# A device whose database is a row CRDT: rows with hlc, node_id and modified; the later row wins, whole.  What its WebSocket
# carried, it says and hears by the three functions that stand behind it.
#
# While nothing goes wrong it goes on from the cursor; behind a fault it begins with a handshake, and its last_modified (every other
# device always does).  It holds "task", which it edits, and reads "twig", whose rows come into sight and go: what a user
# may no longer see can't be written, and the protocol has no answer for a changeset that is refused.
#
# That a row is gone is told with the time at which it is asked for.  A row that comes into sight again by a write of before, which
# is committed only then, has an earlier clock, and isn't taken: what the server itself tells so is not asked of the device.
#
# What is forgotten of deletions (prune) such a device isn't told: then rows of "twig" may stay on it.
package Crdt;

use strict;
use warnings;
use Facade;
use Tables;

our @ISA = ('Facade');
our $forgotten = 0;			# deletions are pruned
my $drift = 60e3;
my %wired = map { ($_ => 1) } @Facade::columns;

sub tables { return 'task' }
sub compares { return { task => 'exact', twig => $forgotten ? 'present' : 'exact' } }

sub forget {
	my ($self) = @_;
	@$self{qw(rows cursor told ms count_)} = ({}, undef, undef, 0, 0);
	return;
}

sub text { my ($ms, $count, $node) = @_; return Facade::iso($ms) . sprintf("-%04X-", $count) . $node }

sub parse {
	my ($time, $count, $node) = $_[0] =~ /^(.*Z)-([0-9A-F]{4})-(.*)$/ or die "no clock: $_[0]\n";
	return (Facade::ms($time), hex $count, $node);
}

sub canonical { my ($self) = @_; return text(@$self{qw(ms count_)}, $self->node) }

# ---------- what it holds ----------

sub alive {
	my ($self, $c) = @_;
	my $rows = $self->{rows}{$c} // {};
	return grep { !$rows->{$_}{is_deleted} } keys %$rows;
}

sub holds {
	my ($self, $c) = @_;
	return { map { ($_ => $self->{rows}{$c}{$_}) } $self->alive($c) };
}

sub own {
	my ($self) = @_;
	return grep { $_->{node_id} eq $self->node } values %{ $self->{rows}{task} // {} };
}

sub dirty {
	my ($self) = @_;
	return scalar grep { $_->{modified} gt ($self->{told} // '') } $self->own;
}

sub write_row {
	my ($self, $c, $id, $values, $deleted) = @_;
	my $now = Facade::now();
	@$self{qw(ms count_)} = $now > $self->{ms} ? ($now, 0) : ($self->{ms}, $self->{count_} + 1);
	my $row = $self->{rows}{$c}{$id} // { id => $id, map { ($_ => undef) } @Facade::columns };
	my $clock = $self->canonical;
	$self->{rows}{$c}{$id} = { %$row, %$values, is_deleted => $deleted, hlc => $clock, node_id => $self->node, modified => $clock };
	return;
}

sub change {
	my ($self, $c, $id, $values) = @_;
	return $self->write_row($c, $id, { map { ($_ => $self->wire($_, $values->{$_})) } keys %$values }, 0);
}

sub remove { my ($self, $c, $id) = @_; return $self->write_row($c, $id, {}, 1) }

# Is the row hidden from the device by the server's own clocks?
sub excused {
	my ($self, $c, $id) = @_;
	my $held = $self->{rows}{$c}{$id} // return 0;
	return 0 if $c ne 'twig' || !$held->{is_deleted} || $held->{node_id} ne 'server';
	my $told = Client::as_user($self->{user}, sub { $_[0]->selectrow_array("SELECT $Facade::schema.crdt_changeset(since => NULL, node_id => 'nobody')") });
	my ($row) = grep { $_->{id} eq $id } @{ Facade::read_json($told)->{changeset}{$c} };
	return 0 if !$row || $row->{hlc} ge $held->{hlc};
	$self->count('excused');
	return 1;
}

# ---------- frames ----------

# What the client says of itself
sub last_modified {
	my ($self) = @_;
	my ($last) = sort { $b cmp $a } map { $_->{modified} } grep { $_->{node_id} ne $self->node } map { values %$_ } values %{ $self->{rows} };
	return $last // text(0, 0, $self->node);
}

sub hear {
	my ($self, $since) = @_;
	my ($answer) = $self->call('read', "SELECT $Facade::schema.crdt_changeset(since => ?, node_id => ?)", $since, $self->node);
	$answer = Facade::read_json($answer);
	my $frame = $answer->{changeset};
	for my $row (map { @$_ } values %$frame) {
		my ($ms, $count, $node) = parse($row->{hlc});
		die "its own clock: $row->{hlc}\n" if $node eq $self->node;
		die "a clock that is ahead: $row->{hlc}\n" if $ms - Facade::now() > $drift;
		@$self{qw(ms count_)} = ($ms, $count) if $ms > $self->{ms} || $ms == $self->{ms} && $count > $self->{count_};
	}
	for my $c (keys %$frame) {
		for my $row (@{ $frame->{$c} }) {
			my $held = $self->{rows}{$c}{ $row->{id} };
			$self->{rows}{$c}{ $row->{id} } = { %$row, modified => $self->canonical } if !$held || $row->{hlc} gt $held->{hlc};
		}
	}
	return $self->{cursor} = $answer->{cursor};
}

sub say {
	my ($self) = @_;
	my @rows = grep { $_->{modified} gt $self->{told} } $self->own or return;
	$self->sends('task', $_->{id}) for @rows;
	my $done = eval { $self->call('write', "SELECT $Facade::schema.crdt_merge(node_id => ?, changeset => ?)", $self->node, Facade::json_of({ task => \@rows })); 1 };
	if (!$done) {
		my $error = $@;
		$self->mend if ref $error && ($error->{state} // '') eq '23514';
		die $error;
	}
	for my $row (@rows) {
		my ($ms, $count, $node) = parse($row->{hlc});
		$self->stored('task', $row->{id}, $row, [ $ms, $count, $node ]);
		$self->stored('task', $row->{id}, undef, [ $ms, $count, $node ]) if $row->{is_deleted};
	}
	($self->{told}) = sort { $b cmp $a } map { $_->{modified} } @rows;
	return 1;
}

# A frame that is refused is refused whole, and again at each connection: the app mends what it can
sub mend {
	my ($self) = @_;
	for my $row (grep { ($_->{n} // 0) == $bad } $self->own) {
		$self->write_row('task', $row->{id}, { n => 12 }, $row->{is_deleted});
		$self->count('mended');
	}
	return;
}

sub talk {
	my ($self) = @_;
	if (!defined $self->{cursor}) {
		my ($answer) = $self->call('read', "SELECT $Facade::schema.crdt_hello(node_id => ?)", $self->node);
		my $hello = Facade::read_json($answer);
		my ($ms, $count) = parse($hello->{last_modified});
		$self->hear($self->last_modified);
		$self->{told} = text($ms, $count, $self->node);
	}
	$self->say;
	$self->hear($self->{cursor});
	return;
}

sub sync {
	my ($self) = @_;
	for (1 .. 3) {
		$self->{cursor} = undef if $self->{nth} % 2 || rand() < 0.03;
		return if eval { $self->talk; 1 };
		# the server closes the socket
		$self->{cursor} = undef;
		die $@ if !ref $@ || ($@->{state} // '') ne '23514';
	}
	die "refused again and again\n";
}

1;
