/*
 * parts.c
 *		A long answer, cut into short ones.
 *
 * SQLite wants a JSON text as a whole, and the answer of a first sync may be larger than anything that it takes.  So
 * what has come is closed from time to time within a list of records, and is an answer of its own, without a cursor; what follows goes on
 * behind the same names.  Only brackets and strings are looked at.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"

/* what an answer begins with, and how deep it is within a list */
#define BEGINNING	"{\"changes\":{"
#define NOTHING		":{\"created\":[],\"updated\":[],\"deleted\":[]},"
#define NAMES_DEPTH		2
#define LISTS_DEPTH		3
#define RECORDS_DEPTH	4

#define PART_SIZE	(8 * 1024 * 1024)

void
ofs_parts_begin(Parts *parts)
{
	const char *size = getenv("OFFSYNC_CLIENT_PART");

	*parts = (Parts) {.enough = size ? strtoul(size, NULL, 10) : PART_SIZE, .text = sqlite3_str_new(NULL), .earlier = sqlite3_str_new(NULL), .now = sqlite3_str_new(NULL)};
}

void
ofs_parts_end(Parts *parts)
{
	sqlite3_free(sqlite3_str_finish(parts->text));
	sqlite3_free(sqlite3_str_finish(parts->earlier));
	sqlite3_free(sqlite3_str_finish(parts->now));
	sqlite3_free(parts->collection);
	sqlite3_free(parts->list);
}

/* A string has ended: the name of a collection, or of a list */
static void
name(Parts *parts, size_t end)
{
	char	  **place = parts->depth == NAMES_DEPTH ? &parts->collection :
		parts->depth == LISTS_DEPTH ? &parts->list : NULL;
	const char *text = sqlite3_str_value(parts->text);

	if (!place)
		return;
	sqlite3_free(*place);
	*place = sqlite3_mprintf("%.*s", (int) (end - parts->start + 1), text + parts->start);
}

static void
look(Parts *parts)
{
	const char *text = sqlite3_str_value(parts->text);
	size_t		length = (size_t) sqlite3_str_length(parts->text);

	for (size_t i = parts->looked; i < length; i++)
	{
		char		c = text[i];

		if (parts->escaped)
			parts->escaped = false;
		else if (parts->quoted)
		{
			parts->escaped = c == '\\';
			parts->quoted = c != '"';
			if (!parts->quoted)
				name(parts, i);
		}
		else if (c == '"')
		{
			parts->quoted = true;
			parts->start = i;
		}
		else if (c == '{' || c == '[')
			parts->records += parts->depth++ == RECORDS_DEPTH;
		else if ((c == '}' || c == ']') && --parts->depth == NAMES_DEPTH && parts->list)
		{
			sqlite3_str_appendf(parts->now, "%s" NOTHING, parts->collection);
			sqlite3_free(parts->list);
			parts->list = NULL;
		}
	}
	parts->looked = length;
}

void
ofs_parts_add(Parts *parts, const char *text, size_t length)
{
	parts->bytes += length;
	if (parts->cut && length > 0 && *text == ',')
	{
		text++;
		length--;
	}
	parts->cut = parts->cut && length == 0;
	sqlite3_str_append(parts->text, text, (int) length);
	if (sqlite3_str_errcode(parts->text) != SQLITE_OK)
		die(EXIT_REFUSED, "pull: a record is larger than SQLite takes");
	look(parts);
}

/* An answer, if there is enough for one and it can be cut here; sqlite3_free it */
char *
ofs_parts_take(Parts *parts)
{
	char	   *part;

	if (parts->looked < parts->enough || parts->depth != RECORDS_DEPTH || parts->quoted)
		return NULL;
	part = sqlite3_mprintf("%s]}}}", sqlite3_str_value(parts->text));
	sqlite3_str_reset(parts->text);
	sqlite3_str_appendf(parts->text, BEGINNING "%s:{%s:[", parts->collection, parts->list);
	parts->looked = (size_t) sqlite3_str_length(parts->text);
	parts->cut = true;
	sqlite3_str_append(parts->earlier, sqlite3_str_value(parts->now), sqlite3_str_length(parts->now));
	sqlite3_str_reset(parts->now);
	return part;
}

/* What is left, when all has come: with the rest of the answer, and the names of all its collections; sqlite3_free it */
char *
ofs_parts_rest(Parts *parts)
{
	const char *text = sqlite3_str_value(parts->text);
	const char *earlier = sqlite3_str_value(parts->earlier);

	if (!text || strncmp(text, BEGINNING, strlen(BEGINNING)) != 0 || parts->depth != 0)
		die(EXIT_REFUSED, "pull: the answer isn't one");
	return sqlite3_mprintf(BEGINNING "%s%s", earlier ? earlier : "", text + strlen(BEGINNING));
}

/* Tell how far it is, on one line of a terminal, or now and then on a new one */
void
ofs_parts_show(Parts *parts, bool terminal, bool last)
{
	struct timespec now;
	double		seconds;

	clock_gettime(CLOCK_MONOTONIC, &now);
	seconds = (double) now.tv_sec + (double) now.tv_nsec / 1e9;
	if (parts->begun == 0)
		parts->begun = parts->shown = seconds;
	if (!last && seconds - parts->shown < (terminal ? 0.1 : 1))
		return;
	parts->shown = seconds;
	fprintf(stderr, "%spull: %zu bytes, %ld records, %.1f MB/s%s", terminal ? "\r" : "", parts->bytes, parts->records,
			(double) parts->bytes / 1e6 / (seconds > parts->begun ? seconds - parts->begun : 1e-3),
			terminal && !last ? " \033[K" : "\n");
}
