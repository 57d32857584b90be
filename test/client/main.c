/*
 * main.c
 *		Commands and options of offsync-client.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

static const char usage[] =
"An offline-first device in one SQLite file, synced with offsync.\n"
"\n"
"  offsync-client init DEVICE CONNINFO [OPTION...]   make a device\n"
"  offsync-client sync DEVICE [--progress] [--partial] [--give-up] [--one-trip]\n"
"  offsync-client watch DEVICE [--every SECONDS]     sync at every notice of the server, and\n"
"                                                    every so often in any case (60), until\n"
"                                                    a signal ends it\n"
"  offsync-client status DEVICE                      collections, rows, what is dirty\n"
"  offsync-client dump DEVICE COLLECTION             rows as JSON lines, by id\n"
"\n"
"Options of init, kept in the table offsync_device (change them there with SQL):\n"
"  --role NAME           SET LOCAL ROLE for each call\n"
"  --claims JSON         request.jwt.claims for each call\n"
"  --collections A,B     only these; default all\n"
"  --mode MODE           what to keep of an answer: exact (its cursor; default), number\n"
"                        (its timestamp), iso (this machine's clock); also --cursor\n"
"  --dialect NAME        watermelondb or json; default the server's\n"
"  --schema NAME         where pull_changes and push_changes are; default offsync\n"
"  --on-error MODE       abort (default): one bad record fails a push; skip: the others are\n"
"                        stored, and bad ones stay dirty\n"
"  --max-rows N          pull in pages of so many rows\n"
"  --give-up             ... or bad ones become what the server has of them\n"
"  --partial             send only the changed columns of updated records\n"
"  --one-trip            push and pull in one call where there is something to push\n"
"  --progress            tell how a long sync goes on, as on a terminal\n"
"\n"
"Edit with any SQLite client: each collection is a table with a text id. Columns\n"
"server_... are the server's; other columns and tables that you add stay local.\n"
"\n"
"Exit status: 0 done, 1 refused or no server, 2 usage or no sound device file.\n"
"For tests, OFFSYNC_CLIENT_DIE=PLACE ends a sync as kill -9 would: after_pull,\n"
"before_apply (applied, not committed), before_push (batch frozen), in_push (the\n"
"server has not committed), after_push (it has), before_ack (noted, not committed).\n";

void
die(int status, const char *format,...)
{
	va_list		args;

	fputs("offsync-client: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(status);
}

/* Die here, if a test wants it */
void
ofs_main_hook(const char *where)
{
	const char *place = getenv("OFFSYNC_CLIENT_DIE");

	if (place && strcmp(place, where) == 0)
		_exit(137);
}

enum
{
	SET_PARTIAL = 256, SET_GIVE_UP, SET_ONE_TRIP, SET_PROGRESS, SET_EVERY, SET_HELP
};

/* The options with a value are settings of the device, by the same name */
static const struct option options[] = {
	{"role", required_argument, NULL, 0},
	{"claims", required_argument, NULL, 0},
	{"collections", required_argument, NULL, 0},
	{"mode", required_argument, NULL, 0},
	{"cursor", required_argument, NULL, 0},
	{"dialect", required_argument, NULL, 0},
	{"schema", required_argument, NULL, 0},
	{"on-error", required_argument, NULL, 0},
	{"max-rows", required_argument, NULL, 0},
	{"partial", no_argument, NULL, SET_PARTIAL},
	{"give-up", no_argument, NULL, SET_GIVE_UP},
	{"one-trip", no_argument, NULL, SET_ONE_TRIP},
	{"progress", no_argument, NULL, SET_PROGRESS},
	{"every", required_argument, NULL, SET_EVERY},
	{"help", no_argument, NULL, SET_HELP},
	{NULL, 0, NULL, 0}
};

#define VALUED	9

static void
init(const char *path, const char *conninfo, const char *const *values, const char *partial,
	 const char *give_up, const char *one_trip)
{
	const char *mode = values[3] ? values[3] : values[4] ? values[4] : "exact";
	const char *dialect = values[5];
	Device		dev;
	PGconn	   *conn;

	if (strcmp(mode, "exact") != 0 && strcmp(mode, "number") != 0 && strcmp(mode, "iso") != 0)
		die(EXIT_MISUSE, "--mode is exact, number or iso, not \"%s\"", mode);
	if (dialect && strcmp(dialect, "watermelondb") != 0 && strcmp(dialect, "json") != 0)
		die(EXIT_MISUSE, "--dialect is watermelondb or json, not \"%s\"", dialect);
	if (values[7] && strcmp(values[7], "abort") != 0 && strcmp(values[7], "skip") != 0)
		die(EXIT_MISUSE, "--on-error is abort or skip, not \"%s\"", values[7]);
	if (values[8] && (strspn(values[8], "0123456789") != strlen(values[8]) || atoi(values[8]) < 1))
		die(EXIT_MISUSE, "--max-rows is a number greater than zero, not \"%s\"", values[8]);
	dev = ofs_device_create(path);
	if (!ofs_device_is(&dev, "SELECT json_valid(ifnull(?1, '{}'))", values[1]))
		die(EXIT_MISUSE, "--claims is not JSON: %s", values[1]);
	for (int i = 0; i < VALUED; i++)
		ofs_device_set(&dev, options[i].name, values[i]);
	ofs_device_set(&dev, "conninfo", conninfo);
	ofs_device_set(&dev, "mode", mode);
	ofs_device_set(&dev, "schema", values[6] ? values[6] : "offsync");
	ofs_device_set(&dev, "cursor", NULL);
	ofs_device_set(&dev, "partial", partial);
	ofs_device_set(&dev, "give-up", give_up);
	ofs_device_set(&dev, "one-trip", one_trip);
	ofs_device_run(&dev, "INSERT INTO offsync_device"
				   " VALUES ('client_id', lower(hex(randomblob(16)))); COMMIT", NULL, NULL);

	conn = ofs_server_connect(&dev);
	if (PQstatus(conn) == CONNECTION_OK)
		ofs_sync_learn(&dev, conn);
	else
		fprintf(stderr, "offsync-client: no server yet, tables come with the first sync: %s",
				PQerrorMessage(conn));
	PQfinish(conn);
	sqlite3_close(dev.db);
}

static void
status(Device *dev)
{
	char	   *name = NULL;
	char	   *last;

	ofs_device_print(dev, "SELECT printf('%s %s', name, ifnull(value, 'none')) FROM offsync_device"
					 " WHERE name IN ('cursor', 'mode', 'role', 'client_id') ORDER BY name", NULL);
	while (last = name,
		   (name = ofs_device_text(dev, "SELECT min(name) FROM offsync_collection"
								   " WHERE ?1 IS NULL OR name > ?1", last)) != NULL)
	{
		char	   *sql = ofs_device_made(dev, "status", name);

		ofs_device_print(dev, sql, NULL);
		sqlite3_free(sql);
		sqlite3_free(last);
	}
	sqlite3_free(last);
	ofs_device_print(dev, "SELECT 'a push waits for the server''s answer' FROM offsync_batch", NULL);
}

static void
dump(Device *dev, const char *collection)
{
	char	   *sql = ofs_device_made(dev, "dump", collection);

	if (!*sql)
		die(EXIT_MISUSE, "%s has no collection \"%s\"", dev->path, collection);
	ofs_device_print(dev, sql, NULL);
	sqlite3_free(sql);
}

static bool
sync_path(const char *path)
{
	Device		dev = ofs_device_open(path);
	bool		done = ofs_sync_run(&dev);

	sqlite3_close(dev.db);
	return done;
}

static long
read_seconds(const char *text)
{
	char	   *rest;
	long		seconds = strtol(text, &rest, 10);

	if (*rest || seconds < 1 || seconds > 86400)
		die(EXIT_MISUSE, "--every takes 1 to 86400 seconds, not \"%s\"", text);
	return seconds;
}

int
main(int argc, char **argv)
{
	const char *values[VALUED] = {NULL};
	const char *partial = NULL;
	const char *give_up = NULL;
	const char *one_trip = NULL;
	const char *command;
	bool		progress = isatty(STDERR_FILENO);
	bool		refused = false;
	long		every = 60;
	Device		dev;
	int			option;
	int			which;
	int			n;

	while ((option = getopt_long(argc, argv, "", options, &which)) != -1)
	{
		if (option == 0)
			values[which] = optarg;
		else if (option == SET_PARTIAL)
			partial = "1";
		else if (option == SET_GIVE_UP)
			give_up = "1";
		else if (option == SET_ONE_TRIP)
			one_trip = "1";
		else if (option == SET_PROGRESS)
			progress = true;
		else if (option == SET_EVERY)
			every = read_seconds(optarg);
		else if (option == SET_HELP)
			return fputs(usage, stdout) < 0;
		else
			return EXIT_MISUSE;
	}
	n = argc - optind;
	command = n > 0 ? argv[optind] : "";
	argv += optind;
	if (strcmp(command, "init") == 0 && n == 3)
	{
		init(argv[1], argv[2], values, partial, give_up, one_trip);
		return 0;
	}
	if (!((strcmp(command, "dump") == 0 && n == 3) ||
		  ((strcmp(command, "sync") == 0 || strcmp(command, "watch") == 0 ||
			strcmp(command, "status") == 0) && n == 2)))
	{
		fputs(usage, stderr);
		return EXIT_MISUSE;
	}

	dev = ofs_device_open(argv[1]);
	dev.progress = progress;
	if (partial)
		ofs_device_set(&dev, "partial", partial);
	if (give_up)
		ofs_device_set(&dev, "give-up", give_up);
	if (one_trip)
		ofs_device_set(&dev, "one-trip", one_trip);
	if (*command == 's' && command[1] == 'y')
		refused = !ofs_sync_run(&dev);
	else if (*command == 'w')
		ofs_watch_run(&dev, every, sync_path);
	else if (*command == 's')
		status(&dev);
	else
		dump(&dev, argv[2]);
	sqlite3_close(dev.db);
	return fflush(stdout) != 0 || refused ? EXIT_REFUSED : 0;
}
