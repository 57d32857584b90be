/*
 * entry.c
 *		Rows of offsync_internal.synced_table, read and written beneath all permissions.
 *
 * Nothing is resolved here, unlike in the cache: a row whose table lost a column must still
 * be readable to be removed.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/spi.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "catalog/synced.h"
#include "core/strategy.h"
#include "setup/setup.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

enum
{
	A_TBL = 1, A_COLLECTION, A_TOMBSTONE, A_KEY, A_CONFLICT, A_MERGE_FUNCTION,
	A_UPDATED_AT, A_SOFT_DELETE, A_COLUMNS, A_FILTER_COLUMNS, A_ACCESS_TABLES, A_ROW_LOCAL, A_READS, A_INDEX,
	A_ADDED_COLUMNS, A_ADDED_INDEX, A_SHAPE, A_NOTIFY, NATTS = A_NOTIFY
};

static List *
names_from_array(Datum value)
{
	List	   *names = NIL;
	Datum	   *elements;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(value), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
					  &elements, NULL, &count);
	for (int i = 0; i < count; i++)
		names = lappend(names, pstrdup(NameStr(*DatumGetName(elements[i]))));
	return names;
}

static List *
oids_from_array(Datum value)
{
	List	   *oids = NIL;
	Datum	   *elements;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(value), REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT,
					  &elements, NULL, &count);
	for (int i = 0; i < count; i++)
		oids = lappend_oid(oids, DatumGetObjectId(elements[i]));
	return oids;
}

Datum
ofs_entry_oid_array(List *oids, Oid type)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(list_length(oids), 1));
	ListCell   *lc;
	int			count = 0;

	foreach(lc, oids)
		elements[count++] = ObjectIdGetDatum(lfirst_oid(lc));
	return PointerGetDatum(construct_array(elements, count, type, sizeof(Oid), true, TYPALIGN_INT));
}

Datum
ofs_entry_name_array(List *names)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(list_length(names), 1));
	ListCell   *lc;
	int			count = 0;

	foreach(lc, names)
		elements[count++] = DirectFunctionCall1(namein, CStringGetDatum((char *) lfirst(lc)));
	return PointerGetDatum(construct_array(elements, count, NAMEOID, NAMEDATALEN, false,
										   TYPALIGN_CHAR));
}

static OfsEntry *
read_entry(Relation rel, HeapTuple tuple)
{
	OfsEntry   *entry = palloc0(sizeof(OfsEntry));
	Datum		values[NATTS];
	bool		nulls[NATTS];

	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	entry->relid = DatumGetObjectId(values[A_TBL - 1]);
	entry->collection = TextDatumGetCString(values[A_COLLECTION - 1]);
	entry->tombstone = DatumGetObjectId(values[A_TOMBSTONE - 1]);
	entry->key = names_from_array(values[A_KEY - 1]);
	entry->conflict = TextDatumGetCString(values[A_CONFLICT - 1]);
	if (!nulls[A_MERGE_FUNCTION - 1])
		entry->merge_function = TextDatumGetCString(values[A_MERGE_FUNCTION - 1]);
	if (!nulls[A_UPDATED_AT - 1])
		entry->updated_at = pstrdup(NameStr(*DatumGetName(values[A_UPDATED_AT - 1])));
	if (!nulls[A_SOFT_DELETE - 1])
		entry->soft_delete = pstrdup(NameStr(*DatumGetName(values[A_SOFT_DELETE - 1])));
	entry->all_columns = nulls[A_COLUMNS - 1];
	if (!entry->all_columns)
		entry->columns = names_from_array(values[A_COLUMNS - 1]);
	if (!nulls[A_FILTER_COLUMNS - 1])
		entry->filter_columns = names_from_array(values[A_FILTER_COLUMNS - 1]);
	entry->declared.known = !nulls[A_ACCESS_TABLES - 1];
	if (entry->declared.known)
		entry->declared.tables = oids_from_array(values[A_ACCESS_TABLES - 1]);
	entry->declared.row_local = DatumGetBool(values[A_ROW_LOCAL - 1]);
	entry->reads = oids_from_array(values[A_READS - 1]);
	entry->index = TextDatumGetCString(values[A_INDEX - 1]);
	entry->added_columns = names_from_array(values[A_ADDED_COLUMNS - 1]);
	if (!nulls[A_ADDED_INDEX - 1])
		entry->added_index = TextDatumGetCString(values[A_ADDED_INDEX - 1]);
	entry->shape = TextDatumGetCString(values[A_SHAPE - 1]);
	entry->notify = DatumGetBool(values[A_NOTIFY - 1]);
	return entry;
}

static void
fill_text(Datum *value, bool *isnull, const char *text)
{
	*isnull = text == NULL;
	*value = text ? CStringGetTextDatum(text) : (Datum) 0;
}

static void
fill_name(Datum *value, bool *isnull, const char *name)
{
	*isnull = name == NULL;
	*value = name ? DirectFunctionCall1(namein, CStringGetDatum(name)) : (Datum) 0;
}

static void
fill_values(const OfsEntry *entry, Datum *values, bool *nulls)
{
	memset(nulls, 0, sizeof(bool) * NATTS);
	values[A_TBL - 1] = ObjectIdGetDatum(entry->relid);
	values[A_COLLECTION - 1] = CStringGetTextDatum(entry->collection);
	values[A_TOMBSTONE - 1] = ObjectIdGetDatum(entry->tombstone);
	values[A_KEY - 1] = ofs_entry_name_array(entry->key);
	values[A_CONFLICT - 1] = CStringGetTextDatum(entry->conflict);
	fill_text(&values[A_MERGE_FUNCTION - 1], &nulls[A_MERGE_FUNCTION - 1], entry->merge_function);
	fill_name(&values[A_UPDATED_AT - 1], &nulls[A_UPDATED_AT - 1], entry->updated_at);
	fill_name(&values[A_SOFT_DELETE - 1], &nulls[A_SOFT_DELETE - 1], entry->soft_delete);
	nulls[A_COLUMNS - 1] = entry->all_columns;
	values[A_COLUMNS - 1] = entry->all_columns ? (Datum) 0 : ofs_entry_name_array(entry->columns);
	nulls[A_FILTER_COLUMNS - 1] = entry->filter_columns == NIL;
	values[A_FILTER_COLUMNS - 1] = ofs_entry_name_array(entry->filter_columns);
	nulls[A_ACCESS_TABLES - 1] = !entry->declared.known;
	values[A_ACCESS_TABLES - 1] = ofs_entry_oid_array(entry->declared.tables, REGCLASSOID);
	values[A_ROW_LOCAL - 1] = BoolGetDatum(entry->declared.row_local);
	values[A_READS - 1] = ofs_entry_oid_array(entry->reads, REGCLASSOID);
	values[A_INDEX - 1] = CStringGetTextDatum(entry->index);
	values[A_ADDED_COLUMNS - 1] = ofs_entry_name_array(entry->added_columns);
	fill_text(&values[A_ADDED_INDEX - 1], &nulls[A_ADDED_INDEX - 1], entry->added_index);
	values[A_SHAPE - 1] = CStringGetTextDatum(entry->shape);
	values[A_NOTIFY - 1] = BoolGetDatum(entry->notify);
}

/*
 * Visit the rows of one of our tables whose first column is an OID (any, when it is invalid).
 */
static void
visit_rows(const char *table, Oid wanted, LOCKMODE lockmode,
		   void (*visit) (Relation rel, HeapTuple tuple, void *arg), void *arg)
{
	Relation	rel = table_open(ofs_internal_table(table), lockmode);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Oid			oid = DatumGetObjectId(heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull));

		if (!OidIsValid(wanted) || oid == wanted)
			visit(rel, tuple, arg);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, lockmode == AccessShareLock ? AccessShareLock : NoLock);
}

static void
collect(Relation rel, HeapTuple tuple, void *arg)
{
	List	  **entries = arg;

	*entries = lappend(*entries, read_entry(rel, tuple));
}

List *
ofs_entry_list(void)
{
	List	   *entries = NIL;

	visit_rows("synced_table", InvalidOid, AccessShareLock, collect, &entries);
	return entries;
}

OfsEntry *
ofs_entry_find(Oid relid)
{
	List	   *entries = NIL;

	visit_rows("synced_table", relid, AccessShareLock, collect, &entries);
	return entries == NIL ? NULL : linitial(entries);
}

void
ofs_entry_insert(const OfsEntry *entry)
{
	Relation	rel = table_open(ofs_internal_table("synced_table"), RowExclusiveLock);
	Datum		values[NATTS];
	bool		nulls[NATTS];

	fill_values(entry, values, nulls);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, NoLock);
	ofs_table_invalidate(entry->relid);
}

static void
replace_row(Relation rel, HeapTuple tuple, void *arg)
{
	Datum		values[NATTS];
	bool		nulls[NATTS];

	fill_values(arg, values, nulls);
	CatalogTupleUpdate(rel, &tuple->t_self,
					   heap_form_tuple(RelationGetDescr(rel), values, nulls));
}

void
ofs_entry_update(const OfsEntry *entry)
{
	visit_rows("synced_table", entry->relid, RowExclusiveLock, replace_row, unconstify(OfsEntry *, entry));
	ofs_table_invalidate(entry->relid);
}

static void
delete_row(Relation rel, HeapTuple tuple, void *arg)
{
	CatalogTupleDelete(rel, &tuple->t_self);
}

/* The table itself may be gone already. */
void
ofs_entry_delete(Oid relid)
{
	visit_rows("synced_table", relid, RowExclusiveLock, delete_row, NULL);
	visit_rows("reset_event", relid, RowExclusiveLock, delete_row, NULL);
	if (get_rel_name(relid) != NULL)
		ofs_table_invalidate(relid);
}

const OfsStrategy *
ofs_entry_strategy(const OfsEntry *entry)
{
	const OfsStrategy *strategy = ofs_strategy_find(entry->conflict);

	/* one that a later version of the library knows: its table can be disabled */
	return strategy ? strategy : ofs_strategy_find("reject");
}

/* A column that the strategy asks for. */
static bool
misses(const OfsEntry *entry, bool needed, const char *column)
{
	return needed && get_attnum(entry->relid, column) == InvalidAttrNumber;
}

const char *
ofs_entry_missing_column(const OfsEntry *entry)
{
	static const char *const own[] = {
		OFS_COL_CREATED_AT, OFS_COL_UPDATED_AT, OFS_COL_VERSION, OFS_COL_CREATED_VERSION
	};
	ListCell   *lc;

	foreach(lc, entry->key)
		if (get_attnum(entry->relid, (char *) lfirst(lc)) == InvalidAttrNumber)
			return (char *) lfirst(lc);
	for (int i = 0; i < (int) lengthof(own); i++)
		if (get_attnum(entry->relid, own[i]) == InvalidAttrNumber)
			return own[i];
	if (misses(entry, ofs_entry_strategy(entry)->needs_history, OFS_COL_HISTORY))
		return OFS_COL_HISTORY;
	if (misses(entry, ofs_entry_strategy(entry)->needs_clocks, OFS_COL_CLOCKS))
		return OFS_COL_CLOCKS;
	if (entry->updated_at && get_attnum(entry->relid, entry->updated_at) == InvalidAttrNumber)
		return entry->updated_at;
	if (entry->soft_delete && get_attnum(entry->relid, entry->soft_delete) == InvalidAttrNumber)
		return entry->soft_delete;
	foreach(lc, entry->filter_columns)
		if (get_attnum(entry->relid, (char *) lfirst(lc)) == InvalidAttrNumber)
			return (char *) lfirst(lc);
	return NULL;
}
