/*
 * record.h
 *		Rows as the records that devices get.
 */
#ifndef OFS_RECORD_H
#define OFS_RECORD_H

#include "postgres.h"

#include "catalog/view.h"
#include "executor/tuptable.h"

typedef struct OfsRecordWriter OfsRecordWriter;

/*
 * A writer of rows that hold the values of the view's columns from attribute "first" (from 0) on; in the current
 * memory context.
 */
extern OfsRecordWriter *ofs_record_writer(const OfsView *view, TupleDesc desc, int first, OfsDialect dialect);

/* Append the row as a JSON object; its values are deformed. */
extern void ofs_record_write(OfsRecordWriter *writer, StringInfo out, const StringInfo id, TupleTableSlot *slot);

#endif							/* OFS_RECORD_H */
