/*
 * hlc.c
 *		Hybrid logical clocks: times that devices without a common clock can order their writes by.
 *
 * A clock is (milliseconds, count, node), and they are compared in this order, numbers as numbers and nodes byte by byte.  A node's
 * next clock is the wall's time where that has gone on since its last, and else the same time with a higher count.  So
 * clocks of one node never go back, whoever has got a clock gives later ones from then on, and no two nodes' are the same.  (Kulkarni
 * et al., Logical Physical Clocks, 2014.)
 *
 * Two clients' text forms are read, told apart by their shape:
 *
 *	messages	decimal milliseconds ':' count in base 36 ':' node; padded with zeros to 15 and 5 figures
 *	row			time of ISO 8601 in UTC, with 0, 3 or 6 figures of a second's parts, '-' count as 4 hexadecimal figures '-' node
 *
 * The row form has microseconds, which the other one lacks: they count as 65536 each.  That keeps the order of both, and is
 * written back as it was.  A clock beyond a year of four figures is none.
 */
#include "postgres.h"

#include "core/hlc.h"

#define MS_PER_DAY		INT64CONST(86400000)
#define COUNTS_PER_US	65536

/* ---------- text ---------- */

static int
digit_value(char c, int base)
{
	int			value;

	if (c >= '0' && c <= '9')
		value = c - '0';
	else if (c >= 'a' && c <= 'z')
		value = c - 'a' + 10;
	else if (c >= 'A' && c <= 'Z')
		value = c - 'A' + 10;
	else
		return -1;
	return value < base ? value : -1;
}

/* A number of at least one figure, or of exactly so many; false when it is none, or too large. */
static bool
read_number(const char **at, int base, int figures, int64 max, int64 *number)
{
	const char *start = *at;

	*number = 0;
	for (int value; (figures == 0 || *at - start < figures) && (value = digit_value(**at, base)) >= 0; (*at)++)
	{
		*number = *number * base + value;
		if (*number > max)
			return false;
	}
	return figures == 0 ? *at > start : *at - start == figures;
}

static bool
read_char(const char **at, char c)
{
	return *(*at)++ == c;
}

/* A number of so many figures, between these, and what stands behind it. */
static bool
read_part(const char **at, int figures, int64 min, int64 max, char behind, int64 *number)
{
	return read_number(at, 10, figures, max, number) && *number >= min && (behind == '\0' || read_char(at, behind));
}

static bool
is_leap(int64 year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int
month_days(int64 year, int64 month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days from the first of 1970 to that of a year. */
static int64
year_start(int64 year)
{
	int64		before = year - 1;

	return 365 * (year - 1970) + before / 4 - before / 100 + before / 400 - 477;
}

/* The parts of a second, in microseconds: none, or three or six figures. */
static bool
read_fraction(const char **at, int64 *us)
{
	const char *start = *at + 1;

	*us = 0;
	if (**at != '.')
		return true;
	(*at)++;
	if (!read_number(at, 10, 0, 999999, us))
		return false;
	if (*at - start == 3)
		*us *= 1000;
	return *at - start == 3 || *at - start == 6;
}

static bool
parse_row(const char *at, OfsHlc *clock)
{
	int64		year,
				month,
				day,
				hour,
				minute,
				second,
				us,
				count,
				days;

	if (!read_part(&at, 4, 1970, 9999, '-', &year) || !read_part(&at, 2, 1, 12, '-', &month) ||
		!read_part(&at, 2, 1, month_days(year, month), 'T', &day) || !read_part(&at, 2, 0, 23, ':', &hour) ||
		!read_part(&at, 2, 0, 59, ':', &minute) || !read_part(&at, 2, 0, 59, '\0', &second) ||
		!read_fraction(&at, &us) || !read_char(&at, 'Z') || !read_char(&at, '-') ||
		!read_number(&at, 16, 4, 65535, &count) || !read_char(&at, '-'))
		return false;
	days = year_start(year) + day - 1;
	for (int64 m = 1; m < month; m++)
		days += month_days(year, m);
	clock->ms = days * MS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1000 + us / 1000;
	clock->count = (uint32) (us % 1000 * COUNTS_PER_US + count);
	clock->node = at;
	return true;
}

static bool
parse_messages(const char *at, OfsHlc *clock)
{
	int64		count;

	if (!read_number(&at, 10, 0, OFS_HLC_MAX_MS, &clock->ms) || !read_char(&at, ':') ||
		!read_number(&at, 36, 0, OFS_HLC_MAX_COUNT, &count) || !read_char(&at, ':'))
		return false;
	clock->count = (uint32) count;
	clock->node = at;
	return true;
}

bool
ofs_hlc_parse(const char *text, OfsHlc *clock)
{
	size_t		figures = strspn(text, "0123456789");

	if (text[figures] == ':' ? !parse_messages(text, clock) : !parse_row(text, clock))
		return false;
	for (const char *c = clock->node; *c != '\0'; c++)
	{
		if ((unsigned char) *c < ' ' || *c == 0x7f)
			return false;
	}
	return strlen(clock->node) <= OFS_HLC_MAX_NODE;
}

static void
write_count(StringInfo out, uint32 count)
{
	char		figures[8];
	int			n = sizeof(figures);

	figures[--n] = '\0';
	do
	{
		figures[--n] = "0123456789abcdefghijklmnopqrstuvwxyz"[count % 36];
		count /= 36;
	} while (count > 0);
	while (n > (int) sizeof(figures) - 6)
		figures[--n] = '0';
	appendStringInfoString(out, figures + n);
}

static void
write_row(StringInfo out, const OfsHlc *clock)
{
	int64		days = clock->ms / MS_PER_DAY;
	int			ms = (int) (clock->ms % MS_PER_DAY);
	int64		year = 1970 + days / 366;
	int			month = 1;

	while (year_start(year + 1) <= days)
		year++;
	days -= year_start(year);
	while (days >= month_days(year, month))
		days -= month_days(year, month++);
	appendStringInfo(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03d", (int) year, month, (int) days + 1,
					 ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
	if (clock->count >= COUNTS_PER_US)
		appendStringInfo(out, "%03d", (int) (clock->count / COUNTS_PER_US));
	appendStringInfo(out, "Z-%04X-%s", clock->count % COUNTS_PER_US, clock->node);
}

void
ofs_hlc_write(StringInfo out, OfsHlcForm form, const OfsHlc *clock)
{
	if (form == OFS_HLC_ROW)
	{
		write_row(out, clock);
		return;
	}
	appendStringInfo(out, "%015lld:", (long long) clock->ms);
	write_count(out, clock->count);
	appendStringInfo(out, ":%s", clock->node);
}

/* ---------- order ---------- */

int
ofs_hlc_compare(const OfsHlc *a, const OfsHlc *b)
{
	if (a->ms != b->ms)
		return a->ms < b->ms ? -1 : 1;
	if (a->count != b->count)
		return a->count < b->count ? -1 : 1;
	return strcmp(a->node, b->node);
}

/* Behind the last count comes the next millisecond: a microsecond more would be less to who compares the row form as text. */
OfsHlc
ofs_hlc_after(const OfsHlc *previous, const char *node)
{
	OfsHlc		clock = {previous->ms, previous->count + 1, node};

	if (clock.count % COUNTS_PER_US == 0)
	{
		clock.ms++;
		clock.count = 0;
	}
	return clock;
}

OfsHlc
ofs_hlc_tick(const OfsHlc *previous, int64 wall, const char *node)
{
	OfsHlc		clock = {wall, 0, node};

	return previous == NULL || previous->ms < wall ? clock : ofs_hlc_after(previous, node);
}

OfsHlc
ofs_hlc_receive(const OfsHlc *own, const OfsHlc *remote, int64 wall, const char *node)
{
	return ofs_hlc_tick(ofs_hlc_compare(own, remote) < 0 ? remote : own, wall, node);
}
