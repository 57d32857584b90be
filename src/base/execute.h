/*
 * execute.h
 *		Query trees, run as the caller.
 */
#ifndef OFS_EXECUTE_H
#define OFS_EXECUTE_H

#include "postgres.h"

#include "nodes/params.h"
#include "nodes/parsenodes.h"
#include "tcop/dest.h"

/* Plan a SELECT that has been rewritten, and run it in the active snapshot; text is what logs call it. */
extern void ofs_execute_query(Query *query, const char *text, ParamListInfo params, DestReceiver *dest);

/*
 * A name for a portal that is to be read by nobody but us: who knows a portal's name can FETCH from it, also what is read
 * beneath its grants.
 */
extern char *ofs_execute_secret_name(void);

/* Start it, for rows to be fetched; the portal's name, in the current memory context. */
extern char *ofs_execute_open(Query *query, const char *text, ParamListInfo params);

/* SELECT expression, ...: planned and run as any query of the caller's, its nested row security included. */
extern void ofs_execute_expressions(List *expressions, const char *text, DestReceiver *dest);

#endif							/* OFS_EXECUTE_H */
