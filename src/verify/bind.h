/*
 * bind.h
 *		A policy's expression for one row, as SQL would decide it.
 */
#ifndef OFS_BIND_H
#define OFS_BIND_H

#include "postgres.h"

#include "nodes/nodes.h"
#include "verify/explain.h"

typedef enum OfsVerdict
{
	OFS_VERDICT_TRUE,
	OFS_VERDICT_FALSE,
	OFS_VERDICT_NULL,
	OFS_VERDICT_UNKNOWN			/* not asked, or it could not be told */
} OfsVerdict;

/* The expression with the row's values in the place of its columns; NULL where it reads a system column. */
extern Node *ofs_bind_row(const OfsExplain *x, Node *qual);

/* Evaluate it as the current user, in the active snapshot. */
extern OfsVerdict ofs_bind_decide(Node *bound);

#endif							/* OFS_BIND_H */
