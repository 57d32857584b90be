/*
 * group.c
 *		Items that are written by one statement.
 *
 * Items with the same action and the same columns to write make a group.  In sets, a group is one
 * statement.  Singly, the groups only share their plans: the items go one after another in the
 * payload's order, so that the first one that fails is known.  Backwards they go in reverse, each
 * in a trigger level of its own: levels are left innermost first, and so the AFTER triggers fire in
 * the payload's order when all rows are in place.
 *
 * UPDATE and DELETE tell by RETURNING which records they served.  INSERT can't (its RETURNING sees
 * the new row alone, and would need SELECT on it), but it can be counted: when it did less than it
 * was given somebody else's rows are in the way, and the attempt starts over.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/query.h"
#include "miscadmin.h"
#include "push/push.h"

typedef struct PushGroup
{
	PushAction	action;
	Bitmapset  *columns;
	TupleDesc	desc;
	SPIPlanPtr	plan;
	int			nplanned;		/* for so many items */
	PushItem  **items;
	int			nitems;
} PushGroup;

/* By the id within a group: pushes of the same rows lock them in one order. */
static int
compare_items(const void *a, const void *b)
{
	const PushItem *left = *(PushItem *const *) a;
	const PushItem *right = *(PushItem *const *) b;
	int			order;

	if (left->action != right->action)
		return left->action < right->action ? -1 : 1;
	order = bms_compare(left->writes, right->writes);
	if (order == 0 && left->prefix != right->prefix)
		order = left->prefix < right->prefix ? -1 : 1;
	return order != 0 ? order : strcmp(left->id, right->id);
}

/* Sort the items and cut them into groups. */
static int
make_groups(PushItem **sorted, int nitems, PushGroup *groups)
{
	int			ngroups = 0;

	qsort(sorted, nitems, sizeof(PushItem *), compare_items);
	for (int i = 0; i < nitems; i++)
	{
		PushItem   *item = sorted[i];
		PushGroup  *last = ngroups > 0 ? &groups[ngroups - 1] : NULL;

		if (last == NULL || last->action != item->action || !bms_equal(last->columns, item->writes))
		{
			last = &groups[ngroups++];
			last->action = item->action;
			last->columns = item->writes;
			last->items = &sorted[i];
		}
		last->nitems++;
		item->group = last;
	}
	return ngroups;
}

/* Are rows inserted without looking for others in their way?  These would fail the attempt. */
static bool
is_hopeful(const Push *push, const PushTable *table)
{
	return push->hopeful && table->readable;
}

static PushKind
statement_kind(const Push *push, const PushTable *table, const PushGroup *group)
{
	switch (group->action)
	{
		case PUSH_UPDATE:
			return PUSH_KIND_UPDATE;
		case PUSH_INSERT:
			return is_hopeful(push, table) ? PUSH_KIND_INSERT_PLAIN : PUSH_KIND_INSERT;
		case PUSH_INSERT_PLAIN:
			return PUSH_KIND_INSERT_PLAIN;
		case PUSH_DELETE:
			return PUSH_KIND_DELETE;
		default:
			elog(ERROR, "nothing to write");
	}
}

static void
prepare_group(Push *push, const PushTable *table, PushGroup *group, int nitems)
{
	PushKind	kind = statement_kind(push, table, group);
	char	   *sql;

	if (kind == PUSH_KIND_UPDATE)
		sql = ofs_sql_update(table, group->columns, false, false);
	else if (kind == PUSH_KIND_DELETE)
		sql = ofs_sql_delete(table, false);
	else
		sql = ofs_sql_insert(table, group->columns, kind == PUSH_KIND_INSERT_PLAIN, false);
	group->plan = ofs_rows_plan(sql, nitems);
	group->nplanned = nitems;
}

static void
free_plan(PushGroup *group)
{
	if (group->plan != NULL)
		ofs_rows_free_plan(group->plan, group->nplanned);
}

static void
mark_written(PushItem *item)
{
	item->action = PUSH_NONE;
	item->written = true;
}

static void
note_insert(Push *push, PushTable *table, PushItem **items, int nitems, uint64 done)
{
	if (done == nitems)
	{
		for (int i = 0; i < nitems; i++)
			mark_written(items[i]);
		return;
	}
	if (nitems > 1)
	{
		push->beaten = true;
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("some records of collection \"%s\" could not be inserted", table->name)));
	}
	/* a plain INSERT that neither inserts nor fails was suppressed by a trigger */
	if (items[0]->action == PUSH_INSERT_PLAIN)
		ofs_refuse_record(push, table, items[0]);
	items[0]->tried = true;
}

static void
note_returned(PushItem **items, int nitems)
{
	for (int i = 0; i < nitems; i++)
		items[i]->passed = items[i]->version;
	for (uint64 i = 0; i < SPI_tuptable->numvals; i++)
	{
		bool		isnull;
		Datum		ord = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

		mark_written(items[DatumGetInt32(ord)]);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* A record alone: its statement returns nothing, and the count tells. */
static void
note_alone(PushItem *item, uint64 done)
{
	/* it may have moved without a change: it is looked for by its key then */
	if (item->located && item->action == PUSH_UPDATE)
		item->missed = done == 0;
	else
		item->passed = item->version;
	if (done > 0)
		mark_written(item);
}

static uint64
modify(Push *push, SPIPlanPtr plan, const PushParams *params)
{
	uint64		done;

	push->wrote = true;
	/* whatever the statement sets off has a higher one */
	CommandCounterIncrement();
	push->cid = GetCurrentCommandId(false);
	push->writing = true;
	done = params ? ofs_query_modify(plan, params->values, params->nulls) : ofs_query_modify(plan, NULL, NULL);
	push->writing = false;
	return done;
}

/* Give the batch to the group's statement, and run it. */
static uint64
modify_batch(Push *push, PushTable *table, PushGroup *group, PushItem **items, int nitems)
{
	MemoryContext old = CurrentMemoryContext;
	Tuplestorestate *store;
	uint64		done;

	if (group->desc == NULL)
		group->desc = ofs_rows_describe(table, group->columns);
	store = ofs_rows_store(push, table, group->desc, group->columns, items, nitems);
	ofs_rows_register(push, group->desc, store, nitems);
	if (group->plan == NULL)
		prepare_group(push, table, group, nitems);
	done = modify(push, group->plan, NULL);
	ofs_rows_unregister();
	MemoryContextSwitchTo(old);
	tuplestore_end(store);
	return done;
}

static uint64
modify_alone(Push *push, PushTable *table, PushGroup *group, PushItem *item)
{
	MemoryContext old = CurrentMemoryContext;
	PushKind	kind = statement_kind(push, table, group);
	const PushStatement *statement;
	uint64		done;

	if (kind == PUSH_KIND_UPDATE && item->located)
		kind = PUSH_KIND_UPDATE_PLACED;
	statement = ofs_shape_statement(table, kind, group->columns);
	done = modify(push, statement->plan,
				  ofs_rows_params(push, table, kind, group->columns, item, statement->count));
	MemoryContextSwitchTo(old);
	return done;
}

/* Run the group's statement for some of its items. */
static void
run_statement(Push *push, PushTable *table, PushGroup *group, PushItem **items, int nitems)
{
	uint64		done;

	CHECK_FOR_INTERRUPTS();
	if (nitems == 1)
	{
		push->place.table = table;
		push->place.id = items[0]->id;
		push->place.item = items[0];
	}
	push->batch = group->action == PUSH_DELETE ? NULL : table;
	push->next = items;
	push->end = items + nitems;
	push->hoping = group->action == PUSH_INSERT && is_hopeful(push, table);
	if (nitems == 1)
		done = modify_alone(push, table, group, items[0]);
	else
		done = modify_batch(push, table, group, items, nitems);
	push->hoping = false;

	if (nitems == 1 && (group->action == PUSH_UPDATE || group->action == PUSH_DELETE))
		note_alone(items[0], done);
	else if (group->action == PUSH_UPDATE || group->action == PUSH_DELETE)
		note_returned(items, nitems);
	else
		note_insert(push, table, items, nitems, done);
	memset(&push->place, 0, sizeof(PushPlace));
}

static void
run_singly(Push *push, PushTable *table, PushItem **items, int nitems)
{
	for (int i = 0; i < nitems; i++)
	{
		PushItem   *item = items[push->mode == PUSH_BACKWARDS ? nitems - 1 - i : i];

		if (push->mode == PUSH_BACKWARDS)
			ofs_hold_open(push, table, item);
		run_statement(push, table, item->group, &item, 1);
	}
}

/* Move the items that still have something to do to the front; returns how many. */
int
ofs_group_left(PushItem **items, int nitems)
{
	int			left = 0;

	for (int i = 0; i < nitems; i++)
	{
		if (items[i]->action != PUSH_NONE)
			items[left++] = items[i];
	}
	return left;
}

/*
 * Second tries, in the payload's order so that the first to fail is named: each is expected to.
 * Returns how many items are left for the groups.
 */
static int
retry_items(Push *push, PushTable *table, PushItem **items, int nitems)
{
	for (int i = 0; i < nitems; i++)
	{
		PushItem   *item = items[i];
		PushGroup	alone = {0};

		if (item->action == PUSH_REFUSE)
			ofs_refuse_record(push, table, item);
		if (item->action != PUSH_INSERT_PLAIN || !item->tried)
			continue;
		alone.action = item->action;
		alone.columns = item->writes;
		if (push->mode == PUSH_BACKWARDS)
			ofs_hold_open(push, table, item);
		run_statement(push, table, &alone, &item, 1);
	}
	return ofs_group_left(items, nitems);
}

/*
 * Write the items, in payload order as given, each by its action.  Returns how many were passed
 * over; these are in front then.
 */
int
ofs_group_write(Push *push, PushTable *table, PushItem **items, int nitems)
{
	PushItem  **sorted = palloc0_array(PushItem *, nitems + 1);
	PushGroup  *groups = palloc0_array(PushGroup, nitems + 1);
	int			ngroups;

	nitems = retry_items(push, table, items, nitems);
	memcpy(sorted, items, sizeof(PushItem *) * nitems);
	ngroups = make_groups(sorted, nitems, groups);
	if (push->mode == PUSH_SETS)
	{
		for (int i = 0; i < ngroups; i++)
			run_statement(push, table, &groups[i], groups[i].items, groups[i].nitems);
	}
	else
		run_singly(push, table, items, nitems);
	for (int i = 0; i < ngroups; i++)
		free_plan(&groups[i]);
	return ofs_group_left(items, nitems);
}
