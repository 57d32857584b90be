/*
 * key.c
 *		Which columns identify a row to devices.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "base/indexform.h"
#include "base/spi.h"
#include "catalog/pg_index.h"
#include "catalog/synced.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

/* Key columns of an index that makes them unique for every row at every moment; NIL for another one. */
static List *
unique_columns(Relation index)
{
	Form_pg_index form = index->rd_index;
	List	   *columns = NIL;

	if (!form->indisunique || !form->indisvalid || !form->indimmediate ||
		ofs_index_has_predicate(index))
		return NIL;
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		if (form->indkey.values[i] == 0)
			return NIL;
		columns = lappend_int(columns, form->indkey.values[i]);
	}
	return columns;
}

static List *
index_columns(Oid indexid)
{
	Relation	index = index_open(indexid, AccessShareLock);
	List	   *columns = unique_columns(index);

	index_close(index, NoLock);
	return columns;
}

static bool
is_unique(Relation rel, List *key)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		List	   *columns = index_columns(lfirst_oid(lc));

		if (list_length(columns) == list_length(key) && list_difference_int(key, columns) == NIL)
			return true;
	}
	return false;
}

static List *
primary_key(Relation rel)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		List	   *columns = index->rd_index->indisprimary ? unique_columns(index) : NIL;

		index_close(index, NoLock);
		if (columns != NIL)
			return columns;
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" has no primary key that can be used", RelationGetRelationName(rel)),
			 errhint("Add a primary key (not a deferrable one), or name a unique key of NOT NULL columns with key => '{...}'.")));
}

static List *
named_key(Relation rel, List *names)
{
	List	   *key = NIL;
	ListCell   *lc;

	foreach(lc, names)
	{
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel), (char *) lfirst(lc));

		if (attnum <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of table \"%s\" does not exist", (char *) lfirst(lc),
							RelationGetRelationName(rel)),
					 errhint("The key names it.")));
		key = list_append_unique_int(key, attnum);
	}
	if (!is_unique(rel, key))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the key of table \"%s\" is not unique", RelationGetRelationName(rel)),
				 errdetail("A unique index on exactly these columns is needed, valid, not partial and not deferrable."),
				 errhint("Add a unique constraint on (%s).",
						 ofs_work_columns(RelationGetRelid(rel), key, ""))));
	return key;
}

static void
check_column(Relation rel, AttrNumber attnum)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	const char *name = NameStr(att->attname);

	if (!att->attnotnull)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("key column \"%s\" of table \"%s\" can be null", name,
						RelationGetRelationName(rel)),
				 errhint("Use ALTER TABLE ... ALTER COLUMN %s SET NOT NULL first.",
						 quote_identifier(name))));
	if (!OidIsValid(lookup_type_cache(att->atttypid, TYPECACHE_BTREE_OPFAMILY)->btree_opf))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("key column \"%s\" of table \"%s\" has type %s, which has no default order", name,
						RelationGetRelationName(rel), format_type_be(att->atttypid)),
				 errhint("Name another unique key with key => '{...}'.")));
	if (strcmp(name, OFS_TOMB_VERSION) == 0 || strcmp(name, OFS_TOMB_AT) == 0 || strcmp(name, OFS_TOMB_CREATED) == 0 ||
		strcmp(name, OFS_COL_CREATED_AT) == 0 || strcmp(name, OFS_COL_UPDATED_AT) == 0 ||
		strcmp(name, OFS_COL_VERSION) == 0 || strcmp(name, OFS_COL_CREATED_VERSION) == 0 ||
		strcmp(name, OFS_COL_HISTORY) == 0 || strcmp(name, OFS_COL_CLOCKS) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("column \"%s\" can't be part of a key", name),
				 errdetail("offsync uses this name itself.")));
}

List *
ofs_key_choose(Relation rel, List *names)
{
	List	   *key = names == NIL ? primary_key(rel) : named_key(rel, names);
	ListCell   *lc;

	foreach(lc, key)
		check_column(rel, lfirst_int(lc));
	return key;
}
