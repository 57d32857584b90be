/*
 * messages_table.c
 *		A foreign table of messages, for clients that read and write one through PostgREST.
 *
 * Reading it is a pull.  How far the device has come stands in the statement, "server_timestamp > 5", and so does whose messages it
 * doesn't want, "client_id <> 'phone'": the conditions are looked for (messages_plan.c) and given to the engine, and checked by the
 * executor all the same.  Writing it is a push (messages_insert.c).
 *
 * A gateway may limit how many rows it fetches, and the device takes what it gets for all up to the greatest
 * server_timestamp among it.  So where the statement has a LIMIT, only as many versions are told as fit whole: the
 * limit itself never cuts anything off, and the device comes back for the rest.  Where not even one fits it is an error, and so is
 * a limit that counts other rows than these: those of a join, say.  What conditions leave is what is counted.
 *
 * A message must have a server_timestamp behind the one that was asked for, or the executor drops it, and yet none at which more may
 * come.  What was written while older transactions are still at work is therefore told when they have ended; a call tells
 * of it at once, and again.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "base/compat.h"
#include "base/errors.h"
#include "catalog/client.h"
#include "catalog/incarnation.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "dialect/messages.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "foreign/fdwapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(offsync_messages_handler);

static const char *const field_names[OFS_FIELDS] = {
	"id", "table_name", "row", "column", "data_type", "value", "server_timestamp", "local_timestamp", "user_id", "client_id"
};

typedef struct MessageScan
{
	AttrNumber	attnums[OFS_FIELDS];
	List	   *kinds;			/* OFS_EXPR_... of each of these: */
	List	   *exprs;
	Tuplestorestate *store;		/* NULL: nothing was read yet */
	TupleTableSlot *stored;		/* its next row */
	ScanState  *state;
	List	   *filters;		/* of ExprState */
	TupleDesc	desc;
	const char *user_id;
	bool		forced;			/* a device can't go on but from ... */
	int64		end;			/* ... this, which is where it goes on from when it has got all */
	int64		limit;			/* or -1 */
	int64		cut;			/* versions behind this one are left for the next time */
	int			count;
	int			room;
	int64	   *versions;		/* of each message; where there is a limit */
} MessageScan;

/* ---------- the table ---------- */

void
ofs_message_fields(Relation rel, AttrNumber *attnums)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int field = 0; field < OFS_FIELDS; field++)
	{
		Oid			type = field == OFS_FIELD_SERVER_TIMESTAMP ? INT8OID : TEXTOID;

		attnums[field] = InvalidAttrNumber;
		for (int i = 0; i < desc->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);

			if (!att->attisdropped && strcmp(NameStr(att->attname), field_names[field]) == 0 && att->atttypid == type)
				attnums[field] = att->attnum;
		}
		if (attnums[field] == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_SCHEMA_NOT_FOUND),
					 errmsg("foreign table \"%s\" has no column \"%s\" of type %s", RelationGetRelationName(rel),
							field_names[field], format_type_be(type)),
					 errhint("offsync.expose makes such a table.")));
	}
}

/* ---------- reading ---------- */

static void
begin_scan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	MessageScan *scan = palloc0(sizeof(MessageScan));

	node->fdw_state = scan;
	ofs_message_fields(node->ss.ss_currentRelation, scan->attnums);
	scan->kinds = plan->fdw_private;
	scan->exprs = ExecInitExprList(plan->fdw_exprs, (PlanState *) node);
	scan->desc = RelationGetDescr(node->ss.ss_currentRelation);
	scan->state = &node->ss;
}

static void
put_text(const MessageScan *scan, Datum *values, bool *nulls, OfsMessageField field, const char *text)
{
	values[scan->attnums[field] - 1] = CStringGetTextDatum(text);
	nulls[scan->attnums[field] - 1] = false;
}

static void
note_version(MessageScan *scan, int64 version)
{
	if (scan->count == scan->room)
	{
		scan->room *= 2;
		scan->versions = repalloc_huge(scan->versions, sizeof(int64) * scan->room);
	}
	scan->versions[scan->count++] = version;
}

/* Will the row be among those that the limit counts? */
static bool
passes(const MessageScan *scan, const Datum *values, const bool *nulls)
{
	ExprContext *context = scan->state->ps.ps_ExprContext;
	TupleTableSlot *slot = scan->state->ss_ScanTupleSlot;
	ListCell   *lc;

	if (scan->filters == NIL)
		return true;
	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, sizeof(Datum) * scan->desc->natts);
	memcpy(slot->tts_isnull, nulls, sizeof(bool) * scan->desc->natts);
	context->ecxt_scantuple = ExecStoreVirtualTuple(slot);
	foreach(lc, scan->filters)
	{
		bool		isnull;
		Datum		value = ExecEvalExprSwitchContext(lfirst(lc), context, &isnull);

		ResetExprContext(context);
		if (isnull || !DatumGetBool(value))
			break;
	}
	ExecClearTuple(slot);
	return lc == NULL;
}

static void
take(void *arg, const OfsMessage *message)
{
	MessageScan *scan = arg;
	Datum	   *values;
	bool	   *nulls;

	if (!message->settled)
		return;
	values = palloc0_array(Datum, scan->desc->natts);
	nulls = palloc_array(bool, scan->desc->natts);
	memset(nulls, true, sizeof(bool) * scan->desc->natts);
	put_text(scan, values, nulls, OFS_FIELD_ID, message->id);
	put_text(scan, values, nulls, OFS_FIELD_TABLE, message->table);
	put_text(scan, values, nulls, OFS_FIELD_ROW, message->row);
	put_text(scan, values, nulls, OFS_FIELD_COLUMN, message->column);
	put_text(scan, values, nulls, OFS_FIELD_DATA_TYPE, message->data_type);
	put_text(scan, values, nulls, OFS_FIELD_VALUE, message->value);
	put_text(scan, values, nulls, OFS_FIELD_LOCAL_TIMESTAMP, message->local_timestamp);
	put_text(scan, values, nulls, OFS_FIELD_USER, scan->user_id);
	put_text(scan, values, nulls, OFS_FIELD_CLIENT, message->client_id);
	values[scan->attnums[OFS_FIELD_SERVER_TIMESTAMP] - 1] = Int64GetDatum(message->version);
	nulls[scan->attnums[OFS_FIELD_SERVER_TIMESTAMP] - 1] = false;
	scan->forced = scan->forced || message->forced;
	scan->end = Max(scan->end, message->server_timestamp);
	if (!passes(scan, values, nulls))
		return;
	tuplestore_putvalues(scan->store, scan->desc, values, nulls);
	if (scan->limit >= 0)
		note_version(scan, message->version);
}

/* What the statement says; NULL compares as nothing, and the executor finds no row then. */
static void
read_conditions(ForeignScanState *node, MessageScan *scan, OfsMessageAsk *ask)
{
	int64		offset = 0;
	ListCell   *le,
			   *lk;

	scan->limit = -1;
	forboth(le, scan->exprs, lk, scan->kinds)
	{
		bool		isnull;
		Datum		value;

		if (lfirst_int(lk) == OFS_EXPR_FILTER)
		{
			scan->filters = lappend(scan->filters, lfirst(le));
			continue;
		}
		value = ExecEvalExpr((ExprState *) lfirst(le), node->ss.ps.ps_ExprContext, &isnull);
		if (isnull)
			continue;
		switch (lfirst_int(lk))
		{
			case OFS_EXPR_LAST:
				ask->last = Max(ask->last, DatumGetInt64(value));
				break;
			case OFS_EXPR_CLIENT:
				ask->client_id = TextDatumGetCString(value);
				break;
			case OFS_EXPR_LIMIT:
				scan->limit = DatumGetInt64(value);
				break;
			default:
				offset = DatumGetInt64(value);
		}
	}
	if (scan->limit >= 0 && pg_add_s64_overflow(scan->limit, offset, &scan->limit))
		scan->limit = -1;
}

static int
compare_versions(const void *a, const void *b)
{
	int64		va = *(const int64 *) a;
	int64		vb = *(const int64 *) b;

	return (va > vb) - (va < vb);
}

/* How far can be told, so that a device can go on from there? */
static void
choose_cut(MessageScan *scan, int64 asked)
{
	int64		last = scan->limit;

	/* nothing for now that the device could go on from */
	scan->cut = scan->end > asked ? PG_INT64_MAX : -1;
	if (scan->limit < 0 || scan->count <= scan->limit || scan->cut < 0)
		return;
	qsort(scan->versions, scan->count, sizeof(int64), compare_versions);
	/* the version that is cut off goes as a whole */
	while (last > 0 && scan->versions[last - 1] == scan->versions[scan->limit])
		last--;
	if (last == 0 || scan->forced)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_TOO_LARGE),
				 errmsg("a limit of " INT64_FORMAT " rows would cut off messages that belong together", scan->limit),
				 errdetail("A device would take what it gets for all that there is."),
				 errhint("Raise the gateway's limit (db-max-rows of PostgREST), or let devices call pull_messages, which has none.")));
	scan->cut = scan->end = scan->versions[last - 1];
}

/* Of a number that was not given out here nobody knows when what is told would lie behind it. */
static void
require_known(int64 last)
{
	if (last >= ofs_version_latest() && !RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OFS_GONE),
				 errmsg("server_timestamp " INT64_FORMAT " is not one that this server has given out yet", last),
				 errhint("Let the device begin anew, without a server_timestamp, or call pull_messages.")));
}

static void
fill(ForeignScanState *node)
{
	MessageScan *scan = node->fdw_state;
	MemoryContext old = MemoryContextSwitchTo(node->ss.ps.state->es_query_cxt);
	OfsMessageAsk ask = {.last = -1, .take = take, .arg = scan};

	scan->user_id = ofs_client_subject();
	if (scan->user_id == NULL)
		scan->user_id = "";
	read_conditions(node, scan, &ask);
	require_known(ask.last);
	scan->store = tuplestore_begin_heap(true, false, work_mem);
	scan->stored = MakeSingleTupleTableSlot(scan->desc, &TTSOpsMinimalTuple);
	scan->count = 0;
	scan->room = 64;
	scan->versions = palloc(sizeof(int64) * scan->room);
	scan->forced = false;
	scan->end = -1;
	PushActiveSnapshot(node->ss.ps.state->es_snapshot);
	ofs_messages_pull(&ask);
	PopActiveSnapshot();
	choose_cut(scan, ask.last);
	MemoryContextSwitchTo(old);
}

/* What is read from disk must outlive the row's memory: the next call frees it. */
static bool
read_stored(ForeignScanState *node, MessageScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(node->ss.ps.state->es_query_cxt);
	bool		found = tuplestore_gettupleslot(scan->store, true, false, scan->stored);

	MemoryContextSwitchTo(old);
	return found;
}

static TupleTableSlot *
next_row(ForeignScanState *node)
{
	MessageScan *scan = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	int			place = scan->attnums[OFS_FIELD_SERVER_TIMESTAMP] - 1;

	ExecClearTuple(slot);
	if (scan->store == NULL)
		fill(node);
	while (read_stored(node, scan))
	{
		slot_getallattrs(scan->stored);
		if (DatumGetInt64(scan->stored->tts_values[place]) > scan->cut)
			continue;
		memcpy(slot->tts_values, scan->stored->tts_values, sizeof(Datum) * scan->desc->natts);
		memcpy(slot->tts_isnull, scan->stored->tts_isnull, sizeof(bool) * scan->desc->natts);
		slot->tts_values[place] = Int64GetDatum(scan->end);
		return ExecStoreVirtualTuple(slot);
	}
	return slot;
}

static void
rescan(ForeignScanState *node)
{
	MessageScan *scan = node->fdw_state;

	if (scan->store)
		tuplestore_rescan(scan->store);
}

static void
end_scan(ForeignScanState *node)
{
	MessageScan *scan = node->fdw_state;

	if (scan == NULL || scan->store == NULL)
		return;
	ExecDropSingleTupleTableSlot(scan->stored);
	tuplestore_end(scan->store);
}

/* ---------- the wrapper ---------- */

Datum
offsync_messages_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->BeginForeignScan = begin_scan;
	routine->IterateForeignScan = next_row;
	routine->ReScanForeignScan = rescan;
	routine->EndForeignScan = end_scan;
	ofs_messages_set_plan(routine);
	ofs_messages_set_insert(routine);
	PG_RETURN_POINTER(routine);
}
