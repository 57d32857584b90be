/*
 * view.c
 *		What one caller sees of one synced table.
 *
 * The view is made of the columns that the caller may read, the policies that apply to it, and those
 * policies' inputs.  A digest of all that, but for the sets that rows are looked up in, is the fingerprint which
 * the cursor carries: another caller, role,
 * tenant or claim, another grant or policy makes another fingerprint, and so a replacement; a refreshed token
 * with the same identity doesn't.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/bells.h"
#include "base/compat.h"
#include "base/sqltext.h"
#include "catalog/access.h"
#include "catalog/client.h"
#include "catalog/policy.h"
#include "catalog/secret.h"
#include "catalog/setvalue.h"
#include "catalog/surroundings.h"
#include "catalog/trouble.h"
#include "catalog/view.h"
#include "miscadmin.h"
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
	List	   *relations;		/* what the policies read, partitions too */
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
		/* a copy: the relation is closed, and may be loaded anew, before they are used */
		view->names[view->ncolumns++] = pstrdup(name);
	}
}

static void
append_text(StringInfo out, const char *text)
{
	appendBinaryStringInfo(out, text, strlen(text) + 1);
}

static void
append_columns(const OfsView *view, Relation rel, StringInfo out)
{
	append_text(out, GetUserNameFromId(GetUserId(), false));
	for (int i = 0; i < view->table->nkey; i++)
		append_text(out, NameStr(TupleDescAttr(RelationGetDescr(rel), view->table->key[i] - 1)->attname));
	append_text(out, "");
	for (int i = 0; i < view->ncolumns; i++)
	{
		append_text(out, view->names[i]);
		append_text(out, ofs_type_name(TupleDescAttr(RelationGetDescr(rel), view->columns[i] - 1)->atttypid));
	}
}

/*
 * What the digest says of the role and its columns is kept with the table's entry, for as long as nothing of it has
 * changed and the role stays the same.
 */
static void
append_sight(const OfsViews *views, OfsView *view, Relation rel, StringInfo out)
{
	OfsTable   *table = view->table;
	uint64		bells = ofs_bells_count();
	bool		known = table->sight != NULL && table->sight_role == GetUserId() &&
		table->sight_bells == bells && !table->stale;
	int			start = out->len;

	if (!known || !views->bare)
		choose_columns(view, rel);
	if (known)
	{
		appendBinaryStringInfo(out, table->sight, table->sight_len);
		return;
	}
	append_columns(view, rel, out);
	if (table->sight != NULL)
		pfree(table->sight);
	table->sight = NULL;
	table->sight_len = out->len - start;
	table->sight_role = GetUserId();
	table->sight_bells = bells;
	table->sight = MemoryContextAlloc(table->context, table->sight_len);
	memcpy(table->sight, out->data + start, table->sight_len);
}

/* ---------- policies ---------- */

static OfsPolicyFacts *
find_facts(OfsTable *table, Relation rel, List *policies)
{
	OfsPolicyFacts *facts = palloc0(sizeof(OfsPolicyFacts));
	ListCell   *lc;

	facts->facts = palloc(sizeof(OfsPolicyFact *) * Max(list_length(policies), 1));
	foreach(lc, policies)
	{
		RowSecurityPolicy *policy = lfirst(lc);

		OfsPolicyFact *fact = ofs_inputs_examine(rel, &table->declared, policy->policy_name, policy->permissive,
												 (Node *) policy->qual);

		facts->facts[facts->count++] = fact;
		if (fact->follow)
			facts->relations = list_concat_unique_oid(list_concat_unique_oid(facts->relations, fact->follow->relations),
													  fact->follow->all_events);
	}
	return facts;
}

static OfsPolicyFacts *
get_facts(OfsTable *table, Relation rel, List *policies)
{
	MemoryContext old;
	OfsPolicyFacts *facts;

	if (table->facts && !table->stale)
		return table->facts;
	old = MemoryContextSwitchTo(table->context);
	facts = find_facts(table, rel, policies);
	/* news of what wasn't watched yet would have gone by */
	while (list_difference_oid(facts->relations, table->reads) != NIL)
	{
		table->reads = list_concat_unique_oid(table->reads, facts->relations);
		facts = find_facts(table, rel, policies);
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

/* ---------- sets ---------- */

/* The table whose keys the set is, as far as the caller sees it; NULL where the set goes by value. */
static OfsView *
parent_view(OfsViews *views, const OfsSetFact *fact)
{
	OfsTable   *parent = OidIsValid(fact->parent) ? ofs_table_find(fact->parent) : NULL;
	OfsView    *view;

	if (parent == NULL || parent->nkey != 1 || parent->key[0] != fact->parent_column ||
		!ofs_view_readable(parent))
		return NULL;
	/* policies that go round in a circle fail when they are evaluated: by value then */
	if (list_member_oid(views->making, parent->relid))
		return NULL;
	view = ofs_view_make(views, parent);
	return view->opaque ? NULL : view;
}

static void
make_set(OfsViews *views, OfsViewSet *set, const OfsSetFact *fact, bool *failed)
{
	OfsInput   *input;

	set->fact = fact;
	set->parent = parent_view(views, fact);
	if (set->parent)
	{
		set->value.kind = OFS_SET_PARENT;
		return;
	}
	input = linitial(ofs_inputs_evaluate(list_make1(fact->array), &views->known));
	*failed = *failed || input->failed;
	if (input->failed)
		return;
	ofs_setvalue_take(fact, input->value, input->isnull, &set->value);
}

/* ---------- the policies' inputs ---------- */

/* All at once: one plan is cheaper than many. */
static List *
inputs_of(const OfsPolicyFact *fact)
{
	List	   *nodes = list_copy(fact->inputs);
	ListCell   *lc;

	foreach(lc, fact->sets)
		if (!OidIsValid(((OfsSetFact *) lfirst(lc))->parent))
			nodes = lappend(nodes, ((OfsSetFact *) lfirst(lc))->array);
	return nodes;
}

static bool
add_inputs(OfsViews *views, OfsView *view, const OfsPolicyFact *fact, StringInfo out)
{
	OfsViewPolicy *policy = palloc0(sizeof(OfsViewPolicy));
	bool		failed = false;
	ListCell   *lc;

	(void) ofs_inputs_evaluate(inputs_of(fact), &views->known);
	policy->inputs = ofs_inputs_evaluate(fact->inputs, &views->known);
	foreach(lc, policy->inputs)
	{
		failed = failed || ((OfsInput *) lfirst(lc))->failed;
		ofs_inputs_append(lfirst(lc), out);
	}
	policy->fact = fact;
	policy->sets = palloc0(sizeof(OfsViewSet) * Max(list_length(fact->sets), 1));
	view->policies = lappend(view->policies, policy);
	foreach(lc, fact->sets)
	{
		OfsViewSet *set = &policy->sets[foreach_current_index(lc)];

		make_set(views, set, lfirst(lc), &failed);
		view->sets = lappend(view->sets, set);
	}
	return !failed;
}

/* What may change the policy's verdict on a row that doesn't change itself. */
static void
add_events(OfsView *view, const OfsFollow *follow)
{
	if (follow == NULL)
		return;
	view->events = list_concat_unique_oid(view->events, follow->events);
	view->all_events = list_concat_unique_oid(view->all_events, follow->all_events);
	if (view->blind == NULL)
		view->blind = follow->blind;
}

/*
 * The facts of those policies that apply to the caller.  The policies themselves are the relcache's, and gone when a function in
 * one of them makes or drops another.
 */
static List *
facts_for_caller(OfsTable *table, Relation rel)
{
	List	   *policies = ofs_policy_list(rel);
	OfsPolicyFacts *facts = get_facts(table, rel, policies);
	List	   *found = NIL;
	ListCell   *lc;

	foreach(lc, policies)
	{
		RowSecurityPolicy *policy = lfirst(lc);

		/* without USING it has no say in what is read */
		if (policy->qual != NULL && applies_to_caller(policy))
			found = lappend(found, facts->facts[foreach_current_index(lc)]);
	}
	return found;
}

/* Policies that apply to the caller, and what they depend on beside the row. */
static void
add_policies(OfsViews *views, OfsView *view, Relation rel, StringInfo out)
{
	bool		shifting = false;
	bool		unseen = false;
	ListCell   *lc;

	foreach(lc, facts_for_caller(view->table, rel))
	{
		OfsPolicyFact *fact = lfirst(lc);

		append_text(out, fact->permissive ? "permissive" : "restrictive");
		append_text(out, fact->text);
		add_events(view, fact->follow);
		shifting = shifting || fact->shifting != NULL;
		unseen = unseen || (fact->shifting && fact->follow && fact->follow->functions);
		if (view->opaque == NULL && fact->opaque)
			view->opaque = psprintf("policy %s: %s", fact->name, fact->opaque);
		if (view->opaque == NULL && !add_inputs(views, view, fact, out))
			view->opaque = psprintf("policy %s: an expression in it raised an error", fact->name);
	}
	/* functions may know the caller by more than its role: nobody goes on with another's sets */
	if (view->sets)
		append_text(out, ofs_client_subject() ? ofs_client_subject() : "");
	if (shifting)
		ofs_surroundings_append(out, unseen);
}

/* ---------- the view ---------- */

static OfsView *
find_view(const OfsViews *views, const OfsTable *table)
{
	ListCell   *lc;

	foreach(lc, views->views)
		if (((OfsView *) lfirst(lc))->table->relid == table->relid)
			return lfirst(lc);
	return NULL;
}

OfsView *
ofs_view_make(OfsViews *views, OfsTable *table)
{
	OfsView    *view = find_view(views, table);
	Relation	rel;
	StringInfoData bytes;
	uint8		digest[32];

	if (view)
		return view;
	rel = table_open(table->relid, AccessShareLock);
	view = palloc0(sizeof(OfsView));
	table = ofs_table_again(table);
	view->table = table;

	initStringInfo(&bytes);
	append_sight(views, view, rel, &bytes);
	view->restricted = check_enable_rls(table->relid, InvalidOid, true) == RLS_ENABLED;
	if (view->restricted)
	{
		append_text(&bytes, "row security");
		views->making = lappend_oid(views->making, table->relid);
		add_policies(views, view, rel, &bytes);
		views->making = list_delete_last(views->making);
	}
	views->views = lappend(views->views, view);
	ofs_secret_hmac_again(bytes.data, bytes.len, digest);
	memcpy(&view->identity, digest, sizeof(view->identity));
	view->fingerprint = view->identity ^ (views->dialect == OFS_DIALECT_JSON ? OFS_VIEW_JSON : 0);
	pfree(bytes.data);
	if (view->opaque == NULL)
		view->opaque = ofs_table_trouble(table);
	table_close(rel, NoLock);
	return view;
}

OfsView *
ofs_view_columns(OfsTable *table)
{
	OfsView    *view = palloc0(sizeof(OfsView));
	Relation	rel = table_open(table->relid, AccessShareLock);

	view->table = ofs_table_again(table);
	choose_columns(view, rel);
	table_close(rel, NoLock);
	return view;
}
