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
#include "executor/spi_priv.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/params.h"
#include "parser/parse_node.h"
#include "parser/parse_param.h"
#include "parser/parse_relation.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/*
 * A kept plan that has been made for anybody's values is given up after so many uses: whom it was made for may
 * have had much more to read than the others.
 */
#define MAX_USES	256
#define MAX_KEPT	256

#define MARK		"offsync$"

/* names that don't spell out alias and column */
static const struct
{
	const char *name;
	const char *column;
	Oid			type;
}			named_columns[] = {
	{"offsync$version", "server_version", INT8OID},
	{"offsync$created", "server_created_version", INT8OID},
	{"offsync$place", "ctid", TIDOID},
};

/* What a kept plan is found by. */
typedef struct KeptKey
{
	const char *sql;
	int			nargs;
	const Oid  *argtypes;
	List	   *nodes;			/* of OfsNamedNode */
	int			options;
	Oid			role;			/* whose policies are in it: PostgreSQL would make it anew whenever callers take turns */
} KeptKey;

typedef struct Kept
{
	KeptKey		key;
	SPIPlanPtr	plan;
	int			uses;
	MemoryContext context;		/* of what the key points to, and of what the parser needs */
} Kept;

static HTAB *kept = NULL;
static bool some_are_due = false;	/* to be given up */

/* Of the statement that is being parsed: the parser's own state belongs to its parameters. */
static List *named_nodes = NIL;

static void transaction_event(XactEvent event, void *arg);

/* The column of the range-table entry, as nobody marks it; the entry isn't below an outer join. */
static Node *
make_hidden(ParseNamespaceItem *item, AttrNumber attnum, int levels)
{
	Oid			type;
	int32		typmod;
	Oid			collation;

	get_atttypetypmodcoll(item->p_rte->relid, attnum, &type, &typmod, &collation);
	return (Node *) makeVar(item->p_rtindex, attnum, type, typmod, collation, levels);
}

static ParseNamespaceItem *
find_alias(ParseState *pstate, const char *alias, int location, int *levels)
{
	ParseNamespaceItem *item = refnameNamespaceItem(pstate, NULL, alias, location, levels);

	if (item == NULL)
		item = refnameNamespaceItem(pstate, NULL, psprintf(MARK "%s", alias), location, levels);
	return item && item->p_rte->rtekind == RTE_RELATION ? item : NULL;
}

/* A column of "t". */
static Node *
resolve_column(ParseState *pstate, const char *column, Oid type, int location)
{
	int			levels;
	ParseNamespaceItem *item = find_alias(pstate, "t", location, &levels);
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
	if (get_atttype(item->p_rte->relid, attnum) != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" must have type %s", column,
						get_rel_name(item->p_rte->relid), format_type_be(type))));
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
	item = find_alias(pstate, alias, location, &levels);
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

/* Its subqueries' tables, which no parser has locked. */
static void
lock_sublinks(Node *node)
{
	Query	   *query = makeNode(Query);

	query->commandType = CMD_SELECT;
	query->jointree = makeFromExpr(NIL, NULL);
	query->targetList = list_make1(makeTargetEntry((Expr *) node, 1, NULL, false));
	query->hasSubLinks = true;
	AcquireRewriteLocks(query, true, false);
}

static Node *
put_named(ParseState *pstate, const OfsNamedNode *named, int location)
{
	Node	   *node = copyObject(named->node);
	char		alias[2] = {named->alias};
	int			levels = 0;
	ParseNamespaceItem *item = NULL;

	if (named->alias)
	{
		item = find_alias(pstate, alias, location, &levels);
		if (item == NULL)
			return NULL;
	}
	if (checkExprHasSubLink(node))
	{
		lock_sublinks(node);
		pstate->p_hasSubLinks = true;
	}
	if (item)
		ChangeVarNodes(node, 1, item->p_rtindex, 0);
	IncrementVarSublevelsUp(node, levels, 0);
	return node;
}

static Node *
resolve_named(ParseState *pstate, const char *name, int location)
{
	ListCell   *lc;

	if (strncmp(name, MARK, strlen(MARK)) != 0)
		return NULL;
	name += strlen(MARK);
	foreach(lc, named_nodes)
	{
		const OfsNamedNode *named = lfirst(lc);

		if (named->alias == 0 ? strcmp(name, named->name) == 0 :
			name[0] == named->alias && name[1] == '$' && strcmp(name + 2, named->name) == 0)
			return put_named(pstate, named, location);
	}
	return NULL;
}

static Node *
resolve(ParseState *pstate, ColumnRef *cref)
{
	const char *name;
	Node	   *node;

	if (list_length(cref->fields) != 1 || !IsA(linitial(cref->fields), String))
		return NULL;
	name = strVal(linitial(cref->fields));
	for (int i = 0; i < (int) lengthof(named_columns); i++)
		if (strcmp(name, named_columns[i].name) == 0)
			return resolve_column(pstate, named_columns[i].column, named_columns[i].type, cref->location);
	node = resolve_named(pstate, name, cref->location);
	return node ? node : resolve_numbered(pstate, name, cref->location);
}

List *
ofs_query_name(List *nodes, char alias, const char *name, Node *node)
{
	OfsNamedNode *named = palloc(sizeof(OfsNamedNode));

	named->alias = alias;
	named->name = pstrdup(name);
	named->node = node;
	return lappend(nodes, named);
}

void
ofs_query_setup(ParseState *pstate, void *arg)
{
	OfsParse   *parse = (OfsParse *) arg;

	if (parse->nargs > 0)
		setup_parse_fixed_parameters(pstate, parse->argtypes, parse->nargs);
	named_nodes = parse->nodes;
	pstate->p_pre_columnref_hook = resolve;
}

/* The plan may be used as long as the context lives, in which the nodes are. */
static SPIPlanPtr
prepare(const char *sql, int nargs, const Oid *argtypes, List *nodes, int cursor_options, MemoryContext context)
{
	SPIPrepareOptions options = {0};
	MemoryContext caller = CurrentMemoryContext;
	SPIPlanPtr	plan;
	OfsParse   *parse = MemoryContextAlloc(context, sizeof(OfsParse));
	Oid		   *types = MemoryContextAlloc(context, sizeof(Oid) * Max(nargs, 1));

	if (nargs > 0)
		memcpy(types, argtypes, sizeof(Oid) * nargs);
	parse->nargs = nargs;
	parse->argtypes = types;
	parse->nodes = nodes;

	options.parserSetup = ofs_query_setup;
	options.parserSetupArg = parse;
	options.cursorOptions = cursor_options;
	plan = SPI_prepare_extended(sql, &options);
	MemoryContextSwitchTo(caller);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	/* SPI leaves it to the parser's hooks which parameters there are, but takes values only of those that it knows */
	plan->nargs = nargs;
	plan->argtypes = types;
	return plan;
}

SPIPlanPtr
ofs_query_prepare(const char *sql, int nargs, const Oid *argtypes)
{
	return prepare(sql, nargs, argtypes, NIL, 0, TopTransactionContext);
}

SPIPlanPtr
ofs_query_prepare_own(const char *sql, int nargs, const Oid *argtypes, int options, MemoryContext context)
{
	SPIPlanPtr	plan = prepare(sql, nargs, argtypes, NIL, options, context);

	SPI_keepplan(plan);
	return plan;
}

/* ---------- kept plans ---------- */

static uint32
hash_key(const void *address, Size keysize)
{
	const KeptKey *key = address;

	return hash_combine(hash_bytes((const unsigned char *) key->sql, (int) strlen(key->sql)),
						hash_bytes_uint32(key->role));
}

static bool
same_nodes(const List *a, const List *b)
{
	ListCell   *la,
			   *lb;

	if (list_length(a) != list_length(b))
		return false;
	forboth(la, a, lb, b)
	{
		const OfsNamedNode *na = lfirst(la);
		const OfsNamedNode *nb = lfirst(lb);

		if (na->alias != nb->alias || strcmp(na->name, nb->name) != 0 || !equal(na->node, nb->node))
			return false;
	}
	return true;
}

static int
compare_keys(const void *a, const void *b, Size keysize)
{
	const KeptKey *ka = a;
	const KeptKey *kb = b;

	return ka->role != kb->role || ka->options != kb->options || strcmp(ka->sql, kb->sql) != 0 ||
		ka->nargs != kb->nargs ||
		(ka->nargs > 0 && memcmp(ka->argtypes, kb->argtypes, sizeof(Oid) * ka->nargs) != 0) ||
		!same_nodes(ka->nodes, kb->nodes);
}

static void
make_kept(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(KeptKey);
	ctl.entrysize = sizeof(Kept);
	ctl.hash = hash_key;
	ctl.match = compare_keys;
	kept = hash_create("offsync plans", 64, &ctl, HASH_ELEM | HASH_FUNCTION | HASH_COMPARE);
	RegisterXactCallback(transaction_event, NULL);
}

static KeptKey
copy_key(const KeptKey *key, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	KeptKey		copy = *key;
	ListCell   *lc;

	copy.sql = pstrdup(key->sql);
	if (key->nargs > 0)
		copy.argtypes = memcpy(palloc(sizeof(Oid) * key->nargs), key->argtypes, sizeof(Oid) * key->nargs);
	copy.nodes = NIL;
	foreach(lc, key->nodes)
	{
		const OfsNamedNode *named = lfirst(lc);

		copy.nodes = ofs_query_name(copy.nodes, named->alias, named->name, copyObject(named->node));
	}
	MemoryContextSwitchTo(old);
	return copy;
}

SPIPlanPtr
ofs_query_keep_named(const char *sql, int nargs, const Oid *argtypes, List *nodes, int options)
{
	KeptKey		key = {sql, nargs, argtypes, nodes, options, GetUserId()};
	Kept	   *entry;
	Kept		made;

	if (kept == NULL)
		make_kept();
	entry = hash_search(kept, &key, HASH_FIND, NULL);
	if (entry == NULL)
	{
		made.context = AllocSetContextCreate(CurrentMemoryContext, "offsync plan", ALLOCSET_SMALL_SIZES);
		made.key = copy_key(&key, made.context);
		made.plan = prepare(made.key.sql, nargs, argtypes, made.key.nodes, options, made.context);
		made.uses = 0;
		entry = hash_search(kept, &made.key, HASH_ENTER, NULL);
		*entry = made;
		SPI_keepplan(made.plan);
		MemoryContextSetParent(made.context, CacheMemoryContext);
	}
	if (++entry->uses >= MAX_USES || hash_get_num_entries(kept) > MAX_KEPT)
		some_are_due = true;
	return entry->plan;
}

SPIPlanPtr
ofs_query_keep(const char *sql, int nargs, const Oid *argtypes)
{
	return ofs_query_keep_named(sql, nargs, argtypes, NIL, 0);
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
		hash_search(kept, &old.key, HASH_REMOVE, NULL);
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
ofs_query_modify(SPIPlanPtr plan, Datum *values, const char *nulls)
{
	int			rc = SPI_execute_snapshot(plan, values, nulls, InvalidSnapshot, InvalidSnapshot,
										  false, false, 0);

	if (rc < 0)
		elog(ERROR, "could not execute a plan: %s", SPI_result_code_string(rc));
	return SPI_processed;
}
