-- Changes of single fields: what messages look like, which are told, which are taken, and by whom.
\ir begin.psql
DROP ROLE IF EXISTS msg_ann, msg_bob;
CREATE ROLE msg_ann;
CREATE ROLE msg_bob;
CREATE SCHEMA msg;
GRANT USAGE, CREATE ON SCHEMA msg TO PUBLIC;
SET search_path = msg, public;
SELECT no_plan();

-- What a pull tells, a line each
CREATE FUNCTION told(since bigint DEFAULT NULL, client text DEFAULT NULL) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(string_agg(format('%s %s %s=%s', m ->> 'row', m ->> 'column', m ->> 'data_type', m ->> 'value'), '; '
		ORDER BY m ->> 'table_name', m ->> 'row', m ->> 'column' COLLATE "C"), '')
	FROM json_array_elements(offsync.pull_messages(since, client)) m$$;
CREATE FUNCTION place() RETURNS bigint LANGUAGE sql VOLATILE AS
	$$SELECT max((m ->> 'server_timestamp')::bigint) FROM json_array_elements(offsync.pull_messages()) m$$;
CREATE FUNCTION msg(id text, r text, c text, kind text, v text, ms bigint, node text DEFAULT 'phone', tab text DEFAULT 'note') RETURNS json LANGUAGE sql AS $$
	SELECT json_build_object('id', id, 'table_name', tab, 'row', r, 'column', c, 'data_type', kind, 'value', v,
		'local_timestamp', lpad(ms::text, 15, '0') || ':00001:' || node, 'client_id', node)$$;
CREATE FUNCTION push(VARIADIC messages json[]) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT concat_ws(' | ', nullif((SELECT string_agg(a, ',') FROM json_array_elements_text(p -> 'accepted') a), ''),
		(SELECT string_agg(concat_ws(' ', r ->> 'id', r ->> 'code', r ->> 'reason'), ' | ') FROM json_array_elements(p -> 'rejected') r))
	FROM offsync.push_messages(array_to_json(messages)) p$$;
CREATE FUNCTION complaint(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE m text; d text;
BEGIN EXECUTE sql; RETURN 'none';
EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL; RETURN concat_ws('|', SQLSTATE, m, d); END$$;

-- ---------------------------------------------------------------------------
-- Shape and values
-- ---------------------------------------------------------------------------
CREATE TYPE pair AS (x int, y text);
CREATE DOMAIN flag AS boolean;
CREATE TABLE kinds (id int PRIMARY KEY, b boolean, f flag, i smallint, j bigint, r real, d double precision, n numeric, t text, v varchar(9), u uuid, day date,
	at timestamptz, wall timestamp, time time, doc json, bin jsonb, list int[], p pair, bytes bytea, "Ümlaut "" x" text, twice text GENERATED ALWAYS AS (t || t) STORED);
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('kinds', conflict => 'field_lww');
INSERT INTO kinds VALUES (1, true, false, -1, 9007199254740993, 0.1, 1e21, 12.50, E'a "q" \\ \n ü', '', '00000000-0000-0000-0000-00000000000a', '2024-02-29',
	'2024-02-29 12:00:00.123456+00', '2024-02-29 12:00:00', '12:30', '{"a" : 1}', '{"b": [1, null]}', '{1,NULL}', ROW(1, 'z'), '\x00ff', 'q');
SELECT set_eq($$SELECT m ->> 'column' AS a, m ->> 'data_type' AS b, m ->> 'value' AS c FROM json_array_elements(offsync.pull_messages()) m$$, $$VALUES
	('b', 'bool', '1'), ('f', 'bool', '0'), ('i', 'int', '-1'), ('j', 'int', '9007199254740993'), ('r', 'double', '0.1'), ('d', 'double', '1e+21'), ('n', 'double', '12.50'),
	('t', 'string', E'a "q" \\ \n ü'), ('v', 'string', ''), ('u', 'string', '00000000-0000-0000-0000-00000000000a'), ('day', 'datetime', '2024-02-29'),
	('at', 'datetime', '2024-02-29T12:00:00.123456Z'), ('wall', 'datetime', '2024-02-29T12:00:00'), ('time', 'string', '12:30:00'), ('doc', 'json', '{"a" : 1}'),
	('bin', 'json', '{"b": [1, null]}'), ('list', 'json', '[1,null]'), ('p', 'json', '{"x":1,"y":"z"}'), ('bytes', 'string', 'AP8='), ('Ümlaut " x', 'string', 'q')$$,
	'values of all kinds: neither the key, nor what only the server writes');
SELECT is((SELECT string_agg(k, ',') FROM json_object_keys(offsync.pull_messages() -> 0) k),
	'id,table_name,row,column,data_type,value,server_timestamp,local_timestamp,user_id,client_id', 'members, as that client has them');
SELECT is((SELECT string_agg(DISTINCT json_typeof(v), ',') FROM json_array_elements(offsync.pull_messages()) m, json_each(m) e(k, v) WHERE k <> 'server_timestamp'), 'string', 'texts, but for one');
SELECT is((SELECT count(DISTINCT m ->> 'id') FROM json_array_elements(offsync.pull_messages()) m), 20::bigint, 'ids of their own');
SELECT is((SELECT json_agg(m ->> 'id')::text FROM json_array_elements(offsync.pull_messages()) m), (SELECT json_agg(m ->> 'id')::text FROM json_array_elements(offsync.pull_messages(1)) m),
	'the same for the same write');
UPDATE kinds SET (b, f, i, j, r, d, n, t, v, u, day, at, wall, time, doc, bin, list, p, bytes) =
	(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT is((SELECT string_agg(DISTINCT m ->> 'data_type', ',' ORDER BY m ->> 'data_type') || count(*) FROM json_array_elements(offsync.pull_messages()) m WHERE m ->> 'value' = ''), 'null19', 'nulls of all kinds');

-- What was told goes back as it was
INSERT INTO kinds SELECT 2, true, false, -1, 9007199254740993, 0.1, 1e21, 12.50, E'a "q" \\ \n ü', '', '00000000-0000-0000-0000-00000000000a', '2024-02-29',
	'2024-02-29 12:00:00.123456+00', '2024-02-29 12:00:00', '12:30', '{"a" : 1}', '{"b": [1, null]}', '{1,NULL}', ROW(1, 'z')::pair, '\x00ff', 'q';
SELECT is((SELECT json_array_length(offsync.push_messages((SELECT json_agg(jsonb_set(jsonb_set(m::jsonb, '{row}', '"3"'), '{local_timestamp}', '"000000000000009:00000:tab"'))
	FROM json_array_elements(offsync.pull_messages()) m WHERE m ->> 'row' = '2')) -> 'accepted')), 20, 'what was told of a row, about another one');
SELECT is((SELECT (to_jsonb(k) - '{id,server_created_at,server_updated_at,server_version,server_created_version,server_column_versions,server_clocks}'::text[])::text FROM kinds k WHERE id = 3),
	(SELECT (to_jsonb(k) - '{id,server_created_at,server_updated_at,server_version,server_created_version,server_column_versions,server_clocks}'::text[])::text FROM kinds k WHERE id = 2),
	'makes the same row');
SELECT offsync.disable('kinds') \g /dev/null
DROP TABLE kinds;

-- ---------------------------------------------------------------------------
-- What is told
-- ---------------------------------------------------------------------------
CREATE TABLE note (id text PRIMARY KEY, owner name NOT NULL DEFAULT current_user, title text NOT NULL DEFAULT '', n int, doc jsonb, secret text, deleted_at timestamptz);
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON note USING (owner = current_user);
GRANT SELECT (id, title, n, doc, deleted_at), INSERT, UPDATE, DELETE ON note TO msg_ann, msg_bob;
CREATE TABLE plain (id text PRIMARY KEY, title text);
GRANT ALL ON plain TO msg_ann;
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('note', conflict => 'field_lww', soft_delete => 'deleted_at');
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('plain');
GRANT SELECT (server_version) ON note TO msg_ann, msg_bob;
INSERT INTO plain VALUES ('p', 'not told');
SELECT is(told(), '', 'nothing of a table without clocks, and nothing where there is nothing');
INSERT INTO note (id, owner, title, secret) VALUES ('a', 'msg_ann', 'one', 'x'), ('b', 'msg_bob', 'two', 'x');
SET ROLE msg_ann;
SELECT is(told(), 'a deleted_at null=; a doc null=; a n null=; a title string=one', 'what the caller may see: its rows, its columns');
SELECT is((SELECT string_agg(DISTINCT m ->> 'client_id', ',') FROM json_array_elements(offsync.pull_messages()) m), 'server', 'written by the server');
SELECT place() AS last \gset
SELECT is(told(:last), '', 'and then nothing');
SELECT is(told(-1), told(), 'a negative number is none');
RESET ROLE;
UPDATE note SET n = 1;
SET ROLE msg_ann;
SELECT is(told(:last), 'a n int=1', 'the field that changed');
SELECT isnt(place(), :last::bigint, 'at a later place');
SELECT is((SELECT m ->> 'client_id' FROM json_array_elements(offsync.pull_messages(:last)) m), 'server', 'written by the server');
SELECT place() AS last \gset
SELECT is(push(msg('m1', 'a', 'title', 'string', 'by phone', 100), msg('m2', 'a', 'n', 'int', '2', 100)), 'm1,m2', 'an older write, and done with');
SELECT is(told(:last), '', 'nothing is written');
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 30000 AS now \gset
SELECT is(push(msg('m3', 'a', 'title', 'string', 'by phone', :now), msg('m4', 'a', 'n', 'int', '1', :now)), 'm3,m4', 'a later one');
SELECT is(told(:last), 'a n int=1; a title string=by phone', 'also where the value is the same');
SELECT is(told(:last, 'phone'), '', 'but not to who wrote it');
SELECT is(told(NULL, 'phone'), told(), 'unless it has nothing: it may have lost what it had');
SELECT is((SELECT m ->> 'local_timestamp' FROM json_array_elements(offsync.pull_messages(:last)) m LIMIT 1), lpad(:'now', 15, '0') || ':00001:phone', 'by its clock');
SELECT server_version AS before FROM note \gset
SELECT is(push(msg('m3', 'a', 'title', 'string', 'by phone', :now), msg('m5', 'a', 'n', 'int', '7', :now)), 'm3,m5', 'sent again; a tie keeps what is there');
SELECT is((SELECT server_version FROM note), :before::bigint, 'and writes nothing');
SELECT is((SELECT n FROM note), 1);

-- All of it, where nothing can be known
SELECT place() AS last \gset
RESET ROLE;
SELECT offsync.reset('note') \g /dev/null
SET ROLE msg_ann;
SELECT is(told(:last), told(), 'a collection that is replaced is told whole');
SELECT is(told(place()), '', 'once');
SELECT is(told(1), told(), 'a number of another history');
SELECT is(told(9007199254740990), told(), 'a number of the future');
SELECT throws_ok('SELECT offsync.pull_messages(9007199254740993)', 'PT400');

-- Rows that are gone
SELECT place() AS last \gset
UPDATE note SET deleted_at = '2024-01-01Z' WHERE id = 'a';
SELECT is(told(:last), 'a deleted_at datetime=2024-01-01T00:00:00Z', 'a soft deletion is a field');
SELECT is(push(msg('m6', 'a', 'title', 'string', 'still', :now + 1)), 'm6', 'and others can be written');
SELECT place() AS last \gset
DELETE FROM note WHERE id = 'a';
SELECT matches(told(:last), '^a deleted_at datetime=20[^;]*$', 'a row that is gone for good is told of as deleted');
SELECT is(told(), '', 'but not to who never had it');
SELECT is(push(msg('m7', 'a', 'title', 'string', 'too late', :now + 2)), 'm7', 'writes of it are done with');
SELECT is((SELECT count(*) FROM note), 0::bigint, 'and it stays deleted');
SET ROLE msg_bob;
SELECT is(told(:last), '', 'of others'' nothing is told');
RESET ROLE;

-- ---------------------------------------------------------------------------
-- What is taken
-- ---------------------------------------------------------------------------
SET ROLE msg_ann;
SELECT is(push(msg('n1', 'new', 'title', 'string', 'made', 5), msg('n2', 'new', 'n', 'int', '3', 6)), 'n1,n2', 'a row that wasn''t there');
SELECT is(push(msg('n3', 'new', 'n', 'int', 'x', 10), msg('n4', 'new', 'title', 'string', 'fine', 10), msg('n5', 'new', 'doc', 'json', '{', 10)),
	'n4 | n3 22P02 invalid input syntax for type integer: "x" | n5 22P02 the value is not JSON', 'a malformed value is refused alone');
SELECT is(push(msg('o1', 'new', 'doc', 'string', 'text', 11)), 'o1');
SELECT is((SELECT doc::text FROM note), '"text"', 'JSON by the kind of its value');
SELECT is(push(msg('o2', 'new', 'doc', 'bool', '1', 12)), 'o2');
SELECT is((SELECT doc::text FROM note), 'true');
SELECT is(push(msg('o3', 'new', 'doc', 'int', '1', 13)), 'o3');
SELECT is((SELECT doc::text FROM note), '1');
SELECT is(push(msg('o4', 'new', 'doc', 'null', '', 14)), 'o4');
SELECT is((SELECT doc::text FROM note), NULL);
SELECT is(push(msg('o5', 'new', 'n', 'double', '5.0', 15)), 'o5', 'a double that is an integer');
SELECT is(push(msg('o6', 'new', 'n', 'int', '1', 20), msg('o7', 'new', 'n', 'int', '2', 22), msg('o8', 'new', 'n', 'int', '3', 21)), 'o6,o7,o8', 'several of one field');
SELECT is((SELECT n FROM note), 2, 'the latest wins');
SELECT is(push(msg('p1', 'new', 'id', 'string', 'new', 30), msg('p2', 'made', 'id', 'string', 'made', 30), msg('p3', 'new', 'id', 'string', 'other', 30)),
	'p1,p2 | p3 PT400 column "id" is the key, and differs from the row', 'the key says that there is a row');
SELECT is((SELECT string_agg(id, ',' ORDER BY id) FROM note), 'made,new');
SELECT is(push(msg('q1', 'new', 'nosuch', 'int', '1', 40), msg('q2', 'new', 'server_version', 'int', '1', 40), msg('q3', 'new', 'secret', 'string', 'x', 40), msg('q4', 'p', 'title', 'string', 'x', 40, tab => 'nosuch')),
	'q1 42703 collection "note" has no column "nosuch" that messages can write | q2 42703 collection "note" has no column "server_version" that messages can write'
	|| ' | q3 42703 collection "note" has no column "secret" that messages can write | q4 PT404 unknown collection "nosuch"', 'what there is not, and what the caller can''t read');
SELECT is(push(msg('q5', 'p', 'title', 'string', 'x', 40, tab => 'plain')), 'q5 0A000 collection "plain" takes no messages: it is to be enabled with conflict => ''field_lww''', 'a table without clocks');
SELECT is(push(msg('q6', 'new', 'n', 'int', '1', :now + 3600000)), 'q6 PT400 local_timestamp is ahead of the server''s clock by more than 60000 ms', 'a clock that is ahead');
SELECT is(push(msg('q7', 'new', 'n', 'int', '1', 40, node => '')), 'q7 PT400 malformed local_timestamp', 'a clock of nobody''s');
SELECT is(push(msg('q9', repeat('x', 8193), 'n', 'int', '1', 40), msg('q10', 'new', 'n', 'int', '1', 40)), 'q10 | q9 PT400 row has more than 8192 bytes', 'a row that is too long');
SELECT is(push('{"id": "q8"}', '{"row": "x"}'), 'q8 PT400 a message needs id, table_name, row, column and local_timestamp | PT400 a message needs id, table_name, row, column and local_timestamp');
SELECT is(push(VARIADIC '{}'::json[]), '', 'no messages');
SELECT throws_ok($$SELECT offsync.push_messages($$ || quote_nullable(x) || ')', 'PT400') FROM unnest(ARRAY['1', '"x"', '[1]', NULL]) x;
-- What no text can hold, or that is no text, is refused alone
CREATE FUNCTION push_raw(VARIADIC parts text[]) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT (p -> 'accepted')::text || (SELECT coalesce(string_agg(concat_ws(' ', '', coalesce(r ->> 'id', '-'), r ->> 'code', r ->> 'reason'), ','), '') FROM json_array_elements(p -> 'rejected') r)
	FROM offsync.push_messages(format('[%s]', (SELECT string_agg(replace(regexp_replace(part, '^{', '{"table_name":"note","column":"title","local_timestamp":"000000000000001:00001:phone",'), 'Z', '\u0000'), ',') FROM unnest(parts) part))::json) p $$;
SELECT is(push_raw('{"id":"z1","row":"z1","value":"\u00e4\ud83d\ude00"}', '{"id":"z2","row":"z2","value":"aZ"}', '{"row":"z3","value":"Z","id":"z3"}', '{"id":"z4","row":"Z","value":"x"}', '{"id":"zZ","row":"z5","value":"x"}',
	'{"id":"z6","row":"z6","value":"x","Z":1}', '{"id":"z7","row":"z7","value":"x","other":["Z"]}', '{"\u0069d":"z8","row":"z8","value":"\ud800"}', '{"id":"z9","row":"z9","value":["x"]}', '{"id":{},"row":"z10","value":"x"}',
	'{"id":"z11","row":"z11","value":"x"}'), '["z1","z7","z11"] z2 22P05 unsupported Unicode escape sequence, z3 22P05 unsupported Unicode escape sequence, z4 22P05 unsupported Unicode escape sequence, '
	'- 22P05 unsupported Unicode escape sequence, - 22P05 unsupported Unicode escape sequence, z8 22P02 invalid input syntax for type json, z9 PT400 all members of a message are texts, - PT400 all members of a message are texts',
	'zeros, halves of pairs, and objects');
SELECT is((SELECT string_agg(id || title, ',' ORDER BY id COLLATE "C") FROM note WHERE id ~ '^z[0-9]'), 'z1ä😀,z11x,z7x', 'and the others are stored');
SELECT is(push_raw('{"id":"z1","row":"z1","column":"doc","data_type":"json","value":"{\"a\": \"\\u0000\"}"}', '{"id":"z12","row":"z12","value":"x"}'),
	'["z12"] z1 22P05 unsupported Unicode escape sequence', 'within a value');
DELETE FROM note WHERE id ~ '^z[0-9]';

-- In whatever order and company
SELECT setseed(0.5) \g /dev/null
CREATE TEMP TABLE said AS SELECT g AS i, (random() * 2)::int AS r, (ARRAY['title', 'n', 'doc'])[1 + (random() * 2)::int] AS c, (random() * 9)::int AS v, 100 + (random() * 20)::int AS ms, 'dev' || (random() * 2)::int AS node
	FROM generate_series(1, 150) g;
CREATE FUNCTION play(world text, seed float8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE part json;
BEGIN
	PERFORM setseed(seed);
	-- the same clock says the same, as a device's does
	FOR part IN SELECT json_agg(msg.msg(format('%s%s', world, i), format('%s%s', world, r), c, 'int', (ms % 7 + right(node, 1)::int)::text, ms, node) ORDER BY random())
		FROM (SELECT *, (random() * 12)::int AS batch FROM said UNION ALL SELECT *, 99 FROM said WHERE i % 10 = 0) s GROUP BY batch ORDER BY random()
	LOOP
		PERFORM offsync.push_messages(part);
	END LOOP;
END$$;
SELECT play('w', 0.1), play('x', 0.2), play('y', 0.9) \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', right(id, 1), title, n, doc), '; ' ORDER BY id) FROM note WHERE id ~ '^w\d$'),
	(SELECT string_agg(concat_ws(' ', right(id, 1), title, n, doc), '; ' ORDER BY id) FROM note WHERE id ~ ('^' || w || '\d$')), 'the same comes of the same messages') FROM unnest('{x,y}'::text[]) w;
SELECT is((SELECT count(*) FROM note WHERE id ~ '^w\d$'), 3::bigint);

-- ---------------------------------------------------------------------------
-- Whose
-- ---------------------------------------------------------------------------
-- A row that is hidden, and one that couldn't be made
SELECT is(replace(push(msg('r1', 'b', 'title', 'string', 'mine', :now)), '"b"', ''), 'r1 42501 Row-level security or privileges do not let you write it.', 'a hidden row');
RESET ROLE;
CREATE POLICY no_z ON note AS RESTRICTIVE FOR INSERT WITH CHECK (id !~ '^z');
SET ROLE msg_ann;
SELECT is(push(msg('r1', 'z', 'title', 'string', 'mine', :now)), push(msg('r1', 'b', 'title', 'string', 'mine', :now)), 'is refused as one that can''t be made');
SELECT is(push(msg('r2', 'new', 'title', 'string', 'beside it', :now), msg('r3', 'b', 'n', 'int', '1', :now)), 'r2 | r3 42501 Row-level security or privileges do not let you write it.', 'and what came with it is taken');
SET ROLE msg_bob;
SELECT is((SELECT title FROM note), 'two', 'nothing has happened to it');
-- Another user's
SELECT set_config('request.jwt.claims', '{"sub": "bob"}', false) \g /dev/null
SELECT is(offsync.pull_messages(user_id => 'ann')::text, '[]', 'nothing for another user');
SELECT is((SELECT string_agg(DISTINCT m ->> 'user_id', ',') FROM json_array_elements(offsync.pull_messages(user_id => 'bob')) m), 'bob', 'for oneself');
SELECT is((SELECT string_agg(DISTINCT m ->> 'user_id', ',') FROM json_array_elements(offsync.pull_messages()) m), 'bob');
SELECT is(push((msg('s1', 'b', 'n', 'int', '1', :now)::jsonb || '{"user_id": "ann"}')::json, (msg('s2', 'b', 'n', 'int', '4', :now)::jsonb || '{"user_id": "bob"}')::json),
	's2 | s1 42501 the message is another user''s', 'nor by another');

-- What comes into view because the row was given to somebody: its other fields, which nobody wrote, too
RESET ROLE;
SELECT set_config('request.jwt.claims', '', false) \g /dev/null
SET ROLE msg_ann;
SELECT place() AS last \gset
RESET ROLE;
UPDATE note SET owner = 'msg_ann' WHERE id = 'b';
SET ROLE msg_ann;
SELECT matches(told(:last), 'b title string=two', 'a row that was given away');
SELECT is((SELECT count(*) FROM json_array_elements(offsync.pull_messages(:last)) m WHERE (m ->> 'server_timestamp')::bigint <= :last), 0::bigint, 'behind the device''s number');
SELECT is(told(place()), '', 'once');
RESET ROLE;
UPDATE note SET owner = 'msg_bob' WHERE id = 'b';

-- What comes into view through another table
RESET ROLE;
SELECT set_config('request.jwt.claims', '', false) \g /dev/null
CREATE TABLE shared (note text, who name, PRIMARY KEY (note, who));
GRANT SELECT ON shared TO msg_ann, msg_bob;
CREATE POLICY shared ON note FOR SELECT USING (id IN (SELECT s.note FROM shared s WHERE s.who = current_user));
SET ROLE msg_ann;
SELECT place() AS last \gset
SELECT is(told(:last), '', 'nothing new');
RESET ROLE;
INSERT INTO shared VALUES ('b', 'msg_ann');
SET ROLE msg_ann;
SELECT matches(told(:last), 'b title string=two', 'a row that came into view, though nobody wrote it');
SELECT is(told(place()), '', 'once');
SELECT is(push(msg('t1', 'b', 'title', 'string', 'mine', :now)), 't1 42501 Row-level security or privileges do not let you write it.', 'what is seen can''t be written for that');
RESET ROLE;
DROP POLICY shared ON note;
SET ROLE msg_ann;
SELECT unalike(told(), '%b title%', 'and out of it');
RESET ROLE;
SELECT set_config('request.jwt.claims', '{"sub": "bob"}', false) \g /dev/null

-- Keys of several columns, and a column "id" that is no key
CREATE TABLE twins (a int, b text, id text, n int, PRIMARY KEY (a, b));
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('twins', conflict => 'field_lww');
INSERT INTO twins VALUES (1, 'x y', 'named', 1);
SELECT id FROM (SELECT m ->> 'row' AS id, count(*) FROM json_array_elements(offsync.pull_messages()) m WHERE m ->> 'table_name' = 'twins' GROUP BY 1) s \gset pair_
SELECT is((SELECT string_agg(concat(m ->> 'column', '=', m ->> 'value'), ' ' ORDER BY m ->> 'column') FROM json_array_elements(offsync.pull_messages()) m WHERE m ->> 'table_name' = 'twins'), 'id=named n=1', 'are told of');
SELECT is(push(msg('k1', :'pair_id', 'id', 'string', 'renamed', :now, tab => 'twins'), msg('k2', :'pair_id', 'a', 'int', '1', :now, tab => 'twins')),
	'k1 | k2 42703 collection "twins" has no column "a" that messages can write', 'and written');
SELECT is((SELECT id FROM twins), 'renamed');
SELECT offsync.disable('twins') \g /dev/null
DROP TABLE twins;

-- ---------------------------------------------------------------------------
-- The table
-- ---------------------------------------------------------------------------
SET ROLE msg_ann;
SELECT results_eq($$SELECT action, detail FROM offsync.expose('msg', 'messages', prefix => 'my_')$$, $$VALUES
	('function', 'msg.my_pull_messages(last_server_timestamp bigint, client_id text, user_id text)'), ('function', 'msg.my_push_messages(messages json)'), ('table', 'msg.my_messages'),
	('warning', 'msg.plain: its conflict strategy is "reject", and so it has no messages: enable it with conflict => ''field_lww'''), ('next', 'NOTIFY pgrst, ''reload schema''')$$, 'exposed');
SELECT throws_ok($$SELECT offsync.expose('msg', 'messages', prefix => 'my_')$$, '42723');
SELECT lives_ok($$SELECT offsync.expose('msg', 'messages', prefix => 'my_', replace => true)$$, 'again');
CREATE TABLE its_messages ();
SELECT throws_ok($$SELECT offsync.expose('msg', 'messages', prefix => 'its_')$$, '42P07', 'relation msg.its_messages exists already');
DROP TABLE its_messages;
SET ROLE msg_bob;
SELECT set_eq('SELECT id, table_name, "row", "column", data_type, value, server_timestamp, local_timestamp, user_id, client_id FROM my_messages',
	$$SELECT * FROM json_to_recordset(offsync.pull_messages()) AS r(id text, table_name text, "row" text, "column" text, data_type text, value text, server_timestamp bigint, local_timestamp text, user_id text, client_id text)$$,
	'tells whoever reads it what a pull tells');
SELECT place() AS last \gset
UPDATE note SET n = 5;
SELECT is((SELECT string_agg("column" || value, ',') FROM my_messages WHERE server_timestamp > :last), 'n5', 'since then');
SELECT is((SELECT count(*) FROM my_messages WHERE user_id = 'ann'), 0::bigint, 'nobody else''s');
SELECT is((SELECT count(*) FROM my_messages WHERE server_timestamp > NULL), 0::bigint, 'NULL compares as nothing');
PREPARE since(bigint, text, int) AS SELECT "column", value FROM my_messages WHERE server_timestamp > $1 AND client_id <> $2 LIMIT $3;
SET plan_cache_mode = force_generic_plan;
SELECT results_eq(format('EXECUTE since(%s, ''x'', 10)', :last), $$VALUES ('n', '5')$$, 'by a plan for any values');
SELECT is_empty(format('EXECUTE since(%s, ''server'', 10)', :last), 'not one''s own');
RESET plan_cache_mode;
SELECT results_eq($$INSERT INTO my_messages (id, table_name, "row", "column", data_type, value, local_timestamp, user_id, client_id)
	SELECT 'i' || g, 'note', 'i', c, 'int', g::text, '000000000000100:00001:phone', 'bob', 'phone' FROM (VALUES (1, 'title'), (2, 'n')) v(g, c) RETURNING id$$, $$VALUES ('i1'), ('i2')$$, 'is written to');
SELECT results_eq($$SELECT title, n FROM note WHERE id = 'i'$$, $$VALUES ('1', 2)$$, 'as one record');
-- a gateway would make 404 of what a trigger lacks
RESET ROLE;
CREATE FUNCTION lacks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.title = 'table' THEN PERFORM 1 FROM msg.nowhere; END IF;
	IF new.title = 'function' THEN PERFORM msg.nothing(); END IF;
	IF new.title = 'unknown' THEN RAISE SQLSTATE 'PT404' USING MESSAGE = 'its own'; END IF;
	RETURN new;
END $$;
CREATE TRIGGER lacks BEFORE INSERT OR UPDATE ON note FOR EACH ROW EXECUTE FUNCTION lacks();
SET ROLE msg_bob;
SELECT throws_ok(format($$INSERT INTO my_messages (id, table_name, "row", "column", value, local_timestamp, user_id, client_id) VALUES ('i9', 'note', 'i9', 'title', %L, '000000000000200:00001:phone', 'bob', 'phone')$$, v),
	code, message) FROM (VALUES ('table', 'PT500', 'relation "msg.nowhere" does not exist'), ('function', 'PT500', 'function msg.nothing() does not exist'), ('unknown', 'PT422', 'its own')) x(v, code, message);
RESET ROLE;
DROP TRIGGER lacks ON note;
SET ROLE msg_bob;
SELECT lives_ok($$INSERT INTO my_messages (id, table_name, "row", "column", value, local_timestamp, user_id, client_id)
	VALUES ('i1', 'note', 'i', 'title', '1', '000000000000100:00001:phone', 'bob', 'phone')$$, 'the same once more, and it is no error');
SELECT throws_ok($$INSERT INTO my_messages (id, table_name, "row", "column", value, local_timestamp, user_id, client_id)
	VALUES ('i3', 'note', 'i', 'title', 'all', '000000000000200:00001:phone', 'bob', 'phone'), ('i4', 'note', 'i', 'n', 'or none', '000000000000200:00001:phone', 'bob', 'phone')$$,
	'22P02', 'invalid input syntax for type integer: "or none"', 'all or none');
SELECT is((SELECT title FROM note WHERE id = 'i'), '1');
SELECT is(complaint(format($$INSERT INTO my_messages (id, table_name, "row", "column", value, local_timestamp, user_id, client_id) VALUES ('i5', 'note', %L, 'title', 'x', '000000000000200:00001:phone', 'bob', 'phone')$$, r)),
	format('42501|a record of collection "note" was refused|Row-level security or privileges do not let you write record "%s".', r), 'a hidden row') FROM unnest('{new,z}'::text[]) r;
SELECT throws_ok('UPDATE my_messages SET value = ''x''', '42501');
SELECT throws_ok('DELETE FROM my_messages', '42501');
-- A limit cuts nothing off that belongs together
INSERT INTO note (id, owner) SELECT 'l' || g, 'msg_bob' FROM generate_series(1, 3) g;
SELECT count(*) AS many FROM my_messages \gset
SELECT is((SELECT count(*) FROM (SELECT * FROM my_messages LIMIT :many) s), :many::bigint, 'as many as there are');
SELECT is((SELECT count(*) FROM (SELECT * FROM my_messages LIMIT :many - 1) s), :many - 12::bigint, 'one transaction''s rows less');
SELECT max(server_timestamp) AS cut FROM (SELECT * FROM my_messages LIMIT :many - 1) s \gset
SELECT is(:cut, (SELECT max(server_version) FROM note WHERE id !~ '^l'), 'from where it was cut');
SELECT is((SELECT count(*) FROM my_messages WHERE server_timestamp > :cut), 12::bigint, 'these come next');
-- ... of what conditions leave
SELECT is((SELECT string_agg(DISTINCT "row", ',') FROM (SELECT * FROM my_messages WHERE "row" IN ('l1', 'l2', 'l3') AND "column" = 'n' AND client_id <> 'x' LIMIT 3) s), 'l1,l2,l3', 'what conditions leave is limited, and nothing else');
SELECT is((SELECT count(*) FROM (SELECT * FROM my_messages WHERE "row" IN ('l1', 'l2', 'i') AND "column" = 'n' ORDER BY value LIMIT 2) s), 1::bigint, 'of these some may be left for the next time');
SELECT max(server_timestamp) AS some FROM (SELECT * FROM my_messages WHERE "row" IN ('l1', 'l2', 'i') AND "column" = 'n' LIMIT 2) s \gset
SELECT is((SELECT string_agg("row", ',' ORDER BY "row") FROM my_messages WHERE "row" IN ('l1', 'l2', 'i') AND "column" = 'n' AND server_timestamp > :some), 'l1,l2', 'when they come');
SELECT throws_ok('SELECT * FROM my_messages WHERE "row" IN (''l1'', ''l2'', ''l3'') AND "column" = ''n'' LIMIT 2', 'PT413', 'a limit of 2 rows would cut off messages that belong together');
RESET ROLE;
SELECT offsync.reset('note') \g /dev/null
SET ROLE msg_bob;
SELECT throws_ok('SELECT * FROM my_messages WHERE server_timestamp > ' || :cut || ' LIMIT ' || :many - 1, 'PT413', NULL, 'what comes anew can''t be cut: the device has asked from behind it');
SELECT throws_ok(format('SELECT * FROM my_messages WHERE server_timestamp > %s LIMIT 11', (SELECT max(server_version) FROM note WHERE id !~ '^l')), 'PT413', 'a limit of 11 rows would cut off messages that belong together');
CREATE VIEW my_view AS SELECT * FROM my_messages WHERE table_name <> '';
SELECT throws_ok(format('WITH s AS (SELECT * FROM my_view WHERE server_timestamp > %s LIMIT 11) SELECT count(*) FROM s', (SELECT max(server_version) FROM note WHERE id !~ '^l')), 'PT413',
	'a limit of 11 rows would cut off messages that belong together', 'nor can a view of it');
DROP VIEW my_view;
SELECT lives_ok(format('SELECT count(*) FROM my_messages WHERE server_timestamp > %s LIMIT 11', (SELECT max(server_version) FROM note WHERE id !~ '^l')), 'a limit on what is made of them is none');
-- One that counts other rows would
CREATE VIEW my_view AS SELECT * FROM my_messages ORDER BY server_timestamp;
SELECT throws_ok(s, '0A000', 'a limit over more than the messages would cut some off unseen', s) FROM unnest(ARRAY[
	'SELECT * FROM my_view LIMIT 100000', 'SELECT m.*, n.title FROM my_messages m JOIN note n ON n.id = m."row" LIMIT 5', 'SELECT DISTINCT * FROM my_messages LIMIT 5', 'SELECT * FROM my_messages LIMIT (SELECT 5)',
	'WITH m AS MATERIALIZED (SELECT * FROM my_messages) SELECT "row" FROM m LIMIT 5', 'SELECT *, generate_series(1, 2) FROM my_messages LIMIT 5', 'SELECT m FROM my_messages m, note LIMIT 5',
	'SELECT * FROM my_messages UNION ALL SELECT * FROM my_messages LIMIT 5', 'SELECT * FROM (SELECT *, row_number() OVER () FROM my_messages) s LIMIT 5']) s;
SELECT lives_ok(s, s) FROM unnest(ARRAY['SELECT m."row", n.title FROM my_messages m JOIN note n ON n.id = m."row" LIMIT 5', 'SELECT max(server_timestamp) FROM my_messages LIMIT 1', 'SELECT * FROM my_view', 'SELECT * FROM my_messages LIMIT ALL',
	'SELECT id FROM note WHERE id NOT IN (SELECT "row" FROM my_messages) LIMIT 5', 'SELECT id FROM note WHERE EXISTS (SELECT * FROM my_messages) LIMIT 5', 'SELECT max(s) FROM (SELECT server_timestamp s FROM my_view) v LIMIT 1',
	'SELECT m.*, n.id FROM my_messages m JOIN note n ON n.id = m."row" ORDER BY m.value']) s;
SELECT is((SELECT count(*) FROM my_messages m JOIN note n ON n.id = m."row" AND m."column" = 'title'), (SELECT count(*) FROM note), 'joins are right');
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;
SELECT is((SELECT count(*) FROM note n LEFT JOIN my_messages m ON n.id = m."row" AND m."column" = 'title'), (SELECT count(*) FROM note), '... however they are made');
RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_material;
DROP VIEW my_view;
-- More than memory holds
SELECT offsync.push_messages(json_agg(msg('big' || g, 'big' || g, 'title', 'string', repeat(g::text, 300), 5))) FROM generate_series(1, 500) g \g /dev/null
SET work_mem = '64kB';
SELECT is((SELECT count(*) || ' ' || sum(length(value)) FROM my_messages WHERE "column" = 'title' AND "row" ~ '^big'), '500 ' || (SELECT sum(length(title)) FROM note WHERE id ~ '^big'), 'more than memory holds');
SELECT is((SELECT count(*) FROM my_messages a, (VALUES (1), (2)) v(x) WHERE a."column" = 'title' AND a."row" ~ '^big'), 1000::bigint, 'twice');
RESET work_mem;
DELETE FROM note WHERE id ~ '^big';
SELECT is((SELECT count(*) FROM (SELECT 1 FROM my_messages LIMIT 9223372036854775807 OFFSET 9223372036854775807) m), 0::bigint, 'limits that don''t fit together into a number');
-- Nothing is written by who reads
BEGIN READ ONLY;
SELECT is((SELECT count(*) FROM my_messages), :many::bigint, 'read only');
ROLLBACK;
SELECT is((SELECT provolatile::text FROM pg_proc WHERE oid = 'offsync.pull_messages'::regproc), 's', 'stable');

RESET ROLE;
SELECT offsync.disable('note') \g /dev/null
SELECT offsync.disable('plain') \g /dev/null
SET client_min_messages = error;
DROP SCHEMA msg CASCADE;
DROP OWNED BY msg_ann, msg_bob;
DROP ROLE msg_ann, msg_bob;
SELECT * FROM finish();
