/*
 * expose_messages.c
 *		offsync.expose: changes of single fields (dialect/messages.h).
 *
 * Two calls, and a foreign table for clients that read and write a table of that name.  It may be everybody's: what stands in it,
 * and what may be written, policies and grants of the synced tables decide for whoever asks.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "base/spi.h"
#include "base/sqltext.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "core/strategy.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "setup/expose.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#define SERVER	"offsync_messages"

static const OfsWrapper wrappers[] = {
	{
		"pull_messages", "pull_messages",
		"last_server_timestamp bigint, client_id text, user_id text",
		"last_server_timestamp bigint DEFAULT NULL, client_id text DEFAULT NULL, user_id text DEFAULT NULL",
		"STABLE",
		"Fields that changed since last_server_timestamp, as messages; without the device's own."
	},
	{
		"push_messages", "push_messages",
		"messages json",
		"messages json",
		"VOLATILE",
		"Store a device's messages: of each field the latest by their clocks wins; answers which are done with."
	},
};

/* ---------- the table ---------- */

static bool
is_ours(Oid relid)
{
	return get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE &&
		strcmp(GetForeignServer(GetForeignServerIdByRelId(relid))->servername, SERVER) == 0;
}

static void
make_table(const OfsExposeRequest *request)
{
	char	   *name = psprintf("%smessages", request->prefix);
	char	   *qualified = quote_qualified_identifier(get_namespace_name(request->schema), name);
	Oid			relid = get_relname_relid(name, request->schema);

	if (OidIsValid(relid) && !(request->replace && is_ours(relid)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation %s exists already", qualified),
				 is_ours(relid) ? errhint("Repeat with replace => true, or choose a prefix.")
				 : errhint("Choose a prefix or another schema.")));
	if (!OidIsValid(relid))
	{
		ofs_spi_run(false, "CREATE FOREIGN TABLE %s (id pg_catalog.text NOT NULL, table_name pg_catalog.text NOT NULL,"
					" \"row\" pg_catalog.text NOT NULL, \"column\" pg_catalog.text NOT NULL,"
					" data_type pg_catalog.text NOT NULL DEFAULT '', value pg_catalog.text NOT NULL,"
					" server_timestamp pg_catalog.int8, local_timestamp pg_catalog.text NOT NULL,"
					" user_id pg_catalog.text NOT NULL, client_id pg_catalog.text NOT NULL) SERVER " SERVER, qualified);
		ofs_spi_run(false, "COMMENT ON FOREIGN TABLE %s IS 'changes of single fields: to read it is to pull, to insert is to push'",
					qualified);
	}
	ofs_spi_run(false, "GRANT SELECT, INSERT ON %s TO PUBLIC", qualified);
	ofs_answer_say(request->answer, "table", "%s", qualified);
}

/* ---------- what suits ---------- */

/* NOT NULL columns that a row without them can't be made for. */
static void
check_columns(const OfsExposeRequest *request, const OfsTable *table)
{
	Relation	rel = table_open(table->relid, AccessShareLock);

	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);
		bool		is_key = false;

		for (int k = 0; k < table->nkey; k++)
			is_key = is_key || table->key[k] == att->attnum;
		if (is_key || att->attisdropped || !att->attnotnull || att->atthasdef || att->attidentity)
			continue;
		ofs_expose_warn(request, table, psprintf("column \"%s\" is NOT NULL and has no default: a new row is refused"
												 " until one batch of messages brings it along", NameStr(att->attname)));
	}
	table_close(rel, NoLock);
}

static void
suits(const OfsExposeRequest *request, const OfsTable *table)
{
	if (!ofs_strategy_find(table->conflict)->needs_clocks)
	{
		ofs_expose_warn(request, table, psprintf("its conflict strategy is \"%s\", and so it has no messages: enable it with"
												 " conflict => 'field_lww'", table->conflict));
		return;
	}
	if (table->soft_delete == InvalidAttrNumber)
		ofs_expose_warn(request, table, "it has no soft_delete column, so that these clients are told of no deletion");
	check_columns(request, table);
}

const OfsExposeDialect ofs_expose_messages = {
	.name = "messages", .wrappers = wrappers, .count = lengthof(wrappers), .suits = suits, .make = make_table
};
