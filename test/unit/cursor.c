/*
 * cursor.c
 *		The cursor's text form: what goes in comes out, and nothing else gets in.
 *
 * Seeded; CURSOR_SEED and CURSOR_ROUNDS set another run.
 */
#include "postgres.h"

#include <time.h>

#include "core/cursor.h"

static int	ntests = 0;
static int	nfailed = 0;
static uint64 state;

static uint64
rnd(uint64 below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below == 0 ? state : state % below;
}

static void
ok(bool passed, const char *what)
{
	printf("%sok %d - %s\n", passed ? "" : "not ", ++ntests, what);
	nfailed += !passed;
}

/* A cursor of a random shape; large numbers are as likely as small ones. */
static void
make_cursor(OfsCursor *cursor)
{
	uint64		at;

	memset(cursor, 0, sizeof(*cursor));
	cursor->incarnation = (int64) rnd(0);
	cursor->timeline = (uint32) rnd(UINT64CONST(1) << rnd(32));
	cursor->lsn = rnd(UINT64CONST(1) << rnd(63));
	cursor->xmin = rnd(UINT64CONST(1) << rnd(53));
	at = cursor->xmin;
	cursor->nrunning = (int) rnd(6);
	cursor->running = palloc0(sizeof(OfsCursorRange) * 6);
	for (int i = 0; i < cursor->nrunning; i++)
	{
		cursor->running[i].first = at + rnd(UINT64CONST(1) << rnd(20));
		cursor->running[i].count = 1 + rnd(UINT64CONST(1) << rnd(10));
		at = cursor->running[i].first + cursor->running[i].count;
	}
	cursor->xmax = at + rnd(100);
	cursor->nown = (int) rnd(4);
	cursor->own = palloc0(sizeof(OfsCursorOwn) * 4);
	for (int i = 0; i < cursor->nown; i++)
	{
		OfsCursorOwn *own = &cursor->own[i];

		own->version = (int64) rnd(UINT64CONST(1) << 53);
		own->timeline = (uint32) rnd(10);
		own->lsn = rnd(UINT64CONST(1) << rnd(63));
		own->necho = (int) rnd(3);
		own->echo = palloc0(sizeof(uint64) * 3);
		for (int j = 0; j < own->necho; j++)
			own->echo[j] = rnd(0);
		own->nviews = (int) rnd(3);
		own->views = palloc0(sizeof(OfsCursorCollection) * 3);
		for (int j = 0; j < own->nviews; j++)
			own->views[j].hash = own->views[j].fingerprint = rnd(0);
	}
	cursor->ncollections = (int) rnd(30);
	cursor->collections = palloc0(sizeof(OfsCursorCollection) * 30);
	for (int i = 0; i < cursor->ncollections; i++)
	{
		cursor->collections[i].hash = rnd(0);
		cursor->collections[i].fingerprint = rnd(0);
	}
	cursor->page = cursor->inputs = (const uint8 *) "reserved fields";
	cursor->page_len = (int) rnd(15);
	cursor->inputs_len = (int) rnd(15);
}

/* Two cursors are the same when they pack to the same bytes. */
static bool
comes_back(const OfsCursor *cursor)
{
	StringInfoData packed,
				body,
				again;
	uint8		seal[OFS_CURSOR_SEAL_LEN],
				read_seal[OFS_CURSOR_SEAL_LEN];
	OfsCursor	read;
	char	   *text;

	for (int i = 0; i < OFS_CURSOR_SEAL_LEN; i++)
		seal[i] = (uint8) rnd(256);
	initStringInfo(&packed);
	ofs_cursor_pack(cursor, &packed);
	text = ofs_cursor_text(&packed, seal);
	if (ofs_cursor_open(text, &body, read_seal) != OFS_CURSOR_OK || !ofs_cursor_unpack(&body, &read))
		return false;
	initStringInfo(&again);
	ofs_cursor_pack(&read, &again);
	return memcmp(seal, read_seal, sizeof(seal)) == 0 &&
		packed.len == again.len && memcmp(packed.data, again.data, packed.len) == 0;
}

static void
test_round_trip(int rounds)
{
	bool		all = true;
	OfsCursor	cursor;

	for (int i = 0; i < rounds && all; i++)
	{
		make_cursor(&cursor);
		all = comes_back(&cursor);
	}
	ok(all, "random cursors come back as they were");
}

/* Any one character changed, left out or added is seen. */
static void
test_damage(int rounds)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_ =.";
	bool		seen = true;

	for (int i = 0; i < rounds && seen; i++)
	{
		OfsCursor	cursor;
		StringInfoData packed,
					body;
		uint8		seal[OFS_CURSOR_SEAL_LEN] = {0};
		char	   *text;
		int			len,
					at;

		make_cursor(&cursor);
		initStringInfo(&packed);
		ofs_cursor_pack(&cursor, &packed);
		text = ofs_cursor_text(&packed, seal);
		len = (int) strlen(text);
		at = (int) rnd(len);
		switch (rnd(3))
		{
			case 0:
				{
					char		letter = letters[rnd(sizeof(letters) - 1)];

					if (text[at] == letter)
						continue;
					text[at] = letter;
					break;
				}
			case 1:
				memmove(text + at, text + at + 1, len - at);
				break;
			default:
				text[at] = '\0';
		}
		seen = ofs_cursor_open(text, &body, seal) == OFS_CURSOR_DAMAGED;
	}
	ok(seen, "a changed, missing or cut-off character is always seen");
}

/* Whatever the bytes behind a good check sum say, unpacking neither crashes nor reads past them. */
static void
test_forged_bytes(int rounds)
{
	int			accepted = 0;

	for (int i = 0; i < rounds; i++)
	{
		OfsCursor	cursor;
		StringInfoData body;

		make_cursor(&cursor);
		initStringInfo(&body);
		ofs_cursor_pack(&cursor, &body);
		for (uint64 n = 1 + rnd(4); n > 0; n--)
			body.data[rnd(body.len)] = (char) rnd(256);
		if (rnd(3) == 0)
			body.len = (int) rnd(body.len + 1);
		/* the sanitizer sees a read behind the end only where the bytes end */
		body.data = memcpy(malloc(Max(body.len, 1)), body.data, body.len);
		if (ofs_cursor_unpack(&body, &cursor))
		{
			accepted++;
			for (int j = 0; j < cursor.nrunning; j++)
				if (cursor.running[j].first < cursor.xmin ||
					cursor.running[j].first + cursor.running[j].count > cursor.xmax)
				{
					ok(false, "forged bytes: a running id outside [xmin, xmax)");
					return;
				}
		}
		free(body.data);
	}
	ok(accepted > 0 && accepted < rounds, "forged bytes never crash; running ids stay inside the snapshot");
}

static void
test_no_cursor(void)
{
	static const char *const texts[] = {
		"", "o", "oo", "oAAAA", "123", "2025-01-01T00:00:00Z", "o=", "o\x80\xff", "p",
		"oAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	};
	StringInfoData body;
	uint8		seal[OFS_CURSOR_SEAL_LEN];
	bool		refused = true;

	for (size_t i = 0; i < lengthof(texts); i++)
		refused = refused && ofs_cursor_open(texts[i], &body, seal) == OFS_CURSOR_DAMAGED;
	ok(refused, "what is no cursor is none");
}

static void
test_later_format(void)
{
	StringInfoData packed,
				body;
	uint8		seal[OFS_CURSOR_SEAL_LEN] = {0};
	OfsCursor	cursor;

	make_cursor(&cursor);
	initStringInfo(&packed);
	ofs_cursor_pack(&cursor, &packed);
	packed.data[0] = 2;
	ok(ofs_cursor_open(ofs_cursor_text(&packed, seal), &body, seal) == OFS_CURSOR_FUTURE,
	   "a whole cursor of a later format is told from a damaged one");
}

int
main(void)
{
	const char *seed = getenv("CURSOR_SEED");
	const char *rounds_text = getenv("CURSOR_ROUNDS");
	int			rounds = rounds_text ? atoi(rounds_text) : 20000;

	state = seed ? strtoull(seed, NULL, 10) | 1 : UINT64CONST(88172645463325252);
	test_round_trip(rounds);
	test_damage(rounds);
	test_forged_bytes(rounds);
	test_no_cursor();
	test_later_format();
	printf("1..%d\n", ntests);
	return nfailed > 0;
}
