# offsync.stats without anything preloaded: on a standby, of several databases, by many sessions, over restarts and
# crashes; and what else people look at, on a standby.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $node = new_node('primary', allows_streaming => 1, conf => 'restart_after_crash = on');
create_schema($node, 'postgres');
$node->safe_psql('postgres', 'CREATE DATABASE other');
create_schema($node, 'other');
$node->safe_psql('postgres', q{INSERT INTO label SELECT i, 'first' FROM generate_series(1, 5) i});
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
replayed($standby, $node);

sub counted
{
	my ($server, $db) = @_;
	return $server->safe_psql($db // 'postgres', 'SELECT pulls, pulls_first, pulls_idle, rows_sent, pushes FROM offsync.stats');
}

my $device = device();
pull($node, $device) for 1 .. 2;
push_changes($node, $device, { label => { created => [ { id => 6, body => 'pushed' } ] } });
is(counted($node), '2|1|1|5|1', 'every session counts to the same end');
is(counted($node, 'other'), '0|0|0|0|0', 'each database for itself');
pull($node, device(db => 'other'));
is(counted($node, 'other'), '1|1|0|0|0', 'the other one');

replayed($standby, $node);
pull($standby, $device) for 1 .. 3;
holds_the_truth($standby, $device, 'a device of the standby');
is(counted($standby), '3|0|3|0|0', 'a standby counts its own, in READ ONLY transactions');
is(counted($node), '2|1|1|5|1', 'and the primary hears nothing of it');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM offsync.check(true)'), '0', 'check on a standby');
is($standby->safe_psql('postgres', q{SELECT string_agg(state || mirror, ',') FROM offsync.status}), 'okok,okok', 'status on a standby');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM offsync.clients'), '0', 'clients on a standby');
$standby->safe_psql('postgres', 'SELECT offsync.stats_reset()');
is(counted($standby), '0|0|0|0|0', 'started anew, on a standby, too');

# Sessions at the same time: nothing gets lost.
$node->safe_psql('postgres', 'SELECT offsync.stats_reset()');
my $script = PostgreSQL::Test::Utils::tempdir() . '/pull.sql';
PostgreSQL::Test::Utils::append_to_file($script, "SELECT offsync.pull_changes(NULL, '{label}');\n");
$node->command_ok([ 'pgbench', '-n', '-c', 8, '-t', 50, '-C', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ], 'eight clients');
is(counted($node), '400|400|0|2400|0', 'each pull counts once');

my $since = $node->safe_psql('postgres', 'SELECT stats_reset FROM offsync.stats');
$node->restart;
is(counted($node), '0|0|0|0|0', 'a restart starts anew');
is($node->safe_psql('postgres', "SELECT stats_reset > '$since' FROM offsync.stats"), 't', 'and says so');
pull($node, $device);
is(counted($node), '1|0|1|0|0', 'and goes on');

# A backend dies: all sessions are thrown out, the memory is made again.
my $victim = $node->background_psql('postgres');
my $pid = $victim->query('SELECT pg_backend_pid() FROM (SELECT offsync.pull_changes()) p');
kill 'KILL', $pid;
ok($node->poll_query_until('postgres', 'SELECT pulls = 0 FROM offsync.stats', 't'), 'a crash starts anew');
pull($node, $device);
is(counted($node), '1|0|1|0|0', 'and goes on');
done_testing();
