/*
 * history.h
 *		Which version each column of a row was last changed in.
 *
 * Strategies that merge need it: without old values, all that can be known of a column is whether the
 * server has changed it since a device last saw it.  Only their tables have the column
 * server_column_versions; the stamp trigger writes it, and nobody else can.
 *
 * It is NULL as long as the row is as it was inserted (or as it was when the table was enabled).
 * Then it holds "<version> <column>" per changed column, in the order of the writes, and "<version>"
 * alone for all others.
 *
 * Versions are transaction ids: one that began earlier may write a row later.  Such a write carries a
 * second number, "<version>/<order> <column>", the highest version that had written the row before.
 */
#ifndef OFS_HISTORY_H
#define OFS_HISTORY_H

#include "postgres.h"

#include "nodes/pg_list.h"

typedef struct OfsHistoryEntry
{
	int64		version;
	int64		order;
	const char *column;			/* NULL: all that have no entry of their own */
} OfsHistoryEntry;

typedef struct OfsHistory
{
	int			nentries;
	OfsHistoryEntry *entries;
} OfsHistory;

/* What the column holds (text[]); row_version is that of the row. */
extern OfsHistory *ofs_history_read(Datum value, bool isnull, int64 row_version);

/* The column's own entry, or NULL: those of all others tell. */
extern const OfsHistoryEntry *ofs_history_find(const OfsHistory *history, const char *column);

/* Was the entry written after the row had this version? */
extern bool ofs_history_follows(const OfsHistoryEntry *entry, int64 version);

/* The value after an update of these columns (names) by a version. */
extern Datum ofs_history_add(Datum value, bool isnull, int64 row_version, int64 version, List *columns);

#endif							/* OFS_HISTORY_H */
