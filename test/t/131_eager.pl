# A worker that goes on at once with what follows from its reply: what it
# saves, and what it must not do to others

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SqlWorkerTest;
use Test::More;
use WfiTest;

my $node = new_node('main', conf => q(
max_worker_processes = 20
workflow_interrupt.renotify_interval = '1h'
workflow_interrupt.worker_idle_timeout = '1h'
workflow_interrupt.max_workers_per_role = 1
));

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Make and register a function.
sub code
{
	my ($kind, $name, $body) = @_;

	sql(qq[CREATE FUNCTION test."$name"(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$ $body \$\$;
		SELECT wf_register_$kind('$name', 'test."$name"(jsonb)')]);
}

prepare_database($node);
code('activity', 'step', q[BEGIN RETURN input; END]);
code('workflow', 'flow', q[
DECLARE
	result jsonb;
BEGIN
	FOR i IN 1..(input ->> 'times')::int LOOP
		result := wf_activity(input ->> 'activity', to_jsonb(i), retry_policy => '{"maximum_attempts": 1}');
	END LOOP;
	RETURN result;
END]);
code('activity', 'hang', q[BEGIN PERFORM pg_sleep(3600); END]);
code('activity', 'other hang', q[BEGIN PERFORM pg_sleep(3600); END]);
code('workflow', 'pair', q[
BEGIN
	PERFORM wf_activity('step', '1');
	PERFORM wf_await_any(ARRAY[wf_activity_start('hang', '1'), wf_activity_start('other hang', '2')]);
	RETURN NULL;
END]);

sub flow
{
	my ($id, $activity, $times) = @_;

	sql("SELECT wf_start('$id', 'flow', '{\"activity\": \"$activity\", \"times\": $times}')");
}

#
# A step is two transactions, and its history is like any other
#

# For a tenth of a second it goes on; where that is not enough, look at another.
my $expected = join('; ', ('ActivityTaskStarted ActivityTaskCompleted WorkflowTaskScheduled WorkflowTaskStarted',
		'WorkflowTaskCompleted ActivityTaskScheduled') x 2,
	'ActivityTaskStarted ActivityTaskCompleted WorkflowTaskScheduled WorkflowTaskStarted');
my ($of, $found);
for (my $i = 1; $i <= 50; $i++)
{
	flow("steps $i", 'step', 3);
	is(closed($node, "steps $i"), 'Completed 3', 'a workflow of three steps');
	$of = "FROM wf.event JOIN wf.execution USING (shard, run_id) WHERE workflow_id = 'steps $i' AND";
	$found = sql(qq(SELECT string_agg(types, '; ' ORDER BY first) FROM (
		SELECT min(event_id) AS first, string_agg(event_type::text, ' ' ORDER BY event_id) AS types
		$of event_id BETWEEN 6 AND 21 GROUP BY event.xmin::text) AS transaction));
	last if $found eq $expected;
}
is($found, $expected, 'a step takes two transactions');
is(sql("SELECT string_agg(event_id || '-' || batch_id, ' ' ORDER BY event_id) $of event_id BETWEEN 6 AND 11"),
	'6-6 7-6 8-6 9-9 10-10 11-10', '... and batches are those of four');
is(sql('SELECT count(*) FROM wf.task'), '0', '... which leave nothing in queues');

#
# What follows beside the task that a worker goes on with is somebody else's
#

$node->append_conf('postgresql.conf', 'workflow_interrupt.max_workers_per_role = 3');
$node->restart;
flow('again', 'step', 1);
is(closed($node, 'again'), 'Completed 1', 'a worker that is idle then');
sql("SELECT wf_start('pair', 'pair')");
wait_until($node, q(SELECT count(*) = 2 FROM wf.activity WHERE state = 'Started'), 'two activities of one workflow are run at the same time');
sql(q(SELECT wf_terminate('pair')));

$node->append_conf('postgresql.conf', 'workflow_interrupt.max_workers_per_role = 1');
$node->restart;

#
# The commit of an activity fails, and with it the start of what follows
#

sql('CREATE TABLE test.base (id int PRIMARY KEY);
	CREATE TABLE test.reference (id int REFERENCES test.base DEFERRABLE INITIALLY DEFERRED);');
code('activity', 'refer', q[BEGIN INSERT INTO test.reference VALUES (1); RETURN input; END]);
flow('late', 'refer', 1);
like(closed($node, 'late'), qr/^Failed activity "refer" failed: insert or update on table "reference" violates foreign key/,
	'an activity whose commit fails has failed');
is(sql(q(SELECT string_agg(event_type::text, ' ' ORDER BY event_id) FROM wf_history('late') WHERE event_id > 5)),
	'ActivityTaskStarted ActivityTaskFailed WorkflowTaskScheduled WorkflowTaskStarted WorkflowTaskCompleted WorkflowExecutionFailed',
	'... and nothing else has happened');

#
# Nothing of a task's is left behind for the one that follows
#

code('activity', 'leave', q[
DECLARE
	found text := concat_ws(' ', to_regclass('pg_temp.left_behind'), current_setting('test.left_behind', true));
BEGIN
	CREATE TEMPORARY TABLE left_behind ();
	PERFORM set_config('test.left_behind', 'a setting', false);
	RETURN to_jsonb(found);
END]);
flow('leave', 'leave', 2);
is(closed($node, 'leave') =~ s/ +$//r, 'Completed', 'the next step finds no temporary table and no setting of the one before');

#
# A worker that goes on does not keep others waiting
#

# the long one is in the middle of its work when the other comes
code('activity', 'nap', q[
BEGIN
	WHILE input = '10' AND NOT EXISTS (SELECT FROM wf.execution WHERE workflow_id = 'short') LOOP
		PERFORM pg_sleep(0.1);
	END LOOP;
	PERFORM pg_sleep(0.01);
	RETURN input;
END]);
flow('long', 'nap', 200);
wait_until($node, q(SELECT next_event_id > 10 FROM wf.execution WHERE workflow_id = 'long'));
flow('short', 'step', 3);
is(closed($node, 'short'), 'Completed 3', 'a short workflow');
is(closed($node, 'long'), 'Completed 200', 'a long workflow');
cmp_ok(sql(q(SELECT next_event_id FROM wf.execution WHERE workflow_id = 'long')), '==', 6 + 6 * 200, '... of as many events as ever');
is(sql(q(SELECT string_agg(workflow_id, ' ' ORDER BY close_time) FROM wf.execution WHERE workflow_id IN ('long', 'short'))), 'short long',
	'one that was started later gets its turn');

# of two workers, the second one runs no function that the first is running
$node->append_conf('postgresql.conf', 'workflow_interrupt.max_workers_per_role = 2');
$node->reload;
wait_until($node, q(SELECT setting = '2' FROM pg_settings WHERE name = 'workflow_interrupt.max_workers_per_role'));
flow('hang1', 'hang', 1);
wait_until($node, q(SELECT count(*) = 1 FROM wf.activity WHERE state = 'Started'), 'an activity that takes long');
flow('hang2', 'hang', 1);
wait_until($node, q(SELECT count(*) = 1 FROM wf.activity WHERE state = 'Scheduled'), 'another one of the same type waits');
flow('quick', 'step', 3);
is(closed($node, 'quick'), 'Completed 3', '... while others are run');
is(sql(q(SELECT string_agg(state, ' ' ORDER BY state) FROM wf.activity)), 'Scheduled Started', '... and still waits then');
sql(q(SELECT wf_cancel('hang1')));
is(closed($node, 'hang1'), 'Canceled', 'one that was started with a reply is canceled at once');
wait_until($node, q(SELECT count(*) = 1 FROM wf.activity WHERE state = 'Started'), '... and the next begins');
sql(q(SELECT wf_terminate('hang2')));
flow('last', 'step', 1);
is(closed($node, 'last'), 'Completed 1', 'one that was terminated leaves its worker to others');

#
# As many workers as there are tasks, new ones or idle ones
#

$node->append_conf('postgresql.conf', 'workflow_interrupt.max_workers_per_role = 8');
$node->reload;
wait_until($node, q(SELECT setting = '8' FROM pg_settings WHERE name = 'workflow_interrupt.max_workers_per_role'));
foreach my $round (1 .. 5)
{
	sql(qq[SELECT wf_start('many $round ' || i, 'flow', '{"activity": "hang", "times": 1}') FROM generate_series(1, 7) i]);
	wait_until($node, q(SELECT count(*) = 7 FROM wf.activity WHERE state = 'Started'), "seven at a time, round $round");
	sql(qq[SELECT wf_cancel(workflow_id) FROM wf.execution WHERE status = 'Running']);
	wait_until($node, q(SELECT NOT EXISTS (SELECT FROM wf.execution WHERE status = 'Running')
		AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker' AND state <> 'idle')));
}
# ... none of which leaves a task to others who are idle by then; also where
# two namespaces have queues of one name
sql(q[SELECT wf_create_namespace('other');
	SELECT wf_register_workflow('flow', 'test.flow(jsonb)', namespace => 'other'), wf_register_activity('step', 'test.step(jsonb)', namespace => 'other')]);
foreach my $round (1 .. 5)
{
	sql(qq[SELECT wf_start('crowd $round ' || i, 'flow', '{"activity": "step", "times": 100}') FROM generate_series(1, 16) i]);
	wait_until($node, qq(SELECT count(*) = 16 FROM wf.execution WHERE workflow_id ~ '^crowd $round' AND status = 'Completed'),
		"a crowd of workflows of one type, round $round");
}
is(sql('SELECT count(*) FROM wf_check()'), '0', 'everything is sound');

done_testing();
