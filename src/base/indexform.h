/*
 * indexform.h
 *		What an index is made of, as the catalog says it.
 *
 * The relation cache evaluates what is constant in an index's expressions and predicate when it is asked for them, with
 * the rights of whoever asks.  The functions in them are the table owner's, and no business of ours.
 */
#ifndef OFS_INDEXFORM_H
#define OFS_INDEXFORM_H

#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "utils/rel.h"

static inline bool
ofs_index_has_predicate(Relation index)
{
	return !heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
}

/* Nothing but columns, of all rows? */
static inline bool
ofs_index_is_plain(Relation index)
{
	return heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL) && !ofs_index_has_predicate(index);
}

/* The column by which it finds any row of the table, in order; 0: there is none, or it begins with an expression. */
static inline AttrNumber
ofs_index_first(Relation index)
{
	if (!index->rd_index->indisvalid || index->rd_rel->relam != BTREE_AM_OID || ofs_index_has_predicate(index))
		return InvalidAttrNumber;
	return index->rd_index->indkey.values[0];
}

#endif							/* OFS_INDEXFORM_H */
