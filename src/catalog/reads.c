/*
 * reads.c
 *		What an expression of a policy reads beside the row.
 *
 * Three kinds of things decide: tables (directly, through views, and through the row-level security of the tables
 * themselves), whose changes leave events; parts without any row's values, which are held against
 * what they were before; and functions, which nobody can see into.  What those read must be declared.
 *
 * PostgreSQL's own functions are known: but for the clock, those that deal with times depend on session settings, and any
 * other that isn't immutable may look into the system catalogs, which have no triggers.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/transam.h"
#include "base/compat.h"
#include "catalog/access.h"
#include "catalog/catalog.h"
#include "catalog/inputs.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "catalog/policy.h"
#include "catalog/setfact.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteHandler.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

typedef struct ReadsContext
{
	OfsReads   *reads;
	bool		by_value;
} ReadsContext;

static bool reads_walker(Node *node, ReadsContext *context);

/* ---------- functions ---------- */

static bool
is_clock_function(Oid funcid, void *context)
{
	switch (funcid)
	{
		case F_NOW:
		case F_TRANSACTION_TIMESTAMP:
		case F_STATEMENT_TIMESTAMP:
		case F_AGE_TIMESTAMP:
		case F_AGE_TIMESTAMPTZ:
		case F_TXID_CURRENT:
		case F_TXID_CURRENT_IF_ASSIGNED:
		case F_TXID_CURRENT_SNAPSHOT:
		case F_PG_CURRENT_XACT_ID:
		case F_PG_CURRENT_XACT_ID_IF_ASSIGNED:
		case F_PG_CURRENT_SNAPSHOT:
			return true;
		default:
			return false;
	}
}

static bool
is_clock(Node *node)
{
	if (IsA(node, SQLValueFunction))
		return ((SQLValueFunction *) node)->op <= SVFOP_LOCALTIMESTAMP_N;
	return check_functions_in_node(node, is_clock_function, NULL);
}

static bool
reads_clock(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (is_clock(node))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, reads_clock, context, 0);
	return expression_tree_walker(node, reads_clock, context);
}

static bool
is_time(Oid type)
{
	char		category = TypeCategory(type);

	return category == TYPCATEGORY_DATETIME || category == TYPCATEGORY_TIMESPAN;
}

/* Does what it returns depend on nothing but its arguments and session settings? */
static bool
is_transparent(Oid funcid)
{
	Oid		   *argtypes;
	int			nargs;
	bool		time;

	if (func_volatile(funcid) == PROVOLATILE_IMMUTABLE)
		return true;
	if (funcid >= FirstNormalObjectId)
		return false;
	time = is_time(get_func_signature(funcid, &argtypes, &nargs));
	for (int i = 0; i < nargs; i++)
		time = time || is_time(argtypes[i]);
	return time;
}

static bool
is_opaque(Oid funcid, void *context)
{
	return !is_transparent(funcid);
}

/* The same, and its value stands for more than one value. */
static bool
is_hidden_set(Oid funcid, void *context)
{
	return !is_transparent(funcid) && funcid >= FirstNormalObjectId &&
		(get_func_retset(funcid) || type_is_array_domain(get_func_rettype(funcid)));
}

/* ---------- parts without row values ---------- */

/* Has it no meaning, or no single value, by itself? */
static bool
is_bound(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Param:
		case T_Aggref:
		case T_GroupingFunc:
		case T_WindowFunc:
		case T_SubLink:
		case T_CaseTestExpr:
		case T_CoerceToDomainValue:
		case T_SetToDefault:
		case T_CurrentOfExpr:
			return true;
		default:
			return expression_tree_walker(node, is_bound, context);
	}
}

static bool
is_input(Node *node)
{
	switch (nodeTag(node))
	{
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_FieldSelect:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_CaseExpr:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_SQLValueFunction:
		case T_NullTest:
		case T_BooleanTest:
		case T_CoerceToDomain:
		case T_SubscriptingRef:
			return !is_bound(node, NULL) && !expression_returns_set(node) && contain_mutable_functions(node);
		default:
			return false;
	}
}

static bool
by_value_walker(Node *node, OfsReads *reads)
{
	if (node == NULL)
		return false;
	reads->hidden = reads->hidden || check_functions_in_node(node, is_hidden_set, NULL);
	return expression_tree_walker(node, by_value_walker, reads);
}

/* ---------- relations ---------- */

static void
mark_blind(OfsReads *reads, const char *what, Relation rel)
{
	if (reads->blind == NULL)
		reads->blind = psprintf("%s %s", what, RelationGetRelationName(rel));
}

static void
add_nested(OfsReads *reads, Node *node, bool by_value)
{
	reads->random = reads->random || contain_volatile_functions(node);
	ofs_reads_add(reads, node, by_value);
}

void
ofs_reads_add_relation(OfsReads *reads, Oid relid, bool by_value)
{
	Relation	rel;
	ListCell   *lc;

	if (list_member_oid(reads->relations, relid))
		return;
	reads->relations = lappend_oid(reads->relations, relid);
	rel = try_relation_open(relid, AccessShareLock);
	if (rel == NULL)
	{
		reads->blind = "a table that is gone";
		return;
	}
	switch (rel->rd_rel->relkind)
	{
		case RELKIND_VIEW:
			add_nested(reads, (Node *) get_view_query(rel), by_value);
			break;
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			if (IsCatalogRelation(rel))
				mark_blind(reads, "the system catalog", rel);
			else if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
				mark_blind(reads, "the unlogged table", rel);
			break;
		default:
			/* a materialized view is refreshed, and a foreign table written, unseen by any trigger */
			mark_blind(reads, rel->rd_rel->relkind == RELKIND_MATVIEW ? "the materialized view" : "the relation", rel);
			break;
	}
	foreach(lc, ofs_policy_list(rel))
		add_nested(reads, (Node *) ((RowSecurityPolicy *) lfirst(lc))->qual, by_value);
	relation_close(rel, NoLock);
}

/* ---------- expressions ---------- */

static void
judge_functions(Node *node, ReadsContext *context)
{
	OfsReads   *reads = context->reads;

	if (context->by_value)
	{
		/* within a subquery whose result is held against the one before */
		reads->clock = reads->clock || is_clock(node);
		/* what has no row values, even of the subquery's tables, went another way, unless it returns a set */
		reads->hidden = reads->hidden || check_functions_in_node(node, is_opaque, NULL);
		return;
	}
	if (is_clock(node))
		reads->clock = reads->random = true;
	else
		reads->functions = reads->functions || check_functions_in_node(node, is_opaque, NULL);
}

static bool
reads_walker(Node *node, ReadsContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION)
			ofs_reads_add_relation(context->reads, rte->relid, context->by_value);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, reads_walker, context, QTW_EXAMINE_RTES_BEFORE);
	if (is_input(node))
	{
		context->reads->clock = context->reads->clock || reads_clock(node, NULL);
		(void) by_value_walker(node, context->reads);
		if (!context->by_value && !list_member(context->reads->inputs, node))
			context->reads->inputs = lappend(context->reads->inputs, copyObject(node));
		return false;
	}
	judge_functions(node, context);
	return expression_tree_walker(node, reads_walker, context);
}

void
ofs_reads_add(OfsReads *reads, Node *node, bool by_value)
{
	ReadsContext context = {reads, by_value};

	(void) reads_walker(node, &context);
}

/* ---------- policies ---------- */

static bool
policy_walker(Node *node, OfsPolicyReads *reads)
{
	ReadsContext tied = {&reads->tied, false};
	OfsSetFact *set;

	if (node == NULL)
		return false;
	if (IsA(node, List))
		return expression_tree_walker(node, policy_walker, reads);
	if (!ofs_inputs_reads_row(node))
	{
		ofs_reads_add(&reads->by_value, node, true);
		return false;
	}
	set = IsA(node, SubLink) || IsA(node, ScalarArrayOpExpr) ? ofs_setfact_make(node, false) : NULL;
	if (set)
	{
		ofs_reads_add(&reads->by_value, set->array, true);
		return policy_walker(set->tested, reads);
	}
	if (IsA(node, SubLink))
	{
		/* even where it has a value by itself, nobody holds that against another */
		ofs_reads_add(&reads->tied, ((SubLink *) node)->subselect, false);
		return policy_walker(((SubLink *) node)->testexpr, reads);
	}
	judge_functions(node, &tied);
	return expression_tree_walker(node, policy_walker, reads);
}

void
ofs_reads_policy(OfsPolicyReads *reads, Node *qual)
{
	(void) policy_walker(qual, reads);
}

/* Functions read what is declared; one that is given a value of the row may look the row up. */
static void
add_declared(OfsPolicyReads *reads, Oid relid, const OfsDeclared *declared)
{
	ListCell   *lc;

	if (!declared->known)
		return;
	foreach(lc, declared->tables)
	{
		if (reads->tied.functions)
			ofs_reads_add_relation(&reads->tied, lfirst_oid(lc), false);
		if (reads->tied.hidden || reads->by_value.hidden)
			ofs_reads_add_relation(&reads->by_value, lfirst_oid(lc), true);
	}
	if (reads->tied.functions && !declared->row_local)
		reads->tied.relations = list_append_unique_oid(reads->tied.relations, relid);
}

static List *
both_relations(const OfsPolicyReads *reads)
{
	return list_concat_unique_oid(list_copy(reads->tied.relations), reads->by_value.relations);
}

List *
ofs_reads_of_table(Relation rel, const OfsDeclared *declared)
{
	List	   *relations = NIL;
	ListCell   *lc;

	foreach(lc, ofs_policy_list(rel))
	{
		OfsPolicyReads reads = {0};

		ofs_reads_policy(&reads, (Node *) ((RowSecurityPolicy *) lfirst(lc))->qual);
		add_declared(&reads, RelationGetRelid(rel), declared);
		relations = list_concat_unique_oid(relations, both_relations(&reads));
	}
	return relations;
}

/* ---------- following ---------- */

static const char *
why_opaque(const OfsReads *tied, const OfsDeclared *declared)
{
	const char *blind;

	if (tied->random)
		return "it holds the clock, or what a volatile function makes of what it reads, against row values";
	if (tied->functions && !declared->known)
		return "it calls a function with row values, and nobody can see into that: say in access_tables what it reads,"
			" and row_local where it never looks the row up";
	blind = tied->blind ? tied->blind : ofs_access_blind(tied->relations);
	return blind ? psprintf("what it reads depends on the row, and on %s", blind) : NULL;
}

static const char *
why_blind(const OfsPolicyReads *reads, const OfsDeclared *declared)
{
	const char *blind = reads->by_value.blind ? reads->by_value.blind : reads->tied.blind;

	if (reads->by_value.clock || reads->tied.clock)
		return "it reads the clock, and a number can't tell what that said";
	if (reads->by_value.random || reads->tied.random)
		return "it reads what a volatile function made";
	if ((reads->by_value.hidden || reads->tied.hidden) && !declared->known)
		return "a function finds a set of values, and access_tables doesn't say what it reads";
	if (blind == NULL)
		blind = ofs_access_blind(both_relations(reads));
	return blind ? psprintf("it reads %s, and a number can't tell what that held", blind) : NULL;
}

OfsFollow *
ofs_reads_follow(Relation rel, const OfsDeclared *declared, Node *qual)
{
	OfsFollow  *follow = palloc0(sizeof(OfsFollow));
	OfsPolicyReads reads = {0};

	ofs_reads_policy(&reads, qual);
	add_declared(&reads, RelationGetRelid(rel), declared);
	follow->inputs = reads.tied.inputs;
	follow->opaque = why_opaque(&reads.tied, declared);
	follow->events = ofs_access_tree(reads.tied.relations, AccessShareLock);
	follow->blind = why_blind(&reads, declared);
	follow->clock = reads.by_value.clock || reads.tied.clock;
	follow->functions = reads.tied.functions;
	follow->relations = both_relations(&reads);
	follow->all_events = ofs_access_tree(follow->relations, AccessShareLock);
	return follow;
}
