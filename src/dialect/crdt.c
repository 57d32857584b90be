/*
 * crdt.c
 *		Row CRDT changesets, as clients of the sql_crdt family exchange them over a WebSocket.
 *
 * The socket is the app's; these calls give and take what goes through it.
 *
 *	hello		the server's handshake: what it has of the client's own rows, as the greatest of their clocks
 *	changeset	rows for a client, of which none is its own: {"table": [{column: value, ..., "is_deleted", "hlc", "node_id", "modified"}]}
 *	merge		a client's, applied as one push of records with clocks (crdtmerge.c)
 *
 * Such a client has a clock per row and takes a row whole where its clock is later.  The server has one per field (catalog/clocks.h), and
 * tells the row's: that of the client's write where all of it is stored, else a later one of its own, so that a row
 * which was put together from several writes goes to all of them.
 *
 * A client asks for what came since the greatest clock that it had when it last merged.  What is in that changeset and what isn't doesn't follow from
 * clocks: a device that was offline brings old ones.  So the clock's time, less what clocks may be ahead and a frame may take, says when
 * that was, and the engine says what has been committed since.  That sends some rows again, which changes nothing.  Whoever keeps the
 * cursor that comes with a changeset gets the next one exact.
 *
 * A row that is gone, or out of the client's sight, leaves nothing but its key.  A client that can't store such a row fails at the whole
 * frame, so columns that are NOT NULL have something in it.
 *
 * Texts of clocks are compared by these clients as text, in which milliseconds alone come behind microseconds of the same
 * millisecond.  The server writes microseconds only where it was sent them.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/argument.h"
#include "base/compat.h"
#include "base/isotime.h"
#include "base/put.h"
#include "base/settings.h"
#include "catalog/clocks.h"
#include "catalog/pg_type.h"
#include "catalog/view.h"
#include "dialect/crdt.h"
#include "pull/call.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(offsync_crdt_hello);
PG_FUNCTION_INFO_V1(offsync_crdt_changeset);

#define UNDER_WAY	(10 * INT64CONST(60000))	/* milliseconds that a frame may take to be merged, after which the client's clock is told */

/* Where a client's clock says that it last merged; a cursor stays what it is.  NULL: it has nothing, not even rows of its own. */
static char *
resolve_since(char *since)
{
	OfsHlc		clock;
	TimestampTz at;

	if (since == NULL || !ofs_hlc_parse(since, &clock))
		return since;
	at = OFS_UNIX_EPOCH + Max(clock.ms - ofs_max_clock_drift - UNDER_WAY, 0) * 1000;
	return ofs_iso_instant(Min(at, GetCurrentTimestamp()));
}

/* The collections that have clocks, as far as the caller may read them. */
static ArrayType *
list_collections(void)
{
	List	   *tables = ofs_table_list();
	Datum	   *names = palloc0_array(Datum, list_length(tables) + 1);
	int			n = 0;
	ListCell   *lc;

	foreach(lc, tables)
	{
		OfsTable   *table = lfirst(lc);

		if (table->clocks && ofs_view_readable(table))
			names[n++] = CStringGetTextDatum(table->collection);
	}
	return construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT);
}

/* What the engine has for a client since then, collection by collection; without a cursor, nobody is told of it. */
static void
pull(const char *since, const OfsPullTaker *taker, char **cursor)
{
	OfsPullCall call = {0};

	call.last_pulled_at = since;
	call.collections = list_collections();
	call.additive = call.soft_rows = true;
	call.uncounted = cursor == NULL;
	call.dialect = "json";
	ofs_pull_take(&call, taker, cursor);
}

static OfsHlc
row_clock(const OfsView *view, const OfsPulledRow *row)
{
	OfsHlc		clock = ofs_clocks_read(view->table->relid, row->clocks, row->no_clocks, row->updated_at)->row;

	/* fields that nobody has written */
	if (clock.node[0] == '\0')
		clock.node = OFS_SERVER_NODE;
	return clock;
}

/* ---------- changesets ---------- */

/* A column that clients have. */
typedef struct Column
{
	char	   *prefix;			/* "name": */
	int			index;			/* in the view; of the key's: in the key */
	OfsCodec   *codec;
	const char *blank;			/* JSON for it in a row that is gone; NULL: none is needed */
} Column;

typedef struct Changeset
{
	StringInfoData out;
	const char *except;			/* the client, whose own rows it has; or NULL */
	const OfsView *view;		/* of the collection that rows come of */
	bool		open;			/* its array has begun */
	OfsKeyCodec *key;
	int			ncolumns;
	Column	   *columns;		/* the first ones are the key's */
} Changeset;

/* A table of the client's may not take a row without it. */
static const char *
blank_of(Form_pg_attribute att)
{
	char		category;
	bool		preferred;

	if (!att->attnotnull)
		return NULL;
	get_type_category_preferred(getBaseType(att->atttypid), &category, &preferred);
	return category == TYPCATEGORY_NUMERIC ? "0" : category == TYPCATEGORY_BOOLEAN ? "false" : "\"\"";
}

static void
add_column(Changeset *changeset, Form_pg_attribute att, int index)
{
	Column	   *column = &changeset->columns[changeset->ncolumns++];
	StringInfoData prefix;

	initStringInfo(&prefix);
	ofs_json_text(&prefix, NameStr(att->attname));
	appendStringInfoChar(&prefix, ':');
	column->prefix = prefix.data;
	column->index = index;
	column->codec = ofs_codec_create(att->atttypid, att->atttypmod, OFS_DIALECT_JSON);
	column->blank = blank_of(att);
}

static void
end_collection(Changeset *changeset)
{
	if (changeset->open)
		ofs_put_char(&changeset->out, ']');
	changeset->open = false;
}

static void
begin_collection(void *arg, const OfsView *view, bool whole)
{
	Changeset  *changeset = arg;
	OfsTable   *table = view->table;
	Relation	rel = table_open(table->relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);

	end_collection(changeset);
	changeset->view = view;
	changeset->key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	changeset->ncolumns = 0;
	changeset->columns = palloc0_array(Column, table->nkey + view->ncolumns);
	for (int i = 0; i < table->nkey; i++)
		add_column(changeset, TupleDescAttr(desc, table->key[i] - 1), i);
	for (int i = 0; i < view->ncolumns; i++)
	{
		if (ofs_crdt_is_column(table, desc, view->columns[i]))
			add_column(changeset, TupleDescAttr(desc, view->columns[i] - 1), i);
	}
	table_close(rel, NoLock);
}

/* values: NULL where it is gone. */
static void
put_columns(Changeset *changeset, const Datum *key, const Datum *values, const bool *nulls)
{
	StringInfo	out = &changeset->out;
	int			nkey = changeset->view->table->nkey;

	if (!changeset->open)
	{
		ofs_crdt_put_name(out, changeset->view->table->collection);
		changeset->open = true;
		ofs_put_literal(out, "[{");
	}
	else
		ofs_put_literal(out, ",{");
	for (int i = 0; i < changeset->ncolumns; i++)
	{
		const Column *column = &changeset->columns[i];

		if (i >= nkey && values == NULL && column->blank == NULL)
			continue;
		if (i > 0)
			ofs_put_char(out, ',');
		ofs_put_bytes(out, column->prefix, strlen(column->prefix));
		if (i < nkey)
			ofs_codec_write(column->codec, out, key[column->index], false);
		else if (values)
			ofs_codec_write(column->codec, out, values[column->index], nulls[column->index]);
		else
			ofs_put_bytes(out, column->blank, strlen(column->blank));
	}
}

static void
put_clock(StringInfo out, bool deleted, const OfsHlc *clock)
{
	StringInfoData text;

	initStringInfo(&text);
	ofs_hlc_write(&text, OFS_HLC_ROW, clock);
	ofs_crdt_put_name(out, OFS_CRDT_IS_DELETED);
	ofs_put_char(out, deleted ? '1' : '0');
	ofs_crdt_put_name(out, OFS_CRDT_HLC);
	ofs_json_text(out, text.data);
	ofs_crdt_put_name(out, OFS_CRDT_NODE_ID);
	ofs_json_text(out, clock->node);
	ofs_crdt_put_name(out, OFS_CRDT_MODIFIED);
	ofs_json_text(out, text.data);
	ofs_put_char(out, '}');
}

static void
take_row(void *arg, const OfsPulledRow *row)
{
	Changeset  *changeset = arg;
	OfsHlc		clock = row_clock(changeset->view, row);

	if (changeset->except != NULL && strcmp(clock.node, changeset->except) == 0)
		return;
	put_columns(changeset, row->key, row->values, row->nulls);
	put_clock(&changeset->out, row->ended, &clock);
}

static void
take_gone(void *arg, const char *id)
{
	Changeset  *changeset = arg;
	OfsHlc		now = {ofs_clocks_wall(GetCurrentTimestamp()), 0, OFS_SERVER_NODE};
	Datum	   *key = palloc0_array(Datum, changeset->view->table->nkey);

	ofs_key_read(changeset->key, id, key);
	put_columns(changeset, key, NULL, NULL);
	put_clock(&changeset->out, true, &now);
}

/* since: a client's clock, or the cursor of an earlier changeset; node_id: the client's. */
Datum
offsync_crdt_changeset(PG_FUNCTION_ARGS)
{
	Changeset	changeset = {.except = ofs_argument_text(fcinfo, 1)};
	OfsPullTaker taker = {&changeset, begin_collection, take_row, take_gone};
	StringInfo	out = &changeset.out;
	char	   *cursor;

	initStringInfo(out);
	appendStringInfoSpaces(out, VARHDRSZ);
	ofs_put_literal(out, "{\"changeset\":{");
	pull(resolve_since(ofs_argument_text(fcinfo, 0)), &taker, &cursor);
	end_collection(&changeset);
	ofs_put_literal(out, "},\"cursor\":");
	ofs_json_text(out, cursor);
	ofs_put_char(out, '}');
	SET_VARSIZE(out->data, out->len);
	PG_RETURN_TEXT_P((text *) out->data);
}

/* ---------- handshakes ---------- */

typedef struct Hello
{
	const char *node;
	const OfsView *view;
	OfsHlc		modified;		/* the greatest clock of the node's */
} Hello;

static void
begin_hello(void *arg, const OfsView *view, bool whole)
{
	((Hello *) arg)->view = view;
}

/* Raise the clock to that of a row, if it is the node's. */
static void
take_modified(void *arg, const OfsPulledRow *row)
{
	Hello	   *hello = arg;
	OfsHlc		clock = row_clock(hello->view, row);

	if (strcmp(clock.node, hello->node) != 0)
		return;
	clock.node = hello->node;
	if (ofs_hlc_compare(&clock, &hello->modified) > 0)
		hello->modified = clock;
}

static void
ignore_gone(void *arg, const char *id)
{
}

/* node_id: the client's. */
Datum
offsync_crdt_hello(PG_FUNCTION_ARGS)
{
	Hello		hello = {ofs_crdt_node(fcinfo, 0), NULL, {0, 0, OFS_SERVER_NODE}};
	OfsPullTaker taker = {&hello, begin_hello, take_modified, ignore_gone};
	StringInfoData text;
	StringInfoData out;

	pull(NULL, &taker, NULL);
	initStringInfo(&text);
	ofs_hlc_write(&text, OFS_HLC_ROW, &hello.modified);
	initStringInfo(&out);
	appendStringInfoString(&out, "{\"node_id\":\"" OFS_SERVER_NODE "\",\"last_modified\":");
	ofs_json_text(&out, text.data);
	appendStringInfoString(&out, ",\"data\":null}");
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
