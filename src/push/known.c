/*
 * known.c
 *		Is a row as the device that pushed it has it?
 *
 * Column by column: one that was sent must hold what was sent, any other what the device knew before.
 */
#include "postgres.h"

#include "base/compat.h"
#include "push/known.h"
#include "utils/datum.h"

void
ofs_known_init(PushRowValues *row, int natts)
{
	row->values = palloc0_array(Datum, natts);
	row->nulls = palloc0_array(bool, natts);
}

static bool
same_datum(const PushColumn *column, Datum a, bool a_null, Datum b, bool b_null)
{
	if (a_null || b_null)
		return a_null && b_null;
	return datum_image_eq(a, b, column->typbyval, column->typlen);
}

/* Does the column hold what was sent? */
static bool
holds_sent(const PushColumn *column, const PushItem *item, int at, const PushRowValues *after)
{
	const PushValue *sent = &item->values[at];
	int			position = column->position;

	return ofs_codec_kept(column->codec, sent->sent, after->values[position], after->nulls[position]);
}

/* Does a column that wasn't sent hold what the device has? */
static bool
holds_known(const PushColumn *column, const PushItem *item, const PushRowValues *before, const PushRowValues *after)
{
	int			at = column->position;

	if (!item->existed)
		return !ofs_item_returns(item) && after->nulls[at];
	/* the record was laid over a row that the device hasn't seen */
	return item->known &&
		same_datum(column, before->values[at], before->nulls[at], after->values[at], after->nulls[at]);
}

bool
ofs_known_row(const PushTable *table, const PushItem *item, PushRowValues *before, PushRowValues *after)
{
	int			next = 0;

	if (item->touch)
		return false;
	if (item->before != NULL)
		ofs_rows_deform(table, item->before, before->values, before->nulls);
	for (int i = 0; i < table->ncolumns; i++)
	{
		const PushColumn *column = &table->columns[i];
		int			at = -1;

		if (next < item->nvalues && item->values[next].column == i)
			at = next++;
		if (!ofs_columns_compared(column))
			continue;
		if (at >= 0 ? !holds_sent(column, item, at, after) : !holds_known(column, item, before, after))
			return false;
	}
	return true;
}
