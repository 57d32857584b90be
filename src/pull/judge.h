/*
 * judge.h
 *		How each collection of a pull is answered, and what moved in or out of its view.
 */
#ifndef OFS_JUDGE_H
#define OFS_JUDGE_H

#include "postgres.h"

#include "catalog/since.h"
#include "catalog/view.h"

/* A view whose sets aren't what they were at the cursor: expressions over the table's row. */
typedef struct OfsShift
{
	Node	   *was;			/* the caller could see it then */
	Node	   *is;				/* the caller can see it now */
	Node	   *moved;			/* a value that decides came into a set or went out of one */
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
	const char *reason;			/* the collection is replaced; or NULL */
	OfsShift   *shift;			/* or NULL: its sets are what they were */
	Node	   *was;			/* once a child asked: the old view, changed or not, ... */
	OfsMovedKeys *keys;			/* ... and what moved in and out of it */
} OfsVerdict;

typedef struct OfsJudge
{
	OfsViews	views;
	const OfsSince *since;
	OfsSetBook	then;			/* sets, as the cursor carries them */
	List	   *verdicts;
} OfsJudge;

extern OfsJudge *ofs_judge_create(const OfsSince *since, OfsDialect dialect);

/* The verdict on the collection; the same whenever it is asked. */
extern OfsVerdict *ofs_judge_ask(OfsJudge *judge, OfsTable *table);

#endif							/* OFS_JUDGE_H */
