/*
 * since.c
 *		"Since when": last_pulled_at resolved against this server.
 *
 * Three forms are told apart by their looks: an exact cursor (sealed text), a number (a version: all
 * below it has been seen), an ISO 8601 timestamp (looked up in the timeline, which makes a
 * number of it).  Whatever can't be followed here exactly (another server's cursor, a number
 * from before a restore or from the future) is no error: it means "replacement".
 *
 * The order of checks matters.  Damage is found by the check sum, without any secret.  A whole
 * cursor of an incarnation that isn't ours starts the device anew: its seal can't be checked here,
 * and needn't be.  Only then is the seal looked at, and a bad one is an error: a forged set of own transactions
 * would make the server skip, and name, rows that the caller never saw.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/timeline.h"
#include "access/xlog.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/isotime.h"
#include "base/spi.h"
#include "catalog/horizon.h"
#include "catalog/incarnation.h"
#include "catalog/seal.h"
#include "catalog/since.h"
#include "catalog/timeline.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#define MAX_OWN 256				/* transactions; older ones than these echo */
#define MAX_LAG (INT64CONST(1) << 31)	/* in transactions; ids would wrap around before */

/* ---------- parsing ---------- */

static void
malformed(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed last_pulled_at"),
			 errdetail_internal("%s", detail),
			 errhint("Pass the cursor or the timestamp of an earlier answer as it was, or null for a first sync.")));
}

static OfsSince *
replace(OfsSince *since, const char *reason)
{
	since->kind = OFS_SINCE_REPLACE;
	since->reason = reason;
	return since;
}

static OfsSince *
parse_number(OfsSince *since, const char *text)
{
	int64		number = 0;

	for (const char *at = text; *at; at++)
	{
		if (*at < '0' || *at > '9' || at - text >= 16)
			malformed("A number must be a non-negative integer below 2^53.");
		number = number * 10 + (*at - '0');
	}
	if (number >= OFS_VERSION_LIMIT)
		malformed("A number must be a non-negative integer below 2^53.");
	if (number == 0)
		return since;

	since->number = number;
	since->from = number;
	since->kind = OFS_SINCE_NUMBER;
	if (number < ofs_incarnation_current()->base)
		return replace(since, "the number is of an earlier incarnation");
	/* on a standby, the near future is lag */
	if (number > ofs_version_latest() + (RecoveryInProgress() ? MAX_LAG : 0))
		return replace(since, "the number is from the future");
	return since;
}

static OfsSince *
parse_iso(OfsSince *since, const char *text)
{
	TimestampTz at;

	if (!ofs_parse_timestamptz(text, &at))
		malformed("It looks like a timestamp, but is none.");
	since->kind = OFS_SINCE_NUMBER;
	since->from = ofs_timeline_find(Min(at, GetCurrentTimestamp()));
	if (since->from == 0)
		return replace(since, "the timeline does not reach back to that time");
	if (since->from < ofs_incarnation_current()->base)
		return replace(since, "that time belongs to an earlier incarnation");
	return since;
}

/* After a promotion: was all before this position written before the switch? */
static bool
before_switch(TimeLineID timeline, XLogRecPtr lsn, TimeLineID now)
{
	List	   *history = readTimeLineHistory(now);
	TimeLineID	next;

	if (!tliInHistory(timeline, history))
		return false;
	return lsn <= tliSwitchPoint(timeline, history, &next);
}

/* Ended for sure, and not by a commit?  The id isn't in the future. */
static bool
is_lost(uint64 xid)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		status;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = FullTransactionIdGetDatum(FullTransactionIdFromU64(xid));
	fcinfo->args[0].isnull = false;
	status = pg_xact_status(fcinfo);
	return fcinfo->isnull || strcmp(TextDatumGetCString(status), "aborted") == 0;
}

/*
 * After a promotion: did it keep the client's own transaction?  Where its rows lie before the switch its
 * id was not given out again, so it is this transaction that the commit log tells of.
 */
static bool
own_survived(const OfsCursorOwn *own, const OfsIncarnation *now)
{
	uint64		xid;

	if (own->timeline == now->timeline)
		return true;
	if (!before_switch(own->timeline, own->lsn, now->timeline))
		return false;
	xid = (uint64) (own->version - ofs_version_base(own->version));
	/* a standby that lags behind the new primary has yet to hear of it */
	return xid >= U64FromFullTransactionId(ReadNextFullTransactionId()) || !is_lost(xid);
}

static bool
survived(const OfsCursor *cursor, const OfsIncarnation *now)
{
	if (!before_switch(cursor->timeline, cursor->lsn, now->timeline))
		return false;
	for (int i = 0; i < cursor->nown; i++)
		if (!own_survived(&cursor->own[i], now))
			return false;
	return true;
}

/* Is there an event of the table (InvalidOid: of none) with this version? */
static bool
has_event(Oid relid, int64 version)
{
	Relation	rel = table_open(ofs_internal_table("reset_event"), AccessShareLock);
	Relation	index = index_open(linitial_oid(RelationGetIndexList(rel)), AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(version));
	scan = systable_beginscan_ordered(rel, index, GetActiveSnapshot(), 2, keys);
	found = HeapTupleIsValid(systable_getnext_ordered(scan, ForwardScanDirection));
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return found;
}

static OfsSince *
resolve_cursor(OfsSince *since)
{
	OfsCursor  *cursor = since->cursor;
	const OfsIncarnation *found = ofs_incarnation_find(cursor->incarnation);
	OfsIncarnation then;
	OfsIncarnation now;
	int64	   *bases;
	int			nbases;
	int			count = 0;

	if (found == NULL)
		return replace(since, "the cursor is of an incarnation unknown here");
	/* copies: each further question may read all of them anew */
	then = *found;
	now = *ofs_incarnation_current();
	if (then.id != now.id && !survived(cursor, &now))
		return replace(since, "a promotion lost what the cursor had seen");
	if (!RecoveryInProgress() &&
		cursor->xmax > U64FromFullTransactionId(ReadNextFullTransactionId()))
		return replace(since, "the cursor is from the future");

	since->kind = OFS_SINCE_EXACT;
	since->cursor_base = then.base;
	since->from = then.base + (int64) cursor->xmax;
	nbases = ofs_incarnation_bases(&then, &bases);
	for (int i = 0; i < cursor->nrunning; i++)
		count += (int) Min(cursor->running[i].count, (uint64) INT_MAX / 2) * nbases;
	if (count < 0 || count > 1000000)
		return replace(since, "too many transactions were in progress");
	since->running = palloc(sizeof(int64) * Max(count, 1));

	/* a prepared transaction that survived a promotion stamped with an earlier base; the greatest base is first */
	for (int b = 1; b <= nbases; b++)
		for (int i = 0; i < cursor->nrunning; i++)
			for (uint64 j = 0; j < cursor->running[i].count; j++)
				since->running[since->nrunning++] = bases[b % nbases] + (int64) (cursor->running[i].first + j);
	for (int i = 0; i < cursor->nown; i++)
		cursor->own[i].stained = has_event(InvalidOid, cursor->own[i].version) ||
			ofs_horizon_hides(InvalidOid, cursor->own[i].version, GetActiveSnapshot());
	return since;
}

static OfsSince *
parse_cursor(OfsSince *since, const char *text)
{
	StringInfoData body;
	uint8		seal[OFS_CURSOR_SEAL_LEN];
	uint8		expected[OFS_CURSOR_SEAL_LEN];
	int			differ = 0;

	switch (ofs_cursor_open(text, &body, seal))
	{
		case OFS_CURSOR_DAMAGED:
			malformed("The cursor is damaged.");
			break;
		case OFS_CURSOR_FUTURE:
			return replace(since, "the cursor is of a later release");
		case OFS_CURSOR_OK:
			break;
	}
	since->cursor = palloc(sizeof(OfsCursor));
	if (!ofs_cursor_unpack(&body, since->cursor))
		malformed("The cursor is damaged.");
	ofs_seal_hide((char *) since->cursor->inputs, since->cursor->inputs_len, seal);
	if (since->cursor->page_len > 0)
	{
		since->page = palloc(sizeof(OfsPage));
		if (!ofs_page_unpack(since->cursor->page, since->cursor->page_len, since->page))
			malformed("The cursor is damaged.");
	}
	if (ofs_incarnation_find(since->cursor->incarnation) == NULL)
		return replace(since, "the cursor is of an incarnation unknown here");

	ofs_seal_make(body.data, body.len, expected);
	for (int i = 0; i < OFS_CURSOR_SEAL_LEN; i++)
		differ |= seal[i] ^ expected[i];
	if (differ)
		malformed("The cursor's seal is broken.");
	return resolve_cursor(since);
}

OfsSince *
ofs_since_open(const char *last_pulled_at)
{
	OfsSince   *since = palloc0(sizeof(OfsSince));
	const char *text = last_pulled_at;

	since->kind = OFS_SINCE_FIRST;
	if (text == NULL || text[0] == '\0')
		return since;
	if (text[0] == 'o')
		return parse_cursor(since, text);
	if (text[0] < '0' || text[0] > '9')
		malformed("It is neither a cursor, nor a number, nor an ISO 8601 timestamp.");
	if (strchr(text, '-') != NULL)
		return parse_iso(since, text);
	return parse_number(since, text);
}

OfsSince *
ofs_since_parse(const char *last_pulled_at)
{
	OfsSince   *since = ofs_since_open(last_pulled_at);

	if (since->page)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("the cursor is of a pull that is not finished"),
				 errdetail("There are more pages."),
				 errhint("Pull with it until \"hasMore\" is false, or pass the cursor that the pull began with.")));
	return since;
}

/* ---------- asking ---------- */

int64
ofs_since_number(const OfsSince *since)
{
	if (since->kind == OFS_SINCE_EXACT)
		return since->cursor_base + (int64) since->cursor->xmin;
	if (since->kind == OFS_SINCE_NUMBER)
		return since->from;
	return Max(since->number, 1);
}

static const OfsCursorOwn *
find_own(const OfsSince *since, int64 version)
{
	if (since->kind == OFS_SINCE_NUMBER && since->pushed != NULL && since->pushed->version == version)
		return since->pushed;
	if (since->kind != OFS_SINCE_EXACT)
		return NULL;
	for (int i = 0; i < since->cursor->nown; i++)
		if (since->cursor->own[i].version == version)
			return &since->cursor->own[i];
	return NULL;
}

static bool
own_echoes(const OfsCursorOwn *own, const OfsTable *table)
{
	if (own->stained)
		return true;
	for (int i = 0; i < own->necho; i++)
		if (own->echo[i] == table->hash)
			return true;
	return false;
}

bool
ofs_since_is_own(const OfsSince *since, int64 version)
{
	return find_own(since, version) != NULL;
}

int
ofs_since_own(const OfsSince *since, const OfsTable *table, int64 **versions)
{
	int			count = 0;

	*versions = NULL;
	if (since->kind == OFS_SINCE_NUMBER && since->pushed != NULL && !own_echoes(since->pushed, table))
	{
		*versions = palloc(sizeof(int64));
		(*versions)[count++] = since->pushed->version;
	}
	if (since->kind != OFS_SINCE_EXACT || since->cursor->nown == 0)
		return count;
	*versions = palloc(sizeof(int64) * since->cursor->nown);
	for (int i = 0; i < since->cursor->nown; i++)
		if (!own_echoes(&since->cursor->own[i], table))
			(*versions)[count++] = since->cursor->own[i].version;
	return count;
}

int
ofs_since_own_all(const OfsSince *since, int64 **versions)
{
	int			nown = since->kind == OFS_SINCE_EXACT ? since->cursor->nown : 0;
	int			count = 0;

	*versions = palloc(sizeof(int64) * (nown + 1));
	if (since->kind == OFS_SINCE_NUMBER && since->pushed && !since->pushed->stained)
		(*versions)[count++] = since->pushed->version;
	for (int i = 0; i < nown; i++)
		if (!since->cursor->own[i].stained)
			(*versions)[count++] = since->cursor->own[i].version;
	return count;
}

OfsSince *
ofs_since_strict(const OfsSince *since)
{
	OfsSince   *strict = palloc(sizeof(OfsSince));

	*strict = *since;
	strict->pushed = NULL;
	if (since->kind == OFS_SINCE_EXACT)
	{
		strict->cursor = palloc(sizeof(OfsCursor));
		*strict->cursor = *since->cursor;
		strict->cursor->nown = 0;
	}
	return strict;
}

int64
ofs_since_least(const OfsSince *since)
{
	if (since->kind != OFS_SINCE_NUMBER && since->kind != OFS_SINCE_EXACT)
		return 0;
	return since->nrunning > 0 ? Min(since->from, since->running[0]) : since->from;
}

bool
ofs_since_sees(const OfsSince *since, int64 version)
{
	int			low = 0;
	int			high = since->nrunning - 1;

	if (since->kind != OFS_SINCE_NUMBER && since->kind != OFS_SINCE_EXACT)
		return false;
	if (version >= since->from)
		return false;
	while (low <= high)
	{
		int			mid = (low + high) / 2;

		if (since->running[mid] == version)
			return false;
		if (since->running[mid] < version)
			low = mid + 1;
		else
			high = mid - 1;
	}
	return true;
}

bool
ofs_since_covers(const OfsSince *since, const OfsTable *table, int64 version)
{
	const OfsCursorOwn *own = find_own(since, version);

	return ofs_since_sees(since, version) || (own != NULL && !own->stained);
}

const OfsCursorCollection *
ofs_since_collection(const OfsSince *since, const OfsTable *table)
{
	if (since->kind != OFS_SINCE_EXACT)
		return NULL;
	for (int i = 0; i < since->cursor->ncollections; i++)
		if (since->cursor->collections[i].hash == table->hash)
			return &since->cursor->collections[i];
	return NULL;
}

const char *
ofs_since_reset(const OfsSince *since, const OfsTable *table)
{
	Relation	rel = table_open(ofs_internal_table("reset_event"), AccessShareLock);
	Relation	index = index_open(linitial_oid(RelationGetIndexList(rel)), AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	char	   *reason = NULL;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table->relid));
	scan = systable_beginscan_ordered(rel, index, GetActiveSnapshot(), 1, &key);
	while (reason == NULL &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, BackwardScanDirection)))
	{
		bool		isnull;
		int64		version = DatumGetInt64(heap_getattr(tuple, 2, RelationGetDescr(rel), &isnull));

		/* all that are older have been seen */
		if (version < ofs_since_least(since))
			break;
		/* an event of the client's own transaction is one it hasn't followed */
		if (!ofs_since_sees(since, version))
			reason = TextDatumGetCString(heap_getattr(tuple, 3, RelationGetDescr(rel), &isnull));
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return reason;
}

/* ---------- making cursors ---------- */

void
ofs_since_make_own(OfsCursorOwn *own, int64 version, List *echo)
{
	ListCell   *lc;

	own->version = version;
	own->timeline = ofs_incarnation_current()->timeline;
	own->lsn = GetXLogInsertRecPtr();
	own->stained = false;
	own->nviews = 0;
	own->views = NULL;
	own->necho = 0;
	own->echo = palloc(sizeof(uint64) * Max(list_length(echo), 1));
	foreach(lc, echo)
		own->echo[own->necho++] = ((OfsTable *) lfirst(lc))->hash;
}

char *
ofs_since_plus(const OfsSince *since, const OfsCursorOwn *own)
{
	OfsCursor	cursor;
	int			kept = 0;

	if (since->kind != OFS_SINCE_EXACT)
		return NULL;

	cursor = *since->cursor;
	cursor.own = palloc(sizeof(OfsCursorOwn) * (cursor.nown + 1));
	for (int i = Max(0, cursor.nown - MAX_OWN + 1); i < cursor.nown; i++)
		if (since->cursor->own[i].version != own->version)
			cursor.own[kept++] = since->cursor->own[i];
	if (own->version != 0)
		cursor.own[kept++] = *own;
	cursor.nown = kept;
	return ofs_cursor_seal(&cursor);
}
