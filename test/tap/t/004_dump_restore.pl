# A dump carries everything that sync needs, and the restored database is a new history: no device may
# take it for the old one (P8), and the owner notices nothing (P11).  Also with tables in a
# schema that sorts before offsync's, whose policies are restored while event triggers are live.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $home = new_node('home');
my $away = new_node('away');
my $dir = $home->basedir;

$home->safe_psql('postgres', 'CREATE DATABASE src');
create_schema($home, 'src');
create_schema($home, 'src', 'aaa');
$home->safe_psql('src', <<'SQL');
SET client_min_messages = warning;
SET search_path = aaa;
CREATE FUNCTION me() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';
CREATE TABLE "Odd ""Table"" é" ("Key, one" uuid, k2 int, "select" text, PRIMARY KEY ("Key, one", k2));
ALTER TABLE "Odd ""Table"" é" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "a ""policy""" ON "Odd ""Table"" é" USING ("select" = aaa.me());
CREATE POLICY narrow ON "Odd ""Table"" é" AS RESTRICTIVE FOR SELECT TO alice USING (k2 < 100);
CREATE TABLE part (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
CREATE TABLE part_b PARTITION OF part DEFAULT;
CREATE TABLE ranged (id int PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE ranged_a PARTITION OF ranged FOR VALUES FROM (0) TO (10);
CREATE TABLE ranged_b PARTITION OF ranged FOR VALUES FROM (10) TO (20);
CREATE TABLE "Member's ""é""" (team int, person text, rank int, PRIMARY KEY (team, person));
CREATE FUNCTION may(team int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT EXISTS (SELECT FROM aaa.ranged r WHERE r.id = may.team)';
CREATE TABLE guarded (id text PRIMARY KEY, team int, body text);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY tied ON guarded USING (EXISTS (SELECT FROM "Member's ""é""" m WHERE m.team <= guarded.team AND m.rank > guarded.team AND m.person = current_user));
CREATE POLICY f ON guarded AS RESTRICTIVE USING (may(team));
GRANT ALL ON "Odd ""Table"" é", part, ranged, guarded, "Member's ""é""" TO alice, bob;
SELECT offsync.enable('guarded', access_tables => '{ranged}', row_local => true, filter_columns => '{team,body}');
SELECT offsync.enable('"Odd ""Table"" é"', collection => 'odd');
SELECT offsync.enable('part');
SELECT offsync.enable('ranged', notify => true);
CREATE TABLE leaf (id text PRIMARY KEY, a text, b text, deleted_at timestamptz);
SELECT offsync.enable('leaf', conflict => 'field_lww', soft_delete => 'deleted_at');
SELECT offsync.push_changes('{"leaf": {"created": [{"id": "l", "a": "A", "b": "B", "_clocks": {"a": "001704067200000:00000:n", "b": "001704067200001:0000a:m"}}]}}');
INSERT INTO leaf VALUES ('m', 'a', 'b');
CREATE SCHEMA api;
SELECT d, offsync.expose('api', d, prefix => d || '_') FROM unnest('{json,drift,rest,pocketbase,messages,crdt}'::text[]) d;
CREATE TABLE gone (id text PRIMARY KEY);
SELECT offsync.enable('gone');
SELECT offsync.disable('gone', retire => true);
DROP TABLE gone;
INSERT INTO ranged SELECT i, 'r' FROM generate_series(5, 15) i;
INSERT INTO "Member's ""é""" VALUES (7, 'alice', 9), (7, 'bob', 8);
INSERT INTO guarded SELECT 'g' || i, i FROM generate_series(1, 20) i;
DELETE FROM guarded WHERE team % 5 = 0;
INSERT INTO "Odd ""Table"" é" SELECT gen_random_uuid(), i, CASE WHEN i % 2 = 0 THEN 'alice' ELSE 'bob' END FROM generate_series(1, 6) i;
INSERT INTO part SELECT i, CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 6) i;
DELETE FROM part WHERE id < 3;
SET search_path = public;
INSERT INTO task SELECT 't' || i, 'alice', 'first' FROM generate_series(1, 9) i;
INSERT INTO aaa.task SELECT * FROM task;
INSERT INTO label SELECT i, 'l' FROM generate_series(1, 9) i;
DELETE FROM task WHERE id IN ('t1', 't2');
DELETE FROM aaa.task WHERE id = 't9';
SQL

my %tables = (
	task => 'public.task', label => 'public.label', aaa_task => 'aaa.task', aaa_label => 'aaa.label', guarded => 'aaa.guarded');
my %devices = map { $_ => device(db => 'src', tables => \%tables, form => $_) } qw(cursor timestamp);

for my $device (values %devices)
{
	pull($home, $device);
	holds_the_truth($home, $device, "before the dump, by $device->{form}");
}

sub copy_of
{
	my ($device, $db) = @_;
	my %rows = map { $_ => { %{ $device->{rows}{$_} } } } keys %{ $device->{rows} };
	return { %$device, rows => \%rows, db => $db };
}

# The catalog rows and names that tell whether a restore is complete.
sub inventory
{
	my ($node, $db) = @_;
	return $node->safe_psql($db, <<'SQL');
SELECT collection, tbl, key, conflict, state FROM offsync.status ORDER BY 1;
SELECT tbl, reads, access_tables, row_local, filter_columns, notify FROM offsync_internal.synced_table ORDER BY 1::text;
SELECT collection, qualified, at FROM offsync_internal.retired;
SELECT id, server_clocks, server_column_versions FROM aaa.leaf ORDER BY id;
SELECT oid::regprocedure, provolatile, obj_description(oid) FROM pg_proc WHERE pronamespace = 'api'::regnamespace ORDER BY oid::regprocedure::text COLLATE "C";
SELECT relname, relkind, relacl, obj_description(oid, 'pg_class') FROM pg_class WHERE relnamespace = 'api'::regnamespace ORDER BY 1;
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal OR tgparentid <> 0 ORDER BY tgrelid::regclass::text, tgname;
SELECT polrelid::regclass, polname, polcmd, polpermissive, pg_get_expr(polqual, polrelid) FROM pg_policy ORDER BY polrelid::regclass::text, polname;
SELECT attrelid::regclass, attname, pg_get_expr(adbin, adrelid) FROM pg_attribute JOIN pg_attrdef ON (attrelid, attnum) = (adrelid, adnum) ORDER BY attrelid::regclass::text, attname;
SQL
}

my $inventory = inventory($home, 'src') =~ s/\|ok$/|STATE/gmr;
$home->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", 'src' ], 'pg_dump');
$home->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", 'src' ], 'pg_dump -Fc');

# What was restored behaves as a database of its own.
sub check_restored
{
	my ($node, $db, $name) = @_;
	my %old = map { $_ => copy_of($devices{$_}, $db) } keys %devices;
	my %late = map { $_ => copy_of($devices{$_}, $db) } keys %devices;
	my $fresh = device(db => $db, tables => \%tables);

	is(inventory($node, $db) =~ s/\|restored: nothing was written since$/|STATE/gmr, $inventory, "$name: all is there");
	is($node->safe_psql($db, q{SELECT offsync.pull_changes(collections => '{gone}') -> 'changes'}),
		'{"gone":{"created":[],"updated":[],"deleted":[]}}', "$name: a retired name is answered");
	pull($node, $fresh);
	holds_the_truth($node, $fresh, "$name: a first sync before the first write");
	for my $device (values %old)
	{
		my $answer = pull($node, $device);
		is(strategy_of($answer, $_), 'replacement', "$name: an old $device->{form} begins $_ anew, before the first write")
		  for qw(task aaa_label);
		holds_the_truth($node, $device, 'and heals the device');
	}

	my $max = $node->safe_psql($db, 'SELECT max(v) FROM (SELECT server_version FROM task UNION ALL SELECT server_version FROM label) t(v)');
	$node->safe_psql($db, <<SQL);
INSERT INTO task VALUES ('$db', 'alice', 'new'), ('of bob', 'bob', 'new');
UPDATE task SET body = 'changed' WHERE id = 't4';
DELETE FROM task WHERE id = 't5';
UPDATE aaa.task SET owner = 'bob' WHERE id = 't6';
DELETE FROM aaa.label;
INSERT INTO aaa.part VALUES (9, 'a'), (10, 'c');
UPDATE aaa.part SET region = 'z' WHERE id = 4;
SQL
	is($node->safe_psql($db, "SELECT min(server_version) > $max FROM task WHERE body IN ('new', 'changed')"),
		't', "$name: versions lie above all restored ones");
	is($node->safe_psql($db, 'SELECT count(DISTINCT id), count(DISTINCT base) FROM offsync_internal.incarnation'),
		'2|2', "$name: the new incarnation is recorded");
	is($node->safe_psql($db, q{SELECT count(*) FROM offsync.status WHERE state NOT IN ('ok', 'retired')}), '0', "$name: status says ok");

	for my $device ($fresh, values %old)
	{
		pull($node, $device);
		holds_the_truth($node, $device, "$name: changes after the restore, $device->{form}");
	}
	for my $device (values %late)
	{
		is(strategy_of(pull($node, $device), 'task'), 'replacement', "$name: an old $device->{form} begins anew, after the first write");
		holds_the_truth($node, $device, 'and heals the device');
	}
	$node->safe_psql($db, q{INSERT INTO task VALUES ('later', 'alice', 'new'); DELETE FROM task WHERE id = 't7'});
	push_changes($node, $fresh, { task => { created => [ { id => 'p', owner => 'alice', body => 'pushed' } ],
		updated => [ { id => 't8', body => 'pushed' } ] } });
	for my $device ($fresh, values %old, values %late)
	{
		my $answer = pull($node, $device);
		is(strategy_of($answer, $_), 'incremental', "$name: deltas again of $_, $device->{form}") for qw(task guarded);
		holds_the_truth($node, $device, 'and complete');
	}
	for my $sql (q{UPDATE aaa."Member's ""é""" SET rank = 10}, q{DELETE FROM aaa.ranged_a WHERE id = 8})
	{
		$node->safe_psql($db, $sql);
		for my $device ($fresh, values %old)
		{
			is(strategy_of(pull($node, $device), 'guarded'), 'replacement', "$name: what policies read is watched again, $device->{form}");
			holds_the_truth($node, $device, 'and complete');
		}
	}
	return $fresh;
}

my %restored;
for my $where ([ $home, 'home' ], [ $away, 'away' ])
{
	my ($node, $place) = @$where;

	$node->safe_psql('postgres', "CREATE DATABASE ${place}_$_ TEMPLATE template0") for qw(plain custom);
	$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', "${place}_plain", '-f', "$dir/plain.sql" ],
		"$place: psql restores the plain dump");
	$restored{$place} = check_restored($node, "${place}_plain", "$place, plain");
	$node->command_ok([ 'pg_restore', '-1', '-d', "${place}_custom", "$dir/custom.dump" ], "$place: pg_restore -1");
	check_restored($node, "${place}_custom", "$place, custom");
}

# The owner migrates what was restored, before anybody writes and with the event triggers standing back; a
# device that has pulled already must not miss it.

$home->safe_psql('postgres', 'CREATE DATABASE migrated TEMPLATE template0');
$home->command_ok([ 'pg_restore', '-1', '-d', 'migrated', "$dir/custom.dump" ], 'one more restore');
my $early = device(db => 'migrated', tables => { %tables, ranged => 'aaa.ranged' });
my $early_number = { %$early, rows => {}, form => 'timestamp' };
pull($home, $_) for $early, $early_number;
holds_the_truth($home, $early, 'pulled before anything else');
$home->safe_psql('migrated', <<'SQL');
ALTER TABLE task ALTER body TYPE text USING upper(body);
ALTER TABLE aaa.ranged DETACH PARTITION aaa.ranged_b;
SQL
$home->safe_psql('migrated', q{INSERT INTO label VALUES (1000, 'the first write')});
for my $device ($early, $early_number)
{
	pull($home, $device);
	holds_the_truth($home, $device, "a migration before the first write, $device->{form}");
	$home->safe_psql('migrated', q{INSERT INTO label SELECT max(id) + 1, 'the next write' FROM label; DELETE FROM task WHERE id IN (SELECT min(id) FROM task)});
	pull($home, $device);
	holds_the_truth($home, $device, 'and deltas after it');
}

# Two restores of one dump are two histories.

my $stray = copy_of($restored{home}, 'home_custom');
is(strategy_of(pull($home, $stray), 'task'), 'replacement', 'a cursor of one restore begins anew in the other');
holds_the_truth($home, $stray, 'and is healed');
$stray = copy_of($restored{home}, 'src');
is(strategy_of(pull($home, $stray), 'task'), 'replacement', 'and in the database that was dumped');
holds_the_truth($home, $stray, 'and is healed');
$stray = copy_of($restored{home}, 'away_plain');
is(strategy_of(pull($away, $stray), 'task'), 'replacement', 'and in the other cluster');
holds_the_truth($away, $stray, 'and is healed');
pull($home, $_) for values %devices;
holds_the_truth($home, $_, "the dumped database goes on, $_->{form}") for values %devices;

# A dump of a restored database is a dump like any other.

$home->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/second.dump", 'home_custom' ], 'pg_dump of what was restored');
$away->safe_psql('postgres', 'CREATE DATABASE second TEMPLATE template0');
$away->command_ok([ 'pg_restore', '-1', '-d', 'second', "$dir/second.dump" ], 'pg_restore of that');
is(strategy_of(pull($away, $stray = copy_of($stray, 'second')), 'task'), 'replacement', 'a third history');
$away->safe_psql('second', q{INSERT INTO task VALUES ('third', 'alice', 'new')});
pull($away, $stray);
holds_the_truth($away, $stray, 'that works');

# The extension goes, the tables stay usable; it comes back, and no old cursor is believed.

$home->safe_psql('home_plain', <<'SQL');
SET client_min_messages = warning;
DROP EXTENSION offsync CASCADE;
INSERT INTO task VALUES ('dropped', 'alice', 'without the extension');
UPDATE task SET body = 'without the extension' WHERE id = 't3';
DELETE FROM task WHERE id = 't8';
INSERT INTO aaa.part VALUES (11, 'a');
TRUNCATE aaa.label;
COPY label (id, body) FROM PROGRAM 'echo 77,copied' (FORMAT csv);
SQL
is($home->safe_psql('home_plain', q{SELECT body FROM task WHERE id = 'dropped' AND server_version > 0}),
	'without the extension', 'inserts work after DROP EXTENSION CASCADE');
is($home->safe_psql('home_plain', q{SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%offsync%'}), '0', 'no trigger is left');
$home->safe_psql('home_plain', <<'SQL');
SET client_min_messages = warning;
CREATE EXTENSION offsync;
SELECT offsync.enable('task');
SELECT offsync.enable('label');
SELECT offsync.enable('aaa.task', collection => 'aaa_task');
SELECT offsync.enable('aaa.label', collection => 'aaa_label');
SQL
my $back = $restored{home};
is(strategy_of(pull($home, $back), 'task'), 'replacement', 'after the extension came back devices begin anew');
holds_the_truth($home, $back, 'and are healed');
$home->safe_psql('home_plain', q{DELETE FROM task WHERE id = 'dropped'});
is(strategy_of(pull($home, $back), 'task'), 'incremental', 'and go on');
holds_the_truth($home, $back, 'exactly');

$_->stop for $home, $away;
done_testing();
