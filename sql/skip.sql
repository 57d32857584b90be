-- on_error => 'skip': bad records are refused one by one, and everything else is stored.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE regress_offsync_cid;
CREATE SCHEMA skip;
GRANT USAGE ON SCHEMA skip TO regress_offsync_cid;
SET search_path = skip;
CREATE TABLE board (
	id text PRIMARY KEY,
	title text NOT NULL CHECK (title <> 'bad'),
	parent_id text REFERENCES board);
CREATE TABLE card (
	id text PRIMARY KEY,
	board_id text REFERENCES board,
	title text,
	points int,
	code text UNIQUE);
SELECT count(*) > 0 AS enabled FROM offsync.enable('board');
SELECT count(*) > 0 AS enabled FROM offsync.enable('card');

-- What was refused and why, what was stored.
CREATE FUNCTION push(changes json, since text DEFAULT NULL,
	OUT collection text, OUT id text, OUT code text, OUT reason text, OUT current text)
	RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	answer json := offsync.push_changes(changes, since, on_error => 'skip');
BEGIN
	RETURN QUERY SELECT r ->> 'collection', r ->> 'id', r ->> 'code', r ->> 'reason', r -> 'current' ->> 'title'
		FROM json_array_elements(answer -> 'rejected') r;
	RETURN QUERY SELECT 'refused', NULL, NULL, answer ->> 'experimentalRejectedIds', NULL;
	RETURN QUERY SELECT 'applied', NULL, NULL, answer ->> 'applied', NULL;
END$$;

-- Nothing to refuse: the answer is as ever.
SELECT (offsync.push_changes('{"board": {"created": [{"id": "b0", "title": "fine"}]}}', on_error => 'skip')::jsonb - 'cursor') AS answer;
SELECT offsync.push_changes('{}', on_error => 'ignore');

-- A constraint, a type, a foreign key, a malformed record: each by itself.
SELECT * FROM push('{
	"board": {"created": [
		{"id": "b1", "title": "one"},
		{"id": "b2", "title": "bad"},
		{"id": "b3", "title": null},
		{"id": "b4", "title": "four"},
		{"title": "without an id"}]},
	"card": {"created": [
		{"id": "c1", "board_id": "b1", "title": "one"},
		{"id": "c2", "board_id": "b2", "title": "its board was refused"},
		{"id": "c3", "board_id": "b9", "title": "its board is nowhere"},
		{"id": "c4", "board_id": "b4", "title": "x", "points": "many"},
		{"id": "c5", "board_id": "b4", "title": "five", "code": "k"},
		{"id": "c6", "board_id": "b4", "title": "six", "code": "k"}]}}');
SELECT id, title FROM board ORDER BY id;
SELECT id, title FROM card ORDER BY id;

-- Rows that refer to each other stay together, however they were parted in the search.
SELECT * FROM push('{"board": {"created": [
	{"id": "r1", "title": "r", "parent_id": "r2"},
	{"id": "r3", "title": "bad", "parent_id": "r2"},
	{"id": "r4", "title": "depends", "parent_id": "r3"},
	{"id": "r5", "title": "depends, too", "parent_id": "r4"},
	{"id": "r6", "title": "an orphan", "parent_id": "r9"},
	{"id": "r2", "title": "r", "parent_id": "r1"}]}}');
SELECT id, parent_id FROM board WHERE id LIKE 'r%' ORDER BY id;

-- Conflicts, and a child of one.
SELECT offsync.pull_changes(collections => '{board,card}') ->> 'cursor' AS since \gset
UPDATE board SET title = 'theirs' WHERE id = 'b1';
DELETE FROM card WHERE id = 'c5';
SELECT * FROM push('{
	"board": {"updated": [{"id": "b1", "title": "mine"}, {"id": "b4", "title": "mine"}]},
	"card": {"updated": [{"id": "c5", "title": "mine"}], "created": [{"id": "c7", "board_id": "b1", "title": "fine"}],
		"deleted": ["c1"]}}', :'since');
SELECT id, title FROM board WHERE id LIKE 'b%' ORDER BY id;
SELECT id, title FROM card ORDER BY id;

-- Deletions: a parent with a child, the same with its child, an id that is none, one that is gone.
CREATE TABLE item (id int PRIMARY KEY, of int REFERENCES item);
SELECT count(*) > 0 AS enabled FROM offsync.enable('item');
INSERT INTO item VALUES (1, NULL), (2, 1), (3, NULL), (4, 3), (5, NULL);
SELECT * FROM push('{"board": {"deleted": ["b1", "b0"]}, "item": {"deleted": ["1", "3", "4", "one", "9", "5"]}}',
	offsync.pull_changes(collections => '{board,card,item}') ->> 'cursor');
SELECT id FROM item ORDER BY id;

-- Many that wait for what doesn't come: parents whose children stay.
CREATE TABLE shelf (id int PRIMARY KEY);
CREATE TABLE book (id int PRIMARY KEY, shelf_id int REFERENCES shelf);
SELECT count(*) > 0 AS enabled FROM offsync.enable('shelf');
SELECT count(*) > 0 AS enabled FROM offsync.enable('book');
INSERT INTO shelf SELECT generate_series(1, 600);
INSERT INTO book SELECT n, n FROM generate_series(1, 600) n WHERE n % 100 <> 0;
SELECT offsync.pull_changes(collections => '{shelf,book}') ->> 'cursor' AS since \gset
SELECT id, code FROM push('{"shelf": {"deleted": ["1", "2", "3", "100", "4"]}}', :'since');
SELECT json_array_length(answer -> 'experimentalRejectedIds' -> 'shelf') AS refused, answer -> 'applied' -> 'shelf' AS applied
	FROM offsync.push_changes((SELECT json_build_object('shelf', json_build_object('deleted', json_agg(n::text)))
		FROM generate_series(1, 600) n), :'since', on_error => 'skip') answer;
SELECT count(*) FROM shelf;

-- Records of one attempt whose rows a later attempt's trigger writes.
CREATE TABLE account (id int PRIMARY KEY, name text, entries int);
CREATE TABLE entry (id int PRIMARY KEY, account_id int, amount int CHECK (amount < 90));
CREATE FUNCTION count_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE account SET entries = entries + 1 WHERE id = NEW.account_id;
	RETURN NULL;
END$$;
CREATE TRIGGER count_entry AFTER INSERT ON entry FOR EACH ROW EXECUTE FUNCTION count_entry();
SELECT count(*) > 0 AS enabled FROM offsync.enable('account');
SELECT count(*) > 0 AS enabled FROM offsync.enable('entry');
INSERT INTO account VALUES (1, 'one', 0), (2, 'two', 0), (3, 'three', 0);
SELECT offsync.pull_changes(collections => '{account,entry}') ->> 'cursor' AS since \gset
UPDATE account SET name = 'theirs' WHERE id = 3;
SELECT answer -> 'experimentalRejectedIds' AS refused, id, entries
	FROM offsync.push_changes('{
		"account": {"updated": [{"id": "1", "name": "one"}, {"id": "2", "name": "two"}, {"id": "3", "name": "mine"}]},
		"entry": {"created": [{"id": "1", "amount": 91}, {"id": "2", "amount": 92}, {"id": "3", "amount": 93},
			{"id": "4", "amount": 94}, {"id": "5", "amount": 95}, {"id": "6", "amount": 6, "account_id": 1},
			{"id": "7", "amount": 7, "account_id": 3}]}}', :'since', on_error => 'skip') answer,
		json_to_recordset(answer -> 'changes' -> 'account' -> 'updated') r(id int, entries int);
SELECT id, name, entries FROM account ORDER BY id;

-- Of a record that contradicts its own id nothing is left, wherever in it that is seen.
CREATE TABLE seat (y int, x int, title text, price int, PRIMARY KEY (y, x));
SELECT count(*) > 0 AS enabled FROM offsync.enable('seat');
SELECT * FROM push('{"seat": {"updated": [
	{"id": "1.1", "price": 3, "title": "aisle", "x": 2},
	{"id": "1.2", "price": 3, "title": "window"},
	{"id": "1.3", "title": "twice"},
	{"id": "1.3", "price": 3, "title": "twice", "y": 9}]}}');
SELECT y, x, title, price FROM seat;

-- AFTER triggers and deferred constraints are one record's, too.
CREATE FUNCTION no_seven() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.id IN (7, 8) THEN
		RAISE EXCEPTION 'seven and eight' USING ERRCODE = 'XY007';
	END IF;
	RETURN NULL;
END$$;
CREATE TRIGGER no_seven AFTER INSERT ON item FOR EACH ROW WHEN (NEW.id = 7) EXECUTE FUNCTION no_seven();
CREATE CONSTRAINT TRIGGER no_seven_later AFTER INSERT ON item DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN (NEW.id = 8) EXECUTE FUNCTION no_seven();
SELECT * FROM push('{"item": {"created": [{"id": 6}, {"id": 7}, {"id": 8}, {"id": "10", "of": 7}]}}');
SELECT id FROM item ORDER BY id;

-- Tables that refer to each other, not deferrable.
CREATE TABLE hen (id int PRIMARY KEY, egg_id int);
CREATE TABLE egg (id int PRIMARY KEY, hen_id int REFERENCES hen);
ALTER TABLE hen ADD FOREIGN KEY (egg_id) REFERENCES egg;
SELECT count(*) > 0 AS enabled FROM offsync.enable('hen');
SELECT count(*) > 0 AS enabled FROM offsync.enable('egg');
SELECT * FROM push('{"hen": {"created": [{"id": 1, "egg_id": 1}, {"id": 2, "egg_id": 9}]},
	"egg": {"created": [{"id": 1, "hen_id": 1}, {"id": 2, "hen_id": 2}]}}');
SELECT hen.id, egg_id FROM hen JOIN egg ON egg.id = egg_id AND hen_id = hen.id;
-- without skipping, too
SELECT offsync.push_changes('{"egg": {"created": [{"id": 3, "hen_id": 3}]}, "hen": {"created": [{"id": 3, "egg_id": 3}]}}') -> 'applied' AS applied;

-- Row-level security: one wording, whether the row is there or not.
CREATE TABLE note (id int PRIMARY KEY, owner name DEFAULT current_user, title text);
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON note USING (owner = current_user);
GRANT SELECT, INSERT, UPDATE (title), DELETE ON note TO regress_offsync_cid;
SELECT count(*) > 0 AS enabled FROM offsync.enable('note');
INSERT INTO note VALUES (1, 'regress_offsync_cid', 'mine'), (2, 'somebody', 'hers');
SET ROLE regress_offsync_cid;
SELECT (push).* FROM (SELECT push('{"note": {
	"updated": [{"id": "1", "title": "ok"}, {"id": "2", "title": "x"}, {"id": "3", "owner": "somebody", "title": "x"}, {"id": "4", "title": "new"}],
	"deleted": ["9"]}}', offsync.pull_changes(collections => '{note}') ->> 'cursor')) p;
SELECT push('{"note": {"updated": [{"id": "1", "owner": "me"}]}}', offsync.pull_changes(collections => '{note}') ->> 'cursor');
RESET ROLE;
SELECT id, owner, title FROM note ORDER BY id;

-- A refused record brings no echo of the others.
SELECT offsync.pull_changes(collections => '{board}') ->> 'cursor' AS since \gset
SELECT offsync.push_changes('{"board": {"created": [{"id": "e1", "title": "x"}, {"id": "e2", "title": "bad"}, {"id": "e3", "title": "x"}]}}',
	:'since', on_error => 'skip') ->> 'cursor' AS after \gset
SELECT offsync.pull_changes(:'after', '{board}') -> 'changes' AS news;

-- What is wrong with the document fails the push; so does what is nobody's fault.
SELECT offsync.push_changes('{"nothing": {"created": []}}', on_error => 'skip');
SELECT offsync.push_changes('{"board": {"created": {}}}', on_error => 'skip');

-- Not one record is stored by halves, and what isn't refused is there: random documents against the truth.
CREATE TABLE node (id int PRIMARY KEY, of int REFERENCES node, value int CHECK (value < 90));
SELECT count(*) > 0 AS enabled FROM offsync.enable('node');
CREATE FUNCTION trial(seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	records json;
	answer json;
	wrong bigint;
BEGIN
	PERFORM setseed(seed / 1000.0);
	DELETE FROM node;
	SELECT json_agg(json_build_object('id', n, 'of', CASE WHEN random() < 0.5 THEN 1 + (random() * 40)::int END,
			'value', (random() * 100)::int)) INTO records FROM generate_series(1, 40) n;
	answer := offsync.push_changes(json_build_object('node', json_build_object('updated', records)), on_error => 'skip');
	-- those that can be stored: all but the bad ones, and whoever refers to one that can't
	WITH RECURSIVE sent AS (SELECT (r ->> 'id')::int AS id, (r ->> 'of')::int AS of, (r ->> 'value')::int AS value
			FROM json_array_elements(records) r),
		refused AS (SELECT id FROM sent WHERE value >= 90 OR of NOT IN (SELECT id FROM sent)
			UNION SELECT s.id FROM sent s JOIN refused r ON s.of = r.id),
		told AS (SELECT value::int AS id FROM json_array_elements_text(answer -> 'experimentalRejectedIds' -> 'node'))
	SELECT count(*) INTO wrong FROM sent s
		LEFT JOIN node n USING (id) LEFT JOIN refused r USING (id) LEFT JOIN told t USING (id)
		WHERE (n.id IS NULL) <> (r.id IS NOT NULL) OR (n.id IS NULL) <> (t.id IS NOT NULL);
	RETURN CASE wrong WHEN 0 THEN 'right' ELSE format('%s wrong: %s', wrong, records) END;
END$$;
SELECT trial, count(*) FROM (SELECT trial(n) FROM generate_series(1, 40) n) t GROUP BY trial;

-- Records whose judge fails, of a table with partitions: their rows are read again for the answer
CREATE FUNCTION fail(jsonb, jsonb, jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$BEGIN RAISE 'no verdict'; END$$;
CREATE TABLE torn (id int PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE torn_1 PARTITION OF torn FOR VALUES FROM (0) TO (100);
SELECT count(*) > 0 AS enabled FROM offsync.enable('torn', conflict => 'skip.fail');
INSERT INTO torn VALUES (1, 'a'), (2, 'b');
SELECT r -> 'id' AS id, r -> 'reason' AS reason, r #> '{current,body}' AS body FROM json_array_elements(offsync.push_changes(
	'{"torn": {"updated": [{"id": 1, "body": "x"}, {"id": 2, "body": "y"}]}}', on_error => 'skip') -> 'rejected') r;

DROP SCHEMA skip CASCADE;
DROP OWNED BY regress_offsync_cid;
DROP ROLE regress_offsync_cid;
