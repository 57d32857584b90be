/*
 * conflict.c
 *		What happens to a record whose row has changed since its device last saw it.
 *
 * A strategy is a name that offsync.enable takes, and whether the device's values are written all
 * the same.  The conflicts of a push are collected over all its collections, so that a client
 * learns of all of them at once.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "push/push.h"

/* Bounds of the report. */
#define MAX_REPORTED	100
#define MAX_REPORT_SIZE	(100 * 1024)

static const struct
{
	const char *name;
	bool		yields;			/* the stored row gives way */
}			strategies[] =
{
	{"reject", false},
	{"client_wins", true}
};

/* Are records of this table written whatever happened to their rows? */
bool
ofs_conflict_yields(const PushTable *table)
{
	for (int i = 0; i < lengthof(strategies); i++)
	{
		if (strcmp(table->table->conflict, strategies[i].name) == 0)
			return strategies[i].yields;
	}
	elog(ERROR, "unknown conflict strategy \"%s\"", table->table->conflict);
}

static void
append_string(StringInfo out, const char *text)
{
	ofs_json_string(out, text, strlen(text));
}

/* The row as a pull would send it to this caller. */
static void
append_row(StringInfo out, Push *push, const PushTable *table, const PushItem *item)
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
		append_string(out, column->wire);
		appendStringInfoChar(out, ':');
		ofs_codec_write(column->codec, out, values[column->position], nulls[column->position]);
	}
	appendStringInfoChar(out, '}');
	MemoryContextSwitchTo(old);
	MemoryContextReset(push->row);
}

/* Note a conflict; the stored row is reported while there is room. */
void
ofs_conflict_note(Push *push, PushTable *table, PushItem *item, const char *reason)
{
	StringInfo	out = push->conflicts;
	int			start;

	if (push->nconflicts++ >= MAX_REPORTED)
		return;
	if (out->len > 1)
		appendStringInfoChar(out, ',');
	appendStringInfoString(out, "{\"collection\":");
	append_string(out, table->name);
	appendStringInfoString(out, ",\"id\":");
	append_string(out, item->id);
	appendStringInfoString(out, ",\"reason\":");
	append_string(out, reason);
	start = out->len;
	appendStringInfoString(out, ",\"current\":");
	if (item->row == NULL)
		appendStringInfoString(out, "null");
	else
		append_row(out, push, table, item);
	if (out->len > MAX_REPORT_SIZE)
	{
		out->len = start;
		out->data[start] = '\0';
	}
	appendStringInfoChar(out, '}');
}

/* Raise the conflicts that were noted, if there are any. */
void
ofs_conflict_raise(Push *push)
{
	if (push->nconflicts == 0)
		return;
	push->told = true;
	ereport(ERROR,
			(errcode(ERRCODE_OFS_CONFLICT),
			 errmsg_plural("%d record was changed on the server since it was last pulled",
						   "%d records were changed on the server since they were last pulled",
						   push->nconflicts, push->nconflicts),
			 errdetail_internal("%s]", push->conflicts->data),
			 errdetail_log("The client was told which."),
			 errhint("Pull, then push again.")));
}
