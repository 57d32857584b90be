# A promotion makes another history of transaction ids out of the same numbers.  Cursors from before the
# switch go on exactly; those that saw what the promotion lost begin anew (P8); nothing is lost (P1).

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $old = new_node('old', allows_streaming => 1);
create_schema($old, 'postgres');
$old->safe_psql('postgres', q{INSERT INTO task SELECT 't' || i, 'alice', 'first' FROM generate_series(1, 9) i});
$old->backup('base');
my %standby = map { $_ => PostgreSQL::Test::Cluster->new($_) } qw(new next);
for my $standby (values %standby)
{
	$standby->init_from_backup($old, 'base', has_streaming => 1);
	$standby->start;
}
my ($new, $next) = @standby{qw(new next)};

my %device = (
	'exact' => device(),
	'exact, from a standby' => device(),
	'exact, pushed' => device(),
	'exact of bob' => device(role => 'bob'),
	'number' => device(form => 'timestamp'));
my @before = grep { /exact/ } sort keys %device;

# While everything is well: devices pull; a transaction is prepared; another stays open and goes down
# with the old primary.

$old->safe_psql('postgres', <<'SQL');
BEGIN;
INSERT INTO task VALUES ('prepared', 'alice', 'commits after the promotion');
DELETE FROM task WHERE id = 't1';
UPDATE task SET owner = 'bob' WHERE id = 't2';
PREPARE TRANSACTION 'survivor';
INSERT INTO task VALUES ('t10', 'alice', 'first'), ('t0', 'bob', 'first');
SQL
my $open = $old->background_psql('postgres');
$open->query_safe(q{BEGIN; INSERT INTO task VALUES ('open', 'alice', 'never commits')});
$old->safe_psql('postgres', q{INSERT INTO task VALUES ('t11', 'alice', 'with a later id')});
replayed($_, $old) for $new, $next;
pull($_ eq 'exact, from a standby' ? $new : $old, $device{$_}) for sort keys %device;
my $sleeper = device();
my $pusher = device();
my $late = device();
pull($old, $_) for $sleeper, $pusher, $late;
my $page = page($old, 'NULL');
push_changes($old, $device{'exact, pushed'}, { task => { updated => [ { id => 't3', body => 'pushed' } ],
	created => [ { id => 'p1', owner => 'alice', body => 'pushed' } ], deleted => ['t4'] } });
holds_the_truth($old, $device{'exact, pushed'}, 'before the switch all is well');

# A push whose rows reach the standbys, and whose commit doesn't.

my $session = $old->background_psql('postgres');
$session->query_safe('SET ROLE alice; BEGIN');
push_changes(sub { $session->query_safe($_[0]) }, $late,
	{ task => { created => [ { id => 'p3', owner => 'alice', body => 'lost' } ] } });
$old->safe_psql('postgres', q{INSERT INTO label VALUES (1, 'written while the push has yet to commit')});
replayed($_, $old) for $new, $next;

# The standbys part from the primary, which goes on for a while and shows devices what will be lost.

$_->stop for $next, $new;		# so that the one that follows is not ahead
my %lost = (
	'exact that saw lost rows' => device(),
	'number that saw lost rows' => device(form => 'timestamp'),
	'exact that pushed what is lost' => $pusher,
	'exact that pushed what was lost half' => $late);
$session->query_safe('COMMIT');
$old->safe_psql('postgres', <<'SQL');
INSERT INTO task SELECT 'lost' || i, 'alice', 'lost' FROM generate_series(1, 3) i;
UPDATE task SET body = 'lost' WHERE id = 't5';
DELETE FROM task WHERE id = 't6';
SQL
my $lost_page = page($old, 'NULL');
pull($old, $lost{$_}) for 'exact that saw lost rows', 'number that saw lost rows';
holds_the_truth($old, $lost{'exact that saw lost rows'}, 'some devices see more than the standby got');
push_changes($old, $pusher, { task => { created => [ { id => 'p2', owner => 'alice', body => 'lost' } ],
	updated => [ { id => 't10', body => 'lost' } ] } });
$old->stop('immediate');
$_->quit for $open, $session;

$new->start;
$new->promote;

# A pull that came in pages goes on where the promotion lost nothing that its first page had seen.

sub page
{
	my ($node, $since) = @_;
	my $sql = "SET ROLE alice; SELECT offsync.pull_changes($since, max_rows => 2) ->> 'cursor'";
	return OffsyncTest::literal($node->safe_psql('postgres', $sql));
}
is(sqlstate($new, 'postgres', "SET ROLE alice; SELECT offsync.pull_changes($page, max_rows => 2)"), '00000', 'the second page of a pull');
is(sqlstate($new, 'postgres', "SET ROLE alice; SELECT offsync.pull_changes($lost_page, max_rows => 2)"), 'PT410', 'the first page saw what was lost');

# Nobody has written yet.

for my $name (@before)
{
	my $answer = pull($new, $device{$name});
	is(strategy_of($answer, 'task'), 'incremental', "$name: goes on, before anybody writes");
	holds_the_truth($new, $device{$name}, 'and is complete');
}

# The ids that the old primary used up are used again, for other rows.

$new->safe_psql('postgres', <<'SQL');
INSERT INTO task SELECT 'new' || i, 'alice', 'new' FROM generate_series(1, 3) i;
INSERT INTO task VALUES ('new4', 'bob', 'new');
UPDATE task SET body = 'new' WHERE id = 't7';
DELETE FROM task WHERE id = 't8';
UPDATE task SET owner = 'bob' WHERE id = 't9';
SQL
for my $name (@before)
{
	my $answer = pull($new, $device{$name});
	is(strategy_of($answer, 'task'), 'incremental', "$name: goes on");
	holds_the_truth($new, $device{$name}, 'and is complete');
}
for my $name (sort keys %lost)
{
	my $answer = pull($new, $lost{$name});
	is(strategy_of($answer, 'task'), 'replacement', "$name: begins anew");
	is(strategy_of($answer, 'label'), 'replacement', 'with every collection');
	holds_the_truth($new, $lost{$name}, 'and is healed');
}
my $answer = pull($new, $device{number});
is(strategy_of($answer, 'task'), 'replacement', 'a number from before the promotion begins anew');
holds_the_truth($new, $device{number}, 'and is healed');
is($new->safe_psql('postgres', 'SELECT count(DISTINCT base) FROM offsync_internal.incarnation'),
	'2', 'the first writer recorded the new incarnation');
is( $new->safe_psql('postgres', q{SELECT min(server_version) FILTER (WHERE id LIKE 'new%' OR id IN ('t7', 't9'))
		> max(server_version) FILTER (WHERE id IN ('t3', 't10', 't11')) FROM task}),
	't', 'new versions lie above all older ones');

# The prepared transaction has its version from before; its rows come all the same.

$new->safe_psql('postgres', q{COMMIT PREPARED 'survivor'});
for my $name (sort keys %device, keys %lost)
{
	my $device = $device{$name} // $lost{$name};
	$answer = pull($new, $device);
	is(strategy_of($answer, 'task'), 'incremental', "$name: goes on after the prepared transaction")
	  if $device->{form} eq 'cursor';
	holds_the_truth($new, $device, "$name: is given what the prepared transaction wrote");
}
my $number = $device{number};
$new->safe_psql('postgres', q{INSERT INTO task VALUES ('new5', 'alice', 'new')});
pull($new, $number);
$new->safe_psql('postgres', q{INSERT INTO task VALUES ('new6', 'alice', 'new')});
is(strategy_of(pull($new, $number), 'task'), 'incremental', 'numbers go on when it has ended');
holds_the_truth($new, $number, 'and are complete');

# The other standby follows the new primary, and is promoted in its turn.

$next->append_conf('postgresql.conf', "primary_conninfo = '" . $new->connstr . "'");
$next->start;
replayed($next, $new);
for my $name (sort keys %device)
{
	$answer = pull($next, $device{$name});
	is(strategy_of($answer, 'task'), 'incremental', "$name: may move to the standby that follows");
	holds_the_truth($new, $device{$name}, 'and is complete there');
}
$new->safe_psql('postgres', q{INSERT INTO task VALUES ('new7', 'alice', 'new'); DELETE FROM task WHERE id = 'new1'});
replayed($next, $new);
$new->stop('immediate');
$next->promote;
$next->safe_psql('postgres', q{INSERT INTO task VALUES ('new8', 'bob', 'new'), ('new9', 'alice', 'new')});
for my $name (@before)
{
	$answer = pull($next, $device{$name});
	is(strategy_of($answer, 'task'), 'incremental', "$name: goes on after a second promotion");
	holds_the_truth($next, $device{$name}, 'and is complete');
}
$answer = pull($next, $sleeper);
is(strategy_of($answer, 'task'), 'incremental', 'even a cursor of two timelines ago goes on');
holds_the_truth($next, $sleeper, 'and is complete');

$next->stop;
done_testing();
