/*
 * tombstone.c
 *		The table that remembers a synced table's deleted rows.
 *
 * It holds the key, the version of the deletion, and the old values of those columns alone that the
 * table's SELECT policies read, of the one that tells soft-deleted rows, and of those that devices filter by: a deleted row's other data is really gone.  It belongs to the
 * table's owner, so that row-level security treats the owner alike on both, and is no member of the
 * extension, so that dumps carry it.  Since its owner may put triggers on it, nothing here
 * writes rows through SQL.
 *
 * Domains are replaced by their base types: a constraint added to a domain later must not stumble
 * over values that are deleted.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/indexform.h"
#include "base/spi.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "catalog/policy.h"
#include "catalog/synced.h"
#include "catalog/trouble.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "setup/setup.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#define GENERATED_VIRTUAL 'v'

List *
ofs_tombstone_images(Relation rel, List *key, const OfsEntry *entry)
{
	Bitmapset  *columns = NULL;
	List	   *images = NIL;
	ListCell   *lc;
	int			attnum = -1;

	foreach(lc, ofs_policy_list(rel))
	{
		RowSecurityPolicy *policy = lfirst(lc);
		bool		whole_row;
		Bitmapset  *read = ofs_policy_columns((Node *) policy->qual, &whole_row);

		/* no image stands for the whole row: such a policy isn't mirrored */
		if (!whole_row)
			columns = bms_add_members(columns, read);
	}
	/* it decides as a policy does who sees the row: nobody, or those whom the policies let see it */
	if (entry->soft_delete)
		columns = bms_add_member(columns, get_attnum(RelationGetRelid(rel), entry->soft_delete));
	/* so does a device's filter */
	foreach(lc, entry->filter_columns)
		columns = bms_add_member(columns, get_attnum(RelationGetRelid(rel), (char *) lfirst(lc)));
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);

		if (list_member_int(key, attnum) || att->attgenerated == GENERATED_VIRTUAL)
			continue;
		if (strcmp(NameStr(att->attname), OFS_TOMB_VERSION) == 0 ||
			strcmp(NameStr(att->attname), OFS_TOMB_CREATED) == 0 ||
			strcmp(NameStr(att->attname), OFS_TOMB_AT) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_RESERVED_NAME),
					 errmsg("a policy, soft_delete or filter_columns of table \"%s\" reads column \"%s\"",
							RelationGetRelationName(rel), NameStr(att->attname)),
					 errdetail("offsync uses this name itself."),
					 errhint("Rename the column.")));
		images = lappend_int(images, attnum);
	}
	return images;
}

/* ---------- creating ---------- */

static void
append_column(StringInfo sql, Relation rel, AttrNumber attnum)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	int32		typmod = att->atttypmod;
	Oid			type = getBaseTypeAndTypmod(att->atttypid, &typmod);

	appendStringInfo(sql, "%s %s", quote_identifier(NameStr(att->attname)),
					 format_type_extended(type, typmod,
										  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	if (OidIsValid(att->attcollation))
	{
		HeapTuple	tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(att->attcollation));
		Form_pg_collation coll;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for collation %u", att->attcollation);
		coll = (Form_pg_collation) GETSTRUCT(tuple);
		appendStringInfo(sql, " COLLATE %s",
						 quote_qualified_identifier(get_namespace_name(coll->collnamespace),
													NameStr(coll->collname)));
		ReleaseSysCache(tuple);
	}
}

/* Nobody but its owner holds a privilege on it yet, whatever the default privileges say. */
static void
revoke_defaults(const char *name)
{
	uint64		count = ofs_spi_run(false,
									"SELECT DISTINCT CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC'"
									" ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END"
									" FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a"
									" WHERE c.oid OPERATOR(pg_catalog.=) %s::pg_catalog.regclass"
									" AND a.grantee OPERATOR(pg_catalog.<>) c.relowner",
									quote_literal_cstr(name));
	List	   *grantees = NIL;
	ListCell   *lc;

	for (uint64 i = 0; i < count; i++)
		grantees = lappend(grantees, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	foreach(lc, grantees)
		ofs_spi_run(false, "REVOKE ALL ON TABLE %s FROM %s", name, (char *) lfirst(lc));
}

/* Everybody may read what the policies show of the key. */
static void
grant_key(Relation rel, List *key, const char *name)
{
	ofs_spi_run(false, "GRANT SELECT (%s, " OFS_TOMB_VERSION ") ON %s TO PUBLIC",
				ofs_work_columns(RelationGetRelid(rel), key, ""), name);
}

static void
fit_owner(Relation rel, const char *name)
{
	ofs_spi_run(false, "ALTER TABLE %s OWNER TO %s", name,
				quote_identifier(GetUserNameFromId(rel->rd_rel->relowner, false)));
	ofs_spi_run(false, "ALTER TABLE %s ENABLE ROW LEVEL SECURITY", name);
	ofs_spi_run(false, "ALTER TABLE %s %s ROW LEVEL SECURITY", name,
				rel->rd_rel->relforcerowsecurity ? "FORCE" : "NO FORCE");
}

static Oid
create_named(Relation rel, const char *relname, List *key, List *images)
{
	Oid			relid = RelationGetRelid(rel);
	char	   *name = quote_qualified_identifier("offsync_internal", relname);
	char	   *key_columns = ofs_work_columns(relid, key, "");
	StringInfoData sql;
	OfsOwnerSwitch sw;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", name);
	foreach(lc, key)
	{
		append_column(&sql, rel, lfirst_int(lc));
		appendStringInfoString(&sql, ", ");
	}
	foreach(lc, images)
	{
		append_column(&sql, rel, lfirst_int(lc));
		appendStringInfoString(&sql, ", ");
	}
	appendStringInfo(&sql,
					 OFS_TOMB_VERSION " pg_catalog.int8 NOT NULL,"
					 OFS_TOMB_CREATED " pg_catalog.int8,"
					 OFS_TOMB_AT " pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),"
					 " PRIMARY KEY (%s, " OFS_TOMB_VERSION "))", key_columns);

	ofs_owner_begin(&sw);
	ofs_spi_run(false, "%s", sql.data);
	ofs_spi_run(false, "CREATE INDEX ON %s (" OFS_TOMB_VERSION ")", name);
	ofs_spi_run(false, "COMMENT ON TABLE %s IS %s", name,
				quote_literal_cstr(psprintf("tombstones of %s", ofs_relation_name(relid))));
	revoke_defaults(name);
	grant_key(rel, key, name);
	fit_owner(rel, name);
	ofs_owner_end(&sw);
	return ofs_internal_table(relname);
}

/* Of a dump that left our rows out: nobody's, and its policies would stand in the way of what they read. */
static void
drop_orphan(Relation rel, Oid orphan)
{
	ListCell   *lc;

	if (!OidIsValid(orphan) || get_rel_relkind(orphan) != RELKIND_RELATION ||
		!ofs_compat_owns_relation(orphan, rel->rd_rel->relowner))
		return;
	foreach(lc, ofs_entry_list())
		if (((OfsEntry *) lfirst(lc))->tombstone == orphan)
			return;
	ofs_tombstone_drop(orphan);
	CommandCounterIncrement();
}

Oid
ofs_tombstone_create(Relation rel, const char *collection, List *key, List *images)
{
	Oid			nspid = get_namespace_oid("offsync_internal", false);
	char	   *relname;

	drop_orphan(rel, get_relname_relid(makeObjectName(collection, NULL, "tombstone"), nspid));
	relname = ChooseRelationName(collection, NULL, "tombstone", nspid, false);
	return create_named(rel, relname, key, images);
}

void
ofs_tombstone_drop(Oid tombstone)
{
	OfsOwnerSwitch sw;

	if (get_rel_name(tombstone) == NULL)
		return;
	ofs_owner_begin(&sw);
	ofs_spi_run(false, "DROP TABLE %s", ofs_relation_name(tombstone));
	ofs_owner_end(&sw);
}

/* ---------- reading ---------- */

/* An index of its owner's may run code of its owner's. */
static Oid
version_index(Relation tomb)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(tomb), OFS_TOMB_VERSION);
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(tomb))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		bool		serves = ofs_index_first(index) == attnum && ofs_index_is_plain(index);

		index_close(index, NoLock);
		if (serves)
			return lfirst_oid(lc);
	}
	return InvalidOid;
}

bool
ofs_tombstone_end(Oid tombstone, bool last, int64 *version, TimestampTz *at)
{
	Relation	tomb = try_relation_open(tombstone, AccessShareLock);
	AttrNumber	attnums[] = {get_attnum(tombstone, OFS_TOMB_VERSION), get_attnum(tombstone, OFS_TOMB_AT)};
	Oid			indexid;
	bool		found = false;

	if (tomb == NULL)
		return false;
	indexid = tomb->rd_rel->relkind == RELKIND_RELATION ? version_index(tomb) : InvalidOid;
	if (OidIsValid(indexid) && attnums[1] != InvalidAttrNumber &&
		get_atttype(tombstone, attnums[0]) == INT8OID && get_atttype(tombstone, attnums[1]) == TIMESTAMPTZOID)
	{
		Relation	index = index_open(indexid, AccessShareLock);
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		SysScanDesc scan = systable_beginscan_ordered(tomb, index, snapshot, 0, NULL);
		HeapTuple	tuple = systable_getnext_ordered(scan, last ? BackwardScanDirection : ForwardScanDirection);
		bool		isnull;

		found = HeapTupleIsValid(tuple);
		if (found)
		{
			*version = DatumGetInt64(heap_getattr(tuple, attnums[0], RelationGetDescr(tomb), &isnull));
			*at = DatumGetTimestampTz(heap_getattr(tuple, attnums[1], RelationGetDescr(tomb), &isnull));
		}
		systable_endscan_ordered(scan);
		UnregisterSnapshot(snapshot);
		index_close(index, AccessShareLock);
	}
	relation_close(tomb, AccessShareLock);
	return found;
}

/* ---------- refitting ---------- */

static bool
same_column(Relation rel, AttrNumber attnum, Relation tomb, int position)
{
	Form_pg_attribute source = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	Form_pg_attribute image = TupleDescAttr(RelationGetDescr(tomb), position);
	int32		typmod = source->atttypmod;

	return !image->attisdropped &&
		strcmp(NameStr(source->attname), NameStr(image->attname)) == 0 &&
		getBaseTypeAndTypmod(source->atttypid, &typmod) == image->atttypid &&
		typmod == image->atttypmod && source->attcollation == image->attcollation;
}

static bool
same_columns(Relation rel, Relation tomb, List *wanted)
{
	static const Oid own[] = {INT8OID, INT8OID, TIMESTAMPTZOID};	/* as create_named() has them */
	int			position = 0;
	ListCell   *lc;

	if (RelationGetDescr(tomb)->natts != list_length(wanted) + (int) lengthof(own))
		return false;
	foreach(lc, wanted)
		if (!same_column(rel, lfirst_int(lc), tomb, position++))
			return false;
	for (int i = 0; i < (int) lengthof(own); i++)
		if (TupleDescAttr(RelationGetDescr(tomb), position++)->atttypid != own[i])
			return false;
	return true;
}

/* Is it as we made it?  Its owner may have put more on it, which would run or fail at every deletion. */
static bool
is_plain(Relation tomb)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(tomb))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		bool		plain = ofs_index_is_plain(index);

		index_close(index, NoLock);
		if (!plain)
			return false;
	}
	return list_length(RelationGetIndexList(tomb)) == 2 && tomb->trigdesc == NULL && tomb->rd_rules == NULL &&
		tomb->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT && !tomb->rd_rel->relispartition &&
		RelationGetNamespace(tomb) == get_namespace_oid("offsync_internal", false);
}

bool
ofs_tombstone_fits(Relation rel, Relation tomb, List *key, List *images)
{
	return is_plain(tomb) && same_columns(rel, tomb, list_concat_copy(key, images));
}

/* Beneath SQL, so that no trigger or rule of the owner's runs. */
static void
delete_rows(Relation tomb)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(tomb, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(tomb, &tuple->t_self);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
}

/*
 * After a change of the table's definition: empty, because a wider policy must not show old
 * deletions and everybody takes the collection anew in any case.  Policies apply to old snapshots, too, which would
 * still see rows that are deleted here: under other policies it is another table.
 */
Oid
ofs_tombstone_refit(Relation rel, const char *collection, Oid tombstone, List *key, List *images)
{
	Relation	tomb = try_relation_open(tombstone, ShareRowExclusiveLock);
	char	   *relname;
	bool		same;
	OfsOwnerSwitch sw;

	/* dropped while nobody of ours looked */
	if (tomb == NULL)
		return ofs_tombstone_create(rel, collection, key, images);
	relname = pstrdup(RelationGetRelationName(tomb));
	same = ofs_tombstone_fits(rel, tomb, key, images) && ofs_trouble_of_mirror(rel, tomb) == NULL;
	if (same)
		delete_rows(tomb);
	relation_close(tomb, NoLock);
	if (!same)
	{
		ofs_tombstone_drop(tombstone);
		return create_named(rel, relname, key, images);
	}
	ofs_owner_begin(&sw);
	grant_key(rel, key, ofs_relation_name(tombstone));
	fit_owner(rel, ofs_relation_name(tombstone));
	ofs_owner_end(&sw);
	return tombstone;
}
