/*
 * namelist.h
 *		Lists of names, as C strings.
 */
#ifndef OFS_NAMELIST_H
#define OFS_NAMELIST_H

#include "postgres.h"

#include "nodes/pg_list.h"

static inline bool
ofs_name_listed(const List *names, const char *name)
{
	ListCell   *lc;

	foreach(lc, names)
		if (strcmp((const char *) lfirst(lc), name) == 0)
			return true;
	return false;
}

#endif							/* OFS_NAMELIST_H */
