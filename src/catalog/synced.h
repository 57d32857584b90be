/*
 * synced.h
 *		Synced tables: their catalog rows, cached per backend.
 */
#ifndef OFS_SYNCED_H
#define OFS_SYNCED_H

#include "postgres.h"

#include "access/attnum.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

#define OFS_COL_CREATED_AT		"server_created_at"
#define OFS_COL_UPDATED_AT		"server_updated_at"
#define OFS_COL_VERSION			"server_version"
#define OFS_COL_CREATED_VERSION	"server_created_version"
#define OFS_COL_HISTORY			"server_column_versions"	/* where the strategy asks for it: history.h */
#define OFS_COL_CLOCKS			"server_clocks"	/* likewise: clocks.h */

/* columns of a tombstone table beside the key and the images */
#define OFS_TOMB_VERSION		"offsync_version"
#define OFS_TOMB_AT				"offsync_at"
#define OFS_TOMB_CREATED		"offsync_created"	/* version that inserted the row */

/*
 * Triggers on users' tables.  BEFORE triggers fire in the order of their names and the stamp
 * must see the row as it will be stored: its name sorts behind all that people use.
 */
#define OFS_TRIGGER_STAMP		"zzzz_offsync_stamp"
#define OFS_TRIGGER_DELETE		"offsync_delete"	/* AFTER DELETE FOR EACH ROW: bury() */
#define OFS_TRIGGER_UPDATE		"offsync_update"	/* of 0.1, AFTER UPDATE FOR EACH ROW: what it did the stamp trigger does */
#define OFS_TRIGGER_TRUNCATE	"offsync_truncate"	/* AFTER TRUNCATE, on every partition too: truncated() */

/* What the owner of a synced table says of the functions in its policies, which nobody can see into. */
typedef struct OfsDeclared
{
	bool		known;			/* anything */
	List	   *tables;			/* OIDs of the tables that they read */
	bool		row_local;		/* they don't look the row itself up */
} OfsDeclared;

typedef struct OfsTable
{
	Oid			relid;
	Oid			tombstone;
	char	   *collection;		/* name on the wire */
	uint64		hash;			/* of the collection's name, as cursors carry it */
	char	   *schema;
	char	   *relname;
	int			nkey;
	AttrNumber *key;			/* attribute numbers in the table */
	Oid		   *key_types;
	int32	   *key_typmods;
	char	   *conflict;		/* name of its strategy */
	char	   *merge_function; /* of the strategy "function": qualified and quoted, ready for SQL; else NULL */
	AttrNumber	client_updated_at;	/* written by clients, for last_write_wins; 0: none */
	AttrNumber	soft_delete;	/* not null: the row counts as deleted; 0: none */
	Bitmapset  *columns;		/* whitelist of attribute numbers; NULL = all */
	Bitmapset  *filter_columns; /* attribute numbers that devices may filter by */
	OfsDeclared declared;
	AttrNumber	created_at;
	AttrNumber	updated_at;
	AttrNumber	version;
	AttrNumber	created_version;
	AttrNumber	history;		/* 0: none */
	AttrNumber	clocks;			/* 0: none */
	char	   *shape;			/* as recorded by setup */
	bool		notify;			/* its writers are told of: notice.c */
	MemoryContext context;		/* the entry's own */
	uint64		serial;			/* no other entry of this session has it */
	bool		stale;			/* an invalidation came: rebuilt at the next look-up */
	bool		judged;			/* trouble is known */
	const char *trouble;
	int			nwatched;		/* relations that trouble was read from, beside the tombstone table */
	Oid		   *watched;
	List	   *reads;			/* OIDs of the relations that the facts below were found in, or NIL */
	bool		indexed;		/* the following is known */
	List	   *leading;		/* columns that indexes begin with, in the same context: scope.c */
	char	   *sight;			/* what view.c's digests say of a role and its columns, in the same context; or NULL */
	int			sight_len;
	Oid			sight_role;
	uint64		sight_bells;	/* of base/bells.h, as it was found out */
	struct OfsPolicyFacts *facts;	/* what the pull found out about the policies, in the same context */
} OfsTable;

/*
 * Look-ups answer entries that stay valid till the end of the transaction: a stale entry is
 * replaced, never changed, and freed when nobody can hold it any more.  So a table may have more than one: whether
 * two are the same table their relids tell.
 */

/* The synced table itself (a root, not a partition), or NULL. */
extern OfsTable *ofs_table_find(Oid relid);

/* The table's entry behind its lock, which may have brought news of the definition; an error when it is synced no more. */
extern OfsTable *ofs_table_again(const OfsTable *table);

/* The synced table that a relation is or is a partition of, or NULL. */
extern OfsTable *ofs_table_of(Oid relid);

/* By wire name: the collection's name or schema.table; NULL when there is none. */
extern OfsTable *ofs_table_by_name(const char *name);

/* All synced tables, parents before children by foreign key (within a cycle: by name). */
extern List *ofs_table_list(void);

/* A synced table whose writers are told of. */
typedef struct OfsTold
{
	Oid			relid;
	char	   *collection;
	List	   *reads;			/* OIDs of the relations that its policies read */
} OfsTold;

/* All of these, good till the next look-up; costs nothing but the first time. */
extern List *ofs_table_told(void);

/* Sort a list of OfsTable parents first. */
extern List *ofs_table_sort(List *tables);

/*
 * The name a column travels under: its own, but for a column "id" that isn't the key, which gets
 * underscores appended until it is free.  NULL for a column that never travels (dropped, outside
 * the whitelist, server_created_version, server_column_versions, server_clocks, _status, _changed, __proto__, and the key column
 * "id" itself).
 */
extern const char *ofs_table_wire_name(OfsTable *table, TupleDesc desc, AttrNumber attnum);

/* Why answers of this table can't be exact now (triggers, mirror), or NULL when all is in place. */
extern const char *ofs_table_trouble(OfsTable *table);

/* Make every backend look at the table's catalog row again. */
extern void ofs_table_invalidate(Oid relid);

/* Reason of the event, of no table, of a transaction that wrote on after it had answered a push. */
#define OFS_STAIN "written behind a push"

/* Stamp an event that makes the whole collection unknown to its devices. */
extern void ofs_table_reset(Oid relid, const char *reason);
extern void ofs_table_reset_all(const char *reason);

#endif							/* OFS_SYNCED_H */
