/*
 * strategy.h
 *		What becomes of a record whose row has changed since its device last saw it.
 */
#ifndef OFS_STRATEGY_H
#define OFS_STRATEGY_H

#include "postgres.h"

#include "lib/stringinfo.h"

/* The strategy that a function of the owner's stands for. */
#define OFS_STRATEGY_FUNCTION	"function"

/* A record and its row, when neither side knew of the other's change. */
typedef struct OfsDispute
{
	bool		deletes;		/* the record wants the row gone */
	bool		gone;			/* the row is gone from the server */
	int			newer;			/* > 0: the record's stamp is later than the row's; missing ones are oldest */
} OfsDispute;

/* One column that a record changes, and that its row holds otherwise. */
typedef struct OfsColumnDispute
{
	bool		touched;		/* the server changed it, too, or may have */
	bool		mergeable;		/* a JSON document or an array */
} OfsColumnDispute;

typedef enum OfsVerdict
{
	OFS_VERDICT_CONFLICT,
	OFS_VERDICT_WRITE,			/* what was sent */
	OFS_VERDICT_KEEP,			/* what is stored */
	OFS_VERDICT_MERGE,			/* of a record: column by column; of a column: its insides */
	OFS_VERDICT_ASK				/* the owner's function */
} OfsVerdict;

typedef struct OfsStrategy
{
	const char *name;
	const char *description;
	bool		needs_stamp;	/* a column updated_at */
	bool		needs_history;	/* which version each column was last changed in */
	bool		needs_clocks;	/* and by which clock */
	OfsVerdict	(*decide) (const OfsDispute *dispute);
	OfsVerdict	(*decide_column) (const OfsColumnDispute *dispute);	/* where decide says MERGE */
} OfsStrategy;

/* By name; NULL when there is none. */
extern const OfsStrategy *ofs_strategy_find(const char *name);

/* The names that enable takes, each with what it does, a line each. */
extern void ofs_strategy_list(StringInfo out);

#endif							/* OFS_STRATEGY_H */
