-- What a push stores, what it refuses, and what its answer promises.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA push;
SET search_path = push;
CREATE TABLE board (
	id text PRIMARY KEY,
	title text,
	cards int NOT NULL DEFAULT 0);
CREATE TABLE card (
	id text PRIMARY KEY,
	board_id text REFERENCES board,
	after_id text REFERENCES card,
	title text NOT NULL,
	rank int NOT NULL DEFAULT 7,
	due timestamptz,
	points numeric,
	big bigint,
	label text GENERATED ALWAYS AS ('#' || title) STORED);
SELECT count(*) > 0 AS enabled FROM offsync.enable('board');
SELECT count(*) > 0 AS enabled FROM offsync.enable('card');

-- A device: what it knows, and what the next pull would tell it.
CREATE FUNCTION cursor() RETURNS text LANGUAGE sql AS
	$$SELECT offsync.pull_changes(collections => '{board,card}') ->> 'cursor'$$;
CREATE FUNCTION number() RETURNS text LANGUAGE sql AS
	$$SELECT offsync.pull_changes(collections => '{board,card}') ->> 'timestamp'$$;
CREATE FUNCTION news(since text) RETURNS TABLE (collection text, list text, record text) LANGUAGE sql AS $$
	SELECT c.key, l.key, coalesce(r ->> 'id', r #>> '{}')
	  FROM json_each(offsync.pull_changes(since, '{board,card}', client_id => 'phone') -> 'changes') c,
	       json_each(c.value) l, json_array_elements(l.value) r
	 ORDER BY 1, 2, 3$$;
-- An answer without what differs from run to run.
CREATE FUNCTION told(answer json) RETURNS jsonb LANGUAGE sql AS
	$$SELECT answer::jsonb - 'cursor' - 'timestamp' - 'changes'$$;
-- A failing push: its SQLSTATE, message, detail and hint.
CREATE FUNCTION failure(changes json, since text DEFAULT NULL,
	OUT state text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM offsync.push_changes(changes, since);
	message := 'stored';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	detail := regexp_replace(detail, ' Failing row.*', '');
END$$;
CREATE FUNCTION conflicts(changes json, since text DEFAULT NULL)
	RETURNS TABLE (collection text, id text, reason text, current_title text) LANGUAGE sql AS $$
	SELECT c ->> 'collection', c ->> 'id', c ->> 'reason', c -> 'current' ->> 'title'
	  FROM failure(changes, since) f, json_array_elements(CASE f.state WHEN 'PT409' THEN f.detail::json END) c$$;

--
-- Storing
--

-- Records in any order: children before parents, a row before the one it refers to, lists in any order.
SELECT told(offsync.push_changes('{
	"card": {"updated": [],
		"created": [
			{"id": "c1", "board_id": "b1", "after_id": "c2", "title": "one", "_status": "created", "_changed": ""},
			{"id": "c2", "after_id": "c2", "title": "two", "rank": null, "colour": "red", "size": 3}]},
	"board": {"deleted": ["never was", {"id": "nor was this"}], "created": [{"id": "b1", "title": "B"}]}}'));
SELECT id, board_id, after_id, title, rank, label FROM card ORDER BY id;

-- Only what a record has is written, and NULL can be.
SELECT cursor() AS c \gset
SELECT told(offsync.push_changes('{"card": {"updated": [{"id": "c1", "board_id": null, "rank": 1}]}}', :'c'));
SELECT id, board_id, after_id, title, rank FROM card WHERE id = 'c1';

-- One id twice is one record; where it is deleted as well, the deletion wins.
SELECT told(offsync.push_changes('{"card": {
	"created": [{"id": "c3", "title": "first", "rank": 1}, {"id": "c4", "title": "x"}, {"id": "c3", "title": "second"}],
	"updated": [{"id": "c3", "points": 3}], "deleted": ["c4"]}}', cursor()));
SELECT id, title, rank, points FROM card WHERE id IN ('c3', 'c4');

-- "created" of what is there updates, "updated" of what isn't creates.
SELECT told(offsync.push_changes('{"card": {
	"created": [{"id": "c3", "title": "third"}], "updated": [{"id": "c5", "title": "five"}]}}', cursor()));
SELECT id, title FROM card WHERE id IN ('c3', 'c5') ORDER BY id;

-- An empty push is answered, and so is one of empty collections.
SELECT offsync.push_changes('{}');
SELECT offsync.push_changes('{"card": {"created": [], "updated": null}, "board": {}}');

-- Both rows of a cycle, and both go at once.
SELECT told(offsync.push_changes('{"card": {"created": [
	{"id": "x", "title": "x", "after_id": "y"}, {"id": "y", "title": "y", "after_id": "x"}]}}'));
SELECT told(offsync.push_changes('{"card": {"deleted": ["y", "x"]}}', cursor()));

--
-- Round trip: what comes back as it was sent changes nothing
--
UPDATE card SET due = '2024-02-29 12:00:00.123456+00', points = 1.50, big = 9007199254740993 WHERE id = 'c1';
CREATE TABLE fired (what text);
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO push.fired VALUES (TG_OP || ' ' || NEW.id); RETURN NEW; END$$;
CREATE TRIGGER fire BEFORE INSERT OR UPDATE ON card FOR EACH ROW EXECUTE FUNCTION fire();
SELECT offsync.pull_changes(collections => '{board,card}') -> 'changes' AS changes, cursor() AS c,
	(SELECT max(server_version) FROM card) AS version \gset
SELECT told(offsync.push_changes(:'changes', :'c'));
SELECT * FROM fired;
SELECT max(server_version) = :version AS unmoved FROM card;
-- as JavaScript has it: doubles
SELECT told(offsync.push_changes('{"card": {"updated": [
	{"id": "c1", "due": 1709208000123, "points": 1.5, "big": 9007199254740992}]}}', :'c'));
SELECT * FROM fired;
SELECT id, due AT TIME ZONE 'UTC' AS due, points, big FROM card WHERE id = 'c1';
-- one column changed: the others stay as they are, to the last digit
SELECT told(offsync.push_changes('{"card": {"updated": [
	{"id": "c1", "title": "uno", "due": 1709208000123, "points": 1.5, "big": 9007199254740992}]}}', :'c'));
SELECT * FROM fired;
SELECT title, due AT TIME ZONE 'UTC' AS due, points, big FROM card WHERE id = 'c1';
DROP TRIGGER fire ON card;

--
-- The answer's cursor: the given one and this push, no echo
--
SELECT cursor() AS c, number() AS n \gset
SELECT offsync.push_changes('{"card": {
	"created": [{"id": "c6", "title": "six", "board_id": null, "after_id": null, "rank": 6,
		"due": null, "points": null, "big": null, "label": "#six"}],
	"updated": [{"id": "c3", "rank": 3}], "deleted": ["c5"]}}', :'c') AS answer \gset
SELECT :'answer'::json ->> 'timestamp' = :'n' AS same_number;
SELECT * FROM news(:'c');
-- c3's label is computed, but it didn't change
SELECT * FROM news(:'answer'::json ->> 'cursor');
-- another's commit still comes
INSERT INTO card (id, title) VALUES ('c7', 'other');
SELECT * FROM news(:'answer'::json ->> 'cursor');
-- what the server filled in comes, with the collection's rows of the push
SELECT offsync.push_changes('{"card": {"created": [{"id": "c8", "title": "eight"}]}}', cursor()) ->> 'cursor' AS c \gset
SELECT * FROM news(:'c');
-- and so does what a trigger wrote elsewhere, without an echo of what was sent
CREATE FUNCTION count_cards() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE push.board SET cards = cards + 1 WHERE id = NEW.board_id;
	RETURN NULL;
END$$;
CREATE TRIGGER count_cards AFTER INSERT ON card FOR EACH ROW EXECUTE FUNCTION count_cards();
SELECT offsync.push_changes('{"card": {"created": [{"id": "c9", "title": "nine", "board_id": "b1", "after_id": null, "rank": 6,
	"due": null, "points": null, "big": null, "label": "#nine"}]}}', cursor()) ->> 'cursor' AS c \gset
SELECT * FROM news(:'c');
-- two pushes without a pull between: what the server filled in the first time still comes
SELECT offsync.push_changes('{"card": {"created": [{"id": "c11", "title": "eleven"}]}}', cursor()) ->> 'cursor' AS c \gset
SELECT offsync.push_changes('{"card": {"updated": [{"id": "c11", "title": "XI"}]}}', :'c') ->> 'cursor' AS c \gset
SELECT * FROM news(:'c');
-- a push of a number has no cursor to add to
SELECT number() AS n \gset
SELECT j ->> 'timestamp' = :'n' AS same_number, j ->> 'cursor' AS cursor
  FROM offsync.push_changes('{"card": {"updated": [{"id": "c9", "rank": 9}]}}', :'n') j;
-- in a transaction that had written before, nothing of it is hidden
SELECT cursor() AS c \gset
BEGIN;
INSERT INTO card (id, title) VALUES ('c10', 'ten');
SELECT offsync.push_changes('{"card": {"updated": [{"id": "c9", "rank": 10}]}}', :'c') ->> 'cursor' AS c \gset
COMMIT;
SELECT * FROM news(:'c');

--
-- Conflicts
--
SELECT cursor() AS c, number() AS n \gset
UPDATE card SET title = 'the server''s' WHERE id IN ('c1', 'c2');
DELETE FROM card WHERE id = 'c8';
SELECT * FROM conflicts('{"board": {"updated": [{"id": "b1", "title": "fine"}]},
	"card": {"created": [{"id": "c8", "title": "gone"}], "updated": [{"id": "c1", "title": "mine"}, {"id": "c3", "rank": 33}],
		"deleted": ["c2"]}}', :'c');
SELECT * FROM conflicts('{"card": {"updated": [{"id": "c1", "title": "mine"}, {"id": "c8", "title": "gone"}]}}', :'n');
-- under created, too: all of them are told, and one that was deleted may have come back
SELECT * FROM conflicts('{"card": {"created": [{"id": "c1", "title": "mine"}], "updated": [{"id": "c2", "title": "mine"}]}}', :'c');
INSERT INTO card (id, title) VALUES ('c8', 'the server''s again');
SELECT * FROM conflicts('{"card": {"created": [{"id": "c8", "title": "gone"}]}}', :'c');
DELETE FROM card WHERE id = 'c8';
SELECT * FROM conflicts('{"card": {"updated": [{"id": "c1", "title": "mine"}]}}');
SELECT state, message, hint FROM failure('{"card": {"updated": [{"id": "c1", "title": "mine"}], "deleted": ["c2"]}}', :'c');
-- nothing of all that was stored
SELECT title FROM board;
SELECT id, title, rank FROM card WHERE id IN ('c1', 'c2', 'c3', 'c8') ORDER BY id;
-- no conflict: the same value, or the record's own version says that its row was seen
SELECT told(offsync.push_changes('{"card": {"updated": [{"id": "c1", "title": "the server''s"}]}}', :'c'));
SELECT told(offsync.push_changes(json_build_object('card', json_build_object('updated', json_agg(
		json_build_object('id', id, 'rank', 11, 'server_version', server_version)))), :'c'))
  FROM card WHERE id = 'c1';
-- nor what the device itself has pushed since
SELECT offsync.push_changes('{"card": {"updated": [{"id": "c3", "rank": 34}]}}', :'c') ->> 'cursor' AS c \gset
SELECT told(offsync.push_changes('{"card": {"updated": [{"id": "c3", "rank": 35}]}}', :'c'));
-- a record under created may be there: nothing of it fires, and what it lacks of a new row it needn't have
CREATE FUNCTION announce() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE 'before %', TG_OP; RETURN NEW; END$$;
CREATE TRIGGER announce BEFORE INSERT ON card FOR EACH ROW EXECUTE FUNCTION announce();
SET client_min_messages = notice;
SELECT told(offsync.push_changes('{"card": {"created": [{"id": "c3", "rank": 35}]}}', cursor()));
SET client_min_messages = warning;
DROP TRIGGER announce ON card;
SELECT told(offsync.push_changes('{"card": {"created": [{"id": "c3", "rank": 36}]}}', cursor()));
SELECT told(offsync.push_changes('{"card": {"created": [{"id": "c3", "rank": 35}, {"id": "c2", "points": 2}]}}', cursor()));
-- strings and names as they stand in the document, members in the places of others
SELECT told(offsync.push_changes('{"car\u0064": {"updated": [{"id": "c\u0033", "title": "\u00e4\ud83d\ude00\\u", "rank": 36}]}}', cursor()));
SELECT title, rank FROM card WHERE id = 'c3';
SELECT told(offsync.push_changes('{"card": {"updated": [ {"id":"c3" , "ti\/tle" :1, "title": "a\"b\\\/\b\f\n\r\t\\", "rank": 37},
	{"ti/tle":2,"id":"c2","title":"","points":1,"a\\b":3}, {"a\b":4, "title":"ä", "id":"c1", "a":1, "rank": 3}]}}', cursor()));
SELECT id, to_json(title) AS title, rank, points FROM card WHERE id IN ('c1', 'c2', 'c3') ORDER BY id;
SELECT message FROM failure('{"card": {"updated": [{"id": "c3", "x": {"y": "\u0000"}}]}}', cursor());
-- deleted by others: fine to delete again, and fine to create anew when that was seen
SELECT told(offsync.push_changes('{"card": {"deleted": ["c8"]}}', :'c'));
SELECT told(offsync.push_changes('{"card": {"created": [{"id": "c8", "title": "again"}]}}', cursor()));
-- client_wins, over a row that the device hasn't seen: the rest of the row comes with the next pull
CREATE TABLE pref (id text PRIMARY KEY, a text, b text);
SELECT count(*) > 0 AS enabled FROM offsync.enable('pref', conflict => 'client_wins');
INSERT INTO pref VALUES ('p', 'a0', 'b0'), ('q', 'a0', 'b0');
SELECT offsync.pull_changes(collections => '{pref}') ->> 'cursor' AS c \gset
UPDATE pref SET b = 'server' WHERE id = 'p';
DELETE FROM pref WHERE id = 'q';
SELECT offsync.push_changes('{"pref": {"updated": [{"id": "p", "a": "mine"}, {"id": "q", "a": "mine"}]}}', :'c') ->> 'cursor' AS c \gset
SELECT id, a, b FROM pref ORDER BY id;
SELECT r ->> 'a' AS a, r ->> 'b' AS b
  FROM json_array_elements(offsync.pull_changes(:'c', '{pref}', created_as_updated => true) -> 'changes' -> 'pref' -> 'updated') r ORDER BY 1, 2;
-- the same where that is all of the push: a deleted row comes back without what wasn't sent
SELECT offsync.pull_changes(collections => '{pref}') ->> 'cursor' AS c \gset
DELETE FROM pref WHERE id = 'p';
SELECT offsync.push_changes('{"pref": {"updated": [{"id": "p", "a": "mine"}]}}', :'c') ->> 'cursor' AS c \gset
SELECT r ->> 'id' AS id, r ->> 'a' AS a, r ->> 'b' AS b
  FROM json_array_elements(offsync.pull_changes(:'c', '{pref}', created_as_updated => true) -> 'changes' -> 'pref' -> 'updated') r ORDER BY 1;
-- but not what the device has made itself
SELECT offsync.pull_changes(collections => '{pref}') ->> 'cursor' AS c \gset
SELECT offsync.push_changes('{"pref": {"created": [{"id": "r", "a": "mine"}], "updated": [{"id": "s", "a": "mine"}]}}', :'c') ->> 'cursor' AS c \gset
SELECT offsync.pull_changes(:'c', '{pref}', created_as_updated => true) -> 'changes' AS changes;

--
-- Bad records are named, the first one of them, and nothing is stored
--
SELECT cursor() AS c \gset
SELECT * FROM failure('{"card": {"created": [{"id": "n1", "title": "t"}, {"id": "n2", "title": "t", "rank": "many"}, {"id": "n3", "rank": "x"}]}}', :'c') \gx
SELECT * FROM failure('{"card": {"created": [{"id": "n1", "title": "t"}, {"id": "n2"}, {"id": "n3"}]}}', :'c') \gx
SELECT * FROM failure('{"card": {"updated": [{"id": "c1", "title": "t"}, {"id": "c2", "title": null}]}}', cursor()) \gx
SELECT * FROM failure('{"card": {"created": [{"id": "n1", "title": "t"}, {"id": "n2", "title": "t", "board_id": "no"}, {"id": "n3", "title": "t", "after_id": "no"}]}}', :'c') \gx
SELECT * FROM failure('{"board": {"deleted": ["b0", "b1"]}}', :'c') \gx
SELECT * FROM failure('{"card": {"created": [{"id": "n1", "title": "t", "due": 1e300}]}}', :'c') \gx
-- also where the check comes late: by a trigger, or a deferred constraint
CREATE FUNCTION check_rank() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.rank > 99 THEN
		RAISE EXCEPTION 'rank % is too high', NEW.rank USING ERRCODE = 'P0099', HINT = 'Stay below 100.';
	END IF;
	RETURN NULL;
END$$;
CREATE CONSTRAINT TRIGGER check_rank AFTER INSERT OR UPDATE ON card DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION check_rank();
SELECT * FROM failure('{"card": {"created": [{"id": "n1", "title": "t"}, {"id": "n2", "title": "t", "rank": 100}, {"id": "n3", "title": "t", "rank": 101}]}}', :'c') \gx
DROP TRIGGER check_rank ON card;
-- records without an id, or with one that the server writes otherwise
CREATE TABLE seat (row_no int, place text, guest uuid, id text, PRIMARY KEY (row_no, place));
SELECT count(*) > 0 AS enabled FROM offsync.enable('seat');
SELECT * FROM failure('{"card": {"created": [{"title": "t"}]}}') \gx
SELECT * FROM failure('{"seat": {"created": [{"id": "01.a", "guest": null}]}}') \gx
SELECT * FROM failure('{"seat": {"created": [{"id": "1.a", "place": "b"}]}}') \gx
SELECT * FROM failure('{"seat": {"created": [{"id": "1"}]}}') \gx
SELECT told(offsync.push_changes('{"seat": {"created": [
	{"id": "1.a", "id_": "x"}, {"id": "1.b_20c", "row_no": "", "place": "b c"}, {"row_no": 2, "place": "z", "guest": ""}],
	"deleted": ["1.a"]}}'));
SELECT row_no, place, guest, id FROM seat ORDER BY 1, 2;

-- Arguments
SELECT state, message FROM failure('{"nothing": {}}');
SELECT state, message FROM failure('{"card": {}, "push.card": {}}');
SELECT state, message FROM failure('["card"]');
SELECT state, message FROM failure('{"card": {"created": {}}}');
SELECT state, message FROM failure('{}', 'no cursor');
SELECT offsync.push_changes(NULL);
SELECT offsync.push_changes('{}', on_error => 'ignore');
SELECT offsync.push_changes('{}', dialect => 'yaml');
BEGIN READ ONLY;
SELECT offsync.push_changes('{}');
ROLLBACK;
SELECT count(*) AS stored FROM card WHERE id LIKE 'n%';

--
-- Row-level security and grants decide
--
CREATE ROLE regress_push_ann;
CREATE TABLE note (
	id int PRIMARY KEY,
	owner text NOT NULL DEFAULT current_user,
	body text,
	pinned boolean NOT NULL DEFAULT false,
	hidden text);
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY reading ON note FOR SELECT USING (owner = current_user);
CREATE POLICY writing ON note FOR INSERT WITH CHECK (owner = current_user AND body <> 'rude');
CREATE POLICY changing ON note FOR UPDATE USING (owner = current_user AND NOT pinned) WITH CHECK (owner = current_user);
CREATE POLICY removing ON note FOR DELETE USING (owner = current_user AND NOT pinned);
SELECT count(*) > 0 AS enabled FROM offsync.enable('note');
INSERT INTO note VALUES
	(1, 'regress_push_ann', 'mine', false), (2, 'somebody', 'not hers', false), (3, 'regress_push_ann', 'pinned', true);
GRANT USAGE ON SCHEMA push TO regress_push_ann;
GRANT SELECT (id, owner, body, pinned), INSERT (id, owner, body), UPDATE (body, owner), DELETE ON note TO regress_push_ann;
SET ROLE regress_push_ann;
SELECT offsync.pull_changes(collections => '{note}') ->> 'cursor' AS c \gset
SELECT told(offsync.push_changes('{"note": {"updated": [{"id": 1, "body": "changed"}], "created": [{"id": "4", "body": "new"}]}}', :'c'));
SELECT offsync.pull_changes(collections => '{note}') ->> 'cursor' AS c \gset
-- one wording, whether the row is out of sight, or may not be written
SELECT * FROM failure('{"note": {"updated": [{"id": "1", "body": "x"}, {"id": "2", "body": "x"}, {"id": "3", "body": "x"}]}}', :'c') \gx
SELECT * FROM failure('{"note": {"created": [{"id": "5", "body": "x"}, {"id": "2", "body": "x"}]}}', :'c') \gx
SELECT message FROM failure('{"note": {"created": [{"id": "5", "body": "x"}, {"id": "6", "body": "rude"}]}}', :'c');
SELECT message FROM failure('{"note": {"created": [{"id": "5", "body": "x"}, {"id": "6", "body": "x", "owner": "somebody"}]}}', :'c');
SELECT message FROM failure('{"note": {"updated": [{"id": "3", "body": "x"}]}}', :'c');
SELECT message FROM failure('{"note": {"updated": [{"id": "1", "owner": "somebody"}]}}', :'c');
SELECT message FROM failure('{"note": {"deleted": ["3"]}}', :'c');
-- deleting what is out of sight does nothing, as deleting what isn't there
SELECT told(offsync.push_changes('{"note": {"deleted": ["2", "999"]}}', :'c'));
-- columns without a grant
SELECT message, detail FROM failure('{"note": {"updated": [{"id": "1", "body": "x"}, {"id": "4", "body": "x", "pinned": true}]}}', :'c');
SELECT message FROM failure('{"note": {"updated": [{"id": "1", "hidden": "x"}]}}', :'c');
-- the current row of a conflict has the columns that she may read
RESET ROLE;
UPDATE note SET body = 'changed again', hidden = 'secret' WHERE id = 1;
SET ROLE regress_push_ann;
SELECT detail FROM failure('{"note": {"updated": [{"id": "1", "body": "x"}]}}', :'c');
RESET ROLE;
SELECT id, owner, body, pinned FROM note ORDER BY id;

-- A trigger may turn a deletion into an update: the row comes back.  What it suppresses was not stored.
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		UPDATE push.board SET title = 'kept' WHERE id = OLD.id;
	END IF;
	RETURN NULL;
END$$;
CREATE TRIGGER keep BEFORE DELETE OR UPDATE OF cards ON board FOR EACH ROW EXECUTE FUNCTION keep();
SELECT told(offsync.push_changes('{"board": {"created": [{"id": "b2"}]}}'));
SELECT offsync.push_changes('{"board": {"deleted": ["b2"]}}', cursor()) ->> 'cursor' AS c \gset
SELECT * FROM news(:'c');
SELECT message FROM failure('{"board": {"updated": [{"id": "b2", "cards": 5}]}}', cursor());

-- One that undoes a change moves no version: the collection is replaced; a device that has only a number is told now.
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.b := OLD.b; RETURN NEW; END$$;
CREATE TRIGGER guard BEFORE UPDATE ON pref FOR EACH ROW EXECUTE FUNCTION guard();
SELECT j ->> 'cursor' AS c, j ->> 'timestamp' AS n FROM offsync.pull_changes(collections => '{pref}') j \gset
SELECT offsync.push_changes('{"pref": {"updated": [{"id": "p", "b": "mine"}]}}', :'c') ->> 'cursor' AS c \gset
SELECT offsync.pull_changes(:'c', '{pref}') -> 'experimentalStrategy' AS strategy;
SELECT message FROM failure('{"pref": {"updated": [{"id": "p", "b": "mine"}]}}', :'n');
SELECT told(offsync.push_changes('{"pref": {"updated": [{"id": "p", "a": "anew", "b": "mine"}]}}', :'n'));

DROP SCHEMA push CASCADE;
DROP ROLE regress_push_ann;
