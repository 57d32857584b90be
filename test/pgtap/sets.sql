-- Memberships gained and lost (P1, P4, P8): policies that look a value of the row up in a set have exact deltas with a cursor.
\ir begin.psql
DROP SCHEMA IF EXISTS sets CASCADE;
DROP ROLE IF EXISTS sets_user;
CREATE ROLE sets_user;
CREATE SCHEMA sets;
GRANT USAGE ON SCHEMA sets TO sets_user;
SET search_path = sets, public;
SELECT no_plan();

CREATE FUNCTION uid() RETURNS text STABLE LANGUAGE sql AS $$SELECT nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'$$;
CREATE TABLE project (id text PRIMARY KEY);
CREATE TABLE member (project_id text REFERENCES project ON DELETE CASCADE, user_id text, role text DEFAULT 'member', PRIMARY KEY (project_id, user_id));
CREATE TABLE task (id text PRIMARY KEY, project_id text REFERENCES project ON DELETE CASCADE, title text DEFAULT '', project_no int);
CREATE TABLE comment (id text PRIMARY KEY, task_id text REFERENCES task ON DELETE CASCADE, body text);
CREATE TABLE loose (id text PRIMARY KEY, task_id text);		-- as comment, without a foreign key
CREATE FUNCTION my_projects() RETURNS text[] STABLE SECURITY DEFINER LANGUAGE sql SET search_path = sets
	AS $$SELECT array_agg(project_id) FROM member WHERE user_id = uid()$$;
ALTER TABLE member ENABLE ROW LEVEL SECURITY;
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
ALTER TABLE comment ENABLE ROW LEVEL SECURITY;
ALTER TABLE loose ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON member USING (user_id = uid());
CREATE POLICY mine ON task USING (project_id IN (SELECT project_id FROM member WHERE user_id = uid())) WITH CHECK (true);
CREATE POLICY mine ON comment USING (task_id IN (SELECT id FROM task)) WITH CHECK (true);
CREATE POLICY mine ON loose USING (EXISTS (SELECT FROM task t WHERE t.id = loose.task_id)) WITH CHECK (true);
-- these have no say in what is read
CREATE POLICY writes ON task AS RESTRICTIVE WITH CHECK (true);
CREATE POLICY writes ON comment WITH CHECK (true);
GRANT ALL ON project, member, task, comment, loose TO sets_user;
INSERT INTO project SELECT 'p' || i FROM generate_series(1, 3) i;
INSERT INTO task SELECT 'p' || p || 't' || i, 'p' || p FROM generate_series(1, 3) p, generate_series(1, 2) i;
INSERT INTO comment SELECT 'c' || id, id FROM task;
INSERT INTO loose SELECT 'l' || id, id FROM task;
INSERT INTO member VALUES ('p1', 'ann'), ('p1', 'bob'), ('p2', 'bob');
DO $$BEGIN PERFORM offsync.enable(t) FROM unnest('{task,comment,loose}'::regclass[]) t; END$$;

-- What a device holds, by what it was told: ids only.
CREATE TABLE device (name text PRIMARY KEY, cur text);
CREATE TABLE held (name text, collection text, id text, PRIMARY KEY (name, collection, id));
CREATE TABLE answer (name text, collection text, rows text[], gone text[], replaced boolean);

CREATE PROCEDURE pull(who text, as_user text DEFAULT NULL, filters json DEFAULT NULL) LANGUAGE plpgsql SET search_path = sets AS $$
DECLARE
	a json;
	c text := (SELECT cur FROM device WHERE name = who);
	x record;
BEGIN
	PERFORM set_config('request.jwt.claims', json_build_object('sub', coalesce(as_user, who), 'exp', clock_timestamp())::text, false);
	SET LOCAL ROLE sets_user;
	a := offsync.pull_changes(c, filters => filters);
	RESET ROLE;
	DELETE FROM answer WHERE name = who;
	INSERT INTO answer SELECT who, k, ARRAY(SELECT r ->> 'id' FROM json_array_elements(v -> 'created') r UNION ALL
			SELECT r ->> 'id' FROM json_array_elements(v -> 'updated') r ORDER BY 1),
		ARRAY(SELECT json_array_elements_text(v -> 'deleted') ORDER BY 1),
		c IS NULL OR coalesce(a #>> ARRAY['experimentalStrategy', 'override', k], '') = 'replacement'
	FROM json_each(a -> 'changes') e (k, v);
	DELETE FROM held h USING answer n WHERE h.name = who AND n.name = who AND h.collection = n.collection AND (n.replaced OR h.id = ANY (n.gone));
	INSERT INTO held SELECT who, collection, unnest(rows) FROM answer WHERE name = who ON CONFLICT DO NOTHING;
	INSERT INTO device VALUES (who, a ->> 'cursor') ON CONFLICT (name) DO UPDATE SET cur = excluded.cur;
END$$;
CREATE PROCEDURE push(who text, changes json) LANGUAGE plpgsql SET search_path = sets AS $$
DECLARE
	a json;
BEGIN
	PERFORM set_config('request.jwt.claims', json_build_object('sub', who)::text, false);
	SET LOCAL ROLE sets_user;
	a := offsync.push_changes(changes, (SELECT cur FROM device WHERE name = who));
	RESET ROLE;
	UPDATE device SET cur = a ->> 'cursor' WHERE name = who;
	INSERT INTO held SELECT who, k, r ->> 'id' FROM json_each(changes) e (k, v), json_array_elements(v -> 'created') r ON CONFLICT DO NOTHING;
	DELETE FROM held h USING json_each(changes) e (k, v), json_array_elements_text(v -> 'deleted') d WHERE h.name = who AND h.collection = k AND h.id = d;
END$$;
GRANT SELECT ON device TO sets_user;
-- what was told: "+row -gone", "replaced" in front
CREATE FUNCTION told(who text, of text) RETURNS text LANGUAGE sql SET search_path = sets AS $$
	SELECT concat_ws(' ', CASE WHEN replaced THEN 'replaced' END, (SELECT string_agg('+' || r, ' ' ORDER BY r) FROM unnest(rows) r),
		(SELECT string_agg('-' || g, ' ' ORDER BY g) FROM unnest(gone) g)) FROM answer WHERE name = who AND collection = of$$;
-- does the device hold what its user sees?
CREATE PROCEDURE same(who text, what text) LANGUAGE plpgsql SET search_path = sets, public AS $$
DECLARE
	seen text[];
BEGIN
	PERFORM set_config('request.jwt.claims', json_build_object('sub', who)::text, false);
	SET LOCAL ROLE sets_user;
	seen := ARRAY(SELECT 'task ' || id FROM task UNION ALL SELECT 'comment ' || id FROM comment UNION ALL SELECT 'loose ' || id FROM loose ORDER BY 1);
	RESET ROLE;
	CREATE TEMP TABLE IF NOT EXISTS verdict (line text);
	DELETE FROM verdict;
	INSERT INTO verdict SELECT is(ARRAY(SELECT collection || ' ' || id FROM held WHERE name = who ORDER BY 1), seen, what || ': ' || who || ' holds what it sees');
END$$;

CALL pull('ann');
CALL pull('bob');
CALL same('ann', 'first sync'); SELECT line FROM verdict;
CALL pull('ann');
SELECT is(told('ann', 'task') || told('ann', 'comment'), '', 'nothing changed: nothing comes');

-- ---------------------------------------------------------------------------
-- Gained and lost
-- ---------------------------------------------------------------------------
INSERT INTO member VALUES ('p2', 'ann');
CALL pull('ann');
SELECT is(told('ann', 'task'), '+p2t1 +p2t2', 'a membership gained: the rows of the project, and nothing else');
SELECT is(told('ann', 'comment'), '+cp2t1 +cp2t2', 'and the children of these rows');
SELECT is(told('ann', 'loose'), '+lp2t1 +lp2t2', 'also without a foreign key');
CALL same('ann', 'gained'); SELECT line FROM verdict;
CALL pull('bob');
SELECT is(told('bob', 'task') || told('bob', 'comment') || told('bob', 'loose'), '', 'a colleague who joins costs the others nothing');

DELETE FROM member WHERE project_id = 'p1' AND user_id = 'ann';
CALL pull('ann');
SELECT is(told('ann', 'task') || told('ann', 'comment'), '-p1t1 -p1t2-cp1t1 -cp1t2', 'a membership lost: their ids, and nothing else');
CALL pull('bob');
SELECT is(told('bob', 'task'), '', 'that costs the others nothing');

-- everything at once between two pulls
INSERT INTO member VALUES ('p3', 'ann');
UPDATE task SET title = 'x' WHERE id = 'p3t1';
DELETE FROM task WHERE id = 'p3t2';
DELETE FROM member WHERE project_id = 'p2' AND user_id = 'ann';
UPDATE task SET title = 'x' WHERE id = 'p2t1';
DELETE FROM comment WHERE id = 'cp2t2';
UPDATE task SET project_id = 'p1' WHERE id = 'p2t2';
INSERT INTO task VALUES ('new', 'p3');
INSERT INTO comment VALUES ('cnew', 'new');
CALL pull('ann');
SELECT is(told('ann', 'task'), '+new +p3t1 -p2t1 -p2t2', 'one set for another, with rows changed, deleted, moved and made');
SELECT is(told('ann', 'comment'), '+cnew +cp3t1 -cp2t1 -cp2t2', 'and their children');
CALL same('ann', 'all at once'); SELECT line FROM verdict;
CALL pull('bob');
CALL same('bob', 'all at once'); SELECT line FROM verdict;
SELECT is(told('bob', 'task'), '+p2t1 +p2t2', 'others get what changed: told of no row of which they may not know');

-- lost and regained
DELETE FROM member WHERE project_id = 'p3' AND user_id = 'ann';
UPDATE task SET title = 'y' WHERE id = 'new';
INSERT INTO member VALUES ('p3', 'ann');
CALL pull('ann');
SELECT is(told('ann', 'task') || told('ann', 'comment'), '+new', 'lost and regained between two pulls: what changed');

-- a row moved between two projects of hers, and out and in again
INSERT INTO member VALUES ('p1', 'ann');
CALL pull('ann');
UPDATE task SET project_id = 'p1' WHERE id = 'new';
CALL pull('ann');
SELECT is(told('ann', 'task') || told('ann', 'comment'), '+new', 'moved within what she sees: an update, and no comment again');
UPDATE task SET project_id = 'p2' WHERE id = 'new';
UPDATE task SET project_id = 'p3' WHERE id = 'new';
CALL pull('ann');
SELECT is(told('ann', 'task') || told('ann', 'comment'), '+new', 'out and in again: the same');
UPDATE task SET project_id = 'p2' WHERE id = 'new';
CALL pull('ann');
SELECT is(told('ann', 'task') || told('ann', 'comment'), '-new-cnew', 'moved out: gone, with its comment');

-- the project goes, and memberships and rows with it
DELETE FROM project WHERE id = 'p1';
CALL pull('ann');
CALL same('ann', 'cascade'); SELECT line FROM verdict;
SELECT is(told('ann', 'task'), '-p1t1 -p1t2 -p2t2', 'a project deleted with its memberships: its rows are gone');
CALL pull('bob');
CALL same('bob', 'cascade'); SELECT line FROM verdict;

-- a new task sends no comments again, nor does a changed one
INSERT INTO task VALUES ('n2', 'p3');
UPDATE task SET title = 'z' WHERE id = 'p3t1';
CALL pull('ann');
SELECT is(told('ann', 'task') || told('ann', 'comment') || told('ann', 'loose'), '+n2 +p3t1', 'a parent made or changed brings no children again');
INSERT INTO loose VALUES ('lfuture', 'future');
CALL pull('ann');
INSERT INTO task VALUES ('future', 'p3');
CALL pull('ann');
SELECT is(told('ann', 'loose'), '+lfuture', 'without a foreign key a child may be older than its parent');
CALL same('ann', 'older child'); SELECT line FROM verdict;

-- only the children are pulled
SELECT offsync.pull_changes(NULL, '{comment}') ->> 'cursor' IS NOT NULL AS done \gset
CREATE FUNCTION just(c text, of text) RETURNS text LANGUAGE plpgsql SET search_path = sets AS $$
DECLARE a json;
BEGIN
	PERFORM set_config('request.jwt.claims', '{"sub": "ann"}', false);
	SET LOCAL ROLE sets_user;
	a := offsync.pull_changes(c, ARRAY[of]);
	RESET ROLE;
	PERFORM set_config('sets.cursor', a ->> 'cursor', false);
	RETURN concat_ws(' ', a #>> ARRAY['experimentalStrategy', 'override', of], (SELECT string_agg('+' || (r ->> 'id'), ' ' ORDER BY r ->> 'id') FROM json_array_elements(a -> 'changes' -> of -> 'updated') r),
		(SELECT string_agg('-' || g, ' ' ORDER BY g) FROM json_array_elements_text(a -> 'changes' -> of -> 'deleted') g));
END$$;
SELECT just(NULL, 'comment') IS NOT NULL AS done \gset
INSERT INTO member VALUES ('p2', 'ann');
SELECT is(just(current_setting('sets.cursor'), 'comment'), '+cnew +cp2t1', 'children whose parents aren''t asked for follow them all the same');
SELECT is(just(current_setting('sets.cursor'), 'task'), 'replacement +future +n2 +new +p2t1 +p3t1', 'but a parent that wasn''t asked for isn''t covered');

-- ---------------------------------------------------------------------------
-- Pushes
-- ---------------------------------------------------------------------------
CALL pull('ann');
CALL push('ann', '{"task": {"created": [{"id": "t1", "project_id": "p3", "title": "", "project_no": null}]}, "comment": {"created": [{"id": "c1", "task_id": "t1"}]}, "loose": {"created": [{"id": "l1", "task_id": "t1"}]}}');
CALL pull('ann');
SELECT is(told('ann', 'task') || told('ann', 'comment') || told('ann', 'loose'), '', 'a pushed family doesn''t come back');
INSERT INTO loose VALUES ('lwait', 'twait');
CALL pull('ann');
CALL push('ann', '{"task": {"created": [{"id": "twait", "project_id": "p3", "title": "", "project_no": null}]}}');
CALL pull('ann');
SELECT is(told('ann', 'loose') || told('ann', 'task'), '+lwait', 'a pushed parent brings the children that waited for it');
CALL push('ann', '{"task": {"deleted": ["twait"]}}');
CALL pull('ann');
SELECT is(told('ann', 'loose') || told('ann', 'task'), '-lwait', 'and a deleted one takes them along');
CALL same('ann', 'pushes'); SELECT line FROM verdict;
INSERT INTO project VALUES ('p9');
INSERT INTO member VALUES ('p9', 'ann');
CALL push('ann', '{"task": {"created": [{"id": "t9", "project_id": "p9", "title": "", "project_no": null}]}}');
CALL pull('ann');
SELECT is(told('ann', 'task'), '', 'pushed into a project joined since the last pull: no echo');
CALL same('ann', 'joined, pushed'); SELECT line FROM verdict;
INSERT INTO project VALUES ('p8');
INSERT INTO member VALUES ('p8', 'ann');
CALL push('ann', '{"task": {"created": [{"id": "t8", "project_id": "p8", "title": "", "project_no": null}]}}');
DELETE FROM member WHERE project_id = 'p8';
CALL pull('ann');
CALL same('ann', 'joined, pushed and left'); SELECT line FROM verdict;
SELECT ok((SELECT replaced FROM answer WHERE name = 'ann' AND collection = 'task'), 'what the device wrote between two views that don''t show it is replaced');

CALL pull('ann');
CALL pull('bob');
CALL push('ann', '{"comment": {"created": [{"id": "cgone", "task_id": "p2t1", "body": null}]}, "task": {"deleted": ["p2t1"]}}');
CALL pull('bob');
SELECT is(told('bob', 'comment'), '-cp2t1', 'a row that a push makes and takes away by a cascade: nobody else hears of it');
CALL pull('ann');
SELECT is((SELECT count(*) FROM held WHERE name = 'ann' AND id = 'cgone'), 0::bigint, 'but its own device forgets it');
CALL same('ann', 'cascade of a push'); SELECT line FROM verdict;

-- nobody reads in a cursor what a policy's functions told: the bytes of a long value of a set
INSERT INTO project VALUES ('a-project-of-a-long-name');
INSERT INTO member VALUES ('a-project-of-a-long-name', 'ann');
CALL pull('ann');
SELECT is(position('a-project-of-a-long-name'::bytea IN decode(rpad(t, (length(t) + 3) / 4 * 4, '='), 'base64')), 0, 'a cursor hides the values of its sets')
	FROM (SELECT translate(substr(cur, 2), '-_', '+/') FROM device WHERE name = 'ann') c (t);
SELECT cmp_ok(offsync.cursor_info(cur) #>> '{sets,values}', '>', '0', 'though it carries them') FROM device WHERE name = 'ann';

-- ---------------------------------------------------------------------------
-- Who asks
-- ---------------------------------------------------------------------------
CALL pull('ann');
SELECT is(told('ann', 'task'), '', 'a token with another time is the same caller');
INSERT INTO device SELECT 'thief', cur FROM device WHERE name = 'ann';
CALL pull('thief', 'bob');
SELECT is((SELECT bool_and(replaced AND gone = '{}') FROM answer WHERE name = 'thief'), true, 'another user''s cursor tells of nothing: all is replaced');

-- ---------------------------------------------------------------------------
-- Every spelling
-- ---------------------------------------------------------------------------
CREATE TABLE blocked (project_id text, user_id text);
CREATE TABLE allowed (project_no int, user_id text, valid boolean);
GRANT SELECT ON blocked, allowed TO sets_user;
INSERT INTO allowed VALUES (3, 'cid', true), (NULL, 'eve', true);
UPDATE task SET project_no = substr(project_id, 2)::int WHERE project_id <> '';
INSERT INTO task VALUES ('nowhere', NULL);
CREATE TEMP TABLE verdicts (n serial, line text);
CREATE PROCEDURE spelling(policy text, gain text, lose text, got text, lost text, note text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER POLICY mine ON task USING (%s)', policy);
	DELETE FROM device WHERE name = 'cid';
	COMMIT;
	CALL pull('cid');
	COMMIT;
	EXECUTE gain;
	COMMIT;
	CALL pull('cid');
	INSERT INTO verdicts (line) SELECT is(told('cid', 'task'), got, note || ': gained');
	COMMIT;
	EXECUTE lose;
	COMMIT;
	CALL pull('cid');
	INSERT INTO verdicts (line) SELECT is(told('cid', 'task'), lost, note || ': lost');
END$$;
\set join '''INSERT INTO member VALUES (''''p3'''', ''''cid'''')'''
\set leave '''DELETE FROM member WHERE user_id = ''''cid'''''''
\set got '''+future +n2 +p3t1 +t1'''
\set lost '''-future -n2 -p3t1 -t1'''
CALL spelling('project_id = ANY (ARRAY(SELECT project_id FROM member WHERE user_id = uid()))', :join, :leave, :got, :lost, '= ANY (ARRAY(SELECT))');
CALL spelling('project_id = ANY (my_projects())', :join, :leave, :got, :lost, '= ANY (function), whose array is NULL without members');
CALL spelling('project_id = ANY (coalesce(my_projects(), ''{}''))', :join, :leave, :got, :lost, '= ANY (function)');
CALL spelling('project_id IN (SELECT unnest(my_projects()))', :join, :leave, :got, :lost, 'IN (SELECT unnest(function))');
CALL spelling('EXISTS (SELECT 1 FROM member m WHERE m.project_id = task.project_id AND m.user_id = uid())', :join, :leave, :got, :lost, 'EXISTS with one tie');
CALL spelling('EXISTS (SELECT 1 FROM member m WHERE m.user_id = uid() AND task.project_id = m.project_id ORDER BY m.role LIMIT 1)', :join, :leave, :got, :lost, 'EXISTS, the other way round');
CALL spelling('uid() IN (SELECT m.user_id FROM member m WHERE m.project_id = task.project_id)', :join, :leave, :got, :lost, 'the user among the row''s members');
CALL spelling('(SELECT uid()) IN (SELECT m.user_id FROM member m WHERE m.project_id = task.project_id) AND title IS NOT NULL', :join, :leave, :got, :lost, 'the same, wrapped, AND');
CALL spelling('project_id IN (SELECT m.project_id FROM project p JOIN member m ON p.id = m.project_id WHERE m.user_id = uid() AND m.role <> ''guest'')', :join, :leave, :got, :lost, 'IN over a join');
CALL spelling('title = ''none'' OR project_id IN (SELECT project_id FROM member WHERE user_id = uid())', :join, :leave, :got, :lost, 'one branch of OR');
CALL spelling('CASE WHEN title = ''none'' THEN true ELSE project_id IN (SELECT project_id FROM member WHERE user_id = uid()) END', :join, :leave, :got, :lost, 'within CASE');
CALL spelling('upper(project_id) IN (SELECT upper(project_id) FROM member WHERE user_id = uid())', :join, :leave, :got, :lost, 'of an expression');
CALL spelling('project_no IN (SELECT project_no FROM allowed WHERE user_id = uid() AND valid)', 'UPDATE sets.allowed SET project_no = 3', 'UPDATE sets.allowed SET project_no = NULL', '', :lost, 'NULL in place of a value');
UPDATE allowed SET project_no = 3, valid = false;
CALL spelling('project_no IN (SELECT project_no FROM allowed WHERE user_id = uid() AND valid)', 'UPDATE sets.allowed SET valid = true', 'UPDATE sets.allowed SET valid = false', :got, :lost, 'numbers');
CALL spelling('project_id NOT IN (SELECT project_id FROM blocked WHERE user_id = uid())', 'INSERT INTO sets.blocked VALUES (''p3'', ''cid'')', 'DELETE FROM sets.blocked',
	'-future -n2 -nowhere -p3t1 -t1', '+future +n2 +nowhere +p3t1 +t1', 'NOT IN: a row without a project is seen while the set is empty');
INSERT INTO blocked VALUES ('p7', 'cid');
CALL spelling('project_id <> ALL (ARRAY(SELECT project_id FROM blocked WHERE user_id = uid()))', 'INSERT INTO sets.blocked VALUES (''p3'', ''cid'')', 'DELETE FROM sets.blocked WHERE project_id = ''p3''', :lost, :got, '<> ALL');
CALL spelling('NOT EXISTS (SELECT FROM blocked b WHERE b.project_id = task.project_id AND b.user_id = uid())', 'INSERT INTO sets.blocked VALUES (''p3'', ''cid'')', 'DELETE FROM sets.blocked WHERE project_id = ''p3''', :lost, :got, 'NOT EXISTS');
CALL spelling('project_id = ANY (string_to_array(current_setting(''sets.mine'', true), '',''))', 'SET sets.mine = ''p3''', 'SET sets.mine = ''p7''', :got, :lost, 'a list in a setting');
CALL spelling('project_id NOT IN (SELECT project_id FROM blocked WHERE user_id = uid())', 'INSERT INTO sets.blocked VALUES (NULL, ''cid'')', 'DELETE FROM sets.blocked WHERE project_id IS NULL',
	'replaced', 'replaced +future +n2 +new +p3t1 +t1 +t8 +t9', 'NULL in a set that rows must not be in');
SELECT line FROM verdicts ORDER BY n;

-- a set that is too large goes as a hash
SET offsync.cursor_sets = 64;
INSERT INTO member SELECT 'p3', 'm' || i FROM generate_series(1, 30) i;
ALTER POLICY mine ON task USING (project_id IN (SELECT project_id FROM member WHERE user_id = uid()) OR id IN (SELECT user_id FROM member));
ALTER POLICY mine ON member USING (true);
CALL pull('ann');
CALL pull('ann');
SELECT is(told('ann', 'task'), '', 'too large to carry, unchanged: nothing');
INSERT INTO member VALUES ('p2', 'zoe');
CALL pull('ann');
SELECT matches(told('ann', 'task'), '^replaced ', 'too large to carry, changed: replaced');
RESET offsync.cursor_sets;

-- which of the members come first is no set of projects
ALTER POLICY mine ON task USING (uid() IN (SELECT m.user_id FROM member m WHERE m.project_id = task.project_id ORDER BY m.user_id LIMIT 1));
INSERT INTO project VALUES ('q1');
INSERT INTO task VALUES ('q1t1', 'q1');
INSERT INTO member VALUES ('q1', 'yan'), ('q1', 'zed'), ('p3', 'zed');
CALL pull('zed');
CALL same('zed', 'IN with LIMIT'); SELECT line FROM verdict;
DELETE FROM member WHERE project_id = 'q1' AND user_id <> 'zed';
CALL pull('zed');
CALL same('zed', 'IN with LIMIT, now the first'); SELECT line FROM verdict;
SELECT cmp_ok((SELECT count(*) FROM held WHERE name = 'zed' AND collection = 'task'), '>', 0::bigint, 'and sees some');
CALL pull('zed');
SELECT is(told('zed', 'task'), '', 'IN with LIMIT, nothing changed: nothing comes');
ALTER POLICY mine ON task USING (uid() IN (SELECT m.user_id FROM member m WHERE m.project_id = task.project_id ORDER BY m.role, m.user_id LIMIT 1));
CALL pull('zed');
CALL pull('zed');
SELECT is(told('zed', 'task'), '', 'in the order of another column, nothing changed: nothing comes');
INSERT INTO member VALUES ('q1', 'yan', 'a');
CALL pull('zed');
CALL same('zed', 'in the order of another column, now the second'); SELECT line FROM verdict;

-- a number carries no sets: the tables that policies read tell when they change
CREATE FUNCTION by_number(n text) RETURNS text LANGUAGE plpgsql SET search_path = sets AS $$
DECLARE a json;
BEGIN
	PERFORM set_config('request.jwt.claims', '{"sub": "ann"}', false);
	SET LOCAL ROLE sets_user;
	a := offsync.pull_changes(n, '{comment}');
	RESET ROLE;
	PERFORM set_config('sets.number', a ->> 'timestamp', false);
	RETURN concat_ws(' ', a #>> '{experimentalStrategy,override,comment}', json_array_length(a #> '{changes,comment,updated}') > 0);
END$$;
ALTER POLICY mine ON task USING (project_id IN (SELECT project_id FROM member WHERE user_id = uid()));
SELECT by_number(NULL) IS NOT NULL AS done \gset
SELECT is(by_number(current_setting('sets.number')), 'f', 'a number: nothing changed');
INSERT INTO member VALUES ('p3', 'dan');
SELECT is(by_number(current_setting('sets.number')), 'replacement t', 'a number: somebody''s membership changed, so all is replaced');
SELECT is(by_number(current_setting('sets.number')), 'f', 'and then nothing again');
CREATE DOMAIN names AS text[];
CREATE FUNCTION my_names() RETURNS names STABLE SECURITY DEFINER LANGUAGE sql SET search_path = sets AS $$SELECT my_projects()::names$$;
ALTER POLICY mine ON task USING (project_id = ANY (my_names()));
SELECT by_number(NULL) IS NOT NULL AS done \gset
DELETE FROM member WHERE user_id = 'ann';
SELECT is(by_number(current_setting('sets.number')), 'replacement f', 'a number, a set that a function returns: replaced, whatever its type is called');

SELECT * FROM finish();
RESET search_path;
SET client_min_messages = warning;
DO $$BEGIN PERFORM offsync.disable(format('sets.%I', t)::regclass) FROM unnest('{loose,comment,task}'::text[]) t; END$$;
DROP SCHEMA sets CASCADE;
DROP ROLE sets_user;
