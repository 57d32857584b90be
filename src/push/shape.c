/*
 * shape.c
 *		What a push must know of a table, kept by the session from push to push.
 *
 * For a push of a few records, most of the work would be to find out what its table looks like, and to put together the texts of
 * statements that are planned already.  All of it depends on the table's definition, the dialect, and what the caller
 * may do, and on nothing that is pushed: so it is kept by these three, with the plans of the statements for one record alone.
 *
 * What the definition says of the table, its triggers, policies, indexes and grants, PostgreSQL tells of by the table's
 * relation: the entry of catalog/synced.c is stale then, and the shape with it.  Of roles and names base/bells.c tells.  A push goes on with the shape that it began with, and whatever was replaced is freed
 * when the transaction is over.
 *
 * Devices of which a push knows more than that (a clock, columns that they don't write) get shapes that are not kept.
 */
#include "postgres.h"

#include "base/bells.h"
#include "base/compat.h"
#include "base/query.h"
#include "base/retire.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "push/shape.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

#define MAX_SHAPES		64
#define MAX_STATEMENTS	32		/* of one shape */

typedef struct ShapeKey
{
	Oid			relid;
	Oid			role;
	OfsDialect	dialect;
} ShapeKey;

typedef struct ShapeEntry
{
	ShapeKey	key;
	PushShape  *shape;
} ShapeEntry;

/* A statement for one record alone. */
typedef struct Statement
{
	PushKind	kind;
	Bitmapset  *columns;
	PushStatement statement;
} Statement;

static HTAB *shapes = NULL;

/* ---------- the cache ---------- */

static void
free_plans(void *arg)
{
	PushShape  *shape = arg;
	ListCell   *lc;

	foreach(lc, shape->statements)
		SPI_freeplan(((Statement *) lfirst(lc))->statement.plan);
}

static void
make_cache(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(ShapeKey);
	ctl.entrysize = sizeof(ShapeEntry);
	shapes = hash_create("offsync push shapes", 32, &ctl, HASH_ELEM | HASH_BLOBS);
}

/* Many roles or tables take turns in this session. */
static void
retire_all(void)
{
	HASH_SEQ_STATUS status;
	ShapeEntry *entry;

	hash_seq_init(&status, shapes);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		ofs_retire(entry->shape->context);
		hash_search(shapes, &entry->key, HASH_REMOVE, NULL);
	}
}

/* ---------- shapes ---------- */

static bool
is_valid(const PushShape *shape, const OfsTable *synced)
{
	return shape->serial == synced->serial && !synced->stale && shape->bells == ofs_bells_count();
}

/* In the context given; the table's lock is kept. */
static PushShape *
make_shape(Push *push, OfsTable *synced, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	PushShape  *shape = palloc0(sizeof(PushShape));

	shape->context = context;
	shape->serial = synced->serial;
	shape->bells = ofs_bells_count();
	shape->pattern.table = synced;
	shape->pattern.shape = shape;
	shape->kept = context != push->context;
	ofs_columns_load(push, &shape->pattern);
	MemoryContextSwitchTo(old);
	return shape;
}

static PushShape *
keep_shape(Push *push, OfsTable *synced, const ShapeKey *key)
{
	MemoryContext context = AllocSetContextCreate(push->context, "offsync push shape", ALLOCSET_SMALL_SIZES);
	PushShape  *shape = make_shape(push, synced, context);
	ShapeEntry *entry;
	bool		found;

	if (hash_get_num_entries(shapes) >= MAX_SHAPES)
		retire_all();
	entry = hash_search(shapes, key, HASH_ENTER, &found);
	if (found)
		ofs_retire(entry->shape->context);
	entry->shape = shape;
	shape->gone.func = free_plans;
	shape->gone.arg = shape;
	MemoryContextRegisterResetCallback(context, &shape->gone);
	MemoryContextSetParent(context, CacheMemoryContext);
	return shape;
}

static PushShape *
find_shape(Push *push, OfsTable *synced)
{
	ShapeKey	key = {synced->relid, GetUserId(), push->dialect};
	ShapeEntry *entry;

	/* whoever changes the table waits, or has rung before we look */
	LockRelationOid(synced->relid, AccessShareLock);
	if (synced->stale)
		synced = ofs_table_again(synced);
	if (push->clock != NULL || push->server_columns != NIL)
		return make_shape(push, synced, push->context);
	if (shapes == NULL)
		make_cache();
	entry = hash_search(shapes, &key, HASH_FIND, NULL);
	if (entry != NULL && is_valid(entry->shape, synced))
		return entry->shape;
	return keep_shape(push, synced, &key);
}

void
ofs_shape_fill(Push *push, PushTable *table)
{
	const char *name = table->name;

	*table = find_shape(push, table->table)->pattern;
	table->name = name;
}

/* ---------- statements ---------- */

static Oid *
make_types(const PushTable *table, PushKind kind, const Bitmapset *columns, int count)
{
	Oid		   *types = palloc(sizeof(Oid) * count);
	int			nkey = table->table->nkey;
	int			number = 1 + nkey;
	int			i = -1;

	types[0] = INT8OID;
	memcpy(types + 1, table->table->key_types, sizeof(Oid) * nkey);
	while ((i = bms_next_member(columns, i)) >= 0)
		types[number++] = table->columns[i].typid;
	if (kind == PUSH_KIND_UPDATE_PLACED)
		types[number] = TIDOID;
	return types;
}

static char *
make_sql(const PushTable *table, PushKind kind, const Bitmapset *columns)
{
	switch (kind)
	{
		case PUSH_KIND_READ:
			return table->single ? ofs_sql_place(table) : ofs_sql_read(table, true);
		case PUSH_KIND_BURIED:
			return ofs_sql_buried(table, true);
		case PUSH_KIND_UPDATE:
		case PUSH_KIND_UPDATE_PLACED:
			return ofs_sql_update(table, columns, true, kind == PUSH_KIND_UPDATE_PLACED);
		case PUSH_KIND_DELETE:
			return ofs_sql_delete(table, true);
		default:
			return ofs_sql_insert(table, columns, kind == PUSH_KIND_INSERT_PLAIN, true);
	}
}

static Statement *
find_statement(const PushShape *shape, PushKind kind, const Bitmapset *columns)
{
	ListCell   *lc;

	foreach(lc, shape->statements)
	{
		Statement  *one = lfirst(lc);

		if (one->kind == kind && bms_equal(one->columns, columns))
			return one;
	}
	return NULL;
}

/* A shape that isn't kept, or has too many already, leaves the plan to those that are found by their texts. */
static void
make_statement(PushStatement *statement, const PushTable *table, PushKind kind, const Bitmapset *columns, bool keep)
{
	char	   *sql = make_sql(table, kind, columns);

	statement->count = 1 + table->table->nkey + bms_num_members(columns) + (kind == PUSH_KIND_UPDATE_PLACED ? 1 : 0);
	statement->types = make_types(table, kind, columns, statement->count);
	if (keep)
		statement->plan = ofs_query_prepare_own(sql, statement->count, statement->types, CURSOR_OPT_GENERIC_PLAN,
												table->shape->context);
	else
		statement->plan = ofs_query_keep_named(sql, statement->count, statement->types, NIL, CURSOR_OPT_GENERIC_PLAN);
}

/*
 * The statement for one record, whose parameters are the version, the key and these columns; good to the end of the push.  A key
 * finds one row, whatever it is: one plan is good for all.
 */
const PushStatement *
ofs_shape_statement(const PushTable *table, PushKind kind, const Bitmapset *columns)
{
	PushShape  *shape = table->shape;
	Statement  *found = find_statement(shape, kind, columns);
	bool		keep = shape->kept && list_length(shape->statements) < MAX_STATEMENTS;
	MemoryContext old;

	if (found != NULL)
		return &found->statement;
	old = MemoryContextSwitchTo(keep ? shape->context : CurrentMemoryContext);
	found = palloc0(sizeof(Statement));
	found->kind = kind;
	found->columns = bms_copy(columns);
	make_statement(&found->statement, table, kind, columns, keep);
	if (keep)
		shape->statements = lappend(shape->statements, found);
	MemoryContextSwitchTo(old);
	return &found->statement;
}
