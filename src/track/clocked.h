/*
 * clocked.h
 *		The clocks of a row's fields, as it is written.
 */
#ifndef OFS_CLOCKED_H
#define OFS_CLOCKED_H

#include "postgres.h"

#include "track/row.h"

typedef struct OfsClocked
{
	const OfsClocks *before;
	const OfsGift *gift;		/* of the push that writes the row; or NULL */
} OfsClocked;

/*
 * An update: before is where the old row's stamps stand, names are the columns whose values change.  Those that a device writes
 * as they are are added.  Does the version move, whatever the values do?
 */
extern bool ofs_clocked_update(OfsRow *row, Relation rel, HeapTuple new, const char *const *before, List **names,
							   OfsClocked *clocked);

/* The value of server_clocks once the columns of these names are written. */
extern Datum ofs_clocked_stamp(const OfsRow *row, Relation rel, const OfsClocked *clocked, List *names);

/* The same of a new row; false where it is NULL. */
extern bool ofs_clocked_insert(OfsRow *row, Relation rel, HeapTuple new, Datum *value);

#endif							/* OFS_CLOCKED_H */
