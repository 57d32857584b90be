/*
 * fuzz.h
 *		What the targets of the fuzzer share with their stubs.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "postgres.h"

#include <setjmp.h>

/* Where an error goes, and which one it was. */
extern sigjmp_buf fuzz_error;
extern int	fuzz_sqlstate;

/* An oracle of a target's: the end where it doesn't hold. */
extern void require(bool holds, const char *what);

/* What a target of its own file does with an input. */
extern void fuzz_clocks(const uint8 *data, size_t size);

/* Give back all memory that an input has taken. */
extern void fuzz_forget(void);

#endif							/* FUZZ_H */
