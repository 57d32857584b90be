/*
 * asked.c
 *		The collections that a caller asks for.
 */
#include "postgres.h"

#include "base/errors.h"
#include "catalog/asked.h"
#include "catalog/pg_type.h"
#include "catalog/retired.h"
#include "catalog/view.h"
#include "utils/builtins.h"

static OfsAsked *
make_asked(OfsTable *table, const char *name)
{
	OfsAsked   *asked = palloc(sizeof(OfsAsked));

	asked->table = table;
	asked->asked = name;
	return asked;
}

List *
ofs_asked_add(List *asked, const char *name)
{
	OfsTable   *table = ofs_table_by_name(name);
	ListCell   *lc;

	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_UNKNOWN),
				 errmsg("unknown collection \"%s\"", name),
				 errhint("The view offsync.status lists the collections.")));
	ofs_view_require(table);
	foreach(lc, asked)
		if (((OfsAsked *) lfirst(lc))->table->relid == table->relid)
			ereport(ERROR,
					(errcode(ERRCODE_OFS_MALFORMED),
					 errmsg("collection \"%s\" is asked for twice", name)));
	return lappend(asked, make_asked(table, name));
}

List *
ofs_asked_sort(List *asked)
{
	List	   *tables = NIL;
	List	   *sorted = NIL;
	ListCell   *lc,
			   *la;

	foreach(la, asked)
		tables = lappend(tables, ((OfsAsked *) lfirst(la))->table);
	foreach(lc, ofs_table_sort(tables))
		foreach(la, asked)
			if (((OfsAsked *) lfirst(la))->table == lfirst(lc))
				sorted = lappend(sorted, lfirst(la));
	return sorted;
}

static List *
all_readable(void)
{
	List	   *asked = NIL;
	ListCell   *lc;

	foreach(lc, ofs_table_list())
	{
		OfsTable   *table = lfirst(lc);

		if (ofs_view_readable(table))
			asked = lappend(asked, make_asked(table, table->collection));
	}
	return asked;
}

/* The names, as C strings. */
static List *
read_names(ArrayType *array)
{
	List	   *names = NIL;
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_OFS_MALFORMED),
					 errmsg("a collection's name can't be null")));
		names = lappend(names, TextDatumGetCString(elements[i]));
	}
	return names;
}

List *
ofs_asked_list(ArrayType *names)
{
	List	   *asked = NIL;
	ListCell   *lc;

	if (names == NULL)
		return all_readable();
	foreach(lc, read_names(names))
		if (!ofs_retired_is(lfirst(lc)))
			asked = ofs_asked_add(asked, lfirst(lc));
	return ofs_asked_sort(asked);
}

List *
ofs_asked_retired(ArrayType *names)
{
	List	   *retired = NIL;
	ListCell   *lc,
			   *other;

	if (names == NULL)
		return NIL;
	foreach(lc, read_names(names))
	{
		if (!ofs_retired_is(lfirst(lc)))
			continue;
		foreach(other, retired)
			if (strcmp(lfirst(other), lfirst(lc)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_OFS_MALFORMED),
						 errmsg("collection \"%s\" is asked for twice", (char *) lfirst(lc))));
		retired = lappend(retired, lfirst(lc));
	}
	return retired;
}
