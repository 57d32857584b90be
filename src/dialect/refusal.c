/*
 * refusal.c
 *		What facades say when they don't store what they were sent.
 *
 * Their clients go by the HTTP status, which a gateway makes of the SQLSTATE: to one a 404 acknowledges a deletion, to another one a 403
 * says that its row is not its own.  So no error may come with a status that means something else to the client.
 *
 * What fails counts as one push that failed, however often it was tried, and wherever it failed.
 */
#include "postgres.h"

#include "base/count.h"
#include "base/errors.h"
#include "dialect/refusal.h"
#include "utils/memutils.h"

void
ofs_refusal_run(void (*work) (void *arg), void *arg, OfsRefusalChoose choose)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		work(arg);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		ofs_count_failed_push(error->sqlerrcode == ERRCODE_OFS_CONFLICT ? 1 : 0);
		/* what is wrong with a value is said by quoting it: that is not for the server's log */
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_DATA_EXCEPTION)
			error->output_to_server = false;
		if (choose)
			error->sqlerrcode = choose(error, arg);
		ReThrowError(error);
	}
	PG_END_TRY();
}

int
ofs_refusal_code(const ErrorData *error, void *arg)
{
	int			code = error->sqlerrcode;

	/* a conflict would come with the row */
	if (ERRCODE_TO_CATEGORY(code) == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
		code == ERRCODE_OFS_CONFLICT || code == ERRCODE_OFS_UNKNOWN)
		return ERRCODE_OFS_REFUSED;
	/* what a trigger or a policy lacks: 404 */
	if (code == ERRCODE_UNDEFINED_TABLE || code == ERRCODE_UNDEFINED_FUNCTION)
		return ERRCODE_OFS_BROKEN;
	/* a standby, or a server that is being seen to: 405 */
	if (code == ERRCODE_READ_ONLY_SQL_TRANSACTION)
		return ERRCODE_OFS_BEHIND;
	return code;
}
