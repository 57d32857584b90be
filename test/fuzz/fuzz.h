/*
 * fuzz.h
 *		What the targets of the fuzzer share with their stubs.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <setjmp.h>

/* Where an error goes, and which one it was. */
extern sigjmp_buf fuzz_error;
extern int	fuzz_sqlstate;

/* Give back all memory that an input has taken. */
extern void fuzz_forget(void);

#endif							/* FUZZ_H */
