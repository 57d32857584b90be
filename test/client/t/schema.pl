# The devices' tables are those that offsync.client_schema declares, and no declared type changes a value.
use strict;
use warnings;
use utf8;
use DBI;
use FindBin;
use lib $FindBin::Bin;
use Client;
use Test::More;

my $s = server();
$s->do($_) for
	'CREATE TABLE app.shelf (id uuid PRIMARY KEY, owner text NOT NULL)',
	q{CREATE TABLE app.thing (id text PRIMARY KEY, owner text NOT NULL, shelf_id uuid REFERENCES app.shelf, t text, v varchar, b boolean, i int,
		n bigint, d numeric, f float8, r real, ts timestamptz, tz timestamp, day date, j json, jb jsonb, a text[], x bytea, u uuid, rng int4range,
		"Title" text, title text, "TITLE" text, "Id" text, "say ""it""" text, "line
break" text, "it's" text)},
	'CREATE TABLE app.seven (id text PRIMARY KEY, owner text NOT NULL)',
	(map { ("ALTER TABLE app.$_ ENABLE ROW LEVEL SECURITY", "CREATE POLICY own ON app.$_ USING (owner = app.me())",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON app.$_ TO $Client::role") } qw(shelf thing seven)),
	q{SELECT offsync.enable('app.shelf')}, q{SELECT offsync.enable('app.thing', filter_columns => '{b}')},
	q{SELECT offsync.enable('app.seven', 'Shelf')},		# SQLite takes the two names for one
	q{INSERT INTO app.thing (id, owner, t, v, b, i, n, d, f, r, ts, tz, day, j, jb, a, x, u, rng, "Title", title, "TITLE", "Id", "say ""it""",
			"line
break", "it's")
		SELECT 'x' || i, 'ann', (ARRAY['007', '1e5', '5', ' 1', '0x10', 'true', ''])[i], (ARRAY['1.0', '-0', '00', '9223372036854775808', 'nan', 'x', 'y'])[i],
			i % 2 = 0, i, 1152921504606846976 + i, (ARRAY['12345678901234567890.123456789', '5.00', '0.1', 'NaN', '1e30', '-7', '100'])[i]::numeric,
			(ARRAY['5', '1e300', '0.1', 'Infinity', '-2.5', '1e22', '4503599627370497.5'])[i]::float8, 1.1, timestamptz '2024-02-29 12:00:00.123456Z' + i * interval '1 day',
			timestamp '1969-12-31 23:59:59.999', date '2024-02-29', (ARRAY['5', '"5"', '[1.0, 2]', '{"a": 1e2}', 'true', '"x"', '0.10'])[i]::json,
			(ARRAY['12345678901234567890', '"007"', '[]', '{}', 'false', '{"b": null}', '1'])[i]::jsonb, ARRAY['1', 'b"c'], '\x00ff', gen_random_uuid(), '[1,5)',
			'A', 'b', 'C', '08', 'it', 'broken', 'is'
		FROM generate_series(1, 7) AS i};

my %type = (id => 'TEXT', shelf_id => 'TEXT', b => 'BOOLEAN', i => 'INTEGER', n => 'INTEGER', d => 'NUMERIC', f => 'REAL', 'Title~3' => 'TEXT',
	title => 'TEXT', 'TITLE~2' => 'TEXT', 'Id~2' => 'TEXT', 'say "it"' => 'TEXT', "line\nbreak" => 'TEXT', server_version => 'INTEGER');
my $columns = q{SELECT name, type FROM pragma_table_info('thing')};

sub declared { my ($device) = @_; return { map { @$_ } @{ $device->sql($columns) } } }

# The tables of a text in a database of its own
sub loaded {
	my ($ddl) = @_;
	my $db = DBI->connect('dbi:SQLite:dbname=:memory:', '', '', { RaiseError => 1, PrintError => 0, sqlite_unicode => 1,
		sqlite_allow_multiple_statements => 1 });
	$db->do($ddl);
	return { map { @$_ } @{ $db->selectall_arrayref($columns) } };
}

my %ann;
for my $dialect (qw(watermelondb json)) {
	my $d = $ann{$dialect} = device($dialect, 'ann', '--dialect', $dialect);
	my $types = declared($d);
	is_deeply({ map { $_ => $types->{$_} } keys %type }, \%type, "$dialect: tables have the types that the server says");
	is($types->{ts}, $dialect eq 'json' ? 'TEXT' : 'INTEGER', '... for this dialect');
	is_deeply($types, loaded(as_user('ann', sub { $_[0]->selectrow_array(q{SELECT offsync.client_schema('sqlite', dialect => ?)}, undef, $dialect) })),
		'... as in the text for all collections');
	is_deeply([sort keys %$types], [sort 'id', map { $_->[0] } @{ $d->sql(q{SELECT col FROM offsync_column WHERE collection = 'thing'}) }],
		'columns have the names that the device knows them by');
	is_deeply($d->sql(q{SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'thing' AND sql NOT NULL ORDER BY name}),
		[['thing:b'], ['thing:shelf_id']], 'what rows are looked up by has an index');
	is($d->value(q{SELECT group_concat(tbl) FROM (SELECT tbl FROM offsync_collection ORDER BY name)}), 'Shelf,c0_shelf,thing', 'two collections of like names');
	is($d->sync, 0, 'it syncs') or diag($d->{said});
	is($d->value('SELECT count(*) FROM thing'), 7, 'and has the rows');
}

# A row as the server stores it, but for what a device may write
my $stored = q{SELECT array_agg(to_jsonb(stored) - '{t,server_version,server_updated_at}'::text[] ORDER BY id)::text FROM app.thing AS stored};
for my $dialect (sort keys %ann) {
	my $d = $ann{$dialect};
	my $before = $s->selectrow_array($stored);
	$d->sql(q{INSERT OR REPLACE INTO thing SELECT * FROM thing});		# marks all columns
	$d->sql(q{UPDATE thing SET t = '01' || id});
	is($d->value('SELECT count(DISTINCT key) > 20 FROM offsync_changed WHERE id = ?', 'x1'), 1, "$dialect: records are edited whole");
	is($d->sync, 0, 'pushed') or diag($d->{said});
	is($s->selectrow_array($stored), $before, 'leave what was not edited as it is, whatever its digits');
	is($s->selectrow_array(q{SELECT string_agg(t, ' ' ORDER BY id) FROM app.thing}), join(' ', map { "01x$_" } 1 .. 7), 'and store what was');
	is($d->dirty, 0, 'nothing is left');
	$_->sync for values %ann;
	$s->do(q{UPDATE app.thing SET t = '1.0'});
	$_->sync for values %ann;
	is($d->value(q{SELECT count(*) FROM thing WHERE t = '1.0' AND typeof(t) = 'text'}), 7, 'text that looks like a number stays text');
}
is_deeply($ann{json}->sql(q{SELECT j, jb FROM thing WHERE id IN ('x1', 'x2') ORDER BY id}), [['5', '12345678901234567890'], ['"5"', '"007"']], 'JSON stays what it was');

# Where the server doesn't tell, and where there was none
$s->do('REVOKE EXECUTE ON FUNCTION offsync.client_schema FROM PUBLIC');
my $untold = device('untold', 'ann');
is($untold->sync, 0, 'a server that does not offer it');
is(join('', values %{ declared($untold) }), 'TEXT', 'leaves the columns without types');
is($untold->value('SELECT count(*) FROM thing'), 7, 'and all the rows come');
$s->do('GRANT EXECUTE ON FUNCTION offsync.client_schema TO PUBLIC');

my $late = bless { name => 'late', user => 'ann', file => "$ann{json}{file}-late" }, 'Client';
$late->client('init', $late->{file}, 'host=/nowhere', '--role', $Client::role, '--claims', '{"sub": "ann"}');
is($late->value(q{SELECT count(*) FROM sqlite_schema WHERE name = 'thing'}), 0, 'a device made without a server');
$late->sql(q{UPDATE offsync_device SET value = ? WHERE name = 'conninfo'}, $ann{json}->value(q{SELECT value FROM offsync_device WHERE name = 'conninfo'}));
is($late->sync, 0, 'that finds one later') or diag($late->{said});
is_deeply(declared($late), declared($ann{watermelondb}), 'has the tables, too');
is($late->value('SELECT count(*) FROM thing'), 7, 'with their rows');

done_testing();
