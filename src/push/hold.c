/*
 * hold.c
 *		AFTER triggers, held back till all rows of a phase are in place.
 *
 * A payload's records come in any order and may refer to each other: a child before its parent, a
 * row that refers to itself through others.  So all statements of a phase run in one
 * query level of the trigger manager, as if they were one statement, and foreign keys are checked
 * at its end.
 *
 * Subtransactions must not begin inside a level and be rolled back there: the level would keep
 * their events.  An attempt has its subtransaction around all its levels.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "push/push.h"
#include "utils/snapmgr.h"

/* Open a level; whatever fails when it is left is about this item (NULL: about nobody in particular). */
void
ofs_hold_open(Push *push, PushTable *table, PushItem *item)
{
	PushPlace  *place = palloc0(sizeof(PushPlace));

	if (item != NULL)
	{
		place->table = table;
		place->id = item->id;
		place->item = item;
	}
	push->held = lappend(push->held, place);
	AfterTriggerBeginQuery();
}

static void
fire_level(void)
{
	EState	   *estate = CreateExecutorState();

	AfterTriggerEndQuery(estate);
	ExecCloseResultRelations(estate);
	ExecResetTupleTable(estate->es_tupleTable, false);
	FreeExecutorState(estate);
}

/* Leave all levels. */
void
ofs_hold_fire(Push *push)
{
	push->firing = true;
	while (push->held != NIL)
	{
		push->place = *(PushPlace *) llast(push->held);
		push->held = list_delete_last(push->held);
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
		fire_level();
		PopActiveSnapshot();
	}
	memset(&push->place, 0, sizeof(PushPlace));
	push->firing = false;
}

/*
 * Check what is deferred: what the push answers must not be taken back by COMMIT.  The caller's
 * transaction keeps this setting, as it would after its own SET CONSTRAINTS.
 */
void
ofs_hold_settle(Push *push)
{
	MemoryContext old = CurrentMemoryContext;
	ConstraintsSetStmt *all = makeNode(ConstraintsSetStmt);

	push->firing = true;
	CommandCounterIncrement();
	AfterTriggerSetState(all);
	MemoryContextSwitchTo(old);
	push->firing = false;
}
