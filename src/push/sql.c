/*
 * sql.c
 *		Texts of the statements that a push runs as its caller.
 *
 * In all of them "t" is the synced table and "n" the pushed records: ord (their place in the
 * batch), b (the version that the row must still have), k1.. (the key), v1.. (values, numbered by
 * column).  Every name is qualified, every operator too: the search_path is the caller's, and
 * stays so because the owner's triggers run inside these statements.
 */
#include "postgres.h"

#include "base/spi.h"
#include "base/sqltext.h"
#include "catalog/pg_type.h"
#include "push/push.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* "AND"ed comparisons of n's key with that of the table aliased so. */
static void
append_key_match(StringInfo sql, const PushTable *table, const char *alias)
{
	const OfsTable *synced = table->table;

	for (int i = 0; i < synced->nkey; i++)
	{
		appendStringInfoString(sql, i > 0 ? " AND " : "");
		ofs_append_equal(sql, psprintf("%s.%s", alias, quote_identifier(table->key_names[i])),
						 psprintf("n.k%d", i + 1), synced->key_types[i]);
	}
}

/* The row is still the one that was read; a stamp column that was there before may hold NULL. */
static void
append_version_match(StringInfo sql)
{
	appendStringInfoString(sql, " AND (offsync$version OPERATOR(pg_catalog.=) n.b"
						   " OR (offsync$version IS NULL AND n.b IS NULL))");
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

/* Rows of the records' keys: what PUSH_ROW_* say, then all columns that the caller may read. */
char *
ofs_sql_read(const PushTable *table)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT n.ord, offsync$version");
	append_hidden(&sql, table->table->soft_delete, "timestamptz");
	append_hidden(&sql, table->table->client_updated_at, "timestamptz");
	append_hidden(&sql, table->table->history, "text[]");
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].position >= 0)
			appendStringInfo(&sql, ", t.%s", quote_identifier(table->columns[i].name));
	}
	appendStringInfo(&sql, " FROM %s AS n JOIN %s AS t ON ",
					 quote_identifier(PUSH_RELATION), table->relation);
	append_key_match(&sql, table, "t");
	/* a row whose id is spelt otherwise isn't the one that was sent */
	for (int i = 0; i < table->table->nkey; i++)
		ofs_append_same(&sql, psprintf("t.%s", quote_identifier(table->key_names[i])), psprintf("n.k%d", i + 1),
						table->table->relid, table->table->key[i]);
	return sql.data;
}

/* Tombstones of the records' keys: ord, version, time. */
char *
ofs_sql_buried(const PushTable *table)
{
	StringInfoData sql;

	initStringInfo(&sql);
	/* when a row was deleted, only strategies are told */
	appendStringInfo(&sql, "SELECT n.ord, d." OFS_TOMB_VERSION ", offsync$d$%d FROM %s AS n JOIN %s AS d ON ",
					 get_attnum(table->table->tombstone, OFS_TOMB_AT), quote_identifier(PUSH_RELATION), ofs_relation_name(table->table->tombstone));
	append_key_match(&sql, table, "d");
	return sql.data;
}

char *
ofs_sql_update(const PushTable *table, const Bitmapset *columns)
{
	StringInfoData sql;
	const char *comma = "";
	int			i = -1;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS t SET ", table->relation);
	while ((i = bms_next_member(columns, i)) >= 0)
	{
		appendStringInfo(&sql, "%s%s = n.v%d", comma, quote_identifier(table->columns[i].name), i + 1);
		comma = ", ";
	}
	appendStringInfo(&sql, " FROM %s AS n WHERE ", quote_identifier(PUSH_RELATION));
	append_key_match(&sql, table, "t");
	append_version_match(&sql);
	appendStringInfoString(&sql, " RETURNING n.ord");
	return sql.data;
}

/*
 * No conflict target: with one, the SELECT policies would be enforced on new rows, and a caller
 * who may insert what it may not read would be refused.
 */
char *
ofs_sql_insert(const PushTable *table, const Bitmapset *columns, bool plain)
{
	StringInfoData sql;
	StringInfoData values;
	int			i = -1;

	initStringInfo(&sql);
	initStringInfo(&values);
	appendStringInfo(&sql, "INSERT INTO %s (", table->relation);
	for (int k = 0; k < table->table->nkey; k++)
	{
		appendStringInfo(&sql, "%s%s", k > 0 ? ", " : "", quote_identifier(table->key_names[k]));
		appendStringInfo(&values, "%sn.k%d", k > 0 ? ", " : "", k + 1);
	}
	while ((i = bms_next_member(columns, i)) >= 0)
	{
		appendStringInfo(&sql, ", %s", quote_identifier(table->columns[i].name));
		appendStringInfo(&values, ", n.v%d", i + 1);
	}
	/* a tuplestore is read in its order, which is the payload's */
	appendStringInfo(&sql, ")%s SELECT %s FROM %s AS n%s",
					 table->overriding ? " OVERRIDING SYSTEM VALUE" : "", values.data,
					 quote_identifier(PUSH_RELATION), plain ? "" : " ON CONFLICT DO NOTHING");
	return sql.data;
}

/* Where the table has a soft_delete column, a deletion is an update of that. */
char *
ofs_sql_delete(const PushTable *table)
{
	StringInfoData sql;

	initStringInfo(&sql);
	if (table->table->soft_delete == InvalidAttrNumber)
		appendStringInfo(&sql, "DELETE FROM %s AS t USING %s AS n WHERE ",
						 table->relation, quote_identifier(PUSH_RELATION));
	else
	{
		char	   *column = get_attname(table->table->relid, table->table->soft_delete, false);
		Oid			type = get_atttype(table->table->relid, table->table->soft_delete);

		appendStringInfo(&sql, "UPDATE %s AS t SET %s = %s FROM %s AS n WHERE ",
						 table->relation, quote_identifier(column),
						 type == TIMESTAMPOID ? "pg_catalog.timezone('UTC', pg_catalog.now())" : "pg_catalog.now()",
						 quote_identifier(PUSH_RELATION));
	}
	append_key_match(&sql, table, "t");
	append_version_match(&sql);
	appendStringInfoString(&sql, " RETURNING n.ord");
	return sql.data;
}
