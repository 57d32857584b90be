/*
 * inspectrows.c
 *		offsync.check(): versions that no transaction of this database can have given.
 *
 * Rows get them when they are written while the triggers are off: loaded from another server, with their stamps.  One that is
 * ahead is sent at every pull; one that lies behind, or has none, may never be sent at all.  The fix gives them a version
 * that all have seen, and lets every device take the collection anew.
 *
 * Tombstones have an index to ask; a table is read whole only where that is asked for.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/isotime.h"
#include "base/scan.h"
#include "base/spi.h"
#include "catalog/incarnation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/synced.h"
#include "setup/inspect.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

static int64
first_value(int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

#define DATED	"(" OFS_COL_UPDATED_AT " BETWEEN '1970-01-01Z' AND now() + interval '1 day')"

/* Of the rows that meet a condition: all stamps as if they had been written just before every device asks. */
static char *
restamp(const OfsEntry *entry, const char *condition)
{
	char	   *table = ofs_relation_name(entry->relid);
	int64		version = ofs_version_horizon(GetActiveSnapshot()) - 1;

	return psprintf("ALTER TABLE %s DISABLE TRIGGER " OFS_TRIGGER_STAMP "; "
					"UPDATE %s SET " OFS_COL_VERSION " = " INT64_FORMAT ", " OFS_COL_CREATED_VERSION " = " INT64_FORMAT ", "
					OFS_COL_CREATED_AT " = coalesce(" OFS_COL_CREATED_AT ", now()), " OFS_COL_UPDATED_AT " = CASE WHEN " DATED " THEN " OFS_COL_UPDATED_AT " ELSE now() END"
					" WHERE %s; " OFS_FIX_ENABLE, table, table, version, version, condition);
}

static void
look_tombstones(OfsInspect *inspect, const OfsEntry *entry, const void *arg)
{
	int64		latest;
	int64		version;
	TimestampTz at;

	if (!ofs_tombstone_end(entry->tombstone, true, &version, &at))
		return;
	/* asked for after it was read: a deletion that commits meanwhile is not of the future */
	latest = ofs_version_latest();
	if (version < latest)
		return;
	ofs_inspect_say(inspect, entry, OFS_SEVERITY_ERROR, "tombstones_ahead",
					psprintf("%s holds deletions of the future (version " INT64_FORMAT "): they come with every pull.",
							 ofs_relation_name(entry->tombstone), version),
					psprintf("DELETE FROM %s WHERE " OFS_TOMB_VERSION " >= " INT64_FORMAT "; SELECT offsync.reset(%s);",
							 ofs_relation_name(entry->tombstone), latest, quote_literal_cstr(ofs_relation_name(entry->relid))));
}

static void
look_events(OfsInspect *inspect, const OfsEntry *entry, const void *arg)
{
	int64		latest = ofs_version_latest();

	ofs_spi_run(true, "SELECT pg_catalog.max(version) FROM offsync_internal.reset_event"
				" WHERE tbl OPERATOR(pg_catalog.=) %u", entry->relid);
	if (first_value(1) < latest)
		return;
	ofs_inspect_say(inspect, entry, OFS_SEVERITY_ERROR, "reset_ahead",
					psprintf("Table %s is on record as reset in the future: devices take the collection anew at every pull.",
							 ofs_relation_name(entry->relid)),
					psprintf("DELETE FROM offsync_internal.reset_event WHERE tbl = %u AND version >= " INT64_FORMAT ";", entry->relid, latest));
}

static int64
least_base(void)
{
	ofs_spi_run(true, "SELECT pg_catalog.min(base) FROM offsync_internal.incarnation");
	return first_value(1);
}

/* Rows that are out of order. */
typedef struct Counts
{
	int64		latest;			/* versions from here on are of the future */
	int64		least;			/* those below this one are of nobody */
	int64		ahead;
	int64		absent;
	int64		undated;
	int64		unknown;
	TimestampTz last;			/* stamps behind this one are of the future */
	AttrNumber	version;		/* columns of the table that the rows stand in */
	AttrNumber	created_version;
	AttrNumber	created_at;
	AttrNumber	updated_at;
} Counts;

static void
count_row(TupleTableSlot *slot, void *arg)
{
	Counts	   *counts = arg;
	bool		nulls[4];
	int64		version = DatumGetInt64(slot_getattr(slot, counts->version, &nulls[0]));
	int64		created = DatumGetInt64(slot_getattr(slot, counts->created_version, &nulls[1]));
	TimestampTz updated_at;

	(void) slot_getattr(slot, counts->created_at, &nulls[2]);
	updated_at = DatumGetTimestampTz(slot_getattr(slot, counts->updated_at, &nulls[3]));
	if (nulls[0] || nulls[1] || nulls[2] || nulls[3])
		counts->absent++;
	else if (updated_at < OFS_UNIX_EPOCH || updated_at > counts->last)
		counts->undated++;
	if ((!nulls[0] && version >= counts->latest) || (!nulls[1] && created >= counts->latest))
		counts->ahead++;
	if (!nulls[0] && version < counts->least)
		counts->unknown++;
}

static void
count_rows(Oid relid, Counts *counts)
{
	Relation	rel = table_open(relid, AccessShareLock);

	counts->version = get_attnum(relid, OFS_COL_VERSION);
	counts->created_version = get_attnum(relid, OFS_COL_CREATED_VERSION);
	counts->created_at = get_attnum(relid, OFS_COL_CREATED_AT);
	counts->updated_at = get_attnum(relid, OFS_COL_UPDATED_AT);
	ofs_scan_rows(rel, GetActiveSnapshot(), count_row, counts);
	table_close(rel, NoLock);
}

static void
look_rows(OfsInspect *inspect, const OfsEntry *entry, const void *arg)
{
	char	   *table = ofs_relation_name(entry->relid);
	Counts		counts = {ofs_version_latest(), least_base(), .last = GetCurrentTimestamp() + OFS_STAMP_AHEAD};
	ListCell   *lc;

	foreach(lc, find_all_inheritors(entry->relid, AccessShareLock, NULL))
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_RELATION)
			count_rows(lfirst_oid(lc), &counts);
	if (counts.ahead > 0)
		ofs_inspect_say(inspect, entry, OFS_SEVERITY_ERROR, "rows_ahead",
						psprintf(INT64_FORMAT " rows of %s have versions of the future, from another server perhaps: they come with every pull, and their pushes are conflicts.", counts.ahead, table),
						restamp(entry, psprintf("greatest(" OFS_COL_VERSION ", " OFS_COL_CREATED_VERSION ") >= " INT64_FORMAT, counts.latest)));
	if (counts.absent > 0)
		ofs_inspect_say(inspect, entry, OFS_SEVERITY_ERROR, "rows_unstamped",
						psprintf(INT64_FORMAT " rows of %s have no version: they were written while the trigger was off, and devices that have synced don't get them.", counts.absent, table),
						restamp(entry, "num_nulls(" OFS_COL_VERSION ", " OFS_COL_CREATED_VERSION ", " OFS_COL_CREATED_AT ", " OFS_COL_UPDATED_AT ") > 0"));
	if (counts.undated > 0)
		ofs_inspect_say(inspect, entry, OFS_SEVERITY_WARNING, "rows_undated",
						psprintf(INT64_FORMAT " rows of %s have a " OFS_COL_UPDATED_AT " of before 1970, or that lies ahead: kept from a column of that name. Clients that go by it take them for written in 1970.", counts.undated, table),
						restamp(entry, "NOT " DATED));
	if (counts.unknown > 0)
		ofs_inspect_say(inspect, entry, OFS_SEVERITY_WARNING, "rows_unknown",
						psprintf(INT64_FORMAT " rows of %s have versions from before offsync came here: kept from columns of the same names, or from another server. Devices that have synced don't get those written since.", counts.unknown, table),
						restamp(entry, psprintf(OFS_COL_VERSION " < " INT64_FORMAT, counts.least)));
}

void
ofs_inspect_rows(OfsInspect *inspect, const OfsEntry *entry, bool deep)
{
	if (ofs_entry_missing_column(entry))
		return;
	if (get_rel_name(entry->tombstone) != NULL)
		ofs_inspect_look(inspect, "the tombstones' versions", look_tombstones, entry, NULL);
	ofs_inspect_look(inspect, "the resets", look_events, entry, NULL);
	if (deep)
		ofs_inspect_look(inspect, "the rows", look_rows, entry, NULL);
}
