/*
 * jsontext.c
 *		Strings as JSON text.
 *
 * Most text has nothing to escape, or long runs of it.  A run is looked at and copied at once, a vector or a
 * machine word at a time.
 */
#include "postgres.h"

#include "base/codec.h"
#include "base/put.h"
#include "port/pg_bitutils.h"

/* the longest escape, \u0000 */
#define ESCAPE_LEN 6

#if defined(__SSE2__)
#include <emmintrin.h>

#define STEP ((int) sizeof(__m128i))

/* Copy as many bytes as a step has; how many of them, from the start, need no escaping. */
static inline int
copy_step(char *to, const char *text)
{
	const __m128i bytes = _mm_loadu_si128((const __m128i *) text);
	__m128i		found;
	int			mask;

	_mm_storeu_si128((__m128i *) to, bytes);
	found = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
	found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
	found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
	mask = _mm_movemask_epi8(found);
	return mask == 0 ? STEP : pg_rightmost_one_pos32(mask);
}

#else

#define STEP ((int) sizeof(uint64))

static inline bool
is_clean(char c)
{
	return (unsigned char) c >= 0x20 && c != '"' && c != '\\';
}

/* True when none of eight bytes needs escaping. */
static inline bool
word_is_clean(uint64 word)
{
	const uint64 ones = UINT64CONST(0x0101010101010101);
	const uint64 quotes = word ^ (ones * '"');
	const uint64 slashes = word ^ (ones * '\\');
	uint64		found;

	/* the high bit of a byte is set where that byte is below the subtrahend */
	found = (word - ones * 0x20) & ~word;
	found |= (quotes - ones) & ~quotes;
	found |= (slashes - ones) & ~slashes;
	return (found & (ones * 0x80)) == 0;
}

static inline int
copy_step(char *to, const char *text)
{
	uint64		word;
	int			clean = 0;

	memcpy(&word, text, sizeof(word));
	memcpy(to, &word, sizeof(word));
	if (word_is_clean(word))
		return STEP;
	while (is_clean(text[clean]))
		clean++;
	return clean;
}

#endif

static char *
put_escape(char *p, char c)
{
	static const char digits[] = "0123456789abcdef";
	static const char letters[] = "btnvfr";	/* of the controls from 8 on; the vertical tab has none */

	*p++ = '\\';
	if (c == '"' || c == '\\')
		*p++ = c;
	else if (c >= '\b' && c <= '\r' && c != '\v')
		*p++ = letters[c - '\b'];
	else
	{
		p[0] = 'u';
		p[1] = p[2] = '0';
		p[3] = digits[(unsigned char) c >> 4];
		p[4] = digits[c & 0x0F];
		p += 5;
	}
	return p;
}

void
ofs_json_string(StringInfo out, const char *text, int len)
{
	char	   *p = ofs_put_room(out, len + ESCAPE_LEN + 2);

	*p++ = '"';
	while (len > 0)
	{
		char		last[STEP];
		int			step = Min(len, STEP);
		int			clean;

		if (len >= STEP)
			clean = copy_step(p, text);
		else
		{
			/* what lies behind the text isn't ours to read: spaces stand in for it */
			memset(last, ' ', STEP);
			memcpy(last, text, len);
			clean = Min(copy_step(last, last), len);
			memcpy(p, last, len);
		}
		p += clean;
		text += clean;
		len -= clean;
		if (clean == step)
			continue;

		p = put_escape(p, *text++);
		len--;
		ofs_put_end(out, p);
		p = ofs_put_room(out, len + ESCAPE_LEN + 1);
	}
	*p++ = '"';
	ofs_put_end(out, p);
}

void
ofs_json_text(StringInfo out, const char *text)
{
	if (text == NULL)
		ofs_put_literal(out, "null");
	else
		ofs_json_string(out, text, strlen(text));
}
