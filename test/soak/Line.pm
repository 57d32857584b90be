# The line between devices and server: a Unix socket in front of the server's, behind which a call may be held up,
# cut off, carried out without an answer, or carried out long after its sender has hung up.
#
# Each connection has its fate from the seed and its number.  All that a test wants to know is in line.log.
package Line;

use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use Time::HiRes qw(sleep);

my $log;
my $piece = 65536;

# Open it at DIR for the server's socket at SERVER: the process that holds it
sub open_line {
	my ($dir, $server, $port, $seed, @faults) = @_;
	my $name = ".s.PGSQL.$port";
	my $socket = IO::Socket::UNIX->new(Local => "$dir/$name", Listen => 512) or die "$dir/$name: $!";
	my $pid = fork // die "fork: $!";
	if ($pid) {
		close $socket;
		return $pid;
	}
	open $log, '>>', "$dir/line.log" or POSIX::_exit(1);
	$SIG{CHLD} = 'IGNORE';
	$SIG{PIPE} = 'IGNORE';
	for (my $n = 1;; $n++) {
		my $client = $socket->accept or next;
		my $child = fork // next;
		if (!$child) {
			srand $seed * 100_003 + $n;
			my $fate = choose(@faults);
			eval { carry($fate, $client, "$server/$name"); 1 } or note("broken: $@");
			POSIX::_exit(0);
		}
		close $client;
	}
}

sub note { syswrite $log, "$_[0]\n"; return }

my %fates = (
	delay => [qw(slow)],						# pieces wait
	lose => [qw(cut cut_call lose lose drop)],	# no answer: not all of it comes, nor of the call; done; not done
	late => [qw(late)]);						# done when the sender has gone, and may have come again

# Half of the connections are left alone
sub choose {
	my @fates = map { @{ $fates{$_} // [] } } @_;
	my $kind = @fates && rand() < 0.5 ? $fates[ rand @fates ] : 'fair';
	return { kind => $kind, after => int exp rand 10, at => int rand 2, wait => 0.05 + 1.2 * rand() ** 2 };
}

sub carry {
	my ($fate, $client, $path) = @_;
	my $server = IO::Socket::UNIX->new(Peer => $path) or return;
	my $select = IO::Select->new($client, $server);
	while (my @ready = $select->can_read) {
		for my $from (@ready) {
			sysread($from, my $bytes, $piece) or return;
			return if $from == $client ? !call($fate, $client, $server, $bytes) : !answer($fate, $client, $bytes);
		}
	}
	return;
}

sub pass {
	my ($to, $bytes) = @_;
	while (length $bytes) {
		my $n = syswrite $to, $bytes or return 0;
		substr $bytes, 0, $n, '';
	}
	return 1;
}

sub hold {
	my ($fate) = @_;
	return if $fate->{kind} ne 'slow' || rand() > 0.15;
	note('delay');
	sleep $fate->{wait} / 4;
	return;
}

my $pushing = qr/(?:push|sync)_changes\(changes|(?:rest_(?:put|delete|batch)|push_messages|crdt_merge|pb_(?:create|update|delete))\(|INTO soak\.messages/;

# From the client; false hangs up.  What befalls a push befalls its COMMIT.
sub call {
	my ($fate, $client, $server, $bytes) = @_;
	my $kind = $fate->{kind};
	hold($fate);
	$fate->{pushes} ||= $bytes =~ $pushing;
	if ($kind eq 'cut_call' && ($fate->{sent} += length $bytes) > $fate->{after} + 300) {
		pass($server, substr $bytes, 0, rand length $bytes);
		note('cut a call');
		return 0;
	}
	if ($fate->{pushes} && $bytes =~ /^Q....COMMIT\0/s) {
		$fate->{pushes} = 0;
		return commit($fate, $client, $server, $bytes) if $kind =~ /^(?:lose|late|drop)$/ && $fate->{at}-- == 0;
	}
	return pass($server, $bytes);
}

sub commit {
	my ($fate, $client, $server, $bytes) = @_;
	note("$fate->{kind} a push");
	return 0 if $fate->{kind} eq 'drop';
	if ($fate->{kind} eq 'late') {
		close $client;
		sleep $fate->{wait};
	}
	pass($server, $bytes) and sysread $server, $bytes, $piece;
	return 0;
}

# From the server
sub answer {
	my ($fate, $client, $bytes) = @_;
	hold($fate);
	if ($fate->{kind} eq 'cut' && ($fate->{sent} += length $bytes) > $fate->{after} + 500) {
		pass($client, substr $bytes, 0, rand length $bytes);
		note('cut an answer');
		return 0;
	}
	return pass($client, $bytes);
}

1;
