/*
 * tuple.h
 *		Reading rows value by value, as far as needed.
 */
#ifndef OFS_TUPLE_H
#define OFS_TUPLE_H

#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "base/compat.h"
#include "track/row.h"

typedef struct OfsReader
{
	const char *start;
	const uint8 *bits;			/* NULL: no value is null */
	uint32		offset;
} OfsReader;

static inline OfsReader
ofs_reader_of(HeapTuple tuple)
{
	OfsReader	reader = {(const char *) tuple->t_data + tuple->t_data->t_hoff};

	if (HeapTupleHasNulls(tuple))
		reader.bits = tuple->t_data->t_bits;
	return reader;
}

/* The next column's value (i counts from 0), or NULL. */
static inline const char *
ofs_reader_next(OfsReader *reader, const OfsColumn *column, int i)
{
	const char *value;

	if (reader->bits && att_isnull(i, reader->bits))
		return NULL;
	reader->offset = att_align_pointer(reader->offset, column->align, column->len, reader->start + reader->offset);
	value = reader->start + reader->offset;
	reader->offset = att_addlength_pointer(reader->offset, column->len, value);
	return value;
}

static inline int64
ofs_stamp_at(const char *place)
{
	int64		stamp;

	memcpy(&stamp, place, sizeof(stamp));
	return stamp;
}

/* Columns that were added since are in a row only when it is written again; the following want it whole. */
extern HeapTuple ofs_tuple_complete(HeapTuple tuple, TupleDesc desc);

/* Where the stamps (OFS_NWRITTEN of them) stand in it; NULL for those that are null. */
extern void ofs_tuple_stamps(const OfsRow *row, HeapTuple tuple, const char **places);

#endif							/* OFS_TUPLE_H */
