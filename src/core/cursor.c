/*
 * cursor.c
 *		The exact cursor: all that "since" depends on, packed.
 *
 * A cursor travels as text: "o", then base64url (no padding) of
 *
 *		body | seal (16 bytes) | CRC-32C of both (4 bytes)
 *
 * The body starts with a format version byte; numbers are unsigned LEB128
 * varints, ids and hashes eight bytes little endian.  The check sum tells a damaged
 * cursor (an error) from the whole cursor of another server (whose seal nobody here can
 * check, and which merely starts the device anew); the seal, made elsewhere, tells a
 * forged one.
 *
 * In-progress transaction ids are kept as ranges: one long transaction is one range,
 * and a thousand consecutive ids are one as well.
 *
 * Pure: no SQL, no catalogs, no settings.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/varint.h"
#include "core/cursor.h"
#include "port/pg_crc32c.h"

#define FORMAT_VERSION	1
#define TEXT_PREFIX		'o'

/* A cursor of ours can't exceed it. */
#define MAX_TEXT_LEN	(4 * 1024 * 1024)

static const char base64url[] =
"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* ---------- writing ---------- */

static void
put_collections(const OfsCursorCollection *collections, int count, StringInfo out)
{
	ofs_put_varint(out, count);
	for (int i = 0; i < count; i++)
	{
		ofs_put_fixed64(out, collections[i].hash);
		ofs_put_fixed64(out, collections[i].fingerprint);
	}
}

void
ofs_cursor_pack(const OfsCursor *cursor, StringInfo out)
{
	uint64		at = cursor->xmin;

	appendStringInfoCharMacro(out, FORMAT_VERSION);
	ofs_put_fixed64(out, (uint64) cursor->incarnation);
	ofs_put_varint(out, cursor->timeline);
	ofs_put_varint(out, cursor->lsn);
	ofs_put_varint(out, cursor->xmin);
	ofs_put_varint(out, cursor->xmax - cursor->xmin);

	ofs_put_varint(out, cursor->nrunning);
	for (int i = 0; i < cursor->nrunning; i++)
	{
		ofs_put_varint(out, cursor->running[i].first - at);
		ofs_put_varint(out, cursor->running[i].count);
		at = cursor->running[i].first + cursor->running[i].count;
	}

	ofs_put_varint(out, cursor->nown);
	for (int i = 0; i < cursor->nown; i++)
	{
		ofs_put_varint(out, (uint64) cursor->own[i].version);
		ofs_put_varint(out, cursor->own[i].timeline);
		ofs_put_varint(out, cursor->own[i].lsn);
		ofs_put_varint(out, cursor->own[i].necho);
		for (int j = 0; j < cursor->own[i].necho; j++)
			ofs_put_fixed64(out, cursor->own[i].echo[j]);
		put_collections(cursor->own[i].views, cursor->own[i].nviews, out);
	}

	put_collections(cursor->collections, cursor->ncollections, out);

	ofs_put_bytes(out, cursor->page, cursor->page_len);
	ofs_put_bytes(out, cursor->inputs, cursor->inputs_len);
}

static uint32
check_sum(const char *bytes, int len)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, len);
	FIN_CRC32C(crc);
	return (uint32) crc;
}

char *
ofs_cursor_text(const StringInfo packed, const uint8 seal[OFS_CURSOR_SEAL_LEN])
{
	StringInfoData bytes;
	char	   *text,
			   *at;
	uint32		crc;
	uint32		bits = 0;
	int			nbits = 0;

	initStringInfo(&bytes);
	appendBinaryStringInfo(&bytes, packed->data, packed->len);
	appendBinaryStringInfo(&bytes, (const char *) seal, OFS_CURSOR_SEAL_LEN);
	crc = check_sum(bytes.data, bytes.len);
	for (int i = 0; i < 4; i++)
		appendStringInfoCharMacro(&bytes, (char) (crc >> (8 * i)));

	text = at = palloc(bytes.len * 4 / 3 + 4);
	*at++ = TEXT_PREFIX;
	for (int i = 0; i < bytes.len; i++)
	{
		bits = (bits << 8) | (uint8) bytes.data[i];
		nbits += 8;
		while (nbits >= 6)
		{
			nbits -= 6;
			*at++ = base64url[(bits >> nbits) & 0x3F];
		}
	}
	if (nbits > 0)
		*at++ = base64url[(bits << (6 - nbits)) & 0x3F];
	*at = '\0';
	pfree(bytes.data);
	return text;
}

/* ---------- reading ---------- */

static int
base64url_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	if (c == '_')
		return 63;
	return -1;
}

OfsCursorError
ofs_cursor_open(const char *text, StringInfo body, uint8 seal[OFS_CURSOR_SEAL_LEN])
{
	size_t		len = strlen(text);
	uint32		bits = 0;
	int			nbits = 0;
	uint32		crc = 0;

	if (len < 2 || len > MAX_TEXT_LEN || text[0] != TEXT_PREFIX)
		return OFS_CURSOR_DAMAGED;

	initStringInfo(body);
	for (const char *at = text + 1; *at; at++)
	{
		int			value = base64url_value(*at);

		if (value < 0)
			return OFS_CURSOR_DAMAGED;
		bits = (bits << 6) | (uint32) value;
		nbits += 6;
		if (nbits >= 8)
		{
			nbits -= 8;
			appendStringInfoCharMacro(body, (char) (bits >> nbits));
		}
	}
	/* left-over bits are zero in whatever we wrote */
	if (nbits >= 6 || (bits & ((1U << nbits) - 1)) != 0)
		return OFS_CURSOR_DAMAGED;
	if (body->len < 4 + OFS_CURSOR_SEAL_LEN + 1)
		return OFS_CURSOR_DAMAGED;

	body->len -= 4;
	for (int i = 0; i < 4; i++)
		crc |= (uint32) (uint8) body->data[body->len + i] << (8 * i);
	if (crc != check_sum(body->data, body->len))
		return OFS_CURSOR_DAMAGED;

	body->len -= OFS_CURSOR_SEAL_LEN;
	memcpy(seal, body->data + body->len, OFS_CURSOR_SEAL_LEN);
	if ((uint8) body->data[0] > FORMAT_VERSION)
		return OFS_CURSOR_FUTURE;
	return OFS_CURSOR_OK;
}

static void
unpack_running(OfsReader *r, OfsCursor *cursor)
{
	uint64		at = cursor->xmin;

	cursor->nrunning = ofs_get_count(r, 2);
	cursor->running = palloc0_array(OfsCursorRange, Max(cursor->nrunning, 1));
	for (int i = 0; i < cursor->nrunning && !r->failed; i++)
	{
		uint64		gap = ofs_get_varint(r);
		uint64		count = ofs_get_varint(r);

		/* inside [xmin, xmax), so sums can't overflow either */
		if (gap > cursor->xmax - at || count == 0 || count > cursor->xmax - at - gap)
		{
			r->failed = true;
			return;
		}
		cursor->running[i].first = at + gap;
		cursor->running[i].count = count;
		at += gap + count;
	}
}

static OfsCursorCollection *
get_collections(OfsReader *r, int *count)
{
	OfsCursorCollection *collections;

	*count = ofs_get_count(r, 16);
	collections = palloc0_array(OfsCursorCollection, Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		collections[i].hash = ofs_get_fixed64(r);
		collections[i].fingerprint = ofs_get_fixed64(r);
	}
	return collections;
}

static void
unpack_own(OfsReader *r, OfsCursor *cursor)
{
	cursor->nown = ofs_get_count(r, 5);
	cursor->own = palloc0_array(OfsCursorOwn, Max(cursor->nown, 1));
	for (int i = 0; i < cursor->nown && !r->failed; i++)
	{
		OfsCursorOwn *own = &cursor->own[i];

		own->version = (int64) ofs_get_varint(r);
		own->timeline = (uint32) ofs_get_varint(r);
		own->lsn = ofs_get_varint(r);
		own->necho = ofs_get_count(r, 8);
		own->echo = palloc0_array(uint64, Max(own->necho, 1));
		for (int j = 0; j < own->necho; j++)
			own->echo[j] = ofs_get_fixed64(r);
		own->views = get_collections(r, &own->nviews);
	}
}

bool
ofs_cursor_unpack(const StringInfo body, OfsCursor *cursor)
{
	OfsReader		r = {(const uint8 *) body->data, (const uint8 *) body->data + body->len, false};
	uint64		width;

	memset(cursor, 0, sizeof(*cursor));
	if (body->len < 1 || *r.at++ != FORMAT_VERSION)
		return false;

	cursor->incarnation = (int64) ofs_get_fixed64(&r);
	cursor->timeline = (uint32) ofs_get_varint(&r);
	cursor->lsn = ofs_get_varint(&r);
	cursor->xmin = ofs_get_varint(&r);
	width = ofs_get_varint(&r);
	if (r.failed || cursor->xmin > PG_INT64_MAX || width > PG_INT64_MAX - cursor->xmin)
		return false;
	cursor->xmax = cursor->xmin + width;
	unpack_running(&r, cursor);
	unpack_own(&r, cursor);

	cursor->collections = get_collections(&r, &cursor->ncollections);
	cursor->page = ofs_get_bytes(&r, &cursor->page_len);
	cursor->inputs = ofs_get_bytes(&r, &cursor->inputs_len);
	return !r.failed && r.at == r.end;
}

uint64
ofs_name_hash(const char *name)
{
	uint64		hash = UINT64CONST(0xcbf29ce484222325);

	for (const uint8 *at = (const uint8 *) name; *at; at++)
	{
		hash ^= *at;
		hash *= UINT64CONST(0x100000001b3);
	}
	return hash;
}
