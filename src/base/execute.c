/*
 * execute.c
 *		Query trees, run as the caller.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/execute.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "tcop/pquery.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

void
ofs_execute_query(Query *query, const char *text, ParamListInfo params, DestReceiver *dest)
{
	QueryDesc  *desc;

	PushActiveSnapshot(GetActiveSnapshot());
	desc = CreateQueryDesc(ofs_compat_plan_query(query, text, params), text, GetActiveSnapshot(),
						   InvalidSnapshot, dest, params, NULL, 0);
	ExecutorStart(desc, 0);
	ofs_compat_executor_run(desc);
	ExecutorFinish(desc);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	PopActiveSnapshot();
}

char *
ofs_execute_secret_name(void)
{
	uint64		random[2];

	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random number")));
	return psprintf("offsync %016llx%016llx", (unsigned long long) random[0], (unsigned long long) random[1]);
}

char *
ofs_execute_open(Query *query, const char *text, ParamListInfo params)
{
	char	   *name = ofs_execute_secret_name();
	Portal		portal = CreatePortal(name, false, false);
	MemoryContext old = MemoryContextSwitchTo(portal->portalContext);
	List	   *statements = list_make1(ofs_compat_plan_query(query, text, params));

	portal->visible = false;
	portal->cursorOptions = CURSOR_OPT_NO_SCROLL;
	/* what the plan shares with the query may not live as long */
	statements = copyObject(statements);
	params = copyParamList(params);
	PortalDefineQuery(portal, NULL, pstrdup(text), CMDTAG_SELECT, statements, NULL);
	MemoryContextSwitchTo(old);
	PortalStart(portal, params, 0, GetActiveSnapshot());
	return name;
}

void
ofs_execute_expressions(List *expressions, const char *text, DestReceiver *dest)
{
	Query	   *query = makeNode(Query);
	ListCell   *lc;

	query->commandType = CMD_SELECT;
	query->querySource = QSRC_ORIGINAL;
	query->canSetTag = true;
	query->jointree = makeFromExpr(NIL, NULL);
	foreach(lc, expressions)
		query->targetList = lappend(query->targetList,
									makeTargetEntry((Expr *) copyObject(lfirst(lc)),
													list_length(query->targetList) + 1,
													pstrdup("value"), false));
	query->hasSubLinks = checkExprHasSubLink((Node *) query->targetList);
	AcquireRewriteLocks(query, true, false);
	ofs_execute_query(linitial_node(Query, QueryRewrite(query)), text, NULL, dest);
}
