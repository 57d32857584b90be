/*
 * known.h
 *		Is a row as the device that pushed it has it?
 */
#ifndef OFS_KNOWN_H
#define OFS_KNOWN_H

#include "push/push.h"

/* A row's values by position, as rows are read. */
typedef struct PushRowValues
{
	Datum	   *values;
	bool	   *nulls;
} PushRowValues;

extern void ofs_known_init(PushRowValues *row, int natts);

/* The row's values are in after; before is room for those that it had. */
extern bool ofs_known_row(const PushTable *table, const PushItem *item,
						  PushRowValues *before, PushRowValues *after);

#endif							/* OFS_KNOWN_H */
