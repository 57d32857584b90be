/*
 * secret.h
 *		The database's secret.
 */
#ifndef OFS_SECRET_H
#define OFS_SECRET_H

#include "postgres.h"

/* HMAC-SHA-256 with the database's secret. */
extern void ofs_secret_hmac(const void *data, int len, uint8 digest[32]);

/* The same of what is likely to come again: it is remembered by the session, and costs no more than to be looked at. */
extern void ofs_secret_hmac_again(const void *data, int len, uint8 digest[32]);

#endif							/* OFS_SECRET_H */
