/*
 * mutate.c
 *		Texts that a device might send, and texts that none should.
 *
 * Half of what comes of it should be taken, or the fuzzer would see little more than the parser: ids and columns come
 * from short lists, values mostly fit their columns.  mangle() then does what no grammar would.
 */
#include <stdlib.h>
#include <string.h>

#include "mutate.h"

/* ---------- values ---------- */

static const char *const strings[] = {
	"", "a", "x", "first", "second", "\\u00e9", "\\ud83d\\ude00", "\\ud800", "\\udc00", "\\u0000", "a\\u0000b", "\\n\\t\\\"\\\\\\/",
	"\xc3\xa9", "\xf0\x9f\x98\x80", "'; DROP TABLE fuzz.note; --", "$1", "%s%n", "null", "NaN", "Infinity", "-Infinity", "{}", "[]", "{1,2}",
	"{a,NULL,\\\"b c\\\"}", "{{1},{2}}", "[1,5)", "empty", "(1,x)", "(,)", "\\\\x00ff", "AAAA", "AA==", "A", "2024-02-30", "2024-06-01T10:00:00Z",
	"2024-06-01T10:00:00.123456+02:00", "2024-06-01", "infinity", "epoch", "now", "00000000-0000-4000-8000-000000000001", "glad", "sad",
	"{\\\"a\\\": [1, {\\\"b\\\": null}]}", "{\\\"a\\\": 1, \\\"a\\\": 2}", "[[[[1]]]]", "1e400", "0x10", " ", "\\u2028", "\\u007f", "\\ufeff", "server", "__proto__"
};

static const char *const numbers[] = {
	"0", "1", "2", "-1", "7", "42", "-0", "0.0", "1.5", "1e3", "1E-3", "1e308", "1e309", "-1e400", "1e99999", "2147483647", "2147483648",
	"9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "123456789.987654321", "1717236000000",
	"8640000000000000", "-62135596800000", "1e-999", "0.1234567890123456789012345678901234567890",
	"99999999999999999999999999999999999999999999999999999999999999999999999999999999"
};

static void
put_string(Text *out)
{
	text_put(out, "\"");
	if (one_in(400))
		for (uint64_t n = chance(3000); n > 0; n--)
			text_put(out, pick(strings));
	else
		text_put(out, pick(strings));
	text_put(out, "\"");
}

static void
put_deep(Text *out)
{
	uint64_t	depth = 1 + chance(one_in(50) ? 20000 : 200);
	bool		object = one_in(2);

	for (uint64_t i = 0; i < depth; i++)
		text_put(out, object ? "{\"a\":" : "[");
	text_put(out, "1");
	for (uint64_t i = 0; i < depth; i++)
		text_put(out, object ? "}" : "]");
}

void
make_value(Text *out, int depth)
{
	switch (chance(depth > 3 ? 5 : 8))
	{
		case 0:
			text_put(out, "null");
			break;
		case 1:
			text_put(out, one_in(2) ? "true" : "false");
			break;
		case 2:
			text_put(out, pick(numbers));
			break;
		case 3:
		case 4:
			put_string(out);
			break;
		case 5:
			if (one_in(20))
				put_deep(out);
			else
				text_put(out, "[]");
			break;
		case 6:
			text_put(out, "[");
			for (uint64_t n = 1 + chance(3); n > 0; n--)
			{
				make_value(out, depth + 1);
				text_put(out, n > 1 ? "," : "]");
			}
			break;
		default:
			text_put(out, "{");
			for (uint64_t n = 1 + chance(3); n > 0; n--)
			{
				text_printf(out, "\"%s\": ", one_in(3) ? "a" : pick(strings));
				make_value(out, depth + 1);
				text_put(out, n > 1 ? "," : "}");
			}
	}
}

/* ---------- changes objects ---------- */

typedef struct Field
{
	const char *name;
	const char *good[8];		/* JSON texts that fit */
} Field;

static const Field note_fields[] = {
	{"title", {"\"one\"", "\"two\"", "\"\"", "null", "\"\\u00e9\"", "7", "\"a\\nb\"", "\"three\""}},
	{"owner", {"\"fuzz_alice\"", "\"fuzz_bob\""}},
	{"project", {"1", "2", "3", "null"}},
	{"n", {"1", "2.0", "null", "\"\"", "\"12\"", "0", "-5", "1e3"}},
	{"big", {"9007199254740993", "\"9223372036854775807\"", "0", "null"}},
	{"f", {"1.5", "1e300", "null", "\"NaN\"", "0", "-0"}},
	{"num", {"1.5", "123456.789", "null", "\"NaN\"", "0.0004"}},
	{"flag", {"true", "false", "0", "1", "\"t\"", "null"}},
	{"at", {"1717236000000", "\"2024-06-01T10:00:00Z\"", "null", "0", "\"infinity\"", "1717236000000.5"}},
	{"day", {"\"2024-06-01\"", "null", "\"\""}},
	{"doc", {"{\"k\": 1}", "\"{\\\"k\\\": 2}\"", "null", "[1,2]", "\"\""}},
	{"raw", {"{\"k\": 1, \"k\": 2}", "\"[1]\"", "null", "\"\\\"x\\\"\""}},
	{"tags", {"[\"a\",\"b\"]", "\"{a,b}\"", "null", "[]", "[null,\"\"]", "\"{}\"", "[[\"a\"],[\"b\"]]"}},
	{"blob", {"\"AAAA\"", "\"\"", "null", "\"/+8=\""}},
	{"span", {"\"[1,5)\"", "\"empty\"", "null", "\"(,)\""}},
	{"ref", {"\"00000000-0000-4000-8000-000000000001\"", "null", "\"\""}},
	{"mood", {"\"glad\"", "\"sad\"", "\"\"", "null"}},
	{"place", {"\"(1,x)\"", "{\"x\": 1, \"y\": \"z\"}", "null", "\"(,)\""}},
	{"small", {"1", "-99", "null", "\"\""}},
	{"code", {"\"a\"", "\"b\"", "null", "\"abcd\""}}
};

static const Field item_fields[] = {{"body", {"\"one\"", "\"two\"", "null", "\"\""}}, {"note", {"\"n1\"", "\"n2\""}}, {"pos", {"1", "2"}}};
static const Field merged_fields[] = {
	{"a", {"\"one\"", "\"two\"", "null"}}, {"b", {"1", "2", "null"}}, {"doc", {"{\"k\": 1}", "{\"k\": 2, \"l\": [1]}", "\"[1,2]\"", "null"}},
	{"tags", {"[\"a\",\"c\"]", "\"{b,d}\"", "null"}}
};
static const Field timed_fields[] = {
	{"body", {"\"one\"", "\"two\"", "null"}}, {"updated_at", {"1717236000000", "4102444800000", "\"2023-01-01T00:00:00\"", "null"}},
	{"deleted_at", {"null", "1717236000000", "\"2024-06-01T10:00:00Z\""}}, {"user_id", {"\"fuzz_alice\""}}
};
static const Field odd_fields[] = {{"Col \\\"umn", {"\"one\"", "\"two\"", "null"}}, {"id_", {"\"one\"", "null"}}};
static const Field asked_fields[] = {{"body", {"\"one\"", "\"two\"", "null"}}, {"n", {"1", "2", "3", "null"}}};

static const Field clocked_fields[] = {
	{"a", {"\"one\"", "\"two\"", "null"}}, {"b", {"1", "2", "null"}}, {"doc", {"{\"k\": 1}", "[]", "null"}}, {"gone", {"null", "1717236000000"}}
};

static const char *const note_ids[] = {
	"\"n1\"", "\"n2\"", "\"n3\"", "\"n4\"", "\"n5\"", "\"n6\"", "\"n7\"", "\"n8\"", "\"alice-1\"", "\"alice-2\"", "\"bob-1\"", "\"bob-2\"", "\"q'\\\"1\"", "\"\\u00e9\""
};
static const char *const item_ids[] = {"\"n1.1\"", "\"n2.1\"", "\"n3.1\"", "\"n1.2\"", "\"alice-1.1\"", "\"bob-1.1\"", "\"_C3_A9.1\"", "\"n1.-1\"", "\"n1\"", "\"n1.1.1\""};
static const char *const merged_ids[] = {
	"\"00000000-0000-4000-8000-000000000001\"", "\"00000000-0000-4000-8000-000000000002\"", "\"00000000-0000-4000-8000-000000000003\"",
	"\"00000000-0000-4000-8000-000000000009\"", "\"00000000-0000-4000-8000-00000000000A\""
};
static const char *const number_ids[] = {"1", "\"2\"", "\"3\"", "4", "\"5\"", "6", "\"7\"", "\"08\"", "8.0"};
static const char *const asked_ids[] = {"\"k1\"", "\"k2\"", "\"k3\"", "\"k7\"", "\"other\""};

static const char *const clocked_ids[] = {"\"c1\"", "\"c2\"", "\"c3\"", "\"alice-1\"", "\"bob-1\""};

#define FIELDS(list) list, sizeof(list) / sizeof(*(list))

static const struct
{
	const char *name;
	const char *const *ids;
	size_t		nids;
	const Field *fields;
	size_t		nfields;
}			tables[] =
{
	{"note", FIELDS(note_ids), FIELDS(note_fields)},
	{"item", FIELDS(item_ids), FIELDS(item_fields)},
	{"merged", FIELDS(merged_ids), FIELDS(merged_fields)},
	{"timed", FIELDS(number_ids), FIELDS(timed_fields)},
	{"odd", FIELDS(number_ids), FIELDS(odd_fields)},
	{"asked", FIELDS(asked_ids), FIELDS(asked_fields)},
	{"clocked", FIELDS(clocked_ids), FIELDS(clocked_fields)}
};

#define NTABLES (sizeof(tables) / sizeof(*tables))

static void
put_field(Text *out, const Field *field)
{
	size_t		n = 0;

	while (n < 8 && field->good[n] != NULL)
		n++;
	text_printf(out, ", \"%s\": ", field->name);
	if (n == 0 || one_in(40))
		make_value(out, 0);
	else
		text_put(out, field->good[chance(n)]);
}

static void
put_id(Text *out, size_t table)
{
	if (one_in(150))
		make_value(out, 0);
	else
		text_put(out, tables[table].ids[chance(tables[table].nids)]);
}

static void
put_clocks(Text *out)
{
	if (one_in(2))
	{
		text_put(out, ", \"_clock\": ");
		make_clock(out);
	}
	if (one_in(3))
	{
		text_printf(out, ", \"_clocks\": {\"%s\": ", pick(clocked_fields).name);
		make_clock(out);
		text_put(out, "}");
	}
}

static void
put_record(Text *out, size_t table)
{
	if (one_in(100))
	{
		make_value(out, 0);
		return;
	}
	text_put(out, one_in(150) ? "{\"Id\": " : "{\"id\": ");
	put_id(out, table);
	for (uint64_t n = chance(5); n > 0; n--)
		put_field(out, &tables[table].fields[chance(tables[table].nfields)]);
	if (one_in(8))
		text_printf(out, ", \"_status\": \"updated\", \"_changed\": \"%s%s%s\"", tables[table].fields[0].name, one_in(2) ? "," : "",
					one_in(2) ? pick(strings) : "");
	if (tables[table].fields == clocked_fields || one_in(30))
		put_clocks(out);
	if (one_in(8))
		text_printf(out, ", \"server_version\": %s", pick(numbers));
	if (one_in(30))
	{
		text_printf(out, ", \"%s\": ", one_in(2) ? make_name() : pick(strings));
		make_value(out, 0);
	}
	text_put(out, "}");
}

static void
put_list(Text *out, size_t table, bool deleted)
{
	text_put(out, "[");
	for (uint64_t n = one_in(200) ? chance(60) : chance(4); n > 0; n--)
	{
		if (deleted && !one_in(5))
			put_id(out, table);
		else
			put_record(out, table);
		text_put(out, n > 1 ? ", " : "");
	}
	text_put(out, "]");
}

void
make_push(Text *out)
{
	static const char *const lists[] = {"created", "updated", "deleted"};
	const char *comma = "";

	text_clear(out);
	text_put(out, "{");
	for (uint64_t n = one_in(100) ? 0 : 1 + chance(3); n > 0; n--)
	{
		size_t		table = one_in(2) ? 0 : chance(NTABLES);

		text_printf(out, "%s\"%s%s\": {", comma, one_in(20) ? "fuzz." : "", one_in(300) ? make_name() : tables[table].name);
		comma = "";
		for (size_t i = 0; i < 3; i++)
		{
			if (one_in(3))
				continue;
			text_printf(out, "%s\"%s\": ", comma, one_in(300) ? "inserted" : lists[one_in(100) ? chance(3) : i]);
			if (one_in(200))
				make_value(out, 0);
			else
				put_list(out, table, i == 2);
			comma = ", ";
		}
		text_put(out, "}");
		comma = ", ";
	}
	text_put(out, "}");
}

void
make_device(Text *out)
{
	const char *comma = "";

	text_clear(out);
	text_put(out, "{");
	for (uint64_t n = chance(3); n > 0; n--)
	{
		size_t		table = chance(NTABLES);

		text_printf(out, "%s\"%s\": ", comma, one_in(50) ? make_name() : tables[table].name);
		comma = ", ";
		if (one_in(20))
		{
			make_value(out, 0);
			continue;
		}
		text_put(out, "{\"records\": {");
		for (uint64_t i = chance(4); i > 0; i--)
		{
			/* a name of a member is a string */
			const char *id = tables[table].ids[chance(tables[table].nids)];

			text_printf(out, id[0] == '"' ? "%s: " : "\"%s\": ", id);
			if (one_in(9))
				make_value(out, 0);
			else
				text_put(out, pick(numbers));
			text_put(out, i > 1 ? ", " : "");
		}
		text_printf(out, "}%s}", one_in(3) ? ", \"buckets\": 4, \"differ\": [0, 3]" : one_in(9) ? ", \"buckets\": 3, \"differ\": [9]" : "");
	}
	text_put(out, "}");
}

const char *
make_name(void)
{
	static const char *const names[] = {
		"note", "item", "merged", "timed", "odd", "asked", "fuzz.note", "member", "fuzz.member", "public.note", "NOTE", "\\\"note\\\"", "no.thing", ".", "..",
		"offsync_internal.secret", "pg_catalog.pg_authid", "note; DROP TABLE fuzz.note", "a.b.c", " note", "id", "title", "server_version", "server_created_version",
		"ctid", "xmin", "tableoid", "owner", "project", "__proto__", "constructor", "offsync$version",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	};

	return pick(names);
}
