/*
 * unite.c
 *		Two values of one column, changed on both sides, made one.
 *
 * Nobody knows what the two came from.  So nothing that either side has can be taken as removed by
 * the other: objects have the members of both, arrays the server's elements and then those of the
 * client's that aren't there yet.  Where both have a member, and it isn't the same, it is united in
 * turn, and two scalars that differ contradict each other.
 */
#include "postgres.h"

#include "base/codec.h"
#include "base/unite.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

/* ---------- documents ---------- */

static bool unite_values(StringInfo out, JsonbValue *server, JsonbValue *client);

/* The text of any value, which is the same for equal values. */
static void
write_value(StringInfo out, JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			appendStringInfoString(out, "null");
			break;
		case jbvBool:
			appendStringInfoString(out, value->val.boolean ? "true" : "false");
			break;
		case jbvNumeric:
			appendStringInfoString(out, DatumGetCString(DirectFunctionCall1(numeric_out,
																			NumericGetDatum(value->val.numeric))));
			break;
		case jbvString:
			ofs_json_string(out, value->val.string.val, value->val.string.len);
			break;
		case jbvBinary:
			(void) JsonbToCString(out, value->val.binary.data, value->val.binary.len);
			break;
		default:
			elog(ERROR, "unexpected jsonb value of type %d", (int) value->type);
	}
}

/* A client that has doubles sends a number back as one. */
static bool
same_values(JsonbValue *a, JsonbValue *b)
{
	StringInfoData left;
	StringInfoData right;

	if (a->type == jbvNumeric && b->type == jbvNumeric)
		return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(a->val.numeric))) ==
			DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(b->val.numeric)));
	if (a->type != b->type)
		return false;
	initStringInfo(&left);
	initStringInfo(&right);
	write_value(&left, a);
	write_value(&right, b);
	return left.len == right.len && memcmp(left.data, right.data, left.len) == 0;
}

static bool
is_container(const JsonbValue *value, uint32 kind)
{
	return value->type == jbvBinary && (value->val.binary.data->header & kind) != 0;
}

static void
write_name(StringInfo out, bool *first, const JsonbValue *name)
{
	if (!*first)
		appendStringInfoChar(out, ',');
	*first = false;
	ofs_json_string(out, name->val.string.val, name->val.string.len);
	appendStringInfoChar(out, ':');
}

/* Append the members of one object: those of both are united, or left out when they stand already. */
static bool
write_members(StringInfo out, bool *first, JsonbContainer *from, JsonbContainer *other, bool unite)
{
	JsonbIterator *it = JsonbIteratorInit(from);
	JsonbValue	name;
	JsonbValue	value;
	JsonbValue	room;

	(void) JsonbIteratorNext(&it, &name, true);
	while (JsonbIteratorNext(&it, &name, true) == WJB_KEY)
	{
		JsonbValue *others = getKeyJsonValueFromContainer(other, name.val.string.val, name.val.string.len, &room);

		(void) JsonbIteratorNext(&it, &value, true);
		if (others != NULL && !unite)
			continue;
		write_name(out, first, &name);
		if (others == NULL)
			write_value(out, &value);
		else if (!unite_values(out, &value, others))
			return false;
	}
	return true;
}

static bool
unite_objects(StringInfo out, JsonbContainer *server, JsonbContainer *client)
{
	bool		first = true;

	appendStringInfoChar(out, '{');
	if (!write_members(out, &first, server, client, true))
		return false;
	(void) write_members(out, &first, client, server, false);
	appendStringInfoChar(out, '}');
	return true;
}

static int
read_elements(JsonbContainer *array, JsonbValue *elements)
{
	JsonbIterator *it = JsonbIteratorInit(array);
	JsonbValue	value;
	int			n = 0;

	(void) JsonbIteratorNext(&it, &value, true);
	while (JsonbIteratorNext(&it, &value, true) == WJB_ELEM)
		elements[n++] = value;
	return n;
}

static void
unite_elements(StringInfo out, JsonbContainer *server, JsonbContainer *client)
{
	int			room = JsonContainerSize(server) + JsonContainerSize(client);
	JsonbValue *elements = palloc(sizeof(JsonbValue) * (room + 1));
	JsonbValue *added = palloc(sizeof(JsonbValue) * (JsonContainerSize(client) + 1));
	int			n = read_elements(server, elements);
	int			nadded = read_elements(client, added);

	for (int i = 0; i < nadded; i++)
	{
		bool		found = false;

		for (int j = 0; j < n && !found; j++)
			found = same_values(&elements[j], &added[i]);
		if (!found)
			elements[n++] = added[i];
	}
	appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		write_value(out, &elements[i]);
	}
	appendStringInfoChar(out, ']');
}

static bool
unite_values(StringInfo out, JsonbValue *server, JsonbValue *client)
{
	check_stack_depth();
	if (is_container(server, JB_FOBJECT) && is_container(client, JB_FOBJECT))
		return unite_objects(out, server->val.binary.data, client->val.binary.data);
	if (is_container(server, JB_FARRAY) && is_container(client, JB_FARRAY))
		unite_elements(out, server->val.binary.data, client->val.binary.data);
	else if (same_values(server, client))
		write_value(out, server);
	else
		return false;
	return true;
}

static void
root_value(Jsonb *document, JsonbValue *value)
{
	if (JB_ROOT_IS_SCALAR(document))
	{
		(void) JsonbExtractScalar(&document->root, value);
		return;
	}
	value->type = jbvBinary;
	value->val.binary.data = &document->root;
	value->val.binary.len = VARSIZE(document) - VARHDRSZ;
}

static Jsonb *
read_document(Oid typid, Datum datum)
{
	if (typid == JSONOID)
		datum = DirectFunctionCall1(jsonb_in, CStringGetDatum(TextDatumGetCString(datum)));
	return DatumGetJsonbP(datum);
}

static bool
unite_documents(Oid typid, Datum server, Datum client, Datum *result)
{
	JsonbValue	left;
	JsonbValue	right;
	StringInfoData out;

	root_value(read_document(typid, server), &left);
	root_value(read_document(typid, client), &right);
	initStringInfo(&out);
	if (!unite_values(&out, &left, &right))
		return false;
	*result = typid == JSONOID ? PointerGetDatum(cstring_to_text_with_len(out.data, out.len)) :
		DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
	return true;
}

/* ---------- arrays ---------- */

static bool
unite_arrays(Oid element, Datum server, Datum client, Datum *result)
{
	ArrayType  *arrays[2] = {DatumGetArrayTypeP(server), DatumGetArrayTypeP(client)};
	Datum	   *elements[2];
	bool	   *nulls[2];
	int			count[2];
	int16		typlen;
	bool		typbyval;
	char		typalign;
	Datum	   *united;
	bool	   *united_nulls;
	int			n;
	int			lower = 1;

	/* those of more dimensions are matrices, not lists */
	if (ARR_NDIM(arrays[0]) > 1 || ARR_NDIM(arrays[1]) > 1)
		return datum_image_eq(server, client, false, -1);
	get_typlenbyvalalign(element, &typlen, &typbyval, &typalign);
	for (int i = 0; i < 2; i++)
		deconstruct_array(arrays[i], element, typlen, typbyval, typalign, &elements[i], &nulls[i], &count[i]);
	n = count[0];
	united = palloc(sizeof(Datum) * (count[0] + count[1] + 1));
	united_nulls = palloc(sizeof(bool) * (count[0] + count[1] + 1));
	memcpy(united, elements[0], sizeof(Datum) * n);
	memcpy(united_nulls, nulls[0], sizeof(bool) * n);
	for (int i = 0; i < count[1]; i++)
	{
		bool		found = false;

		for (int j = 0; j < n && !found; j++)
			found = united_nulls[j] == nulls[1][i] &&
				(nulls[1][i] || datum_image_eq(united[j], elements[1][i], typbyval, typlen));
		if (found)
			continue;
		united[n] = elements[1][i];
		united_nulls[n++] = nulls[1][i];
	}
	if (n == 0)
		*result = server;
	else
		*result = PointerGetDatum(construct_md_array(united, united_nulls, 1, &n, &lower,
													 element, typlen, typbyval, typalign));
	return true;
}

/* ---------- values ---------- */

bool
ofs_unite_knows(Oid typid)
{
	Oid			basetype = getBaseType(typid);

	return basetype == JSONOID || basetype == JSONBOID || OidIsValid(get_element_type(basetype));
}

bool
ofs_unite(Oid typid, Datum server, Datum client, Datum *result)
{
	Oid			basetype = getBaseType(typid);
	bool		united;

	if (basetype == JSONOID || basetype == JSONBOID)
		united = unite_documents(basetype, server, client, result);
	else
		united = unite_arrays(get_element_type(basetype), server, client, result);
	if (united && basetype != typid)
		domain_check(*result, false, typid, NULL, NULL);
	return united;
}
