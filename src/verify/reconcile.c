/*
 * reconcile.c
 *		offsync.reconcile: what a device must change to hold what its user sees.
 *
 * Every row that the caller sees is looked up in the device's list: one that isn't there, or in another version, goes
 * out in full.  What is then left of the list is to be deleted, be it that there is no such row, that
 * the caller can't see it, or that it is no id at all: nobody has looked.
 *
 * The device keeps its cursor: what changed since then comes once more, and what has changed is still what it was.  That
 * holds only while this snapshot has seen all that the device has, so a server that lags must refuse.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "base/argument.h"
#include "base/errors.h"
#include "base/spi.h"
#include "catalog/asked.h"
#include "catalog/incarnation.h"
#include "catalog/record.h"
#include "catalog/retired.h"
#include "catalog/since.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "verify/device.h"
#include "verify/scan.h"

PG_FUNCTION_INFO_V1(offsync_reconcile);

/* ---------- whether this server can tell ---------- */

/* Has the snapshot seen the client's own transactions? */
static bool
sees_own(const OfsCursor *cursor, Snapshot snapshot)
{
	uint64	   *running;
	int			nrunning = ofs_snapshot_running(snapshot, &running);
	uint64		xmax = ofs_xid_widen(snapshot->xmax);

	for (int i = 0; i < cursor->nown; i++)
	{
		uint64		xid = (uint64) (cursor->own[i].version - ofs_version_base(cursor->own[i].version));

		if (xid >= xmax)
			return false;
		for (int j = 0; j < nrunning; j++)
			if (running[j] == xid)
				return false;
	}
	return true;
}

static void
require_seen(const OfsSince *since)
{
	bool		exact = since->kind == OFS_SINCE_EXACT;

	if (exact ? ofs_snapshot_covers(GetActiveSnapshot(), since->cursor) && sees_own(since->cursor, GetActiveSnapshot())
		: !RecoveryInProgress())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OFS_BEHIND),
			 errmsg("this server may not have seen all that the device has"),
			 exact ? errhint("Try again later, or ask the primary.")
			 : errhint("To ask a standby, pass the device's cursor as last_pulled_at.")));
}

/* ---------- the repair ---------- */

typedef struct Repair
{
	const OfsDevice *device;
	const OfsView *view;
	bool		versions;		/* they are compared */
	OfsDialect	dialect;
	OfsRecordWriter *writer;
	MemoryContext context;
	StringInfo	out;
	bool		first;
} Repair;

static void
send_record(Repair *repair, const OfsScanRow *row)
{
	if (repair->writer == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(repair->context);

		repair->writer = ofs_record_writer(repair->view, row->slot->tts_tupleDescriptor, row->first,
										   repair->dialect);
		MemoryContextSwitchTo(old);
	}
	if (!repair->first)
		appendStringInfoChar(repair->out, ',');
	repair->first = false;
	ofs_record_write(repair->writer, repair->out, row->id, row->slot);
}

static void
compare_row(const OfsScanRow *row, void *arg)
{
	Repair	   *repair = arg;
	const OfsDevice *device = repair->device;
	OfsDeviceRecord *record;

	if (device->differs && !device->differs[ofs_idhash_bucket(&row->hash, device->buckets)])
		return;
	record = ofs_device_find(device, &row->hash, row->id->data);
	if (record)
		record->found = true;
	if (record == NULL || (repair->versions && record->version != (double) row->version))
		send_record(repair, row);
}

static void
append_repair(StringInfo out, const OfsAsked *asked, const OfsFilter *filter, const OfsDevice *device,
			  OfsDialect dialect)
{
	Repair		repair = {0};
	const char *separator = "";

	repair.device = device;
	repair.view = ofs_view_columns(asked->table);
	repair.versions = device->versions && ofs_scan_versions(repair.view);
	repair.dialect = dialect;
	repair.context = CurrentMemoryContext;
	repair.out = out;
	repair.first = true;

	ofs_json_text(out, asked->asked);
	appendStringInfoString(out, ":{\"created\":[],\"updated\":[");
	ofs_scan_run(repair.view, filter, true, compare_row, &repair);
	appendStringInfoString(out, "],\"deleted\":[");
	for (int i = 0; i < device->count; i++)
	{
		if (device->records[i].found)
			continue;
		appendStringInfoString(out, separator);
		ofs_json_text(out, device->records[i].id);
		separator = ",";
	}
	appendStringInfoString(out, "]}");
}

static const OfsDevice *
find_device(List *devices, const char *collection)
{
	ListCell   *lc;

	foreach(lc, devices)
		if (strcmp(((OfsDevice *) lfirst(lc))->collection, collection) == 0)
			return lfirst(lc);
	return NULL;
}

static List *
asked_collections(List *devices)
{
	List	   *asked = NIL;
	ListCell   *lc;

	/* of a retired collection a device keeps what it holds */
	foreach(lc, devices)
		if (!ofs_retired_is(((OfsDevice *) lfirst(lc))->collection))
			asked = ofs_asked_add(asked, ((OfsDevice *) lfirst(lc))->collection);
	return ofs_asked_sort(asked);
}

/* device: the records it holds; last_pulled_at, dialect, filters: as for a pull.  Returns json. */
Datum
offsync_reconcile(PG_FUNCTION_ARGS)
{
	OfsDialect	dialect = ofs_dialect_parse(ofs_argument_text(fcinfo, 2));
	text	   *json;
	List	   *devices;
	List	   *asked;
	List	   *filters;
	ListCell   *lc;
	StringInfoData out;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("no list of a device's records")));
	json = PG_GETARG_TEXT_PP(0);
	devices = ofs_device_parse(text_to_cstring(json), VARSIZE_ANY_EXHDR(json));
	asked = asked_collections(devices);
	filters = ofs_filter_parse(ofs_argument_text(fcinfo, 3), asked, dialect);
	ofs_snapshot_flush();
	require_seen(ofs_since_parse(ofs_argument_text(fcinfo, 1)));

	/* the buffer becomes the datum: room for its length, and not in SPI's memory */
	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ);
	appendStringInfoString(&out, "{\"changes\":{");
	SPI_connect();
	foreach(lc, asked)
	{
		const OfsAsked *one = lfirst(lc);

		if (lc != list_head(asked))
			appendStringInfoChar(&out, ',');
		append_repair(&out, one, ofs_filter_find(filters, one->table), find_device(devices, one->asked), dialect);
	}
	SPI_finish();
	appendStringInfoString(&out, "}}");
	SET_VARSIZE(out.data, out.len);
	PG_RETURN_TEXT_P((text *) out.data);
}
