/*
 * expose_crdt.c
 *		offsync.expose: the calls that an app's WebSocket server makes for row CRDT clients (dialect/crdt.c).
 */
#include "postgres.h"

#include "setup/expose.h"
#include "setup/setup.h"

static const OfsWrapper crdts[] = {
	{
		"crdt_hello", "crdt_hello",
		"node_id text",
		"node_id text",
		"STABLE",
		"The server's handshake for a client."
	},
	{
		"crdt_changeset", "crdt_changeset",
		"since text, node_id text",
		"since text, node_id text",
		"STABLE",
		"Rows for a client since its last_modified, or since the cursor of an earlier changeset; none of its own."
	},
	{
		"crdt_merge", "crdt_merge",
		"node_id text, changeset json",
		"node_id text, changeset json",
		"VOLATILE",
		"Store a client's changeset, whole or not at all."
	},
};

static void
suits(const OfsExposeRequest *request, const OfsTable *table)
{
	if (table->clocks == InvalidAttrNumber)
		ofs_expose_warn(request, table, psprintf("its conflict strategy is \"%s\", and these clients don't get it: enable it with"
												 " conflict => 'field_lww'", table->conflict));
	else if (table->soft_delete == InvalidAttrNumber)
		ofs_expose_warn(request, table, "it has no soft_delete column: of deleted rows these clients get the key, and"
						" nothing else but 0, false or an empty text where a column is NOT NULL");
}

const OfsExposeDialect ofs_expose_crdt = {
	.name = "crdt", .wrappers = crdts, .count = lengthof(crdts), .suits = suits
};
