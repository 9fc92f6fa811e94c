# One transaction holds many runs: polls and the driver pass over them, and
# leave what waits for them as it is

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WfiTest;

my $runs = 300;
my $node = new_node('main', conf => q(
autovacuum = off
workflow_interrupt.renotify_interval = '1h'
));

$node->safe_psql('postgres', 'CREATE EXTENSION workflow_interrupt');
wait_for_driver($node, 'postgres');

$node->safe_psql('postgres', qq(
	SELECT wf_start('busy ' || i, 't', task_queue => 'q', task_timeout => '1h') FROM generate_series(1, $runs) i));
my $s = open_session($node);
$s->query_safe('BEGIN');
$s->query_safe("SELECT count(wf_signal('busy ' || i, 'hold')) FROM generate_series(1, $runs) i");
$node->safe_psql('postgres', q(
	INSERT INTO wf.wakeup (due_time, run_id, shard)
		SELECT now(), run_id, shard FROM wf.execution));

#
# Wake-ups
#

$node->safe_psql('postgres', q(SELECT wf_start('delayed', 't', task_queue => 'delayed', start_delay => '0.2s')));
ok($node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM wf.task WHERE task_queue = 'delayed')),
	'what falls due in another run is done');
is($node->safe_psql('postgres', 'SELECT count(*) FROM wf.wakeup WHERE due_time < now()'),
	$runs, 'wake-ups of the busy runs stay');

#
# Tasks
#

my $rows = q(SELECT string_agg(format('%s %s %s', ctid, xmin, xmax), ',' ORDER BY task_id) FROM wf.task
	WHERE task_queue = 'q');
my $before = $node->safe_psql('postgres', $rows);
foreach my $direct ('on', 'off')
{
	my $set = "SET workflow_interrupt.direct_access = $direct;";

	is($node->safe_psql('postgres', "$set SELECT count(*) FROM wf_poll_workflow_task('q', 10)"),
		'0', "direct access $direct: a poll passes over all of them");
	$node->safe_psql('postgres', "SELECT wf_start('free $direct', 't', task_queue => 'q', task_timeout => '1h')");
	is($node->safe_psql('postgres', "$set SELECT workflow_id FROM wf_poll_workflow_task('q', 10)"),
		"free $direct", 'and finds the task of a run that is free');
}
is($node->safe_psql('postgres', $rows), $before, 'rows of the busy ones were not touched');

# They are there as soon as the transaction has ended.  Wake-ups that somebody
# has locked, but not their runs, keep nobody from the others.
my $hand = open_session($node);
$hand->query_safe('BEGIN');
$hand->query_safe('SELECT FROM wf.wakeup WHERE due_time < now() ORDER BY due_time, run_id LIMIT 10 FOR UPDATE');
$s->query_safe('ROLLBACK');
my $found = 0;
for (my $i = 0; $i < 1000 && $found < $runs; $i++)
{
	# the driver may just be at work on some of them
	$found += $node->safe_psql('postgres', q(SELECT count(*) FROM wf_poll_workflow_task('q', 1000)));
}
is($found, $runs, 'all tasks are found when the runs are free');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 10 FROM wf.wakeup WHERE due_time < now()'),
	'and the wake-ups are dealt with, but those that are locked');
$s->query_safe('BEGIN');
$s->query_safe('SELECT wf_tick()');
is($node->safe_psql('postgres', q(
	WITH l AS (SELECT FROM wf.execution WHERE run_id IN (SELECT run_id FROM wf.wakeup WHERE due_time < now())
		FOR UPDATE SKIP LOCKED)
	SELECT count(*) FROM l)), '10', 'their runs stay free');
$s->query_safe('ROLLBACK');
foreach my $direct ('on', 'off')
{
	is($node->safe_psql('postgres', "SET workflow_interrupt.direct_access = $direct; SET statement_timeout = '20s';
			SELECT wf_tick()"),
		'0', "direct access $direct: nobody tries them over and over");
}
$hand->query_safe('ROLLBACK');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM wf.wakeup WHERE due_time < now()'),
	'until they are free');
$hand->quit;

#
# Workers that only listen
#

# The holder of a run says nothing about a task that was passed over when it
# changes nothing, nor about activities.  The poll that passed has the queue
# announced again, as often as it has to.
my $waiting = listener($node, 'postgres', 'waiting', 'act', 'young');
$waiting->{psql}->query_safe('LISTEN ' . $node->safe_psql('postgres', "SELECT wf_channel('activity', 'act')"));
$node->safe_psql('postgres', q(SELECT wf_start('waiting', 't', task_queue => 'waiting')));
wait_for_notice($waiting, 'waiting');
$node->safe_psql('postgres', q(SELECT wf_start('young', 't', task_queue => 'young')));
wait_for_notice($waiting, 'young');
$s->query_safe(q(BEGIN; SELECT FROM wf.execution WHERE workflow_id IN ('waiting', 'young') FOR UPDATE));
my $poll = q(SELECT workflow_id FROM wf_poll_workflow_task('waiting'));
foreach my $time ('once', 'again')
{
	is($node->safe_psql('postgres', $poll), '', "a run is locked: $time");
	wait_for_notice($waiting, 'waiting');
}

# But not for ever: old tasks are announced once in a renotify_interval anyway.
my $age = q(UPDATE wf.task SET created_time = created_time + interval '2 hours' * %d WHERE task_queue = 'waiting');
$node->safe_psql('postgres', sprintf($age, -1));
is($node->safe_psql('postgres', $poll), '', 'a run is locked for long');
is($node->safe_psql('postgres', q(SELECT workflow_id FROM wf_poll_workflow_task('young'))), '', 'and another one');
unlike(join(' ', map { $_->[1] } wait_for_notice($waiting, 'young')),
	qr/"waiting"/, 'a queue with old tasks is left to the next round');

$node->safe_psql('postgres', sprintf($age, 1));
is($node->safe_psql('postgres', $poll), '', 'a run is locked to the end');
$s->query_safe('ROLLBACK');
wait_for_notice($waiting, 'waiting');
is($node->safe_psql('postgres', q(
	SELECT r.accepted FROM wf_poll_workflow_task('waiting') t, wf_respond_workflow_task_completed(t.task_token,
		'[{"command_type": "ScheduleActivityTask", "activity_id": "a", "activity_type": "t", "task_queue": "act",
		"start_to_close_timeout": "3600s"}]') r)),
	't', 'when its holder has changed nothing, the queue is announced');

wait_for_notice($waiting, 'act');
$s->query_safe(q(BEGIN; SELECT wf_signal('waiting', 'hold')));
$poll = q(SELECT activity_id FROM wf_poll_activity_task('act', identity => 'me'));
is($node->safe_psql('postgres', $poll), '', 'the run of an activity is locked');
$s->query_safe('COMMIT');
wait_for_notice($waiting, 'act');
is($node->safe_psql('postgres', $poll), 'a', 'the queue of an activity is announced, too');
$waiting->{psql}->quit;

#
# Tasks that are not for anybody any more
#

# A poll removes only so many of them.  Nobody else speaks of the queue, so
# one that stops before it has seen the others has to.
my $listener = listener($node, 'postgres', 'stale');
$node->safe_psql('postgres', q(SELECT wf_start('stale', 't', task_queue => 'stale')));
wait_for_notice($listener, 'stale');
$node->safe_psql('postgres', q(
	UPDATE wf.task SET task_id = task_id + 1000000 WHERE task_queue = 'stale';
	INSERT INTO wf.task (queue_id, task_id, shard, run_id, scheduled_event_id, attempt, created_time, kind,
			namespace, task_queue, type)
		SELECT queue_id, task_id - i, shard, gen_random_uuid(), 2, 1, now(), kind, namespace, task_queue, type
		FROM wf.task, generate_series(1, 1000) i WHERE task_queue = 'stale'));
my $polled = q(SELECT workflow_id FROM wf_poll_workflow_task('stale'));
is($node->safe_psql('postgres', $polled), '', 'a poll is busy with tasks that are stale');
wait_for_notice($listener, 'stale');
is($node->safe_psql('postgres', $polled), 'stale', 'and tells the queue that there may be others');

$listener->{psql}->quit;
$s->quit;
check_sound($node);
$node->stop;
done_testing();
