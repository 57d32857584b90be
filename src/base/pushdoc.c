/*
 * pushdoc.c
 *		A pushed changes object, read in one pass.
 *
 * It is an object of collections, these of lists, these of records, and these of fields: a function reads each.  A field's
 * value is taken as it stands, whatever is in it.  What is kept, pushbuild.c keeps.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/jsonscan.h"
#include "base/pushbuild.h"

#define SHOWN_NAME_LEN	NAMEDATALEN

static const char *const list_names[] = {"created", "updated", "deleted"};

typedef struct PushParse
{
	OfsJsonScan scan;
	OfsPushBuild *build;
	const char *collection;
	OfsPushList list;
	int64		element;		/* in the list being read, from 1 */
} PushParse;

/* A name as messages show it: whole, unless a caller made it absurdly long. */
static char *
shown(const char *name)
{
	int			len = strlen(name);

	return pnstrdup(name, pg_mbcliplen(name, len, SHOWN_NAME_LEN));
}

/* Names are the caller's own; values are never shown. */
OFS_NORETURN static void
malformed_element(PushParse *parse, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed changes object"),
			 errdetail("Element " INT64_FORMAT " of \"%s\" in collection \"%s\" %s.",
					   parse->element, list_names[parse->list],
					   shown(parse->collection), problem)));
}

OFS_NORETURN static void
malformed(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed changes object"),
			 errdetail_internal("%s", detail)));
}

/* ---------- records ---------- */

static const char *
take_id(PushParse *parse, const OfsJsonSlice *value)
{
	if (value->kind == OFS_JSON_NULL)
		return NULL;
	if (value->kind != OFS_JSON_STRING && value->kind != OFS_JSON_NUMBER)
		malformed_element(parse, "must have a string or a number as its id");
	if (value->len > OFS_PUSH_ID_MAX)
		malformed_element(parse, psprintf("has an id of more than %d bytes", OFS_PUSH_ID_MAX));
	return value->len == 0 ? NULL : ofs_pushbuild_text(parse->build, value->text, value->len);
}

/* The name of a member, which most often is that of the record before in its place; is it the id? */
static bool
take_name(PushParse *parse)
{
	OfsJsonScan *scan = &parse->scan;
	OfsJsonSlice name;
	char	   *text;
	bool		is_id;

	if (ofs_jsonscan_peek(scan) == '"')
	{
		const char *start = scan->at + 1;
		int			len = ofs_pushbuild_field_guess(parse->build, start, scan->end - start);

		if (len >= 0)
		{
			ofs_jsonscan_skip_name(scan, len);
			return false;
		}
	}
	ofs_jsonscan_name(scan, &name);
	is_id = name.len == 2 && memcmp(name.text, "id", 2) == 0;
	if (!is_id)
	{
		text = pnstrdup(name.text, name.len);
		ofs_pushbuild_field_name(parse->build, text);
		pfree(text);
	}
	return is_id;
}

/* An object; its brace is next.  Returns its id. */
static const char *
take_members(PushParse *parse)
{
	OfsJsonScan *scan = &parse->scan;
	const char *id = NULL;

	ofs_jsonscan_expect(scan, '{');
	if (ofs_jsonscan_step(scan, '}'))
		return NULL;
	do
	{
		bool		is_id = take_name(parse);
		OfsJsonSlice value;

		scan->lenient = !is_id;
		scan->wrong.text = NULL;
		ofs_jsonscan_value(scan, &value);
		scan->lenient = false;
		if (scan->wrong.text)
			ofs_pushbuild_record_spoil(parse->build, scan->wrong.text, scan->wrong.len);
		if (is_id)
			id = take_id(parse, &value);
		else
			ofs_pushbuild_field_value(parse->build, value.kind, value.text, value.len);
	} while (ofs_jsonscan_step(scan, ','));
	ofs_jsonscan_expect(scan, '}');
	return id;
}

/* An element of a list: a record, or under "deleted" an id alone. */
static void
take_element(PushParse *parse)
{
	OfsJsonSlice value;
	const char *id;

	parse->element++;
	ofs_pushbuild_record_begin(parse->build);
	if (ofs_jsonscan_peek(&parse->scan) == '{')
		id = take_members(parse);
	else
	{
		ofs_jsonscan_value(&parse->scan, &value);
		if (parse->list != OFS_LIST_DELETED)
			malformed_element(parse, "must be an object");
		if (value.kind != OFS_JSON_STRING && value.kind != OFS_JSON_NUMBER)
			malformed_element(parse, "must be an id or an object with an id");
		id = take_id(parse, &value);
	}
	if (parse->list == OFS_LIST_DELETED && id == NULL)
		malformed_element(parse, "has no id");
	ofs_pushbuild_record_end(parse->build, id, parse->list);
}

/* ---------- the document ---------- */

/* The name of a list's or a collection's member, as text of its own. */
static char *
take_text(PushParse *parse)
{
	OfsJsonSlice name;

	ofs_jsonscan_name(&parse->scan, &name);
	return pnstrdup(name.text, name.len);
}

static OfsPushList
find_list(PushParse *parse, const char *name)
{
	for (int i = 0; i < lengthof(list_names); i++)
	{
		if (strcmp(name, list_names[i]) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed changes object"),
			 errdetail("Collection \"%s\" has an unknown member \"%s\".",
					   shown(parse->collection), shown(name)),
			 errhint("A collection has the lists created, updated and deleted.")));
	return OFS_LIST_CREATED;	/* not reached */
}

static void
take_list(PushParse *parse)
{
	OfsJsonScan *scan = &parse->scan;
	OfsJsonSlice value;

	parse->list = find_list(parse, take_text(parse));
	parse->element = 0;
	if (!ofs_jsonscan_step(scan, '['))
	{
		ofs_jsonscan_value(scan, &value);
		if (value.kind == OFS_JSON_NULL)
			return;
		malformed(psprintf(_("\"%s\" of collection \"%s\" must be an array."),
						   list_names[parse->list], shown(parse->collection)));
	}
	if (ofs_jsonscan_step(scan, ']'))
		return;
	do
		take_element(parse);
	while (ofs_jsonscan_step(scan, ','));
	ofs_jsonscan_expect(scan, ']');
}

static void
take_collection(PushParse *parse)
{
	OfsJsonScan *scan = &parse->scan;

	parse->collection = ofs_pushbuild_collection(parse->build, take_text(parse));
	if (!ofs_jsonscan_step(scan, '{'))
		malformed(psprintf(_("Collection \"%s\" must be an object with the lists created, updated and deleted."),
						   shown(parse->collection)));
	if (ofs_jsonscan_step(scan, '}'))
		return;
	do
		take_list(parse);
	while (ofs_jsonscan_step(scan, ','));
	ofs_jsonscan_expect(scan, '}');
}

OfsPushDoc *
ofs_pushdoc_parse(const char *json, int len)
{
	PushParse	parse = {0};

	ofs_jsonscan_open(&parse.scan, json, len);
	parse.build = ofs_pushbuild_create();
	if (!ofs_jsonscan_step(&parse.scan, '{'))
		malformed(_("It must be an object with a member for each collection."));
	if (!ofs_jsonscan_step(&parse.scan, '}'))
	{
		do
			take_collection(&parse);
		while (ofs_jsonscan_step(&parse.scan, ','));
		ofs_jsonscan_expect(&parse.scan, '}');
	}
	return ofs_pushbuild_finish(parse.build);
}
