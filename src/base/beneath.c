/*
 * beneath.c
 *		Statements that look beneath row-level security at some of their tables.
 *
 * The rewriter puts the policies' conditions on each range-table entry; those of the marked entries are taken
 * away again before planning.  Nothing of this is kept: it is asked only when a caller's view has changed.
 */
#include "postgres.h"

#include "base/beneath.h"
#include "base/execute.h"
#include "base/query.h"
#include "nodes/nodeFuncs.h"
#include "nodes/params.h"
#include "parser/analyze.h"
#include "parser/parse_node.h"
#include "parser/parse_param.h"
#include "parser/parse_relation.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "tcop/tcopprot.h"

#define MARK	"offsync$"

/* Of the statement that is being parsed: the parser's own state belongs to its parameters. */
static List *named_nodes = NIL;

static Node *
resolve_named(ParseState *pstate, ColumnRef *cref)
{
	char		alias[2];
	char		name[16];
	int			levels;
	ParseNamespaceItem *item;
	ListCell   *lc;

	if (list_length(cref->fields) != 1 || !IsA(linitial(cref->fields), String))
		return NULL;
	if (sscanf(strVal(linitial(cref->fields)), MARK "%1[a-z]$%15[a-z]", alias, name) != 2)
		return ofs_query_resolve(pstate, cref);
	item = ofs_query_find_alias(pstate, alias, cref->location, &levels);
	foreach(lc, named_nodes)
	{
		OfsNamedNode *named = lfirst(lc);
		Node	   *node;

		if (item == NULL || named->alias != alias[0] || strcmp(named->name, name) != 0)
			continue;
		node = copyObject(named->node);
		ChangeVarNodes(node, 1, item->p_rtindex, 0);
		IncrementVarSublevelsUp(node, levels, 0);
		pstate->p_hasSubLinks = pstate->p_hasSubLinks || checkExprHasSubLink(node);
		return node;
	}
	return NULL;
}

typedef struct ParseArgs
{
	int			nargs;
	const Oid  *types;
} ParseArgs;

static void
setup_parser(ParseState *pstate, void *arg)
{
	ParseArgs  *args = arg;

	if (args->nargs > 0)
		setup_parse_fixed_parameters(pstate, args->types, args->nargs);
	pstate->p_pre_columnref_hook = resolve_named;
}

static Query *
parse(const char *sql, ParseArgs *args, List *nodes)
{
	RawStmt    *raw = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT));
	Query	   *query;

	named_nodes = nodes;
	PG_TRY();
	{
		query = parse_analyze_withcb(raw, sql, setup_parser, args, NULL);
	}
	PG_FINALLY();
	{
		named_nodes = NIL;
	}
	PG_END_TRY();
	return query;
}

static bool
lift_policies(Node *node, List *tables)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION && rte->alias &&
			list_member_oid(tables, rte->relid) &&
			strncmp(rte->alias->aliasname, MARK, strlen(MARK)) == 0)
			rte->securityQuals = NIL;
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, lift_policies, tables, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, lift_policies, tables);
}

static ParamListInfo
make_params(int nargs, const Oid *argtypes, const Datum *values)
{
	ParamListInfo params = makeParamList(nargs);

	for (int i = 0; i < nargs; i++)
	{
		params->params[i].value = values[i];
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = argtypes[i];
	}
	return params;
}

static Query *
analyze(const char *sql, int nargs, const Oid *argtypes, List *tables, List *nodes)
{
	ParseArgs	args = {nargs, argtypes};
	Query	   *query = parse(sql, &args, nodes);

	/* the named expressions' subqueries have no locks yet */
	AcquireRewriteLocks(query, true, false);
	query = linitial_node(Query, QueryRewrite(query));
	(void) lift_policies((Node *) query, tables);
	return query;
}

void
ofs_beneath_run(const char *sql, int nargs, const Oid *argtypes, const Datum *values,
				List *tables, List *nodes, DestReceiver *dest)
{
	ParamListInfo params = nargs > 0 ? make_params(nargs, argtypes, values) : NULL;

	ofs_execute_query(analyze(sql, nargs, argtypes, tables, nodes), sql, params, dest);
}

char *
ofs_beneath_open(const char *sql, int nargs, const Oid *argtypes, const Datum *values, List *tables, List *nodes)
{
	ParamListInfo params = nargs > 0 ? make_params(nargs, argtypes, values) : NULL;

	return ofs_execute_open(analyze(sql, nargs, argtypes, tables, nodes), sql, params);
}
