# The oracle for pushes: what devices hold for stored (their ledgers, see Phone.pm) against every write that the
# server committed (audit.event, see Tables.pm).
#
# - A value is written once.  Only an INSERT may bring one that was there before: a device's edit of a row that was
#   deleted meanwhile can bring the row back as the device had it; but no device does so more often than it sent the row.
# - What was acknowledged is there: each value of the record was written, or the answer tells that the strategy kept
#   the server's row (server_wins, last_write_wins, the function; field_lww, where it was deleted), or refuses the record.
# - A push without on_error => 'skip' is stored by one transaction, or not at all.
# - Under "reject", nothing is written over a version that the device had not seen.
# - A deletion is carried out no more often than it was sent.
#
# A push whose answer came later than the push log is kept may be stored again: its values are left out.
package Ledger;

use strict;
use warnings;
use Exporter 'import';
use JSON::PP;
use Messages;
use Tables;

our @EXPORT = qw(verdict);

my $json = JSON::PP->new->allow_nonref;

# [{push_id, answer, late, abort, records => [[collection, id, {column => [value...]}]], deleted => [[collection, id]]}]
sub pushes {
	my ($phone, $retention) = @_;
	my @pushes;
	for my $file (@{ $phone->{files} }) {
		my $abort = !(grep { $_ eq 'skip' } @{ $phone->{options} });
		for my $row (@{ Client::sql({ file => $file }, 'SELECT push_id, changes, answer, heard - made FROM soak_push ORDER BY rowid') }) {
			my ($id, $changes, $answer, $took) = @$row;
			my %push = (push_id => $id, name => $phone->{name}, user => $phone->{user}, abort => $abort, late => !defined $took || $took > $retention,
				answer => defined $answer && decode($answer));
			my $sent = decode($changes);
			for my $c (sort keys %$sent) {
				push @{ $push{records} }, map { [ $c, $_->{id}, wrote($_) ] } map { @{ $sent->{$c}{$_} } } qw(created updated);
				push @{ $push{deleted} }, map { [ $c, $_ ] } @{ $sent->{$c}{deleted} };
			}
			push @pushes, \%push;
		}
	}
	return @pushes;
}

sub decode { return $json->decode($_[0]) }

# The values that a record is to write
sub wrote {
	my ($record) = @_;
	my %changed = map { ($_ => 1) } $record->{_status} eq 'created' ? qw(a b tags) : split /,/, $record->{_changed} // 'a,b,tags';
	my %wrote = map { ($_ => [ $record->{$_} ]) } grep { $changed{$_} && defined $record->{$_} } qw(a b);
	$wrote{tags} = [ sort keys %{ decode($record->{tags}) } ] if $changed{tags} && defined $record->{tags};
	return \%wrote;
}

# ---------- what the server wrote ----------

# {collection}{id} = {value => {column}{value} = [[op, xid]...], inserted => {xid} = {values, by}, deletes => {device} = count,
# moved => true, owner => who has it now, over => [[device, version that it wrote over]...], writer => {version => device}}
sub written {
	my ($s) = @_;
	my %written;
	my $sth = $s->prepare('SELECT collection, id, op, col, value, xid, device FROM audit.event ORDER BY seq');
	$sth->execute;
	while (my ($c, $id, $op, $col, $value, $xid, $device) = $sth->fetchrow_array) {
		if ($op eq 'T') {
			$written{$c}{emptied} = {};
			next;
		}
		my $row = $written{$c}{$id} //= {};
		if ($op eq 'V') {
			push @{ $row->{over} }, [ $device, $col ] if defined $device && defined $col;
			$row->{writer}{ $value // '' } = $device // '';
			next;
		}
		push @{ $row->{value}{$col}{$value} }, [ $op, $xid, $device // '' ] if $op =~ /[IU]/;
		$row->{inserted}{$xid}{by} = $device // '' if $op eq 'I';
		$row->{inserted}{$xid}{values} .= "$col=$value;" if $op eq 'I';
		$row->{deletes}{ $device // '' }++ if $op eq 'D';
		$row->{went} = 1 if $op =~ /[DH]/;
		$row->{moved} = 1 if $op =~ /[DHM]/;
	}
	for my $c (@edited) {
		$written{$c}{ $_->[0] }{owner} = $_->[1] for @{ $s->selectall_arrayref("SELECT id, owner FROM app.$c") };
	}
	return \%written;
}

# ---------- judging ----------

# sent: {collection}{id}{device} = how often; whole: devices that send all of a record, and so what others have replaced meanwhile
sub once {
	my ($written, $late, $sent, $whole) = @_;
	my @wrong;
	for my $c (sort keys %$written) {
		for my $id (sort keys %{ $written->{$c} }) {
			my $row = $written->{$c}{$id};
			my %times;
			for my $insert (values %{ $row->{inserted} // {} }) {
				my ($values, $by) = @$insert{qw(values by)};
				next if ++$times{$by}{$values} <= ($by eq '' ? 1 : $sent->{$c}{$id}{$by} // 0);
				push @wrong, "inserted $times{$by}{$values} times: $c $id $values by $by" if !grep { $values =~ /=\Q$_\E;/ } keys %$late;
			}
			# the function may keep what the device only had, and so bring it back
			next if $c eq 'vote';
			# what one device takes out of a document, another that still has it puts back with its own
			for my $col (grep { $_ ne 'tags' } sort keys %{ $row->{value} // {} }) {
				for my $value (sort keys %{ $row->{value}{$col} }) {
					my (undef, @again) = @{ $row->{value}{$col}{$value} };
					push @wrong, "written twice: $c $id $col $value" if !$late->{$value} && grep { $_->[0] eq 'U' && !$whole->{ $_->[2] } } @again;
				}
			}
		}
	}
	return @wrong;
}

# Ids that an answer names: refused, and as the server has them
sub named {
	my ($answer) = @_;
	my %refused = map { my $c = $_; map { ("$c $_" => 1) } @{ $answer->{experimentalRejectedIds}{$c} } }
		keys %{ $answer->{experimentalRejectedIds} // {} };
	my %told = map { my $c = $_; map { ("$c " . (ref $_ ? $_->{id} : $_) => 1) } map { @{ $answer->{changes}{$c}{$_} // [] } } qw(created updated deleted) }
		keys %{ $answer->{changes} // {} };
	return (\%refused, \%told, replaced($answer));
}

# {collection => 1}: what isn't in it is gone
sub replaced {
	my ($answer) = @_;
	my $strategy = $answer->{experimentalStrategy} // '';
	my %strategy = ref $strategy ? (map({ ($_ => $strategy->{default}) } keys %{ $answer->{changes} }), %{ $strategy->{override} })
		: map { ($_ => $strategy) } keys %{ $answer->{changes} // {} };
	return { map { ($_ => 1) } grep { $strategy{$_} eq 'replacement' } keys %strategy };
}

sub acknowledged {
	my ($push, $written, $count) = @_;
	my ($refused, $told, $replaced) = named($push->{answer});
	my @wrong;
	for my $record (@{ $push->{records} }) {
		my ($c, $id, $wrote) = @$record;
		next if $refused->{"$c $id"} && ++$count->{refused};
		my $row = $written->{$c}{$id} // {};
		my @lost = map { my $col = $_; map { "$col $_" } grep { !$row->{value}{$col}{$_} } @{ $wrote->{$col} } } sort keys %$wrote;
		$count->{ @lost ? 'kept' : 'stored' }++;
		next if !@lost || $strategy{$c} =~ /_wins|decide|field_lww/ && $strategy{$c} ne 'client_wins' && ($told->{"$c $id"} || $replaced->{$c} || $push->{answer}{hasMore});
		push @wrong, "acknowledged, not stored: $push->{name} $push->{push_id} $c $id @lost";
	}
	for my $record (@{ $push->{deleted} }) {
		my ($c, $id) = @$record;
		next if $refused->{"$c $id"} && ++$count->{refused};
		$count->{deleted}++;
		my $row = $written->{$c}{$id};
		# what one doesn't see is no more, too: a row of one's own that was never anybody else's
		next if !$row || $row->{moved} || $written->{$c}{emptied} || $told->{"$c $id"} || $push->{answer}{hasMore};
		next if ($row->{owner} // '') ne $push->{user};
		push @wrong, "acknowledged, not deleted: $push->{name} $push->{push_id} $c $id";
	}
	return @wrong;
}

# first: {value => the push that had it first}, last: the same
sub whole {
	my ($push, $written, $first, $last) = @_;
	my (%xids, @all);
	for my $record (@{ $push->{records} }) {
		my ($c, $id, $wrote) = @$record;
		next if $strategy{$c} !~ /^(?:reject|client_wins)$/;
		for my $col (sort keys %$wrote) {
			my @own = grep { $first->{$_} eq $push->{push_id} && $last->{$_} eq $push->{push_id} } @{ $wrote->{$col} };
			$xids{ ($written->{$c}{$id}{value}{$col}{$_} // [ [ 0, 'none' ] ])->[0][1] }++ for @own;
		}
	}
	return keys %xids > 1 ? "in parts: $push->{name} $push->{push_id} by " . join(', ', sort keys %xids) : ();
}

sub deletions {
	my ($written, $sent) = @_;
	my @wrong;
	for my $c (grep { !/^(?:book|entry|vote)$/ } sort keys %$sent) {
		for my $id (sort keys %{ $sent->{$c} }) {
			my $done = ($written->{$c}{$id} // {})->{deletes} // {};
			my $times = $sent->{$c}{$id};
			push @wrong, map { "deleted $done->{$_} times, sent $times->{$_}: $c $id by $_" }
				grep { ($done->{$_} // 0) > $times->{$_} } sort keys %$times;
		}
	}
	return @wrong;
}

# {device}{collection}{id}{version}; {""} where nothing can be said
sub seen {
	my (@phones) = @_;
	my %seen;
	for my $phone (@phones) {
		for my $file (@{ $phone->{files} }) {
			my $d = { file => $file };
			my ($watched) = map { $_->[0] } @{ Client::sql($d, q{SELECT count(*) FROM sqlite_schema WHERE name GLOB 'soak_went_*'}) };
			$seen{ $phone->{name} }{blind} = 1 if !$watched;
			$seen{ $phone->{name} }{ $_->[0] }{ $_->[1] }{ $_->[2] // '' } = 1
				for @{ Client::sql($d, 'SELECT collection, id, version FROM soak_seen') };
		}
	}
	return \%seen;
}

sub blindly {
	my ($written, $seen, $count) = @_;
	my @wrong;
	for my $c (grep { $strategy{$_} eq 'reject' } @edited) {
		for my $id (sort keys %{ $written->{$c} }) {
			my $row = $written->{$c}{$id};
			for my $over (@{ $row->{over} // [] }) {
				my ($device, $version) = @$over;
				my $known = $seen->{$device}{$c}{$id} // {};
				next if $seen->{$device}{blind} || $known->{''} || !exists $row->{writer}{$version};
				$count->{'over what was seen'}++;
				next if $known->{$version} || $row->{writer}{$version} eq $device;
				push @wrong, "written over unseen: $c $id $version by $device";
			}
		}
	}
	return @wrong;
}

# ---------- other clients' devices (Facade.pm) ----------

# {user}{collection}{id}{column} = the clock of what it holds
sub clocks {
	my (@facades) = @_;
	my %clocks;
	for my $user (map { $_->{user} } @facades) {
		next if $clocks{$user};
		my $told = Client::as_user($user, sub { $_[0]->selectrow_array('SELECT soak.pull_messages()') });
		$clocks{$user}{ $_->{table_name} }{ $_->{row} }{ $_->{column} } = Messages::parse_clock($_->{local_timestamp}) for @{ decode($told) };
	}
	return \%clocks;
}

# A value was written, or a later clock has won; what was deleted went
sub done_with {
	my ($facade, $written, $clocks, $count) = @_;
	my @wrong;
	for my $done (@{ $facade->{acknowledged} }) {
		my ($c, $id) = @$done{qw(c id)};
		my $row = $written->{$c}{$id} // {};
		my %lost = map { ($_ => $done->{values}{$_}) } grep { !$row->{value}{$_}{ $done->{values}{$_} } } keys %{ $done->{values} // {} };
		$lost{deleted_at} = '' if $done->{deleted} && !$row->{went} && $row->{owner};
		if ($done->{clock}) {
			my $now = $clocks->{ $facade->{user} }{$c}{$id};
			delete @lost{ grep { $now->{$_} && Messages::later($now->{$_}, $done->{clock}) } keys %lost };
		}
		$count->{"$facade->{kind} writes"}++;
		push @wrong, "acknowledged, not stored: $facade->{name} $c $id " . join ' ', %lost if %lost;
	}
	return @wrong;
}

# A device that says what it started from writes over nothing else
sub from_elsewhere {
	my ($facade, $written, $count) = @_;
	my @wrong;
	my $name = $facade->{name};
	for my $id (sort keys %{ $written->{task} }) {
		my $row = $written->{task}{$id};
		for my $version (map { $_->[1] } grep { $_->[0] eq $name } @{ $row->{over} // [] }) {
			$count->{'over what was seen'}++;
			push @wrong, "written over unseen: task $id $version by $name" if !$facade->{seen}{$id}{$version};
		}
	}
	return @wrong;
}

# What is wrong, and counts
sub verdict {
	my ($s, $retention, $facades, @phones) = @_;
	my $written = written($s);
	my (@wrong, %count, %late, %first, %last, %sent, %edited);
	my @pushes = map { pushes($_, $retention) } @phones;
	for my $push (@pushes) {
		for my $record (@{ $push->{records} }) {
			for my $value (map { @$_ } values %{ $record->[2] }) {
				$late{$value} = 1 if $push->{late};
				$first{$value} //= $push->{push_id};
				$last{$value} = $push->{push_id};
			}
		}
		$sent{ $_->[0] }{ $_->[1] }{ $push->{name} }++ for @{ $push->{deleted} };
		$edited{ $_->[0] }{ $_->[1] }{ $push->{name} }++ for @{ $push->{records} };
	}
	for my $facade (@$facades) {
		for my $c (keys %{ $facade->{sent} }) {
			for my $id (keys %{ $facade->{sent}{$c} }) {
				$edited{$c}{$id}{$_} += $facade->{sent}{$c}{$id} for $facade->{name}, "$facade->{name} at will";
			}
		}
	}
	my %whole = map { ($_->{name} => 1, "$_->{name} at will" => 1) } grep { $_->{kind} ne 'Messages' } @$facades;
	my $clocks = clocks(@$facades);
	push @wrong, map { done_with($_, $written, $clocks, \%count) } @$facades;
	push @wrong, map { from_elsewhere($_, $written, \%count) } grep { $_->{kind} eq 'Rest' } @$facades;
	for my $push (@pushes) {
		$count{pushes}++;
		push @wrong, whole($push, $written, \%first, \%last) if $push->{abort};
		next if !$push->{answer};
		$count{acknowledged}++;
		push @wrong, acknowledged($push, $written, \%count);
	}
	push @wrong, once($written, \%late, \%edited, \%whole), deletions($written, \%sent),
		blindly($written, seen(@phones), \%count);
	return (\@wrong, \%count);
}

1;
