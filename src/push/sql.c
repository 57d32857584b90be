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
#include "push/push.h"
#include "utils/builtins.h"

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

/* Rows of the records' keys: ord, version, then all columns that the caller may read. */
char *
ofs_sql_read(const PushTable *table)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT n.ord, offsync$version");
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

/* Tombstones of the records' keys: ord, version. */
char *
ofs_sql_buried(const PushTable *table)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT n.ord, d." OFS_TOMB_VERSION " FROM %s AS n JOIN %s AS d ON ",
					 quote_identifier(PUSH_RELATION), ofs_relation_name(table->table->tombstone));
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
	appendStringInfo(&sql, ")%s SELECT %s FROM %s AS n ORDER BY n.ord%s",
					 table->overriding ? " OVERRIDING SYSTEM VALUE" : "", values.data,
					 quote_identifier(PUSH_RELATION), plain ? "" : " ON CONFLICT DO NOTHING");
	return sql.data;
}

char *
ofs_sql_delete(const PushTable *table)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "DELETE FROM %s AS t USING %s AS n WHERE ",
					 table->relation, quote_identifier(PUSH_RELATION));
	append_key_match(&sql, table, "t");
	append_version_match(&sql);
	appendStringInfoString(&sql, " RETURNING n.ord");
	return sql.data;
}
