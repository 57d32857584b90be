/*
 * skip.c
 *		on_error => 'skip': bad records are refused one by one, and the rest is stored.
 *
 * narrow.c finds the bad ones.  It may part a record from the one that it refers to.  Those that failed
 * for a foreign key are therefore attempted again, together, once all else is decided: unless their
 * parent was refused, or isn't in the push.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/trial.h"
#include "catalog/capture.h"
#include "push/skip.h"

/* ---------- refusals ---------- */

PushRefusal *
ofs_skip_make_refusal(Push *push, const char *id, int sqlerrcode, const char *reason)
{
	PushRefusal *refusal = MemoryContextAllocZero(push->context, sizeof(PushRefusal));

	refusal->id = id;
	refusal->sqlerrcode = sqlerrcode;
	refusal->reason = MemoryContextStrdup(push->context, reason);
	return refusal;
}

PushRefusal *
ofs_skip_refusal(Push *push, const char *id, const ErrorData *error)
{
	return ofs_skip_make_refusal(push, id, error->sqlerrcode, error->message ? error->message : "");
}

void
ofs_skip_refuse(Push *push, PushItem *item, int sqlerrcode, const char *reason)
{
	item->refusal = ofs_skip_make_refusal(push, item->id, sqlerrcode, reason);
}

/* ---------- foreign keys ---------- */

/*
 * Is there no hope for a record that failed for a foreign key?  Then its refusal awaits nothing any
 * more, and says which refused record it depends on.
 */
static bool
settle(Push *push, SkipJob *job)
{
	PushRefusal *refusal = job->item->refusal;
	PushTable  *parent_table = NULL;
	PushItem   *parent;

	if (job->deletes)
		return false;
	parent = ofs_depend_parent(push, job->table, job->item, refusal->awaits, &parent_table);
	if (parent == job->item || (parent != NULL && (parent->refusal == NULL || OidIsValid(parent->refusal->awaits))))
		return false;
	if (parent != NULL)
		ofs_skip_refuse(push, job->item, refusal->sqlerrcode,
						psprintf(_("It refers to record \"%s\" of collection \"%s\", which was refused."),
								 parent->id, parent_table->name));
	job->item->refusal->awaits = InvalidOid;
	return true;
}

/* The records that may still be stored; all others are settled. */
static int
find_waiting(Skip *skip, SkipJob *waiting)
{
	bool		settled = true;
	int			nwaiting = 0;

	while (settled)
	{
		settled = false;
		nwaiting = 0;
		for (int i = 0; i < skip->njobs; i++)
		{
			SkipJob		   *job = &skip->jobs[i];

			if (job->item->refusal == NULL || !OidIsValid(job->item->refusal->awaits))
				continue;
			if (settle(skip->push, job))
				settled = true;
			else
				waiting[nwaiting++] = *job;
		}
	}
	return nwaiting;
}

/* As long as that stores or settles any. */
static void
retry(Skip *skip)
{
	SkipJob    *waiting = palloc_extended(sizeof(SkipJob) * (skip->njobs + 1), MCXT_ALLOC_HUGE);
	int			last = skip->njobs + 1;
	int			nwaiting;

	while ((nwaiting = find_waiting(skip, waiting)) > 0 && nwaiting < last)
	{
		last = nwaiting;
		for (int i = 0; i < nwaiting; i++)
			waiting[i].item->refusal = NULL;
		ofs_narrow_solve(skip, waiting, nwaiting);
	}
}

/* ---------- planning ---------- */

typedef struct Planning
{
	Push	   *push;
	const OfsPushDoc *doc;
} Planning;

static void
build(void *arg)
{
	Planning   *planning = arg;

	ofs_plan_build(planning->push, planning->doc);
}

/* False when one of the records can't be read. */
static bool
plan(Push *push, const OfsPushDoc *doc)
{
	Planning	planning = {push, doc};
	ErrorData  *error = ofs_trial_run(build, &planning);

	if (error != NULL && (push->place.table == NULL || !ofs_trial_bears(error)))
		ofs_refuse_raise(push, error);
	return error == NULL;
}

/* Plan the document; where a record can't be read, once more and one by one. */
void
ofs_skip_plan(Push *push, const OfsPushDoc *doc)
{
	if (plan(push, doc))
		return;
	push->careful = true;
	ofs_plan_build(push, doc);
}

/* ---------- the whole ---------- */

/* Parents first for what is stored, children first for what is deleted. */
static void
list_jobs(Skip *skip)
{
	Push	   *push = skip->push;
	int			room = 1;

	for (int i = 0; i < push->ntables; i++)
		room += push->tables[i]->nitems + push->tables[i]->ndeleted;
	skip->jobs = palloc_extended(sizeof(SkipJob) * room, MCXT_ALLOC_HUGE);
	for (int i = 0; i < push->ntables; i++)
	{
		PushTable  *table = push->tables[i];

		for (int j = 0; j < table->nitems; j++)
			skip->jobs[skip->njobs++] = (SkipJob) {table, table->items[j], false};
	}
	for (int i = push->ntables - 1; i >= 0; i--)
	{
		PushTable  *table = push->tables[i];

		for (int j = 0; j < table->ndeleted; j++)
			skip->jobs[skip->njobs++] = (SkipJob) {table, table->deleted[j], true};
	}
}

/* Part the refused records from the stored ones. */
static void
sort_out(Skip *skip)
{
	Push	   *push = skip->push;
	SkipJob    *stored = palloc_extended(sizeof(SkipJob) * (skip->njobs + 1), MCXT_ALLOC_HUGE);
	int			nstored;

	/* it is told of when SPI is done with */
	for (int i = 0; i < push->ntables; i++)
		push->tables[i]->refused = MemoryContextAllocExtended(push->context, sizeof(PushItem *) * (skip->njobs + 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < skip->njobs; i++)
	{
		PushTable  *table = skip->jobs[i].table;

		if (skip->jobs[i].item->refusal != NULL)
			table->refused[table->nrefused++] = skip->jobs[i].item;
		push->kept = push->kept || skip->jobs[i].item->kept;
	}
	memcpy(stored, skip->jobs, sizeof(SkipJob) * skip->njobs);
	nstored = ofs_narrow_open(stored, skip->njobs);
	ofs_narrow_choose(skip, stored, nstored);
	if (skip->failed)
		ofs_capture_rewind(skip->mark);
	push->wrote = skip->wrote;
}

static void
log_refusal(const PushTable *table, const PushRefusal *refusal)
{
	ereport(LOG_SERVER_ONLY,
			(errhidestmt(true), errhidecontext(true),
			 errmsg("push refused a record of collection \"%s\" with SQLSTATE %s",
					table->name, unpack_sql_state(refusal->sqlerrcode))));
}

static void
log_refusals(const PushTable *table)
{
	ListCell   *lc;

	foreach(lc, table->malformed)
		log_refusal(table, lfirst(lc));
	for (int i = 0; i < table->nrefused; i++)
		log_refusal(table, table->refused[i]->refusal);
}

/* In the server log, where that is wished. */
void
ofs_skip_log(const Push *push)
{
	ListCell   *lc;

	if (!ofs_log_rejections)
		return;
	for (int i = 0; i < push->ntables; i++)
		log_refusals(push->tables[i]);
	foreach(lc, push->retired)
		log_refusals(lfirst(lc));
}

/* Store what can be stored of the planned push. */
void
ofs_skip_push(Push *push)
{
	Skip		skip = {0};
	SkipJob    *jobs;

	skip.push = push;
	list_jobs(&skip);
	jobs = palloc_extended(sizeof(SkipJob) * (skip.njobs + 1), MCXT_ALLOC_HUGE);
	memcpy(jobs, skip.jobs, sizeof(SkipJob) * skip.njobs);
	ofs_capture_begin(ofs_watch_row, push->clock ? ofs_watch_differs : NULL, ofs_fields_give, push);
	ofs_narrow_solve(&skip, jobs, skip.njobs);
	retry(&skip);
	sort_out(&skip);
}
