/*
 * advice.c
 *		What the policies say about a table: by which column people are told apart, and what no
 *		delta can follow.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/policy.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

/* ---------- scopes ---------- */

static AttrNumber
as_column(Node *node)
{
	while (node && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	if (node && IsA(node, Var) && ((Var *) node)->varattno > 0)
		return ((Var *) node)->varattno;
	return InvalidAttrNumber;
}

static bool
is_same_for_all_rows(Node *node)
{
	bool		whole_row;

	return ofs_policy_columns(node, &whole_row) == NULL && !whole_row &&
		!contain_volatile_functions(node);
}

AttrNumber
ofs_advice_scope(Node *clause)
{
	OpExpr	   *op = (OpExpr *) clause;
	Oid			family;
	AttrNumber	attnum;

	if (!IsA(clause, OpExpr) || list_length(op->args) != 2)
		return InvalidAttrNumber;
	for (int side = 0; side < 2; side++)
	{
		Node	   *column = list_nth(op->args, side);

		attnum = as_column(column);
		if (attnum == InvalidAttrNumber || !is_same_for_all_rows(list_nth(op->args, 1 - side)))
			continue;
		family = lookup_type_cache(exprType(column), TYPECACHE_BTREE_OPFAMILY)->btree_opf;
		if (OidIsValid(family) &&
			get_op_opfamily_strategy(op->opno, family) == BTEqualStrategyNumber)
			return attnum;
	}
	return InvalidAttrNumber;
}

List *
ofs_advice_scopes(Relation rel)
{
	List	   *scopes = NIL;
	ListCell   *lc,
			   *part;

	foreach(lc, ofs_policy_list(rel))
	{
		RowSecurityPolicy *policy = lfirst(lc);

		foreach(part, make_ands_implicit(copyObject(policy->qual)))
		{
			AttrNumber	attnum = ofs_advice_scope(lfirst(part));

			if (attnum != InvalidAttrNumber)
				scopes = list_append_unique_int(scopes, attnum);
		}
	}
	return scopes;
}

/* ---------- warnings ---------- */

typedef struct SubselectContext
{
	int			level;
	bool		reads_table;
	bool		reads_row;		/* a sub-select does */
} SubselectContext;

static bool
subselect_walker(Node *node, SubselectContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		if (((RangeTblEntry *) node)->rtekind == RTE_RELATION)
			context->reads_table = true;
		return false;
	}
	if (IsA(node, Var))
	{
		if (context->level > 0 && (int) ((Var *) node)->varlevelsup == context->level)
			context->reads_row = true;
		return false;
	}
	if (IsA(node, Query))
	{
		bool		stop;

		context->level++;
		stop = query_tree_walker((Query *) node, subselect_walker, context, QTW_EXAMINE_RTES_BEFORE);
		context->level--;
		return stop;
	}
	return expression_tree_walker(node, subselect_walker, context);
}

void
ofs_advice_policies(Relation rel, ReturnSetInfo *answer)
{
	ListCell   *lc;

	foreach(lc, ofs_policy_list(rel))
	{
		RowSecurityPolicy *policy = lfirst(lc);
		Node	   *qual = (Node *) policy->qual;
		SubselectContext context = {0};
		const char *reason = NULL;
		bool		whole_row;

		if (qual == NULL)
			continue;
		(void) ofs_policy_columns(qual, &whole_row);
		(void) subselect_walker(qual, &context);
		if (whole_row)
			reason = "reads the whole row, so that deletions can't be judged by it";
		else if (contain_volatile_functions(qual))
			reason = "calls a volatile function";
		else if (context.reads_table || context.reads_row)
			reason = "reads other tables, whose changes have no delta";
		if (reason)
			ofs_work_report(answer, "warning", "policy %s %s: devices take the collection anew at every pull",
							quote_identifier(policy->policy_name), reason);
	}
}
