/*
 * rest.c
 *		The calls of clients that sync with a REST cache, and the paths that stand for them.
 *
 *		GET /{kind}?updatedSince=&limit=&includeDeleted=&pageToken=&afterId=
 *		GET /{kind}/{id}		PUT /{kind}/{id}	POST /{kind}	DELETE /{kind}/{id}?_baseUpdatedAt=
 *		POST /batch				GET /health
 *
 * A gateway such as PostgREST has no such paths.  A proxy in front of it sends all of them to rest(), with the method and the path
 * as they were in the headers x-original-method and x-original-uri; what stands before /{kind} there, in x-forwarded-prefix.
 * The answers' statuses go back in the setting that the gateway reads.
 *
 * Headers count for the calls by name, too, where an argument isn't given: x-idempotency-key, x-force-update and x-force-delete.
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/count.h"
#include "base/errors.h"
#include "base/uri.h"
#include "catalog/client.h"
#include "dialect/rest.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_FUNCTION_INFO_V1(offsync_rest_list);
PG_FUNCTION_INFO_V1(offsync_rest_get);
PG_FUNCTION_INFO_V1(offsync_rest_put);
PG_FUNCTION_INFO_V1(offsync_rest_post);
PG_FUNCTION_INFO_V1(offsync_rest_delete);
PG_FUNCTION_INFO_V1(offsync_rest_batch);
PG_FUNCTION_INFO_V1(offsync_rest_health);
PG_FUNCTION_INFO_V1(offsync_rest);

#define PAGE	500
#define HEALTHY "{\"status\":\"ok\"}"

/* ---------- answers ---------- */

/* To the end of the transaction, where the gateway looks for it. */
static void
set_status(int status)
{
	if (status != 200)
		(void) set_config_option("response.status", psprintf("%d", status), PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
}

static char *
answer_write(RestWrite *write)
{
	ofs_rest_write(write);
	set_status(write->status);
	return write->status == 409 ? psprintf("{\"error\":\"conflict\",\"current\":%s}", write->row.item) : write->row.item;
}

static char *
answer_row(const char *kind, const char *id)
{
	RestRow		row = {0};

	if (ofs_rest_given(id))
		ofs_rest_fetch(ofs_rest_table(kind), id, &row);
	if (!row.exists)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_UNKNOWN),
				 errmsg("no such record in collection \"%s\"", kind ? kind : "")));
	ofs_count_pull(false, 1, 0, false);
	return row.item;
}

/* ---------- headers ---------- */

static bool
is_true(const char *text)
{
	return text != NULL && (pg_strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0);
}

static bool
is_forced(FunctionCallInfo fcinfo, int n, const char *header)
{
	return PG_ARGISNULL(n) ? is_true(ofs_client_header(header)) : PG_GETARG_BOOL(n);
}

static const char *
key_of(FunctionCallInfo fcinfo, int n)
{
	const char *key = ofs_argument_text(fcinfo, n);

	return ofs_rest_given(key) ? key : ofs_client_header("x-idempotency-key");
}

/* ---------- calls by name ---------- */

/* kind, updatedSince, limit, includeDeleted, pageToken (without effect: the other two say where the page starts), afterId */
Datum
offsync_rest_list(PG_FUNCTION_ARGS)
{
	RestListCall call = {0};

	call.kind = ofs_argument_text(fcinfo, 0);
	call.since = ofs_argument_text(fcinfo, 1);
	call.limit = PG_ARGISNULL(2) ? PAGE : PG_GETARG_INT32(2);
	call.include_deleted = PG_ARGISNULL(3) || PG_GETARG_BOOL(3);
	call.after = ofs_argument_text(fcinfo, 5);
	PG_RETURN_TEXT_P(ofs_rest_list(&call));
}

/* kind, id */
Datum
offsync_rest_get(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(answer_row(ofs_argument_text(fcinfo, 0), ofs_argument_text(fcinfo, 1))));
}

/* A record's text; never NULL. */
static const char *
body_of(FunctionCallInfo fcinfo, int n)
{
	const char *body = ofs_argument_text(fcinfo, n);

	return body ? body : "null";
}

/* kind, id, body, baseUpdatedAt, force, idempotencyKey */
Datum
offsync_rest_put(PG_FUNCTION_ARGS)
{
	RestWrite	write = {0};

	write.kind = ofs_argument_text(fcinfo, 0);
	write.id = ofs_argument_text(fcinfo, 1);
	write.body = body_of(fcinfo, 2);
	write.base = ofs_argument_text(fcinfo, 3);
	write.force = is_forced(fcinfo, 4, "x-force-update");
	write.key = key_of(fcinfo, 5);
	PG_RETURN_TEXT_P(cstring_to_text(answer_write(&write)));
}

/* kind, body, idempotencyKey */
Datum
offsync_rest_post(PG_FUNCTION_ARGS)
{
	RestWrite	write = {0};

	write.kind = ofs_argument_text(fcinfo, 0);
	write.body = body_of(fcinfo, 1);
	write.key = key_of(fcinfo, 2);
	PG_RETURN_TEXT_P(cstring_to_text(answer_write(&write)));
}

/* kind, id, baseUpdatedAt, force, idempotencyKey */
Datum
offsync_rest_delete(PG_FUNCTION_ARGS)
{
	RestWrite	write = {0};

	write.kind = ofs_argument_text(fcinfo, 0);
	write.id = ofs_argument_text(fcinfo, 1);
	write.base = ofs_argument_text(fcinfo, 2);
	write.force = is_forced(fcinfo, 3, "x-force-delete");
	write.key = key_of(fcinfo, 4);
	PG_RETURN_TEXT_P(cstring_to_text(answer_write(&write)));
}

/* ops */
Datum
offsync_rest_batch(PG_FUNCTION_ARGS)
{
	char	   *body = psprintf("{\"ops\":%s}", body_of(fcinfo, 0));

	PG_RETURN_TEXT_P(cstring_to_text(ofs_rest_batch(body, ofs_client_header("x-idempotency-key"))));
}

Datum
offsync_rest_health(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(HEALTHY));
}

/* ---------- calls by path ---------- */

#define MAX_PARTS	3
#define MAX_QUERY	16

typedef struct Request
{
	const char *method;
	int			nparts;
	const char *parts[MAX_PARTS];
	int			nquery;
	const char *names[MAX_QUERY];
	const char *values[MAX_QUERY];
	const char *body;
} Request;

static void
refuse_path(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed path"),
			 errdetail("The header x-original-uri is not of the form /{kind}, /{kind}/{id}, /batch or /health."),
			 errhint("The proxy says in the header x-forwarded-prefix what stands before that.")));
}

static char *
unescape(const char *text, int len, bool query)
{
	char	   *part = ofs_uri_decode(text, len, query);

	if (part == NULL)
		refuse_path();
	return part;
}

static void
split_query(Request *request, const char *query)
{
	while (*query != '\0')
	{
		int			len = strcspn(query, "&");
		int			name = strcspn(query, "=&");

		if (request->nquery == MAX_QUERY)
			refuse_path();
		request->names[request->nquery] = unescape(query, name, true);
		request->values[request->nquery++] = name < len ? unescape(query + name + 1, len - name - 1, true) : "";
		query += len;
		query += *query == '&';
	}
}

static void
split_uri(Request *request, const char *uri, const char *prefix)
{
	size_t		len = prefix ? strlen(prefix) : 0;

	if (len > 0 && strncmp(uri, prefix, len) == 0)
		uri += len;
	while (*uri == '/')
	{
		int			part = strcspn(++uri, "/?");

		if (request->nparts == MAX_PARTS)
			refuse_path();
		/* "POST /{kind}/" is one with an empty id */
		request->parts[request->nparts++] = unescape(uri, part, false);
		uri += part;
	}
	if (request->nparts > 1 && request->parts[request->nparts - 1][0] == '\0')
		request->nparts--;
	if (*uri == '?')
		split_query(request, uri + 1);
}

static const char *
query_value(const Request *request, const char *name)
{
	for (int i = 0; i < request->nquery; i++)
		if (strcmp(request->names[i], name) == 0)
			return request->values[i];
	return NULL;
}

static text *
list(const Request *request)
{
	RestListCall call = {0};
	const char *limit = query_value(request, "limit");
	const char *deleted = query_value(request, "includeDeleted");

	call.kind = request->parts[0];
	call.since = query_value(request, "updatedSince");
	call.limit = ofs_rest_given(limit) ? pg_strtoint32(limit) : PAGE;
	call.include_deleted = !ofs_rest_given(deleted) || is_true(deleted);
	call.after = query_value(request, "afterId");
	return ofs_rest_list(&call);
}

static char *
change(const Request *request)
{
	bool		deletes = strcmp(request->method, "DELETE") == 0;
	RestWrite	write = {0};

	write.kind = request->parts[0];
	write.id = request->nparts > 1 ? request->parts[1] : NULL;
	write.body = deletes ? NULL : request->body;
	write.base = query_value(request, "_baseUpdatedAt");
	write.force = is_true(ofs_client_header(deletes ? "x-force-delete" : "x-force-update"));
	write.key = ofs_client_header("x-idempotency-key");
	return answer_write(&write);
}

static text *
dispatch(const Request *request)
{
	bool		one = request->nparts == 1;

	if (request->nparts < 1 || request->nparts > 2)
		refuse_path();
	if (strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0)
	{
		if (one && strcmp(request->parts[0], "health") == 0)
			return cstring_to_text(HEALTHY);
		return one ? list(request) : cstring_to_text(answer_row(request->parts[0], request->parts[1]));
	}
	if (strcmp(request->method, "POST") == 0 && one && strcmp(request->parts[0], "batch") == 0)
		return cstring_to_text(ofs_rest_batch(request->body, ofs_client_header("x-idempotency-key")));
	if (strcmp(request->method, "POST") == 0 && one)
		return cstring_to_text(change(request));
	if ((strcmp(request->method, "PUT") == 0 || strcmp(request->method, "DELETE") == 0) && !one)
		return cstring_to_text(change(request));
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE('P', 'T', '4', '0', '5')),
			 errmsg("method %s is not allowed here", request->method)));
	return NULL;				/* not reached */
}

/* The request's body; all else stands in its headers. */
Datum
offsync_rest(PG_FUNCTION_ARGS)
{
	Request		request = {0};
	const char *uri = ofs_client_header("x-original-uri");

	request.method = ofs_client_header("x-original-method");
	if (request.method == NULL || uri == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("the request has no header x-original-method or x-original-uri"),
				 errhint("Let a proxy add them, or call rest_list() and its like by name.")));
	request.body = body_of(fcinfo, 0);
	split_uri(&request, uri, ofs_client_header("x-forwarded-prefix"));
	PG_RETURN_TEXT_P(dispatch(&request));
}
