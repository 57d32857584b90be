/*
 * cursor.h
 *		The exact cursor: all that "since" depends on, packed.
 */
#ifndef OFS_CURSOR_H
#define OFS_CURSOR_H

#include "postgres.h"

#include "lib/stringinfo.h"

typedef struct OfsCursorCollection
{
	uint64		hash;			/* of the collection's name */
	uint64		fingerprint;	/* of what the caller was, and could see, of it */
} OfsCursorCollection;

/* A transaction of the client's own that it has seen beside the snapshot. */
typedef struct OfsCursorOwn
{
	int64		version;
	uint32		timeline;
	uint64		lsn;			/* its rows lie before, its commit behind */
	int			necho;			/* collections whose rows of it must be sent all the same */
	uint64	   *echo;			/* their hashes */
	int			nviews;			/* collections that it wrote to while the client saw them otherwise than at the cursor */
	OfsCursorCollection *views; /* the fingerprint is of all of that view */
	bool		stained;		/* not packed: it wrote on after the client had its answer */
} OfsCursorOwn;

typedef struct OfsCursorRange
{
	uint64		first;
	uint64		count;
} OfsCursorRange;

typedef struct OfsCursor
{
	int64		incarnation;
	uint32		timeline;
	uint64		lsn;			/* all that the snapshot had seen lies before */
	uint64		xmin;
	uint64		xmax;
	int			nrunning;
	OfsCursorRange *running;	/* ids in [xmin, xmax) that were in progress, ascending */
	int			nown;
	OfsCursorOwn *own;
	int			ncollections;
	OfsCursorCollection *collections;
	int			page_len;
	const uint8 *page;			/* between two pages of a pull: page.h */
	int			inputs_len;
	const uint8 *inputs;		/* sets that the policies depend on: set.h */
} OfsCursor;

typedef enum OfsCursorError
{
	OFS_CURSOR_OK,
	OFS_CURSOR_DAMAGED,			/* no cursor, or one that lost or changed a character */
	OFS_CURSOR_FUTURE			/* of a later release's format */
} OfsCursorError;

#define OFS_CURSOR_SEAL_LEN 16

/* Pack all but the seal. */
extern void ofs_cursor_pack(const OfsCursor *cursor, StringInfo out);

/* Packed bytes and seal to text. */
extern char *ofs_cursor_text(const StringInfo packed, const uint8 seal[OFS_CURSOR_SEAL_LEN]);

/* Text to bytes: checks the check sum; body gets the packed bytes, seal the seal. */
extern OfsCursorError ofs_cursor_open(const char *text, StringInfo body, uint8 seal[OFS_CURSOR_SEAL_LEN]);

/* Packed bytes to cursor; false when they are no cursor. */
extern bool ofs_cursor_unpack(const StringInfo body, OfsCursor *cursor);

/* 64-bit FNV-1a of a name, as cursors carry it. */
extern uint64 ofs_name_hash(const char *name);

#endif							/* OFS_CURSOR_H */
