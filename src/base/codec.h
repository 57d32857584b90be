/*
 * codec.h
 *		Values on the wire: one codec per column, both ways.
 *
 * A codec is chosen once per column from the type and the dialect, and then
 * writes datums as JSON text, reads pushed JSON values back into datums, and
 * tells whether a pushed value is what the stored one would be written as
 * (promise P10: such a value leaves the stored datum untouched).
 *
 * Nothing here depends on a session setting: text output that would (dates,
 * intervals, floats inside arrays and ranges) runs with the settings pinned.
 */
#ifndef OFS_CODEC_H
#define OFS_CODEC_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

typedef enum OfsDialect
{
	OFS_DIALECT_WATERMELONDB,
	OFS_DIALECT_JSON,
	OFS_DIALECT_POCKETBASE		/* the same, but for the form of timestamps; the name is none that callers choose */
} OfsDialect;

/* The dialects in which values have JSON's own types. */
#define OFS_DIALECT_IS_JSON(dialect) ((dialect) != OFS_DIALECT_WATERMELONDB)

/* The name of the dialect pocketbase, for calls from C. */
#define OFS_DIALECT_NAME_POCKETBASE "pocketbase"

/* A JSON value as it was pushed. */
typedef enum OfsJsonKind
{
	OFS_JSON_NULL,
	OFS_JSON_FALSE,
	OFS_JSON_TRUE,
	OFS_JSON_NUMBER,			/* text = the literal */
	OFS_JSON_STRING,			/* text = the unescaped string */
	OFS_JSON_NESTED				/* text = the raw JSON of an object or array */
} OfsJsonKind;

typedef struct OfsJsonValue
{
	OfsJsonKind kind;
	int			len;
	const char *text;			/* NUL-terminated; NULL for null and booleans */
} OfsJsonValue;

typedef struct OfsCodec OfsCodec;

/* Dialect by its name; error 22023 with the list of valid names. NULL = watermelondb. */
extern OfsDialect ofs_dialect_parse(const char *name);

/* The codec of a type in a dialect, allocated in the current memory context. */
extern OfsCodec *ofs_codec_create(Oid typid, int32 typmod, OfsDialect dialect);

/* Pushed times without an offset are those of a clock that is so many microseconds ahead of UTC. */
extern void ofs_codec_set_zone(OfsCodec *codec, int64 zone);

/* Append the value as JSON text (quoted where it is a string). */
extern void ofs_codec_write(OfsCodec *codec, StringInfo out, Datum value, bool isnull);

/* The pushed value as a datum of the column's type; errors as the type's input function raises them. */
extern Datum ofs_codec_read(OfsCodec *codec, const OfsJsonValue *pushed, bool *isnull);

/* Is the pushed value what the stored one is written as (or reads as the same)? */
extern bool ofs_codec_same(OfsCodec *codec, const OfsJsonValue *pushed, Datum stored, bool isnull);

/*
 * Is the stored value the pushed one?  As above, but for a pushed value that had to be changed to be stored:
 * rounded, cut off or padded.  Its device must be told.
 */
extern bool ofs_codec_kept(OfsCodec *codec, const OfsJsonValue *pushed, Datum stored, bool isnull);

/* Is it plain that what ofs_codec_read makes of the pushed value is kept in that sense?  Of any value? */
extern bool ofs_codec_is_faithful(const OfsCodec *codec, const OfsJsonValue *pushed);
extern bool ofs_codec_is_always_faithful(const OfsCodec *codec);

/* True where '' pushed by a client that has no NULL stands for NULL (every type that is not text-like). */
extern bool ofs_codec_empty_is_null(const OfsCodec *codec);

/* Append a timestamp as PocketBase writes it: 2024-01-31 10:00:00.123Z; without quotes. */
extern void ofs_codec_put_moment(StringInfo out, TimestampTz at);

/* Append a JSON string, quotes included. */
extern void ofs_json_string(StringInfo out, const char *text, int len);

/* The same of a C string; NULL is null. */
extern void ofs_json_text(StringInfo out, const char *text);

/*
 * Keys: the id on the wire.  A single-column key is the text of its value; the
 * parts of a composite one are escaped into [A-Za-z0-9._-] and joined by '.',
 * reversibly.
 */
typedef struct OfsKeyCodec OfsKeyCodec;

extern OfsKeyCodec *ofs_key_create(int nparts, const Oid *typids, const int32 *typmods);

/* Append the id as plain text (not JSON). No part is null. */
extern void ofs_key_write(OfsKeyCodec *key, StringInfo out, const Datum *parts);

/* Parse an id; PT400 when it can't be one of this key's. */
extern void ofs_key_read(OfsKeyCodec *key, const char *id, Datum *parts);

#endif							/* OFS_CODEC_H */
