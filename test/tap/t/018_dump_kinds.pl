# Dumps and restores of all kinds: in parallel, in sections, as INSERTs, without owners and privileges, by somebody who is no
# superuser, over what is there; and those that leave something out (-s, -n), after which enable is called again.  In a database
# with schemas that sort before and behind ours, and with hostile objects in the search_path that it is given.  In each case
# devices of the old database begin anew, hold the truth, and go on; and nothing is left over.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $node = new_node('kinds');
my $dir = $node->basedir;

$node->safe_psql('postgres', 'CREATE ROLE app LOGIN CREATEDB; CREATE DATABASE src; GRANT CREATE ON DATABASE src TO app; ALTER DATABASE src SET search_path = public, aaa, zzz');
$node->safe_psql('src', <<'SQL');
SET client_min_messages = warning;
CREATE EXTENSION offsync;
GRANT CREATE ON SCHEMA public TO app;
SET ROLE app;
CREATE SCHEMA aaa;
CREATE SCHEMA zzz;
GRANT USAGE ON SCHEMA aaa, zzz TO alice, bob;
CREATE FUNCTION zzz.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
CREATE OPERATOR aaa.= (LEFTARG = text, RIGHTARG = text, FUNCTION = zzz.trap);
CREATE FUNCTION aaa.me() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';
CREATE TABLE zzz.member (who text, team int, PRIMARY KEY (who, team));
CREATE TABLE task (id text PRIMARY KEY, owner text NOT NULL, body text);
CREATE TABLE label (id int PRIMARY KEY, body text);
CREATE TABLE aaa.note (id int PRIMARY KEY, owner text, task text REFERENCES task ON DELETE CASCADE);
CREATE TABLE zzz.doc (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), team int, body text);
CREATE TABLE zzz.part (id int, region text, body text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE aaa.part_a PARTITION OF zzz.part FOR VALUES IN ('a');
CREATE TABLE zzz.part_b PARTITION OF zzz.part DEFAULT;
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
ALTER TABLE aaa.note ENABLE ROW LEVEL SECURITY;
ALTER TABLE zzz.doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON task USING (owner OPERATOR(pg_catalog.=) current_user) WITH CHECK (true);
CREATE POLICY mine ON aaa.note USING (owner OPERATOR(pg_catalog.=) aaa.me()) WITH CHECK (true);
CREATE POLICY team ON zzz.doc USING (team IN (SELECT m.team FROM zzz.member m WHERE m.who OPERATOR(pg_catalog.=) current_user)) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON task, label, aaa.note, zzz.doc, zzz.part TO alice, bob;
GRANT SELECT ON zzz.member TO alice, bob;
SELECT offsync.enable(t::regclass) FROM unnest('{task,label,aaa.note,zzz.doc}'::text[]) t;
SELECT offsync.enable('zzz.part', filter_columns => '{region}');
INSERT INTO zzz.member VALUES ('alice', 1), ('bob', 2), ('alice', 3);
INSERT INTO task SELECT 't' || i, CASE i % 2 WHEN 0 THEN 'alice' ELSE 'bob' END, 'first' FROM generate_series(1, 20) i;
INSERT INTO label SELECT i, 'first' FROM generate_series(1, 5) i;
INSERT INTO aaa.note SELECT i, CASE i % 2 WHEN 0 THEN 'alice' ELSE 'bob' END, 't' || i FROM generate_series(1, 20) i;
INSERT INTO zzz.doc (team, body) SELECT i % 4, 'first' FROM generate_series(1, 20) i;
INSERT INTO zzz.part SELECT i, CASE i % 2 WHEN 0 THEN 'a' ELSE 'b' END, 'first' FROM generate_series(1, 10) i;
DELETE FROM task WHERE id IN ('t1', 't2');
SQL

my @collections = qw(task label note doc);
my %tables = (task => 'public.task', label => 'public.label', note => 'aaa.note', doc => 'zzz.doc');
my %device = map { my ($role, $form) = @$_; ("$role $form" => device(db => 'src', role => $role, form => $form, tables => \%tables)) }
	[ qw(alice cursor) ], [ qw(alice timestamp) ], [ qw(bob cursor) ];
pull($node, $_) for values %device;
$node->safe_psql('src', q{DELETE FROM task WHERE id = 't3'; UPDATE label SET body = 'unseen' WHERE id = 1; UPDATE zzz.doc SET team = 2 WHERE team = 1});

sub dump_to
{
	my ($to, @options) = @_;
	$node->command_ok([ 'pg_dump', @options, '-f', "$dir/$to", 'src' ], "pg_dump @options");
	return;
}

sub restore
{
	my ($db, $from, @options) = @_;
	return $node->command_ok([ 'pg_restore', @options, '-d', $db, "$dir/$from" ], "$db: pg_restore @options");
}

sub created
{
	my ($db, $owner) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0" . ($owner ? " OWNER $owner" : ''));
	return $db;
}

# Tombstone tables that no synced table has, triggers that call nobody's function
my $litter = q{SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c WHERE relnamespace = 'offsync_internal'::regnamespace AND relkind = 'r'
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND deptype = 'e') AND c.oid NOT IN (SELECT tombstones FROM offsync.status)};

# What came of it: as a database of its own
sub lives
{
	my ($db) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %old = map { my %copy = %{ $device{$_} }; $copy{rows} = { map { my $c = $_; ($c => { %{ $copy{rows}{$c} } }) } keys %{ $copy{rows} } }; $copy{db} = $db; ($_ => \%copy) } keys %device;

	for my $device (values %old)
	{
		my $answer = pull($node, $device);
		is(join(',', map { strategy_of($answer, $_) } @collections), join(',', ('replacement') x @collections), "$db: a $device->{form} of $device->{role} begins anew");
		holds_the_truth($node, $device, 'and is healed');
	}
	$node->safe_psql($db, <<'SQL');
DELETE FROM public.task WHERE id = 't4';
UPDATE public.task SET owner = 'bob' WHERE id = 't6';
INSERT INTO public.task VALUES ('new', 'alice', 'new');
UPDATE public.label SET body = 'new' WHERE id = 2;
INSERT INTO zzz.member VALUES ('alice', 2);
DELETE FROM zzz.doc WHERE team = 3;
SQL
	my $alice = $old{'alice cursor'};
	push_changes($node, $alice, { label => { created => [ { id => 77, body => 'pushed' } ] }, task => { deleted => ['t8'] } });
	pull($node, $_), holds_the_truth($node, $_, "$db: goes on, $_->{role}, $_->{form}") for values %old;
	$node->safe_psql($db, q{DELETE FROM public.task WHERE id = 't10'; DELETE FROM zzz.member WHERE who = 'alice' AND team = 2});
	for my $device (values %old)
	{
		my $answer = pull($node, $device);
		is(strategy_of($answer, 'task'), 'incremental', 'by deltas');
		holds_the_truth($node, $device, 'and complete');
	}
	is($node->safe_psql($db, q{SELECT string_agg(DISTINCT state, ',') || ' ' || count(*) FROM offsync.status}), 'ok 5', "$db: status says ok");
	is($node->safe_psql($db, $litter), '', "$db: nothing is left over");
	return;
}

my $enable = join '; ', (map { "SELECT offsync.enable('$_')" } qw(public.task public.label aaa.note zzz.doc)), q{SELECT offsync.enable('zzz.part', filter_columns => '{region}')};

# 1. Complete ones

dump_to('dir', qw(-Fd -j 2));
dump_to('custom', qw(-Fc));
dump_to('inserts.sql', qw(--inserts));
dump_to('schema', qw(-Fc -s));
dump_to('data', qw(-Fc -a -n public -n aaa -n zzz));
dump_to('some', qw(-Fc -n public -n aaa -n zzz));
restore(created('parallel'), 'dir', qw(-j 4));
lives('parallel');
restore(created('parallel_custom'), 'custom', qw(-j 3));
lives('parallel_custom');
created('sections');
restore('sections', 'dir', "--section=$_") for qw(pre-data data post-data);
lives('sections');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', created('inserts'), '-f', "$dir/inserts.sql" ], 'inserts: psql restores it');
lives('inserts');

# 2. Without owners and privileges: all belongs to who restores, who grants what he grants.  Nobody may read tombstones then:
# pulls are replacements, and status says why, till enable is called.

restore(created('bare'), 'custom', qw(-O -x));
$node->safe_psql('bare', 'GRANT USAGE ON SCHEMA aaa, zzz TO alice, bob; GRANT SELECT, INSERT, UPDATE, DELETE ON task, label, aaa.note, zzz.doc, zzz.part TO alice, bob; GRANT SELECT ON zzz.member TO alice, bob');
like($node->safe_psql('bare', q{SELECT string_agg(DISTINCT state, ',') FROM offsync.status}), qr/^replacement: the key of the tombstone table can't be read by everybody$/, 'bare: status says why');
my $bare = device(db => 'bare', tables => \%tables);
for my $strategy (qw(incremental replacement))
{
	is(strategy_of(pull($node, $bare), 'task'), $strategy, "bare: pulls go on, $strategy");
	holds_the_truth($node, $bare, 'and the device holds the truth');
}
$node->safe_psql('bare', $enable);
lives('bare');

# 3. Over what is there, which lives and has devices: with --create, so that the database is dropped; table by table the extension
# defends its tombstones.

$node->safe_psql('src', q{INSERT INTO task VALUES ('over', 'alice', 'soon gone'); DELETE FROM label});
restore('postgres', 'custom', qw(--clean --if-exists --create));
is($node->safe_psql('src', q{SELECT count(*) FROM offsync.status WHERE state = 'restored: nothing was written since'}), '5', 'src: restored over itself');
$_->{db} = 'src' for values %device;
lives('src');

# 4. By the database's owner, who is no superuser: what belongs to the extension is not to be restored by such a one, and says so; the
# tables are there, and enable makes them sync again.

created('humble', 'app');
$node->command_fails([ 'pg_restore', '-U', 'app', '-O', '-d', 'humble', "$dir/custom" ], 'humble: pg_restore says what it could not do');
is($node->safe_psql('humble', 'SELECT count(*) FROM task'), 17, 'humble: the rows are there');
$node->safe_psql('humble', "INSERT INTO task VALUES ('early', 'alice', 'before enable'); DELETE FROM task WHERE id = 'early'");
$node->safe_psql('humble', "SET ROLE app; $enable");
lives('humble');

# 5. Those that leave out our rows: enable is called again.

restore(created('schema_only'), 'schema');
is($node->safe_psql('schema_only', 'SELECT count(*) FROM offsync.status'), '0', 'schema_only: our rows are left out');
restore('schema_only', 'data');
is(sqlstate($node, 'schema_only', q{SET ROLE alice; SELECT offsync.pull_changes(NULL, '{task}')}), 'PT404', 'schema_only: the collections are unknown');
is(sqlstate($node, 'schema_only', q{INSERT INTO task VALUES ('x', 'alice'); UPDATE task SET body = 'y' WHERE id = 'x'; DELETE FROM task WHERE id = 'x'; TRUNCATE label CASCADE;}
	. q{INSERT INTO label SELECT i, 'again' FROM generate_series(1, 5) i; ALTER TABLE task ADD COLUMN more int; ALTER TABLE task DROP COLUMN more}), '00000', 'schema_only: and the tables are usable');
$node->safe_psql('schema_only', "SET ROLE app; $enable");
lives('schema_only');

$node->safe_psql(created('schemas'), 'CREATE EXTENSION offsync; DROP SCHEMA public');
restore('schemas', 'some');
is(sqlstate($node, 'schemas', q{INSERT INTO task VALUES ('x', 'alice'); UPDATE task SET body = 'y' WHERE id = 'x'; DELETE FROM task WHERE id = 'x'}), '00000', 'schemas: the tables are usable');
$node->safe_psql('schemas', "GRANT ALL ON SCHEMA public TO PUBLIC; SET ROLE app; $enable");
lives('schemas');

# ... and disable leaves nothing
for my $db (qw(schema_only humble bare))
{
	$node->safe_psql($db, 'SELECT offsync.disable(tbl) FROM offsync.status');
	is($node->safe_psql($db, $litter), '', "$db: nothing is left when it is disabled");
	is($node->safe_psql($db, q{SELECT count(*) FROM pg_trigger WHERE tgname ~ 'offsync'}), '0', '... no trigger either');
}

$node->stop;
done_testing();
