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
#include "rewrite/rewriteHandler.h"
#include "tcop/tcopprot.h"

#define MARK	"offsync$"

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

void
ofs_beneath_run(const char *sql, int nargs, const Oid *argtypes, const Datum *values,
				List *tables, List *nodes, DestReceiver *dest)
{
	OfsParse	parse = {nargs, argtypes, nodes};
	RawStmt    *raw = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT));
	Query	   *query = parse_analyze_withcb(raw, sql, ofs_query_setup, &parse, NULL);
	ParamListInfo params = nargs > 0 ? make_params(nargs, argtypes, values) : NULL;

	query = linitial_node(Query, QueryRewrite(query));
	(void) lift_policies((Node *) query, tables);

	ofs_execute_query(query, sql, params, dest);
}
