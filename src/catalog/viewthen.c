/*
 * viewthen.c
 *		What a cursor says of the views that its client had.
 *
 * Two views are the same when their digests are.  A push notes the digests of the collections that it wrote to
 * where they aren't those of its cursor: what the client wrote under such a view it holds, though neither the view
 * that the cursor knows nor a later one may show it.
 */
#include "postgres.h"

#include "catalog/viewthen.h"

void
ofs_viewthen_open(const OfsSince *since, OfsSetBook *book)
{
	memset(book, 0, sizeof(*book));
	if (since->kind == OFS_SINCE_EXACT &&
		!ofs_set_unpack(since->cursor->inputs, since->cursor->inputs_len, book))
		elog(ERROR, "a sealed cursor holds sets that can't be read");
}

const OfsSetView *
ofs_viewthen_find(const OfsSetBook *book, const OfsTable *table)
{
	for (int i = 0; i < book->nviews; i++)
		if (book->views[i].collection == table->hash)
			return &book->views[i];
	return NULL;
}

static void
add(uint64 *digest, uint64 value)
{
	for (int i = 0; i < 8; i++)
	{
		*digest ^= (value >> (8 * i)) & 0xFF;
		*digest *= UINT64CONST(0x100000001b3);
	}
}

uint64
ofs_view_digest(const OfsView *view)
{
	uint64		digest = view->identity;
	ListCell   *lc;

	foreach(lc, view->sets)
	{
		const OfsViewSet *set = lfirst(lc);

		add(&digest, set->parent ? ofs_view_digest(set->parent) : set->value.hash);
	}
	return digest;
}

uint64
ofs_viewthen_digest(const OfsSince *since, const OfsSetBook *book, const OfsView *view)
{
	const OfsCursorCollection *covered = ofs_since_collection(since, view->table);
	const OfsSetView *then = ofs_viewthen_find(book, view->table);
	uint64		digest;
	ListCell   *lc;

	if (covered)
		digest = covered->fingerprint;
	else if (then)
		digest = then->fingerprint;
	else
		return 0;
	/* pushes may come in another dialect than pulls */
	if ((digest ^ OFS_VIEW_JSON) == view->identity)
		digest = view->identity;
	if (then == NULL)
		return view->sets == NIL ? digest : 0;
	if (list_length(view->sets) != then->nsets)
		return 0;
	foreach(lc, view->sets)
	{
		const OfsViewSet *set = lfirst(lc);
		const OfsSet *value = &book->sets[then->sets[foreach_current_index(lc)]];

		if ((value->kind == OFS_SET_PARENT) != (set->parent != NULL))
			return 0;
		add(&digest, set->parent ? ofs_viewthen_digest(since, book, set->parent) : value->hash);
	}
	return digest;
}
