/*
 * text.c
 *		Texts that grow, and chance that can be repeated.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mutate.h"

/* ---------- texts ---------- */

void
text_clear(Text *text)
{
	text->len = 0;
	text_add(text, "", 0);
}

void
text_add(Text *text, const char *bytes, size_t len)
{
	if (text->data == NULL || text->len + len + 1 > text->room)
	{
		ptrdiff_t	own = text->data && bytes >= text->data && bytes <= text->data + text->len ? bytes - text->data : -1;

		text->room = (text->len + len + 1) * 2;
		text->data = realloc(text->data, text->room);
		if (text->data == NULL)
			abort();
		/* a piece of the text itself has moved with it */
		if (own >= 0)
			bytes = text->data + own;
	}
	if (len > 0)
		memmove(text->data + text->len, bytes, len);
	text->len += len;
	text->data[text->len] = '\0';
}

void
text_put(Text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

void
text_printf(Text *text, const char *fmt,...)
{
	char		piece[512];
	va_list		args;
	int			len;

	va_start(args, fmt);
	len = vsnprintf(piece, sizeof(piece), fmt, args);
	va_end(args);
	text_add(text, piece, len < (int) sizeof(piece) ? (size_t) len : sizeof(piece) - 1);
}

/* ---------- chance ---------- */

static uint64_t state = 88172645463325252u;

void
chance_seed(uint64_t seed)
{
	state = (seed + 1) * 0x9E3779B97F4A7C15u | 1;
	for (int i = 0; i < 9; i++)
		(void) chance(2);
}

uint64_t
chance(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below > 1 ? (state >> 11) % below : 0;
}
