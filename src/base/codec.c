/*
 * codec.c
 *		Choosing a codec for a type, and what all codecs share: NULLs and domains.
 *
 * A domain is written as its base type.  It is read as its base type too, and
 * then checked, also when the value is NULL, so that no constraint of a
 * domain depends on the form in which a client sent a value.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/codec_internal.h"
#include "base/compat.h"

static const struct
{
	const char *name;
	OfsDialect	dialect;
}			dialects[] =
{
	{"watermelondb", OFS_DIALECT_WATERMELONDB},
	{"json", OFS_DIALECT_JSON}
};

OfsDialect
ofs_dialect_parse_or(const char *name, const char *others)
{
	StringInfoData names;

	if (name == NULL)
		return OFS_DIALECT_WATERMELONDB;
	initStringInfo(&names);
	for (int i = 0; i < lengthof(dialects); i++)
	{
		if (strcmp(name, dialects[i].name) == 0)
			return dialects[i].dialect;
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", dialects[i].name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown dialect \"%s\"", name),
			 errhint("Valid dialects are: %s%s.", names.data, others)));
	return OFS_DIALECT_WATERMELONDB;	/* not reached */
}

OfsDialect
ofs_dialect_parse(const char *name)
{
	return ofs_dialect_parse_or(name, "");
}

/*
 * Types whose own values include the empty string: there '' is that string.
 * For all others it is how a client without NULL says NULL.  JSON strings in
 * the json dialect are values of their own.
 */
static bool
empty_stands_for_null(Oid basetype, OfsDialect dialect)
{
	char		category;
	bool		preferred;

	if (basetype == JSONOID || basetype == JSONBOID)
		return dialect != OFS_DIALECT_JSON;
	get_type_category_preferred(basetype, &category, &preferred);
	return category != TYPCATEGORY_STRING;
}

OfsCodec *
ofs_codec_create(Oid typid, int32 typmod, OfsDialect dialect)
{
	OfsCodec   *codec = palloc0(sizeof(OfsCodec));
	Oid			elemtype;

	codec->dialect = dialect;
	codec->context = CurrentMemoryContext;
	codec->typid = typid;
	codec->typmod = typmod;
	codec->basetype = getBaseTypeAndTypmod(typid, &codec->typmod);
	get_typlenbyval(codec->basetype, &codec->typlen, &codec->typbyval);
	codec->empty_is_null = empty_stands_for_null(codec->basetype, dialect);

	/*
	 * A timestamp without time zone is UTC here.  The input function of the
	 * type with a time zone, run in UTC, yields just that, and doesn't ignore
	 * an offset that the client sent.
	 */
	ofs_textio_init(&codec->io,
					codec->basetype == TIMESTAMPOID ? TIMESTAMPTZOID : codec->basetype,
					codec->typmod);
	codec->write = ofs_codec_writer(codec->basetype, dialect);
	codec->read = ofs_codec_reader(codec->basetype);

	/* the two old vector types are arrays of a special form: text serves them */
	elemtype = get_element_type(codec->basetype);
	if (OidIsValid(elemtype) && codec->basetype != INT2VECTOROID && codec->basetype != OIDVECTOROID)
		ofs_nested_init_array(codec, elemtype);
	else if (get_typtype(codec->basetype) == TYPTYPE_COMPOSITE)
		ofs_nested_init_row(codec);
	codec->faithful = codec->typmod < 0 && codec->basetype != FLOAT4OID &&
		(codec->element ? codec->element->faithful : codec->row_context == NULL);
	return codec;
}

void
ofs_codec_set_zone(OfsCodec *codec, int64 zone)
{
	codec->zone = zone;
}

bool
ofs_codec_empty_is_null(const OfsCodec *codec)
{
	return codec->empty_is_null;
}

void
ofs_codec_write(OfsCodec *codec, StringInfo out, Datum value, bool isnull)
{
	if (isnull)
		appendBinaryStringInfo(out, "null", 4);
	else
		codec->write(codec, out, value);
}

Datum
ofs_codec_read(OfsCodec *codec, const OfsJsonValue *pushed, bool *isnull)
{
	Datum		value = (Datum) 0;

	*isnull = pushed->kind == OFS_JSON_NULL ||
		(pushed->kind == OFS_JSON_STRING && pushed->len == 0 && codec->empty_is_null);
	if (!*isnull)
		value = codec->read(codec, pushed);
	if (codec->typid != codec->basetype)
		domain_check(value, *isnull, codec->typid, &codec->domain_state, codec->context);
	return value;
}
