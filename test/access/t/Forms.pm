# The forms of policy that the random run draws from.
#
# Each is [PROMISE, SQL].  PROMISE is what an exact cursor gets while nobody touches definitions:
#   row     always an exact delta: only the row itself decides
#   set     always an exact delta: the cursor carries the set, or the parent's own delta serves
#   value   an exact delta until what it depends on changes
#   none    whatever the server can do: right, be it a replacement
# In SQL, {me} and {org} are the caller's name and organisation in one of several spellings, {t} is the table.
package Forms;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(form_names form_promise form_sql worse);

my $mine = 'SELECT project_id FROM app.member WHERE user_id = {me}';

my %item = (
	owner => ['row', 'owner = {me}'],
	owner_null => ['row', 'owner IS NOT DISTINCT FROM {me}'],
	org => ['row', 'org = {org}'],
	public => ['row', 'public'],
	case => ['row', 'CASE WHEN public THEN n < 50 ELSE owner = {me} END'],
	any_list => ['row', 'org = ANY (string_to_array({org}, \'+\'))'],
	all => ['row', 'true'],
	none => ['row', 'false'],
	in => ['set', "project_id IN ($mine)"],
	any_sub => ['set', "project_id = ANY ($mine)"],
	any_array => ['set', "project_id = ANY (ARRAY($mine))"],
	exists => ['set', 'EXISTS (SELECT FROM app.member m WHERE m.project_id = {t}.project_id AND m.user_id = {me})'],
	exists_flipped => ['set', 'EXISTS (SELECT 1 FROM app.member m WHERE m.user_id = {me} AND {t}.project_id = m.project_id)'],
	my_teams => ['set', 'team_id = ANY (app.my_teams())'],
	my_teams_sub => ['set', 'team_id = ANY ((SELECT app.my_teams())::int[])'],
	my_team_set => ['set', 'team_id IN (SELECT app.my_team_set())'],
	team => ['set', 'team_id IN (SELECT team_id FROM app.team_member WHERE user_id = {me})'],
	admin => ['set', "project_id IN ($mine AND role = 'admin')"],
	nested => ['set', 'project_id IN (SELECT p.project_id FROM app.member p JOIN app.org_member o'
		. ' ON o.user_id = p.user_id WHERE o.org = {org})'],
	colleagues => ['set', 'owner IN (SELECT b.user_id FROM app.member a JOIN app.member b'
		. ' ON a.project_id = b.project_id WHERE a.user_id = {me})'],
	parent => ['set', 'project_id IN (SELECT id FROM app.project)'],
	parent_exists => ['set', 'EXISTS (SELECT FROM app.project p WHERE p.id = {t}.project_id)'],
	parent_where => ['set', 'project_id IN (SELECT id FROM app.project WHERE public)'],
	parent_in => ['set', 'project_id IN (SELECT id FROM app.project WHERE org IN'
		. ' (SELECT org FROM app.org_member WHERE user_id = {me}))'],
	or2 => ['set', "owner = {me} OR project_id IN ($mine)"],
	or3 => ['set', "public OR project_id IN ($mine AND role = 'admin') OR team_id = ANY (app.my_teams())"],
	or_parent => ['set', 'owner = {me} OR project_id IN (SELECT id FROM app.project)'],
	or_sets => ['set', 'EXISTS (SELECT FROM app.member m WHERE m.project_id = {t}.project_id AND m.user_id = {me})'
		. ' OR team_id IN (SELECT team_id FROM app.team_member WHERE user_id = {me})'],
	and2 => ['set', "org = {org} AND project_id IN ($mine)"],
	and_or => ['set', "public AND (project_id IN ($mine) OR owner = {me})"],
	or_known => ['value', "{org} = 'o2' OR project_id IN ($mine)"],
	or_flag => ['value', "(SELECT {me} = 'cid') OR owner = {me} AND org = {org} OR team_id = ANY (app.my_teams())"],
	and_flag => ['value', "project_id IN ($mine) AND {org} <> 'o1'"],
	any_member => ['value', 'EXISTS (SELECT FROM app.member WHERE user_id = {me} AND role = \'admin\')'],
	scalar => ['value', 'n < (SELECT count(*) FROM app.member WHERE user_id = {me}) * 10'],
	not_in => ['none', 'project_id NOT IN (SELECT project_id FROM app.blocked WHERE user_id = {me})'],
	not_any => ['none', "NOT (project_id = ANY (ARRAY($mine)))"],
	not_exists => ['none', 'NOT EXISTS (SELECT FROM app.blocked b WHERE b.owner = {t}.owner AND b.user_id = {me})'],
	in_true => ['none', "(project_id IN ($mine)) IS TRUE"],
	in_not_true => ['none', "(project_id IN ($mine)) IS NOT TRUE"],
	in_case => ['none', "CASE WHEN public THEN true ELSE project_id IN ($mine) END"],
	in_expression => ['none', 'coalesce(project_id::text, owner) IN (SELECT coalesce(project_id::text, {me})'
		. ' FROM app.member WHERE user_id = {me})'],
	in_row => ['none', '(project_id, owner) IN (SELECT project_id, user_id FROM app.member)'],
	in_reversed => ['none', '{me} IN (SELECT m.user_id FROM app.member m WHERE m.project_id = {t}.project_id)'],
	in_limit => ['none', "project_id IN ($mine ORDER BY n, project_id LIMIT 1)"],
	in_first => ['none', '{me} IN (SELECT m.user_id FROM app.member m WHERE m.project_id = {t}.project_id ORDER BY m.user_id DESC LIMIT 1)'],
	in_first_by => ['none', '{me} IN (SELECT m.user_id FROM app.member m WHERE m.project_id = {t}.project_id ORDER BY m.n, m.user_id LIMIT 1)'],
	greater => ['none', 'n > ANY (SELECT n FROM app.member WHERE user_id = {me})'],
	exists_two => ['none', 'EXISTS (SELECT FROM app.member m WHERE m.project_id = {t}.project_id'
		. ' AND m.user_id = {t}.owner AND m.role = \'admin\')'],
	exists_less => ['none', 'EXISTS (SELECT FROM app.member m WHERE m.project_id = {t}.project_id'
		. ' AND m.user_id = {me} AND m.n > {t}.n)'],
	exists_or => ['none', 'EXISTS (SELECT FROM app.member m WHERE (m.project_id = {t}.project_id'
		. ' OR m.user_id = {t}.owner) AND m.user_id = {me})'],
	count => ['none', '(SELECT count(*) FROM app.member m WHERE m.project_id = {t}.project_id AND m.user_id = {me}) > 0'],
	helper => ['none', 'app.can_read(project_id)'],
	helper_or => ['none', 'owner = {me} OR app.can_read(project_id)'],
	lookup => ['none', 'app.can_read_{t}(id)'],
	whole_row => ['none', 'app.row_is_mine({t})'],
	clock => ['none', 'n < 60 AND now() > \'2020-01-01\''],
	volatile => ['none', 'n < 1000 AND random() < 2']);

my %project = (
	(map { ($_ => $item{$_}) } qw(owner owner_null org public all clock)),
	in => ['set', "id IN ($mine)"],
	any_array => ['set', "id = ANY (ARRAY($mine))"],
	exists => ['set', 'EXISTS (SELECT FROM app.member m WHERE m.project_id = {t}.id AND m.user_id = {me})'],
	or2 => ['set', "owner = {me} OR id IN ($mine)"],
	or3 => ['set', "public OR id IN ($mine AND role = 'admin') OR owner = {me}"],
	and2 => ['set', "org = {org} AND id IN ($mine)"],
	org_set => ['set', 'org IN (SELECT org FROM app.org_member WHERE user_id = {me})'],
	not_in => ['none', 'id NOT IN (SELECT project_id FROM app.blocked WHERE user_id = {me})'],
	helper => ['none', 'app.can_read(id)'],
	count => ['none', '(SELECT count(*) FROM app.member m WHERE m.project_id = {t}.id AND m.user_id = {me}) > 0']);

my %member = (
	mine => ['row', 'user_id = {me}'],
	mine_or_admin => ['row', 'user_id = {me} OR role = \'admin\''],
	all => ['row', 'true'],
	in => ['set', 'project_id IN (SELECT app.my_projects())'],
	or => ['set', 'user_id = {me} OR project_id IN (SELECT app.my_projects())']);

# {up} is the parent table, {fk} the column that points to it
my %child = (
	in => ['set', '{fk} IN (SELECT id FROM app.{up})'],
	any_array => ['set', '{fk} = ANY (ARRAY(SELECT id FROM app.{up}))'],
	exists => ['set', 'EXISTS (SELECT FROM app.{up} u WHERE u.id = {t}.{fk})'],
	or => ['set', 'author = {me} OR {fk} IN (SELECT id FROM app.{up})'],
	or_exists => ['set', 'EXISTS (SELECT FROM app.{up} u WHERE u.id = {t}.{fk}) OR author = {me}'],
	and => ['set', 'n < 80 AND {fk} IN (SELECT id FROM app.{up})'],
	where => ['set', '{fk} IN (SELECT id FROM app.{up} WHERE n < 50)'],
	author => ['row', 'author = {me}'],
	tied => ['none', 'EXISTS (SELECT FROM app.{up} u WHERE u.id = {t}.{fk} AND u.n > {t}.n)'],
	not_in => ['none', '{fk} NOT IN (SELECT id FROM app.{up})']);

my %restrictive = (
	(map { ($_ => $item{$_}) } qw(org not_in in in_not_true team not_exists)),
	small => ['row', 'n < 70'],
	org_null => ['row', 'org IS NULL OR org = {org}']);

my %restrictive_child = (small => ['row', 'n < 70'], foreign => ['row', 'author IS DISTINCT FROM {me}'],
	in => $child{in});

my %forms = (item => \%item, project => \%project, member => \%member, child => \%child,
	restrictive => \%restrictive, restrictive_child => \%restrictive_child);

sub form_names { my ($kind) = @_; return sort keys %{ $forms{$kind} } }
sub form_promise { my ($kind, $name) = @_; return $forms{$kind}{$name}[0] }
sub form_sql { my ($kind, $name) = @_; return $forms{$kind}{$name}[1] }

my %rank = (row => 0, set => 1, value => 2, none => 3);

sub worse { my ($a, $b) = @_; return $rank{$a} >= $rank{$b} ? $a : $b }

1;
