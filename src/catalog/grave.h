/*
 * grave.h
 *		Writing tombstones.
 */
#ifndef OFS_GRAVE_H
#define OFS_GRAVE_H

#include "postgres.h"

#include "catalog/indexing.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"

/* A tombstone table that is being written to. */
typedef struct OfsGrave
{
	Relation	rel;
	CatalogIndexState indexes;
	TupleTableSlot **slots;		/* what is being written */
	int			nslots;
	bool		waits;			/* tombstones wait for the statement's end, and so long nobody alters the table */
} OfsGrave;

/* About where among the keys: only how fast the indexes are written depends on it. */
typedef struct OfsGravePlace
{
	unsigned char bytes[16];
} OfsGravePlace;

extern OfsGrave *ofs_grave_open(Oid tombstone);

/* Closes what doesn't wait. */
extern void ofs_grave_close(OfsGrave *grave);

/* The transaction hadn't written the row before. */
#define OFS_GRAVE_FIRST		FirstCommandId

/* Of one key and version that image counts which went first: "when" is the command that did away with it. */
extern void ofs_grave_put(OfsGrave *grave, Datum *values, bool *nulls, const OfsGravePlace *place, CommandId when);

extern void ofs_grave_init(void);

#endif							/* OFS_GRAVE_H */
