-- Apps in stores live on for years: their old versions beside new tables, new columns, and tables that are gone.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET jit = off;
CREATE ROLE regress_offsync_app;
CREATE SCHEMA app;
GRANT USAGE ON SCHEMA app TO regress_offsync_app;
SET search_path = app;
CREATE TABLE task (id text PRIMARY KEY, title text);
CREATE TABLE tag (id text PRIMARY KEY, task_id text, name text);
GRANT ALL ON task, tag TO regress_offsync_app;
SELECT count(*) > 0 AS enabled FROM offsync.enable('task');
SELECT count(*) > 0 AS enabled FROM offsync.enable('tag', filter_columns => '{task_id}');
INSERT INTO task VALUES ('t1', 'one');
INSERT INTO tag VALUES ('g1', 't1', 'red');

-- What a device gets and sends, without what differs from run to run; its cursor is kept.
CREATE TABLE device (cursor text);
INSERT INTO device VALUES (NULL);
GRANT ALL ON device TO regress_offsync_app;
CREATE FUNCTION plain(answer json) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_object_agg(key, CASE WHEN key = 'changes' THEN (
			SELECT jsonb_object_agg(c.key, (SELECT jsonb_object_agg(l.key, (SELECT coalesce(jsonb_agg(
				CASE jsonb_typeof(r) WHEN 'object' THEN r - '{server_version,server_created_at,server_updated_at}'::text[] ELSE r END ORDER BY r ->> 'id'), '[]')
				FROM jsonb_array_elements(l.value) r)) FROM jsonb_each(c.value) l)) FROM jsonb_each(value) c) ELSE value END)
	FROM jsonb_each(answer::jsonb) WHERE key NOT IN ('cursor', 'timestamp', 'hasMore') $$;
CREATE FUNCTION pull(collections text[] DEFAULT NULL, migration jsonb DEFAULT NULL, filters json DEFAULT NULL, schema_version int DEFAULT NULL)
	RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	answer json := offsync.pull_changes((SELECT cursor FROM device), collections, schema_version, migration, filters => filters);
BEGIN
	UPDATE device SET cursor = answer ->> 'cursor';
	RETURN plain(answer);
END$$;
CREATE FUNCTION push(changes json, on_error text DEFAULT 'abort') RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	answer json := offsync.push_changes(changes, (SELECT cursor FROM device), on_error => on_error);
BEGIN
	UPDATE device SET cursor = answer ->> 'cursor';
	RETURN plain(answer);
END$$;
SET ROLE regress_offsync_app;

-- The version of an app's schema decides nothing: what it asks for does.
SELECT offsync.pull_changes(schema_version => 1)::jsonb - 'cursor' = offsync.pull_changes(schema_version => 99)::jsonb - 'cursor'
	AND offsync.pull_changes(schema_version => -1)::jsonb - 'cursor' = offsync.pull_changes()::jsonb - 'cursor' AS same;
SELECT pull('{task,tag}', schema_version => 1);

-- A new column: old versions get it, and ignore it; what they send leaves it alone.
RESET ROLE;
ALTER TABLE task ADD COLUMN priority int NOT NULL DEFAULT 5;
SET ROLE regress_offsync_app;
SELECT pull('{task,tag}', schema_version => 1);
SELECT push('{"task": {"created": [{"id": "t2", "title": "two"}], "updated": [{"id": "t1", "title": "uno"}]}}');
SELECT id, title, priority FROM task ORDER BY id;
-- A column that went away: old versions still send it, and are told.
RESET ROLE;
ALTER TABLE task DROP COLUMN priority;
SET ROLE regress_offsync_app;
SELECT pull('{task,tag}') -> 'experimentalStrategy' AS strategy;
SELECT push('{"task": {"updated": [{"id": "t1", "title": "one", "priority": 1}]}}');

-- A collection that went away is an error: all of the app's syncs fail.
RESET ROLE;
SELECT offsync.disable('tag');
SET ROLE regress_offsync_app;
\set VERBOSITY sqlstate
SELECT pull('{task,tag}');
SELECT push('{"task": {"created": [{"id": "t3"}]}, "tag": {"created": []}}');
\set VERBOSITY default
RESET ROLE;
SELECT count(*) > 0 AS enabled FROM offsync.enable('tag', filter_columns => '{task_id}');
SET ROLE regress_offsync_app;
SELECT pull('{task,tag}');

-- A retired one isn't: the device keeps what it holds.
INSERT INTO tag VALUES ('g0', 't1', 'blue');
SELECT offsync.pull_changes(collections => '{tag,task}', max_rows => 1) ->> 'cursor' AS page \gset
RESET ROLE;
SELECT offsync.disable('tag', retire => true);
SELECT collection, tbl, key, conflict, tombstones, state FROM offsync.status ORDER BY 1;
SELECT count(*) AS left_behind FROM pg_trigger WHERE tgrelid = 'tag'::regclass AND tgname LIKE '%offsync%';
SET ROLE regress_offsync_app;
SELECT pull('{tag,task}');
SELECT pull('{app.tag}');
SELECT pull('{tag,tag}');
SELECT pull('{task,tag}', filters => '{"tag": {"task_id": ["t1"]}}');
SELECT pull('{task,tag}', '{"from": 1, "tables": ["tag"], "columns": [{"table": "tag", "columns": ["name"]}, {"table": "task", "columns": ["title"]}]}');
-- Also when it was retired between two pages.
SELECT plain(offsync.pull_changes(:'page', '{tag,task}'));
-- Who asks for all gets what there is.
SELECT pull();
SELECT pull('{task,tag}');

-- Its records are refused one by one; the rest is stored, and nobody's queue is blocked.
SELECT push('{"tag": {"created": [{"id": "g2", "name": "blue"}], "updated": [{"name": "no id"}], "deleted": ["g1"]},
	"task": {"created": [{"id": "t3", "title": "three"}]}}');
SELECT push('{"app.tag": {"created": [{"id": "g2"}]}}', 'skip');
SELECT push('{"tag": {}}');
SELECT push('{"tag": {"created": [{"id": "g2"}]}, "task": {"created": [{"title": "no id"}, {"id": "t4", "title": "four"}]}}', 'skip');
SELECT push('{"tag": {"created": [{"id": "g2"}]}, "nothing": {}}');
SELECT offsync.sync_changes('{"tag": {"created": [{"id": "g2"}]}}', (SELECT cursor FROM device), '{task,tag}')::jsonb - '{cursor,timestamp}'::text[] AS synced;
-- A lost answer is the same answer.
SELECT offsync.push_changes('{"tag": {"created": [{"id": "g2"}]}}', client_id => 'phone', push_id => '1')::jsonb AS first \gset
SELECT offsync.push_changes('{"tag": {"created": [{"id": "g2"}]}}', client_id => 'phone', push_id => '1')::jsonb = :'first'::jsonb AS same;
-- Nothing to compare, nothing to mend.
SELECT json_object_keys(offsync.digest('{task,tag}'));
SELECT offsync.reconcile('{"tag": {"records": {"g1": 1}}}');
SELECT id FROM task ORDER BY id;
SELECT id FROM tag ORDER BY id;

-- Gone for good, and answered all the same.
RESET ROLE;
DROP TABLE tag;
SET ROLE regress_offsync_app;
SELECT pull('{task,tag}');
SELECT pull('{app.tag}');

-- Another table takes the name: devices take it anew.
RESET ROLE;
CREATE TABLE label (id text PRIMARY KEY, name text);
INSERT INTO label VALUES ('l1', 'red');
GRANT ALL ON label TO regress_offsync_app;
SELECT count(*) > 0 AS enabled FROM offsync.enable('label', 'tag');
SELECT collection, tbl, state FROM offsync.status ORDER BY 1;
SET ROLE regress_offsync_app;
SELECT pull('{task,tag}');
SELECT push('{"tag": {"created": [{"id": "l2", "name": "blue"}]}}');
RESET ROLE;
-- Enabled and disabled, it is forgotten; retired twice, it is one.
SELECT offsync.disable('label', retire => true);
SELECT count(*) > 0 AS enabled FROM offsync.enable('label', 'tag');
SELECT offsync.disable('label', true, true);
SELECT collection, state FROM offsync.status ORDER BY 1;
SELECT count(*) > 0 AS enabled FROM offsync.enable('label', 'tag');
SELECT offsync.disable('label');
SELECT collection, state FROM offsync.status ORDER BY 1;
SELECT offsync.disable('label', retire => true);

DROP SCHEMA app CASCADE;
DROP ROLE regress_offsync_app;
