-- What a session keeps from push to push is as the tables, roles and names are now.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA kept;
SET search_path = kept;
CREATE ROLE kept_reader;
CREATE ROLE kept_app;
GRANT kept_reader TO kept_app;
GRANT USAGE ON SCHEMA kept TO PUBLIC;
CREATE DOMAIN level AS int;
CREATE TABLE note (id text PRIMARY KEY, title text, body text, rank int, hidden text, level level DEFAULT 5);
GRANT INSERT, UPDATE ON note TO kept_app;
GRANT SELECT (id, title, body, rank, level) ON note TO kept_app;
SELECT count(*) > 0 AS enabled FROM offsync.enable('note');

-- One record: its list, and its fields.  What came of it, and the row.
CREATE FUNCTION push(record json, list text DEFAULT 'updated', OUT answer text, OUT stored text) LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		answer := offsync.push_changes(json_build_object('note', json_build_object(list, json_build_array(record))), offsync.pull_changes(collections => '{note}') ->> 'cursor')::jsonb - 'cursor' - 'timestamp';
		answer := regexp_replace(answer, ', "server_[a-z_]+": \d+', '', 'g');
	EXCEPTION WHEN OTHERS THEN
		answer := sqlstate || ' ' || sqlerrm;
	END;
	stored := stored_row(record ->> 'id');
END $$;
CREATE FUNCTION stored_row(id text) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
	SELECT to_jsonb(n) - ARRAY['server_created_at', 'server_updated_at', 'server_version', 'server_created_version'] FROM kept.note n WHERE n.id OPERATOR(pg_catalog.=) $1 $$;

-- All that is to be kept is made.
SELECT * FROM push('{"id": "a", "title": "one", "rank": 1}', 'created');
SELECT * FROM push('{"id": "a", "title": "two", "rank": 2}');
SELECT * FROM push('{"id": "a", "title": "three", "rank": 2}');

-- The table's definition
ALTER TABLE note ADD extra text;
SELECT * FROM push('{"id": "a", "extra": "new"}');
ALTER TABLE note ALTER rank TYPE text;
SELECT * FROM push('{"id": "a", "rank": "high"}');
ALTER TABLE note RENAME extra TO more;
SELECT * FROM push('{"id": "a", "extra": "old", "more": "renamed"}');
ALTER TABLE note DROP more;
SELECT * FROM push('{"id": "a", "more": "gone", "rank": "low"}');
ALTER TABLE note RENAME TO letter;
SELECT offsync.push_changes('{"note": {"updated": [{"id": "a", "title": "of a letter"}]}}', offsync.pull_changes() ->> 'cursor') -> 'applied' AS applied;
ALTER TABLE letter RENAME TO note;
SELECT * FROM push('{"id": "a", "title": "of a note"}');
ALTER TABLE note ADD CHECK (title <> 'bad');
SELECT * FROM push('{"id": "a", "title": "bad"}');

-- Types: NULL in a new row means the default only where a domain refuses it.
SELECT * FROM push('{"id": "b", "level": null}', 'created');
DELETE FROM note WHERE id = 'b';
ALTER DOMAIN level SET NOT NULL;
SELECT stored FROM push('{"id": "c", "level": null}', 'created');
ALTER DOMAIN level ADD CHECK (value < 10);
SELECT * FROM push('{"id": "c", "level": 10}');

-- Triggers of the owner's: what they change is told.
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.title := upper(NEW.title); RETURN NEW; END $$;
CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON note FOR EACH ROW EXECUTE FUNCTION shout();
SELECT answer::jsonb #> '{changes,note,updated,0,title}' AS told, stored FROM push('{"id": "a", "title": "quiet"}');
SELECT answer::jsonb #> '{changes,note,updated,0,title}' AS told, stored FROM push('{"id": "d", "title": "quiet"}', 'created');
ALTER TABLE note DISABLE TRIGGER shout;
SELECT answer::jsonb #> '{changes,note,updated,0,title}' AS told, stored FROM push('{"id": "a", "title": "quiet"}');
DROP FUNCTION shout CASCADE;

-- Roles and grants
SET ROLE kept_app;
SELECT * FROM push('{"id": "a", "title": "by the app"}');
SELECT * FROM push('{"id": "a", "hidden": "by the app"}');
RESET ROLE;
REVOKE UPDATE ON note FROM kept_app;
SET ROLE kept_app;
SELECT answer FROM push('{"id": "a", "title": "again"}');
RESET ROLE;
GRANT UPDATE (title) ON note TO kept_app;
SET ROLE kept_app;
SELECT * FROM push('{"id": "a", "title": "again"}');
SELECT answer FROM push('{"id": "a", "rank": "again"}');
RESET ROLE;
-- what it may read it has by another role
REVOKE SELECT (id, title, body, rank, level) ON note FROM kept_app;
SET ROLE kept_app;
SELECT answer FROM push('{"id": "a", "title": "unseen"}');
RESET ROLE;
GRANT SELECT, UPDATE ON note TO kept_reader;
SET ROLE kept_app;
SELECT * FROM push('{"id": "a", "title": "seen", "rank": "1"}');
RESET ROLE;
REVOKE kept_reader FROM kept_app;
SET ROLE kept_app;
SELECT answer FROM push('{"id": "a", "title": "unseen"}');
RESET ROLE;
GRANT kept_reader TO kept_app;

-- Policies
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON note USING (hidden IS DISTINCT FROM 'yes') WITH CHECK (title <> 'forbidden');
SET ROLE kept_app;
SELECT * FROM push('{"id": "a", "title": "allowed"}');
SELECT answer FROM push('{"id": "a", "title": "forbidden"}');
RESET ROLE;
UPDATE note SET hidden = 'yes' WHERE id = 'a';
SET ROLE kept_app;
SELECT answer FROM push('{"id": "a", "title": "out of sight"}');
RESET ROLE;
ALTER POLICY mine ON note USING (true) WITH CHECK (true);
SET ROLE kept_app;
SELECT * FROM push('{"id": "a", "title": "forbidden"}');
RESET ROLE;
ALTER ROLE kept_app BYPASSRLS;
ALTER POLICY mine ON note USING (false);
SET ROLE kept_app;
SELECT * FROM push('{"id": "a", "title": "beneath"}');
RESET ROLE;
ALTER ROLE kept_app NOBYPASSRLS;
SET ROLE kept_app;
SELECT answer FROM push('{"id": "a", "title": "not any more"}');
RESET ROLE;
ALTER TABLE note DISABLE ROW LEVEL SECURITY;

-- Names: another search_path, hostile operators in it, and a type that moves with its operators.
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.never);
SET search_path = hostile, pg_catalog, kept;
SELECT * FROM push('{"id": "a", "title": "elsewhere"}');
SET search_path = kept;
CREATE SCHEMA moved;
CREATE EXTENSION citext SCHEMA kept;
CREATE TABLE tag (id citext PRIMARY KEY, n int);
SELECT count(*) > 0 AS enabled FROM offsync.enable('tag');
SELECT offsync.push_changes('{"tag": {"created": [{"id": "x", "n": 1}]}}') -> 'applied' AS applied;
SELECT offsync.push_changes('{"tag": {"updated": [{"id": "x", "n": 2}]}}', offsync.pull_changes() ->> 'cursor') -> 'applied' AS applied;
ALTER EXTENSION citext SET SCHEMA moved;
SELECT offsync.push_changes('{"tag": {"updated": [{"id": "x", "n": 3}]}}', offsync.pull_changes() ->> 'cursor') -> 'applied' AS applied;
ALTER SCHEMA moved RENAME TO away;
SELECT offsync.push_changes('{"tag": {"updated": [{"id": "x", "n": 4}]}}', offsync.pull_changes() ->> 'cursor') -> 'applied' AS applied;
SELECT id, n FROM tag;

-- Another table of the same name
SELECT count(*) > 0 AS disabled FROM offsync.disable('note');
SELECT answer FROM push('{"id": "a", "title": "unknown"}');
SELECT count(*) > 0 AS enabled FROM offsync.enable('note', conflict => 'server_wins');
SELECT * FROM push('{"id": "a", "title": "enabled again"}');
DROP TABLE note;
CREATE TABLE note (title int, id text PRIMARY KEY);
SELECT count(*) > 0 AS enabled FROM offsync.enable('note');
SELECT * FROM push('{"id": "a", "title": 1}', 'created');
SELECT * FROM push('{"id": "a", "title": 2}');

-- Within one transaction, and one that is rolled back
BEGIN;
ALTER TABLE note ADD body text;
SELECT * FROM push('{"id": "a", "body": "for now"}');
SAVEPOINT before;
ALTER TABLE note DROP body;
SELECT * FROM push('{"id": "a", "body": "not here", "title": 3}');
ROLLBACK TO before;
SELECT * FROM push('{"id": "a", "body": "here", "title": 4}');
ROLLBACK;
SELECT * FROM push('{"id": "a", "body": "for now", "title": 5}');

-- More shapes of records, and more roles, than are kept.
ALTER TABLE note ADD c0 int, ADD c1 int, ADD c2 int, ADD c3 int, ADD c4 int, ADD c5 int;
SELECT count(*) AS pushes, count(*) FILTER (WHERE (stored::jsonb - 'title') = jsonb_build_object('id', 'a') || (SELECT jsonb_object_agg('c' || c, CASE WHEN i & (1 << c) <> 0 THEN i END) FROM generate_series(0, 5) c)) AS good
FROM generate_series(1, 63) i, push((SELECT json_object_agg(k, v) FROM (SELECT 'id' AS k, '"a"'::json AS v
	UNION ALL SELECT 'c' || c, to_json(CASE WHEN i & (1 << c) <> 0 THEN i END) FROM generate_series(0, 5) c) f));
DO $$ BEGIN FOR i IN 1 .. 70 LOOP
	EXECUTE format('CREATE ROLE kept_%s; GRANT INSERT, SELECT ON note TO kept_%s', i, i);
	EXECUTE format('SET LOCAL ROLE kept_%s', i);
	PERFORM push(json_build_object('id', 'r' || i, 'c0', i), 'created');
	RESET ROLE;
END LOOP; END $$;
SELECT count(*), sum(c0) FROM note WHERE id LIKE 'r%';

DO $$ BEGIN FOR i IN 1 .. 70 LOOP EXECUTE format('DROP OWNED BY kept_%s; DROP ROLE kept_%s', i, i); END LOOP; END $$;
DROP SCHEMA kept, hostile, away CASCADE;
DROP OWNED BY kept_reader, kept_app;
DROP ROLE kept_reader, kept_app;
