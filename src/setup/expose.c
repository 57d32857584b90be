/*
 * expose.c
 *		offsync.expose: the calls of clients, in the schema that PostgREST publishes.
 *
 * Thin wrappers with the names and arguments that clients send.  Their bodies are parsed when they are
 * created, so that they need no search_path, come through a dump, and go with the extension.
 *
 * What a dialect is made of, expose.h says.
 */
#include "postgres.h"

#include "base/spi.h"
#include "catalog/pg_type.h"
#include "catalog/synced.h"
#include "fmgr.h"
#include "funcapi.h"
#include "setup/expose.h"
#include "setup/setup.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(offsync_expose);

static const OfsExposeDialect *const dialects[] = {
	&ofs_expose_watermelondb,
	&ofs_expose_json,
	&ofs_expose_drift,
	&ofs_expose_rest,
	&ofs_expose_pocketbase,
	&ofs_expose_messages,
	&ofs_expose_crdt,
};

static void
check_schema(Oid schema)
{
	char	   *name = get_namespace_name(schema);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("schema with OID %u does not exist", schema)));
	else if (strncmp(name, "pg_", 3) == 0 || strcmp(name, "information_schema") == 0 ||
			 strcmp(name, "offsync") == 0 || strcmp(name, "offsync_internal") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot expose anything in schema \"%s\"", name),
				 errhint("Name a schema of your own, which PostgREST publishes.")));
}

/*
 * PostgREST tells overloads apart by their arguments' names only, so there may be just one, beside those (pgcrypto's
 * digest) that it can't call because their arguments have no names.
 */
static void
check_name(const OfsExposeRequest *request, const OfsWrapper *wrapper, const char *name)
{
	uint64		count;

	count = ofs_spi_run(true,
						"SELECT p.oid::pg_catalog.regprocedure, p.prokind OPERATOR(pg_catalog.=) 'f'"
						" AND pg_catalog.pg_get_function_identity_arguments(p.oid) OPERATOR(pg_catalog.=) %s"
						" FROM pg_catalog.pg_proc p WHERE p.pronamespace OPERATOR(pg_catalog.=) %u"
						" AND p.proname OPERATOR(pg_catalog.=) %s"
						" AND (p.proargnames IS NOT NULL OR p.pronargs OPERATOR(pg_catalog.<) 2) ORDER BY 2, p.oid",
						quote_literal_cstr(wrapper->identity), request->schema,
						quote_literal_cstr(name));
	for (uint64 i = 0; i < count; i++)
	{
		bool		isnull;
		bool		same = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull));

		if (same && request->replace)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_FUNCTION),
				 errmsg("function %s exists already", SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1)),
				 same ? errhint("Repeat with replace => true, or choose a prefix.")
				 : errhint("PostgREST couldn't tell the two apart. Choose a prefix, another schema, or drop the function.")));
	}
}

/* "a => a, b => b" of the arguments' names ($1 for one without, which comes first), and what the dialect adds. */
static char *
pass_arguments(const OfsExposeRequest *request, const OfsWrapper *wrapper)
{
	StringInfoData buf;
	char	   *copy = pstrdup(wrapper->identity);
	char	   *state;
	int			unnamed = 0;

	initStringInfo(&buf);
	for (char *part = strtok_r(copy, ",", &state); part; part = strtok_r(NULL, ",", &state))
	{
		int			len;

		part += strspn(part, " ");
		len = strcspn(part, " ");
		if (part[len] == '\0')
			appendStringInfo(&buf, "%s$%d", buf.len > 0 ? ", " : "", ++unnamed);
		else
			appendStringInfo(&buf, "%s%.*s => %.*s", buf.len > 0 ? ", " : "", len, part, len, part);
	}
	if (request->dialect->pass)
		request->dialect->pass(request, wrapper, &buf);
	return buf.data;
}

static void
create_wrapper(const OfsExposeRequest *request, const OfsWrapper *wrapper)
{
	char	   *name = psprintf("%s%s", request->prefix, wrapper->name);
	char	   *qualified;

	if (strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("function name \"%s\" is too long", name),
				 errhint("Choose a shorter prefix.")));
	check_name(request, wrapper, name);
	qualified = quote_qualified_identifier(get_namespace_name(request->schema), name);
	ofs_spi_run(false, "CREATE %sFUNCTION %s(%s) RETURNS %s LANGUAGE sql %s"
				" BEGIN ATOMIC SELECT offsync.%s(%s); END",
				request->replace ? "OR REPLACE " : "", qualified, wrapper->arguments,
				wrapper->returns ? wrapper->returns : "json", wrapper->volatility,
				wrapper->calls, pass_arguments(request, wrapper));
	ofs_spi_run(false, "COMMENT ON FUNCTION %s(%s) IS %s", qualified, wrapper->identity,
				quote_literal_cstr(wrapper->comment));
	ofs_answer_say(request->answer, "function", "%s(%s)", qualified, wrapper->identity);
}

void
ofs_expose_warn(const OfsExposeRequest *request, const OfsTable *table, const char *problem)
{
	ofs_answer_say(request->answer, "warning", "%s: %s", ofs_relation_name(table->relid), problem);
}

/* ---------- the call ---------- */

static const OfsExposeDialect *
find_dialect(const char *name)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < (int) lengthof(dialects); i++)
	{
		if (strcmp(name, dialects[i]->name) == 0)
			return dialects[i];
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", dialects[i]->name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown dialect \"%s\"", name),
			 errhint("Valid dialects are: %s.", names.data)));
	return NULL;				/* not reached */
}

static void
expose(void *arg)
{
	OfsExposeRequest *request = arg;
	const OfsExposeDialect *dialect = request->dialect;
	ListCell   *lc;

	check_schema(request->schema);
	if (dialect->check)
		dialect->check(request);
	for (int i = 0; i < dialect->count; i++)
		create_wrapper(request, &dialect->wrappers[i]);
	if (dialect->make)
		dialect->make(request);
	if (dialect->suits)
	{
		foreach(lc, ofs_table_list())
			dialect->suits(request, lfirst(lc));
	}
	ofs_answer_say(request->answer, "next", "NOTIFY pgrst, 'reload schema'");
}

static void
require_value(FunctionCallInfo fcinfo, int n, const char *argument)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", argument)));
}

/* Whose row it is, the server says. */
static ArrayType *
default_columns(void)
{
	Datum		name = DirectFunctionCall1(namein, CStringGetDatum("user_id"));

	return construct_array(&name, 1, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR);
}

/* schema, dialect, prefix, replace, tombstones, server_columns; the last two are the dialect drift's. */
Datum
offsync_expose(PG_FUNCTION_ARGS)
{
	static const char *const arguments[] = {"schema", "dialect", "prefix", "replace"};
	OfsExposeRequest request = {0};
	bool		drift;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < (int) lengthof(arguments); i++)
		require_value(fcinfo, i, arguments[i]);
	request.schema = PG_GETARG_OID(0);
	request.dialect = find_dialect(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	request.prefix = text_to_cstring(PG_GETARG_TEXT_PP(2));
	request.replace = PG_GETARG_BOOL(3);
	drift = request.dialect == &ofs_expose_drift;
	if (!drift && !(PG_ARGISNULL(4) && PG_ARGISNULL(5)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tombstones and server_columns are options of the dialect \"drift\"")));
	request.tombstones = PG_ARGISNULL(4) ? pstrdup("ids") : text_to_cstring(PG_GETARG_TEXT_PP(4));
	if (drift)
		request.server_columns = PG_ARGISNULL(5) ?
			default_columns() : PG_GETARG_ARRAYTYPE_P(5);
	request.answer = (ReturnSetInfo *) fcinfo->resultinfo;
	ofs_work_run(expose, &request, false);
	return (Datum) 0;
}
