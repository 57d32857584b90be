/*
 * settled.c
 *		Up to which time are the stamps of rows settled?
 *
 * A client that reads rows in the order of server_updated_at, and goes on behind the last one that it got, loses those that become
 * visible behind its back: a stamp is read before commit, and a slow transaction commits later than a fast one that began after it.
 * So it is shown only rows with stamps before a time H, such that every transaction which its snapshot doesn't see stamps at
 * H or later.  H is found so:
 *
 *	1. read the clock: t0;
 *	2. find who holds the lock that every stamping transaction takes before it reads the clock for its stamps, and
 *	   holds to its end (incarnation.c);
 *	3. find when these transactions began;
 *	4. take the snapshot.
 *
 * Let T be a transaction that the snapshot doesn't see.  Locks are released after a transaction has left the list of the running
 * ones, so that T, if it had taken the lock by step 2, was found there; it reads the clock after it has begun, hence stamps
 * later than that.  If it had not, it takes the lock after t0, and reads the clock behind it.  So H is the least of t0
 * and those beginnings.  Others don't count, however long they are at work: not those that write no synced table, and not those
 * that hold the lock for reading, as pg_dump does: they have no transaction id yet, which comes before the lock.
 *
 * Some beginnings nobody knows: that of a prepared transaction; that of a backend with track_activities switched off.  Then,
 * and on a standby, where there are no such locks, the timeline says a time after which every transaction that the
 * snapshot doesn't see was begun (timeline.c).  That lies behind by the seconds between two of its notes, at least, and
 * for as long as the oldest unseen transaction takes.
 *
 * All this takes clocks for what goes forwards.  What is stamped while a clock is put back may lie behind a reader's back.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/compat.h"
#include "catalog/incarnation.h"
#include "catalog/settled.h"
#include "catalog/timeline.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/backend_status.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* A transaction's beginning. */
typedef enum Beginning
{
	BEGINNING_KNOWN,
	BEGINNING_LATER,			/* it has not stamped by now, or it is over */
	BEGINNING_UNKNOWN
} Beginning;

/* It has no backend any more: it is prepared, or over. */
static Beginning
find_prepared(const VirtualTransactionId *holder)
{
	bool		more;

	if (VirtualTransactionIdIsRecoveredPreparedXact(*holder))
		return BEGINNING_UNKNOWN;
	return TransactionIdIsValid(TwoPhaseGetXidByVirtualXID(*holder, &more)) ? BEGINNING_UNKNOWN : BEGINNING_LATER;
}

/* Of the transaction that holds the lock. */
static Beginning
find_beginning(const VirtualTransactionId *holder, TimestampTz *began)
{
	int			pid = ofs_compat_vxid_pid(holder);
	int			count = pgstat_fetch_stat_numbackends();
	const LocalPgBackendStatus *found = NULL;

	for (int i = 1; pid != 0 && found == NULL && i <= count; i++)
	{
		const LocalPgBackendStatus *entry = ofs_compat_backend_status(i);

		if (entry != NULL && entry->backendStatus.st_procpid == pid)
			found = entry;
	}
	/* if it is still that one, it was when the entry was copied */
	if (ofs_compat_vxid_pid(holder) == 0)
		return find_prepared(holder);
	if (found == NULL)
		return BEGINNING_UNKNOWN;
	if (!TransactionIdIsValid(found->backend_xid))
		return BEGINNING_LATER;
	*began = found->backendStatus.st_xact_start_timestamp;
	return *began == 0 ? BEGINNING_UNKNOWN : BEGINNING_KNOWN;
}

/* Steps 2 and 3; false: of one it isn't known. */
static bool
find_least(TimestampTz *least)
{
	VirtualTransactionId *holders;
	LOCKTAG		tag;
	int			count;
	bool		known = true;

	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		*least = Min(*least, GetCurrentTransactionStartTimestamp());
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, ofs_version_lock());
	holders = GetLockConflicts(&tag, AccessExclusiveLock, &count);
	if (count > 0)
		pgstat_clear_backend_activity_snapshot();
	for (int i = 0; known && i < count; i++)
	{
		TimestampTz began;

		switch (find_beginning(&holders[i], &began))
		{
			case BEGINNING_KNOWN:
				*least = Min(*least, began);
				break;
			case BEGINNING_LATER:
				break;
			case BEGINNING_UNKNOWN:
				known = false;
				break;
		}
	}
	return known;
}

TimestampTz
ofs_settled_push(void)
{
	TimestampTz least = GetCurrentTimestamp();
	bool		known = !RecoveryInProgress() && find_least(&least);

	PushActiveSnapshot(GetLatestSnapshot());
	/* what is shown no crash may take back */
	ofs_snapshot_flush();
	if (known)
		return least;
	return Min(least, ofs_timeline_before(ofs_version_horizon(GetActiveSnapshot()), GetActiveSnapshot()));
}
