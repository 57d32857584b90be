/*
 * policy.c
 *		The policies that decide what a SELECT on a table returns.
 */
#include "postgres.h"

#include "catalog/pg_policy.h"
#include "catalog/policy.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/rel.h"

List *
ofs_policy_list(Relation rel)
{
	List	   *found = NIL;
	ListCell   *lc;

	if (!rel->rd_rel->relrowsecurity || rel->rd_rsdesc == NULL)
		return NIL;
	foreach(lc, rel->rd_rsdesc->policies)
	{
		RowSecurityPolicy *policy = lfirst(lc);

		if (policy->polcmd == ACL_SELECT_CHR || policy->polcmd == '*')
			found = lappend(found, policy);
	}
	return found;
}

typedef struct ColumnsContext
{
	Bitmapset  *columns;
	bool		whole_row;
	int			level;
} ColumnsContext;

static bool
columns_walker(Node *node, ColumnsContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		if (var->varno == 1 && (int) var->varlevelsup == context->level)
		{
			if (var->varattno > 0)
				context->columns = bms_add_member(context->columns, var->varattno);
			else
				context->whole_row = true;
		}
		return false;
	}
	if (IsA(node, Query))
	{
		bool		stop;

		context->level++;
		stop = query_tree_walker((Query *) node, columns_walker, context, 0);
		context->level--;
		return stop;
	}
	return expression_tree_walker(node, columns_walker, context);
}

Bitmapset *
ofs_policy_columns(Node *qual, bool *whole_row)
{
	ColumnsContext context = {NULL, false, 0};

	(void) columns_walker(qual, &context);
	*whole_row = context.whole_row;
	return context.columns;
}
