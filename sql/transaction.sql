-- One call is meant to be one transaction.  What a transaction writes before or behind a push
-- reaches the device all the same.
CREATE ROLE regress_offsync_tina;
CREATE SCHEMA tx;
GRANT USAGE ON SCHEMA tx TO regress_offsync_tina;
CREATE TABLE tx.note (id text PRIMARY KEY, owner text NOT NULL DEFAULT current_user, title text);
ALTER TABLE tx.note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON tx.note USING (owner = current_user) WITH CHECK (true);
GRANT ALL ON tx.note TO regress_offsync_tina;
INSERT INTO tx.note VALUES ('a', 'regress_offsync_tina', 'one'), ('b', 'regress_offsync_tina', 'two');
SELECT count(*) > 0 AS enabled FROM offsync.enable('tx.note');

-- what a pull brings, without what changes from run to run
CREATE FUNCTION tx.news(cursor text) RETURNS TABLE (list text, id text, title text) LANGUAGE sql AS $$
	SELECT list, coalesce(item ->> 'id', item #>> '{}'), item ->> 'title'
	FROM (SELECT offsync.pull_changes(cursor, '{note}')) AS answer (body),
		json_each(body -> 'changes' -> 'note') AS lists (list, items), json_array_elements(items) AS item
	UNION ALL
	SELECT 'strategy', NULL, offsync.pull_changes(cursor, '{note}') -> 'experimentalStrategy' -> 'override' ->> 'note'
	WHERE offsync.pull_changes(cursor, '{note}') -> 'experimentalStrategy' IS NOT NULL
	ORDER BY 1, 2
$$;
CREATE FUNCTION tx.push(changes json, cursor text) RETURNS text LANGUAGE sql AS $$
	SELECT offsync.push_changes(changes, cursor) ->> 'cursor'
$$;
SET ROLE regress_offsync_tina;
SELECT offsync.pull_changes(NULL, '{note}') ->> 'cursor' AS start \gset

-- a push alone: no echo
SELECT tx.push('{"note": {"created": [{"id": "c", "owner": "regress_offsync_tina", "title": "three"}]}}', :'start') AS alone \gset
SELECT * FROM tx.news(:'alone');

-- written behind it: all of the transaction comes
BEGIN;
SELECT tx.push('{"note": {"updated": [{"id": "a", "title": "one, pushed"}]}}', :'alone') AS behind \gset
UPDATE tx.note SET title = 'two, written behind' WHERE id = 'b';
COMMIT;
SELECT * FROM tx.news(:'behind');

-- written before it
SELECT offsync.pull_changes(:'behind', '{note}') ->> 'cursor' AS start \gset
BEGIN;
UPDATE tx.note SET title = 'two, written before' WHERE id = 'b';
SELECT tx.push('{"note": {"updated": [{"id": "a", "title": "one, once more"}]}}', :'start') AS before \gset
COMMIT;
SELECT * FROM tx.news(:'before');

-- a row pushed and taken away behind the push leaves no tombstone: the collection is replaced
SELECT offsync.pull_changes(:'before', '{note}') ->> 'cursor' AS start \gset
BEGIN;
SELECT tx.push('{"note": {"created": [{"id": "d", "owner": "regress_offsync_tina", "title": "four"}]}}', :'start') AS gone \gset
DELETE FROM tx.note WHERE id = 'd';
COMMIT;
SELECT * FROM tx.news(:'gone');

-- two devices pushed for in one transaction: each gets the other's
SELECT offsync.pull_changes(:'gone', '{note}') ->> 'cursor' AS start \gset
BEGIN;
SELECT tx.push('{"note": {"updated": [{"id": "a", "title": "one, by the first"}]}}', :'start') AS first \gset
SELECT tx.push('{"note": {"updated": [{"id": "b", "title": "two, by the second"}]}}', :'start') AS second \gset
COMMIT;
SELECT * FROM tx.news(:'first');
SELECT * FROM tx.news(:'second');

-- a push rolled back to a savepoint leaves nothing behind
SELECT offsync.pull_changes(:'second', '{note}') ->> 'cursor' AS start \gset
BEGIN;
SAVEPOINT s;
SELECT tx.push('{"note": {"updated": [{"id": "a", "title": "never"}]}}', :'start') AS never \gset
ROLLBACK TO s;
SELECT tx.push('{"note": {"updated": [{"id": "b", "title": "after all"}]}}', :'start') AS after \gset
COMMIT;
SELECT * FROM tx.news(:'start');
SELECT DISTINCT id, title FROM tx.news(:'after') WHERE id = 'b';

RESET ROLE;
SELECT offsync.disable('tx.note');
DROP SCHEMA tx CASCADE;
DROP ROLE regress_offsync_tina;
