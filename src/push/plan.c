/*
 * plan.c
 *		From the document to what is to be stored and deleted: one item per id.
 *
 * The same id twice is one record: later fields override earlier ones, and where it is deleted as
 * well the deletion wins.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/jsonscan.h"
#include "base/trial.h"
#include "catalog/retired.h"
#include "push/push.h"
#include "utils/resowner.h"

/* ---------- records ---------- */

/* A part of the key beside the id: fine when unset or the same. */
static void
check_keypart(Push *push, const PushColumn *column, const OfsJsonValue *sent, const PushItem *item)
{
	if (sent->kind == OFS_JSON_NULL || (sent->kind == OFS_JSON_STRING && sent->len == 0))
		return;
	push->place.column = column->wire;
	if (!ofs_codec_same(column->codec, sent, item->key[column->keypart], false))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("column \"%s\" is part of the key, and differs from the id", column->wire)));
	push->place.column = NULL;
}

/* The version of the row that the record started from. */
static void
take_base(PushItem *item, const OfsJsonValue *sent)
{
	char	   *end;
	int64		base;

	if (sent->kind != OFS_JSON_NUMBER)
		return;
	base = strtoll(sent->text, &end, 10);
	if (*end != '\0' || base <= 0)
		return;
	item->has_base = true;
	item->base = base;
}

/*
 * Which of its columns a record has changed: those that _changed lists; all of them where it lists none,
 * and where it is new, whatever it lists.
 */
static const char *
find_changed(const OfsPushRecord *record)
{
	const char *changed = NULL;

	if (record->created)
		return NULL;
	for (int i = 0; i < record->nfields; i++)
	{
		const OfsPushField *field = &record->fields[i];

		if (field->value.kind != OFS_JSON_STRING)
			continue;
		if (strcmp(field->name, "_status") == 0 && strcmp(field->value.text, "created") == 0)
			return NULL;
		if (strcmp(field->name, "_changed") == 0 && field->value.len > 0)
			changed = field->value.text;
	}
	return changed;
}

static bool
is_changed(const char *changed, const char *name)
{
	size_t		len = strlen(name);

	if (changed == NULL)
		return true;
	for (;;)
	{
		size_t		part = strcspn(changed, ",");

		if (part == len && strncmp(changed, name, len) == 0)
			return true;
		if (changed[part] == '\0')
			return false;
		changed += part + 1;
	}
}

/* Records of one device have the same members in the same order, and a name's text stands but once. */
static int
find_column(PushTable *table, const OfsPushRecord *record, int which)
{
	const char *name = record->fields[which].name;
	PushMember *member;

	if (which >= table->nmembers)
	{
		int			room = Max(which + 1, record->nfields);

		table->members = table->members ? repalloc(table->members, sizeof(PushMember) * room) :
			palloc(sizeof(PushMember) * room);
		memset(&table->members[table->nmembers], 0, sizeof(PushMember) * (room - table->nmembers));
		table->nmembers = room;
	}
	member = &table->members[which];
	if (member->name != name)
	{
		member->column = ofs_columns_find(table, name);
		member->name = name;
	}
	return member->column;
}

/*
 * Add a record's values to its item; slots (by column) says where the item has a column already.  The item is not
 * touched before all is well with the record: a refused one is still listed.
 */
static void
add_values(Push *push, PushTable *table, PushItem *item, const OfsPushRecord *record, int *slots)
{
	PushValue  *values = palloc0_array(PushValue, item->nvalues + record->nfields + 1);
	const char *changed = find_changed(record);
	const PushStamps *stamps = table->strategy->needs_clocks ? ofs_fields_read(push, table, item, record) : NULL;
	int			nvalues = item->nvalues;

	if (item->nvalues > 0)
		memcpy(values, item->values, sizeof(PushValue) * item->nvalues);
	for (int i = 0; i < item->nvalues; i++)
		slots[values[i].column] = i;
	for (int i = 0; i < record->nfields; i++)
	{
		const OfsPushField *field = &record->fields[i];
		int			at = find_column(table, record, i);
		PushColumn *column = at >= 0 ? &table->columns[at] : NULL;
		bool		writes = is_changed(changed, field->name);

		if (strcmp(field->name, OFS_COL_VERSION) == 0)
			take_base(item, &field->value);
		if (column == NULL || column->stamp)
			continue;
		if (column->keypart >= 0)
		{
			check_keypart(push, column, &field->value, item);
			continue;
		}
		if (table->strategy->needs_clocks && !ofs_fields_take(push, table, item, at, slots[at] >= 0, stamps, &writes))
			continue;
		if (slots[at] < 0)
		{
			slots[at] = nvalues++;
			values[slots[at]].column = at;
		}
		values[slots[at]].sent = &field->value;
		if (writes)
			values[slots[at]].changed = true;
	}
	for (int i = 0; i < nvalues; i++)
		slots[values[i].column] = -1;
	if (item->values != NULL)
		pfree(item->values);
	item->values = values;
	item->nvalues = nvalues;
}

static int
compare_values(const void *a, const void *b)
{
	return ((const PushValue *) a)->column - ((const PushValue *) b)->column;
}

static PushItem *
make_item(const char *id, Datum *key, int ord)
{
	PushItem   *item = palloc0(sizeof(PushItem));

	item->ord = ord;
	item->id = id;
	for (int i = 0; i < (int) sizeof(item->prefix); i++)
		item->prefix = item->prefix << 8 | (unsigned char) (*id != '\0' ? *id++ : '\0');
	item->key = key;
	item->ended = item->dated = PUSH_NO_TIME;
	return item;
}

static void
add_record(Push *push, PushTable *table, const OfsPushRecord *record, int *slots)
{
	const char *id;
	Datum	   *key = ofs_id_read(push, table, record, &id);
	PushId	   *entry;
	bool		found;

	push->place.id = id;
	entry = hash_search(table->ids, &id, HASH_ENTER, &found);
	if (found && entry->deleted)
	{
		ofs_clock_take_stamps(push, table, entry->item, record);
		return;
	}
	if (!found)
	{
		entry->deleted = false;
		entry->item = make_item(id, key, table->nitems);
		table->items[table->nitems++] = entry->item;
	}
	if (record->created && !entry->item->created)
	{
		entry->item->created = true;
		table->ncreated++;
	}
	add_values(push, table, entry->item, record, slots);
}

/* The entry of a record under "deleted", which is its id. */
static PushId *
enter_id(Push *push, PushTable *table, const OfsPushRecord *record, Datum *key, const char **id, bool *found)
{
	push->place.id = record->id;
	ofs_key_read(table->key, record->id, key);
	*id = ofs_id_canonical(table, key, record->id);
	return hash_search(table->ids, id, HASH_ENTER, found);
}

/* An id in another spelling is as good here: what counts is that the row goes. */
static void
add_deleted(Push *push, PushTable *table, const OfsPushRecord *record)
{
	Datum	   *key = palloc0_array(Datum, table->table->nkey);
	const char *id;
	PushId	   *entry;
	bool		found;

	entry = enter_id(push, table, record, key, &id, &found);
	if (!found)
	{
		entry->deleted = true;
		entry->item = make_item(record->id, key, table->ndeleted);
		table->deleted[table->ndeleted++] = entry->item;
	}
	for (int i = 0; i < record->nfields; i++)
		if (strcmp(record->fields[i].name, OFS_COL_VERSION) == 0)
			take_base(entry->item, &record->fields[i].value);
	ofs_clock_take_stamps(push, table, entry->item, record);
}

/* By a clock a soft deletion is an update like others: what came with it, or stands elsewhere in the push, counts too. */
static void
add_ended(Push *push, PushTable *table, const OfsPushRecord *record, int *slots)
{
	PushId	   *entry;
	const char *id;
	Datum	   *key = palloc0_array(Datum, table->table->nkey);
	bool		found;

	entry = enter_id(push, table, record, key, &id, &found);
	if (!found)
	{
		entry->deleted = false;
		entry->item = make_item(id, key, table->nitems);
		table->items[table->nitems++] = entry->item;
	}
	if (push->clock != NULL)
		entry->item->ends = true;
	else
		ofs_fields_take_end(push, table, entry->item, record);
	add_values(push, table, entry->item, record, slots);
}

/* The record is refused, and nothing of it is left among the items but the refusal. */
static void
refuse(Push *push, PushTable *table, const char *id, const ErrorData *error)
{
	PushId	   *entry = id ? hash_search(table->ids, &id, HASH_FIND, NULL) : NULL;
	PushRefusal *refusal = ofs_skip_refusal(push, id, error);

	if (entry != NULL && !entry->deleted)
		entry->item->refusal = refusal;
	else
		table->malformed = lappend(table->malformed, refusal);
}

static bool
ends_softly(const Push *push, const PushTable *table, const OfsPushRecord *record)
{
	return table->soft >= 0 && (push->clock != NULL || ofs_fields_ends(table, record));
}

/* Add a record, or a deletion; where that can fail for one alone, in a subtransaction. */
static void
add_one(Push *push, PushTable *table, const OfsPushRecord *record, bool deletes, int *slots)
{
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	memset(&push->place, 0, sizeof(PushPlace));
	push->place.table = table;
	if (push->careful)
		BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(old);
	PG_TRY();
	{
		if (record->wrong)
		{
			push->place.id = record->id;
			ofs_jsonscan_complain(record->wrong);
		}
		if (!deletes)
			add_record(push, table, record, slots);
		else if (ends_softly(push, table, record))
			add_ended(push, table, record, slots);
		else
			add_deleted(push, table, record);
		if (push->careful)
			ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		if (!push->careful)
			PG_RE_THROW();
		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (!ofs_trial_bears(error))
			ReThrowError(error);
		MemoryContextSwitchTo(old);
		refuse(push, table, push->place.id, error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = owner;
}

static void
finish_item(const PushTable *table, PushItem *item)
{
	bool		sorted = true;

	item->plain = true;
	for (int i = 0; i < item->nvalues; i++)
	{
		const PushValue *value = &item->values[i];
		const PushColumn *column = &table->columns[value->column];

		if (!value->changed || !(column->faithful || ofs_codec_is_faithful(column->codec, value->sent)))
			item->plain = false;
		if (i > 0 && value[-1].column > value->column)
			sorted = false;
	}
	if (!sorted)
		qsort(item->values, item->nvalues, sizeof(PushValue), compare_values);
}

static void
add_list(Push *push, PushTable *table, const OfsPushRecord *records, int nrecords, bool deletes)
{
	int		   *slots = palloc0_array(int, table->ncolumns + 1);

	for (int i = 0; i < table->ncolumns; i++)
		slots[i] = -1;
	for (int i = 0; i < nrecords; i++)
	{
		add_one(push, table, &records[i], deletes, slots);
		/* a failed one may have left its marks */
		for (int j = 0; push->careful && j < table->ncolumns; j++)
			slots[j] = -1;
	}
}

/* ---------- tables ---------- */

/* NULL where it is retired. */
static PushTable *
find_table(Push *push, const char *name)
{
	OfsTable   *synced = ofs_table_by_name(name);
	PushTable  *table;

	if (synced == NULL && ofs_retired_is(name))
		return NULL;
	if (synced == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_UNKNOWN),
				 errmsg("unknown collection \"%s\"", name)));
	for (int i = 0; i < push->ntables; i++)
	{
		if (push->tables[i]->table->relid == synced->relid)
			ereport(ERROR,
					(errcode(ERRCODE_OFS_MALFORMED),
					 errmsg("collections \"%s\" and \"%s\" are the same",
							push->tables[i]->name, name)));
	}
	table = palloc0(sizeof(PushTable));
	table->table = synced;
	table->name = name;
	push->tables[push->ntables++] = table;
	return table;
}

/*
 * An old version of an app sends the records of a retired collection along with everything else: an error would block
 * all of that for good.  So they are refused one by one, whatever on_error says.
 */
static void
refuse_retired(Push *push, const OfsPushCollection *collection)
{
	PushTable  *table = palloc0(sizeof(PushTable));

	table->name = collection->name;
	for (int i = 0; i < collection->nrecords + collection->ndeleted; i++)
	{
		const OfsPushRecord *record = i < collection->nrecords ? &collection->records[i] :
			&collection->deleted[i - collection->nrecords];

		table->malformed = lappend(table->malformed,
								   ofs_skip_make_refusal(push, record->id, ERRCODE_OFS_GONE,
														 _("The collection is retired.")));
	}
	push->retired = lappend(push->retired, table);
}

static void
fill_table(Push *push, PushTable *table, const OfsPushCollection *collection)
{
	MemoryContext old;

	ofs_shape_fill(push, table);
	table->nown = ofs_since_own(push->since, table->table, &table->own);
	table->ids = ofs_names_create("offsync pushed ids", sizeof(PushId),
								  collection->nrecords + collection->ndeleted, push->context);
	table->deleted = palloc_extended(sizeof(PushItem *) * (collection->ndeleted + 1), MCXT_ALLOC_HUGE);
	table->items = palloc_extended(sizeof(PushItem *) * ((Size) collection->nrecords + collection->ndeleted + 1),
								   MCXT_ALLOC_HUGE);
	old = MemoryContextSwitchTo(push->plan);
	add_list(push, table, collection->deleted, collection->ndeleted, true);
	add_list(push, table, collection->records, collection->nrecords, false);
	for (int i = 0; i < table->nitems; i++)
	{
		if (push->clock)
			ofs_clock_take_end(push, table, table->items[i]);
		finish_item(table, table->items[i]);
	}
	memset(&push->place, 0, sizeof(PushPlace));
	MemoryContextSwitchTo(old);
}

static void
sort_tables(Push *push)
{
	List	   *synced = NIL;
	PushTable **sorted = palloc0_array(PushTable *, push->ntables + 1);
	ListCell   *cell;
	int			n = 0;

	for (int i = 0; i < push->ntables; i++)
		synced = lappend(synced, push->tables[i]->table);
	foreach(cell, ofs_table_sort(synced))
	{
		for (int i = 0; i < push->ntables; i++)
		{
			if (push->tables[i]->table == lfirst(cell))
				sorted[n++] = push->tables[i];
		}
	}
	push->tables = sorted;
}

/* Plan the document: push->tables.  Errors that name a record leave its place in push->place. */
void
ofs_plan_build(Push *push, const OfsPushDoc *doc)
{
	PushTable **found = palloc0_array(PushTable *, doc->ncollections + 1);

	push->ntables = 0;
	push->retired = NIL;
	push->tables = palloc0_array(PushTable *, doc->ncollections + 1);
	for (int i = 0; i < doc->ncollections; i++)
		found[i] = find_table(push, doc->collections[i].name);
	for (int i = 0; i < doc->ncollections; i++)
	{
		if (found[i])
			fill_table(push, found[i], &doc->collections[i]);
		else
			refuse_retired(push, &doc->collections[i]);
	}
	sort_tables(push);
}
