/*
 * notice.h
 *		NOTIFY for collections that were enabled with notify => true.
 */
#ifndef OFS_NOTICE_H
#define OFS_NOTICE_H

#include "postgres.h"

#include "nodes/pg_list.h"

#define OFS_NOTICE_CHANNEL	"offsync"

/* A collection's name that is longer might not fit into a payload. */
#define OFS_NOTICE_NAME_MAX	1000

/* A row of a synced table was written that has notify. */
extern void ofs_notice_row(Oid relid, const char *collection);

/* The same of what concerns its devices otherwise, whoever did it; nothing where the table isn't told of. */
extern void ofs_notice_reset(Oid relid);

/* A table was written that policies may read. */
extern void ofs_notice_access(Oid relid);

/*
 * A push was answered: what the transaction wrote, all of it with this push, its device has, but for the collections (a list
 * of OfsTable).  client_id: what the device calls itself, or NULL.
 */
extern void ofs_notice_sign(const char *client_id, List *but);

#endif							/* OFS_NOTICE_H */
