/*
 * jsonscan.c
 *		Going through a JSON text that is known to be one.
 *
 * What has the type json was parsed when it became a value of that type.  PostgreSQL's parser would do it once more,
 * character by character, and that is most of what a large push costs beside its statements.  Here strings are stepped over as a
 * whole, and so is what is nested.  A text that is no JSON all the same is gone through without harm: it ends where it
 * ends, and what can't be made out is an error.
 *
 * Only escapes of Unicode characters are left to PostgreSQL's parser, which knows what the encoding can hold.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/jsonscan.h"

OFS_NORETURN static void
fail(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed JSON")));
}

void
ofs_jsonscan_open(OfsJsonScan *scan, const char *json, int len)
{
	scan->at = json;
	scan->end = json + len;
	scan->lenient = false;
	initStringInfo(&scan->string);
}

char
ofs_jsonscan_peek(OfsJsonScan *scan)
{
	while (scan->at < scan->end)
	{
		char		c = *scan->at;

		if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
			return c;
		scan->at++;
	}
	return '\0';
}

bool
ofs_jsonscan_step(OfsJsonScan *scan, char token)
{
	if (ofs_jsonscan_peek(scan) != token)
		return false;
	scan->at++;
	return true;
}

void
ofs_jsonscan_expect(OfsJsonScan *scan, char token)
{
	if (!ofs_jsonscan_step(scan, token))
		fail();
}

/* ---------- strings ---------- */

/* The quote that ends the string whose content starts here. */
static const char *
find_quote(const char *start, const char *end)
{
	const char *at = start;

	for (;;)
	{
		const char *quote = memchr(at, '"', end - at);
		const char *escape;

		if (quote == NULL)
			fail();
		/* is it itself escaped? */
		escape = quote;
		while (escape > start && escape[-1] == '\\')
			escape--;
		if ((quote - escape) % 2 == 0)
			return quote;
		at = quote + 1;
	}
}

static char
unescape(char escaped)
{
	switch (escaped)
	{
		case 'b':
			return '\b';
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		default:
			return escaped;
	}
}

static bool
has_unicode_escape(const char *text, int len)
{
	const char *end = text + len;

	while (end - text > 1 && (text = memchr(text, '\\', end - text - 1)) != NULL)
	{
		if (text[1] == 'u')
			return true;
		text += 2;
	}
	return false;
}

static OFS_JSON_ACTION
keep_string(void *state, char *token, JsonTokenType type)
{
	OfsJsonScan *scan = state;

	if (type == JSON_TOKEN_STRING)
		appendStringInfoString(&scan->string, token);
	OFS_JSON_ACTION_DONE;
}

/* Let PostgreSQL's parser look at the escapes of a value; what a string by itself says is in scan->string then. */
static void
decode(OfsJsonScan *scan, const char *text, int len)
{
	JsonSemAction actions = {0};

	resetStringInfo(&scan->string);
	actions.semstate = scan;
	actions.scalar = keep_string;
	if (!scan->lenient)
		pg_parse_json_or_ereport(ofs_compat_json_lexer(text, len, true), &actions);
	else if (pg_parse_json(ofs_compat_json_lexer(text, len, true), &actions) != JSON_SUCCESS)
		scan->wrong = (OfsJsonSlice) {OFS_JSON_NULL, len, text};
}

/* What a string with escapes says. */
static void
put_together(OfsJsonScan *scan, OfsJsonSlice *value)
{
	const char *text = value->text;
	const char *end = text + value->len;
	const char *escape;

	if (has_unicode_escape(text, value->len))
		decode(scan, text - 1, value->len + 2);
	else
	{
		resetStringInfo(&scan->string);
		while (end - text > 1 && (escape = memchr(text, '\\', end - text - 1)) != NULL)
		{
			appendBinaryStringInfo(&scan->string, text, escape - text);
			appendStringInfoCharMacro(&scan->string, unescape(escape[1]));
			text = escape + 2;
		}
		appendBinaryStringInfo(&scan->string, text, end - text);
	}
	value->text = scan->string.data;
	value->len = scan->string.len;
}

/* A string whose opening quote is next, as it stands between its quotes. */
static void
skip_string(OfsJsonScan *scan, OfsJsonSlice *value)
{
	const char *quote = find_quote(scan->at + 1, scan->end);

	value->kind = OFS_JSON_STRING;
	value->text = scan->at + 1;
	value->len = quote - value->text;
	scan->at = quote + 1;
}

static void
take_string(OfsJsonScan *scan, OfsJsonSlice *value)
{
	skip_string(scan, value);
	if (memchr(value->text, '\\', value->len) != NULL)
		put_together(scan, value);
}

void
ofs_jsonscan_name(OfsJsonScan *scan, OfsJsonSlice *name)
{
	if (ofs_jsonscan_peek(scan) != '"')
		fail();
	take_string(scan, name);
	ofs_jsonscan_expect(scan, ':');
}

void
ofs_jsonscan_skip_name(OfsJsonScan *scan, int len)
{
	scan->at += len + 2;
	ofs_jsonscan_expect(scan, ':');
}

/* ---------- other values ---------- */

/* An object or an array, as it stands. */
static void
skip_nested(OfsJsonScan *scan, OfsJsonSlice *value)
{
	int			depth = 0;

	value->kind = OFS_JSON_NESTED;
	value->text = scan->at;
	do
	{
		if (scan->at >= scan->end)
			fail();
		switch (*scan->at++)
		{
			case '{':
			case '[':
				depth++;
				break;
			case '}':
			case ']':
				depth--;
				break;
			case '"':
				scan->at = find_quote(scan->at, scan->end) + 1;
				break;
		}
	} while (depth > 0);
	value->len = scan->at - value->text;
}

static void
take_nested(OfsJsonScan *scan, OfsJsonSlice *value)
{
	skip_nested(scan, value);
	if (has_unicode_escape(value->text, value->len))
		decode(scan, value->text, value->len);
}

static inline bool
ends_bare(char c)
{
	return c == ',' || c == '}' || c == ']' || c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* A number, or one of the three words. */
static void
take_bare(OfsJsonScan *scan, OfsJsonSlice *value)
{
	value->text = scan->at;
	while (scan->at < scan->end && !ends_bare(*scan->at))
		scan->at++;
	value->len = scan->at - value->text;
	if (value->len == 0)
		fail();
	switch (value->text[0])
	{
		case 't':
			value->kind = OFS_JSON_TRUE;
			break;
		case 'f':
			value->kind = OFS_JSON_FALSE;
			break;
		case 'n':
			value->kind = OFS_JSON_NULL;
			break;
		default:
			value->kind = OFS_JSON_NUMBER;
	}
}

void
ofs_jsonscan_value(OfsJsonScan *scan, OfsJsonSlice *value)
{
	switch (ofs_jsonscan_peek(scan))
	{
		case '"':
			take_string(scan, value);
			break;
		case '{':
		case '[':
			take_nested(scan, value);
			break;
		default:
			take_bare(scan, value);
	}
}

void
ofs_jsonscan_raw(OfsJsonScan *scan, OfsJsonSlice *value)
{
	switch (ofs_jsonscan_peek(scan))
	{
		case '"':
			skip_string(scan, value);
			value->text--;
			value->len += 2;
			break;
		case '{':
		case '[':
			skip_nested(scan, value);
			break;
		default:
			take_bare(scan, value);
	}
}

void
ofs_jsonscan_read(OfsJsonScan *scan, const OfsJsonSlice *raw, OfsJsonSlice *value)
{
	scan->at = raw->text;
	scan->end = raw->text + raw->len;
	ofs_jsonscan_value(scan, value);
}

void
ofs_jsonscan_members(OfsJsonScan *scan, const char *const *names, int count, OfsJsonSlice *values)
{
	memset(values, 0, sizeof(OfsJsonSlice) * count);
	ofs_jsonscan_expect(scan, '{');
	if (ofs_jsonscan_step(scan, '}'))
		return;
	do
	{
		OfsJsonSlice name;
		OfsJsonSlice value;
		int			place = 0;

		ofs_jsonscan_name(scan, &name);
		while (place < count && (strlen(names[place]) != name.len || memcmp(names[place], name.text, name.len) != 0))
			place++;
		ofs_jsonscan_raw(scan, &value);
		if (place < count)
			values[place] = value;
	} while (ofs_jsonscan_step(scan, ','));
	ofs_jsonscan_expect(scan, '}');
}

void
ofs_jsonscan_complain(const char *wrong)
{
	pg_parse_json_or_ereport(ofs_compat_json_lexer(wrong, strlen(wrong), true), &nullSemAction);
	elog(ERROR, "nothing is wrong with the JSON");
}
