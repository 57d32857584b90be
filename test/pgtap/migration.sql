-- Migrations: what a device lacks because its app knew less when it last pulled.
\ir begin.psql
DROP SCHEMA IF EXISTS migration CASCADE;
DROP ROLE IF EXISTS migration_user;
CREATE ROLE migration_user;
CREATE SCHEMA migration;
GRANT USAGE ON SCHEMA migration TO migration_user;
SET search_path = migration, public;
SELECT no_plan();

CREATE TABLE member (project text, PRIMARY KEY (project));
GRANT SELECT ON member TO migration_user;
CREATE TYPE pair AS (a int, b int);
CREATE TABLE task (id text PRIMARY KEY, project text, title text, priority int, weight int NOT NULL DEFAULT 3, done boolean NOT NULL DEFAULT false,
	note text NOT NULL DEFAULT '', price numeric NOT NULL DEFAULT 0, due timestamptz, data json, p pair, outside text, gone timestamptz);
ALTER TABLE task ADD secret text DEFAULT 'x';
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY open ON task USING (title <> 'hidden' AND project IN (SELECT project FROM member));
GRANT SELECT (id, project, title, priority, weight, done, note, price, due, data, p, outside) ON task TO migration_user;
GRANT INSERT, UPDATE ON task TO migration_user;
CREATE TABLE tag (id text PRIMARY KEY, name text);
GRANT SELECT, INSERT, UPDATE, DELETE ON tag TO migration_user;
ALTER TABLE tag ENABLE ROW LEVEL SECURITY;
CREATE POLICY open ON tag USING (name <> 'hidden');
CREATE TABLE locked (id text PRIMARY KEY);
CREATE TABLE unsynced (id text PRIMARY KEY);
INSERT INTO member VALUES ('p1'), ('p2');
INSERT INTO task (id, project, title, weight) SELECT 't' || i, 'p1', 'T', 0 FROM generate_series(1, 5) i;
INSERT INTO tag VALUES ('g1', 'a'), ('g2', 'b'), ('g3', 'hidden');
DO $$BEGIN
	PERFORM offsync.enable('task', filter_columns => '{project}', soft_delete => 'gone',
		columns => '{id,project,title,priority,weight,done,note,price,due,data,p,secret,gone}');
	PERFORM offsync.enable('tag');
	PERFORM offsync.enable('locked');
END$$;

CREATE FUNCTION pull(since text, migration jsonb, collections text[] DEFAULT '{task,tag}', filters json DEFAULT NULL,
	client text DEFAULT NULL, dialect text DEFAULT NULL, as_updated boolean DEFAULT false) RETURNS json LANGUAGE plpgsql AS $$
DECLARE a json;
BEGIN
	SET LOCAL ROLE migration_user;
	a := offsync.pull_changes(since, collections, migration => migration, filters => filters, client_id => client, dialect => dialect,
		created_as_updated => as_updated);
	RESET ROLE;
	PERFORM set_config('migration.cursor', a ->> 'cursor', false), set_config('migration.number', a ->> 'timestamp', false);
	RETURN a;
END$$;
CREATE FUNCTION ids(a json, of text, what text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE what WHEN 'created' THEN '+' WHEN 'updated' THEN '~' ELSE '-' END || coalesce(r ->> 'id', r #>> '{}'), ' ' ORDER BY r ->> 'id', r #>> '{}')
	FROM json_array_elements(a -> 'changes' -> of -> what) r$$;
-- + created, ~ updated, - deleted
CREATE FUNCTION told(a json, of text DEFAULT 'task') RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', CASE WHEN a #>> ARRAY['experimentalStrategy', 'override', of] = 'replacement' THEN 'replaced' END,
		ids(a, of, 'created'), ids(a, of, 'updated'), ids(a, of, 'deleted'))$$;
CREATE FUNCTION added(variadic columns text[]) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('from', 1, 'tables', '[]'::jsonb, 'columns', jsonb_build_array(jsonb_build_object('table', 'task', 'columns', columns)))$$;
CREATE FUNCTION with_columns(variadic columns text[]) RETURNS text LANGUAGE sql AS $$
	SELECT told(pull(current_setting('migration.cursor'), added(variadic columns)))$$;

-- New columns: what the device holds in their place is its own default.
SELECT is(told(pull(NULL, added('priority'))), '+t1 +t2 +t3 +t4 +t5', 'a first sync brings everything anyway');
SELECT is(with_columns('priority'), '', 'NULL everywhere: nothing is lacking');
UPDATE task SET priority = 0 WHERE id = 't1';
UPDATE task SET priority = 7 WHERE id = 't2';
UPDATE task SET weight = 3 WHERE id = 't3';
UPDATE task SET done = true, note = 'n', price = 0.5 WHERE id = 't4';
SELECT is(told(pull(current_setting('migration.cursor'), NULL)), '~t1 ~t2 ~t3 ~t4', 'the ordinary delta');
SELECT is(told(pull(current_setting('migration.cursor'), NULL)), '', 'is over');
SELECT is(with_columns('priority'), '~t1 ~t2', 'a column that may be NULL: all rows that have a value, 0 too');
SELECT is(with_columns('weight'), '~t3', 'one that can''t: those that aren''t 0, whatever its DEFAULT is');
SELECT is(with_columns('done'), '~t4', 'or false');
SELECT is(with_columns('note'), '~t4', 'or empty');
SELECT is(with_columns('price'), '~t4', 'or 0.0');
SELECT is(with_columns('priority', 'note', 'priority'), '~t1 ~t2 ~t4', 'several columns');
SELECT is(told(pull(current_setting('migration.cursor'), '{"columns": [{"table": "tag", "columns": ["server_version"]}]}'), 'tag'), '~g1 ~g2',
	'the server''s own columns');
SELECT is(told(pull(current_setting('migration.cursor'), '{"columns": [{"table": "task", "columns": ["done"]},
	{"table": "task", "columns": ["weight"]}, {"table": "tag", "columns": ["name"]}]}')), '~t3 ~t4', 'the same collection twice');
SELECT is(told(pull(current_setting('migration.cursor'), '{"columns": [{"table": "migration.task", "columns": ["done"]},
	{"table": "tag", "columns": ["name"]}]}'), 'tag'), '~g1 ~g2', 'two collections, by either name');
SELECT is(told(pull(current_setting('migration.cursor'), added('done', 'weight'), dialect => 'json')), 'replaced ~t1 ~t2 ~t3 ~t4 ~t5',
	'another dialect: replaced, and whole anyway');
SELECT is(told(pull(current_setting('migration.cursor'), added('weight'), dialect => 'json')), '~t1 ~t2 ~t3 ~t4 ~t5',
	'in the dialect json defaults are the device''s own');
SELECT pull(NULL, NULL) \g /dev/null
UPDATE task SET data = 'null', p = ROW(NULL, NULL) WHERE id = 't5';
SELECT pull(current_setting('migration.cursor'), NULL) \g /dev/null
SELECT is(with_columns('data'), '~t5', 'a type without equality');
SELECT is(with_columns('p'), '~t5', 'a composite value of nulls is a value');
SELECT is(with_columns('due'), '', 'a timestamp');
SELECT is(pull(current_setting('migration.cursor'), added('priority')) ->> 'experimentalStrategy', NULL, 'nothing is replaced');

-- Beside the ordinary delta, each id once.
UPDATE task SET title = 'new' WHERE id = 't1';
UPDATE task SET title = 'hidden' WHERE id = 't2';
UPDATE task SET gone = now() WHERE id = 't4';
INSERT INTO task (id, project, title, priority) VALUES ('t6', 'p1', 'T', 1), ('t7', 'p1', 'hidden', 1), ('t8', 'p3', 'T', 1);
SELECT is(with_columns('priority', 'note'), '~t1 ~t6 -t2 -t4', 'changed, new, out of sight and deleted, once each');
SELECT is(with_columns('priority', 'note'), '~t1 ~t6', 'rows out of sight, and soft-deleted ones, stay away');
SELECT is(told(pull(current_setting('migration.cursor'), added('priority'), client => 'phone')), '~t1 ~t6', 'the device has them: under updated');
DELETE FROM task WHERE id = 't1';
INSERT INTO task (id, project, title, priority) VALUES ('t1', 'p1', 'T', 2);
SELECT is(told(pull(current_setting('migration.cursor'), added('priority'), client => 'phone')), '~t1 ~t6', 'one that was deleted and made again');
INSERT INTO task (id, project, title, priority) VALUES ('t9', 'p1', 'T', 2);
SELECT is(told(pull(current_setting('migration.cursor'), added('priority'), client => 'phone')), '+t9 ~t1 ~t6', 'a new row beside them is created');

-- The view shifts.
INSERT INTO member VALUES ('p3');
UPDATE task SET title = 'x' WHERE id = 't6';
SELECT is(told(pull(current_setting('migration.cursor'), added('priority'), client => 'phone')), '+t8 ~t1 ~t6 ~t9', 'rows that were gained come once');
DELETE FROM member WHERE project = 'p3';
SELECT is(told(pull(current_setting('migration.cursor'), added('priority'), client => 'phone')), '~t1 ~t6 ~t9 -t8', 'and the lost ones go');

-- Filters.
INSERT INTO task (id, project, title, priority) VALUES ('u1', 'p2', 'T', 1), ('u2', 'p2', 'T', NULL);
SELECT is(told(pull(NULL, NULL, filters => '{"task": {"project": ["p2"]}}')), '+u1 +u2', 'a device that filters');
SELECT is(told(pull(current_setting('migration.cursor'), added('priority'), filters => '{"task": {"project": ["p2"]}}')), '~u1', 'lacks what it holds');
SELECT is(told(pull(current_setting('migration.cursor'), added('priority'), filters => '{"task": {"project": ["p2", "p1"]}}', client => 'phone')),
	'+t1 +t3 +t5 +t6 +t9 ~u1', 'while its filter grows');
SELECT is(told(pull(current_setting('migration.cursor'), added('priority'), filters => '{"task": {"project": ["p2"]}}')), '~u1 -t1 -t3 -t5 -t6 -t9', 'and shrinks');
SELECT is(told(pull(current_setting('migration.cursor'), '{"tables": ["task"]}', filters => '{"task": {"project": ["p2"]}}')), 'replaced ~u1 ~u2',
	'a new collection, filtered');

-- Numbers and times.
SELECT pull(NULL, NULL) \g /dev/null
SELECT is(told(pull(current_setting('migration.number'), NULL), 'tag'), '', 'a number, and nothing to tell');
SELECT is(told(pull(current_setting('migration.number'), '{"columns": [{"table": "tag", "columns": ["name"]}]}'), 'tag'), '~g1 ~g2', 'a number');
SELECT is(told(pull(current_setting('migration.number'), '{"tables": ["tag"]}'), 'tag'), 'replaced ~g1 ~g2', 'a number, and a new collection');
INSERT INTO tag VALUES ('g4', 'd');
SELECT is(told(pull(current_setting('migration.number'), '{"columns": [{"table": "tag", "columns": ["name"]}]}'), 'tag'), '~g1 ~g2 ~g4', 'once each');
SELECT is(told(pull(to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '{"columns": [{"table": "tag", "columns": ["name"]}]}'), 'tag'),
	(SELECT concat_ws(' ', CASE WHEN a LIKE 'replaced%' THEN 'replaced' END, '~g1 ~g2 ~g4')
	FROM told(pull(to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), NULL), 'tag') a), 'an ISO time');
SELECT is(told(pull('1', '{"tables": ["tag"]}'), 'tag'), 'replaced ~g1 ~g2 ~g4', 'a number of another incarnation');

-- New collections.
SELECT pull(NULL, NULL, '{task}') \g /dev/null
SELECT is(told(pull(current_setting('migration.cursor'), '{"tables": ["tag"]}'), 'tag'), 'replaced ~g1 ~g2 ~g4', 'one that the cursor doesn''t cover');
SELECT is(told(pull(current_setting('migration.cursor'), NULL), 'tag'), '', 'from then on it does');
DELETE FROM tag WHERE name = 'd';
SELECT is(told(pull(current_setting('migration.cursor'), '{"from": 1, "tables": ["tag", "migration.tag"], "columns": []}'), 'tag'),
	'replaced ~g1 ~g2', 'one that it covers: whole, and nothing is told of what went');
SELECT is(told(pull(current_setting('migration.cursor'), '{"tables": ["tag"], "columns": [{"table": "tag", "columns": ["name"]}]}', client => 'phone'), 'tag'),
	'replaced +g1 +g2', 'it has none of it, for whoever has a cursor and a name');
SELECT is(told(pull(current_setting('migration.cursor'), '{"tables": ["tag"]}', client => 'phone', as_updated => true), 'tag'), 'replaced ~g1 ~g2',
	'unless everything is to be updated');
SELECT is(told(pull(NULL, '{"tables": ["tag"]}'), 'tag'), '+g1 +g2', 'a first sync');
SELECT is((SELECT string_agg(key, ' ') FROM json_object_keys(pull(current_setting('migration.cursor'), '{"tables": ["tag"]}')
	-> 'experimentalStrategy' -> 'override') key), 'tag', 'the others aren''t replaced for it');
SELECT is(told(pull(current_setting('migration.cursor'), '{"tables": ["migration.tag"]}', '{migration.tag}'), 'migration.tag'), 'replaced ~g1 ~g2',
	'told of under the name that it was asked for by');

-- A device that has pushed to the new collection already.
CREATE FUNCTION sync(changes json, migration jsonb, client text DEFAULT 'phone') RETURNS json LANGUAGE plpgsql AS $$
DECLARE a json;
BEGIN
	SET LOCAL ROLE migration_user;
	a := offsync.sync_changes(changes, current_setting('migration.cursor'), '{task,tag}', client, migration => migration);
	RESET ROLE;
	PERFORM set_config('migration.cursor', a ->> 'cursor', false);
	RETURN a;
END$$;
SELECT is(told(sync('{"tag": {"created": [{"id": "g5", "name": "e"}]}}', '{"tables": ["tag"]}'), 'tag'), 'replaced +g1 +g2 ~g5', 'sync_changes: what it pushes itself is updated');
SELECT is(told(pull(current_setting('migration.cursor'), '{"tables": ["tag"]}', client => 'phone'), 'tag'), 'replaced +g1 +g2 ~g5', 'so it is afterwards');
SELECT is(told(sync('{"tag": {"created": [{"id": "g6", "name": "f"}]}}', NULL, NULL), 'tag'), '', 'one that was pushed without a name');
SELECT is(told(pull(current_setting('migration.cursor'), '{"tables": ["tag"]}', client => 'phone'), 'tag'), 'replaced +g1 +g2 +g5 ~g6',
	'is known by the cursor; older ones it says it hasn''t got');
SELECT is(told(sync('{"task": {"updated": [{"id": "t1", "title": "mine"}]}}', added('priority')), 'task'), '~t1 ~t6 ~t9 ~u1', 'its own rows lack columns too');
SELECT is(told(sync('{}', NULL), 'task'), '', 'once');

-- None of it.
SELECT is(told(pull(current_setting('migration.cursor'), m)), '', 'nothing is new: ' || m::text)
FROM unnest(ARRAY['null', '{}', '{"from": 3}', '{"from": null, "tables": null, "columns": null}', '{"columns": [{"table": "task", "columns": []}]}']::jsonb[]) m;

-- What is refused.
CREATE FUNCTION refusal(migration jsonb, collections text[] DEFAULT '{task,tag}', since text DEFAULT current_setting('migration.cursor')) RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text;
BEGIN
	PERFORM pull(since, migration, collections);
	RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, ''));
END$$;
SELECT is(refusal('{"tables": ["nothing"]}'), 'PT404 | unknown collection "nothing"', 'a table that there isn''t');
SELECT is(refusal('{"tables": ["unsynced"]}'), 'PT404 | unknown collection "unsynced"', 'or that isn''t synced');
SELECT is(refusal('{"tables": ["nothing"]}', NULL, NULL), 'PT404 | unknown collection "nothing"', 'in a first sync too');
SELECT is(refusal('{"columns": [{"table": "nothing", "columns": []}]}'), 'PT404 | unknown collection "nothing"', 'nor has it columns');
SELECT is(refusal('{"tables": ["locked"]}', NULL), '42501 | permission denied for collection "locked"', 'a table that the caller can''t read');
SELECT is(refusal('{"tables": ["tag"]}', '{task}'), 'PT400 | malformed migration | "tag" isn''t among the collections that are asked for.', 'one that isn''t asked for');
SELECT is(refusal(added('nothing')), 'PT404 | unknown column "nothing" of collection "task"', 'a column that there isn''t');
SELECT is(refusal(added('secret')), 'PT404 | unknown column "secret" of collection "task"', 'that the caller can''t read');
SELECT is(refusal(added('outside')), 'PT404 | unknown column "outside" of collection "task"', 'that isn''t on the list of columns');
SELECT is(refusal(added('server_created_version')), 'PT404 | unknown column "server_created_version" of collection "task"', 'that never travels');
SELECT is(refusal(added('ctid')), 'PT404 | unknown column "ctid" of collection "task"', 'of the system');
SELECT is(refusal(added('title); DROP TABLE task; --')), 'PT404 | unknown column "title); DROP TABLE task; --" of collection "task"', 'of nobody');
SELECT is(refusal(added('done', 'secret')), 'PT404 | unknown column "secret" of collection "task"', 'among good ones');
SELECT alike(refusal(m), 'PT400 | malformed migration | %', 'malformed: ' || m::text) FROM unnest(ARRAY['[]', '"x"', '1', 'true', '{"from": "1"}', '{"table": ["tag"]}',
	'{"tables": "tag"}', '{"tables": {}}', '{"tables": [null]}', '{"tables": [1]}', '{"tables": [["tag"]]}', '{"columns": {}}', '{"columns": ["tag"]}', '{"columns": [[]]}',
	'{"columns": [{}]}', '{"columns": [{"table": "tag"}]}', '{"columns": [{"columns": []}]}', '{"columns": [{"table": 1, "columns": []}]}',
	'{"columns": [{"table": "tag", "columns": "name"}]}', '{"columns": [{"table": "tag", "columns": [null]}]}', '{"columns": [{"table": "tag", "columns": [], "x": 1}]}']::jsonb[]) m;

SELECT * FROM finish();
RESET search_path;
DO $$BEGIN PERFORM offsync.disable(format('migration.%I', t)::regclass) FROM unnest('{task,tag,locked}'::text[]) t; END$$;
DROP SCHEMA migration CASCADE;
DROP ROLE migration_user;
