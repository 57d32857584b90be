/*
 * foreignkey.h
 *		A table's foreign keys.
 *
 * The relation cache keeps a list of them and frees it when anything at all is told of the table, whatever lock is held:
 * a look-up or a lock that is waited for in the midst of a walk along that list takes it away.  So everybody walks along
 * a copy.
 */
#ifndef OFS_FOREIGNKEY_H
#define OFS_FOREIGNKEY_H

#include "postgres.h"

#include "utils/rel.h"
#include "utils/relcache.h"

/* ForeignKeyCacheInfo, in the current context. */
static inline List *
ofs_foreign_keys(Relation rel)
{
	return copyObject(RelationGetFKeyList(rel));
}

#endif							/* OFS_FOREIGNKEY_H */
