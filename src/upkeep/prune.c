/*
 * prune.c
 *		offsync.prune: forget what only devices that were away for long would ask for.
 *
 * Tombstones, resets, the push log and the timeline grow with every write.  What is older than the retention goes;
 * a device that had not seen it yet is answered "replacement" (catalog/horizon.c).  An event of a table that policies read
 * goes as soon as a later one tells the same (catalog/access.c).
 *
 * Nothing goes that is not older than every transaction in progress.  So no cursor that is made
 * from now on can name a version that was pruned, however long a transaction has been open.
 *
 * Rows are deleted beneath SQL: a tombstone table belongs to the owner of its synced table, whose
 * triggers and rules must not run with the rights of whoever prunes.  Nobody waits for that: readers and
 * writers of synced tables don't touch old tombstones, and definitions that are being changed are passed over.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/settings.h"
#include "base/spi.h"
#include "catalog/horizon.h"
#include "catalog/incarnation.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "catalog/synced.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(offsync_prune);

/* What goes, and how much of it may go still. */
typedef struct Prune
{
	Snapshot	snapshot;
	TimestampTz before;
	int64		below;			/* versions */
	int64		left;
} Prune;

/* Range of the versions that went. */
typedef struct Gone
{
	int64		count;
	int64		first;
	int64		last;
} Gone;

/* ---------- arguments ---------- */

static void
check_permission(void)
{
	if (!ofs_compat_owns_extension(get_extension_oid("offsync", false), GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of extension %s", "offsync")));
}

/* The time before which everything goes. */
static TimestampTz
find_cutoff(FunctionCallInfo fcinfo)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	TimestampTz cutoff;

	if (PG_ARGISNULL(0))
		return now - (int64) ofs_retention * SECS_PER_MINUTE * USECS_PER_SEC;
	cutoff = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(now),
													 PG_GETARG_DATUM(0)));
	if (cutoff > now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("retention must not be negative")));
	return cutoff;
}

static int64
find_limit(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		return PG_INT64_MAX;
	if (PG_GETARG_INT64(1) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must be positive")));
	return PG_GETARG_INT64(1);
}

/* ---------- deleting ---------- */

static void
note_gone(Gone *gone, int64 version)
{
	gone->first = gone->count == 0 ? version : Min(gone->first, version);
	gone->last = gone->count == 0 ? version : Max(gone->last, version);
	gone->count++;
}

static bool
is_old(HeapTuple tuple, TupleDesc desc, AttrNumber at, AttrNumber version, const Prune *prune, int64 *stamp)
{
	bool		isnull;
	TimestampTz when = DatumGetTimestampTz(heap_getattr(tuple, at, desc, &isnull));

	if (isnull || when >= prune->before)
		return false;
	*stamp = DatumGetInt64(heap_getattr(tuple, version, desc, &isnull));
	return !isnull && *stamp < prune->below;
}

/* Delete the old rows of an open table, of one synced table alone where tbl is given. */
static Gone
delete_old(Relation rel, const char *at_name, const char *version_name, const Oid *tbl, Prune *prune)
{
	AttrNumber	at = get_attnum(RelationGetRelid(rel), at_name);
	AttrNumber	version = get_attnum(RelationGetRelid(rel), version_name);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, prune->snapshot, 0, NULL);
	HeapTuple	tuple;
	Gone		gone = {0};

	while (prune->left > 0 && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		int64		stamp;

		CHECK_FOR_INTERRUPTS();
		if (tbl != NULL && DatumGetObjectId(heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull)) != *tbl)
			continue;
		if (!is_old(tuple, RelationGetDescr(rel), at, version, prune, &stamp))
			continue;
		CatalogTupleDelete(rel, &tuple->t_self);
		note_gone(&gone, stamp);
		prune->left--;
	}
	systable_endscan(scan);
	return gone;
}

/* ---------- what is pruned ---------- */

/* As offsync.enable made it?  Its owner may have altered it. */
static bool
is_tombstone_table(Relation tomb)
{
	Oid			relid = RelationGetRelid(tomb);
	AttrNumber	version = get_attnum(relid, OFS_TOMB_VERSION);
	AttrNumber	at = get_attnum(relid, OFS_TOMB_AT);

	return version != InvalidAttrNumber && get_atttype(relid, version) == INT8OID &&
		at != InvalidAttrNumber && get_atttype(relid, at) == TIMESTAMPTZOID;
}

static int64
prune_tombstones(Oid relid, Oid tombstone, Prune *prune)
{
	Relation	tomb;
	Gone		gone = {0};

	if (!ConditionalLockRelationOid(tombstone, RowExclusiveLock))
	{
		ereport(DEBUG1,
				(errmsg_internal("tombstones of the relation with OID %u are locked", relid)));
		return 0;
	}
	tomb = try_table_open(tombstone, NoLock);
	if (tomb == NULL)
		return 0;
	if (is_tombstone_table(tomb))
		gone = delete_old(tomb, OFS_TOMB_AT, OFS_TOMB_VERSION, NULL, prune);
	table_close(tomb, NoLock);
	if (gone.count > 0)
		ofs_horizon_note(relid, gone.first, gone.last);
	return gone.count;
}

/* Of all synced tables; these themselves stay untouched, whatever is being done to them. */
static int64
prune_all_tombstones(Prune prune)
{
	Relation	rel = table_open(ofs_internal_table("synced_table"), AccessShareLock);
	AttrNumber	tbl = get_attnum(RelationGetRelid(rel), "tbl");
	AttrNumber	tombstone = get_attnum(RelationGetRelid(rel), "tombstone");
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, prune.snapshot, 0, NULL);
	HeapTuple	tuple;
	int64		count = 0;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		count += prune_tombstones(DatumGetObjectId(heap_getattr(tuple, tbl, RelationGetDescr(rel), &isnull)),
								  DatumGetObjectId(heap_getattr(tuple, tombstone, RelationGetDescr(rel), &isnull)),
								  &prune);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return count;
}

/* The tables that have events, whether they are synced, or read by policies, still or not. */
static List *
event_tables(Relation rel, const Prune *prune)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, prune->snapshot, 0, NULL);
	HeapTuple	tuple;
	List	   *tables = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		tables = list_append_unique_oid(tables, DatumGetObjectId(heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull)));
	}
	systable_endscan(scan);
	return tables;
}

static int64
prune_events(const char *name, Prune prune)
{
	Relation	rel = table_open(ofs_internal_table(name), RowExclusiveLock);
	int64		count = 0;
	ListCell   *lc;

	foreach(lc, event_tables(rel, &prune))
	{
		Oid			tbl = lfirst_oid(lc);
		Gone		gone = delete_old(rel, "at", "version", &tbl, &prune);

		if (gone.count > 0)
			ofs_horizon_note(tbl, gone.first, gone.last);
		count += gone.count;
	}
	table_close(rel, NoLock);
	return count;
}

/* Pulls ask it what their device may have got by a push whose answer it never had. */
static int64
prune_push_log(Prune prune)
{
	Relation	rel = table_open(ofs_internal_table("push_log"), RowExclusiveLock);
	Gone		gone = delete_old(rel, "at", "version", NULL, &prune);

	if (gone.count > 0)
		ofs_horizon_note(RelationGetRelid(rel), gone.first, gone.last);
	table_close(rel, NoLock);
	return gone.count;
}

typedef struct Superseded
{
	Oid			tbl;
	int64		above;			/* the last events tell all that those below do */
} Superseded;

static Superseded *
find_superseded(List **known, Oid tbl)
{
	Superseded *found;
	ListCell   *lc;

	foreach(lc, *known)
		if (((Superseded *) lfirst(lc))->tbl == tbl)
			return lfirst(lc);
	found = palloc(sizeof(Superseded));
	found->tbl = tbl;
	found->above = 0;
	*known = lappend(*known, found);
	return found;
}

/* One pass finds what the events of each table supersede, another takes that; whatever the retention. */
static int64
prune_superseded(Prune *prune)
{
	Relation	rel = table_open(ofs_internal_table("access_event"), RowExclusiveLock);
	AttrNumber	version = get_attnum(RelationGetRelid(rel), "version");
	AttrNumber	above = get_attnum(RelationGetRelid(rel), "above");
	List	   *known = NIL;
	int64		count = 0;

	for (int pass = 0; pass < 2; pass++)
	{
		SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, prune->snapshot, 0, NULL);
		HeapTuple	tuple;

		while (prune->left > 0 && HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			TupleDesc	desc = RelationGetDescr(rel);
			bool		isnull;
			Superseded *superseded = find_superseded(&known, DatumGetObjectId(heap_getattr(tuple, 1, desc, &isnull)));

			CHECK_FOR_INTERRUPTS();
			if (pass == 0)
				superseded->above = Max(superseded->above, DatumGetInt64(heap_getattr(tuple, above, desc, &isnull)));
			else if (DatumGetInt64(heap_getattr(tuple, version, desc, &isnull)) < superseded->above)
			{
				CatalogTupleDelete(rel, &tuple->t_self);
				prune->left--;
				count++;
			}
		}
		systable_endscan(scan);
	}
	table_close(rel, NoLock);
	CommandCounterIncrement();
	return count;
}

/* What is left of the events is taken when it is old. */
static int64
prune_access(Prune prune)
{
	int64		count = prune_superseded(&prune);

	/* one that sees what has gone by now */
	prune.snapshot = RegisterSnapshot(GetLatestSnapshot());
	count += prune_events("access_event", prune);
	UnregisterSnapshot(prune.snapshot);
	return count;
}

/* A clock is looked up at or before its time, so the last row before the cutoff stays. */
static int64
prune_timeline(Prune prune)
{
	Relation	rel = table_open(ofs_internal_table("timeline"), RowExclusiveLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, prune.snapshot, 0, NULL);
	TimestampTz last = DT_NOBEGIN;
	HeapTuple	tuple;
	Gone		gone;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		TimestampTz at = DatumGetTimestampTz(heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull));

		if (at < prune.before)
			last = Max(last, at);
	}
	systable_endscan(scan);
	prune.before = last;
	gone = delete_old(rel, "at", "version", NULL, &prune);
	table_close(rel, NoLock);
	return gone.count;
}

/* ---------- the call ---------- */

static void
report(ReturnSetInfo *answer, const char *what, int64 removed)
{
	Datum		values[2] = {CStringGetTextDatum(what), Int64GetDatum(removed)};
	bool		nulls[2] = {false, false};

	tuplestore_putvalues(answer->setResult, answer->setDesc, values, nulls);
}

Datum
offsync_prune(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *answer = (ReturnSetInfo *) fcinfo->resultinfo;
	Prune		prune;

	check_permission();
	InitMaterializedSRF(fcinfo, 0);
	prune.before = find_cutoff(fcinfo);
	prune.left = find_limit(fcinfo);

	/* one at a time: each deletes the rows it sees, and moves the horizon on from where it finds it */
	LockRelationOid(ofs_internal_table("prune_horizon"), ShareUpdateExclusiveLock);
	prune.snapshot = RegisterSnapshot(GetLatestSnapshot());
	prune.below = ofs_version_horizon(prune.snapshot);

	report(answer, "tombstones", prune_all_tombstones(prune));
	report(answer, "reset events", prune_events("reset_event", prune));
	report(answer, "access events", prune_access(prune));
	report(answer, "push log", prune_push_log(prune));
	report(answer, "timeline", prune_timeline(prune));
	UnregisterSnapshot(prune.snapshot);
	return (Datum) 0;
}
