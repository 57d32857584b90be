/*
 * checks.c
 *		What can't be synced, and what its owner can do about it.
 *
 * Event triggers ask some of the same questions after a command has changed a synced table.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "base/spi.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "catalog/synced.h"
#include "commands/trigger.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static const char *
kind_hint(char relkind)
{
	switch (relkind)
	{
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
			return "Enable the tables that it reads.";
		case RELKIND_FOREIGN_TABLE:
			return "Enable the table on the server that it lives on.";
		default:
			return "Only tables and partitioned tables can be synced.";
	}
}

void
ofs_check_kind(Oid relid)
{
	char		relkind = get_rel_relkind(relid);

	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot sync relation \"%s\"", get_rel_name(relid)),
				 errdetail_relkind_not_supported(relkind),
				 errhint("%s", kind_hint(relkind))));
	if (IsCatalogRelationOid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot sync system table \"%s\"", get_rel_name(relid)),
				 errhint("Sync a table of your own.")));
}

/* ---------- the table as such ---------- */

static bool
is_system(Relation rel)
{
	Oid			nspid = RelationGetNamespace(rel);

	return IsSystemRelation(rel) || isAnyTempNamespace(nspid) ||
		nspid == get_namespace_oid("offsync_internal", false) ||
		nspid == get_namespace_oid("information_schema", true);
}

static void
check_persistence(Relation rel)
{
	const char *name = RelationGetRelationName(rel);

	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot sync temporary table \"%s\"", name),
				 errhint("It ends with the session; sync an ordinary table.")));
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot sync unlogged table \"%s\"", name),
				 errdetail("A crash would empty it unseen."),
				 errhint("Use ALTER TABLE ... SET LOGGED first.")));
	if (is_system(rel))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot sync system table \"%s\"", name),
				 errhint("Sync a table of your own.")));
}

static void
check_ancestry(Relation rel)
{
	const char *name = RelationGetRelationName(rel);
	Oid			relid = RelationGetRelid(rel);

	if (rel->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot sync partition \"%s\" by itself", name),
				 errhint("Sync the partitioned table that it belongs to.")));
	if (has_superclass(relid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot sync table \"%s\", which inherits from another", name),
				 errhint("Use a partitioned table, or ALTER TABLE ... NO INHERIT first.")));
	if (rel->rd_rel->relkind == RELKIND_RELATION &&
		find_inheritance_children(relid, NoLock) != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot sync table \"%s\", which other tables inherit from", name),
				 errhint("Use a partitioned table.")));
	if (OidIsValid(rel->rd_rel->reloftype))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot sync typed table \"%s\"", name),
				 errdetail("A typed table can't be given the columns that sync needs."),
				 errhint("Use ALTER TABLE ... NOT OF first.")));
}

void
ofs_check_relation(Relation rel)
{
	ofs_check_kind(RelationGetRelid(rel));
	check_ancestry(rel);
	check_persistence(rel);
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
	{
		List	   *partitions = find_all_inheritors(RelationGetRelid(rel), NoLock, NULL);
		ListCell   *lc;

		foreach(lc, partitions)
		{
			Relation	part = relation_open(lfirst_oid(lc), AccessShareLock);

			check_persistence(part);
			relation_close(part, NoLock);
		}
	}
}

/* ---------- columns and triggers ---------- */

static void
check_own_column(Relation rel, const char *name, Oid type)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);
	Form_pg_attribute att;

	if (attnum == InvalidAttrNumber)
		return;
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	if (att->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" has type %s instead of %s", name,
						RelationGetRelationName(rel), format_type_be(att->atttypid),
						format_type_be(type)),
				 errhint("offsync keeps a column of this name if it has the right type. Rename yours or change its type.")));
	if (att->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" of table \"%s\" is a generated column", name,
						RelationGetRelationName(rel)),
				 errhint("offsync has to write it. Rename it, or drop the expression.")));
}

void
ofs_check_columns(Relation rel, const OfsStrategy *strategy)
{
	check_own_column(rel, OFS_COL_CREATED_AT, TIMESTAMPTZOID);
	check_own_column(rel, OFS_COL_UPDATED_AT, TIMESTAMPTZOID);
	check_own_column(rel, OFS_COL_VERSION, INT8OID);
	check_own_column(rel, OFS_COL_CREATED_VERSION, INT8OID);
	if (strategy->needs_history)
		check_own_column(rel, OFS_COL_HISTORY, TEXTARRAYOID);
	if (strategy->needs_clocks)
		check_own_column(rel, OFS_COL_CLOCKS, TEXTARRAYOID);
}

static void
check_triggers_of(Relation rel)
{
	TriggerDesc *desc = rel->trigdesc;

	for (int i = 0; desc && i < desc->numtriggers; i++)
	{
		const Trigger *trigger = &desc->triggers[i];

		if (TRIGGER_FOR_BEFORE(trigger->tgtype) && TRIGGER_FOR_ROW(trigger->tgtype) &&
			(TRIGGER_FOR_INSERT(trigger->tgtype) || TRIGGER_FOR_UPDATE(trigger->tgtype)) &&
			strcmp(trigger->tgname, OFS_TRIGGER_STAMP) > 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("trigger \"%s\" of table \"%s\" would fire after offsync's", trigger->tgname,
							RelationGetRelationName(rel)),
					 errdetail("It could change rows unseen: triggers fire in the order of their names, and offsync's is \"%s\".",
							   OFS_TRIGGER_STAMP),
					 errhint("Use ALTER TRIGGER ... RENAME TO first.")));
	}
}

void
ofs_check_triggers(Relation rel)
{
	List	   *tables = find_all_inheritors(RelationGetRelid(rel), NoLock, NULL);
	ListCell   *lc;

	foreach(lc, tables)
	{
		Relation	part = relation_open(lfirst_oid(lc), AccessShareLock);

		check_triggers_of(part);
		relation_close(part, NoLock);
	}
}

/* ---------- publications ---------- */

/*
 * A publication of whole rows: its subscribers stop at the first row with a column that they don't
 * know.
 */
void
ofs_check_publications(Oid relid)
{
	uint64		found;
	char	   *publication;

	found = ofs_spi_run(true,
						"WITH RECURSIVE tree(oid) AS (SELECT %u::oid UNION"
						" SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree"
						" ON i.inhparent OPERATOR(pg_catalog.=) tree.oid)"
						" SELECT p.pubname FROM pg_catalog.pg_publication p"
						" WHERE p.puballtables OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN tree"
						" ON r.prrelid OPERATOR(pg_catalog.=) tree.oid"
						" WHERE r.prpubid OPERATOR(pg_catalog.=) p.oid AND r.prattrs IS NULL)"
						" OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace n"
						" JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.pnnspid"
						" JOIN tree ON tree.oid OPERATOR(pg_catalog.=) c.oid"
						" WHERE n.pnpubid OPERATOR(pg_catalog.=) p.oid)"
						" ORDER BY p.pubname", relid);
	if (found == 0)
		return;
	publication = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" is in publication \"%s\"", get_rel_name(relid), publication),
			 errdetail("offsync adds columns, and a subscriber stops at a column that it doesn't have."),
			 errhint("Add the columns %s, %s (timestamptz), %s and %s (bigint) on the subscribers first, then repeat with force => true.",
					 OFS_COL_CREATED_AT, OFS_COL_UPDATED_AT, OFS_COL_VERSION, OFS_COL_CREATED_VERSION)));
}

/* ---------- options ---------- */

static bool
is_safe_name(const char *name)
{
	static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";

	return *name != '\0' && strchr(first, *name) != NULL &&
		name[1 + strspn(name + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789.-")] == '\0' &&
		strcmp(name, "__proto__") != 0;
}

void
ofs_check_collection(const char *collection, bool by_default)
{
	ListCell   *lc;

	if (!is_safe_name(collection))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" can't be the name of a collection", collection),
				 errdetail("A collection's name starts with a letter or underscore and goes on with letters, digits, \"_\", \".\" and \"-\", all of ASCII."),
				 by_default ? errhint("Choose a name with collection => '...'.") : 0));
	foreach(lc, ofs_entry_list())
	{
		OfsEntry   *other = lfirst(lc);

		if (strcmp(other->collection, collection) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("collection \"%s\" exists already", collection),
					 errdetail("It is table %s.", ofs_relation_name(other->relid)),
					 errhint("Choose another name with collection => '...'.")));
	}
}

List *
ofs_check_whitelist(Relation rel, List *names, List *key)
{
	List	   *attnums = NIL;
	ListCell   *lc;

	foreach(lc, names)
	{
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel), (char *) lfirst(lc));

		if (attnum <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of table \"%s\" does not exist", (char *) lfirst(lc),
							RelationGetRelationName(rel))));
		attnums = list_append_unique_int(attnums, attnum);
	}
	foreach(lc, key)
		if (!list_member_int(attnums, lfirst_int(lc)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the columns to sync leave out the key column \"%s\"",
							get_attname(RelationGetRelid(rel), lfirst_int(lc), false)),
					 errhint("Name every key column among columns.")));
	return attnums;
}
