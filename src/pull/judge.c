/*
 * judge.c
 *		How each collection of a pull is answered, and what moved in or out of its view.
 *
 * Each collection is judged for itself: "replacement" where an exact delta can't be computed for it, which the
 * other collections needn't suffer for.
 *
 * A view may have changed without its rows: the sets that the policies look rows up in are not what they were.  Where
 * the cursor carries them by value, the policies with the old values put in their place say what the caller could see then, and only
 * rows that hold a value which came or went can have moved.  No log of memberships is needed, and nobody else's matter.
 *
 * A set of another collection's keys isn't carried: which of those came into view, and which went out, is that
 * collection's own delta (moved.c), and the old set is the present one without the first and with the second.
 */
#include "postgres.h"

#include "catalog/access.h"
#include "catalog/horizon.h"
#include "catalog/setvalue.h"
#include "catalog/viewthen.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "pull/judge.h"
#include "pull/moved.h"
#include "utils/snapmgr.h"

/* One set of a view, then and now. */
typedef struct SetShift
{
	const OfsViewSet *set;
	const OfsSet *then;
	bool		changed;
	bool		emptied;		/* or ceased to be empty */
	Datum		moved;			/* array of what came or went */
	const OfsMovedKeys *keys;	/* of kind OFS_SET_PARENT */
} SetShift;

/* ---------- then ---------- */

static const char *
exact_reason(const OfsJudge *judge, const OfsView *view, OfsCounter *kind)
{
	const OfsCursorCollection *covered = ofs_since_collection(judge->since, view->table);
	const OfsSetView *then = ofs_viewthen_find(&judge->then, view->table);

	/* a parent that was not asked for is there for its children */
	*kind = OFS_COUNT_REPLACED_NEW;
	if (covered == NULL && then == NULL)
		return "the cursor does not cover the collection";
	*kind = OFS_COUNT_REPLACED_CALLER;
	if ((covered ? covered->fingerprint : then->fingerprint) != view->fingerprint ||
		list_length(view->sets) != (then ? then->nsets : 0))
		return "the caller, its rights, or what the policies depend on changed";
	return NULL;
}

/* Why the collection must be replaced, whatever its sets are; or NULL. */
static const char *
replacement_reason(const OfsJudge *judge, const OfsView *view, OfsCounter *kind)
{
	const OfsSince *since = judge->since;
	const char *reason = NULL;

	*kind = OFS_COUNT_REPLACED_HISTORY;
	if (since->kind == OFS_SINCE_REPLACE)
		return since->reason;
	*kind = OFS_COUNT_REPLACED_POLICY;
	if (view->opaque)
		return view->opaque;
	if (since->kind == OFS_SINCE_NUMBER && view->blind)
		return view->blind;
	if (since->kind == OFS_SINCE_EXACT)
		reason = exact_reason(judge, view, kind);
	if (reason)
		return reason;
	*kind = OFS_COUNT_REPLACED_PRUNED;
	if (ofs_horizon_passed(since, view->table, GetActiveSnapshot()))
		return "deletions that it has not seen may have been pruned";
	*kind = OFS_COUNT_REPLACED_ACCESS;
	reason = ofs_access_changed(since, since->kind == OFS_SINCE_EXACT ? view->events : view->all_events);
	if (reason)
		return reason;
	*kind = OFS_COUNT_REPLACED_RESET;
	return ofs_since_reset(since, view->table);
}

/* ---------- comparing ---------- */

static OfsSetItem *
join_items(const OfsSetItem *a, int na, const OfsSetItem *b, int nb)
{
	OfsSetItem *items = palloc(sizeof(OfsSetItem) * (na + nb + 1));

	memcpy(items, a, sizeof(OfsSetItem) * na);
	memcpy(items + na, b, sizeof(OfsSetItem) * nb);
	return items;
}

static const char *
compare_values(SetShift *shift)
{
	const OfsSetFact *fact = shift->set->fact;
	const OfsSet *now = &shift->set->value;
	const OfsSet *then = shift->then;
	OfsSetItem *items;
	int			count;
	bool		nulls;

	if (then->hash == now->hash)
		return NULL;
	if (then->kind == OFS_SET_HASH)
		return "a set that was too large to carry has changed";
	nulls = then->is_null != now->is_null || then->has_null != now->has_null;
	/* where the look-up decides, that it finds nothing for sure and that it finds nothing are the same */
	if (fact->exists || (fact->any && fact->decides && !fact->nulls))
		nulls = false;
	if (nulls && !fact->nulls)
		return "NULL came into a set or went out of it";
	items = palloc(sizeof(OfsSetItem) * (then->count + now->count + 1));
	count = ofs_set_minus(now, then, items);
	count += ofs_set_minus(then, now, items + count);
	shift->changed = nulls || count > 0;
	shift->emptied = nulls || (then->count == 0) != (now->count == 0);
	shift->moved = ofs_setvalue_array(fact, items, count, false);
	return NULL;
}

/* ---------- binding ---------- */

typedef struct Binding
{
	const OfsViewPolicy *policy;
	SetShift   *shifts;			/* of its sets */
	bool		then;
} Binding;

/* A set of another collection's keys, as it was. */
static Node *
bind_parent(Node *node, const SetShift *shift)
{
	const OfsSetFact *fact = shift->set->fact;
	const OfsMovedKeys *keys = shift->keys;
	Node	   *gained = ofs_setfact_bind(fact, ofs_setvalue_array(fact, keys->gained, keys->ngained, false), false);
	Node	   *lost = ofs_setfact_bind(fact, ofs_setvalue_array(fact, keys->lost, keys->nlost, false), false);
	Node	   *not_gained;

	/* NOT IN: neither among the present ones but the new, nor among the old */
	if (!fact->any)
	{
		not_gained = (Node *) makeBoolExpr(NOT_EXPR, list_make1(gained), -1);
		return (Node *) makeBoolExpr(AND_EXPR,
									 list_make2(makeBoolExpr(OR_EXPR, list_make2(node, not_gained), -1), lost), -1);
	}
	not_gained = (Node *) makeBoolExpr(NOT_EXPR, list_make1(gained), -1);
	return (Node *) makeBoolExpr(OR_EXPR,
								 list_make2(makeBoolExpr(AND_EXPR, list_make2(node, not_gained), -1), lost), -1);
}

static Node *
bind_set(Node *node, const SetShift *shift, bool then)
{
	const OfsSet *value = &shift->set->value;

	if (value->kind == OFS_SET_PARENT)
		return then && shift->changed ? bind_parent(copyObject(node), shift) : copyObject(node);
	if (then && shift->changed)
		value = shift->then;
	if (shift->set->fact->nulls)
		return ofs_setfact_among(shift->set->fact,
								 ofs_setvalue_array(shift->set->fact, value->items, value->count, false),
								 value->has_null);
	return ofs_setfact_bind(shift->set->fact,
							ofs_setvalue_array(shift->set->fact, value->items, value->count, value->has_null),
							value->is_null);
}

static Node *
bind_mutator(Node *node, Binding *binding)
{
	if (node == NULL)
		return NULL;
	for (int i = 0; i < list_length(binding->policy->fact->sets); i++)
		if (binding->policy->sets[i].fact->node == node)
			return bind_set(node, &binding->shifts[i], binding->then);
	return expression_tree_mutator(node, bind_mutator, binding);
}

static Node *
join_nodes(BoolExprType type, List *nodes)
{
	if (nodes == NIL)
		return makeBoolConst(type == AND_EXPR, false);
	return list_length(nodes) == 1 ? linitial(nodes) : (Node *) makeBoolExpr(type, nodes, -1);
}

/* All policies as one condition, as row-level security joins them. */
static Node *
bind_view(const OfsView *view, SetShift *shifts, bool then)
{
	List	   *permissive = NIL;
	List	   *all = NIL;
	int			first = 0;
	ListCell   *lc;

	if (!view->restricted)
		return makeBoolConst(true, false);
	foreach(lc, view->policies)
	{
		Binding		binding = {lfirst(lc), shifts + first, then};
		Node	   *qual = bind_mutator(binding.policy->fact->qual, &binding);

		first += list_length(binding.policy->fact->sets);
		if (binding.policy->fact->permissive)
			permissive = lappend(permissive, qual);
		else
			all = lappend(all, qual);
	}
	return join_nodes(AND_EXPR, lcons(join_nodes(OR_EXPR, permissive), all));
}

static Node *
old_view(const OfsVerdict *verdict)
{
	SetShift   *shifts;
	ListCell   *lc;

	if (verdict->shift)
		return verdict->shift->was;
	shifts = palloc0(sizeof(SetShift) * (list_length(verdict->view->sets) + 1));
	foreach(lc, verdict->view->sets)
		shifts[foreach_current_index(lc)].set = lfirst(lc);
	return bind_view(verdict->view, shifts, false);
}

/* ---------- judging ---------- */

static const char *
compare_parent(OfsJudge *judge, const OfsView *view, SetShift *shift)
{
	OfsVerdict *parent = ofs_judge_ask(judge, shift->set->parent->table);

	if (parent->reason)
		return psprintf("it depends on collection \"%s\", which is replaced", parent->view->table->collection);
	if (parent->keys == NULL)
	{
		parent->was = old_view(parent);
		parent->keys = ofs_moved_keys(parent, judge->since);
	}
	if (parent->keys == NULL)
		return "too many rows moved in or out of the view of a collection that it depends on";
	shift->keys = ofs_moved_with_new(parent, view->table, shift->set->fact, judge->since);
	if (shift->keys == NULL)
		return "too many rows moved in or out of the view of a collection that it depends on";
	/* NULL is in no set: that is unknown, or, of an empty one, false */
	if (shift->keys->ngained > 0 && shift->keys->nlost == 0 && !shift->set->fact->decides)
		return "a set of another collection's keys may have been empty";
	shift->changed = shift->keys->ngained + shift->keys->nlost > 0;
	shift->emptied = shift->changed && !shift->set->fact->decides;
	shift->moved = ofs_setvalue_array(shift->set->fact,
									  join_items(shift->keys->gained, shift->keys->ngained,
												 shift->keys->lost, shift->keys->nlost),
									  shift->keys->ngained + shift->keys->nlost, false);
	return NULL;
}

/* Compare the view's sets with those that the cursor carries; the reason for a replacement, or NULL. */
static const char *
judge_sets(OfsJudge *judge, OfsVerdict *verdict)
{
	const OfsView *view = verdict->view;
	const OfsSetView *then = ofs_viewthen_find(&judge->then, view->table);
	SetShift   *shifts = palloc0(sizeof(SetShift) * (list_length(view->sets) + 1));
	List	   *moved = NIL;
	const char *reason = NULL;
	ListCell   *lc;

	foreach(lc, view->sets)
	{
		SetShift   *shift = &shifts[foreach_current_index(lc)];

		shift->set = lfirst(lc);
		shift->then = &judge->then.sets[then->sets[foreach_current_index(lc)]];
		if ((shift->set->value.kind == OFS_SET_PARENT) != (shift->then->kind == OFS_SET_PARENT))
			reason = "a collection that it depends on is seen otherwise than it was";
		else if (shift->set->parent)
			reason = compare_parent(judge, view, shift);
		else
			reason = compare_values(shift);
		if (reason)
			return reason;
		if (shift->changed)
			moved = lappend(moved, ofs_setfact_among(shift->set->fact, shift->moved, shift->emptied));
	}
	if (moved == NIL)
		return NULL;
	verdict->shift = palloc0(sizeof(OfsShift));
	verdict->shift->was = bind_view(view, shifts, true);
	verdict->shift->is = bind_view(view, shifts, false);
	verdict->shift->moved = join_nodes(OR_EXPR, moved);
	return NULL;
}

/* ---------- filters ---------- */

/*
 * Did the device write to the collection while its view was neither that of the cursor nor the present one?  It holds what
 * it wrote, though neither of these two may show it.
 */
static bool
pushed_under_another(const OfsCursor *cursor, const OfsView *view)
{
	for (int i = 0; i < cursor->nown; i++)
		for (int j = 0; j < cursor->own[i].nviews; j++)
			if (cursor->own[i].views[j].hash == view->table->hash &&
				cursor->own[i].views[j].fingerprint != ofs_view_digest(view))
				return true;
	return false;
}

/* Why what the device was told then, though it is known, can't be compared with what it asks for now; or NULL. */
static const char *
changed_answer(const OfsJudge *judge, OfsVerdict *verdict)
{
	const OfsSetView *then = ofs_viewthen_find(&judge->then, verdict->view->table);

	if (ofs_since_collection(judge->since, verdict->view->table) == NULL)
	{
		verdict->kind = OFS_COUNT_REPLACED_NEW;
		return "the cursor does not cover the collection";
	}
	if (pushed_under_another(judge->since->cursor, verdict->view))
		return "the device wrote to it while it saw it otherwise";
	if ((then ? then->columns : 0) != (verdict->filter ? verdict->filter->columns : 0))
		return "the device filters by other columns than it did";
	return NULL;
}

static Node *
bind_filter(const OfsFilter *filter, SetShift *shifts, bool then)
{
	List	   *nodes = NIL;

	for (int i = 0; i < list_length(filter->sets); i++)
		nodes = lappend(nodes, bind_set(NULL, &shifts[i], then));
	return join_nodes(AND_EXPR, nodes);
}

/* The answer, with what the device chose to hold then and now; the reason for a replacement, or NULL. */
static const char *
judge_filter(OfsJudge *judge, OfsVerdict *verdict)
{
	const OfsSetView *then = ofs_viewthen_find(&judge->then, verdict->view->table);
	const OfsFilter *filter = verdict->filter;
	OfsShift   *answer = palloc0(sizeof(OfsShift));
	SetShift   *shifts = palloc0(sizeof(SetShift) * (list_length(filter->sets) + 1));
	List	   *moved = NIL;
	const char *reason = NULL;
	ListCell   *lc;

	foreach(lc, filter->sets)
	{
		SetShift   *shift = &shifts[foreach_current_index(lc)];

		shift->set = lfirst(lc);
		/* nobody knows what a number was given for: the same, unless somebody says otherwise */
		if (judge->since->kind != OFS_SINCE_EXACT || reason || then == NULL || then->columns != filter->columns)
			continue;
		shift->then = &judge->then.sets[then->filters[foreach_current_index(lc)]];
		reason = compare_values(shift);
		if (shift->changed)
			moved = lappend(moved, ofs_setfact_among(shift->set->fact, shift->moved, shift->emptied));
	}
	if (verdict->shift)
		*answer = *verdict->shift;
	else if (verdict->reason || judge->since->kind == OFS_SINCE_FIRST)
		answer->was = answer->is = makeBoolConst(true, false);
	else
		answer->was = answer->is = old_view(verdict);
	answer->filter = bind_filter(filter, shifts, false);
	answer->was = join_nodes(AND_EXPR, list_make2(answer->was, bind_filter(filter, shifts, true)));
	answer->is = join_nodes(AND_EXPR, list_make2(answer->is, answer->filter));
	if (verdict->shift)
		moved = lappend(moved, verdict->shift->moved);
	answer->moved = join_nodes(OR_EXPR, moved);
	verdict->answer = answer;
	return reason;
}

/* ---------- */

OfsJudge *
ofs_judge_create(const OfsSince *since, List *filters, OfsDialect dialect)
{
	OfsJudge   *judge = palloc0(sizeof(OfsJudge));

	judge->since = since;
	judge->filters = filters;
	judge->views.dialect = dialect;
	ofs_viewthen_open(since, &judge->then);
	return judge;
}

const OfsShift *
ofs_judge_shift(const OfsVerdict *verdict)
{
	OfsShift   *still;

	if (verdict->answer)
		return verdict->answer;
	still = palloc0(sizeof(OfsShift));
	still->was = still->is = old_view(verdict);
	still->moved = makeBoolConst(false, false);
	return still;
}

OfsVerdict *
ofs_judge_ask(OfsJudge *judge, OfsTable *table)
{
	OfsVerdict *verdict;
	const char *reason;
	ListCell   *lc;

	foreach(lc, judge->verdicts)
		if (((OfsVerdict *) lfirst(lc))->view->table->relid == table->relid)
			return lfirst(lc);
	verdict = palloc0(sizeof(OfsVerdict));
	verdict->view = ofs_view_make(&judge->views, table);
	if (judge->since->kind != OFS_SINCE_FIRST)
		verdict->reason = replacement_reason(judge, verdict->view, &verdict->kind);
	if (verdict->reason == NULL && judge->since->kind == OFS_SINCE_EXACT && verdict->view->sets)
	{
		verdict->kind = OFS_COUNT_REPLACED_ACCESS;
		verdict->reason = judge_sets(judge, verdict);
	}
	verdict->replaced = verdict->reason;
	verdict->filter = ofs_filter_find(judge->filters, table);
	verdict->answer = verdict->shift;
	if (verdict->replaced == NULL)
		verdict->kind = OFS_COUNT_REPLACED_FILTER;
	if (verdict->replaced == NULL && judge->since->kind == OFS_SINCE_EXACT)
		verdict->replaced = changed_answer(judge, verdict);
	if (verdict->filter)
	{
		reason = judge_filter(judge, verdict);
		if (verdict->replaced == NULL)
			verdict->replaced = reason;
	}
	judge->verdicts = lappend(judge->verdicts, verdict);
	return verdict;
}
