/*
 * page.h
 *		Where a pull stands between two of its pages, as the cursor carries it.
 */
#ifndef OFS_PAGE_H
#define OFS_PAGE_H

#include "postgres.h"

#include "lib/stringinfo.h"

typedef enum OfsPageState
{
	OFS_PAGE_OPEN,				/* not told of, or not all of it */
	OFS_PAGE_DONE,				/* told of */
	OFS_PAGE_SPOILED			/* its view didn't stay the same: the next pull replaces it */
} OfsPageState;

typedef struct OfsPageCollection
{
	uint64		hash;			/* of the collection's name */
	uint8		mode;			/* how it is answered: OfsPullMode */
	uint8		state;
} OfsPageCollection;

typedef struct OfsPage
{
	const char *origin;			/* what the first page was asked with; NULL: a first sync */
	uint64		timestamp;		/* of the last page */
	uint64		arguments;		/* hash of those that may not change */
	int			ncollections;
	OfsPageCollection *collections;
	uint64		at;				/* hash of the one that the last page ended in ... */
	int			part;			/* ... in this part of its answer ... */
	const char *key;			/* ... behind this id; NULL: at the beginning */
} OfsPage;

extern void ofs_page_pack(const OfsPage *page, StringInfo out);

/* False when the bytes are no page. */
extern bool ofs_page_unpack(const uint8 *bytes, int len, OfsPage *page);

#endif							/* OFS_PAGE_H */
