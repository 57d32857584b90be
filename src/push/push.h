/*
 * push.h
 *		What the parts of a push share.
 *
 * A push is planned once (plan.c: the document becomes items, one per id), then attempted inside
 * a subtransaction (attempt.c), up to four times when it fails: first in sets, then one by one to
 * learn which record it was.  Where bad records are to be skipped, attempts at ever smaller parts of
 * it take the place of that (skip.c).  What an attempt finds out about an item stands in the item's
 * lower half and is wiped before the next one.
 */
#ifndef OFS_PUSH_H
#define OFS_PUSH_H

#include "postgres.h"

#include "access/htup.h"
#include "base/codec.h"
#include "base/pushdoc.h"
#include "catalog/capture.h"
#include "catalog/pushlog.h"
#include "catalog/history.h"
#include "catalog/since.h"
#include "catalog/synced.h"
#include "core/strategy.h"
#include "executor/spi.h"
#include "push/call.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"
#include "utils/tuplestore.h"

/* Unqualified name of the records inside generated statements. */
#define PUSH_RELATION	"offsync$pushed"

/* So many records at a time are compared with their rows, which are held in memory meanwhile. */
#define PUSH_SLICE		16384

/* A row that changes between reading and writing this often has a very busy writer. */
#define PUSH_MAX_ROUNDS 8

/* Attributes of a row that is read before its columns, whatever the caller may read. */
enum
{
	PUSH_ROW_ORD = 1,
	PUSH_ROW_VERSION,
	PUSH_ROW_GONE,				/* value of the soft_delete column, if there is one */
	PUSH_ROW_STAMP,				/* value of the updated_at column, if there is one */
	PUSH_ROW_HISTORY,			/* if it is kept */
	PUSH_ROW_FIXED = PUSH_ROW_HISTORY,
	PUSH_ROW_CLOCKS,			/* these two only if clocks are kept */
	PUSH_ROW_UPDATED_AT
};

/* No time was given. */
#define PUSH_NO_TIME	PG_INT64_MIN

/* Members of records where clocks are kept: of all its columns, and by column; elsewhere they are ignored. */
#define PUSH_NAME_CLOCK		"_clock"
#define PUSH_NAME_CLOCKS	"_clocks"

/* What a name in a record stands for, where it is no column. */
#define PUSH_NAME_SILENT	(-1)	/* ignored, as it always comes */
#define PUSH_NAME_UNKNOWN	(-2)	/* ignored and reported */

typedef struct PushColumn
{
	AttrNumber	attnum;
	const char *name;			/* in the table */
	const char *wire;			/* in the records; NULL: it doesn't travel, and is there for soft_delete */
	Oid			typid;
	int32		typmod;
	Oid			collation;
	int16		typlen;
	bool		typbyval;
	OfsCodec   *codec;
	OfsCodec   *plain;			/* in the dialect json; made when a function asks for it */
	int			keypart;		/* position in the key, or -1 */
	bool		stamp;			/* one of server_*: written by the trigger alone */
	bool		writable;		/* neither a stamp, nor generated, nor part of the key */
	bool		defaults;		/* NOT NULL with a default: NULL in a new row means the default */
	bool		faithful;		/* any value is plainly stored as it is sent */
	int			position;		/* in the rows that are read, from 0; -1: the caller may not read it */
} PushColumn;

typedef struct PushValue
{
	int			column;			/* index into the table's columns */
	bool		changed;		/* its device says that it changed it */
	bool		ready;			/* not sent, or not stored as it was sent: the datum is there already */
	bool		isnull;
	const OfsJsonValue *sent;
	Datum		datum;			/* if it is ready; else it is read when the item is written, and not kept */
} PushValue;

/* Why a record was not stored. */
typedef struct PushRefusal
{
	const char *id;				/* as it was sent; NULL: it had none */
	int			sqlerrcode;
	const char *reason;
	Oid			awaits;			/* the foreign key that failed; a later attempt may find it satisfied */
} PushRefusal;

typedef enum PushAction
{
	PUSH_NONE,					/* done, or in conflict */
	PUSH_UPDATE,
	PUSH_INSERT,				/* ON CONFLICT DO NOTHING */
	PUSH_INSERT_PLAIN,			/* to learn why the other one did nothing */
	PUSH_DELETE,
	PUSH_REFUSE					/* nobody changed the row, and yet its statement passed it over */
} PushAction;

typedef struct PushItem
{
	int			ord;			/* place in the payload, within its list */
	const char *id;				/* as it was sent first */
	Datum	   *key;
	bool		created;		/* stood under "created" */
	bool		plain;			/* all values are changed, and plainly stored as they are sent */
	bool		has_base;
	int64		base;			/* the record's own server_version */
	int			nvalues;
	PushValue  *values;			/* sorted by column */
	PushRefusal *refusal;		/* NULL: it is stored, or will be */
	uint64		prefix;			/* of the id, to sort by */
	bool		ends;			/* by a clock: its device has deleted it, ... */
	int64		ended;			/* ... at the latest of these times, as updated_at has them; or PUSH_NO_TIME */
	int64		dated;			/* by the clock: what it carries as updated_at; or PUSH_NO_TIME */
	const OfsHlc **clocks;		/* by column, where such are kept: of what it carries; NULL: none at all */

	/* the present attempt */
	PushAction	action;
	Bitmapset  *writes;			/* columns that the action writes */
	int			nfinal;
	PushValue  *final;			/* what they get, sorted by column */
	HeapTuple	row;			/* as last read, until it was released; NULL: the caller sees none */
	bool		located;		/* its place is known */
	bool		missed;			/* it was no longer there: places aren't to be trusted */
	ItemPointerData place;
	int64		version;		/* of that row */
	bool		version_null;
	bool		gone;			/* that row counts as deleted */
	bool		existed;		/* there was a row when the item was decided, ... */
	bool		known;			/* ... which the device has as it was then ... */
	HeapTuple	before;			/* ... and from which it has columns that weren't sent; or NULL */
	bool		buried;			/* a deletion that the client has not seen */
	TimestampTz buried_at;		/* its time */
	bool		buried_now;		/* a deletion by this transaction */
	bool		kept;			/* the server's side won, and nothing was written */
	bool		differs;		/* what is stored isn't what was sent */
	bool		expired;		/* what deletions there were is forgotten */
	bool		touch;			/* the row comes once more: of what was sent something is older */
	bool		tried;			/* an INSERT did nothing for it */
	int64		passed;			/* version at which a statement passed it over, or -1 */
	bool		written;
	int			nshown;			/* how often its row was stamped or buried */
	bool		as_sent;		/* that was once, and the row was as its device has it */
	struct PushGroup *group;
} PushItem;

/*
 * It brings a row back that others have deleted: its device has more of that row than it sent.  Of a record that the device has made, what
 * wasn't sent is empty there, too, in whichever list it stands.
 */
static inline bool
ofs_item_returns(const PushItem *item)
{
	return !item->created && (item->buried || item->expired);
}

/* A member of the records, and its column or PUSH_NAME_*. */
typedef struct PushMember
{
	const char *name;
	int			column;
} PushMember;

typedef struct PushShape PushShape;

typedef struct PushTable
{
	const char *name;			/* of the collection, as sent */

	/* its definition: shared with other pushes, and not to be changed (shape.c) */
	OfsTable   *table;
	PushShape  *shape;
	const char *relation;		/* qualified and quoted */
	const char **key_names;
	Oid		   *key_collations;
	OfsKeyCodec *key;
	int			ncolumns;
	PushColumn *columns;		/* all that travel */
	const OfsStrategy *strategy;
	int			nsendable;		/* of these, those that rows are compared by */
	int			stamp;			/* the updated_at column, or -1 */
	int			soft;			/* the soft_delete column, or -1 */
	int			nread;			/* attributes of the rows that are read */
	bool		all_readable;	/* the caller may read every column */
	bool		readable;		/* the caller may read the key */
	bool		overriding;		/* the key has a GENERATED ALWAYS identity */
	bool		deferrable;		/* a deferrable unique index forbids ON CONFLICT */
	HTAB	   *names;			/* name in records -> PushName */
	bool		watched;		/* rows are compared as they are written */
	bool		in_sight;		/* whoever inserts a row sees it */
	bool		quiet;			/* no trigger of its owner's fires before a row is inserted */
	bool		single;			/* it has no partitions: its rows are whole in their places */

	StringInfoData canonical;	/* room for an id */
	HTAB	   *unknown;		/* names that are no columns, as PushName; NULL: none was met */
	SPIPlanPtr	function;		/* of the strategy "function", once it was called */
	int			nmembers;
	PushMember *members;		/* of the record that was planned last, by their places */
	HTAB	   *ids;			/* canonical id -> PushId */
	int			nitems;
	PushItem  **items;			/* to be stored */
	int			ndeleted;
	PushItem  **deleted;
	int			ncreated;		/* of items, those under "created" */
	List	   *ignored;		/* unknown names met */
	List	   *malformed;		/* PushRefusal of records that are no items */
	int			nrefused;
	PushItem  **refused;		/* taken out of items and deleted */
	int			nown;			/* the cursor's own transactions whose rows are as the device has them */
	int64	   *own;

	TupleDesc	rowdesc;		/* of rows that are read */

	/* the present attempt */
	bool		echo;			/* rows are not as the client has them */
	bool		forget;			/* and no pull of changes would tell it so */
} PushTable;

/* Where the work stands, for an error that comes now. */
typedef struct PushPlace
{
	PushTable  *table;
	const char *id;
	const char *column;
	PushItem   *item;			/* NULL: the record is no item yet */
} PushPlace;

typedef enum PushMode
{
	PUSH_SETS,					/* a statement per set of columns */
	PUSH_SINGLY,				/* a statement per record */
	PUSH_BACKWARDS				/* and AFTER triggers per record too */
} PushMode;

typedef struct Push
{
	MemoryContext context;		/* the whole push; outlives its SPI connection's use */
	MemoryContext run;			/* one attempt */
	MemoryContext plan;			/* the items; packed closely */
	MemoryContext row;			/* one row */
	OfsSince   *since;
	OfsDialect	dialect;
	const OfsPushClock *clock;	/* all that is known of the device; or NULL */
	OfsSince   *resumes;		/* by the clock, once it was asked for: where the device's next pull starts */
	List	   *server_columns;
	const OfsStrategy *strategy;	/* in place of the tables' own; or NULL */
	int64		wall;			/* in milliseconds, as clocks have it; once one came */
	bool		based;			/* all records started from the version that they have as base, and that's the end of it */
	OfsClient  *client;			/* NULL: it gave no name */
	const char *push_id;		/* NULL: it gave none */
	uint8		digest[OFS_DIGEST_LEN]; /* of what was sent; with a push_id */
	OfsPushes  *pushes;			/* the client's earlier ones, read when they are needed first */
	bool		skip;			/* bad records are refused one by one */
	const char *changes;		/* rows that are not as they were sent, as JSON; or NULL */
	const char *report;			/* further members of the answer, each behind a comma */
	bool		careful;		/* while planning, too: there is one that can't be read */
	int64		version;		/* of this transaction */
	int			ntables;
	PushTable **tables;			/* parents first */
	List	   *retired;		/* PushTable of collections that are no more: nothing but name and malformed */

	/* the present attempt */
	PushMode	mode;
	PushPlace	place;
	bool		told;			/* the error that comes is complete as it is */
	bool		hopeful;		/* rows that were not there are inserted without looking for them once more */
	bool		hoping;			/* such a statement is at work */
	bool		guessed;		/* rows were not even read, in the hope that they aren't there */
	bool		beaten;			/* an INSERT met rows that had not been there */
	bool		firing;			/* AFTER triggers and deferred constraints are at work */
	bool		reading;		/* values of records that are about to be written */
	bool		writing;		/* a statement of its own */
	List	   *read;			/* SPITupleTable of rows that are still held */
	PushTable  *batch;			/* which stores this table's records, if it isn't NULL: */
	PushItem  **next;			/* the one to come next where they come in their order */
	PushItem  **end;
	CommandId	cid;			/* of that */
	bool		wrote;
	bool		kept;			/* a record lost to its row */
	List	   *held;			/* PushPlace of each open trigger level, innermost last */
	List	   *strangers;		/* OIDs of synced tables written beside those of the push */
	int			nconflicts;
	StringInfo	conflicts;		/* JSON list, without its closing bracket */
} Push;

/* plan.c, shape.c, columns.c */
extern void ofs_plan_build(Push *push, const OfsPushDoc *doc);
extern void ofs_shape_fill(Push *push, PushTable *table);
extern void ofs_columns_load(Push *push, PushTable *table);
extern int	ofs_columns_find(PushTable *table, const char *name);

/* Is it by this column, too, that a row is as its device has it? */
static inline bool
ofs_columns_compared(const PushColumn *column)
{
	return column->position >= 0 && !column->stamp && column->keypart < 0;
}

/* A place in a hash table of names: the key is a pointer to text that outlives the table. */
extern HTAB *ofs_names_create(const char *what, Size entrysize, int expected, MemoryContext context);

typedef struct PushId
{
	const char *id;				/* canonical */
	PushItem   *item;
	bool		deleted;
} PushId;

/* attempt.c */
extern void ofs_attempt_push(Push *push);
extern ErrorData *ofs_attempt_try(Push *push, PushMode mode);

/* skip.c */
extern void ofs_skip_push(Push *push);
extern void ofs_skip_plan(Push *push, const OfsPushDoc *doc);
extern PushRefusal *ofs_skip_make_refusal(Push *push, const char *id, int sqlerrcode, const char *reason);
extern void ofs_skip_log(const Push *push);
extern void ofs_skip_refuse(Push *push, PushItem *item, int sqlerrcode, const char *reason);
extern PushRefusal *ofs_skip_refusal(Push *push, const char *id, const ErrorData *error);

/* depend.c */
extern PushItem *ofs_depend_parent(Push *push, const PushTable *table, const PushItem *item,
								   Oid constraint, PushTable **parent);
extern bool ofs_depend_fits(Push *push, const PushTable *table, const PushItem *item,
							Oid constraint, const char *detail);
extern Oid	ofs_depend_constraint(const ErrorData *error);

/* hold.c */
extern void ofs_hold_open(Push *push, PushTable *table, PushItem *item);
extern void ofs_hold_fire(Push *push);
extern void ofs_hold_settle(Push *push);

/* upsert.c, remove.c */
extern void ofs_upsert_table(Push *push, PushTable *table);
extern void ofs_remove_table(Push *push, PushTable *table);
extern bool ofs_upsert_covered(Push *push, const PushTable *table, const PushItem *item, int64 version);
extern void ofs_upsert_final(PushItem *item);
extern PushValue *ofs_upsert_value(const PushTable *table, PushItem *item, int column);
extern bool ofs_upsert_is_null(const PushColumn *column, const OfsJsonValue *sent);

/* id.c */
extern const char *ofs_id_canonical(PushTable *table, const Datum *key, const char *sent);
extern Datum *ofs_id_read(Push *push, PushTable *table, const OfsPushRecord *record, const char **id);

/* clock.c */
extern void ofs_clock_take_stamps(Push *push, PushTable *table, PushItem *item, const OfsPushRecord *record);
extern void ofs_clock_take_end(Push *push, PushTable *table, PushItem *item);
extern int64 ofs_clock_ended(const Push *push, const PushTable *table, const PushItem *item);
extern bool ofs_clock_resend(Push *push, PushTable *table, PushItem *item);
extern void ofs_clock_decide(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls);

/* fields.c */
typedef struct PushStamps PushStamps;
extern PushStamps *ofs_fields_read(Push *push, const PushTable *table, PushItem *item, const OfsPushRecord *record);
extern bool ofs_fields_take(Push *push, const PushTable *table, PushItem *item, int column, bool has_value,
							const PushStamps *stamps, bool *changed);
extern void ofs_fields_take_end(Push *push, const PushTable *table, PushItem *item, const OfsPushRecord *record);
extern bool ofs_fields_ends(const PushTable *table, const OfsPushRecord *record);
extern bool ofs_fields_brings_back(Push *push, const PushTable *table, const PushItem *item);
extern void ofs_fields_decide(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls);
extern void ofs_fields_end_new(PushTable *table, PushItem *item);
extern const OfsGift *ofs_fields_give(Oid relid, const char *id, Relation rel, HeapTuple tuple, void *arg);

/* group.c */
extern int	ofs_group_write(Push *push, PushTable *table, PushItem **items, int nitems);
extern int	ofs_group_left(PushItem **items, int nitems);

/* A record that is written or looked for alone is given to its statement as parameters. */
typedef struct PushParams
{
	Datum	   *values;
	char	   *nulls;
} PushParams;

typedef enum PushKind
{
	PUSH_KIND_READ,
	PUSH_KIND_BURIED,
	PUSH_KIND_UPDATE,
	PUSH_KIND_UPDATE_PLACED,	/* of the row in its place, which is the last parameter */
	PUSH_KIND_INSERT,			/* ON CONFLICT DO NOTHING */
	PUSH_KIND_INSERT_PLAIN,
	PUSH_KIND_DELETE
} PushKind;

/* A statement for such a record, planned. */
typedef struct PushStatement
{
	int			count;			/* of parameters */
	Oid		   *types;
	SPIPlanPtr	plan;
} PushStatement;

extern const PushStatement *ofs_shape_statement(const PushTable *table, PushKind kind, const Bitmapset *columns);

/* rows.c */
extern void ofs_rows_read(Push *push, PushTable *table, PushItem **items, int nitems);
extern void ofs_rows_find_buried(Push *push, PushTable *table, PushItem **items, int nitems);
extern void ofs_rows_deform(const PushTable *table, HeapTuple row, Datum *values, bool *nulls);
extern TupleDesc ofs_rows_describe(const PushTable *table, const Bitmapset *columns);
extern void ofs_rows_release(Push *push, PushItem **items, int nitems);
extern Tuplestorestate *ofs_rows_store(Push *push, PushTable *table, TupleDesc desc, const Bitmapset *columns,
									   PushItem **items, int nitems);
extern void ofs_rows_register(Push *push, TupleDesc desc, Tuplestorestate *store, int nitems);
extern void ofs_rows_unregister(void);
extern PushParams *ofs_rows_params(Push *push, PushTable *table, PushKind kind, const Bitmapset *columns,
								   const PushItem *item, int count);
extern SPIPlanPtr ofs_rows_plan(const char *sql, int nitems);
extern void ofs_rows_free_plan(SPIPlanPtr plan, int nitems);

/* layout.c */
extern TupleDesc ofs_layout_make(const PushTable *table, Relation rel);
extern void ofs_layout_check(const PushTable *table, TupleDesc desc);
extern HeapTuple ofs_layout_look_up(const PushTable *table, Relation rel, ItemPointer place);

/* sql.c */
extern char *ofs_sql_read(const PushTable *table, bool alone);
extern char *ofs_sql_buried(const PushTable *table, bool alone);
extern char *ofs_sql_place(const PushTable *table);
extern char *ofs_sql_update(const PushTable *table, const Bitmapset *columns, bool alone, bool placed);
extern char *ofs_sql_insert(const PushTable *table, const Bitmapset *columns, bool plain, bool alone);
extern char *ofs_sql_delete(const PushTable *table, bool alone);

/* log.c */
extern void ofs_log_identify(Push *push, const OfsPushCall *call);
extern OfsPushAnswer *ofs_log_replay(Push *push);
extern void ofs_log_add(Push *push, const OfsPushAnswer *answer);
extern bool ofs_log_wrote(Push *push, const PushTable *table, const PushItem *item, int64 version);
extern void ofs_log_expire(Push *push, const PushTable *table, PushItem **items, int nitems);

/* conflict.c */
extern int64 ofs_conflict_stamp(const PushColumn *column, TimestampTz at);
extern OfsVerdict ofs_conflict_judge(Push *push, PushTable *table, PushItem *item, bool deletes);
extern void ofs_conflict_note(Push *push, PushTable *table, PushItem *item, const char *reason);
extern void ofs_conflict_raise(Push *push);

/* merge.c */
extern bool ofs_merge_item(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls);
extern bool ofs_merge_touched(Push *push, PushTable *table, PushItem *item, const OfsHistory *history, int column);
extern OfsHistory *ofs_merge_history(const PushTable *table, const PushItem *item);

/* ask.c */
extern void ofs_ask_function(Push *push, PushTable *table, PushItem *item, bool deletes, Datum *values, bool *nulls);

/* report.c */
extern void ofs_report_row(StringInfo out, Push *push, const PushTable *table, const PushItem *item);
extern void ofs_report_changes(StringInfo out, Push *push);
extern void ofs_report_refused(StringInfo out, Push *push);
extern List *ofs_report_list(const Push *push);
extern int	ofs_report_stored(PushItem **items, int nitems, bool created);

/* tally.c */
extern void ofs_tally_stored(const Push *push);
extern void ofs_tally_failed(const Push *push);

/* refuse.c */
extern void ofs_refuse_record(Push *push, PushTable *table, PushItem *item);
extern bool ofs_refuse_hidden(const PushTable *table, const ErrorData *error);
extern void ofs_refuse_changing(Push *push);
extern bool ofs_refuse_nameless(const Push *push, const ErrorData *error);
extern void ofs_refuse_raise(Push *push, ErrorData *error);

/* watch.c */
extern void ofs_watch_prepare(PushTable *table, Relation rel);
extern bool ofs_watch_differs(Oid relid, const char *id, Relation rel, HeapTuple tuple, void *arg);
extern PushItem *ofs_watch_own(Push *push, Oid relid, const char *id, PushTable **table);
extern bool ofs_watch_changed(PushTable *table, const PushItem *item, const PushValue *value, Relation rel, HeapTuple tuple);
extern void *ofs_watch_row(const OfsWritten *written, Relation rel, HeapTuple tuple, void *arg);
extern PushItem **ofs_watch_open(const Push *push, const PushTable *table, int *nopen);

/* echo.c */
extern void ofs_echo_find(Push *push);
extern List *ofs_echo_list(const Push *push);

#endif							/* OFS_PUSH_H */
