/*
 * rehearse.c
 *		What offsync.explain runs with other rights than its caller's.
 *
 * An explanation runs what others wrote: policies, the functions in them, domains' checks.  None of it may get
 * the caller's rights, who often is a superuser, nor anybody's whom the caller could not become.  So it runs
 * as the role that is asked about, to which the caller could SET ROLE, or as the table's owner, whom the caller
 * is or stands above; always in a security-restricted operation, which has no way back to the caller; and in
 * a subtransaction that is undone, so that no setting and no write is left.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/query.h"
#include "base/spi.h"
#include "base/sqltext.h"
#include "base/trial.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "verify/explain.h"

Oid
ofs_explain_role(const char *name)
{
	Oid			role;

	if (name == NULL)
		return GetUserId();
	role = get_role_oid(name, false);
	if (!ofs_compat_may_become(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to explain as role \"%s\"", name),
				 errdetail("Policies would be evaluated with rights that you can't take on by SET ROLE.")));
	return role;
}

/* ---------- claims ---------- */

static List *
add_claim(List *claims, const char *name, const char *value, bool single)
{
	OfsClaim   *claim = palloc(sizeof(OfsClaim));

	claim->name = pstrdup(name);
	claim->value = pstrdup(value);
	claim->single = single;
	return lappend(claims, claim);
}

/* Is it one that can stand in a setting's name? */
static bool
is_plain(const char *name)
{
	if (name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] != '\0')
		return false;
	return name[0] != '\0' && !(name[0] >= '0' && name[0] <= '9');
}

/*
 * PostgREST gives the claims as one setting; its older releases gave each one by itself, and people's functions still look
 * for both.  A member that the claims lack must not be found in what the session has of its own.
 */
List *
ofs_explain_claims(const char *claims)
{
	static const char *const usual[] = {"sub", "role", "email"};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	Oid			type = TEXTOID;
	Datum		value;
	List	   *list = NIL;

	if (claims == NULL)
		return NIL;
	list = add_claim(list, "request.jwt.claims", claims, false);
	for (int i = 0; i < (int) lengthof(usual); i++)
		list = add_claim(list, psprintf("request.jwt.claim.%s", usual[i]), "", false);

	SPI_connect();
	value = CStringGetTextDatum(claims);
	if (SPI_execute_with_args("SELECT key, value FROM pg_catalog.json_each_text($1::pg_catalog.json)"
							  " WHERE value IS NOT NULL", 1, &type, &value, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the claims");
	old = MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

		if (is_plain(name))
			list = add_claim(list, psprintf("request.jwt.claim.%s", name),
							 SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2), true);
	}
	MemoryContextSwitchTo(old);
	SPI_finish();
	return list;
}

/* ---------- the bracket ---------- */

typedef struct Rehearsal
{
	OfsExplain *x;
	OfsExplainWork work;
	void	   *arg;
	Oid			user;
	int			flags;			/* of the security context */
	bool		as_role;
} Rehearsal;

static void
set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

static void
set_claims(const OfsExplain *x)
{
	ListCell   *lc;

	foreach(lc, x->claims)
	{
		OfsClaim   *claim = lfirst(lc);

		if (!(claim->single && x->together))
			set(claim->name, claim->value);
	}
}

static void
rehearse(void *arg)
{
	Rehearsal  *r = arg;
	Oid			user;
	int			sec_context;

	/* the subtransaction's end brings back the user and the settings */
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(r->user, sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION | r->flags);
	set("row_security", "on");
	if (r->as_role)
		set_claims(r->x);
	SPI_connect();
	r->work(r->x, r->arg);
	SPI_finish();
}

static const char *
run(Rehearsal *r)
{
	ErrorData  *error = ofs_trial_rehearse(rehearse, r);

	if (error == NULL)
		return NULL;
	/* a cancelled query or a lack of memory is no answer */
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES)
		ReThrowError(error);
	return psprintf("%s (%s)", error->message, unpack_sql_state(error->sqlerrcode));
}

const char *
ofs_explain_as_role(OfsExplain *x, OfsExplainWork work, void *arg)
{
	Rehearsal	r = {x, work, arg, x->role, 0, true};

	return run(&r);
}

const char *
ofs_explain_as_owner(OfsExplain *x, OfsExplainWork work, void *arg)
{
	Rehearsal	r = {x, work, arg, x->rel->rd_rel->relowner, SECURITY_NOFORCE_RLS, false};

	return run(&r);
}

/* ---------- statements about the key ---------- */

void
ofs_explain_append_key(OfsExplain *x, StringInfo sql, char alias, bool hidden)
{
	const OfsTable *table = x->table;

	for (int i = 0; i < table->nkey; i++)
	{
		const char *column = hidden ? psprintf("offsync$%c$%d", alias, table->key[i]) :
			psprintf("%c.%s", alias, quote_identifier(get_attname(table->relid, table->key[i], false)));
		const char *part = psprintf("$%d", i + 1);

		appendStringInfoString(sql, i > 0 ? " AND " : "");
		ofs_append_equal(sql, column, part, table->key_types[i]);
		ofs_append_same(sql, column, part, table->relid, table->key[i]);
	}
}

uint64
ofs_explain_select(OfsExplain *x, const char *sql, int limit)
{
	SPIPlanPtr	plan = ofs_query_prepare(psprintf("%s LIMIT %d", sql, limit), x->table->nkey, x->table->key_types);

	return ofs_query_run(plan, x->table->nkey, x->table->key_types, x->key, NULL, true, NULL);
}
