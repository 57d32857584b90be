-- Filters: what a device chooses to hold of what it may see.
\ir begin.psql
DROP SCHEMA IF EXISTS filters CASCADE;
DROP ROLE IF EXISTS filters_user;
CREATE ROLE filters_user;
CREATE SCHEMA filters;
GRANT USAGE ON SCHEMA filters TO filters_user;
SET search_path = filters, public;
SELECT no_plan();

CREATE TYPE level AS ENUM ('low', 'high');
CREATE TABLE task (id text PRIMARY KEY, project text, lvl int, title text, level level, secret text, gone timestamptz);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY open ON task USING (title <> 'hidden');
GRANT SELECT (id, project, lvl, title, level) ON task TO filters_user;
CREATE TABLE sub (id text PRIMARY KEY, task_id text);
ALTER TABLE sub ENABLE ROW LEVEL SECURITY;
CREATE POLICY open ON sub USING (task_id IN (SELECT id FROM task));
GRANT SELECT ON sub TO filters_user;
INSERT INTO task SELECT 'p' || p || 't' || i, 'p' || p, i, 'T', 'low' FROM generate_series(1, 3) p, generate_series(1, 2) i;
INSERT INTO task VALUES ('n1', NULL, 1, 'T', 'high');
INSERT INTO sub SELECT 's' || id, id FROM task;
DO $$BEGIN
	PERFORM offsync.enable('task', filter_columns => '{project,lvl,level,secret}', soft_delete => 'gone');
	PERFORM offsync.enable('sub', filter_columns => '{task_id}');
END$$;

CREATE FUNCTION pull(cur text, filters json, collections text[] DEFAULT '{task}') RETURNS json LANGUAGE plpgsql AS $$
DECLARE a json;
BEGIN
	SET LOCAL ROLE filters_user;
	a := offsync.pull_changes(cur, collections, filters => filters);
	RESET ROLE;
	PERFORM set_config('filters.cursor', a ->> 'cursor', false), set_config('filters.number', a ->> 'timestamp', false);
	RETURN a;
END$$;
CREATE FUNCTION told(a json, of text DEFAULT 'task') RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', CASE WHEN a #>> ARRAY['experimentalStrategy', 'override', of] = 'replacement' THEN 'replaced' END,
		(SELECT string_agg('+' || (r ->> 'id'), ' ' ORDER BY r ->> 'id') FROM
			(SELECT json_array_elements(a -> 'changes' -> of -> 'created') r UNION ALL SELECT json_array_elements(a -> 'changes' -> of -> 'updated')) rows),
		(SELECT string_agg('-' || g, ' ' ORDER BY g) FROM json_array_elements_text(a -> 'changes' -> of -> 'deleted') g))$$;
CREATE FUNCTION next(filters json) RETURNS text LANGUAGE sql AS $$SELECT told(pull(current_setting('filters.cursor'), filters))$$;

SELECT is(told(pull(NULL, '{"task": {"project": ["p1"]}}')), '+p1t1 +p1t2', 'a first sync holds what the filter says');
SELECT is(next('{"task": {"project": ["p1"]}}'), '', 'the same filter, and nothing changed');
SELECT is(next('{"task": {"project": ["p2", "p1", "p1"]}}'), '+p2t1 +p2t2', 'it grew by a value: the rows of that value');
UPDATE task SET project = 'p3' WHERE id = 'p2t1';
UPDATE task SET project = 'p2' WHERE id = 'p3t1';
UPDATE task SET title = 'other' WHERE id = 'p3t2';
DELETE FROM task WHERE id = 'p1t1';
SELECT is(next('{"task": {"project": ["p1", "p2"]}}'), '+p3t1 -p1t1 -p2t1', 'rows that an update moves in and out, arrive and go');
SELECT is(next('{"task": {"project": ["p2"]}}'), '-p1t2', 'it shrank by a value');
UPDATE task SET title = 'hidden' WHERE id = 'p2t2';
SELECT is(next('{"task": {"project": ["p2", null]}}'), '+n1 -p2t2', 'null finds rows without a value; what the policy hides goes');
UPDATE task SET project = NULL WHERE id = 'p3t1';
UPDATE task SET project = 'p2' WHERE id = 'n1';
SELECT is(next('{"task": {"project": ["p2"]}}'), '+n1 -p3t1', 'no null any more, and moves across');
UPDATE task SET gone = now() WHERE id = 'n1';
SELECT is(next('{"task": {"project": ["p2"]}}'), '-n1', 'a soft deletion within the filter');
UPDATE task SET project = 'p9' WHERE id = 'n1';
SELECT is(next('{"task": {"project": ["p2"]}}'), '', 'what is gone may move as it likes');
UPDATE task SET project = 'p2', gone = NULL WHERE id = 'n1';
SELECT is(next('{"task": {"project": ["p2"]}}'), '+n1', 'and it comes back');
SELECT is(next('{"task": {"project": []}}'), '-n1', 'an empty filter holds nothing');
SELECT is(next('{"task": {"lvl": [1, 2], "project": ["p3"]}}'), 'replaced +p2t1 +p3t2', 'other columns: replaced');
SELECT is(next('{"task": {"project": ["p3"], "lvl": [1]}}'), '-p3t2', 'two columns, in whichever order, one of which shrank');
SELECT is(next('{"task": {"level": ["low", "high"]}}'), 'replaced +n1 +p1t2 +p2t1 +p3t1 +p3t2', 'an enum');
SELECT is(next('{"task": {"level": ["high"]}}'), '-p1t2 -p2t1 -p3t1 -p3t2', 'shrinks');
SELECT is(next(NULL), 'replaced +n1 +p1t2 +p2t1 +p3t1 +p3t2', 'no filter any more: replaced');
SELECT is(next('{"task": {}}'), '', 'a filter of no columns is none');
SELECT is(next('{}'), '', 'so is one of no collections');
SELECT is(next('null'), '', 'and null');

SELECT is(told(pull(NULL, '{"task": {"project": ["p3"]}}', '{task,sub}'), 'sub'), '+sn1 +sp1t2 +sp2t1 +sp3t1 +sp3t2', 'a filter of the parents isn''t one of their children');
SELECT is(told(pull(current_setting('filters.cursor'), '{"task": {"project": ["p3", "p1"]}}', '{task,sub}'), 'sub'), '', 'nor does it move them when it grows');
SELECT is(told(pull(current_setting('filters.cursor'), '{"task": {"project": ["p3"]}}', '{task,sub}')), '-p1t2', 'while the parents follow');
SELECT is(told(pull(NULL, '{"sub": {"task_id": ["p1t2", "n1"]}}', '{sub}'), 'sub'), '+sn1 +sp1t2', 'a filter under a policy with a set');
UPDATE task SET title = 'hidden' WHERE id = 'n1';
SELECT is(told(pull(current_setting('filters.cursor'), '{"sub": {"task_id": ["p2t1", "n1", "p1t2"]}}', '{sub}'), 'sub'), '+sp2t1 -sn1', 'filter and set at once');
UPDATE task SET title = 'T' WHERE id = 'n1';

SELECT is(told(pull(NULL, '{"task": {"project": ["p2"]}}')), '+n1', 'a number');
UPDATE task SET project = 'p2' WHERE id = 'p1t2';
UPDATE task SET project = 'p7' WHERE id = 'n1';
SELECT is(told(pull(current_setting('filters.number'), '{"task": {"project": ["p2"]}}')), '+p1t2 -n1', 'follows the filter that it is asked with');

SELECT throws_ok($$SELECT pull(NULL, '[]')$$, 'PT400', 'malformed filters');
SELECT throws_ok($$SELECT pull(NULL, '"task"')$$, 'PT400', 'malformed filters');
SELECT throws_ok($$SELECT pull(NULL, '{"task": []}')$$, 'PT400', 'malformed filters');
SELECT throws_ok($$SELECT pull(NULL, '{"task": {"project": "p1"}}')$$, 'PT400', 'malformed filters');
SELECT throws_ok($$SELECT pull(NULL, '{"task": {"title": ["x"]}}')$$, 'PT400', 'malformed filters');
SELECT throws_ok($$SELECT pull(NULL, '{"task": {"nothing": ["x"]}}')$$, 'PT400', 'malformed filters');
SELECT throws_ok($$SELECT pull(NULL, '{"sub": {"task_id": ["x"]}}')$$, 'PT400', 'malformed filters');
SELECT throws_ok($$SELECT pull(NULL, '{"nothing": {}}')$$, 'PT400', 'malformed filters');
SELECT throws_ok($$SELECT pull(NULL, '{"task": {"project": ["x"]}, "task": {}}')$$, 'PT400', 'malformed filters');
SELECT throws_ok($$SELECT pull(NULL, '{"task": {"project": ["x"], "project": []}}')$$, 'PT400', 'malformed filters');
SELECT throws_ok($$SELECT pull(NULL, '{"task": {"lvl": ["x"]}}')$$, '22P02');
SELECT throws_ok($$SELECT pull(NULL, '{"task": {"level": ["x"]}}')$$, '22P02');
SELECT throws_ok($$SELECT pull(NULL, '{"task": {"secret": ["x"]}}')$$, '42501', NULL, 'nobody finds out by filters what a column holds that it can''t read');

SELECT * FROM finish();
RESET search_path;
DO $$BEGIN PERFORM offsync.disable(format('filters.%I', t)::regclass) FROM unnest('{sub,task}'::text[]) t; END$$;
DROP SCHEMA filters CASCADE;
DROP ROLE filters_user;
