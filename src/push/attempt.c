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
 * An attempt whose INSERTs met rows that nobody saw is done again in sets, in case they were
 * another session's of a moment ago (a push sent twice), and then record by record.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "catalog/capture.h"
#include "push/push.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

static void
reset_items(PushItem **items, int nitems)
{
	for (int i = 0; i < nitems; i++)
	{
		PushItem   *item = items[i];

		item->action = PUSH_NONE;
		item->row = item->before = NULL;
		item->version = 0;
		item->version_null = false;
		item->known = item->buried = item->tried = item->written = false;
		item->passed = -1;
	}
}

static void
reset_attempt(Push *push, PushMode mode)
{
	MemoryContextReset(push->run);
	push->mode = mode;
	memset(&push->place, 0, sizeof(PushPlace));
	push->told = push->beaten = push->firing = push->wrote = false;
	push->held = NIL;
	push->nconflicts = 0;
	push->conflicts = makeStringInfo();
	appendStringInfoChar(push->conflicts, '[');
	for (int i = 0; i < push->ntables; i++)
	{
		PushTable  *table = push->tables[i];

		reset_items(table->items, table->nitems);
		reset_items(table->deleted, table->ndeleted);
		table->rowdesc = NULL;
		table->echo = table->forget = false;
	}
	ofs_capture_begin();
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
	if (push->wrote)
		ofs_echo_find(push);
}

/* One attempt: its error, or NULL when it is done for good. */
static ErrorData *
try(Push *push, PushMode mode)
{
	MemoryContext old = MemoryContextSwitchTo(push->run);
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	reset_attempt(push, mode);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(push->run);
	PG_TRY();
	{
		apply(push);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(push->context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = owner;
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

/* Apply the planned push, or raise the error that tells what is wrong with it. */
void
ofs_attempt_push(Push *push)
{
	ErrorData  *error = try(push, PUSH_SETS);

	if (error != NULL && push->beaten)
		error = try(push, PUSH_SETS);
	if (error != NULL && !push->firing && (push->beaten || ofs_refuse_nameless(push, error)))
		error = try(push, PUSH_SINGLY);
	if (error != NULL && push->firing && ofs_refuse_nameless(push, error))
	{
		ErrorData  *again = try(push, PUSH_BACKWARDS);

		if (again == NULL || same_failure(error, again))
			error = again;
		else
			memset(&push->place, 0, sizeof(PushPlace));
	}
	if (error != NULL)
		ofs_refuse_raise(push, error);
}
