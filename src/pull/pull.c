/*
 * pull.c
 *		offsync.pull_changes: all that changed for the caller, in one snapshot.
 *
 * A pull writes nothing and takes no lock but those of a SELECT.  It reads through the snapshot of
 * the statement that called it, so all its collections are of one moment in READ COMMITTED too, and the cursor
 * it hands out describes exactly that snapshot.
 */
#include "postgres.h"

#include "base/spi.h"
#include "catalog/asked.h"
#include "catalog/horizon.h"
#include "catalog/incarnation.h"
#include "catalog/since.h"
#include "catalog/synced.h"
#include "fmgr.h"
#include "pull/call.h"
#include "pull/collect.h"
#include "pull/judge.h"
#include "pull/migration.h"
#include "pull/position.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(offsync_pull_changes);

/* ---------- how each is answered ---------- */

static OfsPullMode
choose_mode(const OfsSince *since, const OfsVerdict *verdict, const OfsAdded *added)
{
	if (since->kind == OFS_SINCE_FIRST)
		return OFS_PULL_FIRST;
	if (added && added->whole)
		return OFS_PULL_ADDED;
	if (verdict->replaced == NULL)
		return OFS_PULL_INCREMENTAL;
	ereport(DEBUG1,
			(errmsg_internal("collection \"%s\" is replaced: %s", verdict->view->table->collection,
							 verdict->replaced)));
	return OFS_PULL_REPLACEMENT;
}

/* ---------- the answer ---------- */

static void
append_name(StringInfo out, bool first, const char *name)
{
	if (!first)
		appendStringInfoChar(out, ',');
	ofs_json_string(out, name, strlen(name));
	appendStringInfoChar(out, ':');
}

static void
answer_collections(List *wanted, OfsJudge *judge, const OfsPullOptions *options,
				   StringInfo out, StringInfo replaced, List **views)
{
	ListCell   *lc;

	foreach(lc, wanted)
	{
		OfsAsked   *want = lfirst(lc);
		OfsVerdict *verdict = ofs_judge_ask(judge, want->table);
		OfsPullMode mode = choose_mode(judge->since, verdict, ofs_migration_find(options->migration, want->table));

		append_name(out, lc == list_head(wanted), want->asked);
		ofs_collect(verdict, judge->since, mode, options, out);
		if (mode == OFS_PULL_REPLACEMENT || mode == OFS_PULL_ADDED)
		{
			append_name(replaced, replaced->len == 0, want->asked);
			appendStringInfoString(replaced, "\"replacement\"");
		}
		*views = lappend(*views, verdict->view);
	}
}

static text *
pull(List *wanted, const OfsSince *since, const OfsPullOptions *options, const OfsPullCall *call,
	 MemoryContext result)
{
	StringInfoData out,
				replaced;
	OfsJudge   *judge = ofs_judge_create(since, ofs_filter_parse(call->filters, wanted, options->dialect),
											 options->dialect);
	List	   *views = NIL;
	char	   *cursor;
	int64		timestamp;
	MemoryContext old;
	text	   *answer;

	initStringInfo(&out);
	initStringInfo(&replaced);
	/* room for the length word: the buffer becomes the datum without another copy */
	appendStringInfoSpaces(&out, VARHDRSZ);
	appendStringInfoString(&out, "{\"changes\":{");
	answer_collections(wanted, judge, options, &out, &replaced, &views);
	appendStringInfoString(&out, "},");

	ofs_position_next(since, GetActiveSnapshot(), views, judge, call->pushed ? call->pushed->version : 0,
					  &cursor, &timestamp);
	appendStringInfo(&out, "\"timestamp\":" INT64_FORMAT ",\"cursor\":\"%s\",\"hasMore\":false",
					 timestamp, cursor);
	if (replaced.len > 0)
		appendStringInfo(&out, ",\"experimentalStrategy\":{\"default\":\"incremental\",\"override\":{%s}}",
						 replaced.data);
	if (call->members)
		appendStringInfo(&out, ",%s", call->members);
	appendStringInfoChar(&out, '}');

	old = MemoryContextSwitchTo(result);
	answer = palloc(out.len);
	memcpy(answer, out.data, out.len);
	MemoryContextSwitchTo(old);
	SET_VARSIZE(answer, out.len);
	return answer;
}

/* What it takes to know the client's own rows when they come back; NULL where they can't be known. */
static OfsPushes *
own_pushes(const OfsPullCall *call, const OfsSince *since)
{
	OfsClient  *client = ofs_client_identify(call->client_id);

	OfsPushes  *pushes;

	if (client == NULL || call->created_as_updated || since->kind != OFS_SINCE_EXACT)
		return NULL;
	pushes = ofs_pushlog_load(client, ofs_since_least(since));
	/* asked behind: what was pruned before it was read is told of */
	return ofs_horizon_passed_of(since, ofs_internal_table("push_log"), GetLatestSnapshot()) ? NULL : pushes;
}

text *
ofs_pull_answer(const OfsPullCall *call)
{
	MemoryContext result = CurrentMemoryContext;
	OfsPullOptions options;
	OfsSince   *since;
	List	   *wanted;
	text	   *answer;
	int			level;

	options.created_as_updated = call->created_as_updated;
	options.additive = call->additive;
	options.soft_rows = call->soft_rows;
	options.dialect = ofs_dialect_parse(call->dialect);

	ofs_snapshot_flush();
	since = ofs_since_parse(call->last_pulled_at);
	since->pushed = call->pushed;
	options.pushes = own_pushes(call, since);
	wanted = ofs_asked_list(call->collections);
	options.migration = ofs_migration_parse(call->migration, wanted);
	ofs_migration_require_seen(options.migration, since);

	level = ofs_jit_off();
	SPI_connect();
	answer = pull(wanted, since, &options, call, result);
	SPI_finish();
	AtEOXact_GUC(true, level);
	return answer;
}

/*
 * last_pulled_at: cursor, number, ISO timestamp or null; collections: null for all that the caller may read;
 * schema_version: taken, and without effect; migration: what is new to the device's app; client_id: tells the device's
 * own rows; filters: which rows it wants of those that it may see.  Returns the answer as json.
 */
Datum
offsync_pull_changes(PG_FUNCTION_ARGS)
{
	OfsPullCall call = {0};

	if (!PG_ARGISNULL(0))
		call.last_pulled_at = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!PG_ARGISNULL(1))
		call.collections = PG_GETARG_ARRAYTYPE_P(1);
	if (!PG_ARGISNULL(3))
		call.migration = PG_GETARG_JSONB_P(3);
	if (!PG_ARGISNULL(4))
		call.client_id = text_to_cstring(PG_GETARG_TEXT_PP(4));
	call.created_as_updated = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5);
	if (!PG_ARGISNULL(6))
		call.dialect = text_to_cstring(PG_GETARG_TEXT_PP(6));
	if (!PG_ARGISNULL(7))
		call.filters = text_to_cstring(PG_GETARG_TEXT_PP(7));
	PG_RETURN_TEXT_P(ofs_pull_answer(&call));
}
