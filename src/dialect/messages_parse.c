/*
 * messages_parse.c
 *		Messages as they are pushed, each judged by itself.
 *
 * One that is malformed, or that nobody could store, is refused alone: the messages that came with it are none the worse.
 * What is wrong with a value its type's input function says, so each is read here in a subtransaction; all of
 * them in one, as long as nothing is wrong.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/pushdoc.h"
#include "base/settings.h"
#include "base/trial.h"
#include "catalog/clocks.h"
#include "dialect/messages.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

typedef struct Batch
{
	OfsPushedMessage *messages;
	int			first;
	int			count;			/* behind the last one */
	OfsJsonScan scan;
	List	  **tables;			/* of OfsMessageTable */
	int64		wall;			/* milliseconds since 1970 */
} Batch;

/* ---------- the document ---------- */

OFS_NORETURN static void
malformed(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed messages"),
			 errdetail_internal("%s", detail)));
}

OfsPushedMessage *
ofs_messages_add(OfsPushedMessage **messages, int *count, int *room)
{
	OfsPushedMessage *message;

	if (*count == *room)
	{
		*room *= 2;
		*messages = repalloc_huge(*messages, sizeof(OfsPushedMessage) * *room);
	}
	message = &(*messages)[*count];
	memset(message, 0, sizeof(*message));
	message->place = (*count)++;
	return message;
}

static void
take_message(OfsJsonScan *scan, OfsPushedMessage *message)
{
	if (ofs_jsonscan_peek(scan) != '{')
		malformed(_("Each message must be an object."));
	ofs_jsonscan_raw(scan, &message->raw);
}

OfsPushedMessage *
ofs_messages_read(const char *json, int len, int *count)
{
	OfsJsonScan scan;
	int			room = 64;
	OfsPushedMessage *messages = palloc(sizeof(OfsPushedMessage) * room);

	*count = 0;
	ofs_jsonscan_open(&scan, json, len);
	if (ofs_jsonscan_peek(&scan) == '{')
	{
		take_message(&scan, ofs_messages_add(&messages, count, &room));
		return messages;
	}
	if (!ofs_jsonscan_step(&scan, '['))
		malformed(_("They must be an array."));
	if (ofs_jsonscan_step(&scan, ']'))
		return messages;
	do
		take_message(&scan, ofs_messages_add(&messages, count, &room));
	while (ofs_jsonscan_step(&scan, ','));
	ofs_jsonscan_expect(&scan, ']');
	return messages;
}

/* A member, which is a text; NULL where there is none. */
static const char *
read_member(OfsJsonScan *scan, const OfsJsonSlice *raw)
{
	OfsJsonSlice value;

	if (raw->text == NULL || raw->kind == OFS_JSON_NULL)
		return NULL;
	ofs_jsonscan_read(scan, raw, &value);
	if (value.kind != OFS_JSON_STRING && value.kind != OFS_JSON_NUMBER)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("all members of a message are texts")));
	return pnstrdup(value.text, value.len);
}

/* What stands in the document; members that aren't known are passed over.  The id comes first: a refusal names it. */
static void
read_message(OfsJsonScan *scan, OfsPushedMessage *message)
{
	static const char *const names[] = {
		"id", "table_name", "row", "column", "data_type", "value", "local_timestamp", "user_id"
	};
	const char **const places[] = {
		&message->id, &message->table_name, &message->row, &message->column_name, &message->data_type, &message->value,
		&message->local_timestamp, &message->user_id
	};
	OfsJsonSlice members[lengthof(names)];

	scan->at = message->raw.text;
	scan->end = message->raw.text + message->raw.len;
	ofs_jsonscan_members(scan, names, lengthof(names), members);
	for (int i = 0; i < (int) lengthof(names); i++)
		*places[i] = read_member(scan, &members[i]);
}

/* ---------- what each is about ---------- */

static OfsMessageTable *
find_table(Batch *batch, const char *name)
{
	OfsTable   *table = ofs_table_by_name(name);
	OfsMessageTable *found;
	ListCell   *lc;

	if (table == NULL)
	{
		ereport(ERROR,
				(errcode(ERRCODE_OFS_UNKNOWN),
				 errmsg("unknown collection \"%s\"", name)));
		return NULL;			/* not reached */
	}
	foreach(lc, *batch->tables)
		if (((OfsMessageTable *) lfirst(lc))->table->relid == table->relid)
			return lfirst(lc);
	if (strcmp(table->conflict, OFS_MESSAGES_STRATEGY) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("collection \"%s\" takes no messages: it is to be enabled with conflict => '%s'",
						table->collection, OFS_MESSAGES_STRATEGY)));
	found = palloc(sizeof(OfsMessageTable));
	found->table = table;
	found->columns = ofs_message_columns(ofs_view_columns(table));
	*batch->tables = lappend(*batch->tables, found);
	return found;
}

/* A message about the key itself only says that there is the row. */
static bool
is_key(const OfsTable *table, const OfsPushedMessage *message)
{
	if (table->nkey != 1 || strcmp(get_attname(table->relid, table->key[0], false), message->column_name) != 0)
		return false;
	if (strcmp(message->value, message->row) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("column \"%s\" is the key, and differs from the row", message->column_name)));
	return true;
}

static void
read_clock(const Batch *batch, OfsPushedMessage *message)
{
	if (!ofs_hlc_parse(message->local_timestamp, &message->clock) || message->clock.node[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("malformed local_timestamp")));
	if (ofs_hlc_ahead(&message->clock, batch->wall, ofs_max_clock_drift))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("local_timestamp is ahead of the server's clock by more than %d ms", ofs_max_clock_drift)));
}

static void
read_value(OfsPushedMessage *message)
{
	bool		isnull;

	if (!ofs_message_decode(message->column, message->data_type, message->value, &message->sent))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("the value is not JSON")));
	(void) ofs_codec_read(message->column->codec, &message->sent, &isnull);
}

static void
judge(Batch *batch, OfsPushedMessage *message)
{
	if (message->raw.text)
		read_message(&batch->scan, message);
	if (message->id == NULL || message->table_name == NULL || message->row == NULL || message->row[0] == '\0' ||
		message->column_name == NULL || message->local_timestamp == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("a message needs id, table_name, row, column and local_timestamp")));
	if (strlen(message->row) > OFS_PUSH_ID_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("row has more than %d bytes", OFS_PUSH_ID_MAX)));
	if (message->user_id && !ofs_messages_are_of(message->user_id))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the message is another user's")));
	if (message->data_type == NULL)
		message->data_type = "";
	if (message->value == NULL)
		message->value = "";
	read_clock(batch, message);
	message->table = find_table(batch, message->table_name);
	message->column = ofs_message_column(message->table->columns, message->column_name);
	if (message->column)
		read_value(message);
	else if (!is_key(message->table->table, message))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("collection \"%s\" has no column \"%s\" that messages can write",
						message->table->table->collection, message->column_name)));
}

static void
judge_batch(void *arg)
{
	Batch	   *batch = arg;

	for (int i = batch->first; i < batch->count; i++)
		judge(batch, &batch->messages[i]);
}

/* What is wrong with any of them; NULL: nothing. */
static ErrorData *
run(Batch *batch)
{
	ErrorData  *error = ofs_trial_run(judge_batch, batch);

	if (error && !ofs_trial_bears(error))
		ReThrowError(error);
	return error;
}

void
ofs_messages_judge(OfsPushedMessage *messages, int count)
{
	List	   *tables = NIL;
	Batch		batch = {.messages = messages, .count = count, .tables = &tables};

	ofs_jsonscan_open(&batch.scan, NULL, 0);
	batch.wall = ofs_clocks_wall(GetCurrentTimestamp());
	if (run(&batch) == NULL)
		return;
	for (int i = 0; i < count; i++)
	{
		ErrorData  *error;

		batch.first = i;
		batch.count = i + 1;
		error = run(&batch);
		if (error == NULL)
			continue;
		messages[i].code = error->sqlerrcode;
		messages[i].reason = error->message ? error->message : "";
	}
}
