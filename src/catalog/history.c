/*
 * history.c
 *		Which version each column of a row was last changed in.
 */
#include "postgres.h"

#include "base/namelist.h"
#include "catalog/history.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* The trigger's own writing; what it can't be is taken as changed by nobody knows whom. */
static OfsHistoryEntry
read_entry(char *text)
{
	OfsHistoryEntry entry = {PG_INT64_MAX, PG_INT64_MAX, NULL};
	char	   *end;
	int64		version = strtoll(text, &end, 10);

	if (end == text)
		return entry;
	entry.version = entry.order = version;
	if (*end == '/')
		entry.order = strtoll(end + 1, &end, 10);
	if (*end == ' ')
		entry.column = end + 1;
	return entry;
}

OfsHistory *
ofs_history_read(Datum value, bool isnull, int64 row_version)
{
	OfsHistory *history = palloc0(sizeof(OfsHistory));
	Datum	   *elements;
	bool	   *nulls;
	int			nelements = 0;

	if (!isnull)
		deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT,
						  &elements, &nulls, &nelements);
	history->entries = palloc0(sizeof(OfsHistoryEntry) * (nelements + 1));
	for (int i = 0; i < nelements; i++)
	{
		if (!nulls[i])
			history->entries[history->nentries++] = read_entry(TextDatumGetCString(elements[i]));
	}
	if (history->nentries == 0)
	{
		history->entries[0].version = history->entries[0].order = row_version;
		history->nentries = 1;
	}
	return history;
}

const OfsHistoryEntry *
ofs_history_find(const OfsHistory *history, const char *column)
{
	for (int i = 0; i < history->nentries; i++)
	{
		const OfsHistoryEntry *entry = &history->entries[i];

		if (entry->column != NULL && strcmp(entry->column, column) == 0)
			return entry;
	}
	return NULL;
}

bool
ofs_history_follows(const OfsHistoryEntry *entry, int64 version)
{
	return entry->version != version && entry->order >= version;
}

static Datum
write_entry(const OfsHistoryEntry *entry)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, INT64_FORMAT, entry->version);
	if (entry->order != entry->version)
		appendStringInfo(&text, "/" INT64_FORMAT, entry->order);
	if (entry->column)
		appendStringInfo(&text, " %s", entry->column);
	return CStringGetTextDatum(text.data);
}

Datum
ofs_history_add(Datum value, bool isnull, int64 row_version, int64 version, List *columns)
{
	OfsHistory *history = ofs_history_read(value, isnull, row_version);
	Datum	   *elements = palloc(sizeof(Datum) * (history->nentries + list_length(columns)));
	OfsHistoryEntry added = {version, Max(version, row_version), NULL};
	int			nelements = 0;
	ListCell   *lc;

	for (int i = 0; i < history->nentries; i++)
	{
		added.order = Max(added.order, history->entries[i].order);
		if (history->entries[i].column == NULL || !ofs_name_listed(columns, history->entries[i].column))
			elements[nelements++] = write_entry(&history->entries[i]);
	}
	foreach(lc, columns)
	{
		added.column = lfirst(lc);
		elements[nelements++] = write_entry(&added);
	}
	return PointerGetDatum(construct_array(elements, nelements, TEXTOID, -1, false, TYPALIGN_INT));
}
