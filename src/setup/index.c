/*
 * index.c
 *		The index that pulls want.
 *
 * Where the policies give each user rows of their own, an index that starts with that column
 * makes a pull cost what its caller receives.  Where they don't, one on the version does.  No index is
 * built behind the owner's back: an index on the version makes every update dearer (no HOT).
 */
#include "postgres.h"

#include "access/genam.h"
#include "base/indexform.h"
#include "base/spi.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "catalog/synced.h"
#include "commands/defrem.h"
#include "access/table.h"
#include "setup/setup.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

typedef enum IndexOption
{
	INDEX_AUTO,
	INDEX_VERSION,
	INDEX_SCOPE,
	INDEX_NONE
} IndexOption;

static const struct
{
	const char *name;
	IndexOption option;
}			options[] =
{
	{"auto", INDEX_AUTO},
	{"version", INDEX_VERSION},
	{"scope", INDEX_SCOPE},
	{"none", INDEX_NONE},
};

static IndexOption
parse_option(const char *name)
{
	for (int i = 0; i < (int) lengthof(options); i++)
		if (strcmp(options[i].name, name) == 0)
			return options[i].option;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown index option \"%s\"", name),
			 errhint("Choose one of \"auto\", \"version\", \"scope\" and \"none\".")));
}

void
ofs_index_check_option(const char *option)
{
	(void) parse_option(option);
}

char *
ofs_index_find(Relation rel, AttrNumber first)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		char	   *name = ofs_index_first(index) == first ? pstrdup(RelationGetRelationName(index)) : NULL;

		index_close(index, NoLock);
		if (name)
			return name;
	}
	return NULL;
}

static char *
build(Oid relid, const char *columns, const char *label)
{
	char	   *name = ChooseRelationName(get_rel_name(relid), label, "idx",
										  get_rel_namespace(relid), false);

	ofs_spi_run(false, "CREATE INDEX %s ON %s (%s)", quote_identifier(name),
				ofs_relation_name(relid), columns);
	return name;
}

static void
advise(Relation rel, AttrNumber first, const char *columns, ReturnSetInfo *answer)
{
	char	   *existing = ofs_index_find(rel, first);

	if (existing)
		ofs_answer_say(answer, "index", "existing index %s serves pulls", quote_identifier(existing));
	else
		ofs_answer_say(answer, "advice", "CREATE INDEX %sON %s (%s)",
						rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? "" : "CONCURRENTLY ",
						ofs_relation_name(RelationGetRelid(rel)), columns);
}

static char *
scope_columns(Oid relid, AttrNumber scope)
{
	return psprintf("%s, " OFS_COL_VERSION, quote_identifier(get_attname(relid, scope, false)));
}

static void
advise_all(Relation rel, const OfsScopes *scopes, ReturnSetInfo *answer)
{
	Oid			relid = RelationGetRelid(rel);
	ListCell   *lc;

	if (scopes->columns == NIL)
		advise(rel, get_attnum(relid, OFS_COL_VERSION), OFS_COL_VERSION, answer);
	foreach(lc, scopes->columns)
		advise(rel, lfirst_int(lc), scope_columns(relid, lfirst_int(lc)), answer);
}

char *
ofs_index_provide(Oid relid, const char *option, ReturnSetInfo *answer)
{
	IndexOption wanted = parse_option(option);
	Relation	rel = table_open(relid, AccessShareLock);
	OfsScopes  *found = ofs_scopes_find(rel);
	List	   *scopes = found->columns;
	char	   *built = NULL;

	if (wanted == INDEX_SCOPE && scopes == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table \"%s\" has no column that tells users apart", RelationGetRelationName(rel)),
				 errdetail("No SELECT policy compares a column with something that is the same for all rows."),
				 errhint("Choose index => 'version'.")));
	if (wanted == INDEX_AUTO)
		advise_all(rel, found, answer);
	/* the relation must not be open while an index is built on it */
	table_close(rel, NoLock);

	if (wanted == INDEX_VERSION)
		built = build(relid, OFS_COL_VERSION, OFS_COL_VERSION);
	else if (wanted == INDEX_SCOPE)
		built = build(relid, scope_columns(relid, linitial_int(scopes)),
					  psprintf("%s_%s", get_attname(relid, linitial_int(scopes), false), OFS_COL_VERSION));
	if (built)
		ofs_answer_say(answer, "index", "built %s on %s", quote_identifier(built), ofs_relation_name(relid));
	return built;
}
