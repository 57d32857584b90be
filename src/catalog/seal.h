/*
 * seal.h
 *		Cursors are sealed, and what only the server may read in them is hidden.
 */
#ifndef OFS_SEAL_H
#define OFS_SEAL_H

#include "postgres.h"

#include "core/cursor.h"

/* The seal of a cursor's packed bytes. */
extern void ofs_seal_make(const char *body, int len, uint8 seal[OFS_CURSOR_SEAL_LEN]);

/*
 * Hide the policies' sets in place, or show them again: their values may come from functions that the caller itself can't
 * call.
 */
extern void ofs_seal_hide(char *bytes, int len, const uint8 seal[OFS_CURSOR_SEAL_LEN]);

#endif							/* OFS_SEAL_H */
