/*
 * refresh.c
 *		Making everything that was derived from a synced table's definition fit it again.
 *
 * The tombstone table gets the columns, owner and policies that the table has now.  It is emptied,
 * because a wider policy must not show old deletions, and the collection is reset, so that
 * every device takes it anew.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/spi.h"
#include "catalog/synced.h"
#include "setup/setup.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"

static void
describe_context(void *arg)
{
	errcontext("offsync checking synced table %s", (char *) arg);
}

static void
refuse_missing_column(const OfsEntry *entry)
{
	const char *column = ofs_entry_missing_column(entry);

	if (column)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot drop or rename column \"%s\" of synced table \"%s\"", column,
						get_rel_name(entry->relid)),
				 errdetail("Sync depends on it."),
				 errhint("Call offsync.disable first.")));
}

/* A command after which the table couldn't be synced any more is refused.  Answers the key. */
static List *
require_syncable(const OfsEntry *entry)
{
	Relation	rel;
	List	   *key;

	refuse_missing_column(entry);
	rel = table_open(entry->relid, NoLock);
	ofs_check_relation(rel);
	ofs_check_columns(rel, ofs_entry_strategy(entry));
	key = ofs_key_choose(rel, entry->key);
	table_close(rel, NoLock);
	return key;
}

/* Owner, policies or columns are different; everything derived from them is made again. */
static void
refit(OfsEntry *entry, List *key)
{
	Relation	rel = table_open(entry->relid, NoLock);
	List	   *images = ofs_tombstone_images(rel, key, entry);
	Oid			tombstone = ofs_tombstone_refit(rel, entry->collection, entry->tombstone, key, images);

	ofs_mirror_write(rel, tombstone);
	table_close(rel, NoLock);
	entry->tombstone = tombstone;
}

/* Put on record what the table is like now. */
static void
record(OfsEntry *entry)
{
	entry->shape = ofs_shape_compute(entry);
	ofs_entry_update(entry);
	CommandCounterIncrement();
}

static void
refresh_locked(OfsEntry *entry, const char *shape, bool partitions_are_new)
{
	bool		same = ofs_shape_same_but_partitions(entry->shape, shape);
	List	   *key = require_syncable(entry);
	OfsOwnerSwitch sw;

	if (!same)
		ofs_access_install(entry, false, NULL);
	ofs_owner_begin(&sw);
	if (!same)
		refit(entry, key);
	ofs_triggers_cover_partitions(entry->relid);
	ofs_triggers_sweep();
	ofs_access_cover_partitions(entry);
	ofs_owner_end(&sw);

	/* a partition that was just created is empty */
	if (!same || !partitions_are_new)
		ofs_table_reset(entry->relid, same ? "partitions changed" : "definition changed");
	record(entry);
	ofs_access_sweep();
}

void
ofs_refresh_table(Oid relid, bool partitions_are_new)
{
	ErrorContextCallback context;
	OfsEntry   *entry;
	char	   *shape;

	/* somebody else may be at it */
	LockRelationOid(relid, ShareRowExclusiveLock);
	entry = ofs_entry_find(relid);
	if (entry == NULL || get_rel_name(relid) == NULL)
		return;
	shape = ofs_shape_compute(entry);
	if (strcmp(shape, entry->shape) == 0)
		return;

	context.callback = describe_context;
	context.arg = ofs_relation_name(relid);
	context.previous = error_context_stack;
	error_context_stack = &context;
	refresh_locked(entry, shape, partitions_are_new);
	error_context_stack = context.previous;
}

void
ofs_refresh_repair(OfsEntry *entry, ReturnSetInfo *answer)
{
	List	   *key = require_syncable(entry);
	OfsOwnerSwitch sw;

	ofs_access_install(entry, true, answer);
	ofs_owner_begin(&sw);
	refit(entry, key);
	ofs_triggers_ensure(entry->relid, answer);
	ofs_owner_end(&sw);

	ofs_table_reset(entry->relid, "repaired");
	record(entry);
	ofs_access_sweep();
}
