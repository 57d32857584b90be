/*
 * unseen.h
 *		Conditions of a pull's statements.
 *
 * "t" is the table in them, "d" its tombstone table; "u" and "b" are the same beneath row-level security.
 */
#ifndef OFS_UNSEEN_H
#define OFS_UNSEEN_H

#include "postgres.h"

#include "catalog/since.h"
#include "catalog/view.h"
#include "lib/stringinfo.h"
#include "tcop/dest.h"

#define OFS_UNSEEN_PARAMS 96	/* two keys' columns, and some */

/* The parameters of a statement that is being built. */
typedef struct OfsUnseen
{
	int			nparams;
	Oid			types[OFS_UNSEEN_PARAMS];
	Datum		values[OFS_UNSEEN_PARAMS];
	List	   *nodes;			/* expressions that it names */
	int			options;		/* CURSOR_OPT_...: of its plan */
} OfsUnseen;

/* Begin a statement that reads the table as "t" under row-level security; by_version: its unseen rows. */
extern void ofs_unseen_begin(OfsUnseen *params, OfsView *view, bool by_version);

/* The same of one that reads its unseen tombstones as "d". */
extern void ofs_unseen_begin_tombs(OfsUnseen *params, OfsView *view);

/* Append, where that helps, " AND it can be the caller's". */
extern void ofs_unseen_append_scope(StringInfo sql, const OfsUnseen *params);

/* Add a parameter; returns its number. */
extern int	ofs_unseen_param(OfsUnseen *params, Oid type, Datum value);

/* Append "the caller hasn't seen the version in this column". */
extern void ofs_unseen_append(StringInfo sql, const char *column, const OfsTable *table,
							  const OfsSince *since, OfsUnseen *params);

/* The same of the version in which a row was made, the client's own transactions seen all of them. */
extern void ofs_unseen_append_made(StringInfo sql, const char *column, const OfsSince *since, OfsUnseen *params);

/* Append "the client's own transactions wrote this version". */
extern void ofs_unseen_append_own(StringInfo sql, const char *column, const OfsSince *since, OfsUnseen *params);

/*
 * Append an expression for "it counts as deleted", or did as a tombstone; it is never NULL.  alias: of the
 * table's range-table entry, or the tombstone table's, one letter.
 */
extern void ofs_unseen_append_gone(StringInfo sql, const OfsTable *table, bool tombstone, char alias);

/* Append, where rows can count as deleted, " AND t is live, or is told of as a row that is gone". */
extern void ofs_unseen_append_told(StringInfo sql, const OfsTable *table, const OfsSince *since, OfsUnseen *params);

/*
 * Append a SELECT, whose parameters begin here, of the keys of unseen tombstones that the caller may see, and which have no row that it can
 * see; soft_rows: rows that count as deleted are rows; some: only the first ones are wanted.
 */
extern void ofs_unseen_append_deleted(StringInfo sql, OfsView *view, const OfsSince *since, bool soft_rows, bool some,
									  OfsUnseen *params);

/* Append "t is the row of this id", which is spelt as the server spells it; errors for what is no id. */
extern void ofs_unseen_append_id(StringInfo sql, const OfsTable *table, const char *id, OfsUnseen *params);

/* Run the statement as the caller in the active snapshot, rows going to dest (or nowhere); returns their number. */
extern uint64 ofs_unseen_run(const char *sql, const OfsUnseen *params, DestReceiver *dest);

/* Start it, for rows to be fetched; the portal's name. */
extern char *ofs_unseen_open(const char *sql, const OfsUnseen *params);

#endif							/* OFS_UNSEEN_H */
