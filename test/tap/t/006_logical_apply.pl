# Rows that logical replication applies are tracked as any writer's (P9): the initial copy, inserts, updates,
# deletes, truncates.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $publisher = new_node('publisher', allows_streaming => 'logical');
my $subscriber = new_node('subscriber', allows_streaming => 'logical');

$publisher->safe_psql('postgres', <<'SQL');
CREATE TABLE task (id text PRIMARY KEY, owner text NOT NULL, body text);
CREATE TABLE label (id int PRIMARY KEY, body text);
INSERT INTO task SELECT 'copied' || i, CASE i % 2 WHEN 0 THEN 'alice' ELSE 'bob' END, 'copied' FROM generate_series(1, 6) i;
INSERT INTO label SELECT i, 'copied' FROM generate_series(1, 3) i;
CREATE TABLE rights (who text PRIMARY KEY, rank int);
INSERT INTO rights VALUES ('alice', 1);
CREATE TABLE told (id int PRIMARY KEY, body text);
CREATE PUBLICATION all_of_it FOR TABLE task, label, rights, told;
SQL
create_schema($subscriber, 'postgres');
$subscriber->safe_psql('postgres', q{INSERT INTO task VALUES ('local', 'alice', 'written here')});

# A table that isn't synced, but decides about one that is, in a way that has no delta.
$subscriber->safe_psql('postgres', <<'SQL');
CREATE TABLE rights (who text PRIMARY KEY, rank int);
CREATE TABLE secret (id text PRIMARY KEY, level int);
INSERT INTO secret SELECT 's' || i, i FROM generate_series(1, 5) i;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY ranked ON secret USING (EXISTS (SELECT FROM rights r WHERE r.who = current_user AND r.rank >= secret.level));
GRANT SELECT ON rights, secret TO alice, bob;
SELECT offsync.enable('secret');
CREATE TABLE told (id int PRIMARY KEY, body text);
SELECT offsync.enable('told', notify => true);
SQL

# Policies compare old owners, so deletes must carry them.
$publisher->safe_psql('postgres', 'ALTER TABLE task REPLICA IDENTITY FULL');

my %tables = (task => 'public.task', label => 'public.label', secret => 'public.secret');
my @devices = map { device(tables => \%tables, @$_) } [], [ form => 'timestamp' ], [ role => 'bob' ];

sub agree
{
	my ($name) = @_;
	for my $device (@devices)
	{
		is(strategy_of(pull($subscriber, $device), 'task'), 'incremental', "$name: $device->{role}, $device->{form}");
		holds_the_truth($subscriber, $device, 'holds the truth');
	}
	return;
}

sub catch_up
{
	$publisher->wait_for_catchup('sub');
	return;
}

agree('before the subscription');
my $connection = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION sub CONNECTION '$connection' PUBLICATION all_of_it");
$subscriber->wait_for_subscription_sync($publisher, 'sub');
agree('the initial copy');
is(scalar(keys %{ $devices[0]{rows}{task} }), 4, 'the copy came as a delta');
is($subscriber->safe_psql('postgres', q{SELECT count(*) FROM task WHERE body = 'copied' AND server_version >
		(SELECT server_version FROM task WHERE id = 'local')}), '6', 'copied rows carry a version of this server');

$publisher->safe_psql('postgres', <<'SQL');
INSERT INTO task VALUES ('applied1', 'alice', 'applied'), ('applied2', 'bob', 'applied');
UPDATE task SET body = 'changed' WHERE id = 'copied1';
UPDATE task SET owner = 'bob' WHERE id = 'copied2';
DELETE FROM task WHERE id IN ('copied3', 'copied4');
UPDATE task SET id = 'renamed' WHERE id = 'copied5';
UPDATE label SET body = 'changed' WHERE id = 1;
DELETE FROM label WHERE id = 2;
SQL
catch_up();
my $answer = pull($subscriber, $devices[0]);
is_deeply([ sort @{ $answer->{changes}{task}{deleted} } ], [ 'copied2', 'copied4' ],
	'alice hears of what was deleted, and of what is no longer hers');
agree('single changes');

# Several publisher transactions, one of them big, one rolled back; the apply worker's transactions are ours.
$publisher->safe_psql('postgres', <<'SQL');
BEGIN;
INSERT INTO task SELECT 'many' || i, 'alice', 'many' FROM generate_series(1, 500) i;
SAVEPOINT a;
DELETE FROM task;
ROLLBACK TO a;
DELETE FROM task WHERE id LIKE 'many%7';
COMMIT;
BEGIN;
INSERT INTO task VALUES ('never', 'alice', 'never');
ROLLBACK;
UPDATE task SET body = 'no change' WHERE id = 'many1';
SQL
catch_up();
agree('a big transaction');
my $version = $subscriber->safe_psql('postgres', q{SELECT server_version FROM task WHERE id = 'many1'});
$publisher->safe_psql('postgres', q{UPDATE task SET body = 'no change' WHERE id = 'many1'});
catch_up();
is($subscriber->safe_psql('postgres', q{SELECT server_version FROM task WHERE id = 'many1'}), $version,
	'an applied update that changes nothing leaves the version alone');

# A device of the subscriber writes into what the publisher writes into.
push_changes($subscriber, $devices[0], { task => { created => [ { id => 'pushed', owner => 'alice', body => 'here' } ] } });
$publisher->safe_psql('postgres', q{DELETE FROM label; INSERT INTO task VALUES ('after', 'bob', 'there')});
catch_up();
agree('pushes and applied changes together');

$publisher->safe_psql('postgres', 'TRUNCATE label');
$publisher->safe_psql('postgres', q{INSERT INTO label VALUES (9, 'after the truncate')});
catch_up();
for my $device (@devices)
{
	$answer = pull($subscriber, $device);
	is(strategy_of($answer, 'label'), 'replacement', 'an applied TRUNCATE resets the collection');
	is(strategy_of($answer, 'task'), 'incremental', 'and no other');
	holds_the_truth($subscriber, $device, 'and heals the device');
}

# Nobody's statement wrote it: the rows that were applied tell.
for my $sql (q{UPDATE rights SET rank = 3}, q{INSERT INTO rights VALUES ('bob', 2)}, q{DELETE FROM rights WHERE who = 'alice'}, 'TRUNCATE rights')
{
	pull($subscriber, $_) for @devices;
	$publisher->safe_psql('postgres', $sql);
	catch_up();
	for my $device (@devices)
	{
		is(strategy_of(pull($subscriber, $device), 'secret'), 'replacement', "applied: $sql, $device->{form}");
		holds_the_truth($subscriber, $device, 'and the device sees what it may');
		is(strategy_of(pull($subscriber, $device), 'secret'), 'incremental', 'once');
	}
}

# Who listens is told of what was applied, once a transaction; the last one ends the wait.
my $listener = $subscriber->background_psql('postgres');
my $told = $listener->query('LISTEN offsync; LISTEN done');
$publisher->safe_psql('postgres', $_) for q{INSERT INTO told SELECT i, 'one' FROM generate_series(1, 3) i},
	q{UPDATE told SET body = 'one'}, q{UPDATE told SET body = 'two' WHERE id = 1}, q{DELETE FROM told}, 'TRUNCATE told';
catch_up();
$subscriber->safe_psql('postgres', 'NOTIFY done');
$told .= $listener->query('SELECT') until $told =~ /notification "done"/;
$listener->quit;
my $told_times = () = $told =~ /"offsync" with payload "\{"collection": "told", "client": null\}"/g;
is($told_times, 4, 'applied transactions are told, but for the one that changed nothing');

# enable warns of the other direction: a published table's new columns would stop its subscribers.
$publisher->safe_psql('postgres', 'CREATE EXTENSION offsync');
is(sqlstate($publisher, 'postgres', q{SELECT offsync.enable('task')}), '55000', 'a published table is refused');

$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION sub');
$_->stop for $subscriber, $publisher;
done_testing();
