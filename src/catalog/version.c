/*
 * version.c
 *		Snapshots in terms of versions.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "base/compat.h"
#include "catalog/incarnation.h"
#include "storage/procarray.h"

uint64
ofs_xid_widen(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, xid));
}

static int
compare_uint64(const void *a, const void *b)
{
	uint64		ua = *(const uint64 *) a;
	uint64		ub = *(const uint64 *) b;

	return ua < ub ? -1 : (ua > ub ? 1 : 0);
}

/*
 * In recovery all running ids stand in subxip, subtransactions among them; top-level ids are
 * never missing, even when the snapshot overflowed, and a subtransaction's id is no version.
 */
int
ofs_snapshot_running(Snapshot snapshot, uint64 **xids)
{
	TransactionId own = GetTopTransactionIdIfAny();
	int			nids = snapshot->takenDuringRecovery ? snapshot->subxcnt : (int) snapshot->xcnt;
	TransactionId *ids = snapshot->takenDuringRecovery ? snapshot->subxip : snapshot->xip;
	int			count = 0;

	*xids = palloc(sizeof(uint64) * (nids + 1));
	for (int i = 0; i < nids; i++)
		(*xids)[count++] = ofs_xid_widen(ids[i]);
	if (TransactionIdIsValid(own) && TransactionIdPrecedes(own, snapshot->xmax))
		(*xids)[count++] = ofs_xid_widen(own);
	qsort(*xids, count, sizeof(uint64), compare_uint64);
	for (int i = 1, kept = 1, n = count; i < n; i++)
	{
		if ((*xids)[i] != (*xids)[kept - 1])
			(*xids)[kept++] = (*xids)[i];
		count = kept;
	}
	return count;
}

/*
 * Could this in-progress transaction have stamped rows in an earlier incarnation?  Only a prepared one
 * survives a promotion.
 */
static bool
may_be_of_earlier(const OfsIncarnation *inc, TransactionId xid)
{
	if (inc->recorded && !TransactionIdPrecedes(xid, inc->first_xid))
		return false;
	return RecoveryInProgress() || BackendXidGetPid(xid) == 0;
}

int64
ofs_version_horizon(Snapshot snapshot)
{
	const OfsIncarnation *inc = ofs_incarnation_current();
	int64	   *bases;
	int			nbases = ofs_incarnation_bases(inc, &bases);
	uint64	   *running;
	int			nrunning = ofs_snapshot_running(snapshot, &running);
	int64		horizon;

	for (int i = 0; nbases > 1 && i < nrunning; i++)
		if (may_be_of_earlier(inc, (TransactionId) running[i]))
			return bases[1] + (int64) running[i];

	horizon = nrunning > 0 ? (int64) running[0] : (int64) ofs_xid_widen(snapshot->xmax);
	pfree(running);
	return inc->base + horizon;
}

int64
ofs_version_latest(void)
{
	return ofs_incarnation_current()->base +
		(int64) U64FromFullTransactionId(ReadNextFullTransactionId());
}

int64
ofs_version_base(int64 version)
{
	int64	   *bases;
	int			nbases = ofs_incarnation_bases(ofs_incarnation_current(), &bases);
	int64		base = 0;

	for (int i = 0; i < nbases; i++)
		if (bases[i] <= version)
			base = Max(base, bases[i]);
	pfree(bases);
	return base;
}

bool
ofs_snapshot_covers(Snapshot snapshot, const OfsCursor *cursor)
{
	uint64	   *running;
	int			nrunning = ofs_snapshot_running(snapshot, &running);
	int			at = 0;
	bool		covers = ofs_xid_widen(snapshot->xmax) >= cursor->xmax;

	for (int i = 0; covers && i < nrunning && running[i] < cursor->xmax; i++)
	{
		while (at < cursor->nrunning &&
			   cursor->running[at].first + cursor->running[at].count <= running[i])
			at++;
		covers = at < cursor->nrunning && running[i] >= cursor->running[at].first;
	}
	pfree(running);
	return covers;
}

/*
 * XLogFlush refuses a position behind the end of what was written, and the insert pointer stands
 * there when it has just stepped over a page's header.
 */
void
ofs_snapshot_flush(void)
{
	XLogRecPtr	end;
	uint32		offset;

	if (RecoveryInProgress())
		return;
	end = GetXLogInsertRecPtr();
	offset = XLogSegmentOffset(end, wal_segment_size);
	if (offset == SizeOfXLogLongPHD)
		end -= SizeOfXLogLongPHD;
	else if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		end -= SizeOfXLogShortPHD;
	XLogFlush(end);
}
