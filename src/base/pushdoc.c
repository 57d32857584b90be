/*
 * pushdoc.c
 *		A pushed changes object, parsed in one pass.
 *
 * PostgreSQL's own JSON parser calls back at every token.  The place in the
 * document is all the state: the document, a collection, one of its lists, a
 * record.  What stands deeper, inside a field's value, is only counted, and
 * taken as raw text when it closes.
 *
 * To put strings together character by character would be the larger part of
 * the work.  So the parser is told to leave that, and they are taken from where
 * they stand; what is kept, pushbuild.c keeps.  Only where there is a \u in the
 * document, the parser decodes and checks all of them.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/jsonsplit.h"
#include "base/pushbuild.h"

#define MAX_ID_LEN		8192	/* bytes */
#define SHOWN_NAME_LEN	NAMEDATALEN

typedef enum Place
{
	AT_START,					/* before the document */
	IN_DOCUMENT,
	IN_COLLECTION,
	IN_LIST,
	IN_RECORD,					/* also an object under "deleted" */
	IN_VALUE					/* inside a field's nested value */
} Place;

static const char *const list_names[] = {"created", "updated", "deleted"};

typedef struct PushParse
{
	JsonLexContext *lex;
	OfsPushBuild *build;
	Place		place;
	const char *collection;
	OfsPushList list;
	int64		element;		/* in the list being read, from 1 */
	const char *id;				/* of the record being read */
	bool		in_id;			/* the member being read is the id */
	int			depth;			/* of the nested value being read */
	const char *start;			/* where it starts */
	const char *value;			/* where the last member's or element's value starts */
	const char *before;			/* a brace or comma; the next name stands behind it */
	StringInfoData string;		/* room for one */
} PushParse;

/* A name as messages show it: whole, unless a caller made it absurdly long. */
static char *
shown(const char *name)
{
	int			len = strlen(name);

	return pnstrdup(name, pg_mbcliplen(name, len, SHOWN_NAME_LEN));
}

/* Names are the caller's own; values are never shown. */
static void
malformed_element(PushParse *parse, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed changes object"),
			 errdetail("Element " INT64_FORMAT " of \"%s\" in collection \"%s\" %s.",
					   parse->element, list_names[parse->list],
					   shown(parse->collection), problem)));
}

/* A value that can't stand where it stands. */
static void
malformed(PushParse *parse)
{
	switch (parse->place)
	{
		case IN_DOCUMENT:
			ereport(ERROR,
					(errcode(ERRCODE_OFS_MALFORMED),
					 errmsg("malformed changes object"),
					 errdetail("Collection \"%s\" must be an object with the lists created, updated and deleted.",
							   shown(parse->collection))));
			break;
		case IN_COLLECTION:
			ereport(ERROR,
					(errcode(ERRCODE_OFS_MALFORMED),
					 errmsg("malformed changes object"),
					 errdetail("\"%s\" of collection \"%s\" must be an array.",
							   list_names[parse->list], shown(parse->collection))));
			break;
		case IN_LIST:
			malformed_element(parse, parse->list == OFS_LIST_DELETED ?
							  "must be an id or an object with an id" : "must be an object");
			break;
		case IN_RECORD:
			malformed_element(parse, "must have a string or a number as its id");
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_OFS_MALFORMED),
					 errmsg("malformed changes object"),
					 errdetail("It must be an object with a member for each collection.")));
	}
}

/* ---------- strings as they stand in the document ---------- */

static bool
has_unicode_escape(const char *json, int len)
{
	const char *end = json + len;

	while (end - json > 1 && (json = memchr(json, '\\', end - json - 1)) != NULL)
	{
		if (json[1] == 'u')
			return true;
		json += 2;
	}
	return false;
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

/* The content of a string, which the parser has found good; it has no NUL behind it. */
static const char *
take_string(PushParse *parse, const char *start, int *len)
{
	const char *end = start + *len;
	const char *escape = memchr(start, '\\', *len);

	if (escape == NULL)
		return start;
	resetStringInfo(&parse->string);
	for (; escape != NULL; escape = memchr(start, '\\', end - start))
	{
		appendBinaryStringInfo(&parse->string, start, escape - start);
		appendStringInfoCharMacro(&parse->string, unescape(escape[1]));
		start = escape + 2;
	}
	appendBinaryStringInfo(&parse->string, start, end - start);
	*len = parse->string.len;
	return parse->string.data;
}

/* Where the name starts whose value comes next. */
static const char *
find_name(const PushParse *parse)
{
	return strchr(parse->before, '"') + 1;
}

static char *
take_name(PushParse *parse)
{
	const char *start = find_name(parse);
	const char *end = start;
	int			len;

	while (*end != '"')
		end += *end == '\\' ? 2 : 1;
	len = end - start;
	start = take_string(parse, start, &len);
	return pnstrdup(start, len);
}

/* ---------- the document ---------- */

static const char *
take_id(PushParse *parse, const char *text, int len)
{
	if (len > MAX_ID_LEN)
		malformed_element(parse, psprintf("has an id of more than %d bytes", MAX_ID_LEN));
	return len == 0 ? NULL : ofs_pushbuild_text(parse->build, text, len);
}

static void
start_record(PushParse *parse)
{
	parse->place = IN_RECORD;
	parse->element++;
	parse->id = NULL;
	ofs_pushbuild_record_begin(parse->build);
}

static void
end_record(PushParse *parse)
{
	parse->place = IN_LIST;
	if (parse->list == OFS_LIST_DELETED && parse->id == NULL)
		malformed_element(parse, "has no id");
	ofs_pushbuild_record_end(parse->build, parse->id, parse->list);
}

/* An id under "deleted" is a record without fields. */
static void
add_deleted(PushParse *parse, const char *text, int len)
{
	start_record(parse);
	parse->id = take_id(parse, text, len);
	end_record(parse);
}

static void
start_member(PushParse *parse, const char *name)
{
	parse->in_id = strcmp(name, "id") == 0;
	if (!parse->in_id)
		ofs_pushbuild_field_name(parse->build, name);
}

/* Most are told without being looked up. */
static bool
guess_member(PushParse *parse)
{
	const char *name = find_name(parse);

	parse->in_id = strncmp(name, "id\"", 3) == 0;
	return parse->in_id || ofs_pushbuild_field_guess(parse->build, name, parse->value - name);
}

static void
end_member(PushParse *parse, OfsJsonKind kind, const char *text, int len)
{
	if (!parse->in_id)
		ofs_pushbuild_field_value(parse->build, kind, text, len);
	else if (kind == OFS_JSON_STRING || kind == OFS_JSON_NUMBER)
		parse->id = take_id(parse, text, len);
	else if (kind == OFS_JSON_NULL)
		parse->id = NULL;
	else
		malformed(parse);
}

static void
start_list(PushParse *parse, const char *name)
{
	for (int i = 0; i < lengthof(list_names); i++)
	{
		if (strcmp(name, list_names[i]) == 0)
		{
			parse->list = i;
			parse->element = 0;
			return;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed changes object"),
			 errdetail("Collection \"%s\" has an unknown member \"%s\".",
					   shown(parse->collection), shown(name)),
			 errhint("A collection has the lists created, updated and deleted.")));
}

static void
open_value(PushParse *parse)
{
	if (parse->place == IN_RECORD)
	{
		parse->place = IN_VALUE;
		parse->start = parse->lex->token_start;
	}
	parse->depth++;
}

static void
close_value(PushParse *parse)
{
	if (--parse->depth == 0)
	{
		parse->place = IN_RECORD;
		end_member(parse, OFS_JSON_NESTED, parse->start,
				  parse->lex->prev_token_terminator - parse->start);
	}
}

static OFS_JSON_ACTION
object_start(void *state)
{
	PushParse  *parse = state;

	parse->before = parse->lex->token_start;
	switch (parse->place)
	{
		case AT_START:
			parse->place = IN_DOCUMENT;
			break;
		case IN_DOCUMENT:
			parse->place = IN_COLLECTION;
			break;
		case IN_LIST:
			start_record(parse);
			break;
		case IN_RECORD:
		case IN_VALUE:
			open_value(parse);
			break;
		default:
			malformed(parse);
	}
	OFS_JSON_ACTION_DONE;
}

static OFS_JSON_ACTION
object_end(void *state)
{
	PushParse  *parse = state;

	parse->before = parse->lex->token_start;
	switch (parse->place)
	{
		case IN_VALUE:
			close_value(parse);
			break;
		case IN_RECORD:
			end_record(parse);
			break;
		case IN_COLLECTION:
			parse->place = IN_DOCUMENT;
			break;
		default:
			parse->place = AT_START;
	}
	OFS_JSON_ACTION_DONE;
}

static OFS_JSON_ACTION
array_start(void *state)
{
	PushParse  *parse = state;

	switch (parse->place)
	{
		case IN_COLLECTION:
			parse->place = IN_LIST;
			break;
		case IN_RECORD:
		case IN_VALUE:
			open_value(parse);
			break;
		default:
			parse->element++;
			malformed(parse);
	}
	OFS_JSON_ACTION_DONE;
}

static OFS_JSON_ACTION
array_end(void *state)
{
	PushParse  *parse = state;

	parse->before = parse->lex->token_start;
	if (parse->place == IN_VALUE)
		close_value(parse);
	else
		parse->place = IN_COLLECTION;
	OFS_JSON_ACTION_DONE;
}

/* The name is NULL when it is to be taken from the document. */
static OFS_JSON_ACTION
member_start(void *state, char *name, bool isnull)
{
	PushParse  *parse = state;

	parse->value = parse->lex->token_start;
	if (parse->place != IN_VALUE && !(parse->place == IN_RECORD && name == NULL && guess_member(parse)))
	{
		if (name == NULL)
			name = take_name(parse);
		if (parse->place == IN_DOCUMENT)
			parse->collection = ofs_pushbuild_collection(parse->build, name);
		else if (parse->place == IN_COLLECTION)
			start_list(parse, name);
		else if (parse->place == IN_RECORD)
			start_member(parse, name);
	}
	if (name != NULL)
		pfree(name);
	OFS_JSON_ACTION_DONE;
}

static OFS_JSON_ACTION
element_start(void *state, bool isnull)
{
	PushParse  *parse = state;

	parse->value = parse->lex->token_start;
	OFS_JSON_ACTION_DONE;
}

/* A value of a record, or an id under "deleted"; the token is NULL when a string is to be taken from the document. */
static void
take_scalar(PushParse *parse, const char *token, OfsJsonKind kind)
{
	int			len;

	if (token != NULL)
		len = strlen(token);
	else
	{
		len = parse->lex->prev_token_terminator - parse->value - 2;
		token = take_string(parse, parse->value + 1, &len);
	}
	if (parse->place == IN_RECORD)
		end_member(parse, kind, token, len);
	else
		add_deleted(parse, token, len);
}

static OFS_JSON_ACTION
scalar(void *state, char *token, JsonTokenType type)
{
	PushParse  *parse = state;
	OfsJsonKind kind = ofs_json_kind(type);

	parse->before = parse->lex->token_start;
	if (parse->place == IN_RECORD ||
		(parse->place == IN_LIST && parse->list == OFS_LIST_DELETED &&
		 (kind == OFS_JSON_STRING || kind == OFS_JSON_NUMBER)))
		take_scalar(parse, token, kind);
	else if (parse->place != IN_VALUE &&
			 !(parse->place == IN_COLLECTION && kind == OFS_JSON_NULL))
	{
		parse->element++;
		malformed(parse);
	}
	if (token != NULL)
		pfree(token);
	OFS_JSON_ACTION_DONE;
}

OfsPushDoc *
ofs_pushdoc_parse(const char *json, int len)
{
	PushParse	parse = {0};
	JsonSemAction actions = {0};

	parse.lex = ofs_compat_json_lexer(json, len, has_unicode_escape(json, len));
	parse.build = ofs_pushbuild_create();
	initStringInfo(&parse.string);
	actions.semstate = &parse;
	actions.object_start = object_start;
	actions.object_end = object_end;
	actions.array_start = array_start;
	actions.array_end = array_end;
	actions.array_element_start = element_start;
	actions.object_field_start = member_start;
	actions.scalar = scalar;
	pg_parse_json_or_ereport(parse.lex, &actions);
	return ofs_pushbuild_finish(parse.build);
}
