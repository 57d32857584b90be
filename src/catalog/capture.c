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
	OfsWritten	written;
	struct Noted *next;
} Noted;

static bool active = false;
static bool answered = false;
static bool disturbed = false;
static MemoryContext context = NULL;
static Noted *noted = NULL;
static ofs_capture_watcher watcher = NULL;
static ofs_capture_judge judge = NULL;
static ofs_capture_giver giver = NULL;
static void *watcher_arg = NULL;

bool
ofs_capture_active(void)
{
	return active;
}

void
ofs_capture_begin(ofs_capture_watcher watch, ofs_capture_judge judges, ofs_capture_giver give, void *arg)
{
	ofs_capture_end();
	watcher = watch;
	judge = judges;
	giver = give;
	watcher_arg = arg;
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
	active = disturbed = false;
}

void
ofs_capture_note(Oid relid, const char *id, Relation rel, HeapTuple tuple)
{
	Noted	   *note;

	if (!active)
		return;
	note = MemoryContextAlloc(context, sizeof(Noted));
	note->written.relid = relid;
	note->written.id = MemoryContextStrdup(context, id);
	note->written.known = watcher(&note->written, rel, tuple, watcher_arg);
	note->next = noted;
	noted = note;
}

bool
ofs_capture_judged(void)
{
	return active && judge != NULL;
}

bool
ofs_capture_differs(Oid relid, const char *id, Relation rel, HeapTuple tuple)
{
	return ofs_capture_judged() && judge(relid, id, rel, tuple, watcher_arg);
}

const OfsGift *
ofs_capture_gift(Oid relid, const char *id, Relation rel, HeapTuple tuple)
{
	return active ? giver(relid, id, rel, tuple, watcher_arg) : NULL;
}

void
ofs_capture_disturb(void)
{
	disturbed = active;
}

bool
ofs_capture_disturbed(void)
{
	return disturbed;
}

void
ofs_capture_visit(ofs_capture_visitor visit, void *arg)
{
	for (Noted *note = noted; note; note = note->next)
		visit(&note->written, arg);
}

bool
ofs_capture_last(Oid *relid, const char **id)
{
	if (noted == NULL)
		return false;
	*relid = noted->written.relid;
	*id = noted->written.id;
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
		active = answered = disturbed = false;
		context = NULL;
		noted = NULL;
	}
}

void
ofs_capture_init(void)
{
	RegisterXactCallback(transaction_event, NULL);
}
