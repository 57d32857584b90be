/*
 * scan.c
 *		Every row of a collection that the caller sees.
 *
 * One SELECT as the caller, so row-level security is asked as it is at that moment: what policies depend on
 * doesn't matter here.  Nothing that a device says becomes part of it.
 */
#include "postgres.h"

#include "base/beneath.h"
#include "base/compat.h"
#include "base/query.h"
#include "base/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "verify/scan.h"

typedef struct Receiver
{
	DestReceiver pub;
	int			nkey;
	int			version;		/* place in the slot */
	OfsKeyCodec *key;
	OfsScanVisit visit;
	void	   *arg;
	OfsScanRow	row;
	StringInfoData id;
	MemoryContext context;		/* of a row */
} Receiver;

bool
ofs_scan_buckets_valid(int64 buckets)
{
	return buckets >= 1 && buckets <= OFS_SCAN_BUCKETS && (buckets & (buckets - 1)) == 0;
}

static bool
is_ascii(const char *text, int len)
{
	for (int i = 0; i < len; i++)
		if (IS_HIGHBIT_SET(text[i]))
			return false;
	return true;
}

OfsIdHash
ofs_scan_hash(const char *id, int len)
{
	OfsIdHash	hash;

	ofs_idhash_start(&hash);
	if (GetDatabaseEncoding() != PG_UTF8 && !is_ascii(id, len))
	{
		id = pg_server_to_any(id, len, PG_UTF8);
		len = strlen(id);
	}
	ofs_idhash_add(&hash, id, len);
	return hash;
}

bool
ofs_scan_versions(const OfsView *view)
{
	for (int i = 0; i < view->ncolumns; i++)
		if (view->columns[i] == view->table->version)
			return true;
	return false;
}

static void
startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver   *r = (Receiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->context);

	slot_getallattrs(slot);
	resetStringInfo(&r->id);
	ofs_key_write(r->key, &r->id, slot->tts_values);
	r->row.hash = ofs_scan_hash(r->id.data, r->id.len);
	r->row.version = slot->tts_isnull[r->version] ? 0 : DatumGetInt64(slot->tts_values[r->version]);
	r->row.slot = slot;
	r->visit(&r->row, r->arg);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->context);
	return true;
}

static void
finish(DestReceiver *self)
{
}

static char *
make_query(const OfsView *view, bool filtered, bool records)
{
	const OfsTable *table = view->table;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 0; i < table->nkey; i++)
		appendStringInfo(&sql, "t.%s, ", quote_identifier(get_attname(table->relid, table->key[i], false)));
	for (int i = 0; records && i < view->ncolumns; i++)
		appendStringInfo(&sql, "t.%s, ",
						 quote_identifier(get_attname(table->relid, view->columns[i], false)));
	appendStringInfo(&sql, "offsync$version FROM %s t", ofs_relation_name(table->relid));
	if (table->soft_delete != InvalidAttrNumber)
		appendStringInfo(&sql, " WHERE offsync$t$%d IS NULL", table->soft_delete);
	if (filtered)
		appendStringInfo(&sql, " %s offsync$t$filter", table->soft_delete != InvalidAttrNumber ? "AND" : "WHERE");
	return sql.data;
}

void
ofs_scan_run(const OfsView *view, const OfsFilter *filter, bool records, OfsScanVisit visit, void *arg)
{
	char	   *sql = make_query(view, filter != NULL, records);
	const OfsTable *table = view->table;
	Receiver	r = {{receive, startup, finish, finish, DestNone}};

	r.nkey = table->nkey;
	r.version = table->nkey + (records ? view->ncolumns : 0);
	r.key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	r.visit = visit;
	r.arg = arg;
	initStringInfo(&r.id);
	r.row.id = &r.id;
	r.row.first = records ? table->nkey : -1;
	r.context = AllocSetContextCreate(CurrentMemoryContext, "offsync scan row", ALLOCSET_DEFAULT_SIZES);
	if (filter)
	{
		OfsNamedNode node = {'t', "filter", ofs_filter_node(filter)};

		ofs_beneath_run(sql, 0, NULL, NULL, NIL, list_make1(&node), (DestReceiver *) &r);
	}
	else
		(void) ofs_query_run(ofs_query_keep(sql, 0, NULL), 0, NULL, NULL, NULL, true, (DestReceiver *) &r);
	MemoryContextDelete(r.context);
}
