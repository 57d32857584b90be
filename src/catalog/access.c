/*
 * access.c
 *		Events: a table that policies read was written.
 *
 * Where a policy decides by another table in a way that has no delta, all that can be known is whether that
 * table changed.  A statement trigger on it leaves an event: the table, and the version of the writing
 * transaction.  An event that a cursor's snapshot has not seen means "replacement".  That is coarse, and safe.
 *
 * Whatever logical replication applies fires no statement triggers, but it does fire row triggers that are
 * enabled for replicas, which in turn cost an ordinary session nothing.  Partitions can be written by their own
 * names, so each has triggers, and events, of its own.
 *
 * A transaction leaves one event per table, however often it writes.  Nobody waits for another's: there is no unique key.
 * An event tells which transactions had ended before it.  Their events say nothing more: a cursor that has not seen one of
 * them has not seen this one either, so that offsync.prune can take them at once.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/spi.h"
#include "catalog/access.h"
#include "catalog/capture.h"
#include "catalog/horizon.h"
#include "catalog/incarnation.h"
#include "catalog/indexing.h"
#include "catalog/notice.h"
#include "catalog/pg_inherits.h"
#include "commands/trigger.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* ---------- leaving events ---------- */

static struct
{
	bool		registered;
	FullTransactionId xid;		/* transaction that the list is of */
	List	   *relids;
}			touched;

/* An event that a subtransaction left is gone with it. */
static void
subtransaction_event(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		touched.xid = InvalidFullTransactionId;
}

static bool
touched_already(Oid relid)
{
	FullTransactionId xid = GetTopFullTransactionId();
	MemoryContext old;

	if (!touched.registered)
	{
		RegisterSubXactCallback(subtransaction_event, NULL);
		touched.registered = true;
	}
	if (!FullTransactionIdIsValid(touched.xid) || !FullTransactionIdEquals(touched.xid, xid))
	{
		touched.xid = xid;
		touched.relids = NIL;
	}
	if (list_member_oid(touched.relids, relid))
		return true;
	old = MemoryContextSwitchTo(TopTransactionContext);
	touched.relids = lappend_oid(touched.relids, relid);
	MemoryContextSwitchTo(old);
	return false;
}

void
ofs_access_touch(Oid relid)
{
	Relation	rel;
	Datum		values[4];
	bool		nulls[4] = {false};
	HeapTuple	tuple;

	/* rows may have gone out of a pusher's sight */
	ofs_capture_disturb();
	if (touched_already(relid))
		return;
	rel = table_open(ofs_internal_table("access_event"), RowExclusiveLock);
	values[0] = ObjectIdGetDatum(relid);
	values[1] = Int64GetDatum(ofs_version_stamp());
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[3] = Int64GetDatum(ofs_version_horizon(GetLatestSnapshot()));
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	ofs_notice_access(relid);
}

/* ---------- is every change seen? ---------- */

static bool
fires(Relation rel, const char *name, char wanted)
{
	TriggerDesc *desc = rel->trigdesc;

	for (int i = 0; desc && i < desc->numtriggers; i++)
		if (strcmp(desc->triggers[i].tgname, name) == 0)
			return desc->triggers[i].tgenabled == TRIGGER_FIRES_ALWAYS || desc->triggers[i].tgenabled == wanted;
	return false;
}

static bool
is_covered(Oid relid)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	bool		covered;

	if (rel == NULL)
		return false;
	covered = rel->rd_rel->relkind == RELKIND_VIEW ||
		(fires(rel, OFS_TRIGGER_ACCESS, TRIGGER_FIRES_ALWAYS) &&
		 fires(rel, OFS_TRIGGER_ACCESS_ROW, TRIGGER_FIRES_ON_REPLICA));
	relation_close(rel, NoLock);
	return covered;
}

List *
ofs_access_tree(List *relations, LOCKMODE lockmode)
{
	List	   *tree = NIL;
	ListCell   *lc;

	foreach(lc, relations)
		if (get_rel_name(lfirst_oid(lc)) != NULL)
			tree = list_concat_unique_oid(tree, find_all_inheritors(lfirst_oid(lc), lockmode, NULL));
	return tree;
}

const char *
ofs_access_blind(List *relations)
{
	ListCell   *lc;

	foreach(lc, relations)
		if (!is_covered(lfirst_oid(lc)))
			return get_rel_name(lfirst_oid(lc)) == NULL ? "a table that is gone" :
				psprintf("%s, which lacks the triggers %s and %s or has them disabled",
						 get_rel_name(lfirst_oid(lc)), OFS_TRIGGER_ACCESS, OFS_TRIGGER_ACCESS_ROW);
	return NULL;
}

/* ---------- judging ---------- */

static bool
changed(const OfsSince *since, Relation rel, Relation index, Oid relid)
{
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan_ordered(rel, index, GetActiveSnapshot(), 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext_ordered(scan, BackwardScanDirection)))
	{
		bool		isnull;
		int64		version = DatumGetInt64(heap_getattr(tuple, 2, RelationGetDescr(rel), &isnull));

		/* all that are older have been seen */
		if (version < ofs_since_least(since))
			break;
		/* a push of the client's own changed what others' rows it sees, too */
		found = !ofs_since_sees(since, version);
	}
	systable_endscan_ordered(scan);
	return found;
}

const char *
ofs_access_changed(const OfsSince *since, List *relations)
{
	Relation	rel;
	Relation	index;
	const char *reason = NULL;
	ListCell   *lc;

	if (relations == NIL)
		return NULL;
	rel = table_open(ofs_internal_table("access_event"), AccessShareLock);
	index = index_open(linitial_oid(RelationGetIndexList(rel)), AccessShareLock);
	foreach(lc, relations)
		if (changed(since, rel, index, lfirst_oid(lc)) ||
			ofs_horizon_passed_of(since, lfirst_oid(lc), GetActiveSnapshot()))
		{
			reason = psprintf("%s changed, which a policy reads", get_rel_name(lfirst_oid(lc)));
			break;
		}
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return reason;
}
