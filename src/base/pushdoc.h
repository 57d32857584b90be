/*
 * pushdoc.h
 *		A pushed changes object, parsed in one pass.
 *
 * Input: {"collection": {"created": [record...], "updated": [record...],
 * "deleted": [id or object with an id...]}, ...} in any key order, a missing
 * list or null being an empty one.  Anything else is PT400 with the place in
 * the document named.  What no text can hold is an error where it stands in a
 * name or an id, and is noted where it stands in a value.
 */
#ifndef OFS_PUSHDOC_H
#define OFS_PUSHDOC_H

#include "base/codec.h"

/* Longest id, in bytes. */
#define OFS_PUSH_ID_MAX	8192

typedef struct OfsPushField
{
	const char *name;			/* unescaped, NUL-terminated */
	OfsJsonValue value;
} OfsPushField;

typedef struct OfsPushRecord
{
	const char *id;				/* the "id" member as text (numbers too); NULL when absent, null or empty */
	int			nfields;		/* every member but "id"; a repeated name stands once, the last value wins */
	OfsPushField *fields;
	const char *wrong;			/* JSON that no text can hold, somewhere among the values; or NULL */
	bool		created;		/* stood under "created" (else under "updated" or "deleted") */
} OfsPushRecord;

typedef struct OfsPushCollection
{
	const char *name;			/* as sent */
	int			nrecords;		/* created, then updated, in the order sent */
	OfsPushRecord *records;
	int			ndeleted;
	OfsPushRecord *deleted;		/* each has an id; no fields where it was sent as an id alone */
} OfsPushCollection;

typedef struct OfsPushDoc
{
	int			ncollections;	/* each name once: a repeated name's lists are joined */
	OfsPushCollection *collections;
} OfsPushDoc;

/* Parse; everything lives in the current memory context. */
extern OfsPushDoc *ofs_pushdoc_parse(const char *json, int len);

#endif							/* OFS_PUSHDOC_H */
