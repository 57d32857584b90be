/*
 * bury.c
 *		AFTER DELETE OR UPDATE: leaves a tombstone of the old image; AFTER TRUNCATE: resets;
 *		AFTER any write of a table that policies read: leaves an event.
 *
 * A tombstone says: before this transaction a row of this key looked like this to the policies.
 * Whoever could see it then, and can't see a row of that key now, is told that it is gone.  So the
 * first image of a transaction is the one that counts, and a row that the same transaction inserted
 * leaves none: nobody else ever saw it.  (But for one that a push inserted and deleted: its device has it.)
 *
 * The row is written straight into the tombstone table, beneath all permissions, for any writer:
 * cascades and the replication apply worker come here as well as a plain DELETE.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/access.h"
#include "catalog/buried.h"
#include "catalog/capture.h"
#include "catalog/incarnation.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "catalog/synced.h"
#include "commands/trigger.h"
#include "track/row.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(offsync_bury);
PG_FUNCTION_INFO_V1(offsync_truncated);
PG_FUNCTION_INFO_V1(offsync_touched);

/* The tombstone table's owner may have altered it: no value goes into a column of another type. */
static void
require_type(Relation tomb, Form_pg_attribute att, Oid type)
{
	if (att->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" of tombstone table \"%s\" must have type %s", NameStr(att->attname),
						RelationGetRelationName(tomb), format_type_be(type)),
				 errhint("Call offsync.disable and offsync.enable on the synced table.")));
}

/* The value that a tombstone's column takes from the old row; NULL where it takes none. */
static void
old_value(Relation rel, HeapTuple old, Relation tomb, Form_pg_attribute att, Datum *value, bool *isnull)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), NameStr(att->attname));

	*isnull = true;
	if (attnum == InvalidAttrNumber)
		return;
	require_type(tomb, att, getBaseType(TupleDescAttr(RelationGetDescr(rel), attnum - 1)->atttypid));
	*value = heap_getattr(old, attnum, RelationGetDescr(rel), isnull);
}

static HeapTuple
form_tombstone(const OfsRow *row, Relation tomb, Relation rel, HeapTuple old, int64 version)
{
	TupleDesc	desc = RelationGetDescr(tomb);
	Datum	   *values = palloc0(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc0(sizeof(bool) * desc->natts);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *name = NameStr(att->attname);

		if (att->attisdropped)
			nulls[i] = true;
		else if (strcmp(name, OFS_TOMB_VERSION) == 0)
		{
			require_type(tomb, att, INT8OID);
			values[i] = Int64GetDatum(version);
		}
		else if (strcmp(name, OFS_TOMB_CREATED) == 0)
		{
			require_type(tomb, att, INT8OID);
			values[i] = heap_getattr(old, row->created_version, RelationGetDescr(rel), &nulls[i]);
		}
		else if (strcmp(name, OFS_TOMB_AT) == 0)
		{
			require_type(tomb, att, TIMESTAMPTZOID);
			/* of transactions that wrote one row the order of these is that of the writing, for they waited for each other */
			values[i] = TimestampTzGetDatum(GetCurrentTimestamp());
		}
		else
			old_value(rel, old, tomb, att, &values[i], &nulls[i]);
	}
	return heap_form_tuple(desc, values, nulls);
}

/* Rows go in beneath SQL, where nobody evaluates an index's expressions. */
static void
require_plain_indexes(Relation tomb)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(tomb))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (RelationGetIndexExpressions(index) != NIL || RelationGetIndexPredicate(index) != NIL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("tombstone table \"%s\" has an index with expressions or a predicate",
							RelationGetRelationName(tomb)),
					 errhint("Drop index \"%s\".", RelationGetRelationName(index))));
		index_close(index, AccessShareLock);
	}
}

static void
bury(OfsRow *row, Relation rel, HeapTuple old, bool deleted)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int64		version = ofs_version_stamp();
	bool		isnull;
	Datum		stamp;
	Relation	tomb;
	HeapTuple	tombstone;

	stamp = heap_getattr(old, row->created_version, desc, &isnull);
	/* a row that a push brings, and a cascade takes away in the same push, is one that the pusher has */
	if (!isnull && DatumGetInt64(stamp) == version && !(deleted && ofs_capture_active()))
	{
		/* nobody ever saw it, but the device that pushed it where the push has been answered */
		if (ofs_capture_answered() && !ofs_capture_active())
			ofs_table_reset(row->root, OFS_STAIN);
		return;
	}

	tomb = table_open(row->tombstone, RowExclusiveLock);
	if (!row->tomb_checked)
		require_plain_indexes(tomb);
	row->tomb_checked = true;
	tombstone = form_tombstone(row, tomb, rel, old, version);
	stamp = heap_getattr(old, row->version, desc, &isnull);
	/* a row that this transaction hasn't written before has no tombstone of it */
	if (isnull || DatumGetInt64(stamp) != version || !ofs_buried_already(tomb, tombstone))
		CatalogTupleInsert(tomb, tombstone);
	heap_freetuple(tombstone);
	table_close(tomb, NoLock);
}

Datum
offsync_bury(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	OfsRow	   *row;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) || TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"offsync_internal.bury\" must be fired AFTER DELETE OR UPDATE FOR EACH ROW")));

	row = ofs_row_get(fcinfo->flinfo, trigger->tg_relation);
	if (OidIsValid(row->root))
	{
		bury(row, trigger->tg_relation, trigger->tg_trigtuple, TRIGGER_FIRED_BY_DELETE(trigger->tg_event));
		ofs_row_written(row, trigger->tg_relation, trigger->tg_trigtuple, false);
	}
	return PointerGetDatum(NULL);
}

Datum
offsync_truncated(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	OfsTable   *table;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"offsync_internal.truncated\" must be fired AFTER TRUNCATE")));
	table = ofs_table_of(RelationGetRelid(trigger->tg_relation));
	if (table)
		ofs_table_reset(table->relid, "truncated");
	return PointerGetDatum(NULL);
}

Datum
offsync_touched(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"offsync_internal.touched\" must be fired AFTER a write")));
	ofs_access_touch(RelationGetRelid(trigger->tg_relation));
	return PointerGetDatum(NULL);
}
