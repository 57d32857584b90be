/*
 * grave.c
 *		Writing tombstones: those of a statement together.
 *
 * Row triggers leave tombstones, since they alone fire for every writer.  But one by one, in the order of the
 * deletion, most of the time goes into the primary key's index, at another page each time.  So
 * they wait until all AFTER triggers of their statement have fired, and are then written in about the order of their keys.
 * "Their statement" is a level: a running ExecutorFinish, which is where the executor
 * fires them.  Levels nest, as statements in triggers do, and a level begins and ends in the same subtransaction.  Where no
 * level is (the apply worker, which fires triggers without an executor's query; the statement by which the session first meets this
 * library; whatever runs in a deeper subtransaction), each is written at once.  So nothing
 * that waits can be left over: either the level ends, or what it belongs to is rolled back.
 *
 * The first image of a key that a transaction leaves is the one that counts: of the row versions that it did away with
 * under that key, the one that went first.  Triggers may tell of them in another order, as where an AFTER trigger of the owner's
 * writes a row once more before ours has fired for it.  So a tombstone has for its cmin the command that did away with its image,
 * or the least there is where the transaction had not written the row before; and an earlier image takes the place of a later one.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/indexform.h"
#include "catalog/buried.h"
#include "catalog/grave.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* So many slots are filled at a time. */
#define BATCH 256
/* So many bytes wait at most. */
#define BOUND (16 * 1024 * 1024)

typedef struct Waiting
{
	OfsGrave   *grave;
	OfsGravePlace place;
	CommandId	when;
	int			number;
	HeapTuple	tuple;
} Waiting;

typedef struct Level
{
	struct Level *outer;
	SubTransactionId subid;
	MemoryContext query;		/* goes with the statement */
	MemoryContext context;		/* what waits; NULL while nothing has */
	List	   *graves;
	Waiting    *waiting;
	int			count;
	int			space;
} Level;

static Level *current = NULL;
/* The last transaction that left an image which may not have been the first. */
static FullTransactionId unsure;
static ExecutorFinish_hook_type next_finish = NULL;

/* ---------- tables ---------- */

/* Rows go in beneath SQL, where nobody evaluates an index's expressions. */
static void
require_plain_indexes(Relation tomb)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(tomb))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (!ofs_index_is_plain(index))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("tombstone table \"%s\" has an index with expressions or a predicate",
							RelationGetRelationName(tomb)),
					 errhint("Drop index \"%s\".", RelationGetRelationName(index))));
		index_close(index, AccessShareLock);
	}
}

static OfsGrave *
open_grave(Oid tombstone, bool waits)
{
	OfsGrave   *grave = palloc(sizeof(OfsGrave));

	grave->rel = table_open(tombstone, RowExclusiveLock);
	require_plain_indexes(grave->rel);
	grave->indexes = CatalogOpenIndexes(grave->rel);
	grave->slots = NULL;
	grave->nslots = 0;
	grave->waits = waits;
	return grave;
}

static void
close_grave(OfsGrave *grave)
{
	for (int i = 0; i < grave->nslots; i++)
		ExecDropSingleTupleTableSlot(grave->slots[i]);
	CatalogCloseIndexes(grave->indexes);
	table_close(grave->rel, NoLock);
}

OfsGrave *
ofs_grave_open(Oid tombstone)
{
	OfsGrave   *grave;
	MemoryContext old;
	ListCell   *lc;

	if (current == NULL || current->subid != GetCurrentSubTransactionId())
		return open_grave(tombstone, false);
	foreach(lc, current->graves)
	{
		grave = lfirst(lc);
		if (RelationGetRelid(grave->rel) == tombstone)
			return grave;
	}
	old = MemoryContextSwitchTo(current->query);
	grave = open_grave(tombstone, true);
	current->graves = lappend(current->graves, grave);
	MemoryContextSwitchTo(old);
	return grave;
}

void
ofs_grave_close(OfsGrave *grave)
{
	if (!grave->waits)
		close_grave(grave);
}

/* ---------- writing ---------- */

/* Nothing was left that could stand in the way of a first image. */
static bool
is_free(void)
{
	return !FullTransactionIdEquals(unsure, GetTopFullTransactionId());
}

static void
make_slots(OfsGrave *grave, int count)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(grave));

	if (grave->slots == NULL)
		grave->slots = palloc(sizeof(TupleTableSlot *) * BATCH);
	while (grave->nslots < count)
		grave->slots[grave->nslots++] = MakeSingleTupleTableSlot(RelationGetDescr(grave->rel), &TTSOpsHeapTuple);
	MemoryContextSwitchTo(old);
}

/* The entries of the rows in the slots. */
static void
write_index(OfsGrave *grave, Relation index, IndexInfo *info, int count)
{
	IndexUniqueCheck unique = index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	if (!info->ii_ReadyForInserts)
		return;
	for (int i = 0; i < count; i++)
	{
		FormIndexDatum(info, grave->slots[i], NULL, values, nulls);
		index_insert(index, values, nulls, &grave->slots[i]->tts_tid, grave->rel, unique, false, info);
	}
}

static void
write_indexes(OfsGrave *grave, int count)
{
	for (int i = 0; i < grave->indexes->ri_NumIndices; i++)
		write_index(grave, grave->indexes->ri_IndexRelationDescs[i], grave->indexes->ri_IndexRelationInfo[i], count);
	for (int i = 0; i < count; i++)
		ExecClearTuple(grave->slots[i]);
}

static void
write_one(OfsGrave *grave, HeapTuple tuple, CommandId when)
{
	ItemPointerData place;
	CommandId	then;

	if ((when != OFS_GRAVE_FIRST || !is_free()) && ofs_buried_already(grave->rel, tuple, &place, &then))
	{
		if (then <= when)
			return;
		CommandCounterIncrement();
		CatalogTupleDelete(grave->rel, &place);
	}
	if (when != OFS_GRAVE_FIRST)
		unsure = GetTopFullTransactionId();
	make_slots(grave, 1);
	(void) GetCurrentCommandId(true);
	heap_insert(grave->rel, tuple, when, 0, NULL);
	ExecStoreHeapTuple(tuple, grave->slots[0], false);
	write_indexes(grave, 1);
}

/* Values that are stored out of line are for the insertion of single rows. */
static bool
fits_batch(const Waiting *one)
{
	return one->when == OFS_GRAVE_FIRST && is_free() &&
		!HeapTupleHasExternal(one->tuple) && one->tuple->t_len <= TOAST_TUPLE_THRESHOLD;
}

/* What stands first, of one table, together; returns how many. */
static int
write_batch(const Waiting *waiting, int count)
{
	OfsGrave   *grave = waiting[0].grave;
	int			n = 0;

	make_slots(grave, BATCH);
	while (n < Min(count, BATCH) && waiting[n].grave == grave && fits_batch(&waiting[n]))
	{
		ExecStoreHeapTuple(waiting[n].tuple, grave->slots[n], false);
		n++;
	}
	(void) GetCurrentCommandId(true);
	heap_multi_insert(grave->rel, grave->slots, n, OFS_GRAVE_FIRST, 0, NULL);
	write_indexes(grave, n);
	return n;
}

/* Is it worth preparing for many? */
static bool
is_batch(const Waiting *waiting, int count)
{
	return count >= 8 && fits_batch(&waiting[0]) && fits_batch(&waiting[7]) && waiting[0].grave == waiting[7].grave;
}

/* By table and place, and at the end, as they came, those that are looked for. */
static int
compare_waiting(const void *a, const void *b)
{
	const Waiting *wa = a;
	const Waiting *wb = b;
	bool		sure = wa->when == OFS_GRAVE_FIRST;
	int			places;

	if (sure != (wb->when == OFS_GRAVE_FIRST))
		return sure ? -1 : 1;
	if (wa->grave != wb->grave && sure)
		return RelationGetRelid(wa->grave->rel) < RelationGetRelid(wb->grave->rel) ? -1 : 1;
	places = sure ? memcmp(&wa->place, &wb->place, sizeof(OfsGravePlace)) : 0;
	return places != 0 ? places : wa->number - wb->number;
}

static void
write_level(Level *level)
{
	MemoryContext old = MemoryContextSwitchTo(level->context);
	int			done = 0;

	qsort(level->waiting, level->count, sizeof(Waiting), compare_waiting);
	while (done < level->count)
	{
		Waiting    *one = &level->waiting[done];

		if (is_batch(one, level->count - done))
			done += write_batch(one, level->count - done);
		else
		{
			write_one(one->grave, one->tuple, one->when);
			done++;
		}
	}
	MemoryContextSwitchTo(old);
}

static void
flush(Level *level)
{
	write_level(level);
	level->waiting = NULL;
	level->count = level->space = 0;
	MemoryContextReset(level->context);
}

/* ---------- waiting ---------- */

static void
append(Level *level, OfsGrave *grave, HeapTuple tuple, const OfsGravePlace *place, CommandId when)
{
	Waiting    *one;

	if (level->count == level->space)
	{
		level->space = level->space ? level->space * 2 : 4;
		level->waiting = level->waiting
			? repalloc_huge(level->waiting, sizeof(Waiting) * level->space)
			: palloc(sizeof(Waiting) * level->space);
	}
	one = &level->waiting[level->count];
	one->grave = grave;
	one->place = *place;
	one->when = when;
	one->number = level->count++;
	one->tuple = tuple;
}

void
ofs_grave_put(OfsGrave *grave, Datum *values, bool *nulls, const OfsGravePlace *place, CommandId when)
{
	MemoryContext old;

	if (!grave->waits)
	{
		write_one(grave, heap_form_tuple(RelationGetDescr(grave->rel), values, nulls), when);
		return;
	}
	if (current->context == NULL)
		current->context = AllocSetContextCreate(current->query, "offsync tombstones", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(current->context);
	append(current, grave, heap_form_tuple(RelationGetDescr(grave->rel), values, nulls), place, when);
	MemoryContextSwitchTo(old);
	if (MemoryContextMemAllocated(current->context, false) > BOUND)
		flush(current);
}

static void
finish_next(QueryDesc *query)
{
	if (next_finish)
		next_finish(query);
	else
		standard_ExecutorFinish(query);
}

/* Queries that write fire their AFTER triggers here. */
static void
finish(QueryDesc *query)
{
	Level		level = {current, GetCurrentSubTransactionId(), query->estate->es_query_cxt};
	ListCell   *lc;

	if ((query->operation == CMD_SELECT && !query->plannedstmt->hasModifyingCTE) ||
		(query->estate->es_top_eflags & EXEC_FLAG_SKIP_TRIGGERS) != 0)
	{
		finish_next(query);
		return;
	}
	current = &level;
	PG_TRY();
	{
		finish_next(query);
		if (level.count > 0)
			flush(&level);
		foreach(lc, level.graves)
			close_grave(lfirst(lc));
	}
	PG_FINALLY();
	{
		current = level.outer;
	}
	PG_END_TRY();
}

void
ofs_grave_init(void)
{
	next_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = finish;
}
