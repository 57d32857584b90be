/*
 * watch.c
 *		Sync at every notice that isn't the device's own.
 *
 * LISTEN comes before the sync, and the notices that have come are taken in before each sync: so whatever commits behind a
 * sync's snapshot sends a notice that is read behind it, and another sync follows.  A connection that was lost is made again,
 * and since nobody knows what was told meanwhile, a sync follows LISTEN each time.  What is told to nobody (a prepared
 * transaction, an edit on the device itself) waits for the next one of those that come in any case.
 *
 * Each sync is a process of its own, so that one that fails ends just itself.  This one keeps no SQLite file open.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define QUIET	100				/* milliseconds without a notice before a sync */
#define PATIENCE	2000		/* ... and how long they may go on */
#define RETRY	1000			/* between attempts to connect, doubled up to the interval */

static int	signalled[2];		/* a pipe that a signal writes into */
static volatile sig_atomic_t ended = 0;

typedef struct Watch
{
	const char *path;
	char	   *conninfo;
	char	   *client_id;
	char	   *collections;	/* NULL: all */
	char	   *hash;			/* of client_id, as notices carry it */
	Device		memory;			/* to look into notices */
	PGconn	   *conn;			/* NULL: there is none */
	long		interval;
} Watch;

/* The second signal doesn't wait for a sync to end: it may be killed at any time */
static void
end(int signal)
{
	int			saved = errno;

	if (ended)
		_exit(128 + signal);
	ended = 1;
	if (write(signalled[1], "", 1) < 0)
		_exit(128 + signal);
	errno = saved;
}

static void
catch_signals(void)
{
	struct sigaction action = {.sa_handler = end, .sa_flags = SA_RESTART};

	if (pipe2(signalled, O_CLOEXEC) != 0)
		die(EXIT_MISUSE, "pipe: %s", strerror(errno));
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

static long
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000L + time.tv_nsec / 1000000;
}

static long
least(long a, long b)
{
	return a < b ? a : b;
}

/* Until there is something on the connection, or the time is over, or it shall end */
static void
wait_for_server(const Watch *watch, long milliseconds)
{
	struct pollfd polled[2] = {
		{.fd = signalled[0], .events = POLLIN},
		{.fd = watch->conn ? PQsocket(watch->conn) : -1, .events = POLLIN}
	};

	if (!ended && milliseconds > 0)
		(void) poll(polled, 2, (int) milliseconds);
}

/* ---------- the connection ---------- */

static void
lose(Watch *watch)
{
	fprintf(stderr, "offsync-client: listening: %s", PQerrorMessage(watch->conn));
	PQfinish(watch->conn);
	watch->conn = NULL;
}

static bool
listen_to(Watch *watch)
{
	const char *values[] = {watch->client_id};
	PGresult   *result = PQexec(watch->conn, "LISTEN offsync");
	bool		done = PQresultStatus(result) == PGRES_COMMAND_OK;

	PQclear(result);
	if (!done)
		return false;
	/* SQLite has no such function */
	result = PQexecParams(watch->conn, "SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex')", 1, NULL,
						  values, NULL, NULL, 0);
	done = PQresultStatus(result) == PGRES_TUPLES_OK;
	sqlite3_free(watch->hash);
	watch->hash = done ? sqlite3_mprintf("%s", PQgetvalue(result, 0, 0)) : NULL;
	PQclear(result);
	return done;
}

/* True when there is one, and it listens */
static bool
connect_to(Watch *watch)
{
	watch->conn = PQconnectdb(watch->conninfo);
	if (PQstatus(watch->conn) == CONNECTION_OK)
		(void) PQsetClientEncoding(watch->conn, "UTF8");
	if (PQstatus(watch->conn) != CONNECTION_OK || !listen_to(watch))
		lose(watch);
	return watch->conn != NULL;
}

/* ---------- notices ---------- */

/* Does it tell of anything new?  Anybody may send anything: what isn't understood counts. */
static bool
concerns(Watch *watch, const char *payload)
{
	static const char sql[] =
		"SELECT CASE WHEN json_valid(?1) THEN ifnull(?1 ->> '$.client', '') <> ?2 ELSE 1 END";
	static const char among[] =
		"SELECT CASE WHEN NOT json_valid(?1) OR instr(?2, '.') THEN 1"
		" ELSE ifnull(instr(',' || ?2 || ',', ',' || (?1 ->> '$.collection') || ','), 1) END";
	sqlite3_stmt *stmt = ofs_device_query(&watch->memory, sql, payload, watch->hash);
	bool		counts = ofs_device_next(&watch->memory, stmt) && sqlite3_column_int(stmt, 0);

	sqlite3_finalize(stmt);
	if (!counts || !watch->collections)
		return counts;
	stmt = ofs_device_query(&watch->memory, among, payload, watch->collections);
	counts = ofs_device_next(&watch->memory, stmt) && sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	return counts;
}

/* Take in the notices that have come: is any of them of interest? */
static bool
take_notices(Watch *watch)
{
	PGnotify   *notice;
	bool		any = false;

	if (!watch->conn)
		return false;
	if (!PQconsumeInput(watch->conn))
	{
		lose(watch);
		return false;
	}
	while ((notice = PQnotifies(watch->conn)) != NULL)
	{
		any = concerns(watch, notice->extra) || any;
		PQfreemem(notice);
	}
	return any;
}

/* A burst of them is one: until they pause */
static void
let_settle(Watch *watch)
{
	long		until = now() + PATIENCE;
	long		quiet = now() + QUIET;

	while (!ended && watch->conn && now() < least(until, quiet))
	{
		wait_for_server(watch, least(until, quiet) - now());
		if (take_notices(watch))
			quiet = now() + QUIET;
	}
}

/* ---------- syncing ---------- */

static void
sync_once(const Watch *watch, const char *why, bool (*sync) (const char *path))
{
	pid_t		pid;
	int			status = 0;

	printf("sync: %s\n", why);
	(void) fflush(stdout);
	pid = fork();
	if (pid < 0)
		die(EXIT_REFUSED, "fork: %s", strerror(errno));
	if (pid == 0)
	{
		bool		done;

		/* whoever presses Ctrl-C means the one that watches */
		(void) signal(SIGINT, SIG_IGN);
		(void) signal(SIGTERM, SIG_DFL);
		done = sync(watch->path);
		(void) fflush(stdout);
		_exit(done ? 0 : EXIT_REFUSED);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		fprintf(stderr, "offsync-client: the sync was ended by signal %d\n", WTERMSIG(status));
	/* a device file that is no longer sound gets no better */
	else if (WEXITSTATUS(status) == EXIT_MISUSE)
		exit(EXIT_MISUSE);
}

/* ---------- the whole ---------- */

static Watch
start(Device *dev, long seconds)
{
	Watch		watch = {
		.path = dev->path,
		.conninfo = ofs_device_get(dev, "conninfo"),
		.client_id = ofs_device_get(dev, "client_id"),
		.collections = ofs_device_get(dev, "collections"),
		.memory = {.path = "in memory"},
		.interval = seconds * 1000
	};

	if (sqlite3_open(":memory:", &watch.memory.db) != SQLITE_OK)
		die(EXIT_MISUSE, "%s", sqlite3_errmsg(watch.memory.db));
	return watch;
}

/* Until a signal: closes the device, and syncs what its path says */
void
ofs_watch_run(Device *dev, long seconds, bool (*sync) (const char *path))
{
	Watch		watch = start(dev, seconds);
	long		retry = RETRY;
	long		due = 0;		/* the next sync that comes in any case */

	sqlite3_close(dev->db);
	dev->db = NULL;
	catch_signals();
	while (!ended)
	{
		const char *why = NULL;

		if (!watch.conn && connect_to(&watch))
		{
			why = "listening";
			retry = RETRY;
		}
		else if (take_notices(&watch))
			why = "notice";
		else if (now() >= due)
			why = "interval";
		if (why)
		{
			if (strcmp(why, "notice") == 0)
				let_settle(&watch);
			if (ended)
				break;
			sync_once(&watch, why, sync);
			due = now() + watch.interval;
			continue;
		}
		if (watch.conn)
			wait_for_server(&watch, due - now());
		else
		{
			wait_for_server(&watch, least(retry, due - now()));
			retry = least(retry * 2, watch.interval);
		}
	}
	if (watch.conn)
		PQfinish(watch.conn);
	sqlite3_close(watch.memory.db);
	sqlite3_free(watch.hash);
	sqlite3_free(watch.conninfo);
	sqlite3_free(watch.client_id);
	sqlite3_free(watch.collections);
}
