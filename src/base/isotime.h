/*
 * isotime.h
 *		ISO 8601 timestamps, whatever the session's settings.
 */
#ifndef OFS_ISOTIME_H
#define OFS_ISOTIME_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* Parse a timestamp; one without an offset is UTC.  False when it is none. */
extern bool ofs_parse_timestamptz(const char *text, TimestampTz *result);

#endif							/* OFS_ISOTIME_H */
