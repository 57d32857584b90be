-- offsync.advise: what it finds, and that the SQL that it gives does what it says.
\ir begin.psql
DROP ROLE IF EXISTS adv_owner;
DROP ROLE IF EXISTS adv_ann;
CREATE ROLE adv_owner;
CREATE ROLE adv_ann;
CREATE SCHEMA adv;
GRANT USAGE, CREATE ON SCHEMA adv TO adv_owner;
GRANT USAGE ON SCHEMA adv TO adv_ann;
SET search_path = adv, public;
SELECT no_plan();

SET ROLE adv_owner;
CREATE FUNCTION uid() RETURNS uuid LANGUAGE sql STABLE AS $$SELECT nullif(current_setting('app.user', true), '')::uuid$$;
CREATE FUNCTION user_of(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$SELECT lpad(n::text, 32, '0')::uuid$$;
CREATE TABLE member (project_id int, user_id uuid, role text);
CREATE TABLE task (id int PRIMARY KEY, owner uuid, project_id int, parent int, published boolean, at timestamptz DEFAULT now());
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON task, member TO adv_ann;
INSERT INTO member SELECT p, user_of(u), CASE (p + u) % 2 WHEN 0 THEN 'admin' ELSE 'guest' END FROM generate_series(1, 8) p, generate_series(1, 4) u WHERE (p * u) % 3 <> 0;
INSERT INTO member VALUES (NULL, user_of(1), 'admin'), (2, NULL, 'admin');
INSERT INTO task SELECT g, CASE WHEN g % 5 > 0 THEN user_of(g % 5) END, CASE WHEN g % 9 > 0 THEN g % 9 END, g / 2, g % 3 = 0 FROM generate_series(1, 90) g;

SELECT is((SELECT advice FROM offsync.advise('task') WHERE about = 'table'), 'SELECT * FROM offsync.enable(''adv.task'')', 'a table that isn''t synced yet');
SELECT count(*) FROM offsync.enable('task') \g /dev/null
SELECT is((SELECT advice FROM offsync.advise('task') WHERE about = 'table'), NULL, 'one that is');

-- What is said of one policy with this expression
CREATE FUNCTION advised(expression text, OUT finding text, OUT advice text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'DROP POLICY IF EXISTS p ON task';
	EXECUTE format('CREATE POLICY p ON task USING (%s)', expression);
	SELECT string_agg(a.finding, ' | '), string_agg(a.advice, ' | ') INTO finding, advice FROM offsync.advise('task') a WHERE about = 'policy p';
END$$;
CREATE FUNCTION finding(expression text) RETURNS text LANGUAGE sql AS $$SELECT finding FROM advised(expression)$$;
-- the expression that it advises
CREATE FUNCTION advice(expression text) RETURNS text LANGUAGE sql AS $$SELECT regexp_replace(advice, '^ALTER POLICY p ON adv.task USING \((.*?)\)($| \|.*)', '\1') FROM advised(expression)$$;

-- ids that each user sees
CREATE FUNCTION seen() RETURNS text LANGUAGE plpgsql AS $$
DECLARE all_seen text := ''; here text;
BEGIN
	FOR n IN 0..5 LOOP
		PERFORM set_config('app.user', CASE n WHEN 0 THEN '' ELSE user_of(n)::text END, true), set_config('role', 'adv_ann', true);
		SELECT count(*) || ':' || coalesce(string_agg(id::text, ',' ORDER BY id), '') INTO here FROM task;
		PERFORM set_config('role', 'adv_owner', true);
		all_seen := all_seen || ' ' || here;
	END LOOP;
	RETURN all_seen;
END$$;
-- Running what is advised changes nothing of what anybody sees, and then there is nothing more to rewrite
CREATE FUNCTION same(expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE before text; after text; said record; again record;
BEGIN
	said := advised(expression);
	before := seen();
	IF said.advice !~ '^ALTER POLICY' THEN RETURN 'not rewritten: ' || said.advice; END IF;
	EXECUTE split_part(said.advice, ' | ', 1);
	after := seen();
	IF before <> after THEN RETURN format('%s became %s by %s', before, after, said.advice); END IF;
	IF before !~ '[1-9]\d*:' OR before ~ ' 90:' THEN RETURN 'the test shows nothing: ' || before; END IF;
	SELECT string_agg(a.advice, ' ') AS advice INTO again FROM offsync.advise('task') a WHERE about = 'policy p';
	RETURN CASE WHEN again.advice ~ '^ALTER POLICY' THEN 'again: ' || again.advice ELSE 'the same' END;
END$$;

-- ---------------------------------------------------------------------------
-- What policies mean
-- ---------------------------------------------------------------------------
SELECT is(finding('published'), 'exact deltas: it depends on the row alone', 'the row alone');
SELECT is(advice('published'), NULL, 'nothing to do');
SELECT is(finding('owner = (SELECT uid())'), 'exact deltas; a replacement when a value beside the row changes, of which numbers and times can''t tell', 'a value');
SELECT is(advice('owner = (SELECT uid())'), NULL, 'in its best form');
SELECT is(finding('owner = uid()'), 'exact deltas; a replacement when a value beside the row changes, of which numbers and times can''t tell'
	'; it may call a function for every row that does not depend on the row: (SELECT ...) around the call makes it one call', 'a call');
SELECT is(finding(e), 'exact deltas; the cursor carries the set that project_id is looked up in: what comes and goes with it is exact, too'
	'; with numbers and times a replacement whenever adv.member changes', e) FROM unnest(ARRAY[
	'project_id IN (SELECT m.project_id FROM member m WHERE m.user_id = (SELECT uid()))',
	'EXISTS (SELECT FROM member m WHERE m.project_id = task.project_id AND m.user_id = (SELECT uid()))',
	'(SELECT uid()) IN (SELECT m.user_id FROM member m WHERE m.project_id = task.project_id)',
	'project_id = ANY (ARRAY(SELECT m.project_id FROM member m WHERE m.user_id = (SELECT uid())))']) e;
SELECT is(advice('EXISTS (SELECT FROM member m WHERE m.project_id = task.project_id AND m.user_id = (SELECT uid()))'), NULL, 'nothing to do');
CREATE FUNCTION my_projects() RETURNS int[] LANGUAGE sql STABLE AS 'SELECT array_agg(project_id) FROM adv.member WHERE user_id = adv.uid()';
SELECT is(finding('project_id = ANY ((SELECT my_projects())::int[])'), 'exact deltas; the cursor carries the set that project_id is looked up in: what comes and goes with it is exact, too'
	'; with numbers and times always a replacement: a function finds a set of values, and access_tables doesn''t say what it reads', 'a function''s set');
SELECT is(finding('published OR owner = (SELECT uid()) OR project_id IN (SELECT m.project_id FROM member m WHERE m.user_id = (SELECT uid()))'),
	'exact deltas; the cursor carries the set that project_id is looked up in: what comes and goes with it is exact, too'
	'; a replacement when a value beside the row changes; with numbers and times a replacement whenever adv.member changes', 'all together');
SELECT is(finding(e), 'exact deltas; it reads the clock: a replacement whenever the time that it computes is another one'
	'; with numbers and times always a replacement: it reads the clock, and a number can''t tell what that said', e) FROM unnest('{at < now(),at < CURRENT_TIMESTAMP,at::date < CURRENT_DATE}'::text[]) e;
SELECT matches(advice('at < now()'), '^Where that is at every pull, let a job', 'and what to do');
CREATE FUNCTION may_read(int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true';
CREATE FUNCTION mood() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT true';
SELECT is(finding('may_read(project_id)'), 'always a replacement: it calls a function that is not immutable with row values'
	': it calls a function with row values, and nobody can see into that: say in access_tables what it reads, and row_local where it never looks the row up', 'a function of the row');
SELECT matches(advice('may_read(project_id)'), '^Function adv.may_read is called with the row''s values: write the condition as column = ANY', 'and what to do');
SELECT is(finding('published OR mood()'), 'always a replacement: it calls a volatile function', 'a volatile one');
SELECT matches(advice('published OR mood()'), '^Function adv.mood is volatile: if it only reads, declare it STABLE', 'and what to do');
SELECT is(finding('task IS NOT NULL'), 'always a replacement: it reads the whole row or a system column', 'the whole row');
SELECT is(finding('EXISTS (SELECT FROM member m WHERE m.project_id > task.project_id)'), 'exact deltas; a replacement whenever adv.member changes, since it has a subquery tied to the row'
	'; with numbers and times a replacement whenever adv.member changes', 'a tie that is no equality');
DROP POLICY p ON task;
CREATE POLICY p ON task WITH CHECK (true);
SELECT is((SELECT string_agg(finding, ' | ') FROM offsync.advise('task') WHERE about ~ '^polic'), 'it has no USING expression, and so no say in what is read', 'no expression');
DROP POLICY p ON task;
SELECT is((SELECT string_agg(finding, ' | ') FROM offsync.advise('task') WHERE about ~ '^polic'), 'there is none for SELECT: nobody but the owner sees a row', 'none');
ALTER TABLE task DISABLE ROW LEVEL SECURITY;
SELECT is((SELECT string_agg(concat_ws(': ', finding, advice), ' | ') FROM offsync.advise('task') WHERE about ~ '^polic'),
	'row security is off: whoever may SELECT gets every row: ALTER TABLE adv.task ENABLE ROW LEVEL SECURITY', 'off');
ALTER TABLE task ENABLE ROW LEVEL SECURITY;

-- ---------------------------------------------------------------------------
-- Rewriting
-- ---------------------------------------------------------------------------
SELECT is(advice('(SELECT m.role FROM member m WHERE m.project_id = task.project_id AND m.user_id = uid()) = ''admin'''),
	'(project_id IN (SELECT m.project_id FROM member m WHERE ((m.user_id = (SELECT uid())) AND (m.role = ''admin''::text))))', 'the user''s role there');
SELECT is(finding('(SELECT m.role FROM member m WHERE m.project_id = task.project_id AND m.user_id = (SELECT uid())) = ''admin'''),
	'exact deltas; a replacement whenever adv.member changes, since it has a subquery tied to the row; a replacement when a value beside the row changes'
	'; with numbers and times a replacement whenever adv.member changes; rewritten: exact deltas; the cursor carries the set that project_id is looked up in: what comes and goes with it is exact, too'
	'; with numbers and times a replacement whenever adv.member changes', 'and what it gains');
SELECT is(advice('(SELECT count(*) FROM member m WHERE m.project_id = task.project_id AND m.user_id = uid()) > 0'),
	'(project_id IN (SELECT m.project_id FROM member m WHERE (m.user_id = (SELECT uid()))))', 'counting');
SELECT is(advice('EXISTS (SELECT FROM member m JOIN member n ON n.project_id = m.project_id AND n.project_id = task.project_id WHERE m.user_id = uid())'),
	'(project_id IN (SELECT n.project_id FROM (member m JOIN member n ON ((n.project_id = m.project_id))) WHERE (m.user_id = (SELECT uid()))))', 'a tie in a join');
SELECT is(advice('project_id IN (SELECT m.project_id FROM member m WHERE m.project_id = task.project_id AND m.user_id = uid())'),
	'(project_id IN (SELECT m.project_id FROM member m WHERE (m.user_id = (SELECT uid()))))', 'a tie that says it again');
SELECT is(advice('owner = uid()'), '(owner = (SELECT uid()))', 'a call for every row');
SELECT is(advice('owner = nullif(current_setting(''app.user'', true), '''')::uuid'),
	'(owner = (SELECT (NULLIF(current_setting(''app.user''::text, true), ''''::text))::uuid))', 'a setting');
SELECT is(advice('owner::text = current_setting(''app.user'', true)'), '(owner = (SELECT (current_setting(''app.user''::text, true))::uuid))', 'a uuid as text');
SELECT is(advice('published OR (id > 3 AND EXISTS (SELECT FROM member m JOIN member n USING (project_id) WHERE m.project_id = task.project_id AND n.user_id = uid()))'),
	'(published OR ((id > 3) AND (EXISTS (SELECT FROM (member m JOIN member n USING (project_id)) WHERE ((m.project_id = task.project_id) AND (n.user_id = (SELECT uid())))))))',
	'what pulls see through stays');

SELECT is(same(e), 'the same', e) FROM unnest(ARRAY[
	'EXISTS (SELECT 1 FROM member m WHERE m.project_id = task.project_id AND m.user_id = uid())',
	'published OR (id > 3 AND (SELECT count(*) FROM member m JOIN member n USING (project_id) WHERE m.project_id + 0 = task.project_id AND n.user_id = uid()) >= 1)',
	'uid() IN (SELECT m.user_id FROM member m WHERE m.project_id = task.project_id)',
	'NOT published AND (SELECT m.role FROM member m WHERE m.project_id = task.project_id AND m.user_id = uid()) = ''admin''',
	'''admin'' <> (SELECT m.role FROM member m WHERE m.project_id = task.project_id AND m.user_id = uid())',
	'(SELECT count(*) FROM member m WHERE task.project_id = m.project_id AND m.user_id = uid()) <> 0',
	'EXISTS (SELECT FROM member m JOIN member n ON n.project_id = m.project_id AND n.project_id = task.project_id WHERE m.user_id = uid() AND m.role = n.role)',
	'project_id IN (SELECT m.project_id FROM member m WHERE m.project_id = task.project_id AND m.user_id = uid())',
	'owner = uid()',
	'owner = uid() OR project_id IN (SELECT m.project_id FROM member m WHERE m.user_id = uid())',
	'project_id = ANY (ARRAY(SELECT m.project_id FROM member m WHERE m.user_id = uid()))',
	'CASE WHEN published THEN owner = uid() ELSE EXISTS (SELECT FROM member m WHERE m.project_id = task.project_id AND m.user_id = uid()) END']) e;
SELECT is(same('owner::text = uid()::text'), 'the same', 'a uuid as text');

-- what is left alone
SELECT matches(advice(e), said, e) FROM (VALUES
	('EXISTS (SELECT FROM member m WHERE m.project_id = task.project_id AND m.user_id = task.owner)', 'by more than one condition'),
	('EXISTS (SELECT FROM member m WHERE m.project_id > task.project_id)', 'something else than one equality'),
	('EXISTS (SELECT FROM member m WHERE m.project_id = task.project_id GROUP BY m.role HAVING count(*) > 1)', 'does more than select rows'),
	('EXISTS (SELECT FROM member m LEFT JOIN member n ON n.project_id = task.project_id WHERE m.role = ''admin'')', 'outside of WHERE'),
	('(SELECT count(*) FROM member m WHERE m.project_id = task.project_id) > 2', 'does more than select rows'),
	('(SELECT count(*) FROM member m WHERE m.project_id = task.project_id) >= 0', 'does more than select rows'),
	('parent IN (SELECT m.project_id FROM member m WHERE m.project_id = task.project_id)', 'compared with something of the row'),
	('NOT (SELECT m.role FROM member m WHERE m.project_id = task.project_id AND m.user_id = (SELECT uid())) = ''admin''', '^Write it by columns of the row alone')) v (e, said);

-- ---------------------------------------------------------------------------
-- Indexes and keys
-- ---------------------------------------------------------------------------
CREATE FUNCTION indexes() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(coalesce(advice, finding), ' | ') FROM offsync.advise('task') WHERE about = 'index'$$;
DROP POLICY p ON task;
CREATE POLICY a ON task USING (owner = uid());
SELECT is(indexes(), 'CREATE INDEX CONCURRENTLY ON adv.task (owner, server_version)', 'by owner');
CREATE POLICY b ON task USING (published IS TRUE AND EXISTS (SELECT FROM member m WHERE m.project_id = task.project_id AND m.user_id = uid()));
SELECT is(indexes(), 'CREATE INDEX CONCURRENTLY ON adv.task (owner, server_version) | CREATE INDEX CONCURRENTLY ON adv.task (project_id, server_version)', 'and by project, once it is a set');
CREATE POLICY c ON task USING (published OR owner = uid());
SELECT is(indexes(), 'CREATE INDEX CONCURRENTLY ON adv.task (owner, server_version) | CREATE INDEX CONCURRENTLY ON adv.task (project_id, server_version) | CREATE INDEX CONCURRENTLY ON adv.task (server_version)', 'one that no column narrows');
SELECT matches((SELECT string_agg(finding, ' | ') FROM offsync.advise('task')), 'policy c has a part that no column narrows', 'which');
DROP POLICY c ON task;
CREATE POLICY c ON task USING (owner = uid() OR project_id = ANY (ARRAY(SELECT project_id FROM member WHERE user_id = uid())));
SELECT unalike(indexes(), '%(server_version)%', 'both parts of an OR');
CREATE INDEX task_owner ON task (owner);
SELECT is(indexes(), 'owner says whose a row is, so a pull can read just its caller''s rows: index task_owner serves it | CREATE INDEX CONCURRENTLY ON adv.task (project_id, server_version)', 'an index that is there');
DROP POLICY a ON task; DROP POLICY b ON task; DROP POLICY c ON task;
CREATE POLICY a ON task USING (lower(owner::text) = uid()::text);
SELECT is(indexes(), 'CREATE INDEX CONCURRENTLY ON adv.task (server_version)', 'an expression is no column');
SELECT is((SELECT count(*) FROM offsync.advise('task') WHERE about = 'key'), 0::bigint, 'a key of int');
CREATE TABLE odd (id numeric PRIMARY KEY, u uuid UNIQUE NOT NULL);
SELECT is((SELECT finding FROM offsync.advise('odd') WHERE about = 'key'),
	'id is of type numeric, whose operators are not leakproof: under row security no index of the key serves to find out what was deleted', 'a key of numeric');
SELECT count(*) FROM offsync.enable('odd', key => '{u}') \g /dev/null
SELECT is((SELECT count(*) FROM offsync.advise('odd') WHERE about = 'key'), 0::bigint, 'the key that it syncs by counts');

-- children of another collection
CREATE TABLE comment (id int PRIMARY KEY, task_id int);
ALTER TABLE comment ENABLE ROW LEVEL SECURITY;
CREATE POLICY c ON comment USING (task_id IN (SELECT id FROM task));
SELECT count(*) FROM offsync.enable('comment') \g /dev/null
SELECT is((SELECT finding FROM offsync.advise('comment') WHERE about = 'policy c'),
	'exact deltas; it follows task_id through the changes of collection "task"; with numbers and times a replacement whenever adv.task changes', 'through its parents');
SELECT is((SELECT string_agg(advice, ' | ') FROM offsync.advise('comment') WHERE about = 'index'),
	'CREATE INDEX CONCURRENTLY ON adv.comment (task_id) | CREATE INDEX CONCURRENTLY ON adv.comment (server_version)', 'by parent');
SELECT matches((SELECT string_agg(finding, ' | ') FROM offsync.advise('comment') WHERE about = 'index'),
	'policy c has a part that no column narrows: it reads the rows of collection "task"', 'which is read');
ALTER TABLE comment ADD price numeric;
ALTER POLICY c ON comment USING (price IN (SELECT m.project_id::numeric FROM member m WHERE m.user_id = uid()));
SELECT matches((SELECT finding FROM offsync.advise('comment') WHERE about = 'index'), 'operators of type numeric are not leakproof', 'a set that no index serves');
ALTER POLICY c ON comment USING (current_setting('app.admin', true) = 'yes' OR task_id IN (SELECT m.project_id FROM member m WHERE m.user_id = uid()));
SELECT is((SELECT string_agg(advice, ' | ') FROM offsync.advise('comment') WHERE about = 'index'),
	'CREATE INDEX CONCURRENTLY ON adv.comment (task_id, server_version) | CREATE INDEX CONCURRENTLY ON adv.comment (server_version)', 'one for those who see some, one for those who see all');
SELECT matches((SELECT string_agg(finding, ' | ') FROM offsync.advise('comment') WHERE about = 'index'), 'for some callers it lets all rows be seen', 'who that is');

-- names that need quotes, and a search path without the tables
CREATE TABLE "Odd Task" ("Id" int PRIMARY KEY, "Project" int);
ALTER TABLE "Odd Task" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "P p" ON "Odd Task" USING ((SELECT role FROM member WHERE project_id = "Project") = 'admin');
SET search_path = public;
SELECT is((SELECT advice FROM offsync.advise('adv."Odd Task"') WHERE about = 'policy "P p"'),
	'ALTER POLICY "P p" ON adv."Odd Task" USING (("Project" IN (SELECT member.project_id FROM adv.member WHERE (member.role = ''admin''::text))))', 'quoted and qualified');
SET search_path = adv, public;

SET ROLE adv_ann;
SELECT throws_ok($$SELECT * FROM offsync.advise('task')$$, '42501', 'must be owner of table task', 'for the owner');
RESET ROLE;
SELECT isnt((SELECT count(*) FROM offsync.advise('task')), 0::bigint, 'and for superusers');

SELECT * FROM finish();
DROP SCHEMA adv CASCADE;
DROP ROLE adv_owner, adv_ann;
