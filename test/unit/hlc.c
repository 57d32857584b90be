/*
 * hlc.c
 *		Hybrid logical clocks: their text forms, their order, and that they go on.
 *
 * Seeded; HLC_SEED and HLC_ROUNDS set another run.
 */
#include "postgres.h"

#include <time.h>

#include "core/hlc.h"

static int	ntests = 0;
static int	nfailed = 0;
static uint64 state;

static uint64
rnd(uint64 below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static void
ok(bool passed, const char *what)
{
	printf("%sok %d - %s\n", passed ? "" : "not ", ++ntests, what);
	nfailed += !passed;
}

static char *
text_of(OfsHlcForm form, const OfsHlc *clock)
{
	StringInfoData out;

	initStringInfo(&out);
	ofs_hlc_write(&out, form, clock);
	return out.data;
}

/* Read, and written in both forms. */
static void
reads(const char *text, const char *messages, const char *row)
{
	OfsHlc		clock;

	if (!ofs_hlc_parse(text, &clock))
	{
		ok(false, text);
		return;
	}
	ok(strcmp(text_of(OFS_HLC_MESSAGES, &clock), messages) == 0 && strcmp(text_of(OFS_HLC_ROW, &clock), row) == 0, text);
}

static void
refuses(const char *text)
{
	OfsHlc		clock;

	ok(!ofs_hlc_parse(text, &clock), text);
}

static void
test_forms(void)
{
	reads("000001704067200000:00001:device-abc", "001704067200000:00001:device-abc", "2024-01-01T00:00:00.000Z-0001-device-abc");
	reads("1704067200000:1:a:b-c d", "001704067200000:00001:a:b-c d", "2024-01-01T00:00:00.000Z-0001-a:b-c d");
	reads("0:0:", "000000000000000:00000:", "1970-01-01T00:00:00.000Z-0000-");
	reads("1970-01-01T00:00:00.000Z-0000-n", "000000000000000:00000:n", "1970-01-01T00:00:00.000Z-0000-n");
	reads("2024-11-02T09:16:39.123Z-0000-3f2a", "001730538999123:00000:3f2a", "2024-11-02T09:16:39.123Z-0000-3f2a");
	reads("2024-11-02T09:16:39.123456Z-00FF-3f2a", "001730538999123:hsj5r:3f2a", "2024-11-02T09:16:39.123456Z-00FF-3f2a");
	reads("2024-11-02T09:16:39Z-00ff-3f2a", "001730538999000:00073:3f2a", "2024-11-02T09:16:39.000Z-00FF-3f2a");
	reads("2024-02-29T23:59:59.999999Z-FFFF-n", "001709251199999:130nwf:n", "2024-02-29T23:59:59.999999Z-FFFF-n");
	reads("9999-12-31T23:59:59.999Z-0000-n", "253402300799999:00000:n", "9999-12-31T23:59:59.999Z-0000-n");
	reads("000001704067200000:ZZzz:n", "001704067200000:0zzzz:n", "2024-01-01T00:00:00.000025Z-A0FF-n");
}

static void
test_refusals(void)
{
	refuses("");
	refuses("now");
	refuses("1704067200000");
	refuses("1704067200000:1");
	refuses("1704067200000::n");
	refuses(":1:n");
	refuses("-1:1:n");
	refuses("1704067200000:1z!:n");
	refuses("253402300800000:0:n");
	refuses("99999999999999999999999:0:n");
	refuses("0:zzzzzzzzzz:n");
	refuses("2024-11-02T09:16:39.123Z");
	refuses("2024-11-02T09:16:39.123Z-000-n");
	refuses("2024-11-02T09:16:39.123Z-0000");
	refuses("2024-11-02T09:16:39.123Z-00000-n");
	refuses("2024-11-02T09:16:39.12Z-0000-n");
	refuses("2024-11-02T09:16:39.1234567Z-0000-n");
	refuses("2024-11-02T09:16:39.123+00:00-0000-n");
	refuses("2023-02-29T00:00:00.000Z-0000-n");
	refuses("2024-13-01T00:00:00.000Z-0000-n");
	refuses("2024-00-01T00:00:00.000Z-0000-n");
	refuses("2024-04-31T00:00:00.000Z-0000-n");
	refuses("2024-01-01T24:00:00.000Z-0000-n");
	refuses("1969-12-31T23:59:59.999Z-0000-n");
	refuses("2024-01-01 00:00:00.000Z-0000-n");
	refuses("0:0:a\tb");
}

static OfsHlc
make_clock(void)
{
	static const char *const nodes[] = {"", "a", "B", "a b", "server", "\xc3\xa4", "a:b-c"};
	OfsHlc		clock = {(int64) rnd(OFS_HLC_MAX_MS + 1), (uint32) rnd(OFS_HLC_MAX_COUNT + 1), nodes[rnd(lengthof(nodes))]};

	if (rnd(2))
		clock.ms = INT64CONST(1704067200000) + (int64) rnd(3);
	if (rnd(2))
		clock.count = (uint32) rnd(3);
	else if (rnd(4) == 0)
		clock.count |= 0xffff;
	return clock;
}

static int
sign(int n)
{
	return n < 0 ? -1 : n > 0;
}

static bool
same_time(const OfsHlc *a, const OfsHlc *b)
{
	return a->ms == b->ms && a->count == b->count && strcmp(a->node, b->node) == 0;
}

static void
test_random(int rounds)
{
	int			forms = 0,
				order = 0,
				onward = 0,
				texts = 0,
				steps = 0;

	for (int i = 0; i < rounds; i++)
	{
		OfsHlc		a = make_clock(),
					b = make_clock(),
					c = make_clock(),
					read;
		int64		wall = rnd(2) ? a.ms : b.ms;
		OfsHlc		received = ofs_hlc_receive(&a, &b, wall, "me");
		OfsHlc		ticked = ofs_hlc_tick(&a, wall, "me");

		for (OfsHlcForm form = OFS_HLC_MESSAGES; form <= OFS_HLC_ROW; form++)
			forms += !(ofs_hlc_parse(text_of(form, &a), &read) && same_time(&a, &read));
		order += ofs_hlc_compare(&a, &b) != -ofs_hlc_compare(&b, &a) && sign(ofs_hlc_compare(&a, &b)) != -sign(ofs_hlc_compare(&b, &a));
		order += (ofs_hlc_compare(&a, &b) == 0) != same_time(&a, &b);
		order += ofs_hlc_compare(&a, &b) < 0 && ofs_hlc_compare(&b, &c) < 0 && ofs_hlc_compare(&a, &c) >= 0;
		onward += ofs_hlc_compare(&ticked, &a) <= 0 || ticked.ms < wall;
		onward += ofs_hlc_compare(&received, &a) <= 0 || ofs_hlc_compare(&received, &b) <= 0 || received.ms < wall;
		if (a.ms < OFS_HLC_MAX_MS)
		{
			OfsHlc		after = ofs_hlc_after(&a, "");

			steps += ofs_hlc_compare(&after, &a) <= 0 || strcmp(text_of(OFS_HLC_ROW, &after), text_of(OFS_HLC_ROW, &a)) <= 0;
		}
		/* as text they are in the same order while the figures are enough */
		if (a.count < 60466176 && b.count < 60466176)
			texts += sign(strcmp(text_of(OFS_HLC_MESSAGES, &a), text_of(OFS_HLC_MESSAGES, &b))) != sign(ofs_hlc_compare(&a, &b));
	}
	ok(forms == 0, "what is written in either form reads as it was");
	ok(order == 0, "clocks have a total order");
	ok(onward == 0, "a tick is later than what was known, and not before the wall");
	ok(steps == 0, "what comes after a clock is later, also as text of the row form");
	ok(texts == 0, "texts of the messages form have the clocks' order");
}

static void
test_steps(void)
{
	OfsHlc		a = {1000, 7, "a"},
				full = {1000, OFS_HLC_MAX_COUNT, "a"},
				next;

	next = ofs_hlc_tick(&a, 2000, "n");
	ok(next.ms == 2000 && next.count == 0, "time has gone on: the count begins anew");
	next = ofs_hlc_tick(&a, 500, "n");
	ok(next.ms == 1000 && next.count == 8, "the wall's clock has gone back: the count goes on");
	next = ofs_hlc_after(&full, "n");
	ok(next.ms == 1001 && next.count == 0, "a full count carries");
	full.count = 0xffff;
	next = ofs_hlc_after(&full, "n");
	ok(next.ms == 1001 && next.count == 0, "as does one that the row form has no more figures for");
	next = ofs_hlc_tick(NULL, 5, "n");
	ok(next.ms == 5 && next.count == 0 && strcmp(next.node, "n") == 0, "the first one");
	ok(!ofs_hlc_ahead(&a, 940, 60) && ofs_hlc_ahead(&a, 939, 60) && !ofs_hlc_ahead(&a, 5000, 0), "how far ahead it may be");
}

int
main(void)
{
	const char *seed = getenv("HLC_SEED");
	const char *rounds = getenv("HLC_ROUNDS");

	state = seed ? strtoull(seed, NULL, 10) : (uint64) time(NULL);
	state = state ? state : 1;
	printf("# HLC_SEED=%llu\n", (unsigned long long) state);
	for (int i = 0; i < 10; i++)
		(void) rnd(2);
	test_forms();
	test_refusals();
	test_steps();
	test_random(rounds ? atoi(rounds) : 20000);
	printf("1..%d\n", ntests);
	return nfailed > 0;
}
