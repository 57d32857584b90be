/*
 * varint.h
 *		Numbers and bytes, packed and read back: unsigned LEB128, and eight bytes little endian.
 *
 * A reader that runs out of bytes, or meets a length that can't be, is marked as failed and answers zeros.
 */
#ifndef OFS_VARINT_H
#define OFS_VARINT_H

#include "postgres.h"

#include "lib/stringinfo.h"

typedef struct OfsReader
{
	const uint8 *at;
	const uint8 *end;
	bool		failed;
} OfsReader;

extern void ofs_put_varint(StringInfo out, uint64 value);
extern void ofs_put_fixed64(StringInfo out, uint64 value);
extern void ofs_put_bytes(StringInfo out, const uint8 *bytes, int len);

extern uint8 ofs_get_byte(OfsReader *r);
extern uint64 ofs_get_varint(OfsReader *r);
extern uint64 ofs_get_fixed64(OfsReader *r);

/* A number of items, each of which takes at least item_len bytes. */
extern int	ofs_get_count(OfsReader *r, int item_len);

/* Bytes behind their length; not copied. */
extern const uint8 *ofs_get_bytes(OfsReader *r, int *len);

#endif							/* OFS_VARINT_H */
