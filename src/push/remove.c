/*
 * remove.c
 *		Ids under "deleted".
 *
 * A row that isn't there, or that the caller can't see, is deleted as far as the caller is concerned.
 */
#include "postgres.h"

#include "base/compat.h"
#include "push/push.h"

static void
decide(Push *push, PushTable *table, PushItem *item)
{
	item->action = PUSH_NONE;
	item->before = item->row;
	if (item->row == NULL)
		return;
	if (item->passed >= 0 && item->version == push->version)
	{
		/* a trigger turned the deletion into an update: the device gets the row back */
		table->echo = true;
		return;
	}
	if (item->passed == item->version)
		item->action = PUSH_REFUSE;
	else if (ofs_upsert_covered(push, table, item->version) || ofs_conflict_yields(table))
		item->action = PUSH_DELETE;
	else
		ofs_conflict_note(push, table, item, "changed");
}

void
ofs_remove_table(Push *push, PushTable *table)
{
	PushItem  **pending = palloc0_array(PushItem *, table->ndeleted + 1);
	int			npending = table->ndeleted;

	memcpy(pending, table->deleted, sizeof(PushItem *) * npending);
	for (int round = 0; npending > 0; round++)
	{
		if (round == PUSH_MAX_ROUNDS)
			ofs_refuse_changing(push);
		ofs_rows_read(push, table, pending, npending);
		for (int i = 0; i < npending; i++)
			decide(push, table, pending[i]);
		if (push->nconflicts > 0)
			return;
		npending = ofs_group_left(pending, npending);
		npending = ofs_group_write(push, table, pending, npending);
	}
}
