/*
 * messages_value.c
 *		Values of messages: each is a text, and beside it stands what kind of value it is.
 *
 *	null		''
 *	bool		1, 0
 *	int			digits
 *	double		digits; a numeric stands there as it is, though its device will round it
 *	datetime	ISO 8601: in UTC, with a Z, where the column has a zone
 *	json		JSON text
 *	string		itself
 *
 * What is written depends on the column's type alone.  What is read goes by the column's type, too; data_type says whether
 * it is null, and, where the column is JSON, of which kind it is.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/jsonscan.h"
#include "base/put.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "dialect/messages.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* ---------- columns ---------- */

static const char *
data_type(Oid basetype)
{
	switch (basetype)
	{
		case BOOLOID:
			return "bool";
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return "int";
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			return "double";
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return "datetime";
		case JSONOID:
		case JSONBOID:
			return "json";
		case INT2VECTOROID:
		case OIDVECTOROID:
			return "string";
		default:
			return OidIsValid(get_element_type(basetype)) || get_typtype(basetype) == TYPTYPE_COMPOSITE ? "json" : "string";
	}
}

static OfsMessageColumn *
make_column(const OfsView *view, int index, Form_pg_attribute att)
{
	OfsMessageColumn *column = palloc0(sizeof(OfsMessageColumn));

	column->attnum = att->attnum;
	column->name = pstrdup(NameStr(att->attname));
	column->wire = view->names[index];
	column->index = index;
	column->data_type = data_type(getBaseType(att->atttypid));
	column->is_bool = strcmp(column->data_type, "bool") == 0;
	column->is_json = strcmp(column->data_type, "json") == 0;
	column->codec = ofs_codec_create(att->atttypid, att->atttypmod, OFS_DIALECT_JSON);
	return column;
}

/* Its clock says nothing of when a generated column changed. */
static bool
has_messages(const OfsTable *table, Form_pg_attribute att)
{
	if (att->attgenerated || att->attnum == table->created_at || att->attnum == table->updated_at ||
		att->attnum == table->version || att->attnum == table->created_version)
		return false;
	for (int i = 0; i < table->nkey; i++)
		if (att->attnum == table->key[i])
			return false;
	return true;
}

List *
ofs_message_columns(const OfsView *view)
{
	const OfsTable *table = view->table;
	Relation	rel = table_open(table->relid, AccessShareLock);
	List	   *columns = NIL;

	for (int i = 0; i < view->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), view->columns[i] - 1);

		if (has_messages(table, att))
			columns = lappend(columns, make_column(view, i, att));
	}
	table_close(rel, NoLock);
	return columns;
}

OfsMessageColumn *
ofs_message_column(List *columns, const char *name)
{
	ListCell   *lc;

	foreach(lc, columns)
		if (strcmp(((OfsMessageColumn *) lfirst(lc))->name, name) == 0)
			return lfirst(lc);
	return NULL;
}

/* ---------- out ---------- */

/* The codec's JSON as the text that is meant. */
static void
unquote(StringInfo text)
{
	OfsJsonScan scan;
	OfsJsonSlice slice;
	char	   *copy;

	if (text->data[0] != '"')
		return;
	if (memchr(text->data, '\\', text->len) == NULL)
	{
		text->len -= 2;
		memmove(text->data, text->data + 1, text->len);
		text->data[text->len] = '\0';
		return;
	}
	ofs_jsonscan_open(&scan, text->data, text->len);
	ofs_jsonscan_value(&scan, &slice);
	copy = pnstrdup(slice.text, slice.len);
	resetStringInfo(text);
	ofs_put_bytes(text, copy, slice.len);
	pfree(copy);
}

const char *
ofs_message_encode(OfsMessageColumn *column, StringInfo text, Datum value, bool isnull)
{
	resetStringInfo(text);
	if (isnull)
		return "null";
	if (column->is_bool)
	{
		ofs_put_char(text, DatumGetBool(value) ? '1' : '0');
		return column->data_type;
	}
	ofs_codec_write(column->codec, text, value, false);
	if (!column->is_json)
		unquote(text);
	return column->data_type;
}

/* ---------- in ---------- */

static bool
is_json(const char *text)
{
	JsonLexContext *lex = ofs_compat_json_lexer(text, strlen(text), false);

	return pg_parse_json(lex, &nullSemAction) == JSON_SUCCESS;
}

static bool
decode_json(const char *data_type, const char *text, OfsJsonValue *value)
{
	OfsJsonScan scan;
	OfsJsonSlice slice;

	if (strcmp(data_type, "string") == 0 || strcmp(data_type, "datetime") == 0)
		return true;
	if (strcmp(data_type, "bool") == 0 && (strcmp(text, "0") == 0 || strcmp(text, "1") == 0))
	{
		value->kind = text[0] == '1' ? OFS_JSON_TRUE : OFS_JSON_FALSE;
		return true;
	}
	if (!is_json(text))
		return false;
	ofs_jsonscan_open(&scan, text, strlen(text));
	ofs_jsonscan_value(&scan, &slice);
	value->kind = slice.kind;
	value->text = slice.text ? pnstrdup(slice.text, slice.len) : NULL;
	value->len = slice.len;
	return true;
}

bool
ofs_message_decode(const OfsMessageColumn *column, const char *data_type, const char *text, OfsJsonValue *value)
{
	memset(value, 0, sizeof(*value));
	value->kind = OFS_JSON_NULL;
	if (strcmp(data_type, "null") == 0 || (data_type[0] == '\0' && text[0] == '\0'))
		return true;
	value->kind = OFS_JSON_STRING;
	value->text = text;
	value->len = strlen(text);
	if (column->is_json)
		return decode_json(data_type, text, value);
	if (column->is_bool)
	{
		/* as their own reader has it */
		if (strcmp(text, "1") == 0 || pg_strcasecmp(text, "true") == 0)
			value->kind = OFS_JSON_TRUE;
		else if (strcmp(text, "0") == 0 || pg_strcasecmp(text, "false") == 0)
			value->kind = OFS_JSON_FALSE;
		return true;
	}
	/* numbers are compared as numbers, and 5.0 is an integer */
	if ((strcmp(column->data_type, "int") == 0 || strcmp(column->data_type, "double") == 0) &&
		IsValidJsonNumber(text, value->len))
		value->kind = OFS_JSON_NUMBER;
	return true;
}
