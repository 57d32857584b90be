/*
 * reason.c
 *		offsync_internal.pull_reason: why the caller's pull would replace a collection.
 *
 * It tells callers about their own pulls and no more than the debug message that a pull gives.
 */
#include "postgres.h"

#include "base/spi.h"
#include "catalog/since.h"
#include "catalog/synced.h"
#include "fmgr.h"
#include "pull/reason.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(offsync_pull_reason);

/* last_pulled_at, tbl, dialect.  Null: the answer would be incremental, or a first sync. */
Datum
offsync_pull_reason(PG_FUNCTION_ARGS)
{
	MemoryContext result = CurrentMemoryContext;
	OfsTable   *table = PG_ARGISNULL(1) ? NULL : ofs_table_find(PG_GETARG_OID(1));
	OfsSince   *since = ofs_since_parse(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)));
	OfsDialect	dialect = ofs_dialect_parse(PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)));
	List	   *known = NIL;
	const char *reason;

	if (table == NULL || since->kind == OFS_SINCE_FIRST)
		PG_RETURN_NULL();
	ofs_view_require(table);
	SPI_connect();
	reason = ofs_pull_reason(since, ofs_view_make(table, table->collection, dialect, &known));
	if (reason)
		reason = MemoryContextStrdup(result, reason);
	SPI_finish();
	if (reason == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reason));
}
