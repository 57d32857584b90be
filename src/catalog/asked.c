/*
 * asked.c
 *		The collections that a caller asks for.
 */
#include "postgres.h"

#include "base/errors.h"
#include "catalog/asked.h"
#include "catalog/pg_type.h"
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
		if (((OfsAsked *) lfirst(lc))->table == table)
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

List *
ofs_asked_list(ArrayType *names)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	List	   *asked = NIL;

	if (names == NULL)
		return all_readable();
	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_OFS_MALFORMED),
					 errmsg("a collection's name can't be null")));
		asked = ofs_asked_add(asked, TextDatumGetCString(elements[i]));
	}
	return ofs_asked_sort(asked);
}
