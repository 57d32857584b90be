/*
 * clocks.c
 *		The target "clock": lines as hybrid logical clocks.
 *
 * Both forms of what is a clock come back, clocks have a total order, and those that are made of others are later, but never far
 * ahead.
 */
#include "postgres.h"

#include "core/hlc.h"
#include "fuzz.h"

#define CLOCKS	4

static char *
clock_text(OfsHlcForm form, const OfsHlc *clock)
{
	StringInfoData out;

	initStringInfo(&out);
	ofs_hlc_write(&out, form, clock);
	return out.data;
}

static void
check_forms(const OfsHlc *clock)
{
	require(clock->ms >= 0 && clock->ms <= OFS_HLC_MAX_MS && clock->count <= OFS_HLC_MAX_COUNT && strlen(clock->node) <= OFS_HLC_MAX_NODE, "a clock is within its bounds");
	for (OfsHlcForm form = OFS_HLC_MESSAGES; form <= OFS_HLC_ROW; form++)
	{
		char	   *text = clock_text(form, clock);
		OfsHlc		again;

		require(ofs_hlc_parse(text, &again), "a clock that was written is one");
		require(ofs_hlc_compare(clock, &again) == 0 && strcmp(clock->node, again.node) == 0, "and the same");
		require(strcmp(clock_text(form, &again), text) == 0, "and has one spelling");
	}
}

static int
sign(int n)
{
	return (n > 0) - (n < 0);
}

static void
check_order(const OfsHlc *a, const OfsHlc *b, const OfsHlc *c)
{
	int			ab = sign(ofs_hlc_compare(a, b));

	require(ab == -sign(ofs_hlc_compare(b, a)), "what is later than another is not earlier");
	require((ab == 0) == (a->ms == b->ms && a->count == b->count && strcmp(a->node, b->node) == 0), "no others are the same");
	require(!(ab <= 0 && ofs_hlc_compare(b, c) <= 0) || ofs_hlc_compare(a, c) <= 0, "the order is total");
}

/* A node that knows a clock gets another one's at this time. */
static void
check_steps(const OfsHlc *own, const OfsHlc *remote, int64 wall, int64 drift)
{
	OfsHlc		after = ofs_hlc_after(own, "me");
	OfsHlc		ticked = ofs_hlc_tick(own, wall, "me");
	OfsHlc		received = ofs_hlc_receive(own, remote, wall, "me");

	require(ofs_hlc_compare(&after, own) > 0 && after.ms <= own->ms + 1, "what comes after is later, by a millisecond at most");
	if (own->ms < OFS_HLC_MAX_MS)
		require(strcmp(clock_text(OFS_HLC_ROW, &after), clock_text(OFS_HLC_ROW, own)) > 0, "as text of the row form, too");
	require(ofs_hlc_compare(&ticked, own) > 0 && ticked.ms >= wall, "a tick is later than what was known, and not before the wall");
	require(ofs_hlc_compare(&received, own) > 0 && ofs_hlc_compare(&received, remote) > 0 && received.ms >= wall, "so is it with another's");
	if (!ofs_hlc_ahead(own, wall, drift) && !ofs_hlc_ahead(remote, wall, drift))
		require(!ofs_hlc_ahead(&ticked, wall, drift + 1) && !ofs_hlc_ahead(&received, wall, drift + 1), "none runs away");
	if (own->ms < wall && remote->ms < wall)
		require(received.ms == wall && received.count == 0, "the count begins anew with the time");
}

void
fuzz_clocks(const uint8 *data, size_t size)
{
	const char *at = pnstrdup((const char *) data, size);
	OfsHlc		clocks[CLOCKS];
	int			n = 0;

	for (int line = 0; line < CLOCKS && at != NULL; line++)
	{
		const char *end = strchr(at, '\n');
		/* the sanitizer sees a read behind the end only where the bytes end */
		char	   *text = end ? pnstrdup(at, end - at) : pstrdup(at);

		if (ofs_hlc_parse(text, &clocks[n]))
			check_forms(&clocks[n++]);
		at = end ? end + 1 : NULL;
	}
	for (int i = 0; i < n * n * n; i++)
	{
		const OfsHlc *a = &clocks[i % n];
		const OfsHlc *b = &clocks[i / n % n];
		const OfsHlc *c = &clocks[i / n / n];

		check_order(a, b, c);
		check_steps(a, b, c->ms, c->count % 100000);
	}
}
