/*
 * conflict.c
 *		What happens to a record whose row has changed since its device last saw it.
 *
 * The table's strategy (core/strategy.c) is told of the dispute and judges it.  The conflicts of a push are
 * collected over all its collections, so that a client learns of all of them at once; where bad
 * records are skipped, each is refused by itself.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "base/errors.h"
#include "catalog/pg_type.h"
#include "datatype/timestamp.h"
#include "push/push.h"

/* Bounds of the report. */
#define MAX_REPORTED	100
#define MAX_REPORT_SIZE	(100 * 1024)

/* A point in time in the unit of an updated_at column: milliseconds where that is a bigint. */
int64
ofs_conflict_stamp(const PushColumn *column, TimestampTz at)
{
	if (column->typid != INT8OID)
		return at;
	return (at + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY) / 1000;
}

/* The record's own stamp; false where it carries none. */
static bool
sent_stamp(Push *push, PushTable *table, PushItem *item, int64 *stamp)
{
	PushColumn *column = &table->columns[table->stamp];

	for (int i = 0; i < item->nvalues; i++)
	{
		bool		isnull;
		Datum		datum;

		if (item->values[i].column != table->stamp)
			continue;
		push->place.table = table;
		push->place.id = item->id;
		push->place.item = item;
		push->place.column = column->wire;
		datum = ofs_codec_read(column->codec, item->values[i].sent, &isnull);
		memset(&push->place, 0, sizeof(PushPlace));
		*stamp = isnull ? 0 : DatumGetInt64(datum);
		return !isnull;
	}
	return false;
}

/* The row's stamp, or the time of its deletion; false where there is none. */
static bool
stored_stamp(const Push *push, const PushTable *table, const PushItem *item, int64 *stamp)
{
	const PushColumn *column = &table->columns[table->stamp];
	bool		isnull;
	Datum		datum;

	if (item->row == NULL)
		*stamp = ofs_conflict_stamp(column, item->buried_at);
	/* by the clock a deletion has dated the row as any change does, and that is what devices go by */
	else if (item->gone && push->clock == NULL)
		*stamp = ofs_conflict_stamp(column, DatumGetTimestampTz(heap_getattr(item->row, PUSH_ROW_GONE,
																			table->rowdesc, &isnull)));
	else
	{
		datum = heap_getattr(item->row, PUSH_ROW_STAMP, table->rowdesc, &isnull);
		if (isnull)
			return false;
		*stamp = DatumGetInt64(datum);
	}
	return true;
}

/* A missing stamp is older than any.  So is a deletion, unless the clock tells its time: it then wins a tie. */
static int
compare_stamps(Push *push, PushTable *table, PushItem *item, bool deletes)
{
	int64		sent;
	int64		stored;

	if (deletes && push->clock == NULL)
		return -1;
	if (deletes)
		sent = ofs_clock_ended(push, table, item);
	else if (!sent_stamp(push, table, item, &sent))
		return -1;
	if (!stored_stamp(push, table, item, &stored))
		return 1;
	return sent > stored || (sent == stored && deletes) ? 1 : sent < stored ? -1 : 0;
}

/* What is to become of a record whose row was changed unseen? */
OfsVerdict
ofs_conflict_judge(Push *push, PushTable *table, PushItem *item, bool deletes)
{
	const OfsStrategy *strategy = push->strategy ? push->strategy : table->strategy;
	OfsDispute	dispute = {0};

	if (push->based)
		return OFS_VERDICT_CONFLICT;
	dispute.deletes = deletes;
	dispute.gone = item->row == NULL || item->gone;
	if (strategy->needs_stamp && table->stamp >= 0)
		dispute.newer = compare_stamps(push, table, item, deletes);
	return strategy->decide(&dispute);
}

/* Note a conflict; the stored row is reported while there is room. */
void
ofs_conflict_note(Push *push, PushTable *table, PushItem *item, const char *reason)
{
	StringInfo	out = push->conflicts;
	int			start;

	item->action = PUSH_NONE;
	item->writes = NULL;
	if (push->skip)
	{
		ofs_skip_refuse(push, item, ERRCODE_OFS_CONFLICT, reason);
		return;
	}
	if (push->nconflicts++ >= MAX_REPORTED)
		return;
	if (out->len > 1)
		appendStringInfoChar(out, ',');
	appendStringInfoString(out, "{\"collection\":");
	ofs_json_text(out, table->name);
	appendStringInfoString(out, ",\"id\":");
	ofs_json_text(out, item->id);
	appendStringInfoString(out, ",\"reason\":");
	ofs_json_text(out, reason);
	start = out->len;
	appendStringInfoString(out, ",\"current\":");
	if (item->row == NULL)
		appendStringInfoString(out, "null");
	else
		ofs_report_row(out, push, table, item);
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
