/*
 * newid.c
 *		offsync.new_id: random ids, as clients make them.
 *
 * PocketBase's ids have 15 letters of a-z0-9, WatermelonDB's 16 of a-zA-Z0-9; their clients draw them from generators that can be
 * foreseen.  These come from the operating system's, byte by byte.  A byte beyond the last whole multiple of the alphabet's size is
 * thrown away, as the remainder would make its first letters likelier.
 */
#include "postgres.h"

#include "base/compat.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(offsync_new_id);

#define MAX_LENGTH	255
#define MAX_LETTERS	256			/* a byte chooses one */
#define ROOM		64			/* random bytes that are drawn at once */

typedef struct Alphabet
{
	int			count;
	const char *letters[MAX_LETTERS];
	int			lengths[MAX_LETTERS];	/* in bytes */
} Alphabet;

static void
add_letter(Alphabet *alphabet, const char *letter, int length)
{
	if (alphabet->count == MAX_LETTERS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("alphabet must not have more than %d letters", MAX_LETTERS)));
	for (int i = 0; i < alphabet->count; i++)
	{
		if (alphabet->lengths[i] == length && memcmp(alphabet->letters[i], letter, length) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("alphabet must not repeat a letter"),
					 errdetail("Letter \"%.*s\" stands in it twice, and would be likelier than the others.",
							   length, letter)));
	}
	alphabet->letters[alphabet->count] = letter;
	alphabet->lengths[alphabet->count++] = length;
}

static void
read_alphabet(Alphabet *alphabet, const char *text, int len)
{
	alphabet->count = 0;
	for (int at = 0; at < len;)
	{
		int			length = pg_mblen(text + at);

		add_letter(alphabet, text + at, length);
		at += length;
	}
	if (alphabet->count < 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("alphabet must have at least 2 letters")));
}

/* length; alphabet */
Datum
offsync_new_id(PG_FUNCTION_ARGS)
{
	Alphabet	alphabet;
	StringInfoData id;
	uint8		bytes[ROOM];
	text	   *letters;
	int			length;
	int			bound;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", PG_ARGISNULL(0) ? "length" : "alphabet")));
	length = PG_GETARG_INT32(0);
	if (length < 1 || length > MAX_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("length must be between 1 and %d", MAX_LENGTH)));
	letters = PG_GETARG_TEXT_PP(1);
	read_alphabet(&alphabet, VARDATA_ANY(letters), VARSIZE_ANY_EXHDR(letters));
	bound = 256 - 256 % alphabet.count;

	initStringInfo(&id);
	while (length > 0)
	{
		if (!pg_strong_random(bytes, sizeof(bytes)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		for (int i = 0; i < ROOM && length > 0; i++)
		{
			if (bytes[i] >= bound)
				continue;
			appendBinaryStringInfo(&id, alphabet.letters[bytes[i] % alphabet.count],
								   alphabet.lengths[bytes[i] % alphabet.count]);
			length--;
		}
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(id.data, id.len));
}
