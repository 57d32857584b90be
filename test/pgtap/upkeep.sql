-- For the people who run it: offsync.stats, offsync.status and offsync.clients.
\ir begin.psql
DROP ROLE IF EXISTS upkeep_owner;
DROP ROLE IF EXISTS upkeep_ann;
DROP ROLE IF EXISTS upkeep_watcher;
CREATE ROLE upkeep_owner;
CREATE ROLE upkeep_ann;
CREATE ROLE upkeep_watcher IN ROLE pg_monitor;
CREATE SCHEMA upkeep;
GRANT USAGE, CREATE ON SCHEMA upkeep TO PUBLIC;
SET search_path = upkeep, public;
SELECT no_plan();
SET ROLE upkeep_owner;
CREATE TABLE u_task (id text PRIMARY KEY, owner name DEFAULT current_user, body text CHECK (body <> 'bad'));
ALTER TABLE u_task ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON u_task USING (owner = current_user);
CREATE TABLE u_team (n int);
CREATE TABLE u_odd (id int PRIMARY KEY, body text);
ALTER TABLE u_odd ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION may(int) RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN true; END';
CREATE POLICY opaque ON u_odd USING (may(id));
CREATE TABLE u_read (id int PRIMARY KEY, body text);
ALTER TABLE u_read ENABLE ROW LEVEL SECURITY;
CREATE POLICY reads ON u_read USING (NOT EXISTS (SELECT FROM u_team t WHERE t.n > id));
GRANT ALL ON ALL TABLES IN SCHEMA upkeep TO upkeep_ann;
SELECT FROM offsync.enable('u_task', filter_columns => '{body}') \g /dev/null
SELECT FROM offsync.enable('u_odd') \g /dev/null
SELECT FROM offsync.enable('u_read') \g /dev/null
INSERT INTO u_task SELECT 't' || i, 'upkeep_ann', 'first' FROM generate_series(1, 10) i;
INSERT INTO u_read VALUES (1), (2);
RESET ROLE;

-- what was counted since the last time
CREATE FUNCTION counted() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT string_agg(key || ' ' || value, ', ') FROM (SELECT * FROM offsync.stats) s, json_each_text(to_json(s)) WHERE key <> 'stats_reset' AND value <> '0' $$;
\set reset 'RESET ROLE; SELECT FROM offsync.stats_reset(); SET ROLE upkeep_ann;'
-- every step is counted by itself
:reset
SELECT c ->> 'cursor' AS c, c ->> 'timestamp' AS n FROM offsync.pull_changes(NULL, '{u_task}') c \gset
RESET ROLE;
SELECT is(counted(), 'pulls 1, pulls_first 1, rows_sent 10', 'a first sync');
:reset
SELECT FROM offsync.pull_changes(:'c', '{u_task}');
SELECT FROM offsync.pull_changes(:'n', '{u_task}');
RESET ROLE;
SELECT is(counted(), 'pulls 2, pulls_idle 2', 'nothing new');
DELETE FROM u_task WHERE id = 't1';
UPDATE u_task SET body = 'second' WHERE id IN ('t2', 't3');
:reset
SELECT FROM offsync.pull_changes(:'c', '{u_task}');
RESET ROLE;
SELECT is(counted(), 'pulls 1, rows_sent 2, deletions_sent 1', 'changes');
:reset
SELECT count(*) FROM (SELECT offsync.pull_stream(:'c', '{u_task}')) s \g /dev/null
SELECT c ->> 'cursor' AS p FROM offsync.pull_changes(NULL, '{u_task}', max_rows => 5) c \gset
SELECT FROM offsync.pull_changes(:'p');
RESET ROLE;
SELECT is(counted(), 'pulls 3, pulls_first 1, rows_sent 11, deletions_sent 1', 'a stream, and a first sync in two pages');

-- replacements
:reset
SELECT FROM offsync.pull_changes(:'c', '{u_task,u_odd}');
SELECT FROM offsync.pull_changes('1', '{u_task}');
SELECT FROM offsync.pull_changes(:'c', '{u_task}', filters => '{"u_task": {"body": ["second"]}}');
RESET ROLE;
SELECT is(counted(), 'pulls 3, rows_sent 13, deletions_sent 1, replacements 3, replaced_history 1, replaced_policy 1, replaced_filter 1', 'why collections are replaced');
SELECT FROM offsync.pull_changes(:'c', '{u_task}');
SELECT is(counted(), 'pulls 4, rows_sent 22, deletions_sent 1, replacements 4, replaced_history 1, replaced_caller 1, replaced_policy 1, replaced_filter 1', 'another caller');
SET ROLE upkeep_ann;
SELECT c ->> 'cursor' AS r FROM offsync.pull_changes(NULL, '{u_read}') c \gset
RESET ROLE;
INSERT INTO u_team VALUES (1);
SELECT offsync.reset('u_task') \g /dev/null
:reset
SELECT FROM offsync.pull_changes(:'r', '{u_read}');
SELECT FROM offsync.pull_changes(:'r', '{u_task}');
SELECT FROM offsync.pull_changes(:'c', '{u_task}');
SELECT FROM offsync.pull_changes(:'r', '{u_read,u_task}', migration => '{"from": 1, "tables": ["u_task"]}');
RESET ROLE;
SELECT is(counted(), 'pulls 4, rows_sent 31, replacements 5, replaced_new 1, replaced_access 2, replaced_reset 1, replaced_migration 1', 'other reasons');
SET ROLE upkeep_ann;
SELECT c ->> 'cursor' AS c, c ->> 'timestamp' AS n FROM offsync.pull_changes(NULL, '{u_task}') c \gset
RESET ROLE;
DELETE FROM u_task WHERE id = 't4';
SELECT FROM offsync.prune('0') \g /dev/null
:reset
SELECT FROM offsync.pull_changes(:'c', '{u_task}');
RESET ROLE;
SELECT is(counted(), 'pulls 1, rows_sent 8, replacements 1, replaced_pruned 1', 'pruned');

-- pushes
:reset
SELECT c ->> 'cursor' AS c FROM offsync.pull_changes(NULL, '{u_task}') c \gset
SELECT FROM offsync.push_changes('{"u_task": {"created": [{"id": "n1"}, {"id": "n2"}], "deleted": ["t2"]}}', :'c', 'phone', 'one');
SELECT FROM offsync.push_changes('{"u_task": {"created": [{"id": "n1"}, {"id": "n2"}], "deleted": ["t2"]}}', :'c', 'phone', 'one');
RESET ROLE;
SELECT is(counted(), 'pulls 1, pulls_first 1, rows_sent 8, pushes 1, pushes_repeated 1, rows_received 2, deletions_received 1', 'stored, and sent again');
UPDATE u_task SET body = 'mine' WHERE id IN ('t5', 't6');
:reset
SELECT FROM offsync.push_changes('{"u_task": {"updated": [{"id": "t5", "body": "x"}, {"id": "t6", "body": "x"}, {"id": "t7", "body": "bad"}, {"id": "t8", "body": "x"}]}}', :'c',
	'phone', 'two', on_error => 'skip');
RESET ROLE;
SELECT is(counted(), 'pushes 1, rows_received 1, rejected 3, conflicts 2', 'some of it refused');
:reset
SELECT throws_ok($$SELECT offsync.push_changes('{"u_task": {"created": [{"id": "t70", "body": "bad"}]}}')$$, '23514', NULL, 'refused');
SELECT throws_ok(format($$SELECT offsync.push_changes('{"u_task": {"updated": [{"id": "t5", "body": "x"}, {"id": "t6", "body": "x"}]}}', %L)$$, :'c'), 'PT409', NULL, 'as a conflict');
SELECT throws_ok($$SELECT offsync.push_changes('[]')$$, 'PT400', NULL, 'unreadable');
RESET ROLE;
SELECT is(counted(), 'pushes_failed 3, conflicts 2', 'as a whole');
:reset
SELECT FROM offsync.sync_changes('{"u_task": {"created": [{"id": "n3"}]}}', :'c', '{u_task}');
RESET ROLE;
SELECT is(counted(), 'pulls 1, rows_sent 6, deletions_sent 1, pushes 1, rows_received 1', 'in one trip');

SELECT ok(stats_reset BETWEEN now() - interval '1 min' AND now(), 'since when') FROM offsync.stats;
SET ROLE upkeep_ann;
SELECT throws_ok('SELECT * FROM offsync.stats', '42501', 'permission denied for offsync.stats', 'not for everybody');
SELECT throws_ok('SELECT offsync_internal.stats()', '42501');
SELECT throws_ok('SELECT offsync.stats_reset()', '42501');
SELECT throws_ok('SELECT * FROM offsync.clients', '42501', 'permission denied for offsync.clients');
SELECT throws_ok('SELECT offsync_internal.clients()', '42501');
SET ROLE upkeep_owner;
SELECT throws_ok('SELECT * FROM offsync.stats', '42501', NULL, 'not for owners of tables');
SET ROLE upkeep_watcher;
SELECT is(pulls, 1::bigint, 'for monitoring') FROM offsync.stats;
RESET ROLE;

-- ---------------------------------------------------------------------------
-- Status
-- ---------------------------------------------------------------------------
DELETE FROM u_task WHERE id = 't9';
SET ROLE upkeep_owner;
SELECT is(mirror, 'ok', 'the mirror') FROM offsync.status WHERE collection = 'u_task';
SELECT ok(tombstone_bytes >= 16384 AND oldest_tombstone BETWEEN now() - interval '1 min' AND now(), 'sizes and times') FROM offsync.status WHERE collection = 'u_task';
SELECT is(oldest_tombstone, NULL, 'there are none') FROM offsync.status WHERE collection = 'u_odd';
SET ROLE upkeep_ann;
SELECT is(num_nulls(tombstone_bytes, oldest_tombstone, exact_from, exact_since, mirror), 5, 'not everybody''s business') FROM offsync.status WHERE collection = 'u_task';
-- the horizon is where answers begin to be exact
RESET ROLE;
SELECT exact_from AS least FROM offsync.status WHERE collection = 'u_task' \gset
SET ROLE upkeep_ann;
SELECT is(offsync.pull_changes(:'least'::bigint::text, '{u_task}') ->> 'experimentalStrategy', NULL, 'from here on exactly');
SELECT matches(offsync.pull_changes((:'least'::bigint - 1)::text, '{u_task}') ->> 'experimentalStrategy', 'replacement', 'from before not');
RESET ROLE;
-- and its time, among many
BEGIN;
DELETE FROM offsync_internal.timeline;
INSERT INTO offsync_internal.timeline SELECT now() - interval '30 days' + i * interval '10 s',
	:'least'::bigint + CASE WHEN i < 33333 THEN i - 40000 ELSE i - 33333 END FROM generate_series(1, 40000) i;
SELECT is(exact_since, now() - interval '30 days' + 33333 * interval '10 s', 'whoever pulled since then') FROM offsync.status WHERE collection = 'u_task';
DELETE FROM offsync_internal.timeline WHERE version >= :'least'::bigint;
SELECT is(exact_since, NULL, 'not noted yet') FROM offsync.status WHERE collection = 'u_task';
COMMIT;
ALTER TABLE offsync_internal.u_task_tombstone OWNER TO upkeep_ann;
CREATE TABLE u_gone (id int PRIMARY KEY);
SELECT FROM offsync.enable('u_gone') \g /dev/null
SELECT offsync.disable('u_gone', retire => true) \g /dev/null
SELECT is(mirror || tombstone_bytes, NULL, 'of a retired one nothing is kept') FROM offsync.status WHERE collection = 'u_gone';

-- ---------------------------------------------------------------------------
-- Clients
-- ---------------------------------------------------------------------------
DELETE FROM offsync_internal.push_log;
-- so many pushes of a client, each a day after the other, the last one now; their cursors' numbers
CREATE FUNCTION pushed(client text, numbers bigint[], outcome text DEFAULT '"applied":{}') RETURNS void LANGUAGE sql AS $$
	INSERT INTO offsync_internal.push_log (client, version, at, role, subject, client_id, records, push_id, number, outcome)
	SELECT 1, 100 + i, now() - (cardinality(numbers) - i) * interval '1 day', 'upkeep_ann'::regrole, nullif(client, 'phone'), 'phone', '{1,2}', i, numbers[i], outcome
	FROM generate_subscripts(numbers, 1) i $$;
SELECT pushed('phone', ARRAY[:'least'::bigint, :'least'::bigint + 1]),
	pushed('stuck', ARRAY[:'least'::bigint, :'least'::bigint + 7, :'least'::bigint + 7, :'least'::bigint + 7]),
	pushed('away', ARRAY[4, 5]),
	pushed('refused', ARRAY[:'least'::bigint], '"applied":{},"rejected":[{"id":"a"},{"id":"b"}]'),
	pushed('anonymous', ARRAY[NULL, NULL]::bigint[], NULL) \g /dev/null
SELECT results_eq($$SELECT coalesce(subject, ''), role, client_id, pushes, records, pushes_since, rejected, state,
		last_push - position_since FROM offsync.clients ORDER BY subject COLLATE "C" NULLS FIRST$$,
	$$VALUES ('', 'upkeep_ann'::name, 'phone', 2::bigint, 4::bigint, 1::bigint, 0, 'ok', interval '0'),
		('anonymous', 'upkeep_ann', 'phone', 2, 4, 0, 0, NULL, NULL),
		('away', 'upkeep_ann', 'phone', 2, 4, 1, 0, 'away: deletions that it hasn''t seen were pruned', interval '0'),
		('refused', 'upkeep_ann', 'phone', 1, 2, 1, 2, 'refused: records of its last push', interval '0'),
		('stuck', 'upkeep_ann', 'phone', 4, 8, 3, 0, 'stuck: it pushes, and keeps no newer cursor', interval '2 days')$$, 'who is stuck');
-- as devices do it
DELETE FROM offsync_internal.push_log;
SET ROLE upkeep_ann;
SELECT c ->> 'cursor' AS c, c ->> 'timestamp' AS n FROM offsync.pull_changes(NULL, '{u_task}') c \gset
SELECT FROM offsync.push_changes('{"u_task": {"created": [{"id": "n5"}]}}', :'c', 'phone', 'five');
SET ROLE upkeep_watcher;
SELECT is(position, :'n'::bigint, 'so far it had pulled') FROM offsync.clients;
SELECT is(state, 'ok') FROM offsync.clients;
RESET ROLE;
SELECT * FROM finish();
