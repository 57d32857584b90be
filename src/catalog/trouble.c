/*
 * trouble.c
 *		Is everything in place that exact answers depend on?
 *
 * A device may be told "this is all that changed" only while every write was seen by our
 * triggers and every deletion can be judged by policies that equal the table's own.  People
 * (and pg_restore --disable-triggers, which turns an ALWAYS trigger into an ordinary one) change
 * both.  So a pull looks, and fails closed: it answers "replacement" and says why in offsync.status.
 *
 * The verdict is kept with the table's cache entry, which an invalidation of the table, its
 * tombstone table or any partition marks stale.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "base/compat.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "catalog/policy.h"
#include "catalog/trouble.h"
#include "commands/trigger.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

bool
ofs_trouble_watches(const OfsTable *table, Oid relid)
{
	if (relid == table->tombstone)
		return true;
	for (int i = 0; i < table->nwatched; i++)
		if (table->watched[i] == relid)
			return true;
	return list_member_oid(table->reads, relid);
}

/* ---------- triggers ---------- */

static const Trigger *
find_trigger(Relation rel, const char *name)
{
	TriggerDesc *desc = rel->trigdesc;

	for (int i = 0; desc && i < desc->numtriggers; i++)
		if (strcmp(desc->triggers[i].tgname, name) == 0)
			return &desc->triggers[i];
	return NULL;
}

static const char *
trigger_trouble(Relation rel)
{
	static const char *const names[] = {
		OFS_TRIGGER_STAMP, OFS_TRIGGER_DELETE, OFS_TRIGGER_TRUNCATE
	};
	TriggerDesc *desc = rel->trigdesc;

	if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		return psprintf("%s is unlogged, and a crash would empty it unseen", RelationGetRelationName(rel));
	for (int i = 0; i < (int) lengthof(names); i++)
	{
		const Trigger *trigger = find_trigger(rel, names[i]);

		if (trigger == NULL)
			return psprintf("trigger %s is missing on %s", names[i], RelationGetRelationName(rel));
		if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS)
			return psprintf("trigger %s is not enabled ALWAYS on %s", names[i],
							RelationGetRelationName(rel));
	}
	for (int i = 0; i < desc->numtriggers; i++)
	{
		const Trigger *trigger = &desc->triggers[i];

		if (TRIGGER_FOR_BEFORE(trigger->tgtype) && TRIGGER_FOR_ROW(trigger->tgtype) &&
			(TRIGGER_FOR_INSERT(trigger->tgtype) || TRIGGER_FOR_UPDATE(trigger->tgtype)) &&
			strcmp(trigger->tgname, OFS_TRIGGER_STAMP) > 0)
			return psprintf("trigger %s fires after the stamp on %s", trigger->tgname,
							RelationGetRelationName(rel));
	}
	return NULL;
}

/* ---------- mirrors ---------- */

static bool
same_roles(ArrayType *a, ArrayType *b)
{
	int			na = ARR_DIMS(a)[0];
	int			nb = ARR_DIMS(b)[0];
	Oid		   *oa = (Oid *) ARR_DATA_PTR(a);
	Oid		   *ob = (Oid *) ARR_DATA_PTR(b);

	if (na != nb)
		return false;
	for (int i = 0; i < na; i++)
	{
		bool		found = false;

		for (int j = 0; j < nb && !found; j++)
			found = oa[i] == ob[j];
		if (!found)
			return false;
	}
	return true;
}

static bool
same_policy(Relation rel, Relation tomb, RowSecurityPolicy *source, RowSecurityPolicy *mirror)
{
	Node	   *mapped;

	return source->permissive == mirror->permissive && same_roles(source->roles, mirror->roles) &&
		ofs_policy_map(rel, tomb, (Node *) source->qual, &mapped) && equal(mapped, mirror->qual);
}

const char *
ofs_trouble_of_mirror(Relation rel, Relation tomb)
{
	List	   *mirrors = ofs_policy_list(tomb);
	List	   *sources = ofs_policy_list(rel);
	ListCell   *lc,
			   *lm;

	if (!tomb->rd_rel->relrowsecurity ||
		tomb->rd_rel->relforcerowsecurity != rel->rd_rel->relforcerowsecurity ||
		tomb->rd_rel->relowner != rel->rd_rel->relowner)
		return "the tombstone table's row-level security or owner differs from the table's";
	if (list_length(mirrors) != (rel->rd_rel->relrowsecurity ? list_length(sources) + 1 : 2))
		return "the tombstone table's policies differ from the table's";

	foreach(lc, sources)
	{
		RowSecurityPolicy *source = lfirst(lc);
		bool		found = false;

		foreach(lm, mirrors)
		{
			RowSecurityPolicy *mirror = lfirst(lm);

			if (strcmp(source->policy_name, mirror->policy_name) == 0)
				found = same_policy(rel, tomb, source, mirror);
		}
		if (!found)
			return psprintf("policy %s has no equal on the tombstone table", source->policy_name);
	}
	return NULL;
}

/* ---------- the tombstone table's own columns ---------- */

static bool
has_column(Relation rel, const char *name, Oid type)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

	return attnum != InvalidAttrNumber &&
		TupleDescAttr(RelationGetDescr(rel), attnum - 1)->atttypid == type;
}

/* It belongs to the table's owner, who may alter it; it is read beneath SQL, by types taken for granted. */
static const char *
columns_trouble(const OfsTable *table, Relation tomb)
{
	bool		fit = has_column(tomb, OFS_TOMB_VERSION, INT8OID) &&
		has_column(tomb, OFS_TOMB_CREATED, INT8OID);

	for (int i = 0; fit && i < table->nkey; i++)
		fit = has_column(tomb, get_attname(table->relid, table->key[i], false),
						 getBaseType(table->key_types[i]));
	if (fit && table->soft_delete != InvalidAttrNumber)
		fit = has_column(tomb, get_attname(table->relid, table->soft_delete, false),
						 getBaseType(get_atttype(table->relid, table->soft_delete)));
	for (int attnum = -1; fit && (attnum = bms_next_member(table->filter_columns, attnum)) >= 0;)
		fit = has_column(tomb, get_attname(table->relid, attnum, false),
						 getBaseType(get_atttype(table->relid, attnum)));
	return fit ? NULL : "the tombstone table's columns differ from the table's";
}

/* Everybody reads the key through the policies; a dump that is restored without privileges brings none of it. */
static const char *
grants_trouble(const OfsTable *table, Relation tomb)
{
	Oid			relid = RelationGetRelid(tomb);

	for (int i = -1; i < table->nkey; i++)
	{
		AttrNumber	attnum = get_attnum(relid, i < 0 ? OFS_TOMB_VERSION : get_attname(table->relid, table->key[i], false));

		if (pg_attribute_aclcheck(relid, attnum, ACL_ID_PUBLIC, ACL_SELECT) != ACLCHECK_OK &&
			pg_class_aclcheck(relid, ACL_ID_PUBLIC, ACL_SELECT) != ACLCHECK_OK)
			return "the key of the tombstone table can't be read by everybody";
	}
	return NULL;
}

/* ---------- the verdict ---------- */

static const char *
judge(OfsTable *table)
{
	const char *trouble = NULL;
	Relation	rel;
	Relation	tomb;
	List	   *partitions;
	ListCell   *lc;

	rel = table_open(table->relid, AccessShareLock);
	tomb = try_relation_open(table->tombstone, AccessShareLock);
	if (tomb == NULL)
		trouble = "the tombstone table is gone";
	else
	{
		trouble = ofs_trouble_of_mirror(rel, tomb);
		if (trouble == NULL)
			trouble = columns_trouble(table, tomb);
		if (trouble == NULL)
			trouble = grants_trouble(table, tomb);
		relation_close(tomb, NoLock);
	}
	table_close(rel, NoLock);

	partitions = find_all_inheritors(table->relid, AccessShareLock, NULL);
	table->watched = MemoryContextAlloc(table->context, sizeof(Oid) * list_length(partitions));
	table->nwatched = 0;
	foreach(lc, partitions)
	{
		table->watched[table->nwatched++] = lfirst_oid(lc);
		if (trouble == NULL)
		{
			rel = table_open(lfirst_oid(lc), NoLock);
			trouble = trigger_trouble(rel);
			table_close(rel, NoLock);
		}
	}
	return trouble;
}

const char *
ofs_table_trouble(OfsTable *table)
{
	if (!table->judged || table->stale)
	{
		const char *trouble = judge(table);

		table->trouble = trouble ? MemoryContextStrdup(table->context, trouble) : NULL;
		table->judged = true;
	}
	return table->trouble;
}
