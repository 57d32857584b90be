/*
 * deleted.c
 *		The ids under "deleted", but for those of rows that are soft-deleted (collect.c).
 */
#include "postgres.h"

#include "base/spi.h"
#include "base/sqltext.h"
#include "pull/deleted.h"
#include "pull/moved.h"
#include "pull/terms.h"
#include "pull/unseen.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

void
ofs_deleted_append(StringInfo out, const StringInfo id)
{
	appendStringInfoString(out, out->len > 0 ? "," : "");
	ofs_json_string(out, id->data, id->len);
}

typedef struct IdReceiver
{
	DestReceiver pub;
	int			nkey;
	OfsKeyCodec *key;
	StringInfo	out;
	StringInfoData id;
	OfsPaging  *paging;
} IdReceiver;

static void
ids_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
ids_end(DestReceiver *self)
{
}

static bool
ids_receive(TupleTableSlot *slot, DestReceiver *self)
{
	IdReceiver *r = (IdReceiver *) self;

	slot_getallattrs(slot);
	resetStringInfo(&r->id);
	ofs_key_write(r->key, &r->id, slot->tts_values);
	if (!ofs_paging_take(r->paging, &r->id))
		return false;
	ofs_deleted_append(r->out, &r->id);
	return true;
}

/* Append a SELECT of the keys of unseen tombstones that the caller may see, and which have no row that it can see. */
static void
append_deleted(StringInfo sql, const OfsView *view, const OfsSince *since, bool soft_rows, OfsUnseen *params)
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
	if (!soft_rows)
		ofs_unseen_append_told(sql, table, since, params);
	appendStringInfoChar(sql, ')');
	if (!same)
		appendStringInfo(sql, " ORDER BY ROW(%s) USING OPERATOR(pg_catalog.*<)", keys.data);
}

void
ofs_deleted_collect(const OfsVerdict *verdict, const OfsSince *since, bool buried, const OfsPullOptions *options,
				StringInfo deleted)
{
	const OfsTable *table = verdict->view->table;
	IdReceiver	r = {{ids_receive, ids_startup, ids_end, ids_end, DestNone}};
	OfsUnseen	params = {0};
	StringInfoData sql;

	r.nkey = table->nkey;
	r.paging = options->paging;
	r.key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	r.out = deleted;
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
		ofs_paging_wrap(&sql, options->paging, table, &params);
		ofs_terms_run(sql.data, table, ofs_judge_shift(verdict), &params, (DestReceiver *) &r);
	}
	else if (buried)
	{
		append_deleted(&sql, verdict->view, since, options->soft_rows, &params);
		ofs_paging_wrap(&sql, options->paging, table, &params);
		ofs_unseen_run(sql.data, &params, (DestReceiver *) &r);
	}
}

/* Where policies read other tables, old tombstones would be shown by today's memberships: nothing is told of them then. */
void
ofs_deleted_remembered(const OfsVerdict *verdict, const OfsPullOptions *options, StringInfo deleted)
{
	const OfsView *view = verdict->view;
	OfsSince	ever = {OFS_SINCE_NUMBER};

	if (view->opaque == NULL && view->blind == NULL && view->sets == NIL && view->all_events == NIL)
		ofs_deleted_collect(verdict, &ever, true, options, deleted);
}
