/*
 * pblist.c
 *		A PocketBase server's lists, as its sync clients (drift-pocketbase-sync) fetch them.
 *
 * Such a client keeps one time a collection: its own clock's reading when it had applied a list.  Each sync asks for two lists.
 *
 *	changes		updated >= 'T' && action = 'delete': it deletes the rows that are named; what it has not sent of them is lost
 *	<name>		updated > 'T', or everything: it takes the rows that it hasn't got, and those whose "updated" is after its own,
 *				which is the client's clock at its last edit, or what came with the row
 *
 * What lies before T is told from some time before it on (pull/feed.c): "updated" lets the client pass over what it has.  So that column is
 * server_updated_at, which moves with every write, whatever a table's own column "updated" does; of a table's own columns
 * those with PocketBase's names aren't told.
 *
 * The client's SDK pages by numbers of rows, so that a row written between two pages pushes another one out of both.  So
 * everything is one page, said to be larger than it is: that ends the SDK's loop, by whichever of its rules.
 *
 * No log is written.  A deletion is a tombstone (or a row that is soft-deleted), a creation or an update the row as it is now.  On
 * its first fetch the client asks for the log without naming an action, and deletes whatever the log names, edits that
 * it hasn't sent included: so deletions are all that a list without an action has.
 *
 * What a device can't be told is never left out in silence: PT410, where a pull would replace the collection.  The log of all
 * collections leaves that to the lists of the collections: one that the app doesn't know needn't bother it.
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/codec.h"
#include "base/count.h"
#include "base/errors.h"
#include "base/isotime.h"
#include "base/spi.h"
#include "catalog/asked.h"
#include "common/hashfn.h"
#include "dialect/pbase.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(offsync_pb_list);
PG_FUNCTION_INFO_V1(offsync_changes);

#define PER_PAGE	30
#define ID_LEN		15

/* ---------- records ---------- */

void
ofs_pblist_shape(OfsView *view)
{
	static const char *const taken[] = {"created", "updated", "collectionId", "collectionName", "expand"};
	const OfsTable *table = view->table;
	int			kept = 0;

	for (int i = 0; i < view->ncolumns; i++)
	{
		AttrNumber	attnum = view->columns[i];
		bool		drop = attnum == table->created_at || attnum == table->updated_at || attnum == table->version;

		for (int j = 0; j < (int) lengthof(taken); j++)
			drop = drop || strcmp(view->names[i], taken[j]) == 0;
		if (drop)
			continue;
		view->columns[kept] = attnum;
		view->names[kept++] = view->names[i];
	}
	view->ncolumns = kept;
}

static void
append_moment(StringInfo out, const char *name, TimestampTz at)
{
	appendStringInfo(out, ",\"%s\":\"", name);
	/* the column may be older than offsync, and hold anything */
	ofs_codec_put_moment(out, TIMESTAMP_NOT_FINITE(at) ? OFS_UNIX_EPOCH : at);
	appendStringInfoChar(out, '"');
}

void
ofs_pblist_finish(const OfsTable *table, const OfsFeedRow *row)
{
	StringInfo	out = row->record;

	out->len--;					/* the brace */
	append_moment(out, "created", row->created);
	append_moment(out, "updated", row->updated);
	appendStringInfoString(out, ",\"collectionId\":");
	ofs_json_text(out, table->collection);
	appendStringInfoString(out, ",\"collectionName\":");
	ofs_json_text(out, table->collection);
	appendStringInfoChar(out, '}');
}

OfsTable *
ofs_pblist_table(const char *collection)
{
	if (collection == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("collection must not be null")));
	return ((OfsAsked *) linitial(ofs_asked_add(NIL, collection)))->table;
}

/* ---------- the log ---------- */

typedef struct Entry
{
	char		id[ID_LEN + 1];
	const OfsTable *table;
	const OfsFeedRow *row;
	const char *action;
} Entry;

typedef struct Log
{
	const char *action;			/* NULL: deletions */
	const OfsTable *table;
	void		(*emit) (struct Log *log, const Entry *entry);
	StringInfo	items;			/* for lists ... */
	int64		count;
	int64		ndeleted;		/* of these */
	ReturnSetInfo *answer;		/* ... and for SQL */
} Log;

/* The same deletion has the same id in each list, and a later one of the same row another. */
static void
make_id(Entry *entry)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	const StringInfoData *id = entry->row->id;
	uint64		seed = hash_bytes_extended((const unsigned char *) id->data, id->len, entry->table->hash);
	uint64		hash = 0;

	for (int i = 0; i < ID_LEN; i++)
	{
		/* twelve letters are about all that 64 bits hold */
		if (i % 8 == 0)
			hash = hash_combine64(hash_combine64(seed + i, entry->action[0]), (uint64) entry->row->version);
		entry->id[i] = letters[hash % 36];
		hash /= 36;
	}
	entry->id[ID_LEN] = '\0';
}

static void
emit(const OfsFeedRow *row, Log *log, const char *action)
{
	Entry		entry = {{0}, log->table, row, action};

	make_id(&entry);
	log->emit(log, &entry);
	log->count++;
}

static void
take_change(const OfsFeedRow *row, void *arg)
{
	Log		   *log = arg;
	const char *action = row->made ? "create" : "update";

	if (strcmp(log->action, action) != 0)
		return;
	ofs_pblist_finish(log->table, row);
	emit(row, log, action);
}

static void
take_deletion(const OfsFeedRow *row, void *arg)
{
	((Log *) arg)->ndeleted++;
	emit(row, arg, "delete");
}

static void
check_action(const char *action)
{
	if (action != NULL && strcmp(action, "create") != 0 && strcmp(action, "update") != 0 &&
		strcmp(action, "delete") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("unknown action \"%s\"", action),
				 errhint("Choose one of \"create\", \"update\", \"delete\".")));
}

/* forgiving: of a collection whose deletions aren't known its own list tells */
static void
read_log(const OfsPbFilter *filter, Log *log, bool forgiving)
{
	OfsFeed    *feed = ofs_feed_open(filter->since, OFS_DIALECT_POCKETBASE);
	List	   *asked;
	ListCell   *lc;

	check_action(filter->action);
	log->action = filter->action;
	asked = filter->collection ? ofs_asked_add(NIL, filter->collection) : ofs_asked_list(NULL);
	foreach(lc, asked)
	{
		OfsTable   *table = ((OfsAsked *) lfirst(lc))->table;

		if (forgiving && filter->collection == NULL && ofs_feed_lost(feed, table))
			continue;
		ofs_feed_require(feed, table);
		log->table = table;
		ofs_pblist_shape(ofs_feed_view(feed, table));
		if (log->action == NULL || strcmp(log->action, "delete") == 0)
			ofs_feed_deletions(feed, table, take_deletion, log);
		else
			ofs_feed_rows(feed, table, "", take_change, log);
	}
}

static void
count_log(const OfsPbFilter *filter, const Log *log)
{
	ofs_count_pull(filter->since == NULL, log->count - log->ndeleted, log->ndeleted, false);
}

/* ---------- lists ---------- */

static void
begin_item(StringInfo items, int64 count)
{
	if (items->len > (int) (MaxAllocSize - 64 * 1024 * 1024))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_TOO_LARGE),
				 errmsg("the list is too large for one value"),
				 errdetail("A value can't be larger than 1 GB.")));
	if (count > 0)
		appendStringInfoChar(items, ',');
}

static void
emit_item(Log *log, const Entry *entry)
{
	StringInfo	out = log->items;
	const OfsFeedRow *row = entry->row;

	begin_item(out, log->count);
	appendStringInfo(out, "{\"id\":\"%s\",\"collection_id\":", entry->id);
	ofs_json_text(out, entry->table->collection);
	appendStringInfoString(out, ",\"collection_name\":");
	ofs_json_text(out, entry->table->collection);
	appendStringInfoString(out, ",\"record_id\":");
	ofs_json_string(out, row->id->data, row->id->len);
	appendStringInfoString(out, ",\"record_data\":");
	if (row->record)
		appendBinaryStringInfo(out, row->record->data, row->record->len);
	else
		appendStringInfoString(out, "null");
	appendStringInfo(out, ",\"action\":\"%s\"", entry->action);
	append_moment(out, "created", row->created);
	append_moment(out, "updated", row->updated);
	appendStringInfoString(out, ",\"collectionId\":\"" PB_CHANGES "\",\"collectionName\":\"" PB_CHANGES "\"}");
}

static void
take_item(const OfsFeedRow *row, void *arg)
{
	Log		   *log = arg;

	begin_item(log->items, log->count++);
	ofs_pblist_finish(log->table, row);
	appendBinaryStringInfo(log->items, row->record->data, row->record->len);
}

/* " ORDER BY" of what PocketBase's sort says. */
static const char *
parse_sort(const char *sort, const OfsTable *table)
{
	StringInfoData order;
	char	   *copy = pstrdup(sort ? sort : "");
	char	   *state;

	initStringInfo(&order);
	for (char *part = strtok_r(copy, ", ", &state); part; part = strtok_r(NULL, ", ", &state))
	{
		bool		down = part[0] == '-';
		const char *name = part + (down || part[0] == '+' ? 1 : 0);
		AttrNumber	attnum = strcmp(name, "created") == 0 ? table->created_at :
			strcmp(name, "updated") == 0 ? table->updated_at :
			strcmp(name, "id") == 0 ? table->key[0] : InvalidAttrNumber;

		if (attnum == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_OFS_MALFORMED),
					 errmsg("sort is not understood"),
					 errhint("Understood are created, updated and id, each behind a - or not, separated by commas.")));
		appendStringInfo(&order, "%s offsync$t$%d%s", order.len > 0 ? "," : " ORDER BY", attnum, down ? " DESC" : "");
	}
	return order.data;
}

static void
list_rows(const char *collection, const OfsPbFilter *filter, const char *sort, Log *log)
{
	OfsTable   *table = ofs_pblist_table(collection);
	OfsFeed    *feed = ofs_feed_open(filter->since, OFS_DIALECT_POCKETBASE);

	ofs_feed_require(feed, table);
	ofs_pblist_shape(ofs_feed_view(feed, table));
	log->table = table;
	ofs_feed_rows(feed, table, parse_sort(sort, table), take_item, log);
}

/* collection; filter; page; perPage; sort */
Datum
offsync_pb_list(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "offsync list", ALLOCSET_DEFAULT_SIZES);
	char	   *collection = ofs_argument_text(fcinfo, 0);
	bool		changes = collection != NULL && strcmp(collection, PB_CHANGES) == 0;
	int			page = PG_ARGISNULL(2) ? 1 : PG_GETARG_INT32(2);
	int64		room = PG_ARGISNULL(3) ? PER_PAGE : PG_GETARG_INT32(3);
	char	   *sort = ofs_argument_text(fcinfo, 4);
	OfsPbFilter	filter = ofs_pbfilter_parse(ofs_argument_text(fcinfo, 1), changes);
	StringInfoData items;
	Log			log = {.emit = emit_item, .items = &items};
	StringInfoData out;
	int			level;

	initStringInfo(&items);
	initStringInfo(&out);
	if (changes && sort != NULL && sort[0] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("the list of changes can't be sorted")));
	level = ofs_jit_off();
	SPI_connect();
	MemoryContextSwitchTo(context);
	/* all of it stands on the first page */
	if (page <= 1 && changes)
		read_log(&filter, &log, true);
	else if (page <= 1)
		list_rows(collection, &filter, sort, &log);
	if (page <= 1)
		count_log(&filter, &log);
	SPI_finish();
	AtEOXact_GUC(true, level);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);

	appendStringInfo(&out, "{\"page\":%d,\"perPage\":" INT64_FORMAT ",\"totalItems\":" INT64_FORMAT
					 ",\"totalPages\":1,\"items\":[", Max(page, 1), Max(room, log.count + 1), log.count);
	appendBinaryStringInfo(&out, items.data, items.len);
	appendStringInfoString(&out, "]}");
	pfree(items.data);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* ---------- the log in SQL ---------- */

static void
emit_tuple(Log *log, const Entry *entry)
{
	const OfsFeedRow *row = entry->row;
	Datum		values[8];
	bool		nulls[8] = {false};
	Datum		name = CStringGetTextDatum(entry->table->collection);

	values[0] = CStringGetTextDatum(entry->id);
	values[1] = values[2] = name;
	values[3] = PointerGetDatum(cstring_to_text_with_len(row->id->data, row->id->len));
	nulls[4] = row->record == NULL;
	values[4] = nulls[4] ? (Datum) 0 : PointerGetDatum(cstring_to_text_with_len(row->record->data, row->record->len));
	values[5] = CStringGetTextDatum(entry->action);
	values[6] = TimestampTzGetDatum(row->created);
	values[7] = TimestampTzGetDatum(row->updated);
	tuplestore_putvalues(log->answer->setResult, log->answer->setDesc, values, nulls);
}

/* since: a time; what: the action; collection */
Datum
offsync_changes(PG_FUNCTION_ARGS)
{
	OfsPbFilter	filter = {ofs_argument_text(fcinfo, 0), ofs_argument_text(fcinfo, 1), ofs_argument_text(fcinfo, 2)};
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "offsync changes", ALLOCSET_DEFAULT_SIZES);
	Log			log = {.emit = emit_tuple};
	int			level;

	InitMaterializedSRF(fcinfo, 0);
	log.answer = (ReturnSetInfo *) fcinfo->resultinfo;
	level = ofs_jit_off();
	SPI_connect();
	MemoryContextSwitchTo(context);
	read_log(&filter, &log, false);
	count_log(&filter, &log);
	SPI_finish();
	AtEOXact_GUC(true, level);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return (Datum) 0;
}
