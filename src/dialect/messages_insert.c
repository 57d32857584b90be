/*
 * messages_insert.c
 *		Writing the foreign table of messages: its rows are collected, and pushed when the statement ends.
 *
 * All of them or none, because that is what such a client expects of a table; it sends them one by one then.
 */
#include "postgres.h"

#include "base/compat.h"
#include "dialect/messages.h"
#include "dialect/refusal.h"
#include "executor/executor.h"
#include "foreign/fdwapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

typedef struct MessageInsert
{
	AttrNumber	attnums[OFS_FIELDS];
	MemoryContext context;
	OfsPushedMessage *messages;
	int			count;
	int			room;
} MessageInsert;

static int
updatable(Relation rel)
{
	return 1 << CMD_INSERT;
}

static void
begin_modify(ModifyTableState *state, ResultRelInfo *info, List *private, int subplan, int eflags)
{
	MessageInsert *modify;

	if (state->operation != CMD_INSERT)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("messages can only be inserted"),
				 errdetail("They tell of what the tables hold.")));
	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	modify = palloc0(sizeof(MessageInsert));
	modify->context = CurrentMemoryContext;
	modify->room = 64;
	modify->messages = palloc(sizeof(OfsPushedMessage) * modify->room);
	ofs_message_fields(info->ri_RelationDesc, modify->attnums);
	info->ri_FdwState = modify;
}

static const char *
get_text(const MessageInsert *modify, TupleTableSlot *slot, OfsMessageField field)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, modify->attnums[field], &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static TupleTableSlot *
insert_row(EState *estate, ResultRelInfo *info, TupleTableSlot *slot, TupleTableSlot *planned)
{
	MessageInsert *modify = info->ri_FdwState;
	OfsPushedMessage *message;
	MemoryContext old;

	old = MemoryContextSwitchTo(modify->context);
	message = ofs_messages_add(&modify->messages, &modify->count, &modify->room);
	message->id = get_text(modify, slot, OFS_FIELD_ID);
	message->table_name = get_text(modify, slot, OFS_FIELD_TABLE);
	message->row = get_text(modify, slot, OFS_FIELD_ROW);
	message->column_name = get_text(modify, slot, OFS_FIELD_COLUMN);
	message->data_type = get_text(modify, slot, OFS_FIELD_DATA_TYPE);
	message->value = get_text(modify, slot, OFS_FIELD_VALUE);
	message->local_timestamp = get_text(modify, slot, OFS_FIELD_LOCAL_TIMESTAMP);
	message->user_id = get_text(modify, slot, OFS_FIELD_USER);
	MemoryContextSwitchTo(old);
	return slot;
}

/* Why, which may quote a value, the client alone is told; the server log gets the SQLSTATE. */
static void
refuse(const OfsPushedMessage *message)
{
	MemoryContext context = CurrentMemoryContext;

	ereport(LOG_SERVER_ONLY,
			(errhidestmt(true), errhidecontext(true),
			 errmsg("push failed with SQLSTATE %s", unpack_sql_state(message->code))));
	PG_TRY();
	{
		ereport(ERROR,
				(errcode(message->code),
				 errmsg_internal("%s", message->reason),
				 message->id ? errdetail("The message is \"%s\".", message->id) : 0));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		error->output_to_server = false;
		ReThrowError(error);
	}
	PG_END_TRY();
}

static void
push(void *arg)
{
	MessageInsert *modify = arg;

	ofs_messages_push(modify->messages, modify->count, true, "INSERT");
	for (int i = 0; i < modify->count; i++)
		if (modify->messages[i].reason)
			refuse(&modify->messages[i]);
}

/* All of them are here. */
static void
end_modify(EState *estate, ResultRelInfo *info)
{
	MessageInsert *modify = info->ri_FdwState;
	MemoryContext old;

	if (modify == NULL || modify->count == 0)
		return;
	old = MemoryContextSwitchTo(modify->context);
	PushActiveSnapshot(GetTransactionSnapshot());
	ofs_refusal_run(push, modify, ofs_refusal_code);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
}

static void
begin_insert(ModifyTableState *state, ResultRelInfo *info)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("messages can't be copied into a table, nor routed to it")));
}

void
ofs_messages_set_insert(struct FdwRoutine *routine)
{
	routine->IsForeignRelUpdatable = updatable;
	routine->BeginForeignModify = begin_modify;
	routine->ExecForeignInsert = insert_row;
	routine->EndForeignModify = end_modify;
	routine->BeginForeignInsert = begin_insert;
}
