/*
 * record.h
 *		Rows as the records that devices get.
 */
#ifndef OFS_RECORD_H
#define OFS_RECORD_H

#include "postgres.h"

#include "base/codec.h"
#include "catalog/synced.h"
#include "executor/tuptable.h"

/* The columns of a record: allowed by the whitelist and readable by the caller. */
typedef struct OfsRecordColumns
{
	int			count;
	AttrNumber *attnums;
	const char **names;			/* on the wire */
} OfsRecordColumns;

extern void ofs_record_choose(OfsRecordColumns *columns, OfsTable *table, Relation rel);

typedef struct OfsRecordWriter OfsRecordWriter;

/* A writer of rows that hold the columns' values from attribute "first" (from 0) on; in the current memory context. */
extern OfsRecordWriter *ofs_record_writer(const OfsRecordColumns *columns, TupleDesc desc, int first,
										  OfsDialect dialect);

/* Append the row as a JSON object; its values are deformed. */
extern void ofs_record_write(OfsRecordWriter *writer, StringInfo out, const StringInfo id, TupleTableSlot *slot);

#endif							/* OFS_RECORD_H */
