# enable and disable on tables that are written all the time: no writer fails, waits for long or is lost, nothing deadlocks,
# enable either is done or gives up with a hint within its short wait, and every write that commits behind it is tracked (P9, P11).

use strict;
use warnings;

use IPC::Run ();
use OffsyncTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('busy');
my $dir = $node->basedir;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION offsync;
CREATE TABLE member (who name, team int);
INSERT INTO member VALUES ('alice', 1), ('bob', 2);
CREATE TABLE task (id int PRIMARY KEY, owner text NOT NULL, n int NOT NULL DEFAULT 0);
CREATE TABLE entry (id bigserial PRIMARY KEY, task int REFERENCES task, team int);
CREATE TABLE part (id int, n int NOT NULL DEFAULT 0, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE part_0 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part_1 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
ALTER TABLE entry ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON task USING (owner = current_user);
CREATE POLICY team ON entry USING (EXISTS (SELECT FROM member m WHERE m.who = current_user AND m.team >= entry.team));
GRANT ALL ON task, entry, part, member TO alice;
INSERT INTO task SELECT i, CASE i % 2 WHEN 0 THEN 'alice' ELSE 'bob' END FROM generate_series(1, 100) i;
INSERT INTO part SELECT generate_series(1, 100);
SQL

# Each touches one row of each table, in one order, so that nothing of its own can deadlock.
append_to_file("$dir/writer.sql", <<'SQL');
\set id random(1, 100)
\set team random(0, 3)
BEGIN;
UPDATE task SET n = n + 1 WHERE id = :id;
INSERT INTO entry (task, team) VALUES (:id, :team);
UPDATE part SET n = n + 1 WHERE id = :id;
COMMIT;
SQL
append_to_file("$dir/changer.sql", <<'SQL');
\set id random(1, 100000)
DELETE FROM entry WHERE id = :id;
UPDATE task SET owner = CASE owner WHEN 'bob' THEN 'alice' ELSE 'bob' END WHERE id = :id % 100 + 1;
UPDATE member SET team = :id % 3 WHERE who = 'bob';
SQL

my ($out, $err, $processed) = ('', '', 0);

sub load_of
{
	my ($transactions, @options) = @_;
	local $ENV{PGOPTIONS} = '-c lock_timeout=60s';
	return IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-t', $transactions, @options, '-f', "$dir/writer.sql\@3", '-f', "$dir/changer.sql\@1",
			'-d', 'dbname=postgres ' . $node->connstr ], '>', \$out, '2>', \$err);
}

# True when no writer failed
sub ends
{
	my ($load) = @_;
	$load->finish;
	$processed += $1 if $out =~ m{number of transactions actually processed: (\d+)/};
	($out, my $said) = ('', $out);
	return !$load->result && $said =~ /number of failed transactions: 0 /;
}

sub try
{
	my ($call) = @_;
	my ($status, undef, $said) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT count(*) FROM offsync.$call");
	return 'done' if $status == 0;
	return 'gave up' if $said =~ /ERROR:  55P03/ && $said =~ /HINT:  Somebody is using the table/;
	return $said;
}

my %count = (done => 0, 'gave up' => 0);
my %tables = (task => 'task', entry => 'entry', part => 'part');
my ($alice, $number) = (device(tables => \%tables), device(tables => \%tables, form => 'timestamp'));
my @names = sort keys %tables;
for my $round (0 .. 2)
{
	my $load = load_of(30, '-M', 'prepared');
	do
	{
		$load->pump_nb if $load->pumpable;
		$count{ try("enable('$_')") }++ for @names;
		if ($node->safe_psql('postgres', 'SELECT count(*) FROM offsync.status') == 3)
		{
			pull($node, $_) for $alice, $number;
		}
		$count{ try("disable('$_')") }++
		  for split /\n/, $node->safe_psql('postgres', "SELECT collection FROM offsync.status WHERE collection <> '$names[ $round % 3 ]'");
	} while $load->pumpable;
	ok(ends($load), "round $round: no writer failed") or diag($err);
}
note("$count{done} done, $count{'gave up'} gave up");
is(join(', ', grep { !/^(done|gave up)$/ } sort keys %count), '', 'enable and disable are done, or give up with a hint');
cmp_ok($count{done}, '>', 0, 'some were done');
is($node->safe_psql('postgres', 'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()'), '0', 'nothing deadlocked');
is($processed, 3 * 4 * 30, 'all was written');
is($node->safe_psql('postgres', 'SELECT (SELECT sum(n) FROM task) = (SELECT sum(n) FROM part), (SELECT sum(n) FROM task) >= (SELECT count(*) FROM entry)'), 't|t', 'and nothing of it is lost');

# What was written behind the last enable was tracked.
for my $round (1 .. 2)
{
	is(try("enable('$_')"), 'done', "$_ is enabled") for sort keys %tables;
	pull($node, $_), holds_the_truth($node, $_, "agreed, $_->{form}") for $alice, $number;
	my $load = load_of(30);
	while ($load->pumpable)
	{
		$load->pump_nb;
		pull($node, $_) for $alice, $number;
	}
	ok(ends($load), 'no writer failed');
	pull($node, $_), holds_the_truth($node, $_, "complete behind the load, $_->{form}") for $alice, $number;
}
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT state, ',') FROM offsync.status}), 'ok', 'status says ok');

$node->stop;
done_testing();
