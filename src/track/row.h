/*
 * row.h
 *		What the row triggers know of the relation they fire on.
 */
#ifndef OFS_ROW_H
#define OFS_ROW_H

#include "postgres.h"

#include "access/htup.h"
#include "base/codec.h"
#include "catalog/capture.h"
#include "catalog/synced.h"
#include "fmgr.h"
#include "utils/relcache.h"

/* The columns that the stamp trigger writes; the history is kept where the strategy asks for it, clocks only beside that. */
enum
{
	OFS_S_CREATED_AT, OFS_S_UPDATED_AT, OFS_S_VERSION, OFS_S_CREATED_VERSION, OFS_NSTAMPS,
	OFS_S_HISTORY = OFS_NSTAMPS, OFS_S_CLOCKS, OFS_NWRITTEN
};

/* What it means that an update changes a column. */
enum
{
	OFS_CHANGES_ROW = 1,		/* it is another row than before */
	OFS_CHANGES_KEY = 2,		/* and another record */
	OFS_CHANGES_IMAGE = 4,		/* a tombstone holds the column */
	OFS_CHANGES_DATE = 8,		/* the writer has dated the change */
	OFS_CHANGES_STAMP = 16		/* forged */
};

typedef struct OfsColumn
{
	int16		len;
	char		align;
	int8		stamp;			/* which one it is; -1: none */
	uint8		changes;		/* what of the above; 0: dropped, or generated, which isn't computed yet */
	uint8		rest;			/* the same of this column and all behind it */
} OfsColumn;

enum
{
	OFS_FIT_UNKNOWN, OFS_FIT_READING, OFS_FIT_KNOWN
};

/* What tombstones of the relation's rows are made of. */
typedef struct OfsBurial
{
	int			natts;
	int			nread;			/* so many columns of the row */
	AttrNumber *sources;		/* by the tombstone's columns */
	Datum	   *values;
	bool	   *nulls;
} OfsBurial;

/*
 * Kept for the session.  The relation's or its synced table's invalidation makes it stale: then the next query makes another. A
 * query goes on with what it has begun with, which its lock on the relation keeps true.
 */
typedef struct OfsRow
{
	Oid			relid;
	Oid			root;			/* the synced table; InvalidOid where the catalog knows none */
	Oid			tombstone;
	bool		stale;
	MemoryContext context;
	AttrNumber	stamps[OFS_NWRITTEN];	/* 0: there is none, of the last two alone */
	AttrNumber	client_updated_at;	/* devices write it, for last_write_wins; 0: none */
	int			nkey;
	AttrNumber *key;			/* in the relation that the trigger fires on */
	int			natts;
	int			nwalked;		/* up to the last stamp */
	bool		trailing;		/* the four stamps alone are the last columns */
	OfsColumn  *columns;
	OfsKeyCodec *codec;			/* NULL until an id has been written */
	const char *told;			/* the collection, where its writers are told of; else NULL */

	/* of the tombstone table: */
	int			fit;			/* is it known which columns are images? */
	bool		images_stamps;	/* among them stamps that every change moves */
	bool		measured;		/* the following is known */
	OfsBurial  *burial;
	MemoryContext burial_context;
} OfsRow;

/* Found at the first row of a query, and kept in flinfo->fn_extra. */
extern OfsRow *ofs_row_get(FmgrInfo *flinfo, Relation rel);

/* Does the row that a running push is about to store differ from what its device sent?  Asked where that matters only. */
extern bool ofs_row_differs(OfsRow *row, Relation rel, HeapTuple tuple);

/* What a running push that is about to store the row says of its fields; NULL: there is none.  Asked where clocks are kept. */
extern const OfsGift *ofs_row_gift(OfsRow *row, Relation rel, HeapTuple tuple);

/*
 * The row was stamped (stored: this is how it will be) or buried: tell a running push, or whoever trusts one that
 * has been answered.
 */
extern void ofs_row_written(OfsRow *row, Relation rel, HeapTuple tuple, bool stored);

/* Find out which columns' changes leave a tombstone; done once. */
extern void ofs_bury_fit(OfsRow *row, Relation rel);

/* Leave a tombstone of a row that is about to be updated, or was deleted, where one is due. */
extern void ofs_bury_row(OfsRow *row, Relation rel, HeapTuple old, bool deleted);

#endif							/* OFS_ROW_H */
