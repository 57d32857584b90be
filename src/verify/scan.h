/*
 * scan.h
 *		Every row of a collection that the caller sees.
 */
#ifndef OFS_SCAN_H
#define OFS_SCAN_H

#include "postgres.h"

#include "catalog/asked.h"
#include "catalog/record.h"
#include "core/idhash.h"

#define OFS_SCAN_BUCKETS	16384	/* that a collection can be split into, at most */

typedef struct OfsScan
{
	OfsTable   *table;
	OfsRecordColumns columns;	/* of its records */
	bool		versions;		/* devices hold server_version, because the caller may read it */
} OfsScan;

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

/* Look at the collection as the current user, and lock it to the end of the transaction. */
extern OfsScan *ofs_scan_open(const OfsAsked *asked);

/*
 * Visit the rows in the active snapshot, those that are soft-deleted left out; with the columns of their records or
 * without.  SPI is connected.
 */
extern void ofs_scan_run(const OfsScan *scan, bool records, OfsScanVisit visit, void *arg);

/* The hash of an id in the database's encoding. */
extern OfsIdHash ofs_scan_hash(const char *id, int len);

/* Can a collection be split into so many buckets? */
extern bool ofs_scan_buckets_valid(int64 buckets);

#endif							/* OFS_SCAN_H */
