-- conflict => 'field_lww': the later write of each field, by hybrid logical clocks.  FIELDS_SEED sets another run of the random part.
\ir begin.psql
CREATE SCHEMA fields;
SET search_path = fields, public;
\getenv seed FIELDS_SEED
\if :{?seed}
\else
SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint % 100000 AS seed \gset
\endif
\echo # FIELDS_SEED=:seed
SELECT no_plan();

CREATE FUNCTION push(collection text, records json, c text DEFAULT NULL, list text DEFAULT 'updated', on_error text DEFAULT 'abort') RETURNS json LANGUAGE sql VOLATILE
	AS $$SELECT offsync.push_changes(json_build_object(collection, json_build_object(list, records)), c, on_error => on_error, dialect => 'json')$$;
CREATE FUNCTION pull(collection text, c text DEFAULT NULL) RETURNS json LANGUAGE sql VOLATILE
	AS $$SELECT offsync.pull_changes(c, ARRAY[collection], dialect => 'json')$$;
-- clocks: of the fields alone
CREATE FUNCTION stamps(clocks text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT array_to_string(clocks[1:1] || clocks[3:], ' ')$$;
CREATE FUNCTION clock_of(clocks text[], field text) RETURNS text LANGUAGE sql IMMUTABLE
	AS $$SELECT coalesce(clocks[array_position(clocks[3:], field) + 3], clocks[1])$$;
-- so many milliseconds ago (or ahead)
CREATE FUNCTION ago(ms bigint, node text DEFAULT 'd1', count text DEFAULT '0') RETURNS text LANGUAGE sql VOLATILE
	AS $$SELECT (floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint - ms) || ':' || count || ':' || node$$;

CREATE TABLE note (id text PRIMARY KEY, title text, body text, n int, deleted_at timestamptz);
SELECT FROM offsync.enable('note', conflict => 'field_lww', soft_delete => 'deleted_at') \g /dev/null
CREATE FUNCTION state(prefix text DEFAULT '') RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(concat_ws('|', substr(id, length(prefix) + 1), title, body, n, deleted_at IS NOT NULL, stamps(server_clocks)), E'\n' ORDER BY id)
	FROM note WHERE starts_with(id, prefix)$$;

-- ---------------------------------------------------------------------------
-- One field after the other
-- ---------------------------------------------------------------------------
SELECT push('note', '[{"id":"a","title":"five","n":5,"_clock":"1700000000010:0:d1"}]') \g /dev/null
SELECT is(stamps(server_clocks), '001700000000010:00000:d1 body 000000000000000:00000: deleted_at 000000000000000:00000:',
	'the clock is that of all that was sent; of what was not there is none') FROM note;
SELECT push('note', '[{"id":"a","body":"early","_clock":"1600000000000:0:d2"}]') \g /dev/null
SELECT is((SELECT body FROM note), 'early', 'an old write of a field that nobody has written yet');
SELECT push('note', '[{"id":"a","title":"four","body":"late","_clocks":{"title":"1700000000009:zz:d2","body":"2024-01-01T00:00:00.000Z-0001-d2"}}]') AS answer \gset
SELECT is((SELECT concat_ws(' ', title, body, clock_of(server_clocks, 'body')) FROM note), 'five late 001704067200000:00001:d2', 'each field by its own clock, in either form');
SELECT is(:'answer'::json #>> '{changes,note,updated,0,title}', 'five', 'and the device is told what is stored');
SELECT push('note', '[{"id":"a","title":"one","_clock":"1700000000010:0:d0"}]') \g /dev/null
SELECT is((SELECT title FROM note), 'five', 'of the same time, the lesser node loses');
SELECT push('note', '[{"id":"a","title":"nine","_clock":"1700000000010:0:d9"}]') \g /dev/null
SELECT is((SELECT title FROM note), 'nine', 'and the greater one wins');
SELECT push('note', '[{"id":"a","title":"ten","_clock":"1700000000009:0:d9","_clocks":{"title":"1700000000010:1:d0"}}]') \g /dev/null
SELECT is((SELECT title FROM note), 'ten', '_clocks counts before _clock');
SELECT push('note', '[{"id":"a","title":null,"n":null,"_clock":"1700000000011:0:d1"}]') \g /dev/null
SELECT is((SELECT concat_ws(' ', coalesce(title, '-'), coalesce(n::text, '-')) FROM note), '- -', 'NULL is a value');
SELECT push('note', '[{"id":"a","title":"t","body":"b","n":1,"_changed":"n","_clock":"1710000000000:0:d1"}]') \g /dev/null
SELECT is((SELECT concat_ws(' ', coalesce(title, '-'), body, n) FROM note), '- late 1', 'of a record with _changed only that is written');

-- resent: nothing moves
SELECT server_version AS v, xmin AS x FROM note \gset
SELECT push('note', '[{"id":"a","title":"t","body":"b","n":1,"_changed":"n","_clock":"1710000000000:0:d1"}]') \g /dev/null
SELECT push('note', '[{"id":"a","n":2,"_clock":"1700000000000:0:d1"}]') \g /dev/null
SELECT push('note', '[{"id":"a","n":1,"_clock":"1600000000000:0:d1"}]') \g /dev/null
SELECT is((SELECT (server_version, xmin)::text FROM note), (:v, :x)::text, 'an equal or older clock changes nothing');

-- the same value by a later clock is a write
SELECT push('note', '[{"id":"a","n":1,"_clock":"1710000000020:0:d1"}]') \g /dev/null
SELECT ok((SELECT server_version > :v AND server_column_versions[cardinality(server_column_versions)] = server_version || ' n' FROM note),
	'the same value by a later clock moves the version, and its field''s');
SELECT push('note', '[{"id":"a","n":7,"_clock":"1710000000015:0:d2"}]') \g /dev/null
SELECT is((SELECT n FROM note), 1, 'and what was written in between loses');

-- a value that the device can't hold exactly stays
UPDATE note SET deleted_at = '2024-01-01 00:00:00.123456Z';
SELECT offsync.push_changes(json_build_object('note', json_build_object('updated',
	json_build_array(json_build_object('id', 'a', 'deleted_at', 1704067200123, '_clock', ago(-100)))))) \g /dev/null
SELECT is((SELECT deleted_at AT TIME ZONE 'UTC' FROM note), '2024-01-01 00:00:00.123456', 'the clock goes up, and microseconds stay');
SELECT ok((SELECT clock_of(server_clocks, 'deleted_at') LIKE '%:d1' FROM note), 'by the device''s clock');
UPDATE note SET deleted_at = NULL;

-- ---------------------------------------------------------------------------
-- Writers without clocks come now
-- ---------------------------------------------------------------------------
UPDATE note SET n = 100;
SELECT ok((SELECT clock_of(server_clocks, 'n') ~ ':server$' AND clock_of(server_clocks, 'body') ~ ':d2$' FROM note), 'psql writes by the server''s clock, and that field alone');
SELECT push('note', json_build_array(json_build_object('id', 'a', 'n', 50, '_clock', ago(3600000)))) \g /dev/null
SELECT is((SELECT n FROM note), 100, 'what a device wrote before loses');
SELECT push('note', json_build_array(json_build_object('id', 'a', 'n', 51, '_clock', ago(-50000)))) \g /dev/null
SELECT is((SELECT n FROM note), 51, 'and what it wrote later wins, its clock being somewhat ahead');
UPDATE note SET n = 101;
SELECT push('note', json_build_array(json_build_object('id', 'a', 'n', 52, '_clock', ago(-4000)))) \g /dev/null
SELECT is((SELECT n FROM note), 101, 'the server''s next write is later than that, too');
SELECT push('note', '[{"id":"a","n":60,"body":"mine","_changed":"n"}]') \g /dev/null
SELECT is((SELECT concat_ws(' ', n, body) FROM note), '60 late', 'a device without a clock: what it changed wins, whatever it has seen');
UPDATE note SET server_clocks = '{9000000000000:0:evil,""}';
SELECT ok((SELECT server_clocks::text !~ 'evil' FROM note), 'nobody forges clocks');
UPDATE note SET server_clocks = '{9000000000000:0:evil,""}', n = 61;
SELECT ok((SELECT server_clocks::text !~ 'evil' FROM note), 'nor with a change');
INSERT INTO note (id, server_clocks) VALUES ('f', '{9000000000000:0:evil,""}');
SELECT ok((SELECT server_clocks IS NULL FROM note WHERE id = 'f'), 'nor with a new row');
SELECT push('note', json_build_array(json_build_object('id', 'f', 'title', 'old', '_clock', ago(60000)), json_build_object('id', 'f', 'n', 3, '_clock', ago(-10)))) \g /dev/null
SELECT is((SELECT concat_ws(' ', coalesce(title, '-'), n) FROM note WHERE id = 'f'), '- 3', 'a row of the server''s is as old as its server_updated_at');
SELECT is(pull('note')::text !~ 'server_clocks|server_column', true, 'clocks don''t travel');

-- ---------------------------------------------------------------------------
-- A device that has seen the row, and dates its change earlier, gets it once more; others as ever
-- ---------------------------------------------------------------------------
SELECT pull('note') ->> 'cursor' AS c \gset
SELECT push('note', '[{"id":"f","n":99,"_clock":"1700000000000:0:slow"}]', :'c') ->> 'cursor' AS c2 \gset
SELECT is((SELECT array_agg(r ->> 'n') FROM json_array_elements(pull('note', :'c2') #> '{changes,note,updated}') r), '{3}', 'the next pull brings the row that it had');
SELECT pull('note', :'c2') ->> 'cursor' AS c3 \gset
SELECT is((pull('note', :'c3') -> 'changes')::jsonb, '{"note":{"created":[],"updated":[],"deleted":[]}}', 'once');
SELECT push('note', json_build_array(json_build_object('id', 'f', 'n', 4, '_clock', ago(-100))), :'c3') ->> 'cursor' AS c4 \gset
SELECT is((pull('note', :'c4') -> 'changes')::jsonb, '{"note":{"created":[],"updated":[],"deleted":[]}}', 'what is stored as it was sent doesn''t come back');
UPDATE note SET title = 'unseen' WHERE id = 'f';
SELECT push('note', json_build_array(json_build_object('id', 'f', 'title', 'lost', '_clock', ago(60000))), :'c4') ->> 'cursor' AS c5 \gset
SELECT is((SELECT array_agg(r ->> 'title') FROM json_array_elements(pull('note', :'c5') #> '{changes,note,updated}') r), '{unseen}', 'what beat it comes');

-- ---------------------------------------------------------------------------
-- Clocks that are none, or ahead
-- ---------------------------------------------------------------------------
SELECT throws_ok($$SELECT push('note', '[{"id":"a","n":1,"_clock":"yesterday"}]')$$, 'PT400', 'malformed clock');
SELECT throws_ok($$SELECT push('note', '[{"id":"a","n":1,"_clock":"1700000000000:0:"}]')$$, 'PT400', 'malformed clock', 'a clock of nobody''s');
SELECT throws_ok($$SELECT push('note', '[{"id":"a","n":1,"_clock":1700000000000}]')$$, 'PT400', 'malformed clock');
SELECT throws_ok($$SELECT push('note', '[{"id":"a","n":1,"_clocks":{"n":"x"}}]')$$, 'PT400', 'malformed clock');
SELECT throws_ok($$SELECT push('note', '[{"id":"a","n":1,"_clocks":["x"]}]')$$, 'PT400', '"_clocks" must be an object');
SELECT lives_ok($$SELECT push('note', '[{"id":"a","n":1,"_clock":null,"_clocks":null}]')$$, 'null is none');
SELECT lives_ok($$SELECT push('note', '[{"id":"a","_clocks":{"nothing":"1:0:d","n":"1:0:d"}}]')$$, 'clocks of what isn''t there');
SELECT throws_ok($$SELECT push('note', json_build_array(json_build_object('id', 'a', 'n', 2, '_clock', ago(-90000))))$$, 'PT400',
	'clock ahead of the server''s by more than 60000 ms', 'a minute ahead is too much');
SELECT push('note', json_build_array(json_build_object('id', 'a', 'n', 2, '_clock', ago(-90000)), json_build_object('id', 'g', 'n', 2, '_clock', ago(0))), on_error => 'skip') AS answer \gset
SELECT is((:'answer'::jsonb -> 'experimentalRejectedIds')::text || (:'answer'::jsonb #>> '{rejected,0,reason}'),
	'{"note": ["a"]}clock ahead of the server''s by more than 60000 ms', 'of several, that one alone is refused');
SELECT is((SELECT n FROM note WHERE id = 'g'), 2, 'and the others are stored');
SET offsync.max_clock_drift = '5min';
SELECT push('note', json_build_array(json_build_object('id', 'a', 'n', 3, '_clock', ago(-90000)))) \g /dev/null
SELECT is((SELECT n FROM note WHERE id = 'a'), 3, 'unless offsync.max_clock_drift allows it');
RESET offsync.max_clock_drift;

-- other strategies don't look at clocks, and don't call them unknown
CREATE TABLE plain (id text PRIMARY KEY, n int);
SELECT FROM offsync.enable('plain') \g /dev/null
SELECT is(push('plain', '[{"id":"a","n":1,"_clock":"nonsense","_clocks":7}]')::jsonb, '{"timestamp":null,"cursor":null,"applied":{"plain":{"created":0,"updated":1,"deleted":0}}}',
	'elsewhere they are ignored in silence');
SELECT ok(NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'plain'::regclass AND attname IN ('server_clocks', 'server_column_versions')), 'and no column is added');

-- ---------------------------------------------------------------------------
-- Deletions
-- ---------------------------------------------------------------------------
TRUNCATE note;
SELECT push('note', '[{"id":"d","title":"t","_clock":"1700000000000:0:d1"}]') \g /dev/null
SELECT push('note', '[{"id":"d","_clock":"1700000000005:0:d1"}]', list => 'deleted') \g /dev/null
SELECT is(state(), 'd|t|t|000000000000000:00000: title 001700000000000:00000:d1 deleted_at 001700000000005:00000:d1', 'a deletion by a clock is a write of one field');
SELECT push('note', '[{"id":"d","title":"u","_clock":"1700000000009:0:d2"}]') \g /dev/null
SELECT is((SELECT concat_ws(' ', title, deleted_at IS NULL) FROM note), 'u f', 'others are merged into the deleted row');
SELECT push('note', '[{"id":"d","deleted_at":null,"_clock":"1700000000004:0:d2"}]') \g /dev/null
SELECT is((SELECT deleted_at IS NULL FROM note), false, 'an undeletion from before it');
SELECT push('note', '[{"id":"d","_clock":"1700000000020:0:d1"}]', list => 'deleted') \g /dev/null
SELECT push('note', '[{"id":"d","deleted_at":null,"_clock":"1700000000010:0:d2"}]') \g /dev/null
SELECT is((SELECT deleted_at IS NULL FROM note), false, 'deleted once more, later: an undeletion in between loses');
SELECT push('note', '[{"id":"d","deleted_at":null,"_clock":"1700000000030:0:d2"}]') \g /dev/null
SELECT is((SELECT deleted_at IS NULL FROM note), true, 'and a later one wins');
SELECT pull('note') ->> 'cursor' AS c \gset
SELECT push('note', '[{"id":"d","_clock":"1700000000025:0:d1"}]', :'c', 'deleted') ->> 'cursor' AS c \gset
SELECT is((SELECT array_agg(r ->> 'id') FROM json_array_elements(pull('note', :'c') #> '{changes,note,updated}') r), '{d}', 'a deletion that is too old: its device gets the row back');
SELECT push('note', '["d"]', list => 'deleted') \g /dev/null
SELECT is((SELECT concat_ws(' ', deleted_at IS NULL, clock_of(server_clocks, 'deleted_at') ~ 'server$') FROM note), 'f t', 'a deletion without a clock comes now');
SELECT push('note', '[{"id":"d","title":"blind"}]') \g /dev/null
SELECT is((SELECT concat_ws(' ', title, deleted_at IS NULL) FROM note), 'blind f', 'a device that doesn''t know of the deletion doesn''t bring the row back');
SELECT pull('note') ->> 'cursor' AS c \gset
SELECT push('note', '[{"id":"d","title":"again"}]', :'c', 'created') \g /dev/null
SELECT is((SELECT concat_ws(' ', title, deleted_at IS NULL) FROM note), 'again t', 'one that knows does');

-- Drift devices, too, which have no clocks and name what they delete: that comes now, and wins over what else they say of it
TRUNCATE note;
INSERT INTO note (id, title) SELECT 'r' || i, 't' FROM generate_series(1, 7) i;
SELECT offsync.drift_push('{"note":{"deleted":["r1"]}}', now()::text) \g /dev/null
SELECT offsync.drift_push('{"note":{"updated":[{"id":"r2","title":"u","_clock":"1700000000000:0:d1"}],"deleted":["r2"]}}', now()::text) \g /dev/null
SELECT offsync.drift_push('{"note":{"updated":[{"id":"r3","title":"u","deleted_at":null}],"deleted":["r3"]}}', now()::text) \g /dev/null
SELECT offsync.drift_push('{"note":{"updated":[{"id":"r4","title":"u","deleted_at":"2024-01-01T00:00:00Z"}],"deleted":["r4"]}}', now()::text) \g /dev/null
SELECT offsync.drift_push('{"note":{"updated":[{"id":"r5","title":"u","deleted_at":"2024-01-01T00:00:00Z","_clock":"1700000000000:0:d1"}]}}', now()::text) \g /dev/null
SELECT offsync.drift_push(json_build_object('note', json_build_object('updated', json_build_array(json_build_object('id', 'r6', 'deleted_at', NULL, '_clock', ago(-100))), 'deleted', '["r6"]'::json)), now()::text) \g /dev/null
SELECT offsync.drift_push('{"note":{"created":[{"id":"r8","title":"u","_clock":"1700000000000:0:d1"}],"deleted":["r8"]}}', now()::text) \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', id, title, deleted_at IS NOT NULL, clock_of(server_clocks, 'deleted_at') ~ 'server$'), ', ' ORDER BY id) FROM note),
	'r1 t t t, r2 t t t, r3 u t t, r4 u t t, r5 t f, r6 t t t, r7 t f, r8 u t t', 'what a Drift device deletes is deleted, unless it says by a clock that this was long ago');
SELECT offsync.drift_push(json_build_object('note', json_build_object('deleted', json_build_array(json_build_object('id', id, 'server_version', server_version)))), now()::text) FROM note WHERE id = 'r1' \g /dev/null
SELECT is((SELECT deleted_at IS NOT NULL FROM note WHERE id = 'r1'), true, 'and stays deleted when it is deleted once more');

CREATE TABLE hard (id text PRIMARY KEY, n int);
SELECT FROM offsync.enable('hard', conflict => 'field_lww') \g /dev/null
SELECT push('hard', '[{"id":"h","n":1,"_clock":"1700000000000:0:d1"}]') \g /dev/null
SELECT push('hard', '["h"]', list => 'deleted') \g /dev/null
SELECT push('hard', json_build_array(json_build_object('id', 'h', 'n', 2, '_clock', ago(0)))) AS answer \gset
SELECT is((SELECT count(*) FROM hard), 0::bigint, 'what is gone for good stays gone');
SELECT is(:'answer'::json #>> '{changes,hard,deleted,0}', 'h', 'and the device is told');

-- ---------------------------------------------------------------------------
-- What a trigger of the owner's makes of it is the server's
-- ---------------------------------------------------------------------------
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.loud = upper(NEW.loud); NEW.sum = coalesce(NEW.a, 0) + 1; RETURN NEW; END$$;
CREATE TABLE shouted (id text PRIMARY KEY, loud text, a int, sum int);
CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON shouted FOR EACH ROW EXECUTE FUNCTION shout();
SELECT FROM offsync.enable('shouted', conflict => 'field_lww') \g /dev/null
SELECT push('shouted', '[{"id":"s","loud":"hey","a":1,"_clock":"1700000000000:0:d1"}]') \g /dev/null
SELECT is((SELECT concat_ws(' ', loud, clock_of(server_clocks, 'loud') ~ ':server$', clock_of(server_clocks, 'a')) FROM shouted), 'HEY t 001700000000000:00000:d1',
	'a value that a trigger changes is a later write');
SELECT push('shouted', '[{"id":"s","a":2,"_clock":"1700000000001:0:d1"}]') \g /dev/null
SELECT is((SELECT concat_ws(' ', sum, clock_of(server_clocks, 'sum') ~ ':server$', clock_of(server_clocks, 'a')) FROM shouted), '3 t 001700000000001:00000:d1', 'so is a field that wasn''t sent');

-- ---------------------------------------------------------------------------
-- Any order, any grouping, any number of times: the same rows
-- ---------------------------------------------------------------------------
SELECT setseed((:seed % 1000) / 1000.0) \g /dev/null
CREATE TABLE written (i int PRIMARY KEY, id text, record jsonb);
CREATE FUNCTION make_writes(count int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	r jsonb;
	by_columns jsonb;
BEGIN
	DELETE FROM written;
	FOR k IN 1 .. count LOOP
		r = jsonb_build_object('id', chr(97 + floor(random() * 3)::int));
		IF random() < 0.6 THEN r = r || jsonb_build_object('title', (ARRAY['x', 'y', '', NULL])[1 + floor(random() * 4)::int]); END IF;
		IF random() < 0.5 THEN r = r || jsonb_build_object('body', k::text); END IF;
		IF random() < 0.5 THEN r = r || jsonb_build_object('n', floor(random() * 3)::int); END IF;
		IF random() < 0.2 THEN r = r || jsonb_build_object('deleted_at', CASE WHEN random() < 0.5 THEN '2024-01-01T00:00:00Z' END); END IF;
		by_columns = to_jsonb(format('%s:%s:%s', 1700000000000 + floor(random() * 5)::int, k, (ARRAY['d1', 'd2', 'D3'])[1 + floor(random() * 3)::int]));
		IF random() < 0.3 THEN
			r = r || jsonb_build_object('_clocks', (SELECT coalesce(jsonb_object_agg(f, by_columns), '{}') FROM jsonb_object_keys(r - 'id') f));
		ELSE
			r = r || jsonb_build_object('_clock', by_columns);
		END IF;
		INSERT INTO written VALUES (k, r ->> 'id', r);
	END LOOP;
END$$;

-- Push all of them in a random order, in groups of up to so many, some again, for new rows; answer what is stored then.
CREATE SEQUENCE plays;
CREATE FUNCTION play(most int, again float) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	prefix text = 'run' || nextval('plays') || '-';
	todo int[];
	size int;
BEGIN
	todo = ARRAY(SELECT i FROM (SELECT i FROM written UNION ALL SELECT i FROM written WHERE random() < again) w ORDER BY random());
	WHILE cardinality(todo) > 0 LOOP
		size = 1 + floor(random() * most)::int;
		PERFORM push('note', (SELECT json_agg(w.record || jsonb_build_object('id', prefix || w.id) ORDER BY o) FROM unnest(todo[:size]) WITH ORDINALITY t(i, o) JOIN written w USING (i)),
			list => (ARRAY['created', 'updated'])[1 + floor(random() * 2)::int]);
		todo = todo[size + 1:];
	END LOOP;
	RETURN state(prefix);
END$$;

-- What the records say without any server: of each field the value by the latest clock.
CREATE FUNCTION oracle() RETURNS text LANGUAGE sql STABLE AS $$
	WITH said AS (
		SELECT w.id, f.key AS field, f.value,
			string_to_array(coalesce(w.record ->> '_clock', w.record #>> ARRAY['_clocks', f.key]), ':') AS c
		FROM written w, jsonb_each_text(w.record) f WHERE f.key NOT IN ('id', '_clock', '_clocks')),
	won AS (SELECT DISTINCT ON (id, field) id, field, value FROM said
		ORDER BY id, field, c[1]::bigint DESC, (
			SELECT sum((strpos('0123456789abcdefghijklmnopqrstuvwxyz', d) - 1) * 36 ^ (length(c[2]) - o)) FROM regexp_split_to_table(c[2], '') WITH ORDINALITY x(d, o)) DESC, c[3] COLLATE "C" DESC)
	SELECT string_agg(concat_ws('|', id,
		(SELECT value FROM won x WHERE x.id = r.id AND field = 'title'), (SELECT value FROM won x WHERE x.id = r.id AND field = 'body'),
		(SELECT value FROM won x WHERE x.id = r.id AND field = 'n'),
		EXISTS (SELECT FROM won x WHERE x.id = r.id AND field = 'deleted_at' AND value IS NOT NULL)), E'\n' ORDER BY id)
	FROM (SELECT DISTINCT id FROM written) r$$;
CREATE FUNCTION values_only(state text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(regexp_replace(l, '\|[^|]*$', ''), E'\n' ORDER BY o) FROM regexp_split_to_table(state, E'\n') WITH ORDINALITY x(l, o)$$;
CREATE TABLE played (round int, state text, expected text);
DO $$
BEGIN
	FOR round IN 1 .. 12 LOOP
		PERFORM make_writes(4 + 3 * round);
		INSERT INTO played SELECT round, play(1, 0), oracle();
		INSERT INTO played SELECT round, play(1, 0.5), oracle();
		INSERT INTO played SELECT round, play(4, 0.3), oracle();
		INSERT INTO played SELECT round, play(50, 1), oracle();
	END LOOP;
END$$;
SELECT is((SELECT string_agg(format('round %s: %s | expected %s', round, values_only(state), expected), E'\n') FROM played WHERE values_only(state) IS DISTINCT FROM expected), NULL,
	'in any order: of each field the value by the latest clock');
SELECT is((SELECT string_agg(round::text, ' ') FROM (SELECT round FROM played GROUP BY round HAVING count(DISTINCT state) > 1) d), NULL, 'and the clocks are the same, too');

-- ---------------------------------------------------------------------------
-- Two devices offline for a month, edits of others meanwhile
-- ---------------------------------------------------------------------------
TRUNCATE note;
SELECT push('note', json_build_array(json_build_object('id', 'm', 'title', 'plan', 'body', 'b', 'n', 1, '_clock', ago(40 * 86400000::bigint, 'phone'))), list => 'created') \g /dev/null
SELECT pull('note') ->> 'cursor' AS c \gset
\set day 86400000::bigint
-- somebody changes the body on the server; both devices come back, the one that wrote first last
UPDATE note SET body = 'server';
SELECT push('note', json_build_array(json_build_object('id', 'm', 'title', 'tablet', 'body', 'tablet', '_clocks',
	json_build_object('title', ago(5 * :day, 'tablet'), 'body', ago(6 * :day, 'tablet')))), :'c') ->> 'cursor' AS tablet \gset
SELECT push('note', json_build_array(json_build_object('id', 'm', 'title', 'phone', 'n', 2, '_clocks',
	json_build_object('title', ago(10 * :day, 'phone'), 'n', ago(20 * :day, 'phone')))), :'c') ->> 'cursor' AS phone \gset
SELECT is((SELECT concat_ws(' ', title, body, n) FROM note), 'tablet server 2', 'field by field, however late they come');
SELECT is(pull('note', :'phone') #> '{changes,note,updated,0}' ->> 'title', 'tablet', 'the first gets what beat it');
SELECT is((SELECT concat_ws(' ', r ->> 'body', r ->> 'n') FROM json_array_elements(pull('note', :'tablet') #> '{changes,note,updated}') r), 'server 2', 'and so does the other');

-- ---------------------------------------------------------------------------
-- The table: existing rows, other columns, partitions, and away again
-- ---------------------------------------------------------------------------
CREATE TABLE old (id text PRIMARY KEY, a int, b int);
INSERT INTO old VALUES ('o', 1, 1);
SELECT FROM offsync.enable('old', conflict => 'field_lww') \g /dev/null
SELECT push('old', json_build_array(json_build_object('id', 'o', 'a', 2, '_clock', ago(60000)), json_build_object('id', 'o', 'b', 2, '_clock', ago(-1000)))) \g /dev/null
SELECT is((SELECT concat_ws(' ', a, b) FROM old), '1 2', 'rows that were there are of the time of enable');
ALTER TABLE old RENAME a TO aa;
SELECT push('old', json_build_array(json_build_object('id', 'o', 'aa', 3, '_clock', ago(3600000)))) \g /dev/null
SELECT is((SELECT aa FROM old), 1, 'a renamed column isn''t younger');
UPDATE old SET b = 5;
ALTER TABLE old RENAME b TO bb;
SELECT push('old', json_build_array(json_build_object('id', 'o', 'bb', 6, '_clock', ago(60000)))) \g /dev/null
SELECT is((SELECT bb FROM old), 5, 'nor is one that was written since');
ALTER TABLE old ADD c int, DROP aa;
SELECT push('old', json_build_array(json_build_object('id', 'o', 'c', 7, '_clock', ago(-2000)))) \g /dev/null
SELECT is((SELECT c FROM old), 7, 'a new column');
SELECT throws_like($$SELECT offsync.enable('old', conflict => 'merge')$$, '%with other options%', 'another strategy is another table: it is disabled first');
SELECT offsync.disable('old') \g /dev/null
SELECT is((SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'old'::regclass AND attnum > 0 AND NOT attisdropped), '{id,bb,c}', 'disable leaves nothing behind');
SELECT FROM offsync.enable('old', conflict => 'merge') \g /dev/null
SELECT push('old', json_build_array(json_build_object('id', 'o', 'c', 8, '_clock', '1:0:d')), pull('old') ->> 'cursor') \g /dev/null
SELECT is((SELECT c FROM old), 8, 'under another strategy clocks decide nothing');
SELECT offsync.disable('old') \g /dev/null
SELECT FROM offsync.enable('old', conflict => 'field_lww') \g /dev/null
SELECT push('old', json_build_array(json_build_object('id', 'o', 'c', 9, '_clock', '1:0:d'))) \g /dev/null
SELECT is((SELECT c FROM old), 8, 'and under this one again');
SELECT throws_like('ALTER TABLE old DROP server_clocks', '%cannot drop or rename column "server_clocks"%', 'the column can''t be dropped');
SELECT is((SELECT string_agg(c::text, E'\n') FROM offsync.check() c WHERE c::text ~ 'fields\.'), NULL, 'check() finds nothing wrong');

CREATE TABLE parted (region text, id text, a int, b int, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE parted_eu (b int, id text NOT NULL, region text NOT NULL, gone int, a int);
ALTER TABLE parted_eu DROP gone;
ALTER TABLE parted ATTACH PARTITION parted_eu FOR VALUES IN ('eu');
SELECT FROM offsync.enable('parted', conflict => 'field_lww') \g /dev/null
SELECT push('parted', '[{"id":"eu.1","a":1,"b":1,"_clock":"1700000000000:0:d1"}]') \g /dev/null
SELECT push('parted', '[{"id":"eu.1","a":2,"b":2,"_clocks":{"a":"1700000000001:0:d1","b":"1600000000000:0:d1"}}]') \g /dev/null
SELECT is((SELECT concat_ws(' ', a, b, clock_of(server_clocks, 'a'), clock_of(server_clocks, 'b')) FROM parted), '2 1 001700000000001:00000:d1 001700000000000:00000:d1', 'partitions have their own order of columns');

-- Columns that have the names of what records carry beside them
CREATE TABLE named (id text PRIMARY KEY, v text, _clock text, _clocks text);
SELECT FROM offsync.enable('named', conflict => 'field_lww') \g /dev/null
INSERT INTO named VALUES ('a', 'x', 'mine', 'mine');
SELECT push('named', '[{"id":"a","v":"y","_clock":"2026-01-01T00:00:00.000Z-0000-d1"}]') \g /dev/null
SELECT is((SELECT concat_ws(' ', _clock, _clocks) FROM named), 'mine mine', 'clocks are not stored in a column of that name');
SELECT is((SELECT string_agg(k, ' ') FROM json_object_keys(offsync.pull_changes(NULL, collections => '{named}') #> '{changes,named,created,0}') k WHERE k ~ '^_'), NULL, 'nor is it pulled for one');

SELECT count(*) > 0 AS disabled FROM (SELECT offsync.disable(tbl) FROM offsync.status WHERE tbl::text ~ 'fields|note|plain|hard|shouted|parted|named|old') d \g /dev/null
DROP SCHEMA fields CASCADE;
SELECT * FROM finish();
