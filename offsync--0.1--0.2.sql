/* offsync--0.1--0.2.sql */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION offsync UPDATE TO '0.2'" to load this file. \quit

-- ---------------------------------------------------------------------------
-- Counters
-- ---------------------------------------------------------------------------

-- Checks by itself that its caller owns the extension, or is a pg_monitor.
CREATE FUNCTION offsync_internal.stats(
	OUT pulls bigint, OUT pulls_first bigint, OUT pulls_idle bigint, OUT rows_sent bigint, OUT deletions_sent bigint,
	OUT replacements bigint, OUT replaced_history bigint, OUT replaced_new bigint, OUT replaced_caller bigint,
	OUT replaced_access bigint, OUT replaced_policy bigint, OUT replaced_reset bigint, OUT replaced_pruned bigint,
	OUT replaced_filter bigint, OUT replaced_migration bigint,
	OUT pushes bigint, OUT pushes_repeated bigint, OUT pushes_failed bigint, OUT rows_received bigint,
	OUT deletions_received bigint, OUT rejected bigint, OUT conflicts bigint,
	OUT stats_reset timestamptz)
	AS 'MODULE_PATHNAME', 'offsync_stats' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION offsync_internal.stats() IS 'the row of the view offsync.stats';

CREATE VIEW @extschema@.stats AS SELECT * FROM offsync_internal.stats();
COMMENT ON VIEW @extschema@.stats IS
	'what devices of this database have done since stats_reset; a restart of the server starts it anew';
COMMENT ON COLUMN @extschema@.stats.pulls IS 'answered pulls, each page by itself';
COMMENT ON COLUMN @extschema@.stats.pulls_first IS 'of these, first syncs';
COMMENT ON COLUMN @extschema@.stats.pulls_idle IS 'of these, those that had nothing to tell';
COMMENT ON COLUMN @extschema@.stats.replacements IS 'collections that were replaced; the sum of those that follow';
COMMENT ON COLUMN @extschema@.stats.replaced_history IS 'the cursor was of another history: restored, lost by a promotion, from the future';
COMMENT ON COLUMN @extschema@.stats.replaced_new IS 'the cursor didn''t cover the collection';
COMMENT ON COLUMN @extschema@.stats.replaced_caller IS 'another user, tenant, rights or policies than the cursor''s, or a value that policies read';
COMMENT ON COLUMN @extschema@.stats.replaced_access IS 'what policies read had changed in a way that has no delta';
COMMENT ON COLUMN @extschema@.stats.replaced_policy IS 'policies that can''t be followed, or a trigger or mirror out of order: see offsync.status';
COMMENT ON COLUMN @extschema@.stats.replaced_reset IS 'TRUNCATE, a rewrite, a changed definition, offsync.reset';
COMMENT ON COLUMN @extschema@.stats.replaced_pruned IS 'the device was away for longer than offsync.prune remembers';
COMMENT ON COLUMN @extschema@.stats.replaced_filter IS 'the device filters by other columns';
COMMENT ON COLUMN @extschema@.stats.replaced_migration IS 'the app has come to know the collection';
COMMENT ON COLUMN @extschema@.stats.pushes IS 'stored pushes';
COMMENT ON COLUMN @extschema@.stats.pushes_repeated IS 'pushes that were sent again, and answered as the first time';
COMMENT ON COLUMN @extschema@.stats.pushes_failed IS 'pushes that were refused as a whole';
COMMENT ON COLUMN @extschema@.stats.rows_received IS 'records that were stored';
COMMENT ON COLUMN @extschema@.stats.rejected IS 'records that were refused beside the rest of their push';
COMMENT ON COLUMN @extschema@.stats.conflicts IS 'records that were refused for a conflict, with their push or beside it';

CREATE FUNCTION @extschema@.stats_reset() RETURNS void
	AS 'MODULE_PATHNAME', 'offsync_stats_reset' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.stats_reset() IS 'start the counters of offsync.stats anew';

-- ---------------------------------------------------------------------------
-- Is everything in place?
-- ---------------------------------------------------------------------------

-- Checks by itself that its caller owns the extension, or is a pg_monitor.
CREATE FUNCTION @extschema@.check(
	deep boolean DEFAULT false,
	OUT collection text, OUT severity text, OUT finding text, OUT detail text, OUT fix text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'offsync_check' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.check(boolean) IS
	'what is out of order, and the SQL that mends it; nothing where all is well.
error: answers may be wrong, or calls fail; warning: answers are right, and dearer than they need be.
deep reads all synced tables, for rows whose versions nobody can have given.';

-- ---------------------------------------------------------------------------
-- Status
-- ---------------------------------------------------------------------------

-- Tells nothing to those who neither own the table nor watch the server.
CREATE FUNCTION offsync_internal.kept(tbl regclass,
	OUT tombstone_bytes bigint, OUT oldest_tombstone timestamptz,
	OUT exact_from bigint, OUT exact_since timestamptz, OUT mirror text)
	AS 'MODULE_PATHNAME', 'offsync_kept' LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION offsync_internal.kept(regclass) IS 'columns of the view offsync.status';

CREATE OR REPLACE VIEW @extschema@.status AS
	SELECT s.collection, s.tbl, s.key, s.conflict, s.tombstones, s.state,
		k.tombstone_bytes, k.oldest_tombstone, k.exact_from, k.exact_since, k.mirror
	FROM offsync_internal.status() s LEFT JOIN LATERAL offsync_internal.kept(s.tbl) k ON true;
COMMENT ON COLUMN @extschema@.status.state IS 'whether devices get exact answers, and if not, why';
COMMENT ON COLUMN @extschema@.status.tombstone_bytes IS 'size of the tombstones, with their indexes';
COMMENT ON COLUMN @extschema@.status.exact_from IS
	'devices with this timestamp, or a later one, are told exactly what changed; others take the collection anew';
COMMENT ON COLUMN @extschema@.status.exact_since IS 'those are the ones that have pulled since this time; null: nothing was noted since';
COMMENT ON COLUMN @extschema@.status.mirror IS 'whether the tombstones'' policies equal the table''s';

-- Checks by itself that its caller owns the extension, or is a pg_monitor.
CREATE FUNCTION offsync_internal.clients(
	OUT role name, OUT subject text, OUT client_id text, OUT pushes bigint, OUT records bigint,
	OUT first_push timestamptz, OUT last_push timestamptz,
	OUT "position" bigint, OUT position_since timestamptz, OUT pushes_since bigint, OUT rejected int, OUT state text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'offsync_clients' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION offsync_internal.clients() IS 'rows of the view offsync.clients';

CREATE VIEW @extschema@.clients AS SELECT * FROM offsync_internal.clients();
COMMENT ON VIEW @extschema@.clients IS
	'devices that push with a client_id, as long as offsync.prune remembers; pulls leave no trace';
COMMENT ON COLUMN @extschema@.clients.position IS
	'timestamp that its last push came with: so far it had pulled; null: it gives no push_id, or no cursor';
COMMENT ON COLUMN @extschema@.clients.position_since IS 'its first push from there';
COMMENT ON COLUMN @extschema@.clients.pushes_since IS 'so many from there';
COMMENT ON COLUMN @extschema@.clients.rejected IS 'records of its last push that were refused';

-- ---------------------------------------------------------------------------
-- Ids
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@.new_id(
	length int DEFAULT 15,
	alphabet text DEFAULT 'abcdefghijklmnopqrstuvwxyz0123456789') RETURNS text
	AS 'MODULE_PATHNAME', 'offsync_new_id' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.new_id(int, text) IS
	'a random id, from the system''s strong generator, each letter of the alphabet as likely as the others; good as the DEFAULT of a key.
By default as PocketBase makes them; WatermelonDB''s have 16 letters of a-zA-Z0-9.';

-- ---------------------------------------------------------------------------
-- PocketBase's sync clients
-- ---------------------------------------------------------------------------

-- The names of the arguments are those of the client's requests: some are taken, and without effect.
CREATE FUNCTION @extschema@.pb_list(
	collection text,
	filter text DEFAULT NULL,
	page int DEFAULT 1,
	"perPage" int DEFAULT 30,
	sort text DEFAULT NULL,
	"skipTotal" text DEFAULT NULL,
	expand text DEFAULT NULL,
	fields text DEFAULT NULL) RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_pb_list' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.pb_list(text, text, int, int, text, text, text, text) IS
	'a collection''s records as PocketBase lists them, or (collection => ''changes'') what was deleted, all on one page.
filter: updated > ''time'' or nothing; for changes also action = ''delete'' and collection_name = ''name'', joined by &&.
PT410 where it is no longer known what was deleted since that time.';

CREATE FUNCTION @extschema@.pb_create(collection text, body json) RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_pb_create' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.pb_create(text, json) IS
	'store a new record of a PocketBase client, or one whose first answer was lost; answers it as it is stored';

CREATE FUNCTION @extschema@.pb_update(collection text, id text, body json) RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_pb_update' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.pb_update(text, text, json) IS
	'store a PocketBase client''s changes of a record; answers it as it is stored';

CREATE FUNCTION @extschema@.pb_delete(collection text, id text) RETURNS void
	AS 'MODULE_PATHNAME', 'offsync_pb_delete' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.pb_delete(text, text) IS
	'delete a record for a PocketBase client; PT404 where there is none that the caller sees';

CREATE FUNCTION @extschema@.pb_request(json) RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_pb_request' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.pb_request(json) IS
	'a PocketBase client''s request to /api/collections/<name>/records[/<id>], which a proxy has made a call of this function:
its method and its path stand in the headers X-Original-Method and X-Original-URI, its body is the argument';

CREATE FUNCTION @extschema@.changes(
	since text DEFAULT NULL,
	what text DEFAULT NULL,
	collection text DEFAULT NULL,
	OUT id text, OUT collection_id text, OUT collection_name text, OUT record_id text, OUT record_data json,
	OUT action text, OUT created timestamptz, OUT updated timestamptz) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'offsync_changes' LANGUAGE C STABLE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.changes(text, text, text) IS
	'what happened to the records that the caller may see since some time before that time: deletions, or (what => ''create'' or
''update'') records as they are now. PT410 where it is no longer known what was deleted.';

-- Timeline
-- ---------------------------------------------------------------------------

ALTER TABLE offsync_internal.timeline ADD COLUMN next bigint;
COMMENT ON COLUMN offsync_internal.timeline.next IS
	'this version, and all above it, were begun after that time; null: noted by 0.1';

-- ---------------------------------------------------------------------------
-- Messages: changes of single fields
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@.pull_messages(
	last_server_timestamp bigint DEFAULT NULL, client_id text DEFAULT NULL, user_id text DEFAULT NULL)
	RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_pull_messages' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.pull_messages(bigint, text, text) IS
	'fields that changed since a device''s last server_timestamp, as messages; without those that it wrote itself.
last_server_timestamp: the greatest that it has stored; null or negative: all, its own too; user_id: the caller''s own';

CREATE FUNCTION @extschema@.push_messages(messages json)
	RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_push_messages' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.push_messages(json) IS
	'store messages: of each field the latest by their clocks wins.  Answers the ids of those that are done with, and why others
aren''t: {"accepted": [id...], "rejected": [{"id", "code", "reason"}...]}';

-- Runs as whoever reads or writes the foreign table, and finds by itself what that role may.
CREATE FUNCTION offsync_internal.messages_handler() RETURNS fdw_handler
	AS 'MODULE_PATHNAME', 'offsync_messages_handler' LANGUAGE C STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION offsync_internal.messages_handler() IS 'makes the foreign table of messages that offsync.expose creates';
CREATE FOREIGN DATA WRAPPER offsync_messages HANDLER offsync_internal.messages_handler;
CREATE SERVER offsync_messages FOREIGN DATA WRAPPER offsync_messages;
GRANT USAGE ON FOREIGN SERVER offsync_messages TO PUBLIC;
COMMENT ON SERVER offsync_messages IS 'this database''s synced tables, as messages';

-- ---------------------------------------------------------------------------
-- Triggers: updates leave their tombstones from the stamp trigger, and need no other.
-- ---------------------------------------------------------------------------

DO $$
DECLARE
	found pg_catalog.regclass;
BEGIN
	FOR found IN
		SELECT tgrelid FROM pg_catalog.pg_trigger
		WHERE tgname OPERATOR(pg_catalog.=) 'offsync_update' AND tgparentid OPERATOR(pg_catalog.=) 0
			AND tgfoid OPERATOR(pg_catalog.=) 'offsync_internal.bury()'::pg_catalog.regprocedure
	LOOP
		EXECUTE pg_catalog.format('DROP TRIGGER offsync_update ON %s', found);
	END LOOP;
END $$;

-- ---------------------------------------------------------------------------
-- REST cache: the calls of clients that keep a time and an id as their cursor
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@.rest_list(
	kind text, "updatedSince" text DEFAULT NULL, "limit" int DEFAULT 500, "includeDeleted" boolean DEFAULT true,
	"pageToken" text DEFAULT NULL, "afterId" text DEFAULT NULL)
	RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_rest_list' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.rest_list(text, text, int, boolean, text, text) IS
	'a page of what the caller sees of a collection, in the order of its last writing: behind that time and id';

CREATE FUNCTION @extschema@.rest_get(kind text, id text) RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_rest_get' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.rest_get(text, text) IS 'one record; PT404 where the caller sees none';

CREATE FUNCTION @extschema@.rest_put(
	kind text, id text, body json, "baseUpdatedAt" text DEFAULT NULL, force boolean DEFAULT NULL,
	"idempotencyKey" text DEFAULT NULL)
	RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_rest_put' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.rest_put(text, text, json, text, boolean, text) IS
	'store a record, unless it was written since baseUpdatedAt: then response.status is 409, and the answer says what it is now';

CREATE FUNCTION @extschema@.rest_post(kind text, body json, "idempotencyKey" text DEFAULT NULL) RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_rest_post' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.rest_post(text, json, text) IS
	'store a record under the id that it carries, or under a new one';

CREATE FUNCTION @extschema@.rest_delete(
	kind text, id text, "baseUpdatedAt" text DEFAULT NULL, force boolean DEFAULT NULL, "idempotencyKey" text DEFAULT NULL)
	RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_rest_delete' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.rest_delete(text, text, text, boolean, text) IS
	'delete a record, unless it was written since baseUpdatedAt';

CREATE FUNCTION @extschema@.rest_batch(ops json) RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_rest_batch' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.rest_batch(json) IS 'several changes, each stored or refused by itself';

CREATE FUNCTION @extschema@.rest_health() RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_rest_health' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.rest_health() IS 'is anybody there?';

CREATE FUNCTION @extschema@.rest(text) RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_rest' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.rest(text) IS
	'the call that the headers x-original-method and x-original-uri stand for';

-- ---------------------------------------------------------------------------
-- Row CRDT changesets: what an app's WebSocket server calls for its clients
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@.crdt_hello(node_id text) RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_crdt_hello' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.crdt_hello(text) IS
	'the server''s handshake for a client: last_modified is the greatest clock that the server has of its rows';

CREATE FUNCTION @extschema@.crdt_changeset(since text DEFAULT NULL, node_id text DEFAULT NULL) RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_crdt_changeset' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.crdt_changeset(text, text) IS
	'rows for a client since its last_modified, or since the cursor that came with an earlier changeset; none of its own';

CREATE FUNCTION @extschema@.crdt_merge(node_id text, changeset json) RETURNS json
	AS 'MODULE_PATHNAME', 'offsync_crdt_merge' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.crdt_merge(text, json) IS
	'store a client''s changeset, whole or not at all';

-- ---------------------------------------------------------------------------
-- Privileges: what is not for everybody checks its caller by itself.
-- ---------------------------------------------------------------------------

GRANT SELECT ON @extschema@.stats, @extschema@.clients TO PUBLIC;
