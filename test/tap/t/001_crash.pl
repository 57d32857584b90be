# After a crash PostgreSQL hands out again the transaction ids whose WAL never reached the disk: those
# of rollbacks and of asynchronous commits.  A device whose cursor has passed such an id must not
# lose the row that carries it the second time (P1), so a pull flushes WAL first; and a push that was
# answered survives, whatever the session's synchronous_commit says (P5).

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $node = new_node('crash', conf => <<CONF);
synchronous_commit = off
wal_writer_delay = 10s
checkpoint_timeout = 1h
CONF
create_schema($node, 'postgres');

my $exact = device();
my $number = device(form => 'timestamp');
my $bob = device(role => 'bob');

# Forty asynchronous commits, a rollback after each.
$node->safe_psql('postgres', <<'SQL');
CREATE PROCEDURE writes(label text) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 40 LOOP
		INSERT INTO task VALUES (label || i, 'alice', 'asynchronous');
		COMMIT;
		INSERT INTO task VALUES ('rolled back', 'alice', '');
		ROLLBACK;
	END LOOP;
END $$;
SQL

sub crash
{
	$node->stop('immediate');
	$node->start;
	return;
}

pull($node, $_) for $exact, $number, $bob;
$node->safe_psql('postgres', 'CHECKPOINT');

# 1. What a pull has seen, and every id that its cursor passes, is on disk.

my $session = $node->background_psql('postgres');
$session->query_safe("CALL writes('seen')");
is($session->query_safe('SELECT pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()'),
	't', 'asynchronous commits and rollbacks wait in memory');
my $insert = $session->query_safe('SELECT pg_current_wal_insert_lsn()');
my $next = $session->query_safe('SELECT pg_snapshot_xmax(pg_current_snapshot())');
pull($node, $_) for $exact, $number, $bob;
is($session->query_safe("SELECT pg_current_wal_flush_lsn() >= '$insert'"),
	't', 'a pull flushes them');

# 2. What came after the last pull is lost, and its ids come again.

$session->query_safe("CALL writes('lost')");
my $gone = $session->query_safe('SELECT pg_snapshot_xmax(pg_current_snapshot())');
$session->quit;
crash();
my $again = $node->safe_psql('postgres', 'SELECT pg_snapshot_xmax(pg_current_snapshot())');
cmp_ok($again, '<', $gone, 'transaction ids come again after the crash');
cmp_ok($again, '>=', $next, 'but none that a cursor has passed');
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM task WHERE id LIKE 'lost%'}),
	'<', 40, 'rows that nobody had pulled are lost');

$node->safe_psql('postgres', <<SQL);
CALL writes('again');
INSERT INTO task VALUES ('bob1', 'bob', 'of another');
DELETE FROM task WHERE id = 'seen3';
UPDATE task SET body = 'changed' WHERE id = 'seen4';
UPDATE task SET owner = 'bob' WHERE id = 'seen5';
INSERT INTO label VALUES (1, 'for all');
SQL
for my $device ($exact, $number, $bob)
{
	my $answer = pull($node, $device);
	my $who = "$device->{role}, $device->{form}";
	is(strategy_of($answer, 'task'), 'incremental', "$who: goes on after the crash");
	holds_the_truth($node, $device, "$who: nothing lost");
}

# 3. Many crashes, the pull at another place each time.

for my $round (1 .. 4)
{
	$node->safe_psql('postgres', "CALL writes('r${round}a')");
	pull($node, $exact) if $round % 2;
	$node->safe_psql('postgres', "CALL writes('r${round}b')");
	pull($node, $number) if $round > 1;
	$node->safe_psql('postgres', "BEGIN; DELETE FROM task WHERE id = 'r${round}a1'; ROLLBACK;"
		  . "DELETE FROM task WHERE id = 'r${round}a2'");
	pull($node, $bob);
	$node->safe_psql('postgres', "CALL writes('r${round}c')");
	crash();
	$node->safe_psql('postgres', "CALL writes('r${round}d')");
}
for my $device ($exact, $number, $bob)
{
	pull($node, $device);
	holds_the_truth($node, $device, "$device->{role}, $device->{form}: nothing lost in five crashes");
}

# 4. A push that was answered is there after the crash.

push_changes($node, $exact, {
	task => {
		created => [ { id => 'pushed', owner => 'alice', body => 'kept' } ],
		updated => [ { id => 'seen4', body => 'pushed' } ],
		deleted => ['seen6'] } },
	before => 'SET synchronous_commit = off');
crash();
is($node->safe_psql('postgres', q{SELECT string_agg(body, ',' ORDER BY id) FROM task WHERE id IN ('pushed', 'seen4', 'seen6')}),
	'kept,pushed', 'an acknowledged push survives the crash');
$node->safe_psql('postgres', "CALL writes('after')");
for my $device ($exact, $number, $bob)
{
	pull($node, $device);
	holds_the_truth($node, $device, "$device->{role}, $device->{form}: agrees after the push");
}

# 5. A prepared transaction outlives the crash; one that was open comes to nothing.

my $open = $node->background_psql('postgres');
$open->query_safe(q{BEGIN; INSERT INTO task VALUES ('open', 'alice', 'never'); DELETE FROM task WHERE id = 'seen7'});
$node->safe_psql('postgres', <<'SQL');
BEGIN;
INSERT INTO task VALUES ('prepared', 'alice', 'later');
DELETE FROM task WHERE id = 'seen8';
PREPARE TRANSACTION 'survivor';
CALL writes('behind');
SQL
for my $device ($exact, $number, $bob)
{
	pull($node, $device);
	holds_the_truth($node, $device, "$device->{role}, $device->{form}: while transactions run");
}
crash();
$open->quit;
$node->safe_psql('postgres', "CALL writes('ahead')");
pull($node, $_) for $exact, $number, $bob;
$node->safe_psql('postgres', q{COMMIT PREPARED 'survivor'});
for my $device ($exact, $number, $bob)
{
	is(strategy_of(pull($node, $device), 'task'), 'incremental', "$device->{role}, $device->{form}: goes on");
	holds_the_truth($node, $device, 'and gets what was prepared before the crash');
}

# 6. The insert position stands just behind a page's header when a record has filled the page
# before: a flush up to there would be an error.

$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION pull_at(place int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF place = 40 THEN
		PERFORM pg_switch_wal();
	END IF;
	IF (pg_current_wal_insert_lsn() - '0/0') % 8192 <> place THEN
		RETURN false;
	END IF;
	PERFORM offsync.pull_changes();
	RETURN true;
END $$;
CREATE FUNCTION fill_page() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	before pg_lsn := pg_current_wal_insert_lsn();
	overhead int;
	room int;
BEGIN
	-- what a message takes beside its text
	PERFORM pg_logical_emit_message(false, 'x', repeat('y', 800));
	overhead := (pg_current_wal_insert_lsn() - before) - 800;
	room := 8192 - (pg_current_wal_insert_lsn() - '0/0') % 8192;
	IF overhead > 70 OR room < 1000 THEN	-- that went over a page's end, or is near one
		RETURN false;
	END IF;
	PERFORM pg_logical_emit_message(false, 'x', repeat('y', room - overhead));
	RETURN pull_at(24);
END $$;
SQL
ok($node->poll_query_until('postgres', 'SELECT fill_page()'),
	'a pull just behind the header of a page');
ok($node->poll_query_until('postgres', 'SELECT pull_at(40)'),
	'a pull just behind the header of a segment');

$node->stop;
done_testing();
