# Databases of one cluster share transaction ids, and a copied one shares nearly everything.  A device that is
# led to another database than its own never takes it for its own (P8): not by its cursor, not by its number,
# on no standby.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $node = new_node('twins', allows_streaming => 1);
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(one two);
create_schema($node, $_) for qw(one two);
$node->safe_psql($_, "INSERT INTO task VALUES ('$_', 'alice', '$_'); INSERT INTO label VALUES (1, '$_')") for qw(one two);
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE one');
$node->safe_psql('copy', q{INSERT INTO label VALUES (2, 'copy')});
my @databases = qw(one two copy);

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

sub visit
{
	my ($server, $from, $to, $form, $when) = @_;
	my $device = device(db => $from, form => $form);
	my $name = "$when: a $form of $from in $to";

	pull($node, $device);
	holds_the_truth($node, $device, "$name: at home");
	$device->{db} = $to;
	is(strategy_of(pull($server, $device), 'task'), 'replacement', $name);
	holds_the_truth($node, $device, 'the device is healed');
	$node->safe_psql($to, q{INSERT INTO label SELECT max(id) + 1, 'new' FROM label});
	replayed($standby, $node);
	is(strategy_of(pull($server, $device), 'task'), 'incremental', 'goes on there');
	holds_the_truth($node, $device, 'and is complete');
	$device->{db} = $from;
	is(strategy_of(pull($server, $device), 'task'), 'replacement', 'and begins anew at home');
	holds_the_truth($node, $device, 'and is healed');
	return;
}

sub visit_all
{
	my ($when) = @_;
	for my $from (@databases)
	{
		for my $to (grep { $_ ne $from } @databases)
		{
			visit($_->[0], $from, $to, $_->[1], $when)
			  for [ $node, 'cursor' ], [ $node, 'timestamp' ], [ $standby, 'cursor' ], [ $standby, 'timestamp' ];
		}
	}
	return;
}

replayed($standby, $node);
visit_all('none restarted');

# A push to the wrong database conflicts or applies, but it never makes the foreign cursor good.
my $lost = device(db => 'one');
pull($node, $lost);
$lost->{db} = 'two';
my $answer = push_changes($node, $lost, { task => { created => [ { id => 'stray', owner => 'alice', body => 'x' } ] } });
is($answer->{cursor}, undef, 'a push with a foreign cursor gives none back');
is(strategy_of(pull($node, $lost), 'task'), 'replacement', 'and the next pull begins anew');
holds_the_truth($node, $lost, 'and heals');

# Clocks: times of one database mean nothing wrong in another, for both have seen the same clock; but a time
# from before a database existed begins anew.
$lost->{since} = '2001-01-01T00:00:00Z';
is(strategy_of(pull($node, $lost), 'task'), 'replacement', 'a time from before the database began');

# A copied data directory can't be told from its original; offsync.new_incarnation() ends all cursors there.
my %stale = map { $_ => device(db => 'one', form => $_) } qw(cursor timestamp);
pull($node, $_) for values %stale;
$node->safe_psql('one', 'SELECT offsync.new_incarnation()');
for my $device (values %stale)
{
	is(strategy_of(pull($node, $device), 'task'), 'replacement', "new_incarnation: a $device->{form} begins anew");
	$node->safe_psql('one', q{INSERT INTO label SELECT max(id) + 1, 'new' FROM label});
	is(strategy_of(pull($node, $device), 'task'), 'incremental', 'and goes on');
	holds_the_truth($node, $device, 'and is complete');
}

$node->restart;
replayed($standby, $node);
visit_all('restarted');

$_->stop for $standby, $node;
done_testing();
