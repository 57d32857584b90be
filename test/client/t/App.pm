# What an app does when the server refuses what its device pushes: it mends the record, or takes the edit back.
#
# An app is {collections => [...], bad => n}: tables with the columns owner, editor and n, of which the server takes
# every n but the bad one; and a book refers to shelves.
package App;

use strict;
use warnings;
use Exporter 'import';
use JSON::PP;

our @EXPORT = qw(sync_mending);

# Sync until the server takes it, or five times: the last status, and what was refused before
sub sync_mending {
	my ($d, $app) = @_;
	my $status = $d->sync;
	my @refusals;
	# each kind of refusal hides the next: what the server doesn't take, what refers to nothing, what others changed
	for (1 .. 5) {
		last if $status == 0;
		push @refusals, $d->{said} =~ /^((?:offsync-client|DETAIL|SQLSTATE).*)$/mg;
		undelete($d) if $d->{said} =~ /PT409/ && $d->{name} !~ /exact/;
		mend($d, $app) if $d->{said} =~ /42501|23514|23503/;
		$status = $d->sync;
	}
	return ($status, @refusals);
}

# A number or a clock can't tell everything older from everything newer, so deleting what was just written
# may be refused for a while.  The app takes such deletions back: the records come with the next pull.
sub undelete {
	my ($d) = @_;
	my ($detail) = $d->{said} =~ /^DETAIL: +(\[.*\])$/m;
	my @refused = $detail ? map { [ @$_{qw(collection id)} ] } @{ decode_json($detail) } : ();
	push @refused, [ $1, $2 ] while $d->{said} =~ /^(\w+): refused (\S+): .*\(PT409\)$/mg;
	for my $record (@refused) {
		$d->sql(q{DELETE FROM offsync_dirty WHERE collection = ? AND id = ? AND op = 'deleted'}, @$record);
		$d->{mended}++;
	}
	return;
}

# ... and what the server doesn't take; and a record that was given away, when the server gave away the other
# half meanwhile, or its policy no longer knows that half
sub mend {
	my ($d, $app) = @_;
	forgo($d);
	$d->sql("UPDATE $_ SET n = 12 WHERE n = ?", $app->{bad}) for @{ $app->{collections} };
	$d->sql("UPDATE $_ SET owner = ? WHERE ? NOT IN (ifnull(owner, ''), ifnull(editor, ''))
		AND id IN (SELECT id FROM offsync_dirty WHERE collection = ?)", $d->{user}, $d->{user}, $_)
		for @{ $app->{collections} };
	for my $id ($d->{said} =~ /(?:write record "|refused )([\w-]{36})\b/g) {
		$d->sql("UPDATE $_ SET owner = ? WHERE id = ? AND id IN (SELECT id FROM offsync_dirty WHERE collection = ?)", $d->{user}, $id, $_)
			for $d->{said} =~ /42501/ ? @{ $app->{collections} } : ();
	}
	mend_references($d) if $d->{said} =~ /23503/;
	$d->{mended}++;
	return;
}

# An id that others have: a record of one's own, made anew under the id of one that is gone from here
sub forgo {
	my ($d) = @_;
	my @refused = $d->{said} =~ /^(\w+): refused (\S+): .*[(]42501[)]$/mg;
	push @refused, $d->{said} =~ /collection "(\w+)" was refused\nDETAIL: .* record "([^"]+)"/g;
	while (my ($c, $id) = splice @refused, 0, 2) {
		$d->sql("DELETE FROM $c WHERE id = ? AND ? IN (ifnull(owner, ''), ifnull(editor, ''))
			AND id IN (SELECT id FROM offsync_dirty WHERE collection = ? AND op = 'created')", $id, $d->{user}, $c);
	}
	return;
}

# A book's shelf is gone, or a shelf can't go: it comes back with all that the server has
sub mend_references {
	my ($d) = @_;
	$d->sql("UPDATE book SET $_ = NULL WHERE $_ NOT IN (SELECT id FROM shelf)") for qw(shelf guards);
	return if !@{ $d->sql(q{SELECT 1 FROM offsync_dirty WHERE collection = 'shelf' AND op = 'deleted'}) };
	$d->sql(q{DELETE FROM offsync_dirty WHERE collection = 'shelf' AND op = 'deleted'});
	$d->sql(q{UPDATE offsync_device SET value = '1' WHERE name = 'cursor'});
	return;
}

1;
