# A device's side of offsync.digest: what README.md shows in JavaScript and in SQLite's SQL, against the server's own sums.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::Bin;
use Client;
use IPC::Open2;
use JSON::PP;
use Test::More;

my $json = JSON::PP->new->canonical;
my $here = "$FindBin::Bin/..";
my $readme = content("$here/../../README.md");
my $node = grep { -x "$_/node" } split /:/, $ENV{PATH};

sub content {
	my ($name) = @_;
	open my $in, '<:encoding(UTF-8)', $name or die "$name: $!";
	local $/ = undef;
	return scalar <$in>;
}

# node with the functions of digest.mjs; answers a line of JSON per line
my ($to, $from);
sub ask {
	my ($question) = @_;
	if (!$to) {
		open2($from, $to, 'node', '--input-type=module', '-e', <<"JS");
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
const { digest, repair } = await import(pathToFileURL('$here/digest.mjs'))
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\\n')
const call = async (name, args) => { say({ call: name, args }); return JSON.parse((await lines.next()).value) }
for (let line; !(line = await lines.next()).done;) {
  const { rows, buckets, versions, cursor } = JSON.parse(line.value)
  say(cursor ? { repair: await repair(call, rows, cursor) } : digest(rows, buckets, versions))
}
JS
	}
	print $to ref $question ? encode_json($question) : $question, "\n";
	$to->flush;
	return decode_json(scalar <$from>);
}

ok(index($readme, content("$here/$_")) > 0, "README shows $_") for qw(digest.mjs digest.sql);

my $s = server();
$s->do($_) for
	'CREATE TABLE app.task (id text PRIMARY KEY, owner text NOT NULL, title text)',
	'ALTER TABLE app.task ENABLE ROW LEVEL SECURITY',
	'CREATE POLICY own ON app.task USING (owner = app.me())',
	"GRANT SELECT, INSERT, UPDATE, DELETE ON app.task TO $Client::role",
	'CREATE TABLE app.pair (a text, b int, PRIMARY KEY (a, b))',
	"GRANT SELECT ON app.pair TO $Client::role",
	q{SELECT offsync.enable('app.task'), offsync.enable('app.pair')},
	q{INSERT INTO app.pair SELECT (ARRAY['é', 'a.b', '😀'])[i % 3 + 1], i FROM generate_series(1, 30) i},
	q{INSERT INTO app.task SELECT md5(i::text), (ARRAY['alice', 'bob'])[i % 2 + 1], 'first' FROM generate_series(1, 400) i},
	q{INSERT INTO app.task SELECT x, 'alice', 'strange' FROM unnest(ARRAY['', 'é', 'ü€😀', '1', '007', '__proto__', 'a"b', '\\', 'it''s', 'a:1', E'\n', '']) x},
	map { "UPDATE app.task SET title = '$_' WHERE right(id, 1) = '$_'" } 1 .. 5;

sub called {
	my ($name, $args) = @_;
	return as_user('alice', sub {
		my @names = sort keys %$args;
		my @values = map { my $v = $args->{$_}; ref $v eq 'ARRAY' ? $v : ref $v ? $json->encode($v) : $v } @names;
		return $_[0]->selectrow_array("SELECT offsync.$name(" . join(', ', map { "$_ => ?" } @names) . ')', undef, @values);
	});
}

sub sums {
	my ($collection, $buckets, $versions) = @_;
	return decode_json(Encode::encode_utf8(called('digest',
		{ collections => [$collection], buckets => $buckets, versions => $versions ? 't' : 'f' })))->{$collection}{buckets};
}

sub rows {
	my ($collection) = @_;
	my $pulled = decode_json(Encode::encode_utf8(called('pull_changes', { collections => [$collection] })));
	return ([ map { { id => $_->{id}, server_version => $_->{server_version} } } @{ $pulled->{changes}{$collection}{created} } ],
		$pulled->{cursor});
}

# The table of hashes
my @vectors = $readme =~ /^\| (\S+|\*\(empty\)\*) \| (\d+) \| (\d+) \|$/mg;
cmp_ok(@vectors / 3, '>=', 8, 'README lists hashes');

SKIP: {
	skip 'no node', 1 if !$node;
	while (my ($text, $a, $b) = splice @vectors, 0, 3) {
		$text = $text eq '*(empty)*' ? '' : $text =~ s/^`|`$//gr;
		is_deeply(ask({ rows => [ { id => $text } ], buckets => 1, versions => JSON::PP::false }), [ [ 1, $a, $b ] ],
			"JavaScript: the hash of '$text' in README");
	}
	for my $collection (qw(task pair)) {
		my ($rows) = rows($collection);
		cmp_ok(@$rows, '>=', 30, "alice has $collection");
		for my $buckets (1, 16, 16384) {
			is_deeply(ask({ rows => $rows, buckets => $buckets, versions => $_ ? JSON::PP::true : JSON::PP::false }),
				sums($collection, $buckets, $_), "JavaScript: $collection, $buckets buckets, versions $_") for 0, 1;
		}
	}

	# Two calls mend a device
	my ($rows, $cursor) = rows('task');
	my ($pairs) = rows('pair');
	my %lost = map { $_->{id} => 1 } splice @$rows, 50, 3;
	my %stale = map { --$_->{server_version}; $_->{id} => 1 } @$rows[ 3, 100 ];
	my %extra = map { $_ => 1 } 'no such', as_user('bob', sub { $_[0]->selectrow_array(q{SELECT id FROM app.task WHERE owner = 'bob'}) });
	push @$rows, map { { id => $_, server_version => 1 } } keys %extra;
	my $answer = ask({ rows => { task => $rows, pair => $pairs }, cursor => $cursor });
	my @calls;
	while ($answer->{call}) {
		push @calls, $answer->{call};
		$answer = ask(Encode::encode_utf8(called($answer->{call}, $answer->{args})));
	}
	is("@calls", 'digest reconcile', 'two calls');
	my $changes = $answer->{repair}{changes};
	is(join(',', keys %$changes), 'task', 'of the collection that differs');
	is_deeply({ map { $_->{id} => 1 } @{ $changes->{task}{updated} } }, { %lost, %stale }, 'what was lost or stale comes');
	is_deeply({ map { $_ => 1 } @{ $changes->{task}{deleted} } }, \%extra, 'what is not alice\'s goes');
	is(ask({ rows => { pair => $pairs }, cursor => $cursor })->{call}, 'digest', 'a device that is right asks once');
	is_deeply(ask(Encode::encode_utf8(called('digest', { collections => ['pair'], buckets => 8 })))->{repair}, { changes => {} }, 'and changes nothing');
}

# SQLite: the version as the app stored it, be it an integer or a float
my $sql = content("$here/digest.sql");
for my $type ('INTEGER', 'REAL', '') {
	my $file = DBI->connect('dbi:SQLite:dbname=:memory:', '', '', { RaiseError => 1, PrintError => 0, sqlite_unicode => 1 });
	my ($rows) = rows('task');
	$file->do("CREATE TABLE task (id TEXT PRIMARY KEY, server_version $type)");
	my $store = $file->prepare('INSERT INTO task VALUES (?, ?)');
	$store->execute($_->{id}, $_->{server_version}) for @$rows;
	for my $buckets (1, 32) {
		my $query = $file->prepare($sql);
		$query->bind_param(':buckets', $buckets, DBI::SQL_INTEGER);
		$query->execute;
		my @sums = map { [ 0, 0, 0 ] } 1 .. $buckets;
		$sums[ $_->[0] ] = [ @$_[ 1 .. 3 ] ] for @{ $query->fetchall_arrayref };
		is_deeply(\@sums, sums('task', $buckets, 1), "SQLite: $buckets buckets, versions " . ($type || 'as they come'));
	}
}

done_testing();
