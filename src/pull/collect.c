/*
 * collect.c
 *		The rows of one collection.
 *
 * Two queries answer it (deleted.c has the other), both as the caller and in the pull's own snapshot: the rows whose version the caller
 * hasn't seen, and the tombstones that it hasn't seen, may see, and that have no row of the same key
 * that it can see.  PostgreSQL applies the policies to both.  Where the view has changed, rows that nobody touched
 * come and go as well (moved.c).  Rows are written as JSON straight
 * from the executor's slots, by a receiver that chose each column's writer once.
 *
 * A row that is soft-deleted is told of as deleted, whatever it was before: whether the client has it can't be known of
 * one that it tried to write itself.  When it comes back the client hasn't got it, and that is known
 * from the tombstones: they keep the old value of the column as of those that policies read.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/codec.h"
#include "base/spi.h"
#include "base/sqltext.h"
#include "catalog/buried.h"
#include "catalog/record.h"
#include "pull/collect.h"
#include "pull/migration.h"
#include "pull/moved.h"
#include "pull/terms.h"
#include "pull/unseen.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timestamp.h"

/* how many rows are fetched between two looks at how long the answer has grown */
#define ROWS_AT_ONCE 32

/* Behind the key's parts and the columns. */
enum
{
	HIDDEN_CREATED,				/* version of the transaction that made the row */
	HIDDEN_GONE,				/* it counts as deleted */
	HIDDEN_SEEN,				/* first unseen tombstone that the caller may see; where rows may have been gained */
	HIDDEN_HELD = HIDDEN_SEEN,	/* the caller held the row at the cursor; where the view has changed */
	HIDDEN_VERSION = HIDDEN_SEEN,	/* for a taker, where the two before can't be */
	HIDDEN_UPDATED,
	HIDDEN_HISTORY,
	HIDDEN_CLOCKS,
	HIDDEN_ENDED				/* it counts as deleted, and may be a row all the same */
};

typedef struct OfsCollect
{
	DestReceiver pub;
	const OfsVerdict *verdict;
	OfsView    *view;
	const OfsSince *since;
	OfsPullMode mode;
	const OfsShift *shift;		/* the view has changed */
	bool		gained;			/* the rows are those that came into view unchanged */
	bool		lacked;			/* the rows are those of which the device lacks a column */
	const OfsPullOptions *options;
	OfsKeyCodec *key;
	OfsRecordWriter *writer;
	OfsWireList *lists;
	StringInfoData id;
	Datum	   *parts;
	char	   *portal;			/* the statement whose rows are to be fetched; or NULL */
	Relation	tomb;			/* open where rows may have been gained */
	MemoryContext row_context;
} RowReceiver;

static void
rows_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	RowReceiver *r = (RowReceiver *) self;

	/* it is started for each fetch */
	if (r->options->taker == NULL && (r->portal == NULL || r->writer == NULL))
		r->writer = ofs_record_writer(r->view, desc, r->view->table->nkey, r->options->dialect);
}

/*
 * Had the client no row of the key?  made: the row was made since the cursor.  seen: the first unseen tombstone that the
 * caller may see.
 *
 * The first image that the key left behind since the cursor is the row of that moment.  Where the caller can't
 * see it, the row came into view.  Where it can, and the present row isn't older, the client had that one.
 */
static bool
is_news(const RowReceiver *r, bool made, int64 created, Datum seen, bool isnull)
{
	int64		first;

	if (made && isnull)
		return true;
	first = ofs_buried_first(r->tomb, r->view->table, r->since, r->parts);
	if (first != 0 && (isnull || DatumGetInt64(seen) != first))
		return true;
	return made && created < first;
}

/*
 * Does the row go under "created"?  WatermelonDB makes such a record anew where its user has deleted it meanwhile, so
 * only a row that the device surely hasn't got goes there.  A number can't tell: it may have come with the very row.
 * Nor can a cursor by itself: a push whose answer was lost is not in it, but in the push log, under
 * the device's name.  What a device has that must replace a collection is anybody's guess, but for one that is new to its
 * app: of that it has what it pushed itself.
 */
static bool
is_created(const RowReceiver *r, const Datum *hidden, const bool *nulls)
{
	int64		created = nulls[HIDDEN_CREATED] ? 0 : DatumGetInt64(hidden[HIDDEN_CREATED]);
	bool		own;
	bool		made;

	if (r->mode == OFS_PULL_FIRST)
		return true;
	/* there are none for numbers, nor where the caller wants it so */
	if (r->options->pushes == NULL)
		return false;
	if (r->mode == OFS_PULL_REPLACEMENT || r->lacked ||
		ofs_pushlog_names(r->options->pushes, r->view->table, r->id.data))
		return false;
	own = ofs_since_is_own(r->since, created);
	if (r->mode == OFS_PULL_ADDED)
		return !own;
	if (r->shift)
		return !own && (r->gained || !DatumGetBool(hidden[HIDDEN_HELD]));
	made = !own && !ofs_since_covers(r->since, r->view->table, created);
	return r->tomb ? is_news(r, made, created, hidden[HIDDEN_SEEN], nulls[HIDDEN_SEEN]) : made;
}

static void
append_record(RowReceiver *r, OfsWireList *list, TupleTableSlot *slot)
{
	StringInfo	out = ofs_list_next(list);

	ofs_record_write(r->writer, out, &r->id, slot);
	ofs_list_added(list);
}

static void
hand_over(RowReceiver *r, TupleTableSlot *slot, const Datum *hidden, const bool *nulls)
{
	const OfsPullTaker *taker = r->options->taker;
	OfsPulledRow row = {&r->id, slot->tts_values};

	row.values = slot->tts_values + r->view->table->nkey;
	row.nulls = slot->tts_isnull + r->view->table->nkey;
	row.version = DatumGetInt64(hidden[HIDDEN_VERSION]);
	row.updated_at = DatumGetTimestampTz(hidden[HIDDEN_UPDATED]);
	row.history = hidden[HIDDEN_HISTORY];
	row.no_history = nulls[HIDDEN_HISTORY];
	row.clocks = hidden[HIDDEN_CLOCKS];
	row.no_clocks = nulls[HIDDEN_CLOCKS];
	row.ended = DatumGetBool(hidden[HIDDEN_ENDED]);
	r->lists[OFS_LIST_UPDATED].count++;
	taker->row(taker->arg, &row);
}

static bool
rows_receive(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *r = (RowReceiver *) self;
	int			nkey = r->view->table->nkey;
	Datum	   *hidden;
	bool	   *nulls;
	bool		more = true;
	MemoryContext old;

	slot_getallattrs(slot);
	hidden = &slot->tts_values[nkey + r->view->ncolumns];
	nulls = &slot->tts_isnull[nkey + r->view->ncolumns];
	old = MemoryContextSwitchTo(r->row_context);
	for (int i = 0; i < nkey; i++)
		r->parts[i] = slot->tts_values[i];
	resetStringInfo(&r->id);
	ofs_key_write(r->key, &r->id, r->parts);

	if (r->options->taker)
		hand_over(r, slot, hidden, nulls);
	else if (!ofs_paging_take(r->options->paging, &r->id))
		more = false;
	else if (DatumGetBool(hidden[HIDDEN_GONE]))
		ofs_list_add_id(&r->lists[OFS_LIST_DELETED], &r->id);
	else
		append_record(r, &r->lists[is_created(r, hidden, nulls) ? OFS_LIST_CREATED : OFS_LIST_UPDATED], slot);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->row_context);
	return more;
}

static void
rows_end(DestReceiver *self)
{
}

/* Append the first unseen tombstone of the row that the caller may see. */
static void
append_first_seen(StringInfo sql, const OfsView *view, const OfsSince *since, OfsUnseen *params)
{
	const OfsTable *table = view->table;

	appendStringInfo(sql, ", (SELECT pg_catalog.min(d." OFS_TOMB_VERSION ") FROM %s d WHERE ",
					 ofs_relation_name(table->tombstone));
	ofs_append_key_match(sql, "d", "t", table->relid, table->nkey, table->key, table->key_types);
	appendStringInfoString(sql, " AND ");
	ofs_unseen_append(sql, "d." OFS_TOMB_VERSION, table, since, params);
	appendStringInfoString(sql, " AND NOT ");
	ofs_unseen_append_gone(sql, table, true, 'd');
	appendStringInfoChar(sql, ')');
}

static void
append_gone(StringInfo sql, const OfsTable *table, const OfsPullOptions *options)
{
	if (options->soft_rows)
		appendStringInfoString(sql, "false");
	else
		ofs_unseen_append_gone(sql, table, false, 't');
}

/* A column that not every table has, which the caller needn't be granted. */
static void
append_hidden(StringInfo sql, AttrNumber attnum)
{
	if (attnum == InvalidAttrNumber)
		appendStringInfoString(sql, ", NULL::pg_catalog.text");
	else
		appendStringInfo(sql, ", offsync$t$%d", attnum);
}

/* What the receiver reads of a row, and where from. */
static void
append_select(StringInfo sql, const OfsView *view, const OfsPullOptions *options)
{
	const OfsTable *table = view->table;

	appendStringInfoString(sql, "SELECT ");
	for (int i = 0; i < table->nkey; i++)
		appendStringInfo(sql, "t.%s, ", quote_identifier(get_attname(table->relid, table->key[i], false)));
	for (int i = 0; i < view->ncolumns; i++)
		appendStringInfo(sql, "t.%s, ", quote_identifier(get_attname(table->relid, view->columns[i], false)));
	appendStringInfoString(sql, "offsync$created, ");
	append_gone(sql, table, options);
	if (options->taker == NULL)
		return;
	appendStringInfoString(sql, ", offsync$version");
	append_hidden(sql, table->updated_at);
	append_hidden(sql, table->history);
	append_hidden(sql, table->clocks);
	appendStringInfoString(sql, ", ");
	ofs_unseen_append_gone(sql, table, false, 't');
}

static void
append_from(StringInfo sql, const OfsTable *table)
{
	appendStringInfo(sql, " FROM %s t WHERE ", ofs_relation_name(table->relid));
}

/* A single statement, all of whose rows go to one list. */
bool
ofs_collect_is_fetched(OfsPullMode mode, const OfsPullOptions *options)
{
	return options->piecewise && mode != OFS_PULL_INCREMENTAL && mode != OFS_PULL_ADDED;
}

/* Rows that are unseen, or all of them. */
static void
collect_rows(RowReceiver *r, bool buried)
{
	const OfsView *view = r->view;
	OfsUnseen	params;
	StringInfoData sql;

	/* whether a page is found by key or by version is worth a plan */
	ofs_unseen_begin(&params, r->view, r->mode == OFS_PULL_INCREMENTAL && r->options->paging == NULL);
	initStringInfo(&sql);
	append_select(&sql, view, r->options);
	if (buried && r->options->pushes)
	{
		r->tomb = table_open(view->table->tombstone, AccessShareLock);
		append_first_seen(&sql, view, r->since, &params);
	}
	append_from(&sql, view->table);
	if (r->mode == OFS_PULL_INCREMENTAL)
		ofs_unseen_append(&sql, "offsync$version", view->table, r->since, &params);
	else if (r->options->additive)
		appendStringInfoString(&sql, "true");
	else
	{
		appendStringInfoString(&sql, "NOT ");
		append_gone(&sql, view->table, r->options);
	}
	ofs_paging_append(&sql, r->options->paging, view->table, &params);
	if (ofs_collect_is_fetched(r->mode, r->options))
		r->portal = ofs_unseen_open(sql.data, &params);
	else
		(void) ofs_unseen_run(sql.data, &params, (DestReceiver *) r);
	if (r->tomb)
		table_close(r->tomb, NoLock);
}

/* The same where the view has changed. */
static void
collect_shifted_rows(RowReceiver *r, const OfsVerdict *verdict, bool buried)
{
	OfsUnseen	params;
	StringInfoData sql;

	r->shift = verdict->answer;
	ofs_unseen_begin(&params, verdict->view, false);
	initStringInfo(&sql);
	append_select(&sql, verdict->view, r->options);
	if (r->options->pushes)
	{
		appendStringInfoString(&sql, ", ");
		ofs_moved_append_held(&sql, verdict, r->since, buried, &params);
	}
	append_from(&sql, verdict->view->table);
	appendStringInfoString(&sql, "offsync$t$filter AND ");
	ofs_unseen_append(&sql, "offsync$version", verdict->view->table, r->since, &params);
	ofs_paging_append(&sql, r->options->paging, verdict->view->table, &params);
	ofs_terms_run(sql.data, verdict->view->table, verdict->answer, &params, (DestReceiver *) r);
}

/* ... and rows that came into view thereby. */
static void
collect_gained_rows(RowReceiver *r, const OfsVerdict *verdict)
{
	OfsUnseen	params;
	StringInfoData sql;

	r->shift = verdict->answer;
	r->gained = true;
	ofs_unseen_begin(&params, verdict->view, false);
	initStringInfo(&sql);
	append_select(&sql, verdict->view, r->options);
	append_from(&sql, verdict->view->table);
	ofs_moved_append_gained(&sql, verdict, r->since, &params);
	ofs_paging_append(&sql, r->options->paging, verdict->view->table, &params);
	ofs_terms_run(sql.data, verdict->view->table, verdict->answer, &params, (DestReceiver *) r);
}

/* Rows that the device has, but for columns that its app hadn't got when they came. */
static void
collect_lacked_rows(RowReceiver *r, const OfsVerdict *verdict, const OfsAdded *added)
{
	const OfsTable *table = verdict->view->table;
	OfsUnseen	params;
	StringInfoData sql;

	r->lacked = true;
	ofs_unseen_begin(&params, verdict->view, false);
	initStringInfo(&sql);
	append_select(&sql, verdict->view, r->options);
	append_from(&sql, table);
	ofs_migration_append_lacked(&sql, added, r->options->dialect);
	appendStringInfoString(&sql, " AND NOT ");
	ofs_unseen_append_gone(&sql, table, false, 't');
	appendStringInfoString(&sql, " AND (");
	ofs_unseen_append(&sql, "offsync$version", table, r->since, &params);
	appendStringInfoString(&sql, ") IS NOT TRUE");
	if (verdict->answer == NULL)
	{
		ofs_paging_append(&sql, r->options->paging, table, &params);
		(void) ofs_unseen_run(sql.data, &params, (DestReceiver *) r);
		return;
	}
	appendStringInfoString(&sql, " AND offsync$t$filter AND (");
	ofs_moved_append_gained(&sql, verdict, r->since, &params);
	appendStringInfoString(&sql, ") IS NOT TRUE");
	ofs_paging_append(&sql, r->options->paging, table, &params);
	ofs_terms_run(sql.data, table, verdict->answer, &params, (DestReceiver *) r);
}

/* All rows that the device wants. */
static void
collect_filtered_rows(RowReceiver *r, const OfsVerdict *verdict)
{
	OfsUnseen	params;
	StringInfoData sql;

	ofs_unseen_begin(&params, verdict->view, false);
	initStringInfo(&sql);
	append_select(&sql, verdict->view, r->options);
	append_from(&sql, verdict->view->table);
	appendStringInfoString(&sql, "offsync$t$filter AND NOT ");
	ofs_unseen_append_gone(&sql, verdict->view->table, false, 't');
	ofs_paging_append(&sql, r->options->paging, verdict->view->table, &params);
	if (ofs_collect_is_fetched(r->mode, r->options))
		r->portal = ofs_terms_open(sql.data, verdict->view->table, verdict->answer, &params);
	else
		ofs_terms_run(sql.data, verdict->view->table, verdict->answer, &params, (DestReceiver *) r);
}

void
ofs_collect_rows(RowReceiver *r, bool buried)
{
	const OfsVerdict *verdict = r->verdict;
	OfsPaging  *paging = r->options->paging;
	const OfsAdded *added = ofs_migration_find(r->options->migration, r->view->table);

	if (ofs_paging_enter(paging, OFS_PART_ROWS))
	{
		if (r->mode == OFS_PULL_INCREMENTAL && verdict->answer)
			collect_shifted_rows(r, verdict, buried);
		else if (verdict->filter)
			collect_filtered_rows(r, verdict);
		else
			collect_rows(r, buried);
	}
	if (r->mode == OFS_PULL_INCREMENTAL && verdict->answer && ofs_paging_enter(paging, OFS_PART_GAINED))
		collect_gained_rows(r, verdict);
	if (r->mode == OFS_PULL_INCREMENTAL && added && ofs_paging_enter(paging, OFS_PART_LACKED))
		collect_lacked_rows(r, verdict, added);
}

OfsCollect *
ofs_collect_begin(const OfsVerdict *verdict, const OfsSince *since, OfsPullMode mode, const OfsPullOptions *options,
				  OfsWireList *lists)
{
	static const DestReceiver receiver = {rows_receive, rows_startup, rows_end, rows_end, DestNone};
	const OfsTable *table = verdict->view->table;
	RowReceiver *r = palloc0(sizeof(RowReceiver));

	r->pub = receiver;
	r->verdict = verdict;
	r->view = verdict->view;
	r->since = since;
	r->mode = mode;
	r->options = options;
	r->lists = lists;
	r->key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	r->parts = palloc(sizeof(Datum) * table->nkey);
	initStringInfo(&r->id);
	r->row_context = AllocSetContextCreate(CurrentMemoryContext, "offsync row", ALLOCSET_DEFAULT_SIZES);
	return r;
}

bool
ofs_collect_fetch(RowReceiver *r)
{
	Portal		portal;

	if (r->portal == NULL)
		return false;
	portal = GetPortalByName(r->portal);
	if (!PortalIsValid(portal))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_CURSOR_STATE),
				 errmsg("the statement that reads collection \"%s\" has been closed",
						r->view->table->collection),
				 errdetail("The pull began in a subtransaction that was rolled back, or its transaction ends."),
				 errhint("Read the whole answer in the transaction in which it was begun.")));
	(void) PortalRunFetch(portal, FETCH_FORWARD, ROWS_AT_ONCE, (DestReceiver *) r);
	return !portal->atEnd;
}

void
ofs_collect_end(RowReceiver *r)
{
	Portal		portal = r->portal ? GetPortalByName(r->portal) : NULL;

	/* it may be gone with a subtransaction, or with the transaction */
	if (PortalIsValid(portal))
		PortalDrop(portal, false);
	MemoryContextDelete(r->row_context);
}
