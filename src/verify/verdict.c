/*
 * verdict.c
 *		What privileges and policies say of a row, one by one and together.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "base/query.h"
#include "base/spi.h"
#include "catalog/access.h"
#include "catalog/policy.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/ruleutils.h"
#include "verify/bind.h"
#include "verify/explain.h"

/* ---------- privileges ---------- */

static bool
may_read(OfsExplain *x, AttrNumber attnum)
{
	return pg_class_aclcheck(x->table->relid, x->role, ACL_SELECT) == ACLCHECK_OK ||
		pg_attribute_aclcheck(x->table->relid, attnum, x->role, ACL_SELECT) == ACLCHECK_OK;
}

static void
append_column(StringInfo list, Oid relid, AttrNumber attnum)
{
	appendStringInfo(list, "%s%s", list->len > 0 ? ", " : "", quote_identifier(get_attname(relid, attnum, false)));
}

static void
say_columns(OfsExplain *x)
{
	TupleDesc	desc = RelationGetDescr(x->rel);
	StringInfoData hidden,
				held;

	initStringInfo(&hidden);
	initStringInfo(&held);
	for (int attnum = 1; attnum <= desc->natts; attnum++)
	{
		if (TupleDescAttr(desc, attnum - 1)->attisdropped)
			continue;
		if (x->table->columns && !bms_is_member(attnum, x->table->columns))
			append_column(&held, x->table->relid, attnum);
		else if (ofs_table_wire_name(x->table, desc, attnum) && !may_read(x, attnum))
			append_column(&hidden, x->table->relid, attnum);
	}
	if (hidden.len > 0)
		ofs_explain_say(x, "columns", "left out, for want of SELECT on them: %s", hidden.data);
	if (held.len > 0)
		ofs_explain_say(x, "columns", "left out, by the table's option \"columns\": %s", held.data);
}

bool
ofs_explain_rights(OfsExplain *x)
{
	Oid			namespace = get_rel_namespace(x->table->relid);

	ofs_explain_say(x, "role", "%s, with %s", x->role_name,
					x->claims ? "the claims given" : "the settings of this session");
	if (ofs_compat_namespace_aclcheck(namespace, x->role, ACL_USAGE) != ACLCHECK_OK)
	{
		ofs_explain_say(x, "privileges", "it may not use schema %s", quote_identifier(get_namespace_name(namespace)));
		return false;
	}
	for (int i = 0; i < x->table->nkey; i++)
		if (!may_read(x, x->table->key[i]))
		{
			ofs_explain_say(x, "privileges", "it may not SELECT %s, which is of the key",
							quote_identifier(get_attname(x->table->relid, x->table->key[i], false)));
			return false;
		}
	ofs_explain_say(x, "privileges", "it may use the schema and SELECT the key");
	say_columns(x);
	return true;
}

/* ---------- policies ---------- */

typedef struct Count
{
	int			permissive;		/* that apply */
	int			admitting;		/* permissive ones that are true */
	StringInfoData refusing;	/* restrictive ones that aren't */
	bool		unknown;		/* of one it could not be told */
} Count;

static bool
applies(OfsExplain *x, RowSecurityPolicy *policy, StringInfo roles)
{
	Oid		   *oids = (Oid *) ARR_DATA_PTR(policy->roles);
	bool		found = false;

	for (int i = 0; i < ARR_DIMS(policy->roles)[0]; i++)
	{
		appendStringInfo(roles, "%s%s", i > 0 ? ", " : "", oids[i] == ACL_ID_PUBLIC ? "public" :
						 quote_identifier(GetUserNameFromId(oids[i], false)));
		found = found || oids[i] == ACL_ID_PUBLIC || has_privs_of_role(x->role, oids[i]);
	}
	return found;
}

typedef struct Decision
{
	Node	   *bound;
	OfsVerdict	verdict;
} Decision;

static void
decide(OfsExplain *x, void *arg)
{
	Decision   *decision = arg;

	decision->verdict = ofs_bind_decide(copyObject(decision->bound));
}

/* The verdict, and how it is said. */
static OfsVerdict
judge(OfsExplain *x, Node *qual, const char **said)
{
	Decision	decision = {NULL, OFS_VERDICT_UNKNOWN};
	const char *error;

	if (!x->exists)
	{
		*said = "is not asked, since there is no row";
		return OFS_VERDICT_UNKNOWN;
	}
	decision.bound = ofs_bind_row(x, qual);
	if (decision.bound == NULL)
	{
		*said = "reads a system column, so it can't be evaluated by itself";
		return OFS_VERDICT_UNKNOWN;
	}
	error = ofs_explain_as_role(x, decide, &decision);
	if (error)
	{
		*said = psprintf("raises an error, and so does any pull that comes to evaluate it: %s", error);
		return OFS_VERDICT_UNKNOWN;
	}
	*said = decision.verdict == OFS_VERDICT_TRUE ? "is true for this row" :
		decision.verdict == OFS_VERDICT_FALSE ? "is false for this row" :
		"is null for this row, which counts as false";
	return decision.verdict;
}

static void
count_verdict(Count *count, RowSecurityPolicy *policy, OfsVerdict verdict)
{
	count->unknown = count->unknown || verdict == OFS_VERDICT_UNKNOWN;
	if (policy->permissive)
	{
		count->permissive++;
		count->admitting += verdict == OFS_VERDICT_TRUE;
	}
	else if (verdict == OFS_VERDICT_FALSE || verdict == OFS_VERDICT_NULL)
		appendStringInfo(&count->refusing, "%s%s", count->refusing.len > 0 ? ", " : "",
						 quote_identifier(policy->policy_name));
}

static void
explain_policy(OfsExplain *x, RowSecurityPolicy *policy, List *names, Count *count)
{
	char	   *step = psprintf("policy %s", quote_identifier(policy->policy_name));
	const char *kind = policy->permissive ? "permissive" : "restrictive";
	const char *said;
	StringInfoData roles;

	initStringInfo(&roles);
	if (!applies(x, policy, &roles))
		ofs_explain_say(x, step, "%s, does not apply: it is for %s", kind, roles.data);
	else if (policy->qual == NULL)
		ofs_explain_say(x, step, "%s, has no USING expression, and so no say in what is read", kind);
	else
	{
		count_verdict(count, policy, judge(x, (Node *) policy->qual, &said));
		ofs_explain_say(x, step, "%s, for %s: %s %s", kind, roles.data,
						deparse_expression((Node *) copyObject(policy->qual), names, false, false), said);
	}
}

/* ---------- what they read ---------- */

/* Those that access_tables names among them, and what views and other tables' policies read. */
static void
explain_access(OfsExplain *x)
{
	bool		followed = x->since->kind == OFS_SINCE_NUMBER || x->since->kind == OFS_SINCE_EXACT;
	StringInfoData names;
	ListCell   *lc;

	initStringInfo(&names);
	foreach(lc, ofs_reads_of_table(x->rel, &x->table->declared))
	{
		List	   *tree = ofs_access_tree(list_make1_oid(lfirst_oid(lc)), AccessShareLock);

		if (tree == NIL)
			continue;
		appendStringInfo(&names, "%s%s%s", names.len > 0 ? ", " : "", ofs_relation_name(lfirst_oid(lc)),
						 followed && ofs_access_changed(x->since, tree) ? " (changed since the cursor)" : "");
	}
	if (names.len > 0)
		ofs_explain_say(x, "access", "the policies read %s: what is seen may change with that, without this row being written", names.data);
}

/* ---------- together ---------- */

static void
look(OfsExplain *x, void *arg)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT FROM %s t WHERE ", ofs_relation_name(x->table->relid));
	ofs_explain_append_key(x, &sql, 't', true);
	x->visible = ofs_explain_select(x, sql.data, 1) > 0;
}

static const char *
why_hidden(OfsExplain *x, const Count *count)
{
	if (!x->exists)
		return "there is no row";
	if (count == NULL)
		return "the answer and the row don't agree";
	if (count->permissive == 0)
		return "no permissive policy applies to it";
	if (count->refusing.len > 0)
		return psprintf("a restrictive policy is not true (%s)", count->refusing.data);
	if (count->unknown)
		return "a policy's verdict could not be told";
	if (count->admitting == 0)
		return "no permissive policy is true";
	return "a policy answers differently each time that it is asked";
}

static void
explain_visible(OfsExplain *x, const Count *count)
{
	const char *error = ofs_explain_as_role(x, look, NULL);

	if (error)
		ofs_explain_say(x, "visible", "unknown: SELECT as %s fails: %s", x->role_name, error);
	else if (x->visible)
		ofs_explain_say(x, "visible", "yes: SELECT as %s returns the row", x->role_name);
	else
		ofs_explain_say(x, "visible", "no: SELECT as %s does not return it: %s", x->role_name, why_hidden(x, count));
}

/* Is the role above the policies?  Says so. */
static bool
explain_security(OfsExplain *x)
{
	bool		forced = x->rel->rd_rel->relforcerowsecurity;

	if (!x->rel->rd_rel->relrowsecurity)
		ofs_explain_say(x, "row security", "off: whoever may SELECT sees every row");
	else if (has_bypassrls_privilege(x->role))
		ofs_explain_say(x, "row security", "bypassed: %s is a superuser or has BYPASSRLS; no policy is asked", x->role_name);
	else if (check_enable_rls(x->table->relid, x->role, true) != RLS_ENABLED)
		ofs_explain_say(x, "row security", "bypassed: %s owns the table, and row security is not forced; no policy is asked",
						x->role_name);
	else
	{
		ofs_explain_say(x, "row security", "on%s", forced ? " and forced, also for the owner" : "");
		return true;
	}
	return false;
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(((RowSecurityPolicy *) lfirst(a))->policy_name, ((RowSecurityPolicy *) lfirst(b))->policy_name);
}

/* What a policy's functions do may bring news of the table, for which the relcache makes a new list. */
static List *
copy_policies(Relation rel)
{
	List	   *copies = NIL;
	ListCell   *lc;

	foreach(lc, ofs_policy_list(rel))
	{
		RowSecurityPolicy *policy = lfirst(lc);
		RowSecurityPolicy *copy = palloc0(sizeof(RowSecurityPolicy));

		copy->policy_name = pstrdup(policy->policy_name);
		copy->permissive = policy->permissive;
		copy->roles = DatumGetArrayTypePCopy(PointerGetDatum(policy->roles));
		copy->qual = copyObject(policy->qual);
		copies = lappend(copies, copy);
	}
	list_sort(copies, compare_names);
	return copies;
}

void
ofs_explain_policies(OfsExplain *x)
{
	Count		count = {0};
	List	   *policies;
	List	   *names;
	ListCell   *lc;

	if (!explain_security(x))
	{
		explain_visible(x, NULL);
		return;
	}
	initStringInfo(&count.refusing);
	policies = copy_policies(x->rel);
	names = deparse_context_for(RelationGetRelationName(x->rel), x->table->relid);
	foreach(lc, policies)
		explain_policy(x, lfirst(lc), names, &count);
	if (policies == NIL)
		ofs_explain_say(x, "policy", "there is none for SELECT: nobody sees a row");
	explain_access(x);
	explain_visible(x, &count);
}
