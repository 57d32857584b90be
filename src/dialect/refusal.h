/*
 * refusal.h
 *		What facades say when they don't store what they were sent.
 */
#ifndef OFS_REFUSAL_H
#define OFS_REFUSAL_H

#include "postgres.h"

/* The SQLSTATE under which a client hears of an error. */
typedef int (*OfsRefusalChoose) (const ErrorData *error, void *arg);

/* Do what stores what was sent, as a push that isn't counted where it fails; choose: NULL where each error keeps its SQLSTATE. */
extern void ofs_refusal_run(void (*work) (void *arg), void *arg, OfsRefusalChoose choose);

/* For clients to which 404 and 409 mean what the facade means by them. */
extern int	ofs_refusal_code(const ErrorData *error, void *arg);

#endif							/* OFS_REFUSAL_H */
