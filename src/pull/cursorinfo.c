/*
 * cursorinfo.c
 *		offsync.cursor_info: what a cursor says, for people.
 */
#include "postgres.h"

#include "base/codec.h"
#include "catalog/incarnation.h"
#include "catalog/since.h"
#include "catalog/synced.h"
#include "core/set.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(offsync_cursor_info);

static const char *
kind_name(OfsSinceKind kind)
{
	switch (kind)
	{
		case OFS_SINCE_FIRST:
			return "first sync";
		case OFS_SINCE_REPLACE:
			return "replacement";
		case OFS_SINCE_NUMBER:
			return "number";
		case OFS_SINCE_EXACT:
			return "exact";
	}
	return "unknown";
}

/* What the cursor carries of the sets that policies and filters look rows up in: how much, and no value. */
static void
append_sets(StringInfo out, const OfsCursor *cursor)
{
	OfsSetBook	book = {0};
	int			values = 0;
	int			large = 0;
	int			filters = 0;

	if (!ofs_set_unpack(cursor->inputs, cursor->inputs_len, &book))
		return;
	for (int i = 0; i < book.nsets; i++)
	{
		values += book.sets[i].kind == OFS_SET_VALUES ? book.sets[i].count : 0;
		large += book.sets[i].kind == OFS_SET_HASH;
	}
	for (int i = 0; i < book.nviews; i++)
		filters += book.views[i].columns != 0;
	appendStringInfo(out, ",\"sets\":{\"count\":%d,\"values\":%d,\"tooLarge\":%d},\"filteredCollections\":%d",
					 book.nsets, values, large, filters);
}

static void
append_exact(StringInfo out, const OfsSince *since)
{
	const OfsCursor *cursor = since->cursor;
	bool		first = true;
	ListCell   *lc;

	appendStringInfo(out, ",\"timeline\":%u,\"lsn\":\"%X/%X\",\"xmin\":" UINT64_FORMAT ",\"xmax\":" UINT64_FORMAT
					 ",\"running\":%d,\"ownTransactions\":%d,\"collections\":[",
					 cursor->timeline, LSN_FORMAT_ARGS(cursor->lsn), cursor->xmin, cursor->xmax,
					 since->nrunning, cursor->nown);
	foreach(lc, ofs_table_list())
	{
		const OfsTable *table = lfirst(lc);

		for (int i = 0; i < cursor->ncollections; i++)
			if (cursor->collections[i].hash == table->hash)
			{
				if (!first)
					appendStringInfoChar(out, ',');
				first = false;
				ofs_json_text(out, table->collection);
			}
	}
	appendStringInfoChar(out, ']');
	append_sets(out, cursor);
}

/* cursor: anything that last_pulled_at takes.  Returns json; PT400 for what pull_changes would refuse. */
Datum
offsync_cursor_info(PG_FUNCTION_ARGS)
{
	char	   *given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	OfsSince   *since = ofs_since_open(given);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"kind\":\"%s\"", kind_name(since->kind));
	if (since->reason)
	{
		appendStringInfoString(&out, ",\"reason\":");
		ofs_json_text(&out, since->reason);
	}
	if (since->kind == OFS_SINCE_NUMBER || since->kind == OFS_SINCE_EXACT)
		appendStringInfo(&out, ",\"from\":" INT64_FORMAT, since->from);
	if (since->kind == OFS_SINCE_EXACT)
	{
		append_exact(&out, since);
		appendStringInfo(&out, ",\"bytes\":%d", (int) strlen(given));
	}
	if (since->page)
		appendStringInfoString(&out, ",\"hasMore\":true");
	appendStringInfoChar(&out, '}');
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
