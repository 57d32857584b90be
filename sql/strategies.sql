-- What each conflict strategy makes of a record whose row was changed, or deleted, behind its device's back.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA strat;
SET search_path = strat;
CREATE FUNCTION prefer(base jsonb, local jsonb, server jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE local ->> 'title'
		WHEN 'drop' THEN 'null'::jsonb
		WHEN 'keep' THEN NULL
		WHEN 'fail' THEN jsonb_build_object('points', 'many')
		WHEN 'list' THEN '[]'::jsonb
		ELSE jsonb_build_object('title', concat_ws('|', coalesce(base ->> 'title', '-'),
				coalesce(local ->> 'title', '-'), coalesce(server ->> 'title', '-')),
			'meta', jsonb_build_object('base', base - 'meta', 'at', local -> 'at'))
	END;
END$$;
CREATE FUNCTION no_strategy(jsonb, jsonb, jsonb) RETURNS text LANGUAGE sql AS 'SELECT NULL';

-- A table per strategy, all alike.
CREATE TABLE origin (
	id text PRIMARY KEY,
	title text,
	points numeric,
	at timestamptz,
	tags text[],
	meta jsonb);
CREATE TABLE reject (LIKE origin INCLUDING ALL);
CREATE TABLE client_wins (LIKE origin INCLUDING ALL);
CREATE TABLE server_wins (LIKE origin INCLUDING ALL);
CREATE TABLE last_write_wins (LIKE origin INCLUDING ALL);
CREATE TABLE merge (LIKE origin INCLUDING ALL);
CREATE TABLE asked (LIKE origin INCLUDING ALL);
SELECT count(*) > 0 AS enabled FROM offsync.enable('reject');
SELECT count(*) > 0 AS enabled FROM offsync.enable('client_wins', conflict => 'client_wins');
SELECT count(*) > 0 AS enabled FROM offsync.enable('server_wins', conflict => 'server_wins');
SELECT count(*) > 0 AS enabled FROM offsync.enable('last_write_wins', conflict => 'last_write_wins', updated_at => 'at');
SELECT action, detail FROM offsync.enable('merge', conflict => 'merge') WHERE action = 'column';
SELECT count(*) > 0 AS enabled FROM offsync.enable('asked', conflict => 'prefer');
SELECT collection, conflict FROM offsync.status ORDER BY 1;

--
-- Options
--

SELECT action FROM offsync.enable('last_write_wins', conflict => 'last_write_wins', updated_at => 'at');
SELECT action FROM offsync.enable('asked', conflict => 'strat.prefer');
SELECT * FROM offsync.enable('asked', conflict => 'merge');
SELECT * FROM offsync.enable('last_write_wins', conflict => 'reject', soft_delete => 'at');
SELECT * FROM offsync.enable('origin', conflict => 'function');
SELECT * FROM offsync.enable('origin', conflict => 'no_strategy');
SELECT * FROM offsync.enable('origin', conflict => 'coin toss');
SELECT * FROM offsync.enable('origin', conflict => 'last_write_wins');
SELECT * FROM offsync.enable('origin', updated_at => 'at');
SELECT * FROM offsync.enable('origin', conflict => 'last_write_wins', updated_at => 'title');
SELECT * FROM offsync.enable('origin', conflict => 'last_write_wins', updated_at => 'at', columns => '{id,title}');
SELECT * FROM offsync.enable('origin', conflict => 'last_write_wins', updated_at => 'nothing');
SELECT * FROM offsync.enable('origin', soft_delete => 'id');
SELECT * FROM offsync.enable('origin', soft_delete => 'title');

--
-- The truth table
--

CREATE TABLE outcome (seq serial, client text, server text, strategy text, told text, stored text, pulled text);

-- What is in the table of a strategy, and what a pull brings.
CREATE FUNCTION stored(strategy text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format($q$SELECT string_agg(concat_ws(' ', title, points, tags, meta), ', ' ORDER BY id) FROM %I$q$, strategy) INTO result;
	RETURN coalesce(result, 'nothing');
END$$;
CREATE FUNCTION pulled(strategy text, since text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(key, ',' ORDER BY key), 'nothing')
	  FROM json_each(offsync.pull_changes(since, ARRAY[strategy], dialect => 'json') -> 'changes' -> strategy)
	 WHERE json_array_length(value) > 0$$;

-- A push of this list of one record: what the device is told, and its new cursor.
CREATE FUNCTION push(strategy text, list text, record json, INOUT since text, OUT told text, on_error text DEFAULT 'abort')
	LANGUAGE plpgsql AS $$
DECLARE
	answer json;
BEGIN
	answer := offsync.push_changes(json_build_object(strategy, json_build_object(list, json_build_array(record))),
		since, dialect => 'json', on_error => on_error);
	told := CASE (SELECT sum(value::int) FROM json_each_text(answer -> 'applied' -> strategy)) WHEN 1 THEN 'stored' ELSE 'not stored' END
		|| coalesce(', but see ' || (SELECT string_agg(key, ',') FROM json_each(answer -> 'changes' -> strategy) WHERE json_array_length(value) > 0), '');
	since := answer ->> 'cursor';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS told = PG_EXCEPTION_DETAIL;
	told := CASE SQLSTATE WHEN 'PT409' THEN 'conflict: ' || (told::json -> 0 ->> 'reason')
		ELSE concat_ws(' / ', SQLSTATE, SQLERRM, told) END;
END$$;

-- A dispute: a device pulls, the server changes its row, the device pushes, and pulls.
CREATE PROCEDURE dispute(strategy text, behind text, list text, record json) LANGUAGE plpgsql AS $$
DECLARE
	since text;
	told text;
BEGIN
	EXECUTE format('DELETE FROM %I', strategy);
	EXECUTE format($q$INSERT INTO %I VALUES ('a', 'old', 1, '2024-01-01Z', '{x}', '{"k": 1}')$q$, strategy);
	COMMIT;
	since := offsync.pull_changes(collections => ARRAY[strategy], dialect => 'json') ->> 'cursor';
	COMMIT;
	EXECUTE format(behind, strategy);
	COMMIT;
	SELECT p.since, p.told INTO since, told FROM push(strategy, list, record, since) p;
	COMMIT;
	INSERT INTO outcome (server, client, strategy, told, stored, pulled)
		VALUES (behind, list || ' ' || record, strategy, told, stored(strategy), pulled(strategy, since));
	COMMIT;
END$$;
CREATE PROCEDURE disputes(behind text, list text, record json) LANGUAGE plpgsql AS $$
DECLARE
	s text;
BEGIN
	FOREACH s IN ARRAY '{reject,client_wins,server_wins,last_write_wins,merge,asked}'::text[] LOOP
		CALL dispute(s, behind, list, record);
	END LOOP;
END$$;

-- The same column on both sides.
CALL disputes($$UPDATE %I SET title = 'theirs', at = '2024-01-03Z'$$, 'updated', '{"id": "a", "title": "mine"}');
-- The same, later than the server's.
CALL disputes($$UPDATE %I SET title = 'theirs', at = '2024-01-03Z'$$, 'updated', '{"id": "a", "title": "mine", "at": "2024-01-04T00:00:00Z"}');
-- A tie.
CALL disputes($$UPDATE %I SET title = 'theirs', at = '2024-01-04Z'$$, 'updated', '{"id": "a", "title": "mine", "at": "2024-01-04T00:00:00Z", "_changed": "title"}');
-- Other columns; the record is whole, and says what it changed.
CALL disputes($$UPDATE %I SET title = 'theirs'$$, 'updated', '{"id": "a", "title": "old", "points": 2, "_status": "updated", "_changed": "points"}');
-- The same value on both sides: no dispute.
CALL disputes($$UPDATE %I SET title = 'same'$$, 'updated', '{"id": "a", "title": "same"}');
-- Documents and arrays.
CALL disputes($$UPDATE %I SET tags = '{x,s}', meta = '{"k": 1, "s": {"a": [1]}}'$$, 'updated', '{"id": "a", "tags": ["c", "x"], "meta": {"k": 1, "s": {"a": [1, 2], "b": true}}}');
-- Deleted on the device.
CALL disputes($$UPDATE %I SET title = 'theirs'$$, 'deleted', '{"id": "a"}');
-- Deleted on the server.
CALL disputes($$DELETE FROM %I$$, 'updated', '{"id": "a", "title": "mine", "at": "2024-01-02T00:00:00Z"}');
-- The same by a clock that is ahead of the server's.
CALL disputes($$DELETE FROM %I$$, 'updated', '{"id": "a", "title": "mine", "at": "2100-01-01T00:00:00Z"}');
-- Deleted on both sides.
CALL disputes($$DELETE FROM %I$$, 'deleted', '{"id": "a"}');
SELECT server, client FROM outcome GROUP BY 1, 2 ORDER BY min(seq);
SELECT dense_rank() OVER (ORDER BY min) AS dispute, strategy, told, stored, pulled
  FROM (SELECT *, min(seq) OVER (PARTITION BY server, client) FROM outcome) o ORDER BY seq;

--
-- Merging, closer
--

TRUNCATE outcome;
-- scalars inside a document that contradict each other
CALL dispute('merge', $$UPDATE %I SET meta = '{"k": 2}'$$, 'updated', '{"id": "a", "meta": {"k": 3, "n": 1}}');
CALL dispute('merge', $$UPDATE %I SET meta = '{"k": 2}'$$, 'updated', '{"id": "a", "meta": {"k": 2, "n": 1}}');
CALL dispute('merge', $$UPDATE %I SET meta = NULL$$, 'updated', '{"id": "a", "meta": {"k": 2}}');
-- the server changed two columns, one of them the device's
CALL dispute('merge', $$UPDATE %I SET title = 'theirs', points = 5$$, 'updated', '{"id": "a", "title": "old", "points": 2, "_changed": "points"}');
-- the server changed the device's column and took it back: it can't be told from a change
CALL dispute('merge', $$DO 'BEGIN UPDATE strat.%1$I SET points = 5; UPDATE strat.%1$I SET points = 1; END'$$, 'updated', '{"id": "a", "points": 2}');
SELECT client, told, stored, pulled FROM outcome ORDER BY seq \gx

-- Two devices take turns: each has seen the other's change of before.
DELETE FROM merge;
INSERT INTO merge (id, title, points) VALUES ('a', 't0', 0);
SELECT offsync.pull_changes(collections => '{merge}') ->> 'cursor' AS c0 \gset
SELECT told FROM push('merge', 'updated', '{"id": "a", "title": "t1"}', :'c0');
SELECT told FROM push('merge', 'updated', '{"id": "a", "points": 1}', :'c0');
SELECT told FROM push('merge', 'updated', '{"id": "a", "points": 2}', :'c0');
SELECT id, title, points, cardinality(server_column_versions) AS history FROM merge;
-- the record's own version is as good as a cursor
SELECT server_version AS v FROM merge \gset
UPDATE merge SET title = 't2';
SELECT told FROM push('merge', 'updated', json_build_object('id', 'a', 'points', 3, 'server_version', :v), NULL);
SELECT told FROM push('merge', 'updated', json_build_object('id', 'a', 'title', 't3', 'server_version', :v), NULL);
SELECT id, title, points FROM merge;
-- nobody forges the history, and no device sees it
UPDATE merge SET server_column_versions = '{1 title,1 points}';
SELECT cardinality(server_column_versions) AS history FROM merge;
SELECT offsync.pull_changes(collections => '{merge}') #> '{changes,merge,created,0,server_column_versions}' AS seen;
SELECT told FROM push('merge', 'updated', '{"id": "a", "server_column_versions": ["1 title"], "title": "t4"}', :'c0');

-- A column under another name: whose change it was isn't known any more.
SELECT offsync.pull_changes(collections => '{merge}') ->> 'cursor' AS c1 \gset
UPDATE merge SET title = 't5';
ALTER TABLE merge RENAME title TO heading;
SELECT told FROM push('merge', 'updated', '{"id": "a", "heading": "t6"}', :'c1');
SELECT told FROM push('merge', 'updated', '{"id": "a", "points": 6}', :'c1');
ALTER TABLE merge RENAME heading TO title;

-- The same merge twice is the same as once.
UPDATE merge SET tags = '{a}';
SELECT offsync.pull_changes(collections => '{merge}') ->> 'cursor' AS c1 \gset
UPDATE merge SET tags = '{a,s}';
SELECT told FROM push('merge', 'updated', '{"id": "a", "tags": ["a", "c"]}', :'c1');
SELECT server_version AS v FROM merge \gset
SELECT told FROM push('merge', 'updated', '{"id": "a", "tags": ["a", "c"]}', :'c1');
SELECT tags, server_version = :v AS untouched FROM merge;

--
-- A function
--

TRUNCATE outcome;
CALL dispute('asked', $$UPDATE %I SET points = 3$$, 'updated', '{"id": "a", "title": "keep"}');
CALL dispute('asked', $$UPDATE %I SET points = 3$$, 'updated', '{"id": "a", "title": "drop"}');
CALL dispute('asked', $$UPDATE %I SET points = 3$$, 'updated', '{"id": "a", "title": "fail"}');
CALL dispute('asked', $$UPDATE %I SET points = 3$$, 'updated', '{"id": "a", "title": "list"}');
CALL dispute('asked', $$DELETE FROM %I$$, 'updated', '{"id": "a", "title": "keep"}');
SELECT server, client, told, stored, pulled FROM outcome ORDER BY seq \gx

--
-- Soft deletes
--

CREATE TABLE soft (id text PRIMARY KEY, title text, deleted_at timestamptz);
SELECT count(*) > 0 AS enabled FROM offsync.enable('soft', soft_delete => 'deleted_at');
CREATE VIEW softs AS SELECT id, title, deleted_at IS NOT NULL AS deleted FROM soft ORDER BY id;
SELECT offsync.push_changes('{"soft": {"created": [{"id": "a", "title": "A"}, {"id": "b", "title": "B"}, {"id": "c", "title": "C"}]}}') ->> 'cursor' AS nothing;
SELECT offsync.pull_changes(collections => '{soft}') ->> 'cursor' AS c0 \gset
-- a deletion sets the column, once
SELECT since AS c1, told FROM push('soft', 'deleted', '"a"', :'c0') \gset
SELECT :'told' AS told;
SELECT server_version AS v FROM soft WHERE id = 'a' \gset
SELECT told FROM push('soft', 'deleted', '"a"', :'c1');
SELECT server_version = :v AS untouched FROM soft WHERE id = 'a';
-- so does a device that writes it
SELECT told FROM push('soft', 'updated', '{"id": "b", "title": "B", "deleted_at": 1735689600000}', :'c1');
SELECT * FROM softs;
-- a deleted row is a conflict for who hasn't seen the deletion, and comes back for who has
SELECT told FROM push('soft', 'updated', '{"id": "a", "title": "A2"}', :'c0');
SELECT told FROM push('soft', 'updated', '{"id": "a", "title": "A3"}', :'c1');
SELECT offsync.pull_changes(collections => '{soft}') ->> 'cursor' AS c2 \gset
SELECT told FROM push('soft', 'created', '{"id": "b", "title": "B", "deleted_at": null}', :'c2');
SELECT * FROM softs;
-- a changed row is a conflict for a deletion
UPDATE soft SET title = 'C2' WHERE id = 'c';
SELECT told FROM push('soft', 'deleted', '"c"', :'c2');
SELECT * FROM softs;

DROP SCHEMA strat CASCADE;
