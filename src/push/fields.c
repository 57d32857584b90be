/*
 * fields.c
 *		Records of tables whose fields have clocks: the later write of each field wins, whoever has seen what.
 *
 * A record may carry "_clock", the hybrid logical clock of all it carries, and "_clocks", an object with those of single
 * columns, which count before it.  A field that has one is written where it is later than that of the row's field
 * (catalog/clocks.h), also where the value is the same: or what was written in between, and comes later, would win.  So records lead to the
 * same rows in whatever order they come, and however often.
 *
 * A field without a clock, of a device that has none, is written now, by the server's.  As against other strategies it is the
 * device's change that wins where both sides changed a field: it comes later.
 *
 * The soft_delete column is a field like the others: a row that is deleted takes writes of its other fields, and an
 * object under "deleted" that carries "_clock" is a write of this one.  A deletion without a clock comes now.  Of a row that is
 * gone for good nothing is left to compare, and the deletion wins.
 *
 * Where a record's field is older than the row's, its device must be told.  The next pull does so unless the device has had this row already,
 * and yet dated its own change earlier: then the row is touched, so that it comes once more.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/isotime.h"
#include "base/jsonsplit.h"
#include "base/settings.h"
#include "catalog/clocks.h"
#include "push/push.h"
#include "utils/datum.h"
#include "utils/timestamp.h"

/* What a record says. */
struct PushStamps
{
	const OfsHlc *all;			/* NULL: nothing */
	int			nfields;
	OfsFieldClock *fields;		/* by names on the wire */
};

/* ---------- what was sent ---------- */

static int64
wall(Push *push)
{
	if (push->wall == 0)
		push->wall = ofs_clocks_wall(GetCurrentTimestamp());
	return push->wall;
}

static void
read_clock(Push *push, const OfsJsonValue *sent, OfsHlc *clock)
{
	if (sent->kind != OFS_JSON_STRING || !ofs_hlc_parse(sent->text, clock) || clock->node[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("malformed clock"),
				 errhint("A hybrid logical clock reads 001704067200000:00001:node, or 2024-01-01T00:00:00.000Z-0001-node.")));
	if (ofs_hlc_ahead(clock, wall(push), ofs_max_clock_drift))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("clock ahead of the server's by more than %d ms", ofs_max_clock_drift),
				 errhint("Set the device's clock, or raise offsync.max_clock_drift.")));
}

static const OfsJsonValue *
find_member(const OfsPushRecord *record, const char *name)
{
	for (int i = 0; i < record->nfields; i++)
	{
		if (record->fields[i].value.kind != OFS_JSON_NULL && strcmp(record->fields[i].name, name) == 0)
			return &record->fields[i].value;
	}
	return NULL;
}

static void
read_fields(Push *push, const OfsJsonValue *sent, PushStamps *stamps)
{
	OfsJsonMember *members;
	int			n;

	if (sent->kind != OFS_JSON_NESTED || sent->text[0] != '{')
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("\"%s\" must be an object", PUSH_NAME_CLOCKS)));
	n = ofs_json_split(sent, &members);
	stamps->fields = palloc0_array(OfsFieldClock, n + 1);
	for (int i = 0; i < n; i++)
	{
		if (members[i].value.kind == OFS_JSON_NULL)
			continue;
		read_clock(push, &members[i].value, &stamps->fields[stamps->nfields].clock);
		stamps->fields[stamps->nfields++].field = members[i].name;
	}
}

static const OfsHlc **
room_for_clocks(const PushTable *table, PushItem *item)
{
	if (item->clocks == NULL)
		item->clocks = palloc0_array(const OfsHlc *, table->ncolumns);
	return item->clocks;
}

/* The clocks that an item's record carries; NULL: none. */
PushStamps *
ofs_fields_read(Push *push, const PushTable *table, PushItem *item, const OfsPushRecord *record)
{
	const OfsJsonValue *all = find_member(record, PUSH_NAME_CLOCK);
	const OfsJsonValue *fields = find_member(record, PUSH_NAME_CLOCKS);
	PushStamps *stamps;

	if (all == NULL && fields == NULL)
		return NULL;
	stamps = palloc0(sizeof(PushStamps));
	if (all != NULL)
	{
		OfsHlc	   *clock = palloc(sizeof(OfsHlc));

		push->place.column = PUSH_NAME_CLOCK;
		read_clock(push, all, clock);
		stamps->all = clock;
	}
	if (fields != NULL)
	{
		push->place.column = PUSH_NAME_CLOCKS;
		read_fields(push, fields, stamps);
	}
	push->place.column = NULL;
	(void) room_for_clocks(table, item);
	return stamps;
}

static const OfsHlc *
stamp_of(const PushStamps *stamps, const char *wire, bool *named)
{
	*named = false;
	for (int i = 0; stamps != NULL && i < stamps->nfields; i++)
	{
		if (strcmp(stamps->fields[i].field, wire) != 0)
			continue;
		*named = true;
		return &stamps->fields[i].clock;
	}
	return stamps ? stamps->all : NULL;
}

/* Note a clock of the item; false where the one that it has already is not older.  What has none comes now. */
static bool
put_clock(const PushTable *table, PushItem *item, int column, const OfsHlc *clock, bool has_value)
{
	const OfsHlc *before = item->clocks ? item->clocks[column] : NULL;

	if (has_value && clock != NULL && (before == NULL || ofs_hlc_compare(clock, before) <= 0))
		return false;
	if (item->clocks != NULL || clock != NULL)
		room_for_clocks(table, item)[column] = clock;
	return true;
}

/*
 * A record has a value of this column: does it count, as against one that came before of the same id?  changed: does the device say
 * that it changed it?  So it does where it names its clock.
 */
bool
ofs_fields_take(Push *push, const PushTable *table, PushItem *item, int column, bool has_value,
				const PushStamps *stamps, bool *changed)
{
	bool		named;
	const OfsHlc *clock = stamp_of(stamps, table->columns[column].wire, &named);
	bool		ends = item->ends && column == table->soft;

	if (named)
		*changed = true;
	if (!*changed && has_value)
		return false;
	/* neither has a clock: the deletion wins */
	if (ends && clock == NULL && (item->clocks == NULL || item->clocks[column] == NULL))
		return false;
	if (!put_clock(table, item, column, clock, has_value || ends))
		return false;
	if (ends)
		item->ends = false;
	return true;
}

/* Is the deletion one by a clock? */
bool
ofs_fields_ends(const PushTable *table, const OfsPushRecord *record)
{
	return table->strategy->needs_clocks && find_member(record, PUSH_NAME_CLOCK) != NULL;
}

/* Deletions are planned before records. */
void
ofs_fields_take_end(Push *push, const PushTable *table, PushItem *item, const OfsPushRecord *record)
{
	const PushStamps *stamps = ofs_fields_read(push, table, item, record);

	if (put_clock(table, item, table->soft, stamps->all, item->ends))
		item->ends = true;
}

/* ---------- what becomes of it ---------- */

static OfsClocks *
stored_clocks(const PushTable *table, const PushItem *item)
{
	bool		isnull,
				no_time;
	Datum		value = heap_getattr(item->row, PUSH_ROW_CLOCKS, table->rowdesc, &isnull);
	Datum		updated_at = heap_getattr(item->row, PUSH_ROW_UPDATED_AT, table->rowdesc, &no_time);

	return ofs_clocks_read(table->table->relid, value, isnull, no_time ? 0 : DatumGetTimestampTz(updated_at));
}

/* Write what is stored; false where that can't be told. */
static bool
write_stored(PushTable *table, PushItem *item, int number, const Datum *values, const bool *nulls)
{
	const PushColumn *column = &table->columns[number];
	PushValue  *value;
	Datum		stored;
	bool		isnull;

	if (column->position >= 0)
	{
		stored = values[column->position];
		isnull = nulls[column->position];
	}
	else if (number == table->soft)
		stored = heap_getattr(item->row, PUSH_ROW_GONE, table->rowdesc, &isnull);
	else
		return false;
	value = ofs_upsert_value(table, item, number);
	value->ready = true;
	value->isnull = isnull;
	/* the row is not held as long as that */
	value->datum = isnull ? (Datum) 0 : datumCopy(stored, column->typbyval, column->typlen);
	item->writes = bms_add_member(item->writes, number);
	return true;
}

static void
write_end(PushTable *table, PushItem *item)
{
	const PushColumn *column = &table->columns[table->soft];
	PushValue  *value = ofs_upsert_value(table, item, table->soft);

	value->ready = true;
	value->isnull = false;
	(void) ofs_stamp_later(column->typid, column->typmod, (Datum) 0, true, GetCurrentTransactionStartTimestamp(),
						   &value->datum);
	item->writes = bms_add_member(item->writes, table->soft);
}

/* A row that its device has made and deleted. */
void
ofs_fields_end_new(PushTable *table, PushItem *item)
{
	write_end(table, item);
}

/* A record without clocks of a row that counts as deleted: does its device want it back, knowing that? */
bool
ofs_fields_brings_back(Push *push, const PushTable *table, const PushItem *item)
{
	return item->clocks == NULL && !item->ends &&
		((item->has_base && item->base == item->version) || ofs_upsert_covered(push, table, item, item->version));
}

/* Judge a column by its clock; returns whether the record's value is older, and another. */
static bool
judge(PushTable *table, PushItem *item, int number, const OfsClocks *stored, const Datum *values, const bool *nulls)
{
	const PushColumn *column = &table->columns[number];
	bool		differs = bms_is_member(number, item->writes);
	int			order = ofs_hlc_compare(item->clocks[number], ofs_clocks_get(stored, column->name));

	if (order > 0)
	{
		if (!differs)
			(void) write_stored(table, item, number, values, nulls);
		return false;
	}
	if (differs)
		item->writes = bms_del_member(item->writes, number);
	/* whether one that can't be read is another isn't known; by the same clock it is the same */
	return differs && (column->position >= 0 || order < 0);
}

/* Nothing of the record is written, and what is stored is another: see to it that its device is told. */
static void
lose(Push *push, PushTable *table, PushItem *item, int older, Datum *values, bool *nulls)
{
	if (ofs_upsert_covered(push, table, item, item->version) && item->version != push->version &&
		write_stored(table, item, older, values, nulls))
		return;
	item->touch = false;
	item->writes = NULL;
	item->kept = push->kept = true;
}

/* A deletion; false where it is older than what is stored, and that is another.  Without a clock it comes now. */
static bool
decide_end(PushTable *table, PushItem *item, const OfsClocks *stored)
{
	const OfsHlc *clock = item->clocks ? item->clocks[table->soft] : NULL;

	item->writes = bms_del_member(item->writes, table->soft);
	if (clock ? ofs_hlc_compare(clock, ofs_clocks_get(stored, table->columns[table->soft].name)) > 0 : !item->gone)
		write_end(table, item);
	else
		return item->gone;
	return true;
}

/* A record whose row is there: the columns that differ are item->writes; values and nulls are the row's. */
void
ofs_fields_decide(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls)
{
	OfsClocks  *stored = item->clocks ? stored_clocks(table, item) : NULL;
	int			older = -1;

	for (int i = 0; item->clocks != NULL && i < item->nvalues; i++)
	{
		const PushValue *value = &item->values[i];

		if (item->clocks[value->column] == NULL || !table->columns[value->column].writable || !value->changed ||
			(item->ends && value->column == table->soft))
			continue;
		if (judge(table, item, value->column, stored, values, nulls))
			older = value->column;
	}
	if (item->ends && !decide_end(table, item, stored))
		older = table->soft;
	item->touch = older >= 0;
	if (bms_is_empty(item->writes))
	{
		item->writes = NULL;
		if (older < 0)
			return;
		lose(push, table, item, older, values, nulls);
	}
	if (item->writes != NULL)
		item->action = item->passed == item->version ? PUSH_REFUSE : PUSH_UPDATE;
}

/* ---------- as the row is written ---------- */

/* What a trigger of the owner's makes of a value is a later write of the server's. */
static OfsFieldClock
give_field(Push *push, PushTable *table, const PushItem *item, const PushValue *value, Relation rel, HeapTuple tuple)
{
	OfsFieldClock given = {table->columns[value->column].name, {0, 0, NULL}};
	const OfsHlc *clock = item->clocks ? item->clocks[value->column] : NULL;

	if (clock != NULL && ofs_watch_changed(table, item, value, rel, tuple))
		given.clock = ofs_hlc_tick(clock, wall(push), OFS_SERVER_NODE);
	else if (clock != NULL)
		given.clock = *clock;
	return given;
}

/* The clocks of a row that the push itself is about to store: the stamp trigger asks (catalog/capture.h). */
const OfsGift *
ofs_fields_give(Oid relid, const char *id, Relation rel, HeapTuple tuple, void *arg)
{
	Push	   *push = arg;
	PushTable  *table;
	PushItem   *item = ofs_watch_own(push, relid, id, &table);
	OfsGift    *gift;

	if (item == NULL)
		return NULL;
	gift = palloc0(sizeof(OfsGift));
	gift->touch = item->touch;
	gift->clocked = item->clocks != NULL;
	gift->fields = palloc0_array(OfsFieldClock, item->nvalues + 1);
	for (int i = 0; i < item->nvalues; i++)
	{
		const PushValue *value = &item->values[i];

		if ((item->existed && !value->changed) || !table->columns[value->column].writable ||
			(item->ends && value->column == table->soft))
			continue;
		gift->fields[gift->nfields++] = give_field(push, table, item, value, rel, tuple);
	}
	if (item->ends && item->clocks != NULL)
	{
		const OfsHlc *clock = item->clocks[table->soft];

		gift->fields[gift->nfields++] = (OfsFieldClock) {table->columns[table->soft].name, clock ? *clock : (OfsHlc) {0, 0, NULL}};
	}
	return gift;
}
