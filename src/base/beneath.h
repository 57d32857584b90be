/*
 * beneath.h
 *		Statements that look beneath row-level security at some of their tables.
 *
 * What a caller could see once, and can't now, is invisible to it: a statement that lists such rows must not be stopped
 * by the policies of today.  Here a range-table entry whose alias begins with "offsync$", and which is
 * one of the tables named, is read beneath row-level security; all others as ever, and all with the caller's own privileges.
 *
 * The statement may name expressions and hidden columns, as those of query.h do.
 */
#ifndef OFS_BENEATH_H
#define OFS_BENEATH_H

#include "postgres.h"

#include "base/query.h"
#include "nodes/pg_list.h"
#include "tcop/dest.h"

/* Run a SELECT in the active snapshot; tables: which may be looked beneath (OIDs), nodes: list of OfsNamedNode. */
extern void ofs_beneath_run(const char *sql, int nargs, const Oid *argtypes, const Datum *values,
							List *tables, List *nodes, DestReceiver *dest);

#endif							/* OFS_BENEATH_H */
