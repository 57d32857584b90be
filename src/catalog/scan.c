/*
 * scan.c
 *		Reading offsync's own small tables whole.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/spi.h"
#include "catalog/scan.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define FEW_COLUMNS	64

void
ofs_scan(const char *table, LOCKMODE lockmode, OfsVisit visit, void *arg)
{
	Relation	rel = table_open(ofs_internal_table(table), lockmode);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;
	bool		enough = false;

	Assert(RelationGetDescr(rel)->natts <= FEW_COLUMNS);
	while (!enough && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[FEW_COLUMNS];
		bool		nulls[FEW_COLUMNS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		enough = visit(rel, tuple, values, nulls, arg);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, lockmode == AccessShareLock ? AccessShareLock : NoLock);
}
