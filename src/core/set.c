/*
 * set.c
 *		Sets of values that policies look things up in, as cursors carry them.
 *
 * A set is the bytes of its values in ascending order, so that equal sets are equal bytes however the server came
 * upon them.  Two values that are equal and of unlike bytes count as two: whoever asks what changed evaluates
 * the policy in the end.
 *
 * Many collections' policies ask for the same set (the projects I am in), so a cursor holds each once.
 *
 * Pure: no SQL, no catalogs, no settings.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/varint.h"
#include "core/set.h"

#define FLAG_IS_NULL	0x10
#define FLAG_HAS_NULL	0x20
#define KIND_MASK		0x0F

static int
compare_items(const void *a, const void *b)
{
	const OfsSetItem *x = a;
	const OfsSetItem *y = b;
	int			common = Min(x->len, y->len);
	int			order = common > 0 ? memcmp(x->data, y->data, common) : 0;

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static void
add_to_hash(uint64 *hash, const char *bytes, int len)
{
	for (int i = 0; i < len; i++)
	{
		*hash ^= (uint8) bytes[i];
		*hash *= UINT64CONST(0x100000001b3);
	}
}

void
ofs_set_finish(OfsSet *set)
{
	int			kept = 0;
	uint64		hash = UINT64CONST(0xcbf29ce484222325);
	char		head[2] = {set->is_null, set->has_null};

	if (set->count > 1)
		qsort(set->items, set->count, sizeof(OfsSetItem), compare_items);
	for (int i = 0; i < set->count; i++)
		if (kept == 0 || compare_items(&set->items[kept - 1], &set->items[i]) != 0)
			set->items[kept++] = set->items[i];
	set->count = kept;

	add_to_hash(&hash, head, sizeof(head));
	for (int i = 0; i < set->count; i++)
	{
		char		len[4];

		for (int j = 0; j < 4; j++)
			len[j] = (char) (set->items[i].len >> (8 * j));
		add_to_hash(&hash, len, sizeof(len));
		add_to_hash(&hash, set->items[i].data, set->items[i].len);
	}
	set->hash = hash;
}

int
ofs_set_size(const OfsSet *set)
{
	int			size = 4;

	for (int i = 0; i < set->count; i++)
		size += set->items[i].len + 1;
	return size;
}

int
ofs_set_minus(const OfsSet *a, const OfsSet *b, OfsSetItem *items)
{
	int			count = 0;
	int			j = 0;

	for (int i = 0; i < a->count; i++)
	{
		while (j < b->count && compare_items(&b->items[j], &a->items[i]) < 0)
			j++;
		if (j == b->count || compare_items(&b->items[j], &a->items[i]) != 0)
			items[count++] = a->items[i];
	}
	return count;
}

/* ---------- packing ---------- */

static void
pack_set(const OfsSet *set, StringInfo out)
{
	appendStringInfoCharMacro(out, (char) (set->kind | (set->is_null ? FLAG_IS_NULL : 0) |
										   (set->has_null ? FLAG_HAS_NULL : 0)));
	if (set->kind == OFS_SET_HASH)
		ofs_put_fixed64(out, set->hash);
	if (set->kind != OFS_SET_VALUES)
		return;
	ofs_put_varint(out, set->count);
	for (int i = 0; i < set->count; i++)
	{
		ofs_put_varint(out, set->items[i].len);
		appendBinaryStringInfo(out, set->items[i].data, set->items[i].len);
	}
}

static void
pack_places(const int *places, int count, StringInfo out)
{
	ofs_put_varint(out, count);
	for (int i = 0; i < count; i++)
		ofs_put_varint(out, places[i]);
}

void
ofs_set_pack(const OfsSetBook *book, StringInfo out)
{
	ofs_put_varint(out, book->nsets);
	for (int i = 0; i < book->nsets; i++)
		pack_set(&book->sets[i], out);
	ofs_put_varint(out, book->nviews);
	for (int i = 0; i < book->nviews; i++)
	{
		const OfsSetView *view = &book->views[i];

		ofs_put_fixed64(out, view->collection);
		ofs_put_fixed64(out, view->fingerprint);
		pack_places(view->sets, view->nsets, out);
		ofs_put_fixed64(out, view->columns);
		pack_places(view->filters, view->nfilters, out);
	}
}

static void
unpack_set(OfsReader *r, OfsSet *set)
{
	uint8		flags = ofs_get_byte(r);

	set->is_null = (flags & FLAG_IS_NULL) != 0;
	set->has_null = (flags & FLAG_HAS_NULL) != 0;
	set->kind = flags & KIND_MASK;
	if (set->kind > OFS_SET_PARENT)
		r->failed = true;
	if (set->kind == OFS_SET_HASH)
		set->hash = ofs_get_fixed64(r);
	if (set->kind != OFS_SET_VALUES)
		return;
	set->count = ofs_get_count(r, 1);
	set->items = palloc0_array(OfsSetItem, Max(set->count, 1));
	for (int i = 0; i < set->count && !r->failed; i++)
		set->items[i].data = (const char *) ofs_get_bytes(r, &set->items[i].len);
	ofs_set_finish(set);
}

static int *
unpack_places(OfsReader *r, const OfsSetBook *book, int *count)
{
	int		   *places;

	*count = ofs_get_count(r, 1);
	places = palloc0_array(int, Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		uint64		at = ofs_get_varint(r);

		if (at >= (uint64) book->nsets)
			r->failed = true;
		else
			places[i] = (int) at;
	}
	return places;
}

bool
ofs_set_unpack(const uint8 *bytes, int len, OfsSetBook *book)
{
	OfsReader	r = {bytes, bytes + len, false};

	memset(book, 0, sizeof(*book));
	if (len == 0)
		return true;
	book->nsets = ofs_get_count(&r, 1);
	book->sets = palloc0_array(OfsSet, Max(book->nsets, 1));
	for (int i = 0; i < book->nsets && !r.failed; i++)
		unpack_set(&r, &book->sets[i]);
	book->nviews = ofs_get_count(&r, 26);
	book->views = palloc0_array(OfsSetView, Max(book->nviews, 1));
	for (int i = 0; i < book->nviews && !r.failed; i++)
	{
		OfsSetView *view = &book->views[i];

		view->collection = ofs_get_fixed64(&r);
		view->fingerprint = ofs_get_fixed64(&r);
		view->sets = unpack_places(&r, book, &view->nsets);
		view->columns = ofs_get_fixed64(&r);
		view->filters = unpack_places(&r, book, &view->nfilters);
	}
	return !r.failed && r.at == r.end;
}
