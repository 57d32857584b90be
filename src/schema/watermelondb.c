/*
 * watermelondb.c
 *		The format watermelondb: an appSchema.
 *
 * WatermelonDB declares no id, and knows strings, numbers and booleans.  It refuses a whole schema for one name that it
 * doesn't like, so such collections and columns are left out, and named: what it has no place for it ignores in a
 * pull, and never pushes.
 */
#include "postgres.h"

#include "schema/schema.h"

/* WatermelonDB's own names, those of objects in JavaScript, and SQLite's. */
static const char *const reserved[] = {
	"id", "_status", "_changed", "local_storage", "rowid", "oid", "_rowid_"
};

static const char *const inherited[] = {
	"constructor", "prototype", "hasOwnProperty", "isPrototypeOf", "toString", "toLocaleString", "valueOf"
};

/* What it keeps in these columns are milliseconds. */
static const char *const stamps[] = {"created_at", "updated_at", "last_modified"};

static bool
is_safe(const char *name)
{
	const char *p = name;

	for (int i = 0; i < (int) lengthof(reserved); i++)
		if (ofs_names_alike(reserved[i], name))
			return false;
	if (ofs_names_contain(inherited, lengthof(inherited), name) ||
		pg_strncasecmp(name, "sqlite_", 7) == 0 || strncmp(name, "__", 2) == 0)
		return false;
	while ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_' ||
		   (p > name && *p >= '0' && *p <= '9'))
		p++;
	return *p == '\0';
}

const char *
ofs_watermelondb_table_refused(const OfsSchema *schema, const OfsSchemaTable *table)
{
	ListCell   *lc;

	if (!is_safe(table->name))
		return "WatermelonDB takes no such name";
	foreach(lc, schema->tables)
	{
		const OfsSchemaTable *other = lfirst(lc);

		if (other == table)
			break;
		if (ofs_names_alike(other->name, table->name) && is_safe(other->name))
			return "SQLite takes it for one above";
	}
	return NULL;
}

const char *
ofs_watermelondb_column_refused(const OfsSchemaTable *table, const OfsSchemaColumn *column)
{
	if (!is_safe(column->name))
		return "WatermelonDB takes no such name";
	if (ofs_names_contain(stamps, lengthof(stamps), column->name) && !ofs_watermelondb_is_number(column))
		return "WatermelonDB wants a number there";
	for (const OfsSchemaColumn *other = table->columns; other < column; other++)
		if (ofs_names_alike(other->name, column->name))
			return "SQLite takes it for one above";
	return NULL;
}

bool
ofs_watermelondb_is_number(const OfsSchemaColumn *column)
{
	return column->kind >= OFS_KIND_INTEGER && column->kind <= OFS_KIND_CLOCK;
}

/*
 * WatermelonDB doesn't let these two be optional.  What is the server's own is missing until the server has seen the record.
 */
bool
ofs_watermelondb_is_optional(const OfsSchemaColumn *column)
{
	return (column->nullable || column->server) && strcmp(column->name, "created_at") != 0 &&
		strcmp(column->name, "updated_at") != 0;
}

/* Indexes are called <table>_<column>, and share their names with tables. */
static bool
can_be_indexed(const OfsSchema *schema, const OfsSchemaTable *table, const OfsSchemaColumn *column)
{
	const char *index = psprintf("%s_%s", table->name, column->name);
	ListCell   *lc;

	foreach(lc, schema->tables)
		if (ofs_names_alike(((const OfsSchemaTable *) lfirst(lc))->name, index))
			return false;
	return true;
}

static void
write_column(const OfsSchema *schema, const OfsSchemaTable *table, const OfsSchemaColumn *column, StringInfo out)
{
	const char *refused = ofs_watermelondb_column_refused(table, column);
	const char *note = ofs_model_note(column, false);

	appendStringInfoString(out, "        ");
	if (refused)
	{
		appendStringInfoString(out, "// left out: ");
		ofs_names_quote(out, column->name);
		appendStringInfo(out, ": %s\n", refused);
		return;
	}
	appendStringInfo(out, "{ name: '%s', type: '%s'", column->name,
					 column->kind == OFS_KIND_BOOLEAN ? "boolean" : ofs_watermelondb_is_number(column) ? "number" : "string");
	if (ofs_watermelondb_is_optional(column))
		appendStringInfoString(out, ", isOptional: true");
	if (column->indexed && can_be_indexed(schema, table, column))
		appendStringInfoString(out, ", isIndexed: true");
	appendStringInfoString(out, " },");
	if (note)
		appendStringInfo(out, " // %s", note);
	appendStringInfoChar(out, '\n');
}

static void
write_table(const OfsSchema *schema, const OfsSchemaTable *table, StringInfo out)
{
	const char *refused = ofs_watermelondb_table_refused(schema, table);

	if (refused)
	{
		appendStringInfoString(out, "    // left out: ");
		ofs_names_quote(out, table->name);
		appendStringInfo(out, ": %s\n", refused);
		return;
	}
	appendStringInfo(out, "    tableSchema({\n      name: '%s',\n      columns: [\n", table->name);
	for (int i = 0; i < table->ncolumns; i++)
		write_column(schema, table, &table->columns[i], out);
	appendStringInfoString(out, "      ],\n    }),\n");
}

void
ofs_watermelondb_write(const OfsSchema *schema, StringInfo out)
{
	ListCell   *lc;

	appendStringInfo(out, "// Made by offsync.client_schema('watermelondb').\n"
					 "import { appSchema, tableSchema } from '@nozbe/watermelondb'\n"
					 "\n"
					 "export default appSchema({\n"
					 "  version: %d,\n"
					 "  tables: [\n", schema->version);
	foreach(lc, schema->tables)
		write_table(schema, lfirst(lc), out);
	appendStringInfoString(out, "  ],\n})\n");
}
