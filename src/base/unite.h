/*
 * unite.h
 *		Two values of one column, changed on both sides, made one.
 */
#ifndef OFS_UNITE_H
#define OFS_UNITE_H

#include "postgres.h"

/* json, jsonb and arrays, or domains over them. */
extern bool ofs_unite_knows(Oid typid);

/* False where the two contradict each other.  Neither is NULL. */
extern bool ofs_unite(Oid typid, Datum server, Datum client, Datum *result);

#endif							/* OFS_UNITE_H */
