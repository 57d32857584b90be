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

/* Does the caller own the extension, or is it a pg_monitor?  For what all devices do and hold; else an error. */
extern bool ofs_answer_is_watcher(void);
extern void ofs_answer_require_watcher(const char *what);

/* Error unless the relation exists and the caller owns it. */
extern void ofs_answer_require_owner(Oid relid);

#endif							/* OFS_ANSWER_H */
