/*
 * scan.h
 *		Reading offsync's own small tables whole.
 */
#ifndef OFS_SCAN_H
#define OFS_SCAN_H

#include "postgres.h"

#include "access/htup.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* True: that is enough. */
typedef bool (*OfsVisit) (Relation rel, HeapTuple tuple, Datum *values, bool *nulls, void *arg);

/* Visit the committed rows of the table in offsync's private schema.  A lock to write with is kept. */
extern void ofs_scan(const char *table, LOCKMODE lockmode, OfsVisit visit, void *arg);

#endif							/* OFS_SCAN_H */
