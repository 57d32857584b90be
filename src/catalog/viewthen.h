/*
 * viewthen.h
 *		What a cursor says of the views that its client had.
 */
#ifndef OFS_VIEWTHEN_H
#define OFS_VIEWTHEN_H

#include "postgres.h"

#include "catalog/since.h"
#include "catalog/view.h"

/* The sets that the cursor carries; none unless it is exact. */
extern void ofs_viewthen_open(const OfsSince *since, OfsSetBook *book);

/* What they say of the table, or NULL. */
extern const OfsSetView *ofs_viewthen_find(const OfsSetBook *book, const OfsTable *table);

/* Digest of all that the view depends on beside the rows: its own sets, and its parents' views. */
extern uint64 ofs_view_digest(const OfsView *view);

/* The same of the view as the cursor knew it; 0 when it didn't. */
extern uint64 ofs_viewthen_digest(const OfsSince *since, const OfsSetBook *book, const OfsView *view);

#endif							/* OFS_VIEWTHEN_H */
