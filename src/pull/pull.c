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
#include "catalog/since.h"
#include "catalog/synced.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "pull/call.h"
#include "pull/collect.h"
#include "pull/judge.h"
#include "pull/position.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(offsync_pull_changes);

/* ---------- which collections ---------- */

typedef struct Wanted
{
	OfsTable   *table;
	const char *asked;
} Wanted;

static List *
all_readable(void)
{
	List	   *wanted = NIL;
	ListCell   *lc;

	foreach(lc, ofs_table_list())
	{
		OfsTable   *table = lfirst(lc);
		Wanted	   *want;

		if (!ofs_view_readable(table))
			continue;
		want = palloc(sizeof(Wanted));
		want->table = table;
		want->asked = table->collection;
		wanted = lappend(wanted, want);
	}
	return wanted;
}

static void
add_wanted(List **wanted, List **tables, const char *name)
{
	OfsTable   *table = ofs_table_by_name(name);
	Wanted	   *want;

	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_UNKNOWN),
				 errmsg("unknown collection \"%s\"", name),
				 errhint("The view offsync.status lists the collections.")));
	ofs_view_require(table);
	if (list_member_ptr(*tables, table))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("collection \"%s\" is asked for twice", name)));
	want = palloc(sizeof(Wanted));
	want->table = table;
	want->asked = name;
	*tables = lappend(*tables, table);
	*wanted = lappend(*wanted, want);
}

static List *
named_collections(ArrayType *names)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	List	   *wanted = NIL;
	List	   *tables = NIL;
	List	   *sorted = NIL;
	ListCell   *lc,
			   *lw;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_OFS_MALFORMED),
					 errmsg("a collection's name can't be null")));
		add_wanted(&wanted, &tables, TextDatumGetCString(elements[i]));
	}

	foreach(lc, ofs_table_sort(tables))
		foreach(lw, wanted)
			if (((Wanted *) lfirst(lw))->table == lfirst(lc))
				sorted = lappend(sorted, lfirst(lw));
	return sorted;
}

/* ---------- how each is answered ---------- */

static OfsPullMode
choose_mode(const OfsSince *since, const OfsVerdict *verdict)
{
	if (since->kind == OFS_SINCE_FIRST)
		return OFS_PULL_FIRST;
	if (verdict->reason == NULL)
		return OFS_PULL_INCREMENTAL;
	ereport(DEBUG1,
			(errmsg_internal("collection \"%s\" is replaced: %s", verdict->view->table->collection,
							 verdict->reason)));
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
		Wanted	   *want = lfirst(lc);
		OfsVerdict *verdict = ofs_judge_ask(judge, want->table);
		OfsPullMode mode = choose_mode(judge->since, verdict);

		append_name(out, lc == list_head(wanted), want->asked);
		ofs_collect(verdict, judge->since, mode, options, out);
		if (mode == OFS_PULL_REPLACEMENT)
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
	OfsJudge   *judge = ofs_judge_create(since, options->dialect);
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

	ofs_position_next(since, GetActiveSnapshot(), views, judge->views.views, call->pushed ? call->pushed->version : 0,
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

/* What it takes to know the client's own rows when they come back. */
static OfsPushes *
own_pushes(const OfsPullCall *call, const OfsSince *since)
{
	OfsClient  *client = ofs_client_identify(call->client_id);

	if (client == NULL || call->created_as_updated || since->kind == OFS_SINCE_FIRST)
		return NULL;
	return ofs_pushlog_load(client, ofs_since_least(since));
}

text *
ofs_pull_answer(const OfsPullCall *call)
{
	MemoryContext result = CurrentMemoryContext;
	OfsPullOptions options;
	OfsSince   *since;
	List	   *wanted;
	text	   *answer;

	if (call->migration)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("migration syncs are not supported yet"),
				 errhint("Pass migration => null, and last_pulled_at => null to fetch everything.")));
	options.created_as_updated = call->created_as_updated;
	options.dialect = ofs_dialect_parse(call->dialect);

	ofs_position_flush();
	since = ofs_since_parse(call->last_pulled_at);
	since->pushed = call->pushed;
	options.pushes = own_pushes(call, since);
	wanted = call->collections ? named_collections(call->collections) : all_readable();

	SPI_connect();
	answer = pull(wanted, since, &options, call, result);
	SPI_finish();
	return answer;
}

/*
 * last_pulled_at: cursor, number, ISO timestamp or null; collections: null for all that the caller may read;
 * schema_version: taken, and without effect here; client_id: tells the device's own rows.  Returns the answer as json.
 */
Datum
offsync_pull_changes(PG_FUNCTION_ARGS)
{
	OfsPullCall call = {0};

	if (!PG_ARGISNULL(0))
		call.last_pulled_at = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!PG_ARGISNULL(1))
		call.collections = PG_GETARG_ARRAYTYPE_P(1);
	call.migration = !PG_ARGISNULL(3);
	if (!PG_ARGISNULL(4))
		call.client_id = text_to_cstring(PG_GETARG_TEXT_PP(4));
	call.created_as_updated = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5);
	if (!PG_ARGISNULL(6))
		call.dialect = text_to_cstring(PG_GETARG_TEXT_PP(6));
	PG_RETURN_TEXT_P(ofs_pull_answer(&call));
}
