/*
 * uri.c
 *		Parts of URIs.
 */
#include "postgres.h"

#include "base/uri.h"
#include "mb/pg_wchar.h"

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = pg_ascii_tolower((unsigned char) c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *
ofs_uri_decode(const char *part, int len, bool query)
{
	char	   *text = palloc(len + 1);
	int			n = 0;

	for (int i = 0; i < len; i++)
	{
		if (part[i] == '%' && i + 2 < len && hex_digit(part[i + 1]) >= 0 && hex_digit(part[i + 2]) >= 0)
		{
			text[n++] = (char) (hex_digit(part[i + 1]) * 16 + hex_digit(part[i + 2]));
			i += 2;
		}
		else
			text[n++] = query && part[i] == '+' ? ' ' : part[i];
	}
	text[n] = '\0';
	/* escapes stand for bytes of UTF-8, which may be anything */
	if (strlen(text) != (size_t) n || !pg_verify_mbstr(PG_UTF8, text, n, true))
		return NULL;
	return pg_any_to_server(text, n, PG_UTF8);
}
