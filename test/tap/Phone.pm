package Phone;

# A real device: the C client and its SQLite file.  It edits by plain SQL as an app does, and may be copied, restored, or
# led to another server.  The oracle is the same as everywhere: what it holds = SELECT as its role.
#
# Needs the client's path in OFFSYNC_CLIENT, and libdbd-sqlite3-perl.

use strict;
use warnings;

use DBI;
use File::Copy qw(copy);
use OffsyncTest;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

my $dir;

sub conninfo
{
	my ($server) = @_;
	return ref $server ? $server->connstr('postgres') : $server;
}

# Phone->new(name, server (a node or a conninfo), role, option...)
sub new
{
	my ($class, $name, $server, $role, @options) = @_;
	$dir //= PostgreSQL::Test::Utils::tempdir();
	my $self = bless { name => $name, role => $role, file => "$dir/$name.sqlite" }, $class;
	$self->client('init', $self->{file}, conninfo($server), '--role', $role, @options) == 0 or die $self->{said};
	return $self;
}

sub start
{
	my ($self, @args) = @_;
	my $pid = open(my $out, '-|') // die "fork: $!";
	if (!$pid)
	{
		open STDERR, '>&', \*STDOUT or POSIX::_exit(127);
		exec $ENV{OFFSYNC_CLIENT}, @args or POSIX::_exit(127);
	}
	return $self->{out} = $out;
}

# Its exit status; what it said is in {said}
sub finish
{
	my ($self) = @_;
	my $out = delete $self->{out};
	local $/ = undef;
	$self->{said} = <$out> // '';
	close $out;
	return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

sub client { my ($self, @args) = @_; $self->start(@args); return $self->finish }

sub sync { my ($self, @args) = @_; return $self->client('sync', $self->{file}, @args) }

# ... until it dies at a place
sub sync_dies
{
	my ($self, $place) = @_;
	local $ENV{OFFSYNC_CLIENT_DIE} = $place;
	return $self->sync == 137;
}

# Plain SQL on the file
sub sql
{
	my ($self, $sql, @values) = @_;
	my $db = DBI->connect("dbi:SQLite:dbname=$self->{file}", '', '', { RaiseError => 1, PrintError => 0, sqlite_unicode => 1 });
	my $statement = $db->prepare($sql);
	$statement->execute(@values);
	my $rows = $statement->{NUM_OF_FIELDS} ? $statement->fetchall_arrayref : [];
	$statement->finish;
	undef $statement;
	$db->disconnect;
	return $rows;
}

sub value { my $rows = sql(@_); return @$rows ? $rows->[0][0] : undef }

sub dirty { my ($self) = @_; return $self->value('SELECT count(*) FROM offsync_dirty') }

# The same device at another server
sub lead_to
{
	my ($self, $server) = @_;
	$self->sql(q{UPDATE offsync_device SET value = ? WHERE name = 'conninfo'}, conninfo($server));
	return $self;
}

# A copy of its file: the same device, a second time
sub twin
{
	my ($self, $name) = @_;
	my $twin = bless { %$self, name => $name, file => "$dir/$name.sqlite" }, ref $self;
	copy($self->{file}, $twin->{file}) or die "copy: $!";
	return $twin;
}

# Put the file back as it was when the copy was made
sub restore
{
	my ($self, $backup) = @_;
	copy($backup->{file}, $self->{file}) or die "copy: $!";
	return;
}

sub held
{
	my ($self, $collection) = @_;
	$self->client('dump', $self->{file}, $collection) == 0 or die $self->{said};
	return OffsyncTest::comparable(map { $json->decode($_) } split /\n/, $self->{said});
}

# One test for each: it holds what its role sees in the tables, and has nothing left to send
sub agrees
{
	my ($self, $node, $name, %tables) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my (%held, %truth);

	%tables = (task => 'public.task', label => 'public.label') unless %tables;
	for my $collection (keys %tables)
	{
		my $rows = $node->safe_psql('postgres', "SET ROLE $self->{role}; SELECT coalesce(json_agg(t), '[]') FROM $tables{$collection} t");
		$truth{$collection} = OffsyncTest::comparable(@{ $json->decode($rows) });
		$held{$collection} = $self->held($collection);
	}
	return fail("$name: $self->{name} has nothing left to send") if $self->dirty;
	return is_deeply(\%held, \%truth, "$name: $self->{name} holds what $self->{role} sees");
}

1;
