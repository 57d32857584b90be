/*
 * horizon.h
 *		What offsync.prune has taken away.
 */
#ifndef OFS_HORIZON_H
#define OFS_HORIZON_H

#include "postgres.h"

#include "catalog/since.h"
#include "utils/snapshot.h"

/*
 * Could something that the caller hasn't seen of the collection have been pruned, as of this snapshot?  A device
 * that has nothing yet lacks nothing.
 */
extern bool ofs_horizon_passed(const OfsSince *since, const OfsTable *table, Snapshot snapshot);

/* The same of the events of any relation. */
extern bool ofs_horizon_passed_of(const OfsSince *since, Oid relid, Snapshot snapshot);

/* The same of one version; relid InvalidOid: of the events of no table. */
extern bool ofs_horizon_hides(Oid relid, int64 version, Snapshot snapshot);

/* Note that rows of these versions, which belong to the table, are gone. */
extern void ofs_horizon_note(Oid relid, int64 first, int64 last);

#endif							/* OFS_HORIZON_H */
