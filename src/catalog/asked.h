/*
 * asked.h
 *		The collections that a caller asks for.
 */
#ifndef OFS_ASKED_H
#define OFS_ASKED_H

#include "postgres.h"

#include "catalog/synced.h"
#include "utils/array.h"

typedef struct OfsAsked
{
	OfsTable   *table;
	const char *asked;			/* as the caller spelt it */
} OfsAsked;

/*
 * Add a collection to a list of OfsAsked.  Errors: PT404 when there is none, 42501 when the caller can't read its key,
 * PT400 when it stands in the list already.
 */
extern List *ofs_asked_add(List *asked, const char *name);

/* Sort parents before children, by foreign key. */
extern List *ofs_asked_sort(List *asked);

/* The named collections, sorted; those that the caller may read when there is no array (NULL).  Without retired ones. */
extern List *ofs_asked_list(ArrayType *names);

/* The retired ones among the names, as C strings. */
extern List *ofs_asked_retired(ArrayType *names);

#endif							/* OFS_ASKED_H */
