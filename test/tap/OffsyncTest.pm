package OffsyncTest;

# A device in a hash, and what the tests of clusters share.
#
# A device knows what a real one knows: the rows that pulls brought it and the cursor (or number) of
# the last answer.  It applies answers as clients do and complains about an answer that no
# client could apply.  Every test ends in the oracle: what it holds = SELECT as its role.

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  new_node replayed recovered_to create_schema device sqlstate holds_the_truth
  pull push_changes strategy_of $json
);

our $json = JSON::PP->new->canonical->allow_nonref;

# A cluster that no background process disturbs.
sub new_node
{
	my ($name, %init) = @_;
	my $conf = delete $init{conf} // '';
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%init, extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', <<CONF);
autovacuum = off
log_statement = none
max_prepared_transactions = 10
max_connections = 20
shared_buffers = 16MB
timezone = 'UTC'
$conf
CONF
	$node->start;
	$node->safe_psql('postgres', 'CREATE ROLE alice; CREATE ROLE bob');
	return $node;
}

# Wait until a standby has replayed all that the other server has committed.
sub replayed
{
	my ($standby, $source) = @_;
	my $lsn = $source->lsn('flush');
	$standby->poll_query_until('postgres', "SELECT pg_last_wal_replay_lsn() >= '$lsn'")
	  or die 'the standby does not catch up';
	return;
}

# A server recovered from the backup "base" of another, to just before a place in its WAL.
sub recovered_to
{
	my ($source, $target) = @_;
	my $recovered = PostgreSQL::Test::Cluster->new('recovered');
	$recovered->init_from_backup($source, 'base', has_restoring => 1, standby => 0);
	$recovered->append_conf('postgresql.conf', <<CONF);
recovery_target_lsn = '$target'
recovery_target_inclusive = off
recovery_target_action = promote
archive_mode = off
CONF
	$recovered->start;
	$recovered->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'recovery does not end';
	return $recovered;
}

# Two synced tables: tasks that belong to somebody, labels that everybody sees.
sub create_schema
{
	my ($node, $db, $schema) = @_;
	my $prefix = defined $schema ? "${schema}_" : '';
	$schema //= 'public';
	$node->safe_psql($db, <<SQL);
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS offsync;
CREATE SCHEMA IF NOT EXISTS $schema;
GRANT USAGE ON SCHEMA $schema TO alice, bob;
SET search_path = $schema;
CREATE TABLE task (id text PRIMARY KEY, owner text NOT NULL, body text);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON task USING (owner = current_user) WITH CHECK (true);
CREATE TABLE label (id int PRIMARY KEY, body text);
GRANT SELECT, INSERT, UPDATE, DELETE ON task, label TO alice, bob;
SELECT offsync.enable('task', collection => '${prefix}task');
SELECT offsync.enable('label', collection => '${prefix}label');
SQL
	return;
}

# device(db => 'postgres', role => 'alice', form => 'cursor' or 'timestamp')
sub device
{
	my %device = (
		db => 'postgres',
		role => 'alice',
		form => 'cursor',
		tables => { task => 'public.task', label => 'public.label' },
		rows => {},
		since => undef,
		@_);
	return \%device;
}

sub literal
{
	my ($value) = @_;
	return 'NULL' unless defined $value;
	$value =~ s/'/''/g;
	return "'$value'";
}

sub apply
{
	my ($device, $collection, $delta, $replace) = @_;
	my $rows = $device->{rows}{$collection} //= {};
	my %seen;

	die "no three lists for $collection" unless join(',', sort keys %$delta) eq 'created,deleted,updated';
	for my $id ((map { $_->{id} } @{ $delta->{created} }, @{ $delta->{updated} }), @{ $delta->{deleted} })
	{
		die "$collection $id stands twice in one answer" if $seen{$id}++;
	}
	%$rows = () if $replace;
	$rows->{ $_->{id} } = $_ for @{ $delta->{created} }, @{ $delta->{updated} };
	delete @$rows{ @{ $delta->{deleted} } };
	return;
}

# One pull in a READ ONLY transaction; answers what came.  The node may be a function that runs SQL in a session of
# the test's own.
sub pull
{
	my ($node, $device) = @_;
	my $call = 'SELECT offsync.pull_changes(' . literal($device->{since}) . ')';
	my $answer = $json->decode(ref $node eq 'CODE' ? $node->($call)
		: $node->safe_psql($device->{db}, "SET ROLE $device->{role};\nBEGIN TRANSACTION READ ONLY;\n$call;\nCOMMIT;"));
	apply($device, $_, $answer->{changes}{$_}, strategy_of($answer, $_) eq 'replacement')
	  for keys %{ $answer->{changes} };
	$device->{since} = $answer->{ $device->{form} };
	return $answer;
}

sub strategy_of
{
	my ($answer, $collection) = @_;
	my $strategy = $answer->{experimentalStrategy} or return 'incremental';
	return $strategy->{override}{$collection} // $strategy->{default};
}

# Push, and keep what was pushed: a device has its own edits.  The node may be a function that runs SQL
# in a session of the test's own.
sub push_changes
{
	my ($node, $device, $changes, %how) = @_;
	my $call = 'SELECT offsync.push_changes(' . literal($json->encode($changes)) . ', ' . literal($device->{since}) . ')';
	my $answer = $json->decode(ref $node eq 'CODE' ? $node->($call)
		: $node->safe_psql($device->{db}, "SET ROLE $device->{role}; " . ($how{before} // '') . ";\n$call"));

	for my $collection (keys %$changes)
	{
		my $rows = $device->{rows}{$collection} //= {};
		for my $record (map { @{ $changes->{$collection}{$_} // [] } } qw(created updated))
		{
			$rows->{ $record->{id} } = { %{ $rows->{ $record->{id} } // {} }, %$record };
		}
		delete @$rows{ @{ $changes->{$collection}{deleted} // [] } };
	}
	$device->{since} = $answer->{cursor} if defined $answer->{cursor};
	return $answer;
}

# The SQLSTATE that a statement ends with, "00000" when it succeeds, "server gone" when it takes
# the connection down.
sub sqlstate
{
	my ($node, $db, $sql, %psql) = @_;
	my ($status, $out, $err) = $node->psql($db, "\\set VERBOSITY sqlstate\n$sql", %psql);
	return '00000' if $status == 0;
	return $1 if $err =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5})/;
	return "server gone: $err";
}

# The oracle.
sub holds_the_truth
{
	my ($node, $device, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my (%held, %truth);

	for my $collection (sort keys %{ $device->{tables} })
	{
		my $out = $node->safe_psql($device->{db}, <<SQL);
SET ROLE $device->{role};
SELECT coalesce(json_agg(t), '[]') FROM $device->{tables}{$collection} t;
SQL
		$truth{$collection} = comparable(@{ $json->decode($out) });
		$held{$collection} = comparable(values %{ $device->{rows}{$collection} });
	}
	return is_deeply(\%held, \%truth, $name);
}

# The columns that every dialect and every push spells alike.
sub comparable
{
	my %rows;
	for my $row (@_)
	{
		$rows{ $row->{id} } =
		  { map { $_ => $row->{$_} } grep { !/^server_/ } keys %$row, };
		$rows{ $row->{id} }{id} = "$row->{id}";
	}
	return \%rows;
}

1;
