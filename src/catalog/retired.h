/*
 * retired.h
 *		Names of collections that are no longer synced, and that old versions of an app still ask for.
 */
#ifndef OFS_RETIRED_H
#define OFS_RETIRED_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* Is it one, by the collection's name or as schema.table, and no synced table's name? */
extern bool ofs_retired_is(const char *name);

/* All of them, collections' names as C strings. */
extern List *ofs_retired_list(void);

/* Retire a collection, or take its name back. */
extern void ofs_retired_add(const char *collection, const char *qualified);
extern void ofs_retired_remove(const char *collection);

#endif							/* OFS_RETIRED_H */
