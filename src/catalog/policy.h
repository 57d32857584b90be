/*
 * policy.h
 *		The policies that decide what a SELECT on a table returns.
 */
#ifndef OFS_POLICY_H
#define OFS_POLICY_H

#include "postgres.h"

#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "rewrite/rowsecurity.h"
#include "utils/relcache.h"

/* SELECT-relevant policies (RowSecurityPolicy, of the relcache entry); NIL where row-level security is off. */
extern List *ofs_policy_list(Relation rel);

/* Columns of the row that an expression reads, sub-selects included; whole_row: it reads the row as such. */
extern Bitmapset *ofs_policy_columns(Node *qual, bool *whole_row);

/* The expression over the tombstone table's columns; false where it reads what isn't kept there. */
extern bool ofs_policy_map(Relation rel, Relation tomb, Node *qual, Node **mapped);

#endif							/* OFS_POLICY_H */
