/*
 * stubs.c
 *		What the parts under the fuzzer need of a server.
 *
 * Memory comes from malloc, so that the sanitizer sees the end of every piece, and is given back all at once
 * when an input has been dealt with.  An error jumps out of the input.
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "fuzz.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

MemoryContext CurrentMemoryContext = NULL;
volatile sig_atomic_t InterruptPending = false;
sigjmp_buf	fuzz_error;
int			fuzz_sqlstate;

/* ---------- memory ---------- */

typedef struct Piece
{
	struct Piece *next;
	struct Piece *previous;
	size_t		size;
	size_t		unused;			/* keeps what follows aligned */
} Piece;

static Piece all = {&all, &all, 0, 0};

static void *
take(size_t size, bool zero)
{
	Piece	   *piece = malloc(sizeof(Piece) + size);

	if (piece == NULL)
		abort();
	piece->size = size;
	piece->next = all.next;
	piece->previous = &all;
	all.next = piece;
	piece->next->previous = piece;
	/* what isn't asked to be zero is certainly not */
	memset(piece + 1, zero ? 0 : 0xAA, size);
	return piece + 1;
}

static void
give(void *pointer)
{
	Piece	   *piece = (Piece *) pointer - 1;

	piece->next->previous = piece->previous;
	piece->previous->next = piece->next;
	free(piece);
}

void
fuzz_forget(void)
{
	Piece	   *next;

	for (Piece *piece = all.next; piece != &all; piece = next)
	{
		next = piece->next;
		free(piece);
	}
	all.next = all.previous = &all;
}

static void *
resize(void *pointer, size_t size)
{
	void	   *result = take(size, false);

	memcpy(result, pointer, Min(size, ((Piece *) pointer - 1)->size));
	give(pointer);
	return result;
}

void *
palloc(Size size)
{
	return take(size, false);
}

void *
palloc0(Size size)
{
	return take(size, true);
}

void *
palloc_extended(Size size, int flags)
{
	return take(size, (flags & MCXT_ALLOC_ZERO) != 0);
}

void *
MemoryContextAllocExtended(MemoryContext context, Size size, int flags)
{
	return palloc_extended(size, flags);
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return take(size, true);
}

void *
repalloc(void *pointer, Size size)
{
	return resize(pointer, size);
}

void *
repalloc_huge(void *pointer, Size size)
{
	return resize(pointer, size);
}

/* The parser of JSON that we link is the clients', where nothing can be given back. */
void
pfree(void *pointer)
{
	if (pointer)
		give(pointer);
}

char *
pnstrdup(const char *in, Size len)
{
	char	   *copy;

	len = strnlen(in, len);
	copy = take(len + 1, false);
	memcpy(copy, in, len);
	copy[len] = '\0';
	return copy;
}

char *
pstrdup(const char *in)
{
	return pnstrdup(in, strlen(in));
}

/*
 * The same by other names.  All must be here that one object of libpgcommon has, or the linker takes that one, too; not every
 * release has each.
 */
#define NAMED(declaration, body) extern declaration; declaration body

NAMED(void *pg_malloc(size_t size), {return take(size, false);})
NAMED(void *pg_malloc0(size_t size), {return take(size, true);})
NAMED(void *pg_malloc_extended(size_t size, int flags), {return palloc_extended(size, flags);})
NAMED(void *pg_realloc(void *pointer, size_t size), {return pointer ? resize(pointer, size) : take(size, false);})
NAMED(char *pg_strdup(const char *text), {return pstrdup(text);})
NAMED(void pg_free(void *pointer), {if (pointer) give(pointer);})
NAMED(Size add_size(Size s1, Size s2), {return s1 + s2;})
NAMED(Size mul_size(Size s1, Size s2), {return s1 * s2;})
NAMED(void *palloc_mul(Size s1, Size s2), {return take(s1 * s2, false);})
NAMED(void *palloc0_mul(Size s1, Size s2), {return take(s1 * s2, true);})
NAMED(void *palloc_mul_extended(Size s1, Size s2, int flags), {return palloc_extended(s1 * s2, flags);})
NAMED(void *repalloc_mul(void *pointer, Size s1, Size s2), {return resize(pointer, s1 * s2);})
NAMED(void *pg_malloc_mul(Size s1, Size s2), {return take(s1 * s2, false);})
NAMED(void *pg_malloc0_mul(Size s1, Size s2), {return take(s1 * s2, true);})
NAMED(void *pg_malloc_mul_extended(Size s1, Size s2, int flags), {return palloc_extended(s1 * s2, flags);})
NAMED(void *pg_realloc_mul(void *pointer, Size s1, Size s2), {return pg_realloc(pointer, s1 * s2);})

/* ---------- errors ---------- */

bool
errstart(int elevel, const char *domain)
{
	if (elevel < ERROR)
		return false;
	fuzz_sqlstate = ERRCODE_INTERNAL_ERROR;
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

int
errcode(int sqlerrcode)
{
	fuzz_sqlstate = sqlerrcode;
	return 0;
}

/* The arguments are looked at, for they may lie behind the end of something. */
static int
look_at(const char *fmt, va_list args)
{
	char		text[1024];

	return vsnprintf(text, sizeof(text), fmt, args) < 0;
}

#define SAYS(name) \
int \
name(const char *fmt,...) \
{ \
	va_list		args; \
	int			result; \
\
	va_start(args, fmt); \
	result = look_at(fmt, args); \
	va_end(args); \
	return result; \
}

SAYS(errmsg)
SAYS(errmsg_internal)
SAYS(errdetail)
SAYS(errdetail_internal)
SAYS(errhint)

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	siglongjmp(fuzz_error, 1);
}

void
ProcessInterrupts(void)
{
}

/* ---------- texts ---------- */

int
GetDatabaseEncoding(void)
{
	return PG_UTF8;
}

int
pg_mbcliplen(const char *mbstr, int len, int limit)
{
	int			at = 0;

	while (at < len && mbstr[at] != '\0')
	{
		int			step = pg_utf_mblen((const unsigned char *) mbstr + at);

		if (at + step > limit)
			break;
		at += step;
	}
	return at;
}

/* ---------- JSON: by either name, depending on the server's major ---------- */

extern bool pg_parse_json_or_errsave(JsonLexContext *lex, void *actions, void *context);
extern void pg_parse_json_or_ereport(JsonLexContext *lex, void *actions);

bool
pg_parse_json_or_errsave(JsonLexContext *lex, void *actions, void *context)
{
	if (pg_parse_json(lex, actions) != JSON_SUCCESS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION)));
	return true;
}

void
pg_parse_json_or_ereport(JsonLexContext *lex, void *actions)
{
	(void) pg_parse_json_or_errsave(lex, actions, NULL);
}
