/*
 * trial.h
 *		Work that may fail without failing the transaction.
 */
#ifndef OFS_TRIAL_H
#define OFS_TRIAL_H

#include "postgres.h"

/*
 * Do the work in a subtransaction.  NULL when it is done and kept; else it is undone, and the error
 * is returned, copied into the memory context of the caller, for the caller to judge or to throw on.
 */
extern ErrorData *ofs_trial_run(void (*work) (void *arg), void *arg);

/* The same, but undone in any case: settings, the user, and whatever else the work changed. */
extern ErrorData *ofs_trial_rehearse(void (*work) (void *arg), void *arg);

/* Can the error be that of a piece of data?  Not those of the session, the machine, or the moment. */
extern bool ofs_trial_bears(const ErrorData *error);

#endif							/* OFS_TRIAL_H */
