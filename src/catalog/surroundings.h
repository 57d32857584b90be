/*
 * surroundings.h
 *		What a function may ask about its caller without being told.
 */
#ifndef OFS_SURROUNDINGS_H
#define OFS_SURROUNDINGS_H

#include "postgres.h"

#include "lib/stringinfo.h"

/* Append who is calling, with which roles and formats, and with which settings of applications. */
extern void ofs_surroundings_append(StringInfo out, bool settings);

#endif							/* OFS_SURROUNDINGS_H */
