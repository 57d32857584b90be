/*
 * page.c
 *		Where a pull stands between two of its pages, as the cursor carries it.
 *
 * Pure: no SQL, no catalogs, no settings.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/varint.h"
#include "core/page.h"

static void
put_text(StringInfo out, const char *text)
{
	appendStringInfoCharMacro(out, text != NULL);
	if (text)
		ofs_put_bytes(out, (const uint8 *) text, (int) strlen(text));
}

static const char *
get_text(OfsReader *r)
{
	const uint8 *bytes;
	int			len;

	if (!ofs_get_byte(r))
		return NULL;
	bytes = ofs_get_bytes(r, &len);
	return r->failed ? NULL : pnstrdup((const char *) bytes, len);
}

void
ofs_page_pack(const OfsPage *page, StringInfo out)
{
	put_text(out, page->origin);
	ofs_put_varint(out, page->timestamp);
	ofs_put_fixed64(out, page->arguments);
	ofs_put_varint(out, page->ncollections);
	for (int i = 0; i < page->ncollections; i++)
	{
		ofs_put_fixed64(out, page->collections[i].hash);
		appendStringInfoCharMacro(out, (char) page->collections[i].mode);
		appendStringInfoCharMacro(out, (char) page->collections[i].state);
	}
	ofs_put_fixed64(out, page->at);
	ofs_put_varint(out, page->part);
	put_text(out, page->key);
}

bool
ofs_page_unpack(const uint8 *bytes, int len, OfsPage *page)
{
	OfsReader	r = {bytes, bytes + len, false};

	memset(page, 0, sizeof(*page));
	page->origin = get_text(&r);
	page->timestamp = ofs_get_varint(&r);
	page->arguments = ofs_get_fixed64(&r);
	page->ncollections = ofs_get_count(&r, 10);
	page->collections = palloc0_array(OfsPageCollection, Max(page->ncollections, 1));
	for (int i = 0; i < page->ncollections; i++)
	{
		page->collections[i].hash = ofs_get_fixed64(&r);
		page->collections[i].mode = ofs_get_byte(&r);
		page->collections[i].state = ofs_get_byte(&r);
	}
	page->at = ofs_get_fixed64(&r);
	page->part = (int) ofs_get_varint(&r);
	page->key = get_text(&r);
	return !r.failed && r.at == r.end;
}
