-- Names that want to be something else: quotes of all kinds, dots, backslashes, line ends, formats, fragments of SQL and JSON, 63 bytes,
-- our own.  Each is in its turn the name of a schema, a table, its key, a column that policies read, policies, indexes, triggers,
-- partitions, roles and functions, and goes through everything.
\ir begin.psql
CREATE SCHEMA hostile;
SET search_path = hostile, public;
SELECT no_plan();

CREATE TABLE names (i serial, n text);
INSERT INTO names (n) VALUES
	('a"b'), ('a''b'), ('a.b'), ('"'), (''''), ('a\b'), ('\'), ('\"'), (E'a\nb'), (E'\n'), (E'tab\there'), (E'\r\n'), (E'\x01\x7f'), (' '), (' a '),
	('%s'), ('%I%L%%'), ('%n%d%s%s%s%s'), ('$1'), ('$$'), ('$do$'), ('{}'), ('{a,b}'), ('[]'), ('(a, b)'), ('a,b'), ('a;b'), ('NULL'), ('null'), ('true'), ('select'), ('SELECT'), ('user'), ('CaSe'),
	('''; DROP TABLE hostile.names; --'), ('"; DROP TABLE hostile.names; --'), ('x"); DROP TABLE hostile.names; --'), ('--'), ('/*'), ('*/'), ('a=b'), ('::int'), ('t.*'), ('*'), ('&'), ('<b>'), ('a:b'), ('@'), ('#'), ('~'), ('?'),
	('id'), ('_status'), ('_changed'), ('__proto__'), ('created'), ('deleted'), ('t'), ('d'), ('n'), ('old'), ('new'), ('offsync$t$1'), ('offsync$version'), ('offsync'), ('offsync_delete'), ('zzzz_offsync_stamp'),
	('é'), ('ÄÖÜ'), ('日本語'), ('😀'), (E'e\u0301'), (E'\u202e'), (E'\u00a0'), (E'\ufeff'), (repeat('x', 63)), (repeat('ü', 31) || 'x'), (repeat('"', 63)), (repeat('\', 63)), (repeat('😀', 15) || 'xyz'),
	('{"a": 1}'), ('\u0000'), ('\x41'), ('0'), ('1e10'), ('-1'), ('2020-01-01');

-- A second name beside it, of 63 bytes at most
CREATE FUNCTION other(n text, c text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$BEGIN
	WHILE octet_length(n || c) > 63 LOOP n := left(n, -1); END LOOP;
	RETURN n || c; END$$;
CREATE TABLE faults (n text, what text, got text, want text);
CREATE TABLE seen (n text, what text);
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
GRANT INSERT ON faults, seen TO PUBLIC;
CREATE FUNCTION compare(n text, what text, got text, want text) RETURNS void LANGUAGE plpgsql AS $$BEGIN
	INSERT INTO seen VALUES (n, what);
	IF got IS DISTINCT FROM want THEN INSERT INTO faults VALUES (n, what, got, want); END IF; END$$;
CREATE FUNCTION try(sql text) RETURNS text LANGUAGE plpgsql AS $$DECLARE t text; BEGIN
	EXECUTE sql INTO t; RETURN t; EXCEPTION WHEN OTHERS THEN RETURN 'failed: ' || SQLSTATE || ' ' || SQLERRM; END$$;
CREATE FUNCTION done(sql text) RETURNS text LANGUAGE plpgsql AS $$BEGIN EXECUTE sql; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN 'failed: ' || SQLSTATE || ' ' || SQLERRM; END$$;
-- ids of created, updated, deleted
CREATE FUNCTION told(answer json, c text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' / ', coalesce((SELECT string_agg(r ->> 'id', ',' ORDER BY r ->> 'id') FROM json_array_elements(d -> 'created') r), ''),
		coalesce((SELECT string_agg(r ->> 'id', ',' ORDER BY r ->> 'id') FROM json_array_elements(d -> 'updated') r), ''),
		coalesce((SELECT string_agg(r #>> '{}', ',' ORDER BY r #>> '{}') FROM json_array_elements(d -> 'deleted') r), ''),
		answer -> 'experimentalStrategy' -> 'override' ->> c)
	FROM (SELECT answer -> 'changes' -> c AS d) x$$;

-- Every step is a transaction
CREATE PROCEDURE go(n text, i int) LANGUAGE plpgsql AS $$
DECLARE
	schema text := other(n, 's'); role text := other(n, 'r'); rest text := other(n, '2'); late text := other(n, '3');
	tbl text := format('%I.%I', schema, n);
	c text := 'c' || i;
	cursor text; number text; got text;
	me text := current_user;
	step text;
	as_me text := format('SET LOCAL ROLE %I', role);
BEGIN
	FOREACH step IN ARRAY ARRAY[
		format('CREATE SCHEMA %I', schema), format('CREATE ROLE %I', role), format('GRANT USAGE ON SCHEMA %I TO %I', schema, role),
		format('CREATE TABLE %s (%I text, %I text NOT NULL, %I int DEFAULT 1, PRIMARY KEY (%I)) PARTITION BY HASH (%I)', tbl, n, rest, other(n, '4'), n, n),
		format('CREATE TABLE %I.%I PARTITION OF %s FOR VALUES WITH (MODULUS 1, REMAINDER 0)', schema, other(n, 'p'), tbl),
		format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tbl),
		format('CREATE POLICY %I ON %s USING (%I = current_user OR %I = %L) WITH CHECK (true)', n, tbl, rest, rest, 'free'),
		format('CREATE TABLE %I.%I (%I name)', schema, other(n, 'm'), n),
		format('CREATE POLICY %I ON %s FOR SELECT TO %I USING (%I IN (SELECT m.%I FROM %I.%I m))', rest, tbl, role, rest, n, schema, other(n, 'm')),
		format('CREATE INDEX %I ON %s (%I)', other(n, 'i'), tbl, rest),
		format('CREATE FUNCTION %I.%I() RETURNS trigger LANGUAGE plpgsql AS %L', schema, n, 'BEGIN RETURN NULL; END'),
		format('CREATE TRIGGER %I AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION %I.%I()', other(n, 't'), tbl, schema, n),
		format('CREATE FUNCTION %I.%I(jsonb, jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS %L', schema, other(n, 'f'), 'SELECT $2'),
		format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', tbl, role), format('GRANT SELECT ON %I.%I TO %I', schema, other(n, 'm'), role),
		format('GRANT EXECUTE ON FUNCTION %I.%I(jsonb, jsonb, jsonb) TO %I', schema, other(n, 'f'), role)]
	LOOP EXECUTE step; END LOOP;
	COMMIT;
	PERFORM compare(n, 'enable', try(format('SELECT min(action) FROM offsync.enable(%L, %L, conflict => %L, filter_columns => ARRAY[%L::name], notify => true)', tbl, c,
		-- whose name has no blanks, to be told from a misspelt strategy
		CASE WHEN n ~ E'[ \t\r\n]' THEN 'client_wins' ELSE format('%I.%I', schema, other(n, 'f')) END, other(n, '4'))), 'collection');
	COMMIT;
	EXECUTE format('INSERT INTO %s SELECT g, CASE g WHEN %L THEN %L ELSE %L END FROM unnest(%L::text[]) g', tbl, 'k3', 'nobody', role, '{k1,k2,k3,k4}');
	COMMIT;
	EXECUTE as_me;
	SELECT told(p, c), p ->> 'cursor', p ->> 'timestamp' INTO got, cursor, number FROM offsync.pull_changes(NULL, ARRAY[c]) p;
	COMMIT;
	PERFORM compare(n, 'first pull', got, 'k1,k2,k4 /  / ');
	EXECUTE format('UPDATE %s SET %I = 5 WHERE %I = %L', tbl, other(n, '4'), n, 'k1');
	EXECUTE format('DELETE FROM %s WHERE %I = %L', tbl, n, 'k2');
	EXECUTE format('UPDATE %s SET %I = %L WHERE %I = %L', tbl, rest, 'nobody', n, 'k4');
	COMMIT;
	EXECUTE as_me;
	PERFORM compare(n, 'delta', try(format('SELECT told(offsync.pull_changes(%L, ARRAY[%L]), %L)', cursor, c, c)), ' / k1 / k2,k4');
	PERFORM compare(n, 'delta by number', replace(try(format('SELECT told(offsync.pull_changes(%L, ARRAY[%L]), %L)', number, c, c)), ' / replacement', ''), ' / k1 / k2,k4');
	COMMIT;
	EXECUTE format('INSERT INTO %I.%I VALUES (%L)', schema, other(n, 'm'), 'nobody');
	COMMIT;
	EXECUTE as_me;
	PERFORM compare(n, 'a set', (try(format('SELECT told(offsync.pull_changes(%L, ARRAY[%L]), %L)', cursor, c, c)) ~ 'k3')::text, 'true');
	PERFORM compare(n, 'filtered', try(format('SELECT told(offsync.pull_changes(NULL, ARRAY[%L], filters => %L), %L)', c, json_build_object(c, json_build_object(other(n, '4'), json_build_array(1))), c)), 'k3,k4 /  / ');
	PERFORM compare(n, 'pages', try(format('SELECT told(offsync.pull_changes(NULL, ARRAY[%L], max_rows => 1), %L)', c, c)), 'k1 /  / ');
	SELECT p ->> 'cursor' INTO cursor FROM offsync.pull_changes(NULL, ARRAY[c]) p;
	COMMIT;
	EXECUTE as_me;
	PERFORM compare(n, 'push', try(format('SELECT p -> %L ->> %L FROM offsync.push_changes(%L, %L, %L, %L, %L) p', 'applied', c, json_build_object(c, json_build_object(
		'created', json_build_array(json_build_object('id', n, rest, role), json_build_object('id', 'plain', rest, role)),
		'updated', json_build_array(json_build_object('id', 'k1', other(n, '4'), 7)), 'deleted', json_build_array('k4'))), cursor, n, n, 'skip')), '{"created":2,"updated":1,"deleted":0}');
	COMMIT;
	EXECUTE format('SELECT string_agg(concat_ws(%L, %I, %I), %L ORDER BY (%I = %L), %I COLLATE "C") FROM %s', ' ', n, other(n, '4'), ',', n, n, n, tbl) INTO got;
	PERFORM compare(n, 'what is stored', got, 'k1 7,k3 1,k4 1,plain 1,' || n || ' 1');
	EXECUTE as_me;
	PERFORM compare(n, 'a conflict', try(format('SELECT p -> %L ->> %L FROM offsync.push_changes(%L, %L) p', 'applied', c,
		json_build_object(c, json_build_object('updated', json_build_array(json_build_object('id', 'k1', other(n, '4'), 8)))), cursor)), '{"created":0,"updated":1,"deleted":0}');
	COMMIT;
	EXECUTE as_me;
	SELECT p ->> 'cursor' INTO cursor FROM offsync.pull_changes(NULL, ARRAY[c]) p;
	PERFORM compare(n, 'a deletion', try(format('SELECT p -> %L ->> %L FROM offsync.push_changes(%L, %L) p', 'applied', c, json_build_object(c, json_build_object('deleted', json_build_array(n))), cursor)), '{"created":0,"updated":0,"deleted":1}');
	PERFORM compare(n, 'a refusal', left(try(format('SELECT offsync.push_changes(%L)', json_build_object(c, json_build_object('updated', json_build_array(json_build_object('id', 'k1', other(n, '4'), 'x')))))), 13), 'failed: 22P02');
	PERFORM compare(n, 'an unknown collection', left(try(format('SELECT offsync.push_changes(%L)', json_build_object('no ' || n, json_build_object('deleted', json_build_array('k1'))))), 13), 'failed: PT404');
	PERFORM compare(n, 'another one', left(try(format('SELECT offsync.pull_changes(NULL, ARRAY[%L])', 'no ' || n)), 13), 'failed: PT404');
	PERFORM compare(n, 'digest', try(format('SELECT offsync.digest(ARRAY[%L]) -> %L -> %L -> 0 ->> 0', c, c, 'buckets')), '4');
	PERFORM compare(n, 'reconcile', try(format('SELECT told(offsync.reconcile(%L), %L)', json_build_object(c, json_build_object('records', json_build_array('k1', 'k3', 'k4', 'plain', n))), c)), ' /  / ' || n);
	PERFORM compare(n, 'client_schema', (SELECT count(*) FROM unnest('{watermelondb,watermelondb-models,drift,sqlite,typescript}'::text[]) f WHERE try(format('SELECT offsync.client_schema(%L, ARRAY[%L])', f, c)) ~ '^failed: (?!22|42|0A|55)')::text, '0');
	COMMIT;
	PERFORM compare(n, 'explain', try(format('SELECT max(verdict) ~ %L FROM offsync.explain(%L, %L, as_role => %L, claims => %L)', '^failed', tbl, n, role, json_build_object('sub', n, n, n))), 'false');
	PERFORM compare(n, 'advise', try(format('SELECT count(*) >= 0 FROM offsync.advise(%L)', tbl)), 'true');
	PERFORM compare(n, 'reset', try(format('SELECT offsync.reset(%L) IS NULL', tbl)), 'false');
	COMMIT;
	FOREACH step IN ARRAY ARRAY[
		format('ALTER TABLE %s ADD COLUMN %I int', tbl, late), format('ALTER TABLE %s RENAME COLUMN %I TO %I', tbl, rest, other(n, '5')),
		format('ALTER POLICY %I ON %s RENAME TO %I', n, tbl, other(n, '6')), format('ALTER ROLE %I RENAME TO %I', role, other(n, 'R')), format('ALTER TABLE %s RENAME TO %I', tbl, other(n, 'T'))]
	LOOP
		PERFORM compare(n, step, done(step), 'done');
	END LOOP;
	COMMIT;
	tbl := format('%I.%I', schema, other(n, 'T'));
	EXECUTE format('SET LOCAL ROLE %I', other(n, 'R'));
	PERFORM compare(n, 'pull behind all that', (try(format('SELECT told(offsync.pull_changes(%L, ARRAY[%L]), %L)', cursor, c, c)) ~ 'k3')::text, 'true');
	COMMIT;
	PERFORM compare(n, 'state', (SELECT state FROM offsync.status WHERE collection = c), 'ok');
	PERFORM compare(n, 'disable', try(format('SELECT offsync.disable(%L, retire => true) IS NULL', tbl)), 'false');
	COMMIT;
	PERFORM compare(n, 'nothing is left', (SELECT count(*)::text FROM pg_trigger WHERE tgname IN ('offsync_update', 'offsync_truncate', 'offsync_access')), '0');
	EXECUTE format('DROP SCHEMA %I CASCADE', schema);
	EXECUTE format('DROP ROLE %I', other(n, 'R'));
	COMMIT;
END$$;

SELECT format('CALL go(%L, %s)', n, i) FROM names ORDER BY i \gexec
SELECT is((SELECT string_agg(format(E'%s: %s\n  got  %s\n  want %s', n, what, got, want), E'\n') FROM (SELECT * FROM faults LIMIT 20) f), NULL, 'every name goes through everything');
SELECT cmp_ok((SELECT count(*) FROM seen), '>', (SELECT count(*) * 25 FROM names), 'and it was much');

-- Collections keep to what WatermelonDB's tables can be named
CREATE TABLE plain (id int PRIMARY KEY);
SELECT is(string_agg(try(format('SELECT offsync.enable(''plain'', %L)', n)), ', ') FILTER (WHERE try(format('SELECT offsync.enable(''plain'', %L)', n)) !~ '^failed: 22023'), NULL, 'no such name for a collection')
	FROM names WHERE n !~ '^[A-Za-z_][A-Za-z0-9_.-]*$' OR n = '__proto__';

DROP SCHEMA hostile CASCADE;
SELECT * FROM finish();
