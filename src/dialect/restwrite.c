/*
 * restwrite.c
 *		One record of a client of a REST cache is stored, or deleted.
 *
 * Such a client sends the time of the row that its change started from.  That is compared, down to the millisecond, with the row that the
 * caller sees: where they differ, nothing is written, and the row is handed back, so that the client can merge and come again.  Where they
 * are the same the push goes ahead from the version that was looked at; a row that changes in between is looked at
 * again.  A client that sends no time, or that forces its change, has looked at the row itself, and wins over whatever is
 * there: no strategy of the table's is asked.
 *
 * A row that is not there, and one that the caller doesn't see, are answered alike.  A change to a row that is gone is a conflict with
 * nothing, not a 404: such clients take that for an acknowledgement, and would lose the change.  For the same reason nothing that
 * is wrong with a write is a 404, nor, where it is no conflict, a 409: neither of our own, nor what a gateway makes of an SQLSTATE.  What is
 * wrong with the server is a 5xx, which they send again.
 *
 * What came with a key is stored once (push/log.c).  A repetition gets the row as it is now.  A conflict leaves no trace, and a client
 * that comes again with the same key forces: that is another push.  Where the answer to that got lost, the client begins with the conflict
 * again, and may have merged with a later row by the time that it forces: it is the same change all the same, and was stored.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/count.h"
#include "base/errors.h"
#include "base/jsonsplit.h"
#include "base/trial.h"
#include "catalog/incarnation.h"
#include "catalog/pg_type.h"
#include "catalog/pushlog.h"
#include "dialect/refusal.h"
#include "dialect/rest.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "push/call.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* All such devices of a user share a name: what one has pushed is no evidence of what another has seen, and isn't taken for it. */
#define CLIENT		"rest"

/* A row that changes between being looked at and being written this often has a very busy writer. */
#define MAX_ROUNDS	8

/* What came, taken apart. */
typedef struct Sent
{
	RestWrite  *write;
	OfsTable   *table;
	const char *id;
	OfsJsonMember *members;
	int			nmembers;
	const char *base;
	OfsClient  *client;
	const char *push_id;
	const char *stored;			/* the id that was written under this key before; or NULL */
} Sent;

/* ---------- what came ---------- */

static OfsTable *
find_table(const char *kind)
{
	if (kind == NULL || ofs_table_by_name(kind) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_REFUSED),
				 errmsg("unknown collection \"%s\"", kind ? kind : ""),
				 errhint("The view offsync.status lists the collections.")));
	return ofs_rest_table(kind);
}

static void
split_body(Sent *sent)
{
	OfsJsonValue body = {OFS_JSON_NESTED, strlen(sent->write->body), sent->write->body};

	if (body.text[strspn(body.text, " \t\r\n")] != '{')
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("malformed record"),
				 errdetail("It is no JSON object.")));
	sent->nmembers = ofs_json_split(&body, &sent->members);
	for (int i = 0; i < sent->nmembers; i++)
	{
		const OfsJsonMember *member = &sent->members[i];

		if (member->value.kind != OFS_JSON_STRING && member->value.kind != OFS_JSON_NUMBER)
			continue;
		if (strcmp(member->name, "_baseUpdatedAt") == 0 && !ofs_rest_given(sent->base))
			sent->base = member->value.text;
		else if (strcmp(member->name, "id") == 0 && !ofs_rest_given(sent->id))
			sent->id = member->value.text;
	}
}

/* Does the member say something that the server says, or something about the record rather than in it? */
static bool
is_ours(const char *name)
{
	static const char *const names[] = {"id", "_baseUpdatedAt", "updated_at", "updatedAt"};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return strncmp(name, "server_", strlen("server_")) == 0;
}

/* The changes that a push takes. */
static text *
make_changes(const Sent *sent)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	ofs_json_text(&out, sent->write->kind);
	appendStringInfoString(&out, ":{\"created\":[],\"updated\":[");
	if (sent->write->body)
	{
		appendStringInfoString(&out, "{\"id\":");
		ofs_json_text(&out, sent->id);
		for (int i = 0; i < sent->nmembers; i++)
		{
			if (is_ours(sent->members[i].name))
				continue;
			appendStringInfoChar(&out, ',');
			ofs_json_text(&out, sent->members[i].name);
			appendStringInfoChar(&out, ':');
			ofs_json_append(&out, &sent->members[i].value);
		}
		appendStringInfoString(&out, "}],\"deleted\":[]}}");
	}
	else
	{
		appendStringInfoString(&out, "],\"deleted\":[");
		ofs_json_text(&out, sent->id);
		appendStringInfoString(&out, "]}}");
	}
	return cstring_to_text_with_len(out.data, out.len);
}

/* ---------- ids ---------- */

static Datum
evaluate(Node *expression, bool *isnull)
{
	EState	   *estate = CreateExecutorState();
	ExprState  *state = ExecPrepareExpr((Expr *) expression, estate);
	MemoryContext context = CurrentMemoryContext;
	Datum		value = ExecEvalExprSwitchContext(state, GetPerTupleExprContext(estate), isnull);
	int16		len;
	bool		byval;

	get_typlenbyval(exprType(expression), &len, &byval);
	MemoryContextSwitchTo(context);
	if (!*isnull)
		value = datumCopy(value, byval, len);
	FreeExecutorState(estate);
	return value;
}

/* The key's default, or a random one; NULL where there is neither. */
static Datum
draw_key(OfsTable *table, bool *isnull)
{
	Relation	rel = table_open(table->relid, AccessShareLock);
	Node	   *expression = build_column_default(rel, table->key[0]);
	Oid			base = getBaseType(table->key_types[0]);
	LOCAL_FCINFO(fcinfo, 0);
	Datum		value = (Datum) 0;

	*isnull = true;
	if (expression)
		value = evaluate(expression, isnull);
	if (*isnull && (base == UUIDOID || base == TEXTOID || base == VARCHAROID))
	{
		InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
		value = gen_random_uuid(fcinfo);
		*isnull = false;
		if (base != UUIDOID)
			value = CStringGetTextDatum(DatumGetCString(DirectFunctionCall1(uuid_out, value)));
	}
	table_close(rel, NoLock);
	return value;
}

static char *
draw_id(OfsTable *table)
{
	StringInfoData id;
	bool		isnull = true;
	Datum		value = (Datum) 0;

	if (table->nkey == 1)
		value = draw_key(table, &isnull);
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_REFUSED),
				 errmsg("a record of collection \"%s\" needs an id", table->collection),
				 errdetail("The key has no default, and is neither a uuid nor text.")));
	initStringInfo(&id);
	ofs_key_write(ofs_key_create(1, table->key_types, table->key_typmods), &id, &value);
	return id.data;
}

/* ---------- keys ---------- */

/* Who pushes, and under which id: a forced change is another one than the change that it repeats. */
static void
identify(Sent *sent)
{
	if (!ofs_rest_given(sent->write->key))
		return;
	sent->client = ofs_client_identify(CLIENT);
	sent->push_id = sent->write->force ? psprintf("%s force", sent->write->key) : sent->write->key;
	ofs_client_check_length("the idempotency key", sent->push_id);
}

/* The same change, forced before, and merged anew. */
static bool
is_forced_again(const Sent *sent)
{
	return sent->write->force && sent->stored != NULL && strcmp(sent->stored, sent->id) == 0;
}

/* Was it stored before?  Then its id is known. */
static bool
is_repeated(Sent *sent)
{
	OfsPushed  *pushed;
	OfsJsonValue outcome = {OFS_JSON_NESTED};
	OfsJsonMember *members;
	int			count;

	if (sent->push_id == NULL)
		return false;
	ofs_pushlog_lock(sent->client, sent->push_id);
	pushed = ofs_pushlog_find(sent->client, sent->push_id);
	if (pushed == NULL)
		return false;
	outcome.text = psprintf("{%s}", pushed->outcome);
	outcome.len = strlen(outcome.text);
	count = ofs_json_split(&outcome, &members);
	for (int i = 0; i < count; i++)
		if (strcmp(members[i].name, "rest") == 0 && members[i].value.kind == OFS_JSON_STRING)
			sent->stored = members[i].value.text;
	if (!ofs_rest_given(sent->id))
		sent->id = sent->stored;
	return true;
}

/* ---------- pushing ---------- */

static void
push(void *arg)
{
	(void) ofs_push_store(arg, "offsync.rest()");
}

/* Store it from this version on (0: from nothing); false: the row has changed. */
static bool
store(const Sent *sent, int64 version)
{
	OfsPushCall call = {0};
	StringInfoData members;
	ErrorData  *error;

	initStringInfo(&members);
	appendStringInfoString(&members, "\"rest\":");
	ofs_json_text(&members, sent->id);
	call.changes = make_changes(sent);
	call.client_id = sent->client ? CLIENT : NULL;
	call.push_id = sent->push_id;
	call.dialect = "json";
	call.based = true;
	call.base = version;
	call.unplaced = true;
	call.uncounted = true;
	call.members = members.data;
	error = ofs_trial_run(push, &call);
	if (error && error->sqlerrcode == ERRCODE_OFS_CONFLICT)
		return false;
	if (error)
		ReThrowError(error);
	CommandCounterIncrement();
	return true;
}

/* Has the row changed since what the change started from?  What this transaction wrote, the client did. */
static bool
is_stale(const Sent *sent)
{
	const RestRow *row = &sent->write->row;

	if (!ofs_rest_given(sent->base) || sent->write->force)
		return false;
	/* deleted on both sides */
	if (sent->write->body == NULL && (!row->exists || row->gone))
		return false;
	if (!row->exists)
		return true;
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()) && row->version == ofs_version_stamp())
		return false;
	return ofs_rest_shown(row->stamp, ofs_rest_latest()) != ofs_rest_parse_time("_baseUpdatedAt", sent->base);
}

/* Look at the row, and store from there; the status. */
static int
look_and_store(Sent *sent)
{
	const RestRow *row = &sent->write->row;

	for (int round = 0; round < MAX_ROUNDS; round++)
	{
		ofs_rest_fetch(sent->table, sent->id, &sent->write->row);
		if (is_stale(sent))
			return 409;
		if (store(sent, row->exists ? row->version : 0))
			return row->exists || sent->write->body == NULL ? 200 : 201;
	}
	ereport(ERROR,
			(errcode(ERRCODE_OFS_BEHIND),
			 errmsg("the record was changed on the server while it was written"),
			 errhint("Send it again.")));
	return 0;					/* not reached */
}

static void
write_one(void *arg)
{
	RestWrite  *write = arg;
	Sent		sent = {.write = write, .id = write->id, .base = write->base};
	bool		repeated;

	sent.table = find_table(write->kind);
	if (write->body)
		split_body(&sent);
	identify(&sent);
	repeated = is_repeated(&sent);
	if (!ofs_rest_given(sent.id) && write->body == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("an id is needed")));
	if (!ofs_rest_given(sent.id))
		sent.id = draw_id(sent.table);
	if (!repeated)
		write->status = look_and_store(&sent);
	else if (is_forced_again(&sent) || store(&sent, 0))
		write->status = 200;
	if (write->status != 409)
		ofs_rest_fetch(sent.table, sent.id, &write->row);
}

void
ofs_rest_write(RestWrite *write)
{
	ofs_refusal_run(write_one, write, ofs_refusal_code);
	if (write->status == 409)
		ofs_count_failed_push(1);
}
