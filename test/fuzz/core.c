/*
 * core.c
 *		Bytes of the fuzzer's, put through what needs no server.
 *
 * libFuzzer calls LLVMFuzzerTestOneInput; FUZZ_TARGET says which of the targets it is to be.  Each target has an
 * oracle of its own beside the sanitizers:
 *
 *	cursor	bytes behind a good check sum: what can be read packs to bytes that read as the same
 *	page	the same of where a pull stands between two pages
 *	sets	the same of the sets that policies look things up in
 *	text	a cursor's text: what opens is spelt in one way only
 *	push	a changes object: pushdoc.c, which takes strings from where they stand, agrees with a plain reading of
 *			the same document, level by level
 *	string	any bytes as a JSON string: they come back
 *	clock	lines as hybrid logical clocks (clocks.c)
 */
#include "postgres.h"

#include <unistd.h>

#include "base/codec.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/jsonsplit.h"
#include "base/pushdoc.h"
#include "core/cursor.h"
#include "core/page.h"
#include "core/set.h"
#include "fuzz.h"
#include "mb/pg_wchar.h"

extern int	LLVMFuzzerInitialize(int *argc, char ***argv);
extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

void
require(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "not so: %s\n", what);
	abort();
}

static bool
same_bytes(const StringInfoData *a, const StringInfoData *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static char *
text_of(const uint8 *data, size_t size)
{
	return pnstrdup((const char *) data, size);
}

/* ---------- cursors ---------- */

static void
try_page(const uint8 *data, size_t size)
{
	OfsPage		page,
				again;
	StringInfoData first,
				second;

	if (!ofs_page_unpack(data, (int) size, &page))
		return;
	initStringInfo(&first);
	initStringInfo(&second);
	ofs_page_pack(&page, &first);
	require(ofs_page_unpack((const uint8 *) first.data, first.len, &again), "a page that was packed is a page");
	ofs_page_pack(&again, &second);
	require(same_bytes(&first, &second), "a page comes back as it was");
}

static void
try_sets(const uint8 *data, size_t size)
{
	OfsSetBook	book,
				again;
	StringInfoData first,
				second;

	if (!ofs_set_unpack(data, (int) size, &book))
		return;
	for (int i = 0; i + 1 < book.nsets; i++)
	{
		const OfsSet *a = &book.sets[i];
		const OfsSet *b = &book.sets[i + 1];
		OfsSetItem *items = palloc(sizeof(OfsSetItem) * (a->count + 1));

		require(ofs_set_minus(a, b, items) <= a->count && ofs_set_size(a) >= 0, "a set has no more than it has");
	}
	initStringInfo(&first);
	initStringInfo(&second);
	ofs_set_pack(&book, &first);
	require(ofs_set_unpack((const uint8 *) first.data, first.len, &again), "sets that were packed are sets");
	ofs_set_pack(&again, &second);
	require(same_bytes(&first, &second), "sets come back as they were");
}

static void
check_running(const OfsCursor *cursor)
{
	uint64		at = cursor->xmin;

	for (int i = 0; i < cursor->nrunning; i++)
	{
		require(cursor->running[i].first >= at, "ids in progress ascend");
		at = cursor->running[i].first + cursor->running[i].count;
		require(at >= cursor->running[i].first && at <= cursor->xmax, "ids in progress are inside the snapshot");
	}
}

static void
try_cursor(const uint8 *data, size_t size)
{
	StringInfoData body,
				opened,
				first,
				second;
	uint8		seal[OFS_CURSOR_SEAL_LEN] = {0};
	uint8		read_seal[OFS_CURSOR_SEAL_LEN];
	OfsCursor	cursor,
				again;

	initStringInfo(&body);
	appendBinaryStringInfo(&body, (const char *) data, (int) size);
	if (size > 0 && data[0] <= 1)
	{
		require(ofs_cursor_open(ofs_cursor_text(&body, seal), &opened, read_seal) == OFS_CURSOR_OK, "a text that was made opens");
		require(same_bytes(&body, &opened), "and holds what was put in");
	}
	/* the sanitizer sees a read behind the end only where the bytes end */
	body.data = memcpy(palloc(Max(size, 1)), data, size);
	if (!ofs_cursor_unpack(&body, &cursor))
		return;
	check_running(&cursor);
	try_page(cursor.page, cursor.page_len);
	initStringInfo(&first);
	initStringInfo(&second);
	ofs_cursor_pack(&cursor, &first);
	require(ofs_cursor_unpack(&first, &again), "a cursor that was packed is a cursor");
	ofs_cursor_pack(&again, &second);
	require(same_bytes(&first, &second), "a cursor comes back as it was");
}

static void
try_text(const uint8 *data, size_t size)
{
	char	   *text = text_of(data, size);
	StringInfoData body;
	uint8		seal[OFS_CURSOR_SEAL_LEN];

	if (ofs_cursor_open(text, &body, seal) != OFS_CURSOR_DAMAGED)
		require(strcmp(ofs_cursor_text(&body, seal), text) == 0, "a cursor has one spelling");
}

/* ---------- changes objects ---------- */

/* A list of lines: a document as both readings are to see it. */
typedef struct Lines
{
	StringInfoData text;
} Lines;

static void
put_value(StringInfo out, const OfsJsonValue *value)
{
	appendStringInfo(out, " %d:", (int) value->kind);
	if (value->text)
		appendBinaryStringInfo(out, value->text, value->len);
}

static void
put_record(StringInfo out, const OfsPushRecord *record)
{
	appendStringInfo(out, "\n  %s", record->id ? record->id : "(no id)");
	for (int i = 0; i < record->nfields; i++)
	{
		require(record->fields[i].value.text == NULL ||
				strlen(record->fields[i].value.text) == (size_t) record->fields[i].value.len, "a text is as long as it says");
		appendStringInfo(out, "\n    %s", record->fields[i].name);
		put_value(out, &record->fields[i].value);
	}
}

static void
put_document(StringInfo out, const OfsPushDoc *doc)
{
	for (int i = 0; i < doc->ncollections; i++)
	{
		const OfsPushCollection *collection = &doc->collections[i];

		appendStringInfo(out, "\n%s", collection->name);
		for (int j = 0; j < collection->nrecords; j++)
		{
			appendStringInfo(out, "\n %s", collection->records[j].created ? "created" : "updated");
			put_record(out, &collection->records[j]);
		}
		for (int j = 0; j < collection->ndeleted; j++)
		{
			appendStringInfoString(out, "\n deleted");
			put_record(out, &collection->deleted[j]);
		}
	}
}

static void
malformed(void)
{
	ereport(ERROR, (errcode(ERRCODE_OFS_MALFORMED)));
}

/* The members of an object; it isn't one, or an array: malformed. */
static int
split_object(const OfsJsonValue *value, char bracket, OfsJsonMember **members)
{
	if (value->kind != OFS_JSON_NESTED || value->text[0] != bracket)
		malformed();
	return ofs_json_split(value, members);
}

static const char *
plain_id(const OfsJsonValue *value)
{
	if (value->kind == OFS_JSON_NULL)
		return NULL;
	if (value->kind != OFS_JSON_STRING && value->kind != OFS_JSON_NUMBER)
		malformed();
	if (value->len > 8192)
		malformed();
	return value->len > 0 ? value->text : NULL;
}

static void
plain_fields(OfsPushRecord *record, const OfsJsonValue *value)
{
	OfsJsonMember *members;
	int			nmembers = split_object(value, '{', &members);

	record->fields = palloc0(sizeof(OfsPushField) * (nmembers + 1));
	for (int i = 0; i < nmembers; i++)
	{
		int			at = 0;

		if (strcmp(members[i].name, "id") == 0)
		{
			record->id = plain_id(&members[i].value);
			continue;
		}
		while (at < record->nfields && strcmp(record->fields[at].name, members[i].name) != 0)
			at++;
		if (at == record->nfields)
			record->nfields++;
		record->fields[at].name = members[i].name;
		record->fields[at].value = members[i].value;
		if (members[i].value.kind <= OFS_JSON_TRUE)
		{
			record->fields[at].value.text = NULL;
			record->fields[at].value.len = 0;
		}
	}
}

static void
plain_list(OfsPushRecord *records, int *count, const OfsJsonValue *value, bool deleted, bool created)
{
	OfsJsonMember *members;
	int			nmembers = split_object(value, '[', &members);

	for (int i = 0; i < nmembers; i++)
	{
		OfsPushRecord *record = &records[(*count)++];
		const OfsJsonValue *element = &members[i].value;

		memset(record, 0, sizeof(*record));
		record->created = created;
		if (deleted && (element->kind == OFS_JSON_STRING || element->kind == OFS_JSON_NUMBER))
			record->id = plain_id(element);
		else
			plain_fields(record, element);
		if (deleted && record->id == NULL)
			malformed();
	}
}

typedef struct PlainCollection
{
	const char *name;
	OfsPushRecord *lists[3];
	int			count[3];
} PlainCollection;

static PlainCollection *
find_collection(PlainCollection *collections, int *count, const char *name, size_t room)
{
	int			at = 0;

	while (at < *count && strcmp(collections[at].name, name) != 0)
		at++;
	if (at == *count)
	{
		(*count)++;
		collections[at].name = name;
		for (int i = 0; i < 3; i++)
			collections[at].lists[i] = palloc0(sizeof(OfsPushRecord) * room);
	}
	return &collections[at];
}

static void
plain_collection(PlainCollection *collection, const OfsJsonValue *value)
{
	static const char *const names[] = {"created", "updated", "deleted"};
	OfsJsonMember *members;
	int			nmembers = split_object(value, '{', &members);

	for (int i = 0; i < nmembers; i++)
	{
		int			list = 0;

		while (list < 3 && strcmp(names[list], members[i].name) != 0)
			list++;
		if (list == 3)
			malformed();
		if (members[i].value.kind != OFS_JSON_NULL)
			plain_list(collection->lists[list], &collection->count[list], &members[i].value, list == 2, list == 0);
	}
}

/* The same as ofs_pushdoc_parse, the long way. */
static OfsPushDoc *
plain_document(const char *json, int len)
{
	OfsPushDoc *doc = palloc0(sizeof(OfsPushDoc));
	OfsJsonValue whole = {OFS_JSON_NESTED, len, json};
	OfsJsonMember *members;
	PlainCollection *collections;
	int			nmembers;

	whole.text += strspn(json, " \t\n\r");
	whole.len -= whole.text - json;
	nmembers = split_object(&whole, '{', &members);
	collections = palloc0(sizeof(PlainCollection) * (nmembers + 1));
	for (int i = 0; i < nmembers; i++)
		plain_collection(find_collection(collections, &doc->ncollections, members[i].name, len / 2 + 1), &members[i].value);
	doc->collections = palloc0(sizeof(OfsPushCollection) * (doc->ncollections + 1));
	for (int i = 0; i < doc->ncollections; i++)
	{
		OfsPushCollection *to = &doc->collections[i];
		const PlainCollection *from = &collections[i];

		to->name = from->name;
		to->nrecords = from->count[0] + from->count[1];
		to->records = palloc(sizeof(OfsPushRecord) * (to->nrecords + 1));
		memcpy(to->records, from->lists[0], sizeof(OfsPushRecord) * from->count[0]);
		memcpy(to->records + from->count[0], from->lists[1], sizeof(OfsPushRecord) * from->count[1]);
		to->ndeleted = from->count[2];
		to->deleted = from->lists[2];
	}
	return doc;
}

/* What comes of a reading: its document's lines, or its error. */
static char *
reading(OfsPushDoc *(*read) (const char *json, int len), const char *json, int len)
{
	StringInfoData out;

	if (sigsetjmp(fuzz_error, 0) != 0)
		return psprintf("error %d", fuzz_sqlstate);
	initStringInfo(&out);
	put_document(&out, read(json, len));
	return out.data;
}

static void
try_push(const uint8 *data, size_t size)
{
	char	   *json;
	char	   *fast,
			   *plain;

	/* as it stands in a datum; the sanitizer sees a read behind the end only where the bytes end */
	char	   *exact = memcpy(palloc(Max(size, 1)), data, size);

	if (memchr(data, '\0', size) || pg_encoding_verifymbstr(PG_UTF8, exact, (int) size) != (int) size)
	{
		/* what is no text does no harm */
		if (sigsetjmp(fuzz_error, 0) == 0)
			(void) ofs_pushdoc_parse(exact, (int) size);
		return;
	}
	fast = reading(ofs_pushdoc_parse, exact, (int) size);
	json = text_of(data, size);
	/* nor does what is no JSON, which type json lets nobody say */
	if (pg_parse_json(ofs_compat_json_lexer(json, (int) size, true), &nullSemAction) != JSON_SUCCESS)
		return;
	plain = reading(plain_document, json, (int) size);
	if (strcmp(fast, plain) == 0)
		return;
	fprintf(stderr, "%s\n---------- plain:%s\n---------- fast:%s\n", json, plain, fast);
	require(false, "a changes object is read as it is written");
}

/* ---------- strings ---------- */

static void
try_string(const uint8 *data, size_t size)
{
	StringInfoData out;
	OfsJsonValue list = {OFS_JSON_NESTED, 0, NULL};
	OfsJsonMember *members;
	/* the sanitizer sees a read behind the end only where the bytes end */
	char	   *exact = memcpy(palloc(Max(size, 1)), data, size);

	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	ofs_json_string(&out, exact, (int) size);
	appendStringInfoChar(&out, ']');
	require(strlen(out.data) == (size_t) out.len, "nothing in JSON is a NUL");
	if (memchr(data, '\0', size) || pg_encoding_verifymbstr(PG_UTF8, (const char *) data, (int) size) != (int) size)
		return;
	list.text = out.data;
	list.len = out.len;
	require(sigsetjmp(fuzz_error, 0) == 0, "a string that was written is JSON");
	require(ofs_json_split(&list, &members) == 1 && members[0].value.kind == OFS_JSON_STRING &&
			members[0].value.len == (int) size && memcmp(members[0].value.text, data, size) == 0,
			"a string comes back as it was");
}

/* ---------- targets ---------- */

static const struct
{
	const char *name;
	void		(*run) (const uint8 *data, size_t size);
}			targets[] =
{
	{"cursor", try_cursor},
	{"page", try_page},
	{"sets", try_sets},
	{"text", try_text},
	{"push", try_push},
	{"string", try_string},
	{"clock", fuzz_clocks}
};

static int	target = -1;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *name = getenv("FUZZ_TARGET");

	for (int i = 0; i < (int) lengthof(targets); i++)
		if (name && strcmp(name, targets[i].name) == 0)
			target = i;
	require(target >= 0, "FUZZ_TARGET names a target");
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	targets[target].run(data, size);
	fuzz_forget();
	return 0;
}
