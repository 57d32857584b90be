# From the first version to this one with data in place: the new library serves the old version's objects, ALTER
# EXTENSION ... UPDATE changes nothing for devices, and what comes out is what a new database gets.

use strict;
use warnings;

use File::Path qw(make_path);
use OffsyncTest;
use Test::More;

my $node = new_node('updated');
# The owner of the extension is no superuser.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE keeper LOGIN;
CREATE DATABASE old OWNER keeper;
CREATE DATABASE fresh;
CREATE DATABASE restored;
SQL
$node->safe_psql('old', q{SET ROLE keeper; CREATE EXTENSION offsync VERSION '0.1'});

sub version { return $node->safe_psql($_[0], q{SELECT extversion FROM pg_extension WHERE extname = 'offsync'}) }
is(version('old'), '0.1', 'a database has the first version');
$node->safe_psql('fresh', 'CREATE EXTENSION offsync');
my $now = version('fresh');
isnt($now, '0.1', "the present one is $now");

# ---------------------------------------------------------------------------
# Everything works as it did, with the new library
# ---------------------------------------------------------------------------
create_schema($node, 'old');
$node->safe_psql('old', <<'SQL');
CREATE SCHEMA api;
GRANT USAGE ON SCHEMA api TO alice, bob;
SELECT offsync.expose('api');
CREATE TABLE team (project int, person text);
CREATE TABLE doc (id int PRIMARY KEY, project int, body text);
CREATE TABLE lww (id int PRIMARY KEY, changed timestamptz DEFAULT now(), gone timestamptz);
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY member ON doc USING (project IN (SELECT t.project FROM team t WHERE t.person = current_user));
GRANT ALL ON doc, team TO alice, bob;
SELECT offsync.enable('doc', filter_columns => '{project}');
SELECT offsync.enable('lww', conflict => 'last_write_wins', updated_at => 'changed', soft_delete => 'gone');
CREATE TABLE part (id int PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
GRANT ALL ON part TO alice, bob;
SELECT offsync.enable('part', conflict => 'merge');
-- what enable made then, and doesn't now
CREATE TRIGGER offsync_update AFTER UPDATE ON task FOR EACH ROW WHEN (record_image_ne(ROW(OLD.id, OLD.owner), ROW(NEW.id, NEW.owner))) EXECUTE FUNCTION offsync_internal.bury();
CREATE TRIGGER offsync_update AFTER UPDATE ON part FOR EACH ROW WHEN (record_image_ne(ROW(OLD.id), ROW(NEW.id))) EXECUTE FUNCTION offsync_internal.bury();
ALTER TABLE task ENABLE ALWAYS TRIGGER offsync_update;
ALTER TABLE part ENABLE ALWAYS TRIGGER offsync_update;
INSERT INTO team VALUES (1, 'alice'), (2, 'bob');
INSERT INTO doc SELECT i, i % 3, 'first' FROM generate_series(1, 9) i;
INSERT INTO part SELECT i, 'first' FROM generate_series(1, 9) i;
INSERT INTO task SELECT 't' || i, CASE i % 3 WHEN 0 THEN 'bob' ELSE 'alice' END, 'first' FROM generate_series(1, 9) i;
INSERT INTO label SELECT i, 'first' FROM generate_series(1, 3) i;
SQL
my %tables = map { $_ => "public.$_" } qw(task label doc part);
my @devices = map { device(db => 'old', tables => {%tables}, @$_) } [], [ role => 'bob' ], [ form => 'timestamp' ];
my @asleep = map { device(db => 'old', tables => {%tables}, @$_) } [], [ role => 'bob' ], [ form => 'timestamp' ];

# What happens between two pulls of a device, under any version
my $round = 0;
sub life
{
	my ($db) = @_;
	$round++;
	$node->safe_psql($db, <<SQL);
INSERT INTO task VALUES ('r$round', 'alice', 'round $round');
DELETE FROM task WHERE id = 't$round';
UPDATE task SET owner = 'bob' WHERE id = 'r@{[ $round - 1 ]}';
UPDATE doc SET body = 'round $round' WHERE id = $round;
DELETE FROM part WHERE id = $round;
INSERT INTO team VALUES (@{[ $round % 3 ]}, 'alice') ON CONFLICT DO NOTHING;
SQL
	return;
}

sub all_is_well
{
	my ($what) = @_;
	for my $device (@devices)
	{
		my $answer = pull($node, $device);
		is(strategy_of($answer, $_), 'incremental', "$what: $device->{role} by $device->{form}: $_ is exact")
		  for $device->{form} eq 'cursor' ? qw(task label doc part) : qw(task label part);
		holds_the_truth($node, $device, "$what: and complete");
	}
	my $answer = push_changes($node, $devices[0], { task => { created => [ { id => "p$round", owner => 'alice', body => $what } ],
				deleted => ["p@{[ $round - 1 ]}"] } });
	is_deeply($answer->{applied}{task}, { created => 1, updated => 0, deleted => 1 }, "$what: a push");
	pull($node, $devices[0]);
	holds_the_truth($node, $devices[0], "$what: and its device");
	return;
}

pull($node, $_) for @devices, @asleep;
life('old');
all_is_well('first version');
my $push = q{SELECT api.push_changes('{"label": {"created": [{"id": "77", "body": "pushed"}]}}', client_id => 'phone', push_id => 'one')};
my $pushed = $node->safe_psql('old', "SET ROLE alice; $push");
like($pushed, qr/"applied":\{"label":\{"created":1,"updated":0/, 'a push with an id');
is($node->safe_psql('old', 'SELECT string_agg(state, $$,$$) FROM offsync.status'), 'ok,ok,ok,ok,ok', 'the old status');
for my $call (q{offsync.sync_changes('{}', '')}, q{offsync.digest()}, q{offsync.reconcile('{}')}, q{offsync.cursor_info(offsync.pull_changes() ->> 'cursor')},
	q{offsync.client_schema('sqlite')}, q{offsync.explain('task', 'r1')}, q{offsync.advise('doc')}, q{offsync.prune('1 year')}, q{offsync.pull_stream()},
	q{offsync.drift_pull('{task}')}, q{offsync.reset('label')}, q{offsync.enable('label')})
{
	is(sqlstate($node, 'old', "SELECT $call"), '00000', "$call under the first version");
}
is(sqlstate($node, 'old', 'SELECT * FROM offsync.stats'), '42P01', 'what is new is not there yet');
pull($node, $_) for @devices, @asleep;
$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/first.dump', '-d', $node->connstr('old') ], 'dump of the first version');

# ---------------------------------------------------------------------------
# The update
# ---------------------------------------------------------------------------
life('old');
my $open = $node->background_psql('old');
$open->query_safe('SET ROLE alice; SELECT count(*) FROM (SELECT offsync.pull_changes()) p');
$node->safe_psql('old', 'SET ROLE keeper; ALTER EXTENSION offsync UPDATE');
is(version('old'), $now, 'updated by its owner');
is($node->safe_psql('old', q{SELECT count(*) FROM pg_trigger WHERE tgname = 'offsync_update'}), '0', 'the old triggers are gone');
all_is_well('updated');
$open->query_safe('SELECT count(*) FROM (SELECT offsync.pull_changes()) p');
$open->quit;
life('old');
all_is_well('afterwards');
for my $device (@asleep)
{
	my $answer = pull($node, $device);
	is(strategy_of($answer, 'task'), 'incremental', "a cursor from before goes on: $device->{role} by $device->{form}");
	holds_the_truth($node, $device, 'and is complete');
}
is($node->safe_psql('old', "SET ROLE alice; $push"), $pushed, 'a push of before is known');
is($node->safe_psql('old', 'SET ROLE keeper; SELECT count(*) FROM offsync.check(true)'), '0', 'check finds nothing');
is($node->safe_psql('old', 'SET ROLE keeper; SELECT pulls > 5 AND pushes > 1 FROM offsync.stats'), 't', 'counters');
is($node->safe_psql('old', 'SET ROLE bob; SELECT count(*) FROM offsync.status'), '5', 'the status is still for everybody');

# ---------------------------------------------------------------------------
# The same as a new one
# ---------------------------------------------------------------------------
my $members = <<'SQL';
SELECT pg_describe_object(classid, objid, 0), coalesce(obj_description(objid, classid::regclass::text::name), ''),
	coalesce(pg_get_functiondef(p.oid), pg_get_viewdef(c.oid), ''), p.proacl IS NULL, p.provolatile, p.proparallel,
	(SELECT json_agg(x ORDER BY x::text) FROM (SELECT a.privilege_type, a.grantee = 0 AS everybody, a.grantee = c.relowner AS owner FROM aclexplode(c.relacl) a) x),
	(SELECT json_agg(json_build_array(attname, atttypid::regtype, col_description(attrelid, attnum)) ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = c.oid AND attnum > 0)
FROM pg_depend d LEFT JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid AND prokind = 'f'
	LEFT JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid AND relkind IN ('v', 'r')
WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'offsync') ORDER BY pg_describe_object(classid, objid, 0) COLLATE "C"
SQL
is($node->safe_psql('old', $members), $node->safe_psql('fresh', $members), 'an updated database has what a new one has');

# ---------------------------------------------------------------------------
# A dump of the first version, where there is only the new one by default
# ---------------------------------------------------------------------------
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $node->basedir . '/first.dump' ], 'restored');
is(version('restored'), $now, 'as the present version');
for my $device (map { { %$_, db => 'restored' } } @devices)
{
	is(strategy_of(pull($node, $device), 'task'), 'replacement', "$device->{role} by $device->{form} starts anew");
	holds_the_truth($node, $device, 'and is complete');
	life('restored') if $device->{form} eq 'timestamp';
	pull($node, $device);
	holds_the_truth($node, $device, 'and goes on');
}
my $fix = $node->safe_psql('restored', 'SELECT string_agg(fix, $$ $$) FROM offsync.check(true)');
$node->safe_psql('restored', $fix);
is($node->safe_psql('restored', 'SELECT count(*) FROM offsync.check(true)'), '0', 'what check proposes makes all as it should be');

# ---------------------------------------------------------------------------
# Files and objects of different versions
# ---------------------------------------------------------------------------
SKIP:
{
	my $root = $node->safe_psql('postgres', q{SELECT current_setting('extension_destdir', true)});
	skip 'the files can only be exchanged where there is extension_destdir', 4 if $root eq '';
	my ($share) = glob "$root/usr/share/postgresql/*/extension";
	my $copy = $node->basedir . '/root';
	my $there = $copy . substr($share, length $root);

	make_path($there);
	PostgreSQL::Test::Utils::system_or_bail('cp', '-r', "$root/usr", $copy);
	PostgreSQL::Test::Utils::system_or_bail('sed', '-i', "s/default_version = .*/default_version = '$now.1'/", "$there/offsync.control");
	PostgreSQL::Test::Utils::append_to_file("$there/offsync--$now--$now.1.sql", "SELECT 1;\n");
	$node->append_conf('postgresql.conf', "extension_destdir = '$copy'");
	$node->restart;
	my $found = 'SELECT finding, fix FROM offsync.check()';
	is($node->safe_psql('old', $found), 'update|ALTER EXTENSION offsync UPDATE;', 'newer files');
	$node->safe_psql('old', $node->safe_psql('old', 'SELECT fix FROM offsync.check()'));
	is(version('old'), "$now.1", 'as check said');
	is($node->safe_psql('old', $found), 'library|', 'the library is the older one');
	like($node->safe_psql('old', 'SELECT detail FROM offsync.check()'), qr/library of version \Q$now\E, .* of version \Q$now.1\E\. Connect again/, 'and so says check');
}
done_testing();
