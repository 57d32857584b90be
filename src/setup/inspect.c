/*
 * inspect.c
 *		offsync.check(): is everything in place that offsync relies on, and if not, what is to be done?
 *
 * Each look stands by itself, in a subtransaction: however broken things are, the others go on, and what can't even be
 * looked at is a finding, too.  Nothing is changed and nobody is waited for long, so that it may run anywhere, at any time,
 * on a standby as well.  Whatever is found comes with the SQL that mends it.
 *
 * What can't be told is not mentioned: a copied data directory looks like the original.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "base/spi.h"
#include "base/trial.h"
#include "fmgr.h"
#include "funcapi.h"
#include "setup/inspect.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(offsync_check);

/* ---------- what enable was called with ---------- */

static char *
array_text(Datum array, Oid type)
{
	Oid			output;
	bool		varlena;

	getTypeOutputInfo(type, &output, &varlena);
	return OidOutputFunctionCall(output, array);
}

static void
append_text(StringInfo call, const char *name, const char *value)
{
	if (value)
		appendStringInfo(call, ", %s => %s", name, quote_literal_cstr(value));
}

static void
append_names(StringInfo call, const char *name, List *names)
{
	if (names != NIL)
		append_text(call, name, array_text(ofs_entry_name_array(names), NAMEARRAYOID));
}

static bool
is_primary_key(const OfsEntry *entry)
{
	Relation	rel = table_open(entry->relid, AccessShareLock);
	Bitmapset  *primary = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	bool		same = bms_num_members(primary) == list_length(entry->key);
	ListCell   *lc;

	foreach(lc, entry->key)
		same = same && bms_is_member(get_attnum(entry->relid, lfirst(lc)) - FirstLowInvalidHeapAttributeNumber, primary);
	table_close(rel, NoLock);
	return same;
}

static char *
enable_call(const OfsEntry *entry, const char *conflict)
{
	StringInfoData call;

	initStringInfo(&call);
	appendStringInfo(&call, "SELECT * FROM offsync.enable(%s", quote_literal_cstr(ofs_relation_name(entry->relid)));
	if (strcmp(entry->collection, get_rel_name(entry->relid)) != 0)
		append_text(&call, "collection", entry->collection);
	if (!is_primary_key(entry))
		append_names(&call, "key", entry->key);
	if (strcmp(conflict, "reject") != 0)
		append_text(&call, "conflict", conflict);
	if (!entry->all_columns)
		append_names(&call, "columns", entry->columns);
	if (strcmp(entry->index, "auto") != 0)
		append_text(&call, "index", entry->index);
	append_text(&call, "updated_at", entry->updated_at);
	append_text(&call, "soft_delete", entry->soft_delete);
	if (entry->declared.known)
		append_text(&call, "access_tables",
					array_text(ofs_entry_oid_array(entry->declared.tables, REGCLASSOID), REGCLASSARRAYOID));
	if (entry->declared.row_local)
		appendStringInfoString(&call, ", row_local => true");
	append_names(&call, "filter_columns", entry->filter_columns);
	if (entry->notify)
		appendStringInfoString(&call, ", notify => true");
	appendStringInfoString(&call, ");");
	return call.data;
}

/* ---------- telling ---------- */

static char *
replace(char *text, const char *token, const char *by)
{
	char	   *at = strstr(text, token);

	if (at == NULL)
		return text;
	return psprintf("%.*s%s%s", (int) (at - text), text, by, at + strlen(token));
}

static char *
make_fix(OfsInspect *inspect, const OfsEntry *entry, const char *fix)
{
	char	   *text = pstrdup(fix);
	MemoryContext old;

	if (entry == NULL || strchr(fix, '@') == NULL)
		return text;
	if (strstr(text, OFS_FIX_REJECT))
		return replace(text, OFS_FIX_REJECT, enable_call(entry, "reject"));
	if (strstr(text, OFS_FIX_ENABLE) == NULL)
		return text;
	old = MemoryContextSwitchTo(inspect->context);
	inspect->mended = list_append_unique_oid(inspect->mended, entry->relid);
	MemoryContextSwitchTo(old);
	return replace(text, OFS_FIX_ENABLE, enable_call(entry, ofs_option_conflict_shown(entry)));
}

void
ofs_inspect_say(OfsInspect *inspect, const OfsEntry *entry, OfsSeverity severity, const char *finding,
				const char *detail, const char *fix)
{
	Datum		values[5] = {0};
	bool		nulls[5] = {false};

	/* what makes the table another one mends the rest as well, and must come first */
	if (entry && strcmp(finding, OFS_FINDING_COLUMN) != 0 && get_rel_name(entry->relid) && ofs_entry_missing_column(entry))
		return;
	nulls[0] = entry == NULL;
	if (entry)
		values[0] = CStringGetTextDatum(entry->collection);
	values[1] = CStringGetTextDatum(severity == OFS_SEVERITY_ERROR ? "error" : "warning");
	values[2] = CStringGetTextDatum(finding);
	values[3] = CStringGetTextDatum(detail);
	nulls[4] = fix == NULL;
	if (fix)
		values[4] = CStringGetTextDatum(make_fix(inspect, entry, fix));
	tuplestore_putvalues(inspect->answer->setResult, inspect->answer->setDesc, values, nulls);
}

/* ---------- looking ---------- */

typedef struct Job
{
	OfsInspect *inspect;
	OfsLook		look;
	const OfsEntry *entry;
	const void *arg;
} Job;

/* What fails leaves the rest to the subtransaction's end. */
static void
work(void *arg)
{
	Job		   *job = arg;
	OfsOwnerSwitch sw;

	ofs_owner_begin(&sw);
	SPI_connect();
	/* what has been committed by now, also where the caller's snapshot is an old one */
	PushActiveSnapshot(GetLatestSnapshot());
	job->look(job->inspect, job->entry, job->arg);
	PopActiveSnapshot();
	SPI_finish();
	ofs_owner_end(&sw);
}

void
ofs_inspect_look(OfsInspect *inspect, const char *what, OfsLook look, const OfsEntry *entry, const void *arg)
{
	Job			job = {inspect, look, entry, arg};
	ErrorData  *error = ofs_trial_run(work, &job);

	if (error == NULL)
		return;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	ofs_inspect_say(inspect, entry, OFS_SEVERITY_ERROR, "not_checked",
					psprintf("Could not look at %s: %s.%s%s", what, error->message,
							 error->detail ? " " : "", error->detail ? error->detail : ""), NULL);
}

static void
list_entries(OfsInspect *inspect, const OfsEntry *entry, const void *arg)
{
	MemoryContext old = MemoryContextSwitchTo(inspect->context);

	inspect->entries = ofs_entry_list();
	MemoryContextSwitchTo(old);
}

/* Short statements, and short waits. */
static int
limit_time(void)
{
	int			level = ofs_jit_off();

	(void) set_config_option("lock_timeout", "2000", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

Datum
offsync_check(PG_FUNCTION_ARGS)
{
	OfsInspect	inspect = {(ReturnSetInfo *) fcinfo->resultinfo};
	bool		deep = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);
	int			level;
	ListCell   *lc;

	ofs_answer_require_watcher("offsync.check()");
	InitMaterializedSRF(fcinfo, 0);
	inspect.context = CurrentMemoryContext;
	level = limit_time();
	ofs_inspect_look(&inspect, "the synced tables", list_entries, NULL, NULL);
	ofs_inspect_catalogs(&inspect);
	foreach(lc, inspect.entries)
	{
		OfsEntry   *entry = lfirst(lc);

		if (get_rel_name(entry->relid) == NULL)
			continue;
		ofs_inspect_rows(&inspect, entry, deep);
		ofs_inspect_table(&inspect, entry);
	}
	AtEOXact_GUC(true, level);
	return (Datum) 0;
}
