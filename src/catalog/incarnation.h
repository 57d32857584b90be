/*
 * incarnation.h
 *		Versions: base + transaction id.
 */
#ifndef OFS_INCARNATION_H
#define OFS_INCARNATION_H

#include "postgres.h"

#include "access/transam.h"
#include "access/xlogdefs.h"
#include "core/cursor.h"
#include "datatype/timestamp.h"
#include "utils/snapshot.h"

#define OFS_VERSION_LIMIT	(INT64CONST(1) << 53)

typedef struct OfsIncarnation
{
	int64		id;				/* identifies it in cursors */
	int64		base;			/* version = base + xid8 */
	TimeLineID	timeline;
	TransactionId first_xid;	/* who recorded it */
	bool		recorded;		/* a row says so (else computed, and the first writer will record it) */
} OfsIncarnation;

/* The present incarnation; works in recovery and in READ ONLY transactions. */
extern const OfsIncarnation *ofs_incarnation_current(void);

/*
 * The present incarnation, or an earlier one whose transaction ids go on in this cluster; else NULL.  Good till the next question of
 * any kind.
 */
extern const OfsIncarnation *ofs_incarnation_find(int64 id);

/* Bases of the given incarnation (first) and of all before it whose ids go on, ascending; returns how many. */
extern int	ofs_incarnation_bases(const OfsIncarnation *incarnation, int64 **bases);

/* Has this database been restored from a dump, and nobody written since? */
extern bool ofs_incarnation_restoring(void);

/* Begin another incarnation where this version lies ahead of the present one. */
extern void ofs_incarnation_outrun(int64 version);

/*
 * Version of the current top-level transaction.  Assigns it an id, records the incarnation
 * when it is the first to stamp in it, and keeps the timeline going.
 */
extern int64 ofs_version_stamp(void);

/* The time that this transaction's rows are stamped with, in whole milliseconds; stamps, as the above does. */
extern TimestampTz ofs_version_stamped_at(void);

/* A server_updated_at that lies further ahead is none of these: the column was there before offsync, and held what its owner liked. */
#define OFS_STAMP_AHEAD		USECS_PER_DAY

/* The relation that whoever has stamped holds a share lock on. */
extern Oid	ofs_version_lock(void);

/* The least version that a snapshot may not have seen. */
extern int64 ofs_version_horizon(Snapshot snapshot);

/* Base of the incarnation, of those whose ids go on, that a version belongs to; 0 for none. */
extern int64 ofs_version_base(int64 version);

/* The greatest version that can have been given out yet. */
extern int64 ofs_version_latest(void);

/* In-progress top-level ids of a snapshot, ascending, without duplicates; the caller's own included. */
extern int	ofs_snapshot_running(Snapshot snapshot, uint64 **xids);

/* Has the snapshot seen all that the cursor's snapshot had?  Not so on a standby that lags. */
extern bool ofs_snapshot_covers(Snapshot snapshot, const OfsCursor *cursor);

/* Make what snapshots have seen up to now durable, so that no crash takes back what an answer says. */
extern void ofs_snapshot_flush(void);

/* A 32-bit id that is not in the future, as a 64-bit one. */
extern uint64 ofs_xid_widen(TransactionId xid);

extern void ofs_incarnation_init(void);

#endif							/* OFS_INCARNATION_H */
