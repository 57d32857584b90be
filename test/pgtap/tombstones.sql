-- Tombstones of a statement are written together: what they hold, whoever deletes, and whatever happens in between.
\ir begin.psql
CREATE SCHEMA grave;
SET search_path = grave, public;

CREATE TABLE parent (id int PRIMARY KEY, deputy int);
CREATE TABLE task (id text PRIMARY KEY, owner text, n int, parent int REFERENCES parent ON DELETE CASCADE);
CREATE TABLE pair (id uuid PRIMARY KEY, a int REFERENCES parent ON DELETE SET NULL, b int REFERENCES parent ON DELETE SET NULL);
CREATE TABLE part (region text, id bigint, owner text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE part_x (owner text, id bigint NOT NULL, region text NOT NULL);
CREATE TABLE part_y PARTITION OF part FOR VALUES IN ('y');
ALTER TABLE part ATTACH PARTITION part_x FOR VALUES IN ('x');
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
ALTER TABLE pair ENABLE ROW LEVEL SECURITY;
ALTER TABLE part ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON task USING (owner LIKE current_setting('grave.who', true) || '%');
CREATE POLICY own ON pair USING (a > 0 OR b > 0);
CREATE POLICY own ON part USING (owner = current_user);
SELECT FROM unnest('{task,pair,part}'::regclass[]) t, offsync.enable(t) \g /dev/null

CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
	TRUNCATE offsync_internal.task_tombstone, task, pair, parent;
	INSERT INTO parent SELECT i, i FROM generate_series(1, 3) i;
	INSERT INTO task SELECT md5(i::text), 'ann', i, 1 + i % 3 FROM generate_series(1, 600) i $$;
-- how many tombstones, how many keys and transactions, whose; the index must find each
CREATE FUNCTION graves() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', count(*), count(DISTINCT id), count(DISTINCT offsync_version), string_agg(DISTINCT left(owner, 8), ','),
		(SELECT count(*) FROM generate_series(1, 600) i WHERE EXISTS
			(SELECT FROM offsync_internal.task_tombstone t WHERE t.id = md5(i::text))),
		(SELECT count(*) FROM offsync_internal.task_tombstone t WHERE offsync_version > 0))
	FROM offsync_internal.task_tombstone $$;
ALTER FUNCTION graves SET enable_seqscan = off;

-- ---------------------------------------------------------------------------
-- Who deletes
-- ---------------------------------------------------------------------------
SELECT fill();
\c -
SET client_min_messages = warning;
SET search_path = grave, public;
DELETE FROM task;
SELECT no_plan();
SELECT is(graves(), '600 600 1 ann 600 600', 'the first statement of a session');

SELECT fill();
DELETE FROM task;
SELECT is(graves(), '600 600 1 ann 600 600', 'a statement');
SELECT ok(bool_and(offsync_at BETWEEN now() - interval '1 min' AND clock_timestamp() AND offsync_created < offsync_version),
	'each with its time and versions') FROM offsync_internal.task_tombstone;

SELECT fill();
DELETE FROM parent WHERE id < 3;
SELECT is(graves(), '400 400 1 ann 400 400', 'cascades');

SELECT fill();
WITH gone AS (DELETE FROM task WHERE n > 300 RETURNING id), moved AS (UPDATE task SET owner = 'bob' WHERE n <= 300 AND n > 100 RETURNING id)
	SELECT is(count(*), 500::bigint, 'statements in a statement') FROM (SELECT FROM gone UNION ALL SELECT FROM moved) x;
SELECT is(graves(), '500 500 1 ann 500 500', 'of each of them');

SELECT fill();
MERGE INTO task t USING generate_series(1, 100) i ON t.n = i WHEN MATCHED AND i > 50 THEN DELETE WHEN MATCHED THEN UPDATE SET owner = 'bob';
SELECT is(graves(), '100 100 1 ann 100 100', 'MERGE');

SELECT fill();
SET session_replication_role = replica;
DELETE FROM task WHERE n <= 20;
RESET session_replication_role;
SELECT is(graves(), '20 20 1 ann 20 20', 'as a replica');

SELECT fill();
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) DELETE FROM task \g /dev/null
SELECT is(graves(), '600 600 1 ann 600 600', 'EXPLAIN ANALYZE');

SELECT fill();
DO $$ BEGIN FOR i IN 1 .. 20 LOOP DELETE FROM task WHERE id = md5(i::text); END LOOP; END $$;
SELECT is(graves(), '20 20 1 ann 20 20', 'one by one in a transaction');

INSERT INTO part SELECT r, i, 'ann' FROM unnest('{x,y}'::text[]) r, generate_series(1, 30) i;
DELETE FROM part_x WHERE id <= 20;
DELETE FROM part WHERE id > 20;
UPDATE part SET region = 'x' WHERE region = 'y' AND id <= 10;
UPDATE part_x SET owner = 'bob';
SELECT is(string_agg(format('%s %s %s %s %s', region, count, least, most, owner), ', ' ORDER BY region), 'x 30 1 30 ann, y 20 1 30 ann', 'partitions')
	FROM (SELECT region, count(*), min(id) AS least, max(id) AS most, owner FROM offsync_internal.part_tombstone
		WHERE NOT (region = 'x' AND offsync_created = (SELECT max(offsync_created) FROM offsync_internal.part_tombstone)) GROUP BY region, owner) p;

-- ---------------------------------------------------------------------------
-- Values of all sizes
-- ---------------------------------------------------------------------------
SELECT fill();
ALTER TABLE task ALTER owner SET STORAGE EXTERNAL;
UPDATE task SET owner = 'ann' || repeat('x', n * 20) WHERE n % 3 = 0;
TRUNCATE offsync_internal.task_tombstone;
DELETE FROM task;
SELECT is((SELECT concat_ws(' ', count(*), sum(length(owner)), min(left(owner, 3))) FROM offsync_internal.task_tombstone), '600 1207800 ann', 'long values');
SELECT is((SELECT count(*) FROM offsync_internal.task_tombstone t, generate_series(1, 600) i WHERE t.id = md5(i::text)
	AND t.owner = 'ann' || CASE WHEN i % 3 = 0 THEN repeat('x', i * 20) ELSE '' END), 600::bigint, 'each with its own row');

-- ---------------------------------------------------------------------------
-- Rolled back
-- ---------------------------------------------------------------------------
SELECT fill();
BEGIN;
DELETE FROM task WHERE n <= 50;
SAVEPOINT s;
DELETE FROM task WHERE n BETWEEN 51 AND 100;
ROLLBACK TO s;
DELETE FROM task WHERE n BETWEEN 91 AND 110;
COMMIT;
SELECT is(graves(), '70 70 1 ann 70 70', 'to a savepoint');
SELECT is((SELECT count(*) FROM task JOIN offsync_internal.task_tombstone USING (id)), 0::bigint, 'none of a row that is there');

-- a statement that fails after its rows are gone
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF old.n = 200 THEN RAISE 'no'; END IF; RETURN NULL; END $$;
CREATE TRIGGER zz AFTER DELETE ON task FOR EACH ROW EXECUTE FUNCTION fail();
SELECT throws_ok('DELETE FROM task', 'P0001', 'no', 'a statement that fails');
DELETE FROM task WHERE n BETWEEN 111 AND 130;
SELECT is(graves(), '90 90 2 ann 90 90', 'leaves nothing behind');
DROP TRIGGER zz ON task;

-- ---------------------------------------------------------------------------
-- Triggers of the owner's that write the same rows: the first image counts
-- ---------------------------------------------------------------------------
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO task VALUES (old.id, 'again', old.n, old.parent);
	DELETE FROM task WHERE id = old.id AND n % 2 = 0;
	RETURN NULL; END $$;
CREATE TRIGGER zz AFTER DELETE ON task FOR EACH ROW WHEN (old.owner = 'ann') EXECUTE FUNCTION again();
SELECT fill();
DELETE FROM task WHERE n <= 40;
SELECT is(graves(), '40 40 1 ann 40 40', 'deleted, inserted and deleted again');
SELECT is((SELECT count(*) FROM task WHERE owner = 'again'), 20::bigint, 'and half of them not');
DROP TRIGGER zz ON task;

CREATE FUNCTION onward() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	UPDATE task SET owner = 'onward' WHERE id = new.id;
	RETURN NULL; END $$;
CREATE FUNCTION onward_and_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	BEGIN
		UPDATE task SET owner = 'back' WHERE id = new.id OR n = new.n - 1;
		IF new.n % 3 = 0 THEN RAISE 'back'; END IF;
	EXCEPTION WHEN raise_exception THEN
		UPDATE task SET owner = 'forth' WHERE id = new.id;
	END;
	RETURN NULL; END $$;
CREATE TRIGGER zz AFTER UPDATE ON task FOR EACH ROW WHEN (new.owner = 'bob') EXECUTE FUNCTION onward();
SELECT fill();
UPDATE task SET owner = 'bob' WHERE n <= 40;
SELECT is(graves(), '40 40 1 ann 40 40', 'updated again');
SELECT is((SELECT count(*) FROM task WHERE owner = 'onward'), 40::bigint, 'each of them');
SELECT fill();
BEGIN;
UPDATE task SET n = n + 1000;
UPDATE task SET owner = 'bob' WHERE n <= 1040;
COMMIT;
SELECT is(graves(), '40 40 1 ann 40 40', 'rows that the transaction had written before');
DROP TRIGGER zz ON task;

CREATE TRIGGER zz AFTER UPDATE ON task FOR EACH ROW WHEN (new.owner = 'bob') EXECUTE FUNCTION onward_and_back();
SELECT fill();
UPDATE task SET owner = 'bob' WHERE n BETWEEN 2 AND 40;
SELECT is(graves(), '40 40 1 ann 40 40', 'updated again in subtransactions, some of which fail');
SELECT is((SELECT count(*) FROM task WHERE owner = 'back'), 40::bigint, 'each of them');
DROP TRIGGER zz ON task;

-- before ours, by its name
CREATE TRIGGER a AFTER UPDATE ON task FOR EACH ROW WHEN (new.owner = 'bob') EXECUTE FUNCTION onward_and_back();
SELECT fill();
UPDATE task SET owner = 'bob' WHERE n BETWEEN 2 AND 40;
SELECT is(graves(), '40 40 1 ann 40 40', 'by a trigger that fires before ours');
DROP TRIGGER a ON task;

-- of rows that the transaction had written before, too: whoever saw the original is told
SELECT fill();
CREATE TRIGGER a AFTER UPDATE ON task FOR EACH ROW WHEN (new.owner = 'bob') EXECUTE FUNCTION onward_and_back();
BEGIN;
UPDATE task SET n = n + 1000 WHERE n % 2 = 0;
UPDATE task SET n = n - 1000 WHERE n > 1000;
UPDATE task SET owner = 'bob' WHERE n BETWEEN 2 AND 40;
DELETE FROM task WHERE n < 20;
COMMIT;
SELECT is(graves(), '40 40 1 ann 40 40', 'of rows that the transaction had written before, by a trigger that fires before ours');
DROP TRIGGER a ON task;

-- the trigger of the first row writes all of them again, before ours has fired for the others
CREATE FUNCTION all_again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	UPDATE task SET owner = 'all' WHERE owner = 'bob';
	RETURN NULL; END $$;
CREATE TRIGGER a AFTER UPDATE ON task FOR EACH ROW WHEN (new.owner = 'bob') EXECUTE FUNCTION all_again();
SELECT fill();
BEGIN;
UPDATE task SET n = n + 1000;
UPDATE task SET owner = 'bob' WHERE n <= 1040;
COMMIT;
SELECT is(graves(), '40 40 1 ann 40 40', 'all rows of a statement by the trigger of one');
DROP TRIGGER a ON task;

-- a subtransaction that writes a row twice while many others wait
CREATE FUNCTION twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	BEGIN
		UPDATE task SET owner = 'once' WHERE n = 600;
		UPDATE task SET owner = 'twice' WHERE n = 600;
	EXCEPTION WHEN division_by_zero THEN NULL;
	END;
	RETURN NULL; END $$;
CREATE TRIGGER zz AFTER DELETE ON task FOR EACH ROW WHEN (old.n = 30) EXECUTE FUNCTION twice();
SELECT fill();
SELECT lives_ok('DELETE FROM task WHERE n <= 40', 'a subtransaction writes a row twice while others wait');
SELECT is(graves(), '41 41 1 ann 41 41', 'all of them, and its own');
DROP TRIGGER zz ON task;

-- two foreign keys empty one row, in one statement
INSERT INTO pair SELECT ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, 1, 2 FROM generate_series(1, 20) i;
DELETE FROM parent WHERE id < 3;
SELECT is((SELECT concat_ws(' ', count(*), count(DISTINCT id), string_agg(DISTINCT a || '-' || b, ',')) FROM offsync_internal.pair_tombstone), '20 20 1-2', 'emptied twice');

-- twice in a transaction, by statements
SELECT fill();
BEGIN;
UPDATE task SET n = n + 1000;
UPDATE task SET owner = 'bob';
UPDATE task SET owner = 'cid';
DELETE FROM task;
COMMIT;
SELECT is(graves(), '600 600 1 ann 600 600', 'one after the other');

-- ---------------------------------------------------------------------------
-- What a device hears of it
-- ---------------------------------------------------------------------------
CREATE ROLE grave_ann;
GRANT USAGE ON SCHEMA grave TO grave_ann;
GRANT SELECT ON task TO grave_ann;
SELECT fill();
SET grave.who = 'ann';
SET ROLE grave_ann;
SELECT offsync.pull_changes(NULL, '{task}') ->> 'cursor' AS cursor \gset
RESET ROLE;
CREATE TRIGGER zz AFTER DELETE ON task FOR EACH ROW WHEN (old.owner = 'ann') EXECUTE FUNCTION again();
DELETE FROM task WHERE n <= 10;
UPDATE task SET owner = 'ann again' WHERE owner = 'again' AND n < 6;
SET ROLE grave_ann;
SELECT offsync.pull_changes(:'cursor', '{task}') -> 'changes' -> 'task' AS answer \gset
RESET ROLE;
SELECT is((SELECT string_agg(d, ',' ORDER BY d) FROM json_array_elements_text(:'answer'::json -> 'deleted') d),
	(SELECT string_agg(md5(i::text), ',' ORDER BY md5(i::text)) FROM unnest('{2,4,6,7,8,9,10}'::int[]) i), 'what is gone');
SELECT is((SELECT count(*) FROM json_array_elements(json_build_array(:'answer'::json -> 'created', :'answer'::json -> 'updated')) a, json_array_elements(a)),
	3::bigint, 'what is back');

SELECT * FROM finish();
DROP SCHEMA grave CASCADE;
DROP ROLE grave_ann;
