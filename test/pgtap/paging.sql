-- Pulls in pages: all of them together are one pull, whatever is written between them.
\ir begin.psql
DROP SCHEMA IF EXISTS paging CASCADE;
DROP ROLE IF EXISTS paging_user;
CREATE ROLE paging_user;
CREATE SCHEMA paging;
GRANT USAGE ON SCHEMA paging TO paging_user;
SET search_path = paging, public;
SELECT no_plan();

CREATE FUNCTION pull(cur text, max_rows int, collections text[] DEFAULT NULL, filters json DEFAULT NULL, migration jsonb DEFAULT NULL)
RETURNS json LANGUAGE plpgsql AS $$
DECLARE a json;
BEGIN
	SET LOCAL ROLE paging_user;
	a := offsync.pull_changes(cur, collections, filters => filters, migration => migration, max_rows => max_rows);
	RESET ROLE;
	PERFORM set_config('paging.cursor', a ->> 'cursor', false), set_config('paging.number', a ->> 'timestamp', false);
	RETURN a;
END$$;
-- +row -deleted, by collection
CREATE FUNCTION told(a json) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', (SELECT string_agg(concat_ws(' ', name, (SELECT string_agg('+' || (r ->> 'id'), ' ' ORDER BY r ->> 'id' COLLATE "C") FROM
			(SELECT json_array_elements(part -> 'created') r UNION ALL SELECT json_array_elements(part -> 'updated')) rows),
		(SELECT string_agg('-' || g, ' ' ORDER BY g COLLATE "C") FROM json_array_elements_text(part -> 'deleted') g)), ' ')
		FROM json_each(a -> 'changes') AS c(name, part)
		WHERE json_array_length(part -> 'created') + json_array_length(part -> 'updated') + json_array_length(part -> 'deleted') > 0),
		CASE WHEN (a ->> 'hasMore')::boolean THEN '...' END, a ->> 'experimentalStrategy')$$;
CREATE FUNCTION next(max_rows int DEFAULT 2, collections text[] DEFAULT NULL) RETURNS text LANGUAGE sql AS
	$$SELECT told(pull(current_setting('paging.cursor'), max_rows, collections))$$;
-- All pages, page by page
CREATE FUNCTION pages(cur text, max_rows int, collections text[] DEFAULT NULL, filters json DEFAULT NULL, migration jsonb DEFAULT NULL)
RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE a json;
BEGIN
	FOR i IN 1 .. 1000 LOOP
		a := pull(cur, max_rows, collections, filters, migration);
		cur := a ->> 'cursor';
		RETURN NEXT told(a);
		EXIT WHEN NOT (a ->> 'hasMore')::boolean;
	END LOOP;
END$$;

-- ---------- how it is asked for ----------

CREATE TABLE task (id text PRIMARY KEY, title text, owner text DEFAULT 'me', extra text);
CREATE TABLE zone (x int, y text, z text, PRIMARY KEY (y, x));
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON task USING (owner = 'me');
GRANT SELECT, INSERT, UPDATE, DELETE ON task, zone TO paging_user;
INSERT INTO task SELECT 't' || i FROM generate_series(1, 5) i;
INSERT INTO zone SELECT i, chr(97 + i % 2), 'z' FROM generate_series(1, 3) i;
DO $$BEGIN PERFORM offsync.enable('task', filter_columns => '{title}'); PERFORM offsync.enable('zone'); END$$;

SELECT is(ARRAY(SELECT pages(NULL, 2)), ARRAY['task +t1 +t2 ...', 'task +t3 +t4 ...', 'task +t5 zone +a.2 ...', 'zone +b.1 +b.3'],
	'a first sync in pages: by key, one collection after the other');
SELECT is(ARRAY(SELECT pages(NULL, 8)), ARRAY['task +t1 +t2 +t3 +t4 +t5 zone +a.2 +b.1 +b.3'], 'just as much as there is');
SELECT is(ARRAY(SELECT pages(NULL, 5)), ARRAY['task +t1 +t2 +t3 +t4 +t5 ...', 'zone +a.2 +b.1 +b.3'], 'a page that ends with a collection');
SELECT is(pull(NULL, 2) ->> 'timestamp', '1', 'a page that is not the last one moves no number: 1 on a first sync');
SELECT is(offsync.cursor_info(current_setting('paging.cursor')) ->> 'hasMore', 'true', 'cursor_info tells a page');
SELECT is(next(NULL), 'task +t3 +t4 +t5 zone +a.2 +b.1 +b.3', 'without max_rows the rest comes in one');
SELECT cmp_ok(current_setting('paging.number')::bigint, '>', 1::bigint, 'the last page has the number');
SELECT is(offsync.cursor_info(current_setting('paging.cursor')) ->> 'hasMore', NULL, 'and a cursor like any other');
SELECT is(next(), '', 'with which nothing comes again');
SELECT throws_ok($$SELECT offsync.pull_changes(max_rows => 0)$$, 'PT400', 'max_rows must be greater than zero');
SELECT throws_ok($$SELECT offsync.pull_changes(max_rows => -1)$$, 'PT400', 'max_rows must be greater than zero');
SELECT lives_ok($$SELECT offsync.pull_changes(max_rows => 2147483647)$$, 'the largest page');

SELECT pull(NULL, 2) IS NULL AS ignored \gset
SELECT throws_ok(format('SELECT offsync.push_changes(%L, %L)', '{"task": {"updated": [{"id": "t5", "title": "x"}]}}', current_setting('paging.cursor')),
	'PT400', 'the cursor is of a pull that is not finished', 'nobody pushes from the middle of a pull');
SELECT throws_ok(format('SELECT offsync.reconcile(%L, %L)', '{}', current_setting('paging.cursor')),
	'PT400', 'the cursor is of a pull that is not finished');
SELECT throws_ok(format('SELECT offsync.pull_changes(%L, ARRAY[%L], max_rows => 1)', current_setting('paging.cursor'), 'zone'),
	'PT400', 'arguments of a pull changed from one page to the next', 'a collection that is left out half-way');
SELECT throws_ok(format('SELECT offsync.pull_changes(%L, max_rows => 1, dialect => %L)', current_setting('paging.cursor'), 'json'),
	'PT400', 'arguments of a pull changed from one page to the next', 'another dialect half-way');
SELECT throws_ok(format('SELECT offsync.pull_changes(%L, max_rows => 1, migration => %L)', current_setting('paging.cursor'), '{"tables": ["task"]}'),
	'PT400', 'arguments of a pull changed from one page to the next', 'a migration half-way');

-- ---------- between the pages ----------

SELECT is(told(pull(NULL, 2, '{task}')), 'task +t1 +t2 ...', 'between two pages ...');
UPDATE task SET title = 'written' WHERE id IN ('t1', 't4');
INSERT INTO task (id, title) VALUES ('t0', 'new'), ('t9', 'new');
DELETE FROM task WHERE id IN ('t2', 't5');
SELECT is(next(2, '{task}'), 'task +t3', '... what is written is left out of the rest');
SELECT is(next(NULL, '{task}'), 'task +t0 +t1 +t4 +t9 -t2 -t5', 'and comes with the next pull');

-- A row that comes and goes again must not stay on the device
INSERT INTO task (id, owner) VALUES ('v1', 'me'), ('v2', 'me'), ('v3', 'you');
SELECT is(told(pull(current_setting('paging.cursor'), 1, '{task}')), 'task +v1 ...', 'a row of another''s, ...');
UPDATE task SET owner = 'me' WHERE id = 'v3';
SELECT is(told(pull(current_setting('paging.cursor'), NULL, '{task}')), 'task +v2', '... which becomes mine between two pages, ...');
UPDATE task SET owner = 'you' WHERE id = 'v3';
SELECT is(next(2, '{task}'), 'task -v3', '... and isn''t when the pull has ended, is not on the device');

UPDATE task SET title = 'n' WHERE id IN ('t1', 't3', 't4');
SELECT set_config('paging.base', current_setting('paging.number'), false) AS ignored \gset
SELECT is(told(pull(current_setting('paging.base'), 2)), 'task +t1 +t3 ...', 'a number begins a pull in pages');
SELECT is(current_setting('paging.number'), current_setting('paging.base'), 'a page that is not the last repeats the caller''s number');
SELECT is(next(), 'task +t4', 'it goes on with the cursor');
SELECT cmp_ok(current_setting('paging.number')::bigint, '>', current_setting('paging.base')::bigint, 'and ends with the next number');
SELECT is(told(pull(current_setting('paging.number'), 2)), '', 'which has seen it all');
SELECT set_config('paging.base', to_json(now() AT TIME ZONE 'UTC') #>> '{}' || 'Z', false) AS ignored \gset
UPDATE zone SET z = 'time';
SELECT matches(told(pull(current_setting('paging.base'), 1)), '[.]{3}', 'a time begins one');
SELECT is((SELECT count(*)::int FROM pages(current_setting('paging.cursor'), 1) AS t WHERE t LIKE '%zone%'), 3, 'and it is gone on with the cursor');

-- Deletions in pages
SELECT pull(NULL, NULL) IS NULL AS ignored \gset
SELECT set_config('paging.base', current_setting('paging.cursor'), false) AS ignored \gset
DELETE FROM task WHERE id LIKE 't%';
UPDATE zone SET z = 'y';
SELECT is(ARRAY(SELECT pages(current_setting('paging.base'), 2)), ARRAY['task -t0 -t1 ...', 'task -t3 -t4 ...', 'task -t9 zone +a.2 ...', 'zone +b.1 +b.3'],
	'deleted ids count, and are told in pages');
SELECT is(ARRAY(SELECT pages(current_setting('paging.base'), 1000)), ARRAY['task -t0 -t1 -t3 -t4 -t9 zone +a.2 +b.1 +b.3'], 'all in one');

-- ---------- one pull with a push ----------

CREATE FUNCTION sync(changes json, cur text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE a json;
BEGIN
	SET LOCAL ROLE paging_user;
	a := offsync.sync_changes(changes, cur, client_id => 'c', max_rows => 2);
	RESET ROLE;
	PERFORM set_config('paging.cursor', a ->> 'cursor', false);
	RETURN a;
END$$;
INSERT INTO task (id) SELECT 'u' || i FROM generate_series(1, 3) i;
SELECT is(told(sync('{"task": {"created": [{"id": "own", "title": "o"}]}}', current_setting('paging.cursor'))), 'task +own +u1 ...',
	'sync_changes answers the first page');
SELECT is(next(), 'task +u2 +u3', 'pull_changes the others');
SELECT is(next(), '', 'nor does it come later');

-- ---------- what the policies say changes ----------

CREATE TABLE member (project text, who text);
CREATE TABLE doc (id int PRIMARY KEY, project text);
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY members ON doc USING (project IN (SELECT project FROM member WHERE who = current_user));
GRANT SELECT ON member, doc TO paging_user;
INSERT INTO member VALUES ('p', 'paging_user'), ('q', 'paging_user');
INSERT INTO doc SELECT i, CASE WHEN i % 2 = 0 THEN 'p' ELSE 'q' END FROM generate_series(1, 6) i;
INSERT INTO doc SELECT i, 'r' FROM generate_series(11, 14) i;
DO $$BEGIN PERFORM offsync.enable('doc'); END$$;

SELECT is(told(pull(NULL, 2, '{doc}')), 'doc +1 +2 ...', 'a membership lost between two pages ...');
DELETE FROM member WHERE project = 'p';
SELECT is(next(10, '{doc}'), '', '... leaves the rest of the collection out');
SELECT is(current_setting('paging.number'), '1', 'a number that can''t say so does not move');
INSERT INTO member VALUES ('p', 'paging_user');
SELECT is(next(NULL, '{doc}'), 'doc +1 +2 +3 +4 +5 +6 {"default":"incremental","override":{"doc":"replacement"}}',
	'and the next pull replaces it, though the membership is back');

SELECT is(told(pull(NULL, 2, '{doc}')), 'doc +1 +2 ...', 'a membership gained between two pages ...');
INSERT INTO member VALUES ('r', 'paging_user');
SELECT is(next(10, '{doc}'), '', '... as well');
DELETE FROM member WHERE project = 'r';
SELECT is(told(pull(current_setting('paging.cursor'), NULL, '{doc}')), 'doc +1 +2 +3 +4 +5 +6 {"default":"incremental","override":{"doc":"replacement"}}', 'and again');

SELECT is(told(pull(NULL, 2, '{doc}')), 'doc +1 +2 ...', 'a membership of a project without older rows ...');
INSERT INTO member VALUES ('new', 'paging_user');
INSERT INTO doc VALUES (0, 'new'), (7, 'new');
SELECT is(next(10, '{doc}'), 'doc +3 +4 +5 +6', '... spoils nothing');
SELECT is(told(pull(current_setting('paging.cursor'), NULL, '{doc}')), 'doc +0 +7', 'its rows come with the next pull');

-- the exact delta of a membership, in pages
SELECT set_config('paging.base', current_setting('paging.cursor'), false) AS ignored \gset
INSERT INTO member VALUES ('r', 'paging_user');
DELETE FROM member WHERE project = 'q';
UPDATE doc SET id = 22 WHERE id = 2;
UPDATE doc SET id = 2 WHERE id = 22;
SELECT is(ARRAY(SELECT pages(current_setting('paging.base'), 3, '{doc}')), ARRAY['doc +11 +12 +2 ...', 'doc +13 +14 -1 ...', 'doc -3 -5'],
	'rows of a joined project and ids of a left one, in pages');
SELECT is(ARRAY(SELECT pages(current_setting('paging.base'), 1, '{doc}')), ARRAY['doc +2 ...', 'doc +11 ...', 'doc +12 ...', 'doc +13 ...', 'doc +14 ...', 'doc -1 ...', 'doc -3 ...', 'doc -5'],
	'one by one');
SELECT is(told(pull(current_setting('paging.base'), 3, '{doc}')), 'doc +11 +12 +2 ...', 'a right that is lost between two pages ...');
SELECT set_config('paging.base', current_setting('paging.cursor'), false) AS ignored \gset
REVOKE SELECT ON doc FROM paging_user;
SELECT throws_ok($$SELECT pull(current_setting('paging.base'), 3, '{doc}')$$, '42501', NULL, '... is an error where it is asked for by name');
SELECT is(told(pull(current_setting('paging.base'), 3)), '', 'else the rest is left out');
GRANT SELECT ON doc TO paging_user;
SELECT is(told(pull(current_setting('paging.cursor'), NULL, '{doc}')), 'doc +0 +11 +12 +13 +14 +2 +4 +6 +7 {"default":"incremental","override":{"doc":"replacement"}}',
	'and the collection is replaced');

-- another caller in between
CREATE TABLE flat (id int PRIMARY KEY, tenant text);
ALTER TABLE flat ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON flat USING (tenant = current_setting('paging.tenant'));
GRANT SELECT ON flat TO paging_user;
INSERT INTO flat VALUES (1, 'a'), (2, 'b'), (3, 'a'), (4, 'b');
DO $$BEGIN PERFORM offsync.enable('flat'); END$$;
SET paging.tenant = 'a';
SELECT is(told(pull(NULL, 1, '{flat}')), 'flat +1 ...', 'somebody else goes on with a pull: ...');
SET paging.tenant = 'b';
SELECT is(told(pull(current_setting('paging.cursor'), NULL, '{flat}')), '', '... nothing of theirs comes to the device');
SET paging.tenant = 'a';
SELECT is(told(pull(current_setting('paging.cursor'), NULL, '{flat}')), 'flat +1 +3 {"default":"incremental","override":{"flat":"replacement"}}', 'which takes its own anew');

-- ---------- replacements ----------

SELECT set_config('paging.base', current_setting('paging.cursor'), false) AS ignored \gset
DO $$BEGIN PERFORM offsync.reset('doc'); END$$;
SELECT is(ARRAY(SELECT pages(current_setting('paging.base'), 4, '{doc}')),
	ARRAY['doc +0 +2 +4 +6 ... incomplete', 'doc +11 +12 +13 +7 ... incomplete', 'doc +14 {"default":"incremental","override":{"doc":"replacement"}}'],
	'a replacement in pages: the strategy comes with the last one, and no page by itself can be taken for the whole');
SELECT is(told(pull(current_setting('paging.base'), 4, '{doc}')), 'doc +0 +2 +4 +6 ... incomplete', 'a replacement that can''t be told whole ...');
DELETE FROM member WHERE project = 'r';
SELECT is(told(pull(current_setting('paging.cursor'), NULL, '{doc}')), '', '... is none: nothing may be deleted by it');
SELECT is(told(pull(current_setting('paging.cursor'), NULL, '{doc}')), 'doc +0 +2 +4 +6 +7 {"default":"incremental","override":{"doc":"replacement"}}', 'the next one is');
SELECT is(told(pull(NULL, 1, '{doc}')), 'doc +0 ...', 'a table emptied between two pages ...');
BEGIN; TRUNCATE doc; INSERT INTO doc VALUES (8, 'p'); COMMIT;
SELECT is(told(pull(current_setting('paging.cursor'), NULL, '{doc}')), '', '... leaves nothing to tell');
SELECT is(told(pull(current_setting('paging.cursor'), NULL, '{doc}')), 'doc +8 {"default":"incremental","override":{"doc":"replacement"}}', 'but a replacement');

-- ---------- filters, migrations ----------

TRUNCATE task;
INSERT INTO task (id, title, extra) SELECT 'f' || i, CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END, i FROM generate_series(1, 7) i;
SELECT is(ARRAY(SELECT pages(NULL, 2, '{task}', '{"task": {"title": ["odd"]}}')), ARRAY['task +f1 +f3 ...', 'task +f5 +f7'], 'a filter');
SELECT is(ARRAY(SELECT pages(current_setting('paging.cursor'), 2, '{task}', '{"task": {"title": ["even"]}}')),
	ARRAY['task +f2 +f4 ...', 'task +f6 -f1 ...', 'task -f3 -f5 ...', 'task -f7'], 'another filter');
SELECT is(ARRAY(SELECT pages(NULL, 100, '{task}')), ARRAY['task +f1 +f2 +f3 +f4 +f5 +f6 +f7'], 'none');
UPDATE task SET title = 'x' WHERE id = 'f3';
SELECT is(ARRAY(SELECT pages(current_setting('paging.cursor'), 3, '{task}', NULL, '{"columns": [{"table": "task", "columns": ["extra"]}]}')),
	ARRAY['task +f1 +f2 +f3 ...', 'task +f4 +f5 +f6 ...', 'task +f7'], 'a migration''s columns');

-- ---------- keys of all kinds ----------

CREATE DOMAIN short AS text CHECK (length(value) < 9);
CREATE DOMAIN code AS char(4);
CREATE TYPE mood AS ENUM ('z', 'a', 'm');
-- a server can be built without ICU
SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') AS icu \gset
\if :icu
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
\endif
CREATE FUNCTION words(pages text[]) RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg(w ORDER BY w) FROM unnest(pages) p, regexp_split_to_table(p, ' ') w WHERE w NOT IN ('...', 'keyed')$$;
CREATE TABLE keys_result (n serial, type text, whole text[], paged text[], pages int, gone text[]);
CREATE PROCEDURE page_keys(type text, value text) LANGUAGE plpgsql AS $$
DECLARE whole text[]; paged text[]; n int;
BEGIN
	EXECUTE format('CREATE TABLE keyed (id %s PRIMARY KEY, a int)', type);
	EXECUTE format('INSERT INTO keyed SELECT DISTINCT ON (1) %s FROM generate_series(1, 23) i', value);
	GRANT SELECT ON keyed TO paging_user;
	PERFORM offsync.enable('keyed');
	COMMIT;
	whole := words(ARRAY[told(pull(NULL, NULL, '{keyed}'))]);
	paged := ARRAY(SELECT pages(NULL, 2, '{keyed}'));
	n := cardinality(paged);
	DELETE FROM keyed;
	COMMIT;
	INSERT INTO keys_result (type, whole, paged, pages, gone) SELECT $1, whole, words(paged), n, words(ARRAY(SELECT pages(current_setting('paging.cursor'), 2, '{keyed}')));
	COMMIT;
	PERFORM offsync.disable('keyed');
	DROP TABLE keyed;
END$$;
CALL page_keys('int', '-i');
CALL page_keys('bigint', 'i * 1000000000000');
CALL page_keys('uuid', 'md5(i::text)::uuid');
CALL page_keys('text', '(i * 37 % 23)::text || ''é'' || i');
CALL page_keys('varchar(20)', 'chr(64 + i)');
CALL page_keys('text COLLATE "C"', 'CASE WHEN i % 2 = 0 THEN ''a'' ELSE ''B'' END || i');
\if :icu
CALL page_keys('text COLLATE nocase', 'CASE WHEN i % 2 = 0 THEN ''a'' ELSE ''B'' END || i');
\endif
CALL page_keys('char(4)', 'i::text');
CALL page_keys('numeric', 'i / 3.0');
CALL page_keys('double precision', 'i / 7.0');
CALL page_keys('time', 'time ''10:00'' + i * interval ''1 microsecond''');
CALL page_keys('code', '''a'' || i');
CALL page_keys('date', 'date ''2000-01-01'' + i');
CALL page_keys('short', 'i::text');
CALL page_keys('mood', '(enum_range(NULL::mood))[1 + i % 3]');
CALL page_keys('bytea', 'decode(md5(i::text), ''hex'')');
CALL page_keys('int[]', 'ARRAY[i, 1]');
CALL page_keys('boolean', 'i % 2 = 0');
SELECT ok(pages > 0 AND pages < 15 AND paged = whole, format('keys of type %s: %s pages', type, pages)) FROM keys_result ORDER BY n;
SELECT is(gone, ARRAY(SELECT regexp_replace(w, '^.', '-') FROM unnest(whole) w ORDER BY 1), format('and deleted: %s', type)) FROM keys_result ORDER BY n;

-- ---------- another server ----------

SELECT pull(NULL, 1) IS NULL AS ignored \gset
DO $$BEGIN PERFORM offsync.new_incarnation(); END$$;
SELECT throws_ok($$SELECT pull(current_setting('paging.cursor'), 1)$$, 'PT410', 'the pull cannot be continued', 'a pull is not gone on with on another server');

SELECT * FROM finish();
DROP SCHEMA paging CASCADE;
DROP OWNED BY paging_user;
DROP ROLE paging_user;
