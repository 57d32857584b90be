/*
 * codec_same.c
 *		Is a pushed value what the stored one was sent as? (promise P10)
 *
 * A device returns records as it got them, but not byte for byte: JavaScript
 * reads every number as a double, JSON libraries reorder the members of
 * objects and escape strings in their own way.  So the stored value is
 * written anew and compared with the pushed one as a client would see both:
 * strings by content, numbers as doubles, objects and arrays by structure.
 *
 * Where that says "different", the value may still be the same in another
 * form (a date as text where milliseconds are written, a UUID in capitals):
 * then the pushed value is read, and compared with the stored one bit by bit.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "base/codec_internal.h"
#include "base/compat.h"

/* Both overflow to the same infinity: that is what a client that has doubles sees, too. */
static bool
numerics_same(Numeric a, Numeric b)
{
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(a))) ==
		DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(b)));
}

static bool
items_same(const JsonbValue *a, const JsonbValue *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type)
	{
		case jbvNull:
			return true;
		case jbvBool:
			return a->val.boolean == b->val.boolean;
		case jbvNumeric:
			return numerics_same(a->val.numeric, b->val.numeric);
		case jbvString:
			return a->val.string.len == b->val.string.len &&
				memcmp(a->val.string.val, b->val.string.val, a->val.string.len) == 0;
		case jbvArray:
			/* a document that is no array is kept as one of one element */
			return a->val.array.rawScalar == b->val.array.rawScalar;
		default:
			return true;		/* objects: their members are compared */
	}
}

/* jsonb keeps an object's members sorted, so two equal documents are walked in step. */
static bool
jsonb_same(Jsonb *a, Jsonb *b)
{
	JsonbIterator *walk_a = JsonbIteratorInit(&a->root);
	JsonbIterator *walk_b = JsonbIteratorInit(&b->root);

	for (;;)
	{
		JsonbValue	value_a;
		JsonbValue	value_b;
		JsonbIteratorToken token = JsonbIteratorNext(&walk_a, &value_a, false);

		if (JsonbIteratorNext(&walk_b, &value_b, false) != token)
			return false;
		if (token == WJB_DONE)
			return true;
		if (token != WJB_END_ARRAY && token != WJB_END_OBJECT && !items_same(&value_a, &value_b))
			return false;
	}
}

/* jsonb can't hold \u0000, and neither can anything pushed. */
static bool
has_escaped_nul(const char *json)
{
	for (; (json = strchr(json, '\\')) != NULL; json += 2)
	{
		if (strncmp(json + 1, "u0000", 5) == 0)
			return true;
	}
	return false;
}

static Jsonb *
parse_document(const char *json)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

static bool
json_same(const char *stored, const char *pushed)
{
	if (strcmp(stored, pushed) == 0)
		return true;
	return !has_escaped_nul(stored) && jsonb_same(parse_document(stored), parse_document(pushed));
}

/* An empty buffer that lives with the codec: a push compares millions of values. */
static StringInfo
scratch(OfsCodec *codec, StringInfo buffer)
{
	if (buffer->data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(codec->context);

		initStringInfo(buffer);
		MemoryContextSwitchTo(old);
	}
	resetStringInfo(buffer);
	return buffer;
}

/* A json or jsonb column: documents are compared, in whichever form the value is sent. */
static bool
json_column_same(OfsCodec *codec, const OfsJsonValue *pushed, Datum stored)
{
	StringInfo	text = scratch(codec, &codec->written);
	bool		as_text = pushed->kind == OFS_JSON_STRING && !OFS_DIALECT_IS_JSON(codec->dialect);
	const char *sent = as_text ? pushed->text : ofs_codec_json_text(pushed);

	ofs_textio_write(&codec->io, text, stored);
	if (strcmp(text->data, sent) == 0)
		return true;
	if (codec->basetype == JSONBOID)
		return jsonb_same(DatumGetJsonbP(stored), parse_document(sent));
	return !as_text && json_same(text->data, sent);
}

static bool
numbers_same(const char *written, const char *pushed)
{
	if (*written != '-' && !(*written >= '0' && *written <= '9'))
		return false;
	return strcmp(written, pushed) == 0 || strtod(written, NULL) == strtod(pushed, NULL);
}

/* Text is written as it is. */
static bool
text_same(const OfsJsonValue *pushed, Datum stored)
{
	struct varlena *text = PG_DETOAST_DATUM_PACKED(stored);
	bool		same = VARSIZE_ANY_EXHDR(text) == pushed->len && memcmp(VARDATA_ANY(text), pushed->text, pushed->len) == 0;

	if ((Pointer) text != DatumGetPointer(stored))
		pfree(text);
	return same;
}

/* Compare the value as it is written with a pushed one of any kind. */
static bool
written_same(OfsCodec *codec, const OfsJsonValue *pushed, Datum stored)
{
	StringInfo	written = scratch(codec, &codec->written);
	StringInfo	sent;

	if (codec->io.form == OFS_TEXT_VARLENA && pushed->kind == OFS_JSON_STRING)
		return text_same(pushed, stored);
	ofs_codec_write(codec, written, stored, false);
	switch (pushed->kind)
	{
		case OFS_JSON_NULL:
			return written->data[0] == 'n';
		case OFS_JSON_FALSE:
			return written->data[0] == 'f';
		case OFS_JSON_TRUE:
			return written->data[0] == 't';
		case OFS_JSON_NUMBER:
			return numbers_same(written->data, pushed->text);
		case OFS_JSON_STRING:
			if (written->data[0] != '"')
				return false;
			sent = scratch(codec, &codec->sent);
			ofs_json_string(sent, pushed->text, pushed->len);
			return strcmp(written->data, sent->data) == 0;
		case OFS_JSON_NESTED:
			return (written->data[0] == '{' || written->data[0] == '[') &&
				json_same(written->data, pushed->text);
	}
	return false;
}

/* Does the pushed value read as the stored one? */
static bool
reads_same(OfsCodec *codec, const OfsJsonValue *pushed, Datum stored)
{
	bool		isnull;
	Datum		value;

	/* what differs as a string differs as text */
	if (codec->typid == TEXTOID && pushed->kind == OFS_JSON_STRING)
		return false;
	value = ofs_codec_read(codec, pushed, &isnull);
	return !isnull && datum_image_eq(value, stored, codec->typbyval, codec->typlen);
}

/* A JSON null, or what stands for it. */
static bool
stands_for_null(const OfsCodec *codec, const OfsJsonValue *pushed)
{
	return pushed->kind == OFS_JSON_NULL ||
		(pushed->kind == OFS_JSON_STRING && pushed->len == 0 && codec->empty_is_null);
}

static bool
is_document(const OfsCodec *codec)
{
	return codec->basetype == JSONOID || codec->basetype == JSONBOID;
}

static bool
document_same(OfsCodec *codec, const OfsJsonValue *pushed, Datum stored)
{
	/* the json dialect writes a JSON null of a document as null, too */
	if (stands_for_null(codec, pushed) && !OFS_DIALECT_IS_JSON(codec->dialect))
		return false;
	return json_column_same(codec, pushed, stored);
}

/*
 * Errors of reading are the caller's, here as in ofs_codec_read: a value that
 * can't be read is not the stored one, and will not be stored either.
 */
bool
ofs_codec_same(OfsCodec *codec, const OfsJsonValue *pushed, Datum stored, bool isnull)
{
	if (isnull)
		return stands_for_null(codec, pushed);
	if (is_document(codec))
		return document_same(codec, pushed, stored);
	return written_same(codec, pushed, stored) ||
		(!stands_for_null(codec, pushed) && reads_same(codec, pushed, stored));
}

/* ---------- kept as it was pushed? ---------- */

/* Has a decimal number no more decimals than the column? */
static bool
fits_scale(const OfsCodec *codec, const char *text)
{
	int			scale = (((codec->typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	const char *point = strchr(text, '.');

	return scale >= 0 && strpbrk(text, "eE") == NULL &&
		(point == NULL || strlen(point + 1) <= (size_t) scale);
}

bool
ofs_codec_is_faithful(const OfsCodec *codec, const OfsJsonValue *pushed)
{
	if (codec->faithful || stands_for_null(codec, pushed))
		return true;
	if (codec->basetype == NUMERICOID && pushed->kind == OFS_JSON_NUMBER)
		return fits_scale(codec, pushed->text);
	if (codec->basetype == VARCHAROID && pushed->kind == OFS_JSON_STRING)
		return pushed->len <= codec->typmod - VARHDRSZ;
	return false;
}

bool
ofs_codec_is_always_faithful(const OfsCodec *codec)
{
	return codec->faithful;
}

/* Does the pushed value read as the stored one without being fitted into the column? */
static bool
reads_exactly(OfsCodec *codec, const OfsJsonValue *pushed, Datum stored)
{
	OfsCodec	exact = *codec;

	/* a float4 has no more digits than it is written with; elements and fields may be fitted, too */
	if (codec->basetype == FLOAT4OID || codec->element != NULL || codec->row_context != NULL)
		return false;
	exact.typmod = exact.io.typmod = -1;
	return datum_image_eq(codec->read(&exact, pushed), stored, codec->typbyval, codec->typlen);
}

bool
ofs_codec_kept(OfsCodec *codec, const OfsJsonValue *pushed, Datum stored, bool isnull)
{
	if (isnull || is_document(codec) || codec->faithful)
		return ofs_codec_same(codec, pushed, stored, isnull);
	return written_same(codec, pushed, stored) ||
		(!stands_for_null(codec, pushed) && reads_exactly(codec, pushed, stored));
}
