# wf_worker's activities: killed workers, lost connections, locks, lies

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Test::More;

use WfiTest qw(check_sound);
use WorkerTest;

my $node = new_node();
my %soon = (retry_policy => { initial_interval => '0.1s', maximum_interval => '0.1s' });
my $pid;

# An activity whose first attempt hangs; the others tell the attempt.
sub first_hangs
{
	my ($id) = @_;

	return "--activity=$id=if [ \$WF_ATTEMPT = 1 ]; then " . gate($id) . '; fi; echo $WF_ATTEMPT';
}

# Expects an activity to have timed out, and succeeded then: in the second
# attempt, if that was not held up until it timed out, too.
sub later_attempt_completes
{
	my ($id, $type) = @_;

	is(closing_event($id), 'ActivityTaskCompleted', "$id: completed");
	cmp_ok(attribute($id, 'ActivityTaskCompleted', '{result}'), '>=', 2, "$id: by a later attempt");
	is(attribute($id, 'ActivityTaskStarted', '{last_failure,timeout_type}'),
		$type, "$id: after a time-out");
}

#
# Privileges
#

$node->safe_psql('postgres', q(
	CREATE ROLE worker LOGIN;
	GRANT EXECUTE ON FUNCTION wf_channel, wf_poll_activity_task, wf_heartbeat,
		wf_respond_activity_task_completed, wf_respond_activity_task_failed,
		wf_respond_activity_task_canceled TO worker));
schedule('least', 'least', %soon, heartbeat_timeout => '30s');
my $worker = start_worker('least', '-U', 'worker',
	'--activity=least=[ $WF_ATTEMPT = 2 ] || exit 1; echo 1 >&3; ' . gate('least'));
$pid = pid_at_gate('least');
cancel_activity('least');
is(closing_event('least'), 'ActivityTaskCanceled', 'six privileges are enough');
stop_worker($worker);

$node->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION wf_heartbeat FROM worker');
schedule('too-little', 'too-little');
$worker = start_worker('too-little', '-U', 'worker',
	'--activity=too-little=echo 1 >&3; ' . gate('too-little'));
pid_at_gate('too-little');
wait_for_line($worker, qr/error: heartbeat failed: permission denied for function wf_heartbeat/,
	'no privilege to heartbeat: logged');
open_gate('too-little');
is(finish_worker($worker), 1, 'no privilege to heartbeat: worker ends');
is(closing_event('too-little'), 'ActivityTaskCompleted', 'what ran has finished');

#
# The worker is killed: its commands and their children end, others go on
#

schedule('killed', 'killed', %soon, heartbeat_timeout => '1s');
$worker = start_worker('killed', "--activity=killed=sleep 1000 & echo \$! >$dir/child.pid; "
	. "sh -c 'echo \$\$ >$dir/grandchild.pid; sleep 1000; exit'; exit");
my @pids = (pid_at_gate('child'), pid_at_gate('grandchild'));
signal_worker($worker, 'KILL');
finish_worker($worker);
wait_until('killed: nothing outlives the worker', sub { is_gone($pids[0]) && is_gone($pids[1]) });
$worker = start_worker('killed', '--activity=killed=echo $WF_ATTEMPT');
later_attempt_completes('killed', 'Heartbeat');
stop_worker($worker);

# The worker hangs: its lease runs out, the guard kills the command.
schedule('frozen', 'frozen', %soon, heartbeat_timeout => '4s');
$worker = start_worker('frozen', first_hangs('frozen'));
$pid = pid_at_gate('frozen');
signal_worker($worker, 'STOP');
wait_until('frozen: command is killed', sub { is_gone($pid) });
my $other = start_worker('frozen', '--activity=frozen=echo $WF_ATTEMPT');
later_attempt_completes('frozen', 'Heartbeat');
signal_worker($worker, 'CONT');
wait_for_line($worker, qr/is killed: no heartbeat was answered within the heartbeat time-out/, 'frozen: logged');
stop_worker($_) foreach $worker, $other;
unlike(worker_log($worker), qr/reported|is completed|too late/, 'frozen: nothing is replied');

#
# The server goes away
#

$worker = start_worker('away', '--poll-interval=600',
	'--activity=wait=echo $WF_WORKFLOW_ID >&3; ' . gate('away') . '; echo $WF_ATTEMPT',
	'--activity=cancel=echo $$ >' . "$dir/cancel.pid; exec sleep 1000",
	'--activity=lease=echo $$ >' . "$dir/lease.pid; exec sleep 1000");
schedule('wait', 'wait', task_queue => 'away', heartbeat_timeout => '600s');
schedule('cancel', 'cancel', task_queue => 'away');
schedule('lease', 'lease', task_queue => 'away', heartbeat_timeout => '3s', retry_policy => { maximum_attempts => 1 });
$pid = pid_at_gate('away');
@pids = (pid_at_gate('cancel'), pid_at_gate('lease'));
$node->stop('immediate');
wait_for_line($worker, qr/warning: connection lost/, 'connection lost');
wait_until('command without a lease is killed', sub { is_gone($pids[1]) });
ok(!is_gone($pids[0]), 'command without a heartbeat time-out goes on');
open_gate('away');
$node->start;
is(closing_event('wait'), 'ActivityTaskCompleted', 'the reply is sent when the server is back');
is(attribute('wait', 'ActivityTaskCompleted', '{result}'), '1', 'it was the first attempt');
is(closing_event('lease'), 'ActivityTaskTimedOut', 'the lost one has timed out');

# what the notifications told while nobody listened is found out
$node->safe_psql('postgres', q(
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wf_worker'));
cancel_activity('cancel');
is(closing_event('cancel'), 'ActivityTaskCanceled', 'a missed notification is made up for');
stop_worker($worker);

# a notification that never comes: the heartbeat tells
$node->append_conf('postgresql.conf', "workflow_interrupt.notify = off");
$node->reload;
schedule('quiet', 'quiet', heartbeat_timeout => '6s');
$worker = start_worker('quiet', '--activity=quiet=' . gate('quiet'));
pid_at_gate('quiet');
cancel_activity('quiet');
is(closing_event('quiet'), 'ActivityTaskCanceled', 'a lost notification is made up for');
stop_worker($worker);
$node->append_conf('postgresql.conf', "workflow_interrupt.notify = deferred");
$node->reload;

#
# A run that somebody keeps locked keeps nobody else
#

schedule($_, 'wait', task_queue => 'locked', heartbeat_timeout => $_ eq 'late' ? '6s' : '600s', %soon) foreach 'locked', 'free', 'late';
$worker = start_worker('locked', '--activity=wait=echo $$ >' . "$dir/\$WF_WORKFLOW_ID.pid; read x <$dir/\$WF_WORKFLOW_ID; echo \$WF_ATTEMPT");
gate($_) foreach 'locked', 'free', 'late';
pid_at_gate($_) foreach 'locked', 'free', 'late';
my $session = $node->background_psql('postgres');
$session->query_safe(q(BEGIN; SELECT wf_signal('locked', 'x')));
open_gate('locked');
wait_for_line($worker, qr/info: reply for activity "locked" .*, is put off: canceling statement due to lock timeout/,
	'reply to the locked run is put off');
open_gate('free');
is(closing_event('free'), 'ActivityTaskCompleted', 'others are replied');
$session->query_safe('COMMIT');
$session->quit;
is(closing_event('locked'), 'ActivityTaskCompleted', 'in the end, so is this');
wait_for('one waits for longer than its time-out',
	q(SELECT started_time < clock_timestamp() - interval '7 s' FROM wf.activity WHERE activity_id = 'late'));
open_gate('late');
is(closing_event('late'), 'ActivityTaskCompleted', 'it was kept alive');
is(attribute('late', 'ActivityTaskCompleted', '{result}'), '1', 'by heartbeats');
stop_worker($worker);

#
# Notifications that tell nothing, or lies
#

schedule('lies', 'wait');
$worker = start_worker('lies', '--poll-interval=600', '--identity=honest',
	'--activity=wait=' . gate('lies'), '--activity=after=echo 1');
$pid = pid_at_gate('lies');
my $run_id = sql(q(SELECT run_id FROM wf.execution WHERE workflow_id = 'lies'));
foreach my $payload ('', 'x' x 7000, '{', '"', '{"run_id": 1}',
	qq({"run_id": "$run_id", "activity_id": "lies", "attempt": 1, "cause": "Terminated"}),
	qq({"run_id": "$run_id", "activity_id": "lies", "attempt": 1, "cause": "CancelRequested"}),
	qq({"run_id": "$run_id", "activity_id": "lies", "attempt": 2, "cause": "TimedOut"}))
{
	sql(qq(SELECT pg_notify(wf_channel('worker', 'honest'), '$payload')));
}
sql(qq(
	SELECT pg_notify(wf_channel('worker', 'honest'), 'flood ' || i) FROM generate_series(1, 5000) i;
	SELECT pg_notify(wf_channel('worker', 'honest'), '$run_id ' || i) FROM generate_series(1, 5000) i));
schedule('after-lies', 'after', task_queue => 'lies');
is(closing_event('after-lies'), 'ActivityTaskCompleted', 'lies: worker has taken notice');
ok(!is_gone($pid), 'lies: command goes on');
open_gate('lies');
is(closing_event('lies'), 'ActivityTaskCompleted', 'lies: and completes');
stop_worker($worker);

#
# Stopping
#

schedule('drain', 'wait', heartbeat_timeout => '30s', %soon);
$worker = start_worker('drain', '--activity=wait=' . gate('drain') . '; echo $WF_ATTEMPT');
pid_at_gate('drain');
signal_worker($worker, 'TERM');
wait_for_line($worker, qr/stopping, commands still running: 1/, 'drain: signal arrived');
schedule('drain-2', 'wait', task_queue => 'drain');
cancel_activity('drain');
is(closing_event('drain'), 'ActivityTaskCanceled', 'drain: a cancel request is heard of');
is(finish_worker($worker), 0, 'drain: success');
is(sql(q(SELECT state FROM wf.activity WHERE activity_id = 'drain-2')), 'Scheduled', 'drain: nothing new was taken');

schedule('twice', 'wait', heartbeat_timeout => '1s', %soon);
$worker = start_worker('twice', '--grace-period=0.5', "--activity=wait=trap '' TERM; " . gate('twice'));
$pid = pid_at_gate('twice');
signal_worker($worker, 'TERM');
wait_for_line($worker, qr/stopping/, 'twice: first signal arrived');
signal_worker($worker, 'TERM');
is(finish_worker($worker), 1, 'twice: the second signal ends the worker');
ok(is_gone($pid), 'twice: command was killed');
$worker = start_worker('twice', '--activity=wait=echo $WF_ATTEMPT');
later_attempt_completes('twice', 'Heartbeat');
stop_worker($worker);

#
# Many
#

# None ends before both workers have taken part.
append_to_file("$dir/many", <<'SH');
echo $$ >&3
echo "$WF_WORKFLOW_ID $WF_ACTIVITY_ID $WF_ATTEMPT" >>"$1"
: >"$1.$2"
until [ -e "$1.1" ] && [ -e "$1.2" ]; do sleep 0.1; done
echo "$WF_ACTIVITY_ID"
SH
my @workers = map {
	start_worker('many', '--poll-interval=600', "--identity=worker-$_", '--max-activities=10',
		"--activity=many=sh $dir/many $dir/many.done $_")
} 1 .. 2;
wait_for_idle(2);
sql(q(
	SELECT wf_start('many-' || i, 'by-hand', task_queue => 'by-hand-many') FROM generate_series(1, 20) i;
	SELECT count(accepted) FROM wf_poll_workflow_task('by-hand-many', max_tasks => 20) t,
		wf_respond_workflow_task_completed(task_token, (
			SELECT jsonb_agg(jsonb_build_object('command_type', 'ScheduleActivityTask',
				'activity_id', i::text, 'activity_type', 'many', 'task_queue', 'many',
				'start_to_close_timeout', '600s', 'heartbeat_timeout', '60s'))
			FROM generate_series(1, 10) i))));
wait_for('all activities complete', q(
	SELECT count(*) = 200 FROM wf.event WHERE event_type = 'ActivityTaskCompleted'
	AND run_id IN (SELECT run_id FROM wf.execution WHERE workflow_id LIKE 'many-%')));
is( sql(q(
	SELECT event_type, count(*), count(DISTINCT (run_id, attributes ->> 'scheduled_event_id'))
	FROM wf.event WHERE event_type::text LIKE 'ActivityTask%' AND event_type <> 'ActivityTaskScheduled'
	AND run_id IN (SELECT run_id FROM wf.execution WHERE workflow_id LIKE 'many-%')
	GROUP BY event_type ORDER BY event_type::text)),
	"ActivityTaskCompleted|200|200\nActivityTaskStarted|200|200", 'each exactly once');
my @lines = split /\n/, slurp_file("$dir/many.done");
my %lines = map { $_ => 1 } @lines;
is(scalar(@lines), 200, 'no command ran twice');
is(scalar(keys %lines), 200, 'none was left out');
is(scalar(grep { !/ 1$/ } @lines), 0, 'all in the first attempt');
cmp_ok(sql(q(
	SELECT count(DISTINCT attributes ->> 'identity') FROM wf.event
	WHERE event_type = 'ActivityTaskStarted'
	AND run_id IN (SELECT run_id FROM wf.execution WHERE workflow_id LIKE 'many-%'))),
	'>', 1, 'more than one worker took part');
stop_worker($_) foreach @workers;
unlike(worker_log($_), qr/warning|error/, 'without warnings') foreach @workers;

#
# Many, with a worker that is killed and a server that is restarted
#

# The first ones end at once; others are still there when it happens.
append_to_file("$dir/chaos", <<'SH');
echo "$WF_WORKFLOW_ID/$WF_ACTIVITY_ID $WF_ATTEMPT" >>"$1"
n=$(wc -l <"$1")
[ $n -le 40 ] || until [ -e "$1.killed" ]; do sleep 0.1; done
[ $n -le 100 ] || until [ -e "$1.restarted" ]; do sleep 0.1; done
echo "$WF_ATTEMPT"
SH
@workers = map {
	start_worker('chaos', "--identity=chaos-$_", '--max-activities=10',
		"--activity=many=sh $dir/chaos $dir/chaos.done")
} 1 .. 2;
wait_for_idle(2);
sql(q(
	SELECT wf_start('chaos-' || i, 'by-hand', task_queue => 'by-hand-chaos') FROM generate_series(1, 20) i;
	SELECT count(accepted) FROM wf_poll_workflow_task('by-hand-chaos', max_tasks => 20) t,
		wf_respond_workflow_task_completed(task_token, (
			SELECT jsonb_agg(jsonb_build_object('command_type', 'ScheduleActivityTask',
				'activity_id', i::text, 'activity_type', 'many', 'task_queue', 'chaos',
				'start_to_close_timeout', '600s', 'heartbeat_timeout', '3s'))
			FROM generate_series(1, 10) i))));
my $completed = q(SELECT count(*) %s FROM wf.event WHERE event_type = 'ActivityTaskCompleted'
	AND run_id IN (SELECT run_id FROM wf.execution WHERE workflow_id LIKE 'chaos-%%'));
my $busy = q(SELECT count(*) = 10 FROM wf.activity WHERE state = 'Started' AND identity = '%s');
wait_for('some are done', sprintf($completed, '>= 30'));
wait_for('a worker has its hands full', sprintf($busy, 'chaos-1'));
signal_worker($workers[0], 'KILL');
finish_worker($workers[0]);
append_to_file("$dir/chaos.done.killed", '');
wait_for('more are done', sprintf($completed, '>= 60'));
wait_for('the other one has its hands full', sprintf($busy, 'chaos-2'));
$node->restart;
append_to_file("$dir/chaos.done.restarted", '');
$workers[0] = start_worker('chaos', '--identity=chaos-3', '--max-activities=10',
	"--activity=many=sh $dir/chaos $dir/chaos.done");
wait_for('all are done', sprintf($completed, '= 200'));
stop_worker($_) foreach @workers;

# each command that ran is an attempt, and each attempt after another tells
# that the one before it timed out
my %runs;
$runs{$_}++ foreach split /\n/, slurp_file("$dir/chaos.done");
is(scalar(grep { $_ > 1 } values %runs), 0, 'no attempt ran twice');
my %attempts = map { split /\|/ } split /\n/, sql(q(
	SELECT workflow_id || '/' || (s.attributes ->> 'activity_id') || '|' || (b.attributes ->> 'attempt')
	FROM wf.execution e JOIN wf.event s USING (run_id) JOIN wf.event b USING (run_id)
	WHERE workflow_id LIKE 'chaos-%' AND s.event_type = 'ActivityTaskScheduled'
	AND b.event_type = 'ActivityTaskStarted'
	AND (b.attributes ->> 'scheduled_event_id')::bigint = s.event_id));
is(scalar(keys %attempts), 200, 'each activity is done once');
is(scalar(grep { !$runs{"$_ $attempts{$_}"} } keys %attempts), 0, 'by the attempt that is recorded');
is( sql(q(
	SELECT DISTINCT attributes #>> '{last_failure,timeout_type}' FROM wf.execution JOIN wf.event USING (run_id)
	WHERE workflow_id LIKE 'chaos-%' AND event_type = 'ActivityTaskStarted'
	AND (attributes ->> 'attempt')::int > 1)),
	'Heartbeat', 'no second attempt without a time-out of the first');

check_sound($node);
$node->stop;
done_testing();
