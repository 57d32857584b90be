/*
 * pbase.h
 *		What the calls of PocketBase's clients share.
 */
#ifndef OFS_PBASE_H
#define OFS_PBASE_H

#include "postgres.h"

#include "pull/feed.h"

/* The collection that is none: what happened to the records of the others. */
#define PB_CHANGES	"changes"

/* ---------- pbfilter.c ---------- */

/* What a filter asks for; NULL: nothing of the kind. */
typedef struct OfsPbFilter
{
	const char *since;			/* a time */
	const char *action;
	const char *collection;
} OfsPbFilter;

/* changes: it is one of the collection "changes".  Error PT400 for whatever else it says. */
extern OfsPbFilter ofs_pbfilter_parse(const char *text, bool changes);

/* ---------- pblist.c ---------- */

/* The view without the columns whose names PocketBase's own have; to be called before rows are read. */
extern void ofs_pblist_shape(OfsView *view);

/* Make the row's record one of PocketBase's. */
extern void ofs_pblist_finish(const OfsTable *table, const OfsFeedRow *row);

/* The collection, if the caller may read it; errors PT404, 42501. */
extern OfsTable *ofs_pblist_table(const char *collection);

/* ---------- pbwrite.c ---------- */

/* The answers are JSON; of the function "name" that people called. */
extern text *ofs_pbwrite_create(const char *name, const char *collection, const text *body);
extern text *ofs_pbwrite_update(const char *name, const char *collection, const char *id, const text *body);
extern void ofs_pbwrite_delete(const char *name, const char *collection, const char *id);

#endif							/* OFS_PBASE_H */
