/*
 * order.c
 *		Synced tables, parents before children by foreign key.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/foreignkey.h"
#include "catalog/synced.h"
#include "utils/rel.h"

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(((OfsTable *) lfirst(a))->collection, ((OfsTable *) lfirst(b))->collection);
}

static void
visit(OfsTable *table, List *tables, List **seen, List **sorted)
{
	Relation	rel;
	ListCell   *lc,
			   *other;

	if (list_member_ptr(*seen, table))
		return;
	*seen = lappend(*seen, table);
	rel = table_open(table->relid, AccessShareLock);
	foreach(lc, ofs_foreign_keys(rel))
	{
		ForeignKeyCacheInfo *fk = lfirst_node(ForeignKeyCacheInfo, lc);

		foreach(other, tables)
			if (((OfsTable *) lfirst(other))->relid == fk->confrelid)
				visit((OfsTable *) lfirst(other), tables, seen, sorted);
	}
	table_close(rel, NoLock);
	*sorted = lappend(*sorted, table);
}

List *
ofs_table_sort(List *tables)
{
	List	   *by_name = list_copy(tables);
	List	   *seen = NIL;
	List	   *sorted = NIL;
	ListCell   *lc;

	list_sort(by_name, compare_names);
	foreach(lc, by_name)
		visit((OfsTable *) lfirst(lc), by_name, &seen, &sorted);
	return sorted;
}
