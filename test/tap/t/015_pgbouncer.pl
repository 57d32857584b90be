# Devices behind a PgBouncer that pools transactions, with one connection for all of them: to a primary, and to a standby that
# lags on purpose.  A pull needs no state of its own in the server (P7), and nobody's leaks into another's: no setting,
# no prepared statement, no cursor, no lock, no temporary object, and nothing that the backend keeps in mind.

use strict;
use warnings;

use OffsyncTest;
use Phone;
use PostgreSQL::Test::Utils;
use Test::More;

my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
plan skip_all => 'there is no pgbouncer' unless $pgbouncer;
plan skip_all => 'OFFSYNC_CLIENT is not set' unless $ENV{OFFSYNC_CLIENT};

my $primary = new_node('primary', allows_streaming => 1);
create_schema($primary, 'postgres');
$primary->safe_psql('postgres', <<'SQL');
CREATE ROLE carol;
CREATE ROLE gate LOGIN NOINHERIT;
GRANT alice, bob, carol TO gate;
GRANT SELECT, INSERT, UPDATE, DELETE ON task, label TO carol;
CREATE FUNCTION tenant() RETURNS text STABLE LANGUAGE sql AS
	$$SELECT nullif(current_setting('request.jwt.claims', true), '')::json ->> 'tenant'$$;
CREATE TABLE doc (id text PRIMARY KEY, tenant text DEFAULT tenant(), at timestamptz DEFAULT '2020-01-02 03:04:05.678Z', x float8 DEFAULT 1.1);
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON doc USING (tenant = (SELECT tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON doc TO alice, bob, carol;
SELECT offsync.enable('doc');
INSERT INTO task SELECT i || o, o, 'first' FROM unnest('{alice,bob,carol}'::text[]) o, generate_series(1, 20) i;
INSERT INTO doc SELECT 'd' || i, 'tenant' || i % 2 FROM generate_series(1, 10) i;
INSERT INTO label SELECT i, 'first' FROM generate_series(1, 5) i;
SQL
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# The pooler: one server connection for each database, which all clients take turns at.

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my %upstream = (primary => $primary, standby => $standby);
append_to_file("$dir/ini", "[databases]\n" . join('', map {
			my $node = $upstream{$_};
			"$_ = host=@{[ $node->host ]} port=@{[ $node->port ]} dbname=postgres user=gate\n" } sort keys %upstream) . <<INI);
[pgbouncer]
listen_addr =
unix_socket_dir = $dir
listen_port = $port
auth_type = any
admin_users = gate
pool_mode = transaction
default_pool_size = 1
ignore_startup_parameters = extra_float_digits
server_login_retry = 1
server_reset_query = DISCARD ALL
logfile = $dir/log
pidfile = $dir/pid
INI
system_or_bail($pgbouncer, '-d', '-q', "$dir/ini");

END
{
	my $status = $?;
	if ($dir && -e "$dir/pid")
	{
		my ($pid) = slurp_file("$dir/pid") =~ /(\d+)/;
		kill 'INT', $pid;
	}
	$? = $status;
}

sub through { my ($name) = @_; return "host=$dir port=$port dbname=$name user=gate" }

# A client of the pooler: transactions by turns with others'
sub client_of
{
	my ($name) = @_;
	my $db = DBI->connect('dbi:Pg:' . join(';', split / /, through($name)), undef, undef,
		{ RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_enable_utf8 => 1, pg_server_prepare => 0 });
	return $db;
}

sub ask
{
	my ($db, $who, $sql) = @_;
	my ($role, $claims) = split /:/, $who;
	$db->begin_work;
	$db->do("SET LOCAL ROLE $role");
	$db->do(qq{SELECT set_config('request.jwt.claims', '{"tenant": "$claims"}', true)}) if $claims;
	my ($answer) = $db->selectrow_array($sql);
	$db->commit;
	return $answer;
}

SKIP:
{
	skip 'there is no DBD::Pg', 1 unless eval { require DBD::Pg; 1 };
	my %client = map { my $n = $_; ($n => { map { $_ => client_of($n) } qw(one two three) }) } qw(primary standby);
	my @who = ('alice:tenant0', 'bob:tenant1', 'alice:tenant1', 'carol');
	my $state = q{SELECT md5(string_agg(name || '=' || setting, ',' ORDER BY name)) || ' ' ||
		(SELECT count(*) FROM pg_prepared_statements) || ' ' || (SELECT count(*) FROM pg_cursors WHERE name <> '') || ' ' ||
		(SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype IN ('advisory', 'object')) || ' ' ||
		(SELECT count(*) FROM pg_class WHERE relpersistence = 't') || ' ' || session_user || ' ' || current_user
		FROM pg_settings WHERE name !~ '^(in_hot_standby|transaction_)'};

	for my $server (qw(primary standby))
	{
		replayed($standby, $primary);
		my %pid = map { $_->selectrow_array('SELECT pg_backend_pid()') => 1 } values %{ $client{$server} };
		is(scalar(keys %pid), 1, "$server: all clients share one connection");
		ask($client{$server}{one}, 'carol', 'SELECT offsync.pull_changes()');	# loads the library, and with it its settings
		my $before = $client{$server}{one}->selectrow_array($state);

		# each is who it is, whatever came between
		my (%first, %cursor);
		for my $turn (1 .. 3)
		{
			for my $who (@who)
			{
				my $db = $client{$server}{ (qw(one two three))[ ($turn + length $who) % 3 ] };
				my $answer = $json->decode(ask($db, $who, 'SELECT offsync.pull_changes()'));
				$first{$who} //= $json->encode($answer->{changes});
				is($json->encode($answer->{changes}), $first{$who}, "$server: $who gets the same at turn $turn");
				for my $table (qw(task doc))
				{
					is(join(',', sort map { $_->{id} } @{ $answer->{changes}{$table}{created} }),
						ask($db, $who, qq{SELECT coalesce(string_agg(id, ',' ORDER BY id COLLATE "C"), '') FROM $table}), "the rows of $table that it may see");
				}
				my $delta = defined $cursor{$who} ? $json->decode(ask($db, $who, "SELECT offsync.pull_changes('$cursor{$who}')")) : undef;
				is($delta->{experimentalStrategy}, undef, 'and a cursor goes on') if $delta;
				$cursor{$who} = $answer->{cursor};
			}
		}
		for my $who (@who)
		{
			for my $other (grep { $_ ne $who } @who)
			{
				my $answer = $json->decode(ask($client{$server}{two}, $who, "SELECT offsync.pull_changes('$cursor{$other}')"));
				is($json->encode([ map { sort map { $_->{id} } @{ $answer->{changes}{$_}{created} }, @{ $answer->{changes}{$_}{updated} } } qw(task doc) ]),
					$json->encode([ map { sort map { $_->{id} } @{ $json->decode($first{$who})->{$_}{created} } } qw(task doc) ]),
					"$server: $who with the cursor of $other takes its own anew")
				  if (split /:/, $who)[0] ne (split /:/, $other)[0];
				is(scalar(@{ $answer->{changes}{$_}{deleted} }), 0, 'and hears of nothing else') for qw(task doc);
			}
			ask($client{$server}{three}, $who, $_) for 'SELECT offsync.digest(buckets => 4)', q{SELECT offsync.reconcile('{"task": {"records": ["1alice", "1bob"]}}', '} . $cursor{$who} . q{')},
				'SELECT offsync.pull_changes(max_rows => 3)', q{SELECT offsync.client_schema('sqlite')}, 'SELECT count(*) FROM offsync.pull_stream()';
		}
		if ($server eq 'primary')
		{
			for my $who (@who)
			{
				my ($role) = split /:/, $who;
				ask($client{$server}{one}, $who, qq{SELECT offsync.push_changes('{"task": {"created": [{"id": "$who", "owner": "$role"}]}, "doc": {"created": [{"id": "$who"}]}}', client_id => 'phone', push_id => 'p1 $who')})
				  if $who =~ /:/;
				my $push = qq{SELECT offsync.push_changes('{"task": {"updated": [{"id": "5$role", "body": "by $who"}]}}', '$cursor{$who}', 'phone', 'p2 $who', 'skip')};
				is(ask($client{$server}{two}, $who, $push), ask($client{$server}{one}, $who, $push), "a push of $who is answered again in another's turn");
				eval { ask($client{$server}{one}, $who, q{SELECT offsync.push_changes('{"task": {"created": [{"id": "1other", "owner": "nobody"}], "updated": [{"id": [], "x": 1}]}}')}) };
				ok($@, 'a push that fails');
				$client{$server}{one}->rollback unless $client{$server}{one}->{AutoCommit};
			}
		}
		is($client{$server}{one}->selectrow_array($state), $before, "$server: the connection is as it was");
	}

	# What others leave in the session (they shouldn't) changes no byte of a device's answer.
	for my $server (qw(primary standby))
	{
		replayed($standby, $primary);
		my $db = $client{$server}{one};
		my $call = q{SELECT offsync.pull_changes()->>'changes'};
		my %before = map { $_ => ask($db, $_, $call) } @who;
		for my $set (q{DateStyle = 'SQL, DMY'}, q{TimeZone = 'Asia/Kolkata'}, 'extra_float_digits = -10', 'search_path = nowhere',
			'standard_conforming_strings = off', 'enable_seqscan = off', 'plan_cache_mode = force_generic_plan', q{bytea_output = escape})
		{
			$client{$server}{two}->do("SET $set");
			is(ask($client{$server}{three}, $_, $call), $before{$_}, "$server: $_ beside SET $set") for @who;
		}
		$client{$server}{two}->do('RESET ALL');
	}
	$_->disconnect for map { values %$_ } values %client;
}

# Real devices, several at once, each with its file; a connection serves them all.  The standby lags while they move between the two.

my %phone = map { my ($name, $role, @options) = @$_; ($name => Phone->new($name, through('primary'), $role, '--collections', 'task,label', @options)) }
	[ qw(alice1 alice) ], [ qw(alice2 alice --mode number) ], [ qw(alice3 alice --one-trip) ], [ qw(bob1 bob) ], [ qw(bob2 bob --max-rows 7) ], [ qw(carol1 carol --partial) ];
my @phones = map { $phone{$_} } sort keys %phone;

sub all_at_once
{
	my (@args) = @_;
	$_->start('sync', $_->{file}, @args) for @phones;
	my @status = map { $_->finish } @phones;
	note("$_->{name}: $_->{said}") for grep { $_->{said} =~ /offsync-client/ } @phones;
	return "@status";
}

is(all_at_once(), '0 0 0 0 0 0', 'six devices sync at once');
$_->agrees($primary, 'a first sync') for @phones;
for my $round (1 .. 4)
{
	for my $phone (@phones)
	{
		$phone->sql('INSERT INTO task (id, owner, body) VALUES (?, ?, ?)', "$phone->{name} $round", $phone->{role}, 'made offline');
		$phone->sql(q{UPDATE task SET body = ? WHERE id = ?}, "$phone->{name} $round", "$round$phone->{role}");
		$phone->sql('DELETE FROM task WHERE id = ?', "1$round$phone->{role}") if $phone->{name} =~ /1/;
	}
	is(all_at_once(), '0 0 0 0 0 0', "round $round: edits of all go through one connection");
	replayed($standby, $primary);
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
	$primary->safe_psql('postgres', "INSERT INTO label VALUES (100 + $round, 'behind the standby''s back'); UPDATE task SET body = 'by psql $round' WHERE id LIKE '1$round%'; DELETE FROM label WHERE id = $round;"
		  . "UPDATE task SET owner = 'bob' WHERE id = 'alice1 $round'");
	is(all_at_once(), '0 0 0 0 0 0', 'they pull what the standby has not got');
	$_->lead_to(through('standby')) for @phones;
	is(all_at_once(), '0 0 0 0 0 0', 'then come to the standby');
	$_->agrees($primary, 'and lose nothing by it') for @phones;
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
	replayed($standby, $primary);
	is(all_at_once(), '0 0 0 0 0 0', 'stay there');
	$_->lead_to(through('primary')) for @phones;
}
$_->sync for @phones;
$_->agrees($primary, 'in the end') for @phones;

# A standby that applies everything late.
$standby->append_conf('postgresql.conf', q{recovery_min_apply_delay = '1d'});
$standby->reload;
$primary->safe_psql('postgres', q{UPDATE task SET body = 'late'; DELETE FROM label WHERE id = 5; INSERT INTO label VALUES (6, 'late')});
$_->sync for @phones;
$_->lead_to(through('standby'))->sync for @phones;
$_->agrees($primary, 'a standby a day behind takes nothing back') for @phones;
my $fresh = Phone->new('fresh', through('standby'), 'alice', '--collections', 'task,label');
is($fresh->sync, 0, 'a new device begins at that standby');
is($fresh->value(q{SELECT count(*) FROM task WHERE body = 'late'}), 0, 'with what it has');
is($fresh->lead_to(through('primary'))->sync, 0, 'and goes to the primary');
$fresh->agrees($primary, 'where it catches up');
$standby->append_conf('postgresql.conf', 'recovery_min_apply_delay = 0');
$standby->reload;
replayed($standby, $primary);

# The pooler's connection is lost under a push: the next sync mends it.
$phone{alice1}->lead_to(through('primary'))->sql(q{UPDATE task SET body = 'lost connection' WHERE id = '5alice'});
ok($phone{alice1}->sync_dies('in_push'), 'a device dies amid its push');
$primary->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gate'});
$_->lead_to(through('primary')) for @phones;
$primary->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'gate'});
all_at_once();
is(all_at_once(), '0 0 0 0 0 0', 'all are served again');
$_->sync for @phones;
$_->agrees($primary, 'and agree') for @phones;
is($primary->safe_psql('postgres', q{SELECT body FROM task WHERE id = '5alice'}), 'lost connection', 'what was amid is stored');

$_->stop for $standby, $primary;
done_testing();
