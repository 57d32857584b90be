/*
 * expose_drift.c
 *		offsync.expose: the two calls of Drift apps (dialect/drift.c).
 *
 * They tell nothing of what they have seen but a time, so only last_write_wins suits their tables, and of those that
 * don't they are warned about.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "setup/expose.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* With the names and in the order that the client's own server has them. */
static const OfsWrapper drifts[] = {
	{
		"pull_changes", "drift_pull",
		"collections text[], last_pulled_at text",
		"collections text[], last_pulled_at text",
		"STABLE",
		"Everything that changed for the caller since last_pulled_at."
	},
	{
		"push_changes", "drift_push",
		"_changes json, last_pulled_at text",
		"_changes json, last_pulled_at text",
		"VOLATILE",
		"Store a device's changes; answers the time to pull from next."
	},
};

static char *
literal_list(ArrayType *names)
{
	StringInfoData list;
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	initStringInfo(&list);
	deconstruct_array(names, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("server_columns must not contain nulls")));
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", quote_literal_cstr(NameStr(*DatumGetName(elements[i]))));
	}
	return psprintf("ARRAY[%s]::pg_catalog.text[]", list.data);
}

static void
pass_options(const OfsExposeRequest *request, const OfsWrapper *wrapper, StringInfo buf)
{
	if (strcmp(wrapper->calls, "drift_pull") == 0)
		appendStringInfo(buf, ", tombstones => %s", quote_literal_cstr(request->tombstones));
	else
		appendStringInfo(buf, ", server_columns => %s", literal_list(request->server_columns));
}

static void
check_options(const OfsExposeRequest *request)
{
	if (strcmp(request->tombstones, "ids") != 0 && strcmp(request->tombstones, "rows") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown value \"%s\" for tombstones", request->tombstones),
				 errhint("Choose one of \"ids\", \"rows\".")));
}

static bool
is_instant(const OfsTable *table, AttrNumber attnum)
{
	return attnum == InvalidAttrNumber || get_atttype(table->relid, attnum) == TIMESTAMPTZOID;
}

static bool
has_default(Oid relid, const char *column)
{
	AttrNumber	attnum = get_attnum(relid, column);
	HeapTuple	tuple;
	bool		result;

	if (attnum == InvalidAttrNumber)
		return true;
	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid), Int16GetDatum(attnum));
	if (!HeapTupleIsValid(tuple))
		return true;
	result = ((Form_pg_attribute) GETSTRUCT(tuple))->atthasdef || !((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;
	ReleaseSysCache(tuple);
	return result;
}

static void
suits(const OfsExposeRequest *request, const OfsTable *table)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	if (strcmp(table->conflict, "last_write_wins") != 0)
		ofs_expose_warn(request, table, psprintf("its conflict strategy is \"%s\", but these clients merge by the column that they date"
									  " their changes in: enable it with conflict => 'last_write_wins', updated_at => 'updated_at'",
									  table->conflict));
	if (!is_instant(table, table->client_updated_at) || !is_instant(table, table->soft_delete))
		ofs_expose_warn(request, table, "updated_at and soft_delete should be columns of type timestamp with time zone: "
			 "these clients take anything else for a time of their own zone, or not at all");
	if (table->soft_delete == InvalidAttrNumber && strcmp(request->tombstones, "rows") == 0)
		ofs_expose_warn(request, table, "it has no soft_delete column, so that deletions are told of as ids, not as rows");
	deconstruct_array(request->server_columns, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (!has_default(table->relid, NameStr(*DatumGetName(elements[i]))))
			ofs_expose_warn(request, table, psprintf("column \"%s\" is NOT NULL, and nobody writes it: give it a default",
										  NameStr(*DatumGetName(elements[i]))));
	}
}

const OfsExposeDialect ofs_expose_drift = {
	.name = "drift", .wrappers = drifts, .count = lengthof(drifts),
	.pass = pass_options, .check = check_options, .suits = suits
};
