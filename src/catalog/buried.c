/*
 * buried.c
 *		Tombstones read beneath their policies, through their indexes.
 *
 * Whether a tombstone exists at all is for the extension's own bookkeeping; what a caller is told
 * of it is decided by the policies, in SQL.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/buried.h"
#include "catalog/pg_type.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Equality on one column of an index. */
static void
set_equal(ScanKey key, Relation index, int column, Datum value)
{
	Oid			type = index->rd_opcintype[column];

	ScanKeyEntryInitialize(key, 0, index->rd_index->indkey.values[column], BTEqualStrategyNumber, type,
						   index->rd_indcollation[column],
						   get_opcode(get_opfamily_member(index->rd_opfamily[column], type, type,
														  BTEqualStrategyNumber)),
						   value);
}

static Relation
open_primary(Relation tomb)
{
	/* reading the list finds the primary key */
	list_free(RelationGetIndexList(tomb));
	if (!OidIsValid(tomb->rd_pkindex))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("tombstone table \"%s\" has lost its primary key", RelationGetRelationName(tomb)),
				 errhint("Call offsync.disable and offsync.enable on the synced table.")));
	return index_open(tomb->rd_pkindex, AccessShareLock);
}

bool
ofs_buried_already(Relation tomb, HeapTuple tombstone, ItemPointer place, CommandId *when)
{
	Relation	index = open_primary(tomb);
	int			nkeys = IndexRelationGetNumberOfKeyAttributes(index);
	ScanKeyData keys[INDEX_MAX_KEYS];
	SysScanDesc scan;
	HeapTuple	found;

	for (int i = 0; i < nkeys; i++)
	{
		bool		isnull;

		set_equal(&keys[i], index, i, heap_getattr(tombstone, index->rd_index->indkey.values[i],
												   RelationGetDescr(tomb), &isnull));
	}
	scan = systable_beginscan(tomb, RelationGetRelid(index), true, SnapshotSelf, nkeys, keys);
	if (HeapTupleIsValid(found = systable_getnext(scan)))
	{
		*place = found->t_self;
		*when = HeapTupleHeaderGetCmin(found->t_data);
	}
	systable_endscan(scan);
	index_close(index, AccessShareLock);
	return HeapTupleIsValid(found);
}

/* The index that leads with the version. */
static Oid
version_index(Relation tomb, AttrNumber attnum)
{
	ListCell   *lc;
	Oid			found = InvalidOid;
	List	   *indexes = RelationGetIndexList(tomb);

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index->rd_index->indkey.values[0] == attnum && index->rd_index->indisvalid)
			found = lfirst_oid(lc);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

bool
ofs_buried_since(const OfsTable *table, const OfsSince *since)
{
	Relation	tomb = table_open(table->tombstone, AccessShareLock);
	AttrNumber	attnum = get_attnum(table->tombstone, OFS_TOMB_VERSION);
	Oid			index = version_index(tomb, attnum);
	ScanKeyData key;
	SysScanDesc scan;
	bool		found = true;

	if (OidIsValid(index))
	{
		ScanKeyEntryInitialize(&key, 0, attnum, BTGreaterEqualStrategyNumber, INT8OID, InvalidOid,
							   F_INT8GE, Int64GetDatum(ofs_since_least(since)));
		scan = systable_beginscan(tomb, index, true, GetActiveSnapshot(), 1, &key);
		found = HeapTupleIsValid(systable_getnext(scan));
		systable_endscan(scan);
	}
	table_close(tomb, NoLock);
	return found;
}

/* Is the tombstone of this very id?  Equal keys may be spelt differently. */
static bool
is_same_key(Relation tomb, HeapTuple tuple, Relation index, int nkey, const Datum *parts)
{
	for (int i = 0; i < nkey; i++)
	{
		AttrNumber	attnum = index->rd_index->indkey.values[i];
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(tomb), attnum - 1);
		bool		isnull;
		Datum		part = heap_getattr(tuple, attnum, RelationGetDescr(tomb), &isnull);

		if (!datum_image_eq(part, parts[i], att->attbyval, att->attlen))
			return false;
	}
	return true;
}

int64
ofs_buried_first(Relation tomb, const OfsTable *table, const OfsSince *since, const Datum *parts)
{
	Relation	index = open_primary(tomb);
	AttrNumber	attnum = get_attnum(RelationGetRelid(tomb), OFS_TOMB_VERSION);
	ScanKeyData keys[INDEX_MAX_KEYS];
	SysScanDesc scan;
	HeapTuple	tuple;
	int64		first = 0;

	for (int i = 0; i < table->nkey; i++)
		set_equal(&keys[i], index, i, parts[i]);
	scan = systable_beginscan(tomb, RelationGetRelid(index), true, GetActiveSnapshot(), table->nkey, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		int64		version = DatumGetInt64(heap_getattr(tuple, attnum, RelationGetDescr(tomb), &isnull));

		if (!ofs_since_covers(since, table, version) && (first == 0 || version < first) &&
			is_same_key(tomb, tuple, index, table->nkey, parts))
			first = version;
	}
	systable_endscan(scan);
	index_close(index, AccessShareLock);
	return first;
}
