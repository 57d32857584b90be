/*
 * setfact.c
 *		Parts of a policy that look a value of the row up in a set.
 *
 * "Who is a member may see": most policies that read other tables say no more than that a value of the
 * row is in a set which doesn't depend on the row.  They spell it in many ways:
 *
 *		column IN (SELECT ...)                          and NOT IN, = ANY, <> ALL
 *		column = ANY (ARRAY (SELECT ...))               and <> ALL
 *		column = ANY (my_teams())
 *		EXISTS (SELECT ... WHERE m.project_id = row.project_id AND ...)
 *		auth.uid() IN (SELECT m.user_id ... WHERE m.project_id = row.project_id)
 *
 * Here each becomes the same thing: an expression over the row, an operator, and an expression without row
 * values that yields the set as an array.  With the set bound to other values the
 * policy says what the caller would see if it were so.
 *
 * The last two are tied to the row by one equality: the subquery without it, its own side of the equality selected, is the
 * set.  The last may be NULL where it isn't true, so it counts only where that is the same.
 */
#include "postgres.h"

#include "catalog/policy.h"
#include "catalog/setfact.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

static bool
reads_row_at(Node *node, int sublevels)
{
	bool		whole_row;
	Node	   *copy;

	if (sublevels > 0)
	{
		copy = copyObject(node);
		/* what belongs to the subqueries around it is none of the row's */
		if (contain_vars_of_level(copy, 0) || sublevels > 1)
			return true;
		IncrementVarSublevelsUp(copy, -sublevels, sublevels);
		node = copy;
	}
	return !bms_is_empty(ofs_policy_columns(node, &whole_row)) || whole_row;
}

static bool
reads_row(Node *node)
{
	return reads_row_at(node, 0);
}

/* The operator that says "this element decides": the equality itself, or what NOT IN negates. */
static Oid
finder_of(Oid opno, bool any, Oid type)
{
	Oid			finder = any ? opno : get_negator(opno);

	return OidIsValid(finder) && op_mergejoinable(finder, type) ? finder : InvalidOid;
}

/* ---------- the set of a subquery ---------- */

/* A SELECT of one column from which a condition may be taken away. */
static bool
is_plain(Query *query)
{
	return query->commandType == CMD_SELECT && query->setOperations == NULL && query->groupClause == NIL &&
		query->groupingSets == NIL && query->havingQual == NULL && !query->hasAggs && !query->hasWindowFuncs &&
		!query->hasTargetSRFs && query->distinctClause == NIL && query->cteList == NIL &&
		query->limitCount == NULL && query->limitOffset == NULL && query->rowMarks == NIL && query->jointree;
}

/* ARRAY(subquery), whose column has this type. */
static Node *
array_of(Query *query, Oid element_type)
{
	SubLink    *link;

	if (!OidIsValid(get_array_type(element_type)))
		return NULL;
	link = makeNode(SubLink);
	link->subLinkType = ARRAY_SUBLINK;
	link->subselect = (Node *) query;
	link->location = -1;
	return (Node *) link;
}

/* SELECT column FROM table, and nothing else: the table's keys, perhaps. */
static void
note_parent(OfsSetFact *fact, Query *query)
{
	RangeTblEntry *rte;
	TargetEntry *entry;
	Var		   *var;

	if (!is_plain(query) || query->jointree->quals || list_length(query->jointree->fromlist) != 1 ||
		!IsA(linitial(query->jointree->fromlist), RangeTblRef) || list_length(query->targetList) != 1)
		return;
	rte = rt_fetch(((RangeTblRef *) linitial(query->jointree->fromlist))->rtindex, query->rtable);
	entry = linitial(query->targetList);
	if (rte->rtekind != RTE_RELATION || rte->tablesample || !rte->inh || !IsA(entry->expr, Var))
		return;
	var = (Var *) entry->expr;
	if (var->varlevelsup != 0 || var->varattno <= 0)
		return;
	fact->parent = rte->relid;
	fact->parent_column = var->varattno;
}

static Oid
column_type(Query *query)
{
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (!entry->resjunk)
			return exprType((Node *) entry->expr);
	}
	return InvalidOid;
}

static bool
is_subselect_param(Node *node)
{
	while (node && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node && IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK;
}

/* tested op ANY (SELECT ...) */
static OfsSetFact *
from_any(SubLink *link)
{
	OpExpr	   *test = (OpExpr *) link->testexpr;
	OfsSetFact *fact;
	Node	   *array;
	Oid			type;

	if (test == NULL || !IsA(test, OpExpr) || list_length(test->args) != 2 ||
		!is_subselect_param(lsecond(test->args)) || reads_row((Node *) link->subselect))
		return NULL;
	array = array_of(castNode(Query, link->subselect), column_type((Query *) link->subselect));
	if (array == NULL)
		return NULL;
	type = exprType(lsecond(test->args));
	/* a relabelled value is the same value */
	if (!OidIsValid(get_array_type(type)))
		return NULL;
	fact = palloc0(sizeof(OfsSetFact));
	fact->tested = linitial(test->args);
	fact->array = array;
	fact->element_type = type;
	fact->array_type = get_array_type(type);
	fact->opno = test->opno;
	fact->collation = test->inputcollid;
	fact->any = link->subLinkType == ANY_SUBLINK;
	note_parent(fact, (Query *) link->subselect);
	return fact;
}

/* ---------- subqueries tied to the row by one equality ---------- */

/* An equality between the row's value and the subquery's own? */
static bool
is_tie(Node *node, Node **outer, Node **inner, Oid *opno)
{
	OpExpr	   *test = (OpExpr *) node;
	Node	   *left,
			   *right;

	if (!IsA(node, OpExpr) || list_length(test->args) != 2)
		return false;
	left = linitial(test->args);
	right = lsecond(test->args);
	if (!contain_vars_of_level(left, 0) && reads_row_at(left, 1))
	{
		*outer = left;
		*inner = right;
		*opno = test->opno;
	}
	else if (!contain_vars_of_level(right, 0) && reads_row_at(right, 1))
	{
		*outer = right;
		*inner = left;
		*opno = get_commutator(test->opno);
	}
	else
		return false;
	return OidIsValid(*opno) && !checkExprHasSubLink(*outer) && !checkExprHasSubLink(*inner);
}

/* Numbers that are written as such: policies belong to others, and nothing in them may be evaluated just to look at them. */
bool
ofs_setfact_limit_leaves_one(Node *limit)
{
	FuncExpr   *cast = (FuncExpr *) limit;
	Const	   *count = (Const *) limit;

	if (limit && IsA(limit, FuncExpr) && (cast->funcid == F_INT8_INT4 || cast->funcid == F_INT8_INT2))
		count = linitial(cast->args);
	if (count == NULL || !IsA(count, Const))
		return false;
	if (count->constisnull)
		return true;
	if (count->consttype == INT8OID)
		return DatumGetInt64(count->constvalue) > 0;
	return count->consttype == INT4OID && DatumGetInt32(count->constvalue) > 0;
}

/* EXISTS doesn't mind how many there are, as long as it isn't none; IN minds which they are. */
static void
forget_limit(Query *query, bool exists)
{
	if (!exists && (query->limitCount || query->hasDistinctOn))
		return;
	if (ofs_setfact_limit_leaves_one(query->limitCount))
		query->limitCount = NULL;
	query->distinctClause = NIL;
	query->hasDistinctOn = false;
	query->sortClause = NIL;
}

/* The subquery without its tie to the row; fact gets the sides of the tie. */
static bool
untie(Query *query, OfsSetFact *fact)
{
	List	   *quals = make_ands_implicit((Expr *) query->jointree->quals);
	List	   *kept = NIL;
	Node	   *outer = NULL;
	Node	   *inner = NULL;
	OpExpr	   *tie = NULL;
	ListCell   *lc;

	foreach(lc, quals)
	{
		if (tie == NULL && is_tie(lfirst(lc), &outer, &inner, &fact->opno))
			tie = lfirst(lc);
		else
			kept = lappend(kept, lfirst(lc));
	}
	if (tie == NULL)
		return false;
	query->jointree->quals = kept == NIL ? NULL : (Node *) make_ands_explicit(kept);
	query->targetList = list_make1(makeTargetEntry((Expr *) inner, 1, pstrdup("value"), false));
	fact->collation = tie->inputcollid;
	fact->element_type = exprType(inner);
	fact->array_type = get_array_type(fact->element_type);
	IncrementVarSublevelsUp(outer, -1, 1);
	fact->tested = outer;
	return true;
}

/* A further condition of the subquery: its column compared with a value from outside. */
static bool
add_comparison(Query *query, OpExpr *test)
{
	Node	   *outside;
	Node	  **column;

	if (test == NULL || !IsA(test, OpExpr) || list_length(test->args) != 2 ||
		!is_subselect_param(lsecond(test->args)) || list_length(query->targetList) != 1)
		return false;
	test = copyObject(test);
	outside = linitial(test->args);
	if (reads_row(outside))
		return false;
	IncrementVarSublevelsUp(outside, 1, 0);
	column = (Node **) &lfirst(list_second_cell(test->args));
	while (IsA(*column, RelabelType))
		column = (Node **) &((RelabelType *) *column)->arg;
	*column = (Node *) ((TargetEntry *) linitial(query->targetList))->expr;
	query->hasSubLinks = query->hasSubLinks || checkExprHasSubLink(outside);
	query->jointree->quals = query->jointree->quals ?
		(Node *) makeBoolExpr(AND_EXPR, list_make2(query->jointree->quals, test), -1) : (Node *) test;
	return true;
}

static OfsSetFact *
from_tied(SubLink *link)
{
	Query	   *query = copyObject(castNode(Query, link->subselect));
	OfsSetFact *fact = palloc0(sizeof(OfsSetFact));

	forget_limit(query, link->subLinkType == EXISTS_SUBLINK);
	if (!is_plain(query) ||
		(link->subLinkType == ANY_SUBLINK && !add_comparison(query, (OpExpr *) link->testexpr)))
		return NULL;
	if (!untie(query, fact) || reads_row((Node *) query))
		return NULL;
	fact->array = array_of(query, fact->element_type);
	fact->any = true;
	fact->exists = true;
	if (fact->array)
		note_parent(fact, query);
	return fact->array ? fact : NULL;
}

/* ---------- arrays ---------- */

/* tested op ANY (array) */
static OfsSetFact *
from_array(ScalarArrayOpExpr *test)
{
	Node	   *array = lsecond(test->args);
	OfsSetFact *fact;
	SubLink    *link = (SubLink *) array;

	if (IsA(array, Const) || reads_row(array))
		return NULL;
	fact = palloc0(sizeof(OfsSetFact));
	fact->tested = linitial(test->args);
	fact->array = array;
	fact->array_type = exprType(array);
	fact->element_type = get_base_element_type(fact->array_type);
	fact->opno = test->opno;
	fact->collation = test->inputcollid;
	fact->any = test->useOr;
	if (IsA(link, SubLink) && link->subLinkType == ARRAY_SUBLINK)
		note_parent(fact, castNode(Query, link->subselect));
	return fact;
}

/* ---------- */

OfsSetFact *
ofs_setfact_make(Node *node, bool decides)
{
	OfsSetFact *fact = NULL;

	if (IsA(node, ScalarArrayOpExpr))
		fact = from_array((ScalarArrayOpExpr *) node);
	else if (IsA(node, SubLink))
	{
		SubLink    *link = (SubLink *) node;

		if (link->subLinkType == ANY_SUBLINK || link->subLinkType == ALL_SUBLINK)
			fact = from_any(link);
		if (fact == NULL && (link->subLinkType == EXISTS_SUBLINK ||
							 (link->subLinkType == ANY_SUBLINK && decides)))
			fact = from_tied(link);
	}
	if (fact == NULL || !OidIsValid(fact->element_type) || !OidIsValid(fact->array_type) ||
		!reads_row(fact->tested) || checkExprHasSubLink(fact->tested))
		return NULL;
	fact->finder = finder_of(fact->opno, fact->any, exprType(fact->tested));
	if (!OidIsValid(fact->finder))
		return NULL;
	fact->node = node;
	fact->decides = decides || fact->exists;
	return fact;
}

/* tested op ANY (array) */
static Node *
make_test_node(const OfsSetFact *fact, Oid opno, bool any, Node *array)
{
	ScalarArrayOpExpr *test = makeNode(ScalarArrayOpExpr);

	test->opno = opno;
	test->opfuncid = get_opcode(opno);
	test->useOr = any;
	test->inputcollid = fact->collation;
	test->args = list_make2(copyObject(fact->tested), array);
	test->location = -1;
	return (Node *) test;
}

static Node *
make_test(const OfsSetFact *fact, Oid opno, bool any, Datum array, bool isnull)
{
	return make_test_node(fact, opno, any,
						  (Node *) makeConst(fact->array_type, -1, get_typcollation(fact->array_type), -1,
											 array, isnull, false));
}

static Node *
is_true(Node *node)
{
	BooleanTest *test = makeNode(BooleanTest);

	test->arg = (Expr *) node;
	test->booltesttype = IS_TRUE;
	test->location = -1;
	return (Node *) test;
}

Node *
ofs_setfact_bind(const OfsSetFact *fact, Datum array, bool isnull)
{
	Node	   *test = make_test(fact, fact->opno, fact->any, array, isnull);

	return fact->exists ? is_true(test) : test;
}

Node *
ofs_setfact_among_node(const OfsSetFact *fact, Node *array)
{
	return make_test_node(fact, fact->finder, true, array);
}

Node *
ofs_setfact_among(const OfsSetFact *fact, Datum array, bool empty)
{
	Node	   *among = make_test(fact, fact->finder, true, array, false);
	NullTest   *none;

	if (!empty)
		return among;
	none = makeNode(NullTest);
	none->arg = (Expr *) copyObject(fact->tested);
	none->nulltesttype = IS_NULL;
	none->location = -1;
	return (Node *) makeBoolExpr(OR_EXPR, list_make2(among, none), -1);
}
