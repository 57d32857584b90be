/*
 * stamp.c
 *		BEFORE INSERT OR UPDATE: stamps the row with the writing transaction's version, and leaves a tombstone where an update
 *		changes who may see it.
 *
 * The trigger is the only one who sets the four columns, whatever the writer sent.  It fires last
 * among the BEFORE triggers, so that it sees the row as it will be stored: an UPDATE that changes
 * nothing else keeps its version, compared image by image.  Generated columns aren't
 * computed yet when it fires, and follow from the others.
 *
 * Both rows are read once, side by side, and of what nobody asks about nothing is compared.  The stamps have fixed widths, so they
 * are written into a copy of the row where it has room for them.
 *
 * Where devices date their changes themselves, for last_write_wins, a writer who leaves that column alone has his change
 * dated here: or it would lose to any device's older one, and devices that take what is later would never look at it.
 *
 * Where clocks are kept (catalog/clocks.h), a device may write the value that a field has already, by a later clock: that is a
 * write like any other.
 *
 * An update that moves a row to another partition arrives as the UPDATE and then as an INSERT.  The
 * partition's columns are part of every key, so it makes another record anyway.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/isotime.h"
#include "catalog/history.h"
#include "catalog/incarnation.h"
#include "commands/trigger.h"
#include "track/clocked.h"
#include "track/row.h"
#include "track/tuple.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(offsync_stamp);

/* The last is the date of the change, where devices date theirs. */
enum
{
	DATE = OFS_NWRITTEN, NVALUES
};

/* What is written. */
typedef struct Stamps
{
	AttrNumber	attnums[NVALUES];	/* 0: it is left as it is */
	Datum		values[NVALUES];
	bool		nulls[NVALUES];
} Stamps;

/* What an update does. */
typedef struct Change
{
	int			what;			/* OFS_CHANGES_... */
	const char *before[OFS_NWRITTEN];	/* where the stamps stand in the old row; NULL: nowhere */
	const char *given[OFS_NWRITTEN];	/* and in the new one */
	List	   *names;			/* of the columns, where a history is kept */
	OfsClocked	clocks;			/* where they are kept */
} Change;

/* ---------- comparing rows ---------- */

/* Byte by byte, however it is stored. */
static inline bool
same_value(const OfsColumn *column, const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (column->len > 0)
		return memcmp(a, b, column->len) == 0;
	if (column->len == -1 && VARSIZE_ANY(a) == VARSIZE_ANY(b) && memcmp(a, b, VARSIZE_ANY(a)) == 0)
		return true;
	return datum_image_eq(PointerGetDatum(a), PointerGetDatum(b), false, column->len);
}

/* Nobody asks what else changes? */
static inline bool
is_settled(const OfsRow *row, const OfsColumn *column, int what)
{
	int			open = column->rest & ~what;

	/* forged stamps are of interest only where nothing else changes */
	if ((what & OFS_CHANGES_ROW) != 0)
		open &= ~OFS_CHANGES_STAMP;
	return open == 0 && row->stamps[OFS_S_HISTORY] == 0;
}

static void
compare_rows(const OfsRow *row, TupleDesc desc, HeapTuple old, HeapTuple new, Change *change)
{
	OfsReader	before = ofs_reader_of(old);
	OfsReader	after = ofs_reader_of(new);

	change->what = 0;
	change->names = NIL;
	ofs_tuple_stamps(row, old, change->before);
	ofs_tuple_stamps(row, new, change->given);
	for (int i = 0; i < row->natts && !is_settled(row, &row->columns[i], change->what); i++)
	{
		const OfsColumn *column = &row->columns[i];
		const char *a = ofs_reader_next(&before, column, i);
		const char *b = ofs_reader_next(&after, column, i);

		if (((column->changes & ~change->what) == 0 && row->stamps[OFS_S_HISTORY] == 0) || same_value(column, a, b))
			continue;
		change->what |= column->changes;
		if ((column->changes & OFS_CHANGES_ROW) != 0 && row->stamps[OFS_S_HISTORY] != 0)
			change->names = lappend(change->names, NameStr(TupleDescAttr(desc, i)->attname));
	}
}

/* ---------- stamps ---------- */

/* Leave the stamp as it was. */
static void
keep_stamp(Stamps *stamps, int i, const char *before)
{
	stamps->nulls[i] = before == NULL;
	if (before == NULL)
		stamps->values[i] = (Datum) 0;
	else
		stamps->values[i] = i >= OFS_NSTAMPS ? PointerGetDatum(before) : Int64GetDatum(ofs_stamp_at(before));
}

static void
init_stamps(const OfsRow *row, Stamps *stamps)
{
	memset(stamps, 0, sizeof(Stamps));
	for (int i = 0; i < OFS_NWRITTEN; i++)
		stamps->attnums[i] = row->stamps[i];
	stamps->nulls[OFS_S_HISTORY] = stamps->nulls[OFS_S_CLOCKS] = true;
}

/* Stamps of a row that this transaction makes. */
static void
fresh_stamps(const OfsRow *row, Stamps *stamps)
{
	init_stamps(row, stamps);
	stamps->values[OFS_S_VERSION] = stamps->values[OFS_S_CREATED_VERSION] = Int64GetDatum(ofs_version_stamp());
	stamps->values[OFS_S_CREATED_AT] = stamps->values[OFS_S_UPDATED_AT] =
		TimestampTzGetDatum(ofs_version_stamped_at());
}

/*
 * Of two writes of a row the later one has the later time, by a millisecond at least, whatever the clock says, unless it is
 * a day off: there are devices that compare them.  Within a transaction it is the same time.
 */
static void
keep_order(Stamps *stamps, const char *const *before)
{
	TimestampTz old;
	bool		own;

	if (before[OFS_S_UPDATED_AT] == NULL || before[OFS_S_VERSION] == NULL)
		return;
	old = ofs_stamp_at(before[OFS_S_UPDATED_AT]);
	own = ofs_stamp_at(before[OFS_S_VERSION]) == DatumGetInt64(stamps->values[OFS_S_VERSION]);
	/* a column of the owner's own may have held anything before */
	if (old < 0 || old > DatumGetTimestampTz(stamps->values[OFS_S_UPDATED_AT]) + OFS_STAMP_AHEAD)
		return;
	if (!own)
		old += 1000 - old % 1000;
	if (DatumGetTimestampTz(stamps->values[OFS_S_UPDATED_AT]) < old)
		stamps->values[OFS_S_UPDATED_AT] = TimestampTzGetDatum(old);
}

/* Are there four of them alone, each where one stood before? */
static bool
fits_stamps(const Stamps *stamps, const char *const *given)
{
	for (int i = 0; i < OFS_NSTAMPS; i++)
		if (stamps->nulls[i] || given[i] == NULL)
			return false;
	return stamps->attnums[OFS_S_HISTORY] == 0 && stamps->attnums[DATE] == 0;
}

/* The row, but with these stamps. */
static HeapTuple
set_stamps(TupleDesc desc, HeapTuple tuple, const char *const *given, const Stamps *stamps)
{
	Stamps		chosen;
	int			columns[NVALUES];
	int			n = 0;

	if (fits_stamps(stamps, given))
	{
		HeapTuple	copy = heap_copytuple(tuple);

		for (int i = 0; i < OFS_NSTAMPS; i++)
		{
			int64		stamp = DatumGetInt64(stamps->values[i]);

			memcpy((char *) copy->t_data + (given[i] - (const char *) tuple->t_data), &stamp, sizeof(stamp));
		}
		return copy;
	}
	for (int i = 0; i < NVALUES; i++)
	{
		if (stamps->attnums[i] == 0)
			continue;
		columns[n] = stamps->attnums[i];
		chosen.values[n] = stamps->values[i];
		chosen.nulls[n++] = stamps->nulls[i];
	}
	return heap_modify_tuple_by_cols(tuple, desc, n, columns, chosen.values, chosen.nulls);
}

/* Date a change that its writer hasn't dated, or that becomes another than was sent. */
static void
date_change(OfsRow *row, Relation rel, HeapTuple new, bool undated, Stamps *stamps)
{
	Form_pg_attribute att;
	TimestampTz least = 0;
	Datum		date;
	bool		isnull;

	if (row->client_updated_at == InvalidAttrNumber)
		return;
	att = TupleDescAttr(RelationGetDescr(rel), row->client_updated_at - 1);
	if (undated)
		least = GetCurrentTimestamp();
	/* its device may have changed it once more by now, and that is later still */
	else if (!ofs_row_differs(row, rel, new))
		return;
	date = heap_getattr(new, row->client_updated_at, RelationGetDescr(rel), &isnull);
	if (ofs_stamp_later(att->atttypid, att->atttypmod, date, isnull, least, &stamps->values[DATE]))
		stamps->attnums[DATE] = row->client_updated_at;
}

static Datum
add_history(const Change *change, int64 version)
{
	const char *history = change->before[OFS_S_HISTORY];
	const char *old = change->before[OFS_S_VERSION];

	return ofs_history_add(PointerGetDatum(history), history == NULL, old ? ofs_stamp_at(old) : 0, version, change->names);
}

/* The history and the clocks of a row that goes on under its key. */
static void
keep_fields(const OfsRow *row, Relation rel, const Change *change, Stamps *stamps)
{
	if (row->stamps[OFS_S_HISTORY] == 0)
		return;
	stamps->nulls[OFS_S_HISTORY] = false;
	stamps->values[OFS_S_HISTORY] = add_history(change, DatumGetInt64(stamps->values[OFS_S_VERSION]));
	if (row->stamps[OFS_S_CLOCKS] == 0)
		return;
	keep_stamp(stamps, OFS_S_CLOCKS, change->before[OFS_S_CLOCKS]);
	if (change->names == NIL)
		return;
	stamps->nulls[OFS_S_CLOCKS] = false;
	stamps->values[OFS_S_CLOCKS] = ofs_clocked_stamp(row, rel, &change->clocks, change->names);
}

/* ---------- writes ---------- */

static HeapTuple
stamp_insert(OfsRow *row, Relation rel, HeapTuple tuple)
{
	HeapTuple	whole = ofs_tuple_complete(tuple, RelationGetDescr(rel));
	const char *given[OFS_NWRITTEN];
	Stamps		fresh;

	fresh_stamps(row, &fresh);
	ofs_tuple_stamps(row, whole, given);
	date_change(row, rel, whole, false, &fresh);
	if (row->stamps[OFS_S_CLOCKS] != 0)
		fresh.nulls[OFS_S_CLOCKS] = !ofs_clocked_insert(row, rel, whole, &fresh.values[OFS_S_CLOCKS]);
	return set_stamps(RelationGetDescr(rel), whole, given, &fresh);
}

/* Nobody but the trigger moves them. */
static HeapTuple
restore_stamps(const OfsRow *row, TupleDesc desc, HeapTuple new, const Change *change)
{
	Stamps		stamps;

	init_stamps(row, &stamps);
	for (int i = 0; i < OFS_NWRITTEN; i++)
		keep_stamp(&stamps, i, change->before[i]);
	return set_stamps(desc, new, change->given, &stamps);
}

/* Is another image of the row left behind? */
static bool
changes_image(const OfsRow *row, const Change *change, const Stamps *stamps)
{
	if ((change->what & OFS_CHANGES_IMAGE) != 0 || row->images_stamps)
		return OidIsValid(row->root);
	return stamps->attnums[DATE] != 0 && (row->columns[stamps->attnums[DATE] - 1].changes & OFS_CHANGES_IMAGE) != 0;
}

static HeapTuple
stamp_update(OfsRow *row, Relation rel, HeapTuple old, HeapTuple new)
{
	TupleDesc	desc = RelationGetDescr(rel);
	HeapTuple	whole = ofs_tuple_complete(new, desc);
	Change		change;
	Stamps		stamps;
	HeapTuple	result;
	bool		buries;

	if (row->fit != OFS_FIT_KNOWN)
		ofs_bury_fit(row, rel);
	compare_rows(row, desc, ofs_tuple_complete(old, desc), whole, &change);
	if (row->stamps[OFS_S_CLOCKS] != 0 &&
		ofs_clocked_update(row, rel, whole, change.before, &change.names, &change.clocks))
		change.what |= OFS_CHANGES_ROW;
	if ((change.what & OFS_CHANGES_ROW) == 0)
		return (change.what & OFS_CHANGES_STAMP) == 0 ? new : restore_stamps(row, desc, whole, &change);

	fresh_stamps(row, &stamps);
	keep_order(&stamps, change.before);
	/* under another key it is another record */
	if ((change.what & OFS_CHANGES_KEY) == 0)
	{
		keep_stamp(&stamps, OFS_S_CREATED_AT, change.before[OFS_S_CREATED_AT]);
		keep_stamp(&stamps, OFS_S_CREATED_VERSION, change.before[OFS_S_CREATED_VERSION]);
		keep_fields(row, rel, &change, &stamps);
	}
	date_change(row, rel, whole, (change.what & OFS_CHANGES_DATE) == 0, &stamps);
	result = set_stamps(desc, whole, change.given, &stamps);
	buries = changes_image(row, &change, &stamps);
	if (buries)
		ofs_bury_row(row, rel, old, false);
	if (buries || (change.what & OFS_CHANGES_KEY) != 0)
		ofs_row_written(row, rel, old, false);
	return result;
}

Datum
offsync_stamp(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Relation	rel;
	OfsRow	   *row;
	HeapTuple	result;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"offsync_internal.stamp\" must be fired BEFORE INSERT OR UPDATE FOR EACH ROW")));

	rel = trigger->tg_relation;
	row = ofs_row_get(fcinfo->flinfo, rel);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		result = stamp_insert(row, rel, trigger->tg_trigtuple);
	else
		result = stamp_update(row, rel, trigger->tg_trigtuple, trigger->tg_newtuple);
	if (result != trigger->tg_newtuple)
		ofs_row_written(row, rel, result, true);
	return PointerGetDatum(result);
}
