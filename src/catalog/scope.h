/*
 * scope.h
 *		Which rows can be the caller's at all, in words that an index understands.
 */
#ifndef OFS_SCOPE_H
#define OFS_SCOPE_H

#include "postgres.h"

#include "catalog/view.h"

typedef struct OfsScope
{
	Node	   *node;			/* a condition over range-table entry 1, which every row fulfils that the caller can see */
	List	   *values;			/* of Const: of its parameters, $1 and so on */
	bool		large;			/* there are so many that they decide how to read */
} OfsScope;

/* The view's scope; or NULL, where the policies by themselves say as much. */
extern const OfsScope *ofs_scope_of(OfsView *view);

#endif							/* OFS_SCOPE_H */
