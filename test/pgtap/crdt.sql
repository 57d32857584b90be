-- Row CRDT changesets as their calls have them: keys of all kinds, what is really deleted, whom policies let see what.
\ir begin.psql
CREATE SCHEMA crdt;
SET search_path = crdt, public;
SELECT no_plan();
CREATE ROLE crdt_ann;
CREATE ROLE crdt_bob;
GRANT USAGE ON SCHEMA crdt TO crdt_ann, crdt_bob;

CREATE FUNCTION merge(tbl text, rows json, node text DEFAULT 'd1') RETURNS json LANGUAGE sql VOLATILE
	AS $$SELECT offsync.crdt_merge(node, json_build_object(tbl, rows))$$;
CREATE FUNCTION changes(since text DEFAULT NULL, node text DEFAULT 'd2') RETURNS jsonb LANGUAGE sql VOLATILE
	AS $$SELECT offsync.crdt_changeset(since, node)::jsonb -> 'changeset'$$;
CREATE FUNCTION rows(tbl text, since text DEFAULT NULL, node text DEFAULT 'd2') RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT string_agg((r - '{hlc,modified}'::text[])::text, E'\n' ORDER BY r::text COLLATE "C") FROM jsonb_array_elements(changes(since, node) -> tbl) r$$;

-- ---------------------------------------------------------------------------
-- Keys and values
-- ---------------------------------------------------------------------------
CREATE TABLE pair (b int, a text, "it's" timestamptz, hlc text, gone timestamptz, PRIMARY KEY (a, b));
CREATE TABLE number (id bigint PRIMARY KEY, n numeric, flag boolean);
CREATE TABLE odd (code uuid PRIMARY KEY, id int, v text);
CREATE TABLE other (id text PRIMARY KEY);
SELECT FROM offsync.enable('pair', conflict => 'field_lww', soft_delete => 'gone') \g /dev/null
SELECT FROM offsync.enable('number', conflict => 'field_lww') \g /dev/null
SELECT FROM offsync.enable('odd', conflict => 'field_lww') \g /dev/null
SELECT FROM offsync.enable('other') \g /dev/null
SELECT merge('pair', '[{"a":"x.y","b":-2,"it''s":"2024-01-01T00:00:00.123Z","is_deleted":0,"hlc":"2024-01-02T00:00:00.000Z-0001-d1","node_id":"d1","modified":"-"}]') \g /dev/null
SELECT is(rows('pair'), '{"a": "x.y", "b": -2, "it''s": "2024-01-01T00:00:00.123Z", "node_id": "d1", "is_deleted": 0}', 'a composite key; a column that has the name of one of theirs stays at home');
SELECT merge('number', '[{"id":9007199254740993,"n":1.50,"flag":true,"is_deleted":0,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"}]') \g /dev/null
SELECT is(rows('number'), '{"n": 1.50, "id": 9007199254740993, "flag": true, "node_id": "d1", "is_deleted": 0}', 'numbers are numbers');
SELECT merge('odd', '[{"code":"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11","id":7,"v":null,"is_deleted":0,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"}]') \g /dev/null
SELECT is(rows('odd'), '{"v": null, "id": 7, "code": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "node_id": "d1", "is_deleted": 0}', 'a column id that is no key');
SELECT is(changes(NULL, 'd1'), '{}', 'nobody gets his own rows');
SELECT is((SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(changes()) k), '{number,odd,pair}', 'tables without clocks are left out');
SELECT throws_ok($$SELECT merge('other', '[{"id":"a","hlc":"2024-01-02T00:00:00.000Z-0001-d1"}]')$$, 'PT404', 'collection "other" keeps no clocks');

-- what several wrote is the server's, and goes to all of them
SELECT offsync.push_changes('{"number":{"updated":[{"id":"9007199254740993","n":2,"_clock":"2024-01-03T00:00:00.000Z-0000-d2"}]}}') \g /dev/null
SELECT is(changes(NULL, 'd1') #>> '{number,0,hlc}', '2024-01-03T00:00:00.000Z-0001-server', 'a row of two writes has a clock of the server''s, a count later');
SELECT is(rows('number', NULL, 'd2'), '{"n": 2, "id": 9007199254740993, "flag": true, "node_id": "server", "is_deleted": 0}', 'for the last writer, too');
SELECT merge('number', '[{"id":9007199254740993,"n":3,"flag":false,"is_deleted":0,"hlc":"2024-01-03T00:00:00.001Z-0000-d1"}]') \g /dev/null
SELECT is(rows('number', NULL, 'd2'), '{"n": 3, "id": 9007199254740993, "flag": false, "node_id": "d1", "is_deleted": 0}', 'what a device wrote later still is later');
INSERT INTO number VALUES (5, 1, false);
SELECT is(rows('number', NULL, 'd1'), '{"n": 1, "id": 5, "flag": false, "node_id": "server", "is_deleted": 0}', 'a row of nobody''s is the server''s');

-- deletions
SELECT merge('pair', '[{"a":"x.y","b":-2,"it''s":null,"is_deleted":1,"hlc":"2024-01-02T00:00:00.000Z-0002-d1"}]') \g /dev/null
SELECT is(rows('pair'), '{"a": "x.y", "b": -2, "it''s": null, "node_id": "d1", "is_deleted": 1}', 'a row that is kept says that it is deleted');
SELECT is((SELECT gone AT TIME ZONE 'UTC' FROM pair), '2024-01-02 00:00:00', 'since its clock''s time');
UPDATE pair SET gone = NULL;
SELECT is(changes() #>> '{pair,0,is_deleted}', '0', 'brought back on the server');
SELECT offsync.crdt_changeset(NULL, 'd1') ->> 'cursor' AS c \gset
DELETE FROM number WHERE id = 5;
SELECT is(rows('number', :'c', 'd1'), '{"id": 5, "node_id": "server", "is_deleted": 1}', 'of a row that is gone the key');
SELECT is(changes(:'c', 'd1') - 'number', '{}', 'and by the cursor nothing else');
SELECT merge('number', '[{"id":9007199254740993,"is_deleted":1,"hlc":"2024-01-04T00:00:00.000Z-0000-d1"}]') \g /dev/null
SELECT is((SELECT count(*) FROM number), 0::bigint, 'a deletion where nothing is kept');
SELECT merge('number', '[{"id":9007199254740993,"n":3,"is_deleted":0,"hlc":"2024-01-05T00:00:00.000Z-0000-d1"}]') \g /dev/null
SELECT is((SELECT count(*) FROM number), 0::bigint, 'wins for good');

SELECT is(rows('number', '1970-01-01T00:00:00.000Z-0000-d1', 'd1'), concat_ws(E'\n', '{"id": 5, "node_id": "server", "is_deleted": 1}', '{"id": 9007199254740993, "node_id": "server", "is_deleted": 1}'),
	'a client that has had nothing of others may have rows of its own');
SELECT is(rows('number', NULL, 'd1'), NULL, 'one that has nothing at all needn''t know');

-- is_deleted
SELECT merge('pair', '[{"a":"f","b":1,"is_deleted":0.0,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"},{"a":"f","b":2,"is_deleted":false,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"},
	{"a":"f","b":3,"is_deleted":null,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"},{"a":"f","b":4,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"},
	{"a":"t","b":1,"is_deleted":1.0,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"},{"a":"t","b":2,"is_deleted":true,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"}]') \g /dev/null
SELECT is((SELECT string_agg(concat(a, b, ' ', gone IS NULL), ', ' ORDER BY a, b) FROM pair WHERE a IN ('f', 't')), 'f1 t, f2 t, f3 t, f4 t, t1 f, t2 f', 'is_deleted is a number or a boolean');
SELECT throws_ok($$SELECT merge('pair', '[{"a":"t","b":3,"is_deleted":"1","hlc":"2024-01-02T00:00:00.000Z-0001-d1"}]')$$, 'PT400', '"is_deleted" of a row of collection "pair" is neither 0 nor 1');
SELECT throws_ok($$SELECT merge('pair', '[{"a":"t","b":3,"is_deleted":[],"hlc":"2024-01-02T00:00:00.000Z-0001-d1"}]')$$, 'PT400', '"is_deleted" of a row of collection "pair" is neither 0 nor 1');

-- the row's clock goes up with each of its fields' writes, whatever their clocks
CREATE FUNCTION row_clock() RETURNS text LANGUAGE sql VOLATILE AS $$SELECT changes(NULL, 'none') #>> '{number,0,hlc}'$$;
SELECT merge('number', '[{"id":6,"n":1,"flag":false,"is_deleted":0,"hlc":"2024-01-03T00:00:00.000Z-0000-d1"}]') \g /dev/null
SELECT offsync.push_changes('{"number":{"updated":[{"id":"6","n":2,"_clock":"2024-01-03T00:00:00.005Z-0000-d2"}]}}') \g /dev/null
SELECT is(row_clock(), '2024-01-03T00:00:00.005Z-0001-server', 'of two writes');
SELECT offsync.push_changes('{"number":{"updated":[{"id":"6","flag":true,"_clock":"2024-01-03T00:00:00.003Z-0000-d2"}]}}') \g /dev/null
SELECT is(row_clock(), '2024-01-03T00:00:00.005Z-0002-server', 'of a third one that is older than the second');
SELECT merge('number', '[{"id":6,"n":3,"flag":false,"is_deleted":0,"hlc":"2024-01-03T00:00:00.005Z-0002-d1"}]') \g /dev/null
SELECT is(row_clock(), '2024-01-03T00:00:00.005Z-0003-server', 'of one that is later than all fields, but not than the row');
SELECT merge('number', '[{"id":6,"n":3,"flag":false,"is_deleted":0,"hlc":"2024-01-03T00:00:00.005Z-0003-z"}]') \g /dev/null
SELECT is(row_clock(), '2024-01-03T00:00:00.005Z-0003-z', 'of one that is later than the row');
DELETE FROM number WHERE id = 6;

-- what the server makes of a row its own writer hears of, too
CREATE TABLE made (id text PRIMARY KEY, n numeric(5, 1), loud text NOT NULL GENERATED ALWAYS AS (upper(id)) STORED, size int NOT NULL DEFAULT 7);
CREATE TABLE filled (id text PRIMARY KEY, a numeric(5, 1), b int NOT NULL DEFAULT 7, c text NOT NULL DEFAULT 'c', d boolean NOT NULL DEFAULT true, e timestamptz NOT NULL DEFAULT '2024-01-01', f text);
SELECT FROM offsync.enable('made', conflict => 'field_lww') \g /dev/null
SELECT FROM offsync.enable('filled', conflict => 'field_lww') \g /dev/null
SELECT merge('made', '[{"id":"a","n":1.5,"loud":null,"size":1,"is_deleted":0,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"}]') \g /dev/null
SELECT is(changes(NULL, 'd1') #>> '{made,0,loud}', 'A', 'a column that is computed');
SELECT is(changes(NULL, 'd1') #>> '{made,0,hlc}', '2024-01-02T00:00:00.000Z-0002-server', 'by a clock that is a count later');
SELECT merge('made', '[{"id":"a","n":2.5,"loud":"B","size":1,"is_deleted":0,"hlc":"2024-01-02T00:00:00.000Z-FFFF-d1"}]') \g /dev/null
SELECT is(changes(NULL, 'd1') #>> '{made,0,hlc}', '2024-01-02T00:00:00.001Z-0000-server', 'later as text, too');
SELECT merge('filled', '[{"id":"kept","a":1.2,"b":1,"c":"x","d":false,"e":"2024-01-01T00:00:00Z","is_deleted":0,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"},
	{"id":"rounded","a":1.26,"b":1,"c":"x","d":false,"e":"2024-01-01T00:00:00Z","is_deleted":0,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"},
	{"id":"filled","a":1.2,"b":null,"c":"x","d":false,"e":"2024-01-01T00:00:00Z","is_deleted":0,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"}]') \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', r ->> 'id', r ->> 'a', r ->> 'b'), ', ' ORDER BY r ->> 'id') FROM jsonb_array_elements(changes(NULL, 'd1') -> 'filled') r), 'filled 1.2 7, rounded 1.3 1', 'a default in place of NULL, and what was rounded');

-- a client can store a row that is gone where its columns are NOT NULL: else it fails at the whole frame
SELECT offsync.crdt_changeset(NULL, 'd2') ->> 'cursor' AS c \gset
DELETE FROM filled WHERE id = 'kept';
SELECT is(rows('filled', :'c'), '{"b": 0, "c": "", "d": false, "e": "", "id": "kept", "node_id": "server", "is_deleted": 1}', 'of a row that is gone the columns that are NOT NULL, without what was in them');

-- ---------------------------------------------------------------------------
-- Handshakes, and since when
-- ---------------------------------------------------------------------------
SELECT is(offsync.crdt_hello('d9')::jsonb, '{"data": null, "node_id": "server", "last_modified": "1970-01-01T00:00:00.000Z-0000-server"}', 'of an unknown client nothing is there');
SELECT merge('odd', '[{"code":"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12","id":7,"is_deleted":0,"hlc":"2024-01-06T00:00:00.000123Z-00FF-d1"}]') \g /dev/null
SELECT is(offsync.crdt_hello('d1') ->> 'last_modified', '2024-01-06T00:00:00.000123Z-00FF-d1', 'the greatest of the client''s clocks');
SELECT throws_ok($$SELECT offsync.crdt_hello('server')$$, 'PT409', 'duplicate node_id "server"');
SELECT throws_ok($$SELECT offsync.crdt_hello('')$$, 'PT400', 'the client''s node_id is missing');
SELECT throws_ok($$SELECT offsync.crdt_changeset('yesterday', 'd1')$$, 'PT400');
SELECT throws_ok(format('SELECT offsync.crdt_changeset(%L, %L)', offsync.pull_changes(NULL, collections => '{pair}', max_rows => 1, dialect => 'json') ->> 'cursor', 'd1'), 'PT400', 'malformed last_pulled_at');
SELECT throws_ok($$SELECT offsync.crdt_merge('d1', NULL)$$, 'PT400', 'changeset must not be null');
SELECT throws_ok($$SELECT offsync.crdt_merge('d1', '[]')$$, 'PT400', 'a changeset must be an object');
SELECT throws_ok($$SELECT offsync.crdt_merge('d1', '{"odd":{}}')$$, 'PT400', 'a table''s rows must be an array');
SELECT throws_ok($$SELECT offsync.crdt_merge('d1', '{"odd":[1]}')$$, 'PT400', 'a row must be an object');
SELECT throws_ok($$SELECT merge('odd', '[{"code":null,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"}]')$$, 'PT400', 'key column "code" is missing in a row of collection "odd"');
SELECT throws_ok($$SELECT merge('odd', '[{"hlc":7}]')$$, 'PT400', '"hlc" of a row of collection "odd" is no clock');
SELECT throws_ok($$SELECT merge('odd', '[{"code":"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12","server_clocks":"{}","hlc":"2024-01-02T00:00:00.000Z-0001-d1"}]')$$, 'PT400',
	'unknown column "server_clocks" in a row of collection "odd"');

-- a client's clock may be ahead, and a cursor of its time must not: as if all that was an hour ago
SELECT merge('odd', '[{"code":"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A13","id":8,"is_deleted":0,"hlc":"2024-01-07T00:00:00.000Z-0000-d1"}]') \g /dev/null
SELECT merge('pair', '[]') \g /dev/null
UPDATE offsync_internal.timeline SET at = at - interval '1 hour';
CREATE FUNCTION ahead(seconds int) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT to_char((server_updated_at - interval '1 hour' + seconds * interval '1 second') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z-0000-d2"') FROM odd WHERE id = 8$$;
SELECT ok(rows('odd', ahead(630)) ~ '"id": 8', 'what was committed ten minutes before the client''s time comes: its frame may have been under way');
SELECT is(rows('odd', ahead(1200)), NULL, 'what was long before doesn''t');
UPDATE offsync_internal.timeline SET at = at + interval '1 hour' WHERE at < now() - interval '30 min';

-- ---------------------------------------------------------------------------
-- Row-level security is the only rule
-- ---------------------------------------------------------------------------
CREATE TABLE mine (id text PRIMARY KEY, owner name DEFAULT current_user, v text, gone timestamptz);
ALTER TABLE mine ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON mine USING (owner = current_user);
GRANT ALL ON mine TO crdt_ann, crdt_bob;
SELECT FROM offsync.enable('mine', conflict => 'field_lww', soft_delete => 'gone', columns => '{id,v,gone}') \g /dev/null
SET ROLE crdt_ann;
SELECT merge('mine', '[{"id":"a","v":"ann''s","is_deleted":0,"hlc":"2024-01-02T00:00:00.000Z-0001-d1"}]') \g /dev/null
SELECT is(rows('mine'), '{"v": "ann''s", "id": "a", "node_id": "d1", "is_deleted": 0}', 'her own row');
SET ROLE crdt_bob;
SELECT is(changes(), '{}', 'nobody else sees it');
SELECT is(offsync.crdt_hello('d1') ->> 'last_modified', '1970-01-01T00:00:00.000Z-0000-server', 'nor hears of it by the handshake');
SELECT throws_ok($$SELECT merge('mine', '[{"id":"a","v":"bob''s","is_deleted":0,"hlc":"2024-01-03T00:00:00.000Z-0001-d3"}]')$$, '42501', NULL, 'nor writes it');
RESET ROLE;
SELECT is((SELECT owner || ' ' || v FROM mine), 'crdt_ann ann''s', 'it is as it was');

-- ---------------------------------------------------------------------------
-- expose
-- ---------------------------------------------------------------------------
CREATE SCHEMA crdt_api;
SELECT is((SELECT string_agg(action || ' ' || detail, E'\n') FROM offsync.expose('crdt_api', 'crdt', prefix => 'x_')
		WHERE action = 'function' OR detail ~ 'crdt\.(other|odd|pair)'),
	concat_ws(E'\n', 'function crdt_api.x_crdt_hello(node_id text)', 'function crdt_api.x_crdt_changeset(since text, node_id text)',
		'function crdt_api.x_crdt_merge(node_id text, changeset json)',
		'warning crdt.odd: it has no soft_delete column: of deleted rows these clients get the key, and nothing else but 0, false or an empty text where a column is NOT NULL',
		'warning crdt.other: its conflict strategy is "reject", and these clients don''t get it: enable it with conflict => ''field_lww'''), 'the calls, and what doesn''t suit');
SELECT is(crdt_api.x_crdt_hello('d9') ->> 'node_id', 'server', 'they work');

DROP SCHEMA crdt, crdt_api CASCADE;
DROP ROLE crdt_ann;
DROP ROLE crdt_bob;
SELECT * FROM finish();
