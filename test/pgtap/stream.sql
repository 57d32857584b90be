-- offsync.pull_stream: byte for byte what pull_changes answers in the same snapshot, made while it is read.
\ir begin.psql
CREATE SCHEMA stream;
SET search_path = stream, public;
SELECT no_plan();

CREATE TABLE list (id int PRIMARY KEY, owner name NOT NULL, gone_at timestamptz);
CREATE TABLE item (id uuid PRIMARY KEY, list int NOT NULL REFERENCES list, body text, amount numeric, extra text);
CREATE TABLE nothing (id int PRIMARY KEY);
ALTER TABLE list ENABLE ROW LEVEL SECURITY;
ALTER TABLE item ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON list USING (owner = current_user);
CREATE POLICY parent ON item USING (list IN (SELECT id FROM list));
CREATE ROLE stream_ann;
CREATE ROLE stream_bob;
GRANT USAGE ON SCHEMA stream TO stream_ann, stream_bob;
GRANT SELECT, INSERT, UPDATE, DELETE ON list, item TO stream_ann;
GRANT SELECT ON nothing TO stream_ann;
INSERT INTO list SELECT i, CASE WHEN i % 3 > 0 THEN 'stream_ann' ELSE 'stream_bob' END FROM generate_series(1, 30) i;
INSERT INTO item SELECT md5(i::text)::uuid, 1 + i % 30, repeat('Zoë "' || i || E'" 😀\n', 10), i / 7.0, 'x' FROM generate_series(1, 6000) i;
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('list', soft_delete => 'gone_at') a, offsync.enable('item', filter_columns => '{list}') b,
	offsync.enable('nothing') c;

-- Both, as ann, in one snapshot; the arguments are those of a call
CREATE FUNCTION twice(args text, OUT same bool, OUT pieces bigint, OUT size int, OUT most int, OUT sound bool, OUT kind text)
	LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	a text;
	b text;
BEGIN
	EXECUTE format('SELECT string_agg(s, '''' ORDER BY n), count(*), max(octet_length(s)), string_agg(s, E''\n'' ORDER BY n)::json IS NOT NULL,
		(SELECT offsync.pull_changes(%1$s)::text)
		FROM (SELECT s, row_number() OVER () AS n FROM (SELECT offsync.pull_stream(%1$s) AS s OFFSET 0) x) y', args) INTO a, pieces, most, sound, b;
	same := a = b;
	size := length(b);
	kind := b::json -> 'experimentalStrategy' -> 'override' ->> 'item';
END $$;
CREATE FUNCTION agrees(args text, what text, several bool DEFAULT true, mode text DEFAULT NULL) RETURNS SETOF text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	r record;
BEGIN
	SET LOCAL ROLE stream_ann;
	SELECT * INTO r FROM twice(args);
	RESET ROLE;
	RETURN NEXT ok(r.same AND r.sound AND (r.pieces > 3) = several AND r.most < 300000 AND r.kind IS NOT DISTINCT FROM mode,
		what || format(': %s pieces of up to %s, %s, %s', r.pieces, r.most, r.kind, r.same));
END $$;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA stream TO stream_ann;

SELECT agrees('', 'a first sync');
SELECT agrees($$dialect => 'json', created_as_updated => true$$, 'with arguments');
SELECT agrees($$collections => '{}'$$, 'no collection', false);
SELECT agrees($$collections => '{nothing}'$$, 'nothing', false);
SELECT agrees($$collections => '{item}', filters => '{"item": {"list": [1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19, 20]}}'$$, 'a filter');
SELECT agrees($$max_rows => 3000$$, 'a page');

SET ROLE stream_ann;
SELECT offsync.pull_changes() ->> 'cursor' AS c, offsync.pull_changes() ->> 'timestamp' AS n, offsync.pull_changes(max_rows => 1000) ->> 'cursor' AS page \gset
SELECT offsync.push_changes('{"list": {"created": [{"id": 100, "owner": "stream_ann"}]}}', :'c', client_id => 'phone') ->> 'cursor' AS c2 \gset
RESET ROLE;
SELECT agrees(format('%L', :'page'), 'the rest of a pull in pages');
SELECT agrees(format('%L', :'c'), 'little has changed', false);
UPDATE item SET amount = 0;
DELETE FROM item WHERE list = 2;
INSERT INTO item SELECT md5('new' || i)::uuid, 1, repeat('new', 50), 1 FROM generate_series(1, 3000) i;
UPDATE list SET gone_at = now() WHERE id = 1;
SELECT agrees(format('%L', :'c'), 'much has changed');
SELECT agrees(format('%L, client_id => ''phone''', :'c'), 'some was created');
SELECT agrees(format('%L, client_id => ''phone''', :'c2'), '... and some pushed');
SELECT agrees(format('%L', :'n'), 'since a number', true, 'replacement');
SELECT agrees($$'2020-01-01'$$, 'since a time', true, 'replacement');
SELECT agrees(format($$%L, client_id => 'phone', migration => '{"from": 1, "tables": ["item"], "columns": []}'$$, :'c'), 'a table that is new to the app', true, 'replacement');
SELECT agrees(format($$%L, migration => '{"from": 1, "tables": [], "columns": [{"table": "item", "columns": ["extra"]}]}'$$, :'c'), 'a column that is');
UPDATE list SET owner = 'stream_ann' WHERE id = 3;
SELECT agrees(format('%L, client_id => ''phone''', :'c'), 'rows came into view');
SELECT lives_ok($$SELECT offsync.reset('item')$$, 'reset');
SELECT agrees(format('%L', :'c'), 'a replacement', true, 'replacement');
SET work_mem = '64kB';
UPDATE item SET amount = 1;
SELECT agrees(format('%L', :'c2'), 'a replacement, with little memory', true, 'replacement');
SET ROLE stream_ann;
SELECT offsync.pull_changes() ->> 'cursor' AS c \gset
RESET ROLE;
UPDATE item SET amount = 2;
SELECT agrees(format('%L', :'c'), 'lists on disk');
RESET work_mem;

-- While it is read
CREATE FUNCTION statements() RETURNS bigint LANGUAGE sql VOLATILE AS
	$$SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'PortalContext' AND ident LIKE 'offsync %'$$;
CREATE FUNCTION drain(c refcursor) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	p text;
	all_of_it text := '';
BEGIN
	LOOP
		FETCH c INTO p;
		EXIT WHEN NOT FOUND;
		all_of_it := all_of_it || p;
	END LOOP;
	RETURN all_of_it;
END $$;
BEGIN;
CREATE TEMP TABLE before AS SELECT offsync.pull_changes() -> 'changes' AS changes;
DECLARE c NO SCROLL CURSOR FOR SELECT offsync.pull_stream();
FETCH 2 FROM c \g /dev/null
CLOSE c;
SELECT is(statements(), 0::bigint, 'a cursor that is closed closes it');
DECLARE c NO SCROLL CURSOR FOR SELECT offsync.pull_stream();
SELECT is(statements(), 0::bigint, 'nothing is begun before it is read');
FETCH 1 FROM c \gset
SELECT is(statements(), 1::bigint, 'then it is');
SELECT is(count(*), 1::bigint, '... and nobody else can find it') FROM pg_cursors;
DELETE FROM item WHERE list > 2;
UPDATE item SET amount = -1;
SELECT is((:'pull_stream' || drain('c'))::json -> 'changes' -> 'item' ->> 'created', changes -> 'item' ->> 'created',
	'what the transaction writes meanwhile is not in the answer') FROM before;
SELECT is(statements(), 0::bigint, 'it is closed at the end');
SELECT is(count(*), 2::bigint, 'whoever wants two pieces gets two') FROM (SELECT offsync.pull_stream() LIMIT 2) x;
SELECT is(statements(), 0::bigint, '... and it is closed');
ROLLBACK;

BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT offsync.pull_stream();
SAVEPOINT s;
FETCH 3 FROM c \g /dev/null
ROLLBACK TO s;
SELECT throws_ok($$SELECT drain('c')$$, '24000', 'the statement that reads collection "item" has been closed', 'what began in a subtransaction ends with it');
ROLLBACK;
BEGIN;
SET LOCAL ROLE stream_ann;
DECLARE c NO SCROLL CURSOR FOR SELECT offsync.pull_stream();
FETCH 1 FROM c \g /dev/null
RESET ROLE;
SELECT throws_ok('FETCH 1 FROM c', '55000', 'the role has changed since the pull began', 'half of it as another role');
ROLLBACK;
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT offsync.pull_stream();
COMMIT;
SELECT is(length(drain('c')), length(offsync.pull_changes()::text), 'a cursor that is held has it all');
CLOSE c;
BEGIN READ ONLY;
SELECT ok(count(*) > 3, 'in a transaction that only reads') FROM (SELECT offsync.pull_stream() OFFSET 0) x;
COMMIT;
SELECT ok(count(*) > 3, 'called in FROM') FROM offsync.pull_stream();
SELECT ok(count(*) FILTER (WHERE a = b) > 3 AND count(*) FILTER (WHERE a IS DISTINCT FROM b) = 0, 'two at once')
	FROM (SELECT offsync.pull_stream(collections => '{item}') AS a, offsync.pull_stream(collections => '{item}') AS b) x;

-- An error halfway
CREATE TABLE late (id int PRIMARY KEY, body text);
ALTER TABLE late ENABLE ROW LEVEL SECURITY;
CREATE POLICY late ON late USING (1 / (id - 5000) IS NOT NULL);
GRANT SELECT ON late TO stream_ann;
INSERT INTO late SELECT i, repeat('x', 100) FROM generate_series(1, 6000) i;
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('late');
SET ROLE stream_ann;
SELECT throws_ok($$SELECT count(*) FROM (SELECT offsync.pull_stream(collections => '{late}') OFFSET 0) x$$, '22012', 'division by zero', 'an error on the way is the caller''s');
SELECT ok(count(*) > 3, '... and leaves nothing behind') FROM (SELECT offsync.pull_stream(collections => '{item}') OFFSET 0) x;

-- Rights are those of pull_changes
SELECT throws_ok($$SELECT offsync.pull_stream('x')$$, 'PT400', NULL, 'what isn''t a cursor');
SELECT throws_ok($$SELECT offsync.pull_stream(collections => '{unknown}')$$, 'PT404', NULL, 'an unknown collection');
RESET ROLE;
SET ROLE stream_bob;
SELECT throws_ok($$SELECT offsync.pull_stream(collections => '{item}')$$, '42501', NULL, 'a table that the caller may not read');
SELECT ok(string_agg(s, '') LIKE '{"changes":{},%', 'without names it is left out') FROM (SELECT offsync.pull_stream() AS s OFFSET 0) x;
RESET ROLE;

SELECT finish();
DROP SCHEMA stream CASCADE;
DROP ROLE stream_ann;
DROP ROLE stream_bob;
