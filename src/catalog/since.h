/*
 * since.h
 *		"Since when": last_pulled_at resolved against this server.
 */
#ifndef OFS_SINCE_H
#define OFS_SINCE_H

#include "postgres.h"

#include "catalog/synced.h"
#include "core/cursor.h"
#include "core/page.h"

typedef enum OfsSinceKind
{
	OFS_SINCE_FIRST,			/* a first sync */
	OFS_SINCE_REPLACE,			/* nothing can be said: everything is a replacement */
	OFS_SINCE_NUMBER,			/* all versions >= from are unseen */
	OFS_SINCE_EXACT				/* an exact cursor */
} OfsSinceKind;

typedef struct OfsSince
{
	OfsSinceKind kind;
	const char *reason;			/* of OFS_SINCE_REPLACE */
	int64		number;			/* what the caller sent, when it was a number; else 0 */
	int64		from;			/* versions >= from are unseen, but for the own ones */
	int			nrunning;		/* exact: versions < from that are unseen */
	int64	   *running;		/* sorted */
	OfsCursor  *cursor;			/* exact: the cursor itself */
	int64		cursor_base;	/* exact: base of the incarnation that it came from */
	OfsPage    *page;			/* the cursor is of a pull that isn't finished; NULL: it isn't */
	const OfsCursorOwn *pushed; /* number: what the very call that asks has pushed before; or NULL */
} OfsSince;

/*
 * Parse and judge; PT400 for what is no cursor, number or timestamp, and for a cursor between two pages of a pull: the
 * device hasn't got yet what that has seen.
 */
extern OfsSince *ofs_since_parse(const char *last_pulled_at);

/* The same, for who goes on with the pull. */
extern OfsSince *ofs_since_open(const char *last_pulled_at);

/* The number that stands for it. */
extern int64 ofs_since_number(const OfsSince *since);

/* Has the caller seen this version of a row of the collection? False for FIRST and REPLACE. */
extern bool ofs_since_covers(const OfsSince *since, const OfsTable *table, int64 version);

/* The same, but for the client's own transactions. */
extern bool ofs_since_sees(const OfsSince *since, int64 version);

/* No version below this one is unseen. */
extern int64 ofs_since_least(const OfsSince *since);

/* What an exact cursor says of the collection; NULL when it doesn't cover it. */
extern const OfsCursorCollection *ofs_since_collection(const OfsSince *since, const OfsTable *table);

/* Reason of an event, in the active snapshot, that reset the collection unseen; NULL when there is none. */
extern const char *ofs_since_reset(const OfsSince *since, const OfsTable *table);

/* Versions of the cursor's own transactions whose rows of this collection need not be sent. */
extern int	ofs_since_own(const OfsSince *since, const OfsTable *table, int64 **versions);

/* Versions of all transactions of the client's own that it knows whole. */
extern int	ofs_since_own_all(const OfsSince *since, int64 **versions);

/* The same without the client's own transactions: what its snapshot alone had seen. */
extern OfsSince *ofs_since_strict(const OfsSince *since);

/* Was the version written by one of the cursor's own transactions (sent or not)? */
extern bool ofs_since_is_own(const OfsSince *since, int64 version);

/* One's own transaction (its version), whose rows of the collections "echo" (list of OfsTable) must be sent all the same. */
extern void ofs_since_make_own(OfsCursorOwn *own, int64 version, List *echo);

/*
 * The given cursor plus exactly one transaction, but for what must come with the next pull all the same; sealed text.
 * Drops an entry of the same transaction.  One of version 0 only seals the cursor again.
 */
extern char *ofs_since_plus(const OfsSince *since, const OfsCursorOwn *own);

/* Seal a cursor into its text form. */
extern char *ofs_cursor_seal(const OfsCursor *cursor);

#endif							/* OFS_SINCE_H */
