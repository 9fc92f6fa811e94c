# What README tells people to type in psql: all of it works, in that order,
# and comes to what it says

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WfiTest;

my $readme = slurp_file("$FindBin::RealBin/../../README.md");
my $node = new_node('main', conf => 'max_worker_processes = 16');

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Wait until a query says so.
sub wait_until
{
	my ($query, $what) = @_;

	ok($node->poll_query_until('postgres', "SELECT $query"), $what);
}

sub status { return "(SELECT status FROM wf.execution WHERE workflow_id = '$_[0]' AND is_current)" }

sub events
{
	my ($id, $pattern) = @_;

	return sql("SELECT string_agg(event_type::text, ' ' ORDER BY event_id) FROM wf_history('$id')
		WHERE event_type::text ~ '$pattern'");
}

# What there must be before a block that has these words, and what must have
# come to pass before the next one.
my %before = (
	'TO shop_worker' => sub { sql("CREATE ROLE $_") foreach qw(shop shop_worker shop_code support) },
	'TO worker;' => sub { sql('CREATE ROLE worker') });
my %after = (
	q{wf_cancel('order-2'} => sub {
		wait_until(status('order-1') . q( = 'Completed'), 'quick start: an order that is paid');
		wait_until(status('order-2') . q( = 'Canceled'), '... and one that is cancelled');
		is(sql(q(SELECT wf_result('order-1'))), '"shipped: book"', '... come to what they should');
		is(sql('SELECT item, free FROM stock ORDER BY item'), "book|2\nlamp|3", '... and leave what they should');
	},
	q{wf_start('order-4'} => sub {
		wait_until(q(EXISTS (SELECT FROM wf_history('order-4') WHERE event_type = 'TimerStarted')), 'PL/Python: it waits');
		sql(q(SELECT wf_cancel('order-4')));
		wait_until(status('order-4') . q( = 'Canceled'), '... and can be cancelled');
		is(sql(q(SELECT free FROM stock WHERE item = 'lamp')), '3', '... and cleans up');
	},
	q{wf_start('parcel-1'} => sub {
		wait_until(q(EXISTS (SELECT FROM wf_history('parcel-1') WHERE event_type = 'TimerStarted')), 'reset: the mistake');
		sql(q(CREATE OR REPLACE FUNCTION parcel_workflow(input jsonb) RETURNS jsonb LANGUAGE sql AS
			$$ SELECT wf_activity('charge', input, activity_id => 'charge'), wf_activity('ship', input); SELECT '"mended"'::jsonb $$));
	},
	q{wf_reset('parcel-1'} => sub {
		wait_until(status('parcel-1') . q( = 'Completed'), 'reset: the mended code goes on');
		is(sql(q(SELECT wf_result('parcel-1'))), '"mended"', '... to its end');
	},
	'CREATE TRIGGER' => sub {
		wait_until(status('order-42') . q( = 'Canceled'), 'triggers: cancelled');
		wait_until(status('order-43') . q( = 'Terminated'), '... and terminated');
		is(sql(q(SELECT attributes ->> 'cause' FROM wf_history('order-42') WHERE event_type = 'WorkflowExecutionCancelRequested')),
			'order 42 was cancelled by Ann', '... for that reason');
	},
	q{wf_cancel('order-50'} => sub {
		is(events('order-50', '^(Marker|Timer|WorkflowExecution)'),
			'WorkflowExecutionStarted MarkerRecorded TimerStarted WorkflowExecutionCancelRequested TimerCanceled MarkerRecorded WorkflowExecutionCanceled',
			'by hand: a workflow');
	},
	q('order-51') => sub {
		is(events('order-51', '^Activity'), 'ActivityTaskScheduled ActivityTaskStarted ActivityTaskCompleted', 'by hand: an activity');
	});

my $have_python = sql(q(SELECT count(*) FROM pg_available_extensions WHERE name = 'plpython3u'));
my %seen;

# The outlook in the first lines is not for typing.
$readme =~ s/.*?(?=^## Install$)//ms;
while ($readme =~ /^(?:#+ (.*?)|```sql\n(.*?)^```)$/msg)
{
	my ($title, $block) = ($1, $2);

	if (defined $title)
	{
		$seen{title} = $title;
		next;
	}
	next if $block =~ /plpython3u/ && !$have_python;
	foreach (grep { index($block, $_) >= 0 } keys %before)
	{
		$before{$_}->();
		$seen{$_} = 1;
	}
	# Three seconds may not be enough for what is to end by itself.
	$block =~ s/wf_timer_start\('3 s'\)/wf_timer_start('10 s')/;
	my ($ret, $stdout, $stderr) = $node->psql('postgres', $block, on_error_stop => 1);
	ok($ret == 0 && $stderr eq '', "$seen{title}: " . ($block =~ /^(.*)$/m)[0]) or diag($block, $stdout, $stderr);
	foreach (grep { index($block, $_) >= 0 } keys %after)
	{
		$after{$_}->();
		$seen{$_} = 1;
	}
}
is(join(', ', grep { !$seen{$_} && ($have_python || !/order-4'$/) } keys %before, keys %after), '', 'nothing is left out');

wait_until("$_->[1] = " . status($_->[0]), "$_->[0]: $_->[1]")
  foreach [ 'export-1', q('Completed') ], [ 'export-2', q('Completed') ], [ 'export-3', q('Completed') ];
is(sql(q(SELECT wf_result('export-1'), wf_result('export-2'), wf_result('export-3'))),
	'10|{"canceled": "nothing was exported"}|"bad input"', 'activities: a result, a cancel, an error');
is(sql('SELECT count(*) FROM export'), '10', '... and their effects');
no_task_failed($node, 'no code failed');

check_sound($node);
$node->stop;
done_testing();
