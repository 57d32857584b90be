/*
 * call.h
 *		A pull, called from C.
 */
#ifndef OFS_PULL_CALL_H
#define OFS_PULL_CALL_H

#include "postgres.h"

#include "catalog/view.h"
#include "core/cursor.h"
#include "datatype/timestamp.h"
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
	bool		uncounted;		/* nobody is told of its rows */
	bool		paged;
	int			max_rows;		/* of a page, where there are pages */
	const char *dialect;
	const OfsCursorOwn *pushed; /* what the present transaction has pushed; or NULL */
	const char *members;		/* further members of the answer, without braces; or NULL */
} OfsPullCall;

/* The answer, in the active snapshot. */
extern text *ofs_pull_answer(const OfsPullCall *call);

/* A row that a pull tells of, as it is stored. */
typedef struct OfsPulledRow
{
	StringInfo	id;
	const Datum *key;			/* its parts */
	const Datum *values;		/* of the view's columns */
	const bool *nulls;
	int64		version;
	TimestampTz updated_at;
	Datum		history;		/* what catalog/history.h reads */
	bool		no_history;
	Datum		clocks;			/* what catalog/clocks.h reads */
	bool		no_clocks;
	bool		ended;			/* it counts as deleted */
} OfsPulledRow;

/* Who takes rows instead of the answer that they make. */
typedef struct OfsPullTaker
{
	void	   *arg;
	/* Rows of this view follow; whole: all that there are, else those that the caller hasn't seen. */
	void		(*collection) (void *arg, const OfsView *view, bool whole);
	/* In a memory context that is reset behind it. */
	void		(*row) (void *arg, const OfsPulledRow *row);
	/* A row of this id was deleted. */
	void		(*gone) (void *arg, const char *id);
} OfsPullTaker;

/*
 * The rows of the answer, and ids of deleted ones; the caller names collections, and wants neither pages nor filters.  cursor: where
 * that of the answer goes; NULL: nowhere.
 */
extern void ofs_pull_take(const OfsPullCall *call, const OfsPullTaker *taker, char **cursor);

#endif							/* OFS_PULL_CALL_H */
