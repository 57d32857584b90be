/*
 * pushlog.c
 *		The push log: what clients that name themselves have pushed.
 *
 * A push that came with a client_id leaves a row.  It serves two ends: a push sent again under its push_id gets the
 * answer of the first time, and a client that has only a number learns which rows are its own.
 *
 * The row is written by the transaction that stores the records: wherever one is, after a crash, on a promoted
 * standby, after recovery to a point in time, the other is.  It is not dumped: in a restored
 * database no push is known, and its cursors start anew in any case.
 *
 * Records stand in it as hashes.  Two that collide do no harm: what is asked is whether a row that has the push's
 * version, and so was written by its transaction, was one of those that its client had sent; or whether
 * the client has a record, and a wrong yes only lets that come as "updated".
 *
 * No unique key: a push waits for nobody but for another under the same push_id of the same client, by
 * an advisory lock in a class of our own.  Indexes are of hashes, and every row that is found
 * is compared with what was looked for.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/spi.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "catalog/pushlog.h"
#include "common/hashfn.h"
#include "core/cursor.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Advisory locks of SQL have 1 and 2 in this place. */
#define LOCK_CLASS 0x4F53

enum
{
	A_CLIENT = 1, A_VERSION, A_PUSH, A_AT, A_ROLE, A_SUBJECT, A_CLIENT_ID, A_RECORDS,
	A_PUSH_ID, A_DIGEST, A_NUMBER, A_CURSOR, A_CHANGES, A_OUTCOME
};
#define NATTS	A_OUTCOME

typedef struct Entry
{
	int64		version;
	HeapTuple	tuple;			/* till its records are read */
	int			nrecords;
	int64	   *records;
} Entry;

struct OfsPushes
{
	MemoryContext context;
	TupleDesc	desc;
	int			count;
	Entry	   *entries;		/* ascending by version */
};

static int
compare_int64(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : (left > right ? 1 : 0);
}

int64
ofs_pushlog_record(const OfsTable *table, const char *id)
{
	return (int64) hash_combine64(table->hash, ofs_name_hash(id));
}

static int64
push_hash(const OfsClient *client, const char *push_id)
{
	return (int64) hash_combine64((uint64) client->hash, ofs_name_hash(push_id));
}

/* ---------- writing ---------- */

static void
set_text(Datum *values, bool *nulls, int attnum, const char *value)
{
	nulls[attnum - 1] = value == NULL;
	if (value != NULL)
		values[attnum - 1] = CStringGetTextDatum(value);
}

static Datum
records_array(OfsPushed *pushed)
{
	Datum	   *datums = palloc(sizeof(Datum) * Max(pushed->nrecords, 1));

	qsort(pushed->records, pushed->nrecords, sizeof(int64), compare_int64);
	for (int i = 0; i < pushed->nrecords; i++)
		datums[i] = Int64GetDatum(pushed->records[i]);
	return PointerGetDatum(construct_array(datums, pushed->nrecords, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
set_answer(Datum *values, bool *nulls, const OfsClient *client, const OfsPushed *pushed)
{
	bytea	   *digest = palloc(VARHDRSZ + OFS_DIGEST_LEN);

	SET_VARSIZE(digest, VARHDRSZ + OFS_DIGEST_LEN);
	memcpy(VARDATA(digest), pushed->digest, OFS_DIGEST_LEN);
	values[A_PUSH - 1] = Int64GetDatum(push_hash(client, pushed->push_id));
	values[A_DIGEST - 1] = PointerGetDatum(digest);
	values[A_NUMBER - 1] = Int64GetDatum(pushed->number);
	nulls[A_PUSH - 1] = nulls[A_DIGEST - 1] = false;
	nulls[A_NUMBER - 1] = pushed->number == 0;
	set_text(values, nulls, A_PUSH_ID, pushed->push_id);
	set_text(values, nulls, A_CURSOR, pushed->cursor);
	set_text(values, nulls, A_CHANGES, pushed->changes);
	set_text(values, nulls, A_OUTCOME, pushed->outcome);
}

void
ofs_pushlog_add(const OfsClient *client, OfsPushed *pushed)
{
	Relation	rel = table_open(ofs_internal_table("push_log"), RowExclusiveLock);
	Datum		values[NATTS] = {0};
	bool		nulls[NATTS];
	HeapTuple	tuple;

	memset(nulls, true, sizeof(nulls));
	values[A_CLIENT - 1] = Int64GetDatum(client->hash);
	values[A_VERSION - 1] = Int64GetDatum(pushed->version);
	values[A_AT - 1] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[A_ROLE - 1] = ObjectIdGetDatum(client->role);
	values[A_RECORDS - 1] = records_array(pushed);
	nulls[A_CLIENT - 1] = nulls[A_VERSION - 1] = nulls[A_AT - 1] = nulls[A_ROLE - 1] = nulls[A_RECORDS - 1] = false;
	set_text(values, nulls, A_SUBJECT, client->subject);
	set_text(values, nulls, A_CLIENT_ID, client->client_id);
	if (pushed->push_id != NULL)
		set_answer(values, nulls, client, pushed);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
}

void
ofs_pushlog_lock(const OfsClient *client, const char *push_id)
{
	uint64		key = (uint64) push_hash(client, push_id);
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, LOCK_CLASS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* ---------- reading ---------- */

/* The index that leads with this column. */
static Relation
open_index(Relation rel, AttrNumber attnum)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index->rd_index->indkey.values[0] == attnum)
			return index;
		index_close(index, AccessShareLock);
	}
	elog(ERROR, "the push log has lost an index");
}

static char *
get_text(HeapTuple tuple, TupleDesc desc, int attnum)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static bool
same_text(HeapTuple tuple, TupleDesc desc, int attnum, const char *value)
{
	const char *stored = get_text(tuple, desc, attnum);

	if (stored == NULL || value == NULL)
		return stored == NULL && value == NULL;
	return strcmp(stored, value) == 0;
}

/* Hashes lead here; this is what counts. */
static bool
is_client(HeapTuple tuple, TupleDesc desc, const OfsClient *client)
{
	bool		isnull;

	return DatumGetObjectId(heap_getattr(tuple, A_ROLE, desc, &isnull)) == client->role &&
		same_text(tuple, desc, A_SUBJECT, client->subject) &&
		same_text(tuple, desc, A_CLIENT_ID, client->client_id);
}

static OfsPushed *
read_answer(HeapTuple tuple, TupleDesc desc)
{
	OfsPushed  *pushed = palloc0(sizeof(OfsPushed));
	bool		isnull;
	bytea	   *digest;

	pushed->version = DatumGetInt64(heap_getattr(tuple, A_VERSION, desc, &isnull));
	pushed->push_id = get_text(tuple, desc, A_PUSH_ID);
	digest = DatumGetByteaPP(heap_getattr(tuple, A_DIGEST, desc, &isnull));
	memcpy(pushed->digest, VARDATA_ANY(digest), Min(VARSIZE_ANY_EXHDR(digest), OFS_DIGEST_LEN));
	pushed->number = DatumGetInt64(heap_getattr(tuple, A_NUMBER, desc, &isnull));
	if (isnull)
		pushed->number = 0;
	pushed->cursor = get_text(tuple, desc, A_CURSOR);
	pushed->changes = get_text(tuple, desc, A_CHANGES);
	pushed->outcome = get_text(tuple, desc, A_OUTCOME);
	return pushed;
}

OfsPushed *
ofs_pushlog_find(const OfsClient *client, const char *push_id)
{
	Relation	rel = table_open(ofs_internal_table("push_log"), AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	Relation	index = open_index(rel, A_PUSH);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	OfsPushed  *found = NULL;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	ScanKeyInit(&key, A_PUSH, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(push_hash(client, push_id)));
	scan = systable_beginscan(rel, RelationGetRelid(index), true, snapshot, 1, &key);
	while (found == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (is_client(tuple, desc, client) && same_text(tuple, desc, A_PUSH_ID, push_id))
			found = read_answer(tuple, desc);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return found;
}

OfsPushes *
ofs_pushlog_load(const OfsClient *client, int64 least)
{
	Relation	rel = table_open(ofs_internal_table("push_log"), AccessShareLock);
	Relation	index = open_index(rel, A_CLIENT);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	OfsPushes  *pushes = palloc0(sizeof(OfsPushes));
	int			room = 16;
	SysScanDesc scan;
	ScanKeyData keys[2];
	HeapTuple	tuple;

	pushes->context = CurrentMemoryContext;
	pushes->desc = CreateTupleDescCopy(RelationGetDescr(rel));
	pushes->entries = palloc0_array(Entry, room);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(client->hash));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(least));
	scan = systable_beginscan_ordered(rel, index, snapshot, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool		isnull;
		Entry	   *entry;

		if (!is_client(tuple, pushes->desc, client))
			continue;
		if (pushes->count == room)
			pushes->entries = repalloc(pushes->entries, sizeof(Entry) * (room *= 2));
		entry = &pushes->entries[pushes->count++];
		memset(entry, 0, sizeof(Entry));
		entry->version = DatumGetInt64(heap_getattr(tuple, A_VERSION, pushes->desc, &isnull));
		entry->tuple = heap_copytuple(tuple);
	}
	systable_endscan_ordered(scan);
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return pushes;
}

static void
read_records(OfsPushes *pushes, Entry *entry)
{
	MemoryContext old = MemoryContextSwitchTo(pushes->context);
	bool		isnull;
	ArrayType  *array = DatumGetArrayTypeP(heap_getattr(entry->tuple, A_RECORDS, pushes->desc, &isnull));

	entry->nrecords = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	entry->records = (int64 *) ARR_DATA_PTR(array);
	entry->tuple = NULL;
	MemoryContextSwitchTo(old);
}

/* The first push with this version or a later one. */
static int
first_entry(const OfsPushes *pushes, int64 version)
{
	int			low = 0;
	int			high = pushes->count;

	while (low < high)
	{
		int			mid = (low + high) / 2;

		if (pushes->entries[mid].version < version)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool
entry_names(OfsPushes *pushes, Entry *entry, int64 record)
{
	if (entry->tuple != NULL)
		read_records(pushes, entry);
	return entry->nrecords > 0 &&
		bsearch(&record, entry->records, entry->nrecords, sizeof(int64), compare_int64) != NULL;
}

bool
ofs_pushlog_wrote(OfsPushes *pushes, int64 version, const OfsTable *table, const char *id)
{
	int			i = first_entry(pushes, version);

	/* a transaction may have pushed more than once */
	for (; i < pushes->count && pushes->entries[i].version == version; i++)
		if (entry_names(pushes, &pushes->entries[i], ofs_pushlog_record(table, id)))
			return true;
	return false;
}

bool
ofs_pushlog_names(OfsPushes *pushes, const OfsTable *table, const char *id)
{
	int64		record = pushes->count > 0 ? ofs_pushlog_record(table, id) : 0;

	for (int i = 0; i < pushes->count; i++)
		if (entry_names(pushes, &pushes->entries[i], record))
			return true;
	return false;
}
