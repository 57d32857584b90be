/*
 * formats.c
 *		offsync.client_schema: the collections as an app declares them.
 *
 * A format is a function that writes the model (schema.h) as text, and one line in the table here.  What the
 * text says is what the caller's pulls bring: the collections and columns that it may read, under the names and in
 * the order of records.
 */
#include "postgres.h"

#include "base/argument.h"
#include "fmgr.h"
#include "schema/schema.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(offsync_client_schema);

/* Dialects that a format can be of. */
#define TAKES_WATERMELONDB	1
#define TAKES_NATIVE		2

typedef struct Format
{
	const char *name;
	int			takes;			/* the lower one is the default */
	OfsSchemaWriter write;
} Format;

static const Format formats[] = {
	{"watermelondb", TAKES_WATERMELONDB, ofs_watermelondb_write},
	{"watermelondb-models", TAKES_WATERMELONDB, ofs_models_write},
	{"drift", TAKES_NATIVE, ofs_drift_write},
	{"sqlite", TAKES_WATERMELONDB | TAKES_NATIVE, ofs_sqlite_write},
	{"typescript", TAKES_WATERMELONDB | TAKES_NATIVE, ofs_typescript_write}
};

static const Format *
find_format(const char *name)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < (int) lengthof(formats); i++)
	{
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", formats[i].name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown format \"%s\"", name),
			 errhint("Valid formats are: %s.", names.data)));
	return NULL;				/* not reached */
}

/* Is it to be of a dialect with ISO 8601 times and native JSON? */
static bool
choose_native(const Format *format, const char *dialect)
{
	bool		native = dialect ? ofs_dialect_parse(dialect) != OFS_DIALECT_WATERMELONDB :
		(format->takes & TAKES_WATERMELONDB) == 0;

	if ((format->takes & (native ? TAKES_NATIVE : TAKES_WATERMELONDB)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("format \"%s\" can't be of the dialect \"%s\"", format->name, dialect),
				 errhint("Leave the dialect out.")));
	return native;
}

/*
 * format; collections: null for all that the caller may read; version: of the app's schema; dialect: that it will pull
 * in, null for the format's own.  Returns text.
 */
Datum
offsync_client_schema(PG_FUNCTION_ARGS)
{
	const Format *format = find_format(PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0)));
	ArrayType  *collections = PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1);
	OfsSchema	schema = {.version = PG_ARGISNULL(2) ? 1 : PG_GETARG_INT32(2), .spelt = collections != NULL};
	char	   *dialect = ofs_argument_text(fcinfo, 3);
	StringInfoData out;

	if (schema.version < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid schema version %d", schema.version),
				 errdetail("An app's schema versions start with 1.")));
	schema.native = choose_native(format, dialect);
	schema.dialect = dialect ? dialect : schema.native ? "json" : "watermelondb";
	schema.tables = ofs_model_read(collections);
	initStringInfo(&out);
	format->write(&schema, &out);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
