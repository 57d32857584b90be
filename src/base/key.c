/*
 * key.c
 *		Ids: a row's key as one string, and back.
 *
 * A key of one column is the text of its value, as it is.  Of a composite key
 * each part's text is escaped and the parts are joined by '.': letters,
 * digits and '-' stand for themselves, any other byte is '_' and two hex
 * digits in capitals.  The characters used are those that WatermelonDB calls
 * safe, and one key has one id: an escape that wasn't needed is refused, or a
 * row could be pushed under two ids at once.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/codec_internal.h"
#include "base/compat.h"
#include "base/errors.h"

struct OfsKeyCodec
{
	int			nparts;
	OfsTextIo	parts[FLEXIBLE_ARRAY_MEMBER];
};

OfsKeyCodec *
ofs_key_create(int nparts, const Oid *typids, const int32 *typmods)
{
	OfsKeyCodec *key = palloc0(offsetof(OfsKeyCodec, parts) + nparts * sizeof(OfsTextIo));

	key->nparts = nparts;
	for (int i = 0; i < nparts; i++)
		ofs_textio_init(&key->parts[i], typids[i], typmods != NULL ? typmods[i] : -1);
	return key;
}

static inline bool
is_plain(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

static void
append_escaped(StringInfo out, const char *text, int len)
{
	for (int i = 0; i < len; i++)
	{
		if (is_plain(text[i]))
			appendStringInfoCharMacro(out, text[i]);
		else
			appendStringInfo(out, "_%02X", (unsigned char) text[i]);
	}
}

void
ofs_key_write(OfsKeyCodec *key, StringInfo out, const Datum *parts)
{
	StringInfoData text;

	if (key->nparts == 1)
	{
		ofs_textio_write(&key->parts[0], out, parts[0]);
		return;
	}
	initStringInfo(&text);
	for (int i = 0; i < key->nparts; i++)
	{
		resetStringInfo(&text);
		ofs_textio_write(&key->parts[i], &text, parts[i]);
		if (i > 0)
			appendStringInfoChar(out, '.');
		append_escaped(out, text.data, text.len);
	}
	pfree(text.data);
}

static void
malformed_id(const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed id"),
			 errdetail_internal("%s", problem)));
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The byte that an escape stands for; 0, which no text holds, when it is no proper one. */
static char
unescape(const char *escape)
{
	int			high = hex_value(escape[1]);
	int			low = high < 0 ? -1 : hex_value(escape[2]);
	char		byte = (char) (high * 16 + low);

	return low < 0 || is_plain(byte) ? '\0' : byte;
}

/* Take the part up to the next '.' or the end; returns where it ends. */
static const char *
take_part(const char *id, StringInfo part)
{
	while (*id != '\0' && *id != '.')
	{
		char		byte = *id;

		if (byte == '_')
		{
			byte = unescape(id);
			if (byte == '\0')
				malformed_id(_("An escape in it is not one that an id of this collection has."));
			id += 2;
		}
		else if (!is_plain(byte))
			malformed_id(_("It has a character that an id of this collection can't have."));
		appendStringInfoCharMacro(part, byte);
		id++;
	}
	return id;
}

void
ofs_key_read(OfsKeyCodec *key, const char *id, Datum *parts)
{
	StringInfoData part;

	if (key->nparts == 1)
	{
		parts[0] = ofs_textio_read(&key->parts[0], id);
		return;
	}
	initStringInfo(&part);
	for (int i = 0; i < key->nparts; i++)
	{
		resetStringInfo(&part);
		id = take_part(id, &part);
		if ((*id == '.') != (i < key->nparts - 1))
			malformed_id(_("It doesn't have as many parts as the key of its collection."));
		if (*id == '.')
			id++;
		if (!pg_verifymbstr(part.data, part.len, true))
			malformed_id(_("Its text is not valid in the database's encoding."));
		parts[i] = ofs_textio_read(&key->parts[i], part.data);
	}
	pfree(part.data);
}
