/*
 * ddl.c
 *		Event triggers: what other people's commands do to synced tables.
 *
 * After every command that could matter, and after everything that drops something, each synced
 * table's shape is compared with the one on record, and the table is refreshed where it differs.
 *
 * While a dump is being restored none of this may happen: the dump brings the tombstone tables,
 * their policies and our catalog rows itself, in an order of its own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/spi.h"
#include "catalog/incarnation.h"
#include "catalog/synced.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(offsync_ddl_end);
PG_FUNCTION_INFO_V1(offsync_ddl_drop);
PG_FUNCTION_INFO_V1(offsync_ddl_rewrite);

static EventTriggerData *
event_of(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("not fired by event trigger manager")));
	return (EventTriggerData *) fcinfo->context;
}

/* ---------- all tables ---------- */

static void
check_tables(bool partitions_are_new)
{
	ListCell   *lc;

	foreach(lc, ofs_entry_list())
	{
		OfsEntry   *entry = lfirst(lc);

		if (get_rel_name(entry->relid) != NULL &&
			strcmp(ofs_shape_compute(entry), entry->shape) != 0)
			ofs_refresh_table(entry->relid, partitions_are_new);
	}
}

/* ---------- after a command ---------- */

/* Some commands are common, and told from their text to concern no table that is synced already. */
static bool
can_matter(Node *command)
{
	if (command == NULL)
		return true;
	if (IsA(command, CreateTableAsStmt))
		return false;
	if (IsA(command, CreateStmt))
		return ((CreateStmt *) command)->partbound != NULL ||
			((CreateStmt *) command)->inhRelations != NIL;
	if (IsA(command, ViewStmt))
		return ((ViewStmt *) command)->replace;
	if (IsA(command, CreateSchemaStmt))
		return ((CreateSchemaStmt *) command)->schemaElts != NIL;
	return true;
}

/* The OIDs that a query returns in its first column. */
static List *
select_oids(const char *sql)
{
	uint64		count = ofs_spi_run(true, "%s", sql);
	List	   *oids = NIL;

	for (uint64 i = 0; i < count; i++)
	{
		bool		isnull;

		oids = lappend_oid(oids, DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i],
																SPI_tuptable->tupdesc, 1, &isnull)));
	}
	return oids;
}

/* Tables with a column that holds values of a type that the command altered, at any depth. */
static List *
tables_using_altered_types(void)
{
	return select_oids("WITH RECURSIVE uses(oid) AS (SELECT c.objid FROM pg_catalog.pg_event_trigger_ddl_commands() c"
					   " WHERE c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::regclass"
					   " UNION SELECT t.oid FROM uses u, pg_catalog.pg_type t"
					   " WHERE t.typbasetype OPERATOR(pg_catalog.=) u.oid OR t.typelem OPERATOR(pg_catalog.=) u.oid"
					   " OR EXISTS (SELECT FROM pg_catalog.pg_range r WHERE r.rngsubtype OPERATOR(pg_catalog.=) u.oid"
					   " AND t.oid OPERATOR(pg_catalog.=) ANY (ARRAY[r.rngtypid, r.rngmultitypid]))"
					   " OR t.typtype OPERATOR(pg_catalog.=) 'c' AND EXISTS (SELECT FROM pg_catalog.pg_attribute a"
					   " WHERE a.attrelid OPERATOR(pg_catalog.=) t.typrelid AND a.atttypid OPERATOR(pg_catalog.=) u.oid))"
					   " SELECT DISTINCT a.attrelid FROM uses u JOIN pg_catalog.pg_attribute a"
					   " ON a.atttypid OPERATOR(pg_catalog.=) u.oid AND NOT a.attisdropped");
}

/* Under a new label an enum's values are written otherwise, and no version tells. */
static void
reset_relabelled(void)
{
	List	   *using = tables_using_altered_types();
	ListCell   *lc;

	foreach(lc, ofs_entry_list())
	{
		OfsEntry   *entry = lfirst(lc);

		if (list_member_oid(using, entry->relid))
			ofs_table_reset(entry->relid, "an enum's label was renamed");
	}
}

static void
after_command(void *arg)
{
	EventTriggerData *event = arg;

	if (IsA(event->parsetree, AlterEnumStmt) && ((AlterEnumStmt *) event->parsetree)->oldVal != NULL)
		reset_relabelled();
	check_tables(IsA(event->parsetree, CreateStmt) || IsA(event->parsetree, CreateSchemaStmt));
}

Datum
offsync_ddl_end(PG_FUNCTION_ARGS)
{
	EventTriggerData *event = event_of(fcinfo);

	/* "restoring" can be told only when the dump's rows are in */
	if (!ofs_work_busy() && !creating_extension && can_matter(event->parsetree) &&
		ofs_entry_list() != NIL && !ofs_incarnation_restoring())
		ofs_work_run(after_command, event, false);
	PG_RETURN_NULL();
}

/* ---------- after drops ---------- */

static List *
dropped_relations(void)
{
	return select_oids("SELECT objid FROM pg_catalog.pg_event_trigger_dropped_objects()"
					   " WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::regclass"
					   " AND objsubid OPERATOR(pg_catalog.=) 0");
}

static void
after_drop(void *arg)
{
	List	   *dropped = dropped_relations();
	bool		restoring = ofs_incarnation_restoring();
	ListCell   *lc;

	foreach(lc, ofs_entry_list())
	{
		OfsEntry   *entry = lfirst(lc);

		if (list_member_oid(dropped, entry->relid))
		{
			ofs_tombstone_drop(entry->tombstone);
			ofs_entry_delete(entry->relid);
		}
		else if (list_member_oid(dropped, entry->tombstone) && !restoring)
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("cannot drop the tombstones of synced table \"%s\"", get_rel_name(entry->relid)),
					 errhint("Call offsync.disable to stop syncing the table.")));
	}
	CommandCounterIncrement();
	if (restoring)
		return;
	check_tables(false);
	ofs_access_sweep();
}

Datum
offsync_ddl_drop(PG_FUNCTION_ARGS)
{
	(void) event_of(fcinfo);
	if (!ofs_work_busy() && !creating_extension && ofs_entry_list() != NIL)
		ofs_work_run(after_drop, NULL, false);
	PG_RETURN_NULL();
}

/* ---------- before a rewrite ---------- */

/* A rewritten table's rows look visible to snapshots that are older than they are. */
Datum
offsync_ddl_rewrite(PG_FUNCTION_ARGS)
{
	OfsTable   *table;

	(void) event_of(fcinfo);
	if (ofs_work_busy() || ofs_incarnation_restoring())
		PG_RETURN_NULL();
	table = ofs_table_of(DatumGetObjectId(OidFunctionCall0(F_PG_EVENT_TRIGGER_TABLE_REWRITE_OID)));
	if (table)
		ofs_table_reset(table->relid, "rewritten");
	ofs_access_rewritten(DatumGetObjectId(OidFunctionCall0(F_PG_EVENT_TRIGGER_TABLE_REWRITE_OID)));
	PG_RETURN_NULL();
}
