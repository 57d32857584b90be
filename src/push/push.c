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
#include "base/argument.h"
#include "base/compat.h"
#include "base/count.h"
#include "base/errors.h"
#include "catalog/capture.h"
#include "catalog/incarnation.h"
#include "catalog/notice.h"
#include "catalog/timeline.h"
#include "catalog/viewthen.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "push/push.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(offsync_push_changes);

enum
{
	ARG_CHANGES, ARG_LAST_PULLED_AT, ARG_CLIENT_ID, ARG_PUSH_ID, ARG_ON_ERROR, ARG_DIALECT
};

/* Are bad records skipped? */
static bool
skips(const char *on_error)
{
	if (on_error == NULL || strcmp(on_error, "abort") == 0)
		return false;
	if (strcmp(on_error, "skip") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown value \"%s\" for on_error", on_error),
				 errhint("Choose one of \"abort\", \"skip\".")));
	return true;
}

/* Parse and plan; an error names its record where there is one. */
static void
plan(Push *push, const text *changes)
{
	PG_TRY();
	{
		OfsPushDoc *doc = ofs_pushdoc_parse(VARDATA_ANY(changes), VARSIZE_ANY_EXHDR(changes));

		if (push->skip)
			ofs_skip_plan(push, doc);
		else
			ofs_plan_build(push, doc);
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

static int64
answer_number(const OfsSince *since)
{
	return since->kind == OFS_SINCE_EXACT ? ofs_since_number(since) : since->number;
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

/* Of collections that the device now sees otherwise than its cursor says, note how. */
static void
note_views(const Push *push, OfsCursorOwn *own)
{
	OfsViews	views = {push->dialect, .bare = true};
	OfsSetBook	then;

	ofs_viewthen_open(push->since, &then);
	own->views = palloc(sizeof(OfsCursorCollection) * (push->ntables + 1));
	PushActiveSnapshot(GetTransactionSnapshot());
	for (int i = 0; i < push->ntables; i++)
	{
		const OfsView *view = ofs_view_make(&views, push->tables[i]->table);
		OfsCursorCollection *note = &own->views[own->nviews];

		note->hash = view->table->hash;
		note->fingerprint = ofs_view_digest(view);
		/* one that can't be followed is replaced in any case */
		if (view->opaque == NULL && note->fingerprint != ofs_viewthen_digest(push->since, &then, view))
			own->nviews++;
	}
	PopActiveSnapshot();
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
		ofs_json_text(out, table->name);
		appendStringInfo(out, ":{\"created\":%d,\"updated\":%d,\"deleted\":%d}",
						 ofs_report_stored(table->items, table->nitems, true),
						 ofs_report_stored(table->items, table->nitems, false),
						 ofs_report_stored(table->deleted, table->ndeleted, false));
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
		ofs_json_text(out, table->name);
		appendStringInfoString(out, ":[");
		foreach(cell, table->ignored)
		{
			appendStringInfoString(out, comma);
			ofs_json_text(out, lfirst(cell));
			comma = ",";
		}
		appendStringInfoChar(out, ']');
	}
	if (any)
		appendStringInfoChar(out, '}');
}

static OfsPushAnswer *
make_answer(Push *push, bool wrote_before)
{
	OfsPushAnswer *answer = palloc0(sizeof(OfsPushAnswer));
	List	   *echo = wrote_before ? ofs_table_list() : ofs_echo_list(push);
	StringInfoData outcome;

	if (push->since->kind == OFS_SINCE_EXACT)
		forget_collections(push);
	answer->number = answer_number(push->since);
	ofs_since_make_own(&answer->own, push->version, echo);
	ofs_notice_sign(push->client ? push->client->client_id : NULL, echo);
	if (push->since->kind == OFS_SINCE_EXACT)
		note_views(push, &answer->own);
	answer->cursor = ofs_since_plus(push->since, &answer->own);
	initStringInfo(&outcome);
	appendStringInfoString(&outcome, "\"applied\":");
	append_applied(&outcome, push);
	append_ignored(&outcome, push);
	if (push->report != NULL)
		appendStringInfoString(&outcome, push->report);
	answer->changes = push->changes;
	answer->refused = ofs_report_list(push);
	answer->outcome = outcome.data;
	return answer;
}

static text *
answer_text(const OfsPushAnswer *answer)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "{\"timestamp\":");
	if (answer->number != 0)
		appendStringInfo(&out, INT64_FORMAT, answer->number);
	else
		appendStringInfoString(&out, "null");
	appendStringInfoString(&out, ",\"cursor\":");
	ofs_json_text(&out, answer->cursor);
	appendStringInfo(&out, ",%s", answer->outcome);
	if (answer->changes != NULL)
		appendStringInfo(&out, ",\"changes\":%s", answer->changes);
	appendStringInfoChar(&out, '}');
	return cstring_to_text_with_len(out.data, out.len);
}

/* ---------- the push ---------- */

static void
check_call(const OfsPushCall *call, const char *name)
{
	PreventCommandIfReadOnly(name);
	PreventCommandDuringRecovery(name);
	/* the inner one's rows would be missing from what the outer one's cursor must not hide */
	if (ofs_capture_active())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot be called while another push is at work", name),
				 errhint("A trigger writes tables directly.")));
	(void) skips(call->on_error);
}

static Push *
make_push(const OfsPushCall *call)
{
	Push	   *push = palloc0(sizeof(Push));

	push->context = CurrentMemoryContext;
	push->run = AllocSetContextCreate(CurrentMemoryContext, "offsync push attempt", ALLOCSET_DEFAULT_SIZES);
	push->plan = GenerationContextCreate(CurrentMemoryContext, "offsync push plan", ALLOCSET_DEFAULT_SIZES);
	push->row = AllocSetContextCreate(CurrentMemoryContext, "offsync push row", ALLOCSET_DEFAULT_SIZES);
	push->skip = skips(call->on_error);
	push->dialect = ofs_dialect_parse(call->dialect);
	push->clock = call->clock;
	push->server_columns = call->server_columns;
	push->strategy = call->strategy ? ofs_strategy_find(call->strategy) : NULL;
	push->based = call->based;
	ofs_log_identify(push, call);
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

/* What all records started from. */
static void
set_bases(Push *push, int64 base)
{
	for (int i = 0; i < push->ntables; i++)
	{
		PushTable  *table = push->tables[i];

		for (int j = 0; j < table->nitems + table->ndeleted; j++)
		{
			PushItem   *item = j < table->nitems ? table->items[j] : table->deleted[j - table->nitems];

			item->has_base = true;
			item->base = base;
		}
	}
}

static OfsPushAnswer *
store(Push *push, const OfsPushCall *call, bool wrote_before)
{
	OfsPushAnswer *answer;

	push->since = ofs_since_parse(call->last_pulled_at);
	plan(push, call->changes);
	if (call->based)
		set_bases(push, call->base);
	push->version = ofs_version_stamp();
	ofs_timeline_ensure();
	/* the cursor of an earlier push of this transaction must not hide what this one writes */
	if (ofs_capture_answered())
		ofs_table_reset(InvalidOid, OFS_STAIN);
	apply(push);
	ofs_skip_log(push);
	answer = make_answer(push, wrote_before);
	if (call->members)
		answer->outcome = psprintf("%s,%s", answer->outcome, call->members);
	ofs_log_add(push, answer);
	ofs_tally_stored(push);
	if (!call->unplaced)
		ofs_capture_answer();

	/* an acknowledged push survives a crash, whatever the session's setting */
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		ForceSyncCommit();
	return answer;
}

OfsPushAnswer *
ofs_push_store(const OfsPushCall *call, const char *name)
{
	bool		wrote_before = TransactionIdIsValid(GetTopTransactionIdIfAny());
	OfsPushAnswer *volatile answer = NULL;
	Push	   *volatile push = NULL;

	check_call(call, name);
	/* so that what follows finds the memory there even when an error is being handled */
	ofs_count(OFS_COUNT_PUSHES, 0);
	PG_TRY();
	{
		if (call->changes == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OFS_MALFORMED),
					 errmsg("changes must not be null")));
		push = make_push(call);
		answer = ofs_log_replay(push);
		if (answer)
			ofs_count(OFS_COUNT_PUSHES_REPEATED, 1);
		else
			answer = store(push, call, wrote_before);
	}
	PG_CATCH();
	{
		if (!call->uncounted)
			ofs_tally_failed(push);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return answer;
}

Datum
offsync_push_changes(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;
	OfsPushCall call = {0};
	OfsPushAnswer *answer;
	text	   *result;

	context = AllocSetContextCreate(caller, "offsync push", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	if (!PG_ARGISNULL(ARG_CHANGES))
		call.changes = PG_GETARG_TEXT_PP(ARG_CHANGES);
	call.last_pulled_at = ofs_argument_text(fcinfo, ARG_LAST_PULLED_AT);
	call.client_id = ofs_argument_text(fcinfo, ARG_CLIENT_ID);
	call.push_id = ofs_argument_text(fcinfo, ARG_PUSH_ID);
	call.on_error = ofs_argument_text(fcinfo, ARG_ON_ERROR);
	call.dialect = ofs_argument_text(fcinfo, ARG_DIALECT);
	answer = ofs_push_store(&call, "offsync.push_changes()");
	MemoryContextSwitchTo(caller);
	result = answer_text(answer);
	MemoryContextDelete(context);
	PG_RETURN_TEXT_P(result);
}
