# Devices: they pull, apply what they get, and are compared with SELECT in the same snapshot.
package Device;

use strict;
use warnings;
use Forms;
use JSON::PP;
use List::Util qw(any shuffle);
use World;
use Writes;

*pick = \&World::pick;
*chance = \&World::chance;
*quote = \&World::quote;

our %count;			# kind of promise => outcome => how often
our %by_form;		# form => outcome => how often

# new Device(NAME, VIEWER, exact | number | iso)
sub new {
	my ($class, $name, $viewer, $mode) = @_;
	return bless { name => $name, viewer => $viewer, mode => $mode, past => [], as_updated => int rand 2 }, $class;
}

# ---------- the answer ----------

# {changes}{collection}{created | updated | deleted} = [[id, record]...] | [id...], and the rest as it comes.
# JSON::PP would take most of a run's time: what the world's records hold needs no more than this.
sub parse {
	my ($text) = @_;
	my %answer;
	$text =~ /\G\{"changes":\{/gc or die "an answer that can't be read: $text";
	while ($text =~ /\G,?"([\w.]+)":\{/gc) {
		my ($name, %part) = $1;
		for my $list (qw(created updated deleted)) {
			$text =~ /\G,?"$list":\[/gc or die "no list $list in $text";
			$part{$list} = [];
			if ($list eq 'deleted') {
				push @{ $part{deleted} }, $1 while $text =~ /\G,?"([^"]*)"/gc;
			}
			else {
				while ($text =~ /\G,?(\{"id":"([^"]*)"[^{}]*\})/gc) {
					my ($record, $id) = ($1, $2);
					$record =~ s/,"server_(?:created|updated)_at":-?\d+//g;
					push @{ $part{$list} }, [ $id, $record ];
				}
			}
			$text =~ /\G\]/gc or die 'a list that goes on: ' . substr $text, pos $text;
		}
		$text =~ /\G\}/gc or die 'a collection that goes on: ' . substr $text, pos $text;
		$answer{changes}{$name} = \%part;
	}
	$text =~ /\G\}(,.*)$/gcs or die 'changes that go on: ' . substr $text, pos $text;
	my $rest = $1 =~ s/^,/{/r;
	return { %answer, %{ decode_json($rest) } };
}

sub strategy {
	my ($answer, $name) = @_;
	my $s = $answer->{experimentalStrategy} // return 'incremental';
	return ref $s ? $s->{override}{$name} // $s->{default} : $s;
}

# ---------- a pull ----------

# Where the device stands: after its last pull, sometimes after an older one (a restored backup)
sub stand {
	my ($d) = @_;
	my @past = @{ $d->{past} };
	return { state => {}, step => 0 } if !@past || chance(0.02);
	return chance(0.15) ? pick(@past) : $past[-1];
}

# A number can't say which collections it covers: who has only that always asks for all
sub collections {
	my ($w, $v, $mode) = @_;
	my @names = grep { $w->{view}{ $v->{role} }{$_} } map { $_->{name} } $w->synced;
	@names = grep { chance(0.6) } @names if $mode eq 'exact' && chance(0.15);
	return shuffle @names;
}

# What the device chooses to hold: {collection}{column} = [value...].  Without an exact cursor it stays with its first choice.
sub choose {
	my ($d, $w, $from, @names) = @_;
	my %old = %{ $from->{filters} // {} };
	my %new;
	for my $name (@names) {
		my $t = $w->{table}{$name};
		my @columns = grep { $w->{view}{ $d->{viewer}{role} }{$name}{columns}{$_} } @{ $t->{filters} // [] };
		next if !@columns || @columns < @{ $t->{filters} };
		if ($d->{mode} ne 'exact') { $new{$name} = $old{$name} if $old{$name}; next }
		if ($old{$name} && !chance(0.3)) { $new{$name} = $old{$name}; next }
		next if chance($old{$name} ? 0.2 : 0.6);
		for my $column (chance(0.6) ? pick(@columns) : @columns) {
			my @values = @{ $old{$name}{$column} // [] };
			@values = @values[1 .. $#values] if @values > 1 && chance(0.4);
			push @values, filter_value($w, $t, $column) for 1 .. (@values ? rand 2 : 1 + rand 3);
			my %once;
			$new{$name}{$column} = [ grep { !$once{ $_ // '' }++ } @values ];
		}
	}
	return \%new;
}

sub filter_sql {
	my ($filter) = @_;
	return '' if !$filter || !%$filter;
	return ' WHERE ' . join ' AND ', map { my $c = $_;
		'(' . join(' OR ', map { defined ? "$c = " . quote($_) : "$c IS NULL" } @{ $filter->{$c} }) . ')' } sort keys %$filter;
}

# Ask for NAMES; the answer, and what SELECT says in the same snapshot.  Without an answer: undef and the error.
sub ask {
	my ($d, $w, $v, $to, $given, $arguments) = @_;
	my $who = $v->{name};
	my $c = $w->{conn}{$who};
	my @names = @{ $to->{names} };
	my $filters = $to->{filters};
	World::run($w, $who, 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
	World::run($w, $who, "SET LOCAL request.jwt.claims = '{\"sub\": \"$v->{sub}\", \"org\": \"$v->{org}\", \"iat\": " . int(rand 1000) . "}'")
		if chance(0.3);
	$to->{iso} = $d->{mode} eq 'iso' ? $c->selectrow_array(q{SELECT to_json(clock_timestamp() AT TIME ZONE 'UTC')#>>'{}' || 'Z'}) : undef;
	my $json = JSON::PP->new->canonical;
	my $sql = 'SELECT offsync.pull_changes(' . (defined $given ? quote($given) : 'NULL') . ', ARRAY['
		. join(', ', map { quote($_) } @names) . ']' . ($d->{as_updated} ? ', created_as_updated => true' : '')
		. (%$filters ? ', filters => ' . quote($json->encode($filters)) : '') . ($arguments // '') . ')';
	push @{ $w->{log} }, "/* $who $d->{name} */ $sql;";
	my $text = eval { $c->selectrow_array($sql) };
	if (!defined $text) {
		my ($error, $state) = ($@, $c->state);
		World::run($w, $who, 'ROLLBACK');
		return (undef, $error, $state);
	}
	$w->{log}[-1] .= "\n-- " . (length $text > 2000 ? substr($text, 0, 2000) . '...' : $text);
	my %truth = map { ($_ => {}) } @names;
	my $view = $w->{view}{ $v->{role} };
	$truth{ $_->[0] }{ $_->[1] } = $_->[2]
		for @{ $c->selectall_arrayref(join ' UNION ALL ', map { $view->{$_}{sql} . filter_sql($filters->{$_}) } @names) };
	World::run($w, $who, 'COMMIT');
	return ($text, \%truth);
}

# From where, what and how the device pulls
sub plan {
	my ($d, $w) = @_;
	my $from = $d->stand;
	# somebody else takes the device; without an exact cursor, signing out wipes it
	$d->{viewer} = pick(@{ $w->{viewers} }) if chance(0.04);
	my $v = $d->{viewer};
	$from = { state => {}, step => 0 } if $d->{mode} ne 'exact' && $from->{viewer}
		&& ($from->{viewer} != $v || $from->{step} < ($w->{roles_step} // 0));
	my @names = collections($w, $v, $d->{mode}) or return;
	$from = { state => {}, step => 0 } if $d->{mode} ne 'exact' && any { !$from->{state}{$_} } @names;
	my $filters = $d->choose($w, $from, @names);
	my $json = JSON::PP->new->canonical;
	my %filtered = map { ($_ => 1) } grep { $json->encode($filters->{$_} // {}) ne $json->encode($from->{filters}{$_} // {}) } @names;
	return ($from, { viewer => $v, step => $w->{step}, state => {}, names => \@names, filters => $filters, refiltered => \%filtered });
}

sub arrive {
	my ($d, $answer, $to) = @_;
	$to->{cursor} = $d->{mode} eq 'exact' ? $answer->{cursor} : $d->{mode} eq 'number' ? $answer->{timestamp} : $to->{iso};
	# what wasn't asked for stays on the device, but the cursor covers it no more
	push @{ $d->{past} }, $to;
	shift @{ $d->{past} } if @{ $d->{past} } > 6;
	return;
}

sub pull {
	my ($d, $w) = @_;
	my ($from, $to) = $d->plan($w) or return ();
	return $d->pull_from($w, $from, $to);
}

sub pull_from {
	my ($d, $w, $from, $to) = @_;
	my ($text, $truth) = $d->ask($w, $to->{viewer}, $to, $from->{cursor});
	return "pull failed: $truth" if !defined $text;
	my $answer = eval { parse($text) } or return $@;
	my @problems;
	for my $name (@{ $to->{names} }) {
		my $part = $answer->{changes}{$name};
		if (!$part) { push @problems, "$name isn't in the answer"; next }
		push @problems, map { "$name: $_" } $d->check($w, $name, $part, strategy($answer, $name), $from, $to, $truth->{$name});
	}
	push @problems, 'more than was asked for' if keys %{ $answer->{changes} } != @{ $to->{names} };
	$d->arrive($answer, $to);
	return @problems;
}

# ---------- a pull in pages ----------

# What MEANWHILE does comes between the pages.  They are collected, then applied; where the device stands then, another pull tells.
sub pull_pages {
	my ($d, $w, $meanwhile) = @_;
	my ($from, $to) = $d->plan($w) or return ();
	my ($given, %rows, %gone, @problems, $answer, $busy) = ($from->{cursor});
	my $pages = 0;
	do {
		$busy += $meanwhile->() if $pages && $pages < 8 && chance(0.5);
		my ($text, $truth, $state) = $d->ask($w, $to->{viewer}, $to, $given, ', max_rows => ' . ($pages < 20 ? 1 + int rand 5 : 100));
		# a table may have gone, or the right to read it
		if (!defined $text) { $count{pages}{$state}++; return $busy && $state =~ /^(PT404|42501|PT400|42P01)$/ ? () : "page failed: $truth" }
		$answer = eval { parse($text) } or return $@;
		push @problems, $d->page($w, $_, $answer->{changes}{$_}, $truth->{$_}, \%rows, \%gone) for @{ $to->{names} };
		push @problems, 'a page moves the number' if $answer->{hasMore} && $d->{mode} eq 'number' && $answer->{timestamp} != ($from->{cursor} // 1);
		$given = $answer->{cursor};
		$pages++;
	} while ($answer->{hasMore} && !@problems);
	$count{pages}{ $busy ? 'busy' : 'quiet' }++;
	for my $name (@{ $to->{names} }) {
		my $state = strategy($answer, $name) eq 'replacement' ? {} : { %{ $from->{state}{$name} // {} } };
		$count{pages}{replacement}++ if strategy($answer, $name) eq 'replacement';
		$state->{$_} = $rows{$name}{$_} for keys %{ $rows{$name} };
		delete @$state{ keys %{ $gone{$name} } };
		$to->{state}{$name} = $state;
	}
	$to->{corrected} = { map { ($_ => 1) } @{ $to->{names} } } if $busy;
	$d->arrive($answer, $to);
	if ($busy) { $meanwhile->() while chance(0.7) }
	return @problems if @problems || any { !$w->{view}{ $to->{viewer}{role} }{$_} } @{ $to->{names} };
	return map { "behind $pages pages: $_" } $d->pull_from($w, $to, { %$to, step => $w->{step}, state => {}, corrected => {}, refiltered => {} });
}

# One collection's part of a page; what comes later counts
sub page {
	my ($d, $w, $name, $part, $truth, $rows, $gone) = @_;
	return "$name isn't on the page" if !$part;
	my @problems;
	for (@{ $part->{created} }, @{ $part->{updated} }) {
		my ($id, $row) = @$_;
		push @problems, "$name: told $row, but SELECT says " . ($truth->{$id} // 'nothing') if ($truth->{$id} // '') ne $row;
		push @problems, "$name: $id on two pages" if exists $rows->{$name}{$id} || exists $gone->{$name}{$id};
		$rows->{$name}{$id} = $row;
	}
	for my $id (@{ $part->{deleted} }) {
		push @problems, "$name: $id on two pages" if exists $gone->{$name}{$id};
		$gone->{$name}{$id} = 1;
		delete $rows->{$name}{$id};
	}
	return @problems;
}

# ---------- a push ----------

# What the device has changed itself; refusals and conflicts are as good as no push
sub push_changes {
	my ($d, $w) = @_;
	my $from = $d->{past}[-1] or return ();
	my $v = $from->{viewer};
	my @names = grep { $from->{state}{$_} && $w->{view}{ $v->{role} }{$_} && ($w->{table}{$_}{parts} // '') ne 'list' } @{ $from->{names} }
		or return ();
	my (%changes, %ids);
	for my $name (pick(@names), chance(0.3) ? pick(@names) : ()) {
		($changes{$name}, my @ids) = pushed($w, $w->{table}{$name}, sort keys %{ $from->{state}{$name} });
		$ids{$name} = \@ids;
	}
	my $json = JSON::PP->new->canonical->encode(\%changes);
	my $sql = 'SELECT offsync.push_changes(' . quote($json) . ', ' . quote($from->{cursor}) . ')';
	my $c = $w->{conn}{ $v->{name} };
	push @{ $w->{log} }, "/* $v->{name} $d->{name} */ $sql;";
	my $answer = eval { $c->selectrow_array($sql) };
	$count{push}{ $answer ? 'done' : $c->state }++;
	return () if !$answer;
	$w->{log}[-1] .= "\n-- $answer";
	$w->committed;
	$answer = decode_json($answer);
	# what was stored otherwise, or by other sets than the cursor's, comes with the next pull as a replacement
	# one that was made and went by a cascade within the push is named to whoever would have seen it
	for my $name (keys %{ $answer->{changes} // {} }) {
		for my $id (@{ $answer->{changes}{$name}{deleted} // [] }) {
			$w->{seen}{ $_->{n} }{$name}{$id} = $w->{step} for @{ $w->{viewers} };
		}
	}
	my $to = { %$from, cursor => $answer->{cursor}, state => { %{ $from->{state} } },
		own => { map { ($_ => { %{ $from->{own}{$_} // {} } }) } keys %{ $from->{state} } },
		corrected => { %{ $from->{corrected} // {} }, map { ($_ => 1) } keys %{ $answer->{changes} // {} } } };
	# and with it those that depend on it
	$to->{corrected} = { map { ($_->{name} => 1) } $w->synced } if keys %{ $to->{corrected} } || grep { $w->promise($_) ne 'row' } keys %ids;
	for my $name (sort keys %ids) {
		my %state = %{ $from->{state}{$name} };
		my %truth = map { ($_->[1] => $_->[2]) } @{ $c->selectall_arrayref($w->{view}{ $v->{role} }{$name}{sql}) };
		my %within = $from->{filters}{$name} ? (map { ($_->[1] => 1) } @{ $c->selectall_arrayref($w->{view}{ $v->{role} }{$name}{sql}
			. filter_sql($from->{filters}{$name})) }) : (map { ($_ => 1) } keys %truth);
		my %deleted = map { ($_ => 1) } @{ $changes{$name}{deleted} };
		for my $id (@{ $ids{$name} }) {
			delete $state{$id};
			# what it pushes out of its own filter it drops by itself
			next if $deleted{$id} || $truth{$id} && !$within{$id};
			# a cascade of its push may bring its own rows back
			$to->{own}{$name}{$id} = 1;
			# what it wrote out of its own sight it is told to forget
			$state{$id} = $truth{$id} // 'pushed';
			$w->{seen}{ $v->{n} }{$name}{$id} = $w->{step};
		}
		$to->{state}{$name} = \%state;
	}
	push @{ $d->{past} }, $to;
	return ();
}

sub first_of { my ($n, @list) = @_; return join ', ', @list > $n ? (@list[0 .. $n - 1], '...') : @list }

# Apply one collection's part and judge it
sub check {
	my ($d, $w, $name, $part, $strategy, $from, $to, $truth) = @_;
	my @rows = (@{ $part->{created} }, @{ $part->{updated} });
	my @gone = @{ $part->{deleted} };
	my $held = $from->{state}{$name};
	my $covered = defined $from->{cursor} && ($d->{mode} ne 'exact' || $held);
	my %state = $strategy eq 'replacement' ? () : %{ $held // {} };
	my @problems;

	my %twice;
	$twice{$_}++ for (map { $_->[0] } @rows), @gone;
	my @twice = grep { $twice{$_} > 1 } sort keys %twice;
	push @problems, 'twice in one answer: ' . first_of(3, @twice) if @twice;

	my @foreign = grep { ($truth->{ $_->[0] } // '') ne $_->[1] } @rows;
	push @problems, map { "told $_->[1], but SELECT says " . ($truth->{ $_->[0] } // 'nothing') } $foreign[0] // ();

	$state{ $_->[0] } = $_->[1] for @rows;
	delete @state{@gone};
	my @wrong = grep { ($state{$_} // '') ne ($truth->{$_} // '') } sort keys %{ { %state, %$truth } };
	push @problems, 'device ' . ($state{ $wrong[0] } // 'has no ' . $wrong[0]) . ', but SELECT says ' . ($truth->{ $wrong[0] } // 'nothing')
		. (@wrong > 1 ? ' (and ' . $#wrong . ' more)' : '') if @wrong;
	$to->{state}{$name} = \%state;

	# the same person with another token knows what was seen with the first
	my @selves = grep { $_->{role} eq $to->{viewer}{role} && $_->{sub} eq $to->{viewer}{sub} } @{ $w->{viewers} };
	my $since = $d->{mode} eq 'exact' ? $from->{step} : 0;
	my @never = grep { my $id = $_; !any { ($w->{seen}{ $_->{n} }{$name}{$id} // -1) >= $since } @selves } @gone;
	# a number can't say that a role saw less when it was given
	@never = () if $d->{mode} ne 'exact' && $w->{roles_step};
	push @problems, 'deleted, though out of sight since the cursor: ' . first_of(3, @never) if @never;

	push @problems, 'strategy ' . $strategy if $strategy !~ /^(incremental|replacement)$/;
	push @problems, 'a first answer that deletes' if !defined $from->{cursor} && @gone;
	push @problems, 'a replacement that deletes' if $strategy eq 'replacement' && @gone;
	push @problems, $d->minimal($w, $name, $part, $strategy, $from, $to, $truth) if $d->{mode} eq 'exact' && $covered;
	$d->note($w, $name, $strategy, $from, $to) if $covered;
	return @problems;
}

sub steady {
	my ($w, $name, $from, $to) = @_;
	return $from->{viewer} == $to->{viewer} && !$from->{corrected}{$name} && !%{ $to->{refiltered} // {} } && $from->{step} >= ($w->{reset}{$name} // 0);
}

# An exact cursor: nothing that the device has already, and a delta where one is promised
sub minimal {
	my ($d, $w, $name, $part, $strategy, $from, $to, $truth) = @_;
	my $held = $from->{state}{$name};
	my @problems;
	my $promise = $w->promise($name);
	push @problems, "a replacement, though its policies promise a delta ($promise: "
		. join(', ', map { $w->{table}{$name}{policies}{$_}{form} } sort keys %{ $w->{table}{$name}{policies} }) . ')'
		if $strategy eq 'replacement' && steady($w, $name, $from, $to) && $promise =~ /^(row|set)$/;
	return @problems if $strategy eq 'replacement';
	# without the version to look at, a column may have changed that the role can't read
	return @problems if $from->{corrected}{$name};
	my @again = grep { !$from->{own}{$name}{ $_->[0] } && $_->[1] =~ /"server_version"/ && ($held->{ $_->[0] } // '') eq $_->[1] } @{ $part->{created} }, @{ $part->{updated} };
	push @problems, 'told again: ' . $again[0][1] if @again;
	my @known = grep { exists $held->{ $_->[0] } } @{ $part->{created} };
	push @problems, "created, though the device has it: $known[0][0]" if @known;
	return @problems;
}

sub note {
	my ($d, $w, $name, $strategy, $from, $to) = @_;
	my $mode = $d->{mode} eq 'exact' ? '' : $d->{mode} . ' ';
	my $how = $strategy eq 'incremental' ? 'delta' : steady($w, $name, $from, $to) ? 'replaced' : 'reset';
	$count{ $mode . $w->promise($name) }{$how}++;
	my $t = $w->{table}{$name};
	$by_form{ "$t->{kind} " . $t->{policies}{main}{form} }{$how}++ if !$mode && keys %{ $t->{policies} } == 1;
	return;
}

1;
