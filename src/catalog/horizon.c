/*
 * horizon.c
 *		What offsync.prune has taken away.
 *
 * Each prune of a table's tombstones and resets leaves the range of versions that it took them from.  A pull whose cursor
 * has not seen all of such a range can't say what was deleted, and replaces the collection.  Of the push log it is kept
 * under that table itself.  The
 * ranges are read through the pull's own snapshot: it sees the rows that were pruned, or that they were.
 *
 * One range per table and incarnation is enough, and there are two reasons not to merge these: the versions
 * between two incarnations belong to nobody, and a cursor names the transactions that were in
 * progress under the bases of both.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/spi.h"
#include "catalog/horizon.h"
#include "catalog/incarnation.h"
#include "catalog/indexing.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

enum
{
	A_TBL = 1, A_FIRST, A_LAST
};
#define NATTS	A_LAST

typedef struct Range
{
	int64		first;
	int64		last;
} Range;

typedef struct HorizonScan
{
	Relation	rel;
	Relation	index;
	Snapshot	snapshot;
	SysScanDesc scan;
} HorizonScan;

static void
begin_scan(HorizonScan *scan, Oid relid, Snapshot snapshot, LOCKMODE lockmode)
{
	ScanKeyData key;

	scan->rel = table_open(ofs_internal_table("prune_horizon"), lockmode);
	scan->index = index_open(linitial_oid(RelationGetIndexList(scan->rel)), AccessShareLock);
	ScanKeyInit(&key, A_TBL, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	/* the latest one is nobody's, and may be taken anew before the scan is at its end */
	scan->snapshot = RegisterSnapshot(snapshot);
	scan->scan = systable_beginscan(scan->rel, RelationGetRelid(scan->index), true, scan->snapshot, 1, &key);
}

static HeapTuple
next_range(HorizonScan *scan, Range *range)
{
	HeapTuple	tuple = systable_getnext(scan->scan);
	bool		isnull;

	if (HeapTupleIsValid(tuple))
	{
		range->first = DatumGetInt64(heap_getattr(tuple, A_FIRST, RelationGetDescr(scan->rel), &isnull));
		range->last = DatumGetInt64(heap_getattr(tuple, A_LAST, RelationGetDescr(scan->rel), &isnull));
	}
	return tuple;
}

static void
end_scan(HorizonScan *scan)
{
	systable_endscan(scan->scan);
	UnregisterSnapshot(scan->snapshot);
	index_close(scan->index, AccessShareLock);
	table_close(scan->rel, NoLock);
}

/* Is a version of the range unseen? */
static bool
is_unseen(const OfsSince *since, const Range *range)
{
	int			low = 0;
	int			high = since->nrunning;

	if (since->from <= range->last)
		return true;
	while (low < high)
	{
		int			mid = (low + high) / 2;

		if (since->running[mid] < range->first)
			low = mid + 1;
		else
			high = mid;
	}
	return low < since->nrunning && since->running[low] <= range->last;
}

bool
ofs_horizon_passed_of(const OfsSince *since, Oid relid, Snapshot snapshot)
{
	bool		passed = false;
	HorizonScan scan;
	Range		range;

	if (since->kind != OFS_SINCE_NUMBER && since->kind != OFS_SINCE_EXACT)
		return false;
	begin_scan(&scan, relid, snapshot, AccessShareLock);
	while (!passed && next_range(&scan, &range))
		passed = is_unseen(since, &range);
	end_scan(&scan);
	return passed;
}

bool
ofs_horizon_passed(const OfsSince *since, const OfsTable *table, Snapshot snapshot)
{
	return ofs_horizon_passed_of(since, table->relid, snapshot);
}

bool
ofs_horizon_hides(Oid relid, int64 version, Snapshot snapshot)
{
	bool		hides = false;
	HorizonScan scan;
	Range		range;

	begin_scan(&scan, relid, snapshot, AccessShareLock);
	while (!hides && next_range(&scan, &range))
		hides = range.first <= version && version <= range.last;
	end_scan(&scan);
	return hides;
}

/* The caller holds a lock that keeps others from noting meanwhile. */
void
ofs_horizon_note(Oid relid, int64 first, int64 last)
{
	Datum		values[NATTS];
	bool		nulls[NATTS] = {false};
	HeapTuple	tuple;
	HorizonScan scan;
	Range		range;

	begin_scan(&scan, relid, GetLatestSnapshot(), RowExclusiveLock);
	while (HeapTupleIsValid(tuple = next_range(&scan, &range)))
	{
		if (ofs_version_base(range.last) != ofs_version_base(last))
			continue;
		first = Min(first, range.first);
		last = Max(last, range.last);
		CatalogTupleDelete(scan.rel, &tuple->t_self);
	}
	values[A_TBL - 1] = ObjectIdGetDatum(relid);
	values[A_FIRST - 1] = Int64GetDatum(first);
	values[A_LAST - 1] = Int64GetDatum(last);
	tuple = heap_form_tuple(RelationGetDescr(scan.rel), values, nulls);
	CatalogTupleInsert(scan.rel, tuple);
	heap_freetuple(tuple);
	end_scan(&scan);
	/* the next one may be of the same table */
	CommandCounterIncrement();
}
