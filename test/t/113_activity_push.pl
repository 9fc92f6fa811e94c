# What is pushed to the worker of an activity, and when

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use WfiTest;

my $node = new_node('main');
$node->safe_psql('postgres', 'CREATE EXTENSION workflow_interrupt');
wait_for_driver($node, 'postgres');

sub sql
{
	return $node->safe_psql('postgres', @_);
}

my $identity = 'Worker 1';
my $listener = listener($node, 'postgres', map { "mark-$_" } 1 .. 50);
my $session = open_session($node);

$listener->{psql}->query_safe('LISTEN '
	  . sql("SELECT quote_ident(wf_channel('worker', '$identity'))"));

# Starts a workflow and its activities, and has the worker take the first; in
# one transaction, so that no time-out comes between.
sub started
{
	my ($id, $options, $run_timeout) = @_;

	$options //= '{}';
	$run_timeout //= 'NULL';
	sql(qq(
		BEGIN;
		SELECT FROM wf_start('$id', 'type', task_queue => '$id', run_timeout => $run_timeout);
		SELECT FROM wf_poll_workflow_task('$id') t, wf_respond_workflow_task_completed(task_token, (
			SELECT jsonb_agg('{"command_type": "ScheduleActivityTask", "activity_type": "type", "start_to_close_timeout": "3600s"}'::jsonb
			|| jsonb_build_object('activity_id', i) || '$options') FROM unnest(ARRAY['1', '2']) i));
		SELECT FROM wf_poll_activity_task('$id', identity => '$identity');
		COMMIT));
}

# A reply to the workflow task.
sub reply
{
	my ($id, $commands) = @_;

	return qq(SELECT FROM wf_signal('$id', 'go');
		SELECT FROM wf_poll_workflow_task('$id') t, wf_respond_workflow_task_completed(task_token, '[$commands]'));
}

sub cancel
{
	my ($scheduled_event_id) = @_;

	return qq({"command_type": "RequestCancelActivityTask", "scheduled_event_id": $scheduled_event_id});
}

# What is pushed for a workflow, in short, before the mark; the rest of each
# payload is checked.  What the driver itself has done can be seen a moment
# before it is told: it is waited for.
my $marks = 0;

sub pushed
{
	my ($id, $by_driver) = @_;
	my $attempts = $by_driver ? 20 * $PostgreSQL::Test::Utils::timeout_default : 0;
	my $run_id = sql("SELECT run_id FROM wf.execution WHERE workflow_id = '$id' ORDER BY start_time LIMIT 1");
	my @pushed;

	usleep(50_000) while $attempts-- > 0 && !grep { $_->[1] !~ /"task_queue"/ } notices($listener);
	$marks++;
	sql(mark("mark-$marks"));
	foreach my $notice (wait_for_notice($listener, "mark-$marks"))
	{
		next if $notice->[1] =~ /"task_queue"/;
		my $payload = decode_json($notice->[1]);
		is(join(' ', sort keys %$payload), 'activity_id attempt cause run_id', "$id: payload");
		is($payload->{run_id}, $run_id, "$id: run");
		push @pushed, "$payload->{activity_id} attempt $payload->{attempt}: $payload->{cause}";
	}
	return join(', ', @pushed);
}

sub is_pushed
{
	my ($id, $query, $expected, $name) = @_;

	$session->query_safe($query);
	is(pushed($id), $expected, "$id: $name");
}

started('cancel');
is_pushed('cancel', reply('cancel', cancel(5)), '1 attempt 1: CancelRequested', 'cancel request');

started('not started');
is_pushed('not started', reply('not started', cancel(6)), '', 'cancel request for one that no worker has');

started('rolled back');
is_pushed('rolled back', 'BEGIN; ' . reply('rolled back', cancel(5)) . '; ROLLBACK', '', 'cancel request that is rolled back');
is_pushed('rolled back', 'BEGIN; SAVEPOINT s; ' . reply('rolled back', cancel(5)) . '; ROLLBACK TO s; COMMIT',
	'', 'to a savepoint');
is_pushed('rolled back', 'BEGIN; SAVEPOINT s; ' . reply('rolled back', cancel(5)) . '; RELEASE s; COMMIT',
	'1 attempt 1: CancelRequested', 'and then not');

started('refused');
is_pushed('refused', 'SET client_min_messages = error; ' . reply('refused', cancel(5) . ', ' . cancel(77)), '', 'cancel request in a refused reply');

started('pause');
is_pushed('pause', q(SELECT wf_pause_activity('pause', '1'), wf_pause_activity('pause', '2')), '1 attempt 1: Paused', 'pause');
is_pushed('pause', q(SELECT wf_unpause_activity('pause', '1')), '', 'unpause');
is_pushed('pause', q(SELECT wf_reset_activity('pause', '1')), '', 'reset of an activity');

started('terminate');
is_pushed('terminate', q(SELECT wf_terminate('terminate')), '1 attempt 1: Terminated', 'terminate');

started('replaced');
is_pushed('replaced', q(SELECT wf_start('replaced', 'type', id_conflict_policy => 'TerminateExisting')),
	'1 attempt 1: Terminated', 'another start');

started('reset');
is_pushed('reset', q(BEGIN; SELECT wf_reset('reset', 4); ROLLBACK), '', 'reset that is rolled back');
is_pushed('reset', q(SELECT wf_reset('reset', 4)), '1 attempt 1: Reset', 'reset');
is_pushed('reset', q(SELECT wf_reset('reset', 4)), '', 'and again: nobody runs the new one');
started('kept');
is_pushed('kept', q(SELECT FROM wf_signal('kept', 'go'); SELECT FROM wf_poll_workflow_task('kept'); SELECT wf_reset('kept', 9)),
	'1 attempt 1: Reset', 'reset behind its schedule');
is(sql(q(SELECT count(*) FROM wf_poll_activity_task('kept', 10))), '2', 'kept: dispatched again');

started('complete');
is_pushed('complete', reply('complete', '{"command_type": "CompleteWorkflowExecution"}'), '1 attempt 1: Terminated', 'end of the run');

started('finished');
is_pushed('finished', q(SELECT wf_respond_activity_task_completed_by_id('finished', '1'); SELECT wf_terminate('finished')),
	'', 'one that has finished');

started('retry', '{"start_to_close_timeout": "0.1s", "retry_policy": {"initial_interval": "3600s"}}');
ok($node->poll_query_until('postgres', q(SELECT attempt = 2 FROM wf.activity JOIN wf.execution USING (run_id)
	WHERE workflow_id = 'retry' AND activity_id = '1')), 'retry: timed out');
is(pushed('retry', 1), '1 attempt 1: TimedOut', 'retry: time-out of an attempt');
is_pushed('retry', q(SELECT wf_terminate('retry')), '', 'nobody runs the next one');

started('timeout', '{"start_to_close_timeout": "0.1s", "retry_policy": {"maximum_attempts": 1}}');
ok($node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM wf_history('timeout') WHERE event_type = 'ActivityTaskTimedOut')),
	'timeout: timed out');
is(pushed('timeout', 1), '1 attempt 1: TimedOut', 'timeout: of the last attempt');

started('run', '{}', q('0.5s'));
ok($node->poll_query_until('postgres', q(SELECT status = 'TimedOut' FROM wf.execution WHERE workflow_id = 'run')), 'run: timed out');
is(pushed('run', 1), '1 attempt 1: TimedOut', 'run: time-out of the run');

# The longest payload there is.
sql(q(
	SELECT FROM wf_start('long', 'type', task_queue => 'long');
	SELECT FROM wf_poll_workflow_task('long') t, wf_respond_workflow_task_completed(task_token, jsonb_build_array(jsonb_build_object(
		'command_type', 'ScheduleActivityTask', 'activity_type', 'type', 'start_to_close_timeout', '3600s',
		'activity_id', repeat(chr(1), 1000))));
	SELECT FROM wf_poll_activity_task('long', identity => 'Worker 1')));
is_pushed('long', q(SELECT wf_pause_activity('long', repeat(chr(1), 1000))), ("\1" x 1000) . ' attempt 1: Paused', 'long id');

# Nobody in particular has it.
sql(qq(
	SELECT FROM wf_start('nobody', 'type', task_queue => 'nobody');
	SELECT FROM wf_poll_workflow_task('nobody') t, wf_respond_workflow_task_completed(task_token,
		'[{"command_type": "ScheduleActivityTask", "activity_type": "type", "activity_id": "1", "start_to_close_timeout": "3600s"}]');
	SELECT FROM wf_poll_activity_task('nobody', identity => '')));
is_pushed('nobody', q(SELECT wf_terminate('nobody')), '', 'without an identity');

$_->quit foreach $listener->{psql}, $session;
check_sound($node);
$node->stop;
done_testing();
