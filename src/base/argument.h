/*
 * argument.h
 *		Arguments of SQL functions.
 */
#ifndef OFS_ARGUMENT_H
#define OFS_ARGUMENT_H

#include "postgres.h"

#include "fmgr.h"

/* A text argument, or NULL. */
extern char *ofs_argument_text(FunctionCallInfo fcinfo, int n);

#endif							/* OFS_ARGUMENT_H */
