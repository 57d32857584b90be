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

#endif							/* OFS_INDEXFORM_H */
