/*
 * mangle.c
 *		What no grammar would do to a text.
 */
#include <string.h>

#include "mutate.h"

/* Where the value ends that starts here. */
static size_t
value_end(const Text *text, size_t at)
{
	int			depth = 0;

	while (at < text->len)
	{
		char		c = text->data[at];

		if (c == '"')
			for (at++; at < text->len && text->data[at] != '"'; at++)
				at += text->data[at] == '\\';
		else if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		if (depth < 0)
			return at;
		at++;
		if (depth == 0 && at < text->len && strchr(",:]} ", text->data[at]) != NULL)
			return at;
	}
	return text->len;
}

/* Where some value starts. */
static size_t
value_start(const Text *text)
{
	size_t		at = chance(text->len + 1);

	for (size_t n = 0; n < text->len; n++, at++)
	{
		if (at >= text->len)
			at = 0;
		if (strchr("[,:", text->data[at]) != NULL)
		{
			at++;
			return at + strspn(text->data + at, " ");
		}
	}
	return 0;
}

static void
replace(Text *text, size_t at, size_t len, const char *bytes, size_t new_len)
{
	static Text work;

	text_clear(&work);
	text_add(&work, text->data, at);
	text_add(&work, bytes, new_len);
	text_add(&work, text->data + at + len, text->len - at - len);
	text_clear(text);
	text_add(text, work.data, work.len);
}

static void
mangle_once(Text *text, const Text *other)
{
	static const char *const tokens[] = {
		"{", "}", "[", "]", ",", ":", "\"", "\\", "null", "\\u0000", "\\ud800", "\"id\":", "\"id\": null,", "\"_changed\": \"\",", "1e999", "-", "0", "e", ".",
		"\x01", "\x7f", "\xff", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", " ", "\n", "true", "A", "z", "-", "_", "9", "Z", "+", "\"deleted\": [],", "\"created\": null,", "{}", "[]", "\"\""
	};
	size_t		at = chance(text->len + 1);
	size_t		len = chance((text->len - at > 40 ? 40 : text->len - at) + 1);
	const char *token = pick(tokens);

	switch (chance(8))
	{
		case 0:
			replace(text, at, len, "", 0);
			break;
		case 1:
			replace(text, at, 0, token, strlen(token));
			break;
		case 2:
			replace(text, at, len, token, strlen(token));
			break;
		case 3:
			if (text->len > 0)
				text->data[at < text->len ? at : 0] = (char) (one_in(9) ? 1 + chance(255) : ' ' + chance(95));
			break;
		case 4:
			replace(text, chance(text->len + 1), 0, text->data + at, len);
			break;
		case 5:
			if (one_in(4))
				replace(text, at, text->len - at, "", 0);
			else
				text_put(text, token);
			break;
		case 6:
			if (other != NULL && other->len > 0)
			{
				size_t		from = chance(other->len);

				replace(text, at, len, other->data + from, chance(other->len - from + 1));
			}
			break;
		default:
			for (uint64_t n = 1 + chance(one_in(20) ? 3000 : 20); n > 0; n--)
				text_put(text, token);
	}
}

/* What comes of JSON is mostly JSON. */
void
mangle_json(Text *text, const Text *other)
{
	static Text piece;

	for (uint64_t n = 1 + chance(3); n > 0; n--)
	{
		size_t		at = value_start(text);
		size_t		len = value_end(text, at) - at;

		text_clear(&piece);
		switch (chance(5))
		{
			case 0:
				make_value(&piece, 0);
				replace(text, at, len, piece.data, piece.len);
				break;
			case 1:
				text_add(&piece, text->data + at, len);
				text_put(&piece, ",");
				replace(text, at, 0, piece.data, piece.len);
				break;
			case 2:
				text_add(&piece, text->data + at, len);
				at = value_start(text);
				replace(text, at, value_end(text, at) - at, piece.data, piece.len);
				break;
			case 3:
				if (other != NULL && other->len > 0 && other != text)
				{
					size_t		from = value_start(other);

					replace(text, at, len, other->data + from, value_end(other, from) - from);
				}
				break;
			default:
				replace(text, at, len, "[]", one_in(2) ? 2 : 0);
		}
	}
}

void
mangle(Text *text, const Text *other)
{
	for (uint64_t n = 1 + chance(3); n > 0; n--)
		mangle_once(text, other);
}
