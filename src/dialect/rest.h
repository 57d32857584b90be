/*
 * rest.h
 *		What the files of the dialect rest share.  Nobody else includes it.
 *
 *		restitem.c	rows as such clients take them
 *		restlist.c	lists
 *		restwrite.c	one record is stored or deleted
 *		restbatch.c	several, each by itself
 *		rest.c		the calls, and the paths that stand for them
 */
#ifndef OFS_REST_H
#define OFS_REST_H

#include "postgres.h"

#include "catalog/record.h"
#include "catalog/view.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "pull/unseen.h"
#include "tcop/dest.h"

/* Such clients count in milliseconds. */
#define REST_MS				INT64CONST(1000)

/* The millisecond that it lies in. */
static inline TimestampTz
ofs_rest_floor(TimestampTz stamp)
{
	return TIMESTAMP_NOT_FINITE(stamp) ? stamp : stamp - ((stamp % REST_MS) + REST_MS) % REST_MS;
}

/* Clients send '' for what they have not. */
static inline bool
ofs_rest_given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

/* ---------- restitem.c ---------- */

/* Rows on their way into an answer. */
typedef struct RestItems
{
	DestReceiver pub;
	OfsView    *view;			/* its columns are those that travel as they are */
	StringInfo	out;			/* items, separated by commas */
	int64		room;			/* for so many */
	int64		count;
	TimestampTz latest;			/* behind it no stamp is ours */
	bool		more;			/* there was one for which there was no room */
	bool		mixed;			/* two had different stamps in the same millisecond */
	TimestampTz last;			/* stamp of the last item */
	TimestampTz next;			/* ... and of the one behind it, if there is more */
	int64		version;		/* of the last item; 0: none */
	bool		gone;			/* it counts as deleted */
	StringInfoData id;

	/* private */
	OfsRecordWriter *writer;
	OfsKeyCodec *key;
	Datum	   *parts;
	const char *deleted_at;		/* member that the soft_delete column's value is shown as, too; or NULL */
	OfsCodec   *deleted_codec;
	StringInfoData time;		/* the last item's stamp as text: rows written together have the same */
	MemoryContext row_context;
} RestItems;

/* The collection, as the caller sees it; PT404 where there is none, 42501 where it isn't his. */
extern OfsTable *ofs_rest_table(const char *kind);

/* Items of the view; its columns are changed. */
extern RestItems *ofs_rest_items(OfsView *view, StringInfo out, int64 room);

/* "SELECT ... FROM table t WHERE ": what the items are made of. */
extern void ofs_rest_items_select(StringInfo sql, const RestItems *items);

/* The last stamp that is one of ours. */
extern TimestampTz ofs_rest_latest(void);

/* What the client sees of a stamp; of one that can't be ours, the epoch. */
extern TimestampTz ofs_rest_shown(TimestampTz stamp, TimestampTz latest);

/* Read such a time, down to the millisecond; PT400 where it is none. */
extern TimestampTz ofs_rest_parse_time(const char *what, const char *text);

typedef struct RestRow
{
	bool		exists;			/* as far as the caller sees */
	bool		gone;			/* it counts as deleted */
	TimestampTz stamp;
	int64		version;
	char	   *item;			/* "null" where there is none */
} RestRow;

/* The row that the caller sees, in a new snapshot. */
extern void ofs_rest_fetch(OfsTable *table, const char *id, RestRow *row);

/* ---------- restlist.c ---------- */

typedef struct RestListCall
{
	const char *kind;
	const char *since;			/* NULL or '': from the beginning */
	const char *after;			/* id; NULL or '': all of that millisecond */
	int			limit;
	bool		include_deleted;
} RestListCall;

/* The answer, in the current memory context. */
extern text *ofs_rest_list(const RestListCall *call);

/* ---------- restwrite.c ---------- */

typedef struct RestWrite
{
	const char *kind;
	const char *id;				/* NULL or '': the record's own, or a new one */
	const char *body;			/* JSON object; NULL: the record is deleted */
	const char *base;			/* updated_at that the device's change started from; NULL or '': it doesn't say */
	bool		force;			/* whatever it started from */
	const char *key;			/* one of these is stored once; NULL or '': none */

	/* what came of it */
	int			status;			/* 200, 201 or 409 */
	RestRow		row;			/* as it is now */
} RestWrite;

extern void ofs_rest_write(RestWrite *write);

/* ---------- restbatch.c ---------- */

/* The answer to {"ops":[...]}; key: of the whole batch, or NULL. */
extern char *ofs_rest_batch(const char *body, const char *key);

#endif							/* OFS_REST_H */
