/*
 * setfact.h
 *		Parts of a policy that look a value of the row up in a set.
 */
#ifndef OFS_SETFACT_H
#define OFS_SETFACT_H

#include "postgres.h"

#include "access/attnum.h"
#include "nodes/primnodes.h"

typedef struct OfsSetFact
{
	Node	   *node;			/* the part, in the policy's own expression: it is known by its address */
	Node	   *tested;			/* the value of the row */
	Node	   *array;			/* an expression without row values: the set as an array */
	Oid			array_type;
	Oid			element_type;
	Oid			opno;			/* tested opno ANY (array), or ALL */
	Oid			collation;
	bool		any;
	Oid			finder;			/* tested finder element: the element decides about the row */
	bool		decides;		/* NULL means the same as false where the part stands */
	bool		exists;			/* the part is true or false, and NULL among the values says nothing */
	bool		nulls;			/* NULL among the values finds rows without a value: a device's filter */
	Oid			parent;			/* the set is this table's ... */
	AttrNumber	parent_column;	/* ... values of this column, all that the caller sees; else 0 */
} OfsSetFact;

/* Is there a row behind this LIMIT wherever there is one before it?  Only if it is a plain number. */
extern bool ofs_setfact_limit_leaves_one(Node *limit);

/*
 * The part as a look-up in a set, or NULL where it is none.  decides: that it is NULL means the same as that
 * it is false.
 */
extern OfsSetFact *ofs_setfact_make(Node *node, bool decides);

/* tested opno ANY (value), for an array of the fact's type; as the part itself would be. */
extern Node *ofs_setfact_bind(const OfsSetFact *fact, Datum array, bool isnull);

/* The same, an expression for the array: "the row's value is among these". */
extern Node *ofs_setfact_among_node(const OfsSetFact *fact, Node *array);

/* "The row's value is among these", NULL meaning no; empty: and so it is where there is none. */
extern Node *ofs_setfact_among(const OfsSetFact *fact, Datum array, bool empty);

#endif							/* OFS_SETFACT_H */
