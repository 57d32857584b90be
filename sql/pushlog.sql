-- A push sent again under its push_id, and clients that have only a number.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_pushlog;
CREATE ROLE regress_pushlog;
CREATE SCHEMA pushlog;
GRANT USAGE ON SCHEMA pushlog TO regress_pushlog;
SET search_path = pushlog;
CREATE TABLE memo (id text PRIMARY KEY, title text, hits int NOT NULL DEFAULT 0);
GRANT SELECT, INSERT, UPDATE, DELETE ON memo TO regress_pushlog;
SELECT count(*) > 0 AS enabled FROM offsync.enable('memo');

-- Everything that a push can fail with, in one line.
CREATE FUNCTION failure(changes json, since text DEFAULT NULL, client_id text DEFAULT NULL, push_id text DEFAULT NULL,
	OUT state text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM offsync.push_changes(changes, since, client_id, push_id);
	message := 'stored';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	IF state = 'PT409' THEN
		SELECT string_agg(format('%s %s', c ->> 'id', c ->> 'reason'), ', ') INTO detail
		  FROM json_array_elements(detail::json) c;
	END IF;
END$$;
CREATE FUNCTION number() RETURNS text LANGUAGE sql AS
	$$SELECT offsync.pull_changes(collections => '{memo}') ->> 'timestamp'$$;
CREATE FUNCTION news(since text, client_id text DEFAULT NULL)
	RETURNS TABLE (list text, record text, title text) LANGUAGE sql AS $$
	SELECT l.key, coalesce(r ->> 'id', r #>> '{}'), CASE json_typeof(r) WHEN 'object' THEN r ->> 'title' END
	  FROM json_each(offsync.pull_changes(since, '{memo}', client_id => client_id) -> 'changes' -> 'memo') l,
	       json_array_elements(l.value) r
	 ORDER BY 1, 2$$;
CREATE FUNCTION record(id text, title text) RETURNS json LANGUAGE sql AS
	$$SELECT json_build_object('memo', json_build_object('updated', json_build_array(json_build_object('id', id, 'title', title))))$$;

--
-- Sent again
--

SELECT offsync.pull_changes(collections => '{memo}') ->> 'cursor' AS cursor \gset
SELECT offsync.push_changes('{"memo": {"created": [{"id": "a", "title": "one"}]}}', :'cursor', 'phone', 'p1') AS answer \gset
SELECT :'answer'::json -> 'applied' AS applied;
-- Others write in between: the second time must not write over them.
UPDATE memo SET title = 'theirs' WHERE id = 'a';
SELECT offsync.push_changes('{"memo": {"created": [{"id": "a", "title": "one"}]}}', :'cursor', 'phone', 'p1')::text = :'answer' AS same_answer;
SELECT title FROM memo;
-- Whatever has been pulled since.
SELECT offsync.push_changes('{"memo": {"created": [{"id": "a", "title": "one"}]}}', number(), 'phone', 'p1')::text = :'answer' AS same_answer;
SELECT title FROM memo;
-- The cursor of that answer is as good as it was: what was written since comes.
SELECT * FROM news(:'answer'::json ->> 'cursor');

-- Under the same id, nothing else.
SELECT state, message, hint FROM failure(record('a', 'two'), :'cursor', 'phone', 'p1');
SELECT state, message FROM failure('{"memo":{"created": [{"id": "a", "title": "one"}]}}', :'cursor', 'phone', 'p1');
-- Another device's ids are its own, and so are another user's and another role's.
SELECT offsync.push_changes('{"memo": {"created": [{"id": "b", "title": "pad"}]}}', NULL, 'pad', 'p1') -> 'applied' AS applied;
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub": "u1"}', true);
SELECT offsync.push_changes('{"memo": {"created": [{"id": "c", "title": "u1"}]}}', NULL, 'phone', 'p1') -> 'applied' AS applied;
COMMIT;
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub": "u2"}', true);
SELECT offsync.push_changes('{"memo": {"created": [{"id": "c", "title": "u1"}]}}', NULL, 'phone', 'p1') -> 'applied' AS applied;
COMMIT;
BEGIN;
SET LOCAL ROLE regress_pushlog;
SELECT offsync.push_changes('{"memo": {"created": [{"id": "d", "title": "role"}]}}', NULL, 'phone', 'p1') -> 'applied' AS applied;
COMMIT;
SELECT id, title FROM memo ORDER BY id;

-- The id may come with the request's header; the argument goes first.
BEGIN;
SELECT set_config('request.headers', '{"x-idempotency-key": "p2", "x-other": "p1"}', true);
SELECT offsync.push_changes(record('e', 'header'), NULL, 'phone') -> 'applied' AS applied;
UPDATE memo SET title = 'theirs' WHERE id = 'e';
SELECT offsync.push_changes(record('e', 'header'), NULL, 'phone') -> 'applied' AS applied;
SELECT title FROM memo WHERE id = 'e';
SELECT message FROM failure(record('e', 'argument'), number(), 'phone', 'p3');
COMMIT;
SELECT title FROM memo WHERE id = 'e';
SELECT message FROM failure(record('e', 'header'), NULL, 'phone', 'p2');
SELECT title FROM memo WHERE id = 'e';

-- Without a client_id there is nobody whose id it is.
SELECT * FROM failure(record('a', 'x'), number(), NULL, 'p4');
SELECT state FROM failure(record('a', 'x'), number(), '', 'p4');
BEGIN;
SELECT set_config('request.headers', '{"x-idempotency-key": "p4"}', true);
SELECT state, message FROM failure(record('a', 'x'), number());
COMMIT;
-- Empty is none, as settings of an earlier transaction are.
SELECT set_config('request.headers', '', false), set_config('request.jwt.claims', '', false);
SELECT message FROM failure(record('a', 'x'), number(), '', '');
SELECT state, message, detail FROM failure('{}', NULL, repeat('x', 1001));
SELECT state, message FROM failure('{}', NULL, 'phone', repeat('x', 1001));

-- A push that failed is not remembered: its id may go on to other records.
SELECT message FROM failure('{"memo": {"created": [{"id": "f", "hits": "many"}]}}', NULL, 'phone', 'p5');
SELECT message FROM failure('{"memo": {"created": [{"id": "f", "hits": 1}]}}', NULL, 'phone', 'p5');
BEGIN;
SELECT offsync.push_changes('{"memo": {"created": [{"id": "g"}]}}', NULL, 'phone', 'p6') -> 'applied' AS applied;
ROLLBACK;
SELECT offsync.push_changes('{"memo": {"created": [{"id": "g"}]}}', NULL, 'phone', 'p6') -> 'applied' AS applied;
SELECT count(*) FROM memo WHERE id = 'g';
-- Nor is there anything to remember about one without an id that wrote nothing.
SELECT count(*) AS logged FROM offsync_internal.push_log \gset
SELECT offsync.push_changes('{"memo": {}}', NULL, 'phone') IS NOT NULL AS answered;
SELECT count(*) - :logged AS more FROM offsync_internal.push_log;

-- Nobody reads the log, and no value or id stands in it.
SET ROLE regress_pushlog;
SELECT count(*) FROM offsync_internal.push_log;
RESET ROLE;
SELECT count(*) FROM offsync_internal.push_log l WHERE l::text ~ 'theirs|header|"e"';

--
-- Clients with a number
--

TRUNCATE memo;
INSERT INTO memo VALUES ('mine', 'old'), ('ours', 'old'), ('gone', 'old');
SELECT number() AS n \gset
-- Its own rows are no conflict, though its number doesn't cover them.
SELECT message FROM failure(record('mine', 'one'), :'n', 'phone');
SELECT message, detail FROM failure(record('mine', 'two'), :'n');
SELECT message FROM failure(record('mine', 'two'), :'n', 'phone');
SELECT message FROM failure(record('mine', 'three'), :'n', 'phone');
SELECT message FROM failure('{"memo": {"deleted": ["mine"]}}', :'n', 'phone');
SELECT message FROM failure('{"memo": {"created": [{"id": "mine", "title": "again"}]}}', :'n', 'phone');
-- Those of others are, and its own that others wrote over.
UPDATE memo SET title = 'theirs' WHERE id IN ('mine', 'ours');
SELECT message, detail FROM failure(record('mine', 'x'), :'n', 'phone');
SELECT message, detail FROM failure(record('ours', 'x'), :'n', 'phone');
-- Another device of the same user, another user, another role: all others.
SELECT message FROM failure('{"memo": {"created": [{"id": "new", "title": "phone"}]}}', :'n', 'phone');
SELECT message, detail FROM failure(record('new', 'x'), :'n', 'pad');
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub": "u2"}', true);
SELECT message, detail FROM failure(record('new', 'x'), :'n', 'phone');
COMMIT;
SET ROLE regress_pushlog;
SELECT set_config('request.jwt.claims', '', false);
SELECT message, detail FROM failure(record('new', 'x'), :'n', 'phone');
RESET ROLE;
SELECT message FROM failure(record('new', 'mine again'), :'n', 'phone');

-- A row that its push's transaction wrote, but that it did not send, is not its own.
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN UPDATE pushlog.memo SET hits = hits + 1 WHERE id = 'ours'; RETURN NULL; END$$;
SELECT number() AS n \gset
CREATE TRIGGER touch AFTER INSERT ON memo FOR EACH ROW EXECUTE FUNCTION touch();
SELECT message FROM failure('{"memo": {"created": [{"id": "touching"}]}}', :'n', 'phone');
SELECT message, detail FROM failure(record('ours', 'x'), :'n', 'phone');
DROP TRIGGER touch ON memo;

-- What the log keeps of answers is bounded, and where nobody can ask for it again it keeps none of it.
SELECT offsync.pull_changes(collections => '{memo}') ->> 'cursor' AS cursor \gset
INSERT INTO memo SELECT 'big' || i, repeat('x', 240000 - i * 60000) FROM generate_series(1, 3) i;
CREATE FUNCTION lengthen() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.title := repeat('y', 60000); RETURN NEW; END$$;
CREATE TRIGGER lengthen BEFORE INSERT ON memo FOR EACH ROW EXECUTE FUNCTION lengthen();
SELECT offsync.push_changes('{"memo": {"updated": [{"id": "big1", "title": "z"}, {"id": "big2", "title": "z"}, {"id": "big3", "title": "z"}],
	"created": [{"id": "long1"}, {"id": "long2"}]}}', :'cursor', 'phone', 'bounded', 'skip') AS answer \gset
SELECT r ->> 'id' AS refused, r -> 'current' IS NOT NULL AS told FROM json_array_elements(:'answer'::json -> 'rejected') r;
SELECT r ->> 'id' AS changed FROM json_array_elements(:'answer'::json #> '{changes,memo,updated}') r;
SELECT offsync.push_changes('{"memo": {"created": [{"id": "long3"}]}}', :'cursor', 'phone') -> 'changes' IS NOT NULL AS told;
SELECT push_id IS NOT NULL AS replayable, max(octet_length(concat(cursor, changes, outcome))) BETWEEN 240000 AND 250000 AS bounded,
	count(coalesce(cursor, changes, outcome)) > 0 AS kept FROM offsync_internal.push_log GROUP BY 1 ORDER BY 1;
DROP TRIGGER lengthen ON memo;
DELETE FROM memo WHERE id ~ 'big|long';

-- What a number doesn't cover can be deleted by who says which version it is: a row that is so still.
SELECT number() AS n \gset
INSERT INTO memo VALUES ('dear', 'o'), ('stale', 'o'), ('plain', 'o');
SELECT server_version AS v FROM memo WHERE id = 'dear' \gset
UPDATE memo SET title = 'newer' WHERE id = 'stale';
CREATE FUNCTION deletions(VARIADIC deleted json[]) RETURNS json LANGUAGE sql AS
	$$SELECT json_build_object('memo', json_build_object('deleted', to_json(deleted)))$$;
CREATE FUNCTION version_of(id text, v bigint) RETURNS json LANGUAGE sql AS
	$$SELECT json_build_object('title', json_build_array(), 'server_version', v, 'id', id)$$;
SELECT detail FROM failure(deletions('"plain"', version_of('dear', :v), version_of('stale', :v), version_of('absent', :v)), :'n');
SELECT message, detail FROM failure(deletions('"dear"', version_of('dear', :v), version_of('absent', :v)), :'n');
SELECT detail FROM failure(deletions('{"id": "plain", "server_version": "x"}', '{"id": "stale", "server_version": null}'), :'n');
SELECT id FROM memo WHERE id IN ('dear', 'stale', 'plain') ORDER BY 1;
SELECT offsync.push_changes(deletions('"plain"', version_of('stale', server_version)), :'n', on_error => 'skip') -> 'experimentalRejectedIds' AS refused
  FROM memo WHERE id = 'stale';
SELECT id FROM memo WHERE id IN ('dear', 'stale', 'plain') ORDER BY 1;
DELETE FROM memo WHERE id = 'plain';

-- A restored phone, a second tab: the same client_id, and a number from before.  Nothing is hidden from it.  A
-- number may have come with any of these rows, and a device makes a record anew that comes as created: none does.
SELECT offsync.pull_changes(collections => '{memo}') ->> 'timestamp' AS n \gset
SELECT message FROM failure('{"memo": {"created": [{"id": "twin", "title": "t"}]}}', :'n', 'phone');
INSERT INTO memo VALUES ('other', 'o');
SELECT * FROM news(:'n', 'phone');
SELECT * FROM news(:'n', 'pad');
SELECT * FROM news(:'n');
-- With a cursor whose answer was lost, too; but such a cursor tells what its device has seen, so what another
-- one of the same name, or itself, has pushed behind it is a conflict, until it pulls.
SELECT offsync.pull_changes(collections => '{memo}') ->> 'cursor' AS cursor \gset
SELECT message FROM failure('{"memo": {"created": [{"id": "lost", "title": "t"}]}}', :'cursor', 'phone');
SELECT message, detail FROM failure(record('lost', 'u'), :'cursor', 'phone');
INSERT INTO memo VALUES ('theirs', 'o');
SELECT * FROM news(:'cursor', 'phone');
SELECT * FROM news(:'cursor', 'pad');
SELECT * FROM news(:'cursor');
-- The device has a record that it pushed, whoever wrote that first, or last.
SELECT message FROM failure('{"memo": {"created": [{"id": "theirs", "title": "o"}]}}', :'cursor', 'pad');
UPDATE memo SET title = 'v' WHERE id = 'lost';
SELECT * FROM news(:'cursor', 'pad');
SELECT * FROM news(:'cursor', 'phone');
-- What is forgotten is not known.
SELECT offsync.pull_changes(collections => '{memo}') ->> 'cursor' AS later \gset
INSERT INTO memo VALUES ('last', 'o');
SELECT what, removed > 0 AS removed FROM offsync.prune('0') WHERE what = 'push log';
SELECT * FROM news(:'cursor', 'phone');
SELECT * FROM news(:'later', 'phone');
-- A first sync is one whoever asks.
SELECT list, count(*) FROM news(NULL, 'phone') GROUP BY 1;

SELECT offsync.disable('memo');
DROP SCHEMA pushlog CASCADE;
DROP OWNED BY regress_pushlog;
DROP ROLE regress_pushlog;
