/*
 * row.h
 *		What the row triggers know of the relation they fire on.
 */
#ifndef OFS_ROW_H
#define OFS_ROW_H

#include "postgres.h"

#include "access/htup.h"
#include "base/codec.h"
#include "catalog/synced.h"
#include "fmgr.h"
#include "utils/relcache.h"

/* A row's values, by column. */
typedef struct OfsImage
{
	Datum	   *values;
	bool	   *nulls;
} OfsImage;

/* What tombstones of the relation's rows are made of. */
typedef struct OfsBurial
{
	int			natts;
	AttrNumber *sources;		/* by the tombstone's columns */
	Datum	   *values;
	bool	   *nulls;
} OfsBurial;

/* Kept for the length of one query: the lock on the relation keeps it true that long. */
typedef struct OfsRow
{
	Oid			root;			/* the synced table; InvalidOid where the catalog knows none */
	Oid			tombstone;
	AttrNumber	created_at;
	AttrNumber	updated_at;
	AttrNumber	version;
	AttrNumber	created_version;
	AttrNumber	history;		/* 0: none is kept */
	AttrNumber	client_updated_at;	/* devices write it, for last_write_wins; 0: none */
	int			nkey;
	AttrNumber *key;			/* in the relation that the trigger fires on */
	OfsKeyCodec *codec;			/* NULL until an id has been written */
	OfsImage	old;			/* of the row that the trigger fires for */
	OfsImage	new;
	OfsBurial  *burial;			/* NULL while none is kept */
	const char *told;			/* the collection, where its writers are told of; else NULL */
	bool		stained;		/* this query has left its stain */
} OfsRow;

/* Made at the first row of a query, kept in flinfo->fn_extra. */
extern OfsRow *ofs_row_get(FmgrInfo *flinfo, Relation rel);

/* Does the row that a running push is about to store differ from what its device sent?  Asked where that matters only. */
extern bool ofs_row_differs(OfsRow *row, Relation rel, HeapTuple tuple);

/*
 * The row was stamped (stored: this is how it will be) or buried: tell a running push, or whoever trusts one that
 * has been answered.
 */
extern void ofs_row_written(OfsRow *row, Relation rel, HeapTuple tuple, bool stored);

#endif							/* OFS_ROW_H */
