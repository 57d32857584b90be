/*
 * collection.c
 *		One collection's part of a pull's answer, piece by piece.
 */
#include "postgres.h"

#include "catalog/buried.h"
#include "pull/collection.h"
#include "pull/deleted.h"

typedef enum Stage
{
	STAGE_BEGIN,
	STAGE_ROWS,					/* are being fetched */
	STAGE_DELETED,
	STAGE_LISTS					/* what has waited */
} Stage;

struct OfsCollection
{
	const OfsVerdict *verdict;
	const OfsSince *since;
	OfsPullMode mode;
	const OfsPullOptions *options;
	bool		buried;
	OfsCollect *collect;
	OfsWireList lists[OFS_LISTS];
	int			list;			/* the one that stands open in the answer */
	Stage		stage;
};

OfsCollection *
ofs_collection_begin(const OfsVerdict *verdict, const OfsSince *since, OfsPullMode mode, const OfsPullOptions *options)
{
	OfsCollection *c = palloc0(sizeof(OfsCollection));

	c->verdict = verdict;
	c->since = since;
	c->mode = mode;
	c->options = options;
	c->buried = mode == OFS_PULL_INCREMENTAL && ofs_buried_since(verdict->view->table, since);
	c->collect = ofs_collect_begin(verdict, since, mode, options, c->lists);
	return c;
}

/* The list that comes now; behind the last there is the end. */
static void
open_list(OfsCollection *c, StringInfo out)
{
	static const char *const openings[] = {"{\"created\":[", "],\"updated\":[", "],\"deleted\":[", "]}"};

	appendStringInfoString(out, openings[c->list]);
}

/*
 * Rows go to the first list that can have any at once, unless the answer is to go out piece by piece and they can't be
 * fetched so.
 */
static void
begin_lists(OfsCollection *c, StringInfo out)
{
	bool		at_once = !c->options->piecewise || ofs_collect_is_fetched(c->mode, c->options);
	int			first = c->mode == OFS_PULL_FIRST || (c->mode != OFS_PULL_REPLACEMENT && c->options->pushes) ?
		OFS_LIST_CREATED : OFS_LIST_UPDATED;

	for (int i = 0; i < OFS_LISTS; i++)
		ofs_list_begin(&c->lists[i], i == first && at_once ? out : NULL, c->options->piecewise);
	for (open_list(c, out); c->list < first; open_list(c, out))
		c->list++;
}

bool
ofs_collection_more(OfsCollection *c, StringInfo out)
{
	switch (c->stage)
	{
		case STAGE_BEGIN:
			begin_lists(c, out);
			ofs_collect_rows(c->collect, c->buried);
			break;
		case STAGE_ROWS:
			if (ofs_collect_fetch(c->collect))
				return true;
			break;
		case STAGE_DELETED:
			ofs_collect_end(c->collect);
			c->collect = NULL;
			/* who has nothing yet would only learn that there has been something */
			if (c->options->taker && c->mode == OFS_PULL_FIRST)
				break;
			if (c->mode == OFS_PULL_INCREMENTAL && ofs_paging_enter(c->options->paging, OFS_PART_DELETED))
				ofs_deleted_collect(c->verdict, c->since, c->buried, c->options, &c->lists[OFS_LIST_DELETED]);
			else if (c->mode != OFS_PULL_INCREMENTAL && c->options->additive)
				ofs_deleted_remembered(c->verdict, c->options, &c->lists[OFS_LIST_DELETED]);
			break;
		case STAGE_LISTS:
			if (ofs_list_answer(&c->lists[c->list], out))
				return true;
			c->list++;
			open_list(c, out);
			return c->list < OFS_LISTS;
	}
	c->stage++;
	return true;
}

int64
ofs_collection_count(const OfsCollection *c, int list)
{
	return c->lists[list].count;
}

void
ofs_collection_end(OfsCollection *c)
{
	if (c->collect)
		ofs_collect_end(c->collect);
	c->collect = NULL;
}
