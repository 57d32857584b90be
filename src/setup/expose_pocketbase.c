/*
 * expose_pocketbase.c
 *		offsync.expose: the calls of PocketBase's sync clients (dialect/pblist.c, pbwrite.c, pbroute.c).
 *
 * They say nothing of what they have seen, so that no strategy finds a conflict: whoever declared one is told.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "setup/expose.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static const OfsWrapper pockets[] = {
	{
		"pb_list", "pb_list",
		"collection text, filter text, page integer, \"perPage\" integer, sort text, \"skipTotal\" text, expand text, fields text",
		"collection text, filter text DEFAULT NULL, page int DEFAULT 1, \"perPage\" int DEFAULT 30, sort text DEFAULT NULL, "
		"\"skipTotal\" text DEFAULT NULL, expand text DEFAULT NULL, fields text DEFAULT NULL",
		"STABLE",
		"A collection's records, or what was deleted, as PocketBase lists them."
	},
	{
		"pb_create", "pb_create",
		"collection text, body json",
		"collection text, body json",
		"VOLATILE",
		"Store a new record; answers it as it is stored."
	},
	{
		"pb_update", "pb_update",
		"collection text, id text, body json",
		"collection text, id text, body json",
		"VOLATILE",
		"Store changes of a record; answers it as it is stored."
	},
	{
		"pb_delete", "pb_delete",
		"collection text, id text",
		"collection text, id text",
		"VOLATILE",
		"Delete a record.",
		"void"
	},
	{
		"pb_request", "pb_request",
		"json",
		"json",
		"VOLATILE",
		"A request to PocketBase's own paths, by way of a proxy."
	},
};

/* Of PocketBase's own, which these clients neither send nor get. */
static bool
is_left_empty(Oid relid, const char *column)
{
	AttrNumber	attnum = get_attnum(relid, column);
	HeapTuple	tuple;
	bool		result;

	if (attnum == InvalidAttrNumber)
		return false;
	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid), Int16GetDatum(attnum));
	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull && !((Form_pg_attribute) GETSTRUCT(tuple))->atthasdef;
	ReleaseSysCache(tuple);
	return result;
}

static void
suits(const OfsExposeRequest *request, const OfsTable *table)
{
	static const char *const own[] = {"created", "updated"};

	if (strcmp(table->collection, "changes") == 0)
		ofs_expose_warn(request, table, "its name is that of the list of what was deleted: enable it with another collection");
	if (strcmp(table->conflict, "client_wins") != 0)
		ofs_expose_warn(request, table, psprintf("its conflict strategy is \"%s\", but these clients don't say what they have seen: "
												 "what they send last wins", table->conflict));
	for (int i = 0; i < (int) lengthof(own); i++)
		if (is_left_empty(table->relid, own[i]))
			ofs_expose_warn(request, table, psprintf("column \"%s\" is NOT NULL, and these clients don't write it: "
													 "give it a default", own[i]));
}

const OfsExposeDialect ofs_expose_pocketbase = {
	.name = "pocketbase", .wrappers = pockets, .count = lengthof(pockets), .suits = suits
};
