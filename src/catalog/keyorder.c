/*
 * keyorder.c
 *		The order of a table's keys, in SQL.
 */
#include "postgres.h"

#include "base/sqltext.h"
#include "catalog/keyorder.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

char *
ofs_keyorder_operator(const OfsTable *table)
{
	char	   *operator = NULL;

	for (int i = 0; i < table->nkey; i++)
	{
		Oid			oprid = lookup_type_cache(table->key_types[i], TYPECACHE_GT_OPR)->gt_opr;
		char	   *one = OidIsValid(oprid) ? ofs_operator_name(oprid) : NULL;

		if (one == NULL || !ofs_equal_is_same(table->relid, table->key[i]) ||
			(operator && strcmp(operator, one) != 0))
			return NULL;
		operator = one;
	}
	return operator;
}

void
ofs_keyorder_columns(StringInfo sql, const OfsTable *table, const char *alias)
{
	for (int i = 0; i < table->nkey; i++)
	{
		appendStringInfo(sql, "%s%s.%s", i > 0 ? ", " : "", alias,
						 quote_identifier(get_attname(table->relid, table->key[i], false)));
		if (getBaseType(table->key_types[i]) != table->key_types[i])
			appendStringInfo(sql, "::%s", ofs_base_type_name(table->key_types[i]));
	}
}

void
ofs_keyorder_by(StringInfo sql, const OfsTable *table, const char *alias)
{
	bool		compared = ofs_keyorder_operator(table) != NULL;

	appendStringInfoString(sql, compared ? "" : "ROW(");
	ofs_keyorder_columns(sql, table, alias);
	appendStringInfoString(sql, compared ? "" : ") USING OPERATOR(pg_catalog.*<)");
}
