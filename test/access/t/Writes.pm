# What people do between two pulls: they write rows, come and go as members, and change definitions.
package Writes;

use strict;
use warnings;
use Exporter 'import';
use JSON::PP ();
use List::Util qw(max min uniq);
use World;

our @EXPORT = qw(filter_value pushed populate server_transaction membership_transaction user_write slow_writer definition viewer_roles);

*pick = \&World::pick;
*chance = \&World::chance;
*quote = \&World::quote;
*run = \&World::run;
*try = \&World::try;
*column = \&World::column;

# ---------- rows ----------

sub ids {
	my ($w, $t, $who) = @_;
	return @{ column($w, "SELECT DISTINCT id FROM app.$t->{name} ORDER BY id", $who) };
}

# Some of a list
sub some {
	my ($max, @list) = @_;
	return () if !@list;
	my %chosen = map { ($_ => 1) } map { pick(@list) } 1 .. 1 + int rand $max;
	return grep { $chosen{$_} } @list;
}

sub list { return join ', ', map { quote($_) } @_ }

# A new id; sometimes one that a deleted row had
sub new_id {
	my ($w, $t, @there) = @_;
	my %there = map { ($_ => 1) } @there;
	my @free = grep { !$there{$_} } @{ $w->{used}{ $t->{name} } //= [] };
	return pick(@free) if @free && chance(0.15);
	my $id = World::id_of($t->{ktype}, $w->{op} * 100 + $w->{fresh}++);
	push @{ $w->{used}{ $t->{name} } }, $id;
	return $id;
}

sub projects { my ($w) = @_; return $w->{projects} //= [ ids($w, $w->{table}{project}) ] }

sub project_or_null { my ($w) = @_; return World::chance(0.08) ? undef : pick(@{ projects($w) }) }

# column => a value for it
sub value {
	my ($w, $t, $column) = @_;
	return project_or_null($w) if $column eq 'project_id' && ($t->{kind} ne 'member' || $w->{nulls});
	return pick(@{ projects($w) }) if $column eq 'project_id';
	return pick(World::chance(0.05) ? undef : pick(ids($w, $w->{table}{ $t->{up} }))) if $t->{fk} && $column eq $t->{fk};
	return World::user_or_null() if $column =~ /^(owner|author)$/;
	return World::user() if $column eq 'user_id';
	return World::org() if $column eq 'org';
	return pick('admin', 'member', 'member', undef) if $column eq 'role';
	return chance(0.1) ? undef : int rand 4 if $column eq 'team_id';
	return pick('true', 'false', 'false', undef) if $column eq 'public';
	return chance(0.05) ? undef : int rand 100 if $column eq 'n';
	return pick(1, 2, 3) if $column eq 'kind';
	return 'text ' . int rand 100;
}

my %columns = (
	project => [qw(org owner public n name)],
	member => [qw(project_id user_id role n)],
	item => [qw(project_id owner org team_id public n title)]);

sub columns_of {
	my ($t) = @_;
	return $t->{kind} eq 'child' ? ($t->{fk}, qw(author n body)) : @{ $columns{ $t->{kind} } };
}

sub insert {
	my ($w, $t, @there) = @_;
	my @columns = ('id', columns_of($t), ($t->{parts} // '') eq 'list' ? 'kind' : ());
	my @rows = map { my $id = new_id($w, $t, @there); push @there, $id;
			'(' . list(map { $_ eq 'id' ? $id : value($w, $t, $_) } @columns) . ')' } 1 .. 1 + int rand 3;
	return "INSERT INTO app.$t->{name} (" . join(', ', @columns) . ') VALUES ' . join(', ', @rows)
		. (chance(0.2) && !($t->{parts} // '') ? ' ON CONFLICT (id) DO UPDATE SET n = 1' : '');
}

sub merge {
	my ($w, $t, @there) = @_;
	my @set = uniq('n', pick(columns_of($t)));
	my @ids = uniq(some(3, @there), new_id($w, $t, @there));
	my $type = $t->{ktype};
	my @rest = grep { my $c = $_; !grep { $_ eq $c } @set } columns_of($t), ($t->{parts} // '') eq 'list' ? 'kind' : ();
	return "MERGE INTO app.$t->{name} t USING (VALUES " . join(', ', map { '(' . quote($_) . "::$type)" } @ids) . ') AS v (id) ON t.id = v.id '
		. (chance(0.3) ? 'WHEN MATCHED AND n < 30 THEN DELETE ' : '')
		. 'WHEN MATCHED THEN UPDATE SET ' . join(', ', map { "$_ = " . quote(value($w, $t, $_)) } @set)
		. ' WHEN NOT MATCHED THEN INSERT (id, ' . join(', ', @set, @rest) . ') VALUES (v.id, '
		. list(map { value($w, $t, $_) } @set, @rest) . ')';
}

# What there is before the first operation
sub populate {
	my ($w) = @_;
	my %many = (project => 3, member => 5, task => 8, note => 7, comment => 8, reaction => 6);
	for my $t (@{ $w->{tables} }) {
		for (1 .. $many{ $t->{name} }) {
			delete $w->{projects};
			try($w, 'admin', insert($w, $t, ids($w, $t)));
		}
	}
	for (1 .. 6) {
		run($w, 'admin', 'INSERT INTO app.team_member VALUES (' . int(rand 4) . ', ' . quote(World::user()) . ')');
		run($w, 'admin', 'INSERT INTO app.org_member VALUES (' . quote(pick(qw(o1 o2 o3))) . ', ' . quote(World::user()) . ')');
	}
	run($w, 'admin', 'INSERT INTO app.blocked VALUES (' . list(World::user(), pick(@{ projects($w) }), World::user()) . ')');
	$w->committed;
	return;
}

# One statement that writes rows of a table
sub statement {
	my ($w, $t, $who) = @_;
	my @there = ids($w, $t, $who);
	return insert($w, $t, @there) if !@there || chance(@there < 25 ? 0.3 : 0.05);
	my $name = "app.$t->{name}";
	my $where = 'WHERE id IN (' . list(some(3, @there)) . ')';
	my @columns = columns_of($t);
	my $kind = pick(qw(update update update move move delete delete reinsert id merge nothing swap));
	if ($kind eq 'update') {
		my @set = some(2, @columns);
		return "UPDATE $name SET " . join(', ', map { "$_ = " . quote(value($w, $t, $_)) } @set) . " $where";
	}
	if ($kind eq 'move') {
		my $column = pick(grep { !/^(title|body|name)$/ } @columns);
		my ($to, $from) = (value($w, $t, $column), value($w, $t, $column));
		return "UPDATE $name SET $column = " . quote($to) . " WHERE $column IS NOT DISTINCT FROM " . quote($from);
	}
	if ($kind eq 'delete') {
		return "DELETE FROM $name $where" if chance(0.7);
		my $column = pick(grep { !/^(title|body|name)$/ } @columns);
		return "DELETE FROM $name WHERE $column = " . quote(value($w, $t, $column) // 'x') =~ s/'x'/NULL/r;
	}
	return "DELETE FROM $name $where; " . insert($w, $t, @there) if $kind eq 'reinsert';
	return "UPDATE $name SET id = " . quote(new_id($w, $t, @there)) . ' WHERE id = ' . quote(pick(@there))
		if $kind eq 'id' && $t->{name} ne 'project';
	return merge($w, $t, @there) if $kind eq 'merge';
	return "UPDATE $name SET n = n $where" if $kind eq 'nothing';
	return "UPDATE $name SET n = coalesce(n, 0) + 1 $where; UPDATE $name SET n = n - 1, "
		. ($t->{kind} eq 'child' ? 'author' : $t->{kind} eq 'member' ? 'user_id' : 'owner') . ' = ' . quote(World::user()) . " $where";
}

# A value that a device may filter by
sub filter_value {
	my ($w, $t, $column) = @_;
	delete $w->{projects};
	my $value = value($w, $t, $column);
	return defined $value && $column =~ /_id$/ && $value =~ /^\d+$/ ? $value + 0 : $value;
}

# What a device pushes of one table: {created, updated, deleted}, and the ids in them
sub pushed {
	my ($w, $t, @held) = @_;
	delete $w->{projects};
	my $column = sub {
		my ($c) = @_;
		my $value = value($w, $t, $c);
		return undef if !defined $value;
		return $value eq 'true' ? JSON::PP::true : JSON::PP::false if $c eq 'public';
		return $value =~ /^-?\d+$/ && $c !~ /^(owner|author|user_id|org|role|title|body|name)$/ ? $value + 0 : $value;
	};
	my %changes = (created => [], updated => [], deleted => []);
	my @held_some = some(3, @held);
	my @columns = columns_of($t);
	for my $id (@held_some) {
		if (chance(0.3)) { push @{ $changes{deleted} }, $id }
		else { push @{ $changes{updated} }, { id => $id, map { ($_ => $column->($_)) } some(2, @columns) } }
	}
	if (!@held_some || chance(0.5)) {
		my $id = new_id($w, $t, @held);
		push @{ $changes{created} }, { id => "$id", map { ($_ => $column->($_)) } @columns };
	}
	return (\%changes, @held_some, map { $_->{id} } @{ $changes{created} });
}

# Come and go
sub membership {
	my ($w, $who) = @_;
	my $user = quote(World::user());
	my $what = pick((qw(member member member member team team org blocked)) x 2, 'project');
	my $project = quote(pick(@{ projects($w) }));
	my $m = $w->{table}{member};
	if ($what eq 'member') {
		my @there = ids($w, $m, $who);
		my $new = list(map { $_ eq 'project_id' ? project_or_null_in($w) : value($w, $m, $_) } qw(project_id user_id role n));
		return pick(
			"INSERT INTO app.member (id, project_id, user_id, role, n) VALUES (" . quote(new_id($w, $m, @there)) . ", $new)",
			"INSERT INTO app.member (id, project_id, user_id, role, n) VALUES (" . quote(new_id($w, $m, @there)) . ", $new)",
			"DELETE FROM app.member WHERE user_id = $user AND project_id = $project",
			"DELETE FROM app.member WHERE user_id = $user",
			"DELETE FROM app.member WHERE id IN (" . (list(some(2, @there)) || 'NULL') . ')',
			"UPDATE app.member SET role = " . quote(pick('admin', 'member')) . " WHERE user_id = $user",
			"UPDATE app.member SET project_id = $project WHERE id IN (" . (list(some(1, @there)) || 'NULL') . ')',
			"UPDATE app.member SET user_id = " . quote(World::user()) . " WHERE user_id = $user",
			# lost and regained at once
			@there ? "CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT id, project_id, user_id, role, n FROM app.member WHERE user_id = $user;"
				. " DELETE FROM app.member WHERE user_id = $user; INSERT INTO app.member (id, project_id, user_id, role, n)"
				. " SELECT id, project_id, user_id, role, n FROM kept; DROP TABLE kept" : ());
	}
	my $team = int rand 4;
	return pick("INSERT INTO app.team_member VALUES ($team, $user)", "DELETE FROM app.team_member WHERE user_id = $user",
		"DELETE FROM app.team_member WHERE user_id = $user AND team_id = $team", 'DELETE FROM app.team_member WHERE team_id = ' . $team)
		if $what eq 'team';
	my $org = quote(pick(qw(o1 o2 o3)));
	return pick("INSERT INTO app.org_member VALUES ($org, $user)", "DELETE FROM app.org_member WHERE user_id = $user") if $what eq 'org';
	return pick("INSERT INTO app.blocked VALUES ($user, $project, " . quote(World::user()) . ')', "DELETE FROM app.blocked WHERE user_id = $user")
		if $what eq 'blocked';
	return statement($w, $w->{table}{project}, $who);
}

sub project_or_null_in { my ($w) = @_; return $w->{nulls} && chance(0.2) ? undef : pick(@{ projects($w) }) }

sub any_statement {
	my ($w, $who) = @_;
	delete $w->{projects};
	return chance(0.2) ? membership($w, $who)
		: statement($w, pick(map { ($_) x ($_->{kind} eq 'item' ? 4 : $_->{kind} eq 'child' ? 3 : 1) } @{ $w->{tables} }), $who);
}

# Statements in one transaction, some of them taken back
sub transaction {
	my ($w, $max, $what) = @_;
	run($w, 'admin', 'BEGIN');
	for (0 .. rand $max) {
		run($w, 'admin', 'SAVEPOINT s');
		run($w, 'admin', 'ROLLBACK TO s') if !try($w, 'admin', $what->($w)) || chance(0.08);
		run($w, 'admin', 'RELEASE s') if chance(0.5);
	}
	run($w, 'admin', chance(0.05) ? 'ROLLBACK' : 'COMMIT');
	$w->committed;
	return;
}

sub server_transaction { my ($w) = @_; return transaction($w, 4, \&any_statement) }

sub membership_transaction {
	my ($w) = @_;
	delete $w->{projects};
	return transaction($w, 2, \&membership);
}

# Under the policies; often refused
sub user_write {
	my ($w) = @_;
	my $v = pick(@{ $w->{viewers} });
	delete $w->{projects};
	my $t = pick($w->synced);
	my $sql = $w->{view}{ $v->{role} }{ $t->{name} } ? statement($w, $t, 'admin') : return;
	run($w, $v->{name}, 'BEGIN');
	run($w, $v->{name}, try($w, $v->{name}, $sql) ? 'COMMIT' : 'ROLLBACK');
	$w->committed;
	return;
}

# A transaction that stays open over other operations
sub slow_writer {
	my ($w) = @_;
	if (!$w->{slow_open}) {
		run($w, 'slow', 'BEGIN');
		$w->{slow_open} = 1;
	}
	elsif (chance(0.5)) {
		run($w, 'slow', chance(0.15) ? 'ROLLBACK' : 'COMMIT');
		$w->{slow_open} = 0;
		$w->committed;
		return;
	}
	run($w, 'slow', 'SAVEPOINT s');
	try($w, 'slow', any_statement($w, 'slow')) or run($w, 'slow', 'ROLLBACK TO s');
	return;
}

# ---------- definitions ----------

# One policy gets another expression, goes, comes or is made anew
sub change_policy {
	my ($w, $t) = @_;
	my $name = pick(sort keys %{ $t->{policies} });
	my %old = %{ $t->{policies} };
	my $p = $t->{policies}{$name};
	my @sql;
	if (chance(0.5)) {
		my $form = $w->draw_form($p->{kind}, $t);
		@sql = "ALTER POLICY $name ON app.$t->{name} USING (" . $w->policy_sql($t, $p->{kind}, $form) . ')';
		$t->{policies}{$name} = { %$p, form => $form };
	}
	elsif ($name ne 'main' && chance(0.5)) {
		@sql = "DROP POLICY $name ON app.$t->{name}";
		delete $t->{policies}{$name};
	}
	elsif (!$t->{policies}{extra} && chance(0.5)) {
		@sql = $w->make_policy($t, 'extra', $t->{kind}, pick('FOR SELECT', 'AS PERMISSIVE FOR SELECT TO ' . $w->{roles}[0]));
	}
	else { @sql = ("DROP POLICY $name ON app.$t->{name}", $w->make_policy($t, $name, $p->{kind}, $p->{how})) }
	return 1 if $w->together(@sql);
	$t->{policies} = \%old;
	return 0;
}

sub readable_columns {
	my ($w, $t) = @_;
	my @columns = grep { !/^(title|body|name|n|public)$/ || chance(0.5) } columns_of($t);
	return join ', ', uniq('id', ($t->{parts} // '') eq 'list' ? 'kind' : (), @columns, chance(0.5) ? 'server_version' : ());
}

my %definition = (
	policy => sub { my ($w, $t) = @_; return $t->{policies}{main} && change_policy($w, $t) },
	rls => sub {
		my ($w, $t) = @_;
		my $how = pick(qw(DISABLE ENABLE ENABLE FORCE), 'NO FORCE');
		return $w->together("ALTER TABLE app.$t->{name} $how ROW LEVEL SECURITY");
	},
	columns => sub {
		my ($w, $t) = @_;
		my $role = pick(@{ $w->{roles} });
		return $w->together("REVOKE SELECT ON app.$t->{name} FROM $role", "GRANT SELECT (" . readable_columns($w, $t) . ") ON app.$t->{name} TO $role")
			if chance(0.6);
		return $w->together("REVOKE SELECT ON app.$t->{name} FROM $role") if chance(0.3);
		return $w->together("GRANT SELECT ON app.$t->{name} TO $role");
	},
	functions => sub {
		my ($w) = @_;
		return $w->together(pick(
			'CREATE OR REPLACE FUNCTION app.can_read(project ' . $w->{ptype} . q{) RETURNS boolean STABLE SECURITY DEFINER LANGUAGE sql AS
				$$SELECT EXISTS (SELECT FROM app.member WHERE project_id = project AND user_id = app.me() AND role = 'admin')$$},
			q{CREATE OR REPLACE FUNCTION app.my_teams() RETURNS int[] STABLE SECURITY DEFINER LANGUAGE sql AS
				$$SELECT coalesce(array_agg(team_id), '{}') FROM app.team_member WHERE user_id = app.me() AND team_id } . pick('>', '<') . ' 1$$'));
	},
	reset => sub { my ($w, $t) = @_; return $t->{synced} && $w->together("SELECT offsync.reset('app.$t->{name}')") },
	again => sub {
		my ($w, $t) = @_;
		return $t->{synced} && $w->together("SELECT offsync.disable('app.$t->{name}')", World::enable_sql($t));
	},
	truncate => sub { my ($w, $t) = @_; return $w->together("TRUNCATE app.$t->{name} CASCADE") },
	prune => sub { my ($w) = @_; return $w->together(q{SELECT offsync.prune('0')}) },
	column => sub {
		my ($w, $t) = @_;
		return $w->together("ALTER TABLE app.$t->{name} ADD COLUMN added int DEFAULT 5") if chance(0.6);
		return $w->together("ALTER TABLE app.$t->{name} DROP COLUMN added");
	},
	owner => sub {
		my ($w, $t) = @_;
		return $w->together("ALTER TABLE app.$t->{name} OWNER TO " . pick($w->{owner}, 'CURRENT_USER'));
	});

# Everything that may make a whole collection new.  A number can't tell what concerns roles.
sub definition {
	my ($w) = @_;
	my $t = pick(@{ $w->{tables} });
	my $kind = pick(sort(keys %definition), 'policy', 'policy', 'rls', 'columns');
	delete $w->{projects};
	$definition{$kind}->($w, $t);
	$w->refresh;
	$w->committed;
	$w->was_reset($kind =~ /functions|prune|truncate|again/ ? undef : $t->{name});
	return;
}

sub viewer_roles {
	my ($w) = @_;
	my $role = pick(@{ $w->{roles} });
	run($w, 'admin', pick("GRANT $w->{group} TO $role", "REVOKE $w->{group} FROM $role", "ALTER ROLE $role NOINHERIT", "ALTER ROLE $role INHERIT",
		"ALTER ROLE $role BYPASSRLS", "ALTER ROLE $role NOBYPASSRLS", "ALTER ROLE $role NOBYPASSRLS"));
	$w->refresh;
	$w->committed;
	$w->was_reset;
	$w->{roles_step} = $w->{step};
	return;
}

1;
