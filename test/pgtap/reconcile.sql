-- offsync.digest and offsync.reconcile: a damaged device becomes what SELECT as its user returns, by exactly
-- the records that differ, whatever the policy; and P4: they tell of nothing else.
-- Every statement is a transaction of its own, as devices have them.
\ir begin.psql
DROP ROLE IF EXISTS mend_ann;
DROP ROLE IF EXISTS mend_bob;
DROP ROLE IF EXISTS mend_column;
DROP ROLE IF EXISTS mend_blind;
CREATE ROLE mend_ann;
CREATE ROLE mend_bob;
CREATE ROLE mend_column;
CREATE ROLE mend_blind;
CREATE SCHEMA mend;
GRANT USAGE ON SCHEMA mend TO PUBLIC;
SET search_path = mend, public;
SELECT no_plan();
SELECT setseed(0.42) IS NULL AS x \g /dev/null

-- ---------------------------------------------------------------------------
-- A device: its records, and the hash as the README describes it
-- ---------------------------------------------------------------------------
CREATE TABLE device (collection text, id text, version bigint, record jsonb, PRIMARY KEY (collection, id));
CREATE TABLE damage (id text, kind text);
GRANT ALL ON device, damage TO PUBLIC;

CREATE FUNCTION lane(t text, factor bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE h bigint := 2166136261;
BEGIN
	FOR i IN 1 .. length(t) LOOP h := ((h # ascii(substr(t, i, 1))) * factor) & 4294967295; END LOOP;
	FOR i IN 1 .. 2 LOOP h := ((h # (h >> 16)) * 73244475) & 4294967295; END LOOP;
	RETURN h # (h >> 16);
END$$;
CREATE FUNCTION bucket_of(id text, n int) RETURNS int LANGUAGE sql AS $$SELECT (lane(id, 16777619) & (n - 1))::int$$;
CREATE FUNCTION sums(c text, n int, versions boolean) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_array(coalesce(count, 0), coalesce(a, 0), coalesce(b, 0)) ORDER BY i)
	FROM generate_series(0, n - 1) i LEFT JOIN (
		SELECT bucket_of(id, n) AS i, count(*), sum(lane(text, 16777619))::bigint & 4294967295 AS a, sum(lane(text, 1597334677))::bigint & 4294967295 AS b
		FROM (SELECT id, CASE WHEN versions THEN id || ':' || version ELSE id END AS text FROM device WHERE collection = c) d GROUP BY 1) s USING (i)$$;
CREATE FUNCTION store(c text, records jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO device SELECT c, r ->> 'id', (r ->> 'server_version')::bigint, r FROM jsonb_array_elements(records) r
	ON CONFLICT (collection, id) DO UPDATE SET version = excluded.version, record = excluded.record$$;
CREATE FUNCTION truth(c text) RETURNS jsonb LANGUAGE sql VOLATILE AS
	$$SELECT coalesce(jsonb_object_agg(r ->> 'id', r), '{}') FROM jsonb_array_elements(offsync.pull_changes(NULL, ARRAY[c])::jsonb -> 'changes' -> c -> 'created') r$$;
CREATE FUNCTION held(c text) RETURNS jsonb LANGUAGE sql AS $$SELECT coalesce(jsonb_object_agg(id, record), '{}') FROM device WHERE collection = c$$;
CREATE FUNCTION fill(c text) RETURNS void LANGUAGE sql VOLATILE AS $$
	DELETE FROM device WHERE collection = c;
	SELECT store(c, (SELECT coalesce(jsonb_agg(value), '[]') FROM jsonb_each(truth(c))))$$;
-- records lost, records of an old version, records that the user can't have
CREATE FUNCTION hurt(c text, extra text[] DEFAULT '{}') RETURNS bigint LANGUAGE sql VOLATILE AS $$
	DELETE FROM damage;
	INSERT INTO damage SELECT id, CASE WHEN r < 0.06 THEN 'lost' ELSE 'stale' END FROM (SELECT id, random() AS r FROM device WHERE collection = c ORDER BY id COLLATE "C") d WHERE r < 0.12;
	INSERT INTO damage SELECT DISTINCT x, 'extra' FROM unnest(extra || ARRAY['', 'no such', 'é', '{"x": "y"}', E'\\', '1.2.3.4', '_ZZ', '99999999999999999999999999', '__proto__', '😀']) x
		WHERE NOT EXISTS (SELECT FROM device d WHERE d.collection = c AND d.id = x);
	DELETE FROM device d USING damage x WHERE d.collection = c AND d.id = x.id AND x.kind = 'lost';
	UPDATE device d SET version = version - 1, record = '{}' FROM damage x WHERE d.collection = c AND d.id = x.id AND x.kind = 'stale';
	INSERT INTO device SELECT c, id, 5, '{}' FROM damage WHERE kind = 'extra';
	SELECT count(*) FROM damage$$;
CREATE FUNCTION hurt_by(kinds text[]) RETURNS text LANGUAGE sql AS
	$$SELECT coalesce(string_agg(to_json(id)::text, ',' ORDER BY id COLLATE "C"), '') FROM damage WHERE kind = ANY (kinds)$$;
-- two round trips; what came, what went
CREATE FUNCTION repair(c text, n int, versions boolean DEFAULT true) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE theirs jsonb; mine jsonb; differ int[]; answer jsonb; own json;
BEGIN
	theirs := offsync.digest(ARRAY[c], n, versions)::jsonb -> c -> 'buckets';
	mine := sums(c, n, versions);
	SELECT array_agg(i) INTO differ FROM generate_series(0, n - 1) i WHERE theirs -> i <> mine -> i;
	IF differ IS NULL THEN RETURN 'same'; END IF;
	SELECT coalesce(CASE WHEN versions THEN json_object_agg(id, version) ELSE json_agg(id) END, '{}') INTO own
		FROM device WHERE collection = c AND bucket_of(id, n) = ANY (differ);
	answer := offsync.reconcile(json_build_object(c, json_build_object('buckets', n, 'differ', differ, 'records', own)))::jsonb;
	IF (SELECT string_agg(k, ',') FROM jsonb_object_keys(answer) k) <> 'changes' THEN RAISE '%', answer; END IF;
	answer := answer -> 'changes' -> c;
	IF answer -> 'created' <> '[]' THEN RAISE '%', answer; END IF;
	PERFORM store(c, answer -> 'updated');
	DELETE FROM device WHERE collection = c AND id IN (SELECT jsonb_array_elements_text(answer -> 'deleted'));
	RETURN concat_ws(' / ',
		(SELECT coalesce(string_agg((r -> 'id')::text, ',' ORDER BY r ->> 'id' COLLATE "C"), '') FROM jsonb_array_elements(answer -> 'updated') r),
		(SELECT coalesce(string_agg(r::text, ',' ORDER BY r #>> '{}' COLLATE "C"), '') FROM jsonb_array_elements(answer -> 'deleted') r));
END$$;

-- ---------------------------------------------------------------------------
-- The hash
-- ---------------------------------------------------------------------------
CREATE TABLE one (id text PRIMARY KEY);
ALTER TABLE one ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON one USING (id = current_setting('mend.id'));
GRANT SELECT ON one TO mend_ann;
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('one');
INSERT INTO one VALUES (''), ('a'), ('t1'), ('t1:889792832209696'), ('é'), ('😀'), ('1.f_2E_20_5F_2F_C3_A9');
CREATE FUNCTION digest_of(id text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN PERFORM set_config('mend.id', id, true); RETURN offsync.digest('{one}', versions => false) #>> '{one,buckets}'; END$$;
SET ROLE mend_ann;
SELECT is(digest_of(v[1]), v[2], 'hash of ' || quote_literal(v[1])) FROM (VALUES
	(ARRAY['', '[[1,431477908,431477908]]']),
	(ARRAY['a', '[[1,2238983178,178749681]]']),
	(ARRAY['t1', '[[1,724404080,829125100]]']),
	(ARRAY['t1:889792832209696', '[[1,1835572748,1645014698]]']),
	(ARRAY['é', '[[1,92499147,1767179149]]']),
	(ARRAY['😀', '[[1,3112680760,2204967999]]']),
	(ARRAY['1.f_2E_20_5F_2F_C3_A9', '[[1,3354839941,2720321981]]'])) x (v);
SELECT is(digest_of('no such row'), '[[0,0,0]]', 'of no row');
RESET ROLE;

-- ---------------------------------------------------------------------------
-- Damaged devices: every kind of key and policy
-- ---------------------------------------------------------------------------
CREATE TABLE own_text (id text PRIMARY KEY, owner name, body text, n bigint, at timestamptz DEFAULT now());
CREATE POLICY p ON own_text USING (owner = current_user);
INSERT INTO own_text SELECT 't' || g, (ARRAY['mend_ann', 'mend_bob'])[g % 2 + 1], 'body ' || g, g FROM generate_series(1, 300) g;
INSERT INTO own_text SELECT x, 'mend_ann', 'strange' FROM unnest(ARRAY['', 'ü€😀', 'a"b', E'back\\slash', E'new\nline', '__proto__', '1', '007', ' ', repeat('long ', 200)]) x;

CREATE TABLE k_uuid (id uuid PRIMARY KEY, owner name);
CREATE POLICY p ON k_uuid USING (owner = current_user);
INSERT INTO k_uuid SELECT md5('u' || g)::uuid, (ARRAY['mend_ann', 'mend_bob'])[g % 2 + 1] FROM generate_series(1, 200) g;

CREATE TABLE k_bigint (k bigint PRIMARY KEY, id text, owner name);
CREATE POLICY p ON k_bigint USING (owner = current_user);
INSERT INTO k_bigint SELECT g * 46116860184273879 - 5000000000000000000, 'id', (ARRAY['mend_ann', 'mend_bob'])[g % 2 + 1] FROM generate_series(1, 200) g;

CREATE TABLE k_pair (a text, b int, owner name, PRIMARY KEY (a, b)) PARTITION BY HASH (b);
CREATE TABLE k_pair_0 PARTITION OF k_pair FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE k_pair_1 PARTITION OF k_pair FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE POLICY p ON k_pair USING (owner = current_user);
INSERT INTO k_pair SELECT (ARRAY['é', 'a.b', '_', '😀 x', 'plain'])[g % 5 + 1], g - 100, (ARRAY['mend_ann', 'mend_bob'])[g % 2 + 1] FROM generate_series(1, 200) g;

-- a function called with row values, that looks into another table
CREATE TABLE shared (item int, who name, PRIMARY KEY (item, who));
INSERT INTO shared SELECT g, (ARRAY['mend_ann', 'mend_bob'])[g % 2 + 1] FROM generate_series(1, 200) g;
CREATE FUNCTION may_see(item int) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = mend AS
	$$BEGIN RETURN EXISTS (SELECT FROM shared s WHERE s.item = may_see.item AND s.who = current_setting('mend.who')); END$$;
CREATE TABLE opaque (id int PRIMARY KEY, body text);
CREATE POLICY p ON opaque USING (may_see(id));
INSERT INTO opaque SELECT g, 'body' FROM generate_series(1, 200) g;

CREATE TABLE clock (id int PRIMARY KEY, until timestamptz);
CREATE POLICY p ON clock USING (clock_timestamp() < until);
INSERT INTO clock SELECT g, 'infinity' FROM generate_series(1, 150) g;

CREATE TABLE claim (id int PRIMARY KEY, org text);
CREATE POLICY p ON claim USING (org = current_setting('request.jwt.claims')::json ->> 'org');
INSERT INTO claim SELECT g, (ARRAY['acme', 'umbrella'])[g % 2 + 1] FROM generate_series(1, 200) g;

CREATE TABLE soft (id int PRIMARY KEY, owner name, deleted_at timestamptz);
CREATE POLICY p ON soft USING (owner = current_user);
INSERT INTO soft SELECT g, (ARRAY['mend_ann', 'mend_bob'])[g % 2 + 1], CASE WHEN g % 10 = 1 THEN now() END FROM generate_series(1, 200) g;

CREATE TABLE nothing (id int PRIMARY KEY);
CREATE TABLE c (c text PRIMARY KEY, extra text[], buckets int);
INSERT INTO c VALUES ('own_text', '{t1,t3}', 16), ('k_uuid', ARRAY[upper(md5('u2')::uuid::text), md5('u1')::uuid::text], 128), ('k_bigint', '{-4861649419447178363}', 1),
	('k_pair', '{a.b.-99,_C3_A9.-95}', 64), ('opaque', '{2,4}', 16), ('clock', '{500}', 8), ('claim', '{2,4}', 32), ('soft', '{11,21,2}', 4096), ('nothing', '{1}', 2);
SELECT lives_ok(format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', c)) FROM c WHERE c <> 'nothing';
SELECT lives_ok(format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO mend_ann, mend_bob', c)) FROM c;
GRANT SELECT ON c TO PUBLIC;
SELECT ok(count(*) > 0, 'enabled') FROM c, offsync.enable(c.c::regclass, soft_delete => CASE c.c WHEN 'soft' THEN 'deleted_at'::name END);
-- versions of their own
UPDATE own_text SET n = 0 WHERE n % 7 = 0;
UPDATE k_pair SET b = b WHERE b % 3 = 0;

SET mend.who = 'mend_ann';
SET request.jwt.claims = '{"org": "acme"}';
SET ROLE mend_ann;
SELECT fill(c) IS NULL AS x FROM c \g /dev/null
SELECT is(repair(c, buckets), 'same', c || ': nothing to mend') FROM c;
SELECT is(repair(c, 16, false), 'same', c || ': nor by the ids alone') FROM c;
SELECT cmp_ok(count(*), '>=', 70::bigint, 'a device holds its own of ' || collection) FROM device GROUP BY collection ORDER BY collection;
-- one collection after the other, since the damage is remembered for one
CREATE TEMP TABLE said (c text, trial int, want text, got text, fine boolean, again text);
DO $$
DECLARE x c; n int; trial int; want text; got text;
BEGIN
	FOR x IN SELECT * FROM c ORDER BY c LOOP
		FOREACH n IN ARRAY ARRAY[x.buckets, 1, 8] LOOP
			PERFORM hurt(x.c, x.extra);
			want := hurt_by('{lost,stale}') || ' / ' || hurt_by('{extra}');
			got := repair(x.c, n);
			INSERT INTO said VALUES (x.c, n, want, got, held(x.c) = truth(x.c), repair(x.c, 16));
		END LOOP;
	END LOOP;
END$$;
SELECT is(got, want, c || ': just what was damaged, in ' || trial || ' buckets') FROM said ORDER BY c;
SELECT ok(fine, c || ': and it holds what SELECT returns') FROM said ORDER BY c;
SELECT is(again, 'same', c || ': nothing is left') FROM said ORDER BY c;
SELECT cmp_ok((SELECT sum(length(want)) FROM said), '>', 3000::bigint, 'there was damage');
TRUNCATE said;
DO $$
DECLARE x c;
BEGIN
	FOR x IN SELECT * FROM c ORDER BY c LOOP
		PERFORM hurt(x.c, x.extra);
		INSERT INTO said SELECT x.c, 0, hurt_by('{lost}') || ' / ' || hurt_by('{extra}'), repair(x.c, 16, false);
		PERFORM repair(x.c, 16);
	END LOOP;
END$$;
SELECT is(got, want, c || ': by the ids alone, stale ones go unnoticed') FROM said ORDER BY c;
SELECT ok(held(c) = truth(c), c || ': healed') FROM c;

-- Access that changes without a row being touched
RESET ROLE;
DELETE FROM shared WHERE who = 'mend_ann' AND item < 20;
INSERT INTO shared SELECT g, 'mend_ann' FROM generate_series(100, 110) g ON CONFLICT DO NOTHING;
UPDATE clock SET until = clock_timestamp() + interval '200 ms' WHERE id <= 3;
SET ROLE mend_ann;
SELECT matches(repair('opaque', 32), '^"101",.*"109" / "10",.*"8"$', 'opaque: gained and lost');
SELECT ok(held('opaque') = truth('opaque'), 'opaque: exact');
SELECT repair('clock', 1) IS NULL AS x \g /dev/null
DO $$BEGIN WHILE EXISTS (SELECT FROM clock WHERE id <= 3) LOOP END LOOP; END$$;
SELECT is(repair('clock', 8), ' / "1","2","3"', 'clock: time takes away');
SELECT ok(held('clock') = truth('clock'), 'clock: exact');
SET request.jwt.claims = '{"org": "umbrella"}';
SELECT is(split_part(repair('claim', 8), ' / ', 2) <> '', true, 'claim: another organisation');
SELECT ok(held('claim') = truth('claim') AND held('claim') <> '{}', 'claim: exact');
SELECT is(repair('claim', 8), 'same', 'claim: done');
SET request.jwt.claims = '{"org": "acme"}';
SELECT ok(repair('claim', 1) <> 'same' AND held('claim') = truth('claim'), 'claim: and back, in one bucket');
RESET ROLE;
UPDATE soft SET deleted_at = now() WHERE id = 3;
UPDATE soft SET deleted_at = NULL WHERE id = 11;
SELECT is((SELECT count(*) FROM device WHERE collection = 'soft' AND id IN ('3', '11')), 0::bigint, 'rows of bob''s') ;
UPDATE soft SET deleted_at = now() WHERE id = 4;
SET ROLE mend_ann;
SELECT is(repair('soft', 16), ' / "4"', 'soft: deleted softly');
SET ROLE mend_bob;
SELECT is(offsync.reconcile('{"soft": {"records": {"3": 1, "11": 1, "4": 1}}}') #>> '{changes,soft,deleted}', '["4","3"]', 'soft: another''s and the deleted one are one thing');
SET ROLE mend_ann;

-- Other forms of the call
SELECT is(offsync.digest('{own_text,k_uuid}')::jsonb -> 'k_uuid', offsync.digest('{mend.k_uuid}')::jsonb -> 'mend.k_uuid', 'a collection is answered under the name it was asked by');
SELECT is((SELECT string_agg(k, ',' ORDER BY k) FROM json_object_keys(offsync.digest()) k WHERE k IN (SELECT c FROM c)), (SELECT string_agg(c, ',' ORDER BY c) FROM c), 'null: all that the caller may read');
SELECT is(offsync.digest('{}')::text, '{}', 'no collection');
SELECT is(offsync.reconcile('{}')::text, '{"changes":{}}', 'no collection');
SELECT is(offsync.digest('{k_uuid}', NULL, NULL)::text, offsync.digest('{k_uuid}', 1, true)::text, 'null arguments');
SELECT is(offsync.reconcile('{"nothing": {"records": []}}')::text, '{"changes":{"nothing":{"created":[],"updated":[],"deleted":[]}}}', 'nothing to say');
SELECT is(offsync.reconcile('{"mend.nothing": {"records": {"1": null, "2": 1e400, "3": 1.5, "x": -0}, "buckets": 1, "differ": null}}')::jsonb #> '{changes,mend.nothing,deleted}' @> '["1","2","3","x"]', true, 'any number is a version');
SELECT is(offsync.reconcile('{"nothing": {"records": [1, "a", 1.0]}}')::jsonb #> '{changes,nothing,deleted}' @> '["1","a","1.0"]', true, 'ids may be numbers');
SELECT is(offsync.reconcile('{"own_text": {"records": []}}', dialect => 'json')::jsonb #> '{changes,own_text,updated}',
	offsync.pull_changes(NULL, '{own_text}', dialect => 'json')::jsonb #> '{changes,own_text,created}', 'records in the dialect of a pull');
SELECT is(offsync.reconcile('{"own_text": {"records": []}}')::jsonb #> '{changes,own_text,updated}',
	offsync.pull_changes(NULL, '{own_text}')::jsonb #> '{changes,own_text,created}', 'and byte for byte');
SELECT is(offsync.reconcile('{"k_uuid": {"buckets": 32, "differ": [], "records": {}}}') #>> '{changes,k_uuid}', '{"created":[],"updated":[],"deleted":[]}', 'no bucket differs');
SELECT is(json_array_length(offsync.digest('{k_uuid}', 16384) #> '{k_uuid,buckets}'), 16384, 'as many buckets as there may be');
SELECT is((SELECT sum((b ->> 0)::int) FROM json_array_elements(offsync.digest('{k_uuid}', 16384) #> '{k_uuid,buckets}') b), (SELECT count(*) FROM k_uuid), 'hold every row');

-- What the device chooses to hold
RESET ROLE;
CREATE TABLE chosen (id int PRIMARY KEY, project text, owner name, deleted_at timestamptz);
ALTER TABLE chosen ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON chosen USING (owner = current_user);
GRANT SELECT ON chosen TO mend_ann;
INSERT INTO chosen SELECT g, (ARRAY['p1', 'p2', NULL])[g % 3 + 1], (ARRAY['mend_ann', 'mend_bob'])[g % 2 + 1], CASE WHEN g > 50 THEN now() END FROM generate_series(1, 60) g;
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('chosen', soft_delete => 'deleted_at', filter_columns => '{project}');
SET ROLE mend_ann;
SELECT is((SELECT string_agg(r ->> 'id', ',' ORDER BY (r ->> 'id')::int) FROM json_array_elements(offsync.reconcile('{"chosen": {"records": ["3", "4", "6", "9"]}}', filters => f) #> '{changes,chosen,updated}') r) || ' / ' ||
	(offsync.reconcile('{"chosen": {"records": ["3", "4", "6", "9"]}}', filters => f) #>> '{changes,chosen,deleted}'), want, 'filtered: ' || f)
	FROM (VALUES ('{"chosen": {"project": ["p1"]}}'::json, '12,18,24,30,36,42,48 / ["4","3","9"]'),
		('{"chosen": {"project": ["p2", "nope"]}}', '10,16,22,28,34,40,46 / ["3","9","6"]'),
		('{"chosen": {"project": [null]}}', '2,8,14,20,26,32,38,44,50 / ["4","3","9","6"]')) x (f, want);
SELECT is(offsync.digest('{chosen}', filters => '{"chosen": {"project": ["p1", "p2", null]}}')::text, offsync.digest('{chosen}')::text, 'all values: all rows');
SELECT is((offsync.digest('{chosen}', filters => '{"chosen": {"project": ["p1"]}}') #>> '{chosen,buckets,0,0}'), '8', 'a digest of what is wanted');
SELECT is((offsync.digest('{chosen}', filters => '{"chosen": {"project": []}}') #>> '{chosen,buckets,0,0}'), '0', 'nothing is wanted');
SELECT throws_ok('SELECT offsync.digest(''{chosen}'', filters => ''{"chosen": {"owner": ["x"]}}'')', 'PT400', 'malformed filters');
SELECT throws_ok('SELECT offsync.digest(''{chosen}'', filters => ''{"nothing": {}}'')', 'PT400', 'malformed filters');
SELECT throws_ok('SELECT offsync.reconcile(''{"chosen": {"records": []}}'', filters => ''[]'')', 'PT400', 'malformed filters');

-- One snapshot, no writing
WITH w AS (INSERT INTO nothing VALUES (1) RETURNING id)
	SELECT is(offsync.digest('{nothing}') #>> '{nothing,buckets}', '[[0,0,0]]', 'the snapshot of the statement that calls') FROM w;
BEGIN READ ONLY;
SELECT offsync.digest('{nothing}') #>> '{nothing,buckets}' AS sums, offsync.reconcile('{"nothing": {"records": {"2": 1}}}')::jsonb #>> '{changes,nothing,deleted}' AS gone \gset
SELECT coalesce(pg_current_xact_id_if_assigned()::text, 'none') AS xid \gset
COMMIT;
SELECT isnt(:'sums'::text, '[[0,0,0]]', 'digest in a READ ONLY transaction');
SELECT is(:'gone'::text, '["2"]', 'reconcile, too');
SELECT is(:'xid'::text, 'none', 'neither takes a transaction id');
SELECT is(string_agg(concat_ws(' ', proname, provolatile, prosecdef), ', ' ORDER BY proname), 'digest s f, reconcile s f', 'STABLE, and the caller''s')
	FROM pg_proc WHERE pronamespace = 'offsync'::regnamespace AND proname IN ('digest', 'reconcile');

-- A cursor: good as it is, damaged, of another's making
SELECT offsync.pull_changes(NULL, '{nothing}') ->> 'cursor' AS cursor, offsync.pull_changes(NULL, '{nothing}') ->> 'timestamp' AS number \gset
SELECT lives_ok(format('SELECT offsync.reconcile(''{"nothing": {"records": {}}}'', %L)', x), 'last_pulled_at ' || left(x, 1)) FROM unnest(ARRAY[:'cursor', :'number', '2020-01-01T00:00:00Z', '0']) x;
SELECT throws_ok(format('SELECT offsync.reconcile(''{"nothing": {"records": {}}}'', %L)', x), 'PT400', 'malformed last_pulled_at') FROM unnest(ARRAY[:'cursor' || 'A', '-1', 'x']) x;
-- a repair doesn't disturb the pulls that follow
SELECT offsync.pull_changes(NULL, '{own_text}') ->> 'cursor' AS cursor \gset
SELECT fill('own_text') IS NULL AS x \g /dev/null
RESET ROLE;
UPDATE own_text SET body = 'new' WHERE id = 't2';
DELETE FROM own_text WHERE id = 't4';
INSERT INTO own_text VALUES ('t1000', 'mend_ann', 'new');
SET ROLE mend_ann;
SELECT is(repair('own_text', 64), '"t1000","t2" / "t4"', 'mended ahead of the pull');
SELECT store('own_text', (a -> 'created') || (a -> 'updated')) IS NULL AS x FROM (SELECT offsync.pull_changes(:'cursor', '{own_text}')::jsonb #> '{changes,own_text}' AS a) p \g /dev/null
SELECT ok(held('own_text') = truth('own_text'), 'the pull brings the same once more');

-- ---------------------------------------------------------------------------
-- P4
-- ---------------------------------------------------------------------------
SELECT is(replace(offsync.reconcile(json_build_object('own_text', json_build_object('records', (SELECT json_agg(id) FROM own_text WHERE id <> 't6') :: jsonb || to_jsonb(x))))::text, x, '?'),
	replace(offsync.reconcile(json_build_object('own_text', json_build_object('records', (SELECT json_agg(id) FROM own_text WHERE id <> 't6') :: jsonb || to_jsonb('never was'::text))))::text, 'never was', '?'),
	'another''s id is no other than one of nobody: ' || x) FROM unnest('{t1,t3,t299,"no; id"}'::text[]) x;
SELECT is(offsync.reconcile('{"k_bigint": {"records": {"-4861649419447178363": 7, "abc": 7, "99999999999999999999": 7, "": 7, "-4861649419447178363 ": 7}}}')::jsonb #> '{changes,k_bigint,deleted}' <@ '["abc","-4861649419447178363","99999999999999999999","","-4861649419447178363 "]',
	true, 'what can''t be a key is just as absent');
SELECT json_object_agg(c, offsync.digest(ARRAY[c], 8)) AS before FROM c \gset
RESET ROLE;
INSERT INTO own_text VALUES ('b1', 'mend_bob', 'x');
DELETE FROM own_text WHERE id = 't1';
UPDATE own_text SET body = 'y' WHERE owner = 'mend_bob';
UPDATE k_uuid SET owner = 'nobody' WHERE owner = 'mend_bob';
DELETE FROM k_pair WHERE owner = 'mend_bob';
SET ROLE mend_ann;
SELECT is(json_object_agg(c, offsync.digest(ARRAY[c], 8))::text, :'before', 'what others'' rows do shows in no digest') FROM c;
RESET ROLE;
GRANT SELECT (id, owner, body) ON own_text TO mend_column;
GRANT SELECT (body) ON own_text TO mend_blind;
UPDATE own_text SET owner = 'mend_column' WHERE id IN ('t8', 't10');
SET ROLE mend_column;
SELECT is(offsync.digest('{own_text}')::jsonb, offsync.digest('{own_text}', versions => false)::jsonb, 'a version that the caller may not read counts nowhere');
SELECT is(offsync.digest('{own_text}') #>> '{own_text,versions}', 'false', 'and the digest says so');
SELECT is(offsync.reconcile('{"own_text": {"records": {"t8": 1, "t9": 2}}}')::jsonb #> '{changes,own_text}',
	'{"created": [], "updated": [{"id": "t10", "owner": "mend_column", "body": "body 10"}], "deleted": ["t9"]}', 'nor is it compared; columns are those that a pull sends');
SELECT is(json_object_keys(offsync.digest()), 'own_text', 'all that the caller may read');
SET ROLE mend_blind;
SELECT is(offsync.digest()::text, '{}', 'nothing to read');
SELECT throws_ok('SELECT offsync.digest(''{own_text}'')', '42501', 'permission denied for collection "own_text"');
SELECT throws_ok('SELECT offsync.reconcile(''{"own_text": {"records": {}}}'')', '42501', 'permission denied for collection "own_text"');

-- ---------------------------------------------------------------------------
-- What is no request
-- ---------------------------------------------------------------------------
SET ROLE mend_ann;
SELECT throws_ok(format('SELECT offsync.digest(''{nothing}'', %s)', n), 'PT400', 'invalid number of buckets', n || ' buckets') FROM unnest('{0,-1,-2,3,6,100,16383,32768,65536,2147483647,-2147483648}'::int[]) n;
SELECT throws_ok('SELECT offsync.digest(''{nope}'')', 'PT404', 'unknown collection "nope"');
SELECT throws_ok('SELECT offsync.digest(''{nothing,mend.nothing}'')', 'PT400', 'collection "mend.nothing" is asked for twice');
SELECT throws_ok('SELECT offsync.digest(ARRAY[NULL])', 'PT400', 'a collection''s name can''t be null');
SELECT throws_ok(format('SELECT offsync.reconcile(%L)', j), 'PT400', 'malformed list of a device''s records', j) FROM unnest(ARRAY[
	'null', '1', '"x"', '[]', ' [{"nothing": {"records": []}}]', '{"nothing": null}', '{"nothing": []}', '{"nothing": 7}', '{"nothing": {}}',
	'{"nothing": {"records": null}}', '{"nothing": {"records": 7}}', '{"nothing": {"records": "x"}}',
	'{"nothing": {"records": {"a": "7"}}}', '{"nothing": {"records": {"a": {}}}}', '{"nothing": {"records": {"a": []}}}', '{"nothing": {"records": {"a": true}}}',
	'{"nothing": {"records": [null]}}', '{"nothing": {"records": [[]]}}', '{"nothing": {"records": [{"id": 1}]}}', '{"nothing": {"records": [true]}}',
	'{"nothing": {"records": {"a": 1, "a": 2}}}', '{"nothing": {"records": ["a", "b", "a"]}}', '{"nothing": {"records": ["1", 1]}}',
	'{"nothing": {"records": {}, "differs": [1]}}', '{"nothing": {"records": {}, "created": []}}', '{"nothing": {"records": {}, "": []}}',
	'{"nothing": {"records": {}, "buckets": 0}}', '{"nothing": {"records": {}, "buckets": 3}}', '{"nothing": {"records": {}, "buckets": -2}}', '{"nothing": {"records": {}, "buckets": 32768}}',
	'{"nothing": {"records": {}, "buckets": 65536}}', '{"nothing": {"records": {}, "buckets": 4294967297}}', '{"nothing": {"records": {}, "buckets": 18446744073709551617}}', '{"nothing": {"records": {}, "buckets": 1e1}}', '{"nothing": {"records": {}, "buckets": 2.0}}',
	'{"nothing": {"records": {}, "buckets": "2"}}', '{"nothing": {"records": {}, "buckets": null}}', '{"nothing": {"records": {}, "buckets": [2]}}',
	'{"nothing": {"records": {}, "buckets": 2, "differ": [2]}}', '{"nothing": {"records": {}, "buckets": 2, "differ": [-1]}}', '{"nothing": {"records": {}, "buckets": 2, "differ": ["1"]}}',
	'{"nothing": {"records": {}, "buckets": 2, "differ": [0.5]}}', '{"nothing": {"records": {}, "buckets": 2, "differ": {"0": 1}}}', '{"nothing": {"records": {}, "buckets": 2, "differ": 1}}',
	'{"nothing": {"records": {}, "buckets": 2, "differ": [99999999999999999999]}}', '{"nothing": {"records": {}, "differ": [1]}}',
	'{"nothing": {"records": {"t1": 1}, "buckets": 32, "differ": [15]}}', '{"nothing": {"records": ["t1"], "buckets": 32, "differ": []}}']) j;
SELECT lives_ok('SELECT offsync.reconcile(''{"nothing": {"records": {"t1": 1}, "buckets": 32, "differ": [16]}}'')', 'the right bucket');
SELECT throws_ok('SELECT offsync.reconcile(NULL)', 'PT400', 'no list of a device''s records');
SELECT throws_ok('SELECT offsync.reconcile(''{"nope": {"records": {}}}'')', 'PT404', 'unknown collection "nope"');
SELECT throws_ok('SELECT offsync.reconcile(''{"nothing": {"records": {}}, "mend.nothing": {"records": {}}}'')', 'PT400', 'collection "mend.nothing" is asked for twice');
SELECT throws_ok('SELECT offsync.reconcile(''{"nothing": {"records": {}}, "nothing": {"records": {}}}'')', 'PT400', 'collection "nothing" is asked for twice');
SELECT throws_ok('SELECT offsync.reconcile(''{"nothing": {"records": {"\u0000": 1}}}'')', '22P05', NULL, 'no text holds a zero');
SELECT throws_ok('SELECT offsync.reconcile(''{"nothing": {"records": {}}}'', dialect => ''xml'')', '22023');

RESET ROLE;
SELECT * FROM finish();
DROP TABLE said;
DROP SCHEMA mend CASCADE;
DROP ROLE mend_ann, mend_bob, mend_column, mend_blind;
