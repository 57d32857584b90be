/*
 * strategy.c
 *		The conflict strategies, all of them.
 *
 * A strategy is asked only about a dispute: the record wants something else than what is stored,
 * and the row's version is covered by neither the cursor, nor the record's own server_version, nor the
 * device's own pushes.  What a record wants are the columns that its _changed lists, where it
 * carries one, and else all that it carries.
 *
 *	strategy         row changed,      row changed,     row deleted,
 *	                 record changes    record deletes   record changes
 *	reject           conflict          conflict         conflict
 *	client_wins      sent values       deleted          inserted again
 *	server_wins      row kept          row kept         stays deleted
 *	last_write_wins  later updated_at  row kept         later of updated_at and the deletion
 *	merge            by column         conflict         conflict
 *	field_lww        later clocks      deleted          stays deleted
 *	function         what it returns   what it returns  what it returns
 *
 * The base of a merge.  The server keeps no old values, but where a strategy needs to know it
 * remembers per row which version last changed each column (catalog/changes.c).  A column that the server
 * hasn't changed since the device saw it is what the device started from, so the sent value is
 * written; one that it has is in dispute, and its base is unknown: two different scalars are a
 * conflict, documents and arrays are united.
 *
 * The same table stands in the comment on offsync.enable.
 *
 * field_lww decides field by field, and never asks what a device has seen (push/fields.c): what it says here is only
 * what becomes of whole rows.
 *
 * A deletion carries no stamp of its own.  Against a row that was changed meanwhile it counts as the
 * oldest; one that stands already has the time at which the server made it.
 */
#include "postgres.h"

#include "core/strategy.h"

static OfsVerdict
reject(const OfsDispute *dispute)
{
	return OFS_VERDICT_CONFLICT;
}

static OfsVerdict
client_wins(const OfsDispute *dispute)
{
	return OFS_VERDICT_WRITE;
}

static OfsVerdict
server_wins(const OfsDispute *dispute)
{
	return OFS_VERDICT_KEEP;
}

/* A tie is the server's. */
static OfsVerdict
last_write_wins(const OfsDispute *dispute)
{
	return dispute->newer > 0 ? OFS_VERDICT_WRITE : OFS_VERDICT_KEEP;
}

/* A row can't be changed and gone at the same time. */
static OfsVerdict
merge(const OfsDispute *dispute)
{
	return dispute->deletes || dispute->gone ? OFS_VERDICT_CONFLICT : OFS_VERDICT_MERGE;
}

static OfsVerdict
merge_column(const OfsColumnDispute *dispute)
{
	if (!dispute->touched)
		return OFS_VERDICT_WRITE;
	return dispute->mergeable ? OFS_VERDICT_MERGE : OFS_VERDICT_CONFLICT;
}

/* A deletion comes now, and wins. */
static OfsVerdict
field_lww(const OfsDispute *dispute)
{
	if (dispute->deletes)
		return OFS_VERDICT_WRITE;
	return dispute->gone ? OFS_VERDICT_KEEP : OFS_VERDICT_MERGE;
}

static OfsVerdict
function(const OfsDispute *dispute)
{
	return OFS_VERDICT_ASK;
}

static const OfsStrategy strategies[] =
{
	{"reject", "a conflict: the push fails, or skips the record",
	false, false, false, reject, NULL},
	{"client_wins", "what was sent is written",
	false, false, false, client_wins, NULL},
	{"server_wins", "the row stays as it is, and the device is told",
	false, false, false, server_wins, NULL},
	{"last_write_wins", "the later value of the column updated_at wins, the server's in a tie",
	true, false, false, last_write_wins, NULL},
	{"merge", "column by column; only the same scalar changed on both sides is a conflict",
	false, true, false, merge, merge_column},
	{"field_lww", "field by field, the later hybrid logical clock; who has none writes at the time of the push",
	false, true, true, field_lww, NULL},
	{OFS_STRATEGY_FUNCTION, "(base jsonb, local jsonb, server jsonb) returns jsonb, which decides",
	false, true, false, function, NULL}
};

const OfsStrategy *
ofs_strategy_find(const char *name)
{
	for (int i = 0; i < (int) lengthof(strategies); i++)
	{
		if (strcmp(strategies[i].name, name) == 0)
			return &strategies[i];
	}
	return NULL;
}

void
ofs_strategy_list(StringInfo out)
{
	for (int i = 0; i < (int) lengthof(strategies); i++)
	{
		bool		is_name = strcmp(strategies[i].name, OFS_STRATEGY_FUNCTION) != 0;

		appendStringInfo(out, "%s%s: %s", i > 0 ? "\n" : "", is_name ? strategies[i].name : "the name of a function",
						 strategies[i].description);
	}
}
