/*
 * deleted.h
 *		The ids of one collection that are gone.
 */
#ifndef OFS_DELETED_H
#define OFS_DELETED_H

#include "postgres.h"

#include "catalog/since.h"
#include "pull/collect.h"
#include "pull/judge.h"
#include "pull/list.h"

/* Put them into the list; buried: there are unseen tombstones. */
extern void ofs_deleted_collect(const OfsVerdict *verdict, const OfsSince *since, bool buried,
								const OfsPullOptions *options, OfsWireList *deleted);

/*
 * All deletions that are remembered, for a client that can't drop what isn't in a replacement.  Where policies read other
 * tables, old tombstones would be shown by today's memberships: nothing is told of them then.
 */
extern void ofs_deleted_collect_remembered(const OfsVerdict *verdict, const OfsPullOptions *options, OfsWireList *deleted);

#endif							/* OFS_DELETED_H */
