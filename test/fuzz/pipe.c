/*
 * pipe.c
 *		Statements down a pipeline, and what comes back.
 *
 * What may come back of an input is an answer, or an error of the kinds that a caller can cause: no other, and never the
 * end of the session.  Pushes and pulls mostly go through fuzz.push and fuzz.pull, which look at what the answer did or said.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpq-fe.h"

#include "forge.h"
#include "pipe.h"

#define DEPTH		32			/* statements under way */

/* SQLSTATEs beside those that every caller can cause: of what the arguments name, and of what fuzz.decide returns */
static const struct
{
	const char *sql;
	const char *allowed;
}			statements[NKINDS] =
{
	[ROLE] = {"SELECT set_config('role', $1, false)", ""},
	[CONTENT] = {"SELECT fuzz.content()", ""},
	[PUSH] = {"SELECT fuzz.push($1, $2, $3, $4, $5, $6, $7::boolean)", "42804"},
	[RAW_PUSH] = {"SELECT offsync.push_changes($1::json, $2, $3, $4, $5, $6)", "42804"},
	[PULL] = {"SELECT * FROM fuzz.pull($1::jsonb, $2, $3::boolean, $4::text[], $5, $6, $7::json, $8::int, $9::boolean)", ""},
	[RAW_PULL] = {"SELECT a ->> 'cursor' FROM offsync.pull_changes($1, $2::text[], $3::int, $4::jsonb, $5, $6::boolean, $7, $8::json, $9::int) a", ""},
	[STREAM] = {"SELECT string_agg(s, '')::json ->> 'cursor' FROM offsync.pull_stream($1, $2::text[], $3::int, $4::jsonb, $5, $6::boolean, $7, $8::json, $9::int) s", ""},
	[SYNC] = {"SELECT a ->> 'cursor' FROM offsync.sync_changes($1::json, $2, $3::text[], $4, $5, $6, $7::boolean, $8, $9::int, $10::jsonb, $11::json, $12::int) a", "42804"},
	[DRIFT_PULL] = {"SELECT offsync.drift_pull($1::text[], $2, $3)", ""},
	[DRIFT_PUSH] = {"SELECT offsync.drift_push($1::json, $2, $3::text[])", "42804"},
	[DIGEST] = {"SELECT offsync.digest($1::text[], $2::int, $3::boolean, $4::json, $5)", ""},
	[RECONCILE] = {"SELECT offsync.reconcile($1::json, $2, $3, $4::json)", ""},
	[CURSOR_INFO] = {"SELECT offsync.cursor_info($1)", ""},
	[SCHEMA] = {"SELECT offsync.client_schema($1, $2::text[], $3::int, $4)", ""},
	[MERGE] = {"SELECT fuzz.merge($1, $2, $3::boolean)", ""},
	[TOLD] = {"SELECT fuzz.told($1, $2, $3::boolean)", ""},
	[EXPLAIN] = {"SELECT count(*) FROM offsync.explain($1::regclass, $2, $3, $4::name, $5::json, $6::json)", "42P01 42602 42704 3F000 0A000 42809 55000"},
	[MEANWHILE] = {"SELECT fuzz.meanwhile($1::int, $2::int)", ""},
	[SEAL] = {"SELECT encode(fuzz.seal(decode($1, 'hex')), 'hex')", ""},
	[SCRATCH] = {"SELECT fuzz.scratch($1::text[], $2)", "42701 42710 42804 42939 42P07"}
};

/* classes and codes that a caller can cause */
static const char *const allowed[] = {"22", "23", "54", "42501", "PT400", "PT404", "PT409", "PT410", "PT413", "P0001"};

static PGconn *conn;
static Pending queue[DEPTH];
static int	first,
			waiting;
Device		devices[2][DEVICES];
char	   *loose[CURSORS];
static char *before;			/* what stood in the tables */
static bool refused;			/* what came behind that was an error */
int			user;
long		sent[NKINDS],
			taken[NKINDS];
int			wrong;

/* ---------- what comes back ---------- */

static void
print_literal(const char *text)
{
	char	   *quoted = text ? PQescapeLiteral(conn, text, strlen(text)) : NULL;

	fprintf(stderr, " %s", quoted ? quoted : text ? "(not a text)" : "NULL");
	if (quoted)
		PQfreemem(quoted);
}

static void
complain(const Pending *p, const char *what)
{
	wrong++;
	if (wrong > 20)
		return;
	fprintf(stderr, "# %s\n#   as %s: %s\n#  ", what, p->user ? "fuzz_alice" : "fuzz_bob", statements[p->kind].sql);
	for (int i = 0; i < p->nparams; i++)
	{
		fprintf(stderr, " $%d", i + 1);
		print_literal(p->params[i]);
	}
	fprintf(stderr, "\n");
}

static bool
listed(const char *state, const char *list)
{
	return state[0] != '\0' && strstr(list, state) != NULL;
}

static void
check_state(const Pending *p, const char *state, const char *message)
{
	char		what[1024];
	char		code[6] = "";

	snprintf(code, sizeof(code), "%s", state);
	for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++)
		if (strncmp(code, allowed[i], strlen(allowed[i])) == 0)
			return;
	if (listed(code, statements[p->kind].allowed))
		return;
	snprintf(what, sizeof(what), "SQLSTATE %s: %s", code, message);
	complain(p, what);
}

/* The oracles answer "ok", something wrong, or the SQLSTATE of an error that they caught. */
static bool
check_verdict(const Pending *p, const char *verdict)
{
	if (strcmp(verdict, "ok") == 0)
		return true;
	if (strncmp(verdict, "WRONG", 5) == 0)
		complain(p, verdict);
	else
		check_state(p, verdict, verdict);
	return false;
}

static void
set(char **to, const char *text)
{
	free(*to);
	*to = text ? strdup(text) : NULL;
}

static const char *
value(const PGresult *result, int column)
{
	return PQgetisnull(result, 0, column) ? NULL : PQgetvalue(result, 0, column);
}

static void
keep_device(const Pending *p, const PGresult *result)
{
	Device	   *device = &devices[p->user][chance(DEVICES)];

	if (value(result, 1) == NULL || value(result, 3) == NULL)
		return;
	set(&device->cursor, value(result, 1));
	set(&device->number, p->whole ? value(result, 2) : NULL);
	set(&device->holds, value(result, 3));
}

static void
keep_sealed(const Pending *p, const char *hex)
{
	unsigned char seal[CURSOR_SEAL_LEN];
	Text		text = {0};

	for (int i = 0; i < CURSOR_SEAL_LEN; i++)
	{
		unsigned	byte = 0;

		sscanf(hex + 2 * i, "%2x", &byte);
		seal[i] = (unsigned char) byte;
	}
	cursor_text(&text, &p->body, seal);
	set(&loose[chance(CURSORS)], text.data);
	free(text.data);
}

/* One after a push that ended in an error, and that nobody caught. */
static void
compare_content(const Pending *p, const char *now)
{
	if (refused && before && strcmp(before, now) != 0)
		complain(p, "the push before left something behind, though it was refused");
	refused = false;
	set(&before, now);
}

static void
take_result(const Pending *p, const PGresult *result)
{
	const char *first_value = PQntuples(result) > 0 && value(result, 0) ? value(result, 0) : "";

	taken[p->kind]++;
	switch (p->kind)
	{
		case CONTENT:
			compare_content(p, first_value);
			break;
		case PUSH:
		case MERGE:
		case TOLD:
			taken[p->kind] -= !check_verdict(p, first_value);
			break;
		case PULL:
			if (check_verdict(p, first_value))
				keep_device(p, result);
			else
				taken[p->kind]--;
			break;
		case SCRATCH:
			check_verdict(p, first_value);
			break;
		case RAW_PULL:
		case SYNC:
		case STREAM:
			if (first_value[0] != '\0')
				set(&loose[chance(CURSORS)], first_value);
			break;
		case SEAL:
			keep_sealed(p, first_value);
			break;
		default:
			break;
	}
}

static void
die(const char *what)
{
	fprintf(stderr, "# %s: %s", what, PQerrorMessage(conn));
	for (; waiting > 0; waiting--, first = (first + 1) % DEPTH)
		complain(&queue[first], "was under way");
	printf("not ok - server: it is there\n");
	exit(1);
}

static void
receive(void)
{
	Pending    *p = &queue[first];
	PGresult   *result = PQgetResult(conn);
	const char *state;

	switch (PQresultStatus(result))
	{
		case PGRES_TUPLES_OK:
			take_result(p, result);
			break;
		default:
			state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
			if (state == NULL || PQstatus(conn) != CONNECTION_OK || strncmp(state, "57P", 3) == 0)
				die("the session ended");
			refused = refused || p->kind == RAW_PUSH;
			check_state(p, state, PQresultErrorMessage(result));
	}
	PQclear(result);
	while ((result = PQgetResult(conn)) != NULL)
		PQclear(result);
	result = PQgetResult(conn);
	if (PQresultStatus(result) != PGRES_PIPELINE_SYNC)
		die("the pipeline is out of step");
	PQclear(result);
	for (int i = 0; i < p->nparams; i++)
		set(&p->params[i], NULL);
	first = (first + 1) % DEPTH;
	waiting--;
}

/* ---------- what goes out ---------- */

Pending *
submit(Kind kind, int nparams, const char *const *params)
{
	Pending    *p;
	char		name[16];
	char	   *copies[MAX_PARAMS] = {NULL};

	/* a device's may be gone when an answer has come */
	for (int i = 0; i < nparams; i++)
		copies[i] = params[i] ? strdup(params[i]) : NULL;
	if (waiting == DEPTH)
		receive();
	p = &queue[(first + waiting++) % DEPTH];
	p->kind = kind;
	p->nparams = nparams;
	p->user = user;
	p->whole = false;
	memcpy(p->params, copies, sizeof(char *) * (size_t) nparams);
	snprintf(name, sizeof(name), "s%d", (int) kind);
	if (!PQsendQueryPrepared(conn, name, nparams, (const char *const *) p->params, NULL, NULL, 0) || !PQpipelineSync(conn))
		die("could not send");
	sent[kind]++;
	return p;
}

void
pipe_drain(void)
{
	while (waiting > 0)
		receive();
}

void
pipe_open(void)
{
	PGresult   *result;
	char		name[16];

	conn = PQconnectdb("options='-c search_path=fuzz -c client_min_messages=error -c jit=off'");
	if (PQstatus(conn) != CONNECTION_OK)
		die("cannot connect");
	for (int i = 0; i < NKINDS; i++)
	{
		snprintf(name, sizeof(name), "s%d", i);
		result = PQprepare(conn, name, statements[i].sql, 0, NULL);
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			die("cannot prepare");
		PQclear(result);
	}
	if (!PQenterPipelineMode(conn))
		die("no pipeline");
}
