/*
 * access.c
 *		Triggers on the tables that policies of synced tables read.
 *
 * They say that such a table was written (catalog/access.c).  A statement trigger does for whoever writes by SQL; the
 * row trigger fires for logical replication's apply alone.  Every partition has its own statement trigger, since it can
 * be written by its own name.
 *
 * The tables may belong to others.  Nobody gets a trigger from somebody who couldn't have created it, so where the
 * rights lack there is a warning, and devices take the collection anew at every pull.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/spi.h"
#include "catalog/access.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "setup/setup.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* ---------- installing ---------- */

static bool
can_have_triggers(Oid relid)
{
	char		relkind = get_rel_relkind(relid);

	return (relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE) &&
		relid >= FirstNormalObjectId && get_rel_persistence(relid) == RELPERSISTENCE_PERMANENT;
}

static void
ensure(Oid relid, const char *name, const char *when, char fires, const char *fires_sql)
{
	char	   *table = ofs_relation_name(relid);

	if (ofs_triggers_firing(relid, name) == '\0')
		ofs_spi_run(false, "CREATE TRIGGER %s AFTER %s ON %s %s EXECUTE FUNCTION offsync_internal.touched()", name,
					fires == TRIGGER_FIRES_ALWAYS ? "INSERT OR UPDATE OR DELETE OR TRUNCATE" : "INSERT OR UPDATE OR DELETE",
					table, when);
	if (ofs_triggers_firing(relid, name) != fires)
		ofs_spi_run(false, "ALTER TABLE ONLY %s ENABLE %s TRIGGER %s", table, fires_sql, name);
}

/* The root comes first, so that its partitions have got the clones of its row trigger when their turn comes. */
static void
ensure_tree(List *tree)
{
	ListCell   *lc;

	foreach(lc, tree)
	{
		if (!can_have_triggers(lfirst_oid(lc)))
			continue;
		ensure(lfirst_oid(lc), OFS_TRIGGER_ACCESS, "FOR EACH STATEMENT", TRIGGER_FIRES_ALWAYS, "ALWAYS");
		ensure(lfirst_oid(lc), OFS_TRIGGER_ACCESS_ROW, "FOR EACH ROW", TRIGGER_FIRES_ON_REPLICA, "REPLICA");
	}
}

static void
warn_of_rights(Oid relid, const OfsEntry *entry, ReturnSetInfo *answer)
{
	char	   *table = ofs_relation_name(relid);

	if (answer)
		ofs_answer_say(answer, "warning", "policies read %s, which belongs to somebody else: let its owner,"
						" or a superuser, call enable again, so that its changes are seen", table);
	else
		ereport(WARNING,
				(errmsg("policies of synced table \"%s\" read %s, which belongs to somebody else",
						get_rel_name(entry->relid), table),
				 errhint("Let its owner, or a superuser, call offsync.enable again, so that its changes are seen.")));
}

static void
install(Oid relid, const OfsEntry *entry, ReturnSetInfo *answer)
{
	List	   *tree;

	if (!can_have_triggers(relid))
		return;
	tree = find_all_inheritors(relid, AccessShareLock, NULL);
	if (ofs_access_blind(tree) == NULL)
		return;
	if (!ofs_compat_owns_relation(relid, GetUserId()))
	{
		warn_of_rights(relid, entry, answer);
		return;
	}
	/* somebody else may be at it, for another synced table */
	LockRelationOid(relid, ShareRowExclusiveLock);
	ensure_tree(find_all_inheritors(relid, ShareRowExclusiveLock, NULL));
	if (answer)
		ofs_answer_say(answer, "trigger", OFS_TRIGGER_ACCESS " on %s, which policies read", ofs_relation_name(relid));
}

void
ofs_access_install(OfsEntry *entry, bool all, ReturnSetInfo *answer)
{
	Relation	rel = table_open(entry->relid, AccessShareLock);
	List	   *known = entry->reads;
	ListCell   *lc;

	entry->reads = ofs_reads_of_table(rel, &entry->declared);
	/* triggers of the synced table itself may have to be made */
	table_close(rel, NoLock);
	foreach(lc, entry->reads)
		if (all || !list_member_oid(known, lfirst_oid(lc)))
			install(lfirst_oid(lc), entry, answer);
}

const char *
ofs_access_missing(const OfsEntry *entry, Oid role)
{
	const char *missing = NULL;
	ListCell   *lc;

	foreach(lc, entry->reads)
	{
		if (missing)
			break;
		if (get_rel_name(lfirst_oid(lc)) == NULL)
			missing = OidIsValid(role) ? NULL : "a table that is gone";
		else if (can_have_triggers(lfirst_oid(lc)) &&
				 (!OidIsValid(role) || ofs_compat_owns_relation(lfirst_oid(lc), role)))
			missing = ofs_access_blind(find_all_inheritors(lfirst_oid(lc), AccessShareLock, NULL));
	}
	return missing ? psprintf("policies read %s", missing) : NULL;
}

void
ofs_access_cover_partitions(const OfsEntry *entry)
{
	ListCell   *lc,
			   *member;

	foreach(lc, entry->reads)
	{
		List	   *bare = NIL;

		if (get_rel_name(lfirst_oid(lc)) == NULL || !can_have_triggers(lfirst_oid(lc)) ||
			ofs_triggers_firing(lfirst_oid(lc), OFS_TRIGGER_ACCESS) != TRIGGER_FIRES_ALWAYS)
			continue;
		/* those that somebody has switched off stay off */
		foreach(member, find_all_inheritors(lfirst_oid(lc), AccessShareLock, NULL))
			if (ofs_triggers_firing(lfirst_oid(member), OFS_TRIGGER_ACCESS) == '\0')
				bare = lappend_oid(bare, lfirst_oid(member));
		ensure_tree(bare);
	}
}

/* ---------- removing ---------- */

/* Triggers on tables that no synced table's policies read, but for clones, which go with their parents. */
static List *
find_orphans(List *triggers)
{
	List	   *reads = NIL;
	List	   *orphans = NIL;
	ListCell   *lc;

	foreach(lc, ofs_entry_list())
		reads = list_concat_unique_oid(reads, ((OfsEntry *) lfirst(lc))->reads);
	reads = ofs_access_tree(reads, NoLock);
	foreach(lc, triggers)
	{
		bool		clone;
		Oid			relid = ofs_triggers_relation(lfirst_oid(lc), &clone);

		if (OidIsValid(relid) && !clone && !list_member_oid(reads, relid))
			orphans = lappend_oid(orphans, lfirst_oid(lc));
	}
	return orphans;
}

static void
lock_tables_of(List *triggers)
{
	ListCell   *lc;
	bool		clone;

	foreach(lc, triggers)
		LockRelationOid(ofs_triggers_relation(lfirst_oid(lc), &clone), AccessExclusiveLock);
}

void
ofs_access_sweep(void)
{
	List	   *orphans = find_orphans(ofs_triggers_calling("touched"));
	ObjectAddresses *addresses;
	ListCell   *lc;

	if (orphans == NIL)
		return;
	/* whoever enables a table with such policies holds a lock on what they read, and may be done by now */
	lock_tables_of(orphans);
	orphans = find_orphans(orphans);
	addresses = new_object_addresses();
	foreach(lc, orphans)
	{
		ObjectAddress trigger;

		ObjectAddressSet(trigger, TriggerRelationId, lfirst_oid(lc));
		add_exact_object_address(&trigger, addresses);
	}
	performMultipleDeletions(addresses, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	free_object_addresses(addresses);
	CommandCounterIncrement();
}

/* ---------- rewriting ---------- */

/* ALTER TABLE ... USING changes values, and fires no trigger. */
void
ofs_access_rewritten(Oid relid)
{
	ListCell   *lc;

	foreach(lc, ofs_entry_list())
		if (list_member_oid(ofs_access_tree(((OfsEntry *) lfirst(lc))->reads, NoLock), relid))
		{
			ofs_access_touch(relid);
			return;
		}
}
