/*
 * typescript.c
 *		The format typescript: records as answers hold them, for code without a library that has types of its own.
 *
 * Values that aren't finite come as null (watermelondb) or as strings like "NaN"; the types leave them out.
 */
#include "postgres.h"

#include "schema/schema.h"

static const struct
{
	const char *watermelondb;
	const char *native;
}			types[OFS_KIND_COUNT] = {
	[OFS_KIND_BOOLEAN] = {"boolean", "boolean"},
	[OFS_KIND_INTEGER] = {"number", "number"},
	[OFS_KIND_BIGINT] = {"number", "number"},
	[OFS_KIND_FLOAT] = {"number", "number"},
	[OFS_KIND_NUMERIC] = {"number", "number"},
	[OFS_KIND_INSTANT] = {"number", "string"},
	[OFS_KIND_CLOCK] = {"number", "string"},
	[OFS_KIND_DATE] = {"string", "string"},
	[OFS_KIND_BYTES] = {"string", "string"},
	[OFS_KIND_JSON] = {"string", "Json"},
	[OFS_KIND_ARRAY] = {"string", NULL},
	[OFS_KIND_ROW] = {"string", "{ [field: string]: Json }"},
	[OFS_KIND_TEXT] = {"string", "string"},
	[OFS_KIND_OTHER] = {"string", "string"}
};

/* Names that the text uses otherwise, and words that no interface may be called by are all in small letters. */
static const char *const used[] = {"Changes", "Json", "Part"};

static void
write_column(const OfsSchema *schema, const OfsSchemaColumn *column, StringInfo out)
{
	const char *note = ofs_model_note(column, schema->native);

	appendStringInfoString(out, "  ");
	ofs_names_property(out, column->name);
	if (schema->native && column->kind == OFS_KIND_ARRAY)
		appendStringInfo(out, ": (%s | null)[]", types[column->element].native);
	else
		appendStringInfo(out, ": %s", schema->native ? types[column->kind].native : types[column->kind].watermelondb);
	appendStringInfo(out, "%s", column->nullable ? " | null" : "");
	if (note)
		appendStringInfo(out, " // %s", note);
	appendStringInfoChar(out, '\n');
}

static void
write_table(const OfsSchema *schema, const OfsSchemaTable *table, const char *name, StringInfo out)
{
	appendStringInfo(out, "\nexport interface %s {\n  id: string\n", name);
	for (int i = 0; i < table->ncolumns; i++)
		write_column(schema, &table->columns[i], out);
	appendStringInfoString(out, "}\n");
}

void
ofs_typescript_write(const OfsSchema *schema, StringInfo out)
{
	List	   *taken = ofs_names_list(used, lengthof(used));
	StringInfoData changes;
	ListCell   *lc;

	initStringInfo(&changes);
	appendStringInfo(out, "// Made by offsync.client_schema('typescript'), for the dialect %s.\n"
					 "%s"
					 "\n"
					 "export interface Part<T> {\n"
					 "  created: T[]\n"
					 "  updated: T[]\n"
					 "  deleted: string[]\n"
					 "}\n",
					 schema->dialect,
					 schema->native ? "\nexport type Json = string | number | boolean | null | Json[] | { [key: string]: Json }\n" : "");
	foreach(lc, schema->tables)
	{
		const OfsSchemaTable *table = lfirst(lc);
		const char *name = ofs_names_claim(&taken, ofs_names_camel(table->table->collection, true));

		write_table(schema, table, name, out);
		appendStringInfoString(&changes, "  ");
		ofs_names_property(&changes, table->name);
		appendStringInfo(&changes, ": Part<%s>\n", name);
	}
	appendStringInfo(out, "\nexport interface Changes {\n%s}\n", changes.data);
}
