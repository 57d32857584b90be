-- Push and pull in one call.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA sync;
SET search_path = sync;
CREATE TABLE shelf (id text PRIMARY KEY, title text, items int NOT NULL DEFAULT 0);
CREATE TABLE book (id text PRIMARY KEY, shelf_id text REFERENCES shelf, title text);
SELECT count(*) > 0 AS enabled FROM offsync.enable('shelf');
SELECT count(*) > 0 AS enabled FROM offsync.enable('book');
INSERT INTO shelf VALUES ('l', 'list');

-- A device: the answer of its last sync, and what came with it.
CREATE TABLE device (name text PRIMARY KEY, cursor text, number text);
CREATE FUNCTION records(answer json, OUT collection text, OUT list text, OUT record text)
	RETURNS SETOF record LANGUAGE sql AS $$
	SELECT c.key, l.key, coalesce(r ->> 'id', r #>> '{}')
	  FROM json_each(answer -> 'changes') c, json_each(c.value) l, json_array_elements(l.value) r
	 ORDER BY 1, 2, 3$$;
CREATE FUNCTION sync(whose text, changes json DEFAULT '{}', by_number boolean DEFAULT false, client_id text DEFAULT NULL,
	push_id text DEFAULT NULL)
	RETURNS TABLE (collection text, list text, record text) LANGUAGE plpgsql AS $$
DECLARE
	answer json;
BEGIN
	SELECT offsync.sync_changes(changes, CASE WHEN by_number THEN d.number ELSE d.cursor END, '{shelf,book}', coalesce(sync.client_id, whose), sync.push_id)
	  INTO STRICT answer FROM device d WHERE d.name = whose;
	UPDATE device SET cursor = answer ->> 'cursor', number = answer ->> 'timestamp' WHERE name = whose;
	RETURN QUERY SELECT * FROM records(answer);
END$$;
INSERT INTO device VALUES ('exact'), ('number');
SELECT * FROM sync('exact');
SELECT * FROM sync('number');

-- The answer: a pull's, with what the push tells.
SELECT offsync.sync_changes('{"shelf": {"created": [{"id": "m", "title": "mine", "items": 0, "colour": "red"}]}}', cursor, '{shelf,book}')::jsonb
	- 'cursor' - 'timestamp' AS answer FROM device WHERE name = 'exact';
-- What others wrote comes, and its own does not, now or later.
INSERT INTO shelf VALUES ('o', 'other');
SELECT * FROM sync('exact', '{"shelf": {"created": [{"id": "n", "title": "new", "items": 0}], "updated": [{"id": "l", "title": "edited"}]}, "book": {"created": [{"id": "i", "shelf_id": "n"}]}}');
SELECT * FROM sync('exact');
SELECT * FROM sync('exact', '{"book": {"deleted": ["i"]}}');
SELECT * FROM sync('exact');
-- Nor with a number, as long as no older transaction is open.
SELECT * FROM sync('number');
SELECT * FROM sync('number', '{"shelf": {"created": [{"id": "p", "title": "by number", "items": 0}]}}', true);
SELECT * FROM sync('number', by_number => true);
INSERT INTO shelf VALUES ('q', 'other');
SELECT * FROM sync('number', '{"shelf": {"updated": [{"id": "p", "title": "again"}], "deleted": ["n"]}}', true);
SELECT * FROM sync('number', by_number => true);
SELECT * FROM sync('exact');

-- What is stored otherwise than it was sent, or was not sent at all, comes at once, and once.
CREATE FUNCTION tally() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN UPDATE sync.shelf SET items = items + 1 WHERE id = NEW.shelf_id; RETURN NULL; END$$;
CREATE TRIGGER tally AFTER INSERT ON book FOR EACH ROW EXECUTE FUNCTION tally();
SELECT * FROM sync('exact', '{"book": {"created": [{"id": "j", "shelf_id": "l", "title": "counted"}]}}');
SELECT * FROM sync('exact');
SELECT * FROM sync('number', by_number => true);
SELECT * FROM sync('number', '{"book": {"created": [{"id": "k", "shelf_id": "l", "title": "counted"}]}}', true);
SELECT * FROM sync('number', by_number => true);
DROP TRIGGER tally ON book;

-- The same as the two calls.
SELECT cursor FROM device WHERE name = 'exact' \gset
UPDATE shelf SET title = 'theirs' WHERE id = 'o';
BEGIN;
SELECT offsync.sync_changes('{"shelf": {"updated": [{"id": "q", "title": "mine"}]}}', :'cursor', '{shelf,book}') -> 'changes' AS one_call \gset
ROLLBACK;
SELECT offsync.push_changes('{"shelf": {"updated": [{"id": "q", "title": "mine"}]}}', :'cursor') ->> 'cursor' AS pushed \gset
SELECT offsync.pull_changes(:'pushed', '{shelf,book}') -> 'changes' AS two_calls \gset
SELECT :'one_call' = :'two_calls' AS same, :'one_call' LIKE '%theirs%' AS news;

-- A transaction that had written before: its rows come, too.
SELECT * FROM sync('exact');
BEGIN;
UPDATE shelf SET title = 'by hand' WHERE id = 'm';
SELECT * FROM sync('exact', '{"shelf": {"updated": [{"id": "l", "title": "sent"}]}}');
COMMIT;
SELECT * FROM sync('exact');
-- One that writes behind its sync: no promise is broken.
BEGIN;
SELECT * FROM sync('exact', '{"shelf": {"updated": [{"id": "l", "title": "sent again"}]}}');
UPDATE shelf SET title = 'by hand again' WHERE id = 'm';
COMMIT;
SELECT * FROM sync('exact');
-- And one that never was.
BEGIN;
SELECT offsync.sync_changes('{"shelf": {"updated": [{"id": "l", "title": "undone"}]}}', cursor, '{shelf,book}') ->> 'cursor' AS undone
  FROM device WHERE name = 'exact' \gset
ROLLBACK;
SELECT * FROM sync('exact');
SELECT title FROM shelf WHERE id = 'l';

-- In one snapshot for the whole transaction.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM sync('exact', '{"shelf": {"updated": [{"id": "l", "title": "repeatable"}]}}');
SELECT * FROM sync('number', '{"shelf": {"updated": [{"id": "l", "title": "repeatable 2"}]}}', false);
COMMIT;
SELECT * FROM sync('exact');

-- Sent again: pushed once, and pulled from where that push had brought the client.
SELECT cursor FROM device WHERE name = 'exact' \gset
SELECT * FROM sync('exact', '{"shelf": {"updated": [{"id": "l", "title": "once"}]}}', client_id => 'phone', push_id => 's1');
UPDATE shelf SET title = 'theirs' WHERE id = 'l';
UPDATE device SET cursor = :'cursor' WHERE name = 'exact';
SELECT * FROM sync('exact', '{"shelf": {"updated": [{"id": "l", "title": "once"}]}}', client_id => 'phone', push_id => 's1');
SELECT title FROM shelf WHERE id = 'l';
SELECT * FROM sync('exact');

-- A first sync that brings something.
INSERT INTO device VALUES ('fresh');
SELECT * FROM sync('fresh', '{"shelf": {"created": [{"id": "z", "title": "first", "items": 0}]}}') WHERE collection = 'shelf';
SELECT * FROM sync('fresh');

-- What fails, fails as a whole, whichever half it is.
SELECT offsync.sync_changes(NULL);
SELECT offsync.sync_changes('{"shelf": {"created": [{"id": "y"}]}}', 'nonsense');
SELECT offsync.sync_changes('{"shelf": {"created": [{"id": "y"}]}}', collections => '{nothing}');
SELECT offsync.sync_changes('{"shelf": {"created": [{"id": "y"}]}}', migration => '[]');
SELECT offsync.sync_changes('{"shelf": {"created": [{"id": "y"}]}}', dialect => 'klingon');
SELECT count(*) FROM shelf WHERE id = 'y';
BEGIN READ ONLY;
SELECT offsync.sync_changes('{}');
ROLLBACK;

SELECT offsync.disable('book');
SELECT offsync.disable('shelf');
DROP SCHEMA sync CASCADE;
