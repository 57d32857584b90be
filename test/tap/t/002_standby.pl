# Pulls on a hot standby: READ ONLY, the same answers as the primary's (P7), nothing lost between servers
# of which one lags behind the other (P1).  A snapshot of a standby says in another way than a primary's
# which transactions are running.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $primary = new_node('primary', allows_streaming => 1);
create_schema($primary, 'postgres');
$primary->safe_psql('postgres', q{INSERT INTO task SELECT 't' || i, 'alice', 'first' FROM generate_series(1, 5) i});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub catch_up
{
	replayed($standby, $primary);
	return;
}

sub pause
{
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
	$standby->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'})
	  or die 'replay does not pause';
	return;
}

sub resume
{
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
	return;
}

# 1. The same answers.

my $exact = device();
my $number = device(form => 'timestamp');
my $bob = device(role => 'bob');
my @devices = ($exact, $number, $bob);

catch_up();
for my $device (@devices)
{
	my %twin = (%$device, rows => {});
	my $here = pull($standby, $device);
	my $there = pull($primary, \%twin);
	is_deeply($here->{changes}, $there->{changes}, "$device->{role}, $device->{form}: a standby's first sync");
	is($here->{timestamp}, $there->{timestamp}, 'with the same number');
}
$primary->safe_psql('postgres', <<'SQL');
INSERT INTO task VALUES ('t6', 'alice', 'new');
UPDATE task SET body = 'changed' WHERE id = 't1';
UPDATE task SET owner = 'bob' WHERE id = 't2';
DELETE FROM task WHERE id = 't3';
SQL
catch_up();
for my $device (@devices)
{
	my %twin = (%$device, rows => { %{ $device->{rows} } });
	my $here = pull($standby, $device);
	my $there = pull($primary, \%twin);
	is_deeply($here->{changes}, $there->{changes}, "$device->{role}, $device->{form}: a standby's delta");
	is(strategy_of($here, 'task'), 'incremental', 'is a delta');
	holds_the_truth($standby, $device, 'and complete');
}

# 2. A standby that lags behind what a device has seen answers what it has and moves nothing.

pause();
$primary->safe_psql('postgres', <<'SQL');
INSERT INTO task VALUES ('t7', 'alice', 'the standby does not know');
DELETE FROM task WHERE id = 't6';
UPDATE task SET body = 'again' WHERE id = 't1';
SQL
for my $device (@devices)
{
	my $who = "$device->{role}, $device->{form}";
	pull($primary, $device);
	my $since = $device->{since};
	my $answer = pull($standby, $device);
	is(strategy_of($answer, 'task'), 'incremental', "$who: lag is no reason to begin anew");
	is($device->{since}, $since, 'the cursor comes back as it was');
	holds_the_truth($primary, $device, 'the device has lost nothing');
}

# What is new to a device's app can't be told of by halves: the cursor that came back would say that all of it is there.
for my $device ($exact, $number)
{
	my $migration = q{'{"tables": ["label"], "columns": [{"table": "task", "columns": ["body"]}]}'};
	my $sql = "SET ROLE alice; SELECT offsync.pull_changes('$device->{since}', migration => $migration)";
	is(sqlstate($standby, 'postgres', $sql), 'PT503', "$device->{form}: no migration from an older state");
	is(sqlstate($primary, 'postgres', $sql), '00000', 'from the present one');
}

# Something of the device's own that the standby doesn't know.
push_changes($primary, $exact, { task => { created => [ { id => 'own', owner => 'alice', body => 'own' } ],
	updated => [ { id => 't4', body => 'own' } ], deleted => ['t5'] } });
my $since = $exact->{since};
pull($standby, $exact);
is($exact->{since}, $since, 'nor does it move after a push');
holds_the_truth($primary, $exact, 'the device keeps its own edits');
$primary->safe_psql('postgres', q{UPDATE task SET body = 'theirs' WHERE id = 't4'});
resume();
catch_up();
pull($standby, $_) for @devices;
holds_the_truth($primary, $_, "$_->{role}, $_->{form}: complete when the standby has caught up") for @devices;

# 3. To and fro between the servers, lag as it comes.

srand(7);
my $pushes = 0;
for my $round (1 .. 25)
{
	my $dice = int rand 5;
	my $id = 't' . int rand 12;
	pause() if $dice == 0;
	resume() if $dice == 1;
	$primary->safe_psql('postgres', (
		"INSERT INTO task VALUES ('$id', 'alice', 'r$round') ON CONFLICT (id) DO UPDATE SET body = 'r$round'",
		"DELETE FROM task WHERE id = '$id'",
		"UPDATE task SET owner = CASE owner WHEN 'bob' THEN 'alice' ELSE 'bob' END WHERE id = '$id'",
		"INSERT INTO label VALUES ($round, 'r$round')")[ int rand 4 ]);
	for my $device (@devices)
	{
		pull(rand() < 0.5 ? $primary : $standby, $device) if rand() < 0.7;
	}
	if ($dice == 2)
	{
		pull($primary, $exact);
		push_changes($primary, $exact, { task => { created => [ { id => "p$round", owner => 'alice', body => 'p' } ] } });
		$pushes++;
	}
}
resume();
catch_up();
cmp_ok($pushes, '>', 0, 'there were pushes among it');
for my $device (@devices)
{
	pull($standby, $device);
	holds_the_truth($primary, $device, "$device->{role}, $device->{form}: complete after moving to and fro");
}

# 4. Transactions that are running, one of them with more subtransactions than a snapshot names.

my $long = $primary->background_psql('postgres');
my $short = $primary->background_psql('postgres');
$short->query_safe(q{BEGIN; INSERT INTO task VALUES ('short', 'alice', 'one id')});
$long->query_safe(<<'SQL');
BEGIN;
INSERT INTO task VALUES ('top', 'alice', 'by the transaction itself');
DO $$
BEGIN
	FOR i IN 1 .. 150 LOOP
		BEGIN
			INSERT INTO task VALUES ('sub' || i, 'alice', 'by a subtransaction');
		EXCEPTION WHEN division_by_zero THEN
		END;
	END LOOP;
END $$
SQL
$primary->safe_psql('postgres', q{INSERT INTO task VALUES ('behind', 'alice', 'a later id, committed')});
catch_up();
is($standby->safe_psql('postgres', 'SELECT pg_snapshot_xmax(s)::text::bigint - pg_snapshot_xmin(s)::text::bigint > 64
		FROM pg_current_snapshot() s'), 't', 'the standby counts them all as running');
for my $device (@devices)
{
	pull($standby, $device);
	holds_the_truth($standby, $device, "$device->{role}, $device->{form}: while they run");
}
ok(exists $exact->{rows}{task}{behind}, 'what committed behind them is there');

# The first of them ends while the device is with the primary.
$short->query_safe('COMMIT');
pull($primary, $_) for @devices;
holds_the_truth($primary, $_, "$_->{role}, $_->{form}: one has ended") for @devices;
$long->query_safe('COMMIT');
$_->quit for $long, $short;
catch_up();
for my $device (@devices)
{
	my $answer = pull($standby, $device);
	is(strategy_of($answer, 'task'), 'incremental', "$device->{role}, $device->{form}: goes on");
	holds_the_truth($primary, $device, 'and loses nothing of 151 ids in one transaction');
}

# 5. A prepared transaction.

$primary->safe_psql('postgres', <<'SQL');
BEGIN;
INSERT INTO task VALUES ('prepared', 'alice', 'later');
DELETE FROM task WHERE id = 'sub7';
UPDATE task SET owner = 'bob' WHERE id = 'sub8';
PREPARE TRANSACTION 'later';
INSERT INTO task VALUES ('meanwhile', 'alice', 'sooner');
SQL
catch_up();
pull($standby, $_) for @devices;
holds_the_truth($standby, $_, "$_->{role}, $_->{form}: while one is prepared") for @devices;
$primary->safe_psql('postgres', q{COMMIT PREPARED 'later'});
pull($primary, $exact);
holds_the_truth($primary, $exact, 'committed, seen from the primary');
catch_up();
for my $device (@devices)
{
	pull($standby, $device);
	holds_the_truth($primary, $device, "$device->{role}, $device->{form}: committed, seen from the standby");
}

# 6. A device is verified and mended by a standby, but not by one that lags behind it.

sub mended
{
	my ($node, $device, $since) = @_;
	my $records = { map { $_->{id} => $_->{server_version} } values %{ $device->{rows}{task} } };
	my $call = sprintf 'SELECT offsync.reconcile(%s, %s)',
	  OffsyncTest::literal($json->encode({ task => { records => $records } })), OffsyncTest::literal($since);
	my $state = sqlstate($node, 'postgres', "SET ROLE alice; BEGIN READ ONLY; $call");
	return $state if $state ne '00000';
	my $changes = $json->decode($node->safe_psql('postgres', "SET ROLE alice; $call"))->{changes}{task};
	$device->{rows}{task}{ $_->{id} } = $_ for @{ $changes->{updated} };
	delete @{ $device->{rows}{task} }{ @{ $changes->{deleted} } };
	return scalar(@{ $changes->{updated} }) . ' and ' . scalar(@{ $changes->{deleted} });
}

catch_up();
pull($standby, $exact);
is($standby->safe_psql('postgres', 'SET ROLE alice; SELECT offsync.digest(buckets => 64)'),
	$primary->safe_psql('postgres', 'SET ROLE alice; SELECT offsync.digest(buckets => 64)'), 'a standby\'s digest');
pause();
delete $exact->{rows}{task}{t0};
push_changes($primary, $exact, { task => { created => [ { id => 'unseen', owner => 'alice', body => 'own' } ] } });
is(mended($standby, $exact, $exact->{since}), 'PT503', 'the standby hasn\'t heard of an own push');
$primary->safe_psql('postgres', q{UPDATE task SET body = 'unseen' WHERE id = 'behind'});
pull($primary, $exact);
is(mended($standby, $exact, $exact->{since}), 'PT503', 'nor of what a pull from the primary has seen');
is(mended($standby, $exact, $_), 'PT503', 'nor can it tell without a cursor') for undef, $number->{since};
is(sqlstate($standby, 'postgres', 'SELECT offsync.digest()'), '00000', 'a digest takes nothing away');

# Pages may come from both, as long as the standby has seen what the first page had.
for my $since ('NULL', map { "'$_->{since}'" } $exact, $number)
{
	my $page = sub { "SET ROLE alice; SELECT offsync.pull_changes($_[0], max_rows => 1)" };
	my $cursor = sub { OffsyncTest::literal($_[0]->safe_psql('postgres', $page->($since) . " ->> 'cursor'")) };
	$primary->safe_psql('postgres', q{INSERT INTO task SELECT gen_random_uuid(), 'alice', 'paged' FROM generate_series(1, 2)});
	is(sqlstate($standby, 'postgres', $page->($cursor->($primary))), 'PT503', 'a page that the standby hasn\'t got yet');
	is(sqlstate($primary, 'postgres', $page->($cursor->($standby))), '00000', 'one that the primary has') if $since eq 'NULL';
}

resume();
catch_up();
$exact->{rows}{task}{ghost} = { id => 'ghost', server_version => 1 };
delete $exact->{rows}{task}{behind};
like(mended($standby, $exact, $exact->{since}), qr/^[1-9]\d* and 1$/, 'it mends the device when it has caught up');
holds_the_truth($primary, $exact, 'exactly');
is(mended($standby, $exact, $exact->{since}), '0 and 0', 'then nothing is left');

# A snapshot of the primary's can be as old.
my $old = $primary->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL ROLE alice; SELECT 1');
$primary->safe_psql('postgres', q{UPDATE task SET body = 'newer' WHERE id = 'behind'});
pull($primary, $exact);
my $said = $old->query(sprintf q{DO $do$ BEGIN PERFORM offsync.reconcile('{}', %s); RAISE 'answered';
	EXCEPTION WHEN SQLSTATE 'PT503' THEN NULL; END $do$; SELECT 'refused'}, OffsyncTest::literal($exact->{since}));
like($said, qr/^refused/m, 'a transaction that began before the pull refuses, too');
$old->quit;
catch_up();

# 7. Malformed input on a standby is refused as it is on a primary, and a push can't be.

is(sqlstate($standby, 'postgres', q{SELECT offsync.pull_changes('nonsense')}), 'PT400', 'PT400 from a standby');
is( sqlstate($standby, 'postgres', q{SELECT offsync.push_changes('{"task": {"created": [{"id": "x", "owner": "alice"}]}}')}),
	'25006', 'a push to a standby is refused as any write is');

$standby->stop;
$primary->stop;
done_testing();
