/*
 * stamp.c
 *		BEFORE INSERT OR UPDATE: stamps the row with the writing transaction's version.
 *
 * The trigger is the only one who sets the four columns, whatever the writer sent.  It fires last
 * among the BEFORE triggers, so that it sees the row as it will be stored: an UPDATE that changes
 * nothing else keeps its version, compared image by image.  Generated columns aren't
 * computed yet when it fires, and follow from the others.
 *
 * Where devices date their changes themselves, for last_write_wins, a writer who leaves that column alone has his change
 * dated here: or it would lose to any device's older one, and devices that take what is later would never look at it.
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
#include "track/row.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(offsync_stamp);

/* The stamps, and behind them the history that some strategies ask for. */
enum
{
	S_CREATED_AT, S_UPDATED_AT, S_VERSION, S_CREATED_VERSION, NSTAMPS, S_HISTORY = NSTAMPS, NVALUES
};

typedef struct Stamps
{
	Datum		values[NVALUES];
	bool		nulls[NVALUES];
} Stamps;

static void
get_stamps(const OfsRow *row, TupleDesc desc, HeapTuple tuple, Stamps *stamps)
{
	const AttrNumber attnums[NSTAMPS] = {row->created_at, row->updated_at, row->version, row->created_version};

	for (int i = 0; i < NSTAMPS; i++)
		stamps->values[i] = heap_getattr(tuple, attnums[i], desc, &stamps->nulls[i]);
	stamps->nulls[S_HISTORY] = true;
	if (row->history)
		stamps->values[S_HISTORY] = heap_getattr(tuple, row->history, desc, &stamps->nulls[S_HISTORY]);
}

static HeapTuple
set_stamps(const OfsRow *row, TupleDesc desc, HeapTuple tuple, Stamps *stamps)
{
	int			attnums[NVALUES] = {
		row->created_at, row->updated_at, row->version, row->created_version, row->history
	};

	return heap_modify_tuple_by_cols(tuple, desc, row->history ? NVALUES : NSTAMPS, attnums,
									 stamps->values, stamps->nulls);
}

static bool
same_stamps(const Stamps *a, const Stamps *b)
{
	for (int i = 0; i < NSTAMPS; i++)
		if (a->nulls[i] != b->nulls[i] || (!a->nulls[i] && a->values[i] != b->values[i]))
			return false;
	return a->nulls[S_HISTORY] == b->nulls[S_HISTORY] &&
		(a->nulls[S_HISTORY] || datum_image_eq(a->values[S_HISTORY], b->values[S_HISTORY], false, -1));
}

static bool
is_stamp(const OfsRow *row, AttrNumber attnum)
{
	return attnum == row->version || attnum == row->updated_at ||
		attnum == row->created_at || attnum == row->created_version ||
		(row->history && attnum == row->history);
}

/* Does the update change the column, which isn't a stamp? */
static bool
changes_column(const OfsRow *row, Form_pg_attribute att, TupleDesc desc, HeapTuple old, HeapTuple new)
{
	Datum		before,
				after;
	bool		before_null,
				after_null;

	if (att->attisdropped || att->attgenerated != '\0' || is_stamp(row, att->attnum))
		return false;
	before = heap_getattr(old, att->attnum, desc, &before_null);
	after = heap_getattr(new, att->attnum, desc, &after_null);
	return before_null != after_null ||
		(!before_null && !datum_image_eq(before, after, att->attbyval, att->attlen));
}

static bool
changes_row(const OfsRow *row, TupleDesc desc, HeapTuple old, HeapTuple new)
{
	for (int i = 0; i < desc->natts; i++)
	{
		if (changes_column(row, TupleDescAttr(desc, i), desc, old, new))
			return true;
	}
	return false;
}

static Datum
add_history(const OfsRow *row, TupleDesc desc, HeapTuple old, HeapTuple new,
			const Stamps *before, const Stamps *after)
{
	List	   *names = NIL;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (changes_column(row, att, desc, old, new))
			names = lappend(names, NameStr(att->attname));
	}
	return ofs_history_add(before->values[S_HISTORY], before->nulls[S_HISTORY],
						   before->nulls[S_VERSION] ? 0 : DatumGetInt64(before->values[S_VERSION]),
						   DatumGetInt64(after->values[S_VERSION]), names);
}

static bool
changes_key(const OfsRow *row, TupleDesc desc, HeapTuple old, HeapTuple new)
{
	for (int i = 0; i < row->nkey; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, row->key[i] - 1);
		bool		before_null,
					after_null;
		Datum		before = heap_getattr(old, row->key[i], desc, &before_null);
		Datum		after = heap_getattr(new, row->key[i], desc, &after_null);

		if (before_null != after_null ||
			(!before_null && !datum_image_eq(before, after, att->attbyval, att->attlen)))
			return true;
	}
	return false;
}

/* Stamps of a row that this transaction makes. */
static void
fresh_stamps(Stamps *stamps)
{
	Datum		version = Int64GetDatum(ofs_version_stamp());
	Datum		now = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());

	memset(stamps, 0, sizeof(Stamps));
	stamps->nulls[S_HISTORY] = true;
	stamps->values[0] = stamps->values[1] = now;
	stamps->values[2] = stamps->values[3] = version;
}

/* Date a change that its writer hasn't dated, or that becomes another than was sent. */
static HeapTuple
date_change(const OfsRow *row, Relation rel, HeapTuple old, HeapTuple new)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			attnum = row->client_updated_at;
	Form_pg_attribute att;
	Datum		stamp;
	bool		isnull;
	TimestampTz least = 0;

	if (attnum == InvalidAttrNumber)
		return new;
	att = TupleDescAttr(desc, attnum - 1);
	if (old != NULL && !changes_column(row, att, desc, old, new))
		least = GetCurrentTimestamp();
	/* its device may have changed it once more by now, and that is later still */
	else if (!ofs_row_differs(row, rel, new))
		return new;
	stamp = heap_getattr(new, attnum, desc, &isnull);
	if (!ofs_stamp_later(att->atttypid, att->atttypmod, stamp, isnull, least, &stamp))
		return new;
	isnull = false;
	return heap_modify_tuple_by_cols(new, desc, 1, &attnum, &stamp, &isnull);
}

static HeapTuple
stamp_insert(const OfsRow *row, Relation rel, HeapTuple tuple)
{
	Stamps		fresh;

	fresh_stamps(&fresh);
	return set_stamps(row, RelationGetDescr(rel), date_change(row, rel, NULL, tuple), &fresh);
}

static HeapTuple
stamp_update(OfsRow *row, Relation rel, HeapTuple old, HeapTuple new)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Stamps		before,
				after,
				given;

	get_stamps(row, desc, old, &before);
	if (!changes_row(row, desc, old, new))
	{
		get_stamps(row, desc, new, &given);
		return same_stamps(&before, &given) ? new : set_stamps(row, desc, new, &before);
	}

	fresh_stamps(&after);
	/* under another key it is another record */
	if (!changes_key(row, desc, old, new))
	{
		after.values[0] = before.values[0];
		after.nulls[0] = before.nulls[0];
		after.values[3] = before.values[3];
		after.nulls[3] = before.nulls[3];
		if (row->history)
		{
			after.values[S_HISTORY] = add_history(row, desc, old, new, &before, &after);
			after.nulls[S_HISTORY] = false;
		}
	}
	else
		ofs_row_written(row, rel, old, false);
	return set_stamps(row, desc, date_change(row, rel, old, new), &after);
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
