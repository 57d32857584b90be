/*
 * timeline.c
 *		Wall time to version, for clients that send clocks, and back.
 *
 * A row (at, version) says: any snapshot taken after that time sees, or will never see, every
 * version below.  The version is read before the clock, so that this holds.  A client that claims to
 * have seen all up to a time is given the last row before that time, less a margin for its clock.
 *
 * The other way round, the row's third column (which rows of 0.1 lack) says: every version from there on was begun after that
 * time.  It is read behind the clock.
 *
 * Rows have no unique key: no writer waits for another's.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/spi.h"
#include "catalog/incarnation.h"
#include "catalog/indexing.h"
#include "catalog/timeline.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define KEEP_INTERVAL_MS	10000
#define MARGIN				(60 * USECS_PER_SEC)

enum
{
	A_AT = 1, A_VERSION, A_NEXT
};

static TimestampTz last_noted = 0;
static bool noted_here = false;
static SubTransactionId noted_in = InvalidSubTransactionId;

static Oid
time_index(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);

	return indexes ? linitial_oid(indexes) : InvalidOid;
}

void
ofs_timeline_note(void)
{
	Relation	rel = table_open(ofs_internal_table("timeline"), RowExclusiveLock);
	int64		version = ofs_version_horizon(GetLatestSnapshot());
	TimestampTz now = GetCurrentTimestamp();
	Datum		values[] = {TimestampTzGetDatum(now), Int64GetDatum(version), Int64GetDatum(ofs_version_latest())};
	bool		nulls[lengthof(values)] = {false};
	HeapTuple	tuple;

	/* without the third column it takes the first two */
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	last_noted = now;
	noted_here = true;
	noted_in = GetCurrentSubTransactionId();
}

void
ofs_timeline_ensure(void)
{
	if (!noted_here || noted_in != GetCurrentSubTransactionId())
		ofs_timeline_note();
}

void
ofs_timeline_keep(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (last_noted == 0 || now < last_noted || TimestampDifferenceExceeds(last_noted, now, KEEP_INTERVAL_MS))
		ofs_timeline_note();
}

void
ofs_timeline_forget(bool aborted)
{
	if (aborted && noted_here)
		last_noted = 0;
	noted_here = false;
}

TimestampTz
ofs_timeline_before(int64 version, Snapshot snapshot)
{
	Relation	rel = table_open(ofs_internal_table("timeline"), AccessShareLock);
	Relation	index = index_open(time_index(rel), AccessShareLock);
	int64		base = ofs_incarnation_current()->base;
	SysScanDesc scan;
	HeapTuple	tuple;
	TimestampTz at = DT_NOBEGIN;

	scan = systable_beginscan_ordered(rel, index, snapshot, 0, NULL);
	while (at == DT_NOBEGIN && RelationGetDescr(rel)->natts >= A_NEXT &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, BackwardScanDirection)))
	{
		bool		isnull;
		int64		next = DatumGetInt64(heap_getattr(tuple, A_NEXT, RelationGetDescr(rel), &isnull));

		/* ids of an earlier incarnation stand under another base */
		if (!isnull && next < base)
			break;
		if (!isnull && next <= version)
			at = DatumGetTimestampTz(heap_getattr(tuple, A_AT, RelationGetDescr(rel), &isnull));
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return at;
}

/*
 * The last row at or before the time less the margin.
 */
int64
ofs_timeline_find(TimestampTz at)
{
	Relation	rel = table_open(ofs_internal_table("timeline"), AccessShareLock);
	Relation	index = index_open(time_index(rel), AccessShareLock);
	Snapshot	snapshot = GetActiveSnapshot();
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	int64		version = 0;

	ScanKeyInit(&key, 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(at - MARGIN));
	scan = systable_beginscan_ordered(rel, index, snapshot, 1, &key);
	tuple = systable_getnext_ordered(scan, BackwardScanDirection);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		version = DatumGetInt64(heap_getattr(tuple, A_VERSION, RelationGetDescr(rel), &isnull));
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return version;
}
