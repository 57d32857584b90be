-- P4 where access comes and goes: memberships, filters, digests, replays, and cursors that carry sets.
-- Every statement is a transaction of its own, as devices have them.
\ir begin.psql
DROP ROLE IF EXISTS spy_owner;
DROP ROLE IF EXISTS spy_ann;
DROP ROLE IF EXISTS spy_bob;
CREATE ROLE spy_owner;
CREATE ROLE spy_ann;
CREATE ROLE spy_bob;
CREATE SCHEMA spy;
GRANT USAGE, CREATE ON SCHEMA spy TO PUBLIC;
CREATE SCHEMA spy_hostile;
GRANT USAGE, CREATE ON SCHEMA spy_hostile TO PUBLIC;
SET search_path = spy, public;
SELECT no_plan();

CREATE FUNCTION ids(records json) RETURNS text LANGUAGE sql AS
	$$SELECT coalesce(string_agg(coalesce(r ->> 'id', r #>> '{}'), ',' ORDER BY coalesce(r ->> 'id', r #>> '{}') COLLATE "C"), '') FROM json_array_elements(records) r$$;
CREATE FUNCTION cursor_of(VARIADIC collections text[]) RETURNS text LANGUAGE sql VOLATILE AS $$SELECT offsync.pull_changes(NULL, collections) ->> 'cursor'$$;
-- ids of an answer: created and updated / deleted
CREATE FUNCTION told(answer json, collection text) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN answer -> 'experimentalStrategy' -> 'override' -> collection IS NULL THEN '' ELSE 'replaced by ' END ||
		ids(((a -> 'created')::jsonb || (a -> 'updated')::jsonb)::json) || ' / ' || ids(a -> 'deleted')
	FROM (SELECT answer -> 'changes' -> collection AS a) x$$;
CREATE FUNCTION news(c text, collection text, filters json DEFAULT NULL) RETURNS text LANGUAGE sql VOLATILE
	AS $$SELECT told(offsync.pull_changes(c, ARRAY[collection], filters => filters), collection)$$;
CREATE FUNCTION complaint(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE m text; d text; h text;
BEGIN EXECUTE sql; RETURN 'none';
EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN concat_ws('|', SQLSTATE, m, nullif(d, ''), nullif(h, '')); END$$;

-- ---------------------------------------------------------------------------
-- The surface: whoever adds a function says here what it may tell
-- ---------------------------------------------------------------------------
SELECT is((SELECT string_agg(format('%s%s(%s) %s', CASE WHEN p.pronamespace = 'offsync'::regnamespace THEN '' ELSE 'internal ' END, p.proname,
		array_to_string(p.proargnames[1:p.pronargs], ','), p.provolatile), E'\n' ORDER BY p.pronamespace::regnamespace::text COLLATE "C", p.proname COLLATE "C") FROM pg_proc p
	WHERE p.pronamespace IN ('offsync'::regnamespace, 'offsync_internal'::regnamespace) AND has_function_privilege('spy_ann', p.oid, 'EXECUTE') AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)),
	concat_ws(E'\n', 'advise(tbl) s',				-- to the owner
		'changes(since,what,collection) s',			-- of what the caller sees
		'check(deep) s',							-- to the extension's owner and pg_monitor
		'client_schema(format,collections,version,dialect) s',	-- what the caller's role may read
		'crdt_changeset(since,node_id) s',
		'crdt_hello(node_id) s',
		'crdt_merge(node_id,changeset) v',
		'cursor_info(cursor) s',					-- what whoever holds the cursor can read in it
		'digest(collections,buckets,versions,filters,dialect) s',	-- of what the caller sees
		'disable(tbl,drop_columns,retire) v',				-- to the owner
		'drift_pull(collections,last_pulled_at,tombstones) s',
		'drift_push(_changes,last_pulled_at,server_columns) v',
		'enable(tbl,collection,key,conflict,columns,index,force,updated_at,soft_delete,access_tables,row_local,filter_columns,notify) v',
		'explain(tbl,id,last_pulled_at,as_role,claims,filters) s',	-- to the owner, as roles that it may be
		'expose(schema,dialect,prefix,replace,tombstones,server_columns) v',
		'new_id(length,alphabet) v',
		'pb_create(collection,body) v',
		'pb_delete(collection,id) v',
		'pb_list(collection,filter,page,perPage,sort,skipTotal,expand,fields) s',
		'pb_request() v',							-- any of the three
		'pb_update(collection,id,body) v',
		'prune(retention,max_rows) v',				-- to the extension's owner
		'pull_changes(last_pulled_at,collections,schema_version,migration,client_id,created_as_updated,dialect,filters,max_rows) s',
		'pull_messages(last_server_timestamp,client_id,user_id) s',
		'pull_stream(last_pulled_at,collections,schema_version,migration,client_id,created_as_updated,dialect,filters,max_rows) s',
		'push_changes(changes,last_pulled_at,client_id,push_id,on_error,dialect) v',
		'push_messages(messages) v',
		'reconcile(device,last_pulled_at,dialect,filters) s',
		'reset(tbl) v',
		'rest() v',									-- what the request's headers stand for, of these
		'rest_batch(ops) v',
		'rest_delete(kind,id,baseUpdatedAt,force,idempotencyKey) v',
		'rest_get(kind,id) s',
		'rest_health() s',
		'rest_list(kind,updatedSince,limit,includeDeleted,pageToken,afterId) s',
		'rest_post(kind,body,idempotencyKey) v',
		'rest_put(kind,id,body,baseUpdatedAt,force,idempotencyKey) v',
		'stats_reset() v',							-- to the same
		'sync_changes(changes,last_pulled_at,collections,client_id,push_id,on_error,created_as_updated,dialect,schema_version,migration,filters,max_rows) v',
		'internal clients() s',						-- to the same
		'internal kept(tbl) s',						-- to the table's owner, and the same
		'internal key_readable(tombstones) s',		-- of the caller's own privileges
		'internal messages_handler() v',			-- only superusers make wrappers of it
		'internal pull_reason(last_pulled_at,tbl,filters) s',	-- of the caller's own pull
		'internal stats() v',						-- to the same
		'internal status() s'), 'functions that anybody may call');
SELECT is((SELECT count(*) FROM pg_class c WHERE c.relnamespace IN ('offsync'::regnamespace, 'offsync_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'S', 'm', 'f')
	AND (CASE c.relkind WHEN 'S' THEN has_sequence_privilege('spy_ann', c.oid, 'USAGE,SELECT,UPDATE') ELSE has_table_privilege('spy_ann', c.oid, 'SELECT,INSERT,UPDATE,DELETE,TRUNCATE') END)), 0::bigint, 'tables that anybody may read');

-- ---------------------------------------------------------------------------
-- Memberships
-- ---------------------------------------------------------------------------
SET ROLE spy_owner;
CREATE TABLE member (project int, who name);
CREATE TABLE task (id int PRIMARY KEY, project int, title text, secret text);
CREATE TABLE comment (id int PRIMARY KEY, task int, body text);
CREATE TABLE other (id int PRIMARY KEY);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
ALTER TABLE comment ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON task USING (project IN (SELECT project FROM spy.member WHERE who = current_user)) WITH CHECK (true);
CREATE POLICY parent ON comment USING (task IN (SELECT id FROM spy.task)) WITH CHECK (true);
GRANT SELECT (id, project, title), INSERT, UPDATE, DELETE ON task TO spy_ann, spy_bob;
GRANT ALL ON comment, other TO spy_ann, spy_bob;
GRANT SELECT ON member TO spy_ann, spy_bob;
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('task', filter_columns => '{project,secret}') x, offsync.enable('comment') y, offsync.enable('other') z;
INSERT INTO member VALUES (1, 'spy_ann'), (2, 'spy_bob');
INSERT INTO task SELECT 10 * p + n, p, 'x', 's' || n FROM generate_series(1, 3) p, generate_series(1, 6) n;
INSERT INTO comment SELECT 100 + id, id, 'y' FROM task;

SET ROLE spy_bob;
SELECT cursor_of('task', 'comment', 'other') bob \gset
SET ROLE spy_ann;
SELECT cursor_of('task', 'comment', 'other') ann, offsync.pull_changes(NULL, '{task,comment,other}') ->> 'timestamp' ann_number \gset
SELECT is(news(:'bob', 'task'), 'replaced by 11,12,13,14,15,16 / ', 'somebody else''s cursor, with other sets');
SELECT is(news(:'bob', 'comment'), 'replaced by 111,112,113,114,115,116 / ', 'and of the children');

-- what was deleted, or moved away, before somebody came
SET ROLE spy_owner;
DELETE FROM task WHERE id = 21;
DELETE FROM comment WHERE id = 122;
UPDATE task SET project = 3 WHERE id = 23;
INSERT INTO member VALUES (2, 'spy_ann');
SET ROLE spy_ann;
SELECT is(news(:'ann', 'task'), '22,24,25,26 / ', 'who joins hears nothing of the past');
SELECT is(news(:'ann', 'comment'), '124,125,126 / ', 'nor of the children''s');
SELECT is(news(:'ann_number', 'task'), 'replaced by 11,12,13,14,15,16,22,24,25,26 / ', 'by number');
SELECT is_empty(format('SELECT id FROM offsync_internal.task_tombstone WHERE id NOT IN (21, 23)'), 'tombstones follow today''s policy');
-- with a push between, to another table or to this
SELECT offsync.push_changes('{"other": {"created": [{"id": "1"}]}}', :'ann') ->> 'cursor' AS pushed \gset
SELECT is(news(:'pushed', 'task'), '22,24,25,26 / ', 'a push elsewhere changes nothing');
SELECT offsync.push_changes('{"task": {"created": [{"id": "41", "project": 2}]}}', :'ann') ->> 'cursor' AS pushed \gset
SELECT unalike(news(:'pushed', 'task'), '%/%21%', 'nor does one to the same table');
SELECT unalike(news(:'pushed', 'task'), '%/%23%', 'nor of what was moved away');
-- lost and regained between two pulls, and what went on meanwhile
SELECT cursor_of('task', 'comment', 'other') ann \gset
SET ROLE spy_owner;
DELETE FROM member WHERE who = 'spy_ann' AND project = 2;
INSERT INTO task VALUES (51, 2, 'x'), (52, 3, 'x');
INSERT INTO comment VALUES (151, 51, 'y');
DELETE FROM task WHERE id = 51;
UPDATE task SET project = 2 WHERE id IN (31, 52);
DELETE FROM task WHERE id IN (31, 52);
DELETE FROM task WHERE id = 24;
INSERT INTO member VALUES (2, 'spy_ann');
SET ROLE spy_ann;
SELECT is(news(:'ann', 'task') ~ '/ 24(,51)?$', true, 'lost and regained: what was there at the cursor is gone');
SELECT unalike(news(:'ann', 'task'), '%31%', 'not what passed through');
SELECT unalike(news(:'ann', 'task'), '%52%', 'made and passed through');
SELECT unalike(news(:'ann', 'task'), '%51%', 'or came and went meanwhile');
SELECT unalike(news(:'ann', 'comment'), '%151%', 'nor its comment');
-- lost: only what was seen
SELECT cursor_of('task', 'comment', 'other') ann \gset
SET ROLE spy_owner;
DELETE FROM member WHERE who = 'spy_ann' AND project = 2;
INSERT INTO task VALUES (61, 2, 'x');
INSERT INTO comment VALUES (161, 61, 'y'), (162, 22, 'y');
DELETE FROM task WHERE id = 61;
SET ROLE spy_ann;
SELECT is(news(:'ann', 'task'), ' / 22,25,26,41', 'who leaves');
SELECT is(news(:'ann', 'comment'), ' / 125,126', 'the children, too');

-- ---------------------------------------------------------------------------
-- Pushes, refusals, replays
-- ---------------------------------------------------------------------------
CREATE FUNCTION told_of(form text, id text) RETURNS text LANGUAGE sql AS $$SELECT replace(complaint(format(form, id)), id, '?')$$;
-- (an unknown id could be inserted, as anybody could by INSERT: another hidden one, is what to compare with)
SELECT is(told_of(f, '32'), told_of(f, '23'), f) FROM unnest(ARRAY[
	$$SELECT offsync.push_changes('{"task": {"updated": [{"id": "%s", "title": "mine"}]}}')$$,
	$$SELECT offsync.push_changes('{"task": {"created": [{"id": "%s", "project": 1, "title": "mine"}]}}')$$,
	$$SELECT offsync.push_changes('{"task": {"deleted": ["%s"]}}')$$]) f;
SELECT is((SELECT count(DISTINCT replace(p::text, i, '?')) FROM unnest('{32,99}'::text[]) i, offsync.push_changes(format('{"task": {"deleted": ["%s"]}}', i)::json, on_error => 'skip') p), 1::bigint, 'skipped deletions, too');
SELECT ok(told_of($$SELECT offsync.push_changes('{"task": {"updated": [{"id": "%s", "title": "x"}]}}', '$$ || :'ann' || $$')$$, '32') !~ 's2|project', 'with a cursor, nothing of the row');
-- a push is replayed to who sent it only
SELECT offsync.push_changes('{"task": {"created": [{"id": "71", "project": 1, "title": "private"}]}}', client_id => 'phone', push_id => 'p1') IS NOT NULL AS x \g /dev/null
SET ROLE spy_bob;
SELECT ok(coalesce(complaint($$SELECT offsync.push_changes('{"task": {"created": [{"id": "71", "project": 1, "title": "private"}]}}', client_id => 'phone', push_id => 'p1')$$), '') ~ '^42501', 'not to somebody else');
SELECT unalike(complaint($$SELECT offsync.push_changes('{"task": {"created": []}}', client_id => 'phone', push_id => 'p1')$$), '%private%', 'nor is it known to be another');
SET ROLE spy_ann;

-- ---------------------------------------------------------------------------
-- Digests and repairs
-- ---------------------------------------------------------------------------
SELECT is((offsync.digest('{task}') -> 'task' -> 'buckets' -> 0 ->> 0)::int, 7, 'a digest counts what the caller sees');
SELECT offsync.digest('{task,comment}')::text AS mine \gset
SET ROLE spy_owner;
UPDATE task SET title = 'other' WHERE project <> 1;
DELETE FROM task WHERE id = 33;
INSERT INTO comment VALUES (199, 34, 'y');
SET ROLE spy_ann;
SELECT is(offsync.digest('{task,comment}')::text, :'mine', 'and nothing else moves it');
SELECT is(replace(offsync.reconcile('{"task": {"records": {"32": 1}}}')::text, '32', '?'), replace(offsync.reconcile('{"task": {"records": {"99": 1}}}')::text, '99', '?'), 'a hidden id is an unknown id');
SELECT is(told(offsync.reconcile('{"task": {"records": ["32", "33", "99", "11"]}}'), 'task') ~ '^12,13,14,15,16,71 / 32,33,99$', true, 'what isn''t in sight is gone, whatever it is');

-- ---------------------------------------------------------------------------
-- Filters
-- ---------------------------------------------------------------------------
SELECT ok(complaint($$SELECT offsync.pull_changes(NULL, '{task}', filters => '{"task": {"secret": ["s1"]}}')$$) ~ '^(42501|PT400)', 'no filter on a column that the caller can''t read');
SELECT ok(complaint($$SELECT offsync.digest('{task}', filters => '{"task": {"secret": ["s1"]}}')$$) ~ '^(42501|PT400)', 'nor in a digest');
SELECT ok(complaint($$SELECT offsync.reconcile('{"task": {"records": []}}', filters => '{"task": {"secret": ["s1"]}}')$$) ~ '^(42501|PT400)', 'nor in a repair');
SELECT ok(complaint($$SELECT offsync_internal.pull_reason(NULL, 'task', '{"task": {"secret": ["s1"]}}')$$) ~ '^(42501|PT400)|^none$', 'nor in its reason');
SELECT is(told(offsync.pull_changes(NULL, '{task}', filters => '{"task": {"project": [2, 3]}}'), 'task'), ' / ', 'a filter widens nothing');
SELECT offsync.pull_changes(NULL, '{task}', filters => '{"task": {"project": [1]}}') ->> 'cursor' AS narrow \gset
SET ROLE spy_owner;
DELETE FROM task WHERE id IN (34, 16);
SET ROLE spy_ann;
SELECT is(news(:'narrow', 'task', '{"task": {"project": [1, 3]}}'), ' / 16', 'nor does a wider one');
SELECT is(news(:'narrow', 'task', '{"task": {"project": [3]}}') ~ '34', false, 'nor another');

-- ---------------------------------------------------------------------------
-- Cursors with sets are sealed, every bit
-- ---------------------------------------------------------------------------
SELECT cursor_of('task', 'comment') ann \gset
SELECT is((SELECT string_agg(DISTINCT left(m, 5), ',') FROM generate_series(2, length(:'ann')) g,
	complaint(format('SELECT offsync.pull_changes(%L)', overlay(:'ann' PLACING CASE substr(:'ann', g, 1) WHEN 'A' THEN 'B' ELSE 'A' END FROM g))) m
	WHERE m <> 'none'), 'PT400', 'a changed letter');
SELECT is((SELECT count(*) FROM generate_series(2, length(:'ann')) g, LATERAL (SELECT overlay(:'ann' PLACING CASE substr(:'ann', g, 1) WHEN 'A' THEN 'B' ELSE 'A' END FROM g) AS c) f
	WHERE complaint(format('SELECT offsync.pull_changes(%L)', c)) = 'none' AND c <> :'ann'), 0::bigint, 'is never followed');
SET ROLE spy_bob;
SELECT is(news(:'ann', 'task') ~ '^replaced by .* / $', true, 'a stolen one names nothing');
-- the same role, another subject
SET ROLE spy_ann;
SET request.jwt.claims = '{"sub": "ann"}';
SELECT cursor_of('task', 'comment') ann \gset
SET request.jwt.claims = '{"sub": "eve"}';
SELECT is(news(:'ann', 'task') ~ '^replaced by .* / $', true, 'nor one of another subject''s');
RESET request.jwt.claims;

-- ---------------------------------------------------------------------------
-- For owners only
-- ---------------------------------------------------------------------------
SELECT throws_ok($$SELECT * FROM offsync.explain('spy.task', '32')$$, '42501');
SELECT throws_ok($$SELECT * FROM offsync.explain('spy.task', '99')$$, '42501');
SELECT throws_ok($$SELECT * FROM offsync.advise('spy.task')$$, '42501');
SELECT throws_ok($$SELECT * FROM offsync.prune('0')$$, '42501');
SET ROLE spy_owner;
SELECT throws_ok($$SELECT * FROM offsync.explain('spy.task', '32', as_role => 'spy_ann')$$, '42501', NULL, 'nor as a role that the owner can''t be');
SELECT throws_ok('SELECT * FROM offsync_internal.' || relname, '42501', NULL, relname || ' is private') FROM pg_class
	WHERE relnamespace = 'offsync_internal'::regnamespace AND relkind = 'r' AND relname !~ '_tombstone$' ORDER BY relname;

-- ---------------------------------------------------------------------------
-- Hostile names in the caller's search_path, where sets have moved: that looks beneath the policies
-- ---------------------------------------------------------------------------
RESET ROLE;
SET ROLE spy_ann;
DO $$
DECLARE t text; o text;
BEGIN
	FOREACH t IN ARRAY '{bigint,int,name,text,boolean}'::text[] LOOP
		EXECUTE format('CREATE FUNCTION spy_hostile.trap(a %s, b %1$s) RETURNS boolean LANGUAGE plpgsql COST 0.000001 AS ''BEGIN RAISE ''''trapped''''; END''', t);
		FOREACH o IN ARRAY '{=,<>,<,>,>=,<=}'::text[] LOOP
			EXECUTE format('CREATE OPERATOR spy_hostile.%s (LEFTARG = %s, RIGHTARG = %2$s, FUNCTION = spy_hostile.trap)', o, t);
		END LOOP;
		EXECUTE format('CREATE FUNCTION spy_hostile.coalesce(%s) RETURNS %1$s LANGUAGE plpgsql AS ''BEGIN RAISE ''''trapped''''; END''', t);
	END LOOP;
END $$;
CREATE TABLE spy_hostile.task (id int, project int);
CREATE TABLE spy_hostile.member (project int, who name);
CREATE TABLE spy_hostile.task_tombstone (id int);
SELECT cursor_of('task', 'comment') ann \gset
RESET ROLE;
CREATE FUNCTION trapped(sql text) RETURNS text LANGUAGE plpgsql AS $$BEGIN
	PERFORM set_config('search_path', 'spy_hostile, spy, pg_catalog, public', false);
	EXECUTE sql;
	PERFORM pg_catalog.set_config('search_path', 'spy, public', false);
	RETURN 'no';
EXCEPTION WHEN OTHERS THEN RETURN SQLERRM; END$$;
INSERT INTO member VALUES (2, 'spy_ann');
DELETE FROM member WHERE project = 1 AND who = 'spy_ann';
DELETE FROM task WHERE id = 12;
SET ROLE spy_ann;
SELECT is(trapped('SELECT 1 = 1'), 'trapped', 'the trap works');
SELECT is(trapped(format('SELECT offsync.pull_changes(%L, ''{task,comment}'')', :'ann')), 'no', 'a pull');
SELECT is(trapped(format('SELECT offsync.pull_changes(%L, ''{task}'', filters => ''{"task": {"project": [2]}}'')', :'ann')), 'no', 'a filter');
SELECT is(trapped($$SELECT offsync.digest('{task,comment}', 4)$$), 'no', 'a digest');
SELECT is(trapped($$SELECT offsync.reconcile('{"task": {"records": ["11", "22"]}}')$$), 'no', 'a repair');
SELECT is(news(:'ann', 'task') ~ '^22,25,26,41 / 11,12,13,14,15,71$', true, 'and it was all about something');
-- cheap, leaky functions of the caller's own get no sight of what is beneath
CREATE VIEW spy_hostile.mine AS SELECT * FROM spy.comment;
SELECT throws_ok($$SELECT offsync.enable('spy_hostile.mine')$$, NULL, NULL, 'a view isn''t synced');
RESET ROLE;

DROP SCHEMA spy, spy_hostile CASCADE;
DROP OWNED BY spy_owner, spy_ann, spy_bob;
DROP ROLE spy_owner, spy_ann, spy_bob;
SELECT * FROM finish();
