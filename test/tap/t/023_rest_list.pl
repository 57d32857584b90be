# Lists of a REST cache where nobody can say when a transaction began: it is prepared, also over a restart; it runs on another
# server.  The timeline says it then: less is shown, and nothing slips behind.  And after an update from 0.1, whose rows have stamps in
# microseconds, and whose timeline doesn't say it.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $primary = new_node('primary', allows_streaming => 1);
$primary->safe_psql('postgres', <<'SQL');
CREATE EXTENSION offsync VERSION '0.1';
CREATE TABLE task (id text PRIMARY KEY);
SELECT FROM offsync.enable('task');
INSERT INTO task VALUES ('old');
ALTER TABLE task DISABLE TRIGGER zzzz_offsync_stamp;
UPDATE task SET server_updated_at = date_trunc('milliseconds', server_updated_at) - interval '1 hour' + interval '123 us';
ALTER TABLE task ENABLE ALWAYS TRIGGER zzzz_offsync_stamp;
ALTER EXTENSION offsync UPDATE;
SQL

# What a client holds, and where it stands; each sync is one page after the other.
my @devices;

sub client { push @devices, { since => '1970-01-01T00:00:00.000Z', after => '', held => {} }; return $devices[-1]; }

sub sync
{
	my ($node, $device) = @_;
	while (1)
	{
		my @items = split /\n/, $node->safe_psql('postgres', <<"SQL");
BEGIN TRANSACTION READ ONLY;
SELECT i ->> 'id', i ->> 'updated_at' FROM json_array_elements(offsync.rest_list('task', '$device->{since}', 2, true, NULL, '$device->{after}') -> 'items') i;
COMMIT;
SQL
		for (@items)
		{
			($device->{after}, $device->{since}) = split /\|/;
			$device->{held}{ $device->{after} } = 1;
		}
		last if @items < 2;
	}
	return join ' ', sort keys %{ $device->{held} };
}

# Each by a backend of its own, which notes the time.
sub add { $primary->safe_psql('postgres', "INSERT INTO task VALUES ('$_'); DO 'BEGIN PERFORM pg_sleep(0.002); END'") for @_; return; }

my $device = client();
is(sync($primary, $device), 'old', 'what 0.1 has stamped');
add('a', 'b', 'c');
is(sync($primary, $device), 'a b c old', 'and what is stamped now');

# 1. Prepared.

add('d', 'e', 'f');
$primary->safe_psql('postgres', q{BEGIN; INSERT INTO task VALUES ('p'); PREPARE TRANSACTION 'p'});
add('x', 'y', 'z');
like(sync($primary, $device), qr/^a b c d e (f )?old$/, 'what was written before the prepared one is shown, as far as that is known');
$primary->stop('immediate');
$primary->start;
unlike(sync($primary, $device), qr/[xyz]/, 'what was written behind it is not, also after a crash');
like(sync($primary, client()), qr/^a b c d e/, 'and to others');
$primary->safe_psql('postgres', q{COMMIT PREPARED 'p'});
is(sync($primary, $device), 'a b c d e f old p x y z', 'till it has ended');

# 2. On a standby.

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
my $other = client();
like(sync($standby, $other), qr/^a b c d e f old p x( y)?( z)?$/, 'a standby shows what was noted');
$primary->safe_psql('postgres', q{BEGIN; INSERT INTO task VALUES ('q'); PREPARE TRANSACTION 'q'});
add('r', 's', 't');
replayed($standby, $primary);
unlike(sync($standby, $other), qr/[rst]/, 'and nothing behind a transaction that is still at work');
$primary->safe_psql('postgres', q{COMMIT PREPARED 'q'});
add('u', 'v', 'w');
replayed($standby, $primary);
like(sync($standby, $other), qr/^a b c d e f old p q r s t u/, 'once it has ended, all of it');
is(sync($primary, $_), join(' ', 'a' .. 'f', 'old', 'p' .. 'z'), 'and the primary the rest') for @devices;

# 3. Promoted: the ids go on under another base.

$primary->safe_psql('postgres', q{BEGIN; INSERT INTO task VALUES ('k'); PREPARE TRANSACTION 'k'});
replayed($standby, $primary);
$primary->stop;
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die;
$standby->safe_psql('postgres', q{INSERT INTO task VALUES ('l')});
unlike(sync($standby, $other), qr/\b[kl]\b/, 'a transaction that was prepared before the promotion holds back');
$standby->safe_psql('postgres', q{COMMIT PREPARED 'k'; DO 'BEGIN PERFORM pg_sleep(0.002); END'});
is(sync($standby, $_), join(' ', 'a' .. 'f', 'k', 'l', 'old', 'p' .. 'z'), 'till it has ended') for @devices;

done_testing();
