/*
 * query.h
 *		Prepared statements that run as the caller, and read some columns beneath its grants.
 *
 * A caller with column grants need not hold one on server_version, yet every pull and push
 * compares it.  In the statements prepared here the unqualified names offsync$version and
 * offsync$created stand for the columns server_version and server_created_version of the
 * range-table entry aliased "t", and offsync$<alias>$<number> for a column by its number of the entry of that
 * alias, one letter.  They need no privilege.  Row-level security applies as ever.
 */
#ifndef OFS_QUERY_H
#define OFS_QUERY_H

#include "postgres.h"

#include "executor/spi.h"
#include "parser/parse_node.h"
#include "tcop/dest.h"

/* The parser's hook for these names, and the table's entry of an alias, for statements prepared otherwise. */
extern Node *ofs_query_resolve(ParseState *pstate, ColumnRef *cref);
extern ParseNamespaceItem *ofs_query_find_alias(ParseState *pstate, const char *alias, int location, int *levels);

/* Prepare (SPI is connected); parameters are $1..$nargs.  Ephemeral named relations registered with SPI are seen. */
extern SPIPlanPtr ofs_query_prepare(const char *sql, int nargs, const Oid *argtypes);

/*
 * The same, prepared once for each text, which always comes with the same types, and kept by the backend: good to the end of
 * the transaction, and not to be freed.  PostgreSQL plans it again when a definition or the caller's role changes.
 */
extern SPIPlanPtr ofs_query_keep(const char *sql, int nargs, const Oid *argtypes);

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
 * Run a data-modifying plan without parameters whose AFTER triggers (foreign keys among them) wait for
 * the AfterTriggerEndQuery of the caller's own AfterTriggerBeginQuery.  Returns the number of rows.
 */
extern uint64 ofs_query_modify(SPIPlanPtr plan);

#endif							/* OFS_QUERY_H */
