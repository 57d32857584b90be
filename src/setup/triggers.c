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

/* "only" for a statement trigger: it has no clones to go on with. */
static void
enable_always(const char *table, const char *trigger, bool only)
{
	ofs_spi_run(false, "ALTER TABLE %s%s ENABLE ALWAYS TRIGGER %s", only ? "ONLY " : "", table, trigger);
}

/*
 * Images decide who may learn what, so even a difference that the type's equality overlooks counts.
 */
static void
create_update(Oid relid, List *key, List *images)
{
	char	   *table = ofs_relation_name(relid);
	List	   *columns = list_concat_copy(key, images);

	ofs_spi_run(false, "CREATE TRIGGER " OFS_TRIGGER_UPDATE " AFTER UPDATE ON %s FOR EACH ROW"
				" WHEN (pg_catalog.record_image_ne(ROW(%s), ROW(%s)))"
				" EXECUTE FUNCTION offsync_internal.bury()", table,
				ofs_work_columns(relid, columns, "OLD."), ofs_work_columns(relid, columns, "NEW."));
	enable_always(table, OFS_TRIGGER_UPDATE, false);
}

void
ofs_triggers_create(Oid relid, List *key, List *images, ReturnSetInfo *answer)
{
	static const char *const names[] = {
		OFS_TRIGGER_STAMP, OFS_TRIGGER_DELETE, OFS_TRIGGER_UPDATE, OFS_TRIGGER_TRUNCATE
	};
	char	   *table = ofs_relation_name(relid);

	ofs_spi_run(false, "CREATE TRIGGER " OFS_TRIGGER_STAMP " BEFORE INSERT OR UPDATE ON %s FOR EACH ROW"
				" EXECUTE FUNCTION offsync_internal.stamp()", table);
	enable_always(table, OFS_TRIGGER_STAMP, false);
	ofs_spi_run(false, "CREATE TRIGGER " OFS_TRIGGER_DELETE " AFTER DELETE ON %s FOR EACH ROW"
				" EXECUTE FUNCTION offsync_internal.bury()", table);
	enable_always(table, OFS_TRIGGER_DELETE, false);
	create_update(relid, key, images);
	ofs_triggers_cover_partitions(relid);
	for (int i = 0; i < (int) lengthof(names); i++)
		ofs_work_report(answer, "trigger", "%s on %s", names[i], table);
}

/* The columns that the update trigger compares have changed. */
void
ofs_triggers_recreate_update(Oid relid, List *key, List *images)
{
	ofs_spi_run(false, "DROP TRIGGER IF EXISTS " OFS_TRIGGER_UPDATE " ON %s", ofs_relation_name(relid));
	create_update(relid, key, images);
}

void
ofs_triggers_cover_partitions(Oid relid)
{
	List	   *tables = find_all_inheritors(relid, ShareRowExclusiveLock, NULL);
	ListCell   *lc;

	foreach(lc, tables)
	{
		char	   *table = ofs_relation_name(lfirst_oid(lc));

		if (OidIsValid(get_trigger_oid(lfirst_oid(lc), OFS_TRIGGER_TRUNCATE, true)))
			continue;
		ofs_spi_run(false, "CREATE TRIGGER " OFS_TRIGGER_TRUNCATE " AFTER TRUNCATE ON %s FOR EACH STATEMENT"
					" EXECUTE FUNCTION offsync_internal.truncated()", table);
		enable_always(table, OFS_TRIGGER_TRUNCATE, true);
	}
}

void
ofs_triggers_drop(Oid relid)
{
	char	   *table = ofs_relation_name(relid);
	List	   *tables = find_all_inheritors(relid, AccessExclusiveLock, NULL);
	ListCell   *lc;

	ofs_spi_run(false, "DROP TRIGGER IF EXISTS " OFS_TRIGGER_STAMP " ON %s", table);
	ofs_spi_run(false, "DROP TRIGGER IF EXISTS " OFS_TRIGGER_DELETE " ON %s", table);
	ofs_spi_run(false, "DROP TRIGGER IF EXISTS " OFS_TRIGGER_UPDATE " ON %s", table);
	foreach(lc, tables)
		ofs_spi_run(false, "DROP TRIGGER IF EXISTS " OFS_TRIGGER_TRUNCATE " ON %s",
					ofs_relation_name(lfirst_oid(lc)));
}

/* ---------- detached partitions ---------- */

static Oid
trigger_relation(Oid trigger)
{
	Relation	catalog = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			relid = InvalidOid;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(trigger));
	scan = systable_beginscan(catalog, TriggerOidIndexId, true, NULL, 1, &key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
		relid = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return relid;
}

static bool
is_orphan(Oid trigger)
{
	Oid			relid = trigger_relation(trigger);

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
	List	   *name = list_make2(makeString("offsync_internal"), makeString("truncated"));
	Oid			function = LookupFuncName(name, 0, NULL, false);
	Relation	catalog = table_open(DependRelationId, AccessShareLock);
	ObjectAddresses *orphans = new_object_addresses();
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ProcedureRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(function));
	scan = systable_beginscan(catalog, DependReferenceIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend depend = (Form_pg_depend) GETSTRUCT(tuple);
		ObjectAddress trigger;

		if (depend->classid != TriggerRelationId || !is_orphan(depend->objid))
			continue;
		ObjectAddressSet(trigger, TriggerRelationId, depend->objid);
		add_exact_object_address(&trigger, orphans);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	performMultipleDeletions(orphans, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	free_object_addresses(orphans);
	CommandCounterIncrement();
}
