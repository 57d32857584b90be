/*
 * position.h
 *		Where a pull stands: the cursor and number that its answer carries.
 */
#ifndef OFS_POSITION_H
#define OFS_POSITION_H

#include "postgres.h"

#include "catalog/since.h"
#include "pull/view.h"
#include "utils/snapshot.h"

/* Make what the snapshot has seen durable, so that no crash takes back what the answer says. */
extern void ofs_position_flush(void);

/* The answer's cursor and number; views is a list of OfsView, all that were answered. */
extern void ofs_position_next(const OfsSince *since, Snapshot snapshot, List *views,
							  char **cursor, int64 *timestamp);

#endif							/* OFS_POSITION_H */
