-- The contract of push_changes: its signature, the shape of its answers and errors, and whose rights it has.
\ir begin.psql
BEGIN;
SELECT plan(47);

-- Signature
SELECT has_function('offsync', 'push_changes', ARRAY['json', 'text', 'text', 'text', 'text', 'text']);
SELECT function_returns('offsync', 'push_changes', ARRAY['json', 'text', 'text', 'text', 'text', 'text'], 'json');
SELECT volatility_is('offsync', 'push_changes', ARRAY['json', 'text', 'text', 'text', 'text', 'text'], 'volatile');
SELECT isnt_definer('offsync', 'push_changes', ARRAY['json', 'text', 'text', 'text', 'text', 'text']);
SELECT is(proargnames::text, '{changes,last_pulled_at,client_id,push_id,on_error,dialect}', 'argument names')
  FROM pg_proc WHERE oid = 'offsync.push_changes'::regproc;
SELECT is(pronargdefaults::int, 5, 'all but the changes may be left out')
  FROM pg_proc WHERE oid = 'offsync.push_changes'::regproc;
SELECT is(proparallel::text, 'u', 'never in a parallel worker') FROM pg_proc WHERE oid = 'offsync.push_changes'::regproc;

-- Answers
CREATE TABLE tap_item (id uuid PRIMARY KEY, name text, n int CHECK (n < 10), email text UNIQUE);
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('tap_item');
PREPARE store AS SELECT offsync.push_changes('{"tap_item": {"created": [
	{"id": "11111111-1111-1111-1111-111111111111", "name": "Ä ö", "email": "a"}]}}');
SELECT lives_ok('store', 'a record is stored');
SELECT lives_ok('store', 'and again: nothing to do');
SELECT is((SELECT array_agg(k ORDER BY k) FROM json_object_keys(offsync.push_changes('{}')) k),
	'{applied,cursor,timestamp}', 'members of an answer');
SELECT is(json_typeof(offsync.push_changes('{}', NULL) -> 'cursor'), 'null', 'no cursor given, none answered');
SELECT is(json_typeof(offsync.push_changes('{}', '') -> 'timestamp'), 'null', 'nor a timestamp');
SELECT is(json_typeof(offsync.push_changes('{}', '0') -> 'timestamp'), 'null', '0 is a first sync');
SELECT is(offsync.push_changes('{}', offsync.pull_changes() ->> 'timestamp') ->> 'timestamp',
	offsync.pull_changes() ->> 'timestamp', 'the number comes back');
SELECT is(json_typeof(offsync.push_changes('{}', offsync.pull_changes() ->> 'cursor') -> 'cursor'), 'string', 'a cursor for a cursor');
SELECT is(json_typeof(offsync.push_changes('{}', '2024-01-01T00:00:00Z') -> 'timestamp'), 'null', 'clocks get no number');
SELECT is(offsync.push_changes('{"public.tap_item": {"updated": [{"id": "11111111-1111-1111-1111-111111111111", "x": 1, "y": 2, "_status": ""}]}}')::jsonb,
	'{"timestamp": null, "cursor": null, "applied": {"public.tap_item": {"created": 0, "updated": 1, "deleted": 0}},
	  "ignoredColumns": {"public.tap_item": ["x", "y"]}}', 'collections are named as they were sent');

-- Errors
CREATE FUNCTION tap_push(changes text) RETURNS text LANGUAGE sql AS
	$$SELECT format('SELECT offsync.push_changes(%L)', changes)$$;
SELECT throws_ok('SELECT offsync.push_changes(NULL)', 'PT400', 'changes must not be null');
SELECT throws_ok('SELECT offsync.push_changes(''{}'', ''x'')', 'PT400', 'malformed last_pulled_at');
SELECT lives_ok('SELECT offsync.push_changes(''{}'', on_error => ''skip'')', 'skip is taken');
SELECT throws_ok('SELECT offsync.push_changes(''{}'', on_error => ''explode'')', '22023');
SELECT throws_ok('SELECT offsync.push_changes(''{}'', dialect => ''klingon'')', '22023');
SELECT throws_ok(tap_push('{"tap_none": {}}'), 'PT404', 'unknown collection "tap_none"');
SELECT throws_ok(tap_push('[]'), 'PT400');
SELECT throws_ok(tap_push('{"tap_item": []}'), 'PT400');
SELECT throws_ok(tap_push('{"tap_item": {"created": [1]}}'), 'PT400');
SELECT throws_ok(tap_push('{"tap_item": {"created": [{"name": "x"}]}}'), 'PT400');
SELECT throws_ok(tap_push('{"tap_item": {"created": [{"id": "A1111111-1111-1111-1111-111111111111"}]}}'), 'PT400', 'malformed id',
	'an id that the server writes otherwise');
SELECT throws_ok(tap_push('{"tap_item": {"created": [{"id": "not a uuid"}]}}'), '22P02');
SELECT throws_ok(tap_push('{"tap_item": {"created": [{"id": "21111111-1111-1111-1111-111111111111", "n": 10}]}}'), '23514');
SELECT throws_ok(tap_push('{"tap_item": {"created": [{"id": "21111111-1111-1111-1111-111111111111", "email": "a"}]}}'), '23505',
	'duplicate key value violates unique constraint "tap_item_email_key"', 'another unique key is told of');
SELECT is((SELECT count(*)::int FROM tap_item), 1, 'nothing of all that was stored');
-- What no text can hold
CREATE TABLE tap_zero (id text PRIMARY KEY, a text, n int, j json);
SELECT FROM offsync.enable('tap_zero') \g /dev/null
INSERT INTO tap_zero VALUES ('gone', 'x');
CREATE FUNCTION tap_zero(changes text, OUT applied text, OUT refused text) LANGUAGE plpgsql AS $$
DECLARE answer json := offsync.push_changes(changes::json, on_error => 'skip');
BEGIN
	applied := answer -> 'applied' ->> 'tap_zero';
	refused := (SELECT string_agg(concat_ws(' ', r ->> 'id', r ->> 'code', r ->> 'reason'), ', ') FROM json_array_elements(answer -> 'rejected') r);
END $$;
SELECT is(tap_zero('{"tap_zero": {"created": [{"id": "z1", "a": "fine \u00e4"}, {"id": "z2", "a": "\u0000"}, {"n": 1, "a": "\\ \u0000 \ud83d\ude00", "id": "z3"}, {"id": "z4", "j": {"k": ["\u0000"]}},
	{"id": "z5", "_changed": "\u0000"}, {"id": "z6", "other": "\u0000"}, {"id": "z7", "n": "\ud800"}, {"id": "z8", "a": "\u0000", "a": "y"}, {"id": "z9", "a": "fine"}], "deleted": [{"id": "gone", "a": "\u0000"}]}}')::text,
	(E'{"created":2,"updated":0,"deleted":0}', 'gone 22P05 unsupported Unicode escape sequence, ' || (SELECT string_agg(format('z%s 22P0%s', i, CASE WHEN i = 7 THEN '2 invalid input syntax for type json'
		ELSE '5 unsupported Unicode escape sequence' END), ', ') FROM generate_series(2, 8) i))::text, 'is refused alone where bad records are skipped');
SELECT is((SELECT string_agg(id || a, ',' ORDER BY id) FROM tap_zero), 'gonex,z1fine ä,z9fine');
SELECT throws_ok(tap_push('{"tap_zero": {"created": [{"id": "z10"}, {"id": "z11", "a": "\u0000"}]}}'), '22P05', 'unsupported Unicode escape sequence', 'or fails the push');
SELECT throws_ok($$SELECT offsync.push_changes($z${"tap_zero": {"created": [{"id": "\u0000"}]}}$z$, on_error => 'skip')$$, '22P05', NULL, 'in an id it is nobody''s');
SELECT is((SELECT count(*)::int FROM tap_zero), 3);

-- The caller's rights
CREATE ROLE tap_push_nobody;
SELECT function_privs_are('offsync', 'push_changes', ARRAY['json', 'text', 'text', 'text', 'text', 'text'],
	'tap_push_nobody', ARRAY['EXECUTE']);
SET LOCAL ROLE tap_push_nobody;
SELECT lives_ok(format('SELECT offsync.push_changes(%L)', '{"tap_item": {}}'), 'an empty push needs no grant');
SELECT throws_ok(format('SELECT offsync.push_changes(%L)', '{"tap_item": {"deleted": ["11111111-1111-1111-1111-111111111111"]}}'),
	'42501', 'permission denied for table tap_item');
SELECT throws_ok(format('SELECT offsync.push_changes(%L)', '{"tap_item": {"created": [{"id": "31111111-1111-1111-1111-111111111111"}]}}'),
	'42501', 'permission denied for table tap_item');
RESET ROLE;
GRANT INSERT (id, name) ON tap_item TO tap_push_nobody;
SET LOCAL ROLE tap_push_nobody;
SELECT lives_ok(format('SELECT offsync.push_changes(%L)', '{"tap_item": {"created": [{"id": "31111111-1111-1111-1111-111111111111", "name": "x"}]}}'),
	'who may insert and not read can push new records');
SELECT throws_ok(format('SELECT offsync.push_changes(%L)', '{"tap_item": {"created": [{"id": "41111111-1111-1111-1111-111111111111", "n": 1}]}}'),
	'42501', 'permission denied for table tap_item', 'a column without a grant');
SELECT throws_ok(format('SELECT offsync.push_changes(%L)', '{"tap_item": {"created": [{"id": "11111111-1111-1111-1111-111111111111", "name": "x"}]}}'),
	'42501', 'a record of collection "tap_item" was refused', 'a row out of sight');
RESET ROLE;
SELECT is((SELECT string_agg(coalesce(name, '-'), ',' ORDER BY id) FROM tap_item), 'Ä ö,x', 'what was stored in the end');
SELECT ok(NOT EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) a
	WHERE c.relnamespace = 'offsync_internal'::regnamespace AND a.grantee = 0
	  AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')), 'nobody writes our tables');

SELECT * FROM finish();
ROLLBACK;
