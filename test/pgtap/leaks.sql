-- Who may do what, and P4: nothing tells a caller of a row that the policies never let it see.
-- Every statement is a transaction of its own, as devices have them.
\ir begin.psql
DROP ROLE IF EXISTS leak_owner;
DROP ROLE IF EXISTS leak_ann;
DROP ROLE IF EXISTS leak_bob;
DROP ROLE IF EXISTS leak_blind;
DROP ROLE IF EXISTS leak_team;
CREATE ROLE leak_owner;
CREATE ROLE leak_ann;
CREATE ROLE leak_bob;
CREATE ROLE leak_blind;
CREATE ROLE leak_team;
CREATE SCHEMA leaks;
GRANT USAGE, CREATE ON SCHEMA leaks TO PUBLIC;
CREATE SCHEMA leak_hostile;
GRANT USAGE, CREATE ON SCHEMA leak_hostile TO leak_ann;
SET search_path = leaks, public;
SELECT no_plan();

CREATE FUNCTION cursor_of(VARIADIC collections text[]) RETURNS text LANGUAGE sql VOLATILE
	AS $$SELECT offsync.pull_changes(NULL, collections) ->> 'cursor'$$;
CREATE FUNCTION ids(records json) RETURNS text LANGUAGE sql
	AS $$SELECT coalesce(string_agg(coalesce(r ->> 'id', r #>> '{}'), ',' ORDER BY coalesce(r ->> 'id', r #>> '{}') COLLATE "C"), '') FROM json_array_elements(records) r$$;
-- ids of an answer since a cursor: created / updated / deleted
CREATE FUNCTION news(c text, collection text) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN b -> 'experimentalStrategy' IS NULL THEN concat_ws(' / ', ids(a -> 'created'), ids(a -> 'updated'), ids(a -> 'deleted'))
		ELSE 'replaced by ' || ids(((a -> 'created')::jsonb || (a -> 'updated')::jsonb || (a -> 'deleted')::jsonb)::json) END
	FROM (SELECT x AS b, x -> 'changes' -> collection AS a FROM offsync.pull_changes(c, ARRAY[collection], client_id => 'phone') x) p$$;
CREATE FUNCTION push(collection text, list text, records json, c text DEFAULT NULL) RETURNS json LANGUAGE sql VOLATILE
	AS $$SELECT offsync.push_changes(json_build_object(collection, json_build_object(list, records)), c)$$;
-- an error as one text: all of it that a client gets
CREATE FUNCTION complaint(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE m text; d text; h text;
BEGIN EXECUTE sql; RETURN 'none';
EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN concat_ws('|', SQLSTATE, m, d, h); END$$;

-- ---------------------------------------------------------------------------
-- The privilege surface, all of it
-- ---------------------------------------------------------------------------
SELECT is((SELECT string_agg(nspname || ' ' || p, ', ' ORDER BY nspname, p) FROM pg_namespace, unnest('{USAGE,CREATE}'::text[]) p
	WHERE nspname ~ '^offsync' AND has_schema_privilege('leak_ann', oid, p)), 'offsync USAGE, offsync_internal USAGE', 'schemas: used by all, written by none');
SELECT is((SELECT string_agg(c.oid::regclass || ' ' || p, ', ' ORDER BY c.oid::regclass::text, p)
	FROM pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
	WHERE c.relnamespace IN ('offsync'::regnamespace, 'offsync_internal'::regnamespace) AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
	AND has_table_privilege('leak_ann', c.oid, p)), 'offsync.clients SELECT, offsync.stats SELECT, offsync.status SELECT', 'tables: those alone that check their caller');
SELECT is((SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c
	WHERE c.relnamespace = 'offsync_internal'::regnamespace AND c.relkind = 'r' AND has_any_column_privilege('leak_ann', c.oid, 'SELECT,INSERT,UPDATE,REFERENCES')
	AND c.oid NOT IN (SELECT tombstones FROM offsync.status)), NULL, 'columns: none but those of tombstones');
SELECT is((SELECT string_agg(p.oid::regprocedure::text, ', ' ORDER BY 1) FROM pg_proc p
	WHERE p.pronamespace IN ('offsync'::regnamespace, 'offsync_internal'::regnamespace) AND p.prosecdef), NULL, 'no SECURITY DEFINER');
SELECT is((SELECT string_agg(p.proname, ', ' ORDER BY p.proname COLLATE "C") FROM pg_proc p
	WHERE p.pronamespace IN ('offsync'::regnamespace, 'offsync_internal'::regnamespace) AND NOT has_function_privilege('leak_ann', p.oid, 'EXECUTE')),
	'new_incarnation', 'functions: one that ends all cursors isn''t for everybody');
SELECT set_eq($$SELECT DISTINCT p.proname::text COLLATE "default" FROM pg_proc p WHERE p.pronamespace IN ('offsync'::regnamespace, 'offsync_internal'::regnamespace)$$,
	'{enable,disable,reset,new_incarnation,expose,drift_pull,drift_push,pull_messages,push_messages,messages_handler,rest,rest_list,rest_get,rest_put,rest_post,rest_delete,rest_batch,rest_health,crdt_hello,crdt_changeset,crdt_merge,new_id,pb_list,pb_create,pb_update,pb_delete,pb_request,changes,pull_changes,pull_stream,push_changes,sync_changes,prune,cursor_info,client_schema,explain,advise,pull_reason,digest,reconcile,stamp,bury,truncated,key_readable,touched,ddl_end,ddl_drop,ddl_rewrite,status,kept,clients,stats,stats_reset,check}'::text[],
	'and there are no others');

-- ---------------------------------------------------------------------------
-- The table of this file
-- ---------------------------------------------------------------------------
SET ROLE leak_owner;
CREATE TABLE note (id int PRIMARY KEY, owner name, body text, secret text);
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON note USING (owner = current_user);
CREATE POLICY read_all ON note FOR SELECT TO leak_team USING (owner <> 'leak_bob' OR body <> 'private');
CREATE POLICY narrow ON note AS RESTRICTIVE FOR SELECT TO leak_ann USING (body <> 'never');
GRANT SELECT (id, owner, body), INSERT, UPDATE, DELETE ON note TO leak_ann, leak_bob;
GRANT SELECT (body), INSERT, DELETE ON note TO leak_blind;
CREATE TABLE bits (id int PRIMARY KEY, note int REFERENCES note ON DELETE CASCADE, owner name);
ALTER TABLE bits ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON bits USING (owner = current_user);
GRANT ALL ON bits TO leak_ann;
SELECT ok(count(*) > 0, 'the owner enables') FROM offsync.enable('note');
SELECT ok(count(*) > 0, 'the owner enables') FROM offsync.enable('bits');
INSERT INTO note SELECT 10 + g, 'leak_ann', 'a', 's' FROM generate_series(1, 5) g;
INSERT INTO note SELECT 20 + g, 'leak_bob', 'b', 's' FROM generate_series(1, 5) g;
INSERT INTO note VALUES (16, 'leak_ann', 'never', 's');
SET ROLE leak_ann;
SELECT c ->> 'cursor' AS ann, c ->> 'timestamp' AS ann_number FROM offsync.pull_changes(NULL, '{note}') c \gset
SET ROLE leak_bob;
SELECT cursor_of('note') bob \gset
SET ROLE leak_owner;
DELETE FROM note WHERE id IN (11, 16, 21);
UPDATE note SET owner = 'leak_bob' WHERE id = 12;
UPDATE note SET owner = 'leak_ann' WHERE id = 22;
UPDATE note SET body = 'never' WHERE id = 13;
BEGIN;
INSERT INTO note VALUES (30, 'nobody', 'x');
UPDATE note SET owner = 'leak_ann' WHERE id = 30;
UPDATE note SET owner = 'leak_bob' WHERE id = 30;
COMMIT;

SET ROLE leak_ann;
SELECT is(news(:'ann', 'note'), '22 /  / 11,12,13', 'permissive and restrictive: what came, what went, nothing else');
SELECT is(news(:'ann_number', 'note'), ' / 22 / 11,12,13', 'by number, too');
SELECT is(news(:'bob', 'note'), 'replaced by 14,15,22', 'another user''s cursor names nothing');
SET ROLE leak_bob;
SELECT is(news(:'bob', 'note'), '12,30 /  / 21,22', 'the other user');
SELECT is(news(:'ann', 'note'), 'replaced by 12,23,24,25,30', 'and with the first one''s');
SET ROLE leak_blind;
SELECT throws_ok(format($$SELECT offsync.pull_changes(%L, '{note}')$$, :'ann'), '42501', 'permission denied for collection "note"');
SELECT is(offsync.pull_changes(:'ann') -> 'changes' ->> 'note', NULL, 'left out for who can''t read the key');

-- Tombstones read directly
SET ROLE leak_ann;
SELECT results_eq('SELECT id FROM offsync_internal.note_tombstone ORDER BY id', '{11,12,13}'::int[], 'only what it saw');
SELECT throws_ok('SELECT * FROM offsync_internal.note_tombstone', '42501', NULL, 'no image of a column');
SELECT throws_ok('SELECT owner FROM offsync_internal.note_tombstone', '42501');
SELECT throws_ok('SELECT t FROM offsync_internal.note_tombstone t', '42501', NULL, 'nor of the whole row');
SELECT throws_ok('INSERT INTO offsync_internal.note_tombstone (id, offsync_version) VALUES (1, 1)', '42501');
SELECT throws_ok('DELETE FROM offsync_internal.note_tombstone', '42501');
SELECT throws_ok('TRUNCATE offsync_internal.note_tombstone', '42501');
SELECT throws_ok('LOCK offsync_internal.note_tombstone IN EXCLUSIVE MODE', '42501');
SELECT throws_ok('CREATE TABLE spy (id int, v bigint, FOREIGN KEY (id, v) REFERENCES offsync_internal.note_tombstone)', '42501');
SELECT throws_ok('CREATE TRIGGER spy AFTER INSERT ON offsync_internal.note_tombstone EXECUTE FUNCTION offsync_internal.truncated()', '42501');
SELECT throws_ok('SELECT * FROM offsync_internal.' || t, '42501', NULL, t || ' is private')
	FROM unnest('{synced_table,incarnation,reset_event,timeline,secret}'::text[]) t;
SELECT is((SELECT count(*) FROM pg_stats WHERE tablename = 'note_tombstone'), 0::bigint, 'no statistics');
-- a cheap leaky function runs behind the policies
CREATE FUNCTION leak_hostile.leak(id int) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
	$$BEGIN PERFORM set_config('leak.seen', concat_ws(',', nullif(current_setting('leak.seen', true), ''), id), false); RETURN true; END$$;
SELECT count(*) FROM offsync_internal.note_tombstone WHERE leak_hostile.leak(id) \g /dev/null
SELECT is((SELECT string_agg(x, ',' ORDER BY x) FROM unnest(string_to_array(current_setting('leak.seen'), ',')) x), '11,12,13', 'a leaky function sees no more');
SELECT set_config('leak.seen', '', false) \g /dev/null
CREATE FUNCTION plan_of(sql text) RETURNS text LANGUAGE plpgsql AS $$DECLARE r text; o text := ''; BEGIN FOR r IN EXECUTE sql LOOP o := o || r || E'\n'; END LOOP; RETURN o; END$$;
SELECT unalike(plan_of('EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT id FROM offsync_internal.note_tombstone WHERE leak_hostile.leak(id)'), '%21%', 'nor EXPLAIN');
SET ROLE leak_blind;
SELECT is((SELECT count(id) FROM offsync_internal.note_tombstone), 0::bigint, 'nothing without the key''s privilege');
RESET ROLE;

-- ---------------------------------------------------------------------------
-- Refusals: one wording
-- ---------------------------------------------------------------------------
SET ROLE leak_ann;
SELECT is(complaint($$SELECT push('note', 'updated', '[{"id": "23", "owner": "leak_ann", "body": "mine"}]')$$),
	'42501|a record of collection "note" was refused|Row-level security or privileges do not let you write record "23".|', 'an id of a hidden row');
SELECT is(replace(complaint(format($$SELECT push('note', '%s', '[{"id": "%s", "owner": "%s", "body": "mine"}]', %s)$$, l, i, o, c)), i, '?'),
	'42501|a record of collection "note" was refused|Row-level security or privileges do not let you write record "?".|', concat_ws(' ', 'the same:', l, i, o))
	FROM unnest('{created,updated}'::text[]) l, (VALUES ('23', 'leak_ann'), ('23', 'leak_bob'), ('99', 'leak_bob')) v (i, o), (VALUES ('NULL'), (quote_literal(:'ann'))) w (c);
SELECT is(complaint($$SELECT push('note', 'created', '[{"id": "90", "owner": "leak_ann", "body": "fine"}, {"id": "24", "owner": "leak_ann", "body": "x"}]')$$),
	'42501|a record of collection "note" was refused|Row-level security or privileges do not let you write record "24".|', 'among others');
SELECT is(replace(push('note', 'deleted', '["23"]')::text, '23', '?'), replace(push('note', 'deleted', '["99"]')::text, '99', '?'), 'deletions of what isn''t there, and of what can''t be seen');
SELECT is(complaint($$SELECT push('note', 'updated', '[{"id": "21", "owner": "leak_ann", "body": "x"}]', '$$ || :'ann' || $$')$$), 'none', 'an id whose hidden row was deleted is free');
SELECT push('note', 'deleted', '["21"]', cursor_of('note')) IS NULL AS x \g /dev/null
SELECT is(complaint(format($$SELECT push('note', 'updated', '[{"id": "11", "owner": "leak_ann", "body": "x"}]', %L)$$, :'ann')) ~ '^PT409.*"reason":"deleted"', true, 'one that it saw is a conflict');
SELECT is(complaint(format($$SELECT push('note', 'updated', '[{"id": "12", "owner": "leak_ann", "body": "x"}]', %L)$$, :'ann')) ~ '^PT409.*"current":null', true, 'so is one that went out of sight, without its row');
SELECT unalike(complaint(format($$SELECT push('note', 'updated', '[{"id": "22", "body": "x"}]', %L)$$, :'ann')), '%secret%', 'a conflict''s row has only columns that can be read');
SELECT is(complaint($$SELECT push('bits', 'created', '[{"id": "1", "note": 23, "owner": "leak_ann"}]')$$), 'none', 'a foreign key sees hidden rows, as INSERT does');
SELECT is(complaint($$SELECT push('note', 'created', '[{"id": "x\"y", "owner": "leak_ann"}]')$$) ~ '^22P02', true, 'errors of types stay');
SET ROLE leak_blind;
SELECT is(complaint($$SELECT push('note', 'created', '[{"id": "23", "owner": "leak_blind", "body": "x"}]')$$),
	'42501|a record of collection "note" was refused|Row-level security or privileges do not let you write record "23".|', 'who can only insert learns no more');
SELECT is(complaint($$SELECT push('note', 'deleted', '["23"]')$$), complaint($$SELECT push('note', 'deleted', '["99"]')$$), 'nor by deleting');
RESET ROLE;

-- A column that can be written but not read isn't guessed by pushing
SET ROLE leak_ann;
SELECT offsync.pull_changes(NULL, '{note}') ->> 'timestamp' ts \gset
SELECT lives_ok(format($$SELECT push('note', 'updated', '[{"id": "14", "secret": "wrong"}]', %L)$$, :'ts'), 'a wrong guess');
SELECT offsync.pull_changes(NULL, '{note}') ->> 'timestamp' ts \gset
SELECT lives_ok(format($$SELECT push('note', 'updated', '[{"id": "14", "secret": "wrong"}]', %L)$$, :'ts'), 'a right one: pushed twice is pushed once');
SELECT offsync.pull_changes(NULL, '{note}') ->> 'cursor' c \gset
SELECT push('note', 'updated', '[{"id": "14", "secret": "wrong"}]', :'c') ->> 'cursor' c2 \gset
SELECT is(news(:'c2', 'note'), ' /  / ', 'and heals nothing');
RESET ROLE;

-- ---------------------------------------------------------------------------
-- Forged cursors: every bit counts
-- ---------------------------------------------------------------------------
SET ROLE leak_ann;
SELECT is((SELECT count(*) FROM generate_series(2, length(:'ann')) g,
		complaint(format('SELECT offsync.pull_changes(%L)', overlay(:'ann' PLACING CASE substr(:'ann', g, 1) WHEN 'A' THEN 'B' ELSE 'A' END FROM g))) m
	WHERE m !~ '^PT400' AND m <> 'none'), 0::bigint, 'a changed letter is malformed, or nothing');
SELECT is((SELECT string_agg(DISTINCT p -> 'experimentalStrategy' -> 'override' ->> 'note', ',') FROM generate_series(2, length(:'ann')) g,
		LATERAL (SELECT overlay(:'ann' PLACING CASE substr(:'ann', g, 1) WHEN 'A' THEN 'B' ELSE 'A' END FROM g) AS c) f,
		LATERAL (SELECT CASE WHEN complaint(format('SELECT offsync.pull_changes(%L)', c)) = 'none' AND c <> :'ann' THEN offsync.pull_changes(c, '{note}') END AS p) q
	WHERE p IS NOT NULL), NULL, 'and is never followed');
SELECT ok(bool_and(complaint(format('SELECT offsync.pull_changes(%L)', left(:'ann', g))) ~ '^PT400'), 'nor is a part of one') FROM generate_series(1, length(:'ann') - 1) g;
SELECT ok(complaint(format('SELECT offsync.pull_changes(%L)', :'ann' || 'A')) ~ '^PT400', 'nor more than one');
SELECT ok(complaint(format('SELECT offsync.push_changes(''{}'', %L)', left(:'ann', 40))) ~ '^PT400', 'a push refuses them, too');
SELECT is(offsync.cursor_info(:'bob') ->> 'kind', 'exact', 'a cursor says where it stands');
SELECT ok(offsync.cursor_info(:'bob')::text !~ '2[1-5]"', 'and names no row');
RESET ROLE;

-- ---------------------------------------------------------------------------
-- Roles, grants and policies change between pulls
-- ---------------------------------------------------------------------------
SET ROLE leak_ann;
SELECT c ->> 'cursor' AS ann, c ->> 'timestamp' AS ann_number FROM offsync.pull_changes(NULL, '{note}') c \gset
RESET ROLE;
DELETE FROM leaks.note WHERE id = 23;
GRANT leak_team TO leak_ann;
SET ROLE leak_ann;
SELECT is(news(:'ann', 'note'), 'replaced by 12,14,15,22,24,25,30', 'a granted role');
SELECT cursor_of('note') ann \gset
RESET ROLE;
REVOKE leak_team FROM leak_ann;
SET ROLE leak_ann;
SELECT is(news(:'ann', 'note'), 'replaced by 14,15,22', 'and revoked');
SELECT cursor_of('note') ann \gset
RESET ROLE;
REVOKE SELECT (body) ON note FROM leak_ann;
SET ROLE leak_ann;
SELECT is(news(:'ann', 'note'), 'replaced by 14,15,22', 'a column''s privilege');
SELECT is(offsync.pull_changes(NULL, '{note}') -> 'changes' -> 'note' -> 'created' -> 0 ->> 'body', NULL, 'left out');
SELECT is(complaint('SELECT offsync.pull_changes(NULL, ''{note}'')'), 'none', 'though a policy reads it');
RESET ROLE;
GRANT SELECT (body) ON note TO leak_ann;
SET ROLE leak_ann;
SELECT c ->> 'cursor' AS ann, c ->> 'timestamp' AS ann_number FROM offsync.pull_changes(NULL, '{note}') c \gset
SET ROLE leak_owner;
DELETE FROM note WHERE id = 24;
ALTER POLICY own ON note USING (owner IS NOT NULL);
SET ROLE leak_ann;
SELECT is(news(:'ann_number', 'note'), 'replaced by 12,14,15,22,25,30', 'a wider policy shows no old deletions');
SELECT is_empty('SELECT id FROM offsync_internal.note_tombstone', 'nowhere');
SET ROLE leak_owner;
ALTER POLICY own ON note USING (owner = current_user);
SET ROLE leak_ann;
SELECT offsync.pull_changes(NULL, '{note}') ->> 'timestamp' AS ann_number \gset
SET ROLE leak_owner;
DELETE FROM note WHERE id = 25;
RESET ROLE;
-- another session widens the policy while a snapshot is open that still sees the tombstone
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM pg_class \g /dev/null
\! psql -X -q -c "ALTER POLICY own ON leaks.note USING (owner IS NOT NULL)"
SET LOCAL ROLE leak_ann;
SELECT is(ids(offsync.pull_changes(:'ann_number', '{note}') -> 'changes' -> 'note' -> 'deleted'), '', 'nor in an old snapshot');
SELECT is_empty('SELECT id FROM offsync_internal.note_tombstone', 'read directly, either');
COMMIT;
SET ROLE leak_ann;
SELECT is(news(:'ann_number', 'note'), 'replaced by 12,14,15,22,30', 'this session has heard of it');
SET ROLE leak_owner;
ALTER POLICY own ON note USING (owner = current_user);
RESET ROLE;

-- What a number can't tell: a policy reads another table
CREATE TABLE member (who name PRIMARY KEY, team int);
INSERT INTO member VALUES ('leak_ann', 1), ('leak_bob', 2);
GRANT SELECT ON member TO PUBLIC;
CREATE TABLE board (id int PRIMARY KEY, team int);
ALTER TABLE board ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON board USING (team = (SELECT m.team FROM leaks.member m WHERE m.who = current_user));
CREATE TABLE plain (id int PRIMARY KEY, who name);
ALTER TABLE plain ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON plain USING (who = (SELECT current_user));
GRANT ALL ON board, plain TO leak_ann;
INSERT INTO board VALUES (1, 1), (2, 2), (3, 2);
SELECT ok(count(*) > 0, 'board') FROM offsync.enable('board');
SELECT ok(count(*) > 0, 'plain') FROM offsync.enable('plain');
SET ROLE leak_ann;
SELECT c ->> 'cursor' AS ann, c ->> 'timestamp' AS ann_number FROM offsync.pull_changes(NULL, '{board,plain}') c \gset
SELECT is(news(:'ann', 'board'), ' /  / ', 'an exact cursor carries what the policy read');
RESET ROLE;
DELETE FROM board WHERE id = 3;
UPDATE member SET team = 2 WHERE who = 'leak_ann';
SET ROLE leak_ann;
SELECT is(news(:'ann', 'board'), 'replaced by 2', 'and sees it change');
SELECT is(news(:'ann_number', 'board'), 'replaced by 2', 'a number starts anew, and names nothing of the past');
SELECT is(news(:'ann_number', 'plain'), ' /  / ', 'a subquery without a table harms no number');
RESET ROLE;

-- Expressions around placeholders: the cast's outcome depends on a setting, per element
CREATE TABLE dated (id int PRIMARY KEY, days text[], kind text);
ALTER TABLE dated ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON dated USING ('2020-01-01 00:00+00'::timestamptz = ANY (days::timestamptz[]));
CREATE TABLE cased (id int PRIMARY KEY, kind text);
ALTER TABLE cased ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON cased USING (CASE kind WHEN 'a' THEN true WHEN current_setting('leak.kind', true) THEN true ELSE false END);
GRANT ALL ON dated, cased TO leak_ann;
INSERT INTO dated VALUES (1, '{2020-01-01 00:00}', 'a');
INSERT INTO cased VALUES (1, 'a'), (2, 'b');
SELECT ok(count(*) > 0, t) FROM unnest('{dated,cased}'::text[]) t, offsync.enable(t::regclass) GROUP BY t;
SET ROLE leak_ann;
SET TimeZone = 'UTC';
SELECT cursor_of('dated', 'cased') ann \gset
SELECT is(news(:'ann', 'cased'), ' /  / ', 'CASE over a column has a delta');
SET TimeZone = 'Asia/Tokyo';
SET leak.kind = 'b';
SELECT is(news(:'ann', 'dated'), 'replaced by ', 'an unstable cast of elements has none');
SELECT is(news(:'ann', 'cased'), 'replaced by 1,2', 'and a CASE''s setting is an input');
RESET TimeZone;
RESET ROLE;

-- A policy's function gets another body, be it called by name or by an operator
CREATE FUNCTION allows(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN $1 = 'a'; END$$;
CREATE FUNCTION matches(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN $1 = $2; END$$;
CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = matches);
CREATE TABLE named (id int PRIMARY KEY, kind text);
CREATE TABLE operated (id int PRIMARY KEY, kind text);
ALTER TABLE named ENABLE ROW LEVEL SECURITY;
ALTER TABLE operated ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON named USING (allows(kind));
CREATE POLICY p ON operated USING (kind === 'a');
GRANT ALL ON named, operated TO leak_ann;
INSERT INTO named VALUES (1, 'a'), (2, 'b');
INSERT INTO operated VALUES (1, 'a'), (2, 'b');
SELECT ok(count(*) > 0, t) FROM unnest('{named,operated}'::text[]) t, offsync.enable(t::regclass) GROUP BY t;
SET ROLE leak_ann;
SELECT cursor_of('named', 'operated') ann \gset
RESET ROLE;
CREATE OR REPLACE FUNCTION allows(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN true; END$$;
CREATE OR REPLACE FUNCTION matches(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN true; END$$;
SET ROLE leak_ann;
SELECT is(news(:'ann', 'named'), 'replaced by 1,2', 'a function of a policy changes');
SELECT is(news(:'ann', 'operated'), 'replaced by 1,2', 'so does an operator''s');
RESET ROLE;

-- Errors in policies come as a plain SELECT's, and nothing of a row with them
CREATE TABLE failing (id int PRIMARY KEY, n int);
ALTER TABLE failing ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON failing USING (n = current_setting('leak.n')::int);
GRANT ALL ON failing TO leak_ann;
INSERT INTO failing VALUES (1, 1), (2, 2);
SELECT ok(count(*) > 0, 'failing') FROM offsync.enable('failing');
SET ROLE leak_ann;
SET leak.n = '1';
SELECT cursor_of('failing') ann \gset
SELECT is(news(:'ann', 'failing'), ' /  / ', 'a setting is an input');
SET leak.n = '2';
SELECT is(news(:'ann', 'failing'), 'replaced by 2', 'another value');
SET leak.n = 'x';
SELECT is(complaint(format('SELECT offsync.pull_changes(%L, ''{failing}'')', :'ann')), complaint('SELECT * FROM failing'), 'a failing policy');
SELECT ok(complaint($$SELECT push('failing', 'updated', '[{"id": "1", "n": 3}]')$$) ~ '^22P02', 'in a push');
RESET ROLE;
RESET leak.n;
DROP TABLE failing;

-- Owner, FORCE, BYPASSRLS, row_security
SET ROLE leak_owner;
SELECT cursor_of('note') o \gset
DELETE FROM note WHERE id = 30;
SELECT is(news(:'o', 'note'), ' /  / 30', 'the owner sees past the policies');
ALTER TABLE note FORCE ROW LEVEL SECURITY;
SELECT is(news(:'o', 'note'), 'replaced by ', 'unless they are forced');
ALTER TABLE note NO FORCE ROW LEVEL SECURITY;
SET ROLE leak_ann;
SET row_security = off;
SELECT ok(complaint('SELECT offsync.pull_changes(NULL, ''{note}'')') ~ '^42501.*row-level security', 'row_security = off is no way round');
RESET row_security;
RESET ROLE;
-- a function of the owner's that pulls for others is the owner's pull
SET ROLE leak_owner;
CREATE FUNCTION pull_as_owner(c text) RETURNS json LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$SELECT offsync.pull_changes(c, '{note}')$$;
SET ROLE leak_ann;
SELECT pull_as_owner(NULL) ->> 'cursor' ann \gset
SELECT is(pull_as_owner(:'ann') ->> 'experimentalStrategy', NULL, 'one identity');
SELECT is(news(:'ann', 'note'), 'replaced by 14,15,22', 'and not the other''s cursor');
RESET ROLE;

-- ---------------------------------------------------------------------------
-- Hostile names in the caller's search_path, and in the owner's
-- ---------------------------------------------------------------------------
SET ROLE leak_ann;
CREATE FUNCTION leak_hostile.trap(a bigint, b bigint) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
CREATE FUNCTION leak_hostile.trap(a int, b int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
CREATE FUNCTION leak_hostile.trap(a name, b name) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
CREATE FUNCTION leak_hostile.trap(a text, b text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
CREATE FUNCTION leak_hostile.min(bigint) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
CREATE FUNCTION leak_hostile.now() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
DO $$
DECLARE t text; o text;
BEGIN
	FOREACH t IN ARRAY '{bigint,int,name,text}'::text[] LOOP
		FOREACH o IN ARRAY '{=,<>,<,>,>=,<=}'::text[] LOOP
			EXECUTE format('CREATE OPERATOR leak_hostile.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = leak_hostile.trap)', o, t, t);
		END LOOP;
	END LOOP;
END $$;
CREATE TABLE leak_hostile.note (id int, body text);
CREATE TABLE leak_hostile.synced_table (tbl regclass);
CREATE DOMAIN leak_hostile.int8 AS text;
CREATE DOMAIN leak_hostile.regclass AS text;
SELECT cursor_of('note') ann \gset
RESET ROLE;
GRANT USAGE ON SCHEMA leak_hostile TO PUBLIC;
DELETE FROM note WHERE id = 15;
CREATE FUNCTION trapped(sql text) RETURNS text LANGUAGE plpgsql AS $$BEGIN
	PERFORM set_config('search_path', 'leak_hostile, leaks, pg_catalog, public', false);
	EXECUTE sql;
	PERFORM pg_catalog.set_config('search_path', 'leaks, public', false);
	RETURN 'no';
EXCEPTION WHEN OTHERS THEN RETURN SQLERRM; END$$;
SET ROLE leak_ann;
SELECT is(trapped('SELECT 1 = 1'), 'trapped', 'the trap works');
SELECT is(trapped(format('SELECT offsync.pull_changes(%L)', :'ann')), 'no', 'a pull looks nowhere else');
SELECT is(trapped(format('SELECT offsync.pull_changes(%L)', offsync.pull_changes() ->> 'timestamp')), 'no', 'by number, too');
SELECT is(trapped(format($$SELECT offsync.push_changes('{"note": {"created": [{"id": "91", "owner": "leak_ann", "body": "x"}], "updated": [{"id": "14", "body": "y"}], "deleted": ["22"]}}', %L)$$, :'ann')), 'no', 'nor does a push');
SELECT is(trapped(format('SELECT offsync.cursor_info(%L)', :'ann')), 'no', 'nor cursor_info');
SELECT is(trapped('SELECT * FROM offsync.status'), 'no', 'nor the status');
RESET ROLE;
SELECT is(trapped('SELECT offsync.check(true), (SELECT pg_catalog.count(s) FROM offsync.status s), (SELECT pg_catalog.count(c) FROM offsync.clients c), (SELECT s FROM offsync.stats s)'),
	'no', 'nor what is for those who run it');
SET ROLE leak_owner;
CREATE TABLE other (id int PRIMARY KEY, owner name, n numeric UNIQUE);
ALTER TABLE other ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON other USING (owner = current_user);
SELECT cursor_of('note') own \gset
INSERT INTO note VALUES (95, 'leak_owner', 'x');
SELECT is(trapped(format($$SELECT pg_catalog.int4div(1, (1 - pg_catalog.count(*))::pg_catalog.int4) FROM offsync.explain('leaks.note', '95', %L, claims => '{"sub": "x"}') e
	WHERE e.verdict OPERATOR(pg_catalog.~) 'trapped'$$, :'own')), 'no', 'nor does explain');
SELECT is(trapped($$SELECT offsync.advise('leaks.note')$$), 'no', 'nor advise');
SELECT is(trapped($$SELECT offsync.enable('leaks.other')$$), 'no', 'nor does enable');
SELECT is(trapped($$INSERT INTO leaks.other VALUES (1, 'x'), (2, 'y')$$), 'no', 'nor do the triggers');
SELECT is(trapped($$UPDATE leaks.other SET owner = 'z'$$), 'no', 'on UPDATE');
SELECT is(trapped($$DELETE FROM leaks.other$$), 'no', 'on DELETE');
SELECT is(trapped($$ALTER POLICY own ON leaks.other USING (true)$$), 'no', 'nor do event triggers');
SELECT is(trapped($$SELECT offsync.reset('leaks.other')$$), 'no', 'nor does reset');
SELECT is(trapped($$SELECT offsync.disable('leaks.other')$$), 'no', 'nor does disable');
SELECT is(trapped($$SELECT offsync.enable('leaks.other', key => '{n}')$$), 'key column "n" of table "other" can be null', 'its refusals are its own');
RESET ROLE;

-- ---------------------------------------------------------------------------
-- Not the owner; and what anybody may try with what is granted to all
-- ---------------------------------------------------------------------------
SET ROLE leak_ann;
SELECT throws_ok($$SELECT offsync.enable('leaks.note')$$, '42501');
SELECT throws_ok($$SELECT offsync.disable('leaks.note')$$, '42501');
SELECT throws_ok($$SELECT offsync.reset('leaks.note')$$, '42501');
SELECT throws_ok($$SELECT offsync.explain('leaks.note', '11')$$, '42501');
SELECT throws_ok($$SELECT offsync.explain('leaks.note', '11', as_role => 'leak_ann')$$, '42501');
SELECT throws_ok($$SELECT offsync.advise('leaks.note')$$, '42501');
SELECT throws_ok($$SELECT offsync.new_incarnation()$$, '42501');
SELECT throws_ok($$SELECT offsync.expose('pg_catalog')$$, '22023');
SELECT throws_ok($$SELECT offsync.expose('offsync')$$, '22023');
SELECT throws_ok($$CREATE TABLE offsync_internal.spy ()$$, '42501');
SELECT throws_ok($$SELECT offsync_internal.stamp()$$, '39P01');
SELECT throws_ok($$SELECT offsync_internal.ddl_end()$$, '39P03');
-- the trigger functions, on a table of one's own
CREATE TABLE mine (id int, server_created_at text, server_updated_at text, server_version text, server_created_version text);
CREATE TRIGGER s BEFORE INSERT OR UPDATE ON mine FOR EACH ROW EXECUTE FUNCTION offsync_internal.stamp();
SELECT throws_ok('INSERT INTO mine VALUES (1)', '42804', NULL, 'stamps go into columns of their types only');
DROP TABLE mine;
CREATE TABLE mine (id int);
CREATE TRIGGER s BEFORE INSERT OR UPDATE ON mine FOR EACH ROW EXECUTE FUNCTION offsync_internal.stamp();
SELECT throws_ok('INSERT INTO mine VALUES (1)', '42703');
DROP TABLE mine;
CREATE TABLE mine (id int, server_created_at timestamptz, server_updated_at timestamptz, server_version bigint, server_created_version bigint);
CREATE TRIGGER s AFTER INSERT OR UPDATE ON mine FOR EACH ROW EXECUTE FUNCTION offsync_internal.stamp();
SELECT throws_ok('INSERT INTO mine VALUES (1)', '39P01');
DROP TRIGGER s ON mine;
CREATE TRIGGER b AFTER DELETE ON mine FOR EACH ROW EXECUTE FUNCTION offsync_internal.bury();
CREATE TRIGGER t AFTER TRUNCATE ON mine EXECUTE FUNCTION offsync_internal.truncated();
INSERT INTO mine VALUES (1);
SELECT lives_ok('DELETE FROM mine', 'a table that isn''t synced has no tombstones');
SELECT lives_ok('TRUNCATE mine', 'and no resets');
RESET ROLE;
-- an owner alters the tombstone table
SET ROLE leak_owner;
CREATE TABLE altered (id int PRIMARY KEY, v text);
INSERT INTO altered VALUES (1, 'a'), (2, 'b'), (3, 'c');
SELECT ok(count(*) > 0, 'altered') FROM offsync.enable('altered');
SELECT cursor_of('altered') o \gset
ALTER TABLE offsync_internal.altered_tombstone ALTER offsync_version TYPE text;
SELECT lives_ok('DELETE FROM altered WHERE id = 1', 'it is made again at once');
SELECT is(news(:'o', 'altered'), 'replaced by 2,3', 'and the collection reset');
RESET ROLE;
ALTER EVENT TRIGGER offsync_ddl_end DISABLE;
SET ROLE leak_owner;
SELECT cursor_of('altered') o \gset
ALTER TABLE offsync_internal.altered_tombstone ALTER offsync_version TYPE text;
SELECT is(left(complaint('DELETE FROM altered WHERE id = 2'), 5), '55000', 'unseen: a version goes into no text');
SELECT is(news(:'o', 'altered'), 'replaced by 2,3', 'pulls fail closed');
SELECT ok(count(*) > 0, 'enable mends it') FROM offsync.enable('altered');
ALTER TABLE offsync_internal.altered_tombstone ALTER id TYPE text;
SELECT is(left(complaint('DELETE FROM altered WHERE id = 2'), 5), '55000', 'nor does a key');
SELECT ok(count(*) > 0, 'and again') FROM offsync.enable('altered');
RESET ROLE;
ALTER EVENT TRIGGER offsync_ddl_end ENABLE ALWAYS;
SET ROLE leak_owner;
SELECT lives_ok('DELETE FROM altered WHERE id = 3', 'deletions work');
SELECT is(state, 'ok') FROM offsync.status WHERE collection = 'altered';
RESET ROLE;

-- SET ROLE back and forth leaves nothing behind in the session
SET ROLE leak_ann;
SELECT cursor_of('note') ann \gset
SET ROLE leak_bob;
SELECT cursor_of('note') bob \gset
SET ROLE leak_owner;
UPDATE note SET body = body || '!' WHERE owner IN ('leak_ann', 'leak_bob') AND body <> 'never';
SET ROLE leak_ann;
SELECT is(news(:'ann', 'note'), ' / 14,91 / ', 'ann''s');
SET ROLE leak_bob;
SELECT is(news(:'bob', 'note'), ' / 12 / ', 'bob''s');
BEGIN;
SET LOCAL ROLE leak_ann;
SELECT is(news(:'ann', 'note'), ' / 14,91 / ', 'ann''s again');
SAVEPOINT s;
SET LOCAL ROLE leak_bob;
SELECT is(news(:'bob', 'note'), ' / 12 / ', 'bob''s in a subtransaction');
ROLLBACK TO s;
SELECT is(news(:'ann', 'note'), ' / 14,91 / ', 'and back');
COMMIT;
RESET ROLE;

DROP SCHEMA leaks, leak_hostile CASCADE;
DROP OWNED BY leak_owner, leak_ann, leak_bob, leak_blind, leak_team;
DROP ROLE leak_owner, leak_ann, leak_bob, leak_blind, leak_team;
SELECT is((SELECT count(*) FROM pg_class WHERE relnamespace = 'offsync_internal'::regnamespace AND relname ~ '^(note|bits|board|plain|altered)_'), 0::bigint, 'nothing is left');
SELECT * FROM finish();
