/*
 * advise.c
 *		offsync.advise: what a table's policies, indexes and key mean for sync, and what would be better.
 *
 * What a policy means is asked of the very code that pulls ask; a rewritten policy is put to it again before it is
 * recommended.  Nothing is changed: what should be run stands in the answer as SQL.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "base/spi.h"
#include "catalog/access.h"
#include "catalog/inputs.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/policy.h"
#include "catalog/synced.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "setup/rewrite.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(offsync_advise);

static void
say(ReturnSetInfo *answer, const char *about, const char *finding, const char *advice)
{
	Datum		values[3];
	bool		nulls[3] = {false, false, advice == NULL};

	values[0] = CStringGetTextDatum(about);
	values[1] = CStringGetTextDatum(finding);
	values[2] = advice ? CStringGetTextDatum(advice) : (Datum) 0;
	tuplestore_putvalues(answer->setResult, answer->setDesc, values, nulls);
}

static char *
deparse(Relation rel, Node *expression)
{
	/* a copy, which deparsing may change */
	return deparse_expression(copyObject(expression), deparse_context_for(RelationGetRelationName(rel), RelationGetRelid(rel)),
							  false, false);
}

/* ---------- what stands in the way ---------- */

typedef struct CallSearch
{
	Oid			found;			/* a function that reads more than its arguments */
	char		volatility;		/* that it has at least */
} CallSearch;

static bool
note_call(Oid funcid, void *arg)
{
	CallSearch *context = arg;
	char		volatility = func_volatile(funcid);

	if (volatility == PROVOLATILE_VOLATILE ||
		(volatility == PROVOLATILE_STABLE && context->volatility == PROVOLATILE_STABLE))
		context->found = funcid;
	return OidIsValid(context->found);
}

static bool
has_columns(Node *node)
{
	bool		whole_row;

	return !bms_is_empty(ofs_policy_columns(node, &whole_row)) || whole_row;
}

static bool
call_walker(Node *node, CallSearch *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink) || (context->volatility == PROVOLATILE_STABLE && !IsA(node, List) && !has_columns(node)))
		return false;
	return check_functions_in_node(node, note_call, context) || expression_tree_walker(node, call_walker, context);
}

static char *
function_name(Oid funcid)
{
	return quote_qualified_identifier(get_namespace_name(get_func_namespace(funcid)), get_func_name(funcid));
}

/* What to do about a policy that can't be followed exactly, nor be rewritten; or NULL. */
static char *
remedy(const OfsPolicyFact *fact, Node *qual, const OfsRewrite *rewrite)
{
	CallSearch	volatiles = {InvalidOid, PROVOLATILE_VOLATILE};
	CallSearch	calls = {InvalidOid, PROVOLATILE_STABLE};

	if (fact->opaque == NULL && fact->shifting == NULL)
		return fact->follow->clock ?
			"Where that is at every pull, let a job write into a column what the clock decides, or let the app filter by time." : NULL;
	(void) call_walker(qual, &volatiles);
	(void) call_walker(qual, &calls);
	if (OidIsValid(volatiles.found))
		return psprintf("Function %s is volatile: if it only reads, declare it STABLE; if its answers are random, let a column hold them.",
						function_name(volatiles.found));
	if (OidIsValid(calls.found))
		return psprintf("Function %s is called with the row's values: write the condition as column = ANY (ARRAY(SELECT ...)), with a function that takes none of them and returns all values that the caller may see; or name in enable's option access_tables what it reads, and set row_local if it never looks the row itself up; or declare it IMMUTABLE if it reads nothing but its arguments.",
						function_name(calls.found));
	if (rewrite->tied)
		return psprintf("It can't be rewritten by itself, because %s. Write it as column IN (SELECT ...), where the subquery does not name the table.",
						rewrite->tied);
	return "Write it by columns of the row alone, or as column IN (SELECT ...), where the subquery does not name the table.";
}

/* ---------- policies ---------- */

static void
append_sets(StringInfo meaning, Relation rel, List *sets)
{
	ListCell   *lc;

	foreach(lc, sets)
	{
		const OfsSetFact *set = lfirst(lc);
		OfsTable   *parent = ofs_scopes_parent(set);

		if (parent)
			appendStringInfo(meaning, "; it follows %s through the changes of collection \"%s\"",
							 deparse(rel, set->tested), parent->collection);
		else
			appendStringInfo(meaning, "; the cursor carries the set that %s is looked up in: what comes and goes with it is exact, too",
							 deparse(rel, set->tested));
	}
}

static char *
names_of(List *relations)
{
	StringInfoData names;
	ListCell   *lc;

	initStringInfo(&names);
	foreach(lc, relations)
		appendStringInfo(&names, "%s%s", lc == list_head(relations) ? "" : " or ", ofs_relation_name(lfirst_oid(lc)));
	return names.data;
}

/* What clients get that keep a number or a time, where that is another thing than with a cursor. */
static void
append_numbers(StringInfo meaning, const OfsPolicyFact *fact)
{
	if (fact->follow->blind)
		appendStringInfo(meaning, "; with numbers and times always a replacement: %s", fact->follow->blind);
	else if (fact->follow->all_events != NIL)
		appendStringInfo(meaning, "; with numbers and times a replacement whenever %s changes",
						 names_of(fact->follow->all_events));
	else if (fact->inputs != NIL || fact->sets != NIL)
		appendStringInfoString(meaning, ", of which numbers and times can't tell");
}

static char *
meaning(Relation rel, const OfsPolicyFact *fact)
{
	StringInfoData said;

	if (fact->opaque)
		return psprintf("always a replacement: %s", fact->opaque);
	initStringInfo(&said);
	appendStringInfoString(&said, "exact deltas");
	if (fact->follow->events != NIL)
		appendStringInfo(&said, "; a replacement whenever %s changes, since %s", names_of(fact->follow->events), fact->shifting);
	append_sets(&said, rel, fact->sets);
	if (fact->follow->clock)
		appendStringInfoString(&said, "; it reads the clock: a replacement whenever the time that it computes is another one");
	else if (fact->inputs != NIL)
		appendStringInfoString(&said, "; a replacement when a value beside the row changes");
	else if (fact->sets == NIL && fact->follow->events == NIL)
		appendStringInfoString(&said, ": it depends on the row alone");
	append_numbers(&said, fact);
	return said.data;
}

/* ALTER POLICY with the rewritten expression, and what it gains. */
static char *
alter(Relation rel, RowSecurityPolicy *policy, const OfsRewrite *rewrite)
{
	return psprintf("ALTER POLICY %s ON %s USING (%s)", quote_identifier(policy->policy_name),
					ofs_relation_name(RelationGetRelid(rel)), deparse(rel, rewrite->qual));
}

static void
append_gains(StringInfo finding, Relation rel, const OfsPolicyFact *after, const OfsRewrite *rewrite)
{
	if (rewrite->sets)
		appendStringInfo(finding, "; rewritten: %s", meaning(rel, after));
	if (rewrite->casts)
		appendStringInfoString(finding, "; it compares a uuid column as text, which no index on the column serves (what it is compared with must be a uuid)");
	if (rewrite->calls)
		appendStringInfoString(finding, "; it may call a function for every row that does not depend on the row: (SELECT ...) around the call makes it one call");
}

static OfsPolicyFact *
examine(Relation rel, RowSecurityPolicy *policy, Node *qual)
{
	OfsTable   *table = ofs_table_find(RelationGetRelid(rel));
	OfsDeclared nothing = {0};

	return ofs_inputs_examine(rel, table ? &table->declared : &nothing, policy->policy_name, policy->permissive, qual);
}

static void
advise_policy(Relation rel, RowSecurityPolicy *policy, ReturnSetInfo *answer)
{
	char	   *about = psprintf("policy %s", quote_identifier(policy->policy_name));
	Node	   *qual = (Node *) policy->qual;
	OfsPolicyFact *fact;
	OfsPolicyFact *after;
	OfsRewrite *rewrite;
	StringInfoData finding;
	bool		better;

	if (qual == NULL)
	{
		say(answer, about, "it has no USING expression, and so no say in what is read", NULL);
		return;
	}
	fact = examine(rel, policy, qual);
	rewrite = ofs_rewrite_policy(qual, fact->opaque || fact->shifting);
	after = examine(rel, policy, rewrite->qual);
	better = rewrite->sets || rewrite->calls || rewrite->casts;
	initStringInfo(&finding);
	appendStringInfoString(&finding, meaning(rel, fact));
	append_gains(&finding, rel, after, rewrite);
	say(answer, about, finding.data,
		better ? alter(rel, policy, rewrite) : remedy(fact, qual, rewrite));
	if (better && remedy(after, rewrite->qual, rewrite))
		say(answer, about, psprintf("also then: %s", meaning(rel, after)), remedy(after, rewrite->qual, rewrite));
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(((RowSecurityPolicy *) lfirst(a))->policy_name, ((RowSecurityPolicy *) lfirst(b))->policy_name);
}

static List *
advise_policies(Relation rel, ReturnSetInfo *answer)
{
	List	   *policies = ofs_policy_list(rel);
	ListCell   *lc;

	list_sort(policies, compare_names);

	if (!rel->rd_rel->relrowsecurity)
		say(answer, "policies", "row security is off: whoever may SELECT gets every row",
			psprintf("ALTER TABLE %s ENABLE ROW LEVEL SECURITY", ofs_relation_name(RelationGetRelid(rel))));
	else if (policies == NIL)
		say(answer, "policies", "there is none for SELECT: nobody but the owner sees a row", NULL);
	foreach(lc, policies)
		advise_policy(rel, lfirst(lc), answer);
	return policies;
}

/* ---------- indexes ---------- */

static void
advise_index(Relation rel, AttrNumber attnum, const char *columns, const char *finding, ReturnSetInfo *answer)
{
	char	   *existing = attnum == InvalidAttrNumber ? NULL : ofs_index_find(rel, attnum);

	if (existing)
		say(answer, "index", psprintf("%s: index %s serves it", finding, quote_identifier(existing)), NULL);
	else
		say(answer, "index", finding,
			psprintf("CREATE INDEX %sON %s (%s)",
					 rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? "" : "CONCURRENTLY ",
					 ofs_relation_name(RelationGetRelid(rel)), columns));
}

static const char *
wide_part(const OfsScopes *scopes)
{
	if (scopes->wide == NULL)
		return "no policy says by a column whose a row is";
	return psprintf("policy %s has a part that no column narrows%s%s", quote_identifier(scopes->wide),
					scopes->why ? ": " : "", scopes->why ? scopes->why : "");
}

static void
advise_indexes(Relation rel, List *policies, ReturnSetInfo *answer)
{
	Oid			relid = RelationGetRelid(rel);
	OfsScopes	scopes = {0};
	OfsScopes	narrow = {0};
	ListCell   *lc;

	foreach(lc, policies)
	{
		RowSecurityPolicy *policy = lfirst(lc);

		if (policy->qual)
			(void) ofs_scopes_add(policy->permissive ? &scopes : &narrow,
								  examine(rel, policy, ofs_rewrite_policy((Node *) policy->qual, false)->qual));
	}
	/* restrictive ones come on top */
	if (scopes.wide && narrow.columns != NIL && narrow.wide == NULL)
		scopes = narrow;
	foreach(lc, scopes.columns)
	{
		const char *column = quote_identifier(get_attname(relid, lfirst_int(lc), false));

		advise_index(rel, lfirst_int(lc), psprintf("%s, " OFS_COL_VERSION, column),
					 psprintf("%s says whose a row is, so a pull can read just its caller's rows", column), answer);
	}
	foreach(lc, scopes.followed)
	{
		const char *column = quote_identifier(get_attname(relid, lfirst_int(lc), false));

		advise_index(rel, lfirst_int(lc), column,
					 psprintf("%s says with which rows of another collection these come and go", column), answer);
	}
	if (scopes.columns == NIL || scopes.wide)
		advise_index(rel, get_attnum(relid, OFS_COL_VERSION), OFS_COL_VERSION,
					 psprintf("%s: a pull tests what changed for everybody; an index by version spares it the rest of the table, and makes every update dearer",
							  wide_part(&scopes)), answer);
}

/* ---------- the key ---------- */

/* Of a table that isn't synced yet: what would be the key by default. */
static Bitmapset *
key_of(Relation rel)
{
	OfsTable   *table = ofs_table_find(RelationGetRelid(rel));
	Bitmapset  *primary = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	Bitmapset  *key = NULL;

	for (int i = 0; table && i < table->nkey; i++)
		key = bms_add_member(key, table->key[i]);
	for (int member = -1; !table && (member = bms_next_member(primary, member)) >= 0;)
		key = bms_add_member(key, member + FirstLowInvalidHeapAttributeNumber);
	return key;
}

static void
advise_key(Relation rel, ReturnSetInfo *answer)
{
	Bitmapset  *key = key_of(rel);

	for (int attnum = -1; (attnum = bms_next_member(key, attnum)) >= 0;)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
		Oid			equal = lookup_type_cache(att->atttypid, TYPECACHE_EQ_OPR)->eq_opr;

		if (OidIsValid(equal) && get_func_leakproof(get_opcode(equal)))
			continue;
		say(answer, "key",
			psprintf("%s is of type %s, whose operators are not leakproof: under row security no index of the key serves to find out what was deleted",
					 quote_identifier(NameStr(att->attname)), format_type_be(att->atttypid)),
			"Let enable's option key name a unique column of type int, bigint, text or uuid.");
	}
}

/* tbl.  Returns rows (about, finding, advice). */
Datum
offsync_advise(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *answer = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			relid = PG_GETARG_OID(0);
	Relation	rel;
	List	   *policies;

	ofs_answer_require_owner(relid);
	ofs_check_kind(relid);
	InitMaterializedSRF(fcinfo, 0);
	rel = table_open(relid, AccessShareLock);
	if (ofs_table_find(relid) == NULL)
		say(answer, "table", "it does not sync yet; what is said of changes in other tables holds when enable has put its triggers on them",
			psprintf("SELECT * FROM offsync.enable(%s)", quote_literal_cstr(ofs_relation_name(relid))));
	policies = advise_policies(rel, answer);
	advise_indexes(rel, policies, answer);
	advise_key(rel, answer);
	table_close(rel, NoLock);
	return (Datum) 0;
}
