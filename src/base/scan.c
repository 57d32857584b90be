/*
 * scan.c
 *		All rows of a table, beneath SQL.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/scan.h"
#include "miscadmin.h"

void
ofs_scan_rows(Relation rel, Snapshot snapshot, ofs_scan_visitor visit, void *arg)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = ofs_compat_scan_table(rel, snapshot);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		visit(slot, arg);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}
