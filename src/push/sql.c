/*
 * sql.c
 *		Texts of the statements that a push runs as its caller.
 *
 * In all of them "t" is the synced table and "n" the pushed records: ord (their place in the
 * batch), b (the version that the row must still have), k1.. (the key), v1.. (values, numbered by
 * column).  For one record alone these are parameters, but for ord: $1 is the version, then come the key and
 * the values.  Every name is qualified, every operator too: the search_path is the caller's, and
 * stays so because the owner's triggers run inside these statements.
 */
#include "postgres.h"

#include "base/spi.h"
#include "base/sqltext.h"
#include "catalog/pg_type.h"
#include "push/push.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

/* The ctid of "t", which needs no privilege. */
#define PLACE "offsync$place"

/* A part of the record's key.  A parameter has the collation of its type, which may not be the column's. */
static char *
pushed_key(const PushTable *table, int k, bool alone)
{
	Oid			collation = table->key_collations[k];

	if (!alone)
		return psprintf("n.k%d", k + 1);
	if (collation == get_typcollation(table->table->key_types[k]))
		return psprintf("$%d", k + 2);
	return psprintf("($%d COLLATE %s)", k + 2, generate_collation_name(collation));
}

/* The value of a column, the at'th of the values. */
static void
append_pushed_value(StringInfo sql, const PushTable *table, int column, int at, bool alone)
{
	if (alone)
		appendStringInfo(sql, "$%d", table->table->nkey + 2 + at);
	else
		appendStringInfo(sql, "n.v%d", column + 1);
}

/* What the table is joined with. */
static void
append_pushed(StringInfo sql, const char *before, const char *after, bool alone)
{
	if (!alone)
		appendStringInfo(sql, "%s%s AS n%s", before, quote_identifier(PUSH_RELATION), after);
}

/* "AND"ed comparisons of the record's key with that of the table aliased so. */
static void
append_key_match(StringInfo sql, const PushTable *table, const char *alias, bool alone)
{
	const OfsTable *synced = table->table;

	for (int i = 0; i < synced->nkey; i++)
	{
		appendStringInfoString(sql, i > 0 ? " AND " : "");
		ofs_append_equal(sql, psprintf("%s.%s", alias, quote_identifier(table->key_names[i])),
						 pushed_key(table, i, alone), synced->key_types[i]);
	}
}

/* The row is still the one that was read; a stamp column that was there before may hold NULL. */
static void
append_version_match(StringInfo sql, bool alone)
{
	const char *version = alone ? "$1" : "n.b";

	appendStringInfo(sql, " AND (offsync$version OPERATOR(pg_catalog.=) %s"
					 " OR (offsync$version IS NULL AND %s IS NULL))%s",
					 version, version, alone ? "" : " RETURNING n.ord");
}

/* A column that every push compares, whether the caller may read it or not. */
static void
append_hidden(StringInfo sql, AttrNumber attnum, const char *type)
{
	if (attnum != InvalidAttrNumber)
		appendStringInfo(sql, ", offsync$t$%d", attnum);
	else
		appendStringInfo(sql, ", NULL::pg_catalog.%s", type);
}

/* A row whose id is spelt otherwise isn't the one that was sent. */
static void
append_spelling(StringInfo sql, const PushTable *table, bool alone)
{
	for (int i = 0; i < table->table->nkey; i++)
		ofs_append_same(sql, psprintf("t.%s", quote_identifier(table->key_names[i])), pushed_key(table, i, alone),
						table->table->relid, table->table->key[i]);
}

/* Rows of the records' keys: what PUSH_ROW_* say, then all columns that the caller may read. */
char *
ofs_sql_read(const PushTable *table, bool alone)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s, offsync$version", alone ? "0" : "n.ord");
	append_hidden(&sql, table->table->soft_delete, "timestamptz");
	append_hidden(&sql, table->table->client_updated_at, "timestamptz");
	append_hidden(&sql, table->table->history, "text[]");
	if (table->table->clocks)
	{
		append_hidden(&sql, table->table->clocks, "text[]");
		append_hidden(&sql, table->table->updated_at, "timestamptz");
	}
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].position < 0)
			continue;
		appendStringInfoString(&sql, ", t.");
		appendStringInfoString(&sql, quote_identifier(table->columns[i].name));
	}
	appendStringInfoString(&sql, " FROM ");
	append_pushed(&sql, "", " JOIN ", alone);
	appendStringInfo(&sql, "%s AS t %s ", table->relation, alone ? "WHERE" : "ON");
	append_key_match(&sql, table, "t", alone);
	append_spelling(&sql, table, alone);
	return sql.data;
}

/* The place of one record's row: to read all of it by a statement takes longer than to look at it there. */
char *
ofs_sql_place(const PushTable *table)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT " PLACE " FROM %s AS t WHERE ", table->relation);
	append_key_match(&sql, table, "t", true);
	append_spelling(&sql, table, true);
	return sql.data;
}

/* Tombstones of the records' keys: ord, version, time. */
char *
ofs_sql_buried(const PushTable *table, bool alone)
{
	StringInfoData sql;

	initStringInfo(&sql);
	/* when a row was deleted, only strategies are told */
	appendStringInfo(&sql, "SELECT %s, d." OFS_TOMB_VERSION ", offsync$d$%d FROM ",
					 alone ? "0" : "n.ord", get_attnum(table->table->tombstone, OFS_TOMB_AT));
	append_pushed(&sql, "", " JOIN ", alone);
	appendStringInfo(&sql, "%s AS d %s ", ofs_relation_name(table->table->tombstone), alone ? "WHERE" : "ON");
	append_key_match(&sql, table, "d", alone);
	return sql.data;
}

char *
ofs_sql_update(const PushTable *table, const Bitmapset *columns, bool alone, bool placed)
{
	StringInfoData sql;
	int			at = 0;
	int			i = -1;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS t SET ", table->relation);
	while ((i = bms_next_member(columns, i)) >= 0)
	{
		appendStringInfo(&sql, "%s%s = ", at > 0 ? ", " : "", quote_identifier(table->columns[i].name));
		append_pushed_value(&sql, table, i, at++, alone);
	}
	append_pushed(&sql, " FROM ", "", alone);
	appendStringInfoString(&sql, " WHERE ");
	if (placed)
		appendStringInfo(&sql, PLACE " OPERATOR(pg_catalog.=) $%d AND ", table->table->nkey + 2 + at);
	append_key_match(&sql, table, "t", alone);
	append_version_match(&sql, alone);
	return sql.data;
}

/*
 * No conflict target: with one, the SELECT policies would be enforced on new rows, and a caller
 * who may insert what it may not read would be refused.
 */
char *
ofs_sql_insert(const PushTable *table, const Bitmapset *columns, bool plain, bool alone)
{
	StringInfoData sql;
	StringInfoData values;
	int			at = 0;
	int			i = -1;

	initStringInfo(&sql);
	initStringInfo(&values);
	appendStringInfo(&sql, "INSERT INTO %s (", table->relation);
	for (int k = 0; k < table->table->nkey; k++)
	{
		appendStringInfo(&sql, "%s%s", k > 0 ? ", " : "", quote_identifier(table->key_names[k]));
		appendStringInfo(&values, "%s%s", k > 0 ? ", " : "", pushed_key(table, k, alone));
	}
	while ((i = bms_next_member(columns, i)) >= 0)
	{
		appendStringInfo(&sql, ", %s", quote_identifier(table->columns[i].name));
		appendStringInfoString(&values, ", ");
		append_pushed_value(&values, table, i, at++, alone);
	}
	appendStringInfo(&sql, ")%s SELECT %s", table->overriding ? " OVERRIDING SYSTEM VALUE" : "", values.data);
	/* a tuplestore is read in its order, which is the payload's */
	append_pushed(&sql, " FROM ", "", alone);
	appendStringInfoString(&sql, plain ? "" : " ON CONFLICT DO NOTHING");
	return sql.data;
}

/* Where the table has a soft_delete column, a deletion is an update of that. */
char *
ofs_sql_delete(const PushTable *table, bool alone)
{
	StringInfoData sql;

	initStringInfo(&sql);
	if (table->table->soft_delete == InvalidAttrNumber)
	{
		appendStringInfo(&sql, "DELETE FROM %s AS t", table->relation);
		append_pushed(&sql, " USING ", "", alone);
	}
	else
	{
		char	   *column = get_attname(table->table->relid, table->table->soft_delete, false);
		Oid			type = get_atttype(table->table->relid, table->table->soft_delete);

		appendStringInfo(&sql, "UPDATE %s AS t SET %s = %s", table->relation, quote_identifier(column),
						 type == TIMESTAMPOID ? "pg_catalog.timezone('UTC', pg_catalog.now())" : "pg_catalog.now()");
		append_pushed(&sql, " FROM ", "", alone);
	}
	appendStringInfoString(&sql, " WHERE ");
	append_key_match(&sql, table, "t", alone);
	append_version_match(&sql, alone);
	return sql.data;
}
