/*
 * deleted.h
 *		The ids of one collection that are gone.
 */
#ifndef OFS_DELETED_H
#define OFS_DELETED_H

#include "postgres.h"

#include "catalog/since.h"
#include "pull/judge.h"
#include "pull/list.h"
#include "pull/page.h"

/* Put them into the list; buried: there are unseen tombstones. */
extern void ofs_deleted_collect(const OfsVerdict *verdict, const OfsSince *since, bool buried, OfsPaging *paging,
								OfsWireList *deleted);

#endif							/* OFS_DELETED_H */
