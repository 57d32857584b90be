/*
 * status.c
 *		offsync.status: one row a synced table, and whether devices get exact answers from it; and the retired names.
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/incarnation.h"
#include "catalog/retired.h"
#include "catalog/synced.h"
#include "fmgr.h"
#include "funcapi.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(offsync_status);

static const char *
state_of(const OfsEntry *entry)
{
	const char *column = ofs_entry_missing_column(entry);
	OfsTable   *table;
	const char *trouble;

	if (column)
		return psprintf("broken: column %s is gone; call offsync.disable", column);
	table = ofs_table_find(entry->relid);
	trouble = table ? ofs_table_trouble(table) : NULL;
	if (trouble)
		return psprintf("replacement: %s", trouble);
	trouble = ofs_access_missing(entry, InvalidOid);
	if (trouble)
		return psprintf("replacement where it matters: %s", trouble);
	if (ofs_incarnation_restoring())
		return "restored: nothing was written since";
	return "ok";
}

Datum
offsync_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *answer = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, ofs_entry_list())
	{
		OfsEntry   *entry = lfirst(lc);
		Datum		values[6];
		bool		nulls[6] = {false};

		/* dropped by this very command */
		if (get_rel_name(entry->relid) == NULL)
			continue;
		values[0] = CStringGetTextDatum(entry->collection);
		values[1] = ObjectIdGetDatum(entry->relid);
		values[2] = ofs_entry_name_array(entry->key);
		values[3] = CStringGetTextDatum(ofs_option_conflict_shown(entry));
		values[4] = ObjectIdGetDatum(entry->tombstone);
		values[5] = CStringGetTextDatum(state_of(entry));
		tuplestore_putvalues(answer->setResult, answer->setDesc, values, nulls);
	}
	foreach(lc, ofs_retired_list())
	{
		Datum		values[6] = {CStringGetTextDatum(lfirst(lc))};
		bool		nulls[6] = {false, true, true, true, true, false};

		values[5] = CStringGetTextDatum("retired");
		tuplestore_putvalues(answer->setResult, answer->setDesc, values, nulls);
	}
	return (Datum) 0;
}
