/*
 * pull.h
 *		A pull's answer, piece by piece.
 */
#ifndef OFS_PULL_H
#define OFS_PULL_H

#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "pull/call.h"

typedef struct OfsPull OfsPull;

/* The arguments of offsync.pull_changes. */
extern void ofs_pull_get_call(FunctionCallInfo fcinfo, OfsPullCall *call);

/*
 * Begin; piecewise: the answer is handed out while it is made.  The call lives as long as the pull, in the current
 * memory context, which the following calls find again.  SPI is connected in all of them, and the active snapshot is the
 * same.
 */
extern OfsPull *ofs_pull_begin(const OfsPullCall *call, bool piecewise);

/* Append a piece of the answer, which ends between two characters; false: that was the last. */
extern bool ofs_pull_more(OfsPull *pull, StringInfo out);

/* Give up before that. */
extern void ofs_pull_end(OfsPull *pull);

#endif							/* OFS_PULL_H */
