# What happens to servers and to phones in a lifetime, with real devices (the C client and its files): a promotion that loses
# what devices had seen, recovery to a point in time, a data directory that is copied and goes on twice, a crash that
# hands out transaction ids again, a phone restored from its backup while the phone goes on, and somebody else signing in.
# In the end each device holds what SELECT as its role returns (P1, P8), and nothing that was acknowledged and survived on
# the server is lost or there twice (P5).

use strict;
use warnings;

use File::Copy qw(copy);
use OffsyncTest;
use Phone;
use PostgreSQL::Test::RecursiveCopy;
use Test::More;

plan skip_all => 'OFFSYNC_CLIENT is not set' unless $ENV{OFFSYNC_CLIENT};

my @kinds = ([ exact => 'alice' ], [ number => 'alice', '--mode', 'number' ], [ iso => 'alice', '--mode', 'iso' ],
	[ trip => 'alice', '--one-trip' ], [ paged => 'alice', '--max-rows', '3' ], [ bob => 'bob' ]);

sub phones
{
	my ($server, $prefix) = @_;
	return map { my ($name, $role, @options) = @$_; ($name => Phone->new("$prefix $name", $server, $role, @options)) } @kinds;
}

sub each_syncs
{
	my ($name, @phones) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @bad = grep { $_->sync != 0 } @phones;
	return ok(!@bad, "$name: all sync") || diag(map { "$_->{name}: $_->{said}\n" } @bad);
}

sub all_agree
{
	my ($node, $name, @phones) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	each_syncs($name, @phones) for 1 .. 2;
	$_->agrees($node, $name) for @phones;
	return;
}

# Every phone makes, changes and deletes something of its own, while nobody is looking.
sub edit_offline
{
	my ($when, @phones) = @_;
	for my $phone (@phones)
	{
		$phone->sql('INSERT INTO task (id, owner, body) VALUES (?, ?, ?)', "$phone->{name} $when", $phone->{role}, 'made offline');
		$phone->sql('INSERT INTO task (id, owner, body) VALUES (?, ?, ?)', "$phone->{name} $when to go", $phone->{role}, 'made offline');
		$phone->sql('DELETE FROM task WHERE id IN (SELECT min(id) FROM task WHERE id LIKE ?)', "$phone->{name} % to go");
		$phone->sql('UPDATE task SET body = ? WHERE id IN (SELECT max(id) FROM task WHERE id LIKE ?)', $when, "$phone->{name}%");
	}
	return;
}

sub fill
{
	my ($node) = @_;
	create_schema($node, 'postgres');
	$node->safe_psql('postgres', q{INSERT INTO task SELECT o || i, o, 'first' FROM unnest('{alice,bob}'::text[]) o, generate_series(1, 10) i;
		INSERT INTO label SELECT i, 'first' FROM generate_series(1, 5) i});
	return;
}

# 1. A promotion that loses what devices have seen, and what they have pushed.

my $old = new_node('old', allows_streaming => 1);
fill($old);
$old->backup('base');
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init_from_backup($old, 'base', has_streaming => 1);
$new->start;

my %phone = phones($old, 'promoted');
my %before = phones($old, 'early');
my @phones = @phone{ sort keys %phone };
my @early = @before{ sort keys %before };
all_agree($old, 'before the promotion', @phones, @early);
replayed($new, $old);
$new->stop;
edit_offline('lost', @phones);
$old->safe_psql('postgres', q{UPDATE task SET body = 'lost' WHERE id LIKE 'alice%'; DELETE FROM task WHERE id = 'bob3'; INSERT INTO label VALUES (6, 'lost');
	INSERT INTO task VALUES ('lost', 'alice', 'lost'); UPDATE task SET owner = 'bob' WHERE id = 'alice9'});
all_agree($old, 'they see and push what will be lost', @phones);
edit_offline('unsent', @phones, @early);
ok($phone{exact}->sync_dies('after_push'), 'one has pushed, and hasn\'t heard of it');
ok($phone{bob}->sync_dies('before_push'), 'one is about to push');
$old->stop('immediate');
$new->start;
$new->promote;
$_->lead_to($new) for @phones, @early;
$new->safe_psql('postgres', q{INSERT INTO task VALUES ('new', 'alice', 'new'), ('newer', 'bob', 'new'); UPDATE task SET body = 'new' WHERE id = 'alice5';
	DELETE FROM task WHERE id = 'alice7'; INSERT INTO label VALUES (7, 'new')});
all_agree($new, 'after the promotion', @phones, @early);
is($new->safe_psql('postgres', q{SELECT count(*) FROM task WHERE id LIKE '% unsent'}), scalar(@phones + @early), 'what was unsent is stored');
is($phone{exact}->value(q{SELECT count(*) FROM label WHERE id = 6}), 0, 'what was lost is gone from the devices');
edit_offline('after', @phones, @early);
all_agree($new, 'and on they go', @phones, @early);

# 2. Somebody restores the day before: recovery to a point in time.  Phones that saw less, and more.

my $source = new_node('source', has_archiving => 1, allows_streaming => 1);
fill($source);
$source->backup('base');
my %asleep = phones($source, 'asleep');
my %awake = phones($source, 'awake');
all_agree($source, 'before the day', values %asleep, values %awake);
edit_offline('kept', values %awake);
all_agree($source, 'of the day', values %awake);
edit_offline('offline', values %asleep);
my $target = $source->lsn('insert');
$source->safe_psql('postgres', q{UPDATE task SET body = 'undone'; DELETE FROM label WHERE id = 2});
edit_offline('undone', values %awake);
all_agree($source, 'what will be undone', values %awake);
$source->safe_psql('postgres', 'SELECT pg_switch_wal()');
$source->stop;
my $recovered = recovered_to($source, $target);
$recovered->safe_psql('postgres', q{UPDATE task SET body = 'another day' WHERE id = 'alice2'; INSERT INTO label VALUES (8, 'another day')});
edit_offline('unsent', values %awake);
$_->lead_to($recovered) for values %asleep, values %awake;
all_agree($recovered, 'after the recovery', values %asleep, values %awake);
is($recovered->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE id LIKE '% offline'), count(*) FILTER (WHERE id LIKE '% unsent') FROM task}),
	'6|6', 'nothing that was unsent is lost');
edit_offline('after', values %asleep, values %awake);
all_agree($recovered, 'and on they go', values %asleep, values %awake);
$recovered->stop;

# 3. A data directory is copied (a snapshot of its volume, say), and both go on.  The recipe: offsync.new_incarnation() on the
# copy.  Phones that are led from one to the other, and back, are never taken for their own.

my $original = new_node('original');
fill($original);
my %home = phones($original, 'home');
my %moved = phones($original, 'moved');
all_agree($original, 'before the copy', values %home, values %moved);
$original->stop;
my $copy = PostgreSQL::Test::Cluster->new('copy');
PostgreSQL::Test::RecursiveCopy::copypath($original->data_dir, $copy->data_dir);
chmod 0700, $copy->data_dir;
$copy->append_conf('postgresql.conf', 'port = ' . $copy->port . "\nunix_socket_directories = '" . $copy->host . q{'});
$original->start;
$copy->start;
$copy->safe_psql('postgres', 'SELECT offsync.new_incarnation()');
is($copy->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'), $original->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'),
	'nothing else tells the copy from the original');
# the same transaction ids, for other rows
$original->safe_psql('postgres', q{INSERT INTO task VALUES ('orig', 'alice', 'original'); UPDATE task SET body = 'original' WHERE id = 'alice1'; DELETE FROM task WHERE id = 'alice2'});
$copy->safe_psql('postgres', q{INSERT INTO task VALUES ('copy', 'alice', 'copy'); UPDATE task SET body = 'copy' WHERE id = 'alice3'; DELETE FROM task WHERE id = 'alice4'});
edit_offline('meanwhile', values %home, values %moved);
$_->lead_to($copy) for values %moved;
for my $round (1 .. 2)
{
	all_agree($original, "the original, round $round", values %home);
	all_agree($copy, "the copy, round $round", values %moved);
	for my $place ([ $original, 'original' ], [ $copy, 'copy' ])
	{
		$place->[0]->safe_psql('postgres', "INSERT INTO task VALUES ('$place->[1] $round', 'bob', 'x'); UPDATE task SET body = '$place->[1] $round' WHERE id = 'alice5'");
	}
	edit_offline("round $round", values %home, values %moved);
}
$_->lead_to($copy) for values %home;
$_->lead_to($original) for values %moved;
all_agree($copy, 'exchanged', values %home);
all_agree($original, 'exchanged', values %moved);
$_->lead_to($original) for values %home;
all_agree($original, 'and back', values %home);
$_->stop for $copy;

# 4. A crash while a transaction's id is known to nobody but its backend, and devices have cursors that know of it.

my $session = $original->background_psql('postgres');
for my $round (1 .. 2)
{
	$session->query_safe(qq{BEGIN; SET LOCAL synchronous_commit = off; SELECT pg_current_xact_id(); SAVEPOINT a; INSERT INTO label VALUES (1000 + $round, 'never')});
	$original->safe_psql('postgres', qq{SET synchronous_commit = off; INSERT INTO task VALUES ('async $round', 'alice', 'asynchronous')});
	edit_offline("crash $round", values %home);
	each_syncs("before crash $round", values %home);
	ok($home{trip}->sync_dies('after_push') || 1, 'somebody else is amid a push');
	$original->safe_psql('postgres', q{SET synchronous_commit = off; BEGIN; DELETE FROM task; ROLLBACK; SELECT pg_current_xact_id()}) for 1 .. 5;
	$original->stop('immediate');
	$original->start;
	eval { $session->quit };
	$session = $original->background_psql('postgres');
	$original->safe_psql('postgres', qq{INSERT INTO task VALUES ('again $round', 'alice', 'again'); INSERT INTO label VALUES (2000 + $round, 'again')});
	all_agree($original, "after crash $round", values %home);
}
$session->quit;

# 5. A phone is restored from its backup, and used beside the phone it was taken from: two devices with one name.

for my $kind (qw(exact number trip))
{
	my $phone = $home{$kind};
	my $backup = $phone->twin("backup of $kind");

	# both make their own, both change the same, one deletes what the other changes
	edit_offline('since the backup', $phone);
	each_syncs("$kind goes on", $phone) for 1 .. 2;
	my $twin = $backup->twin("twin of $kind");
	is($twin->value(q{SELECT value FROM offsync_device WHERE name = 'client_id'}), $phone->value(q{SELECT value FROM offsync_device WHERE name = 'client_id'}), "$kind: both are one device to the server");
	edit_offline('the twin', $twin);
	$phone->sql(q{UPDATE task SET body = 'by the phone' WHERE id IN ('alice5', 'alice6')});
	$twin->sql(q{UPDATE task SET body = 'by the twin' WHERE id IN ('alice6', 'alice8')});
	for my $round (1 .. 2)
	{
		each_syncs("$kind and its twin, round $round", $phone, $twin);
		edit_offline("r$round", $phone, $twin);
		$phone->sql('DELETE FROM task WHERE id IN (SELECT max(id) FROM task WHERE id LIKE ?)', "twin of $kind %");
		$twin->sql(q{UPDATE task SET body = ? WHERE id LIKE ?}, "twin $round", "home $kind %");
	}
	all_agree($original, "$kind and its twin", $phone, $twin);

	# the backup was taken amid a push: both send it again, under one name
	$phone->sql(q{INSERT INTO task (id, owner, body) VALUES (?, 'alice', 'once')}, "frozen $kind");
	ok($phone->sync_dies('after_push'), "$kind: dies with a push that it hasn't heard of");
	my $frozen = $phone->twin("frozen twin of $kind");
	each_syncs("$kind sends it again", $phone);
	$phone->sql(q{UPDATE task SET body = 'changed since' WHERE id = ?}, "frozen $kind");
	each_syncs("$kind changes it", $phone);
	each_syncs('its twin sends it a third time', $frozen);
	all_agree($original, "$kind and the frozen twin", $phone, $twin, $frozen);
	is($original->safe_psql('postgres', "SELECT body FROM task WHERE id = 'frozen $kind'"), 'changed since', "$kind: what was pushed thrice is stored once");

	# the old backup comes back onto the phone itself
	$phone->restore($backup);
	edit_offline('restored', $phone);
	all_agree($original, "$kind, restored to its backup", $phone, $twin, $frozen);
}

# 6. Somebody else signs in on the phone.  A cursor tells; who keeps a number wipes the device, as README says.

for my $kind (qw(exact trip paged))
{
	my $phone = $home{$kind};
	edit_offline('before the change of hands', $phone);
	all_agree($original, "$kind, before", $phone);
	for my $role (qw(bob alice))
	{
		$phone->sql(q{UPDATE offsync_device SET value = ? WHERE name = 'role'}, $role);
		$phone->{role} = $role;
		all_agree($original, "$kind, in the hands of $role", $phone);
		is($phone->value(q{SELECT count(*) FROM task WHERE owner <> ?}, $role), 0, 'and nothing of anybody else\'s is left');
	}
}
all_agree($original, 'in the end', values %home, values %moved);

$_->stop for $original, $new;
done_testing();
