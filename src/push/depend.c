/*
 * depend.c
 *		Which pushed record does one that violates a foreign key refer to?
 *
 * The error names the constraint; what the record holds in its columns, written as an id, names the
 * parent.  That can be told where the constraint refers to the key of a collection of the same push.
 *
 * The error's detail shows the values that have no parent, in any language as "=(value, value)".  That is good
 * enough for a suspicion.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "catalog/namespace.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "push/push.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

typedef struct Reference
{
	Oid			from;
	Oid			to;
	int			ncolumns;
	AttrNumber *from_columns;
	AttrNumber *to_columns;
} Reference;

/* The foreign key that an error is about, or InvalidOid. */
Oid
ofs_depend_constraint(const ErrorData *error)
{
	Oid			schema;
	Oid			relid;

	if (error->sqlerrcode != ERRCODE_FOREIGN_KEY_VIOLATION || error->schema_name == NULL ||
		error->table_name == NULL || error->constraint_name == NULL)
		return InvalidOid;
	schema = get_namespace_oid(error->schema_name, true);
	relid = OidIsValid(schema) ? get_relname_relid(error->table_name, schema) : InvalidOid;
	return OidIsValid(relid) ? get_relation_constraint_oid(relid, error->constraint_name, true) : InvalidOid;
}

static AttrNumber *
read_columns(HeapTuple tuple, AttrNumber attribute, int *ncolumns)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(CONSTROID, tuple, attribute, &isnull);
	AttrNumber *columns;
	ArrayType  *array;

	*ncolumns = 0;
	if (isnull)
		return NULL;
	array = DatumGetArrayTypePCopy(value);
	*ncolumns = ARR_DIMS(array)[0];
	columns = palloc0_array(AttrNumber, *ncolumns);
	memcpy(columns, ARR_DATA_PTR(array), sizeof(AttrNumber) * *ncolumns);
	return columns;
}

static bool
read_reference(Oid constraint, Reference *reference)
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	Form_pg_constraint form;
	int			n;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_constraint) GETSTRUCT(tuple);
	reference->from = form->conrelid;
	reference->to = form->confrelid;
	reference->from_columns = read_columns(tuple, Anum_pg_constraint_conkey, &reference->ncolumns);
	reference->to_columns = read_columns(tuple, Anum_pg_constraint_confkey, &n);
	ReleaseSysCache(tuple);
	return n == reference->ncolumns && n > 0;
}

static PushTable *
find_table(Push *push, Oid relid)
{
	OfsTable   *synced = ofs_table_of(relid);

	for (int i = 0; synced != NULL && i < push->ntables; i++)
	{
		if (push->tables[i]->table->relid == synced->relid)
			return push->tables[i];
	}
	return NULL;
}

/* What the record has in a column of this name; false where it wasn't sent, or is NULL. */
static bool
find_value(const PushTable *table, const PushItem *item, const char *name, Datum *value, Oid *type, int32 *typmod)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		const PushColumn *column = &table->columns[i];
		bool		isnull;

		if (strcmp(column->name, name) != 0)
			continue;
		*type = column->typid;
		*typmod = column->typmod;
		for (int j = 0; j < item->nvalues; j++)
		{
			if (item->values[j].column != i)
				continue;
			*value = ofs_codec_read(column->codec, item->values[j].sent, &isnull);
			return !isnull;
		}
	}
	/* the key travels as the id */
	for (int i = 0; i < table->table->nkey; i++)
	{
		if (strcmp(table->key_names[i], name) != 0)
			continue;
		*value = item->key[i];
		*type = table->table->key_types[i];
		*typmod = table->table->key_typmods[i];
		return true;
	}
	return false;
}

/* The id that the record refers to, or NULL. */
static char *
referred_id(const PushTable *table, const PushItem *item, const PushTable *parent, const Reference *reference)
{
	int			nkey = parent->table->nkey;
	Datum	   *parts = palloc0_array(Datum, nkey);
	Oid		   *types = palloc0_array(Oid, nkey);
	int32	   *typmods = palloc0_array(int32, nkey);
	StringInfoData id;

	if (nkey != reference->ncolumns)
		return NULL;
	for (int i = 0; i < nkey; i++)
	{
		bool		found = false;

		for (int j = 0; j < nkey && !found; j++)
		{
			if (strcmp(get_attname(reference->to, reference->to_columns[j], false), parent->key_names[i]) == 0)
				found = find_value(table, item, get_attname(reference->from, reference->from_columns[j], false),
								   &parts[i], &types[i], &typmods[i]);
		}
		if (!found)
			return NULL;
	}
	initStringInfo(&id);
	ofs_key_write(ofs_key_create(nkey, types, typmods), &id, parts);
	return id.data;
}

/* The pushed record that this one refers to by the constraint; NULL: none, or that can't be told. */
PushItem *
ofs_depend_parent(Push *push, const PushTable *table, const PushItem *item, Oid constraint, PushTable **parent)
{
	Reference	reference;
	const char *id;
	PushId	   *entry;

	if (table == NULL || !read_reference(constraint, &reference) || find_table(push, reference.from) != table)
		return NULL;
	*parent = find_table(push, reference.to);
	if (*parent == NULL)
		return NULL;
	id = referred_id(table, item, *parent, &reference);
	if (id == NULL)
		return NULL;
	entry = hash_search((*parent)->ids, &id, HASH_FIND, NULL);
	return entry != NULL && !entry->deleted ? entry->item : NULL;
}

/* Does the detail of an error of the constraint show this record's values? */
bool
ofs_depend_fits(Push *push, const PushTable *table, const PushItem *item, Oid constraint, const char *detail)
{
	Reference	reference;
	StringInfoData shown;

	if (table == NULL || detail == NULL || !read_reference(constraint, &reference) ||
		find_table(push, reference.from) != table)
		return false;
	initStringInfo(&shown);
	appendStringInfoString(&shown, "=(");
	for (int i = 0; i < reference.ncolumns; i++)
	{
		Datum		value;
		Oid			type;
		int32		typmod;

		if (!find_value(table, item, get_attname(reference.from, reference.from_columns[i], false),
						&value, &type, &typmod))
			return false;
		if (i > 0)
			appendStringInfoString(&shown, ", ");
		ofs_key_write(ofs_key_create(1, &type, &typmod), &shown, &value);
	}
	appendStringInfoChar(&shown, ')');
	return strstr(detail, shown.data) != NULL;
}
