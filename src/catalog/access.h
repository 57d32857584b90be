/*
 * access.h
 *		What policies read beside the row, and whether it has changed.
 */
#ifndef OFS_ACCESS_H
#define OFS_ACCESS_H

#include "postgres.h"

#include "catalog/since.h"
#include "nodes/pg_list.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* Triggers on the tables that policies of synced tables read; on every partition. */
#define OFS_TRIGGER_ACCESS		"offsync_access"	/* FOR EACH STATEMENT, ENABLE ALWAYS */
#define OFS_TRIGGER_ACCESS_ROW	"offsync_access_applied"	/* FOR EACH ROW, ENABLE REPLICA */

/* What an expression reads, through views and the row-level security of what it reads, too. */
typedef struct OfsReads
{
	List	   *relations;		/* OIDs of tables and views */
	List	   *inputs;			/* parts that depend on the caller alone */
	const char *blind;			/* why no event can tell of every change, or NULL */
	bool		functions;		/* values decide by functions that can't be seen into */
	bool		hidden;			/* a set comes from such a function, called without values */
	bool		clock;
	bool		random;			/* or anything else that no value can be held against */
} OfsReads;

/* ---------- reads.c ---------- */

/*
 * Add what the node reads.  by_value: its value is held against the one it had before, so that only what a
 * cursor without values can't tell is of interest.
 */
extern void ofs_reads_add(OfsReads *reads, Node *node, bool by_value);

/* Add a relation, as an expression that reads it does. */
extern void ofs_reads_add_relation(OfsReads *reads, Oid relid, bool by_value);

/* The same of a policy. */
typedef struct OfsPolicyReads
{
	OfsReads	tied;			/* where a value of the row decides, too */
	OfsReads	by_value;
} OfsPolicyReads;

extern void ofs_reads_policy(OfsPolicyReads *reads, Node *qual);

/* The relations that the table's SELECT policies read. */
extern List *ofs_reads_of_table(Relation rel, const OfsDeclared *declared);

/* How to follow a policy whose verdict on a row can change without the row. */
typedef struct OfsFollow
{
	List	   *inputs;			/* more parts whose values matter */
	const char *opaque;			/* why it can't be followed where values of the row decide, too; or NULL */
	List	   *events;			/* relations whose events then mean that it has changed */
	const char *blind;			/* why a cursor without values can't follow it at all, or NULL */
	List	   *all_events;		/* relations whose events mean that to such a cursor */
	List	   *relations;		/* all that it reads, views too */
	bool		clock;			/* it reads the clock */
	bool		functions;		/* functions that can't be seen into decide by values of the row, or what goes with it */
} OfsFollow;

extern OfsFollow *ofs_reads_follow(Relation rel, const OfsDeclared *declared, Node *qual);

/* ---------- access.c ---------- */

/* The relation was written: leave an event, one per transaction. */
extern void ofs_access_touch(Oid relid);

/* Why events don't tell of every change of these relations, or NULL. */
extern const char *ofs_access_blind(List *relations);

/* The relations, and all partitions of them. */
extern List *ofs_access_tree(List *relations, LOCKMODE lockmode);

/* What of these relations changed unseen, in the active snapshot, or NULL. */
extern const char *ofs_access_changed(const OfsSince *since, List *relations);

#endif							/* OFS_ACCESS_H */
