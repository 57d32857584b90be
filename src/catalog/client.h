/*
 * client.h
 *		Who pushes: role, subject and client_id.
 */
#ifndef OFS_CLIENT_H
#define OFS_CLIENT_H

#include "postgres.h"

/* Longest client_id and push_id, in bytes. */
#define OFS_NAME_MAX	1000

typedef struct OfsClient
{
	Oid			role;
	const char *subject;		/* of the request's token; NULL: none */
	const char *client_id;
	int64		hash;			/* of the three */
} OfsClient;

/* The caller as this device; NULL when it names none (null or empty). */
extern OfsClient *ofs_client_identify(const char *client_id);

/* Of the request's token; NULL: none. */
extern const char *ofs_client_subject(void);

/* A header of the request, by its name in lower case; NULL when there is none. */
extern char *ofs_client_header(const char *name);

/* 22023 for a name that is too long; what says whose. */
extern void ofs_client_check_length(const char *what, const char *name);

#endif							/* OFS_CLIENT_H */
