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

/* Append "left.column OPERATOR(..=) right.column" for each column, joined by AND. */
extern void ofs_append_key_match(StringInfo out, const char *left, const char *right,
								 Oid relid, int nkey, const AttrNumber *key, const Oid *types);

#endif							/* OFS_SQLTEXT_H */
