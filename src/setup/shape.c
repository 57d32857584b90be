/*
 * shape.c
 *		A digest of all that decides who sees which columns of which rows.
 *
 * Event triggers compare it with the one on record after every command that could matter.  It is
 * read from the catalogs alone, without opening a table: two migrations that each hold a lock on one
 * synced table and end up comparing both must not wait for each other.  So policies stand in it
 * as stored trees, whose OIDs change with a dump and restore; the one reset more that this
 * costs comes when all devices start anew in any case.
 */
#include "postgres.h"

#include "base/spi.h"
#include "catalog/access.h"
#include "catalog/pg_type.h"
#include "catalog/synced.h"
#include "executor/spi.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#define DIGEST_LEN 64			/* hexadecimal SHA-256 */

#define ACL_TEXT(acl) \
	"(SELECT pg_catalog.json_agg(x::text ORDER BY x::text COLLATE pg_catalog.\"C\") FROM pg_catalog.unnest(" acl ") x)"

#define TREE \
	"tree(oid) AS (SELECT c.oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i" \
	" JOIN tree ON i.inhparent OPERATOR(pg_catalog.=) tree.oid)"

#define OUR_TRIGGER \
	"t.tgname OPERATOR(pg_catalog.=) ANY ('{" OFS_TRIGGER_STAMP "," OFS_TRIGGER_DELETE "," \
	OFS_TRIGGER_TRUNCATE "}'::name[])"

#define ACCESS_TRIGGER \
	"t.tgname OPERATOR(pg_catalog.=) ANY ('{" OFS_TRIGGER_ACCESS "," OFS_TRIGGER_ACCESS_ROW "}'::name[])"

/* BEFORE (2) ROW (1) INSERT (4) OR UPDATE (16), and its name sorts behind the stamp's */
#define LATE_TRIGGER \
	"t.tgname OPERATOR(pg_catalog.>) '" OFS_TRIGGER_STAMP "'::name" \
	" AND t.tgtype OPERATOR(pg_catalog.&) 3::int2 OPERATOR(pg_catalog.=) 3" \
	" AND t.tgtype OPERATOR(pg_catalog.&) 20::int2 OPERATOR(pg_catalog.<>) 0"

static const char definition_sql[] =
	"SELECT pg_catalog.json_build_array("
	" pg_catalog.pg_get_userbyid(c.relowner), c.relkind, c.relpersistence, c.relispartition, c.reloftype::regtype::text,"
	" c.relrowsecurity, c.relforcerowsecurity, " ACL_TEXT("c.relacl") ","

	/* inheritance, which only a partitioned table may have */
	" EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid OPERATOR(pg_catalog.=) c.oid"
	"   OR i.inhparent OPERATOR(pg_catalog.=) c.oid AND c.relkind OPERATOR(pg_catalog.=) 'r'),"

	/* the key, and whether it is one */
	" $2::text, EXISTS (SELECT FROM pg_catalog.pg_index i"
	"   WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate"
	"   AND i.indpred IS NULL AND i.indexprs IS NULL"
	"   AND (SELECT pg_catalog.array_agg(a.attname ORDER BY a.attname) FROM pg_catalog.pg_attribute a,"
	"     pg_catalog.generate_series(0, i.indnkeyatts OPERATOR(pg_catalog.-) 1) n"
	"     WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.=) i.indkey[n])"
	"   OPERATOR(pg_catalog.=) (SELECT pg_catalog.array_agg(k ORDER BY k) FROM pg_catalog.unnest($2) k)),"

	/* the tombstone table, which is its owner's to spoil */
	" (SELECT pg_catalog.json_build_array(t.relnamespace::regnamespace::text, pg_catalog.pg_get_userbyid(t.relowner),"
	"   t.relpersistence, t.relispartition, t.relrowsecurity, t.relforcerowsecurity, t.relhasrules, t.relhastriggers,"
	"   (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), "
	ACL_TEXT("a.attacl") ") ORDER BY a.attnum)"
	"     FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) t.oid"
	"     AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped),"
	"   (SELECT pg_catalog.json_build_array(pg_catalog.count(*), pg_catalog.count(i.indexprs), pg_catalog.count(i.indpred))"
	"     FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) t.oid))"
	"   FROM pg_catalog.pg_class t WHERE t.oid OPERATOR(pg_catalog.=) $3),"

	" (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attname,"
	"   pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated, " ACL_TEXT("a.attacl") ") ORDER BY a.attnum)"
	"   FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid"
	"   AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped),"

	" (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(p.polname, p.polpermissive,"
	"   (SELECT pg_catalog.json_agg(r.name ORDER BY r.name) FROM (SELECT CASE WHEN o OPERATOR(pg_catalog.=) 0 THEN 'public'"
	"     ELSE pg_catalog.pg_get_userbyid(o) END AS name FROM pg_catalog.unnest(p.polroles) o) r), p.polqual::text) ORDER BY p.polname)"
	"   FROM pg_catalog.pg_policy p WHERE p.polrelid OPERATOR(pg_catalog.=) c.oid AND c.relrowsecurity"
	"   AND p.polcmd OPERATOR(pg_catalog.=) ANY ('{*,r}'::\"char\"[])),"

	/* functions that policies, and views that they read, call, by operators, too: with another body they decide otherwise */
	" (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(f.oid::regprocedure::text, f.prosrc, f.probin, f.prosqlbody::text,"
	"   f.prosecdef, f.provolatile, f.proconfig, f.proowner::regrole::text) ORDER BY f.oid)"
	"   FROM pg_catalog.pg_proc f WHERE f.oid OPERATOR(pg_catalog.=) ANY (SELECT coalesce(o.oprcode, d.refobjid) FROM pg_catalog.pg_depend d"
	"     JOIN (SELECT 'pg_catalog.pg_policy'::regclass, p.oid FROM pg_catalog.pg_policy p"
	"       WHERE (p.polrelid OPERATOR(pg_catalog.=) c.oid AND c.relrowsecurity OR p.polrelid OPERATOR(pg_catalog.=) ANY ($4))"
	"       AND p.polcmd OPERATOR(pg_catalog.=) ANY ('{*,r}'::\"char\"[])"
	"       UNION SELECT 'pg_catalog.pg_rewrite'::regclass, w.oid FROM pg_catalog.pg_rewrite w"
	"       WHERE w.ev_class OPERATOR(pg_catalog.=) ANY ($4)) s(class, oid)"
	"       ON d.classid OPERATOR(pg_catalog.=) s.class AND d.objid OPERATOR(pg_catalog.=) s.oid"
	"     LEFT JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) d.refobjid"
	"       AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::regclass"
	"     WHERE d.refclassid OPERATOR(pg_catalog.=) ANY ('{pg_catalog.pg_proc,pg_catalog.pg_operator}'::regclass[])))"
	","

	/* what the policies read, and whether its changes are seen */
	" (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(r.oid, r.relkind, r.relpersistence, pg_catalog.pg_get_userbyid(r.relowner),"
	"   r.relrowsecurity, r.relforcerowsecurity, r.reloptions,"
	"   (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(p.polname, p.polpermissive, p.polroles, p.polqual::text) ORDER BY p.polname)"
	"     FROM pg_catalog.pg_policy p WHERE p.polrelid OPERATOR(pg_catalog.=) r.oid"
	"     AND p.polcmd OPERATOR(pg_catalog.=) ANY ('{*,r}'::\"char\"[])),"
	"   (SELECT pg_catalog.json_agg(w.ev_action::text ORDER BY w.rulename) FROM pg_catalog.pg_rewrite w"
	"     WHERE w.ev_class OPERATOR(pg_catalog.=) r.oid AND w.ev_type OPERATOR(pg_catalog.=) '1' AND r.relkind OPERATOR(pg_catalog.=) 'v'),"
	"   (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(t.tgname, t.tgenabled) ORDER BY t.tgname) FROM pg_catalog.pg_trigger t"
	"     WHERE t.tgrelid OPERATOR(pg_catalog.=) r.oid AND " ACCESS_TRIGGER ")"
	"   ) ORDER BY r.oid) FROM pg_catalog.pg_class r WHERE r.oid OPERATOR(pg_catalog.=) ANY ($4)),"

	/* our triggers on the root; and wherever one doesn't fire always, or another fires after the stamp */
	" (SELECT pg_catalog.json_agg(t.tgname ORDER BY t.tgname) FROM pg_catalog.pg_trigger t"
	"   WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND " OUR_TRIGGER "),"
	" (WITH RECURSIVE " TREE " SELECT pg_catalog.json_agg(pg_catalog.json_build_array(t.tgrelid, t.tgname, t.tgenabled)"
	"   ORDER BY t.tgrelid, t.tgname) FROM pg_catalog.pg_trigger t JOIN tree ON t.tgrelid OPERATOR(pg_catalog.=) tree.oid"
	"   WHERE " OUR_TRIGGER " AND t.tgenabled OPERATOR(pg_catalog.<>) 'A'"
	"   OR " LATE_TRIGGER ")"
	")::text,"

	/* the partitions, whether a crash would empty them, and whether TRUNCATE of each is seen; the same of what the policies read */
	" (WITH RECURSIVE " TREE " SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(tree.oid,"
	"   (SELECT r.relpersistence FROM pg_catalog.pg_class r WHERE r.oid OPERATOR(pg_catalog.=) tree.oid),"
	"   EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid OPERATOR(pg_catalog.=) tree.oid"
	"     AND t.tgname OPERATOR(pg_catalog.=) '" OFS_TRIGGER_TRUNCATE "')) ORDER BY tree.oid)::text, '')"
	"   FROM tree WHERE tree.oid OPERATOR(pg_catalog.<>) c.oid)"
	" OPERATOR(pg_catalog.||) (WITH RECURSIVE tree(oid) AS (SELECT i.inhrelid FROM pg_catalog.pg_inherits i"
	"   WHERE i.inhparent OPERATOR(pg_catalog.=) ANY ($4) UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i"
	"   JOIN tree ON i.inhparent OPERATOR(pg_catalog.=) tree.oid)"
	"   SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(tree.oid, (SELECT pg_catalog.json_agg("
	"     pg_catalog.json_build_array(t.tgname, t.tgenabled) ORDER BY t.tgname) FROM pg_catalog.pg_trigger t"
	"     WHERE t.tgrelid OPERATOR(pg_catalog.=) tree.oid AND " ACCESS_TRIGGER ")) ORDER BY tree.oid)::text, '') FROM tree)"
	" FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1";

static SPIPlanPtr plan = NULL;

static void
prepare(void)
{
	Oid			argtypes[4] = {OIDOID, NAMEARRAYOID, OIDOID, OIDARRAYOID};

	if (plan != NULL)
		return;
	plan = SPI_prepare(definition_sql, 4, argtypes);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare the shape's query: %s", SPI_result_code_string(SPI_result));
}

static char *
digest(HeapTuple row, TupleDesc desc, int column)
{
	char	   *definition = SPI_getvalue(row, desc, column);
	Datum		hash = DirectFunctionCall1(sha256_bytea, CStringGetTextDatum(definition));
	Datum		hex = DirectFunctionCall2(binary_encode, hash, CStringGetTextDatum("hex"));

	return TextDatumGetCString(hex);
}

/* SPI is connected. */
char *
ofs_shape_compute(const OfsEntry *entry)
{
	OfsOwnerSwitch sw;
	Datum		values[4] = {
		ObjectIdGetDatum(entry->relid), ofs_entry_name_array(entry->key), ObjectIdGetDatum(entry->tombstone),
		ofs_entry_oid_array(entry->reads, OIDOID)
	};
	char	   *shape;

	ofs_owner_begin(&sw);
	/* the catalogs as they are now, also where the transaction's snapshot is an old one */
	PushActiveSnapshot(GetLatestSnapshot());
	prepare();
	if (SPI_execute_plan(plan, values, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the definition of relation %u", entry->relid);
	shape = psprintf("%s:%s",
					 digest(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1),
					 digest(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2));
	PopActiveSnapshot();
	ofs_owner_end(&sw);
	return shape;
}

bool
ofs_shape_same_but_partitions(const char *a, const char *b)
{
	return strlen(a) == strlen(b) && strncmp(a, b, DIGEST_LEN) == 0;
}
