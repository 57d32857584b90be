/*
 * varint.c
 *		Numbers and bytes, packed and read back.
 */
#include "postgres.h"

#include "base/varint.h"

/* A length that nothing of ours can have. */
#define MAX_ITEMS		(1024 * 1024)

/* ---------- writing ---------- */

void
ofs_put_varint(StringInfo out, uint64 value)
{
	while (value >= 0x80)
	{
		appendStringInfoCharMacro(out, (char) (value | 0x80));
		value >>= 7;
	}
	appendStringInfoCharMacro(out, (char) value);
}

void
ofs_put_fixed64(StringInfo out, uint64 value)
{
	for (int i = 0; i < 8; i++)
		appendStringInfoCharMacro(out, (char) (value >> (8 * i)));
}

void
ofs_put_bytes(StringInfo out, const uint8 *bytes, int len)
{
	ofs_put_varint(out, len);
	appendBinaryStringInfo(out, (const char *) bytes, len);
}

/* ---------- reading ---------- */

uint8
ofs_get_byte(OfsReader *r)
{
	if (r->at >= r->end)
	{
		r->failed = true;
		return 0;
	}
	return *r->at++;
}

uint64
ofs_get_varint(OfsReader *r)
{
	uint64		value = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		uint8		byte;

		if (r->at >= r->end)
			break;
		byte = *r->at++;
		value |= (uint64) (byte & 0x7F) << shift;
		if (!(byte & 0x80))
			return value;
	}
	r->failed = true;
	return 0;
}

uint64
ofs_get_fixed64(OfsReader *r)
{
	uint64		value = 0;

	if (r->end - r->at < 8)
	{
		r->failed = true;
		return 0;
	}
	for (int i = 0; i < 8; i++)
		value |= (uint64) r->at[i] << (8 * i);
	r->at += 8;
	return value;
}

int
ofs_get_count(OfsReader *r, int item_len)
{
	uint64		count = ofs_get_varint(r);

	if (r->failed || count > MAX_ITEMS || count * item_len > (uint64) (r->end - r->at))
	{
		r->failed = true;
		return 0;
	}
	return (int) count;
}

const uint8 *
ofs_get_bytes(OfsReader *r, int *len)
{
	const uint8 *bytes;

	*len = ofs_get_count(r, 1);
	bytes = r->at;
	r->at += *len;
	return bytes;
}
