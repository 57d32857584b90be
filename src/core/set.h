/*
 * set.h
 *		Sets of values that policies look things up in, as cursors carry them.
 */
#ifndef OFS_SET_H
#define OFS_SET_H

#include "postgres.h"

#include "core/cursor.h"
#include "lib/stringinfo.h"

typedef struct OfsSetItem
{
	const char *data;
	int			len;
} OfsSetItem;

typedef enum OfsSetKind
{
	OFS_SET_VALUES,				/* carried by value */
	OFS_SET_HASH,				/* too large: only its hash */
	OFS_SET_PARENT				/* keys of another collection, whose own delta tells what changed */
} OfsSetKind;

typedef struct OfsSet
{
	OfsSetKind	kind;
	bool		is_null;		/* no set but NULL */
	bool		has_null;		/* NULL is among the values */
	int			count;			/* the other values */
	OfsSetItem *items;			/* ascending, each once */
	uint64		hash;			/* of all that; of kind OFS_SET_PARENT none */
} OfsSet;

/* What a cursor says of one collection's sets. */
typedef struct OfsSetView
{
	uint64		collection;		/* hash of its name */
	uint64		fingerprint;
	int			nsets;
	int		   *sets;			/* places in the list of all sets, in the policies' order */
	uint64		columns;		/* that the device filtered by: a hash of their names; 0: none */
	int			nfilters;
	int		   *filters;		/* places of the values, in the columns' order */
} OfsSetView;

typedef struct OfsSetBook
{
	int			nsets;
	OfsSet	   *sets;
	int			nviews;
	OfsSetView *views;
} OfsSetBook;

/* Sort the items, drop those that repeat, and hash the set. */
extern void ofs_set_finish(OfsSet *set);

/* Bytes that the set takes by value. */
extern int	ofs_set_size(const OfsSet *set);

/* Items of a that b lacks, in a list of a's size; the result is their number. */
extern int	ofs_set_minus(const OfsSet *a, const OfsSet *b, OfsSetItem *items);

/* All sets of a cursor as bytes, and back; false when they are none. */
extern void ofs_set_pack(const OfsSetBook *book, StringInfo out);
extern bool ofs_set_unpack(const uint8 *bytes, int len, OfsSetBook *book);

#endif							/* OFS_SET_H */
