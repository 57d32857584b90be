/*
 * device.c
 *		The device's SQLite file: opening it, running and making SQL.
 *
 * Every function here ends the program when SQLite refuses: whatever is open
 * is rolled back, now or by whoever opens the file next.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client.h"

static void
fail(Device *dev)
{
	die(EXIT_MISUSE, "%s: %s", dev->path, sqlite3_errmsg(dev->db));
}

static void
run_plain(Device *dev, const char *sql)
{
	if (sqlite3_exec(dev->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail(dev);
}

static Device
open_file(const char *path, int flags)
{
	Device		dev = {.path = path};

	if (sqlite3_open_v2(path, &dev.db, SQLITE_OPEN_READWRITE | flags, NULL) != SQLITE_OK)
		fail(&dev);
	sqlite3_busy_timeout(dev.db, 60000);
	return dev;
}

static void
open_session(Device *dev)
{
	run_plain(dev, ofs_sql_session);
	for (int i = 0; ofs_sql_triggers[i][0]; i++)
	{
		sqlite3_stmt *stmt = ofs_device_query(dev, "INSERT INTO temp.offsync_trigger"
											  " VALUES (?1, ?2, ?3)", ofs_sql_triggers[i][0],
											  ofs_sql_triggers[i][1]);

		sqlite3_bind_text(stmt, 3, ofs_sql_triggers[i][2], -1, SQLITE_STATIC);
		ofs_device_next(dev, stmt);
		sqlite3_finalize(stmt);
	}
}

/* A new device, in a transaction that the caller commits */
Device
ofs_device_create(const char *path)
{
	Device		dev = open_file(path, SQLITE_OPEN_CREATE);
	char	   *tables;

	run_plain(&dev, "BEGIN IMMEDIATE");
	tables = ofs_device_text(&dev, "SELECT count(*) FROM sqlite_schema", NULL);
	if (strcmp(tables, "0") != 0)
		die(EXIT_MISUSE, "%s: the file exists and isn't empty", path);
	sqlite3_free(tables);
	run_plain(&dev, ofs_sql_device);
	open_session(&dev);
	return dev;
}

Device
ofs_device_open(const char *path)
{
	Device		dev = open_file(path, 0);
	char	   *id = ofs_device_text(&dev, "PRAGMA application_id", NULL);
	char	   *version = ofs_device_text(&dev, "PRAGMA user_version", NULL);

	if (strcmp(id, "1869968755") != 0)
		die(EXIT_MISUSE, "%s: not made by \"offsync-client init\"", path);
	if (strcmp(version, "1") != 0)
		die(EXIT_MISUSE, "%s: device of version %s, this program knows 1", path, version);
	sqlite3_free(id);
	sqlite3_free(version);
	open_session(&dev);
	return dev;
}

static void
bind(Device *dev, sqlite3_stmt *stmt, int n, const char *value)
{
	if (value && sqlite3_bind_parameter_count(stmt) >= n &&
		sqlite3_bind_text64(stmt, n, value, strlen(value), SQLITE_STATIC,
							SQLITE_UTF8) != SQLITE_OK)
		fail(dev);
}

/* One statement with ?1 and ?2; to be finalized by the caller */
sqlite3_stmt *
ofs_device_query(Device *dev, const char *sql, const char *a, const char *b)
{
	sqlite3_stmt *stmt;

	if (sqlite3_prepare_v2(dev->db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail(dev);
	bind(dev, stmt, 1, a);
	bind(dev, stmt, 2, b);
	return stmt;
}

bool
ofs_device_next(Device *dev, sqlite3_stmt *stmt)
{
	int			status = sqlite3_step(stmt);

	if (status != SQLITE_ROW && status != SQLITE_DONE)
		fail(dev);
	return status == SQLITE_ROW;
}

/* Any number of statements, each with ?1 and ?2 */
void
ofs_device_run(Device *dev, const char *sql, const char *a, const char *b)
{
	while (*sql)
	{
		sqlite3_stmt *stmt;

		if (sqlite3_prepare_v2(dev->db, sql, -1, &stmt, &sql) != SQLITE_OK)
			fail(dev);
		bind(dev, stmt, 1, a);
		bind(dev, stmt, 2, b);
		while (ofs_device_next(dev, stmt))
			;
		sqlite3_finalize(stmt);
	}
}

/* The first column of the first row, or NULL; sqlite3_free it */
char *
ofs_device_text(Device *dev, const char *sql, const char *a)
{
	sqlite3_stmt *stmt = ofs_device_query(dev, sql, a, NULL);
	char	   *text = NULL;

	if (ofs_device_next(dev, stmt) && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
		text = sqlite3_mprintf("%s", sqlite3_column_text(stmt, 0));
	sqlite3_finalize(stmt);
	return text;
}

char *
ofs_device_get(Device *dev, const char *name)
{
	return ofs_device_text(dev, "SELECT value FROM offsync_device WHERE name = ?1", name);
}

void
ofs_device_set(Device *dev, const char *name, const char *value)
{
	ofs_device_run(dev, "INSERT INTO offsync_device VALUES (?1, ?2)"
				   " ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value);
}

/* Whether the only value that a query answers is true */
bool
ofs_device_is(Device *dev, const char *sql, const char *a)
{
	sqlite3_stmt *stmt = ofs_device_query(dev, sql, a, NULL);
	bool		truth = ofs_device_next(dev, stmt) && sqlite3_column_int(stmt, 0);

	sqlite3_finalize(stmt);
	return truth;
}

/* Print a query's rows, of one column */
void
ofs_device_print(Device *dev, const char *sql, const char *a)
{
	sqlite3_stmt *stmt = ofs_device_query(dev, sql, a, NULL);

	while (ofs_device_next(dev, stmt))
		puts((const char *) sqlite3_column_text(stmt, 0));
	sqlite3_finalize(stmt);
}

/*
 * The SQL that the view offsync_make_<what> makes for a collection, or for all
 * with NULL; sqlite3_free it.  It is all made before any of it runs, since it
 * changes what the views read.
 */
char *
ofs_device_made(Device *dev, const char *what, const char *collection)
{
	char	   *view = sqlite3_mprintf("SELECT ifnull(group_concat(sql, ';'), '')"
									   " FROM temp.offsync_make_%s"
									   " WHERE ?1 IS NULL OR collection = ?1", what);
	char	   *sql = ofs_device_text(dev, view, collection);

	sqlite3_free(view);
	return sql;
}

void
ofs_device_make(Device *dev, const char *what, const char *collection)
{
	char	   *sql = ofs_device_made(dev, what, collection);

	run_plain(dev, sql);
	sqlite3_free(sql);
}

/* Called by SQLite for every row that a statement writes */
static void
row_written(void *arg, int op, const char *schema, const char *table, sqlite3_int64 rowid)
{
	static time_t shown;
	Device	   *dev = arg;

	(void) op;
	(void) table;
	(void) rowid;
	if (strcmp(schema, "main") != 0)
		return;
	dev->applied++;
	if (dev->applied % 1000 == 0 && time(NULL) != shown)
	{
		shown = time(NULL);
		fprintf(stderr, "%s: %ld of %ld rows\n", dev->collection, dev->applied, dev->expected);
	}
}

/* Show how the writing of a collection's rows goes on; NULL ends it */
void
ofs_device_watch(Device *dev, const char *collection)
{
	char	   *count;

	if (!dev->progress)
		return;
	dev->collection = collection;
	dev->applied = 0;
	count = ofs_device_text(dev, "SELECT count(*) FROM temp.offsync_incoming", NULL);
	(void) sscanf(count, "%ld", &dev->expected);
	sqlite3_free(count);
	sqlite3_update_hook(dev->db, collection ? row_written : NULL, dev);
}
