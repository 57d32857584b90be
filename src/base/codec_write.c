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

#define UNIX_EPOCH_OFFSET_MS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (SECS_PER_DAY * INT64CONST(1000)))

/* True when none of eight bytes needs escaping in a JSON string. */
static inline bool
word_is_clean(uint64 word)
{
	const uint64 ones = UINT64CONST(0x0101010101010101);
	const uint64 quotes = word ^ (ones * '"');
	const uint64 slashes = word ^ (ones * '\\');
	uint64		found;

	/* the high bit of a byte is set where that byte is below the subtrahend */
	found = (word - ones * 0x20) & ~word;
	found |= (quotes - ones) & ~quotes;
	found |= (slashes - ones) & ~slashes;
	return (found & (ones * 0x80)) == 0;
}

/* The length of the run at the start of text that needs no escaping. */
static inline int
clean_run(const char *text, int len)
{
	int			n = 0;
	uint64		word;

	for (; n + (int) sizeof(word) <= len; n += sizeof(word))
	{
		memcpy(&word, text + n, sizeof(word));
		if (!word_is_clean(word))
			break;
	}
	while (n < len && (unsigned char) text[n] >= 0x20 && text[n] != '"' && text[n] != '\\')
		n++;
	return n;
}

static void
append_escape(StringInfo out, char c)
{
	switch (c)
	{
		case '"':
			appendBinaryStringInfo(out, "\\\"", 2);
			break;
		case '\\':
			appendBinaryStringInfo(out, "\\\\", 2);
			break;
		case '\b':
			appendBinaryStringInfo(out, "\\b", 2);
			break;
		case '\f':
			appendBinaryStringInfo(out, "\\f", 2);
			break;
		case '\n':
			appendBinaryStringInfo(out, "\\n", 2);
			break;
		case '\r':
			appendBinaryStringInfo(out, "\\r", 2);
			break;
		case '\t':
			appendBinaryStringInfo(out, "\\t", 2);
			break;
		default:
			appendStringInfo(out, "\\u%04x", (unsigned char) c);
			break;
	}
}

void
ofs_json_string(StringInfo out, const char *text, int len)
{
	appendStringInfoChar(out, '"');
	while (len > 0)
	{
		int			run = clean_run(text, len);

		appendBinaryStringInfo(out, text, run);
		text += run;
		len -= run;
		if (len > 0)
		{
			append_escape(out, *text);
			text++;
			len--;
		}
	}
	appendStringInfoChar(out, '"');
}

static void
write_text(OfsCodec *codec, StringInfo out, Datum value)
{
	ofs_textio_write_json(&codec->io, out, value);
}

static void
write_bool(OfsCodec *codec, StringInfo out, Datum value)
{
	appendStringInfoString(out, DatumGetBool(value) ? "true" : "false");
}

static void
append_int64(StringInfo out, int64 value)
{
	char		digits[MAXINT8LEN + 1];

	appendBinaryStringInfo(out, digits, pg_lltoa(value, digits));
}

static void
write_int2(OfsCodec *codec, StringInfo out, Datum value)
{
	append_int64(out, DatumGetInt16(value));
}

static void
write_int4(OfsCodec *codec, StringInfo out, Datum value)
{
	append_int64(out, DatumGetInt32(value));
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
	if (codec->dialect != OFS_DIALECT_JSON)
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
	char		digits[FLOAT_SHORTEST_DECIMAL_LEN];

	if (isfinite(number))
		appendBinaryStringInfo(out, digits, float_to_shortest_decimal_buf(number, digits));
	else
		append_non_finite(codec, out, number);
}

static void
write_float8(OfsCodec *codec, StringInfo out, Datum value)
{
	float8		number = DatumGetFloat8(value);
	char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (isfinite(number))
		appendBinaryStringInfo(out, digits, double_to_shortest_decimal_buf(number, digits));
	else
		append_non_finite(codec, out, number);
}

static void
write_numeric(OfsCodec *codec, StringInfo out, Datum value)
{
	Numeric		number = DatumGetNumeric(value);
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));

	if (!numeric_is_nan(number) && !numeric_is_inf(number))
		appendStringInfoString(out, text);
	else if (codec->dialect == OFS_DIALECT_JSON)
		ofs_json_string(out, text, strlen(text));
	else
		appendStringInfoString(out, "null");
	pfree(text);
	if ((Pointer) number != DatumGetPointer(value))
		pfree(number);
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

static void
write_iso(StringInfo out, Datum value, Oid typid)
{
	char		text[MAXDATELEN + 1];

	JsonEncodeDateTime(text, value, typid, NULL);
	appendStringInfo(out, "\"%s\"", text);
}

static void
write_iso_date(OfsCodec *codec, StringInfo out, Datum value)
{
	write_iso(out, value, DATEOID);
}

static void
write_iso_timestamp(OfsCodec *codec, StringInfo out, Datum value)
{
	write_iso(out, value, TIMESTAMPOID);
}

/* The UTC clock reading of an instant is what the timestamp of the same number shows. */
static void
write_iso_instant(OfsCodec *codec, StringInfo out, Datum value)
{
	char		text[MAXDATELEN + 1];
	char	   *era;

	JsonEncodeDateTime(text, value, TIMESTAMPOID, NULL);
	if (TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(value)))
		appendStringInfo(out, "\"%s\"", text);
	else if ((era = strchr(text, ' ')) != NULL)
		appendStringInfo(out, "\"%.*sZ%s\"", (int) (era - text), text, era);
	else
		appendStringInfo(out, "\"%sZ\"", text);
}

static void
write_base64(OfsCodec *codec, StringInfo out, Datum value)
{
	bytea	   *bytes = DatumGetByteaPP(value);
	int			len = VARSIZE_ANY_EXHDR(bytes);
	int			room = pg_b64_enc_len(len);
	int			written;

	appendStringInfoChar(out, '"');
	enlargeStringInfo(out, room);
	written = pg_b64_encode((const OfsBase64Byte *) VARDATA_ANY(bytes), len,
							out->data + out->len, room);
	if (written < 0)
		elog(ERROR, "could not encode base64 data");
	out->len += written;
	out->data[out->len] = '\0';
	appendStringInfoChar(out, '"');
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
	for (int i = 0; i < lengthof(writers); i++)
	{
		if (writers[i].typid == basetype)
			return dialect == OFS_DIALECT_JSON ? writers[i].json : writers[i].watermelondb;
	}
	return write_text;
}
