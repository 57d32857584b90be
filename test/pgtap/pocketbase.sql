-- PocketBase's sync clients: lists, the log of changes, writes, and ids; test/e2e/pocketbase.mjs plays the clients themselves.
\ir begin.psql
DROP ROLE IF EXISTS pb_ann;
DROP ROLE IF EXISTS pb_bob;
CREATE ROLE pb_ann;
CREATE ROLE pb_bob;
CREATE SCHEMA pb;
CREATE SCHEMA pb_api;
GRANT USAGE, CREATE ON SCHEMA pb TO PUBLIC;
SET search_path = pb, public;
SET timezone = 'America/Caracas';
SET datestyle = 'German';
SELECT no_plan();

CREATE FUNCTION complaint(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE m text; d text; h text;
BEGIN EXECUTE sql; RETURN 'none';
EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN concat_ws('|', SQLSTATE, m, nullif(d, ''), nullif(h, '')); END$$;
CREATE FUNCTION ids(list json) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(coalesce(i ->> 'record_id', i ->> 'id'), ',' ORDER BY coalesce(i ->> 'record_id', i ->> 'id') COLLATE "C"), '')
	FROM json_array_elements(list -> 'items') i$$;
-- a device's clock, so long ago, in the form in which its client writes it
CREATE FUNCTION t(ago interval) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT to_char((clock_timestamp() - ago) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.USZ')$$;
CREATE FUNCTION since(ago interval, collection text DEFAULT 'note') RETURNS json LANGUAGE sql VOLATILE AS $$
	SELECT offsync.pb_list(collection, format('updated > ''%s''', t(ago)))$$;
CREATE FUNCTION gone(ago interval, name text DEFAULT NULL) RETURNS json LANGUAGE sql VOLATILE AS $$
	SELECT offsync.pb_list('changes', format('updated >= ''%s'' && action = ''delete''', t(ago)) || coalesce(' && collection_name = ' || quote_literal(name), ''))$$;
-- what was noted last was noted so long ago; what has been since, since
CREATE PROCEDURE mark(ago interval) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM offsync.push_changes('{}');
	COMMIT;
	UPDATE offsync_internal.timeline SET at = clock_timestamp() - ago WHERE at = (SELECT max(at) FROM offsync_internal.timeline);
	DELETE FROM offsync_internal.timeline WHERE at > clock_timestamp() - ago;
END$$;

-- ---------------------------------------------------------------------------
-- Ids
-- ---------------------------------------------------------------------------
SELECT matches(offsync.new_id(), '^[a-z0-9]{15}$', 'as PocketBase''s');
SELECT is((SELECT count(DISTINCT offsync.new_id()) FROM generate_series(1, 10000)), 10000::bigint, 'each another');
SELECT is(length(offsync.new_id(n)), n, 'of length ' || n) FROM unnest('{1,64,65,255}'::int[]) n;
SELECT ok(offsync.new_id(40, 'äß€𝄞') ~ '^[äß€𝄞]{40}$', 'letters of several bytes');
SELECT ok(octet_length(offsync.new_id(1, string_agg(chr(256 + i), ''))) = 2, '256 letters') FROM generate_series(0, 255) i;
-- chi-square with 6 and with 35 degrees of freedom: beyond these bounds once in some 10^9 times; a remainder of bytes would be far beyond
SELECT cmp_ok(sum((count - expected) ^ 2 / expected), '<', bound::numeric, letters || ' letters are equally likely')
	FROM (VALUES (7, 50), (36, 105), (200, 330)) v(letters, bound),
		LATERAL (SELECT string_agg(chr(256 + i), '') FROM generate_series(1, letters) i) a(alphabet),
		LATERAL (SELECT 200000.0 / letters) e(expected),
		LATERAL (SELECT count(*) FROM generate_series(1, 1000) g, LATERAL regexp_split_to_table(offsync.new_id(200 + 0 * g, alphabet), '') letter GROUP BY letter) c
	GROUP BY letters, bound;
SELECT throws_ok(format('SELECT offsync.new_id(%s)', a), code, message) FROM (VALUES
	('0', '22023', 'length must be between 1 and 255'), ('-1', '22023', 'length must be between 1 and 255'),
	('256', '22023', 'length must be between 1 and 255'), ('NULL', '22004', 'length must not be null'),
	('5, NULL', '22004', 'alphabet must not be null'), ('5, ''''', '22023', 'alphabet must have at least 2 letters'),
	('5, ''a''', '22023', 'alphabet must have at least 2 letters'), ('5, ''abca''', '22023', 'alphabet must not repeat a letter'),
	('5, ''äbä''', '22023', 'alphabet must not repeat a letter'),
	($$5, (SELECT string_agg(chr(256 + i), '') FROM generate_series(0, 256) i)$$, '22023', 'alphabet must not have more than 256 letters')) v(a, code, message);

-- ---------------------------------------------------------------------------
-- expose
-- ---------------------------------------------------------------------------
CREATE TABLE note (id text PRIMARY KEY DEFAULT offsync.new_id(), title text NOT NULL, n numeric(10,2), at timestamptz, doc jsonb,
	created date, updated text DEFAULT 'own', "collectionId" int, "Odd ""name" boolean);
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('note', conflict => 'client_wins');
SELECT results_eq($$SELECT action, detail FROM offsync.expose('pb_api', 'pocketbase') WHERE detail !~ '^(public|leaks)'$$, $$VALUES
	('function', 'pb_api.pb_list(collection text, filter text, page integer, "perPage" integer, sort text, "skipTotal" text, expand text, fields text)'),
	('function', 'pb_api.pb_create(collection text, body json)'),
	('function', 'pb_api.pb_update(collection text, id text, body json)'),
	('function', 'pb_api.pb_delete(collection text, id text)'),
	('function', 'pb_api.pb_request(json)'),
	('next', 'NOTIFY pgrst, ''reload schema''')$$, 'five functions, and nothing to say of the table');
SELECT results_eq($$SELECT proname::text COLLATE "default", provolatile::text, prosecdef, prorettype::regtype::text FROM pg_proc
	WHERE pronamespace = 'pb_api'::regnamespace ORDER BY 1$$, $$VALUES ('pb_create', 'v', false, 'json'), ('pb_delete', 'v', false, 'void'),
	('pb_list', 's', false, 'json'), ('pb_request', 'v', false, 'json'), ('pb_update', 'v', false, 'json')$$, 'of these kinds');
CREATE TABLE changes (id int PRIMARY KEY, updated text NOT NULL);
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('changes');
SELECT is((SELECT string_agg(regexp_replace(detail, '^(.{45}).*', '\1'), E'\n' ORDER BY detail COLLATE "C")
		FROM offsync.expose('pb', 'pocketbase') WHERE action = 'warning' AND detail LIKE 'pb.%'),
	E'pb.changes: column "updated" is NOT NULL, and\npb.changes: its conflict strategy is "reject"\npb.changes: its name is that of the list of w', 'what doesn''t suit');
DROP TABLE changes;

-- ---------------------------------------------------------------------------
-- Lists
-- ---------------------------------------------------------------------------
INSERT INTO note VALUES ('a', 'A', 1.5, '2024-02-29 12:00:00.1239+00', '{"x": [1]}', '2020-01-01', 'x', 7, true);
SELECT is(regexp_replace(offsync.pb_list('note')::text, '"(created|updated)":"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d\d\dZ"', '"\1":"…"', 'g'),
	'{"page":1,"perPage":30,"totalItems":1,"totalPages":1,"items":[{"id":"a","title":"A","n":1.50,"at":"2024-02-29 12:00:00.123Z",'
	'"doc":{"x": [1]},"Odd \"name":true,"created":"…","updated":"…","collectionId":"note","collectionName":"note"}]}', 'a record, in PocketBase''s shape');
SELECT is((l #>> '{items,0,updated}')::timestamptz, date_trunc('milliseconds', server_updated_at), 'updated is when it was written')
	FROM note, offsync.pb_list('note') l;
SELECT is((l #>> '{items,0,created}')::timestamptz, date_trunc('milliseconds', server_created_at), 'created when it was made')
	FROM note, offsync.pb_list('note') l;
UPDATE note SET at = v::timestamptz FROM unnest('{0044-03-15 12:00:00+00 BC}'::text[]) v;
SELECT is(offsync.pb_list('note') #>> '{items,0,at}', '0044-03-15T12:00:00Z BC', 'what PocketBase can''t write');
UPDATE note SET at = 'infinity';
SELECT is(offsync.pb_list('note') #>> '{items,0,at}', 'infinity', 'nor that');
UPDATE note SET at = '1969-12-31 23:59:59.9999+00';
SELECT is(offsync.pb_list('note') #>> '{items,0,at}', '1969-12-31 23:59:59.999Z', 'rounded down on both sides of 1970');
INSERT INTO note (id, title) SELECT 'm' || i, 'many' FROM generate_series(1, 700) i;
SELECT ok((l ->> 'perPage')::int > json_array_length(l -> 'items') AND l ->> 'totalItems' = '701' AND json_array_length(l -> 'items') = 701,
	'all of them on one page, which is not full') FROM offsync.pb_list('note', page => 1, "perPage" => 500, "skipTotal" => 'true') l;
SELECT is(offsync.pb_list('note', page => 2) ->> 'items', '[]', 'and none on the next');
SELECT is(offsync.pb_list('note', "perPage" => 1000) ->> 'perPage', '1000', 'a larger one is said to be as large as was asked');
DELETE FROM note WHERE title = 'many';
INSERT INTO note (id, title) VALUES ('b', 'B');
SELECT is((SELECT string_agg(i ->> 'id', ',') FROM json_array_elements(offsync.pb_list('note', sort => s) -> 'items') i), expected, 'sort ' || s)
	FROM (VALUES ('-created', 'b,a'), ('+id', 'a,b'), ('-updated,id', 'b,a'), ('-id, created', 'b,a')) v(s, expected);
SELECT matches(complaint($$SELECT offsync.pb_list('note', sort => 'title')$$), '^PT400\|sort is not', 'other orders');
SELECT matches(complaint($$SELECT offsync.pb_list('changes', sort => 'id')$$), '^PT400\|the list of changes', 'and of the log');
SELECT matches(complaint($$SELECT offsync.pb_list('nowhere')$$), '^PT404', 'no collection');
SELECT matches(complaint($$SELECT offsync.pb_list(NULL)$$), '^PT400', 'none at all');

-- Filters
CALL mark('2 hours');
SELECT is(complaint(format('SELECT offsync.pb_list(%L, %L)', c, f)), 'none', f) FROM (VALUES
	('note', $$updated > '2026-01-31 10:00:00.123456Z'$$), ('note', $$updated>'2026-01-31 10:00:00Z'$$),
	('note', $$  updated  >=  "2026-01-31 10:00:00.123Z"  $$), ('note', $$(updated > '2026-01-31T10:00:00Z')$$), ('note', ''), ('note', '  '),
	('changes', $$updated >= '2026-01-31 10:00:00.123456Z' && action = 'delete'$$), ('changes', $$action="delete"&&updated>="2026-01-31"$$),
	('changes', $$action = 'create'$$), ('changes', $$collection_name='note' && (action = 'update')$$), ('changes', $$((collection_id = "note"))$$)) v(c, f0),
	LATERAL (SELECT regexp_replace(f0, '2026-01-31[^''"]*', t('1 hour'))) x(f);
SELECT matches(complaint(format('SELECT offsync.pb_list(%L, %L)', c, f)), '^PT400\|', f) FROM (VALUES
	('note', 'title = ''x'''), ('note', 'updated < ''2026-01-31'''), ('note', 'updated > 5'), ('note', 'updated > ''2026'), ('note', 'updated > ''x'''),
	('note', 'updated > ''2026-01-31'' || true'), ('note', 'updated > ''2026-01-31'' && title = ''x'''), ('note', '(updated > ''2026-01-31'''),
	('note', 'updated > ''2026-01-31'')'), ('note', 'updatedx > ''2026-01-31'''), ('note', 'updated > ''2026-01-31'' && updated > ''2026-01-31'''),
	('note', 'action = ''delete'''), ('changes', 'action = ''drop'''), ('changes', 'action != ''delete'''), ('changes', 'record_id = ''a'''),
	('changes', 'action:lower = ''delete'''), ('note', '&&'), ('note', 'updated > @now')) v(c, f);
SELECT is(complaint($$SELECT offsync.pb_list('note', 'title ~ "x"')$$),
	'PT400|filter is not understood|Not understood from here on: title ~ "x"|Understood are updated > ''time'' and updated >= ''time''.', 'it says what is');
BEGIN READ ONLY;
SELECT is(ids(offsync.pb_list('note')), 'a,b', 'a list writes nothing');
COMMIT;

-- ---------------------------------------------------------------------------
-- "updated" moves with each write
-- ---------------------------------------------------------------------------
CREATE TABLE seen (n int, updated text, title text);
DO $$ BEGIN
	FOR i IN 1..40 LOOP
		UPDATE note SET title = 'write ' || i WHERE id = 'b';
		IF i % 4 = 0 THEN UPDATE note SET title = title || '!' WHERE id = 'b'; END IF;
		COMMIT;
		INSERT INTO seen SELECT i, r ->> 'updated', r ->> 'title' FROM json_array_elements(offsync.pb_list('note') -> 'items') r WHERE r ->> 'id' = 'b';
		COMMIT;
	END LOOP;
END $$;
SELECT is((SELECT count(*) FROM seen s JOIN seen p ON p.n = s.n - 1 WHERE s.updated > p.updated), 39::bigint, 'by a millisecond at least, however fast');
SELECT cmp_ok((SELECT server_updated_at FROM note WHERE id = 'b'), '<', clock_timestamp() + interval '1 second', 'and not far ahead');
SELECT server_updated_at AS before FROM note WHERE id = 'b' \gset
UPDATE note SET server_updated_at = 'infinity', title = 'forged' WHERE id = 'b';
SELECT ok(server_updated_at BETWEEN :'before' AND clock_timestamp() + interval '1 second', 'by nobody else') FROM note WHERE id = 'b';
CREATE TABLE kept (id int PRIMARY KEY, v int, server_updated_at timestamptz NOT NULL);
INSERT INTO kept VALUES (1, 1, 'infinity'), (2, 2, '1999-01-01'), (3, 3, clock_timestamp() + interval '1 day');
SELECT ok(count(*) > 0, 'a table that brings the column along') FROM offsync.enable('kept', conflict => 'client_wins');
UPDATE kept SET v = v + 1;
SELECT is((SELECT string_agg(isfinite(server_updated_at)::text || (server_updated_at > clock_timestamp() + interval '1 hour'), ',' ORDER BY id) FROM kept),
	'truefalse,truefalse,truetrue', 'what can''t be followed is begun anew');
DROP TABLE kept;

-- ---------------------------------------------------------------------------
-- Since a time
-- ---------------------------------------------------------------------------
INSERT INTO note (id, title) VALUES ('dead1', ''), ('dead2', '');
CALL mark('30 minutes');
INSERT INTO note (id, title) VALUES ('n1', '');
DELETE FROM note WHERE id = 'dead1';
CALL mark('12 minutes');
INSERT INTO note (id, title) VALUES ('n2', '');
DELETE FROM note WHERE id = 'dead2';
SELECT is(ids(since('0')), 'n2', 'ten minutes before the time, and one more');
SELECT is(ids(gone('0')), 'dead2', 'of deletions, too');
SELECT is(ids(since('2 minutes')), 'n1,n2', 'and what is before that');
SELECT is(ids(gone('2 minutes')), 'dead1,dead2', 'deletions');
SELECT is(ids(since('-4 minutes')), 'n2', 'a clock that is ahead');
SELECT is(complaint($$SELECT since('-6 minutes')$$), 'PT410|what is gone since that time is no longer known|The time lies ahead of the server''s clock.|'
	'Send what the device has not sent yet, then empty it and fetch everything anew.', 'too far');
SELECT is(complaint($$SELECT gone('-6 minutes')$$), complaint($$SELECT since('-6 minutes')$$), 'for the log, too');
SELECT matches(complaint($$SELECT since('3 hours')$$), '^PT410\|.*\|The timeline does not reach back to that time', 'too long ago');
SELECT is(ids(offsync.pb_list('note')), 'a,b,n1,n2', 'everything, for who has nothing');
SELECT ok((SELECT string_agg(id, ',') FROM regexp_split_to_table(ids(offsync.pb_list('changes')), ',') id WHERE id !~ '^m') = 'dead1,dead2', 'and all deletions');

-- An id that lives again isn't deleted; one that died again is, anew
SELECT i ->> 'id' AS log1 FROM json_array_elements(gone('0') -> 'items') i WHERE i ->> 'record_id' = 'dead2' \gset
SELECT is((SELECT i ->> 'id' FROM json_array_elements(gone('0') -> 'items') i WHERE i ->> 'record_id' = 'dead2'), :'log1'::text, 'the log''s ids stay');
SELECT matches(:'log1'::text, '^[a-z0-9]{15}$', 'as PocketBase''s');
INSERT INTO note (id, title) VALUES ('dead2', 'again');
SELECT is(ids(gone('0')), '', 'it lives again');
SELECT is(ids(since('0')), 'dead2,n2', 'and comes');
DELETE FROM note WHERE id = 'dead2';
SELECT isnt((SELECT i ->> 'id' FROM json_array_elements(gone('0') -> 'items') i WHERE i ->> 'record_id' = 'dead2'), :'log1'::text, 'the next deletion is another entry');

-- What has no delta: told before the time is a minute past it
CREATE TABLE pin (id int PRIMARY KEY, v text);
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('pin', conflict => 'client_wins');
INSERT INTO pin VALUES (1), (2);
CALL mark('11.5 minutes');
TRUNCATE pin;
INSERT INTO pin VALUES (3), (4);
DELETE FROM pin WHERE id = 4;
SELECT matches(complaint($$SELECT since('0', 'pin')$$), '^PT410\|what is gone from collection "pin" since that time is no longer known\|Truncated\.\|Send what', 'a TRUNCATE');
SELECT matches(complaint($$SELECT gone('0', 'pin')$$), '^PT410\|what is gone from collection "pin"', 'asked for by name');
SELECT is(ids(gone('2 minutes')), 'dead1,dead2', 'the log of all leaves it to the collection''s list');
SELECT matches(complaint(format('SELECT * FROM offsync.changes(%L)', t('0'))), '^PT410', 'in SQL it doesn''t');
SELECT is(ids(offsync.pb_list('pin')), '3', 'everything');
CALL mark('5 minutes');
INSERT INTO pin VALUES (5);
SELECT is(ids(since('0', 'pin')), '3,5', 'devices that came after it are told what is new, from ten minutes before');
SELECT is(ids(gone('0', 'pin')), '4', 'deletions, too');
SELECT matches(complaint($$SELECT since('6 minutes', 'pin')$$), '^PT410', 'not those that came before');

-- ---------------------------------------------------------------------------
-- The log in SQL
-- ---------------------------------------------------------------------------
CREATE VIEW log_of_all AS SELECT * FROM offsync.changes();
SELECT is((SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute
	WHERE attrelid = 'log_of_all'::regclass AND attnum > 0), 'id text, collection_id text, collection_name text, record_id text, record_data json, '
	'action text, created timestamp with time zone, updated timestamp with time zone', 'PocketBase''s columns, for a view');
SELECT results_eq(format($$SELECT collection_id, collection_name, record_id, record_data::text, action, created = updated FROM offsync.changes(%L, collection => 'pin')$$, t('0')),
	$$VALUES ('pin', 'pin', '4', NULL::text, 'delete', true)$$, 'a deletion');
SELECT results_eq(format($$SELECT record_id, action FROM offsync.changes(%L, 'create', 'pin') ORDER BY 1$$, t('0')), $$VALUES ('5', 'create')$$, 'what was made since the time itself');
SELECT results_eq(format($$SELECT record_id, action, record_data ->> 'collectionName' FROM offsync.changes(%L, 'update', 'pin') ORDER BY 1$$, t('0')),
	$$VALUES ('3', 'update', 'pin')$$, 'what was before');
SELECT is((SELECT count(*) FROM offsync.changes(what => 'create', collection => 'pin')), 2::bigint, 'since ever all were made');
SELECT matches(complaint($$SELECT * FROM offsync.changes(what => 'drop')$$), '^PT400\|unknown action', 'no such action');
SELECT matches(complaint($$SELECT * FROM offsync.changes('x')$$), '^PT400\|malformed time "x"', 'no such time');
SELECT is(offsync.pb_list('changes', 'action = ''create'' && collection_name = ''pin''') #>> '{items,0,record_data,id}', '3', 'and in a list');

-- ---------------------------------------------------------------------------
-- Writes
-- ---------------------------------------------------------------------------
CREATE FUNCTION rec(j json) RETURNS text LANGUAGE sql AS $$SELECT concat_ws(' ', j ->> 'id', j ->> 'title', j ->> 'n', j ->> 'collectionName')$$;
SELECT is(rec(offsync.pb_create('note', '{"id":"w","title":"W","n":1.25,"at":"2024-01-31 10:00:00.5Z","what":1,"created":"x","updated":"x","expand":{}}')), 'w W 1.25 note', 'create');
SELECT is((SELECT at::text || updated FROM note WHERE id = 'w'), (SELECT '2024-01-31 10:00:00.5Z'::timestamptz::text || 'own'), 'stored');
SELECT server_version AS v, server_updated_at AS u FROM note WHERE id = 'w' \gset
SELECT is(rec(offsync.pb_create('note', '{"id":"w","title":"W","n":1.25}')), 'w W 1.25 note', 'sent again');
UPDATE note SET at = '2024-01-31 10:00:00.123456Z' WHERE id = 'w';
SELECT server_version AS v FROM note WHERE id = 'w' \gset
SELECT is(offsync.pb_update('note', 'w', l #> '{items,0}') ->> 'title', 'W', 'a record that comes back as it was listed')
	FROM (SELECT json_build_object('items', json_agg(i)) FROM json_array_elements(offsync.pb_list('note') -> 'items') i WHERE i ->> 'id' = 'w') x(l);
SELECT is((SELECT server_version || ' ' || extract(microseconds FROM at) FROM note WHERE id = 'w'), :'v' || ' 123456', 'changes nothing, down to the microsecond');
SELECT is(rec(offsync.pb_update('note', 'w', '{"id":"other","title":"W2","n":null}')), 'w W2 note', 'update: the path''s id counts');
SELECT is(rec(offsync.pb_update('note', 'w', '{"title":null,"n":3}')), 'w W2 3.00 note', 'a null that no row can hold is left');
SELECT is(rec(offsync.pb_update('note', 'never', '{"title":"made"}')), 'never made note', 'an update of what never was makes it');
SELECT is(offsync.pb_delete('note', 'never')::text, '', 'delete');
SELECT is(complaint($$SELECT offsync.pb_delete('note', 'never')$$), 'PT404|the record was not found|There is none of this id, or you can not see it.', 'once');
-- an equal key that is spelt otherwise is another record
CREATE TABLE pb.spelt (id numeric PRIMARY KEY, title text);
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('pb.spelt', conflict => 'client_wins');
INSERT INTO pb.spelt VALUES (1.0, 'one');
SELECT is(complaint($$SELECT offsync.pb_delete('spelt', '1')$$), 'PT404|the record was not found|There is none of this id, or you can not see it.', 'an id that the row is not listed under');
SELECT is(offsync.pb_delete('spelt', '1.0')::text, '', 'and the one that it is');
SELECT is_empty('SELECT FROM pb.spelt', 'which deletes it');
SELECT is(split_part(complaint($$SELECT offsync.pb_update('note', 'never', '{"title":"again"}')$$), '|', 1), 'PT409', 'what was deleted stays so');
SELECT is(split_part(complaint($$SELECT offsync.pb_create('note', '{"id":"never","title":"again"}')$$), '|', 1), 'PT409', 'whoever makes it');
SELECT is(split_part(complaint(c), '|', 1), code, c) FROM (VALUES
	($$SELECT offsync.pb_create('note', '{"title":"no id"}')$$, 'PT422'), ($$SELECT offsync.pb_create('note', '{"id":7,"title":"no id"}')$$, 'PT422'),
	($$SELECT offsync.pb_create('note', '[]')$$, 'PT422'), ($$SELECT offsync.pb_create('note', NULL)$$, 'PT422'),
	($$SELECT offsync.pb_create('note', '{"id":"x"}')$$, 'PT422'), ($$SELECT offsync.pb_create('note', '{"id":"x","title":"x","n":"abc"}')$$, 'PT422'),
	($$SELECT offsync.pb_create('note', '{"id":"x","title":"\u0000"}')$$, 'PT422'), ($$SELECT offsync.pb_create('nowhere', '{"id":"x"}')$$, 'PT422'),
	($$SELECT offsync.pb_update('note', NULL, '{}')$$, 'PT422'), ($$SELECT offsync.pb_delete(NULL, 'x')$$, 'PT422'),
	($$SELECT offsync.pb_update('pin', 'no int', '{}')$$, 'PT422'), ($$SELECT offsync.pb_request('{}')$$, 'PT501')) v(c, code);
CREATE FUNCTION grumble() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
	IF NEW.title = 'gone' THEN PERFORM no_such_function(); END IF;
	IF NEW.title = 'wait' THEN RAISE lock_not_available; END IF;
	RAISE 'no'; END$$;
CREATE TRIGGER grumble BEFORE UPDATE ON note FOR EACH ROW WHEN (NEW.title IN ('gone', 'wait', 'no')) EXECUTE FUNCTION grumble();
SELECT is(split_part(complaint(format('SELECT offsync.pb_update(''note'', ''w'', ''{"title":"%s"}'')', title)), '|', 1), code, 'a trigger''s ' || title)
	FROM (VALUES ('no', 'PT422'), ('gone', 'PT422'), ('wait', '55P03')) v(title, code);

-- Paths
CREATE FUNCTION request(method text, uri text, body json DEFAULT '{}') RETURNS json LANGUAGE sql VOLATILE AS $$
	SELECT offsync.pb_request(body) FROM (SELECT set_config('request.headers', json_build_object('x-original-method', method, 'x-original-uri', uri)::text, false)) h$$;
SELECT is(rec(request('POST', '/api/collections/note/records', '{"id":"p/ä","title":"P"}')), 'p/ä P note', 'POST');
SELECT is(rec(request('PATCH', '/api/collections/note/records/p%2F%c3%A4?expand=', '{"title":"Q"}')), 'p/ä Q note', 'PATCH');
SELECT is(request('DELETE', '/api/collections/note/records/p%2F%C3%A4')::text, NULL, 'DELETE');
SELECT is(split_part(complaint(format('SELECT request(%L, %L)', m, u)), '|', 1), 'PT501', concat_ws(' ', m, u)) FROM (VALUES
	('GET', '/api/collections/note/records'), ('POST', '/api/collections/note/records/x'), ('DELETE', '/api/collections/note/records'),
	('PATCH', '/api/collections//records/x'), ('PATCH', '/api/collections/note/recordsx'), ('PATCH', '/api/health'), ('PATCH', ''), ('PATCH', NULL), (NULL, '/api/collections/note/records')) v(m, u);
SELECT is(split_part(complaint($$SELECT request('PATCH', '/api/collections/note/records/%ff', '{"title":"x"}')$$), '|', 1), 'PT501', 'bytes that are no text');
SELECT set_config('request.headers', '', false) \g /dev/null

-- ---------------------------------------------------------------------------
-- Soft deletes, keys of several columns
-- ---------------------------------------------------------------------------
CREATE TABLE soft (a int, b text, title text, deleted_at timestamptz, PRIMARY KEY (a, b));
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('soft', soft_delete => 'deleted_at');
INSERT INTO soft VALUES (1, 'x', 'live'), (2, 'y', 'dying'), (3, 'z', 'dead');
CALL mark('2 hours');
UPDATE soft SET deleted_at = now() WHERE a = 2;
DELETE FROM soft WHERE a = 3;
SELECT is(ids(offsync.pb_list('soft')), '1.x', 'live ones');
SELECT is(ids(since('0', 'soft')), '', 'what is soft-deleted isn''t listed');
SELECT is(ids(gone('0', 'soft')), '2.y,3.z', 'but in the log');
SELECT is(ids(offsync.pb_list('changes', 'collection_id = "soft"')), '2.y,3.z', 'since ever, too');
SELECT is(split_part(complaint(c), '|', 1), code, c) FROM (VALUES
	($$SELECT offsync.pb_delete('soft', '2.y')$$, 'PT404'), ($$SELECT offsync.pb_update('soft', '2.y', '{"title":"x"}')$$, 'PT409'),
	($$SELECT offsync.pb_create('soft', '{"id":"2.y","title":"x"}')$$, 'PT409'), ($$SELECT offsync.pb_delete('soft', '1.x')$$, 'none')) v(c, code);
SELECT is((SELECT string_agg(a || ':' || (deleted_at IS NULL), ',' ORDER BY a) FROM soft), '1:false,2:false', 'deletes are soft there');
SELECT is((SELECT title FROM soft WHERE a = 2), 'dying', 'and nothing comes back');

-- ---------------------------------------------------------------------------
-- Retention
-- ---------------------------------------------------------------------------
CREATE TABLE pruned (id int PRIMARY KEY);
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('pruned');
INSERT INTO pruned VALUES (1), (2), (3);
CALL mark('3 hours');
DELETE FROM pruned WHERE id = 1;
CALL mark('2 hours');
UPDATE offsync_internal.pruned_tombstone SET offsync_at = offsync_at - interval '2.5 hours';
DELETE FROM pruned WHERE id = 2;
SELECT is(ids(gone('2.2 hours', 'pruned')), '1,2', 'remembered');
SELECT ok(count(*) > 0, 'pruned') FROM offsync.prune('2.4 hours');
SELECT is(complaint($$SELECT gone('2.2 hours', 'pruned')$$), 'PT410|what is gone from collection "pruned" since that time is no longer known|'
	'Deletions that it has not seen may have been pruned.|Send what the device has not sent yet, then empty it and fetch everything anew.', 'forgotten, and told so');
SELECT matches(complaint($$SELECT since('2.2 hours', 'pruned')$$), '^PT410', 'by the list, too');
SELECT is(ids(gone('1.5 hours', 'pruned')), '2', 'later ones aren''t');
SELECT is(ids(offsync.pb_list('pruned')), '3', 'a first fetch never fails');
SELECT is(ids(offsync.pb_list('changes', 'collection_id = "pruned"')), '2', 'nor that of the log');

-- ---------------------------------------------------------------------------
-- Nobody is told of what the policies hide
-- ---------------------------------------------------------------------------
CREATE TABLE member (team int, who name);
GRANT SELECT ON member TO PUBLIC;
CREATE TABLE doc (id text PRIMARY KEY, team int, owner name DEFAULT current_user, body text NOT NULL, secret text);
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON doc USING (owner = current_user);
CREATE TABLE page (LIKE doc INCLUDING ALL);
ALTER TABLE page ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON page USING (team IN (SELECT m.team FROM member m WHERE m.who = current_user));
CREATE TABLE shown (LIKE doc INCLUDING ALL);
ALTER TABLE shown ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_read ON shown FOR SELECT USING (true);
CREATE POLICY own ON shown USING (owner = current_user);
GRANT SELECT (id, team, owner, body), INSERT, UPDATE, DELETE ON doc, page, shown TO pb_ann, pb_bob;
SELECT ok(count(*) > 0, 'enabled') FROM unnest('{doc,page,shown}'::regclass[]) r, offsync.enable(r, conflict => 'client_wins');
INSERT INTO member VALUES (1, 'pb_ann'), (2, 'pb_bob');
INSERT INTO doc SELECT right(who, 3) || i, 1, who, 'x', 's' FROM unnest('{pb_ann,pb_bob}'::name[]) who, generate_series(1, 3) i;
INSERT INTO page VALUES ('a1', 1, NULL, 'x'), ('a2', 1, NULL, 'x'), ('b1', 2, NULL, 'x'), ('b2', 2, NULL, 'x');
INSERT INTO shown VALUES ('s', 1, 'pb_bob', 'x');
CALL mark('2 hours');
DELETE FROM doc WHERE id ~ '1$';
DELETE FROM page WHERE id ~ '1$';
SET ROLE pb_ann;
SELECT is(ids(offsync.pb_list('doc')), 'ann2,ann3', 'own rows');
SELECT is(offsync.pb_list('doc') #>> '{items,0,secret}', NULL, 'and columns');
SELECT is(ids(since('0', 'doc')), '', 'nothing new');
SELECT is(ids(gone('0', 'doc')), 'ann1', 'own deletions');
SELECT is(ids(gone('0', 'page')), 'a1', 'the team''s');
SELECT is(ids(offsync.pb_list('changes', 'collection_name = ''doc''')), 'ann1', 'and since ever');
SELECT is(ids(offsync.pb_list('changes', 'collection_name = ''page''')), '', 'where memberships decide: nothing, as they may have been others');
SELECT is((SELECT string_agg(record_id, ',') FROM offsync.changes(collection => 'doc')), 'ann1', 'in SQL');
SELECT is(complaint($$SELECT offsync.pb_delete('doc', 'bob2')$$), complaint($$SELECT offsync.pb_delete('doc', 'bob9')$$), 'hidden, or not there: one answer to a deletion');
SELECT is(complaint($$SELECT offsync.pb_update('doc', 'bob2', '{"body":"x","owner":"pb_bob"}')$$), complaint($$SELECT offsync.pb_update('doc', 'bob9', '{"body":"x","owner":"pb_bob"}')$$), 'to an update');
SELECT matches(complaint($$SELECT offsync.pb_update('doc', 'bob2', '{"body":"x"}')$$), '^PT404', 'hidden');
SELECT is(regexp_replace(complaint($$SELECT offsync.pb_create('doc', '{"id":"bob2","body":"x","owner":"pb_bob"}')$$), 'bob2', 'bob9', 'g'),
	complaint($$SELECT offsync.pb_create('doc', '{"id":"bob9","body":"x","owner":"pb_bob"}')$$), 'and to a new record');
SELECT is(split_part(complaint(c), '|', 1), code, c) FROM (VALUES
	($$SELECT offsync.pb_create('doc', '{"id":"bob2","body":"x"}')$$, '42501'),
	($$SELECT offsync.pb_update('shown', 's', '{"body":"mine"}')$$, 'PT422'), ($$SELECT offsync.pb_delete('shown', 's')$$, 'PT422'),
	($$SELECT offsync.pb_create('shown', '{"id":"s","body":"mine"}')$$, 'PT422'),
	($$SELECT offsync.pb_update('doc', 'ann2', '{"owner":"pb_bob"}')$$, 'PT422')) v(c, code);
-- tombstones of a project that one joins later
RESET ROLE;
CALL mark('90 minutes');
DELETE FROM page WHERE id = 'b2';
CALL mark('11.5 minutes');
INSERT INTO member VALUES (2, 'pb_ann');
INSERT INTO page VALUES ('b3', 2, NULL, 'x');
SET ROLE pb_ann;
SELECT matches(complaint($$SELECT gone('0', 'page')$$), '^PT410', 'a membership that changes');
RESET ROLE;
CALL mark('5 minutes');
DELETE FROM page WHERE id = 'b3';
SET ROLE pb_ann;
SELECT is(ids(gone('0', 'page')), 'b3', 'only what was deleted since');
RESET ROLE;
REVOKE SELECT ON doc FROM pb_ann;
SET ROLE pb_ann;
SELECT is(split_part(complaint($$SELECT offsync.pb_list('doc')$$), '|', 1), '42501', 'no right to read');
SELECT is(split_part(complaint($$SELECT offsync.pb_update('doc', 'ann2', '{"body":"x"}')$$), '|', 1), 'PT422', 'and the device keeps its row');
RESET ROLE;

-- The column was there before offsync
CREATE TABLE old (id text PRIMARY KEY, server_updated_at timestamptz);
INSERT INTO old VALUES ('a', 'infinity'), ('b', '-infinity');
SELECT FROM offsync.enable('old') \g /dev/null
SELECT is((SELECT string_agg(DISTINCT i ->> 'updated', ',') FROM json_array_elements(offsync.pb_list('old') -> 'items') i), '1970-01-01 00:00:00.000Z', 'a time that the client can read');

SELECT * FROM finish();
DROP SCHEMA pb, pb_api CASCADE;
DROP OWNED BY pb_ann, pb_bob;
DROP ROLE pb_ann, pb_bob;
