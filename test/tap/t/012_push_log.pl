# The push log and the rows it speaks of live and die together (P5): a push sent again is answered as the first time
# behind a crash that came with its acknowledgement and on a promoted standby.  Where the log is
# gone, with what a promotion lost or in a restored dump, the same push is a new one, and overwrites nothing.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $home = new_node('home', allows_streaming => 1, conf => 'wal_writer_delay = 10s');
create_schema($home, 'postgres');
$home->safe_psql('postgres', q{INSERT INTO task SELECT 't' || i, 'alice', 'first' FROM generate_series(1, 9) i});
my $dir = $home->basedir;
my $state = q{SELECT string_agg(concat_ws(' ', id, owner, body, server_version, xmin), ', ' ORDER BY id) FROM task};

sub literal { my ($text) = @_; $text =~ s/'/''/g; return "'$text'" }

# One push by alice's phone: what it is sent with, and the first answer.
sub new_push
{
	my ($node, $push_id, %changes) = @_;
	my $since = $json->decode($node->safe_psql('postgres', 'SET ROLE alice; SELECT offsync.pull_changes()'))->{cursor};
	my $call = 'SELECT offsync.push_changes(' . literal($json->encode({ task => \%changes }))
	  . ", '$since', 'phone', '$push_id', 'skip')";
	return { call => "SET ROLE alice; SET synchronous_commit = off; $call" };
}

# kill -9 for every process of the server at once, but for the one that starts them: that one ends by itself then.
sub crash
{
	my ($node) = @_;
	my @pids = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');

	kill 'KILL', @pids;
	$node->stop('immediate', fail_ok => 1);
	$node->start;
	return;
}

sub first_answer
{
	my ($node, $push) = @_;
	return $push->{answer} = $node->safe_psql('postgres', $push->{call});
}

sub replays
{
	my ($node, $push, $what, $db) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = $node->safe_psql('postgres', $state);
	is($node->safe_psql('postgres', $push->{call}), $push->{answer}, "$what: the first answer, to the letter");
	is($node->safe_psql('postgres', $state), $before, '... and nothing is written');
	return;
}

# A crash right behind the acknowledgement, by every process of the server at once.

my $push = new_push($home, 'crash', updated => [ { id => 't1', body => 'pushed' } ],
	created => [ { id => 'p1', owner => 'alice', body => 'pushed' }, { id => 'p2', body => 'nobody\'s' } ], deleted => ['t2']);
like(first_answer($home, $push), qr/"experimentalRejectedIds":\{"task":\["p2"\]\}/, 'part of it is stored');
crash($home);
is($home->safe_psql('postgres', q{SELECT string_agg(id || body, ' ' ORDER BY id) FROM task WHERE id IN ('t1', 't2', 'p1', 'p2')}),
	'p1pushed t1pushed', 'an acknowledged push survives kill -9');
replays($home, $push, 'behind a crash');
$home->safe_psql('postgres', q{UPDATE task SET body = 'by others' WHERE id = 't1'; DELETE FROM task WHERE id = 'p1'});
replays($home, $push, 'though others wrote');
crash($home);
replays($home, $push, 'behind another one');

# One that was at work when the server crashed is not known, and stored as a new one.

my $unheard = new_push($home, 'unheard', created => [ { id => 'p3', owner => 'alice', body => 'pushed' } ]);
my $session = $home->background_psql('postgres');
$session->query_safe("BEGIN; $unheard->{call}");
crash($home);
eval { $session->quit };
is($home->safe_psql('postgres', q{SELECT count(*) FROM task WHERE id = 'p3'}), '0', 'a push without a commit is gone');
like(first_answer($home, $unheard), qr/"created":1/, '... and stored when it is sent again');
replays($home, $unheard, '... once');

# A promotion: of a push that the standby had, and of one that it hadn't.

$home->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($home, 'base', has_streaming => 1);
$standby->start;
my $kept = new_push($home, 'kept', created => [ { id => 'p4', owner => 'alice', body => 'pushed' } ],
	updated => [ { id => 't3', body => 'pushed' } ]);
first_answer($home, $kept);
replayed($standby, $home);
is(sqlstate($standby, 'postgres', $kept->{call}), '25006', 'a standby does not answer pushes');
my $behind = new_push($home, 'lost', created => [ { id => 'p5', owner => 'alice', body => 'pushed' } ],
	updated => [ { id => 't4', body => 'pushed' }, { id => 't5', body => 'pushed' } ]);
replayed($standby, $home);
$standby->stop;
first_answer($home, $behind);
$home->stop('immediate');
$standby->start;
$standby->promote;
replays($standby, $kept, 'on the promoted standby');
replays($standby, $push, '... and one from long before');
$standby->safe_psql('postgres', q{UPDATE task SET body = 'by others' WHERE id = 't5'});
my $again = $json->decode($standby->safe_psql('postgres', $behind->{call}));
is_deeply($again->{experimentalRejectedIds}, { task => ['t5'] }, 'what the promotion lost is a new push, and a conflict where others wrote');
is($standby->safe_psql('postgres', q{SELECT string_agg(id || ' ' || body, ', ' ORDER BY id) FROM task WHERE id IN ('p5', 't4', 't5')}),
	'p5 pushed, t4 pushed, t5 by others', '... and it is stored');

# A dump has no log: there the push is a new one, its rows are as they were sent, and its cursor is of another history.

my $dumped = new_push($standby, 'dumped', created => [ { id => 'p6', owner => 'alice', body => 'pushed' } ],
	updated => [ { id => 't6', body => 'pushed' }, { id => 't7', body => 'pushed' } ]);
first_answer($standby, $dumped);
$standby->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", 'postgres' ], 'pg_dump');
$standby->safe_psql('postgres', 'ALTER DATABASE postgres RENAME TO lived; ', extra_params => [ '-d', 'template1' ]);
$standby->safe_psql('template1', 'CREATE DATABASE postgres TEMPLATE template0');
$standby->command_ok([ 'pg_restore', '-d', 'postgres', "$dir/dump" ], 'pg_restore');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM offsync_internal.push_log'), '0', 'the log is not dumped');
my $restored = $standby->safe_psql('postgres', $state);
is_deeply($json->decode($standby->safe_psql('postgres', $dumped->{call}))->{applied}, { task => { created => 1, updated => 2, deleted => 0 } },
	'a push sent again to the restored database is stored already');
is($standby->safe_psql('postgres', $state), $restored, '... so nothing is written');
$standby->safe_psql('postgres', q{UPDATE task SET body = 'by others' WHERE id = 't7'});
$dumped->{call} =~ s/'dumped'/'once more'/;
is_deeply($json->decode($standby->safe_psql('postgres', $dumped->{call}))->{experimentalRejectedIds}, { task => ['t7'] },
	'... and what others wrote there is not overwritten');

done_testing();
