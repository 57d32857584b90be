/*
 * attempt.c
 *		A push is tried in sets, and looked into when that fails.
 *
 * Everything that an attempt does stands in one subtransaction.  The first attempt writes in sets.
 * Where it fails with an error that can't be pinned on a record, it is undone and done again record
 * by record, which is slow and names the first that fails.  Where it was an AFTER trigger or a
 * foreign key that failed, which happens when all rows are in place, a last attempt goes
 * backwards with a trigger level per record (group.c).
 *
 * The first attempt is hopeful: rows of new records aren't looked for, neither before they are inserted nor then.
 * Whatever error it fails with may come of that.  An attempt whose INSERTs met rows that nobody saw is done again in sets, in case they were
 * another session's of a moment ago (a push sent twice), and then record by record.
 *
 * Where bad records are to be skipped, skip.c makes attempts of its own.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/trial.h"
#include "catalog/capture.h"
#include "push/push.h"
#include "utils/memutils.h"

static void
reset_items(PushItem **items, int nitems)
{
	for (int i = 0; i < nitems; i++)
	{
		PushItem   *item = items[i];

		item->action = PUSH_NONE;
		item->writes = NULL;
		item->final = NULL;
		item->nfinal = 0;
		item->row = item->before = NULL;
		item->existed = false;
		item->gone = item->kept = item->differs = item->touch = false;
		item->version = 0;
		item->version_null = false;
		item->located = item->missed = false;
		item->known = item->buried = item->tried = item->written = item->as_sent = false;
		item->nshown = 0;
		item->passed = -1;
	}
}

static void
reset_tables(Push *push)
{
	for (int i = 0; i < push->ntables; i++)
	{
		PushTable  *table = push->tables[i];

		reset_items(table->items, table->nitems);
		reset_items(table->deleted, table->ndeleted);
		table->echo = table->forget = false;
	}
}

static void
reset_attempt(Push *push, PushMode mode)
{
	/* what was attempted successfully is still needed where more follows */
	if (push->skip)
		push->run = AllocSetContextCreate(push->context, "offsync push attempt", ALLOCSET_DEFAULT_SIZES);
	else
		MemoryContextReset(push->run);
	MemoryContextSwitchTo(push->run);
	push->mode = mode;
	memset(&push->place, 0, sizeof(PushPlace));
	push->reading = push->writing = push->hoping = push->guessed = push->told = push->beaten = push->firing = push->wrote = push->kept = false;
	push->held = push->read = NIL;
	push->nconflicts = 0;
	push->conflicts = makeStringInfo();
	appendStringInfoChar(push->conflicts, '[');
	reset_tables(push);
	if (!push->skip)
		ofs_capture_begin(ofs_watch_row, push->clock ? ofs_watch_differs : NULL, ofs_fields_give, push);
}

/* Compare what is stored with what was sent, and tell the client of the difference. */
static void
report(Push *push)
{
	StringInfoData changes;
	StringInfoData refused;
	MemoryContext old;

	/* by the clock the next pull goes back behind this push, and nothing is told before */
	if ((push->wrote || push->kept) && push->clock == NULL)
		ofs_echo_find(push);
	old = MemoryContextSwitchTo(push->context);
	initStringInfo(&changes);
	initStringInfo(&refused);
	MemoryContextSwitchTo(old);
	ofs_report_changes(&changes, push);
	ofs_report_refused(&refused, push);
	push->changes = changes.len > 0 ? changes.data : NULL;
	push->report = refused.data;
}

/* Parents first for what is stored, children first for what is deleted. */
static void
apply(Push *push)
{
	if (push->mode == PUSH_BACKWARDS)
		ofs_hold_settle(push);
	ofs_hold_open(push, NULL, NULL);
	for (int i = 0; i < push->ntables; i++)
		ofs_upsert_table(push, push->tables[i]);
	if (push->nconflicts == 0)
	{
		ofs_hold_fire(push);
		ofs_hold_open(push, NULL, NULL);
	}
	for (int i = push->ntables - 1; i >= 0; i--)
		ofs_remove_table(push, push->tables[i]);
	ofs_conflict_raise(push);
	ofs_hold_fire(push);
	ofs_hold_settle(push);
	if (!push->skip)
		report(push);
}

static void
attempt(void *arg)
{
	Push	   *push = arg;

	MemoryContextSwitchTo(push->run);
	apply(push);
}

/* One attempt: its error, or NULL when it is done for good. */
ErrorData *
ofs_attempt_try(Push *push, PushMode mode)
{
	MemoryContext old = CurrentMemoryContext;
	ErrorData  *error;

	reset_attempt(push, mode);
	/* the error outlives the attempt, and nobody goes on in its memory */
	MemoryContextSwitchTo(push->context);
	error = ofs_trial_run(attempt, push);
	if (error != NULL && push->skip)
	{
		/* other attempts may write their rows, too */
		reset_tables(push);
		push->writing = false;
		push->held = push->read = NIL;
		MemoryContextDelete(push->run);
	}
	MemoryContextSwitchTo(old);
	ofs_rows_unregister();
	return error;
}

static bool
same_failure(const ErrorData *a, const ErrorData *b)
{
	return a->sqlerrcode == b->sqlerrcode &&
		(a->constraint_name == NULL) == (b->constraint_name == NULL) &&
		(a->constraint_name == NULL || strcmp(a->constraint_name, b->constraint_name) == 0);
}

/* Did rows stand in the way that were not to be seen, of the same key or otherwise? */
static bool
is_beaten(const Push *push, const ErrorData *error)
{
	return push->beaten ||
		(push->hoping && (error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION ||
						  error->sqlerrcode == ERRCODE_EXCLUSION_VIOLATION));
}

/* Sets are not in the push's order: one that can't be read may not be the first. */
static bool
has_several(const Push *push)
{
	int			nitems = 0;

	for (int i = 0; i < push->ntables; i++)
		nitems += push->tables[i]->nitems;
	return nitems > 1;
}

/* Apply the planned push, or raise the error that tells what is wrong with it. */
void
ofs_attempt_push(Push *push)
{
	ErrorData  *error;

	if (push->skip)
	{
		ofs_skip_push(push);
		push->run = AllocSetContextCreate(push->context, "offsync push report", ALLOCSET_DEFAULT_SIZES);
		MemoryContextSwitchTo(push->run);
		report(push);
		return;
	}
	push->hopeful = true;
	error = ofs_attempt_try(push, PUSH_SETS);
	push->hopeful = false;
	if (error != NULL && (is_beaten(push, error) || (push->guessed && !push->reading && ofs_trial_bears(error))))
		error = ofs_attempt_try(push, PUSH_SETS);
	if (error != NULL && !push->firing &&
		(push->beaten || (push->reading && has_several(push)) || ofs_refuse_nameless(push, error)))
		error = ofs_attempt_try(push, PUSH_SINGLY);
	if (error != NULL && push->firing && ofs_refuse_nameless(push, error))
	{
		ErrorData  *again = ofs_attempt_try(push, PUSH_BACKWARDS);

		if (again == NULL || same_failure(error, again))
			error = again;
		else
			memset(&push->place, 0, sizeof(PushPlace));
	}
	if (error != NULL)
		ofs_refuse_raise(push, error);
}
