/*
 * sqltext.c
 *		Pieces of generated SQL: everything qualified, everything quoted.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/transam.h"
#include "base/sqltext.h"
#include "catalog/pg_operator.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* "character" alone would mean one of them */
const char *
ofs_base_type_name(Oid typid)
{
	return format_type_extended(getBaseType(typid), -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

/* Nobody renames PostgreSQL's own types: their names are kept. */
const char *
ofs_type_name(Oid typid)
{
	static HTAB *names = NULL;
	struct
	{
		Oid			typid;		/* hash key */
		char	   *name;
	}		   *entry;
	bool		found;
	char	   *name;

	if (typid >= FirstUnpinnedObjectId)
		return format_type_be_qualified(typid);
	if (names == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(*entry);
		names = hash_create("offsync type names", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(names, &typid, HASH_FIND, NULL);
	if (entry == NULL)
	{
		name = MemoryContextStrdup(TopMemoryContext, format_type_be_qualified(typid));
		entry = hash_search(names, &typid, HASH_ENTER, &found);
		entry->name = name;
	}
	return entry->name;
}

char *
ofs_operator_name(Oid oprid)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(oprid));
	Form_pg_operator form;
	char	   *text;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", oprid);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	text = psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(form->oprnamespace)), NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return text;
}

/* OPERATOR(schema.=) of the type's default btree class. */
static char *
equal_operator(Oid typid)
{
	Oid			oprid = lookup_type_cache(typid, TYPECACHE_EQ_OPR)->eq_opr;

	if (!OidIsValid(oprid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not identify an equality operator for type %s",
						format_type_be(typid))));
	return ofs_operator_name(oprid);
}

void
ofs_append_equal(StringInfo out, const char *left, const char *right, Oid typid)
{
	Oid			basetype = getBaseType(typid);
	const char *cast = "";

	/* what compares all enums or ranges doesn't find its way from a domain by itself */
	if (basetype != typid)
		cast = psprintf("::%s", ofs_base_type_name(typid));
	appendStringInfo(out, "%s%s %s %s%s", left, cast, equal_operator(typid), right, cast);
}

bool
ofs_equal_is_same(Oid relid, AttrNumber attnum)
{
	Oid			typid;
	int32		typmod;
	Oid			collation;
	Oid			function = InvalidOid;
	TypeCacheEntry *type;

	get_atttypetypmodcoll(relid, attnum, &typid, &typmod, &collation);
	type = lookup_type_cache(typid, TYPECACHE_BTREE_OPFAMILY);
	/* what lets a btree merge duplicates */
	if (OidIsValid(type->btree_opf))
		function = get_opfamily_proc(type->btree_opf, type->btree_opintype, type->btree_opintype,
									 BTEQUALIMAGE_PROC);
	return OidIsValid(function) &&
		DatumGetBool(OidFunctionCall1Coll(function, collation, ObjectIdGetDatum(type->btree_opintype)));
}

void
ofs_append_same(StringInfo out, const char *left, const char *right, Oid relid, AttrNumber attnum)
{
	const char *type;

	if (ofs_equal_is_same(relid, attnum))
		return;
	/* a tombstone has the base type where the table has a domain, and rows must be alike to be compared */
	type = ofs_base_type_name(get_atttype(relid, attnum));
	appendStringInfo(out, " AND pg_catalog.record_image_eq(ROW(%s::%s), ROW(%s::%s))",
					 left, type, right, type);
}

void
ofs_append_key_match(StringInfo out, const char *left, const char *right,
					 Oid relid, int nkey, const AttrNumber *key, const Oid *types)
{
	for (int i = 0; i < nkey; i++)
	{
		const char *column = quote_identifier(get_attname(relid, key[i], false));
		const char *left_key = psprintf("%s.%s", left, column);
		const char *right_key = psprintf("%s.%s", right, column);

		appendStringInfoString(out, i > 0 ? " AND " : "");
		ofs_append_equal(out, left_key, right_key, types[i]);
		ofs_append_same(out, left_key, right_key, relid, key[i]);
	}
}
