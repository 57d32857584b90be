/*
 * watch.c
 *		Which rows are stored as they were sent is seen when they are written.
 *
 * The trigger that stamps a row fires behind all others that could change it, and shows it to a running
 * push (catalog/capture.c).  A row that was shown once in the whole push, and then was as its device has it, needn't
 * be read again at the end: whatever wrote or deleted it later, an AFTER trigger, a cascade, a deferred
 * constraint's, would have shown it once more.
 *
 * Where no other trigger of the table fires before the row is stored, what the push's own statement stores is what it
 * was given: then there is no need to compare it.
 *
 * Three things are not to be seen there, and such rows are read again: generated columns, which are computed
 * later; whether a new row is in its sender's sight, unless whoever may insert it may see it; and what goes by no row
 * trigger, such as TRUNCATE, changed definitions, or writes of tables that policies read.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "catalog/capture.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "push/known.h"
#include "push/shape.h"
#include "rewrite/rowsecurity.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

/* What is known of the table, or one of its partitions. */
typedef struct PushWatch
{
	struct PushWatch *next;
	Oid			relid;
	int			natts;
	bool		alone;			/* no other trigger changes rows before they are stored */
	AttrNumber *numbers;		/* of the columns there */
	PushRowValues before;
	PushRowValues after;
	Datum	   *values;			/* by attribute */
	bool	   *nulls;
	MemoryContext context;		/* of one row's comparison */
} PushWatch;

/* ---------- what may be concluded for the table ---------- */

static bool
same_roles(const ArrayType *a, const ArrayType *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

/* Is there a policy that lets the same roles see what this one lets them insert? */
static bool
has_counterpart(List *policies, const RowSecurityPolicy *policy)
{
	ListCell   *lc;

	foreach(lc, policies)
	{
		const RowSecurityPolicy *other = lfirst(lc);

		if (other->permissive && (other->polcmd == ACL_SELECT_CHR || other->polcmd == '*') &&
			same_roles(other->roles, policy->roles) && equal(other->qual, policy->with_check_qual))
			return true;
	}
	return false;
}

static bool
is_check_of_sight(List *policies, const RowSecurityPolicy *policy)
{
	switch (policy->polcmd)
	{
		case '*':
			return !contain_volatile_functions((Node *) policy->qual) &&
				(policy->with_check_qual == NULL || equal(policy->with_check_qual, policy->qual));
		case ACL_SELECT_CHR:
			return policy->permissive;
		case ACL_INSERT_CHR:
			return !policy->permissive ||
				(!contain_volatile_functions((Node *) policy->with_check_qual) && has_counterpart(policies, policy));
		default:
			return true;
	}
}

/*
 * May whoever inserts a row see it?  So it is where the policies that allow both are the same.  (What they read
 * beside the row may change; that is for pulls to notice, as it is for any other row.)
 */
static bool
inserts_in_sight(Relation rel)
{
	ListCell   *lc;

	if (check_enable_rls(RelationGetRelid(rel), InvalidOid, true) != RLS_ENABLED)
		return true;
	if (rel->rd_rsdesc == NULL)
		return false;
	foreach(lc, rel->rd_rsdesc->policies)
	{
		if (!is_check_of_sight(rel->rd_rsdesc->policies, lfirst(lc)))
			return false;
	}
	return true;
}

/* Is the stamp trigger the only one of this type that fires before something is written? */
static bool
stamps_alone(const TriggerDesc *desc, int16 type)
{
	for (int i = 0; desc != NULL && i < desc->numtriggers; i++)
	{
		const Trigger *trigger = &desc->triggers[i];

		if (TRIGGER_FOR_BEFORE(trigger->tgtype) && (trigger->tgtype & type) != 0 &&
			strcmp(trigger->tgname, OFS_TRIGGER_STAMP) != 0)
			return false;
	}
	return true;
}

/* The table's columns are loaded. */
void
ofs_watch_prepare(PushTable *table, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	table->watched = table->readable && ofs_table_trouble(table->table) == NULL;
	for (int i = 0; i < table->ncolumns; i++)
	{
		const PushColumn *column = &table->columns[i];

		if (column->position >= 0 && TupleDescAttr(desc, column->attnum - 1)->attgenerated != '\0')
			table->watched = false;
	}
	table->in_sight = inserts_in_sight(rel);
	/* partitions may have triggers of their own, and heirs keys */
	table->quiet = table->single && stamps_alone(rel->trigdesc, TRIGGER_TYPE_INSERT);
}

/* ---------- rows ---------- */

static PushWatch *
make_watch(const PushTable *table, Relation rel)
{
	MemoryContext old = MemoryContextSwitchTo(table->shape->context);
	PushWatch  *watch = palloc0(sizeof(PushWatch));

	watch->relid = RelationGetRelid(rel);
	watch->natts = RelationGetDescr(rel)->natts;
	watch->alone = stamps_alone(rel->trigdesc, TRIGGER_TYPE_ROW);
	watch->numbers = palloc0_array(AttrNumber, table->ncolumns);
	for (int i = 0; i < table->ncolumns; i++)
	{
		const PushColumn *column = &table->columns[i];

		watch->numbers[i] = watch->relid == table->table->relid ? column->attnum :
			get_attnum(watch->relid, column->name);
		if (watch->numbers[i] == InvalidAttrNumber)
			elog(ERROR, "column \"%s\" of a partition is missing", column->name);
	}
	ofs_known_init(&watch->before, table->nread);
	ofs_known_init(&watch->after, table->nread);
	watch->values = palloc0_array(Datum, watch->natts);
	watch->nulls = palloc0_array(bool, watch->natts);
	watch->context = AllocSetContextCreate(table->shape->context, "offsync written row", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(old);
	return watch;
}

static PushWatch *
get_watch(PushTable *table, Relation rel)
{
	PushWatch  *watch = table->shape->watch;

	/* a trigger may have given the table another column */
	while (watch != NULL && (watch->relid != RelationGetRelid(rel) || watch->natts != RelationGetDescr(rel)->natts))
		watch = watch->next;
	if (watch == NULL)
	{
		watch = make_watch(table, rel);
		watch->next = table->shape->watch;
		table->shape->watch = watch;
	}
	return watch;
}

/* Is the push's own statement at work, and nothing that it has set off? */
static bool
is_own_write(const Push *push)
{
	return push->writing && GetActiveSnapshot()->curcid == push->cid;
}

/* A column that was sent: does what was asked for make it what the device has? */
static bool
asks_as_sent(const PushColumn *column, const PushItem *item, int at)
{
	const PushValue *value = &item->values[at];

	if (item->final != item->values || !(column->faithful || ofs_codec_is_faithful(column->codec, value->sent)))
		return false;
	return bms_is_member(value->column, item->writes) || (item->existed && value->changed);
}

/* Is a row with all columns stored plainly as it was sent, or laid over one that is known? */
static bool
is_plain(const PushTable *table, const PushItem *item)
{
	if (!item->plain || item->final != item->values)
		return false;
	if (item->existed)
		return item->known;
	return table->all_readable && item->nvalues == table->nsendable &&
		bms_num_members(item->writes) == item->nvalues;
}

/* The row holds what was asked for: is that what its device has?  False also where that can't be told so. */
static bool
is_asked_as_sent(const PushTable *table, const PushWatch *watch, const PushItem *item, Relation rel, HeapTuple tuple)
{
	int			next = 0;

	/* mostly that can be told without looking at each column */
	if (is_plain(table, item))
		return true;
	for (int i = 0; i < table->ncolumns; i++)
	{
		const PushColumn *column = &table->columns[i];
		int			at = -1;
		bool		same;

		if (next < item->nvalues && item->values[next].column == i)
			at = next++;
		if (!ofs_columns_compared(column))
			continue;
		if (at >= 0)
			same = asks_as_sent(column, item, at);
		else if (item->existed)
			same = item->known;
		else
			same = !ofs_item_returns(item) && heap_attisnull(tuple, watch->numbers[i], RelationGetDescr(rel));
		if (!same)
			return false;
	}
	return true;
}

/* The stamp trigger has dated the change: the record hasn't. */
static bool
is_dated(const PushTable *table, const PushItem *item)
{
	return table->stamp >= 0 && item->existed && !bms_is_member(table->stamp, item->writes);
}

/* Is the row as its device has it? */
static bool
is_as_sent(Push *push, PushTable *table, const PushItem *item, Relation rel, HeapTuple tuple)
{
	PushWatch  *watch = get_watch(table, rel);
	MemoryContext old;
	bool		known;

	/* what counts as deleted no device has */
	if (item->touch || (table->soft >= 0 && !heap_attisnull(tuple, watch->numbers[table->soft], RelationGetDescr(rel))))
		return false;
	if (watch->alone && is_own_write(push) && !is_dated(table, item) && is_asked_as_sent(table, watch, item, rel, tuple))
		return true;
	old = MemoryContextSwitchTo(watch->context);
	heap_deform_tuple(tuple, RelationGetDescr(rel), watch->values, watch->nulls);
	for (int i = 0; i < table->ncolumns; i++)
	{
		int			position = table->columns[i].position;

		if (position < 0)
			continue;
		watch->after.values[position] = watch->values[watch->numbers[i] - 1];
		watch->after.nulls[position] = watch->nulls[watch->numbers[i] - 1];
	}
	known = ofs_known_row(table, item, &watch->before, &watch->after);
	MemoryContextSwitchTo(old);
	MemoryContextReset(watch->context);
	return known;
}

/* The record of a row, and whether it deletes it; NULL when it wasn't sent. */
static PushItem *
find_item(Push *push, const PushTable *table, const char *id, bool *deletes)
{
	PushId	   *entry;

	*deletes = false;
	if (push->writing && table == push->batch && push->next < push->end && strcmp((*push->next)->id, id) == 0)
		return *push->next++;
	entry = hash_search(table->ids, &id, HASH_FIND, NULL);
	if (entry == NULL)
		return NULL;
	*deletes = entry->deleted;
	return entry->item;
}

static PushTable *
find_table(const Push *push, Oid relid)
{
	for (int i = 0; i < push->ntables; i++)
	{
		if (push->tables[i]->table->relid == relid)
			return push->tables[i];
	}
	return NULL;
}

/* Is a value that was sent not the one that is about to be stored, though its device could see it? */
static bool
is_changed(const PushTable *table, const PushWatch *watch, const PushValue *value, Relation rel, HeapTuple tuple)
{
	const PushColumn *column = &table->columns[value->column];
	bool		isnull;
	Datum		stored;

	if (!column->writable || column->position < 0 || value->column == table->stamp)
		return false;
	stored = heap_getattr(tuple, watch->numbers[value->column], RelationGetDescr(rel), &isnull);
	return !ofs_codec_kept(column->codec, value->sent, stored, isnull);
}

/* Is this value, as the row is about to be stored? */
bool
ofs_watch_changed(PushTable *table, const PushItem *item, const PushValue *value, Relation rel, HeapTuple tuple)
{
	PushWatch  *watch = get_watch(table, rel);
	MemoryContext old;
	bool		changed;

	/* what isn't written is the column's default */
	if (watch->alone && item->plain && (item->existed || bms_is_member(value->column, item->writes)))
		return false;
	old = MemoryContextSwitchTo(watch->context);
	changed = is_changed(table, watch, value, rel, tuple);
	MemoryContextSwitchTo(old);
	MemoryContextReset(watch->context);
	return changed;
}

/* The record whose row the push's own statement is about to store; NULL where it stores or deletes another. */
PushItem *
ofs_watch_own(Push *push, Oid relid, const char *id, PushTable **table)
{
	PushId	   *entry;

	*table = find_table(push, relid);
	entry = *table ? hash_search((*table)->ids, &id, HASH_FIND, NULL) : NULL;
	return entry == NULL || entry->deleted || !is_own_write(push) ? NULL : entry->item;
}

/*
 * By the clock: is a row that the push itself writes about to be stored otherwise than it was sent?  A device looks at it
 * only where it is later than its own then (track/stamp.c).
 */
bool
ofs_watch_differs(Oid relid, const char *id, Relation rel, HeapTuple tuple, void *arg)
{
	PushTable  *table;
	PushItem   *item = ofs_watch_own(arg, relid, id, &table);
	bool		differs = false;

	for (int i = 0; item != NULL && i < item->nvalues && !differs; i++)
		differs = ofs_watch_changed(table, item, &item->values[i], rel, tuple);
	return differs;
}

/* A row was stamped or buried: its item, where it was sent. */
void *
ofs_watch_row(const OfsWritten *written, Relation rel, HeapTuple tuple, void *arg)
{
	Push	   *push = arg;
	PushTable  *table = find_table(push, written->relid);
	PushItem   *item;
	bool		deletes;

	item = table ? find_item(push, table, written->id, &deletes) : NULL;
	if (item == NULL)
		return NULL;
	item->nshown++;
	/* of one that is refused nothing is compared: what was read of its row went with the attempt */
	item->as_sent = item->nshown == 1 && tuple != NULL && table->watched && !deletes &&
		item->refusal == NULL && item->final != NULL && is_as_sent(push, table, item, rel, tuple);
	return item;
}

/* ---------- what is left ---------- */

static bool
is_settled(const Push *push, const PushTable *table, const PushItem *item)
{
	if (item->kept)
		return false;
	/* the row was as the record says, and nobody has written it since */
	if (!item->written)
		return item->nshown == 0 && item->existed && !item->gone && item->version != push->version;
	return item->as_sent && (item->existed || table->in_sight);
}

/* The records whose rows must be read again. */
PushItem **
ofs_watch_open(const Push *push, const PushTable *table, int *nopen)
{
	PushItem  **open = palloc_extended(sizeof(PushItem *) * (table->nitems + 1), MCXT_ALLOC_HUGE);
	bool		watched = table->watched && !ofs_capture_disturbed();

	*nopen = 0;
	for (int i = 0; i < table->nitems; i++)
	{
		if (!watched || !is_settled(push, table, table->items[i]))
			open[(*nopen)++] = table->items[i];
	}
	return open;
}
