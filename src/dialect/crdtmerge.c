/*
 * crdtmerge.c
 *		A changeset of a row CRDT client (crdt.c) as a push.
 *
 * Each row is a record with its clock; is_deleted is the table's soft_delete column, or a deletion where it has none.  Names are
 * looked up in the table, so that nothing that was received becomes SQL, and one that is no column fails the changeset: the client
 * would take it for stored.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/isotime.h"
#include "core/hlc.h"
#include "dialect/crdt.h"
#include "dialect/refusal.h"
#include "push/call.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(offsync_crdt_merge);

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

OFS_NORETURN static void
refuse_member(const OfsCrdtTable *crdt, const char *name, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg(problem, name, crdt->table->collection)));
}

static void
read_key(const OfsCrdtTable *crdt, CrdtRow *row)
{
	Datum	   *parts = palloc0_array(Datum, crdt->table->nkey);

	for (int i = 0; i < crdt->table->nkey; i++)
	{
		const OfsJsonValue *value = ofs_json_member(row->members, row->n, ofs_crdt_key_name(crdt, i));
		bool		isnull = true;

		if (value != NULL)
			parts[i] = ofs_codec_read(crdt->codecs[i], value, &isnull);
		if (isnull)
			refuse_member(crdt, ofs_crdt_key_name(crdt, i), gettext_noop("key column \"%s\" is missing in a row of collection \"%s\""));
	}
	initStringInfo(&row->id);
	ofs_key_write(crdt->key, &row->id, parts);
}

static bool
read_deleted(const OfsCrdtTable *crdt, const OfsJsonValue *value)
{
	if (value == NULL || value->kind <= OFS_JSON_TRUE)
		return value != NULL && value->kind == OFS_JSON_TRUE;
	if (value->kind != OFS_JSON_NUMBER)
		refuse_member(crdt, OFS_CRDT_IS_DELETED, gettext_noop("\"%s\" of a row of collection \"%s\" is neither 0 nor 1"));
	return strtod(value->text, NULL) != 0;
}

static void
read_row(const OfsCrdtTable *crdt, const OfsJsonValue *sent, CrdtRow *row)
{
	const OfsJsonValue *value;

	row->n = ofs_crdt_split(sent, '{', "a row", &row->members);
	value = ofs_json_member(row->members, row->n, OFS_CRDT_HLC);
	if (value != NULL && value->kind == OFS_JSON_STRING && ofs_hlc_parse(value->text, &row->hlc))
		row->clock = value->text;
	else
		refuse_member(crdt, OFS_CRDT_HLC, gettext_noop("\"%s\" of a row of collection \"%s\" is no clock"));
	row->deleted = read_deleted(crdt, ofs_json_member(row->members, row->n, OFS_CRDT_IS_DELETED));
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
put_record(StringInfo out, const OfsCrdtTable *crdt, const CrdtRow *row, const char *soft)
{
	OfsTable   *table = crdt->table;
	TupleDesc	desc = RelationGetDescr(crdt->rel);

	begin_record(out, row);
	for (int i = 0; i < row->n; i++)
	{
		const char *name = row->members[i].name;
		AttrNumber	attnum = get_attnum(table->relid, name);
		const char *wire;

		if (ofs_crdt_is_own(name) || ofs_crdt_is_key(table, attnum) || (attnum == table->soft_delete && attnum != InvalidAttrNumber))
			continue;
		wire = attnum > 0 && ofs_crdt_is_column(table, desc, attnum) ? ofs_table_wire_name(table, desc, attnum) : NULL;
		if (wire == NULL)
			refuse_member(crdt, name, gettext_noop("unknown column \"%s\" in a row of collection \"%s\""));
		ofs_crdt_put_name(out, wire);
		ofs_json_append(out, &row->members[i].value);
	}
	if (soft != NULL)
	{
		ofs_crdt_put_name(out, soft);
		if (row->deleted)
			ofs_json_text(out, ofs_iso_instant(OFS_UNIX_EPOCH + row->hlc.ms * 1000));
		else
			appendStringInfoString(out, "null");
	}
	ofs_crdt_put_name(out, "_clock");
	ofs_json_text(out, row->clock);
	appendStringInfoChar(out, '}');
}

/* A deletion: by its clock where the table keeps the row. */
static void
put_deletion(StringInfo out, const OfsCrdtTable *crdt, const CrdtRow *row)
{
	begin_record(out, row);
	if (crdt->table->soft_delete)
	{
		ofs_crdt_put_name(out, "_clock");
		ofs_json_text(out, row->clock);
	}
	appendStringInfoChar(out, '}');
}

/* Only tables with clocks are clients'. */
static OfsTable *
find_table(const char *name)
{
	OfsTable   *table = ofs_table_by_name(name);

	if (table != NULL && table->clocks)
		return table;
	ereport(ERROR,
			(errcode(ERRCODE_OFS_UNKNOWN),
			 table == NULL ? errmsg("unknown collection \"%s\"", name) : errmsg("collection \"%s\" keeps no clocks", name),
			 table == NULL ? 0 : errhint("Its owner calls offsync.enable with conflict => 'field_lww'.")));
	return NULL;				/* not reached */
}

static void
put_rows(StringInfo out, const OfsJsonMember *sent)
{
	OfsTable   *table = find_table(sent->name);
	OfsCrdtTable crdt;
	OfsJsonMember *rows;
	int			n = ofs_crdt_split(&sent->value, '[', "a table's rows", &rows);
	StringInfoData deleted;
	const char *soft;
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "offsync row", ALLOCSET_DEFAULT_SIZES);

	ofs_crdt_open(&crdt, table);
	soft = table->soft_delete ? ofs_table_wire_name(table, RelationGetDescr(crdt.rel), table->soft_delete) : NULL;
	initStringInfo(&deleted);
	appendStringInfoChar(&deleted, '[');
	ofs_crdt_put_name(out, sent->name);
	appendStringInfoString(out, "{\"created\":[");
	for (int i = 0; i < n; i++)
	{
		CrdtRow		row;

		MemoryContextSwitchTo(context);
		read_row(&crdt, &rows[i].value, &row);
		if (!row.deleted || soft != NULL)
			put_record(out, &crdt, &row, soft);
		else
			put_deletion(&deleted, &crdt, &row);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	appendStringInfoString(out, "],\"deleted\":");
	appendBinaryStringInfo(out, deleted.data, deleted.len);
	appendStringInfoString(out, "]}");
	table_close(crdt.rel, NoLock);
}

typedef struct CrdtMerge
{
	const text *changeset;
	const char *outcome;		/* of the push: members */
} CrdtMerge;

static void
store(void *arg)
{
	CrdtMerge  *merge = arg;
	OfsPushCall call = {.dialect = "json", .uncounted = true};
	OfsJsonValue value = {.kind = OFS_JSON_NESTED};
	OfsJsonMember *tables;
	StringInfoData out;
	int			n;

	value.text = text_to_cstring(merge->changeset);
	value.text += strspn(value.text, " \t\r\n");
	value.len = strlen(value.text);
	n = ofs_crdt_split(&value, '{', "a changeset", &tables);
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (int i = 0; i < n; i++)
		put_rows(&out, &tables[i]);
	appendStringInfoChar(&out, '}');
	call.changes = cstring_to_text_with_len(out.data, out.len);
	merge->outcome = ofs_push_store(&call, "offsync.crdt_merge()")->outcome;
}

/* node_id: the client's; changeset: a frame of it. */
Datum
offsync_crdt_merge(PG_FUNCTION_ARGS)
{
	CrdtMerge	merge;

	(void) ofs_crdt_node(fcinfo, 0);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("changeset must not be null")));
	merge.changeset = PG_GETARG_TEXT_PP(1);
	ofs_refusal_run(store, &merge, NULL);
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("{%s}", merge.outcome)));
}
