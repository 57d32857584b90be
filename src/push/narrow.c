/*
 * narrow.c
 *		Which records make an attempt fail?
 *
 * All records are attempted at once.  When that fails, the bad one is looked for: where the error
 * names it, or the last row that was about to be written turns out to be it, or one with the values that a
 * foreign key's error shows, it is refused and the rest attempted again.  Otherwise the records are halved,
 * and each half is attempted, in the order of the whole.  So one bad record among ten thousand costs at most
 * about as much again as the push, and many cost a logarithm more.
 *
 * Every attempt is a subtransaction with trigger levels of its own, so that no record is stored by
 * halves.  Conflicts cost none: they are known before anything is written.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/trial.h"
#include "catalog/capture.h"
#include "miscadmin.h"
#include "push/skip.h"

/* Attempts at nearly everything again before halving takes over. */
#define MAX_WHOLE	3

static void
refuse(Push *push, SkipJob *job, const ErrorData *error, bool told)
{
	if (told || ofs_refuse_hidden(job->table, error))
		ofs_skip_refuse(push, job->item, ERRCODE_INSUFFICIENT_PRIVILEGE,
						_("Row-level security or privileges do not let you write it."));
	else
		job->item->refusal = ofs_skip_refusal(push, job->item->id, error);
	job->item->refusal->awaits = ofs_depend_constraint(error);
}


/* Let the tables hold just these records. */
void
ofs_narrow_choose(Skip *skip, SkipJob *jobs, int njobs)
{
	for (int i = 0; i < skip->push->ntables; i++)
		skip->push->tables[i]->nitems = skip->push->tables[i]->ndeleted = 0;
	for (int i = 0; i < njobs; i++)
	{
		PushTable  *table = jobs[i].table;

		if (jobs[i].deletes)
			table->deleted[table->ndeleted++] = jobs[i].item;
		else
			table->items[table->nitems++] = jobs[i].item;
	}
}

/* NULL when the records are stored, or refused for a conflict. */
static ErrorData *
attempt(Skip *skip, SkipJob *jobs, int njobs)
{
	Push	   *push = skip->push;
	ErrorData  *error;

	CHECK_FOR_INTERRUPTS();
	if (skip->failed)
		ofs_capture_rewind(skip->mark);
	skip->mark = ofs_capture_mark();
	ofs_narrow_choose(skip, jobs, njobs);
	error = ofs_attempt_try(push, PUSH_SETS);
	skip->failed = error != NULL;
	if (error == NULL)
		skip->wrote = skip->wrote || push->wrote;
	else if (!ofs_trial_bears(error) || (push->told && push->place.item == NULL))
		ofs_refuse_raise(push, error);
	return error;
}

int
ofs_narrow_open(SkipJob *jobs, int njobs)
{
	int			left = 0;

	for (int i = 0; i < njobs; i++)
	{
		if (jobs[i].item->refusal == NULL)
			jobs[left++] = jobs[i];
	}
	return left;
}

static int
find_job(SkipJob *jobs, int njobs, const PushItem *item)
{
	for (int i = 0; item != NULL && i < njobs; i++)
	{
		if (jobs[i].item == item)
			return i;
	}
	return -1;
}

/* The record whose row was about to be written when the attempt failed, or NULL. */
static PushItem *
last_written(Push *push)
{
	const char *id;
	Oid			relid;

	if (push->firing || push->beaten || !ofs_capture_last(&relid, &id))
		return NULL;
	for (int i = 0; i < push->ntables; i++)
	{
		PushTable  *table = push->tables[i];
		PushId	   *entry;

		if (table->table->relid != relid)
			continue;
		entry = hash_search(table->ids, &id, HASH_FIND, NULL);
		return entry ? entry->item : NULL;
	}
	return NULL;
}

/* A record that the error seems to be about, or -1. */
static int
find_suspect(Skip *skip, SkipJob *jobs, int njobs, const ErrorData *error)
{
	Oid			constraint = ofs_depend_constraint(error);
	MemoryContext old;
	int			found = find_job(jobs, njobs, last_written(skip->push));

	if (found >= 0 || !OidIsValid(constraint))
		return found;
	old = MemoryContextSwitchTo(skip->push->row);
	for (int i = 0; i < njobs && found < 0; i++)
	{
		if (!jobs[i].deletes &&
			ofs_depend_fits(skip->push, jobs[i].table, jobs[i].item, constraint, error->detail))
			found = i;
		MemoryContextReset(skip->push->row);
	}
	MemoryContextSwitchTo(old);
	return found;
}

/* Take one record out of the list. */
static void
take_out(SkipJob *jobs, int *njobs, int which)
{
	(*njobs)--;
	memmove(&jobs[which], &jobs[which + 1], sizeof(SkipJob) * (*njobs - which));
}

/* Take the record out that made an attempt fail, refused; false when it wasn't found. */
static bool
refuse_culprit(Skip *skip, SkipJob *jobs, int *njobs, const ErrorData *error)
{
	Push	   *push = skip->push;
	int			culprit = *njobs == 1 ? 0 : find_job(jobs, *njobs, push->place.item);
	SkipJob			suspect;
	bool		told = push->told;

	if (culprit >= 0)
	{
		refuse(push, &jobs[culprit], error, told);
		take_out(jobs, njobs, culprit);
		return true;
	}
	culprit = find_suspect(skip, jobs, *njobs, error);
	if (culprit < 0)
		return false;
	suspect = jobs[culprit];
	error = attempt(skip, &suspect, 1);
	if (error != NULL)
		refuse(push, &suspect, error, push->told);
	take_out(jobs, njobs, culprit);
	return error != NULL;
}

/* Store the records, or refuse them; the list is used up. */
void
ofs_narrow_solve(Skip *skip, SkipJob *jobs, int njobs)
{
	ErrorData  *error;
	bool		found;

	njobs = ofs_narrow_open(jobs, njobs);
	if (njobs == 0)
		return;
	error = attempt(skip, jobs, njobs);
	if (error == NULL)
		return;
	njobs = ofs_narrow_open(jobs, njobs);
	if (njobs == 0)
		return;
	found = refuse_culprit(skip, jobs, &njobs, error);
	if (njobs == 1 || (found && skip->whole++ < MAX_WHOLE))
		ofs_narrow_solve(skip, jobs, njobs);
	else
	{
		ofs_narrow_solve(skip, jobs, njobs / 2);
		ofs_narrow_solve(skip, jobs + njobs / 2, njobs - njobs / 2);
	}
}
