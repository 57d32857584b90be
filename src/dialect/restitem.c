/*
 * restitem.c
 *		Rows as clients of a REST cache take them.
 *
 * An item is the record as the dialect json has it, with two members more.  "updated_at" is when the row was last written on the
 * server, in milliseconds, which is all that such a client keeps of it; whatever column the table has of that name, or of the name
 * updatedAt, which they take as well, doesn't travel as it is.  "deleted_at" says when the row was deleted, where the table keeps that in a
 * column of another name.
 */
#include "postgres.h"

#include "base/errors.h"
#include "base/isotime.h"
#include "base/spi.h"
#include "base/sqltext.h"
#include "catalog/incarnation.h"
#include "dialect/rest.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Behind the key's parts and the columns. */
enum
{
	HIDDEN_STAMP, HIDDEN_VERSION, HIDDEN_GONE, HIDDEN_DELETED_AT
};

OfsTable *
ofs_rest_table(const char *kind)
{
	OfsTable   *table = kind ? ofs_table_by_name(kind) : NULL;

	if (table == NULL)
	{
		ereport(ERROR,
				(errcode(ERRCODE_OFS_UNKNOWN),
				 errmsg("unknown collection \"%s\"", kind ? kind : ""),
				 errhint("The view offsync.status lists the collections.")));
		return NULL;			/* not reached */
	}
	ofs_view_require(table);
	return table;
}

/* ---------- times ---------- */

TimestampTz
ofs_rest_latest(void)
{
	return GetCurrentTimestamp() + OFS_STAMP_AHEAD;
}

TimestampTz
ofs_rest_shown(TimestampTz stamp, TimestampTz latest)
{
	return stamp < OFS_UNIX_EPOCH || stamp > latest ? OFS_UNIX_EPOCH : ofs_rest_floor(stamp);
}

/* Milliseconds, with three figures behind the point and a Z. */
static void
append_time(StringInfo out, TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) == 0)
		appendStringInfo(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year, tm.tm_mon, tm.tm_mday,
						 tm.tm_hour, tm.tm_min, tm.tm_sec, (int) (fsec / REST_MS));
}

TimestampTz
ofs_rest_parse_time(const char *what, const char *text)
{
	TimestampTz at;

	if (!ofs_parse_timestamptz(text, &at) || TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("malformed %s", what),
				 errdetail("It is no ISO 8601 timestamp.")));
	return ofs_rest_floor(at);
}

/* ---------- items ---------- */

static void
items_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	RestItems  *items = (RestItems *) self;
	int			hidden = items->view->table->nkey + items->view->ncolumns;

	items->writer = ofs_record_writer(items->view, desc, items->view->table->nkey, OFS_DIALECT_JSON);
	if (items->deleted_at)
	{
		Form_pg_attribute att = TupleDescAttr(desc, hidden + HIDDEN_DELETED_AT);

		items->deleted_codec = ofs_codec_create(att->atttypid, att->atttypmod, OFS_DIALECT_JSON);
	}
}

static void
write_item(RestItems *items, TupleTableSlot *slot, TimestampTz stamp, const Datum *hidden, const bool *nulls)
{
	StringInfo	out = items->out;

	if (items->count > 0)
		appendStringInfoChar(out, ',');
	ofs_record_write(items->writer, out, &items->id, slot);
	out->len--;
	if (items->count == 0 || stamp != items->last)
	{
		resetStringInfo(&items->time);
		append_time(&items->time, ofs_rest_shown(stamp, items->latest));
	}
	appendStringInfoString(out, ",\"updated_at\":\"");
	appendBinaryStringInfo(out, items->time.data, items->time.len);
	appendStringInfoChar(out, '"');
	if (items->deleted_at)
	{
		appendStringInfo(out, ",\"%s\":", items->deleted_at);
		ofs_codec_write(items->deleted_codec, out, hidden[HIDDEN_DELETED_AT], nulls[HIDDEN_DELETED_AT]);
	}
	appendStringInfoChar(out, '}');
}

static bool
items_receive(TupleTableSlot *slot, DestReceiver *self)
{
	RestItems  *items = (RestItems *) self;
	int			nkey = items->view->table->nkey;
	Datum	   *hidden;
	bool	   *nulls;
	TimestampTz stamp;
	MemoryContext old;

	slot_getallattrs(slot);
	hidden = &slot->tts_values[nkey + items->view->ncolumns];
	nulls = &slot->tts_isnull[nkey + items->view->ncolumns];
	stamp = nulls[HIDDEN_STAMP] ? DT_NOBEGIN : DatumGetTimestampTz(hidden[HIDDEN_STAMP]);
	if (items->count == items->room)
	{
		items->more = true;
		items->next = stamp;
		return false;
	}
	old = MemoryContextSwitchTo(items->row_context);
	for (int i = 0; i < nkey; i++)
		items->parts[i] = slot->tts_values[i];
	resetStringInfo(&items->id);
	ofs_key_write(items->key, &items->id, items->parts);
	write_item(items, slot, stamp, hidden, nulls);
	MemoryContextSwitchTo(old);
	MemoryContextReset(items->row_context);
	if (items->count++ > 0 && stamp != items->last && ofs_rest_floor(stamp) == ofs_rest_floor(items->last))
		items->mixed = true;
	items->last = stamp;
	items->version = nulls[HIDDEN_VERSION] ? 0 : DatumGetInt64(hidden[HIDDEN_VERSION]);
	items->gone = DatumGetBool(hidden[HIDDEN_GONE]);
	return true;
}

static void
items_end(DestReceiver *self)
{
}

static bool
is_time_of_ours(const char *name)
{
	return strcmp(name, "updated_at") == 0 || strcmp(name, "updatedAt") == 0;
}

/* Keep the columns that travel as they are. */
static void
choose_columns(RestItems *items)
{
	OfsView    *view = items->view;
	const char *soft = NULL;
	bool		taken = false;
	int			kept = 0;

	for (int i = 0; i < view->ncolumns; i++)
	{
		if (view->columns[i] == view->table->soft_delete)
			soft = view->names[i];
		taken = taken || strcmp(view->names[i], "deleted_at") == 0 || strcmp(view->names[i], "deletedAt") == 0;
		if (is_time_of_ours(view->names[i]))
			continue;
		view->columns[kept] = view->columns[i];
		view->names[kept++] = view->names[i];
	}
	view->ncolumns = kept;
	items->deleted_at = soft != NULL && !taken ? "deleted_at" : NULL;
}

RestItems *
ofs_rest_items(OfsView *view, StringInfo out, int64 room)
{
	static const DestReceiver receiver = {items_receive, items_startup, items_end, items_end, DestNone};
	RestItems  *items = palloc0(sizeof(RestItems));
	OfsTable   *table = view->table;

	items->pub = receiver;
	items->view = view;
	items->out = out;
	items->room = room;
	items->latest = ofs_rest_latest();
	items->key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	items->parts = palloc(sizeof(Datum) * table->nkey);
	items->row_context = AllocSetContextCreate(CurrentMemoryContext, "offsync item", ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&items->id);
	initStringInfo(&items->time);
	choose_columns(items);
	return items;
}

void
ofs_rest_items_select(StringInfo sql, const RestItems *items)
{
	const OfsTable *table = items->view->table;

	appendStringInfoString(sql, "SELECT ");
	for (int i = 0; i < table->nkey; i++)
		appendStringInfo(sql, "t.%s, ", quote_identifier(get_attname(table->relid, table->key[i], false)));
	for (int i = 0; i < items->view->ncolumns; i++)
		appendStringInfo(sql, "t.%s, ", quote_identifier(get_attname(table->relid, items->view->columns[i], false)));
	appendStringInfo(sql, "offsync$t$%d, offsync$version, ", table->updated_at);
	ofs_unseen_append_gone(sql, table, false, 't');
	if (items->deleted_at)
		appendStringInfo(sql, ", offsync$t$%d", table->soft_delete);
	appendStringInfo(sql, " FROM %s t WHERE ", ofs_relation_name(table->relid));
}

void
ofs_rest_fetch(OfsTable *table, const char *id, RestRow *row)
{
	StringInfoData out;
	StringInfoData sql;
	OfsUnseen	params = {0};
	RestItems  *items;
	int			level = ofs_jit_off();

	initStringInfo(&out);
	initStringInfo(&sql);
	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	items = ofs_rest_items(ofs_view_columns(table), &out, 1);
	ofs_rest_items_select(&sql, items);
	ofs_unseen_append_id(&sql, items->view->table, id, &params);
	(void) ofs_unseen_run(sql.data, &params, (DestReceiver *) items);
	row->exists = items->count > 0;
	row->gone = items->gone;
	row->stamp = items->last;
	row->version = items->version;
	if (!row->exists)
		appendStringInfoString(&out, "null");
	row->item = out.data;
	PopActiveSnapshot();
	SPI_finish();
	AtEOXact_GUC(true, level);
}
