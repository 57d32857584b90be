/*
 * page.c
 *		Pulls that come in pages.
 *
 * All pages together are one pull: the one of the first page's snapshot.  Its cursor is the cursor of the whole; until
 * the last page it carries, too, how far the pages have come, and what the pull began with.  Each page goes on
 * where the one before ended, in the order of the keys, and so costs what it holds, as long as most of the table is asked
 * for.  The planner may find it cheaper to read a small part of it by version and to sort it: such a page costs what is left.
 *
 * A later page reads a later snapshot, yet tells only what the first one had seen already: whatever was written
 * since is left to the next pull, which tells of it because the cursor hasn't seen it.  So a device never holds a row that is newer
 * than its cursor, which the rules about rows that vanish rest upon.  A row that is left out this way is missed by nobody: it
 * comes, or is told as deleted, with the next pull.
 *
 * The policies may show other rows than they did, though.  Where that concerns a row that the first snapshot had
 * seen, the rest of the collection can't be told exactly any more: it is left out, and out of the cursor as well, and so
 * the next pull replaces the collection.
 *
 * Ids under "deleted" are told in any case: the device may not hold them, or not any more.
 */
#include "postgres.h"

#include "base/codec.h"
#include "base/errors.h"
#include "base/spi.h"
#include "base/sqltext.h"
#include "catalog/incarnation.h"
#include "catalog/keyorder.h"
#include "catalog/pg_type.h"
#include "catalog/retired.h"
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
#include "pull/page.h"
#include "pull/terms.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

/* ---------- going on ---------- */

static void
ereport_behind(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_BEHIND),
			 errmsg("this server has not seen all that the device has"),
			 errdetail_internal("%s", detail),
			 errhint("Try again later, or ask the primary.")));
}

static void
resume(OfsPaging *paging, const OfsSince *opened, uint64 arguments)
{
	if (opened->kind != OFS_SINCE_EXACT)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_GONE),
				 errmsg("the pull cannot be continued"),
				 errdetail("This server lost what the pages before had seen."),
				 errhint("Drop those pages and pull with the cursor that they began with. Where they have been"
						 " stored already, pull with null.")));
	if (opened->page->arguments != arguments)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("arguments of a pull changed from one page to the next"),
				 errhint("Repeat the same collections, migration and dialect with each page.")));
	if (!ofs_snapshot_covers(GetActiveSnapshot(), opened->cursor))
		ereport_behind(_("It has not seen what the pages before had."));
	paging->first = opened;
	paging->page = *opened->page;
	paging->started = paging->page.key != NULL;
	if (paging->started)
		appendStringInfoString(&paging->key, paging->page.key);
}

OfsPaging *
ofs_paging_create(int64 max_rows, const OfsSince *opened, const char *origin, uint64 arguments)
{
	OfsPaging  *paging = palloc0(sizeof(OfsPaging));

	paging->room = max_rows;
	initStringInfo(&paging->key);
	if (opened->page)
	{
		resume(paging, opened, arguments);
		return paging;
	}
	paging->page.origin = origin;
	paging->page.arguments = arguments;
	paging->page.collections = palloc(sizeof(OfsPageCollection));
	return paging;
}

OfsPageCollection *
ofs_paging_find(OfsPaging *paging, const OfsTable *table)
{
	OfsPage    *page = &paging->page;

	for (int i = 0; i < page->ncollections; i++)
		if (page->collections[i].hash == table->hash)
			return &page->collections[i];
	if (paging->first)
		return NULL;
	page->collections = repalloc(page->collections, sizeof(OfsPageCollection) * (page->ncollections + 1));
	page->collections[page->ncollections] = (OfsPageCollection) {table->hash, 0, OFS_PAGE_OPEN};
	return &page->collections[page->ncollections++];
}

void
ofs_paging_require(OfsPaging *paging, List *wanted)
{
	List	   *retired = ofs_retired_list();

	for (int i = 0; i < paging->page.ncollections; i++)
	{
		bool		found = paging->page.collections[i].state != OFS_PAGE_OPEN;
		ListCell   *lc;

		foreach(lc, wanted)
			found = found || ((OfsAsked *) lfirst(lc))->table->hash == paging->page.collections[i].hash;
		/* of one that was retired meanwhile there is no more */
		foreach(lc, retired)
			found = found || ofs_name_hash(lfirst(lc)) == paging->page.collections[i].hash;
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_OFS_MALFORMED),
					 errmsg("arguments of a pull changed from one page to the next"),
					 errdetail("A collection that is not finished is not asked for any more.")));
	}
}

/* ---------- what the view was ---------- */

typedef struct AnyReceiver
{
	DestReceiver pub;
	bool		any;
} AnyReceiver;

static void
any_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static bool
any_receive(TupleTableSlot *slot, DestReceiver *self)
{
	((AnyReceiver *) self)->any = true;
	return false;
}

static void
any_end(DestReceiver *self)
{
}

/*
 * The sets that policies look rows up in change all the time where much is written.  It matters where a row that the
 * first page's snapshot had seen, and that is as it was, came or went thereby.
 */
bool
ofs_paging_moved(OfsPaging *paging, OfsTable *table)
{
	OfsVerdict *verdict = ofs_judge_ask(paging->still, table);
	AnyReceiver r = {{any_receive, any_startup, any_end, any_end, DestNone}};
	OfsUnseen	params = {0};
	StringInfoData sql;

	if (verdict->replaced)
		return true;
	if (verdict->answer == NULL || IsA(verdict->answer->moved, Const))
		return false;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT FROM %s offsync$u WHERE offsync$u$moved"
					 " AND ((offsync$u$was) IS TRUE) OPERATOR(pg_catalog.<>) ((offsync$u$is) IS TRUE) AND (",
					 ofs_relation_name(table->relid));
	ofs_unseen_append(&sql, psprintf("offsync$u$%d", table->version), table, paging->first, &params);
	appendStringInfoString(&sql, ") IS NOT TRUE LIMIT 1");
	ofs_terms_run(sql.data, table, verdict->answer, &params, (DestReceiver *) &r);
	return r.any;
}

/* ---------- taking ---------- */

void
ofs_paging_go(OfsPaging *paging, const OfsPageCollection *place)
{
	if (paging->page.at == place->hash)
		return;
	paging->page.at = place->hash;
	paging->page.part = OFS_PART_ROWS;
	paging->started = false;
}

bool
ofs_paging_enter(OfsPaging *paging, OfsPagePart part)
{
	if (paging == NULL)
		return true;
	if (paging->full || paging->page.part > (int) part)
		return false;
	if (paging->page.part < (int) part)
		paging->started = false;
	paging->page.part = part;
	return true;
}

bool
ofs_paging_take(OfsPaging *paging, const StringInfo id)
{
	if (paging == NULL)
		return true;
	if (paging->room == 0)
	{
		paging->full = true;
		return false;
	}
	paging->room--;
	paging->started = true;
	resetStringInfo(&paging->key);
	appendBinaryStringInfo(&paging->key, id->data, id->len);
	return true;
}

/* ---------- statements ---------- */

static bool
has_domain(const OfsTable *table)
{
	for (int i = 0; i < table->nkey; i++)
		if (getBaseType(table->key_types[i]) != table->key_types[i])
			return true;
	return false;
}

/* Append the key that the pages have come to. */
static void
append_position(StringInfo sql, const OfsPaging *paging, const OfsTable *table, OfsUnseen *params)
{
	Datum	   *parts = palloc(sizeof(Datum) * table->nkey);

	ofs_key_read(ofs_key_create(table->nkey, table->key_types, table->key_typmods), paging->key.data, parts);
	for (int i = 0; i < table->nkey; i++)
		appendStringInfo(sql, "%s$%d::%s", i > 0 ? ", " : "",
						 ofs_unseen_param(params, getBaseType(table->key_types[i]), parts[i]),
						 ofs_base_type_name(table->key_types[i]));
}

/* Append "AND it comes behind the key that the pages have come to ORDER BY key LIMIT". */
static void
append_order(StringInfo sql, const OfsPaging *paging, const OfsTable *table, const char *alias, const char *operator,
			 OfsUnseen *params)
{
	const char *row = operator ? table->nkey > 1 ? "ROW" : "" : "ROW";

	if (paging->started)
	{
		appendStringInfo(sql, operator ? " AND %s(" : " AND pg_catalog.record_image_gt(%s(", row);
		ofs_keyorder_columns(sql, table, alias);
		if (operator)
			appendStringInfo(sql, ") %s %s(", operator, row);
		else
			appendStringInfoString(sql, "), ROW(");
		append_position(sql, paging, table, params);
		appendStringInfoString(sql, operator ? ")" : "))");
	}
	appendStringInfoString(sql, " ORDER BY ");
	ofs_keyorder_by(sql, table, alias);
	/* one more tells whether there are more */
	appendStringInfo(sql, " LIMIT $%d", ofs_unseen_param(params, INT8OID, Int64GetDatum(paging->room + 1)));
	/* which way to the rows is the best depends on where the page begins, and on how many it takes */
	params->options = CURSOR_OPT_CUSTOM_PLAN;
}

void
ofs_paging_append(StringInfo sql, const OfsPaging *paging, const OfsTable *table, OfsUnseen *params)
{
	ofs_unseen_append_scope(sql, params);
	if (paging == NULL)
		return;
	if (paging->first)
	{
		appendStringInfoString(sql, " AND (");
		ofs_unseen_append(sql, "offsync$version", table, paging->first, params);
		appendStringInfoString(sql, ") IS NOT TRUE");
	}
	append_order(sql, paging, table, "t", ofs_keyorder_operator(table), params);
}

void
ofs_paging_wrap(StringInfo sql, const OfsPaging *paging, const OfsTable *table, const char *alias, OfsUnseen *params)
{
	char	   *operator = ofs_keyorder_operator(table);
	StringInfoData whole;

	if (paging == NULL)
		return;
	/* DISTINCT lets nothing be sorted by that isn't selected, and of a domain the base type is */
	if (alias && operator && !has_domain(table))
	{
		append_order(sql, paging, table, alias, operator, params);
		return;
	}
	initStringInfo(&whole);
	appendStringInfo(&whole, "SELECT * FROM (%s) AS i(", sql->data);
	for (int i = 0; i < table->nkey; i++)
		appendStringInfo(&whole, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(get_attname(table->relid, table->key[i], false)));
	appendStringInfoString(&whole, ") WHERE true");
	append_order(&whole, paging, table, "i", operator, params);
	*sql = whole;
}

/* ---------- the cursor ---------- */

static bool
is_whole(const OfsPage *page, uint64 hash)
{
	for (int i = 0; i < page->ncollections; i++)
		if (page->collections[i].hash == hash)
			return page->collections[i].state == OFS_PAGE_DONE;
	return false;
}

/* A collection that was left out in the end, the device doesn't hold. */
static void
forget_lacking(const OfsPage *page, OfsCursor *cursor)
{
	int			kept = 0;

	for (int i = 0; i < cursor->ncollections; i++)
		if (is_whole(page, cursor->collections[i].hash))
			cursor->collections[kept++] = cursor->collections[i];
	cursor->ncollections = kept;
}

void
ofs_paging_seal(OfsPaging *paging, const OfsSince *since, const OfsCursor **cursor, int64 *timestamp)
{
	OfsCursor  *next = palloc(sizeof(OfsCursor));
	OfsPage    *page = &paging->page;
	StringInfoData bytes;
	bool		whole = true;

	if (paging->first)
		*cursor = paging->first->cursor;
	else
		page->timestamp = *timestamp;
	/* the snapshot is behind, and the cursor the client's own */
	if (*cursor == since->cursor)
	{
		if (paging->full)
			ereport_behind(_("There are more pages."));
		return;
	}
	*next = **cursor;
	*cursor = next;
	next->page = NULL;
	next->page_len = 0;
	for (int i = 0; i < page->ncollections; i++)
		whole = whole && page->collections[i].state == OFS_PAGE_DONE;
	/* a number says nothing of single collections */
	*timestamp = whole ? (int64) page->timestamp : ofs_since_number(since);
	if (!paging->full)
	{
		forget_lacking(page, next);
		return;
	}
	page->key = paging->started ? paging->key.data : NULL;
	initStringInfo(&bytes);
	ofs_page_pack(page, &bytes);
	next->page = (const uint8 *) bytes.data;
	next->page_len = bytes.len;
}
