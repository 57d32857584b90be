/*
 * query.h
 *		Prepared statements that run as the caller, and read some columns beneath its grants.
 *
 * A caller with column grants need not hold one on server_version, yet every pull and push
 * compares it.  In the statements prepared here the unqualified names offsync$version and
 * offsync$created stand for the columns server_version and server_created_version, offsync$place for the ctid of the
 * range-table entry aliased "t", and offsync$<alias>$<number> for a column by its number of the entry of that
 * alias, one letter.  They need no privilege.  Row-level security applies as ever.
 */
#ifndef OFS_QUERY_H
#define OFS_QUERY_H

#include "postgres.h"

#include "executor/spi.h"
#include "parser/parse_node.h"
#include "tcop/dest.h"

/*
 * An expression that stands in a statement by a name, since it wasn't SQL text before.  With an alias: offsync$<alias>$<name>, its
 * columns are those of the entry "<alias>", or "offsync$<alias>" where there is none.  Without one (0): offsync$<name>, and it has no columns.
 */
typedef struct OfsNamedNode
{
	char		alias;			/* one letter, or 0 */
	const char *name;
	Node	   *node;			/* its columns are of range-table entry 1; its parameters are the statement's */
} OfsNamedNode;

extern List *ofs_query_name(List *nodes, char alias, const char *name, Node *node);

/* What the parser knows of a statement; it is to live as long as the statement may be parsed again. */
typedef struct OfsParse
{
	int			nargs;
	const Oid  *argtypes;
	List	   *nodes;			/* of OfsNamedNode */
} OfsParse;

/* The parser's set-up for these names, for statements prepared otherwise; arg is an OfsParse. */
extern void ofs_query_setup(ParseState *pstate, void *arg);

/* Prepare (SPI is connected); parameters are $1..$nargs.  Ephemeral named relations registered with SPI are seen. */
extern SPIPlanPtr ofs_query_prepare(const char *sql, int nargs, const Oid *argtypes);

/* The same, to be kept till it is freed; the context is to live as long.  options: CURSOR_OPT_... */
extern SPIPlanPtr ofs_query_prepare_own(const char *sql, int nargs, const Oid *argtypes, int options, MemoryContext context);

/*
 * The same, prepared once for each text with these types and each role, and kept by the backend: good to the
 * end of the transaction, and not to be freed.  PostgreSQL plans it again when a definition changes.
 */
extern SPIPlanPtr ofs_query_keep(const char *sql, int nargs, const Oid *argtypes);

/* The same with expressions in it: it is another statement with others.  options: CURSOR_OPT_... */
extern SPIPlanPtr ofs_query_keep_named(const char *sql, int nargs, const Oid *argtypes, List *nodes, int options);

/*
 * Run a plan with parameters, rows going to dest (NULL: to SPI_tuptable).  read_only uses the active
 * snapshot, as a STABLE function must.  Returns the number of rows.
 */
extern uint64 ofs_query_run(SPIPlanPtr plan, int nargs, const Oid *argtypes,
							const Datum *values, const char *nulls,
							bool read_only, DestReceiver *dest);

/* Start a plan in the active snapshot, for rows to be fetched; the portal's name, in the current memory context. */
extern char *ofs_query_open(SPIPlanPtr plan, int nargs, const Oid *argtypes, const Datum *values);

/*
 * Run a data-modifying plan whose AFTER triggers (foreign keys among them) wait for
 * the AfterTriggerEndQuery of the caller's own AfterTriggerBeginQuery.  Returns the number of rows.
 */
extern uint64 ofs_query_modify(SPIPlanPtr plan, Datum *values, const char *nulls);

#endif							/* OFS_QUERY_H */
