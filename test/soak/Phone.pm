# A device in the chaos: its user edits offline, syncs, and has the sync killed, hurried or doubled; now and then he
# signs out and begins with an empty file.
#
# The device's file keeps every batch that was ever made, and the answer to it when one was applied, in one
# transaction with the device's own marks: what the device holds for stored.
package Phone;

use strict;
use warnings;
use App;
use Client;
use JSON::PP;
use POSIX ();
use Tables;
use Time::HiRes qw(sleep time);

my @places = qw(after_pull before_apply before_push in_push after_push before_ack amid_pull);
my $patience = 90;			# seconds that a sync may take at the very most

my $ledger = q{
CREATE TABLE soak_push (push_id TEXT PRIMARY KEY, base TEXT, changes TEXT, answer TEXT, made REAL, heard REAL);
CREATE TRIGGER soak_made AFTER INSERT ON offsync_batch BEGIN
	INSERT INTO soak_push VALUES (NEW.push_id, NEW.base, NEW.changes, NULL, (julianday('now') - 2440587.5) * 86400, NULL); END;
CREATE TRIGGER soak_heard AFTER DELETE ON offsync_batch BEGIN
	UPDATE soak_push SET answer = OLD.answer, heard = (julianday('now') - 2440587.5) * 86400 WHERE push_id = OLD.push_id; END;
CREATE TABLE soak_seen (collection TEXT, id TEXT, version INTEGER);
};
# Versions that the device has seen of rows; NULL where it may have been told more than it kept
my $sight = q{
CREATE TRIGGER soak_came_{c} AFTER INSERT ON {c} WHEN NEW.server_version NOT NULL BEGIN
	INSERT INTO soak_seen VALUES ('{c}', NEW.id, NEW.server_version); END;
CREATE TRIGGER soak_changed_{c} AFTER UPDATE OF server_version ON {c} BEGIN
	INSERT INTO soak_seen VALUES ('{c}', NEW.id, NEW.server_version); END;
CREATE TRIGGER soak_went_{c} AFTER DELETE ON {c} BEGIN
	INSERT INTO soak_seen VALUES ('{c}', OLD.id, NULL); END;
};

sub statements { return split /(?<=;)\n(?=CREATE)/, $_[0] =~ s/^\n//r }

# PHONE is {name, user, options, dir}
sub new {
	my ($class, %self) = @_;
	my $self = bless { %self, edits => 0, files => [], count => {} }, $class;
	$self->begin;
	return $self;
}

# An empty file; false while there is no server
sub begin {
	my ($self) = @_;
	my $nth = @{ $self->{files} };
	my $d = device("$self->{name}-$nth", $self->{user}, @{ $self->{options} });
	push @{ $self->{files} }, $d->{file};
	$d->sql(q{UPDATE offsync_device SET value = ? WHERE name = 'claims'},
		encode_json({ sub => $self->{user}, device => $self->{name} }));
	$d->sql($_) for statements($ledger);
	for my $c (grep { $strategy{$_} eq 'reject' } @edited) {
		# without a server there are no tables yet
		next if !$d->value(q{SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?}, $c);
		$d->sql($_) for statements($sight =~ s/\{c}/$c/gr);
	}
	$self->{device} = $d;
	$self->{gone} = [];
	return;
}

sub count { $_[0]{count}{ $_[1] }++; return }

sub problem {
	my ($self, $what) = @_;
	push @{ $self->{problems} }, "$self->{name}: $what";
	return;
}

# ---------- editing ----------

sub edit_some {
	my ($self) = @_;
	my $d = $self->{device};
	my %there = map { ($_->[0] => 1) } @{ $d->sql(q{SELECT name FROM sqlite_schema WHERE type = 'table'}) };
	for (0 .. rand 4) {
		my $c = pick(@edited);
		next if !$there{$c};
		my %by = (user => $self->{user}, gone => $self->{gone}, do => sub { $d->sql(@_) },
			new => sub { $self->{name} . '.' . ++$self->{edits} . (rand() < 0.2 ? ' "Zoë\\"' : '') },
			ids => [ map { $_->[0] } @{ $d->sql("SELECT id FROM $c ORDER BY id") } ],
			shelves => [ $c eq 'book' ? map { $_->[0] } @{ $d->sql('SELECT id FROM shelf ORDER BY id') } : () ]);
		# a table that has no columns yet
		my $done = eval { edit(\%by, $c); 1 };
		$self->problem("edit: $@") if !$done && $@ !~ /no such column|no column named/;
		$self->count('edits');
	}
	return;
}

# ---------- syncing ----------

# The client in a process of its own, ended after so many seconds
sub limited {
	my ($self, $seconds, $kill, @more) = @_;
	my $pid = $self->{device}->start('sync', $self->{device}{file}, @more);
	my $until = time + ($seconds // $patience);
	while (waitpid($pid, POSIX::WNOHANG()) == 0) {
		if (time > $until) {
			kill KILL => $pid;
			waitpid $pid, 0;
			$self->problem('a sync that never ended') if !$kill;
			return 137;
		}
		sleep 0.005;
	}
	return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

# The app is on: what is refused gets mended
sub sync {
	my ($self) = @_;
	# a push is on disk when it is acknowledged, whatever the session says
	local $ENV{PGOPTIONS} = '-c synchronous_commit=off' if !$ENV{PGOPTIONS} && rand() < 0.3;
	local $SIG{ALRM} = sub { die "a sync that never ended\n" };
	alarm $patience * 6;
	my ($status) = eval { sync_mending($self->{device}, { collections => \@edited, bad => $bad }) };
	$self->problem($@) if $@;
	alarm 0;
	return $self->judge($status // -1);
}

# How a sync may end in the chaos
my $no_way = qr/connection|server closed|terminat|starting up|shutting down|recovery|No space|could not|timeout|deadlock
	|canceling|no connection|gave up|does not exist|SQLSTATE: (?:57|53|08|58|55|40P01)/xi;

sub judge {
	my ($self, $status) = @_;
	my $d = $self->{device};
	my $said = $d->{said} // '';
	$self->count($status == 0 ? 'synced' : 'failed');
	if ($status == 0) {
		# pages leave out what was written since the first
		my $halves = !(grep { $_ eq '--max-rows' } @{ $self->{options} })
			&& $d->value(q{SELECT 'tick ' || t.n || ', tock ' || ifnull(k.n, 'none') FROM tick AS t LEFT JOIN tock AS k
				ON k.id = t.id WHERE k.n IS NOT t.n});
		$self->problem("half a transaction: $halves") if $halves;
	}
	elsif ($status == 2 || $status > 2 && $status != 137) {
		$self->problem("status $status: $said");
	}
	elsif ($said !~ $no_way) {
		my ($why) = $said =~ /^(offsync-client: .*)$/m;
		$self->count('refused');
		push @{ $self->{refusals} }, $why // $said;
	}
	return $status;
}

sub sync_killed {
	my ($self) = @_;
	$self->count('killed');
	if (rand() < 0.5) {
		$self->{device}->sync_dies(pick(@places));
		return;
	}
	$self->limited(0.01 + 0.4 * rand() ** 2, 1);
	return;
}

sub sync_hurried {
	my ($self) = @_;
	local $ENV{PGOPTIONS} = '-c ' . pick(qw(statement lock)) . '_timeout=' . (5 + int rand 100);
	$self->count('hurried');
	return $self->sync;
}

# Two syncs of the device at once, or edits while it syncs
sub sync_busy {
	my ($self) = @_;
	my $pid = $self->{device}->start(sub { $self->limited });
	if (rand() < 0.5) { $self->edit_some }
	else { $self->sync }
	waitpid $pid, 0;
	$self->count('busy');
	return;
}

# What the device was about to push is pushed by two others at once
sub sync_doubled {
	my ($self) = @_;
	my $d = $self->{device};
	$d->sync_dies('before_push') or return;
	my ($batch) = @{ $d->sql('SELECT changes, base, push_id FROM offsync_batch') } or return;
	my %setting = map { @$_ } @{ $d->sql('SELECT name, value FROM offsync_device') };
	my @answers;
	my @pids = map { my $out = "$self->{dir}/$self->{name}.answer$_"; unlink $out; push @answers, $out;
		$d->start(sub { push_once($out, $batch, \%setting) }) } 1, 2;
	waitpid $_, 0 for @pids;
	my @said = map { slurp($_) } @answers;
	$self->problem("two answers to one push: @said") if length $said[0] && length $said[1] && $said[0] ne $said[1];
	$self->count('doubled') if length $said[0] && length $said[1];
	return;
}

sub push_once {
	my ($out, $batch, $setting) = @_;
	local $SIG{__WARN__} = sub { };		# of a connection that was ended
	my $answer = eval {
		my $s = Client::attach($ENV{OFFSYNC_DATABASE});
		$s->begin_work;
		$s->do("SET LOCAL ROLE $Client::role");
		$s->do(q{SELECT set_config('request.jwt.claims', ?, true)}, undef, $setting->{claims});
		my $said = $s->selectrow_array('SELECT offsync.push_changes(changes => ?, last_pulled_at => ?, push_id => ?,
			client_id => ?, on_error => ?)', undef, @$batch, $setting->{client_id}, $setting->{'on-error'} // 'abort');
		$s->commit;
		$s->disconnect;
		$said;
	};
	return if !defined $answer;
	open my $file, '>:encoding(UTF-8)', $out or die "$out: $!";
	print $file $answer;
	close $file;
	return;
}

sub slurp {
	my ($file) = @_;
	open my $in, '<', $file or return '';
	local $/ = undef;
	return <$in> // '';
}

# ---------- a life ----------

sub live {
	my ($self, $until, %faults) = @_;
	my @ways = ('sync') x 8;
	push @ways, ('sync_killed') x 3 if $faults{kill};
	push @ways, 'sync_hurried' if $faults{timeout};
	push @ways, 'sync_doubled' if $faults{double};
	push @ways, 'sync_busy';
	while (time < $until) {
		$self->edit_some if rand() < 0.8;
		my $way = pick(@ways);
		$self->$way;
		$self->begin if rand() < 0.01;
		# some stay away for longer than tombstones are kept
		sleep(rand() < 0.05 ? 2 + rand 8 : rand 0.5);
	}
	return;
}

1;
