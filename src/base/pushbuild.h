/*
 * pushbuild.h
 *		Where a changes object is collected while it is parsed.
 */
#ifndef OFS_PUSHBUILD_H
#define OFS_PUSHBUILD_H

#include "base/pushdoc.h"

typedef struct OfsPushBuild OfsPushBuild;

typedef enum OfsPushList
{
	OFS_LIST_CREATED,
	OFS_LIST_UPDATED,
	OFS_LIST_DELETED
} OfsPushList;
#define OFS_PUSH_LISTS	(OFS_LIST_DELETED + 1)

/* Everything is allocated in the current memory context. */
extern OfsPushBuild *ofs_pushbuild_create(void);

/* Make the collection of that name the current one; returns the kept name. */
extern const char *ofs_pushbuild_collection(OfsPushBuild *build, const char *name);

/* A record: begin, then name and value of each field, then end. */
extern void ofs_pushbuild_record_begin(OfsPushBuild *build);
extern void ofs_pushbuild_field_name(OfsPushBuild *build, const char *name);

/*
 * Is the field the one that the record before had in its place?  The name stands there as it is in the document,
 * with the quote behind it and perhaps more; len is that of all.  Returns the name's length, or -1 where it isn't.
 */
extern int ofs_pushbuild_field_guess(OfsPushBuild *build, const char *text, int len);

extern void ofs_pushbuild_field_value(OfsPushBuild *build, OfsJsonKind kind,
									  const char *text, int len);
extern void ofs_pushbuild_record_end(OfsPushBuild *build, const char *id, OfsPushList list);

/* There is something in a value of the record that no text can hold. */
extern void ofs_pushbuild_record_spoil(OfsPushBuild *build, const char *wrong, int len);

/* A copy that lives as long as the document. */
extern char *ofs_pushbuild_text(OfsPushBuild *build, const char *text, int len);

extern OfsPushDoc *ofs_pushbuild_finish(OfsPushBuild *build);

#endif							/* OFS_PUSHBUILD_H */
