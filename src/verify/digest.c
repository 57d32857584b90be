/*
 * digest.c
 *		offsync.digest: what the caller sees of its collections, in a few numbers.
 *
 * A bucket's numbers are sums over its rows, so the order of rows doesn't matter, and a device adds
 * up its own in one pass.  The id alone says which bucket a row is in, so one that a device holds in an older version
 * makes just that bucket differ.
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "base/spi.h"
#include "catalog/asked.h"
#include "catalog/incarnation.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "verify/scan.h"

PG_FUNCTION_INFO_V1(offsync_digest);

#define VERSION_LEN 21			/* colon, digits and what ends them */

typedef struct Bucket
{
	int64		count;
	uint32		a;
	uint32		b;
} Bucket;

typedef struct Digest
{
	int			count;
	bool		versions;
	Bucket	   *buckets;
} Digest;

static void
add_row(const OfsScanRow *row, void *arg)
{
	Digest	   *digest = arg;
	Bucket	   *bucket = &digest->buckets[ofs_idhash_bucket(&row->hash, digest->count)];
	OfsIdHash	hash = row->hash;

	if (digest->versions)
	{
		char		text[VERSION_LEN];

		text[0] = ':';
		ofs_idhash_add(&hash, text, 1 + pg_lltoa(row->version, text + 1));
	}
	bucket->count++;
	bucket->a += ofs_idhash_mix(hash.a);
	bucket->b += ofs_idhash_mix(hash.b);
}

static void
append_collection(StringInfo out, const OfsAsked *asked, const OfsFilter *filter, int buckets, bool versions)
{
	OfsView    *view = ofs_view_columns(asked->table);
	Digest		digest;

	digest.count = buckets;
	digest.versions = versions && ofs_scan_versions(view);
	digest.buckets = palloc0(sizeof(Bucket) * buckets);
	ofs_scan_run(view, filter, false, add_row, &digest);

	ofs_json_text(out, asked->asked);
	appendStringInfo(out, ":{\"versions\":%s,\"buckets\":[", digest.versions ? "true" : "false");
	for (int i = 0; i < buckets; i++)
		appendStringInfo(out, "%s[" INT64_FORMAT ",%u,%u]", i > 0 ? "," : "",
						 digest.buckets[i].count, digest.buckets[i].a, digest.buckets[i].b);
	appendStringInfoString(out, "]}");
	pfree(digest.buckets);
}

/*
 * collections: null for all that the caller may read; buckets: a power of two; versions: whether rows count in
 * the version that they have, or only by their ids; filters, dialect: as for a pull.  Returns json.
 */
Datum
offsync_digest(PG_FUNCTION_ARGS)
{
	int			buckets = PG_ARGISNULL(1) ? 1 : PG_GETARG_INT32(1);
	bool		versions = PG_ARGISNULL(2) || PG_GETARG_BOOL(2);
	OfsDialect	dialect = ofs_dialect_parse(ofs_argument_text(fcinfo, 4));
	List	   *all;
	List	   *filters;
	ListCell   *lc;
	StringInfoData out;

	if (!ofs_scan_buckets_valid(buckets))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("invalid number of buckets"),
				 errdetail("It must be a power of two from 1 to %d.", OFS_SCAN_BUCKETS)));
	ofs_snapshot_flush();
	all = ofs_asked_list(PG_ARGISNULL(0) ? NULL : PG_GETARG_ARRAYTYPE_P(0));
	filters = ofs_filter_parse(ofs_argument_text(fcinfo, 3), all, dialect);

	/* the buffer becomes the datum: room for its length, and not in SPI's memory */
	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ);
	appendStringInfoChar(&out, '{');
	SPI_connect();
	foreach(lc, all)
	{
		const OfsAsked *asked = lfirst(lc);

		if (lc != list_head(all))
			appendStringInfoChar(&out, ',');
		append_collection(&out, asked, ofs_filter_find(filters, asked->table), buckets, versions);
	}
	SPI_finish();
	appendStringInfoChar(&out, '}');
	SET_VARSIZE(out.data, out.len);
	PG_RETURN_TEXT_P((text *) out.data);
}
