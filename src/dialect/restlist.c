/*
 * restlist.c
 *		Lists, for clients that keep a time and an id as their cursor.
 *
 * Such a client asks for what was written since a time, takes the items in the order of (updated_at, id), and goes on behind the last
 * one: in the next page, and in the next sync.  What makes that complete is that nothing is shown before its time is
 * settled (catalog/settled.c).  Its times are milliseconds.
 *
 * Rows are stamped in whole milliseconds, so the order of (stamp, key) is that of (millisecond, key), and an index over these columns
 * has it.  But 0.1 stamped in microseconds, and so does an owner whose column was there before.  Where two rows have
 * different stamps in one millisecond, and it matters, rows are sorted by what the client sees of them:
 *
 *	- in the page itself;
 *	- in the millisecond that the page starts in, behind an id;
 *	- in the one that it ends in, if it is cut there.
 *
 * That is done within the milliseconds of the page alone, so that it costs not much more.  In a millisecond where all have the same stamp
 * (all the rows that there were when the table was enabled, say) the page starts where the index has its id.
 *
 * A stamp that can't be ours, because the column was there before and held what its owner liked, has no place in that order: none at all, one
 * from before clients begin, or one that lies far ahead.  Such rows are listed when a client begins, in front of everything else and as if
 * they were of that time, all on the one page: the cursor that it goes on with is another row's.  With their next write they are rows like others.
 *
 * Each statement runs as the caller in one and the same snapshot.
 */
#include "postgres.h"

#include "base/count.h"
#include "base/errors.h"
#include "base/isotime.h"
#include "base/spi.h"
#include "base/sqltext.h"
#include "catalog/keyorder.h"
#include "catalog/pg_type.h"
#include "catalog/settled.h"
#include "dialect/rest.h"
#include "nodes/parsenodes.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

typedef struct RestList
{
	const RestListCall *call;
	OfsTable   *table;
	OfsView    *view;
	TimestampTz since;			/* millisecond to start in ... */
	const char *after;			/* ... behind this id; NULL: with it */
	TimestampTz start;			/* the only stamp in it; or NOT_ONE */
	TimestampTz settled;		/* all before it is */
	StringInfoData out;			/* the answer */
	int			begin;			/* where its items stand in it */
	int64		undated;		/* rows whose stamps aren't ours stand in front of these */
} RestList;

#define NOT_ONE		DT_NOEND

/* ---------- conditions ---------- */

static void
begin(RestList *list, OfsUnseen *params)
{
	ofs_unseen_begin(params, list->view, false);
	/* which way to the rows is the best depends on where the page starts */
	params->options = CURSOR_OPT_CUSTOM_PLAN;
}

static char *
stamp_column(const RestList *list)
{
	return psprintf("offsync$t$%d", list->table->updated_at);
}

static char *
time_param(OfsUnseen *params, TimestampTz at)
{
	return psprintf("$%d", ofs_unseen_param(params, TIMESTAMPTZOID, TimestampTzGetDatum(at)));
}

/* Append "[lead, ]the key's parts, [lead, ]those of the id" on both sides of what compares them. */
static void
append_behind(StringInfo sql, const RestList *list, const char *stamp, const char *at, OfsUnseen *params)
{
	const OfsTable *table = list->table;
	Datum	   *parts = palloc(sizeof(Datum) * table->nkey);
	char	   *operator = ofs_keyorder_operator(table);

	ofs_key_read(ofs_key_create(table->nkey, table->key_types, table->key_typmods), list->after, parts);
	appendStringInfo(sql, operator ? "ROW(%s" : "pg_catalog.record_image_gt(ROW(%s", stamp ? stamp : "");
	appendStringInfoString(sql, stamp ? ", " : "");
	ofs_keyorder_columns(sql, table, "t");
	appendStringInfo(sql, operator ? ") %s ROW(%s" : "), ROW(%.0s%s", operator ? operator : "", at ? at : "");
	appendStringInfoString(sql, at ? ", " : "");
	for (int i = 0; i < table->nkey; i++)
		appendStringInfo(sql, "%s$%d::%s", i > 0 ? ", " : "",
						 ofs_unseen_param(params, getBaseType(table->key_types[i]), parts[i]),
						 ofs_base_type_name(table->key_types[i]));
	appendStringInfoString(sql, operator ? ")" : "))");
}

/* Append "the row stands behind where the list is to start". */
static void
append_start(StringInfo sql, const RestList *list, OfsUnseen *params)
{
	char	   *stamp = stamp_column(list);
	char	   *operator = ofs_keyorder_operator(list->table);

	if (list->after == NULL)
		appendStringInfo(sql, "%s OPERATOR(pg_catalog.>=) %s", stamp, time_param(params, list->since));
	else if (list->start == DT_NOBEGIN)
		appendStringInfo(sql, "%s OPERATOR(pg_catalog.>=) %s", stamp, time_param(params, list->since + REST_MS));
	else if (list->start != NOT_ONE && operator && strcmp(operator, "OPERATOR(pg_catalog.>)") == 0)
		append_behind(sql, list, stamp, time_param(params, list->start), params);
	else
	{
		appendStringInfo(sql, "%s OPERATOR(pg_catalog.>=) %s AND (%s OPERATOR(pg_catalog.>=) %s OR ",
						 stamp, time_param(params, list->since), stamp, time_param(params, list->since + REST_MS));
		append_behind(sql, list, NULL, NULL, params);
		appendStringInfoChar(sql, ')');
	}
}

/* Append what holds for all rows that are listed. */
static void
append_common(StringInfo sql, const RestList *list, OfsUnseen *params)
{
	if (!list->call->include_deleted)
	{
		appendStringInfoString(sql, " AND NOT ");
		ofs_unseen_append_gone(sql, list->table, false, 't');
	}
	ofs_unseen_append_scope(sql, params);
}

/* Append " AND stamp < upto", and the rest. */
static void
append_rest(StringInfo sql, const RestList *list, TimestampTz upto, OfsUnseen *params)
{
	appendStringInfo(sql, " AND %s OPERATOR(pg_catalog.<) %s", stamp_column(list), time_param(params, upto));
	append_common(sql, list, params);
}

/* ---------- looking ahead ---------- */

typedef struct StampReceiver
{
	DestReceiver pub;
	bool		found;
	TimestampTz stamp;
} StampReceiver;

static void
stamp_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static bool
stamp_receive(TupleTableSlot *slot, DestReceiver *self)
{
	StampReceiver *r = (StampReceiver *) self;
	bool		isnull;

	r->stamp = DatumGetTimestampTz(slot_getattr(slot, 1, &isnull));
	r->found = !isnull;
	return false;
}

static void
stamp_end(DestReceiver *self)
{
}

static bool
find_stamp(const char *sql, const OfsUnseen *params, TimestampTz *stamp)
{
	StampReceiver r = {{stamp_receive, stamp_startup, stamp_end, stamp_end, DestNone}};

	(void) ofs_unseen_run(sql, params, (DestReceiver *) &r);
	*stamp = r.stamp;
	return r.found;
}

/* The first stamp of a millisecond, or the last; false: there is none. */
static bool
find_end(RestList *list, TimestampTz millisecond, bool last, TimestampTz *stamp)
{
	OfsUnseen	params;
	StringInfoData sql;
	char	   *column = stamp_column(list);

	begin(list, &params);
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM %s t WHERE %s OPERATOR(pg_catalog.>=) %s", column,
					 ofs_relation_name(list->table->relid), column, time_param(&params, millisecond));
	append_rest(&sql, list, Min(millisecond + REST_MS, list->settled), &params);
	appendStringInfo(&sql, " ORDER BY %s%s LIMIT 1", column, last ? " DESC" : "");
	return find_stamp(sql.data, &params, stamp);
}

/* The only stamp of a millisecond; DT_NOBEGIN: there is none, NOT_ONE: there are several. */
static TimestampTz
find_only(RestList *list, TimestampTz millisecond)
{
	TimestampTz first;
	TimestampTz last;

	if (!find_end(list, millisecond, false, &first) || !find_end(list, millisecond, true, &last))
		return DT_NOBEGIN;
	return first == last ? first : NOT_ONE;
}

/* ---------- pages ---------- */

static RestItems *
start_items(RestList *list)
{
	list->out.len = list->begin;
	return ofs_rest_items(list->view, &list->out, list->call->limit);
}

/* A page in the order that an index has; false: the order isn't what the client takes it for. */
static bool
read_plain(RestList *list, RestItems **page)
{
	RestItems  *items = start_items(list);
	OfsUnseen	params;
	StringInfoData sql;

	begin(list, &params);
	initStringInfo(&sql);
	ofs_rest_items_select(&sql, items);
	append_start(&sql, list, &params);
	append_rest(&sql, list, list->settled, &params);
	appendStringInfo(&sql, " ORDER BY %s, ", stamp_column(list));
	ofs_keyorder_by(&sql, list->table, "t");
	/* one more tells whether there are more */
	appendStringInfo(&sql, " LIMIT " INT64_FORMAT, items->room + 1);
	(void) ofs_unseen_run(sql.data, &params, (DestReceiver *) items);
	*page = items;
	if (items->mixed)
		return false;
	return !items->more || ofs_rest_floor(items->last) != ofs_rest_floor(items->next) ||
		(items->last == items->next && find_only(list, ofs_rest_floor(items->last)) != NOT_ONE);
}

/* Behind the millisecond that the page ends in. */
static TimestampTz
find_bound(RestList *list)
{
	OfsUnseen	params;
	StringInfoData sql;
	TimestampTz stamp;

	begin(list, &params);
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM %s t WHERE ", stamp_column(list), ofs_relation_name(list->table->relid));
	append_start(&sql, list, &params);
	append_rest(&sql, list, list->settled, &params);
	appendStringInfo(&sql, " ORDER BY %s LIMIT 1 OFFSET %d", stamp_column(list), list->call->limit);
	if (!find_stamp(sql.data, &params, &stamp))
		return list->settled;
	return Min(ofs_rest_floor(stamp) + REST_MS, list->settled);
}

/* A page in the order of milliseconds. */
static RestItems *
read_sorted(RestList *list)
{
	RestItems  *items;
	OfsUnseen	params;
	StringInfoData sql;
	TimestampTz bound;

	list->start = NOT_ONE;
	bound = find_bound(list);
	items = start_items(list);
	begin(list, &params);
	initStringInfo(&sql);
	ofs_rest_items_select(&sql, items);
	append_start(&sql, list, &params);
	append_rest(&sql, list, bound, &params);
	appendStringInfo(&sql, " ORDER BY pg_catalog.date_trunc('milliseconds', %s), ", stamp_column(list));
	ofs_keyorder_by(&sql, list->table, "t");
	appendStringInfo(&sql, " LIMIT " INT64_FORMAT, items->room + 1);
	(void) ofs_unseen_run(sql.data, &params, (DestReceiver *) items);
	return items;
}

/* Rows whose stamps aren't ours; what follows stands behind them. */
static void
read_undated(RestList *list)
{
	RestItems  *items = ofs_rest_items(list->view, &list->out, PG_INT64_MAX);
	char	   *column = stamp_column(list);
	OfsUnseen	params;
	StringInfoData sql;

	begin(list, &params);
	initStringInfo(&sql);
	ofs_rest_items_select(&sql, items);
	appendStringInfo(&sql, "(%s OPERATOR(pg_catalog.<) %s OR %s OPERATOR(pg_catalog.>) %s OR %s IS NULL)", column,
					 time_param(&params, OFS_UNIX_EPOCH), column, time_param(&params, items->latest), column);
	append_common(&sql, list, &params);
	(void) ofs_unseen_run(sql.data, &params, (DestReceiver *) items);
	list->undated = items->count;
	if (items->count > 0)
		appendStringInfoChar(&list->out, ',');
	list->begin = list->out.len;
}

static RestItems *
read_page(RestList *list)
{
	RestItems  *items;

	if (list->after == NULL && list->since == OFS_UNIX_EPOCH)
		read_undated(list);
	if (list->after)
		list->start = find_only(list, list->since);
	if ((list->after == NULL || list->start != NOT_ONE) && read_plain(list, &items))
		return items;
	return read_sorted(list);
}

/* ---------- the call ---------- */

static void
check_call(const RestListCall *call)
{
	if (call->limit < 1)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("limit must be greater than zero")));
}

/* Nobody would notice what is missing from it. */
static void
check_trouble(OfsTable *table)
{
	const char *trouble = ofs_table_trouble(table);

	if (trouble)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("collection \"%s\" cannot be listed now", table->collection),
				 errdetail_internal("%s", trouble),
				 errhint("offsync.check() tells its owner what to do.")));
}

text *
ofs_rest_list(const RestListCall *call)
{
	RestList	list = {.call = call};
	OfsViews	views = {OFS_DIALECT_JSON};
	RestItems  *items;
	int			level;

	check_call(call);
	list.table = ofs_rest_table(call->kind);
	list.since = ofs_rest_given(call->since) ? ofs_rest_parse_time("updatedSince", call->since) : OFS_UNIX_EPOCH;
	list.since = Max(list.since, OFS_UNIX_EPOCH);
	list.after = ofs_rest_given(call->since) && ofs_rest_given(call->after) ? call->after : NULL;
	/* the answer may be large: it is made where it is to be, with room for the length word */
	initStringInfo(&list.out);
	appendStringInfoSpaces(&list.out, VARHDRSZ);
	appendStringInfoString(&list.out, "{\"items\":[");
	list.begin = list.out.len;

	level = ofs_jit_off();
	SPI_connect();
	list.settled = ofs_settled_push();
	list.settled = ofs_rest_floor(list.settled);
	list.view = ofs_view_make(&views, list.table);
	list.table = list.view->table;
	check_trouble(list.table);
	items = read_page(&list);
	if (list.undated > 0 && items->count == 0)
		list.out.len--;			/* the comma */
	ofs_count_pull(list.after == NULL && list.since == OFS_UNIX_EPOCH, list.undated + items->count, 0, false);
	appendStringInfo(&list.out, "],\"nextPageToken\":%s}", items->more ? "\"more\"" : "null");
	PopActiveSnapshot();
	SPI_finish();
	AtEOXact_GUC(true, level);
	SET_VARSIZE(list.out.data, list.out.len);
	return (text *) list.out.data;
}
