/*
 * hlc.h
 *		Hybrid logical clocks: times that devices without a common clock can order their writes by.
 */
#ifndef OFS_HLC_H
#define OFS_HLC_H

#include "postgres.h"

#include "lib/stringinfo.h"

#define OFS_HLC_MAX_MS		INT64CONST(253402300799999) /* the last of the year 9999 */
#define OFS_HLC_MAX_COUNT	(999 * 65536 + 65535)	/* what the row form can hold beside a millisecond */
#define OFS_HLC_MAX_NODE	255						/* bytes */

typedef struct OfsHlc
{
	int64		ms;				/* since 1970 */
	uint32		count;			/* of the writes within that, or since the clock last went ahead */
	const char *node;			/* whose clock it is */
} OfsHlc;

typedef enum OfsHlcForm
{
	OFS_HLC_MESSAGES,			/* 001704067200000:00001:node */
	OFS_HLC_ROW					/* 2024-01-01T00:00:00.000Z-0001-node */
} OfsHlcForm;

/* In either form; false when it is none.  The node stays where it is in the text. */
extern bool ofs_hlc_parse(const char *text, OfsHlc *clock);

extern void ofs_hlc_write(StringInfo out, OfsHlcForm form, const OfsHlc *clock);

/* Below, at or above 0, as with strcmp. */
extern int	ofs_hlc_compare(const OfsHlc *a, const OfsHlc *b);

/* The next clock of a node after one that it knows (NULL: none), at this time. */
extern OfsHlc ofs_hlc_tick(const OfsHlc *previous, int64 wall, const char *node);

/* The clock of a node that has got another one's. */
extern OfsHlc ofs_hlc_receive(const OfsHlc *own, const OfsHlc *remote, int64 wall, const char *node);

/* The least clock of a node, or more, that is later; no time passes. */
extern OfsHlc ofs_hlc_after(const OfsHlc *previous, const char *node);

/* Is it more than limit milliseconds ahead of the time? */
static inline bool
ofs_hlc_ahead(const OfsHlc *clock, int64 wall, int64 limit)
{
	return clock->ms - wall > limit;
}

#endif							/* OFS_HLC_H */
