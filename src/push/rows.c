/*
 * rows.c
 *		Batches of pushed records as a relation, and the rows and tombstones that they meet.
 *
 * A batch goes into a tuplestore that the statements see as a named relation, so that one
 * statement serves any number of records, typed as the table's own columns are.  One record alone needs no join:
 * its statement has parameters.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/query.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "push/shape.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"
#include "utils/snapmgr.h"

/* Attributes before the key's: ord and b. */
#define NFIXED 2

/* Batches of up to this size don't go to a file, however small work_mem is. */
#define MIN_STORE_KB	16384

/* The most records for which statements use plans that are kept. */
#define MAX_KEPT	1000

static get_relation_stats_hook_type next_hook = NULL;

static bool
has_column(const RangeTblEntry *rte, AttrNumber attnum, const char *name)
{
	List	   *names = rte->eref->colnames;

	return attnum <= list_length(names) && strcmp(strVal(list_nth(names, attnum - 1)), name) == 0;
}

/*
 * Tell the planner that a batch holds each key once, or it would rather hash the whole table than the batch.  Of a
 * key of several columns there is nothing to tell about one.
 */
static bool
describe_key(PlannerInfo *root, RangeTblEntry *rte, AttrNumber attnum, VariableStatData *vardata)
{
	if (rte->rtekind == RTE_NAMEDTUPLESTORE && strcmp(rte->enrname, PUSH_RELATION) == 0)
	{
		vardata->isunique = attnum == NFIXED + 1 && !has_column(rte, NFIXED + 2, "k2");
		return true;
	}
	return next_hook ? next_hook(root, rte, attnum, vardata) : false;
}

static void
install_hook(void)
{
	static bool installed = false;

	if (installed)
		return;
	next_hook = get_relation_stats_hook;
	get_relation_stats_hook = describe_key;
	installed = true;
}

static void
init_attribute(TupleDesc desc, int number, const char *prefix, int suffix,
			   Oid typid, int32 typmod, Oid collation)
{
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), suffix > 0 ? "%s%d" : "%s", prefix, suffix);
	TupleDescInitEntry(desc, number, name, typid, typmod, 0);
	TupleDescInitEntryCollation(desc, number, collation);
}

/* What a batch looks like that carries these columns. */
TupleDesc
ofs_rows_describe(const PushTable *table, const Bitmapset *columns)
{
	const OfsTable *synced = table->table;
	TupleDesc	desc = CreateTemplateTupleDesc(NFIXED + synced->nkey + bms_num_members(columns));
	int			number = NFIXED;
	int			i = -1;

	TupleDescInitEntry(desc, 1, "ord", INT4OID, -1, 0);
	TupleDescInitEntry(desc, 2, "b", INT8OID, -1, 0);
	for (int k = 0; k < synced->nkey; k++)
		init_attribute(desc, ++number, "k", k + 1, synced->key_types[k], synced->key_typmods[k],
					   table->key_collations[k]);
	while ((i = bms_next_member(columns, i)) >= 0)
	{
		const PushColumn *column = &table->columns[i];

		init_attribute(desc, ++number, "v", i + 1, column->typid, column->typmod, column->collation);
	}
	TupleDescFinalize(desc);
	return desc;
}

/* The value to be written to a column; an error names it, and the record where that is known. */
static void
read_value(Push *push, const PushColumn *column, const PushValue *value, Datum *datum, bool *isnull)
{
	if (value->ready)
	{
		*datum = value->datum;
		*isnull = value->isnull;
		return;
	}
	push->place.column = column->wire;
	*datum = ofs_codec_read(column->codec, value->sent, isnull);
	push->place.column = NULL;
}

static void
fill_row(Push *push, const PushTable *table, const Bitmapset *columns, const PushItem *item, int ord,
		 Datum *values, bool *nulls)
{
	int			nkey = table->table->nkey;
	int			number = NFIXED + nkey;
	int			at = 0;
	int			i = -1;

	values[0] = Int32GetDatum(ord);
	nulls[0] = false;
	values[1] = Int64GetDatum(item->version);
	nulls[1] = item->version_null;
	for (int k = 0; k < nkey; k++)
	{
		values[NFIXED + k] = item->key[k];
		nulls[NFIXED + k] = false;
	}
	/* both are in the order of columns */
	while ((i = bms_next_member(columns, i)) >= 0)
	{
		while (item->final[at].column != i)
			at++;
		read_value(push, &table->columns[i], &item->final[at], &values[number], &nulls[number]);
		number++;
	}
}

/*
 * What the records' values are read into is not held beside the store.  Where one can't be read, it may not be the first of
 * the push: a batch isn't in its order.  So nobody is named, unless any will do, and another attempt finds the first.
 */
Tuplestorestate *
ofs_rows_store(Push *push, PushTable *table, TupleDesc desc, const Bitmapset *columns, PushItem **items, int nitems)
{
	Tuplestorestate *store = tuplestore_begin_heap(true, false, Max(work_mem, MIN_STORE_KB));
	Datum	   *values = palloc0_array(Datum, desc->natts);
	bool	   *nulls = palloc0_array(bool, desc->natts);
	MemoryContext old = MemoryContextSwitchTo(push->row);

	push->reading = true;
	for (int i = 0; i < nitems; i++)
	{
		if (push->skip)
			push->place = (PushPlace) {table, items[i]->id, NULL, items[i]};
		fill_row(push, table, columns, items[i], i, values, nulls);
		tuplestore_putvalues(store, desc, values, nulls);
		MemoryContextReset(push->row);
	}
	push->reading = false;
	memset(&push->place, 0, sizeof(PushPlace));
	MemoryContextSwitchTo(old);
	pfree(values);
	pfree(nulls);
	return store;
}

/* Let statements see the batch.  One is registered at a time; a failed attempt may have left its own. */
void
ofs_rows_register(Push *push, TupleDesc desc, Tuplestorestate *store, int nitems)
{
	EphemeralNamedRelation relation;
	MemoryContext old;
	int			rc;

	install_hook();
	ofs_rows_unregister();
	/* SPI's list of relations grows in the current context */
	old = MemoryContextSwitchTo(push->context);
	relation = palloc0(sizeof(EphemeralNamedRelationData));
	relation->md.name = PUSH_RELATION;
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = nitems;
	relation->reldata = store;
	rc = SPI_register_relation(relation);
	if (rc != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the pushed records: %s", SPI_result_code_string(rc));
	MemoryContextSwitchTo(old);
}

void
ofs_rows_unregister(void)
{
	(void) SPI_unregister_relation(PUSH_RELATION);
}

/* The version, the key and these columns of a record, as statements for one alone have them. */
PushParams *
ofs_rows_params(Push *push, PushTable *table, PushKind kind, const Bitmapset *columns, const PushItem *item, int count)
{
	PushParams *params = palloc(sizeof(PushParams));
	Datum	   *values = palloc(sizeof(Datum) * (1 + count));
	bool	   *nulls = palloc(sizeof(bool) * (1 + count));

	push->reading = true;
	fill_row(push, table, columns, item, 0, values, nulls);
	push->reading = false;
	if (kind == PUSH_KIND_UPDATE_PLACED)
	{
		values[count] = PointerGetDatum(&item->place);
		nulls[count] = false;
	}
	params->nulls = palloc(count);
	/* all but ord */
	params->values = values + 1;
	for (int k = 0; k < count; k++)
		params->nulls[k] = nulls[k + 1] ? 'n' : ' ';
	return params;
}

/*
 * The plan of a statement over a batch that is registered.  Where the batch is small, planning would take most of the
 * time: such plans are kept, and used for batches of about the same size.
 */
SPIPlanPtr
ofs_rows_plan(const char *sql, int nitems)
{
	int			size = 10;

	if (nitems > MAX_KEPT)
		return ofs_query_prepare(sql, 0, NULL);
	while (size < nitems)
		size *= 10;
	return ofs_query_keep(psprintf("%s /* %d */", sql, size), 0, NULL);
}

void
ofs_rows_free_plan(SPIPlanPtr plan, int nitems)
{
	if (nitems > MAX_KEPT)
		SPI_freeplan(plan);
}

/* Run a query over the key of a record; the rows are in SPI_tuptable. */
static void
query_alone(Push *push, PushTable *table, PushKind kind, const PushItem *item)
{
	const PushStatement *statement = ofs_shape_statement(table, kind, NULL);
	PushParams *params = ofs_rows_params(push, table, kind, NULL, item, statement->count);

	ofs_query_run(statement->plan, statement->count, statement->types, params->values, params->nulls, false, NULL);
}

/* Run a query over the keys of a batch; the rows are in SPI_tuptable. */
static void
query_batch(Push *push, PushTable *table, const char *sql, PushItem **items, int nitems)
{
	TupleDesc	desc = ofs_rows_describe(table, NULL);
	Tuplestorestate *store = ofs_rows_store(push, table, desc, NULL, items, nitems);
	SPIPlanPtr	plan;

	ofs_rows_register(push, desc, store, nitems);
	plan = ofs_rows_plan(sql, nitems);
	ofs_query_run(plan, 0, NULL, NULL, NULL, false, NULL);
	ofs_rows_free_plan(plan, nitems);
	ofs_rows_unregister();
	tuplestore_end(store);
}

static int
tuple_ord(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;

	return DatumGetInt32(heap_getattr(tuple, 1, desc, &isnull));
}

static void
take_row(const PushTable *table, PushItem *item, HeapTuple row)
{
	item->row = row;
	item->version = DatumGetInt64(heap_getattr(row, PUSH_ROW_VERSION, table->rowdesc, &item->version_null));
	if (item->version_null)
		item->version = 0;
	item->gone = !heap_attisnull(row, PUSH_ROW_GONE, table->rowdesc);
}

static void
read_placed(Push *push, PushTable *table, PushItem *item)
{
	Relation	rel;
	bool		isnull;

	query_alone(push, table, PUSH_KIND_READ, item);
	item->located = SPI_tuptable->numvals > 0 && !item->missed;
	if (SPI_tuptable->numvals > 0)
	{
		item->place = *(ItemPointer) DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		rel = table_open(table->table->relid, NoLock);
		take_row(table, item, ofs_layout_look_up(table, rel, &item->place));
		table_close(rel, NoLock);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Read, in a new snapshot, what the caller sees of the items' rows.  The rows stay until they are
 * released, or the attempt ends.  Errors are not about one of the items: nothing is named for them.
 */
void
ofs_rows_read(Push *push, PushTable *table, PushItem **items, int nitems)
{
	MemoryContext old = CurrentMemoryContext;

	for (int i = 0; i < nitems; i++)
	{
		items[i]->row = NULL;
		items[i]->gone = items[i]->located = false;
	}
	if (nitems == 0)
		return;
	if (nitems == 1 && table->single)
	{
		read_placed(push, table, items[0]);
		MemoryContextSwitchTo(old);
		return;
	}
	if (nitems == 1)
		query_alone(push, table, PUSH_KIND_READ, items[0]);
	else
		query_batch(push, table, ofs_sql_read(table, false), items, nitems);
	ofs_layout_check(table, SPI_tuptable->tupdesc);
	MemoryContextSwitchTo(push->run);
	push->read = lappend(push->read, SPI_tuptable);
	for (uint64 i = 0; i < SPI_tuptable->numvals; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];

		take_row(table, items[tuple_ord(tuple, table->rowdesc)], tuple);
	}
	MemoryContextSwitchTo(old);
}

/* The rows that were read are needed no more. */
void
ofs_rows_release(Push *push, PushItem **items, int nitems)
{
	ListCell   *lc;

	for (int i = 0; i < nitems; i++)
		items[i]->row = NULL;
	foreach(lc, push->read)
		SPI_freetuptable(lfirst(lc));
	list_free(push->read);
	push->read = NIL;
}

/* Which of the items have tombstones that the caller may see: not seen yet, or of this transaction? */
void
ofs_rows_find_buried(Push *push, PushTable *table, PushItem **items, int nitems)
{
	MemoryContext old = CurrentMemoryContext;

	for (int i = 0; i < nitems; i++)
		items[i]->buried = items[i]->buried_now = false;
	if (nitems == 0)
		return;
	if (nitems == 1)
		query_alone(push, table, PUSH_KIND_BURIED, items[0]);
	else
		query_batch(push, table, ofs_sql_buried(table, false), items, nitems);
	for (uint64 i = 0; i < SPI_tuptable->numvals; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		bool		isnull;
		int64		version = DatumGetInt64(heap_getattr(tuple, 2, SPI_tuptable->tupdesc, &isnull));
		PushItem   *item = items[tuple_ord(tuple, SPI_tuptable->tupdesc)];

		if (version == push->version)
			item->buried_now = true;
		else if (!ofs_since_covers(push->since, table->table, version) &&
				 !ofs_log_wrote(push, table, item, version))
		{
			TimestampTz at = DatumGetTimestampTz(heap_getattr(tuple, 3, SPI_tuptable->tupdesc, &isnull));

			item->buried_at = item->buried ? Max(item->buried_at, at) : at;
			item->buried = true;
		}
	}
	SPI_freetuptable(SPI_tuptable);
	MemoryContextSwitchTo(old);
}

/* The values of a row that ofs_rows_read read, by position; arrays have room for nread. */
void
ofs_rows_deform(const PushTable *table, HeapTuple row, Datum *values, bool *nulls)
{
	heap_deform_tuple(row, table->rowdesc, values, nulls);
}
