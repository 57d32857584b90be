/*
 * terms.c
 *		Statements that speak of a table's views: as they were at the cursor, and as they are.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/beneath.h"
#include "catalog/policy.h"
#include "nodes/makefuncs.h"
#include "pull/terms.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* A view of tombstones: what the policies read is kept there. */
static Node *
view_of_tombs(const OfsTable *table, Node *view)
{
	Relation	rel = table_open(table->relid, AccessShareLock);
	Relation	tomb = table_open(table->tombstone, AccessShareLock);
	Node	   *mapped;
	bool		done = ofs_policy_map(rel, tomb, view, &mapped);

	table_close(tomb, NoLock);
	table_close(rel, NoLock);
	if (!done)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("tombstone table \"%s\" lacks a column that a policy reads",
						get_rel_name(table->tombstone)),
				 errhint("Call offsync.disable and offsync.enable on the synced table.")));
	return mapped;
}

static List *
name_nodes(const OfsTable *table, const OfsShift *shift)
{
	Node	   *was = view_of_tombs(table, shift->was);
	Node	   *is = view_of_tombs(table, shift->is);
	List	   *nodes = NIL;

	for (const char *alias = "tu"; *alias; alias++)
	{
		nodes = ofs_query_name(nodes, *alias, "was", shift->was);
		nodes = ofs_query_name(nodes, *alias, "is", shift->is);
		nodes = ofs_query_name(nodes, *alias, "moved", shift->moved);
	}
	for (const char *alias = "bc"; *alias; alias++)
	{
		nodes = ofs_query_name(nodes, *alias, "was", was);
		nodes = ofs_query_name(nodes, *alias, "is", is);
	}
	return ofs_query_name(nodes, 't', "filter", shift->filter ? shift->filter : makeBoolConst(true, false));
}

void
ofs_terms_run(const char *sql, const OfsTable *table, const OfsShift *shift, const OfsUnseen *params,
			  DestReceiver *dest)
{
	ofs_beneath_run(sql, params->nparams, params->types, params->values,
					list_make2_oid(table->relid, table->tombstone),
					list_concat(name_nodes(table, shift), params->nodes), dest);
}
