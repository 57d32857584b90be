/*
 * names.c
 *		Names that the target language takes.
 *
 * Collections and columns may be called anything, and what is generated is run: a name must not end the literal or the
 * comment that it stands in.
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "schema/schema.h"

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char
to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static char
to_upper(char c)
{
	return c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c;
}

char *
ofs_names_camel(const char *name, bool upper)
{
	StringInfoData out;
	bool		start = true;	/* of a word */
	bool		shouts = strpbrk(name, "abcdefghijklmnopqrstuvwxyz") == NULL;

	initStringInfo(&out);
	for (const char *p = name; *p; p++)
	{
		/* letters of other scripts vanish, but don't part a word */
		if (IS_HIGHBIT_SET(*p))
			continue;
		if (!is_letter(*p) && !is_digit(*p))
		{
			start = true;
			continue;
		}
		if (out.len == 0 && is_digit(*p))
			appendStringInfoString(&out, upper ? "Table" : "column");
		if (start)
			appendStringInfoChar(&out, out.len > 0 || upper ? to_upper(*p) : to_lower(*p));
		else
			appendStringInfoChar(&out, shouts ? to_lower(*p) : *p);
		start = false;
	}
	if (out.len == 0)
		appendStringInfoString(&out, upper ? "Table" : "column");
	return out.data;
}

static bool
is_taken(List *taken, const char *name)
{
	ListCell   *lc;

	foreach(lc, taken)
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	return false;
}

const char *
ofs_names_claim(List **taken, const char *name)
{
	const char *free = name;

	for (int i = 1; is_taken(*taken, free); i++)
		free = i == 1 ? psprintf("%s_", name) : psprintf("%s_%d", name, i);
	*taken = lappend(*taken, unconstify(char *, free));
	return free;
}

List *
ofs_names_list(const char *const *names, int count)
{
	List	   *list = NIL;

	for (int i = 0; i < count; i++)
		list = lappend(list, unconstify(char *, names[i]));
	return list;
}

bool
ofs_names_contain(const char *const *names, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

bool
ofs_names_alike(const char *one, const char *other)
{
	for (; to_lower(*one) == to_lower(*other); one++, other++)
		if (*one == '\0')
			return true;
	return false;
}

void
ofs_names_quote(StringInfo out, const char *name)
{
	appendStringInfoChar(out, '\'');
	for (const unsigned char *p = (const unsigned char *) name; *p; p++)
	{
		if (*p == '\'' || *p == '\\' || *p == '$')
			appendStringInfo(out, "\\%c", *p);
		else if (*p < 0x20 || *p == 0x7f)
			appendStringInfo(out, "\\u%04x", *p);
		else if (p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9))
		{
			/* U+2028 and U+2029 end a line in JavaScript */
			appendStringInfo(out, "\\u20%02x", p[2] - 0x80);
			p += 2;
		}
		else
			appendStringInfoChar(out, (char) *p);
	}
	appendStringInfoChar(out, '\'');
}

void
ofs_names_property(StringInfo out, const char *name)
{
	const char *p = name;

	if (is_letter(*p) || *p == '_')
		while (is_letter(*p) || is_digit(*p) || *p == '_')
			p++;
	if (*p == '\0' && p > name)
		appendStringInfoString(out, name);
	else
		ofs_names_quote(out, name);
}
