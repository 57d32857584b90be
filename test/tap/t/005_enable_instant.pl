# Enabling a big table rewrites nothing, scans nothing and builds no index (P11); nor does disabling it, which
# leaves nothing behind.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $node = new_node('instant');
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION offsync;
CREATE TABLE big (id int PRIMARY KEY, owner text NOT NULL, body text);
CREATE TABLE small (LIKE big INCLUDING ALL);
INSERT INTO big SELECT i, CASE i % 1000 WHEN 0 THEN 'alice' ELSE 'bob' END, 'b' || i FROM generate_series(1, 1000000) i;
INSERT INTO small SELECT * FROM big LIMIT 10;
ALTER TABLE big ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON big USING (owner = current_user);
CREATE TABLE parted (id int PRIMARY KEY, body text) PARTITION BY HASH (id);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT i, 'p' FROM generate_series(1, 10000) i;
GRANT ALL ON big, parted TO alice;
VACUUM ANALYZE;
SQL

# Everything that a rewrite, a scan or a new index would change: files, sizes, counters.
sub storage
{
	return $node->safe_psql('postgres', <<'SQL');
SELECT c.relname, c.relfilenode, pg_relation_size(c.oid), c.relpages, c.relallvisible, c.reltoastrelid
FROM pg_class c WHERE relnamespace = 'public'::regnamespace ORDER BY 1;
SQL
}

sub counters
{
	return $node->safe_psql('postgres', <<'SQL');
SELECT relname, seq_scan, seq_tup_read, idx_scan, n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del
FROM pg_stat_user_tables WHERE schemaname = 'public' ORDER BY 1;
SELECT relname, heap_blks_read + heap_blks_hit FROM pg_statio_user_tables WHERE schemaname = 'public' ORDER BY 1;
SQL
}

# What of the schema a dump tells.
sub definition
{
	my ($out, $err);
	IPC::Run::run([ 'pg_dump', '-s', '-n', 'public', '-d', $node->connstr('postgres') ], '>', \$out, '2>', \$err)
	  or die "pg_dump: $err";
	# recent ones fence the script with a random word
	return $out =~ s/^\\(un)?restrict .*$//gmr;
}

my $definition = definition();
my $storage = storage();
my $counters = counters();

# A table that enabling reads would be read here; the counters are those of sessions that have ended.
for my $table (qw(big parted))
{
	is($node->safe_psql('postgres', "SELECT count(*) FROM offsync.enable('$table') WHERE action = 'column'"),
		'4', "$table: four columns added");
}
is(storage(), $storage, 'no file is another, none has grown, none is new');
is(counters(), $counters, 'nothing was scanned and no row was written');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_attribute WHERE attrelid = 'big'::regclass AND atthasmissing}),
	'4', 'the constant defaults stand in the catalog alone');

# The same WAL for a million rows as for ten, give or take what the catalogs cost.
my $wal_of = sub {
	my ($table) = @_;
	return $node->safe_psql('postgres', <<SQL) =~ s/\A.*\n(?=\d+\z)//sr;
BEGIN;
SELECT set_config('test.lsn', pg_current_wal_insert_lsn()::text, true);
SELECT count(*) FROM offsync.enable('$table');
SELECT (pg_current_wal_insert_lsn() - current_setting('test.lsn')::pg_lsn)::int;
ROLLBACK;
SQL
};
$node->safe_psql('postgres', q{SELECT offsync.disable('big')});
$node->safe_psql('postgres', 'CHECKPOINT');
$wal_of->($_) for qw(small big);	# so that the pages of the catalogs stand in the log in full
my ($small, $big) = map { $wal_of->($_) } qw(small big);
cmp_ok($big, '<', 2 * $small + 20000, "enabling writes as little for a million rows as for ten ($big and $small bytes)");

$node->safe_psql('postgres', q{SELECT offsync.enable('big')});
my $device = device(tables => { big => 'big', parted => 'parted' });
pull($node, $device);
is(scalar(keys %{ $device->{rows}{big} }), 1000, 'all rows from before are there');
holds_the_truth($node, $device, 'the device holds what its role sees');
$node->safe_psql('postgres', q{UPDATE big SET body = 'new' WHERE id = 5000; DELETE FROM big WHERE id = 6000; INSERT INTO big VALUES (0, 'alice', 'new')});
my $delta = pull($node, $device)->{changes}{big};
is_deeply([ map { scalar @{ $delta->{$_} } } qw(created updated deleted) ], [ 0, 2, 1 ], 'and gets the changes alone');
holds_the_truth($node, $device, 'the device still holds what its role sees');

# Disable.

my $files = storage();
$node->safe_psql('postgres', q{SELECT offsync.disable('big'); SELECT offsync.disable('parted')});
is(storage(), $files, 'disabling rewrites nothing either');
is(definition(), $definition, 'and leaves the definitions as they were');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
	WHERE nspname = 'offsync_internal' AND relkind = 'r' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND deptype = 'e')}),
	'0', 'no tombstone table is left');
is($node->safe_psql('postgres', 'SELECT count(*) FROM offsync_internal.synced_table'), '0', 'nor a row in the catalog');

# A table that somebody is using isn't queued for.

my $user = $node->background_psql('postgres');
$user->query_safe('BEGIN; SELECT count(*) FROM big WHERE id = 1');
is(sqlstate($node, 'postgres', q{SELECT offsync.enable('big')}), '55P03', 'enable gives up rather than queue behind a reader');
$user->query_safe('COMMIT');
$user->quit;
is(definition(), $definition, 'and has left nothing half done');

$node->stop;
done_testing();
