-- Drift apps that sync through Supabase: their exact requests, and everything that would break the client.
--
-- rpc() calls a function as PostgREST does: by the names of the body's members, no more and no fewer.  The client's code in
-- Dart reads changes[name] as a map for every table that it asked for, adds created and updated up, parses updated_at of each
-- record, takes a record only when that is later than its own, and parses the push's answer as a time.
\ir begin.psql
SET timezone = 'America/Caracas';
SELECT * FROM no_plan();

CREATE ROLE drift_authenticated;
CREATE SCHEMA auth;
CREATE SCHEMA drift_api;
CREATE SCHEMA drift;
GRANT USAGE ON SCHEMA auth, drift_api, drift TO drift_authenticated;
CREATE FUNCTION auth.uid() RETURNS uuid STABLE LANGUAGE sql AS $$
	SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;

CREATE TABLE project (id uuid PRIMARY KEY, name text NOT NULL,
	created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, deleted_at timestamptz,
	user_id uuid NOT NULL DEFAULT auth.uid(), instance_id uuid);
CREATE TABLE task (LIKE project INCLUDING ALL, project_id uuid REFERENCES project);
CREATE TABLE doc_updates (id uuid PRIMARY KEY, task_id uuid NOT NULL REFERENCES task, data_b64 text NOT NULL,
	created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, deleted_at timestamptz,
	user_id uuid NOT NULL DEFAULT auth.uid(), instance_id uuid);
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['project', 'task', 'doc_updates'] LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY own ON %I USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()))', t);
		EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO drift_authenticated', t);
	END LOOP;
END $$;

SELECT lives_ok($$SELECT offsync.enable(t, conflict => 'last_write_wins', updated_at => 'updated_at', soft_delete => 'deleted_at')
	FROM unnest(ARRAY['project', 'task', 'doc_updates']::regclass[]) t$$, 'the tables sync');

-- ---------------------------------------------------------------------------
-- expose
-- ---------------------------------------------------------------------------
SELECT results_eq($$SELECT action, detail FROM offsync.expose('drift_api', 'drift')$$, $$VALUES
	('function', 'drift_api.pull_changes(collections text[], last_pulled_at text)'),
	('function', 'drift_api.push_changes(_changes json, last_pulled_at text)'),
	('next', 'NOTIFY pgrst, ''reload schema''')$$, 'two functions, and no warning');
SELECT results_eq($$SELECT proname::text COLLATE "default", proargnames::text COLLATE "default", provolatile::text, prosecdef, prorettype::regtype::text FROM pg_proc
	WHERE pronamespace = 'drift_api'::regnamespace ORDER BY 1$$, $$VALUES
	('pull_changes', '{collections,last_pulled_at}', 's', false, 'json'),
	('push_changes', '{_changes,last_pulled_at}', 'v', false, 'json')$$, 'with the client''s own names');
SELECT throws_ok($$SELECT offsync.expose('drift_api')$$, '42723', NULL, 'others of the same names don''t go beside them');
SELECT throws_ok($$SELECT offsync.expose('drift_api', 'drift')$$, '42723', NULL, 'nor the same, unless they replace them');
SELECT throws_ok($$SELECT offsync.expose('drift_api', 'drift', replace => true, tombstones => 'stones')$$, '22023', NULL, 'tombstones are ids or rows');
SELECT throws_ok($$SELECT offsync.expose('drift', 'json', tombstones => 'rows')$$, '22023', NULL, 'of this dialect alone');
SELECT throws_ok($$SELECT offsync.expose('drift', 'json', server_columns => '{user_id}')$$, '22023', NULL, 'so is what the server writes');
SELECT throws_ok($$SELECT offsync.expose('drift', 'dart')$$, '22023', NULL, 'unknown dialect');
SELECT throws_ok($$SELECT offsync.expose(NULL)$$, '22004', NULL, 'no schema');

CREATE TABLE unfit (id uuid PRIMARY KEY, user_id uuid NOT NULL);
SELECT count(*) AS done FROM offsync.enable('unfit') \gset
CREATE TABLE epochs (id uuid PRIMARY KEY, updated_at bigint);
SELECT count(*) AS done FROM offsync.enable('epochs', conflict => 'last_write_wins', updated_at => 'updated_at') \gset
SELECT is((SELECT string_agg(regexp_replace(detail, '^(.{50}).*', '\1'), E'\n' ORDER BY detail COLLATE "C")
		FROM offsync.expose('drift', 'drift', prefix => 'x_', tombstones => 'rows') WHERE action = 'warning'),
	E'public.epochs: it has no soft_delete column, so th\npublic.epochs: updated_at and soft_delete should b\n'
	'public.unfit: column "user_id" is NOT NULL, and no\npublic.unfit: it has no soft_delete column, so tha\n'
	'public.unfit: its conflict strategy is "reject", b',
	'it says which tables don''t suit these clients');
DROP FUNCTION drift.x_pull_changes, drift.x_push_changes;
DROP TABLE unfit, epochs;

-- ---------------------------------------------------------------------------
-- The client
-- ---------------------------------------------------------------------------
CREATE FUNCTION drift.rpc(name text, body json) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
	answer json;
	keys text[] := ARRAY(SELECT json_object_keys(body) ORDER BY 1);
	args text;
	typed text;
BEGIN
	SELECT string_agg(format('%I => _.%I', n, n), ', '), string_agg(format('%I %s', n, t::regtype), ', ') INTO args, typed
		FROM pg_proc p, unnest(p.proargnames, p.proargtypes::oid[]) a(n, t)
		WHERE p.proname = rpc.name AND p.pronamespace = 'drift_api'::regnamespace
			AND ARRAY(SELECT unnest(p.proargnames) COLLATE "default" ORDER BY 1) = keys;
	IF args IS NULL THEN
		RAISE 'PGRST202: no function % with %', name, keys;
	END IF;
	EXECUTE format('SELECT drift_api.%I(%s) FROM json_to_record($1) AS _(%s)', name, args, typed) INTO answer USING body;
	RETURN answer;
END $$;

CREATE FUNCTION drift.utc(at timestamptz) RETURNS text LANGUAGE sql AS $$
	SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;
CREATE FUNCTION drift.local(at timestamptz, hours numeric DEFAULT 2) RETURNS text LANGUAGE sql AS $$
	SELECT to_char(at AT TIME ZONE 'UTC' + hours * interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS.US') $$;
-- n makes an id; whoever it is
CREATE FUNCTION drift.id(n int) RETURNS text LANGUAGE sql AS $$ SELECT format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0')) $$;
CREATE FUNCTION drift.instance(n int) RETURNS text LANGUAGE sql AS $$ SELECT format('11111111-0000-4000-8000-%s', lpad(n::text, 12, '0')) $$;

CREATE FUNCTION drift.pull(since text DEFAULT '1999-12-31T23:00:00.000Z') RETURNS jsonb LANGUAGE sql AS $$
	SELECT drift.rpc('pull_changes', json_build_object('collections', ARRAY['public.task', 'public.project', 'public.doc_updates'],
		'last_pulled_at', since))::jsonb $$;
-- what it says of one task: created, updated, deleted, or nothing
CREATE FUNCTION drift.told(n int, since text DEFAULT '1999-12-31T23:00:00.000Z') RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(list, ' ') FROM (SELECT drift.pull(since)->'changes'->'public.task' AS c) p,
		unnest(ARRAY['created', 'updated', 'deleted']) list
	WHERE c->list @> jsonb_build_array(drift.id(n)) OR c->list @> jsonb_build_array(jsonb_build_object('id', drift.id(n))) $$;
CREATE FUNCTION drift.push(task jsonb DEFAULT '{}', clock text DEFAULT drift.local(clock_timestamp()), more jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT drift.rpc('push_changes', json_build_object('_changes',
		jsonb '{"public.project": {"created": [], "updated": [], "deleted": []}, "public.doc_updates": {"created": [], "updated": [], "deleted": []}}'
			|| jsonb_build_object('public.task', jsonb '{"created": [], "updated": [], "deleted": []}' || task) || more,
		'last_pulled_at', clock)) #>> '{}' $$;
-- a row as toJson() has it, with what the client puts to it
CREATE FUNCTION drift.task(n int, name text, dated text, instance int DEFAULT 1, deleted text DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('id', drift.id(n), 'created_at', '2025-05-10T08:00:00.000Z', 'updated_at', dated, 'deleted_at', deleted,
		'name', name, 'project_id', NULL, 'user_id', 'ffffffff-0000-4000-8000-000000000000', 'instance_id', drift.instance(instance)) $$;
CREATE FUNCTION drift.list(name text, VARIADIC rows jsonb[]) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object(name, to_jsonb(rows)) $$;
CREATE FUNCTION drift.names() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(name || CASE WHEN deleted_at IS NULL THEN '' ELSE '†' END, ' ' ORDER BY id) FROM task $$;
-- The past of a quiet hour: pulls can tell since when
CREATE PROCEDURE drift.hour() LANGUAGE sql AS $$
	SELECT offsync.push_changes('{}');
	UPDATE offsync_internal.timeline SET at = at - interval '1 hour' $$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA drift TO drift_authenticated;

\set ann '{"sub": "aaaaaaaa-0000-4000-8000-000000000000", "role": "authenticated"}'
\set bob '{"sub": "bbbbbbbb-0000-4000-8000-000000000000", "role": "authenticated"}'
SET request.jwt.claims = :'ann';
SET ROLE drift_authenticated;

-- ---------------------------------------------------------------------------
-- Pulls
-- ---------------------------------------------------------------------------
SELECT is(drift.pull()->'changes', '{"public.task": {"created": [], "updated": [], "deleted": []}, "public.project": {"created": [], "updated": [], "deleted": []},
	"public.doc_updates": {"created": [], "updated": [], "deleted": []}}', 'a first pull: each name as it was asked, each with three arrays');
SELECT is(jsonb_typeof(drift.pull()->'timestamp'), 'number', 'with a number as timestamp');
SELECT throws_like($$SELECT drift.rpc('pull_changes', '{"collections": ["public.task"], "last_pulled_at": "2025-05-10T08:36:02.123Z", "schema_version": 1}')$$,
	'PGRST202%', 'other arguments than the client''s there are none');
SELECT throws_ok($$SELECT drift.pull('yesterday')$$, 'PT400', NULL, 'what is no time');
SELECT throws_ok($$SELECT drift.pull('oAQWldeabc')$$, 'PT400', NULL, 'not even a cursor');
SELECT lives_ok(format('SELECT drift.pull(%L)', at), at || ' is one') FROM unnest(ARRAY['1999-12-31T23:00:00.000Z', '2025-05-10T08:36:02.123456Z',
	'2025-05-10T10:36:02.123456+02:00', '2025-05-10T10:36:02.123456', '2025-05-10 10:36:02', '1747000000123', '', '0001-01-01T00:00:00.000Z', '9999-12-31T23:00:00Z']) at;

-- ---------------------------------------------------------------------------
-- Pushes
-- ---------------------------------------------------------------------------
SELECT matches(drift.push(drift.list('created', drift.task(1, 'one', '2025-05-10T08:36:02.123456Z') || '{"isRemote": false, "whatever": [1]}')),
	'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$', 'a push answers one string that DateTime.parse takes');
SELECT is(json_typeof(drift.rpc('push_changes', '{"_changes": {}, "last_pulled_at": "2025-05-10T10:36:02.123456"}')), 'string', 'nothing but that');
SELECT throws_like($$SELECT drift.rpc('push_changes', '{"changes": {}, "last_pulled_at": "2025-05-10T08:36:02.123Z"}')$$, 'PGRST202%', 'the argument is _changes');
SELECT is(to_jsonb(t) - ARRAY['server_created_at', 'server_updated_at', 'server_version', 'server_created_version', 'created_at', 'updated_at'],
	jsonb_build_object('id', drift.id(1), 'name', 'one', 'deleted_at', NULL, 'project_id', NULL,
		'user_id', 'aaaaaaaa-0000-4000-8000-000000000000', 'instance_id', drift.instance(1)),
	'the row is its sender''s, whoever it says; its instance is stored, unknown columns are not') FROM task t;
SELECT is(record - ARRAY['server_created_at', 'server_updated_at', 'server_version'], drift.task(1, 'one', '2025-05-10T08:36:02.123456Z')
		|| '{"created_at": "2025-05-10T08:00:00Z", "user_id": "aaaaaaaa-0000-4000-8000-000000000000"}',
	'a pull brings it whole, with its times as strings')
FROM (SELECT drift.pull()->'changes'->'public.task'->'updated'->0 AS record) p;
SELECT server_version AS stored FROM task \gset
SELECT lives_ok($$SELECT drift.push(drift.list('created', drift.task(1, 'one', '2025-05-10T08:36:02.123456Z')))$$, 'created twice');
SELECT is(server_version, :stored, 'and nothing is written') FROM task;
SELECT lives_ok($$SELECT drift.push(drift.list('created', drift.task(1, 'one', '2025-05-10T08:36:02.123456Z', 2)))$$, 'the same by another start of the app');
SELECT is(server_version, :stored, 'is no change either') FROM task;
SELECT lives_ok($$SELECT drift.push(drift.list('updated', drift.task(1, 'two', '2025-05-10T08:37:00.000Z', 2)))$$, 'a later change');
SELECT is((name, instance_id::text, user_id::text)::text, ('two', drift.instance(2), 'aaaaaaaa-0000-4000-8000-000000000000')::text,
	'wins: its instance is another''s, its user is not') FROM task;
SELECT lives_ok($$SELECT drift.push(drift.list('updated', drift.task(1, 'older', '2025-05-10T08:36:30.000Z', 3)))$$, 'an older change');
SELECT lives_ok($$SELECT drift.push(drift.list('created', drift.task(1, 'tie', '2025-05-10T08:37:00.000Z', 3)))$$, 'one of the same time');
SELECT is(name, 'two', 'neither wins, nor is it an error') FROM task;
SELECT lives_ok($$SELECT drift.push(drift.list('updated', drift.task(2, 'new', '2025-05-10T08:37:00.000Z')))$$, 'updated what isn''t there');
SELECT is(drift.names(), 'two new', 'makes it');
SELECT lives_ok($$SELECT drift.push(drift.list('created', drift.task(3, 'int', NULL) || '{"created_at": 1746866162123, "updated_at": 1746866162123}'))$$,
	'times as integers, where the app forgot to have them as strings');
SELECT is(drift.utc(updated_at), '2025-05-10T08:36:02.123000Z', 'are milliseconds') FROM task WHERE name = 'int';
SELECT throws_ok($$SELECT drift.push(drift.list('created', drift.task(4, 'x', 'at noon')))$$, '22007', NULL, 'what is no time');

-- Somebody else's
RESET ROLE;
SET request.jwt.claims = :'bob';
SET ROLE drift_authenticated;
SELECT is(drift.told(1), NULL, 'nobody else sees it');
SELECT throws_ok($$SELECT drift.push(drift.list('updated', drift.task(1, 'stolen', '2025-06-10T08:37:00.000Z')))$$, '42501', NULL, 'nor writes it');
SELECT lives_ok($$SELECT drift.push('{"deleted": ["00000000-0000-4000-8000-000000000001"]}')$$, 'nor deletes it');
RESET ROLE;
SET request.jwt.claims = :'ann';
SET ROLE drift_authenticated;
SELECT is(drift.names(), 'two new int', 'it is as it was');

-- ---------------------------------------------------------------------------
-- Times without an offset
-- ---------------------------------------------------------------------------
SELECT ok(at BETWEEN now() - interval '7 minutes' AND clock_timestamp(), 'a clock at UTC' || zone || ' is the server''s own: ' || at)
FROM unnest(ARRAY[-12, -9.5, -3.5, 0, 1, 2, 5.75, 12.75, 14]) zone, drift.push(clock => drift.local(now(), zone)) a, CAST(a AS timestamptz) at;
SELECT is(drift.push(clock => drift.local(at, 5.75)), drift.utc(at), 'a clock that is late tells the time to pull from') FROM CAST(date_trunc('second', now()) - interval '5 minutes 0.111111 s' AS timestamptz) at;
SELECT is(drift.push(clock => drift.utc(at)), drift.utc(at), 'with an offset, however late') FROM CAST(date_trunc('second', now()) - interval '50 minutes 0.111111 s' AS timestamptz) at;
SELECT ok(drift.push(clock => drift.local(now() + interval '30 seconds'))::timestamptz BETWEEN now() - interval '1 second' AND clock_timestamp(), 'one that is a little ahead isn''t believed');
SELECT ok(drift.push(clock => drift.local(now() + interval '5 minutes'))::timestamptz BETWEEN now() - interval '121 seconds' AND clock_timestamp() - interval '119 seconds',
	'for one that is far ahead the server goes back two minutes');
SELECT ok(drift.push(clock => clock)::timestamptz BETWEEN now() - interval '121 seconds' AND clock_timestamp() - interval '119 seconds', clock || ' is as good as none')
FROM unnest(ARRAY['', drift.utc(now() + interval '1 year'), drift.local(now() + interval '1 year'), '9999-12-31T23:59:59.999Z']) clock;
SELECT is(drift.push(clock => '1970-01-01T00:03:00.000'), '1970-01-01T00:03:00Z', 'a clock that was never set goes on as it is');
SELECT throws_ok($$SELECT drift.push(clock => 'noon')$$, 'PT400', NULL, 'what is no time');

-- The same clock dates the records.
SELECT count(*) AS done FROM (SELECT drift.push(drift.list('created', drift.task(5, 'here', '2025-05-10T10:36:02.123456')), drift.local(now(), 2)) OFFSET 0) p \gset
SELECT is(drift.utc(updated_at), '2025-05-10T08:36:02.123456Z', 'a local time of a record is of the clock that comes with it') FROM task WHERE name = 'here';
SELECT count(*) AS done FROM (SELECT drift.push(drift.list('updated', drift.task(5, 'there', '2025-05-10T04:37:00')), drift.local(now(), -4)) OFFSET 0) p \gset
SELECT is((name, drift.utc(updated_at))::text, ('there', '2025-05-10T08:37:00.000000Z')::text, 'so devices in other zones agree which is later') FROM task WHERE id = drift.id(5)::uuid;
SELECT count(*) AS done FROM (SELECT drift.push(drift.list('updated', drift.task(5, 'utc', '2025-05-10T08:38:00')), drift.utc(now())) OFFSET 0) p \gset
SELECT is((name, drift.utc(updated_at))::text, ('utc', '2025-05-10T08:38:00.000000Z')::text, 'in UTC where that one has an offset') FROM task WHERE id = drift.id(5)::uuid;

-- A pull's clock may be of any time: a local one is taken as the earliest that it can be.
RESET ROLE;
CALL drift.hour();
SET ROLE drift_authenticated;
SELECT is(drift.told(5, drift.utc(now() - interval '50 minutes')), NULL, 'with an offset: seen');
SELECT is(drift.told(5, drift.local(now() - interval '50 minutes', 0)), 'updated', 'without one: perhaps not');

-- ---------------------------------------------------------------------------
-- The time that a push answers
-- ---------------------------------------------------------------------------
SELECT drift.push(drift.list('created', drift.task(6, 'late', '2025-05-10T08:36:02.123Z')), drift.local(now())) AS mine \gset
RESET ROLE;
UPDATE offsync_internal.timeline SET at = at - interval '1 minute';
SET ROLE drift_authenticated;
-- what another commits between this device's pull and its push, and long after its clock's time
SELECT drift.push(drift.list('created', drift.task(7, 'between', '2020-05-10T08:36:02.123Z'))) IS NOT NULL AS done \gset
SELECT is(drift.told(7, drift.push(clock => drift.local(now(), 2))), 'updated', 'what came between the device''s pull and its push comes next');
SELECT is(drift.told(7, drift.push(clock => drift.local(now() + interval '7 minutes', 2))), 'updated', 'also where its clock is ahead');
SELECT is(drift.told(7, drift.push(clock => drift.local(now() + interval '3 days', 2))), 'updated', 'by days');

-- ---------------------------------------------------------------------------
-- Deletions
-- ---------------------------------------------------------------------------
SELECT drift.push(drift.list('created', drift.task(10, 'a', '2025-05-10T08:00:00Z'), drift.task(11, 'b', '2025-05-10T08:00:00Z'), drift.task(12, 'c', '2025-05-10T08:00:00Z'),
	drift.task(13, 'd', '2025-05-10T08:00:00Z'), drift.task(14, 'e', '2025-05-10T08:00:00Z'))) IS NOT NULL AS done \gset
-- generator HEAD: ids, and the row under updated as well
SELECT lives_ok(format('SELECT drift.push(%L)', drift.list('updated', drift.task(10, 'a', '2025-05-10T09:00:00Z', 2, '2025-05-10T09:00:00Z'))
	|| jsonb_build_object('deleted', jsonb_build_array(drift.id(10)))), 'deleted as an id');
SELECT is((instance_id::text, deleted_at > now() - interval '1 hour', drift.utc(updated_at))::text, (drift.instance(2), true, '2025-05-10T09:00:00.000000Z')::text,
	'the server says when; the record says who, and dates it') FROM task WHERE name = 'a';
SELECT is(drift.told(10), 'deleted', 'its id is told');
SELECT is((SELECT jsonb_agg(DISTINCT jsonb_typeof(d)) FROM jsonb_array_elements(drift.pull()->'changes'->'public.task'->'deleted') d), '["string"]', 'as strings');
SELECT server_version AS stored FROM task WHERE name = 'a' \gset
SELECT lives_ok(format('SELECT drift.push(%L)', drift.list('updated', drift.task(10, 'a', '2025-05-10T09:00:00Z', 3, '2025-05-10T09:00:00Z'))
	|| jsonb_build_object('deleted', jsonb_build_array(drift.id(10)))), 'once more');
SELECT is(server_version, :stored, 'changes nothing') FROM task WHERE name = 'a';
-- the pinned generator: whole rows
SELECT lives_ok(format('SELECT drift.push(%L)', drift.list('created', drift.task(11, 'b', '2025-05-10T09:00:00Z', 2, '2025-05-10T09:00:00Z'))
	|| drift.list('deleted', drift.task(11, 'b', '2025-05-10T09:00:00Z', 2, '2025-05-10T09:00:00Z'))), 'deleted as a row');
SELECT lives_ok(format('SELECT drift.push(%L)', drift.list('deleted', drift.task(12, 'c', '2025-05-10T08:00:00Z', 2, '2025-05-10T09:00:00Z'))), 'a row whose updated_at hasn''t moved');
SELECT is((instance_id::text, updated_at > now() - interval '1 hour')::text, (drift.instance(2), true)::text, 'is dated by the server') FROM task WHERE name = 'c';
SELECT lives_ok(format('SELECT drift.push(%L)', drift.list('updated', drift.task(13, 'd', '2025-05-10T09:00:00Z', 2, '2025-05-10T09:00:00Z'))), 'deleted in its row alone');
SELECT lives_ok($$SELECT drift.push('{"deleted": ["00000000-0000-4000-8000-000000000014"]}')$$, 'an id alone');
SELECT is(drift.names(), 'two new int utc late between a† b† c† d† e†', 'all are deleted');
SELECT lives_ok($$SELECT drift.push('{"deleted": ["00000000-0000-4000-8000-000000000099", {"id": "00000000-0000-4000-8000-000000000098", "name": "x"}]}')$$, 'what isn''t there');
SELECT lives_ok(format('SELECT drift.push(%L)', drift.list('created', drift.task(97, 'x', '2025-05-10T09:00:00Z', 2, '2025-05-10T09:00:00Z'))
	|| jsonb_build_object('deleted', jsonb_build_array(drift.id(97)))), 'made and deleted between two syncs');
SELECT is(drift.told(97), NULL, 'leaves nothing');
-- disputes
SELECT lives_ok($$SELECT drift.push(drift.list('updated', drift.task(10, 'a', '2025-05-10T08:30:00Z')))$$, 'a change from before the deletion');
SELECT is(drift.told(10), 'deleted', 'doesn''t bring the row back');
SELECT lives_ok($$SELECT drift.push(drift.list('updated', drift.task(10, 'again', '2025-05-10T09:30:00Z')))$$, 'one from after it');
SELECT is(drift.told(10), 'updated', 'does');
SELECT lives_ok(format('SELECT drift.push(%L)', drift.list('deleted', drift.task(10, 'a', '2025-05-10T09:10:00Z', 2, '2025-05-10T09:10:00Z'))), 'a deletion from before a change');
SELECT is(drift.names() LIKE '% again %', true, 'leaves the row');
SELECT lives_ok(format('SELECT drift.push(%L)', drift.list('updated', drift.task(10, 'old', '2025-05-10T09:10:00Z', 4, '2025-05-10T10:00:00Z'))), 'a later deletion of an older row');
SELECT is((name, deleted_at IS NOT NULL, updated_at > '2025-05-10T10:00:00Z')::text, ('again', true, true)::text, 'deletes it and leaves what it held') FROM task WHERE id = drift.id(10)::uuid;
SELECT lives_ok(format('SELECT drift.push(%L)', drift.list('created', drift.task(15, 'f', '2025-05-10T08:00:00Z', 1, NULL) - 'deleted_at')), 'without deleted_at');
SELECT lives_ok(format('SELECT drift.push(%L)', drift.list('updated', drift.task(15, 'f', '2025-05-10T09:00:00Z', 1, 'infinity'))), 'what it says of when');
SELECT is(isfinite(deleted_at), true, 'isn''t stored') FROM task WHERE name = 'f';

-- The pinned client knows deletions by their rows alone.
RESET ROLE;
SELECT lives_ok($$SELECT offsync.expose('drift_api', 'drift', replace => true, tombstones => 'rows')$$, 'tombstones as rows');
SET ROLE drift_authenticated;
SELECT is(drift.told(10), 'updated', 'a deletion comes as a row');
SELECT isnt(r->>'deleted_at', NULL, 'with the time of it') FROM jsonb_array_elements(drift.pull()->'changes'->'public.task'->'updated') r WHERE r->>'id' = drift.id(10);
SELECT is(drift.pull()->'changes'->'public.task'->'deleted', '[]', 'and not as an id');
RESET ROLE;
CALL drift.hour();
SET ROLE drift_authenticated;
SELECT is(drift.told(11, drift.utc(now() - interval '50 minutes')), NULL, 'what was seen before isn''t told again');
SELECT drift.push(drift.list('deleted', drift.task(7, 'between', '2025-05-10T09:00:00Z', 2, '2025-05-10T09:00:00Z'))) IS NOT NULL AS done \gset
SELECT is(drift.told(7, drift.utc(now() - interval '50 minutes')), 'updated', 'what wasn''t is: a row');
RESET ROLE;
DELETE FROM task WHERE name = 'late';
SELECT lives_ok($$SELECT offsync.expose('drift_api', 'drift', replace => true)$$, 'as ids again');
SET ROLE drift_authenticated;
SELECT is(drift.told(7, drift.utc(now() - interval '50 minutes')), 'deleted', 'the same as an id');
SELECT is(drift.told(6, drift.utc(now() - interval '50 minutes')), 'deleted', 'a row that was removed, too');
-- These clients don't know what a replacement is: it names what is gone.
SELECT is(concat_ws(' ', drift.told(6), drift.told(7)), 'deleted deleted', 'both are told to a device that comes for the first time, or has been away for too long');

-- Whose view of the past that is depends on the policies: they show nobody what he never saw.
RESET ROLE;
CREATE TABLE member (team int, who uuid);
CREATE TABLE shared (id uuid PRIMARY KEY, team int, updated_at timestamptz);
ALTER TABLE shared ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON shared USING (team IN (SELECT team FROM member WHERE who = (SELECT auth.uid())));
GRANT SELECT ON member TO drift_authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON shared TO drift_authenticated;
SELECT count(*) AS done FROM offsync.enable('shared', conflict => 'last_write_wins', updated_at => 'updated_at') \gset
INSERT INTO shared VALUES (drift.id(50)::uuid, 1, now()), (drift.id(51)::uuid, 1, now());
DELETE FROM shared WHERE id = drift.id(50)::uuid;
INSERT INTO member VALUES (1, 'bbbbbbbb-0000-4000-8000-000000000000');
SET request.jwt.claims = :'bob';
SET ROLE drift_authenticated;
SELECT is(drift.rpc('pull_changes', '{"collections": ["public.shared"], "last_pulled_at": "2000-01-01T00:00:00.000Z"}')::jsonb #> '{changes,public.shared,deleted}', '[]',
	'who joined after a deletion isn''t told of it');
SELECT is(drift.pull()->'changes'->'public.task'->'deleted', '[]', 'nor of others'' deletions');
RESET ROLE;
DROP TABLE shared, member;
SET request.jwt.claims = :'ann';
SET ROLE drift_authenticated;

-- ---------------------------------------------------------------------------
-- Changes of the server's
-- ---------------------------------------------------------------------------
SELECT updated_at AS before FROM task WHERE name = 'two' \gset
RESET ROLE;
UPDATE task SET name = 'servers' WHERE name = 'two';
SELECT ok(updated_at > now() - interval '1 hour', 'a change that leaves updated_at alone is dated: devices take what is later') FROM task WHERE name = 'servers';
SET ROLE drift_authenticated;
SELECT lives_ok($$SELECT drift.push(drift.list('updated', drift.task(1, 'offline', '2025-06-10T08:36:30.000Z')))$$, 'what a device changed before that');
SELECT is(name, 'servers', 'loses') FROM task WHERE id = drift.id(1)::uuid;
RESET ROLE;
UPDATE task SET name = 'ahead', updated_at = '2100-01-01Z' WHERE name = 'servers';
SELECT is(updated_at, '2100-01-01Z', 'one that dates itself is left alone') FROM task WHERE name = 'ahead';
UPDATE task SET name = 'servers' WHERE name = 'ahead';
SELECT is(updated_at, '2100-01-01 00:00:00.001Z', 'the next is later than it, whatever the clock says') FROM task WHERE name = 'servers';
UPDATE task SET name = name WHERE name = 'servers';
SELECT is(updated_at, '2100-01-01 00:00:00.001Z', 'no change is none') FROM task WHERE name = 'servers';

-- In columns of other types, in partitions, and where there was nothing yet
CREATE TABLE millis (id int PRIMARY KEY, name text, updated_at bigint);
CREATE TABLE zoneless (id int PRIMARY KEY, name text, updated_at timestamp);
CREATE TABLE parted (id int, name text, updated_at timestamptz, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parted_1 (gone int, updated_at timestamptz, gone_too int, id int NOT NULL, name text);
ALTER TABLE parted_1 DROP gone, DROP gone_too;
ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES FROM (0) TO (10);
SELECT count(*) AS done FROM unnest(ARRAY['millis', 'zoneless', 'parted']::regclass[]) t, offsync.enable(t, conflict => 'last_write_wins', updated_at => 'updated_at') \gset
INSERT INTO millis VALUES (1, 'a', 1000), (2, 'a', 9007199254740000), (3, 'a', NULL);
UPDATE millis SET name = 'b';
SELECT is(string_agg((updated_at BETWEEN extract(epoch FROM now() - interval '1 hour') * 1000 AND extract(epoch FROM clock_timestamp()) * 1000 + 1000)::text || CASE id WHEN 2 THEN updated_at::text ELSE '' END, ' ' ORDER BY id),
	'true false9007199254740001 true', 'milliseconds') FROM millis;
INSERT INTO zoneless VALUES (1, 'a', '2025-01-01'), (2, 'a', 'infinity'), (3, 'a', '-infinity');
UPDATE zoneless SET name = 'b';
SELECT is(string_agg((updated_at AT TIME ZONE 'UTC' BETWEEN now() - interval '1 hour' AND clock_timestamp() + interval '1 second')::text, ' ' ORDER BY id),
	'true false false', 'a time without a zone is one of UTC; what has no end stays so') FROM zoneless;
INSERT INTO parted VALUES (1, 'a', '2025-01-01Z');
UPDATE parted SET name = 'b';
UPDATE parted_1 SET name = 'c';
SELECT is((name, updated_at BETWEEN now() - interval '1 hour' AND clock_timestamp() + interval '1 second')::text, '(c,t)', 'a partition') FROM parted;
CREATE TABLE coarse (id int PRIMARY KEY, name text, updated_at timestamptz(0));
SELECT count(*) AS done FROM offsync.enable('coarse', conflict => 'last_write_wins', updated_at => 'updated_at') \gset
INSERT INTO coarse VALUES (1, 'a', '2100-01-01Z'), (2, 'a', '1900-01-01Z');
-- a later one couldn't be restored from a dump
INSERT INTO coarse VALUES (3, 'a', '294276-12-31 23:59:59Z');
INSERT INTO parted VALUES (3, 'a', '294276-12-31 23:59:59.9999Z');
UPDATE parted SET name = 'd' WHERE id = 3;
UPDATE coarse SET name = 'b';
SELECT is(string_agg((updated_at = date_trunc('second', updated_at))::text || CASE id WHEN 1 THEN updated_at AT TIME ZONE 'UTC' END, ' ' ORDER BY id),
	'true2100-01-01 00:00:01', 'as fine as the type') FROM coarse WHERE id = 1;
SELECT is(updated_at = date_trunc('second', updated_at) AND updated_at > now() - interval '1 hour', true, 'whatever the time') FROM coarse WHERE id = 2;
SELECT lives_ok(format('SELECT %L::timestamptz, %L::timestamptz', (SELECT updated_at FROM coarse WHERE id = 3), (SELECT updated_at FROM parted WHERE id = 3)), 'not behind the last time that there is');
DROP TABLE millis, zoneless, parted, coarse;

-- What a trigger makes of a push must reach its sender, too.
CREATE FUNCTION drift.louder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;
CREATE TRIGGER louder BEFORE INSERT OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION drift.louder();
SET ROLE drift_authenticated;
SELECT drift.push(drift.list('created', drift.task(20, 'soft', '2025-05-10T08:36:02.123456Z'), drift.task(21, 'LOUD', '2025-05-10T08:36:02.123456Z'))) IS NOT NULL AS done \gset
SELECT results_eq($$SELECT name, drift.utc(updated_at) FROM task WHERE name IN ('SOFT', 'LOUD') ORDER BY 1$$,
	$$VALUES ('LOUD', '2025-05-10T08:36:02.123456Z'), ('SOFT', '2025-05-10T08:36:02.125000Z')$$, 'a row that is stored otherwise is a little later than it was sent');
SELECT drift.push(drift.list('updated', drift.task(21, 'loud', '2025-05-10T08:40:00Z'))) IS NOT NULL AS done \gset
SELECT is(drift.utc(updated_at), '2025-05-10T08:40:00.001000Z', 'also where it is updated') FROM task WHERE name = 'LOUD';
SELECT server_version AS stored FROM task WHERE name = 'LOUD' \gset
SELECT drift.push(drift.list('updated', drift.task(21, 'loud', '2025-05-10T08:40:00Z'))) IS NOT NULL AS done \gset
SELECT is(server_version, :stored, 'sent again it is older than the row') FROM task WHERE name = 'LOUD';
RESET ROLE;
DROP TRIGGER louder ON task;

-- ---------------------------------------------------------------------------
-- Documents
-- ---------------------------------------------------------------------------
CREATE FUNCTION drift.doc(n int, bytes text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('id', drift.id(n), 'task_id', drift.id(20), 'data_b64', bytes, 'created_at', drift.local(now() - n * interval '1 s'),
		'updated_at', drift.local(now() - n * interval '1 s'), 'deleted_at', NULL, 'user_id', NULL, 'instance_id', drift.instance(1)) $$;
CREATE TABLE drift.sent AS SELECT n, encode(sha256(n::text::bytea) || '\x00ff', 'base64') AS bytes FROM generate_series(100, 139) n;
GRANT SELECT ON drift.sent TO drift_authenticated;
SET ROLE drift_authenticated;
-- two devices, each with a half, the latest first, and one that comes twice
SELECT format('SELECT drift.push(more => %L) IS NULL AS failed', jsonb_build_object('public.doc_updates', docs)) FROM (
	SELECT n % 2, g, jsonb_build_object('created', jsonb_agg(drift.doc(n, bytes) ORDER BY n DESC), 'updated', '[]'::jsonb, 'deleted', '[]'::jsonb) AS docs
	FROM drift.sent, generate_series(1, 2) g GROUP BY 1, 2 ORDER BY 2, 1) p \gexec
SELECT results_eq($$SELECT drift.pull()->'changes'->'public.doc_updates'->'deleted', count(*), min(d->>'user_id') FROM jsonb_array_elements(drift.pull()->'changes'->'public.doc_updates'->'updated') d
	JOIN drift.sent ON d->>'id' = drift.id(n) AND d->>'data_b64' = bytes AND d->>'task_id' = drift.id(20)$$,
	$$VALUES ('[]'::jsonb, 40::bigint, 'aaaaaaaa-0000-4000-8000-000000000000')$$, 'updates of documents: all, once, as they were sent');
SELECT results_eq($$SELECT count(DISTINCT server_version), count(*) FROM doc_updates$$, $$VALUES (2::bigint, 40::bigint)$$, 'pushed twice, written once');

-- A parent and its child in one push, and a push of nothing
SELECT lives_ok(format('SELECT drift.push(%L, more => %L)', drift.list('created', drift.task(30, 'child', '2025-05-10T08:00:00Z') || jsonb_build_object('project_id', drift.id(31))),
	jsonb_build_object('public.project', drift.list('created', drift.task(31, 'parent', '2025-05-10T08:00:00Z') - 'project_id'))), 'parents are written first');
SELECT lives_ok($$SELECT drift.push()$$, 'empty tables');
SELECT throws_ok($$SELECT drift.push(more => '{"public.notes": {"created": [], "updated": [], "deleted": []}}')$$, 'PT404', NULL, 'a table that doesn''t sync');

-- All is as one pull says: no id twice, nothing but strings under deleted, no null where the client needs a string
SELECT is((SELECT count(*) FROM (SELECT 1 FROM jsonb_each(drift.pull()->'changes') c(name, lists), jsonb_each(lists) l(list, rows), jsonb_array_elements(rows) r
	GROUP BY name, coalesce(r->>'id', r #>> '{}') HAVING count(*) > 1) twice), 0::bigint, 'no id stands twice');
SELECT is((SELECT count(*) FROM jsonb_each(drift.pull()->'changes') c(name, lists), jsonb_array_elements(lists->'created' || (lists->'updated')) r, unnest(ARRAY['id', 'created_at', 'updated_at', 'user_id']) k
	WHERE jsonb_typeof(r->k) IS DISTINCT FROM 'string'), 0::bigint, 'what the client needs as strings are strings');

-- ---------------------------------------------------------------------------
-- Tables that are really deleted from, and what else enable offers
-- ---------------------------------------------------------------------------
RESET ROLE;
CREATE TABLE hard (id uuid PRIMARY KEY, name text, updated_at timestamptz, created_by text DEFAULT 'server');
GRANT SELECT, INSERT, UPDATE, DELETE ON hard TO drift_authenticated;
SELECT count(*) > 0 AS done FROM offsync.enable('hard', conflict => 'last_write_wins', updated_at => 'updated_at') \gset
SELECT lives_ok($$SELECT offsync.expose('drift_api', 'drift', replace => true, server_columns => '{created_by,user_id}')$$, 'other columns of the server''s');
CREATE FUNCTION drift.hard(list text, rows jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT drift.push(more => jsonb_build_object('public.hard', jsonb_build_object(list, rows))) $$;
CREATE FUNCTION drift.row(n int, name text, dated text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('id', drift.id(n), 'name', name, 'updated_at', dated, 'created_by', 'me') $$;
SET ROLE drift_authenticated;
SELECT drift.hard('created', jsonb_build_array(drift.row(1, 'a', '2025-05-10T09:00:00Z'), drift.row(2, 'b', '2025-05-10T09:00:00Z'), drift.row(3, 'c', '2025-05-10T09:00:00Z'))) IS NOT NULL AS done \gset
SELECT is(string_agg(created_by, ' '), 'server server server', 'it writes them') FROM hard;
SELECT lives_ok($$SELECT drift.hard('deleted', jsonb_build_array(drift.id(1), drift.row(2, 'b', '2025-05-10T09:00:00Z'), drift.row(3, 'c', '2025-05-10T08:00:00Z')))$$, 'ids and rows');
SELECT is(string_agg(name, ' '), 'c', 'are deleted, but for one that was changed later') FROM hard;
SELECT lives_ok($$SELECT drift.hard('created', jsonb_build_array(drift.row(1, 'a', '2025-05-10T09:00:00Z')))$$, 'pushed again by who hasn''t heard of it');
SELECT is(string_agg(name, ' '), 'c', 'it stays deleted') FROM hard;
SELECT lives_ok(format($$SELECT drift.hard('updated', jsonb_build_array(drift.row(1, 'a', %L)))$$, drift.utc(now() + interval '1 minute')), 'changed after the deletion');
SELECT is(string_agg(name, ' ' ORDER BY name), 'a c', 'it comes back') FROM hard;
RESET ROLE;

-- What went long ago doesn't keep a device from making something new.
SELECT count(*) AS done FROM offsync.prune('0') \gset
SET ROLE drift_authenticated;
SELECT lives_ok($$SELECT drift.hard('created', jsonb_build_array(drift.row(8, 'new', '2025-05-10T09:00:00Z')))$$, 'created when deletions were forgotten');
SELECT lives_ok($$SELECT drift.hard('updated', jsonb_build_array(drift.row(9, 'newer', '2025-05-10T09:00:00Z')))$$, 'and updated');
SELECT is(string_agg(name, ' ' ORDER BY name), 'a c new newer', 'both are there') FROM hard;
RESET ROLE;

-- A table whose owner wants no winner gets none.
CREATE TABLE strict (id uuid PRIMARY KEY, name text);
GRANT SELECT, INSERT, UPDATE, DELETE ON strict TO drift_authenticated;
SELECT count(*) > 0 AS done FROM offsync.enable('strict') \gset
SET ROLE drift_authenticated;
SELECT lives_ok($$SELECT drift.push(more => '{"public.strict": {"created": [{"id": "00000000-0000-4000-8000-000000000001", "name": "a"}]}}')$$, 'a new record');
SELECT lives_ok($$SELECT drift.push(more => '{"public.strict": {"created": [{"id": "00000000-0000-4000-8000-000000000001", "name": "a"}]}}')$$, 'twice');
SELECT throws_ok($$SELECT drift.push(more => '{"public.strict": {"updated": [{"id": "00000000-0000-4000-8000-000000000001", "name": "b"}]}}')$$, 'PT409', NULL,
	'a time is no evidence of what its device has seen');
RESET ROLE;

-- A pull reads, and nothing but that.
BEGIN READ ONLY;
SELECT lives_ok($$SELECT drift.pull()$$, 'a pull in a transaction that is read only');
SELECT throws_ok($$SELECT drift.push()$$, '25006', NULL, 'a push isn''t one');
COMMIT;
SELECT finish();

DROP TABLE strict, hard, doc_updates, task, project;
DROP SCHEMA drift, drift_api, auth CASCADE;
DROP ROLE drift_authenticated;
