/*
 * expose.c
 *		offsync.expose: the calls of clients, in the schema that PostgREST publishes.
 *
 * Thin wrappers with the names and arguments that clients send.  Their bodies are parsed when they are
 * created, so that they need no search_path, come through a dump, and go with the extension.
 *
 * Drift apps have two calls of their own (dialect/drift.c).  They tell nothing of what they have seen but a time, so only
 * last_write_wins suits their tables, and of those that don't they are warned about.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/codec.h"
#include "base/spi.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "catalog/synced.h"
#include "fmgr.h"
#include "funcapi.h"
#include "setup/setup.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(offsync_expose);

typedef struct Wrapper
{
	const char *name;			/* behind the prefix */
	const char *calls;			/* in schema offsync */
	const char *identity;		/* arguments, as pg_get_function_identity_arguments() writes them */
	const char *arguments;
	const char *volatility;
	const char *comment;
} Wrapper;

static const Wrapper ours[] = {
	{
		"pull_changes", "pull_changes",
		"last_pulled_at text, schema_version integer, migration jsonb, collections text[], client_id text, created_as_updated boolean, filters json, max_rows integer",
		"last_pulled_at text DEFAULT NULL, schema_version int DEFAULT NULL, migration jsonb DEFAULT NULL, "
		"collections text[] DEFAULT NULL, client_id text DEFAULT NULL, created_as_updated boolean DEFAULT false, "
		"filters json DEFAULT NULL, max_rows int DEFAULT NULL",
		"STABLE",
		"Everything that changed for the caller since last_pulled_at."
	},
	{
		"push_changes", "push_changes",
		"changes json, last_pulled_at text, client_id text, push_id text, on_error text",
		"changes json, last_pulled_at text DEFAULT NULL, client_id text DEFAULT NULL, push_id text DEFAULT NULL, "
		"on_error text DEFAULT 'abort'",
		"VOLATILE",
		"Store a device's changes: all or nothing, or (on_error => 'skip') all that can be stored."
	},
	{
		"sync_changes", "sync_changes",
		"changes json, last_pulled_at text, collections text[], client_id text, push_id text, on_error text, created_as_updated boolean, schema_version integer, migration jsonb, filters json, max_rows integer",
		"changes json, last_pulled_at text DEFAULT NULL, collections text[] DEFAULT NULL, client_id text DEFAULT NULL, "
		"push_id text DEFAULT NULL, on_error text DEFAULT 'abort', created_as_updated boolean DEFAULT false, "
		"schema_version int DEFAULT NULL, migration jsonb DEFAULT NULL, filters json DEFAULT NULL, "
		"max_rows int DEFAULT NULL",
		"VOLATILE",
		"Store a device's changes, then answer everything that changed for the caller since last_pulled_at."
	},
	{
		"digest", "digest",
		"collections text[], buckets integer, versions boolean, filters json",
		"collections text[] DEFAULT NULL, buckets int DEFAULT 1, versions boolean DEFAULT true, filters json DEFAULT NULL",
		"STABLE",
		"What the caller sees, in a few numbers that a device computes, too."
	},
	{
		"reconcile", "reconcile",
		"device json, last_pulled_at text, filters json",
		"device json, last_pulled_at text DEFAULT NULL, filters json DEFAULT NULL",
		"STABLE",
		"The changes that make what a device holds what the caller sees."
	},
};

/* With the names and in the order that the client's own server has them. */
static const Wrapper drifts[] = {
	{
		"pull_changes", "drift_pull",
		"collections text[], last_pulled_at text",
		"collections text[], last_pulled_at text",
		"STABLE",
		"Everything that changed for the caller since last_pulled_at."
	},
	{
		"push_changes", "drift_push",
		"_changes json, last_pulled_at text",
		"_changes json, last_pulled_at text",
		"VOLATILE",
		"Store a device's changes; answers the time to pull from next."
	},
};

typedef struct ExposeRequest
{
	Oid			schema;
	char	   *dialect;
	char	   *prefix;
	bool		replace;
	bool		drift;
	char	   *tombstones;		/* drift: "ids" or "rows" */
	ArrayType  *server_columns; /* drift: what pushes don't write */
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

static char *
literal_list(ArrayType *names)
{
	StringInfoData list;
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	initStringInfo(&list);
	deconstruct_array(names, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("server_columns must not contain nulls")));
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", quote_literal_cstr(NameStr(*DatumGetName(elements[i]))));
	}
	return psprintf("ARRAY[%s]::pg_catalog.text[]", list.data);
}

/* "a => a, b => b" of the arguments' names, and what the dialect adds. */
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
	if (!request->drift)
		appendStringInfo(&buf, ", dialect => %s", quote_literal_cstr(request->dialect));
	else if (strcmp(wrapper->calls, "drift_pull") == 0)
		appendStringInfo(&buf, ", tombstones => %s", quote_literal_cstr(request->tombstones));
	else
		appendStringInfo(&buf, ", server_columns => %s", literal_list(request->server_columns));
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
				wrapper->calls, pass_arguments(request, wrapper));
	ofs_spi_run(false, "COMMENT ON FUNCTION %s(%s) IS %s", qualified, wrapper->identity,
				quote_literal_cstr(wrapper->comment));
	ofs_answer_say(request->answer, "function", "%s(%s)", qualified, wrapper->identity);
}

/* ---------- what suits Drift ---------- */

static void
warn(const ExposeRequest *request, const OfsTable *table, const char *problem)
{
	ofs_answer_say(request->answer, "warning", "%s: %s", ofs_relation_name(table->relid), problem);
}

static bool
is_instant(const OfsTable *table, AttrNumber attnum)
{
	return attnum == InvalidAttrNumber || get_atttype(table->relid, attnum) == TIMESTAMPTZOID;
}

static bool
has_default(Oid relid, const char *column)
{
	AttrNumber	attnum = get_attnum(relid, column);
	HeapTuple	tuple;
	bool		result;

	if (attnum == InvalidAttrNumber)
		return true;
	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid), Int16GetDatum(attnum));
	if (!HeapTupleIsValid(tuple))
		return true;
	result = ((Form_pg_attribute) GETSTRUCT(tuple))->atthasdef || !((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;
	ReleaseSysCache(tuple);
	return result;
}

/* What is not as such a client takes it. */
static void
check_table(const ExposeRequest *request, const OfsTable *table)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	if (strcmp(table->conflict, "last_write_wins") != 0)
		warn(request, table, psprintf("its conflict strategy is \"%s\", but these clients merge by the column that they date"
									  " their changes in: enable it with conflict => 'last_write_wins', updated_at => 'updated_at'",
									  table->conflict));
	if (!is_instant(table, table->client_updated_at) || !is_instant(table, table->soft_delete))
		warn(request, table, "updated_at and soft_delete should be columns of type timestamp with time zone: "
			 "these clients take anything else for a time of their own zone, or not at all");
	if (table->soft_delete == InvalidAttrNumber && strcmp(request->tombstones, "rows") == 0)
		warn(request, table, "it has no soft_delete column, so that deletions are told of as ids, not as rows");
	deconstruct_array(request->server_columns, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (!has_default(table->relid, NameStr(*DatumGetName(elements[i]))))
			warn(request, table, psprintf("column \"%s\" is NOT NULL, and nobody writes it: give it a default",
										  NameStr(*DatumGetName(elements[i]))));
	}
}

static void
check_drift(const ExposeRequest *request)
{
	ListCell   *lc;

	if (strcmp(request->tombstones, "ids") != 0 && strcmp(request->tombstones, "rows") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown value \"%s\" for tombstones", request->tombstones),
				 errhint("Choose one of \"ids\", \"rows\".")));
	foreach(lc, ofs_table_list())
		check_table(request, lfirst(lc));
}

/* ---------- the call ---------- */

static void
expose(void *arg)
{
	ExposeRequest *request = arg;
	const Wrapper *wrappers = request->drift ? drifts : ours;
	int			count = request->drift ? lengthof(drifts) : lengthof(ours);

	check_schema(request->schema);
	if (!request->drift)
		(void) ofs_dialect_parse_or(request->dialect, ", drift");
	for (int i = 0; i < count; i++)
		create_wrapper(request, &wrappers[i]);
	if (request->drift)
		check_drift(request);
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
	ExposeRequest request = {0};

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < (int) lengthof(arguments); i++)
		require_value(fcinfo, i, arguments[i]);
	request.schema = PG_GETARG_OID(0);
	request.dialect = text_to_cstring(PG_GETARG_TEXT_PP(1));
	request.prefix = text_to_cstring(PG_GETARG_TEXT_PP(2));
	request.replace = PG_GETARG_BOOL(3);
	request.drift = strcmp(request.dialect, "drift") == 0;
	if (!request.drift && !(PG_ARGISNULL(4) && PG_ARGISNULL(5)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tombstones and server_columns are options of the dialect \"drift\"")));
	request.tombstones = PG_ARGISNULL(4) ? pstrdup("ids") : text_to_cstring(PG_GETARG_TEXT_PP(4));
	if (request.drift)
		request.server_columns = PG_ARGISNULL(5) ?
			default_columns() : PG_GETARG_ARRAYTYPE_P(5);
	request.answer = (ReturnSetInfo *) fcinfo->resultinfo;
	ofs_work_run(expose, &request, false);
	return (Datum) 0;
}
