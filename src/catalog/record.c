/*
 * record.c
 *		Rows as the records that devices get.
 *
 * Each column's codec is chosen once, and its name is written out once.
 *
 * Reading many rows is waiting for memory: rows fill a page from its end, so that the next row lies before the
 * present one, and processors guess the other direction.  So the rows to come are asked for while one is being written, which
 * nearly halves the time of a large answer.  Where a guess is wrong, nothing happens.
 */
#include "postgres.h"

#include "base/put.h"
#include "catalog/record.h"

#if defined(__GNUC__)
#define ask_for(address) __builtin_prefetch(address)
#else
#define ask_for(address) ((void) (address))
#endif

#define ROWS_AHEAD	2
#define CACHE_LINE	64

typedef struct Column
{
	OfsCodec   *codec;
	char	   *prefix;			/* ,"name": */
	int			prefix_len;
} Column;

struct OfsRecordWriter
{
	int			first;
	int			count;
	int			pointer;		/* attribute whose values point into the rows; -1: there is none */
	const char *last;			/* where the last one pointed */
	Column		columns[FLEXIBLE_ARRAY_MEMBER];
};

OfsRecordWriter *
ofs_record_writer(const OfsView *view, TupleDesc desc, int first, OfsDialect dialect)
{
	OfsRecordWriter *writer = palloc(offsetof(OfsRecordWriter, columns) + sizeof(Column) * view->ncolumns);

	writer->first = first;
	writer->count = view->ncolumns;
	writer->pointer = -1;
	writer->last = NULL;
	for (int i = 0; i < view->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, first + i);
		StringInfoData prefix;

		initStringInfo(&prefix);
		appendStringInfoChar(&prefix, ',');
		ofs_json_text(&prefix, view->names[i]);
		appendStringInfoChar(&prefix, ':');
		if (writer->pointer < 0 && !att->attbyval)
			writer->pointer = first + i;
		writer->columns[i].codec = ofs_codec_create(att->atttypid, att->atttypmod, dialect);
		writer->columns[i].prefix = prefix.data;
		writer->columns[i].prefix_len = prefix.len;
	}
	return writer;
}

/* Rows of about the same size follow downwards. */
static inline void
ask_for_rows(OfsRecordWriter *writer, TupleTableSlot *slot)
{
	const char *at;
	intptr_t	size;

	if (writer->pointer < 0 || slot->tts_isnull[writer->pointer])
		return;
	at = DatumGetPointer(slot->tts_values[writer->pointer]);
	size = (intptr_t) writer->last - (intptr_t) at;
	writer->last = at;
	if (size <= 0 || size > BLCKSZ / ROWS_AHEAD)
		return;
	for (intptr_t i = CACHE_LINE; i <= size * ROWS_AHEAD; i += CACHE_LINE)
		ask_for(at - i);
}

void
ofs_record_write(OfsRecordWriter *writer, StringInfo out, const StringInfo id, TupleTableSlot *slot)
{
	ask_for_rows(writer, slot);
	ofs_put_literal(out, "{\"id\":");
	ofs_json_string(out, id->data, id->len);
	for (int i = 0; i < writer->count; i++)
	{
		const Column *column = &writer->columns[i];

		ofs_put_bytes(out, column->prefix, column->prefix_len);
		ofs_codec_write(column->codec, out, slot->tts_values[writer->first + i], slot->tts_isnull[writer->first + i]);
	}
	ofs_put_char(out, '}');
}
