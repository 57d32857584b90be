/*
 * retire.h
 *		What a session kept, and keeps no longer.
 */
#ifndef OFS_RETIRE_H
#define OFS_RETIRE_H

#include "postgres.h"

/* Delete the memory context when the transaction is over: queries and calls under way may hold what is in it till then. */
extern void ofs_retire(MemoryContext context);

#endif							/* OFS_RETIRE_H */
