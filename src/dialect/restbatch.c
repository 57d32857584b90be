/*
 * restbatch.c
 *		Several changes of a client of a REST cache in one call, each by itself.
 *
 * What fails is undone alone, and its result says why; what is wrong with the server, and not with the change, fails the batch, which the
 * client sends again.  So each operation is read by itself: what no text can hold in one of them is the trouble of that one.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/count.h"
#include "base/errors.h"
#include "base/jsonscan.h"
#include "base/trial.h"
#include "dialect/rest.h"
#include "utils/memutils.h"

#define FORM	gettext_noop("It is not of the form {\"ops\":[{...}, ...]}.")

typedef struct Op
{
	OfsJsonSlice raw;
	const char *op_id;
	const char *fallback;		/* key of one that has no id */
	RestWrite	write;
} Op;

static void
malformed(const char *detail)
{
	ofs_count_failed_push(0);
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed batch"),
			 errdetail_internal("%s", detail)));
}

/* The text of a string or number. */
static const char *
text_of(OfsJsonScan *scan, const OfsJsonSlice *raw)
{
	OfsJsonSlice value;

	if (raw->text == NULL)
		return NULL;
	ofs_jsonscan_read(scan, raw, &value);
	return value.kind == OFS_JSON_STRING || value.kind == OFS_JSON_NUMBER ? pnstrdup(value.text, value.len) : NULL;
}

/* ---------- one after the other ---------- */

/* The id comes first: whatever else is wrong, the result has it.  Returns the type. */
static const char *
read_op(Op *op)
{
	static const char *const names[] = {"opId", "type", "kind", "id", "payload", "baseUpdatedAt"};
	OfsJsonSlice members[lengthof(names)];
	const OfsJsonSlice *payload = &members[4];
	OfsJsonScan scan;
	const char *type;

	ofs_jsonscan_open(&scan, op->raw.text, op->raw.len);
	ofs_jsonscan_members(&scan, names, lengthof(names), members);
	op->op_id = text_of(&scan, &members[0]);
	type = text_of(&scan, &members[1]);
	op->write.kind = text_of(&scan, &members[2]);
	op->write.id = text_of(&scan, &members[3]);
	op->write.body = payload->text && payload->kind == OFS_JSON_NESTED ? pnstrdup(payload->text, payload->len) : NULL;
	op->write.base = text_of(&scan, &members[5]);
	/* one alone has the batch's key for its own */
	op->write.key = ofs_rest_given(op->op_id) ? op->op_id : op->fallback;
	return type ? type : "";
}

static void
run_op(void *arg)
{
	Op		   *op = arg;
	const char *type = read_op(op);

	if (strcmp(type, "delete") == 0)
		op->write.body = NULL;
	else if (strcmp(type, "upsert") != 0)
		malformed(_("The type of an operation is neither \"upsert\" nor \"delete\"."));
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
append_error(StringInfo out, const ErrorData *error, int status)
{
	appendStringInfo(out, "\"statusCode\":%d,\"error\":{\"error\":", status);
	ofs_json_text(out, error->message);
	appendStringInfo(out, ",\"code\":\"%s\"", unpack_sql_state(error->sqlerrcode));
	if (error->detail)
	{
		appendStringInfoString(out, ",\"details\":");
		ofs_json_text(out, error->detail);
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
append_result(StringInfo out, Op *op)
{
	ErrorData  *error = ofs_trial_run(run_op, op);

	if (error && status_of(error) == 0)
		ReThrowError(error);
	appendStringInfoString(out, "{\"opId\":");
	ofs_json_text(out, op->op_id);
	appendStringInfoChar(out, ',');
	if (error)
		append_error(out, error, status_of(error));
	else
		append_outcome(out, &op->write);
	appendStringInfoChar(out, '}');
}

static void
run_ops(const OfsJsonSlice *ops, const char *key, StringInfo out)
{
	OfsJsonScan scan;
	int			n = 0;

	ofs_jsonscan_open(&scan, ops->text, ops->len);
	ofs_jsonscan_expect(&scan, '[');
	if (ofs_jsonscan_step(&scan, ']'))
		return;
	do
	{
		Op			op = {0};

		ofs_jsonscan_raw(&scan, &op.raw);
		if (op.raw.text[0] != '{')
			malformed(_(FORM));
		if (ofs_rest_given(key))
			op.fallback = psprintf("%s %d", key, n);
		appendStringInfoString(out, n++ > 0 ? "," : "");
		append_result(out, &op);
	} while (ofs_jsonscan_step(&scan, ','));
	ofs_jsonscan_expect(&scan, ']');
}

char *
ofs_rest_batch(const char *body, const char *key)
{
	static const char *const names[] = {"ops"};
	OfsJsonScan scan;
	OfsJsonSlice ops;
	StringInfoData out;

	ofs_jsonscan_open(&scan, body, strlen(body));
	if (ofs_jsonscan_peek(&scan) != '{')
		malformed(_(FORM));
	ofs_jsonscan_members(&scan, names, 1, &ops);
	if (ofs_jsonscan_peek(&scan) != '\0' || ops.text == NULL || ops.text[0] != '[')
		malformed(_(FORM));
	initStringInfo(&out);
	appendStringInfoString(&out, "{\"results\":[");
	run_ops(&ops, key, &out);
	appendStringInfoString(&out, "]}");
	return out.data;
}
