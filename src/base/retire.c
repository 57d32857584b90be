/*
 * retire.c
 *		What a session kept, and keeps no longer.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/retire.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

static List *retired = NIL;		/* of memory contexts */

static void
transaction_event(XactEvent event, void *arg)
{
	ListCell   *lc;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	foreach(lc, retired)
		MemoryContextDelete(lfirst(lc));
	list_free(retired);
	retired = NIL;
}

void
ofs_retire(MemoryContext context)
{
	static bool registered = false;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	if (!registered)
		RegisterXactCallback(transaction_event, NULL);
	registered = true;
	retired = lappend(retired, context);
	MemoryContextSwitchTo(old);
}
