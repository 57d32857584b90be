-- What the calls of other clients' protocols come to in offsync.stats, and who of them is in offsync.clients.
\ir begin.psql
DROP ROLE IF EXISTS counted_ann;
CREATE ROLE counted_ann;
CREATE SCHEMA counted;
GRANT USAGE ON SCHEMA counted TO counted_ann;
SET search_path = counted, public;
SELECT no_plan();
CREATE TABLE c_task (id text PRIMARY KEY, owner name DEFAULT current_user, body text CHECK (body <> 'bad'));
ALTER TABLE c_task ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON c_task USING (owner = current_user);
CREATE TABLE c_note (id text PRIMARY KEY, body text CHECK (body <> 'bad'), more text);
GRANT SELECT, INSERT, UPDATE, DELETE ON c_task, c_note TO counted_ann;
SELECT FROM offsync.enable('c_task') \g /dev/null
SELECT FROM offsync.enable('c_note', conflict => 'field_lww') \g /dev/null
SELECT FROM offsync.expose('counted', 'messages') \g /dev/null
INSERT INTO c_task SELECT 't' || i, 'counted_ann', 'first' FROM generate_series(1, 10) i;
INSERT INTO c_task VALUES ('hidden', 'somebody');
INSERT INTO c_note VALUES ('n1', 'first', 'first'), ('n2', 'first', 'first');

CREATE FUNCTION counted() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT string_agg(key || ' ' || value, ', ') FROM (SELECT * FROM offsync.stats) s, json_each_text(to_json(s)) WHERE key <> 'stats_reset' AND value <> '0' $$;
CREATE FUNCTION stamp(id text) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT offsync.rest_get('c_task', id) ->> 'updated_at' $$;
CREATE FUNCTION tick() RETURNS void LANGUAGE plpgsql AS $$
DECLARE before timestamptz := clock_timestamp();
BEGIN WHILE date_trunc('milliseconds', clock_timestamp()) <= before LOOP END LOOP; END $$;
CREATE FUNCTION complaint(sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE sql; RETURN 'none'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$;
\set reset 'RESET ROLE; SELECT FROM offsync.stats_reset(); SET ROLE counted_ann;'

-- ---------------------------------------------------------------------------
-- A REST cache
-- ---------------------------------------------------------------------------
SELECT tick();
:reset
SELECT l -> 'items' -> 5 ->> 'updated_at' AS at, l -> 'items' -> 5 ->> 'id' AS id FROM offsync.rest_list('c_task', '1970-01-01T00:00:00.000Z', 6) l \gset
SELECT FROM offsync.rest_list('c_task', :'at', 6, true, 'more', :'id');
RESET ROLE;
SELECT is(counted(), 'pulls 2, pulls_first 1, rows_sent 10', 'a first sync, in two pages');
SELECT max(date_trunc('milliseconds', server_updated_at)) AT TIME ZONE 'UTC' || 'Z' AS at, max(id) AS id FROM c_task WHERE id <> 'hidden' \gset
:reset
SELECT FROM offsync.rest_list('c_task', :'at', 6, true, NULL, :'id');
RESET ROLE;
SELECT is(counted(), 'pulls 1, pulls_idle 1', 'nothing new');
:reset
SELECT is(complaint($$SELECT offsync.rest_list('c_task', NULL, 0)$$), 'PT400');
SELECT is(complaint($$SELECT offsync.rest_get('c_task', 'hidden')$$), 'PT404');
SELECT FROM offsync.rest_get('c_task', 't1');
RESET ROLE;
SELECT is(counted(), 'pulls 1, rows_sent 1', 'one record; what fails is no pull');
SELECT stamp('t1') AS at \gset
:reset
SELECT FROM offsync.rest_put('c_task', 't1', '{"body": "second"}', :'at', false, 'k1');
RESET ROLE;
SELECT is(counted(), 'pushes 1, rows_received 1', 'stored');
:reset
SELECT FROM offsync.rest_put('c_task', 't1', '{"body": "second"}', :'at', false, 'k1');
RESET ROLE;
SELECT is(counted(), 'pushes_repeated 1', 'and sent again');
SELECT tick();
:reset
SELECT is(offsync.rest_put('c_task', 't1', '{"body": "third"}', '2001-01-01T00:00:00.000Z') ->> 'error', 'conflict');
RESET ROLE;
SELECT is(counted(), 'pushes_failed 1, conflicts 1', 'a conflict');
:reset
SELECT is(complaint($$SELECT offsync.rest_put('c_task', 't1', '{"body": "bad"}')$$), 'PT422');
SELECT is(complaint($$SELECT offsync.rest_put('c_task', 'hidden', '{"body": "x"}')$$), '42501');
SELECT is(complaint($$SELECT offsync.rest_put('nothing', 't1', '{"body": "x"}')$$), 'PT422');
SELECT is(complaint($$SELECT offsync.rest_put('c_task', 't1', '[]')$$), 'PT400');
RESET ROLE;
SELECT is(counted(), 'pushes_failed 4', 'what is wrong with it, each once');
:reset
SELECT FROM offsync.rest_batch('[{"opId": "b1", "kind": "c_task", "id": "t2", "type": "upsert", "payload": {"body": "x"}},
	{"opId": "b2", "kind": "c_task", "id": "t3", "type": "upsert", "payload": {"body": "bad"}}, {"opId": "b3", "kind": "c_task", "id": "t4", "type": "delete"},
	{"opId": "b4", "kind": "c_task", "id": "t5", "type": "upsert", "baseUpdatedAt": "2001-01-01T00:00:00.000Z", "payload": {"body": "x"}}, {"opId": "b5", "kind": "c_task", "type": "?"}]');
RESET ROLE;
SELECT is(counted(), 'pushes 2, pushes_failed 3, rows_received 1, deletions_received 1, conflicts 1', 'a batch: each of its changes is a push');
:reset
SELECT is(complaint($$SELECT offsync.rest_batch('{}')$$), 'PT400');
RESET ROLE;
SELECT is(counted(), 'pushes_failed 1', 'which can''t be read');

-- ---------------------------------------------------------------------------
-- PocketBase
-- ---------------------------------------------------------------------------
:reset
SELECT FROM offsync.pb_list('changes');
SELECT FROM offsync.pb_list('c_task');
SELECT FROM offsync.pb_list('c_task', page => 2);
RESET ROLE;
SELECT is(counted(), 'pulls 2, pulls_first 2, rows_sent 9, deletions_sent 1', 'a first sync: two lists, of which the second page is none');
-- what was written lies far behind
SELECT offsync.push_changes('{}') \g /dev/null
UPDATE offsync_internal.timeline SET at = at - interval '1 day';
UPDATE c_task SET body = 'server' WHERE id = 't7';
:reset
SELECT FROM offsync.pb_list('changes', format('updated >= ''%s'' && action = ''delete''', now()));
SELECT FROM offsync.pb_list('c_task', format('updated > ''%s''', now()));
SELECT count(*) FROM offsync.changes(now()::text, 'update') \g /dev/null
RESET ROLE;
SELECT is(counted(), 'pulls 3, pulls_idle 1, rows_sent 2', 'what changed');
SELECT offsync.reset('c_task') \g /dev/null
:reset
SELECT is(complaint($$SELECT offsync.pb_list('c_task', format('updated > ''%s''', now() - interval '1 hour'))$$), 'PT410');
SELECT is(complaint($$SELECT offsync.pb_list('nothing')$$), 'PT404');
RESET ROLE;
SELECT is(counted(), 'replacements 1, replaced_reset 1', 'who is told to begin anew, and why');
:reset
SELECT FROM offsync.pb_create('c_task', '{"id": "p1", "body": "x"}');
SELECT FROM offsync.pb_update('c_task', 'p1', '{"body": "y"}');
SELECT FROM offsync.pb_delete('c_task', 'p1');
RESET ROLE;
SELECT is(counted(), 'pushes 3, rows_received 2, deletions_received 1', 'its writes');
:reset
SELECT is(complaint($$SELECT offsync.pb_update('c_task', 't1', '{"body": "bad"}')$$), 'PT422');
SELECT is(complaint($$SELECT offsync.pb_update('c_task', 'hidden', '{"body": "x"}')$$), 'PT404');
SELECT is(complaint($$SELECT offsync.pb_delete('c_task', 'p1')$$), 'PT404');
SELECT is(complaint($$SELECT offsync.pb_create('c_task', '{"body": "x"}')$$), 'PT422');
RESET ROLE;
SELECT is(counted(), 'pushes_failed 4', 'what is wrong with it, each once');

-- ---------------------------------------------------------------------------
-- Messages
-- ---------------------------------------------------------------------------
CREATE FUNCTION msg(id text, r text, v text, ms bigint, tab text DEFAULT 'c_note', c text DEFAULT 'body') RETURNS json LANGUAGE sql AS $$
	SELECT json_build_object('id', id, 'table_name', tab, 'row', r, 'column', c, 'data_type', 'string', 'value', v,
		'local_timestamp', lpad(ms::text, 15, '0') || ':00001:phone', 'client_id', 'phone')$$;
:reset
SELECT max((m ->> 'server_timestamp')::bigint) AS last FROM json_array_elements(offsync.pull_messages()) m \gset
SELECT FROM offsync.pull_messages(:last);
SELECT count(*) FROM counted.messages \g /dev/null
RESET ROLE;
SELECT is(counted(), 'pulls 3, pulls_first 2, pulls_idle 1, rows_sent 4', 'messages: rows are counted, not fields');
:reset
SELECT FROM offsync.push_messages(json_build_array(msg('m1', 'n3', 'a', 1), msg('m2', 'n3', 'b', 1, c => 'more'), msg('m3', 'n4', 'bad', 1), msg('m4', 'n5', 'x', 1, 'nothing'), msg('m5', '', 'x', 1)));
RESET ROLE;
SELECT is(counted(), 'pushes 1, rows_received 1, rejected 3', 'some of them are refused');
:reset
SELECT FROM offsync.push_messages(json_build_array(msg('m4', 'n5', 'x', 1, 'nothing')));
RESET ROLE;
SELECT is(counted(), 'pushes 1, rejected 1', 'all of them are');
:reset
SELECT is(complaint($$SELECT offsync.push_messages('[1]')$$), 'PT400');
RESET ROLE;
SELECT is(counted(), 'pushes_failed 1', 'unreadable');
:reset
INSERT INTO counted.messages (id, table_name, "row", "column", data_type, value, local_timestamp) VALUES ('i1', 'c_note', 'n6', 'body', 'string', 'x', '000000000000001:00001:phone');
RESET ROLE;
SELECT is(counted(), 'pushes 1, rows_received 1', 'inserted');
:reset
SELECT is(complaint($$INSERT INTO counted.messages (id, table_name, "row", "column", data_type, value, local_timestamp) VALUES ('i1', 'c_note', 'n7', 'body', 'string', 'x', '000000000000001:00001:phone'),
	('i2', 'nothing', 'n6', 'body', 'string', 'x', '000000000000001:00001:phone')$$), 'PT422');
SELECT is(complaint($$INSERT INTO counted.messages (id, table_name, "row", "column", data_type, value, local_timestamp) VALUES ('i1', 'c_note', 'n7', 'body', 'string', 'x', '000000000000001:00001:phone'),
	('i2', 'c_note', 'n8', 'body', 'string', 'bad', '000000000000001:00001:phone')$$), 'PT422');
RESET ROLE;
SELECT is(counted(), 'pushes_failed 2', 'all of them or none');

-- ---------------------------------------------------------------------------
-- Row CRDT
-- ---------------------------------------------------------------------------
:reset
SELECT FROM offsync.crdt_hello('d1');
RESET ROLE;
SELECT is(counted(), NULL, 'who says hello is told of no rows');
:reset
SELECT c ->> 'cursor' AS c FROM offsync.crdt_changeset(NULL, 'd1') c \gset
SELECT FROM offsync.crdt_changeset(:'c', 'd1');
RESET ROLE;
SELECT is(counted(), 'pulls 2, pulls_first 1, pulls_idle 1, rows_sent 4', 'changesets');
:reset
SELECT FROM offsync.crdt_merge('d1', '{"c_note": [{"id": "n9", "body": "x", "hlc": "2024-01-02T00:00:00.000Z-0001-d1"}, {"id": "n1", "is_deleted": 1, "hlc": "2024-01-02T00:00:00.000Z-0001-d1"}]}');
RESET ROLE;
SELECT is(counted(), 'pushes 1, rows_received 1, deletions_received 1', 'merged');
:reset
SELECT is(complaint($$SELECT offsync.crdt_merge('d1', '{"c_task": []}')$$), 'PT404');
SELECT is(complaint($$SELECT offsync.crdt_merge('d1', '{"c_note": [{"id": "n9", "body": "bad", "hlc": "2024-01-02T00:00:00.000Z-0002-d1"}]}')$$), '23514');
RESET ROLE;
SELECT is(counted(), 'pushes_failed 2', 'whole or not at all');

-- ---------------------------------------------------------------------------
-- Devices
-- ---------------------------------------------------------------------------
SELECT is((SELECT json_agg(json_build_array(role, client_id, pushes, "position", pushes_since, rejected, state))::text FROM offsync.clients WHERE role = 'counted_ann'),
	'[["counted_ann", "rest", 3, null, 0, 0, null]]', 'devices without names are not told apart, and none of them is stuck');

SELECT * FROM finish();
DROP SCHEMA counted CASCADE;
DROP OWNED BY counted_ann;
DROP ROLE counted_ann;
