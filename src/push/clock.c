/*
 * clock.c
 *		Pushes of devices that tell nothing but the time of their clock.
 *
 * Such a device can't say which changes of others it has seen, and a time is no evidence of it: it is in nobody's
 * snapshot, and clocks are ahead.  So every record that differs from its row is in dispute, and under last_write_wins what
 * the devices wrote into updated_at decides, as it does on the devices themselves.  For that a deletion needs a time as
 * well.  It is the latest that its device has given: updated_at and the soft_delete column of what stands under
 * "deleted", or of the record under "created" or "updated" that comes with it; and else the time of the push.  (The device has
 * pulled just before, and would not hold the record as deleted had a later change come.)
 *
 * A soft deletion is the update of a row like any other here, so that what its record carries is stored with it.  But
 * the soft_delete column itself is the server's: it gets the time of the transaction, whatever was sent.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/isotime.h"
#include "push/push.h"

/* What was sent as a time, in the unit of updated_at. */
static void
take_time(Push *push, PushTable *table, PushItem *item, int number, const OfsJsonValue *sent)
{
	const PushColumn *column = &table->columns[number];
	PushPlace	outer = push->place;
	bool		isnull;
	int64		stamp;

	if (table->stamp < 0)
		return;
	push->place.table = table;
	push->place.id = item->id;
	push->place.item = item;
	push->place.column = column->wire;
	stamp = DatumGetInt64(ofs_codec_read(column->codec, sent, &isnull));
	push->place = outer;
	if (isnull)
		return;
	if (number == table->stamp)
		item->dated = Max(item->dated, stamp);
	else
		stamp = ofs_conflict_stamp(&table->columns[table->stamp], stamp);
	item->ended = Max(item->ended, stamp);
}

/* Of what else the push says of an item that it deletes. */
void
ofs_clock_take_stamps(Push *push, PushTable *table, PushItem *item, const OfsPushRecord *record)
{
	if (push->clock == NULL || table->stamp < 0)
		return;
	for (int i = 0; i < record->nfields; i++)
	{
		if (strcmp(record->fields[i].name, table->columns[table->stamp].wire) == 0)
			take_time(push, table, item, table->stamp, &record->fields[i].value);
	}
}

/* Take the soft_delete column out of a record: all that it says is whether, and when. */
void
ofs_clock_take_end(Push *push, PushTable *table, PushItem *item)
{
	int			left = 0;

	for (int i = 0; i < item->nvalues; i++)
	{
		PushValue  *value = &item->values[i];

		if (value->column == table->stamp || value->column == table->soft)
			take_time(push, table, item, value->column, value->sent);
		if (value->column != table->soft)
			item->values[left++] = *value;
		else if (!ofs_upsert_is_null(&table->columns[table->soft], value->sent))
			item->ends = true;
	}
	item->nvalues = left;
}

/* When the device deleted the item, in the unit of updated_at. */
int64
ofs_clock_ended(const Push *push, const PushTable *table, const PushItem *item)
{
	return item->ended != PUSH_NO_TIME ? item->ended :
		ofs_conflict_stamp(&table->columns[table->stamp], push->clock->now);
}

static void
write_time(PushTable *table, PushItem *item, int column, Datum time)
{
	PushValue  *value = ofs_upsert_value(table, item, column);

	value->ready = true;
	value->isnull = false;
	value->datum = time;
	item->writes = bms_add_member(item->writes, column);
	item->action = PUSH_UPDATE;
}

/* Has the device been past the row as it is stored, so that no pull brings it any more? */
static bool
is_past(Push *push, const PushTable *table, const PushItem *item)
{
	MemoryContext old;

	if (push->resumes == NULL)
	{
		old = MemoryContextSwitchTo(push->context);
		push->resumes = ofs_since_parse(ofs_iso_instant(push->clock->next));
		MemoryContextSwitchTo(old);
	}
	return ofs_since_covers(push->resumes, table->table, item->version);
}

/*
 * A record has lost to its row, which is later.  Where its device has had that row, and yet dated its own change earlier (its
 * clock is behind that of whoever wrote the row), no pull would bring the row once more.  So it is dated a little later.
 */
bool
ofs_clock_resend(Push *push, PushTable *table, PushItem *item)
{
	const PushColumn *column;
	Datum		stored,
				later;
	bool		isnull;

	if (push->clock == NULL || table->stamp < 0)
		return false;
	column = &table->columns[table->stamp];
	stored = heap_getattr(item->row, PUSH_ROW_STAMP, table->rowdesc, &isnull);
	if (isnull || !ofs_stamp_later(column->typid, column->typmod, stored, false, 0, &later) ||
		(item->ends ? ofs_clock_ended(push, table, item) : item->dated) >= DatumGetInt64(stored) ||
		!is_past(push, table, item))
		return false;
	ofs_upsert_final(item);
	item->writes = NULL;
	write_time(table, item, table->stamp, later);
	return true;
}

/* Is what a deletion brings along older than what is stored? */
static bool
is_outdated(const PushTable *table, const PushItem *item, const Datum *values, const bool *nulls)
{
	int			position = table->stamp < 0 ? -1 : table->columns[table->stamp].position;

	return position >= 0 && !nulls[position] && item->dated < DatumGetInt64(values[position]);
}

/* The row is deleted, now, and gets the rest of the record with that. */
static void
end_row(PushTable *table, PushItem *item, const Datum *values, const bool *nulls)
{
	const PushColumn *column = &table->columns[table->soft];
	Datum		now;

	if (is_outdated(table, item, values, nulls))
		item->writes = NULL;
	(void) ofs_stamp_later(column->typid, column->typmod, (Datum) 0, true, GetCurrentTransactionStartTimestamp(), &now);
	write_time(table, item, table->soft, now);
}

/* A record that ends its row, which is there: the columns that differ are item->writes. */
void
ofs_clock_decide(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls)
{
	bool		is_base = item->has_base && item->base == item->version;
	OfsVerdict	verdict = OFS_VERDICT_WRITE;

	if (item->gone)
	{
		item->writes = NULL;
		return;
	}
	if (item->passed == item->version)
	{
		item->action = PUSH_REFUSE;
		return;
	}
	if (!is_base && !ofs_upsert_covered(push, table, item, item->version))
		verdict = ofs_conflict_judge(push, table, item, true);
	switch (verdict)
	{
		case OFS_VERDICT_WRITE:
			end_row(table, item, values, nulls);
			break;
		case OFS_VERDICT_KEEP:
			if (ofs_clock_resend(push, table, item))
				break;
			item->writes = NULL;
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
