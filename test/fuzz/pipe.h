/*
 * pipe.h
 *		Statements down a pipeline, and what comes back.
 */
#ifndef PIPE_H
#define PIPE_H

#include "mutate.h"

#define DEVICES		24			/* of each user */
#define CURSORS		32

typedef enum Kind
{
	ROLE, CONTENT, PUSH, RAW_PUSH, PULL, RAW_PULL, STREAM, SYNC, DRIFT_PULL, DRIFT_PUSH, DIGEST, RECONCILE,
	CURSOR_INFO, SCHEMA, MERGE, TOLD, EXPLAIN, MEANWHILE, SEAL, SCRATCH, NKINDS
} Kind;

typedef struct Device
{
	char	   *cursor;			/* NULL: has never pulled */
	char	   *number;			/* NULL where it doesn't say it all */
	char	   *holds;			/* ids and versions, as fuzz.apply has them */
} Device;

#define MAX_PARAMS	12

typedef struct Pending
{
	Kind		kind;
	int			nparams;
	char	   *params[MAX_PARAMS];
	int			user;
	bool		whole;			/* a pull of all collections, without filters */
	Text		body;			/* of a cursor to be sealed */
} Pending;

extern Device devices[2][DEVICES];	/* of Bob and of Alice */
extern char *loose[CURSORS];	/* cursors of pages, of others, sealed ones */
extern int	user;				/* who is asking: 1 is Alice */
extern long sent[NKINDS],
			taken[NKINDS];
extern int	wrong;

extern void pipe_open(void);
extern Pending *submit(Kind kind, int nparams, const char *const *params);
extern void pipe_drain(void);

#define SUBMIT(kind, ...) \
	submit(kind, sizeof((const char *[]) {__VA_ARGS__}) / sizeof(char *), (const char *[]) {__VA_ARGS__})

#endif							/* PIPE_H */
