# What is synced in a soak: a table for each conflict strategy, one with soft deletes, parents and children, policies
# by owner and by membership; who edits them, and how.
#
# task, jot and twig are there for other clients' devices, too (Facade.pm), so that nothing happens to them that these can't
# be told: no row of task and jot is given away, none of task really goes, and nobody truncates or redefines them.
#
# Every edit writes values into a and b (and draft's tags) that were never written before.  A trigger keeps each
# write of one in audit.event, so that an edit which is stored twice, or not at all, shows.
package Tables;

use strict;
use warnings;
use utf8;
use Client;
use Exporter 'import';
use List::Util qw(any shuffle);

our @EXPORT = qw(@users @collections @edited @shaken %strategy $bad pick uuid make_tables query edit);

our @users = qw(alice bob carol dave erin);
our @teams = qw(red green blue);
our $bad = 13;				# the server takes no such n
@Client::spelled = qw(tags);
our %strategy = (
	item => 'reject', note => 'client_wins', memo => 'server_wins', event => 'last_write_wins', draft => 'merge',
	vote => 'app.decide', leaf => 'field_lww', entry => 'reject', shelf => 'reject', book => 'client_wins',
	task => 'field_lww', jot => 'client_wins', twig => 'field_lww');
our %soft = (entry => 1, task => 1);
our %own = (task => 1, jot => 1);	# nobody's but the owner's
our @edited = sort keys %strategy;
our @shaken = grep { !/^(?:task|jot|twig)$/ } @edited;
# tick and tock are always equal; further comes and goes
our @collections = (@edited, qw(tick tock));

my %columns = (
	entry => ', deleted_at timestamptz',
	task => ', deleted_at timestamptz',
	book => ', shelf uuid REFERENCES app.shelf ON DELETE CASCADE, guards uuid REFERENCES app.shelf');
my %options = (event => q{, updated_at => 'due'}, map { ($_ => q{, soft_delete => 'deleted_at'}) } keys %soft);
my $mine = q{owner = (SELECT app.me()) OR editor = (SELECT app.me())};
our %policy = (
	(map { ($_ => $mine) } @edited),
	memo => "$mine OR team IN (SELECT team FROM app.member WHERE who = (SELECT app.me()))",
	draft => "$mine OR EXISTS (SELECT 1 FROM app.member AS m WHERE m.team = draft.team AND m.who = (SELECT app.me()))",
	book => "$mine OR shelf IN (SELECT id FROM app.shelf)",
	(map { ($_ => 'owner = (SELECT app.me())') } keys %own),
	tick => 'true', tock => 'true', further => $mine);

sub pick { return @_ ? $_[rand @_] : undef }

sub uuid {
	return join '-', map { join '', map { sprintf '%x', int rand 16 } 1 .. $_ } 8, 4, 4, 4, 12;
}

# ---------- the server ----------

# What a device holds of a row
sub query {
	my ($c) = @_;
	return "SELECT json_build_object('id', id::text, 'n', n) FROM app.$c" if $c =~ /^t[io]ck$/;
	my $more = $soft{$c} ? q{, 'deleted_at', NULL} : $c eq 'book' ? q{, 'shelf', shelf, 'guards', guards} : '';
	return q{SELECT json_build_object('id', id, 'owner', owner, 'editor', editor, 'team', team, 'a', a, 'b', b, 'n', n,
		'score', score, 'done', done, 'due', floor(extract(epoch FROM due) * 1000)::bigint, 'tags', tags::text} . "$more)
		FROM app.$c" . ($soft{$c} ? ' WHERE deleted_at IS NULL' : '');
}

my $audit = q{
CREATE SCHEMA audit;
CREATE TABLE audit.event (seq bigserial, xid xid8 DEFAULT pg_current_xact_id(), collection text, id uuid,
	op "char", col text, value text, device text);
CREATE FUNCTION audit.note(tbl text, row_id uuid, op "char", col text, value text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO audit.event (collection, id, op, col, value, device)
	VALUES (tbl, row_id, op, col, value, nullif(current_setting('request.jwt.claims', true), '')::json ->> 'device') $$;
-- I and U: a value written by an INSERT and an UPDATE; D and H: deleted and hidden; M: given to others;
-- V: a version, and the one before
CREATE FUNCTION audit.watch() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
DECLARE
	old_row jsonb := to_jsonb(OLD);
	new_row jsonb := to_jsonb(NEW);
	kind "char" := left(TG_OP, 1);
	name text;
BEGIN
	IF TG_OP = 'DELETE' THEN
		PERFORM audit.note(TG_TABLE_NAME, OLD.id, 'D', NULL, NULL);
		RETURN NULL;
	END IF;
	PERFORM audit.note(TG_TABLE_NAME, NEW.id, 'V', old_row ->> 'server_version', new_row ->> 'server_version');
	FOREACH name IN ARRAY ARRAY['a', 'b'] LOOP
		IF new_row ->> name IS NOT NULL AND new_row -> name IS DISTINCT FROM old_row -> name THEN
			PERFORM audit.note(TG_TABLE_NAME, NEW.id, kind, name, new_row ->> name);
		END IF;
	END LOOP;
	FOR name IN SELECT jsonb_object_keys(CASE jsonb_typeof(NEW.tags) WHEN 'object' THEN NEW.tags ELSE '{}' END) LOOP
		IF NOT coalesce(old_row -> 'tags', 'null') ? name THEN
			PERFORM audit.note(TG_TABLE_NAME, NEW.id, kind, 'tags', name);
		END IF;
	END LOOP;
	IF new_row ->> 'deleted_at' IS NOT NULL AND old_row ->> 'deleted_at' IS NULL THEN
		PERFORM audit.note(TG_TABLE_NAME, NEW.id, 'H', NULL, NULL);
	END IF;
	IF TG_OP = 'UPDATE' AND (OLD.owner, OLD.editor, OLD.team) IS DISTINCT FROM (NEW.owner, NEW.editor, NEW.team) THEN
		PERFORM audit.note(TG_TABLE_NAME, NEW.id, 'M', NULL, NULL);
	END IF;
	RETURN NULL;
END $$;
CREATE FUNCTION audit.emptied() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN
	PERFORM audit.note(TG_TABLE_NAME, NULL, 'T', NULL, NULL);
	RETURN NULL;
END $$;
CREATE TABLE app.member (team text, who text, PRIMARY KEY (team, who));
-- keeps one side's row or the other's, or half of each
CREATE FUNCTION app.decide(base jsonb, local jsonb, server jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE WHEN local IS NULL THEN CASE WHEN server ->> 'n' > '0' THEN 'null'::jsonb END
		WHEN server IS NULL THEN CASE WHEN local ->> 'n' > '0' THEN local - 'id' END
		ELSE jsonb_build_object('a', local -> 'a', 'n', server -> 'n') END $$;
};

sub make_table {
	my ($s, $c) = @_;
	my $plain = $c =~ /^t[io]ck$/;
	my $writes = $plain || $c eq 'further' ? '' : ', INSERT, UPDATE, DELETE';
	my $owner = $own{$c} ? 'NOT NULL DEFAULT app.me()' : '';
	$s->do($_) for
		"CREATE TABLE app.$c (" . ($plain ? 'id int PRIMARY KEY, n integer)' : "id uuid PRIMARY KEY, owner text $owner, editor text,
			team text, a text, b text, n integer CHECK (n <> $bad), score double precision, done boolean,
			due timestamptz, tags jsonb@{[ $columns{$c} // '' ]})"),
		"ALTER TABLE app.$c ENABLE ROW LEVEL SECURITY",
		"CREATE POLICY sight ON app.$c USING ($policy{$c})",
		"GRANT SELECT$writes ON app.$c TO $Client::role",
		"SELECT offsync.enable('app.$c'" . ($strategy{$c} ? ", conflict => '$strategy{$c}'" : '') . ($options{$c} // '') . ')';
	$s->do("CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON app.$c FOR EACH ROW EXECUTE FUNCTION audit.watch()"),
		$s->do("CREATE TRIGGER emptied AFTER TRUNCATE ON app.$c EXECUTE FUNCTION audit.emptied()") if !$plain;
	return;
}

sub make_tables {
	my ($s) = @_;
	$s->do($audit);
	$s->do("GRANT SELECT ON app.member TO $Client::role");
	make_table($s, $_) for 'shelf', (grep { $_ ne 'shelf' } @collections), 'further';
	$s->do("INSERT INTO app.$_ VALUES (1, 0)") for qw(tick tock);
	$s->do('CREATE SCHEMA soak');
	$s->do("GRANT USAGE ON SCHEMA soak TO $Client::role");
	$s->do("SELECT * FROM offsync.expose('soak', '$_')") for qw(rest messages crdt pocketbase);
	# as if all that had been an hour ago, or clocks would lead to before it for as long as they may be wrong
	$s->do(q{SELECT offsync.push_changes('{}')});
	$s->do(q{UPDATE offsync_internal.timeline SET at = at - interval '1 hour'});
	return;
}

# ---------- edits ----------

# SQL for a column's value: the server wants its own types
my %server_value = (done => '?::integer::boolean', due => 'to_timestamp(?::double precision / 1000)');
my %add_tag = (server => q{coalesce(tags, '{}') || jsonb_build_object(?::text, 1)},
	device => q{json_set(ifnull(tags, '{}'), '$."' || ? || '"', 1)});

sub values_for {
	my ($c, $new) = @_;
	my %row = (
		n => pick(0, 1, -5, 2147483647, undef),
		score => pick(0, 0.5, -1.1, 12345678.9, undef, int(rand 1000) / 10),
		done => pick(0, 1, undef),
		due => $c eq 'event' ? int((time + rand(20) - 10) * 1000) : pick(0, 1700000000123, -1, undef, int rand 2e12));
	$row{$_} = $new->() for qw(a b);
	$row{ pick(qw(a b)) } = undef if rand() < 0.1;
	return %row;
}

# Owners, editors and teams in any mix, so that records come and go; for devices with their user in it
sub people {
	my ($user, $c) = @_;
	# the users whose rows other clients' devices hold (soak.pl) have more of them
	return ($user // pick(@users, (@users[ 0, 1 ]) x 2), undef, undef) if $own{$c};
	my ($owner, $editor, $team) = (pick(@users), pick(@users, undef, undef), pick(@teams, undef));
	return ($owner, $editor, $team) if !$user || any { ($_ // '') eq $user } $owner, $editor;
	return rand() < 0.5 ? ($user, $editor, $team) : ($owner, $user, $team);
}

# One random edit of a table.  An editor is {do => code that runs SQL, new => code that makes a value, ids => ids there
# are, gone => ids that were deleted, shelves => ids, user => whose device it is, or none}
sub edit {
	my ($by, $c) = @_;
	my $kind = @{ $by->{ids} } ? pick(qw(insert insert again update update update update people delete),
		$c eq 'entry' ? qw(hide show) : ()) : 'insert';
	$kind = 'update' if $kind eq 'people' && $own{$c};
	$kind = pick(qw(hide hide show)) if $kind eq 'delete' && $c eq 'task' && !$by->{user};
	my $table = $by->{user} ? $c : "app.$c";
	my $id = pick(@{ $by->{ids} });
	my %row = values_for($c, $by->{new});
	$row{n} = $bad if $by->{user} && rand() < 0.03;
	@row{qw(shelf guards)} = (pick(@{ $by->{shelves} }), rand() < 0.1 ? pick(@{ $by->{shelves} }) : undef) if $c eq 'book';
	my $place = sub { $by->{user} ? '?' : $server_value{ $_[0] } // '?' };
	if ($kind =~ /insert|again/) {
		@row{qw(owner editor team)} = people($by->{user}, $c);
		$id = ($kind eq 'again' && pick(@{ $by->{gone} })) || uuid();
		my @keys = sort keys %row;
		$by->{do}->("INSERT INTO $table (id, " . join(', ', @keys) . ') SELECT ?, ' . join(', ', map { $place->($_) } @keys)
			. " WHERE NOT EXISTS (SELECT 1 FROM $table WHERE id = ?)", $id, @row{@keys}, $id);
	}
	elsif ($kind =~ /update|people/) {
		@row{qw(owner editor team)} = people($by->{user}, $c) if $kind eq 'people';
		my @keys = shuffle(sort grep { !/^(?:a|b|owner|editor|team)$/ } keys %row);
		@keys = (pick([qw(a)], [qw(b)], [qw(a b)])->@*, $kind eq 'people' ? qw(owner editor team) : @keys[0 .. rand @keys]);
		push @keys, 'due' if $c eq 'event' && !any { $_ eq 'due' } @keys;
		$row{ $keys[0] } //= $by->{new}->();
		my $tag = $c eq 'draft' && rand() < 0.5;
		my $set = join ', ', (map { "$_ = " . $place->($_) } sort @keys),
			$tag ? "tags = $add_tag{ $by->{user} ? 'device' : 'server' }" : ();
		$by->{do}->("UPDATE $table SET $set WHERE id = ?", @row{ sort @keys }, ($tag ? $by->{new}->() =~ s/ .*//r : ()), $id);
	}
	elsif ($kind eq 'hide') {
		$by->{do}->("UPDATE $table SET deleted_at = " . ($by->{user} ? '1700000000000' : 'now()') . ' WHERE id = ?', $id);
	}
	elsif ($kind eq 'show') {
		$by->{do}->("UPDATE $table SET deleted_at = NULL WHERE id = ?", $id);
	}
	else {
		$by->{do}->("DELETE FROM $table WHERE id = ?", $id);
		push @{ $by->{gone} }, $id;
	}
	return;
}

1;
