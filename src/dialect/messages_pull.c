/*
 * messages_pull.c
 *		offsync.pull_messages: rows as messages, one for each field.
 *
 * No message is stored.  The tables are read as any pull reads them, under the caller's policies, and what is told of a field
 * is what it holds now: with the clock of its last write, in which devices compare it with what they hold.  So what psql or
 * another device writes comes as messages, too, nothing grows, and what nobody needs to know any more is not told.
 *
 * Told are the fields that changed since the device's number, as the row's history has it; where that can't be
 * known, and where the engine says that the collection must be replaced, all fields of all rows: a device that has
 * them already keeps what it has, because the clocks are the same.
 *
 * Where a column that policies read has changed, the row may have come into the caller's sight by that, and all its fields are told.
 *
 * The device remembers the greatest server_timestamp that it has got, and asks for what is greater.  A message has its version there,
 * but never one at which something may yet commit: what commits behind a slower transaction is told then, and
 * some messages twice, with the same id.  Where a device is told all anew, it is the highest such number.
 *
 * Devices forget nothing but by a field that says so.  A row that is deleted for good is therefore told of as one whose
 * soft_delete column was set, where the table has one.
 *
 * A message's id is a digest of its place and its clock: whoever asks gets the same for the same write.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/argument.h"
#include "base/errors.h"
#include "base/isotime.h"
#include "base/put.h"
#include "catalog/client.h"
#include "catalog/clocks.h"
#include "catalog/history.h"
#include "catalog/incarnation.h"
#include "catalog/pg_type.h"
#include "catalog/policy.h"
#include "catalog/view.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "dialect/messages.h"
#include "fmgr.h"
#include "pull/call.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(offsync_pull_messages);

#define ID_BYTES	16			/* of the digest */

typedef struct MessagePull
{
	const OfsMessageAsk *ask;
	int64		from;			/* this version and all behind it are unseen */
	int64		seen;			/* the snapshot has seen everything up to this one */
	bool		whole;			/* every field is told */
	const OfsView *view;
	List	   *columns;		/* of OfsMessageColumn */
	List	   *deciding;		/* names of columns that decide who sees a row */
	bool		any_decides;	/* all of them do */
	pg_cryptohash_ctx *digest;
	OfsMessage	message;
	StringInfoData value;
	StringInfoData clock;
	char		id[ID_BYTES * 2 + 1];
} MessagePull;

/* ---------- one message ---------- */

static void
digest_text(MessagePull *pull, const char *text)
{
	/* the NUL, too: it parts this text from the next */
	if (pg_cryptohash_update(pull->digest, (const uint8 *) text, strlen(text) + 1) < 0)
		elog(ERROR, "could not compute a digest");
}

static void
make_id(MessagePull *pull)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];

	if (pg_cryptohash_init(pull->digest) < 0)
		elog(ERROR, "could not compute a digest");
	digest_text(pull, pull->message.table);
	digest_text(pull, pull->message.row);
	digest_text(pull, pull->message.column);
	digest_text(pull, pull->message.local_timestamp);
	if (pg_cryptohash_final(pull->digest, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a digest");
	hex_encode((const char *) digest, ID_BYTES, pull->id);
	pull->id[ID_BYTES * 2] = '\0';
	pull->message.id = pull->id;
}

/* The version in which the column was last changed. */
static int64
changed_in(const OfsHistory *history, const char *column)
{
	const OfsHistoryEntry *own = ofs_history_find(history, column);
	int64		version = 0;

	if (own)
		return own->version;
	for (int i = 0; i < history->nentries; i++)
		if (history->entries[i].column == NULL)
			version = Max(version, history->entries[i].version);
	return version;
}

static bool
is_own(const OfsMessageAsk *ask, const OfsHlc *clock)
{
	return ask->client_id && strcmp(clock->node, ask->client_id) == 0 && !(ask->own_at_first && ask->last < 0);
}

static void
tell(MessagePull *pull, OfsMessageColumn *column, const OfsHlc *clock, Datum value, bool isnull)
{
	OfsMessage *message = &pull->message;

	if (is_own(pull->ask, clock))
		return;
	message->column = column->name;
	message->data_type = ofs_message_encode(column, &pull->value, value, isnull);
	message->value = pull->value.data;
	resetStringInfo(&pull->clock);
	ofs_hlc_write(&pull->clock, OFS_HLC_MESSAGES, clock);
	message->local_timestamp = pull->clock.data;
	message->client_id = clock->node;
	make_id(pull);
	pull->ask->take(pull->ask->arg, message);
}

/*
 * Where the device goes on from when it has this.  Where all is told, that is the end: from its rows' versions it might have to begin
 * anew, because something else has happened since, or because they are of an earlier incarnation.
 */
static void
date(MessagePull *pull, int64 version)
{
	OfsMessage *message = &pull->message;

	message->version = version;
	message->settled = version <= pull->seen;
	message->server_timestamp = pull->whole ? pull->seen : Min(version, pull->seen);
	message->forced = pull->whole && (pull->ask->last >= 0 || version < ofs_incarnation_current()->base);
}

/* ---------- rows that come into sight ---------- */

/* What policies read of a row. */
static void
find_deciding(MessagePull *pull)
{
	Relation	rel = table_open(pull->view->table->relid, AccessShareLock);
	Bitmapset  *columns = NULL;
	ListCell   *lc;
	int			attnum = -1;

	pull->deciding = NIL;
	pull->any_decides = false;
	foreach(lc, ofs_policy_list(rel))
	{
		bool		whole_row;

		columns = bms_add_members(columns, ofs_policy_columns((Node *) ((RowSecurityPolicy *) lfirst(lc))->qual, &whole_row));
		pull->any_decides = pull->any_decides || whole_row;
	}
	while ((attnum = bms_next_member(columns, attnum)) > 0)
		pull->deciding = lappend(pull->deciding, pstrdup(NameStr(TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attname)));
	table_close(rel, NoLock);
}

/* The version in which such a column was last changed, where the device hasn't seen it; else 0. */
static int64
moved_in(const MessagePull *pull, const OfsHistory *history, int64 row_version)
{
	int64		version = pull->any_decides ? row_version : 0;
	ListCell   *lc;

	foreach(lc, pull->deciding)
		version = Max(version, changed_in(history, lfirst(lc)));
	return version >= pull->from ? version : 0;
}

/* ---------- what the pull tells ---------- */

static void
begin_collection(void *arg, const OfsView *view, bool whole)
{
	MessagePull *pull = arg;

	pull->view = view;
	pull->whole = whole;
	pull->columns = ofs_message_columns(view);
	find_deciding(pull);
	pull->message.table = view->table->collection;
}

static void
take_row(void *arg, const OfsPulledRow *row)
{
	MessagePull *pull = arg;
	const OfsHistory *history = ofs_history_read(row->history, row->no_history, row->version);
	const OfsClocks *clocks = ofs_clocks_read(pull->view->table->relid, row->clocks, row->no_clocks, row->updated_at);
	int64		moved = moved_in(pull, history, row->version);
	ListCell   *lc;

	pull->message.row = row->id->data;
	foreach(lc, pull->columns)
	{
		OfsMessageColumn *column = lfirst(lc);
		int64		version = Max(changed_in(history, column->name), moved);

		if (!pull->whole && version < pull->from)
			continue;
		/* by the row's it is found again, which is the lower one where a transaction that began earlier wrote last */
		date(pull, Min(version, row->version));
		tell(pull, column, ofs_clocks_get(clocks, column->name), row->values[column->index], row->nulls[column->index]);
	}
}

/*
 * A row that is gone for good has no fields left.  It is told of as deleted in the way that the table has for it: by its soft_delete
 * column, now.
 */
static void
take_gone(void *arg, const char *id)
{
	MessagePull *pull = arg;
	const OfsTable *table = pull->view->table;
	TimestampTz now = GetCurrentTimestamp();
	OfsHlc		clock = {ofs_clocks_wall(now), 0, OFS_SERVER_NODE};
	ListCell   *lc;

	foreach(lc, pull->columns)
	{
		OfsMessageColumn *column = lfirst(lc);
		Datum		at;

		if (column->attnum != table->soft_delete ||
			!ofs_stamp_later(get_atttype(table->relid, column->attnum), -1, (Datum) 0, true, now, &at))
			continue;
		pull->message.row = id;
		pull->message.version = pull->message.server_timestamp = pull->seen;
		pull->message.settled = true;
		pull->message.forced = false;
		tell(pull, column, &clock, at, false);
	}
}

/* Names of the tables whose fields have clocks, as far as the caller may read them. */
static ArrayType *
collections(void)
{
	List	   *tables = ofs_table_list();
	Datum	   *names = palloc(sizeof(Datum) * (list_length(tables) + 1));
	int			count = 0;
	ListCell   *lc;

	foreach(lc, tables)
	{
		OfsTable   *table = lfirst(lc);

		if (strcmp(table->conflict, OFS_MESSAGES_STRATEGY) == 0 && ofs_view_readable(table))
			names[count++] = CStringGetTextDatum(table->collection);
	}
	return construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT);
}

void
ofs_messages_pull(const OfsMessageAsk *ask)
{
	OfsPullCall call = {0};
	MessagePull pull = {ask};
	OfsPullTaker taker = {&pull, begin_collection, take_row, take_gone};

	pull.from = ask->last + 1;
	pull.seen = ofs_version_horizon(GetActiveSnapshot()) - 1;
	pull.digest = pg_cryptohash_create(PG_SHA256);
	if (pull.digest == NULL)
		elog(ERROR, "could not compute a digest");
	initStringInfo(&pull.value);
	initStringInfo(&pull.clock);
	call.last_pulled_at = ask->last < 0 ? NULL : psprintf(INT64_FORMAT, pull.from);
	call.collections = collections();
	call.dialect = "json";
	call.soft_rows = true;
	call.additive = true;
	PG_TRY();
	{
		ofs_pull_take(&call, &taker, NULL);
	}
	PG_FINALLY();
	{
		pg_cryptohash_free(pull.digest);
	}
	PG_END_TRY();
}

bool
ofs_messages_are_of(const char *user_id)
{
	const char *subject = ofs_client_subject();

	return subject == NULL || strcmp(subject, user_id) == 0;
}

/* ---------- the answer as JSON ---------- */

typedef struct Answer
{
	StringInfoData out;
	const char *user_id;
} Answer;

static void
append_member(StringInfo out, const char *name, const char *text)
{
	appendStringInfoString(out, name);
	ofs_json_text(out, text);
}

static void
append_message(void *arg, const OfsMessage *message)
{
	Answer	   *answer = arg;
	StringInfo	out = &answer->out;

	if (out->len > (int) (MaxAllocSize / 2))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_TOO_LARGE),
				 errmsg("the answer is too large for one value"),
				 errhint("Begin the device with a copy of another one's database, or let policies show it fewer rows.")));
	appendStringInfoString(out, out->len > VARHDRSZ + 1 ? ",{" : "{");
	append_member(out, "\"id\":", message->id);
	append_member(out, ",\"table_name\":", message->table);
	append_member(out, ",\"row\":", message->row);
	append_member(out, ",\"column\":", message->column);
	append_member(out, ",\"data_type\":", message->data_type);
	append_member(out, ",\"value\":", message->value);
	appendStringInfo(out, ",\"server_timestamp\":" INT64_FORMAT,
					 message->server_timestamp);
	append_member(out, ",\"local_timestamp\":", message->local_timestamp);
	append_member(out, ",\"user_id\":", answer->user_id);
	append_member(out, ",\"client_id\":", message->client_id);
	ofs_put_char(out, '}');
}

/* last_server_timestamp: null or negative: a first sync; client_id: the device's own; user_id: the caller's own */
Datum
offsync_pull_messages(PG_FUNCTION_ARGS)
{
	char	   *user_id = ofs_argument_text(fcinfo, 2);
	Answer		answer;
	OfsMessageAsk ask = {.own_at_first = true, .take = append_message, .arg = &answer};

	ask.last = PG_ARGISNULL(0) ? -1 : PG_GETARG_INT64(0);
	ask.client_id = ofs_argument_text(fcinfo, 1);
	if (user_id == NULL)
		user_id = unconstify(char *, ofs_client_subject());
	answer.user_id = user_id ? user_id : "";
	initStringInfo(&answer.out);
	appendStringInfoSpaces(&answer.out, VARHDRSZ);
	ofs_put_char(&answer.out, '[');
	if (user_id == NULL || ofs_messages_are_of(user_id))
		ofs_messages_pull(&ask);
	ofs_put_char(&answer.out, ']');
	SET_VARSIZE(answer.out.data, answer.out.len);
	PG_RETURN_TEXT_P((text *) answer.out.data);
}
