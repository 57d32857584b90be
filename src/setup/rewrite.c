/*
 * rewrite.c
 *		A policy in the form that deltas can follow.
 *
 * "column IN (SELECT ...)", where the subquery doesn't know of the row, is a set that a cursor can carry; the same
 * condition written as a subquery that is tied to the row is not, to whoever can't see that the tie is one
 * equality.  Here the tie is taken out of the subquery:
 *
 *		EXISTS (SELECT 1 FROM m WHERE m.p = t.p AND rest)	 t.p IN (SELECT m.p FROM m WHERE rest)
 *		x IN (SELECT m.u FROM m WHERE m.p = t.p AND rest)	 t.p IN (SELECT m.p FROM m WHERE m.u = x AND rest)
 *		x = (SELECT m.u FROM m WHERE m.p = t.p AND rest)	 the same
 *		(SELECT count(*) FROM m WHERE m.p = t.p AND rest) > 0	 as EXISTS
 *
 * Both forms are true for the same rows.  Where one is false, the other may be null, which in a policy is the same
 * thing, but not below a NOT: there nothing is touched.  (The last form's subquery would raise an error for more than
 * one row.)
 *
 * A uuid column that is cast to text to be compared is compared as it is, so that an index can serve.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/setfact.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "setup/rewrite.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

/* ---------- the tie ---------- */

/* Does it refer to the row, which is so many levels up? */
static bool
row_walker(Node *node, int *level)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno == 1 && (int) ((Var *) node)->varlevelsup == *level;
	if (IsA(node, Query))
	{
		bool		found;

		(*level)++;
		found = query_tree_walker((Query *) node, row_walker, level, 0);
		(*level)--;
		return found;
	}
	return expression_tree_walker(node, row_walker, level);
}

static bool
reads_row(Node *node, int level)
{
	if (node && IsA(node, Query))
		level--;
	return row_walker(node, &level);
}

static bool
is_equality(Oid opno)
{
	return get_mergejoin_opfamilies(opno) != NIL;
}

static bool
is_column(Node *node)
{
	while (node && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node && IsA(node, Var) && ((Var *) node)->varattno > 0;
}

typedef struct Tie
{
	Oid			opno;			/* column, inner expression */
	Oid			collation;
	Node	   *column;			/* of the row, as seen from outside */
	Node	   *inner;			/* what it equals in the subquery */
	List	   *rest;			/* the subquery's other conditions */
} Tie;

static bool
take_equality(Node *condition, Tie *tie)
{
	OpExpr	   *op = (OpExpr *) condition;

	if (!IsA(condition, OpExpr) || list_length(op->args) != 2 || !is_equality(op->opno))
		return false;
	for (int side = 0; side < 2; side++)
	{
		Node	   *column = list_nth(op->args, side);
		Node	   *inner = list_nth(op->args, 1 - side);

		if (!is_column(column) || !reads_row(column, 1) || reads_row(inner, 1))
			continue;
		tie->opno = side == 0 ? op->opno : get_commutator(op->opno);
		tie->collation = op->inputcollid;
		tie->column = copyObject(column);
		IncrementVarSublevelsUp(tie->column, -1, 1);
		tie->inner = inner;
		return OidIsValid(tie->opno);
	}
	return false;
}

/* The conditions of inner joins that refer to the row may as well stand in WHERE. */
static void
hoist_conditions(Query *query, Node *from)
{
	JoinExpr   *join = (JoinExpr *) from;
	List	   *kept = NIL;
	List	   *hoisted = NIL;
	ListCell   *lc;

	if (!IsA(from, JoinExpr) || join->jointype != JOIN_INNER || join->usingClause || join->isNatural || join->alias)
		return;
	hoist_conditions(query, join->larg);
	hoist_conditions(query, join->rarg);
	foreach(lc, make_ands_implicit((Expr *) join->quals))
	{
		if (reads_row(lfirst(lc), 1))
			hoisted = lappend(hoisted, lfirst(lc));
		else
			kept = lappend(kept, lfirst(lc));
	}
	if (hoisted == NIL)
		return;
	join->quals = kept == NIL ? NULL : (Node *) make_ands_explicit(kept);
	query->jointree->quals =
		(Node *) make_ands_explicit(list_concat(make_ands_implicit((Expr *) query->jointree->quals), hoisted));
}

/* Find the one tie; returns why there is none to be taken out, or NULL. */
static const char *
find_tie(Query *query, Tie *tie)
{
	Query	   *others;
	int			ties = 0;
	ListCell   *lc;

	if (query->commandType != CMD_SELECT || query->setOperations || query->hasAggs || query->hasWindowFuncs ||
		query->hasTargetSRFs || query->groupClause || query->groupingSets || query->havingQual || query->cteList ||
		query->limitOffset || query->limitCount || query->rowMarks || query->distinctClause)
		return "its subquery does more than select rows from tables";
	foreach(lc, query->jointree->fromlist)
		hoist_conditions(query, lfirst(lc));
	others = copyObject(query);
	others->jointree->quals = NULL;
	if (reads_row((Node *) others, 1))
		return "its subquery is tied to the row outside of WHERE";
	tie->rest = NIL;
	foreach(lc, make_ands_implicit((Expr *) query->jointree->quals))
	{
		if (!reads_row(lfirst(lc), 1))
			tie->rest = lappend(tie->rest, lfirst(lc));
		else if (++ties > 1)
			return "its subquery is tied to the row by more than one condition";
		else if (!take_equality(lfirst(lc), tie))
			return "its subquery is tied to the row by something else than one equality with a column";
	}
	return ties == 1 ? NULL : "its subquery is not tied to the row by a condition";
}

static char *
name_of(Query *query, Node *expression)
{
	Var		   *var = (Var *) expression;

	if (IsA(expression, Var) && var->varlevelsup == 0 && var->varattno > 0)
		return pstrdup(get_rte_attribute_name(rt_fetch(var->varno, query->rtable), var->varattno));
	return pstrdup("?column?");
}

/* column IN (SELECT inner FROM ... WHERE rest) */
static Node *
make_set(const Query *query, const Tie *tie)
{
	Query	   *set = copyObject(unconstify(Query *, query));
	SubLink    *link = makeNode(SubLink);
	Param	   *param = makeNode(Param);

	set->jointree->quals = tie->rest == NIL ? NULL : (Node *) make_ands_explicit(copyObject(tie->rest));
	set->targetList = list_make1(makeTargetEntry(copyObject((Expr *) tie->inner), 1, name_of(set, tie->inner), false));
	set->sortClause = NIL;
	param->paramkind = PARAM_SUBLINK;
	param->paramid = 1;
	param->paramtype = exprType(tie->inner);
	param->paramtypmod = exprTypmod(tie->inner);
	param->paramcollid = exprCollation(tie->inner);
	param->location = -1;
	link->subLinkType = ANY_SUBLINK;
	link->operName = list_make1(makeString(get_opname(tie->opno)));
	link->testexpr = (Node *) make_opclause(tie->opno, BOOLOID, false, (Expr *) tie->column, (Expr *) param,
											InvalidOid, tie->collation);
	set_opfuncid((OpExpr *) link->testexpr);
	link->subselect = (Node *) set;
	link->location = -1;
	return (Node *) link;
}

/* ---------- the forms ---------- */

/* The comparison as one of the subquery's conditions: its target stands where the subquery's result stood. */
static Node *
target_mutator(Node *node, Query *query)
{
	if (node == NULL)
		return NULL;
	if ((IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK) ||
		(IsA(node, SubLink) && reads_row(((SubLink *) node)->subselect, 1)))
		return (Node *) copyObject(linitial_node(TargetEntry, query->targetList)->expr);
	/* the other side has no columns of the row, so it means the same one level down */
	if (IsA(node, SubLink))
		return (Node *) copyObject(node);
	return expression_tree_mutator(node, target_mutator, query);
}

/* The subquery of a comparison of one value with it: x op ANY (SELECT ...), or x op (SELECT ...). */
static SubLink *
compared_subquery(Node *leaf, OpExpr **op, Node **x)
{
	if (IsA(leaf, SubLink) && ((SubLink *) leaf)->subLinkType == ANY_SUBLINK)
	{
		SubLink    *link = (SubLink *) leaf;

		if (!link->testexpr || !IsA(link->testexpr, OpExpr))
			return NULL;
		*op = (OpExpr *) link->testexpr;
		*x = linitial((*op)->args);
		return link;
	}
	if (!IsA(leaf, OpExpr) || list_length(((OpExpr *) leaf)->args) != 2)
		return NULL;
	*op = (OpExpr *) leaf;
	/* where there is no row it must not be true */
	if (!op_strict((*op)->opno))
		return NULL;
	for (int side = 0; side < 2; side++)
	{
		SubLink    *link = list_nth((*op)->args, side);

		if (!IsA(link, SubLink) || link->subLinkType != EXPR_SUBLINK)
			continue;
		*x = list_nth((*op)->args, 1 - side);
		return link;
	}
	return NULL;
}

static Node *
rewrite_compared(Node *leaf, const char **why)
{
	OpExpr	   *op;
	Node	   *x;
	SubLink    *link = compared_subquery(leaf, &op, &x);
	Query	   *query;
	Tie			tie;

	if (link == NULL || !reads_row(link->subselect, 1))
		return NULL;
	query = copyObject((Query *) link->subselect);
	*why = find_tie(query, &tie);
	if (*why)
		return NULL;
	if (reads_row(x, 0))
	{
		/* column IN (SELECT m.p FROM m WHERE m.p = column): the tie says it again */
		if (equal(x, tie.column) && is_equality(op->opno) &&
			equal(linitial_node(TargetEntry, query->targetList)->expr, tie.inner))
			return make_set(query, &tie);
		*why = "its subquery is tied to the row, and compared with something of the row, too";
		return NULL;
	}
	tie.rest = lappend(tie.rest, target_mutator((Node *) op, query));
	return make_set(query, &tie);
}

static Node *
rewrite_exists(Node *leaf, const char **why)
{
	SubLink    *link = (SubLink *) leaf;
	Query	   *query;
	Tie			tie;

	if (!IsA(leaf, SubLink) || link->subLinkType != EXISTS_SUBLINK || !reads_row(link->subselect, 1))
		return NULL;
	query = copyObject((Query *) link->subselect);
	/* LIMIT 1 and DISTINCT, which people write there, don't matter for whether there is a row */
	if (ofs_setfact_limit_leaves_one(query->limitCount))
		query->limitCount = NULL;
	query->distinctClause = NIL;
	*why = find_tie(query, &tie);
	return *why ? NULL : make_set(query, &tie);
}

/* Is it the number that makes "count(*) op number" mean "there is one"? */
static bool
means_any(Oid opno, Const *bound)
{
	const char *name = get_opname(opno);
	int64		number;

	if (opno >= FirstNormalObjectId || bound->constisnull || (bound->consttype != INT4OID && bound->consttype != INT8OID))
		return false;
	number = bound->consttype == INT4OID ? DatumGetInt32(bound->constvalue) : DatumGetInt64(bound->constvalue);
	return strcmp(name, ">=") == 0 ? number == 1 :
		(strcmp(name, ">") == 0 || strcmp(name, "<>") == 0) && number == 0;
}

/* (SELECT count(*) ...) > 0: EXISTS (...) */
static Node *
as_exists(Node *leaf)
{
	OpExpr	   *op = (OpExpr *) leaf;
	SubLink    *link;
	Query	   *query;
	Aggref	   *count;

	if (!IsA(leaf, OpExpr) || list_length(op->args) != 2 || !IsA(linitial(op->args), SubLink) ||
		!IsA(lsecond(op->args), Const) || !means_any(op->opno, lsecond_node(Const, op->args)))
		return NULL;
	link = copyObject(linitial_node(SubLink, op->args));
	query = (Query *) link->subselect;
	if (link->subLinkType != EXPR_SUBLINK || !query->hasAggs || query->groupClause || query->groupingSets ||
		query->havingQual || list_length(query->targetList) != 1)
		return NULL;
	count = (Aggref *) linitial_node(TargetEntry, query->targetList)->expr;
	if (!IsA(count, Aggref) || count->aggfnoid != F_COUNT_ || count->aggfilter)
		return NULL;
	query->hasAggs = false;
	query->targetList = NIL;
	link->subLinkType = EXISTS_SUBLINK;
	return (Node *) link;
}

static Node *
rewrite_tied(Node *leaf, const char **why)
{
	Node	   *exists = as_exists(leaf);
	Node	   *made = rewrite_exists(exists ? exists : leaf, why);

	return made ? made : rewrite_compared(leaf, why);
}

/* uuid_column::text = x: uuid_column = x::uuid. */
static Node *
rewrite_cast(Node *leaf)
{
	OpExpr	   *op = (OpExpr *) leaf;

	if (!IsA(leaf, OpExpr) || op->opno != TextEqualOperator)
		return NULL;
	for (int side = 0; side < 2; side++)
	{
		CoerceViaIO *cast = list_nth(op->args, side);
		Node	   *other = list_nth(op->args, 1 - side);
		CoerceViaIO *back;

		if (!IsA(cast, CoerceViaIO) || exprType((Node *) cast->arg) != UUIDOID || !is_column((Node *) cast->arg) ||
			reads_row(other, 0))
			continue;
		back = makeNode(CoerceViaIO);
		back->arg = copyObject((Expr *) other);
		back->resulttype = UUIDOID;
		back->coerceformat = COERCE_EXPLICIT_CAST;
		back->location = -1;
		op = (OpExpr *) make_opclause(lookup_type_cache(UUIDOID, TYPECACHE_EQ_OPR)->eq_opr, BOOLOID, false, copyObject(cast->arg), (Expr *) back,
									  InvalidOid, InvalidOid);
		set_opfuncid(op);
		return (Node *) op;
	}
	return NULL;
}

/* Through AND and OR; what stands below anything else stays. */
static Node *
rewrite_forms(Node *node, OfsRewrite *rewrite)
{
	Node	   *made;

	if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop != NOT_EXPR)
	{
		BoolExpr   *expr = copyObject((BoolExpr *) node);
		ListCell   *lc;

		foreach(lc, expr->args)
			lfirst(lc) = rewrite_forms(lfirst(lc), rewrite);
		return (Node *) expr;
	}
	made = rewrite->ties ? rewrite_tied(node, &rewrite->tied) : NULL;
	if (made)
	{
		rewrite->sets = true;
		return made;
	}
	made = rewrite_cast(node);
	if (made)
		rewrite->casts = true;
	return made ? made : node;
}

OfsRewrite *
ofs_rewrite_policy(Node *qual, bool ties)
{
	OfsRewrite *rewrite = palloc0(sizeof(OfsRewrite));

	rewrite->ties = ties;
	rewrite->qual = rewrite_forms(qual, rewrite);
	rewrite->qual = ofs_rewrite_calls(rewrite->qual, &rewrite->calls);
	return rewrite;
}
