# The C client against a real server: two users, three devices, and every way to be killed.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::Bin;
use Client;
use Test::More;
use Time::HiRes qw(sleep time);

my $s = server();
$s->do($_) for
	q{CREATE TABLE app.note (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), owner text NOT NULL,
		title text NOT NULL DEFAULT 'untitled', body text, n integer, done boolean NOT NULL DEFAULT false,
		score double precision, due timestamptz, tags jsonb, "Odd ""Näme" text, "N" text)},
	'ALTER TABLE app.note ENABLE ROW LEVEL SECURITY',
	'CREATE POLICY own ON app.note USING (owner = app.me())',
	"GRANT SELECT, INSERT, UPDATE, DELETE ON app.note TO $Client::role",
	q{SELECT offsync.enable('app.note')},
	q{INSERT INTO app.note (owner, title, n, score, due, tags, "Odd ""Näme")
		SELECT (ARRAY['alice', 'bob'])[i % 2 + 1], 'note ' || i, i, i + 0.1, '2024-01-01Z'::timestamptz
			+ i * interval '1 hour', jsonb_build_object('i', i), 'Zoë ' || i FROM generate_series(1, 20) AS i};

my $query = q{SELECT json_build_object('id', id, 'owner', owner, 'title', title, 'body', body, 'n', n,
	'done', done, 'score', score, 'due', (extract(epoch FROM due) * 1000)::bigint, 'tags', tags::text,
	'Odd "Näme', "Odd ""Näme", 'N', "N") FROM app.note};
my $uuid = q{lower(printf('%s-%s-4%s-8%s-%s', hex(randomblob(4)), hex(randomblob(2)),
	substr(hex(randomblob(2)), 2), substr(hex(randomblob(2)), 2), hex(randomblob(6))))};
my @all = my ($phone, $laptop, $bob) = (
	device('phone', 'alice', '--collections', 'note'),
	device('laptop', 'alice', '--mode', 'number'),
	device('bob', 'bob'));

sub one { return $s->selectrow_array(@_) }
sub all_agree { my ($title) = @_; return agree($title, 'note', $query, @all) }
sub with_title { my ($device, $title) = @_;
	return $device->value('SELECT id FROM note WHERE title = ?', $title) }

is(join(' ', map { $_->{status} } @all), '0 0 0', 'devices are made');
is(join(' ', map { $_->sync } @all), '0 0 0', 'first syncs');
all_agree('every device holds what its user sees');
is($phone->value('SELECT count(*) FROM note'), 10, 'that is half of the rows each');

# Edits
$phone->sql("INSERT INTO note (id, owner, title, done, score) VALUES ($uuid, 'alice', 'über', 1, 0.1 + 0.2)");
$phone->sql(q{UPDATE note SET body = 'text', n = n + 100, "Odd ""Näme" = NULL WHERE title = 'note 2'});
$phone->sql(q{DELETE FROM note WHERE title = 'note 4'});
$phone->sql("INSERT INTO note (id, owner, title) VALUES ($uuid, 'alice', 'never seen')");
$phone->sql(q{DELETE FROM note WHERE title = 'never seen'});
is($phone->client('status', $phone->{file}), 0, 'status');
like($phone->{said}, qr/note +10 rows, dirty: 1 created, 1 updated, 1 deleted/,
	'a record made and deleted between two syncs leaves no trace');
is($phone->sync, 0, 'a sync with edits');
like($phone->{said}, qr/note: sent 1 created, 1 updated, 1 deleted/, 'tells what went out');
is($laptop->sync, 0, 'the other device gets them');
all_agree('created, updated, deleted, NULL written');
is($phone->sync, 0, 'and again');
is($phone->{said}, '', 'an own push does not come back');

# A default of the server's comes back with the next pull
$phone->sql("INSERT INTO note (id, owner) VALUES ($uuid, 'alice')");
$_->sync for $phone, $phone, $laptop;
all_agree('NULL for a NOT NULL column with a default means the default');

# Both change one record
$phone->sql(q{UPDATE note SET title = 'from the phone' WHERE title = 'note 6'});
$laptop->sql(q{UPDATE note SET body = 'from the laptop' WHERE title = 'note 6'});
$_->sync for $phone, $laptop, $phone;
is(one(q{SELECT body FROM app.note WHERE title = 'from the phone'}), 'from the laptop',
	'other columns of one record: both edits stay');
$phone->sql(q{UPDATE note SET title = 'first' WHERE title = 'note 8'});
$laptop->sql(q{UPDATE note SET title = 'second' WHERE title = 'note 8'});
$_->sync for $phone, $laptop, $phone;
is(with_title($phone, 'second'), with_title($laptop, 'second'), 'the same column: the last to sync wins');
my $id = with_title($phone, 'note 10');
$phone->sql('DELETE FROM note WHERE id = ?', $id);
$laptop->sql(q{UPDATE note SET body = 'too late' WHERE id = ?}, $id);
$_->sync for $phone, $laptop, $phone;
ok(!one('SELECT 1 FROM app.note WHERE id = ?', undef, $id), 'deleted there, edited here: deleted');
$id = with_title($phone, 'note 12');
$phone->sql('DELETE FROM note WHERE id = ?', $id);
$laptop->sql(q{UPDATE note SET body = 'too early' WHERE id = ?}, $id);
$_->sync for $laptop, $phone, $laptop;
ok(!one('SELECT 1 FROM app.note WHERE id = ?', undef, $id), 'edited there, deleted here: deleted');
all_agree('after these conflicts');

# Access lost and gained
$s->do(q{UPDATE app.note SET owner = 'bob' WHERE title = 'note 14'});
$s->do(q{UPDATE app.note SET owner = 'alice' WHERE title = 'note 1'});
$phone->sql(q{UPDATE note SET body = 'lost' WHERE title = 'note 14'});
$_->sync for @all;
ok(!with_title($phone, 'note 14'), 'a record given to another user leaves the device, edited or not');
all_agree('after owners changed');

# What apps write
$phone->sql(q{INSERT OR REPLACE INTO note (id, owner, title, done) SELECT id, owner, 'replaced', 1 FROM note
	WHERE title = 'note 16'});
$phone->sql(q{INSERT INTO note (id, owner, title) SELECT id, owner, 'upserted' FROM note WHERE title = 'note 18'
	ON CONFLICT (id) DO UPDATE SET title = excluded.title});
$phone->sql(q{INSERT OR IGNORE INTO note (id, title) SELECT id, 'ignored' FROM note WHERE title = 'note 20'});
$phone->sql("UPDATE note SET id = $uuid WHERE title = 'note 2'");
$phone->sql(q{UPDATE note SET title = title});
is($phone->sync, 0, 'REPLACE, upsert, IGNORE, a new key');
like($phone->{said}, qr/sent 1 created, 2 updated, 1 deleted/, 'what they come to');
$phone->sql(q{INSERT OR REPLACE INTO note (id, owner, title) SELECT id, owner, title FROM note WHERE title = 'upserted'});
$phone->sql(q{DELETE FROM note WHERE title = 'upserted'});
$phone->sql('ALTER TABLE note ADD COLUMN starred');
$phone->sql('UPDATE note SET starred = 1');
$_->sync for $phone, $laptop, $phone;
all_agree('a replaced and deleted record is deleted, an own column stays local');

# Killed anywhere
my $k = 0;
sub killed_anywhere {
	my ($trip) = @_;
	for my $place (qw(after_pull before_apply before_push in_push after_push before_ack)) {
		for my $more ('nothing more', 'more edits', 'edits elsewhere', 'both') {
			$k++;
			my $gone = $phone->value(q{SELECT min(id) FROM note WHERE title LIKE 'kill%' AND title NOT LIKE ?},
				'kill ' . ($k - 1) . '%');
			$phone->sql("INSERT INTO note (id, owner, title, n, done) VALUES ($uuid, 'alice', 'kill $k', 0, 0)");
			$phone->sql(q{UPDATE note SET body = ?, n = n + 1 WHERE title = 'from the phone'}, "kill $k");
			$phone->sql('DELETE FROM note WHERE id = ?', $gone) if $k % 3 == 0;
			$s->do(q{UPDATE app.note SET score = ? WHERE title = 'from the phone'}, undef, $k);
			my $died = $phone->sync_dies($place);
			if ($more =~ /more|both/) {
				$phone->sql("UPDATE note SET n = 7, body = 'again' WHERE title = 'kill $k'");
				$phone->sql("UPDATE note SET title = title || '!' WHERE title = 'kill " . ($k - 1) . q{'});
				$phone->sql("DELETE FROM note WHERE title = 'kill $k'") if $more eq 'both';
			}
			if ($more =~ /elsewhere|both/) {
				$laptop->sync;
				$laptop->sql(q{UPDATE note SET due = due + 1000 WHERE title = 'from the phone'});
				$laptop->sync;
			}
			my $status = $phone->sync;
			$laptop->sync;
			$phone->sync;
			my $count = one('SELECT count(*) FROM app.note WHERE title = ?', undef, "kill $k");
			ok($died && $status == 0 && $count == ($more eq 'both' ? 0 : 1)
				&& one(q{SELECT body = ? AND score = ? FROM app.note WHERE title = 'from the phone'}, undef,
					"kill $k", $k)
				&& ($more ne 'more edits' || one(q{SELECT body = 'again' FROM app.note WHERE title = ?}, undef,
					"kill $k")), "killed at $place, $more, $trip: nothing lost, nothing twice")
				or diag("died $died, status $status, count $count: $phone->{said}");
		}
		all_agree("after $place, $trip");
	}
	return;
}
killed_anywhere('two trips');

# A push without an answer that meets a timeout when it is sent again: that is no word on the first time
my $unheard = $phone->value(q{SELECT min(id) FROM note WHERE title LIKE 'kill%'});
$phone->sql(q{UPDATE note SET title = 'unheard' WHERE id = ?}, $unheard);
ok($phone->sync_dies('after_push'), 'stored, and no answer');
$s->do(q{UPDATE app.note SET title = 'since then' WHERE id = ?}, undef, $unheard);
{
	my $locker = Client::attach($s->{pg_db});
	local $ENV{PGOPTIONS} = '-c lock_timeout=100ms';
	$locker->begin_work;
	$locker->do('LOCK TABLE offsync_internal.push_log IN ACCESS EXCLUSIVE MODE');
	is($phone->sync, 1, 'a timeout');
	like($phone->{said}, qr/55P03/, '... of a lock');
	$locker->rollback;
	$locker->disconnect;
}
$_->sync for $phone, $laptop;
is(with_title($phone, 'since then'), $unheard, 'what others wrote since stays');
all_agree('after the timeout');

# Push and pull in one trip
$phone->sql(q{UPDATE offsync_device SET value = 1 WHERE name = 'one-trip'});
$phone->sql("INSERT INTO note (id, owner, title, done) VALUES ($uuid, 'alice', 'one trip', 0)");
$laptop->sql("INSERT INTO note (id, owner, title, done) VALUES ($uuid, 'alice', 'from elsewhere', 0)");
$laptop->sync;
ok(!$phone->sync_dies('after_pull'), 'there is no other pull');
like($phone->{said}, qr/note: received 1, removed 0\n.*note: sent 1 created/s, 'what others wrote comes with the answer');
$laptop->sync;
all_agree('after one trip');
is($phone->sync, 0, 'and again');
is($phone->{said}, '', 'nothing comes back');
$phone->sql(q{UPDATE note SET body = 'from here' WHERE title = 'one trip'});
$s->do(q{UPDATE app.note SET n = 1 WHERE title = 'one trip'});
is($phone->sync, 0, 'a conflict: pulls, and pushes again');
is(one(q{SELECT body || n FROM app.note WHERE title = 'one trip'}), 'from here1', 'both writes stay');
$phone->sql(q{UPDATE note SET body = 'lost' WHERE title = 'from elsewhere'});
$s->do(q{UPDATE app.note SET owner = 'bob' WHERE title = 'from elsewhere'});
is($phone->sync, 0, 'what was refused blindly is refused no more behind a pull');
is(with_title($phone, 'from elsewhere'), undef, '... that takes the record away');
my $fresh = device('fresh', 'alice', '--one-trip');
$fresh->sql("INSERT INTO note (id, owner, title, done) VALUES ($uuid, 'alice', 'first of all', 0), ($uuid, 'alice', 'gone meanwhile', 0)");
ok($fresh->sync_dies('after_push'), 'a first trip without an answer');
$s->do(q{DELETE FROM app.note WHERE title = 'gone meanwhile'});
$_->sync for $fresh, @all;
agree('a first trip sent again', 'note', $query, @all, $fresh);
killed_anywhere('one trip');
$phone->sql(q{UPDATE offsync_device SET value = NULL WHERE name = 'one-trip'});

# ... and by a real kill -9, whenever it hits
$phone->sql(qq{WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 500)
	INSERT INTO note (id, owner, title, n, done) SELECT $uuid, 'alice', 'bulk', n, 1 FROM i});
my $begin = time;
$phone->sync;
my $whole = time - $begin;
for my $i (1 .. 12) {
	$phone->sql(q{UPDATE note SET body = ? WHERE title = 'bulk'}, "round $i");
	my $pid = $phone->start('sync', $phone->{file});
	sleep $whole * $i / 12;
	kill KILL => $pid;
	waitpid $pid, 0;
}
is($phone->sync, 0, 'syncs after a dozen kills');
$_->sync for @all, $phone;
is(one(q{SELECT count(*) || ' ' || count(DISTINCT id) || min(body) FROM app.note WHERE title = 'bulk' AND body = 'round 12'}),
	'500 500round 12', 'every record is there, once');
all_agree('after kill -9');

# A conflict found by the push itself
$phone->sql(q{UPDATE note SET body = 'frozen' WHERE title = 'from the phone'});
ok($phone->sync_dies('before_push'), 'killed with a frozen batch');
$s->do(q{UPDATE app.note SET n = -1 WHERE title = 'from the phone'});
is($phone->sync, 0, 'others wrote meanwhile: pulls and pushes again');
is(one(q{SELECT body || n FROM app.note WHERE title = 'from the phone'}), 'frozen-1', 'both writes stay');

# An app writes while two syncs run at once
my $app = $phone->start(sub {
	$phone->sql(q{UPDATE note SET n = ? WHERE title = 'from the phone'}, $_) for 1 .. 100;
	$phone->sql("INSERT INTO note (id, owner, title, n, done) VALUES ($uuid, 'alice', 'meanwhile', $_, 0)")
		for 1 .. 50;
});
for (1 .. 10) {
	waitpid $_, 0 for map { $phone->start('sync', $phone->{file}) } 1, 2;
}
waitpid $app, 0;
is($?, 0, 'an app can write while syncs run');
is($phone->sync, 0, 'two syncs at once do no harm');
is(one(q{SELECT n || ' ' || (SELECT count(*) || ' ' || sum(n) FROM app.note WHERE title = 'meanwhile')
	FROM app.note WHERE title = 'from the phone'}), '100 50 1275', 'all edits arrived, once');
$_->sync for @all;
all_agree('after concurrent syncs and edits');

# Refusals
$bob->sql("INSERT INTO note (id, owner, title) VALUES ($uuid, 'alice', 'not mine')");
$bob->sql(q{UPDATE note SET body = 'waits' WHERE title = 'note 3'});
is($bob->sync, 1, 'what the policies refuse ends with 1');
like($bob->{said}, qr/push refused: .*SQLSTATE:  42501/s, 'and the server\'s message');
is(one(q{SELECT count(*) FROM app.note WHERE title = 'not mine' OR body = 'waits'}), 0, 'nothing of the push is stored');
$bob->sql(q{DELETE FROM note WHERE title = 'not mine'});
is($bob->sync, 0, 'without it the rest goes through');
$_->sync for @all;
all_agree('after a refusal');

# ... of single records
my $skipper = device('skipper', 'bob', '--on-error', 'skip');
$skipper->sync;
$skipper->sql("INSERT INTO note (id, owner, title) VALUES ($uuid, 'alice', 'not mine')");
$skipper->sql(q{UPDATE note SET n = 'many' WHERE title = 'note 5'});
$skipper->sql(q{UPDATE note SET body = 'goes through' WHERE title = 'note 7'});
is($skipper->sync, 1, 'records are rejected by themselves');
like($skipper->{said}, qr/refused \S+: .*\(42501\).*refused \S+: .*\(22P02\)|\(22P02\).*\(42501\)/s, '... each with its reason');
like($skipper->{said}, qr/note: sent 0 created, 1 updated, 0 deleted/, 'the others are stored');
is(one(q{SELECT body FROM app.note WHERE title = 'note 7'}), 'goes through', '... really');
is($skipper->dirty, 2, 'those that were rejected stay dirty');
$skipper->sql(q{UPDATE note SET n = 55 WHERE title = 'note 5'});
is($skipper->sync, 1, 'one of them is mended');
is(one(q{SELECT n FROM app.note WHERE title = 'note 5'}), 55, '... and stored');
$skipper->sql(q{UPDATE note SET n = 'more', body = 'given up' WHERE title = 'note 5'});
is($skipper->sync('--give-up'), 0, 'a device gives up what is rejected');
is($skipper->value(q{SELECT n || ifnull(body, '') FROM note WHERE title = 'note 5'}), '55', '... and takes what the server has');
is(with_title($skipper, 'not mine'), undef, '... or nothing, where it has nothing');
$_->sync for @all;
agree('after records were rejected', 'note', $query, @all, $skipper);

# A whole table again
$phone->sql("INSERT INTO note (id, owner, title, done) VALUES ($uuid, 'bob', 'not sent yet', 0)");
$phone->sql(q{UPDATE offsync_device SET value = '{"sub": "bob"}' WHERE name = 'claims'});
$phone->{user} = 'bob';
is($phone->sync, 0, 'the device changes hands');
is(with_title($phone, 'kill 1!') // with_title($phone, 'kill 1'), undef, 'the last user\'s records are gone');
ok(one(q{SELECT 1 FROM app.note WHERE title = 'not sent yet'}), 'what was never sent is kept and sent');
$_->sync for @all;
all_agree('after a replacement');
$bob->sql("INSERT INTO note (id, owner, title, done) VALUES ($uuid, 'bob', 'after all', 0)");
$s->do('TRUNCATE app.note');
$_->sync for @all, @all;
is($phone->value('SELECT group_concat(title) FROM note'), 'after all', 'TRUNCATE empties the devices');
all_agree('after TRUNCATE');

# Columns come and go
$s->do(q{INSERT INTO app.note (owner, title) VALUES ('bob', 'colours')});
$s->do(q{ALTER TABLE app.note ADD COLUMN "colour ""x""" text DEFAULT 'red'});
$_->sync for $phone, $bob;
is($bob->value(q{SELECT "colour ""x""" FROM note WHERE title = 'colours'}), 'red', 'a new column comes');
$bob->sql(q{UPDATE note SET "colour ""x""" = 'blue'});
$_->sync for $bob, $phone;
is($phone->value(q{SELECT "colour ""x""" FROM note WHERE title = 'colours'}), 'blue', '... and can be edited');
$s->do(q{ALTER TABLE app.note DROP COLUMN "colour ""x"""});
$_->sync for @all;
all_agree('a dropped column goes');

# Parents, children, and names that want quotes
$s->do($_) for
	'CREATE TABLE app."Big ""Box" (id integer PRIMARY KEY, "order" text, "a.b" text, rowid boolean)',
	'CREATE TABLE app.thing (id text PRIMARY KEY, box integer REFERENCES app."Big ""Box" ON DELETE CASCADE)',
	q{SELECT offsync.enable('app."Big ""Box"', 'Big-Box'), offsync.enable('app.thing')},
	qq{GRANT SELECT, INSERT, UPDATE, DELETE ON app."Big ""Box", app.thing TO $Client::role},
	q{INSERT INTO app."Big ""Box" VALUES (1, 'first', 'dot', true)};
my $boxes = q{SELECT json_build_object('id', id::text, 'order', "order", 'a.b', "a.b", 'rowid', rowid)
	FROM app."Big ""Box"};
my $things = q{SELECT json_build_object('id', id, 'box', box) FROM app.thing};
$_->sync for $bob, $laptop;
$bob->sql($_) for q{INSERT INTO thing (id, box) VALUES ('α', 2), ('β', 2), ('γ', 1)},
	q{INSERT INTO "Big-Box" (id, "order", "a.b", rowid) VALUES ('2', 'it''s', '"', 0)};
is($bob->sync, 0, 'children made before their parents') or diag($bob->{said});
$laptop->sync;
agree('tables with awkward names', 'Big-Box', $boxes, $bob, $laptop);
agree('children', 'thing', $things, $bob, $laptop);
$laptop->sql(q{DELETE FROM "Big-Box" WHERE id = '2'});
$_->sync for $laptop, $bob, $laptop;
is($bob->value('SELECT group_concat(id) FROM thing'), 'γ', 'a cascade reaches the devices');
agree('after the cascade', 'thing', $things, $bob, $laptop);

# Only changed columns
$laptop->sql("INSERT INTO note (id, owner, title, n, done) VALUES ($uuid, 'alice', 'partial', 1, 0)");
$laptop->sync;
$laptop->sql(q{UPDATE note SET n = 2});
is($laptop->sync('--partial', '--progress'), 0, 'a push of changed columns only');
like($laptop->{said}, qr/^push: \d+ bytes$/m, '--progress tells of it');
is(one(q{SELECT n || title FROM app.note WHERE owner = 'alice'}), '2partial', 'the rest is as it was');

# A first sync that comes in pieces, and is applied in parts
$s->do($_) for
	q{CREATE TABLE app.album (id int PRIMARY KEY, owner text NOT NULL)},
	q{CREATE TABLE app.photo (id int PRIMARY KEY, album int NOT NULL REFERENCES app.album, "a ""b\\" text, place jsonb, body text, unused text)},
	q{CREATE TABLE app.void (id int PRIMARY KEY)},
	"GRANT SELECT, INSERT, UPDATE, DELETE ON app.album, app.photo, app.void TO $Client::role",
	q{INSERT INTO app.album SELECT i, 'alice' FROM generate_series(1, 3000) i},
	q{INSERT INTO app.photo SELECT i, i, repeat('{["\\', i % 5) || 'Zoë', jsonb_build_object('at', array[i, 1]), repeat('}],"x', 100) FROM generate_series(1, 2000) i},
	q{SELECT offsync.enable('app.album'), offsync.enable('app.photo'), offsync.enable('app.void')};
my $photos = q{SELECT json_build_object('id', id::text, 'album', album, 'a "b\\', "a ""b\\", 'place', place::text, 'body', body, 'unused', unused) FROM app.photo};
my $albums = q{SELECT json_build_object('id', id::text, 'owner', owner) FROM app.album};
my @big = (device('big', 'alice'), device('parts', 'alice', '--dialect', 'json'), device('number', 'alice', '--mode', 'number'));
{
	local $ENV{OFFSYNC_CLIENT_PART} = 1;
	ok($big[0]->sync_dies('amid_pull'), 'killed amid a first sync');
	is($big[0]->value("SELECT count(*) FROM sqlite_schema WHERE name = 'album'"), 1, 'the tables are there since init');
	is($big[0]->value('SELECT count(*) FROM album'), 0, '... and nothing is in them');
	is($_->sync, 0, 'the next one does it in parts') for @big[0, 1];
	like($big[0]->{said}, qr/^album: received 3000, removed 0\nnote: .*\nphoto: received 2000, removed 0$/m, 'and tells of it as of one');
	is($big[2]->sync('--progress'), 0, 'with its progress');
	like($big[2]->{said}, qr/^pull: \d{7} bytes, 5\d\d\d records, /m, '... told');
}
is($_->value('SELECT group_concat(name) FROM (SELECT name FROM offsync_collection WHERE live ORDER BY name)'),
	$big[0]->value('SELECT group_concat(name) FROM (SELECT name FROM offsync_collection ORDER BY name)'), "$_->{name}: all collections are") for @big;
agree('albums are whole', 'album', $albums, @big);
agree('photos are whole', 'photo', $photos, @big[0, 2]);
$s->do(q{UPDATE app.photo SET body = 'changed' WHERE id = 7});
is($_->sync, 0, 'they go on from there') for @big;
is(join('; ', map { $_->{said} } @big[0, 1]), "photo: received 1, removed 0\n; photo: received 1, removed 0\n", '... by what changed');
agree('what changed', 'photo', $photos, @big[0, 2]);
$s->do("REVOKE SELECT ON app.album FROM $Client::role");
my $denied = device('denied', 'alice', '--collections', 'album');
is($denied->sync, 1, 'a refusal');
like($denied->{said}, qr/permission denied/, '... is told');
$s->do("GRANT SELECT ON app.album TO $Client::role");

# A push and pull in one trip, in pages, which others' changes send back first
my $trip = device('trip', 'alice', '--mode', 'iso', '--one-trip', '--max-rows', 1, '--collections', 'note');
is($trip->sync, 0, 'a first sync in pages');
my $disputed = $trip->value('SELECT min(id) FROM note');
# as long as it is open, a clock's pulls tell again what was written since
my $open = Client::attach($s->{pg_db});
$open->begin_work;
$open->do(q{INSERT INTO app.note (owner) VALUES ('carol')});
$s->do("INSERT INTO app.note (owner) SELECT 'alice' FROM generate_series(1, 3)");
$s->do("UPDATE app.note SET body = 'theirs' WHERE owner = 'alice'");
$trip->sql("UPDATE note SET n = 77 WHERE id = '$disputed'");
is($trip->sync, 0, 'a push that is refused at first');
$open->rollback;
$open->disconnect;
is($trip->value(q{SELECT count(*) FROM offsync_device WHERE name = 'page'}), 0, 'no page is left behind');
agree('one trip in pages', 'note', $query, $trip);
$s->do("UPDATE app.note SET body = 'again' WHERE owner = 'alice'");
$s->do(q{SELECT offsync.reset('app.note')});
is($trip->sync, 0, 'a replacement in pages');
agree('... takes nothing away that is there', 'note', $query, $trip);

# Misuse
my $other = "$phone->{file}-other";
is($phone->client('sync', $other), 2, 'a file that is not there');
open my $file, '>', $other or die;
print $file 'not a database, but long enough to be looked at as one' x 50;
close $file;
is($phone->client('sync', $other), 2, 'a file that is no device');
is($phone->client('init', $bob->{file}, ''), 2, 'a device that is there already');
is($phone->client('sync'), 2, 'no file');
is($phone->client('dump', $bob->{file}, 'nothing'), 2, 'no such collection');
is($phone->client('init', "$other-2", '', '--mode', 'guess'), 2, 'no such mode');
is($phone->client('init', "$other-2", '', '--claims', '{'), 2, 'claims that are no JSON');
is($phone->client('init', "$other-2", '', '--on-error', 'stop'), 2, 'no such way with errors');
is($phone->client('--help'), 0, 'help');
unlink $other;

done_testing();
