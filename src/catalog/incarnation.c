/*
 * incarnation.c
 *		Versions: base + transaction id.
 *
 * A row's version is the 64-bit id of the top-level transaction that wrote it, plus the base of
 * the incarnation in which it did.  Clocks and sequences are read before commit, so a slow
 * transaction commits behind a cursor that has passed it; of transaction ids a snapshot knows
 * exactly which it has not seen.
 *
 * An incarnation is one continuous history of ids.  It is identified by (system identifier,
 * WAL timeline, database OID, OID of the incarnation table) and by its row still being the tuple that
 * its writer inserted: the row holds the id of that (sub)transaction, and a tuple that came
 * out of a dump has another xmin.  So
 *
 *	- dump and restore end an incarnation, even where all OIDs come out the same;
 *	- promotion and point-in-time recovery end it (another timeline), but its ids go on, so a
 *	  cursor from before the switch can still be honoured;
 *	- pg_upgrade doesn't (another system identifier, the same OIDs and tuples).
 *
 * The next incarnation's id and base are computed from what identifies it, not claimed: all who
 * compute them, concurrently, in recovery or after a crash, find the same, and the first
 * writers each insert an equal row.  A base lies 2^40 to 2^41 above the greatest before it, hence
 * above every version ever stamped: no cluster comes near 2^40 transactions.  Only the very first base
 * comes from a clock (the postmaster's start), so that an extension dropped and created
 * again goes on above its earlier self.
 *
 * Whoever stamps holds a share lock on the incarnation table to the end of its transaction, so that
 * offsync.new_incarnation() can wait for all of them; it conflicts with nothing else.  The time that rows are stamped with is read
 * behind that lock: who doesn't hold it yet will stamp a later time (settled.c).  It would be lost with a subtransaction that fails,
 * so that lock and time are taken anew behind one.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/timeline.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "base/compat.h"
#include "base/spi.h"
#include "catalog/incarnation.h"
#include "catalog/indexing.h"
#include "catalog/secret.h"
#include "catalog/synced.h"
#include "catalog/timeline.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define STEP		(INT64CONST(1) << 40)
#define NATTS		8

enum
{
	A_ID = 1, A_BASE, A_SYSTEM, A_TIMELINE, A_DATABASE, A_RELATION, A_ROW_XID, A_CREATED_AT
};

/* A row of the table, and whether it is the tuple that its writer inserted. */
typedef struct Row
{
	OfsIncarnation inc;
	uint64		system;
	Oid			database;
	Oid			relation;
	bool		physical;		/* this database's own, not a restored copy */
	TransactionId raw_xmin;
} Row;

static struct
{
	bool		valid;
	bool		callbacks;
	Oid			relid;
	OfsIncarnation current;
	bool		restoring;
	bool		none;			/* is recorded, restored or not */
	int			nphysical;		/* ascending by base, without the current one */
	OfsIncarnation *physical;
	FullTransactionId stamped;	/* transaction that the version below is of */
	int64		version;
	TimestampTz stamped_at;
	FullTransactionId first_writer; /* transaction that inserted a row with a base from the clock */
}			cache;

PG_FUNCTION_INFO_V1(offsync_new_incarnation);

static TimeLineID
present_timeline(void)
{
	TimeLineID	tli;

	if (!RecoveryInProgress())
		return GetWALInsertionTimeLine();
	(void) GetXLogReplayRecPtr(&tli);
	return tli;
}

static void
read_row(Relation rel, HeapTuple tuple, Row *row)
{
	Datum		values[NATTS];
	bool		nulls[NATTS];

	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	row->inc.id = DatumGetInt64(values[A_ID - 1]);
	row->inc.base = DatumGetInt64(values[A_BASE - 1]);
	row->inc.timeline = (TimeLineID) DatumGetInt32(values[A_TIMELINE - 1]);
	row->inc.first_xid = DatumGetTransactionId(values[A_ROW_XID - 1]);
	row->inc.recorded = true;
	row->system = (uint64) DatumGetInt64(values[A_SYSTEM - 1]);
	row->database = DatumGetObjectId(values[A_DATABASE - 1]);
	row->relation = DatumGetObjectId(values[A_RELATION - 1]);
	row->raw_xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	row->physical = row->database == MyDatabaseId &&
		row->relation == RelationGetRelid(rel) &&
		row->raw_xmin == row->inc.first_xid;
}

static int
compare_rows(const void *a, const void *b)
{
	const Row  *ra = a;
	const Row  *rb = b;

	if (ra->inc.base != rb->inc.base)
		return ra->inc.base < rb->inc.base ? -1 : 1;
	return 0;
}

/* All rows that the latest snapshot sees, ascending by base. */
static Row *
read_rows(Relation rel, int *count)
{
	int			max = 8;
	Row		   *rows = palloc(sizeof(Row) * max);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;

	*count = 0;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (*count == max)
			rows = repalloc(rows, sizeof(Row) * (max *= 2));
		read_row(rel, tuple, &rows[(*count)++]);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	qsort(rows, *count, sizeof(Row), compare_rows);
	return rows;
}

static int64
first_base(void)
{
	uint64		database[2] = {GetSystemIdentifier(), MyDatabaseId};
	uint64		hash = hash_bytes_extended((unsigned char *) database, sizeof(database), 0);

	return ((PgStartTime / USECS_PER_SEC) << 20) + (int64) (hash % STEP);
}

/* The incarnation that the present identity makes, given the one with the greatest base so far. */
static void
compute_next(Oid relid, TimeLineID tli, const Row *last, OfsIncarnation *inc)
{
	struct
	{
		uint64		system;
		uint64		timeline;
		uint64		database;
		uint64		relation;
		uint64		raw_xmin;
		uint64		switch_lsn;
		uint64		started;
	}			seed = {0};
	uint8		digest[32];
	uint64		words[2];

	seed.system = GetSystemIdentifier();
	seed.timeline = tli;
	seed.database = MyDatabaseId;
	seed.relation = relid;
	if (last)
	{
		seed.raw_xmin = last->raw_xmin;
		if (tli > 1)
			seed.switch_lsn = ((TimeLineHistoryEntry *) linitial(readTimeLineHistory(tli)))->begin;
	}
	else
		seed.started = (uint64) PgStartTime;

	ofs_secret_hmac(&seed, sizeof(seed), digest);
	memcpy(words, digest, sizeof(words));
	inc->id = (int64) words[0];
	inc->timeline = tli;
	inc->first_xid = InvalidTransactionId;
	inc->recorded = false;
	if (last)
		inc->base = last->inc.base + STEP + (int64) (words[1] % STEP);
	else
		inc->base = first_base();
}

/* Keep the rows whose ids go on in this cluster, one per id, below the current one. */
static void
keep_physical(const Row *rows, int count)
{
	cache.nphysical = 0;
	if (cache.physical)
		pfree(cache.physical);
	cache.physical = MemoryContextAlloc(TopMemoryContext, sizeof(OfsIncarnation) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (!rows[i].physical || rows[i].inc.id == cache.current.id)
			continue;
		if (cache.nphysical > 0 && cache.physical[cache.nphysical - 1].id == rows[i].inc.id)
			continue;
		cache.physical[cache.nphysical++] = rows[i].inc;
	}
}

static void
load(TimeLineID tli)
{
	Oid			relid = ofs_internal_table("incarnation");
	Relation	rel = table_open(relid, AccessShareLock);
	int			count;
	Row		   *rows = read_rows(rel, &count);
	int64		greatest = count > 0 ? rows[count - 1].inc.base : 0;
	const Row  *match = NULL;

	for (int i = count - 1; i >= 0 && rows[i].inc.base == greatest; i--)
		if (rows[i].physical && (match == NULL || rows[i].system == GetSystemIdentifier()))
			match = &rows[i];

	cache.relid = relid;
	cache.restoring = count > 0 && match == NULL;
	cache.none = count == 0;
	if (match && match->system == GetSystemIdentifier() && match->inc.timeline == tli)
		cache.current = match->inc;
	else if (match && match->system != GetSystemIdentifier())
	{
		/* pg_upgrade: the ids go on; the first writer records the new system's row */
		cache.current = match->inc;
		cache.current.timeline = tli;
		cache.current.recorded = false;
	}
	else
		compute_next(relid, tli, count > 0 ? &rows[count - 1] : NULL, &cache.current);
	keep_physical(rows, count);
	pfree(rows);
	table_close(rel, NoLock);
	cache.valid = true;
}

const OfsIncarnation *
ofs_incarnation_current(void)
{
	TimeLineID	tli = present_timeline();

	/* what is only computed may change with the rows that a restore brings, and those ring no bell */
	if (!cache.valid || !cache.current.recorded || cache.current.timeline != tli)
		load(tli);
	return &cache.current;
}

bool
ofs_incarnation_restoring(void)
{
	(void) ofs_incarnation_current();
	/* whoever enables a table records it first; a parallel restore brings the rows in any order */
	return cache.restoring || cache.none;
}

const OfsIncarnation *
ofs_incarnation_find(int64 id)
{
	if (ofs_incarnation_current()->id == id)
		return &cache.current;
	for (int i = 0; i < cache.nphysical; i++)
		if (cache.physical[i].id == id)
			return &cache.physical[i];
	return NULL;
}

int
ofs_incarnation_bases(const OfsIncarnation *incarnation, int64 **bases)
{
	int			count = 0;

	*bases = palloc(sizeof(int64) * (cache.nphysical + 1));
	(*bases)[count++] = incarnation->base;
	for (int i = 0; i < cache.nphysical; i++)
		if (cache.physical[i].base < incarnation->base)
			(*bases)[count++] = cache.physical[i].base;
	return count;
}

/* ---------- recording ---------- */

static void
insert_row(Relation rel, const OfsIncarnation *inc)
{
	Datum		values[NATTS];
	bool		nulls[NATTS] = {false};
	HeapTuple	tuple;

	values[A_ID - 1] = Int64GetDatum(inc->id);
	values[A_BASE - 1] = Int64GetDatum(inc->base);
	values[A_SYSTEM - 1] = Int64GetDatum((int64) GetSystemIdentifier());
	values[A_TIMELINE - 1] = Int32GetDatum((int32) inc->timeline);
	values[A_DATABASE - 1] = ObjectIdGetDatum(MyDatabaseId);
	values[A_RELATION - 1] = ObjectIdGetDatum(RelationGetRelid(rel));
	values[A_ROW_XID - 1] = TransactionIdGetDatum(GetCurrentTransactionId());
	values[A_CREATED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	CacheInvalidateRelcache(rel);
}

static void
record_current(void)
{
	Relation	rel = table_open(cache.relid, RowExclusiveLock);
	bool		from_clock = cache.nphysical == 0 && !cache.restoring;

	insert_row(rel, &cache.current);
	table_close(rel, NoLock);
	cache.current.recorded = true;
	if (from_clock)
		cache.first_writer = GetTopFullTransactionId();
}

/* Held to the end of the transaction; see the head comment. */
static const OfsIncarnation *
lock_current(void)
{
	const OfsIncarnation *inc;
	Oid			relid;

	/* the extension may have been created again, which the lock tells of */
	do
	{
		relid = cache.valid ? cache.relid : ofs_internal_table("incarnation");
		LockRelationOid(relid, AccessShareLock);
		inc = ofs_incarnation_current();
	} while (relid != cache.relid);
	return inc;
}

int64
ofs_version_stamp(void)
{
	FullTransactionId xid = GetTopFullTransactionId();
	const OfsIncarnation *inc;
	bool		restored;

	if (cache.valid && FullTransactionIdEquals(xid, cache.stamped))
		return cache.version;

	inc = lock_current();
	restored = cache.restoring && !inc->recorded;
	if (!inc->recorded)
		record_current();
	cache.version = inc->base + (int64) U64FromFullTransactionId(xid);
	if (cache.version >= OFS_VERSION_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("versions of synced rows are used up")));
	cache.stamped = xid;
	cache.stamped_at = GetCurrentTimestamp();
	cache.stamped_at -= cache.stamped_at % 1000;
	ofs_timeline_keep();
	/* whoever pulled already may have missed DDL, which our event triggers let pass while restoring */
	if (restored)
		ofs_table_reset_all("restored");
	return cache.version;
}

TimestampTz
ofs_version_stamped_at(void)
{
	(void) ofs_version_stamp();
	return cache.stamped_at;
}

Oid
ofs_version_lock(void)
{
	return ofs_internal_table("incarnation");
}

/* Begin another incarnation, above all there were and above this version. */
static void
begin_above(int64 version)
{
	Relation	rel = table_open(ofs_internal_table("incarnation"), AccessExclusiveLock);
	int			count;
	Row		   *rows = read_rows(rel, &count);
	OfsIncarnation next = {0};
	uint64		random[2];

	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	next.id = (int64) random[0];
	next.base = Max(version, count > 0 ? rows[count - 1].inc.base : first_base());
	if (count > 0 || next.base == version)
		next.base += STEP + (int64) (random[1] % STEP);
	next.timeline = present_timeline();
	insert_row(rel, &next);
	table_close(rel, NoLock);
	cache.valid = false;
}

/* After restoring a copied data directory: nothing else tells the copy from the original. */
Datum
offsync_new_incarnation(PG_FUNCTION_ARGS)
{
	begin_above(0);
	PG_RETURN_VOID();
}

void
ofs_incarnation_outrun(int64 version)
{
	if (version <= ofs_version_latest())
		return;
	if (version >= OFS_VERSION_LIMIT - 3 * STEP)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("version " INT64_FORMAT " of a row is too large", version),
				 errdetail("The column \"%s\" exists already, and versions go on above its values.", OFS_COL_VERSION),
				 errhint("Rename the column, or drop it.")));
	begin_above(version);
	CommandCounterIncrement();
}

/* ---------- callbacks ---------- */

static void
relation_invalidated(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == cache.relid)
		cache.valid = false;
}

static void
transaction_event(XactEvent event, void *arg)
{
	/*
	 * The first base comes from a clock.  If its row waited in a prepared transaction, others would
	 * compute another after a restart.
	 */
	if (event == XACT_EVENT_PRE_PREPARE && FullTransactionIdIsValid(cache.first_writer) &&
		FullTransactionIdEquals(cache.first_writer, GetTopFullTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE the transaction that first uses offsync in a database")));
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
	{
		cache.stamped = InvalidFullTransactionId;
		cache.first_writer = InvalidFullTransactionId;
		ofs_timeline_forget(event == XACT_EVENT_ABORT);
	}
}

/* The lock may be gone. */
static void
subtransaction_event(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		cache.stamped = InvalidFullTransactionId;
}

void
ofs_incarnation_init(void)
{
	RegisterSubXactCallback(subtransaction_event, NULL);
	CacheRegisterRelcacheCallback(relation_invalidated, (Datum) 0);
	RegisterXactCallback(transaction_event, NULL);
}
