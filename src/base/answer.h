/*
 * answer.h
 *		Functions that tell a table's owner something in rows of two texts.
 */
#ifndef OFS_ANSWER_H
#define OFS_ANSWER_H

#include "postgres.h"

#include "nodes/execnodes.h"

/* One row of the answer. */
extern void ofs_answer_say(ReturnSetInfo *answer, const char *what, const char *fmt,...) pg_attribute_printf(3, 4);

/* Error unless the caller owns the extension or is a pg_monitor; for what all devices do and hold. */
extern void ofs_answer_require_watcher(const char *what);

/* Error unless the relation exists and the caller owns it. */
extern void ofs_answer_require_owner(Oid relid);

#endif							/* OFS_ANSWER_H */
