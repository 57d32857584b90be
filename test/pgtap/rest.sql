-- A REST cache: lists by (updated_at, id), single writes with the time that they started from, batches, paths.
--
-- call() makes a request as a proxy hands it to rest(): method, path and headers; its answer is "status body".  A client's loop is
-- sync(): it goes on behind the last item, whatever the token says, and ends where there is no token and fewer items than it asked for.
\ir begin.psql
SET timezone = 'America/Caracas';
SELECT * FROM no_plan();

CREATE ROLE rest_ann;
CREATE ROLE rest_bob;
CREATE SCHEMA rest_api;
CREATE SCHEMA rest;
GRANT USAGE ON SCHEMA rest_api, rest TO rest_ann, rest_bob;

CREATE TABLE task (id text PRIMARY KEY, owner name NOT NULL DEFAULT current_user, title text, n numeric, tags text[], "updatedAt" text, removed_at timestamptz);
CREATE TABLE line (a int, b text, word text, updated_at timestamptz NOT NULL DEFAULT now(), deleted_at timestamptz, PRIMARY KEY (a, b));
CREATE TABLE num (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word text NOT NULL CHECK (word <> 'bad'));
CREATE TABLE leaf (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), task text REFERENCES task DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON task USING (owner = current_user);
GRANT SELECT, INSERT, UPDATE, DELETE ON task, line, num, leaf TO rest_ann, rest_bob;
SELECT count(*) AS done FROM offsync.enable('task', soft_delete => 'removed_at') \gset
SELECT count(*) AS done FROM offsync.enable('line', soft_delete => 'deleted_at') \gset
SELECT count(*) AS done FROM offsync.enable('num', conflict => 'server_wins') a, offsync.enable('leaf') b \gset

CREATE INDEX ON num (server_updated_at, id);
SELECT is((SELECT string_agg(detail, E'\n' ORDER BY detail COLLATE "C") FROM offsync.expose('rest_api', 'rest') WHERE action <> 'function'),
	E'CREATE INDEX CONCURRENTLY ON public.leaf (server_updated_at, id)\nCREATE INDEX CONCURRENTLY ON public.line (server_updated_at, a, b)\n'
	'CREATE INDEX CONCURRENTLY ON public.task (owner, server_updated_at, id)\nNOTIFY pgrst, ''reload schema''\npublic.leaf: it has no soft_delete column, and of rows that are really deleted these clients never learn\n'
	'public.num: it has no soft_delete column, and of rows that are really deleted these clients never learn', 'expose says what doesn''t suit');
SELECT results_eq($$SELECT proname::text COLLATE "default", provolatile::text, prosecdef, prorettype::regtype::text FROM pg_proc
	WHERE pronamespace = 'rest_api'::regnamespace ORDER BY 1$$, $$VALUES ('rest', 'v', false, 'json'), ('rest_batch', 'v', false, 'json'), ('rest_delete', 'v', false, 'json'),
	('rest_get', 's', false, 'json'), ('rest_health', 's', false, 'json'), ('rest_list', 's', false, 'json'), ('rest_post', 'v', false, 'json'), ('rest_put', 'v', false, 'json')$$,
	'what only reads is STABLE');
SELECT throws_ok($$SELECT offsync.expose('rest_api', 'rest', replace => true, tombstones => 'rows')$$, '22023', NULL, 'the options of others are refused');

CREATE FUNCTION rest.call(line text, body text DEFAULT '', headers jsonb DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	PERFORM set_config('response.status', '', true), set_config('request.headers', (jsonb_build_object('x-original-method', split_part(line, ' ', 1),
		'x-original-uri', '/api' || split_part(line, ' ', 2), 'x-forwarded-prefix', '/api') || headers)::text, true);
	answer := rest_api.rest(body);
	RETURN coalesce(nullif(current_setting('response.status', true), ''), '200') || ' ' || answer;
EXCEPTION WHEN OTHERS THEN
	RETURN format('%s %s', replace(SQLSTATE, 'PT', ''), SQLERRM);
END $$;
-- without what another run has otherwise
CREATE FUNCTION rest.tidy(answer text) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(answer, '"server_[a-z_]+":("[^"]*"|[0-9]+),?', '', 'g'), '"(updated|deleted|removed)_at":"[-0-9T:.]+Z"', '"\1_at":"T"', 'g') $$;
CREATE FUNCTION rest.stamp(line text) RETURNS text LANGUAGE sql AS $$ SELECT substr(rest.call(line), 5)::json ->> 'updated_at' $$;
-- till the clock has gone on by a millisecond, so that what was written is shown
CREATE FUNCTION rest.tick() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	before timestamptz := clock_timestamp();
BEGIN
	WHILE date_trunc('milliseconds', clock_timestamp()) <= before LOOP END LOOP;
END $$;
CREATE TABLE rest.place (since text, after text);
GRANT ALL ON rest.place TO rest_ann, rest_bob;
CREATE FUNCTION rest.sync(kind text, n int, more text DEFAULT '', since text DEFAULT '1970-01-01T00:00:00.000Z') RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	at text := since;
	after text := '';
	answer json;
	item json;
	ids text[] := '{}';
	pages int := 0;
BEGIN
	LOOP
		answer := substr(rest.call(format('GET /%s?updatedSince=%s&limit=%s&includeDeleted=true&afterId=%s&pageToken=x%s', kind, at, n, after, more)), 5);
		FOR item IN SELECT * FROM json_array_elements(answer -> 'items') LOOP
			ids := ids || (item ->> 'id');
			at := item ->> 'updated_at';
			after := item ->> 'id';
		END LOOP;
		EXIT WHEN json_array_length(answer -> 'items') = 0 OR (answer ->> 'nextPageToken' IS NULL AND json_array_length(answer -> 'items') < n);
		IF pages > 1000 THEN RAISE 'no end'; END IF;
		pages := pages + 1;
	END LOOP;
	DELETE FROM rest.place;
	INSERT INTO rest.place VALUES (at, after);
	RETURN ids;
END $$;
ALTER TABLE rest.place OWNER TO rest_ann;
GRANT ALL ON rest.place TO rest_bob;

-- ---------------------------------------------------------------------------
-- Writes
-- ---------------------------------------------------------------------------
SET ROLE rest_ann;
SELECT is(rest.tidy(rest.call('PUT /task/a', '{"title": "one", "n": 1.50, "tags": ["x"], "updated_at": "2001-01-01T00:00:00Z", "updatedAt": "2001", "server_version": 7, "nosuch": 1}')),
	'201 {"id":"a","owner":"rest_ann","title":"one","n":1.50,"tags":["x"],"removed_at":null,"updated_at":"T","deleted_at":null}', 'a new record');
SELECT is((SELECT "updatedAt" FROM task WHERE id = 'a'), NULL, 'what the server says isn''t written');
SELECT matches(rest.stamp('GET /task/a'), '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z$', 'its time has three figures');
SELECT is((SELECT server_updated_at FROM task WHERE id = 'a'), rest.stamp('GET /task/a')::timestamptz, 'and is that of the row, exactly');
SELECT rest.stamp('GET /task/a') AS first \gset
SELECT rest.tick();
SELECT is(rest.tidy(rest.call('PUT /task/a', format('{"title": "two", "_baseUpdatedAt": "%s"}', :'first'))),
	'200 {"id":"a","owner":"rest_ann","title":"two","n":1.50,"tags":["x"],"removed_at":null,"updated_at":"T","deleted_at":null}', 'a change of the row as it is');
SELECT isnt(rest.stamp('GET /task/a'), :'first', 'moves its time');
SELECT is(rest.tidy(rest.call('PUT /task/a', format('{"title": "lost", "_baseUpdatedAt": "%s"}', :'first'))),
	'409 {"error":"conflict","current":{"id":"a","owner":"rest_ann","title":"two","n":1.50,"tags":["x"],"removed_at":null,"updated_at":"T","deleted_at":null}}', 'one of an older row is a conflict, with the row');
SELECT is((SELECT title FROM task WHERE id = 'a'), 'two', 'and nothing is written');
SELECT is(left(rest.call('PUT /task/a', format('{"title": "three", "_baseUpdatedAt": "%s"}', :'first'), '{"x-force-update": "true"}'), 4), '200 ', 'unless it is forced');
SELECT is(left(rest.call('PUT /task/a', '{"title": null}'), 4), '200 ', 'without a time nothing is compared');
SELECT is((SELECT title FROM task WHERE id = 'a'), NULL, 'NULL is written');
SELECT is(rest.call('PUT /task/none', format('{"title": "x", "_baseUpdatedAt": "%s"}', :'first')), '409 {"error":"conflict","current":null}', 'a change of what is gone is a conflict with nothing');
SELECT is(rest.call('GET /task/none'), '404 no such record in collection "task"', 'what is not there');
SELECT is(rest.call('GET /health'), '200 {"status":"ok"}', 'health');

-- an exact base, but in microseconds, or with an offset
SELECT rest.stamp('GET /task/a') AS now \gset
SELECT is(left(rest.call('PUT /task/a', format('{"title": "four", "_baseUpdatedAt": "%s"}', to_char(:'now'::timestamptz AT TIME ZONE '+05' + interval '0.4 ms', 'YYYY-MM-DD"T"HH24:MI:SS.US"-05:00"'))), 4),
	'200 ', 'times are compared in milliseconds');
SELECT is(rest.call('PUT /task/a', '{"title": "x", "_baseUpdatedAt": "yesterday"}'), '400 malformed _baseUpdatedAt', 'what is no time');
SELECT is(rest.call('PUT /task/a', '[1]'), '400 malformed record', 'what is no record');
SELECT is(left(rest.call('PUT /task/a', '{"title'), 6), '22P02 ', 'what is no JSON');

-- ids
SELECT is(rest.tidy(rest.call('POST /num', '{"word": "good"}')), '201 {"id":"1","word":"good","updated_at":"T"}', 'the id is the key''s default');
SELECT is(rest.tidy(rest.call('POST /num/', '{"id": "", "word": "good"}')), '201 {"id":"2","word":"good","updated_at":"T"}', 'an empty one is none');
SELECT matches(rest.tidy(rest.call('POST /task', '{"title": "new"}')), '^201 {"id":"[-0-9a-f]{36}"', 'or a random one');
SELECT matches(rest.tidy(rest.call('POST /leaf', '{}')), '^201 {"id":"[-0-9a-f]{36}"', 'or a default that is');
SELECT is(left(rest.call('POST /task', '{"id": "b", "title": "own"}'), 14), '201 {"id":"b",', 'the record''s own');
SELECT is(rest.call('POST /line', '{"word": "x"}'), '422 a record of collection "line" needs an id', 'no default');
SELECT is(rest.tidy(rest.call('PUT /line/1._C3_A4_20', '{"word": "x"}')), '201 {"id":"1._C3_A4_20","a":1,"b":"ä ","word":"x","deleted_at":null,"updated_at":"T"}', 'a composite key');
SELECT is(left(rest.call('PUT /task/%C3%A4%2F%3F+', '{"title": "escaped"}'), 4), '201 ', 'a path');
SELECT is((SELECT id FROM task WHERE title = 'escaped'), 'ä/?+', 'is unescaped');

-- what is wrong with a write is neither a 404 nor a 409
SELECT is(rest.call('PUT /num/3', '{"word": "bad"}'), '422 new row for relation "num" violates check constraint "num_word_check"', 'a constraint');
SELECT is(left(rest.call('PUT /leaf/00000000-0000-4000-8000-000000000001', '{"task": "nowhere"}'), 4), '422 ', 'a deferred one');
SELECT is(rest.call('PUT /nosuch/1', '{}'), '422 unknown collection "nosuch"', 'a collection that there isn''t');
SELECT is(rest.call('GET /nosuch'), '404 unknown collection "nosuch"', 'which can''t be read either');
SELECT is(left(rest.call('PUT /num/x', '{"word": "x"}'), 6), '22P02 ', 'an id that can''t be one');
SELECT is(rest.call('PATCH /task/a', '{}'), '405 method PATCH is not allowed here', 'a method that there isn''t');
SELECT is(rest.call('PUT /task', '{}'), '405 method PUT is not allowed here', 'PUT without an id');
SELECT is(rest.call('PUT /task/a/b', '{}'), '400 malformed path', 'a path that there isn''t');
SELECT is(rest.call('GET /task/a%00'), '400 malformed path', 'nor such text');

-- strategies have no say
SELECT is(rest.tidy(rest.call('PUT /num/1', '{"word": "mine"}')), '200 {"id":"1","word":"mine","updated_at":"T"}', 'whoever says nothing of a time wins, whatever the strategy');

-- ---------------------------------------------------------------------------
-- Once
-- ---------------------------------------------------------------------------
SELECT rest.stamp('GET /task/b') AS b \gset
SELECT rest.tick();
SELECT is(left(rest.call('PUT /task/b', format('{"title": "once", "_baseUpdatedAt": "%s"}', :'b'), '{"x-idempotency-key": "op1"}'), 4), '200 ', 'stored');
UPDATE task SET title = 'later' WHERE id = 'b';
SELECT is(rest.tidy(rest.call('PUT /task/b', format('{"title": "once", "_baseUpdatedAt": "%s"}', :'b'), '{"x-idempotency-key": "op1"}')),
	'200 {"id":"b","owner":"rest_ann","title":"later","n":null,"tags":null,"removed_at":null,"updated_at":"T","deleted_at":null}', 'sent again it is not stored again, and gets the row as it is');
SELECT is(left(rest.call('PUT /task/b', format('{"title": "op2", "_baseUpdatedAt": "%s"}', :'b'), '{"x-idempotency-key": "op2"}'), 4), '409 ', 'a conflict');
SELECT is(left(rest.call('PUT /task/b', format('{"title": "op2", "_baseUpdatedAt": "%s"}', :'b'), '{"x-idempotency-key": "op2"}'), 4), '409 ', 'stays one');
SELECT is(left(rest.call('PUT /task/b', '{"title": "merged"}', '{"x-idempotency-key": "op2", "x-force-update": "true"}'), 4), '200 ', 'till it is forced, under the same key');
SELECT is((SELECT title FROM task WHERE id = 'b'), 'merged', 'and stored');
UPDATE task SET title = 'later' WHERE id = 'b';
SELECT is(left(rest.call('PUT /task/b', '{"title": "merged"}', '{"x-idempotency-key": "op2", "x-force-update": "true"}'), 4), '200 ', 'again');
SELECT is((SELECT title FROM task WHERE id = 'b'), 'later', 'once');
SELECT is(rest.tidy(rest.call('PUT /task/b', '{"title": "merged", "n": 7}', '{"x-idempotency-key": "op2", "x-force-update": "true"}')),
	'200 {"id":"b","owner":"rest_ann","title":"later","n":null,"tags":null,"removed_at":null,"updated_at":"T","deleted_at":null}', 'merged with what came between, too');
SELECT is(left(rest.call('PUT /task/a', '{"title": "merged"}', '{"x-idempotency-key": "op2", "x-force-update": "true"}'), 6), '22023 ', 'but it is good for one record');
SELECT is(left(rest.call('PUT /task/b', '{"title": "other"}', '{"x-idempotency-key": "op1"}'), 6), '22023 ', 'a key is good for one write');
SELECT substr(rest.call('POST /task', '{"title": "posted"}', '{"x-idempotency-key": "op3"}'), 5)::json ->> 'id' AS posted \gset
SELECT is(substr(rest.call('POST /task', '{"title": "posted"}', '{"x-idempotency-key": "op3"}'), 5)::json ->> 'id', :'posted', 'a new record has the id that it got the first time');
SELECT is((SELECT count(*) FROM task WHERE title = 'posted'), 1::bigint, 'and is there once');
SET ROLE rest_bob;
SELECT is(left(rest.call('PUT /task/bobs', '{"title": "his"}', '{"x-idempotency-key": "op1"}'), 4), '201 ', 'to others a key means nothing');

-- ---------------------------------------------------------------------------
-- Deletions
-- ---------------------------------------------------------------------------
SET ROLE rest_ann;
SELECT rest.stamp('GET /task/b') AS b \gset
SELECT is(left(rest.call('DELETE /task/b?_baseUpdatedAt=' || :'first'), 4), '409 ', 'of a row that has changed');
SELECT is(left(rest.call('DELETE /task/b?_baseUpdatedAt=' || :'b'), 4), '200 ', 'of one that has not');
SELECT matches(rest.tidy(rest.call('GET /task/b')), '"removed_at":"T","updated_at":"T","deleted_at":"T"', 'it is marked, also as deleted_at');
SELECT is(left(rest.call('DELETE /task/b?_baseUpdatedAt=' || :'b'), 4), '200 ', 'twice is no conflict');
SELECT is(rest.call('DELETE /task/none?_baseUpdatedAt=' || :'b'), '200 null', 'what is not there is gone');
SELECT is(left(rest.call('PUT /task/b', format('{"title": "x", "_baseUpdatedAt": "%s"}', :'b')), 4), '409 ', 'a change of a deleted row is a conflict');
SELECT is(left(rest.call('PUT /task/b', '{"title": "back"}', '{"x-force-update": "true"}'), 4), '200 ', 'unless it is forced');
SELECT is((SELECT removed_at FROM task WHERE id = 'b'), NULL, 'then the row is back');
SELECT is(left(rest.call('DELETE /task/b?_baseUpdatedAt=' || :'first', '', '{"x-force-delete": "true"}'), 4), '200 ', 'forced');
SELECT is(left(rest.call('DELETE /num/2'), 4), '200 ', 'really deleted');
SELECT is((SELECT count(*) FROM num WHERE id = 2), 0::bigint, 'where nothing is marked');
SELECT is(left(rest.call('PUT /num/2', '{"word": "again"}'), 4), '201 ', 'and can be made again');

-- ---------------------------------------------------------------------------
-- What others have
-- ---------------------------------------------------------------------------
SELECT is(rest.call('GET /task/bobs'), rest.call('GET /task/none'), 'another''s row is like none');
SELECT is(rest.call('PUT /task/bobs', format('{"title": "x", "_baseUpdatedAt": "%s"}', :'b')), '409 {"error":"conflict","current":null}', 'to a change');
SELECT is(rest.call('DELETE /task/bobs'), '200 null', 'to a deletion');
SELECT is(rest.call('PUT /task/bobs', '{"title": "x"}'), '42501 a record of collection "task" was refused', 'and is not to be had');
SELECT is((SELECT array_agg(i ->> 'owner') FROM json_array_elements(substr(rest.call('GET /task'), 5)::json -> 'items') i WHERE i ->> 'owner' <> 'rest_ann'), NULL, 'nor listed');
RESET ROLE;
SELECT is((SELECT title FROM task WHERE id = 'bobs'), 'his', 'it is as it was');

-- ---------------------------------------------------------------------------
-- Batches
-- ---------------------------------------------------------------------------
SELECT count(*) AS stains FROM offsync_internal.reset_event WHERE reason = 'written behind a push' \gset
SET ROLE rest_ann;
SELECT rest.stamp('GET /task/a') AS a \gset
SELECT rest.tidy(rest.call('POST /batch', format('{"ops": [
	{"opId": "b1", "kind": "task", "id": "a", "type": "upsert", "payload": {"title": "batched"}, "baseUpdatedAt": "%1$s"},
	{"opId": "b2", "kind": "task", "id": "a", "type": "upsert", "payload": {"title": "again"}, "baseUpdatedAt": "%1$s"},
	{"opId": "b3", "kind": "num", "id": "9", "type": "upsert", "payload": {"word": "bad"}},
	{"opId": "b4", "kind": "task", "id": "c", "type": "upsert", "payload": {"title": "x"}, "baseUpdatedAt": "%1$s"},
	{"opId": "b5", "kind": "task", "id": "bobs", "type": "upsert", "payload": {"title": "x"}},
	{"opId": "b6", "kind": "nosuch", "id": "1", "type": "delete"},
	{"opId": "b7", "kind": "task", "id": "a", "type": "move"},
	{"opId": "b8", "kind": "num", "id": "2", "type": "delete"}]}', :'a'))) AS batch \gset
SELECT results_eq(format($$SELECT r ->> 'opId', r ->> 'statusCode', coalesce(r -> 'data' ->> 'title', r -> 'error' ->> 'error') FROM json_array_elements(%L::json -> 'results') r$$, substr(:'batch', 5)),
	$$VALUES ('b1', '200', 'batched'), ('b2', '200', 'again'), ('b3', '422', 'new row for relation "num" violates check constraint "num_word_check"'), ('b4', '409', 'conflict'),
	('b5', '403', 'a record of collection "task" was refused'), ('b6', '422', 'unknown collection "nosuch"'), ('b7', '400', 'malformed batch'), ('b8', '200', NULL)$$, 'each by itself');
SELECT is((SELECT title FROM task WHERE id = 'a'), 'again', 'what is good is stored');
SELECT is((SELECT string_agg(concat_ws(' ', r ->> 'opId', r ->> 'statusCode', r -> 'error' ->> 'error'), ', ') FROM json_array_elements(substr(rest.call('POST /batch', '{"o\u0070s": [
	{"opId": "z1", "kind": "task", "id": "zero", "type": "upsert", "payload": {"title": "a\u0000"}}, {"kind": "task", "id": "\u0000", "type": "delete", "opId": "z2"},
	{"opId": "z3", "kind": "task", "id": "zero", "type": "upsert", "payload": {"title": "b", "other": "\u0000"}}, {"opId": "\u0000", "kind": "task", "id": "zero", "type": "delete"},
	{"opId": "z5", "kind": "task", "id": "zero", "type": "upsert", "payload": {"title": "fine"}}, {"opId": "z6", "kind": "task", "id": "zero", "type": "delete"}]}'), 5)::json -> 'results') r),
	'z1 400 unsupported Unicode escape sequence, z2 400 unsupported Unicode escape sequence, z3 400 unsupported Unicode escape sequence, 400 unsupported Unicode escape sequence, z5 201, z6 200', 'what no text can hold is refused alone');
SELECT matches(rest.call('POST /batch', x), '^400 malformed (batch|JSON)$', 'no batch') FROM unnest('{"{\"ops\": [1]}","{\"ops\": [{}","{\"ops\": []} x"}'::text[]) x;
SELECT is(rest.call('POST /batch', '{"op": []}'), '400 malformed batch', 'no batch');
SELECT is(rest.call('POST /batch', '{"ops": []}'), '200 {"results":[]}', 'an empty one');
UPDATE task SET title = 'later' WHERE id = 'a';
SELECT is(substr(rest.call('POST /batch', format('{"ops": [{"opId": "b1", "kind": "task", "id": "a", "type": "upsert", "payload": {"title": "batched"}, "baseUpdatedAt": "%s"}]}', :'a')), 5)::json
	-> 'results' -> 0 -> 'data' ->> 'title', 'later', 'and sent again, once');
RESET ROLE;
SELECT is((SELECT count(*) FROM offsync_internal.reset_event WHERE reason = 'written behind a push'), :stains::bigint, 'several writes of a transaction make nobody begin anew');

-- ---------------------------------------------------------------------------
-- Lists
-- ---------------------------------------------------------------------------
CREATE TABLE many (id int PRIMARY KEY, grp int, deleted_at timestamptz);
INSERT INTO many SELECT i, i % 3 FROM generate_series(1, 40) i;
SELECT count(*) AS done FROM offsync.enable('many', soft_delete => 'deleted_at') \gset
GRANT SELECT, UPDATE ON many TO rest_ann;
INSERT INTO many SELECT i, i % 3 FROM generate_series(101, 110) i;
SELECT rest.tick();
DO $$BEGIN FOR i IN 1..5 LOOP UPDATE many SET grp = grp + 1 WHERE id = i * 3; COMMIT; PERFORM rest.tick(); END LOOP; END$$;
UPDATE many SET deleted_at = now() WHERE id = 40;
SELECT rest.tick();
SET ROLE rest_ann;
SELECT array_agg(id::text ORDER BY date_trunc('milliseconds', server_updated_at), id) AS want FROM many \gset
SELECT is(rest.sync('many', n), :'want', format('pages of %s', n)) FROM unnest('{1,2,3,7,10,49,50,51,500}'::int[]) n;
SELECT is(rest.sync('many', 7, '', (SELECT since FROM rest.place)), ARRAY['40'], 'the last millisecond comes again where no id is given');
SELECT is(json_array_length(substr(rest.call(format('GET /many?updatedSince=%s&afterId=%s&limit=5', since, after)), 5)::json -> 'items'), 0, 'and not behind its last id') FROM rest.place;
SELECT is(json_array_length(substr(rest.call('GET /many?includeDeleted=false'), 5)::json -> 'items'), 49, 'without what is deleted');
SELECT is(rest.call('GET /many?limit=0'), '400 limit must be greater than zero', 'no page at all');
SELECT is(rest.call('GET /many?updatedSince=x'), '400 malformed updatedSince', 'no time');
SELECT is(substr(rest.call('GET /many?updatedSince=2100-01-01T00:00:00Z&afterId=3'), 5), '{"items":[],"nextPageToken":null}', 'nothing yet');
SELECT is(left(rest.call(format('GET /many?updatedSince=%s&afterId=none', since)), 6), '22P02 ', 'an id that can''t be one') FROM rest.place;
RESET ROLE;

-- stamps in microseconds, as 0.1 wrote them: many to a millisecond, and against the order of the keys
ALTER TABLE many DISABLE TRIGGER zzzz_offsync_stamp;
UPDATE many SET server_updated_at = timestamptz '2025-01-01 00:00:00Z' + (id * 7919 % 50) * interval '97 us' WHERE id <= 40;
ALTER TABLE many ENABLE ALWAYS TRIGGER zzzz_offsync_stamp;
SELECT rest.tick();
SET ROLE rest_ann;
SELECT array_agg(id::text ORDER BY date_trunc('milliseconds', server_updated_at), id) AS want, count(DISTINCT date_trunc('milliseconds', server_updated_at)) FILTER (WHERE id <= 40) AS ms FROM many \gset
SELECT is(:ms, 5, 'several rows to a millisecond');
SELECT is(rest.sync('many', n), :'want', format('microseconds: pages of %s', n)) FROM unnest('{1,2,3,7,10,39,40,41,500}'::int[]) n;
RESET ROLE;
CREATE INDEX ON many (server_updated_at, id);
SET enable_seqscan = off;
SET ROLE rest_ann;
SELECT is(rest.sync('many', n), :'want', format('by an index: pages of %s', n)) FROM unnest('{1,3,10,500}'::int[]) n;
RESET ROLE;
RESET enable_seqscan;

-- keys of other kinds
CREATE EXTENSION IF NOT EXISTS citext;
CREATE DOMAIN word AS text;
CREATE TABLE odd (a citext, b numeric, c word COLLATE "C", PRIMARY KEY (a, b, c));
SELECT count(*) AS done FROM offsync.enable('odd') \gset
INSERT INTO odd SELECT chr(65 + i % 3), i % 4, i FROM generate_series(1, 24) i;
SELECT rest.tick();
SELECT is((SELECT count(DISTINCT id) || ' ' || count(*) FROM unnest(rest.sync('odd', n)) id), '24 24', format('a key of odd types: pages of %s', n)) FROM unnest('{1,5,23,24,25}'::int[]) n;
SELECT is((SELECT count(DISTINCT id) || ' ' || count(*) FROM unnest(rest.sync('line', 1)) id), '1 1', 'a composite one');

-- grants on columns
GRANT SELECT (id, grp) ON many TO rest_bob;
SET ROLE rest_bob;
SELECT is(rest.tidy(substr(rest.call('GET /many?limit=1'), 5)), '{"items":[{"id":"3","grp":1,"updated_at":"T"}],"nextPageToken":"more"}', 'what the caller may read');
SELECT is(left(rest.call('GET /many/1'), 4), '200 ', 'one of them');
RESET ROLE;
REVOKE ALL ON num FROM rest_bob;
SET ROLE rest_bob;
SELECT is(rest.call('GET /num'), '42501 permission denied for collection "num"', 'and what he may not');
RESET ROLE;

-- ---------------------------------------------------------------------------
-- When it can't be trusted
-- ---------------------------------------------------------------------------
ALTER TABLE many DISABLE TRIGGER zzzz_offsync_stamp;
SELECT is(rest.call('GET /many'), '55000 collection "many" cannot be listed now', 'a trigger is off');
ALTER TABLE many ENABLE ALWAYS TRIGGER zzzz_offsync_stamp;
SELECT is(left(rest.call('GET /many'), 4), '200 ', 'and on again');
SELECT rest.tick();
BEGIN TRANSACTION READ ONLY;
SELECT isnt(json_array_length(offsync.rest_list('many') -> 'items'), 0, 'reads nothing but');
SELECT lives_ok($$SELECT offsync.rest_get('many', '1')$$, 'as one row');
COMMIT;
BEGIN;
UPDATE many SET grp = 77 WHERE id = 1;
SELECT is((SELECT count(*) FROM json_array_elements(offsync.rest_list('many') -> 'items') i WHERE i ->> 'id' = '1'), 0::bigint, 'what isn''t committed isn''t shown, not even to its writer');
COMMIT;

SELECT is(offsync.rest_put('many', '1', '{"grp": 5}') ->> 'grp', '5', 'by name, without a request');
-- a gateway would make 404 of these SQLSTATEs, which is an acknowledgement, and 405 of another one, after which nobody comes again
CREATE FUNCTION rest.lacks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.grp = 1001 THEN PERFORM 1 FROM rest.nowhere; END IF;
	IF new.grp = 1002 THEN PERFORM rest.nothing(); END IF;
	IF new.grp = 1003 THEN RAISE SQLSTATE 'PT404' USING MESSAGE = 'its own'; END IF;
	RETURN new;
END $$;
CREATE TRIGGER lacks BEFORE INSERT OR UPDATE ON many FOR EACH ROW EXECUTE FUNCTION rest.lacks();
SELECT is(rest.call('PUT /many/1', '{"grp": 1001}'), '500 relation "rest.nowhere" does not exist', 'a trigger lacks a table');
SELECT is(rest.call('PUT /many/1', '{"grp": 1002}'), '500 function rest.nothing() does not exist', '... or a function');
SELECT is(rest.call('PUT /many/1', '{"grp": 1003}'), '422 its own', '... or says what is an acknowledgement');
SELECT is(rest.call('POST /batch', '{"ops": [{"opId": "t1", "kind": "many", "id": "1", "type": "upsert", "payload": {"grp": 1001}}]}'),
	'500 relation "rest.nowhere" does not exist', 'a batch comes again');
DROP TRIGGER lacks ON many;
SELECT is(rest.call('PUT /many/1', '{"grp": 5}', '{"x-idempotency-key": ""}'), rest.call('GET /many/1'), 'no key');
SELECT set_config('request.headers', '{"x-idempotency-key": "h1"}', false) \g /dev/null
SELECT is(offsync.rest_put('many', '1', '{"grp": 6}', "idempotencyKey" => '') ->> 'grp', '6', 'an empty key leaves the header''s');
SELECT is(offsync.rest_batch('[{"opId": "", "kind": "many", "id": "1", "type": "upsert", "payload": {"grp": 7}}]') -> 'results' -> 0 ->> 'statusCode', '200', 'so does an empty opId');
SELECT set_config('request.headers', '', false) \g /dev/null
BEGIN TRANSACTION READ ONLY;
SELECT throws_ok($$SELECT offsync.rest_put('many', '1', '{"grp": 8}')$$, 'PT503', NULL, 'a server that takes no writes for now');
SELECT throws_ok($$SELECT offsync.rest_batch('[{"opId": "r1", "kind": "many", "id": "1", "type": "upsert", "payload": {"grp": 8}}]')$$, 'PT503', NULL, '... nor a batch');
COMMIT;
SELECT is(rest.call('GET /many?a=&b=&c=&d=&e=&f=&g=&h=&i=&j=&k=&l=&m=&n=&o=&p=&limit=1'), '400 malformed path', 'parameters that would be passed over');

-- Stamps that were there before offsync was
CREATE TABLE old (id text PRIMARY KEY, v int, server_updated_at timestamptz);
INSERT INTO old VALUES ('nil', 1, NULL), ('never', 1, '-infinity'), ('ever', 1, 'infinity'), ('bc', 1, '0044-03-15 BC'), ('sixties', 1, '1969-07-20 20:17:40Z'), ('far', 1, '9999-12-31Z'),
	('e1', 1, '1970-01-01Z'), ('e2', 1, '1970-01-01 00:00:00.0004Z'), ('a', 1, '2020-01-01Z'), ('b', 1, '2020-01-01Z'), ('c', 1, '2021-01-01Z');
SELECT FROM offsync.enable('old') \g /dev/null
GRANT SELECT, INSERT, UPDATE, DELETE ON old TO rest_ann;
SET ROLE rest_ann;
SELECT is((SELECT array_agg(id ORDER BY id COLLATE "C") FROM unnest(rest.sync('old', n)) id), '{a,b,bc,c,e1,e2,ever,far,never,nil,sixties}', 'all are listed, once, in pages of ' || n) FROM unnest('{1,2,3,5,20}'::int[]) n;
SELECT is((SELECT string_agg(i ->> 'id', ',' ORDER BY i ->> 'id' COLLATE "C") FROM json_array_elements(offsync.rest_list('old') -> 'items') i WHERE i ->> 'updated_at' = '1970-01-01T00:00:00.000Z'),
	'bc,e1,e2,ever,far,never,nil,sixties', 'as if they were written when clients begin');
SELECT is(offsync.rest_list('old', '2021-01-02T00:00:00.000Z')::text, '{"items":[],"nextPageToken":null}', 'but not behind that');
SELECT is(offsync.rest_list('old', NULL, 1) -> 'items' -> 6 ->> 'id', 'e1', 'those in order stand last');
DELETE FROM old WHERE id ~ '^.$' OR id ~ '^e.$';
SELECT is(array_length(rest.sync('old', 2), 1), 6, 'there are no others');
SELECT is(rest.call('PUT /old/' || id, '{"v": 2, "_baseUpdatedAt": "1970-01-01T00:00:00.000Z"}') ~ '^200 .*"v":2', true, id || ' is written from there') FROM unnest('{nil,never,ever,bc,sixties,far}'::text[]) id;
SELECT is(substr(rest.call('PUT /old/bc', '{"v": 3, "_baseUpdatedAt": "1970-01-01T00:00:00.000Z"}'), 1, 3), '409', 'once');
SELECT rest.tick();
SELECT is(array_length(rest.sync('old', 2, '', '2021-01-02T00:00:00.000Z'), 1), 6, 'and then they are rows like others');
RESET ROLE;

SELECT finish();
DROP TABLE task, line, num, leaf, many, odd, old CASCADE;
DROP SCHEMA rest, rest_api CASCADE;
DROP ROLE rest_ann, rest_bob;
