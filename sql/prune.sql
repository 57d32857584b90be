-- Forgetting what only devices that were away for long would ask for.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_prune;
CREATE ROLE regress_prune;
CREATE SCHEMA prune;
GRANT USAGE, CREATE ON SCHEMA prune TO regress_prune;
SET search_path = prune;
CREATE TABLE task (id text PRIMARY KEY, title text);
CREATE TABLE idle (id text PRIMARY KEY);
GRANT ALL ON task TO regress_prune;
ALTER TABLE task OWNER TO regress_prune;
SELECT count(*) > 0 AS enabled FROM offsync.enable('task');
SELECT count(*) > 0 AS enabled FROM offsync.enable('idle');

-- Months pass: whatever was noted so far was noted then.
CREATE PROCEDURE pass(days int) LANGUAGE plpgsql AS $$
DECLARE
	tombstones regclass;
BEGIN
	FOR tombstones IN SELECT s.tombstones FROM offsync.status s LOOP
		EXECUTE format('UPDATE %s SET offsync_at = offsync_at - make_interval(days => $1)', tombstones) USING days;
	END LOOP;
	UPDATE offsync_internal.reset_event SET at = at - make_interval(days => days);
	UPDATE offsync_internal.push_log SET at = at - make_interval(days => days);
	UPDATE offsync_internal.timeline SET at = at - make_interval(days => days);
END$$;
CREATE FUNCTION cursor() RETURNS text LANGUAGE sql AS
	$$SELECT offsync.pull_changes(collections => '{task,idle}') ->> 'cursor'$$;
CREATE FUNCTION number() RETURNS text LANGUAGE sql AS
	$$SELECT offsync.pull_changes(collections => '{task,idle}') ->> 'timestamp'$$;
-- How each collection is answered, and what is deleted.
CREATE FUNCTION told(since text) RETURNS TABLE (collection text, strategy text, deleted text) LANGUAGE sql AS $$
	SELECT c.key, coalesce(a.answer -> 'experimentalStrategy' -> 'override' ->> c.key, 'incremental'), c.value ->> 'deleted'
	  FROM (SELECT offsync.pull_changes(since, '{task,idle}')) a(answer), json_each(a.answer -> 'changes') c
	 ORDER BY 1$$;
CREATE FUNCTION failure(changes json, since text DEFAULT NULL,
	OUT state text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM offsync.push_changes(changes, since);
	message := 'stored';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END$$;

SHOW offsync.retention;
-- What other tests left behind
SELECT count(*) FROM offsync.prune('0');

INSERT INTO task SELECT 't' || n, 'old' FROM generate_series(1, 9) n;
SELECT cursor() AS c0, number() AS n0 \gset
DELETE FROM task WHERE id = 't1';
SELECT offsync.push_changes('{"task": {"deleted": ["t2"]}}', :'c0', 'phone', 'p') IS NOT NULL AS pushed;
SELECT cursor() AS c1, number() AS n1 \gset

-- Nothing is old yet.
SELECT * FROM offsync.prune();
CALL pass(89);
SELECT * FROM offsync.prune();
SELECT collection, strategy, deleted FROM told(:'c0');
SELECT collection, strategy, deleted FROM told(:'n0');
DELETE FROM task WHERE id = 't3';
SELECT cursor() AS c2, number() AS n2 \gset
CALL pass(2);
SELECT what, removed > 0 AS some FROM offsync.prune();
SELECT * FROM offsync.prune();

-- Who had not seen what is gone takes the collection anew, and only that; everybody else goes on.
SELECT * FROM told(:'c0');
SELECT * FROM told(:'n0');
SELECT * FROM told(:'c1');
SELECT * FROM told(:'n1');
SELECT * FROM told(:'c2');
SELECT * FROM told(NULL);
-- The present time is known all the same.
SELECT * FROM told(to_char(now() AT TIME ZONE 'UTC' + interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
SELECT * FROM told(to_char(now() AT TIME ZONE 'UTC' - interval '100 days', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));

-- Who pushes with such a cursor: an update of what may have been deleted must wait for a pull.
SELECT * FROM failure('{"task": {"updated": [{"id": "t1", "title": "edited"}]}}', :'c0');
SELECT detail FROM failure('{"task": {"updated": [{"id": "never", "title": "edited"}]}}', :'n0');
SELECT detail FROM failure('{"task": {"updated": [{"id": "t3", "title": "edited"}]}}', :'c0');
SELECT message FROM failure('{"task": {"updated": [{"id": "t4", "title": "edited"}], "created": [{"id": "new"}], "deleted": ["t1", "t5"]}}', :'c0');
SELECT message FROM failure('{"idle": {"updated": [{"id": "i"}]}}', :'c0');
SELECT message FROM failure('{"task": {"updated": [{"id": "never", "title": "edited"}]}}', :'c2');
SELECT message FROM failure('{"task": {"updated": [{"id": "t1", "title": "edited"}]}}', cursor());
-- Its push is forgotten, too.
SELECT count(*) FROM offsync_internal.push_log WHERE client_id = 'phone';

-- Resets
SELECT cursor() AS c3 \gset
SELECT offsync.reset('idle');
SELECT cursor() AS c4 \gset
SELECT strategy FROM told(:'c3') WHERE collection = 'idle';
CALL pass(91);
SELECT what, removed > 0 AS some FROM offsync.prune() WHERE what <> 'timeline';
SELECT strategy FROM told(:'c3') WHERE collection = 'idle';
SELECT strategy FROM told(:'c4') WHERE collection = 'idle';
-- A transaction that wrote behind its push
SELECT cursor() AS c5 \gset
BEGIN;
SELECT offsync.push_changes('{"task": {"created": [{"id": "u1"}]}}', :'c5') ->> 'cursor' AS c6 \gset
INSERT INTO task VALUES ('u2');
COMMIT;
SELECT count(*) FROM json_array_elements(offsync.pull_changes(:'c6', '{task,idle}') -> 'changes' -> 'task' -> 'updated');
CALL pass(91);
SELECT what, removed > 0 AS some FROM offsync.prune() WHERE what = 'reset events';
SELECT count(*) FROM json_array_elements(offsync.pull_changes(:'c6', '{task,idle}') -> 'changes' -> 'task' -> 'updated');

-- In parts
DELETE FROM task;
SELECT cursor() AS c7 \gset
CALL pass(10);
SELECT * FROM offsync.prune('7 days', 3) WHERE what = 'tombstones';
SELECT what, removed < 3 FROM offsync.prune('7 days', 100) WHERE what = 'tombstones';
SELECT * FROM told(:'c5');
SELECT * FROM told(:'c7');
-- A range, however often it was pruned
SELECT count(*) FROM offsync_internal.prune_horizon WHERE tbl = 'task'::regclass;

-- Retention as a setting
SET offsync.retention = '1d';
SHOW offsync.retention;
INSERT INTO task VALUES ('v');
DELETE FROM task;
CALL pass(2);
SELECT removed FROM offsync.prune() WHERE what = 'tombstones';
RESET offsync.retention;
-- 17 says the range otherwise
\set VERBOSITY sqlstate
SET offsync.retention = 0;
\set VERBOSITY default
SET offsync.retention = 'soon';
SET offsync.no_such_setting = 1;

-- Arguments, and who may
SELECT * FROM offsync.prune('-1 day');
SELECT * FROM offsync.prune(max_rows => 0);
SET ROLE regress_prune;
SELECT * FROM offsync.prune();
RESET ROLE;

-- The owner's triggers and rules on its tombstone table don't run with the rights of whoever prunes.
SET ROLE regress_prune;
SELECT tombstones AS tomb FROM offsync.status WHERE collection = 'task' \gset
CREATE FUNCTION intrude() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'as %', current_user; END$$;
CREATE TRIGGER intrude BEFORE DELETE ON :tomb FOR EACH ROW EXECUTE FUNCTION intrude();
CREATE RULE intrude AS ON DELETE TO :tomb DO INSTEAD NOTHING;
RESET ROLE;
INSERT INTO task VALUES ('w');
DELETE FROM task;
CALL pass(91);
SELECT removed FROM offsync.prune() WHERE what = 'tombstones';

SELECT offsync.disable('task');
SELECT offsync.disable('idle');
SELECT what FROM offsync.prune('0');
DROP SCHEMA prune CASCADE;
DROP OWNED BY regress_prune;
DROP ROLE regress_prune;
