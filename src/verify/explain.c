/*
 * explain.c
 *		offsync.explain: why a device did or did not get a row, in words and in order.
 *
 * Nothing is judged a second time here: the role's own SELECT says whether it sees the row, its own pull what
 * the device is told, and the steps before them show what both depend on.  So an explanation can't disagree with
 * the answers that it explains.  All of it is of one snapshot.
 *
 * The table's owner may ask, who could read every row anyway.  With whose rights what runs: see rehearse.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "base/argument.h"
#include "base/compat.h"
#include "base/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "verify/explain.h"

PG_FUNCTION_INFO_V1(offsync_explain);

const char *
ofs_explain_timestamp(TimestampTz at)
{
	return pstrdup(timestamptz_to_str(at));
}

/* ---------- the table ---------- */

static void
say_table(OfsExplain *x, Oid relid)
{
	const OfsTable *table = x->table;
	const char *trouble = ofs_table_trouble(x->table);
	StringInfoData key;

	initStringInfo(&key);
	for (int i = 0; i < table->nkey; i++)
		appendStringInfo(&key, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(get_attname(table->relid, table->key[i], false)));
	ofs_explain_say(x, "table", "%s%s syncs as collection \"%s\" by its key (%s)", ofs_relation_name(table->relid),
					table->relid == relid ? "" : psprintf(", of which %s is a partition,", ofs_relation_name(relid)),
					table->collection, key.data);
	if (trouble)
		ofs_explain_say(x, "tracking", "%s: every answer is a replacement", trouble);
	else
		ofs_explain_say(x, "tracking", "its triggers and its tombstones' policies are in place");
}

static bool
explain_table(OfsExplain *x, Oid relid)
{
	OfsTable   *table = ofs_table_of(relid);

	if (table == NULL)
	{
		ofs_explain_say(x, "table", "%s is not synced: offsync.enable makes it so", ofs_relation_name(relid));
		return false;
	}
	if (table->relid != relid)
		ofs_answer_require_owner(table->relid);
	x->rel = table_open(table->relid, AccessShareLock);
	/* the lock may have brought news of the definition */
	table = ofs_table_of(relid);
	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is no longer synced", get_rel_name(relid))));
	x->table = table;
	say_table(x, relid);
	return true;
}

/* ---------- the id ---------- */

typedef struct IdWork
{
	const char *given;
} IdWork;

/* As the owner, whose domains' checks this may run. */
static void
read_id(OfsExplain *x, void *arg)
{
	MemoryContext old = MemoryContextSwitchTo(x->context);
	OfsKeyCodec *codec = ofs_key_create(x->table->nkey, x->table->key_types, x->table->key_typmods);
	StringInfoData id;

	x->key = palloc(sizeof(Datum) * x->table->nkey);
	ofs_key_read(codec, ((IdWork *) arg)->given, x->key);
	initStringInfo(&id);
	ofs_key_write(codec, &id, x->key);
	x->id = id.data;
	MemoryContextSwitchTo(old);
}

static bool
explain_id(OfsExplain *x, const char *given)
{
	IdWork		work = {given};
	const char *error = ofs_explain_as_owner(x, read_id, &work);

	if (error)
		ofs_explain_say(x, "id", "\"%s\" is no id of this collection: %s", given, error);
	else if (strcmp(x->id, given) != 0)
		ofs_explain_say(x, "id", "\"%s\" is known to devices as \"%s\"", given, x->id);
	else
		ofs_explain_say(x, "id", "\"%s\" is a key of this table", given);
	return error == NULL;
}

/* ---------- the row ---------- */

typedef struct RowWork
{
	int64		created_version;
	const char *created_at;
	const char *updated_at;
} RowWork;

static Datum
row_value(int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? (Datum) 0 : value;
}

static void
read_row(OfsExplain *x, void *arg)
{
	RowWork    *work = arg;
	const OfsTable *table = x->table;
	const AttrNumber columns[] = {table->version, table->created_version, table->created_at, table->updated_at};
	StringInfoData sql;
	MemoryContext old;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT t, t.tableoid");
	for (int i = 0; i < (int) lengthof(columns); i++)
		appendStringInfo(&sql, ", t.%s", quote_identifier(get_attname(table->relid, columns[i], false)));
	appendStringInfo(&sql, " FROM %s t WHERE ", ofs_relation_name(table->relid));
	ofs_explain_append_key(x, &sql, 't', false);
	if (ofs_explain_select(x, sql.data, 1) == 0)
		return;

	old = MemoryContextSwitchTo(x->context);
	x->exists = true;
	x->row = datumCopy(row_value(1), false, -1);
	x->tableoid = DatumGetObjectId(row_value(2));
	x->version = DatumGetInt64(row_value(3));
	work->created_version = DatumGetInt64(row_value(4));
	work->created_at = ofs_explain_timestamp(DatumGetTimestampTz(row_value(5)));
	work->updated_at = ofs_explain_timestamp(DatumGetTimestampTz(row_value(6)));
	MemoryContextSwitchTo(old);
}

static void
explain_soft_delete(OfsExplain *x)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(x->row);
	HeapTupleData tuple = {0};
	const char *column;
	bool		isnull;

	if (x->table->soft_delete == InvalidAttrNumber)
		return;
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	(void) heap_getattr(&tuple, x->table->soft_delete, RelationGetDescr(x->rel), &isnull);
	x->gone = !isnull;
	column = quote_identifier(get_attname(x->table->relid, x->table->soft_delete, false));
	if (isnull)
		ofs_explain_say(x, "soft delete", "%s is null: the row counts as live", column);
	else
		ofs_explain_say(x, "soft delete", "%s is set: devices are told that the row is deleted", column);
}

static void
explain_row(OfsExplain *x)
{
	RowWork		work = {0};
	const char *error = ofs_explain_as_owner(x, read_row, &work);

	if (error)
		ofs_explain_say(x, "row", "it can't be read as the table's owner: %s", error);
	else if (!x->exists)
		ofs_explain_say(x, "row", "there is none with this key now");
	else
	{
		ofs_explain_say(x, "row", "inserted %s by version " INT64_FORMAT ", last written %s by version " INT64_FORMAT,
						work.created_at, work.created_version, work.updated_at, x->version);
		explain_soft_delete(x);
	}
}

/* ---------- the cursor ---------- */

static void
explain_cursor(OfsExplain *x)
{
	const OfsSince *since = x->since;

	switch (since->kind)
	{
		case OFS_SINCE_FIRST:
			ofs_explain_say(x, "cursor", "none: a first sync");
			break;
		case OFS_SINCE_REPLACE:
			ofs_explain_say(x, "cursor", "it can't be followed: %s", since->reason);
			break;
		case OFS_SINCE_NUMBER:
			ofs_explain_say(x, "cursor", "a %s: versions below " INT64_FORMAT " are seen; who asked, and what else that depended on, it can't tell",
							since->number ? "number" : "time", since->from);
			break;
		case OFS_SINCE_EXACT:
			ofs_explain_say(x, "cursor", "exact: versions below " INT64_FORMAT " are seen, but for %d then in progress, and %d of the client's own; %s",
							since->from, since->nrunning, since->cursor->nown,
							ofs_since_collection(since, x->table) ? "it covers the collection" :
							"it does not cover the collection");
			break;
	}
}

static void
explain_version(OfsExplain *x)
{
	if (!x->exists || (x->since->kind != OFS_SINCE_NUMBER && x->since->kind != OFS_SINCE_EXACT))
		return;
	if (ofs_since_is_own(x->since, x->version) && ofs_since_covers(x->since, x->table, x->version))
		ofs_explain_say(x, "version", INT64_FORMAT " is of the client's own push, which counts as seen", x->version);
	else if (ofs_since_covers(x->since, x->table, x->version))
		ofs_explain_say(x, "version", INT64_FORMAT " is seen: the device has had this row as it is, if it could see it then",
						x->version);
	else
		ofs_explain_say(x, "version", INT64_FORMAT " is unseen: it was written, or committed, after the cursor", x->version);
}

/* ---------- all ---------- */

static void
explain(OfsExplain *x, Oid relid, const char *id)
{
	bool		readable;

	if (!explain_table(x, relid))
		return;
	if (explain_id(x, id))
	{
		explain_row(x);
		explain_cursor(x);
		explain_version(x);
		readable = ofs_explain_rights(x);
		ofs_explain_policies(x);
		ofs_explain_tombstones(x);
		if (readable)
			ofs_explain_answer(x);
		else
			ofs_explain_say(x, "answer", "a pull of this collection is refused: permission denied (42501); a pull of all leaves it out");
		ofs_explain_push(x);
	}
	table_close(x->rel, NoLock);
}

/* tbl, id, last_pulled_at, as_role, claims, filters.  Returns rows (step, verdict). */
Datum
offsync_explain(PG_FUNCTION_ARGS)
{
	OfsExplain	x = {0};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", PG_ARGISNULL(0) ? "tbl" : "id")));
	ofs_answer_require_owner(PG_GETARG_OID(0));
	InitMaterializedSRF(fcinfo, 0);
	x.answer = (ReturnSetInfo *) fcinfo->resultinfo;
	x.context = CurrentMemoryContext;
	x.role = ofs_explain_role(PG_ARGISNULL(3) ? NULL : NameStr(*PG_GETARG_NAME(3)));
	x.role_name = quote_identifier(GetUserNameFromId(x.role, false));
	x.claims = ofs_explain_claims(ofs_argument_text(fcinfo, 4));
	x.last_pulled_at = ofs_argument_text(fcinfo, 2);
	x.filters = ofs_argument_text(fcinfo, 5);
	x.since = ofs_since_parse(x.last_pulled_at);
	explain(&x, PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
	return (Datum) 0;
}
