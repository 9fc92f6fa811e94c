# What the tests of the background processes share: nodes with the library
# preloaded, and listeners.

package WfiTest;

use strict;
use warnings;

use Exporter qw(import);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(new_node driver_pid wait_for_driver wait_for_no_driver
  listener notices wait_for_notice mark open_session no_task_failed check_sound);

my $marks = 0;

# A running node with the library preloaded, the extension not created.  Runs
# that only these tests start can be told to hurry by more configuration.
sub new_node
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ],
		%{ $params{init} // {} });
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = 'workflow_interrupt'");
	$node->append_conf('postgresql.conf', $params{conf} // '');
	$node->start;
	return $node;
}

# The process id of a database's driver, '' when there is none.
sub driver_pid
{
	my ($node, $database) = @_;

	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'workflow_interrupt driver' AND datname = '$database'"
	);
}

# Wait until a database has a driver that is at its work, another one than
# $old if that is given; return its process id.
sub wait_for_driver
{
	my ($node, $database, $old) = @_;

	$old ||= 0;
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity
		WHERE backend_type = 'workflow_interrupt driver' AND datname = '$database'
			AND state = 'idle' AND pid <> $old"
	) or BAIL_OUT("database $database got no driver");
	return driver_pid($node, $database);
}

# Wait until a database has no driver.
sub wait_for_no_driver
{
	my ($node, $database) = @_;

	return $node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity
		WHERE backend_type = 'workflow_interrupt driver' AND datname = '$database'"
	);
}

# A session for several statements, each of which has its time.
sub open_session
{
	my ($node, $database) = @_;
	my $psql = $node->background_psql($database // 'postgres', on_error_stop => 0);

	$psql->set_query_timer_restart();
	return $psql;
}

# A session that listens for work on queues of workflow tasks.
sub listener
{
	my ($node, $database, @queues) = @_;
	my $listener = { psql => open_session($node, $database), seen => [] };
	my @channels =
	  map { $listener->{psql}->query_safe("SELECT quote_ident(wf_channel('workflow', \$q\$$_\$q\$))") } @queues;

	notices($listener, "LISTEN $_") foreach @channels;
	return $listener;
}

# The notices that have come in so far, each [channel, payload, sender's pid].
sub notices
{
	my ($listener, $statement) = @_;

	# psql prints them after a statement; their order is that of arrival.
	my $output = $listener->{psql}->query($statement // 'SELECT');
	while ($output =~
		/^Asynchronous notification "(.*)" with payload "(.*)" received from server process with PID (\d+)\.$/mg
	  )
	{
		push @{ $listener->{seen} }, [ $1, $2, $3 ];
	}
	return @{ $listener->{seen} };
}

# Wait for a notice about a queue (or about any), forget it and those before
# it, and return them; the last one is the one that was waited for.
sub wait_for_notice
{
	my ($listener, $queue) = @_;
	my $attempts = 20 * $PostgreSQL::Test::Utils::timeout_default;

	for (my $i = 0; $i < $attempts; $i++)
	{
		my @seen = notices($listener);
		for (my $n = 0; $n < @seen; $n++)
		{
			next if defined $queue && $seen[$n]->[1] !~ /"task_queue":"\Q$queue\E"/;
			return splice @{ $listener->{seen} }, 0, $n + 1;
		}
		usleep(50_000);
	}
	BAIL_OUT('no notice about queue ' . ($queue // '(any)'));
}

# SQL that starts a workflow with a task on a queue, behind others that nobody
# listens for: more than a transaction announces by itself.  So the driver does,
# after all that was committed before; a transaction's own notice may come
# before one that the driver still has.
sub mark
{
	my ($queue) = @_;

	$marks++;
	return 'SELECT ' . join ', ', map { "wf_start('mark $marks $_', 't', task_queue => '$_')" } (map { "unheard $_" } 1 .. 4), $queue;
}

# No workflow task in database postgres has failed, beside those that an
# operator's reset or terminate took away from their worker.
sub no_task_failed
{
	my ($node, $what) = @_;

	is($node->safe_psql('postgres', q(
		SELECT x.workflow_id, e.event_id, e.attributes
		FROM wf.event e JOIN wf.execution x USING (shard, run_id)
		WHERE e.event_type = 'WorkflowTaskFailed'
			AND e.attributes ->> 'cause' NOT IN ('ResetWorkflow', 'ForceCloseCommand'))), '', $what);
}

# At the end: nothing that is stored is wrong, in any database.
sub check_sound
{
	my ($node) = @_;
	my @databases = split /\n/,
	  $node->safe_psql('postgres', 'SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1');

	foreach my $database (@databases)
	{
		next if !$node->safe_psql($database,
			"SELECT count(*) FROM pg_extension WHERE extname = 'workflow_interrupt'");
		is($node->safe_psql($database, 'SELECT * FROM wf_check()'),
			'', "all is sound in database $database");
	}
}

1;
