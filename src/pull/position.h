/*
 * position.h
 *		Where a pull stands: the cursor and number that its answer carries.
 */
#ifndef OFS_POSITION_H
#define OFS_POSITION_H

#include "postgres.h"

#include "catalog/since.h"
#include "pull/judge.h"
#include "utils/snapshot.h"

/*
 * The answer's cursor and number; answered is a list of OfsView.  A transaction that calls
 * has not ended yet, so its version counts as unseen, unless it is given as "pushed": then what it wrote has been
 * answered, and the answer counts only if it commits.  Where the snapshot is behind what the client has seen, it is the
 * client's own cursor.
 */
extern OfsCursor *ofs_position_next(const OfsSince *since, Snapshot snapshot, List *answered, const OfsJudge *judge,
									int64 pushed, int64 *timestamp);

#endif							/* OFS_POSITION_H */
