/*
 * call.h
 *		A push, called from C.
 */
#ifndef OFS_PUSH_CALL_H
#define OFS_PUSH_CALL_H

#include "postgres.h"

#include "core/cursor.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/*
 * A device that tells nothing but the time of its clock.  Such a time is no evidence of what the device has seen, so
 * what differs from the row is always in dispute, and the times that it wrote into its records decide.
 */
typedef struct OfsPushClock
{
	TimestampTz now;			/* of the push, as far as it is known */
	int64		zone;			/* of times that come without one, in microseconds ahead of UTC */
	TimestampTz next;			/* from which the device will pull */
} OfsPushClock;

typedef struct OfsPushCall
{
	const text *changes;
	const char *last_pulled_at;
	const char *client_id;
	const char *push_id;
	const char *on_error;
	const char *dialect;
	const OfsPushClock *clock;	/* or NULL: last_pulled_at tells what the device has seen */
	List	   *server_columns; /* names of columns that are not the device's to write */
	const char *strategy;		/* decides disputes in place of the tables' own, deletions that the device hasn't seen among them; or NULL */
	bool		based;			/* what the device has seen of its records is known, whatever they say, and no strategy is asked: */
	int64		base;			/* ... this version; 0: that there is no row, whatever was deleted */
	bool		unplaced;		/* the answer's cursor goes nowhere */
	bool		uncounted;		/* whoever calls counts it if it fails */
	const char *members;		/* further members of the outcome, without braces, which the log keeps; or NULL */
} OfsPushCall;

/* A record that was not stored beside the others, and why. */
typedef struct OfsPushRefused
{
	const char *collection;		/* as sent, as is the id */
	const char *id;
	int			sqlerrcode;
	const char *reason;
} OfsPushRefused;

typedef struct OfsPushAnswer
{
	int64		number;			/* 0: none */
	const char *cursor;			/* NULL: none */
	const char *changes;		/* rows that are not as they were sent, which the next pull brings in any case; or NULL */
	const char *outcome;		/* further members, without braces */
	List	   *refused;		/* of OfsPushRefused; unless replayed */
	bool		replayed;		/* it was pushed, and answered so, before */
	OfsCursorOwn own;			/* this transaction, unless replayed */
} OfsPushAnswer;

/* name is that of the function that people called. */
extern OfsPushAnswer *ofs_push_store(const OfsPushCall *call, const char *name);

#endif							/* OFS_PUSH_CALL_H */
