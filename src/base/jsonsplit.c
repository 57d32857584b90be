/*
 * jsonsplit.c
 *		One level of a JSON object or array, split into its members.
 *
 * What is nested deeper stays raw text, for whoever wants to look into it.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/jsonsplit.h"
#include "base/put.h"

typedef struct Split
{
	JsonLexContext *lex;
	int			depth;			/* open objects and arrays; 1 = at the members */
	const char *start;			/* of the nested member being skipped */
	const char *name;
	OfsJsonMember *members;
	int			count;
	int			room;
} Split;

static OfsJsonKind
json_kind(JsonTokenType token)
{
	switch (token)
	{
		case JSON_TOKEN_STRING:
			return OFS_JSON_STRING;
		case JSON_TOKEN_NUMBER:
			return OFS_JSON_NUMBER;
		case JSON_TOKEN_TRUE:
			return OFS_JSON_TRUE;
		case JSON_TOKEN_FALSE:
			return OFS_JSON_FALSE;
		default:
			return OFS_JSON_NULL;
	}
}

static void
split_add(Split *split, OfsJsonKind kind, const char *text, int len)
{
	OfsJsonMember *member;

	if (split->count == split->room)
	{
		split->room = Max(8, split->room * 2);
		if (split->members == NULL)
			split->members = palloc(split->room * sizeof(OfsJsonMember));
		else
			split->members = repalloc_huge(split->members,
										   split->room * sizeof(OfsJsonMember));
	}
	member = &split->members[split->count++];
	member->name = split->name;
	member->value.kind = kind;
	member->value.text = text;
	member->value.len = len;
}

static OFS_JSON_ACTION
split_open(void *state)
{
	Split	   *split = state;

	if (++split->depth == 2)
		split->start = split->lex->token_start;
	OFS_JSON_ACTION_DONE;
}

static OFS_JSON_ACTION
split_close(void *state)
{
	Split	   *split = state;

	if (--split->depth == 1)
	{
		int			len = split->lex->prev_token_terminator - split->start;

		split_add(split, OFS_JSON_NESTED, pnstrdup(split->start, len), len);
	}
	OFS_JSON_ACTION_DONE;
}

static OFS_JSON_ACTION
split_name(void *state, char *name, bool isnull)
{
	Split	   *split = state;

	if (split->depth == 1)
		split->name = name;
	OFS_JSON_ACTION_DONE;
}

static OFS_JSON_ACTION
split_scalar(void *state, char *token, JsonTokenType type)
{
	Split	   *split = state;

	if (split->depth == 1)
		split_add(split, json_kind(type), token, strlen(token));
	OFS_JSON_ACTION_DONE;
}

int
ofs_json_split(const OfsJsonValue *nested, OfsJsonMember **members)
{
	Split		split = {0};
	JsonSemAction actions = {0};

	split.lex = ofs_compat_json_lexer(nested->text, nested->len, true);
	actions.semstate = &split;
	actions.object_start = split_open;
	actions.object_end = split_close;
	actions.array_start = split_open;
	actions.array_end = split_close;
	actions.object_field_start = split_name;
	actions.scalar = split_scalar;
	pg_parse_json_or_ereport(split.lex, &actions);
	*members = split.members;
	return split.count;
}

const OfsJsonValue *
ofs_json_member(const OfsJsonMember *members, int count, const char *name)
{
	for (int i = count - 1; i >= 0; i--)
	{
		if (strcmp(members[i].name, name) == 0)
			return &members[i].value;
	}
	return NULL;
}

void
ofs_json_append(StringInfo out, const OfsJsonValue *value)
{
	switch (value->kind)
	{
		case OFS_JSON_NULL:
			ofs_put_literal(out, "null");
			break;
		case OFS_JSON_FALSE:
			ofs_put_literal(out, "false");
			break;
		case OFS_JSON_TRUE:
			ofs_put_literal(out, "true");
			break;
		case OFS_JSON_STRING:
			ofs_json_string(out, value->text, value->len);
			break;
		case OFS_JSON_NUMBER:
		case OFS_JSON_NESTED:
			ofs_put_bytes(out, value->text, value->len);
			break;
	}
}
