/*
 * collection.h
 *		One collection's part of a pull's answer, piece by piece.
 */
#ifndef OFS_COLLECTION_H
#define OFS_COLLECTION_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "pull/collect.h"

typedef struct OfsCollection OfsCollection;

/* {"created": [...], "updated": [...], "deleted": [...]}, as ofs_collect_... find it; in the current memory context. */
extern OfsCollection *ofs_collection_begin(const OfsVerdict *verdict, const OfsSince *since, OfsPullMode mode,
										   const OfsPullOptions *options);

/* Append a piece of it; false: that was the last.  The StringInfo is the same in all calls; it may be emptied between two. */
extern bool ofs_collection_more(OfsCollection *collection, StringInfo out);

/* How many items stand in one of its lists; when all of them are there. */
extern int64 ofs_collection_count(const OfsCollection *collection, int list);

/* Give up before that. */
extern void ofs_collection_end(OfsCollection *collection);

#endif							/* OFS_COLLECTION_H */
