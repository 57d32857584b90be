/*
 * frames.c
 *		What devices with hybrid logical clocks might send: row CRDT changesets, messages of fields, and the clocks themselves.
 */
#include "mutate.h"

static const char *const ids[] = {"\"c1\"", "\"c2\"", "\"c3\"", "\"c4\"", "\"alice-1\"", "\"alice-2\"", "\"bob-1\"", "\"bob-2\"", "\"\\u00e9\""};
static const char *const columns[] = {"a", "b", "doc"};
static const char *const values[][4] = {
	{"\"one\"", "\"two\"", "null", "\"\""}, {"1", "2", "null", "\"7\""}, {"{\"k\": 1}", "\"[1]\"", "null", "{}"}
};

const char *
make_node(void)
{
	static const char *const nodes[] = {"d1", "d1", "d2", "D2", "3f2a-00-b", "a:b", "server", "\xc3\xa9"};

	return pick(nodes);
}

void
make_clock(Text *out)
{
	static const char *const odd[] = {
		"", "now", "0:0:", "1:1", "253402300799999:130nwf:n", "99999999999999999999:0:n", "2999-01-01T00:00:00.000Z-0000-n", "1969-12-31T23:59:59.999Z-0000-n",
		"2024-02-30T00:00:00.000Z-0000-n", "2024-01-01T00:00:00.12Z-0000-n", "2024-01-01T00:00:00.000Z-GGGG-n", "2024-01-01T00:00:00.000+01:00-0000-n", "1:zzzzzzzz:n", "-1:0:n"
	};

	text_put(out, "\"");
	if (one_in(60))
		text_put(out, pick(odd));
	else if (one_in(2))
		text_printf(out, "17040672%05d:%d:%s", (int) chance(6), (int) chance(3), make_node());
	else
		text_printf(out, "2024-01-01T00:00:00.%03d%sZ-%04X-%s", (int) chance(6), one_in(3) ? "001" : "", (unsigned) (one_in(9) ? 65535 : chance(3)), make_node());
	text_put(out, "\"");
}

static void
put_row(Text *out)
{
	text_put(out, "{\"id\": ");
	if (one_in(100))
		make_value(out, 0);
	else
		text_put(out, pick(ids));
	for (int i = 0; i < 3; i++)
	{
		if (!one_in(4))
			text_printf(out, ", \"%s\": %s", columns[i], pick(values[i]));
	}
	if (!one_in(50))
		text_printf(out, ", \"is_deleted\": %s", one_in(5) ? "1" : one_in(30) ? "\"1\"" : "0");
	if (one_in(200))
	{
		text_printf(out, ", \"%s\": ", make_name());
		make_value(out, 0);
	}
	text_put(out, ", \"hlc\": ");
	make_clock(out);
	text_printf(out, ", \"node_id\": \"%s\", \"modified\": null}", make_node());
}

void
make_frame(Text *out)
{
	text_clear(out);
	text_printf(out, "{\"%s\": [", one_in(100) ? make_name() : one_in(20) ? "fuzz.clocked" : "clocked");
	for (uint64_t n = chance(one_in(50) ? 50 : 4); n > 0; n--)
	{
		put_row(out);
		text_put(out, n > 1 ? ", " : "");
	}
	text_put(out, "]}");
}

static void
put_message(Text *out)
{
	static const char *const types[] = {"string", "", "int", "double", "bool", "json", "null", "datetime"};
	static const char *const told[] = {"one", "two", "", "1", "7", "null", "{}", "true"};

	text_put(out, "{\"id\": \"m1\", \"table_name\": ");
	text_printf(out, "\"%s\", \"row\": ", one_in(100) ? make_name() : "clocked");
	text_put(out, pick(ids));
	text_printf(out, ", \"column\": \"%s\", \"data_type\": \"%s\", \"value\": \"%s\", \"local_timestamp\": ",
				one_in(50) ? make_name() : one_in(4) ? "gone" : pick(columns), pick(types), pick(told));
	make_clock(out);
	text_printf(out, ", \"user_id\": \"%s\", \"client_id\": \"%s\"}", one_in(9) ? "u" : "", make_node());
}

void
make_messages(Text *out)
{
	text_clear(out);
	text_put(out, "[");
	for (uint64_t n = chance(one_in(50) ? 50 : 6); n > 0; n--)
	{
		put_message(out);
		text_put(out, n > 1 ? ", " : "");
	}
	text_put(out, "]");
}
