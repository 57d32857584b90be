/*
 * record.c
 *		Rows as the records that devices get.
 *
 * Each column's codec is chosen once, and its name is written out once.
 */
#include "postgres.h"

#include "base/put.h"
#include "catalog/record.h"

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
	Column		columns[FLEXIBLE_ARRAY_MEMBER];
};

OfsRecordWriter *
ofs_record_writer(const OfsView *view, TupleDesc desc, int first, OfsDialect dialect)
{
	OfsRecordWriter *writer = palloc(offsetof(OfsRecordWriter, columns) + sizeof(Column) * view->ncolumns);

	writer->first = first;
	writer->count = view->ncolumns;
	for (int i = 0; i < view->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, first + i);
		StringInfoData prefix;

		initStringInfo(&prefix);
		appendStringInfoChar(&prefix, ',');
		ofs_json_string(&prefix, view->names[i], strlen(view->names[i]));
		appendStringInfoChar(&prefix, ':');
		writer->columns[i].codec = ofs_codec_create(att->atttypid, att->atttypmod, dialect);
		writer->columns[i].prefix = prefix.data;
		writer->columns[i].prefix_len = prefix.len;
	}
	return writer;
}

void
ofs_record_write(OfsRecordWriter *writer, StringInfo out, const StringInfo id, TupleTableSlot *slot)
{
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
