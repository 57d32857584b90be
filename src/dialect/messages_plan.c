/*
 * messages_plan.c
 *		What a statement on the foreign table of messages says, as far as reading it goes by that (messages_table.c).
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "base/compat.h"
#include "dialect/messages.h"
#include "foreign/fdwapi.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "utils/fmgroids.h"

#define GUESS	1000			/* rows */

static void
estimate_size(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	rel->rows = GUESS;
}

static void
add_paths(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	add_path(rel, (Path *) ofs_compat_foreign_path(root, rel, GUESS, 0, GUESS));
}

/* Known before the scan begins, and the same all the time? */
static bool
is_fixed(Node *node)
{
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return IsA(node, Const) || (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN);
}

static void
add_expr(Node *node, int kind, List **exprs, List **kinds)
{
	*exprs = lappend(*exprs, node);
	*kinds = lappend_int(*kinds, kind);
}

static void
look_at(OpExpr *op, const AttrNumber *attnums, List **exprs, List **kinds)
{
	Var		   *var;
	Node	   *value;

	if (!IsA(op, OpExpr) || list_length(op->args) != 2 || !IsA(linitial(op->args), Var))
		return;
	var = linitial(op->args);
	value = lsecond(op->args);
	if (!is_fixed(value))
		return;
	if (op->opfuncid == F_INT8GT && var->varattno == attnums[OFS_FIELD_SERVER_TIMESTAMP])
		add_expr(value, OFS_EXPR_LAST, exprs, kinds);
	else if (op->opfuncid == F_TEXTNE && var->varattno == attnums[OFS_FIELD_CLIENT])
		add_expr(value, OFS_EXPR_CLIENT, exprs, kinds);
}

static bool
has_limit(const Query *query)
{
	return query->limitCount && !(IsA(query->limitCount, Const) && ((Const *) query->limitCount)->constisnull);
}

/* Does the statement's LIMIT count just this table's rows? */
static bool
is_limited(PlannerInfo *root, RelOptInfo *rel)
{
	const Query *query = root->parse;

	return has_limit(query) && is_fixed(query->limitCount) && rel->reloptkind == RELOPT_BASEREL &&
		bms_membership(root->all_baserels) == BMS_SINGLETON && !query->hasAggs && !query->hasTargetSRFs &&
		query->groupClause == NIL && query->distinctClause == NIL;
}

/* Is the column read, by itself or with the whole row? */
static bool
is_read(Node *node, Index relid, AttrNumber column)
{
	Bitmapset  *read = NULL;

	pull_varattnos(node, relid, &read);
	return bms_is_member(column - FirstLowInvalidHeapAttributeNumber, read) ||
		bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, read);
}

/* Would a limit that the table can't heed cut off what a device takes for all? */
static bool
is_cut(PlannerInfo *root, RelOptInfo *rel, AttrNumber place)
{
	/* who doesn't learn how far he has come goes on from nowhere */
	if (is_limited(root, rel) || !is_read((Node *) rel->reltarget->exprs, rel->relid, place))
		return false;
	for (; root; root = root->parent_root)
	{
		/* what is one row made of all */
		if (root->parse->hasAggs && root->parse->groupClause == NIL)
			return false;
		if (has_limit(root->parse))
			return true;
	}
	return false;
}

/* Conditions that decide what the limit counts. */
static void
add_filters(List *clauses, Index relid, AttrNumber place, List **exprs, List **kinds)
{
	ListCell   *lc;

	foreach(lc, clauses)
		if (!is_read(lfirst(lc), relid, place) && !contain_volatile_functions(lfirst(lc)))
			add_expr(lfirst(lc), OFS_EXPR_FILTER, exprs, kinds);
}

static ForeignScan *
make_plan(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignPath *path, List *tlist, List *clauses, Plan *outer)
{
	Relation	table = table_open(relid, NoLock);
	AttrNumber	attnums[OFS_FIELDS];
	List	   *exprs = NIL;
	List	   *kinds = NIL;
	ListCell   *lc;

	ofs_message_fields(table, attnums);
	table_close(table, NoLock);
	clauses = extract_actual_clauses(clauses, false);
	foreach(lc, clauses)
		look_at(lfirst(lc), attnums, &exprs, &kinds);
	if (is_cut(root, rel, attnums[OFS_FIELD_SERVER_TIMESTAMP]))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a limit over more than the messages would cut some off unseen"),
				 errdetail("A device would take what it gets for all that there is."),
				 errhint("Leave out server_timestamp, or read the table by itself where the limit is.")));
	if (is_limited(root, rel))
	{
		add_expr(root->parse->limitCount, OFS_EXPR_LIMIT, &exprs, &kinds);
		if (root->parse->limitOffset && is_fixed(root->parse->limitOffset))
			add_expr(root->parse->limitOffset, OFS_EXPR_OFFSET, &exprs, &kinds);
		add_filters(clauses, rel->relid, attnums[OFS_FIELD_SERVER_TIMESTAMP], &exprs, &kinds);
	}
	return make_foreignscan(tlist, clauses, rel->relid, exprs, kinds, NIL, NIL, outer);
}

void
ofs_messages_set_plan(FdwRoutine *routine)
{
	routine->GetForeignRelSize = estimate_size;
	routine->GetForeignPaths = add_paths;
	routine->GetForeignPlan = make_plan;
}
