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
	OfsPushes  *pushes;			/* the client's own, unseen by what it holds; NULL: not known */
} OfsPullOptions;

/*
 * Append {"created": [...], "updated": [...], "deleted": [...]} as the current user sees it in the
 * active snapshot.  SPI is connected.
 */
extern void ofs_collect(const OfsVerdict *verdict, const OfsSince *since, OfsPullMode mode,
						const OfsPullOptions *options, StringInfo out);

#endif							/* OFS_COLLECT_H */
