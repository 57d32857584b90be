-- offsync.enable and offsync.disable, as the owner of a table meets them.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE regress_offsync_owner;
CREATE ROLE regress_offsync_ann;
CREATE ROLE regress_offsync_bob;
CREATE SCHEMA shop AUTHORIZATION regress_offsync_owner;
GRANT USAGE ON SCHEMA shop TO regress_offsync_ann, regress_offsync_bob;
SET ROLE regress_offsync_owner;
SET search_path = shop;

-- Everything that enable could leave behind on a table.
CREATE FUNCTION trace(tbl regclass) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(E'\n', c.relacl, c.relrowsecurity, c.relforcerowsecurity,
		(SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attacl,
			pg_get_expr(adbin, adrelid)), ',' ORDER BY attnum)
			FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
			WHERE attrelid = tbl AND attnum > 0 AND NOT attisdropped),
		(SELECT string_agg(pg_get_triggerdef(oid), ',' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = tbl),
		(SELECT string_agg(pg_get_indexdef(indexrelid), ',' ORDER BY indexrelid) FROM pg_index WHERE indrelid = tbl),
		(SELECT string_agg(concat(polname, pg_get_expr(polqual, polrelid)), ',' ORDER BY polname)
			FROM pg_policy WHERE polrelid = tbl))
	FROM pg_class c WHERE c.oid = tbl
$$;

CREATE TABLE task (
	id uuid PRIMARY KEY,
	owner name NOT NULL DEFAULT current_user,
	org int,
	title text
);
INSERT INTO task (id, owner, org, title) VALUES
	('00000000-0000-0000-0000-000000000001', 'regress_offsync_ann', 1, 'of ann'),
	('00000000-0000-0000-0000-000000000002', 'regress_offsync_bob', 1, 'of bob');
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON task USING (owner = current_user);
CREATE POLICY "Same Org" ON task AS RESTRICTIVE FOR SELECT
	TO regress_offsync_ann, regress_offsync_bob USING (org = 1);
CREATE POLICY writers ON task FOR INSERT WITH CHECK (org IS NOT NULL);
GRANT SELECT, DELETE ON task TO regress_offsync_ann;
GRANT SELECT (title) ON task TO regress_offsync_bob;
SELECT trace('task') AS before, pg_relation_filenode('task') AS filenode \gset

-- One call.  It says what it did, and no row was rewritten.
SELECT * FROM offsync.enable('task');
SELECT pg_relation_filenode('task') = :filenode AS not_rewritten;
SELECT count(*), count(DISTINCT server_version) AS versions FROM task WHERE server_created_version = server_version;

-- Again: nothing.  With other options: no.
SELECT * FROM offsync.enable('task', collection => 'task');
SELECT * FROM offsync.enable('task', conflict => 'client_wins', columns => '{id,title}');
SELECT * FROM offsync.enable('task', notify => true);

SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'task'::regclass ORDER BY 1;
SELECT collection, tbl, key, conflict, tombstones, state, tombstone_bytes > 0 AS bytes, oldest_tombstone, mirror FROM offsync.status;

-- The SELECT policies again, on the tombstones.
SELECT policyname, permissive, roles, cmd, qual FROM pg_policies
	WHERE schemaname = 'offsync_internal' ORDER BY policyname COLLATE "C";

-- A deletion is for those to learn who could see the row and may read its key.
RESET ROLE;
DELETE FROM shop.task WHERE id = '00000000-0000-0000-0000-000000000001';
UPDATE shop.task SET org = 2 WHERE id = '00000000-0000-0000-0000-000000000002';
SELECT id, owner, org FROM offsync_internal.task_tombstone ORDER BY id;
SET ROLE regress_offsync_ann;
SELECT id FROM offsync_internal.task_tombstone;
SELECT owner FROM offsync_internal.task_tombstone;
SET ROLE regress_offsync_bob;
SELECT id FROM offsync_internal.task_tombstone;
RESET ROLE;
GRANT SELECT (id) ON shop.task TO regress_offsync_bob;
DELETE FROM shop.task;
INSERT INTO shop.task (id, owner, org) VALUES ('00000000-0000-0000-0000-000000000003', 'regress_offsync_bob', 1);
DELETE FROM shop.task;
SET ROLE regress_offsync_bob;
SELECT id FROM offsync_internal.task_tombstone;
SET ROLE regress_offsync_owner;

-- Back to what it was.
SELECT offsync.disable('task');
REVOKE SELECT (id) ON task FROM regress_offsync_bob;
SELECT trace('task') = :'before' AS no_trace;
SELECT offsync.disable('task');
RESET ROLE;
SELECT relname FROM pg_class WHERE relnamespace = 'offsync_internal'::regnamespace AND relkind = 'r' ORDER BY 1;
SELECT count(*) FROM offsync_internal.reset_event;
SET ROLE regress_offsync_owner;

-- Columns that were there before are kept, as they are.
CREATE TABLE seed (id bigint PRIMARY KEY, server_created_at timestamptz, server_updated_at timestamptz DEFAULT now());
SELECT trace('seed') AS before \gset
SELECT * FROM offsync.enable('seed', index => 'version') WHERE action IN ('column', 'index');
SELECT attname, attnotnull FROM pg_attribute WHERE attrelid = 'seed'::regclass AND attnum > 0 ORDER BY attnum;
SELECT offsync.disable('seed');
SELECT trace('seed') = :'before' AS no_trace;
-- drop_columns => false leaves the columns
SELECT count(*) FROM offsync.enable('seed');
SELECT offsync.disable('seed', drop_columns => false);
SELECT count(*) FROM pg_attribute WHERE attrelid = 'seed'::regclass AND attname ~ '^server' AND NOT attisdropped;

-- Indexes: advice by default, built on request.
CREATE INDEX task_owner ON task (owner);
SELECT * FROM offsync.enable('task') WHERE action IN ('index', 'advice');
SELECT offsync.disable('task');
SELECT * FROM offsync.enable('task', index => 'scope') WHERE action IN ('index', 'advice');
SELECT pg_get_indexdef('task_owner_server_version_idx'::regclass);
SELECT offsync.disable('task');
SELECT * FROM offsync.enable('task', index => 'none') WHERE action IN ('index', 'advice');
SELECT offsync.disable('task');
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'task'::regclass ORDER BY 1;

-- Policies that no delta can follow are named.
CREATE TABLE member (team int, who name, PRIMARY KEY (team, who));
CREATE TABLE note (id int PRIMARY KEY, team int, body text);
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON note USING (team IN (SELECT m.team FROM member m WHERE m.who = current_user));
CREATE POLICY late ON note USING (clock_timestamp() IS NOT NULL);
CREATE POLICY whole ON note AS RESTRICTIVE USING (note IS NOT NULL);
SELECT * FROM offsync.enable('note') WHERE action = 'warning';
SELECT policyname, permissive, qual FROM pg_policies WHERE tablename = 'note_tombstone' ORDER BY 1;
SELECT offsync.disable('note');

-- Any key: a composite one, another unique key, odd names, a name that is the collection's own.
CREATE TABLE "Odd ""Name" ("A b" text COLLATE "C", "select" numeric(10,2), "C" int NOT NULL UNIQUE, PRIMARY KEY ("select", "A b"));
SELECT * FROM offsync.enable('"Odd ""Name"');
SELECT * FROM offsync.enable('"Odd ""Name"', collection => 'odd') WHERE action = 'tombstones';
INSERT INTO "Odd ""Name" VALUES ('x', 1.5, 1), ('y', 2, 2);
UPDATE "Odd ""Name" SET "select" = 3 WHERE "A b" = 'x';
DELETE FROM "Odd ""Name" WHERE "A b" = 'y';
SELECT "select", "A b" FROM offsync_internal.odd_tombstone ORDER BY 1;
SELECT offsync.disable('"Odd ""Name"');
SELECT * FROM offsync.enable('"Odd ""Name"', 'odd', key => '{C}') WHERE action = 'tombstones';
SELECT * FROM offsync.enable('seed', collection => 'odd');
SELECT offsync.disable('"Odd ""Name"');

-- A partitioned table: every partition at every level is tracked.
CREATE TABLE log (id int PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE log1 PARTITION OF log FOR VALUES FROM (0) TO (10);
CREATE TABLE log2 PARTITION OF log FOR VALUES FROM (10) TO (30) PARTITION BY RANGE (id);
CREATE TABLE log21 PARTITION OF log2 FOR VALUES FROM (10) TO (20);
SELECT trace('log') || trace('log21') AS before \gset
SELECT * FROM offsync.enable('log') WHERE action IN ('column', 'advice');
SELECT relid, count(*), string_agg(DISTINCT tgenabled::text, '') AS enabled
	FROM pg_partition_tree('log') JOIN pg_trigger ON tgrelid = relid GROUP BY relid ORDER BY relid;
INSERT INTO log VALUES (1, 'a'), (12, 'b');
DELETE FROM log21;
UPDATE log SET id = 13 WHERE id = 1;
SELECT id FROM offsync_internal.log_tombstone ORDER BY id;
SELECT offsync.disable('log');
SELECT trace('log') || trace('log21') = :'before' AS no_trace;

-- What can't be synced, and what to do about it.
SELECT * FROM offsync.enable(NULL);
CREATE TABLE keyless (a int);
SELECT * FROM offsync.enable('keyless');
CREATE TABLE loose (a int UNIQUE, b int NOT NULL, c json, PRIMARY KEY (b) DEFERRABLE);
CREATE UNIQUE INDEX ON loose (b) WHERE a > 0;
SELECT * FROM offsync.enable('loose');
SELECT * FROM offsync.enable('loose', key => '{a}');
SELECT * FROM offsync.enable('loose', key => '{b}');
SELECT * FROM offsync.enable('loose', key => '{z}');
CREATE VIEW task_view AS SELECT * FROM task;
SELECT * FROM offsync.enable('task_view');
CREATE MATERIALIZED VIEW task_mat AS SELECT * FROM task;
SELECT * FROM offsync.enable('task_mat');
CREATE SEQUENCE seq;
SELECT * FROM offsync.enable('seq');
CREATE TEMP TABLE temporary (id int PRIMARY KEY);
SELECT * FROM offsync.enable('temporary');
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
SELECT * FROM offsync.enable('unlogged');
SELECT * FROM offsync.enable('log1');
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
SELECT * FROM offsync.enable('parent');
SELECT * FROM offsync.enable('child');
CREATE TYPE row_type AS (id int);
CREATE TABLE typed OF row_type (PRIMARY KEY (id));
SELECT * FROM offsync.enable('typed');
CREATE TABLE wrong_type (id int PRIMARY KEY, server_version text);
SELECT * FROM offsync.enable('wrong_type');
CREATE TABLE generated (id int PRIMARY KEY, server_version bigint GENERATED ALWAYS AS (id) STORED);
SELECT * FROM offsync.enable('generated');
CREATE TABLE triggered (id int PRIMARY KEY);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER zzzzz BEFORE UPDATE ON triggered FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT * FROM offsync.enable('triggered');
SELECT * FROM offsync.enable('seed', conflict => 'coin_toss');
SELECT * FROM offsync.enable('seed', index => 'gist');
SELECT * FROM offsync.enable('seed', index => 'scope');
SELECT * FROM offsync.enable('seed', columns => '{server_updated_at}');
SELECT * FROM offsync.enable('seed', columns => '{id,nosuch}');
SELECT * FROM offsync.enable('seed', collection => '');
SELECT * FROM offsync.enable('seed', collection => 'a b');
SELECT * FROM offsync.enable('seed', collection => '__proto__');
SELECT * FROM offsync.enable('pg_class');
RESET ROLE;
SELECT * FROM offsync.enable('pg_class');
SELECT * FROM offsync.enable('offsync_internal.synced_table');
CREATE TABLE shop.published (id int PRIMARY KEY);
SET client_min_messages = error;
CREATE PUBLICATION regress_offsync_pub FOR TABLE shop.published;
SET client_min_messages = warning;
SELECT * FROM offsync.enable('shop.published');
SELECT count(*) > 0 AS forced FROM offsync.enable('shop.published', force => true);
DROP PUBLICATION regress_offsync_pub;
BEGIN READ ONLY;
SELECT * FROM offsync.enable('shop.seed');
ROLLBACK;

-- Only the owner.
SET ROLE regress_offsync_ann;
SELECT * FROM offsync.enable('shop.task');
SELECT offsync.disable('shop.published');
SELECT offsync.reset('shop.published');
SELECT * FROM offsync_internal.synced_table;
RESET ROLE;
SELECT offsync.reset('shop.published');
SELECT tbl::regclass, reason FROM offsync_internal.reset_event ORDER BY at;
SELECT offsync.disable('shop.published');

-- The calls, for PostgREST.
CREATE SCHEMA shop_api;
-- like pgcrypto's: PostgREST can't call it
CREATE FUNCTION shop_api.digest(text, text) RETURNS text LANGUAGE sql AS 'SELECT $1';
SELECT * FROM offsync.expose('shop_api');
DROP FUNCTION shop_api.digest(text, text);
SELECT * FROM offsync.expose('shop_api');
SELECT action FROM offsync.expose('shop_api', 'json', replace => true);
SELECT proname, pg_get_function_arguments(oid) AS arguments, provolatile, prosecdef
	FROM pg_proc WHERE pronamespace = 'shop_api'::regnamespace ORDER BY 1;
CREATE FUNCTION shop_api.old_pull_changes(x int) RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT * FROM offsync.expose('shop_api', prefix => 'old_', replace => true);
SELECT * FROM offsync.expose('shop_api', 'xml');
SELECT * FROM offsync.expose('offsync');
SELECT * FROM offsync.expose('pg_catalog');
SET ROLE regress_offsync_ann;
SELECT * FROM offsync.expose('shop_api');
RESET ROLE;

-- A notice has room for a name, but not for any.
CREATE TABLE told (id int PRIMARY KEY);
SELECT * FROM offsync.enable('told', collection => repeat('x', 1001), notify => true);
SELECT count(*) > 0 AS enabled FROM offsync.enable('told', collection => repeat('x', 1000), notify => true);
INSERT INTO told VALUES (1);

DROP TABLE temporary;
DROP SCHEMA shop, shop_api CASCADE;
DROP ROLE regress_offsync_owner, regress_offsync_ann, regress_offsync_bob;
