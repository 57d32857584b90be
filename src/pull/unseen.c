/*
 * unseen.c
 *		Conditions of a pull's statements.
 */
#include "postgres.h"

#include "base/query.h"
#include "base/spi.h"
#include "base/sqltext.h"
#include "catalog/pg_type.h"
#include "catalog/scope.h"
#include "nodes/parsenodes.h"
#include "pull/unseen.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

static Datum
bigint_array(const int64 *values, int count)
{
	Datum	   *datums = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		datums[i] = Int64GetDatum(values[i]);
	return PointerGetDatum(construct_array(datums, count, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

int
ofs_unseen_param(OfsUnseen *params, Oid type, Datum value)
{
	Assert(params->nparams < OFS_UNSEEN_PARAMS);
	params->types[params->nparams] = type;
	params->values[params->nparams] = value;
	return ++params->nparams;
}

static void
begin(OfsUnseen *params, const OfsScope *scope)
{
	ListCell   *lc;

	memset(params, 0, sizeof(*params));
	foreach(lc, scope->values)
		(void) ofs_unseen_param(params, lfirst_node(Const, lc)->consttype, lfirst_node(Const, lc)->constvalue);
}

void
ofs_unseen_begin(OfsUnseen *params, OfsView *view, bool by_version)
{
	const OfsScope *scope = ofs_scope_of(view);

	begin(params, scope);
	/*
	 * How many rows are unseen isn't worth a new plan each time, and statistics don't know about the latest anyway: a plan for some
	 * will do, where it hasn't to choose between ways to them.
	 */
	if (scope->large || (by_version && scope->rivals))
		params->options = CURSOR_OPT_CUSTOM_PLAN;
	else if (by_version)
		params->options = CURSOR_OPT_GENERIC_PLAN;
	if (scope->better)
		params->nodes = ofs_query_name(NIL, 't', "scope", scope->node);
}

void
ofs_unseen_begin_tombs(OfsUnseen *params, OfsView *view)
{
	Node	   *node = ofs_scope_of_tombs(view);

	begin(params, ofs_scope_of(view));
	if (node)
		params->nodes = ofs_query_name(NIL, 'd', "scope", node);
}

void
ofs_unseen_append_scope(StringInfo sql, const OfsUnseen *params)
{
	if (params->nodes != NIL)
		appendStringInfo(sql, " AND offsync$%c$scope", ((OfsNamedNode *) linitial(params->nodes))->alias);
}

static void
append_array(StringInfo sql, const char *column, const char *test, const int64 *values, int count,
			 OfsUnseen *params)
{
	appendStringInfo(sql, "%s %s ($%d)", column, test,
					 ofs_unseen_param(params, INT8ARRAYOID, bigint_array(values, count)));
}

static void
append_unseen(StringInfo sql, const char *column, const OfsSince *since, int64 *own, int nown, OfsUnseen *params)
{
	/* the upper bound says nothing but to the planner, which takes a range of unknown size for a small one */
	appendStringInfo(sql, "((%s OPERATOR(pg_catalog.>=) $%d AND %s OPERATOR(pg_catalog.<=) " INT64_FORMAT, column,
					 ofs_unseen_param(params, INT8OID, Int64GetDatum(since->from)), column, PG_INT64_MAX);
	if (since->nrunning > 0)
	{
		appendStringInfoString(sql, " OR ");
		append_array(sql, column, "OPERATOR(pg_catalog.=) ANY", since->running, since->nrunning, params);
	}
	appendStringInfoChar(sql, ')');
	if (nown > 0)
	{
		appendStringInfoString(sql, " AND ");
		append_array(sql, column, "OPERATOR(pg_catalog.<>) ALL", own, nown, params);
	}
	appendStringInfoChar(sql, ')');
}

void
ofs_unseen_append(StringInfo sql, const char *column, const OfsTable *table,
				  const OfsSince *since, OfsUnseen *params)
{
	int64	   *own;
	int			nown = ofs_since_own(since, table, &own);

	append_unseen(sql, column, since, own, nown, params);
}

void
ofs_unseen_append_made(StringInfo sql, const char *column, const OfsSince *since, OfsUnseen *params)
{
	int64	   *own;
	int			nown = ofs_since_own_all(since, &own);

	append_unseen(sql, column, since, own, nown, params);
}

void
ofs_unseen_append_own(StringInfo sql, const char *column, const OfsSince *since, OfsUnseen *params)
{
	int64	   *own;
	int			nown = ofs_since_own_all(since, &own);

	append_array(sql, column, "OPERATOR(pg_catalog.=) ANY", own, nown, params);
}

void
ofs_unseen_append_gone(StringInfo sql, const OfsTable *table, bool tombstone, char alias)
{
	AttrNumber	attnum = table->soft_delete;

	if (attnum == InvalidAttrNumber)
	{
		appendStringInfoString(sql, "false");
		return;
	}
	if (tombstone)
		attnum = get_attnum(table->tombstone, get_attname(table->relid, attnum, false));
	appendStringInfo(sql, "(offsync$%c$%d IS NOT NULL)", alias, attnum);
}

void
ofs_unseen_append_told(StringInfo sql, const OfsTable *table, const OfsSince *since, OfsUnseen *params)
{
	if (table->soft_delete == InvalidAttrNumber)
		return;
	appendStringInfoString(sql, " AND NOT (");
	ofs_unseen_append_gone(sql, table, false, 't');
	appendStringInfoString(sql, " AND NOT ");
	ofs_unseen_append(sql, "offsync$version", table, since, params);
	appendStringInfoChar(sql, ')');
}

void
ofs_unseen_append_deleted(StringInfo sql, OfsView *view, const OfsSince *since, bool soft_rows, bool some, OfsUnseen *params)
{
	const OfsTable *table = view->table;
	StringInfoData keys;
	bool		same = true;

	ofs_unseen_begin_tombs(params, view);
	initStringInfo(&keys);
	for (int i = 0; i < table->nkey; i++)
	{
		appendStringInfo(&keys, "%sd.%s", i > 0 ? ", " : "",
						 quote_identifier(get_attname(table->relid, table->key[i], false)));
		same = same && ofs_equal_is_same(table->relid, table->key[i]);
	}
	appendStringInfoString(sql, "SELECT DISTINCT ");
	/* ids, not keys: two that are equal may be spelt differently */
	if (!same)
		appendStringInfo(sql, "ON (ROW(%s)) ", keys.data);
	appendStringInfo(sql, "%s FROM %s d WHERE ", keys.data, ofs_relation_name(table->tombstone));
	ofs_unseen_append(sql, "d." OFS_TOMB_VERSION, table, since, params);
	ofs_unseen_append_scope(sql, params);
	/* a row made and gone in one push only its own device has */
	if (since->kind == OFS_SINCE_EXACT)
	{
		appendStringInfo(sql, " AND ((offsync$d$%d OPERATOR(pg_catalog.<>) d." OFS_TOMB_VERSION ") IS NOT FALSE OR ",
						 get_attnum(table->tombstone, OFS_TOMB_CREATED));
		ofs_unseen_append_own(sql, "d." OFS_TOMB_VERSION, since, params);
		appendStringInfoChar(sql, ')');
	}
	/*
	 * Of an EXISTS the planner makes a join, and guesses that nothing is left of it.  Where only some are wanted it must know
	 * that nearly each is one, and look for no more rows than it needs.
	 */
	appendStringInfo(sql, some ? " AND (SELECT CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) 0 THEN true END FROM %s t WHERE " :
					 " AND NOT EXISTS (SELECT FROM %s t WHERE ", ofs_relation_name(table->relid));
	ofs_append_key_match(sql, "t", "d", table->relid, table->nkey, table->key, table->key_types);
	if (!soft_rows)
		ofs_unseen_append_told(sql, table, since, params);
	appendStringInfoString(sql, some ? ") IS NOT NULL" : ")");
	if (!same)
		appendStringInfo(sql, " ORDER BY ROW(%s) USING OPERATOR(pg_catalog.*<)", keys.data);
}

void
ofs_unseen_append_id(StringInfo sql, const OfsTable *table, const char *id, OfsUnseen *params)
{
	Datum	   *parts = palloc(sizeof(Datum) * table->nkey);

	ofs_key_read(ofs_key_create(table->nkey, table->key_types, table->key_typmods), id, parts);
	for (int i = 0; i < table->nkey; i++)
	{
		char	   *left = psprintf("t.%s", quote_identifier(get_attname(table->relid, table->key[i], false)));
		char	   *right = psprintf("$%d::%s", ofs_unseen_param(params, getBaseType(table->key_types[i]), parts[i]),
									 ofs_base_type_name(table->key_types[i]));

		appendStringInfoString(sql, i > 0 ? " AND " : "");
		ofs_append_equal(sql, left, right, table->key_types[i]);
		ofs_append_same(sql, left, right, table->relid, table->key[i]);
	}
}

uint64
ofs_unseen_run(const char *sql, const OfsUnseen *params, DestReceiver *dest)
{
	SPIPlanPtr	plan = ofs_query_keep_named(sql, params->nparams, params->types, params->nodes, params->options);

	return ofs_query_run(plan, params->nparams, params->types, params->values, NULL, true, dest);
}

char *
ofs_unseen_open(const char *sql, const OfsUnseen *params)
{
	SPIPlanPtr	plan = ofs_query_keep_named(sql, params->nparams, params->types, params->nodes, params->options);

	return ofs_query_open(plan, params->nparams, params->types, params->values);
}
