/*
 * echo.c
 *		Which collections the next pull must send although the push's cursor has seen the push.
 *
 * The cursor that a push answers says "and this transaction, too".  That is true of the rows that
 * are stored as they were sent.  A collection is echoed where anything else was written: a default
 * filled in, a value changed by a trigger or a rounding, a row that the push wasn't sent at all.
 * So the rows are compared with what the device has: the sent values, and for the rest what was there
 * before.  Most are by the time they are written (watch.c); the others are read once more, at the
 * very end.
 *
 * Two things leave nothing that a pull of changes could send: a new row that is out of its sender's sight
 * at once (it has no tombstone), and a change that a trigger undid (no version moved).  Then the
 * cursor forgets the collection, and the next pull replaces it.
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/capture.h"
#include "push/known.h"
#include "utils/datum.h"

static bool
is_stored(const PushColumn *column, const PushValue *value, Datum stored, bool isnull)
{
	if (!value->ready)
		return ofs_codec_same(column->codec, value->sent, stored, isnull);
	if (value->isnull || isnull)
		return value->isnull && isnull;
	return datum_image_eq(value->datum, stored, column->typbyval, column->typlen);
}

/* Is a value that was written not stored?  Of a column that the caller may not read that can't be known. */
static bool
is_undone(const PushTable *table, const PushItem *item, PushRowValues *after)
{
	ofs_rows_deform(table, item->row, after->values, after->nulls);
	for (int i = 0; i < item->nfinal; i++)
	{
		const PushValue *value = &item->final[i];
		const PushColumn *column = &table->columns[value->column];

		if (bms_is_member(value->column, item->writes) && column->position >= 0 &&
			!is_stored(column, value, after->values[column->position], after->nulls[column->position]))
			return true;
	}
	return false;
}

/* A trigger undid what was written.  A number can't forget: its device must be told now. */
static void
note_undone(Push *push, PushTable *table, PushItem *item)
{
	if (push->since->kind == OFS_SINCE_NUMBER && ofs_table_trouble(table->table) == NULL)
	{
		if (!push->skip)
			ofs_refuse_record(push, table, item);
		/* nothing of it is stored */
		ofs_skip_refuse(push, item, ERRCODE_INSUFFICIENT_PRIVILEGE,
						_("The server stored nothing of what was sent."));
		table->refused[table->nrefused++] = item;
	}
	table->forget = true;
}

/* Compare one record's row with what the device has of it. */
static bool
item_is_known(Push *push, PushTable *table, PushItem *item, PushRowValues *before, PushRowValues *after)
{
	MemoryContext old;
	bool		known;

	if (item->row == NULL)
		return false;
	old = MemoryContextSwitchTo(push->row);
	if (item->version != push->version)
	{
		/* not this transaction's: the next pull decides by itself */
		if (item->written && is_undone(table, item, after))
			note_undone(push, table, item);
		known = true;
	}
	else
	{
		ofs_rows_deform(table, item->row, after->values, after->nulls);
		known = !item->gone && ofs_known_row(table, item, before, after);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(push->row);
	return known;
}

/* New rows that the caller can't see: does a tombstone of this transaction tell the device? */
static void
note_vanished(Push *push, PushTable *table, PushItem **items, int nitems)
{
	PushItem  **vanished = palloc0_array(PushItem *, nitems);
	int			nvanished = 0;

	for (int i = 0; i < nitems; i++)
	{
		PushItem   *item = items[i];

		if (item->row == NULL && !item->existed && !item->kept)
			vanished[nvanished++] = item;
	}
	ofs_rows_find_buried(push, table, vanished, nvanished);
	for (int i = 0; i < nvanished; i++)
	{
		if (!vanished[i]->buried_now)
			table->forget = true;
	}
	pfree(vanished);
}

/* Read the rows of which it isn't known yet, and compare them. */
static void
compare_stored(Push *push, PushTable *table)
{
	PushRowValues before;
	PushRowValues after;
	PushItem  **open;
	int			nopen;

	if (table->nitems == 0 || !table->readable)
		return;
	open = ofs_watch_open(push, table, &nopen);
	if (nopen == 0)
		return;
	ofs_known_init(&before, table->nread);
	ofs_known_init(&after, table->nread);
	ofs_rows_read(push, table, open, nopen);
	for (int i = 0; i < nopen; i++)
	{
		PushItem   *item = open[i];

		/* a row that was kept isn't this push's: the next pull sends it in any case */
		if (item->kept)
			item->differs = true;
		else if (!item_is_known(push, table, item, &before, &after))
			table->echo = item->differs = true;
	}
	note_vanished(push, table, open, nopen);
}

/* Deleted rows must be gone, unless the server's side won. */
static void
compare_deleted(Push *push, PushTable *table)
{
	if (table->ndeleted == 0)
		return;
	ofs_rows_read(push, table, table->deleted, table->ndeleted);
	for (int i = 0; i < table->ndeleted; i++)
	{
		PushItem   *item = table->deleted[i];

		if (item->row == NULL || item->gone)
			continue;
		item->differs = true;
		if (!item->kept)
			table->echo = true;
	}
}

/* A row that was stamped or buried: was it sent? */
static void
visit_written(const OfsWritten *written, void *arg)
{
	Push	   *push = arg;
	const PushItem *item = written->known;

	if (item != NULL && item->refusal == NULL)
		return;
	for (int i = 0; i < push->ntables; i++)
	{
		if (push->tables[i]->table->relid != written->relid)
			continue;
		push->tables[i]->echo = true;
		return;
	}
	push->strangers = list_append_unique_oid(push->strangers, written->relid);
}

void
ofs_echo_find(Push *push)
{
	push->strangers = NIL;
	for (int i = 0; i < push->ntables; i++)
	{
		compare_stored(push, push->tables[i]);
		compare_deleted(push, push->tables[i]);
	}
	ofs_capture_visit(visit_written, push);
}

/* The collections as a list of OfsTable. */
List *
ofs_echo_list(const Push *push)
{
	List	   *echo = NIL;
	ListCell   *cell;

	for (int i = 0; i < push->ntables; i++)
	{
		if (push->tables[i]->echo)
			echo = lappend(echo, push->tables[i]->table);
	}
	foreach(cell, push->strangers)
	{
		OfsTable   *table = ofs_table_find(lfirst_oid(cell));

		if (table != NULL)
			echo = lappend(echo, table);
	}
	return echo;
}
