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
	Node	   *node;			/* a condition over range-table entry 1 that every row fulfils which the caller can see; or NULL */
	bool		better;			/* it finds rows, or rules them out, in ways that PostgreSQL doesn't see in the policies */
	List	   *values;			/* of Const: of its parameters, $1 and so on */
	bool		large;			/* there are so many values that they decide how to read */
	bool		rivals;			/* one index finds the caller's rows and another those that changed: how many there are decides */
} OfsScope;

/* The view's scope. */
extern const OfsScope *ofs_scope_of(OfsView *view);

/* Its condition over the columns of tombstones. */
extern Node *ofs_scope_of_tombs(OfsView *view);

#endif							/* OFS_SCOPE_H */
