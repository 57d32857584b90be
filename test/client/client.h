/*
 * client.h
 *		An offline-first device in one SQLite file, synced through the
 *		calls of offsync.
 *
 * The file holds a table per collection (id and the record's keys as columns,
 * as offsync.client_schema declares them, or without types where the server doesn't tell) and the offsync_ tables of
 * sql.c.  An app edits the
 * tables with plain SQL: triggers mark what it touched.  JSON is SQLite's
 * business throughout: this program carries texts between the two databases
 * and runs SQL, some of which is made by SQL (the views offsync_make_...).
 *
 * main.c		commands and options
 * device.c		the SQLite file: opening it, running and making SQL
 * sync.c		pull, apply, push, acknowledge
 * server.c		the calls, each in a transaction of its own
 * watch.c		sync whenever the server has news
 * sql.c		all SQL texts of the device
 */
#ifndef OFFSYNC_CLIENT_H
#define OFFSYNC_CLIENT_H

#include <stdbool.h>
#include <libpq-fe.h>
#include <sqlite3.h>

/* what the command answers to the shell */
#define EXIT_REFUSED	1		/* the server, or the way to it */
#define EXIT_MISUSE		2		/* usage, or not a sound device file */

typedef struct Device
{
	sqlite3    *db;
	const char *path;
	bool		progress;
	bool		one_trip;		/* a push is a sync_changes, whose answer is a pull's, too */
	long		applied;		/* rows changed by the statement that runs */
	long		expected;		/* ... out of so many, or 0 */
	const char *collection;
} Device;

/* an answer of the server; free with ofs_server_forget */
typedef struct Answer
{
	PGresult   *result;
	const char *text;
	size_t		length;
	char		sqlstate[6];	/* empty when there is no answer at all */
} Answer;

/* main.c */
extern void die(int status, const char *format,...)
			__attribute__((format(printf, 2, 3), noreturn));
extern void ofs_main_hook(const char *where);

/* device.c */
extern Device ofs_device_create(const char *path);
extern Device ofs_device_open(const char *path);
extern void ofs_device_run(Device *dev, const char *sql, const char *a, const char *b);
extern sqlite3_stmt *ofs_device_query(Device *dev, const char *sql, const char *a,
									  const char *b);
extern bool ofs_device_next(Device *dev, sqlite3_stmt *stmt);
extern char *ofs_device_text(Device *dev, const char *sql, const char *a);
extern char *ofs_device_get(Device *dev, const char *name);
extern void ofs_device_set(Device *dev, const char *name, const char *value);
extern bool ofs_device_is(Device *dev, const char *sql, const char *a);
extern void ofs_device_print(Device *dev, const char *sql, const char *a);
extern char *ofs_device_made(Device *dev, const char *what, const char *collection);
extern void ofs_device_make(Device *dev, const char *what, const char *collection);
extern void ofs_device_watch(Device *dev, const char *collection);

/* server.c */
extern PGconn *ofs_server_connect(Device *dev);
extern bool ofs_server_pull(PGconn *conn, Device *dev, const char *cursor, Answer *answer);
extern bool ofs_server_push(PGconn *conn, Device *dev, const char *changes,
							const char *base, const char *push_id, Answer *answer);
extern bool ofs_server_columns(PGconn *conn, Device *dev, Answer *answer);
extern bool ofs_server_tables(PGconn *conn, Device *dev, const char *columns, Answer *answer);
extern void ofs_server_complain(PGconn *conn, const Answer *answer, const char *what);
extern void ofs_server_forget(Answer *answer);

/* sync.c */
extern bool ofs_sync_run(Device *dev);
extern void ofs_sync_learn(Device *dev, PGconn *conn);

/* watch.c */
extern void ofs_watch_run(Device *dev, long seconds, bool (*sync) (const char *path));

/* sql.c */
extern const char ofs_sql_device[];
extern const char *const ofs_sql_triggers[][3];
extern const char ofs_sql_session[];
extern const char ofs_sql_answer[];
extern const char ofs_sql_incoming[];
extern const char ofs_sql_catalog[];
extern const char ofs_sql_offered[];
extern const char ofs_sql_learn[];
extern const char ofs_sql_forget[];
extern const char ofs_sql_gone[];
extern const char ofs_sql_unmark[];
extern const char ofs_sql_advance[];
extern const char ofs_sql_see[];
extern const char ofs_sql_restart[];
extern const char ofs_sql_tidy[];
extern const char ofs_sql_freeze[];
extern const char ofs_sql_ack[];
extern const char ofs_sql_refuse[];
extern const char ofs_sql_rejected[];
extern const char ofs_sql_news[];
extern const char ofs_sql_mendable[];
extern const char ofs_sql_reasons[];
extern const char ofs_sql_stands[];
extern const char ofs_sql_anything[];
extern const char ofs_sql_applied[];
extern const char ofs_sql_pushed[];

#endif
