/*
 * pushlog.h
 *		The push log: what clients that name themselves have pushed.
 */
#ifndef OFS_PUSHLOG_H
#define OFS_PUSHLOG_H

#include "postgres.h"

#include "catalog/client.h"
#include "catalog/synced.h"

#define OFS_DIGEST_LEN 32

/* One push. */
typedef struct OfsPushed
{
	int64		version;
	int			nrecords;
	int64	   *records;		/* ofs_pushlog_record() of what is stored as it asked; sorted when it is added */

	/* only where it had a push_id */
	const char *push_id;
	uint8		digest[OFS_DIGEST_LEN]; /* of what was sent */
	int64		number;			/* of the answer; 0: none */
	const char *cursor;			/* of the answer; NULL: none */
	const char *changes;		/* of the answer, as JSON; NULL: none */
	const char *outcome;		/* the answer's further members, as JSON without its braces */
} OfsPushed;

/* A client's pushes, for ofs_pushlog_wrote(). */
typedef struct OfsPushes OfsPushes;

/* A record, as the log names it. */
extern int64 ofs_pushlog_record(const OfsTable *table, const char *id);

extern void ofs_pushlog_add(const OfsClient *client, OfsPushed *pushed);

/* What the client pushed under this id, as far as it is committed by now; NULL: nothing. */
extern OfsPushed *ofs_pushlog_find(const OfsClient *client, const char *push_id);

/* Let nobody else push under this id till the end of the transaction. */
extern void ofs_pushlog_lock(const OfsClient *client, const char *push_id);

/* The client's pushes with this version or a later one. */
extern OfsPushes *ofs_pushlog_load(const OfsClient *client, int64 least);

/* Did one of them, which has this version, store or delete the record? */
extern bool ofs_pushlog_wrote(OfsPushes *pushes, int64 version, const OfsTable *table, const char *id);

/* Did one of them store or delete the record? */
extern bool ofs_pushlog_names(OfsPushes *pushes, const OfsTable *table, const char *id);

#endif							/* OFS_PUSHLOG_H */
