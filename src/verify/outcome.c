/*
 * outcome.c
 *		What a device is told of a row: by its pull, by tombstones; and who pushed the row last.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/query.h"
#include "base/spi.h"
#include "base/sqltext.h"
#include "catalog/pg_type.h"
#include "catalog/policy.h"
#include "catalog/pushlog.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "verify/explain.h"

#define MAX_SHOWN 10			/* tombstones */

/* ---------- tombstones ---------- */

typedef struct Tombstones
{
	int			count;
	int64		versions[MAX_SHOWN];	/* the latest first */
	const char *times[MAX_SHOWN];
	bool		visible[MAX_SHOWN];
} Tombstones;

static char *
tombstone_query(OfsExplain *x, const char *columns)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM %s d WHERE ", columns, ofs_relation_name(x->table->tombstone));
	for (int i = 0; i < x->table->nkey; i++)
	{
		const char *column = psprintf("d.%s", quote_identifier(get_attname(x->table->relid, x->table->key[i], false)));
		const char *part = psprintf("$%d", i + 1);

		appendStringInfoString(&sql, i > 0 ? " AND " : "");
		ofs_append_equal(&sql, column, part, x->table->key_types[i]);
		ofs_append_same(&sql, column, part, x->table->relid, x->table->key[i]);
	}
	appendStringInfoString(&sql, " ORDER BY d." OFS_TOMB_VERSION " DESC");
	return sql.data;
}

static Datum
value_of(uint64 row, int column)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
}

/* As the owner: all there are. */
static void
find_tombstones(OfsExplain *x, void *arg)
{
	Tombstones *found = arg;
	MemoryContext old;

	found->count = (int) ofs_explain_select(x, tombstone_query(x, "d." OFS_TOMB_VERSION ", d." OFS_TOMB_AT), MAX_SHOWN);
	old = MemoryContextSwitchTo(x->context);
	for (int i = 0; i < found->count; i++)
	{
		found->versions[i] = DatumGetInt64(value_of(i, 1));
		found->times[i] = ofs_explain_timestamp(DatumGetTimestampTz(value_of(i, 2)));
	}
	MemoryContextSwitchTo(old);
}

/* As the role: which it may know of. */
static void
find_visible(OfsExplain *x, void *arg)
{
	Tombstones *found = arg;
	uint64		count = ofs_explain_select(x, tombstone_query(x, "d." OFS_TOMB_VERSION), MAX_SHOWN);

	for (uint64 row = 0; row < count; row++)
		for (int i = 0; i < found->count; i++)
			if (found->versions[i] == DatumGetInt64(value_of(row, 1)))
				found->visible[i] = true;
}

static const char *
seen_or_not(OfsExplain *x, int64 version)
{
	if (x->since->kind != OFS_SINCE_NUMBER && x->since->kind != OFS_SINCE_EXACT)
		return "";
	return ofs_since_covers(x->since, x->table, version) ? ", seen by the cursor" : ", unseen by the cursor";
}

void
ofs_explain_tombstones(OfsExplain *x)
{
	Tombstones	found = {0};
	const char *error = ofs_explain_as_owner(x, find_tombstones, &found);

	if (error)
	{
		ofs_explain_say(x, "tombstone", "the table's owner can't read them: %s", error);
		return;
	}
	if (found.count == 0)
		ofs_explain_say(x, "tombstone", "none: the row was not deleted, nor moved between views, as far as is remembered");
	error = found.count > 0 ? ofs_explain_as_role(x, find_visible, &found) : NULL;
	for (int i = 0; i < found.count; i++)
		ofs_explain_say(x, "tombstone", "version " INT64_FORMAT ", %s%s, %s %s", found.versions[i], found.times[i],
						seen_or_not(x, found.versions[i]),
						error ? "whether it shows can't be told: for" :
						found.visible[i] ? "shown to" : "hidden from",
						error ? psprintf("%s, %s", x->role_name, error) : x->role_name);
}

/* ---------- the pull ---------- */

typedef struct Pull
{
	const char *dialect;
	const char *reason;			/* why the collection is replaced, or NULL */
	const char *unsure;			/* "t": that may be so in this session alone */
	const char *list;			/* where the id stands, or NULL */
} Pull;

static Datum
text_or_null(const char *value, char *null)
{
	*null = value ? ' ' : 'n';
	return value ? CStringGetTextDatum(value) : (Datum) 0;
}

static const char *
get_text(OfsExplain *x, int column)
{
	MemoryContext old = MemoryContextSwitchTo(x->context);
	char	   *value = SPI_processed == 0 ? NULL :
		SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);

	if (value)
		value = pstrdup(value);
	MemoryContextSwitchTo(old);
	return value;
}

static void
ask_reason(OfsExplain *x, void *arg)
{
	Pull	   *pull = arg;
	Oid			types[] = {TEXTOID, REGCLASSOID, JSONOID};
	char		nulls[] = "   ";
	Datum		values[3];

	values[0] = text_or_null(x->last_pulled_at, &nulls[0]);
	values[1] = ObjectIdGetDatum(x->table->relid);
	values[2] = text_or_null(x->filters, &nulls[2]);
	if (SPI_execute_with_args("SELECT dialect, reason, unsure FROM offsync_internal.pull_reason($1, $2, $3)", 3, types, values,
							  nulls, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not ask for the reason");
	pull->dialect = get_text(x, 1);
	pull->reason = get_text(x, 2);
	pull->unsure = get_text(x, 3);
}

static void
ask_pull(OfsExplain *x, void *arg)
{
	Pull	   *pull = arg;
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONOID};
	char		nulls[] = "     ";
	Datum		values[5];

	values[0] = text_or_null(x->last_pulled_at, &nulls[0]);
	values[1] = CStringGetTextDatum(x->table->collection);
	values[2] = CStringGetTextDatum(pull->dialect);
	values[3] = CStringGetTextDatum(x->id);
	values[4] = text_or_null(x->filters, &nulls[4]);
	if (SPI_execute_with_args("WITH pull AS MATERIALIZED ("
							  "SELECT offsync.pull_changes(last_pulled_at => $1, collections => ARRAY[$2], dialect => $3,"
							  " filters => $5)"
							  " OPERATOR(pg_catalog.->) 'changes' OPERATOR(pg_catalog.->) $2 AS lists)"
							  " SELECT v.list FROM pull, (VALUES ('created'), ('updated'), ('deleted')) v(list)"
							  " WHERE EXISTS (SELECT FROM pg_catalog.json_array_elements(lists OPERATOR(pg_catalog.->) v.list) e(j)"
							  " WHERE $4 OPERATOR(pg_catalog.=) CASE"
							  " WHEN pg_catalog.json_typeof(j) OPERATOR(pg_catalog.=) 'object' THEN j OPERATOR(pg_catalog.->>) 'id'"
							  " ELSE j OPERATOR(pg_catalog.#>>) '{}' END)",
							  5, types, values, nulls, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not ask for the answer");
	pull->list = get_text(x, 1);
}

/* All that the role sees comes, and what doesn't come is gone. */
static void
say_whole(OfsExplain *x)
{
	const char *first = x->since->kind == OFS_SINCE_FIRST ? "" : ", and the device drops it if it has it";

	if (x->visible && !x->gone)
		ofs_explain_say(x, "answer", "the pull brings the row, with all others that %s sees", x->role_name);
	else if (x->visible)
		ofs_explain_say(x, "answer", "the pull does not bring the row, since it is soft-deleted%s", first);
	else
		ofs_explain_say(x, "answer", "the pull does not bring the row, since %s does not see it%s", x->role_name, first);
}

static void
say_listed(OfsExplain *x, const Pull *pull)
{
	bool		seen = x->exists && ofs_since_covers(x->since, x->table, x->version);

	if (pull->list)
		ofs_explain_say(x, "answer", "the pull tells of the id under \"%s\"%s", pull->list,
						pull->reason == NULL && seen && strcmp(pull->list, "deleted") != 0 ?
						", although the version is seen: the row came into view, or its collection's echo is due" : "");
	else if (!x->visible)
		ofs_explain_say(x, "answer", "the pull tells nothing of the id: %s does not see the row, and has lost none by this key since the cursor",
						x->role_name);
	else
		ofs_explain_say(x, "answer", "the pull tells nothing of the id: %s", !x->filters ? "the device has had this version" :
						seen ? "the device has had this version, or its filters leave the row out" : "its filters leave the row out");
}

static void
say_collection(OfsExplain *x, const Pull *pull)
{
	if (x->since->kind == OFS_SINCE_FIRST)
		ofs_explain_say(x, "collection", "a first sync: all of it");
	else if (pull->reason == NULL)
		ofs_explain_say(x, "collection", "incremental: what changed since the cursor");
	else
		ofs_explain_say(x, "collection", "replacement: %s%s", pull->reason, pull->unsure[0] != 't' ? "" :
						"; or it only seems so here: for its policies the session's user and settings count, too, and the device's session has its own");
}

/* A cursor may know in which of the two ways its gateway gives claims: here it is the one that the cursor fits. */
static const char *
find_reason(OfsExplain *x, Pull *pull)
{
	const char *error = ofs_explain_as_role(x, ask_reason, pull);

	if (error || pull->unsure[0] != 't')
		return error;
	x->together = true;
	error = ofs_explain_as_role(x, ask_reason, pull);
	x->together = error == NULL && pull->unsure[0] != 't';
	return error;
}

void
ofs_explain_answer(OfsExplain *x)
{
	Pull		pull = {0};
	const char *error = find_reason(x, &pull);

	if (error == NULL)
	{
		say_collection(x, &pull);
		/* that may be much; with filters it is what the device wants to hold */
		if ((x->since->kind == OFS_SINCE_FIRST || pull.reason) && !x->filters)
		{
			say_whole(x);
			return;
		}
		error = ofs_explain_as_role(x, ask_pull, &pull);
	}
	if (error)
		ofs_explain_say(x, "answer", "the pull fails: %s", error);
	else
		say_listed(x, &pull);
}

/* ---------- the last push ---------- */

void
ofs_explain_push(OfsExplain *x)
{
	OfsOwnerSwitch sw;
	Oid			type = INT8OID;
	Datum		record = Int64GetDatum(ofs_pushlog_record(x->table, x->id));
	int64		version;
	char	   *subject;
	Oid			role;

	SPI_connect();
	ofs_owner_begin(&sw);
	if (SPI_execute_with_args("SELECT version, at, role, subject, client_id FROM offsync_internal.push_log"
							  " WHERE $1 OPERATOR(pg_catalog.=) ANY (records) ORDER BY version DESC", 1, &type,
							  &record, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the push log");
	ofs_owner_end(&sw);
	if (SPI_processed == 0)
		ofs_explain_say(x, "last push", "none is kept: a push without a client_id leaves no note, and prune forgets old ones");
	else
	{
		version = DatumGetInt64(value_of(0, 1));
		role = DatumGetObjectId(value_of(0, 3));
		subject = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 4);
		ofs_explain_say(x, "last push", "version " INT64_FORMAT ", %s, by %s%s from client \"%s\"%s", version,
						ofs_explain_timestamp(DatumGetTimestampTz(value_of(0, 2))),
						GetUserNameFromId(role, true) ? GetUserNameFromId(role, true) : "a role that is gone",
						subject ? psprintf(" (subject \"%s\")", subject) : "",
						SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 5),
						!x->exists ? "" : version == x->version ? "; the row is as it left it" :
						"; the row was written again since");
	}
	SPI_finish();
}
