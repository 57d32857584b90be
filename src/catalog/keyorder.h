/*
 * keyorder.h
 *		The order of a table's keys, in SQL.
 */
#ifndef OFS_KEYORDER_H
#define OFS_KEYORDER_H

#include "catalog/synced.h"
#include "lib/stringinfo.h"

/*
 * The operator by which the whole key can be compared, as its index does; NULL where equal keys may not be the same, or
 * where the types' operators have different names: then keys are compared as record_image_gt() does.
 */
extern char *ofs_keyorder_operator(const OfsTable *table);

/* Append the key's columns, of their base types. */
extern void ofs_keyorder_columns(StringInfo sql, const OfsTable *table, const char *alias);

/* Append what is to stand behind ORDER BY. */
extern void ofs_keyorder_by(StringInfo sql, const OfsTable *table, const char *alias);

#endif							/* OFS_KEYORDER_H */
