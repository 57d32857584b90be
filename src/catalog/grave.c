/*
 * grave.c
 *		Writing tombstones: those of a statement together.
 *
 * Row triggers leave tombstones, since they alone fire for every writer.  But one by one, in the order of the
 * deletion, most of the time goes into the primary key's index, at another page each time.  So
 * they wait until all triggers of their statement have fired, and are then written in about the order of their keys.
 * "Their statement" is a level: a running ExecutorRun, where the triggers of updates fire, or ExecutorFinish, where those of
 * deletions do.  Levels nest, as statements in triggers do, and a level begins and ends in the same subtransaction.  Where no
 * level is (the apply worker, which fires triggers without an executor's query; the statement by which the session first meets this
 * library; whatever runs in a deeper subtransaction), each is written at once.  So nothing
 * that waits can be left over: either the level ends, or what it belongs to is rolled back.
 *
 * The first image of a key that a transaction leaves is the one that counts: of the row versions that it did away with
 * under that key, the one that went first.  Triggers may tell of them in another order, as where an AFTER trigger of the owner's
 * writes a row once more before ours has fired for it.  So a tombstone has for its cmin the command that did away with its image,
 * or the least there is where the transaction had not written the row before; and an earlier image takes the place of a later one.
 *
 * The same image may come twice: a row that moves to another partition is updated and then deleted, and what an update was going to
 * do away with may still be there for the next one.  For ordinary writes' sake nothing is looked for, but the index tells: then the second one goes
 * again.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/indexform.h"
#include "catalog/buried.h"
#include "catalog/grave.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* So many slots are filled at a time. */
#define BATCH 256
/* So many bytes wait at most. */
#define BOUND (16 * 1024 * 1024)

typedef struct Waiting
{
	OfsGrave   *grave;
	HeapTuple	tuple;
	CommandId	when;
} Waiting;

/* Which one is written next. */
typedef struct Turn
{
	uint64		first;			/* of the place */
	uint64		second;
	uint32		group;			/* of the table; last come those that are looked for */
	int			number;			/* as it came */
} Turn;

typedef struct Level
{
	struct Level *outer;
	SubTransactionId subid;
	MemoryContext query;		/* goes with the statement */
	MemoryContext context;		/* what waits; NULL while nothing has */
	List	   *graves;
	Waiting    *waiting;
	Turn	   *turns;
	int			count;
	int			space;
} Level;

static Level *current = NULL;
/* The last transaction that left an image which may not have been the first. */
static FullTransactionId unsure;
static ExecutorRun_hook_type next_run = NULL;
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

/* The entries of the rows in the slots.  Another row of a key that the primary key has already is taken back. */
static void
write_index(OfsGrave *grave, Relation index, IndexInfo *info, int count)
{
	bool		primary = index->rd_index->indisprimary;
	IndexUniqueCheck unique = primary ? UNIQUE_CHECK_PARTIAL :
		index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	if (!info->ii_ReadyForInserts)
		return;
	for (int i = 0; i < count; i++)
	{
		TupleTableSlot *slot = grave->slots[i];

		FormIndexDatum(info, slot, NULL, values, nulls);
		if (index_insert(index, values, nulls, &slot->tts_tid, grave->rel, unique, false, info) || !primary)
			continue;
		CommandCounterIncrement();
		CatalogTupleDelete(grave->rel, &slot->tts_tid);
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

/* By table and place, and at the end, as they came, those that are looked for. */
static inline int
compare_turns(const Turn *a, const Turn *b)
{
	if (a->group != b->group)
		return a->group < b->group ? -1 : 1;
	if (a->first != b->first)
		return a->first < b->first ? -1 : 1;
	if (a->second != b->second)
		return a->second < b->second ? -1 : 1;
	return a->number - b->number;
}

#define ST_SORT sort_turns
#define ST_ELEMENT_TYPE Turn
#define ST_COMPARE(a, b) compare_turns(a, b)
#define ST_SCOPE static
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

static const Waiting *
waiting_at(const Level *level, int turn)
{
	return &level->waiting[level->turns[turn].number];
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
write_batch(const Level *level, int from)
{
	OfsGrave   *grave = waiting_at(level, from)->grave;
	int			most = Min(level->count - from, BATCH);
	int			n = 0;

	make_slots(grave, BATCH);
	while (n < most && waiting_at(level, from + n)->grave == grave && fits_batch(waiting_at(level, from + n)))
	{
		ExecStoreHeapTuple(waiting_at(level, from + n)->tuple, grave->slots[n], false);
		n++;
	}
	(void) GetCurrentCommandId(true);
	heap_multi_insert(grave->rel, grave->slots, n, OFS_GRAVE_FIRST, 0, NULL);
	write_indexes(grave, n);
	return n;
}

/* Is it worth preparing for many? */
static bool
is_batch(const Level *level, int from)
{
	return level->count - from >= 8 && fits_batch(waiting_at(level, from)) && fits_batch(waiting_at(level, from + 7)) &&
		waiting_at(level, from)->grave == waiting_at(level, from + 7)->grave;
}

static void
write_level(Level *level)
{
	MemoryContext old = MemoryContextSwitchTo(level->context);
	int			done = 0;

	sort_turns(level->turns, level->count);
	while (done < level->count)
	{
		const Waiting *one = waiting_at(level, done);

		if (is_batch(level, done))
			done += write_batch(level, done);
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
	level->turns = NULL;
	level->count = level->space = 0;
	MemoryContextReset(level->context);
}

/* ---------- waiting ---------- */

static void
make_space(Level *level)
{
	if (level->count < level->space)
		return;
	level->space = level->space ? level->space * 2 : 4;
	level->waiting = level->waiting
		? repalloc_huge(level->waiting, sizeof(Waiting) * level->space)
		: palloc(sizeof(Waiting) * level->space);
	level->turns = level->turns
		? repalloc_huge(level->turns, sizeof(Turn) * level->space)
		: palloc(sizeof(Turn) * level->space);
}

static void
append(Level *level, OfsGrave *grave, HeapTuple tuple, const OfsGravePlace *place, CommandId when)
{
	Turn	   *turn;

	make_space(level);
	level->waiting[level->count] = (Waiting) {grave, tuple, when};
	turn = &level->turns[level->count];
	turn->number = level->count++;
	if (when == OFS_GRAVE_FIRST)
	{
		memcpy(&turn->first, place->bytes, sizeof(uint64));
		memcpy(&turn->second, place->bytes + sizeof(uint64), sizeof(uint64));
		turn->first = pg_ntoh64(turn->first);
		turn->second = pg_ntoh64(turn->second);
		turn->group = RelationGetRelid(grave->rel);
	}
	else
	{
		turn->first = turn->second = 0;
		turn->group = PG_UINT32_MAX;
	}
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
run_next(OFS_RUN_PARAMETERS)
{
	if (next_run)
		next_run(OFS_RUN_ARGUMENTS);
	else
		standard_ExecutorRun(OFS_RUN_ARGUMENTS);
}

static void
finish_next(QueryDesc *query)
{
	if (next_finish)
		next_finish(query);
	else
		standard_ExecutorFinish(query);
}

/* May the query fire triggers of rows? */
static bool
is_writer(const QueryDesc *query)
{
	return query->operation != CMD_SELECT || query->plannedstmt->hasModifyingCTE;
}

static void
end_level(Level *level)
{
	ListCell   *lc;

	if (level->count > 0)
		flush(level);
	foreach(lc, level->graves)
		close_grave(lfirst(lc));
}

static void
run(OFS_RUN_PARAMETERS)
{
	Level		level = {current, GetCurrentSubTransactionId(), queryDesc->estate->es_query_cxt};

	if (!is_writer(queryDesc))
	{
		run_next(OFS_RUN_ARGUMENTS);
		return;
	}
	current = &level;
	PG_TRY();
	{
		run_next(OFS_RUN_ARGUMENTS);
		end_level(&level);
	}
	PG_FINALLY();
	{
		current = level.outer;
	}
	PG_END_TRY();
}

static void
finish(QueryDesc *query)
{
	Level		level = {current, GetCurrentSubTransactionId(), query->estate->es_query_cxt};

	if (!is_writer(query) || (query->estate->es_top_eflags & EXEC_FLAG_SKIP_TRIGGERS) != 0)
	{
		finish_next(query);
		return;
	}
	current = &level;
	PG_TRY();
	{
		finish_next(query);
		end_level(&level);
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
	next_run = ExecutorRun_hook;
	ExecutorRun_hook = run;
	next_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = finish;
}
