/*
 * view.h
 *		What one caller sees of one synced table.
 */
#ifndef OFS_VIEW_H
#define OFS_VIEW_H

#include "postgres.h"

#include "base/codec.h"
#include "catalog/synced.h"

typedef struct OfsView
{
	OfsTable   *table;
	const char *asked;			/* the collection's name as the caller spelt it */
	int			ncolumns;		/* columns that travel: allowed by the whitelist and readable by the caller */
	AttrNumber *columns;
	const char **names;			/* on the wire */
	const char *opaque;			/* why no delta can be computed for this caller, or NULL */
	bool		reads_tables;	/* its policies read other tables, whose changes only the fingerprint tells */
	uint64		fingerprint;	/* of all that the view depends on beside the rows */
} OfsView;

/* May the caller read the table's key (and name the table)? */
extern bool ofs_view_readable(OfsTable *table);

/* Error 42501 for a table whose key the caller can't read. */
extern void ofs_view_require(OfsTable *table);

/*
 * Look at the table as the current user; the table is locked to the end of the transaction.  "known" is that of
 * ofs_inputs_evaluate().
 */
extern OfsView *ofs_view_make(OfsTable *table, const char *asked, OfsDialect dialect, List **known);

#endif							/* OFS_VIEW_H */
