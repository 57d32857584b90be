/*
 * numtext.c
 *		A numeric as text, straight from the datum.
 *
 * numeric_out() copies the datum, unpacks it, makes a string of it and a copy of that.  What lies on disk is
 * read here as it is.  The server keeps the format to itself, but can't change it without breaking pg_upgrade:
 * a header of 16 bits that begins with the kind, then, in the long form, the weight in 16 bits, and the digits to the
 * base of 10000, the first of which stands for 10000 ^ weight.
 */
#include "postgres.h"

#include "base/codec_internal.h"
#include "base/compat.h"
#include "base/put.h"

#define KIND_MASK		0xC000
#define KIND_NEGATIVE	0x4000	/* long form */
#define KIND_SHORT		0x8000
#define KIND_SPECIAL	0xC000
#define LONG_SCALE		0x3FFF
#define SHORT_NEGATIVE	0x2000
#define SHORT_SCALE		0x1F80
#define SHORT_SCALE_BY	7
#define SHORT_WEIGHT_SIGN 0x0040
#define SHORT_WEIGHT	0x003F
#define SPECIAL_MASK	0xF000
#define SPECIAL_PLUS	0xD000	/* the infinities; else it is not a number */
#define SPECIAL_MINUS	0xF000

#define DIGITS_EACH		4		/* decimal digits in one to the base of 10000 */

typedef struct Number
{
	bool		negative;
	int			scale;
	int			weight;
	int			count;
	const char *digits;			/* of 16 bits, not aligned */
} Number;

static inline int
digit_at(const Number *number, int i)
{
	int16		digit;

	if (i < 0 || i >= number->count)
		return 0;
	memcpy(&digit, number->digits + i * sizeof(digit), sizeof(digit));
	return digit;
}

/* False for what is no number. */
static bool
take_apart(Number *number, const char *data, int len, uint16 *header)
{
	memcpy(header, data, sizeof(*header));
	if ((*header & KIND_MASK) == KIND_SPECIAL)
		return false;
	number->digits = data + sizeof(*header);
	if ((*header & KIND_MASK) == KIND_SHORT)
	{
		number->negative = (*header & SHORT_NEGATIVE) != 0;
		number->scale = (*header & SHORT_SCALE) >> SHORT_SCALE_BY;
		number->weight = *header & SHORT_WEIGHT;
		if (*header & SHORT_WEIGHT_SIGN)
			number->weight |= ~SHORT_WEIGHT;
	}
	else
	{
		int16		weight;

		memcpy(&weight, number->digits, sizeof(weight));
		number->digits += sizeof(weight);
		number->negative = (*header & KIND_MASK) == KIND_NEGATIVE;
		number->scale = *header & LONG_SCALE;
		number->weight = weight;
	}
	number->count = (data + len - number->digits) / sizeof(int16);
	return true;
}

static char *
put_integer(char *p, const Number *number)
{
	int			first = digit_at(number, 0);
	char		text[DIGITS_EACH];
	int			skip = first >= 1000 ? 0 : first >= 100 ? 1 : first >= 10 ? 2 : 3;

	if (number->weight < 0)
	{
		*p++ = '0';
		return p;
	}
	(void) ofs_put_four(text, first);
	memcpy(p, text + skip, DIGITS_EACH - skip);
	p += DIGITS_EACH - skip;
	for (int i = 1; i <= number->weight; i++)
		p = ofs_put_four(p, digit_at(number, i));
	return p;
}

static void
put_number(StringInfo out, const Number *number)
{
	/* sign, point, a digit, and what the last group of the fraction has too many */
	int			most = (Max(number->weight, 0) + 1) * DIGITS_EACH + number->scale + DIGITS_EACH + 3;
	char	   *p = ofs_put_room(out, most);

	if (number->negative)
		*p++ = '-';
	p = put_integer(p, number);
	if (number->scale > 0)
	{
		char	   *end;

		*p++ = '.';
		end = p + number->scale;
		for (int i = number->weight + 1; p < end; i++)
			p = ofs_put_four(p, digit_at(number, i));
		p = end;
	}
	ofs_put_end(out, p);
}

const char *
ofs_numeric_write(StringInfo out, Datum value)
{
	struct varlena *datum = PG_DETOAST_DATUM_PACKED(value);
	Number		number;
	uint16		header;
	bool		finite = take_apart(&number, VARDATA_ANY(datum), VARSIZE_ANY_EXHDR(datum), &header);

	if (finite)
		put_number(out, &number);
	if ((Pointer) datum != DatumGetPointer(value))
		pfree(datum);
	if (finite)
		return NULL;
	header &= SPECIAL_MASK;
	return header == SPECIAL_PLUS ? "Infinity" : header == SPECIAL_MINUS ? "-Infinity" : "NaN";
}
