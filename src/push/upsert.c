/*
 * upsert.c
 *		Records that are to be stored.
 *
 * What a record needs is decided here, by comparing it with the row that its caller sees: nothing
 * (its values are there already: no statement, so no trigger of the owner's fires and no version
 * moves), an update of just the columns that differ, or an insert.  The decision holds for
 * the version that was read: the statements write a row only while it still has that version, and
 * those that were passed over are read and decided again.
 */
#include "postgres.h"

#include "base/compat.h"
#include "push/push.h"

/* Has the client seen this version, or did this very transaction write it? */
bool
ofs_upsert_covered(const Push *push, const PushTable *table, int64 version)
{
	return version == push->version || ofs_since_covers(push->since, table->table, version);
}

/*
 * Does the device have rows of this version as they are?  Not those of its own pushes that the
 * server stored differently, until they have come with a pull.
 */
static bool
is_known(const Push *push, const PushTable *table, int64 version)
{
	for (int i = 0; i < table->nown; i++)
	{
		if (table->own[i] == version)
			return true;
	}
	return ofs_since_sees(push->since, version);
}

/* The columns whose pushed values are not the stored ones; unreadable ones count as such. */
static Bitmapset *
find_changes(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(push->row);
	Bitmapset  *changes = NULL;

	ofs_rows_deform(table, item->row, values, nulls);
	push->place.table = table;
	push->place.id = item->id;
	for (int i = 0; i < item->nvalues; i++)
	{
		PushValue  *value = &item->values[i];
		PushColumn *column = &table->columns[value->column];

		if (!column->writable)
			continue;
		push->place.column = column->wire;
		if (column->position < 0 ||
			!ofs_codec_same(column->codec, value->sent, values[column->position], nulls[column->position]))
			changes = bms_add_member(changes, value->column);
	}
	memset(&push->place, 0, sizeof(PushPlace));
	MemoryContextSwitchTo(old);
	changes = bms_copy(changes);
	MemoryContextReset(push->row);
	return changes;
}

static bool
stands_for_null(const PushColumn *column, const OfsJsonValue *sent)
{
	return sent->kind == OFS_JSON_NULL ||
		(sent->kind == OFS_JSON_STRING && sent->len == 0 && ofs_codec_empty_is_null(column->codec));
}

/* The columns of a new row: NULL for a column that may not be NULL means its default. */
static Bitmapset *
find_present(const PushTable *table, const PushItem *item)
{
	Bitmapset  *present = NULL;

	for (int i = 0; i < item->nvalues; i++)
	{
		const PushValue *value = &item->values[i];
		const PushColumn *column = &table->columns[value->column];

		if (column->writable && !(column->defaults && stands_for_null(column, value->sent)))
			present = bms_add_member(present, value->column);
	}
	return present;
}

static void
decide_new(Push *push, PushTable *table, PushItem *item)
{
	if (item->buried && !ofs_conflict_yields(table))
	{
		ofs_conflict_note(push, table, item, "deleted");
		item->action = PUSH_NONE;
		return;
	}
	item->action = item->tried || table->deferrable ? PUSH_INSERT_PLAIN : PUSH_INSERT;
	item->writes = find_present(table, item);
	item->before = NULL;
}

static void
decide_existing(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls)
{
	bool		is_base = item->has_base && item->base == item->version;

	item->before = item->row;
	item->known = is_base || is_known(push, table, item->version);
	item->writes = find_changes(push, table, item, values, nulls);
	item->action = PUSH_NONE;
	if (item->writes == NULL)
		return;
	if (item->passed == item->version)
		item->action = PUSH_REFUSE;
	else if (is_base || ofs_upsert_covered(push, table, item->version) || ofs_conflict_yields(table))
		item->action = PUSH_UPDATE;
	else
		ofs_conflict_note(push, table, item, "changed");
}

/* Read the rows, and the tombstones of those that aren't there. */
static void
find_rows(Push *push, PushTable *table, PushItem **items, int nitems)
{
	PushItem  **missing = palloc0_array(PushItem *, nitems);
	int			nmissing = 0;

	if (!table->readable)
		return;					/* a caller who may only insert */
	ofs_rows_read(push, table, items, nitems);
	for (int i = 0; i < nitems; i++)
	{
		if (items[i]->row == NULL)
			missing[nmissing++] = items[i];
	}
	ofs_rows_find_buried(push, table, missing, nmissing);
	pfree(missing);
}

/* Store the table's records; conflicts are noted, and then nothing more is written. */
void
ofs_upsert_table(Push *push, PushTable *table)
{
	PushItem  **pending = palloc0_array(PushItem *, table->nitems + 1);
	Datum	   *values = palloc0_array(Datum, table->nread);
	bool	   *nulls = palloc0_array(bool, table->nread);
	int			npending = table->nitems;

	memcpy(pending, table->items, sizeof(PushItem *) * npending);
	for (int round = 0; npending > 0; round++)
	{
		if (round == PUSH_MAX_ROUNDS)
			ofs_refuse_changing(push);
		find_rows(push, table, pending, npending);
		for (int i = 0; i < npending; i++)
		{
			if (pending[i]->row == NULL)
				decide_new(push, table, pending[i]);
			else
				decide_existing(push, table, pending[i], values, nulls);
		}
		if (push->nconflicts > 0)
			return;
		npending = ofs_group_left(pending, npending);
		npending = ofs_group_write(push, table, pending, npending);
	}
}
