/*
 * remove.c
 *		Ids under "deleted".
 *
 * A row that isn't there, or that the caller can't see, is deleted as far as the caller is concerned.
 * So is one whose soft_delete column is set.  What was sent with an id may be its server_version: that of the row which
 * is to be deleted.
 */
#include "postgres.h"

#include "base/compat.h"
#include "push/push.h"

/* The row was changed unseen. */
static void
decide_dispute(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls)
{
	switch (ofs_conflict_judge(push, table, item, true))
	{
		case OFS_VERDICT_WRITE:
			item->action = PUSH_DELETE;
			break;
		case OFS_VERDICT_KEEP:
			item->kept = push->kept = true;
			break;
		case OFS_VERDICT_ASK:
			ofs_ask_function(push, table, item, true, values, nulls);
			break;
		case OFS_VERDICT_CONFLICT:
		case OFS_VERDICT_MERGE:
			ofs_conflict_note(push, table, item, "changed");
			break;
	}
}

static void
decide(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls)
{
	item->action = PUSH_NONE;
	item->writes = NULL;
	item->existed = item->row != NULL;
	if (item->row == NULL || item->gone)
		return;
	if (item->passed >= 0 && item->version == push->version)
	{
		/* a trigger turned the deletion into an update: the device gets the row back */
		table->echo = true;
		return;
	}
	if (item->passed == item->version)
		item->action = PUSH_REFUSE;
	else if ((item->has_base && item->base == item->version) || ofs_upsert_covered(push, table, item, item->version))
		item->action = PUSH_DELETE;
	else
		decide_dispute(push, table, item, values, nulls);
}

static void
decide_slice(Push *push, PushTable *table, PushItem **items, int nitems, Datum *values, bool *nulls)
{
	ofs_rows_read(push, table, items, nitems);
	for (int i = 0; i < nitems; i++)
		decide(push, table, items[i], values, nulls);
	ofs_rows_release(push, items, nitems);
}

void
ofs_remove_table(Push *push, PushTable *table)
{
	PushItem  **pending = palloc0_array(PushItem *, table->ndeleted + 1);
	Datum	   *values = palloc0_array(Datum, table->nread);
	bool	   *nulls = palloc0_array(bool, table->nread);
	int			npending = table->ndeleted;

	memcpy(pending, table->deleted, sizeof(PushItem *) * npending);
	for (int round = 0; npending > 0; round++)
	{
		if (round == PUSH_MAX_ROUNDS)
			ofs_refuse_changing(push);
		for (int at = 0; at < npending; at += PUSH_SLICE)
			decide_slice(push, table, pending + at, Min(npending - at, PUSH_SLICE), values, nulls);
		if (push->nconflicts > 0)
			return;
		npending = ofs_group_left(pending, npending);
		npending = ofs_group_write(push, table, pending, npending);
	}
}
