# The server that with-cluster made, and databases for the measurements.

package Server;

use strict;
use warnings;

use Time::HiRes qw(time);

use Bench;

our $data;						# its data directory

# Settings of a server for work: real flushes, and nothing in the background
# that one side would pay for.
sub set_up
{
	$ENV{PGDATABASE} = 'postgres';
	$data = sql('SHOW data_directory');
	die "bench: this is not a server that with-cluster made\n"
	  if index($data, "$ENV{HOME}/") != 0;
	sql('ALTER SYSTEM SET fsync = on',
		"ALTER SYSTEM SET shared_buffers = '512MB'",
		"ALTER SYSTEM SET max_wal_size = '20GB'",
		"ALTER SYSTEM SET checkpoint_timeout = '1h'",
		'ALTER SYSTEM SET autovacuum = off',
		"ALTER SYSTEM SET workflow_interrupt.renotify_interval = '1h'");
	stop();
	start();
	return;
}

sub stop
{
	run_command('pg_ctl', '-D', $data, '-s', '-w', '-m', 'fast', 'stop');
	return;
}

sub start
{
	run_command('pg_ctl', '-D', $data, '-l', "$ENV{HOME}/server.log", '-s', '-w', 'start');
	return;
}

# A database with the extension, and the twin's tables and functions in it.
sub make_database
{
	my ($name) = @_;

	progress("making database $name");
	$ENV{PGDATABASE} = 'postgres';
	sql("CREATE DATABASE $name");
	$ENV{PGDATABASE} = $name;
	sql('CREATE EXTENSION workflow_interrupt');
	wait_for("SELECT count(*) = 1 FROM pg_stat_activity
		WHERE backend_type = 'workflow_interrupt driver' AND datname = '$name'");
	run_file('twin.sql');
	return;
}

# Such a database with so many runs in each state, on both sides, which agree.
sub make_runs
{
	my ($name, $idle, $busy) = @_;

	make_database($name);
	progress("making $idle idle and $busy busy runs");

	# an idle run, and one whose workflow task is started
	sql("SELECT wf_start('idle', 'bench', '$input', 'bench')",
		"SELECT wf_respond_workflow_task_completed(task_token) FROM wf_poll_workflow_task('bench')",
		"SELECT wf_start('busy', 'bench', '$input', 'bench')",
		"INSERT INTO twin.secret SELECT split_part(task_token, '.', 7) FROM wf_poll_workflow_task('bench')",
		"SELECT twin.fill('same', 10, 'idle')",
		"SELECT twin.fill('end', 10, 'busy')",
		"SELECT twin.fill('idle', $idle, 'idle')",
		"SELECT twin.fill('busy', $busy, 'busy')",
		'DELETE FROM wf.wakeup');
	check_twin();
	sql('VACUUM ANALYZE');
	return;
}

# Both sides write the same rows.
sub check_twin
{
	my %both = (
		same1 => [ "wf_cancel('same1', '$reason')", "twin.cancel('same1', '$reason')" ],
		same2 => [ "wf_signal('same2', 'paid', '$input')", "twin.signal('same2', 'paid', '$input')" ],
		same3 => [ "wf_terminate('same3', '$reason')", "twin.terminate('same3', '$reason')" ],
		same => [ "wf_start('same', 'bench', '$input', 'bench')", "twin.start('same', 'bench', '$input', 'bench')" ],
		end1 => [
			"wf_respond_workflow_task_completed(twin.token(execution), '[{\"command_type\": \"CompleteWorkflowExecution\", \"result\": $input}]')
				FROM wf.execution WHERE workflow_id = 'end1'",
			"twin.complete(shard, run_id, task_token, '$input') FROM twin.execution WHERE workflow_id = 'end1'"
		],
	);

	foreach my $id (sort keys %both)
	{
		my ($ours, $twins) = @{ $both{$id} };
		sql("SELECT $ours", "SELECT $twins", "SELECT twin.check('$id')");
	}
	# a second call changes nothing, on either side
	die "bench: canceled twice\n"
	  if sql("SELECT wf_cancel('same1', '$reason') OR twin.cancel('same1', '$reason')") ne 'f';
	sql("SELECT twin.check('same1')");
	return;
}

# Flushes of 8 kB per second that the server's disk can do.
sub flushes_per_second
{
	my $file = "$data/flush-test";
	my ($n, $until) = (0, time + 0.5);

	open my $handle, '>', $file or die "bench: could not write $file: $!\n";
	while (time < $until)
	{
		sysseek $handle, 0, 0;
		syswrite $handle, 'x' x 8192;
		$handle->sync;
		$n++;
	}
	close $handle;
	unlink $file;
	return $n * 2;
}

# The machine and the server.
sub facts
{
	my $cores = output_of('nproc');
	my ($model) = `cat /proc/cpuinfo 2>/dev/null` =~ /^model name\s*: (.*)/m;
	my ($load) = split / /, `cat /proc/loadavg 2>/dev/null`;
	my @settings = qw(shared_buffers fsync full_page_writes autovacuum wal_level max_wal_size
	  checkpoint_timeout workflow_interrupt.notify_interval);

	return sprintf("%d core(s), %s; load %s at the start; %d flushes of 8 kB/s\nPostgreSQL %s, workflow_interrupt %s\n%s\n",
		$cores, $model // 'unknown processor', $load || '?', flushes_per_second(),
		sql('SHOW server_version'),
		sql("SELECT default_version FROM pg_available_extensions WHERE name = 'workflow_interrupt'"),
		join "\n", map { sprintf '  %-36s %s', $_, sql("SHOW $_") } @settings);
}

1;
