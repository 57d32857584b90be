-- All kinds of keys, columns, names and tables through enable, pull and push: P3, P9, P10.
-- Every statement is a transaction of its own, as devices have them.
\ir begin.psql
CREATE SCHEMA shapes;
SET search_path = shapes, public;
SELECT no_plan();

CREATE FUNCTION cursor_of(VARIADIC collections text[]) RETURNS text LANGUAGE sql VOLATILE
	AS $$SELECT offsync.pull_changes(NULL, collections) ->> 'cursor'$$;
CREATE FUNCTION since(c text, collection text, list text) RETURNS json LANGUAGE sql VOLATILE
	AS $$SELECT offsync.pull_changes(c, ARRAY[collection], client_id => 'phone') -> 'changes' -> collection -> list$$;
CREATE FUNCTION ids(records json) RETURNS text[] LANGUAGE sql
	AS $$SELECT coalesce(array_agg(coalesce(r ->> 'id', r #>> '{}') ORDER BY coalesce(r ->> 'id', r #>> '{}') COLLATE "C"), '{}') FROM json_array_elements(records) r$$;
-- ids of an answer since a cursor: created / updated / deleted
CREATE FUNCTION news(c text, collection text) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT concat_ws(' / ', array_to_string(ids(a -> 'created'), ','), array_to_string(ids(a -> 'updated'), ','),
		array_to_string(ids(a -> 'deleted'), ','), b -> 'experimentalStrategy' -> 'override' ->> collection)
	FROM (SELECT x AS b, x -> 'changes' -> collection AS a FROM offsync.pull_changes(c, ARRAY[collection], client_id => 'phone') x) p$$;
-- records without what the server adds
CREATE FUNCTION bare(records json) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg((SELECT jsonb_object_agg(f.key, f.value) FROM jsonb_each(r) f WHERE f.key !~ '^server_') ORDER BY r ->> 'id' COLLATE "C")
	FROM jsonb_array_elements(records::jsonb) r$$;
CREATE FUNCTION push(collection text, list text, records json, c text DEFAULT NULL, dialect text DEFAULT NULL) RETURNS json LANGUAGE sql VOLATILE
	AS $$SELECT offsync.push_changes(json_build_object(collection, json_build_object(list, records)), c, dialect => dialect)$$;
CREATE FUNCTION refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'an UPDATE reached the table'; END$$;

-- ---------------------------------------------------------------------------
-- Keys of every type: k is the key, v carries a default
-- ---------------------------------------------------------------------------
CREATE TYPE mood AS ENUM ('sad', 'ok; "x"', 'it''s');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN dom_mood AS mood;
CREATE DOMAIN dom_numeric AS numeric;
CREATE DOMAIN dom_int AS int CHECK (value > 0);
CREATE DOMAIN dom_range AS int4range;
CREATE DOMAIN dom_array AS int[];
CREATE DOMAIN dom_text AS text COLLATE "C" NOT NULL;

CREATE TABLE cases (n text PRIMARY KEY, type text, vals text, id text, pulled json, cursor text, answer json);
INSERT INTO cases (n, type, vals, id) VALUES
	('k_uuid', 'uuid', $$('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), ('A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a12')$$, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'),
	('k_int', 'int', '(1), (-5)', '-5'),
	('k_bigint', 'bigint', '(9223372036854775807), (-9223372036854775808)', '-9223372036854775808'),
	('k_numeric', 'numeric', $$(1.50), ('NaN'), (1e30), ('-Infinity')$$, '1.50'),
	('k_numeric2', 'numeric(10,2)', '(1.5), (2)', '1.50'),
	('k_float', 'float8', $$(1.1), ('NaN'), ('-0'), ('Infinity')$$, '-0'),
	('k_date', 'date', $$('infinity'), ('2020-01-02'), ('0044-03-15 BC')$$, '0044-03-15 BC'),
	('k_timestamptz', 'timestamptz', $$('infinity'), ('2020-01-02 03:04:05.678901+07')$$, '2020-01-01 20:04:05.678901+00'),
	('k_timestamp', 'timestamp', $$('-infinity'), ('2020-01-02 03:04:05.678901')$$, '2020-01-02 03:04:05.678901'),
	('k_timetz', 'timetz', $$('12:00+01'), ('12:00+02')$$, '12:00:00+01'),
	('k_interval', 'interval', $$('1 day'), ('3 mons -2 days 04:05:06.7')$$, '1 day'),
	('k_bool', 'bool', '(true), (false)', 't'),
	('k_enum', 'mood', $$('sad'), ('ok; "x"'), ('it''s')$$, 'it''s'),
	('k_dom_enum', 'dom_mood', $$('sad'), ('it''s')$$, 'it''s'),
	('k_dom_numeric', 'dom_numeric', '(1.0), (2.00)', '2.00'),
	('k_dom_int', 'dom_int', '(1), (2)', '2'),
	('k_dom_range', 'dom_range', $$('[1,5)'), ('empty')$$, 'empty'),
	('k_dom_array', 'dom_array', $$('{1,2}'), ('{}')$$, '{}'),
	('k_dom_text', 'dom_text', $$('a'), ('A'), ('é')$$, 'A'),
	('k_text', 'text', $$('a;b'), ('"q"'), (E'\\x'), ('ü €'), ('  sp '), (E'n\nl'), ('it''s'), ('''; DROP TABLE cases; --')$$, '''; DROP TABLE cases; --'),
	('k_varchar', 'varchar(5)', $$('ab'), ('AB')$$, 'AB'),
	('k_char', 'char(5)', $$('ab'), ('abcde')$$, 'ab   '),
	('k_name', 'name', $$('a'), ('A')$$, 'A'),
	('k_bytea', 'bytea', $$('\x00ff'), ('')$$, '\x00ff'),
	('k_inet', 'inet', $$('10.0.0.1/8'), ('::1')$$, '::1'),
	('k_macaddr', 'macaddr', $$('08:00:2b:01:02:03')$$, '08:00:2b:01:02:03'),
	('k_range', 'int4range', $$('[1,5)'), ('empty')$$, 'empty'),
	('k_multirange', 'int4multirange', $$('{[1,3),[5,6)}'), ('{}')$$, '{}'),
	('k_array', 'int[]', $$('{1,2}'), ('{}'), ('[0:1]={5,6}')$$, '[0:1]={5,6}'),
	('k_composite', 'pair', $$(ROW(1, 'x,"y')), (ROW(NULL, NULL))$$, '(,)'),
	('k_jsonb', 'jsonb', $$('{"a": 1.0}'), ('[]')$$, '[]'),
	('k_bit', 'bit(3)', $$('101')$$, '101');

DO $$
DECLARE c cases;
BEGIN
	FOR c IN SELECT * FROM cases LOOP
		EXECUTE format('CREATE TABLE %I (k %s PRIMARY KEY, v text NOT NULL DEFAULT ''d'')', c.n, c.type);
		EXECUTE format('INSERT INTO %I (k) VALUES %s', c.n, c.vals);
		PERFORM offsync.enable(c.n::regclass);
		EXECUTE format('CREATE TRIGGER noisy BEFORE UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_update()', c.n);
	END LOOP;
END $$;
-- with settings that must not matter
SET DateStyle = 'SQL, DMY'; SET IntervalStyle = sql_standard; SET TimeZone = 'Asia/Kolkata'; SET extra_float_digits = -5; SET bytea_output = escape;
UPDATE cases SET pulled = offsync.pull_changes(NULL, ARRAY[n]);
RESET DateStyle; RESET IntervalStyle; RESET TimeZone; RESET extra_float_digits; RESET bytea_output;
UPDATE cases SET cursor = pulled ->> 'cursor', pulled = pulled -> 'changes' -> n -> 'created';
SELECT ok(ids(pulled) @> ARRAY[id], n || ' has the id ' || id) FROM cases ORDER BY n;
SELECT lives_ok(format('SELECT push(%L, ''updated'', %L, %L)', n, pulled, cursor), n || ': pushed back, no UPDATE') FROM cases ORDER BY n;
SELECT lives_ok(format('SELECT push(%L, ''updated'', %L, dialect => ''json'')', n,
	offsync.pull_changes(NULL, ARRAY[n], dialect => 'json') -> 'changes' -> n -> 'created'), n || ': in JSON, too') FROM cases ORDER BY n;
SELECT push(n, 'deleted', json_build_array(id), cursor) IS NULL AS x FROM cases \g /dev/null
SELECT is(ids(since(cursor, n, 'deleted')), ARRAY[id], n || ': deleted by its id') FROM cases ORDER BY n;
SELECT is(news(cursor, n), ' /  / ' || id, n || ': and nothing else') FROM cases ORDER BY n;
SELECT push(n, 'created', pulled, cursor_of(n)) IS NULL AS x FROM cases \g /dev/null
SELECT is(bare(offsync.pull_changes(NULL, ARRAY[n]) -> 'changes' -> n -> 'created'), bare(pulled), n || ': and stored again') FROM cases ORDER BY n;
SELECT is(news(cursor, n), ' / ' || id || ' / ', n || ': the device has that row') FROM cases ORDER BY n;

-- Keys that are equal, and yet other ids
CREATE TABLE same_numeric (k numeric PRIMARY KEY, v text);
INSERT INTO same_numeric VALUES (1.0, 'a');
SELECT ok(count(*) > 0, 'numeric key enabled') FROM offsync.enable('same_numeric');
SELECT cursor_of('same_numeric') c \gset
SELECT throws_ok($$SELECT push('same_numeric', 'updated', '[{"id": "1.00", "v": "b"}]')$$, '42501', NULL, 'another spelling isn''t the same id');
UPDATE same_numeric SET k = 1.000;
SELECT is(news(:'c', 'same_numeric'), '1.000 /  / 1.0', 'respelt: one id for another');
DELETE FROM same_numeric;
SELECT is(news(:'c', 'same_numeric'), ' /  / 1.0,1.000', 'deleted: every spelling');

-- ---------------------------------------------------------------------------
-- Names
-- ---------------------------------------------------------------------------
CREATE SCHEMA "My; ""Sch'ema";
CREATE TABLE "My; ""Sch'ema"."Ta; ""b'le" ("Id; ""x'" int, "a.b" text, "from" text, id text, "ID" text, PRIMARY KEY ("Id; ""x'", "from"));
INSERT INTO "My; ""Sch'ema"."Ta; ""b'le" VALUES (1, 'a', 'f. _/é', 'i', 'I');
SELECT throws_ok($$SELECT offsync.enable('"My; ""Sch''ema"."Ta; ""b''le"')$$, '22023');
SELECT throws_ok($$SELECT offsync.enable('"My; ""Sch''ema"."Ta; ""b''le"', 'a;b')$$, '22023');
SELECT ok(count(*) > 0, 'strange names') FROM offsync.enable('"My; ""Sch''ema"."Ta; ""b''le"', 'Weird-Name.1');
SELECT offsync.pull_changes(NULL, '{Weird-Name.1}') p \gset
SELECT (:'p')::json ->> 'cursor' c \gset
SELECT is(bare((:'p')::json -> 'changes' -> 'Weird-Name.1' -> 'created'),
	$$[{"id": "1.f_2E_20_5F_2F_C3_A9", "Id; \"x'": 1, "a.b": "a", "from": "f. _/é", "id_": "i", "ID": "I"}]$$, 'a column id beside the key');
SELECT lives_ok(format('SELECT push(''Weird-Name.1'', ''updated'', %L, %L)', (:'p')::json -> 'changes' -> 'Weird-Name.1' -> 'created', :'c'), 'goes back');
SELECT push('Weird-Name.1', 'updated', '[{"id": "1.f_2E_20_5F_2F_C3_A9", "id_": "new", "a.b": null}]', :'c') IS NULL AS x \g /dev/null
SELECT is(id || coalesce("a.b", ' null'), 'new null', 'and is written under its own name') FROM "My; ""Sch'ema"."Ta; ""b'le";
UPDATE "My; ""Sch'ema"."Ta; ""b'le" SET "Id; ""x'" = 2;
SELECT is(news(:'c', 'Weird-Name.1'), '2.f_2E_20_5F_2F_C3_A9 /  / 1.f_2E_20_5F_2F_C3_A9', 'a changed key');
SELECT lives_ok($$SELECT offsync.disable('"My; ""Sch''ema"."Ta; ""b''le"')$$);
SELECT columns_are('My; "Sch''ema', 'Ta; "b''le', ARRAY['Id; "x''', 'a.b', 'from', 'id', 'ID'], 'disabled without a trace');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid = '"My; ""Sch''ema"."Ta; ""b''le"'::regclass), 0::bigint, 'triggers, too');

-- ---------------------------------------------------------------------------
-- Partitions, some with columns in another order
-- ---------------------------------------------------------------------------
CREATE TABLE part (id int, reg text, v text, PRIMARY KEY (id, reg)) PARTITION BY LIST (reg);
CREATE TABLE part_x (v text, junk int, id int NOT NULL, reg text NOT NULL);
ALTER TABLE part_x DROP COLUMN junk;
CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
ALTER TABLE part ATTACH PARTITION part_x FOR VALUES IN ('x');
CREATE TABLE part_n PARTITION OF part FOR VALUES IN ('n', 'm') PARTITION BY LIST (reg);
CREATE TABLE part_nn PARTITION OF part_n FOR VALUES IN ('n');
CREATE TABLE part_nm PARTITION OF part_n FOR VALUES IN ('m');
INSERT INTO part VALUES (1, 'a', '1'), (2, 'x', '2'), (3, 'n', '3');
SELECT ok(count(*) > 0, 'partitioned') FROM offsync.enable('part');
SELECT cursor_of('part') c \gset
UPDATE part SET reg = 'm' WHERE id = 3;
UPDATE part SET reg = 'a' WHERE id = 2;
UPDATE part_a SET v = 'direct' WHERE id = 1;
SELECT is(news(:'c', 'part'), '2.a,3.m / 1.a / 2.x,3.n', 'moved rows change their ids');
SELECT cursor_of('part') c \gset
BEGIN;
UPDATE part SET reg = 'x' WHERE id = 1;
UPDATE part SET reg = 'a', v = 'back' WHERE id = 1;
COMMIT;
SELECT is(ids(since(:'c', 'part', 'deleted')), '{}', 'there and back in one transaction: not deleted');
SELECT push('part', 'updated', '[{"id": "2.a", "v": "p"}, {"id": "3.m", "v": "p"}]', :'c') IS NULL AS x \g /dev/null
SELECT push('part', 'deleted', '["2.a"]', cursor_of('part')) IS NULL AS x \g /dev/null
SELECT is(news(:'c', 'part'), ' / 1.a,3.m / 2.a', 'pushed into partitions');
SELECT cursor_of('part') c \gset
TRUNCATE part_nm;
SELECT is(news(:'c', 'part'), ' / 1.a /  / replacement', 'one partition truncated');
SELECT cursor_of('part') c \gset
ALTER TABLE part DETACH PARTITION part_a;
SELECT is(news(:'c', 'part'), ' /  /  / replacement', 'one detached');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid = 'part_a'::regclass), 0::bigint, 'and without our triggers');
INSERT INTO part_a (id, reg, v) VALUES (9, 'a', 'while detached');
SELECT cursor_of('part') c \gset
ALTER TABLE part ATTACH PARTITION part_a FOR VALUES IN ('a');
SELECT is(news(:'c', 'part'), ' / 1.a,9.a /  / replacement', 'attached with rows that nobody stamped');
SELECT is(state, 'ok') FROM offsync.status WHERE collection = 'part';

-- ---------------------------------------------------------------------------
-- Columns of every type: P10
-- ---------------------------------------------------------------------------
CREATE TABLE wide (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n numeric, f float8, r real, ts timestamptz, t0 timestamp,
	d date, i interval, j json, jb jsonb, b bytea, a int[], ta text[], rg int4range, v varchar(5), g int GENERATED ALWAYS AS (length(v)) STORED,
	gi int GENERATED ALWAYS AS IDENTITY, gd int GENERATED BY DEFAULT AS IDENTITY, s serial, m mood, c char(3), bl bool, mo money, gone int,
	tt time, ttz timetz, u uuid, ip inet, dm dom_mood, p pair, q oid, bi bit(3));
ALTER TABLE wide DROP COLUMN gone;
INSERT INTO wide (n, f, r, ts, t0, d, i, j, jb, b, a, ta, rg, v, m, c, bl, mo, tt, ttz, u, ip, dm, p, q, bi) VALUES
	('NaN', 'NaN', '-Infinity', 'infinity', '-infinity', 'infinity', '1 mon -1 day 00:00:00.000001', '{"b": 1, "a":null , "a":2}', '{"z":1e400}',
	 '\xdeadbeef', '{{1,NULL},{3,4}}', '{"a,b","NULL",NULL,"q\"x\\y",""}', '[1,)', 'héllo', 'ok; "x"', 'a', true, 1.25,
	 '12:00:00.123456', '24:00:00-15:59', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.1.2.3/8', 'sad', ROW(1, 'x,"y'), 4294967295, '101'),
	(123456789012345678901234567890.123456789, 1e308, 1.17549435e-38, '2020-01-01 00:00:00.123456+00', '2020-01-01 00:00:00.123456',
	 '0044-03-15 BC', '-1 year', '"x"', '[1.0,2.50]', '', '{}', '{}', 'empty', '', 'sad', '', 'f', -3, '00:00', '00:00+00', NULL, '::1', NULL, ROW(NULL, NULL), 0, '000'),
	(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT ok(count(*) > 0, 'wide') FROM offsync.enable('wide');
CREATE TRIGGER noisy BEFORE UPDATE ON wide FOR EACH ROW EXECUTE FUNCTION refuse_update();
CREATE TABLE wide_before AS SELECT w::text AS row FROM wide w;
SELECT offsync.pull_changes(NULL, '{wide}') p \gset
SELECT lives_ok(format('SELECT push(''wide'', ''updated'', %L, %L)', (:'p')::json -> 'changes' -> 'wide' -> 'created', (:'p')::json ->> 'cursor'), 'a round trip changes nothing');
SELECT lives_ok(format('SELECT push(''wide'', ''updated'', %L)', ((:'p')::jsonb -> 'changes' -> 'wide' -> 'created')), 'nor through jsonb');
SELECT offsync.pull_changes(NULL, '{wide}', dialect => 'json') p \gset
SELECT lives_ok(format('SELECT push(''wide'', ''updated'', %L, dialect => ''json'')', (:'p')::json -> 'changes' -> 'wide' -> 'created'), 'nor in the other dialect');
SELECT set_eq('SELECT w::text FROM wide w', 'SELECT row FROM wide_before', 'no byte moved');
DROP TRIGGER noisy ON wide;
SELECT bare((:'p')::json -> 'changes' -> 'wide' -> 'created') w1 \gset
SELECT push('wide', 'deleted', '["1", "2", "3"]', cursor_of('wide')) IS NULL AS x \g /dev/null
SELECT push('wide', 'created', (:'p')::json -> 'changes' -> 'wide' -> 'created', cursor_of('wide'), 'json') IS NULL AS x \g /dev/null
-- empty bytes are an empty string, which stands for NULL where no text is stored
SELECT is((SELECT jsonb_agg(r - '{gi,b}'::text[]) FROM jsonb_array_elements(bare(offsync.pull_changes(NULL, '{wide}', dialect => 'json') -> 'changes' -> 'wide' -> 'created')) r),
	(SELECT jsonb_agg(r - '{gi,b}'::text[]) FROM jsonb_array_elements(:'w1') r), 'and JSON makes the same rows again');

-- An enum's label is renamed: no version moves, and every device must know
CREATE TYPE shade AS ENUM ('dark', 'light');
CREATE DOMAIN dom_shade AS shade;
CREATE TABLE shaded (id int PRIMARY KEY, s dom_shade[]);
CREATE TABLE unshaded (id int PRIMARY KEY, m mood);
INSERT INTO shaded VALUES (1, '{dark}');
INSERT INTO unshaded VALUES (1, 'sad');
SELECT ok(count(*) > 0, 'enums') FROM offsync.enable('shaded');
SELECT ok(count(*) > 0, 'enums') FROM offsync.enable('unshaded');
SELECT cursor_of('shaded', 'unshaded') c \gset
ALTER TYPE shade ADD VALUE 'pale';
SELECT is(news(:'c', 'shaded'), ' /  / ', 'a new label concerns no row');
ALTER TYPE shade RENAME VALUE 'dark' TO 'deep';
SELECT is(news(:'c', 'shaded'), ' / 1 /  / replacement', 'a renamed one all');
SELECT is(news(:'c', 'unshaded'), ' /  / ', 'but not those of another type');

-- ---------------------------------------------------------------------------
-- Large values, read by a policy
-- ---------------------------------------------------------------------------
DROP ROLE IF EXISTS offsync_shapes;
CREATE ROLE offsync_shapes;
GRANT USAGE ON SCHEMA shapes TO offsync_shapes;
CREATE TABLE large (id int PRIMARY KEY, acl text, big text);
ALTER TABLE large ALTER acl SET STORAGE EXTERNAL, ALTER big SET STORAGE EXTERNAL;
ALTER TABLE large ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON large USING (length(acl) > 1000);
GRANT ALL ON large TO offsync_shapes;
INSERT INTO large SELECT g, repeat('x', 1000000), repeat('y', 1000000) FROM generate_series(1, 3) g;
SELECT ok(count(*) > 0, 'megabytes in a policy''s column') FROM offsync.enable('large');
SET ROLE offsync_shapes;
SELECT cursor_of('large') c \gset
RESET ROLE;
DELETE FROM large WHERE id = 1;
UPDATE large SET acl = 'short' WHERE id = 2;
UPDATE large SET big = repeat('z', 1000000) WHERE id = 3;
VACUUM FULL large;
SET ROLE offsync_shapes;
SELECT is(news(:'c', 'large'), ' / 3 / 1,2', 'large values in tombstones');
SELECT is(length(since(:'c', 'large', 'updated') -> 0 ->> 'big'), 1000000, 'and in answers');
RESET ROLE;

-- ---------------------------------------------------------------------------
-- Columns of our names that were there before
-- ---------------------------------------------------------------------------
CREATE TABLE kept (id int PRIMARY KEY, v text, server_created_at timestamptz, server_updated_at timestamptz, server_version bigint, server_created_version bigint);
INSERT INTO kept (id, v) VALUES (1, 'a'), (2, 'b'), (3, 'c');
SELECT ok(count(*) > 0, 'kept') FROM offsync.enable('kept');
SELECT cursor_of('kept') c \gset
SELECT is(news(:'c', 'kept'), ' /  / ', 'NULL stamps are old');
UPDATE kept SET v = 'c' WHERE id = 3;
SELECT is(news(:'c', 'kept'), ' /  / ', 'still after an UPDATE that changes nothing');
SELECT push('kept', 'updated', '[{"id": "1", "v": "A"}]', :'c') IS NULL AS x \g /dev/null
SELECT push('kept', 'deleted', '["2"]', :'c') IS NULL AS x \g /dev/null
SELECT is(news(:'c', 'kept'), ' / 1 / 2', 'written rows are stamped');
SELECT lives_ok($$SELECT offsync.disable('kept')$$);
SELECT columns_are('shapes', 'kept', ARRAY['id', 'v', 'server_created_at', 'server_updated_at', 'server_version', 'server_created_version'], 'disable leaves them');
SELECT col_is_null('shapes', 'kept', 'server_version', 'nullable as they were');

-- ---------------------------------------------------------------------------
-- Any writer: P9
-- ---------------------------------------------------------------------------
CREATE TABLE parent (id int PRIMARY KEY, v text, n int NOT NULL DEFAULT 0);
CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE loose (id int PRIMARY KEY, p int REFERENCES parent ON DELETE SET NULL ON UPDATE CASCADE);
INSERT INTO parent VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
INSERT INTO child VALUES (1, 1), (2, 2), (3, 1);
INSERT INTO loose VALUES (1, 1), (2, 2);
SELECT ok(count(*) > 0, 'parent') FROM offsync.enable('parent');
SELECT ok(count(*) > 0, 'child') FROM offsync.enable('child');
SELECT ok(count(*) > 0, 'loose') FROM offsync.enable('loose');
SELECT cursor_of('parent', 'child', 'loose') c \gset
MERGE INTO parent USING (VALUES (2, 'B'), (9, 'I')) s (id, v) ON parent.id = s.id
	WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
INSERT INTO parent VALUES (3, 'x'), (10, 'J') ON CONFLICT (id) DO UPDATE SET v = 'C';
INSERT INTO parent VALUES (4, 'never') ON CONFLICT DO NOTHING;
COPY parent (id, v) FROM stdin;
11	K
\.
SELECT is(news(:'c', 'parent'), '10,11,9 / 2,3 / ', 'MERGE, upsert and COPY');
SELECT push('parent', 'deleted', '["1"]', :'c') ->> 'cursor' c2 \gset
SELECT is(news(:'c2', 'child'), ' /  / 1,3', 'a push''s cascade reaches its own device');
SELECT is(news(:'c2', 'loose'), ' / 1 / ', 'so does SET NULL');
UPDATE parent SET id = 20 WHERE id = 2;
SELECT is(news(:'c', 'child'), ' / 2 / 1,3', 'ON UPDATE CASCADE');
SELECT is(news(:'c', 'parent'), '10,11,20,9 / 3 / 1,2', 'and its cause');

-- The owner's triggers write elsewhere, change rows, and pass them over
CREATE FUNCTION count_child() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
	UPDATE shapes.parent SET n = n + 1 WHERE id = new.p; RETURN new; END$$;
CREATE TRIGGER counting AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION count_child();
SELECT cursor_of('parent', 'child') c \gset
SELECT push('child', 'created', '[{"id": "50", "p": 3}]', :'c') ->> 'cursor' c2 \gset
SELECT is(news(:'c2', 'child'), ' /  / ', 'no echo of what was sent');
SELECT is(news(:'c2', 'parent'), ' / 3 / ', 'but what a trigger wrote elsewhere comes');

CREATE TABLE managed (id int PRIMARY KEY, v text, w text);
CREATE FUNCTION manage() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
	CASE new.v WHEN 'up' THEN new.v := 'UP'; WHEN 'no' THEN RETURN NULL; WHEN 'undo' THEN RETURN old; WHEN 'move' THEN new.id := new.id + 100; ELSE NULL; END CASE;
	RETURN new; END$$;
CREATE TRIGGER manage BEFORE INSERT OR UPDATE ON managed FOR EACH ROW EXECUTE FUNCTION manage();
INSERT INTO managed VALUES (1, 'a');
SELECT ok(count(*) > 0, 'managed') FROM offsync.enable('managed');
SELECT cursor_of('managed') c \gset
SELECT push('managed', 'updated', '[{"id": "1", "v": "up"}]', :'c') ->> 'cursor' c2 \gset
SELECT is(since(:'c2', 'managed', 'updated') -> 0 ->> 'v', 'UP', 'a changed value comes back');
SELECT throws_ok(format($$SELECT push('managed', 'updated', '[{"id": "1", "v": "no"}]', %L)$$, :'c2'), '42501', NULL, 'a suppressed UPDATE is no success');
SELECT throws_ok(format($$SELECT push('managed', 'created', '[{"id": "2", "v": "no"}]', %L)$$, :'c2'), '42501', NULL, 'nor a suppressed INSERT');
SELECT push('managed', 'updated', '[{"id": "1", "v": "undo"}]', cursor_of('managed')) ->> 'cursor' c2 \gset
SELECT is(news(:'c2', 'managed'), ' / 1 /  / replacement', 'an undone one heals');
SELECT push('managed', 'created', '[{"id": "7", "v": "move"}]', cursor_of('managed')) ->> 'cursor' c2 \gset
SELECT is(news(:'c2', 'managed'), ' / 1,107 /  / replacement', 'so does a key that was exchanged');

-- A push within a push: what it writes must not hide behind the outer one's cursor
CREATE FUNCTION nest() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
	PERFORM offsync.push_changes('{"loose": {"created": [{"id": "77"}]}}'); RETURN new; END$$;
CREATE TABLE nesting (id int PRIMARY KEY);
CREATE TRIGGER nest AFTER INSERT ON nesting FOR EACH ROW EXECUTE FUNCTION nest();
SELECT ok(count(*) > 0, 'nesting') FROM offsync.enable('nesting');
SELECT throws_ok($$SELECT push('nesting', 'created', '[{"id": "1"}]')$$, '0A000');
SELECT lives_ok($$INSERT INTO nesting VALUES (2)$$, 'a trigger may push');
SELECT is((SELECT array_agg(id) FROM loose WHERE id = 77), '{77}', 'and did');

-- Savepoints and several pushes in a transaction
SELECT cursor_of('managed', 'loose') c \gset
BEGIN;
SAVEPOINT s;
SELECT push('managed', 'created', '[{"id": "200", "v": "x"}]', :'c') IS NULL AS x \g /dev/null
ROLLBACK TO s;
SELECT throws_ok(format($$SELECT push('managed', 'created', '[{"id": "201", "v": "no"}]', %L)$$, :'c'), '42501');
INSERT INTO loose VALUES (200);
SELECT push('managed', 'created', '[{"id": "202", "v": "x"}]', :'c') ->> 'cursor' c2 \gset
SELECT push('managed', 'created', '[{"id": "203", "v": "x"}]', :'c2') ->> 'cursor' c3 \gset
COMMIT;
SELECT is(ids(since(:'c3', 'loose', 'updated')) || ids(since(:'c3', 'loose', 'created')), '{200}', 'what the transaction wrote beside its pushes comes');
SELECT ok((ids(since(:'c3', 'managed', 'updated')) || ids(since(:'c3', 'managed', 'created'))) @> '{202,203}', 'its pushes may');
SELECT ok(NOT (ids(since(:'c', 'managed', 'created')) && '{200,201}'), 'what was rolled back doesn''t');

-- Statement triggers with transition tables see each push once
CREATE TABLE counted (id int PRIMARY KEY, a int, b int);
CREATE TABLE counts (op text, n int);
CREATE FUNCTION counter() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO shapes.counts SELECT TG_OP, count(*) FROM news; RETURN NULL; END$$;
CREATE TRIGGER ins AFTER INSERT ON counted REFERENCING NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION counter();
CREATE TRIGGER upd AFTER UPDATE ON counted REFERENCING NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION counter();
INSERT INTO counted VALUES (1, 1, 1), (2, 2, 2);
SELECT ok(count(*) > 0, 'counted') FROM offsync.enable('counted');
DELETE FROM counts;
SELECT offsync.push_changes('{"counted": {"updated": [{"id": "1", "a": 5}, {"id": "2", "b": 6}], "created": [{"id": "3", "a": 1}, {"id": "4", "b": 1}]}}',
	cursor_of('counted')) IS NULL AS x \g /dev/null
SELECT is((SELECT string_agg(op || n, ',' ORDER BY op) FROM (SELECT op, sum(n) AS n FROM counts GROUP BY op) s), 'INSERT2,UPDATE2', 'transition tables');

-- Rows that refer to each other
CREATE TABLE ring (id int PRIMARY KEY, p int REFERENCES ring);
CREATE TABLE egg (id int PRIMARY KEY, o int);
CREATE TABLE hen (id int PRIMARY KEY, o int REFERENCES egg DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE egg ADD FOREIGN KEY (o) REFERENCES hen DEFERRABLE INITIALLY DEFERRED;
SELECT ok(count(*) > 0, t) FROM unnest('{ring,egg,hen}'::text[]) t, offsync.enable(t::regclass) GROUP BY t;
SELECT lives_ok($$SELECT push('ring', 'created', '[{"id": "1", "p": 2}, {"id": "2", "p": 3}, {"id": "3", "p": 1}]')$$, 'a ring');
SELECT lives_ok($$SELECT push('ring', 'deleted', '["1", "2", "3"]', cursor_of('ring'))$$, 'and gone');
SELECT lives_ok($$SELECT offsync.push_changes('{"egg": {"created": [{"id": "1", "o": 1}]}, "hen": {"created": [{"id": "1", "o": 1}]}}')$$, 'a deferrable cycle');
SELECT throws_ok($$SELECT push('egg', 'updated', '[{"id": "1", "o": 5}]', cursor_of('egg'))$$, '23503', NULL, 'that is checked before the push answers');
SELECT lives_ok($$SELECT offsync.push_changes('{"egg": {"deleted": ["1"]}, "hen": {"deleted": ["1"]}}', cursor_of('egg', 'hen'))$$, 'and gone');

-- A domain over char(n): the type by itself would be one character
CREATE DOMAIN code AS char(4);
CREATE TABLE coded (id code PRIMARY KEY, v text);
INSERT INTO coded VALUES ('ab', 'x'), ('ac', 'y');
SELECT ok(count(*) > 0, 'coded') FROM offsync.enable('coded');
SELECT c ->> 'cursor' AS c FROM offsync.pull_changes(NULL, '{coded}') c \gset
DELETE FROM coded WHERE id = 'ab';
SELECT is(news(:'c', 'coded'), ' /  / ab  ', 'a deleted row beside one whose key begins alike');

-- A record alone, again and again by one session: its plans are kept, while columns change
CREATE TABLE lone (id int PRIMARY KEY, n int, v varchar(3));
SELECT ok(count(*) > 0, 'lone') FROM offsync.enable('lone', conflict => 'client_wins');
SELECT push('lone', 'created', '[{"id": "1", "n": 1, "v": "abc"}]') IS NULL AS x \g /dev/null
SELECT push('lone', 'updated', '[{"id": "1", "n": 2, "v": "ab"}]') IS NULL AS x \g /dev/null
ALTER TABLE lone ALTER n TYPE bigint, ALTER v TYPE text;
SELECT push('lone', 'created', '[{"id": "2", "n": 3000000001, "v": "abcd"}]') IS NULL AS x \g /dev/null
SELECT push('lone', 'updated', '[{"id": "1", "n": 3000000002, "v": "abcde"}]') IS NULL AS x \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', id, n, v), ', ' ORDER BY id) FROM lone), '1 3000000002 abcde, 2 3000000001 abcd', 'a wider column');
ALTER TABLE lone ALTER n TYPE text;
SELECT push('lone', 'updated', '[{"id": "1", "n": "x"}]') IS NULL AS x \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', id, n), ', ' ORDER BY id) FROM lone), '1 x, 2 3000000001', 'and one of another type');

-- A key whose collation is neither the default nor its type's own
CREATE DOMAIN posix AS text COLLATE "POSIX";
CREATE TABLE collated (id posix COLLATE "C" PRIMARY KEY, v text COLLATE "C", w posix COLLATE "C");
SELECT ok(count(*) > 0, 'collated') FROM offsync.enable('collated');
SELECT push('collated', 'created', '[{"id": "a", "v": "x", "w": "x"}]', cursor_of('collated')) IS NULL AS x \g /dev/null
SELECT push('collated', 'created', '[{"id": "b", "v": "x", "w": "x"}]', cursor_of('collated')) IS NULL AS x \g /dev/null
SELECT push('collated', 'updated', '[{"id": "a", "v": "y", "w": "y"}]', cursor_of('collated')) IS NULL AS x \g /dev/null
SELECT cursor_of('collated') AS c \gset
SELECT push('collated', 'deleted', '["b"]', :'c') IS NULL AS x \g /dev/null
SELECT is((SELECT string_agg(id || v || w, ',') FROM collated), 'ayy', 'written, each alone');
SELECT throws_ok(format($$SELECT push('collated', 'created', '[{"id": "b", "v": "z"}]', %L)$$, :'c'), 'PT409', NULL,
	'its tombstone is found');

-- What is synced is known to a session that has looked before: others come and go, and those that were undone never were
BEGIN;
CREATE TABLE passing (id int PRIMARY KEY);
SELECT offsync.enable('passing') IS NULL AS x \g /dev/null
SELECT lives_ok($$SELECT push('passing', 'created', '[{"id": "1"}]')$$, 'enabled by this transaction');
SAVEPOINT s;
SELECT offsync.disable('passing') IS NULL AS x \g /dev/null
SELECT throws_ok($$SELECT push('passing', 'created', '[{"id": "2"}]')$$, 'PT404');
ROLLBACK TO s;
SELECT lives_ok($$SELECT push('passing', 'created', '[{"id": "2"}]')$$, 'still enabled');
ROLLBACK;
SELECT throws_ok($$SELECT push('passing', 'created', '[{"id": "1"}]')$$, 'PT404');

-- Disabled, changed, and enabled again: no cursor from before is followed
CREATE TABLE paused (id int PRIMARY KEY, v text);
INSERT INTO paused VALUES (1, 'a'), (2, 'b');
SELECT ok(count(*) > 0, 'paused') FROM offsync.enable('paused');
SELECT c ->> 'cursor' AS c, c ->> 'timestamp' AS ts FROM offsync.pull_changes(NULL, '{paused}') c \gset
SELECT offsync.disable('paused', false) IS NULL AS x \g /dev/null
UPDATE paused SET v = 'c' WHERE id = 1;
DELETE FROM paused WHERE id = 2;
SELECT throws_ok(format($$SELECT offsync.pull_changes(%L, '{paused}')$$, :'c'), 'PT404');
SELECT ok(count(*) > 0, 'enabled again') FROM offsync.enable('paused');
SELECT is(news(:'c', 'paused'), ' / 1 /  / replacement', 'the cursor from before');
SELECT is(news(:'ts', 'paused'), ' / 1 /  / replacement', 'the number from before');

DROP OWNED BY offsync_shapes;
DROP SCHEMA shapes, "My; ""Sch'ema" CASCADE;
DROP ROLE offsync_shapes;
SELECT is((SELECT count(*) FROM offsync.status WHERE tbl::text ~ 'shapes'), 0::bigint, 'dropped tables are forgotten');
SELECT * FROM finish();
