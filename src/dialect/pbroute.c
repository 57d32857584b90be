/*
 * pbroute.c
 *		Requests to a PocketBase server's own paths, by way of a proxy.
 *
 * PostgREST's functions have no paths below their names and know POST only.  So a proxy makes of
 *
 *		POST   /api/collections/<name>/records
 *		PATCH  /api/collections/<name>/records/<id>
 *		DELETE /api/collections/<name>/records/<id>
 *
 * a POST to the wrapper of offsync.pb_request(), and says in the headers X-Original-Method and X-Original-URI what it was.
 * Lists need none of that: GET .../records?filter=... is rewritten to a GET of the wrapper of offsync.pb_list(), which is
 * read only.
 *
 * What isn't served is PT501: at 404 the client would delete its row.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/uri.h"
#include "catalog/client.h"
#include "dialect/pbase.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(offsync_pb_request);

#define BASE	"/collections/"
#define RECORDS	"/records"

OFS_NORETURN static void
not_served(const char *method, const char *uri)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_UNSERVED),
			 errmsg("the request is not served"),
			 method && uri ? errdetail("It is %s %s.", method, uri) :
			 errdetail("The headers X-Original-Method and X-Original-URI do not say what it is."),
			 errhint("Served are POST /api/collections/<name>/records, and PATCH and DELETE of .../records/<id>; "
					 "lists are for pb_list.")));
}

static char *
decode(const char *part, int len)
{
	char	   *text = ofs_uri_decode(part, len, false);

	if (text == NULL)
		not_served(NULL, NULL);
	return text;
}

/* The name and the id (NULL: none) in a path; false: it isn't one of these. */
static bool
split_path(const char *uri, char **collection, char **id)
{
	const char *name = strstr(uri, BASE);
	const char *end = uri + strcspn(uri, "?#");
	const char *rest;

	if (name == NULL || name >= end)
		return false;
	name += strlen(BASE);
	rest = name + strcspn(name, "/?#");
	if (rest == name || strncmp(rest, RECORDS, strlen(RECORDS)) != 0)
		return false;
	*collection = decode(name, rest - name);
	rest += strlen(RECORDS);
	*id = NULL;
	if (rest < end && *rest == '/' && rest + 1 < end)
	{
		*id = decode(rest + 1, end - rest - 1);
		rest = end;
	}
	return rest == end || (*rest == '/' && rest + 1 == end);
}

/* The body. */
Datum
offsync_pb_request(PG_FUNCTION_ARGS)
{
	const char *name = "offsync.pb_request()";
	char	   *method = ofs_client_header("x-original-method");
	char	   *uri = ofs_client_header("x-original-uri");
	text	   *body = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	char	   *collection;
	char	   *id;

	if (method == NULL || uri == NULL || !split_path(uri, &collection, &id))
		not_served(method, uri);
	if (pg_strcasecmp(method, "POST") == 0 && id == NULL)
		PG_RETURN_TEXT_P(ofs_pbwrite_create(name, collection, body));
	if (pg_strcasecmp(method, "PATCH") == 0 && id != NULL)
		PG_RETURN_TEXT_P(ofs_pbwrite_update(name, collection, id, body));
	if (pg_strcasecmp(method, "DELETE") == 0 && id != NULL)
	{
		ofs_pbwrite_delete(name, collection, id);
		PG_RETURN_NULL();
	}
	not_served(method, uri);
}
