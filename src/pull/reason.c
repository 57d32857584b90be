/*
 * reason.c
 *		offsync_internal.pull_reason: why the caller's pull would replace a collection.
 *
 * It tells callers about their own pulls and no more than the debug message that a pull gives.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/spi.h"
#include "catalog/since.h"
#include "catalog/synced.h"
#include "fmgr.h"
#include "funcapi.h"
#include "pull/judge.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(offsync_pull_reason);

static const struct
{
	const char *name;
	OfsDialect	dialect;
}			dialects[] =
{
	{"watermelondb", OFS_DIALECT_WATERMELONDB},
	{"json", OFS_DIALECT_JSON},
};

static bool
fits(const OfsSince *since, const OfsView *view)
{
	const OfsCursorCollection *covered = ofs_since_collection(since, view->table);

	return covered != NULL && covered->fingerprint == view->fingerprint;
}

/* A cursor doesn't tell its dialect, but fits the view of no other one. */
static const char *
find_reason(const OfsSince *since, OfsTable *table, const char **dialect)
{
	OfsJudge   *chosen = NULL;

	for (int i = 0; i < (int) lengthof(dialects); i++)
	{
		OfsJudge   *judge = ofs_judge_create(since, dialects[i].dialect);

		if (chosen && !fits(since, ofs_view_make(&judge->views, table)))
			continue;
		chosen = judge;
		*dialect = dialects[i].name;
	}
	return ofs_judge_ask(chosen, table)->reason;
}

/* last_pulled_at, tbl.  Returns (dialect, reason); reason is null when the answer would be incremental, or a first sync. */
Datum
offsync_pull_reason(PG_FUNCTION_ARGS)
{
	MemoryContext result = CurrentMemoryContext;
	OfsTable   *table = PG_ARGISNULL(1) ? NULL : ofs_table_find(PG_GETARG_OID(1));
	OfsSince   *since = ofs_since_parse(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)));
	const char *dialect = dialects[0].name;
	const char *reason = NULL;
	TupleDesc	desc;
	Datum		values[2] = {0};
	bool		nulls[2] = {false, true};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (table != NULL && since->kind != OFS_SINCE_FIRST)
	{
		ofs_view_require(table);
		SPI_connect();
		reason = find_reason(since, table, &dialect);
		if (reason)
			reason = MemoryContextStrdup(result, reason);
		SPI_finish();
	}
	values[0] = CStringGetTextDatum(dialect);
	nulls[1] = reason == NULL;
	if (reason)
		values[1] = CStringGetTextDatum(reason);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
