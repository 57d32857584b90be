/*
 * sql.c
 *		What the device's file holds, and every SQL text that works on it.
 *
 * Marks.  offsync_dirty has a row per record edited since it was last
 * acknowledged, offsync_changed one per touched column of it.  "known" says
 * that the server may know the id: a record that it can't know vanishes when
 * it is deleted before its first push.
 *
 * Batches.  What is pushed is frozen first: the whole push, under an id of its
 * own, stays in offsync_batch until the server's word on it is known, so that
 * a device killed anywhere can send exactly the same again.  "sent" is what
 * the batch says of a record or column.  Edits made meanwhile clear it on
 * their columns, so that an acknowledgement takes off only the marks of what
 * was really in the batch.
 *
 * Made SQL.  Names of tables and columns come from records; the views
 * offsync_make_... put them, quoted, into statements: (collection, sql).
 */
#include "client.h"

const char ofs_sql_device[] =
"PRAGMA application_id = 1869968755;"
"PRAGMA user_version = 1;"
"CREATE TABLE offsync_device (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
"CREATE TABLE offsync_collection (name TEXT PRIMARY KEY,"
"  tbl TEXT NOT NULL UNIQUE COLLATE NOCASE,"
"  live INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;"		/* the last pull had it */
/* SQLite's names don't tell case apart, the server's do: col may differ from key */
"CREATE TABLE offsync_column (collection TEXT, key TEXT,"
"  col TEXT NOT NULL COLLATE NOCASE,"
"  kind TEXT NOT NULL,"									/* plain, boolean, json, server */
"  PRIMARY KEY (collection, key), UNIQUE (collection, col)) WITHOUT ROWID;"
"CREATE TABLE offsync_dirty (collection TEXT, id TEXT,"
"  op TEXT NOT NULL,"									/* created, updated, deleted */
"  known INTEGER NOT NULL, sent TEXT,"
"  PRIMARY KEY (collection, id)) WITHOUT ROWID;"
"CREATE TABLE offsync_changed (collection TEXT, id TEXT, key TEXT,"
"  sent INTEGER NOT NULL DEFAULT 0,"
"  PRIMARY KEY (collection, id, key)) WITHOUT ROWID;"
/* what the pages of a pull that isn't finished have told; nothing, unless something is to be replaced by it */
"CREATE TABLE offsync_seen (collection TEXT, id TEXT, PRIMARY KEY (collection, id)) WITHOUT ROWID;"
/* the answer is there for the moment between its coming and its being applied: triggers of others may look at it */
"CREATE TABLE offsync_batch (push_id TEXT PRIMARY KEY, base TEXT, changes TEXT NOT NULL, answer TEXT);";

/*
 * A session's own tables, and the views that make SQL.
 */
const char ofs_sql_session[] =
"PRAGMA temp_store = memory;"
"PRAGMA cache_size = -65536;"
"CREATE TEMP TABLE offsync_answer (cursor, timestamp, more, strategy);"
"CREATE TEMP TABLE offsync_part (collection TEXT PRIMARY KEY, replaces INTEGER, changes TEXT);"
"CREATE TEMP TABLE offsync_incoming (id TEXT, record TEXT);"
"CREATE TEMP TABLE offsync_key (key TEXT PRIMARY KEY, kind TEXT);"
"CREATE TEMP TABLE offsync_gone (id TEXT PRIMARY KEY);"
"CREATE TEMP TABLE offsync_applied (collection TEXT PRIMARY KEY, received INTEGER, removed INTEGER);"
"CREATE TEMP TABLE offsync_rejected (collection TEXT, id TEXT, given INTEGER NOT NULL DEFAULT 0, current TEXT,"
" PRIMARY KEY (collection, id));"
"CREATE TEMP TABLE offsync_trigger (name, head, body);"
"CREATE TEMP TABLE offsync_ddl (collection TEXT PRIMARY KEY, sql TEXT);"

/*
 * take reads a key from the record i.record, give writes the column of r as a
 * member of a JSON object: doubles with 17 digits, since json_quote gives 15.
 * A key that can't stand in a JSON path is looked for among all.
 */
"CREATE TEMP VIEW offsync_field AS"
" SELECT c.name AS collection, c.tbl, f.key, f.kind, f.col, printf('\"%w\"', f.col) AS quoted,"
"   CASE WHEN f.key GLOB '*[' || char(1) || '-' || char(31) || '\"\\]*'"
"     THEN printf('(SELECT value FROM json_each(i.record) WHERE key = %Q)', f.key)"
"     WHEN f.kind = 'json'"
"     THEN printf('nullif(i.record -> %Q, ''null'')', '$.\"' || f.key || '\"')"
"     ELSE printf('json_extract(i.record, %Q)', '$.\"' || f.key || '\"')"
"   END AS take,"
"   printf('%Q || ', json_quote(f.key) || ':') || replace(CASE f.kind"
"     WHEN 'boolean' THEN"
"       'CASE {} WHEN 0 THEN ''false'' WHEN 1 THEN ''true'' ELSE json_quote({}) END'"
"     WHEN 'json' THEN 'CASE WHEN json_valid({}) THEN {} ELSE json_quote({}) END'"
"     ELSE 'CASE typeof({}) WHEN ''real'' THEN"
" iif(abs({}) < 9e999, printf(''%!.17g'', {}), ''null'') ELSE json_quote({}) END'"
"   END, '{}', printf('r.\"%w\"', f.col)) AS give"
" FROM offsync_collection AS c JOIN offsync_column AS f ON f.collection = c.name"
" ORDER BY c.name, f.key;"

/* unless the table has another name here, or is there already */
"CREATE TEMP VIEW offsync_make_offered AS"
" SELECT c.name AS collection, d.sql FROM offsync_collection AS c"
" JOIN temp.offsync_ddl AS d ON d.collection = c.name AND d.collection = c.tbl COLLATE BINARY"
" WHERE NOT EXISTS (SELECT 1 FROM main.sqlite_schema AS s"
"   WHERE s.type = 'table' AND s.name = c.tbl COLLATE NOCASE);"
"CREATE TEMP VIEW offsync_make_table AS"
" SELECT name AS collection, printf('CREATE TABLE IF NOT EXISTS main.\"%w\""
" (id TEXT PRIMARY KEY NOT NULL)', tbl) AS sql FROM offsync_collection;"
"CREATE TEMP VIEW offsync_make_column AS"
" SELECT collection, printf('ALTER TABLE main.\"%w\" ADD COLUMN %s', tbl, quoted) AS sql"
" FROM offsync_field AS f WHERE NOT EXISTS"
"   (SELECT 1 FROM pragma_table_info(f.tbl) AS p WHERE p.name = f.col COLLATE NOCASE);"
/* a whole collection came without this key: the column is no longer ours */
"CREATE TEMP VIEW offsync_make_forgotten AS"
" SELECT collection, printf('UPDATE main.\"%w\" SET %s = NULL', tbl, quoted) AS sql"
" FROM offsync_field WHERE key NOT IN (SELECT key FROM temp.offsync_key);"

/* columns changed here keep what they have, records deleted here stay deleted */
"CREATE TEMP VIEW offsync_make_upsert AS"
" SELECT c.name AS collection, printf('INSERT INTO main.\"%w\" (id%s)"
" SELECT i.id%s FROM temp.offsync_incoming AS i"
" WHERE NOT EXISTS (SELECT 1 FROM main.offsync_dirty AS d"
"   WHERE d.collection = %Q AND d.id = i.id AND d.op = ''deleted'')"
" ON CONFLICT (id) DO %s', c.tbl,"
"   ifnull(',' || group_concat(f.quoted), ''), ifnull(',' || group_concat(f.take), ''), c.name,"
"   ifnull('UPDATE SET ' || group_concat(printf('%s = CASE WHEN EXISTS"
" (SELECT 1 FROM main.offsync_changed AS h WHERE h.collection = %Q AND h.id = excluded.id"
" AND h.key = %Q) THEN %s ELSE excluded.%s END',"
"     f.quoted, c.name, f.key, f.quoted, f.quoted)) FILTER (WHERE f.key NOT NULL),"
"   'NOTHING')) AS sql"
" FROM offsync_collection AS c LEFT JOIN offsync_field AS f"
"   ON f.collection = c.name AND f.key IN (SELECT key FROM temp.offsync_key)"
" GROUP BY c.name;"
"CREATE TEMP VIEW offsync_make_replaced AS"
" SELECT c.name AS collection, printf('INSERT OR IGNORE INTO temp.offsync_gone"
" SELECT id FROM (SELECT id FROM main.\"%w\""
"   UNION SELECT id FROM main.offsync_dirty WHERE collection = %Q)"
" WHERE id NOT IN (SELECT id FROM temp.offsync_incoming WHERE id NOT NULL)"
"   AND id NOT IN (SELECT id FROM main.offsync_seen WHERE collection = %Q)',"
"   c.tbl, c.name, c.name) AS sql"
" FROM offsync_collection AS c JOIN temp.offsync_part AS p ON p.collection = c.name"
" WHERE p.replaces;"
"CREATE TEMP VIEW offsync_make_delete AS"
" SELECT name AS collection, printf('DELETE FROM main.\"%w\""
" WHERE id IN (SELECT id FROM temp.offsync_gone)', tbl) AS sql FROM offsync_collection;"

/* tracking is off within the transaction that applies an answer: no triggers */
"CREATE TEMP VIEW offsync_make_untracked AS"
" SELECT NULL AS collection, printf('DROP TRIGGER main.\"%w\"', name) AS sql"
" FROM main.sqlite_schema WHERE type = 'trigger' AND name GLOB 'offsync:*';"
"CREATE TEMP VIEW offsync_make_tracked AS"
" SELECT NULL AS collection, printf('CREATE TRIGGER main.\"%w\" ',"
"     printf('offsync:%s:%s', c.tbl, t.name))"
"   || replace(replace(replace(t.head || ' BEGIN ' || t.body || ' END',"
"     '{pairs}', ifnull(f.pairs, '(NULL, 0)')), '{t}', printf('\"%w\"', c.tbl)),"
"     '{c}', printf('%Q', c.name)) AS sql"
" FROM temp.offsync_trigger AS t CROSS JOIN offsync_collection AS c"
" LEFT JOIN (SELECT collection, group_concat(printf('(%Q, OLD.%s IS NOT NEW.%s)',"
"     key, quoted, quoted)) AS pairs FROM offsync_field WHERE kind <> 'server'"
"   GROUP BY collection) AS f ON f.collection = c.name;"

/*
 * One collection of a push.  A created record goes without server_version and
 * the like; an updated one carries them, the version being a base to detect
 * conflicts by.  _changed is a list with commas: impossible for a name that
 * has one, and without it the whole record counts.
 */
"CREATE TEMP VIEW offsync_make_part AS"
" SELECT c.name AS collection, printf('INSERT INTO temp.offsync_part (collection, changes)"
" SELECT %Q, ''{\"created\":['' || ifnull(group_concat(record) FILTER (WHERE op = ''created''), '''')"
" || ''],\"updated\":['' || ifnull(group_concat(record) FILTER (WHERE op = ''updated''), '''')"
" || ''],\"deleted\":['' || ifnull(group_concat(record) FILTER (WHERE op = ''deleted''), '''')"
" || '']}'' FROM (SELECT d.op, CASE d.op WHEN ''deleted'' THEN json_quote(d.id)"
" ELSE ''{\"id\":'' || json_quote(d.id) || '',\"_status\":\"'' || d.op || ''\"''"
" || (SELECT iif(max(instr(h.key, '','')), '''', '',\"_changed\":''"
"     || json_quote(ifnull(group_concat(h.key), ''''))) FROM main.offsync_changed AS h"
"   WHERE h.collection = d.collection AND h.id = d.id)"
" || (SELECT ifnull('','' || group_concat(column2), '''') FROM (VALUES %s)"
"   WHERE column2 NOT NULL AND (d.op = ''created'' OR NOT EXISTS"
"       (SELECT 1 FROM main.offsync_device WHERE name = ''partial'' AND value)"
"     OR column1 IN (SELECT h.key FROM main.offsync_changed AS h"
"       WHERE h.collection = d.collection AND h.id = d.id))) || ''}'' END AS record"
" FROM main.offsync_dirty AS d LEFT JOIN main.\"%w\" AS r ON r.id = d.id"
" WHERE d.collection = %Q ORDER BY d.id)', c.name, ifnull(group_concat(printf('(%Q, %s)', f.key,"
"   iif(f.kind = 'server', printf('iif(d.op = ''updated'' AND r.%s NOT NULL, %s, NULL)',"
"     f.quoted, f.give), f.give))) FILTER (WHERE f.key NOT NULL), '(NULL, NULL)'),"
"   c.tbl, c.name) AS sql"
" FROM offsync_collection AS c LEFT JOIN offsync_field AS f ON f.collection = c.name"
" WHERE c.live OR c.name IN (SELECT collection FROM offsync_dirty)"
" GROUP BY c.name;"

"CREATE TEMP VIEW offsync_make_dump AS"
" SELECT c.name AS collection, printf('SELECT ''{\"id\":'' || json_quote(r.id)%s || ''}''"
" FROM main.\"%w\" AS r ORDER BY r.id',"
"   (SELECT group_concat(give, '') FROM (SELECT ' || '','' || ' || f.give AS give"
"     FROM offsync_field AS f WHERE f.collection = c.name AND f.kind <> 'server'"
"     ORDER BY f.key)), c.tbl) AS sql FROM offsync_collection AS c;"
"CREATE TEMP VIEW offsync_make_status AS"
" SELECT c.name AS collection, printf('SELECT printf(''%%-24s %%8d rows, dirty:"
" %%d created, %%d updated, %%d deleted'', %Q, (SELECT count(*) FROM main.\"%w\"),"
" count(*) FILTER (WHERE op = ''created''), count(*) FILTER (WHERE op = ''updated''),"
" count(*) FILTER (WHERE op = ''deleted'')) FROM main.offsync_dirty AS d"
" WHERE d.collection = %Q AND (op <> ''updated'' OR EXISTS (SELECT 1 FROM main.offsync_changed AS h"
"   WHERE h.collection = d.collection AND h.id = d.id))', c.name, c.tbl, c.name) AS sql"
" FROM offsync_collection AS c;";

/*
 * Tracking: {t} is the table, {c} the collection, {pairs} its columns with
 * whether they differ.  The triggers "insert?" and "rename?" serve INSERT OR
 * REPLACE, which takes a row away without firing DELETE triggers; where no row
 * is replaced after all, they leave a mark without columns, which means
 * nothing.  The conflict clause of an app's statement overrides INSERT OR ...
 * in its triggers, but not ON CONFLICT DO.
 */
#define AFTER_DELETE(id) \
"DELETE FROM offsync_changed WHERE collection = {c} AND id = " id ";" \
"INSERT INTO offsync_dirty (collection, id, op, known) VALUES ({c}, " id ", 'deleted', 1)" \
" ON CONFLICT (collection, id) DO UPDATE SET op = 'deleted';" \
"DELETE FROM offsync_dirty WHERE collection = {c} AND id = " id " AND NOT known AND sent IS NULL;"

#define BEFORE_INSERT(id) \
"INSERT INTO offsync_dirty (collection, id, op, known)" \
" SELECT {c}, " id ", 'updated', 1 FROM {t} WHERE id = " id \
" ON CONFLICT (collection, id) DO NOTHING;"

#define AFTER_INSERT(id) \
"INSERT INTO offsync_changed (collection, id, key)" \
" SELECT d.collection, d.id, f.key FROM offsync_dirty AS d" \
" JOIN offsync_column AS f ON f.collection = d.collection" \
" WHERE d.collection = {c} AND d.id = " id " AND f.kind <> 'server'" \
" ON CONFLICT (collection, id, key) DO UPDATE SET sent = 0;" \
"INSERT INTO offsync_dirty (collection, id, op, known) VALUES ({c}, " id ", 'created', 0)" \
" ON CONFLICT (collection, id) DO UPDATE SET op = 'created' WHERE op = 'deleted';"

#define AFTER_UPDATE \
"INSERT INTO offsync_changed (collection, id, key)" \
" SELECT {c}, NEW.id, column1 FROM (VALUES {pairs}) WHERE column2" \
" ON CONFLICT (collection, id, key) DO UPDATE SET sent = 0;" \
"INSERT INTO offsync_dirty (collection, id, op, known) SELECT {c}, NEW.id, 'updated', 1" \
" WHERE EXISTS (SELECT 1 FROM offsync_changed WHERE collection = {c} AND id = NEW.id)" \
" ON CONFLICT (collection, id) DO NOTHING;"

const char *const ofs_sql_triggers[][3] = {
	{"insert?", "BEFORE INSERT ON {t}", BEFORE_INSERT("NEW.id")},
	{"insert", "AFTER INSERT ON {t}", AFTER_INSERT("NEW.id")},
	{"update", "AFTER UPDATE ON {t} WHEN OLD.id = NEW.id", AFTER_UPDATE},
	{"delete", "AFTER DELETE ON {t}", AFTER_DELETE("OLD.id")},
	{"rename?", "BEFORE UPDATE ON {t} WHEN OLD.id <> NEW.id", BEFORE_INSERT("NEW.id")},
	{"rename", "AFTER UPDATE ON {t} WHEN OLD.id <> NEW.id",
	AFTER_DELETE("OLD.id") AFTER_INSERT("NEW.id")},
	{NULL, NULL, NULL}
};

/* A pull's answer (?1), its collections and what each is to replace */
const char ofs_sql_answer[] =
"DELETE FROM temp.offsync_answer;"
"DELETE FROM temp.offsync_part;"
"INSERT INTO temp.offsync_answer SELECT json_extract(?1, '$.cursor'),"
" json_extract(?1, '$.timestamp'), json_extract(?1, '$.hasMore'),"
" json_extract(?1, '$.experimentalStrategy');"
"INSERT INTO temp.offsync_part SELECT c.key, 'replacement' = CASE WHEN json_valid(a.strategy)"
"   THEN coalesce((SELECT o.value FROM json_each(a.strategy, '$.override') AS o"
"     WHERE o.key = c.key), json_extract(a.strategy, '$.default'))"
"   ELSE a.strategy END, c.value"
" FROM temp.offsync_answer AS a, json_each(?1, '$.changes') AS c;"
"INSERT INTO offsync_collection (name, tbl) SELECT p.collection,"
" CASE WHEN lower(p.collection) GLOB 'sqlite_*' OR lower(p.collection) GLOB 'offsync_*'"
"   OR EXISTS (SELECT 1 FROM temp.offsync_part AS q"
"     WHERE q.collection < p.collection AND q.collection = p.collection COLLATE NOCASE)"
"   OR EXISTS (SELECT 1 FROM offsync_collection AS q WHERE q.tbl = p.collection)"
" THEN printf('c%d_%s', (SELECT count(*) FROM offsync_collection), p.collection)"
" ELSE p.collection END"
" FROM temp.offsync_part AS p WHERE p.collection NOT IN (SELECT name FROM offsync_collection);";

/*
 * The records of one collection (?1).  A record created here that the server
 * has too becomes an updated one, and keeps all its columns.
 */
const char ofs_sql_incoming[] =
"DELETE FROM temp.offsync_incoming;"
"INSERT INTO temp.offsync_incoming SELECT json_extract(r.value, '$.id'), r.value"
" FROM temp.offsync_part AS p, json_each(p.changes, '$.created') AS r WHERE p.collection = ?1;"
"INSERT INTO temp.offsync_incoming SELECT json_extract(r.value, '$.id'), r.value"
" FROM temp.offsync_part AS p, json_each(p.changes, '$.updated') AS r WHERE p.collection = ?1;"
"INSERT INTO offsync_changed (collection, id, key) SELECT d.collection, d.id, f.key"
" FROM offsync_dirty AS d JOIN offsync_column AS f ON f.collection = d.collection"
" WHERE d.collection = ?1 AND d.op = 'created' AND f.kind <> 'server'"
"   AND d.id IN (SELECT id FROM temp.offsync_incoming)"
" ON CONFLICT (collection, id, key) DO NOTHING;"
"UPDATE offsync_dirty SET op = 'updated', known = 1 WHERE collection = ?1 AND op = 'created'"
" AND id IN (SELECT id FROM temp.offsync_incoming);"
"DELETE FROM temp.offsync_key;"
"INSERT INTO temp.offsync_key SELECT j.key,"
" CASE WHEN max(j.type IN ('object', 'array')) THEN 'json'"
"   WHEN max(j.type IN ('true', 'false')) THEN 'boolean' ELSE 'plain' END"
" FROM temp.offsync_incoming AS i, json_each(i.record) AS j GROUP BY j.key;";

/* The same from a catalog's {"column": "kind"} */
const char ofs_sql_catalog[] =
"DELETE FROM temp.offsync_key;"
"INSERT INTO temp.offsync_key SELECT j.key, j.value"
" FROM temp.offsync_part AS p, json_each(p.changes) AS j WHERE p.collection = ?1;";

/* The server's DDL by collection (?1) */
const char ofs_sql_offered[] =
"DELETE FROM temp.offsync_ddl;"
"INSERT INTO temp.offsync_ddl SELECT key, value FROM json_each(?1);";

/* Columns for the new keys of a collection (?1) */
const char ofs_sql_learn[] =
"DELETE FROM temp.offsync_key WHERE key = 'id';"
"UPDATE temp.offsync_key SET kind = 'server'"
" WHERE key IN ('server_version', 'server_created_at', 'server_updated_at');"
"INSERT INTO offsync_column (collection, key, col, kind)"
" SELECT ?1, key, iif(nth = 1, key, printf('%s~%d', key, nth)), kind FROM ("
"   SELECT k.key, k.kind, row_number() OVER (PARTITION BY lower(k.key)"
"       ORDER BY k.key <> lower(k.key), k.key)"
"     + (lower(k.key) = 'id') + (SELECT count(*) FROM offsync_column AS f"
"       WHERE f.collection = ?1 AND lower(f.key) = lower(k.key)) AS nth"
"   FROM temp.offsync_key AS k"
"   WHERE k.key NOT IN (SELECT key FROM offsync_column WHERE collection = ?1));"
"UPDATE offsync_column SET kind = k.kind FROM temp.offsync_key AS k"
" WHERE offsync_column.collection = ?1 AND k.key = offsync_column.key"
"   AND offsync_column.kind = 'plain' AND k.kind <> 'plain';";

/* After offsync_make_forgotten */
const char ofs_sql_forget[] =
"DELETE FROM offsync_changed WHERE collection = ?1 AND key NOT IN (SELECT key FROM temp.offsync_key);"
"DELETE FROM offsync_column WHERE collection = ?1 AND key NOT IN (SELECT key FROM temp.offsync_key);";

/* Ids that are to go; a record that the server can't know stays */
const char ofs_sql_gone[] =
"DELETE FROM temp.offsync_gone;"
"INSERT OR IGNORE INTO temp.offsync_gone"
" SELECT iif(d.type = 'object', json_extract(d.value, '$.id'), d.value)"
" FROM temp.offsync_part AS p, json_each(p.changes, '$.deleted') AS d WHERE p.collection = ?1;";

/* ... after offsync_make_replaced, before offsync_make_delete */
const char ofs_sql_unmark[] =
"DELETE FROM temp.offsync_gone WHERE id IN (SELECT id FROM offsync_dirty"
"  WHERE collection = ?1 AND op = 'created' AND NOT known);"
"DELETE FROM offsync_changed WHERE collection = ?1 AND id IN (SELECT id FROM temp.offsync_gone);"
"DELETE FROM offsync_dirty WHERE collection = ?1 AND id IN (SELECT id FROM temp.offsync_gone);";

/* A page of a replacement by itself: what it tells of a collection (?1) stays */
const char ofs_sql_see[] =
"INSERT OR IGNORE INTO offsync_seen SELECT ?1, id FROM temp.offsync_incoming"
" WHERE EXISTS (SELECT 1 FROM temp.offsync_answer WHERE more AND strategy = 'incomplete');";

/*
 * Where the next pull starts (?1 the device's clock when the answer was asked for), or goes on.  A device that keeps its own clock keeps
 * that of the first page.
 */
const char ofs_sql_advance[] =
"UPDATE offsync_device SET value = (SELECT CASE m.value WHEN 'exact' THEN a.cursor"
"   WHEN 'number' THEN a.timestamp ELSE ifnull((SELECT value FROM offsync_device WHERE name = 'page clock'), ?1) END"
"   FROM temp.offsync_answer AS a, offsync_device AS m WHERE m.name = 'mode')"
" WHERE name = 'cursor' AND (SELECT NOT more FROM temp.offsync_answer);"
"INSERT INTO offsync_device SELECT 'page clock', ?1 FROM temp.offsync_answer WHERE more"
"   AND NOT EXISTS (SELECT 1 FROM offsync_device WHERE name = 'page');"
"INSERT OR REPLACE INTO offsync_device SELECT 'page', cursor FROM temp.offsync_answer WHERE more;"
"DELETE FROM offsync_seen WHERE (SELECT NOT more FROM temp.offsync_answer);"
"DELETE FROM offsync_device WHERE name IN ('page', 'page clock') AND (SELECT NOT more FROM temp.offsync_answer);"
"UPDATE offsync_collection SET live = name IN (SELECT collection FROM temp.offsync_part);";

/* A pull can't be gone on with, and some of it is applied already: the next one replaces everything */
const char ofs_sql_restart[] =
"UPDATE offsync_device SET value = '1' WHERE name = 'cursor';"
"DELETE FROM offsync_seen;"
"DELETE FROM offsync_device WHERE name IN ('page', 'page clock');";

/* Before offsync_make_part */
const char ofs_sql_tidy[] =
"DELETE FROM temp.offsync_part;"
"DELETE FROM temp.offsync_rejected;"
"DELETE FROM offsync_dirty AS d WHERE op = 'updated' AND NOT EXISTS (SELECT 1"
"  FROM offsync_changed AS h WHERE h.collection = d.collection AND h.id = d.id);";

/* ... and after it */
const char ofs_sql_freeze[] =
"INSERT INTO offsync_batch (push_id, base, changes) SELECT lower(hex(randomblob(16))),"
" (SELECT value FROM offsync_device WHERE name = 'cursor'),"
" '{' || group_concat(json_quote(collection) || ':' || changes) || '}' FROM temp.offsync_part;"
"UPDATE offsync_dirty SET sent = op;"
"UPDATE offsync_changed SET sent = 1;";

/* The batch is stored; ?1 is the answer */
const char ofs_sql_ack[] =
"UPDATE offsync_device SET value = json_extract(?1, '$.cursor') WHERE name = 'cursor'"
" AND json_extract(?1, '$.cursor') NOT NULL AND value IS (SELECT base FROM offsync_batch)"
" AND 'exact' = (SELECT value FROM offsync_device WHERE name = 'mode');"
"DELETE FROM offsync_changed WHERE sent;"
"DELETE FROM offsync_dirty AS d WHERE sent = op AND NOT EXISTS (SELECT 1"
"  FROM offsync_changed AS h WHERE h.collection = d.collection AND h.id = d.id);"
"UPDATE offsync_dirty SET op = iif(op = 'created' AND sent <> 'deleted', 'updated', op),"
" known = sent <> 'deleted', sent = NULL WHERE sent NOT NULL;"
"UPDATE offsync_batch SET answer = ?1;"
"DELETE FROM offsync_batch;";

/* The batch was refused; ?1 is 1 when an earlier try may have stored it all the same */
const char ofs_sql_refuse[] =
"UPDATE offsync_dirty SET known = known OR ?1, sent = NULL WHERE sent NOT NULL;"
"UPDATE offsync_changed SET sent = 0 WHERE sent;"
"DELETE FROM offsync_dirty WHERE op = 'deleted' AND NOT known;"
"DELETE FROM offsync_batch;";

/*
 * The records of the batch that the server rejected (?1 is the answer).  Each stays dirty, as if it hadn't
 * been sent.  With the setting give-up (and ?2) it isn't any longer, and the device takes what the server has of it:
 * unless it was edited meanwhile, or the answer, which has room for so many, doesn't say.
 */
const char ofs_sql_rejected[] =
"INSERT OR IGNORE INTO temp.offsync_rejected (collection, id)"
" SELECT c.key, i.value FROM json_each(?1, '$.experimentalRejectedIds') AS c, json_each(c.value) AS i;"
"UPDATE temp.offsync_rejected AS t SET given = 1, current = r.value -> '$.current'"
" FROM json_each(?1, '$.rejected') AS r"
" WHERE t.collection = r.value ->> '$.collection' AND t.id = r.value ->> '$.id'"
"   AND EXISTS (SELECT 1 FROM offsync_device WHERE name = 'give-up' AND value AND ?2)"
"   AND json_type(r.value, '$.current') NOT NULL"
"   AND (SELECT CAST(value AS TEXT) FROM offsync_device WHERE name = 'cursor')"
"     IS (SELECT base FROM offsync_batch)"
"   AND EXISTS (SELECT 1 FROM offsync_dirty AS d"
"     WHERE d.collection = t.collection AND d.id = t.id AND d.sent = d.op)"
"   AND NOT EXISTS (SELECT 1 FROM offsync_changed AS h"
"     WHERE h.collection = t.collection AND h.id = t.id AND NOT h.sent);"
"DELETE FROM offsync_changed WHERE (collection, id) IN"
"  (SELECT collection, id FROM temp.offsync_rejected WHERE given);"
"DELETE FROM offsync_dirty WHERE (collection, id) IN"
"  (SELECT collection, id FROM temp.offsync_rejected WHERE given);"
"UPDATE offsync_changed SET sent = 0 WHERE (collection, id) IN"
"  (SELECT collection, id FROM temp.offsync_rejected);"
"UPDATE offsync_dirty SET sent = NULL WHERE (collection, id) IN"
"  (SELECT collection, id FROM temp.offsync_rejected);"
"DELETE FROM offsync_dirty WHERE op = 'deleted' AND NOT known AND sent IS NULL;";

/*
 * A pull's answer out of a push's (?1): rows that the server stored otherwise than they were sent, and those
 * given up.  NULL when the device has moved on since the batch was made: it may know better.
 */
const char ofs_sql_news[] =
"SELECT json_object('changes', json_group_object(collection, json(part))) FROM ("
" SELECT collection, json_object('created', json('[]'),"
"   'updated', json_group_array(json(record)) FILTER (WHERE record NOT NULL),"
"   'deleted', json_group_array(id) FILTER (WHERE record IS NULL)) AS part FROM ("
"  SELECT c.key AS collection, NULL AS id, r.value AS record"
"  FROM json_each(?1, '$.changes') AS c, json_each(c.value, '$.updated') AS r"
"  UNION ALL SELECT c.key, r.value, NULL"
"  FROM json_each(?1, '$.changes') AS c, json_each(c.value, '$.deleted') AS r"
"  UNION ALL SELECT collection, id, nullif(current, 'null') FROM temp.offsync_rejected WHERE given)"
" GROUP BY collection)"
" WHERE (SELECT CAST(value AS TEXT) FROM offsync_device WHERE name = 'cursor')"
"   IS (SELECT base FROM offsync_batch)";

/* Was a record rejected that the next pull may mend, and not given up? */
const char ofs_sql_mendable[] =
"SELECT EXISTS (SELECT 1 FROM json_each(?1, '$.rejected') AS r JOIN temp.offsync_rejected AS t"
"   ON t.collection = r.value ->> '$.collection' AND t.id = r.value ->> '$.id'"
" WHERE r.value ->> '$.code' = 'PT409' AND NOT t.given)";

/* Does the device stand where the batch was made? */
const char ofs_sql_stands[] =
"SELECT (SELECT CAST(value AS TEXT) FROM offsync_device WHERE name = 'cursor')"
" IS (SELECT base FROM offsync_batch)";
const char ofs_sql_reasons[] =
"SELECT printf('%s: refused %s: %s (%s)', value ->> '$.collection', value ->> '$.id', value ->> '$.reason',"
" value ->> '$.code') FROM json_each(?1, '$.rejected')";

/* Has the answer anything to apply? */
const char ofs_sql_anything[] =
"SELECT EXISTS (SELECT 1 FROM temp.offsync_part WHERE replaces"
" OR changes <> '{\"created\":[],\"updated\":[],\"deleted\":[]}'"
" OR collection NOT IN (SELECT c.name FROM offsync_collection AS c"
"   JOIN main.sqlite_schema AS s ON s.type = 'table' AND s.name = c.tbl COLLATE NOCASE))";

/* What travelled */
const char ofs_sql_count[] =
"INSERT INTO temp.offsync_applied VALUES (?1, (SELECT count(*) FROM temp.offsync_incoming),"
"   (SELECT count(*) FROM temp.offsync_gone)) ON CONFLICT (collection)"
" DO UPDATE SET received = received + excluded.received, removed = removed + excluded.removed;";
const char ofs_sql_applied[] =
"SELECT printf('%s: received %d, removed %d', collection, received, removed) FROM temp.offsync_applied"
" WHERE received + removed > 0 ORDER BY collection";
const char ofs_sql_pushed[] =
"SELECT printf('%s: sent %d created, %d updated, %d deleted', key, value ->> '$.created',"
" value ->> '$.updated', value ->> '$.deleted') FROM json_each(?1, '$.applied')"
" WHERE coalesce(value ->> '$.created', 0) + coalesce(value ->> '$.updated', 0)"
"   + coalesce(value ->> '$.deleted', 0) > 0"
" UNION ALL SELECT printf('%s: the server ignored %s', key, value)"
" FROM json_each(?1, '$.ignoredColumns')";
