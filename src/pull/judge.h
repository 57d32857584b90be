/*
 * judge.h
 *		How each collection of a pull is answered, and what moved in or out of its view.
 */
#ifndef OFS_JUDGE_H
#define OFS_JUDGE_H

#include "postgres.h"

#include "base/count.h"
#include "catalog/since.h"
#include "catalog/view.h"
#include "catalog/filter.h"

/* A view whose sets aren't what they were at the cursor: expressions over the table's row. */
typedef struct OfsShift
{
	Node	   *was;			/* the caller could see it then */
	Node	   *is;				/* the caller can see it now */
	Node	   *moved;			/* a value that decides came into a set or went out of one */
	Node	   *filter;			/* the device holds it now, if the caller can see it; NULL: all */
} OfsShift;

/* Keys of rows that came into view and went out of it since the cursor. */
typedef struct OfsMovedKeys
{
	int			ngained;
	OfsSetItem *gained;
	int			nlost;
	OfsSetItem *lost;
} OfsMovedKeys;

typedef struct OfsVerdict
{
	OfsView    *view;
	const char *reason;			/* nothing is known of what moved; or NULL */
	const char *replaced;		/* why the collection is replaced; or NULL */
	OfsCounter	kind;			/* ... as it is counted */
	OfsShift   *shift;			/* or NULL: the policies' sets are what they were */
	const OfsFilter *filter;	/* or NULL */
	OfsShift   *answer;			/* the same with the filter; NULL: nothing changed, and there is no filter */
	Node	   *was;			/* once a child asked: the old view, changed or not, ... */
	OfsMovedKeys *keys;			/* ... and what moved in and out of it */
} OfsVerdict;

typedef struct OfsJudge
{
	OfsViews	views;
	const OfsSince *since;
	List	   *filters;		/* of OfsFilter */
	OfsSetBook	then;			/* sets, as the cursor carries them */
	List	   *verdicts;
} OfsJudge;

extern OfsJudge *ofs_judge_create(const OfsSince *since, List *filters, OfsDialect dialect);

/* The verdict on the collection; the same whenever it is asked. */
extern OfsVerdict *ofs_judge_ask(OfsJudge *judge, OfsTable *table);

/* The answer, as if it had a filter: of a view that hasn't changed, too. */
extern const OfsShift *ofs_judge_shift(const OfsVerdict *verdict);

#endif							/* OFS_JUDGE_H */
