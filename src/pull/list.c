/*
 * list.c
 *		The lists of a collection in an answer: created, updated, deleted.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "base/codec.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/put.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "pull/list.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define MOST	((int) (MaxAllocSize - 64 * 1024 * 1024))

void
ofs_list_begin(OfsWireList *list, StringInfo out, bool spills)
{
	memset(list, 0, sizeof(*list));
	list->text = out;
	list->waits = out == NULL;
	list->spills = spills && list->waits;
	if (!list->waits)
		return;
	initStringInfo(&list->own);
	list->text = &list->own;
}

/* A record more and the buffer might not be let grow, which PostgreSQL would tell less clearly. */
static void
too_large(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_TOO_LARGE),
			 errmsg("the answer is too large for one value"),
			 errdetail("A value can't be larger than 1 GB."),
			 errhint("Ask for pages with max_rows, or read the answer with offsync.pull_stream().")));
}

StringInfo
ofs_list_next(OfsWireList *list)
{
	if (unlikely(list->text->len > MOST))
		too_large();
	if (list->count++ > 0)
		ofs_put_char(list->text, ',');
	return list->text;
}

static TupleDesc
piece_desc(void)
{
	TupleDesc	desc = CreateTemplateTupleDesc(1);

	TupleDescInitEntry(desc, 1, "piece", TEXTOID, -1, 0);
	TupleDescFinalize(desc);
	return desc;
}

static void
spill(OfsWireList *list)
{
	TupleDesc	desc = piece_desc();
	Datum		piece = PointerGetDatum(cstring_to_text_with_len(list->text->data, list->text->len));
	bool		isnull = false;

	if (list->spilt == NULL)
		list->spilt = tuplestore_begin_heap(false, false, work_mem);
	tuplestore_putvalues(list->spilt, desc, &piece, &isnull);
	resetStringInfo(list->text);
	pfree(DatumGetPointer(piece));
	FreeTupleDesc(desc);
}

void
ofs_list_added(OfsWireList *list)
{
	if (list->spills && list->text->len >= OFS_LIST_PIECE)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(list->text->data));

		spill(list);
		MemoryContextSwitchTo(old);
	}
}

void
ofs_list_add_id(OfsWireList *list, const StringInfo id)
{
	ofs_json_string(ofs_list_next(list), id->data, id->len);
	ofs_list_added(list);
}

/* Append the next piece of what was spilt; false: there is none. */
static bool
take_spilt(OfsWireList *list, StringInfo out)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(piece_desc(), &TTSOpsMinimalTuple);
	bool		found = tuplestore_gettupleslot(list->spilt, true, false, slot);

	if (found)
	{
		bool		isnull;
		text	   *piece = DatumGetTextPP(slot_getattr(slot, 1, &isnull));

		ofs_put_bytes(out, VARDATA_ANY(piece), VARSIZE_ANY_EXHDR(piece));
	}
	ExecDropSingleTupleTableSlot(slot);
	return found;
}

bool
ofs_list_answer(OfsWireList *list, StringInfo out)
{
	if (!list->waits)
		return false;
	if (list->spilt)
	{
		if (take_spilt(list, out))
			return true;
		tuplestore_end(list->spilt);
	}
	ofs_put_bytes(out, list->text->data, list->text->len);
	pfree(list->text->data);
	list->waits = false;
	return false;
}
