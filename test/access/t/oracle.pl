# Random schemas, policies, writes, memberships and definitions; after every pull a device must equal SELECT
# as its user in the same snapshot, and no answer may tell of a row that was never in its user's sight.
#
#   SEED=n|random WORLDS=n OPS=n   where to begin (1), how many schemas, how long in each
#   SECONDS=n               begin no new schema after so long (45, when nothing else is said)
#   FORMS=regex             draw only policies whose form's name matches
#   REDUCE=1                look for the least operations that fail
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Device;
use Test::More;
use World;
use Writes;

my $seed = $ENV{SEED} // 1;
$seed = int rand 1e6 if $seed eq 'random';
my $worlds = $ENV{WORLDS} // 20;
my $ops = $ENV{OPS} // 120;
my $limit = $ENV{SECONDS} // ($ENV{SEED} || $ENV{WORLDS} ? 86400 : 45);
my $db = "offsync_access_$$";
my $prefix = "offsync_access_$$";
my $started = time;
my $main = $$;
my $pulls = 0;

my $admin = World::attach();
$admin->do("CREATE DATABASE $db TEMPLATE template0 ENCODING 'UTF8'");
my @roles = map { "${prefix}_$_" } qw(one two group owner);
$admin->do("CREATE ROLE $_") for @roles;

END {
	my $status = $?;
	if ($admin && $main == $$) {
		$admin = World::attach() if !$admin->ping;
		$admin->do("DROP DATABASE IF EXISTS $db WITH (FORCE)");
		$admin->do("DROP ROLE IF EXISTS $_") for @roles;
	}
	$? = $status;
}
$SIG{INT} = $SIG{TERM} = sub { exit 130 };

my $setup = World::attach($db);
$setup->do('SET client_min_messages = error; CREATE EXTENSION offsync');
$setup->do("GRANT ALL ON DATABASE $db TO PUBLIC");
$setup->disconnect;

sub operation {
	my ($w, @devices) = @_;
	my $what = rand;
	return server_transaction($w), () if $what < 0.2;
	return membership_transaction($w), () if $what < 0.36;
	return user_write($w), () if $what < 0.4;
	return slow_writer($w), () if $what < 0.47;
	return definition($w), () if $what < 0.50;
	return viewer_roles($w), () if $what < 0.51;
	my $d = World::pick(@devices);
	return $d->push_changes($w) if $what < ($ENV{PUSHES} // 0.07) + 0.51 && $d->{mode} eq 'exact';
	$pulls++;
	return map { "$d->{name}: $_" } rand() < ($ENV{PAGES} // 0.2) && $d->{mode} ne 'iso' ? $d->pull_pages($w, sub { meanwhile($w) }) : $d->pull($w);
}

sub meanwhile {
	my ($w) = @_;
	my $what = rand;
	if ($what < 0.4) { server_transaction($w) }
	elsif ($what < 0.7) { membership_transaction($w) }
	elsif ($what < 0.8) { user_write($w) }
	elsif ($what < 0.95) { slow_writer($w) }
	else { definition($w) }
	return 1;
}

# One schema and the operations with these numbers: the problems of the first that has any, and its number
sub world {
	my ($n, @numbers) = @_;
	my $w = World->new($n, $db, $prefix);
	my $i = 0;
	my @devices = map { Device->new("device$i $_", $w->{viewers}[ $i++ % 5 ], $_) } qw(exact exact exact exact exact number iso);
	my ($op, @problems) = (0);
	for (0, @numbers) {
		$op = $_;
		srand $n * 1009 + $op;
		@$w{qw(op fresh)} = ($op, 0);
		my $done = eval {
			if ($op == 0) { populate($w) }
			else { @problems = grep { defined && length } operation($w, @devices) }
			1;
		};
		push @problems, $@ if !$done;
		last if @problems;
	}
	$w->finish;
	return ($w, $op, @problems);
}

sub write_log {
	my ($w, $n) = @_;
	my $file = ($ENV{TMPDIR} // '/tmp') . "/offsync_access_$n.sql";
	open my $out, '>', $file or return 'nowhere';
	print $out map { "$_\n" } @{ $w->{log} };
	close $out;
	return $file;
}

# Leave out operations as long as it still fails
sub reduce {
	my ($n, @numbers) = @_;
	for (my $size = int(@numbers / 2); $size >= 1; $size = int($size / 2)) {
		for (my $at = 0; $at < $#numbers;) {
			my @fewer = @numbers;
			splice @fewer, $at, $at + $size > $#numbers ? $#numbers - $at : $size;
			my ($w, $op, @problems) = world($n, @fewer);
			if (@problems) { @numbers = grep { $_ <= $op } @fewer }
			else { $at += $size }
		}
	}
	return @numbers;
}

for my $n ($seed .. $seed + $worlds - 1) {
	last if time - $started > $limit;
	my @numbers = $ENV{NUMBERS} ? split /,/, $ENV{NUMBERS} : (1 .. $ops);
	my ($w, $op, @problems) = world($n, @numbers);
	if (@problems && $ENV{REDUCE}) {
		@numbers = reduce($n, grep { $_ > 0 && $_ <= $op } @numbers);
		($w, $op, @problems) = world($n, @numbers);
	}
	ok(!@problems, "schema $n") or diag("SEED=$n WORLDS=1 OPS=$op" . ($ENV{REDUCE} ? ' NUMBERS=' . join(',', @numbers) : ''),
		"\nstatements in " . write_log($w, $n), map { "\n  $_" } @problems[0 .. ($#problems < 4 ? $#problems : 4)]);
}
if ($ENV{SEED} || $ENV{WORLDS}) {
	diag("$pulls pulls in " . (time - $started) . ' s');
	for my $table (\%Device::count, \%Device::by_form) {
		for my $name (sort keys %$table) {
			diag(sprintf '%-24s %s', $name, join ', ', map { "$table->{$name}{$_} $_" } sort keys %{ $table->{$name} });
		}
	}
}
done_testing();
