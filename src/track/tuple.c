/*
 * tuple.c
 *		Reading rows value by value, as far as needed.
 */
#include "postgres.h"

#include "track/tuple.h"

HeapTuple
ofs_tuple_complete(HeapTuple tuple, TupleDesc desc)
{
	return HeapTupleHeaderGetNatts(tuple->t_data) < desc->natts ? heap_expand_tuple(tuple, desc) : tuple;
}

/* Where they are the last columns they have always the same places, seen from the row's end. */
static bool
find_trailing(const OfsRow *row, HeapTuple tuple, const char **places)
{
	const char *end = (const char *) tuple->t_data + tuple->t_len;

	if (!row->trailing)
		return false;
	for (int i = 0; i < OFS_NSTAMPS; i++)
	{
		if (HeapTupleHasNulls(tuple) && att_isnull(row->stamps[i] - 1, tuple->t_data->t_bits))
			return false;
		places[i] = end - sizeof(int64) * (row->natts - row->stamps[i] + 1);
	}
	return true;
}

void
ofs_tuple_stamps(const OfsRow *row, HeapTuple tuple, const char **places)
{
	OfsReader	reader = ofs_reader_of(tuple);

	if (find_trailing(row, tuple, places))
	{
		places[OFS_S_HISTORY] = places[OFS_S_CLOCKS] = NULL;
		return;
	}
	memset(places, 0, sizeof(char *) * OFS_NWRITTEN);
	for (int i = 0; i < row->nwalked; i++)
	{
		const char *value = ofs_reader_next(&reader, &row->columns[i], i);

		if (row->columns[i].stamp >= 0)
			places[row->columns[i].stamp] = value;
	}
}
