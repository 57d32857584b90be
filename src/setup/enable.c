/*
 * enable.c
 *		offsync.enable: make a table sync.
 *
 * It must be instant on a big and busy table: the columns come with constant defaults, which
 * PostgreSQL keeps in the catalog and doesn't write into rows; nothing is scanned, and no index is
 * built unless it is asked for.
 *
 * What happens to the owner's table is done as the caller, by SQL that the caller could have typed;
 * what happens in the private schema is done as its owner.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "base/argument.h"
#include "base/compat.h"
#include "base/spi.h"
#include "catalog/incarnation.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "catalog/retired.h"
#include "catalog/synced.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "setup/setup.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(offsync_enable);

typedef struct EnableRequest
{
	Oid			relid;
	char	   *collection;		/* NULL: the table's name */
	List	   *key;			/* names; NIL: the primary key */
	OfsEntry	options;		/* those that go on record as they are */
	bool		all_columns;
	List	   *columns;		/* names */
	char	   *index;
	bool		force;
	ReturnSetInfo *answer;
} EnableRequest;

static void
lock_table(Oid relid)
{
	ofs_answer_require_owner(relid);
	ofs_check_kind(relid);
	LockRelationOid(relid, AccessExclusiveLock);
	/* what was true before the wait need not be now */
	ofs_answer_require_owner(relid);
	(void) find_all_inheritors(relid, AccessExclusiveLock, NULL);
}

/* ---------- synced already? ---------- */

static bool
same_names(List *a, List *b)
{
	ListCell   *lc;

	foreach(lc, a)
	{
		bool		found = false;
		ListCell   *other;

		foreach(other, b)
			found = found || strcmp((char *) lfirst(lc), (char *) lfirst(other)) == 0;
		if (!found)
			return false;
	}
	return true;
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static void
append_option(StringInfo list, const char *name)
{
	appendStringInfo(list, "%s%s", list->len > 0 ? ", " : "", name);
}

/* The options in which a request differs from what was enabled; a name left out asks for nothing. */
static char *
differences(const EnableRequest *request, const OfsEntry *entry)
{
	StringInfoData list;

	initStringInfo(&list);
	if (request->collection && strcmp(request->collection, entry->collection) != 0)
		append_option(&list, "collection");
	if (request->key != NIL && !(list_length(request->key) == list_length(entry->key) &&
								 same_names(request->key, entry->key)))
		append_option(&list, "key");
	if (!same_text(request->options.conflict, entry->conflict) ||
		!same_text(request->options.merge_function, entry->merge_function))
		append_option(&list, "conflict");
	if (!same_text(request->options.updated_at, entry->updated_at))
		append_option(&list, "updated_at");
	if (!same_text(request->options.soft_delete, entry->soft_delete))
		append_option(&list, "soft_delete");
	if (!(same_names(request->options.filter_columns, entry->filter_columns) &&
		  same_names(entry->filter_columns, request->options.filter_columns)))
		append_option(&list, "filter_columns");
	if (request->options.declared.known != entry->declared.known ||
		list_difference_oid(request->options.declared.tables, entry->declared.tables) != NIL ||
		list_difference_oid(entry->declared.tables, request->options.declared.tables) != NIL)
		append_option(&list, "access_tables");
	if (request->options.declared.row_local != entry->declared.row_local)
		append_option(&list, "row_local");
	if (request->all_columns != entry->all_columns ||
		!same_names(request->columns, entry->columns) || !same_names(entry->columns, request->columns))
		append_option(&list, "columns");
	if (strcmp(request->index, entry->index) != 0)
		append_option(&list, "index");
	if (request->options.notify != entry->notify)
		append_option(&list, "notify");
	return list.data;
}

/* The row of a table that is synced already with these options; NULL where it isn't synced. */
static OfsEntry *
find_enabled(const EnableRequest *request)
{
	OfsEntry   *entry = ofs_entry_find(request->relid);
	char	   *different;

	if (entry == NULL)
		return NULL;
	different = differences(request, entry);
	if (*different != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is synced already, with other options", get_rel_name(request->relid)),
				 errdetail("Different: %s.", different),
				 errhint("Call offsync.disable first.")));
	return entry;
}

static const char *
trouble_of(Oid relid)
{
	OfsTable   *table = ofs_table_find(relid);

	return table ? ofs_table_trouble(table) : NULL;
}

/* Enabled again: mends what is out of order, and otherwise does nothing. */
static void
enable_again(const EnableRequest *request, OfsEntry *entry)
{
	const char *trouble = trouble_of(request->relid);

	if (trouble == NULL)
		trouble = ofs_access_missing(entry, GetUserId());
	if (trouble == NULL && strcmp(entry->shape, ofs_shape_compute(entry)) == 0)
	{
		ofs_answer_say(request->answer, "nothing", "%s is synced already, as %s",
						ofs_relation_name(request->relid), quote_literal_cstr(entry->collection));
		return;
	}
	lock_table(request->relid);
	entry = find_enabled(request);
	if (entry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" was disabled meanwhile", get_rel_name(request->relid))));
	ofs_refresh_repair(entry, request->answer);
	ofs_answer_say(request->answer, "repaired", "%s: %s", ofs_relation_name(request->relid),
					trouble ? trouble : "its definition had changed unseen");
	trouble = trouble_of(request->relid);
	if (trouble)
		ofs_answer_say(request->answer, "warning", "%s: devices take the collection anew at every pull", trouble);
}

/* ---------- the steps ---------- */

static void
add_column(StringInfo sql, OfsEntry *entry, const char *name, const char *type, const char *value)
{
	if (get_attnum(entry->relid, name) != InvalidAttrNumber)
		return;
	appendStringInfo(sql, "%s ADD COLUMN %s %s", entry->added_columns == NIL ? "" : ",", name, type);
	if (value)
		appendStringInfo(sql, " NOT NULL DEFAULT %s", value);
	entry->added_columns = lappend(entry->added_columns, pstrdup(name));
}

static void
add_columns(const EnableRequest *request, OfsEntry *entry)
{
	char	   *table = ofs_relation_name(entry->relid);
	char	   *version = psprintf(INT64_FORMAT, ofs_version_stamp());
	char	   *now = quote_literal_cstr(timestamptz_to_str(ofs_version_stamped_at()));
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	add_column(&sql, entry, OFS_COL_CREATED_AT, "pg_catalog.timestamptz", now);
	add_column(&sql, entry, OFS_COL_UPDATED_AT, "pg_catalog.timestamptz", now);
	add_column(&sql, entry, OFS_COL_VERSION, "pg_catalog.int8", version);
	add_column(&sql, entry, OFS_COL_CREATED_VERSION, "pg_catalog.int8", version);
	if (ofs_entry_strategy(entry)->needs_history)
		add_column(&sql, entry, OFS_COL_HISTORY, "pg_catalog.text[]", NULL);
	if (ofs_entry_strategy(entry)->needs_clocks)
		add_column(&sql, entry, OFS_COL_CLOCKS, "pg_catalog.text[]", NULL);
	if (entry->added_columns == NIL)
		return;
	if (!request->force)
		ofs_check_publications(entry->relid);
	ofs_spi_run(false, "ALTER TABLE %s%s", table, sql.data);
	foreach(lc, entry->added_columns)
		ofs_answer_say(request->answer, "column", "added %s.%s", table, (char *) lfirst(lc));
}

static List *
names_of(Oid relid, List *attnums)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, attnums)
		names = lappend(names, get_attname(relid, lfirst_int(lc), false));
	return names;
}

/* Everything that may refuse, before anything is changed.  Answers the key. */
static List *
check_table(const EnableRequest *request, OfsEntry *entry)
{
	Relation	rel = table_open(request->relid, NoLock);
	List	   *key;

	ofs_check_relation(rel);
	entry->collection = request->collection ? request->collection : pstrdup(RelationGetRelationName(rel));
	ofs_check_collection(entry->collection, request->collection == NULL);
	key = ofs_key_choose(rel, request->key);
	entry->key = names_of(request->relid, key);
	if (!request->all_columns)
		entry->columns = names_of(request->relid, ofs_check_whitelist(rel, request->columns, key));
	ofs_option_check_columns(rel, entry);
	ofs_option_check_notify(entry);
	ofs_check_columns(rel, ofs_entry_strategy(entry));
	ofs_check_triggers(rel);
	table_close(rel, NoLock);
	return key;
}

static void
create_tombstone(const EnableRequest *request, OfsEntry *entry, List *key)
{
	Relation	rel = table_open(request->relid, NoLock);
	List	   *images = ofs_tombstone_images(rel, key, entry);

	entry->tombstone = ofs_tombstone_create(rel, entry->collection, key, images);
	ofs_mirror_write(rel, entry->tombstone);
	ofs_answer_say(request->answer, "tombstones", "%s keeps (%s) of deleted rows",
					ofs_relation_name(entry->tombstone),
					ofs_work_columns(request->relid, list_concat_copy(key, images), ""));
	table_close(rel, NoLock);
}

static void
enable(void *arg)
{
	EnableRequest *request = arg;
	OfsEntry	entry = request->options;
	OfsEntry   *enabled;
	List	   *key;

	ofs_answer_require_owner(request->relid);
	ofs_index_check_option(request->index);
	enabled = find_enabled(request);
	if (enabled == NULL)
	{
		ofs_check_kind(request->relid);
		ofs_carried_outrun(request->relid);
		lock_table(request->relid);
		enabled = find_enabled(request);
	}
	if (enabled)
	{
		enable_again(request, enabled);
		return;
	}

	entry.relid = request->relid;
	entry.index = request->index;
	entry.all_columns = request->all_columns;
	key = check_table(request, &entry);
	add_columns(request, &entry);
	create_tombstone(request, &entry, key);
	ofs_triggers_ensure(request->relid, request->answer);
	ofs_access_install(&entry, true, request->answer);
	ofs_advice_policies(&entry, request->answer);
	entry.added_index = ofs_index_provide(request->relid, request->index, request->answer);
	entry.shape = ofs_shape_compute(&entry);
	ofs_entry_insert(&entry);
	ofs_retired_remove(entry.collection);
	/* a cursor from before an earlier disable covers nothing of it */
	ofs_table_reset(request->relid, "enabled");
	ofs_answer_say(request->answer, "collection", "%s is synced as %s",
					ofs_relation_name(request->relid), quote_literal_cstr(entry.collection));
}

static List *
names_argument(FunctionCallInfo fcinfo, int n, const char *argument)
{
	List	   *names = NIL;
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	if (PG_ARGISNULL(n))
		return NIL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
					  &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain nulls", argument)));
		names = lappend(names, pstrdup(NameStr(*DatumGetName(elements[i]))));
	}
	if (names == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", argument)));
	return names;
}

/* Unlike names it may be empty, which is not the same as none. */
static List *
tables_argument(FunctionCallInfo fcinfo, int n, const char *argument)
{
	List	   *tables = NIL;
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	if (PG_ARGISNULL(n))
		return NIL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT,
					  &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain nulls", argument)));
		if (get_rel_name(DatumGetObjectId(elements[i])) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("relation with OID %u does not exist", DatumGetObjectId(elements[i]))));
		tables = list_append_unique_oid(tables, DatumGetObjectId(elements[i]));
	}
	return tables;
}

static char *
name_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : pstrdup(NameStr(*PG_GETARG_NAME(n)));
}

Datum
offsync_enable(PG_FUNCTION_ARGS)
{
	EnableRequest request = {0};

	PreventCommandIfReadOnly("offsync.enable()");
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the table to sync must not be null")));
	request.relid = PG_GETARG_OID(0);
	request.collection = ofs_argument_text(fcinfo, 1);
	request.key = names_argument(fcinfo, 2, "key");
	/* a function's name means what it means to the caller */
	ofs_option_conflict(PG_ARGISNULL(3) ? "reject" : text_to_cstring(PG_GETARG_TEXT_PP(3)), &request.options);
	request.options.updated_at = name_argument(fcinfo, 7);
	request.options.soft_delete = name_argument(fcinfo, 8);
	request.options.declared.known = !PG_ARGISNULL(9);
	request.options.declared.tables = tables_argument(fcinfo, 9, "access_tables");
	request.options.declared.row_local = !PG_ARGISNULL(10) && PG_GETARG_BOOL(10);
	request.options.filter_columns = names_argument(fcinfo, 11, "filter_columns");
	request.options.notify = !PG_ARGISNULL(12) && PG_GETARG_BOOL(12);
	request.all_columns = PG_ARGISNULL(4);
	request.columns = names_argument(fcinfo, 4, "columns");
	request.index = PG_ARGISNULL(5) ? pstrdup("auto") : text_to_cstring(PG_GETARG_TEXT_PP(5));
	request.force = !PG_ARGISNULL(6) && PG_GETARG_BOOL(6);
	request.answer = (ReturnSetInfo *) fcinfo->resultinfo;
	ofs_work_run(enable, &request, true);
	return (Datum) 0;
}
