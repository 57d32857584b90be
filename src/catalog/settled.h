/*
 * settled.h
 *		Up to which time are the stamps of rows settled?
 */
#ifndef OFS_SETTLED_H
#define OFS_SETTLED_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

/*
 * Makes a fresh snapshot the active one, which is to be popped by the caller.  No row that it doesn't see, and that is going to be
 * seen, has a server_updated_at before the time that is returned (-infinity where that isn't known of any).
 */
extern TimestampTz ofs_settled_push(void);

#endif							/* OFS_SETTLED_H */
