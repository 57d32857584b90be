/*
 * moved.c
 *		Rows that came into view, or went out of it, though nobody touched them.
 *
 * A live row that nobody moved since the cursor has left no unseen tombstone, so that what its policies read is what
 * it was, and the old view on the present row says whether the caller held it.  Of any other key it is the first
 * unseen tombstone that tells: its image is what stood there at the cursor.  First by time: of two transactions
 * that wrote a row, the one with the greater version may have been the earlier.
 *
 * Rows out of sight are looked at beneath row-level security, since today's policies hide them; that the caller could
 * see them at the cursor is what the old view says, from sets that the cursor's seal vouches for.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/foreignkey.h"
#include "base/spi.h"
#include "base/sqltext.h"
#include "catalog/buried.h"
#include "catalog/setvalue.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "pull/moved.h"
#include "pull/terms.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Beyond that the collections of children are replaced. */
#define MAX_KEYS	100000

#define ROW			"\"offsync$u\""
#define TOMB		"\"offsync$b\""
#define EARLIER		"\"offsync$c\""
#define PUSHED		"\"offsync$p\""

/* ---------- pieces ---------- */

static const char *
row_column(AttrNumber attnum, char alias)
{
	return psprintf("offsync$%c$%d", alias, attnum);
}

static const char *
tomb_column(const OfsTable *table, const char *name, char alias)
{
	return row_column(get_attnum(table->tombstone, name), alias);
}

/* What counts as seen. */
typedef struct Sight
{
	const OfsSince *unseen;		/* of tombstones */
	const OfsSince *made;		/* of rows that were made */
	bool		any;			/* of what the device pushed it may hold any state since: any tombstone tells */
} Sight;

/* The device's own, with what it has pushed. */
static Sight
own_sight(const OfsSince *since)
{
	Sight		sight = {since, since, since->kind == OFS_SINCE_EXACT && since->cursor->nown > 0};

	return sight;
}

static void
append_match(StringInfo sql, const OfsTable *table, const char *left, const char *right)
{
	ofs_append_key_match(sql, left, right, table->relid, table->nkey, table->key, table->key_types);
}

static void
append_keys(StringInfo sql, const OfsTable *table, const char *alias)
{
	for (int i = 0; i < table->nkey; i++)
		appendStringInfo(sql, "%s%s.%s", i > 0 ? ", " : "", alias,
						 quote_identifier(get_attname(table->relid, table->key[i], false)));
}

static void
append_unseen_tomb(StringInfo sql, const OfsTable *table, const Sight *sight, char alias, OfsUnseen *params)
{
	ofs_unseen_append(sql, tomb_column(table, OFS_TOMB_VERSION, alias), table, sight->unseen, params);
}

/* " AND NOT EXISTS (an unseen tombstone of the row's key)" */
static void
append_not_buried(StringInfo sql, const OfsTable *table, const Sight *sight, const char *row, OfsUnseen *params)
{
	appendStringInfo(sql, " AND NOT EXISTS (SELECT FROM %s " TOMB " WHERE ", ofs_relation_name(table->tombstone));
	append_match(sql, table, TOMB, row);
	appendStringInfoString(sql, " AND ");
	append_unseen_tomb(sql, table, sight, 'b', params);
	appendStringInfoChar(sql, ')');
}

static void
append_made(StringInfo sql, const OfsTable *table, const Sight *sight, char alias, OfsUnseen *params)
{
	const char *column = alias == 'b' || alias == 'c' ? tomb_column(table, OFS_TOMB_CREATED, alias) :
		row_column(table->created_version, alias);

	/* one made before all that is kept has been seen */
	appendStringInfoString(sql, "COALESCE(");
	ofs_unseen_append_made(sql, column, sight->made, params);
	appendStringInfoString(sql, ", false)");
}

/*
 * The tombstone's image is of a row that the device itself had made, or moved, before.  An image from before its own
 * push it needn't have held: a cascade may have taken what it never saw.
 */
static void
append_pushed(StringInfo sql, const OfsTable *table, const Sight *sight, char alias, OfsUnseen *params)
{
	appendStringInfoString(sql, "NOT ");
	ofs_unseen_append_own(sql, tomb_column(table, OFS_TOMB_VERSION, alias), sight->made, params);
	appendStringInfoString(sql, " AND (");
	ofs_unseen_append_own(sql, tomb_column(table, OFS_TOMB_CREATED, alias), sight->made, params);
	appendStringInfo(sql, " OR EXISTS (SELECT FROM %s " PUSHED " WHERE ", ofs_relation_name(table->tombstone));
	append_match(sql, table, PUSHED, alias == 'b' ? TOMB : EARLIER);
	appendStringInfo(sql, " AND %s OPERATOR(pg_catalog.<) %s AND ", tomb_column(table, OFS_TOMB_AT, 'p'),
					 tomb_column(table, OFS_TOMB_AT, alias));
	ofs_unseen_append_own(sql, tomb_column(table, OFS_TOMB_VERSION, 'p'), sight->made, params);
	appendStringInfoString(sql, "))");
}

/* The tombstone's image is of a row that the caller held: at the cursor, or since it pushed it. */
static void
append_held_image(StringInfo sql, const OfsTable *table, const Sight *sight, char alias, OfsUnseen *params)
{
	appendStringInfo(sql, "((offsync$%c$was) IS TRUE", alias);
	if (sight->any)
	{
		appendStringInfo(sql, " OR ((offsync$%c$is) IS TRUE AND ", alias);
		append_pushed(sql, table, sight, alias, params);
		appendStringInfoChar(sql, ')');
	}
	appendStringInfoString(sql, ") AND NOT ");
	append_made(sql, table, sight, alias, params);
}

/* The tombstone is the first unseen one of its key; or of those whose image was held. */
static void
append_first(StringInfo sql, const OfsTable *table, const Sight *sight, OfsUnseen *params)
{
	append_unseen_tomb(sql, table, sight, 'b', params);
	appendStringInfo(sql, " AND NOT EXISTS (SELECT FROM %s " EARLIER " WHERE ", ofs_relation_name(table->tombstone));
	append_match(sql, table, EARLIER, TOMB);
	appendStringInfoString(sql, " AND ");
	append_unseen_tomb(sql, table, sight, 'c', params);
	if (sight->any)
	{
		appendStringInfoString(sql, " AND ");
		append_held_image(sql, table, sight, 'c', params);
	}
	appendStringInfo(sql, " AND ROW(%s, %s) OPERATOR(pg_catalog.<) ROW(%s, %s))",
					 tomb_column(table, OFS_TOMB_AT, 'c'), tomb_column(table, OFS_TOMB_VERSION, 'c'),
					 tomb_column(table, OFS_TOMB_AT, 'b'), tomb_column(table, OFS_TOMB_VERSION, 'b'));
}

static const char *
tomb_name(const OfsTable *table)
{
	return ofs_relation_name(table->tombstone);
}

/* ---------- a collection's own ---------- */

void
ofs_moved_append_held(StringInfo sql, const OfsVerdict *verdict, const OfsSince *since, bool buried, OfsUnseen *params)
{
	const OfsTable *table = verdict->view->table;
	Sight		sight = {since, since, false};

	if (buried)
	{
		appendStringInfo(sql, "CASE WHEN EXISTS (SELECT FROM %s " TOMB " WHERE ", tomb_name(table));
		append_match(sql, table, TOMB, "t");
		appendStringInfoString(sql, " AND ");
		append_unseen_tomb(sql, table, &sight, 'b', params);
		appendStringInfo(sql, ") THEN EXISTS (SELECT FROM %s " TOMB " WHERE ", tomb_name(table));
		append_match(sql, table, TOMB, "t");
		appendStringInfoString(sql, " AND ");
		append_first(sql, table, &sight, params);
		appendStringInfoString(sql, " AND ");
		append_held_image(sql, table, &sight, 'b', params);
		appendStringInfoString(sql, " AND NOT ");
		ofs_unseen_append_gone(sql, table, true, 'b');
		appendStringInfoString(sql, ") ELSE ");
	}
	appendStringInfoString(sql, "(offsync$t$was) IS TRUE AND NOT ");
	append_made(sql, table, &sight, 't', params);
	appendStringInfoString(sql, buried ? " END" : "");
}

void
ofs_moved_append_gained(StringInfo sql, const OfsVerdict *verdict, const OfsSince *since, OfsUnseen *params)
{
	const OfsTable *table = verdict->view->table;

	appendStringInfoString(sql, "offsync$t$filter AND offsync$t$moved AND (offsync$t$was) IS NOT TRUE AND NOT ");
	/* what the device itself wrote last it holds */
	ofs_unseen_append(sql, "offsync$version", table, ofs_since_strict(since), params);
	appendStringInfoString(sql, " AND NOT ");
	ofs_unseen_append_gone(sql, table, false, 't');
}

/* Live rows that went out of view; "gone" ones count, where they do, as rows. */
static void
append_lost_rows(StringInfo sql, const OfsTable *table, const Sight *sight, bool buried, OfsUnseen *params)
{
	appendStringInfoString(sql, "SELECT ");
	append_keys(sql, table, ROW);
	appendStringInfo(sql, " FROM %s " ROW " WHERE offsync$u$moved AND offsync$u$was AND (offsync$u$is) IS NOT TRUE"
					 " AND NOT ", ofs_relation_name(table->relid));
	append_made(sql, table, sight, 'u', params);
	if (buried)
		append_not_buried(sql, table, sight, ROW, params);
}

/* Tombstones of rows that the caller held. */
static void
append_lost_tombs(StringInfo sql, const OfsTable *table, const Sight *sight, OfsUnseen *params)
{
	appendStringInfoString(sql, "SELECT ");
	append_keys(sql, table, TOMB);
	appendStringInfo(sql, " FROM %s " TOMB " WHERE ", tomb_name(table));
	append_first(sql, table, sight, params);
	appendStringInfoString(sql, " AND ");
	append_held_image(sql, table, sight, 'b', params);
}

bool
ofs_moved_sees_tombs(OfsView *view, const OfsSince *since)
{
	OfsUnseen	params;
	StringInfoData sql;

	ofs_unseen_begin_tombs(&params, view);
	params.options = CURSOR_OPT_GENERIC_PLAN;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT FROM %s d WHERE ", tomb_name(view->table));
	ofs_unseen_append(&sql, "d." OFS_TOMB_VERSION, view->table, since, &params);
	ofs_unseen_append_scope(&sql, &params);
	appendStringInfoString(&sql, " LIMIT 1");
	return ofs_unseen_run(sql.data, &params, NULL) > 0;
}

void
ofs_moved_append_lost(StringInfo sql, const OfsVerdict *verdict, const OfsSince *since, bool buried, OfsUnseen *params)
{
	const OfsTable *table = verdict->view->table;
	Sight		sight = own_sight(since);

	append_lost_rows(sql, table, &sight, buried, params);
	appendStringInfoString(sql, " AND NOT ");
	ofs_unseen_append_gone(sql, table, false, 'u');
	if (!buried)
		return;
	appendStringInfoString(sql, " UNION ALL ");
	append_lost_tombs(sql, table, &sight, params);
	appendStringInfoString(sql, " AND NOT ");
	ofs_unseen_append_gone(sql, table, true, 'b');
	appendStringInfo(sql, " AND NOT EXISTS (SELECT FROM %s t WHERE ", ofs_relation_name(table->relid));
	append_match(sql, table, "t", TOMB);
	appendStringInfoString(sql, " AND offsync$t$filter");
	ofs_unseen_append_told(sql, table, since, params);
	appendStringInfoChar(sql, ')');
}

/* ---------- keys for children ---------- */

typedef struct KeyReceiver
{
	DestReceiver pub;
	OfsSetItem *keys;
	int			count;
	int			room;
	bool		full;
} KeyReceiver;

static void
keys_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static bool
keys_receive(TupleTableSlot *slot, DestReceiver *self)
{
	KeyReceiver *r = (KeyReceiver *) self;

	r->full = r->count == MAX_KEYS;
	if (r->full)
		return false;
	if (r->count == r->room)
		r->keys = repalloc(r->keys, sizeof(OfsSetItem) * (r->room *= 2));
	slot_getallattrs(slot);
	ofs_setvalue_item(&r->keys[r->count++], GetMemoryChunkContext(r->keys), slot->tts_values[0],
					  TupleDescAttr(slot->tts_tupleDescriptor, 0)->atttypid);
	return true;
}

static void
keys_end(DestReceiver *self)
{
}

/* The keys that a statement answers; false when they are too many. */
static bool
fetch_keys(const StringInfo sql, const OfsVerdict *verdict, const OfsUnseen *params, OfsSetItem **keys, int *count)
{
	KeyReceiver r = {{keys_receive, keys_startup, keys_end, keys_end, DestNone}};
	OfsShift	shift = {verdict->was, verdict->was, makeBoolConst(false, false), NULL};

	r.room = 16;
	r.keys = palloc(sizeof(OfsSetItem) * r.room);
	if (sql->len > 0)
		ofs_terms_run(sql->data, verdict->view->table, verdict->shift ? verdict->shift : &shift, params,
					  (DestReceiver *) &r);
	*keys = r.keys;
	*count = r.count;
	return !r.full;
}

static void
append_union(StringInfo sql)
{
	if (sql->len > 0)
		appendStringInfoString(sql, " UNION ALL ");
}

/* A condition on the live row of a tombstone's key that the caller sees. */
static void
append_live(StringInfo sql, const OfsTable *table)
{
	appendStringInfo(sql, "EXISTS (SELECT FROM %s t WHERE ", ofs_relation_name(table->relid));
	append_match(sql, table, "t", TOMB);
	appendStringInfoChar(sql, ')');
}

static bool
fetch_lost(const OfsVerdict *verdict, const Sight *sight, bool buried, OfsMovedKeys *keys)
{
	const OfsTable *table = verdict->view->table;
	OfsUnseen	params = {0};
	StringInfoData sql;

	initStringInfo(&sql);
	if (verdict->shift)
		append_lost_rows(&sql, table, sight, buried, &params);
	if (buried)
	{
		append_union(&sql);
		append_lost_tombs(&sql, table, sight, &params);
		appendStringInfoString(&sql, " AND NOT ");
		append_live(&sql, table);
	}
	return fetch_keys(&sql, verdict, &params, &keys->lost, &keys->nlost);
}

static bool
fetch_gained(const OfsVerdict *verdict, const Sight *sight, bool buried, OfsMovedKeys *keys)
{
	const OfsTable *table = verdict->view->table;
	OfsUnseen	params = {0};
	StringInfoData sql;

	initStringInfo(&sql);
	if (verdict->shift)
	{
		appendStringInfoString(&sql, "SELECT ");
		append_keys(&sql, table, "t");
		appendStringInfo(&sql, " FROM %s t WHERE offsync$t$moved AND (offsync$t$was) IS NOT TRUE AND NOT ",
						 ofs_relation_name(table->relid));
		append_made(&sql, table, sight, 't', &params);
		if (buried)
			append_not_buried(&sql, table, sight, "t", &params);
	}
	if (buried)
	{
		append_union(&sql);
		appendStringInfoString(&sql, "SELECT ");
		append_keys(&sql, table, TOMB);
		appendStringInfo(&sql, " FROM %s " TOMB " WHERE ", tomb_name(table));
		append_first(&sql, table, sight, &params);
		appendStringInfoString(&sql, " AND NOT (");
		append_held_image(&sql, table, sight, 'b', &params);
		appendStringInfoString(&sql, ") AND ");
		append_live(&sql, table);
	}
	return fetch_keys(&sql, verdict, &params, &keys->gained, &keys->ngained);
}

/*
 * The device's own transactions count as unseen here: what it pushed to this collection it holds, but not what that
 * brought into view, or took out of it, of others.
 */
OfsMovedKeys *
ofs_moved_keys(const OfsVerdict *verdict, const OfsSince *since)
{
	OfsMovedKeys *keys = palloc0(sizeof(OfsMovedKeys));
	bool		buried = ofs_buried_since(verdict->view->table, since);
	Sight		lost = own_sight(since);
	Sight		gained = {ofs_since_strict(since), ofs_since_strict(since), false};

	lost.unseen = gained.unseen;
	if (!fetch_lost(verdict, &lost, buried, keys) || !fetch_gained(verdict, &gained, buried, keys))
		return NULL;
	return keys;
}

/* Does a foreign key of the child say that its column holds keys of the parent? */
static bool
refers_to(const OfsTable *child, const OfsSetFact *fact)
{
	Relation	rel;
	bool		found = false;
	ListCell   *lc;

	if (!IsA(fact->tested, Var))
		return false;
	rel = table_open(child->relid, AccessShareLock);
	foreach(lc, ofs_foreign_keys(rel))
	{
		ForeignKeyCacheInfo *key = lfirst(lc);

		found = found || (key->nkeys == 1 && key->confrelid == fact->parent &&
						  key->conkey[0] == ((Var *) fact->tested)->varattno &&
						  key->confkey[0] == fact->parent_column);
	}
	table_close(rel, NoLock);
	return found;
}

OfsMovedKeys *
ofs_moved_with_new(const OfsVerdict *verdict, const OfsTable *child, const OfsSetFact *fact, const OfsSince *since)
{
	const OfsTable *table = verdict->view->table;
	Sight		sight = {ofs_since_strict(since), ofs_since_strict(since), false};
	OfsMovedKeys *keys;
	OfsSetItem *news;
	int			count;
	OfsUnseen	params = {0};
	StringInfoData sql;

	/* where it doesn't decide by itself, a row without a value minds whether the set is empty */
	if (fact->decides && refers_to(child, fact))
		return verdict->keys;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	append_keys(&sql, table, "t");
	appendStringInfo(&sql, " FROM %s t WHERE ", ofs_relation_name(table->relid));
	append_made(&sql, table, &sight, 't', &params);
	append_not_buried(&sql, table, &sight, "t", &params);
	if (!fetch_keys(&sql, verdict, &params, &news, &count))
		return NULL;
	keys = palloc(sizeof(OfsMovedKeys));
	*keys = *verdict->keys;
	keys->gained = palloc(sizeof(OfsSetItem) * (verdict->keys->ngained + count + 1));
	memcpy(keys->gained, verdict->keys->gained, sizeof(OfsSetItem) * verdict->keys->ngained);
	memcpy(keys->gained + verdict->keys->ngained, news, sizeof(OfsSetItem) * count);
	keys->ngained += count;
	return keys;
}
