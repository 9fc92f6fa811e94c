# What the tests of workers for SQL functions share.

package SqlWorkerTest;

use strict;
use warnings;

use Exporter qw(import);
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(prepare_database worker_pids wait_until history outcome event closed);

# The extension, and helpers: act() makes a workflow, which nobody else works
# for, schedule an activity; cancel_act() makes it ask for its cancel; log()
# writes down who was there.
sub prepare_database
{
	my ($node, $database) = @_;

	$node->safe_psql($database // 'postgres', q[
		CREATE EXTENSION workflow_interrupt;
		CREATE SCHEMA test;
		CREATE TABLE test.log (id serial, what text, who text DEFAULT current_user, pid int DEFAULT pg_backend_pid());
		CREATE FUNCTION test.log(what text) RETURNS void LANGUAGE sql AS 'INSERT INTO test.log (what) VALUES ($1)';
		CREATE FUNCTION test.act(id text, type text, input jsonb DEFAULT NULL, options jsonb DEFAULT '{}') RETURNS boolean LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM wf_start(id, 'T', task_queue => 'by hand ' || id);
			RETURN accepted FROM wf_poll_workflow_task('by hand ' || id) p, wf_respond_workflow_task_completed(p.task_token,
				jsonb_build_array('{"command_type": "ScheduleActivityTask", "activity_id": "1", "task_queue": "default",
					"start_to_close_timeout": "1h"}'::jsonb || options || jsonb_build_object('activity_type', type, 'input', input)));
		END $$;
		CREATE FUNCTION test.cancel_act(id text) RETURNS boolean LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM wf_cancel(id);
			RETURN accepted FROM wf_poll_workflow_task('by hand ' || id) p, wf_respond_workflow_task_completed(p.task_token,
				'[{"command_type": "RequestCancelActivityTask", "scheduled_event_id": 5}]');
		END $$;
	]);
}

# The workers there are, of a role or of all.
sub worker_pids
{
	my ($node, $role) = @_;

	return split /\n/, $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker'"
		  . (defined $role ? " AND usename = '$role'" : ''));
}

# Wait until a workflow is closed; its status and result, or failure.
sub closed
{
	my ($node, $id) = @_;

	$node->poll_query_until('postgres', "SELECT status <> 'Running' FROM wf.execution WHERE workflow_id = '$id' AND is_current")
	  or return 'still running';
	return $node->safe_psql('postgres',
		"SELECT concat_ws(' ', e.status, v.attributes ->> 'result', v.attributes #>> '{failure,message}')
		FROM wf.execution e JOIN wf.event v ON v.shard = e.shard AND v.run_id = e.run_id AND v.event_id = e.next_event_id - 1
		WHERE workflow_id = '$id' AND is_current");
}

# Wait until a query gives true.
sub wait_until
{
	my ($node, $query, $what) = @_;

	my $ok = $node->poll_query_until('postgres', $query);
	ok($ok, $what) if defined $what;
	return $ok;
}

# Wait until the activity of a workflow is over; the closing event, and its
# attributes.
sub outcome
{
	my ($node, $id) = @_;

	$node->poll_query_until('postgres',
		"SELECT EXISTS (SELECT FROM wf_history('$id') WHERE event_type::text ~ '^ActivityTask(Completed|Failed|Canceled|TimedOut)')")
	  or return 'nothing';
	return $node->safe_psql('postgres',
		"SELECT event_type || ' ' || coalesce(attributes ->> 'result', attributes ->> 'details',
			(attributes -> 'failure' ->> 'type') || ': ' || (attributes -> 'failure' ->> 'message'), attributes -> 'failure' ->> 'message', '')
		FROM wf_history('$id') WHERE event_type::text ~ '^ActivityTask(Completed|Failed|Canceled|TimedOut)'");
}

1;
