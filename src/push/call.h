/*
 * call.h
 *		A push, called from C.
 */
#ifndef OFS_PUSH_CALL_H
#define OFS_PUSH_CALL_H

#include "postgres.h"

#include "core/cursor.h"

typedef struct OfsPushCall
{
	const text *changes;
	const char *last_pulled_at;
	const char *client_id;
	const char *push_id;
	const char *on_error;
	const char *dialect;
} OfsPushCall;

typedef struct OfsPushAnswer
{
	int64		number;			/* 0: none */
	const char *cursor;			/* NULL: none */
	const char *changes;		/* rows that are not as they were sent, which the next pull brings in any case; or NULL */
	const char *outcome;		/* further members, without braces */
	bool		replayed;		/* it was pushed, and answered so, before */
	OfsCursorOwn own;			/* this transaction, unless replayed */
} OfsPushAnswer;

/* name is that of the function that people called. */
extern OfsPushAnswer *ofs_push_store(const OfsPushCall *call, const char *name);

#endif							/* OFS_PUSH_CALL_H */
