/*
 * clocks.h
 *		When each field of a row was last written, by the clock of whoever wrote it.
 *
 * Tables whose strategy asks for it have the column server_clocks, which the stamp trigger writes, and nobody else can.  Devices
 * that have hybrid logical clocks (core/hlc.h) send them along; whatever else writes a field, a device without a clock or a
 * statement on the server, does so by the server's clock, later than all that the field had.
 *
 * The column is NULL as long as the row is as it was inserted on the server: then all fields have the time
 * server_updated_at, by the server's clock.  Else it holds clocks as text:
 *
 *	{clock of all fields that stand not below, clock of the row or '', field, its clock, field, its clock, ...}
 *
 * A field that nobody has written yet has the zero clock, which is below all others.
 *
 * The row's clock is for peers that know no other.  It is the clock of its fields where all that were written have the same, and it
 * goes up with that; else, or where the row has more than its fields, it is the server's: later than all of them and than it was before,
 * but by no more than a count, so that what a device writes later is later.
 */
#ifndef OFS_CLOCKS_H
#define OFS_CLOCKS_H

#include "postgres.h"

#include "core/hlc.h"
#include "datatype/timestamp.h"

/* The server's clock, as against those of devices. */
#define OFS_SERVER_NODE		"server"

typedef struct OfsFieldClock
{
	const char *field;			/* name of the column */
	OfsHlc		clock;
} OfsFieldClock;

typedef struct OfsClocks
{
	OfsHlc		base;			/* of fields that have none of their own */
	OfsHlc		row;
	int			nfields;
	OfsFieldClock *fields;
} OfsClocks;

/* The value (text[]) of a row of the relation, which has this server_updated_at. */
extern OfsClocks *ofs_clocks_read(Oid relid, Datum value, bool isnull, TimestampTz updated_at);

extern const OfsHlc *ofs_clocks_get(const OfsClocks *clocks, const char *field);

extern bool ofs_clocks_is_zero(const OfsHlc *clock);

/* A field of a row that is about to be stored. */
typedef struct OfsFieldWrite
{
	const char *field;
	const OfsHlc *given;		/* by its device; NULL: none */
	bool		changed;		/* it is written, whether that has a clock or not */
} OfsFieldWrite;

/*
 * The value when these are written, which are all fields of the row; before is NULL where there was none.  A given clock
 * counts where it is later than the field's.  computes: the row has columns that the server computes of its fields.
 */
extern Datum ofs_clocks_stamp(const OfsClocks *before, const OfsFieldWrite *writes, int nwrites, bool computes, int64 wall);

/* Milliseconds since 1970. */
extern int64 ofs_clocks_wall(TimestampTz at);

#endif							/* OFS_CLOCKS_H */
