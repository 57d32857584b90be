/*
 * skip.h
 *		What the parts of skipping share.
 */
#ifndef OFS_SKIP_H
#define OFS_SKIP_H

#include "push/push.h"

typedef struct SkipJob
{
	PushTable  *table;
	PushItem   *item;
	bool		deletes;
} SkipJob;

typedef struct Skip
{
	Push	   *push;
	int			njobs;
	SkipJob		   *jobs;			/* all, in the order in which they are stored */
	int			whole;			/* attempts at nearly everything */
	bool		wrote;
	bool		failed;			/* the last attempt; what was noted since its mark is void */
	void	   *mark;
} Skip;


/* narrow.c: store the records, or refuse them; the list is used up. */
extern void ofs_narrow_solve(Skip *skip, SkipJob *jobs, int njobs);

/* Let the tables hold just these records. */
extern void ofs_narrow_choose(Skip *skip, SkipJob *jobs, int njobs);

/* Move those that aren't refused to the front; returns how many. */
extern int	ofs_narrow_open(SkipJob *jobs, int njobs);

#endif							/* OFS_SKIP_H */
