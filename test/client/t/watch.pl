# offsync-client watch: a device that is told of changes has them without being asked to sync.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Client;
use File::Temp;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

my $s = server();
$s->do($_) for
	'CREATE TABLE app.member (who text, team text, PRIMARY KEY (who, team))',
	'CREATE TABLE app.note (id text PRIMARY KEY, team text NOT NULL, title text)',
	'CREATE TABLE app.other (id text PRIMARY KEY)',
	'ALTER TABLE app.note ENABLE ROW LEVEL SECURITY',
	'CREATE POLICY team ON app.note USING (team IN (SELECT m.team FROM app.member m WHERE m.who = app.me()))',
	"GRANT SELECT ON app.member TO $Client::role",
	"GRANT SELECT, INSERT, UPDATE, DELETE ON app.note, app.other TO $Client::role",
	q{SELECT offsync.enable('app.note', notify => true)},
	q{SELECT offsync.enable('app.other', notify => true)},
	q{INSERT INTO app.member VALUES ('alice', 'red')},
	q{INSERT INTO app.note VALUES ('n1', 'red', 'one'), ('n2', 'blue', 'two')};

my $query = q{SELECT json_build_object('id', id, 'team', team, 'title', title) FROM app.note};
my $db = $s->selectrow_array('SELECT current_database()');
my $dir = File::Temp->newdir;
my %watches;

# True once the condition holds; false when it doesn't within a time that no machine needs
sub until_true {
	my ($condition) = @_;
	my $end = time + 60;
	while (!$condition->()) {
		return 0 if time > $end;
		sleep 0.02;
	}
	return 1;
}

# Start a device's watch; what it says comes into a file
sub watch {
	my ($device, @options) = @_;
	my $log = "$dir/$device->{name}";
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		open STDOUT, '>', $log or POSIX::_exit(126);
		open STDERR, '>&', \*STDOUT;
		exec $Client::client, 'watch', $device->{file}, @options or POSIX::_exit(127);
	}
	$watches{$pid} = $device;
	@$device{qw(pid log)} = ($pid, $log);
	return;
}

sub said {
	my ($device) = @_;
	open my $log, '<', $device->{log} or return '';
	local $/ = undef;
	return <$log> // '';
}

# Its syncs for a reason, so far
sub syncs { my ($device, $why) = @_; my @all = said($device) =~ /^sync: $why$/mg; return scalar @all }

# End a watch: its exit status
sub finish {
	my ($device, $signal) = @_;
	kill $signal, $device->{pid};
	waitpid $device->{pid}, 0;
	delete $watches{ $device->{pid} };
	return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

# What the test leaves behind when it fails in the middle
END {
	my $status = $?;
	kill 'KILL', keys %watches if $$ == $Client::owner;
	$? = $status;
}

sub holds { my ($device, $title) = @_;
	return $device->value('SELECT count(*) FROM note WHERE title = ?', $title) }

# Those who listen on the database of this test
sub listeners {
	return $s->selectcol_arrayref(q{SELECT pid FROM pg_stat_activity WHERE datname = current_database()
		AND pid <> pg_backend_pid() AND query LIKE '%sha256%' AND state = 'idle'});
}

# The interval is beyond what this test lasts, so that whatever comes was told
my $phone = device('phone', 'alice', '--collections', 'note');
my $laptop = device('laptop', 'alice');
watch($_, '--every', 3600) for $phone, $laptop;
ok(until_true(sub { holds($phone, 'one') && holds($laptop, 'one') }), 'a watch begins with a sync');
agree('and holds what its user sees', 'note', $query, $phone, $laptop);

$s->do(q{INSERT INTO app.note VALUES ('n3', 'red', 'three')});
ok(until_true(sub { holds($phone, 'three') && holds($laptop, 'three') }), 'a row written by SQL comes');
$s->do(q{DELETE FROM app.note WHERE id = 'n3'});
ok(until_true(sub { !holds($phone, 'three') && !holds($laptop, 'three') }), 'a deleted one goes');
$s->do(q{INSERT INTO app.member VALUES ('alice', 'blue')});
ok(until_true(sub { holds($phone, 'two') && holds($laptop, 'two') }), 'a membership gained brings its rows');

# What commits while the first sync is at work, behind its snapshot
my $tablet = device('tablet', 'alice');
my $busy = Client::attach($db);
$busy->begin_work;
$busy->do('LOCK TABLE app.note IN ACCESS EXCLUSIVE MODE');
$busy->do(q{INSERT INTO app.note VALUES ('n0', 'red', 'zero')});
watch($tablet, '--every', 3600);
ok(until_true(sub { ($s->selectrow_array('SELECT count(*) FROM pg_locks WHERE NOT granted'))[0] }), 'a first sync waits');
$busy->commit;
$busy->disconnect;
ok(until_true(sub { holds($_, 'zero') }), "what it could not see comes all the same: $_->{name}") for $phone, $laptop, $tablet;

# A push by somebody else; its own device isn't told
$phone->sql(q{UPDATE note SET title = 'from the phone' WHERE id = 'n1'});
$phone->sync;
ok(until_true(sub { holds($laptop, 'from the phone') && holds($tablet, 'from the phone') }), 'a push reaches the others');

# Notices come in the order of their transactions: when the phone has the second, it passed over the first
my $before = syncs($phone, 'notice');
$phone->sql(q{UPDATE note SET title = 'again' WHERE id = 'n1'});
$phone->sync;
$s->do(q{INSERT INTO app.other VALUES ('o1')});
ok(until_true(sub { $laptop->value('SELECT count(*) FROM other') == 1 && holds($laptop, 'again') }), 'the laptop has it');
$s->do(q{INSERT INTO app.note VALUES ('n4', 'red', 'four')});
ok(until_true(sub { holds($phone, 'four') }), 'the phone has what came behind');
is(syncs($phone, 'notice'), $before + 1, 'it passed over its own push, and over a collection that it has not got');
like(said($phone), qr/^sync: listening$/m, 'says why it syncs');

# Whatever is sent on the channel does no harm
$s->do(q{NOTIFY offsync, 'no JSON'});
$s->do(q{NOTIFY offsync, '{"collection": 1, "client": []}'});
$s->do(q{NOTIFY offsync});
$s->do(q{INSERT INTO app.note VALUES ('n5', 'red', 'five')});
ok(until_true(sub { holds($_, 'five') }), "odd notices: $_->{name}") for $phone, $laptop;

# The connections go, and come again when it was told to nobody
my $admin = Client::attach();
$admin->do("ALTER DATABASE $db ALLOW_CONNECTIONS false");
is($s->selectrow_array('SELECT count(pg_terminate_backend(pid)) FROM unnest(?::int[]) pid', undef, listeners()), 3,
	'three of them listened');
ok(until_true(sub { !@{ listeners() } }), 'nobody listens');
$s->do(q{INSERT INTO app.note VALUES ('n6', 'red', 'six')});
$admin->do("ALTER DATABASE $db ALLOW_CONNECTIONS true");
$admin->disconnect;
ok(until_true(sub { holds($_, 'six') && syncs($_, 'listening') == 2 }), "after a reconnect: $_->{name}") for $phone, $laptop, $tablet;
agree('all hold what their user sees', 'note', $query, $phone, $laptop, $tablet);

is(finish($phone, 'TERM'), 0, 'SIGTERM ends it');
is(finish($laptop, 'INT'), 0, 'so does SIGINT');
is($phone->client('status', $phone->{file}), 0, 'the device is sound');

# Without notices it comes by itself
$s->do(q{SELECT offsync.disable('app.note')});
$s->do(q{SELECT offsync.enable('app.note')});
is(finish($tablet, 'TERM'), 0, 'the third one ends, too');
watch($phone, '--every', 1);
ok(until_true(sub { syncs($phone, 'interval') >= 1 }), 'it syncs every so often in any case');
$s->do(q{INSERT INTO app.note VALUES ('n7', 'red', 'seven')});
ok(until_true(sub { holds($phone, 'seven') }), 'and gets what nobody was told of');
$phone->sql(q{UPDATE note SET title = 'seven and a half' WHERE id = 'n7'});
ok(until_true(sub { ($s->selectrow_array(q{SELECT title FROM app.note WHERE id = 'n7'}))[0] eq 'seven and a half' }),
	'and sends what was edited');
is(finish($phone, 'TERM'), 0, 'SIGTERM ends it');

# Ends also where there is no server to reach
$phone->sql(q{UPDATE offsync_device SET value = 'host=/nowhere' WHERE name = 'conninfo'});
watch($phone, '--every', 1);
ok(until_true(sub { said($phone) =~ /listening: .*nowhere/s && syncs($phone, 'interval') >= 2 }), 'no server: it goes on trying');
is(finish($phone, 'TERM'), 0, 'and ends when it shall');

is($phone->client('watch', $phone->{file}, '--every', '0'), 2, 'an interval of nothing is refused');
is($phone->client('watch', "$dir/none"), 2, 'as is a device that is none');

done_testing();
