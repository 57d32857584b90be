/* offsync--0.1.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION offsync" to load this file. \quit

-- ---------------------------------------------------------------------------
-- Private catalog.  Nobody but the extension reads or writes these tables;
-- only the tombstone tables, which enable creates here one per synced table,
-- are readable, and those through row-level security alone.
-- ---------------------------------------------------------------------------

CREATE SCHEMA offsync_internal;

-- One row per synced table.  Dumped with the database.
CREATE TABLE offsync_internal.synced_table (
	tbl regclass PRIMARY KEY,
	collection text NOT NULL UNIQUE,
	tombstone regclass NOT NULL,
	key name[] NOT NULL,
	conflict text NOT NULL,
	merge_function text,
	updated_at name,
	soft_delete name,
	columns name[],
	filter_columns name[],
	access_tables regclass[],
	row_local boolean NOT NULL,
	reads regclass[] NOT NULL,
	index text NOT NULL,
	added_columns name[] NOT NULL,
	added_index text,
	shape text NOT NULL,
	notify boolean NOT NULL
);
COMMENT ON TABLE offsync_internal.synced_table IS
	'synced tables and their options; written by offsync.enable and its kin only';
COMMENT ON COLUMN offsync_internal.synced_table.reads IS
	'tables and views that its SELECT policies read, found in them or declared as access_tables';
COMMENT ON COLUMN offsync_internal.synced_table.shape IS
	'digest of all that decides who sees which columns of which rows; a difference resets the collection';

-- Names that offsync.disable has retired (see catalog/retired.c).  Dumped with the database.
CREATE TABLE offsync_internal.retired (
	collection text PRIMARY KEY,
	qualified text NOT NULL,
	at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE offsync_internal.retired IS
	'collections that are no longer synced, and that old versions of an app still ask for';

-- One row per continuous history of transaction ids (see catalog/incarnation.c).
-- Without a unique key: concurrent first writers insert equal rows.
CREATE TABLE offsync_internal.incarnation (
	id bigint NOT NULL,
	base bigint NOT NULL,
	system_identifier bigint NOT NULL,
	timeline int NOT NULL,
	database oid NOT NULL,
	relation oid NOT NULL,
	row_xid xid NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE offsync_internal.incarnation IS
	'continuous histories of transaction ids and the base that their versions start from';

-- Everything that makes a whole collection unknown to its devices.
CREATE TABLE offsync_internal.reset_event (
	tbl oid NOT NULL,
	version bigint NOT NULL,
	reason text NOT NULL,
	at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE INDEX reset_event_tbl_version ON offsync_internal.reset_event (tbl, version);
COMMENT ON TABLE offsync_internal.reset_event IS
	'TRUNCATE, rewrites, policy changes and offsync.reset: judged through a cursor''s snapshot like a row';

-- Writes of tables that policies read (see catalog/access.c).
CREATE TABLE offsync_internal.access_event (
	tbl oid NOT NULL,
	version bigint NOT NULL,
	at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	above bigint NOT NULL
);
CREATE INDEX access_event_tbl_version ON offsync_internal.access_event (tbl, version);
COMMENT ON TABLE offsync_internal.access_event IS
	'transactions that wrote a table which a policy of a synced table reads';
COMMENT ON COLUMN offsync_internal.access_event.above IS
	'all versions below this one had ended by then: whoever has seen this event has seen those';

-- Wall time to version, for clients that send clocks.
CREATE TABLE offsync_internal.timeline (
	at timestamptz NOT NULL,
	version bigint NOT NULL
);
CREATE INDEX timeline_at ON offsync_internal.timeline (at);
COMMENT ON TABLE offsync_internal.timeline IS
	'at this time every version below this one was decided';

-- What clients that name themselves have pushed (see catalog/pushlog.c).  Never dumped: a
-- restored database knows of no push.  Without a unique key: no push waits for another.
CREATE TABLE offsync_internal.push_log (
	client bigint NOT NULL,
	version bigint NOT NULL,
	push bigint,
	at timestamptz NOT NULL,
	role oid NOT NULL,
	subject text,
	client_id text NOT NULL,
	records bigint[] NOT NULL,
	push_id text,
	digest bytea,
	number bigint,
	cursor text,
	changes text,
	outcome text
);
CREATE INDEX push_log_client_version ON offsync_internal.push_log (client, version);
CREATE INDEX push_log_push ON offsync_internal.push_log (push);
COMMENT ON TABLE offsync_internal.push_log IS
	'pushes with a client_id: which records they wrote (as hashes) and, with a push_id, what was sent (as a digest) and answered';

-- What offsync.prune took away.
CREATE TABLE offsync_internal.prune_horizon (
	tbl oid NOT NULL,
	first bigint NOT NULL,
	last bigint NOT NULL
);
CREATE INDEX prune_horizon_tbl ON offsync_internal.prune_horizon (tbl);
COMMENT ON TABLE offsync_internal.prune_horizon IS
	'ranges of versions that tombstones and resets were pruned from: who has not seen them all takes the collection anew';

-- The key that seals cursors.  Never dumped: a restored database has its own.
CREATE TABLE offsync_internal.secret (key bytea NOT NULL);
INSERT INTO offsync_internal.secret
	SELECT pg_catalog.decode(pg_catalog.replace(pg_catalog.concat(
		pg_catalog.gen_random_uuid(), pg_catalog.gen_random_uuid(), pg_catalog.gen_random_uuid()), '-', ''), 'hex');
COMMENT ON TABLE offsync_internal.secret IS 'random key of the cursors'' seal';

SELECT pg_catalog.pg_extension_config_dump('offsync_internal.synced_table', '');
SELECT pg_catalog.pg_extension_config_dump('offsync_internal.retired', '');
SELECT pg_catalog.pg_extension_config_dump('offsync_internal.incarnation', '');

-- ---------------------------------------------------------------------------
-- Tracking: trigger functions.  Not meant to be called.
-- ---------------------------------------------------------------------------

CREATE FUNCTION offsync_internal.stamp() RETURNS trigger
	AS 'MODULE_PATHNAME', 'offsync_stamp' LANGUAGE C;
COMMENT ON FUNCTION offsync_internal.stamp() IS
	'BEFORE INSERT OR UPDATE: stamps the row with the writing transaction''s version, and leaves a tombstone of an image that changes';

CREATE FUNCTION offsync_internal.bury() RETURNS trigger
	AS 'MODULE_PATHNAME', 'offsync_bury' LANGUAGE C;
COMMENT ON FUNCTION offsync_internal.bury() IS
	'AFTER DELETE: leaves a tombstone of the old image';

CREATE FUNCTION offsync_internal.truncated() RETURNS trigger
	AS 'MODULE_PATHNAME', 'offsync_truncated' LANGUAGE C;
COMMENT ON FUNCTION offsync_internal.truncated() IS
	'AFTER TRUNCATE: resets the collection';

CREATE FUNCTION offsync_internal.touched() RETURNS trigger
	AS 'MODULE_PATHNAME', 'offsync_touched' LANGUAGE C;
COMMENT ON FUNCTION offsync_internal.touched() IS
	'AFTER any write of a table that policies read: leaves an event';

-- In a restrictive policy on every tombstone table: may the caller read the synced table's key?
CREATE FUNCTION offsync_internal.key_readable(tombstones regclass) RETURNS boolean
	AS 'MODULE_PATHNAME', 'offsync_key_readable' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION offsync_internal.key_readable(regclass) IS
	'whether the caller may read the key of the table that these tombstones are of';

CREATE FUNCTION offsync_internal.ddl_end() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'offsync_ddl_end' LANGUAGE C;
CREATE FUNCTION offsync_internal.ddl_drop() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'offsync_ddl_drop' LANGUAGE C;
CREATE FUNCTION offsync_internal.ddl_rewrite() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'offsync_ddl_rewrite' LANGUAGE C;

CREATE EVENT TRIGGER offsync_ddl_end ON ddl_command_end
	WHEN TAG IN ('CREATE POLICY', 'ALTER POLICY', 'ALTER TABLE', 'CREATE TABLE', 'CREATE SCHEMA',
				 'GRANT', 'REVOKE', 'DROP OWNED', 'CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE',
				 'CREATE TRIGGER', 'ALTER TRIGGER', 'CREATE VIEW', 'ALTER VIEW', 'CREATE INDEX', 'CREATE RULE', 'ALTER TYPE', 'ALTER DOMAIN')
	EXECUTE FUNCTION offsync_internal.ddl_end();
-- whatever is dropped may take a policy or a partition along
CREATE EVENT TRIGGER offsync_ddl_drop ON sql_drop
	EXECUTE FUNCTION offsync_internal.ddl_drop();
CREATE EVENT TRIGGER offsync_ddl_rewrite ON table_rewrite
	EXECUTE FUNCTION offsync_internal.ddl_rewrite();
ALTER EVENT TRIGGER offsync_ddl_end ENABLE ALWAYS;
ALTER EVENT TRIGGER offsync_ddl_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER offsync_ddl_rewrite ENABLE ALWAYS;

-- ---------------------------------------------------------------------------
-- For the owner of a table
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@.enable(
	tbl regclass,
	collection text DEFAULT NULL,
	key name[] DEFAULT NULL,
	conflict text DEFAULT 'reject',
	columns name[] DEFAULT NULL,
	index text DEFAULT 'auto',
	force boolean DEFAULT false,
	updated_at name DEFAULT NULL,
	soft_delete name DEFAULT NULL,
	access_tables regclass[] DEFAULT NULL,
	row_local boolean DEFAULT false,
	filter_columns name[] DEFAULT NULL,
	notify boolean DEFAULT false,
	OUT action text, OUT detail text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'offsync_enable' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.enable(regclass, text, name[], text, name[], text, boolean, name, name, regclass[], boolean, name[], boolean) IS
	'make a table sync; says what it did.
conflict says what becomes of a record whose row was changed on the server unseen by its device:
  strategy         both changed it   deleted on device  deleted on server
  reject           conflict          conflict           conflict
  client_wins      record            deleted            inserted again
  server_wins      row               row                stays deleted
  last_write_wins  later updated_at  row                later: record or deletion
  merge            by column         conflict           conflict
  a function       what it returns   what it returns    what it returns
merge: a column that only one side changed is taken from it; documents and arrays that both changed
are united; a scalar that both changed, to different values, is a conflict.
A function gets (base jsonb, local jsonb, server jsonb) and returns the columns to write: NULL keeps
the row, the JSON value null deletes it.
last_write_wins: a writer on the server who leaves updated_at alone has his change dated by the server.
soft_delete names a column that deletions set instead of removing the row.
access_tables names the tables that functions in its policies read ({}: none): nobody can see into functions.
row_local says that these functions judge the row by the values they are given, and never look it up.
filter_columns names the columns that a device may filter by.
notify sends NOTIFY offsync, once for each transaction and collection, so that devices needn''t ask again and again.';

CREATE FUNCTION @extschema@.disable(tbl regclass, drop_columns boolean DEFAULT true, retire boolean DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'offsync_disable' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.disable(regclass, boolean, boolean) IS
	'undo enable; drops only what enable added.
retire keeps the collection''s name: old versions of an app that still ask for it find nothing changed in it, and what
they push into it is refused record by record, beside the rest of their push.';

CREATE FUNCTION @extschema@.reset(tbl regclass) RETURNS void
	AS 'MODULE_PATHNAME', 'offsync_reset' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.reset(regclass) IS
	'let every device take this collection anew at its next pull';

CREATE FUNCTION @extschema@.new_incarnation() RETURNS void
	AS 'MODULE_PATHNAME', 'offsync_new_incarnation' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.new_incarnation() IS
	'after restoring a copied data directory: ends all cursors';
REVOKE EXECUTE ON FUNCTION @extschema@.new_incarnation() FROM PUBLIC;

CREATE FUNCTION @extschema@.expose(
	schema regnamespace,
	dialect text DEFAULT 'watermelondb',
	prefix text DEFAULT '',
	replace boolean DEFAULT false,
	tombstones text DEFAULT NULL,
	server_columns name[] DEFAULT NULL,
	OUT action text, OUT detail text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'offsync_expose' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.expose(regnamespace, text, text, boolean, text, name[]) IS
	'create the RPCs in the schema that PostgREST publishes.
dialect: watermelondb, json, or drift, which has two calls of its own and these options:
tombstones: soft-deleted rows come as ids under deleted (ids, the default), or as rows under updated (rows);
server_columns: columns that pushes leave to their defaults and never change ({user_id} unless named)';

-- ---------------------------------------------------------------------------
-- For clients
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@.pull_changes(
	last_pulled_at text DEFAULT NULL,
	collections text[] DEFAULT NULL,
	schema_version int DEFAULT NULL,
	migration jsonb DEFAULT NULL,
	client_id text DEFAULT NULL,
	created_as_updated boolean DEFAULT false,
	dialect text DEFAULT NULL,
	filters json DEFAULT NULL,
	max_rows int DEFAULT NULL)
	RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_pull_changes' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.pull_changes(text, text[], int, jsonb, text, boolean, text, json, int) IS
	'all that changed for the caller since last_pulled_at (null: everything it may see), in one snapshot; after a first sync only a cursor with the client_id that also pushes lists rows under created; migration: what is new to the device''s app comes whole; max_rows: in pages, each asked for with the cursor of the one before until hasMore is false, and to be collected before they are applied';

CREATE FUNCTION @extschema@.pull_stream(
	last_pulled_at text DEFAULT NULL,
	collections text[] DEFAULT NULL,
	schema_version int DEFAULT NULL,
	migration jsonb DEFAULT NULL,
	client_id text DEFAULT NULL,
	created_as_updated boolean DEFAULT false,
	dialect text DEFAULT NULL,
	filters json DEFAULT NULL,
	max_rows int DEFAULT NULL)
	RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'offsync_pull_stream' LANGUAGE C STABLE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION @extschema@.pull_stream(text, text[], int, jsonb, text, boolean, text, json, int) IS
	'the answer of pull_changes in pieces, one behind the other, made while they are read: for answers that are too large for one value';

CREATE FUNCTION @extschema@.push_changes(
	changes json,
	last_pulled_at text DEFAULT NULL,
	client_id text DEFAULT NULL,
	push_id text DEFAULT NULL,
	on_error text DEFAULT 'abort',
	dialect text DEFAULT NULL)
	RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_push_changes' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.push_changes(json, text, text, text, text, text) IS
	'store a device''s changes, all or nothing; one call is one transaction';

CREATE FUNCTION @extschema@.sync_changes(
	changes json,
	last_pulled_at text DEFAULT NULL,
	collections text[] DEFAULT NULL,
	client_id text DEFAULT NULL,
	push_id text DEFAULT NULL,
	on_error text DEFAULT 'abort',
	created_as_updated boolean DEFAULT false,
	dialect text DEFAULT NULL,
	schema_version int DEFAULT NULL,
	migration jsonb DEFAULT NULL,
	filters json DEFAULT NULL,
	max_rows int DEFAULT NULL)
	RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_sync_changes' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.sync_changes(json, text, text[], text, text, text, boolean, text, int, jsonb, json, int) IS
	'push_changes, then pull_changes from where that has brought the client; the answer is the pull''s, with what the push answers beside cursor and timestamp; with max_rows it is the first page, and pull_changes brings the others';

-- As Drift apps call them; expose makes wrappers with those apps' own names.
CREATE FUNCTION @extschema@.drift_pull(
	collections text[] DEFAULT NULL,
	last_pulled_at text DEFAULT NULL,
	tombstones text DEFAULT 'ids')
	RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_drift_pull' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.drift_pull(text[], text, text) IS
	'pull_changes for clients that keep a time, and merge by updated_at';

CREATE FUNCTION @extschema@.drift_push(
	_changes json,
	last_pulled_at text DEFAULT NULL,
	server_columns text[] DEFAULT '{user_id}')
	RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_drift_push' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.drift_push(json, text, text[]) IS
	'push_changes for such clients: last_pulled_at is the device''s clock, and the answer, one string, the time to pull from next';

CREATE FUNCTION @extschema@.digest(
	collections text[] DEFAULT NULL,
	buckets int DEFAULT 1,
	versions boolean DEFAULT true,
	filters json DEFAULT NULL,
	dialect text DEFAULT NULL)
	RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_digest' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.digest(text[], int, boolean, json, text) IS
	'what the caller sees of each collection in a few numbers, which a device computes of what it holds: rows, and two sums of hashes, for each of so many buckets';

CREATE FUNCTION @extschema@.reconcile(
	device json,
	last_pulled_at text DEFAULT NULL,
	dialect text DEFAULT NULL,
	filters json DEFAULT NULL)
	RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_reconcile' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.reconcile(json, text, text, json) IS
	'the changes that make what a device holds what its user sees.
device is {"task": {"buckets": 32, "differ": [3, 17], "records": {"id": version}}}: the records of
the buckets that differ (null: all); an array of ids compares no versions';

CREATE FUNCTION @extschema@.cursor_info(cursor text) RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_cursor_info' LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.cursor_info(text) IS
	'what a cursor of this server says, for people';

-- ---------------------------------------------------------------------------
-- For those who write the app.  Called from psql: expose leaves it out.
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@.client_schema(
	format text,
	collections text[] DEFAULT NULL,
	version int DEFAULT 1,
	dialect text DEFAULT NULL)
	RETURNS text
	AS 'MODULE_PATHNAME', 'offsync_client_schema' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.client_schema(text, text[], int, text) IS
	'the collections and columns that the caller may read, as an app declares them: watermelondb, watermelondb-models, drift, sqlite or typescript; version is that of the app''s schema';

-- ---------------------------------------------------------------------------
-- For the people who run it
-- ---------------------------------------------------------------------------

-- Checks by itself that its caller owns the table, and could become the role.
CREATE FUNCTION @extschema@.explain(
	tbl regclass,
	id text,
	last_pulled_at text DEFAULT NULL,
	as_role name DEFAULT NULL,
	claims json DEFAULT NULL,
	filters json DEFAULT NULL,
	OUT step text, OUT verdict text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'offsync_explain' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.explain(regclass, text, text, name, json, json) IS
	'why a device gets, or does not get, the row of this id: for a role and a token''s claims, since last_pulled_at, with its filters';

CREATE FUNCTION @extschema@.advise(
	tbl regclass,
	OUT about text, OUT finding text, OUT advice text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'offsync_advise' LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.advise(regclass) IS
	'what a table''s policies, indexes and key mean for sync, and what to run to make it better';

-- Tells a caller of its own pull only.
CREATE FUNCTION offsync_internal.pull_reason(last_pulled_at text, tbl regclass, filters json,
	OUT dialect text, OUT reason text, OUT unsure boolean)
	AS 'MODULE_PATHNAME', 'offsync_pull_reason' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION offsync_internal.pull_reason(text, regclass, json) IS
	'why the caller''s pull would replace the collection; null when it would not';

-- Checks by itself that its caller owns the extension.
CREATE FUNCTION @extschema@.prune(
	retention interval DEFAULT NULL,
	max_rows bigint DEFAULT NULL,
	OUT what text, OUT removed bigint)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'offsync_prune' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.prune(interval, bigint) IS
	'forget tombstones, resets, pushes and clock times older than the retention (null: offsync.retention), at most max_rows of each';

CREATE FUNCTION offsync_internal.status(
	OUT collection text, OUT tbl regclass, OUT key name[], OUT conflict text,
	OUT tombstones regclass, OUT state text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'offsync_status' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION offsync_internal.status() IS 'rows of the view offsync.status';

CREATE VIEW @extschema@.status AS SELECT * FROM offsync_internal.status();
COMMENT ON VIEW @extschema@.status IS
	'synced tables; state says whether devices get exact answers, and if not, why';

-- ---------------------------------------------------------------------------
-- Privileges, all of them.
-- ---------------------------------------------------------------------------

-- Clients call the functions; each runs with its caller's own rights.
GRANT USAGE ON SCHEMA @extschema@ TO PUBLIC;
-- A pull names tombstone tables as the caller; their policies decide what it sees.
-- No other table in the schema is granted to anybody.
GRANT USAGE ON SCHEMA offsync_internal TO PUBLIC;
-- Which tables sync is no secret (pg_trigger says as much).
GRANT SELECT ON @extschema@.status TO PUBLIC;
-- The stamping triggers fire as whoever writes; creating one by hand is the table owner's own affair.
