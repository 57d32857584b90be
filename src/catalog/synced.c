/*
 * synced.c
 *		Synced tables: their catalog rows, cached per backend.
 *
 * An entry belongs to a relation OID, also where that relation isn't synced (most look-ups of
 * triggers' and DDL's relations end there).  Writers of the catalog invalidate the synced table's
 * relcache entry, as DDL on it does anyway, so that one bell rings for everything; the callback
 * only marks.  A marked entry is replaced at the next look-up and the old one kept to the end of
 * the transaction, because a caller may hold it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/retire.h"
#include "base/spi.h"
#include "catalog/capture.h"
#include "catalog/incarnation.h"
#include "catalog/indexing.h"
#include "catalog/notice.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "catalog/scan.h"
#include "catalog/synced.h"
#include "catalog/trouble.h"
#include "core/cursor.h"
#include "core/strategy.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

enum
{
	A_TBL = 1, A_COLLECTION, A_TOMBSTONE, A_KEY, A_CONFLICT, A_MERGE_FUNCTION,
	A_UPDATED_AT, A_SOFT_DELETE, A_COLUMNS, A_FILTER_COLUMNS, A_ACCESS_TABLES, A_ROW_LOCAL, A_READS, A_INDEX,
	A_ADDED_COLUMNS, A_ADDED_INDEX, A_SHAPE, A_NOTIFY, NATTS = A_NOTIFY
};

typedef struct Slot
{
	Oid			relid;			/* hash key */
	OfsTable   *table;			/* NULL: not synced */
	bool		stale;
} Slot;

static HTAB *slots = NULL;
static List *all = NIL;			/* OIDs, in a context of their own */
static List *told = NIL;		/* OfsTold, there too */
static MemoryContext all_context = NULL;
static uint64 all_at = 0;		/* how many invalidations had come when they were found out */
static uint64 invalidations = 1;

/* ---------- loading ---------- */

static AttrNumber
column_number(Oid relid, const char *name)
{
	AttrNumber	attnum = get_attnum(relid, name);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("synced table \"%s\" has no column \"%s\"", get_rel_name(relid), name),
				 errhint("Call offsync.disable on the table, and offsync.enable again.")));
	return attnum;
}

static void
load_key(OfsTable *table, Datum value)
{
	Datum	   *names;

	deconstruct_array(DatumGetArrayTypeP(value), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
					  &names, NULL, &table->nkey);
	table->key = palloc(sizeof(AttrNumber) * table->nkey);
	table->key_types = palloc(sizeof(Oid) * table->nkey);
	table->key_typmods = palloc(sizeof(int32) * table->nkey);
	for (int i = 0; i < table->nkey; i++)
	{
		Oid			collation;

		table->key[i] = column_number(table->relid, NameStr(*DatumGetName(names[i])));
		get_atttypetypmodcoll(table->relid, table->key[i],
							  &table->key_types[i], &table->key_typmods[i], &collation);
	}
}

static Bitmapset *
column_set(Oid relid, Datum value)
{
	Bitmapset  *columns = NULL;
	Datum	   *names;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(value), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
					  &names, NULL, &count);
	for (int i = 0; i < count; i++)
	{
		AttrNumber	attnum = get_attnum(relid, NameStr(*DatumGetName(names[i])));

		/* a column that was dropped since is simply no longer there */
		if (attnum != InvalidAttrNumber)
			columns = bms_add_member(columns, attnum);
	}
	return columns;
}

static void
load_columns(OfsTable *table, Datum value)
{
	table->columns = column_set(table->relid, value);
	/* an empty set would mean "all" */
	if (table->columns == NULL)
		table->columns = bms_copy(bms_make_singleton(table->key[0]));
}

static List *
oid_list(Datum value)
{
	List	   *list = NIL;
	Datum	   *oids;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(value), REGCLASSOID, sizeof(Oid), true,
					  TYPALIGN_INT, &oids, NULL, &count);
	for (int i = 0; i < count; i++)
		list = lappend_oid(list, DatumGetObjectId(oids[i]));
	return list;
}

static void
load_access(OfsTable *table, const Datum *values, const bool *nulls)
{
	table->declared.row_local = DatumGetBool(values[A_ROW_LOCAL - 1]);
	table->declared.known = !nulls[A_ACCESS_TABLES - 1];
	if (table->declared.known)
		table->declared.tables = oid_list(values[A_ACCESS_TABLES - 1]);
}

/* The columns that the table's strategy asks for. */
static void
load_kept(OfsTable *table)
{
	const OfsStrategy *strategy = ofs_strategy_find(table->conflict);

	if (strategy != NULL && strategy->needs_history)
		table->history = column_number(table->relid, OFS_COL_HISTORY);
	if (strategy != NULL && strategy->needs_clocks)
		table->clocks = column_number(table->relid, OFS_COL_CLOCKS);
}

static OfsTable *
make_table(Oid relid, Datum *values, bool *nulls)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "offsync table", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	OfsTable   *table = palloc0(sizeof(OfsTable));
	static uint64 serial = 0;

	table->context = context;
	table->serial = ++serial;
	table->relid = relid;
	table->tombstone = DatumGetObjectId(values[A_TOMBSTONE - 1]);
	table->collection = TextDatumGetCString(values[A_COLLECTION - 1]);
	table->hash = ofs_name_hash(table->collection);
	table->schema = get_namespace_name(get_rel_namespace(relid));
	table->relname = get_rel_name(relid);
	table->conflict = TextDatumGetCString(values[A_CONFLICT - 1]);
	if (!nulls[A_MERGE_FUNCTION - 1])
		table->merge_function = TextDatumGetCString(values[A_MERGE_FUNCTION - 1]);
	if (!nulls[A_UPDATED_AT - 1])
		table->client_updated_at = column_number(relid, NameStr(*DatumGetName(values[A_UPDATED_AT - 1])));
	if (!nulls[A_SOFT_DELETE - 1])
		table->soft_delete = column_number(relid, NameStr(*DatumGetName(values[A_SOFT_DELETE - 1])));
	table->shape = TextDatumGetCString(values[A_SHAPE - 1]);
	table->notify = DatumGetBool(values[A_NOTIFY - 1]);
	load_key(table, values[A_KEY - 1]);
	if (!nulls[A_COLUMNS - 1])
		load_columns(table, values[A_COLUMNS - 1]);
	if (!nulls[A_FILTER_COLUMNS - 1])
		table->filter_columns = column_set(relid, values[A_FILTER_COLUMNS - 1]);
	load_access(table, values, nulls);
	table->created_at = column_number(relid, OFS_COL_CREATED_AT);
	table->updated_at = column_number(relid, OFS_COL_UPDATED_AT);
	table->version = column_number(relid, OFS_COL_VERSION);
	table->created_version = column_number(relid, OFS_COL_CREATED_VERSION);
	load_kept(table);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, CacheMemoryContext);
	return table;
}

typedef struct Search
{
	Oid			relid;
	OfsTable   *table;
} Search;

static bool
visit_one(Relation rel, HeapTuple tuple, Datum *values, bool *nulls, void *arg)
{
	Search	   *search = arg;

	if (DatumGetObjectId(values[A_TBL - 1]) != search->relid)
		return false;
	/* dropped in this very transaction, its row not removed yet */
	if (get_rel_name(search->relid) != NULL)
		search->table = make_table(search->relid, values, nulls);
	return true;
}

static bool
visit_all(Relation rel, HeapTuple tuple, Datum *values, bool *nulls, void *arg)
{
	MemoryContext old = MemoryContextSwitchTo(all_context);
	Oid			relid = DatumGetObjectId(values[A_TBL - 1]);

	all = lappend_oid(all, relid);
	if (DatumGetBool(values[A_NOTIFY - 1]))
	{
		OfsTold    *one = palloc(sizeof(OfsTold));

		one->relid = relid;
		one->collection = TextDatumGetCString(values[A_COLLECTION - 1]);
		one->reads = oid_list(values[A_READS - 1]);
		told = lappend(told, one);
	}
	MemoryContextSwitchTo(old);
	return false;
}

/* ---------- the cache ---------- */

static void
relation_invalidated(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	Slot	   *slot;

	/* whatever it is: what was enabled is among it */
	invalidations++;
	if (slots == NULL)
		return;
	hash_seq_init(&status, slots);
	while ((slot = hash_seq_search(&status)) != NULL)
		if (relid == InvalidOid || slot->relid == relid ||
			(slot->table && ofs_trouble_watches(slot->table, relid)))
		{
			slot->stale = true;
			if (slot->table)
				slot->table->stale = true;
		}
}

static void
make_cache(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Slot);
	slots = hash_create("offsync tables", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(relation_invalidated, (Datum) 0);
}

/* Enabling and disabling change the table, too, and so its invalidation tells of them. */
static void
find_all(void)
{
	uint64		now;

	if (slots == NULL)
		make_cache();
	if (all_at == invalidations)
		return;
	if (all_context == NULL)
		all_context = AllocSetContextCreate(CacheMemoryContext, "offsync all tables", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(all_context);
	all = told = NIL;
	all_at = 0;
	/* one that comes meanwhile counts */
	now = invalidations;
	ofs_scan("synced_table", AccessShareLock, visit_all, NULL);
	all_at = now;
}

static List *
all_oids(void)
{
	AcceptInvalidationMessages();
	find_all();
	return list_copy(all);
}

OfsTable *
ofs_table_find(Oid relid)
{
	Slot	   *slot;
	Search		search = {relid, NULL};
	bool		found;
	uint64		since;

	if (slots == NULL)
		make_cache();
	slot = hash_search(slots, &relid, HASH_FIND, NULL);
	if (slot && !slot->stale)
		return slot->table;

	/* lock first, so that invalidations sent before are seen before we read */
	since = invalidations;
	ofs_scan("synced_table", AccessShareLock, visit_one, &search);
	slot = hash_search(slots, &relid, HASH_ENTER, &found);
	if (found && slot->table)
		ofs_retire(slot->table->context);
	slot->table = search.table;
	/* whatever came meanwhile may have been about what was read before */
	slot->stale = since != invalidations;
	if (search.table)
		search.table->stale = slot->stale;
	return search.table;
}

OfsTable *
ofs_table_again(const OfsTable *table)
{
	OfsTable   *found = ofs_table_find(table->relid);

	if (found == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("collection \"%s\" is no longer synced", table->collection)));
	return found;
}

OfsTable *
ofs_table_of(Oid relid)
{
	if (get_rel_relispartition(relid))
	{
		List	   *ancestors = get_partition_ancestors(relid);

		if (ancestors != NIL)
			relid = llast_oid(ancestors);
	}
	return ofs_table_find(relid);
}

List *
ofs_table_list(void)
{
	List	   *tables = NIL;
	ListCell   *lc;

	foreach(lc, all_oids())
	{
		OfsTable   *table = ofs_table_find(lfirst_oid(lc));

		if (table)
			tables = lappend(tables, table);
	}
	return ofs_table_sort(tables);
}

OfsTable *
ofs_table_by_name(const char *name)
{
	ListCell   *lc;
	OfsTable   *qualified = NULL;

	foreach(lc, all_oids())
	{
		OfsTable   *table = ofs_table_find(lfirst_oid(lc));

		if (table == NULL)
			continue;
		if (strcmp(table->collection, name) == 0)
			return table;
		if (strncmp(name, table->schema, strlen(table->schema)) == 0 &&
			name[strlen(table->schema)] == '.' &&
			strcmp(name + strlen(table->schema) + 1, table->relname) == 0)
			qualified = table;
	}
	return qualified;
}

void
ofs_table_invalidate(Oid relid)
{
	CacheInvalidateRelcacheByRelid(relid);
}

List *
ofs_table_told(void)
{
	find_all();
	return told;
}

/* ---------- columns ---------- */

static bool
name_taken(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped &&
			strcmp(NameStr(TupleDescAttr(desc, i)->attname), name) == 0)
			return true;
	return false;
}

const char *
ofs_table_wire_name(OfsTable *table, TupleDesc desc, AttrNumber attnum)
{
	Form_pg_attribute att = TupleDescAttr(desc, attnum - 1);
	const char *name = NameStr(att->attname);
	char	   *other;

	if (att->attisdropped || attnum == table->created_version ||
		attnum == table->history || attnum == table->clocks)
		return NULL;
	if (table->columns && !bms_is_member(attnum, table->columns) &&
		attnum != table->version && attnum != table->created_at && attnum != table->updated_at)
		return NULL;
	if (strcmp(name, "_status") == 0 || strcmp(name, "_changed") == 0 ||
		strcmp(name, "__proto__") == 0)
		return NULL;
	/* what records of such tables carry beside their columns */
	if (table->clocks && (strcmp(name, "_clock") == 0 || strcmp(name, "_clocks") == 0))
		return NULL;
	if (strcmp(name, "id") != 0)
		return name;

	/* "id" is the key's name on the wire */
	if (table->nkey == 1 && table->key[0] == attnum)
		return NULL;
	other = pstrdup("id_");
	while (name_taken(desc, other))
		other = psprintf("%s_", other);
	return other;
}

/* ---------- events ---------- */

void
ofs_table_reset(Oid relid, const char *reason)
{
	Relation	rel = table_open(ofs_internal_table("reset_event"), RowExclusiveLock);
	Datum		values[4];
	bool		nulls[4] = {false};
	HeapTuple	tuple;

	ofs_capture_disturb();
	values[0] = ObjectIdGetDatum(relid);
	values[1] = Int64GetDatum(ofs_version_stamp());
	values[2] = CStringGetTextDatum(reason);
	values[3] = TimestampTzGetDatum(GetCurrentTimestamp());
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	if (OidIsValid(relid))
		ofs_notice_reset(relid);
}

void
ofs_table_reset_all(const char *reason)
{
	ListCell   *lc;

	foreach(lc, all_oids())
		ofs_table_reset(lfirst_oid(lc), reason);
}
