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
#include "base/compat.h"
#include "base/query.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "push/shape.h"
#include "utils/queryenvironment.h"
#include "utils/selfuncs.h"

/* Attributes before the key's: ord and b. */
#define NFIXED 2

/* The records are in memory anyway: not to write them to a file once more is worth another copy. */
#define MIN_STORE_KB	65536

/* The most records for which statements use plans that are kept. */
#define MAX_KEPT	10

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

static void
fill_row(const PushTable *table, const Bitmapset *columns, const PushItem *item, int ord,
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
		values[number] = item->final[at].datum;
		nulls[number++] = item->final[at].isnull;
	}
}

Tuplestorestate *
ofs_rows_store(const PushTable *table, TupleDesc desc, const Bitmapset *columns,
			   PushItem **items, int nitems)
{
	Tuplestorestate *store = tuplestore_begin_heap(true, false, Max(work_mem, MIN_STORE_KB));
	Datum	   *values = palloc0_array(Datum, desc->natts);
	bool	   *nulls = palloc0_array(bool, desc->natts);

	for (int i = 0; i < nitems; i++)
	{
		fill_row(table, columns, items[i], i, values, nulls);
		tuplestore_putvalues(store, desc, values, nulls);
	}
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
ofs_rows_params(const PushTable *table, const Bitmapset *columns, const PushItem *item, int count)
{
	PushParams *params = palloc(sizeof(PushParams));
	Datum	   *values = palloc(sizeof(Datum) * (1 + count));
	bool	   *nulls = palloc(sizeof(bool) * (1 + count));

	fill_row(table, columns, item, 0, values, nulls);
	params->nulls = palloc(count);
	/* all but ord */
	params->values = values + 1;
	for (int k = 0; k < count; k++)
		params->nulls[k] = nulls[k + 1] ? 'n' : ' ';
	return params;
}

/*
 * The plan of a statement over a batch that is registered.  Where the batch is small, planning would take most of the
 * time: such plans, all for few records, are kept.
 */
SPIPlanPtr
ofs_rows_plan(const char *sql, int nitems)
{
	return nitems <= MAX_KEPT ? ofs_query_keep(sql, 0, NULL) : ofs_query_prepare(sql, 0, NULL);
}

void
ofs_rows_free_plan(SPIPlanPtr plan, int nitems)
{
	if (nitems > MAX_KEPT)
		SPI_freeplan(plan);
}

/* Run a query over the key of a record; the rows are in SPI_tuptable. */
static void
query_alone(const PushTable *table, PushKind kind, const PushItem *item)
{
	const PushStatement *statement = ofs_shape_statement(table, kind, NULL);
	PushParams *params = ofs_rows_params(table, NULL, item, statement->count);

	ofs_query_run(statement->plan, statement->count, statement->types, params->values, params->nulls, false, NULL);
}

/* Run a query over the keys of a batch; the rows are in SPI_tuptable. */
static void
query_batch(Push *push, PushTable *table, const char *sql, PushItem **items, int nitems)
{
	TupleDesc	desc = ofs_rows_describe(table, NULL);
	Tuplestorestate *store = ofs_rows_store(table, desc, NULL, items, nitems);
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

/*
 * What the rows look like stays known after the attempt that read them: a later one's triggers may write such rows,
 * and does not read their table itself.
 */
static void
keep_description(PushTable *table, TupleDesc desc)
{
	PushShape  *shape = table->shape;
	MemoryContext old;

	if (shape->rowdesc == NULL || !equalTupleDescs(shape->rowdesc, desc))
	{
		old = MemoryContextSwitchTo(shape->context);
		shape->rowdesc = CreateTupleDescCopy(desc);
		MemoryContextSwitchTo(old);
	}
	table->rowdesc = shape->rowdesc;
}

/*
 * Read, in a new snapshot, what the caller sees of the items' rows.  The rows stay until the
 * attempt ends.  Errors are not about one of the items: nothing is named for them.
 */
void
ofs_rows_read(Push *push, PushTable *table, PushItem **items, int nitems)
{
	MemoryContext old = CurrentMemoryContext;

	if (nitems == 0)
		return;
	for (int i = 0; i < nitems; i++)
	{
		items[i]->row = NULL;
		items[i]->gone = false;
	}
	if (nitems == 1)
		query_alone(table, PUSH_KIND_READ, items[0]);
	else
		query_batch(push, table, ofs_sql_read(table, false), items, nitems);
	keep_description(table, SPI_tuptable->tupdesc);
	for (uint64 i = 0; i < SPI_tuptable->numvals; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		PushItem   *item = items[tuple_ord(tuple, table->rowdesc)];

		item->row = tuple;
		item->version = DatumGetInt64(heap_getattr(tuple, PUSH_ROW_VERSION, table->rowdesc,
												   &item->version_null));
		if (item->version_null)
			item->version = 0;
		item->gone = !heap_attisnull(tuple, PUSH_ROW_GONE, table->rowdesc);
	}
	MemoryContextSwitchTo(old);
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
		query_alone(table, PUSH_KIND_BURIED, items[0]);
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
