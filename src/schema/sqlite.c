/*
 * sqlite.c
 *		The format sqlite: tables as test/client keeps them.
 *
 * Nothing is enforced beside the key: a device may hold a record whose parent it can't see, leave columns to the server's
 * defaults, and gets null for numbers that aren't finite.  SQLite doesn't tell case apart, the server does, so a
 * column may have to go by another name than on the wire; the client has the same rule.
 */
#include "postgres.h"

#include "schema/schema.h"

static const struct
{
	const char *watermelondb;
	const char *native;
}			types[OFS_KIND_COUNT] = {
	[OFS_KIND_BOOLEAN] = {"BOOLEAN", "BOOLEAN"},
	[OFS_KIND_INTEGER] = {"INTEGER", "INTEGER"},
	[OFS_KIND_BIGINT] = {"INTEGER", "INTEGER"},
	[OFS_KIND_FLOAT] = {"REAL", "REAL"},
	[OFS_KIND_NUMERIC] = {"NUMERIC", "NUMERIC"},
	[OFS_KIND_INSTANT] = {"INTEGER", "TEXT"},
	[OFS_KIND_CLOCK] = {"INTEGER", "TEXT"},
	[OFS_KIND_DATE] = {"TEXT", "TEXT"},
	[OFS_KIND_BYTES] = {"TEXT", "TEXT"},
	[OFS_KIND_JSON] = {"TEXT", "TEXT"},
	[OFS_KIND_ARRAY] = {"TEXT", "TEXT"},
	[OFS_KIND_ROW] = {"TEXT", "TEXT"},
	[OFS_KIND_TEXT] = {"TEXT", "TEXT"},
	[OFS_KIND_OTHER] = {"TEXT", "TEXT"}
};

static void
write_quoted(StringInfo out, const char *name)
{
	appendStringInfoChar(out, '"');
	for (const char *p = name; *p; p++)
	{
		if (*p == '"')
			appendStringInfoChar(out, '"');
		appendStringInfoChar(out, *p);
	}
	appendStringInfoChar(out, '"');
}

static bool
has_upper(const char *name)
{
	for (const char *p = name; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			return true;
	return false;
}

/* Of names that SQLite takes for one, does the first keep it rather than the second? */
static bool
goes_first(const char *one, const char *other)
{
	if (has_upper(one) != has_upper(other))
		return has_upper(other);
	return strcmp(one, other) < 0;
}

const char *
ofs_sqlite_column_name(const OfsSchemaTable *table, const OfsSchemaColumn *column)
{
	int			nth = 1 + ofs_names_alike(column->name, "id");

	for (int i = 0; i < table->ncolumns; i++)
		if (ofs_names_alike(table->columns[i].name, column->name) &&
			goes_first(table->columns[i].name, column->name))
			nth++;
	return nth == 1 ? column->name : psprintf("%s~%d", column->name, nth);
}

const char *
ofs_sqlite_table_name(const OfsSchema *schema, const OfsSchemaTable *table)
{
	int			nth = 1;
	ListCell   *lc;

	if (pg_strncasecmp(table->name, "sqlite_", 7) == 0)
		return psprintf("~%s", table->name);
	foreach(lc, schema->tables)
	{
		const OfsSchemaTable *other = lfirst(lc);

		if (ofs_names_alike(other->name, table->name) && goes_first(other->name, table->name))
			nth++;
	}
	return nth == 1 ? table->name : psprintf("%s~%d", table->name, nth);
}

static void
write_column(const OfsSchema *schema, const OfsSchemaTable *table, int i, StringInfo out)
{
	const OfsSchemaColumn *column = &table->columns[i];
	const char *note = ofs_model_note(column, schema->native);

	if (schema->native && (column->kind == OFS_KIND_JSON || column->kind == OFS_KIND_ARRAY || column->kind == OFS_KIND_ROW))
		note = "JSON";
	appendStringInfoString(out, "  ");
	write_quoted(out, ofs_sqlite_column_name(table, column));
	appendStringInfo(out, " %s%s", schema->native ? types[column->kind].native : types[column->kind].watermelondb,
					 i + 1 < table->ncolumns ? "," : "");
	if (note)
		appendStringInfo(out, " -- %s", note);
	appendStringInfoChar(out, '\n');
}

static void
write_table(const OfsSchema *schema, const OfsSchemaTable *table, StringInfo out)
{
	const char *name = ofs_sqlite_table_name(schema, table);

	appendStringInfoString(out, "\nCREATE TABLE IF NOT EXISTS ");
	write_quoted(out, name);
	appendStringInfo(out, " (\n  \"id\" TEXT PRIMARY KEY NOT NULL%s\n", table->ncolumns > 0 ? "," : "");
	for (int i = 0; i < table->ncolumns; i++)
		write_column(schema, table, i, out);
	appendStringInfoString(out, ");\n");
	for (int i = 0; i < table->ncolumns; i++)
	{
		const char *column = ofs_sqlite_column_name(table, &table->columns[i]);

		if (!table->columns[i].indexed)
			continue;
		appendStringInfoString(out, "CREATE INDEX IF NOT EXISTS ");
		write_quoted(out, psprintf("%s:%s", name, column));
		appendStringInfoString(out, " ON ");
		write_quoted(out, name);
		appendStringInfoString(out, " (");
		write_quoted(out, column);
		appendStringInfoString(out, ");\n");
	}
}

void
ofs_sqlite_write(const OfsSchema *schema, StringInfo out)
{
	ListCell   *lc;

	appendStringInfo(out, "-- Made by offsync.client_schema('sqlite'), for the dialect %s.\n",
					 schema->dialect);
	foreach(lc, schema->tables)
		write_table(schema, lfirst(lc), out);
}
