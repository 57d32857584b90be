# A device in the chaos that speaks another client's protocol (Rest.pm, Messages.pm, Crdt.pm, Pocket.pm): its user edits
# offline, and syncs by the functions that offsync.expose makes, one transaction a call, as a gateway would.
#
# The device's copy is in memory, and changes when an answer has come, as such a client's file does; what ends a sync is
# a lost connection, an error, or the end of the app, which comes between an answer and its being stored.
#
# What a kind of device has:
#	forget()				an empty file
#	tables()				what it edits; and holds() what it has of a table: {id => {column => value as it travels}}
#	compares()				the tables it is judged by, and how: "exact", or "present", where rows may stay that should go
#	alive(T)				ids of rows that the app shows
#	change(T, ID, {...})	the user's edit, and remove(T, ID)
#	sync()					all of a sync; dies of what went wrong, as call() does
#	dirty()					how much is to be sent
#	wire(COLUMN, VALUE)		a value as it travels
package Facade;

use strict;
use warnings;
use utf8;
use Client;
use JSON::PP;
use List::Util qw(shuffle);
use POSIX ();
use Tables;
use Time::HiRes qw(sleep time);
use Time::Local qw(timegm_modern);

our @columns = qw(a b n score done due tags);
our $schema = 'soak';				# of the functions
my $json = JSON::PP->new->allow_nonref->canonical;
my $patience = 90;

# SELF is {name, user, dir, nth}: the nth of its kind
sub new {
	my ($class, %self) = @_;
	my $self = bless { %self, edits => 0, begun => 0, count => {}, problems => [], acknowledged => [], sent => {} }, $class;
	$self->begin;
	return $self;
}

sub begin {
	my ($self) = @_;
	$self->{begun}++;
	$self->forget;
	return;
}

# Who it is to the other devices, till it begins with an empty file
sub node { return "$_[0]{name}.$_[0]{begun}" }

sub count { $_[0]{count}{ $_[1] }++; return }

sub problem {
	my ($self, $what) = @_;
	push @{ $self->{problems} }, "$self->{name}: $what";
	return;
}

sub json_of { return $json->encode($_[0]) }
sub read_json { return $json->decode($_[0]) }

# ---------- values ----------

sub now { return int time * 1000 }

# Milliseconds to ISO 8601, and back
sub iso {
	my ($ms, $between) = @_;
	my $seconds = POSIX::floor($ms / 1000);
	return POSIX::strftime('%Y-%m-%d' . ($between // 'T') . '%H:%M:%S', gmtime $seconds) . sprintf '.%03dZ', $ms - $seconds * 1000;
}

sub ms {
	my ($iso) = @_;
	my ($year, $month, $day, $h, $m, $s, $part) = $iso =~ /^(\d+)-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?Z$/ or die "no time: $iso\n";
	return timegm_modern($s, $m, $h, $day, $month - 1, $year) * 1000 + substr(($part // '') . '000', 0, 3);
}

sub wire {
	my ($self, $column, $value) = @_;
	return undef if !defined $value;
	return $value ? JSON::PP::true : JSON::PP::false if $column eq 'done';
	return iso($value) if $column eq 'due';
	return 0 + $value if $column =~ /^(?:n|score)$/;
	return $value;
}

# A row, however it travelled, as text
sub plain {
	my ($row) = @_;
	my %plain = map { my $v = $row->{$_};
		($_ => !defined $v ? undef : $_ eq 'done' ? ($v ? 1 : 0) . '' : $_ eq 'due' ? ms($v) . '' : $_ =~ /^(?:n|score)$/ ? 0 + $v . '' : $v) } @columns;
	return $json->encode(\%plain);
}

# {id => row as text} of what SELECT as the user returns
sub truth {
	my ($user, $c) = @_;
	my $alive = $Tables::soft{$c} ? 'WHERE deleted_at IS NULL' : '';
	my $rows = Client::as_user($user, sub { $_[0]->selectall_arrayref(qq{SELECT id, a, b, n, score, done::int,
		to_char(due AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), tags FROM app.$c $alive}) });
	my %truth;
	for (@$rows) {
		my ($id, @values) = @$_;
		$values[-1] = read_json($values[-1]) if defined $values[-1];
		my %row;
		@row{@columns} = @values;
		$truth{$id} = plain(\%row);
	}
	return \%truth;
}

# ---------- editing ----------

sub edit_some {
	my ($self) = @_;
	for (0 .. rand 4) {
		my $c = pick($self->tables);
		my @ids = sort $self->alive($c);
		my $kind = @ids ? pick(qw(insert insert update update update update delete)) : 'insert';
		my %row = Tables::values_for($c, sub { $self->{name} . '.' . ++$self->{edits} . (rand() < 0.2 ? ' "Zoë\\"' : '') });
		$row{tags} = { map { ("$self->{name}-" . ++$self->{edits} => 1) } 0 .. rand 2 } if rand() < 0.3;
		$row{n} = $bad if rand() < 0.03;
		my @some = (pick([qw(a)], [qw(b)], [qw(a b)])->@*, (shuffle(grep { !/^[ab]$/ } sort keys %row))[ 0 .. rand 3 ]);
		if ($kind eq 'insert') { $self->change($c, uuid(), \%row) }
		elsif ($kind eq 'update') { $self->change($c, pick(@ids), { map { ($_ => $row{$_}) } @some }) }
		else { $self->remove($c, pick(@ids)) }
		$self->count('edits');
	}
	return;
}

# ---------- calls ----------

# As a gateway makes them: HOW is read or write.  The answer's columns; dies of {state, said}
sub call {
	my ($self, $how, $sql, @values) = @_;
	$self->may_end;
	my $db = $self->{db};
	my @row = eval {
		$db->do($how eq 'read' ? 'BEGIN READ ONLY' : 'BEGIN');
		$db->do("SET LOCAL ROLE $Client::role");
		$db->do(q{SELECT set_config('request.jwt.claims', ?, true)}, undef, encode_json({ sub => $self->{user}, device => $self->{as} // $self->{name} }));
		my @answer = $db->selectrow_array($sql, undef, @values);
		push @answer, $db->selectrow_array(q{SELECT nullif(current_setting('response.status', true), '')});
		$db->do('COMMIT');
		@answer;
	};
	if ($@) {
		my %error = (state => $db->state // '', said => $@ . '');
		eval { local $db->{Warn} = 0; $db->do('ROLLBACK') };
		die \%error;
	}
	$self->may_end;
	return @row;
}

# The app may be ended before a call, and behind it
sub may_end {
	my ($self) = @_;
	die { ended => 1 } if $self->{mortal} && rand() < 0.1;
	return;
}

# What passes by itself: a connection that is gone, a server that is, what it lacks, whom it waited for
sub passes {
	my ($error) = @_;
	return ref $error && ($error->{ended} || $error->{state} =~ /^(?:57|53|08|58|55|40P01|PT503)/
		|| $error->{said} =~ /connection|server closed|starting up|shutting down|recovery|No space|no connection/);
}

# One sync by a connection of its own; what ended it, if anything did
sub sync_once {
	my ($self, @settings) = @_;
	my $done = eval {
		$self->{db} = eval { Client::attach($ENV{OFFSYNC_DATABASE}) } or die { state => '08006', said => "connection: $@" };
		$self->{db}{pg_server_prepare} = 0;
		eval { $self->{db}->do("SET $_") for "statement_timeout = '${patience}s'", @settings; 1 } or die { state => '08006', said => $@ };
		$self->sync;
		1;
	};
	my $error = $@;
	eval { local $self->{db}{Warn} = 0; $self->{db}->disconnect } if $self->{db};
	delete $self->{db};
	$self->count($done ? 'synced' : 'failed');
	return if $done;
	return $error if passes($error) && !(ref $error && ($error->{said} // '') =~ /statement timeout/ && !"@settings");
	$self->problem(ref $error ? "$error->{state}: $error->{said}" : $error);
	return $error;
}

# ---------- what was stored ----------

# A record is on its way
sub sends {
	my ($self, $c, $id) = @_;
	$self->{sent}{$c}{$id}++;
	return;
}

# ... and is stored: its values, or it is deleted; clock where a later one may have been there
sub stored {
	my ($self, $c, $id, $row, $clock) = @_;
	push @{ $self->{acknowledged} }, { c => $c, id => $id, clock => $clock,
		$row ? (values => { map { ($_ => $row->{$_}) } grep { defined $row->{$_} } qw(a b) }) : (deleted => 1) };
	return;
}

# ---------- a life ----------

sub live {
	my ($self, $until, %faults) = @_;
	my $begun = time;
	while (time < $until) {
		# what makes it take all anew would heal what went wrong before: not toward the end
		my $early = $until - time > ($until - $begun) * 0.4;
		$self->edit_some if rand() < 0.8;
		@$self{qw(mortal early)} = ($faults{kill} && rand() < 0.25, $early);
		my @settings = rand() < 0.3 ? ('synchronous_commit = off') : ();
		push @settings, pick(qw(statement lock)) . '_timeout = ' . (5 + int rand 100) if $faults{timeout} && rand() < 0.08;
		$self->sync_once(@settings);
		@$self{qw(mortal early)} = (0, 0);
		$self->begin if $early && rand() < 0.02;
		sleep(rand() < 0.05 ? 2 + rand 8 : rand 0.6);
	}
	return;
}

# ---------- rest ----------

# One sync of the last rounds: true while there is something to do
sub restless {
	my ($self) = @_;
	my $before = $self->copy;
	my $error = $self->sync_once;
	return ref $error ? $error->{said} // 'ended' : $error if $error;
	return $self->dirty . ' to send' if $self->dirty;
	return $self->copy ne $before ? 'received' : undef;
}

sub copy {
	my ($self) = @_;
	return $json->encode({ map { ($_ => $self->shown($_)) } keys %{ $self->compares } });
}

# {id => row as text}
sub shown {
	my ($self, $c) = @_;
	my $rows = $self->holds($c);
	return { map { ($_ => plain($rows->{$_})) } keys %$rows };
}

# What a protocol's own weakness may do to a row
sub excused { return 0 }

# What of the device's copy isn't as it should be
sub differences {
	my ($self) = @_;
	my @bad;
	my %compares = %{ $self->compares };
	for my $c (sort keys %compares) {
		my ($held, $seen) = ($self->shown($c), truth($self->{user}, $c));
		my %ids = (%$seen, $compares{$c} eq 'exact' ? %$held : ());
		push @bad, map { "$self->{name}: $c $_\n    device " . ($held->{$_} // 'none') . "\n    server " . ($seen->{$_} // 'none') }
			grep { ($held->{$_} // '') ne ($seen->{$_} // '') && !$self->excused($c, $_) } sort keys %ids;
	}
	return @bad;
}

1;
