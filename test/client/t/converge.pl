# Random edits by devices and by plain SQL, syncs, kills and pushes sent twice in random order, on a table for
# each conflict strategy, one with soft deletes, and two with foreign keys between them: after every sync a
# device holds what SELECT as its user returns, and no answer names a record that its user never could see.  Some
# of what devices write is refused, and what refers to it: their apps mend or take back what a push fails for, or
# the device gives it up.  Some devices push and pull in one trip.
#
# SEED=n|random: another run than the usual one; OPS is its length (300).
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::Bin;
use App;
use Client;
use JSON::PP;
use List::Util qw(any shuffle sum uniq);
use Test::More;

my $ops = $ENV{OPS} // 300;
my $seed = $ENV{SEED} // 1;
$seed = int rand 1e9 if $seed eq 'random';
srand $seed;
diag("SEED=$seed OPS=$ops") if $ENV{SEED} || $ENV{OPS};

my @users = qw(alice bob carol);
my %options = (
	item => '',
	note => q{, conflict => 'client_wins'},
	memo => q{, conflict => 'server_wins'},
	event => q{, conflict => 'last_write_wins', updated_at => 'due'},
	draft => q{, conflict => 'merge'},
	vote => q{, conflict => 'app.decide'},
	entry => q{, soft_delete => 'deleted_at'},
	shelf => '', book => '');
my @collections = sort keys %options;
my @edited = (@collections, qw(shelf book) x 3);
# a book goes with its shelf, and keeps another one from going
my %more = (entry => ', deleted_at timestamptz',
	book => ', shelf uuid REFERENCES app.shelf ON DELETE CASCADE, guards uuid REFERENCES app.shelf');
my $bad = 13;				# the server takes no such n
my $app = { collections => \@collections, bad => $bad };

# What a device holds of a row
sub record {
	my ($c) = @_;
	return q{json_build_object('id', id, 'owner', owner, 'editor', editor, 'title', title, 'n', n, 'tags', tags::text,
		'score', score, 'done', done, 'due', floor(extract(epoch FROM due) * 1000)::bigint}
		. ($c eq 'entry' ? q{, 'deleted_at', NULL)} : $c eq 'book' ? q{, 'shelf', shelf, 'guards', guards)} : ')');
}

sub query {
	my ($c) = @_;
	return 'SELECT ' . record($c) . " FROM app.$c" . ($c eq 'entry' ? ' WHERE deleted_at IS NULL' : '');
}

# Every state that ever was goes to app.history
my $s = server();
$s->do('CREATE TABLE app.history (collection text, id text, owner text, editor text, record json)');
$s->do('CREATE INDEX ON app.history (id)');
# keeps one side's row or the other's, or half of each
$s->do(q{CREATE FUNCTION app.decide(base jsonb, local jsonb, server jsonb) RETURNS jsonb LANGUAGE sql AS
	$$SELECT CASE WHEN local IS NULL THEN CASE WHEN server->>'n' > '0' THEN 'null'::jsonb END
		WHEN server IS NULL THEN CASE WHEN local->>'n' > '0' THEN local - 'id' END
		ELSE jsonb_build_object('title', local->'title', 'n', server->'n') END$$});
for my $c ('shelf', grep { $_ ne 'shelf' } @collections) {
	$s->do($_) for
		"CREATE TABLE app.$c (id uuid PRIMARY KEY, owner text, editor text, title text, n integer,
			score double precision, done boolean, due timestamptz, tags jsonb, CHECK (n <> $bad)@{[ $more{$c} // '' ]})",
		"ALTER TABLE app.$c ENABLE ROW LEVEL SECURITY",
		"CREATE POLICY mine ON app.$c USING (owner = (SELECT app.me()) OR editor = (SELECT app.me()))",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON app.$c TO $Client::role",
		"SELECT offsync.enable('app.$c'$options{$c})",
		"CREATE FUNCTION app.${c}_history() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS \$\$ BEGIN
			INSERT INTO app.history SELECT '$c', id, owner, editor, " . record($c) . " FROM (SELECT NEW.*) AS r;
			RETURN NULL; END \$\$",
		"CREATE TRIGGER history AFTER INSERT OR UPDATE ON app.$c FOR EACH ROW
			EXECUTE FUNCTION app.${c}_history()";
}

sub pick { return @_ ? $_[rand @_] : undef }

sub uuid {
	return join '-', map { join '', map { sprintf '%x', int rand 16 } 1 .. $_ } 8, 4, 4, 4, 12;
}

my %value = (
	title => sub { pick('plain', 'Zoë “quoted”', "it's\n\"two\" lines \\", '', undef, 'n' . int rand 100) },
	n => sub { pick(0, 1, -5, 2147483647, undef) },
	score => sub { pick(0, 0.5, -1.1, 12345678.9, undef, int(rand 1000) / 10) },
	done => sub { pick(0, 1, undef) },
	tags => sub { pick('{}', '{"a": [1]}', '{"a": [2], "b": {"c": "d"}}', '[1, 2]', undef) },
	due => sub { pick(0, 1700000000123, -1, undef, int rand 2000000000000) });

# SQL for a column's value: the server wants its own types
my %server_value = (tags => '?::jsonb', done => '?::integer::boolean', due => 'to_timestamp(?::double precision / 1000)');

# Three owners and editors in any mix, so that records come and go; for devices with their user in it
sub people {
	my ($user) = @_;
	my ($owner, $editor) = (pick(@users), pick(@users, undef, undef));
	return ($owner, $editor) if !$user || any { ($_ // '') eq $user } $owner, $editor;
	return rand() < 0.5 ? ($user, $editor) : ($owner, $user);
}

# One random edit through DO, on the ids given
sub edit {
	my ($do, $table, $ids, $user, $types, @shelves) = @_;
	my %row = map { ($_ => $value{$_}->()) } sort keys %value;
	@row{qw(shelf guards)} = (pick(@shelves), rand() < 0.2 ? pick(@shelves) : undef) if $table =~ /book/;
	my $kind = @$ids ? pick(qw(insert insert update update update people delete),
		$table =~ /entry/ ? qw(hide hide show) : ()) : 'insert';
	$row{n} = $bad if $user && rand() < 0.1;
	my $id = pick(@$ids);
	my @keys = sort keys %row;
	my $place = sub { $types->{ $_[0] } // '?' };
	if ($kind eq 'insert') {
		my @people = people($user);
		$do->("INSERT INTO $table (id, owner, editor, " . join(', ', @keys) . ') VALUES (?, ?, ?, '
			. join(', ', map { $place->($_) } @keys) . ')', uuid(), @people, @row{@keys});
	}
	elsif ($kind eq 'update') {
		@keys = (sort { $a cmp $b } (shuffle @keys)[0 .. rand @keys]);
		$do->("UPDATE $table SET " . join(', ', map { "$_ = " . $place->($_) } @keys) . ' WHERE id = ?',
			@row{@keys}, $id);
	}
	elsif ($kind eq 'people') {
		$do->("UPDATE $table SET owner = ?, editor = ? WHERE id = ?", people($user), $id);
	}
	elsif ($kind eq 'hide') {
		$do->("UPDATE $table SET deleted_at = " . ($user ? '1700000000000' : 'now()') . ' WHERE id = ?', $id);
	}
	elsif ($kind eq 'show') {
		$do->("UPDATE $table SET deleted_at = NULL WHERE id = ?", $id);
	}
	else {
		$do->("DELETE FROM $table WHERE id = ?", $id);
	}
	return;
}

sub device_edit {
	my ($d) = @_;
	my $c = pick(@edited);
	my $ids = [ sort map { $_->[0] } @{ $d->sql("SELECT id FROM $c") } ];
	my @shelves = $c eq 'book' ? sort map { $_->[0] } @{ $d->sql('SELECT id FROM shelf') } : ();
	return edit(sub { $d->sql(@_) }, $c, $ids, $d->{user}, {}, @shelves);
}

# A shelf with its books, one of which stands on another shelf; the server may take none of it
sub device_family {
	my ($d) = @_;
	my ($shelf, $other) = (uuid(), pick(map { $_->[0] } @{ $d->sql('SELECT id FROM shelf ORDER BY id') }));
	$d->sql('INSERT INTO shelf (id, owner, n) VALUES (?, ?, ?)', $shelf, $d->{user}, rand() < 0.3 ? $bad : 1);
	$d->sql('INSERT INTO book (id, owner, shelf, guards) VALUES (?, ?, ?, ?)', uuid(), $d->{user}, @$_)
		for [ $shelf, undef ], [ $other, $shelf ];
	return;
}

sub server_edit {
	my ($do) = @_;
	my $c = pick(@edited);
	my $ids = $s->selectcol_arrayref("SELECT id FROM app.$c ORDER BY id");
	my @shelves = $c eq 'book' ? @{ $s->selectcol_arrayref('SELECT id FROM app.shelf ORDER BY id') } : ();
	return edit($do, "app.$c", $ids, undef, \%server_value, @shelves);
}

# Several edits in one transaction, some of them taken back
sub server_transaction {
	$s->begin_work;
	for (0 .. rand 4) {
		$s->do('SAVEPOINT s');
		my $done = eval { server_edit(sub { my $sql = shift; $s->do($sql, undef, @_) }); 1 };
		die $@ if !$done && $s->state ne '23503';
		$s->do('ROLLBACK TO s') if !$done || rand() < 0.15;
	}
	rand() < 0.1 ? $s->rollback : $s->commit;
	return;
}

# A writer that stays open over other operations; it only inserts, and refers to nothing, so that nobody waits for it
my $slow = Client::attach($s->{pg_db});
$slow->do('SET client_min_messages = warning');
my $slow_open = 0;

sub slow_writer {
	if (!$slow_open) {
		$slow->begin_work;
		edit(sub { my $sql = shift; $slow->do($sql, undef, @_) }, 'app.' . pick(@collections), [], undef,
			\%server_value);
	}
	else { rand() < 0.2 ? $slow->rollback : $slow->commit }
	$slow_open = !$slow_open;
	return;
}

# What the answer that the device will get tells its user: now's records, and ids that it could see once
my $told = 0;

sub leaks {
	my ($d) = @_;
	my ($cursor, $who) = map { $d->value("SELECT value FROM offsync_device WHERE name = '$_'") }
		qw(cursor client_id);
	my $answer = decode_json(Encode::encode('UTF-8', as_user($d->{user}, sub {
		$_[0]->selectrow_array('SELECT offsync.pull_changes(last_pulled_at => ?, client_id => ?)',
			undef, $cursor, $who) })));
	my @wrong;
	for my $c (sort keys %{ $answer->{changes} }) {
		my $part = $answer->{changes}{$c};
		my $visible = expected($d->{user}, query($c));
		my @records = (@{ $part->{created} }, @{ $part->{updated} });
		for my $r (@records) {
			my $id = $r->{id};
			delete @$r{qw(server_version server_created_at server_updated_at)};
			push @wrong, canonical($r) if canonical($r) ne ($visible->{$id} // '');
			push @wrong, "no such state $id" if !$s->selectrow_array('SELECT 1 FROM app.history
				WHERE id = ? AND ? IN (owner, editor) LIMIT 1', undef, $id, $d->{user});
		}
		for my $id (@{ $part->{deleted} }) {
			push @wrong, "deleted $id" if $visible->{$id}
				|| !$s->selectrow_array('SELECT 1 FROM app.history WHERE collection = ? AND id = ?
					AND ? IN (owner, editor) LIMIT 1', undef, $c, $id, $d->{user});
		}
		my @ids = ((map { $_->{id} } @records), @{ $part->{deleted} });
		push @wrong, "an id twice in $c" if @ids != uniq @ids;
		$told += @ids;
	}
	return @wrong;
}

# Records that the device holds and its user never could see in that state
sub strangers {
	my ($d) = @_;
	my @wrong;
	for my $c (@collections) {
		my $held = $d->held($c);
		my %seen = map { (canonical(decode_json(Encode::encode('UTF-8', $_))) => 1) }
			@{ $s->selectcol_arrayref('SELECT record FROM app.history WHERE collection = ?
				AND ? IN (owner, editor)', undef, $c, $d->{user}) };
		push @wrong, grep { !$seen{$_} } values %$held;
	}
	return @wrong;
}

my ($syncs, $given_up, $dependent, $sent_twice) = (0, 0, 0, 0);

# A batch is pushed twice by somebody else, before the device sends it: three times the same answer
sub push_twice {
	my ($d) = @_;
	$d->sync_dies('before_push') or return;
	my ($batch) = @{ $d->sql('SELECT changes, base, push_id FROM offsync_batch') };
	my $who = $d->value(q{SELECT value FROM offsync_device WHERE name = 'client_id'});
	my $on_error = $d->value(q{SELECT value FROM offsync_device WHERE name = 'on-error'}) // 'abort';
	my @answers = map {
		$s->begin_work;
		$s->do("SET LOCAL ROLE $Client::role");
		$s->do(q{SELECT set_config('request.jwt.claims', ?, true)}, undef, encode_json({ sub => $d->{user} }));
		my $answer = eval { $s->selectrow_array('SELECT offsync.push_changes(changes => ?, last_pulled_at => ?,
			push_id => ?, client_id => ?, on_error => ?)', undef, @$batch, $who, $on_error) };
		$answer //= 'error ' . $s->state;
		$answer =~ /^error/ ? $s->rollback : $s->commit;
		$answer;
	} 1, 2;
	$sent_twice++ if $answers[0] !~ /^error/;
	is($answers[1], $answers[0], "a push of $d->{name} sent twice");
	return;
}

sub sync {
	my ($d) = @_;
	my @wrong = leaks($d);
	my ($status, @refusals) = sync_mending($d, $app);
	my $said = $d->{said};
	# what went with a shelf comes with the next pull
	$status = $d->sync if $status == 0 && $said =~ /^shelf: sent .* [1-9]\d* deleted/m;
	$given_up += () = $said =~ /: refused /g;
	$dependent += () = $said =~ /refers to record .* which was refused/g;
	push @wrong, strangers($d);
	$syncs++;
	for my $c (@collections) {
		my ($held, $seen) = ($d->held($c), expected($d->{user}, query($c)));
		my @bad = grep { ($held->{$_} // '') ne ($seen->{$_} // '') } sort keys %{ { %$held, %$seen } };
		push @wrong, map { "$c\n    device " . ($held->{$_} // 'none') . "\n    server "
			. ($seen->{$_} // 'none') } @bad;
	}
	push @wrong, $d->dirty . ' dirty' if $status == 0 && $d->dirty;
	ok($status == 0 && !@wrong, "sync $syncs: $d->{name}")
		or diag(join "\n  ", "status $status: " . $said =~ s/^\w+: received .*\n//mgr, @refusals, '',
			@wrong[0 .. ($#wrong < 4 ? $#wrong : 4)]);
	return;
}

my @places = qw(after_pull before_apply before_push in_push after_push before_ack);
my @skip = qw(--on-error skip);
my @devices = map { my ($user, $mode, @how) = @$_; device(join('-', $user, $mode, map { s/^--//r } grep { $_ ne '--on-error' } @how),
		$user, '--mode', $mode, '--collections', join(',', @collections), @how) }
	['alice', 'exact'], ['alice', 'number', @skip, '--give-up', '--one-trip'], ['bob', 'exact', @skip, '--give-up'],
	['bob', 'iso', '--one-trip', '--max-rows', 7], ['carol', 'number', @skip, '--max-rows', 5], ['carol', 'exact', @skip, '--one-trip'],
	['alice', 'iso', @skip, '--give-up'], ['bob', 'exact', '--one-trip', '--max-rows', 3],
	['alice', 'exact', @skip, '--max-rows', 4];
server_transaction() for 1 .. 10;

for my $op (1 .. $ops) {
	my $d = pick(@devices);
	my $what = rand;
	if ($what < 0.4) { device_edit($d) for 0 .. rand 3 }
	elsif ($what < 0.45) { device_family($d) }
	elsif ($what < 0.65) { server_transaction() }
	elsif ($what < 0.72) { slow_writer() }
	elsif ($what < 0.79) { $d->sync_dies(pick(@places)) }
	elsif ($what < 0.82) { push_twice($d) }
	elsif ($what < 0.83) { $s->do('TRUNCATE app.' . pick(@collections) . ' CASCADE') if !$slow_open }
	else { sync($d) }
}
slow_writer() if $slow_open;
$slow->disconnect;
for my $round (1, 2) { sync($_) for @devices }
agree("all devices agree about $_", $_, query($_), @devices) for @collections;
cmp_ok($told, '>', 0, "answers told of $told records");
diag("apps mended " . sum(map { $_->{mended} // 0 } @devices) . " pushes, devices gave up $given_up records ($dependent for others), $sent_twice pushes were sent twice") if $ENV{SEED} || $ENV{OPS};
diag("failed with SEED=$seed OPS=$ops") if !Test::More->builder->is_passing;
done_testing();
