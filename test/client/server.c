/*
 * server.c
 *		The calls, each in one transaction under the device's role and
 *		claims.
 */
#include <stdio.h>
#include <string.h>

#include "client.h"

/* What every call needs of the device; all but conn to be freed by its user */
typedef struct Identity
{
	char	   *role;
	char	   *claims;
	char	   *schema;
	char	   *collections;
	char	   *client_id;
	char	   *dialect;
	char	   *on_error;
	char	   *max_rows;
} Identity;

PGconn *
ofs_server_connect(Device *dev)
{
	char	   *conninfo = ofs_device_get(dev, "conninfo");
	PGconn	   *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) == CONNECTION_OK)
		(void) PQsetClientEncoding(conn, "UTF8");
	sqlite3_free(conninfo);
	return conn;
}

static Identity
identity_get(Device *dev)
{
	return (Identity) {
		.role = ofs_device_get(dev, "role"),
		.claims = ofs_device_get(dev, "claims"),
		.schema = ofs_device_get(dev, "schema"),
		.collections = ofs_device_get(dev, "collections"),
		.client_id = ofs_device_get(dev, "client_id"),
		.dialect = ofs_device_get(dev, "dialect"),
		.on_error = ofs_device_get(dev, "on-error"),
		.max_rows = ofs_device_get(dev, "max-rows")
	};
}

static void
identity_free(Identity who)
{
	sqlite3_free(who.role);
	sqlite3_free(who.claims);
	sqlite3_free(who.schema);
	sqlite3_free(who.collections);
	sqlite3_free(who.client_id);
	sqlite3_free(who.dialect);
	sqlite3_free(who.on_error);
	sqlite3_free(who.max_rows);
}

/* Keeps the result in the answer; true when it is as it should be */
static bool
keep(Answer *answer, PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	ExecStatusType status = PQresultStatus(result);

	PQclear(answer->result);
	answer->result = result;
	(void) snprintf(answer->sqlstate, sizeof(answer->sqlstate), "%s", state ? state : "");
	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static bool
become(PGconn *conn, const Identity *who, Answer *answer)
{
	bool		done = true;

	if (who->role)
	{
		char	   *name = PQescapeIdentifier(conn, who->role, strlen(who->role));
		char	   *sql = sqlite3_mprintf("SET LOCAL ROLE %s", name);

		done = keep(answer, PQexec(conn, sql));
		sqlite3_free(sql);
		PQfreemem(name);
	}
	if (done && who->claims)
	{
		const char *values[] = {who->claims};

		done = keep(answer, PQexecParams(conn, "SELECT set_config('request.jwt.claims', $1, true)",
										 1, NULL, values, NULL, NULL, 0));
	}
	return done;
}

/*
 * One call as the device: true, and the answer's only value, or false and
 * what went wrong.
 */
static bool
call(PGconn *conn, const Identity *who, const char *begin, const char *sql, int n,
	 const char *const *values, Answer *answer)
{
	Answer		end = {0};
	bool		done;

	*answer = (Answer) {0};
	done = keep(answer, PQexec(conn, begin)) && become(conn, who, answer) &&
		keep(answer, PQexecParams(conn, sql, n, NULL, values, NULL, NULL, 0));
	if (done && strcmp(begin, "BEGIN") == 0)
		ofs_main_hook("in_push");
	if (!keep(&end, PQexec(conn, done ? "COMMIT" : "ROLLBACK")) && done)
	{
		done = false;
		PQclear(answer->result);
		*answer = end;
	}
	else
		PQclear(end.result);
	if (done)
	{
		answer->text = PQgetvalue(answer->result, 0, 0);
		answer->length = (size_t) PQgetlength(answer->result, 0, 0);
	}
	return done;
}

/* An argument more, when it has a value */
static void
add_argument(sqlite3_str *sql, const char *format, const char *value, const char **values, int *n)
{
	if (!value)
		return;
	values[(*n)++] = value;
	sqlite3_str_appendf(sql, format, *n);
}

bool
ofs_server_pull(PGconn *conn, Device *dev, const char *cursor, Answer *answer)
{
	Identity	who = identity_get(dev);
	const char *values[5] = {cursor, who.collections, who.client_id};
	int			n = 3;
	char	   *schema = PQescapeIdentifier(conn, who.schema, strlen(who.schema));
	sqlite3_str *text = sqlite3_str_new(NULL);
	char	   *sql;
	bool		done;

	sqlite3_str_appendf(text, "SELECT %s.pull_changes(last_pulled_at => $1,"
						" collections => string_to_array($2, ','), client_id => $3", schema);
	add_argument(text, ", dialect => $%d", who.dialect, values, &n);
	add_argument(text, ", max_rows => $%d", who.max_rows, values, &n);
	sqlite3_str_appendall(text, ")");
	sql = sqlite3_str_finish(text);
	done = call(conn, &who, "BEGIN READ ONLY", sql, n, values, answer);
	PQfreemem(schema);
	sqlite3_free(sql);
	identity_free(who);
	return done;
}

/* The rows of a statement, of one column, as they come */
static bool
take_rows(PGconn *conn, Answer *answer, void (*take) (void *arg, const char *text, size_t length), void *arg)
{
	PGresult   *result;
	bool		done = PQsetSingleRowMode(conn) == 1;

	while ((result = PQgetResult(conn)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_SINGLE_TUPLE)
		{
			done = keep(answer, result) && done;
			continue;
		}
		take(arg, PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0));
		PQclear(result);
	}
	return done;
}

/* A first pull, in pieces */
bool
ofs_server_stream(PGconn *conn, Device *dev, void (*take) (void *arg, const char *text, size_t length), void *arg,
				  Answer *answer)
{
	Identity	who = identity_get(dev);
	const char *values[] = {who.collections, who.client_id, who.dialect};
	char	   *schema = PQescapeIdentifier(conn, who.schema, strlen(who.schema));
	char	   *sql = sqlite3_mprintf("SELECT %s.pull_stream(collections => string_to_array($1, ','),"
									  " client_id => $2, dialect => $3)", schema);
	Answer		end = {0};
	bool		done;

	*answer = (Answer) {0};
	done = keep(answer, PQexec(conn, "BEGIN READ ONLY")) && become(conn, &who, answer) &&
		PQsendQueryParams(conn, sql, 3, NULL, values, NULL, NULL, 1) == 1 && take_rows(conn, answer, take, arg);
	if (keep(&end, PQexec(conn, done ? "COMMIT" : "ROLLBACK")) || !done)
		PQclear(end.result);
	else
	{
		done = false;
		PQclear(answer->result);
		*answer = end;
	}
	PQfreemem(schema);
	sqlite3_free(sql);
	identity_free(who);
	return done;
}

bool
ofs_server_push(PGconn *conn, Device *dev, const char *changes, const char *base,
				const char *push_id, Answer *answer)
{
	Identity	who = identity_get(dev);
	const char *values[8] = {changes, base, who.client_id, push_id};
	int			n = 4;
	char	   *schema = PQescapeIdentifier(conn, who.schema, strlen(who.schema));
	sqlite3_str *text = sqlite3_str_new(NULL);
	char	   *sql;
	bool		done;

	sqlite3_str_appendf(text, "SELECT %s.%s(changes => $1, last_pulled_at => $2,"
						" client_id => $3, push_id => $4", schema,
						dev->one_trip ? "sync_changes" : "push_changes");
	add_argument(text, ", dialect => $%d", who.dialect, values, &n);
	add_argument(text, ", on_error => $%d", who.on_error, values, &n);
	if (dev->one_trip)
	{
		add_argument(text, ", collections => string_to_array($%d, ',')", who.collections, values, &n);
		/* a first answer stands for everything */
		add_argument(text, ", max_rows => $%d", base ? who.max_rows : NULL, values, &n);
	}
	sqlite3_str_appendall(text, ")");
	sql = sqlite3_str_finish(text);
	done = call(conn, &who, "BEGIN", sql, n, values, answer);
	PQfreemem(schema);
	sqlite3_free(sql);
	identity_free(who);
	return done;
}

/*
 * {"collection": {"column": "kind"}}, so that collections without rows have
 * columns too: of what offsync.status lists, or, where the role may not read
 * that, of the tables named as the collections are.
 */
bool
ofs_server_columns(PGconn *conn, Device *dev, Answer *answer)
{
	static const char *const sources[] = {
		"(SELECT collection, tbl::regclass FROM offsync.status"
		" WHERE $1::text IS NULL OR collection = ANY (string_to_array($1::text, ','))) AS s(collection, tbl)",
		"(SELECT n, coalesce(to_regclass(quote_ident(n)), to_regclass(n))"
		" FROM unnest(string_to_array($1::text, ',')) AS n) AS s(collection, tbl)"
	};
	Identity	who = identity_get(dev);
	const char *values[] = {NULL, who.dialect};
	bool		done = false;

	if (!who.collections)
		who.collections = ofs_device_text(dev, "SELECT group_concat(name) FROM offsync_collection",
										  NULL);
	values[0] = who.collections;
	for (int i = 0; i < 2 && !done; i++)
	{
		char	   *sql = sqlite3_mprintf(
			"SELECT json_object_agg(collection, columns) FROM ("
			" SELECT s.collection, json_object_agg(a.attname, CASE WHEN b.typname = 'bool'"
			"   THEN 'boolean' WHEN $2::text = 'json' AND (b.typcategory = 'A'"
			"     OR b.typname IN ('json', 'jsonb')) THEN 'json' ELSE 'plain' END) AS columns"
			" FROM %s JOIN pg_attribute AS a ON a.attrelid = s.tbl"
			" JOIN pg_type AS t ON t.oid = a.atttypid"
			" JOIN pg_type AS b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END"
			" WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attname NOT IN ('server_created_version', 'server_column_versions', 'server_clocks')"
			"   AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')"
			" GROUP BY s.collection) AS c", sources[i]);

		if (i > 0)
			ofs_server_forget(answer);
		done = call(conn, &who, "BEGIN READ ONLY", sql, 2, values, answer) && answer->length > 0;
		sqlite3_free(sql);
	}
	identity_free(who);
	return done;
}

/*
 * {"collection": "DDL"} of those in the answer of ofs_server_columns, each by itself.  False where the server doesn't
 * offer it.
 */
bool
ofs_server_tables(PGconn *conn, Device *dev, const char *columns, Answer *answer)
{
	Identity	who = identity_get(dev);
	const char *values[] = {columns, who.dialect};
	bool		done = call(conn, &who, "BEGIN READ ONLY",
							"SELECT json_object_agg(n, offsync.client_schema('sqlite', ARRAY[n], dialect => $2))"
							" FROM json_object_keys($1::json) AS n", 2, values, answer) && answer->length > 0;

	identity_free(who);
	return done;
}

/* Print why a call failed */
void
ofs_server_complain(PGconn *conn, const Answer *answer, const char *what)
{
	static const struct
	{
		int			field;
		const char *label;
	}			parts[] = {
		{PG_DIAG_MESSAGE_DETAIL, "DETAIL"},
		{PG_DIAG_MESSAGE_HINT, "HINT"},
		{PG_DIAG_SQLSTATE, "SQLSTATE"}
	};
	const char *message = answer ? PQresultErrorField(answer->result, PG_DIAG_MESSAGE_PRIMARY) : NULL;

	if (!message)
	{
		fprintf(stderr, "offsync-client: %s: %s", what, PQerrorMessage(conn));
		return;
	}
	fprintf(stderr, "offsync-client: %s refused: %s\n", what, message);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
	{
		const char *text = PQresultErrorField(answer->result, parts[i].field);

		if (text)
			fprintf(stderr, "%s:  %s\n", parts[i].label, text);
	}
}

void
ofs_server_forget(Answer *answer)
{
	PQclear(answer->result);
	*answer = (Answer) {0};
}
