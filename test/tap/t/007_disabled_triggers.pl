# Writes that the triggers don't see: pg_restore --disable-triggers, which leaves them ORIGIN instead of ALWAYS,
# and ALTER TABLE ... DISABLE TRIGGER.  Every answer from then on is "replacement" (P8); when the triggers fire
# again, one more replacement, for devices that slept through it, and then exact answers.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $node = new_node('blind');
my $dir = $node->basedir;
create_schema($node, 'postgres');
$node->safe_psql('postgres', <<'SQL');
INSERT INTO task SELECT 't' || i, CASE i % 3 WHEN 0 THEN 'bob' ELSE 'alice' END, 'first' FROM generate_series(1, 9) i;
INSERT INTO label SELECT i, 'first' FROM generate_series(1, 3) i;
SQL
$node->command_ok([ 'pg_dump', '-Fc', '-a', '-t', 'task', '-f', "$dir/task.dump", 'postgres' ], 'pg_dump of one table');
$node->safe_psql('postgres', <<'SQL');
INSERT INTO task VALUES ('t10', 'alice', 'after the dump');
DELETE FROM task WHERE id = 't1';
UPDATE task SET body = 'after the dump' WHERE id = 't2';
SQL

my @awake = (device(), device(form => 'timestamp'), device(role => 'bob'));
my @asleep = (device(), device(form => 'timestamp'), device(role => 'bob'));

sub pull_all
{
	my ($strategy, $name, @devices) = @_;
	for my $device (@devices)
	{
		is(strategy_of(pull($node, $device), 'task'), $strategy, "$name: $device->{role}, $device->{form}");
		holds_the_truth($node, $device, "$name: holds the truth");
	}
	return;
}

sub heal
{
	$node->safe_psql('postgres', <<'SQL');
SELECT format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', tgrelid::regclass, tgname) FROM pg_trigger
WHERE tgname LIKE '%offsync%' AND tgenabled <> 'A' \gexec
SQL
	return;
}

sub state_of { return $node->safe_psql('postgres', q{SELECT state FROM offsync.status WHERE collection = 'task'}) }

pull_all('incremental', 'all is well', @awake, @asleep);
is(state_of(), 'ok', 'status says ok');

# 1. pg_restore --disable-triggers

$node->safe_psql('postgres', 'ALTER TABLE task DISABLE TRIGGER USER; DELETE FROM task; ALTER TABLE task ENABLE TRIGGER USER');
pull_all('replacement', 'emptied unseen', @awake);
$node->command_ok([ 'pg_restore', '-a', '--disable-triggers', '-d', 'postgres', "$dir/task.dump" ], 'pg_restore --disable-triggers');
is($node->safe_psql('postgres', q{SELECT string_agg(tgenabled::text, '') FROM pg_trigger WHERE tgrelid = 'task'::regclass AND NOT tgisinternal}) =~ /^O+$/
	? 1 : 0, 1, 'it leaves ordinary triggers');
like(state_of(), qr/^replacement: /, 'status says that answers are not exact');
pull_all('replacement', 'restored', @awake);
pull_all('replacement', 'and again, as long as it lasts', @awake);
is(strategy_of(pull($node, $awake[0]), 'label'), 'incremental', 'the other collection does not suffer');

# Such a trigger sleeps while somebody writes as a replica.
$node->safe_psql('postgres', q{SET session_replication_role = replica; UPDATE task SET body = 'unseen' WHERE id = 't5'; DELETE FROM task WHERE id = 't4'});
pull_all('replacement', 'written as a replica', @awake);

heal();
is(state_of(), 'ok', 'status says ok when the triggers fire always');
pull_all('replacement', 'healed, first pull', @awake, @asleep);
$node->safe_psql('postgres', q{SET session_replication_role = replica; UPDATE task SET body = 'seen' WHERE id = 't5'; DELETE FROM task WHERE id = 't7'});
pull_all('incremental', 'healed, second pull', @awake, @asleep);

# 2. One trigger after the other, each with the write that it would have seen.

my %blind = (
	zzzz_offsync_stamp => q{INSERT INTO task VALUES ('unstamped', 'alice', 'x'); UPDATE task SET body = 'unstamped' WHERE id = 't2';
		UPDATE task SET owner = 'bob' WHERE id = 't8'; UPDATE task SET id = 'renamed' WHERE id = 't5'},
	offsync_delete => q{DELETE FROM task WHERE id = 't2'},
	offsync_truncate => q{TRUNCATE task});
for my $trigger (qw(zzzz_offsync_stamp offsync_delete offsync_truncate))
{
	for my $state (qw(DISABLE ENABLE) , 'ENABLE REPLICA')
	{
		$node->safe_psql('postgres', "ALTER TABLE task $state TRIGGER $trigger");
		like(state_of(), qr/\Q$trigger\E/, "$state $trigger: status names it");
		is(strategy_of(pull($node, $awake[0]), 'task'), 'replacement', 'the answer is a replacement');
	}
	$node->safe_psql('postgres', "ALTER TABLE task DISABLE TRIGGER $trigger; $blind{$trigger}");
	pull_all('replacement', "without $trigger", @awake);
	heal();
	pull_all('replacement', "$trigger is back", @awake, @asleep);
	pull_all('incremental', "$trigger is back, second pull", @awake, @asleep);
}

# 3. All of it inside one transaction, while a device is away: only the event tells.

$node->safe_psql('postgres', q{INSERT INTO task SELECT 'u' || i, 'alice', 'x' FROM generate_series(1, 5) i});
pull_all('incremental', 'before', @awake);
$node->safe_psql('postgres', <<'SQL');
BEGIN;
ALTER TABLE task DISABLE TRIGGER USER;
DELETE FROM task WHERE id = 'u1';
UPDATE task SET body = 'unseen' WHERE id = 'u2';
ALTER TABLE task ENABLE ALWAYS TRIGGER zzzz_offsync_stamp, ENABLE ALWAYS TRIGGER offsync_delete,
	ENABLE ALWAYS TRIGGER offsync_truncate;
COMMIT;
SQL
is(state_of(), 'ok', 'nothing is to be seen afterwards');
pull_all('replacement', 'and yet', @awake, @asleep);
pull_all('incremental', 'and then', @awake, @asleep);

# 4. A trigger that is dropped, and one that fires after the stamp.

is(sqlstate($node, 'postgres', 'DROP TRIGGER zzzz_offsync_stamp ON task'), '00000', 'the owner may drop the trigger')
  or diag('refusing it is as good');
if (state_of() ne 'ok')
{
	$node->safe_psql('postgres', q{INSERT INTO task (id, owner) VALUES ('no stamp', 'alice')});
	pull_all('replacement', 'dropped', @awake);
}

$node->stop;
done_testing();
