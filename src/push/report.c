/*
 * report.c
 *		What a push tells of records that were not stored, or not as they were sent.
 *
 *	changes					rows as they are now, in the form of a pull's
 *	experimentalRejectedIds	ids per collection, as WatermelonDB reads them: all of them
 *	rejected				why, and the row as it is now where the caller may see it
 *
 * The first and the last are bounded, also because the push log keeps them.  What doesn't fit into changes comes with
 * the next pull all the same, as everything in it does; a refused record's row that doesn't fit is left out.
 */
#include "postgres.h"

#include "base/compat.h"
#include "push/push.h"

/* Bounds of changes and of rejected. */
#define MAX_REPORTED	100
#define MAX_REPORT_SIZE	(100 * 1024)

/* The row as a pull would send it to this caller. */
void
ofs_report_row(StringInfo out, Push *push, const PushTable *table, const PushItem *item)
{
	MemoryContext old = MemoryContextSwitchTo(push->row);
	Datum	   *values = palloc0_array(Datum, table->nread);
	bool	   *nulls = palloc0_array(bool, table->nread);
	StringInfoData id;

	ofs_rows_deform(table, item->row, values, nulls);
	initStringInfo(&id);
	ofs_key_write(table->key, &id, item->key);
	appendStringInfoString(out, "{\"id\":");
	ofs_json_string(out, id.data, id.len);
	for (int i = 0; i < table->ncolumns; i++)
	{
		const PushColumn *column = &table->columns[i];

		if (column->position < 0)
			continue;
		appendStringInfoChar(out, ',');
		ofs_json_text(out, column->wire);
		appendStringInfoChar(out, ':');
		ofs_codec_write(column->codec, out, values[column->position], nulls[column->position]);
	}
	appendStringInfoChar(out, '}');
	MemoryContextSwitchTo(old);
	MemoryContextReset(push->row);
}

/* How many of the items were stored, as they were sent or otherwise? */
int
ofs_report_stored(PushItem **items, int nitems, bool created)
{
	int			stored = 0;

	for (int i = 0; i < nitems; i++)
	{
		if (!items[i]->kept && items[i]->refusal == NULL && items[i]->created == created)
			stored++;
	}
	return stored;
}

/* ---------- changes ---------- */

typedef struct Bound
{
	int			count;
	int			rows;			/* of these, told in full */
	int			start;
	int			limit;
} Bound;

static bool
has_room(Bound *bound, StringInfo out)
{
	return bound->count < MAX_REPORTED && out->len < bound->limit;
}

/* Take back the row appended since start, when that is too much; one is told however large it is. */
static bool
fits(Bound *bound, StringInfo out, int start)
{
	if (out->len <= bound->limit || bound->rows == 0)
	{
		bound->rows++;
		return true;
	}
	out->len = start;
	out->data[start] = '\0';
	return false;
}

static void
append_items(StringInfo out, Push *push, PushTable *table, bool rows, Bound *bound)
{
	const char *comma = "";

	for (int i = 0; i < table->nitems + table->ndeleted; i++)
	{
		PushItem   *item = i < table->nitems ? table->items[i] : table->deleted[i - table->nitems];
		bool		is_row = item->row != NULL && !item->gone;
		int			start;

		if (!item->differs || is_row != rows || !has_room(bound, out))
			continue;
		start = out->len;
		appendStringInfoString(out, comma);
		if (is_row)
			ofs_report_row(out, push, table, item);
		else
			ofs_json_text(out, item->id);
		if (is_row && !fits(bound, out, start))
			continue;
		bound->count++;
		comma = ",";
	}
}

static bool
has_changes(const PushTable *table)
{
	for (int i = 0; i < table->nitems; i++)
	{
		if (table->items[i]->differs)
			return true;
	}
	for (int i = 0; i < table->ndeleted; i++)
	{
		if (table->deleted[i]->differs)
			return true;
	}
	return false;
}

/* Rows that are not as they were sent: an object in the form of a pull's changes, or nothing. */
void
ofs_report_changes(StringInfo out, Push *push)
{
	Bound		bound = {0, 0, out->len, out->len + MAX_REPORT_SIZE};
	const char *comma = "{";

	for (int i = 0; i < push->ntables; i++)
	{
		PushTable  *table = push->tables[i];

		if (!has_changes(table))
			continue;
		appendStringInfoString(out, comma);
		comma = ",";
		ofs_json_text(out, table->name);
		appendStringInfoString(out, ":{\"created\":[],\"updated\":[");
		append_items(out, push, table, true, &bound);
		appendStringInfoString(out, "],\"deleted\":[");
		append_items(out, push, table, false, &bound);
		appendStringInfoString(out, "]}");
	}
	if (out->len > bound.start)
		appendStringInfoChar(out, '}');
}

/* ---------- refusals ---------- */

static void
append_table_ids(StringInfo out, const PushTable *table, bool *any)
{
	const char *next = "";
	ListCell   *lc;

	if (table->malformed == NIL && table->nrefused == 0)
		return;
	appendStringInfoString(out, *any ? "," : ",\"experimentalRejectedIds\":{");
	*any = true;
	ofs_json_text(out, table->name);
	appendStringInfoString(out, ":[");
	foreach(lc, table->malformed)
	{
		const PushRefusal *refusal = lfirst(lc);

		if (refusal->id == NULL)
			continue;
		appendStringInfoString(out, next);
		ofs_json_text(out, refusal->id);
		next = ",";
	}
	for (int j = 0; j < table->nrefused; j++)
	{
		appendStringInfoString(out, next);
		ofs_json_text(out, table->refused[j]->id);
		next = ",";
	}
	appendStringInfoChar(out, ']');
}

static void
append_ids(StringInfo out, const Push *push)
{
	bool		any = false;
	ListCell   *lc;

	for (int i = 0; i < push->ntables; i++)
		append_table_ids(out, push->tables[i], &any);
	foreach(lc, push->retired)
		append_table_ids(out, lfirst(lc), &any);
	if (any)
		appendStringInfoChar(out, '}');
}

static void
append_refusal(StringInfo out, Push *push, const PushTable *table, const PushRefusal *refusal,
			   const PushItem *item, Bound *bound)
{
	int			start;

	if (!has_room(bound, out))
		return;
	appendStringInfoString(out, bound->count++ == 0 ? ",\"rejected\":[" : ",");
	appendStringInfoString(out, "{\"collection\":");
	ofs_json_text(out, table->name);
	appendStringInfoString(out, ",\"id\":");
	ofs_json_text(out, refusal->id);
	appendStringInfo(out, ",\"code\":\"%s\",\"reason\":", unpack_sql_state(refusal->sqlerrcode));
	ofs_json_text(out, refusal->reason);
	start = out->len;
	appendStringInfoString(out, ",\"current\":");
	if (item != NULL && item->row != NULL)
		ofs_report_row(out, push, table, item);
	else
		appendStringInfoString(out, "null");
	if (item != NULL && item->row != NULL)
		(void) fits(bound, out, start);
	appendStringInfoChar(out, '}');
}

static void
append_table_refusals(StringInfo out, Push *push, PushTable *table, Bound *bound)
{
	ListCell   *lc;

	foreach(lc, table->malformed)
		append_refusal(out, push, table, lfirst(lc), NULL, bound);
	if (table->nrefused > 0 && table->readable)
		ofs_rows_read(push, table, table->refused, Min(table->nrefused, MAX_REPORTED));
	for (int j = 0; j < table->nrefused; j++)
		append_refusal(out, push, table, table->refused[j]->refusal, table->refused[j], bound);
}

static void
append_refusals(StringInfo out, Push *push)
{
	Bound		bound = {0, 0, out->len, out->len + MAX_REPORT_SIZE};
	ListCell   *lc;

	for (int i = 0; i < push->ntables; i++)
		append_table_refusals(out, push, push->tables[i], &bound);
	foreach(lc, push->retired)
		append_table_refusals(out, push, lfirst(lc), &bound);
	if (bound.count > 0)
		appendStringInfoChar(out, ']');
}

/* Members of the answer, each behind a comma; rows are read as they are now. */
void
ofs_report_refused(StringInfo out, Push *push)
{
	if (!push->skip && push->retired == NIL)
		return;
	append_ids(out, push);
	append_refusals(out, push);
}

static List *
add_refused(List *list, const PushTable *table, const PushRefusal *refusal)
{
	OfsPushRefused *refused = palloc(sizeof(OfsPushRefused));

	refused->collection = table->name;
	refused->id = refusal->id;
	refused->sqlerrcode = refusal->sqlerrcode;
	refused->reason = refusal->reason;
	return lappend(list, refused);
}

/* All of them, for a caller from C. */
List *
ofs_report_list(const Push *push)
{
	List	   *list = NIL;
	ListCell   *lc;

	for (int i = 0; i < push->ntables; i++)
	{
		const PushTable *table = push->tables[i];

		foreach(lc, table->malformed)
			list = add_refused(list, table, lfirst(lc));
		for (int j = 0; j < table->nrefused; j++)
			list = add_refused(list, table, table->refused[j]->refusal);
	}
	return list;
}
