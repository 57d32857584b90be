/*
 * feed.h
 *		What changed in a collection since a time, for facades that shape their answers by themselves.
 */
#ifndef OFS_FEED_H
#define OFS_FEED_H

#include "postgres.h"

#include "catalog/view.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

typedef struct OfsFeed OfsFeed;

/* A row as it is now, or a deletion. */
typedef struct OfsFeedRow
{
	const StringInfoData *id;
	StringInfo	record;			/* JSON, to be changed at will; NULL: it is deleted */
	bool		made;			/* since the time, as far as that is known */
	TimestampTz created;		/* of a deletion: when that was, both of them */
	TimestampTz updated;
	int64		version;
	bool		gone;			/* it counts as deleted: only where one row is asked for */
} OfsFeedRow;

/* The row is good till it returns. */
typedef void (*OfsFeedTake) (const OfsFeedRow *row, void *arg);

/*
 * Since a client's clock stood so (text of ISO 8601; NULL: since ever), in the current memory context, for the current user in the
 * active snapshot; SPI is connected in all of these.  Errors: PT400 for what is no time, PT410 for one that can't be followed.
 */
extern OfsFeed *ofs_feed_open(const char *since, OfsDialect dialect);

/* What the caller sees of the collection; its columns may be changed before rows are asked for. */
extern OfsView *ofs_feed_view(OfsFeed *feed, OfsTable *table);

/* Why it can't be told what is gone from the collection since the time; or NULL. */
extern const char *ofs_feed_lost(OfsFeed *feed, OfsTable *table);

/* Error PT410 where that can't be told. */
extern void ofs_feed_require(OfsFeed *feed, OfsTable *table);

/* All live rows that changed since the time, and some that didn't.  order: SQL, with " ORDER BY"; or empty. */
extern void ofs_feed_rows(OfsFeed *feed, OfsTable *table, const char *order, OfsFeedTake take, void *arg);

/* All deletions since the time, and some before; where nothing is lost, or since ever. */
extern void ofs_feed_deletions(OfsFeed *feed, OfsTable *table, OfsFeedTake take, void *arg);

/* One row, if the caller sees it; one that counts as deleted, too. */
extern bool ofs_feed_one(OfsFeed *feed, OfsTable *table, const char *id, OfsFeedTake take, void *arg);

#endif							/* OFS_FEED_H */
