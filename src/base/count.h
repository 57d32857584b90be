/*
 * count.h
 *		What devices did, in numbers that only grow: offsync.stats.
 */
#ifndef OFS_COUNT_H
#define OFS_COUNT_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* In the order of the columns of offsync_internal.stats(). */
typedef enum OfsCounter
{
	OFS_COUNT_PULLS,			/* answered, pages one by one */
	OFS_COUNT_PULLS_FIRST,		/* from nothing */
	OFS_COUNT_PULLS_IDLE,		/* nothing had changed */
	OFS_COUNT_ROWS_SENT,
	OFS_COUNT_DELETIONS_SENT,	/* ids */

	/* collections that were replaced, and why */
	OFS_COUNT_REPLACED_HISTORY, /* the cursor is of another incarnation, from the future, or lost by a promotion */
	OFS_COUNT_REPLACED_NEW,		/* it doesn't cover the collection */
	OFS_COUNT_REPLACED_CALLER,	/* other user, rights or policies */
	OFS_COUNT_REPLACED_ACCESS,	/* what policies read has changed in a way that has no delta */
	OFS_COUNT_REPLACED_POLICY,	/* policies that can't be followed, triggers or mirrors that are out of order */
	OFS_COUNT_REPLACED_RESET,	/* TRUNCATE, a rewrite, changed definitions, offsync.reset */
	OFS_COUNT_REPLACED_PRUNED,
	OFS_COUNT_REPLACED_FILTER,	/* the device filters otherwise */
	OFS_COUNT_REPLACED_MIGRATION,	/* the app has come to know the collection */

	OFS_COUNT_PUSHES,			/* stored */
	OFS_COUNT_PUSHES_REPEATED,	/* answered as the first time */
	OFS_COUNT_PUSHES_FAILED,	/* as a whole */
	OFS_COUNT_ROWS_RECEIVED,	/* by those that were stored */
	OFS_COUNT_DELETIONS_RECEIVED,
	OFS_COUNT_REJECTED,			/* records, beside the rest of their push */
	OFS_COUNT_CONFLICTS,		/* records, in either way */
	OFS_COUNTERS
} OfsCounter;

#define OFS_COUNT_REPLACED_FIRST	OFS_COUNT_REPLACED_HISTORY
#define OFS_COUNT_REPLACED_LAST		OFS_COUNT_REPLACED_MIGRATION

extern void ofs_count(OfsCounter counter, uint64 n);

/* A list of changes was answered.  first: from nothing; told: it has told of something beside rows and deletions. */
extern void ofs_count_pull(bool first, int64 rows, int64 deletions, bool told);

/* Nothing of a push was stored, because so many of its records were in conflict, or for other reasons. */
extern void ofs_count_failed_push(int64 conflicts);

/* Numbers of this database, and since when; false: nothing is counted. */
extern bool ofs_count_read(uint64 *values, TimestampTz *since);
extern void ofs_count_reset(void);

#endif							/* OFS_COUNT_H */
