# The driver: what falls due happens without anybody polling, whatever else
# goes wrong

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WfiTest;

my $node = new_node('main', conf => q(
max_prepared_transactions = 5
workflow_interrupt.renotify_interval = '1h'
));

$node->safe_psql('postgres', 'CREATE EXTENSION workflow_interrupt');
my $driver = wait_for_driver($node, 'postgres');
my $l = listener($node, 'postgres', qw(delayed timer late));
my $s = open_session($node);

# Has something happened to a workflow?
sub happened
{
	my ($workflow_id, $event_type, $number) = @_;

	$number //= 1;
	return $node->poll_query_until('postgres',
		"SELECT count(*) >= $number FROM wf.event JOIN wf.execution USING (shard, run_id)
		WHERE workflow_id = '$workflow_id' AND event_type = '$event_type'");
}

# SQL that starts a workflow and lets its first workflow task start a timer.
sub start_timer
{
	my ($workflow_id, $after) = @_;

	return qq(
		SELECT wf_start('$workflow_id', 't', task_queue => '$workflow_id');
		SELECT r.* FROM wf_poll_workflow_task('$workflow_id') p,
			wf_respond_workflow_task_completed(p.task_token,
				'[{"command_type":"StartTimer","timer_id":"t","start_to_fire_timeout":"$after"}]') r);
}

#
# Things fall due
#

$s->query_safe(q(SELECT wf_start('delayed', 't', task_queue => 'delayed', start_delay => '0.2s')));
wait_for_notice($l, 'delayed');
ok(happened('delayed', 'WorkflowTaskScheduled'), 'start delay');

$s->query_safe(start_timer('timer', '0.2s'));
ok(happened('timer', 'TimerFired'), 'timer');
# One notice for the first workflow task, one for that after the timer.
wait_for_notice($l, 'timer') for 1 .. 2;
pass('and its workflow task is announced');

$s->query_safe(q(SELECT wf_start('task', 't', task_queue => 'task', task_timeout => '1s')));
$s->query_safe(q(SELECT * FROM wf_poll_workflow_task('task')));
ok(happened('task', 'WorkflowTaskTimedOut'), 'workflow task time-out');

$s->query_safe(q(SELECT wf_start('run', 't', task_queue => 'run', run_timeout => '0.2s')));
ok(happened('run', 'WorkflowExecutionTimedOut'), 'run time-out');

# The driver sleeps until one time, and then hears of an earlier one.
$s->query_safe(start_timer('hour', '1h'));
$s->query_safe(start_timer('minute', '30min'));
$s->query_safe(start_timer('soon', '0.2s'));
ok(happened('soon', 'TimerFired'), 'a timer that is due before others');

$s->query_safe('BEGIN');
$s->query_safe('SAVEPOINT a');
$s->query_safe(start_timer('released', '0.2s'));
$s->query_safe('RELEASE a');
$s->query_safe('COMMIT');
ok(happened('released', 'TimerFired'), 'a timer started in a subtransaction');

# Due before it is committed
$s->query_safe('BEGIN');
$s->query_safe(start_timer('committed late', '0.001s'));
$s->query_safe('SELECT pg_sleep(0.01)');
$s->query_safe('COMMIT');
ok(happened('committed late', 'TimerFired'), 'a timer that was due before it was committed');

$s->query_safe(q(
	SELECT wf_start('many ' || i, 't', task_queue => 'many', start_delay => '0.5s') FROM generate_series(1, 500) i));
ok($node->poll_query_until('postgres',
		q(SELECT count(*) = 500 FROM wf.task WHERE task_queue = 'many')),
	'many at the same time');

#
# The driver between two things to do
#

ok($node->poll_query_until('postgres',
		"SELECT state = 'idle' AND wait_event_type = 'Extension' AND backend_xmin IS NULL AND xact_start IS NULL
			AND application_name = 'workflow_interrupt driver'
		FROM pg_stat_activity WHERE pid = $driver"),
	'sleeps outside of a transaction');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_locks WHERE pid = $driver AND locktype = 'relation'"),
	'and holds no locks');

#
# Trouble
#

# An error in one run: others go on, and it is tried again later and later.
$node->safe_psql('postgres', q(
	CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF EXISTS (SELECT FROM wf.execution e WHERE e.run_id = NEW.run_id AND e.workflow_id = 'trouble') THEN
			RAISE 'trouble in a run';
		END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER trouble BEFORE INSERT ON wf.event FOR EACH ROW
		WHEN (NEW.event_type = 'WorkflowTaskScheduled') EXECUTE FUNCTION trouble();
	SELECT wf_start('trouble', 't', start_delay => '0.1s');
	SELECT wf_start('no trouble', 't', start_delay => '0.2s')));
ok(happened('no trouble', 'WorkflowTaskScheduled'), 'an error in one run does not stop others');
my $offset = $node->wait_for_log(qr/ERROR:  trouble in a run.*CONTEXT: .*wake-up of run "/s, 0);
$offset = $node->wait_for_log(qr/ERROR:  trouble in a run/, $offset);
$node->wait_for_log(qr/ERROR:  trouble in a run/, $offset);
$node->safe_psql('postgres', 'DROP TRIGGER trouble ON wf.event');
ok(happened('trouble', 'WorkflowTaskScheduled'), 'and is tried again');
my $errors = () = slurp_file($node->logfile) =~ /ERROR:  trouble in a run/g;
cmp_ok($errors, '<', 12, 'not too often');

# Somebody holds a run with a wake-up that is due (a superfluous one).
my $due = q(FROM wf.wakeup JOIN wf.execution USING (shard, run_id) WHERE workflow_id = 'hour' AND due_time < now());
$s->query_safe('BEGIN');
$s->query_safe(q(SELECT FROM wf.execution WHERE workflow_id = 'hour' FOR UPDATE));
$node->safe_psql('postgres', q(
	INSERT INTO wf.wakeup (due_time, shard, run_id)
		SELECT now() - interval '1s', shard, run_id FROM wf.execution WHERE workflow_id = 'hour';
	SELECT wf_start('not locked', 't', start_delay => '0.1s')));
ok(happened('not locked', 'WorkflowTaskScheduled'), 'a locked run does not stop others');
is($node->safe_psql('postgres', "SELECT count(*) $due"), '1', 'and waits');
$s->query_safe('ROLLBACK');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 $due"), 'until it is free');

# Somebody holds a table when the driver wants to look.
$offset = -s $node->logfile;
$s->query_safe('BEGIN');
$s->query_safe('LOCK TABLE wf.wakeup IN ACCESS EXCLUSIVE MODE');
$node->append_conf('postgresql.conf', "workflow_interrupt.renotify_interval = '100ms'");
$node->reload;
$offset = $node->wait_for_log(qr/ERROR:  canceling statement due to lock timeout/, $offset);
$node->wait_for_log(qr/ERROR:  canceling statement due to lock timeout/, $offset);
$s->query_safe(q(SELECT wf_start('table', 't', start_delay => '0.1s')));
$s->query_safe('COMMIT');
ok(happened('table', 'WorkflowTaskScheduled'), 'a locked table');
$node->adjust_conf('postgresql.conf', 'workflow_interrupt.renotify_interval', "'1h'");
$node->reload;

# A cancel request means one statement.
$node->safe_psql('postgres', "SELECT pg_cancel_backend($driver)");
$s->query_safe(start_timer('after cancel', '0.2s'));
ok(happened('after cancel', 'TimerFired'), 'pg_cancel_backend()');

# Settings of the database are not for the driver.
is(driver_pid($node, 'postgres'), $driver, 'the driver has survived all this');
$node->safe_psql('postgres', q(
	ALTER DATABASE postgres SET default_transaction_read_only = on;
	ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
	ALTER DATABASE postgres SET statement_timeout = '1ms';
	ALTER DATABASE postgres SET search_path = nowhere));
my $driver2;
{
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c statement_timeout=0';

	$node->safe_psql('postgres', "SELECT pg_terminate_backend($driver)");
	$driver2 = wait_for_driver($node, 'postgres', $driver);
	$s->query_safe(start_timer('settings', '0.2s'));
	ok(happened('settings', 'TimerFired'), 'settings of the database');
	$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET ALL');
}

# A prepared transaction: nobody tells the driver when it is committed.
$node->append_conf('postgresql.conf', "workflow_interrupt.renotify_interval = '200ms'");
$node->reload;
$s->query_safe('BEGIN');
$s->query_safe(start_timer('prepared', '0.1s'));
$s->query_safe(q(PREPARE TRANSACTION 'p'));
$s->query_safe(q(COMMIT PREPARED 'p'));
ok(happened('prepared', 'TimerFired'), 'a timer started in a prepared transaction');
is(driver_pid($node, 'postgres'), $driver2, 'still the same driver');

$s->quit;
$l->{psql}->quit;
check_sound($node);
$node->stop;
done_testing();
