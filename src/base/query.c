/*
 * query.c
 *		Prepared statements that run as the caller, and read the version columns beneath its grants.
 *
 * The hidden column works through the parser's hook for column references: the hook makes the
 * Var itself, and so nobody marks the column as one that the caller must be allowed to SELECT.
 * The hooks are part of the plan, so a replanned statement finds them again.
 */
#include "postgres.h"

#include "access/attnum.h"
#include "base/query.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/params.h"
#include "parser/parse_node.h"
#include "parser/parse_param.h"
#include "parser/parse_relation.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#define HIDDEN_ALIAS	"t"

static const struct
{
	const char *name;
	const char *column;
}			hidden_columns[] = {
	{"offsync$version", "server_version"},
	{"offsync$created", "server_created_version"},
};

/* What the parser needs again at every replanning; lives as long as the backend. */
typedef struct ParamTypes
{
	int			nargs;
	Oid			types[FLEXIBLE_ARRAY_MEMBER];
} ParamTypes;

static Node *
resolve_hidden(ParseState *pstate, ColumnRef *cref)
{
	ParseNamespaceItem *item;
	const char *column = NULL;
	AttrNumber	attnum;
	int			levels;

	if (list_length(cref->fields) != 1 || !IsA(linitial(cref->fields), String))
		return NULL;
	for (int i = 0; i < (int) lengthof(hidden_columns); i++)
		if (strcmp(strVal(linitial(cref->fields)), hidden_columns[i].name) == 0)
			column = hidden_columns[i].column;
	if (column == NULL)
		return NULL;

	item = refnameNamespaceItem(pstate, NULL, HIDDEN_ALIAS, cref->location, &levels);
	if (item == NULL || item->p_rte->rtekind != RTE_RELATION)
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
	return (Node *) makeVar(item->p_rtindex, attnum, INT8OID, -1, InvalidOid, levels);
}

static void
setup_parser(ParseState *pstate, void *arg)
{
	ParamTypes *params = (ParamTypes *) arg;

	if (params->nargs > 0)
		setup_parse_fixed_parameters(pstate, params->types, params->nargs);
	pstate->p_pre_columnref_hook = resolve_hidden;
}

SPIPlanPtr
ofs_query_prepare(const char *sql, int nargs, const Oid *argtypes)
{
	SPIPrepareOptions options = {0};
	SPIPlanPtr	plan;
	ParamTypes *params;

	/* reachable from kept plans, so it must outlive this call */
	params = MemoryContextAlloc(TopTransactionContext,
								offsetof(ParamTypes, types) + sizeof(Oid) * Max(nargs, 1));
	params->nargs = nargs;
	if (nargs > 0)
		memcpy(params->types, argtypes, sizeof(Oid) * nargs);

	options.parserSetup = setup_parser;
	options.parserSetupArg = params;
	options.cursorOptions = 0;
	plan = SPI_prepare_extended(sql, &options);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	return plan;
}

uint64
ofs_query_run(SPIPlanPtr plan, int nargs, const Oid *argtypes,
			  const Datum *values, const char *nulls,
			  bool read_only, DestReceiver *dest)
{
	SPIExecuteOptions options = {0};
	int			rc;

	if (nargs > 0)
	{
		options.params = makeParamList(nargs);
		for (int i = 0; i < nargs; i++)
		{
			ParamExternData *param = &options.params->params[i];

			param->value = values[i];
			param->isnull = nulls != NULL && nulls[i] == 'n';
			param->pflags = PARAM_FLAG_CONST;
			param->ptype = argtypes[i];
		}
	}
	options.read_only = read_only;
	options.dest = dest;
	rc = SPI_execute_plan_extended(plan, &options);
	if (rc < 0)
		elog(ERROR, "could not execute a plan: %s", SPI_result_code_string(rc));
	return SPI_processed;
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
