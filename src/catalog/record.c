/*
 * record.c
 *		Rows as the records that devices get.
 *
 * Each column's codec is chosen once, and its name is written out once.
 */
#include "postgres.h"

#include "catalog/record.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/rel.h"

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

void
ofs_record_choose(OfsRecordColumns *columns, OfsTable *table, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool		all = pg_class_aclcheck(table->relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK;

	columns->count = 0;
	columns->attnums = palloc(sizeof(AttrNumber) * desc->natts);
	columns->names = palloc(sizeof(char *) * desc->natts);
	for (int attnum = 1; attnum <= desc->natts; attnum++)
	{
		const char *name = ofs_table_wire_name(table, desc, attnum);

		if (name == NULL ||
			!(all || pg_attribute_aclcheck(table->relid, attnum, GetUserId(), ACL_SELECT) == ACLCHECK_OK))
			continue;
		columns->attnums[columns->count] = attnum;
		columns->names[columns->count++] = name;
	}
}

OfsRecordWriter *
ofs_record_writer(const OfsRecordColumns *columns, TupleDesc desc, int first, OfsDialect dialect)
{
	OfsRecordWriter *writer = palloc(offsetof(OfsRecordWriter, columns) + sizeof(Column) * columns->count);

	writer->first = first;
	writer->count = columns->count;
	for (int i = 0; i < columns->count; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, first + i);
		StringInfoData prefix;

		initStringInfo(&prefix);
		appendStringInfoChar(&prefix, ',');
		ofs_json_string(&prefix, columns->names[i], strlen(columns->names[i]));
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
	appendStringInfoString(out, "{\"id\":");
	ofs_json_string(out, id->data, id->len);
	for (int i = 0; i < writer->count; i++)
	{
		const Column *column = &writer->columns[i];

		appendBinaryStringInfo(out, column->prefix, column->prefix_len);
		ofs_codec_write(column->codec, out, slot->tts_values[writer->first + i], slot->tts_isnull[writer->first + i]);
	}
	appendStringInfoCharMacro(out, '}');
}
