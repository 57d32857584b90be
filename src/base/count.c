/*
 * count.c
 *		What devices did, in numbers that only grow: offsync.stats.
 *
 * They stand in shared memory, so a pull that counts still writes nothing, on a standby either, and nobody waits: each
 * is added to atomically, when an answer is complete.  As in PostgreSQL's own statistics, what a transaction did counts even
 * if it is rolled back later, and a crash starts them anew; unlike those, so does every restart.
 *
 * Nothing needs to be preloaded.  Whoever counts first takes the memory: a named segment since PostgreSQL 17, before that a
 * little of what every server keeps in reserve, as contrib/pg_prewarm did.  Where there is none to be had nothing is counted, and
 * nothing fails.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/count.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

/* Databases beyond so many, since the server was started, aren't counted. */
#define MAX_DATABASES	64

typedef struct Counts
{
	Oid			database;		/* InvalidOid: free */
	pg_atomic_uint64 since;
	pg_atomic_uint64 values[OFS_COUNTERS];
} Counts;

typedef struct Shared
{
	slock_t		mutex;			/* of "database" */
	Counts		counts[MAX_DATABASES];
} Shared;

static Counts *counts = NULL;	/* of our database */
static bool sought = false;

static void
OFS_COMPAT_SHARED_INIT(init_shared)
{
	Shared	   *shared = ptr;

	SpinLockInit(&shared->mutex);
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		shared->counts[i].database = InvalidOid;
		pg_atomic_init_u64(&shared->counts[i].since, 0);
		for (int j = 0; j < OFS_COUNTERS; j++)
			pg_atomic_init_u64(&shared->counts[i].values[j], 0);
	}
}

/* Our database's place, a new one if need be; NULL when all are taken. */
static Counts *
take_place(Shared *shared)
{
	TimestampTz now = GetCurrentTimestamp();
	Counts	   *place = NULL;

	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < MAX_DATABASES && place == NULL; i++)
	{
		Counts	   *here = &shared->counts[i];

		if (here->database == InvalidOid)
		{
			here->database = MyDatabaseId;
			pg_atomic_write_u64(&here->since, (uint64) now);
		}
		if (here->database == MyDatabaseId)
			place = here;
	}
	SpinLockRelease(&shared->mutex);
	return place;
}

/* Once in a session: where it fails, this session doesn't count. */
static void
seek(void)
{
	MemoryContext context = CurrentMemoryContext;

	sought = true;
	if (!IsUnderPostmaster)
		return;
	PG_TRY();
	{
		counts = take_place(ofs_compat_shared("offsync counts", sizeof(Shared), init_shared));
	}
	PG_CATCH();
	{
		if (geterrcode() == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		/* no memory, or no segment: no lock was held when we came here */
		MemoryContextSwitchTo(context);
		FlushErrorState();
		LWLockReleaseAll();
	}
	PG_END_TRY();
}

static inline Counts *
our_counts(void)
{
	if (unlikely(!sought))
		seek();
	return counts;
}

void
ofs_count(OfsCounter counter, uint64 n)
{
	Counts	   *ours = our_counts();

	if (n > 0 && ours != NULL)
		(void) pg_atomic_fetch_add_u64(&ours->values[counter], (int64) n);
}

void
ofs_count_pull(bool first, int64 rows, int64 deletions, bool told)
{
	ofs_count(OFS_COUNT_PULLS, 1);
	ofs_count(OFS_COUNT_ROWS_SENT, rows);
	ofs_count(OFS_COUNT_DELETIONS_SENT, deletions);
	if (first)
		ofs_count(OFS_COUNT_PULLS_FIRST, 1);
	else if (rows + deletions == 0 && !told)
		ofs_count(OFS_COUNT_PULLS_IDLE, 1);
}

void
ofs_count_failed_push(int64 conflicts)
{
	ofs_count(OFS_COUNT_PUSHES_FAILED, 1);
	ofs_count(OFS_COUNT_CONFLICTS, conflicts);
}

bool
ofs_count_read(uint64 *values, TimestampTz *since)
{
	if (our_counts() == NULL)
		return false;
	for (int i = 0; i < OFS_COUNTERS; i++)
		values[i] = pg_atomic_read_u64(&counts->values[i]);
	*since = (TimestampTz) pg_atomic_read_u64(&counts->since);
	return true;
}

void
ofs_count_reset(void)
{
	if (our_counts() == NULL)
		return;
	for (int i = 0; i < OFS_COUNTERS; i++)
		pg_atomic_write_u64(&counts->values[i], 0);
	pg_atomic_write_u64(&counts->since, (uint64) GetCurrentTimestamp());
}
