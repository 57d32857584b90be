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
#include "core/cursor.h"
#include "port/pg_crc32c.h"

#define FORMAT_VERSION	1
#define TEXT_PREFIX		'o'

/* Bounds that a cursor of ours can't exceed; forged lengths stop here. */
#define MAX_TEXT_LEN	(4 * 1024 * 1024)
#define MAX_ITEMS		(1024 * 1024)

static const char base64url[] =
"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* ---------- writing ---------- */

static void
put_varint(StringInfo out, uint64 value)
{
	while (value >= 0x80)
	{
		appendStringInfoCharMacro(out, (char) (value | 0x80));
		value >>= 7;
	}
	appendStringInfoCharMacro(out, (char) value);
}

static void
put_fixed64(StringInfo out, uint64 value)
{
	for (int i = 0; i < 8; i++)
		appendStringInfoCharMacro(out, (char) (value >> (8 * i)));
}

static void
put_bytes(StringInfo out, const uint8 *bytes, int len)
{
	put_varint(out, len);
	appendBinaryStringInfo(out, (const char *) bytes, len);
}

void
ofs_cursor_pack(const OfsCursor *cursor, StringInfo out)
{
	uint64		at = cursor->xmin;

	appendStringInfoCharMacro(out, FORMAT_VERSION);
	put_fixed64(out, (uint64) cursor->incarnation);
	put_varint(out, cursor->timeline);
	put_varint(out, cursor->lsn);
	put_varint(out, cursor->xmin);
	put_varint(out, cursor->xmax - cursor->xmin);

	put_varint(out, cursor->nrunning);
	for (int i = 0; i < cursor->nrunning; i++)
	{
		put_varint(out, cursor->running[i].first - at);
		put_varint(out, cursor->running[i].count);
		at = cursor->running[i].first + cursor->running[i].count;
	}

	put_varint(out, cursor->nown);
	for (int i = 0; i < cursor->nown; i++)
	{
		put_varint(out, (uint64) cursor->own[i].version);
		put_varint(out, cursor->own[i].timeline);
		put_varint(out, cursor->own[i].lsn);
		put_varint(out, cursor->own[i].necho);
		for (int j = 0; j < cursor->own[i].necho; j++)
			put_fixed64(out, cursor->own[i].echo[j]);
	}

	put_varint(out, cursor->ncollections);
	for (int i = 0; i < cursor->ncollections; i++)
	{
		put_fixed64(out, cursor->collections[i].hash);
		put_fixed64(out, cursor->collections[i].fingerprint);
	}

	put_bytes(out, cursor->filter, cursor->filter_len);
	put_bytes(out, cursor->page, cursor->page_len);
	put_bytes(out, cursor->inputs, cursor->inputs_len);
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

typedef struct Reader
{
	const uint8 *at;
	const uint8 *end;
	bool		failed;
} Reader;

static uint64
get_varint(Reader *r)
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

static uint64
get_fixed64(Reader *r)
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

/* A number of items, each of which takes at least item_len bytes. */
static int
get_count(Reader *r, int item_len)
{
	uint64		count = get_varint(r);

	if (r->failed || count > MAX_ITEMS || count * item_len > (uint64) (r->end - r->at))
	{
		r->failed = true;
		return 0;
	}
	return (int) count;
}

static const uint8 *
get_bytes(Reader *r, int *len)
{
	const uint8 *bytes;

	*len = get_count(r, 1);
	bytes = r->at;
	r->at += *len;
	return bytes;
}

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
unpack_running(Reader *r, OfsCursor *cursor)
{
	uint64		at = cursor->xmin;

	cursor->nrunning = get_count(r, 2);
	cursor->running = palloc0_array(OfsCursorRange, Max(cursor->nrunning, 1));
	for (int i = 0; i < cursor->nrunning && !r->failed; i++)
	{
		uint64		gap = get_varint(r);
		uint64		count = get_varint(r);

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

static void
unpack_own(Reader *r, OfsCursor *cursor)
{
	cursor->nown = get_count(r, 4);
	cursor->own = palloc0_array(OfsCursorOwn, Max(cursor->nown, 1));
	for (int i = 0; i < cursor->nown && !r->failed; i++)
	{
		OfsCursorOwn *own = &cursor->own[i];

		own->version = (int64) get_varint(r);
		own->timeline = (uint32) get_varint(r);
		own->lsn = get_varint(r);
		own->necho = get_count(r, 8);
		own->echo = palloc0_array(uint64, Max(own->necho, 1));
		for (int j = 0; j < own->necho; j++)
			own->echo[j] = get_fixed64(r);
	}
}

bool
ofs_cursor_unpack(const StringInfo body, OfsCursor *cursor)
{
	Reader		r = {(const uint8 *) body->data, (const uint8 *) body->data + body->len, false};
	uint64		width;

	memset(cursor, 0, sizeof(*cursor));
	if (body->len < 1 || *r.at++ != FORMAT_VERSION)
		return false;

	cursor->incarnation = (int64) get_fixed64(&r);
	cursor->timeline = (uint32) get_varint(&r);
	cursor->lsn = get_varint(&r);
	cursor->xmin = get_varint(&r);
	width = get_varint(&r);
	if (r.failed || cursor->xmin > PG_INT64_MAX || width > PG_INT64_MAX - cursor->xmin)
		return false;
	cursor->xmax = cursor->xmin + width;
	unpack_running(&r, cursor);
	unpack_own(&r, cursor);

	cursor->ncollections = get_count(&r, 16);
	cursor->collections = palloc0_array(OfsCursorCollection, Max(cursor->ncollections, 1));
	for (int i = 0; i < cursor->ncollections; i++)
	{
		cursor->collections[i].hash = get_fixed64(&r);
		cursor->collections[i].fingerprint = get_fixed64(&r);
	}
	cursor->filter = get_bytes(&r, &cursor->filter_len);
	cursor->page = get_bytes(&r, &cursor->page_len);
	cursor->inputs = get_bytes(&r, &cursor->inputs_len);
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
