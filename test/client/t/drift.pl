# Devices that behave as the Dart client does (Drift and Supabase, lib/sync of custom_supabase_drift_doc_sync): clocks that
# are ahead and behind, local times of several zones, other syncs and open transactions between a pull and its push,
# answers that get lost.  In the end every device holds what its user sees.
#
# SEED=n|random: another run than the usual one; WORLDS and OPS make it longer.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Client;
use DBI;
use JSON::PP;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{SEED} // 1;
$seed = int rand 1e6 if $seed eq 'random';
my $worlds = $ENV{WORLDS} // 6;
my $ops = $ENV{OPS} // 250;
my $json = JSON::PP->new->canonical->allow_nonref;
my $s = server();
my $first = 946684800;		# 2000-01-01 in UTC

diag("SEED=$seed");
$s->do($_) for
	'CREATE SCHEMA api',
	"GRANT USAGE ON SCHEMA api, app TO $Client::role";

# ---------- times: seconds with six decimals, as strings keep them ----------

sub iso {
	my ($at, $zone) = @_;
	my ($whole, $part) = sprintf('%.6f', $at + ($zone // 0) * 3600) =~ /^(-?\d+)\.(\d{6})$/;
	return POSIX::strftime('%Y-%m-%dT%H:%M:%S', gmtime $whole) . ".$part" . (defined $zone ? '' : 'Z');
}

# DateTime.parse, on a device of a zone
sub parse {
	my ($text, $zone) = @_;
	my ($y, $mo, $d, $h, $mi, $sec, $part, $z) =
		$text =~ /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(Z?)$/ or die "FormatException: $text";
	my $days = POSIX::floor((POSIX::mktime(0, 0, 12, $d, $mo - 1, $y - 1900) - POSIX::mktime(0, 0, 12, 1, 0, 70)) / 86400 + 0.5);
	return $days * 86400 + $h * 3600 + $mi * 60 + $sec + ('0.' . ($part // 0)) - ($z ? 0 : $zone * 3600);
}

# ---------- devices ----------

my (@tables, @devices, $next_id);

sub make_device {
	my (%is) = @_;
	return { %is, rows => { map { ($_ => {}) } @tables }, last => undef, phase => undef,
		instance => sprintf('%08x-0000-4000-8000-000000000000', ++$next_id) };
}

sub clock { my ($d) = @_; return time + $d->{skew} }

# What the app stores for a time: local, or as it should be
sub stamp { my ($d) = @_; return $d->{utc} ? iso(clock($d)) : iso(clock($d), $d->{zone}) }

sub rpc {
	my ($d, $sql, @values) = @_;
	$s->begin_work;
	my @row = eval {
		$s->do("SET LOCAL ROLE $Client::role");
		$s->do(q{SELECT set_config('request.jwt.claims', ?, true)}, undef, encode_json({ sub => $d->{user} }));
		$s->selectrow_array($sql, undef, @values);
	};
	if (my $error = $@) { $s->rollback; die $error }
	$s->commit;
	return $json->decode(Encode::decode('UTF-8', Encode::encode('UTF-8', $row[0])));
}

sub pull {
	my ($d) = @_;
	my $now = clock($d);
	my $last = $d->{last} // $first - $d->{zone} * 3600;
	my $changes = rpc($d, 'SELECT api.' . $d->{form} . '_pull_changes(collections => ?, last_pulled_at => ?)',
		[map { "app.$_" } @tables], iso($last))->{changes};
	for my $t (@tables) {
		my ($rows, $told) = ($d->{rows}{$t}, $changes->{"app.$t"});
		for my $r (@{ $told->{created} }, @{ $told->{updated} }) {
			my $held = $rows->{ $r->{id} };
			next if $held && parse($r->{updated_at}, 0) <= parse($held->{updated_at}, $d->{zone}) + 5e-7;
			$rows->{ $r->{id} } = { %$r{qw(id name created_at updated_at deleted_at user_id)}, isRemote => 1 };
		}
		next if $d->{form} eq 'rows';		# the pinned client doesn't read them
		delete $rows->{"$_"} for @{ $told->{deleted} };
	}
	$d->{phase} = { now => $now, last => $last };
}

sub push_local {
	my ($d) = @_;
	my ($now, $last) = @{ delete $d->{phase} }{qw(now last)};
	my (%changes, $any);
	for my $t (@tables) {
		my %lists = (created => [], updated => [], deleted => []);
		for my $r (sort { $a->{id} cmp $b->{id} } values %{ $d->{rows}{$t} }) {
			next if $r->{isRemote};
			my $row = { %$r, instance_id => $d->{instance} };
			delete $row->{isRemote};
			my $since = sub { defined $r->{ $_[0] } && parse($r->{ $_[0] }, $d->{zone}) >= $last };
			push @{ $lists{created} }, $row if $since->('created_at');
			push @{ $lists{updated} }, $row if $since->('updated_at') && !$since->('created_at');
			push @{ $lists{deleted} }, $d->{form} eq 'rows' ? $row : $r->{id} if $since->('deleted_at');
		}
		$any ||= grep { @$_ } values %lists;
		$changes{"app.$t"} = \%lists;
	}
	if (!$any) { $d->{last} = $now - 120; return }
	my $res = rpc($d, 'SELECT api.' . $d->{form} . '_push_changes(_changes => ?, last_pulled_at => ?)',
		$json->encode(\%changes), iso($now, $d->{zone}));
	return if !$d->{calm} && rand() < 0.15;		# the answer comes too late
	$d->{last} = parse($res, $d->{zone});
}

sub sync { my ($d) = @_; pull($d) if !$d->{phase}; push_local($d) }

# ---------- what people do ----------

sub pick { return $_[rand @_] }

sub edit {
	my ($d, $how) = @_;
	my $rows = $d->{rows}{ pick(@tables) };
	my @alive = grep { !$_->{deleted_at} } values %$rows;
	my $at = stamp($d);
	if ($how eq 'create' || !@alive) {
		my $id = sprintf('00000000-0000-4000-8000-%012x', ++$next_id);
		$rows->{$id} = { id => $id, name => "made $next_id", created_at => $at, updated_at => $at, deleted_at => undef,
			user_id => $d->{user}, isRemote => 0 };
		return;
	}
	my $r = pick(sort { $a->{id} cmp $b->{id} } @alive);
	$r->{isRemote} = 0;
	$r->{updated_at} = $at if $how eq 'change' || $d->{dates_deletions};
	if ($how eq 'change') { $r->{name} = 'edit ' . ++$next_id }
	else { $r->{deleted_at} = $at }
}

# Another session: an ORM, a job.  Some of its transactions stay open for a while.
my @open;
sub elsewhere {
	my ($world) = @_;
	my $db = DBI->connect("dbi:Pg:dbname=" . $s->{pg_db}, undef, undef, { RaiseError => 1, PrintError => 0 });
	my ($t, $user) = (pick(@tables), pick(qw(ann bob)));
	my $what = pick(qw(insert insert change end dated));
	my $one = "id = (SELECT id FROM app.$t WHERE user_id = ? ORDER BY md5(id::text || " . int(rand 1000) . ') LIMIT 1)';
	$db->begin_work;
	$db->do("INSERT INTO app.$t VALUES (gen_random_uuid(), ?, now(), now() - interval '1 day', NULL, ?)", undef, 'job ' . ++$next_id, $user) if $what eq 'insert';
	$db->do("UPDATE app.$t SET name = ? WHERE $one", undef, 'job ' . ++$next_id, $user) if $what eq 'change';
	$db->do("UPDATE app.$t SET deleted_at = now() WHERE deleted_at IS NULL AND $one", undef, $user) if $what eq 'end';
	$db->do("UPDATE app.$t SET name = name || '!', updated_at = greatest(now(), updated_at) + interval '1 min' WHERE $one", undef, $user) if $what eq 'dated';
	# others must not wait for it
	if ($what eq 'insert' && rand() < 0.7) { push @open, $db; return }
	$db->commit;
	$db->disconnect;
}

sub end_one { my $db = splice @open, rand @open, 1; pick(1, 1, 0) ? $db->commit : $db->rollback; $db->disconnect }

# What was done so far was long ago.
sub hour {
	$_->{phase} and push_local($_) for @devices;
	$s->do('SELECT offsync.push_changes($${}$$)');
	$s->do(q{UPDATE offsync_internal.timeline SET at = at - interval '1 hour'});
	defined $_->{last} and $_->{last} -= 3600 for @devices;
}

# ---------- a world ----------

sub setup {
	my ($n, $soft) = @_;
	@tables = map { "${_}_$n" } qw(task doc);
	for my $t (@tables) {
		$s->do($_) for
			"CREATE TABLE app.$t (id uuid PRIMARY KEY, name text NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL,
				deleted_at timestamptz, user_id text NOT NULL DEFAULT app.me(), instance_id uuid)",
			"ALTER TABLE app.$t ENABLE ROW LEVEL SECURITY",
			"CREATE POLICY own ON app.$t USING (user_id = (SELECT app.me()))",
			"GRANT SELECT, INSERT, UPDATE, DELETE ON app.$t TO $Client::role",
			"SELECT offsync.enable('app.$t', conflict => 'last_write_wins', updated_at => 'updated_at', soft_delete => 'deleted_at')";
	}
	$s->do("SELECT offsync.expose('api', 'drift', prefix => '${_}_', replace => true, tombstones => '$_')") for qw(ids rows);
	@devices = map { make_device(%$_) } (
		{ user => 'ann', skew => 0, zone => 2, form => 'rows', utc => 0, dates_deletions => 1 },
		{ user => 'ann', skew => -40, zone => -9.5, form => 'ids', utc => 1, dates_deletions => 1 },
		{ user => 'ann', skew => 50, zone => 5.75, form => 'rows', utc => 1, dates_deletions => 0 },
		{ user => 'ann', skew => 170, zone => 13, form => 'ids', utc => 0, dates_deletions => 1 },
		{ user => 'bob', skew => -400, zone => 0, form => 'rows', utc => 0, dates_deletions => 1 },
		{ user => 'bob', skew => 3, zone => 1, form => 'ids', utc => 1, dates_deletions => 0 });
}

# One device's rows that are alive, and the server's
sub differences {
	my ($d) = @_;
	my @bad;
	for my $t (@tables) {
		my $seen = expected($d->{user}, "SELECT json_build_object('id', id, 'name', name) FROM app.$t WHERE deleted_at IS NULL");
		my $held = { map { ($_->{id} => canonical({ id => $_->{id}, name => $_->{name} })) } grep { !$_->{deleted_at} } values %{ $d->{rows}{$t} } };
		push @bad, map { "$t: device " . ($held->{$_} // 'none') . ' ' . canonical($d->{rows}{$t}{$_}) . ', server ' . ($seen->{$_} // 'none')
				. ' ' . ($s->selectrow_array("SELECT to_jsonb(t) FROM app.$t t WHERE id = ?", undef, $_) // '') }
			grep { ($held->{$_} // '') ne ($seen->{$_} // '') } sort keys %{ { %$held, %$seen } };
	}
	return @bad;
}

for my $world (1 .. $worlds) {
	srand($seed + $world);
	setup($world);
	for my $op (1 .. $ops) {
		my $d = pick(@devices);
		my $what = rand;
		if ($what < 0.45) { edit($d, pick(qw(create change change change delete))) }
		elsif ($what < 0.60) { $d->{phase} ? push_local($d) : pull($d) }
		elsif ($what < 0.80) { sync($d) }
		elsif ($what < 0.92) { elsewhere() }
		elsif ($what < 0.98) { end_one() if @open }
		else { hour() }
	}
	end_one() while @open;
	$_->{calm} = 1 for @devices;
	for my $round (1 .. 4) { sync($_) for @devices }
	for my $d (@devices) {
		my @bad = differences($d);
		is(scalar @bad, 0, "world $world: a device of $d->{user}, $d->{skew} s ahead at UTC+$d->{zone}, holds what its user sees")
			or diag("SEED=$seed\n" . join "\n", @bad[0 .. ($#bad < 4 ? $#bad : 4)]);
	}
}
done_testing;
