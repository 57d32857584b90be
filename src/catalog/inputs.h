/*
 * inputs.h
 *		What a policy depends on beside the row.
 */
#ifndef OFS_INPUTS_H
#define OFS_INPUTS_H

#include "postgres.h"

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
	bool		reads_tables;	/* an input's subquery does */
	const char *opaque;			/* why its verdict on a row can change unseen, or NULL */
} OfsPolicyFact;

/* Examine a policy's expression; the result lives in the current memory context. */
extern OfsPolicyFact *ofs_inputs_examine(Relation rel, const char *name, bool permissive, Node *qual);

/*
 * Evaluate expressions without row values as the caller, in the active snapshot, and append their
 * values to out as bytes.  False when that raised an error (which then is the policy's own affair).
 * Many tables' policies ask the same: "known" starts as NIL, and serves while caller and snapshot stay the same.
 */
extern bool ofs_inputs_evaluate(List *inputs, List **known, StringInfo out);

#endif							/* OFS_INPUTS_H */
