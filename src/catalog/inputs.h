/*
 * inputs.h
 *		What a policy depends on beside the row.
 */
#ifndef OFS_INPUTS_H
#define OFS_INPUTS_H

#include "postgres.h"

#include "catalog/synced.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

/* Facts of one policy that don't depend on the caller. */
typedef struct OfsPolicyFact
{
	char	   *name;
	char	   *text;			/* its expression, deparsed with everything qualified */
	bool		permissive;
	List	   *inputs;			/* largest sub-expressions without row values, constants left out */
	const char *opaque;			/* why its verdict on a row can change unseen, or NULL */
	const char *shifting;		/* why it can change with what is told by events, or NULL */
	struct OfsFollow *follow;	/* which events those are; NULL where it is opaque in any case */
} OfsPolicyFact;

/* Does it read the row, or a value that an expression around it works on? */
extern bool ofs_inputs_reads_row(Node *node);

/* Examine a policy's expression; the result lives in the current memory context. */
extern OfsPolicyFact *ofs_inputs_examine(Relation rel, const OfsDeclared *declared, const char *name,
										 bool permissive, Node *qual);

/*
 * Evaluate expressions without row values as the caller, in the active snapshot, and append their
 * values to out as bytes.  False when that raised an error (which then is the policy's own affair).
 * Many tables' policies ask the same: "known" starts as NIL, and serves while caller and snapshot stay the same.
 */
extern bool ofs_inputs_evaluate(List *inputs, List **known, StringInfo out);

#endif							/* OFS_INPUTS_H */
