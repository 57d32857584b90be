/*
 * expose_own.c
 *		offsync.expose: our own calls, for WatermelonDB and for whoever takes plain JSON.
 */
#include "postgres.h"

#include "setup/expose.h"
#include "utils/builtins.h"

static const OfsWrapper ours[] = {
	{
		"pull_changes", "pull_changes",
		"last_pulled_at text, schema_version integer, migration jsonb, collections text[], client_id text, created_as_updated boolean, filters json, max_rows integer",
		"last_pulled_at text DEFAULT NULL, schema_version int DEFAULT NULL, migration jsonb DEFAULT NULL, "
		"collections text[] DEFAULT NULL, client_id text DEFAULT NULL, created_as_updated boolean DEFAULT false, "
		"filters json DEFAULT NULL, max_rows int DEFAULT NULL",
		"STABLE",
		"Everything that changed for the caller since last_pulled_at."
	},
	{
		"push_changes", "push_changes",
		"changes json, last_pulled_at text, client_id text, push_id text, on_error text",
		"changes json, last_pulled_at text DEFAULT NULL, client_id text DEFAULT NULL, push_id text DEFAULT NULL, "
		"on_error text DEFAULT 'abort'",
		"VOLATILE",
		"Store a device's changes: all or nothing, or (on_error => 'skip') all that can be stored."
	},
	{
		"sync_changes", "sync_changes",
		"changes json, last_pulled_at text, collections text[], client_id text, push_id text, on_error text, created_as_updated boolean, schema_version integer, migration jsonb, filters json, max_rows integer",
		"changes json, last_pulled_at text DEFAULT NULL, collections text[] DEFAULT NULL, client_id text DEFAULT NULL, "
		"push_id text DEFAULT NULL, on_error text DEFAULT 'abort', created_as_updated boolean DEFAULT false, "
		"schema_version int DEFAULT NULL, migration jsonb DEFAULT NULL, filters json DEFAULT NULL, "
		"max_rows int DEFAULT NULL",
		"VOLATILE",
		"Store a device's changes, then answer everything that changed for the caller since last_pulled_at."
	},
	{
		"digest", "digest",
		"collections text[], buckets integer, versions boolean, filters json",
		"collections text[] DEFAULT NULL, buckets int DEFAULT 1, versions boolean DEFAULT true, filters json DEFAULT NULL",
		"STABLE",
		"What the caller sees, in a few numbers that a device computes, too."
	},
	{
		"reconcile", "reconcile",
		"device json, last_pulled_at text, filters json",
		"device json, last_pulled_at text DEFAULT NULL, filters json DEFAULT NULL",
		"STABLE",
		"The changes that make what a device holds what the caller sees."
	},
};

static void
pass_dialect(const OfsExposeRequest *request, const OfsWrapper *wrapper, StringInfo buf)
{
	appendStringInfo(buf, ", dialect => %s", quote_literal_cstr(request->dialect->name));
}

const OfsExposeDialect ofs_expose_watermelondb = {
	.name = "watermelondb", .wrappers = ours, .count = lengthof(ours), .pass = pass_dialect
};

const OfsExposeDialect ofs_expose_json = {
	.name = "json", .wrappers = ours, .count = lengthof(ours), .pass = pass_dialect
};
