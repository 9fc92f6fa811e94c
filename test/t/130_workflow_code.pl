# Workflows written in SQL, run by background workers: the examples of
# Temporal's documentation on interrupting them, alive

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SqlWorkerTest;
use Test::More;
use Time::HiRes qw(time);
use WfiTest;

my $node = new_node('main', conf => q(
max_worker_processes = 20
workflow_interrupt.worker_idle_timeout = '1h'
));

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Make and register a function.
sub code
{
	my ($kind, $name, $body) = @_;

	sql(qq[CREATE OR REPLACE FUNCTION test."$name"(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$ $body \$\$;
		SELECT wf_register_$kind('$name', 'test."$name"(jsonb)')]);
}
sub activity { return code('activity', @_) }
sub workflow { return code('workflow', @_) }

# The events of a workflow, but those of its workflow tasks.
sub events
{
	my ($id) = @_;

	return sql(
		"SELECT string_agg(event_type::text, ' ' ORDER BY event_id) FROM wf_history('$id') WHERE event_type::text !~ '^WorkflowTask'");
}

sub wait_event
{
	my ($id, $type) = @_;

	return $node->poll_query_until('postgres',
		"SELECT EXISTS (SELECT FROM wf_history('$id') WHERE event_type = '$type')");
}

# Wait until the activity of a workflow has sent a heartbeat.
sub wait_heartbeat
{
	my ($id) = @_;

	return $node->poll_query_until('postgres',
		"SELECT EXISTS (SELECT FROM wf.activity a JOIN wf.execution e USING (shard, run_id)
		WHERE e.workflow_id = '$id' AND a.last_heartbeat_time IS NOT NULL)");
}

sub logged { return sql("SELECT string_agg(what, ' ' ORDER BY id) FROM test.log WHERE what LIKE '$_[0]%'") }

prepare_database($node);

#
# In Python's words: cancel an activity from a workflow
#

# It heartbeats for ever; on a cancel it cleans up, and raises it again.
activity('cancellable_activity', q[
BEGIN
	LOOP
		PERFORM pg_sleep(0.5), wf_activity_heartbeat('"some details"');
	END LOOP;
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	RAISE EXCEPTION USING ERRCODE = 'WF001', MESSAGE = SQLERRM, DETAIL = 'Activity cancelled';
END]);
activity('run_activity', q[BEGIN RETURN to_jsonb((input ->> 'arg1') || (input ->> 'arg2')); END]);
workflow('GreetingWorkflow', q[
DECLARE
	handle bigint := wf_activity_start('cancellable_activity', input, start_to_close_timeout => '5 minutes',
		heartbeat_timeout => '30 seconds', cancellation_type => 'WaitCancellationCompleted');
BEGIN
	PERFORM wf_sleep('3 seconds');
	PERFORM wf_activity_cancel(handle);
	BEGIN
		PERFORM wf_await(handle);
	EXCEPTION WHEN SQLSTATE 'WF001' THEN
		RETURN wf_activity('run_activity', input);
	END;
	RETURN NULL;
END]);
my $before = time;
sql(q(SELECT wf_start('greeting', 'GreetingWorkflow', '{"arg1": "Hello, ", "arg2": "World"}')));
is(closed($node, 'greeting'), 'Completed Hello, World', 'a workflow cancels its activity after three seconds');
cmp_ok(time - $before, '>=', 3, '... and not before');
is( events('greeting'), 'WorkflowExecutionStarted ActivityTaskScheduled TimerStarted TimerFired ActivityTaskCancelRequested '
	  . 'ActivityTaskStarted ActivityTaskCanceled ActivityTaskScheduled ActivityTaskStarted ActivityTaskCompleted WorkflowExecutionCompleted',
	'... which shows as canceled');
is(sql(q(SELECT attributes ->> 'details' FROM wf_history('greeting') WHERE event_type = 'ActivityTaskCanceled')), 'Activity cancelled', '... with what it says');

#
# In Go's words: deferred cleanup, one activity to be canceled, one to be skipped
#

activity('ActivityToBeCanceled', q[
BEGIN
	LOOP
		PERFORM pg_sleep(0.1), wf_activity_heartbeat('""');
	END LOOP;
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	RETURN '"I am canceled by Done"';
END]);
activity('ActivityToBeSkipped', q[BEGIN PERFORM test.log('skipped?'); RETURN NULL; END]);
activity('CleanupActivity', q[BEGIN PERFORM test.log('cleanup after ' || (input #>> '{}')); RETURN NULL; END]);
my $your_workflow = q[
DECLARE
	result jsonb;
BEGIN
	result := wf_activity('ActivityToBeCanceled', heartbeat_timeout => '5 seconds', start_to_close_timeout => '1 hour',
		cancellation_type => 'WaitCancellationCompleted');
	PERFORM wf_activity('ActivityToBeSkipped');
	RETURN result;
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	PERFORM wf_activity('CleanupActivity', result);
	%s
END];
workflow('YourWorkflow', sprintf($your_workflow, 'RAISE;'));
sql(q(SELECT wf_start('your', 'YourWorkflow')));
ok(wait_heartbeat('your'), 'the activity heartbeats');
is(sql(q(SELECT wf_cancel('your', 'not needed any more'))), 't', 'the workflow is canceled');
is(closed($node, 'your'), 'Canceled', '... and that error returned: it shows as canceled');
is( events('your'), 'WorkflowExecutionStarted ActivityTaskScheduled WorkflowExecutionCancelRequested ActivityTaskCancelRequested '
	  . 'ActivityTaskStarted ActivityTaskCompleted ActivityTaskScheduled ActivityTaskStarted ActivityTaskCompleted WorkflowExecutionCanceled',
	'... one activity handled it, one was skipped, one cleaned up');
is(logged('cleanup'), 'cleanup after I am canceled by Done', '... once');
is(logged('skipped'), '', '... and nothing else was done');

workflow('YourWorkflow', sprintf($your_workflow, 'RETURN \'"cleaned up"\';'));
sql(q(SELECT wf_start('swallows', 'YourWorkflow')));
wait_heartbeat('swallows');
sql(q(SELECT wf_cancel('swallows')));
is(closed($node, 'swallows'), 'Completed cleaned up', 'without the error it shows as completed');

#
# What the workflow does about a running activity
#

activity('slow', q[
BEGIN
	LOOP
		PERFORM pg_sleep(0.1), wf_activity_heartbeat();
	END LOOP;
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	PERFORM pg_sleep(CASE input #>> '{}' WHEN 'WaitCancellationCompleted' THEN 1 ELSE 3600 END);
	RAISE;
END]);
workflow('waits', q[
BEGIN
	RETURN wf_activity('slow', input, start_to_close_timeout => '1 hour', cancellation_type => input #>> '{}');
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	PERFORM wf_activity('CleanupActivity', input);
	RAISE;
END]);
foreach my $type (qw(TryCancel WaitCancellationCompleted Abandon))
{
	sql(qq(SELECT wf_start('$type', 'waits', '"$type"')));
	wait_heartbeat($type);
	sql(qq(SELECT wf_cancel('$type')));
	is(closed($node, $type), 'Canceled', "$type");
}
is(events('WaitCancellationCompleted') =~ s/.*CancelRequested //r,
	'ActivityTaskStarted ActivityTaskCanceled ActivityTaskScheduled ActivityTaskStarted ActivityTaskCompleted WorkflowExecutionCanceled',
	'one waits for what comes of its activity');
is(events('TryCancel') =~ s/.*Requested ActivityTaskCancel//r,
	'Requested ActivityTaskScheduled ActivityTaskStarted ActivityTaskCompleted WorkflowExecutionCanceled', 'one only asks it to cancel');
is(events('Abandon') =~ s/.*WorkflowExecutionCancel(?=Requested)//r,
	'Requested ActivityTaskScheduled ActivityTaskStarted ActivityTaskCompleted WorkflowExecutionCanceled', 'one does not even do that');
ok( wait_until($node, q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker' AND state = 'active')),
	'all of them end with their workflow, if not before');

#
# Terminate: the code has no say
#

sql(q(SELECT wf_start('terminated', 'waits', '"TryCancel"')));
wait_heartbeat('terminated');
sql(q(SELECT wf_terminate('terminated', 'enough')));
is(closed($node, 'terminated'), 'Terminated', 'terminate');
is(events('terminated'), 'WorkflowExecutionStarted ActivityTaskScheduled WorkflowExecutionTerminated', '... and nothing else happens');

#
# Long ones, and many at a time, by several workers that each keep the histories
#

activity('add', q[BEGIN RETURN to_jsonb(input::int + 1); END]);
workflow('long', q[
DECLARE
	n jsonb := '0';
BEGIN
	FOR i IN 1..input::int LOOP
		n := wf_activity('add', n);
	END LOOP;
	RETURN n;
END]);
sql(q(SELECT wf_start('long', 'long', '2000')));
sql(q(SELECT wf_start('short-' || i, 'long', '10') FROM generate_series(1, 50) i));
is(closed($node, "short-$_"), 'Completed 10', "workflow $_ of 50") foreach 1 .. 50;
$node->poll_query_until('postgres', q(SELECT status <> 'Running' FROM wf.execution WHERE workflow_id = 'long'))
  or $node->poll_query_until('postgres', q(SELECT status <> 'Running' FROM wf.execution WHERE workflow_id = 'long'));
is(closed($node, 'long'), 'Completed 2000', 'a workflow of 2,000 steps');
is(sql(q(SELECT count(*) FROM wf.event WHERE event_type::text ~ '^WorkflowTask(Failed|TimedOut)')), '0', 'no workflow task failed');

#
# A signal that comes in while the code is running
#

# The reply is refused, since it would close the workflow without having seen
# the signal, and what the local activity wrote is taken back.
activity('note', q[BEGIN PERFORM test.log('noted'); RETURN input; END]);
workflow('busy', q[
BEGIN
	PERFORM wf_local_activity('note');
	WHILE NOT EXISTS (SELECT FROM wf.buffered_event UNION ALL SELECT FROM wf.event WHERE event_type = 'WorkflowExecutionSignaled') LOOP
		PERFORM pg_sleep(0.1);
	END LOOP;
	RETURN coalesce(wf_signal_receive('s', '0'), '"no signal"');
END]);
sql(q(SELECT wf_start('busy', 'busy')));
wait_until($node, q(SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker' AND wait_event = 'PgSleep')), 'the code runs');
sql(q(SELECT wf_signal('busy', 's', '"seen"')));
is(closed($node, 'busy'), 'Completed seen', 'the code sees the signal in the end');
is(sql(q(SELECT string_agg(attributes ->> 'cause', ' ') FROM wf_history('busy') WHERE event_type = 'WorkflowTaskFailed')), 'UnhandledCommand', '... after its first reply was refused');
is(logged('noted'), 'noted', '... and the local activity has had its effect once');

$node->stop;
done_testing();
