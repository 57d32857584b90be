/*
 * list.h
 *		The lists of a collection in an answer: created, updated, deleted.
 *
 * They stand one behind the other in the text, and rows come as the executor finds them.  What belongs to the first list that
 * can have any is written to the answer at once; the others wait: in memory, or, where the answer goes out
 * piece by piece and its size must not matter, on disk once they are large.
 */
#ifndef OFS_LIST_H
#define OFS_LIST_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/tuplestore.h"

enum
{
	OFS_LIST_CREATED, OFS_LIST_UPDATED, OFS_LIST_DELETED, OFS_LISTS
};

/* How much text of an answer is handed out at once, more or less. */
#define OFS_LIST_PIECE	(64 * 1024)

typedef struct OfsWireList
{
	StringInfo	text;			/* the answer, or what waits */
	int64		count;			/* of its items */
	bool		waits;
	bool		spills;
	Tuplestorestate *spilt;		/* what came first; or NULL */
	StringInfoData own;
} OfsWireList;

/* out: the answer, where the list's items go there at once; else NULL. */
extern void ofs_list_begin(OfsWireList *list, StringInfo out, bool spills);

/* The place of the next item. */
extern StringInfo ofs_list_next(OfsWireList *list);

/* It stands there. */
extern void ofs_list_added(OfsWireList *list);

extern void ofs_list_add_id(OfsWireList *list, const StringInfo id);

/* Append what has waited, or a piece of it; false: that was all, and the list is gone. */
extern bool ofs_list_answer(OfsWireList *list, StringInfo out);

#endif							/* OFS_LIST_H */
