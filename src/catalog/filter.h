/*
 * filter.h
 *		What a device chooses to hold of what it may see.
 */
#ifndef OFS_FILTER_H
#define OFS_FILTER_H

#include "postgres.h"

#include "base/codec.h"
#include "catalog/asked.h"
#include "catalog/view.h"

typedef struct OfsFilter
{
	OfsTable   *table;
	uint64		columns;		/* hash of their names, never 0 */
	List	   *sets;			/* of OfsViewSet, one per column: the row's value is among these */
} OfsFilter;

/*
 * {"collection": {"column": [values]}} as a list of OfsFilter; text may be NULL.  PT400 for anything malformed, and for
 * a collection that isn't among the asked ones or a column that isn't in its filter_columns; 42501 for a column
 * that the caller can't read.
 */
extern List *ofs_filter_parse(const char *text, List *asked, OfsDialect dialect);

/* The filter of a table, or NULL. */
extern OfsFilter *ofs_filter_find(List *filters, const OfsTable *table);

/* The filter as a condition on a row of its table, which is range-table entry 1. */
extern Node *ofs_filter_node(const OfsFilter *filter);

#endif							/* OFS_FILTER_H */
