/*
 * scopes.c
 *		By which columns the policies tell whose a row is.
 *
 * A pull finds its caller's rows by an index on such a column: PostgreSQL does where a policy compares the column with one value,
 * and where it looks it up in a set the pull says so (catalog/scope.c, whose rules are those here).  Of AND one part is enough; of
 * OR, and of several policies, all have to name a column.
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

typedef struct Search
{
	const OfsPolicyFact *fact;
	List	   *columns;
	List	   *followed;
	bool		blind;			/* to a part, which isn't the same for all rows either */
	const char *why;			/* ... where that can be said */
} Search;

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

/* column = value */
static AttrNumber
compared_column(Node *clause)
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

OfsTable *
ofs_scopes_parent(const OfsSetFact *set)
{
	OfsTable   *parent = OidIsValid(set->parent) ? ofs_table_find(set->parent) : NULL;

	return parent && parent->nkey == 1 && parent->key[0] == set->parent_column ? parent : NULL;
}

/* column = ANY (set) */
static bool
by_set(Search *search, const OfsSetFact *set)
{
	AttrNumber	attnum = as_column(set->tested);
	OfsTable   *parent = ofs_scopes_parent(set);

	if (attnum == InvalidAttrNumber)
		search->why = "it looks up an expression, and not a column";
	else if (!set->any)
		search->why = "it names whose rows are left out";
	else if (parent)
	{
		search->followed = list_append_unique_int(search->followed, attnum);
		search->why = psprintf("it reads the rows of collection \"%s\"", parent->collection);
	}
	else if (!get_func_leakproof(get_opcode(set->finder)))
		search->why = psprintf("operators of type %s are not leakproof, so that no index serves under row security",
							   format_type_be(exprType(set->tested)));
	else
	{
		search->columns = list_append_unique_int(search->columns, attnum);
		return true;
	}
	search->blind = true;
	return false;
}

static bool
by_column(Search *search, Node *node)
{
	AttrNumber	attnum;
	bool		all = true;
	bool		blind = search->blind;
	ListCell   *lc;

	foreach(lc, search->fact->sets)
		if (((OfsSetFact *) lfirst(lc))->node == node)
			return by_set(search, lfirst(lc));
	if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop == AND_EXPR)
	{
		foreach(lc, ((BoolExpr *) node)->args)
			if (by_column(search, lfirst(lc)))
			{
				search->blind = blind;
				return true;
			}
		return false;
	}
	if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop == OR_EXPR)
	{
		foreach(lc, ((BoolExpr *) node)->args)
			all = by_column(search, lfirst(lc)) && all;
		return all;
	}
	attnum = compared_column(node);
	if (attnum != InvalidAttrNumber)
		search->columns = list_append_unique_int(search->columns, attnum);
	else if (is_same_for_all_rows(node))
		search->why = "for some callers it lets all rows be seen";
	else
		search->blind = true;
	return attnum != InvalidAttrNumber;
}

bool
ofs_scopes_add(OfsScopes *scopes, const OfsPolicyFact *fact)
{
	Search		search = {fact};
	bool		narrow = fact->qual == NULL || by_column(&search, fact->qual);

	/* they are of use to callers for whom a part that is the same for all rows is false */
	if (narrow || !search.blind)
		scopes->columns = list_concat_unique_int(scopes->columns, search.columns);
	scopes->followed = list_concat_unique_int(scopes->followed, search.followed);
	if (!narrow && scopes->wide == NULL)
	{
		scopes->wide = fact->name;
		scopes->why = search.why;
	}
	return narrow;
}

OfsScopes *
ofs_scopes_find(Relation rel)
{
	OfsScopes  *scopes = palloc0(sizeof(OfsScopes));
	OfsScopes	narrow = {0};
	OfsTable   *table = ofs_table_find(RelationGetRelid(rel));
	OfsDeclared nothing = {0};
	ListCell   *lc;

	foreach(lc, ofs_policy_list(rel))
	{
		RowSecurityPolicy *policy = lfirst(lc);

		if (policy->qual)
			(void) ofs_scopes_add(policy->permissive ? scopes : &narrow,
								  ofs_inputs_examine(rel, table ? &table->declared : &nothing, policy->policy_name,
													 policy->permissive, (Node *) policy->qual));
	}
	/* restrictive ones come on top */
	if (scopes->wide && narrow.columns != NIL && narrow.wide == NULL)
		return memcpy(scopes, &narrow, sizeof(OfsScopes));
	return scopes;
}
