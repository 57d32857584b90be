/*
 * codec.c
 *		Choosing a codec for a type, and what all codecs share: NULLs and domains.
 *
 * A domain is written as its base type.  It is read as its base type too, and
 * then checked, also when the value is NULL, so that no constraint of a
 * domain depends on the form in which a client sent a value.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/codec_internal.h"
#include "base/compat.h"
#include "base/put.h"

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
ofs_dialect_parse(const char *name)
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
	if (strcmp(name, OFS_DIALECT_NAME_POCKETBASE) == 0)
		return OFS_DIALECT_POCKETBASE;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown dialect \"%s\"", name),
			 errhint("Valid dialects are: %s.", names.data)));
	return OFS_DIALECT_WATERMELONDB;	/* not reached */
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
		return !OFS_DIALECT_IS_JSON(dialect);
	get_type_category_preferred(basetype, &category, &preferred);
	return category != TYPCATEGORY_STRING;
}

/* Of PostgreSQL's own scalar types, which nobody alters or drops: to be copied and given a typmod, never to be used. */
typedef struct Pattern
{
	Oid			typid;			/* hash key, with the dialect */
	OfsDialect	dialect;
	OfsCodec	codec;
} Pattern;

static HTAB *patterns = NULL;

static Pattern *
find_pattern(Oid typid, OfsDialect dialect, HASHACTION action)
{
	struct
	{
		Oid			typid;
		OfsDialect	dialect;
	}			key = {typid, dialect};

	if (patterns == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(key);
		ctl.entrysize = sizeof(Pattern);
		patterns = hash_create("offsync codecs", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	return hash_search(patterns, &key, action, NULL);
}

/* One that was just made, and holds nothing that was allocated. */
static void
keep_pattern(const OfsCodec *codec)
{
	Pattern    *pattern;

	if (codec->typid >= FirstUnpinnedObjectId || codec->typid != codec->basetype ||
		codec->element != NULL || codec->row_context != NULL ||
		codec->io.input.fn_extra != NULL || codec->io.output.fn_extra != NULL)
		return;
	pattern = find_pattern(codec->typid, codec->dialect, HASH_ENTER);
	pattern->codec = *codec;
}

static void
set_typmod(OfsCodec *codec, int32 typmod)
{
	codec->typmod = codec->io.typmod = typmod;
	codec->faithful = codec->typmod < 0 && codec->basetype != FLOAT4OID &&
		(codec->element ? codec->element->faithful : codec->row_context == NULL);
}

static OfsCodec *
copy_pattern(const Pattern *pattern, int32 typmod)
{
	OfsCodec   *codec = palloc(sizeof(OfsCodec));

	*codec = pattern->codec;
	codec->context = codec->io.input.fn_mcxt = codec->io.output.fn_mcxt = CurrentMemoryContext;
	set_typmod(codec, typmod);
	return codec;
}

static OfsCodec *
make_codec(Oid typid, int32 typmod, OfsDialect dialect)
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
	set_typmod(codec, codec->typmod);
	return codec;
}

OfsCodec *
ofs_codec_create(Oid typid, int32 typmod, OfsDialect dialect)
{
	Pattern    *pattern = find_pattern(typid, dialect, HASH_FIND);
	OfsCodec   *codec;

	if (pattern != NULL)
		return copy_pattern(pattern, typmod);
	codec = make_codec(typid, typmod, dialect);
	keep_pattern(codec);
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
		ofs_put_literal(out, "null");
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
