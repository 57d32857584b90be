/*
 * retired.c
 *		Names of collections that are no longer synced, and that old versions of an app still ask for.
 *
 * An app in a store lives on for years.  A collection that it asks for and that is gone would be an error at each of its
 * syncs, which would keep it from everything else, too.  So a retired name is answered: a pull finds
 * nothing changed in it, and a push refuses its records one by one and stores the rest.  Devices keep what they
 * hold of it.  Nothing is left of the table but its name, so that it may be dropped.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/spi.h"
#include "catalog/indexing.h"
#include "catalog/retired.h"
#include "catalog/scan.h"
#include "catalog/synced.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

enum
{
	A_COLLECTION = 1, A_QUALIFIED, A_AT, NATTS = A_AT
};

/* ---------- asking ---------- */

typedef struct Search
{
	const char *name;
	bool		found;
} Search;

static bool
visit_name(Relation rel, HeapTuple tuple, Datum *values, bool *nulls, void *arg)
{
	Search	   *search = arg;

	search->found = strcmp(TextDatumGetCString(values[A_COLLECTION - 1]), search->name) == 0 ||
		strcmp(TextDatumGetCString(values[A_QUALIFIED - 1]), search->name) == 0;
	return search->found;
}

bool
ofs_retired_is(const char *name)
{
	Search		search = {name, false};

	ofs_scan("retired", AccessShareLock, visit_name, &search);
	return search.found && ofs_table_by_name(name) == NULL;
}

static bool
visit_any(Relation rel, HeapTuple tuple, Datum *values, bool *nulls, void *arg)
{
	List	  **names = arg;

	*names = lappend(*names, TextDatumGetCString(values[A_COLLECTION - 1]));
	return false;
}

List *
ofs_retired_list(void)
{
	List	   *names = NIL;

	ofs_scan("retired", AccessShareLock, visit_any, &names);
	return names;
}

/* ---------- changing ---------- */

static bool
visit_removed(Relation rel, HeapTuple tuple, Datum *values, bool *nulls, void *arg)
{
	if (strcmp(TextDatumGetCString(values[A_COLLECTION - 1]), arg) != 0)
		return false;
	CatalogTupleDelete(rel, &tuple->t_self);
	return true;
}

void
ofs_retired_remove(const char *collection)
{
	ofs_scan("retired", RowExclusiveLock, visit_removed, unconstify(char *, collection));
}

void
ofs_retired_add(const char *collection, const char *qualified)
{
	Relation	rel = table_open(ofs_internal_table("retired"), RowExclusiveLock);
	Datum		values[NATTS];
	bool		nulls[NATTS] = {false};

	values[A_COLLECTION - 1] = CStringGetTextDatum(collection);
	values[A_QUALIFIED - 1] = CStringGetTextDatum(qualified);
	values[A_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, NoLock);
}
