/*
 * migration.h
 *		What a device lacks because its app knew less when it last pulled.
 */
#ifndef OFS_MIGRATION_H
#define OFS_MIGRATION_H

#include "postgres.h"

#include "base/codec.h"
#include "catalog/asked.h"
#include "catalog/since.h"
#include "catalog/view.h"
#include "lib/stringinfo.h"
#include "nodes/bitmapset.h"
#include "utils/jsonb.h"

/* What is new to the device of one collection. */
typedef struct OfsAdded
{
	const OfsTable *table;
	bool		whole;			/* the collection itself */
	Bitmapset  *columns;		/* attribute numbers */
} OfsAdded;

/*
 * {"from": 1, "tables": ["a"], "columns": [{"table": "b", "columns": ["c"]}]} as a list of OfsAdded.  PT400 for anything
 * malformed and for a collection that isn't among the asked ones; PT404 for one that there isn't, and for a column that
 * doesn't travel to the caller; 42501 for a collection that the caller can't read.
 */
extern List *ofs_migration_parse(Jsonb *migration, List *asked);

/* What is new to the device of the collection, or NULL. */
extern const OfsAdded *ofs_migration_find(List *migration, const OfsTable *table);

/* Error PT503 where the snapshot hasn't seen all that the device may have. */
extern void ofs_migration_require_seen(List *migration, const OfsSince *since);

/* Append a condition on the row "t": an added column of it isn't what the device has in its place. */
extern void ofs_migration_append_lacked(StringInfo sql, const OfsAdded *added, OfsDialect dialect);

#endif							/* OFS_MIGRATION_H */
