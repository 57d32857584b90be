/*
 * deleted.c
 *		The ids under "deleted", but for those of rows that are soft-deleted (collect.c).
 */
#include "postgres.h"

#include "catalog/access.h"
#include "pull/deleted.h"
#include "pull/moved.h"
#include "pull/terms.h"
#include "pull/unseen.h"
#include "utils/memutils.h"

typedef struct IdReceiver
{
	DestReceiver pub;
	int			nkey;
	OfsKeyCodec *key;
	OfsWireList *list;
	StringInfoData id;
	OfsPaging  *paging;
	const OfsPullTaker *taker;
	MemoryContext row_context;	/* of it */
} IdReceiver;

static void
ids_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
ids_end(DestReceiver *self)
{
}

static bool
ids_receive(TupleTableSlot *slot, DestReceiver *self)
{
	IdReceiver *r = (IdReceiver *) self;

	slot_getallattrs(slot);
	resetStringInfo(&r->id);
	ofs_key_write(r->key, &r->id, slot->tts_values);
	if (r->taker)
	{
		MemoryContext old = MemoryContextSwitchTo(r->row_context);

		r->list->count++;
		r->taker->gone(r->taker->arg, r->id.data);
		MemoryContextSwitchTo(old);
		MemoryContextReset(r->row_context);
		return true;
	}
	if (!ofs_paging_take(r->paging, &r->id))
		return false;
	ofs_list_add_id(r->list, &r->id);
	return true;
}

/*
 * Today's policies show tombstones to whoever is a member today, also those of the time between two memberships: where
 * a table that policies read has been written since the cursor it is the old view that tells; where that
 * hasn't changed, it is today's.  Where no such table was written today's view is that of all the time, and
 * tells also of rows that were made since: the device may have one all the same, from a push or a pull
 * after which it kept no cursor.
 */
static bool
is_view_between(const OfsView *view, const OfsSince *since)
{
	if (since->kind != OFS_SINCE_EXACT || (!view->sets && !view->all_events))
		return false;
	return view->blind || ofs_access_changed(since, view->all_events) != NULL;
}

void
ofs_deleted_collect(const OfsVerdict *verdict, const OfsSince *since, bool buried, const OfsPullOptions *options,
				OfsWireList *deleted)
{
	const OfsTable *table = verdict->view->table;
	IdReceiver	r = {{ids_receive, ids_startup, ids_end, ids_end, DestNone}};
	OfsUnseen	params = {0};
	StringInfoData sql;

	r.nkey = table->nkey;
	r.paging = options->paging;
	r.taker = options->taker;
	if (r.taker)
		r.row_context = AllocSetContextCreate(CurrentMemoryContext, "offsync id", ALLOCSET_SMALL_SIZES);
	r.key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	r.list = deleted;
	initStringInfo(&r.id);
	initStringInfo(&sql);
	if (verdict->answer || (buried && is_view_between(verdict->view, since)))
	{
		if (verdict->answer == NULL && !ofs_moved_sees_tombs(verdict->view, since))
			return;
		ofs_moved_append_lost(&sql, verdict, since, buried, &params);
		ofs_paging_wrap(&sql, options->paging, table, NULL, &params);
		ofs_terms_run(sql.data, table, ofs_judge_shift(verdict), &params, (DestReceiver *) &r);
	}
	else if (buried)
	{
		ofs_unseen_append_deleted(&sql, verdict->view, since, options->soft_rows, options->paging != NULL, &params);
		ofs_paging_wrap(&sql, options->paging, table, "d", &params);
		(void) ofs_unseen_run(sql.data, &params, (DestReceiver *) &r);
	}
}

/* Where policies read other tables, old tombstones would be shown by today's memberships: nothing is told of them then. */
void
ofs_deleted_remembered(const OfsVerdict *verdict, const OfsPullOptions *options, OfsWireList *deleted)
{
	const OfsView *view = verdict->view;
	OfsSince	ever = {OFS_SINCE_NUMBER};

	if (view->opaque == NULL && view->blind == NULL && view->sets == NIL && view->all_events == NIL)
		ofs_deleted_collect(verdict, &ever, true, options, deleted);
}
