/*
 * row.c
 *		What the row triggers know of the relation they fire on.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/capture.h"
#include "catalog/notice.h"
#include "catalog/pg_type.h"
#include "track/row.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

static AttrNumber
find_column(Relation rel, const char *name)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of synced table \"%s\" is missing", name,
						RelationGetRelationName(rel)),
				 errhint("Call offsync.disable on the table, and offsync.enable again.")));
	return attnum;
}

/* Anybody may put the trigger on a table of his own, with columns of any type. */
static AttrNumber
stamp_column(Relation rel, const char *name, Oid type)
{
	AttrNumber	attnum = find_column(rel, name);

	if (TupleDescAttr(RelationGetDescr(rel), attnum - 1)->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" must have type %s", name,
						RelationGetRelationName(rel), format_type_be(type))));
	return attnum;
}

/* A partition has its own numbers for the root's columns. */
static void
find_key(OfsRow *row, Relation rel, const OfsTable *table)
{
	row->nkey = table->nkey;
	row->key = palloc(sizeof(AttrNumber) * table->nkey);
	for (int i = 0; i < table->nkey; i++)
		row->key[i] = table->relid == RelationGetRelid(rel) ? table->key[i] :
			find_column(rel, get_attname(table->relid, table->key[i], false));
}

/* Ids are written for pushes only. */
static OfsKeyCodec *
codec_of(OfsRow *row)
{
	const OfsTable *table = row->codec ? NULL : ofs_table_find(row->root);
	MemoryContext old;

	if (table)
	{
		old = MemoryContextSwitchTo(GetMemoryChunkContext(row));
		row->codec = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
		MemoryContextSwitchTo(old);
	}
	return row->codec;
}

static void
make_image(OfsImage *image, int natts)
{
	image->values = palloc(sizeof(Datum) * natts);
	image->nulls = palloc(sizeof(bool) * natts);
}

OfsRow *
ofs_row_get(FmgrInfo *flinfo, Relation rel)
{
	OfsRow	   *row = flinfo->fn_extra;
	const OfsTable *table;
	MemoryContext old;

	if (row)
		return row;

	old = MemoryContextSwitchTo(flinfo->fn_mcxt);
	row = palloc0(sizeof(OfsRow));
	row->created_at = stamp_column(rel, OFS_COL_CREATED_AT, TIMESTAMPTZOID);
	row->updated_at = stamp_column(rel, OFS_COL_UPDATED_AT, TIMESTAMPTZOID);
	row->version = stamp_column(rel, OFS_COL_VERSION, INT8OID);
	row->created_version = stamp_column(rel, OFS_COL_CREATED_VERSION, INT8OID);
	make_image(&row->old, RelationGetDescr(rel)->natts);
	make_image(&row->new, RelationGetDescr(rel)->natts);
	table = ofs_table_of(RelationGetRelid(rel));
	if (table)
	{
		row->root = table->relid;
		row->tombstone = table->tombstone;
		if (table->notify)
			row->told = pstrdup(table->collection);
		if (table->history)
			row->history = stamp_column(rel, OFS_COL_HISTORY, TEXTARRAYOID);
		if (table->client_updated_at)
			row->client_updated_at = table->relid == RelationGetRelid(rel) ? table->client_updated_at :
				find_column(rel, get_attname(table->relid, table->client_updated_at, false));
		find_key(row, rel, table);
	}
	MemoryContextSwitchTo(old);
	flinfo->fn_extra = row;
	return row;
}

/* The row's id; NULL when a part of the key is: about to be refused, or to be filled in by a trigger of the owner's. */
static char *
row_id(OfsRow *row, Relation rel, HeapTuple tuple)
{
	OfsKeyCodec *codec = codec_of(row);
	Datum	   *parts;
	StringInfoData id;

	if (codec == NULL)
		return NULL;
	parts = palloc(sizeof(Datum) * row->nkey);
	for (int i = 0; i < row->nkey; i++)
	{
		bool		isnull;

		parts[i] = heap_getattr(tuple, row->key[i], RelationGetDescr(rel), &isnull);
		if (isnull)
			return NULL;
	}
	initStringInfo(&id);
	ofs_key_write(codec, &id, parts);
	pfree(parts);
	return id.data;
}

static void
note(OfsRow *row, Relation rel, HeapTuple tuple, bool stored)
{
	char	   *id = row_id(row, rel, tuple);

	if (id == NULL)
		return;
	ofs_capture_note(row->root, id, rel, stored ? tuple : NULL);
	pfree(id);
}

bool
ofs_row_differs(OfsRow *row, Relation rel, HeapTuple tuple)
{
	char	   *id;

	if (!row->client_updated_at || !ofs_capture_judged())
		return false;
	id = row_id(row, rel, tuple);
	return id != NULL && ofs_capture_differs(row->root, id, rel, tuple);
}

void
ofs_row_written(OfsRow *row, Relation rel, HeapTuple tuple, bool stored)
{
	if (!OidIsValid(row->root))
		return;
	if (row->told)
		ofs_notice_row(row->root, row->told);
	if (ofs_capture_active())
		note(row, rel, tuple, stored);
	else if (ofs_capture_answered() && !row->stained)
	{
		ofs_table_reset(InvalidOid, OFS_STAIN);
		row->stained = true;
	}
}
