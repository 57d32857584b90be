/*
 * jsonscan.h
 *		Going through a JSON text that is known to be one.
 */
#ifndef OFS_JSONSCAN_H
#define OFS_JSONSCAN_H

#include "base/codec.h"
#include "base/compat.h"

/* A value where it stands, or where it was put together; not NUL-terminated. */
typedef struct OfsJsonSlice
{
	OfsJsonKind kind;
	int			len;
	const char *text;
} OfsJsonSlice;

typedef struct OfsJsonScan
{
	const char *at;
	const char *end;
	StringInfoData string;		/* room for one with escapes */
	bool		lenient;		/* what no text can hold is no error, ... */
	OfsJsonSlice wrong;			/* ... but stands here as it does in the JSON; without text where there was nothing of the kind */
} OfsJsonScan;

extern void ofs_jsonscan_open(OfsJsonScan *scan, const char *json, int len);

/* The character that the next token begins with; 0 at the end. */
extern char ofs_jsonscan_peek(OfsJsonScan *scan);

/* Step over the next token where it is this character. */
extern bool ofs_jsonscan_step(OfsJsonScan *scan, char token);

/* Step over it; it must be there. */
extern void ofs_jsonscan_expect(OfsJsonScan *scan, char token);

/* The next value, whatever it is; it is good till the one that follows. */
extern void ofs_jsonscan_value(OfsJsonScan *scan, OfsJsonSlice *value);

/* The same without a look into what it says: it stands with its quotes and escapes, of which some may be wrong. */
extern void ofs_jsonscan_raw(OfsJsonScan *scan, OfsJsonSlice *value);

/* What that says. */
extern void ofs_jsonscan_read(OfsJsonScan *scan, const OfsJsonSlice *raw, OfsJsonSlice *value);

/*
 * The values of an object's members of these names, likewise; without text where there is no such member.  Of several of a name the
 * last one counts.
 */
extern void ofs_jsonscan_members(OfsJsonScan *scan, const char *const *names, int count, OfsJsonSlice *values);

/* The name of a member, and the colon behind it; likewise. */
extern void ofs_jsonscan_name(OfsJsonScan *scan, OfsJsonSlice *name);

/* A name without escapes that stands at scan->at: step over it and its colon. */
extern void ofs_jsonscan_skip_name(OfsJsonScan *scan, int len);

/* The error that such a text is. */
OFS_NORETURN extern void ofs_jsonscan_complain(const char *wrong);

#endif							/* OFS_JSONSCAN_H */
