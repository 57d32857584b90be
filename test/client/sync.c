/*
 * sync.c
 *		Pull, apply, push, acknowledge.
 *
 * Each step on the device is one SQLite transaction: an answer is applied
 * together with its cursor, a batch is frozen whole, an acknowledgement takes
 * all marks off at once.  Killed between any two of them, the next sync goes
 * on from what the file says:
 *
 * - a batch is there: the server's word on it was never heard, so it is sent
 *   again as it was, with the base and the push id that it had;
 * - no batch: pull, apply, freeze what is dirty, send it, acknowledge.
 *
 * In one trip, what is dirty is sent at once, and the answer is acknowledged and applied in one transaction.  That is
 * pushing blindly: whatever is refused, another try behind a pull may be better.
 *
 * A pull may come in pages: each is applied with the cursor that goes on behind it, and none is asked for twice.  A replacement takes
 * away what no page has told of, when the last one has come.
 *
 * A conflict means that others wrote since the pull: pull and push again.  A record rejected by itself
 * stays dirty, or is given up.
 * Nothing locks out a second sync of the same device: each transaction looks
 * whether what it started from is still so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

#define TRIES	5

/* Is there a pull of which not all pages have come? */
static const char amid_pages[] = "SELECT count(*) FROM offsync_device WHERE name = 'page'";

/* Has nothing come yet?  Then the answer may be large, and is asked for in pieces; a schema of wrappers has none. */
static const char first_sync[] = "SELECT NOT EXISTS (SELECT 1 FROM offsync_device"
" WHERE name IN ('cursor', 'page', 'max-rows') AND value NOT NULL OR name = 'schema' AND value <> 'offsync')";

static bool
same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* The collections of temp.offsync_part, one after the other; frees the last */
static char *
next_collection(Device *dev, char *last)
{
	char	   *name = ofs_device_text(dev, "SELECT min(collection) FROM temp.offsync_part"
									   " WHERE ?1 IS NULL OR collection > ?1", last);

	sqlite3_free(last);
	return name;
}

/* Table and columns for the keys in temp.offsync_key */
static void
shape(Device *dev, const char *collection)
{
	ofs_device_run(dev, ofs_sql_learn, collection, NULL);
	ofs_device_make(dev, "offered", collection);
	ofs_device_make(dev, "table", collection);
	ofs_device_make(dev, "column", collection);
}

/*
 * Tables as the server declares them, and columns out of its catalog, for
 * collections without records.  A server that doesn't tell is no error: columns
 * come with records as well.
 */
void
ofs_sync_learn(Device *dev, PGconn *conn)
{
	Answer		answer;
	Answer		tables = {0};

	if (ofs_server_columns(conn, dev, &answer))
	{
		char	   *changes = sqlite3_mprintf("{\"changes\":%s}", answer.text);
		char	   *name = NULL;
		bool		offered = ofs_server_tables(conn, dev, answer.text, &tables);

		ofs_device_run(dev, "BEGIN IMMEDIATE", NULL, NULL);
		ofs_device_run(dev, ofs_sql_offered, offered ? tables.text : "{}", NULL);
		ofs_device_run(dev, ofs_sql_answer, changes, NULL);
		ofs_device_make(dev, "untracked", NULL);
		while ((name = next_collection(dev, name)) != NULL)
		{
			ofs_device_run(dev, ofs_sql_catalog, name, NULL);
			shape(dev, name);
		}
		ofs_device_make(dev, "tracked", NULL);
		ofs_device_run(dev, "COMMIT", NULL, NULL);
		sqlite3_free(changes);
	}
	ofs_server_forget(&tables);
	ofs_server_forget(&answer);
}

/* One collection of an answer; whole: the answer holds every record of it */
static void
apply_collection(Device *dev, const char *name, bool whole)
{
	ofs_device_run(dev, ofs_sql_incoming, name, NULL);
	shape(dev, name);
	if (whole && ofs_device_is(dev, "SELECT count(*) FROM temp.offsync_key", NULL))
	{
		ofs_device_make(dev, "forgotten", name);
		ofs_device_run(dev, ofs_sql_forget, name, NULL);
	}
	ofs_device_run(dev, ofs_sql_gone, name, NULL);
	ofs_device_make(dev, "replaced", name);
	ofs_device_run(dev, ofs_sql_unmark, name, NULL);
	ofs_device_watch(dev, name);
	ofs_device_make(dev, "delete", name);
	ofs_device_make(dev, "upsert", name);
	ofs_device_watch(dev, NULL);
	ofs_device_run(dev, ofs_sql_see, name, NULL);
	ofs_device_run(dev, ofs_sql_count, name, NULL);
}

/* The collections of an answer whose top is in temp.offsync_answer */
static void
apply(Device *dev, bool first)
{
	char	   *name = NULL;

	if (!ofs_device_is(dev, ofs_sql_anything, NULL))
		return;
	ofs_device_make(dev, "untracked", NULL);
	while ((name = next_collection(dev, name)) != NULL)
		apply_collection(dev, name, first ||
						 ofs_device_is(dev, "SELECT replaces FROM temp.offsync_part"
									   " WHERE collection = ?1", name));
	ofs_device_make(dev, "tracked", NULL);
}

static void
tell(Device *dev)
{
	ofs_device_print(dev, ofs_sql_applied, NULL);
	ofs_device_run(dev, "DELETE FROM temp.offsync_applied", NULL, NULL);
}

typedef struct First
{
	Device	   *dev;
	Device		quiet;			/* the same, whose parts tell nothing of their progress */
	Parts		parts;
} First;

static void
apply_part(First *first, char *part)
{
	ofs_device_run(&first->quiet, ofs_sql_answer, part, NULL);
	apply(&first->quiet, true);
	sqlite3_free(part);
}

static void
take_piece(void *arg, const char *text, size_t length)
{
	First	   *first = arg;
	char	   *part;

	ofs_parts_add(&first->parts, text, length);
	if ((part = ofs_parts_take(&first->parts)) != NULL)
	{
		apply_part(first, part);
		ofs_main_hook("amid_pull");
	}
	if (first->dev->progress)
		ofs_parts_show(&first->parts, first->dev->terminal, false);
}

/*
 * A first sync, applied while it comes, in one transaction of the device: it has all or nothing.  False when another sync of
 * this device got in between.
 */
static bool
pull_first(Device *dev, PGconn *conn)
{
	char	   *clock = ofs_device_text(dev, "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", NULL);
	First		first = {.dev = dev, .quiet = *dev};
	Answer		answer;
	bool		fresh;

	first.quiet.progress = false;
	ofs_device_run(dev, "BEGIN IMMEDIATE", NULL, NULL);
	fresh = ofs_device_is(dev, first_sync, NULL);
	if (fresh)
	{
		ofs_parts_begin(&first.parts);
		if (!ofs_server_stream(conn, dev, take_piece, &first, &answer))
		{
			ofs_server_complain(conn, &answer, "pull");
			exit(EXIT_REFUSED);
		}
		ofs_main_hook("after_pull");
		apply_part(&first, ofs_parts_rest(&first.parts));
		ofs_device_run(dev, ofs_sql_advance, clock, NULL);
		if (dev->progress)
			ofs_parts_show(&first.parts, dev->terminal, true);
		ofs_parts_end(&first.parts);
		ofs_server_forget(&answer);
		if (ofs_device_is(dev, first_sync, NULL))
			die(EXIT_REFUSED, "pull: the answer has no cursor");
		ofs_main_hook("before_apply");
	}
	ofs_device_run(dev, "COMMIT", NULL, NULL);
	tell(dev);
	sqlite3_free(clock);
	return fresh;
}

/* The pull that the device was amid can't be gone on with */
static bool
start_anew(Device *dev, const char *at, const char *from, const Answer *answer)
{
	if (same(at, from) || (strcmp(answer->sqlstate, "PT410") != 0 && strcmp(answer->sqlstate, "PT400") != 0))
		return false;
	ofs_device_run(dev, "BEGIN IMMEDIATE", NULL, NULL);
	ofs_device_run(dev, ofs_sql_restart, NULL, NULL);
	ofs_device_run(dev, "COMMIT", NULL, NULL);
	return true;
}

/*
 * Ask from the cursor "at" on and apply the answer, if the device still stands
 * at "from"; the two differ amid the pages of a pull.
 */
static bool
pull_page(Device *dev, PGconn *conn, const char *from, const char *at)
{
	char	   *clock = ofs_device_text(dev, "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", NULL);
	char	   *now;
	char	   *page;
	Answer		answer;
	bool		fresh;

	if (!ofs_server_pull(conn, dev, at, &answer))
	{
		if (!start_anew(dev, at, from, &answer))
		{
			ofs_server_complain(conn, &answer, "pull");
			exit(EXIT_REFUSED);
		}
		sqlite3_free(clock);
		ofs_server_forget(&answer);
		return false;
	}
	ofs_main_hook("after_pull");
	if (answer.length > (size_t) sqlite3_limit(dev->db, SQLITE_LIMIT_LENGTH, -1))
		die(EXIT_REFUSED, "pull: an answer of %zu bytes is more than SQLite takes (%d)",
			answer.length, sqlite3_limit(dev->db, SQLITE_LIMIT_LENGTH, -1));
	if (dev->progress)
		fprintf(stderr, "pull: %zu bytes\n", answer.length);

	ofs_device_run(dev, "BEGIN IMMEDIATE", NULL, NULL);
	now = ofs_device_get(dev, "cursor");
	page = ofs_device_get(dev, "page");
	fresh = same(now, from) && same(page ? page : now, at);
	if (fresh)
	{
		ofs_device_run(dev, ofs_sql_answer, answer.text, NULL);
		apply(dev, at == NULL);
		ofs_device_run(dev, ofs_sql_advance, clock, NULL);
		if (!ofs_device_is(dev, "SELECT count(*) FROM offsync_device WHERE value NOT NULL AND name IN ('cursor', 'page')",
						   NULL))
			die(EXIT_REFUSED, "pull: the answer has no cursor");
		ofs_main_hook("before_apply");
	}
	ofs_device_run(dev, "COMMIT", NULL, NULL);
	tell(dev);
	sqlite3_free(now);
	sqlite3_free(page);
	sqlite3_free(clock);
	ofs_server_forget(&answer);
	return fresh;
}

/* A batch on its way */
typedef struct Push
{
	char	   *push_id;
	char	   *base;			/* the cursor that it was made at */
	char	   *clock;			/* when it was sent */
	bool		again;			/* it was sent before */
	bool		blind;			/* without a pull before it */
} Push;

/* False when another sync of this device got in between */
static bool
pull(Device *dev, PGconn *conn)
{
	bool		fresh;
	bool		more;
	bool		late = ofs_device_is(dev, amid_pages, NULL);

	do
	{
		char	   *from = ofs_device_get(dev, "cursor");
		char	   *page = ofs_device_get(dev, "page");

		fresh = ofs_device_is(dev, first_sync, NULL) ? pull_first(dev, conn) :
			pull_page(dev, conn, from, page ? page : from);
		sqlite3_free(from);
		sqlite3_free(page);
		more = ofs_device_is(dev, amid_pages, NULL);
		/* what an earlier sync began was of an earlier moment */
		if (late && !more)
		{
			more = true;
			late = false;
		}
	} while (fresh && more);
	if (fresh && ofs_device_is(dev, "SELECT count(*) FROM offsync_collection"
							   " WHERE name NOT IN (SELECT collection FROM offsync_column)", NULL))
		ofs_sync_learn(dev, conn);
	return fresh;
}

/* Make a batch of all that is dirty; false when nothing is.  Again: there is one, that another sync is sending */
static bool
freeze(Device *dev, bool *again)
{
	bool		dirty;

	ofs_device_run(dev, "BEGIN IMMEDIATE", NULL, NULL);
	ofs_device_run(dev, ofs_sql_tidy, NULL, NULL);
	dirty = ofs_device_is(dev, "SELECT EXISTS (SELECT 1 FROM offsync_dirty)", NULL);
	*again = ofs_device_is(dev, "SELECT count(*) FROM offsync_batch", NULL);
	if (dirty && !*again)
	{
		ofs_device_make(dev, "part", NULL);
		ofs_device_run(dev, ofs_sql_freeze, NULL, NULL);
	}
	ofs_device_run(dev, "COMMIT", NULL, NULL);
	return dirty;
}

/*
 * The batch is stored, but for what was rejected.  The answer's news are the rows as the server has them:
 * the cursor may not bring those of rejected records again.  In one trip, the changes in the answer are a
 * pull's: they come behind, if the device still stands where it asked from.
 */
static void
acknowledge(Device *dev, const Push *sent, const char *text)
{
	bool		pulled = dev->one_trip && ofs_device_is(dev, ofs_sql_stands, NULL);
	char	   *pushed = dev->one_trip ?
		ofs_device_text(dev, "SELECT json_remove(?1, '$.changes')", text) : sqlite3_mprintf("%s", text);
	char	   *news;

	ofs_device_run(dev, ofs_sql_rejected, text, sent->blind ? "0" : "1");
	news = ofs_device_text(dev, ofs_sql_news, pushed);
	ofs_device_run(dev, ofs_sql_ack, text, NULL);
	if (news)
	{
		ofs_device_run(dev, ofs_sql_answer, news, NULL);
		apply(dev, false);
	}
	if (pulled)
	{
		ofs_device_run(dev, ofs_sql_answer, text, NULL);
		/* a first answer tells of no deletion: what was pushed, and isn't in it, is gone already */
		if (sent->base == NULL)
			ofs_device_run(dev, "UPDATE temp.offsync_part SET replaces = 1", NULL, NULL);
		apply(dev, sent->base == NULL);
		ofs_device_run(dev, ofs_sql_advance, sent->clock, NULL);
	}
	sqlite3_free(news);
	sqlite3_free(pushed);
	ofs_main_hook("before_ack");
}

/* The server's word on a batch, unless another sync has heard it already: an answer, or a refusal */
static void
settle(Device *dev, const Push *sent, const char *text)
{
	ofs_device_run(dev, "BEGIN IMMEDIATE", NULL, NULL);
	if (ofs_device_is(dev, "SELECT count(*) FROM offsync_batch WHERE push_id = ?1", sent->push_id))
	{
		if (text)
			acknowledge(dev, sent, text);
		else
			ofs_device_run(dev, ofs_sql_refuse, sent->again ? "1" : "0", NULL);
	}
	ofs_device_run(dev, "COMMIT", NULL, NULL);
	tell(dev);
}

/* Has the server said something about itself, rather than about the batch? */
static bool
about_itself(const char *sqlstate)
{
	static const char *const classes[] = {"08", "40", "53", "55P03", "57", "58", NULL};

	for (int i = 0; classes[i]; i++)
		if (strncmp(sqlstate, classes[i], strlen(classes[i])) == 0)
			return true;
	return false;
}

/*
 * Send the batch.  False: it was refused in a way that another pull may mend.
 * A batch on which no word came stays, for the next sync.  So does one that was sent before, and now met with a timeout
 * or the like: what became of it the first time is still unknown, and in a batch of another push_id it would be stored again.
 */
static bool
push(Device *dev, PGconn *conn, bool again, bool blind, bool last)
{
	Push		sent = {
		.push_id = ofs_device_text(dev, "SELECT push_id FROM offsync_batch", NULL),
		.clock = ofs_device_text(dev, "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", NULL),
		.again = again,
		.blind = blind
	};
	char	   *changes = ofs_device_text(dev, "SELECT changes FROM offsync_batch WHERE push_id = ?1", sent.push_id);
	Answer		answer;
	bool		done;

	if (!changes)
	{
		/* another sync has heard the server's word on it */
		sqlite3_free(sent.clock);
		sqlite3_free(sent.push_id);
		return false;
	}
	sent.base = ofs_device_text(dev, "SELECT base FROM offsync_batch WHERE push_id = ?1", sent.push_id);
	ofs_main_hook("before_push");
	if (dev->progress)
		fprintf(stderr, "push: %zu bytes\n", strlen(changes));
	done = ofs_server_push(conn, dev, changes, sent.base, sent.push_id, &answer);
	if (done)
	{
		ofs_main_hook("after_push");
		settle(dev, &sent, answer.text);
		ofs_device_print(dev, ofs_sql_pushed, answer.text);
		ofs_device_print(dev, ofs_sql_reasons, answer.text);
		done = last || !ofs_device_is(dev, blind ? "SELECT count(*) FROM temp.offsync_rejected" :
									  ofs_sql_mendable, answer.text);
	}
	else
	{
		bool		heard = *answer.sqlstate && PQstatus(conn) == CONNECTION_OK &&
			!(again && about_itself(answer.sqlstate));
		bool		mendable = again || blind || strcmp(answer.sqlstate, "PT409") == 0 ||
			strcmp(answer.sqlstate, "40P01") == 0;

		if (heard)
			settle(dev, &sent, NULL);
		if (!heard || !mendable || last)
		{
			ofs_server_complain(conn, &answer, "push");
			exit(EXIT_REFUSED);
		}
	}
	ofs_server_forget(&answer);
	sqlite3_free(changes);
	sqlite3_free(sent.clock);
	sqlite3_free(sent.base);
	sqlite3_free(sent.push_id);
	return done;
}

/* False when the server rejected records that are still dirty */
bool
ofs_sync_run(Device *dev)
{
	PGconn	   *conn = ofs_server_connect(dev);
	bool		done = false;
	bool		again;

	if (PQstatus(conn) != CONNECTION_OK)
	{
		ofs_server_complain(conn, NULL, "connection");
		exit(EXIT_REFUSED);
	}
	if (!ofs_device_is(dev, "SELECT count(*) FROM offsync_collection", NULL))
		ofs_sync_learn(dev, conn);
	dev->one_trip = ofs_device_is(dev, "SELECT value NOT NULL FROM offsync_device WHERE name = 'one-trip'", NULL);
	if (ofs_device_is(dev, "SELECT count(*) FROM offsync_batch", NULL))
		push(dev, conn, true, true, false);
	/* nobody pushes from amid a pull, and a page of this one may be all that came in one trip */
	if (dev->one_trip && !ofs_device_is(dev, amid_pages, NULL) && freeze(dev, &again))
		done = push(dev, conn, again, true, false) && !ofs_device_is(dev, amid_pages, NULL);
	for (int i = 1; i <= TRIES && !done; i++)
		done = pull(dev, conn) && (!freeze(dev, &again) || push(dev, conn, again, false, i == TRIES)) &&
			(!ofs_device_is(dev, amid_pages, NULL) || pull(dev, conn));
	PQfinish(conn);
	if (!done)
		die(EXIT_REFUSED, "gave up: other syncs of this device run at the same time");
	return !ofs_device_is(dev, "SELECT count(*) FROM temp.offsync_rejected WHERE NOT given", NULL);
}
