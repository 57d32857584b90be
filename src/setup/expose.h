/*
 * expose.h
 *		What the dialects of offsync.expose share.  Nobody else includes it.
 *
 * A dialect is a row: the wrappers that are made for it, what they pass on beside their own arguments, and what its
 * clients can't take of the tables as they are.  Each dialect has a file, expose_<dialect>.c, and a line in expose.c's table.
 */
#ifndef OFS_EXPOSE_H
#define OFS_EXPOSE_H

#include "postgres.h"

#include "catalog/synced.h"
#include "lib/stringinfo.h"
#include "nodes/execnodes.h"
#include "utils/array.h"

typedef struct OfsWrapper
{
	const char *name;			/* behind the prefix */
	const char *calls;			/* in schema offsync */
	const char *identity;		/* arguments, as pg_get_function_identity_arguments() writes them; one without a name: its type */
	const char *arguments;		/* with their defaults */
	const char *volatility;
	const char *comment;
	const char *returns;		/* NULL: json */
} OfsWrapper;

typedef struct OfsExposeRequest
{
	Oid			schema;
	char	   *prefix;
	bool		replace;
	const struct OfsExposeDialect *dialect;
	char	   *tombstones;		/* drift: "ids" or "rows" */
	ArrayType  *server_columns; /* drift: what pushes don't write */
	ReturnSetInfo *answer;
} OfsExposeRequest;

typedef struct OfsExposeDialect
{
	const char *name;
	const OfsWrapper *wrappers;
	int			count;

	/* Appends ", argument => value"; NULL: nothing. */
	void		(*pass) (const OfsExposeRequest *request, const OfsWrapper *wrapper, StringInfo buf);
	/* Errors for options that are wrong, before anything is made; NULL: nothing to look at. */
	void		(*check) (const OfsExposeRequest *request);
	/* Makes what are no functions; NULL: nothing. */
	void		(*make) (const OfsExposeRequest *request);
	/* Warns about what is not as such clients take it; NULL: all tables suit. */
	void		(*suits) (const OfsExposeRequest *request, const OfsTable *table);
} OfsExposeDialect;

extern const OfsExposeDialect ofs_expose_watermelondb;
extern const OfsExposeDialect ofs_expose_json;
extern const OfsExposeDialect ofs_expose_drift;
extern const OfsExposeDialect ofs_expose_rest;
extern const OfsExposeDialect ofs_expose_pocketbase;
extern const OfsExposeDialect ofs_expose_messages;
extern const OfsExposeDialect ofs_expose_crdt;

/* A row of the answer: what about the table doesn't suit. */
extern void ofs_expose_warn(const OfsExposeRequest *request, const OfsTable *table, const char *problem);

#endif							/* OFS_EXPOSE_H */
