/*
 * collect.h
 *		The rows of one collection.
 */
#ifndef OFS_COLLECT_H
#define OFS_COLLECT_H

#include "postgres.h"

#include "catalog/pushlog.h"
#include "catalog/since.h"
#include "lib/stringinfo.h"
#include "pull/call.h"
#include "pull/judge.h"
#include "pull/list.h"
#include "pull/page.h"

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
	bool		additive;		/* what isn't in a replacement stays: it names what is gone, too */
	bool		soft_rows;		/* rows that are soft-deleted are rows like others */
	List	   *migration;		/* of OfsAdded */
	OfsPaging  *paging;			/* NULL: all in one */
	bool		piecewise;		/* the answer goes out while it is made: its size must not matter */
	OfsPushes  *pushes;			/* the client's own, unseen by what it holds; NULL: not known */
	const OfsPullTaker *taker;	/* who gets the rows as they are; NULL: they make records */
} OfsPullOptions;

/*
 * The statements on a collection's rows, as the current user sees it in the active snapshot; SPI is connected, and snapshot and
 * memory context are the same in all calls.
 */
typedef struct OfsCollect OfsCollect;

/* lists: created, updated, deleted */
extern OfsCollect *ofs_collect_begin(const OfsVerdict *verdict, const OfsSince *since, OfsPullMode mode,
									 const OfsPullOptions *options, OfsWireList *lists);

/* Are the rows fetched a few at a time? */
extern bool ofs_collect_is_fetched(OfsPullMode mode, const OfsPullOptions *options);

/* Rows go to their lists, or can be fetched; buried: there are unseen tombstones. */
extern void ofs_collect_rows(OfsCollect *r, bool buried);

/* Some rows more; false: that was all. */
extern bool ofs_collect_fetch(OfsCollect *r);

extern void ofs_collect_end(OfsCollect *r);

#endif							/* OFS_COLLECT_H */
