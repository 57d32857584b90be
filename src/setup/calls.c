/*
 * calls.c
 *		Functions that a policy calls for every row, although they don't depend on it.
 *
 * auth.uid() in a policy may be called once for each row that is looked at; (SELECT auth.uid()) is called once.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "setup/rewrite.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

static bool
is_asked_again(Oid funcid, void *context)
{
	return func_volatile(funcid) == PROVOLATILE_STABLE &&
		(funcid >= FirstNormalObjectId || funcid == F_CURRENT_SETTING_TEXT || funcid == F_CURRENT_SETTING_TEXT_BOOL);
}

static bool
calls_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return check_functions_in_node(node, is_asked_again, NULL) ||
		expression_tree_walker(node, calls_walker, context);
}

static bool
column_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	/* a placeholder belongs to an expression around it */
	if (IsA(node, Var) || IsA(node, Param) || IsA(node, SubLink) || IsA(node, CaseTestExpr) ||
		IsA(node, CoerceToDomainValue))
		return true;
	return expression_tree_walker(node, column_walker, context);
}

static Node *
wrap(Node *expression)
{
	Query	   *query = makeNode(Query);
	SubLink    *link = makeNode(SubLink);

	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->jointree = makeFromExpr(NIL, NULL);
	query->targetList = list_make1(makeTargetEntry((Expr *) expression, 1, pstrdup("?column?"), false));
	link->subLinkType = EXPR_SUBLINK;
	link->subselect = (Node *) query;
	link->location = -1;
	return (Node *) link;
}

static bool
is_value(Node *node)
{
	switch (nodeTag(node))
	{
		case T_List:
		case T_Const:
		case T_CaseWhen:
		case T_TargetEntry:
		case T_Query:
			return false;
		default:
			return !expression_returns_set(node);
	}
}

static Node *
wrap_mutator(Node *node, bool *found)
{
	if (node == NULL)
		return NULL;
	/* SELECT f(): it has the form already */
	if (IsA(node, SubLink) && IsA(((SubLink *) node)->subselect, Query) &&
		((Query *) ((SubLink *) node)->subselect)->rtable == NIL)
		return (Node *) copyObject(node);
	if (is_value(node) && !column_walker(node, NULL) && calls_walker(node, NULL))
	{
		*found = true;
		return wrap(copyObject(node));
	}
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, wrap_mutator, found, 0);
	if (IsA(node, FromExpr))
	{
		/* with its conditions alone: FROM has functions of its own */
		FromExpr   *from = copyObject((FromExpr *) node);

		from->quals = wrap_mutator(from->quals, found);
		return (Node *) from;
	}
	return expression_tree_mutator(node, wrap_mutator, found);
}

Node *
ofs_rewrite_calls(Node *qual, bool *found)
{
	return wrap_mutator(qual, found);
}
