/*
 * inspecttable.c
 *		offsync.check(): whether what was derived from a table fits it still.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/spi.h"
#include "base/trial.h"
#include "catalog/index.h"
#include "catalog/policy.h"
#include "catalog/trouble.h"
#include "setup/inspect.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static char *
table_name(const OfsEntry *entry)
{
	return ofs_relation_name(entry->relid);
}

static bool
is_own_column(const char *name)
{
	return strncmp(name, "server_", strlen("server_")) == 0;
}

static void
look_columns(OfsInspect *inspect, const OfsEntry *entry, const void *arg)
{
	const char *column = ofs_entry_missing_column(entry);
	char	   *disable;

	if (column == NULL)
		return;
	disable = psprintf("SELECT offsync.disable(%s);", quote_literal_cstr(table_name(entry)));
	if (is_own_column(column))
		ofs_inspect_say(inspect, entry, OFS_SEVERITY_ERROR, OFS_FINDING_COLUMN,
						psprintf("Table %s has lost column %s: nothing of it can be synced, and writes fail.", table_name(entry), column),
						psprintf("%s " OFS_FIX_ENABLE, disable));
	else
		ofs_inspect_say(inspect, entry, OFS_SEVERITY_ERROR, OFS_FINDING_COLUMN,
						psprintf("Table %s has lost column %s, which the key or an option names. After the fix enable it anew, without that column.",
								 table_name(entry), column), disable);
}

/* Is it what offsync.enable would take as a key? */
static void
choose_key(void *arg)
{
	const OfsEntry *entry = arg;
	Relation	rel = table_open(entry->relid, AccessShareLock);

	(void) ofs_key_choose(rel, entry->key);
	table_close(rel, NoLock);
}

static void
look_key(OfsInspect *inspect, const OfsEntry *entry, const void *arg)
{
	ErrorData  *error;
	StringInfoData fix;
	const char *comma = "";
	ListCell   *lc;

	if (ofs_entry_missing_column(entry))
		return;
	error = ofs_trial_run(choose_key, unconstify(OfsEntry *, entry));
	if (error == NULL)
		return;
	initStringInfo(&fix);
	appendStringInfo(&fix, "ALTER TABLE %s ", table_name(entry));
	foreach(lc, entry->key)
		appendStringInfo(&fix, "ALTER COLUMN %s SET NOT NULL, ", quote_identifier(lfirst(lc)));
	appendStringInfoString(&fix, "ADD UNIQUE (");
	foreach(lc, entry->key)
	{
		appendStringInfo(&fix, "%s%s", comma, quote_identifier(lfirst(lc)));
		comma = ", ";
	}
	appendStringInfoString(&fix, "); " OFS_FIX_ENABLE);
	ofs_inspect_say(inspect, entry, OFS_SEVERITY_ERROR, "key",
					psprintf("Rows can't be told apart by their ids: %s.", error->message), fix.data);
}

/* ---------- tombstones ---------- */

static bool
is_mirrored(Relation rel, Relation tomb)
{
	ListCell   *lc;

	foreach(lc, ofs_policy_list(rel))
	{
		RowSecurityPolicy *policy = lfirst(lc);
		Node	   *mapped;

		if (policy->qual && !ofs_policy_map(rel, tomb, (Node *) policy->qual, &mapped))
			return false;
	}
	return true;
}

static void
compare_mirror(OfsInspect *inspect, const OfsEntry *entry, Relation rel, Relation tomb)
{
	const char *trouble = ofs_trouble_of_mirror(rel, tomb);

	if (trouble == NULL)
		return;
	if (is_mirrored(rel, tomb))
		ofs_inspect_say(inspect, entry, OFS_SEVERITY_ERROR, "mirror",
						psprintf("Of table %s, %s: devices take the collection anew at every pull.", table_name(entry), trouble),
						OFS_FIX_ENABLE);
	else
		ofs_inspect_say(inspect, entry, OFS_SEVERITY_WARNING, "policy",
						psprintf("Of table %s, %s, since it can't be mirrored: devices take the collection anew at every pull.",
								 table_name(entry), trouble),
						psprintf("SELECT * FROM offsync.advise(%s);", quote_literal_cstr(table_name(entry))));
}

static void
look_tombstones(OfsInspect *inspect, const OfsEntry *entry, const void *arg)
{
	Relation	rel;
	Relation	tomb;

	if (ofs_entry_missing_column(entry))
		return;
	rel = table_open(entry->relid, AccessShareLock);
	tomb = try_relation_open(entry->tombstone, AccessShareLock);
	if (tomb == NULL)
		ofs_inspect_say(inspect, entry, OFS_SEVERITY_ERROR, "tombstones_missing",
						psprintf("The tombstones of table %s are gone: devices take the collection anew at every pull, and deletions fail.",
								 table_name(entry)), OFS_FIX_ENABLE);
	else
	{
		List	   *key = NIL;
		ListCell   *lc;

		foreach(lc, entry->key)
			key = lappend_int(key, get_attnum(entry->relid, lfirst(lc)));
		if (ofs_tombstone_fits(rel, tomb, key, ofs_tombstone_images(rel, key, entry)))
			compare_mirror(inspect, entry, rel, tomb);
		else
			ofs_inspect_say(inspect, entry, OFS_SEVERITY_ERROR, "tombstones_altered",
							psprintf("%s isn't as offsync made it: columns, indexes, triggers, rules or its schema are others.",
									 ofs_relation_name(entry->tombstone)), OFS_FIX_ENABLE);
		relation_close(tomb, NoLock);
	}
	table_close(rel, NoLock);
}

/* ---------- the rest ---------- */

static void
look_access(OfsInspect *inspect, const OfsEntry *entry, const void *arg)
{
	const char *missing = ofs_access_missing(entry, InvalidOid);

	if (missing)
		ofs_inspect_say(inspect, entry, OFS_SEVERITY_WARNING, "access_trigger",
						psprintf("Of table %s, %s: where that matters, devices take the collection anew at every pull. The fix is for who owns both tables, or a superuser.",
								 table_name(entry), missing), OFS_FIX_ENABLE);
}

static void
look_index(OfsInspect *inspect, const OfsEntry *entry, const void *arg)
{
	Oid			indexid;

	if (entry->added_index == NULL)
		return;
	indexid = get_relname_relid(entry->added_index, get_rel_namespace(entry->relid));
	if (OidIsValid(indexid) && IndexGetRelation(indexid, true) == entry->relid)
		return;
	ofs_inspect_say(inspect, entry, OFS_SEVERITY_WARNING, "index_missing",
					psprintf("The index that enable built for pulls of %s is gone.", table_name(entry)),
					strcmp(entry->index, "version") == 0 ?
					psprintf("CREATE INDEX %s ON %s (" OFS_COL_VERSION ");", quote_identifier(entry->added_index), table_name(entry)) :
					psprintf("SELECT * FROM offsync.advise(%s);", quote_literal_cstr(table_name(entry))));
}

/* Unless something else has been found that changes it. */
static void
look_definition(OfsInspect *inspect, const OfsEntry *entry, const void *arg)
{
	if (list_member_oid(inspect->mended, entry->relid) || ofs_entry_missing_column(entry))
		return;
	if (strcmp(ofs_shape_compute(entry), entry->shape) != 0)
		ofs_inspect_say(inspect, entry, OFS_SEVERITY_WARNING, "definition",
						psprintf("Table %s isn't defined as it is on record: something was changed while offsync's event triggers were off, or it was restored from a dump.",
								 table_name(entry)), OFS_FIX_ENABLE);
}

void
ofs_inspect_table(OfsInspect *inspect, const OfsEntry *entry)
{
	ofs_inspect_look(inspect, "the columns", look_columns, entry, NULL);
	ofs_inspect_look(inspect, "the key", look_key, entry, NULL);
	ofs_inspect_look(inspect, "the tombstones", look_tombstones, entry, NULL);
	ofs_inspect_look(inspect, "what policies read", look_access, entry, NULL);
	ofs_inspect_look(inspect, "the index", look_index, entry, NULL);
	ofs_inspect_look(inspect, "the definition", look_definition, entry, NULL);
}
