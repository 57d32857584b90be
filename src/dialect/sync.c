/*
 * sync.c
 *		offsync.sync_changes: push, then pull, in one call.
 *
 * The pull starts from where the push has brought the client, in a snapshot taken behind the push, so that the answer is
 * what the two calls one after the other would have given.  Both are one transaction, and
 * whoever gets the answer knows that it has committed: so the answer's cursor and number count the transaction
 * as seen, and the next pull brings no echo of it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/argument.h"
#include "fmgr.h"
#include "pull/call.h"
#include "push/call.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(offsync_sync_changes);

enum
{
	ARG_CHANGES, ARG_LAST_PULLED_AT, ARG_COLLECTIONS, ARG_CLIENT_ID, ARG_PUSH_ID, ARG_ON_ERROR,
	ARG_CREATED_AS_UPDATED, ARG_DIALECT, ARG_SCHEMA_VERSION, ARG_MIGRATION, ARG_FILTERS, ARG_MAX_ROWS
};

static OfsPushAnswer *
push(FunctionCallInfo fcinfo)
{
	OfsPushCall call = {0};

	if (!PG_ARGISNULL(ARG_CHANGES))
		call.changes = PG_GETARG_TEXT_PP(ARG_CHANGES);
	call.last_pulled_at = ofs_argument_text(fcinfo, ARG_LAST_PULLED_AT);
	call.client_id = ofs_argument_text(fcinfo, ARG_CLIENT_ID);
	call.push_id = ofs_argument_text(fcinfo, ARG_PUSH_ID);
	call.on_error = ofs_argument_text(fcinfo, ARG_ON_ERROR);
	call.dialect = ofs_argument_text(fcinfo, ARG_DIALECT);
	return ofs_push_store(&call, "offsync.sync_changes()");
}

static text *
pull(FunctionCallInfo fcinfo, const OfsPushAnswer *pushed)
{
	OfsPullCall call = {0};

	call.last_pulled_at = pushed->cursor ? pushed->cursor : ofs_argument_text(fcinfo, ARG_LAST_PULLED_AT);
	if (!PG_ARGISNULL(ARG_COLLECTIONS))
		call.collections = PG_GETARG_ARRAYTYPE_P(ARG_COLLECTIONS);
	call.client_id = ofs_argument_text(fcinfo, ARG_CLIENT_ID);
	call.filters = ofs_argument_text(fcinfo, ARG_FILTERS);
	if (!PG_ARGISNULL(ARG_MIGRATION))
		call.migration = PG_GETARG_JSONB_P(ARG_MIGRATION);
	call.created_as_updated = !PG_ARGISNULL(ARG_CREATED_AS_UPDATED) && PG_GETARG_BOOL(ARG_CREATED_AS_UPDATED);
	call.dialect = ofs_argument_text(fcinfo, ARG_DIALECT);
	call.paged = !PG_ARGISNULL(ARG_MAX_ROWS);
	if (call.paged)
		call.max_rows = PG_GETARG_INT32(ARG_MAX_ROWS);
	call.pushed = pushed->replayed ? NULL : &pushed->own;
	call.members = pushed->outcome;
	return ofs_pull_answer(&call);
}

Datum
offsync_sync_changes(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "offsync sync", ALLOCSET_DEFAULT_SIZES);
	OfsPushAnswer *pushed;
	text	   *answer;

	MemoryContextSwitchTo(context);
	pushed = push(fcinfo);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	/* the answer may be large: it is made where it is to be */
	MemoryContextSwitchTo(caller);
	answer = pull(fcinfo, pushed);
	PopActiveSnapshot();
	MemoryContextDelete(context);
	PG_RETURN_TEXT_P(answer);
}
