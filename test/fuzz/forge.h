/*
 * forge.h
 *		Cursors whose check sum is right.
 */
#ifndef FORGE_H
#define FORGE_H

#include "mutate.h"

#define CURSOR_SEAL_LEN 16

/* Take a cursor apart; false when it is none. */
extern bool cursor_bytes(const Text *text, Text *body, unsigned char seal[CURSOR_SEAL_LEN]);

/* Put it together, with the check sum that its bytes have. */
extern void cursor_text(Text *text, const Text *body, const unsigned char seal[CURSOR_SEAL_LEN]);

/* Change some of its bytes. */
extern void cursor_bend(Text *body);

/* All three. */
extern bool cursor_forge(Text *text);

#endif							/* FORGE_H */
