/*
 * drift.c
 *		The format drift: table classes for Dart.
 *
 * Columns have the names of the wire in JSON and in SQLite, whatever the getters are called.  Instants are DateTimes:
 * Drift sends them as text, and keeps what is less than a second of them, only when it is told to.  Times without a zone and
 * dates stay text, since a DateTime would take them for the device's own zone.
 */
#include "postgres.h"

#include "schema/schema.h"

static const struct
{
	const char *type;
	const char *builder;
}			columns[OFS_KIND_COUNT] = {
	[OFS_KIND_BOOLEAN] = {"BoolColumn", "boolean()"},
	[OFS_KIND_INTEGER] = {"IntColumn", "integer()"},
	[OFS_KIND_BIGINT] = {"IntColumn", "integer()"},
	[OFS_KIND_FLOAT] = {"RealColumn", "real()"},
	[OFS_KIND_NUMERIC] = {"RealColumn", "real()"},
	[OFS_KIND_INSTANT] = {"DateTimeColumn", "dateTime()"},
	[OFS_KIND_CLOCK] = {"TextColumn", "text()"},
	[OFS_KIND_DATE] = {"TextColumn", "text()"},
	[OFS_KIND_BYTES] = {"TextColumn", "text()"},
	[OFS_KIND_JSON] = {"TextColumn", "text().map(const JsonConverter())"},
	[OFS_KIND_ARRAY] = {"TextColumn", "text().map(const JsonConverter())"},
	[OFS_KIND_ROW] = {"TextColumn", "text().map(const JsonConverter())"},
	[OFS_KIND_TEXT] = {"TextColumn", "text()"},
	[OFS_KIND_OTHER] = {"TextColumn", "text()"}
};

/* Words of Dart's, and what Table, the classes that Drift makes of it, and Object have already. */
static const char *const members[] = {
	"assert", "break", "case", "catch", "class", "const", "continue", "default", "do", "else", "enum", "extends", "false",
	"final", "finally", "for", "if", "in", "is", "new", "null", "rethrow", "return", "super", "switch", "this", "throw",
	"true", "try", "var", "void", "while", "with",
	"abstract", "as", "async", "await", "covariant", "dynamic", "export", "extension", "external", "factory", "get", "implements",
	"import", "interface", "late", "library", "mixin", "operator", "part", "required", "set", "static", "typedef", "yield",
	"actualTableName", "aliasedName", "asDslTable", "attachedDatabase", "blob", "boolean", "columnsByName", "copyWith",
	"copyWithCompanion", "createAlias", "customConstraints", "customType", "dateTime", "dontWriteConstraints", "entityName",
	"hashCode", "id", "insert", "int64", "intEnum", "integer", "isStrict", "map", "noSuchMethod", "primaryKey", "real",
	"rowid", "runtimeType", "serverTableName", "tableName", "text", "textEnum", "toColumns", "toCompanion", "toJson",
	"toJsonString", "toString", "uniqueKeys", "validateIntegrity", "withoutRowId"
};

/* Classes that the text, or what Drift makes of it, uses otherwise. */
static const char *const used[] = {
	"BoolColumn", "Column", "Constant", "DataClass", "DateTime", "DateTimeColumn", "Expression", "Insertable", "IntColumn",
	"JsonConverter", "JsonKey", "JsonTypeConverter2", "List", "Map", "Object", "Override", "RealColumn", "Set", "String",
	"Table", "TableIndex", "TextColumn", "TypeConverter", "Value"
};

static const char converter[] =
"\n"
"class JsonConverter extends TypeConverter<Object, String> with JsonTypeConverter2<Object, String, Object> {\n"
"  const JsonConverter();\n"
"\n"
"  @override\n"
"  Object fromSql(String fromDb) => jsonDecode(fromDb) as Object;\n"
"  @override\n"
"  String toSql(Object value) => jsonEncode(value);\n"
"  @override\n"
"  Object fromJson(Object json) => json;\n"
"  @override\n"
"  Object toJson(Object value) => value;\n"
"}\n";

/* A getter that Drift finds the column's name in by itself has no capital letters. */
static bool
is_plain(const char *getter, const char *name)
{
	return strcmp(getter, name) == 0 && strpbrk(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == NULL;
}

static void
write_column(const OfsSchemaTable *table, const OfsSchemaColumn *column, const char *getter, StringInfo out)
{
	const char *note = ofs_model_note(column, true);
	bool		plain = is_plain(getter, column->name);

	appendStringInfoString(out, "\n");
	if (note)
		appendStringInfo(out, "  /// %s\n", note);
	if (!plain)
	{
		appendStringInfoString(out, "  @JsonKey(");
		ofs_names_quote(out, column->name);
		appendStringInfoString(out, ")\n");
	}
	appendStringInfo(out, "  %s get %s => %s", columns[column->kind].type, getter, columns[column->kind].builder);
	if (!plain)
	{
		appendStringInfoString(out, ".named(");
		ofs_names_quote(out, ofs_sqlite_column_name(table, column));
		appendStringInfoChar(out, ')');
	}
	appendStringInfo(out, "%s();\n", column->nullable || column->server || column->generated ? ".nullable()" : "");
}

/* Annotations for columns that are looked up by.  Indexes share their names with tables. */
static void
write_indexes(const OfsSchemaTable *table, const char **getters, List **indexes, StringInfo out)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (!table->columns[i].indexed)
			continue;
		appendStringInfoString(out, "@TableIndex(name: ");
		ofs_names_quote(out, ofs_names_claim(indexes, psprintf("%s_%s", ofs_names_camel(table->name, false), getters[i])));
		appendStringInfo(out, ", columns: {#%s})\n", getters[i]);
	}
}

static void
write_table(const OfsSchema *schema, const OfsSchemaTable *table, List **classes, List **indexes, StringInfo out)
{
	const char *class = ofs_names_claim(classes, ofs_names_camel(table->table->collection, true));
	OfsSchemaTable local = *table;
	const char **getters = palloc(sizeof(char *) * Max(table->ncolumns, 1));
	List	   *taken = ofs_names_list(members, lengthof(members));

	/* who asks for public.task has a table task all the same */
	local.name = table->table->collection;
	for (int i = 0; i < table->ncolumns; i++)
		getters[i] = ofs_names_claim(&taken, ofs_names_camel(table->columns[i].name, false));
	appendStringInfoChar(out, '\n');
	write_indexes(&local, getters, indexes, out);
	appendStringInfo(out, "@DataClassName('%s')\n", ofs_names_claim(classes, psprintf("%sData", class)));
	appendStringInfo(out, "class %s extends Table {\n  static String get serverTableName => ", class);
	ofs_names_quote(out, schema->spelt ? table->name : table->qualified);
	appendStringInfoString(out, ";\n\n  @override\n  String get tableName => ");
	ofs_names_quote(out, ofs_sqlite_table_name(schema, &local));
	appendStringInfoString(out, ";\n\n  TextColumn get id => text()();\n");
	for (int i = 0; i < table->ncolumns; i++)
		write_column(table, &table->columns[i], getters[i], out);
	appendStringInfoString(out, "\n  @override\n  Set<Column> get primaryKey => {id};\n}\n");
}

void
ofs_drift_write(const OfsSchema *schema, StringInfo out)
{
	List	   *classes = ofs_names_list(used, lengthof(used));
	List	   *indexes = NIL;
	StringInfoData text;
	ListCell   *lc;
	bool		converts;

	foreach(lc, schema->tables)
		(void) ofs_names_claim(&indexes, ofs_sqlite_table_name(schema, lfirst(lc)));
	initStringInfo(&text);
	foreach(lc, schema->tables)
		write_table(schema, lfirst(lc), &classes, &indexes, &text);
	converts = strstr(text.data, "const JsonConverter()") != NULL;
	appendStringInfo(out, "// Made by offsync.client_schema('drift').\n"
					 "// build.yaml: store_date_time_values_as_text: true\n"
					 "// main.dart: driftRuntimeOptions.defaultSerializer =\n"
					 "//     const ValueSerializer.defaults(serializeDateTimeValuesAsString: true);\n"
					 "%simport 'package:drift/drift.dart';\n%s%s",
					 converts ? "import 'dart:convert';\n\n" : "", converts ? converter : "", text.data);
}
