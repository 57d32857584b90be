-- offsync.check(): every fault is made on purpose, found, and mended by the very SQL that comes with it.
\ir begin.psql
DROP DATABASE IF EXISTS offsync_check;
CREATE DATABASE offsync_check;
\c offsync_check
\ir begin.psql
CREATE SCHEMA "Odd ""Schema""";
SET search_path = "Odd ""Schema""", public;
CREATE FUNCTION first_sync() RETURNS text LANGUAGE sql VOLATILE AS $$SELECT offsync.pull_changes() ->> 'cursor'$$;
DROP ROLE IF EXISTS check_ann;
DROP ROLE IF EXISTS check_watcher;
CREATE ROLE check_ann;
CREATE ROLE check_watcher IN ROLE pg_monitor;
GRANT USAGE ON SCHEMA "Odd ""Schema""" TO PUBLIC;

-- One of each: options, partitions, policies that read other tables, an odd name.
CREATE TABLE task (id text PRIMARY KEY, code text NOT NULL UNIQUE, owner text, body text, deleted_at timestamptz);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON task USING (owner = current_user);
CREATE TABLE team (id int PRIMARY KEY, person text);
CREATE TABLE "Odd ""Table""" (a int, b int, team int, updated_at timestamptz NOT NULL, PRIMARY KEY (a, b));
ALTER TABLE "Odd ""Table""" ENABLE ROW LEVEL SECURITY;
CREATE POLICY member ON "Odd ""Table""" USING (EXISTS (SELECT FROM team t WHERE t.id <= "Odd ""Table""".team AND person = current_user));
CREATE TABLE part (id int PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (100) TO (200);
CREATE TABLE plain (id int PRIMARY KEY, body text);
CREATE FUNCTION mine(jsonb, jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $2';
SELECT FROM offsync.enable('task', key => '{code}', soft_delete => 'deleted_at', columns => '{code,owner,body,deleted_at}',
	filter_columns => '{owner}', notify => true, index => 'version') \g /dev/null
SELECT FROM offsync.enable('"Odd ""Table"""', collection => 'odd', conflict => 'last_write_wins', updated_at => 'updated_at',
	access_tables => '{team}', row_local => true) \g /dev/null
SELECT FROM offsync.enable('part', conflict => 'mine') \g /dev/null
SELECT FROM offsync.enable('plain') \g /dev/null
INSERT INTO task SELECT 't' || i, 'c' || i, current_user, 'first' FROM generate_series(1, 5) i;
INSERT INTO part SELECT i * 30, 'first' FROM generate_series(1, 5) i;
INSERT INTO plain SELECT i, 'first' FROM generate_series(1, 5) i;
DELETE FROM plain WHERE id = 5;

-- what is found, as one text
CREATE FUNCTION seen() RETURNS text LANGUAGE sql VOLATILE AS
	$$SELECT string_agg(f, ', ' ORDER BY f) FROM (SELECT DISTINCT concat_ws(' ', severity, finding, collection) AS f FROM offsync.check(true)) x$$;
-- while our event triggers are off
CREATE PROCEDURE unseen(sql text) LANGUAGE plpgsql AS $$
DECLARE t text;
BEGIN
	FOREACH t IN ARRAY '{offsync_ddl_end,offsync_ddl_drop,offsync_ddl_rewrite}'::text[] LOOP EXECUTE format('ALTER EVENT TRIGGER %I DISABLE', t); END LOOP;
	EXECUTE sql;
	FOREACH t IN ARRAY '{offsync_ddl_end,offsync_ddl_drop,offsync_ddl_rewrite}'::text[] LOOP EXECUTE format('ALTER EVENT TRIGGER %I ENABLE ALWAYS', t); END LOOP;
END$$;
SELECT no_plan();
SELECT is(seen(), NULL, 'all is well');
SELECT is((SELECT string_agg(state, ',') FROM offsync.status), 'ok,ok,ok,ok', 'and so says the status');

-- ---------------------------------------------------------------------------
-- Triggers
-- ---------------------------------------------------------------------------
DROP TRIGGER offsync_delete ON task;
CALL unseen('DROP TRIGGER offsync_truncate ON part_2');
SELECT is(seen(), 'error trigger_missing part, error trigger_missing task', 'a trigger is missing, another on a partition');
SELECT is(fix, $$SELECT * FROM offsync.enable('"Odd ""Schema""".task', key => '{code}', columns => '{code,owner,body,deleted_at}', index => 'version', soft_delete => 'deleted_at', filter_columns => '{owner}', notify => true);$$,
	'the fix names the options') FROM offsync.check() WHERE collection = 'task';
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

ALTER TABLE task DISABLE TRIGGER zzzz_offsync_stamp;
ALTER TABLE part_1 ENABLE TRIGGER offsync_delete;
ALTER TABLE "Odd ""Table""" ENABLE REPLICA TRIGGER offsync_truncate;
SELECT is(seen(), 'error trigger_disabled odd, error trigger_disabled part, error trigger_disabled task', 'triggers are off, or not on always');
SELECT is(count(DISTINCT detail), 3::bigint) FROM offsync.check();
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
DROP TRIGGER offsync_delete ON task;
CREATE TRIGGER offsync_delete AFTER DELETE ON task FOR EACH ROW EXECUTE FUNCTION nothing();
ALTER TABLE task ENABLE ALWAYS TRIGGER offsync_delete;
DROP TRIGGER zzzz_offsync_stamp ON plain;
CREATE TRIGGER zzzz_offsync_stamp BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION offsync_internal.stamp();
ALTER TABLE plain ENABLE ALWAYS TRIGGER zzzz_offsync_stamp;
DROP TRIGGER offsync_delete ON part;
CREATE TRIGGER offsync_delete AFTER DELETE ON part FOR EACH ROW WHEN (OLD.id > 5) EXECUTE FUNCTION offsync_internal.bury();
ALTER TABLE part ENABLE ALWAYS TRIGGER offsync_delete;
SELECT is(seen(), 'error trigger_other part, error trigger_other plain, error trigger_other task', 'triggers of these names that do something else');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

CREATE TRIGGER offsync_update AFTER UPDATE ON part FOR EACH ROW EXECUTE FUNCTION offsync_internal.bury();
SELECT is(seen(), 'warning trigger_old part', 'a trigger that earlier releases had');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

CREATE TRIGGER zzzz_z BEFORE UPDATE ON task FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER "zzzz_z""Z" BEFORE INSERT ON task FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER zzzzz BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER zzzzzz BEFORE INSERT ON part_2 FOR EACH ROW WHEN (NEW.id > 5) EXECUTE FUNCTION nothing();
SELECT is(seen(), 'error trigger_order part, error trigger_order task', 'triggers that fire behind the stamp');
SELECT is(count(*), 4::bigint, 'each of them, on a partition, too') FROM offsync.check();
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
DROP FUNCTION nothing CASCADE;

DROP TRIGGER offsync_access ON team;
SELECT is(seen(), 'warning access_trigger odd', 'a table that policies read isn''t followed');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

-- ---------------------------------------------------------------------------
-- Tombstones
-- ---------------------------------------------------------------------------
CALL unseen('DROP TABLE offsync_internal.odd_tombstone');
SELECT is(seen(), 'error tombstones_missing odd', 'tombstones are gone');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
DELETE FROM "Odd ""Table""";

CALL unseen('ALTER TABLE offsync_internal.odd_tombstone DROP COLUMN offsync_created');
CALL unseen('ALTER TABLE offsync_internal.plain_tombstone ALTER id TYPE bigint');
CALL unseen('DROP INDEX offsync_internal.part_tombstone_offsync_version_idx');
CALL unseen('ALTER TABLE offsync_internal.task_tombstone SET UNLOGGED');
SELECT is(seen(), 'error tombstones_altered odd, error tombstones_altered part, error tombstones_altered plain, error tombstones_altered task',
	'columns, types, indexes, persistence');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
CALL unseen('ALTER TABLE offsync_internal.odd_tombstone DROP CONSTRAINT odd_tombstone_pkey');
CALL unseen('CREATE RULE r AS ON DELETE TO offsync_internal.plain_tombstone DO INSTEAD NOTHING');
CALL unseen('ALTER TABLE offsync_internal.task_tombstone SET SCHEMA public');
SELECT is(seen(), 'error tombstones_altered odd, error tombstones_altered plain, error tombstones_altered task', 'primary key, rules, schema');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

CALL unseen('ALTER TABLE offsync_internal.plain_tombstone OWNER TO check_ann');
CALL unseen('ALTER TABLE offsync_internal.part_tombstone DISABLE ROW LEVEL SECURITY');
CALL unseen('DROP POLICY own ON offsync_internal.task_tombstone');
CALL unseen('ALTER POLICY member ON "Odd ""Table""" TO check_ann');
SELECT is(seen(), 'error mirror odd, error mirror part, error mirror plain, error mirror task', 'owner, row security, policies, their roles');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
ALTER POLICY member ON "Odd ""Table""" TO PUBLIC;

ALTER POLICY own ON task USING (task IS NOT NULL);
SELECT is(seen(), 'warning policy task', 'a policy that can''t be mirrored');
\ir mend.psql
ALTER POLICY own ON task USING (owner = current_user);
SELECT is(seen(), NULL, 'as advised');

GRANT SELECT ON offsync_internal.plain_tombstone TO check_ann, PUBLIC;
GRANT UPDATE (id) ON offsync_internal.part_tombstone TO check_watcher;
CALL unseen('REVOKE SELECT (code) ON offsync_internal.task_tombstone FROM PUBLIC');
SELECT is(seen(), 'error tombstones_privileges part, error tombstones_privileges plain, error tombstones_privileges task, warning definition task', 'privileges');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
SET ROLE check_ann;
SELECT lives_ok('SELECT id, offsync_version FROM offsync_internal.plain_tombstone', 'as they were');
SELECT throws_ok('SELECT offsync_at FROM offsync_internal.plain_tombstone', '42501', NULL, 'no more');
RESET ROLE;

CREATE TABLE offsync_internal.stray_tombstone (LIKE offsync_internal.plain_tombstone);
SELECT is(seen(), 'warning tombstones_stray', 'tombstones of no table');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

-- ---------------------------------------------------------------------------
-- The tables
-- ---------------------------------------------------------------------------
CALL unseen('ALTER TABLE plain ADD COLUMN more text');
SELECT is(seen(), 'warning definition plain', 'a change that nobody noticed');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

CALL unseen('ALTER TABLE plain DROP COLUMN server_version');
SELECT is(seen(), 'error column_missing plain', 'a column of ours');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
SELECT is(state, 'ok') FROM offsync.status WHERE collection = 'plain';

CREATE TABLE short (id int PRIMARY KEY, gone timestamptz);
SELECT FROM offsync.enable('short', soft_delete => 'gone') \g /dev/null
CALL unseen('ALTER TABLE short DROP COLUMN gone');
SELECT is(seen(), 'error column_missing short', 'a column that an option names');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

SELECT FROM offsync.enable('short') \g /dev/null
CALL unseen('ALTER TABLE short DROP CONSTRAINT short_pkey');
SELECT is(seen(), 'error key short', 'the key is none');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
CALL unseen('DROP TABLE short');
SELECT is(seen(), 'error table_missing short', 'a table is gone');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
SELECT is(to_regclass('offsync_internal.short_tombstone'), NULL, 'with its tombstones');

-- what a dump without our rows leaves, twice the same table
DELETE FROM offsync_internal.synced_table WHERE collection = 'plain';
SELECT is(seen(), 'error not_on_record', 'a table with triggers, and no record');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
SELECT is(first_sync() IS NOT NULL AND count(*) = 1, true) FROM offsync.status WHERE collection = 'plain';

CALL unseen('ALTER TABLE plain SET UNLOGGED');
CALL unseen('ALTER TABLE part_1 SET UNLOGGED');
SELECT is(seen(), 'error unlogged part, error unlogged plain, warning definition part, warning definition plain', 'a crash would empty them');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

CALL unseen('DROP FUNCTION mine');
SELECT is(seen(), 'error conflict_function part', 'nothing settles conflicts');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
SELECT is(conflict, 'reject') FROM offsync.status WHERE collection = 'part';

DROP INDEX task_server_version_idx;
SELECT is(seen(), 'warning index_missing task', 'an index that enable built');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('task_server_version_idx'::regclass, 'offsync_internal.push_log_push'::regclass,
	'offsync_internal.plain_tombstone_offsync_version_idx'::regclass, 'part_2_pkey'::regclass);
SELECT is(seen(), 'error index_invalid, error index_invalid part, error index_invalid plain, error index_invalid task', 'indexes that were left half built');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

-- ---------------------------------------------------------------------------
-- Versions
-- ---------------------------------------------------------------------------
CREATE FUNCTION told(c text) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(string_agg(concat_ws(' ', key, value), ', ' ORDER BY key), '') || coalesce(' ' || (p ->> 'experimentalStrategy'), '')
	FROM (SELECT offsync.pull_changes(c, '{plain,task}') AS p) x, LATERAL (SELECT key,
		(SELECT sum(json_array_length(v.value)) FROM json_each(value) v) AS value FROM json_each(p -> 'changes') c) y GROUP BY p::text, p ->> 'experimentalStrategy' $$;
SELECT first_sync() c \gset
SELECT is(told(:'c'), 'plain 0, task 0', 'a device has got everything');
ALTER TABLE plain DISABLE TRIGGER zzzz_offsync_stamp;
INSERT INTO plain (id, server_created_at, server_updated_at, server_version, server_created_version)
	VALUES (100, now(), now(), 1::bigint << 52, 1::bigint << 52), (101, now(), now(), 5, 5);
ALTER TABLE task DISABLE TRIGGER zzzz_offsync_stamp;
ALTER TABLE task ALTER server_version DROP NOT NULL, ALTER server_version DROP DEFAULT;
INSERT INTO task (id, code, owner) VALUES ('foreign', 'f', current_user);
SELECT FROM offsync.enable('plain') \g /dev/null
ALTER TABLE task ENABLE ALWAYS TRIGGER zzzz_offsync_stamp;
SELECT first_sync() c \gset
SELECT is(told(:'c'), 'plain 1, task 0', 'comes with every pull');
SELECT is(seen(), 'error rows_ahead plain, error rows_unstamped task, warning rows_unknown plain', 'rows with versions that nobody gave');
SELECT is((SELECT count(*) FROM offsync.check()), 0::bigint, 'which only a deep look finds');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
SELECT matches(told(:'c'), '^plain 6, task 6 .*replacement.*replacement', 'once more everything');
SELECT first_sync() c \gset
SELECT is(told(:'c'), 'plain 0, task 0', 'and then peace');
UPDATE plain SET body = 'later' WHERE id > 99;
SELECT is(told(:'c'), 'plain 2, task 0', 'and what is written is told');

ALTER TABLE plain DISABLE TRIGGER zzzz_offsync_stamp;
UPDATE plain SET server_updated_at = CASE id WHEN 100 THEN 'infinity' ELSE '1969-01-01Z' END::timestamptz WHERE id > 99;
SELECT FROM offsync.enable('plain') \g /dev/null
SELECT is(seen(), 'warning rows_undated plain', 'rows of no time that a client can go by');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
SELECT first_sync() c \gset
INSERT INTO offsync_internal.plain_tombstone VALUES (77, 1::bigint << 52, 1, now());
INSERT INTO offsync_internal.reset_event SELECT 'task'::regclass, 1::bigint << 52, 'reset';
SELECT is(told(:'c'), 'plain 1, task 6 {"default":"incremental","override":{"task":"replacement"}}', 'from the future');
SELECT is(seen(), 'error reset_ahead task, error tombstones_ahead plain', 'is found');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
SELECT first_sync() c \gset
SELECT is(told(:'c'), 'plain 0, task 0', 'peace');

-- ---------------------------------------------------------------------------
-- offsync's own things
-- ---------------------------------------------------------------------------
CREATE TEMP TABLE event_triggers AS SELECT evtname, evtevent, evtfoid, evttags FROM pg_event_trigger WHERE evtname ~ '^offsync';
ALTER EVENT TRIGGER offsync_ddl_rewrite DISABLE;
ALTER EVENT TRIGGER offsync_ddl_drop ENABLE REPLICA;
ALTER EXTENSION offsync DROP EVENT TRIGGER offsync_ddl_end;
DROP EVENT TRIGGER offsync_ddl_end;
SELECT is(string_agg(finding, ','), 'event_trigger,event_trigger,event_trigger', 'event triggers') FROM offsync.check();
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
SELECT set_eq($$SELECT evtname, evtevent, evtfoid, evttags FROM pg_event_trigger WHERE evtname ~ '^offsync'$$, 'SELECT * FROM event_triggers', 'as they were');
SELECT is(count(*), 3::bigint, 'members of the extension') FROM pg_depend WHERE classid = 'pg_event_trigger'::regclass AND deptype = 'e';

DROP INDEX offsync_internal.push_log_push, offsync_internal.reset_event_tbl_version;
SELECT is(count(*), 2::bigint, 'indexes of ours') FROM offsync.check() WHERE finding = 'catalog_index';
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

DELETE FROM offsync_internal.secret;
SELECT is(seen(), 'error secret', 'no key');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
\set answer `psql -XAtq -d offsync_check -c "SELECT offsync.pull_changes() ->> 'cursor' <> ''"`
SELECT is(:'answer'::text, 't', 'and cursors are made again');

DELETE FROM offsync_internal.incarnation;
SELECT is(seen(), 'error incarnation', 'no incarnation');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
SELECT first_sync() c \gset
UPDATE plain SET body = 'after' WHERE id = 1;
SELECT is(told(:'c'), 'plain 1, task 0', 'and it goes on');

GRANT SELECT ON offsync_internal.push_log TO check_ann;
GRANT SELECT (key) ON offsync_internal.secret TO PUBLIC;
GRANT CREATE ON SCHEMA offsync_internal TO check_ann;
REVOKE USAGE ON SCHEMA offsync FROM PUBLIC;
SELECT is(string_agg(finding, ','), 'privileges,privileges,privileges,privileges', 'privileges') FROM offsync.check();
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

ALTER TABLE offsync_internal.timeline SET UNLOGGED;
SELECT is(seen(), 'error unlogged', 'unlogged');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

INSERT INTO offsync_internal.timeline SELECT now() - i * interval '100 days', i FROM generate_series(1, 2) i;
SELECT is(seen(), 'warning prune', 'prune doesn''t run');
\ir mend.psql
SELECT is(seen(), NULL, 'mended');

-- What can't be looked at is said, and the rest is looked at.
ALTER TABLE offsync_internal.timeline RENAME at TO since;
ALTER TABLE offsync_internal.secret RENAME TO hidden;
ALTER EVENT TRIGGER offsync_ddl_rewrite DISABLE;
SELECT is(seen(), 'error catalog_index, error event_trigger, error not_checked', 'the others go on');
SELECT matches(string_agg(detail, '|' ORDER BY detail), 'cursors'' key.*relation.*does not exist.*|.*how much is remembered.*"at" does not exist', 'with PostgreSQL''s words')
	FROM offsync.check() WHERE finding = 'not_checked';
ALTER TABLE offsync_internal.timeline RENAME since TO at;
ALTER TABLE offsync_internal.hidden RENAME TO secret;
\ir mend.psql
SELECT is(seen(), NULL, 'mended');
ALTER TABLE offsync_internal.synced_table RENAME notify TO told;
ALTER TABLE offsync_internal.synced_table RENAME conflict TO c;
SELECT ok(seen() IS NULL OR seen() ~ 'not_checked', 'whatever is broken, it answers');
ALTER TABLE offsync_internal.synced_table RENAME c TO conflict;
ALTER TABLE offsync_internal.synced_table RENAME told TO notify;

-- ---------------------------------------------------------------------------
-- Who may, and where
-- ---------------------------------------------------------------------------
SET ROLE check_ann;
SELECT throws_ok('SELECT * FROM offsync.check()', '42501', 'permission denied for offsync.check()', 'not for everybody');
SET ROLE check_watcher;
SELECT is((SELECT count(*) FROM offsync.check(true)), 0::bigint, 'for monitoring');
BEGIN READ ONLY;
SELECT is((SELECT count(*) FROM offsync.check(true)), 0::bigint, 'it writes nothing');
COMMIT;
RESET ROLE;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT FROM plain;
SELECT is((SELECT count(*) FROM offsync.check(NULL)), 0::bigint, 'in an old snapshot');
COMMIT;
SELECT * FROM finish();
\c postgres
DROP DATABASE offsync_check;
DROP ROLE check_ann;
DROP ROLE check_watcher;
