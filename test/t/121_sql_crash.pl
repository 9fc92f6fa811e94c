# Crashes of workers, of the driver and of the whole server in the middle of
# many workflows: all finish, and every step is done once

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use IPC::Run;
use SqlWorkerTest;
use Test::More;
use Time::HiRes qw(usleep);
use WfiTest;

my $workflows = 500;
my $steps = 3;

my $node = new_node('main', conf => q(
max_worker_processes = 20
restart_after_crash = on
workflow_interrupt.max_workers = 8
workflow_interrupt.max_workers_per_role = 8
workflow_interrupt.renotify_interval = '500ms'
));

prepare_database($node);
$node->safe_psql('postgres', qq[
	CREATE TABLE effect (workflow int, step int);
	-- When so many steps are done, those under way wait.
	CREATE TABLE pace (most int);
	INSERT INTO pace VALUES (0);
	CREATE FUNCTION step(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$
	BEGIN
		INSERT INTO effect VALUES ((input ->> 'workflow')::int, (input ->> 'step')::int);
		PERFORM pg_sleep(0.01);
		WHILE (SELECT count(*) FROM effect) > (SELECT most FROM pace) LOOP
			PERFORM pg_sleep(0.05);
		END LOOP;
		RETURN input -> 'step';
	END \$\$;
	CREATE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$
	DECLARE
		total int := 0;
	BEGIN
		FOR i IN 1..$steps LOOP
			total := total + wf_activity('step', jsonb_build_object('workflow', input, 'step', i), start_to_close_timeout => '2s',
				retry_policy => '{"initial_interval": "0.1s", "maximum_interval": "0.1s"}')::int;
		END LOOP;
		RETURN to_jsonb(total);
	END \$\$;
	SELECT wf_register_activity('step', 'step(jsonb)'), wf_register_workflow('flow', 'flow(jsonb)');
]);

# Wait until a query says so, with the server perhaps restarting.  As
# poll_query_until(), but the query is an argument: a psql that cannot connect
# ends before it reads any input.
sub until_true
{
	my ($query) = @_;
	my @psql = ('psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $query);

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		IPC::Run::run(\@psql, '<', '/dev/null', '>', \my $answer, '2>', \my $trouble);
		return 1 if $answer eq "t\n";
		usleep(100_000);
	}
	return 0;
}

# Let so many steps be done, and find others under way.
sub go_on_to
{
	my ($n) = @_;

	$node->safe_psql('postgres', "UPDATE pace SET most = $n");
	until_true("SELECT count(*) >= $n FROM effect") or BAIL_OUT("there are no $n steps");
}

# Kill a process of ours that is at work, and wait for the server to be back.
sub crash
{
	my ($backend_type) = @_;
	my $pid;

	# it may end before
	do
	{
		until_true("SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = '$backend_type'")
		  or BAIL_OUT("there is no $backend_type");
		$pid = $node->safe_psql('postgres',
			"SELECT pid FROM pg_stat_activity WHERE backend_type = '$backend_type' ORDER BY state = 'active' DESC, pid LIMIT 1");
	} until ($pid ne '' && kill('KILL', $pid) == 1);
	pass("$backend_type killed");
	until_true("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid) AND NOT pg_is_in_recovery()")
	  or BAIL_OUT('the server did not come back');
}

$node->safe_psql('postgres', "SELECT wf_start('w' || i, 'flow', to_jsonb(i), task_timeout => '2s') FROM generate_series(1, $workflows) i");
go_on_to(100);
crash('workflow_interrupt worker');
go_on_to(400);
crash('workflow_interrupt driver');
go_on_to(700);
$node->stop('immediate');
$node->start;
go_on_to(1000);
crash('workflow_interrupt worker');
cmp_ok($node->safe_psql('postgres', q(SELECT count(*) FROM wf.execution WHERE status = 'Running')), '>', 0, 'all that in the middle of it');
$node->safe_psql('postgres', "UPDATE pace SET most = $workflows * $steps");

ok(until_true("SELECT count(*) = $workflows FROM wf.execution WHERE status = 'Completed'"), 'all workflows complete');
is($node->safe_psql('postgres', q(SELECT count(*), count(DISTINCT (workflow, step)) FROM effect)), $workflows * $steps . '|' . $workflows * $steps,
	'every step is done once');
is($node->safe_psql('postgres', q(SELECT DISTINCT attributes ->> 'result' FROM wf.event WHERE event_type = 'WorkflowExecutionCompleted')),
	$steps * ($steps + 1) / 2, 'with the results of all steps');
is($node->safe_psql('postgres', q(
	SELECT count(*) FROM (SELECT run_id, count(*) FROM wf.event WHERE event_type = 'ActivityTaskScheduled' GROUP BY 1
		EXCEPT ALL SELECT run_id, count(*) FROM wf.event WHERE event_type = 'ActivityTaskCompleted' GROUP BY 1) x)), 0, 'each completed once');
cmp_ok($node->safe_psql('postgres', q(
	SELECT count(*) FROM wf.event WHERE event_type = 'WorkflowTaskTimedOut'
	OR event_type = 'ActivityTaskStarted' AND (attributes ->> 'attempt')::int > 1)), '>', 0, 'some in a second attempt');
is($node->safe_psql('postgres', q(
	SELECT (SELECT count(*) FROM wf.activity), (SELECT count(*) FROM wf.execution e WHERE next_event_id - 1 <>
		(SELECT count(*) FROM wf.event v WHERE v.shard = e.shard AND v.run_id = e.run_id)))), '0|0', 'nothing is left over, and no event is missing');
is($node->safe_psql('postgres', 'SELECT * FROM wf_check()'), '', 'histories and state agree');

#
# The same with workflows that are long enough for their code to be kept
#

my ($long_workflows, $long_steps) = (10, 120);
my $all = $long_workflows * $long_steps;

$node->safe_psql('postgres', qq[
	TRUNCATE effect;
	UPDATE pace SET most = $all - 10;
	CREATE FUNCTION long(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$
	BEGIN
		FOR i IN 1..$long_steps LOOP
			PERFORM wf_activity('step', jsonb_build_object('workflow', input, 'step', i), start_to_close_timeout => '2s',
				retry_policy => '{"initial_interval": "0.1s", "maximum_interval": "0.1s"}');
		END LOOP;
		RETURN NULL;
	END \$\$;
	SELECT wf_register_workflow('long', 'long(jsonb)');
	SELECT wf_start('long' || i, 'long', to_jsonb(i), task_timeout => '2s') FROM generate_series(1, $long_workflows) i;
]);
crash('workflow_interrupt keeper');
cmp_ok($node->safe_psql('postgres', q(SELECT count(*) FROM wf.execution WHERE status = 'Running')), '>', 0, '... in the middle of long workflows');
crash('workflow_interrupt worker');
$node->safe_psql('postgres', "UPDATE pace SET most = $all");
ok(until_true("SELECT count(*) = $long_workflows FROM wf.execution WHERE workflow_type = 'long' AND status = 'Completed'"), 'all of them complete');
is($node->safe_psql('postgres', q(SELECT count(*), count(DISTINCT (workflow, step)) FROM effect)),
	"$all|$all", 'every step is done once');
is($node->safe_psql('postgres', 'SELECT * FROM wf_check()'), '', 'histories and state agree again');

$node->stop('fast');
done_testing();
