# What the client's tests share: a database of their own, devices, and the oracle "a device holds what
# SELECT as its user returns".
#
# Needs a running server with offsync installed (PGHOST, PGPORT, PGUSER: a superuser, PGDATABASE), the
# client's path in OFFSYNC_CLIENT, and Debian's libdbd-pg-perl and libdbd-sqlite3-perl.  Database and devices' files
# go when the test ends, unless OFFSYNC_CLIENT_DIR says where the files are to be.
package Client;

use strict;
use warnings;
use Carp;
use DBI;
use Encode ();
use Exporter 'import';
use File::Temp;
use JSON::PP;
use POSIX ();
use Test::More;

our @EXPORT = qw(server device expected agree as_user canonical);
our $role = "offsync_client_$$";		# for the devices' calls; the claims tell who it is
our $client = $ENV{OFFSYNC_CLIENT} // 'offsync-client';

my $db = "offsync_client_$$";
my $dir = $ENV{OFFSYNC_CLIENT_DIR} // File::Temp->newdir;
our $owner = $$;
my ($admin, $server);

$ENV{PGCLIENTENCODING} = 'UTF8';
binmode $_, ':encoding(UTF-8)' for Test::More->builder->output, Test::More->builder->failure_output;

sub attach {
	my ($name) = @_;
	return DBI->connect('dbi:Pg:' . ($name ? "dbname=$name" : ''), undef, undef,
		{ RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, pg_enable_utf8 => 1 });
}

# The superuser's connection to the database of this test, made at the first call
sub server {
	return $server if $server;
	$admin = attach();
	$admin->do("CREATE ROLE $role");
	$admin->do("CREATE DATABASE $db TEMPLATE template0 ENCODING 'UTF8'");
	$server = attach($db);
	$server->do($_) for
		'SET client_min_messages = warning',
		'CREATE EXTENSION offsync',
		'CREATE SCHEMA app',
		"GRANT USAGE ON SCHEMA app TO $role",
		q{CREATE FUNCTION app.me() RETURNS text STABLE LANGUAGE sql AS
			$$SELECT nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'$$};
	return $server;
}

# The same behind a crash
sub server_again {
	$_->{InactiveDestroy} = 1 for $admin, $server;
	$admin = attach();
	return $server = attach($db);
}

END {
	my $status = $?;
	if ($admin && $owner == $$ && !$ENV{OFFSYNC_CLIENT_DIR}) {
		$server->disconnect if $server;
		$admin->do("DROP DATABASE IF EXISTS $db WITH (FORCE)");
		$admin->do("DROP ROLE IF EXISTS $role");
		$admin->disconnect;
	}
	$? = $status;
}

# Run code with the server's connection inside a transaction as a user; rolled back
sub as_user {
	my ($user, $code) = @_;
	my $claims = encode_json({ sub => $user });
	$server->begin_work;
	$server->do("SET LOCAL ROLE $role");
	$server->do(q{SELECT set_config('request.jwt.claims', ?, true)}, undef, $claims);
	my @answer = eval { $code->($server) };
	my $error = $@;
	$server->rollback;
	croak $error if $error;
	return wantarray ? @answer : $answer[0];
}

my $json = JSON::PP->new->canonical->allow_nonref;
our @spelled;				# columns of JSON as text, which a device may spell otherwise

sub canonical {
	my ($record) = @_;
	my %value = map { ($_ => $json->decode($record->{$_})) } grep { defined $record->{$_} } @spelled;
	return $json->encode({ %$record, %value });
}

# {id => record as text} of what SELECT as the user returns, out of a query for one column of JSON
sub expected {
	my ($user, $query) = @_;
	return as_user($user, sub {
		return { map { my $r = $json->decode($_); ($r->{id} => canonical($r)) }
				@{ $_[0]->selectcol_arrayref($query) } };
	});
}

# Devices: device(NAME, USER, OPTION...)
sub device {
	my ($name, $user, @options) = @_;
	my $self = bless { name => $name, user => $user, file => "$dir/$name.sqlite" }, __PACKAGE__;
	$self->{status} = $self->client('init', $self->{file}, "dbname=$db", '--role', $role,
		'--claims', encode_json({ sub => $user }), @options);
	return $self;
}

# Start the client with arguments, or code, in a process of its own: its id
sub start {
	my ($self, @what) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	if (ref $what[0]) {
		my $done = eval { $what[0]->(); 1 } || !diag($@);
		POSIX::_exit($done ? 0 : 1);
	}
	open STDOUT, '>', '/dev/null';
	open STDERR, '>&', \*STDOUT;
	exec $client, @what or POSIX::_exit(127);
}

# Run the client: its exit status; what it said is in {said}
sub client {
	my ($self, @args) = @_;
	my $pid = open(my $out, '-|') // die "fork: $!";
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		exec $client, @args or POSIX::_exit(127);
	}
	local $/ = undef;
	binmode $out;
	$self->{said} = <$out> // '';
	close $out;
	return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

sub sync { my ($self, @args) = @_; return $self->client('sync', $self->{file}, @args) }

# ... until it dies at a place; true when it did
sub sync_dies {
	my ($self, $place) = @_;
	local $ENV{OFFSYNC_CLIENT_DIE} = $place;
	return $self->sync == 137;
}

# Plain SQL on the device's file, as an app would
sub sql {
	my ($self, $sql, @values) = @_;
	my $file = DBI->connect("dbi:SQLite:dbname=$self->{file}", '', '',
		{ RaiseError => 1, PrintError => 0, sqlite_unicode => 1, sqlite_see_if_its_a_number => 1 });
	my $sth = $file->prepare($sql);
	$sth->execute(@values);
	my $rows = $sth->{NUM_OF_FIELDS} ? $sth->fetchall_arrayref : [];
	$sth->finish;
	undef $sth;
	$file->disconnect;
	return $rows;
}

sub value { my $rows = sql(@_); return @$rows ? $rows->[0][0] : undef }

# {id => record as text} of what the device holds
sub held {
	my ($self, $collection) = @_;
	my $status = $self->client('dump', $self->{file}, $collection);
	croak $self->{said} if $status;
	return { map { my $r = $json->decode(Encode::decode('UTF-8', $_)); ($r->{id} => canonical($r)) }
			split /\n/, $self->{said} };
}

sub dirty { return $_[0]->value('SELECT count(*) FROM offsync_dirty') }

# One test: the devices hold what their users see, and have nothing left to send
sub agree {
	my ($title, $collection, $query, @devices) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for my $d (@devices) {
		my ($held, $seen) = ($d->held($collection), expected($d->{user}, $query));
		my @bad = grep { ($held->{$_} // '') ne ($seen->{$_} // '') } sort keys %{ { %$held, %$seen } };
		next if !@bad && !$d->dirty;
		fail($title);
		diag("$d->{name}: " . $d->dirty . ' dirty, ' . scalar(@bad) . ' records differ');
		diag("  $_\n    device " . ($held->{$_} // 'none') . "\n    server " . ($seen->{$_} // 'none'))
			for @bad[0 .. ($#bad < 2 ? $#bad : 2)];
		return 0;
	}
	return pass($title);
}

1;
