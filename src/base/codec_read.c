/*
 * codec_read.c
 *		Readers for single values.
 *
 * Where JSON has a form of its own (numbers for integers and instants,
 * booleans) it is taken; the rest goes through the type's input function, so
 * that errors are PostgreSQL's and name the value the client sent.
 */
#include "postgres.h"

#include <errno.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "common/base64.h"
#include "common/int.h"
#include "datatype/timestamp.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/codec_internal.h"
#include "base/compat.h"
#include "base/isotime.h"

#define UNIX_EPOCH_OFFSET_MS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (SECS_PER_DAY * INT64CONST(1000)))

/* What an input function gets: a string's content, else the literal. */
static const char *
value_text(const OfsJsonValue *pushed)
{
	switch (pushed->kind)
	{
		case OFS_JSON_NULL:
			return "null";
		case OFS_JSON_FALSE:
			return "false";
		case OFS_JSON_TRUE:
			return "true";
		default:
			return pushed->text;
	}
}

char *
ofs_codec_json_text(const OfsJsonValue *pushed)
{
	StringInfoData json;

	if (pushed->kind != OFS_JSON_STRING)
		return pstrdup(value_text(pushed));
	initStringInfo(&json);
	ofs_json_string(&json, pushed->text, pushed->len);
	return json.data;
}

static void
invalid_value(const OfsCodec *codec, const char *text)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s: \"%s\"",
					format_type_be(codec->basetype), text)));
}

Datum
ofs_codec_read_text(OfsCodec *codec, const OfsJsonValue *pushed)
{
	if (codec->basetype == TEXTOID && pushed->kind == OFS_JSON_STRING)
		return PointerGetDatum(cstring_to_text_with_len(pushed->text, pushed->len));
	return ofs_textio_read(&codec->io, value_text(pushed));
}

/* Booleans may come as SQLite and JavaScript keep them: 0 and 1, in any literal form. */
static Datum
read_bool(OfsCodec *codec, const OfsJsonValue *pushed)
{
	double		number;

	if (pushed->kind == OFS_JSON_TRUE || pushed->kind == OFS_JSON_FALSE)
		return BoolGetDatum(pushed->kind == OFS_JSON_TRUE);
	if (pushed->kind != OFS_JSON_NUMBER)
		return ofs_codec_read_text(codec, pushed);
	number = strtod(pushed->text, NULL);
	if (number != 0 && number != 1)
		invalid_value(codec, pushed->text);
	return BoolGetDatum(number == 1);
}

static Datum
integer_of_numeric(const OfsCodec *codec, Datum number)
{
	switch (codec->basetype)
	{
		case INT2OID:
			return DirectFunctionCall1(numeric_int2, number);
		case INT4OID:
			return DirectFunctionCall1(numeric_int4, number);
		default:
			return DirectFunctionCall1(numeric_int8, number);
	}
}

/* 5.0 and 1e3 are integers to JSON, and to clients whose only number type is a double. */
static Datum
read_integer(OfsCodec *codec, const OfsJsonValue *pushed)
{
	Datum		number;
	Datum		whole;

	if (pushed->kind != OFS_JSON_NUMBER || strpbrk(pushed->text, ".eE") == NULL)
		return ofs_codec_read_text(codec, pushed);

	number = DirectFunctionCall3(numeric_in, CStringGetDatum(pushed->text),
								 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	whole = DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0));
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, number, whole)))
		invalid_value(codec, pushed->text);
	return integer_of_numeric(codec, whole);
}

static bool
is_integer_literal(const char *text)
{
	if (*text == '-')
		text++;
	return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* Epoch milliseconds as a timestamp; false when out of the type's range. */
static bool
millis_to_timestamp(const char *text, Timestamp *result)
{
	int64		millis;
	int64		micros = 0;

	errno = 0;
	if (is_integer_literal(text))
		millis = strtoll(text, NULL, 10);
	else
	{
		double		number = strtod(text, NULL);

		if (!(fabs(number) < 1e16))
			return false;
		millis = (int64) floor(number);
		micros = (int64) rint((number - floor(number)) * 1000.0);
	}
	if (errno == ERANGE ||
		pg_sub_s64_overflow(millis, UNIX_EPOCH_OFFSET_MS, &millis) ||
		pg_mul_s64_overflow(millis, 1000, &millis) ||
		pg_add_s64_overflow(millis, micros, result))
		return false;
	return IS_VALID_TIMESTAMP(*result);
}

/* A number, or a string of digits alone, is epoch milliseconds; other strings are dates as text. */
static Datum
read_timestamp(OfsCodec *codec, const OfsJsonValue *pushed)
{
	Timestamp	result;

	if (pushed->kind != OFS_JSON_NUMBER &&
		!(pushed->kind == OFS_JSON_STRING && is_integer_literal(pushed->text)))
	{
		Datum		read = ofs_codec_read_text(codec, pushed);

		if (codec->zone == 0 || pushed->kind != OFS_JSON_STRING || !ofs_iso_is_local(pushed->text) ||
			pg_sub_s64_overflow(DatumGetTimestamp(read), codec->zone, &result) || !IS_VALID_TIMESTAMP(result))
			return read;
		return TimestampGetDatum(result);
	}

	if (!millis_to_timestamp(pushed->text, &result))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range: \"%s\"", pushed->text)));
	if (codec->typmod < 0)
		return TimestampGetDatum(result);
	return DirectFunctionCall2(timestamp_scale, TimestampGetDatum(result),
							   Int32GetDatum(codec->typmod));
}

static Datum
read_base64(OfsCodec *codec, const OfsJsonValue *pushed)
{
	int			room;
	int			len = -1;
	bytea	   *bytes = NULL;

	if (pushed->kind == OFS_JSON_STRING)
	{
		room = pg_b64_dec_len(pushed->len);
		bytes = palloc(VARHDRSZ + room);
		len = pg_b64_decode(pushed->text, pushed->len, (OfsBase64Byte *) VARDATA(bytes), room);
	}
	if (len < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid base64 data for type %s", format_type_be(codec->basetype)),
				 errhint("Binary data travels as a base64 string, padded and without line breaks.")));
	SET_VARSIZE(bytes, VARHDRSZ + len);
	return PointerGetDatum(bytes);
}

/* In the watermelondb dialect a string holds JSON text; in the json dialect it is a JSON string. */
static Datum
read_json(OfsCodec *codec, const OfsJsonValue *pushed)
{
	if (pushed->kind == OFS_JSON_STRING && codec->dialect == OFS_DIALECT_WATERMELONDB)
		return ofs_codec_read_text(codec, pushed);
	return ofs_textio_read(&codec->io, ofs_codec_json_text(pushed));
}

static const struct
{
	Oid			typid;
	OfsCodecReader read;
}			readers[] =
{
	{BOOLOID, read_bool},
	{INT2OID, read_integer},
	{INT4OID, read_integer},
	{INT8OID, read_integer},
	{TIMESTAMPOID, read_timestamp},
	{TIMESTAMPTZOID, read_timestamp},
	{BYTEAOID, read_base64},
	{JSONOID, read_json},
	{JSONBOID, read_json}
};

OfsCodecReader
ofs_codec_reader(Oid basetype)
{
	for (int i = 0; i < lengthof(readers); i++)
	{
		if (readers[i].typid == basetype)
			return readers[i].read;
	}
	return ofs_codec_read_text;
}
