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
#include "pull/pull.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(offsync_pull_changes);

struct OfsPull
{
	const OfsPullCall *call;
	OfsPullOptions options;
	OfsSince   *since;
	OfsJudge   *judge;
	List	   *wanted;			/* of OfsAsked */
	List	   *views;			/* of those that have been begun */
	OfsCollecting *collecting;	/* the collection that is being answered; or NULL */
	StringInfoData replaced;
};

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

/* The next collection. */
static void
begin_collection(OfsPull *pull, StringInfo out)
{
	OfsAsked   *want = list_nth(pull->wanted, list_length(pull->views));
	OfsVerdict *verdict = ofs_judge_ask(pull->judge, want->table);
	OfsPullMode mode = choose_mode(pull->since, verdict, ofs_migration_find(pull->options.migration, want->table));

	append_name(out, pull->views == NIL, want->asked);
	pull->collecting = ofs_collect_begin(verdict, pull->since, mode, &pull->options);
	if (mode == OFS_PULL_REPLACEMENT || mode == OFS_PULL_ADDED)
	{
		append_name(&pull->replaced, pull->replaced.len == 0, want->asked);
		appendStringInfoString(&pull->replaced, "\"replacement\"");
	}
	pull->views = lappend(pull->views, verdict->view);
}

static void
append_position(OfsPull *pull, StringInfo out)
{
	const OfsPullCall *call = pull->call;
	char	   *cursor;
	int64		timestamp;

	ofs_position_next(pull->since, GetActiveSnapshot(), pull->views, pull->judge,
					  call->pushed ? call->pushed->version : 0, &cursor, &timestamp);
	appendStringInfo(out, "},\"timestamp\":" INT64_FORMAT ",\"cursor\":\"%s\",\"hasMore\":false",
					 timestamp, cursor);
	if (pull->replaced.len > 0)
		appendStringInfo(out, ",\"experimentalStrategy\":{\"default\":\"incremental\",\"override\":{%s}}",
						 pull->replaced.data);
	if (call->members)
		appendStringInfo(out, ",%s", call->members);
	appendStringInfoChar(out, '}');
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

OfsPull *
ofs_pull_begin(const OfsPullCall *call, bool piecewise)
{
	OfsPull    *pull = palloc0(sizeof(OfsPull));
	OfsPullOptions *options = &pull->options;
	OfsSince   *since;

	pull->call = call;
	options->created_as_updated = call->created_as_updated;
	options->dialect = ofs_dialect_parse(call->dialect);
	options->piecewise = piecewise;

	ofs_snapshot_flush();
	since = ofs_since_parse(call->last_pulled_at);
	since->pushed = call->pushed;
	pull->since = since;
	options->pushes = own_pushes(call, since);
	pull->wanted = ofs_asked_list(call->collections);
	options->migration = ofs_migration_parse(call->migration, pull->wanted);
	ofs_migration_require_seen(options->migration, since);
	initStringInfo(&pull->replaced);
	return pull;
}

bool
ofs_pull_more(OfsPull *pull, StringInfo out)
{
	if (pull->judge == NULL)
	{
		pull->judge = ofs_judge_create(pull->since, ofs_filter_parse(pull->call->filters, pull->wanted,
																	 pull->options.dialect),
									   pull->options.dialect);
		appendStringInfoString(out, "{\"changes\":{");
	}
	if (pull->collecting == NULL && list_length(pull->views) < list_length(pull->wanted))
		begin_collection(pull, out);
	if (pull->collecting != NULL)
	{
		if (!ofs_collect_more(pull->collecting, out))
			pull->collecting = NULL;
		return true;
	}
	append_position(pull, out);
	return false;
}

void
ofs_pull_end(OfsPull *pull)
{
	if (pull->collecting)
		ofs_collect_end(pull->collecting);
	pull->collecting = NULL;
}

text *
ofs_pull_answer(const OfsPullCall *call)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "offsync pull", ALLOCSET_DEFAULT_SIZES);
	StringInfoData out;
	OfsPull    *pull;
	int			level;

	/* the answer may be large: it is made where it is to be, with room for the length word */
	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ);

	level = ofs_jit_off();
	SPI_connect();
	MemoryContextSwitchTo(context);
	pull = ofs_pull_begin(call, false);
	while (ofs_pull_more(pull, &out))
		;
	SPI_finish();
	AtEOXact_GUC(true, level);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);

	SET_VARSIZE(out.data, out.len);
	return (text *) out.data;
}

/*
 * last_pulled_at: cursor, number, ISO timestamp or null; collections: null for all that the caller may read;
 * schema_version: taken, and without effect; migration: what is new to the device's app; client_id: tells the device's
 * own rows; filters: which rows it wants of those that it may see. 
 */
void
ofs_pull_get_call(FunctionCallInfo fcinfo, OfsPullCall *call)
{
	memset(call, 0, sizeof(*call));
	if (!PG_ARGISNULL(0))
		call->last_pulled_at = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!PG_ARGISNULL(1))
		call->collections = PG_GETARG_ARRAYTYPE_P(1);
	if (!PG_ARGISNULL(3))
		call->migration = PG_GETARG_JSONB_P(3);
	if (!PG_ARGISNULL(4))
		call->client_id = text_to_cstring(PG_GETARG_TEXT_PP(4));
	call->created_as_updated = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5);
	if (!PG_ARGISNULL(6))
		call->dialect = text_to_cstring(PG_GETARG_TEXT_PP(6));
	if (!PG_ARGISNULL(7))
		call->filters = text_to_cstring(PG_GETARG_TEXT_PP(7));
}

Datum
offsync_pull_changes(PG_FUNCTION_ARGS)
{
	OfsPullCall call;

	ofs_pull_get_call(fcinfo, &call);
	PG_RETURN_TEXT_P(ofs_pull_answer(&call));
}
