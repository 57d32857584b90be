/*
 * inspectsql.c
 *		offsync.check(): what PostgreSQL's catalogs, and offsync's own, say.
 *
 * Each query finds one kind of fault in all tables: the table's OID (0: none), a sentence, and what mends it.  They run with
 * search_path pinned to pg_catalog, which is where their operators come from.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/spi.h"
#include "catalog/access.h"
#include "setup/inspect.h"

typedef struct Search
{
	OfsSeverity severity;
	const char *finding;
	const char *what;			/* it looks at */
	const char *sql;
} Search;

/* Synced tables that there are, with their partitions. */
#define TREE \
	"WITH RECURSIVE tree(root, tomb, relid) AS (SELECT tbl::oid, tombstone::oid, c.oid FROM offsync_internal.synced_table" \
	" JOIN pg_class c ON c.oid = tbl UNION ALL SELECT root, tomb, inhrelid FROM tree JOIN pg_inherits ON inhparent = relid)"

/* Our triggers: what they call, and when, as pg_trigger.tgtype says it (ROW 1, BEFORE 2, INSERT 4, DELETE 8, UPDATE 16, TRUNCATE 32). */
#define TRIGGERS \
	"(VALUES ('" OFS_TRIGGER_STAMP "'::name, 'stamp'::name, 23), ('" OFS_TRIGGER_DELETE "', 'bury', 9)," \
	" ('" OFS_TRIGGER_TRUNCATE "', 'truncated', 32)) ours(name, function, type)"

/* Tables of the extension itself. */
#define MEMBERS \
	"pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'" \
	" AND c.relnamespace = 'offsync_internal'::regnamespace AND c.relkind = 'r'"

/* As the install script makes it. */
#define DDL_TAGS \
	"CREATE POLICY,ALTER POLICY,ALTER TABLE,CREATE TABLE,CREATE SCHEMA,GRANT,REVOKE,DROP OWNED,CREATE FUNCTION,ALTER FUNCTION," \
	"ALTER ROUTINE,CREATE TRIGGER,ALTER TRIGGER,CREATE VIEW,ALTER VIEW,CREATE INDEX,CREATE RULE,ALTER TYPE,ALTER DOMAIN"

#define SECRET \
	"SELECT decode(replace(concat(gen_random_uuid(), gen_random_uuid(), gen_random_uuid()), ''-'', ''''), ''hex'')"

/* Of offsync itself. */
static const Search own[] =
{
	{OFS_SEVERITY_ERROR, "library", "the version",
		"SELECT 0, format('This session runs the library of version " OFS_VERSION ", and the extension''s objects are of version %s.%s',"
		" extversion, CASE WHEN string_to_array(extversion, '.')::int[] > string_to_array('" OFS_VERSION "', '.')::int[]"
		" THEN ' Connect again; if that doesn''t help, the server''s files are the older ones: install those of the extension''s version.' END),"
		" CASE WHEN string_to_array(extversion, '.')::int[] < string_to_array('" OFS_VERSION "', '.')::int[] THEN 'ALTER EXTENSION offsync UPDATE;' END"
		" FROM pg_extension WHERE extname = 'offsync' AND extversion <> '" OFS_VERSION "'"},
	{OFS_SEVERITY_WARNING, "update", "the installed files",
		"SELECT 0, format('Version %s is installed in this database, and the server has the files of %s.', source, target), 'ALTER EXTENSION offsync UPDATE;'"
		" FROM pg_extension_update_paths('offsync') JOIN pg_extension ON extname = 'offsync' AND extversion = source"
		" WHERE source = '" OFS_VERSION "' AND path IS NOT NULL ORDER BY string_to_array(target, '.')::int[] DESC LIMIT 1"},
	{OFS_SEVERITY_ERROR, "event_trigger", "the event triggers",
		"SELECT 0, format('Event trigger %s %s: offsync doesn''t notice what changes definitions.', name,"
		" CASE WHEN e.oid IS NULL THEN 'is missing' ELSE 'isn''t enabled ALWAYS' END),"
		" CASE WHEN e.oid IS NULL THEN format('CREATE EVENT TRIGGER %I ON %s%s EXECUTE FUNCTION offsync_internal.%I();"
		" ALTER EXTENSION offsync ADD EVENT TRIGGER %1$I; ', name, event, ' WHEN TAG IN (''' || replace(tags, ',', ''', ''') || ''')', function) ELSE '' END"
		" || format('ALTER EVENT TRIGGER %I ENABLE ALWAYS;', name)"
		" FROM (VALUES ('offsync_ddl_end'::name, 'ddl_command_end', 'ddl_end', '" DDL_TAGS "'),"
		" ('offsync_ddl_drop', 'sql_drop', 'ddl_drop', NULL), ('offsync_ddl_rewrite', 'table_rewrite', 'ddl_rewrite', NULL))"
		" ours(name, event, function, tags) LEFT JOIN pg_event_trigger e ON evtname = name AND evtfoid::regproc::text = 'offsync_internal.' || function"
		" WHERE e.oid IS NULL OR evtenabled <> 'A'"},
	{OFS_SEVERITY_ERROR, "catalog_index", "the indexes of offsync's own tables",
		"SELECT 0, format('offsync_internal.%s has lost its index on (%s): calls fail.', tbl, columns),"
		" format('CREATE INDEX %I ON offsync_internal.%I (%s);', name, tbl, columns)"
		" FROM (VALUES ('reset_event', 'tbl, version', 'reset_event_tbl_version'), ('access_event', 'tbl, version', 'access_event_tbl_version'),"
		" ('timeline', 'at', 'timeline_at'), ('push_log', 'client, version', 'push_log_client_version'), ('push_log', 'push', 'push_log_push'),"
		" ('prune_horizon', 'tbl', 'prune_horizon_tbl')) ours(tbl, columns, name)"
		" WHERE NOT EXISTS (SELECT FROM pg_index i WHERE indrelid = to_regclass('offsync_internal.' || tbl) AND columns ="
		" (SELECT string_agg(attname, ', ' ORDER BY n) FROM generate_series(0, i.indnkeyatts - 1) n JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[n]))"},
	{OFS_SEVERITY_ERROR, "index_invalid", "the indexes",
		TREE "SELECT coalesce(root, 0), format('Index %s is invalid: nothing that asks for it is served by it.', indexrelid::regclass),"
		" format('REINDEX INDEX %s;', indexrelid::regclass)"
		" FROM pg_index i JOIN pg_class x ON x.oid = indexrelid AND x.relkind = 'i' JOIN pg_class c ON c.oid = indrelid"
		" LEFT JOIN tree ON indrelid = relid OR indrelid = tomb AND relid = root"
		" WHERE NOT (indisvalid AND indisready) AND (root IS NOT NULL OR c.relnamespace = 'offsync_internal'::regnamespace)"},
	{OFS_SEVERITY_ERROR, "secret", "the cursors' key",
		"SELECT 0, 'The key that seals cursors is lost: calls fail. With a new one every device has to start anew; sessions that go on must connect again.',"
		" 'DELETE FROM offsync_internal.secret; INSERT INTO offsync_internal.secret " SECRET ";'"
		" WHERE (SELECT count(*) FROM offsync_internal.secret) <> 1"},
	{OFS_SEVERITY_ERROR, "incarnation", "the incarnations",
		"SELECT 0, 'The incarnations are lost: rows may get versions that were given before.', 'SELECT offsync.new_incarnation();'"
		" WHERE NOT EXISTS (SELECT FROM offsync_internal.incarnation) AND EXISTS (SELECT FROM offsync_internal.synced_table)"},
	{OFS_SEVERITY_ERROR, "privileges", "the privileges",
		"SELECT 0, format('%s has privileges on offsync_internal.%s, which is private.', grantee, relname),"
		" format('REVOKE ALL ON TABLE offsync_internal.%I FROM %s;', relname, grantee)"
		" FROM (SELECT DISTINCT c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS grantee"
		" FROM " MEMBERS ", LATERAL (SELECT (aclexplode(c.relacl)).grantee UNION SELECT (aclexplode(attacl)).grantee FROM pg_attribute WHERE attrelid = c.oid) a"
		" WHERE a.grantee <> c.relowner) found"},
	{OFS_SEVERITY_ERROR, "privileges", "the schemas' privileges",
		"SELECT 0, format('Not everybody may use schema %s: calls fail. What they may see there is decided by its objects.', nspname),"
		" format('GRANT USAGE ON SCHEMA %I TO PUBLIC;', nspname)"
		" FROM pg_namespace WHERE nspname IN ('offsync', 'offsync_internal') AND NOT has_schema_privilege('public', oid, 'USAGE')"},
	{OFS_SEVERITY_ERROR, "privileges", "the schemas' privileges",
		"SELECT 0, format('%s may create objects in schema %s.', grantee, nspname), format('REVOKE CREATE ON SCHEMA %I FROM %s;', nspname, grantee)"
		" FROM (SELECT nspname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS grantee"
		" FROM pg_namespace n, aclexplode(nspacl) a WHERE nspname IN ('offsync', 'offsync_internal') AND a.privilege_type = 'CREATE'"
		" AND a.grantee <> n.nspowner) found"},
	{OFS_SEVERITY_ERROR, "unlogged", "what a crash would empty",
		"SELECT 0, format('%s is unlogged: a crash would empty it unseen.', c.oid::regclass), format('ALTER TABLE %s SET LOGGED;', c.oid::regclass)"
		" FROM " MEMBERS " WHERE c.relpersistence <> 'p'"},
	{OFS_SEVERITY_ERROR, "unlogged", "what a crash would empty",
		/* where there are two of them the event trigger refuses to mend one */
		TREE "SELECT root, format('%s is unlogged: a crash would empty it unseen.', relid::regclass),"
		" format('ALTER EVENT TRIGGER offsync_ddl_end DISABLE; ALTER TABLE %s SET LOGGED; ALTER EVENT TRIGGER offsync_ddl_end ENABLE ALWAYS;', relid::regclass)"
		" FROM tree JOIN pg_class c ON c.oid = relid WHERE relpersistence <> 'p' ORDER BY relid"},
	{OFS_SEVERITY_WARNING, "prune", "how much is remembered",
		"SELECT 0, format('offsync remembers pushes, deletions and times since %s, and offsync.retention is %s: offsync.prune() doesn''t run, or its session has another retention.',"
		" date_trunc('minute', at), current_setting('offsync.retention')), 'SELECT * FROM offsync.prune();'"
		" FROM (SELECT at FROM offsync_internal.timeline ORDER BY at OFFSET 1 LIMIT 1) t"
		" WHERE at < now() - current_setting('offsync.retention')::interval - interval '7 days'"},
};

/* Of the synced tables. */
static const Search tables[] =
{
	{OFS_SEVERITY_ERROR, "table_missing", "the tables",
		"SELECT tbl::oid, format('The table of collection \"%s\" (OID %s) was dropped while offsync''s event triggers were off.', collection, tbl::oid),"
		" format('DELETE FROM offsync_internal.synced_table WHERE tbl = %s; DELETE FROM offsync_internal.reset_event WHERE tbl = %1$s;', tbl::oid)"
		" || coalesce(format(' DROP TABLE %s;', t.oid::regclass), '')"
		" FROM offsync_internal.synced_table LEFT JOIN pg_class t ON t.oid = tombstone"
		" WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = tbl)"},
	{OFS_SEVERITY_ERROR, "not_on_record", "tables that have the triggers",
		"SELECT 0, format('%s has offsync''s triggers and isn''t on record: it comes from a dump without offsync''s own rows (pg_dump -s, -n, -t). Add the options that it had.',"
		" tgrelid::regclass), format('SELECT * FROM offsync.enable(%L);', tgrelid::regclass)"
		" FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid WHERE tgfoid = 'offsync_internal.stamp'::regproc AND tgparentid = 0 AND NOT relispartition"
		" AND tgrelid NOT IN (SELECT tbl FROM offsync_internal.synced_table)"},
	{OFS_SEVERITY_WARNING, "tombstones_stray", "tombstones of no table",
		"SELECT 0, format('%s holds tombstones of no synced table.', c.oid::regclass), format('DROP TABLE %s;', c.oid::regclass)"
		" FROM pg_class c JOIN pg_attribute ON attrelid = c.oid AND attname = '" OFS_TOMB_VERSION "'"
		" WHERE c.relnamespace = 'offsync_internal'::regnamespace AND relkind = 'r' AND c.oid NOT IN (SELECT tombstone FROM offsync_internal.synced_table)"
		/* enable takes those of its table away */
		" AND NOT EXISTS (SELECT FROM pg_trigger JOIN pg_class t ON t.oid = tgrelid WHERE tgfoid = 'offsync_internal.stamp'::regproc AND tgparentid = 0"
		" AND NOT relispartition AND tgrelid NOT IN (SELECT tbl FROM offsync_internal.synced_table))"},
	{OFS_SEVERITY_ERROR, "tombstones_privileges", "the tombstones' privileges",
		"WITH tomb AS (SELECT tbl::oid AS root, c.oid AS relid, c.relowner, c.relacl, s.key || '" OFS_TOMB_VERSION "'::name AS shown"
		" FROM offsync_internal.synced_table s JOIN pg_class c ON c.oid = tombstone),"
		" given AS (SELECT root, a.grantee, 'x' AS what FROM tomb, aclexplode(relacl) a WHERE a.grantee <> relowner UNION ALL"
		" SELECT root, a.grantee, CASE WHEN attname = ANY (shown) AND a.grantee = 0 AND a.privilege_type = 'SELECT' THEN attname ELSE 'x' END"
		" FROM tomb JOIN pg_attribute ON attrelid = relid, aclexplode(attacl) a WHERE a.grantee <> relowner)"
		"SELECT root, format('The privileges on %s aren''t those that devices need, and no more: they read key and version.', relid::regclass),"
		" format('REVOKE ALL ON TABLE %s FROM %s; GRANT SELECT (%s) ON TABLE %1$s TO PUBLIC;', relid::regclass,"
		"  (SELECT string_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END, ', ')"
		"   FROM (SELECT 0 AS grantee UNION SELECT grantee FROM given WHERE given.root = tomb.root) g),"
		"  (SELECT string_agg(quote_ident(k), ', ') FROM unnest(shown) k))"
		" FROM tomb WHERE EXISTS (SELECT FROM given WHERE given.root = tomb.root AND what = 'x')"
		" OR EXISTS (SELECT FROM unnest(shown) k WHERE k NOT IN (SELECT what FROM given WHERE given.root = tomb.root))"},
	{OFS_SEVERITY_ERROR, "trigger_other", "the triggers' definitions",
		TREE "SELECT root, format('Trigger %s on %s isn''t offsync''s, or isn''t as offsync made it: writes go unseen.', tgname, relid::regclass),"
		" format('DROP TRIGGER %I ON %s; " OFS_FIX_ENABLE "', tgname, relid::regclass)"
		" FROM tree JOIN pg_trigger ON tgrelid = relid AND tgparentid = 0 JOIN " TRIGGERS " ON tgname = name"
		" WHERE tgfoid::regproc::text <> 'offsync_internal.' || function OR tgtype <> type OR tgqual IS NOT NULL"
		" OR array_length(tgattr::int2[], 1) > 0 ORDER BY relid, tgname"},
	{OFS_SEVERITY_WARNING, "trigger_old", "triggers of earlier releases",
		TREE "SELECT root, format('Trigger %s on %s is of 0.1, and does nothing any more.', tgname, relid::regclass),"
		" format('DROP TRIGGER %I ON %s;', tgname, relid::regclass)"
		" FROM tree JOIN pg_trigger ON tgrelid = relid AND tgparentid = 0"
		" WHERE tgname = '" OFS_TRIGGER_UPDATE "' AND tgfoid::regproc::text = 'offsync_internal.bury' ORDER BY relid"},
	{OFS_SEVERITY_ERROR, "trigger_missing", "the triggers",
		TREE "SELECT root, format('Trigger %s is missing on %s: what is written there goes unseen.', name, relid::regclass), '" OFS_FIX_ENABLE "'"
		" FROM tree, " TRIGGERS " WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = relid AND tgname = name) ORDER BY relid, name"},
	{OFS_SEVERITY_ERROR, "trigger_disabled", "whether the triggers fire",
		TREE "SELECT root, format('Trigger %s on %s isn''t enabled ALWAYS: %s', name, relid::regclass,"
		" CASE tgenabled WHEN 'O' THEN 'what logical replication writes goes unseen.' ELSE 'what is written there goes unseen.' END), '" OFS_FIX_ENABLE "'"
		" FROM tree JOIN pg_trigger ON tgrelid = relid JOIN " TRIGGERS " ON tgname = name WHERE tgenabled <> 'A' ORDER BY relid, name"},
	{OFS_SEVERITY_ERROR, "trigger_order", "the order of triggers",
		TREE "SELECT root, format('Trigger %s on %s fires after offsync''s and may change rows unseen: triggers fire in the order of their names.', tgname, relid::regclass),"
		" format('ALTER TRIGGER %I ON %s RENAME TO %I;', tgname, relid::regclass, 'zz_' || left(tgname, 60))"
		" FROM tree JOIN pg_trigger ON tgrelid = relid AND tgparentid = 0"
		" WHERE tgname > '" OFS_TRIGGER_STAMP "' AND tgtype & 3 = 3 AND tgtype & 20 <> 0 ORDER BY relid, tgname"},
	{OFS_SEVERITY_ERROR, "conflict_function", "the functions that settle conflicts",
		"SELECT tbl::oid, format('Function %s(jsonb, jsonb, jsonb), which settles conflicts, is gone: pushes that meet one fail. Create it again, or take another strategy.', merge_function),"
		" format('SELECT offsync.disable(%L); " OFS_FIX_REJECT "', format('%I.%I', nspname, relname))"
		" FROM offsync_internal.synced_table JOIN pg_class c ON c.oid = tbl JOIN pg_namespace n ON n.oid = relnamespace"
		" WHERE to_regprocedure(merge_function || '(jsonb,jsonb,jsonb)') IS NULL AND merge_function IS NOT NULL"},
};

static const OfsEntry *
find_entry(const OfsInspect *inspect, Oid relid)
{
	ListCell   *lc;

	foreach(lc, inspect->entries)
		if (((OfsEntry *) lfirst(lc))->relid == relid)
			return lfirst(lc);
	return NULL;
}

static void
look(OfsInspect *inspect, const OfsEntry *entry, const void *arg)
{
	const Search *search = arg;
	uint64		count = ofs_spi_run(true, "%s", search->sql);
	SPITupleTable *found = SPI_tuptable;

	for (uint64 i = 0; i < count; i++)
	{
		bool		isnull;
		Oid			relid = DatumGetObjectId(SPI_getbinval(found->vals[i], found->tupdesc, 1, &isnull));

		ofs_inspect_say(inspect, find_entry(inspect, relid), search->severity, search->finding,
						SPI_getvalue(found->vals[i], found->tupdesc, 2), SPI_getvalue(found->vals[i], found->tupdesc, 3));
	}
}

void
ofs_inspect_catalogs(OfsInspect *inspect)
{
	for (int i = 0; i < (int) lengthof(own); i++)
		ofs_inspect_look(inspect, own[i].what, look, NULL, &own[i]);
	for (int i = 0; i < (int) lengthof(tables); i++)
		ofs_inspect_look(inspect, tables[i].what, look, NULL, &tables[i]);
}
