# A session that lives long, as those behind a pooler do: what it holds doesn't grow with what it has done.
#
#   MEMORY_ROUNDS=n   how often it does all that it can do (600; each round is a dozen calls)

use strict;
use warnings;

use DBI;
use OffsyncTest;
use Test::More;

my $rounds = $ENV{MEMORY_ROUNDS} // 600;
my $node = new_node('memory', conf => "autovacuum = on\njit = off");
create_schema($node, 'postgres');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE wide (id int PRIMARY KEY, a text, b int, c timestamptz, d jsonb, e text[], f numeric, owner name NOT NULL DEFAULT current_user);
ALTER TABLE wide ENABLE ROW LEVEL SECURITY;
CREATE TABLE member (who name, project int);
CREATE POLICY mine ON wide USING (owner = current_user OR b IN (SELECT project FROM member WHERE who = current_user));
GRANT ALL ON wide TO alice;
GRANT SELECT ON member TO alice;
INSERT INTO member VALUES ('alice', 1), ('alice', 2);
SELECT offsync.enable('wide', conflict => 'merge', filter_columns => '{b}');
INSERT INTO wide (id, owner) SELECT i, 'alice' FROM generate_series(1, 9) i;
SQL
my $db = DBI->connect('dbi:Pg:dbname=postgres;host=' . $node->host . ';port=' . $node->port, scalar getpwuid($<), '',
	{ RaiseError => 0, PrintError => 0, pg_server_prepare => 0 });
$db->do('SET ROLE alice');
# what runs on other rights than a device's
my $owner = DBI->connect('dbi:Pg:dbname=postgres;host=' . $node->host . ';port=' . $node->port, scalar getpwuid($<), '', { RaiseError => 1 });

my %columns = (a => '"text"', b => 2, c => 1717236000000, d => '{"k": [1]}', e => '["x"]', f => 1.5);
my ($cursor, $number, $page);
my ($done, $failed) = (0, 0);

sub call
{
	my ($sql, @arguments) = @_;
	my $answer = $db->selectrow_array($sql, undef, @arguments);
	$done++;
	$failed++ unless defined $answer;
	return defined $answer && $answer =~ /^\{/ ? $json->decode($answer) : {};
}

# Records with some of the columns, so that there are many statements of a kind.
sub document
{
	my ($id, $bad) = @_;
	my @names = grep { rand() < 0.5 } sort keys %columns;
	my $record = join ', ', "\"id\": $id", map { qq("$_": $columns{$_}) } @names;
	return qq({"wide": {"updated": [{$record}@{[ $bad ? ', {"id": 1, "b": "no number"}' : '' ]}], "deleted": [@{[ $id + 1 ]}]},
		"task": {"created": [{"id": "t$id", "owner": "@{[ $bad ? 'bob' : 'alice' ]}"}]}});
}

sub work
{
	my ($round) = @_;
	my $id = $round % 30;
	$cursor = call('SELECT offsync.pull_changes(?)', $cursor)->{cursor};
	my $answer = call('SELECT offsync.push_changes(?, ?, ?, ?)', document($id), $cursor, 'phone', "p$round");
	$cursor = $answer->{cursor} // $cursor;
	call('SELECT offsync.push_changes(?, ?)', document($id, 1), $cursor);
	call('SELECT offsync.push_changes(?, ?, on_error => ?)', document($id, 1), $cursor, 'skip');
	call('SELECT offsync.push_changes(?, ?)', '{"wide": {"updated": [7]}}', $cursor);
	$number = call('SELECT offsync.pull_changes(?)', $number)->{timestamp};
	$page = call('SELECT offsync.pull_changes(?, max_rows => 2)', $page)->{cursor};
	call('SELECT offsync.pull_changes(?, filters => ?)', $cursor, qq({"wide": {"b": [@{[ $round % 7 ]}]}}));
	call('SELECT offsync.pull_changes(?)', 'o' . 'A' x ($round % 99));
	call('SELECT count(*) FROM offsync.pull_stream(?)', $number);
	call('SELECT offsync.pull_stream() LIMIT 1');
	call('SELECT offsync.sync_changes(?, ?)', document($id), $cursor);
	call('SELECT offsync.digest()');
	call('SELECT offsync.reconcile(?, ?)', '{"wide": {"records": {"1": 1}}}', $cursor);
	$owner->do('UPDATE wide SET a = ? WHERE id = ?', undef, "server $round", $id + 3);
	$owner->do('DELETE FROM member WHERE project = ?', undef, $round % 3);
	$owner->do('INSERT INTO member VALUES (?, ?)', undef, 'alice', ($round + 1) % 3);
	return;
}

# Bytes in use, but for plans: these are kept, up to a number.
sub held
{
	my $rows = $db->selectall_arrayref(<<'SQL');
SELECT name, sum(used_bytes), count(*) FROM pg_catalog.pg_backend_memory_contexts
WHERE name !~ '^(CachedPlan|offsync plan$|MessageContext|Exec|ExprContext|Portal|Table function|printtup|Tuple|Type information)' GROUP BY name
SQL
	return { map { $_->[0] => $_->[1] } @$rows };
}

sub plans
{
	return scalar $db->selectrow_array(q{SELECT count(*) FROM pg_catalog.pg_backend_memory_contexts WHERE name = 'offsync plan'});
}

$owner->do('GRANT pg_read_all_stats TO alice');
$owner->do('VACUUM');
my (%least, $most_plans);
for my $round (1 .. $rounds)
{
	work($round);
	# of each third of the run, the last two: what it held at the least
	my $third = int(($round - 1) * 3 / $rounds);
	next if $round % 20 || !$third;
	my $now = held();
	my $sum = 0;
	$sum += $_ for values %$now;
	$least{$third} = [ $sum, $now ] if !$least{$third} || $sum < $least{$third}[0];
	my $plans = plans();
	$most_plans = $plans if !$most_plans || $plans > $most_plans;
}
cmp_ok($done - $failed, '>', $rounds * 10, 'most calls succeed');
cmp_ok($failed, '>', $rounds * 2, 'and some do not');
my $grown = $least{2}[0] - $least{1}[0];
cmp_ok($grown, '<', 32 * 1024, "$done calls: $least{1}[0] bytes in use at a third, $least{2}[0] at the end")
  or diag map { "$_: $least{1}[1]{$_} -> $least{2}[1]{$_}\n" }
	grep { ($least{1}[1]{$_} // 0) != $least{2}[1]{$_} } sort keys %{ $least{2}[1] };
cmp_ok($most_plans, '<=', 300, "$most_plans plans at the most");
$db->disconnect;
$owner->disconnect;
$node->stop;
done_testing();
