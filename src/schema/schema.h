/*
 * schema.h
 *		What a device has to know of the collections before its first pull, and the forms it is told in.
 *
 *		model.c			collections and columns, as the caller's pulls answer them
 *		names.c			names that the target language takes
 *		formats.c		offsync.client_schema and the table of formats
 *		watermelondb.c, models.c, drift.c, sqlite.c, typescript.c: one format each
 */
#ifndef OFS_SCHEMA_H
#define OFS_SCHEMA_H

#include "postgres.h"

#include "base/codec.h"
#include "catalog/synced.h"
#include "lib/stringinfo.h"
#include "utils/array.h"

/* What the values of a column are; how each looks on the wire depends on the dialect, too. */
typedef enum OfsKind
{
	OFS_KIND_BOOLEAN,
	OFS_KIND_INTEGER,			/* of 32 bits at most */
	OFS_KIND_BIGINT,
	OFS_KIND_FLOAT,
	OFS_KIND_NUMERIC,
	OFS_KIND_INSTANT,			/* timestamptz */
	OFS_KIND_CLOCK,				/* timestamp */
	OFS_KIND_DATE,
	OFS_KIND_BYTES,
	OFS_KIND_JSON,
	OFS_KIND_ARRAY,
	OFS_KIND_ROW,
	OFS_KIND_TEXT,				/* what people write */
	OFS_KIND_OTHER,				/* the text form of any other type */
	OFS_KIND_COUNT
} OfsKind;

typedef struct OfsSchemaColumn
{
	AttrNumber	attnum;
	const char *name;			/* on the wire */
	OfsKind		kind;
	OfsKind		element;		/* of an array */
	bool		nullable;		/* the server may hold NULL */
	bool		server;			/* offsync's own: no record has it before the server has seen it */
	bool		generated;		/* the server computes it */
	bool		soft_delete;
	bool		indexed;		/* a device will look rows up by it */
	struct OfsSchemaTable *parent;	/* holds the id of a record of this collection, or NULL */
} OfsSchemaColumn;

typedef struct OfsSchemaTable
{
	const char *name;			/* of the collection, as it was asked for */
	const char *qualified;		/* schema.table */
	OfsTable   *table;
	int			ncolumns;		/* in the order of a pull; without the id, which comes first */
	OfsSchemaColumn *columns;
} OfsSchemaTable;

typedef struct OfsSchema
{
	int			version;
	bool		spelt;			/* the caller named the collections */
	const char *dialect;
	bool		native;			/* it is one with ISO 8601 times and native JSON, unlike watermelondb */
	List	   *tables;			/* of OfsSchemaTable, parents first */
} OfsSchema;

typedef void (*OfsSchemaWriter) (const OfsSchema *schema, StringInfo out);

/* model.c */
extern List *ofs_model_read(ArrayType *collections);

/* What a value is on the wire where its JSON type doesn't tell; or NULL. */
extern const char *ofs_model_note(const OfsSchemaColumn *column, bool native);

/* names.c */

/* A name as an identifier of ASCII letters and digits: taskList, or TaskList. */
extern char *ofs_names_camel(const char *name, bool upper);

/* The name, or one made of it that isn't in the list; adds it to the list. */
extern const char *ofs_names_claim(List **taken, const char *name);

extern List *ofs_names_list(const char *const *names, int count);
extern bool ofs_names_contain(const char *const *names, int count, const char *name);

/* Do two names differ at most in the case of ASCII letters, as SQLite has it? */
extern bool ofs_names_alike(const char *one, const char *other);

/* Append a name as a string literal of JavaScript, TypeScript or Dart, on one line whatever it holds. */
extern void ofs_names_quote(StringInfo out, const char *name);

/* Append it as a property of an object: quoted where it must be. */
extern void ofs_names_property(StringInfo out, const char *name);

/* watermelondb.c: why WatermelonDB can't hold a collection or a column, or NULL. */
extern const char *ofs_watermelondb_table_refused(const OfsSchema *schema, const OfsSchemaTable *table);
extern const char *ofs_watermelondb_column_refused(const OfsSchemaTable *table, const OfsSchemaColumn *column);
extern bool ofs_watermelondb_is_number(const OfsSchemaColumn *column);
extern bool ofs_watermelondb_is_optional(const OfsSchemaColumn *column);

/* sqlite.c: names that SQLite can tell apart. */
extern const char *ofs_sqlite_table_name(const OfsSchema *schema, const OfsSchemaTable *table);
extern const char *ofs_sqlite_column_name(const OfsSchemaTable *table, const OfsSchemaColumn *column);

/* the formats */
extern void ofs_watermelondb_write(const OfsSchema *schema, StringInfo out);
extern void ofs_models_write(const OfsSchema *schema, StringInfo out);
extern void ofs_drift_write(const OfsSchema *schema, StringInfo out);
extern void ofs_sqlite_write(const OfsSchema *schema, StringInfo out);
extern void ofs_typescript_write(const OfsSchema *schema, StringInfo out);

#endif							/* OFS_SCHEMA_H */
