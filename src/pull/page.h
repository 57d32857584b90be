/*
 * page.h
 *		Pulls that come in pages.
 */
#ifndef OFS_PULL_PAGE_H
#define OFS_PULL_PAGE_H

#include "postgres.h"

#include "catalog/asked.h"
#include "core/page.h"
#include "pull/judge.h"
#include "pull/unseen.h"

/* Parts of a collection's answer, in this order. */
typedef enum OfsPagePart
{
	OFS_PART_ROWS,				/* unseen ones, or all */
	OFS_PART_GAINED,			/* those that came into view */
	OFS_PART_LACKED,			/* those of which the device lacks a column */
	OFS_PART_DELETED
} OfsPagePart;

typedef struct OfsPaging
{
	int64		room;			/* rows and ids that this page still takes */
	bool		full;			/* ... and there is one more */
	const OfsSince *first;		/* what the first page's snapshot had seen; NULL: this is the first page */
	OfsJudge   *still;			/* from there to here; NULL on the first page */
	OfsPage		page;
	StringInfoData key;			/* of the last row or id of the part at hand */
	bool		started;		/* there is one */
} OfsPaging;

/*
 * A pull in pages of at most max_rows rows and ids.  opened: what the caller gave; its page, if there is one, is gone on
 * with.  origin: the text that the pull began with.  arguments: a hash of what may not change from page to page.  Errors: PT400 for arguments
 * that changed, PT410 where the pages can't be gone on with, PT503 on a standby that hasn't seen what the first page had.
 */
extern OfsPaging *ofs_paging_create(int64 max_rows, const OfsSince *opened, const char *origin, uint64 arguments);

/*
 * The collection's place in the page; NULL when it isn't among those of the first page.  On the first page it
 * is put there.
 */
extern OfsPageCollection *ofs_paging_find(OfsPaging *paging, const OfsTable *table);

/* Error PT400 where an explicit list of collections lacks one that isn't finished. */
extern void ofs_paging_require(OfsPaging *paging, List *wanted);

/* Might the view of the rest of the collection's rows be another one than on the first page? */
extern bool ofs_paging_moved(OfsPaging *paging, OfsTable *table);

/* Go to the collection, or on with it. */
extern void ofs_paging_go(OfsPaging *paging, const OfsPageCollection *place);

/* Is this part of the answer, or the rest of it, to be told now?  The others only where there are no pages (NULL): then always. */
extern bool ofs_paging_enter(OfsPaging *paging, OfsPagePart part);

/* Take a row or an id; false: there is no room. */
extern bool ofs_paging_take(OfsPaging *paging, const StringInfo id);

/* End the condition of a statement on the rows "t": append that they can be the caller's, and, where there are pages, what makes one of it. */
extern void ofs_paging_append(StringInfo sql, const OfsPaging *paging, const OfsTable *table, OfsUnseen *params);

/* Make a page of a statement that answers keys.  alias: whose, where the statement ends with its condition and can be gone on with; or NULL. */
extern void ofs_paging_wrap(StringInfo sql, const OfsPaging *paging, const OfsTable *table, const char *alias, OfsUnseen *params);

/*
 * The page's cursor and number.  On the first page they are given as those of a pull that has no pages.  Error PT503 where
 * there are more pages to come from a snapshot that is behind what the client has seen.
 */
extern void ofs_paging_seal(OfsPaging *paging, const OfsSince *since, const OfsCursor **cursor, int64 *timestamp);

#endif							/* OFS_PULL_PAGE_H */
