-- Access through other tables in ways that have no delta: events, and what is declared of functions (P8).
-- Every statement is a transaction of its own, as devices have them.
\ir begin.psql
DROP ROLE IF EXISTS access_ann;
DROP ROLE IF EXISTS access_bob;
DROP ROLE IF EXISTS access_owner;
DROP ROLE IF EXISTS access_team;
CREATE ROLE access_ann;
CREATE ROLE access_bob;
CREATE ROLE access_owner;
CREATE ROLE access_team;
CREATE SCHEMA access;
GRANT USAGE, CREATE ON SCHEMA access TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA access GRANT ALL ON TABLES TO access_ann, access_bob;
SET search_path = access, public;
SELECT no_plan();

CREATE FUNCTION ids(records json) RETURNS text LANGUAGE sql
	AS $$SELECT coalesce(string_agg(coalesce(r ->> 'id', r #>> '{}'), ',' ORDER BY coalesce(r ->> 'id', r #>> '{}') COLLATE "C"), '') FROM json_array_elements(records) r$$;
-- where each of two devices of ann's stands: one keeps the cursor, one the number
CREATE TABLE device (form text, collection text, since text, PRIMARY KEY (form, collection));
-- ann pulls: what came (created or updated / deleted, or the replacement), and goes on from there
CREATE FUNCTION pull(form text, collection text, claims text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE since text; a json; c json;
BEGIN
	SELECT d.since INTO since FROM device d WHERE (d.form, d.collection) = (pull.form, pull.collection);
	PERFORM set_config('request.jwt.claims', coalesce(claims, '{"sub": "ann"}'), true);
	SET LOCAL ROLE access_ann;
	a := offsync.pull_changes(since, ARRAY[collection]);
	RESET ROLE;
	PERFORM set_config('request.jwt.claims', '', true);
	INSERT INTO device VALUES (form, collection, a ->> CASE form WHEN 'cursor' THEN 'cursor' ELSE 'timestamp' END)
		ON CONFLICT ON CONSTRAINT device_pkey DO UPDATE SET since = EXCLUDED.since;
	c := a -> 'changes' -> collection;
	RETURN CASE WHEN a -> 'experimentalStrategy' IS NULL THEN '' ELSE 'replaced by ' END ||
		ids(((c -> 'created')::jsonb || (c -> 'updated')::jsonb)::json) ||
		CASE WHEN json_array_length(c -> 'deleted') > 0 THEN ' / ' || ids(c -> 'deleted') ELSE '' END;
END$$;
CREATE FUNCTION events(tbl regclass) RETURNS bigint LANGUAGE sql AS $$SELECT count(*) FROM offsync_internal.access_event e WHERE e.tbl = events.tbl$$;
CREATE FUNCTION me() RETURNS text LANGUAGE sql STABLE AS $$SELECT current_setting('request.jwt.claims', true)::json ->> 'sub'$$;
CREATE FUNCTION touching(tbl regclass) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(tgname || ' ' || tgenabled::text, ', ' ORDER BY tgname), '') FROM pg_trigger WHERE tgrelid = tbl AND tgname ~ '^offsync_access'$$;

-- ---------------------------------------------------------------------------
-- A subquery tied to the row in no simple way, over a table with policies of its own
-- ---------------------------------------------------------------------------
CREATE TABLE member (project int, person text, rank int, PRIMARY KEY (project, person));
ALTER TABLE member ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON member USING (person = me());
CREATE TABLE other (id int PRIMARY KEY);
CREATE TABLE task (id text PRIMARY KEY, project int, level int, body text);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY ranked ON task USING (EXISTS (SELECT FROM member m WHERE m.project = task.project AND m.rank >= task.level));
INSERT INTO member VALUES (1, 'ann', 5), (2, 'bob', 5), (1, 'bob', 9);
INSERT INTO task SELECT 'p' || p || 'l' || l, p, l FROM generate_series(1, 2) p, generate_series(4, 6) l;
SELECT is((SELECT string_agg(action || ' ' || detail, '; ') FROM offsync.enable('task') WHERE action IN ('warning') OR detail ~ 'offsync_access'),
	'trigger offsync_access on access.member, which policies read', 'enable puts triggers on the table, and warns of nothing');
SELECT is(touching('member'), 'offsync_access A, offsync_access_applied R', 'the triggers');
SELECT is(pull('cursor', 'task'), 'p1l4,p1l5', 'first sync');
SELECT is(pull('number', 'task'), 'p1l4,p1l5', 'first sync, number');

SELECT is(pull('cursor', 'task'), '', 'nothing changed');
UPDATE task SET body = 'changed' WHERE level <> 5;
SELECT is(pull('cursor', 'task'), 'p1l4', 'a change');
SELECT is(pull('number', 'task'), 'p1l4', 'a change, number');
UPDATE task SET level = 7 WHERE id = 'p1l4';
SELECT is(pull('cursor', 'task'), ' / p1l4', 'out of sight by its own column');
SELECT is(pull('number', 'task'), ' / p1l4', 'the same, number');
UPDATE task SET level = 5 WHERE id = 'p1l4';
DELETE FROM task WHERE id IN ('p1l5', 'p2l5');
SELECT is(pull('cursor', 'task'), 'p1l4 / p1l5', 'back, and a deletion: only the one that was seen');
SELECT is(pull('number', 'task'), 'p1l4 / p1l5', 'the same, number');
INSERT INTO other VALUES (1);
SELECT is(pull('cursor', 'task'), '', 'other tables don''t matter');

INSERT INTO member VALUES (2, 'ann', 6);
SELECT is(pull('cursor', 'task'), 'replaced by p1l4,p2l4,p2l6', 'a membership gained');
SELECT is(pull('number', 'task'), 'replaced by p1l4,p2l4,p2l6', 'the same, number');
SELECT is(pull('cursor', 'task'), '', 'and on with deltas');
SELECT is(pull('number', 'task'), '', 'the same, number');
UPDATE task SET body = 'again' WHERE id = 'p2l4';
DELETE FROM member WHERE project = 2;
SELECT is(pull('cursor', 'task'), 'replaced by p1l4', 'a membership lost');
SELECT is(pull('number', 'task'), 'replaced by p1l4', 'the same, number');

-- the nested policy's claim, though no expression of the table's own policy names it
SELECT is(pull('cursor', 'task', '{"sub": "bob"}'), 'replaced by p1l4,p1l6', 'another claim');
SELECT is(pull('cursor', 'task'), 'replaced by p1l4', 'and back');
SELECT is(pull('cursor', 'task', '{"sub": "ann", "exp": 1}'), '', 'a refreshed token');

-- subtransactions
BEGIN;
SAVEPOINT a;
UPDATE member SET rank = 9 WHERE person = 'ann';
ROLLBACK TO a;
COMMIT;
SELECT is(pull('cursor', 'task'), '', 'an event that was rolled back');
BEGIN;
SAVEPOINT a;
UPDATE member SET rank = 9 WHERE person = 'ann';
ROLLBACK TO a;
UPDATE member SET rank = 6 WHERE person = 'ann';
UPDATE member SET rank = 6 WHERE person = 'ann';
COMMIT;
SELECT is(pull('cursor', 'task'), 'replaced by p1l4,p1l6', 'an event behind one that was rolled back');
SELECT is(pull('number', 'task'), 'replaced by p1l4,p1l6', 'the same, number');
SELECT is((SELECT max(n) FROM (SELECT count(*) n FROM offsync_internal.access_event WHERE tbl = 'member'::regclass GROUP BY version) v), 1::bigint, 'one event a transaction');
BEGIN;
DECLARE c CURSOR FOR SELECT 1;
COPY member FROM stdin;
3	ann	1
\.
COMMIT;
SELECT is(pull('cursor', 'task'), 'replaced by p1l4,p1l6', 'COPY');
SELECT is(pull('number', 'task'), 'replaced by p1l4,p1l6', 'the same, number');
SET session_replication_role = replica;
UPDATE member SET rank = 5 WHERE person = 'ann';
RESET session_replication_role;
SELECT is(pull('cursor', 'task'), 'replaced by p1l4', 'a replica''s session');


-- a cascade
CREATE TABLE person (name text PRIMARY KEY);
INSERT INTO person VALUES ('ann'), ('bob');
ALTER TABLE member ADD FOREIGN KEY (person) REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE;
SELECT is(pull('cursor', 'task'), '', 'a foreign key changes nothing');
UPDATE person SET name = 'anna' WHERE name = 'ann';
SELECT is(pull('cursor', 'task'), 'replaced by ', 'a cascading update');
UPDATE person SET name = 'ann' WHERE name = 'anna';
SELECT is(pull('cursor', 'task'), 'replaced by p1l4', 'and back');
DELETE FROM person WHERE name = 'bob';
SELECT is(pull('cursor', 'task'), 'replaced by p1l4', 'a cascading delete');
INSERT INTO person VALUES ('bob');

-- one event tells what those before it did
SELECT is(pull('cursor', 'task'), '', 'nothing new');
CREATE TABLE saved AS SELECT * FROM device WHERE collection = 'task';
UPDATE member SET rank = 6 WHERE person = 'ann';
SELECT pull(form, 'task') IS NOT NULL AS pulled FROM device WHERE form = 'cursor' \gset
UPDATE member SET rank = 5 WHERE person = 'ann';
SELECT is(events('member') > 2, true, 'many events');
SELECT is((SELECT removed > 2 FROM offsync.prune() WHERE what = 'access events'), true, 'prune takes them');
SELECT is(events('member'), 1::bigint, 'but for one');
SELECT is(pull('cursor', 'task'), 'replaced by p1l4', 'who has not seen the last one');
SELECT is(pull('cursor', 'task'), '', 'who has');
DELETE FROM device WHERE collection = 'task';
INSERT INTO device SELECT * FROM saved;
SELECT is(pull('cursor', 'task'), 'replaced by p1l4', 'who has seen none of them');
SELECT is(pull('number', 'task'), 'replaced by p1l4', 'the same, number');
SELECT is(pull('number', 'task'), '', 'and on');
UPDATE member SET rank = 5 WHERE person = 'ann';
SELECT is((SELECT removed FROM offsync.prune('0') WHERE what = 'access events'), 2::bigint, 'nothing is kept');
SELECT is(pull('cursor', 'task'), 'replaced by p1l4', 'then who has not seen it takes the collection anew');
SELECT is(pull('cursor', 'task'), '', 'once');

-- through a view with its owner's rights, and by TRUNCATE
CREATE VIEW ranks AS SELECT project, person, rank FROM member;
ALTER POLICY ranked ON task USING (EXISTS (SELECT FROM ranks m WHERE m.project = task.project AND m.rank >= task.level AND m.person = me()));
SELECT is(pull('cursor', 'task'), 'replaced by p1l4', 'another policy');
SELECT is(pull('cursor', 'task'), '', 'a view is seen through');
UPDATE member SET rank = 6 WHERE person = 'ann';
SELECT is(pull('cursor', 'task'), 'replaced by p1l4,p1l6', 'and what is behind it');
CREATE OR REPLACE VIEW ranks AS SELECT project, person, rank - 1 AS rank FROM member;
SELECT is(pull('cursor', 'task'), 'replaced by p1l4', 'another view');
TRUNCATE member;
SELECT is(pull('cursor', 'task'), 'replaced by ', 'TRUNCATE');
SELECT is(pull('number', 'task'), 'replaced by ', 'TRUNCATE, number');
INSERT INTO member VALUES (1, 'ann', 6);
SELECT is(pull('cursor', 'task'), 'replaced by p1l4', 'and filled again');

-- fail closed: whoever disables a trigger, or drops it
ALTER TABLE member DISABLE TRIGGER offsync_access;
SELECT pull('cursor', 'task') \gset x
SELECT is(pull('cursor', 'task'), 'replaced by p1l4', 'a disabled trigger');
SELECT is(pull('number', 'task'), 'replaced by p1l4', 'the same, number');
UPDATE member SET rank = 7;
ALTER TABLE member ENABLE TRIGGER offsync_access;
SELECT is(pull('cursor', 'task'), 'replaced by p1l4,p1l6', 'one that doesn''t fire always');
SELECT is(pull('cursor', 'task'), 'replaced by p1l4,p1l6', 'at every pull');
ALTER TABLE member ENABLE ALWAYS TRIGGER offsync_access;
SELECT is(pull('cursor', 'task'), 'replaced by p1l4,p1l6', 'nobody knows what happened meanwhile');
SELECT is(pull('cursor', 'task'), '', 'exact again');
DROP TRIGGER offsync_access_applied ON member;
SELECT pull('cursor', 'task') \gset x
SELECT is(pull('cursor', 'task'), 'replaced by p1l4,p1l6', 'a dropped trigger');
SELECT is((SELECT string_agg(action, ', ') FROM offsync.enable('task')), 'trigger, repaired', 'enable mends it');
SELECT pull('cursor', 'task') \gset x
SELECT is(pull('cursor', 'task'), '', 'mended');

-- ---------------------------------------------------------------------------
-- Policies come and go, and so do the triggers
-- ---------------------------------------------------------------------------
CREATE TABLE second (id text PRIMARY KEY, project int);
ALTER TABLE second ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON second USING (project IN (SELECT project FROM member));
SELECT count(*) FROM offsync.enable('second') \gset x
SELECT is(touching('other'), '', 'not read yet');
ALTER POLICY ranked ON task USING (EXISTS (SELECT FROM other o WHERE o.id <= task.level));
SELECT is(touching('other'), 'offsync_access A, offsync_access_applied R', 'a policy reads another table: it gets triggers');
SELECT is(touching('member'), 'offsync_access A, offsync_access_applied R', 'another synced table reads the old one still');
SELECT offsync.disable('second') \gset x
SELECT is(touching('member'), '', 'nobody does now');
CREATE TABLE leaves (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE leaves_1 PARTITION OF leaves FOR VALUES IN (1);
CREATE POLICY leafy ON task USING (EXISTS (SELECT FROM leaves l WHERE l.id > task.level));
SELECT is(touching('other') <> '' AND touching('leaves') <> '' AND touching('leaves_1') <> '', true, 'partitions have triggers');
SELECT pull('cursor', 'task') \gset x
INSERT INTO leaves_1 VALUES (100, 1);
SELECT is(pull('cursor', 'task'), 'replaced by p1l4,p1l6,p2l4,p2l6', 'a partition is written by its own name');
CREATE TABLE leaves_2 PARTITION OF leaves FOR VALUES IN (2);
SELECT is(touching('leaves_2'), 'offsync_access A, offsync_access_applied R', 'a new partition');
SELECT is(pull('cursor', 'task'), '', 'is empty');
CREATE TABLE leaves_3 (LIKE leaves INCLUDING ALL);
INSERT INTO leaves_3 VALUES (5, 3);
ALTER TABLE leaves ATTACH PARTITION leaves_3 FOR VALUES IN (3);
SELECT is(left(pull('cursor', 'task'), 8), 'replaced', 'an attached one isn''t');
SELECT is(touching('leaves_3'), 'offsync_access A, offsync_access_applied R', 'and gets triggers');
DELETE FROM leaves_3;
SELECT is(left(pull('cursor', 'task'), 8), 'replaced', 'which tell');
ALTER TABLE leaves DETACH PARTITION leaves_3;
SELECT is(touching('leaves_3'), '', 'a detached one loses them');
SELECT is(left(pull('cursor', 'task'), 8), 'replaced', 'its rows are gone');
SELECT is(pull('cursor', 'task'), '', 'exact again');
DROP POLICY leafy ON task;
SELECT is(touching('leaves') || touching('leaves_1') || touching('leaves_2'), '', 'none is left');
DROP POLICY ranked ON task;
SELECT is(touching('other'), '', 'none is left there either');
SELECT offsync.disable('task') \gset x
DROP TABLE task, second, leaves, leaves_3, device, saved;
CREATE TABLE device (form text, collection text, since text, PRIMARY KEY (form, collection));

-- ---------------------------------------------------------------------------
-- Functions that get row values
-- ---------------------------------------------------------------------------
CREATE FUNCTION can_read(project int) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = access
	AS $$BEGIN RETURN EXISTS (SELECT FROM member m WHERE m.project = can_read.project AND m.person = me()); END$$;
CREATE TABLE task (id text PRIMARY KEY, project int, owner text, body text);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON task USING (can_read(project));
INSERT INTO task SELECT 'p' || p || o, p, o FROM generate_series(1, 2) p, unnest('{a,b}'::text[]) o;
SELECT alike((SELECT string_agg(detail, '; ') FROM offsync.enable('task') WHERE action = 'warning'), 'policy team %anew at every pull%access_tables%row_local%', 'undeclared: a warning that says what to do');
SELECT pull('cursor', 'task') \gset x
SELECT is(pull('cursor', 'task'), 'replaced by p1a,p1b', 'always a replacement');
SELECT offsync.disable('task') \gset x
TRUNCATE device;

SELECT is((SELECT string_agg(detail, '; ') FROM offsync.enable('task', access_tables => '{member}', row_local => true) WHERE action = 'warning'), NULL, 'declared: none');
SELECT is(touching('member') <> '', true, 'triggers on what is declared');
SELECT is(touching('task'), '', 'none on the table itself');
SELECT throws_ok('SELECT offsync.enable(''task'', access_tables => ''{member}'')', '55000', NULL, 'again, with other options');
SELECT is((SELECT string_agg(action, ', ') FROM offsync.enable('task', access_tables => '{member}', row_local => true)), 'nothing', 'again, with the same');
SELECT is(pull('cursor', 'task'), 'p1a,p1b', 'first sync');
SELECT is(pull('number', 'task'), 'p1a,p1b', 'first sync, number');
UPDATE task SET body = 'changed';
DELETE FROM task WHERE owner = 'b';
SELECT is(pull('cursor', 'task'), 'p1a / p1b', 'a delta');
SELECT is(pull('number', 'task'), 'p1a / p1b', 'a delta, number');
UPDATE task SET project = 2 WHERE project = 1;
SELECT is(pull('cursor', 'task'), ' / p1a', 'out of sight');
UPDATE member SET project = 2;
SELECT is(pull('cursor', 'task'), 'replaced by p1a,p2a', 'what it reads');
SELECT is(pull('number', 'task'), 'replaced by p1a,p2a', 'the same, number');
SELECT is(pull('cursor', 'task'), '', 'and on');
INSERT INTO member VALUES (2, 'bob', 1);
SELECT is(pull('cursor', 'task'), 'replaced by p1a,p2a', 'coarse');
-- nothing in the policy says that the function asks for a claim, a setting or a role
SELECT is(pull('cursor', 'task', '{"sub": "ann", "exp": 12, "iat": 3}'), '', 'a refreshed token');
SELECT is(pull('cursor', 'task', '{"sub": "carol"}'), 'replaced by ', 'another claim');
SELECT is(pull('cursor', 'task'), 'replaced by p1a,p2a', 'and back');
SET app.tenant = 'x';
SELECT is(pull('cursor', 'task'), 'replaced by p1a,p2a', 'a setting');
SELECT is(pull('cursor', 'task'), '', 'and on');
SET request.headers = '{"x-forwarded-for": "elsewhere"}';
SELECT is(pull('cursor', 'task'), '', 'what describes the request says nothing');
GRANT access_team TO access_ann;
SELECT is(pull('cursor', 'task'), 'replaced by p1a,p2a', 'a role');
SELECT offsync.disable('task') \gset x
SELECT is(touching('member'), '', 'nothing is left');
TRUNCATE device;

-- a function that looks the row up decides by columns that no tombstone keeps
CREATE FUNCTION is_mine(id text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = access
	AS $$SELECT EXISTS (SELECT FROM task t WHERE t.id = is_mine.id AND t.owner = 'a')$$;
DROP POLICY team ON task;
CREATE POLICY mine ON task USING (is_mine(id));
SELECT count(*) FROM offsync.enable('task', access_tables => '{}') \gset x
SELECT is(touching('task'), 'offsync_access A, offsync_access_applied R', 'the table is read by its own policy');
SELECT is(pull('cursor', 'task'), 'p1a,p2a', 'first sync');
SELECT is(pull('cursor', 'task'), '', 'nothing changed');
UPDATE task SET owner = 'z' WHERE id = 'p1a';
SELECT is(pull('cursor', 'task'), 'replaced by p2a', 'no tombstone tells, but an event does');
SELECT is(pull('cursor', 'task'), '', 'and on');
SELECT offsync.disable('task') \gset x
SELECT is(touching('task'), '', 'nothing is left');
TRUNCATE device;

-- a set that a function finds without row values is compared by value, which a number can't
CREATE FUNCTION my_projects() RETURNS int[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = access
	AS $$SELECT coalesce(array_agg(project ORDER BY project), '{}') FROM member WHERE person = me()$$;
DROP POLICY mine ON task;
CREATE POLICY team ON task USING (project = ANY (my_projects()));
SELECT is((SELECT string_agg(detail, '; ') FROM offsync.enable('task') WHERE action = 'warning'), NULL, 'nothing to declare');
SELECT count(pull(form, 'task')) FROM unnest('{cursor,number}'::text[]) form \gset x
SELECT is(pull('cursor', 'task'), '', 'a cursor knows the set');
SELECT alike(pull('number', 'task'), 'replaced by %', 'a number doesn''t');
SELECT offsync.disable('task') \gset x
SELECT count(*) FROM offsync.enable('task', access_tables => '{member}') \gset x
SELECT count(pull(form, 'task')) FROM unnest('{cursor,number}'::text[]) form \gset x
SELECT is(pull('number', 'task'), '', 'unless it knows what to look at');
UPDATE member SET project = 7 WHERE person = 'ann';
SELECT is(pull('number', 'task'), 'replaced by ', 'what the function reads changed');
SELECT offsync.disable('task') \gset x
TRUNCATE device;

-- clocks
CREATE POLICY late ON task AS RESTRICTIVE USING (now() > '2000-01-01');
SELECT alike((SELECT string_agg(detail, '; ') FROM offsync.enable('task') WHERE action = 'warning'), 'policy late reads the clock%', 'a clock: a warning');
SELECT count(pull(form, 'task')) FROM unnest('{cursor,number}'::text[]) form \gset x
SELECT is(pull('cursor', 'task'), '', 'what is computed from it is the same');
SELECT is(pull('number', 'task'), 'replaced by ', 'a number can''t tell');
ALTER POLICY late ON task USING (EXISTS (SELECT FROM member m WHERE m.rank > task.project AND m.rank > extract(epoch FROM now())));
SELECT pull('cursor', 'task') \gset x
SELECT is(pull('cursor', 'task'), 'replaced by ', 'the bare clock changes all the time');
SELECT offsync.disable('task') \gset x

-- a subquery with a join, looked at again and again
ALTER POLICY late ON task USING (EXISTS (SELECT FROM member m JOIN person p ON p.name = m.person JOIN other o ON o.id <= m.rank WHERE m.rank > task.project));
ALTER POLICY team ON task USING (true);
SELECT count(*) FROM offsync.enable('task') \gset x
TRUNCATE device;
SELECT pull('cursor', 'task') \gset x
CREATE PROCEDURE look(times int) LANGUAGE plpgsql AS $$BEGIN
	FOR i IN 1..times LOOP
		EXECUTE 'ALTER TABLE member ALTER rank SET STATISTICS ' || i;
		COMMIT;
		IF pull('cursor', 'task') <> '' THEN RAISE 'a pull brought something'; END IF;
		COMMIT;
	END LOOP;
END$$;
CALL look(30);
SELECT is(pull('cursor', 'task'), '', 'the same every time');
UPDATE other SET id = 2;
SELECT alike(pull('cursor', 'task'), 'replaced by %', 'a table that is joined');
SELECT count(offsync.disable('task')) \gset x

-- what has no triggers
CREATE UNLOGGED TABLE shaky (id int);
CREATE MATERIALIZED VIEW stale AS SELECT 1 AS id;
ALTER POLICY late ON task USING (EXISTS (SELECT FROM shaky WHERE shaky.id > task.project));
ALTER POLICY team ON task USING (EXISTS (SELECT FROM stale WHERE stale.id > task.project));
CREATE POLICY roles ON task USING (EXISTS (SELECT FROM pg_roles WHERE rolname > task.owner));
SELECT is((SELECT string_agg(detail, '; ' ORDER BY detail) FROM offsync.enable('task') WHERE action = 'warning'),
	'policy late lets devices take the collection anew at every pull: what it reads depends on the row, and on the unlogged table shaky; ' ||
	'policy roles lets devices take the collection anew at every pull: what it reads depends on the row, and on the system catalog pg_authid; ' ||
	'policy team lets devices take the collection anew at every pull: what it reads depends on the row, and on the materialized view stale',
	'tables that tell nothing');
SELECT offsync.disable('task') \gset x
DROP POLICY late ON task;
DROP POLICY team ON task;
DROP POLICY roles ON task;

-- ---------------------------------------------------------------------------
-- Somebody else's table
-- ---------------------------------------------------------------------------
ALTER TABLE task OWNER TO access_owner;
GRANT SELECT ON member TO access_owner;
CREATE POLICY ranked ON task USING (EXISTS (SELECT FROM member m WHERE m.rank > task.project));
SET ROLE access_owner;
SELECT alike((SELECT string_agg(detail, '; ') FROM offsync.enable('task') WHERE action = 'warning'), 'policies read access.member, which belongs to somebody else: %', 'no trigger without the right to make it');
RESET ROLE;
SELECT is(touching('member'), '', 'none is there');
TRUNCATE device;
SELECT pull('cursor', 'task') \gset x
SELECT alike(pull('cursor', 'task'), 'replaced by %', 'always a replacement');
SELECT is((SELECT string_agg(action, ', ') FROM offsync.enable('task')), 'trigger, repaired', 'a superuser repairs it');
SELECT pull('cursor', 'task') \gset x
SELECT is(pull('cursor', 'task'), '', 'exact');
SET ROLE access_owner;
ALTER POLICY ranked ON task USING (EXISTS (SELECT FROM member m WHERE m.rank >= task.project));
SELECT is(touching('member') <> '', true, 'they stay where a policy changes');
SELECT offsync.disable('task') \gset x
RESET ROLE;
SELECT is(touching('member'), '', 'nothing is left');

-- ---------------------------------------------------------------------------
-- Columns that devices filter by
-- ---------------------------------------------------------------------------
CREATE TABLE filtered (id int PRIMARY KEY, project int, body text);
SELECT throws_ok('SELECT offsync.enable(''filtered'', filter_columns => ''{nothing}'')', '42703', NULL, 'a column that isn''t there');
SELECT throws_ok('SELECT offsync.enable(''filtered'', filter_columns => ''{project}'', columns => ''{body}'')', '22023', NULL, 'one that devices don''t get');
SELECT count(*) FROM offsync.enable('filtered', filter_columns => '{project,id}') \gset x
INSERT INTO filtered VALUES (1, 1, 'x'), (2, 1, 'x');
UPDATE filtered SET body = 'y';
SELECT is((SELECT count(*) FROM offsync_internal.filtered_tombstone), 0::bigint, 'other columns leave nothing');
UPDATE filtered SET project = 2 WHERE id = 1;
DELETE FROM filtered WHERE id = 2;
SELECT is((SELECT string_agg(id || ':' || project, ' ' ORDER BY id) FROM offsync_internal.filtered_tombstone), '1:1 2:1', 'tombstones keep it, and an update leaves one');
SELECT throws_ok('ALTER TABLE filtered DROP project', '55000', NULL, 'it can''t be dropped');
SELECT throws_ok('SELECT offsync.enable(''filtered'')', '55000', NULL, 'other options');
SELECT is((SELECT string_agg(action, ', ') FROM offsync.enable('filtered', filter_columns => '{id,project}')), 'nothing', 'the same');
ALTER TABLE filtered ADD extra int;
SELECT is((SELECT count(*) FROM pg_attribute WHERE attrelid = 'offsync_internal.filtered_tombstone'::regclass AND attname = 'project'), 1::bigint, 'kept when the table changes');
SELECT offsync.disable('filtered') \gset x

SELECT is((SELECT count(*) FROM pg_trigger WHERE tgname ~ '^offsync'), 0::bigint, 'no trigger is left');
-- and none is left by the extension
CREATE POLICY late ON task USING (EXISTS (SELECT FROM member m WHERE m.rank > task.project));
SELECT count(*) FROM offsync.enable('task') \gset x
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgname ~ '^offsync_access' AND tgrelid = 'member'::regclass), 2::bigint, 'there they are');
BEGIN;
DROP EXTENSION offsync CASCADE;
INSERT INTO member VALUES (8, 'ann', 1);
SELECT count(*) AS triggers FROM pg_trigger WHERE tgname ~ 'offsync' \gset
ROLLBACK;
SELECT is(:triggers, 0, 'DROP EXTENSION takes them');
DROP SCHEMA access CASCADE;
DROP OWNED BY access_ann, access_bob, access_owner, access_team;
DROP ROLE access_ann, access_bob, access_owner, access_team;
SELECT * FROM finish();
