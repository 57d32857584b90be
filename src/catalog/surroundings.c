/*
 * surroundings.c
 *		What a function may ask about its caller without being told.
 *
 * A function that a policy calls with row values can read settings (claims among them) and the caller's roles by itself,
 * so that no part of the policy's expression says who is asking.  Where such a policy is followed,
 * all of that goes into the cursor's fingerprint.  Of a subquery everything is known but which of the policies of the
 * tables it reads are the caller's, and that is a matter of roles.
 *
 * Settings are those with a class in their name that somebody has set, as PostgREST and set_config() leave them,
 * and the few that decide how times are read and written.  What describes the request and not the
 * caller is left out: the method and path, the headers and cookies.  A refreshed token with the same identity is
 * the same caller, so the claims that change with every token are left out, too.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "catalog/pg_auth_members.h"
#include "catalog/surroundings.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/jsonb.h"
#include "utils/syscache.h"

static void
append_text(StringInfo out, const char *text)
{
	appendBinaryStringInfo(out, text, strlen(text) + 1);
}

/* ---------- settings ---------- */

static bool
is_one_of(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (pg_strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

/* JSON claims without those of the token itself; NULL where it is no object. */
static char *
lasting_claims(const char *claims)
{
	static const char *const passing[] = {"exp", "iat", "nbf", "jti", "auth_time", "session_id", "amr", "aal"};
	Datum		jsonb;

	/* whoever has set it to what is no JSON has set it to a text */
	if (claims[strspn(claims, " \t\r\n")] != '{' || pg_parse_json(ofs_compat_json_lexer(claims, strlen(claims), true), &nullSemAction) != JSON_SUCCESS)
		return NULL;
	jsonb = DirectFunctionCall1(jsonb_in, CStringGetDatum(claims));
	for (int i = 0; i < (int) lengthof(passing); i++)
		jsonb = DirectFunctionCall2(jsonb_delete, jsonb, CStringGetTextDatum(passing[i]));
	return JsonbToCString(NULL, &DatumGetJsonbP(jsonb)->root, VARSIZE(DatumGetPointer(jsonb)));
}

static void
append_setting(StringInfo out, const char *name)
{
	static const char *const request[] = {
		"request.method", "request.path", "request.headers", "request.cookies", "request.jwt.claim.exp",
		"request.jwt.claim.iat", "request.jwt.claim.nbf", "request.jwt.claim.jti", "request.jwt.claim.session_id"
	};
	const char *value;
	char	   *claims;

	if (is_one_of(name, request, lengthof(request)))
		return;
	value = GetConfigOption(name, true, false);
	/* what a transaction has set is empty, and no longer unset, in those that follow it */
	if (value == NULL || *value == '\0')
		return;
	claims = pg_strcasecmp(name, "request.jwt.claims") == 0 ? lasting_claims(value) : NULL;
	append_text(out, name);
	append_text(out, claims ? claims : value);
}

/* ---------- roles ---------- */

static int
compare_oids(const ListCell *a, const ListCell *b)
{
	return a->oid_value < b->oid_value ? -1 : a->oid_value > b->oid_value;
}

static void
append_roles(StringInfo out)
{
	List	   *roles = list_make1_oid(GetUserId());
	ListCell   *lc;

	foreach(lc, roles)
	{
		CatCList   *members = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(lfirst_oid(lc)));

		for (int i = 0; i < members->n_members; i++)
			roles = list_append_unique_oid(roles, ((Form_pg_auth_members)
												   GETSTRUCT(&members->members[i]->tuple))->roleid);
		ReleaseCatCacheList(members);
	}
	list_sort(roles, compare_oids);
	foreach(lc, roles)
		append_text(out, GetUserNameFromId(lfirst_oid(lc), true) ? GetUserNameFromId(lfirst_oid(lc), true) : "");
}

void
ofs_surroundings_append(StringInfo out, bool settings)
{
	static const char *const formats[] = {
		"TimeZone", "DateStyle", "IntervalStyle", "lc_time", "extra_float_digits", "bytea_output"
	};
	struct config_generic **all;
	int			count = settings ? ofs_compat_settings(&all) : 0;

	append_text(out, GetUserNameFromId(GetSessionUserId(), false));
	append_roles(out);
	for (int i = 0; i < (int) lengthof(formats); i++)
		append_text(out, GetConfigOption(formats[i], false, false));
	for (int i = 0; i < count; i++)
		if (strchr(all[i]->name, '.') != NULL && strncmp(all[i]->name, "offsync.", 8) != 0 &&
			all[i]->source > PGC_S_DEFAULT)
			append_setting(out, all[i]->name);
	append_text(out, "");
}
