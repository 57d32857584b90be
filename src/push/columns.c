/*
 * columns.c
 *		The columns of a pushed collection, as its caller may use them.
 *
 * Every name that a record can carry is either a column that travels, or one that always comes
 * and is never stored (_status, _changed, the stamps), or unknown.  Privileges to write are not
 * looked at here: the statements themselves check them.  Those to read decide what can be
 * compared: a column that the caller may not read always counts as changed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/spi.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "push/push.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

typedef struct PushName
{
	const char *name;
	int			column;
} PushName;

/* The most unknown names that an answer reports for a collection. */
#define MAX_IGNORED 100

static const char *const silent_names[] = {
	"_status", "_changed",
	OFS_COL_CREATED_AT, OFS_COL_UPDATED_AT, OFS_COL_VERSION, OFS_COL_CREATED_VERSION, OFS_COL_HISTORY,
	OFS_COL_CLOCKS, PUSH_NAME_CLOCK, PUSH_NAME_CLOCKS
};

static uint32
hash_name(const void *key, Size size)
{
	const char *name = *(const char *const *) key;

	return hash_bytes((const unsigned char *) name, strlen(name));
}

static int
compare_names(const void *a, const void *b, Size size)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

HTAB *
ofs_names_create(const char *what, Size entrysize, int expected, MemoryContext context)
{
	HASHCTL		ctl;

	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(const char *);
	ctl.entrysize = entrysize;
	ctl.hash = hash_name;
	ctl.match = compare_names;
	ctl.hcxt = context;
	return hash_create(what, Max(expected, 16), &ctl, HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

static void
add_name(PushTable *table, const char *name, int column)
{
	bool		found;
	PushName   *entry = hash_search(table->names, &name, HASH_ENTER, &found);

	if (!found)
		entry->column = column;
}

/* Index of the column that travels under this name, or one of PUSH_NAME_*. */
int
ofs_columns_find(PushTable *table, const char *name)
{
	PushName   *entry = hash_search(table->names, &name, HASH_FIND, NULL);
	bool		found;

	if (entry != NULL)
		return entry->column;
	if (table->unknown == NULL)
		table->unknown = ofs_names_create("offsync unknown names", sizeof(PushName), 0, CurrentMemoryContext);
	(void) hash_search(table->unknown, &name, HASH_ENTER, &found);
	if (!found && list_length(table->ignored) < MAX_IGNORED)
		table->ignored = lappend(table->ignored, (void *) name);
	return PUSH_NAME_UNKNOWN;
}

static bool
may_read(const PushTable *table, AttrNumber attnum)
{
	return table->all_readable ||
		pg_attribute_aclcheck(table->table->relid, attnum, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

static int
key_position(const OfsTable *table, AttrNumber attnum)
{
	for (int i = 0; i < table->nkey; i++)
	{
		if (table->key[i] == attnum)
			return i;
	}
	return -1;
}

/* Does the column refuse NULL, by itself or through its domain? */
static bool
refuses_null(Form_pg_attribute att)
{
	Oid			typid = att->atttypid;
	bool		result = att->attnotnull;

	while (!result && get_typtype(typid) == TYPTYPE_DOMAIN)
	{
		HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for type %u", typid);
		result = ((Form_pg_type) GETSTRUCT(tuple))->typnotnull;
		typid = ((Form_pg_type) GETSTRUCT(tuple))->typbasetype;
		ReleaseSysCache(tuple);
	}
	return result;
}

static void
load_column(Push *push, PushTable *table, PushColumn *column, Form_pg_attribute att, const char *wire)
{
	const OfsTable *synced = table->table;

	column->attnum = att->attnum;
	column->name = pstrdup(NameStr(att->attname));
	column->wire = wire ? pstrdup(wire) : NULL;
	column->typid = att->atttypid;
	column->typmod = att->atttypmod;
	column->collation = att->attcollation;
	column->typlen = att->attlen;
	column->typbyval = att->attbyval;
	column->codec = ofs_codec_create(att->atttypid, att->atttypmod, push->dialect);
	if (push->clock)
		ofs_codec_set_zone(column->codec, push->clock->zone);
	column->faithful = ofs_codec_is_always_faithful(column->codec);
	column->keypart = key_position(synced, att->attnum);
	column->stamp = att->attnum == synced->created_at || att->attnum == synced->updated_at ||
		att->attnum == synced->version || att->attnum == synced->created_version;
	column->writable = !column->stamp && column->keypart < 0 && att->attgenerated == '\0' &&
		att->attidentity != ATTRIBUTE_IDENTITY_ALWAYS;
	column->defaults = (att->atthasdef || att->attidentity != '\0') && refuses_null(att);
	column->position = wire && may_read(table, att->attnum) ? table->nread++ : -1;
	if (ofs_columns_compared(column))
		table->nsendable++;
}

static void
load_key(PushTable *table, TupleDesc desc)
{
	const OfsTable *synced = table->table;

	table->key = ofs_key_create(synced->nkey, synced->key_types, synced->key_typmods);
	table->key_names = palloc0_array(const char *, synced->nkey);
	table->key_collations = palloc0_array(Oid, synced->nkey);
	table->readable = true;
	for (int i = 0; i < synced->nkey; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, synced->key[i] - 1);

		table->key_names[i] = pstrdup(NameStr(att->attname));
		table->key_collations[i] = att->attcollation;
		if (att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
			table->overriding = true;
		if (!may_read(table, att->attnum))
			table->readable = false;
	}
}

/* ON CONFLICT without a target looks at every unique index, and fails at a deferrable one. */
static bool
has_deferrable(Relation rel)
{
	bool		found = false;
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		if ((index->indisunique || index->indisexclusion) && !index->indimmediate)
			found = true;
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return found;
}

/* Is what devices send of the column not even looked at? */
static bool
is_servers(const Push *push, const PushColumn *column)
{
	ListCell   *lc;

	foreach(lc, push->server_columns)
	{
		if (column->keypart < 0 && strcmp(lfirst(lc), column->name) == 0)
			return true;
	}
	return false;
}

/* Virtual columns are computed by statements alone. */
static bool
has_virtual(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attgenerated == 'v')
			return true;
	}
	return false;
}

/* Fill in all that depends on the table's definition, in the current memory context; its lock is kept. */
void
ofs_columns_load(Push *push, PushTable *table)
{
	Relation	rel = table_open(table->table->relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);

	table->relation = ofs_relation_name(table->table->relid);
	table->nread = table->table->clocks ? PUSH_ROW_UPDATED_AT : PUSH_ROW_FIXED;
	table->strategy = ofs_strategy_find(table->table->conflict);
	if (table->strategy == NULL)
		elog(ERROR, "unknown conflict strategy \"%s\"", table->table->conflict);
	table->stamp = table->soft = -1;
	table->all_readable = pg_class_aclcheck(table->table->relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
	table->names = ofs_names_create("offsync pushed names", sizeof(PushName), desc->natts + lengthof(silent_names),
									CurrentMemoryContext);
	table->columns = palloc0_array(PushColumn, desc->natts);
	load_key(table, desc);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *wire = att->attisdropped ? NULL : ofs_table_wire_name(table->table, desc, att->attnum);
		PushColumn *column = &table->columns[table->ncolumns];

		if (wire == NULL && (att->attisdropped || att->attnum != table->table->soft_delete))
			continue;
		if (att->attnum == table->table->client_updated_at)
			table->stamp = table->ncolumns;
		if (att->attnum == table->table->soft_delete)
			table->soft = table->ncolumns;
		load_column(push, table, column, att, wire);
		if (wire != NULL)
			add_name(table, column->wire, is_servers(push, column) ? PUSH_NAME_SILENT : table->ncolumns);
		table->ncolumns++;
	}
	for (int i = 0; i < lengthof(silent_names); i++)
		add_name(table, silent_names[i], PUSH_NAME_SILENT);
	table->deferrable = has_deferrable(rel);
	table->single = rel->rd_rel->relkind == RELKIND_RELATION && !rel->rd_rel->relhassubclass && !has_virtual(desc);
	table->rowdesc = ofs_layout_make(table, rel);
	ofs_watch_prepare(table, rel);
	table_close(rel, NoLock);
}
