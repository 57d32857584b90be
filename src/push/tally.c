/*
 * tally.c
 *		What a push comes to in offsync.stats.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/count.h"
#include "base/errors.h"
#include "push/push.h"

static void
count_refusals(const PushTable *table)
{
	int			conflicts = 0;
	ListCell   *lc;

	foreach(lc, table->malformed)
		if (((PushRefusal *) lfirst(lc))->sqlerrcode == ERRCODE_OFS_CONFLICT)
			conflicts++;
	for (int i = 0; i < table->nrefused; i++)
		if (table->refused[i]->refusal->sqlerrcode == ERRCODE_OFS_CONFLICT)
			conflicts++;
	ofs_count(OFS_COUNT_REJECTED, list_length(table->malformed) + table->nrefused);
	ofs_count(OFS_COUNT_CONFLICTS, conflicts);
}

/* It is stored, some of its records perhaps not. */
void
ofs_tally_stored(const Push *push)
{
	ListCell   *lc;

	ofs_count(OFS_COUNT_PUSHES, 1);
	for (int i = 0; i < push->ntables; i++)
	{
		const PushTable *table = push->tables[i];

		ofs_count(OFS_COUNT_ROWS_RECEIVED, ofs_report_stored(table->items, table->nitems, true) +
				  ofs_report_stored(table->items, table->nitems, false));
		ofs_count(OFS_COUNT_DELETIONS_RECEIVED, ofs_report_stored(table->deleted, table->ndeleted, true) +
				  ofs_report_stored(table->deleted, table->ndeleted, false));
		count_refusals(table);
	}
	foreach(lc, push->retired)
		count_refusals(lfirst(lc));
}

/* In a PG_CATCH block; there may be no push yet. */
void
ofs_tally_failed(const Push *push)
{
	ofs_count_failed_push(geterrcode() != ERRCODE_OFS_CONFLICT ? 0 : push == NULL ? 1 : Max(push->nconflicts, 1));
}
