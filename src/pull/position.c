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
#include "base/settings.h"
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

/* ---------- sets ---------- */

/* Where the set stands in the book; it is put there if need be. */
static int
place_set(OfsSetBook *book, const OfsSet *set, int *room)
{
	OfsSet	   *place = &book->sets[book->nsets];

	for (int i = 0; i < book->nsets; i++)
		if ((book->sets[i].kind == OFS_SET_PARENT) == (set->kind == OFS_SET_PARENT) &&
			book->sets[i].hash == set->hash)
			return i;
	*place = *set;
	if (set->kind == OFS_SET_VALUES)
	{
		if (ofs_set_size(set) > *room)
			place->kind = OFS_SET_HASH;
		else
			*room -= ofs_set_size(set);
	}
	return book->nsets++;
}

static int *
place_sets(OfsSetBook *book, List *sets, int *room)
{
	int		   *places = palloc(sizeof(int) * (list_length(sets) + 1));
	ListCell   *lc;

	foreach(lc, sets)
		places[foreach_current_index(lc)] = place_set(book, &((OfsViewSet *) lfirst(lc))->value, room);
	return places;
}

/*
 * The sets that the views depend on, and the views of tables that weren't asked for, whose rows decide about
 * others'.
 */
static void
put_sets(OfsCursor *cursor, const OfsJudge *judge, List *answered)
{
	OfsSetBook	book = {0};
	int			room = ofs_cursor_sets;
	int			total = 0;
	StringInfoData bytes;
	ListCell   *lc;

	foreach(lc, judge->views.views)
		total += list_length(((OfsView *) lfirst(lc))->sets);
	foreach(lc, judge->filters)
		total += list_length(((OfsFilter *) lfirst(lc))->sets);
	book.sets = palloc(sizeof(OfsSet) * (total + 1));
	book.views = palloc0(sizeof(OfsSetView) * (list_length(judge->views.views) + 1));
	foreach(lc, judge->views.views)
	{
		const OfsView *view = lfirst(lc);
		const OfsFilter *filter = ofs_filter_find(judge->filters, view->table);
		OfsSetView *entry = &book.views[book.nviews];

		if ((view->opaque || view->sets == NIL) && filter == NULL && list_member_ptr(answered, view))
			continue;
		book.nviews++;
		entry->collection = view->table->hash;
		entry->fingerprint = view->fingerprint;
		entry->nsets = view->opaque ? 0 : list_length(view->sets);
		entry->sets = place_sets(&book, view->opaque ? NIL : view->sets, &room);
		if (filter == NULL)
			continue;
		entry->columns = filter->columns;
		entry->nfilters = list_length(filter->sets);
		entry->filters = place_sets(&book, filter->sets, &room);
	}
	if (book.nviews == 0)
		return;
	initStringInfo(&bytes);
	ofs_set_pack(&book, &bytes);
	cursor->inputs = (const uint8 *) bytes.data;
	cursor->inputs_len = bytes.len;
}

OfsCursor *
ofs_position_next(const OfsSince *since, Snapshot snapshot, List *answered, const OfsJudge *judge,
				  int64 pushed, int64 *timestamp)
{
	OfsCursor  *cursor;
	uint64	   *running;
	int			nrunning = ofs_snapshot_running(snapshot, &running);
	ListCell   *lc;

	if (since->kind == OFS_SINCE_EXACT &&
		!ofs_snapshot_covers(snapshot, since->cursor))
	{
		*timestamp = ofs_since_number(since);
		return since->cursor;
	}

	cursor = palloc0(sizeof(OfsCursor));
	cursor->xmax = ofs_xid_widen(snapshot->xmax);
	cursor->incarnation = ofs_incarnation_current()->id;
	cursor->timeline = ofs_incarnation_current()->timeline;
	cursor->lsn = present_lsn();
	cursor->xmin = nrunning > 0 ? running[0] : cursor->xmax;
	make_ranges(cursor, running, nrunning);
	cursor->collections = palloc(sizeof(OfsCursorCollection) * Max(list_length(answered), 1));
	foreach(lc, answered)
	{
		const OfsView *view = lfirst(lc);

		cursor->collections[cursor->ncollections].hash = view->table->hash;
		cursor->collections[cursor->ncollections++].fingerprint = view->fingerprint;
	}
	put_sets(cursor, judge, answered);
	if (pushed != 0)
	{
		cursor->own = palloc(sizeof(OfsCursorOwn));
		cursor->nown = 1;
		ofs_since_make_own(cursor->own, pushed, NIL);
	}
	*timestamp = ofs_version_horizon(snapshot);
	/* nothing else that is older is at work */
	if (pushed != 0 && *timestamp == ofs_incarnation_current()->base + (int64) cursor->xmin)
		*timestamp = horizon_but_own(cursor, running, nrunning, pushed);
	/* on a standby that lags, a number never goes back */
	if (RecoveryInProgress() && since->kind == OFS_SINCE_NUMBER)
		*timestamp = Max(*timestamp, since->number);
	return cursor;
}
