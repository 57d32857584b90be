/*
 * setvalue.c
 *		Sets that rows are looked up in: from arrays to bytes and back.
 *
 * The bytes are those that the server keeps such values as, without their length words: nobody reads them but the
 * servers of one incarnation.
 */
#include "postgres.h"

#include "access/tupmacs.h"
#include "base/compat.h"
#include "catalog/setvalue.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

static void
take_element(OfsSetItem *item, Datum value, int16 typlen, bool typbyval)
{
	char	   *bytes;

	if (typbyval)
	{
		bytes = palloc0(sizeof(Datum));
		store_att_byval(bytes, value, typlen);
		item->data = bytes;
		item->len = typlen;
		return;
	}
	if (typlen != -1)
	{
		item->data = DatumGetPointer(value);
		item->len = typlen > 0 ? typlen : (int) strlen(item->data) + 1;
		return;
	}
	value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
	item->data = VARDATA_ANY(DatumGetPointer(value));
	item->len = VARSIZE_ANY_EXHDR(DatumGetPointer(value));
}

void
ofs_setvalue_take(const OfsSetFact *fact, Datum array, bool isnull, OfsSet *set)
{
	ArrayType  *values;
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int16		typlen;
	bool		typbyval;
	char		typalign;

	memset(set, 0, sizeof(*set));
	set->kind = OFS_SET_VALUES;
	set->is_null = isnull;
	if (!isnull)
	{
		values = DatumGetArrayTypeP(array);
		get_typlenbyvalalign(ARR_ELEMTYPE(values), &typlen, &typbyval, &typalign);
		deconstruct_array(values, ARR_ELEMTYPE(values), typlen, typbyval, typalign, &elements, &nulls, &count);
		set->items = palloc(sizeof(OfsSetItem) * Max(count, 1));
		for (int i = 0; i < count; i++)
		{
			if (nulls[i])
				set->has_null = set->has_null || !fact->exists;
			else
				take_element(&set->items[set->count++], elements[i], typlen, typbyval);
		}
	}
	ofs_set_finish(set);
}

void
ofs_setvalue_item(OfsSetItem *item, MemoryContext context, Datum value, Oid type)
{
	OfsSetItem	found;
	char	   *bytes;
	int16		typlen;
	bool		typbyval;

	get_typlenbyval(type, &typlen, &typbyval);
	take_element(&found, value, typlen, typbyval);
	bytes = MemoryContextAlloc(context, Max(found.len, (int) sizeof(Datum)));
	memcpy(bytes, found.data, found.len);
	item->data = bytes;
	item->len = found.len;
}

static Datum
make_element(const OfsSetItem *item, int16 typlen, bool typbyval)
{
	struct varlena *value;

	if (typbyval)
		return fetch_att(item->data, true, typlen);
	if (typlen != -1)
		return PointerGetDatum(item->data);
	value = palloc(item->len + VARHDRSZ);
	SET_VARSIZE(value, item->len + VARHDRSZ);
	memcpy(VARDATA(value), item->data, item->len);
	return PointerGetDatum(value);
}

Datum
ofs_setvalue_array(const OfsSetFact *fact, const OfsSetItem *items, int count, bool with_null)
{
	Datum	   *elements = palloc(sizeof(Datum) * (count + 1));
	bool	   *nulls = palloc0_array(bool, count + 1);
	int			total = count + (with_null ? 1 : 0);
	int			lower = 1;
	int16		typlen;
	bool		typbyval;
	char		typalign;

	get_typlenbyvalalign(fact->element_type, &typlen, &typbyval, &typalign);
	for (int i = 0; i < count; i++)
	{
		OfsSetItem	item = items[i];

		/* a value inside a cursor may stand anywhere, and fetching wants it aligned */
		if (typbyval)
			item.data = memcpy(palloc0(sizeof(Datum)), items[i].data, Min(items[i].len, (int) sizeof(Datum)));
		elements[i] = make_element(&item, typlen, typbyval);
	}
	nulls[count] = true;
	return PointerGetDatum(construct_md_array(elements, nulls, 1, &total, &lower, fact->element_type,
											  typlen, typbyval, typalign));
}
