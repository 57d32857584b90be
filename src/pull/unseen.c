/*
 * unseen.c
 *		Conditions of a pull's statements.
 */
#include "postgres.h"

#include "base/query.h"
#include "catalog/pg_type.h"
#include "pull/unseen.h"
#include "utils/array.h"
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
ofs_unseen_run(const char *sql, const OfsUnseen *params, DestReceiver *dest)
{
	SPIPlanPtr	plan = ofs_query_keep(sql, params->nparams, params->types);

	(void) ofs_query_run(plan, params->nparams, params->types, params->values, NULL, true, dest);
}
