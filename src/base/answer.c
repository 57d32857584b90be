/*
 * answer.c
 *		Functions that tell a table's owner something in rows of two texts.
 */
#include "postgres.h"

#include "base/answer.h"
#include "base/compat.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_authid.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

void
ofs_answer_say(ReturnSetInfo *answer, const char *what, const char *fmt,...)
{
	StringInfoData detail;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	initStringInfo(&detail);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, fmt);
		needed = appendStringInfoVA(&detail, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&detail, needed);
	}
	values[0] = CStringGetTextDatum(what);
	values[1] = CStringGetTextDatum(detail.data);
	tuplestore_putvalues(answer->setResult, answer->setDesc, values, nulls);
	pfree(detail.data);
}

bool
ofs_answer_is_watcher(void)
{
	Oid			user = GetUserId();

	return has_privs_of_role(user, ROLE_PG_MONITOR) ||
		ofs_compat_owns_extension(get_extension_oid("offsync", false), user);
}

void
ofs_answer_require_watcher(const char *what)
{
	if (!ofs_answer_is_watcher())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for %s", what),
				 errdetail("It is for the owner of extension %s and the members of %s.", "offsync", "pg_monitor")));
}

void
ofs_answer_require_owner(Oid relid)
{
	char		relkind = get_rel_relkind(relid);

	if (relkind == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	if (!ofs_compat_owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(relkind), get_rel_name(relid));
}
