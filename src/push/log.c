/*
 * log.c
 *		A push and the push log: sent again, and what its client had pushed before.
 *
 * A push_id says which push this is, so that one sent again, because its answer was lost, is not stored
 * again over what others wrote in between: it gets the first answer.  Whoever comes while the first one is at
 * work waits for its end.  A push that failed leaves no row, and may be repeated under its id with other records.
 *
 * An id is good for one client: role, subject and client_id.  To anybody else it means nothing.
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/horizon.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "push/push.h"
#include "utils/snapmgr.h"

static void
hash_text(pg_cryptohash_ctx *ctx, const char *text, size_t len)
{
	if (pg_cryptohash_update(ctx, (const uint8 *) text, len) < 0)
		elog(ERROR, "could not compute a digest");
}

/* What was sent, but for last_pulled_at, which may have moved on when it is sent again. */
static void
make_digest(const OfsPushCall *call, OfsDialect dialect, uint8 *digest)
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);
	char	   *options = psprintf("%d %s\n", (int) dialect, call->on_error ? call->on_error : "abort");

	if (ctx == NULL || pg_cryptohash_init(ctx) < 0)
		elog(ERROR, "could not compute a digest");
	hash_text(ctx, options, strlen(options));
	hash_text(ctx, VARDATA_ANY(call->changes), VARSIZE_ANY_EXHDR(call->changes));
	if (pg_cryptohash_final(ctx, digest, OFS_DIGEST_LEN) < 0)
		elog(ERROR, "could not compute a digest");
	pg_cryptohash_free(ctx);
}

/* The argument, or else the request's header. */
static const char *
find_push_id(const OfsPushCall *call)
{
	const char *push_id = call->push_id;

	if (push_id == NULL || push_id[0] == '\0')
		push_id = ofs_client_header("x-idempotency-key");
	if (push_id == NULL || push_id[0] == '\0')
		return NULL;
	ofs_client_check_length("push_id", push_id);
	return push_id;
}

/* Who pushes, and under which id. */
void
ofs_log_identify(Push *push, const OfsPushCall *call)
{
	push->client = ofs_client_identify(call->client_id);
	push->push_id = find_push_id(call);
	if (push->push_id == NULL)
		return;
	if (push->client == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a push_id needs a client_id"),
				 errdetail("It may have come with the request's header x-idempotency-key."),
				 errhint("Pass as client_id what the device calls itself.")));
	make_digest(call, push->dialect, push->digest);
}

/* The answer that this push got before, waiting for it if it is at work; NULL when it is new. */
OfsPushAnswer *
ofs_log_replay(Push *push)
{
	OfsPushed  *pushed;
	OfsPushAnswer *answer;

	if (push->push_id == NULL)
		return NULL;
	ofs_pushlog_lock(push->client, push->push_id);
	pushed = ofs_pushlog_find(push->client, push->push_id);
	if (pushed == NULL)
		return NULL;
	if (memcmp(pushed->digest, push->digest, OFS_DIGEST_LEN) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("push_id \"%s\" was used for another push", push->push_id),
				 errhint("Draw a new push_id for each push, and send it again only with the same changes.")));
	answer = palloc0(sizeof(OfsPushAnswer));
	answer->number = pushed->number;
	answer->cursor = pushed->cursor;
	answer->changes = pushed->changes;
	answer->outcome = pushed->outcome;
	answer->replayed = true;
	return answer;
}

/* The records that are as they were sent, whether they had to be written or not, as the log names them. */
static int
collect_records(const PushTable *table, PushItem **items, int nitems, int64 *records)
{
	int			count = 0;

	for (int i = 0; i < nitems; i++)
	{
		StringInfoData id;

		if (items[i]->refusal != NULL || items[i]->kept)
			continue;
		initStringInfo(&id);
		ofs_key_write(table->key, &id, items[i]->key);
		records[count++] = ofs_pushlog_record(table->table, id.data);
		pfree(id.data);
	}
	return count;
}

/* Note the push, unless there is nothing about it to remember. */
void
ofs_log_add(Push *push, const OfsPushAnswer *answer)
{
	OfsPushed	pushed = {0};
	int			nitems = 0;

	if (push->client == NULL)
		return;
	for (int i = 0; i < push->ntables; i++)
		nitems += push->tables[i]->nitems + push->tables[i]->ndeleted;
	pushed.records = palloc_extended(sizeof(int64) * Max(nitems, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < push->ntables; i++)
	{
		const PushTable *table = push->tables[i];

		pushed.nrecords += collect_records(table, table->items, table->nitems, pushed.records + pushed.nrecords);
		pushed.nrecords += collect_records(table, table->deleted, table->ndeleted, pushed.records + pushed.nrecords);
	}
	if (pushed.nrecords == 0 && push->push_id == NULL)
		return;
	pushed.version = push->version;
	pushed.push_id = push->push_id;
	memcpy(pushed.digest, push->digest, OFS_DIGEST_LEN);
	pushed.number = answer->number;
	pushed.cursor = answer->cursor;
	pushed.changes = answer->changes;
	pushed.outcome = answer->outcome;
	ofs_pushlog_add(push->client, &pushed);
}

/*
 * Was it the client itself that gave the record this version, by an earlier push?  That is for clients without
 * an exact cursor, which names their pushes itself, and without taking a device's namesake for the device.
 */
bool
ofs_log_wrote(Push *push, const PushTable *table, const PushItem *item, int64 version)
{
	MemoryContext old;
	StringInfoData id;
	bool		wrote;

	if (push->client == NULL || push->since->kind == OFS_SINCE_EXACT)
		return false;
	old = MemoryContextSwitchTo(push->context);
	if (push->pushes == NULL)
		push->pushes = ofs_pushlog_load(push->client, ofs_since_least(push->since));
	initStringInfo(&id);
	ofs_key_write(table->key, &id, item->key);
	wrote = ofs_pushlog_wrote(push->pushes, version, table->table, id.data);
	pfree(id.data);
	MemoryContextSwitchTo(old);
	return wrote;
}

/* Deletions that the client hasn't seen may be forgotten: what is not there may have been deleted. */
void
ofs_log_expire(Push *push, const PushTable *table, PushItem **items, int nitems)
{
	if (nitems == 0 || !ofs_horizon_passed(push->since, table->table, GetLatestSnapshot()))
		return;
	for (int i = 0; i < nitems; i++)
	{
		items[i]->expired = !items[i]->created && !items[i]->buried;
		/* if there was a deletion, it was long ago */
		if (items[i]->expired)
			items[i]->buried_at = 0;
	}
}
