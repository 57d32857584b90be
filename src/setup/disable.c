/*
 * disable.c
 *		offsync.disable: remove every trace of enable, and nothing that was there before it;
 *		offsync.reset: let all devices start anew.
 *
 * With "retire" the collection's name stays, and nothing else: catalog/retired.c says what for.
 *
 * disable works from the catalog row alone, so that it also clears away what somebody has broken.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/spi.h"
#include "catalog/incarnation.h"
#include "catalog/index.h"
#include "catalog/retired.h"
#include "catalog/synced.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "setup/setup.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(offsync_disable);
PG_FUNCTION_INFO_V1(offsync_reset);

typedef struct DisableRequest
{
	Oid			relid;
	bool		drop_columns;
	bool		retire;
} DisableRequest;

static OfsEntry *
require_entry(Oid relid)
{
	OfsEntry   *entry = ofs_entry_find(relid);

	if (entry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" is not synced", get_rel_name(relid)),
				 errhint("See offsync.status for the tables that are.")));
	return entry;
}

/* Only if it is (still) an index of this table. */
static void
drop_index(const OfsEntry *entry)
{
	Oid			indexid;

	if (entry->added_index == NULL)
		return;
	indexid = get_relname_relid(entry->added_index, get_rel_namespace(entry->relid));
	if (OidIsValid(indexid) && IndexGetRelation(indexid, true) == entry->relid)
		ofs_spi_run(false, "DROP INDEX %s", ofs_relation_name(indexid));
}

static void
drop_columns(const OfsEntry *entry)
{
	StringInfoData sql;
	ListCell   *lc;

	if (entry->added_columns == NIL)
		return;
	initStringInfo(&sql);
	foreach(lc, entry->added_columns)
		appendStringInfo(&sql, "%s DROP COLUMN IF EXISTS %s", sql.len > 0 ? "," : "",
						 quote_identifier((char *) lfirst(lc)));
	ofs_spi_run(false, "ALTER TABLE %s%s", ofs_relation_name(entry->relid), sql.data);
}

static void
disable(void *arg)
{
	DisableRequest *request = arg;
	OfsEntry   *entry;

	ofs_answer_require_owner(request->relid);
	(void) require_entry(request->relid);
	LockRelationOid(request->relid, AccessExclusiveLock);
	ofs_answer_require_owner(request->relid);
	entry = require_entry(request->relid);

	if (request->retire)
		ofs_retired_add(entry->collection, psprintf("%s.%s", get_namespace_name(get_rel_namespace(request->relid)),
													get_rel_name(request->relid)));
	ofs_triggers_drop(request->relid);
	drop_index(entry);
	if (request->drop_columns)
		drop_columns(entry);
	ofs_tombstone_drop(entry->tombstone);
	ofs_entry_delete(request->relid);
	CommandCounterIncrement();
	ofs_access_sweep();
}

Datum
offsync_disable(PG_FUNCTION_ARGS)
{
	DisableRequest request = {PG_GETARG_OID(0), PG_GETARG_BOOL(1), PG_GETARG_BOOL(2)};

	PreventCommandIfReadOnly("offsync.disable()");
	ofs_work_run(disable, &request, true);
	PG_RETURN_VOID();
}

Datum
offsync_reset(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);

	PreventCommandIfReadOnly("offsync.reset()");
	ofs_answer_require_owner(relid);
	(void) require_entry(relid);
	ofs_table_reset(relid, "reset");
	PG_RETURN_VOID();
}
