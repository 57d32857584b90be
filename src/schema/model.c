/*
 * model.c
 *		Collections and columns, as the caller's pulls answer them.
 *
 * The same look-ups as a pull's (catalog/asked.c, catalog/view.c) decide what is there, so a schema never knows of a
 * column that no record will have.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/foreignkey.h"
#include "catalog/asked.h"
#include "catalog/pg_type.h"
#include "catalog/view.h"
#include "schema/schema.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static const struct
{
	Oid			typid;
	OfsKind		kind;
}			kinds[] =
{
	{BOOLOID, OFS_KIND_BOOLEAN},
	{INT2OID, OFS_KIND_INTEGER},
	{INT4OID, OFS_KIND_INTEGER},
	{INT8OID, OFS_KIND_BIGINT},
	{FLOAT4OID, OFS_KIND_FLOAT},
	{FLOAT8OID, OFS_KIND_FLOAT},
	{NUMERICOID, OFS_KIND_NUMERIC},
	{TIMESTAMPTZOID, OFS_KIND_INSTANT},
	{TIMESTAMPOID, OFS_KIND_CLOCK},
	{DATEOID, OFS_KIND_DATE},
	{BYTEAOID, OFS_KIND_BYTES},
	{JSONOID, OFS_KIND_JSON},
	{JSONBOID, OFS_KIND_JSON},
	{INT2VECTOROID, OFS_KIND_OTHER},
	{OIDVECTOROID, OFS_KIND_OTHER}
};

static OfsKind
kind_of(Oid typid)
{
	Oid			basetype = getBaseType(typid);
	char		category;
	bool		preferred;

	for (int i = 0; i < (int) lengthof(kinds); i++)
		if (kinds[i].typid == basetype)
			return kinds[i].kind;
	if (OidIsValid(get_element_type(basetype)))
		return OFS_KIND_ARRAY;
	if (get_typtype(basetype) == TYPTYPE_COMPOSITE)
		return OFS_KIND_ROW;
	get_type_category_preferred(basetype, &category, &preferred);
	return category == TYPCATEGORY_STRING ? OFS_KIND_TEXT : OFS_KIND_OTHER;
}

static void
read_column(OfsSchemaColumn *column, const OfsTable *table, Form_pg_attribute att, const char *name)
{
	column->attnum = att->attnum;
	column->name = name;
	column->kind = kind_of(att->atttypid);
	if (column->kind == OFS_KIND_ARRAY)
		column->element = kind_of(get_element_type(getBaseType(att->atttypid)));
	column->nullable = !att->attnotnull;
	column->server = att->attnum == table->version || att->attnum == table->created_at ||
		att->attnum == table->updated_at;
	column->generated = att->attgenerated != '\0';
	column->soft_delete = att->attnum == table->soft_delete;
	column->indexed = bms_is_member(att->attnum, table->filter_columns);
}

static OfsSchemaTable *
read_table(const OfsAsked *asked)
{
	OfsView    *view = ofs_view_columns(asked->table);
	OfsSchemaTable *table = palloc0(sizeof(OfsSchemaTable));
	Relation	rel = table_open(asked->table->relid, NoLock);

	table->name = asked->asked;
	table->qualified = psprintf("%s.%s", asked->table->schema, asked->table->relname);
	table->table = asked->table;
	table->ncolumns = view->ncolumns;
	table->columns = palloc0(sizeof(OfsSchemaColumn) * Max(view->ncolumns, 1));
	for (int i = 0; i < view->ncolumns; i++)
		read_column(&table->columns[i], asked->table,
					TupleDescAttr(RelationGetDescr(rel), view->columns[i] - 1), view->names[i]);
	table_close(rel, NoLock);
	return table;
}

/* The column of an attribute; NULL where it doesn't travel. */
static OfsSchemaColumn *
find_column(OfsSchemaTable *table, AttrNumber attnum)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (table->columns[i].attnum == attnum)
			return &table->columns[i];
	return NULL;
}

/*
 * Does the column hold ids of the parent's records?  Ids are strings, so a key that is a number, say, travels in another
 * form in the column than in the parent's id.
 */
static bool
holds_ids(const OfsSchemaColumn *column, Oid child, const ForeignKeyCacheInfo *fk, const OfsTable *parent)
{
	return fk->nkeys == 1 && parent->nkey == 1 && fk->confkey[0] == parent->key[0] &&
		(column->kind == OFS_KIND_TEXT || column->kind == OFS_KIND_OTHER) &&
		getBaseType(get_atttype(child, fk->conkey[0])) == getBaseType(parent->key_types[0]);
}

/* Columns that refer to other collections, and those of them that the schema has, too. */
static void
read_references(OfsSchemaTable *child, List *tables)
{
	Relation	rel = table_open(child->table->relid, NoLock);
	ListCell   *lc,
			   *lt;

	foreach(lc, ofs_foreign_keys(rel))
	{
		const ForeignKeyCacheInfo *fk = lfirst_node(ForeignKeyCacheInfo, lc);
		OfsSchemaColumn *column = find_column(child, fk->conkey[0]);

		if (column == NULL || ofs_table_find(fk->confrelid) == NULL)
			continue;
		column->indexed = true;
		foreach(lt, tables)
		{
			OfsSchemaTable *parent = lfirst(lt);

			if (column->parent == NULL && parent->table->relid == fk->confrelid &&
				holds_ids(column, child->table->relid, fk, parent->table))
				column->parent = parent;
		}
	}
	table_close(rel, NoLock);
}

List *
ofs_model_read(ArrayType *collections)
{
	List	   *tables = NIL;
	ListCell   *lc;

	foreach(lc, ofs_asked_list(collections))
		tables = lappend(tables, read_table(lfirst(lc)));
	foreach(lc, tables)
		read_references(lfirst(lc), tables);
	return tables;
}

const char *
ofs_model_note(const OfsSchemaColumn *column, bool native)
{
	static const struct
	{
		const char *watermelondb;
		const char *native;
	}			notes[OFS_KIND_COUNT] = {
		[OFS_KIND_BIGINT] = {"64 bits", "64 bits"},
		[OFS_KIND_NUMERIC] = {"rounded to a double", "rounded to a double"},
		[OFS_KIND_INSTANT] = {"milliseconds since 1970", "ISO 8601, UTC"},
		[OFS_KIND_CLOCK] = {"milliseconds since 1970, as if it were UTC", "ISO 8601, without a zone"},
		[OFS_KIND_DATE] = {"YYYY-MM-DD", "YYYY-MM-DD"},
		[OFS_KIND_BYTES] = {"base64", "base64"},
		[OFS_KIND_JSON] = {"JSON", NULL},
		[OFS_KIND_ARRAY] = {"array, {a,b}", NULL},
		[OFS_KIND_ROW] = {"row, (a,b)", NULL}
	};

	if (column->soft_delete)
		return "set: the record is deleted";
	if (column->server && column->kind == OFS_KIND_BIGINT)
		return NULL;			/* of 53 bits */
	return native ? notes[column->kind].native : notes[column->kind].watermelondb;
}
