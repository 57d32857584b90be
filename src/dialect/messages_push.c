/*
 * messages_push.c
 *		offsync.push_messages: messages as records.
 *
 * All messages about one row become one record, with the clock of each field beside it, and all records one push: the engine
 * decides field by field which is the later write.  So a row comes to be from messages that each hold
 * a part of it, as long as they come together.
 *
 * Of several messages about a field the latest is pushed, and the others are done with it.  A message is accepted when its row
 * is stored, or when there was nothing to store: it came before, or a later write has won.  Then its device
 * need never send it again.
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/count.h"
#include "base/errors.h"
#include "base/jsonsplit.h"
#include "base/put.h"
#include "dialect/messages.h"
#include "dialect/refusal.h"
#include "fmgr.h"
#include "push/call.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(offsync_push_messages);

/* ---------- records ---------- */

/* By table, row and column, the latest first. */
static int
compare(const void *a, const void *b)
{
	const OfsPushedMessage *ma = *(const OfsPushedMessage *const *) a;
	const OfsPushedMessage *mb = *(const OfsPushedMessage *const *) b;
	AttrNumber	ca = ma->column ? ma->column->attnum : 0;
	AttrNumber	cb = mb->column ? mb->column->attnum : 0;
	int			result = strcmp(ma->table->table->collection, mb->table->table->collection);

	if (result == 0)
		result = strcmp(ma->row, mb->row);
	if (result == 0)
		result = (ca > cb) - (ca < cb);
	if (result == 0)
		result = ofs_hlc_compare(&mb->clock, &ma->clock);
	if (result == 0)
		result = ma->place - mb->place;
	return result;
}

static OfsPushedMessage **
sort_accepted(OfsPushedMessage *messages, int count, int *naccepted)
{
	OfsPushedMessage **sorted = palloc(sizeof(OfsPushedMessage *) * (count + 1));

	*naccepted = 0;
	for (int i = 0; i < count; i++)
		if (messages[i].reason == NULL)
			sorted[(*naccepted)++] = &messages[i];
	qsort(sorted, *naccepted, sizeof(OfsPushedMessage *), compare);
	return sorted;
}

/* The messages of one row, of which each column's first one counts. */
static void
append_record(StringInfo out, OfsPushedMessage **messages, int count)
{
	const char *comma = "";
	AttrNumber	last = 0;
	StringInfoData clocks;

	initStringInfo(&clocks);
	appendStringInfoString(out, "{\"id\":");
	ofs_json_text(out, messages[0]->row);
	for (int i = 0; i < count; i++)
	{
		const OfsMessageColumn *column = messages[i]->column;

		if (column == NULL || column->attnum == last)
			continue;
		last = column->attnum;
		ofs_put_char(out, ',');
		ofs_json_text(out, column->wire);
		ofs_put_char(out, ':');
		ofs_json_append(out, &messages[i]->sent);
		appendStringInfoString(&clocks, comma);
		comma = ",";
		ofs_json_text(&clocks, column->wire);
		ofs_put_char(&clocks, ':');
		ofs_json_text(&clocks, messages[i]->local_timestamp);
	}
	appendStringInfo(out, ",\"_clocks\":{%s}}", clocks.data);
	pfree(clocks.data);
}

static bool
same_table(const OfsPushedMessage *a, const OfsPushedMessage *b)
{
	return a->table == b->table;
}

static bool
same_row(const OfsPushedMessage *a, const OfsPushedMessage *b)
{
	return same_table(a, b) && strcmp(a->row, b->row) == 0;
}

/* The changes object of a push. */
static text *
make_changes(OfsPushedMessage **messages, int count)
{
	StringInfoData out;
	int			next;

	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ);
	ofs_put_char(&out, '{');
	for (int i = 0; i < count; i = next)
	{
		bool		opens = i == 0 || !same_table(messages[i - 1], messages[i]);

		for (next = i + 1; next < count && same_row(messages[i], messages[next]);)
			next++;
		if (opens && i > 0)
			ofs_put_literal(&out, "]},");
		if (opens)
			ofs_json_text(&out, messages[i]->table->table->collection);
		appendStringInfoString(&out, opens ? ":{\"updated\":[" : ",");
		append_record(&out, messages + i, next - i);
	}
	ofs_put_literal(&out, "]}}");
	SET_VARSIZE(out.data, out.len);
	return (text *) out.data;
}

/* ---------- what became of them ---------- */

static int
compare_refused(const void *a, const void *b)
{
	const OfsPushRefused *ra = *(const OfsPushRefused *const *) a;
	const OfsPushRefused *rb = *(const OfsPushRefused *const *) b;
	int			result = strcmp(ra->collection, rb->collection);

	return result ? result : strcmp(ra->id ? ra->id : "", rb->id ? rb->id : "");
}

/* Messages of records that were refused. */
static void
mark_refused(OfsPushedMessage **messages, int count, List *list)
{
	OfsPushRefused **refused = palloc(sizeof(OfsPushRefused *) * (list_length(list) + 1));
	int			nrefused = 0;
	ListCell   *lc;

	if (list == NIL)
		return;
	foreach(lc, list)
		refused[nrefused++] = lfirst(lc);
	qsort(refused, nrefused, sizeof(OfsPushRefused *), compare_refused);
	for (int i = 0; i < count; i++)
	{
		OfsPushRefused sought = {messages[i]->table->table->collection, messages[i]->row};
		OfsPushRefused *key = &sought;
		OfsPushRefused **found = bsearch(&key, refused, nrefused, sizeof(OfsPushRefused *), compare_refused);

		if (found == NULL)
			continue;
		messages[i]->code = (*found)->sqlerrcode;
		messages[i]->reason = (*found)->reason;
	}
}

void
ofs_messages_push(OfsPushedMessage *messages, int count, bool whole, const char *name)
{
	OfsPushCall call = {0};
	OfsPushedMessage **sorted;
	int			naccepted;

	ofs_messages_judge(messages, count);
	sorted = sort_accepted(messages, count, &naccepted);
	if (whole && naccepted < count)
		return;
	call.uncounted = true;
	call.on_error = whole ? "abort" : "skip";
	call.dialect = "json";
	if (naccepted > 0)
	{
		call.changes = make_changes(sorted, naccepted);
		mark_refused(sorted, naccepted, ofs_push_store(&call, name)->refused);
	}
	else if (count > 0)
		ofs_count(OFS_COUNT_PUSHES, 1);
	ofs_count(OFS_COUNT_REJECTED, count - naccepted);
}

/* ---------- the answer ---------- */

static void
append_rejected(StringInfo out, const OfsPushedMessage *message)
{
	appendStringInfoString(out, "{\"id\":");
	ofs_json_text(out, message->id);
	appendStringInfo(out, ",\"code\":\"%s\",\"reason\":", unpack_sql_state(message->code));
	ofs_json_text(out, message->reason);
	ofs_put_char(out, '}');
}

static text *
answer(const OfsPushedMessage *messages, int count)
{
	StringInfoData accepted;
	StringInfoData rejected;

	initStringInfo(&accepted);
	initStringInfo(&rejected);
	for (int i = 0; i < count; i++)
	{
		StringInfo	list = messages[i].reason ? &rejected : &accepted;

		if (list->len > 0)
			ofs_put_char(list, ',');
		if (messages[i].reason)
			append_rejected(list, &messages[i]);
		else
			ofs_json_text(list, messages[i].id);
	}
	return cstring_to_text(psprintf("{\"accepted\":[%s],\"rejected\":[%s]}", accepted.data, rejected.data));
}

typedef struct Batch
{
	const text *json;
	OfsPushedMessage *messages;
	int			count;
} Batch;

static void
push(void *arg)
{
	Batch	   *batch = arg;

	batch->messages = ofs_messages_read(VARDATA_ANY(batch->json), VARSIZE_ANY_EXHDR(batch->json), &batch->count);
	ofs_messages_push(batch->messages, batch->count, false, "offsync.push_messages()");
}

/* messages: an array of them */
Datum
offsync_push_messages(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "offsync messages", ALLOCSET_DEFAULT_SIZES);
	Batch		batch;
	text	   *result;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("messages must not be null")));
	MemoryContextSwitchTo(context);
	batch.json = PG_GETARG_TEXT_PP(0);
	ofs_refusal_run(push, &batch, NULL);
	MemoryContextSwitchTo(caller);
	result = answer(batch.messages, batch.count);
	MemoryContextDelete(context);
	PG_RETURN_TEXT_P(result);
}
