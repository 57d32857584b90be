-- What WatermelonDB's guide asks of a backend, number by number: PULL 1 to 13, PUSH 14 to 24, TIP 25 to 28.
-- Where a SHOULD isn't followed, the test holds what happens instead; README says why.
\ir begin.psql
CREATE EXTENSION IF NOT EXISTS dblink;
DROP SCHEMA IF EXISTS checklist CASCADE;
DROP ROLE IF EXISTS checklist_user;
CREATE ROLE checklist_user;
CREATE SCHEMA checklist;
GRANT USAGE ON SCHEMA checklist TO checklist_user;
SET search_path = checklist, public;
SELECT * FROM no_plan();

CREATE TABLE member (project text, who text, PRIMARY KEY (who, project));
CREATE TABLE project (id text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9._-]+$'), name text NOT NULL DEFAULT '', _status text, _changed text);
CREATE TABLE task (id uuid PRIMARY KEY, project_id text NOT NULL REFERENCES project ON DELETE CASCADE,
	title text NOT NULL DEFAULT '' CHECK (title <> 'bad'), priority int NOT NULL DEFAULT 0, note text, done boolean NOT NULL DEFAULT false,
	due timestamptz, secret text DEFAULT 'x');
CREATE TABLE pair (a text, b int, PRIMARY KEY (a, b));
CREATE TABLE strict (id text PRIMARY KEY, project_id text REFERENCES project);
CREATE TABLE unsynced (id text PRIMARY KEY);
-- whoever looks at a canary meets somebody else who commits at that moment
CREATE TABLE canary (id text PRIMARY KEY);
CREATE TABLE witness (id text PRIMARY KEY);
CREATE FUNCTION meddle() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	IF current_setting('checklist.meddle', true) = 'on' THEN
		PERFORM public.dblink_exec('meddler', 'INSERT INTO checklist.witness SELECT ''w'' || count(*) + 1 FROM checklist.witness');
	END IF;
	RETURN true;
END$$;
DO $$
DECLARE t text;
BEGIN
	FOREACH t IN ARRAY '{project,task}'::text[] LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY; CREATE POLICY members ON %1$I USING (%I IN
			(SELECT project FROM member WHERE who = current_setting(''checklist.who'')))', t, CASE t WHEN 'task' THEN 'project_id' ELSE 'id' END);
	END LOOP;
	ALTER TABLE canary ENABLE ROW LEVEL SECURITY;
	CREATE POLICY sung ON canary USING (meddle());
	GRANT SELECT, INSERT, UPDATE, DELETE ON project, pair, strict, canary, witness, unsynced TO checklist_user;
	GRANT SELECT ON member TO checklist_user;
	GRANT SELECT (id, project_id, title, priority, note, done, due), INSERT, UPDATE, DELETE ON task TO checklist_user;
	PERFORM offsync.enable(name::regclass) FROM unnest('{project,task,pair,strict,canary,witness}'::text[]) name;
	PERFORM dblink_connect('meddler', format('dbname=%L host=%L port=%s user=%L', current_database(),
		split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), session_user));
END$$;
SET checklist.who = 'anna';
INSERT INTO member VALUES ('un/safe', 'anna'), ('p1', 'anna'), ('p2', 'anna'), ('p3', 'bob');
INSERT INTO project (id, name) VALUES ('p1', 'one'), ('p2', 'two'), ('p3', 'three'), ('p5', 'five');
CREATE FUNCTION u(n int) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$SELECT lpad(n::text, 32, '0')::uuid$$;
INSERT INTO task (id, project_id, title) SELECT u(n), 'p' || 1 + n % 3, 'T' || n FROM generate_series(1, 6) n;
INSERT INTO task (id, project_id, title) VALUES (u(30), 'p5', 'T30');

-- As WatermelonDB calls: what it pulled last stays in checklist.cursor and checklist.number.
CREATE FUNCTION pull(since text DEFAULT NULL, collections text[] DEFAULT '{project,task}', migration jsonb DEFAULT NULL,
	as_updated boolean DEFAULT false) RETURNS json LANGUAGE plpgsql AS $$
DECLARE a json;
BEGIN
	SET LOCAL ROLE checklist_user;
	a := offsync.pull_changes(last_pulled_at => since, schema_version => 2, migration => migration, collections => collections,
		client_id => 'phone', created_as_updated => as_updated);
	RESET ROLE;
	PERFORM set_config('checklist.cursor', a ->> 'cursor', false), set_config('checklist.number', a ->> 'timestamp', false);
	RETURN a;
END$$;
CREATE FUNCTION again() RETURNS json LANGUAGE sql AS $$SELECT pull(current_setting('checklist.cursor'))$$;
CREATE FUNCTION push(changes text, since text DEFAULT current_setting('checklist.cursor'), on_error text DEFAULT 'abort') RETURNS json
	LANGUAGE plpgsql AS $$
DECLARE a json;
BEGIN
	SET LOCAL ROLE checklist_user;
	a := offsync.push_changes(changes::json, since, client_id => 'phone', on_error => on_error);
	RESET ROLE;
	PERFORM set_config('checklist.cursor', a ->> 'cursor', false) WHERE a ->> 'cursor' IS NOT NULL;
	RETURN a;
END$$;
-- + created, ~ updated, - deleted; ids short
CREATE FUNCTION told(a json) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(translate(left(list, 1), 'cud', '+~-') || coalesce(regexp_replace(r ->> 'id', '^0.*0', ''), regexp_replace(r #>> '{}', '^0.*0', '')),
		' ' ORDER BY c, list, r ->> 'id', r #>> '{}'), '') FROM json_each(a -> 'changes') t(c, lists), json_each(lists) l(list, rows), json_array_elements(rows) r$$;
CREATE FUNCTION task(id int, fields text DEFAULT '"title": "new"') RETURNS text LANGUAGE sql AS $$SELECT format('{"id": "%s", %s}', u(id), fields)$$;
CREATE FUNCTION changes(kind text, rows text, collection text DEFAULT 'task') RETURNS text LANGUAGE sql AS
	$$SELECT format('{"%s": {"%s": [%s]}}', collection, kind, rows)$$;
CREATE FUNCTION title(n int) RETURNS text LANGUAGE sql AS $$SELECT title FROM task WHERE id = u(n)$$;

-- ---------- PULL

SELECT is(proargnames[:4] || proargnames[6:6], '{last_pulled_at,collections,schema_version,migration,created_as_updated}',
	'PULL 1 takes lastPulledAt, schemaVersion and migration, in SQL''s spelling') FROM pg_proc WHERE oid = 'offsync.pull_changes'::regproc;
SELECT ok(json_typeof(a -> 'changes') = 'object' AND json_typeof(a -> 'timestamp') = 'number' AND (a ->> 'timestamp')::numeric BETWEEN 1 AND 2 ^ 53,
	'PULL 1 answers changes and a timestamp, a safe integer above 0') FROM pull() a;
SELECT is(told(pull(since)), '+p1 +p2 +1 +3 +4 +6', format('PULL 3 %s is a first sync: all that is accessible', coalesce('"' || since || '"', 'null')))
	FROM unnest(ARRAY[NULL, '0', '']) since;
UPDATE task SET title = 'changed' WHERE id = u(1);
INSERT INTO task (id, project_id) VALUES (u(7), 'p1');
DELETE FROM task WHERE id = u(3);
SELECT is(told(pull(current_setting('checklist.number'))), '-3 ~1 ~7', 'PULL 2 all that was created, updated and deleted since a number');
UPDATE task SET title = 'again' WHERE id = u(7);
INSERT INTO task (id, project_id) VALUES (u(3), 'p1'), (u(8), 'p1');
DELETE FROM task WHERE id = u(8);
UPDATE project SET name = 'once' WHERE id = 'p1';
UPDATE project SET name = 'twice' WHERE id = 'p1';
SELECT is(told(again()), '~p1 +3 -8 ~7', 'PULL 2 each id once: made again, made and deleted, updated twice');
SELECT is(told(again()), '', 'PULL 4 the cursor of an answer is the next one''s: nothing twice');
SELECT is(told(pull(current_setting('checklist.number'))), '', 'PULL 4 and so is the number');
SELECT dblink_exec('meddler', 'BEGIN; INSERT INTO checklist.witness VALUES (''slow'')') \g /dev/null
SELECT is(told(pull(NULL, '{witness}')), '', 'PULL 4 a transaction is open,');
SELECT dblink_exec('meddler', 'COMMIT') \g /dev/null
SELECT current_setting('checklist.cursor') AS cursor, current_setting('checklist.number') AS number \gset
SELECT is(told(pull(since, '{witness}')), sign || 'slow', format('PULL 4 and its row is not lost to the %s when it commits later', kind))
	FROM (VALUES ('cursor', :'cursor', '+'), ('number', :'number', '~')) v (kind, since, sign);
SELECT told(pull(NULL, '{canary,witness}')) \g /dev/null
INSERT INTO canary VALUES ('c1');
SET checklist.meddle = 'on';
SELECT told(pull(current_setting('checklist.cursor'), '{canary,witness}')) AS told \gset
SET checklist.meddle = 'off';
SELECT count(*) > 1 AS meddled FROM witness \gset
SELECT ok(:'meddled' AND :'told' !~ 'w[0-9]', 'PULL 5 one snapshot: what commits while the first collection is read is in none of them');
SELECT matches(told(pull(current_setting('checklist.cursor'), '{canary,witness}')), 'w2', 'PULL 5 and in the next answer');
SELECT pull() \g /dev/null
UPDATE task SET priority = 5 WHERE id = u(1);
UPDATE task SET note = 'n' WHERE id = u(4);
SELECT again() \g /dev/null
SELECT is(told(pull(current_setting('checklist.cursor'), migration => '{"from": 1, "tables": ["project"], "columns": [{"table": "task", "columns": ["priority", "note"]}]}')),
	'+p1 +p2 ~1 ~4', 'PULL 6 a migration brings new tables whole, and rows whose new columns are not at their default');
SELECT throws_ok(format('SELECT pull(migration => %L)', m), 'PT404', NULL, 'PULL 6 names are from the whitelist: ' || m)
	FROM unnest(ARRAY['{"from": 1, "tables": ["unsynced"], "columns": []}', '{"from": 1, "tables": ["pg_class"], "columns": []}',
		'{"from": 1, "tables": [], "columns": [{"table": "task", "columns": ["secret"]}]}',
		'{"from": 1, "tables": [], "columns": [{"table": "task", "columns": ["title; --"]}]}']) m;
SELECT is((SELECT string_agg(key || ' ' || json_typeof(value), ', ' ORDER BY key) FROM json_each(pull() -> 'changes' -> 'task' -> 'created' -> 0)),
	'done boolean, due null, id string, note null, priority number, project_id string, title string',
	'PULL 7 rows match the app''s schema: ids and the like are text, columns without a grant left out');
UPDATE project SET _status = 'stored', _changed = 'stored';
SELECT is((SELECT count(*)::int FROM json_array_elements(pull() -> 'changes' -> 'project' -> 'created') r, json_object_keys(r) k WHERE k IN ('_status', '_changed')), 0,
	'PULL 8 no _status and no _changed, not even where the table has such columns');
SELECT is(json_typeof(pull() #> '{changes,project,created,0,server_version}'), 'number',
	'PULL 9 columns that the app doesn''t know are there, and may be');
SELECT push(changes('created', task(9, '"project_id": "p1", "title": "T9", "__proto__": {"polluted": true}, "constructor": 1'))) \g /dev/null
SELECT is((SELECT string_agg(DISTINCT k, ',') FROM json_array_elements(pull() -> 'changes' -> 'task' -> 'created') r, json_object_keys(r) k
	WHERE k NOT IN (SELECT attname FROM pg_attribute WHERE attrelid = 'task'::regclass)), NULL, 'PULL 10 no column names but the table''s own');
INSERT INTO pair VALUES ('it''s "quoted" \ / $ ä', -1);
SELECT matches(pull(NULL, '{pair}') #>> '{changes,pair,created,0,id}', '^[A-Za-z0-9._-]+$', 'PULL 11 composite ids are of safe characters, whatever their parts hold');
SELECT matches(r ->> 'id', '^[A-Za-z0-9-]+$', 'PULL 11 so are ids of numbers and UUIDs') FROM json_array_elements(pull() -> 'changes' -> 'task' -> 'created') r LIMIT 1;
SELECT throws_ok(format('SELECT push(%L)', changes('created', '{"id": "un/safe"}', 'project')), '23514', NULL, 'PULL 11 those of text what the table''s CHECK lets in');
SELECT is((SELECT string_agg(k, ',' ORDER BY k) FROM json_object_keys(pull(NULL, '{task,project}') -> 'changes') k), 'project,task',
	'PULL 12 no collections but those that were asked for');
SELECT is((SELECT string_agg(k, ',' ORDER BY k) FROM json_object_keys(pull(NULL, NULL) -> 'changes') k WHERE k NOT IN
	(SELECT collection FROM offsync.status)), NULL, 'PULL 13 nor names that no owner has enabled');
SELECT throws_ok($$SELECT pull(NULL, '{unsynced}')$$, 'PT404', NULL, 'PULL 13 what isn''t enabled can''t be asked for');

-- ---------- PUSH

SELECT pull() \g /dev/null
SELECT is(push(format('{"task": {"created": [%s], "updated": [%s], "deleted": ["%s"]}}', task(10, '"project_id": "p1", "title": "new"'), task(1), u(9)))
	-> 'applied' ->> 'task', '{"created":1,"updated":1,"deleted":1}', 'PUSH 14 creates, updates and deletes');
SELECT is(concat_ws(',', title(10), title(1), title(9)), 'new,new', 'PUSH 14 and has done so');
SELECT lives_ok(format('SELECT push(%L)', changes('created', task(10, '"project_id": "p1", "title": "newer"'))), 'PUSH 15 created, and there already: no error');
SELECT is(title(10), 'newer', 'PUSH 15 it is updated');
SELECT lives_ok(format('SELECT push(%L)', changes('updated', task(11, '"project_id": "p1", "title": "new"'))), 'PUSH 16 updated, and never there: no error');
SELECT is(title(11), 'new', 'PUSH 16 it is created');
DELETE FROM task WHERE id = u(11);
SELECT throws_ok(format('SELECT push(%L)', changes('updated', task(11, '"project_id": "p1"'))), 'PT409', NULL, 'PUSH 16 updated, and known to be deleted: an error');
SELECT lives_ok(format('SELECT push(%L)', changes('deleted', format('"%s", "%s"', u(11), u(99)))), 'PUSH 17 deleted, and not there: no error');
UPDATE task SET title = 'theirs' WHERE id = u(1);
SELECT throws_ok(format('SELECT push(%L)', changes(kind, rows)), 'PT409', NULL, format('PUSH 18 %s, and changed by others since: aborts', kind))
	FROM (VALUES ('updated', task(1)), ('created', task(1)), ('deleted', format('"%s"', u(1)))) v (kind, rows);
SELECT throws_ok(format('SELECT push(%L, %L)', changes('updated', task(1)), current_setting('checklist.number')), 'PT409', NULL, 'PUSH 18 with a number, too');
SELECT is(title(1), 'theirs', 'PUSH 18 nothing is overwritten');
SELECT again() \g /dev/null
SELECT lives_ok(format('SELECT push(%L)', changes('updated', task(1))), 'PUSH 18 once pulled, it goes through');
SELECT is(json_typeof(push('{}')), 'object', 'PUSH 19 a success answers, a failure is an error (its HTTP status is in test/e2e)');
SELECT throws_ok(format('SELECT push(%L)', format('{"project": {"updated": [{"id": "p1", "name": "half"}]}, "task": {"created": [%s], "updated": [%s], "deleted": ["%s"]}}',
	task(12, '"project_id": "p1"'), task(1, '"title": "bad"'), u(4))), '23514', NULL, 'PUSH 20 one record is refused:');
SELECT is(concat_ws(',', (SELECT name FROM project WHERE id = 'p1'), title(12), title(1), title(4)), 'twice,new,T4', 'PUSH 20 nothing of the push is stored');
SELECT push(changes('updated', '{"id": "p1", "name": "three times", "_status": "updated", "_changed": "name"}', 'project')) \g /dev/null
SELECT is((SELECT concat_ws(',', name, _status, _changed) FROM project WHERE id = 'p1'), 'three times,stored,stored',
	'PUSH 21 _status and _changed are never stored, not even where the table has such columns');
SELECT throws_ok(format('SELECT push(%L)', changes('created', '{"id": "x"}', name)), 'PT404', NULL, 'PUSH 22 collections are from the whitelist: ' || name)
	FROM unnest('{unsynced,pg_class,checklist.unsynced}'::text[]) name;
SELECT is(push(changes('updated', task(1, '"title": "t", "title\" = 1; --": 2, "server_version": 1'))) ->> 'ignoredColumns', '{"task":["title\" = 1; --"]}',
	'PUSH 22 so are columns; others are ignored and named');
SELECT throws_ok(format('SELECT push(%L)', changes('created', id)), CASE WHEN id ~ 'null|{}' THEN 'PT400' ELSE '22P02' END, NULL, 'PUSH 22 ids are checked: ' || id)
	FROM unnest(ARRAY['{"id": "''; DROP TABLE task"}', '{"id": null}', '{}', '{"id": 1}']) id;
SELECT throws_ok(format('SELECT push(%L)', changes(kind, rows)), '42501', NULL, format('PUSH 22 permissions are checked: %s in a project of others', kind))
	FROM (VALUES ('created', task(13, '"project_id": "p3"')), ('updated', task(30, '"title": "mine"')), ('updated', task(1, '"project_id": "p3"'))) v (kind, rows);
SELECT push(changes('deleted', format('"%s"', u(30)))) \g /dev/null
SELECT is(title(30), 'T30', 'PUSH 22 deleted: what can''t be seen isn''t there, and stays');
SELECT push(changes('created', task(14, '"project_id": "p1", "title": "", "priority": "", "due": "", "done": 1'))) \g /dev/null
SELECT is((SELECT (title, priority, due, done)::text FROM task WHERE id = u(14)), '("",0,,t)', 'PUSH 23 content is sanitized where it can mean one thing only');
SELECT is(push(changes('created', task(15, '"project_id": "p1", "priority": "high"') || ',' || task(16, '"project_id": "p1", "title": "new"')), on_error => 'skip')
	->> 'experimentalRejectedIds', format('{"task":["%s"]}', u(15)), 'PUSH 23 else it is refused, by itself where that is asked for');
SELECT is(title(16), 'new', 'PUSH 23 and the rest is stored');
INSERT INTO project VALUES ('p4'); INSERT INTO member VALUES ('p4', 'anna'); INSERT INTO task (id, project_id) VALUES (u(17), 'p4'), (u(18), 'p4');
SELECT again() \g /dev/null
SELECT push(changes('deleted', '"p4"', 'project')) \g /dev/null
SELECT is(concat(title(17), title(18)), '', 'PUSH 24 descendants go with a record as its foreign keys say');
SELECT is(told(again()), '-17 -18', 'PUSH 24 and devices are told');
INSERT INTO strict VALUES ('s1', 'p2');
SELECT throws_ok(format('SELECT push(%L)', changes('deleted', '"p2"', 'project')), '23503', NULL, 'PUSH 24 without ON DELETE CASCADE the deletion is refused');

-- ---------- TIPS

SELECT server_version AS v1 FROM task WHERE id = u(1) \gset
UPDATE task SET title = 'x', server_version = 1 WHERE id = u(1);
SELECT server_version AS v2 FROM task WHERE id = u(1) \gset
UPDATE task SET title = 'x' WHERE id = u(1);
SELECT ok(:v2 > :v1 AND server_version = :v2, 'TIP 25 a change moves the version, and nobody else can set it; no change doesn''t') FROM task WHERE id = u(1);
UPDATE task SET title = 'y' WHERE id = u(1);
SELECT ok(server_version > :v2, 'TIP 25 each transaction has its own') FROM task WHERE id = u(1);
SELECT again() \g /dev/null
SELECT push(changes('created', task(22, '"project_id": "p1", "server_created_at": 1, "server_version": 1'))) \g /dev/null
SELECT ok(server_created_at > now() - interval '1 hour', 'TIP 26 when a record was created the server says, whatever the device does') FROM task WHERE id = u(22);
INSERT INTO task (id, project_id) VALUES (u(21), 'p1');
UPDATE task SET title = 'z' WHERE id = u(22);
SELECT is(told(again()), '+21 ~22', 'TIP 26 and that decides what comes as created');
DELETE FROM task WHERE id = u(21);
SELECT is(told(again()), '-21', 'TIP 27 deletions are remembered');
SELECT current_setting('checklist.cursor') AS cursor \gset
SELECT push(changes('created', task(23, '"project_id": "p1"'))) \g /dev/null
INSERT INTO task (id, project_id) VALUES (u(24), 'p1');
SELECT is(told(pull(:'cursor')), '+24 ~23', 'TIP 27 a device hears of a push of its own and of another row, and keeps no cursor;');
DELETE FROM task WHERE id IN (u(23), u(24));
SELECT is(told(pull(:'cursor')), '-23 -24', 'TIP 27 when both are gone it hears of that');
SELECT is((SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
	WHERE relnamespace = 'offsync_internal'::regnamespace AND attnum > 0 AND NOT attisdropped AND attname IN ('title', 'note', 'secret')), NULL,
	'TIP 27 without what was in them');
INSERT INTO member VALUES ('p3', 'anna');
SELECT is(told(again()), '+p3 +2 +5', 'TIP 28 access granted: created, with descendants, although nobody touched them');
DELETE FROM member WHERE (project, who) = ('p3', 'anna');
SELECT is(told(again()), '-p3 -2 -5', 'TIP 28 access revoked: deleted, with descendants');
SELECT is(told(again()), '', 'TIP 28 once');

SELECT dblink_disconnect('meddler') \g /dev/null
SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA checklist CASCADE;
DROP ROLE checklist_user;
