/*
 * sqltext.c
 *		Pieces of generated SQL: everything qualified, everything quoted.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/sqltext.h"
#include "catalog/pg_operator.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

char *
ofs_equal_operator(Oid typid)
{
	Oid			oprid = lookup_type_cache(typid, TYPECACHE_EQ_OPR)->eq_opr;
	HeapTuple	tuple;
	Form_pg_operator form;
	char	   *text;

	if (!OidIsValid(oprid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not identify an equality operator for type %s",
						format_type_be(typid))));
	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(oprid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", oprid);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	text = psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(form->oprnamespace)), NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return text;
}

void
ofs_append_key_match(StringInfo out, const char *left, const char *right,
					 Oid relid, int nkey, const AttrNumber *key, const Oid *types)
{
	for (int i = 0; i < nkey; i++)
	{
		const char *column = quote_identifier(get_attname(relid, key[i], false));

		appendStringInfo(out, "%s%s.%s %s %s.%s", i > 0 ? " AND " : "",
						 left, column, ofs_equal_operator(types[i]), right, column);
	}
}
