/*
 * rewrite.h
 *		A policy in the form that deltas can follow.
 */
#ifndef OFS_REWRITE_H
#define OFS_REWRITE_H

#include "postgres.h"

#include "nodes/nodes.h"

typedef struct OfsRewrite
{
	Node	   *qual;			/* true for the same rows */
	bool		sets;			/* ties to the row were taken out of subqueries */
	bool		calls;			/* function calls were put into subqueries */
	bool		casts;			/* columns are compared without a cast */
	bool		ties;			/* they are to be taken out */
	const char *tied;			/* why a subquery stays tied to the row, or NULL */
} OfsRewrite;

/* ties: also where a subquery is tied to the row in a way that pulls see through by themselves. */
extern OfsRewrite *ofs_rewrite_policy(Node *qual, bool ties);

/* ---------- calls.c ---------- */

/* The expression with such calls in subqueries of their own; found: there are any. */
extern Node *ofs_rewrite_calls(Node *qual, bool *found);

#endif							/* OFS_REWRITE_H */
