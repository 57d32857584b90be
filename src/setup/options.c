/*
 * options.c
 *		Options of offsync.enable.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "base/namelist.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "catalog/notice.h"
#include "catalog/synced.h"
#include "core/strategy.h"
#include "parser/parse_func.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define GENERATED_VIRTUAL 'v'

/* ---------- conflict ---------- */

static Oid
find_function(const char *name)
{
	Oid			argtypes[3] = {JSONBOID, JSONBOID, JSONBOID};

	/* only what could be one: coin toss is no name, unless it is quoted */
	if (*name == '\0' || (strpbrk(name, " \t\r\n") != NULL && strchr(name, '"') == NULL))
		return InvalidOid;
	return LookupFuncName(ofs_compat_name_list(name), 3, argtypes, true);
}

static void
check_function(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	if (form->prokind != PROKIND_FUNCTION || form->proretset || form->prorettype != JSONBOID)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s can't decide conflicts", format_procedure(function)),
				 errdetail("It must be an ordinary function that returns jsonb.")));
	ReleaseSysCache(tuple);
}

void
ofs_option_conflict(const char *option, OfsEntry *entry)
{
	const OfsStrategy *strategy = ofs_strategy_find(option);
	StringInfoData list;
	Oid			function;

	if (strategy != NULL && strcmp(option, OFS_STRATEGY_FUNCTION) != 0)
	{
		entry->conflict = pstrdup(option);
		return;
	}
	function = find_function(option);
	if (!OidIsValid(function))
	{
		initStringInfo(&list);
		ofs_strategy_list(&list);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown conflict strategy \"%s\"", option),
				 errdetail("The strategies are:\n%s", list.data),
				 errhint("Choose one of these, or name a function with its schema.")));
	}
	check_function(function);
	entry->conflict = pstrdup(OFS_STRATEGY_FUNCTION);
	entry->merge_function = quote_qualified_identifier(get_namespace_name(get_func_namespace(function)),
													   get_func_name(function));
}

const char *
ofs_option_conflict_shown(const OfsEntry *entry)
{
	return entry->merge_function ? entry->merge_function : entry->conflict;
}

/* ---------- columns ---------- */

static bool
is_own(const char *name)
{
	static const char *const own[] = {
		OFS_COL_CREATED_AT, OFS_COL_UPDATED_AT, OFS_COL_VERSION, OFS_COL_CREATED_VERSION, OFS_COL_HISTORY,
		OFS_COL_CLOCKS
	};

	for (int i = 0; i < (int) lengthof(own); i++)
		if (strcmp(own[i], name) == 0)
			return true;
	return false;
}

/* A column that is neither the key's nor ours, and that can be written. */
static Form_pg_attribute
find_column(Relation rel, const OfsEntry *entry, const char *option, const char *name)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);
	Form_pg_attribute att;

	if (attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist", name, RelationGetRelationName(rel))));
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	if (is_own(name) || ofs_name_listed(entry->key, name) || att->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" can't be %s", name, option),
				 errdetail("It is part of the key, generated, or written by the server alone.")));
	return att;
}

OFS_NORETURN static void
wrong_type(const char *option, Form_pg_attribute att, const char *types)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" can't be %s", NameStr(att->attname), option),
			 errdetail("It has type %s.", format_type_be(att->atttypid)),
			 errhint("It must be %s.", types)));
}

static void
check_updated_at(Relation rel, const OfsEntry *entry)
{
	Form_pg_attribute att = find_column(rel, entry, "updated_at", entry->updated_at);

	if (att->atttypid != TIMESTAMPTZOID && att->atttypid != TIMESTAMPOID && att->atttypid != INT8OID)
		wrong_type("updated_at", att, "a timestamp, with or without time zone, or a bigint of milliseconds");
	if (!entry->all_columns && !ofs_name_listed(entry->columns, entry->updated_at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the columns to sync leave out updated_at, \"%s\"", entry->updated_at),
				 errhint("Name it among columns: devices write it.")));
}

static void
check_soft_delete(Relation rel, const OfsEntry *entry)
{
	Form_pg_attribute att = find_column(rel, entry, "soft_delete", entry->soft_delete);

	if (att->atttypid != TIMESTAMPTZOID && att->atttypid != TIMESTAMPOID)
		wrong_type("soft_delete", att, "a timestamp, with or without time zone");
	if (att->attnotnull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" can't be soft_delete", entry->soft_delete),
				 errdetail("It is NOT NULL, and rows that aren't deleted have NULL there.")));
	if (att->atthasdef)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" can't be soft_delete", entry->soft_delete),
				 errdetail("It has a default, and new rows would be deleted at once.")));
}

/* Devices name their values, so they must get to see them. */
static void
check_filter_columns(Relation rel, const OfsEntry *entry)
{
	ListCell   *lc;

	foreach(lc, entry->filter_columns)
	{
		const char *name = lfirst(lc);
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

		if (attnum <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of table \"%s\" does not exist", name, RelationGetRelationName(rel))));
		if (is_own(name) || TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attgenerated == GENERATED_VIRTUAL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" can't be one of filter_columns", name),
					 errdetail("It is generated at every read, or written by the server alone.")));
		if (!entry->all_columns && !ofs_name_listed(entry->columns, name) && !ofs_name_listed(entry->key, name))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the columns to sync leave out \"%s\" of filter_columns", name),
					 errhint("Name it among columns, too.")));
	}
}

void
ofs_option_check_columns(Relation rel, const OfsEntry *entry)
{
	bool		needs_stamp = ofs_strategy_find(entry->conflict)->needs_stamp;

	if (needs_stamp != (entry->updated_at != NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 needs_stamp ? errmsg("strategy \"%s\" needs a column that devices write the time of their change to",
									  entry->conflict) :
				 errmsg("strategy \"%s\" doesn't look at updated_at", entry->conflict),
				 needs_stamp ? errhint("Name it with updated_at => '...'.") : errhint("Leave updated_at out.")));
	if (entry->updated_at)
		check_updated_at(rel, entry);
	if (entry->soft_delete)
		check_soft_delete(rel, entry);
	check_filter_columns(rel, entry);
}

/* ---------- notify ---------- */

void
ofs_option_check_notify(const OfsEntry *entry)
{
	if (entry->notify && strlen(entry->collection) > OFS_NOTICE_NAME_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the collection's name is too long for notify"),
				 errdetail("It has %zu bytes, and may have %d.", strlen(entry->collection), OFS_NOTICE_NAME_MAX)));
}
