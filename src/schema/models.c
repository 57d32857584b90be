/*
 * models.c
 *		The format watermelondb-models: a start for an app's model classes, in TypeScript.
 *
 * A class has a property per column of the appSchema, a relation for each column that holds another collection's ids,
 * and its children the other way round.  WatermelonDB keeps one association between two tables: where a table refers to
 * another by more than one column, or to itself, that is the first column's, or none.
 */
#include "postgres.h"

#include "schema/schema.h"

/* What the class Model has already; and properties that WatermelonDB would write by itself, or TypeScript misreads. */
static const char *const members[] = {
	"asModel", "batch", "callReader", "callWriter", "collection", "collections", "constructor", "database", "db",
	"destroyPermanently", "experimentalDestroyPermanently", "experimentalMarkAsDeleted", "experimentalSubscribe", "id",
	"markAsDeleted", "observe", "prepareDestroyPermanently", "prepareMarkAsDeleted", "prepareUpdate", "subAction",
	"syncStatus", "table", "update",
	"createdAt", "updatedAt",
	"abstract", "accessor", "async", "declare", "get", "override", "private", "protected", "public", "readonly", "set", "static"
};

/* Names that the text uses otherwise. */
static const char *const used[] = {"Date", "Model", "Query", "Relation"};

static const char *const decorators[] = {"children", "date", "field", "json", "readonly", "relation", "text"};

typedef struct Class
{
	const OfsSchemaTable *table;
	const char *name;
	int			position;
	List	   *properties;		/* taken */
} Class;

static Class *
find_class(List *classes, const OfsSchemaTable *table)
{
	ListCell   *lc;

	foreach(lc, classes)
		if (((Class *) lfirst(lc))->table == table)
			return lfirst(lc);
	return NULL;
}

/* The class of the collection that a column refers to, where both have a place. */
static Class *
parent_class(List *classes, const Class *child, const OfsSchemaColumn *column)
{
	if (column->parent == NULL || ofs_watermelondb_column_refused(child->table, column))
		return NULL;
	return find_class(classes, column->parent);
}

/* Does the column stand for the association between its table and the one that it refers to? */
static bool
associates(List *classes, const Class *child, const OfsSchemaColumn *column)
{
	Class	   *parent = parent_class(classes, child, column);

	if (parent == NULL || parent == child)
		return false;
	for (const OfsSchemaColumn *other = child->table->columns; other < column; other++)
		if (parent_class(classes, child, other) == parent)
			return false;
	/* of two tables that refer to each other, the child is the one that has to; else the later one */
	for (int i = 0; i < parent->table->ncolumns; i++)
	{
		const OfsSchemaColumn *back = &parent->table->columns[i];

		if (parent_class(classes, parent, back) == child)
			return back->nullable != column->nullable ? back->nullable : child->position > parent->position;
	}
	return true;
}

/* ---------- columns ---------- */

static const char *
decorator_of(const OfsSchemaColumn *column)
{
	if (column->kind == OFS_KIND_INSTANT || column->kind == OFS_KIND_CLOCK)
		return "date";
	if (column->kind == OFS_KIND_JSON)
		return "json";
	return column->kind == OFS_KIND_TEXT && column->parent == NULL ? "text" : "field";
}

static const char *
type_of(const OfsSchemaColumn *column)
{
	if (column->kind == OFS_KIND_INSTANT || column->kind == OFS_KIND_CLOCK)
		return "Date";
	if (column->kind == OFS_KIND_JSON)
		return "unknown";
	if (column->kind == OFS_KIND_BOOLEAN)
		return "boolean";
	return ofs_watermelondb_is_number(column) ? "number" : "string";
}

static bool
is_stamp(const OfsSchemaColumn *column)
{
	return (strcmp(column->name, "created_at") == 0 || strcmp(column->name, "updated_at") == 0) &&
		strcmp(decorator_of(column), "date") == 0;
}

static void
write_property(Class *class, const OfsSchemaColumn *column, StringInfo out)
{
	const char *decorator = decorator_of(column);
	const char *property = ofs_names_camel(column->name, false);

	/* under these names, and no other, WatermelonDB writes the two by itself */
	if (!is_stamp(column))
		property = ofs_names_claim(&class->properties, property);
	appendStringInfo(out, "  %s@%s('%s'%s) %s!: %s%s\n",
					 column->server || column->generated || is_stamp(column) ? "@readonly " : "",
					 decorator, column->name,
					 column->kind == OFS_KIND_JSON ? ", (value: unknown) => value" : "", property, type_of(column),
					 ofs_watermelondb_is_optional(column) && column->kind != OFS_KIND_JSON ? " | null" : "");
}

/* "project" of project_id or projectId; else the property's name with something behind. */
static const char *
relation_name(const OfsSchemaColumn *column)
{
	int			len = strlen(column->name);

	if (len > 3 && strcmp(column->name + len - 3, "_id") == 0)
		return ofs_names_camel(pnstrdup(column->name, len - 3), false);
	if (len > 2 && strcmp(column->name + len - 2, "Id") == 0)
		return ofs_names_camel(pnstrdup(column->name, len - 2), false);
	return psprintf("%sRecord", ofs_names_camel(column->name, false));
}

static void
write_relation(List *classes, Class *class, const OfsSchemaColumn *column, StringInfo out)
{
	const Class *parent = parent_class(classes, class, column);

	if (parent)
		appendStringInfo(out, "  @relation('%s', '%s') %s!: Relation<%s>\n", parent->table->name, column->name,
						 ofs_names_claim(&class->properties, relation_name(column)), parent->name);
}

/* ---------- classes ---------- */

/* What refers to the class: its associations, or (properties) its children. */
static void
write_children(List *classes, Class *class, bool properties, StringInfo out)
{
	ListCell   *lc;

	foreach(lc, classes)
	{
		const Class *child = lfirst(lc);

		for (int i = 0; i < child->table->ncolumns; i++)
		{
			const OfsSchemaColumn *column = &child->table->columns[i];

			if (parent_class(classes, child, column) != class || !associates(classes, child, column))
				continue;
			if (properties)
				appendStringInfo(out, "  @children('%s') %s!: Query<%s>\n", child->table->name,
								 ofs_names_claim(&class->properties, ofs_names_camel(child->table->name, false)),
								 child->name);
			else
				appendStringInfo(out, "    %s: { type: 'has_many' as const, foreignKey: '%s' },\n",
								 child->table->name, column->name);
		}
	}
}

static void
write_associations(List *classes, Class *class, StringInfo out)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < class->table->ncolumns; i++)
	{
		const OfsSchemaColumn *column = &class->table->columns[i];

		if (associates(classes, class, column))
			appendStringInfo(&list, "    %s: { type: 'belongs_to' as const, key: '%s' },\n",
							 column->parent->name, column->name);
	}
	write_children(classes, class, false, &list);
	if (list.len > 0)
		appendStringInfo(out, "  static associations = {\n%s  }\n", list.data);
}

static void
write_class(List *classes, Class *class, StringInfo out)
{
	appendStringInfo(out, "\nexport class %s extends Model {\n  static table = '%s'\n", class->name, class->table->name);
	write_associations(classes, class, out);
	appendStringInfoChar(out, '\n');
	for (int i = 0; i < class->table->ncolumns; i++)
		if (ofs_watermelondb_column_refused(class->table, &class->table->columns[i]) == NULL)
			write_property(class, &class->table->columns[i], out);
	for (int i = 0; i < class->table->ncolumns; i++)
		write_relation(classes, class, &class->table->columns[i], out);
	write_children(classes, class, true, out);
	appendStringInfoString(out, "}\n");
}

static List *
make_classes(const OfsSchema *schema)
{
	List	   *classes = NIL;
	List	   *taken = ofs_names_list(used, lengthof(used));
	ListCell   *lc;

	foreach(lc, schema->tables)
	{
		Class	   *class;

		if (ofs_watermelondb_table_refused(schema, lfirst(lc)))
			continue;
		class = palloc0(sizeof(Class));
		class->table = lfirst(lc);
		class->name = ofs_names_claim(&taken, ofs_names_camel(class->table->name, true));
		class->position = list_length(classes);
		class->properties = ofs_names_list(members, lengthof(members));
		classes = lappend(classes, class);
	}
	return classes;
}

/* What the text needs, and no more: a linter would ask. */
static void
write_imports(const char *text, StringInfo out)
{
	const char *separator = "";

	appendStringInfo(out, "import { Model%s%s } from '@nozbe/watermelondb'\n",
					 strstr(text, "!: Query<") ? ", type Query" : "", strstr(text, "!: Relation<") ? ", type Relation" : "");
	if (strstr(text, " @") == NULL)
		return;
	appendStringInfoString(out, "import { ");
	for (int i = 0; i < (int) lengthof(decorators); i++)
	{
		if (strstr(text, psprintf(" @%s(", decorators[i])) == NULL && strstr(text, psprintf(" @%s @", decorators[i])) == NULL)
			continue;
		appendStringInfo(out, "%s%s", separator, decorators[i]);
		separator = ", ";
	}
	appendStringInfoString(out, " } from '@nozbe/watermelondb/decorators'\n");
}

void
ofs_models_write(const OfsSchema *schema, StringInfo out)
{
	List	   *classes = make_classes(schema);
	ListCell   *lc;
	StringInfoData text;

	initStringInfo(&text);
	foreach(lc, classes)
		write_class(classes, lfirst(lc), &text);
	appendStringInfoString(out, "// Made by offsync.client_schema('watermelondb-models'): a start, to be edited.\n"
						   "// TypeScript needs \"experimentalDecorators\": true, \"useDefineForClassFields\": false.\n");
	write_imports(text.data, out);
	appendStringInfo(out, "%s\nexport const modelClasses = [", text.data);
	foreach(lc, classes)
		appendStringInfo(out, "%s%s", lc == list_head(classes) ? "" : ", ", ((Class *) lfirst(lc))->name);
	appendStringInfoString(out, "]\n");
}
