/*
 * drift.c
 *		The two calls of Drift apps that sync through Supabase, as they make them.
 *
 * Such a client keeps no cursor but a time, and merges by the column updated_at, which it writes itself: of what a pull
 * brings it takes only what is later than its own.
 *
 *	pull	last_pulled_at is what the last push answered, or the client's clock of two minutes ago, in UTC.  An
 *			answer's timestamp, cursor and strategy are ignored, so a replacement names what is gone, too.
 *	push	last_pulled_at is the client's clock, its local time without an offset, as it was just before the
 *			pull that went ahead of this push.  Answered is one time, which becomes the next last_pulled_at.
 *
 * That time decides two things.  The next pull starts there (less the timeline's margin): it must not lie behind what the
 * client's last pull saw.  And the client pushes next what it dates from then on: it must not lie ahead of the clock
 * that dates it, as it was when the client chose what to push.  So it is the client's own clock, unless that is
 * ahead of the server's.  When the pull was is unknown then; what is answered is the server's clock of two minutes ago.
 *
 * A local time's offset is the multiple of 15 minutes which brings it nearest to the server's clock: no zone has
 * any other.  Times within the records are of the same clock.
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "base/isotime.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "pull/call.h"
#include "push/call.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(offsync_drift_pull);
PG_FUNCTION_INFO_V1(offsync_drift_push);

#define QUARTER			(15 * USECS_PER_MINUTE)
#define EASTERNMOST		(14 * USECS_PER_HOUR)
#define WESTERNMOST		(-12 * USECS_PER_HOUR)
#define AHEAD			USECS_PER_MINUTE	/* a clock that is more than this is wrong */
#define BACK			(2 * USECS_PER_MINUTE)	/* as the client itself goes when it has nothing to push */

/* ---------- times ---------- */

static bool
is_integer(const char *text)
{
	size_t		len = strlen(text);

	return len > 0 && len < 16 && text[strspn(text, "0123456789")] == '\0';
}

/* An ISO 8601 time, or milliseconds since 1970. */
static TimestampTz
parse_time(const char *text)
{
	TimestampTz at;

	if (is_integer(text))
		return strtoll(text, NULL, 10) * 1000 + OFS_UNIX_EPOCH;
	if (!ofs_parse_timestamptz(text, &at))
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("malformed last_pulled_at"),
				 errdetail("It is no ISO 8601 timestamp.")));
	return at;
}

/* How far ahead of UTC a clock of local time is; 0 where it is so wrong that no zone explains it. */
static int64
find_zone(TimestampTz local, TimestampTz now)
{
	int64		ahead = local - now;
	int64		zone = (ahead + (ahead < 0 ? -QUARTER : QUARTER) / 2) / QUARTER * QUARTER;

	return zone >= WESTERNMOST && zone <= EASTERNMOST ? zone : 0;
}

/* ---------- pull ---------- */

/* The time in UTC; a local one, whose zone nobody knows, may be that of the easternmost. */
static char *
pull_since(const char *text, TimestampTz now)
{
	TimestampTz at = parse_time(text);

	if (ofs_iso_is_local(text))
		at -= EASTERNMOST;
	/* the server forgets sooner than that, and four figures are enough for the year */
	return ofs_iso_instant(Max(OFS_UNIX_EPOCH, Min(at, now)));
}

static bool
asks_for_rows(const char *tombstones)
{
	if (tombstones != NULL && strcmp(tombstones, "rows") == 0)
		return true;
	if (tombstones != NULL && strcmp(tombstones, "ids") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown value \"%s\" for tombstones", tombstones),
				 errhint("Choose one of \"ids\", \"rows\".")));
	return false;
}

/* collections; last_pulled_at: a time; tombstones: are soft-deleted rows told of as ids, or as rows? */
Datum
offsync_drift_pull(PG_FUNCTION_ARGS)
{
	OfsPullCall call = {0};
	char	   *since = ofs_argument_text(fcinfo, 1);

	if (!PG_ARGISNULL(0))
		call.collections = PG_GETARG_ARRAYTYPE_P(0);
	if (since != NULL && since[0] != '\0')
		call.last_pulled_at = pull_since(since, GetCurrentTimestamp());
	call.additive = true;
	call.soft_rows = asks_for_rows(ofs_argument_text(fcinfo, 2));
	call.dialect = "json";
	PG_RETURN_TEXT_P(ofs_pull_answer(&call));
}

/* ---------- push ---------- */

/* What time is it on the device, and what will be answered? */
static void
read_clock(const char *text, TimestampTz now, OfsPushClock *clock)
{
	clock->now = now;
	clock->zone = 0;
	clock->next = now - BACK;
	if (text == NULL || text[0] == '\0')
		return;
	clock->now = parse_time(text);
	if (!is_integer(text) && ofs_iso_is_local(text))
		clock->zone = find_zone(clock->now, now);
	clock->now -= clock->zone;
	if (clock->now > now + AHEAD)
		return;
	clock->next = Max(OFS_UNIX_EPOCH, Min(clock->now, now));
}

static List *
names_of(ArrayType *array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	List	   *names = NIL;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (!nulls[i])
			names = lappend(names, TextDatumGetCString(elements[i]));
	}
	return names;
}

/* _changes; last_pulled_at: the device's clock; server_columns: those that it doesn't write. */
Datum
offsync_drift_push(PG_FUNCTION_ARGS)
{
	OfsPushCall call = {0};
	OfsPushClock clock;

	read_clock(ofs_argument_text(fcinfo, 1), GetCurrentTimestamp(), &clock);
	if (!PG_ARGISNULL(0))
		call.changes = PG_GETARG_TEXT_PP(0);
	if (!PG_ARGISNULL(2))
		call.server_columns = names_of(PG_GETARG_ARRAYTYPE_P(2));
	call.clock = &clock;
	call.dialect = "json";
	(void) ofs_push_store(&call, "offsync.drift_push()");
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("\"%s\"", ofs_iso_instant(clock.next))));
}
