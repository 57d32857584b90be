/*
 * timeline.h
 *		Wall time to version, for clients that send clocks, and back.
 */
#ifndef OFS_TIMELINE_H
#define OFS_TIMELINE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

/* Note the present time; every push does, even an empty one. */
extern void ofs_timeline_note(void);

/* Unless the same subtransaction has done so. */
extern void ofs_timeline_ensure(void);

/* The same, unless this backend noted a moment ago; every stamping transaction does. */
extern void ofs_timeline_keep(void);

/* A transaction ends; what it noted counts unless it aborted. */
extern void ofs_timeline_forget(bool aborted);

/* All transactions with this version or a later one were begun after that time; -infinity when that isn't known of any. */
extern TimestampTz ofs_timeline_before(int64 version, Snapshot snapshot);

/* A version below which all was decided at that time; 0 when the timeline doesn't reach back. */
extern int64 ofs_timeline_find(TimestampTz at);

#endif							/* OFS_TIMELINE_H */
