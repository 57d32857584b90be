/*
 * pbwrite.c
 *		Records that PocketBase's sync clients write: create, update, delete.
 *
 * These clients send a record whole and say nothing of what they have seen, so there is no conflict to find: the last one to
 * arrive wins, whatever the table's strategy.  A row is written as of the version that was read here; if another write comes
 * between, the call answers 409, and the client sends the record again with its next sync.
 *
 *	create	of an id that the caller's row has already: it was sent before, and its answer was lost; the record is stored as it is now
 *	update	of an id that never was: the record was changed before it was sent for the first time; it is made
 *			a null for a column that can't be NULL says that the device has no value: a default that it hasn't fetched yet, or an
 *			empty text, which it keeps as NULL; the column is left as it is
 *	delete	of what the caller can't see, or that is deleted: 404
 *
 * At 400, 403 and 404 the client deletes its own row, unsent edits included.  So these are answered only where the row is not the
 * caller's to hold: 404 for an update or a delete of a row that is not there, or not to be seen; 403 for a
 * record that the caller may not make.  All other refusals are 422: the edit stays on the device, unsent.  That is so for rows
 * that the caller may read but not write, for values that break a constraint, for collections that aren't synced, for functions
 * that a policy lacks.  What passes by itself (a timeout, a full disk, 409) keeps its code, which is none of the three.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/argument.h"
#include "base/codec.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/spi.h"
#include "base/trial.h"
#include "catalog/asked.h"
#include "catalog/pg_attribute.h"
#include "dialect/pbase.h"
#include "dialect/refusal.h"
#include "fmgr.h"
#include "push/call.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(offsync_pb_create);
PG_FUNCTION_INFO_V1(offsync_pb_update);
PG_FUNCTION_INFO_V1(offsync_pb_delete);

typedef enum PbVerb
{
	PB_CREATE,
	PB_UPDATE,
	PB_DELETE
} PbVerb;

typedef struct PbWrite
{
	PbVerb		verb;
	const char *name;			/* of the function that people called */
	const char *collection;
	const char *id;				/* NULL: it stands in the body */
	const text *body;
	OfsTable   *table;
	const OfsView *view;
	bool		seen;			/* there is a row, and the caller sees it */
	bool		gone;			/* it counts as deleted */
	int64		version;		/* of that */
	StringInfoData answer;
} PbWrite;

/* ---------- the row ---------- */

static void
take_row(const OfsFeedRow *row, void *arg)
{
	PbWrite    *write = arg;

	write->gone = row->gone;
	write->version = row->version;
	ofs_pblist_finish(write->table, row);
	resetStringInfo(&write->answer);
	appendBinaryStringInfo(&write->answer, row->record->data, row->record->len);
}

static void
look(PbWrite *write)
{
	MemoryContext caller = CurrentMemoryContext;
	OfsFeed    *feed;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	MemoryContextSwitchTo(caller);
	write->table = ofs_pblist_table(write->collection);
	feed = ofs_feed_open(NULL, OFS_DIALECT_POCKETBASE);
	write->view = ofs_feed_view(feed, write->table);
	ofs_pblist_shape(ofs_feed_view(feed, write->table));
	write->seen = ofs_feed_one(feed, write->table, write->id, take_row, write);
	SPI_finish();
	PopActiveSnapshot();
}

/* ---------- the document ---------- */

static Jsonb *
parse_body(const PbWrite *write)
{
	Jsonb	   *body;

	if (write->body == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("body must not be null")));
	body = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text_to_cstring(write->body))));
	if (!JB_ROOT_IS_OBJECT(body))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("body must be a JSON object")));
	return body;
}

static const char *
find_id(const PbWrite *write)
{
	JsonbValue	buffer;
	JsonbValue *id = getKeyJsonValueFromContainer(&parse_body(write)->root, "id", 2, &buffer);

	if (id != NULL && id->type == jbvString && id->val.string.len > 0)
		return pnstrdup(id->val.string.val, id->val.string.len);
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("body has no id"),
			 errdetail("The id is the client's to choose."),
			 errhint("offsync.new_id() makes one.")));
	return NULL;				/* not reached */
}

static bool
is_not_null(const OfsTable *table, AttrNumber attnum)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(table->relid), Int16GetDatum(attnum));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;
	ReleaseSysCache(tuple);
	return result;
}

/* Nulls that no row of the table can hold. */
static Datum
drop_nulls(const PbWrite *write, Datum record)
{
	for (int i = 0; i < write->view->ncolumns; i++)
	{
		const char *name = write->view->names[i];
		JsonbValue	buffer;
		JsonbValue *value = getKeyJsonValueFromContainer(&DatumGetJsonbP(record)->root, name, strlen(name), &buffer);

		if (value != NULL && value->type == jbvNull && is_not_null(write->table, write->view->columns[i]))
			record = DirectFunctionCall2(jsonb_delete, record, CStringGetTextDatum(name));
	}
	return record;
}

/* The record as a push has it: with what it is based on, and without what PocketBase's servers write. */
static void
append_record(StringInfo out, const PbWrite *write)
{
	static const char *const dropped[] = {"created", "updated", "collectionId", "collectionName", "expand", "server_version"};
	Datum		record = JsonbPGetDatum(parse_body(write));
	StringInfoData base;

	for (int i = 0; i < (int) lengthof(dropped); i++)
		record = DirectFunctionCall2(jsonb_delete, record, CStringGetTextDatum(dropped[i]));
	if (write->seen)
		record = drop_nulls(write, record);
	initStringInfo(&base);
	appendStringInfoString(&base, "{\"id\":");
	ofs_json_text(&base, write->id);
	if (write->seen)
		appendStringInfo(&base, ",\"server_version\":" INT64_FORMAT, write->version);
	appendStringInfoChar(&base, '}');
	record = DirectFunctionCall2(jsonb_concat, record, DirectFunctionCall1(jsonb_in, CStringGetDatum(base.data)));
	appendStringInfoString(out, DatumGetCString(DirectFunctionCall1(jsonb_out, record)));
}

static text *
make_changes(const PbWrite *write)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	ofs_json_text(&out, write->collection);
	appendStringInfoString(&out, ":{\"created\":[");
	if (write->verb == PB_CREATE)
		append_record(&out, write);
	appendStringInfoString(&out, "],\"updated\":[");
	if (write->verb == PB_UPDATE)
		append_record(&out, write);
	appendStringInfoString(&out, "],\"deleted\":[");
	if (write->verb == PB_DELETE)
	{
		appendStringInfoString(&out, "{\"id\":");
		ofs_json_text(&out, write->id);
		appendStringInfo(&out, ",\"server_version\":" INT64_FORMAT "}", write->version);
	}
	appendStringInfoString(&out, "]}}");
	return cstring_to_text_with_len(out.data, out.len);
}

/* ---------- the write ---------- */

OFS_NORETURN static void
not_found(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_UNKNOWN),
			 errmsg("the record was not found"),
			 errdetail("There is none of this id, or you can not see it.")));
}

static void
store(void *arg)
{
	PbWrite    *write = arg;
	OfsPushCall call = {.uncounted = true};

	if (write->verb == PB_CREATE)
		write->id = find_id(write);
	look(write);
	if (write->verb == PB_DELETE && (!write->seen || write->gone))
		not_found();
	if (write->seen && write->gone)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_CONFLICT),
				 errmsg("the record was deleted"),
				 errhint("The list of changes tells of it.")));
	call.changes = make_changes(write);
	call.dialect = OFS_DIALECT_NAME_POCKETBASE;
	call.strategy = "reject";
	(void) ofs_push_store(&call, write->name);
	CommandCounterIncrement();
	if (write->verb == PB_DELETE)
		return;
	look(write);
	if (write->seen)
		return;
	/* its maker may not read it */
	resetStringInfo(&write->answer);
	appendStringInfoString(&write->answer, "{\"id\":");
	ofs_json_text(&write->answer, write->id);
	appendStringInfoChar(&write->answer, '}');
}

/* Does it pass by itself, or tell of the server's state, under a status at which the client keeps its row? */
static bool
is_passing(const ErrorData *error)
{
	int			code = error->sqlerrcode;

	return !ofs_trial_bears(error) || ERRCODE_TO_CATEGORY(code) == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		code == ERRCODE_OFS_TOO_LARGE || code == ERRCODE_OFS_CONFLICT || code == ERRCODE_OFS_BEHIND;
}

/* The SQLSTATE under which the client hears of the error. */
static int
choose_code(const ErrorData *error, void *arg)
{
	const PbWrite *write = arg;

	if (is_passing(error))
		return error->sqlerrcode;
	if (error->sqlerrcode == ERRCODE_OFS_UNKNOWN && write->table != NULL)
		return error->sqlerrcode;	/* not_found()'s own */
	if (error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE && write->table != NULL && !write->seen)
	{
		if (write->verb == PB_UPDATE)
			not_found();
		return error->sqlerrcode;
	}
	return ERRCODE_OFS_REFUSED;
}

static void
run(PbWrite *write)
{
	int			level = ofs_jit_off();

	initStringInfo(&write->answer);
	ofs_refusal_run(store, write, choose_code);
	AtEOXact_GUC(true, level);
}

text *
ofs_pbwrite_create(const char *name, const char *collection, const text *body)
{
	PbWrite		write = {PB_CREATE, name, collection, NULL, body};

	run(&write);
	return cstring_to_text_with_len(write.answer.data, write.answer.len);
}

text *
ofs_pbwrite_update(const char *name, const char *collection, const char *id, const text *body)
{
	PbWrite		write = {PB_UPDATE, name, collection, id, body};

	run(&write);
	return cstring_to_text_with_len(write.answer.data, write.answer.len);
}

void
ofs_pbwrite_delete(const char *name, const char *collection, const char *id)
{
	PbWrite		write = {PB_DELETE, name, collection, id};

	run(&write);
}

/* ---------- in SQL ---------- */

static char *
require_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	char	   *text = ofs_argument_text(fcinfo, n);

	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_REFUSED),
				 errmsg("%s must not be null", name)));
	return text;
}

static text *
body_of(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n);
}

/* collection; body */
Datum
offsync_pb_create(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(ofs_pbwrite_create("offsync.pb_create()", require_text(fcinfo, 0, "collection"), body_of(fcinfo, 1)));
}

/* collection; id; body */
Datum
offsync_pb_update(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(ofs_pbwrite_update("offsync.pb_update()", require_text(fcinfo, 0, "collection"),
										require_text(fcinfo, 1, "id"), body_of(fcinfo, 2)));
}

/* collection; id */
Datum
offsync_pb_delete(PG_FUNCTION_ARGS)
{
	ofs_pbwrite_delete("offsync.pb_delete()", require_text(fcinfo, 0, "collection"), require_text(fcinfo, 1, "id"));
	PG_RETURN_VOID();
}
