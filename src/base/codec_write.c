/*
 * codec_write.c
 *		Writers for single values.
 *
 * The types that make up nearly all columns are written by hand, in one pass
 * into the output; everything else is its text form as a JSON string.
 *
 * The json dialect is PostgreSQL's own to_json, but for what has to read the
 * same in every session and to be readable again: instants stand in UTC with
 * a Z, binary data in base64, catalog objects by OID, and a type's own cast
 * to json (hstore has one) is not used.
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "common/base64.h"
#include "common/shortest_dec.h"
#include "datatype/timestamp.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/codec_internal.h"
#include "base/compat.h"
#include "base/put.h"

#define UNIX_EPOCH_OFFSET_MS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (SECS_PER_DAY * INT64CONST(1000)))

static void
write_text(OfsCodec *codec, StringInfo out, Datum value)
{
	ofs_textio_write_json(&codec->io, out, value);
}

static void
write_bool(OfsCodec *codec, StringInfo out, Datum value)
{
	if (DatumGetBool(value))
		ofs_put_literal(out, "true");
	else
		ofs_put_literal(out, "false");
}

static inline void
append_int64(StringInfo out, int64 value)
{
	char	   *p = ofs_put_room(out, MAXINT8LEN + 1);

	ofs_put_end(out, p + pg_lltoa(value, p));
}

static inline void
append_int32(StringInfo out, int32 value)
{
	char	   *p = ofs_put_room(out, MAXINT8LEN + 1);

	ofs_put_end(out, p + pg_ltoa(value, p));
}

static void
write_int2(OfsCodec *codec, StringInfo out, Datum value)
{
	append_int32(out, DatumGetInt16(value));
}

static void
write_int4(OfsCodec *codec, StringInfo out, Datum value)
{
	append_int32(out, DatumGetInt32(value));
}

static void
write_int8(OfsCodec *codec, StringInfo out, Datum value)
{
	append_int64(out, DatumGetInt64(value));
}

/* JSON has no such numbers: PostgreSQL's own JSON has strings instead, WatermelonDB takes null. */
static void
append_non_finite(OfsCodec *codec, StringInfo out, double value)
{
	if (!OFS_DIALECT_IS_JSON(codec->dialect))
		appendStringInfoString(out, "null");
	else if (isnan(value))
		appendStringInfoString(out, "\"NaN\"");
	else
		appendStringInfoString(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
}

static void
write_float4(OfsCodec *codec, StringInfo out, Datum value)
{
	float4		number = DatumGetFloat4(value);

	if (isfinite(number))
	{
		char	   *p = ofs_put_room(out, FLOAT_SHORTEST_DECIMAL_LEN);

		ofs_put_end(out, p + float_to_shortest_decimal_buf(number, p));
	}
	else
		append_non_finite(codec, out, number);
}

static void
write_float8(OfsCodec *codec, StringInfo out, Datum value)
{
	float8		number = DatumGetFloat8(value);

	if (isfinite(number))
	{
		char	   *p = ofs_put_room(out, DOUBLE_SHORTEST_DECIMAL_LEN);

		ofs_put_end(out, p + double_to_shortest_decimal_buf(number, p));
	}
	else
		append_non_finite(codec, out, number);
}

static void
write_numeric(OfsCodec *codec, StringInfo out, Datum value)
{
	const char *special = ofs_numeric_write(out, value);

	if (special == NULL)
		return;
	if (OFS_DIALECT_IS_JSON(codec->dialect))
		ofs_json_text(out, special);
	else
		ofs_put_literal(out, "null");
}

/*
 * Epoch milliseconds, rounded down on both sides of 1970.  The microseconds
 * are divided before the epoch moves: the other way round the last years of
 * the type's range would overflow.
 */
static void
write_millis(OfsCodec *codec, StringInfo out, Datum value)
{
	int64		micros = DatumGetTimestampTz(value);
	int64		millis = micros / 1000;

	if (TIMESTAMP_NOT_FINITE(micros))
	{
		appendStringInfoString(out, "null");
		return;
	}
	if (micros % 1000 < 0)
		millis--;
	append_int64(out, millis + UNIX_EPOCH_OFFSET_MS);
}

/* As dates are mostly: of four digits in the year. */
#define ISO_DATE_LEN	10
#define ISO_TIME_LEN	15		/* with microseconds */

static inline char *
put_date(char *p, int year, int month, int day)
{
	p = ofs_put_four(p, year);
	*p++ = '-';
	p = ofs_put_two(p, month);
	*p++ = '-';
	return ofs_put_two(p, day);
}

static char *
put_time(char *p, int64 micros)
{
	int			seconds = micros / USECS_PER_SEC;
	int			fraction = micros % USECS_PER_SEC;

	p = ofs_put_two(p, seconds / SECS_PER_HOUR);
	*p++ = ':';
	p = ofs_put_two(p, seconds / SECS_PER_MINUTE % MINS_PER_HOUR);
	*p++ = ':';
	p = ofs_put_two(p, seconds % SECS_PER_MINUTE);
	if (fraction == 0)
		return p;
	*p++ = '.';
	p = ofs_put_two(p, fraction / 10000);
	p = ofs_put_four(p, fraction % 10000);
	while (p[-1] == '0')
		p--;
	return p;
}

/* Years that don't have four digits, years before Christ, infinity: PostgreSQL's own code; zone is "Z" or empty. */
static void
write_rare_time(StringInfo out, Datum value, Oid typid, const char *zone)
{
	char		text[MAXDATELEN + 1];
	char	   *era;

	JsonEncodeDateTime(text, value, typid, NULL);
	era = strchr(text, ' ');
	if (!isdigit((unsigned char) *text))
		zone = "";				/* infinity, and minus infinity */
	appendStringInfo(out, "\"%.*s%s%s\"", era ? (int) (era - text) : (int) strlen(text), text, zone, era ? era : "");
}

static void
write_iso_date(OfsCodec *codec, StringInfo out, Datum value)
{
	DateADT		date = DatumGetDateADT(value);
	int			year = 0;
	int			month,
				day;
	char	   *p;

	if (!DATE_NOT_FINITE(date))
		j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	if (year < 1 || year > 9999)
	{
		write_rare_time(out, value, DATEOID, "");
		return;
	}
	p = ofs_put_room(out, ISO_DATE_LEN + 2);
	*p++ = '"';
	p = put_date(p, year, month, day);
	*p++ = '"';
	ofs_put_end(out, p);
}

/* The UTC clock reading of an instant is what the timestamp of the same number shows. */
static inline void
write_iso(StringInfo out, Datum value, const char *zone)
{
	Timestamp	micros = DatumGetTimestamp(value);
	Timestamp	days = micros / USECS_PER_DAY;
	Timestamp	time = micros % USECS_PER_DAY;
	int			year = 0;
	int			month,
				day;
	char	   *p;

	if (time < 0)
	{
		time += USECS_PER_DAY;
		days--;
	}
	if (!TIMESTAMP_NOT_FINITE(micros))
		j2date(days + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	if (year < 1 || year > 9999)
	{
		write_rare_time(out, value, TIMESTAMPOID, zone);
		return;
	}
	p = ofs_put_room(out, ISO_DATE_LEN + ISO_TIME_LEN + 4);
	*p++ = '"';
	p = put_date(p, year, month, day);
	*p++ = 'T';
	p = put_time(p, time);
	if (*zone)
		*p++ = *zone;
	*p++ = '"';
	ofs_put_end(out, p);
}

static void
write_iso_timestamp(OfsCodec *codec, StringInfo out, Datum value)
{
	write_iso(out, value, "");
}

static void
write_iso_instant(OfsCodec *codec, StringInfo out, Datum value)
{
	write_iso(out, value, "Z");
}

/* JSON's form, mended: rounded down to milliseconds, of which there are always three figures. */
void
ofs_codec_put_moment(StringInfo out, TimestampTz at)
{
	StringInfoData iso;
	int			micros = at % 1000;
	int			start = out->len;

	if (!TIMESTAMP_NOT_FINITE(at))
		at -= micros < 0 ? micros + 1000 : micros;
	initStringInfo(&iso);
	write_iso(&iso, TimestampTzGetDatum(at), "Z");
	iso.data[--iso.len] = '\0';	/* the quotes */
	if (iso.len < ISO_DATE_LEN + 2 || iso.data[ISO_DATE_LEN + 1] != 'T' || iso.data[iso.len - 1] != 'Z')
		appendStringInfoString(out, iso.data + 1);
	else
	{
		iso.data[iso.len - 1] = '\0';
		appendStringInfo(out, "%.*s %s%s", ISO_DATE_LEN, iso.data + 1, iso.data + ISO_DATE_LEN + 2,
						 strchr(iso.data, '.') ? "" : ".");
		while (out->len - start < (int) strlen("2024-01-31 00:00:00.000"))
			appendStringInfoChar(out, '0');
		appendStringInfoChar(out, 'Z');
	}
	pfree(iso.data);
}

static void
write_moment(OfsCodec *codec, StringInfo out, Datum value)
{
	ofs_put_char(out, '"');
	ofs_codec_put_moment(out, DatumGetTimestampTz(value));
	ofs_put_char(out, '"');
}

static void
write_base64(OfsCodec *codec, StringInfo out, Datum value)
{
	bytea	   *bytes = DatumGetByteaPP(value);
	int			len = VARSIZE_ANY_EXHDR(bytes);
	int			room = pg_b64_enc_len(len);
	int			written;

	ofs_put_char(out, '"');
	enlargeStringInfo(out, room);
	written = pg_b64_encode((const OfsBase64Byte *) VARDATA_ANY(bytes), len,
							out->data + out->len, room);
	if (written < 0)
		elog(ERROR, "could not encode base64 data");
	out->len += written;
	ofs_put_char(out, '"');
	if ((Pointer) bytes != DatumGetPointer(value))
		pfree(bytes);
}

static void
write_json(OfsCodec *codec, StringInfo out, Datum value)
{
	ofs_textio_write(&codec->io, out, value);
}

static const struct
{
	Oid			typid;
	OfsCodecWriter watermelondb;
	OfsCodecWriter json;
}			writers[] =
{
	{BOOLOID, write_bool, write_bool},
	{INT2OID, write_int2, write_int2},
	{INT4OID, write_int4, write_int4},
	{INT8OID, write_int8, write_int8},
	{FLOAT4OID, write_float4, write_float4},
	{FLOAT8OID, write_float8, write_float8},
	{NUMERICOID, write_numeric, write_numeric},
	{DATEOID, write_iso_date, write_iso_date},
	{TIMESTAMPOID, write_millis, write_iso_timestamp},
	{TIMESTAMPTZOID, write_millis, write_iso_instant},
	{BYTEAOID, write_base64, write_base64},
	{JSONOID, write_text, write_json},
	{JSONBOID, write_text, write_json}
};

OfsCodecWriter
ofs_codec_writer(Oid basetype, OfsDialect dialect)
{
	if (dialect == OFS_DIALECT_POCKETBASE && (basetype == TIMESTAMPOID || basetype == TIMESTAMPTZOID))
		return write_moment;
	for (int i = 0; i < lengthof(writers); i++)
	{
		if (writers[i].typid == basetype)
			return OFS_DIALECT_IS_JSON(dialect) ? writers[i].json : writers[i].watermelondb;
	}
	return write_text;
}
