/*
 * refuse.c
 *		How a push fails.
 *
 * An error keeps its SQLSTATE, message and hint, and gets the record's place as the first sentence of
 * its detail.  Two kinds are reworded.  A record that row-level security keeps the caller from writing
 * gets one wording, whether its row exists out of the caller's sight or not.  And
 * serialization failures become conflicts, because there are gateways that repeat those for ever.
 *
 * The server log is not the client: no id and no value goes there.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "base/errors.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "push/push.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

OFS_NORETURN static void
refuse_hidden(Push *push, const PushTable *table, const char *id)
{
	push->told = true;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("a record of collection \"%s\" was refused", table->name),
			 errdetail("Row-level security or privileges do not let you write record \"%s\".", id),
			 errdetail_log("Row-level security or privileges do not let it be written.")));
}

void
ofs_refuse_record(Push *push, PushTable *table, PushItem *item)
{
	push->place.table = table;
	push->place.item = item;
	refuse_hidden(push, table, item->id);
}

void
ofs_refuse_changing(Push *push)
{
	push->told = true;
	ereport(ERROR,
			(errcode(ERRCODE_OFS_CONFLICT),
			 errmsg("records were changed on the server while they were pushed"),
			 errhint("Pull, then push again.")));
}

/*
 * Was the error raised by the policies?  No SQLSTATE tells it from a missing privilege or an error
 * that a trigger of the owner's raised, both of which are worth reading.
 */
static bool
is_policy_violation(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE &&
		error->funcname != NULL && strcmp(error->funcname, "ExecWithCheckOptions") == 0;
}

static bool
is_key_column(const PushTable *table, const char *name)
{
	for (int i = 0; i < table->table->nkey; i++)
	{
		if (strcmp(table->key_names[i], name) == 0)
			return true;
	}
	return false;
}

/* Does the index, of the table or of one of its partitions, keep the key unique? */
static bool
is_key_index(const PushTable *table, Oid indexid)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexid));
	Form_pg_index index;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	index = (Form_pg_index) GETSTRUCT(tuple);
	result = index->indnkeyatts == table->table->nkey;
	for (int i = 0; result && i < index->indnkeyatts; i++)
	{
		char	   *name = get_attname(index->indrelid, index->indkey.values[i], true);

		result = name != NULL && is_key_column(table, name);
	}
	ReleaseSysCache(tuple);
	return result;
}

/* Did the record meet a row of its key that its caller doesn't see? */
static bool
is_hidden_row(const PushTable *table, const ErrorData *error)
{
	Oid			schema;

	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION ||
		error->schema_name == NULL || error->constraint_name == NULL)
		return false;
	schema = get_namespace_oid(error->schema_name, true);
	return OidIsValid(schema) &&
		is_key_index(table, get_relname_relid(error->constraint_name, schema));
}

/* One wording for rows that the caller may not write and rows that it may not know of. */
bool
ofs_refuse_hidden(const PushTable *table, const ErrorData *error)
{
	return is_policy_violation(error) || is_hidden_row(table, error);
}

/* Is it worth finding out which record an error is about? */
bool
ofs_refuse_nameless(const Push *push, const ErrorData *error)
{
	if (push->told || push->place.id != NULL)
		return false;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		default:
			return true;
	}
}

/* Put the record's place before the detail; the server log gets nothing of the record's data. */
static void
name_place(const PushPlace *place, ErrorData *error)
{
	const char *column = place->column ? place->column : error->column_name;
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfo(&detail, _("Collection \"%s\""), place->table->name);
	error->detail_log = psprintf("%s.", detail.data);
	appendStringInfo(&detail, _(", record \"%s\""), place->id);
	if (column != NULL)
		appendStringInfo(&detail, _(", column \"%s\""), column);
	appendStringInfoChar(&detail, '.');
	if (error->detail != NULL && error->sqlerrcode != ERRCODE_INSUFFICIENT_PRIVILEGE)
		appendStringInfo(&detail, " %s", error->detail);
	error->detail = detail.data;
}

/* What is wrong with a value is said by quoting it: that is for the client alone. */
static void
keep_from_log(const Push *push, ErrorData *error)
{
	error->output_to_server = false;
	ereport(LOG_SERVER_ONLY,
			(errhidestmt(true), errhidecontext(true),
			 errmsg("push failed with SQLSTATE %s", unpack_sql_state(error->sqlerrcode)),
			 push->place.table ? errdetail("Collection \"%s\".", push->place.table->name) : 0));
}

/* Raise an attempt's error, which stands in the current memory context, as the client is to see it. */
void
ofs_refuse_raise(Push *push, ErrorData *error)
{
	const PushPlace *place = &push->place;

	if (error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE)
		ofs_refuse_changing(push);
	if (!push->told && place->id != NULL)
	{
		if (ofs_refuse_hidden(place->table, error))
			refuse_hidden(push, place->table, place->id);
		name_place(place, error);
	}
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_DATA_EXCEPTION && error->output_to_server)
		keep_from_log(push, error);
	ReThrowError(error);
}
