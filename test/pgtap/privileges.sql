-- The whole privilege surface in one list: every object of offsync and offsync_internal, and who may do what with it beside its
-- owner.  Whoever adds one says here why.  What runs with other rights than its caller's is in the C code alone, and
-- test/tap/t/017_rights.pl names every such place.
\ir begin.psql
DROP ROLE IF EXISTS surface_owner, surface_ann, surface_nosy;
CREATE ROLE surface_owner;
CREATE ROLE surface_ann;
CREATE ROLE surface_nosy;
CREATE SCHEMA surface AUTHORIZATION surface_owner;
GRANT USAGE ON SCHEMA surface TO PUBLIC;
SELECT no_plan();

-- Who may do what, beside the owner
CREATE FUNCTION surface.may(acl aclitem[], usual aclitem[], owner oid) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(CASE a.grantee WHEN 0 THEN 'all' ELSE a.grantee::regrole::text END || ' ' || lower(a.privilege_type), ', ' ORDER BY a.privilege_type), 'nobody')
	FROM aclexplode(coalesce(acl, usual)) a WHERE a.grantee <> owner$$;
CREATE VIEW surface.objects AS
	SELECT 'schema' AS kind, nspname::text AS name, surface.may(nspacl, acldefault('n', nspowner), nspowner) AS may FROM pg_namespace WHERE nspname ~ '^offsync'
	UNION ALL
	SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' ELSE relkind::text END, format('%s.%s', relnamespace::regnamespace, relname), surface.may(relacl, acldefault('r', relowner), relowner)
	FROM pg_class WHERE relnamespace IN ('offsync'::regnamespace, 'offsync_internal'::regnamespace) AND relkind NOT IN ('i', 't')
	UNION ALL
	SELECT CASE WHEN prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) THEN 'trigger function' ELSE 'function' END, format('%s.%s', pronamespace::regnamespace, proname),
		surface.may(proacl, acldefault('f', proowner), proowner)
	FROM pg_proc WHERE pronamespace IN ('offsync'::regnamespace, 'offsync_internal'::regnamespace);

CREATE TABLE surface.expected (kind text, name text, may text, why text);
INSERT INTO surface.expected VALUES
	('schema', 'offsync', 'all usage', 'clients call what is in it'),
	('schema', 'offsync_internal', 'all usage', 'a pull names tombstone tables as its caller'),
	('view', 'offsync.status', 'all select', 'which tables sync is no secret: their triggers say as much'),
	('view', 'offsync.stats', 'all select', 'asks for the extension''s owner or a pg_monitor'),
	('view', 'offsync.clients', 'all select', 'the same'),
	('table', 'offsync_internal.synced_table', 'nobody', 'names functions and tables that policies read'),
	('table', 'offsync_internal.retired', 'nobody', 'private'),
	('table', 'offsync_internal.incarnation', 'nobody', 'cursors of others begin with it'),
	('table', 'offsync_internal.reset_event', 'nobody', 'private'),
	('table', 'offsync_internal.access_event', 'nobody', 'tells when others'' memberships change'),
	('table', 'offsync_internal.timeline', 'nobody', 'private'),
	('table', 'offsync_internal.push_log', 'nobody', 'what others have pushed'),
	('table', 'offsync_internal.prune_horizon', 'nobody', 'private'),
	('table', 'offsync_internal.secret', 'nobody', 'seals cursors'),
	('function', 'offsync.pull_changes', 'all execute', 'as the caller'),
	('function', 'offsync.pull_stream', 'all execute', 'as the caller'),
	('function', 'offsync.push_changes', 'all execute', 'as the caller'),
	('function', 'offsync.sync_changes', 'all execute', 'as the caller'),
	('function', 'offsync.drift_pull', 'all execute', 'as the caller'),
	('function', 'offsync.drift_push', 'all execute', 'as the caller'),
	('function', 'offsync.pb_list', 'all execute', 'as the caller'),
	('function', 'offsync.pb_create', 'all execute', 'as the caller'),
	('function', 'offsync.pb_update', 'all execute', 'as the caller'),
	('function', 'offsync.pb_delete', 'all execute', 'as the caller'),
	('function', 'offsync.pb_request', 'all execute', 'as the caller'),
	('function', 'offsync.changes', 'all execute', 'as the caller'),
	('function', 'offsync.new_id', 'all execute', 'reads nothing'),
	('function', 'offsync.rest', 'all execute', 'as the caller'),
	('function', 'offsync.rest_list', 'all execute', 'as the caller'),
	('function', 'offsync.rest_get', 'all execute', 'as the caller'),
	('function', 'offsync.rest_put', 'all execute', 'as the caller'),
	('function', 'offsync.rest_post', 'all execute', 'as the caller'),
	('function', 'offsync.rest_delete', 'all execute', 'as the caller'),
	('function', 'offsync.rest_batch', 'all execute', 'as the caller'),
	('function', 'offsync.rest_health', 'all execute', 'tells nothing'),
	('function', 'offsync.pull_messages', 'all execute', 'as the caller'),
	('function', 'offsync.push_messages', 'all execute', 'as the caller'),
	('function', 'offsync.crdt_hello', 'all execute', 'as the caller'),
	('function', 'offsync.crdt_changeset', 'all execute', 'as the caller'),
	('function', 'offsync.crdt_merge', 'all execute', 'as the caller'),
	('function', 'offsync.digest', 'all execute', 'as the caller'),
	('function', 'offsync.reconcile', 'all execute', 'as the caller'),
	('function', 'offsync.cursor_info', 'all execute', 'tells what whoever holds the cursor can read in it'),
	('function', 'offsync.client_schema', 'all execute', 'of what the caller may read'),
	('function', 'offsync.enable', 'all execute', 'asks for the table''s owner'),
	('function', 'offsync.disable', 'all execute', 'asks for the table''s owner'),
	('function', 'offsync.reset', 'all execute', 'asks for the table''s owner'),
	('function', 'offsync.explain', 'all execute', 'asks for the table''s owner, and explains as roles that the caller may become'),
	('function', 'offsync.advise', 'all execute', 'asks for the table''s owner'),
	('function', 'offsync.expose', 'all execute', 'creates functions as the caller, who must be allowed to'),
	('function', 'offsync.prune', 'all execute', 'asks for the extension''s owner'),
	('function', 'offsync.check', 'all execute', 'asks for the extension''s owner or a pg_monitor'),
	('function', 'offsync.stats_reset', 'all execute', 'asks for the extension''s owner or a pg_monitor'),
	('function', 'offsync.new_incarnation', 'nobody', 'ends the cursors of all'),
	('function', 'offsync_internal.key_readable', 'all execute', 'in the policies of tombstones; of the caller''s own privileges'),
	('function', 'offsync_internal.pull_reason', 'all execute', 'of the caller''s own pull; explain calls it as another role'),
	('function', 'offsync_internal.status', 'all execute', 'makes the view''s rows'),
	('function', 'offsync_internal.kept', 'all execute', 'makes columns of the view, for the table''s owner or a pg_monitor'),
	('function', 'offsync_internal.stats', 'all execute', 'makes the view''s row'),
	('function', 'offsync_internal.clients', 'all execute', 'makes the view''s rows'),
	('function', 'offsync_internal.messages_handler', 'all execute', 'only superusers create foreign data wrappers'),
	('trigger function', 'offsync_internal.stamp', 'all execute', 'whoever creates the trigger must be allowed to; does nothing but for its own trigger'),
	('trigger function', 'offsync_internal.bury', 'all execute', 'the same'),
	('trigger function', 'offsync_internal.truncated', 'all execute', 'the same'),
	('trigger function', 'offsync_internal.touched', 'all execute', 'the same'),
	('trigger function', 'offsync_internal.ddl_end', 'all execute', 'only superusers create event triggers'),
	('trigger function', 'offsync_internal.ddl_drop', 'all execute', 'the same'),
	('trigger function', 'offsync_internal.ddl_rewrite', 'all execute', 'the same');
-- tables of other tests may be synced in this database: tombstones are looked at below
SELECT set_eq($$SELECT DISTINCT kind, name, may FROM surface.objects WHERE name::text NOT IN (SELECT tombstones::text FROM offsync.status WHERE tombstones IS NOT NULL)$$,
	'SELECT kind, name, may FROM surface.expected', 'every object, and who may do what with it');

-- Nothing else can run, or be run, with more rights
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p WHERE pronamespace IN ('offsync'::regnamespace, 'offsync_internal'::regnamespace)
	AND (prosecdef OR proconfig IS NOT NULL OR prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c') OR proleakproof)$$, 'no SECURITY DEFINER, no function with settings, none that claims to be leakproof');
SELECT is_empty($$SELECT oid::regclass FROM pg_class WHERE relnamespace IN ('offsync'::regnamespace, 'offsync_internal'::regnamespace) AND relkind IN ('S', 'm', 'f', 'p', 'c')$$, 'no sequences, no types');
SELECT is_empty($$SELECT oid::regtype FROM pg_type WHERE typnamespace IN ('offsync'::regnamespace, 'offsync_internal'::regnamespace) AND typtype <> 'c' AND typelem = 0$$, 'none by themselves, either');
SELECT is_empty($$SELECT oid::regoperator FROM pg_operator WHERE oprnamespace IN ('offsync'::regnamespace, 'offsync_internal'::regnamespace)$$, 'no operators');
-- since 18 the tables' row types are members as well
SELECT set_eq($$SELECT DISTINCT d.classid::regclass::text FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid AND d.refclassid = 'pg_extension'::regclass
	WHERE e.extname = 'offsync' AND d.deptype = 'e' AND d.classid <> 'pg_type'::regclass$$, $$VALUES ('pg_class'), ('pg_event_trigger'), ('pg_foreign_data_wrapper'), ('pg_foreign_server'), ('pg_namespace'), ('pg_proc')$$, 'the extension has no other kinds of objects');
SELECT set_eq($$SELECT fdwname::text, surface.may(fdwacl, acldefault('F', fdwowner), fdwowner), fdwvalidator FROM pg_foreign_data_wrapper WHERE fdwname ~ 'offsync'$$,
	$$VALUES ('offsync_messages', 'nobody', 0::oid)$$, 'a wrapper that nobody makes another server of');
SELECT set_eq($$SELECT srvname::text, surface.may(srvacl, acldefault('S', srvowner), srvowner) FROM pg_foreign_server WHERE srvname ~ 'offsync'$$,
	$$VALUES ('offsync_messages', 'all usage')$$, 'whose server is everybody''s: its tables show whoever reads them what a pull does');
SELECT set_eq($$SELECT evtname::text, evtevent::text FROM pg_event_trigger WHERE evtname ~ 'offsync'$$,
	$$VALUES ('offsync_ddl_end', 'ddl_command_end'), ('offsync_ddl_drop', 'sql_drop'), ('offsync_ddl_rewrite', 'table_rewrite')$$, 'three event triggers, which run as whoever runs the command');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname ~ '^offsync' AND c.relkind IN ('r', 'v') AND c.relowner <> n.nspowner
	AND c.oid NOT IN (SELECT tombstones FROM offsync.status WHERE tombstones IS NOT NULL)$$, 'all tables belong to the schema''s owner, but for tombstones');

-- A tombstone table: its owner is the synced table's, all may read the key and the version through the policies, and
-- nobody else anything, whatever the default privileges say
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO surface_nosy;
ALTER DEFAULT PRIVILEGES IN SCHEMA offsync_internal GRANT ALL ON TABLES TO surface_nosy;
ALTER DEFAULT PRIVILEGES FOR ROLE surface_owner GRANT ALL ON TABLES TO surface_nosy;
SET ROLE surface_owner;
CREATE TABLE surface.secretive (a int, b text, owner name, body text, PRIMARY KEY (a, b));
ALTER TABLE surface.secretive ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON surface.secretive USING (owner = current_user);
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('surface.secretive', filter_columns => '{body}');
RESET ROLE;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM surface_nosy;
ALTER DEFAULT PRIVILEGES IN SCHEMA offsync_internal REVOKE ALL ON TABLES FROM surface_nosy;
ALTER DEFAULT PRIVILEGES FOR ROLE surface_owner REVOKE ALL ON TABLES FROM surface_nosy;
SELECT is(surface.may(relacl, acldefault('r', relowner), relowner) || ' ' || relowner::regrole || ' ' || relrowsecurity, 'nobody surface_owner true', 'the tombstones of secretive')
	FROM pg_class WHERE oid = 'offsync_internal.secretive_tombstone'::regclass;
SELECT set_eq($$SELECT attname::text, surface.may(attacl, acldefault('c', 10), 10::oid) FROM pg_attribute WHERE attrelid = 'offsync_internal.secretive_tombstone'::regclass AND attnum > 0$$,
	$$VALUES ('a', 'all select'), ('b', 'all select'), ('owner', 'nobody'), ('body', 'nobody'), ('offsync_version', 'all select'), ('offsync_created', 'nobody'), ('offsync_at', 'nobody')$$, 'and its columns');
SELECT set_eq($$SELECT polname::text, polcmd::text, polpermissive FROM pg_policy WHERE polrelid = 'offsync_internal.secretive_tombstone'::regclass$$,
	$$VALUES ('own', 'r', true), ('offsync_key_readable', 'r', false)$$, 'through the mirrored policies, for SELECT alone');
SELECT set_eq($$SELECT tgname::text, tgfoid::regprocedure::text, tgenabled::text FROM pg_trigger WHERE tgrelid = 'surface.secretive'::regclass AND NOT tgisinternal$$,
	$$VALUES ('zzzz_offsync_stamp', 'offsync_internal.stamp()', 'A'), ('offsync_delete', 'offsync_internal.bury()', 'A'),
		('offsync_truncate', 'offsync_internal.truncated()', 'A')$$, 'three triggers on the table');
SET ROLE surface_nosy;
SELECT throws_ok('SELECT ' || c || ' FROM offsync_internal.secretive_tombstone', '42501', NULL, c || ' can''t be read') FROM unnest('{owner,body,offsync_at,*}'::text[]) c;
SELECT lives_ok('SELECT a, b, offsync_version FROM offsync_internal.secretive_tombstone', 'the key can');
RESET ROLE;

-- The wrappers of expose belong to who made them, and run as their callers
GRANT CREATE ON SCHEMA surface TO surface_owner;
SET ROLE surface_owner;
SELECT ok(count(*) > 0, 'exposed') FROM offsync.expose('surface');
RESET ROLE;
SELECT set_eq($$SELECT proname::text, prosecdef, proowner::regrole::text, surface.may(proacl, acldefault('f', proowner), proowner) FROM pg_proc WHERE pronamespace = 'surface'::regnamespace AND proname <> 'may'$$,
	$$SELECT n AS a, false AS b, 'surface_owner' AS c, 'all execute' AS d FROM unnest('{pull_changes,push_changes,sync_changes,digest,reconcile}'::text[]) n$$, 'the wrappers');

-- Another owner: whoever had the table before has nothing of its tombstones any more
ALTER TABLE surface.secretive OWNER TO surface_ann;
SELECT is(relowner::regrole::text || ' ' || surface.may(relacl, acldefault('r', relowner), relowner), 'surface_ann nobody', 'its tombstones follow')
	FROM pg_class WHERE oid = (SELECT tombstones FROM offsync.status WHERE collection = 'secretive');
SET ROLE surface_owner;
SELECT throws_ok($$SELECT owner FROM offsync_internal.secretive_tombstone$$, '42501', NULL, 'the former owner reads nothing');
SELECT throws_ok($$DROP TABLE offsync_internal.secretive_tombstone$$, '42501', NULL, 'and drops nothing');
SELECT throws_ok($$SELECT offsync.disable('surface.secretive')$$, '42501', NULL, 'and disables nothing');
SET ROLE surface_ann;
SELECT lives_ok($$SELECT offsync.reset('surface.secretive')$$, 'the new one does');
RESET ROLE;

SET client_min_messages = error;
DROP SCHEMA surface CASCADE;
DROP OWNED BY surface_owner, surface_ann, surface_nosy;
DROP ROLE surface_owner, surface_ann, surface_nosy;
SELECT * FROM finish();
