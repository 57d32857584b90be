/*
 * stats.c
 *		offsync.stats: the counters of this database (base/count.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/answer.h"
#include "base/compat.h"
#include "base/count.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(offsync_stats);
PG_FUNCTION_INFO_V1(offsync_stats_reset);

/* The counters, with the sum of the replacements before their kinds; and since when.  All null where nothing can be counted. */
Datum
offsync_stats(PG_FUNCTION_ARGS)
{
	uint64		counted[OFS_COUNTERS];
	Datum		values[OFS_COUNTERS + 2] = {0};
	bool		nulls[OFS_COUNTERS + 2];
	TimestampTz since;
	TupleDesc	desc;
	int64		replaced = 0;
	int			n = 0;

	ofs_answer_require_watcher("offsync.stats");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != (int) lengthof(values))
		elog(ERROR, "return type must be a row of %d columns", (int) lengthof(values));
	memset(nulls, true, sizeof(nulls));
	if (ofs_count_read(counted, &since))
	{
		memset(nulls, false, sizeof(nulls));
		for (int i = OFS_COUNT_REPLACED_FIRST; i <= OFS_COUNT_REPLACED_LAST; i++)
			replaced += (int64) counted[i];
		for (int i = 0; i < OFS_COUNTERS; i++)
		{
			if (i == OFS_COUNT_REPLACED_FIRST)
				values[n++] = Int64GetDatum(replaced);
			values[n++] = Int64GetDatum((int64) counted[i]);
		}
		values[n] = TimestampTzGetDatum(since);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
offsync_stats_reset(PG_FUNCTION_ARGS)
{
	ofs_answer_require_watcher("offsync.stats_reset()");
	ofs_count_reset();
	PG_RETURN_VOID();
}
