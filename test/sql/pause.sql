-- Pause: no workflow task until unpause
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_pause');

-- Idle.
SELECT new_idle('idle');
SELECT wf_pause('idle', 'incident', request_id => 'r1', identity => 'operator');
SELECT h('idle');
SELECT ev('idle', 5);
SELECT close_time IS NULL, is_current FROM wf.execution WHERE run_id = run_id_of('idle');
-- The same request again: nothing. Another one: an error.
SELECT wf_pause('idle', 'incident', request_id => 'r1');
SELECT raises($$SELECT wf_pause('idle', 'other', request_id => 'r2')$$);
SELECT raises($$SELECT wf_pause('idle')$$);
SELECT h('idle');
-- Signals and cancel requests are recorded, and wait.
SELECT wf_signal('idle', 's1'), wf_cancel('idle'), wf_signal('idle', 's2');
SELECT h('idle'), poll('idle');
SELECT wf_unpause('idle', 'over', request_id => 'r3', identity => 'operator');
SELECT h('idle');
SELECT ev('idle', 9);
SELECT raises($$SELECT wf_unpause('idle')$$);
SELECT poll('idle'), reply('idle', commands(c_complete()));
SELECT h('idle');
-- Nothing happened meanwhile: still a task at unpause.
SELECT new_idle('quiet'), wf_pause('quiet'), wf_unpause('quiet');
SELECT h('quiet');
-- Again.
SELECT poll('quiet'), reply('quiet'), wf_pause('quiet', request_id => 'r1'), wf_unpause('quiet'), wf_pause('quiet', request_id => 'r1');
SELECT h('quiet');

-- A workflow task is scheduled: the engine fails it.
SELECT new('sched'), wf_pause('sched', 'incident');
SELECT h('sched');
SELECT ev('sched', 3);
SELECT poll('sched');
SELECT wf_unpause('sched');
SELECT h('sched'), shown('sched');
SELECT poll('sched');

-- A workflow task is started: the pause is buffered, the worker may finish,
-- and no task follows.
SELECT new_polled('started'), wf_pause('started');
SELECT h('started');
SELECT wf_signal('started', 's');
SELECT reply('started', commands(c_marker('m')));
SELECT h('started'), poll('started');
SELECT wf_unpause('started');
SELECT h('started');
-- ... nor when it fails or times out,
SELECT new_polled('fails'), wf_pause('fails'), wt_fail('fails');
SELECT h('fails'), shown('fails'), poll('fails');
SELECT wf_unpause('fails');
SELECT h('fails'), poll('fails');
BEGIN;
SELECT new_polled('times', '1 millisecond'), wf_pause('times');
SELECT wait_for('times', 'WtTimedOut');
SELECT poll('times');
COMMIT;
-- ... and a forced one is refused.
SELECT new_polled('force'), wf_pause('force');
SELECT raises($$SELECT reply('force', '[]', true)$$);
SELECT reply('force');
SELECT h('force');
-- Paused and unpaused within one workflow task.
SELECT new_polled('within'), wf_pause('within'), wf_unpause('within'), reply('within');
SELECT h('within');
-- A transient workflow task is scheduled, or started.
SELECT new_polled('transient'), wt_fail('transient'), wf_pause('transient');
SELECT poll('transient');
SELECT wf_unpause('transient');
SELECT poll('transient');
SELECT new_transient('transient2'), wf_pause('transient2'), reply('transient2');
SELECT h('transient2'), poll('transient2');

-- Timers fire, and wait.
BEGIN;
SELECT new_polled('timer'), reply('timer', commands(c_timer('t', '1 millisecond'))), wf_pause('timer');
SELECT let_pass('timer', '2 milliseconds');
SELECT wf_unpause('timer');
SELECT h('timer');
COMMIT;
-- A start delay ends: no workflow task.
BEGIN;
SELECT new('delay', start_delay => '1 millisecond'), wf_pause('delay');
SELECT let_pass('delay', '2 milliseconds');
SELECT poll('delay');
SELECT wf_unpause('delay');
SELECT h('delay');
COMMIT;
SELECT poll('delay');

-- Which run.
SELECT raises($$SELECT wf_pause('nobody')$$);
SELECT raises($$SELECT wf_unpause('nobody')$$);
SELECT raises($$SELECT wf_pause('idle')$$);
SELECT raises($$SELECT wf_unpause('idle')$$);
SELECT raises($$SELECT wf_pause('quiet', run_id => run_id_of('idle'))$$);
SELECT raises($$SELECT wf_pause('quiet', run_id => '00000000-0000-7000-8000-000000000000')$$);
SELECT new('idle');
SELECT raises($$SELECT wf_pause('idle', run_id => run_id_of('idle'))$$);
SELECT wf_pause('idle', run_id => run_id_of('idle/2'));
SELECT wf_unpause('idle', run_id => run_id_of('idle/2'));
SELECT h('idle/2');

SELECT test_end();
