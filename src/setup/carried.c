/*
 * carried.c
 *		Versions that a table brings along.
 *
 * A dump that leaves our rows out (of a schema, or restored by somebody who may not write them) still carries the rows'
 * versions.  They may lie ahead of those that this database gives out, and then every cursor would take these rows
 * for new for ever.  So a table that has the column already is looked through once, before it is locked, and where it
 * is ahead the database begins another incarnation above it.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/scan.h"
#include "catalog/incarnation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "catalog/synced.h"
#include "setup/setup.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

typedef struct Greatest
{
	AttrNumber	attnum;
	int64		version;
} Greatest;

static void
take_greatest(TupleTableSlot *slot, void *arg)
{
	Greatest   *greatest = arg;
	bool		isnull;
	Datum		version = slot_getattr(slot, greatest->attnum, &isnull);

	if (!isnull)
		greatest->version = Max(greatest->version, DatumGetInt64(version));
}

static int64
greatest_version(Oid relid)
{
	Relation	rel = try_table_open(relid, AccessShareLock);
	Greatest	greatest = {get_attnum(relid, OFS_COL_VERSION), 0};
	Snapshot	snapshot;

	if (rel == NULL)
		return 0;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ofs_scan_rows(rel, snapshot, take_greatest, &greatest);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return greatest.version;
}

void
ofs_carried_outrun(Oid relid)
{
	ListCell   *lc;

	/* no lock is kept, for it would be in the way of the stronger one that somebody else may be waiting for */
	foreach(lc, find_all_inheritors(relid, NoLock, NULL))
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_RELATION &&
			get_attnum(lfirst_oid(lc), OFS_COL_VERSION) != InvalidAttrNumber &&
			get_atttype(lfirst_oid(lc), get_attnum(lfirst_oid(lc), OFS_COL_VERSION)) == INT8OID)
			ofs_incarnation_outrun(greatest_version(lfirst_oid(lc)));
}
