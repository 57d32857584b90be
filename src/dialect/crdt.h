/*
 * crdt.h
 *		What the calls of row CRDT clients share (crdt.c).  Nobody else includes it.
 */
#ifndef OFS_CRDT_H
#define OFS_CRDT_H

#include "postgres.h"

#include "base/jsonsplit.h"
#include "catalog/synced.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/relcache.h"

/* Members of a client's row that are no columns. */
#define OFS_CRDT_IS_DELETED		"is_deleted"
#define OFS_CRDT_HLC			"hlc"
#define OFS_CRDT_NODE_ID		"node_id"
#define OFS_CRDT_MODIFIED		"modified"

typedef struct OfsCrdtTable
{
	OfsTable   *table;
	Relation	rel;
	OfsKeyCodec *key;
	OfsCodec  **codecs;			/* of the key's parts */
} OfsCrdtTable;

/* ,"name": */
extern void ofs_crdt_put_name(StringInfo out, const char *name);

/* The members of an object or the elements of an array, as the bracket says; PT400 where it is none. */
extern int	ofs_crdt_split(const OfsJsonValue *value, char bracket, const char *what, OfsJsonMember **members);

/* The client's node_id: an argument. */
extern char *ofs_crdt_node(FunctionCallInfo fcinfo, int n);

/* It is closed by whoever has opened it. */
extern void ofs_crdt_open(OfsCrdtTable *crdt, OfsTable *table);

extern const char *ofs_crdt_key_name(const OfsCrdtTable *crdt, int part);
extern bool ofs_crdt_is_key(const OfsTable *table, AttrNumber attnum);
extern bool ofs_crdt_is_own(const char *name);

/* Of the columns that travel: do clients have it, beside the key's? */
extern bool ofs_crdt_is_column(const OfsTable *table, TupleDesc desc, AttrNumber attnum);

#endif							/* OFS_CRDT_H */
