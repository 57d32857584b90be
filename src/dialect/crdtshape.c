/*
 * crdtshape.c
 *		Rows, tables and names as row CRDT clients have them (crdt.c).
 */
#include "postgres.h"

#include "access/table.h"
#include "base/argument.h"
#include "base/compat.h"
#include "base/errors.h"
#include "catalog/clocks.h"
#include "dialect/crdt.h"
#include "utils/rel.h"

/* ---------- JSON ---------- */

/* ,"name": */
void
ofs_crdt_put_name(StringInfo out, const char *name)
{
	if (out->data[out->len - 1] != '{')
		appendStringInfoChar(out, ',');
	ofs_json_text(out, name);
	appendStringInfoChar(out, ':');
}

/* The members of an object or the elements of an array, as the bracket says. */
int
ofs_crdt_split(const OfsJsonValue *value, char bracket, const char *what, OfsJsonMember **members)
{
	if (value->kind != OFS_JSON_NESTED || value->text[0] != bracket)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("%s must be an %s", what, bracket == '{' ? "object" : "array")));
	return ofs_json_split(value, members);
}

/* ---------- clients and tables ---------- */

/* Two nodes of one name would take each other's rows for their own. */
char *
ofs_crdt_node(FunctionCallInfo fcinfo, int n)
{
	char	   *node = ofs_argument_text(fcinfo, n);

	if (node == NULL || node[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("the client's node_id is missing")));
	else if (strcmp(node, OFS_SERVER_NODE) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_CONFLICT),
				 errmsg("duplicate node_id \"%s\"", node),
				 errdetail("It is the server's.")));
	return node;
}

void
ofs_crdt_open(OfsCrdtTable *crdt, OfsTable *table)
{
	crdt->table = table;
	crdt->rel = table_open(table->relid, AccessShareLock);
	crdt->key = ofs_key_create(table->nkey, table->key_types, table->key_typmods);
	crdt->codecs = palloc0_array(OfsCodec *, table->nkey);
	for (int i = 0; i < table->nkey; i++)
		crdt->codecs[i] = ofs_codec_create(table->key_types[i], table->key_typmods[i], OFS_DIALECT_JSON);
}

const char *
ofs_crdt_key_name(const OfsCrdtTable *crdt, int part)
{
	return NameStr(TupleDescAttr(RelationGetDescr(crdt->rel), crdt->table->key[part] - 1)->attname);
}

bool
ofs_crdt_is_key(const OfsTable *table, AttrNumber attnum)
{
	for (int i = 0; i < table->nkey; i++)
	{
		if (table->key[i] == attnum)
			return true;
	}
	return false;
}

bool
ofs_crdt_is_own(const char *name)
{
	return strcmp(name, OFS_CRDT_IS_DELETED) == 0 || strcmp(name, OFS_CRDT_HLC) == 0 || strcmp(name, OFS_CRDT_NODE_ID) == 0 || strcmp(name, OFS_CRDT_MODIFIED) == 0;
}

bool
ofs_crdt_is_column(const OfsTable *table, TupleDesc desc, AttrNumber attnum)
{
	return attnum != table->created_at && attnum != table->updated_at && attnum != table->version &&
		attnum != table->soft_delete && !ofs_crdt_is_key(table, attnum) &&
		!ofs_crdt_is_own(NameStr(TupleDescAttr(desc, attnum - 1)->attname));
}
