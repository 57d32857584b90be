/*
 * pull.c
 *		offsync.pull_changes: all that changed for the caller, in one snapshot.
 *
 * A pull writes nothing and takes no lock but those of a SELECT.  It reads through the snapshot of
 * the statement that called it, so all its collections are of one moment in READ COMMITTED too, and the cursor
 * it hands out describes exactly that snapshot.
 */
#include "postgres.h"

#include "base/errors.h"
#include "base/spi.h"
#include "catalog/asked.h"
#include "catalog/horizon.h"
#include "catalog/incarnation.h"
#include "catalog/since.h"
#include "catalog/synced.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "pull/call.h"
#include "pull/collect.h"
#include "pull/judge.h"
#include "pull/migration.h"
#include "pull/page.h"
#include "pull/position.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(offsync_pull_changes);

#define NOTHING "{\"created\":[],\"updated\":[],\"deleted\":[]}"

typedef struct Pull
{
	const OfsPullCall *call;
	const OfsSince *since;		/* what it began with */
	OfsPullOptions options;
	OfsPaging  *paging;			/* or NULL */
	OfsJudge   *judge;
	List	   *views;			/* of what is answered */
	StringInfoData out;
	StringInfoData replaced;	/* members of the strategy's "override" */
} Pull;

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
append_replaced(Pull *pull, const OfsAsked *want, OfsPullMode mode)
{
	if (mode != OFS_PULL_REPLACEMENT && mode != OFS_PULL_ADDED)
		return;
	append_name(&pull->replaced, pull->replaced.len == 0, want->asked);
	appendStringInfoString(&pull->replaced, "\"replacement\"");
}

static OfsPullMode
answer_collection(Pull *pull, const OfsVerdict *verdict, OfsPullMode mode)
{
	ofs_collect(verdict, pull->since, mode, &pull->options, &pull->out);
	return mode;
}

/* What the page has room for; how the collection is answered over all pages. */
static OfsPullMode
answer_page(Pull *pull, const OfsAsked *want, OfsPageCollection *place)
{
	OfsPaging  *paging = pull->paging;
	OfsVerdict *verdict;
	OfsPullMode mode;

	/* on the first page the view is noted whether there is room or not */
	if (paging->first && (place == NULL || paging->full || place->state != OFS_PAGE_OPEN))
	{
		appendStringInfoString(&pull->out, NOTHING);
		return place && place->state != OFS_PAGE_SPOILED ? place->mode : OFS_PULL_INCREMENTAL;
	}
	verdict = ofs_judge_ask(pull->judge, want->table);
	mode = choose_mode(pull->since, verdict, ofs_migration_find(pull->options.migration, want->table));
	if (paging->first == NULL)
	{
		pull->views = lappend(pull->views, verdict->view);
		place->mode = mode;
	}
	else if (place->mode != mode || ofs_paging_moved(paging, want->table))
		place->state = OFS_PAGE_SPOILED;
	if (paging->full || place->state == OFS_PAGE_SPOILED)
	{
		appendStringInfoString(&pull->out, NOTHING);
		return place->state == OFS_PAGE_SPOILED ? OFS_PULL_INCREMENTAL : mode;
	}
	ofs_paging_go(paging, place);
	(void) answer_collection(pull, verdict, mode);
	if (!paging->full)
		place->state = OFS_PAGE_DONE;
	return mode;
}

static OfsPullMode
answer_whole(Pull *pull, const OfsAsked *want)
{
	OfsVerdict *verdict = ofs_judge_ask(pull->judge, want->table);

	pull->views = lappend(pull->views, verdict->view);
	return answer_collection(pull, verdict, choose_mode(pull->since, verdict,
														ofs_migration_find(pull->options.migration, want->table)));
}

/* Of a retired collection devices keep what they hold. */
static void
append_retired(Pull *pull, bool first)
{
	ListCell   *lc;

	foreach(lc, ofs_asked_retired(pull->call->collections))
	{
		append_name(&pull->out, first, lfirst(lc));
		appendStringInfoString(&pull->out, NOTHING);
		first = false;
	}
}

static void
append_position(Pull *pull)
{
	const OfsCursorOwn *pushed = pull->call->pushed;
	OfsPaging  *paging = pull->paging;
	const OfsCursor *cursor = NULL;
	int64		timestamp;

	if (paging == NULL || paging->first == NULL)
		cursor = ofs_position_next(pull->since, GetActiveSnapshot(), pull->views, pull->judge,
								   pushed ? pushed->version : 0, &timestamp);
	if (paging)
		ofs_paging_seal(paging, pull->since, &cursor, &timestamp);
	appendStringInfo(&pull->out, "\"timestamp\":" INT64_FORMAT ",\"cursor\":\"%s\",\"hasMore\":%s",
					 timestamp, ofs_cursor_seal(cursor), paging && paging->full ? "true" : "false");
	if (pull->replaced.len == 0)
		return;
	/* whoever takes a page for the whole would delete what the others hold: WatermelonDB refuses to */
	if (paging && paging->full)
		appendStringInfoString(&pull->out, ",\"experimentalStrategy\":\"incomplete\"");
	else
		appendStringInfo(&pull->out, ",\"experimentalStrategy\":{\"default\":\"incremental\",\"override\":{%s}}",
						 pull->replaced.data);
}

static text *
answer_all(Pull *pull, List *wanted, MemoryContext result)
{
	MemoryContext old;
	text	   *answer;
	ListCell   *lc;

	/* room for the length word: the buffer becomes the datum without another copy */
	appendStringInfoSpaces(&pull->out, VARHDRSZ);
	appendStringInfoString(&pull->out, "{\"changes\":{");
	foreach(lc, wanted)
	{
		OfsAsked   *want = lfirst(lc);

		append_name(&pull->out, lc == list_head(wanted), want->asked);
		append_replaced(pull, want, pull->paging ? answer_page(pull, want, ofs_paging_find(pull->paging, want->table)) :
						answer_whole(pull, want));
	}
	append_retired(pull, wanted == NIL);
	appendStringInfoString(&pull->out, "},");
	append_position(pull);
	if (pull->call->members)
		appendStringInfo(&pull->out, ",%s", pull->call->members);
	appendStringInfoChar(&pull->out, '}');

	old = MemoryContextSwitchTo(result);
	answer = palloc(pull->out.len);
	memcpy(answer, pull->out.data, pull->out.len);
	MemoryContextSwitchTo(old);
	SET_VARSIZE(answer, pull->out.len);
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

/* Pages of which the caller wants one; NULL: all in one.  What the pull began with is put into "since". */
static OfsPaging *
open_pages(const OfsPullCall *call, OfsSince *opened, const OfsSince **since)
{
	uint64		arguments = ofs_dialect_parse(call->dialect);
	const char *origin = call->last_pulled_at;
	OfsPaging  *paging;

	*since = opened;
	if (call->paged && call->max_rows < 1)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("max_rows must be greater than zero")));
	if (!call->paged && opened->page == NULL)
		return NULL;
	if (call->migration)
		arguments = hash_combine64(arguments, hash_bytes_extended((const unsigned char *) call->migration,
																  VARSIZE(call->migration), 0));
	/* a time may mean another number later */
	if (opened->kind == OFS_SINCE_NUMBER)
		origin = psprintf(INT64_FORMAT, opened->from);
	paging = ofs_paging_create(call->paged ? call->max_rows : PG_INT32_MAX, opened, origin, arguments);
	if (paging->first)
		*since = ofs_since_parse(paging->page.origin);
	return paging;
}

static text *
answer_call(const OfsPullCall *call, MemoryContext result)
{
	Pull		pull = {call};
	OfsSince   *opened = ofs_since_open(call->last_pulled_at);
	List	   *wanted;
	List	   *filters;

	opened->pushed = call->pushed;
	pull.options.created_as_updated = call->created_as_updated;
	pull.options.additive = call->additive;
	pull.options.soft_rows = call->soft_rows;
	pull.options.dialect = ofs_dialect_parse(call->dialect);
	pull.paging = pull.options.paging = open_pages(call, opened, &pull.since);
	pull.options.pushes = own_pushes(call, pull.since);
	wanted = ofs_asked_list(call->collections);
	pull.options.migration = ofs_migration_parse(call->migration, wanted);
	ofs_migration_require_seen(pull.options.migration, pull.since);
	filters = ofs_filter_parse(call->filters, wanted, pull.options.dialect);
	pull.judge = ofs_judge_create(pull.since, filters, pull.options.dialect);
	if (pull.paging && pull.paging->first)
	{
		pull.paging->still = ofs_judge_create(pull.paging->first, filters, pull.options.dialect);
		if (call->collections)
			ofs_paging_require(pull.paging, wanted);
	}
	initStringInfo(&pull.out);
	initStringInfo(&pull.replaced);
	return answer_all(&pull, wanted, result);
}

text *
ofs_pull_answer(const OfsPullCall *call)
{
	MemoryContext result = CurrentMemoryContext;
	text	   *answer;
	int			level;

	ofs_snapshot_flush();
	level = ofs_jit_off();
	SPI_connect();
	answer = answer_call(call, result);
	SPI_finish();
	AtEOXact_GUC(true, level);
	return answer;
}

/*
 * last_pulled_at: cursor, number, ISO timestamp or null; collections: null for all that the caller may read;
 * schema_version: taken, and without effect; migration: what is new to the device's app; client_id: tells the device's
 * own rows; filters: which rows it wants of those that it may see; max_rows: as many rows and deleted ids to a page, null: all
 * in one.  Returns the answer as json.
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
	call.paged = !PG_ARGISNULL(8);
	if (call.paged)
		call.max_rows = PG_GETARG_INT32(8);
	PG_RETURN_TEXT_P(ofs_pull_answer(&call));
}
