/*
 * position.c
 *		Where a pull stands: the cursor and number that its answer carries.
 *
 * Usually that is the pull's own snapshot.  On a standby that lags behind what the cursor has seen,
 * nothing newer than the cursor is visible, and the cursor is given back as it was.  Where the snapshot has seen all of
 * the cursor's snapshot but not one of the client's own transactions, the own transaction is dropped: what it wrote comes
 * once more, rather than be hidden behind somebody else's older version which this answer may hold.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/incarnation.h"
#include "pull/position.h"

/* In recovery, with the record that is being replayed: its commit may be visible already. */
static XLogRecPtr
present_lsn(void)
{
	return RecoveryInProgress() ? GetCurrentReplayRecPtr(NULL) : GetXLogInsertRecPtr();
}

/* Ids as ranges. */
static void
make_ranges(OfsCursor *cursor, const uint64 *xids, int count)
{
	cursor->running = palloc(sizeof(OfsCursorRange) * Max(count, 1));
	cursor->nrunning = 0;
	for (int i = 0; i < count; i++)
	{
		OfsCursorRange *last = cursor->nrunning > 0 ? &cursor->running[cursor->nrunning - 1] : NULL;

		if (last && last->first + last->count == xids[i])
			last->count++;
		else
		{
			cursor->running[cursor->nrunning].first = xids[i];
			cursor->running[cursor->nrunning++].count = 1;
		}
	}
}

/*
 * The least version that the snapshot may not have seen, the caller's own left out.  Ids behind the
 * snapshot's end may be others' that have committed since; the first one, if it is one's own, is not.
 */
static int64
horizon_but_own(const OfsCursor *cursor, const uint64 *running, int nrunning, int64 pushed)
{
	int64		base = ofs_incarnation_current()->base;

	for (int i = 0; i < nrunning; i++)
	{
		if (base + (int64) running[i] != pushed)
			return base + (int64) running[i];
	}
	return base + (int64) cursor->xmax + (base + (int64) cursor->xmax == pushed ? 1 : 0);
}

void
ofs_position_next(const OfsSince *since, Snapshot snapshot, List *views, int64 pushed,
				  char **cursor_text, int64 *timestamp)
{
	OfsCursor	cursor = {0};
	uint64	   *running;
	int			nrunning = ofs_snapshot_running(snapshot, &running);
	ListCell   *lc;

	cursor.xmax = ofs_xid_widen(snapshot->xmax);
	if (since->kind == OFS_SINCE_EXACT &&
		!ofs_snapshot_covers(snapshot, since->cursor))
	{
		*cursor_text = ofs_cursor_seal(since->cursor);
		*timestamp = since->cursor_base + (int64) since->cursor->xmin;
		return;
	}

	cursor.incarnation = ofs_incarnation_current()->id;
	cursor.timeline = ofs_incarnation_current()->timeline;
	cursor.lsn = present_lsn();
	cursor.xmin = nrunning > 0 ? running[0] : cursor.xmax;
	make_ranges(&cursor, running, nrunning);
	cursor.collections = palloc(sizeof(OfsCursorCollection) * Max(list_length(views), 1));
	foreach(lc, views)
	{
		const OfsView *view = lfirst(lc);

		cursor.collections[cursor.ncollections].hash = view->table->hash;
		cursor.collections[cursor.ncollections++].fingerprint = view->fingerprint;
	}
	if (pushed != 0)
	{
		cursor.own = palloc(sizeof(OfsCursorOwn));
		cursor.nown = 1;
		ofs_since_make_own(cursor.own, pushed, NIL);
	}
	*cursor_text = ofs_cursor_seal(&cursor);
	*timestamp = ofs_version_horizon(snapshot);
	/* nothing else that is older is at work */
	if (pushed != 0 && *timestamp == ofs_incarnation_current()->base + (int64) cursor.xmin)
		*timestamp = horizon_but_own(&cursor, running, nrunning, pushed);
	/* on a standby that lags, a number never goes back */
	if (RecoveryInProgress() && since->kind == OFS_SINCE_NUMBER)
		*timestamp = Max(*timestamp, since->number);
}
