-- Stamps are written in place where the row has room for them, and rows are compared side by side: whatever the row looks like, and
-- however long a session has known its table.
\ir begin.psql
CREATE SCHEMA stamps;
SET search_path = stamps, public;
SELECT no_plan();

-- the tombstones' images, which are taken away
CREATE FUNCTION graves(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE found text; BEGIN
	EXECUTE format('SELECT string_agg((to_jsonb(t) - ''{offsync_version,offsync_at,offsync_created}''::text[])::text, '' '' ORDER BY offsync_version, t::text)
		FROM offsync_internal.%I t', name || '_tombstone') INTO found;
	EXECUTE format('TRUNCATE offsync_internal.%I', name || '_tombstone');
	RETURN replace(found, '"', '');
END $$;

-- ---------------------------------------------------------------------------
-- Rows of all shapes: each update against what SQL says of it
-- ---------------------------------------------------------------------------
CREATE TABLE wide (id int PRIMARY KEY, flag boolean, small int2, gone text, "char" "char", word text, fixed char(3), name name, number numeric,
	at timestamptz, uid uuid, list int[], doc jsonb, big text, twice int GENERATED ALWAYS AS (small * 2) STORED, bit bit(3), tid tid);
ALTER TABLE wide ALTER big SET STORAGE EXTERNAL;
CREATE FUNCTION fill(tbl regclass, first int, last int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	EXECUTE format($i$INSERT INTO %s (id, flag, small, "char", word, fixed, name, number, at, uid, list, doc, big, bit, tid)
	SELECT i, nullif(i %% 3, 0) = 1, nullif(i %% 5, 0), nullif(chr(65 + i %% 4), 'A')::"char", CASE i %% 4 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN repeat('w', i %% 300)
		ELSE 'x' END, nullif(i %% 3, 1), nullif(i %% 7, 1), nullif(i %% 6, 2) / 7.0, nullif(now(), now() + interval '1 s' * (i %% 2)), CASE WHEN i %% 3 = 0 THEN
		md5(i::text)::uuid END, CASE WHEN i %% 4 > 1 THEN ARRAY[i, NULL] END, CASE WHEN i %% 5 > 1 THEN jsonb_build_object('i', i) END,
		CASE i %% 9 WHEN 0 THEN repeat(md5(i::text), 300) WHEN 1 THEN repeat('c', 5000) END, CASE WHEN i %% 2 = 0 THEN (i %% 8)::bit(3) END, CASE WHEN i %% 5 = 2 THEN '(1,2)'::tid END
	FROM generate_series($1, $2) i$i$, tbl) USING first, last; END $$;
-- some are there before the stamps are, and some columns go and come
SELECT fill('wide', 1, 100);
SELECT FROM offsync.enable('wide') \g /dev/null
SELECT fill('wide', 101, 200);
SELECT is(count(DISTINCT server_version) || ' ' || count(DISTINCT server_created_version) || ' ' || count(*) FILTER (WHERE server_version = server_created_version
	AND server_created_at = server_updated_at), '2 2 200', 'inserted') FROM wide;

CREATE TABLE act (seq int, target text, value text);
INSERT INTO act SELECT row_number() OVER (), target, value FROM (VALUES ('flag', 'NOT flag'), ('flag', 'flag IS NULL'), ('small', 'small + 1'), ('"char"', '''z'''), ('word', 'word || ''+'''),
	('word', ''''''), ('fixed', 'fixed'), ('fixed', '''q'''), ('name', 'name || ''n'''), ('number', 'number * 1.0'), ('number', '0'), ('at', 'at'), ('at', 'clock_timestamp()'), ('uid', 'gen_random_uuid()'),
	('list', 'list || 1'), ('doc', 'doc || ''{"a": 1}'''), ('big', 'big || ''''::text'), ('big', 'big || ''b'''), ('big', 'repeat(big, 2)'), ('bit', '~bit'), ('tid', '''(2,2)'''), ('word', 'NULL'),
	('server_version', '1'), ('server_created_at', 'now() - interval ''1 year'''), ('server_updated_at', '''infinity'''), ('server_created_version', 'server_version + 1'),
	('id', 'id'), ('id', 'id + 100000'), ('(flag, word)', '(flag, word)'), ('(small, big, server_version)', '(small, NULL, 17)')) v (target, value);
CREATE TABLE seen (seq int, wrong int, moved int, kept int);
-- the row without its stamps, and the stamps
-- of this transaction, in whole milliseconds
CREATE FUNCTION fresh(at timestamptz) RETURNS boolean LANGUAGE sql AS $$SELECT at BETWEEN date_trunc('milliseconds', now()) AND clock_timestamp() AND at = date_trunc('milliseconds', at)$$;
CREATE FUNCTION bare(w wide) RETURNS text LANGUAGE sql AS $$SELECT (to_jsonb(w) - '{server_version,server_created_version,server_updated_at,server_created_at}'::text[])::text$$;
CREATE FUNCTION play(what text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE a act; BEGIN
	FOR a IN SELECT * FROM act WHERE target = what ORDER BY seq LOOP
		CREATE TEMP TABLE before AS SELECT id, w, bare(w) AS bare FROM wide w WHERE id % 3 <> a.seq % 3;
		EXECUTE format('UPDATE wide SET %s = %s WHERE id %% 3 <> %s', a.target, a.value, a.seq % 3);
		INSERT INTO seen SELECT a.seq, count(*) FILTER (WHERE CASE
				WHEN b.id <> n.id THEN (n.w).server_created_version <> (n.w).server_version OR NOT fresh((n.w).server_created_at)
				WHEN (b.w).server_created_at <> (n.w).server_created_at OR (b.w).server_created_version <> (n.w).server_created_version THEN true
				WHEN b.bare IS NOT DISTINCT FROM bare(n.w) AND (a.target <> 'number' OR (b.w).number::text IS NOT DISTINCT FROM (n.w).number::text)
					THEN (b.w).server_version <> (n.w).server_version OR (b.w).server_updated_at <> (n.w).server_updated_at
				ELSE (n.w).server_version <> newest OR NOT fresh((n.w).server_updated_at) END), count(*) FILTER (WHERE b.bare IS DISTINCT FROM bare(n.w)), count(*)
			FROM before b JOIN (SELECT id, w FROM wide w) n ON n.id % 100000 = b.id % 100000, (SELECT max(server_version) FROM wide) m (newest);
		DROP TABLE before;
		IF a.target = 'id' AND a.value <> 'id' THEN UPDATE wide SET id = id - 100000 WHERE id > 100000; END IF;
	END LOOP;
END $$;
-- each kind in a transaction of its own
CREATE PROCEDURE play_all() LANGUAGE plpgsql AS $$
DECLARE t text; BEGIN
	TRUNCATE seen;
	FOR t IN SELECT DISTINCT target FROM act ORDER BY 1 LOOP PERFORM play(t); COMMIT; END LOOP;
END $$;
CREATE FUNCTION verdict() RETURNS text LANGUAGE sql AS $$SELECT 'wrong: ' || coalesce(string_agg(target || ' = ' || value, ', ') FILTER (WHERE wrong > 0), 'none') || ', changes: ' || (sum(moved) > 500)
		|| ', none: ' || (sum(kept - moved) > 500) FROM seen JOIN act USING (seq)$$;
CALL play_all();
SELECT is(verdict(), 'wrong: none, changes: true, none: true', 'stamps are the last columns');
ALTER TABLE wide DROP gone;
CALL play_all();
SELECT is(verdict(), 'wrong: none, changes: true, none: true', 'a column is gone');
-- values that rows don't hold yet
ALTER TABLE wide ADD later int DEFAULT 7, ADD last text;
CALL play_all();
SELECT is(verdict(), 'wrong: none, changes: true, none: true', 'columns behind the stamps');
UPDATE wide SET last = 'l', later = NULL WHERE id % 2 = 0;
CALL play_all();
SELECT is(verdict(), 'wrong: none, changes: true, none: true', 'and values in them');
SELECT fill('wide', 201, 300);
SELECT is(count(DISTINCT server_version) || ' ' || count(*) FILTER (WHERE server_version = server_created_version AND server_created_at = server_updated_at),
	'1 100', 'inserted') FROM wide WHERE id > 200;
SELECT ok((SELECT min(server_version) FROM wide WHERE id > 200) > (SELECT max(server_version) FROM wide WHERE id <= 200), 'later than all');

-- where stamps may be null, as the trigger's own table has it
CREATE TABLE loose (id int PRIMARY KEY, word text, server_created_at timestamptz, server_updated_at timestamptz, server_version bigint, server_created_version bigint);
INSERT INTO loose SELECT i, 'w' FROM generate_series(1, 4) i;
CREATE TRIGGER zzzz_offsync_stamp BEFORE INSERT OR UPDATE ON loose FOR EACH ROW EXECUTE FUNCTION offsync_internal.stamp();
INSERT INTO loose VALUES (5, 'w');
UPDATE loose SET word = 'x' WHERE id IN (1, 5);
UPDATE loose SET word = 'w' WHERE id = 2;
UPDATE loose SET server_version = 3, server_created_at = now() WHERE id = 3;
SELECT is(string_agg(concat_ws(' ', id, word, num_nonnulls(server_created_at, server_created_version), num_nonnulls(server_updated_at, server_version)), ', ' ORDER BY id),
	'1 x 0 2, 2 w 0 0, 3 w 0 0, 4 w 0 0, 5 x 2 2', 'null stamps') FROM loose;

-- ---------------------------------------------------------------------------
-- What a tombstone holds changes: by whom, and in which way
-- ---------------------------------------------------------------------------
CREATE TABLE task (id int PRIMARY KEY, owner text, title text, base int, doubled int GENERATED ALWAYS AS (base * 2) STORED, other int);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON task USING (owner = current_user OR doubled > 10);
SELECT FROM offsync.enable('task') \g /dev/null
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$TRUNCATE stamps.task, offsync_internal.task_tombstone; INSERT INTO stamps.task (id, owner, title, base, other) SELECT i, 'ann', 't', i, i FROM generate_series(1, 3) i$$;
SELECT fill();
UPDATE task SET title = 'u', other = 9;
UPDATE task SET owner = owner, base = base, title = 'v' WHERE id = 2;
SELECT is(graves('task'), NULL, 'no tombstone holds them');
UPDATE task SET owner = 'bob' WHERE id = 1;
SELECT is(graves('task'), '{id: 1, owner: ann, doubled: 2}', 'a column that policies read');
UPDATE task SET base = 20 WHERE id = 2;
SELECT is(graves('task'), '{id: 2, owner: ann, doubled: 4}', 'one that is computed from the column');
UPDATE task SET title = 'w', base = 21 WHERE id = 2;
SELECT is(graves('task'), '{id: 2, owner: ann, doubled: 40}', 'behind another one');
UPDATE task SET id = 33 WHERE id = 3;
SELECT is(graves('task'), '{id: 3, owner: ann, doubled: 6}', 'the key');
INSERT INTO task VALUES (1, 'cid', 'w') ON CONFLICT (id) DO UPDATE SET owner = excluded.owner;
SELECT is(graves('task'), '{id: 1, owner: bob, doubled: 2}', 'ON CONFLICT DO UPDATE');
MERGE INTO task t USING (VALUES (1)) v (id) ON t.id = v.id WHEN MATCHED THEN UPDATE SET owner = 'dan';
SELECT is(graves('task'), '{id: 1, owner: cid, doubled: 2}', 'MERGE');
BEGIN;
INSERT INTO task VALUES (4, 'ann');
UPDATE task SET owner = 'bob' WHERE id = 4;
UPDATE task SET title = 'x' WHERE id = 1;
UPDATE task SET owner = 'eve' WHERE id = 1;
UPDATE task SET owner = 'fay', title = NULL WHERE id = 1;
COMMIT;
SELECT is(graves('task'), '{id: 1, owner: dan, doubled: 2}', 'what the transaction found');
BEGIN;
SAVEPOINT s;
UPDATE task SET owner = 'gil' WHERE id = 1;
ROLLBACK TO s;
UPDATE task SET owner = 'hal' WHERE id = 1;
COMMIT;
SELECT is(graves('task'), '{id: 1, owner: fay, doubled: 2}', 'once it was rolled back');

-- triggers of the owner's change what the statement doesn't
CREATE FUNCTION hand_over() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.owner := 'zoe'; RETURN new; END $$;
CREATE TRIGGER a BEFORE UPDATE OF title ON task FOR EACH ROW WHEN (new.title = 'zoe') EXECUTE FUNCTION hand_over();
UPDATE task SET title = 'zoe' WHERE id < 3;
SELECT is(graves('task'), '{id: 1, owner: hal, doubled: 2} {id: 2, owner: ann, doubled: 42}', 'a trigger changes it');
UPDATE task SET other = 5, title = 'zoe' WHERE id < 3;
SELECT is(graves('task'), NULL, 'and doesn''t');
DROP TRIGGER a ON task;
-- one that writes rows again which its statement has written already
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	UPDATE task SET owner = 'between' WHERE id < new.id AND owner = 'amy';
	UPDATE task SET owner = 'last' WHERE id < new.id AND owner = 'between';
	RETURN new; END $$;
SELECT fill();
CREATE TRIGGER a BEFORE UPDATE ON task FOR EACH ROW WHEN (new.owner = 'amy') EXECUTE FUNCTION again();
UPDATE task SET owner = 'amy';
SELECT is(string_agg(owner, ' ' ORDER BY owner), 'amy last last', 'rows that a trigger writes again') FROM task;
SELECT is(graves('task'), '{id: 1, owner: ann, doubled: 2} {id: 2, owner: ann, doubled: 4} {id: 3, owner: ann, doubled: 6}', 'as the transaction found them');
BEGIN;
UPDATE task SET title = 'before';
UPDATE task SET owner = 'amy';
DELETE FROM task WHERE id = 1;
COMMIT;
SELECT is(graves('task'), '{id: 1, owner: last, doubled: 2} {id: 2, owner: last, doubled: 4}', 'also those that it had written before');
DROP TRIGGER a ON task;
-- an update that fails
ALTER TABLE task ADD CHECK (owner <> 'bad');
SELECT throws_ok($$UPDATE task SET owner = 'bad'$$, '23514', NULL, 'an update that fails');
SELECT is(graves('task'), NULL, 'leaves nothing');

-- the session has known the table by now; its policies become others
ALTER POLICY own ON task USING (other > 1);
UPDATE task SET owner = 'ann', title = 'x' WHERE id = 2;
SELECT is(graves('task'), NULL, 'no policy reads it any more');
UPDATE task SET other = 7 WHERE id = 2;
SELECT is(graves('task'), '{id: 2, other: 2}', 'but another column');
ALTER TABLE task RENAME other TO another;
UPDATE task SET another = 8 WHERE id = 2;
SELECT is(graves('task'), '{id: 2, another: 7}', 'under another name');
ALTER POLICY own ON task USING (server_updated_at > '2000-01-01');
UPDATE task SET title = 'y' WHERE id = 2;
SELECT is(graves('task') LIKE '{id: 2, server_updated_at: 20%}', true, 'a stamp');
UPDATE task SET title = 'y' WHERE id = 2;
SELECT is(graves('task'), NULL, 'that stays');
ALTER POLICY own ON task USING (server_created_at > '2000-01-01');
UPDATE task SET title = 'z' WHERE id = 2;
SELECT is(graves('task'), NULL, 'one that updates keep');
UPDATE task SET id = 11 WHERE id = 2;
SELECT is(graves('task') LIKE '{id: 2, server_created_at: 20%}', true, 'but not of the key');
ALTER POLICY own ON task USING (owner = current_user);
SELECT FROM offsync.disable('task') \g /dev/null
UPDATE task SET id = 1, owner = 'bob' WHERE id = 11;
SELECT FROM offsync.enable('task', filter_columns => '{title}') \g /dev/null
UPDATE task SET title = 'filtered' WHERE id = 1;
SELECT is(graves('task'), '{id: 1, owner: bob, title: z}', 'enabled anew');

-- dates that the trigger writes
CREATE TABLE dated (id int PRIMARY KEY, title text, changed timestamptz);
ALTER TABLE dated ENABLE ROW LEVEL SECURITY;
CREATE POLICY old ON dated USING (changed < '2100-01-01');
SELECT FROM offsync.enable('dated', conflict => 'last_write_wins', updated_at => 'changed') \g /dev/null
INSERT INTO dated VALUES (1, 'a', '2001-01-01 00:00Z'), (2, 'a', NULL);
UPDATE dated SET title = 'b';
SELECT is((SELECT count(*) FROM dated WHERE changed > now() - interval '1 min'), 2::bigint, 'dated');
SELECT is(graves('dated'), '{id: 1, changed: 2001-01-01T00:00:00+00:00} {id: 2, changed: null}', 'that policies read');
UPDATE dated SET changed = '2002-02-02 00:00Z';
SELECT is((SELECT string_agg(changed::date::text, ' ') FROM dated), '2002-02-02 2002-02-02', 'by the writer');
SELECT is(graves('dated') LIKE '{id: 1, changed: 20%} {id: 2, changed: 20%}', true, 'too');
UPDATE dated SET changed = changed, title = title;
SELECT is(graves('dated'), NULL, 'no change, no date');

-- histories
CREATE TABLE merged (id int PRIMARY KEY, a text, b text);
SELECT FROM offsync.enable('merged', conflict => 'merge') \g /dev/null
INSERT INTO merged VALUES (1, 'a', 'b');
UPDATE merged SET b = 'c';
UPDATE merged SET b = 'c', a = 'a';
UPDATE merged SET server_column_versions = '{forged}';
UPDATE merged SET a = 'd', b = 'e';
SELECT is(regexp_replace(server_column_versions::text, '[0-9]+', 'v', 'g'), '{v,"v a","v b"}', 'histories') FROM merged;
UPDATE merged SET id = 2;
SELECT is(server_column_versions, NULL, 'a new record has none') FROM merged;

-- partitions: rows that move are updated and deleted
CREATE TABLE part (region text, id bigint, owner text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE part_x (owner text, gone int, id bigint NOT NULL, region text NOT NULL);
ALTER TABLE part_x DROP gone;
CREATE TABLE part_y PARTITION OF part FOR VALUES IN ('y', 'yy');
ALTER TABLE part ATTACH PARTITION part_x FOR VALUES IN ('x');
ALTER TABLE part ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON part USING (owner = current_user);
SELECT FROM offsync.enable('part') \g /dev/null
INSERT INTO part SELECT r, i, 'ann' FROM unnest('{x,y}'::text[]) r, generate_series(1, 2) i;
INSERT INTO part SELECT 'y', i, 'bulk' FROM generate_series(101, 400) i;
UPDATE part SET region = 'x', id = id + 10 WHERE region = 'y' AND id < 100;
SELECT is(graves('part'), '{id: 1, owner: ann, region: y} {id: 2, owner: ann, region: y}', 'moved');
UPDATE part SET region = 'x' WHERE owner = 'bulk';
SELECT is((SELECT concat_ws(' ', count(*), count(DISTINCT id), max(owner), max(region)) FROM offsync_internal.part_tombstone), '300 300 bulk y', 'many of them');
SELECT is((SELECT count(*) FROM part WHERE region = 'x' AND server_created_version = (SELECT max(server_version) FROM part)), 300::bigint, 'each a new record');
TRUNCATE offsync_internal.part_tombstone;
UPDATE part SET region = 'yy', owner = 'bob' WHERE id = 12;
UPDATE part SET region = 'y' WHERE id = 12;
SELECT is(graves('part'), '{id: 12, owner: ann, region: x} {id: 12, owner: bob, region: yy}', 'and within a partition');
-- a trigger keeps rows where they are: what the tombstone says is true, but nothing is gone
CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER stay BEFORE DELETE ON part_x FOR EACH ROW WHEN (old.id < 100) EXECUTE FUNCTION stay();
CREATE ROLE stamps_ann;
GRANT USAGE ON SCHEMA stamps TO stamps_ann;
GRANT SELECT ON part TO stamps_ann;
UPDATE part SET owner = 'stamps_ann' WHERE region = 'x' AND id < 100;
SET ROLE stamps_ann;
SELECT offsync.pull_changes(NULL, '{part}') ->> 'cursor' AS cursor \gset
RESET ROLE;
TRUNCATE offsync_internal.part_tombstone;
BEGIN;
UPDATE part SET region = 'y' WHERE region = 'x' AND id < 100;
UPDATE part SET region = 'yy' WHERE region = 'x' AND id < 100;
UPDATE part_x SET owner = 'eve' WHERE id = 1;
COMMIT;
SELECT is(graves('part'), '{id: 1, owner: stamps_ann, region: x} {id: 11, owner: stamps_ann, region: x} {id: 2, owner: stamps_ann, region: x}', 'rows that stay');
BEGIN;
UPDATE part SET region = 'y' WHERE region = 'x' AND id < 100;
UPDATE part SET region = 'yy' WHERE region = 'x' AND id < 100;
UPDATE part_x SET owner = 'fay' WHERE id = 11;
COMMIT;
SET ROLE stamps_ann;
SELECT is(d ->> 'deleted', '["x.11"]', 'are not told of') FROM (SELECT json_build_object('deleted', (SELECT json_agg(e ORDER BY e) FROM json_array_elements_text(
	offsync.pull_changes(:'cursor', '{part}') -> 'changes' -> 'part' -> 'deleted') e)) AS d) x;
RESET ROLE;
-- partitions come and go
ALTER TABLE part DETACH PARTITION part_x;
TRUNCATE offsync_internal.part_tombstone;
DROP TRIGGER stay ON part_x;
UPDATE part_x SET owner = 'nobody';
DELETE FROM part_x WHERE id = 1;
SELECT is(graves('part'), NULL, 'detached');
ALTER TABLE part ATTACH PARTITION part_x FOR VALUES IN ('x');
TRUNCATE offsync_internal.part_tombstone;
UPDATE part_x SET owner = 'gil' WHERE id = 2;
SELECT is(graves('part'), '{id: 2, owner: nobody, region: x}', 'attached again');

SELECT * FROM finish();
DROP SCHEMA stamps CASCADE;
DROP ROLE stamps_ann;
