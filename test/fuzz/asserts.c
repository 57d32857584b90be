/*
 * asserts.c
 *		What a failed assertion calls, where the server's headers have them on.
 *
 * Its arguments differ between the majors, but for the first: so no header of theirs is here.
 */
#include <stdio.h>
#include <stdlib.h>

extern void ExceptionalCondition(const char *condition);

void
ExceptionalCondition(const char *condition)
{
	fprintf(stderr, "failed assertion: %s\n", condition);
	abort();
}
