/*
 * feed.c
 *		What changed in a collection since a time, for facades that shape their answers by themselves.
 *
 * Their clients keep no cursor but their clock's reading, taken when an answer had been applied: later than the answer's
 * snapshot by as long as the answer was under way, and wrong by as much as the clock is.  So rows and deletions are told from ten
 * minutes before that time on (and a minute more, the timeline's own margin).  What comes twice does no harm: a row comes as
 * it is now, and an id is told as deleted only while it has no row.
 *
 * Such clients can't replace what they hold.  Where a pull would answer "replacement" (deletions were pruned, a TRUNCATE, other
 * policies, another history of this server, memberships that changed), what is gone can't be named, and the answer is the error
 * PT410: fetch anew; it counts as the replacement that it stands for.  An event that lies between the ten minutes and the time itself was seen by a device that keeps the
 * time well, or it would be told to fetch anew again and again; for these minutes only the time itself counts, with the timeline's
 * margin.  Deletions are then told from there, too, where policies look memberships up: earlier ones could be those of
 * rows that the caller came to see only afterwards.
 */
#include "postgres.h"

#include "base/codec.h"
#include "base/compat.h"
#include "base/count.h"
#include "base/errors.h"
#include "base/isotime.h"
#include "base/spi.h"
#include "base/sqltext.h"
#include "catalog/incarnation.h"
#include "catalog/record.h"
#include "catalog/synced.h"
#include "pull/collect.h"
#include "pull/feed.h"
#include "pull/unseen.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define BEHIND		(10 * USECS_PER_MINUTE)	/* that an answer may take, or a clock be wrong */
#define AHEAD		(5 * USECS_PER_MINUTE)	/* a clock that shows it is wrong by more than that */

struct OfsFeed
{
	OfsDialect	dialect;
	OfsJudge   *narrow;			/* since the time itself */
	OfsJudge   *wide;			/* since some time before */
};

/* Behind the key's parts and the record's columns. */
enum
{
	HIDDEN_MADE_AT, HIDDEN_WRITTEN_AT, HIDDEN_VERSION, HIDDEN_MADE, HIDDEN_GONE
};

typedef struct FeedReceiver
{
	DestReceiver pub;
	const OfsView *view;
	const OfsSince *since;
	bool		rows;			/* or keys of deletions, and their times */
	OfsKeyCodec *key;
	OfsRecordWriter *writer;
	OfsDialect	dialect;
	StringInfoData id;
	StringInfoData record;
	MemoryContext row_context;
	OfsFeedTake take;
	void	   *arg;
} FeedReceiver;

/* ---------- the time ---------- */

static TimestampTz
parse_time(const char *text)
{
	TimestampTz at;

	if (!ofs_parse_timestamptz(text, &at) || !IS_VALID_TIMESTAMP(at))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("malformed time \"%s\"", text),
				 errhint("Give it in ISO 8601: 2024-01-31 10:00:00.123Z.")));
	return at;
}

OFS_NORETURN static void
gone(const char *collection, const char *reason, OfsCounter kind)
{
	ofs_count(kind, 1);
	ereport(ERROR,
			(errcode(ERRCODE_OFS_GONE),
			 collection ? errmsg("what is gone from collection \"%s\" since that time is no longer known", collection) :
			 errmsg("what is gone since that time is no longer known"),
			 errdetail("%c%s.", pg_toupper((unsigned char) reason[0]), reason + 1),
			 errhint("Send what the device has not sent yet, then empty it and fetch everything anew.")));
}

static OfsSince *
since_time(TimestampTz at)
{
	return ofs_since_open(ofs_iso_instant(Max(at, OFS_UNIX_EPOCH)));
}

OfsFeed *
ofs_feed_open(const char *since, OfsDialect dialect)
{
	OfsFeed    *feed = palloc0(sizeof(OfsFeed));
	OfsSince   *narrow;
	TimestampTz at;

	ofs_snapshot_flush();
	feed->dialect = dialect;
	if (since == NULL)
	{
		feed->narrow = feed->wide = ofs_judge_create(ofs_since_open(NULL), NIL, dialect);
		return feed;
	}
	at = parse_time(since);
	if (at > GetCurrentTimestamp() + AHEAD)
		gone(NULL, "the time lies ahead of the server's clock", OFS_COUNT_REPLACED_HISTORY);
	narrow = since_time(at);
	if (narrow->kind == OFS_SINCE_REPLACE)
		gone(NULL, narrow->reason, OFS_COUNT_REPLACED_HISTORY);
	feed->narrow = ofs_judge_create(narrow, NIL, dialect);
	feed->wide = ofs_judge_create(since_time(at - BEHIND), NIL, dialect);
	return feed;
}

OfsView *
ofs_feed_view(OfsFeed *feed, OfsTable *table)
{
	return ofs_judge_ask(feed->narrow, table)->view;
}

const char *
ofs_feed_lost(OfsFeed *feed, OfsTable *table)
{
	return feed->narrow->since->kind == OFS_SINCE_FIRST ? NULL : ofs_judge_ask(feed->narrow, table)->replaced;
}

void
ofs_feed_require(OfsFeed *feed, OfsTable *table)
{
	const char *reason = ofs_feed_lost(feed, table);

	if (reason)
		gone(table->collection, reason, ofs_judge_ask(feed->narrow, table)->kind);
}

/* ---------- receiving ---------- */

static void
feed_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	FeedReceiver *r = (FeedReceiver *) self;

	if (r->rows)
		r->writer = ofs_record_writer(r->view, desc, r->view->table->nkey, r->dialect);
}

static void
feed_end(DestReceiver *self)
{
}

static int64
read_int64(TupleTableSlot *slot, int attribute, int64 missing)
{
	return slot->tts_isnull[attribute] ? missing : DatumGetInt64(slot->tts_values[attribute]);
}

static bool
feed_receive(TupleTableSlot *slot, DestReceiver *self)
{
	FeedReceiver *r = (FeedReceiver *) self;
	int			nkey = r->view->table->nkey;
	int			hidden = nkey + r->view->ncolumns;
	OfsFeedRow	row = {&r->id};
	MemoryContext old;

	slot_getallattrs(slot);
	old = MemoryContextSwitchTo(r->row_context);
	resetStringInfo(&r->id);
	ofs_key_write(r->key, &r->id, slot->tts_values);
	if (r->rows)
	{
		resetStringInfo(&r->record);
		ofs_record_write(r->writer, &r->record, &r->id, slot);
		row.record = &r->record;
		row.created = read_int64(slot, hidden + HIDDEN_MADE_AT, 0);
		row.updated = read_int64(slot, hidden + HIDDEN_WRITTEN_AT, 0);
		row.version = read_int64(slot, hidden + HIDDEN_VERSION, 0);
		row.made = !ofs_since_sees(r->since, read_int64(slot, hidden + HIDDEN_MADE, 0));
		row.gone = DatumGetBool(slot->tts_values[hidden + HIDDEN_GONE]);
	}
	else
	{
		row.created = row.updated = read_int64(slot, nkey, 0);
		row.version = read_int64(slot, nkey + 1, 0);
	}
	r->take(&row, r->arg);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->row_context);
	return true;
}

static void
begin_receiver(FeedReceiver *r, const OfsFeed *feed, const OfsView *view, const OfsSince *since, bool rows,
			   OfsFeedTake take, void *arg)
{
	static const DestReceiver receiver = {feed_receive, feed_startup, feed_end, feed_end, DestNone};
	const OfsTable *table = view->table;

	memset(r, 0, sizeof(*r));
	r->pub = receiver;
	r->view = view;
	r->since = since;
	r->rows = rows;
	r->key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	r->dialect = feed->dialect;
	initStringInfo(&r->id);
	initStringInfo(&r->record);
	r->row_context = AllocSetContextCreate(CurrentMemoryContext, "offsync feed", ALLOCSET_DEFAULT_SIZES);
	r->take = take;
	r->arg = arg;
}

/* ---------- statements ---------- */

static void
append_keys(StringInfo sql, const OfsTable *table, const char *alias)
{
	for (int i = 0; i < table->nkey; i++)
		appendStringInfo(sql, "%s.%s, ", alias, quote_identifier(get_attname(table->relid, table->key[i], false)));
}

static void
append_rows(StringInfo sql, const OfsView *view)
{
	const OfsTable *table = view->table;

	appendStringInfoString(sql, "SELECT ");
	append_keys(sql, table, "t");
	for (int i = 0; i < view->ncolumns; i++)
		appendStringInfo(sql, "t.%s, ", quote_identifier(get_attname(table->relid, view->columns[i], false)));
	appendStringInfo(sql, "offsync$t$%d, offsync$t$%d, offsync$version, offsync$created, ",
					 table->created_at, table->updated_at);
	ofs_unseen_append_gone(sql, table, false, 't');
	appendStringInfo(sql, " FROM %s t WHERE ", ofs_relation_name(table->relid));
}

/* Since a time that doesn't lie so far back, or since ever. */
static bool
is_bound(const OfsSince *since)
{
	return since->kind == OFS_SINCE_NUMBER;
}

void
ofs_feed_rows(OfsFeed *feed, OfsTable *table, const char *order, OfsFeedTake take, void *arg)
{
	OfsView    *view = ofs_feed_view(feed, table);
	const OfsSince *since = feed->wide->since;
	OfsUnseen	params;
	StringInfoData sql;
	FeedReceiver r;

	begin_receiver(&r, feed, view, feed->narrow->since, true, take, arg);
	ofs_unseen_begin(&params, view, is_bound(since) && order[0] == '\0');
	initStringInfo(&sql);
	append_rows(&sql, view);
	appendStringInfoString(&sql, "NOT ");
	ofs_unseen_append_gone(&sql, table, false, 't');
	if (is_bound(since))
	{
		appendStringInfoString(&sql, " AND ");
		ofs_unseen_append(&sql, "offsync$version", table, since, &params);
	}
	ofs_unseen_append_scope(&sql, &params);
	appendStringInfoString(&sql, order);
	(void) ofs_unseen_run(sql.data, &params, (DestReceiver *) &r);
	MemoryContextDelete(r.row_context);
}

/* Rows that count as deleted. */
static void
run_soft(FeedReceiver *r, OfsView *view, const OfsSince *since)
{
	const OfsTable *table = view->table;
	OfsUnseen	params;
	StringInfoData sql;

	if (table->soft_delete == InvalidAttrNumber)
		return;
	ofs_unseen_begin(&params, view, is_bound(since));
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	append_keys(&sql, table, "t");
	appendStringInfo(&sql, "offsync$t$%d, offsync$version FROM %s t WHERE ", table->updated_at,
					 ofs_relation_name(table->relid));
	ofs_unseen_append_gone(&sql, table, false, 't');
	appendStringInfoString(&sql, " AND ");
	ofs_unseen_append(&sql, "offsync$version", table, since, &params);
	ofs_unseen_append_scope(&sql, &params);
	(void) ofs_unseen_run(sql.data, &params, (DestReceiver *) r);
}

/* Append what is the greatest of the column of all the key's tombstones that the caller may see. */
static void
append_last(StringInfo sql, const OfsTable *table, const char *column)
{
	appendStringInfo(sql, "(SELECT pg_catalog.max(offsync$b$%d) FROM %s b WHERE ",
					 get_attnum(table->tombstone, column), ofs_relation_name(table->tombstone));
	ofs_append_key_match(sql, "b", "k", table->relid, table->nkey, table->key, table->key_types);
	appendStringInfoChar(sql, ')');
}

/* Tombstones without a row, and when the last of each was made. */
static void
run_buried(FeedReceiver *r, OfsView *view, const OfsSince *since)
{
	const OfsTable *table = view->table;
	OfsUnseen	params;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	append_keys(&sql, table, "k");
	append_last(&sql, table, OFS_TOMB_AT);
	appendStringInfoString(&sql, ", ");
	append_last(&sql, table, OFS_TOMB_VERSION);
	appendStringInfoString(&sql, " FROM (");
	ofs_unseen_append_deleted(&sql, view, since, false, false, &params);
	appendStringInfoString(&sql, ") k");
	(void) ofs_unseen_run(sql.data, &params, (DestReceiver *) r);
}

/* Does nothing but the row decide who sees it?  Then all tombstones that the caller may see are of rows that it might have. */
static bool
is_plain(const OfsView *view)
{
	return view->opaque == NULL && view->blind == NULL && view->sets == NIL && view->all_events == NIL;
}

void
ofs_feed_deletions(OfsFeed *feed, OfsTable *table, OfsFeedTake take, void *arg)
{
	static const OfsSince ever = {OFS_SINCE_NUMBER};
	OfsView    *view = ofs_feed_view(feed, table);
	const OfsSince *since = feed->wide->since;
	FeedReceiver r;

	if (!is_bound(since) || ofs_judge_ask(feed->wide, table)->replaced)
	{
		/* old tombstones would be shown by today's memberships */
		if (is_plain(view))
			since = is_bound(since) ? since : &ever;
		else if (is_bound(feed->narrow->since))
			since = feed->narrow->since;
		else
			return;
	}
	begin_receiver(&r, feed, view, since, false, take, arg);
	run_soft(&r, view, since);
	run_buried(&r, view, since);
	MemoryContextDelete(r.row_context);
}

/* ---------- one row ---------- */

typedef struct Single
{
	bool		found;
	OfsFeedTake take;
	void	   *arg;
} Single;

static void
take_single(const OfsFeedRow *row, void *arg)
{
	Single	   *single = arg;

	single->found = true;
	single->take(row, single->arg);
}

bool
ofs_feed_one(OfsFeed *feed, OfsTable *table, const char *id, OfsFeedTake take, void *arg)
{
	OfsView    *view = ofs_feed_view(feed, table);
	Single		single = {false, take, arg};
	OfsUnseen	params = {0};
	StringInfoData sql;
	FeedReceiver r;

	begin_receiver(&r, feed, view, feed->narrow->since, true, take_single, &single);
	initStringInfo(&sql);
	append_rows(&sql, view);
	ofs_unseen_append_id(&sql, table, id, &params);
	(void) ofs_unseen_run(sql.data, &params, (DestReceiver *) &r);
	MemoryContextDelete(r.row_context);
	return single.found;
}
