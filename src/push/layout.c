/*
 * layout.c
 *		Rows as a push reads them: what every push compares, then all columns that its caller may read.
 *
 * A statement over a batch answers them so.  The row of one record alone is looked at in its place, which a
 * statement has told: whoever is told sees it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "base/compat.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "push/push.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static void
init_hidden(TupleDesc layout, int number, Relation rel, AttrNumber attnum, Oid otherwise)
{
	Form_pg_attribute att = attnum == InvalidAttrNumber ? NULL : TupleDescAttr(RelationGetDescr(rel), attnum - 1);

	TupleDescInitEntry(layout, number, NULL, att ? att->atttypid : otherwise, -1, 0);
}

/* What a row that is read looks like: as PUSH_ROW_* say, then all columns that the caller may read. */
TupleDesc
ofs_layout_make(const PushTable *table, Relation rel)
{
	TupleDesc	layout = CreateTemplateTupleDesc(table->nread);

	TupleDescInitEntry(layout, PUSH_ROW_ORD, NULL, INT4OID, -1, 0);
	TupleDescInitEntry(layout, PUSH_ROW_VERSION, NULL, INT8OID, -1, 0);
	init_hidden(layout, PUSH_ROW_GONE, rel, table->table->soft_delete, TIMESTAMPTZOID);
	init_hidden(layout, PUSH_ROW_STAMP, rel, table->table->client_updated_at, TIMESTAMPTZOID);
	init_hidden(layout, PUSH_ROW_HISTORY, rel, table->table->history, TEXTARRAYOID);
	if (table->table->clocks)
	{
		init_hidden(layout, PUSH_ROW_CLOCKS, rel, table->table->clocks, TEXTARRAYOID);
		init_hidden(layout, PUSH_ROW_UPDATED_AT, rel, table->table->updated_at, TIMESTAMPTZOID);
	}
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].position >= 0)
			TupleDescInitEntry(layout, table->columns[i].position + 1, NULL, table->columns[i].typid, -1, 0);
	}
	TupleDescFinalize(layout);
	return layout;
}

OFS_NORETURN static void
raise_altered(const PushTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("table \"%s\" was altered by the push itself", table->table->relname),
			 errhint("Push again.")));
}

/* A trigger of the owner's may alter the table while a push is at work. */
void
ofs_layout_check(const PushTable *table, TupleDesc desc)
{
	bool		same = desc->natts == table->nread;

	for (int i = 0; same && i < desc->natts; i++)
		same = TupleDescAttr(desc, i)->atttypid == TupleDescAttr(table->rowdesc, i)->atttypid;
	if (!same)
		raise_altered(table);
}

/* As above, of the table itself. */
static void
check_types(const PushTable *table, TupleDesc desc)
{
	bool		same = true;

	for (int i = 0; same && i < table->ncolumns; i++)
	{
		const PushColumn *column = &table->columns[i];

		same = column->attnum <= desc->natts && TupleDescAttr(desc, column->attnum - 1)->atttypid == column->typid;
	}
	if (!same)
		raise_altered(table);
}

static void
copy_value(const TupleTableSlot *slot, AttrNumber attnum, int number, Datum *values, bool *nulls)
{
	if (attnum > slot->tts_nvalid)
		elog(ERROR, "a row has lost a column");
	nulls[number - 1] = attnum == InvalidAttrNumber || slot->tts_isnull[attnum - 1];
	values[number - 1] = attnum == InvalidAttrNumber ? (Datum) 0 : slot->tts_values[attnum - 1];
}

/* The row that the caller sees, as rows are read; it is as it was, since somebody's snapshot still sees it. */
HeapTuple
ofs_layout_look_up(const PushTable *table, Relation rel, ItemPointer place)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Datum	   *values = palloc(sizeof(Datum) * table->nread);
	bool	   *nulls = palloc(sizeof(bool) * table->nread);
	HeapTuple	row;

	check_types(table, RelationGetDescr(rel));
	if (!table_tuple_fetch_row_version(rel, place, SnapshotAny, slot))
		elog(ERROR, "a row is not in its place");
	slot_getallattrs(slot);
	values[PUSH_ROW_ORD - 1] = Int32GetDatum(0);
	nulls[PUSH_ROW_ORD - 1] = false;
	copy_value(slot, table->table->version, PUSH_ROW_VERSION, values, nulls);
	copy_value(slot, table->table->soft_delete, PUSH_ROW_GONE, values, nulls);
	copy_value(slot, table->table->client_updated_at, PUSH_ROW_STAMP, values, nulls);
	copy_value(slot, table->table->history, PUSH_ROW_HISTORY, values, nulls);
	if (table->table->clocks)
	{
		copy_value(slot, table->table->clocks, PUSH_ROW_CLOCKS, values, nulls);
		copy_value(slot, table->table->updated_at, PUSH_ROW_UPDATED_AT, values, nulls);
	}
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].position >= 0)
			copy_value(slot, table->columns[i].attnum, table->columns[i].position + 1, values, nulls);
	}
	row = heap_form_tuple(table->rowdesc, values, nulls);
	ExecDropSingleTupleTableSlot(slot);
	return row;
}
