/*
 * pbfilter.c
 *		The filters that PocketBase's sync clients send.
 *
 * A filter is one comparison or several joined by &&, perhaps in parentheses.  These are understood, with whatever blanks and either kind
 * of quotes:
 *
 *		updated > '2024-01-31 10:00:00.123Z'			(or >=)
 *		updated >= '...' && action = 'delete'			(of the collection "changes")
 *		collection_name = 'task', collection_id = ...	(of the collection "changes")
 *
 * PocketBase's whole language is not: a filter that were ignored in part would answer rows that nobody asked for.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/compat.h"
#include "base/errors.h"
#include "dialect/pbase.h"
#include "lib/stringinfo.h"

typedef struct Scanner
{
	const char *at;
	bool		changes;
} Scanner;

OFS_NORETURN static void
not_understood(const Scanner *scanner)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("filter is not understood"),
			 *scanner->at ? errdetail("Not understood from here on: %s", scanner->at) :
			 errdetail("It ends too early."),
			 scanner->changes ?
			 errhint("Understood are updated > 'time', updated >= 'time', action = 'create', 'update' or 'delete', and "
					 "collection_name = 'name', joined by &&.") :
			 errhint("Understood are updated > 'time' and updated >= 'time'.")));
}

static void
skip_blanks(Scanner *scanner)
{
	while (isspace((unsigned char) *scanner->at))
		scanner->at++;
}

static bool
take(Scanner *scanner, const char *token)
{
	skip_blanks(scanner);
	if (strncmp(scanner->at, token, strlen(token)) != 0)
		return false;
	scanner->at += strlen(token);
	return true;
}

/* The same of a whole name. */
static bool
take_name(Scanner *scanner, const char *name)
{
	const char *start;

	skip_blanks(scanner);
	start = scanner->at;
	if (!take(scanner, name))
		return false;
	if (!isalnum((unsigned char) *scanner->at) && *scanner->at != '_' && *scanner->at != '.' && *scanner->at != ':')
		return true;
	scanner->at = start;
	return false;
}

static char *
take_text(Scanner *scanner)
{
	StringInfoData text;
	char		quote;

	skip_blanks(scanner);
	quote = *scanner->at;
	if (quote != '\'' && quote != '"')
		not_understood(scanner);
	initStringInfo(&text);
	for (scanner->at++; *scanner->at != quote; scanner->at++)
	{
		if (*scanner->at == '\\' && scanner->at[1] == quote)
			scanner->at++;
		if (*scanner->at == '\0')
			not_understood(scanner);
		appendStringInfoChar(&text, *scanner->at);
	}
	scanner->at++;
	return text.data;
}

/* One comparison. */
static void
take_condition(Scanner *scanner, OfsPbFilter *filter)
{
	const char *start;
	const char **place = NULL;

	skip_blanks(scanner);
	start = scanner->at;
	if (take_name(scanner, "updated"))
	{
		if (take(scanner, ">=") || take(scanner, ">"))
			place = &filter->since;
	}
	else if (scanner->changes && take_name(scanner, "action"))
	{
		if (take(scanner, "="))
			place = &filter->action;
	}
	else if (scanner->changes && (take_name(scanner, "collection_name") || take_name(scanner, "collection_id")))
	{
		if (take(scanner, "="))
			place = &filter->collection;
	}
	if (place == NULL || *place != NULL)
	{
		scanner->at = start;
		not_understood(scanner);
	}
	*place = take_text(scanner);
}

OfsPbFilter
ofs_pbfilter_parse(const char *text, bool changes)
{
	Scanner		scanner = {text ? text : "", changes};
	OfsPbFilter	filter = {0};
	int			open = 0;

	skip_blanks(&scanner);
	if (*scanner.at == '\0')
		return filter;
	do
	{
		while (take(&scanner, "("))
			open++;
		take_condition(&scanner, &filter);
		while (open > 0 && take(&scanner, ")"))
			open--;
	} while (take(&scanner, "&&"));
	skip_blanks(&scanner);
	if (*scanner.at != '\0' || open > 0)
		not_understood(&scanner);
	return filter;
}
