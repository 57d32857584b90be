/*
 * map.c
 *		A policy's expression, rewritten for the tombstone table.
 *
 * Columns are found by their names.  A domain's column has its base type there: the relabelling
 * that most expressions start with anyway goes away, and elsewhere one back to the domain comes in.
 */
#include "postgres.h"

#include "catalog/policy.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

typedef struct MapContext
{
	Relation	rel;
	Relation	tomb;
	int			level;			/* of sub-selects around the node */
	bool		failed;
} MapContext;

static bool
is_row_column(Node *node, MapContext *context)
{
	return node != NULL && IsA(node, Var) && ((Var *) node)->varno == 1 &&
		(int) ((Var *) node)->varlevelsup == context->level;
}

/* The tombstone's column for a column of the row, of its own type. */
static Var *
map_column(Var *var, MapContext *context)
{
	Var		   *mapped = copyObject(var);
	AttrNumber	attnum = InvalidAttrNumber;
	Form_pg_attribute att;

	if (var->varattno > 0)
		attnum = get_attnum(RelationGetRelid(context->tomb),
							NameStr(TupleDescAttr(RelationGetDescr(context->rel), var->varattno - 1)->attname));
	if (attnum == InvalidAttrNumber)
	{
		context->failed = true;
		return mapped;
	}
	att = TupleDescAttr(RelationGetDescr(context->tomb), attnum - 1);
	mapped->varattno = attnum;
	mapped->varattnosyn = attnum;
	mapped->vartype = att->atttypid;
	mapped->vartypmod = att->atttypmod;
	mapped->varcollid = att->attcollation;
	return mapped;
}

static Node *
map_mutator(Node *node, MapContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, RelabelType) && is_row_column((Node *) ((RelabelType *) node)->arg, context))
	{
		RelabelType *relabel = (RelabelType *) node;
		Var		   *mapped = map_column((Var *) relabel->arg, context);

		if (mapped->vartype == relabel->resulttype && mapped->varcollid == relabel->resultcollid)
			return (Node *) mapped;
	}
	if (is_row_column(node, context))
	{
		Var		   *var = (Var *) node;
		Var		   *mapped = map_column(var, context);

		if (mapped->vartype == var->vartype)
			return (Node *) mapped;
		return (Node *) makeRelabelType((Expr *) mapped, var->vartype, var->vartypmod,
										var->varcollid, COERCE_EXPLICIT_CAST);
	}
	if (IsA(node, Query))
	{
		Query	   *query;

		context->level++;
		query = query_tree_mutator((Query *) node, map_mutator, context, 0);
		context->level--;
		return (Node *) query;
	}
	return expression_tree_mutator(node, map_mutator, context);
}

bool
ofs_policy_map(Relation rel, Relation tomb, Node *qual, Node **mapped)
{
	MapContext	context = {rel, tomb, 0, false};

	*mapped = map_mutator(qual, &context);
	return !context.failed;
}
