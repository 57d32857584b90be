/*
 * filter.c
 *		What a device chooses to hold of what it may see.
 *
 * A filter is one more set that rows are looked up in, which the caller gives rather than a policy: so it is carried by
 * the cursor as those are, and a filter that grew or shrank by whole values is answered by an exact delta.
 * Unlike in a policy's set, NULL among the values finds rows without a value.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/jsonsplit.h"
#include "catalog/filter.h"
#include "catalog/pg_type.h"
#include "catalog/retired.h"
#include "catalog/setvalue.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_type.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

OFS_NORETURN static void
malformed(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed filters"),
			 errdetail("%s", detail),
			 errhint("Filters look like {\"collection\": {\"column\": [\"value\"]}}.")));
}

/* How a column is compared with the filter's values. */
static OfsSetFact *
make_fact(const OfsTable *table, AttrNumber attnum)
{
	OfsSetFact *fact = palloc0(sizeof(OfsSetFact));
	Oid			type;
	int32		typmod;
	Oid			left,
				right;

	get_atttypetypmodcoll(table->relid, attnum, &type, &typmod, &fact->collation);
	fact->tested = (Node *) makeVar(1, attnum, type, typmod, fact->collation, 0);
	fact->element_type = getBaseType(type);
	fact->opno = lookup_type_cache(fact->element_type, TYPECACHE_EQ_OPR)->eq_opr;
	if (!OidIsValid(fact->opno))
		malformed("The column's type has no equality.");
	op_input_types(fact->opno, &left, &right);
	if (!IsPolymorphicType(left))
		fact->element_type = left;
	if (fact->element_type != type)
		fact->tested = (Node *) makeRelabelType((Expr *) fact->tested, fact->element_type, -1,
												fact->collation, COERCE_IMPLICIT_CAST);
	fact->array_type = get_array_type(fact->element_type);
	fact->finder = fact->opno;
	fact->any = true;
	fact->nulls = true;
	return fact;
}

static OfsViewSet *
read_column(const OfsTable *table, const OfsJsonMember *member, OfsDialect dialect)
{
	AttrNumber	attnum = get_attnum(table->relid, member->name);
	OfsViewSet *set = palloc0(sizeof(OfsViewSet));
	OfsJsonMember *values;
	OfsCodec   *codec;
	OfsSetFact *fact;
	int			count;

	if (attnum == InvalidAttrNumber || !bms_is_member(attnum, table->filter_columns))
		malformed(psprintf(_("Collection \"%s\" can't be filtered by \"%s\": it isn't in its filter_columns."),
						   table->collection, member->name));
	if (pg_attribute_aclcheck(table->relid, attnum, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_class_aclcheck(table->relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for column \"%s\" of collection \"%s\"", member->name,
						table->collection)));
	if (member->value.kind != OFS_JSON_NESTED || member->value.text[0] != '[')
		malformed(psprintf(_("The values for \"%s\" are no array."), member->name));
	fact = make_fact(table, attnum);
	codec = ofs_codec_create(get_atttype(table->relid, attnum), -1, dialect);
	count = ofs_json_split(&member->value, &values);
	set->fact = fact;
	set->column = attnum;
	set->value.items = palloc(sizeof(OfsSetItem) * (count + 1));
	for (int i = 0; i < count; i++)
	{
		bool		isnull;
		Datum		value = ofs_codec_read(codec, &values[i].value, &isnull);

		if (isnull)
			set->value.has_null = true;
		else
			ofs_setvalue_item(&set->value.items[set->value.count++], CurrentMemoryContext, value,
							  fact->element_type);
	}
	ofs_set_finish(&set->value);
	return set;
}

static int
compare_columns(const ListCell *a, const ListCell *b)
{
	return ((OfsViewSet *) lfirst(a))->column - ((OfsViewSet *) lfirst(b))->column;
}

static OfsFilter *
read_collection(OfsTable *table, const OfsJsonMember *member, OfsDialect dialect)
{
	OfsFilter  *filter = palloc0(sizeof(OfsFilter));
	OfsJsonMember *columns;
	Bitmapset  *found = NULL;
	StringInfoData names;
	int			count;

	if (member->value.kind != OFS_JSON_NESTED || member->value.text[0] != '{')
		malformed(psprintf(_("The filter of \"%s\" is no object."), member->name));
	filter->table = table;
	count = ofs_json_split(&member->value, &columns);
	for (int i = 0; i < count; i++)
	{
		OfsViewSet *set = read_column(table, &columns[i], dialect);
		AttrNumber	attnum = get_attnum(table->relid, columns[i].name);

		if (bms_is_member(attnum, found))
			malformed(psprintf(_("\"%s\" is there twice."), columns[i].name));
		found = bms_add_member(found, attnum);
		filter->sets = lappend(filter->sets, set);
	}
	/* whichever order they come in, cursors know them in the table's */
	list_sort(filter->sets, compare_columns);
	initStringInfo(&names);
	for (int attnum = -1; (attnum = bms_next_member(found, attnum)) >= 0;)
		appendStringInfo(&names, "%s\n", get_attname(table->relid, attnum, false));
	filter->columns = ofs_name_hash(names.data);
	return filter->sets ? filter : NULL;
}

OfsFilter *
ofs_filter_find(List *filters, const OfsTable *table)
{
	ListCell   *lc;

	foreach(lc, filters)
		if (((OfsFilter *) lfirst(lc))->table->relid == table->relid)
			return lfirst(lc);
	return NULL;
}

/* NULL where it is retired. */
static OfsTable *
find_asked(List *asked, const char *name)
{
	ListCell   *lc;

	foreach(lc, asked)
		if (strcmp(((OfsAsked *) lfirst(lc))->asked, name) == 0)
			return ((OfsAsked *) lfirst(lc))->table;
	if (ofs_retired_is(name))
		return NULL;
	malformed(psprintf(_("\"%s\" isn't among the collections that are asked for."), name));
}

List *
ofs_filter_parse(const char *text, List *asked, OfsDialect dialect)
{
	OfsJsonValue document = {OFS_JSON_NESTED, 0, text};
	OfsJsonMember *members;
	List	   *filters = NIL;
	int			count;

	if (text == NULL)
		return NIL;
	text += strspn(text, " \t\r\n");
	if (strncmp(text, "null", 4) == 0)
		return NIL;
	if (text[0] != '{')
		malformed("They are no object.");
	document.text = text;
	document.len = (int) strlen(text);
	count = ofs_json_split(&document, &members);
	for (int i = 0; i < count; i++)
	{
		OfsTable   *table = find_asked(asked, members[i].name);
		OfsFilter  *filter;

		if (table == NULL)
			continue;
		if (ofs_filter_find(filters, table))
			malformed(psprintf(_("\"%s\" is there twice."), members[i].name));
		filter = read_collection(table, &members[i], dialect);
		if (filter)
			filters = lappend(filters, filter);
	}
	return filters;
}

Node *
ofs_filter_node(const OfsFilter *filter)
{
	List	   *conditions = NIL;
	ListCell   *lc;

	foreach(lc, filter->sets)
	{
		const OfsViewSet *set = lfirst(lc);
		Datum		values = ofs_setvalue_array(set->fact, set->value.items, set->value.count, false);

		conditions = lappend(conditions, ofs_setfact_among(set->fact, values, set->value.has_null));
	}
	return (Node *) make_ands_explicit(conditions);
}
