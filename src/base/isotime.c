/*
 * isotime.c
 *		ISO 8601 timestamps, whatever the session's settings.
 *
 * PostgreSQL's own decoder, with its zone pinned, and without the error that its input
 * function would raise: the caller has a better one.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/isotime.h"
#include "pgtime.h"
#include "utils/timestamp.h"

#define MAX_LEN 64

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

	if (strlen(text) >= MAX_LEN || text[0] < '0' || text[0] > '9' ||
		ParseDateTime(text, work, sizeof(work), field, ftype, MAXDATEFIELDS, &nf) != 0)
		return false;

	session_timezone = pg_tzset("GMT");
	error = ofs_compat_decode_datetime(field, ftype, nf, &dtype, &tm, &fsec, &tz);
	session_timezone = saved;
	return error == 0 && dtype == DTK_DATE && tm2timestamp(&tm, fsec, &tz, result) == 0;
}
