/*
 * scan.h
 *		All rows of a table, beneath SQL: planning a query may run code of the table's owner.
 */
#ifndef OFS_SCAN_H
#define OFS_SCAN_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* The slot is valid during the call. */
typedef void (*ofs_scan_visitor) (TupleTableSlot *slot, void *arg);

extern void ofs_scan_rows(Relation rel, Snapshot snapshot, ofs_scan_visitor visit, void *arg);

#endif							/* OFS_SCAN_H */
