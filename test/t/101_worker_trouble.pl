# wf_worker: missing things, lost connections, many workers

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use File::Temp qw(tempfile);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX qw(mkfifo);
use Test::More;
use Time::HiRes qw(time usleep);
use WfiTest qw(check_sound);

my $program = delete $ENV{WF_WORKER} // './wf_worker';
delete $ENV{PGAPPNAME};
my $dir = PostgreSQL::Test::Utils::tempdir;
my $complete = q([{"command_type":"CompleteWorkflowExecution"}]);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'workflow_interrupt'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION workflow_interrupt');

# Starts a worker in the background.
sub start_worker
{
	my (@options) = @_;
	my ($fh, $log) = tempfile(DIR => $dir);
	my $harness = IPC::Run::start(
		[ $program, '-d', $node->connstr('postgres'), '--verbose', @options ],
		'<', '/dev/null', '2>', $log);

	return { harness => $harness, log => $log };
}

# Stops a worker; returns its exit status.
sub stop_worker
{
	my ($worker) = @_;

	kill 'TERM', $worker->{harness}->{KIDS}->[0]->{PID};
	$worker->{harness}->finish;
	return $worker->{harness}->full_result(0) >> 8;
}

# Waits until a worker's log has a line this often.
sub wait_for_lines
{
	my ($worker, $expected, $count, $name) = @_;
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	my $lines;

	do
	{
		usleep(50_000) if defined $lines;
		$lines = () = slurp_file($worker->{log}) =~ /$expected/g;
	} until ($lines >= $count || time() > $deadline);
	cmp_ok($lines, '>=', $count, $name);
}

# Waits until so many workers have looked for tasks and sleep.
sub wait_for_idle
{
	my ($count) = @_;

	ok( $node->poll_query_until('postgres', qq(
		SELECT count(*) = $count FROM pg_stat_activity
		WHERE application_name = 'wf_worker' AND state = 'idle'
		AND query LIKE '%wf_poll_workflow_task%')),
		'workers are listening');
}

# Waits until the workflow is closed.
sub wait_for_completion
{
	my ($id) = @_;

	ok( $node->poll_query_until('postgres', qq(
		SELECT status = 'Completed' FROM wf.execution WHERE workflow_id = '$id')),
		"workflow $id completes");
}

# Expects a worker to fail.
sub worker_fails
{
	my ($name, $options, @expected) = @_;

	command_checks_all(
		[ $program, '--task-queue=q', '--workflow=t=true', @$options ],
		1, [qr/^$/], \@expected, $name);
}

#
# Nothing to work with
#

my $connstr = $node->connstr('postgres');
my $host = $node->host;

worker_fails('no server', [ '-h', $host, '-p', '1' ], qr/error: connection to server .* failed/);
worker_fails('no database', [ '-d', $node->connstr('nowhere') ],
	qr/error: .*database "nowhere" does not exist/);

$node->safe_psql('postgres', 'CREATE DATABASE bare');
worker_fails(
	'no extension',
	[ '-d', $node->connstr('bare') ],
	qr/error: extension "workflow_interrupt" is not installed in database "bare"/,
	qr/hint: Use CREATE EXTENSION workflow_interrupt/);

worker_fails('no namespace', [ '-d', $connstr, '--namespace=nowhere' ],
	qr/error: poll failed: .*nowhere/);

#
# Privileges and passwords
#

$node->safe_psql('postgres', q(
	CREATE ROLE worker LOGIN PASSWORD 'right';
	CREATE ROLE nobody LOGIN));
worker_fails('no privilege', [ '-d', $connstr, '-U', 'nobody' ],
	qr/error: permission denied for function wf_channel/);
$node->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION wf_channel TO nobody');
worker_fails('no privilege to poll', [ '-d', $connstr, '-U', 'nobody' ],
	qr/error: poll failed: permission denied for function wf_poll_workflow_task/);
$node->safe_psql('postgres', q(
	GRANT EXECUTE ON FUNCTION wf_poll_workflow_task TO nobody;
	SELECT wf_start('no-reply', 't', task_queue => 'q')));
worker_fails('no privilege to reply', [ '-d', $connstr, '-U', 'nobody' ],
	qr/error: reply failed: permission denied for function wf_respond_workflow_task_completed/);

$node->safe_psql('postgres', q(
	GRANT EXECUTE ON FUNCTION wf_channel, wf_poll_workflow_task,
		wf_respond_workflow_task_completed, wf_respond_workflow_task_failed TO worker));
my $hba = $node->data_dir . '/pg_hba.conf';
my $trust = slurp_file($hba);
open(my $file, '>', $hba) or die "open: $!";
print $file "local all worker scram-sha-256\nhost all worker all scram-sha-256\n", $trust;
close($file);
$node->reload;
{
	local $ENV{PGPASSWORD} = 'wrong';
	worker_fails('wrong password', [ '-d', $connstr, '-U', 'worker' ],
		qr/password authentication failed for user "worker"/);
}
{
	local $ENV{PGPASSWORD} = 'right';
	$node->safe_psql('postgres', q(SELECT wf_start('least', 't', task_queue => 'least')));
	command_ok(
		[
			$program, '-d', $connstr, '-U', 'worker', '--exit-when-empty',
			'--task-queue=least', "--workflow=t=echo '$complete'"
		],
		'four privileges are enough');
	wait_for_completion('least');
}

$node->safe_psql('postgres', q(SELECT wf_start('hosts', 't', task_queue => 'hosts')));
command_ok(
	[
		$program, '-h', "$host,$host", '-p', '1,' . $node->port,
		'--exit-when-empty', '--task-queue=hosts', "--workflow=t=echo '$complete'"
	],
	'the second of two hosts is used');
wait_for_completion('hosts');

#
# A server that cannot store all of Unicode
#

$node->safe_psql('postgres',
	q(CREATE DATABASE latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0));
$node->safe_psql('latin1', q(
	CREATE EXTENSION workflow_interrupt;
	SELECT wf_start('latin1', 't')));
command_ok(
	[
		$program, '-d', $node->connstr('latin1'), '--exit-when-empty',
		'--task-queue=default',
		q(--workflow=t=printf '\\342\\202\\254 trouble' >&2; exit 1)
	],
	'LATIN1 server');
is( $node->safe_psql('latin1', q(
	SELECT attributes #>> '{failure,stack_trace}' FROM wf_history('latin1')
	WHERE event_type = 'WorkflowTaskFailed')),
	'? trouble', 'standard error is reduced to what the server can store');

#
# The connection breaks
#

mkfifo("$dir/gate", 0600) or die "mkfifo: $!";
my $worker = start_worker('--task-queue=q2', '--poll-interval=600',
	"--workflow=t=echo '$complete'",
	"--workflow=gated=echo >$dir/waiting; read x <$dir/gate; echo '$complete'");
wait_for_idle(1);

$node->safe_psql('postgres', q(
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wf_worker'));
wait_for_lines($worker, qr/warning: connection restored/, 1, 'reconnected');
$node->safe_psql('postgres', q(SELECT wf_start('terminated', 't', task_queue => 'q2')));
wait_for_completion('terminated');

# what was there before the worker listens again is found, too
$node->restart;
$node->safe_psql('postgres', q(SELECT wf_start('restarted', 't', task_queue => 'q2')));
wait_for_completion('restarted');

# a command goes on while the server is away
$node->safe_psql('postgres', q(
	SELECT wf_start('gated', 'gated', task_queue => 'q2', task_timeout => '2 min')));
wait_for_lines($worker, qr/workflow "gated", run \S+, attempt 1, of type "gated" begins/, 1, 'command runs');
$node->stop('immediate');
wait_for_lines($worker, qr/warning: connection lost/, 3, 'connection lost');
open($file, '>', "$dir/gate") or die "open: $!";
print $file "go\n";
close($file);
$node->start;
wait_for_completion('gated');
is( $node->safe_psql('postgres', q(
	SELECT count(*) FROM wf_history('gated') WHERE event_type = 'WorkflowTaskStarted')),
	'1', 'its reply was sent when the server came back');
is(stop_worker($worker), 0, 'worker stops');
unlike(slurp_file($worker->{log}), qr/error:/, 'no error was logged');

# a worker without a connection stops when nothing runs
$worker = start_worker('--task-queue=q2', '--workflow=t=true');
wait_for_idle(1);
$node->stop;
wait_for_lines($worker, qr/connection to server .* failed/, 1, 'server is away');
is(stop_worker($worker), 0, 'worker stops without a server');
$node->start;

#
# The server does not answer for a while
#

my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE wf.task');
$node->safe_psql('postgres', 'ALTER ROLE worker SET lock_timeout = 100');
{
	local $ENV{PGPASSWORD} = 'right';
	$worker = start_worker('--task-queue=q3', '--poll-interval=600', '-U', 'worker',
		"--workflow=t=echo '$complete'");
}
wait_for_lines($worker, qr/warning: poll failed: canceling statement due to lock timeout/,
	2, 'poll is repeated');
my $stuck = start_worker('--task-queue=q3', '--workflow=t=true');
ok( $node->poll_query_until('postgres', q(
	SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'wf_worker'
	AND usename <> 'worker' AND wait_event_type = 'Lock')),
	'another poll waits');
kill 'TERM', $stuck->{harness}->{KIDS}->[0]->{PID};
wait_for_lines($stuck, qr/info: stopping/, 1, 'a first signal lets it wait');
is(stop_worker($stuck), 1, 'a second one ends the worker');
$session->query_safe('COMMIT');
$session->quit;
ok( $node->poll_query_until('postgres', q(
	SELECT count(*) = 0 FROM pg_stat_activity
	WHERE application_name = 'wf_worker' AND usename <> 'worker')),
	'its poll has ended, too');
$node->safe_psql('postgres', q(SELECT wf_start('unlocked', 't', task_queue => 'q3')));
wait_for_completion('unlocked');
is(stop_worker($worker), 0, 'worker stops');

#
# The extension goes away
#

$node->safe_psql('postgres', q(
	CREATE DATABASE other;));
$node->safe_psql('other', 'CREATE EXTENSION workflow_interrupt');
my ($fh, $log) = tempfile(DIR => $dir);
my $harness = IPC::Run::start(
	[ $program, '-d', $node->connstr('other'), '--task-queue=q', '--workflow=t=true', '--poll-interval=0.1' ],
	'<', '/dev/null', '2>', $log);
wait_for_idle(1);
# in a deadlock, the worker's poll gives way
$node->safe_psql('other', q(SET deadlock_timeout = '100s'; DROP EXTENSION workflow_interrupt));
$harness->finish;
is($harness->full_result(0) >> 8, 1, 'worker without its extension ends');
like(slurp_file($log), qr/error: poll failed: .*does not exist/, 'and tells why');

#
# Many workers, many workflows
#

# No command ends before two workers have taken part.
my $two = qq(until [ \$(ls $dir/worker-* | wc -l) -ge 2 ]; do sleep 0.1; done);
my @workers = map {
	start_worker('--task-queue=many', '--poll-interval=600', "--identity=worker-$_",
		"--workflow=t=: >$dir/worker-$_; $two; echo '$complete'")
} 1 .. 3;
wait_for_idle(3);
$node->safe_psql('postgres',
	"SELECT wf_start('many-' || i, 't', task_queue => 'many') FROM generate_series(1, 100) i");
$node->safe_psql('postgres', "SELECT wf_start('many-$_', 't', task_queue => 'many')")
  foreach 101 .. 110;
$node->safe_psql('postgres',
	"SELECT wf_start('many-' || i, 't', task_queue => 'many') FROM generate_series(111, 200) i");
ok( $node->poll_query_until('postgres', q(
	SELECT count(*) = 200 FROM wf.execution WHERE workflow_id LIKE 'many-%' AND status = 'Completed')),
	'all workflows complete');
is( $node->safe_psql('postgres', q(
	SELECT event_type, count(*), count(DISTINCT run_id) FROM wf.event
	WHERE run_id IN (SELECT run_id FROM wf.execution WHERE workflow_id LIKE 'many-%')
	GROUP BY event_type ORDER BY event_type::text)),
	join("\n",
		'WorkflowExecutionCompleted|200|200', 'WorkflowExecutionStarted|200|200',
		'WorkflowTaskCompleted|200|200',      'WorkflowTaskScheduled|200|200',
		'WorkflowTaskStarted|200|200'),
	'each exactly once');
cmp_ok($node->safe_psql('postgres', q(
	SELECT count(DISTINCT attributes ->> 'identity') FROM wf.event
	WHERE event_type = 'WorkflowTaskStarted'
	AND run_id IN (SELECT run_id FROM wf.execution WHERE workflow_id LIKE 'many-%'))),
	'>', 1, 'more than one worker took part');
is(stop_worker($_), 0, 'worker stops') foreach @workers;
unlike(slurp_file($_->{log}), qr/warning|error/, 'without warnings') foreach @workers;

check_sound($node);
$node->stop;
done_testing();
