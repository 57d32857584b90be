/*
 * scope.c
 *		Which rows can be the caller's at all, in words that an index understands.
 *
 * "project_id IN (SELECT ... FROM member ...)" is a test to PostgreSQL, which it makes of every row that has changed for anybody.
 * But the view holds the values of the subquery already (inputs.c), so a pull can say it again as project_id = ANY ($1): an
 * index on the column finds the caller's own rows.  The policies still stand beside it, and decide.
 *
 * What is said must follow from the policies, with their own operators and collations.  It must be leakproof, or row-level
 * security keeps it away from the index.  Of AND any part that says something serves; of OR all parts have to, but for
 * those that are known to be false ("is_admin() OR ...").  Where no index begins with the column it still spares the policy's
 * functions and subqueries the rows that are somebody else's.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "base/indexform.h"
#include "catalog/pg_type.h"
#include "catalog/policy.h"
#include "catalog/scope.h"
#include "catalog/setvalue.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#define MAX_VALUES	10000		/* of a set: whoever has more sees most of the table */
#define LARGE		50			/* beyond that, a plan made for any number of values is a poor one */
#define MAX_PARAMS	12

/* A column that an index begins with. */
typedef struct OfsLeading
{
	AttrNumber	attnum;
	Oid			opfamily;
	Oid			collation;
	bool		versioned;		/* and the version follows */
} OfsLeading;

typedef struct Search
{
	OfsTable   *table;
	const OfsViewPolicy *policy;
	List	   *values;
	bool		tells;			/* something that PostgreSQL can't see by itself */
	bool		large;
	bool		unserved;		/* by an index */
	bool		mixed;			/* served by an index that the version doesn't follow in */
} Search;

static Node *imply(Search *search, Node *node);

/* ---------- indexes ---------- */

static List *
leading_columns(const OfsTable *table)
{
	Relation	rel = table_open(table->relid, AccessShareLock);
	List	   *leading = NIL;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		OfsLeading *found;

		if (ofs_index_first(index) > 0)
		{
			found = palloc(sizeof(OfsLeading));
			found->attnum = ofs_index_first(index);
			found->opfamily = index->rd_opfamily[0];
			found->collation = index->rd_indcollation[0];
			found->versioned = IndexRelationGetNumberOfKeyAttributes(index) > 1 &&
				index->rd_index->indkey.values[1] == table->version;
			leading = lappend(leading, found);
		}
		index_close(index, AccessShareLock);
	}
	table_close(rel, NoLock);
	return leading;
}

static List *
get_leading(OfsTable *table)
{
	MemoryContext old;

	if (!table->indexed || table->stale)
	{
		old = MemoryContextSwitchTo(table->context);
		table->leading = leading_columns(table);
		table->indexed = true;
		MemoryContextSwitchTo(old);
	}
	return table->leading;
}

static bool
has_version_index(OfsTable *table)
{
	ListCell   *lc;

	foreach(lc, get_leading(table))
		if (((OfsLeading *) lfirst(lc))->attnum == table->version)
			return true;
	return false;
}

/* Does an index find the rows for which the column equals a value? */
static bool
is_served(const Search *search, const Var *column, Oid opno, Oid collation, bool *versioned)
{
	bool		served = false;
	ListCell   *lc;

	*versioned = false;
	foreach(lc, get_leading(search->table))
	{
		const OfsLeading *leading = lfirst(lc);

		if (leading->attnum != column->varattno ||
			(OidIsValid(leading->collation) && leading->collation != collation) ||
			get_op_opfamily_strategy(opno, leading->opfamily) != BTEqualStrategyNumber)
			continue;
		served = true;
		*versioned = *versioned || leading->versioned;
	}
	return served;
}

/* May an equality between the column and a value, or so many of them, be said at all? */
static bool
may_say(Search *search, Node *column, Oid opno, Oid collation, int nvalues)
{
	bool		served;
	bool		versioned;

	while (IsA(column, RelabelType))
		column = (Node *) ((RelabelType *) column)->arg;
	if (!IsA(column, Var) || ((Var *) column)->varattno <= 0 ||
		!op_strict(opno) || !get_func_leakproof(get_opcode(opno)))
		return false;
	served = is_served(search, (Var *) column, opno, collation, &versioned);
	/* without an index the policy's own subquery finds a value faster than a long list does */
	if (nvalues > (served ? MAX_VALUES : LARGE))
		return false;
	search->unserved = search->unserved || !served;
	search->mixed = search->mixed || (served && !versioned);
	return true;
}

/* ---------- parts ---------- */

static Node *
impossible(void)
{
	return makeBoolConst(false, false);
}

static bool
is_impossible(Node *node)
{
	return IsA(node, Const) && ((Const *) node)->consttype == BOOLOID &&
		(((Const *) node)->constisnull || !DatumGetBool(((Const *) node)->constvalue));
}

static Node *
make_param(Search *search, Oid type, Oid collation, Datum value)
{
	Param	   *param = makeNode(Param);

	search->values = lappend(search->values,
							 makeConst(type, -1, collation, get_typlen(type), value, false, get_typbyval(type)));
	param->paramkind = PARAM_EXTERN;
	param->paramid = list_length(search->values);
	param->paramtype = type;
	param->paramtypmod = -1;
	param->paramcollid = collation;
	param->location = -1;
	return (Node *) param;
}

/* column = ANY (values) */
static Node *
imply_set(Search *search, const OfsViewSet *set)
{
	const OfsSetFact *fact = set->fact;
	Node	   *array;

	if (set->value.kind == OFS_SET_PARENT || !fact->any ||
		!may_say(search, fact->tested, fact->finder, fact->collation, set->value.count))
		return NULL;
	search->tells = true;
	/* NULL alone finds no row either */
	if (set->value.count == 0)
		return impossible();
	search->large = search->large || set->value.count > LARGE;
	array = make_param(search, fact->array_type, get_typcollation(fact->array_type),
					   ofs_setvalue_array(fact, set->value.items, set->value.count, false));
	return ofs_setfact_among_node(fact, array);
}

static const OfsInput *
find_input(Search *search, Node *node)
{
	ListCell   *lc,
			   *li;

	forboth(lc, search->policy->fact->inputs, li, search->policy->inputs)
		if (lfirst(lc) == node)
			return lfirst(li);
	return NULL;
}

/* column = value */
static Node *
imply_equal(Search *search, OpExpr *test)
{
	for (int side = 0; side < 2; side++)
	{
		Node	   *column = list_nth(test->args, side);
		Node	   *value = list_nth(test->args, 1 - side);
		const OfsInput *input = find_input(search, value);
		Oid			opno = side == 0 ? test->opno : get_commutator(test->opno);

		if ((input == NULL && !IsA(value, Const)) || !OidIsValid(opno) ||
			!may_say(search, column, opno, test->inputcollid, 1))
			continue;
		if (input == NULL)
			return copyObject((Node *) test);
		if (input->isnull)
			return impossible();
		return (Node *) make_opclause(opno, BOOLOID, false, copyObject((Expr *) column),
									  (Expr *) make_param(search, input->type, exprCollation(value), input->value),
									  InvalidOid, test->inputcollid);
	}
	return NULL;
}

/* A part without row values: whether it is true is known. */
static Node *
imply_value(Search *search, const OfsInput *input)
{
	if (input->type != BOOLOID || (!input->isnull && DatumGetBool(input->value)))
		return NULL;
	search->tells = true;
	return impossible();
}

/* ---------- joining ---------- */

static Node *
join(BoolExprType type, List *nodes)
{
	return list_length(nodes) == 1 ? linitial(nodes) : (Node *) makeBoolExpr(type, nodes, -1);
}

static Node *
imply_all(Search *search, List *args)
{
	List	   *nodes = NIL;
	ListCell   *lc;

	foreach(lc, args)
	{
		Node	   *node = imply(search, lfirst(lc));

		if (node && is_impossible(node))
			return node;
		if (node)
			nodes = lappend(nodes, node);
	}
	return nodes == NIL ? NULL : join(AND_EXPR, nodes);
}

/* What is known of each part; a part of which nothing is known makes all of it worthless. */
static Node *
imply_any(List *parts)
{
	List	   *nodes = NIL;
	ListCell   *lc;

	foreach(lc, parts)
	{
		if (lfirst(lc) == NULL)
			return NULL;
		if (!is_impossible(lfirst(lc)))
			nodes = lappend(nodes, lfirst(lc));
	}
	return nodes == NIL ? impossible() : join(OR_EXPR, nodes);
}

static Node *
imply(Search *search, Node *node)
{
	const OfsPolicyFact *fact = search->policy->fact;
	const OfsInput *input = find_input(search, node);
	List	   *parts = NIL;
	ListCell   *lc;

	if (input)
		return imply_value(search, input);
	foreach(lc, fact->sets)
		if (((OfsSetFact *) lfirst(lc))->node == node)
			return imply_set(search, &search->policy->sets[foreach_current_index(lc)]);
	if (is_impossible(node))
		return impossible();
	if (IsA(node, OpExpr) && list_length(((OpExpr *) node)->args) == 2)
		return imply_equal(search, (OpExpr *) node);
	if (!IsA(node, BoolExpr) || ((BoolExpr *) node)->boolop == NOT_EXPR)
		return NULL;
	if (((BoolExpr *) node)->boolop == AND_EXPR)
		return imply_all(search, ((BoolExpr *) node)->args);
	foreach(lc, ((BoolExpr *) node)->args)
		parts = lappend(parts, imply(search, lfirst(lc)));
	return imply_any(parts);
}

/* ---------- */

/* All policies together, as row-level security joins them; NULL where they say nothing of use. */
static Node *
imply_policies(Search *search, const OfsView *view)
{
	List	   *permissive = NIL;
	List	   *all = NIL;
	Node	   *any;
	ListCell   *lc;

	foreach(lc, view->policies)
	{
		Node	   *node;

		search->policy = lfirst(lc);
		node = imply(search, search->policy->fact->qual);
		if (search->policy->fact->permissive)
			permissive = lappend(permissive, node);
		else if (node)
			all = lappend(all, node);
	}
	if (permissive == NIL)
		return NULL;
	any = imply_any(permissive);
	if (any)
		all = lcons(any, all);
	return all == NIL ? NULL : join(AND_EXPR, all);
}

const OfsScope *
ofs_scope_of(OfsView *view)
{
	Search		search = {view->table};
	OfsScope   *scope;
	Node	   *node;

	if (view->scope)
		return view->scope;
	view->scope = scope = palloc0(sizeof(OfsScope));
	/* of an opaque view not all policies have been looked at */
	node = view->restricted && view->opaque == NULL ? imply_policies(&search, view) : NULL;
	if (node == NULL || list_length(search.values) > MAX_PARAMS)
		return scope;
	scope->node = node;
	scope->better = search.tells || search.unserved;
	scope->values = search.values;
	scope->large = search.large;
	scope->rivals = search.mixed && !search.unserved && has_version_index(view->table);
	return scope;
}

Node *
ofs_scope_of_tombs(OfsView *view)
{
	const OfsScope *scope = ofs_scope_of(view);
	Relation	rel;
	Relation	tomb;
	Node	   *mapped;

	if (scope->node == NULL)
		return NULL;
	rel = table_open(view->table->relid, AccessShareLock);
	tomb = table_open(view->table->tombstone, AccessShareLock);
	if (!ofs_policy_map(rel, tomb, scope->node, &mapped))
		mapped = NULL;
	table_close(tomb, NoLock);
	table_close(rel, NoLock);
	return mapped;
}
