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
 * clocks: a device that was offline brings old ones.  So the clock's time, less what clocks may be ahead, says when that was, and the
 * engine says what has been committed since.  That sends some rows again, which changes nothing.  Whoever keeps the cursor that
 * comes with a changeset gets the next one exact.
 *
 * Texts of clocks are compared by these clients as text, in which milliseconds alone come behind microseconds of the same
 * millisecond.  The server writes microseconds only where it was sent them.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/argument.h"
#include "base/compat.h"
#include "base/isotime.h"
#include "base/settings.h"
#include "catalog/clocks.h"
#include "catalog/pg_type.h"
#include "catalog/view.h"
#include "dialect/crdt.h"
#include "pull/call.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(offsync_crdt_hello);
PG_FUNCTION_INFO_V1(offsync_crdt_changeset);

/*
 * Where a client's clock says that it last merged; a cursor stays what it is.  NULL: from the start.
 */
static char *
resolve_since(char *since)
{
	OfsHlc		clock;
	TimestampTz at;

	if (since == NULL || !ofs_hlc_parse(since, &clock))
		return since;
	if (clock.ms == 0)
		return NULL;
	at = OFS_CRDT_EPOCH + (clock.ms - Min(ofs_max_clock_drift, clock.ms)) * 1000;
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

static void
put_clock(StringInfo out, bool deleted, const OfsHlc *clock)
{
	StringInfoData text;
	OfsHlc		told = *clock;

	/* a row as it was inserted on the server is nobody's */
	if (told.node[0] == '\0')
		told.node = OFS_SERVER_NODE;
	initStringInfo(&text);
	ofs_hlc_write(&text, OFS_HLC_ROW, &told);
	ofs_crdt_put_name(out, OFS_CRDT_IS_DELETED);
	appendStringInfoString(out, deleted ? "1" : "0");
	ofs_crdt_put_name(out, OFS_CRDT_HLC);
	ofs_json_text(out, text.data);
	ofs_crdt_put_name(out, OFS_CRDT_NODE_ID);
	ofs_json_text(out, told.node);
	ofs_crdt_put_name(out, OFS_CRDT_MODIFIED);
	ofs_json_text(out, text.data);
	appendStringInfoChar(out, '}');
}

/* The key's columns; a record has them as its id. */
static void
put_key(StringInfo out, const OfsCrdtTable *crdt, const char *id)
{
	Datum	   *parts = palloc0_array(Datum, crdt->table->nkey);

	ofs_key_read(crdt->key, id, parts);
	for (int i = 0; i < crdt->table->nkey; i++)
	{
		ofs_crdt_put_name(out, ofs_crdt_key_name(crdt, i));
		ofs_codec_write(crdt->codecs[i], out, parts[i], false);
	}
}

/* A row, unless its clock is the client's. */
static void
put_row(StringInfo out, const OfsCrdtTable *crdt, const OfsJsonValue *record, const char *except)
{
	OfsJsonMember *members;
	int			n = ofs_crdt_split(record, '{', "a record", &members);
	TupleDesc	desc = RelationGetDescr(crdt->rel);
	OfsHlc		clock = {0, 0, ""};

	(void) ofs_hlc_parse(ofs_json_member(members, n, "_clock")->text, &clock);
	if (except != NULL && strcmp(clock.node, except) == 0)
		return;
	appendStringInfoString(out, out->data[out->len - 1] == '[' ? "{" : ",{");
	put_key(out, crdt, ofs_json_member(members, n, "id")->text);
	for (int i = 0; i < desc->natts; i++)
	{
		const char *wire = ofs_crdt_column(crdt, i + 1);
		const OfsJsonValue *value = wire ? ofs_json_member(members, n, wire) : NULL;

		if (value == NULL)
			continue;
		ofs_crdt_put_name(out, NameStr(TupleDescAttr(desc, i)->attname));
		ofs_json_append(out, value);
	}
	put_clock(out, ofs_json_member(members, n, "_gone") != NULL, &clock);
}

/* Of a row that is gone for good nothing is left but its key. */
static void
put_gone(StringInfo out, const OfsCrdtTable *crdt, const OfsJsonValue *id)
{
	OfsHlc		now = {ofs_clocks_wall(GetCurrentTimestamp()), 0, OFS_SERVER_NODE};

	appendStringInfoString(out, out->data[out->len - 1] == '[' ? "{" : ",{");
	put_key(out, crdt, id->text);
	put_clock(out, true, &now);
}

static void
put_collection(StringInfo out, const OfsJsonMember *collection, const char *except)
{
	int			start = out->len;
	OfsJsonMember *lists;
	int			nlists = ofs_crdt_split(&collection->value, '{', "a collection", &lists);
	OfsCrdtTable crdt;
	int			open;

	ofs_crdt_open(&crdt, ofs_table_by_name(collection->name));
	ofs_crdt_put_name(out, collection->name);
	appendStringInfoChar(out, '[');
	open = out->len;
	for (int i = 0; i < nlists; i++)
	{
		OfsJsonMember *records;
		int			n = ofs_crdt_split(&lists[i].value, '[', "a list", &records);

		for (int j = 0; j < n; j++)
		{
			if (strcmp(lists[i].name, "deleted") == 0)
				put_gone(out, &crdt, &records[j].value);
			else
				put_row(out, &crdt, &records[j].value, except);
		}
	}
	table_close(crdt.rel, NoLock);
	if (out->len > open)
		appendStringInfoChar(out, ']');
	else
	{
		/* empty ones are left out */
		out->len = start;
		out->data[start] = '\0';
	}
}

/* What the engine has for a client since then, in its own shape: the members of the answer.  told: the client is told of it. */
static int
pull(const char *since, bool told, OfsJsonMember **members)
{
	OfsPullCall call = {0};
	text	   *answer;
	OfsJsonValue value = {.kind = OFS_JSON_NESTED};

	call.last_pulled_at = since;
	call.collections = list_collections();
	call.additive = call.soft_rows = call.clocks = true;
	call.uncounted = !told;
	call.dialect = "json";
	answer = ofs_pull_answer(&call);
	value.text = text_to_cstring(answer);
	value.len = VARSIZE_ANY_EXHDR(answer);
	return ofs_crdt_split(&value, '{', "an answer", members);
}

/* since: a client's clock, or the cursor of an earlier changeset; node_id: the client's. */
Datum
offsync_crdt_changeset(PG_FUNCTION_ARGS)
{
	char	   *since = resolve_since(ofs_argument_text(fcinfo, 0));
	char	   *except = ofs_argument_text(fcinfo, 1);
	OfsJsonMember *members;
	OfsJsonMember *collections;
	int			n = pull(since, true, &members);
	int			ncollections = ofs_crdt_split(ofs_json_member(members, n, "changes"), '{', "changes", &collections);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "{\"changeset\":{");
	for (int i = 0; i < ncollections; i++)
		put_collection(&out, &collections[i], except);
	appendStringInfoString(&out, "},\"cursor\":");
	ofs_json_append(&out, ofs_json_member(members, n, "cursor"));
	appendStringInfoChar(&out, '}');
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* Raise the clock to that of a row, if it is the node's. */
static void
take_modified(const OfsJsonValue *record, const char *node, OfsHlc *modified)
{
	OfsJsonMember *members;
	int			n = ofs_crdt_split(record, '{', "a record", &members);
	OfsHlc		clock;

	if (ofs_hlc_parse(ofs_json_member(members, n, "_clock")->text, &clock) && strcmp(clock.node, node) == 0 &&
		ofs_hlc_compare(&clock, modified) > 0)
		*modified = clock;
}

static void
take_rows(const OfsJsonValue *collection, const char *node, OfsHlc *modified)
{
	OfsJsonMember *lists;
	int			n = ofs_crdt_split(collection, '{', "a collection", &lists);

	for (int i = 0; i < n; i++)
	{
		OfsJsonMember *records;
		int			nrecords = ofs_crdt_split(&lists[i].value, '[', "a list", &records);

		for (int j = 0; j < nrecords && strcmp(lists[i].name, "deleted") != 0; j++)
			take_modified(&records[j].value, node, modified);
	}
}

/* node_id: the client's. */
Datum
offsync_crdt_hello(PG_FUNCTION_ARGS)
{
	char	   *node = ofs_crdt_node(fcinfo, 0);
	OfsHlc		modified = {0, 0, OFS_SERVER_NODE};
	OfsJsonMember *members;
	OfsJsonMember *collections;
	int			n = pull(NULL, false, &members);
	int			ncollections = ofs_crdt_split(ofs_json_member(members, n, "changes"), '{', "changes", &collections);
	StringInfoData text;
	StringInfoData out;

	for (int i = 0; i < ncollections; i++)
		take_rows(&collections[i].value, node, &modified);
	initStringInfo(&text);
	ofs_hlc_write(&text, OFS_HLC_ROW, &modified);
	initStringInfo(&out);
	appendStringInfoString(&out, "{\"node_id\":\"" OFS_SERVER_NODE "\",\"last_modified\":");
	ofs_json_text(&out, text.data);
	appendStringInfoString(&out, ",\"data\":null}");
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
