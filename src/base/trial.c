/*
 * trial.c
 *		Work that may fail without failing the transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/trial.h"
#include "utils/resowner.h"

static ErrorData *
attempt(void (*work) (void *arg), void *arg, bool keep)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work(arg);
		if (keep)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

ErrorData *
ofs_trial_run(void (*work) (void *arg), void *arg)
{
	return attempt(work, arg, true);
}

ErrorData *
ofs_trial_rehearse(void (*work) (void *arg), void *arg)
{
	return attempt(work, arg, false);
}
