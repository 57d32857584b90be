/*
 * setvalue.h
 *		Sets that rows are looked up in: from arrays to bytes and back.
 */
#ifndef OFS_SETVALUE_H
#define OFS_SETVALUE_H

#include "postgres.h"

#include "catalog/setfact.h"
#include "core/set.h"

/* The values of an array, by value. */
extern void ofs_setvalue_take(const OfsSetFact *fact, Datum array, bool isnull, OfsSet *set);

/* One value of the type, its bytes in the context. */
extern void ofs_setvalue_item(OfsSetItem *item, MemoryContext context, Datum value, Oid type);

/* Values as an array of the fact's type. */
extern Datum ofs_setvalue_array(const OfsSetFact *fact, const OfsSetItem *items, int count, bool with_null);

#endif							/* OFS_SETVALUE_H */
