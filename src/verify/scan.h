/*
 * scan.h
 *		Every row of a collection that the caller sees.
 */
#ifndef OFS_SCAN_H
#define OFS_SCAN_H

#include "postgres.h"

#include "catalog/filter.h"
#include "catalog/view.h"
#include "core/idhash.h"
#include "executor/tuptable.h"

#define OFS_SCAN_BUCKETS	16384	/* that a collection can be split into, at most */

typedef struct OfsScanRow
{
	StringInfo	id;
	OfsIdHash	hash;			/* of the id */
	int64		version;
	TupleTableSlot *slot;
	int			first;			/* place in the slot of the record's first column; -1: it has none */
} OfsScanRow;

/* Called for a row, in a memory context that lasts as long as the call. */
typedef void (*OfsScanVisit) (const OfsScanRow *row, void *arg);

/*
 * Visit the rows that the current user sees, and the device wants (filter; NULL: all of them), in the active snapshot, those
 * that are soft-deleted left out; with the columns of their records or without.  SPI is connected.
 */
extern void ofs_scan_run(const OfsView *view, const OfsFilter *filter, bool records, OfsScanVisit visit, void *arg);

/* Do devices hold the rows' versions?  Not so where the caller may not read them. */
extern bool ofs_scan_versions(const OfsView *view);

/* The hash of an id in the database's encoding. */
extern OfsIdHash ofs_scan_hash(const char *id, int len);

/* Can a collection be split into so many buckets? */
extern bool ofs_scan_buckets_valid(int64 buckets);

#endif							/* OFS_SCAN_H */
