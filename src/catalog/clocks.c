/*
 * clocks.c
 *		When each field of a row was last written, by the clock of whoever wrote it.
 */
#include "postgres.h"

#include "catalog/clocks.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

static const OfsHlc zero = {0, 0, ""};

int64
ofs_clocks_wall(TimestampTz at)
{
	int64		us = at + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	return Min(Max(us / 1000, 0), OFS_HLC_MAX_MS);
}

bool
ofs_clocks_is_zero(const OfsHlc *clock)
{
	return clock->ms == 0 && clock->count == 0 && clock->node[0] == '\0';
}

static const OfsHlc *
later(const OfsHlc *a, const OfsHlc *b)
{
	return ofs_hlc_compare(a, b) < 0 ? b : a;
}

/* ---------- reading ---------- */

/* The trigger's own writing; what it can't be is taken as never written. */
static OfsHlc
read_clock(Datum element, bool isnull)
{
	OfsHlc		clock;

	if (isnull || !ofs_hlc_parse(TextDatumGetCString(element), &clock))
		return zero;
	return clock;
}

/* Of all fields that there are. */
static OfsHlc
latest(const OfsClocks *clocks)
{
	const OfsHlc *found = &clocks->base;

	for (int i = 0; i < clocks->nfields; i++)
		found = later(found, &clocks->fields[i].clock);
	return *found;
}

OfsClocks *
ofs_clocks_read(Oid relid, Datum value, bool isnull, TimestampTz updated_at)
{
	OfsClocks  *clocks = palloc0(sizeof(OfsClocks));
	Datum	   *elements;
	bool	   *nulls;
	int			nelements = 0;

	if (!isnull)
		deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT,
						  &elements, &nulls, &nelements);
	if (nelements < 2)
	{
		clocks->base = (OfsHlc) {ofs_clocks_wall(updated_at), 0, OFS_SERVER_NODE};
		clocks->row = clocks->base;
		return clocks;
	}
	clocks->base = read_clock(elements[0], nulls[0]);
	clocks->fields = palloc(sizeof(OfsFieldClock) * (nelements / 2));
	for (int i = 2; i + 1 < nelements; i += 2)
	{
		OfsFieldClock one = {nulls[i] ? "" : TextDatumGetCString(elements[i]), read_clock(elements[i + 1], nulls[i + 1])};

		/* under an old name it may have been any field's */
		if (get_attnum(relid, one.field) == InvalidAttrNumber)
			clocks->base = *later(&clocks->base, &one.clock);
		else
			clocks->fields[clocks->nfields++] = one;
	}
	if (nulls[1] || VARSIZE_ANY_EXHDR(DatumGetPointer(elements[1])) == 0)
		clocks->row = latest(clocks);
	else
		clocks->row = read_clock(elements[1], false);
	return clocks;
}

const OfsHlc *
ofs_clocks_get(const OfsClocks *clocks, const char *field)
{
	for (int i = 0; i < clocks->nfields; i++)
	{
		if (strcmp(clocks->fields[i].field, field) == 0)
			return &clocks->fields[i].clock;
	}
	return &clocks->base;
}

/* ---------- writing ---------- */

static OfsHlc
next_clock(const OfsClocks *before, const OfsFieldWrite *write, int64 wall)
{
	const OfsHlc *stored = before ? ofs_clocks_get(before, write->field) : &zero;

	if (write->given && ofs_hlc_compare(write->given, stored) > 0)
		return *write->given;
	return write->changed ? ofs_hlc_tick(stored, wall, OFS_SERVER_NODE) : *stored;
}

/* What most of them have, and of these the latest: the same clocks are always written in the same way. */
static const OfsHlc *
choose_base(const OfsHlc *clocks, int n)
{
	const OfsHlc *base = &zero;
	int			most = 0;

	/* mostly it is the first one's */
	for (int i = 0; i < n && most <= n / 2; i++)
	{
		int			count = 0;

		for (int j = 0; j < n; j++)
			count += ofs_hlc_compare(&clocks[i], &clocks[j]) == 0;
		if (count > most || (count == most && ofs_hlc_compare(&clocks[i], base) > 0))
		{
			base = &clocks[i];
			most = count;
		}
	}
	return base;
}

/* The row's clock as it will be; NULL: that of all its fields. */
static const OfsHlc *
choose_row(const OfsClocks *before, const OfsHlc *clocks, int n, bool computes, OfsHlc *room)
{
	const OfsHlc *most = &zero;
	bool		uniform = !computes;

	for (int i = 0; i < n; i++)
	{
		if (ofs_clocks_is_zero(&clocks[i]))
			continue;
		uniform = uniform && (most == &zero || ofs_hlc_compare(most, &clocks[i]) == 0);
		most = later(most, &clocks[i]);
	}
	if (uniform && (before == NULL || ofs_hlc_compare(most, &before->row) > 0))
		return NULL;
	*room = ofs_hlc_after(before ? later(most, &before->row) : most, OFS_SERVER_NODE);
	return room;
}

static Datum
write_clock(const OfsHlc *clock)
{
	StringInfoData text;

	initStringInfo(&text);
	if (clock)
		ofs_hlc_write(&text, OFS_HLC_MESSAGES, clock);
	return PointerGetDatum(cstring_to_text_with_len(text.data, text.len));
}

Datum
ofs_clocks_stamp(const OfsClocks *before, const OfsFieldWrite *writes, int nwrites, bool computes, int64 wall)
{
	OfsHlc	   *clocks = palloc(sizeof(OfsHlc) * (nwrites + 1));
	Datum	   *elements = palloc(sizeof(Datum) * 2 * (nwrites + 1));
	int			nelements = 2;
	const OfsHlc *base;
	OfsHlc		room;

	for (int i = 0; i < nwrites; i++)
		clocks[i] = next_clock(before, &writes[i], wall);
	base = choose_base(clocks, nwrites);
	elements[0] = write_clock(base);
	elements[1] = write_clock(choose_row(before, clocks, nwrites, computes, &room));
	for (int i = 0; i < nwrites; i++)
	{
		if (ofs_hlc_compare(&clocks[i], base) == 0)
			continue;
		elements[nelements++] = CStringGetTextDatum(writes[i].field);
		elements[nelements++] = write_clock(&clocks[i]);
	}
	return PointerGetDatum(construct_array(elements, nelements, TEXTOID, -1, false, TYPALIGN_INT));
}
