-- offsync.explain: what it says, and whose rights it takes to ask.
\ir begin.psql
DROP ROLE IF EXISTS why_owner;
DROP ROLE IF EXISTS why_ann;
DROP ROLE IF EXISTS why_team;
DROP ROLE IF EXISTS why_blind;
DROP ROLE IF EXISTS why_above;
DROP ROLE IF EXISTS why_other;
CREATE ROLE why_owner;
CREATE ROLE why_ann;
CREATE ROLE why_team;
CREATE ROLE why_blind;
CREATE ROLE why_above BYPASSRLS;
CREATE ROLE why_other;
GRANT why_ann, why_team, why_blind, why_above TO why_owner;
CREATE SCHEMA why;
GRANT USAGE, CREATE ON SCHEMA why TO why_owner;
GRANT USAGE ON SCHEMA why TO why_ann, why_team, why_above, why_other;
SET search_path = why, public;
SELECT no_plan();

-- versions are N, times T
CREATE FUNCTION masked(said text) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(said, '\d{4}-\d\d-\d\d [0-9:.]+[-+][0-9:]+', 'T', 'g'), '\d{12,}', 'N', 'g')$$;
CREATE FUNCTION said(wanted text, tbl regclass, id text, cursor text DEFAULT NULL, as_role name DEFAULT NULL, claims json DEFAULT NULL, filters json DEFAULT NULL)
	RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT string_agg(masked(verdict), ' | ') FROM offsync.explain(tbl, id, cursor, as_role, claims, filters) WHERE step = wanted$$;
CREATE FUNCTION steps(tbl regclass, id text, cursor text DEFAULT NULL, as_role name DEFAULT NULL, claims json DEFAULT NULL)
	RETURNS text LANGUAGE sql VOLATILE AS $$SELECT string_agg(step, ', ') FROM offsync.explain(tbl, id, cursor, as_role, claims)$$;
CREATE FUNCTION sub() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'$$;
CREATE FUNCTION cursor_as(as_role name, sub text, VARIADIC names text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE c text;
BEGIN
	PERFORM set_config('role', as_role, true), set_config('request.jwt.claims', json_build_object('sub', sub)::text, true);
	c := offsync.pull_changes(NULL, names) ->> 'cursor';
	PERFORM set_config('role', 'why_owner', true), set_config('request.jwt.claims', '', true);
	RETURN c;
END$$;

SET ROLE why_owner;
CREATE TABLE project (id int PRIMARY KEY);
CREATE TABLE member (project int, sub text);
GRANT SELECT ON member TO why_ann;
CREATE TABLE task (id text PRIMARY KEY, owner text, title text, secret text, hidden boolean, n int, deleted_at timestamptz);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON task USING (owner = sub());
CREATE POLICY mute ON task FOR SELECT;
CREATE POLICY odd ON task FOR SELECT TO why_team USING (10 / n > 1);
CREATE POLICY shown ON task AS RESTRICTIVE FOR SELECT USING (NOT hidden);
CREATE POLICY written ON task FOR INSERT WITH CHECK (true);
GRANT SELECT (id, owner, title, hidden, n, deleted_at), INSERT, UPDATE, DELETE ON task TO why_ann, why_team;
GRANT SELECT ON task TO why_above, why_blind;
SELECT count(*) FROM offsync.enable('task', soft_delete => 'deleted_at') \g /dev/null
INSERT INTO task (id, owner, title, hidden, n) VALUES ('t1', 'u1', 'a', false, 1), ('t2', 'u1', 'b', false, 1), ('t3', 'u2', 'c', false, 1),
	('t4', 'u1', 'd', true, 1), ('t5', 'u1', 'e', NULL, 1), ('t6', 'u1', 'f', false, 0), ('t7', 'u1', 'g', false, 1), ('t8', 'u1', 'h', false, 1);
SELECT cursor_as('why_ann', 'u1', 'task') c \gset
SELECT cursor_as('why_ann', 'u1', VARIADIC NULL::text[]) none \gset
SELECT offsync.pull_changes(NULL, '{task}') ->> 'timestamp' n \gset
UPDATE task SET title = 'aa' WHERE id = 't1';
DELETE FROM task WHERE id = 't2';
UPDATE task SET owner = 'u2' WHERE id = 't7';
UPDATE task SET deleted_at = now() WHERE id = 't8';

-- ---------------------------------------------------------------------------
-- The table, the id, the row
-- ---------------------------------------------------------------------------
SELECT is(said('table', 'project', '1'), 'why.project is not synced: offsync.enable makes it so', 'a table that isn''t synced');
SELECT is(steps('project', '1'), 'table', 'and nothing more');
SELECT is(said('table', 'task', 't1'), 'why.task syncs as collection "task" by its key (id)', 'the table');
SELECT is(said('tracking', 'task', 't1'), 'its triggers and its tombstones'' policies are in place', 'what it depends on');
SELECT is(steps('task', 't1', :'c', 'why_ann', '{"sub": "u1"}'),
	'table, tracking, id, row, soft delete, cursor, version, role, privileges, columns, row security, policy mute, policy odd, policy own, policy shown, visible, tombstone, collection, answer, last push',
	'in order');
SELECT is(said('id', 'task', 't1'), '"t1" is a key of this table', 'the id');
SELECT is(said('row', 'task', 't1'), 'inserted T by version N, last written T by version N', 'the row');
SELECT is(said('row', 'task', 'never'), 'there is none with this key now', 'no row');
SELECT is(said('soft delete', 'task', 't1'), 'deleted_at is null: the row counts as live', 'it is live');
SELECT is(said('soft delete', 'task', 't8'), 'deleted_at is set: devices are told that the row is deleted', 'it is soft-deleted');
CREATE TABLE pair (a uuid, b numeric, PRIMARY KEY (a, b));
SELECT count(*) FROM offsync.enable('pair') \g /dev/null
INSERT INTO pair VALUES ('00000000-0000-0000-0000-00000000000a', 1.50);
SELECT is(said('id', 'pair', '1.2.3'), '"1.2.3" is no id of this collection: invalid input syntax for type uuid: "1" (22P02)', 'an id that is none');
SELECT is(said('id', 'pair', 'x'), '"x" is no id of this collection: malformed id (PT400)', 'another one');
SELECT is(steps('pair', 'x'), 'table, tracking, id', 'and nothing more');
SELECT is(said('id', 'pair', '00000000-0000-0000-0000-00000000000A.1_2E50'),
	'"00000000-0000-0000-0000-00000000000A.1_2E50" is known to devices as "00000000-0000-0000-0000-00000000000a.1_2E50"', 'an id spelt otherwise');
SELECT is(said('visible', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50'), 'yes: SELECT as why_owner returns the row', 'a composite key');
SELECT is(said('visible', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E5'), 'no: SELECT as why_owner does not return it: there is no row', 'the very key');

-- ---------------------------------------------------------------------------
-- The cursor
-- ---------------------------------------------------------------------------
SELECT is(said('cursor', 'task', 't1'), 'none: a first sync', 'no cursor');
SELECT is(said('cursor', 'task', 't1', :'c'), 'exact: versions below N are seen, but for 0 then in progress, and 0 of the client''s own; it covers the collection', 'an exact one');
SELECT is(said('cursor', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', :'c'),
	'exact: versions below N are seen, but for 0 then in progress, and 0 of the client''s own; it does not cover the collection', 'of another collection');
SELECT is(said('cursor', 'task', 't1', :'n'), 'a number: versions below N are seen; who asked, and what else that depended on, it can''t tell', 'a number');
SELECT matches(said('cursor', 'task', 't1', now()::text), '^(a time: versions below|it can''t be followed: the timeline)', 'a clock');
SELECT is(said('cursor', 'task', 't1', '9007199254740991'), 'it can''t be followed: the number is from the future', 'the future');
SELECT throws_ok($$SELECT * FROM offsync.explain('task', 't1', 'oAAAA')$$, 'PT400', 'malformed last_pulled_at', 'a damaged one');
SELECT is(said('version', 'task', 't1', :'c'), 'N is unseen: it was written, or committed, after the cursor', 'unseen');
SELECT is(said('version', 'task', 't3', :'c'), 'N is seen: the device has had this row as it is, if it could see it then', 'seen');
SELECT is(said('version', 'task', 't2', :'c'), NULL, 'no row, no version');
BEGIN;
SET LOCAL ROLE why_ann;
SET LOCAL request.jwt.claims = '{"sub": "u1"}';
SELECT offsync.push_changes('{"task": {"updated": [{"id": "t1", "title": "pushed"}]}}', offsync.pull_changes(NULL, '{task}') ->> 'cursor', 'phone') ->> 'cursor' own \gset
COMMIT;
SELECT is(said('version', 'task', 't1', :'own'), 'N is of the client''s own push, which counts as seen', 'the client''s own');
SELECT is(said('answer', 'task', 't1', :'own', 'why_ann', '{"sub": "u1"}'), 'the pull tells nothing of the id: the device has had this version', 'so it doesn''t come back');
SELECT is(said('last push', 'task', 't1'), 'version N, T, by why_ann (subject "u1") from client "phone"; the row is as it left it', 'the last push');
UPDATE task SET title = 'since' WHERE id = 't1';
SELECT is(said('last push', 'task', 't1'), 'version N, T, by why_ann (subject "u1") from client "phone"; the row was written again since', 'and not the last writer');
SELECT is(said('last push', 'task', 't3'), 'none is kept: a push without a client_id leaves no note, and prune forgets old ones', 'none');

-- ---------------------------------------------------------------------------
-- Privileges and policies
-- ---------------------------------------------------------------------------
SELECT is(said('role', 'task', 't1'), 'why_owner, with the settings of this session', 'the caller');
SELECT is(said('role', 'task', 't1', NULL, 'why_ann', '{}'), 'why_ann, with the claims given', 'another role');
SELECT is(said('columns', 'task', 't1', NULL, 'why_ann'), 'left out, for want of SELECT on them: secret, server_created_at, server_updated_at, server_version', 'columns');
SELECT is(said('columns', 'task', 't1'), NULL, 'none left out');
SELECT is(said('privileges', 'task', 't1', NULL, 'why_blind'), 'it may not use schema why', 'the schema');
SELECT is(said('answer', 'task', 't1', NULL, 'why_blind'), 'a pull of this collection is refused: permission denied (42501); a pull of all leaves it out', 'no answer');
SELECT is(said('privileges', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_ann'), 'it may not SELECT a, which is of the key', 'the key');
SELECT is(said('visible', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_ann'), 'unknown: SELECT as why_ann fails: permission denied for table pair (42501)', 'no SELECT');
SELECT is(said('row security', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50'), 'off: whoever may SELECT sees every row', 'no policies');
SELECT is(said('row security', 'task', 't1'), 'bypassed: why_owner owns the table, and row security is not forced; no policy is asked', 'the owner');
SELECT is(said('row security', 'task', 't1', NULL, 'why_above'), 'bypassed: why_above is a superuser or has BYPASSRLS; no policy is asked', 'above them');
SELECT is(said('policy own', 'task', 't3', NULL, 'why_above'), NULL, 'none is asked');
SELECT is(said('row security', 'task', 't1', NULL, 'why_ann'), 'on', 'policies');

CREATE TABLE firm (id int PRIMARY KEY, owner text);
ALTER TABLE firm ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON firm USING (owner = sub());
SELECT count(*) FROM offsync.enable('firm') \g /dev/null
SELECT set_config('request.jwt.claims', '{"sub": "u1"}', false) \g /dev/null
INSERT INTO firm VALUES (1, 'u1');
RESET request.jwt.claims;
SELECT is(said('row security', 'firm', '1'), 'on and forced, also for the owner', 'forced');
SELECT is(said('row', 'firm', '1'), 'inserted T by version N, last written T by version N', 'the owner is told that the row is there');
SELECT is(said('visible', 'firm', '1', NULL, NULL, '{"sub": "u2"}'), 'no: SELECT as why_owner does not return it: no permissive policy is true', 'and is under the policies');
SELECT is(said('visible', 'firm', '1', NULL, NULL, '{"sub": "u1"}'), 'yes: SELECT as why_owner returns the row', 'as any other');

SELECT is(said('policy own', 'task', 't1', NULL, 'why_ann', '{"sub": "u1"}'), 'permissive, for public: (owner = sub()) is true for this row', 'true');
SELECT is(said('policy own', 'task', 't1', NULL, 'why_ann', '{"sub": "u2"}'), 'permissive, for public: (owner = sub()) is false for this row', 'false');
SELECT is(said('policy own', 'task', 't1', NULL, 'why_ann', '{}'), 'permissive, for public: (owner = sub()) is null for this row, which counts as false', 'null');
SELECT is(said('policy own', 'task', 't2', NULL, 'why_ann', '{}'), 'permissive, for public: (owner = sub()) is not asked, since there is no row', 'no row');
SELECT is(said('policy mute', 'task', 't1', NULL, 'why_ann'), 'permissive, has no USING expression, and so no say in what is read', 'no expression');
SELECT is(said('policy written', 'task', 't1', NULL, 'why_ann'), NULL, 'of another command');
SELECT is(said('policy odd', 'task', 't1', NULL, 'why_ann'), 'permissive, does not apply: it is for why_team', 'for another role');
SELECT is(said('policy odd', 'task', 't6', NULL, 'why_team', '{}'),
	'permissive, for why_team: ((10 / n) > 1) raises an error, and so does any pull that comes to evaluate it: division by zero (22012)', 'an error');
SELECT is(said('policy shown', 'task', 't4', NULL, 'why_ann'), 'restrictive, for public: (NOT hidden) is false for this row', 'restrictive');
SELECT is(said('visible', 'task', 't1', NULL, 'why_ann', '{"sub": "u1"}'), 'yes: SELECT as why_ann returns the row', 'visible');
SELECT is(said('visible', 'task', 't3', NULL, 'why_ann', '{"sub": "u1"}'), 'no: SELECT as why_ann does not return it: no permissive policy is true', 'not visible');
SELECT is(said('visible', 'task', 't4', NULL, 'why_ann', '{"sub": "u1"}'), 'no: SELECT as why_ann does not return it: a restrictive policy is not true (shown)', 'held back');
SELECT is(said('visible', 'task', 't5', NULL, 'why_ann', '{"sub": "u1"}'), 'no: SELECT as why_ann does not return it: a restrictive policy is not true (shown)', 'by null, too');
SELECT is(said('visible', 'task', 't6', NULL, 'why_team', '{}'), 'unknown: SELECT as why_team fails: division by zero (22012)', 'an error');
SELECT is(said('answer', 'task', 't6', NULL, 'why_team', '{}'), 'the pull does not bring the row, since why_team does not see it', 'a first sync isn''t run');
CREATE POLICY whole ON pair TO why_ann USING (pair IS NOT NULL AND pair.tableoid = 'pair'::regclass);
ALTER TABLE pair ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON pair TO why_ann, why_team;
SELECT is(said('policy whole', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_ann'),
	'permissive, for why_ann: ((pair.* IS NOT NULL) AND (tableoid = (''pair''::regclass)::oid)) is true for this row', 'the whole row');
SELECT is(said('visible', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_team'),
	'no: SELECT as why_team does not return it: no permissive policy applies to it', 'none applies');
SELECT is(said('tracking', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_team'),
	'the tombstone table''s policies differ from the table''s: every answer is a replacement', 'trouble');
DROP POLICY whole ON pair;
SELECT is(said('policy', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_ann'), 'there is none for SELECT: nobody sees a row', 'none at all');
CREATE POLICY sys ON pair USING (xmin IS NOT NULL);
SELECT is(said('policy sys', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_ann'),
	'permissive, for public: (xmin IS NOT NULL) reads a system column, so it can''t be evaluated by itself', 'a system column');
SELECT is(said('visible', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_ann'), 'yes: SELECT as why_ann returns the row', 'the SELECT knows');
DROP POLICY sys ON pair;
CREATE POLICY joined ON pair USING (EXISTS (SELECT FROM member m WHERE m.project = trunc(pair.b) AND m.sub = sub()));
SELECT is(said('access', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_ann'),
	'the policies read why.member: what is seen may change with that, without this row being written', 'other tables');
SELECT is(said('access', 'task', 't1', NULL, 'why_ann'), NULL, 'no other table');
SELECT is(said('visible', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_ann', '{"sub": "u1"}'),
	'no: SELECT as why_ann does not return it: no permissive policy is true', 'not a member');
INSERT INTO member VALUES (1, 'u1');
SELECT is(said('visible', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_ann', '{"sub": "u1"}'), 'yes: SELECT as why_ann returns the row', 'a member');
SELECT matches(said('policy joined', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_ann', '{"sub": "u1"}'), 'is true for this row$', 'by the policy');
ALTER TABLE member ENABLE ROW LEVEL SECURITY;
SELECT matches(said('policy joined', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', NULL, 'why_ann', '{"sub": "u1"}'), 'is false for this row$', 'which sees through the other table''s policies');

-- ---------------------------------------------------------------------------
-- What the device is told
-- ---------------------------------------------------------------------------
SELECT is(said('collection', 'task', 't1', NULL, 'why_ann', '{"sub": "u1"}'), 'a first sync: all of it', 'first sync');
SELECT is(said('answer', 'task', 't1', NULL, 'why_ann', '{"sub": "u1"}'), 'the pull brings the row, with all others that why_ann sees', 'the row');
SELECT is(said('answer', 'task', 't3', NULL, 'why_ann', '{"sub": "u1"}'), 'the pull does not bring the row, since why_ann does not see it', 'not the row');
SELECT is(said('answer', 'task', 't8', NULL, 'why_ann', '{"sub": "u1"}'), 'the pull does not bring the row, since it is soft-deleted', 'nor a deleted one');
SELECT is(said('collection', 'task', 't1', :'c', 'why_ann', '{"sub": "u1"}'), 'incremental: what changed since the cursor', 'a delta');
SELECT is(said('answer', 'task', 't1', :'c', 'why_ann', '{"sub": "u1"}'), 'the pull tells of the id under "updated"', 'changed');
SELECT is(said('answer', 'task', 't2', :'c', 'why_ann', '{"sub": "u1"}'), 'the pull tells of the id under "deleted"', 'deleted');
SELECT is(said('answer', 'task', 't7', :'c', 'why_ann', '{"sub": "u1"}'), 'the pull tells of the id under "deleted"', 'gone out of sight');
SELECT is(said('answer', 'task', 't8', :'c', 'why_ann', '{"sub": "u1"}'), 'the pull tells of the id under "deleted"', 'soft-deleted');
SELECT is(said('answer', 'task', 't3', :'c', 'why_ann', '{"sub": "u1"}'),
	'the pull tells nothing of the id: why_ann does not see the row, and has lost none by this key since the cursor', 'never seen');
SELECT is(said('answer', 'task', 't1', :'n', 'why_ann', '{"sub": "u1"}'), 'the pull tells of the id under "updated"', 'by number');
SELECT is(said('collection', 'task', 't1', :'c', 'why_ann', '{"sub": "u2"}'), 'replacement: the caller, its rights, or what the policies depend on changed', 'another user');
SELECT is(said('answer', 'task', 't7', :'c', 'why_ann', '{"sub": "u2"}'), 'the pull brings the row, with all others that why_ann sees', 'who sees it');
SELECT is(said('answer', 'task', 't1', :'c', 'why_ann', '{"sub": "u2"}'), 'the pull does not bring the row, since why_ann does not see it, and the device drops it if it has it', 'or not');
SELECT is(said('collection', 'task', 't1', :'none', 'why_ann', '{"sub": "u1"}'), 'incremental: what changed since the cursor', 'a cursor of all');
SELECT is(said('collection', 'pair', '00000000-0000-0000-0000-00000000000a.1_2E50', :'c', 'why_ann', '{"sub": "u1"}') ~ '^replacement: (policy joined|the cursor does not cover)', true, 'what isn''t covered');
BEGIN;
SET LOCAL ROLE why_ann;
SET LOCAL request.jwt.claims = '{"sub": "u1"}';
SELECT offsync.pull_changes(NULL, '{task}', dialect => 'json') ->> 'cursor' j \gset
COMMIT;
SELECT is(said('collection', 'task', 't1', :'j', 'why_ann', '{"sub": "u1"}'), 'incremental: what changed since the cursor', 'the other dialect''s cursor');
SELECT is(said('tombstone', 'task', 't1'), 'none: the row was not deleted, nor moved between views, as far as is remembered', 'no tombstone');
SELECT is(said('tombstone', 'task', 't2', :'c', 'why_ann', '{"sub": "u1"}'), 'version N, T, unseen by the cursor, shown to why_ann', 'a deletion');
SELECT is(said('tombstone', 'task', 't2', :'c', 'why_ann', '{"sub": "u2"}'), 'version N, T, unseen by the cursor, hidden from why_ann', 'not for others');
SELECT is(said('tombstone', 'task', 't2', :'j', 'why_ann', '{"sub": "u1"}'), 'version N, T, seen by the cursor, shown to why_ann', 'seen');
SELECT is(said('tombstone', 'task', 't2', NULL, 'why_ann', '{"sub": "u1"}'), 'version N, T, shown to why_ann', 'without a cursor');
SELECT offsync.reset('task');
SELECT is(said('collection', 'task', 't1', :'j', 'why_ann', '{"sub": "u1"}'), 'replacement: reset', 'a reset');
SELECT is(said('collection', 'task', 't1', :'n', 'why_ann', '{"sub": "u1"}'), 'replacement: reset', 'for numbers, too');
SELECT offsync.pull_changes(NULL, '{task}') ->> 'timestamp' n \gset
UPDATE task SET title = 'again' WHERE id = 't6';
SELECT is(said('answer', 'task', 't6', :'n', 'why_team', '{}'), 'the pull fails: division by zero (22012)', 'an error in the pull');
-- memberships
ALTER TABLE member DISABLE ROW LEVEL SECURITY;
CREATE TABLE item (id int PRIMARY KEY, project int);
ALTER TABLE item ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON item USING (project IN (SELECT m.project FROM member m WHERE m.sub = sub()));
GRANT SELECT ON item TO why_ann;
SELECT count(*) FROM offsync.enable('item') \g /dev/null
INSERT INTO item VALUES (1, 1), (2, 2);
SELECT cursor_as('why_ann', 'u1', 'item') m \gset
SELECT is(said('answer', 'item', '2', :'m', 'why_ann', '{"sub": "u1"}'),
	'the pull tells nothing of the id: why_ann does not see the row, and has lost none by this key since the cursor', 'not a member');
DELETE FROM member;
INSERT INTO member VALUES (2, 'u1');
SELECT is(said('version', 'item', '2', :'m'), 'N is seen: the device has had this row as it is, if it could see it then', 'it wasn''t written');
SELECT matches(said('answer', 'item', '2', :'m', 'why_ann', '{"sub": "u1"}'),
	'^the pull tells of the id under "(created|updated)", although the version is seen: the row came into view', 'a membership gained');
SELECT is(said('answer', 'item', '1', :'m', 'why_ann', '{"sub": "u1"}'), 'the pull tells of the id under "deleted"', 'and one lost');
-- filters
CREATE TABLE held (id int PRIMARY KEY, project int);
GRANT SELECT ON held TO why_ann;
SELECT count(*) FROM offsync.enable('held', filter_columns => '{project}') \g /dev/null
INSERT INTO held VALUES (1, 1), (2, 2), (3, 1);
BEGIN;
SET LOCAL ROLE why_ann;
SELECT offsync.pull_changes(NULL, '{held}', filters => '{"held": {"project": [1]}}') ->> 'cursor' f \gset
COMMIT;
UPDATE held SET project = project WHERE id < 3;
UPDATE held SET project = 2 WHERE id = 3;
INSERT INTO held VALUES (4, 2), (5, 1);
SELECT is(said('collection', 'held', '1', :'f', 'why_ann'), 'replacement: the device filters: explain it with its filters', 'filters are asked for');
SELECT is(said('collection', 'held', '1', :'f', 'why_ann', filters => '{"held": {"project": [1]}}'), 'incremental: what changed since the cursor', 'and given');
SELECT is(said('answer', 'held', id, :'f', 'why_ann', filters => '{"held": {"project": [1]}}'), answer, 'with a filter: ' || id) FROM (VALUES
	('1', 'the pull tells nothing of the id: the device has had this version, or its filters leave the row out'),
	('3', 'the pull tells of the id under "deleted"'), ('4', 'the pull tells nothing of the id: its filters leave the row out'),
	('5', 'the pull tells of the id under "updated"')) v (id, answer);
SELECT is(said('answer', 'held', '4', NULL, 'why_ann', filters => '{"held": {"project": [1]}}'), 'the pull tells nothing of the id: its filters leave the row out', 'a first sync with a filter');
SELECT is(said('answer', 'held', '5', NULL, 'why_ann', filters => '{"held": {"project": [1]}}'), 'the pull tells of the id under "created"', 'and what it brings');

-- what a cursor says of itself
SELECT is((SELECT string_agg(key, ',') FROM json_each(offsync.cursor_info(:'m'))),
	'kind,from,timeline,lsn,xmin,xmax,running,ownTransactions,collections,sets,filteredCollections,bytes', 'cursor_info');
SELECT is(offsync.cursor_info(:'m') ->> 'sets', '{"count":1,"values":1,"tooLarge":0}', 'how much it carries, and no value');
SELECT is(offsync.cursor_info(:'f') ->> 'filteredCollections', '1', 'a filter');
SELECT is((offsync.cursor_info(:'m') ->> 'bytes')::int, length(:'m'), 'its size');

-- what nobody can see into, with the tables that it reads declared
CREATE FUNCTION may_see(p int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT EXISTS (SELECT FROM why.member WHERE project = p)';
CREATE TABLE deep (id int PRIMARY KEY, project int);
ALTER TABLE deep ENABLE ROW LEVEL SECURITY;
CREATE POLICY f ON deep USING (may_see(project));
GRANT SELECT ON deep TO why_ann;
SELECT count(*) FROM offsync.enable('deep', access_tables => '{member}', row_local => true) \g /dev/null
INSERT INTO deep VALUES (1, 2);
SELECT cursor_as('why_ann', 'u1', 'deep') d \gset
SET request.jwt.claims = '{"sub": "u1"}';
SELECT is(said('collection', 'deep', '1', :'d', 'why_ann'), 'incremental: what changed since the cursor', 'a function''s tables, unchanged');
SELECT is(said('collection', 'deep', '1', :'d', 'why_ann', '{"sub": "u1"}'), 'incremental: what changed since the cursor', 'by claims, as the gateway gives them');
SELECT is(said('answer', 'deep', '1', :'d', 'why_ann', '{"sub": "u1"}'), 'the pull tells nothing of the id: the device has had this version', 'for the pull, too');
SELECT is(said('access', 'deep', '1', :'d', 'why_ann'), 'the policies read why.member: what is seen may change with that, without this row being written', 'which they are');
SET TimeZone = 'Asia/Tokyo';
SELECT is(said('collection', 'deep', '1', :'d', 'why_ann'), 'replacement: the caller, its rights, or what the policies depend on changed'
	'; or it only seems so here: for its policies the session''s user and settings count, too, and the device''s session has its own', 'another session');
RESET TimeZone;
DELETE FROM member WHERE project = 7;
INSERT INTO member VALUES (7, 'u7');
SELECT is(said('collection', 'deep', '1', :'d', 'why_ann'), 'replacement: member changed, which a policy reads', 'changed');
SELECT is(said('access', 'deep', '1', :'d', 'why_ann'), 'the policies read why.member (changed since the cursor): what is seen may change with that, without this row being written', 'which it says');
RESET request.jwt.claims;
CREATE TABLE part (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
SELECT count(*) FROM offsync.enable('part') \g /dev/null
INSERT INTO part VALUES (1, 'x');
SELECT is(said('table', 'part_1', '1'), 'why.part, of which why.part_1 is a partition, syncs as collection "part" by its key (id)', 'a partition');
SELECT is(said('visible', 'part_1', '1'), 'yes: SELECT as why_owner returns the row', 'and its row');
ALTER TABLE part_1 DISABLE TRIGGER offsync_delete;
SELECT is(said('tracking', 'part', '1'), 'trigger offsync_delete is not enabled ALWAYS on part_1: every answer is a replacement', 'a disabled trigger');
SELECT is(said('collection', 'part', '1', :'c'), 'replacement: trigger offsync_delete is not enabled ALWAYS on part_1', 'which the pull says, too');
DROP TABLE part;

-- ---------------------------------------------------------------------------
-- Claims: as the gateway sets them, and gone afterwards
-- ---------------------------------------------------------------------------
CREATE TABLE doc (id int PRIMARY KEY, v text);
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY old ON doc USING (v = current_setting('request.jwt.claim.sub', true));
GRANT SELECT ON doc TO why_ann;
SELECT count(*) FROM offsync.enable('doc') \g /dev/null
INSERT INTO doc VALUES (1, 'u1');
SET request.jwt.claims = '{"sub": "mine"}';
SET request.jwt.claim.sub = 'u1';
SELECT is(said('visible', 'doc', '1', NULL, 'why_ann'), 'yes: SELECT as why_ann returns the row', 'the session''s own settings, without claims');
SELECT is(said('visible', 'doc', '1', NULL, 'why_ann', '{"role": "x"}'), 'no: SELECT as why_ann does not return it: no permissive policy is true', 'claims hide them');
SELECT is(said('visible', 'doc', '1', NULL, 'why_ann', '{"sub": "u1", "https://x.example/y": 1, "n": null}'), 'yes: SELECT as why_ann returns the row', 'one setting a claim');
SELECT is(current_setting('request.jwt.claims'), '{"sub": "mine"}', 'the session keeps its own');
SELECT is(current_setting('request.jwt.claim.sub'), 'u1', 'all of them');
SELECT is(current_user::text, 'why_owner', 'and its user');
SELECT throws_ok($$SELECT * FROM offsync.explain('doc', '1', claims => '[1]')$$, '22023', NULL, 'claims are an object');
SELECT throws_ok($$SELECT * FROM offsync.explain(NULL, '1')$$, '22004', 'tbl must not be null');
SELECT throws_ok($$SELECT * FROM offsync.explain('doc', NULL)$$, '22004', 'id must not be null');
RESET request.jwt.claims;
RESET request.jwt.claim.sub;
BEGIN READ ONLY;
SELECT is(said('visible', 'doc', '1'), 'yes: SELECT as why_owner returns the row', 'reads only');
COMMIT;

-- ---------------------------------------------------------------------------
-- Whose rights it takes, and whose it uses
-- ---------------------------------------------------------------------------
SET ROLE why_ann;
SELECT throws_ok($$SELECT * FROM offsync.explain('task', 't1')$$, '42501', 'must be owner of table task', 'not for callers of the collection');
SELECT throws_ok($$SELECT * FROM offsync.explain('member', 't1')$$, '42501', 'must be owner of table member', 'synced or not');
SELECT throws_ok($$SELECT * FROM offsync.explain('task', 't1', as_role => 'why_ann')$$, '42501', 'must be owner of table task', 'nor as themselves');
SET ROLE why_owner;
SELECT throws_ok($$SELECT * FROM offsync.explain('task', 't1', as_role => 'why_other')$$, '42501', 'permission denied to explain as role "why_other"', 'not as a role that the owner isn''t of');
SELECT throws_ok($$SELECT * FROM offsync.explain('task', 't1', as_role => 'nobody_at_all')$$, '42704', NULL, 'nor as one that isn''t');
SELECT throws_ok($$SELECT * FROM offsync.explain('task', 't1', as_role => (SELECT rolname FROM pg_roles WHERE oid = 10))$$, '42501', NULL, 'least of all as the superuser');
RESET ROLE;
SELECT is(said('visible', 'task', 't3', NULL, 'why_other', '{}'), 'unknown: SELECT as why_other fails: permission denied for table task (42501)', 'a superuser may ask as anybody');

-- an owner's function in a policy gets hold of nothing but the role's rights
CREATE TABLE loot (v text);
GRANT INSERT ON loot TO PUBLIC;
SET ROLE why_owner;
CREATE FUNCTION grab() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE got text := current_user; attempt text;
BEGIN
	FOREACH attempt IN ARRAY ARRAY['RESET ROLE', 'SET ROLE NONE', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION DEFAULT',
		'SET LOCAL ROLE why_owner', 'CREATE TEMP TABLE trap (v int)', 'DECLARE trap CURSOR WITH HOLD FOR SELECT 1', 'SELECT * FROM why.loot', 'ALTER ROLE why_owner SUPERUSER']
	LOOP
		BEGIN
			EXECUTE attempt;
			got := got || ', ' || attempt || ' as ' || current_user;
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
	END LOOP;
	INSERT INTO why.loot VALUES (got);
	PERFORM set_config('request.jwt.claims', 'left behind', false);
	RAISE EXCEPTION 'got: %', got;
END$$;
CREATE POLICY trap ON doc FOR SELECT TO why_ann USING (grab());
CREATE FUNCTION quiet() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO why.loot VALUES (current_user);
	PERFORM set_config('request.jwt.claims', 'left behind', false);
	RETURN current_user = 'why_ann';
END$$;
RESET ROLE;
SELECT is(said('policy trap', 'doc', '1', NULL, 'why_ann', '{}'),
	'permissive, for why_ann: grab() raises an error, and so does any pull that comes to evaluate it: got: why_ann (P0001)', 'asked by a superuser');
SELECT is(said('visible', 'doc', '1'), 'yes: SELECT as ' || current_user || ' returns the row', 'and not at all as the superuser, who is above policies');
SET ROLE why_owner;
ALTER POLICY trap ON doc USING (quiet());
RESET ROLE;
SELECT is(said('policy trap', 'doc', '1', NULL, 'why_ann', '{}'), 'permissive, for why_ann: quiet() is true for this row', 'one that writes');
SELECT is((SELECT count(*) FROM loot), 0::bigint, 'leaves nothing behind');
SELECT is(coalesce(current_setting('request.jwt.claims', true), ''), '', 'no setting either');
-- a domain's check runs as the table's owner
SET ROLE why_owner;
DROP POLICY trap ON doc;
CREATE DOMAIN key_of_doc AS text;
CREATE TABLE named (id key_of_doc PRIMARY KEY);
SELECT count(*) FROM offsync.enable('named') \g /dev/null
ALTER DOMAIN key_of_doc ADD CHECK (grab()) NOT VALID;
RESET ROLE;
SELECT is(said('id', 'named', 'x'), '"x" is no id of this collection: got: why_owner (P0001)', 'a domain''s check');
SELECT is((SELECT count(*) FROM loot), 0::bigint, 'leaves nothing behind');

SELECT * FROM finish();
DROP SCHEMA why CASCADE;
DROP ROLE why_owner, why_ann, why_team, why_blind, why_above, why_other;
