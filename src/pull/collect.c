/*
 * collect.c
 *		One collection's part of a pull's answer.
 *
 * Two queries, both as the caller and in the pull's own snapshot: the rows whose version the caller
 * hasn't seen, and the tombstones that it hasn't seen, may see, and that have no row of the same key
 * that it can see.  PostgreSQL applies the policies to both.  Rows are written as JSON straight
 * from the executor's slots, by a receiver that chose each column's writer once.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/codec.h"
#include "base/query.h"
#include "base/spi.h"
#include "base/sqltext.h"
#include "catalog/buried.h"
#include "catalog/pg_type.h"
#include "pull/collect.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#define MAX_PARAMS 6

/* A condition on versions, and its parameters. */
typedef struct Condition
{
	int			nparams;
	Oid			types[MAX_PARAMS];
	Datum		values[MAX_PARAMS];
} Condition;

/* ---------- the condition "unseen" ---------- */

static Datum
bigint_array(const int64 *values, int count)
{
	Datum	   *datums = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		datums[i] = Int64GetDatum(values[i]);
	return PointerGetDatum(construct_array(datums, count, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static int
add_param(Condition *condition, Oid type, Datum value)
{
	condition->types[condition->nparams] = type;
	condition->values[condition->nparams] = value;
	return ++condition->nparams;
}

/* Append "the version in this column is unseen". */
static void
append_unseen(StringInfo sql, const char *column, const OfsView *view, const OfsSince *since,
			  Condition *condition)
{
	int64	   *own;
	int			nown = ofs_since_own(since, view->table, &own);

	appendStringInfo(sql, "(%s OPERATOR(pg_catalog.>=) $%d", column,
					 add_param(condition, INT8OID, Int64GetDatum(since->from)));
	if (since->nrunning > 0)
		appendStringInfo(sql, " OR %s OPERATOR(pg_catalog.=) ANY ($%d)", column,
						 add_param(condition, INT8ARRAYOID,
								   bigint_array(since->running, since->nrunning)));
	appendStringInfoChar(sql, ')');
	if (nown > 0)
		appendStringInfo(sql, " AND %s OPERATOR(pg_catalog.<>) ALL ($%d)", column,
						 add_param(condition, INT8ARRAYOID, bigint_array(own, nown)));
}

/* ---------- writing rows ---------- */

typedef struct RowReceiver
{
	DestReceiver pub;
	const OfsView *view;
	const OfsSince *since;
	OfsPullMode mode;
	bool		covered;		/* an exact cursor covers the collection */
	const OfsPullOptions *options;
	OfsKeyCodec *key;
	int		   *key_position;	/* of the key's parts in the slot */
	OfsCodec  **codecs;
	char	  **prefixes;		/* ,"name": */
	int		   *prefix_lens;
	StringInfo	created;
	StringInfo	updated;
	StringInfoData id;
	Datum	   *parts;
	Relation	tomb;			/* open where rows may have been gained */
	MemoryContext row_context;
} RowReceiver;

static void
rows_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	RowReceiver *r = (RowReceiver *) self;
	const OfsTable *table = r->view->table;

	r->codecs = palloc(sizeof(OfsCodec *) * Max(r->view->ncolumns, 1));
	r->prefixes = palloc(sizeof(char *) * Max(r->view->ncolumns, 1));
	r->prefix_lens = palloc(sizeof(int) * Max(r->view->ncolumns, 1));
	for (int i = 0; i < r->view->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, table->nkey + i);
		StringInfoData prefix;

		r->codecs[i] = ofs_codec_create(att->atttypid, att->atttypmod, r->options->dialect);
		initStringInfo(&prefix);
		appendStringInfoChar(&prefix, ',');
		ofs_json_string(&prefix, r->view->names[i], strlen(r->view->names[i]));
		appendStringInfoChar(&prefix, ':');
		r->prefixes[i] = prefix.data;
		r->prefix_lens[i] = prefix.len;
	}
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

/* Does the row go under "created"? */
static bool
is_created(const RowReceiver *r, const Datum *hidden, const bool *nulls)
{
	int64		created = nulls[0] ? 0 : DatumGetInt64(hidden[0]);
	bool		made;

	if (r->mode == OFS_PULL_FIRST)
		return true;
	if (r->options->created_as_updated)
		return false;
	if (r->since->kind != OFS_SINCE_NUMBER && r->since->kind != OFS_SINCE_EXACT)
		return false;
	/* a collection that the cursor doesn't cover is one that the client hasn't got at all */
	if (r->since->kind == OFS_SINCE_EXACT && !r->covered)
		return true;
	/* an own row that comes back is one the client has */
	made = !ofs_since_covers(r->since, r->view->table, created) && !ofs_since_is_own(r->since, created);
	return r->tomb ? is_news(r, made, created, hidden[1], nulls[1]) : made;
}

static bool
rows_receive(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *r = (RowReceiver *) self;
	int			nkey = r->view->table->nkey;
	int			at = nkey + r->view->ncolumns;
	MemoryContext old;
	StringInfo	out;

	slot_getallattrs(slot);
	old = MemoryContextSwitchTo(r->row_context);
	for (int i = 0; i < nkey; i++)
		r->parts[i] = slot->tts_values[i];
	out = is_created(r, &slot->tts_values[at], &slot->tts_isnull[at]) ? r->created : r->updated;
	resetStringInfo(&r->id);
	ofs_key_write(r->key, &r->id, r->parts);

	appendBinaryStringInfo(out, out->len > 0 ? ",{\"id\":" : "{\"id\":", out->len > 0 ? 7 : 6);
	ofs_json_string(out, r->id.data, r->id.len);
	for (int i = 0; i < r->view->ncolumns; i++)
	{
		appendBinaryStringInfo(out, r->prefixes[i], r->prefix_lens[i]);
		ofs_codec_write(r->codecs[i], out, slot->tts_values[nkey + i], slot->tts_isnull[nkey + i]);
	}
	appendStringInfoCharMacro(out, '}');
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->row_context);
	return true;
}

static void
rows_end(DestReceiver *self)
{
}

static void
run(const char *sql, const Condition *condition, DestReceiver *dest)
{
	SPIPlanPtr	plan = ofs_query_prepare(sql, condition->nparams, condition->types);

	(void) ofs_query_run(plan, condition->nparams, condition->types, condition->values, NULL, true, dest);
	SPI_freeplan(plan);
}

/* Append the first unseen tombstone of the row that the caller may see. */
static void
append_first_seen(StringInfo sql, const OfsView *view, const OfsSince *since, Condition *condition)
{
	const OfsTable *table = view->table;

	appendStringInfo(sql, ", (SELECT pg_catalog.min(d." OFS_TOMB_VERSION ") FROM %s d WHERE ",
					 ofs_relation_name(table->tombstone));
	ofs_append_key_match(sql, "d", "t", table->relid, table->nkey, table->key, table->key_types);
	appendStringInfoString(sql, " AND ");
	append_unseen(sql, "d." OFS_TOMB_VERSION, view, since, condition);
	appendStringInfoChar(sql, ')');
}

static void
collect_rows(const OfsView *view, const OfsSince *since, OfsPullMode mode,
			 const OfsPullOptions *options, StringInfo created, StringInfo updated)
{
	const OfsTable *table = view->table;
	RowReceiver r = {{rows_receive, rows_startup, rows_end, rows_end, DestNone}};
	Condition	condition = {0};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 0; i < table->nkey; i++)
		appendStringInfo(&sql, "t.%s, ", quote_identifier(get_attname(table->relid, table->key[i], false)));
	for (int i = 0; i < view->ncolumns; i++)
		appendStringInfo(&sql, "t.%s, ", quote_identifier(get_attname(table->relid, view->columns[i], false)));
	appendStringInfoString(&sql, "offsync$created");
	if (mode == OFS_PULL_INCREMENTAL && !options->created_as_updated && ofs_buried_since(table, since))
	{
		r.tomb = table_open(table->tombstone, AccessShareLock);
		append_first_seen(&sql, view, since, &condition);
	}
	appendStringInfo(&sql, " FROM %s t", ofs_relation_name(table->relid));
	if (mode == OFS_PULL_INCREMENTAL)
	{
		appendStringInfoString(&sql, " WHERE ");
		append_unseen(&sql, "offsync$version", view, since, &condition);
	}

	r.view = view;
	r.since = since;
	r.mode = mode;
	r.covered = ofs_since_collection(since, table) != NULL;
	r.options = options;
	r.created = created;
	r.updated = updated;
	r.key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	r.parts = palloc(sizeof(Datum) * table->nkey);
	initStringInfo(&r.id);
	r.row_context = AllocSetContextCreate(CurrentMemoryContext, "offsync row", ALLOCSET_DEFAULT_SIZES);
	run(sql.data, &condition, (DestReceiver *) &r);
	MemoryContextDelete(r.row_context);
	if (r.tomb)
		table_close(r.tomb, NoLock);
}

/* ---------- deletions ---------- */

typedef struct IdReceiver
{
	DestReceiver pub;
	int			nkey;
	OfsKeyCodec *key;
	StringInfo	out;
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
	if (r->out->len > 0)
		appendStringInfoCharMacro(r->out, ',');
	ofs_json_string(r->out, r->id.data, r->id.len);
	return true;
}

static void
collect_deleted(const OfsView *view, const OfsSince *since, StringInfo deleted)
{
	const OfsTable *table = view->table;
	IdReceiver	r = {{ids_receive, ids_startup, rows_end, rows_end, DestNone}};
	Condition	condition = {0};
	StringInfoData keys;
	StringInfoData sql;
	bool		same = true;

	initStringInfo(&keys);
	for (int i = 0; i < table->nkey; i++)
	{
		appendStringInfo(&keys, "%sd.%s", i > 0 ? ", " : "",
						 quote_identifier(get_attname(table->relid, table->key[i], false)));
		same = same && ofs_equal_is_same(table->relid, table->key[i]);
	}
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT DISTINCT ");
	/* ids, not keys: two that are equal may be spelt differently */
	if (!same)
		appendStringInfo(&sql, "ON (ROW(%s)) ", keys.data);
	appendStringInfo(&sql, "%s FROM %s d WHERE ", keys.data, ofs_relation_name(table->tombstone));
	append_unseen(&sql, "d." OFS_TOMB_VERSION, view, since, &condition);
	appendStringInfo(&sql, " AND NOT EXISTS (SELECT FROM %s t WHERE ", ofs_relation_name(table->relid));
	ofs_append_key_match(&sql, "t", "d", table->relid, table->nkey, table->key, table->key_types);
	appendStringInfoChar(&sql, ')');
	if (!same)
		appendStringInfo(&sql, " ORDER BY ROW(%s) USING OPERATOR(pg_catalog.*<)", keys.data);

	r.nkey = table->nkey;
	r.key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	r.out = deleted;
	initStringInfo(&r.id);
	run(sql.data, &condition, (DestReceiver *) &r);
}

void
ofs_collect(const OfsView *view, const OfsSince *since, OfsPullMode mode,
			const OfsPullOptions *options, StringInfo out)
{
	StringInfoData created,
				updated,
				deleted;

	initStringInfo(&created);
	initStringInfo(&updated);
	initStringInfo(&deleted);
	collect_rows(view, since, mode, options, &created, &updated);
	if (mode == OFS_PULL_INCREMENTAL)
		collect_deleted(view, since, &deleted);

	appendStringInfoString(out, "{\"created\":[");
	appendBinaryStringInfo(out, created.data, created.len);
	appendStringInfoString(out, "],\"updated\":[");
	appendBinaryStringInfo(out, updated.data, updated.len);
	appendStringInfoString(out, "],\"deleted\":[");
	appendBinaryStringInfo(out, deleted.data, deleted.len);
	appendStringInfoString(out, "]}");
	pfree(created.data);
	pfree(updated.data);
	pfree(deleted.data);
}
