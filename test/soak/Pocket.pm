# A device of PocketBase's sync clients: for each collection a time, its own clock's when it had applied a list; deletions out of the
# list of changes; rows by their "updated"; then its own records, whole.  At 400, 403 and 404 it deletes its own row.
#
# Every other one has a clock that is behind.  It holds "task", whose deletions are rows, and "jot", whose rows really go.  What
# prune forgets (deletions, and when which version was) it is told by 410: then it begins anew.
#
# Where a record was deleted here and changed elsewhere, the client takes it anew and doesn't show it: what is stored is compared.
package Pocket;

use strict;
use warnings;
use Facade;
use Tables;

our @ISA = ('Facade');
my @collections = qw(task jot);
my %core = map { ($_ => 1) } qw(synced fresh deleted expand collectionId collectionName);

sub tables { return @collections }
sub compares { return { map { ($_ => 'exact') } @collections } }

sub forget {
	my ($self) = @_;
	@$self{qw(rows last errors)} = ({ map { ($_ => {}) } @collections }, {}, []);
	return;
}

sub wire {
	my ($self, $column, $value) = @_;
	return defined $value && $column eq 'due' ? Facade::iso($value, ' ') : $self->SUPER::wire($column, $value);
}

sub own_now { my ($self) = @_; return Facade::now() - ($self->{nth} % 2 ? 90e3 : 0) }

# ---------- what it holds ----------

sub alive {
	my ($self, $c) = @_;
	return grep { !$self->{rows}{$c}{$_}{deleted} } keys %{ $self->{rows}{$c} };
}

sub holds { my ($self, $c) = @_; return $self->{rows}{$c} }

sub dirty {
	my ($self) = @_;
	return scalar grep { !$_->{synced} } map { values %{ $self->{rows}{$_} } } @collections;
}

sub change {
	my ($self, $c, $id, $values) = @_;
	my $row = $self->{rows}{$c}{$id};
	my $now = $self->own_now;
	# an edit of what was never sent makes it an update
	$self->{rows}{$c}{$id} = { created => $now, owner => undef, (map { ($_ => undef) } @Facade::columns), %{ $row // {} }, id => $id,
		(map { ($_ => $self->wire($_, $values->{$_})) } keys %$values), updated => $now, deleted => 0, synced => 0, fresh => $row ? 0 : 1 };
	return;
}

sub remove {
	my ($self, $c, $id) = @_;
	@{ $self->{rows}{$c}{$id} }{qw(deleted synced)} = (1, 0);
	return;
}

# ---------- requests ----------

# The status that a gateway makes of an error
sub status {
	my ($error) = @_;
	my $state = $error->{state} // '';
	return $1 if $state =~ /^PT(\d{3})$/;
	return 0 if Facade::passes($error);
	return $state eq '42501' ? 403 : $state =~ /^2350[35]$/ ? 409 : $state =~ /^42(?:883|P01)$/ ? 404 : 400;
}

sub list {
	my ($self, $collection, $filter) = @_;
	my ($answer) = $self->call('read', qq{SELECT $Facade::schema.pb_list(collection => ?, filter => ?, page => 1, "perPage" => 500)}, $collection, $filter);
	$answer = Facade::read_json($answer);
	die "more than a page\n" if @{ $answer->{items} } >= $answer->{perPage};
	return @{ $answer->{items} };
}

sub take {
	my ($self, $record) = @_;
	my %values = map { my $v = $record->{$_}; ($_ => defined $v && !ref $v && $v =~ /^\s*$/ ? undef : $v) } grep { !$core{$_} } keys %$record;
	$values{$_} = Facade::ms($values{$_}) for qw(created updated);
	return { deleted => 0, %values, synced => 1, fresh => 0 };
}

# ---------- a collection ----------

sub fetch {
	my ($self, $c) = @_;
	my $rows = $self->{rows}{$c};
	my $last = $self->{last}{$c};
	for my $entry ($self->list('changes', $last && "updated >= '$last' && action = 'delete'")) {
		die "an action that it can't know\n" if $entry->{action} ne 'delete';
		delete $rows->{ $entry->{record_id} } if $entry->{collection_id} eq $c;
	}
	for my $record ($self->list($c, $last && %$rows ? "updated > '$last'" : undef)) {
		my $held = $rows->{ $record->{id} };
		my $taken = $self->take($record);
		$rows->{ $record->{id} } = { %{ $held // {} }, %$taken, deleted => $held ? $held->{deleted} : 0 }
			if !$held || $taken->{updated} > $held->{updated};
	}
	$self->{last}{$c} = Facade::iso($self->own_now, ' ') =~ s/Z$/'000Z'/er;
	return;
}

# One record: what to delete of one's own follows from the status alone
sub send_one {
	my ($self, $c, $row) = @_;
	my %data = map { ($_ => $row->{$_}) } grep { !/^(?:synced|fresh|deleted|created|updated)$/ } keys %$row;
	my $id = $row->{id};
	if ($row->{deleted}) {
		$self->call('write', "SELECT $Facade::schema.pb_delete(collection => ?, id => ?)", $c, $id) if !$row->{fresh};
		$self->stored($c, $id) if !$row->{fresh};
		delete $self->{rows}{$c}{$id};
		return;
	}
	$self->sends($c, $id);
	delete $data{id} if !$row->{fresh};
	if ($row->{fresh}) { $self->call('write', "SELECT $Facade::schema.pb_create(collection => ?, body => ?)", $c, Facade::json_of(\%data)) }
	else { $self->call('write', "SELECT $Facade::schema.pb_update(collection => ?, id => ?, body => ?)", $c, $id, Facade::json_of(\%data)) }
	$self->stored($c, $id, \%data);
	@$row{qw(synced fresh)} = (1, 0);
	return;
}

sub send_all {
	my ($self, $c) = @_;
	for my $id (sort grep { !$self->{rows}{$c}{$_}{synced} } keys %{ $self->{rows}{$c} }) {
		my $row = $self->{rows}{$c}{$id};
		eval { $self->send_one($c, $row); 1 } and next;
		my $error = $@;
		die $error if !ref $error || $error->{ended};
		my $status = status($error);
		push @{ $self->{errors} }, "$status $error->{said}";
		$self->count("status $status");
		# 404: it is gone, or out of sight; nothing that it makes is another's
		$self->problem("$c $id: status $status: $error->{state} $error->{said}") if $status !~ /^(?:0|404|409|422|5..)$/;
		delete $self->{rows}{$c}{$id} if $status =~ /^40[034]$/;
		if ($status == 422) {
			die $error if ($row->{n} // 0) != $bad;
			$self->change($c, $id, { n => 12 });
			$self->{rows}{$c}{$id}{fresh} = $row->{fresh};
			$self->count('mended');
		}
		return if !$self->{db}->ping;
	}
	return;
}

sub sync_collection {
	my ($self, $c) = @_;
	if (!eval { $self->fetch($c); 1 }) {
		my $error = $@;
		die $error if !ref $error || $error->{ended};
		my $status = status($error);
		push @{ $self->{errors} }, "$status $error->{said}";
		$self->count("status $status");
		die $error if $status !~ /^(?:0|410)$/;
		return if $status == 0;
		$self->send_all($c);
		$self->{rows}{$c} = {};
		delete $self->{last}{$c};
		return;
	}
	$self->send_all($c);
	return;
}

# Errors of one collection don't keep it from the others
sub sync {
	my ($self) = @_;
	$self->{errors} = [];
	for my $c ($self->{only} // @collections) {
		last if !$self->{db}->ping;
		$self->sync_collection($c);
	}
	return;
}

# A list may be 410 each time, as long as what was forgotten is not a minute old; the one behind it is whole
sub restless {
	my ($self) = @_;
	my $before = $self->copy;
	for my $c (@collections) {
		local $self->{only} = $c;
		for (1 .. 3) {
			my $error = $self->sync_once;
			return ref $error ? $error->{said} // 'ended' : $error if $error;
			last if !@{ $self->{errors} } && !$self->dirty;
		}
		return "errors: @{ $self->{errors} }" if @{ $self->{errors} };
	}
	return $self->dirty . ' to send' if $self->dirty;
	return $self->copy ne $before ? 'received' : undef;
}

1;
