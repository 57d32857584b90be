/* offsync--0.1--0.2.sql */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION offsync UPDATE TO '0.2'" to load this file. \quit

-- ---------------------------------------------------------------------------
-- Counters
-- ---------------------------------------------------------------------------

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
COMMENT ON COLUMN @extschema@.stats.replaced_caller IS 'another user, other rights or other policies than the cursor''s';
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

CREATE FUNCTION @extschema@.check(
	deep boolean DEFAULT false,
	OUT collection text, OUT severity text, OUT finding text, OUT detail text, OUT fix text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'offsync_check' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.check(boolean) IS
	'what is out of order, and the SQL that mends it; nothing where all is well.
error: answers may be wrong, or calls fail; warning: answers are right, and dearer than they need be.
deep reads all synced tables, for rows whose versions nobody can have given.';
