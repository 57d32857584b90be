/*
 * expose.c
 *		offsync.expose: the calls of clients, in the schema that PostgREST publishes.
 *
 * Thin wrappers with the names and arguments that clients send.  Their bodies are parsed when they are
 * created, so that they need no search_path, come through a dump, and go with the extension.
 */
#include "postgres.h"

#include "base/codec.h"
#include "base/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(offsync_expose);

typedef struct Wrapper
{
	const char *name;			/* behind the prefix */
	const char *identity;		/* arguments, as pg_get_function_identity_arguments() writes them */
	const char *arguments;
	const char *volatility;
	const char *comment;
} Wrapper;

static const Wrapper wrappers[] = {
	{
		"pull_changes",
		"last_pulled_at text, schema_version integer, migration jsonb, collections text[], client_id text, created_as_updated boolean, filters json, max_rows integer",
		"last_pulled_at text DEFAULT NULL, schema_version int DEFAULT NULL, migration jsonb DEFAULT NULL, "
		"collections text[] DEFAULT NULL, client_id text DEFAULT NULL, created_as_updated boolean DEFAULT false, "
		"filters json DEFAULT NULL, max_rows int DEFAULT NULL",
		"STABLE",
		"Everything that changed for the caller since last_pulled_at."
	},
	{
		"push_changes",
		"changes json, last_pulled_at text, client_id text, push_id text, on_error text",
		"changes json, last_pulled_at text DEFAULT NULL, client_id text DEFAULT NULL, push_id text DEFAULT NULL, "
		"on_error text DEFAULT 'abort'",
		"VOLATILE",
		"Store a device's changes: all or nothing, or (on_error => 'skip') all that can be stored."
	},
	{
		"sync_changes",
		"changes json, last_pulled_at text, collections text[], client_id text, push_id text, on_error text, created_as_updated boolean, schema_version integer, migration jsonb, filters json, max_rows integer",
		"changes json, last_pulled_at text DEFAULT NULL, collections text[] DEFAULT NULL, client_id text DEFAULT NULL, "
		"push_id text DEFAULT NULL, on_error text DEFAULT 'abort', created_as_updated boolean DEFAULT false, "
		"schema_version int DEFAULT NULL, migration jsonb DEFAULT NULL, filters json DEFAULT NULL, "
		"max_rows int DEFAULT NULL",
		"VOLATILE",
		"Store a device's changes, then answer everything that changed for the caller since last_pulled_at."
	},
	{
		"digest",
		"collections text[], buckets integer, versions boolean, filters json",
		"collections text[] DEFAULT NULL, buckets int DEFAULT 1, versions boolean DEFAULT true, filters json DEFAULT NULL",
		"STABLE",
		"What the caller sees, in a few numbers that a device computes, too."
	},
	{
		"reconcile",
		"device json, last_pulled_at text, filters json",
		"device json, last_pulled_at text DEFAULT NULL, filters json DEFAULT NULL",
		"STABLE",
		"The changes that make what a device holds what the caller sees."
	},
};

typedef struct ExposeRequest
{
	Oid			schema;
	char	   *dialect;
	char	   *prefix;
	bool		replace;
	ReturnSetInfo *answer;
} ExposeRequest;

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
check_name(const ExposeRequest *request, const Wrapper *wrapper, const char *name)
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

/* "a => a, b => b" of the arguments' names, and the dialect. */
static char *
pass_arguments(const ExposeRequest *request, const Wrapper *wrapper)
{
	StringInfoData buf;
	char	   *copy = pstrdup(wrapper->identity);
	char	   *state;

	initStringInfo(&buf);
	for (char *part = strtok_r(copy, ",", &state); part; part = strtok_r(NULL, ",", &state))
	{
		int			len;

		part += strspn(part, " ");
		len = strcspn(part, " ");
		appendStringInfo(&buf, "%s%.*s => %.*s", buf.len > 0 ? ", " : "", len, part, len, part);
	}
	appendStringInfo(&buf, ", dialect => %s", quote_literal_cstr(request->dialect));
	return buf.data;
}

static void
create_wrapper(const ExposeRequest *request, const Wrapper *wrapper)
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
	ofs_spi_run(false, "CREATE %sFUNCTION %s(%s) RETURNS json LANGUAGE sql %s"
				" BEGIN ATOMIC SELECT offsync.%s(%s); END",
				request->replace ? "OR REPLACE " : "", qualified, wrapper->arguments, wrapper->volatility,
				wrapper->name, pass_arguments(request, wrapper));
	ofs_spi_run(false, "COMMENT ON FUNCTION %s(%s) IS %s", qualified, wrapper->identity,
				quote_literal_cstr(wrapper->comment));
	ofs_answer_say(request->answer, "function", "%s(%s)", qualified, wrapper->identity);
}

static void
expose(void *arg)
{
	ExposeRequest *request = arg;

	check_schema(request->schema);
	(void) ofs_dialect_parse(request->dialect);
	for (int i = 0; i < (int) lengthof(wrappers); i++)
		create_wrapper(request, &wrappers[i]);
	ofs_answer_say(request->answer, "next", "NOTIFY pgrst, 'reload schema'");
}

Datum
offsync_expose(PG_FUNCTION_ARGS)
{
	ExposeRequest request;

	InitMaterializedSRF(fcinfo, 0);
	request.schema = PG_GETARG_OID(0);
	request.dialect = text_to_cstring(PG_GETARG_TEXT_PP(1));
	request.prefix = text_to_cstring(PG_GETARG_TEXT_PP(2));
	request.replace = PG_GETARG_BOOL(3);
	request.answer = (ReturnSetInfo *) fcinfo->resultinfo;
	ofs_work_run(expose, &request, false);
	return (Datum) 0;
}
