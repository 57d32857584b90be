/*
 * merge.c
 *		A record and a row that were both changed, put together column by column.
 *
 * A column that the server hasn't changed since the device saw it takes the sent value: the row's history
 * says which those are.  The others are the strategy's to judge; what they came from is not known.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "base/unite.h"
#include "push/push.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

OfsHistory *
ofs_merge_history(const PushTable *table, const PushItem *item)
{
	bool		isnull;
	Datum		value = heap_getattr(item->row, PUSH_ROW_HISTORY, table->rowdesc, &isnull);
	OfsHistory *history = ofs_history_read(value, isnull, item->version);

	/* under an old name it may have been any column's */
	for (int i = 0; i < history->nentries; i++)
	{
		OfsHistoryEntry *entry = &history->entries[i];

		if (entry->column && get_attnum(table->table->relid, entry->column) == InvalidAttrNumber)
			entry->column = NULL;
	}
	return history;
}

static bool
is_unseen(Push *push, PushTable *table, PushItem *item, const OfsHistoryEntry *entry)
{
	if (ofs_upsert_covered(push, table, item, entry->version))
		return false;
	return !item->has_base || ofs_history_follows(entry, item->base);
}

/* Was the column changed by a version that the device hasn't seen? */
bool
ofs_merge_touched(Push *push, PushTable *table, PushItem *item, const OfsHistory *history, int column)
{
	const OfsHistoryEntry *own = ofs_history_find(history, table->columns[column].name);

	if (own != NULL)
		return is_unseen(push, table, item, own);
	for (int i = 0; i < history->nentries; i++)
	{
		if (history->entries[i].column == NULL && is_unseen(push, table, item, &history->entries[i]))
			return true;
	}
	return false;
}

static void
drop_write(PushItem *item, int column)
{
	item->writes = bms_del_member(item->writes, column);
	if (bms_is_empty(item->writes))
		item->writes = NULL;
}

/* Replace the value to be written by the sent and the stored one together; false where they contradict. */
static bool
unite(Push *push, PushTable *table, PushItem *item, PushValue *value, Datum stored, bool isnull)
{
	PushColumn *column = &table->columns[value->column];

	push->place.table = table;
	push->place.id = item->id;
	push->place.item = item;
	push->place.column = column->wire;
	value->datum = ofs_codec_read(column->codec, value->sent, &value->isnull);
	value->ready = true;
	if (value->isnull || isnull || !ofs_unite(column->typid, stored, value->datum, &value->datum))
		return false;
	memset(&push->place, 0, sizeof(PushPlace));
	if (datum_image_eq(value->datum, stored, column->typbyval, column->typlen))
		drop_write(item, value->column);
	return true;
}

static bool
merge_column(Push *push, PushTable *table, PushItem *item, const OfsHistory *history,
			 int number, Datum *values, bool *nulls)
{
	PushColumn *column = &table->columns[number];
	OfsColumnDispute dispute;

	dispute.touched = ofs_merge_touched(push, table, item, history, number);
	dispute.mergeable = column->position >= 0 && ofs_unite_knows(column->typid);
	switch (table->strategy->decide_column(&dispute))
	{
		case OFS_VERDICT_WRITE:
			return true;
		case OFS_VERDICT_KEEP:
			drop_write(item, number);
			return true;
		case OFS_VERDICT_MERGE:
			return unite(push, table, item, ofs_upsert_value(table, item, number),
						 values[column->position], nulls[column->position]);
		default:
			return false;
	}
}

/*
 * Narrow the item's writes to what must be written, and its values to what they become; values
 * and nulls are the row's.  False where a column is in conflict.
 */
bool
ofs_merge_item(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls)
{
	OfsHistory *history = ofs_merge_history(table, item);
	Bitmapset  *wanted = bms_copy(item->writes);
	bool		merged = true;
	int			number = -1;

	while (merged && (number = bms_next_member(wanted, number)) >= 0)
		merged = merge_column(push, table, item, history, number, values, nulls);
	memset(&push->place, 0, sizeof(PushPlace));
	return merged;
}
