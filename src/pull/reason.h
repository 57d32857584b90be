/*
 * reason.h
 *		Why a collection is replaced.
 */
#ifndef OFS_REASON_H
#define OFS_REASON_H

#include "postgres.h"

#include "catalog/since.h"
#include "catalog/view.h"

/* Why the collection can't be answered by what changed since, or NULL. */
extern const char *ofs_pull_reason(const OfsSince *since, const OfsView *view);

#endif							/* OFS_REASON_H */
