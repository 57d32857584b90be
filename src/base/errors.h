/*
 * errors.h
 *		SQLSTATEs that PostgREST turns into the HTTP status they name.
 *
 * Every error a caller can provoke uses one of these or PostgreSQL's own
 * code.  40001 is never raised: older PostgREST versions repeat it for ever.
 */
#ifndef OFS_ERRORS_H
#define OFS_ERRORS_H

#include "postgres.h"

#define ERRCODE_OFS_MALFORMED		MAKE_SQLSTATE('P', 'T', '4', '0', '0')
#define ERRCODE_OFS_UNKNOWN			MAKE_SQLSTATE('P', 'T', '4', '0', '4')
#define ERRCODE_OFS_CONFLICT		MAKE_SQLSTATE('P', 'T', '4', '0', '9')
#define ERRCODE_OFS_GONE			MAKE_SQLSTATE('P', 'T', '4', '1', '0')
#define ERRCODE_OFS_TOO_LARGE		MAKE_SQLSTATE('P', 'T', '4', '1', '3')
#define ERRCODE_OFS_REFUSED			MAKE_SQLSTATE('P', 'T', '4', '2', '2')
#define ERRCODE_OFS_BROKEN			MAKE_SQLSTATE('P', 'T', '5', '0', '0')
#define ERRCODE_OFS_UNSERVED		MAKE_SQLSTATE('P', 'T', '5', '0', '1')
#define ERRCODE_OFS_BEHIND			MAKE_SQLSTATE('P', 'T', '5', '0', '3')

#endif							/* OFS_ERRORS_H */
