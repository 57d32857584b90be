/*
 * mutate.h
 *		Texts that a device might send, and texts that none should.
 */
#ifndef MUTATE_H
#define MUTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Text
{
	char	   *data;			/* a NUL behind it */
	size_t		len;
	size_t		room;
} Text;

extern void text_clear(Text *text);
extern void text_add(Text *text, const char *bytes, size_t len);
extern void text_put(Text *text, const char *string);
extern void text_printf(Text *text, const char *fmt,...) __attribute__((format(printf, 2, 3)));

/* Seeded: the same numbers in each run. */
extern void chance_seed(uint64_t seed);
extern uint64_t chance(uint64_t below);
#define one_in(n) (chance(n) == 0)
#define pick(list) ((list)[chance(sizeof(list) / sizeof(*(list)))])

/* A changes object that is mostly good. */
extern void make_push(Text *out);

/* A hybrid logical clock's text that is mostly good, as JSON; one of several nodes. */
extern void make_clock(Text *out);
extern const char *make_node(void);

/* A row CRDT's changeset; messages of fields. */
extern void make_frame(Text *out);
extern void make_messages(Text *out);

/* Any JSON value, often an odd one. */
extern void make_value(Text *out, int depth);

/* What reconcile takes as the device. */
extern void make_device(Text *out);

/* Names: of collections, columns, schemas, clients, ... */
extern const char *make_name(void);

/* Change a text here and there; pieces of the other one may come into it. */
extern void mangle(Text *text, const Text *other);

/* The same of JSON, by whole values. */
extern void mangle_json(Text *text, const Text *other);

#endif							/* MUTATE_H */
