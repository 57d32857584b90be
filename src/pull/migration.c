/*
 * migration.c
 *		What a device lacks because its app knew less when it last pulled.
 *
 * An app that is updated may know collections and columns that it had no place for before.  Its cursor says that it has
 * seen their rows, and it has, but it threw them away; so it names what is new when it pulls for the first time after the
 * update.  A new collection is answered whole, as a replacement: that is right whatever the device has of it.  Of a
 * collection with new columns all rows go out that the device holds with something else in their place than the
 * server has, beside what it would be told of anyway.
 *
 * What the device has there is its own default, which the server isn't told, and which has nothing to do with the column's
 * DEFAULT: no value, or for WatermelonDB's columns that aren't optional 0, '' or false.  So a row may be left out where
 * the column is NULL, and where it can't be NULL and is what WatermelonDB puts in such columns.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/htup_details.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/jsonsplit.h"
#include "catalog/incarnation.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "catalog/retired.h"
#include "pull/migration.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* ---------- reading it ---------- */

OFS_NORETURN static void
malformed(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed migration"),
			 errdetail("%s", detail),
			 errhint("It has the form {\"from\": 1, \"tables\": [\"a\"], \"columns\": [{\"table\": \"b\", \"columns\": [\"c\"]}]}.")));
}

/* The elements of an array; none of null. */
static int
split_array(const OfsJsonMember *member, OfsJsonMember **elements)
{
	if (member->value.kind == OFS_JSON_NULL)
		return 0;
	if (member->value.kind != OFS_JSON_NESTED || member->value.text[0] != '[')
		malformed(psprintf(_("\"%s\" must be an array."), member->name));
	return ofs_json_split(&member->value, elements);
}

static const char *
read_name(const OfsJsonMember *member)
{
	if (member->value.kind != OFS_JSON_STRING)
		malformed(_("The name of a table or column must be a string."));
	return member->value.text;
}

static OfsAdded *
find_added(List *migration, const OfsTable *table)
{
	ListCell   *lc;

	foreach(lc, migration)
		if (((OfsAdded *) lfirst(lc))->table->relid == table->relid)
			return lfirst(lc);
	return NULL;
}

/* The entry of a collection, which is made if need be; NULL where it is retired. */
static OfsAdded *
add_table(List **migration, const char *name, List *asked)
{
	const OfsAsked *named;
	OfsAdded   *added;
	bool		wanted = false;
	ListCell   *lc;

	if (ofs_retired_is(name))
		return NULL;
	named = linitial(ofs_asked_add(NIL, name));
	added = find_added(*migration, named->table);
	foreach(lc, asked)
		wanted = wanted || ((OfsAsked *) lfirst(lc))->table->relid == named->table->relid;
	if (!wanted)
		malformed(psprintf(_("\"%s\" isn't among the collections that are asked for."), name));
	if (added)
		return added;
	added = palloc0(sizeof(OfsAdded));
	added->table = named->table;
	*migration = lappend(*migration, added);
	return added;
}

static void
add_column(OfsAdded *added, const OfsView *view, const char *name)
{
	for (int i = 0; i < view->ncolumns; i++)
	{
		if (strcmp(view->names[i], name) == 0)
		{
			added->columns = bms_add_member(added->columns, view->columns[i]);
			return;
		}
	}
	/* one wording, whether there is no such column or the caller doesn't get it */
	ereport(ERROR,
			(errcode(ERRCODE_OFS_UNKNOWN),
			 errmsg("unknown column \"%s\" of collection \"%s\"", name, added->table->collection),
			 errhint("Columns are named as they travel in records; those that you may not read don't.")));
}

static void
read_tables(List **migration, const OfsJsonMember *member, List *asked)
{
	OfsJsonMember *names;
	int			count = split_array(member, &names);

	for (int i = 0; i < count; i++)
	{
		OfsAdded   *added = add_table(migration, read_name(&names[i]), asked);

		if (added)
			added->whole = true;
	}
}

/* {"table": "b", "columns": ["c"]} */
static void
read_table_columns(List **migration, const OfsJsonMember *element, List *asked)
{
	OfsJsonMember table = {NULL};
	OfsJsonMember columns = {NULL};
	OfsJsonMember *members;
	OfsJsonMember *names;
	OfsAdded   *added;
	OfsView    *view;
	int			count;

	if (element->value.kind != OFS_JSON_NESTED || element->value.text[0] != '{')
		malformed(_("An element of \"columns\" must be an object."));
	count = ofs_json_split(&element->value, &members);
	for (int i = 0; i < count; i++)
	{
		if (strcmp(members[i].name, "table") == 0)
			table = members[i];
		else if (strcmp(members[i].name, "columns") == 0)
			columns = members[i];
		else
			malformed(_("An element of \"columns\" may have the members table and columns."));
	}
	if (table.name == NULL || columns.name == NULL)
		malformed(_("An element of \"columns\" must have the members table and columns."));
	added = add_table(migration, read_name(&table), asked);
	if (added == NULL)
		return;
	view = ofs_view_columns(unconstify(OfsTable *, added->table));
	count = split_array(&columns, &names);
	for (int i = 0; i < count; i++)
		add_column(added, view, read_name(&names[i]));
}

static void
read_columns(List **migration, const OfsJsonMember *member, List *asked)
{
	OfsJsonMember *elements;
	int			count = split_array(member, &elements);

	for (int i = 0; i < count; i++)
		read_table_columns(migration, &elements[i], asked);
}

List *
ofs_migration_parse(Jsonb *migration, List *asked)
{
	OfsJsonValue whole = {.kind = OFS_JSON_NESTED};
	OfsJsonMember *members;
	List	   *list = NIL;
	int			count;

	if (migration == NULL)
		return NIL;
	whole.text = JsonbToCString(NULL, &migration->root, VARSIZE(migration));
	whole.len = (int) strlen(whole.text);
	if (strcmp(whole.text, "null") == 0)
		return NIL;
	if (whole.text[0] != '{')
		malformed(_("It must be an object."));
	count = ofs_json_split(&whole, &members);
	for (int i = 0; i < count; i++)
	{
		if (strcmp(members[i].name, "tables") == 0)
			read_tables(&list, &members[i], asked);
		else if (strcmp(members[i].name, "columns") == 0)
			read_columns(&list, &members[i], asked);
		else if (strcmp(members[i].name, "from") != 0)
			malformed(_("It may have the members from, tables and columns."));
		else if (members[i].value.kind != OFS_JSON_NUMBER && members[i].value.kind != OFS_JSON_NULL)
			malformed(_("\"from\" must be a number."));
	}
	return list;
}

const OfsAdded *
ofs_migration_find(List *migration, const OfsTable *table)
{
	return find_added(migration, table);
}

/* ---------- what is lacking ---------- */

/*
 * On a standby that lags, the cursor that is given back has seen newer rows than this answer holds: they would never
 * come.
 */
void
ofs_migration_require_seen(List *migration, const OfsSince *since)
{
	if (migration == NIL || !RecoveryInProgress())
		return;
	if (since->kind == OFS_SINCE_EXACT ? ofs_snapshot_covers(GetActiveSnapshot(), since->cursor)
		: since->kind != OFS_SINCE_NUMBER || since->from <= ofs_version_horizon(GetActiveSnapshot()))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OFS_BEHIND),
			 errmsg("this server has not seen all that the device has"),
			 errdetail("A migration can't be answered from an older state."),
			 errhint("Try again later, or ask the primary.")));
}

/* Append "the value isn't what a WatermelonDB column of this kind has by default". */
static void
append_not_default(StringInfo sql, Oid type, AttrNumber attnum)
{
	switch (getBaseType(type))
	{
		case BOOLOID:
			appendStringInfo(sql, "offsync$t$%d", attnum);
			break;
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			appendStringInfo(sql, "offsync$t$%d OPERATOR(pg_catalog.<>) 0", attnum);
			break;
		case TEXTOID:
		case VARCHAROID:
			/* not by the collation's idea of what is equal */
			appendStringInfo(sql, "pg_catalog.octet_length(offsync$t$%d) OPERATOR(pg_catalog.>) 0", attnum);
			break;
		default:
			appendStringInfoString(sql, "true");
	}
}

void
ofs_migration_append_lacked(StringInfo sql, const OfsAdded *added, OfsDialect dialect)
{
	int			attnum = -1;

	appendStringInfoString(sql, "(false");
	while ((attnum = bms_next_member(added->columns, attnum)) >= 0)
	{
		HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(added->table->relid), Int16GetDatum(attnum));
		Form_pg_attribute att;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for attribute %d of relation %u", attnum, added->table->relid);
		att = (Form_pg_attribute) GETSTRUCT(tuple);
		appendStringInfoString(sql, " OR ");
		if (att->attnotnull && dialect == OFS_DIALECT_WATERMELONDB)
			append_not_default(sql, att->atttypid, (AttrNumber) attnum);
		else
			/* of a composite value, whatever its fields are */
			appendStringInfo(sql, "offsync$t$%d IS DISTINCT FROM NULL", attnum);
		ReleaseSysCache(tuple);
	}
	appendStringInfoChar(sql, ')');
}
