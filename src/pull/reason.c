/*
 * reason.c
 *		offsync_internal.pull_reason: why the caller's pull would replace a collection.
 *
 * It tells callers about their own pulls and no more than the debug message that a pull gives.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/argument.h"
#include "base/spi.h"
#include "catalog/asked.h"
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

/* May the view differ from the cursor's by no more than what the session is? */
static bool
is_unsure(const OfsSince *since, const OfsView *view)
{
	ListCell   *lc;

	if (view->opaque || ofs_since_collection(since, view->table) == NULL || fits(since, view))
		return false;
	foreach(lc, view->policies)
		if (((OfsViewPolicy *) lfirst(lc))->fact->shifting)
			return true;
	return false;
}

/* A cursor doesn't tell its dialect, but fits the view of no other one. */
static const char *
find_reason(const OfsSince *since, OfsTable *table, const char *filters, const char **dialect, bool *unsure)
{
	OfsJudge   *chosen = NULL;
	List	   *asked = ofs_asked_add(NIL, table->collection);
	OfsVerdict *verdict;

	for (int i = 0; i < (int) lengthof(dialects); i++)
	{
		OfsJudge   *judge = ofs_judge_create(since, ofs_filter_parse(filters, asked, dialects[i].dialect),
												   dialects[i].dialect);

		if (chosen && !fits(since, ofs_view_make(&judge->views, table)))
			continue;
		chosen = judge;
		*dialect = dialects[i].name;
	}
	verdict = ofs_judge_ask(chosen, table);
	*unsure = is_unsure(since, verdict->view);
	if (verdict->reason == NULL && verdict->replaced && filters == NULL)
		return "the device filters: explain it with its filters";
	return verdict->replaced;
}

/*
 * last_pulled_at, tbl, filters.  Returns (dialect, reason, unsure).  reason is null when the answer would be incremental, or a first
 * sync; unsure: it may be that of this session alone, since its user and settings count for the cursor.
 */
Datum
offsync_pull_reason(PG_FUNCTION_ARGS)
{
	MemoryContext result = CurrentMemoryContext;
	OfsTable   *table = PG_ARGISNULL(1) ? NULL : ofs_table_find(PG_GETARG_OID(1));
	OfsSince   *since = ofs_since_parse(ofs_argument_text(fcinfo, 0));
	const char *dialect = dialects[0].name;
	const char *reason = NULL;
	TupleDesc	desc;
	bool		unsure = false;
	Datum		values[3] = {0};
	bool		nulls[3] = {false, true, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (table != NULL && since->kind != OFS_SINCE_FIRST)
	{
		ofs_view_require(table);
		SPI_connect();
		reason = find_reason(since, table, ofs_argument_text(fcinfo, 2),
							 &dialect, &unsure);
		if (reason)
			reason = MemoryContextStrdup(result, reason);
		SPI_finish();
	}
	values[0] = CStringGetTextDatum(dialect);
	nulls[1] = reason == NULL;
	if (reason)
		values[1] = CStringGetTextDatum(reason);
	values[2] = BoolGetDatum(unsure);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
