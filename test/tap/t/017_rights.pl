# Nothing runs with more rights than its caller's.  What the owner of a synced table hides in it, in its policies or in its
# tombstones is run by those alone who read or write the table's rows themselves, as PostgreSQL runs it then; never by
# a command of somebody else's that has to look at the table, a superuser's least of all.

use strict;
use warnings;

use FindBin;
use OffsyncTest;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'there is no DBD::Pg' unless eval { require DBI; require DBD::Pg; 1 };

my $node = new_node('rights');
my $super = $node->safe_psql('postgres', 'SELECT current_user');

# Whoever runs one of the owner's functions leaves a note of it.

$node->safe_psql('postgres', <<'SQL');
SET client_min_messages = warning;
CREATE EXTENSION offsync;
CREATE ROLE owner;
CREATE ROLE heir;
GRANT heir TO owner;
GRANT CREATE ON DATABASE postgres TO owner, heir;
CREATE SCHEMA rights AUTHORIZATION owner;
GRANT USAGE ON SCHEMA rights TO PUBLIC;
GRANT CREATE ON SCHEMA rights TO heir;
SET search_path = rights, public;
CREATE TABLE public.seen (who name, what text);
GRANT INSERT ON public.seen TO PUBLIC;
SET ROLE owner;
CREATE FUNCTION note(what text) RETURNS int LANGUAGE plpgsql AS $$BEGIN
	INSERT INTO public.seen VALUES (current_user, what);
	RETURN 1;
EXCEPTION WHEN OTHERS THEN RETURN 1; END$$;
-- claims what isn't so, to be run whenever somebody simplifies an expression
CREATE FUNCTION trap(what text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM rights.note(what); RETURN 1; END$$;
CREATE FUNCTION trap(what text, v anyelement) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM rights.note(what); RETURN true; END$$;
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM rights.note('trigger ' || TG_TABLE_NAME); RETURN coalesce(new, old); END$$;
CREATE FUNCTION fire_once() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM rights.note('trigger ' || TG_TABLE_NAME); RETURN NULL; END$$;
CREATE FUNCTION decide(jsonb, jsonb, jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$BEGIN PERFORM rights.note('conflict'); RETURN $2; END$$;
CREATE DOMAIN word AS text CHECK (rights.trap('domain', VALUE));
CREATE VIEW seen_by AS SELECT rights.trap('view') AS one;

-- A table with a trap wherever there is room for one
CREATE TABLE note (
	id word PRIMARY KEY,
	code text NOT NULL,
	n int DEFAULT rights.trap('default'),
	at timestamptz,
	twice int GENERATED ALWAYS AS (n + rights.trap('generated')) STORED,
	CHECK (rights.trap('check', n)));
CREATE TABLE member (who name, team int);
CREATE TABLE parted (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000);
CREATE UNIQUE INDEX note_code ON note (code);
CREATE UNIQUE INDEX note_partial ON note (code) WHERE rights.trap('index predicate') = 1;
CREATE INDEX note_computed ON note ((n + rights.trap('index expression')));
CREATE STATISTICS note_stats ON (n + rights.trap('statistics')), code FROM note;
CREATE TRIGGER fire BEFORE INSERT OR UPDATE OR DELETE ON note FOR EACH ROW EXECUTE FUNCTION fire();
CREATE TRIGGER fire_once AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON note FOR EACH STATEMENT EXECUTE FUNCTION fire_once();
CREATE TRIGGER fire AFTER INSERT OR UPDATE OR DELETE ON member FOR EACH ROW EXECUTE FUNCTION fire();
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
ALTER TABLE parted ENABLE ROW LEVEL SECURITY;
CREATE POLICY called ON note USING (rights.trap('policy') = 1 AND rights.trap('policy of a row', n));
CREATE POLICY tied ON note FOR SELECT USING (EXISTS (SELECT FROM rights.member m WHERE m.team = note.n AND m.who = current_user LIMIT rights.trap('limit')));
CREATE POLICY listed ON note FOR SELECT USING (n IN (SELECT m.team FROM rights.member m WHERE m.team = rights.trap('set') OFFSET rights.trap('offset')));
CREATE POLICY viewed ON note FOR SELECT USING (n IN (SELECT one FROM rights.seen_by));
CREATE POLICY arrayed ON note FOR SELECT USING (n = ANY (ARRAY[rights.trap('array')]));
CREATE POLICY called ON parted USING (rights.trap('policy') = 1);
GRANT SELECT, INSERT, UPDATE, DELETE ON note, parted TO alice;
GRANT SELECT ON member, seen_by TO PUBLIC;
SELECT count(*) FROM offsync.enable('note', key => '{code}', conflict => 'rights.decide', access_tables => '{}', filter_columns => '{n}');
SELECT count(*) FROM offsync.enable('parted', access_tables => '{}');
INSERT INTO note (id, code, n) SELECT g, g, g FROM generate_series(1, 5) g;
INSERT INTO member VALUES ('alice', 1);
DELETE FROM note WHERE code = '5';
-- ... and on the tombstones, which are the owner's, too
CREATE STATISTICS tomb_stats ON (n + rights.trap('statistics of tombstones')), code FROM offsync_internal.note_tombstone;
ALTER TABLE offsync_internal.note_tombstone ADD CHECK (rights.trap('check of tombstones', n));
SQL

# Those who ran anything, but for these
sub seen
{
	my (@but) = @_;
	my $who = join ',', map { "'$_'" } 'owner', 'heir', @but;
	return $node->safe_psql('postgres', "WITH gone AS (DELETE FROM public.seen RETURNING who, what)
		SELECT coalesce(string_agg(DISTINCT who || ': ' || what, ', '), 'nothing') FROM gone WHERE who NOT IN ($who)");
}

cmp_ok($node->safe_psql('postgres', 'SELECT count(DISTINCT what) FROM public.seen'), '>', 7, 'the traps work');
is(seen(), 'nothing', 'what its owner does is its owner\'s');

# 1. Others' commands, each in a new session, after the owner has handed the tables to another role, which no event
# trigger hears of: the next command of anybody finds them changed, and makes what is derived from them anew.

my @commands = (
	'CREATE TABLE public.other (id int)', 'ALTER TABLE public.other ADD COLUMN x int', 'DROP TABLE public.other', 'CREATE TABLE public.other AS SELECT 1 AS id',
	'GRANT heir TO alice', 'CREATE TYPE public.t AS (a int)', 'DROP TYPE public.t', 'CREATE INDEX ON public.other (id)',
	'ALTER ROLE alice RENAME TO al; ALTER ROLE al RENAME TO alice; CREATE VIEW public.v AS SELECT 1', 'GRANT SELECT ON rights.note TO bob',
	q{CREATE OR REPLACE FUNCTION public.unrelated() RETURNS int LANGUAGE sql AS 'SELECT 1'}, 'CREATE SCHEMA fresh CREATE TABLE fresh.t (id int)',
	'SELECT * FROM offsync.status', 'SELECT * FROM offsync.check()', q{SELECT * FROM offsync.prune('0')}, 'SELECT offsync.new_incarnation()',
	'SELECT * FROM offsync.check(true)', 'SELECT * FROM offsync.clients', 'SELECT * FROM offsync.stats',
	q{SELECT offsync.reset('rights.note')}, q{SELECT * FROM offsync.advise('rights.note')}, q{SELECT * FROM offsync.advise('rights.parted')},
	q{SELECT * FROM offsync.enable('rights.parted', access_tables => '{}')},
	q{SELECT * FROM offsync.enable('rights.note', key => '{code}', conflict => 'rights.decide', access_tables => '{}', filter_columns => '{n}')},
	q{SELECT * FROM offsync.explain('rights.note', '1')}, q{SELECT * FROM offsync.explain('rights.note', '1', as_role => 'heir')},
	'ALTER TABLE rights.member ENABLE ROW LEVEL SECURITY', 'ALTER TABLE rights.member DISABLE ROW LEVEL SECURITY', 'ALTER TABLE rights.member ADD COLUMN more int',
	'CREATE TABLE rights.parted_2 PARTITION OF rights.parted FOR VALUES FROM (1000) TO (2000)', 'ALTER TABLE rights.parted DETACH PARTITION rights.parted_2', 'DROP TABLE rights.parted_2',
	'ALTER TABLE rights.note RENAME TO jotting', 'ALTER TABLE rights.jotting RENAME TO note', q{COMMENT ON TABLE rights.note IS 'x'},
	'VACUUM rights.note', 'ANALYZE rights.note', 'ANALYZE offsync_internal.note_tombstone', 'VACUUM FULL offsync_internal.note_tombstone', 'CHECKPOINT');
for my $command (@commands)
{
	$node->safe_psql('postgres', "SET ROLE owner; REASSIGN OWNED BY owner TO heir;");
	seen();
	is(sqlstate($node, 'postgres', $command), '00000', $command);
	is(seen(), 'nothing', '... runs nothing of the owner\'s');
	$node->safe_psql('postgres', 'REASSIGN OWNED BY heir TO owner; GRANT CREATE, USAGE ON SCHEMA rights TO heir; CREATE TABLE settled (); DROP TABLE settled');
	seen();
}

# 2. The owner's own commands, part of which runs with the rights of the extension's owner: it writes the private catalog, and
# makes tombstone tables.  Where event triggers stand back for a while (a dump is being restored, a superuser has switched them off)
# the owner may do anything to its tombstone table.

my @spoilt = (
	'CREATE TABLE trap (LIKE offsync_internal.note_tombstone) PARTITION BY LIST (code); CREATE INDEX ON trap ((rights.trap($$index of tombstones$$)));'
	  . 'CREATE INDEX ON trap (code) WHERE rights.trap($$index predicate of tombstones$$) = 1; ALTER TABLE trap ATTACH PARTITION offsync_internal.note_tombstone DEFAULT',
	'ALTER TABLE offsync_internal.note_tombstone SET SCHEMA rights; CREATE INDEX ON rights.note_tombstone ((rights.trap($$index of tombstones$$)));',
	'CREATE TRIGGER fire BEFORE INSERT OR UPDATE OR DELETE ON offsync_internal.note_tombstone FOR EACH ROW EXECUTE FUNCTION fire();'
	  . 'CREATE TRIGGER fire_once AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON offsync_internal.note_tombstone EXECUTE FUNCTION fire_once()',
	'CREATE RULE fire AS ON INSERT TO offsync_internal.note_tombstone DO ALSO SELECT rights.note($$rule of tombstones$$)',
	'ALTER TABLE offsync_internal.note_tombstone ALTER offsync_at SET DEFAULT to_timestamp(rights.trap($$default of tombstones$$)), ADD COLUMN more int DEFAULT rights.note($$new column of tombstones$$)',
	'CREATE POLICY mine ON offsync_internal.note_tombstone USING (rights.trap($$policy of tombstones$$) = 1)',
	'CREATE STATISTICS tomb ON (n + rights.trap($$statistics of tombstones$$)), code FROM offsync_internal.note_tombstone',
	'ALTER TABLE offsync_internal.note_tombstone ADD CHECK (rights.trap($$check of tombstones$$, n)), CLUSTER ON note_tombstone_pkey');
for my $sql (@spoilt)
{
	$node->safe_psql('postgres', 'ALTER EVENT TRIGGER offsync_ddl_end DISABLE');
	$node->safe_psql('postgres', "SET ROLE owner; SET search_path = rights; $sql");
	$node->safe_psql('postgres', 'ALTER EVENT TRIGGER offsync_ddl_end ENABLE ALWAYS');
	seen();
	my ($name) = $sql =~ /^(.{1,60})/;
	for my $command ('SELECT * FROM offsync.status', 'SELECT * FROM offsync.check(true)', q{SELECT * FROM offsync.prune('0')}, q{SELECT * FROM offsync.advise('rights.note')})
	{
		sqlstate($node, 'postgres', $command);
		is(seen(), 'nothing', "$name: $command");
	}
	is(sqlstate($node, 'postgres', 'SET ROLE owner; ALTER TABLE rights.note ADD COLUMN IF NOT EXISTS more int'), '00000', "$name: the owner's next command");
	is(seen(), 'nothing', '... runs nothing as anybody else');
	is(sqlstate($node, 'postgres', 'SET ROLE owner; ALTER TABLE rights.note DROP COLUMN more'), '00000', '... and another one');
	is(seen(), 'nothing', '... neither');
	is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT state, ',') FROM offsync.status}), 'ok', '... and all is well again');
}

# 3. Those who read and write the rows run it as themselves, and as nobody else.

$node->safe_psql('postgres', q{GRANT INSERT ON public.seen TO alice; INSERT INTO rights.note (id, code, n) VALUES ('a', 'a', 1), ('b', 'b', 1)});
seen();
my $alice = sub { return $node->safe_psql('postgres', "SET ROLE alice; $_[0]") };
my $cursor = $json->decode($alice->('SELECT offsync.pull_changes()'))->{cursor};
for my $call ('SELECT offsync.pull_changes()', "SELECT offsync.pull_changes('$cursor')", 'SELECT offsync.digest()', q{SELECT offsync.reconcile('{"note": {"records": []}}')},
	"SELECT offsync.push_changes('{\"note\": {\"created\": [{\"id\": \"x\", \"code\": \"x\", \"n\": 1}], \"updated\": [{\"id\": \"a\", \"n\": 1}], \"deleted\": [\"b\"]}}', '$cursor')",
	'INSERT INTO rights.note (id, code, n) VALUES ($$y$$, $$y$$, 1); DELETE FROM rights.note WHERE code = $$y$$', 'DELETE FROM rights.parted', q{SELECT offsync.client_schema('sqlite')})
{
	sqlstate($node, 'postgres', "SET ROLE alice; $call");
	is(seen('alice'), 'nothing', substr($call, 0, 70) . ': as the caller');
}

# 4. The caller's part: what it brings along (a search_path, temporary objects, settings) reaches nobody with more rights: the owner's own
# functions and what the extension's owner runs are none the wiser.

$node->safe_psql('postgres', <<'SQL');
SET ROLE owner;
SET search_path = rights;
CREATE FUNCTION pull_for_all() RETURNS json LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT offsync.pull_changes()';
CREATE FUNCTION push_for_all(changes json) RETURNS json LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT offsync.push_changes(changes)';
CREATE FUNCTION shown(text) RETURNS json LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT json_agg(e) FROM offsync.explain($$rights.note$$, $1) e';
CREATE TABLE tablespaced (id int PRIMARY KEY);
SQL
$node->safe_psql('postgres', 'GRANT TEMPORARY ON DATABASE postgres TO alice');
my $shadows = $node->safe_psql('postgres', <<'SQL');
SELECT string_agg(format('CREATE DOMAIN pg_temp.%I AS pg_catalog.%1$I CHECK (pg_temp.mine(%L));', typname, 'type ' || typname), ' ') FROM pg_type
	WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typelem = 0 AND typname !~ '^_';
SELECT string_agg(format('CREATE TEMP TABLE %I (oid int, relname int);', relname), ' ') FROM pg_class
	WHERE relnamespace IN ('pg_catalog'::regnamespace, 'offsync_internal'::regnamespace, 'offsync'::regnamespace) AND relkind IN ('r', 'v') AND relname <> 'pg_type' AND relname <> 'status';
SQL
$shadows = 'CREATE FUNCTION pg_temp.mine(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM rights.note(what); RETURN true; END$$;' . $shadows;
for my $call ('SELECT rights.pull_for_all()', q{SELECT rights.push_for_all('{"parted": {"created": [{"id": 7, "n": 1}], "deleted": [8]}}')}, q{SELECT rights.shown('1')},
	'INSERT INTO rights.parted VALUES (9, 9); UPDATE rights.parted SET n = 10; UPDATE rights.parted SET id = 11; DELETE FROM rights.parted')
{
	my $plain = sqlstate($node, 'postgres', "SET ROLE alice; $call");
	is(sqlstate($node, 'postgres', "SET ROLE alice; $shadows; DELETE FROM pg_temp.pg_class; $call"), $plain, substr($call, 0, 60) . ': goes on beside temporary shadows');
	is(seen('alice'), 'nothing', '... and runs nothing of the caller\'s as anybody else');
}
is(sqlstate($node, 'postgres', "SET ROLE owner; $shadows; SELECT * FROM offsync.enable('rights.tablespaced'); INSERT INTO rights.tablespaced VALUES (1); DELETE FROM rights.tablespaced;"
	  . 'ALTER TABLE rights.tablespaced ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON rights.tablespaced USING (true)'), '00000', 'an owner enables beside its shadows');
is(seen(), 'nothing', '... which nobody else runs');
is(sqlstate($node, 'postgres', "$shadows; SELECT * FROM offsync.prune('0'); SELECT * FROM offsync.status"), '00000', 'prune beside shadows');

# 5. A search_path in which every operator and every function of PostgreSQL's has a double that stands before it.  Whatever is
# called, by whomever, means what it says.

$node->safe_psql('postgres', 'CREATE DATABASE hostile; GRANT ALL ON DATABASE hostile TO owner');
$node->safe_psql('hostile', <<'SQL');
CREATE SCHEMA hostile;
DO $do$
DECLARE o record;
BEGIN
	FOR o IN SELECT p.proname, p.oid, format('(%s) RETURNS %s LANGUAGE plpgsql AS $$BEGIN RAISE %L; END$$',
				pg_get_function_identity_arguments(p.oid), format_type(p.prorettype, NULL), 'trapped ' || p.oid::regprocedure) AS rest
			FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION hostile.%I%s', o.proname, o.rest);
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
	END LOOP;
	FOR o IN SELECT oid, oprname, oprleft, oprright, oprresult FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION hostile.op_%s(%s) RETURNS %s LANGUAGE plpgsql AS $$BEGIN RAISE %L; END$$', o.oid,
				concat_ws(', ', nullif(o.oprleft, 0)::regtype, nullif(o.oprright, 0)::regtype), o.oprresult::regtype, 'trapped ' || o.oid::regoperator);
			EXECUTE format('CREATE OPERATOR hostile.%s (%s FUNCTION = hostile.op_%s)', o.oprname,
				coalesce('LEFTARG = ' || nullif(o.oprleft, 0)::regtype || ', ', '') || coalesce('RIGHTARG = ' || nullif(o.oprright, 0)::regtype || ',', ''), o.oid);
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
	END LOOP;
END $do$;
CREATE EXTENSION offsync;
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
CREATE SCHEMA plain AUTHORIZATION owner;
GRANT USAGE ON SCHEMA plain TO PUBLIC;
CREATE SCHEMA api AUTHORIZATION owner;
CREATE SCHEMA drift AUTHORIZATION owner;
SET ROLE owner;
CREATE TABLE plain.member (who name, team int);
CREATE TABLE plain.task (id text PRIMARY KEY, owner name, team int, n numeric, at timestamptz, gone timestamptz, doc jsonb, list int[]);
CREATE TABLE plain.part (id int PRIMARY KEY, owner name) PARTITION BY RANGE (id);
CREATE TABLE plain.part_1 PARTITION OF plain.part FOR VALUES FROM (0) TO (1000);
CREATE TABLE plain.merged (id int PRIMARY KEY, body text, doc jsonb);
ALTER TABLE plain.task ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON plain.task USING (owner = current_user);
CREATE POLICY team ON plain.task FOR SELECT USING (team IN (SELECT m.team FROM plain.member m WHERE m.who = current_user));
CREATE POLICY tied ON plain.task FOR SELECT USING (EXISTS (SELECT FROM plain.member m WHERE m.team = task.team AND m.team > task.n));
GRANT ALL ON plain.task, plain.part, plain.merged TO alice;
GRANT SELECT ON plain.member TO PUBLIC;
SQL
is($node->safe_psql('hostile', q{SELECT count(*) > 1500 FROM pg_proc WHERE pronamespace = 'hostile'::regnamespace}), 't', 'there are many doubles');
is(sqlstate($node, 'hostile', q{SET search_path = hostile, pg_catalog; SELECT 1 = 1}), 'P0001', 'and they work');

my $answer = {};
for my $step (
	[ owner => q{SELECT offsync.enable('plain.task', conflict => 'last_write_wins', updated_at => 'at', soft_delete => 'gone', filter_columns => '{team}')} ],
	[ owner => q{SELECT offsync.enable('plain.part', index => 'version', notify => true)} ],
	[ owner => q{SELECT offsync.enable('plain.merged', conflict => 'merge')} ],
	[ owner => q{SELECT offsync.expose('api')} ], [ owner => q{SELECT offsync.expose('drift', 'drift')} ], [ owner => q{SELECT offsync.expose('drift', 'pocketbase')} ],
	[ owner => q{SELECT offsync.advise('plain.task')} ], [ owner => q{SELECT * FROM offsync.status} ],
	[ owner => q{INSERT INTO plain.task VALUES ('1', 'alice', 1, 1, '2020-01-01', NULL, '{}', '{1}'), ('2', 'bob', 2, 1, NULL, NULL, NULL, NULL)} ],
	[ owner => q{INSERT INTO plain.member VALUES ('alice', 2)} ], [ owner => q{INSERT INTO plain.part VALUES (1, 'alice'), (2, 'bob')} ],
	[ alice => q{SELECT offsync.pull_changes(collections => '{task,part,merged}')}, 'first' ],
	[ alice => q{SELECT offsync.pull_changes(NULL, '{task,part,merged}', max_rows => 1)} ], [ alice => q{SELECT offsync.pull_changes(NULL, '{task}', filters => '{"task": {"team": [2]}}')} ],
	[ alice => q{SELECT offsync.pull_stream(collections => '{task,part,merged}')} ],
	[ owner => q{DELETE FROM plain.member} ], [ owner => q{INSERT INTO plain.member VALUES ('alice', 3)} ], [ owner => q{UPDATE plain.task SET n = 5} ], [ owner => q{UPDATE plain.task SET owner = 'bob'} ],
	[ owner => q{DELETE FROM plain.task}, undef ], [ owner => q{UPDATE plain.part SET id = 3} , 'fails' ], [ owner => q{DELETE FROM plain.part} ],
	[ alice => q{SELECT offsync.pull_changes('CURSOR', '{task,part,merged}')} ], [ alice => q{SELECT offsync.pull_changes('NUMBER', '{task,part,merged}')} ],
	[ alice => q{SELECT offsync.pull_changes('2026-01-01T00:00:00Z', '{task,part,merged}')} ],
	[ alice => q{SELECT offsync.pull_changes('NUMBER', '{task,merged}', 2, '{"from": 1, "tables": ["task"], "columns": [{"table": "merged", "columns": ["doc"]}]}')} ],
	[ alice => q{SELECT offsync.push_changes('{"task": {"created": [{"id": "5", "owner": "alice", "n": 1.5, "list": [1], "doc": {"a": 1}}], "updated": [{"id": "6", "owner": "alice"}], "deleted": ["9"]},
		"merged": {"created": [{"id": 1, "body": "x", "doc": "{}"}, {"id": 2}]}, "part": {"created": [{"id": 8}, {"id": 9}]}}', 'CURSOR', 'phone', 'p1', 'skip')} ],
	[ alice => q{SELECT offsync.push_changes('{"merged": {"updated": [{"id": 1, "body": "y", "_changed": "body"}], "deleted": ["2"]}}', 'CURSOR', 'other')}, 'fails' ],
	[ alice => q{SELECT offsync.sync_changes('{"merged": {"updated": [{"id": 1, "body": "z"}]}}', 'CURSOR', '{task,merged}', 'phone', 'p3')}, 'fails' ],
	[ alice => q{SELECT offsync.digest('{task,part,merged}', 4)} ], [ alice => q{SELECT offsync.reconcile('{"task": {"records": {"1": 1}}, "part": {"records": ["7"]}}', 'CURSOR')} ],
	[ alice => q{SELECT offsync.cursor_info('CURSOR')} ], ( map { [ alice => qq{SELECT offsync.client_schema('$_')} ] } qw(watermelondb watermelondb-models drift sqlite typescript) ),
	[ alice => q{SELECT offsync.drift_pull('{task}', '2026-01-01T00:00:00Z')} ], [ alice => q{SELECT offsync.drift_push('{"task": {"created": [{"id": "d", "owner": "alice", "at": "2026-01-01T00:00:00Z"}]}}', '2026-01-01T00:00:00Z')} ],
	[ alice => q{SELECT offsync.pb_list('part', 'updated > ''2026-01-01''')}, 'fails' ], [ alice => q{SELECT offsync.pb_list('task', sort => '-updated')} ],
	[ alice => q{SELECT offsync.pb_list('changes', 'action = "delete"')} ], [ alice => q{SELECT * FROM offsync.changes(what => 'update')} ],
	[ alice => q{SELECT offsync.pb_create('part', '{"id": "11", "owner": "alice"}')} ], [ alice => q{SELECT offsync.pb_update('part', '11', '{"owner": null, "id": 12}')} ],
	[ alice => q{SELECT offsync.pb_delete('part', '11')} ], [ alice => q{SELECT offsync.new_id()} ],
	[ alice => q{SELECT offsync.rest_list('task', '2026-01-01T00:00:00Z', 1, false, NULL, '5')} ], [ alice => q{SELECT offsync.rest_list('part', "limit" => 1)} ],
	[ alice => q{SELECT offsync.rest_put('task', '71', '{"owner": "alice", "n": 1.5}')} ], [ alice => q{SELECT offsync.rest_put('task', '71', '{"n": 2}', '2026-01-01T00:00:00Z', true, 'k')} ],
	[ alice => q{SELECT offsync.rest_get('task', '71')} ], [ alice => q{SELECT offsync.rest_delete('task', '71')} ],
	[ owner => q{SELECT offsync.explain('plain.task', '5', 'CURSOR', claims => '{"sub": "x"}')} ],
	[ owner => q{ALTER TABLE plain.task ADD COLUMN more int} ], [ owner => q{CREATE POLICY late ON plain.task USING (team IS NULL)} ], [ owner => q{CREATE TABLE plain.part_2 PARTITION OF plain.part FOR VALUES FROM (1000) TO (2000)} ],
	[ owner => q{TRUNCATE plain.part} ], [ owner => q{DROP TABLE plain.part_2} ], [ owner => q{SELECT offsync.reset('plain.part')} ], [ owner => q{SELECT offsync.enable('plain.merged', conflict => 'merge')} ],
	[ $super => q{SELECT offsync.prune('0')} ], [ $super => q{SELECT offsync.new_incarnation()} ], [ $super => q{CREATE TABLE public.more (id int)} ],
	[ owner => q{SELECT offsync.disable('plain.part')} ], [ owner => q{SELECT offsync.disable('plain.merged', retire => true)} ], [ owner => q{DROP TABLE plain.task} ])
{
	my ($role, $call, $what) = @$step;
	$call =~ s/CURSOR/$answer->{cursor}/;
	$call =~ s/NUMBER/$answer->{timestamp}/;
	my ($status, $out, $err) = $node->psql('hostile', "SET ROLE $role; SET search_path = hostile, plain, pg_catalog;\n$call");
	unlike($err, qr/trapped/, "hostile search_path, $role: " . substr($call, 0, 70)) or diag($err);
	is($status, 0, '... and it is done') unless ($what // '') eq 'fails';
	diag($err) if $status && ($what // '') ne 'fails';
	$answer = $json->decode($out) if ($what // '') eq 'first';
}

# 6. Every place in the code that runs anything with other rights than its caller's, and why.

my %switches = (
	'base/spi.c' => [ 3, 'the switch itself: to the owner of the private schema, search_path pinned, in a security-restricted operation' ],
	'setup/refresh.c' => [ 2, 'tombstones, triggers and policies are made anew after anybody\'s command' ],
	'setup/mirror.c' => [ 1, 'creates the tombstone table\'s own policies, beside the mirrored ones' ],
	'setup/shape.c' => [ 1, 'reads the catalogs, and nothing of the table itself' ],
	'setup/tombstone.c' => [ 3, 'creates, fits and drops tombstone tables: nobody else may create in the private schema' ],
	'upkeep/clients.c' => [ 1, 'reads the push log, for the extension\'s owner or a pg_monitor' ],
	'setup/kept.c' => [ 1, 'counts tombstones and looks at the horizon, for the table\'s owner or a pg_monitor' ],
	'setup/inspect.c' => [ 1, 'check looks at every synced table, for the extension\'s owner or a pg_monitor' ],
	'verify/outcome.c' => [ 1, 'explain reads the push log, for the table\'s owner' ],
	'verify/rehearse.c' => [ 1, 'explain becomes the role that is asked about, or the table\'s owner: fewer rights than its caller\'s' ]);
my $source = "$FindBin::Bin/../../../src";
my %found;
for my $file (glob("$source/*/*.c"), glob("$source/*.c"))
{
	my $count = () = slurp_file($file) =~ /\bofs_owner_begin\(|\bSetUserIdAndSecContext\(/g;
	$found{ $file =~ s{^\Q$source\E/}{}r } = $count if $count;
}
is_deeply(\%found, { map { $_ => $switches{$_}[0] } keys %switches }, 'every switch of the user is named with its reason');

$node->stop;
done_testing();
