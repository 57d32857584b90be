/*
 * expose_rest.c
 *		offsync.expose: the calls of clients that sync with a REST cache (dialect/rest.c).
 *
 * They learn of a deletion from the row, which is still there and says so: a row that is gone they keep.  And they read tables in an
 * order that no other client reads them in, which wants an index of its own.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "base/answer.h"
#include "base/indexform.h"
#include "base/spi.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "setup/expose.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

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

/* Is there an index in the order of lists, for one user or for all? */
static bool
has_index(Relation rel, AttrNumber stamp)
{
	bool		found = false;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (form->indisvalid && index->rd_rel->relam == BTREE_AM_OID && !ofs_index_has_predicate(index))
			for (int i = 0; i < form->indnkeyatts; i++)
				found = found || form->indkey.values[i] == stamp;
		index_close(index, AccessShareLock);
	}
	return found;
}

static void
advise(const OfsExposeRequest *request, const OfsTable *table)
{
	Relation	rel = table_open(table->relid, AccessShareLock);
	OfsScopes  *scopes = ofs_scopes_find(rel);
	const char *scope = list_length(scopes->columns) == 1 ?
		psprintf("%s, ", quote_identifier(get_attname(table->relid, linitial_int(scopes->columns), false))) : "";
	List	   *key = NIL;

	for (int i = 0; i < table->nkey; i++)
		key = lappend_int(key, table->key[i]);
	if (!has_index(rel, table->updated_at))
		ofs_answer_say(request->answer, "advice", "CREATE INDEX %sON %s (%s" OFS_COL_UPDATED_AT ", %s)",
						rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? "" : "CONCURRENTLY ",
						ofs_relation_name(table->relid), scope, ofs_work_columns(table->relid, key, ""));
	table_close(rel, AccessShareLock);
}

static void
suits(const OfsExposeRequest *request, const OfsTable *table)
{
	if (table->soft_delete == InvalidAttrNumber)
		ofs_expose_warn(request, table, "it has no soft_delete column, and of rows that are really deleted these clients never learn");
	advise(request, table);
}

const OfsExposeDialect ofs_expose_rest = {
	.name = "rest", .wrappers = calls, .count = lengthof(calls), .suits = suits
};
