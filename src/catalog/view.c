/*
 * view.c
 *		What one caller sees of one synced table.
 *
 * The view is made of the columns that the caller may read, the policies that apply to it, and those
 * policies' inputs.  A digest of all that is the fingerprint which the cursor carries: another caller, role,
 * tenant or claim, another grant or policy makes another fingerprint, and so a replacement; a refreshed token
 * with the same identity doesn't.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "catalog/policy.h"
#include "catalog/secret.h"
#include "catalog/trouble.h"
#include "miscadmin.h"
#include "catalog/inputs.h"
#include "catalog/view.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"

/* Kept with the table's cache entry: one fact per policy, in the relcache's order. */
typedef struct OfsPolicyFacts
{
	int			count;
	OfsPolicyFact **facts;
} OfsPolicyFacts;

/* ---------- privileges ---------- */

static bool
may_read(Oid relid, AttrNumber attnum)
{
	return pg_attribute_aclcheck(relid, attnum, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

bool
ofs_view_readable(OfsTable *table)
{
	if (ofs_compat_namespace_aclcheck(get_rel_namespace(table->relid), GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		return false;
	if (pg_class_aclcheck(table->relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		return true;
	for (int i = 0; i < table->nkey; i++)
		if (!may_read(table->relid, table->key[i]))
			return false;
	return true;
}

void
ofs_view_require(OfsTable *table)
{
	if (!ofs_view_readable(table))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for collection \"%s\"", table->collection)));
}

static void
choose_columns(OfsView *view, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool		all = pg_class_aclcheck(view->table->relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK;

	view->columns = palloc(sizeof(AttrNumber) * desc->natts);
	view->names = palloc(sizeof(char *) * desc->natts);
	for (int attnum = 1; attnum <= desc->natts; attnum++)
	{
		const char *name = ofs_table_wire_name(view->table, desc, attnum);

		if (name == NULL || !(all || may_read(view->table->relid, attnum)))
			continue;
		view->columns[view->ncolumns] = attnum;
		view->names[view->ncolumns++] = name;
	}
}

/* ---------- policies ---------- */

static OfsPolicyFacts *
get_facts(OfsTable *table, Relation rel, List *policies)
{
	MemoryContext old;
	OfsPolicyFacts *facts;
	ListCell   *lc;

	if (table->facts && !table->stale)
		return table->facts;
	old = MemoryContextSwitchTo(table->context);
	facts = palloc0(sizeof(OfsPolicyFacts));
	facts->facts = palloc(sizeof(OfsPolicyFact *) * Max(list_length(policies), 1));
	foreach(lc, policies)
	{
		RowSecurityPolicy *policy = lfirst(lc);

		facts->facts[facts->count++] = ofs_inputs_examine(rel, policy->policy_name, policy->permissive,
														  (Node *) policy->qual);
	}
	MemoryContextSwitchTo(old);
	table->facts = facts;
	return facts;
}

static bool
applies_to_caller(RowSecurityPolicy *policy)
{
	Oid		   *roles = (Oid *) ARR_DATA_PTR(policy->roles);

	for (int i = 0; i < ARR_DIMS(policy->roles)[0]; i++)
		if (roles[i] == ACL_ID_PUBLIC || has_privs_of_role(GetUserId(), roles[i]))
			return true;
	return false;
}

static void
append_text(StringInfo out, const char *text)
{
	appendBinaryStringInfo(out, text, strlen(text) + 1);
}

/* Policies that apply to the caller, and what they depend on beside the row. */
static void
append_policies(OfsView *view, Relation rel, List **known, StringInfo out)
{
	List	   *policies = ofs_policy_list(rel);
	OfsPolicyFacts *facts = get_facts(view->table, rel, policies);
	ListCell   *lc;

	foreach(lc, policies)
	{
		RowSecurityPolicy *policy = lfirst(lc);
		OfsPolicyFact *fact = facts->facts[foreach_current_index(lc)];

		if (!applies_to_caller(policy))
			continue;
		append_text(out, fact->permissive ? "permissive" : "restrictive");
		append_text(out, fact->text);
		view->reads_tables = view->reads_tables || fact->reads_tables;
		if (view->opaque == NULL && fact->opaque)
			view->opaque = psprintf("policy %s: %s", fact->name, fact->opaque);
		if (view->opaque == NULL && !ofs_inputs_evaluate(fact->inputs, known, out))
			view->opaque = psprintf("policy %s: an expression in it raised an error", fact->name);
	}
}

/* ---------- the view ---------- */

static void
append_columns(const OfsView *view, Relation rel, StringInfo out)
{
	for (int i = 0; i < view->table->nkey; i++)
		append_text(out, NameStr(TupleDescAttr(RelationGetDescr(rel), view->table->key[i] - 1)->attname));
	append_text(out, "");
	for (int i = 0; i < view->ncolumns; i++)
	{
		append_text(out, view->names[i]);
		append_text(out, format_type_be_qualified(TupleDescAttr(RelationGetDescr(rel),
																view->columns[i] - 1)->atttypid));
	}
}

OfsView *
ofs_view_make(OfsTable *table, const char *asked, OfsDialect dialect, List **known)
{
	OfsView    *view = palloc0(sizeof(OfsView));
	Relation	rel = table_open(table->relid, AccessShareLock);
	StringInfoData bytes;
	uint8		digest[32];

	/* the lock may have brought news of the definition */
	view->table = table = ofs_table_find(table->relid);
	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("collection \"%s\" is no longer synced", asked)));
	view->asked = asked;
	choose_columns(view, rel);

	initStringInfo(&bytes);
	append_text(&bytes, GetUserNameFromId(GetUserId(), false));
	append_text(&bytes, dialect == OFS_DIALECT_JSON ? "json" : "watermelondb");
	append_columns(view, rel, &bytes);
	if (check_enable_rls(table->relid, InvalidOid, true) == RLS_ENABLED)
	{
		append_text(&bytes, "row security");
		append_policies(view, rel, known, &bytes);
	}
	ofs_secret_hmac(bytes.data, bytes.len, digest);
	memcpy(&view->fingerprint, digest, sizeof(view->fingerprint));
	pfree(bytes.data);
	if (view->opaque == NULL)
		view->opaque = ofs_table_trouble(table);
	table_close(rel, NoLock);
	return view;
}
