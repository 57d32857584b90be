/*
 * terms.h
 *		Statements that speak of a table's views: as they were at the cursor, and as they are.
 */
#ifndef OFS_TERMS_H
#define OFS_TERMS_H

#include "postgres.h"

#include "pull/judge.h"
#include "pull/unseen.h"
#include "tcop/dest.h"

/*
 * Run a statement in which the table stands under the alias "t", or beneath row-level security as "offsync$u", and its tombstone
 * table beneath it as "offsync$b" and "offsync$c".  offsync$<letter>$was and offsync$<letter>$is stand for "the caller could see it
 * then" and "... can see it now" of any of these, offsync$<letter>$moved, of the table, for "a value that decides came into a set or went out
 * of one", and offsync$t$filter for "the device holds it now".
 */
extern void ofs_terms_run(const char *sql, const OfsTable *table, const OfsShift *shift, const OfsUnseen *params,
						  DestReceiver *dest);

/* Start it, for rows to be fetched; the portal's name. */
extern char *ofs_terms_open(const char *sql, const OfsTable *table, const OfsShift *shift, const OfsUnseen *params);

#endif							/* OFS_TERMS_H */
