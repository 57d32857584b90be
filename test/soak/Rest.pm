# A device of a REST cache: lists by time and id, in pages; single writes with the time that they started from, and a key; at
# a conflict its own values that aren't null are laid over the server's row, which is then forced.
#
# What it writes from a version of the row must be written over that one: which versions it has seen it keeps for the Ledger, and
# calls itself otherwise where it forces, or says nothing of a time.
#
# It holds "task" alone: of rows that really go, or go out of sight, these clients never hear.
package Rest;

use strict;
use warnings;
use Facade;
use Tables;

our @ISA = ('Facade');
my $table = 'task';
my %server = map { ($_ => 1) } qw(id created_at updated_at deleted_at owner server_created_at server_updated_at server_version);

sub tables { return $table }
sub compares { return { $table => 'exact' } }

sub forget {
	my ($self) = @_;
	@$self{qw(rows outbox cursor)} = ({}, [], undef);
	return;
}

sub alive {
	my ($self) = @_;
	return grep { !defined $self->{rows}{$_}{deleted_at} } keys %{ $self->{rows} };
}

sub holds {
	my ($self) = @_;
	return { map { ($_ => $self->{rows}{$_}) } $self->alive };
}

sub dirty { return scalar @{ $_[0]{outbox} } }

# ---------- the outbox: one operation for each record ----------

sub change {
	my ($self, $c, $id, $values) = @_;
	my $row = $self->{rows}{$id};
	$self->{rows}{$id} = { %{ $row // {} }, id => $id, map { ($_ => $self->wire($_, $values->{$_})) } keys %$values };
	return $self->enqueue('upsert', $id, $row);
}

sub remove {
	my ($self, $c, $id) = @_;
	my $row = $self->{rows}{$id};
	$self->{rows}{$id} = { %$row, deleted_at => Facade::iso(Facade::now()) };
	return $self->enqueue('delete', $id, $row);
}

sub enqueue {
	my ($self, $type, $id, $row) = @_;
	my ($waiting) = grep { $_->{id} eq $id } @{ $self->{outbox} };
	my $base = $waiting ? $waiting->{base} : $row && $row->{updated_at} ? Facade::ms($row->{updated_at}) : undef;
	$self->done($id);
	my %payload = %{ $self->{rows}{$id} };
	delete $payload{updated_at};
	push @{ $self->{outbox} }, { op => uuid(), type => $type, id => $id, base => $base, payload => \%payload };
	return;
}

sub done {
	my ($self, $id) = @_;
	@{ $self->{outbox} } = grep { $_->{id} ne $id } @{ $self->{outbox} };
	return;
}

sub store {
	my ($self, $item) = @_;
	die 'an item without id or time: ' . Facade::json_of($item) . "\n" if !$item->{id} || !$item->{updated_at};
	$self->{rows}{ $item->{id} } = $item;
	$self->{seen}{ $item->{id} }{ $item->{server_version} } = 1;
	return;
}

# ---------- pushing ----------

# autoPreserve: what the device has and isn't null, over the server's row; maps are united
sub preserve {
	my ($local, $server) = @_;
	my %merged = %$server;
	for my $name (grep { !$server{$_} && defined $local->{$_} } keys %$local) {
		my $value = $local->{$name};
		$merged{$name} = ref $value eq 'HASH' && ref $server->{$name} eq 'HASH' ? { %{ $server->{$name} }, %$value } : $value;
	}
	return \%merged;
}

sub request {
	my ($self, $call, $free, @values) = @_;
	local $self->{as} = "$self->{name} at will" if $free;
	my ($answer, $status) = $self->call('write', "SELECT $Facade::schema.$call", @values);
	return ($status // 200, Facade::read_json($answer));
}

sub put {
	my ($self, $op, $payload, $force) = @_;
	$self->sends($table, $op->{id});
	my %body = %$payload;
	$body{_baseUpdatedAt} = Facade::iso($op->{base}) if !$force && defined $op->{base};
	return $self->request('rest_put(kind => ?, id => ?, body => ?, force => ?, "idempotencyKey" => ?)', $force || !defined $op->{base},
		$table, $op->{id}, Facade::json_of(\%body),
		$force ? 'true' : 'false', $op->{op});
}

sub push_one {
	my ($self, $op) = @_;
	return $self->put($op, $op->{payload}) if $op->{type} eq 'upsert';
	return $self->request('rest_delete(kind => ?, id => ?, "baseUpdatedAt" => ?, "idempotencyKey" => ?)', !defined $op->{base}, $table, $op->{id},
		defined $op->{base} ? Facade::iso($op->{base}) : undef, $op->{op});
}

sub settle {
	my ($self, $op, $status, $body) = @_;
	my ($id, $payload) = @$op{qw(id payload)};
	if ($status == 409) {
		$self->count('conflicts');
		my $current = $body->{current};
		if ($op->{type} eq 'delete') {
			# a deletion can't be merged: the server's row stays
			$self->store($current) if $current;
			return $self->done($id);
		}
		$payload = preserve($payload, $current) if $current;
		($status, $body) = $self->put($op, $payload, 1);
	}
	die "status $status: " . Facade::json_of($body) . "\n" if $status !~ /^20[01]$/;
	# behind a deletion of what the device knew nothing of, a creation may come whose call was long under way
	$self->stored($table, $id, $op->{type} eq 'upsert' ? $payload : undef) if $op->{type} eq 'upsert' || defined $op->{base};
	$self->store($body) if $op->{type} eq 'upsert';
	return $self->done($id);
}

# What the server doesn't take the app mends
sub mend {
	my ($self, $op) = @_;
	die "refused: " . Facade::json_of($op->{payload}) . "\n" if ($op->{payload}{n} // 0) != $bad;
	$self->count('mended');
	return $self->change($table, $op->{id}, { n => 12 });
}

sub mending {
	my ($self, $op, $answer) = @_;
	return if eval { $self->settle($op, $answer->()); 1 };
	die $@ if !ref $@ || ($@->{state} // '') ne 'PT422';
	return $self->mend($op);
}

sub push_batch {
	my ($self) = @_;
	my @ops = @{ $self->{outbox} };
	$self->sends($table, $_->{id}) for @ops;
	local $self->{as} = "$self->{name} at will" if grep { !defined $_->{base} } @ops;
	my ($answer) = $self->call('write', "SELECT $Facade::schema.rest_batch(ops => ?)", Facade::json_of([ map { {
		opId => $_->{op}, kind => $table, id => $_->{id}, type => $_->{type}, $_->{type} eq 'upsert' ? (payload => $_->{payload}) : (),
		defined $_->{base} ? (baseUpdatedAt => Facade::iso($_->{base})) : () } } @ops ]));
	my %result = map { ($_->{opId} => $_) } @{ Facade::read_json($answer)->{results} };
	for my $op (@ops) {
		my $result = $result{ $op->{op} } // die "a batch without result: $answer\n";
		if ($result->{statusCode} == 422) { $self->mend($op) }
		else { $self->mending($op, sub { ($result->{statusCode}, $result->{statusCode} == 409 ? $result->{error} : $result->{data}) }) }
	}
	return;
}

sub push_all {
	my ($self) = @_;
	return $self->push_batch if $self->{nth} % 2 && @{ $self->{outbox} } > 1;
	for my $op (@{ [ @{ $self->{outbox} } ] }) {
		$self->mending($op, sub { $self->push_one($op) });
	}
	return;
}

# ---------- pulling ----------

sub pull {
	my ($self) = @_;
	my $limit = 1 + int exp rand 5;
	my ($since, $after) = $self->{cursor} ? @{ $self->{cursor} } : (0, $self->{reset} ? '' : undef);
	for (my ($token, $pages);; $pages++) {
		die "a list without end\n" if ($pages // 0) > 5000;
		my ($answer) = $self->call('read', qq{SELECT $Facade::schema.rest_list(kind => ?, "updatedSince" => ?, "limit" => ?, "includeDeleted" => true,
			"pageToken" => ?, "afterId" => ?)}, $table, Facade::iso($since), $limit, $token, $after);
		my $page = Facade::read_json($answer);
		$self->store($_) for @{ $page->{items} };
		($since, $after) = @{ $self->{cursor} = [ Facade::ms($_->{updated_at}), $_->{id} ] } for @{ $page->{items} } ? $page->{items}[-1] : ();
		$token = $page->{nextPageToken};
		return if !@{ $page->{items} } || !defined $token && @{ $page->{items} } < $limit;
	}
}

sub sync {
	my ($self) = @_;
	$self->push_all while @{ $self->{outbox} };
	# every seven days: what is held stays
	@$self{qw(cursor reset)} = (undef, 1) if $self->{early} && rand() < 0.03;
	return $self->pull;
}

1;
