/*
 * explain.h
 *		What the files of offsync.explain share.
 */
#ifndef OFS_EXPLAIN_H
#define OFS_EXPLAIN_H

#include "postgres.h"

#include "base/answer.h"
#include "base/codec.h"
#include "catalog/since.h"
#include "catalog/synced.h"
#include "nodes/execnodes.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

typedef struct OfsExplain
{
	ReturnSetInfo *answer;
	MemoryContext context;		/* of all that is found out */
	Relation	rel;			/* open and locked */
	OfsTable   *table;
	const char *last_pulled_at; /* as it was given; NULL: a first sync */
	OfsSince   *since;
	const char *filters;		/* as given; or NULL */
	Oid			role;
	const char *role_name;		/* quoted */
	List	   *claims;			/* OfsClaim */
	bool		together;		/* give them as one setting, and not one by one, too */

	const char *id;				/* as devices know it */
	Datum	   *key;			/* its parts */

	/* the row, when it exists */
	bool		exists;
	Datum		row;			/* of the table's row type */
	Oid			tableoid;
	int64		version;
	bool		gone;			/* soft-deleted */
	bool		visible;		/* SELECT as the role returns it */
} OfsExplain;

/* One row of the answer. */
#define ofs_explain_say(x, ...) ofs_answer_say((x)->answer, __VA_ARGS__)

extern const char *ofs_explain_timestamp(TimestampTz at);

/* ---------- rehearse.c: what runs with other rights than the caller's ---------- */

/* A setting for the time of the work. */
typedef struct OfsClaim
{
	char	   *name;
	char	   *value;
	bool		single;			/* one claim by itself, as older gateways give it */
} OfsClaim;

typedef void (*OfsExplainWork) (OfsExplain *x, void *arg);

/* The role by its name (NULL: the caller); error unless the caller could become it. */
extern Oid	ofs_explain_role(const char *name);

/* The settings by which gateways hand on a token's claims. */
extern List *ofs_explain_claims(const char *claims);

/*
 * Do the work as the role that is asked about, with its claims, or as the table's owner beneath row-level
 * security; SPI is connected.  Whatever it changes is undone.  What it finds out goes into x->context.  Returns
 * the error that it ended in, as words, or NULL.
 */
extern const char *ofs_explain_as_role(OfsExplain *x, OfsExplainWork work, void *arg);
extern const char *ofs_explain_as_owner(OfsExplain *x, OfsExplainWork work, void *arg);

/* Append a condition on "alias" that says "has the key"; its parts are $1 and so on.  hidden: needs no privilege. */
extern void ofs_explain_append_key(OfsExplain *x, StringInfo sql, char alias, bool hidden);

/* Run a SELECT with the key's parts as its parameters; returns the number of rows, which are in SPI_tuptable. */
extern uint64 ofs_explain_select(OfsExplain *x, const char *sql, int limit);

/* ---------- verdict.c: privileges and policies ---------- */

/* May the role have the collection at all? */
extern bool ofs_explain_rights(OfsExplain *x);

/* Every policy's verdict on the row, and that of all together. */
extern void ofs_explain_policies(OfsExplain *x);

/* ---------- outcome.c: what a device is told ---------- */

extern void ofs_explain_tombstones(OfsExplain *x);
extern void ofs_explain_answer(OfsExplain *x);
extern void ofs_explain_push(OfsExplain *x);

#endif							/* OFS_EXPLAIN_H */
