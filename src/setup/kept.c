/*
 * kept.c
 *		offsync.status: what is remembered of a table's deletions, and who gets an exact answer by that.
 *
 * For the table's owner and whoever watches the server: when rows were deleted is not everybody's business.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/spi.h"
#include "catalog/pg_type.h"
#include "catalog/trouble.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(offsync_kept);

enum
{
	K_BYTES, K_OLDEST, K_EXACT_FROM, K_EXACT_SINCE, K_MIRROR, NCOLUMNS
};

static bool
select_value(const char *sql, Datum *value)
{
	bool		isnull;

	if (ofs_spi_run(true, "%s", sql) == 0)
		return false;
	*value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return !isnull;
}

/* The first time noted at or behind this one, and the version of that row. */
static bool
find_time(TimestampTz from, TimestampTz *at, int64 *version)
{
	Oid			type = TIMESTAMPTZOID;
	Datum		value = TimestampTzGetDatum(from);
	bool		isnull;

	if (SPI_execute_with_args("SELECT at, version FROM offsync_internal.timeline WHERE at OPERATOR(pg_catalog.>=) $1"
							  " ORDER BY at LIMIT 1", 1, &type, &value, NULL, true, 1) != SPI_OK_SELECT || SPI_processed == 0)
		return false;
	*at = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	*version = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	return true;
}

/* When had everything below this version been decided?  Versions grow with time: halving finds it, to the second. */
static bool
find_moment(int64 version, TimestampTz *moment)
{
	TimestampTz low;
	TimestampTz high;
	int64		reached;
	Datum		last;

	if (!find_time(DT_NOBEGIN, &low, &reached))
		return false;
	*moment = low;
	if (reached >= version)
		return true;
	if (!select_value("SELECT pg_catalog.max(at) FROM offsync_internal.timeline", &last) ||
		!find_time(high = DatumGetTimestampTz(last), moment, &reached) || reached < version)
		return false;
	while (high - low > USECS_PER_SEC)
	{
		TimestampTz middle = low + (high - low) / 2;
		TimestampTz at;

		if (!find_time(middle, &at, &reached))
			break;
		if (reached >= version)
		{
			*moment = at;
			high = middle;
		}
		else
			low = at;
	}
	return true;
}

static void
fill_horizon(Oid relid, Datum *values, bool *nulls)
{
	TimestampTz moment;
	Datum		last;

	if (!select_value(psprintf("SELECT pg_catalog.max(last) FROM (SELECT last FROM offsync_internal.prune_horizon"
							   " WHERE tbl OPERATOR(pg_catalog.=) %u UNION ALL SELECT version FROM offsync_internal.reset_event"
							   " WHERE tbl OPERATOR(pg_catalog.=) %u) x", relid, relid), &last))
		return;
	values[K_EXACT_FROM] = Int64GetDatum(DatumGetInt64(last) + 1);
	nulls[K_EXACT_FROM] = false;
	nulls[K_EXACT_SINCE] = !find_moment(DatumGetInt64(last) + 1, &moment);
	if (!nulls[K_EXACT_SINCE])
		values[K_EXACT_SINCE] = TimestampTzGetDatum(moment);
}

static void
fill_tombstones(const OfsEntry *entry, Datum *values, bool *nulls)
{
	const char *mirror = "missing";
	TimestampTz oldest = 0;
	int64		version;
	Relation	tomb = try_relation_open(entry->tombstone, AccessShareLock);

	if (tomb)
	{
		Relation	rel = table_open(entry->relid, AccessShareLock);
		const char *trouble = ofs_trouble_of_mirror(rel, tomb);

		mirror = trouble ? trouble : "ok";
		table_close(rel, NoLock);
		values[K_BYTES] = DirectFunctionCall1(pg_total_relation_size, ObjectIdGetDatum(entry->tombstone));
		nulls[K_BYTES] = false;
		nulls[K_OLDEST] = !ofs_tombstone_end(entry->tombstone, false, &version, &oldest);
		values[K_OLDEST] = TimestampTzGetDatum(oldest);
		relation_close(tomb, NoLock);
	}
	values[K_MIRROR] = CStringGetTextDatum(mirror);
	nulls[K_MIRROR] = false;
}

static bool
may_know(Oid relid)
{
	return ofs_compat_owns_relation(relid, GetUserId()) || ofs_answer_is_watcher();
}

/* tbl.  One row; all null for a table that isn't synced, or not the caller's to look into. */
Datum
offsync_kept(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	OfsEntry   *entry = ofs_entry_find(relid);
	Datum		values[NCOLUMNS] = {0};
	bool		nulls[NCOLUMNS];
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(nulls, true, sizeof(nulls));
	if (entry != NULL && get_rel_name(relid) != NULL && may_know(relid))
	{
		OfsOwnerSwitch sw;

		ofs_owner_begin(&sw);
		fill_tombstones(entry, values, nulls);
		SPI_connect();
		fill_horizon(relid, values, nulls);
		SPI_finish();
		ofs_owner_end(&sw);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
