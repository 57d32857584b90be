/*
 * sqltext.h
 *		Pieces of generated SQL: everything qualified, everything quoted.
 */
#ifndef OFS_SQLTEXT_H
#define OFS_SQLTEXT_H

#include "postgres.h"

#include "access/attnum.h"
#include "lib/stringinfo.h"

/* The type, or what a domain is made of, for a cast that changes nothing. */
extern const char *ofs_base_type_name(Oid typid);

/* The type as format_type_be_qualified() has it; not to be freed, and good as long as the current memory context at least. */
extern const char *ofs_type_name(Oid typid);

/* OPERATOR(schema.name) */
extern char *ofs_operator_name(Oid oprid);

/* Append "left OPERATOR(..=) right", both of this type. */
extern void ofs_append_equal(StringInfo out, const char *left, const char *right, Oid typid);

/*
 * Append "left.column OPERATOR(..=) right.column" for each column, joined by AND; and that they are the same
 * where equality doesn't say so.
 */
extern void ofs_append_key_match(StringInfo out, const char *left, const char *right,
								 Oid relid, int nkey, const AttrNumber *key, const Oid *types);

/* Are equal values of the column the same, always?  Not so 1.0 and 1.00, or citext's 'a' and 'A'. */
extern bool ofs_equal_is_same(Oid relid, AttrNumber attnum);

/* Append " AND left and right are the same" where equality of the column doesn't say so. */
extern void ofs_append_same(StringInfo out, const char *left, const char *right, Oid relid, AttrNumber attnum);

#endif							/* OFS_SQLTEXT_H */
