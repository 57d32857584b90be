# Convergence under chaos: devices of several users edit offline and sync over a bad line with a server that crashes,
# runs out of disk, ends its backends and has its definitions changed, beside other writers.  Then the chaos ends,
# every device syncs until it has nothing to do, and three things must hold:
#
# - each device holds what SELECT as its user returns, exactly;
# - every push that a device holds for stored was stored, once (Ledger.pm);
# - no pull that isn't in pages showed half a transaction.
#
# So it is with devices of other clients' protocols (Facade.pm), as far as these protocols reach.
#
# What is edited and what goes wrong comes from the seed; how it interleaves, from the machine.
#
#   SEED=n|random     (1)
#   SECONDS=n         of chaos (30 under make test, else 120)
#   CLIENTS=n         devices (16, else 24)
#   FACADES=n         devices of other clients' protocols beside them (6, else 12)
#   FAULTS="..."      of these: kill timeout double (clients); delay lose late (the line); backend lock ddl truncate prune
#                     vacuum checkpoint crash disk (the server); all when nothing is said
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin, "$FindBin::Bin/../client/t";
use Client;
use Crdt;
use Faults;
use JSON::PP;
use Ledger;
use Line;
use List::Util qw(sum0);
use Messages;
use Phone;
use Pocket;
use POSIX ();
use Rest;
use Tables;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{SEED} // 1;
$seed = int rand 1e6 if $seed eq 'random';
my $seconds = $ENV{SECONDS} // ($ENV{SOAK_LONG} ? 120 : 30);
my $clients = $ENV{CLIENTS} // ($ENV{SOAK_LONG} ? 24 : 16);
my $facades = $ENV{FACADES} // ($ENV{SOAK_LONG} ? 12 : 6);
my @all = (qw(kill timeout double delay lose late), faults());
my @faults = split ' ', $ENV{FAULTS} || "@all";
my $retention = 5;			# seconds: what a device has not heard of by then may be stored again
my $rounds = 8;				# within which the devices must come to rest
my $dir = $ENV{OFFSYNC_CLIENT_DIR} // die "OFFSYNC_CLIENT_DIR: where devices and logs go\n";
for my $name (@faults) {
	die "no fault \"$name\"; there are @all\n" if !grep { $_ eq $name } @all;
}
# on which a full disk can't be made
@faults = grep { $_ ne 'disk' || $ENV{SOAK_DISK} } @faults;
my %fault = map { ($_ => 1) } @faults;
diag("SEED=$seed SECONDS=$seconds CLIENTS=$clients FACADES=$facades FAULTS=\"@faults\"");

my $begun = time;
my @parts = (
	['exact'], ['exact', qw(--one-trip)], ['number'], ['exact', qw(--max-rows 4)], ['iso', qw(--on-error skip --give-up)],
	['exact', qw(--on-error skip --give-up)], ['number', qw(--on-error skip --max-rows 9)], ['exact', qw(--one-trip --max-rows 3)],
	['iso', qw(--one-trip --max-rows 7)], ['number', qw(--one-trip --on-error skip --give-up)], ['exact', qw(--partial)],
	['number', qw(--partial)], ['exact', qw(--one-trip --on-error skip --partial)]);

my $s = server();
$ENV{OFFSYNC_DATABASE} = $s->{pg_db};
make_tables($s);
my $line = Line::open_line($dir, $ENV{SOAK_SOCKET}, $ENV{PGPORT}, $seed, @faults);
my @phones;
for my $i (1 .. $clients) {
	my ($mode, @how) = @{ $parts[ ($i - 1) % @parts ] };
	my $user = $users[ ($i - 1) % @users ];
	# every other one takes whatever there is
	my @some = $i % 2 ? ('--collections', join ',', @collections) : ();
	push @phones, { name => "$user-$mode-$i", user => $user, dir => $dir, options => [ '--mode', $mode, @how, @some ] };
}
# two users have them all, so that they share rows; of which kinds there are two is up to the seed
my @others = map { my ($kind, $nth) = (qw(Rest Messages Crdt Pocket))[ ($_ + $seed) % 4 ]; $nth = int $_ / 4;
	{ kind => $kind, nth => $nth, user => $users[ $nth % 2 ], name => "$users[ $nth % 2 ]-\L$kind\E-$nth", dir => $dir } } 0 .. $facades - 1;

# ---------- chaos ----------

# A part of it in a process of its own, with its own numbers: its id
my %process;

sub apart {
	my ($name, $n, $code) = @_;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		srand $seed * 1009 + $n;
		my $left = eval { $code->() } // { died => $@ };
		open my $out, '>', "$dir/$name.end" or POSIX::_exit(1);
		print $out encode_json($left);
		close $out;
		POSIX::_exit(0);
	}
	$process{$name} = $pid;
	return;
}

sub left {
	my ($name) = @_;
	waitpid $process{$name}, 0;
	my $end = eval { decode_json(Phone::slurp("$dir/$name.end")) } // { died => 'left nothing' };
	fail("$name: $end->{died}") if $end->{died};
	return $end;
}

my $until = time + $seconds;
for my $i (0 .. $#phones) {
	apart($phones[$i]{name}, $i + 1, sub {
		$ENV{PGHOST} = $dir;
		my $phone = Phone->new(%{ $phones[$i] });
		$phone->live($until, %fault);
		delete $phone->{device};
		return {%$phone};
	});
}
for my $i (0 .. $#others) {
	apart($others[$i]{name}, 500 + $i, sub {
		$ENV{PGHOST} = $dir;
		my $facade = $others[$i]{kind}->new(%{ $others[$i] });
		$facade->live($until, %fault);
		return {%$facade};
	});
}
for my $i (1 .. 3) { apart("writer$i", 1000 + $i, sub { return write_along("w$i", $until) }) }
apart('writer4', 1004, sub { return write_slowly('w4', $until) });

srand $seed;
my $witness = Phone->new(name => "$users[0]-exact-0", user => $users[0], dir => $dir, options => [qw(--mode exact)]);
$Faults::witness = $witness if $fault{crash};
$Crdt::forgotten = $fault{prune};
my %befell;
open my $log, '>', "$dir/events.log" or die "$dir: $!";
$log->autoflush;
while (time < $until) {
	sleep 0.1 + rand 0.9;
	my ($what, $said) = befall($retention, $until - time < $seconds * 0.6, @faults) or next;
	$befell{$what}++;
	printf $log "%7.2f %s %s\n", time - $begun, $what, $said =~ s/\s+/ /gr;
}
my @ends = ((map { left($_->{name}) } @phones), $witness);
my @facades = map { bless left($_->{name}), $_->{kind} } @others;
my @writers = map { left("writer$_") } 1 .. 4;
kill TERM => $line;
waitpid $line, 0;

# ---------- rest ----------

start_server() if !eval { $s->ping } && !eval { Client::attach()->ping };
# once more without others, whose commits would bring the witness's to the disk
if ($fault{crash}) { Faults::crash('everything', $_) for 0, 1 }
$s = Client::server_again();
$s->do("ROLLBACK PREPARED '$_'") for @{ $s->selectcol_arrayref('SELECT gid FROM pg_prepared_xacts') };
$s->do(q{SELECT offsync.enable('app.further')});
my @devices = map { bless { name => $_->{name}, user => $_->{user}, file => $_->{files}[-1] }, 'Client' } @ends;
my ($round, %busy);
for ($round = 1; $round <= $rounds; $round++) {
	%busy = ();
	for my $d (@devices) {
		my ($status) = App::sync_mending($d, { collections => \@edited, bad => $bad });
		# by a clock the last minute comes again and again
		my $idle = $d->{name} =~ /iso/ ? qr/: sent / : qr/: sent |: received /;
		$busy{ $d->{name} } = "status $status: $d->{said}" if $status || $d->dirty || $d->{said} =~ $idle;
	}
	# a list by time shows what was written when that time is over
	sleep 0.01 while !$s->selectrow_array(q{SELECT coalesce(max(server_updated_at) < clock_timestamp(), true) FROM app.task});
	for my $facade (@facades) {
		my $busy = $facade->restless;
		$busy{ $facade->{name} } = $busy if defined $busy;
	}
	last if !%busy;
}
ok(!%busy, "devices come to rest") or diag(map { "$_: $busy{$_}\n" } sort keys %busy);
agree("all devices agree about $_", $_, query($_), @devices) for @collections;
agree('all devices agree about further', 'further', query('further'), grep { $_->value(q{SELECT 1 FROM offsync_collection WHERE name = 'further'}) } @devices);

for my $kind (qw(Rest Messages Crdt Pocket)) {
	my @bad = map { $_->differences } grep { $_->{kind} eq $kind } @facades;
	ok(!@bad, "each device of $kind holds what its user sees") or diag(map { "$_\n" } @bad[0 .. ($#bad < 5 ? $#bad : 5)]);
}

my ($wrong, $count) = verdict($s, $retention, \@facades, @ends);
ok(!@$wrong, 'what was acknowledged is stored, and nothing twice') or diag(map { "$_\n" } @$wrong[0 .. ($#$wrong < 19 ? $#$wrong : 19)]);
my @problems = map { @{ $_->{problems} // [] } } @ends, @facades;
ok(!@problems, 'nothing else went wrong') or diag(map { "$_\n" } @problems[0 .. ($#problems < 9 ? $#problems : 9)]);
# a full disk is a reason to panic, and to start without the cache's file
my @words = grep { /TRAP:|signal (?:4|7|8|11)\b|cache lookup failed|XX000(?!.*could not write init file)|PANIC:(?!.*No space left)/ } split /\n/, Phone::slurp($ENV{SOAK_LOG});
ok(!@words, 'no backend crashed by itself') or diag(map { "$_\n" } @words[0 .. ($#words < 9 ? $#words : 9)]);
cmp_ok($count->{acknowledged} // 0, '>', $clients, 'there were pushes');

# ---------- figures ----------

$befell{$_}++ for split /\n/, Phone::slurp("$dir/line.log");
my %sum;
for my $end (@ends) { $sum{$_} += $end->{count}{$_} for keys %{ $end->{count} } }
for my $end (@facades) { $sum{"$end->{kind} $_"} += $end->{count}{$_} for keys %{ $end->{count} } }
for my $end (@writers) { $sum{"writers $_"} += $end->{$_} for keys %$end }
diag(join ', ', map { "$sum{$_} $_" } sort keys %sum);
$befell{'no space left'} = () = Phone::slurp($ENV{SOAK_LOG}) =~ /No space left/g;
diag('pushes: ' . join ', ', map { "$count->{$_} $_" } sort keys %$count);
diag('faults: ' . join ', ', map { "$befell{$_} $_" } sort keys %befell);
diag(sprintf 'at rest after %d rounds; %.0f s in all', $round, time - $begun);
if (!Test::More->builder->is_passing) {
	diag("failed with SEED=$seed SECONDS=$seconds CLIENTS=$clients FACADES=$facades FAULTS=\"@faults\"; devices and logs in $dir");
}
done_testing();
