/*
 * bind.c
 *		A policy's expression for one row, as SQL would decide it.
 *
 * The row's values are put into the expression's tree, and what is left is planned and run as any query of the
 * role's: the row-level security of the tables that it reads included, no search_path coming between.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "base/execute.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/rel.h"
#include "verify/bind.h"

/* ---------- the row's values ---------- */

typedef struct BindContext
{
	const OfsExplain *x;
	int			level;			/* of sub-selects around the node */
	bool		failed;
} BindContext;

static Node *
value_of(Var *var, BindContext *context)
{
	const OfsExplain *x = context->x;
	HeapTupleHeader header = DatumGetHeapTupleHeader(x->row);
	HeapTupleData tuple = {0};
	Form_pg_attribute att;
	Datum		value;
	bool		isnull;

	if (var->varattno == InvalidAttrNumber)
		return (Node *) makeConst(var->vartype, var->vartypmod, var->varcollid, -1, x->row, false, false);
	if (var->varattno == TableOidAttributeNumber)
		return (Node *) makeConst(OIDOID, -1, InvalidOid, sizeof(Oid), ObjectIdGetDatum(x->tableoid), false, true);
	if (var->varattno < 0)
	{
		context->failed = true;
		return (Node *) copyObject(var);
	}
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	value = heap_getattr(&tuple, var->varattno, RelationGetDescr(x->rel), &isnull);
	att = TupleDescAttr(RelationGetDescr(x->rel), var->varattno - 1);
	return (Node *) makeConst(var->vartype, var->vartypmod, var->varcollid, att->attlen, value, isnull,
							  att->attbyval);
}

static Node *
bind_mutator(Node *node, BindContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == 1 && (int) ((Var *) node)->varlevelsup == context->level)
		return value_of((Var *) node, context);
	if (IsA(node, Query))
	{
		Query	   *query;

		context->level++;
		query = query_tree_mutator((Query *) node, bind_mutator, context, 0);
		context->level--;
		return (Node *) query;
	}
	return expression_tree_mutator(node, bind_mutator, context);
}

Node *
ofs_bind_row(const OfsExplain *x, Node *qual)
{
	BindContext context = {x, 0, false};
	Node	   *bound = bind_mutator(qual, &context);

	return context.failed ? NULL : bound;
}

/* ---------- running ---------- */

typedef struct Receiver
{
	DestReceiver pub;
	OfsVerdict	verdict;
} Receiver;

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static bool
receiver_row(TupleTableSlot *slot, DestReceiver *self)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, 1, &isnull);

	((Receiver *) self)->verdict = isnull ? OFS_VERDICT_NULL :
		(DatumGetBool(value) ? OFS_VERDICT_TRUE : OFS_VERDICT_FALSE);
	return true;
}

static void
receiver_end(DestReceiver *self)
{
}

OfsVerdict
ofs_bind_decide(Node *bound)
{
	Receiver	receiver = {{receiver_row, receiver_startup, receiver_end, receiver_end, DestNone},
	OFS_VERDICT_NULL};

	ofs_execute_expressions(list_make1(bound), "offsync policy", (DestReceiver *) &receiver);
	return receiver.verdict;
}
