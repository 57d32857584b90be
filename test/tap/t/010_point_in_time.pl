# A backup recovered to a point in time: devices that saw less go on exactly, those that saw more begin anew (P8).

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $node = new_node('original', has_archiving => 1, allows_streaming => 1);
create_schema($node, 'postgres');
$node->safe_psql('postgres', q{INSERT INTO task SELECT 't' || i, 'alice', 'first' FROM generate_series(1, 5) i});
$node->backup('base');

my %before = map { $_ => device(form => $_) } qw(cursor timestamp);
my %after = map { $_ => device(form => $_) } qw(cursor timestamp);
pull($node, $_) for values %before;
$node->safe_psql('postgres', <<'SQL');
INSERT INTO task VALUES ('kept', 'alice', 'kept');
DELETE FROM task WHERE id = 't1';
SQL
my $target = $node->lsn('insert');
$node->safe_psql('postgres', <<'SQL');
INSERT INTO task VALUES ('undone', 'alice', 'undone');
DELETE FROM task WHERE id = 't2';
UPDATE task SET body = 'undone' WHERE id = 't3';
SQL
pull($node, $_) for values %after;
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');

my $recovered = recovered_to($node, $target);
is($recovered->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE id = 'kept'), count(*) FILTER (WHERE id = 'undone') FROM task}),
	'1|0', 'recovered to the point in time');

# The ids of what was undone are used again.
$recovered->safe_psql('postgres', <<'SQL');
INSERT INTO task VALUES ('again', 'alice', 'again');
DELETE FROM task WHERE id = 't4';
UPDATE task SET body = 'again' WHERE id = 't5';
SQL
is(strategy_of(pull($recovered, $before{cursor}), 'task'), 'incremental', 'a cursor of before goes on');
is(strategy_of(pull($recovered, $before{timestamp}), 'task'), 'replacement', 'a number of before begins anew');
is(strategy_of(pull($recovered, $after{$_}), 'task'), 'replacement', "a $_ that saw more begins anew") for sort keys %after;
holds_the_truth($recovered, $_, 'and holds the truth') for values %before, values %after;

# The original goes on beside it: two histories from one, which nobody may mix up.
$node->safe_psql('postgres', q{INSERT INTO task VALUES ('original', 'alice', 'original')});
for my $device (values %before, values %after)
{
	is(strategy_of(pull($node, $device), 'task'), 'replacement', "a $device->{form} of the recovered one begins anew in the original");
	holds_the_truth($node, $device, 'and holds the truth');
}

$_->stop for $recovered, $node;
done_testing();
