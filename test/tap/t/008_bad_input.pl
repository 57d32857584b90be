# Malformed input: each kind gets its SQLSTATE, the server stays up, nothing is half written.

use strict;
use warnings;

use OffsyncTest;
use Test::More;

my $node = new_node('input', conf => 'max_stack_depth = 2MB');
create_schema($node, 'postgres');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE typed (id uuid PRIMARY KEY, n int, big bigint, num numeric, b bytea, j json, ts timestamptz,
	a int[], r int4range, e bool NOT NULL DEFAULT true);
CREATE TABLE "odd; DROP TABLE task; --" (id text PRIMARY KEY, "quo""te'; --" text);
CREATE TABLE plain (id int PRIMARY KEY);
CREATE TABLE pair (k1 text, k2 int, body text, PRIMARY KEY (k1, k2));
GRANT ALL ON typed, "odd; DROP TABLE task; --", pair TO alice;
SET client_min_messages = warning;
SELECT offsync.enable('typed'), offsync.enable('"odd; DROP TABLE task; --"', collection => 'odd'), offsync.enable('pair');
INSERT INTO task VALUES ('t1', 'alice', 'first'), ('t2', 'bob', 'first');
SQL
my $device = device();
pull($node, $device);
holds_the_truth($node, $device, 'before');

my $backend = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $content = content();

sub content
{
	return $node->safe_psql('postgres', <<'SQL');
SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM task t;
SELECT count(*) FROM typed; SELECT count(*) FROM "odd; DROP TABLE task; --"; SELECT count(*) FROM pair; SELECT count(*) FROM label;
SELECT count(*) FROM offsync_internal.task_tombstone;
SQL
}

sub literal { return OffsyncTest::literal(@_) }

sub refused
{
	my ($sql, $expected, $name, %psql) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return like(sqlstate($node, 'postgres', "SET ROLE alice;\n$sql", %psql), qr/^(?:$expected)$/, $name);
}

sub push_refused
{
	my ($changes, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return refused('SELECT offsync.push_changes(' . literal($changes) . ')', $expected, "push: $name");
}

# 1. Documents that are none.

my $good = '{"id": "half", "owner": "alice", "body": "half written"}';
push_refused($_->[0], $_->[1], $_->[2]) for (
	[ '', '22P02', 'nothing at all' ],
	[ '{', '22P02', 'an open brace' ],
	[ '{"task": {"created": [' . $good . ']}', '22P02', 'a document that ends too early' ],
	[ 'null', 'PT400', 'null' ],
	[ '1', 'PT400', 'a number' ],
	[ '"task"', 'PT400', 'a string' ],
	[ '[]', 'PT400', 'a list' ],
	[ '{"task": null}', 'PT400', 'a collection that is null' ],
	[ '{"task": []}', 'PT400', 'a collection that is a list' ],
	[ '{"task": 7}', 'PT400', 'a collection that is a number' ],
	[ qq({"task": {"created": $good}}), 'PT400', 'created is an object' ],
	[ '{"task": {"created": "x"}}', 'PT400', 'created is a string' ],
	[ qq({"task": {"created": [$good, null]}}), 'PT400', 'a record that is null' ],
	[ qq({"task": {"created": [$good, 7]}}), 'PT400', 'a record that is a number' ],
	[ qq({"task": {"created": [$good, []]}}), 'PT400', 'a record that is a list' ],
	[ qq({"task": {"created": [$good, {"owner": "alice"}]}}), 'PT400', 'a record without an id' ],
	[ qq({"task": {"created": [$good, {"id": null, "owner": "alice"}]}}), 'PT400', 'an id that is null' ],
	[ qq({"task": {"created": [$good, {"id": [], "owner": "alice"}]}}), 'PT400', 'an id that is a list' ],
	[ qq({"task": {"created": [$good, {"id": {}, "owner": "alice"}]}}), 'PT400', 'an id that is an object' ],
	[ qq({"task": {"created": [$good], "deleted": [null]}}), 'PT400', 'a deleted id that is null' ],
	[ qq({"task": {"created": [$good], "deleted": [{}]}}), 'PT400', 'a deleted object without an id' ],
	[ qq({"task": {"created": [$good], "deleted": [[]]}}), 'PT400', 'a deleted id that is a list' ],
	[ qq({"task": {"created": [$good], "deleted": {"id": "t1"}}}), 'PT400', 'deleted is an object' ],
	[ qq({"task": {"created": [$good], "inserted": []}}), 'PT400', 'an unknown list' ],
	[ qq({"task": {"created": [$good]}, "nothing": {"created": [], "updated": [], "deleted": []}}), 'PT404', 'an unknown collection' ],
	[ qq({"task": {"created": [$good]}, "task'; DROP TABLE task; --": {}}), 'PT404', 'a collection that is SQL' ],
	[ qq({"task": {"created": [$good]}, "": {}}), 'PT404', 'a collection without a name' ],
	[ qq({"task": {"created": [$good]}, "offsync_internal.secret": {}}), 'PT404', 'a collection that is ours' ],
	[ qq({"task": {"created": [$good]}, "pg_catalog.pg_authid": {}}), 'PT404', 'a collection that is PostgreSQL\'s' ]);

# 2. Values that don't fit.

my $uuid = '00000000-0000-4000-8000-000000000001';
push_refused(qq({"task": {"created": [$good]}, "typed": {"created": [{"id": "$uuid", $_->[0]}]}}), $_->[1], $_->[2]) for (
	[ '"n": "x"', '22P02', 'text for an int' ],
	[ '"n": 1e99', '22003|22P02', 'an int out of range' ],
	[ '"n": {"a": 1}', '22P02|PT400', 'an object for an int' ],
	[ '"n": [1]', '22P02|PT400', 'a list for an int' ],
	[ '"big": 9223372036854775808', '22003', 'a bigint out of range' ],
	[ '"num": "NaNa"', '22P02', 'no numeric' ],
	[ '"b": "*not base64*"', '22023|22P02', 'no base64' ],
	[ '"j": "{"', '22P02', 'JSON text that is none' ],
	[ '"ts": "yesterday-ish"', '22007', 'no timestamp' ],
	[ '"ts": 1e300', '22008|22P02|22003', 'a timestamp out of range' ],
	[ '"a": "{1,"', '22P02', 'an array that is none' ],
	[ '"r": "[5,1]"', '22000', 'a range upside down' ],
	[ '"e": "perhaps"', '22P02', 'no boolean' ]);
push_refused(qq({"task": {"created": [$good]}, "typed": {"created": [{"id": "no uuid"}]}}), '22P02|PT400', 'an id that is no uuid');
push_refused(qq({"task": {"created": [$good]}, "pair": {"created": [{"id": "$_", "body": "x"}]}}), 'PT400|22P02', "the id $_ of a pair")
  for 'a', 'a.', 'a.b.c', '%.%', "a'; --";
push_refused(qq({"task": {"created": [$good, {"id": "t9"}]}}), '23502', 'a record without an owner');

# 3. Characters.

push_refused(qq({"task": {"created": [$good, {"id": "x", "owner": "alice", "body": "a\\u0000b"}]}}), '22P05', '\u0000 in a text');
push_refused(qq({"task": {"created": [$good, {"id": "a\\u0000b", "owner": "alice"}]}}), '22P05', '\u0000 in an id');
push_refused(qq({"task": {"created": [$good], "deleted": ["a\\u0000b"]}}), '22P05', '\u0000 in a deleted id');
push_refused(qq({"task": {"created": [$good, {"id": "y", "owner": "alice", "a\\u0000b": 1}]}}), '22P05', '\u0000 in a column\'s name');
push_refused(qq({"ta\\u0000sk": {"created": [$good]}}), '22P05|PT404', '\u0000 in a collection\'s name');
push_refused(qq({"task": {"created": [$good, {"id": "x", "owner": "alice", "body": "\\ud800"}]}}), '22P02|22P05', 'half a surrogate pair');
push_refused(qq({"task": {"created": [$good, {"id": "x", "owner": "alice", "body": "\\udc00\\ud800"}]}}), '22P02|22P05', 'a pair the wrong way round');
push_refused(qq({"task": {"created": [$good, {"id": "x", "owner": "alice", "body": "\\x"}]}}), '22P02', 'an unknown escape');
push_refused(qq({"task": {"created": [$good, {"id": "x", "owner": "alice", "body": "\t"}]}}), '22P02', 'a bare tab');
for my $bytes ("\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82")
{
	my $hex = unpack 'H*', $bytes;
	refused("SET client_encoding = SQL_ASCII;\nSELECT offsync.push_changes('{\"task\": {\"created\": [{\"id\": \"x$bytes\", \"owner\": \"alice\"}]}}')",
		'22021', "push: the bytes $hex");
	refused("SET client_encoding = SQL_ASCII;\nSELECT offsync.pull_changes('$bytes')", '22021', "pull: the bytes $hex");
}

# 4. Too much of it.

push_refused('[' x 10000, 'PT400|22P02|54001', '10,000 open lists');
push_refused('{"task":' x 10000 . '1' . '}' x 10000, 'PT400|54001', 'objects 10,000 deep');
push_refused(qq({"typed": {"created": [{"id": "$uuid", "j": ) . '[' x 200000 . ']' x 200000 . '}]}}', '54001', 'a value 200,000 deep');
push_refused(qq({"task": {"created": [$good, {"id": ") . 'i' x 10_000_000 . '", "owner": "alice"}]}}', '54000|PT400|PT413', 'an id of 10 MB');
push_refused('{"' . 'c' x 10_000_000 . '": {}}', 'PT404', 'a collection\'s name of 10 MB');
refused('SELECT offsync.pull_changes(' . literal('o' . 'A' x 10_000_000) . ')', 'PT400', 'pull: a cursor of 10 MB');
refused('SELECT offsync.pull_changes(' . literal('9' x 10_000_000) . ')', 'PT400', 'pull: a number of 10 MB');
refused('SELECT offsync.pull_changes(' . literal('2024-01-01T00:00:00.' . '0' x 10_000_000) . ')', 'PT400', 'pull: a timestamp of 10 MB');
refused('SELECT offsync.pull_changes(collections => ARRAY[repeat(\'c\', 10000000)])', 'PT404', 'pull: a collection\'s name of 10 MB');
refused(q{SELECT offsync.pull_changes(collections => ARRAY(SELECT 'c' || i FROM generate_series(1, 10000) i))}, 'PT404', 'pull: 10,000 collections');

is(content(), $content, 'nothing was half written');

# What is deep and yet well formed is kept as it came.
my $deep = '[' x 10000 . ']' x 10000;
is(sqlstate($node, 'postgres', qq(SET ROLE alice; SELECT offsync.push_changes('{"task": {"created": [{"id": "deep", "owner": "alice", "body": $deep}]},
	"typed": {"created": [{"id": "$uuid", "j": $deep}]}}'))), '00000', 'push: a value 10,000 deep');
pull($node, $device);
holds_the_truth($node, $device, 'comes back');
$content = content();

# 5. Arguments of a pull.

refused("SELECT offsync.pull_changes($_->[0])", $_->[1], "pull: $_->[0]") for (
	(map { [ literal($_), 'PT400' ] } 'x', '-1', '+1', ' 1', '1 ', '1.5', '1e3', '0x10', 'NaN', 'Infinity', 'null', 'o', 'oo', 'o=', '{}',
		'9007199254740992', '99999999999999999999', '2024-13-01', '2024-02-30T00:00:00Z', '2024-01-01T25:00:00Z', '2024-', '1-2-3-4',
		'2024-01-01T00:00:00Z; DROP TABLE task', '0001-01-01 BC-', '2024-01-01T00:00:00 Nowhere/Land', '01-02-2024', '2024-01-01 ', '2024-1-1',
		'2024-01-01T10:00:00+99:00', 'now', 'infinity'),
	[ "collections => '{task,task}'", 'PT400' ],
	[ "collections => '{task,public.task}'", 'PT400' ],
	[ "collections => '{NULL}'", 'PT400' ],
	[ "collections => '{nothing}'", 'PT404' ],
	[ "collections => '{\"task\\\"; DROP TABLE task; --\"}'", 'PT404' ],
	[ "collections => '{TASK}'", 'PT404' ],
	[ "collections => '{offsync_internal.secret}'", 'PT404' ],
	[ "dialect => 'xml'", '22023|PT400' ],
	[ "migration => '{\"from\": \"1\"}'", 'PT400' ],
	[ "migration => '{\"tables\": [\"offsync_internal.secret\"]}'", 'PT404' ],
	[ "migration => '{\"columns\": [{\"table\": \"task\", \"columns\": [\"server_created_version\"]}]}'", 'PT404' ]);
is(sqlstate($node, 'postgres', "SELECT offsync.pull_changes($_)"), '00000', "pull: $_ is taken")
  for q{''}, q{'0'}, 'NULL', q{'1'}, q{'9007199254740991'}, q{'2024-01-01'}, q{'2024-01-01T10:00:00.123456Z'}, q{'2024-01-01 10:00:00+05:30'}, q{collections => '{}'}, q{collections => '{public.task}'}, q{client_id => ''';--'}, 'schema_version => -1';
is(sqlstate($node, 'postgres', q{SELECT offsync.push_changes(NULL)}) =~ /^(PT400|22004|00000)$/ ? 1 : 0, 1, 'push: NULL');
refused("SELECT offsync.push_changes('{}', $_->[0])", $_->[1], "push: $_->[0]") for (
	[ q{'x'}, 'PT400' ], [ q{on_error => 'shrug'}, 'PT400|22023|0A000' ], [ q{dialect => 'xml'}, 'PT400|22023' ]);

# An error leaves no setting behind.
my ($status, $out) = $node->psql('postgres', <<'SQL', on_error_stop => 0);
SET timezone = 'Asia/Tokyo';
SELECT offsync.pull_changes('2024-01-01T00:00:00 Nowhere/Land');
SELECT '2024-01-01 00:00'::timestamptz;
SQL
like($out, qr/\+09$/, 'an error leaves the session its time zone');

# 6. Cursors that lost or changed something.

push_changes($node, $device, { task => { updated => [ { id => 't1', body => 'pushed' } ] } });
$content = content();
my $cursor = $device->{since};
my $length = length $cursor;
$node->safe_psql('postgres', <<'SQL');
-- What happens with a cursor: its SQLSTATE, or how the collection is answered.
CREATE FUNCTION fate(cursor text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer json;
BEGIN
	answer := offsync.pull_changes(cursor, '{task}');
	RETURN coalesce(answer -> 'experimentalStrategy' -> 'override' ->> 'task', 'incremental');
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate;
END $$;
GRANT EXECUTE ON FUNCTION fate TO alice;
SQL

sub fates
{
	my ($sql, $cursor) = @_;
	return $node->safe_psql('postgres', <<SQL);
SET ROLE alice;
SET SESSION test.cursor = '$cursor';
SELECT string_agg(DISTINCT fate(damaged), ',') FROM (SELECT current_setting('test.cursor') AS c) t, LATERAL ($sql) d(damaged);
SQL
}

is(fates('SELECT c', $cursor), 'incremental', 'the cursor itself is good');
my $alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
is(fates(<<SQL, $cursor), 'PT400', "each of its $length characters replaced by each other one");
SELECT overlay(c PLACING new FROM i FOR 1) FROM generate_series(1, $length) i, regexp_split_to_table('$alphabet', '') new
WHERE substr(c, i, 1) <> new
SQL
is(fates("SELECT left(c, i) FROM generate_series(1, $length - 1) i", $cursor), 'PT400', 'cut off anywhere');
is(fates("SELECT substr(c, i) FROM generate_series(2, $length) i WHERE substr(c, i, 1) !~ '[0-9]'", $cursor), 'PT400', 'beheaded anywhere');
is(fates("SELECT left(c, i) || substr(c, i + 2) FROM generate_series(0, $length - 1) i
	WHERE left(c, i) || substr(c, i + 2) <> c AND i > 0", $cursor), 'PT400', 'a character missing');
is(fates("SELECT left(c, i) || substr(c, i, 1) || substr(c, i + 1) FROM generate_series(1, $length) i", $cursor), 'PT400', 'a character doubled');
is(fates("SELECT left(c, i - 1) || substr(c, i + 1, 1) || substr(c, i, 1) || substr(c, i + 2) FROM generate_series(1, $length - 1) i
	WHERE substr(c, i, 1) <> substr(c, i + 1, 1)", $cursor), 'PT400', 'neighbours swapped');
is(fates("SELECT c || x FROM unnest('{A,AA,=,==,\" \",o,%}'::text[]) x", $cursor), 'PT400', 'something appended');
is(fates("SELECT upper(c) UNION ALL SELECT lower(c) UNION ALL SELECT c || c UNION ALL SELECT reverse(c) UNION ALL SELECT 'o' || c", $cursor), 'PT400', 'mangled');

# A forger can make the check sum right, but not the seal.
is($node->safe_psql('postgres', 'SET ROLE alice; SELECT count(*), string_agg(DISTINCT fate(forged), \',\') FROM unnest(ARRAY['
	  . join(',', map { literal($_) } forgeries($cursor)) . ']) forged') =~ /^\d{3,}\|(PT400|PT400,replacement)$/ ? 1 : 0, 1,
	'every bit turned, with the right check sum: refused, or begun anew, never followed');

sub crc32c
{
	my ($bytes) = @_;
	my $crc = 0xFFFFFFFF;
	for my $byte (unpack 'C*', $bytes)
	{
		$crc ^= $byte;
		$crc = $crc & 1 ? ($crc >> 1) ^ 0x82F63B78 : $crc >> 1 for 1 .. 8;
	}
	return $crc ^ 0xFFFFFFFF;
}

sub forgeries
{
	my ($text) = @_;
	require MIME::Base64;
	my $bytes = MIME::Base64::decode_base64(substr($text, 1) =~ tr{-_}{+/}r . '==');
	my $body = substr $bytes, 0, -4;
	die 'not the check sum that cursors have' unless crc32c($body) == unpack 'V', substr $bytes, -4;
	return map {
		my $forged = $body;
		vec($forged, $_, 1) ^= 1;
		'o' . MIME::Base64::encode_base64($forged . pack('V', crc32c($forged)), '') =~ tr{+/=}{-_}dr
	} 0 .. 8 * length($body) - 1;
}

# 7. Names that would be SQL elsewhere.

my $column = q{quo"te'; --};
my $odd_device = device(tables => { odd => '"odd; DROP TABLE task; --"', task => 'task', pair => 'pair' });
pull($node, $odd_device);
push_changes($node, $odd_device, { odd => { created => [
	{ id => q{'; DROP TABLE task; --}, $column => q{'); DROP TABLE task; --} }, { id => '"', $column => "\\" }, { id => '.', $column => '' } ] },
	pair => { created => [] } });
holds_the_truth($node, $odd_device, 'a table, a column, ids and values with quotes and semicolons');
my $twin = device(tables => $odd_device->{tables});
pull($node, $twin);
holds_the_truth($node, $twin, 'come back as they were');
push_changes($node, $twin, { odd => { updated => [ { id => '"', $column => '""' } ], deleted => [ q{'; DROP TABLE task; --} ] } });
pull($node, $odd_device);
holds_the_truth($node, $odd_device, 'and go again');
is(sqlstate($node, 'postgres', $_->[0]), $_->[1], $_->[0]) for (
	[ q{SELECT offsync.cursor_info('x')}, 'PT400' ],
	[ q{SELECT offsync.enable('task', conflict => '''; --')}, '22023' ],
	[ q{SELECT offsync.enable('plain', collection => '; DROP TABLE task; --')}, '22023' ],
	[ q{SELECT offsync.enable('no such table')}, '42602' ],
	[ q{SELECT offsync.enable('pg_class')}, '42809' ]);

# 8. Databases of other encodings: what they can't hold is refused, what they hold comes back.

for my $encoding (qw(LATIN1 SQL_ASCII))
{
	my $db = lc $encoding;
	$node->safe_psql('postgres', "CREATE DATABASE $db ENCODING $encoding LOCALE 'C' TEMPLATE template0");
	create_schema($node, $db);
	my $call = sub { qq(SET client_encoding = UTF8;\nSET ROLE alice; SELECT offsync.push_changes('{"task": {"created": [{"id": "$_[0]", "owner": "alice", "body": "$_[1]"}]}}')) };
	# 16 and later take SQL_ASCII for an encoding that lacks the character
	like(sqlstate($node, $db, $call->('escaped', '\\u00e9')), $encoding eq 'LATIN1' ? qr/^00000$/ : qr/^(?:0A000|22P05)$/, "$encoding: an escape");
	like(sqlstate($node, $db, $call->('escaped2', '\\u4e2d')), qr/^(22|0A000)/, "$encoding: an escape that it has no character for");
	is(sqlstate($node, $db, $call->('utf8', "\xc3\xa9")), '00000', "$encoding: bytes of UTF-8");
	is(sqlstate($node, $db, $call->('utf8_2', "\xe4\xb8\xad")), $encoding eq 'LATIN1' ? '22P05' : '00000', "$encoding: more of them");
	my $there = device(db => $db);
	pull($node, $there);
	holds_the_truth($node, $there, "$encoding: all comes back");
}
$node->safe_psql('sql_ascii', q{INSERT INTO task VALUES ('bytes', 'alice', E'\\xff\\xfe')});
my ($stored) = $node->psql('sql_ascii', q{SET ROLE alice; SELECT offsync.pull_changes()});
is($stored, 0, 'SQL_ASCII: bytes of no encoding are pulled');

is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $backend, 'the server was never down');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|terminated by signal|server process .* was terminated|TRAP:/,
	'and no backend crashed');
pull($node, $device);
holds_the_truth($node, $device, 'the device from before goes on');

$node->stop;
done_testing();
