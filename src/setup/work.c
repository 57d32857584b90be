/*
 * work.c
 *		The bracket around everything that changes definitions.
 *
 * enable and disable need a strong lock for an instant.  Queueing for it behind a long
 * transaction would make everybody else queue behind us, so the wait is short, and the caller is told
 * to come back in a quieter moment.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "base/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "setup/setup.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#define LOCK_WAIT_MS	2000
#define LOCK_WAIT		"2000"

static bool busy = false;

bool
ofs_work_busy(void)
{
	return busy;
}

static void
limit_lock_wait(void)
{
	if (LockTimeout == 0 || LockTimeout > LOCK_WAIT_MS)
		(void) set_config_option("lock_timeout", LOCK_WAIT, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/* In a PG_CATCH block: throw the same error again, with a hint. */
static void
rethrow_with_hint(MemoryContext context)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	FlushErrorState();
	edata->hint = pstrdup("Somebody is using the table. Try again in a quiet moment; offsync waits two seconds at most, so that nobody queues behind it.");
	ReThrowError(edata);
}

void
ofs_work_run(void (*work) (void *arg), void *arg, bool bounded)
{
	MemoryContext context = CurrentMemoryContext;
	bool		was_busy = busy;
	bool		alone = !ActiveSnapshotSet();
	int			nestlevel = ofs_search_path_pin();

	if (bounded)
		limit_lock_wait();
	/* a command that commits on its way, DETACH PARTITION CONCURRENTLY, leaves none */
	if (alone)
		PushActiveSnapshot(GetTransactionSnapshot());
	PG_TRY();
	{
		busy = true;
		SPI_connect();
		work(arg);
		SPI_finish();
	}
	PG_CATCH();
	{
		busy = was_busy;
		if (bounded && geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE)
			rethrow_with_hint(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (alone)
		PopActiveSnapshot();
	busy = was_busy;
	AtEOXact_GUC(true, nestlevel);
}

char *
ofs_work_columns(Oid relid, List *attnums, const char *prefix)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, attnums)
		appendStringInfo(&buf, "%s%s%s", lc == list_head(attnums) ? "" : ", ", prefix,
						 quote_identifier(get_attname(relid, lfirst_int(lc), false)));
	return buf.data;
}
