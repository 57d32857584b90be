/*
 * expose_rest.c
 *		offsync.expose: the calls of clients that sync with a REST cache (dialect/rest.c).
 *
 * They learn of a deletion from the row, which is still there and says so: a row that is gone they keep.
 */
#include "postgres.h"

#include "setup/expose.h"

static const OfsWrapper calls[] = {
	{
		"rest", "rest", "text", "text", "VOLATILE",
		"The call that the headers x-original-method and x-original-uri stand for."
	},
	{
		"rest_list", "rest_list",
		"kind text, \"updatedSince\" text, \"limit\" integer, \"includeDeleted\" boolean, \"pageToken\" text, \"afterId\" text",
		"kind text, \"updatedSince\" text DEFAULT NULL, \"limit\" int DEFAULT 500, \"includeDeleted\" boolean DEFAULT true, "
		"\"pageToken\" text DEFAULT NULL, \"afterId\" text DEFAULT NULL",
		"STABLE",
		"A page of what was written since a time, behind an id."
	},
	{
		"rest_get", "rest_get", "kind text, id text", "kind text, id text", "STABLE",
		"One record."
	},
	{
		"rest_put", "rest_put",
		"kind text, id text, body json, \"baseUpdatedAt\" text, force boolean, \"idempotencyKey\" text",
		"kind text, id text, body json, \"baseUpdatedAt\" text DEFAULT NULL, force boolean DEFAULT NULL, "
		"\"idempotencyKey\" text DEFAULT NULL",
		"VOLATILE",
		"Store a record, unless it was written since baseUpdatedAt."
	},
	{
		"rest_post", "rest_post",
		"kind text, body json, \"idempotencyKey\" text",
		"kind text, body json, \"idempotencyKey\" text DEFAULT NULL",
		"VOLATILE",
		"Store a record under the id that it carries, or under a new one."
	},
	{
		"rest_delete", "rest_delete",
		"kind text, id text, \"baseUpdatedAt\" text, force boolean, \"idempotencyKey\" text",
		"kind text, id text, \"baseUpdatedAt\" text DEFAULT NULL, force boolean DEFAULT NULL, "
		"\"idempotencyKey\" text DEFAULT NULL",
		"VOLATILE",
		"Delete a record, unless it was written since baseUpdatedAt."
	},
	{
		"rest_batch", "rest_batch", "ops json", "ops json", "VOLATILE",
		"Several changes, each stored or refused by itself."
	},
	{
		"rest_health", "rest_health", "", "", "STABLE",
		"Is anybody there?"
	},
};

static void
suits(const OfsExposeRequest *request, const OfsTable *table)
{
	if (table->soft_delete == InvalidAttrNumber)
		ofs_expose_warn(request, table, "it has no soft_delete column, and of rows that are really deleted these clients never learn");
}

const OfsExposeDialect ofs_expose_rest = {
	.name = "rest", .wrappers = calls, .count = lengthof(calls), .suits = suits
};
