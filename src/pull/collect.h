/*
 * collect.h
 *		One collection's part of a pull's answer.
 */
#ifndef OFS_COLLECT_H
#define OFS_COLLECT_H

#include "postgres.h"

#include "catalog/pushlog.h"
#include "catalog/since.h"
#include "lib/stringinfo.h"
#include "pull/judge.h"

typedef enum OfsPullMode
{
	OFS_PULL_FIRST,				/* everything, as created */
	OFS_PULL_INCREMENTAL,		/* what changed */
	OFS_PULL_REPLACEMENT,		/* everything, and what isn't in it is gone */
	OFS_PULL_ADDED				/* the same, of a collection that the device's app has only just come to know */
} OfsPullMode;

typedef struct OfsPullOptions
{
	OfsDialect	dialect;
	bool		created_as_updated;
	List	   *migration;		/* of OfsAdded */
	bool		piecewise;		/* the answer goes out while it is made: its size must not matter */
	OfsPushes  *pushes;			/* the client's own, unseen by what it holds; NULL: not known */
} OfsPullOptions;

/* A collection that is being answered: {"created": [...], "updated": [...], "deleted": [...]} */
typedef struct OfsCollecting OfsCollecting;

/* As the current user sees it in the active snapshot, which is the same in all calls; in the current memory context. */
extern OfsCollecting *ofs_collect_begin(const OfsVerdict *verdict, const OfsSince *since, OfsPullMode mode,
										const OfsPullOptions *options);

/*
 * Append a piece of it; false: that was the last.  The StringInfo is the same in all calls, and what is in it may be
 * taken out in between.  SPI is connected.
 */
extern bool ofs_collect_more(OfsCollecting *collecting, StringInfo out);

/* Give up before that. */
extern void ofs_collect_end(OfsCollecting *collecting);

#endif							/* OFS_COLLECT_H */
