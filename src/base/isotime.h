/*
 * isotime.h
 *		ISO 8601 timestamps, whatever the session's settings.
 */
#ifndef OFS_ISOTIME_H
#define OFS_ISOTIME_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* 1970, with which clients begin. */
#define OFS_UNIX_EPOCH	((UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)

/* Parse a timestamp; one without an offset is UTC.  False when it is none. */
extern bool ofs_parse_timestamptz(const char *text, TimestampTz *result);

/* Is it a date and a time of ISO 8601's form without an offset: the reading of some clock on a wall? */
extern bool ofs_iso_is_local(const char *text);

/*
 * A stamp just behind another one, or NULL, but not before "least": in a column that is a timestamp, with or without time
 * zone, or a bigint of milliseconds.  False where there is none.
 */
extern bool ofs_stamp_later(Oid type, int32 typmod, Datum stamp, bool isnull, TimestampTz least, Datum *later);

/* A timestamp in UTC, with a Z. */
extern char *ofs_iso_instant(TimestampTz at);

#endif							/* OFS_ISOTIME_H */
