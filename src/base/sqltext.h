/*
 * sqltext.h
 *		Pieces of generated SQL: everything qualified, everything quoted.
 */
#ifndef OFS_SQLTEXT_H
#define OFS_SQLTEXT_H

#include "postgres.h"

#include "access/attnum.h"
#include "lib/stringinfo.h"

/* OPERATOR(schema.=) of the type's default btree class, palloc'd. */
extern char *ofs_equal_operator(Oid typid);

/*
 * Append "left.column OPERATOR(..=) right.column" for each column, joined by AND; and that they are the same
 * where equality doesn't say so.
 */
extern void ofs_append_key_match(StringInfo out, const char *left, const char *right,
								 Oid relid, int nkey, const AttrNumber *key, const Oid *types);

/* Do equal values of the type look the same, always?  Not so 1.0 and 1.00, or citext's 'a' and 'A'. */
extern bool ofs_equal_is_same(Oid typid, Oid collation);

/* Append " AND left and right look the same" where equality of the type doesn't say so. */
extern void ofs_append_same(StringInfo out, const char *left, const char *right, Oid typid, Oid collation);

#endif							/* OFS_SQLTEXT_H */
