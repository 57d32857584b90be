/*
 * forge.c
 *		Cursors whose check sum is right.
 *
 * Whoever has one cursor can make others: the check sum is no secret.  The seal is.
 */
#include <string.h>

#include "forge.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static uint32_t
crc32c(const char *bytes, size_t len)
{
	uint32_t	crc = 0xFFFFFFFF;

	for (size_t i = 0; i < len; i++)
	{
		crc ^= (unsigned char) bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? (crc >> 1) ^ 0x82F63B78 : crc >> 1;
	}
	return crc ^ 0xFFFFFFFF;
}

bool
cursor_bytes(const Text *text, Text *body, unsigned char seal[CURSOR_SEAL_LEN])
{
	uint32_t	bits = 0;
	int			nbits = 0;

	text_clear(body);
	if (text->len == 0 || text->data[0] != 'o')
		return false;
	for (const char *at = text->data + 1; *at; at++)
	{
		const char *letter = strchr(letters, *at);
		char		byte;

		if (letter == NULL)
			return false;
		bits = bits << 6 | (uint32_t) (letter - letters);
		nbits += 6;
		if (nbits < 8)
			continue;
		nbits -= 8;
		byte = (char) (bits >> nbits);
		text_add(body, &byte, 1);
	}
	if (body->len < CURSOR_SEAL_LEN + 5)
		return false;
	body->len -= CURSOR_SEAL_LEN + 4;
	memcpy(seal, body->data + body->len, CURSOR_SEAL_LEN);
	return true;
}

void
cursor_text(Text *text, const Text *body, const unsigned char seal[CURSOR_SEAL_LEN])
{
	static Text bytes;
	uint32_t	crc;
	uint32_t	bits = 0;
	int			nbits = 0;

	text_clear(&bytes);
	text_add(&bytes, body->data, body->len);
	text_add(&bytes, (const char *) seal, CURSOR_SEAL_LEN);
	crc = crc32c(bytes.data, bytes.len);
	for (int i = 0; i < 4; i++)
		text_add(&bytes, (const char[]) {(char) (crc >> 8 * i)}, 1);

	text_clear(text);
	text_put(text, "o");
	for (size_t i = 0; i < bytes.len; i++)
	{
		bits = bits << 8 | (unsigned char) bytes.data[i];
		for (nbits += 8; nbits >= 6;)
		{
			nbits -= 6;
			text_add(text, &letters[bits >> nbits & 0x3F], 1);
		}
	}
	if (nbits > 0)
		text_add(text, &letters[bits << (6 - nbits) & 0x3F], 1);
}

void
cursor_bend(Text *body)
{
	for (uint64_t n = 1 + chance(3); n > 0 && body->len > 1; n--)
	{
		size_t		at = chance(body->len);

		switch (chance(5))
		{
			case 0:
				body->data[at] ^= (char) (1 << chance(8));
				break;
			case 1:
				body->data[at] = (char) (one_in(2) ? 0xFF : chance(256));
				break;
			case 2:
				body->len = one_in(3) ? at + 1 : body->len;
				break;
			case 3:
				text_add(body, body->data + at, body->len - at);
				break;
			default:
				memmove(body->data + at, body->data + at + 1, body->len - at - 1);
				body->len--;
		}
	}
}

bool
cursor_forge(Text *text)
{
	static Text body;
	unsigned char seal[CURSOR_SEAL_LEN];

	if (!cursor_bytes(text, &body, seal))
		return false;
	cursor_bend(&body);
	if (one_in(4))
		memset(seal, (int) chance(256), CURSOR_SEAL_LEN);
	cursor_text(text, &body, seal);
	return true;
}
