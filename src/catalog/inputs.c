/*
 * inputs.c
 *		What a policy depends on beside the row.
 *
 * A row's visibility can change without the row being touched: a token changes tenant, a setting
 * flips, somebody joins a team.  Whatever in a policy's expression doesn't depend on the row is an input: the largest
 * such parts are found once per policy, and evaluated as the caller in every pull.  Sets that a value of the
 * row is looked up in (setfact.c) go into the cursor by themselves; the other values into its fingerprint.  While all
 * stay the same, and the rest of the expression is immutable, the policy's verdict on a row can only change with the
 * row, and every such change has a version or a tombstone.
 *
 * What can change otherwise shifts: subqueries tied to the row in other ways, and functions that aren't immutable called with row values.
 * Its collection is replaced whenever a table that it reads has changed (access.c), or always, where nobody tells.  Volatile functions,
 * whole-row references, system columns and virtual generated columns are opaque: such a collection always answers
 * "replacement".
 *
 * The expressions are evaluated as trees, never through SQL text: no search_path can come between.
 */
#include "postgres.h"

#include "base/query.h"
#include "base/spi.h"
#include "base/trial.h"
#include "catalog/access.h"
#include "catalog/inputs.h"
#include "catalog/pg_proc.h"
#include "catalog/policy.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

/* ---------- examining ---------- */

/*
 * Does it hold the placeholder for a value that an expression around it works on (CASE x WHEN, an array's element, a
 * subquery's result)?  "link" is the comparison with a subquery whose test this is, or NULL.
 */
static bool
has_placeholder(Node *node, void *link)
{
	if (node == NULL)
		return false;
	if (IsA(node, CaseTestExpr) || IsA(node, CoerceToDomainValue))
		return true;
	if (IsA(node, Param))
		return ((Param *) node)->paramkind == PARAM_SUBLINK && link == NULL;
	if (IsA(node, SubLink))
		return has_placeholder(((SubLink *) node)->testexpr, node) ||
			has_placeholder(((SubLink *) node)->subselect, NULL);
	if (IsA(node, CaseExpr) && ((CaseExpr *) node)->arg)
	{
		CaseExpr   *expr = (CaseExpr *) node;
		ListCell   *lc;

		/* its conditions' placeholders are its own */
		foreach(lc, expr->args)
			if (has_placeholder((Node *) lfirst_node(CaseWhen, lc)->result, link))
				return true;
		return has_placeholder((Node *) expr->arg, link) ||
			has_placeholder((Node *) expr->defresult, link);
	}
	if (IsA(node, ArrayCoerceExpr))
		return has_placeholder((Node *) ((ArrayCoerceExpr *) node)->arg, link);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, has_placeholder, link, 0);
	return expression_tree_walker(node, has_placeholder, link);
}

bool
ofs_inputs_reads_row(Node *node)
{
	bool		whole_row;
	Bitmapset  *columns = ofs_policy_columns(node, &whole_row);

	return whole_row || !bms_is_empty(columns) || has_placeholder(node, NULL);
}

static bool
not_immutable(Oid funcid, void *context)
{
	return func_volatile(funcid) != PROVOLATILE_IMMUTABLE;
}

/* Parts that are no expressions of their own, or that say nothing. */
static bool
is_expression(Node *node)
{
	switch (nodeTag(node))
	{
		case T_List:
		case T_Const:
		case T_Param:			/* a column of the subquery around it */
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_CoerceToDomainValue:
		case T_TargetEntry:
			return false;
		default:
			return true;
	}
}

typedef struct Examination
{
	OfsPolicyFact *fact;
	bool		decides;		/* NULL means the same as false here */
} Examination;

static bool examine_walker(Node *node, Examination *context);

/* Below a node that treats NULL otherwise than false. */
static bool
examine_below(Node *node, Examination *context)
{
	Examination below = *context;

	below.decides = context->decides && IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop != NOT_EXPR;
	if (IsA(node, List))
		below.decides = context->decides;
	return expression_tree_walker(node, examine_walker, &below);
}

static bool
examine_walker(Node *node, Examination *context)
{
	OfsPolicyFact *fact = context->fact;
	OfsSetFact *set;

	if (node == NULL || fact->opaque)
		return false;
	if (is_expression(node) && !ofs_inputs_reads_row(node))
	{
		fact->inputs = lappend(fact->inputs, node);
		return false;
	}
	set = is_expression(node) ? ofs_setfact_make(node, context->decides) : NULL;
	if (set && !has_placeholder(set->tested, NULL) && func_volatile(get_opcode(set->opno)) == PROVOLATILE_IMMUTABLE)
	{
		fact->sets = lappend(fact->sets, set);
		return examine_walker(set->tested, &(Examination) {fact, false});
	}
	if (IsA(node, SubLink))
	{
		fact->shifting = "it has a subquery tied to the row";
		return examine_walker(((SubLink *) node)->testexpr, &(Examination) {fact, false});
	}
	if (check_functions_in_node(node, not_immutable, NULL))
		fact->shifting = "it calls a function that is not immutable with row values";
	return examine_below(node, context);
}

static bool
reads_virtual(Relation rel, Bitmapset *columns)
{
	for (int attnum = -1; (attnum = bms_next_member(columns, attnum)) >= 0;)
		if (TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attgenerated == 'v')
			return true;
	return false;
}

/* What it reads beside the row may change; does somebody tell? */
static void
follow(OfsPolicyFact *fact, OfsFollow *follow)
{
	fact->follow = follow;
	if (fact->shifting == NULL)
	{
		follow->events = NIL;
		return;
	}
	if (follow->opaque)
		fact->opaque = psprintf("%s: %s", fact->shifting, follow->opaque);
	fact->inputs = list_concat_unique(fact->inputs, follow->inputs);
}

OfsPolicyFact *
ofs_inputs_examine(Relation rel, const OfsDeclared *declared, const char *name, bool permissive, Node *qual)
{
	OfsPolicyFact *fact = palloc0(sizeof(OfsPolicyFact));
	bool		whole_row;
	Bitmapset  *columns = ofs_policy_columns(qual, &whole_row);
	int			level = ofs_search_path_pin();
	/* a copy: deparsing sets right, in its own memory, the joins of the expression that it is given */
	char	   *text = deparse_expression(copyObject(qual),
										  deparse_context_for(RelationGetRelationName(rel), RelationGetRelid(rel)),
										  false, false);

	AtEOXact_GUC(true, level);
	fact->name = pstrdup(name);
	fact->text = text;
	fact->permissive = permissive;
	fact->qual = copyObject(qual);
	if (whole_row)
		fact->opaque = "it reads the whole row or a system column";
	else if (reads_virtual(rel, columns))
		fact->opaque = "it reads a virtual generated column";
	else if (contain_volatile_functions(qual))
		fact->opaque = "it calls a volatile function";
	else
	{
		(void) examine_walker(fact->qual, &(Examination) {fact, true});
		follow(fact, ofs_reads_follow(rel, declared, qual));
	}
	return fact;
}

/* ---------- evaluating ---------- */

static void
append_datum(StringInfo out, Datum value, bool isnull, Oid type)
{
	int16		typlen;
	bool		typbyval;
	int32		len;

	if (isnull)
	{
		appendStringInfoChar(out, 'n');
		return;
	}
	get_typlenbyval(type, &typlen, &typbyval);
	appendStringInfoChar(out, 'v');
	if (typbyval)
	{
		appendBinaryStringInfo(out, (char *) &value, sizeof(Datum));
		return;
	}
	if (typlen == -1)
		value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
	len = typlen == -1 ? VARSIZE_ANY_EXHDR(DatumGetPointer(value)) :
		typlen == -2 ? (int32) strlen(DatumGetCString(value)) : typlen;
	appendBinaryStringInfo(out, (char *) &len, sizeof(len));
	appendBinaryStringInfo(out, typlen == -1 ? VARDATA_ANY(DatumGetPointer(value)) :
						   DatumGetPointer(value), len);
}

typedef struct InputReceiver
{
	DestReceiver pub;
	List	   *inputs;			/* of OfsInput */
} InputReceiver;

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static bool
receiver_row(TupleTableSlot *slot, DestReceiver *self)
{
	ListCell   *lc;

	slot_getallattrs(slot);
	foreach(lc, ((InputReceiver *) self)->inputs)
	{
		OfsInput   *input = lfirst(lc);
		Datum		value = slot->tts_values[foreach_current_index(lc)];
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(input));

		input->isnull = slot->tts_isnull[foreach_current_index(lc)];
		if (!input->isnull && get_typlen(input->type) == -1)
			input->value = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
		else if (!input->isnull)
			input->value = datumCopy(value, get_typbyval(input->type), get_typlen(input->type));
		MemoryContextSwitchTo(old);
	}
	return true;
}

static void
receiver_end(DestReceiver *self)
{
}

typedef struct Work
{
	List	   *nodes;
	List	   *inputs;
} Work;

/* SELECT expression, ...: planned as any query of the caller's, its nested row security included, and the plan is kept. */
static void
run_inputs(void *arg)
{
	Work	   *work = arg;
	InputReceiver receiver = {{receiver_row, receiver_startup, receiver_end, receiver_end, DestNone}, work->inputs};
	List	   *nodes = NIL;
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	foreach(lc, work->nodes)
	{
		char	   *name = psprintf("input%d", foreach_current_index(lc));

		appendStringInfo(&sql, "%s offsync$%s", nodes == NIL ? "SELECT" : ",", name);
		nodes = ofs_query_name(nodes, 0, name, lfirst(lc));
	}
	SPI_connect();
	(void) ofs_query_run(ofs_query_keep_named(sql.data, 0, NULL, nodes, 0), 0, NULL, NULL, NULL, true,
						 (DestReceiver *) &receiver);
	SPI_finish();
}

/* They have failed until they have not. */
static void
try_inputs(Work *work)
{
	ErrorData  *error;
	ListCell   *lc;

	if (work->nodes == NIL)
		return;
	error = ofs_trial_run(run_inputs, work);
	/* a cancelled query, a lack of memory or of a lock is no answer */
	if (error && (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION ||
				  ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES))
		ReThrowError(error);
	if (error)
	{
		FreeErrorData(error);
		return;
	}
	foreach(lc, work->inputs)
		((OfsInput *) lfirst(lc))->failed = false;
}

static OfsInput *
find_known(Node *node, List *known)
{
	ListCell   *lc;

	foreach(lc, known)
		if (equal(((OfsInput *) lfirst(lc))->node, node))
			return lfirst(lc);
	return NULL;
}

List *
ofs_inputs_evaluate(List *nodes, List **known)
{
	Work		work = {NIL, NIL};
	List	   *values = NIL;
	ListCell   *lc;

	foreach(lc, nodes)
	{
		OfsInput   *input = find_known(lfirst(lc), *known);

		if (input == NULL)
		{
			input = palloc0(sizeof(OfsInput));
			input->node = lfirst(lc);
			input->type = exprType(input->node);
			input->failed = true;
			*known = lappend(*known, input);
			work.nodes = lappend(work.nodes, input->node);
			work.inputs = lappend(work.inputs, input);
		}
		values = lappend(values, input);
	}
	try_inputs(&work);
	return values;
}

void
ofs_inputs_append(const OfsInput *input, StringInfo out)
{
	append_datum(out, input->value, input->isnull, input->type);
}
