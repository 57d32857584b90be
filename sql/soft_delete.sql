-- Rows whose soft_delete column isn't null count as deleted: nothing is told of them but that they are gone.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE regress_offsync_ann;
CREATE ROLE regress_offsync_ben;
CREATE SCHEMA soft;
SET search_path = soft;
GRANT USAGE ON SCHEMA soft TO regress_offsync_ann, regress_offsync_ben;
-- the column that was dropped makes the numbers of the others differ from the tombstones'
CREATE TABLE note (dropped int, id text PRIMARY KEY, owner text NOT NULL, title text, deleted_at timestamptz);
ALTER TABLE note DROP COLUMN dropped;
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON note USING (owner = current_user);
-- nobody but the owner may read the column
GRANT SELECT (id, owner, title), INSERT, UPDATE, DELETE ON note TO regress_offsync_ann, regress_offsync_ben;
INSERT INTO note SELECT id, 'regress_offsync_ann', 'one' FROM unnest('{a,b,c,d,e,f}'::text[]) id;
UPDATE note SET deleted_at = now() WHERE id IN ('e', 'f');
SELECT detail FROM offsync.enable('note', soft_delete => 'deleted_at') WHERE action = 'tombstones';

-- a device: what its next pull would tell it
CREATE FUNCTION news(since text, as_updated boolean DEFAULT false)
	RETURNS TABLE (list text, id text, title text) LANGUAGE sql AS $$
	SELECT CASE WHEN answer -> 'experimentalStrategy' IS NULL THEN list ELSE 'all anew' END,
		coalesce(item ->> 'id', item #>> '{}'), item ->> 'title'
	FROM offsync.pull_changes(since, '{note}', client_id => 'phone', created_as_updated => as_updated) AS answer,
		json_each(answer -> 'changes' -> 'note') AS lists (list, items), json_array_elements(items) AS item
	ORDER BY 1, 2
$$;
CREATE FUNCTION since() RETURNS text LANGUAGE sql AS $$ SELECT offsync.pull_changes(NULL, '{note}') ->> 'cursor' $$;
CREATE FUNCTION number() RETURNS text LANGUAGE sql AS $$ SELECT offsync.pull_changes(NULL, '{note}') ->> 'timestamp' $$;

-- the first answer, and a full one, leave out what is soft-deleted
SET ROLE regress_offsync_ann;
SELECT * FROM news(NULL);
SELECT * FROM news('1');
SELECT since() AS exact, number() AS number \gset
RESET ROLE;

-- soft-deleted, with another value once more, and back: a row that the device can't have is created
UPDATE note SET deleted_at = now() WHERE id = 'a';
UPDATE note SET deleted_at = NULL WHERE id = 'e';
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'exact');
SELECT * FROM news(:'number');
SELECT * FROM news(:'exact', as_updated => true);
SELECT since() AS gone \gset
RESET ROLE;
UPDATE note SET deleted_at = 'yesterday', title = 'two' WHERE id = 'a';
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'gone');
SELECT * FROM news(:'exact');
RESET ROLE;
UPDATE note SET deleted_at = NULL WHERE id = 'a';
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'gone');
SELECT * FROM news(:'exact');
SELECT * FROM news(:'number');

-- there and back, and back and there, between two pulls
SELECT since() AS exact, number() AS number \gset
RESET ROLE;
UPDATE note SET deleted_at = now() WHERE id = 'b';
UPDATE note SET deleted_at = NULL WHERE id = 'b';
UPDATE note SET deleted_at = NULL WHERE id = 'f';
UPDATE note SET deleted_at = now() WHERE id = 'f';
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'exact');
SELECT * FROM news(:'number');

-- really deleted what was soft-deleted: once in an answer; and made anew under the same id
SELECT since() AS before \gset
RESET ROLE;
UPDATE note SET deleted_at = now() WHERE id = 'c';
SET ROLE regress_offsync_ann;
SELECT since() AS after, number() AS number \gset
RESET ROLE;
DELETE FROM note WHERE id = 'c';
SELECT count(*) AS tombstones FROM offsync_internal.note_tombstone WHERE id = 'c';
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'before');
SELECT * FROM news(:'after');
SELECT * FROM news(:'number');
RESET ROLE;
INSERT INTO note VALUES ('c', 'regress_offsync_ann', 'again');
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'before');
SELECT * FROM news(:'after');
SELECT since() AS exact \gset
RESET ROLE;

-- rows that never were live: no more than their ids
INSERT INTO note VALUES ('x', 'regress_offsync_ann', 'never', now());
DELETE FROM note WHERE id = 'x';
BEGIN;
INSERT INTO note VALUES ('y', 'regress_offsync_ann', 'never', NULL);
UPDATE note SET deleted_at = now() WHERE id = 'y';
COMMIT;
INSERT INTO note VALUES ('z', 'regress_offsync_ann', 'never', now());
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'exact');

-- with access that comes and goes
RESET ROLE;
SET ROLE regress_offsync_ben;
SELECT since() AS ben, number() AS ben_number \gset
RESET ROLE;
UPDATE note SET owner = 'regress_offsync_ben' WHERE id = 'z';
BEGIN;
UPDATE note SET deleted_at = now() WHERE id = 'd';
UPDATE note SET owner = 'regress_offsync_ben' WHERE id = 'd';
COMMIT;
SET ROLE regress_offsync_ben;
SELECT * FROM news(:'ben');
SELECT * FROM news(:'ben_number');
SELECT * FROM news(NULL);
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'exact');
RESET ROLE;
-- what came while it was soft-deleted is created when it comes back
UPDATE note SET deleted_at = NULL WHERE id IN ('d', 'z');
SET ROLE regress_offsync_ben;
SELECT * FROM news(:'ben');
SELECT since() AS ben \gset
RESET ROLE;
-- soft-deleted and taken away; taken away and soft-deleted; soft-deleted, and back at somebody else's
UPDATE note SET deleted_at = now() WHERE id = 'd';
UPDATE note SET owner = 'regress_offsync_ann' WHERE id = 'd';
UPDATE note SET owner = 'regress_offsync_ann' WHERE id = 'z';
UPDATE note SET deleted_at = now() WHERE id = 'z';
SET ROLE regress_offsync_ben;
SELECT * FROM news(:'ben');
SELECT since() AS ben \gset
RESET ROLE;
UPDATE note SET deleted_at = NULL WHERE id = 'd';
SET ROLE regress_offsync_ben;
SELECT * FROM news(:'ben');
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'exact');
RESET ROLE;

-- another key while soft-deleted
SET ROLE regress_offsync_ann;
SELECT since() AS exact \gset
RESET ROLE;
UPDATE note SET id = 'zz' WHERE id = 'z';
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'exact');
RESET ROLE;
UPDATE note SET deleted_at = NULL WHERE id = 'zz';
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'exact');
RESET ROLE;

-- a policy that hides soft-deleted rows itself
ALTER POLICY own ON note USING (owner = current_user AND deleted_at IS NULL);
SET ROLE regress_offsync_ann;
SELECT since() AS exact \gset
RESET ROLE;
UPDATE note SET deleted_at = now() WHERE id IN ('a', 'b');
UPDATE note SET deleted_at = NULL WHERE id IN ('b', 'f');
DELETE FROM note WHERE id = 'a';
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'exact');
RESET ROLE;

-- after a change of the definition the tombstones still keep the column
ALTER TABLE note ADD COLUMN extra text;
SET ROLE regress_offsync_ann;
SELECT since() AS exact \gset
RESET ROLE;
UPDATE note SET deleted_at = now() WHERE id = 'b';
SET ROLE regress_offsync_ann;
SELECT * FROM news(:'exact');
RESET ROLE;

SELECT offsync.disable('note');
DROP SCHEMA soft CASCADE;

-- a partitioned table whose partition has its columns in another order, a row that moves
CREATE SCHEMA soft;
SET search_path = soft;
CREATE TABLE note (id int, part int, title text, gone timestamp, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE note_1 PARTITION OF note FOR VALUES IN (1);
CREATE TABLE note_2 (gone timestamp, extra int, title text, part int NOT NULL, id int NOT NULL);
ALTER TABLE note_2 DROP COLUMN extra;
ALTER TABLE note ATTACH PARTITION note_2 FOR VALUES IN (2);
INSERT INTO note SELECT i, 1 + i % 2, 'one' FROM generate_series(1, 4) i;
SELECT detail FROM offsync.enable('note', soft_delete => 'gone') WHERE action = 'tombstones';
CREATE FUNCTION news(since text) RETURNS TABLE (list text, id text) LANGUAGE sql AS $$
	SELECT list, coalesce(item ->> 'id', item #>> '{}')
	FROM json_each(offsync.pull_changes(since, '{note}', client_id => 'phone') -> 'changes' -> 'note') AS lists (list, items),
		json_array_elements(items) AS item
	ORDER BY 1, 2
$$;
SELECT offsync.pull_changes(NULL, '{note}') ->> 'cursor' AS exact \gset
UPDATE note SET gone = now() WHERE id IN (1, 2);
UPDATE note SET gone = NULL WHERE id = 2;
UPDATE note SET part = 1 WHERE id = 3;
UPDATE note SET gone = now(), part = 2 WHERE id = 4;
SELECT * FROM news(:'exact');
SELECT * FROM news(NULL);
-- sync depends on it
\set VERBOSITY sqlstate
ALTER TABLE note RENAME gone TO went;
ALTER TABLE note DROP gone;
\set VERBOSITY default
-- its type may change
ALTER TABLE note ALTER gone TYPE timestamptz;
SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'offsync_internal.note_tombstone'::regclass AND attname = 'gone';
SELECT * FROM news(NULL);
SELECT offsync.pull_changes(NULL, '{note}') ->> 'cursor' AS exact \gset
UPDATE note SET gone = NULL WHERE id = 1;
SELECT * FROM news(:'exact');
SELECT offsync.disable('note');
DROP SCHEMA soft CASCADE;
-- ---------- pushing ----------
CREATE SCHEMA soft;
SET search_path = soft;
GRANT USAGE ON SCHEMA soft TO regress_offsync_ann;
CREATE TABLE note (id text PRIMARY KEY, owner text NOT NULL DEFAULT current_user, title text, deleted_at timestamptz);
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON note USING (owner = current_user);
GRANT SELECT, INSERT, UPDATE ON note TO regress_offsync_ann;
SELECT count(*) > 0 AS enabled FROM offsync.enable('note', soft_delete => 'deleted_at');
INSERT INTO note SELECT id, 'regress_offsync_ann', 'one' FROM unnest('{a,b,c,d,e,f,g}'::text[]) id;
UPDATE note SET deleted_at = 'yesterday' WHERE id IN ('f', 'g');

-- three devices: one that pushes, by cursor or by number, and one that looks on
CREATE FUNCTION news(since text, OUT list text, OUT id text, OUT title text) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT CASE WHEN answer -> 'experimentalStrategy' IS NULL THEN list ELSE 'all anew' END,
		coalesce(item ->> 'id', item #>> '{}'), item ->> 'title'
	FROM offsync.pull_changes(since, '{note}', client_id => 'phone') AS answer,
		json_each(answer -> 'changes' -> 'note') AS lists (list, items), json_array_elements(items) AS item
	ORDER BY 1, 2
$$;
CREATE FUNCTION since() RETURNS TABLE (own text, other text, number text) LANGUAGE sql AS $$
	SELECT answer ->> 'cursor', answer ->> 'cursor', answer ->> 'timestamp'
	FROM offsync.pull_changes(NULL, '{note}') AS answer
$$;
CREATE FUNCTION push(lists text, since text, OUT own text, OUT said text) LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
BEGIN
	answer := offsync.push_changes(json_build_object('note', lists::json), since);
	own := answer ->> 'cursor';
	said := concat_ws(' ', answer -> 'applied' -> 'note',
		'changes: ' || (SELECT string_agg(concat_ws(' ', list, coalesce(item ->> 'id', item #>> '{}'), item ->> 'title'), ', ')
			FROM jsonb_each(answer -> 'changes' -> 'note') AS lists (list, items), jsonb_array_elements(items) AS item));
EXCEPTION WHEN OTHERS THEN
	own := since;
	said := concat_ws(' ', SQLSTATE, SQLERRM);
END $$;
CREATE FUNCTION dead() RETURNS TABLE (id text, lately boolean) LANGUAGE sql
	AS $$ SELECT id, deleted_at > now() - interval '1 hour' FROM note WHERE deleted_at IS NOT NULL ORDER BY id $$;
SET ROLE regress_offsync_ann;

-- a deletion sets the column, takes no privilege to delete, and does nothing to what is deleted already
SELECT * FROM since() \gset
SELECT * FROM push('{"deleted": ["a", "f", "nowhere"]}', :'own') \gset
\echo :said
SELECT * FROM dead();
SELECT * FROM news(:'own');
SELECT * FROM news(:'other');
SELECT * FROM push('{"deleted": ["a"]}', :'own') \gset
\echo :said
SELECT * FROM news(:'own');

-- a device that writes the column itself deletes, too, and is told to remove what it has
SELECT * FROM since() \gset
SELECT * FROM push('{"updated": [{"id": "b", "deleted_at": 1700000000000}], "created": [{"id": "n", "owner": "regress_offsync_ann", "title": "new", "deleted_at": 1700000000000}]}', :'own') \gset
\echo :said
SELECT * FROM news(:'own');
SELECT * FROM news(:'other');
SELECT * FROM news(:'number');
SELECT * FROM dead();
-- whatever becomes of it till then
UPDATE note SET title = title || '+' WHERE id IN ('b', 'n');
SELECT * FROM news(:'own');
SELECT * FROM news(:'number');

-- and brings back: whoever was told that it is gone gets all of it
SELECT * FROM since() \gset
SELECT * FROM push('{"updated": [{"id": "b", "deleted_at": null}]}', :'own') \gset
\echo :said
SELECT * FROM news(:'own');
SELECT * FROM news(:'other');

-- a change to what was deleted since is a conflict; to what was known to be deleted, it brings it back
SELECT * FROM since() \gset
UPDATE note SET deleted_at = now() WHERE id = 'c';
SELECT * FROM push('{"updated": [{"id": "c", "title": "mine"}]}', :'own') \gset
\echo :said
SELECT * FROM since() \gset
SELECT * FROM push('{"updated": [{"id": "c", "title": "mine"}], "created": [{"id": "g", "title": "again"}]}', :'own') \gset
\echo :said
SELECT * FROM news(:'own');
SELECT * FROM news(:'other');
SELECT * FROM dead();

-- deleted by both
SELECT * FROM since() \gset
UPDATE note SET deleted_at = 'yesterday' WHERE id = 'd';
SELECT * FROM push('{"deleted": ["d"]}', :'own') \gset
\echo :said
SELECT * FROM news(:'own');

-- a trigger that soft-deletes what is pushed, in the same transaction
RESET ROLE;
CREATE FUNCTION bin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE note SET deleted_at = now() WHERE id = NEW.id;
	RETURN NULL;
END $$;
CREATE TRIGGER bin AFTER INSERT OR UPDATE OF title ON note FOR EACH ROW WHEN (NEW.title = 'spam') EXECUTE FUNCTION bin();
SET ROLE regress_offsync_ann;
SELECT * FROM since() \gset
SELECT * FROM push('{"updated": [{"id": "b", "title": "spam"}], "created": [{"id": "s", "title": "spam"}]}', :'own') \gset
\echo :said
SELECT * FROM news(:'own');
SELECT * FROM news(:'other');
SELECT * FROM news(:'number');

-- without the privilege to write the column, or with a policy that hides what is written, nothing is deleted
RESET ROLE;
REVOKE UPDATE ON note FROM regress_offsync_ann;
GRANT UPDATE (title) ON note TO regress_offsync_ann;
SET ROLE regress_offsync_ann;
SELECT * FROM since() \gset
SELECT * FROM push('{"deleted": ["e"]}', :'own') \gset
\echo :said
RESET ROLE;
GRANT UPDATE ON note TO regress_offsync_ann;
ALTER POLICY own ON note USING (owner = current_user AND deleted_at IS NULL) WITH CHECK (owner = current_user);
SET ROLE regress_offsync_ann;
SELECT * FROM since() \gset
SELECT * FROM push('{"deleted": ["e"]}', :'own') \gset
\echo :said
RESET ROLE;
SELECT offsync.disable('note');
DROP SCHEMA soft CASCADE;
DROP ROLE regress_offsync_ann, regress_offsync_ben;
