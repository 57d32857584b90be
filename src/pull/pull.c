/*
 * pull.c
 *		offsync.pull_changes: all that changed for the caller, in one snapshot.
 *
 * A pull writes nothing and takes no lock but those of a SELECT.  It reads through the snapshot of
 * the statement that called it, so all its collections are of one moment in READ COMMITTED too, and the cursor
 * it hands out describes exactly that snapshot.
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/count.h"
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
#include "pull/collection.h"
#include "pull/judge.h"
#include "pull/list.h"
#include "pull/migration.h"
#include "pull/page.h"
#include "pull/position.h"
#include "pull/pull.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(offsync_pull_changes);

#define NOTHING "{\"created\":[],\"updated\":[],\"deleted\":[]}"

struct OfsPull
{
	const OfsPullCall *call;
	const OfsSince *since;		/* what it began with */
	OfsPullOptions options;
	OfsPaging  *paging;			/* or NULL */
	OfsJudge   *judge;
	List	   *wanted;			/* of OfsAsked */
	int			nbegun;			/* so many of them */
	List	   *views;			/* of what is answered */
	OfsCollection *collection;	/* the one that is being answered; or NULL */
	OfsPageCollection *place;	/* ... and its place in the page */
	StringInfoData replaced;	/* members of the strategy's "override" */
	int64		nrows;			/* that were answered */
	int64		ndeleted;
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
	ofs_json_text(out, name);
	appendStringInfoChar(out, ':');
}

static void
append_replaced(OfsPull *pull, const OfsAsked *want, OfsPullMode mode)
{
	if (mode != OFS_PULL_REPLACEMENT && mode != OFS_PULL_ADDED)
		return;
	append_name(&pull->replaced, pull->replaced.len == 0, want->asked);
	appendStringInfoString(&pull->replaced, "\"replacement\"");
	/* of several pages the first one counts */
	if (pull->paging == NULL || pull->paging->first == NULL)
		ofs_count(mode == OFS_PULL_ADDED ? OFS_COUNT_REPLACED_MIGRATION : ofs_judge_ask(pull->judge, want->table)->kind, 1);
}

static OfsPullMode
begin_collection(OfsPull *pull, const OfsVerdict *verdict, OfsPullMode mode)
{
	pull->collection = ofs_collection_begin(verdict, pull->since, mode, &pull->options);
	return mode;
}

/* What the page has room for; how the collection is answered over all pages. */
static OfsPullMode
begin_page(OfsPull *pull, const OfsAsked *want, OfsPageCollection *place, StringInfo out)
{
	OfsPaging  *paging = pull->paging;
	OfsVerdict *verdict;
	OfsPullMode mode;

	/* on the first page the view is noted whether there is room or not */
	if (paging->first && (place == NULL || paging->full || place->state != OFS_PAGE_OPEN))
	{
		appendStringInfoString(out, NOTHING);
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
		appendStringInfoString(out, NOTHING);
		return place->state == OFS_PAGE_SPOILED ? OFS_PULL_INCREMENTAL : mode;
	}
	ofs_paging_go(paging, place);
	pull->place = place;
	return begin_collection(pull, verdict, mode);
}

static OfsPullMode
begin_whole(OfsPull *pull, const OfsAsked *want)
{
	OfsVerdict *verdict = ofs_judge_ask(pull->judge, want->table);

	pull->views = lappend(pull->views, verdict->view);
	return begin_collection(pull, verdict, choose_mode(pull->since, verdict,
													   ofs_migration_find(pull->options.migration, want->table)));
}

/* Of a retired collection devices keep what they hold. */
static void
append_retired(OfsPull *pull, bool first, StringInfo out)
{
	ListCell   *lc;

	foreach(lc, ofs_asked_retired(pull->call->collections))
	{
		append_name(out, first, lfirst(lc));
		appendStringInfoString(out, NOTHING);
		first = false;
	}
}

static void
append_position(OfsPull *pull, StringInfo out)
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
	appendStringInfo(out, "},\"timestamp\":" INT64_FORMAT ",\"cursor\":\"%s\",\"hasMore\":%s",
					 timestamp, ofs_cursor_seal(cursor), paging && paging->full ? "true" : "false");
	if (pull->replaced.len == 0)
		return;
	/* whoever takes a page for the whole would delete what the others hold: WatermelonDB refuses to */
	if (paging && paging->full)
		appendStringInfoString(out, ",\"experimentalStrategy\":\"incomplete\"");
	else
		appendStringInfo(out, ",\"experimentalStrategy\":{\"default\":\"incremental\",\"override\":{%s}}",
						 pull->replaced.data);
}

static void
end_collection(OfsPull *pull)
{
	pull->nrows += ofs_collection_count(pull->collection, OFS_LIST_CREATED) +
		ofs_collection_count(pull->collection, OFS_LIST_UPDATED);
	pull->ndeleted += ofs_collection_count(pull->collection, OFS_LIST_DELETED);
	pull->collection = NULL;
	if (pull->place && !pull->paging->full)
		pull->place->state = OFS_PAGE_DONE;
	pull->place = NULL;
}

static void
count_answer(const OfsPull *pull)
{
	if (!pull->call->uncounted)
		ofs_count_pull(pull->since->kind == OFS_SINCE_FIRST && (pull->paging == NULL || pull->paging->first == NULL),
					   pull->nrows, pull->ndeleted, pull->replaced.len > 0);
}

/* The next collection, if there is one. */
static bool
begin_next(OfsPull *pull, StringInfo out)
{
	OfsAsked   *want;

	if (pull->nbegun == list_length(pull->wanted))
		return false;
	want = list_nth(pull->wanted, pull->nbegun);
	append_name(out, pull->nbegun == 0, want->asked);
	pull->nbegun++;
	append_replaced(pull, want, pull->paging ?
					begin_page(pull, want, ofs_paging_find(pull->paging, want->table), out) :
					begin_whole(pull, want));
	return true;
}

bool
ofs_pull_more(OfsPull *pull, StringInfo out)
{
	if (pull->collection)
	{
		if (ofs_collection_more(pull->collection, out))
			return true;
		end_collection(pull);
	}
	if (pull->nbegun == 0)
		appendStringInfoString(out, "{\"changes\":{");
	if (begin_next(pull, out))
		return true;
	append_retired(pull, pull->wanted == NIL, out);
	append_position(pull, out);
	if (pull->call->members)
		appendStringInfo(out, ",%s", pull->call->members);
	appendStringInfoChar(out, '}');
	count_answer(pull);
	return false;
}

void
ofs_pull_end(OfsPull *pull)
{
	if (pull->collection)
		ofs_collection_end(pull->collection);
	pull->collection = NULL;
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

OfsPull *
ofs_pull_begin(const OfsPullCall *call, bool piecewise)
{
	OfsPull    *pull = palloc0(sizeof(OfsPull));
	OfsSince   *opened;
	List	   *filters;

	ofs_snapshot_flush();
	pull->call = call;
	opened = ofs_since_open(call->last_pulled_at);
	opened->pushed = call->pushed;
	pull->options.created_as_updated = call->created_as_updated;
	pull->options.additive = call->additive;
	pull->options.soft_rows = call->soft_rows;
	pull->options.dialect = ofs_dialect_parse(call->dialect);
	pull->options.piecewise = piecewise;
	pull->paging = pull->options.paging = open_pages(call, opened, &pull->since);
	pull->options.pushes = own_pushes(call, pull->since);
	pull->wanted = ofs_asked_list(call->collections);
	pull->options.migration = ofs_migration_parse(call->migration, pull->wanted);
	ofs_migration_require_seen(pull->options.migration, pull->since);
	filters = ofs_filter_parse(call->filters, pull->wanted, pull->options.dialect);
	pull->judge = ofs_judge_create(pull->since, filters, pull->options.dialect);
	if (pull->paging && pull->paging->first)
	{
		pull->paging->still = ofs_judge_create(pull->paging->first, filters, pull->options.dialect);
		if (call->collections)
			ofs_paging_require(pull->paging, pull->wanted);
	}
	initStringInfo(&pull->replaced);
	return pull;
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
	MemoryContextDelete(context);
	SET_VARSIZE(out.data, out.len);
	return (text *) out.data;
}

/* Where the caller goes on from, in the context that it called in. */
static char *
seal_position(const OfsPull *pull, MemoryContext caller)
{
	int64		timestamp;
	OfsCursor  *cursor = ofs_position_next(pull->since, GetActiveSnapshot(), pull->views, pull->judge, 0, &timestamp);

	return MemoryContextStrdup(caller, ofs_cursor_seal(cursor));
}

void
ofs_pull_take(const OfsPullCall *call, const OfsPullTaker *taker, char **cursor)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "offsync pull", ALLOCSET_DEFAULT_SIZES);
	StringInfoData nowhere;
	OfsPull    *pull;
	int			level;
	ListCell   *lc;

	level = ofs_jit_off();
	SPI_connect();
	MemoryContextSwitchTo(context);
	initStringInfo(&nowhere);
	pull = ofs_pull_begin(call, false);
	if (pull->paging)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("malformed last_pulled_at"),
				 errdetail("It is the cursor of a page of another call.")));
	pull->options.taker = taker;
	foreach(lc, pull->wanted)
	{
		OfsAsked   *want = lfirst(lc);
		OfsPullMode mode = begin_whole(pull, want);

		append_replaced(pull, want, mode);
		taker->collection(taker->arg, ofs_judge_ask(pull->judge, want->table)->view, mode != OFS_PULL_INCREMENTAL);
		while (ofs_collection_more(pull->collection, &nowhere))
			;
		end_collection(pull);
	}
	if (cursor)
		*cursor = seal_position(pull, caller);
	count_answer(pull);
	SPI_finish();
	AtEOXact_GUC(true, level);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

/*
 * last_pulled_at: cursor, number, ISO timestamp or null; collections: null for all that the caller may read;
 * schema_version: taken, and without effect; migration: what is new to the device's app; client_id: tells the device's
 * own rows; filters: which rows it wants of those that it may see; max_rows: as many rows and deleted ids to a page, null: all
 * in one.
 */
void
ofs_pull_get_call(FunctionCallInfo fcinfo, OfsPullCall *call)
{
	memset(call, 0, sizeof(*call));
	call->last_pulled_at = ofs_argument_text(fcinfo, 0);
	if (!PG_ARGISNULL(1))
		call->collections = PG_GETARG_ARRAYTYPE_P(1);
	if (!PG_ARGISNULL(3))
		call->migration = PG_GETARG_JSONB_P(3);
	call->client_id = ofs_argument_text(fcinfo, 4);
	call->created_as_updated = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5);
	call->dialect = ofs_argument_text(fcinfo, 6);
	call->filters = ofs_argument_text(fcinfo, 7);
	call->paged = !PG_ARGISNULL(8);
	if (call->paged)
		call->max_rows = PG_GETARG_INT32(8);
}

Datum
offsync_pull_changes(PG_FUNCTION_ARGS)
{
	OfsPullCall call;

	ofs_pull_get_call(fcinfo, &call);
	PG_RETURN_TEXT_P(ofs_pull_answer(&call));
}
