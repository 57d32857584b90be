/*
 * call.h
 *		A pull, called from C.
 */
#ifndef OFS_PULL_CALL_H
#define OFS_PULL_CALL_H

#include "postgres.h"

#include "core/cursor.h"
#include "utils/array.h"
#include "utils/jsonb.h"

typedef struct OfsPullCall
{
	const char *last_pulled_at;
	ArrayType  *collections;	/* NULL: all that the caller may read */
	const char *client_id;
	const char *filters;		/* JSON; or NULL */
	Jsonb	   *migration;		/* what is new to the device's app; or NULL */
	bool		created_as_updated;
	bool		additive;		/* the client adds answers to what it holds, replacements too */
	bool		soft_rows;		/* rows that are soft-deleted are rows like others to it */
	bool		clocks;			/* records of tables that keep them carry the row's: "_clock", and "_gone" where it is soft-deleted */
	bool		paged;
	int			max_rows;		/* of a page, where there are pages */
	const char *dialect;
	const OfsCursorOwn *pushed; /* what the present transaction has pushed; or NULL */
	const char *members;		/* further members of the answer, without braces; or NULL */
} OfsPullCall;

/* The answer, in the active snapshot. */
extern text *ofs_pull_answer(const OfsPullCall *call);

#endif							/* OFS_PULL_CALL_H */
