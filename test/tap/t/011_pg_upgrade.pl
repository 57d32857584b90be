# pg_upgrade: another system identifier, the same tables and ids that go on; cursors go on too (P11).  From this
# release to itself, since one server is all that is sure to be there; and to the later one whose installation (with offsync in it)
# OFFSYNC_LATER names: the directory above its bin.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

sub upgrade
{
	my ($to, @installation) = @_;
	my $old = new_node("before $to" =~ s/\W/_/gr);
	create_schema($old, 'postgres');
	$old->safe_psql('postgres', <<'SQL');
INSERT INTO task SELECT 't' || i, CASE i % 3 WHEN 0 THEN 'bob' ELSE 'alice' END, 'first' FROM generate_series(1, 9) i;
INSERT INTO label SELECT i, 'first' FROM generate_series(1, 3) i;
DELETE FROM task WHERE id = 't1';
SQL
	my @devices = (device(), device(form => 'timestamp'), device(role => 'bob'));
	my @asleep = (device(), device(form => 'timestamp'), device(role => 'bob'));
	pull($old, $_) for @devices, @asleep;

	# What nobody has pulled before the upgrade; a rollback, so that the ids have a gap.
	$old->safe_psql('postgres', <<'SQL');
INSERT INTO task VALUES ('late', 'alice', 'before the upgrade');
DELETE FROM task WHERE id = 't2';
UPDATE task SET owner = 'bob' WHERE id = 't4';
BEGIN; DELETE FROM task; ROLLBACK;
SQL
	push_changes($old, $devices[0], { task => { updated => [ { id => 't5', body => 'pushed' } ] } });
	$old->stop;

	my $new = PostgreSQL::Test::Cluster->new("after $to" =~ s/\W/_/gr, @installation);
	{
		# what is installed elsewhere has its extensions at home
		delete local $ENV{TEMP_CONFIG} if @installation;
		$new->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	}
	$new->append_conf('postgresql.conf', "max_prepared_transactions = 10\nautovacuum = off\ntimezone = 'UTC'");
	chdir PostgreSQL::Test::Utils::tempdir();
	my $bin = $new->config_data('--bindir');
	my $old_bin = $old->config_data('--bindir');
	$new->command_ok([ "$bin/pg_upgrade", '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $old_bin, '-B', $bin,
			'-s', $new->host, '-p', $old->port, '-P', $new->port ], "pg_upgrade to $to");
	$new->start;
	is($new->safe_psql('postgres', q{SELECT string_agg(state, ',') FROM offsync.status}), 'ok,ok', 'status says ok');

	for my $device (@devices)
	{
		is(strategy_of(pull($new, $device), 'task'), 'incremental', "$device->{role}, $device->{form}: goes on before the first write");
		holds_the_truth($new, $device, 'and is complete');
	}
	$new->safe_psql('postgres', <<'SQL');
INSERT INTO task VALUES ('new', 'alice', 'after the upgrade');
DELETE FROM task WHERE id = 't5';
UPDATE task SET owner = 'alice' WHERE id = 't6';
UPDATE label SET body = 'after the upgrade' WHERE id = 1;
SQL
	for my $device (@devices, @asleep)
	{
		is(strategy_of(pull($new, $device), 'task'), 'incremental', "$device->{role}, $device->{form}: goes on after it");
		holds_the_truth($new, $device, 'and is complete');
	}
	push_changes($new, $devices[0], { task => { created => [ { id => 'p', owner => 'alice', body => 'pushed' } ] } });
	$new->restart;
	for my $device (@devices, @asleep)
	{
		is(strategy_of(pull($new, $device), 'task'), 'incremental', "$device->{role}, $device->{form}: and after a restart");
		holds_the_truth($new, $device, 'and is complete');
	}

	$new->stop;
	return;
}

upgrade('the same release');
upgrade('a later release', install_path => $ENV{OFFSYNC_LATER}) if $ENV{OFFSYNC_LATER};
done_testing();
