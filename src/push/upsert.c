/*
 * upsert.c
 *		Records that are to be stored.
 *
 * What a record needs is decided here, by comparing it with the row that its caller sees: nothing
 * (its values are there already: no statement, so no trigger of the owner's fires and no version
 * moves), an update of just the columns that differ, or an insert.  The decision holds for
 * the version that was read: the statements write a row only while it still has that version, and
 * those that were passed over are read and decided again.
 *
 * A row with its soft_delete column set counts as deleted.  A record that is written to it brings it
 * back, unless it sets that column itself.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "push/push.h"

/* Has the client seen what this version wrote to the row, or was that itself, now or by an earlier push? */
bool
ofs_upsert_covered(Push *push, const PushTable *table, const PushItem *item, int64 version)
{
	return version == push->version ||
		(!push->based && (ofs_since_covers(push->since, table->table, version) ||
						  ofs_log_wrote(push, table, item, version)));
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

bool
ofs_upsert_is_null(const PushColumn *column, const OfsJsonValue *sent)
{
	return sent->kind == OFS_JSON_NULL ||
		(sent->kind == OFS_JSON_STRING && sent->len == 0 && ofs_codec_empty_is_null(column->codec));
}

/*
 * The columns whose pushed values are not the stored ones, among those that the device changed;
 * unreadable ones count as such.
 */
static Bitmapset *
find_changes(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(push->row);
	Bitmapset  *changes = NULL;

	ofs_rows_deform(table, item->row, values, nulls);
	push->place.table = table;
	push->place.id = item->id;
	push->place.item = item;
	for (int i = 0; i < item->nvalues; i++)
	{
		PushValue  *value = &item->values[i];
		PushColumn *column = &table->columns[value->column];

		if (!column->writable || !value->changed)
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

/* The columns of a new row: NULL for a column that may not be NULL means its default. */
static Bitmapset *
find_present(const PushTable *table, const PushItem *item)
{
	Bitmapset  *present = NULL;

	for (int i = 0; i < item->nvalues; i++)
	{
		const PushValue *value = &item->values[i];
		const PushColumn *column = &table->columns[value->column];

		if (column->writable && !(column->defaults && ofs_upsert_is_null(column, value->sent)))
			present = bms_add_member(present, value->column);
	}
	return present;
}

/* ---------- what is to be written ---------- */

/* The values as they were sent.  They are the item's own until one of them is changed. */
void
ofs_upsert_final(PushItem *item)
{
	item->final = item->values;
	item->nfinal = item->nvalues;
}

/* The value to be written to a column, added where the record doesn't carry it. */
PushValue *
ofs_upsert_value(const PushTable *table, PushItem *item, int column)
{
	int			at = 0;

	if (item->final == item->values)
	{
		item->final = palloc0_array(PushValue, item->nvalues + table->ncolumns);
		if (item->nvalues > 0)
			memcpy(item->final, item->values, sizeof(PushValue) * item->nvalues);
	}

	while (at < item->nfinal && item->final[at].column < column)
		at++;
	if (at == item->nfinal || item->final[at].column != column)
	{
		memmove(&item->final[at + 1], &item->final[at], sizeof(PushValue) * (item->nfinal++ - at));
		memset(&item->final[at], 0, sizeof(PushValue));
		item->final[at].column = column;
	}
	return &item->final[at];
}

/* Does the record itself say that its row is deleted? */
static bool
sets_gone(const PushTable *table, const PushItem *item)
{
	for (int i = 0; table->soft >= 0 && i < item->nvalues; i++)
	{
		if (item->values[i].column == table->soft)
			return !ofs_upsert_is_null(&table->columns[table->soft], item->values[i].sent);
	}
	return false;
}

/* The row comes back, whether the record carries the column or not. */
static void
bring_back(PushTable *table, PushItem *item)
{
	PushValue  *value;

	if (table->soft < 0 || !table->columns[table->soft].writable)
		return;
	value = ofs_upsert_value(table, item, table->soft);
	value->ready = true;
	value->isnull = true;
	item->writes = bms_add_member(item->writes, table->soft);
}

/* ---------- decisions ---------- */

/* The server's side wins; the answer and the next pull say what it is. */
static void
keep(Push *push, PushItem *item)
{
	item->action = PUSH_NONE;
	item->writes = NULL;
	item->kept = push->kept = true;
}

static void
decide_new(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls)
{
	bool		disputed = push->based ? item->base != 0 : item->buried || item->expired;
	OfsVerdict	verdict = disputed ? ofs_conflict_judge(push, table, item, false) : OFS_VERDICT_WRITE;

	/* nobody knows whether there was a deletion that could win: a pull tells */
	if (item->expired && verdict != OFS_VERDICT_WRITE)
		verdict = OFS_VERDICT_CONFLICT;
	item->existed = false;
	item->action = PUSH_NONE;
	ofs_upsert_final(item);
	/* made and deleted where nobody else has seen it, or deleted everywhere */
	if (item->ends && (item->clocks == NULL || item->nvalues == 0))
		return;
	switch (verdict)
	{
		case OFS_VERDICT_CONFLICT:
		case OFS_VERDICT_MERGE:
			ofs_conflict_note(push, table, item, item->expired ? "expired" : "deleted");
			break;
		case OFS_VERDICT_KEEP:
			keep(push, item);
			break;
		case OFS_VERDICT_ASK:
			ofs_ask_function(push, table, item, false, values, nulls);
			break;
		case OFS_VERDICT_WRITE:
			item->writes = find_present(table, item);
			item->action = PUSH_INSERT;
			if (item->ends)
				ofs_fields_end_new(table, item);
			break;
	}
	if (item->action == PUSH_INSERT && (item->tried || table->deferrable))
		item->action = PUSH_INSERT_PLAIN;
}

/* Neither side knew of the other's change. */
static void
decide_dispute(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls)
{
	/* deleted on both sides; whoever names a base looks at the row again */
	if (item->gone && sets_gone(table, item) && !push->based)
	{
		keep(push, item);
		return;
	}
	switch (ofs_conflict_judge(push, table, item, false))
	{
		case OFS_VERDICT_WRITE:
			item->action = PUSH_UPDATE;
			break;
		case OFS_VERDICT_KEEP:
			if (!ofs_clock_resend(push, table, item))
				keep(push, item);
			break;
		case OFS_VERDICT_MERGE:
			if (!ofs_merge_item(push, table, item, values, nulls))
				ofs_conflict_note(push, table, item, "changed");
			else if (item->writes != NULL)
				item->action = PUSH_UPDATE;
			else
				keep(push, item);
			break;
		case OFS_VERDICT_ASK:
			ofs_ask_function(push, table, item, false, values, nulls);
			break;
		case OFS_VERDICT_CONFLICT:
			ofs_conflict_note(push, table, item, item->gone ? "deleted" : "changed");
			break;
	}
}

/* Is it for the push to say what becomes of a row that was changed unseen, and not for the clocks of its fields? */
static bool
is_stale(Push *push, const PushTable *table, const PushItem *item)
{
	return (push->based || push->strategy) && item->writes != NULL &&
		!(item->has_base && item->base == item->version) && !ofs_upsert_covered(push, table, item, item->version);
}

static void
decide_existing(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls)
{
	bool		is_base = item->has_base && item->base == item->version;

	item->existed = true;
	/* whoever was told that it is gone has nothing of it */
	item->known = !item->gone && (is_base || is_known(push, table, item->version));
	item->action = PUSH_NONE;
	item->writes = find_changes(push, table, item, values, nulls);
	ofs_upsert_final(item);
	if (table->strategy->needs_clocks)
	{
		if (item->gone && !sets_gone(table, item) && ofs_fields_brings_back(push, table, item))
			bring_back(table, item);
		if (is_stale(push, table, item))
			decide_dispute(push, table, item, values, nulls);
		else
			ofs_fields_decide(push, table, item, values, nulls);
		return;
	}
	if (item->ends)
	{
		ofs_clock_decide(push, table, item, values, nulls);
		return;
	}
	if (item->gone && !sets_gone(table, item))
		bring_back(table, item);
	if (item->writes == NULL)
		return;
	if (item->passed == item->version)
		item->action = PUSH_REFUSE;
	else if (is_base || ofs_upsert_covered(push, table, item, item->version))
		item->action = PUSH_UPDATE;
	else
		decide_dispute(push, table, item, values, nulls);
}

/*
 * Is the row hoped not to be there?  Where it is, its INSERT fails the attempt, which is made again without hope.
 * An owner's trigger that fires before that could leave traces.  Devices that go by the clock send what they
 * have sent before as a rule.
 */
static bool
is_hoped_new(const Push *push, const PushTable *table, const PushItem *item)
{
	return push->hopeful && table->quiet && item->created && !item->buried && push->clock == NULL;
}

/* Read the rows, unless they are hoped not to be there, and the tombstones of those that aren't. */
static void
find_rows(Push *push, PushTable *table, PushItem **items, int nitems)
{
	PushItem  **some = palloc0_array(PushItem *, nitems);
	int			n = 0;

	if (!table->readable)
		return;					/* a caller who may only insert */
	for (int i = 0; i < nitems; i++)
	{
		if (is_hoped_new(push, table, items[i]))
			push->guessed = true;
		else
			some[n++] = items[i];
	}
	ofs_rows_read(push, table, some, n);
	n = 0;
	for (int i = 0; i < nitems; i++)
	{
		if (items[i]->row == NULL)
			some[n++] = items[i];
	}
	ofs_rows_find_buried(push, table, some, n);
	ofs_log_expire(push, table, some, n);
	if (push->hopeful && table->quiet)
	{
		/* one that was deleted may have come back */
		n = 0;
		for (int i = 0; i < nitems; i++)
		{
			if (items[i]->row == NULL && items[i]->created && items[i]->buried)
				some[n++] = items[i];
		}
		ofs_rows_read(push, table, some, n);
	}
	pfree(some);
}

/* Does the device have columns of the row, as it was, that the record doesn't carry? */
static bool
has_more(const PushTable *table, const PushItem *item)
{
	int			sent = 0;

	for (int i = 0; item->known && i < item->nvalues; i++)
	{
		if (ofs_columns_compared(&table->columns[item->values[i].column]))
			sent++;
	}
	return item->known && sent < table->nsendable;
}

/* Compare records with their rows, which are not held any longer than that. */
static void
decide_slice(Push *push, PushTable *table, PushItem **items, int nitems, Datum *values, bool *nulls)
{
	find_rows(push, table, items, nitems);
	for (int i = 0; i < nitems; i++)
	{
		PushItem   *item = items[i];

		if (item->row == NULL)
			decide_new(push, table, item, values, nulls);
		else
			decide_existing(push, table, item, values, nulls);
		item->before = item->existed && has_more(table, item) ? heap_copytuple(item->row) : NULL;
	}
	ofs_rows_release(push, items, nitems);
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
		for (int at = 0; at < npending; at += PUSH_SLICE)
			decide_slice(push, table, pending + at, Min(npending - at, PUSH_SLICE), values, nulls);
		if (push->nconflicts > 0)
			return;
		npending = ofs_group_left(pending, npending);
		npending = ofs_group_write(push, table, pending, npending);
	}
}
