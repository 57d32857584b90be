# What the server log tells of pushes: collection and SQLSTATE of refused records where offsync.log_rejections is on, and
# never a value, an id, or a row of anybody's.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

# statements carry what was pushed: they are the session's own matter
my $node = new_node('node', conf => <<CONF);
log_min_error_statement = panic
log_min_messages = debug1
log_error_verbosity = verbose
CONF
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION offsync;
CREATE TABLE shelf (id text PRIMARY KEY, title text);
CREATE TABLE book (id text PRIMARY KEY, owner text NOT NULL DEFAULT current_user, title text UNIQUE, n int CHECK (n < 100), day date,
	j jsonb, shelf text REFERENCES shelf DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE book ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON book USING (owner = current_user);
GRANT SELECT, INSERT, UPDATE, DELETE ON book, shelf TO alice;
CREATE TABLE pair (a text, b int, n int, PRIMARY KEY (a, b));
GRANT ALL ON pair TO alice;
SELECT offsync.enable('pair');
SELECT offsync.enable('shelf');
SELECT offsync.enable('book');
INSERT INTO book (id, owner, title) VALUES ('secret1', 'alice', 'secret'), ('secret2', 'bob', 'secret of bob'), ('secret3', 'alice', 'secret3');
INSERT INTO shelf VALUES ('secret-s', 'secret');
INSERT INTO book (id, owner, shelf) VALUES ('secret4', 'bob', 'secret-s');
SQL
my $since = $node->safe_psql('postgres', q{SET ROLE alice; SELECT offsync.pull_changes() ->> 'cursor'});
$node->safe_psql('postgres', q{UPDATE book SET title = 'secret, newer' WHERE id = 'secret1'});

# What is refused and why; each record is one push.
my @bad = (
	[ 'PT409', 'a conflict', book => { updated => [ { id => 'secret1', title => 'secret mine' } ] } ],
	[ 'PT409', 'a conflict of a deletion', book => { deleted => ['secret1'] } ],
	[ '42501', 'a row of somebody else', book => { updated => [ { id => 'secret2', title => 'secret mine' } ] } ],
	[ '42501', 'a row for somebody else', book => { created => [ { id => 'secret5', owner => 'secret bob' } ] } ],
	[ '23514', 'a constraint', book => { created => [ { id => 'secret5', n => 4711000, title => 'secret' } ] } ],
	[ '23505', 'a value that is taken', book => { created => [ { id => 'secret5', title => 'secret3' } ] } ],
	[ '23503', 'a reference to nothing', book => { created => [ { id => 'secret5', shelf => 'secret nowhere' } ] } ],
	[ '23503', 'a row that is referred to', shelf => { deleted => ['secret-s'] } ],
	[ '22P02', 'a value that is none', book => { created => [ { id => 'secret5', n => 'secret' } ] } ],
	[ '22003', 'a value that is too large', book => { created => [ { id => 'secret5', n => 47110000000 } ] } ],
	[ '22007', 'a day that is none', book => { created => [ { id => 'secret5', day => 'secret' } ] } ],
	[ 'PT400', 'an id that is written otherwise', pair => { updated => [ { id => 'secret%.4711', n => 1 } ] } ],
	[ 'PT400', 'a record without an id', book => { created => [ { id => 'secret5', title => 'secret' }, { title => 'secret' } ] } ]);

sub told_of
{
	my ($from) = @_;
	my $log = substr(PostgreSQL::Test::Utils::slurp_file($node->logfile), $from);
	return $log;
}

for my $on_error ('abort', 'skip')
{
	for my $case (@bad)
	{
		my ($state, $what, $collection, $lists) = @$case;
		my $from = -s $node->logfile;
		my $call = "SET ROLE alice; SELECT offsync.push_changes('" . $json->encode({ $collection => $lists })
		  . "', '$since', on_error => '$on_error')";
		if ($on_error eq 'abort')
		{
			is(sqlstate($node, 'postgres', $call), $state, "$what fails the push");
			like(told_of($from), $state =~ /^22/ ? qr/LOG:  00000: push failed with SQLSTATE $state\n/ : qr/ERROR:  $state: /, '... and the log');
		}
		else
		{
			like($node->safe_psql('postgres', $call), qr/"code":"$state"/, "$what is skipped");
			unlike(told_of($from), qr/push refused a record/, '... and nothing is told of it');
			$from = -s $node->logfile;
			$node->safe_psql('postgres', "SET offsync.log_rejections = on; $call");
			my @told = told_of($from) =~ /LOG:  \w+: (push refused a record .*)/g;
			is_deeply(\@told, [qq(push refused a record of collection "$collection" with SQLSTATE $state)],
				'... but where that is wished');
		}
		unlike(told_of($from), qr/secret|4711/, '... without a value or an id');
	}
}

# Messages: refused beside others, and with all of an INSERT.
$node->safe_psql('postgres', q{CREATE TABLE note (id text PRIMARY KEY, n int); GRANT ALL ON note TO alice;
	SELECT offsync.enable('note', conflict => 'field_lww'); SELECT offsync.expose('public', 'messages')});
my %message = (id => 'secret m', table_name => 'note', row => 'secret5', column => 'n', data_type => 'int', value => 'secret',
	local_timestamp => '000000000000001:00000:secret', user_id => '', client_id => 'secret');
my $before = -s $node->logfile;
like($node->safe_psql('postgres', "SET ROLE alice; SELECT push_messages('" . $json->encode([ \%message ]) . "')"), qr/"code":"22P02"/, 'a message is refused');
is(told_of($before), '', '... and nothing is told of it');
is(sqlstate($node, 'postgres', 'SET ROLE alice; INSERT INTO messages (' . join(', ', map { qq("$_") } sort keys %message) . ') VALUES ('
	. join(', ', map { "'$message{$_}'" } sort keys %message) . ')'), '22P02', 'so is an INSERT');
like(told_of($before), qr/LOG:  00000: push failed with SQLSTATE 22P02\n/, '... of which the log knows');
unlike(told_of($before), qr/secret/, '... without a value or an id');

# Whoever pushes may not have its own refusals hidden or shown.
is(sqlstate($node, 'postgres', q{SET ROLE alice; SELECT offsync.push_changes('{}'); SET offsync.log_rejections = on}), '42501',
	'the setting is the administrator\'s');
$node->safe_psql('postgres', q{SET ROLE alice; SELECT offsync.push_changes('{"book": {"created": [{"id": "b", "title": "t"}]}}', push_id => 'p', client_id => 'secret phone')});
unlike(told_of(0) =~ s/.*database system is ready[^\n]*\n//sr, qr/secret phone/, 'nor does the log know the device');
done_testing();
