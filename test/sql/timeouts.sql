-- Time-outs of runs and executions (those of workflow tasks: workflow_task.sql)
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_timeouts');

-- Idle in a workflow task queue.
SELECT new('run', run_timeout => '1 millisecond');
SELECT wait_for('run', 'WfTimedOut');
SELECT ev('run', 3);
SELECT close_time = last_event_time, close_time >= start_time + run_timeout, is_current FROM wf.execution WHERE run_id = run_id_of('run');
SELECT poll('run');
SELECT new('execution', execution_timeout => '1 millisecond');
SELECT wait_for('execution', 'WfTimedOut');
-- The earlier of the two.
SELECT new('both', run_timeout => '1 hour', execution_timeout => '1 millisecond');
SELECT wait_for('both', 'WfTimedOut');
SELECT new('both2', execution_timeout => '1 hour', run_timeout => '1 millisecond');
SELECT wait_for('both2', 'WfTimedOut');
-- Not before.
SELECT new('not yet', run_timeout => '1 hour', execution_timeout => '1 hour');
SELECT let_pass('not yet', '2 milliseconds');

-- With a workflow task started: the engine fails the task, then what was
-- buffered, then the end.
BEGIN;
SELECT new('started', run_timeout => '0.3s'), poll('started');
SELECT let_pass('started', '0.3s');
SELECT ev('started', 4);
SELECT raises($$SELECT reply('started')$$);
SELECT new('buffered', run_timeout => '0.3s'), poll('buffered'), wf_signal('buffered', 's'), wf_cancel('buffered');
SELECT let_pass('buffered', '0.3s');
-- Transient: nothing for the task.
SELECT new('transient', execution_timeout => '0.3s'), poll('transient'), wt_fail('transient'), poll('transient'), wf_signal('transient', 's');
SELECT let_pass('transient', '0.3s');
-- Idle, with a timer that never fires.
SELECT new('idle', run_timeout => '0.3s'), poll('idle'), reply('idle', commands(c_timer('t', '1 hour')));
SELECT let_pass('idle', '0.3s');
COMMIT;

-- Paused runs time out as well.
SELECT new('paused', run_timeout => '2 milliseconds'), wf_pause('paused');
SELECT wait_for('paused', 'WfTimedOut') LIKE 'TimedOut: %';

-- Cancel requested and never obeyed.
SELECT new('canceled', run_timeout => '1 millisecond'), wf_cancel('canceled');
SELECT wait_for('canceled', 'WfTimedOut');

-- Afterwards it is a closed run like others.
SELECT raises($$SELECT wf_signal('run', 's')$$);
SELECT raises($$SELECT wf_terminate('run')$$);
SELECT wf_cancel('run');
SELECT let_pass('run', '2 milliseconds');
SELECT new('run');
SELECT h('run/2');

-- Closed in time: nothing more comes.
BEGIN;
SELECT new('in time', run_timeout => '0.3s', execution_timeout => '0.31s', task_timeout => '0.3s'),
	poll('in time'), reply('in time', commands(c_complete()));
SELECT let_pass('in time', '0.32s');
COMMIT;

-- A run's time-out, a timer and a task's time-out due together: the run ends.
BEGIN;
SELECT new('all', run_timeout => '0.3s', task_timeout => '0.3s'), poll('all');
SELECT reply('all', commands(c_timer('t', '0.3s')), true), poll('all');
SELECT split_part(let_pass('all', '0.32s'), ':', 1);
COMMIT;
SELECT event_type FROM wf.event WHERE run_id = run_id_of('all') ORDER BY event_id DESC LIMIT 1;

SELECT test_end();
