/*
 * capture.c
 *		What a push writes beside the rows it was sent.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/capture.h"
#include "utils/memutils.h"

typedef struct Noted
{
	Oid			relid;
	char	   *id;
	struct Noted *next;
} Noted;

static bool active = false;
static bool answered = false;
static MemoryContext context = NULL;
static Noted *noted = NULL;

bool
ofs_capture_active(void)
{
	return active;
}

void
ofs_capture_begin(void)
{
	ofs_capture_end();
	context = AllocSetContextCreate(TopTransactionContext, "offsync capture",
									ALLOCSET_DEFAULT_SIZES);
	active = true;
}

void
ofs_capture_end(void)
{
	if (context)
		MemoryContextDelete(context);
	context = NULL;
	noted = NULL;
	active = false;
}

void
ofs_capture_note(Oid relid, const char *id)
{
	Noted	   *note;

	if (!active)
		return;
	note = MemoryContextAlloc(context, sizeof(Noted));
	note->relid = relid;
	note->id = MemoryContextStrdup(context, id);
	note->next = noted;
	noted = note;
}

void
ofs_capture_visit(ofs_capture_visitor visit, void *arg)
{
	for (Noted *note = noted; note; note = note->next)
		visit(note->relid, note->id, arg);
}

bool
ofs_capture_last(Oid *relid, const char **id)
{
	if (noted == NULL)
		return false;
	*relid = noted->relid;
	*id = noted->id;
	return true;
}

void *
ofs_capture_mark(void)
{
	return noted;
}

void
ofs_capture_rewind(void *mark)
{
	noted = mark;
}

void
ofs_capture_answer(void)
{
	answered = true;
}

bool
ofs_capture_answered(void)
{
	return answered;
}

/* The transaction is over, and its memory with it. */
static void
transaction_event(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
	{
		active = answered = false;
		context = NULL;
		noted = NULL;
	}
}

void
ofs_capture_init(void)
{
	RegisterXactCallback(transaction_event, NULL);
}
