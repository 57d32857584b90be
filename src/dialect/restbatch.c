/*
 * restbatch.c
 *		Several changes of a client of a REST cache in one call, each by itself.
 *
 * What fails is undone alone, and its result says why; what is wrong with the server, and not with the change, fails the batch, which the
 * client sends again.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/count.h"
#include "base/errors.h"
#include "base/jsonsplit.h"
#include "base/trial.h"
#include "dialect/rest.h"
#include "utils/memutils.h"

typedef struct Op
{
	const char *op_id;
	const char *type;
	RestWrite	write;
} Op;

/* Keeps the text of a string or number. */
static const char *
text_of(const OfsJsonValue *value)
{
	return value->kind == OFS_JSON_STRING || value->kind == OFS_JSON_NUMBER ? value->text : NULL;
}

static const char *
body_of(const OfsJsonValue *value)
{
	return value->kind == OFS_JSON_NESTED ? pnstrdup(value->text, value->len) : NULL;
}

static void
malformed(const char *detail)
{
	ofs_count_failed_push(0);
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed batch"),
			 errdetail_internal("%s", detail)));
}

static int
split(const char *text, int len, char opening, OfsJsonMember **members)
{
	OfsJsonValue value = {OFS_JSON_NESTED, len, text};

	if (len == 0 || text[strspn(text, " \t\r\n")] != opening)
		malformed(_("It is not of the form {\"ops\":[{...}, ...]}."));
	return ofs_json_split(&value, members);
}

static void
read_op(const OfsJsonValue *value, Op *op)
{
	OfsJsonMember *members;
	int			count = split(value->text ? value->text : "", value->kind == OFS_JSON_NESTED ? value->len : 0, '{', &members);

	for (int i = 0; i < count; i++)
	{
		const char *name = members[i].name;
		const OfsJsonValue *member = &members[i].value;

		if (strcmp(name, "opId") == 0)
			op->op_id = text_of(member);
		else if (strcmp(name, "type") == 0)
			op->type = text_of(member);
		else if (strcmp(name, "kind") == 0)
			op->write.kind = text_of(member);
		else if (strcmp(name, "id") == 0)
			op->write.id = text_of(member);
		else if (strcmp(name, "payload") == 0)
			op->write.body = body_of(member);
		else if (strcmp(name, "baseUpdatedAt") == 0)
			op->write.base = text_of(member);
	}
}

/* ---------- one after the other ---------- */

static void
run_op(void *arg)
{
	Op		   *op = arg;
	bool		deletes = op->type != NULL && strcmp(op->type, "delete") == 0;

	if (!deletes && (op->type == NULL || strcmp(op->type, "upsert") != 0))
		malformed(_("The type of an operation is neither \"upsert\" nor \"delete\"."));
	if (deletes)
		op->write.body = NULL;
	else if (op->write.body == NULL)
		malformed(_("An upsert has no payload."));
	ofs_rest_write(&op->write);
}

/* The status of an error that is the change's own; 0: it isn't. */
static int
status_of(const ErrorData *error)
{
	const char *state = unpack_sql_state(error->sqlerrcode);

	if (!ofs_trial_bears(error) || strncmp(state, "PT5", 3) == 0)
		return 0;
	if (error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE)
		return 403;
	return strncmp(state, "PT4", 3) == 0 ? atoi(state + 2) : 400;
}

static void
append_string(StringInfo out, const char *text)
{
	ofs_json_string(out, text, strlen(text));
}

static void
append_error(StringInfo out, const ErrorData *error, int status)
{
	appendStringInfo(out, "\"statusCode\":%d,\"error\":{\"error\":", status);
	append_string(out, error->message);
	appendStringInfo(out, ",\"code\":\"%s\"", unpack_sql_state(error->sqlerrcode));
	if (error->detail)
	{
		appendStringInfoString(out, ",\"details\":");
		append_string(out, error->detail);
	}
	appendStringInfoChar(out, '}');
}

static void
append_outcome(StringInfo out, const RestWrite *write)
{
	appendStringInfo(out, "\"statusCode\":%d", write->status);
	if (write->status == 409)
		appendStringInfo(out, ",\"error\":{\"error\":\"conflict\",\"current\":%s}", write->row.item);
	else if (write->body)
		appendStringInfo(out, ",\"data\":%s,\"version\":\"" INT64_FORMAT "\"", write->row.item, write->row.version);
}

static void
append_result(StringInfo out, const OfsJsonValue *value, const char *fallback)
{
	Op			op = {0};
	ErrorData  *error;

	read_op(value, &op);
	/* one alone has the batch's key for its own */
	op.write.key = ofs_rest_given(op.op_id) ? op.op_id : fallback;
	error = ofs_trial_run(run_op, &op);
	if (error && status_of(error) == 0)
		ReThrowError(error);
	appendStringInfoString(out, "{\"opId\":");
	if (op.op_id)
		append_string(out, op.op_id);
	else
		appendStringInfoString(out, "null");
	appendStringInfoChar(out, ',');
	if (error)
		append_error(out, error, status_of(error));
	else
		append_outcome(out, &op.write);
	appendStringInfoChar(out, '}');
}

char *
ofs_rest_batch(const char *body, const char *key)
{
	OfsJsonMember *members;
	OfsJsonMember *ops = NULL;
	int			count = split(body, strlen(body), '{', &members);
	int			nops = -1;
	StringInfoData out;

	for (int i = 0; i < count; i++)
		if (strcmp(members[i].name, "ops") == 0 && members[i].value.kind == OFS_JSON_NESTED)
			nops = split(members[i].value.text, members[i].value.len, '[', &ops);
	if (nops < 0)
		malformed(_("It is not of the form {\"ops\":[{...}, ...]}."));
	initStringInfo(&out);
	appendStringInfoString(&out, "{\"results\":[");
	for (int i = 0; i < nops; i++)
	{
		if (i > 0)
			appendStringInfoChar(&out, ',');
		append_result(&out, &ops[i].value, ofs_rest_given(key) ? psprintf("%s %d", key, i) : NULL);
	}
	appendStringInfoString(&out, "]}");
	return out.data;
}
