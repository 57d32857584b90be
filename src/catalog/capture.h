/*
 * capture.h
 *		What a push writes beside the rows it was sent.
 *
 * A push's cursor says "I have seen my own transaction", so whatever that transaction wrote
 * beside the pushed rows (a trigger's counter, a cascade) would never reach the device.  While a
 * push runs, the tracking triggers note every row they stamp or bury; the push compares that
 * with what was sent and lets the next pull send the collections that differ.
 *
 * One call is meant to be one transaction.  Where it isn't, and the transaction writes synced rows after it
 * has answered a push, it leaves a stain: an event of no table, by which pulls know that the
 * device has not seen all of this transaction.
 */
#ifndef OFS_CAPTURE_H
#define OFS_CAPTURE_H

#include "postgres.h"

#include "access/htup.h"
#include "catalog/clocks.h"
#include "utils/relcache.h"

/* A row that was stamped or buried.  relid is the synced root. */
typedef struct OfsWritten
{
	Oid			relid;
	const char *id;
	void	   *known;			/* what the watcher returned for it */
} OfsWritten;

/*
 * Called as the row is written, with the tuple that will be stored but for its generated columns, or NULL where
 * that is nothing to go by: it was deleted, or gets another key.  rel is the table or one of its partitions.
 */
typedef void *(*ofs_capture_watcher) (const OfsWritten *written, Relation rel, HeapTuple tuple, void *arg);

/* Called just before: is this, with all but its stamps, something else than what was sent? */
typedef bool (*ofs_capture_judge) (Oid relid, const char *id, Relation rel, HeapTuple tuple, void *arg);

/* What a push says of the fields of a row that it is about to store, where clocks are kept. */
typedef struct OfsGift
{
	bool		touch;			/* the version is to move, whatever changes */
	bool		clocked;		/* its device has a clock: what it didn't send of a new row nobody has written */
	int			nfields;
	OfsFieldClock *fields;		/* those that were sent; without a node: by no clock of the device's */
} OfsGift;

/* NULL: it isn't the push that stores the row. */
typedef const OfsGift *(*ofs_capture_giver) (Oid relid, const char *id, Relation rel, HeapTuple tuple, void *arg);
typedef void (*ofs_capture_visitor) (const OfsWritten *written, void *arg);

extern bool ofs_capture_active(void);
/* Forgets what an earlier push noted.  No judge: nobody need know. */
extern void ofs_capture_begin(ofs_capture_watcher watch, ofs_capture_judge judge, ofs_capture_giver give, void *arg);
extern void ofs_capture_end(void);		/* also at transaction end, whatever happened */
extern void ofs_capture_note(Oid relid, const char *id, Relation rel, HeapTuple tuple);
extern bool ofs_capture_judged(void);	/* is there a push that wants to judge? */
extern bool ofs_capture_differs(Oid relid, const char *id, Relation rel, HeapTuple tuple);
extern const OfsGift *ofs_capture_gift(Oid relid, const char *id, Relation rel, HeapTuple tuple);
extern void ofs_capture_init(void);

/* Rows were written, or taken away, that were not noted one by one: a TRUNCATE, a change of a definition. */
extern void ofs_capture_disturb(void);
extern bool ofs_capture_disturbed(void);

/* A push of the current transaction has been answered with a cursor that has seen the transaction. */
extern void ofs_capture_answer(void);
extern bool ofs_capture_answered(void);
/* The note that was made last; false when there is none. */
extern bool ofs_capture_last(Oid *relid, const char **id);

/* Forget what was noted since the mark was taken: it was undone. */
extern void *ofs_capture_mark(void);
extern void ofs_capture_rewind(void *mark);

extern void ofs_capture_visit(ofs_capture_visitor visit, void *arg);

#endif							/* OFS_CAPTURE_H */
