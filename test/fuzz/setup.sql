-- What the fuzzer of the server works on: small tables of all strategies, two users, and the oracles, which answer NULL or
-- say what is wrong.  Every id that begins with "alice" is Alice's alone, for ever, and so with Bob: whoever is told of the
-- other's has found a leak.
\set ON_ERROR_STOP 1
\set QUIET 1
SET client_min_messages = warning;
SELECT format('CREATE ROLE %I', r) FROM unnest('{fuzz_alice,fuzz_bob}'::text[]) r
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) \gexec
DROP SCHEMA IF EXISTS fuzz, fuzz_api CASCADE;
DROP EXTENSION IF EXISTS offsync CASCADE;
CREATE EXTENSION offsync;
CREATE SCHEMA fuzz;
CREATE SCHEMA fuzz_api;
GRANT USAGE ON SCHEMA fuzz, fuzz_api TO fuzz_alice, fuzz_bob;
SET search_path = fuzz;

CREATE TYPE mood AS ENUM ('', 'glad', 'sad');
CREATE TYPE place AS (x int, y text);
CREATE DOMAIN small AS int CHECK (VALUE BETWEEN -99 AND 99);
CREATE TABLE member (who name, project int, PRIMARY KEY (who, project));
CREATE TABLE note (
	id text PRIMARY KEY,
	owner name NOT NULL DEFAULT current_user,
	project int,
	title text,
	n int,
	big bigint,
	f float8,
	num numeric(12, 3),
	flag boolean NOT NULL DEFAULT false,
	at timestamptz,
	day date,
	doc jsonb,
	raw json,
	tags text[],
	blob bytea,
	span int4range,
	ref uuid,
	mood mood,
	place place,
	small small,
	code varchar(4) UNIQUE,
	CHECK (CASE WHEN id ~ '^alice' THEN owner = 'fuzz_alice' AND project IS NULL
		WHEN id ~ '^bob' THEN owner = 'fuzz_bob' AND project IS NULL ELSE true END));
CREATE TABLE item (
	note text REFERENCES note ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE,
	pos int,
	body text,
	PRIMARY KEY (note, pos));
CREATE TABLE merged (id uuid PRIMARY KEY, a text, b int, doc jsonb, tags text[]);
CREATE TABLE timed (id int PRIMARY KEY, body text, user_id name NOT NULL DEFAULT current_user,
	updated_at timestamptz, deleted_at timestamptz);
CREATE TABLE "Od""d ta'ble" (id bigint PRIMARY KEY, "Col ""umn" text, id_ text);
CREATE TABLE asked (id text PRIMARY KEY, body text, n int);
CREATE TABLE clocked (id text PRIMARY KEY, owner name NOT NULL DEFAULT current_user, a text, b int, doc jsonb, gone timestamptz,
	CHECK (CASE WHEN id ~ '^alice' THEN owner = 'fuzz_alice' WHEN id ~ '^bob' THEN owner = 'fuzz_bob' ELSE true END));
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
ALTER TABLE item ENABLE ROW LEVEL SECURITY;
ALTER TABLE clocked ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON clocked USING (owner = current_user OR id !~ '^(alice|bob)');
CREATE POLICY mine ON note USING (owner = current_user OR project IN (SELECT project FROM member WHERE who = current_user));
CREATE POLICY mine ON item USING (note IN (SELECT id FROM note));
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA fuzz TO fuzz_alice, fuzz_bob;
REVOKE INSERT, UPDATE, DELETE ON member FROM fuzz_alice, fuzz_bob;

-- A function that decides is the owner's; this one's isn't a good one.
CREATE FUNCTION decide(base jsonb, local jsonb, server jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
	CASE abs(hashtext(coalesce(local::text, '') || coalesce(server::text, ''))) % 8
		WHEN 0 THEN RETURN NULL;
		WHEN 1 THEN RETURN server;
		WHEN 2 THEN RETURN local || '{"n": 7, "nothing": 1}';
		WHEN 3 THEN RETURN '[]';
		WHEN 4 THEN RETURN '"text"';
		WHEN 5 THEN RAISE EXCEPTION 'the owner''s function fails';
		WHEN 6 THEN RETURN local || '{"id": "other", "n": "x"}';
		ELSE RETURN local;
	END CASE;
END $$;

DO $$
BEGIN
	PERFORM offsync.enable('note', filter_columns => '{project,owner}');
	PERFORM offsync.enable('item', conflict => 'client_wins');
	PERFORM offsync.enable('merged', conflict => 'merge');
	PERFORM offsync.enable('timed', conflict => 'last_write_wins', updated_at => 'updated_at', soft_delete => 'deleted_at');
	PERFORM offsync.enable('"Od""d ta''ble"', collection => 'odd', conflict => 'server_wins');
	PERFORM offsync.enable('asked', conflict => 'fuzz.decide');
	PERFORM offsync.enable('clocked', conflict => 'field_lww', soft_delete => 'gone', columns => '{id,a,b,doc,gone}');
END $$;

INSERT INTO member SELECT w, p FROM unnest('{fuzz_alice,fuzz_bob}'::name[]) w, generate_series(1, 2) p;
INSERT INTO note (id, owner, project, title) SELECT 'n' || i, CASE i % 2 WHEN 0 THEN 'fuzz_alice' ELSE 'fuzz_bob' END, nullif(i % 4, 0), 'first'
	FROM generate_series(1, 6) i;
INSERT INTO note (id, owner) SELECT w || '-' || i, 'fuzz_' || w FROM unnest('{alice,bob}'::text[]) w, generate_series(1, 3) i;
INSERT INTO item SELECT id, 1, 'first' FROM note;
INSERT INTO merged SELECT ('00000000-0000-4000-8000-00000000000' || i)::uuid, 'a', i, '{"k": 1}', '{a,b}' FROM generate_series(1, 5) i;
INSERT INTO timed SELECT i, 'first', 'fuzz_alice', '2024-01-01' FROM generate_series(1, 5) i;
INSERT INTO "Od""d ta'ble" SELECT i, 'first', 'x' FROM generate_series(1, 5) i;
INSERT INTO asked SELECT 'k' || i, 'first', i FROM generate_series(1, 5) i;
INSERT INTO clocked (id, owner, a) SELECT w || '-' || i, 'fuzz_' || w, 'first' FROM unnest('{alice,bob}'::text[]) w, generate_series(1, 2) i;

-- ---------------------------------------------------------------------------
-- Which row versions stand in the tables, for whoever compares them with what stood there before
-- ---------------------------------------------------------------------------
DO $$
BEGIN
	EXECUTE (SELECT format('CREATE FUNCTION fuzz.content() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER AS %L',
		'BEGIN RETURN concat_ws('','', ' || string_agg(format('(SELECT count(*) || '':'' || coalesce(bit_xor(hashtidextended(ctid, 0)), 0) FROM %s t)', r), ', ') || '); END')
		FROM (SELECT tbl AS r FROM offsync_internal.synced_table UNION ALL SELECT tombstone FROM offsync_internal.synced_table) s);
END $$;

CREATE FUNCTION escaped(id text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(CASE WHEN b BETWEEN 48 AND 57 OR b BETWEEN 65 AND 90 OR b BETWEEN 97 AND 122 OR b = 45 THEN chr(b)
		ELSE '_' || upper(lpad(to_hex(b), 2, '0')) END, '' ORDER BY i)
	FROM (SELECT i, get_byte(convert_to(id, 'UTF8'), i) AS b FROM generate_series(0, octet_length(convert_to(id, 'UTF8')) - 1) i) s $$;
-- whoever calls it: what is in that one's sight
CREATE FUNCTION in_sight() RETURNS TABLE (collection text, id text, version bigint) LANGUAGE sql STABLE AS $$
	SELECT 'note', id, server_version FROM note
	UNION ALL SELECT 'item', CASE WHEN note ~ '[^A-Za-z0-9-]' THEN escaped(note) ELSE note END || '.' || pos, server_version FROM item
	UNION ALL SELECT 'merged', id::text, server_version FROM merged
	UNION ALL SELECT 'timed', id::text, server_version FROM timed WHERE deleted_at IS NULL
	UNION ALL SELECT 'odd', id::text, server_version FROM "Od""d ta'ble"
	UNION ALL SELECT 'asked', id, server_version FROM asked
	UNION ALL SELECT 'clocked', id, server_version FROM clocked WHERE gone IS NULL $$;
CREATE FUNCTION stored() RETURNS TABLE (collection text, id text, title text) LANGUAGE sql STABLE SECURITY DEFINER AS $$
	SELECT 'note', id, title FROM note
	UNION ALL SELECT 'item', CASE WHEN note ~ '[^A-Za-z0-9-]' THEN escaped(note) ELSE note END || '.' || pos, body FROM item
	UNION ALL SELECT 'merged', id::text, a FROM merged $$;

-- ---------------------------------------------------------------------------
-- Pushes: all of it or nothing
-- ---------------------------------------------------------------------------
CREATE FUNCTION incomplete(changes json, answer json) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (WITH sent AS MATERIALIZED (
		SELECT regexp_replace(c.key, '^fuzz\.', '') AS collection, l.key AS list, e.value AS record,
			CASE json_typeof(e.value) WHEN 'object' THEN e.value ->> 'id' ELSE e.value #>> '{}' END AS id
		FROM json_each(changes) c, json_each(c.value) l,
			json_array_elements(CASE json_typeof(l.value) WHEN 'array' THEN l.value ELSE '[]' END) e),
	refused AS MATERIALIZED (
		SELECT regexp_replace(r.key, '^fuzz\.', '') AS collection, json_array_elements_text(r.value) AS id
		FROM json_each(answer -> 'experimentalRejectedIds') r),
	taken AS MATERIALIZED (
		SELECT * FROM sent s WHERE id <> '' AND NOT EXISTS (SELECT FROM refused r WHERE (r.collection, r.id) = (s.collection, s.id))),
	gone AS MATERIALIZED (SELECT DISTINCT collection, id FROM taken WHERE list = 'deleted'),
	stays AS MATERIALIZED (
		SELECT * FROM taken t WHERE list <> 'deleted' AND NOT EXISTS (SELECT FROM gone g WHERE (g.collection, g.id) = (t.collection, t.id)))
	SELECT string_agg(problem, '; ') FROM (
		SELECT format('%s %s was taken and is not there', collection, id) AS problem FROM stays t
		WHERE collection IN ('note', 'item', 'merged') AND NOT EXISTS (SELECT FROM stored() s WHERE (s.collection, s.id) = (t.collection, t.id))
			AND (collection <> 'item' OR NOT EXISTS (SELECT FROM gone WHERE collection = 'note'))
		UNION ALL
		SELECT format('note %s: %s, not %s', t.id, s.title, t.record ->> 'title') FROM stays t JOIN stored() s ON s.collection = 'note' AND s.id = t.id
		WHERE t.collection = 'note' AND json_typeof(t.record -> 'title') = 'string' AND t.record -> '_changed' IS NULL
			AND s.title IS DISTINCT FROM t.record ->> 'title'
			AND (SELECT count(*) FROM stays o WHERE (o.collection, o.id) = (t.collection, t.id)) = 1
		UNION ALL
		SELECT format('%s %s was deleted and is there', g.collection, g.id) FROM gone g JOIN in_sight() s ON (s.collection, s.id) = (g.collection, g.id)
		WHERE g.collection IN ('note', 'item', 'merged')) p);
END $$;

-- A push; "ok", the SQLSTATE, or what is wrong.  Twice: the second time must change nothing.
CREATE FUNCTION push(changes text, since text, client text, push_id text, on_error text, dialect text, twice boolean) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	before text := fuzz.content();
	answer json;
	again json;
	state text;
	problem text;
BEGIN
	BEGIN
		answer := offsync.push_changes(changes::json, since, client, push_id, on_error, dialect);
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT;
		state := SQLSTATE;
	END;
	IF state IS NOT NULL THEN
		RETURN CASE WHEN fuzz.content() <> before THEN 'WRONG: an error left something behind, ' ELSE '' END || state || ' ' || problem;
	END IF;
	problem := fuzz.incomplete(changes::json, answer);
	IF problem IS NOT NULL THEN
		RETURN 'WRONG: ' || problem;
	END IF;
	IF twice THEN
		before := fuzz.content();
		again := offsync.push_changes(changes::json, since, client, push_id, on_error, dialect);
		IF fuzz.content() <> before OR again::text <> answer::text THEN
			RETURN 'WRONG: twice is not once';
		END IF;
	END IF;
	RETURN 'ok';
END $$;

-- ---------------------------------------------------------------------------
-- Pulls: what the device holds then is what its user sees, or an error
-- ---------------------------------------------------------------------------
CREATE FUNCTION strategy(answer json, collection text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN coalesce(answer -> 'experimentalStrategy' -> 'override' ->> collection, answer -> 'experimentalStrategy' ->> 'default', 'incremental');
END $$;

CREATE FUNCTION leaks(answer json) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT string_agg(id, ',') FROM (
		SELECT coalesce(e ->> 'id', e #>> '{}') AS id FROM json_each(answer -> 'changes') c, json_each(c.value) l, json_array_elements(l.value) e
		WHERE c.key ~ '(note|item|clocked)$') s
	WHERE id ~ CASE current_user WHEN 'fuzz_alice' THEN '^bob' ELSE '^alice' END);
END $$;

-- What a device of this state holds behind the answer: ids and versions by collection
CREATE FUNCTION apply(state jsonb, answer json) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	called text;
	collection text;
	lists json;
	held jsonb;
BEGIN
	FOR called, lists IN SELECT * FROM json_each(answer -> 'changes') LOOP
		collection := regexp_replace(called, '^fuzz\.', '');
		IF EXISTS (SELECT FROM json_each(lists) l, json_array_elements(l.value) e GROUP BY coalesce(e ->> 'id', e #>> '{}') HAVING count(*) > 1) THEN
			RAISE EXCEPTION 'an id stands twice in one answer' USING ERRCODE = 'XX999';
		END IF;
		held := CASE fuzz.strategy(answer, called) WHEN 'incremental' THEN coalesce(state -> collection, '{}') ELSE '{}' END;
		SELECT held || coalesce(jsonb_object_agg(e ->> 'id', e ->> 'server_version'), '{}') INTO held
		FROM json_each(lists) l, json_array_elements(l.value) e WHERE l.key <> 'deleted';
		state := state || jsonb_build_object(collection, held - ARRAY(SELECT json_array_elements_text(lists -> 'deleted')));
	END LOOP;
	RETURN state;
END $$;

-- Answers of the pages in one
CREATE FUNCTION joined(a json, b json) RETURNS json LANGUAGE sql AS $$
	SELECT (b::jsonb || jsonb_build_object('changes', (
		SELECT jsonb_object_agg(c, (SELECT jsonb_object_agg(l, coalesce(a -> 'changes' -> c -> l, '[]')::jsonb || coalesce(b -> 'changes' -> c -> l, '[]')::jsonb)
			FROM unnest('{created,updated,deleted}'::text[]) l))
		FROM (SELECT json_object_keys(a -> 'changes') UNION SELECT json_object_keys(b -> 'changes')) k(c))))::json $$;

-- An exact pull brings the device what is there; one with a text that no server has given never goes on from it.
CREATE FUNCTION pull(state jsonb, since text, exact boolean, collections text[], client text, dialect text, filters json, max_rows int, cau boolean,
	OUT verdict text, OUT cursor text, OUT number text, OUT holds jsonb) LANGUAGE plpgsql AS $$
DECLARE
	answer json;
	page json;
	truth jsonb;
	problem text;
BEGIN
	BEGIN
		answer := offsync.pull_changes(since, collections, NULL, NULL, client, cau, dialect, filters, max_rows);
		WHILE (answer ->> 'hasMore')::boolean LOOP
			page := offsync.pull_changes(answer ->> 'cursor', collections, NULL, NULL, client, cau, dialect, filters, max_rows);
			answer := fuzz.joined(answer, page);
		END LOOP;
	EXCEPTION WHEN OTHERS THEN
		verdict := SQLSTATE || ' ' || SQLERRM;
		RETURN;
	END;
	IF fuzz.leaks(answer) IS NOT NULL THEN
		verdict := 'WRONG: told of ' || fuzz.leaks(answer);
		RETURN;
	END IF;
	IF NOT exact AND since ~ '^o' AND EXISTS (SELECT FROM json_object_keys(answer -> 'changes') c WHERE fuzz.strategy(answer, c) <> 'replacement') THEN
		verdict := 'WRONG: a forged cursor was followed';
		RETURN;
	END IF;
	cursor := answer ->> 'cursor';
	number := answer ->> 'timestamp';
	verdict := 'ok';
	IF NOT exact AND since !~ '^o' THEN
		cursor := NULL;
		RETURN;
	END IF;
	holds := fuzz.apply(state, answer);
	SELECT coalesce(jsonb_object_agg(c, coalesce(v, '{}')), '{}') INTO truth
	FROM (SELECT regexp_replace(json_object_keys(answer -> 'changes'), '^fuzz\.', '') AS c) k,
		LATERAL (SELECT jsonb_object_agg(s.id, s.version::text) AS v FROM fuzz.in_sight() s WHERE s.collection = c
			AND (filters -> c IS NULL OR s.id IN (SELECT n.id FROM note n
				WHERE n.project::text IN (SELECT json_array_elements_text(filters -> c -> 'project'))))) t;
	SELECT 'WRONG: ' || string_agg(p, '; ') INTO problem FROM jsonb_object_keys(truth) c,
		LATERAL (SELECT format('%s %s is %s and should be %s', c, id, coalesce(holds -> c ->> id, 'missing'), coalesce(truth -> c ->> id, 'missing')) AS p
			FROM (SELECT jsonb_object_keys(holds -> c) UNION SELECT jsonb_object_keys(truth -> c)) i(id)
			WHERE holds -> c ->> id IS DISTINCT FROM truth -> c ->> id) d;
	verdict := coalesce(problem, verdict);
END $$;

-- ---------------------------------------------------------------------------
-- Clocks: what a clock brings twice changes nothing the second time, and nobody is told of others' rows
-- ---------------------------------------------------------------------------
CREATE FUNCTION merge(node text, sent text, messages boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	before text := fuzz.content();
BEGIN
	FOR i IN 1 .. 2 LOOP
		BEGIN
			IF messages THEN PERFORM offsync.push_messages(sent::json); ELSE PERFORM offsync.crdt_merge(node, sent::json); END IF;
		EXCEPTION WHEN OTHERS THEN
			RETURN CASE WHEN fuzz.content() <> before THEN 'WRONG: an error left something behind, ' ELSE '' END || SQLSTATE || ' ' || SQLERRM;
		END;
		IF i = 2 AND fuzz.content() <> before THEN
			RETURN 'WRONG: twice is not once';
		END IF;
		before := fuzz.content();
	END LOOP;
	RETURN 'ok';
END $$;
CREATE FUNCTION told(since text, node text, messages boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ids text[];
BEGIN
	IF messages THEN
		ids := ARRAY(SELECT m ->> 'row' FROM json_array_elements(offsync.pull_messages(CASE WHEN since ~ '^[0-9]{1,15}$' THEN since::bigint END, node, NULL)) m);
	ELSE
		PERFORM offsync.crdt_hello(node);
		ids := ARRAY(SELECT r ->> 'id' FROM json_each(offsync.crdt_changeset(since, node) -> 'changeset') t, json_array_elements(t.value) r);
	END IF;
	RETURN coalesce((SELECT 'WRONG: told of ' || string_agg(id, ',') FROM unnest(ids) id
		WHERE id ~ CASE current_user WHEN 'fuzz_alice' THEN '^bob' ELSE '^alice' END), 'ok');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- ---------------------------------------------------------------------------
-- What others do meanwhile
-- ---------------------------------------------------------------------------
CREATE FUNCTION meanwhile(what int, which int) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	CASE what
		WHEN 0 THEN INSERT INTO member VALUES ('fuzz_alice', which % 4) ON CONFLICT DO NOTHING;
		WHEN 1 THEN DELETE FROM member WHERE who = 'fuzz_alice' AND project = which % 4;
		WHEN 2 THEN INSERT INTO member VALUES ('fuzz_bob', which % 4) ON CONFLICT DO NOTHING;
		WHEN 3 THEN DELETE FROM member WHERE who = 'fuzz_bob' AND project = which % 4;
		WHEN 4 THEN UPDATE note SET title = 'server ' || which WHERE id = 'n' || which % 9;
		WHEN 5 THEN DELETE FROM note WHERE id = 'n' || which % 9;
		WHEN 6 THEN INSERT INTO note (id, owner, project) VALUES ('n' || which % 9, CASE which % 2 WHEN 0 THEN 'fuzz_alice' ELSE 'fuzz_bob' END, which % 4) ON CONFLICT DO NOTHING;
		WHEN 7 THEN UPDATE merged SET a = 'server', b = b + 1 WHERE id::text ~ ((which % 9) || '$');
		WHEN 8 THEN UPDATE timed SET body = 'server', updated_at = now() WHERE id = which % 9;
		WHEN 9 THEN UPDATE "Od""d ta'ble" SET id_ = id_ || 'x' WHERE id = which % 9 AND length(id_) < 9;
		WHEN 10 THEN UPDATE asked SET n = which WHERE id = 'k' || which % 9;
		WHEN 11 THEN UPDATE note SET project = which % 4 WHERE id = 'n' || which % 9;
		WHEN 12 THEN INSERT INTO item VALUES ('n' || which % 9, which % 3, 'server') ON CONFLICT DO NOTHING;
		-- keep the tables small
		WHEN 13 THEN DELETE FROM note WHERE id !~ '^(n[0-9]|(alice|bob)-[0-9])$';
		WHEN 14 THEN DELETE FROM asked WHERE id !~ '^k[0-9]$';
		WHEN 15 THEN DELETE FROM timed WHERE id NOT BETWEEN 0 AND 9;
		WHEN 16 THEN DELETE FROM "Od""d ta'ble" WHERE id NOT BETWEEN 0 AND 9;
		WHEN 18 THEN UPDATE clocked SET a = 'server' WHERE id = 'c' || which % 5;
		WHEN 19 THEN DELETE FROM clocked WHERE id !~ '^((alice|bob)-|c)[0-9]$' OR id = 'c' || which % 20;
		WHEN 17 THEN DELETE FROM merged WHERE id::text !~ '^00000000-0000-4000-8000-00000000000.$';
		ELSE PERFORM offsync.prune('0 seconds');
	END CASE;
	RETURN 'ok';
EXCEPTION WHEN foreign_key_violation OR not_null_violation THEN
	RETURN 'ok';
END $$;

-- The seal that a cursor's bytes would have.
CREATE FUNCTION seal(body bytea) RETURNS bytea LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	key bytea := (SELECT t.* FROM offsync_internal.secret t);
	inner_pad bytea := decode(repeat('36', 64), 'hex');
	outer_pad bytea := decode(repeat('5c', 64), 'hex');
BEGIN
	FOR i IN 0 .. length(key) - 1 LOOP
		inner_pad := set_byte(inner_pad, i, get_byte(key, i) # 54);
		outer_pad := set_byte(outer_pad, i, get_byte(key, i) # 92);
	END LOOP;
	RETURN substr(sha256(outer_pad || sha256(inner_pad || body)), 1, 16);
END $$;

-- ---------------------------------------------------------------------------
-- Names: a table, three columns, a collection, a prefix, a policy, all of which may be anything
-- ---------------------------------------------------------------------------
CREATE FUNCTION scratch(names text[], conflict text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	made regclass;
	cursor text;
	called text;
	answer json;
BEGIN
	EXECUTE format('CREATE TABLE fuzz_api.%I (%I text PRIMARY KEY, %I text, %I timestamptz)', names[1], names[2], names[3], names[4]);
	made := (SELECT oid FROM pg_class WHERE relnamespace = 'fuzz_api'::regnamespace AND relkind = 'r');
	EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', made);
	EXECUTE format('CREATE POLICY %I ON %s USING (%I <> ''x'' OR %I IN (SELECT who::text FROM fuzz.member WHERE who = current_user))',
		names[7], made, names[3], names[2]);
	EXECUTE format('GRANT ALL ON %s TO fuzz_alice', made);
	PERFORM offsync.enable(made, collection => names[5], conflict => scratch.conflict, updated_at => CASE conflict WHEN 'last_write_wins' THEN names[4]::name END,
		soft_delete => CASE WHEN length(names[1]) % 2 = 0 THEN names[4]::name END, filter_columns => ARRAY[names[3]]::name[], index => 'version');
	called := (SELECT collection FROM offsync.status s WHERE s.tbl = made);
	PERFORM offsync.advise(made);
	SET LOCAL ROLE fuzz_alice;
	cursor := offsync.pull_changes(NULL, ARRAY[called], filters => json_build_object(called, json_build_object(names[3], '["a"]'::json))) ->> 'cursor';
	answer := offsync.push_changes(json_build_object(called, json_build_object('created', json_build_array(
		json_build_object('id', 'k1', names[3], 'a'), json_build_object('id', 'k2', names[3], 'a')))), cursor);
	answer := offsync.push_changes(json_build_object(called, json_build_object('updated', json_build_array(json_build_object('id', 'k1', names[3], 'b')),
		'deleted', '["k2"]'::json)), answer ->> 'cursor', on_error => 'skip', dialect => 'json');
	answer := offsync.pull_changes(cursor, ARRAY[called], max_rows => 1);
	IF fuzz.strategy(answer, called) = 'incremental' AND NOT (answer ->> 'hasMore')::boolean
		AND json_array_length(answer -> 'changes' -> called -> 'created') + json_array_length(answer -> 'changes' -> called -> 'updated') <> 1 THEN
		RETURN format('WRONG: %s', answer);
	END IF;
	PERFORM offsync.digest(ARRAY[called]), offsync.reconcile(json_build_object(called, '["k1","k3"]'::json), cursor);
	PERFORM offsync.client_schema(f, ARRAY[called]) FROM unnest('{watermelondb,watermelondb-models,drift,sqlite,typescript}'::text[]) f;
	RESET ROLE;
	PERFORM offsync.explain(made, 'k1', cursor, 'fuzz_alice');
	PERFORM offsync.expose('fuzz_api', d, prefix => names[6], replace => true) FROM unnest('{watermelondb,drift}'::text[]) d;
	PERFORM offsync.disable(made, retire => true);
	RAISE EXCEPTION 'undone' USING ERRCODE = 'PT000';
EXCEPTION
	WHEN SQLSTATE 'PT000' THEN RETURN 'ok';
	WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
