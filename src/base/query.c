/*
 * query.c
 *		Prepared statements that run as the caller, and read some columns beneath its grants.
 *
 * A hidden column works through the parser's hook for column references: the hook makes the
 * Var itself, and so nobody marks the column as one that the caller must be allowed to SELECT.
 * The hooks are part of the plan, so a replanned statement finds them again.
 *
 * SPI's functions leave one in SPI's memory, which goes with SPI_finish(); these here leave it as it was.
 */
#include "postgres.h"

#include "access/attnum.h"
#include "access/xact.h"
#include "base/execute.h"
#include "base/query.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "nodes/makefuncs.h"
#include "nodes/params.h"
#include "parser/parse_node.h"
#include "parser/parse_param.h"
#include "parser/parse_relation.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/*
 * A kept plan that has been made for anybody's values is given up after so many uses: whom it was made for may
 * have had much more to read than the others.
 */
#define MAX_USES	256
#define MAX_KEPT	256

/* names that don't spell out alias and column */
static const struct
{
	const char *name;
	const char *column;
}			version_columns[] = {
	{"offsync$version", "server_version"},
	{"offsync$created", "server_created_version"},
};

/* What the parser needs again at every replanning. */
typedef struct ParamTypes
{
	int			nargs;
	Oid			types[FLEXIBLE_ARRAY_MEMBER];
} ParamTypes;

typedef struct Kept
{
	char	   *sql;			/* hash key */
	SPIPlanPtr	plan;
	int			uses;
	MemoryContext context;		/* of the text and the types */
} Kept;

static HTAB *kept = NULL;
static bool some_are_due = false;	/* to be given up */

static void transaction_event(XactEvent event, void *arg);

/* The column of the range-table entry of that alias, as nobody marks it; the entry isn't below an outer join. */
static Node *
make_hidden(ParseNamespaceItem *item, AttrNumber attnum, int levels)
{
	Oid			type;
	int32		typmod;
	Oid			collation;

	get_atttypetypmodcoll(item->p_rte->relid, attnum, &type, &typmod, &collation);
	return (Node *) makeVar(item->p_rtindex, attnum, type, typmod, collation, levels);
}

ParseNamespaceItem *
ofs_query_find_alias(ParseState *pstate, const char *alias, int location, int *levels)
{
	ParseNamespaceItem *item = refnameNamespaceItem(pstate, NULL, alias, location, levels);

	if (item == NULL)
		item = refnameNamespaceItem(pstate, NULL, psprintf("offsync$%s", alias), location, levels);
	return item && item->p_rte->rtekind == RTE_RELATION ? item : NULL;
}

/* A version column of "t". */
static Node *
resolve_version(ParseState *pstate, const char *column, int location)
{
	int			levels;
	ParseNamespaceItem *item = ofs_query_find_alias(pstate, "t", location, &levels);
	AttrNumber	attnum;

	if (item == NULL)
		return NULL;
	attnum = get_attnum(item->p_rte->relid, column);
	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"%s\"",
						get_rel_name(item->p_rte->relid), column),
				 errhint("Call offsync.disable and offsync.enable on the table.")));
	if (get_atttype(item->p_rte->relid, attnum) != INT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" must have type %s", column,
						get_rel_name(item->p_rte->relid), "bigint")));
	return make_hidden(item, attnum, levels);
}

/* offsync$<letter>$<number>: a column of that number of the entry of that alias. */
static Node *
resolve_numbered(ParseState *pstate, const char *name, int location)
{
	char		alias[2];
	int			attnum;
	int			levels;
	ParseNamespaceItem *item;

	if (sscanf(name, "offsync$%1[a-z]$%d", alias, &attnum) != 2)
		return NULL;
	item = ofs_query_find_alias(pstate, alias, location, &levels);
	if (item == NULL)
		return NULL;
	if (get_atttype(item->p_rte->relid, attnum) == InvalidOid)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has lost a column that sync depends on",
						get_rel_name(item->p_rte->relid)),
				 errhint("Call offsync.disable and offsync.enable on the table.")));
	return make_hidden(item, attnum, levels);
}

Node *
ofs_query_resolve(ParseState *pstate, ColumnRef *cref)
{
	const char *name;

	if (list_length(cref->fields) != 1 || !IsA(linitial(cref->fields), String))
		return NULL;
	name = strVal(linitial(cref->fields));
	for (int i = 0; i < (int) lengthof(version_columns); i++)
		if (strcmp(name, version_columns[i].name) == 0)
			return resolve_version(pstate, version_columns[i].column, cref->location);
	return resolve_numbered(pstate, name, cref->location);
}

static void
setup_parser(ParseState *pstate, void *arg)
{
	ParamTypes *params = (ParamTypes *) arg;

	if (params->nargs > 0)
		setup_parse_fixed_parameters(pstate, params->types, params->nargs);
	pstate->p_pre_columnref_hook = ofs_query_resolve;
}

/* The plan may be used as long as the context lives. */
static SPIPlanPtr
prepare(const char *sql, int nargs, const Oid *argtypes, MemoryContext context)
{
	SPIPrepareOptions options = {0};
	MemoryContext caller = CurrentMemoryContext;
	SPIPlanPtr	plan;
	ParamTypes *params;

	params = MemoryContextAlloc(context, offsetof(ParamTypes, types) + sizeof(Oid) * Max(nargs, 1));
	params->nargs = nargs;
	if (nargs > 0)
		memcpy(params->types, argtypes, sizeof(Oid) * nargs);

	options.parserSetup = setup_parser;
	options.parserSetupArg = params;
	options.cursorOptions = 0;
	plan = SPI_prepare_extended(sql, &options);
	MemoryContextSwitchTo(caller);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	return plan;
}

SPIPlanPtr
ofs_query_prepare(const char *sql, int nargs, const Oid *argtypes)
{
	return prepare(sql, nargs, argtypes, TopTransactionContext);
}

/* ---------- kept plans ---------- */

static uint32
hash_text(const void *key, Size keysize)
{
	const char *sql = *(const char *const *) key;

	return hash_bytes((const unsigned char *) sql, (int) strlen(sql));
}

static int
compare_text(const void *a, const void *b, Size keysize)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static void
make_kept(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(char *);
	ctl.entrysize = sizeof(Kept);
	ctl.hash = hash_text;
	ctl.match = compare_text;
	kept = hash_create("offsync plans", 64, &ctl, HASH_ELEM | HASH_FUNCTION | HASH_COMPARE);
	RegisterXactCallback(transaction_event, NULL);
}

SPIPlanPtr
ofs_query_keep(const char *sql, int nargs, const Oid *argtypes)
{
	Kept	   *entry;
	Kept		made;

	if (kept == NULL)
		make_kept();
	entry = hash_search(kept, &sql, HASH_FIND, NULL);
	if (entry == NULL)
	{
		made.context = AllocSetContextCreate(CurrentMemoryContext, "offsync plan", ALLOCSET_SMALL_SIZES);
		made.sql = MemoryContextStrdup(made.context, sql);
		made.plan = prepare(made.sql, nargs, argtypes, made.context);
		entry = hash_search(kept, &made.sql, HASH_ENTER, NULL);
		SPI_keepplan(made.plan);
		MemoryContextSetParent(made.context, CacheMemoryContext);
		made.uses = 0;
		*entry = made;
	}
	if (++entry->uses >= MAX_USES || hash_get_num_entries(kept) > MAX_KEPT)
		some_are_due = true;
	return entry->plan;
}

/* Nobody runs one now. */
static void
transaction_event(XactEvent event, void *arg)
{
	HASH_SEQ_STATUS status;
	Kept	   *entry;
	bool		too_many;

	if (!some_are_due ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
		return;
	some_are_due = false;
	too_many = hash_get_num_entries(kept) > MAX_KEPT;
	hash_seq_init(&status, kept);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		Kept		old = *entry;

		if (!too_many && old.uses < MAX_USES)
			continue;
		hash_search(kept, &old.sql, HASH_REMOVE, NULL);
		SPI_freeplan(old.plan);
		MemoryContextDelete(old.context);
	}
}

/* ---------- running ---------- */

static ParamListInfo
make_params(int nargs, const Oid *argtypes, const Datum *values, const char *nulls)
{
	ParamListInfo params;

	if (nargs == 0)
		return NULL;
	params = makeParamList(nargs);
	for (int i = 0; i < nargs; i++)
	{
		ParamExternData *param = &params->params[i];

		param->value = values[i];
		param->isnull = nulls != NULL && nulls[i] == 'n';
		param->pflags = PARAM_FLAG_CONST;
		param->ptype = argtypes[i];
	}
	return params;
}

uint64
ofs_query_run(SPIPlanPtr plan, int nargs, const Oid *argtypes,
			  const Datum *values, const char *nulls,
			  bool read_only, DestReceiver *dest)
{
	MemoryContext caller = CurrentMemoryContext;
	SPIExecuteOptions options = {0};
	int			rc;

	options.params = make_params(nargs, argtypes, values, nulls);
	options.read_only = read_only;
	options.dest = dest;
	rc = SPI_execute_plan_extended(plan, &options);
	MemoryContextSwitchTo(caller);
	if (rc < 0)
		elog(ERROR, "could not execute a plan: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

char *
ofs_query_open(SPIPlanPtr plan, int nargs, const Oid *argtypes, const Datum *values)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *name = ofs_execute_secret_name();
	Portal		portal = SPI_cursor_open_with_paramlist(name, plan, make_params(nargs, argtypes, values, NULL), true);

	portal->visible = false;
	MemoryContextSwitchTo(caller);
	return name;
}

uint64
ofs_query_modify(SPIPlanPtr plan)
{
	int			rc = SPI_execute_snapshot(plan, NULL, NULL, InvalidSnapshot, InvalidSnapshot,
										  false, false, 0);

	if (rc < 0)
		elog(ERROR, "could not execute a plan: %s", SPI_result_code_string(rc));
	return SPI_processed;
}
