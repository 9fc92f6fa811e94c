# What the tests of wf_worker share: workers, commands that wait
# at gates, and workflows whose tasks are done in SQL.

package WorkerTest;

use strict;
use warnings;

use Exporter qw(import);
use File::Temp qw(tempfile);
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX qw(mkfifo);
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw($program $dir new_node sql start_worker worker_pid
  signal_worker finish_worker stop_worker run_worker worker_log wait_until
  wait_for_line wait_for wait_for_event wait_for_idle schedule
  cancel_activity attribute closing_event gate open_gate pid_at_gate is_gone);

our $program = delete $ENV{WF_WORKER} // './wf_worker';
our $dir = PostgreSQL::Test::Utils::tempdir;

my $node;

delete $ENV{PGAPPNAME};

# The node that all the others work with.
sub new_node
{
	my ($conf) = @_;

	$node = PostgreSQL::Test::Cluster->new('main');
	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = 'workflow_interrupt'\ntrack_commit_timestamp = on\n");
	$node->append_conf('postgresql.conf', $conf // '');
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION workflow_interrupt');
	return $node;
}

sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', $query);
}

# Starts a worker in the background, for a queue of the name given.
sub start_worker
{
	my ($queue, @options) = @_;
	my ($fh, $log) = tempfile(DIR => $dir);
	my $harness = IPC::Run::start(
		[
			$program, '-d', $node->connstr('postgres'),
			'--verbose', '--task-queue', $queue, @options
		],
		'<', '/dev/null', '2>', $log);

	return { harness => $harness, log => $log };
}

sub worker_pid
{
	my ($worker) = @_;

	return $worker->{harness}->{KIDS}->[0]->{PID};
}

sub signal_worker
{
	my ($worker, $signal) = @_;

	kill $signal, worker_pid($worker);
}

# Waits for the end of a worker; returns its exit status.
sub finish_worker
{
	my ($worker) = @_;

	$worker->{harness}->finish;
	return $worker->{harness}->full_result(0) >> 8;
}

sub stop_worker
{
	my ($worker) = @_;

	signal_worker($worker, 'TERM');
	is(finish_worker($worker), 0, 'worker stops');
}

# Runs a worker until no task is left; returns what it logged.
sub run_worker
{
	my ($queue, @options) = @_;
	my $worker = start_worker($queue, '--exit-when-empty', @options);

	is(finish_worker($worker), 0, "$queue: worker ends when nothing is left");
	return worker_log($worker);
}

sub worker_log
{
	my ($worker) = @_;

	return slurp_file($worker->{log});
}

# Waits until a condition holds that is not in the database.
sub wait_until
{
	my ($name, $condition) = @_;
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;

	usleep(20_000) until $condition->() || time() > $deadline;
	ok($condition->(), $name);
}

# Waits until a worker's log has a line.
sub wait_for_line
{
	my ($worker, $expected, $name) = @_;

	wait_until($name, sub { worker_log($worker) =~ $expected })
	  or diag(worker_log($worker));
}

# Waits until a query is true.
sub wait_for
{
	my ($name, $query) = @_;

	ok($node->poll_query_until('postgres', $query), $name);
}

# Waits until the workflow has an event of this type.
sub wait_for_event
{
	my ($id, $type) = @_;

	wait_for("$id: $type",
		"SELECT count(*) > 0 FROM wf_history('$id') WHERE event_type = '$type'");
}

# Waits until so many workers have looked for activities and sleep.
sub wait_for_idle
{
	my ($count) = @_;

	wait_for('workers are listening', qq(
		SELECT count(*) = $count FROM pg_stat_activity
		WHERE application_name = 'wf_worker' AND state = 'idle'
		AND query LIKE '%wf_poll_activity_task%'));
}

# Starts a workflow, here with the name of the activity, whose first task
# schedules it: in the queue of that name unless the attributes tell another.
# The workflow's own tasks are in a queue that no worker looks at.
sub schedule
{
	my ($id, $type, %attributes) = @_;
	my $command = encode_json(
		{
			command_type => 'ScheduleActivityTask',
			activity_id => $id,
			activity_type => $type,
			task_queue => $id,
			start_to_close_timeout => '600s',
			%attributes
		});

	sql(qq(
		SELECT wf_start('$id', 'by-hand', task_queue => 'by-hand-$id');
		SELECT accepted FROM wf_poll_workflow_task('by-hand-$id') t,
			wf_respond_workflow_task_completed(task_token, '[$command]')));
}

# Has a workflow's code ask for the cancellation of its activity.
sub cancel_activity
{
	my ($id) = @_;

	sql(qq(
		SELECT wf_cancel('$id', 'test');
		SELECT accepted FROM wf_poll_workflow_task('by-hand-$id') t,
			wf_respond_workflow_task_completed(task_token,
			'[{"command_type": "RequestCancelActivityTask", "scheduled_event_id": 5}]')));
}

# An attribute of the workflow's first event of this type.
sub attribute
{
	my ($id, $type, $path) = @_;

	return sql(qq(
		SELECT attributes #>> '$path' FROM wf_history('$id')
		WHERE event_type = '$type' ORDER BY event_id LIMIT 1));
}

# Waits until the workflow's activity is closed; tells how.
sub closing_event
{
	my ($id) = @_;
	my $closing = qq(FROM wf_history('$id') WHERE event_type::text IN
		('ActivityTaskCompleted', 'ActivityTaskFailed', 'ActivityTaskCanceled',
		'ActivityTaskTimedOut'));

	wait_for("$id: activity is closed", "SELECT count(*) = 1 $closing");
	return sql("SELECT event_type $closing");
}

# A fifo for a command to wait at, and the command's part of it.
sub gate
{
	my ($name) = @_;

	mkfifo("$dir/$name", 0600) or die "mkfifo: $!";
	return "echo \$\$ >$dir/$name.pid; read x <$dir/$name";
}

# Lets the command go on.
sub open_gate
{
	my ($name) = @_;

	open(my $fifo, '>', "$dir/$name") or die "open: $!";
	print $fifo "go\n";
	close($fifo);
}

# Waits until the command has written its process id; returns it.
sub pid_at_gate
{
	my ($name) = @_;

	wait_until("command at $name",
		sub { -e "$dir/$name.pid" && slurp_file("$dir/$name.pid") =~ /\n/ });
	my $pid = slurp_file("$dir/$name.pid") + 0;
	unlink("$dir/$name.pid");
	return $pid;
}

# Has the process ended?  One that nobody has waited for has, too.
sub is_gone
{
	my ($pid) = @_;

	return 1 if !kill(0, $pid);
	open(my $file, '<', "/proc/$pid/stat") or return !kill(0, $pid);
	return (<$file> // ') Z ') =~ /\) Z /;
}

1;
