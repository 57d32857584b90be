/*
 * isotime.c
 *		ISO 8601 timestamps, whatever the session's settings.
 *
 * PostgreSQL's own decoder, with its zone pinned, and without the error that its input
 * function would raise: the caller has a better one.  It is asked only about what has ISO 8601's
 * form, since the rest that it knows depends on settings (DateStyle) or raises errors (names of zones).
 */
#include "postgres.h"

#include <ctype.h>

#include "base/compat.h"
#include "base/isotime.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#define MAX_LEN 64
#define DATE_LEN 10

/* YYYY-MM-DD, and perhaps a time with an offset in figures. */
static bool
has_iso_form(const char *text)
{
	static const char form[] = "0000-00-00";

	for (int i = 0; form[i]; i++)
		if (form[i] == '0' ? !isdigit((unsigned char) text[i]) : text[i] != form[i])
			return false;
	text += strlen(form);
	if (*text == '\0')
		return true;
	return strchr("Tt ", *text) != NULL && text[1] != '\0' &&
		text[1 + strspn(text + 1, "0123456789:.,Zz+-")] == '\0';
}

bool
ofs_iso_is_local(const char *text)
{
	/* behind the date a sign can only be an offset's */
	return has_iso_form(text) && strpbrk(text + DATE_LEN, "Zz+-") == NULL;
}

/* A stamp in whole milliseconds, which every device can hold, or as coarse as the type; not before the given one. */
static int64
round_up(int64 stamp, int32 typmod)
{
	int64		unit = 1000;

	for (int i = typmod; typmod >= 0 && i < 3; i++)
		unit *= 10;
	return stamp % unit > 0 ? stamp - stamp % unit + unit : stamp - stamp % unit;
}

bool
ofs_stamp_later(Oid type, int32 typmod, Datum stamp, bool isnull, TimestampTz least, Datum *later)
{
	bool		millis = type == INT8OID;
	int64		step = millis ? 1 : 1000;
	int64		found = millis ? (least + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY) / 1000 : least;

	if (!millis && type != TIMESTAMPTZOID && type != TIMESTAMPOID)
		return false;
	if (!isnull && (DatumGetInt64(stamp) >= PG_INT64_MAX - USECS_PER_SEC || DatumGetInt64(stamp) == DT_NOBEGIN))
		return false;
	if (!isnull)
		found = Max(found, DatumGetInt64(stamp) + step);
	if (!millis)
		found = round_up(found, typmod);
	/* behind the last time that there is nothing comes */
	if (!millis && !IS_VALID_TIMESTAMP(found))
		return false;
	*later = Int64GetDatum(found);
	return true;
}

char *
ofs_iso_instant(TimestampTz at)
{
	char		text[MAXDATELEN + 1];

	JsonEncodeDateTime(text, TimestampTzGetDatum(at), TIMESTAMPOID, NULL);
	return psprintf("%sZ", text);
}

bool
ofs_parse_timestamptz(const char *text, TimestampTz *result)
{
	char		work[MAX_LEN + MAXDATEFIELDS];
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	int			nf,
				dtype,
				tz,
				error;
	struct pg_tm tm;
	fsec_t		fsec;
	pg_tz	   *saved = session_timezone;

	if (strlen(text) >= MAX_LEN || !has_iso_form(text) ||
		ParseDateTime(text, work, sizeof(work), field, ftype, MAXDATEFIELDS, &nf) != 0)
		return false;

	session_timezone = pg_tzset("GMT");
	error = ofs_compat_decode_datetime(field, ftype, nf, &dtype, &tm, &fsec, &tz);
	session_timezone = saved;
	return error == 0 && dtype == DTK_DATE && tm2timestamp(&tm, fsec, &tz, result) == 0;
}
