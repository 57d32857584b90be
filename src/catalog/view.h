/*
 * view.h
 *		What one caller sees of one synced table.
 */
#ifndef OFS_VIEW_H
#define OFS_VIEW_H

#include "postgres.h"

#include "base/codec.h"
#include "catalog/inputs.h"
#include "catalog/synced.h"
#include "core/set.h"

/* Views of one moment: one caller, one snapshot. */
typedef struct OfsViews
{
	OfsDialect	dialect;
	bool		bare;			/* nobody asks for their columns */
	List	   *known;			/* of ofs_inputs_evaluate() */
	List	   *views;			/* of OfsView, those of parents before their children's */
	List	   *making;			/* OIDs of the tables whose views are being made */
} OfsViews;

/* A policy that applies to the caller. */
typedef struct OfsViewPolicy
{
	const OfsPolicyFact *fact;
	List	   *inputs;			/* of OfsInput: as many as the fact has, and in their order */
	struct OfsViewSet *sets;	/* as many as the fact has, and in their order */
} OfsViewPolicy;

typedef struct OfsViewSet
{
	const OfsSetFact *fact;
	OfsSet		value;			/* as it is now; of kind OFS_SET_HASH it holds its values too */
	struct OfsView *parent;		/* of kind OFS_SET_PARENT: the table whose keys it is */
	AttrNumber	column;			/* that a device filters by; 0: it is a policy's set */
} OfsViewSet;

typedef struct OfsView
{
	OfsTable   *table;
	int			ncolumns;		/* columns that travel: allowed by the whitelist and readable by the caller */
	AttrNumber *columns;
	const char **names;			/* on the wire */
	const char *opaque;			/* why no delta can be computed for this caller, or NULL */
	List	   *events;			/* tables (OIDs) whose events mean that the view of unchanged rows may be another */
	const char *blind;			/* why a cursor that carries no values can't be followed, or NULL */
	List	   *all_events;		/* what "events" is for such a cursor */
	uint64		identity;		/* digest of all that the view depends on beside the rows and the sets */
	uint64		fingerprint;	/* the same, with the dialect that its answers are in */
	bool		restricted;		/* row-level security applies to the caller ... */
	List	   *policies;		/* ... by these: OfsViewPolicy */
	List	   *sets;			/* all their sets: OfsViewSet */
	struct OfsScope *scope;		/* or NULL: not known yet; see scope.h */
} OfsView;

/* What the dialect json makes of an identity. */
#define OFS_VIEW_JSON UINT64CONST(0x6a736f6e6a736f6e)

/* May the caller read the table's key (and name the table)? */
extern bool ofs_view_readable(OfsTable *table);

/* Error 42501 for a table whose key the caller can't read. */
extern void ofs_view_require(OfsTable *table);

/*
 * Look at the table as the current user; the table is locked to the end of the transaction.  The same view is answered
 * when it has been made before.
 */
extern OfsView *ofs_view_make(OfsViews *views, OfsTable *table);

/* The same, but only its table and columns: nothing is asked of the policies. */
extern OfsView *ofs_view_columns(OfsTable *table);

#endif							/* OFS_VIEW_H */
