-- A pull reads the caller's rows, whatever policy says which those are and whoever else's have changed.
\ir begin.psql
DROP SCHEMA IF EXISTS scope CASCADE;
SELECT format('DROP ROLE IF EXISTS %I', 'scope_' || r) FROM unnest('{owner,list,exists,or,array,flag,late,group}'::text[]) r \gexec
SELECT format('CREATE ROLE %I', 'scope_' || r) FROM unnest('{owner,list,exists,or,array,flag,late,group}'::text[]) r \gexec
CREATE SCHEMA scope;
GRANT USAGE ON SCHEMA scope TO PUBLIC;
SET search_path = scope, public;
SELECT no_plan();

-- ---------- whose rows: one role for each kind of policy ----------

CREATE FUNCTION me() RETURNS int STABLE LANGUAGE sql AS $$SELECT current_setting('app.me', true)::int$$;
CREATE TABLE member (who int, project int, PRIMARY KEY (who, project));
CREATE TABLE task (id int PRIMARY KEY, who int NOT NULL, project int NOT NULL, title text NOT NULL DEFAULT 'task');
CREATE FUNCTION mine() RETURNS int[] STABLE LANGUAGE sql AS $$SELECT coalesce(array_agg(project), '{}') FROM scope.member WHERE who = scope.me()$$;
INSERT INTO member SELECT 1 + (p * 7 + u) % 200, p FROM generate_series(1, 1000) p, generate_series(1, 5) u ON CONFLICT DO NOTHING;
DELETE FROM member WHERE who = 1;
INSERT INTO member SELECT 1, p FROM unnest('{10,24,30,44,50}'::int[]) p;
INSERT INTO task SELECT i, 2 + i % 199, 1 + i % 1000 FROM generate_series(1, 20000) i;
UPDATE task SET who = 1 WHERE id % 200 = 77;
CREATE INDEX task_who ON task (who);
CREATE INDEX task_project ON task (project);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY owner ON task TO scope_owner USING (who = me());
CREATE POLICY list ON task TO scope_list USING (project IN (SELECT project FROM member WHERE who = me()));
CREATE POLICY "exists" ON task TO scope_exists USING (EXISTS (SELECT FROM member m WHERE m.project = task.project AND m.who = me()));
CREATE POLICY "or" ON task TO scope_or USING (who = me() OR project IN (SELECT project FROM member WHERE who = me()));
CREATE POLICY "array" ON task TO scope_array USING (project = ANY (mine()));
CREATE POLICY flag ON task TO scope_flag USING (current_setting('app.admin', true) = 'yes' OR project IN (SELECT project FROM member WHERE who = me()));
GRANT SELECT ON member, task TO scope_owner, scope_list, scope_exists, scope_or, scope_array, scope_flag, scope_late;
DO $$BEGIN PERFORM offsync.enable('task'); END$$;
VACUUM ANALYZE task, member;

-- What a pull answers with, and how many rows of the table (live ones and tombstones) it read to know that.
CREATE TABLE kept (name text PRIMARY KEY, cursor text, number text);
CREATE FUNCTION reads(tbl regclass) RETURNS bigint LANGUAGE sql AS
	$$SELECT pg_stat_get_xact_tuples_returned(tbl) + pg_stat_get_xact_tuples_fetched(tbl)$$;
CREATE FUNCTION pull(as_role text, since text DEFAULT NULL) RETURNS TABLE (told int, gone int, read bigint, replaced boolean) LANGUAGE plpgsql AS $$
DECLARE before bigint := reads('task'); a json; at text;
BEGIN
	SELECT CASE since WHEN 'cursor' THEN k.cursor WHEN 'number' THEN k.number END INTO at FROM kept k WHERE name = as_role;
	PERFORM set_config('role', 'scope_' || as_role, true), set_config('app.me', '1', true);
	a := offsync.pull_changes(at, '{task}');
	PERFORM set_config('role', 'none', true);
	read := reads('task') - before;
	told := json_array_length(a #> '{changes,task,created}') + json_array_length(a #> '{changes,task,updated}');
	gone := json_array_length(a #> '{changes,task,deleted}');
	replaced := a::jsonb ? 'experimentalStrategy';
	IF since IS NULL THEN
		INSERT INTO kept VALUES (as_role, a ->> 'cursor', a ->> 'timestamp') ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor, number = excluded.number;
	END IF;
	RETURN NEXT;
END$$;

SELECT is((SELECT told FROM pull(r)), n, 'a first sync as ' || r)
	FROM (VALUES ('owner', 100), ('list', 100), ('exists', 100), ('or', 200), ('array', 100), ('flag', 100)) v (r, n);
SELECT cmp_ok((SELECT read FROM pull(r)), '<=', 250::bigint, 'and it reads little more than that as ' || r)
	FROM unnest('{owner,list,exists,or,array,flag}'::text[]) r;

-- a quarter of everything changes, and goes; a little of it is the caller's
UPDATE task SET title = 'changed' WHERE id % 4 = 1;
DELETE FROM task WHERE id % 10 = 3;

CREATE FUNCTION expected(r text, changed boolean) RETURNS int LANGUAGE sql AS $$
	SELECT count(*)::int FROM scope.task WHERE title = 'changed' AND (r IN ('owner', 'or') AND who = 1
		OR r <> 'owner' AND project IN (SELECT project FROM scope.member WHERE who = 1))$$;
CREATE VIEW pulls AS SELECT r, since, p.* FROM unnest('{owner,list,exists,or,array,flag}'::text[]) r, unnest('{cursor,number}'::text[]) since, pull(r, since) p;
CREATE TABLE answer AS SELECT * FROM pulls;
SELECT is(told, expected(r, true), format('the changed rows as %s with a %s', r, since)) FROM answer WHERE NOT replaced;
SELECT ok(NOT replaced, format('no replacement as %s', r)) FROM answer WHERE since = 'cursor';
SELECT cmp_ok(read, '<=', 250::bigint, format('they are found by an index as %s with a %s', r, since)) FROM answer;
-- in the same statement once more, and as others in between: the plans are kept
SELECT cmp_ok(read, '<=', 250::bigint, format('also by the plan that was kept as %s with a %s', r, since)) FROM pulls;

-- ---------- what offsync.advise says ----------

DROP INDEX task_who, task_project;
CREATE TABLE advice AS SELECT * FROM offsync.advise('task') WHERE about = 'index';
SELECT set_eq('SELECT advice FROM advice', ARRAY['CREATE INDEX CONCURRENTLY ON scope.task (who, server_version)',
	'CREATE INDEX CONCURRENTLY ON scope.task (project, server_version)', 'CREATE INDEX CONCURRENTLY ON scope.task (server_version)'], 'it finds the columns of all six policies');
SELECT cmp_ok(read, '>=', 10000::bigint, format('without an index it is the whole table, as %s with a %s', r, since)) FROM pulls;
SELECT replace(advice, 'CONCURRENTLY ', '') FROM advice \gexec
VACUUM ANALYZE task;
CREATE TABLE advised AS SELECT * FROM pulls;
SELECT cmp_ok(read, '<=', (told + 5)::bigint, format('with the index that is advised, no more than what is received, as %s with a %s', r, since))
	FROM advised WHERE NOT replaced AND gone = 0;
SELECT cmp_ok(read, '<=', (told + gone + 105)::bigint, format('and what says of each tombstone whether there is a row again, as %s with a %s', r, since))
	FROM advised WHERE NOT replaced AND gone > 0;

-- ---------- and what enable says by itself ----------

CREATE TABLE other (id int PRIMARY KEY, who int, project int, open boolean);
ALTER TABLE other ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION enabled(qual text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE said text;
BEGIN
	EXECUTE 'DROP POLICY IF EXISTS p ON other';
	EXECUTE 'CREATE POLICY p ON other USING (' || qual || ')';
	SELECT string_agg(detail, '; ') INTO said FROM offsync.enable('other') WHERE action IN ('advice', 'index') AND detail ~ 'INDEX|index';
	PERFORM offsync.disable('other');
	RETURN said;
END$$;
SELECT is(enabled('EXISTS (SELECT FROM member m WHERE m.project = other.project AND m.who = me())'),
	'CREATE INDEX CONCURRENTLY ON scope.other (project, server_version)', 'a set has its column, too');
SELECT is(enabled('open OR who = me()'), 'CREATE INDEX CONCURRENTLY ON scope.other (server_version)', 'no column says it in all cases');
SELECT is(enabled('current_user = ''boss'' OR who = me()'), 'CREATE INDEX CONCURRENTLY ON scope.other (who, server_version)', 'for those who are not the boss');
CREATE INDEX other_project ON other (project);
SELECT is(enabled('who = me() OR project IN (SELECT project FROM member WHERE who = me())'),
	'CREATE INDEX CONCURRENTLY ON scope.other (who, server_version); existing index other_project serves pulls', 'one that is there is not asked for again');

-- ---------- a part that is the same for all rows ----------

SELECT set_config('app.admin', 'yes', false);
SELECT is((SELECT told FROM pull('flag')), (SELECT count(*)::int FROM task), 'who may see all rows gets them all');
UPDATE task SET title = 'again' WHERE id = 2;
SELECT is((SELECT told FROM pull('flag', 'cursor')), 1, 'and their changes, with a cursor of its own');
SELECT set_config('app.admin', 'no', false);
SELECT ok((SELECT replaced AND told = (SELECT count(*) FROM task WHERE project IN (10, 24, 30, 44, 50)) FROM pull('flag', 'cursor')),
	'who may no longer: what is left');

-- ---------- sets of nothing, and of NULL ----------

DELETE FROM member WHERE who = 1;
SELECT is((SELECT told FROM pull('list')), 0, 'a member of nothing gets nothing');
UPDATE task SET title = 'more';
SELECT results_eq($$SELECT told, gone, read <= 5 FROM pull('list', 'cursor')$$, $$VALUES (0, 0, true)$$, 'of what changes, either, and nothing is read for it');
INSERT INTO member VALUES (1, 10);
SELECT is((SELECT told FROM pull('list', 'cursor')), 20, 'until it is one of something');

-- ---------- plans are kept for each role, and know who it is ----------

CREATE POLICY "group" ON task TO scope_group USING (project + 0 = 10);
CREATE POLICY late ON task TO scope_late USING (id + 0 = -1);
GRANT scope_group TO scope_late;
DO $$BEGIN PERFORM offsync.enable('task'); END$$;
SELECT is((SELECT told FROM pull('late')), 20, 'a role sees what the policies of the roles that it is in let it see');
UPDATE task SET title = 'once more' WHERE project = 10;
SELECT is((SELECT told FROM pull('late', 'number')), 20, 'and what changes of that');
REVOKE scope_group FROM scope_late;
SELECT is((SELECT told FROM pull('late', 'number')), 0, 'no longer when it has left them, though the statement is the same');
GRANT scope_group TO scope_late;
SELECT is((SELECT told FROM pull('late', 'number')), 20, 'and again');
ALTER ROLE scope_late BYPASSRLS;
SELECT is((SELECT told FROM pull('late', 'number')), (SELECT count(*)::int FROM task WHERE title = 'once more'), 'a role that bypasses them');

SELECT * FROM finish();
DROP SCHEMA scope CASCADE;
