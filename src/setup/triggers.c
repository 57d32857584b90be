/*
 * triggers.c
 *		The triggers on a synced table.
 *
 * Row triggers of a partitioned table are cloned by PostgreSQL onto every partition, present and future.
 * A TRUNCATE trigger isn't, so each partition is given its own.  All of them are ENABLE ALWAYS, so
 * that rows which logical replication applies are tracked too.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/spi.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/synced.h"
#include "commands/trigger.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* When a trigger fires, as pg_trigger says it; 0 where there is none. */
char
ofs_triggers_firing(Oid relid, const char *name)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	TriggerDesc *desc = rel->trigdesc;
	char		fires = '\0';

	for (int i = 0; desc && i < desc->numtriggers; i++)
		if (strcmp(desc->triggers[i].tgname, name) == 0)
			fires = desc->triggers[i].tgenabled;
	relation_close(rel, NoLock);
	return fires;
}

static bool
fires_always(List *relids, const char *name)
{
	ListCell   *lc;

	foreach(lc, relids)
		if (ofs_triggers_firing(lfirst_oid(lc), name) != TRIGGER_FIRES_ALWAYS)
			return false;
	return true;
}

static bool
ensure_row_trigger(Oid relid, const char *name, const char *when, const char *function)
{
	char	   *table = ofs_relation_name(relid);
	List	   *tree = find_all_inheritors(relid, ShareRowExclusiveLock, NULL);

	if (fires_always(tree, name))
		return false;
	if (ofs_triggers_firing(relid, name) == '\0')
		ofs_spi_run(false, "CREATE TRIGGER %s %s EXECUTE FUNCTION offsync_internal.%s()", name, when, function);
	/* goes on to the partitions' clones */
	ofs_spi_run(false, "ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", table, name);
	return true;
}

/* Every partition at every level has its own. */
static bool
ensure_truncate(Oid relid)
{
	char	   *table = ofs_relation_name(relid);

	if (ofs_triggers_firing(relid, OFS_TRIGGER_TRUNCATE) == TRIGGER_FIRES_ALWAYS)
		return false;
	if (ofs_triggers_firing(relid, OFS_TRIGGER_TRUNCATE) == '\0')
		ofs_spi_run(false, "CREATE TRIGGER " OFS_TRIGGER_TRUNCATE " AFTER TRUNCATE ON %s FOR EACH STATEMENT"
					" EXECUTE FUNCTION offsync_internal.truncated()", table);
	ofs_spi_run(false, "ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER " OFS_TRIGGER_TRUNCATE, table);
	return true;
}

static void
drop_trigger(Oid relid, const char *name)
{
	if (ofs_triggers_firing(relid, name) != '\0')
		ofs_spi_run(false, "DROP TRIGGER %s ON %s", name, ofs_relation_name(relid));
}

static void
report(bool done, const char *name, const char *table, ReturnSetInfo *answer)
{
	if (done)
		ofs_answer_say(answer, "trigger", "%s on %s", name, table);
}

void
ofs_triggers_ensure(Oid relid, ReturnSetInfo *answer)
{
	char	   *table = ofs_relation_name(relid);
	List	   *tree = find_all_inheritors(relid, ShareRowExclusiveLock, NULL);
	ListCell   *lc;

	report(ensure_row_trigger(relid, OFS_TRIGGER_STAMP,
							  psprintf("BEFORE INSERT OR UPDATE ON %s FOR EACH ROW", table), "stamp"),
		   OFS_TRIGGER_STAMP, table, answer);
	report(ensure_row_trigger(relid, OFS_TRIGGER_DELETE,
							  psprintf("AFTER DELETE ON %s FOR EACH ROW", table), "bury"),
		   OFS_TRIGGER_DELETE, table, answer);
	drop_trigger(relid, OFS_TRIGGER_UPDATE);
	foreach(lc, tree)
		report(ensure_truncate(lfirst_oid(lc)), OFS_TRIGGER_TRUNCATE, ofs_relation_name(lfirst_oid(lc)), answer);
}

/* Give the partitions that have none their TRUNCATE triggers. */
void
ofs_triggers_cover_partitions(Oid relid)
{
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relid, ShareRowExclusiveLock, NULL))
		if (lfirst_oid(lc) != relid && ofs_triggers_firing(lfirst_oid(lc), OFS_TRIGGER_TRUNCATE) == '\0')
			(void) ensure_truncate(lfirst_oid(lc));
}

void
ofs_triggers_drop(Oid relid)
{
	List	   *tables = find_all_inheritors(relid, AccessExclusiveLock, NULL);
	ListCell   *lc;

	drop_trigger(relid, OFS_TRIGGER_STAMP);
	drop_trigger(relid, OFS_TRIGGER_DELETE);
	drop_trigger(relid, OFS_TRIGGER_UPDATE);
	foreach(lc, tables)
		drop_trigger(lfirst_oid(lc), OFS_TRIGGER_TRUNCATE);
}

/* ---------- detached partitions ---------- */

Oid
ofs_triggers_relation(Oid trigger, bool *clone)
{
	Relation	catalog = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			relid = InvalidOid;

	*clone = false;
	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(trigger));
	scan = systable_beginscan(catalog, TriggerOidIndexId, true, NULL, 1, &key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		relid = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
		*clone = OidIsValid(((Form_pg_trigger) GETSTRUCT(tuple))->tgparentid);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return relid;
}

List *
ofs_triggers_calling(const char *function)
{
	Oid			oid = LookupFuncName(list_make2(makeString("offsync_internal"), makeString(pstrdup(function))),
									 0, NULL, false);
	Relation	catalog = table_open(DependRelationId, AccessShareLock);
	List	   *triggers = NIL;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ProcedureRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(oid));
	scan = systable_beginscan(catalog, DependReferenceIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		if (((Form_pg_depend) GETSTRUCT(tuple))->classid == TriggerRelationId)
			triggers = lappend_oid(triggers, ((Form_pg_depend) GETSTRUCT(tuple))->objid);
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return triggers;
}

static bool
is_orphan(Oid trigger)
{
	bool		clone;
	Oid			relid = ofs_triggers_relation(trigger, &clone);

	if (!OidIsValid(relid))
		return false;
	if (get_rel_relispartition(relid))
		relid = llast_oid(get_partition_ancestors(relid));
	return ofs_entry_find(relid) == NULL;
}

/* Drop the TRUNCATE triggers that detached partitions have kept. */
void
ofs_triggers_sweep(void)
{
	ObjectAddresses *orphans = new_object_addresses();
	ListCell   *lc;

	foreach(lc, ofs_triggers_calling("truncated"))
	{
		ObjectAddress trigger;

		if (!is_orphan(lfirst_oid(lc)))
			continue;
		ObjectAddressSet(trigger, TriggerRelationId, lfirst_oid(lc));
		add_exact_object_address(&trigger, orphans);
	}
	performMultipleDeletions(orphans, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	free_object_addresses(orphans);
	CommandCounterIncrement();
}
