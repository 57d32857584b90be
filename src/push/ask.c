/*
 * ask.c
 *		The strategy "function": the table's owner decides.
 *
 *		function(base jsonb, local jsonb, server jsonb) returns jsonb
 *
 * All three are records in the dialect json, whatever the device's is.
 *
 *	base	what is known of the row as the device saw it: columns that the record carries and didn't
 *			change, and columns that the server hasn't changed since.  What both changed isn't in it.
 *			NULL where nothing is known.
 *	local	what was sent; NULL where the record deletes the row
 *	server	the row as it is stored; NULL where it is deleted
 *
 * It returns the columns to write, any of them, sent or not; columns that it leaves out stay as they are.
 * NULL keeps the server's side; the JSON value null lets the row be deleted.
 * It runs as the caller, once per record in dispute, and again when its row changes meanwhile.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/query.h"
#include "catalog/pg_type.h"
#include "push/push.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

static OfsCodec *
plain_codec(PushColumn *column)
{
	if (column->plain == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(column->codec));

		column->plain = ofs_codec_create(column->typid, column->typmod, OFS_DIALECT_JSON);
		MemoryContextSwitchTo(old);
	}
	return column->plain;
}

/* ---------- the arguments ---------- */

static void
append_member(StringInfo out, PushColumn *column, Datum value, bool isnull)
{
	appendStringInfoChar(out, out->len > 1 ? ',' : ' ');
	ofs_json_text(out, column->wire);
	appendStringInfoChar(out, ':');
	ofs_codec_write(plain_codec(column), out, value, isnull);
}

static void
append_id(StringInfo out, const PushTable *table, const PushItem *item)
{
	StringInfoData id;

	initStringInfo(&id);
	ofs_key_write(table->key, &id, item->key);
	appendStringInfoString(out, "{\"id\":");
	ofs_json_string(out, id.data, id.len);
}

static void
append_sent(StringInfo out, Push *push, PushColumn *column, const PushValue *value)
{
	bool		isnull;
	Datum		datum;

	push->place.column = column->wire;
	datum = ofs_codec_read(column->codec, value->sent, &isnull);
	push->place.column = NULL;
	append_member(out, column, datum, isnull);
}

static Datum
finish(StringInfo out)
{
	appendStringInfoChar(out, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out->data));
}

static Datum
make_local(Push *push, PushTable *table, PushItem *item)
{
	StringInfoData out;

	initStringInfo(&out);
	append_id(&out, table, item);
	for (int i = 0; i < item->nvalues; i++)
		append_sent(&out, push, &table->columns[item->values[i].column], &item->values[i]);
	return finish(&out);
}

static Datum
make_server(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls)
{
	StringInfoData out;

	initStringInfo(&out);
	append_id(&out, table, item);
	for (int i = 0; i < table->ncolumns; i++)
	{
		PushColumn *column = &table->columns[i];

		if (column->position >= 0)
			append_member(&out, column, values[column->position], nulls[column->position]);
	}
	return finish(&out);
}

static const PushValue *
find_sent(const PushItem *item, int column)
{
	for (int i = 0; i < item->nvalues; i++)
	{
		if (item->values[i].column == column)
			return &item->values[i];
	}
	return NULL;
}

/* False where nothing is known. */
static bool
make_base(Push *push, PushTable *table, PushItem *item, Datum *values, bool *nulls, Datum *base)
{
	OfsHistory *history = item->row ? ofs_merge_history(table, item) : NULL;
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (int i = 0; i < table->ncolumns; i++)
	{
		PushColumn *column = &table->columns[i];
		const PushValue *value = find_sent(item, i);

		if (column->wire == NULL || column->stamp || column->keypart >= 0)
			continue;
		if (value != NULL && !value->changed)
			append_sent(&out, push, column, value);
		else if (history != NULL && column->position >= 0 &&
				 !ofs_merge_touched(push, table, item, history, i))
			append_member(&out, column, values[column->position], nulls[column->position]);
	}
	if (out.len == 1)
		return false;
	*base = finish(&out);
	return true;
}

/* ---------- the call ---------- */

/* NULL where the function returned NULL; in the caller's context. */
static Jsonb *
call(PushTable *table, Datum *args, const char *nulls)
{
	Oid			argtypes[3] = {JSONBOID, JSONBOID, JSONBOID};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	Jsonb	   *result = NULL;
	Datum		datum;
	bool		isnull;

	if (table->function == NULL)
		table->function = ofs_query_prepare(psprintf("SELECT %s($1, $2, $3)", table->table->merge_function),
											3, argtypes);
	if (ofs_query_run(table->function, 3, argtypes, args, nulls, false, NULL) != 1)
		elog(ERROR, "a function returned no row");
	datum = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	old = MemoryContextSwitchTo(context);
	if (!isnull)
		result = DatumGetJsonbPCopy(datum);
	SPI_freetuptable(SPI_tuptable);
	MemoryContextSwitchTo(old);
	return result;
}

/* ---------- the answer ---------- */

static OfsJsonValue
json_value(JsonbValue *value)
{
	OfsJsonValue result = {OFS_JSON_NULL, 0, NULL};

	switch (value->type)
	{
		case jbvNull:
			return result;
		case jbvBool:
			result.kind = value->val.boolean ? OFS_JSON_TRUE : OFS_JSON_FALSE;
			return result;
		case jbvString:
			result.kind = OFS_JSON_STRING;
			result.text = pnstrdup(value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			result.kind = OFS_JSON_NUMBER;
			result.text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			break;
		default:
			result.kind = OFS_JSON_NESTED;
			result.text = JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
	}
	result.len = strlen(result.text);
	return result;
}

/* Write the column, unless it is stored so. */
static void
take_column(Push *push, PushTable *table, PushItem *item, int number, JsonbValue *returned,
			Datum *values, bool *nulls)
{
	PushColumn *column = &table->columns[number];
	OfsCodec   *codec = plain_codec(column);
	OfsJsonValue sent = json_value(returned);
	PushValue  *value;

	push->place.column = column->wire;
	if (item->row != NULL && column->position >= 0 &&
		ofs_codec_same(codec, &sent, values[column->position], nulls[column->position]))
		return;
	value = ofs_upsert_value(table, item, number);
	value->datum = ofs_codec_read(codec, &sent, &value->isnull);
	value->ready = true;
	if (item->row != NULL || !(value->isnull && column->defaults))
		item->writes = bms_add_member(item->writes, number);
	push->place.column = NULL;
}

static void
take_columns(Push *push, PushTable *table, PushItem *item, Jsonb *returned, Datum *values, bool *nulls)
{
	item->writes = NULL;
	ofs_upsert_final(item);
	for (int i = 0; i < table->ncolumns; i++)
	{
		const PushColumn *column = &table->columns[i];
		JsonbValue	room;
		JsonbValue *member;

		if (column->wire == NULL || !column->writable)
			continue;
		member = getKeyJsonValueFromContainer(&returned->root, column->wire, strlen(column->wire), &room);
		if (member != NULL)
			take_column(push, table, item, i, member, values, nulls);
	}
	if (item->row == NULL)
		item->action = PUSH_INSERT;
	else if (item->writes != NULL)
		item->action = PUSH_UPDATE;
}

static bool
is_json_null(Jsonb *json)
{
	JsonbValue	value;

	return JB_ROOT_IS_SCALAR(json) && JsonbExtractScalar(&json->root, &value) && value.type == jbvNull;
}

static void
take_answer(Push *push, PushTable *table, PushItem *item, Jsonb *returned, Datum *values, bool *nulls)
{
	item->action = PUSH_NONE;
	if (returned != NULL && JB_ROOT_IS_OBJECT(returned))
		take_columns(push, table, item, returned, values, nulls);
	else if (returned != NULL && !is_json_null(returned))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("function %s must return a JSON object, or null", table->table->merge_function)));
	else if (returned != NULL && item->row != NULL && !item->gone)
		item->action = PUSH_DELETE;
	if (item->action == PUSH_NONE || item->action == PUSH_DELETE)
		item->writes = NULL;
	if (item->action == PUSH_NONE)
		item->kept = push->kept = true;
}

/* Let the function decide; values and nulls have room for the row's. */
void
ofs_ask_function(Push *push, PushTable *table, PushItem *item, bool deletes, Datum *values, bool *nulls)
{
	Datum		args[3] = {0};
	char		absent[3] = {'n', 'n', 'n'};

	push->place.table = table;
	push->place.id = item->id;
	push->place.item = item;
	if (item->row != NULL)
	{
		ofs_rows_deform(table, item->row, values, nulls);
		args[2] = make_server(push, table, item, values, nulls);
		absent[2] = ' ';
	}
	if (!deletes)
	{
		args[1] = make_local(push, table, item);
		absent[1] = ' ';
	}
	if (make_base(push, table, item, values, nulls, &args[0]))
		absent[0] = ' ';
	take_answer(push, table, item, call(table, args, absent), values, nulls);
	memset(&push->place, 0, sizeof(PushPlace));
}
