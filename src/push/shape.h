/*
 * shape.h
 *		What a push must know of a table, kept by the session from push to push.
 */
#ifndef OFS_SHAPE_H
#define OFS_SHAPE_H

#include "push/push.h"

struct PushShape
{
	MemoryContext context;		/* of all that follows */
	bool		kept;
	uint64		serial;			/* of the synced table's entry */
	uint64		bells;			/* how many had rung */
	PushTable	pattern;		/* its definition is that of every push's table */
	struct PushWatch *watch;	/* of the table and its partitions, as far as they were written */
	List	   *statements;		/* for one record alone */
	MemoryContextCallback gone; /* frees their plans */
};

#endif							/* OFS_SHAPE_H */
