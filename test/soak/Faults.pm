# What befalls the server of a soak, and what others do there meanwhile.
#
# The cluster is the soak's own: PGDATA, its log in SOAK_LOG; a full disk takes SOAK_DISK=1, which says that PGDATA is
# on a small disk of its own.
package Faults;

use strict;
use warnings;
use Client;
use Exporter 'import';
use Tables;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(befall faults start_server write_along write_slowly);

my $data = $ENV{PGDATA} // '';
my $conn;

sub quietly {
	my (@sql) = @_;
	return eval {
		if (!$conn || !$conn->ping) {
			$conn = Client::attach($ENV{OFFSYNC_DATABASE});
			$conn->do($_) for 'SET client_min_messages = error', q{SET lock_timeout = '2s'}, q{SET statement_timeout = '20s'};
		}
		$conn->do($_) for @sql;
		1;
	} || do { my $why = $@; eval { $conn->do('ROLLBACK') if $conn }; "failed: " . substr $why, 0, 150 };
}

# ---------- the server comes and goes ----------

sub postmaster {
	open my $file, '<', "$data/postmaster.pid" or return;
	my $pid = <$file> // return;
	chomp $pid;
	return $pid =~ /^\d+$/ && kill(0, $pid) ? $pid : undef;
}

sub children {
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/task/$pid/children" or return;
	return split ' ', <$file> // '';
}

sub start_server {
	for (1 .. 60) {
		return 1 if system("pg_ctl -D '$data' -l '$ENV{SOAK_LOG}' -o '-p $ENV{PGPORT}' -t 30 -w -s start >/dev/null 2>&1") == 0;
		# of a server that was killed, processes may hold the shared memory a moment longer; or it came back by itself
		return 1 if postmaster() && eval { Client::attach()->ping };
		sleep 0.2;
	}
	die "the server doesn't come back\n";
}

# A device that syncs just before the server dies: what it was told or has pushed must not be lost
our $witness;

sub crash {
	my ($how, $pushes) = @_;
	my $pid = postmaster() // return start_server();
	if ($how eq 'everything' && $witness) {
		quietly('SET synchronous_commit = off', "INSERT INTO app.item (id, owner) VALUES ('" . uuid() . "', '$witness->{user}')",
			'SET synchronous_commit = on');
		$witness->edit_some if $pushes;
		local $ENV{PGOPTIONS} = '-c synchronous_commit=off';
		$witness->limited(5, 1);
	}
	my @all = children($pid);
	if ($how eq 'backend') {
		my ($one) = eval { Client::attach()->selectrow_array(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'
			AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1}) };
		kill KILL => $one if $one;
		sleep 0.3;
	}
	elsif ($how eq 'everything') {
		# the postmaster first, so that it has no last words; nothing that is only in memory stays
		kill KILL => $pid, @all;
	}
	else {
		system "pg_ctl -D '$data' -m immediate -w -s stop >/dev/null 2>&1";
	}
	sleep rand 0.4;
	start_server();
	return $how;
}

sub fill_disk {
	return 'no small disk' if !$ENV{SOAK_DISK};
	# some or all of what is left
	system "dd if=/dev/zero of='$data/ballast' bs=64k 2>/dev/null";
	truncate "$data/ballast", (-s "$data/ballast") - 65536 * int(rand 40) if rand() < 0.5;
	# the log wants a new file; the tables want pages by themselves
	quietly('SELECT pg_switch_wal()') for 1 .. rand 4;
	sleep 1 + rand 3;
	unlink "$data/ballast";
	return start_server();
}

# ---------- what others do on it ----------

sub end_backends {
	my $how = pick(qw(terminate terminate cancel));
	return quietly("SELECT pg_${how}_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE datname = current_database()
		AND pid <> pg_backend_pid() ORDER BY random() LIMIT " . (1 + int rand 4) . ') AS b');
}

sub lock_table {
	my $mode = pick('ACCESS EXCLUSIVE', 'SHARE ROW EXCLUSIVE', 'SHARE');
	return quietly('BEGIN', 'LOCK TABLE app.' . pick(@edited) . " IN $mode MODE", 'SELECT pg_sleep(' . rand(0.8) . ')', 'COMMIT');
}

sub change_definitions {
	my $c = pick(@shaken);
	my $other = $Tables::policy{$c} =~ s/ OR editor = [(]SELECT app[.]me[(][)][)]//r;
	my $policy = pick($Tables::policy{$c}, $other);
	return quietly(@{ pick(
		["ALTER POLICY sight ON app.$c USING ($policy)"],
		['BEGIN', "DROP POLICY sight ON app.$c", "CREATE POLICY sight ON app.$c USING ($policy)", 'COMMIT'],
		["SELECT offsync.disable('app.further')"], ["SELECT offsync.enable('app.further')"],
		["SELECT offsync.reset('app.$c')"],
		["CREATE POLICY stranger ON app.$c USING (false)"], ["DROP POLICY IF EXISTS stranger ON app.$c"],
		["CREATE INDEX ON app.$c (owner)"], ["REINDEX TABLE app.$c"]) });
}

my %fault = (
	crash => sub { crash(pick(qw(backend everything everything immediate)), rand() < 0.5) }, disk => \&fill_disk, backend => \&end_backends, lock => \&lock_table, ddl => \&change_definitions,
	truncate => sub { quietly('TRUNCATE app.' . pick(@shaken) . ' CASCADE') },
	prune => sub { quietly("SELECT offsync.prune('$_[0] seconds')") },
	vacuum => sub { quietly('VACUUM ' . pick('', '(FULL)', '(FREEZE)', '(ANALYZE)') . ' app.' . pick(@edited)) },
	checkpoint => sub { quietly('CHECKPOINT') });
# those that take long, or make others begin anew, are rarer
my %weight = (backend => 8, lock => 4, ddl => 3, prune => 3, vacuum => 3, crash => 2, disk => 2, checkpoint => 1, truncate => 1);

# what makes devices take collections anew would heal what went wrong before: not toward the end
my %heals = map { ($_ => 1) } qw(ddl truncate);

sub faults { return sort keys %fault }

# One of these happens: its name, and what became of it
sub befall {
	my ($retention, $late, @among) = @_;
	my @drawn = map { ($_) x $weight{$_} } grep { $fault{$_} && !($late && $heals{$_}) } @among;
	return if !@drawn;
	my $what = pick(@drawn);
	my $said = $fault{$what}->($retention);
	return ($what, $said eq '1' ? '' : $said);
}

# ---------- other writers ----------

# Transactions of plain SQL: several edits, some taken back, some slow, some prepared; they may deadlock
sub write_along {
	my ($name, $until, $transaction) = @_;
	$transaction //= \&one_transaction;
	my ($s, %count, $edits);
	my %by = (gone => [], new => sub { "$name." . ++$edits }, do => sub { my $sql = shift; $s->do($sql, undef, @_) });
	while (time < $until) {
		my $done = eval {
			$s = again($name) if !$s || !$s->ping;
			$transaction->($s, \%by, $name, \%count);
			1;
		};
		$count{$done ? 'committed' : $s && $s->err && $s->state eq '40P01' ? 'deadlocks' : 'failed'}++;
		eval { $s->rollback if $s && !$s->{AutoCommit} } if !$done;
		sleep rand 0.3;
	}
	return \%count;
}

# Rows that come to light when others, written later, have been seen, and that hardly anybody touches again
sub write_slowly {
	my ($name, $until) = @_;
	return write_along($name, $until, sub {
		my ($s, $by) = @_;
		$s->begin_work;
		$by->{ids} = [];
		edit($by, $_) for qw(task jot);
		sleep 0.2 + rand 1;
		return rand() < 0.1 ? $s->rollback : $s->commit;
	});
}

# A connection; what was prepared on the last one keeps its locks for ever
sub again {
	my ($name) = @_;
	my $s = Client::attach($ENV{OFFSYNC_DATABASE});
	$s->do('SET client_min_messages = error');
	$s->do((rand() < 0.7 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$_'")
		for @{ $s->selectcol_arrayref('SELECT gid FROM pg_prepared_xacts WHERE gid LIKE ?', undef, "$name.%") };
	return $s;
}

sub one_transaction {
	my ($s, $by, $name, $count) = @_;
	$s->begin_work;
	$s->do('SET LOCAL synchronous_commit = ' . pick(qw(on off)));
	for (0 .. rand 4) {
		my $c = pick(@edited, qw(further task task jot));
		# some rows are much in demand
		my $order = rand() < 0.3 ? 'id LIMIT 4' : 'random() LIMIT 20';
		$by->{ids} = $s->selectcol_arrayref("SELECT id FROM app.$c ORDER BY $order");
		$by->{shelves} = $s->selectcol_arrayref('SELECT id FROM app.shelf ORDER BY random() LIMIT 5');
		$s->do('SAVEPOINT s');
		my $done = eval { edit($by, $c); 1 };
		die $@ if !$done && $s->state !~ /^23/;
		$s->do('ROLLBACK TO s') if !$done || rand() < 0.1;
		sleep rand 0.2 if rand() < 0.2;
	}
	if (rand() < 0.2) {
		# in this order or the other: that makes deadlocks
		my @both = rand() < 0.5 ? qw(tick tock) : qw(tock tick);
		$s->do("UPDATE app.$_ SET n = n + 1"), sleep rand 0.1 for @both;
	}
	if (rand() < 0.15) {
		my ($team, $who) = (pick(qw(red green blue)), pick(@users));
		$s->do('DELETE FROM app.member WHERE team = ? AND who = ?', undef, $team, $who) > 0
			or $s->do('INSERT INTO app.member VALUES (?, ?) ON CONFLICT DO NOTHING', undef, $team, $who);
	}
	sleep rand 1 if rand() < 0.05;
	return $s->rollback if rand() < 0.1;
	return $s->commit if rand() < 0.95;
	my $gid = "$name." . ++$count->{prepared};
	$s->do("PREPARE TRANSACTION '$gid'");
	sleep rand 0.5;
	$s->do((rand() < 0.7 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$gid'");
	return;
}

1;
