/*
 * notice.c
 *		NOTIFY for collections that were enabled with notify => true.
 *
 * A device that listens needn't ask again and again.  It is told, once for each transaction and collection, that there is
 * something to pull, and nothing of what: {"collection": "task", "client": "9f86d0..."}.  Everybody in the database may
 * listen to any channel, so what a device calls itself, which is its own affair and may say whose it is, goes as a
 * SHA-256.  The device knows its own, and passes over notices that tell it of nothing but its own push.
 *
 * So a notice is signed only where the device has all that the transaction wrote to the collection.  It isn't where the
 * push stored something otherwise than it was sent, or wrote rows beside those sent; where the transaction wrote
 * before or behind the push; and where what policies read was written, since that may bring other rows.
 *
 * They are collected, and sent as the transaction commits, because only then it is known who may sign.  That leaves
 * PREPARE TRANSACTION possible, which PostgreSQL refuses behind a NOTIFY: what is prepared is told to nobody.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "catalog/access.h"
#include "catalog/notice.h"
#include "catalog/synced.h"
#include "commands/async.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/memutils.h"

typedef struct Notice
{
	Oid			relid;
	char	   *collection;
	int			level;			/* of the subtransaction that it would be gone with */
	bool		shared;			/* it concerns its pusher, too */
	const char *client;			/* who has all of it already; NULL: nobody */
} Notice;

static List *notices = NIL;		/* of this transaction, in its memory */
static bool registered = false;

/* ---------- sending ---------- */

static void
send_notice(const Notice *notice)
{
	StringInfoData payload;

	initStringInfo(&payload);
	appendStringInfoString(&payload, "{\"collection\": ");
	escape_json(&payload, notice->collection);
	appendStringInfoString(&payload, ", \"client\": ");
	if (notice->client)
		escape_json(&payload, notice->client);
	else
		appendStringInfoString(&payload, "null");
	appendStringInfoChar(&payload, '}');
	Async_Notify(OFS_NOTICE_CHANNEL, payload.data);
	pfree(payload.data);
}

static void
transaction_event(XactEvent event, void *arg)
{
	ListCell   *lc;

	if (event == XACT_EVENT_PRE_COMMIT)
		foreach(lc, notices)
			send_notice(lfirst(lc));
	else if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		notices = NIL;
}

/* What a subtransaction wrote is gone with it, or is its parent's. */
static void
subtransaction_event(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	ListCell   *lc;

	if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	foreach(lc, notices)
	{
		Notice	   *notice = lfirst(lc);

		if (notice->level < level)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			notice->level = level - 1;
		else
			notices = foreach_delete_current(notices, lc);
	}
}

/* ---------- collecting ---------- */

static Notice *
find(Oid relid)
{
	ListCell   *lc;

	foreach(lc, notices)
		if (((Notice *) lfirst(lc))->relid == relid)
			return lfirst(lc);
	return NULL;
}

static Notice *
note(Oid relid, const char *collection)
{
	Notice	   *notice = find(relid);
	MemoryContext old;

	if (notice)
	{
		notice->client = NULL;
		return notice;
	}
	if (!registered)
	{
		RegisterXactCallback(transaction_event, NULL);
		RegisterSubXactCallback(subtransaction_event, NULL);
		registered = true;
	}
	old = MemoryContextSwitchTo(TopTransactionContext);
	notice = palloc0(sizeof(Notice));
	notice->relid = relid;
	notice->collection = pstrdup(collection);
	notice->level = GetCurrentTransactionNestLevel();
	notices = lappend(notices, notice);
	MemoryContextSwitchTo(old);
	return notice;
}

void
ofs_notice_row(Oid relid, const char *collection)
{
	(void) note(relid, collection);
}

void
ofs_notice_reset(Oid relid)
{
	ListCell   *lc;

	foreach(lc, ofs_table_told())
	{
		const OfsTold *told = lfirst(lc);

		if (told->relid == relid)
			note(relid, told->collection)->shared = true;
	}
}

void
ofs_notice_access(Oid relid)
{
	ListCell   *lc;

	foreach(lc, ofs_table_told())
	{
		const OfsTold *told = lfirst(lc);

		if (list_member_oid(ofs_access_tree(told->reads, NoLock), relid))
			note(told->relid, told->collection)->shared = true;
	}
}

/* ---------- signing ---------- */

/* In UTF-8, whatever the database is in: the device computes the same. */
static const char *
digest(const char *client_id)
{
	const char *utf8 = pg_server_to_any(client_id, strlen(client_id), PG_UTF8);
	Datum		hash = DirectFunctionCall1(sha256_bytea, PointerGetDatum(cstring_to_text(utf8)));

	return TextDatumGetCString(DirectFunctionCall2(binary_encode, hash, CStringGetTextDatum("hex")));
}

static bool
is_listed(List *tables, Oid relid)
{
	ListCell   *lc;

	foreach(lc, tables)
		if (((OfsTable *) lfirst(lc))->relid == relid)
			return true;
	return false;
}

void
ofs_notice_sign(const char *client_id, List *but)
{
	MemoryContext old;
	const char *client;
	ListCell   *lc;

	if (client_id == NULL || notices == NIL)
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	client = digest(client_id);
	MemoryContextSwitchTo(old);
	foreach(lc, notices)
	{
		Notice	   *notice = lfirst(lc);

		if (!notice->shared && !is_listed(but, notice->relid))
			notice->client = client;
	}
}
