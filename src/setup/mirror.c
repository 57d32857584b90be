/*
 * mirror.c
 *		The table's SELECT policies, again on its tombstone table.
 *
 * PostgreSQL itself then decides who may learn of a deletion: by the very expressions that decided
 * who could see the row, over the deleted row's old values.  They are copied as trees, never as text, so
 * that no search path and no renaming can change their meaning.
 *
 * A mirror depends on what it reads more loosely than its source does: whoever drops a function
 * or table that a policy reads is stopped by the policy alone, and an object dropped together
 * with the table takes the mirror along.
 *
 * A policy over the whole row or a virtual generated column can't be mirrored.  It is left out, or
 * replaced by "false" when it is a restrictive one; ofs_table_trouble() sees that, and such a table's
 * answers are always replacements.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/spi.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_policy.h"
#include "catalog/policy.h"
#include "nodes/makefuncs.h"
#include "setup/setup.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#define KEY_POLICY	"offsync_key_readable"
#define OPEN_POLICY	"offsync_open"

static void
drop_policies(Oid tombstone)
{
	Relation	catalog = table_open(PolicyRelationId, RowExclusiveLock);
	ObjectAddresses *policies = new_object_addresses();
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_policy_polrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(tombstone));
	scan = systable_beginscan(catalog, PolicyPolrelidPolnameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		ObjectAddress policy;

		ObjectAddressSet(policy, PolicyRelationId, ((Form_pg_policy) GETSTRUCT(tuple))->oid);
		add_exact_object_address(&policy, policies);
	}
	systable_endscan(scan);
	table_close(catalog, RowExclusiveLock);
	performMultipleDeletions(policies, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	free_object_addresses(policies);
	CommandCounterIncrement();
}

static void
record_dependencies(Oid policyid, Oid tombstone, Node *qual, ArrayType *roles)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	Oid		   *role = (Oid *) ARR_DATA_PTR(roles);
	ObjectAddress policy;
	ObjectAddress table;

	ObjectAddressSet(policy, PolicyRelationId, policyid);
	ObjectAddressSet(table, RelationRelationId, tombstone);
	recordDependencyOn(&policy, &table, DEPENDENCY_AUTO);

	rte->rtekind = RTE_RELATION;
	rte->relid = tombstone;
	rte->relkind = RELKIND_RELATION;
	rte->rellockmode = AccessShareLock;
	if (qual)
		recordDependencyOnExpr(&policy, qual, list_make1(rte), DEPENDENCY_AUTO);

	for (int i = 0; i < ARR_DIMS(roles)[0]; i++)
	{
		ObjectAddress address;

		if (role[i] == ACL_ID_PUBLIC)
			continue;
		ObjectAddressSet(address, AuthIdRelationId, role[i]);
		recordSharedDependencyOn(&policy, &address, SHARED_DEPENDENCY_POLICY);
	}
}

static void
insert_policy(Oid tombstone, const RowSecurityPolicy *source, Node *qual)
{
	Relation	catalog = table_open(PolicyRelationId, RowExclusiveLock);
	Oid			oid = GetNewOidWithIndex(catalog, PolicyOidIndexId, Anum_pg_policy_oid);
	ArrayType  *roles = DatumGetArrayTypePCopy(PointerGetDatum(source->roles));
	Datum		values[Natts_pg_policy] = {0};
	bool		nulls[Natts_pg_policy] = {0};
	NameData	name;

	namestrcpy(&name, source->policy_name);
	values[Anum_pg_policy_oid - 1] = ObjectIdGetDatum(oid);
	values[Anum_pg_policy_polname - 1] = NameGetDatum(&name);
	values[Anum_pg_policy_polrelid - 1] = ObjectIdGetDatum(tombstone);
	values[Anum_pg_policy_polcmd - 1] = CharGetDatum(ACL_SELECT_CHR);
	values[Anum_pg_policy_polpermissive - 1] = BoolGetDatum(source->permissive);
	values[Anum_pg_policy_polroles - 1] = PointerGetDatum(roles);
	if (qual)
		values[Anum_pg_policy_polqual - 1] = CStringGetTextDatum(nodeToString(qual));
	else
		nulls[Anum_pg_policy_polqual - 1] = true;
	nulls[Anum_pg_policy_polwithcheck - 1] = true;
	CatalogTupleInsert(catalog, heap_form_tuple(RelationGetDescr(catalog), values, nulls));
	record_dependencies(oid, tombstone, qual, roles);
	table_close(catalog, RowExclusiveLock);
}

static void
mirror(Relation rel, Relation tomb, const RowSecurityPolicy *source)
{
	Node	   *qual = NULL;

	if (strcmp(source->policy_name, KEY_POLICY) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("policy name \"%s\" is reserved", source->policy_name),
				 errdetail("offsync uses it itself on the tombstones of table \"%s\".",
						   RelationGetRelationName(rel)),
				 errhint("Use ALTER POLICY ... RENAME TO.")));
	if (source->qual && !ofs_policy_map(rel, tomb, (Node *) source->qual, &qual))
	{
		if (source->permissive)
			return;
		qual = makeBoolConst(false, false);
	}
	insert_policy(RelationGetRelid(tomb), source, qual);
}

void
ofs_mirror_write(Relation rel, Oid tombstone)
{
	char	   *name = ofs_relation_name(tombstone);
	Relation	tomb;
	OfsOwnerSwitch sw;
	ListCell   *lc;

	drop_policies(tombstone);
	tomb = table_open(tombstone, AccessExclusiveLock);
	foreach(lc, ofs_policy_list(rel))
		mirror(rel, tomb, lfirst(lc));
	CacheInvalidateRelcache(tomb);
	table_close(tomb, NoLock);
	CommandCounterIncrement();

	ofs_owner_begin(&sw);
	if (!rel->rd_rel->relrowsecurity)
		ofs_spi_run(false, "CREATE POLICY " OPEN_POLICY " ON %s FOR SELECT USING (true)", name);
	/* whoever may not read the table's key learns of no deletion either; asked once a statement, not of every tombstone */
	ofs_spi_run(false, "CREATE POLICY " KEY_POLICY " ON %s AS RESTRICTIVE FOR SELECT"
				" USING ((SELECT offsync_internal.key_readable(%s::pg_catalog.regclass)))",
				name, quote_literal_cstr(name));
	ofs_owner_end(&sw);
}
