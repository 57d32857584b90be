/*
 * push.c
 *		offsync.push_changes: store a device's changes.
 *
 * The answer's cursor is the given one plus exactly this transaction.  That holds for what the push
 * itself wrote; a transaction that had written before it called the push may hold rows that the
 * device has not seen, and then every collection is sent again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/errors.h"
#include "catalog/capture.h"
#include "catalog/incarnation.h"
#include "catalog/timeline.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "push/push.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(offsync_push_changes);

enum
{
	ARG_CHANGES, ARG_LAST_PULLED_AT, ARG_CLIENT_ID, ARG_PUSH_ID, ARG_ON_ERROR, ARG_DIALECT
};

static char *
get_text(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

static void
check_on_error(const char *on_error)
{
	if (on_error == NULL || strcmp(on_error, "abort") == 0)
		return;
	if (strcmp(on_error, "skip") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("on_error => 'skip' is not supported in this version"),
				 errhint("Leave it out: the first bad record fails the push.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown value \"%s\" for on_error", on_error),
			 errhint("Valid values are: abort.")));
}

/* Parse and plan; an error names its record where there is one. */
static void
plan(Push *push, FunctionCallInfo fcinfo)
{
	text	   *changes = PG_GETARG_TEXT_PP(ARG_CHANGES);

	PG_TRY();
	{
		ofs_plan_build(push, ofs_pushdoc_parse(VARDATA_ANY(changes), VARSIZE_ANY_EXHDR(changes)));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(push->context);
		error = CopyErrorData();
		FlushErrorState();
		ofs_refuse_raise(push, error);
	}
	PG_END_TRY();
}

/* ---------- the answer ---------- */

static void
append_string(StringInfo out, const char *text)
{
	ofs_json_string(out, text, strlen(text));
}

static void
append_timestamp(StringInfo out, const OfsSince *since)
{
	int64		number = since->number;

	if (since->kind == OFS_SINCE_EXACT)
		number = since->cursor_base + (int64) since->cursor->xmin;
	if (number != 0)
		appendStringInfo(out, INT64_FORMAT, number);
	else
		appendStringInfoString(out, "null");
}

/* Take the collections that must be replaced out of the cursor. */
static void
forget_collections(const Push *push)
{
	OfsCursor  *cursor = push->since->cursor;

	for (int i = 0; i < push->ntables; i++)
	{
		int			kept = 0;

		if (!push->tables[i]->forget)
			continue;
		for (int j = 0; j < cursor->ncollections; j++)
		{
			if (cursor->collections[j].hash != push->tables[i]->table->hash)
				cursor->collections[kept++] = cursor->collections[j];
		}
		cursor->ncollections = kept;
	}
}

static void
append_cursor(StringInfo out, Push *push, bool wrote_before)
{
	char	   *cursor = NULL;

	if (push->since->kind == OFS_SINCE_EXACT)
	{
		forget_collections(push);
		cursor = ofs_since_plus(push->since, push->version,
								wrote_before ? ofs_table_list() : ofs_echo_list(push));
	}
	if (cursor != NULL)
		append_string(out, cursor);
	else
		appendStringInfoString(out, "null");
}

/* Records that are stored now, whether they had to be written or not, by the lists they stood in. */
static void
append_applied(StringInfo out, const Push *push)
{
	appendStringInfoChar(out, '{');
	for (int i = 0; i < push->ntables; i++)
	{
		const PushTable *table = push->tables[i];

		if (i > 0)
			appendStringInfoChar(out, ',');
		append_string(out, table->name);
		appendStringInfo(out, ":{\"created\":%d,\"updated\":%d,\"deleted\":%d}",
						 table->ncreated, table->nitems - table->ncreated, table->ndeleted);
	}
	appendStringInfoChar(out, '}');
}

static void
append_ignored(StringInfo out, const Push *push)
{
	bool		any = false;

	for (int i = 0; i < push->ntables; i++)
	{
		const PushTable *table = push->tables[i];
		const char *comma = "";
		ListCell   *cell;

		if (table->ignored == NIL)
			continue;
		appendStringInfoString(out, any ? "," : ",\"ignoredColumns\":{");
		any = true;
		append_string(out, table->name);
		appendStringInfoString(out, ":[");
		foreach(cell, table->ignored)
		{
			appendStringInfoString(out, comma);
			append_string(out, lfirst(cell));
			comma = ",";
		}
		appendStringInfoChar(out, ']');
	}
	if (any)
		appendStringInfoChar(out, '}');
}

static void
append_answer(StringInfo out, Push *push, bool wrote_before)
{
	appendStringInfoString(out, "{\"timestamp\":");
	append_timestamp(out, push->since);
	appendStringInfoString(out, ",\"cursor\":");
	append_cursor(out, push, wrote_before);
	appendStringInfoString(out, ",\"applied\":");
	append_applied(out, push);
	append_ignored(out, push);
	appendStringInfoChar(out, '}');
}

/* ---------- the push ---------- */

static Push *
make_push(FunctionCallInfo fcinfo)
{
	Push	   *push = palloc0(sizeof(Push));

	push->context = CurrentMemoryContext;
	push->run = AllocSetContextCreate(CurrentMemoryContext, "offsync push attempt", ALLOCSET_DEFAULT_SIZES);
	push->row = AllocSetContextCreate(CurrentMemoryContext, "offsync push row", ALLOCSET_DEFAULT_SIZES);
	push->dialect = ofs_dialect_parse(get_text(fcinfo, ARG_DIALECT));
	push->since = ofs_since_parse(get_text(fcinfo, ARG_LAST_PULLED_AT));
	plan(push, fcinfo);
	return push;
}

static void
apply(Push *push)
{
	MemoryContext old = CurrentMemoryContext;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	PG_TRY();
	{
		ofs_attempt_push(push);
	}
	PG_FINALLY();
	{
		ofs_capture_end();
	}
	PG_END_TRY();
	SPI_finish();
	MemoryContextSwitchTo(old);
}

Datum
offsync_push_changes(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;
	bool		wrote_before = TransactionIdIsValid(GetTopTransactionIdIfAny());
	StringInfoData answer;
	Push	   *push;

	PreventCommandIfReadOnly("offsync.push_changes()");
	PreventCommandDuringRecovery("offsync.push_changes()");
	if (PG_ARGISNULL(ARG_CHANGES))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("changes must not be null")));
	/* the inner one's rows would be missing from what the outer one's cursor must not hide */
	if (ofs_capture_active())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("offsync.push_changes() cannot be called while another push is at work"),
				 errhint("A trigger writes tables directly.")));
	check_on_error(get_text(fcinfo, ARG_ON_ERROR));

	initStringInfo(&answer);
	context = AllocSetContextCreate(caller, "offsync push", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	push = make_push(fcinfo);
	push->version = ofs_version_stamp();
	ofs_timeline_note();
	/* the cursor of an earlier push of this transaction must not hide what this one writes */
	if (ofs_capture_answered())
		ofs_table_reset(InvalidOid, OFS_STAIN);
	apply(push);
	append_answer(&answer, push, wrote_before);
	ofs_capture_answer();

	/* an acknowledged push survives a crash, whatever the session's setting */
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		ForceSyncCommit();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(answer.data, answer.len));
}
