/*
 * codec_nested.c
 *		Arrays and composites as JSON arrays and objects.
 *
 * The json dialect writes them so; both dialects read them so, beside the
 * text form that a string holds.  A pushed value comes as raw JSON text, and
 * each level of it is split into its direct members, which the codec of the
 * element or field then reads.  Depth is bounded by the column's type, so
 * text is scanned only a few times.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "base/codec_internal.h"
#include "base/compat.h"
#include "base/jsonsplit.h"

/* The first significant character of a nested value: '{' or '['. */
static bool
is_json_array(const OfsJsonValue *value)
{
	return value->kind == OFS_JSON_NESTED && value->text[strspn(value->text, " \t\r\n")] == '[';
}

/* Arrays */

/* Write the elements from *next on that make up dimension dim. */
static void
write_dimension(OfsCodec *codec, StringInfo out, int dim, int ndims, const int *dims,
				const Datum *values, const bool *nulls, int *next)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < dims[dim]; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		if (dim + 1 < ndims)
			write_dimension(codec, out, dim + 1, ndims, dims, values, nulls, next);
		else
		{
			ofs_codec_write(codec->element, out, values[*next], nulls[*next]);
			(*next)++;
		}
	}
	appendStringInfoChar(out, ']');
}

static void
write_array(OfsCodec *codec, StringInfo out, Datum value)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	OfsCodec   *element = codec->element;
	Datum	   *values;
	bool	   *nulls;
	int			count;
	int			next = 0;

	if (ARR_NDIM(array) == 0)
	{
		appendStringInfoString(out, "[]");
		return;
	}
	deconstruct_array(array, ARR_ELEMTYPE(array), element->typlen, element->typbyval,
					  codec->elemalign, &values, &nulls, &count);
	write_dimension(codec, out, 0, ARR_NDIM(array), ARR_DIMS(array), values, nulls, &next);
	pfree(values);
	pfree(nulls);
	if ((Pointer) array != DatumGetPointer(value))
		pfree(array);
}

/* An array being read. */
typedef struct ArrayRead
{
	OfsCodec   *element;
	int			ndims;			/* 0 = not known yet */
	int			dims[MAXDIM];
	Datum	   *values;
	bool	   *nulls;
	int			count;
	int			room;
} ArrayRead;

static void
ragged_array(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("malformed JSON array"),
			 errdetail("Multidimensional arrays must have sub-arrays with matching dimensions.")));
}

static void
read_element(ArrayRead *read, const OfsJsonValue *value)
{
	if (read->count == read->room)
	{
		read->room = Max(16, read->room * 2);
		if (read->values == NULL)
		{
			read->values = palloc(read->room * sizeof(Datum));
			read->nulls = palloc(read->room * sizeof(bool));
		}
		else
		{
			read->values = repalloc_huge(read->values, read->room * sizeof(Datum));
			read->nulls = repalloc_huge(read->nulls, read->room * sizeof(bool));
		}
	}
	read->values[read->count] = ofs_codec_read(read->element, value, &read->nulls[read->count]);
	read->count++;
}

/*
 * Is a nested element a further dimension?  Elements of a JSON type are whole
 * values, whatever they hold; any other element is never a JSON array itself.
 */
static bool
is_dimension(const ArrayRead *read, const OfsJsonValue *value)
{
	return is_json_array(value) &&
		read->element->basetype != JSONOID && read->element->basetype != JSONBOID;
}

static void
read_dimension(ArrayRead *read, int dim, const OfsJsonValue *array)
{
	OfsJsonMember *members;
	int			count = ofs_json_split(array, &members);
	bool		deeper = count > 0 && is_dimension(read, &members[0].value);

	if (dim >= MAXDIM)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("number of array dimensions exceeds the maximum allowed (%d)", MAXDIM)));
	if (read->dims[dim] < 0)
		read->dims[dim] = count;
	else if (read->dims[dim] != count)
		ragged_array();
	if (!deeper)
	{
		if (read->ndims == 0)
			read->ndims = dim + 1;
		else if (read->ndims != dim + 1)
			ragged_array();
	}
	for (int i = 0; i < count; i++)
	{
		if (is_dimension(read, &members[i].value) != deeper)
			ragged_array();
		if (deeper)
			read_dimension(read, dim + 1, &members[i].value);
		else
			read_element(read, &members[i].value);
	}
}

static Datum
read_array(OfsCodec *codec, const OfsJsonValue *pushed)
{
	ArrayRead	read = {0};
	int			lower[MAXDIM];
	OfsCodec   *element = codec->element;

	/* text forms, and what is no array: the input function's affair */
	if (!is_json_array(pushed))
		return ofs_codec_read_text(codec, pushed);

	read.element = element;
	for (int i = 0; i < MAXDIM; i++)
	{
		read.dims[i] = -1;
		lower[i] = 1;
	}
	read_dimension(&read, 0, pushed);
	if (read.count == 0)
		return PointerGetDatum(construct_empty_array(element->typid));
	return PointerGetDatum(construct_md_array(read.values, read.nulls, read.ndims, read.dims,
											  lower, element->typid, element->typlen,
											  element->typbyval, codec->elemalign));
}

void
ofs_nested_init_array(OfsCodec *codec, Oid elemtype)
{
	int16		len;
	bool		byval;

	/* the modifier of an array type is that of its elements */
	codec->element = ofs_codec_create(elemtype, codec->typmod, codec->dialect);
	get_typlenbyvalalign(elemtype, &len, &byval, &codec->elemalign);
	codec->read = read_array;
	if (OFS_DIALECT_IS_JSON(codec->dialect))
		codec->write = write_array;
}

/* Composites */

/* The field codecs, made anew when the type was altered since. */
static void
refresh_row(OfsCodec *codec)
{
	uint64		identifier = assign_record_type_identifier(codec->basetype, -1);
	MemoryContext old;
	TupleDesc	desc;

	if (identifier == codec->row_identifier)
		return;
	codec->row_identifier = 0;	/* stays so if an error strikes half way */
	MemoryContextReset(codec->row_context);
	old = MemoryContextSwitchTo(codec->row_context);
	desc = lookup_rowtype_tupdesc(codec->basetype, -1);
	codec->row_desc = CreateTupleDescCopyConstr(desc);
	ReleaseTupleDesc(desc);
	codec->fields = palloc0(codec->row_desc->natts * sizeof(OfsCodec *));
	for (int i = 0; i < codec->row_desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(codec->row_desc, i);

		if (!att->attisdropped)
			codec->fields[i] = ofs_codec_create(att->atttypid, att->atttypmod, codec->dialect);
	}
	MemoryContextSwitchTo(old);
	codec->row_identifier = identifier;
}

static void
write_row(OfsCodec *codec, StringInfo out, Datum value)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	HeapTupleData tuple;
	Datum	   *values;
	bool	   *nulls;
	char		separator = '{';

	refresh_row(codec);
	values = palloc(codec->row_desc->natts * sizeof(Datum));
	nulls = palloc(codec->row_desc->natts * sizeof(bool));
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, codec->row_desc, values, nulls);

	for (int i = 0; i < codec->row_desc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(codec->row_desc, i)->attname);

		if (codec->fields[i] == NULL)
			continue;
		appendStringInfoChar(out, separator);
		separator = ',';
		ofs_json_text(out, name);
		appendStringInfoChar(out, ':');
		ofs_codec_write(codec->fields[i], out, values[i], nulls[i]);
	}
	if (separator == '{')
		appendStringInfoChar(out, '{');
	appendStringInfoChar(out, '}');
}

static Datum
read_row(OfsCodec *codec, const OfsJsonValue *pushed)
{
	static const OfsJsonValue absent = {OFS_JSON_NULL, 0, NULL};
	OfsJsonMember *members;
	Datum	   *values;
	bool	   *nulls;
	int			count;

	if (pushed->kind != OFS_JSON_NESTED || is_json_array(pushed))
		return ofs_codec_read_text(codec, pushed);

	refresh_row(codec);
	count = ofs_json_split(pushed, &members);
	values = palloc0(codec->row_desc->natts * sizeof(Datum));
	nulls = palloc0(codec->row_desc->natts * sizeof(bool));
	for (int i = 0; i < codec->row_desc->natts; i++)
	{
		const OfsJsonValue *value;

		nulls[i] = true;
		if (codec->fields[i] == NULL)
			continue;
		value = ofs_json_member(members, count, NameStr(TupleDescAttr(codec->row_desc, i)->attname));
		values[i] = ofs_codec_read(codec->fields[i], value != NULL ? value : &absent, &nulls[i]);
	}
	return HeapTupleGetDatum(heap_form_tuple(codec->row_desc, values, nulls));
}

void
ofs_nested_init_row(OfsCodec *codec)
{
	codec->row_context = AllocSetContextCreate(CurrentMemoryContext, "offsync composite codec",
											   ALLOCSET_SMALL_SIZES);
	codec->read = read_row;
	if (OFS_DIALECT_IS_JSON(codec->dialect))
		codec->write = write_row;
}
