/*
 * inputs.h
 *		What a policy depends on beside the row.
 */
#ifndef OFS_INPUTS_H
#define OFS_INPUTS_H

#include "postgres.h"

#include "catalog/setfact.h"
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
	Node	   *qual;			/* the expression; what follows points into it */
	List	   *inputs;			/* largest sub-expressions without row values, constants left out */
	List	   *sets;			/* of OfsSetFact: sets that a value of the row is looked up in */
	const char *opaque;			/* why its verdict on a row can change unseen, or NULL */
	const char *shifting;		/* why it can change with what is told by events, or NULL */
	struct OfsFollow *follow;	/* which events those are; NULL where it is opaque in any case */
} OfsPolicyFact;

/* Does it read the row, or a value that an expression around it works on? */
extern bool ofs_inputs_reads_row(Node *node);

/* Examine a policy's expression; the result lives in the current memory context. */
extern OfsPolicyFact *ofs_inputs_examine(Relation rel, const OfsDeclared *declared, const char *name,
										 bool permissive, Node *qual);

/* An expression without row values, evaluated. */
typedef struct OfsInput
{
	Node	   *node;
	Oid			type;
	bool		failed;			/* that raised an error, which then is the policy's own affair */
	bool		isnull;
	Datum		value;
} OfsInput;

/*
 * Evaluate expressions without row values as the caller, in the active snapshot; the result is a list of OfsInput.
 * Many tables' policies ask the same: "known" starts as NIL, and serves while caller and snapshot stay the same.
 */
extern List *ofs_inputs_evaluate(List *nodes, List **known);

/* Append the value as bytes. */
extern void ofs_inputs_append(const OfsInput *input, StringInfo out);

#endif							/* OFS_INPUTS_H */
