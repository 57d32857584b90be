-- Rows that are not stored as they were sent: they stand in the push's answer, and come with the next pull.
-- Those that are stored as they were sent do neither.  Every statement is a transaction of its own, as devices have them.
\ir begin.psql
CREATE SCHEMA stored;
SET search_path = stored, public;
SELECT no_plan();

CREATE FUNCTION ids(records json) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(coalesce(r ->> 'id', r #>> '{}'), ',' ORDER BY coalesce(r ->> 'id', r #>> '{}') COLLATE "C"), '')
	  FROM json_array_elements(records) r$$;
-- Updated and deleted records, and whether the collection is replaced
CREATE FUNCTION news(collections text[], since text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', c.key, nullif(ids(c.value -> 'created'), ''), '+' || nullif(ids(c.value -> 'updated'), ''),
		'-' || nullif(ids(c.value -> 'deleted'), ''), a -> 'experimentalStrategy' -> 'override' ->> c.key), '; ' ORDER BY c.key)
	  FROM offsync.pull_changes(since, collections) a, json_each(a -> 'changes') c
	 WHERE a -> 'experimentalStrategy' -> 'override' ->> c.key IS NOT NULL
	    OR json_array_length(c.value -> 'created') + json_array_length(c.value -> 'updated') + json_array_length(c.value -> 'deleted') > 0$$;
-- A device that knows everything pushes: the cursor it gets, and what the answer calls changed.
CREATE FUNCTION pushed(changes text, OUT c text, OUT told text) LANGUAGE sql AS $$
	SELECT a ->> 'cursor', (SELECT coalesce(string_agg(concat_ws(' ', k.key, '+' || nullif(ids(k.value -> 'updated'), ''),
		'-' || nullif(ids(k.value -> 'deleted'), '')), '; ' ORDER BY k.key), '') FROM json_each(a -> 'changes') k)
	  FROM offsync.push_changes(changes::json, offsync.pull_changes(NULL, (SELECT array_agg(k) FROM json_object_keys(changes::json) k)) ->> 'cursor') a$$;
-- What is told at once, and what comes with the next pull
\set both 'SELECT is(concat_ws($$ | $$, nullif(:\'told\', $$$$), news(:\'names\'::text[], :\'c\')), '

CREATE TABLE plain (id int PRIMARY KEY, v text, n int DEFAULT 5, d timestamptz, j jsonb);
INSERT INTO plain SELECT i, 'old', i FROM generate_series(1, 3) i;
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('plain');
\set names '{plain}'

-- ---------------------------------------------------------------------------
-- As it was sent
-- ---------------------------------------------------------------------------
SELECT * FROM pushed('{"plain": {"created": [{"id": "10", "v": "a", "n": null, "d": 1500, "j": "{\"b\": 1, \"a\": [1]}"}],
	"updated": [{"id": "1", "v": "b"}, {"id": "2", "n": 7}, {"id": "3", "v": "old", "n": 3}]}}') \gset
:both '', 'nothing is told of what was stored as it was sent');
SELECT * FROM pushed('{"plain": {"updated": [{"id": "1", "v": "c", "n": 99, "_status": "updated", "_changed": "v"}]}}') \gset
:both 'plain +1 | plain +1', 'a value that its device doesn''t call changed, and differs');
SELECT * FROM pushed('{"plain": {"updated": [{"id": "1", "v": "d", "n": 1, "_status": "updated", "_changed": "v"}]}}') \gset
:both '', 'or doesn''t');
SELECT * FROM pushed('{"plain": {"created": [{"id": "11", "v": "a"}, {"id": "12", "n": 1}]}}') \gset
:both 'plain +11 | plain +11,12', 'a default that the record doesn''t carry');
SELECT * FROM pushed((SELECT json_build_object('plain', json_build_object('created', json_agg(json_build_object('id', i::text, 'v', 'x' || i, 'n', i))))::text
	FROM generate_series(100, 199) i)) \gset
:both '', 'nor of many');

-- ---------------------------------------------------------------------------
-- Triggers
-- ---------------------------------------------------------------------------
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.v = 'before' THEN NEW.v := 'other'; END IF;
	IF NEW.v = 'undo' THEN NEW := OLD; END IF;
	IF NEW.v = 'key' THEN NEW.id := NEW.id + 1000; END IF;
	RETURN NEW;
END$$;
CREATE FUNCTION change_later() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	CASE NEW.v
		WHEN 'after' THEN UPDATE stored.plain SET n = -1 WHERE id = NEW.id;
		WHEN 'sibling' THEN UPDATE stored.plain SET n = -2 WHERE id = NEW.n;
		WHEN 'gone' THEN DELETE FROM stored.plain WHERE id = NEW.id;
		WHEN 'back' THEN
			DELETE FROM stored.plain WHERE id = NEW.id;
			INSERT INTO stored.plain VALUES (NEW.id, NEW.v, -4);
		WHEN 'twice' THEN
			UPDATE stored.plain SET n = -3 WHERE id = NEW.id;
			UPDATE stored.plain SET n = NEW.n WHERE id = NEW.id;
		WHEN 'caught' THEN
			BEGIN
				UPDATE stored.plain SET n = -5 WHERE id = NEW.id;
				RAISE 'undone';
			EXCEPTION WHEN raise_exception THEN NULL;
			END;
		ELSE NULL;
	END CASE;
	RETURN NULL;
END$$;
CREATE TRIGGER change BEFORE INSERT OR UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION change();

SELECT * FROM pushed('{"plain": {"created": [{"id": "20", "v": "before", "n": 1}, {"id": "21", "v": "a", "n": 1}]}}') \gset
:both 'plain +20 | plain +20,21', 'BEFORE INSERT');
SELECT * FROM pushed('{"plain": {"updated": [{"id": "20", "v": "x", "n": 1}, {"id": "21", "v": "before"}]}}') \gset
:both 'plain +21 | plain +20,21', 'BEFORE UPDATE');
SELECT * FROM pushed('{"plain": {"updated": [{"id": "20", "v": "y"}, {"id": "21", "v": "y"}]}}') \gset
:both '', 'a trigger that does nothing');
SELECT * FROM pushed('{"plain": {"updated": [{"id": "20", "v": "undo"}]}}') \gset
SELECT is(news('{plain}', :'c'), 'plain +' || ids(json_agg(p)) || ' replacement', 'what a trigger undid leaves no version to be told of')
  FROM offsync.pull_changes(NULL, '{plain}') a, json_array_elements(a -> 'changes' -> 'plain' -> 'created') p;
SELECT * FROM pushed('{"plain": {"created": [{"id": "22", "v": "key", "n": 1}]}}') \gset
SELECT matches(news('{plain}', :'c'), ' replacement$', 'a new row under another key');
DELETE FROM plain WHERE id > 1000;

CREATE TRIGGER change_later AFTER INSERT OR UPDATE ON plain FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION change_later();
SELECT * FROM pushed('{"plain": {"created": [{"id": "30", "v": "after", "n": 1}, {"id": "31", "v": "a", "n": 1}], "updated": [{"id": "1", "v": "after"}]}}') \gset
:both 'plain +1,30 | plain +1,30,31', 'AFTER');
SELECT * FROM pushed('{"plain": {"created": [{"id": "32", "v": "sibling", "n": 33}, {"id": "33", "v": "a", "n": 1}]}}') \gset
:both 'plain +33 | plain +32,33', 'a sibling that was sent');
SELECT * FROM pushed('{"plain": {"updated": [{"id": "33", "v": "sibling", "n": 2}]}}') \gset
:both 'plain +2,33', 'a sibling that wasn''t');
SELECT * FROM pushed('{"plain": {"created": [{"id": "34", "v": "gone", "n": 1}, {"id": "35", "v": "a", "n": 1}], "updated": [{"id": "31", "v": "gone"}]}}') \gset
:both 'plain -31,34 | plain +35 -31,34', 'deleted at once');
SELECT * FROM pushed('{"plain": {"created": [{"id": "36", "v": "back", "n": 1}], "updated": [{"id": "35", "v": "back"}]}}') \gset
:both 'plain +35,36 | plain +35,36', 'deleted and inserted again');
SELECT * FROM pushed('{"plain": {"updated": [{"id": "30", "v": "twice", "n": 1}]}}') \gset
:both '', 'changed, and changed back');
SELECT * FROM pushed('{"plain": {"updated": [{"id": "30", "v": "caught", "n": 2}]}}') \gset
:both '', 'a change that was rolled back');
-- the sibling's row is as the record says: nothing is written to it but by the trigger
SELECT * FROM pushed('{"plain": {"updated": [{"id": "30", "v": "sibling", "n": 36}, {"id": "36", "v": "back", "n": -4}]}}') \gset
:both 'plain +36 | plain +30,36', 'a sibling that was sent as it was');
DROP TRIGGER change_later ON plain;

CREATE CONSTRAINT TRIGGER change_later AFTER INSERT OR UPDATE ON plain DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN (NEW.n > 0) EXECUTE FUNCTION change_later();
SELECT * FROM pushed('{"plain": {"created": [{"id": "40", "v": "after", "n": 1}, {"id": "41", "v": "a", "n": 1}], "updated": [{"id": "33", "v": "after", "n": 1}]}}') \gset
:both 'plain +33,40 | plain +33,40,41', 'a deferred constraint trigger');
SELECT offsync.push_changes('{"plain": {"created": [{"id": "42", "v": "after", "n": 1}, {"id": "43", "v": "a", "n": 1}]}}',
	offsync.pull_changes(NULL, '{plain}') ->> 'cursor', on_error => 'skip') AS a \gset
SELECT is(news('{plain}', :'a'::json ->> 'cursor'), 'plain +42,43', 'one by one, too');
SELECT is(ids(:'a'::json -> 'changes' -> 'plain' -> 'updated'), '42', 'in its answer');
DROP TRIGGER change_later ON plain;
DROP TRIGGER change ON plain;

CREATE TABLE other (id int PRIMARY KEY);
CREATE FUNCTION empty() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN TRUNCATE stored.plain; RETURN NULL; END$$;
CREATE TRIGGER empty AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION empty();
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('other');
\set names '{plain,other}'
SELECT * FROM pushed('{"plain": {"created": [{"id": "50", "v": "a", "n": 1}]}, "other": {"created": [{"id": "1"}]}}') \gset
SELECT is(:'told' || ' | ' || news('{plain,other}', :'c'), 'plain -50 | plain replacement', 'emptied by a trigger');

-- ---------------------------------------------------------------------------
-- Types that can't hold every value, and columns that fill themselves
-- ---------------------------------------------------------------------------
CREATE DOMAIN tenth AS numeric(4,1);
CREATE DOMAIN filled AS int DEFAULT 3;
CREATE TABLE kinds (id int PRIMARY KEY, tenths numeric(4,1), three char(3), second timestamptz(0), clock time(0), short varchar(3), single real,
	t tenth, many numeric(4,1)[]);
CREATE TABLE filling (id int PRIMARY KEY, f filled, v text);
CREATE TABLE numbered (id int PRIMARY KEY, v text, i int GENERATED BY DEFAULT AS IDENTITY);
CREATE TABLE counted (id int PRIMARY KEY, v text, i int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE derived (id int PRIMARY KEY, v text, g text GENERATED ALWAYS AS (upper(v)) STORED);
SELECT ok(count(*) > 0, t) FROM unnest('{kinds,filling,numbered,counted,derived}'::text[]) t, offsync.enable(t::regclass) GROUP BY t;
\set names '{kinds}'
SELECT * FROM pushed('{"kinds": {"created": [
	{"id": "1", "tenths": 1.2, "three": "abc", "second": 5000, "clock": "01:02:03", "short": "abc", "single": 0.5, "t": 3, "many": "{1.2,3.0}"}]}}') \gset
:both '', 'what fits stays as it is');
SELECT * FROM pushed('{"kinds": {"created": [{"id": "2", "tenths": 1.25}]}}') \gset
:both 'kinds +2 | kinds +2', 'numeric(4,1)');
SELECT * FROM pushed('{"kinds": {"updated": [{"id": "1", "tenths": 7.77}]}}') \gset
:both 'kinds +1 | kinds +1', 'numeric(4,1), updated');
SELECT * FROM pushed('{"kinds": {"created": [{"id": "3", "three": "ab"}]}}') \gset
:both 'kinds +3 | kinds +3', 'char(3)');
SELECT * FROM pushed('{"kinds": {"created": [{"id": "4", "second": 5400}]}}') \gset
:both 'kinds +4 | kinds +4', 'timestamptz(0)');
SELECT * FROM pushed('{"kinds": {"created": [{"id": "5", "clock": "01:02:03.4"}]}}') \gset
:both 'kinds +5 | kinds +5', 'time(0)');
SELECT * FROM pushed('{"kinds": {"created": [{"id": "6", "short": "abc  "}]}}') \gset
:both 'kinds +6 | kinds +6', 'varchar(3)');
SELECT * FROM pushed('{"kinds": {"created": [{"id": "7", "single": 0.123456789}]}}') \gset
:both 'kinds +7 | kinds +7', 'real');
SELECT * FROM pushed('{"kinds": {"created": [{"id": "8", "t": 1.25}]}}') \gset
:both 'kinds +8 | kinds +8', 'a domain');
SELECT * FROM pushed('{"kinds": {"created": [{"id": "9", "many": "{1.25}"}]}}') \gset
:both 'kinds +9 | kinds +9', 'an array');
SELECT * FROM pushed('{"kinds": {"created": [{"id": "10", "second": "1970-01-01T00:00:05Z", "t": "1.2"}]}}') \gset
:both '', 'another form isn''t another value');
\set names '{filling}'
SELECT * FROM pushed('{"filling": {"created": [{"id": "1", "v": "a"}, {"id": "2", "v": "a", "f": 1}]}}') \gset
:both 'filling +1 | filling +1,2', 'a domain''s default');
\set names '{numbered}'
SELECT * FROM pushed('{"numbered": {"created": [{"id": "1", "v": "a"}, {"id": "2", "v": "a", "i": 9}]}}') \gset
:both 'numbered +1 | numbered +1,2', 'an identity column');
\set names '{counted}'
SELECT * FROM pushed('{"counted": {"created": [{"id": "1", "v": "a", "i": 7}]}}') \gset
:both 'counted +1 | counted +1', 'one that nobody else may fill');
\set names '{derived}'
SELECT * FROM pushed('{"derived": {"created": [{"id": "1", "v": "a"}, {"id": "2", "v": "a", "g": "A"}]}}') \gset
:both 'derived +1 | derived +1,2', 'a generated column, new');
SELECT * FROM pushed('{"derived": {"updated": [{"id": "1", "v": "b"}, {"id": "2", "v": "b", "g": "B"}]}}') \gset
:both 'derived +1 | derived +1,2', 'and updated');

-- ---------------------------------------------------------------------------
-- Partitions, rules, strategies, soft deletes
-- ---------------------------------------------------------------------------
CREATE TABLE parted (id int, v text, n int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE high (n int, gone int, v text, id int NOT NULL);
ALTER TABLE high DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION high FOR VALUES FROM (100) TO (200);
CREATE TRIGGER change BEFORE INSERT OR UPDATE ON high FOR EACH ROW EXECUTE FUNCTION change();
SELECT ok(count(*) > 0, 'partitions') FROM offsync.enable('parted');
\set names '{parted}'
SELECT * FROM pushed('{"parted": {"created": [{"id": "1", "v": "before", "n": 1}, {"id": "101", "v": "a", "n": 2}]}}') \gset
:both '', 'a trigger on one partition, which does nothing');
SELECT * FROM pushed('{"parted": {"created": [{"id": "2", "v": "before", "n": 1}, {"id": "102", "v": "before", "n": 1}]}}') \gset
:both 'parted +102 | parted +102,2', 'or changes its row');
SELECT * FROM pushed('{"parted": {"updated": [{"id": "1", "v": "x"}, {"id": "2", "n": 2}, {"id": "101", "n": 3}, {"id": "102", "v": "before", "n": 4}]}}') \gset
:both 'parted +102 | parted +1,101,102,2', 'or doesn''t, of others in the same push');

CREATE TABLE ruled (id int PRIMARY KEY, v text, n int);
CREATE TABLE mirrored (id int PRIMARY KEY, v text);
INSERT INTO ruled VALUES (1, 'a', 1), (2, 'b', 2);
INSERT INTO mirrored VALUES (1, 'a'), (2, 'b');
CREATE RULE also AS ON UPDATE TO ruled DO ALSO UPDATE mirrored SET v = 'ruled' WHERE id = NEW.id;
SELECT ok(count(*) > 0, t) FROM unnest('{ruled,mirrored}'::text[]) t, offsync.enable(t::regclass) GROUP BY t;
\set names '{ruled,mirrored}'
SELECT * FROM pushed('{"ruled": {"updated": [{"id": "1", "v": "x"}]}, "mirrored": {"updated": [{"id": "1", "v": "x"}, {"id": "2", "v": "c"}]}}') \gset
SELECT is(:'told' || ' | ' || news('{ruled,mirrored}', :'c'), 'mirrored +1 | mirrored +1,2', 'what a rule wrote');

CREATE FUNCTION longest(base jsonb, local jsonb, server jsonb) RETURNS jsonb LANGUAGE sql AS
	$$SELECT local || jsonb_build_object('v', (local ->> 'v') || '+' || (server ->> 'v'))$$;
CREATE TABLE merged (id int PRIMARY KEY, v text, n int, tags text[]);
CREATE TABLE asked (id int PRIMARY KEY, v text, n int);
CREATE TABLE soft (id int PRIMARY KEY, v text, deleted_at timestamptz);
INSERT INTO merged VALUES (1, 'a', 1, '{a}'), (2, 'a', 1, '{a}');
INSERT INTO asked VALUES (1, 'a', 1), (2, 'a', 1);
INSERT INTO soft VALUES (1, 'a'), (2, 'a');
SELECT ok(count(*) > 0, 'merge') FROM offsync.enable('merged', conflict => 'merge');
SELECT ok(count(*) > 0, 'function') FROM offsync.enable('asked', conflict => 'stored.longest');
SELECT ok(count(*) > 0, 'soft_delete') FROM offsync.enable('soft', soft_delete => 'deleted_at');
SELECT offsync.pull_changes(NULL, '{merged,asked}') ->> 'cursor' AS c \gset
UPDATE merged SET n = 2, tags = '{b}' WHERE id = 1;
UPDATE asked SET v = 'b' WHERE id = 1;
SELECT a ->> 'cursor' AS c, ids(a -> 'changes' -> 'merged' -> 'updated') || ids(a -> 'changes' -> 'asked' -> 'updated') AS told
  FROM offsync.push_changes('{"merged": {"updated": [{"id": "1", "v": "x", "tags": "{c}"}, {"id": "2", "v": "x"}]},
	"asked": {"updated": [{"id": "1", "v": "x"}, {"id": "2", "v": "x"}]}}', :'c') a \gset
SELECT is(:'told'::text, '11', 'merged values are told');
SELECT is(news('{merged,asked}', :'c'), 'asked +1,2; merged +1,2', 'and pulled');
SELECT is((SELECT v FROM asked WHERE id = 1), 'x+b', 'the function''s value is stored');
-- A function that itself writes a row of the push, which was decided before
CREATE TABLE busy (id int PRIMARY KEY, v text, n int);
CREATE FUNCTION meddle(base jsonb, local jsonb, server jsonb) RETURNS jsonb LANGUAGE plpgsql AS
	$$BEGIN UPDATE stored.busy SET n = 99 WHERE id = 1; RETURN local; END$$;
INSERT INTO busy VALUES (1, 'a', 1), (2, 'a', 1);
SELECT ok(count(*) > 0, 'busy') FROM offsync.enable('busy', conflict => 'stored.meddle');
SELECT offsync.pull_changes(NULL, '{busy}') ->> 'cursor' AS c \gset
UPDATE busy SET v = 'b' WHERE id = 2;
SELECT a ->> 'cursor' AS c, ids(a -> 'changes' -> 'busy' -> 'updated') AS told
  FROM offsync.push_changes('{"busy": {"updated": [{"id": "1", "v": "x"}, {"id": "2", "v": "x"}]}}', :'c') a \gset
SELECT is(:'told' || ' | ' || news('{busy}', :'c'), '1,2 | busy +1,2', 'what a function wrote');
SELECT is(array_agg(concat_ws(' ', id, v, n) ORDER BY id), '{1 x 99,2 x 1}', 'is there') FROM busy;
\set names '{soft}'
SELECT * FROM pushed('{"soft": {"updated": [{"id": "1", "v": "b"}], "deleted": ["2"]}}') \gset
:both '', 'a soft deletion is as its device has it');
SELECT * FROM pushed('{"soft": {"updated": [{"id": "2", "v": "b"}, {"id": "1", "deleted_at": 1000}]}}') \gset
:both 'soft +2 -1 | soft +2 -1', 'a row that comes back, and one that goes by its column');

-- ---------------------------------------------------------------------------
-- Rows out of their sender's sight
-- ---------------------------------------------------------------------------
CREATE ROLE offsync_stored;
GRANT USAGE ON SCHEMA stored TO offsync_stored;
CREATE TABLE owned (id int PRIMARY KEY, owner name, v text);
CREATE TABLE split (LIKE owned INCLUDING ALL);
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
ALTER TABLE split ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON owned USING (owner = current_user);
CREATE POLICY see ON split FOR SELECT USING (owner = current_user);
CREATE POLICY add ON split FOR INSERT WITH CHECK (true);
CREATE POLICY set ON split FOR UPDATE USING (true);
CREATE TABLE pair (LIKE owned INCLUDING ALL);
CREATE TABLE narrow (LIKE owned INCLUDING ALL);
ALTER TABLE pair ENABLE ROW LEVEL SECURITY;
ALTER TABLE narrow ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON pair FOR SELECT USING (owner = current_user);
CREATE POLICY add ON pair FOR INSERT WITH CHECK (owner = current_user);
CREATE POLICY own ON narrow USING (owner = current_user);
CREATE POLICY new ON narrow AS RESTRICTIVE FOR SELECT USING (v <> 'hidden');
GRANT SELECT, INSERT, UPDATE, DELETE ON owned, split, pair, narrow TO offsync_stored;
SELECT ok(count(*) > 0, t) FROM unnest('{owned,split,pair,narrow}'::text[]) t, offsync.enable(t::regclass) GROUP BY t;
SET ROLE offsync_stored;
\set names '{owned}'
SELECT * FROM pushed('{"owned": {"created": [{"id": "1", "owner": "offsync_stored", "v": "a"}]}}') \gset
:both '', 'who may insert may see');
\set names '{split}'
SELECT * FROM pushed('{"split": {"created": [{"id": "1", "owner": "offsync_stored", "v": "a"}]}}') \gset
:both '', 'separate policies');
SELECT * FROM pushed('{"split": {"created": [{"id": "2", "owner": "somebody", "v": "a"}]}}') \gset
:both 'split -2 | split +1 replacement', 'out of sight at once');
\set names '{pair}'
SELECT * FROM pushed('{"pair": {"created": [{"id": "1", "owner": "offsync_stored", "v": "a"}]}}') \gset
:both '', 'separate policies that say the same');
\set names '{narrow}'
SELECT * FROM pushed('{"narrow": {"created": [{"id": "1", "owner": "offsync_stored", "v": "hidden"}]}}') \gset
:both 'narrow -1 | narrow replacement', 'a policy that only narrows sight');
-- A push that takes away what let it insert: deletions come last.
RESET ROLE;
CREATE TABLE member (id int PRIMARY KEY, team int, who name);
CREATE TABLE shared (id int PRIMARY KEY, team int, v text);
INSERT INTO member VALUES (1, 7, 'offsync_stored'), (2, 8, 'offsync_stored');
ALTER TABLE shared ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON shared USING (EXISTS (SELECT FROM stored.member m WHERE m.team = shared.team AND m.who = current_user AND m.id > shared.id - 100));
GRANT SELECT, INSERT, UPDATE, DELETE ON member, shared TO offsync_stored;
SELECT ok(count(*) > 0, t) FROM unnest('{member,shared}'::text[]) t, offsync.enable(t::regclass) GROUP BY t;
SET ROLE offsync_stored;
\set names '{member,shared}'
SELECT * FROM pushed('{"member": {}, "shared": {"created": [{"id": "1", "team": 7, "v": "a"}, {"id": "2", "team": 8, "v": "a"}]}}') \gset
:both '', 'in sight by another table');
SELECT * FROM pushed('{"member": {"deleted": ["1"]}, "shared": {"created": [{"id": "3", "team": 7, "v": "a"}, {"id": "4", "team": 8, "v": "a"}]}}') \gset
:both 'shared -3 | shared +2,4 replacement', 'and no longer');
RESET ROLE;
CREATE TABLE listed (id int PRIMARY KEY, team int, v text);
ALTER TABLE listed ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON listed USING (team IN (SELECT m.team FROM stored.member m WHERE m.who = current_user));
GRANT SELECT, INSERT, UPDATE, DELETE ON listed TO offsync_stored;
INSERT INTO member VALUES (3, 9, 'offsync_stored');
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('listed');
SET ROLE offsync_stored;
\set names '{member,listed}'
SELECT * FROM pushed('{"member": {"deleted": ["3"]}, "listed": {"created": [{"id": "3", "team": 9, "v": "a"}, {"id": "4", "team": 8, "v": "a"}]}}') \gset
SELECT matches(:'told' || ' | ' || news('{member,listed}', :'c'), '^listed -3 \| listed \+4 (-3|replacement)$', 'nor by a set of them');
\set names '{split}'
SELECT * FROM pushed('{"split": {"updated": [{"id": "1", "v": "b"}]}}') \gset
:both '', 'an update keeps it in sight');
RESET ROLE;

-- A column that its writer may not read is written in any case.  Written as it was, its row isn't stamped for that; but for what follows.
CREATE TABLE blind (id int PRIMARY KEY, x text, n int);
INSERT INTO blind VALUES (1, 'a', 1), (2, 'a', 1);
CREATE FUNCTION touch(id int, n int) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	IF id = 2 AND n IN (2, 3) THEN UPDATE stored.blind b SET n = touch.n * 10 WHERE b.id = 1; END IF;
	RETURN true;
END$$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM stored.touch(NEW.id, NEW.n - 2); RETURN NULL; END$$;
ALTER TABLE blind ADD CHECK (touch(id, n));
CREATE TRIGGER touch AFTER UPDATE ON blind FOR EACH ROW WHEN (NEW.n > 3) EXECUTE FUNCTION touch();
GRANT SELECT (id, n), UPDATE ON blind TO offsync_stored;
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('blind');
SET ROLE offsync_stored;
\set names '{blind}'
SELECT * FROM pushed('{"blind": {"updated": [{"id": "1", "x": "a"}, {"id": "2", "x": "b", "n": 2}]}}') \gset
:both 'blind +1 | blind +1,2', 'a row that is written once more by the same statement');
SELECT * FROM pushed('{"blind": {"updated": [{"id": "1", "x": "a"}, {"id": "2", "x": "c", "n": 5}]}}') \gset
:both 'blind +1 | blind +1,2', 'or at its end');
SELECT is(array_agg(n ORDER BY id), '{30,5}', 'so it was') FROM blind;
RESET ROLE;

DROP OWNED BY offsync_stored;
DROP SCHEMA stored CASCADE;
DROP ROLE offsync_stored;
SELECT * FROM finish();
