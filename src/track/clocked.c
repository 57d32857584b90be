/*
 * clocked.c
 *		The clocks of a row's fields, as it is written.
 *
 * Fields are the columns that a statement can write, but for the key's.  What a push says of them it says by their names: a
 * partition has its own numbers.
 */
#include "postgres.h"

#include "base/namelist.h"
#include "track/clocked.h"
#include "track/tuple.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

static bool
is_field(const OfsColumn *column)
{
	return (column->changes & (OFS_CHANGES_ROW | OFS_CHANGES_KEY)) == OFS_CHANGES_ROW;
}

static const OfsFieldClock *
find_given(const OfsGift *gift, const char *field)
{
	for (int i = 0; gift != NULL && i < gift->nfields; i++)
	{
		if (strcmp(gift->fields[i].field, field) == 0)
			return &gift->fields[i];
	}
	return NULL;
}

bool
ofs_clocked_update(OfsRow *row, Relation rel, HeapTuple new, const char *const *before, List **names, OfsClocked *clocked)
{
	const char *clocks = before[OFS_S_CLOCKS];
	const char *at = before[OFS_S_UPDATED_AT];
	bool		moves;

	clocked->gift = ofs_row_gift(row, rel, new);
	if (clocked->gift == NULL && *names == NIL)
		return false;
	clocked->before = ofs_clocks_read(RelationGetRelid(rel), PointerGetDatum(clocks), clocks == NULL, at ? ofs_stamp_at(at) : 0);
	if (clocked->gift == NULL)
		return false;
	moves = clocked->gift->touch;
	for (int i = 0; i < clocked->gift->nfields; i++)
	{
		const OfsFieldClock *given = &clocked->gift->fields[i];

		if (given->clock.node == NULL || ofs_hlc_compare(&given->clock, ofs_clocks_get(clocked->before, given->field)) <= 0)
			continue;
		moves = true;
		if (!ofs_name_listed(*names, given->field))
			*names = lappend(*names, (void *) given->field);
	}
	return moves;
}

/* names: of the fields that are written; of a new row these are those that were sent. */
static Datum
stamp(const OfsRow *row, Relation rel, const OfsClocked *clocked, List *names, bool inserts)
{
	TupleDesc	desc = RelationGetDescr(rel);
	OfsFieldWrite *writes = palloc(sizeof(OfsFieldWrite) * desc->natts);
	bool		computes = false;
	int			n = 0;

	for (int i = 0; i < row->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(desc, i)->attname);
		const OfsFieldClock *given = find_given(clocked->gift, name);

		computes = computes || TupleDescAttr(desc, i)->attgenerated != '\0';
		if (!is_field(&row->columns[i]))
			continue;
		writes[n].field = name;
		writes[n].given = given && given->clock.node ? &given->clock : NULL;
		writes[n++].changed = inserts ? given != NULL : ofs_name_listed(names, name);
	}
	return ofs_clocks_stamp(clocked->before, writes, n, computes, ofs_clocks_wall(GetCurrentTimestamp()));
}

Datum
ofs_clocked_stamp(const OfsRow *row, Relation rel, const OfsClocked *clocked, List *names)
{
	return stamp(row, rel, clocked, names, false);
}

/* A row that no clock of a device's has a part in is as old as it is. */
bool
ofs_clocked_insert(OfsRow *row, Relation rel, HeapTuple new, Datum *value)
{
	OfsClocked	clocked = {NULL, ofs_row_gift(row, rel, new)};

	if (clocked.gift == NULL || !clocked.gift->clocked)
		return false;
	*value = stamp(row, rel, &clocked, NIL, true);
	return true;
}
