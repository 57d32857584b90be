/*
 * stream.c
 *		offsync.pull_stream: the answer of a pull in pieces, while it is made.
 *
 * One value of hundreds of megabytes is dear to deliver: the server holds it several times over, and no value can
 * be larger than 1 GB.  Here each call of a set-returning function fetches some rows more from the statement that reads the
 * collection, and returns what they have become: the server holds one piece, whatever the size of the answer.  A piece ends between
 * two records, so that a newline between pieces does no harm.
 *
 * The statement is a portal of the transaction between two calls, which PostgreSQL closes if the transaction or the subtransaction
 * fails.  Where the caller wants no further rows (LIMIT, a cursor that is closed), the executor tells us, and we close it.  All
 * of it runs in the snapshot of the statement that calls, which is the same in all calls, as are the caller and its rights.
 *
 * Called in the target list, or by COPY (SELECT ...) TO, nothing else holds the pieces either.  In FROM the executor collects
 * them first, on disk if need be.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/spi.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pull/list.h"
#include "pull/pull.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(offsync_pull_stream);

typedef struct Stream
{
	OfsPullCall call;
	OfsPull    *pull;
	MemoryContext context;
	Oid			caller;
	StringInfoData out;
	bool		more;			/* there is more to come */
} Stream;

/* The caller wants no more; not called when the transaction fails. */
static void
give_up(Datum arg)
{
	ofs_pull_end(((Stream *) DatumGetPointer(arg))->pull);
}

static Stream *
begin(FunctionCallInfo fcinfo, FuncCallContext *each)
{
	MemoryContext old = MemoryContextSwitchTo(each->multi_call_memory_ctx);
	Stream	   *stream = palloc0(sizeof(Stream));

	ofs_pull_get_call(fcinfo, &stream->call);
	stream->context = each->multi_call_memory_ctx;
	stream->caller = GetUserId();
	initStringInfo(&stream->out);
	enlargeStringInfo(&stream->out, OFS_LIST_PIECE + OFS_LIST_PIECE / 2);
	SPI_connect();
	MemoryContextSwitchTo(stream->context);
	stream->pull = ofs_pull_begin(&stream->call, true);
	SPI_finish();
	stream->more = true;
	MemoryContextSwitchTo(old);
	return stream;
}

/* Make the next piece. */
static void
fill(Stream *stream)
{
	int			level;

	/* what a cursor can be told between two calls */
	if (GetUserId() != stream->caller)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the role has changed since the pull began"),
				 errhint("Read the whole answer as the role that began it.")));
	level = ofs_jit_off();
	resetStringInfo(&stream->out);
	SPI_connect();
	MemoryContextSwitchTo(stream->context);
	while (stream->more && stream->out.len < OFS_LIST_PIECE)
		stream->more = ofs_pull_more(stream->pull, &stream->out);
	SPI_finish();
	AtEOXact_GUC(true, level);
}

static void
require_value_per_call(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_ValuePerCall))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
}

/* The arguments of offsync.pull_changes. */
Datum
offsync_pull_stream(PG_FUNCTION_ARGS)
{
	FuncCallContext *each;
	Stream	   *stream;
	ExprContext *econtext;

	if (SRF_IS_FIRSTCALL())
	{
		require_value_per_call(fcinfo);
		each = SRF_FIRSTCALL_INIT();
		each->user_fctx = begin(fcinfo, each);
		RegisterExprContextCallback(((ReturnSetInfo *) fcinfo->resultinfo)->econtext, give_up,
									PointerGetDatum(each->user_fctx));
	}
	each = SRF_PERCALL_SETUP();
	stream = each->user_fctx;
	if (stream->more)
	{
		fill(stream);
		SRF_RETURN_NEXT(each, PointerGetDatum(cstring_to_text_with_len(stream->out.data, stream->out.len)));
	}

	econtext = ((ReturnSetInfo *) fcinfo->resultinfo)->econtext;
	UnregisterExprContextCallback(econtext, give_up, PointerGetDatum(stream));
	ofs_pull_end(stream->pull);
	SRF_RETURN_DONE(each);
}
