-- What other commands do to a synced table: the tombstones follow, devices start anew, and what would break sync is refused.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE regress_offsync_owner;
CREATE ROLE regress_offsync_heir;
CREATE SCHEMA shop AUTHORIZATION regress_offsync_owner;
GRANT USAGE ON SCHEMA shop TO regress_offsync_heir;
SET ROLE regress_offsync_owner;
SET search_path = shop;
CREATE TABLE task (id int PRIMARY KEY, owner text, org int, title text);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON task USING (owner = current_user);
CREATE TABLE other (id int PRIMARY KEY);
SELECT count(*) > 0 AS enabled FROM offsync.enable('task');
SELECT count(*) > 0 AS enabled FROM offsync.enable('other');
RESET ROLE;

-- The tombstones of "task", and what happened to each collection since the last look.
CREATE VIEW shop.tombstones AS
	SELECT c.relowner::regrole AS owner, c.relforcerowsecurity AS forced,
		(SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns,
		(SELECT string_agg(polname || coalesce(pg_get_expr(polqual, polrelid), ''), ' ' ORDER BY polname) FROM pg_policy
			WHERE polrelid = c.oid AND polname <> 'offsync_key_readable') AS policies
	FROM pg_class c JOIN offsync_internal.synced_table s ON s.tombstone = c.oid WHERE s.collection = 'task';
CREATE FUNCTION shop.news() RETURNS TABLE (collection text, reason text) LANGUAGE sql AS $$
	WITH gone AS (DELETE FROM offsync_internal.reset_event RETURNING *)
	SELECT s.collection, gone.reason FROM gone JOIN offsync_internal.synced_table s USING (tbl) ORDER BY gone.at
$$;
SELECT * FROM shop.news();
SELECT * FROM shop.tombstones;
INSERT INTO shop.task VALUES (1, 'x', 1, 'a'), (2, 'y', 1, 'b');
DELETE FROM shop.task WHERE id = 1;
SELECT id FROM offsync_internal.task_tombstone;

-- A policy that reads another column: a new image, and no old tombstone that it might show.
SET ROLE regress_offsync_owner;
CREATE POLICY same_org ON task FOR SELECT USING (org = 1);
RESET ROLE;
SELECT id FROM offsync_internal.task_tombstone;
SELECT * FROM shop.tombstones;
SELECT * FROM shop.news();
UPDATE shop.task SET org = 3 WHERE id = 2;
SELECT id, owner, org FROM offsync_internal.task_tombstone;
DELETE FROM shop.task;
SELECT id, owner, org FROM offsync_internal.task_tombstone;
SET ROLE regress_offsync_owner;
ALTER POLICY same_org ON task USING (org = 2);
RESET ROLE;
SELECT * FROM shop.tombstones;
SELECT id FROM offsync_internal.task_tombstone;
SELECT * FROM shop.news();
-- one that concerns no SELECT
CREATE POLICY inserts ON shop.task FOR INSERT WITH CHECK (true);
SELECT * FROM shop.news();

-- A function that a policy calls gets another body.
CREATE FUNCTION shop.may(int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT $1 > 1';
ALTER POLICY same_org ON shop.task USING (shop.may(org));
SELECT * FROM shop.news();
CREATE OR REPLACE FUNCTION shop.may(int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT $1 > 2';
SELECT * FROM shop.news();
CREATE FUNCTION shop.unrelated() RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT * FROM shop.news();
-- dropped, and the policy with it: the mirror must not be in the way
DROP FUNCTION shop.may(int);
DROP FUNCTION shop.may(int) CASCADE;
SELECT * FROM shop.tombstones;
SELECT * FROM shop.news();

-- Columns, grants, flags, owners.
ALTER TABLE shop.task ADD COLUMN extra int, DROP COLUMN title;
GRANT SELECT (id) ON shop.task TO regress_offsync_heir;
ALTER TABLE shop.task FORCE ROW LEVEL SECURITY;
ALTER TABLE shop.task OWNER TO regress_offsync_heir;
SELECT * FROM shop.tombstones;
SELECT * FROM shop.news();
ALTER TABLE shop.task DISABLE ROW LEVEL SECURITY;
SELECT * FROM shop.tombstones;
ALTER TABLE shop.task ENABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
SELECT * FROM shop.tombstones;
SELECT collection, state FROM offsync.status ORDER BY 1;
SELECT count(*) FROM shop.news();

-- Names may change.  Only the image is made anew.
ALTER TABLE shop.task RENAME TO job;
ALTER SCHEMA shop RENAME TO firm;
SELECT * FROM firm.news();
ALTER TABLE firm.job RENAME COLUMN owner TO boss;
SELECT collection, tbl, tombstones, state FROM offsync.status ORDER BY 1;
INSERT INTO firm.job (id, boss) VALUES (5, 'z');
DELETE FROM firm.job;
SELECT id, boss FROM offsync_internal.task_tombstone;
ALTER SCHEMA firm RENAME TO shop;
ALTER TABLE shop.job RENAME TO task;

-- A rewrite is not for snapshots to see.
DELETE FROM offsync_internal.reset_event;
ALTER TABLE shop.task ALTER COLUMN extra TYPE bigint;
SELECT DISTINCT * FROM shop.news() ORDER BY 2;

-- What sync depends on stays.
ALTER TABLE shop.task DROP CONSTRAINT task_pkey;
ALTER TABLE shop.task RENAME COLUMN id TO ident;
ALTER TABLE shop.task DROP COLUMN server_version;
ALTER TABLE shop.task SET UNLOGGED;
CREATE TABLE shop.heir () INHERITS (shop.task);
DROP TABLE offsync_internal.task_tombstone;
CREATE POLICY offsync_key_readable ON shop.task USING (true);
SELECT * FROM shop.news();

-- A trigger that doesn't fire always, or is gone, is seen.
ALTER TABLE shop.task DISABLE TRIGGER zzzz_offsync_stamp;
SELECT state FROM offsync.status WHERE collection = 'task';
ALTER TABLE shop.task ENABLE TRIGGER ALL;
SELECT state FROM offsync.status WHERE collection = 'task';
ALTER TABLE shop.task ENABLE ALWAYS TRIGGER zzzz_offsync_stamp, ENABLE ALWAYS TRIGGER offsync_delete,
	ENABLE ALWAYS TRIGGER offsync_truncate;
SELECT state FROM offsync.status WHERE collection = 'task';
-- what was written meanwhile went unseen
SELECT count(*) > 0 AS started_anew FROM shop.news();
CREATE FUNCTION shop.later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER zzzzz BEFORE UPDATE ON shop.task FOR EACH ROW EXECUTE FUNCTION shop.later();
SELECT state FROM offsync.status WHERE collection = 'task';
DROP TRIGGER zzzzz ON shop.task;
SELECT count(*) AS started_anew FROM shop.news();
-- enable mends
DROP TRIGGER offsync_delete ON shop.task;
ALTER TABLE shop.task ENABLE REPLICA TRIGGER zzzz_offsync_stamp;
SELECT state FROM offsync.status WHERE collection = 'task';
SELECT * FROM offsync.enable('shop.task');
SELECT state FROM offsync.status WHERE collection = 'task';
SELECT * FROM offsync.enable('shop.task', collection => 'task');
SELECT DISTINCT * FROM shop.news() ORDER BY 2;

-- Its owner can't make the tombstone table stumble.
DELETE FROM shop.task;
INSERT INTO shop.task (id, boss) VALUES (7, 'x'), (8, 'y'), (9, 'z');
SET ROLE regress_offsync_heir;
CREATE INDEX ON offsync_internal.task_tombstone (boss);
DELETE FROM shop.task WHERE id = 7;
ALTER TABLE offsync_internal.task_tombstone ALTER COLUMN id TYPE text, ADD COLUMN more int;
CREATE TRIGGER mine BEFORE INSERT ON offsync_internal.task_tombstone FOR EACH ROW EXECUTE FUNCTION shop.later();
CREATE RULE mine AS ON INSERT TO offsync_internal.task_tombstone DO INSTEAD NOTHING;
ALTER TABLE offsync_internal.task_tombstone NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON offsync_internal.task_tombstone USING (true);
-- a policy beside the mirrors is seen, and goes when enable mends
RESET ROLE;
DELETE FROM shop.task WHERE id = 8;
SELECT id, boss FROM offsync_internal.task_tombstone;
SELECT count(*) FROM pg_index WHERE indrelid = 'offsync_internal.task_tombstone'::regclass;
SELECT * FROM shop.tombstones;
SELECT state FROM offsync.status WHERE collection = 'task';
SELECT * FROM offsync.enable('shop.task');
SELECT * FROM shop.tombstones;
SELECT count(*) > 0 AS started_anew FROM shop.news();

-- Partitions come and go.
CREATE TABLE shop.log (id int PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE shop.log1 PARTITION OF shop.log FOR VALUES FROM (0) TO (10);
SELECT count(*) > 0 AS enabled FROM offsync.enable('shop.log');
SELECT * FROM shop.news();
CREATE TABLE shop.log2 PARTITION OF shop.log FOR VALUES FROM (10) TO (20);
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'shop.log2'::regclass ORDER BY 1;
SELECT * FROM shop.news();
ALTER TABLE shop.log DETACH PARTITION shop.log1;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'shop.log1'::regclass;
SELECT * FROM shop.news();
ALTER TABLE shop.log ATTACH PARTITION shop.log1 FOR VALUES FROM (0) TO (10);
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'shop.log1'::regclass ORDER BY 1;
SELECT * FROM shop.news();
TRUNCATE shop.log1;
SELECT * FROM shop.news();
DROP TABLE shop.log2;
SELECT * FROM shop.news();

-- In one transaction, undone.
BEGIN;
CREATE POLICY more ON shop.task USING (extra = 1);
ROLLBACK;
SELECT * FROM shop.tombstones;
SELECT * FROM shop.news();

-- Dropped tables leave nothing.
SELECT collection FROM offsync.status ORDER BY 1;
DROP TABLE shop.log;
DROP TABLE shop.task CASCADE;
SELECT collection FROM offsync.status ORDER BY 1;

-- Without the extension everything goes on working.
BEGIN;
SET LOCAL client_min_messages = error;
DROP EXTENSION offsync CASCADE;
INSERT INTO shop.other (id) VALUES (1);
SELECT id, server_version IS NOT NULL AS versioned FROM shop.other;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'shop.other'::regclass;
SELECT nspname FROM pg_namespace WHERE nspname = 'offsync_internal';
ROLLBACK;

DROP OWNED BY regress_offsync_owner, regress_offsync_heir CASCADE;
DROP SCHEMA IF EXISTS shop CASCADE;
DROP ROLE regress_offsync_owner, regress_offsync_heir;
SELECT count(*) AS synced FROM offsync.status;
SELECT relname FROM pg_class WHERE relnamespace = 'offsync_internal'::regnamespace AND relkind = 'r' ORDER BY 1;
