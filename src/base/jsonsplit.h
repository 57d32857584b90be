/*
 * jsonsplit.h
 *		One level of a JSON object or array, split into its members.
 */
#ifndef OFS_JSONSPLIT_H
#define OFS_JSONSPLIT_H

#include "base/codec.h"

#include "common/jsonapi.h"

typedef struct OfsJsonMember
{
	const char *name;			/* NULL in an array */
	OfsJsonValue value;
} OfsJsonMember;

/* The members in the order sent; a repeated name stands as often as it was sent. */
extern int	ofs_json_split(const OfsJsonValue *nested, OfsJsonMember **members);

/* The last member of that name, as JSON parsers have it; or NULL. */
extern const OfsJsonValue *ofs_json_member(const OfsJsonMember *members, int count, const char *name);

/* A value as JSON again. */
extern void ofs_json_append(StringInfo out, const OfsJsonValue *value);

#endif							/* OFS_JSONSPLIT_H */
