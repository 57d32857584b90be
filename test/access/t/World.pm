# A generated schema: projects, members, teams, tasks, notes, comments and reactions under policies drawn at
# random; and what people do to its definitions.
package World;

use strict;
use warnings;
use DBI;
use Forms;
use List::Util qw(any first);

# ---------- connections ----------

sub attach {
	my ($name, $tries) = @_;
	# a crashed server needs a moment
	my $dbh = eval { connection($name) };
	return $dbh // (($tries // 0) < 20 ? (select(undef, undef, undef, 0.25), attach($name, ($tries // 0) + 1))[1] : connection($name));
}

sub connection {
	my ($name) = @_;
	return DBI->connect('dbi:Pg:' . ($name ? "dbname=$name" : ''), undef, undef,
		{ RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, pg_enable_utf8 => 1, pg_server_prepare => 0 });
}

# One statement or several on one of the world's connections; written down for who wants to repeat it
sub run {
	my ($w, $who, $sql) = @_;
	push @{ $w->{log} }, "/* $who */ $sql;";
	return $w->{conn}{$who}->do($sql);
}

sub try {
	my ($w, $who, $sql) = @_;
	return 1 if eval { run($w, $who, $sql); 1 };
	$w->{log}[-1] .= '  -- ' . ($w->{conn}{$who}->state // '');
	$w->{refused}{ $w->{conn}{$who}->state // '' }++;
	return 0;
}

# Several, on the administrator's connection, all or nothing
sub together {
	my ($w, @sql) = @_;
	run($w, 'admin', 'BEGIN');
	for my $sql (@sql) {
		next if try($w, 'admin', $sql);
		run($w, 'admin', 'ROLLBACK');
		return 0;
	}
	run($w, 'admin', 'COMMIT');
	return 1;
}

sub column {
	my ($w, $sql, $who) = @_;
	return $w->{conn}{ $who // 'admin' }->selectcol_arrayref($sql);
}

# ---------- chance ----------

sub pick { return @_ ? $_[rand @_] : undef }
sub chance { return rand() < $_[0] }

my @users = qw(ann bob cid dot);
my @orgs = qw(o1 o2 o3);

sub quote {
	my ($value) = @_;
	return 'NULL' if !defined $value;
	return "'" . $value =~ s/'/''/gr . "'";
}

# The id of a number, in a type
sub id_of {
	my ($type, $n) = @_;
	return sprintf('00000000-0000-4000-8000-%012d', $n) if $type eq 'uuid';
	return $type =~ /int/ ? $n : "k$n";
}

sub user { return pick(@users) }
sub user_or_null { return chance(0.1) ? undef : pick(@users) }
sub org { return chance(0.05) ? undef : pick(@orgs) }

# ---------- the schema ----------

my @me = (q{current_setting('app.sub', true)}, 'app.me()', '(SELECT app.me())',
	q{(current_setting('request.jwt.claims', true)::json ->> 'sub')});
my @org = (q{current_setting('app.org', true)}, 'app.org()', '(SELECT app.org())',
	q{(current_setting('request.jwt.claims', true)::json ->> 'org')});

sub policy_sql {
	my ($w, $t, $kind, $form) = @_;
	my $sql = form_sql($kind, $form);
	my ($me, $org) = (pick(@me), pick(@org));
	$sql =~ s/\{me\}/$me/g;
	$sql =~ s/\{org\}/$org/g;
	$sql =~ s/\{t\}/$t->{name}/g;
	$sql =~ s/\{up\}/$t->{up}/g if $t->{up};
	$sql =~ s/\{fk\}/$t->{fk}/g if $t->{fk};
	return $sql;
}

sub draw_form {
	my ($w, $kind, $t) = @_;
	my @names = grep { !$t->{row_local} || !/^(lookup|whole_row)$/ } form_names($kind);
	if ($ENV{FORMS}) {
		my @wanted = grep { /$ENV{FORMS}/ } @names;
		@names = @wanted if @wanted;
	}
	# exact forms are the most, and the trivial ones the least interesting
	@names = grep { form_promise($kind, $_) ne 'none' || chance(0.35) } @names;
	@names = grep { !/^(all|none|volatile|clock)$/ || chance(0.1) } @names;
	return pick(@names) // 'owner';
}

# A policy as it goes into CREATE POLICY; remembers its form
sub make_policy {
	my ($w, $t, $name, $kind, $how) = @_;
	my $form = $w->draw_form($kind, $t);
	$t->{policies}{$name} = { kind => $kind, form => $form, how => $how };
	return "CREATE POLICY $name ON app.$t->{name} $how USING (" . $w->policy_sql($t, $kind, $form) . ')'
		. ($how =~ /FOR SELECT/ ? '' : ' WITH CHECK (true)');
}

sub restrictive_kind {
	my ($t) = @_;
	return $t->{kind} eq 'item' ? 'restrictive' : 'restrictive_child';
}

sub policies {
	my ($w, $t) = @_;
	my @sql = ("ALTER TABLE app.$t->{name} ENABLE ROW LEVEL SECURITY");
	if ($t->{kind} =~ /item|child/ && chance(0.15)) {
		push @sql, $w->make_policy($t, 'main', $t->{kind}, 'FOR SELECT'),
			map { "CREATE POLICY write_$_ ON app.$t->{name} FOR " . uc($_) . ' ' . ($_ eq 'insert' ? '' : 'USING (true) ')
					. ($_ eq 'delete' ? '' : 'WITH CHECK (true)') } qw(insert update delete);
	}
	else { push @sql, $w->make_policy($t, 'main', $t->{kind}, '') }
	push @sql, $w->make_policy($t, 'extra', $t->{kind}, 'FOR SELECT') if chance(0.25);
	push @sql, $w->make_policy($t, 'narrow', restrictive_kind($t), 'AS RESTRICTIVE FOR SELECT')
		if $t->{kind} =~ /item|child/ && chance(0.2);
	push @sql, $w->make_policy($t, 'special', $t->{kind}, "FOR SELECT TO $w->{group}") if chance(0.15);
	# no say in what is read
	push @sql, "CREATE POLICY checks ON app.$t->{name} " . (chance(0.5) ? 'AS RESTRICTIVE ' : '') . 'WITH CHECK (true)' if chance(0.15);
	return @sql;
}

sub functions {
	my ($w) = @_;
	my $p = $w->{ptype};
	return (
		q{CREATE FUNCTION app.me() RETURNS text STABLE LANGUAGE sql AS $$SELECT current_setting('app.sub', true)$$},
		q{CREATE FUNCTION app.org() RETURNS text STABLE LANGUAGE sql AS $$SELECT current_setting('app.org', true)$$},
		'CREATE FUNCTION app.my_teams() RETURNS int[] STABLE SECURITY DEFINER LANGUAGE sql AS $$SELECT '
			. ($w->{null_teams} ? 'array_agg(team_id)' : q{coalesce(array_agg(team_id), '{}')})
			. ' FROM app.team_member WHERE user_id = app.me()$$',
		'CREATE FUNCTION app.my_team_set() RETURNS SETOF int STABLE SECURITY DEFINER LANGUAGE sql AS
			$$SELECT team_id FROM app.team_member WHERE user_id = app.me()$$',
		"CREATE FUNCTION app.my_projects() RETURNS SETOF $w->{mtype} STABLE SECURITY DEFINER LANGUAGE sql AS
			\$\$SELECT project_id FROM app.member WHERE user_id = app.me()\$\$",
		"CREATE FUNCTION app.can_read(project $p) RETURNS boolean STABLE SECURITY DEFINER LANGUAGE sql AS
			\$\$SELECT EXISTS (SELECT FROM app.member WHERE project_id = project AND user_id = app.me())\$\$");
}

sub row_functions {
	my ($w, $t) = @_;
	return (
		"CREATE FUNCTION app.can_read_$t->{name}(item $t->{ktype}) RETURNS boolean STABLE SECURITY DEFINER LANGUAGE sql AS
			\$\$SELECT app.can_read(project_id) FROM app.$t->{name} WHERE id = item LIMIT 1\$\$",
		"CREATE FUNCTION app.row_is_mine(r app.$t->{name}) RETURNS boolean STABLE LANGUAGE sql AS
			\$\$SELECT r.owner = current_setting('app.sub', true)\$\$");
}

# The tables, those that others' policies read first
sub make_tables {
	my ($w) = @_;
	my ($p, $m) = @$w{qw(ptype mtype)};
	my @types = qw(text uuid int bigint varchar);
	my $fk = pick('REFERENCES app.project ON DELETE CASCADE ON UPDATE CASCADE', 'REFERENCES app.project ON DELETE SET NULL ON UPDATE CASCADE', '', '');
	my @tables;
	push @tables, { name => 'project', kind => 'project', ktype => $p, synced => chance(0.85),
		columns => "id $p PRIMARY KEY, org text, owner text, public boolean, n int, name text" };
	my $member_fk = $p eq $m && chance(0.6) ? 'REFERENCES app.project ON DELETE CASCADE ON UPDATE CASCADE' : '';
	push @tables, { name => 'member', kind => 'member', ktype => 'int', synced => chance(0.5), rls => chance(0.4),
		columns => "id int PRIMARY KEY, project_id $m $member_fk, user_id text, role text, n int" };
	$tables[-1]{rls} = 1 if $tables[-1]{synced};
	my $k = pick(@types);
	push @tables, { name => 'task', kind => 'item', ktype => $k, synced => 1,
		columns => "id $k PRIMARY KEY, project_id $p $fk, owner text, org text, team_id int, public boolean, n int, title text" };
	my $part = $w->{partitioned} = chance(0.3) ? pick('hash', 'list') : '';
	my $k2 = pick(@types);
	push @tables, { name => 'note', kind => 'item', ktype => $k2, synced => 1, parts => $part,
		columns => "id $k2, project_id $p, owner text, org text, team_id int, public boolean, n int, title text"
			. ($part eq 'list' ? ', kind int, PRIMARY KEY (id, kind)' : ', PRIMARY KEY (id)'),
		key => $part eq 'list' ? ['id', 'kind'] : ['id'] };
	my $k3 = pick(@types);
	my $fk2 = chance(0.7) ? 'REFERENCES app.task ON DELETE CASCADE ON UPDATE CASCADE' : '';
	push @tables, { name => 'comment', kind => 'child', up => 'task', fk => 'task_id', uptype => $k, ktype => $k3, synced => 1,
		columns => "id $k3 PRIMARY KEY, task_id $k $fk2, author text, n int, body text" };
	my $fk3 = chance(0.7) ? 'REFERENCES app.comment ON DELETE CASCADE ON UPDATE CASCADE' : '';
	push @tables, { name => 'reaction', kind => 'child', up => 'comment', fk => 'comment_id', uptype => $k3, ktype => pick(@types), synced => 1,
		columns => "id int PRIMARY KEY, comment_id $k3 $fk3, author text, n int, body text" };
	$tables[-1]{ktype} = 'int';
	$w->{tables} = \@tables;
	$w->{table} = { map { ($_->{name} => $_) } @tables };
	for my $t (@tables) {
		$t->{key} //= ['id'];
		$t->{declared} = chance(0.4);
		$t->{row_local} = $t->{declared} && chance(0.5);
		next if $t->{kind} !~ /item|child/ || chance(0.6);
		$t->{filters} = $t->{kind} eq 'item' ? [ pick(['project_id'], ['owner'], ['project_id', 'team_id']) ]->[0] : ['author'];
	}
	return;
}

sub create_table {
	my ($w, $t) = @_;
	return "CREATE TABLE app.$t->{name} ($t->{columns})" if !$t->{parts};
	return ("CREATE TABLE app.$t->{name} ($t->{columns}) PARTITION BY HASH (id)",
		map { "CREATE TABLE app.$t->{name}_$_ PARTITION OF app.$t->{name} FOR VALUES WITH (MODULUS 2, REMAINDER $_)" } 0, 1)
		if $t->{parts} eq 'hash';
	return ("CREATE TABLE app.$t->{name} ($t->{columns}) PARTITION BY LIST (kind)",
		"CREATE TABLE app.$t->{name}_1 PARTITION OF app.$t->{name} FOR VALUES IN (1)",
		"CREATE TABLE app.$t->{name}_rest PARTITION OF app.$t->{name} DEFAULT");
}

# new World(SEED, NAME OF THE DATABASE, PREFIX OF ROLES)
sub new {
	my ($class, $seed, $db, $prefix) = @_;
	my $w = bless { seed => $seed, step => 0, log => [], reset => {}, seen => {}, prefix => $prefix,
		group => "${prefix}_group", roles => ["${prefix}_one", "${prefix}_two"], owner => "${prefix}_owner" }, $class;
	srand $seed;
	$w->{ptype} = pick(qw(text uuid int bigint varchar));
	$w->{mtype} = $w->{ptype} eq 'int' && chance(0.5) ? 'bigint' : $w->{ptype} eq 'varchar' ? 'text' : $w->{ptype};
	$w->{nulls} = chance(0.15);
	$w->{null_teams} = chance(0.15);
	$w->{conn} = { map { ($_ => attach($db)) } qw(admin slow) };
	$w->{conn}{$_}->do("SET client_min_messages = error; SET lock_timeout = '20ms'; SET jit = off") for qw(admin slow);
	$w->make_tables;
	$w->build;
	$w->make_viewers($db);
	$w->refresh;
	return $w;
}

# With what is declared of functions, and what devices may filter by
sub enable_sql {
	my ($t) = @_;
	return "SELECT offsync.enable('app.$t->{name}'"
		. ($t->{declared} ? ", access_tables => '{app.member,app.team_member,app.org_member,app.blocked}'" : '')
		. ($t->{row_local} ? ', row_local => true' : '')
		. ($t->{filters} ? ", filter_columns => '{" . join(',', @{ $t->{filters} }) . "}'" : '') . ')';
}

# A pull is planned otherwise where an index begins with what a policy compares
sub indexes {
	my ($t) = @_;
	my @columns = grep { $t->{columns} =~ /\b$_\b/ } qw(project_id owner team_id org author user_id task_id comment_id);
	return map { "CREATE INDEX ON app.$t->{name} ($_" . (chance(0.5) ? ', server_version' : '') . ')' } grep { chance(0.6) } @columns,
		chance(0.2) ? 'server_version' : ();
}

sub build {
	my ($w) = @_;
	my $roles = join ', ', @{ $w->{roles} }, $w->{group};
	my @sql = ('DROP SCHEMA IF EXISTS app CASCADE', 'CREATE SCHEMA app', "GRANT USAGE ON SCHEMA app TO PUBLIC",
		"REVOKE $w->{group} FROM " . join(', ', @{ $w->{roles} }), map({ "ALTER ROLE $_ NOBYPASSRLS" } @{ $w->{roles} }),
		'CREATE TABLE app.org_member (org text, user_id text)',
		'CREATE TABLE app.team_member (team_id int, user_id text)',
		"CREATE TABLE app.blocked (user_id text, project_id $w->{ptype}, owner text)");
	push @sql, $w->create_table($_) for @{ $w->{tables} };
	push @sql, $w->functions;
	push @sql, $w->row_functions($_) for grep { $_->{kind} eq 'item' } @{ $w->{tables} };
	for my $t (@{ $w->{tables} }) {
		push @sql, $w->policies($t) if $t->{kind} ne 'member' || $t->{rls};
		$t->{policies} //= {};
	}
	push @sql, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO $roles";
	push @sql, map { enable_sql($_) } grep { $_->{synced} } @{ $w->{tables} };
	push @sql, map { indexes($_) } grep { $_->{synced} } @{ $w->{tables} };
	run($w, 'admin', $_) for @sql;
	return;
}

# Who looks: role, name and organisation
sub make_viewers {
	my ($w, $db) = @_;
	my ($one, $two) = @{ $w->{roles} };
	my @who = ([$one, 'ann', 'o1'], [$one, 'bob', 'o1'], [$two, 'cid', 'o2'], [$two, 'ann', 'o2'], [$one, 'ann', 'o2+o3']);
	for my $i (0 .. $#who) {
		my ($role, $sub, $org) = @{ $who[$i] };
		my $v = { n => $i, name => "viewer$i", role => $role, sub => $sub, org => $org };
		my $c = $w->{conn}{ $v->{name} } = attach($db);
		run($w, $v->{name}, "SET client_min_messages = error; SET lock_timeout = '20ms'; SET jit = off; SET ROLE $role; SET app.sub = '$sub'; SET app.org = '$org'; "
			. "SET request.jwt.claims = '{\"sub\": \"$sub\", \"org\": \"$org\", \"iat\": 1}'");
		push @{ $w->{viewers} }, $v;
	}
	return;
}

sub finish {
	my ($w) = @_;
	eval { $_->disconnect } for values %{ $w->{conn} };
	return;
}

sub synced { my ($w) = @_; return grep { $_->{synced} } @{ $w->{tables} } }

# ---------- what a role may read, and how a record is spelt ----------

# After a definition changed: columns and privileges
sub refresh {
	my ($w) = @_;
	my $rows = $w->{conn}{admin}->selectall_arrayref(q{SELECT r, c.relname, a.attname, has_column_privilege(r, c.oid, a.attnum, 'SELECT')::int
		FROM unnest(?::text[]) r, pg_class c, pg_attribute a WHERE c.relnamespace = 'app'::regnamespace AND a.attrelid = c.oid
		AND a.attnum > 0 AND NOT a.attisdropped ORDER BY r, c.relname, a.attnum}, undef, $w->{roles});
	my %columns;
	push @{ $columns{ $_->[0] }{ $_->[1] } }, $_->[2] for grep { $_->[3] } @$rows;
	for my $role (@{ $w->{roles} }) {
		my $who = (first { $_->{role} eq $role } @{ $w->{viewers} })->{name};
		for my $t ($w->synced) {
			my @columns = @{ $columns{$role}{ $t->{name} } // [] };
			my $readable = !any { my $k = $_; !any { $_ eq $k } @columns } @{ $t->{key} };
			# a policy may read what the role can't
			$readable &&= eval { $w->{conn}{$who}->do("SELECT id FROM app.$t->{name} LIMIT 0"); 1 };
			$w->{view}{$role}{ $t->{name} } = $readable ? record_sql($t, @columns) : undef;
		}
	}
	return;
}

sub record_sql {
	my ($t, @columns) = @_;
	my $id = join " || '.' || ", map { "$_\::text" } @{ $t->{key} };
	my @show = grep { !/^server_(created_at|updated_at|created_version)$/ && ($_ ne 'id' || @{ $t->{key} } > 1) } @columns;
	@show = grep { my $c = $_; @{ $t->{key} } > 1 || $c ne $t->{key}[0] } @show;
	my $record = join " || ", q('{"id":' || to_json((id))::text),
		map { my $n = $_ eq 'id' ? 'id_' : $_; qq(',"$n":' || coalesce(to_json($_)::text, 'null')) } @show;
	$record =~ s/\(id\)/$id/;
	return { id => $id, columns => { map { ($_ => 1) } @columns }, sql => "SELECT '$t->{name}', $id, $record || '}' FROM app.$t->{name}" };
}

# ---------- after a commit: what could everybody see? ----------

# A commit: remembers for each viewer which ids are in sight
sub committed {
	my ($w) = @_;
	my $step = ++$w->{step};
	for my $v (@{ $w->{viewers} }) {
		my $view = $w->{view}{ $v->{role} };
		my @sql = map { my $s = $view->{ $_->{name} }; $s ? "SELECT '$_->{name}', $s->{id} FROM app.$_->{name}" : () } $w->synced;
		next if !@sql;
		my $rows = $w->{conn}{ $v->{name} }->selectall_arrayref(join ' UNION ALL ', @sql);
		$w->{seen}{ $v->{n} }{ $_->[0] }{ $_->[1] } = $step for @$rows;
	}
	return;
}

# A collection, and those whose policies read it, may be answered in full for cursors from before
sub was_reset {
	my ($w, $name) = @_;
	# who is a member decides about everything
	$name = undef if ($name // '') eq 'member';
	my $from = 0;
	for my $t (@{ $w->{tables} }) {
		$from = 1 if !defined $name || $t->{name} eq $name;
		$w->{reset}{ $t->{name} } = $w->{step} if $from;
	}
	return;
}

# What exact cursors are promised for a table
sub promise {
	my ($w, $name) = @_;
	my $t = $w->{table}{$name};
	my $promise = 'row';
	for my $p (values %{ $t->{policies} }) {
		my $this = form_promise($p->{kind}, $p->{form});
		my $sql = form_sql($p->{kind}, $p->{form});
		$this = 'value' if $this eq 'set' && ($w->{nulls} && $sql =~ /member\b|my_projects/ || $w->{null_teams} && $sql =~ /my_teams/);
		$promise = worse($promise, $this);
		# a set read from a synced table is as good as that table's own deltas
		for my $up ($sql =~ /app\.(project|member)\b/g, $t->{up} && $sql =~ /\{up\}/ ? $t->{up} : ()) {
			$promise = worse($promise, $w->promise($up)) if $w->{table}{$up}{policies} && %{ $w->{table}{$up}{policies} };
		}
	}
	return $promise;
}

1;
