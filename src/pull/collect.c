/*
 * collect.c
 *		One collection's part of a pull's answer.
 *
 * Two queries, both as the caller and in the pull's own snapshot: the rows whose version the caller
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
#include "pull/list.h"
#include "pull/migration.h"
#include "pull/moved.h"
#include "pull/terms.h"
#include "pull/unseen.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"

/* how many rows are fetched between two looks at how long the answer has grown */
#define ROWS_AT_ONCE 64

enum
{
	LIST_CREATED, LIST_UPDATED, LIST_DELETED, NLISTS
};

/* ---------- writing rows ---------- */

/* Behind the key's parts and the columns. */
enum
{
	HIDDEN_CREATED,				/* version of the transaction that made the row */
	HIDDEN_GONE,				/* it counts as deleted */
	HIDDEN_SEEN,				/* first unseen tombstone that the caller may see; where rows may have been gained */
	HIDDEN_HELD = HIDDEN_SEEN	/* the caller held the row at the cursor; where the view has changed */
};

typedef struct RowReceiver
{
	DestReceiver pub;
	const OfsView *view;
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
	if (r->portal == NULL || r->writer == NULL)
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
append_id(OfsWireList *list, const StringInfo id)
{
	ofs_json_string(ofs_list_next(list), id->data, id->len);
	ofs_list_added(list);
}

static void
append_record(RowReceiver *r, OfsWireList *list, TupleTableSlot *slot)
{
	ofs_record_write(r->writer, ofs_list_next(list), &r->id, slot);
	ofs_list_added(list);
}

static bool
rows_receive(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *r = (RowReceiver *) self;
	int			nkey = r->view->table->nkey;
	Datum	   *hidden;
	bool	   *nulls;
	MemoryContext old;

	slot_getallattrs(slot);
	hidden = &slot->tts_values[nkey + r->view->ncolumns];
	nulls = &slot->tts_isnull[nkey + r->view->ncolumns];
	old = MemoryContextSwitchTo(r->row_context);
	for (int i = 0; i < nkey; i++)
		r->parts[i] = slot->tts_values[i];
	resetStringInfo(&r->id);
	ofs_key_write(r->key, &r->id, r->parts);

	if (DatumGetBool(hidden[HIDDEN_GONE]))
		append_id(&r->lists[LIST_DELETED], &r->id);
	else
		append_record(r, &r->lists[is_created(r, hidden, nulls) ? LIST_CREATED : LIST_UPDATED], slot);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->row_context);
	return true;
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

/* What the receiver reads of a row, and where from. */
static void
append_select(StringInfo sql, const OfsView *view)
{
	const OfsTable *table = view->table;

	appendStringInfoString(sql, "SELECT ");
	for (int i = 0; i < table->nkey; i++)
		appendStringInfo(sql, "t.%s, ", quote_identifier(get_attname(table->relid, table->key[i], false)));
	for (int i = 0; i < view->ncolumns; i++)
		appendStringInfo(sql, "t.%s, ", quote_identifier(get_attname(table->relid, view->columns[i], false)));
	appendStringInfoString(sql, "offsync$created, ");
	ofs_unseen_append_gone(sql, table, false, 't');
}

static void
append_from(StringInfo sql, const OfsTable *table)
{
	appendStringInfo(sql, " FROM %s t WHERE ", ofs_relation_name(table->relid));
}

/* Are rows fetched a few at a time?  That takes a single statement, and a list that its rows go to at once. */
static bool
is_fetched(const RowReceiver *r)
{
	return r->options->piecewise && r->mode != OFS_PULL_INCREMENTAL;
}

/* Rows that are unseen, or all of them. */
static void
collect_rows(RowReceiver *r, bool buried)
{
	const OfsView *view = r->view;
	OfsUnseen	params = {0};
	StringInfoData sql;

	initStringInfo(&sql);
	append_select(&sql, view);
	if (buried && r->options->pushes)
	{
		r->tomb = table_open(view->table->tombstone, AccessShareLock);
		append_first_seen(&sql, view, r->since, &params);
	}
	append_from(&sql, view->table);
	if (r->mode == OFS_PULL_INCREMENTAL)
		ofs_unseen_append(&sql, "offsync$version", view->table, r->since, &params);
	else
	{
		appendStringInfoString(&sql, "NOT ");
		ofs_unseen_append_gone(&sql, view->table, false, 't');
	}
	if (is_fetched(r))
		r->portal = ofs_unseen_open(sql.data, &params);
	else
		ofs_unseen_run(sql.data, &params, (DestReceiver *) r);
	if (r->tomb)
		table_close(r->tomb, NoLock);
}

/* The same where the view has changed: unseen rows, and those that came into view. */
static void
collect_shifted_rows(RowReceiver *r, const OfsVerdict *verdict, bool buried)
{
	OfsUnseen	params = {0};
	StringInfoData sql;

	r->shift = verdict->answer;
	initStringInfo(&sql);
	append_select(&sql, verdict->view);
	if (r->options->pushes)
	{
		appendStringInfoString(&sql, ", ");
		ofs_moved_append_held(&sql, verdict, r->since, buried, &params);
	}
	append_from(&sql, verdict->view->table);
	appendStringInfoString(&sql, "offsync$t$filter AND ");
	ofs_unseen_append(&sql, "offsync$version", verdict->view->table, r->since, &params);
	ofs_terms_run(sql.data, verdict->view->table, verdict->answer, &params, (DestReceiver *) r);

	r->gained = true;
	params.nparams = 0;
	resetStringInfo(&sql);
	append_select(&sql, verdict->view);
	append_from(&sql, verdict->view->table);
	ofs_moved_append_gained(&sql, verdict, r->since, &params);
	ofs_terms_run(sql.data, verdict->view->table, verdict->answer, &params, (DestReceiver *) r);
}

/* Rows that the device has, but for columns that its app hadn't got when they came. */
static void
collect_lacked_rows(RowReceiver *r, const OfsVerdict *verdict, const OfsAdded *added)
{
	const OfsTable *table = verdict->view->table;
	OfsUnseen	params = {0};
	StringInfoData sql;

	r->lacked = true;
	initStringInfo(&sql);
	append_select(&sql, verdict->view);
	append_from(&sql, table);
	ofs_migration_append_lacked(&sql, added, r->options->dialect);
	appendStringInfoString(&sql, " AND NOT ");
	ofs_unseen_append_gone(&sql, table, false, 't');
	appendStringInfoString(&sql, " AND (");
	ofs_unseen_append(&sql, "offsync$version", table, r->since, &params);
	appendStringInfoString(&sql, ") IS NOT TRUE");
	if (verdict->answer == NULL)
	{
		ofs_unseen_run(sql.data, &params, (DestReceiver *) r);
		return;
	}
	appendStringInfoString(&sql, " AND offsync$t$filter AND (");
	ofs_moved_append_gained(&sql, verdict, r->since, &params);
	appendStringInfoString(&sql, ") IS NOT TRUE");
	ofs_terms_run(sql.data, table, verdict->answer, &params, (DestReceiver *) r);
}

/* All rows that the device wants. */
static void
collect_filtered_rows(RowReceiver *r, const OfsVerdict *verdict)
{
	OfsUnseen	params = {0};
	StringInfoData sql;

	initStringInfo(&sql);
	append_select(&sql, verdict->view);
	append_from(&sql, verdict->view->table);
	appendStringInfoString(&sql, "offsync$t$filter AND NOT ");
	ofs_unseen_append_gone(&sql, verdict->view->table, false, 't');
	if (is_fetched(r))
		r->portal = ofs_terms_open(sql.data, verdict->view->table, verdict->answer, &params);
	else
		ofs_terms_run(sql.data, verdict->view->table, verdict->answer, &params, (DestReceiver *) r);
}

static void
collect_all_rows(RowReceiver *r, const OfsVerdict *verdict, bool buried)
{
	const OfsAdded *added = ofs_migration_find(r->options->migration, r->view->table);

	if (r->mode == OFS_PULL_INCREMENTAL && verdict->answer)
		collect_shifted_rows(r, verdict, buried);
	else if (verdict->filter)
		collect_filtered_rows(r, verdict);
	else
		collect_rows(r, buried);
	if (r->mode == OFS_PULL_INCREMENTAL && added)
		collect_lacked_rows(r, verdict, added);
}

/* ---------- deletions ---------- */

typedef struct IdReceiver
{
	DestReceiver pub;
	int			nkey;
	OfsKeyCodec *key;
	OfsWireList *list;
	StringInfoData id;
} IdReceiver;

static void
ids_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static bool
ids_receive(TupleTableSlot *slot, DestReceiver *self)
{
	IdReceiver *r = (IdReceiver *) self;

	slot_getallattrs(slot);
	resetStringInfo(&r->id);
	ofs_key_write(r->key, &r->id, slot->tts_values);
	append_id(r->list, &r->id);
	return true;
}

/* Append a SELECT of the keys of unseen tombstones that the caller may see, and which have no row that it can see. */
static void
append_deleted(StringInfo sql, const OfsView *view, const OfsSince *since, OfsUnseen *params)
{
	const OfsTable *table = view->table;
	StringInfoData keys;
	bool		same = true;

	initStringInfo(&keys);
	for (int i = 0; i < table->nkey; i++)
	{
		appendStringInfo(&keys, "%sd.%s", i > 0 ? ", " : "",
						 quote_identifier(get_attname(table->relid, table->key[i], false)));
		same = same && ofs_equal_is_same(table->relid, table->key[i]);
	}
	appendStringInfoString(sql, "SELECT DISTINCT ");
	/* ids, not keys: two that are equal may be spelt differently */
	if (!same)
		appendStringInfo(sql, "ON (ROW(%s)) ", keys.data);
	appendStringInfo(sql, "%s FROM %s d WHERE ", keys.data, ofs_relation_name(table->tombstone));
	ofs_unseen_append(sql, "d." OFS_TOMB_VERSION, table, since, params);
	/* a row made and gone in one push only its own device has */
	if (since->kind == OFS_SINCE_EXACT)
	{
		appendStringInfo(sql, " AND ((offsync$d$%d OPERATOR(pg_catalog.<>) d." OFS_TOMB_VERSION ") IS NOT FALSE OR ",
						 get_attnum(table->tombstone, OFS_TOMB_CREATED));
		ofs_unseen_append_own(sql, "d." OFS_TOMB_VERSION, since, params);
		appendStringInfoChar(sql, ')');
	}
	appendStringInfo(sql, " AND NOT EXISTS (SELECT FROM %s t WHERE ", ofs_relation_name(table->relid));
	ofs_append_key_match(sql, "t", "d", table->relid, table->nkey, table->key, table->key_types);
	ofs_unseen_append_told(sql, table, since, params);
	appendStringInfoChar(sql, ')');
	if (!same)
		appendStringInfo(sql, " ORDER BY ROW(%s) USING OPERATOR(pg_catalog.*<)", keys.data);
}

static void
collect_deleted(const OfsVerdict *verdict, const OfsSince *since, bool buried, OfsWireList *deleted)
{
	const OfsTable *table = verdict->view->table;
	IdReceiver	r = {{ids_receive, ids_startup, rows_end, rows_end, DestNone}};
	OfsUnseen	params = {0};
	StringInfoData sql;

	r.nkey = table->nkey;
	r.key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	r.list = deleted;
	initStringInfo(&r.id);
	initStringInfo(&sql);
	/*
	 * Today's policies show tombstones to whoever is a member today, also those of the time between two
	 * memberships: where policies read tables it is the old view that tells.
	 */
	if (verdict->answer ||
		(buried && since->kind == OFS_SINCE_EXACT && (verdict->view->sets || verdict->view->all_events)))
	{
		ofs_moved_append_lost(&sql, verdict, since, buried, &params);
		ofs_terms_run(sql.data, table, ofs_judge_shift(verdict), &params, (DestReceiver *) &r);
	}
	else if (buried)
	{
		append_deleted(&sql, verdict->view, since, &params);
		ofs_unseen_run(sql.data, &params, (DestReceiver *) &r);
	}
}

/* ---------- the collection ---------- */

typedef enum Stage
{
	STAGE_BEGIN,
	STAGE_ROWS,					/* are being fetched */
	STAGE_DELETED,
	STAGE_LISTS					/* what has waited */
} Stage;

struct OfsCollecting
{
	const OfsVerdict *verdict;
	RowReceiver rows;
	OfsWireList lists[NLISTS];
	Stage		stage;
	int			list;			/* the one that stands open in the answer */
	bool		buried;
};

OfsCollecting *
ofs_collect_begin(const OfsVerdict *verdict, const OfsSince *since, OfsPullMode mode,
				  const OfsPullOptions *options)
{
	static const DestReceiver receiver = {rows_receive, rows_startup, rows_end, rows_end, DestNone};
	OfsCollecting *c = palloc0(sizeof(OfsCollecting));
	const OfsTable *table = verdict->view->table;
	RowReceiver *r = &c->rows;

	c->verdict = verdict;
	c->buried = mode == OFS_PULL_INCREMENTAL && ofs_buried_since(table, since);
	r->pub = receiver;
	r->view = verdict->view;
	r->since = since;
	r->mode = mode;
	r->options = options;
	r->lists = c->lists;
	r->key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	r->parts = palloc(sizeof(Datum) * table->nkey);
	initStringInfo(&r->id);
	r->row_context = AllocSetContextCreate(CurrentMemoryContext, "offsync row", ALLOCSET_DEFAULT_SIZES);
	return c;
}

static void
open_list(OfsCollecting *c, StringInfo out)
{
	static const char *const openings[] = {"{\"created\":[", "],\"updated\":[", "],\"deleted\":[", "]}"};

	appendStringInfoString(out, openings[c->list]);
}

/* Rows go to the first list that can have any at once, if they all come out before the answer is handed out. */
static void
begin_lists(OfsCollecting *c, StringInfo out)
{
	const RowReceiver *r = &c->rows;
	bool		at_once = !r->options->piecewise || is_fetched(r);
	int			first = r->mode == OFS_PULL_FIRST || (r->mode != OFS_PULL_REPLACEMENT && r->options->pushes) ?
		LIST_CREATED : LIST_UPDATED;

	for (int i = 0; i < NLISTS; i++)
		ofs_list_begin(&c->lists[i], i == first && at_once ? out : NULL, r->options->piecewise);
	for (open_list(c, out); c->list < first; open_list(c, out))
		c->list++;
}

/* The statement may be gone with a subtransaction, or with the transaction. */
static void
end_rows(RowReceiver *r)
{
	Portal		portal = r->portal ? GetPortalByName(r->portal) : NULL;

	r->portal = NULL;
	if (PortalIsValid(portal))
		PortalDrop(portal, false);
}

/* Some more rows; false: there are none. */
static bool
fetch_rows(RowReceiver *r)
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
				 errdetail("The pull has begun in a subtransaction that was rolled back, or its transaction ends."),
				 errhint("Read the whole answer in the transaction in which it has begun.")));
	(void) PortalRunFetch(portal, FETCH_FORWARD, ROWS_AT_ONCE, (DestReceiver *) r);
	if (!portal->atEnd)
		return true;
	end_rows(r);
	return false;
}

bool
ofs_collect_more(OfsCollecting *c, StringInfo out)
{
	switch (c->stage)
	{
		case STAGE_BEGIN:
			begin_lists(c, out);
			collect_all_rows(&c->rows, c->verdict, c->buried);
			break;
		case STAGE_ROWS:
			if (fetch_rows(&c->rows))
				return true;
			MemoryContextDelete(c->rows.row_context);
			break;
		case STAGE_DELETED:
			if (c->rows.mode == OFS_PULL_INCREMENTAL)
				collect_deleted(c->verdict, c->rows.since, c->buried, &c->lists[LIST_DELETED]);
			break;
		case STAGE_LISTS:
			if (ofs_list_answer(&c->lists[c->list], out))
				return true;
			c->list++;
			open_list(c, out);
			return c->list < NLISTS;
	}
	c->stage++;
	return true;
}

void
ofs_collect_end(OfsCollecting *c)
{
	end_rows(&c->rows);
}
