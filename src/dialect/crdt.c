/*
 * crdt.c
 *		Row CRDT changesets, as clients of the sql_crdt family exchange them over a WebSocket.
 *
 * The socket is the app's; these calls give and take what goes through it.
 *
 *	hello		the server's handshake: what it has of the client's own rows, as the greatest of their clocks
 *	changeset	rows for a client, of which none is its own: {"table": [{column: value, ..., "is_deleted", "hlc", "node_id", "modified"}]}
 *	merge		a client's, applied as one push of records with clocks
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
#include "base/errors.h"
#include "base/isotime.h"
#include "base/jsonsplit.h"
#include "base/settings.h"
#include "catalog/clocks.h"
#include "catalog/pg_type.h"
#include "catalog/view.h"
#include "fmgr.h"
#include "pull/call.h"
#include "push/call.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(offsync_crdt_hello);
PG_FUNCTION_INFO_V1(offsync_crdt_changeset);
PG_FUNCTION_INFO_V1(offsync_crdt_merge);

/* Members of a client's row that are no columns. */
#define IS_DELETED	"is_deleted"
#define HLC			"hlc"
#define NODE_ID		"node_id"
#define MODIFIED	"modified"

#define UNIX_TIME		((UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)

typedef struct CrdtTable
{
	OfsTable   *table;
	Relation	rel;
	OfsKeyCodec *key;
	OfsCodec  **codecs;			/* of the key's parts */
} CrdtTable;

/* ---------- JSON ---------- */

static void
put_string(StringInfo out, const char *text)
{
	ofs_json_string(out, text, strlen(text));
}

static void
put_value(StringInfo out, const OfsJsonValue *value)
{
	switch (value->kind)
	{
		case OFS_JSON_NULL:
			appendStringInfoString(out, "null");
			break;
		case OFS_JSON_FALSE:
			appendStringInfoString(out, "false");
			break;
		case OFS_JSON_TRUE:
			appendStringInfoString(out, "true");
			break;
		case OFS_JSON_STRING:
			ofs_json_string(out, value->text, value->len);
			break;
		default:
			appendBinaryStringInfo(out, value->text, value->len);
			break;
	}
}

/* ,"name": */
static void
put_name(StringInfo out, const char *name)
{
	if (out->data[out->len - 1] != '{')
		appendStringInfoChar(out, ',');
	put_string(out, name);
	appendStringInfoChar(out, ':');
}

static const OfsJsonValue *
find_member(const OfsJsonMember *members, int n, const char *name)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(members[i].name, name) == 0)
			return &members[i].value;
	}
	return NULL;
}

/* The members of an object or the elements of an array, as the bracket says. */
static int
split(const OfsJsonValue *value, char bracket, const char *what, OfsJsonMember **members)
{
	if (value->kind != OFS_JSON_NESTED || value->text[0] != bracket)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("%s must be an %s", what, bracket == '{' ? "object" : "array")));
	return ofs_json_split(value, members);
}

/* ---------- nodes and clocks ---------- */

/* Two nodes of one name would take each other's rows for their own. */
static char *
get_node(FunctionCallInfo fcinfo, int n)
{
	char	   *node = ofs_argument_text(fcinfo, n);

	if (node == NULL || node[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("the client's node_id is missing")));
	if (strcmp(node, OFS_SERVER_NODE) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_CONFLICT),
				 errmsg("duplicate node_id \"%s\"", node),
				 errdetail("It is the server's.")));
	return node;
}

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
	at = UNIX_TIME + (clock.ms - Min(ofs_max_clock_drift, clock.ms)) * 1000;
	return ofs_iso_instant(Min(at, GetCurrentTimestamp()));
}

/* ---------- tables ---------- */

static void
open_table(CrdtTable *crdt, OfsTable *table)
{
	crdt->table = table;
	crdt->rel = table_open(table->relid, AccessShareLock);
	crdt->key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	crdt->codecs = palloc0_array(OfsCodec *, table->nkey);
	for (int i = 0; i < table->nkey; i++)
		crdt->codecs[i] = ofs_codec_create(table->key_types[i], table->key_typmods[i], OFS_DIALECT_JSON);
}

static const char *
key_name(const CrdtTable *crdt, int part)
{
	return NameStr(TupleDescAttr(RelationGetDescr(crdt->rel), crdt->table->key[part] - 1)->attname);
}

static bool
is_key(const OfsTable *table, AttrNumber attnum)
{
	for (int i = 0; i < table->nkey; i++)
	{
		if (table->key[i] == attnum)
			return true;
	}
	return false;
}

static bool
is_own_name(const char *name)
{
	return strcmp(name, IS_DELETED) == 0 || strcmp(name, HLC) == 0 || strcmp(name, NODE_ID) == 0 || strcmp(name, MODIFIED) == 0;
}

/* Is it a column that clients have?  Its values travel under the wire name. */
static const char *
client_column(const CrdtTable *crdt, AttrNumber attnum)
{
	OfsTable   *table = crdt->table;
	TupleDesc	desc = RelationGetDescr(crdt->rel);

	if (attnum == table->created_at || attnum == table->updated_at || attnum == table->version ||
		attnum == table->soft_delete || is_key(table, attnum) || TupleDescAttr(desc, attnum - 1)->attisdropped ||
		is_own_name(NameStr(TupleDescAttr(desc, attnum - 1)->attname)))
		return NULL;
	return ofs_table_wire_name(table, desc, attnum);
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

/* ---------- out ---------- */

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
	put_name(out, IS_DELETED);
	appendStringInfoString(out, deleted ? "1" : "0");
	put_name(out, HLC);
	put_string(out, text.data);
	put_name(out, NODE_ID);
	put_string(out, told.node);
	put_name(out, MODIFIED);
	put_string(out, text.data);
	appendStringInfoChar(out, '}');
}

/* The key's columns; a record has them as its id. */
static void
put_key(StringInfo out, const CrdtTable *crdt, const char *id)
{
	Datum	   *parts = palloc0_array(Datum, crdt->table->nkey);

	ofs_key_read(crdt->key, id, parts);
	for (int i = 0; i < crdt->table->nkey; i++)
	{
		put_name(out, key_name(crdt, i));
		ofs_codec_write(crdt->codecs[i], out, parts[i], false);
	}
}

/* A row, unless its clock is the client's. */
static void
put_row(StringInfo out, const CrdtTable *crdt, const OfsJsonValue *record, const char *except)
{
	OfsJsonMember *members;
	int			n = split(record, '{', "a record", &members);
	TupleDesc	desc = RelationGetDescr(crdt->rel);
	OfsHlc		clock = {0, 0, ""};

	(void) ofs_hlc_parse(find_member(members, n, "_clock")->text, &clock);
	if (except != NULL && strcmp(clock.node, except) == 0)
		return;
	appendStringInfoString(out, out->data[out->len - 1] == '[' ? "{" : ",{");
	put_key(out, crdt, find_member(members, n, "id")->text);
	for (int i = 0; i < desc->natts; i++)
	{
		const char *wire = client_column(crdt, i + 1);
		const OfsJsonValue *value = wire ? find_member(members, n, wire) : NULL;

		if (value == NULL)
			continue;
		put_name(out, NameStr(TupleDescAttr(desc, i)->attname));
		put_value(out, value);
	}
	put_clock(out, find_member(members, n, "_gone") != NULL, &clock);
}

/* Of a row that is gone for good nothing is left but its key. */
static void
put_gone(StringInfo out, const CrdtTable *crdt, const OfsJsonValue *id)
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
	int			nlists = split(&collection->value, '{', "a collection", &lists);
	CrdtTable	crdt;
	int			open;

	open_table(&crdt, ofs_table_by_name(collection->name));
	put_name(out, collection->name);
	appendStringInfoChar(out, '[');
	open = out->len;
	for (int i = 0; i < nlists; i++)
	{
		OfsJsonMember *records;
		int			n = split(&lists[i].value, '[', "a list", &records);

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

/* What the engine has for a client since then, in its own shape: the members of the answer. */
static int
pull(const char *since, OfsJsonMember **members)
{
	OfsPullCall call = {0};
	text	   *answer;
	OfsJsonValue value = {.kind = OFS_JSON_NESTED};

	call.last_pulled_at = since;
	call.collections = list_collections();
	call.additive = call.soft_rows = call.clocks = true;
	call.dialect = "json";
	answer = ofs_pull_answer(&call);
	value.text = text_to_cstring(answer);
	value.len = VARSIZE_ANY_EXHDR(answer);
	return split(&value, '{', "an answer", members);
}

/* since: a client's clock, or the cursor of an earlier changeset; node_id: the client's. */
Datum
offsync_crdt_changeset(PG_FUNCTION_ARGS)
{
	char	   *since = resolve_since(ofs_argument_text(fcinfo, 0));
	char	   *except = ofs_argument_text(fcinfo, 1);
	OfsJsonMember *members;
	OfsJsonMember *collections;
	int			n = pull(since, &members);
	int			ncollections = split(find_member(members, n, "changes"), '{', "changes", &collections);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "{\"changeset\":{");
	for (int i = 0; i < ncollections; i++)
		put_collection(&out, &collections[i], except);
	appendStringInfoString(&out, "},\"cursor\":");
	put_value(&out, find_member(members, n, "cursor"));
	appendStringInfoChar(&out, '}');
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* Raise the clock to that of a row, if it is the node's. */
static void
take_modified(const OfsJsonValue *record, const char *node, OfsHlc *modified)
{
	OfsJsonMember *members;
	int			n = split(record, '{', "a record", &members);
	OfsHlc		clock;

	if (ofs_hlc_parse(find_member(members, n, "_clock")->text, &clock) && strcmp(clock.node, node) == 0 &&
		ofs_hlc_compare(&clock, modified) > 0)
		*modified = clock;
}

static void
take_rows(const OfsJsonValue *collection, const char *node, OfsHlc *modified)
{
	OfsJsonMember *lists;
	int			n = split(collection, '{', "a collection", &lists);

	for (int i = 0; i < n; i++)
	{
		OfsJsonMember *records;
		int			nrecords = split(&lists[i].value, '[', "a list", &records);

		for (int j = 0; j < nrecords && strcmp(lists[i].name, "deleted") != 0; j++)
			take_modified(&records[j].value, node, modified);
	}
}

/* node_id: the client's. */
Datum
offsync_crdt_hello(PG_FUNCTION_ARGS)
{
	char	   *node = get_node(fcinfo, 0);
	OfsHlc		modified = {0, 0, OFS_SERVER_NODE};
	OfsJsonMember *members;
	OfsJsonMember *collections;
	int			n = pull(NULL, &members);
	int			ncollections = split(find_member(members, n, "changes"), '{', "changes", &collections);
	StringInfoData text;
	StringInfoData out;

	for (int i = 0; i < ncollections; i++)
		take_rows(&collections[i].value, node, &modified);
	initStringInfo(&text);
	ofs_hlc_write(&text, OFS_HLC_ROW, &modified);
	initStringInfo(&out);
	appendStringInfoString(&out, "{\"node_id\":\"" OFS_SERVER_NODE "\",\"last_modified\":");
	put_string(&out, text.data);
	appendStringInfoString(&out, ",\"data\":null}");
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* ---------- in ---------- */

/* A client's row, and what of it becomes what. */
typedef struct CrdtRow
{
	OfsJsonMember *members;
	int			n;
	const char *clock;
	OfsHlc		hlc;
	bool		deleted;
	StringInfoData id;
} CrdtRow;

static void
refuse_member(const CrdtTable *crdt, const char *name, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg(problem, name, crdt->table->collection)));
}

static void
read_key(const CrdtTable *crdt, CrdtRow *row)
{
	Datum	   *parts = palloc0_array(Datum, crdt->table->nkey);

	for (int i = 0; i < crdt->table->nkey; i++)
	{
		const OfsJsonValue *value = find_member(row->members, row->n, key_name(crdt, i));
		bool		isnull = true;

		if (value != NULL)
			parts[i] = ofs_codec_read(crdt->codecs[i], value, &isnull);
		if (isnull)
			refuse_member(crdt, key_name(crdt, i), gettext_noop("key column \"%s\" is missing in a row of collection \"%s\""));
	}
	initStringInfo(&row->id);
	ofs_key_write(crdt->key, &row->id, parts);
}

static void
read_row(const CrdtTable *crdt, const OfsJsonValue *sent, CrdtRow *row)
{
	const OfsJsonValue *value;

	row->n = split(sent, '{', "a row", &row->members);
	value = find_member(row->members, row->n, HLC);
	if (value == NULL || value->kind != OFS_JSON_STRING || !ofs_hlc_parse(value->text, &row->hlc))
		refuse_member(crdt, HLC, gettext_noop("\"%s\" of a row of collection \"%s\" is no clock"));
	row->clock = value->text;
	value = find_member(row->members, row->n, IS_DELETED);
	row->deleted = value != NULL && (value->kind == OFS_JSON_TRUE ||
									 (value->kind == OFS_JSON_NUMBER && strcmp(value->text, "0") != 0));
	read_key(crdt, row);
}

static void
begin_record(StringInfo out, const CrdtRow *row)
{
	appendStringInfoString(out, out->data[out->len - 1] == '[' ? "{\"id\":" : ",{\"id\":");
	ofs_json_string(out, row->id.data, row->id.len);
}

/* The record that a row is, with the soft_delete column in place of is_deleted; soft: its wire name, or NULL. */
static void
put_record(StringInfo out, const CrdtTable *crdt, const CrdtRow *row, const char *soft)
{
	OfsTable   *table = crdt->table;

	begin_record(out, row);
	for (int i = 0; i < row->n; i++)
	{
		const char *name = row->members[i].name;
		AttrNumber	attnum = get_attnum(table->relid, name);
		const char *wire;

		if (is_own_name(name) || is_key(table, attnum) || (attnum == table->soft_delete && attnum != InvalidAttrNumber))
			continue;
		wire = attnum > 0 ? client_column(crdt, attnum) : NULL;
		if (wire == NULL)
			refuse_member(crdt, name, gettext_noop("unknown column \"%s\" in a row of collection \"%s\""));
		put_name(out, wire);
		put_value(out, &row->members[i].value);
	}
	if (soft != NULL)
	{
		put_name(out, soft);
		if (row->deleted)
			put_string(out, ofs_iso_instant(UNIX_TIME + row->hlc.ms * 1000));
		else
			appendStringInfoString(out, "null");
	}
	put_name(out, "_clock");
	put_string(out, row->clock);
	appendStringInfoChar(out, '}');
}

/* A deletion: by its clock where the table keeps the row. */
static void
put_deletion(StringInfo out, const CrdtTable *crdt, const CrdtRow *row)
{
	begin_record(out, row);
	if (crdt->table->soft_delete)
	{
		put_name(out, "_clock");
		put_string(out, row->clock);
	}
	appendStringInfoChar(out, '}');
}

static void
put_rows(StringInfo out, const OfsJsonMember *sent)
{
	OfsTable   *table = ofs_table_by_name(sent->name);
	CrdtTable	crdt;
	OfsJsonMember *rows;
	int			n = split(&sent->value, '[', "a table's rows", &rows);
	StringInfoData deleted;
	const char *soft;

	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_UNKNOWN),
				 errmsg("unknown collection \"%s\"", sent->name)));
	if (!table->clocks)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_UNKNOWN),
				 errmsg("collection \"%s\" keeps no clocks", sent->name),
				 errhint("Its owner calls offsync.enable with conflict => 'field_lww'.")));
	open_table(&crdt, table);
	soft = table->soft_delete ? ofs_table_wire_name(table, RelationGetDescr(crdt.rel), table->soft_delete) : NULL;
	initStringInfo(&deleted);
	appendStringInfoChar(&deleted, '[');
	put_name(out, sent->name);
	appendStringInfoString(out, "{\"created\":[");
	for (int i = 0; i < n; i++)
	{
		CrdtRow		row;

		read_row(&crdt, &rows[i].value, &row);
		if (!row.deleted || soft != NULL)
			put_record(out, &crdt, &row, soft);
		else
			put_deletion(&deleted, &crdt, &row);
	}
	appendStringInfo(out, "],\"deleted\":%s]}", deleted.data);
	table_close(crdt.rel, NoLock);
}

/* node_id: the client's; changeset: a frame of it. */
Datum
offsync_crdt_merge(PG_FUNCTION_ARGS)
{
	OfsPushCall call = {0};
	OfsJsonValue value = {.kind = OFS_JSON_NESTED};
	OfsJsonMember *tables;
	StringInfoData out;
	int			n;

	(void) get_node(fcinfo, 0);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("changeset must not be null")));
	value.text = text_to_cstring(PG_GETARG_TEXT_PP(1));
	value.text += strspn(value.text, " \t\r\n");
	value.len = strlen(value.text);
	n = split(&value, '{', "a changeset", &tables);
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (int i = 0; i < n; i++)
		put_rows(&out, &tables[i]);
	appendStringInfoChar(&out, '}');
	call.changes = cstring_to_text_with_len(out.data, out.len);
	call.dialect = "json";
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("{%s}", ofs_push_store(&call, "offsync.crdt_merge()")->outcome)));
}
