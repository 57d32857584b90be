/*
 * bells.h
 *		News of roles, types, operators, collations and schemas.
 */
#ifndef OFS_BELLS_H
#define OFS_BELLS_H

#include "postgres.h"

/*
 * How much news this session has had: what was found out about privileges, or written with names, is good as long as
 * the number stays the same.  (Of a table's own definition, grants on it included, its relation's invalidations tell.)
 */
extern uint64 ofs_bells_count(void);

#endif							/* OFS_BELLS_H */
