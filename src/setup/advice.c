/*
 * advice.c
 *		What the policies say about a table: by which column people are told apart, and what no
 *		delta can follow.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/access.h"
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

/* Why devices take the collection anew at every pull because of the policy, or (clock) more often than its owner may think. */
static const char *
always_replaced(Relation rel, const OfsEntry *entry, Node *qual, bool *clock)
{
	OfsFollow  *follow;
	bool		whole_row;

	(void) ofs_policy_columns(qual, &whole_row);
	if (whole_row)
		return "it reads the whole row, so that deletions can't be judged by it";
	if (contain_volatile_functions(qual))
		return "it calls a volatile function";
	follow = ofs_reads_follow(rel, &entry->declared, qual);
	*clock = follow->clock;
	return follow->opaque;
}

void
ofs_advice_policies(const OfsEntry *entry, ReturnSetInfo *answer)
{
	Relation	rel = table_open(entry->relid, AccessShareLock);
	ListCell   *lc;

	foreach(lc, ofs_policy_list(rel))
	{
		RowSecurityPolicy *policy = lfirst(lc);
		char	   *name = pstrdup(quote_identifier(policy->policy_name));
		bool		clock = false;
		const char *reason = policy->qual ? always_replaced(rel, entry, (Node *) policy->qual, &clock) : NULL;

		if (reason)
			ofs_answer_say(answer, "warning", "policy %s lets devices take the collection anew at every pull: %s", name, reason);
		else if (clock)
			ofs_answer_say(answer, "warning", "policy %s reads the clock: devices take the collection anew whenever the time"
							" that it computes has changed, and those that keep a number at every pull", name);
	}
	table_close(rel, NoLock);
}
