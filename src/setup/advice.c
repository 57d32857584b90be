/*
 * advice.c
 *		What no delta can follow of the policies of a table.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/access.h"
#include "catalog/policy.h"
#include "optimizer/optimizer.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/rel.h"

/* Why devices take the collection anew at every pull because of the policy, or (clock) more often than its owner may think. */
static const char *
always_replaced(Relation rel, const OfsEntry *entry, Node *qual, bool *clock)
{
	OfsFollow  *follow;
	bool		whole_row;

	(void) ofs_policy_columns(qual, &whole_row);
	if (whole_row)
		return "it reads the whole row, so that deletions can't be judged by it";
	if (contain_volatile_functions(qual))
		return "it calls a volatile function";
	follow = ofs_reads_follow(rel, &entry->declared, qual);
	*clock = follow->clock;
	return follow->opaque;
}

void
ofs_advice_policies(const OfsEntry *entry, ReturnSetInfo *answer)
{
	Relation	rel = table_open(entry->relid, AccessShareLock);
	ListCell   *lc;

	foreach(lc, ofs_policy_list(rel))
	{
		RowSecurityPolicy *policy = lfirst(lc);
		char	   *name = pstrdup(quote_identifier(policy->policy_name));
		bool		clock = false;
		const char *reason = policy->qual ? always_replaced(rel, entry, (Node *) policy->qual, &clock) : NULL;

		if (reason)
			ofs_answer_say(answer, "warning", "policy %s lets devices take the collection anew at every pull: %s", name, reason);
		else if (clock)
			ofs_answer_say(answer, "warning", "policy %s reads the clock: devices take the collection anew whenever the time"
							" that it computes has changed, and those that keep a number at every pull", name);
	}
	table_close(rel, NoLock);
}
