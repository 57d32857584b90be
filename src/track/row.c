/*
 * row.c
 *		What the row triggers know of the relation they fire on.
 *
 * Each execution of a statement calls its triggers through a new FmgrInfo.  Where statements write single rows, whatever is
 * kept there alone is found out for each row; so it is kept for the session, and an invalidation marks it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/retire.h"
#include "catalog/capture.h"
#include "catalog/notice.h"
#include "catalog/pg_type.h"
#include "track/row.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

typedef struct Slot
{
	Oid			relid;			/* hash key */
	OfsRow	   *row;
} Slot;

static HTAB *slots = NULL;
static List *replaced = NIL;	/* OfsRow that queries may hold as long as the transaction lasts */
static uint64 invalidations = 0;

static AttrNumber
find_column(Relation rel, const char *name)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of synced table \"%s\" is missing", name,
						RelationGetRelationName(rel)),
				 errhint("Call offsync.disable on the table, and offsync.enable again.")));
	return attnum;
}

/* Anybody may put the trigger on a table of his own, with columns of any type. */
static AttrNumber
stamp_column(Relation rel, const char *name, Oid type)
{
	AttrNumber	attnum = find_column(rel, name);

	if (TupleDescAttr(RelationGetDescr(rel), attnum - 1)->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" must have type %s", name,
						RelationGetRelationName(rel), format_type_be(type))));
	return attnum;
}

/* A partition has its own numbers for the root's columns. */
static void
find_key(OfsRow *row, Relation rel, const OfsTable *table)
{
	row->nkey = table->nkey;
	row->key = palloc(sizeof(AttrNumber) * table->nkey);
	for (int i = 0; i < table->nkey; i++)
		row->key[i] = table->relid == RelationGetRelid(rel) ? table->key[i] :
			find_column(rel, get_attname(table->relid, table->key[i], false));
}

/* ---------- what is kept of a relation ---------- */

static void
load_columns(OfsRow *row, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	row->natts = desc->natts;
	row->columns = palloc(sizeof(OfsColumn) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		OfsColumn  *column = &row->columns[i];

		column->len = att->attlen;
		column->align = att->attalign;
		column->stamp = -1;
		column->changes = att->attisdropped || att->attgenerated != '\0' ? 0 : OFS_CHANGES_ROW;
	}
	for (int i = 0; i < row->nkey; i++)
		row->columns[row->key[i] - 1].changes |= OFS_CHANGES_KEY;
	if (row->client_updated_at)
		row->columns[row->client_updated_at - 1].changes |= OFS_CHANGES_DATE;
	for (int i = 0; i < OFS_NWRITTEN; i++)
	{
		if (row->stamps[i] == 0)
			continue;
		row->columns[row->stamps[i] - 1].stamp = i;
		row->columns[row->stamps[i] - 1].changes = OFS_CHANGES_STAMP;
		row->nwalked = Max(row->nwalked, row->stamps[i]);
	}
	row->trailing = row->stamps[OFS_S_HISTORY] == 0;
	for (int i = 0; i < OFS_NSTAMPS; i++)
		row->trailing = row->trailing && row->stamps[i] > desc->natts - OFS_NSTAMPS;
}

static void
load_table(OfsRow *row, Relation rel, const OfsTable *table)
{
	row->root = table->relid;
	row->tombstone = table->tombstone;
	if (table->notify)
		row->told = pstrdup(table->collection);
	if (table->history)
		row->stamps[OFS_S_HISTORY] = stamp_column(rel, OFS_COL_HISTORY, TEXTARRAYOID);
	if (table->clocks)
		row->stamps[OFS_S_CLOCKS] = stamp_column(rel, OFS_COL_CLOCKS, TEXTARRAYOID);
	if (table->client_updated_at)
		row->client_updated_at = table->relid == RelationGetRelid(rel) ? table->client_updated_at :
			find_column(rel, get_attname(table->relid, table->client_updated_at, false));
	find_key(row, rel, table);
}

static OfsRow *
make_row(Relation rel)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "offsync row triggers", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	OfsRow	   *row = palloc0(sizeof(OfsRow));
	uint64		since = invalidations;
	const OfsTable *table;

	row->relid = RelationGetRelid(rel);
	row->context = context;
	row->stamps[OFS_S_CREATED_AT] = stamp_column(rel, OFS_COL_CREATED_AT, TIMESTAMPTZOID);
	row->stamps[OFS_S_UPDATED_AT] = stamp_column(rel, OFS_COL_UPDATED_AT, TIMESTAMPTZOID);
	row->stamps[OFS_S_VERSION] = stamp_column(rel, OFS_COL_VERSION, INT8OID);
	row->stamps[OFS_S_CREATED_VERSION] = stamp_column(rel, OFS_COL_CREATED_VERSION, INT8OID);
	table = ofs_table_of(RelationGetRelid(rel));
	if (table)
		load_table(row, rel, table);
	load_columns(row, rel);
	MemoryContextSwitchTo(old);
	/* whatever came meanwhile may have been about what was read before */
	row->stale = since != invalidations;
	return row;
}

/* ---------- the cache ---------- */

static void
mark(OfsRow *row, Oid relid)
{
	if (relid == InvalidOid || relid == row->relid || relid == row->root)
		row->stale = true;
	if (relid == InvalidOid || relid == row->tombstone)
	{
		row->fit = OFS_FIT_UNKNOWN;
		row->measured = false;
	}
}

static void
relation_invalidated(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	Slot	   *slot;
	ListCell   *lc;

	invalidations++;
	hash_seq_init(&status, slots);
	while ((slot = hash_seq_search(&status)) != NULL)
		mark(slot->row, relid);
	foreach(lc, replaced)
		mark(lfirst(lc), relid);
}

static void
forget(void *row)
{
	replaced = list_delete_ptr(replaced, row);
}

/* It goes on being marked. */
static void
replace(OfsRow *row)
{
	MemoryContextCallback *gone = MemoryContextAllocZero(row->context, sizeof(MemoryContextCallback));

	gone->func = forget;
	gone->arg = row;
	MemoryContextRegisterResetCallback(row->context, gone);
	replaced = lappend(replaced, row);
	ofs_retire(row->context);
}

static void
make_cache(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Slot);
	slots = hash_create("offsync row triggers", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(relation_invalidated, (Datum) 0);
}

static void
keep(OfsRow *row)
{
	bool		found;
	Slot	   *slot = hash_search(slots, &row->relid, HASH_ENTER, &found);
	OfsRow	   *before = found ? slot->row : NULL;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	slot->row = row;
	MemoryContextSetParent(row->context, CacheMemoryContext);
	if (before)
		replace(before);
	MemoryContextSwitchTo(old);
}

OfsRow *
ofs_row_get(FmgrInfo *flinfo, Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	OfsRow	   *row = flinfo->fn_extra;
	Slot	   *slot;

	if (row)
		return row;
	if (slots == NULL)
		make_cache();
	slot = hash_search(slots, &relid, HASH_FIND, NULL);
	row = slot ? slot->row : NULL;
	if (row == NULL || row->stale)
	{
		row = make_row(rel);
		keep(row);
	}
	flinfo->fn_extra = row;
	return row;
}

/* ---------- telling a push ---------- */

/* Ids are written for pushes only. */
static OfsKeyCodec *
codec_of(OfsRow *row)
{
	const OfsTable *table = row->codec ? NULL : ofs_table_find(row->root);
	MemoryContext old;

	if (table)
	{
		old = MemoryContextSwitchTo(row->context);
		row->codec = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
		MemoryContextSwitchTo(old);
	}
	return row->codec;
}

/* The row's id; NULL when a part of the key is: about to be refused, or to be filled in by a trigger of the owner's. */
static char *
row_id(OfsRow *row, Relation rel, HeapTuple tuple)
{
	OfsKeyCodec *codec = codec_of(row);
	Datum	   *parts;
	StringInfoData id;

	if (codec == NULL)
		return NULL;
	parts = palloc(sizeof(Datum) * row->nkey);
	for (int i = 0; i < row->nkey; i++)
	{
		bool		isnull;

		parts[i] = heap_getattr(tuple, row->key[i], RelationGetDescr(rel), &isnull);
		if (isnull)
			return NULL;
	}
	initStringInfo(&id);
	ofs_key_write(codec, &id, parts);
	pfree(parts);
	return id.data;
}

static void
note(OfsRow *row, Relation rel, HeapTuple tuple, bool stored)
{
	char	   *id = row_id(row, rel, tuple);

	if (id == NULL)
		return;
	ofs_capture_note(row->root, id, rel, stored ? tuple : NULL);
	pfree(id);
}

bool
ofs_row_differs(OfsRow *row, Relation rel, HeapTuple tuple)
{
	char	   *id;

	if (!row->client_updated_at || !ofs_capture_judged())
		return false;
	id = row_id(row, rel, tuple);
	return id != NULL && ofs_capture_differs(row->root, id, rel, tuple);
}

const OfsGift *
ofs_row_gift(OfsRow *row, Relation rel, HeapTuple tuple)
{
	char	   *id = ofs_capture_active() ? row_id(row, rel, tuple) : NULL;

	return id ? ofs_capture_gift(row->root, id, rel, tuple) : NULL;
}

/* One is enough, unless it was rolled back with a subtransaction. */
static void
stain(void)
{
	static FullTransactionId stained;
	static SubTransactionId stained_in;

	if (FullTransactionIdEquals(stained, GetTopFullTransactionId()) && stained_in == GetCurrentSubTransactionId())
		return;
	ofs_table_reset(InvalidOid, OFS_STAIN);
	stained = GetTopFullTransactionId();
	stained_in = GetCurrentSubTransactionId();
}

void
ofs_row_written(OfsRow *row, Relation rel, HeapTuple tuple, bool stored)
{
	if (!OidIsValid(row->root))
		return;
	if (row->told)
		ofs_notice_row(row->root, row->told);
	if (ofs_capture_active())
		note(row, rel, tuple, stored);
	else if (ofs_capture_answered())
		stain();
}
