/*
 * deleted.h
 *		The ids under "deleted".
 */
#ifndef OFS_DELETED_H
#define OFS_DELETED_H

#include "postgres.h"

#include "pull/collect.h"

/* Append an id to a list. */
extern void ofs_deleted_append(StringInfo out, const StringInfo id);

/* Append those of unseen tombstones that the caller may see, and of rows that went out of view; buried: there are tombstones. */
extern void ofs_deleted_collect(const OfsVerdict *verdict, const OfsSince *since, bool buried,
								const OfsPullOptions *options, StringInfo deleted);

/* All deletions that are remembered, for a client that can't drop what isn't in a replacement. */
extern void ofs_deleted_remembered(const OfsVerdict *verdict, const OfsPullOptions *options, StringInfo deleted);

#endif							/* OFS_DELETED_H */
