/*
 * buried.h
 *		Tombstones read beneath their policies, through their indexes.
 */
#ifndef OFS_BURIED_H
#define OFS_BURIED_H

#include "postgres.h"

#include "access/htup.h"
#include "catalog/since.h"
#include "utils/relcache.h"

/* Is there a tombstone of the same key and of this transaction, where, and when did its image go? */
extern bool ofs_buried_already(Relation tomb, HeapTuple tombstone, ItemPointer place, CommandId *when);

/* Is there, in the active snapshot, any tombstone that the caller can't have seen? */
extern bool ofs_buried_since(const OfsTable *table, const OfsSince *since);

/* Least unseen version of the key's tombstones in the active snapshot; 0 when there is none. */
extern int64 ofs_buried_first(Relation tomb, const OfsTable *table, const OfsSince *since, const Datum *parts);

#endif							/* OFS_BURIED_H */
