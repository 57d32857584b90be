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
#include "common/hmac.h"
#include "common/sha2.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define MAX_KEY_LEN 64

static struct
{
	Oid			relid;			/* of the table that the key was read from */
	int			len;
	uint8		key[MAX_KEY_LEN];
}			secret;

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
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}

void
ofs_secret_hmac(const void *data, int len, uint8 digest[32])
{
	Oid			relid = ofs_internal_table("secret");
	pg_hmac_ctx *ctx;

	if (secret.relid != relid)
		read_secret(relid);
	ctx = pg_hmac_create(PG_SHA256);
	if (ctx == NULL ||
		pg_hmac_init(ctx, secret.key, secret.len) < 0 ||
		pg_hmac_update(ctx, data, len) < 0 ||
		pg_hmac_final(ctx, digest, PG_SHA256_DIGEST_LENGTH) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a seal: %s", ctx ? pg_hmac_error(ctx) : "out of memory")));
	pg_hmac_free(ctx);
}
