/*
 * readable.c
 *		Whoever may not read a table's key may not learn of its deletions.
 *
 * Tombstone tables are granted to everybody, and a restrictive policy on each calls this function with the
 * tombstone table's own OID.  It isn't has_column_privilege() on the synced table: that would have to
 * name the table, and so depend on it or break when it is renamed.
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/synced.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "setup/setup.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(offsync_key_readable);

static bool
may_read_key(const OfsEntry *entry)
{
	ListCell   *lc;

	if (pg_class_aclcheck(entry->relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		return true;
	foreach(lc, entry->key)
	{
		AttrNumber	attnum = get_attnum(entry->relid, (char *) lfirst(lc));

		if (attnum == InvalidAttrNumber ||
			pg_attribute_aclcheck(entry->relid, attnum, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
			return false;
	}
	return true;
}

Datum
offsync_key_readable(PG_FUNCTION_ARGS)
{
	Oid			tombstone = PG_GETARG_OID(0);
	ListCell   *lc;

	foreach(lc, ofs_entry_list())
	{
		const OfsEntry *entry = lfirst(lc);

		if (entry->tombstone == tombstone)
			PG_RETURN_BOOL(may_read_key(entry));
	}
	PG_RETURN_BOOL(false);
}
