/*
 * uri.h
 *		Parts of URIs.
 */
#ifndef OFS_URI_H
#define OFS_URI_H

#include "postgres.h"

/*
 * Text as it was before it was escaped, in the server's encoding; query: a + stands for a blank.  What is no escape stands for itself.
 * NULL where it is no text.
 */
extern char *ofs_uri_decode(const char *part, int len, bool query);

#endif							/* OFS_URI_H */
