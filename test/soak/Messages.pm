# A device that syncs field by field: a message says which field of which row got which value, by which hybrid logical clock.
# Every other one reads and writes the table of messages, the others make the two calls.
#
# Of "task" it holds exactly what its user sees: its rows are deleted by a field.  Of "twig" it never hears that rows
# went; but those that there are it must hold.  All that it writes, it writes with a clock, so that what comes twice changes nothing.
package Messages;

use strict;
use warnings;
use Facade;
use Tables;

our @ISA = ('Facade');
my $batch = 50;
my @members = qw(id table_name row column data_type value local_timestamp user_id client_id);
my %type = (a => 'string', b => 'string', n => 'int', score => 'double', done => 'bool', due => 'datetime', tags => 'json');

sub tables { return 'task' }
sub compares { return { task => 'exact', twig => 'present' } }

sub forget {
	my ($self) = @_;
	@$self{qw(cells unsynced known last ms count_)} = ({}, [], {}, undef, 0, 0);
	return;
}

# ---------- clocks ----------

sub pack_clock { my ($ms, $count, $node) = @_; return sprintf('%015d:', $ms) . base36($count) . ":$node" }

sub base36 {
	my ($n) = @_;
	my $text = '';
	for (1 .. 5) { $text = (0 .. 9, 'a' .. 'z')[ $n % 36 ] . $text; $n = int $n / 36 }
	return $text;
}

sub parse_clock {
	my ($ms, $count, $node) = split /:/, $_[0], 3;
	my $n = 0;
	$n = $n * 36 + index '0123456789abcdefghijklmnopqrstuvwxyz', $_ for split //, $count;
	return [ $ms + 0, $n, $node ];
}

sub later { my ($x, $y) = @_; return ($x->[0] <=> $y->[0] || $x->[1] <=> $y->[1] || $x->[2] cmp $y->[2]) > 0 }

sub tick {
	my ($self, $remote) = @_;
	my $now = Facade::now();
	my ($ms, $count) = @$self{qw(ms count_)};
	my @next = !$remote ? ($now > $ms ? ($now, 0) : ($ms, $count + 1))
		: $now > $ms && $now > $remote->[0] ? ($now, 0)
		: $ms < $remote->[0] ? ($remote->[0], $remote->[1] + 1)
		: ($ms, ($ms > $remote->[0] || $count > $remote->[1] ? $count : $remote->[1]) + 1);
	@$self{qw(ms count_)} = @next;
	return;
}

# ---------- what it holds ----------

sub serialize {
	my ($column, $value) = @_;
	return ('null', '') if !defined $value;
	return ($type{$column}, $column eq 'done' ? ($value ? 1 : 0) . '' : $column eq 'due' ? Facade::iso($value)
		: $column eq 'tags' ? Facade::json_of($value) : "$value");
}

sub row {
	my ($cells) = @_;
	return { map { my ($kind, $text) = @{ $cells->{$_} }; ($_ => $kind eq 'null' ? undef : $kind eq 'json' ? Facade::read_json($text) : $text) }
			keys %$cells };
}

sub alive {
	my ($self, $c) = @_;
	my $rows = $self->{cells}{$c} // {};
	return grep { ($rows->{$_}{deleted_at} // ['null'])->[0] eq 'null' } keys %$rows;
}

sub holds {
	my ($self, $c) = @_;
	return { map { ($_ => row($self->{cells}{$c}{$_})) } $self->alive($c) };
}

sub dirty { return scalar @{ $_[0]{unsynced} } }

sub save {
	my ($self, $c, $id, $column, $kind, $text) = @_;
	$self->tick;
	my $clock = [ @$self{qw(ms count_)}, $self->node ];
	$self->{cells}{$c}{$id}{$column} = [ $kind, $text, $clock ];
	push @{ $self->{unsynced} }, { id => uuid(), table_name => $c, row => $id, column => $column, data_type => $kind, value => $text,
		local_timestamp => pack_clock(@$clock), user_id => $self->{user}, client_id => $self->node };
	return;
}

sub change {
	my ($self, $c, $id, $values) = @_;
	$self->save($c, $id, $_, serialize($_, $values->{$_})) for sort keys %$values;
	return;
}

sub remove {
	my ($self, $c, $id) = @_;
	return $self->save($c, $id, 'deleted_at', 'datetime', Facade::iso(Facade::now()));
}

# ---------- pushing ----------

# Ids of those that are done with
sub send_batch {
	my ($self, @messages) = @_;
	if (!($self->{nth} % 2)) {
		my ($answer) = $self->call('write', "SELECT $Facade::schema.push_messages(messages => ?)",
			Facade::json_of([ map { { %$_, server_timestamp => undef, hasBeenApplied => 0, hasBeenSynced => 0 } } @messages ]));
		$answer = Facade::read_json($answer);
		$self->mend($_->{id}, "$_->{code}: $_->{reason}") for @{ $answer->{rejected} };
		return @{ $answer->{accepted} };
	}
	my $insert = "WITH source AS (INSERT INTO $Facade::schema.messages (" . join(', ', map { qq("$_") } @members) . ') SELECT '
		. join(', ', map { qq("$_") } @members) . " FROM json_populate_recordset(null::$Facade::schema.messages, ?) RETURNING 1) SELECT count(*) FROM source";
	eval { $self->call('write', $insert, Facade::json_of(\@messages)); 1 } and return map { $_->{id} } @messages;
	die $@ if Facade::passes($@);
	# all or none: one by one
	my @ids;
	for my $message (@messages) {
		if (eval { $self->call('write', $insert, Facade::json_of([$message])); 1 }) { push @ids, $message->{id} }
		elsif (Facade::passes($@) || !ref $@) { die $@ }
		else { $self->mend($message->{id}, "$@->{state}: $@->{said}") }
	}
	return @ids;
}

# A row is refused with all that is said of it: the value that the server doesn't take is taken back, the others come again
sub mend {
	my ($self, $id, $why) = @_;
	my ($message) = grep { $_->{id} eq $id } @{ $self->{unsynced} } or return;
	die "refused: $why\n" if $why !~ /23514|n_check/;
	my @bad = grep { $_->{table_name} eq $message->{table_name} && $_->{row} eq $message->{row} && $_->{column} eq 'n' && $_->{value} eq $bad }
		@{ $self->{unsynced} };
	for my $message (@bad) {
		@{ $self->{unsynced} } = grep { $_ != $message } @{ $self->{unsynced} };
		$self->change(@$message{qw(table_name row)}, { n => 12 });
		$self->count('mended');
	}
	return;
}

sub push_all {
	my ($self) = @_;
	my @unsynced = sort { $a->{local_timestamp} cmp $b->{local_timestamp} } @{ $self->{unsynced} };
	while (my @some = splice @unsynced, 0, $batch) {
		$self->sends($_->{table_name}, $_->{row}) for @some;
		my %done = map { ($_ => 1) } $self->send_batch(@some);
		for my $message (grep { $done{ $_->{id} } } @some) {
			$self->stored(@$message{qw(table_name row)}, $message->{column} eq 'deleted_at' ? undef
				: { $message->{column} => $message->{data_type} eq 'null' ? undef : $message->{value} }, parse_clock($message->{local_timestamp}));
		}
		@{ $self->{unsynced} } = grep { !$done{ $_->{id} } } @{ $self->{unsynced} };
		last if keys %done < @some;
	}
	return;
}

# ---------- pulling ----------

sub fetch {
	my ($self) = @_;
	my ($answer) = $self->{nth} % 2
		? $self->call('read', "SELECT coalesce(json_agg(m), '[]') FROM (SELECT * FROM $Facade::schema.messages WHERE user_id = ? AND client_id <> ?"
			. (defined $self->{last} ? " AND server_timestamp > $self->{last}" : '') . ' ORDER BY server_timestamp NULLS LAST) AS m', $self->{user}, $self->node)
		: $self->call('read', "SELECT $Facade::schema.pull_messages(last_server_timestamp => ?, client_id => ?, user_id => ?)",
			$self->{last}, $self->node, $self->{user});
	return @{ Facade::read_json($answer) };
}

sub pull {
	my ($self) = @_;
	my @got = $self->fetch;
	for my $message (@got) {
		$self->tick(parse_clock($message->{local_timestamp}));
		die "its own message: $message->{local_timestamp}\n" if $message->{client_id} eq $self->node && (defined $self->{last} || $self->{nth} % 2);
	}
	for my $message (@got) {
		my $clock = parse_clock($message->{local_timestamp});
		my $cells = $self->{cells}{ $message->{table_name} }{ $message->{row} } //= {};
		my $held = $cells->{ $message->{column} };
		$cells->{ $message->{column} } = [ @$message{qw(data_type value)}, $clock ] if !$held || later($clock, $held->[2]);
	}
	for (@got) { $self->{last} = $_->{server_timestamp} if $_->{server_timestamp} > ($self->{last} // 0) }
	return;
}

# That client prints errors of one half, and goes on to the other
sub sync {
	my ($self) = @_;
	my $error = eval { $self->push_all; 1 } ? undef : $@;
	die $error if $error && (ref $error && $error->{ended} || !$self->{db}->ping);
	$self->pull;
	die $error if $error;
	return;
}

1;
