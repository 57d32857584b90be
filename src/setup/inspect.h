/*
 * inspect.h
 *		What the files of offsync.check() share.
 */
#ifndef OFS_INSPECT_H
#define OFS_INSPECT_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "setup/setup.h"

typedef enum OfsSeverity
{
	OFS_SEVERITY_ERROR,			/* answers may be wrong, or calls fail */
	OFS_SEVERITY_WARNING		/* they are right, and dearer than they need be */
} OfsSeverity;

typedef struct OfsInspect
{
	ReturnSetInfo *answer;
	List	   *entries;		/* of OfsEntry */
	List	   *mended;			/* OIDs of the tables that enable was advised for */
	MemoryContext context;		/* of both lists */
} OfsInspect;

/* One look at something: at a table, or (entry NULL) at all.  It runs as the extension's owner, SPI is connected. */
typedef void (*OfsLook) (OfsInspect *inspect, const OfsEntry *entry, const void *arg);

/* In a subtransaction: where it fails, that is a finding. */
extern void ofs_inspect_look(OfsInspect *inspect, const char *what, OfsLook look, const OfsEntry *entry, const void *arg);

#define OFS_FINDING_COLUMN	"column_missing"	/* stands alone: with a column missing, enable would fail */

#define OFS_FIX_ENABLE	"@enable"	/* in a fix: call of enable with the table's options */
#define OFS_FIX_REJECT	"@reject"	/* the same with conflict => 'reject' */

/* One row; the entry may be NULL, and so may the fix. */
extern void ofs_inspect_say(OfsInspect *inspect, const OfsEntry *entry, OfsSeverity severity, const char *finding,
							const char *detail, const char *fix);

/* inspectsql.c, inspecttable.c, inspectrows.c */
extern void ofs_inspect_catalogs(OfsInspect *inspect);
extern void ofs_inspect_table(OfsInspect *inspect, const OfsEntry *entry);
extern void ofs_inspect_rows(OfsInspect *inspect, const OfsEntry *entry, bool deep);

#endif							/* OFS_INSPECT_H */
