/*
 * put.h
 *		Writing at the end of a StringInfo without a call for each piece.
 *
 * Take room for the most that can come, write, and say where it ended:
 *
 *		char	   *p = ofs_put_room(out, most);
 *
 *		p = ...;
 *		ofs_put_end(out, p);
 */
#ifndef OFS_PUT_H
#define OFS_PUT_H

#include "postgres.h"

#include "lib/stringinfo.h"

/* Where the text goes on; a NUL has its place behind the room. */
static inline char *
ofs_put_room(StringInfo out, int room)
{
	if (unlikely(room >= out->maxlen - out->len))
		enlargeStringInfo(out, room);
	return out->data + out->len;
}

static inline void
ofs_put_end(StringInfo out, char *end)
{
	*end = '\0';
	out->len = end - out->data;
}

static inline void
ofs_put_bytes(StringInfo out, const char *bytes, int len)
{
	char	   *p = ofs_put_room(out, len);

	memcpy(p, bytes, len);
	ofs_put_end(out, p + len);
}

static inline void
ofs_put_char(StringInfo out, char c)
{
	char	   *p = ofs_put_room(out, 1);

	*p = c;
	ofs_put_end(out, p + 1);
}

/* A text that the compiler knows. */
#define ofs_put_literal(out, literal) ofs_put_bytes(out, literal, sizeof(literal) - 1)

/* Two and four decimal digits, with leading zeros. */
static inline char *
ofs_put_two(char *p, int number)
{
	p[0] = '0' + number / 10;
	p[1] = '0' + number % 10;
	return p + 2;
}

static inline char *
ofs_put_four(char *p, int number)
{
	return ofs_put_two(ofs_put_two(p, number / 100), number % 100);
}

#endif							/* OFS_PUT_H */
