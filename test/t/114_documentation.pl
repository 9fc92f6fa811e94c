# wf_worker: the examples of Temporal's documentation on interrupting
# workflows, with processes for workflows and activities; 130_workflow_code.pl
# and code_documentation.sql have them in SQL

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use WfiTest qw(check_sound);
use WorkerTest;

my $node = new_node();

# The workflows' code.  What follows "my %on" decides by the last thing that
# has happened, as a program without a framework would.
append_to_file("$dir/workflow.pl", <<'PERL');
use strict;
use warnings;
use JSON::PP;

my $task = decode_json(<STDIN>);
my (%event, %type, %closed);
foreach (@{ $task->{history} })
{
	my $attributes = $_->{attributes};

	$event{ $_->{event_type} } = $_;
	$type{ $_->{event_id} } = $attributes->{activity_type} if $_->{event_type} eq 'ActivityTaskScheduled';
	$closed{ $type{ $attributes->{scheduled_event_id} } } = $_ if $_->{event_type} =~ /^ActivityTask(Completed|Canceled)$/;
}
my %scheduled = reverse %type;
my $input = $event{WorkflowExecutionStarted}{attributes}{input};

my @commands;
sub command { my ($type, %fields) = @_; push @commands, { command_type => $type, %fields } }
sub schedule
{
	my ($type, %fields) = @_;
	command('ScheduleActivityTask', activity_id => $type, activity_type => $type, start_to_close_timeout => '5 min', %fields);
}
sub cancel { command('RequestCancelActivityTask', scheduled_event_id => 0 + $scheduled{ $_[0] }) }

my %code = (
	GreetingWorkflow => sub {
		if (!%scheduled)
		{
			schedule('cancellable_activity', input => $input, heartbeat_timeout => '30 s');
			command('StartTimer', timer_id => 'sleep', start_to_fire_timeout => '3 s');
		}
		elsif ($closed{run_activity})
		{
			command('CompleteWorkflowExecution', result => $closed{run_activity}{attributes}{result});
		}
		elsif ($closed{cancellable_activity})
		{
			schedule('run_activity', input => $input);
		}
		elsif ($event{TimerFired} && !$event{ActivityTaskCancelRequested})
		{
			# three seconds may not be enough for it to begin
			select(undef, undef, undef, 0.1) until -e $ENV{BEGUN};
			cancel('cancellable_activity');
		}
	},
	YourWorkflow => sub {
		my $first = $closed{ActivityToBeCanceled};

		if (!%scheduled)
		{
			schedule('ActivityToBeCanceled', heartbeat_timeout => '5 s');
		}
		elsif ($closed{CleanupActivity})
		{
			command('CancelWorkflowExecution');
		}
		elsif ($first && $event{WorkflowExecutionCancelRequested})
		{
			# the activity to be skipped is; what cleans up is not canceled
			schedule('CleanupActivity', input => $first->{attributes}{result}) if !$scheduled{CleanupActivity};
		}
		elsif ($closed{ActivityToBeSkipped})
		{
			command('CompleteWorkflowExecution', result => $first->{attributes}{result});
		}
		elsif ($first)
		{
			schedule('ActivityToBeSkipped') if !$scheduled{ActivityToBeSkipped};
		}
		elsif ($event{WorkflowExecutionCancelRequested} && !$event{ActivityTaskCancelRequested})
		{
			# and wait for what comes of it
			cancel('ActivityToBeCanceled');
		}
	},
	BackgroundCheck => sub {
		# the fix: what was there before has been asking for another activity
		my $check = -e "$ENV{FIXED}" ? 'check' : 'chekc';

		if (!%scheduled) { schedule('check') }
		elsif (!$scheduled{$check}) { die "history has no activity $check\n" }
		elsif ($closed{check}) { command('CompleteWorkflowExecution', result => 'checked') }
	});
$code{ $task->{workflow_type} }->();
print encode_json(\@commands);
PERL

my %activity = (
	# heartbeats for ever; on a cancel it tidies up and shows as canceled
	cancellable_activity => "trap 'echo Activity cancelled; exit 143' TERM; : >$dir/begun; while :; do echo some details >&3; sleep 0.5 & wait \$!; done",
	run_activity => q(perl -MJSON::PP -e 'my $i = JSON::PP->new->decode(<STDIN>); print "$i->{arg1}$i->{arg2}"'),
	# on a cancel it stops, and completes
	ActivityToBeCanceled => q(trap 'echo I am canceled by Done; exit 0' TERM; while :; do echo '""' >&3; sleep 0.5 & wait $!; done),
	ActivityToBeSkipped => "echo skipped >>$dir/log",
	CleanupActivity => "cat >>$dir/log",
	# takes note of the cancel, goes on heartbeating, and completes
	stubborn => "trap 'n=100' TERM; n=0; while [ \$n -lt 100 ] || [ ! -e $dir/enough ]; do n=\$((n + 1)); echo \$n >&3; sleep 0.1 & wait \$!; done; echo finished",
	check => 'true');
my $worker = start_worker('q', '--poll-interval=600', '--grace-period=60',
	(map { "--workflow=$_=FIXED=$dir/fixed BEGUN=$dir/begun exec perl $dir/workflow.pl" } qw(GreetingWorkflow YourWorkflow BackgroundCheck)),
	(map { "--activity=$_=$activity{$_}" } keys %activity));

sub start { return sql(qq(SELECT wf_start('$_[0]', '$_[1]', '$_[2]', task_queue => 'q'))) }
sub wait_closed { wait_for("$_[0] is closed", "SELECT status <> 'Running' FROM wf.execution WHERE workflow_id = '$_[0]' AND is_current") }
sub status { return sql("SELECT status FROM wf.execution WHERE workflow_id = '$_[0]' AND is_current") }

# The events, but those of workflow tasks.
sub events
{
	return sql("SELECT string_agg(event_type::text, ' ' ORDER BY event_id) FROM wf_history('$_[0]') WHERE event_type::text !~ '^WorkflowTask'");
}

#
# Python: cancel an activity from a workflow
#

my $before = time;
start('greeting', 'GreetingWorkflow', '{"arg1": "Hello, ", "arg2": "World"}');
wait_closed('greeting');
cmp_ok(time - $before, '>=', 3, 'a workflow cancels its activity after three seconds');
is( events('greeting'), 'WorkflowExecutionStarted ActivityTaskScheduled TimerStarted TimerFired ActivityTaskCancelRequested '
	  . 'ActivityTaskStarted ActivityTaskCanceled ActivityTaskScheduled ActivityTaskStarted ActivityTaskCompleted WorkflowExecutionCompleted',
	'... which shows as canceled');
is(attribute('greeting', 'ActivityTaskCanceled', '{details}'), 'Activity cancelled', '... with what it says');
is(sql(q(SELECT wf_result('greeting'))), '"Hello, World"', '... and goes on');

#
# Go: deferred cleanup, one activity to be canceled, one to be skipped
#

my $run_id = start('your', 'YourWorkflow', 'null');
wait_for('your: heartbeats', q(SELECT heartbeat_details IS NOT NULL FROM wf.activity WHERE activity_id = 'ActivityToBeCanceled'));
is(sql(q(SELECT wf_cancel('your'))), 't', 'a client cancels by the workflow id alone');
is(sql(qq(SELECT wf_cancel('your', run_id => '$run_id'))), 'f', '... and with the run id, which changes nothing any more');
wait_closed('your');
is(status('your'), 'Canceled', 'cleanup, and the error returned');
is( events('your'), 'WorkflowExecutionStarted ActivityTaskScheduled WorkflowExecutionCancelRequested ActivityTaskCancelRequested '
	  . 'ActivityTaskStarted ActivityTaskCompleted ActivityTaskScheduled ActivityTaskStarted ActivityTaskCompleted WorkflowExecutionCanceled',
	'... one activity handled it, one was skipped, one cleaned up');
is(slurp_file("$dir/log"), qq("I am canceled by Done"\n), '... after what it did');

#
# Go: heartbeating after a cancellation
#

schedule('stubborn', 'stubborn', task_queue => 'q', heartbeat_timeout => '5 s');
wait_for('stubborn: heartbeats', q(SELECT heartbeat_details IS NOT NULL FROM wf.activity WHERE activity_id = 'stubborn'));
cancel_activity('stubborn');
wait_for('heartbeats are sent after the cancel', q(SELECT heartbeat_details::text::int > 100 FROM wf.activity WHERE activity_id = 'stubborn' AND cancel_requested));
append_to_file("$dir/enough", '');
is(closing_event('stubborn'), 'ActivityTaskCompleted', '... and the activity may ignore it');
is(attribute('stubborn', 'ActivityTaskCompleted', '{result}'), 'finished', '... and complete');

#
# Terminate
#

start('terminated', 'YourWorkflow', 'null');
wait_for('terminated: heartbeats', q(SELECT heartbeat_details IS NOT NULL FROM wf.activity WHERE activity_id = 'ActivityToBeCanceled'));
is(sql(q(SELECT wf_terminate('terminated', 'enough'))), 't', 'terminate');
is(events('terminated'), 'WorkflowExecutionStarted ActivityTaskScheduled WorkflowExecutionTerminated', '... gives the code no chance');
is(sql(q(SELECT count(*) FROM wf_history('terminated') WHERE event_id > 5 AND event_type = 'WorkflowTaskScheduled')), '0', '... and schedules no workflow task');

#
# Reset: what is blocked by code that does not fit its history
#

$run_id = start('my-background-check', 'BackgroundCheck', 'null');
wait_for_event('my-background-check', 'WorkflowTaskFailed');
is(attribute('my-background-check', 'WorkflowTaskFailed', '{failure,stack_trace}'), "history has no activity chekc\n", 'a workflow is blocked');
# The blocked run, which is tried again, must not get hold of the fixed code.
my $session = $node->background_psql('postgres');
$session->query_safe(q(BEGIN; SELECT count(*) FROM wf_reset('my-background-check', 4, 'Fixed non-deterministic code')));
append_to_file("$dir/fixed", '');
$session->query_safe('COMMIT');
$session->quit;
wait_closed('my-background-check');
is(status('my-background-check'), 'Completed', 'it is reset to event 4, and completes');
is(attribute('my-background-check', 'WorkflowTaskFailed', '{failure,message}'), 'Fixed non-deterministic code', '... with the reason in its history');
is(sql("SELECT status FROM wf.execution WHERE run_id = '$run_id'"), 'Terminated', '... and the blocked run is terminated');
sql(qq(SELECT count(*) FROM wf_reset('my-background-check', 4, 'once more', run_id => '$run_id', namespace => 'default')));
wait_closed('my-background-check');
is(sql(q(SELECT string_agg(status::text, ' ' ORDER BY run_id) FROM wf.execution WHERE workflow_id = 'my-background-check')),
	'Terminated Completed Completed', 'a certain run can be reset, too');

stop_worker($worker);
check_sound($node);
$node->stop;
done_testing();
