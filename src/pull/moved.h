/*
 * moved.h
 *		Rows that came into view, or went out of it, though nobody touched them.
 */
#ifndef OFS_MOVED_H
#define OFS_MOVED_H

#include "postgres.h"

#include "pull/judge.h"
#include "pull/unseen.h"

/*
 * Conditions for statements that know the table as "t", under row-level security; buried: there are unseen tombstones.
 * They are run by ofs_terms_run() with the verdict's answer.
 */

/* Append an expression: did the caller hold the row at the cursor? */
extern void ofs_moved_append_held(StringInfo sql, const OfsVerdict *verdict, const OfsSince *since,
								  bool buried, OfsUnseen *params);

/* Append a condition: a row that isn't among the unseen ones came into view. */
extern void ofs_moved_append_gained(StringInfo sql, const OfsVerdict *verdict, const OfsSince *since,
									OfsUnseen *params);

/* Is there an unseen tombstone, of anything that the caller could see if it stood there now? */
extern bool ofs_moved_sees_tombs(OfsView *view, const OfsSince *since);

/* Append a SELECT of the keys of rows that the caller held and can't see any more. */
extern void ofs_moved_append_lost(StringInfo sql, const OfsVerdict *verdict, const OfsSince *since,
								  bool buried, OfsUnseen *params);

/* The keys, of one column, that came into view and went out of it, those of new rows left out; NULL: too many. */
extern OfsMovedKeys *ofs_moved_keys(const OfsVerdict *verdict, const OfsSince *since);

/*
 * The same with those of new rows, unless a foreign key from the child's column says that no older row of the
 * child can refer to them.
 */
extern OfsMovedKeys *ofs_moved_with_new(const OfsVerdict *verdict, const OfsTable *child, const OfsSetFact *fact,
										const OfsSince *since);

#endif							/* OFS_MOVED_H */
