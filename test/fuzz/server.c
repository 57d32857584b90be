/*
 * server.c
 *		Sends a server what no device should, and sees that it minds.
 *
 * setup.sql has made the tables, the users and the oracles in the database that PGDATABASE names; nobody else works in it.
 * Each statement is an input: a changes object, a cursor, or the arguments of some other function, mostly good, then changed
 * here and there.  pipe.c sends it, and looks at what comes of it.
 *
 * Beside damaged cursors there are forged ones, whose check sum is right, and sealed ones, which nobody can make
 * who doesn't own the database: those may do harm to their owner alone, and must not bring the server down.
 *
 *	FUZZ_SEED=n FUZZ_INPUTS=n FUZZ_SECONDS=n
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "forge.h"
#include "pipe.h"

static Text pushes[2][CURSORS]; /* that were sent */

static const char *const dialects[] = {NULL, NULL, "watermelondb", "json", "json"};
static const char *const booleans[] = {NULL, "false", "true"};
static const char *const counts[] = {NULL, NULL, NULL, "1", "2", "3", "5", "0", "-1", "2147483647"};

/* An argument that is good nine times out of ten. */
static const char *
odd_text(const char *good)
{
	static Text text[8];
	static int	next;
	Text	   *out = &text[next++ % 8];

	if (!one_in(20))
		return good;
	text_clear(out);
	text_put(out, good && one_in(2) ? good : make_name());
	if (one_in(2))
		mangle(out, NULL);
	return out->data;
}

static const char *
some_collections(void)
{
	static const char *const lists[] = {
		NULL, NULL, NULL, "{note}", "{note,item}", "{merged,timed}", "{clocked}", "{fuzz.note,odd}", "{}", "{asked,odd,timed,merged,item,note}"
	};
	static Text text;

	if (!one_in(10))
		return pick(lists);
	text_clear(&text);
	text_printf(&text, "{\"%s\",note}", make_name());
	return text.data;
}

static const char *
some_json(const char *const *good, size_t ngood)
{
	static Text text[4];
	static int	next;
	Text	   *out = &text[next++ % 4];

	text_clear(out);
	if (one_in(3))
	{
		const char *one = good[chance(ngood)];

		if (one == NULL)
			return NULL;
		text_put(out, one);
		if (one_in(3))
			mangle_json(out, NULL);
	}
	else if (one_in(4))
		make_value(out, 0);
	else
		return NULL;
	return out->data;
}

static const char *
some_filters(void)
{
	static const char *const good[] = {
		"{\"note\": {\"project\": [1, 2]}}", "{\"note\": {\"project\": [null], \"owner\": [\"fuzz_bob\"]}}", "{\"fuzz.note\": {\"owner\": []}}",
		"{\"note\": {\"title\": [\"x\"]}}", "{\"item\": {}}"
	};

	return some_json(good, sizeof(good) / sizeof(*good));
}

static const char *
some_migration(void)
{
	static const char *const good[] = {
		"{\"from\": 1, \"tables\": [\"note\"], \"columns\": [{\"table\": \"merged\", \"columns\": [\"a\", \"doc\"]}]}",
		"{\"from\": 1, \"tables\": [], \"columns\": []}", "{\"columns\": [{\"table\": \"timed\", \"columns\": [\"deleted_at\"]}]}"
	};

	return some_json(good, sizeof(good) / sizeof(*good));
}

/* Somebody's cursor, or what was made of one. */
static const char *
some_since(void)
{
	static const char *const times[] = {
		"", "0", "1", "9007199254740991", "99999999999999999999", "2024-06-01T10:00:00Z", "2024-06-01", "2999-01-01T00:00:00.123456+05:30",
		"0001-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "2024-06-01T10:00:00", "o", "oAAAA", "-1", "1e3", "null"
	};
	static Text text;
	const Device *device = &devices[chance(2)][chance(DEVICES)];
	const char *good = one_in(3) ? loose[chance(CURSORS)] : one_in(4) ? device->number : device->cursor;

	if (one_in(8))
		good = pick(times);
	if (good == NULL || one_in(2))
		return good;
	text_clear(&text);
	text_put(&text, good);
	if (good[0] != 'o' || !one_in(2) || !cursor_forge(&text))
		mangle(&text, NULL);
	return text.data;
}

static const Text *
some_push(void)
{
	static Text mangled;
	Text	   *good = &pushes[user][chance(CURSORS)];

	if (good->len == 0 || !one_in(3))
		make_push(good);
	if (!one_in(3))
		return good;
	text_clear(&mangled);
	text_add(&mangled, good->data, good->len);
	if (one_in(8))
		mangle(&mangled, &pushes[user][chance(CURSORS)]);
	else
		mangle_json(&mangled, &pushes[user][chance(CURSORS)]);
	return &mangled;
}

static const char *
some_device(void)
{
	static Text text;

	make_device(&text);
	if (one_in(3))
		mangle_json(&text, NULL);
	return text.data;
}

/* What a device of ours asks, with its own cursor, another user's, or none that was ever given. */
static void
pull(void)
{
	static Text text;
	const Device *device = &devices[one_in(10) ? 1 - user : user][chance(DEVICES)];
	const char *since = device->cursor;
	const char *collections = some_collections();
	const char *filters = one_in(6) ? "{\"note\": {\"project\": [1, 2]}}" : NULL;
	bool		exact = since == NULL || !one_in(2);

	/* a filter names a collection that is asked for */
	if (collections && strcmp(collections, "{note}") != 0 && strcmp(collections, "{note,item}") != 0)
		filters = NULL;
	if (exact && since && device->number && device >= devices[user] && device < devices[user] + DEVICES && one_in(4))
	{
		since = device->number;
		collections = filters = NULL;
	}
	if (!exact)
	{
		text_clear(&text);
		text_put(&text, since);
		if (!one_in(2) || !cursor_forge(&text))
			mangle(&text, NULL);
		exact = strcmp(text.data, since) == 0;
		since = text.data;
	}
	SUBMIT(PULL, device->holds ? device->holds : "{}", since, exact ? "true" : "false", collections, one_in(2) ? "reader" : NULL, pick(dialects),
		   filters, one_in(4) ? "2" : NULL, pick(booleans))->whole = collections == NULL && filters == NULL;
}

static void
push(void)
{
	static const char *const how[] = {"abort", "abort", "skip", "skip", NULL};
	static long number;
	char		push_id[32];
	const Device *device = &devices[user][chance(DEVICES)];
	const char *since = one_in(3) ? some_since() : one_in(4) ? device->number : device->cursor;
	bool		twice = one_in(5);

	snprintf(push_id, sizeof(push_id), "p%ld", number++);
	SUBMIT(PUSH, some_push()->data, since, twice ? "phone" : NULL, twice ? push_id : NULL, odd_text(pick(how)), odd_text(pick(dialects)),
		   twice ? "true" : "false");
}

static void
raw_push(void)
{
	submit(CONTENT, 0, NULL);
	SUBMIT(RAW_PUSH, some_push()->data, some_since(), odd_text("phone"), odd_text(one_in(9) ? "again" : NULL),
		   odd_text(one_in(2) ? "skip" : "abort"), odd_text(pick(dialects)));
	submit(CONTENT, 0, NULL);
}

static void become(int who);

/* ---------- the other functions ---------- */

static void
raw_pull(void)
{
	static const char *const versions[] = {NULL, "1", "-5", "2147483647"};

	SUBMIT(one_in(4) ? STREAM : RAW_PULL, some_since(), some_collections(), pick(versions), some_migration(), odd_text(one_in(2) ? "phone" : NULL),
		   pick(booleans), odd_text(pick(dialects)), some_filters(), pick(counts));
}

static void
sync_both(void)
{
	SUBMIT(SYNC, some_push()->data, some_since(), some_collections(), odd_text("phone"), NULL, odd_text("skip"), pick(booleans),
		   odd_text(pick(dialects)), NULL, some_migration(), some_filters(), pick(counts));
}

static void
seal(void)
{
	static Text text,
				hex;
	Text		body = {0};
	unsigned char old[CURSOR_SEAL_LEN];
	const char *cursor = one_in(2) ? loose[chance(CURSORS)] : devices[user][chance(DEVICES)].cursor;
	Pending    *p;

	text_clear(&text);
	text_put(&text, cursor ? cursor : "");
	if (!cursor_bytes(&text, &body, old))
	{
		free(body.data);
		return;
	}
	cursor_bend(&body);
	text_clear(&hex);
	for (size_t i = 0; i < body.len; i++)
		text_printf(&hex, "%02x", (unsigned char) body.data[i]);
	p = SUBMIT(SEAL, hex.data);
	free(p->body.data);
	p->body = body;
}

static void
ask(void)
{
	static const char *const tables[] = {"note", "item", "\"Od\"\"d ta'ble\"", "asked", "member", "pg_class", "nothing", "fuzz.merged"};
	static const char *const formats[] = {"watermelondb", "watermelondb-models", "drift", "sqlite", "typescript"};
	static const char *const tombstones[] = {"ids", "rows", NULL};
	static const char *const columns[] = {"{user_id}", "{}", NULL, "{note,title}", "{\"\"}"};
	static const char *const buckets[] = {NULL, "1", "4", "16384", "16385", "0", "-1", "3"};
	static const char *const ids[] = {"n1", "alice-1", "bob-1", "n1.1", "5", "", "\xc3\xa9"};

	switch (chance(8))
	{
		case 0:
			SUBMIT(DRIFT_PULL, some_collections(), some_since(), odd_text(pick(tombstones)));
			break;
		case 1:
			SUBMIT(DRIFT_PUSH, some_push()->data, some_since(), pick(columns));
			break;
		case 2:
			SUBMIT(DIGEST, some_collections(), pick(buckets), pick(booleans), some_filters(), odd_text(pick(dialects)));
			break;
		case 3:
		case 4:
			SUBMIT(RECONCILE, some_device(), some_since(), odd_text(pick(dialects)), some_filters());
			break;
		case 5:
			SUBMIT(CURSOR_INFO, some_since());
			break;
		case 6:
			SUBMIT(SCHEMA, odd_text(pick(formats)), some_collections(), pick(counts), odd_text(pick(dialects)));
			break;
		default:
			/* what an owner may ask */
			SUBMIT(ROLE, "none");
			SUBMIT(EXPLAIN, pick(tables), odd_text(pick(ids)), some_since(), one_in(9) ? "nobody" : "fuzz_bob", NULL, some_filters());
			become(user);
	}
}

/* What devices with clocks of their own send and ask. */
static void
clocked(void)
{
	static Text sent,
				clock;
	bool		messages = one_in(2);

	if (one_in(3))
	{
		text_clear(&clock);
		make_clock(&clock);
		/* as a text, not as JSON */
		clock.data[clock.len - 1] = '\0';
		SUBMIT(TOLD, one_in(2) ? clock.data + 1 : some_since(), odd_text(make_node()), messages ? "true" : "false");
		return;
	}
	if (messages)
		make_messages(&sent);
	else
		make_frame(&sent);
	if (one_in(5))
		mangle_json(&sent, &pushes[user][chance(CURSORS)]);
	SUBMIT(MERGE, odd_text(make_node()), sent.data, messages ? "true" : "false");
}

/* A text as an element of an array. */
static void
put_element(Text *out, const char *text)
{
	text_put(out, out->len > 0 ? ",\"" : "{\"");
	for (; *text; text++)
	{
		if (*text == '"' || *text == '\\')
			text_put(out, "\\");
		text_add(out, text, 1);
	}
	text_put(out, "\"");
}

static void
name_things(void)
{
	static const char *const conflicts[] = {"reject", "client_wins", "server_wins", "last_write_wins", "merge", "fuzz.decide", "fuzz.nothing", "pg_catalog.int4pl"};
	static Text names;

	text_clear(&names);
	for (int i = 0; i < 7; i++)
	{
		const char *name = odd_text(make_name());

		/* SQL has no empty names */
		put_element(&names, name[0] != '\0' ? name : "x");
	}
	text_put(&names, "}");
	SUBMIT(ROLE, "none");
	SUBMIT(SCRATCH, names.data, pick(conflicts));
	become(user);
}

/* ---------- the run ---------- */

static void
become(int who)
{
	user = who;
	SUBMIT(ROLE, who ? "fuzz_alice" : "fuzz_bob");
}

static void
meanwhile(void)
{
	char		what[16],
				which[16];

	snprintf(what, sizeof(what), "%d", (int) chance(one_in(40) ? 21 : 20));
	snprintf(which, sizeof(which), "%d", (int) chance(1000));
	SUBMIT(MEANWHILE, what, which);
}

static void
next(void)
{
	uint64_t	what = chance(1000);

	if (what < 30)
		become((int) chance(2));
	else if (what < 300)
		push();
	else if (what < 450)
		raw_push();
	else if (what < 700)
		pull();
	else if (what < 800)
		raw_pull();
	else if (what < 820)
		sync_both();
	else if (what < 850)
		seal();
	else if (what < 890)
		ask();
	else if (what < 928)
		clocked();
	else if (what < 930)
		name_things();
	else
		meanwhile();
}

static long
number(const char *name, long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? atol(text) : otherwise;
}

int
main(void)
{
	time_t		started = time(NULL);
	long		seconds = number("FUZZ_SECONDS", 0);
	long		limit = number("FUZZ_INPUTS", seconds > 0 ? 0 : 6000);
	long		seed = number("FUZZ_SEED", 1);
	long		inputs = 0;

	chance_seed((uint64_t) seed);
	pipe_open();
	become(1);
	do
	{
		next();
		inputs = 0;
		for (Kind kind = PUSH; kind <= EXPLAIN; kind++)
			inputs += sent[kind];
	} while ((limit == 0 || inputs < limit) && (seconds == 0 || time(NULL) - started < seconds) && wrong < 20);
	pipe_drain();
	printf("# seed %ld: %ld inputs in %ld s, %ld of %ld pushes and %ld of %ld pulls taken\n", seed, inputs, (long) (time(NULL) - started),
		   taken[PUSH] + taken[RAW_PUSH] + taken[SYNC] + taken[MERGE], sent[PUSH] + sent[RAW_PUSH] + sent[SYNC] + sent[MERGE],
		   taken[PULL] + taken[RAW_PULL] + taken[STREAM] + taken[TOLD], sent[PULL] + sent[RAW_PULL] + sent[STREAM] + sent[TOLD]);
	printf("ok - server: it is there\n");
	printf("%sok - server: every input got its answer, or an error of its own\n", wrong ? "not " : "");
	return wrong > 0;
}
