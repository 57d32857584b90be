/*
 * view.h
 *		What one caller sees of one synced table.
 */
#ifndef OFS_VIEW_H
#define OFS_VIEW_H

#include "postgres.h"

#include "base/codec.h"
#include "catalog/record.h"

typedef struct OfsView
{
	OfsTable   *table;
	const char *asked;			/* the collection's name as the caller spelt it */
	OfsRecordColumns columns;	/* those that travel */
	const char *opaque;			/* why no delta can be computed for this caller, or NULL */
	bool		reads_tables;	/* its policies read other tables, whose changes only the fingerprint tells */
	uint64		fingerprint;	/* of all that the view depends on beside the rows */
} OfsView;

/*
 * Look at the table as the current user; the table is locked to the end of the transaction.  "known" is that of
 * ofs_inputs_evaluate().
 */
extern OfsView *ofs_view_make(OfsTable *table, const char *asked, OfsDialect dialect, List **known);

#endif							/* OFS_VIEW_H */
