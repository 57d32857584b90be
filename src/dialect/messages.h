/*
 * messages.h
 *		Changes of single fields, as messages: what the files of the facade share.  Nobody else includes it.
 *
 * The files:
 *		messages_pull.c		rows as messages
 *		messages_push.c		messages as records
 *		messages_parse.c	what is pushed, read
 *		messages_value.c	values, both ways
 *		messages_table.c	both as a foreign table, to be read ...
 *		messages_plan.c		... from where, how much ...
 *		messages_insert.c	... and written
 */
#ifndef OFS_MESSAGES_H
#define OFS_MESSAGES_H

#include "postgres.h"

#include "base/codec.h"
#include "base/jsonscan.h"
#include "catalog/view.h"
#include "core/hlc.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/relcache.h"

/* The strategy of the tables that have a clock for each field. */
#define OFS_MESSAGES_STRATEGY	"field_lww"

/* A column whose values travel. */
typedef struct OfsMessageColumn
{
	AttrNumber	attnum;
	const char *name;			/* in the table, and in messages */
	const char *wire;			/* in records */
	int			index;			/* among the view's columns */
	bool		is_bool;
	bool		is_json;
	const char *data_type;		/* of values that aren't null */
	OfsCodec   *codec;
} OfsMessageColumn;

/* A field of a row, told to a device. */
typedef struct OfsMessage
{
	const char *id;
	const char *table;
	const char *row;
	const char *column;
	const char *data_type;
	const char *value;
	int64		version;		/* in which the field was changed */
	bool		settled;		/* nothing older can come any more */
	int64		server_timestamp;	/* from where the device goes on once it has got all */
	bool		forced;			/* from the version it couldn't, settled or not */
	const char *local_timestamp;	/* the field's clock */
	const char *client_id;		/* whose clock it is */
} OfsMessage;

/* What is asked for. */
typedef struct OfsMessageAsk
{
	int64		last;			/* server_timestamp up to which the device has all; below 0: it has nothing */
	const char *client_id;		/* whose own are left out; NULL: nobody's */
	bool		own_at_first;	/* but not where it has nothing: it may have lost what it had */
	void		(*take) (void *arg, const OfsMessage *message);
	void	   *arg;
} OfsMessageAsk;

/* A table that messages of a push are about. */
typedef struct OfsMessageTable
{
	OfsTable   *table;
	List	   *columns;		/* of OfsMessageColumn */
} OfsMessageTable;

typedef struct OfsPushedMessage
{
	int			place;			/* in the array */
	OfsJsonSlice raw;			/* as it stands there; without text where it was never JSON */
	/* as it was sent; NULL: it has no such member */
	const char *id;
	const char *table_name;
	const char *row;
	const char *column_name;
	const char *data_type;
	const char *value;
	const char *local_timestamp;
	const char *user_id;
	/* what that says */
	OfsHlc		clock;
	OfsMessageTable *table;
	OfsMessageColumn *column;	/* NULL: the key */
	OfsJsonValue sent;
	/* why it is refused; NULL: it isn't */
	int			code;
	const char *reason;
} OfsPushedMessage;

/* The table's columns, by their names: whoever made it may have ordered them otherwise. */
typedef enum OfsMessageField
{
	OFS_FIELD_ID, OFS_FIELD_TABLE, OFS_FIELD_ROW, OFS_FIELD_COLUMN, OFS_FIELD_DATA_TYPE, OFS_FIELD_VALUE, OFS_FIELD_SERVER_TIMESTAMP,
	OFS_FIELD_LOCAL_TIMESTAMP, OFS_FIELD_USER, OFS_FIELD_CLIENT, OFS_FIELDS
} OfsMessageField;

/* What an expression that the plan hands to the executor is. */
typedef enum OfsMessageExpr
{
	OFS_EXPR_LAST,				/* server_timestamp > it */
	OFS_EXPR_CLIENT,			/* client_id <> it */
	OFS_EXPR_LIMIT,
	OFS_EXPR_OFFSET,
	OFS_EXPR_FILTER				/* what must hold for a row, whatever its server_timestamp */
} OfsMessageExpr;

struct FdwRoutine;

/* ---------- messages_table.c ---------- */

/* Where these stand in the table. */
extern void ofs_message_fields(Relation rel, AttrNumber *attnums);

/* ---------- messages_plan.c ---------- */

/* A scan's expressions are its fdw_exprs, and what each of them is stands in fdw_private. */
extern void ofs_messages_set_plan(struct FdwRoutine *routine);

/* ---------- messages_insert.c ---------- */

extern void ofs_messages_set_insert(struct FdwRoutine *routine);

/* ---------- messages_push.c ---------- */

/*
 * Store them, within ofs_refusal_run(); those that are refused say why.  whole: all or none: where some can't be stored by themselves
 * nothing is, and what else is wrong with any is an error.  name is that of the function that people called.
 */
extern void ofs_messages_push(OfsPushedMessage *messages, int count, bool whole, const char *name);

/* ---------- messages_parse.c ---------- */

/* Another one, empty, in an array with room for some. */
extern OfsPushedMessage *ofs_messages_add(OfsPushedMessage **messages, int *count, int *room);

/* The messages of an array, or of one alone; none is looked into. */
extern OfsPushedMessage *ofs_messages_read(const char *json, int len, int *count);

/* Refuse those that can't be stored by themselves, and find out what the others say. */
extern void ofs_messages_judge(OfsPushedMessage *messages, int count);

/* ---------- messages_pull.c ---------- */

/* Each message is good till the next one. */
extern void ofs_messages_pull(const OfsMessageAsk *ask);

/* May the caller ask for this user's?  Without a token there is nobody that it could be mistaken for. */
extern bool ofs_messages_are_of(const char *user_id);

/* ---------- messages_value.c ---------- */

/* Those of the view's columns that have messages: neither its key, nor what only the server writes. */
extern List *ofs_message_columns(const OfsView *view);

/* The same of a column by its name; NULL when it has none. */
extern OfsMessageColumn *ofs_message_column(List *columns, const char *name);

/* Replace what is in text by the value's; returns its data_type. */
extern const char *ofs_message_encode(OfsMessageColumn *column, StringInfo text, Datum value, bool isnull);

/* What a message's value says as JSON.  False where it can't be a value of the column's kind. */
extern bool ofs_message_decode(const OfsMessageColumn *column, const char *data_type, const char *text, OfsJsonValue *value);

#endif							/* OFS_MESSAGES_H */
