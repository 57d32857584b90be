/*
 * secret.c
 *		The database's secret: it seals cursors and keys the ids of incarnations.
 *
 * It is drawn when the extension is created and never dumped, so a restored database has another
 * one.  Read beneath all permissions, by nobody but the extension.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/spi.h"
#include "catalog/secret.h"
#include "common/hashfn.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define MAX_KEY_LEN 64

/* What is digested again and again: how many, and how long. */
#define NREMEMBERED	32
#define MAX_REMEMBERED	4096

static struct
{
	Oid			relid;			/* of the table that the key was read from */
	int			len;
	uint8		key[MAX_KEY_LEN];
}			secret;

typedef struct Remembered
{
	char	   *data;
	int			len;
	uint8		digest[32];
} Remembered;

static Remembered remembered[NREMEMBERED];

static void
forget_all(void)
{
	for (int i = 0; i < NREMEMBERED; i++)
	{
		if (remembered[i].data != NULL)
			pfree(remembered[i].data);
		remembered[i].data = NULL;
	}
}

static void
read_secret(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple = systable_getnext(scan);
	bool		isnull;
	bytea	   *value;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("offsync has no secret"),
				 errhint("Drop and create the extension.")));
	value = DatumGetByteaPP(heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull));
	secret.len = Min((int) VARSIZE_ANY_EXHDR(value), MAX_KEY_LEN);
	memcpy(secret.key, VARDATA_ANY(value), secret.len);
	secret.relid = relid;
	forget_all();
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}

/* The secret is that of the extension as it is now. */
static void
ensure_secret(void)
{
	Oid			relid = ofs_internal_table("secret");

	if (secret.relid != relid)
		read_secret(relid);
}

static void
make_digest(const void *data, int len, uint8 digest[32])
{
	pg_hmac_ctx *ctx = pg_hmac_create(PG_SHA256);

	if (ctx == NULL ||
		pg_hmac_init(ctx, secret.key, secret.len) < 0 ||
		pg_hmac_update(ctx, data, len) < 0 ||
		pg_hmac_final(ctx, digest, PG_SHA256_DIGEST_LENGTH) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a seal: %s", ctx ? pg_hmac_error(ctx) : "out of memory")));
	pg_hmac_free(ctx);
}

void
ofs_secret_hmac(const void *data, int len, uint8 digest[32])
{
	ensure_secret();
	make_digest(data, len, digest);
}

void
ofs_secret_hmac_again(const void *data, int len, uint8 digest[32])
{
	Remembered *one = &remembered[hash_bytes(data, len) % NREMEMBERED];
	char	   *copy;

	ensure_secret();
	if (one->data != NULL && one->len == len && memcmp(one->data, data, len) == 0)
	{
		memcpy(digest, one->digest, sizeof(one->digest));
		return;
	}
	make_digest(data, len, digest);
	if (len > MAX_REMEMBERED)
		return;
	copy = MemoryContextAlloc(TopMemoryContext, Max(len, 1));
	memcpy(copy, data, len);
	if (one->data != NULL)
		pfree(one->data);
	one->data = copy;
	one->len = len;
	memcpy(one->digest, digest, sizeof(one->digest));
}
