/*
 * trouble.h
 *		Is everything in place that exact answers depend on?
 */
#ifndef OFS_TROUBLE_H
#define OFS_TROUBLE_H

#include "catalog/synced.h"

/* Does a change of this relation's definition bear on what ofs_table_trouble() says? */
extern bool ofs_trouble_watches(const OfsTable *table, Oid relid);

/* How the tombstone table's row-level security differs from the table's own, or NULL. */
extern const char *ofs_trouble_of_mirror(Relation rel, Relation tomb);

#endif							/* OFS_TROUBLE_H */
