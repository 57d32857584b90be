# README's recipe for pg_cron, run: offsync.prune() by a job, as the role that owns the extension.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $node = new_node('scheduled');
my $there = $node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_cron'});
plan skip_all => 'pg_cron is not installed' unless $there;

$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_cron'
cron.database_name = 'postgres'
cron.use_background_workers = on
CONF
$node->restart;
create_schema($node, 'postgres');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron');
$node->safe_psql('postgres', <<'SQL');
INSERT INTO task SELECT 't' || i, 'alice', 'first' FROM generate_series(1, 9) i;
SQL
my $old = device();
my $new = device();
pull($node, $old);
$node->safe_psql('postgres', q{DELETE FROM task WHERE id IN ('t1', 't2')});
pull($node, $new);
$node->safe_psql('postgres', q{DELETE FROM task WHERE id = 't3'});
my $tombstones = 'SELECT string_agg(id, $$,$$ ORDER BY id) FROM offsync_internal.task_tombstone';
is($node->safe_psql('postgres', $tombstones), 't1,t2,t3', 'there is something to forget');

# As if it had been so for a year
$node->safe_psql('postgres', <<'SQL');
UPDATE offsync_internal.task_tombstone SET offsync_at = offsync_at - interval '1 year' WHERE id <> 't3';
INSERT INTO offsync_internal.timeline SELECT now() - i * interval '120 days', 1 FROM generate_series(1, 3) i;
SQL
is($node->safe_psql('postgres', 'SELECT finding FROM offsync.check()'), 'prune', 'check says that nobody does it');

# The recipe
$node->safe_psql('postgres', q{SELECT cron.schedule('offsync prune', '23 3 * * *', 'SELECT * FROM offsync.prune()')});
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job_run_details'), '0', 'its time has not come');

# Nobody waits for the night: the same job, at the next start of the server
$node->safe_psql('postgres', q{UPDATE cron.job SET schedule = '@reboot' WHERE jobname = 'offsync prune'});
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM cron.job_run_details WHERE status = 'succeeded'}), 'it ran');
is($node->safe_psql('postgres', 'SELECT command FROM cron.job_run_details'), 'SELECT * FROM offsync.prune()', 'as scheduled');
is($node->safe_psql('postgres', $tombstones), 't3', 'what is old is forgotten, and nothing else');
is($node->safe_psql('postgres', 'SELECT count(*) FROM offsync.check()'), '0', 'check is content');
is(strategy_of(pull($node, $new), 'task'), 'incremental', 'who has seen it is told exactly');
holds_the_truth($node, $new, 'and complete');
is(strategy_of(pull($node, $old), 'task'), 'replacement', 'who was away for that long starts anew');
holds_the_truth($node, $old, 'and is complete, too');
done_testing();
