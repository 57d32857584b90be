/*
 * rest.c
 *		The calls of clients that sync with a REST cache.
 */
#include "postgres.h"

#include "base/argument.h"
#include "dialect/rest.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(offsync_rest_list);

#define PAGE	500

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
	PG_RETURN_TEXT_P(cstring_to_text(ofs_rest_list(&call)));
}
