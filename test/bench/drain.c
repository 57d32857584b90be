/*
 * drain.c
 *		Reads what a query answers, and throws it away.
 *
 *	drain CONNINFO value|rows|copy SQL
 *
 * value: the whole answer as libpq collects it; rows: one row at a time, in binary form; copy: the query is a COPY TO STDOUT.  Prints
 * milliseconds, bytes, the most memory of its own that the server process had meanwhile, in kB, and how many milliseconds of a
 * processor that process and this one took.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long most = 0;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void
check(int good, PGconn *conn)
{
	if (good)
		return;
	fputs(PQerrorMessage(conn), stderr);
	exit(1);
}

/* Private memory of the server process, which runs on the same machine */
static void
look(int pid)
{
	char		name[64];
	char		line[256];
	long		kb;
	FILE	   *file;

	snprintf(name, sizeof(name), "/proc/%d/status", pid);
	file = fopen(name, "r");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "RssAnon: %ld", &kb) == 1 && kb > most)
			most = kb;
	if (file)
		fclose(file);
}

/* What the server process has taken of a processor, in milliseconds */
static double
busy(int pid)
{
	char		name[64];
	unsigned long user = 0;
	unsigned long system = 0;
	FILE	   *file;

	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	file = fopen(name, "r");
	if (file && fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
		user = system = 0;
	if (file)
		fclose(file);
	return (user + system) * 1e3 / sysconf(_SC_CLK_TCK);
}

int
main(int argc, char **argv)
{
	PGconn	   *conn;
	PGresult   *result;
	double		start;
	double		server;
	size_t		bytes = 0;
	long		pieces = 0;
	int			pid;
	char	   *data;
	int			n;

	if (argc != 4)
		return 2;
	conn = PQconnectdb(argv[1]);
	check(PQstatus(conn) == CONNECTION_OK, conn);
	pid = PQbackendPID(conn);
	/* caches are warm, and the function is loaded */
	PQclear(PQexec(conn, "SELECT offsync.pull_changes(collections => '{}')"));
	server = busy(pid);
	start = now();
	if (strcmp(argv[2], "rows") != 0)
		check(PQsendQuery(conn, argv[3]), conn);
	else
		check(PQsendQueryParams(conn, argv[3], 0, NULL, NULL, NULL, NULL, 1) && PQsetSingleRowMode(conn), conn);
	while ((result = PQgetResult(conn)) != NULL)
	{
		ExecStatusType status = PQresultStatus(result);

		check(status == PGRES_TUPLES_OK || status == PGRES_SINGLE_TUPLE || status == PGRES_COPY_OUT ||
			  status == PGRES_COMMAND_OK, conn);
		for (int row = 0; row < PQntuples(result); row++)
			bytes += PQgetlength(result, row, 0);
		while (status == PGRES_COPY_OUT && (n = PQgetCopyData(conn, &data, 0)) > 0)
		{
			bytes += n;
			PQfreemem(data);
			if (pieces++ % 500 == 0)
				look(pid);
		}
		if (PQntuples(result) > 0 && pieces++ % 50 == 0)
			look(pid);
		PQclear(result);
	}
	start = now() - start;
	printf("%.3f %zu %ld %.0f %.0f\n", start, bytes, most, busy(pid) - server, clock() * 1e3 / CLOCKS_PER_SEC);
	PQfinish(conn);
	return 0;
}
