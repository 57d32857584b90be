/*
 * setup.h
 *		What the files of setup/ share.  Nobody else includes it.
 *
 * Columns are passed as lists of attribute numbers (int lists), names as lists of C strings.
 */
#ifndef OFS_SETUP_H
#define OFS_SETUP_H

#include "postgres.h"

#include "base/answer.h"
#include "catalog/inputs.h"
#include "catalog/synced.h"
#include "core/strategy.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

/* ---------- work.c: the bracket around everything that changes definitions ---------- */

/* Is a command of ours at work, so that our event triggers have nothing to say? */
extern bool ofs_work_busy(void);

/*
 * Run with SPI connected, search_path pinned and our event triggers quiet; "bounded" also puts a
 * limit on waits for locks, and a hint on the error when it is reached.
 */
extern void ofs_work_run(void (*work) (void *arg), void *arg, bool bounded);

/* "a", "b" of attribute numbers, quoted, each behind the prefix. */
extern char *ofs_work_columns(Oid relid, List *attnums, const char *prefix);

/* ---------- entry.c: rows of offsync_internal.synced_table ---------- */

/* Unlike OfsTable nothing is resolved, so that what is broken can still be seen and removed. */
typedef struct OfsEntry
{
	Oid			relid;
	Oid			tombstone;
	char	   *collection;
	List	   *key;			/* names */
	char	   *conflict;		/* name of a strategy */
	char	   *merge_function; /* qualified and quoted, or NULL */
	char	   *updated_at;		/* name, or NULL */
	char	   *soft_delete;	/* name, or NULL */
	bool		all_columns;
	List	   *columns;		/* names; the whitelist unless all_columns */
	List	   *filter_columns; /* names */
	OfsDeclared declared;
	List	   *reads;			/* OIDs of the relations that its policies read */
	char	   *index;
	List	   *added_columns;	/* names */
	char	   *added_index;	/* name of an index of the table, or NULL */
	char	   *shape;
	bool		notify;
} OfsEntry;

extern List *ofs_entry_list(void);
extern OfsEntry *ofs_entry_find(Oid relid);
extern void ofs_entry_insert(const OfsEntry *entry);
extern void ofs_entry_update(const OfsEntry *entry);	/* tombstone, reads and shape */
extern void ofs_entry_delete(Oid relid);	/* and its reset events */
extern Datum ofs_entry_name_array(List *names);	/* name[] */
extern Datum ofs_entry_oid_array(List *oids, Oid type); /* oid[] or regclass[] */
extern const OfsStrategy *ofs_entry_strategy(const OfsEntry *entry);
extern const char *ofs_entry_missing_column(const OfsEntry *entry); /* that sync can't do without, or NULL */

/* ---------- checks.c, key.c: what can't be synced ---------- */

extern void ofs_check_kind(Oid relid);	/* before any lock is taken */
extern void ofs_check_relation(Relation rel);
extern void ofs_check_columns(Relation rel, const OfsStrategy *strategy);
extern void ofs_check_triggers(Relation rel);
extern void ofs_check_publications(Oid relid);
extern void ofs_check_collection(const char *collection, bool by_default);
extern List *ofs_check_whitelist(Relation rel, List *names, List *key);

/* The key by its columns' names, or (NIL) the primary key; errors when it is no key. */
extern List *ofs_key_choose(Relation rel, List *names);

/* ---------- carried.c ---------- */

/* The versions that its rows have already lie behind those to come. */
extern void ofs_carried_outrun(Oid relid);

/* ---------- options.c ---------- */

/* A strategy's name, or that of a function: then the strategy is "function". */
extern void ofs_option_conflict(const char *option, OfsEntry *entry);

/* The columns that updated_at, soft_delete and filter_columns name; the entry's key and whitelist are known. */
extern void ofs_option_check_columns(Relation rel, const OfsEntry *entry);

/* Does the collection's name fit into a notice? */
extern void ofs_option_check_notify(const OfsEntry *entry);

/* The option as its owner gave it. */
extern const char *ofs_option_conflict_shown(const OfsEntry *entry);

/* ---------- shape.c ---------- */

/* Digest of all that decides who sees which columns of which rows; ':' and one of the partitions. */
extern char *ofs_shape_compute(const OfsEntry *entry);
extern bool ofs_shape_same_but_partitions(const char *a, const char *b);

/* ---------- tombstone.c, mirror.c ---------- */

/* Columns whose old image a tombstone keeps beside the key: those that the SELECT policies read, and those of options. */
extern List *ofs_tombstone_images(Relation rel, List *key, const OfsEntry *entry);

/* Create it, or make the existing one fit (returns its OID, a new one where columns had to change). */
extern Oid	ofs_tombstone_create(Relation rel, const char *collection, List *key, List *images);
extern Oid	ofs_tombstone_refit(Relation rel, const char *collection, Oid tombstone, List *key, List *images);
extern void ofs_tombstone_drop(Oid tombstone);

/*
 * The first tombstone, or the last, by version: as it is in the latest snapshot, beneath SQL.  False: there is none, or
 * no index that tells.
 */
extern bool ofs_tombstone_end(Oid tombstone, bool last, int64 *version, TimestampTz *at);

/* Is it as it was created, and would be created now? */
extern bool ofs_tombstone_fits(Relation rel, Relation tomb, List *key, List *images);

/* Replace the tombstone table's policies by those of the table. */
extern void ofs_mirror_write(Relation rel, Oid tombstone);

/* ---------- triggers.c ---------- */

/* All of them are there and fire always afterwards; reports what had to be done. */
extern void ofs_triggers_ensure(Oid relid, ReturnSetInfo *answer);
extern void ofs_triggers_cover_partitions(Oid relid);
extern void ofs_triggers_drop(Oid relid);
extern void ofs_triggers_sweep(void);

/* When a trigger fires, as pg_trigger says it; 0 where there is none. */
extern char ofs_triggers_firing(Oid relid, const char *name);

/* The triggers (OIDs) that call a function of offsync_internal; the relation of one, and whether it is another's clone. */
extern List *ofs_triggers_calling(const char *function);
extern Oid	ofs_triggers_relation(Oid trigger, bool *clone);

/* ---------- access.c ---------- */

/*
 * Find what the policies read, and put triggers on the tables among it (on those alone that were not known before, unless
 * "all"), as the current user.  Reports, or warns where there is no answer to report in.
 */
extern void ofs_access_install(OfsEntry *entry, bool all, ReturnSetInfo *answer);

/* Which table that could have the triggers lacks them, or NULL; of those that the role (if given) owns. */
extern const char *ofs_access_missing(const OfsEntry *entry, Oid role);

/* New partitions of tables that have the triggers get theirs; as the extension's owner. */
extern void ofs_access_cover_partitions(const OfsEntry *entry);

/* Remove the triggers from tables that no policy of a synced table reads any more. */
extern void ofs_access_sweep(void);

/* A table that policies read is about to be rewritten. */
extern void ofs_access_rewritten(Oid relid);

/* ---------- refresh.c ---------- */

/* Compare a synced table with its record, and make everything derived from it fit. */
extern void ofs_refresh_table(Oid relid, bool partitions_are_new);

/* The same for a table that is locked, triggers included, whatever the record says. */
extern void ofs_refresh_repair(OfsEntry *entry, ReturnSetInfo *answer);

/* ---------- advice.c, index.c ---------- */

/* Policies that no delta can follow exactly, as warnings. */
extern void ofs_advice_policies(const OfsEntry *entry, ReturnSetInfo *answer);

/* ---------- scopes.c ---------- */

/* By which columns the policies tell whose a row is. */
typedef struct OfsScopes
{
	List	   *columns;		/* attribute numbers */
	List	   *followed;		/* the same, of keys of other collections: by those rows come and go */
	const char *wide;			/* a policy that doesn't say it in all cases, or NULL */
	const char *why;			/* ... where there is more to say of that; or NULL */
} OfsScopes;

extern OfsScopes *ofs_scopes_find(Relation rel);

/* Add what one policy says; false where that isn't whose a row is. */
extern bool ofs_scopes_add(OfsScopes *scopes, const OfsPolicyFact *fact);

/* The collection whose keys the set is, or NULL: as pulls find it. */
extern OfsTable *ofs_scopes_parent(const OfsSetFact *set);

/* Builds or advises; the name of the index that was built, or NULL. */
extern char *ofs_index_provide(Oid relid, const char *option, ReturnSetInfo *answer);
extern void ofs_index_check_option(const char *option);

/* A complete B-tree index whose first column is this one, or NULL. */
extern char *ofs_index_find(Relation rel, AttrNumber first);

#endif							/* OFS_SETUP_H */
