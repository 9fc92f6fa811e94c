-- Terminate: the end of a run, without a word to its code
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_terminate');

-- Idle.
SELECT new_idle('idle');
SELECT wf_terminate('idle', 'wrong input', '{"by": ["a", 1]}', identity => 'operator');
SELECT h('idle');
SELECT ev('idle', 5);
SELECT is_current, close_time = last_event_time, cancel_requested FROM wf.execution WHERE run_id = run_id_of('idle');
-- Without a reason, or with empty ones.
SELECT new_idle('idle'), wf_terminate('idle');
SELECT ev('idle/2', 5);
SELECT new_idle('idle'), wf_terminate('idle', '', identity => '');
SELECT ev('idle/3', 5);

-- Scheduled, not started: the workflow task just vanishes.
SELECT new('sched'), wf_terminate('sched', 'r');
SELECT h('sched'), poll('sched');
-- Before the first workflow task.
SELECT new('delay', start_delay => '1 hour'), wf_terminate('delay', 'r');
SELECT h('delay');
-- Paused.
SELECT new_idle('paused'), wf_pause('paused'), wf_terminate('paused', 'r');
SELECT h('paused');
-- Cancel requested.
SELECT new_idle('canceled'), wf_cancel('canceled'), wf_terminate('canceled', 'r');
SELECT h('canceled'), cancel_requested FROM wf.execution WHERE run_id = run_id_of('canceled');

-- Started, first attempt: the task is failed by the engine, then what was
-- buffered, then the end.
SELECT new_polled('started'), wf_terminate('started', 'r', identity => 'operator');
SELECT h('started');
SELECT ev('started', 4);
SELECT new_polled('buffered'), wf_signal('buffered', 's'), wf_terminate('buffered', 'r');
SELECT h('buffered');
-- Started, transient: nothing for the task.
SELECT new_transient('transient'), wf_terminate('transient', 'r');
SELECT h('transient'), shown('transient');
SELECT new_transient('transient2'), wf_signal('transient2', 's'), wf_terminate('transient2', 'r');
SELECT h('transient2');
-- Scheduled, transient.
SELECT new_polled('transient3'), wt_fail('transient3'), wf_terminate('transient3', 'r');
SELECT h('transient3'), shown('transient3');
-- After a regular task that failed with a signal buffered.
SELECT new_polled('regular'), wf_signal('regular', 's'), wt_fail('regular');
SELECT wf_terminate('regular', 'r');
SELECT h('regular');
-- After a transient task that failed with a signal buffered.
SELECT new_transient('after'), wf_signal('after', 's'), wt_fail('after');
SELECT wf_terminate('after', 'r');
SELECT h('after');

-- Nothing is written for pending timers, and they do not fire any more.
BEGIN;
SELECT new_polled('timers'), reply('timers', commands(c_timer('t1', '1 millisecond'), c_timer('t2', '1 hour')));
SELECT wf_terminate('timers', 'r');
SELECT let_pass('timers', '2 milliseconds');
COMMIT;
SELECT h('timers');
-- Nor do time-outs of the run or of its task, or the end of a delay.
BEGIN;
SELECT new('timeouts', task_timeout => '0.3s', run_timeout => '0.3s', execution_timeout => '0.3s'),
	poll('timeouts'), wf_terminate('timeouts', 'r');
SELECT let_pass('timeouts', '0.3s');
SELECT new('delay2', start_delay => '1 millisecond'), wf_terminate('delay2', 'r');
SELECT let_pass('delay2', '2 milliseconds');
COMMIT;

-- What comes later gets:
SELECT new_polled('late'), wf_signal('late', 's', request_id => 'r1'), wf_terminate('late', 'r');
SELECT raises($$SELECT reply('late')$$);
SELECT raises($$SELECT wt_fail('late')$$);
SELECT raises($$SELECT wf_signal('late', 's')$$);
SELECT wf_signal('late', 's', request_id => 'r1');
SELECT wf_cancel('late');
SELECT raises($$SELECT wf_terminate('late')$$);
SELECT raises($$SELECT wf_terminate('late', run_id => run_id_of('late'))$$);
SELECT wf_terminate('late', missing_ok => true);
SELECT raises($$SELECT wf_pause('late')$$);
SELECT raises($$SELECT wf_unpause('late')$$);
SELECT h('late');
-- Closed comes before the chain.
SELECT raises($$SELECT wf_terminate('late', first_execution_run_id => '00000000-0000-7000-8000-000000000000')$$);
-- The id is free.
SELECT new('late');
SELECT h('late/2');

-- Closed in other ways.
SELECT new_polled('completed'), reply('completed', commands(c_complete()));
SELECT raises($$SELECT wf_terminate('completed')$$);
SELECT h('completed');

-- Which run.
SELECT raises($$SELECT wf_terminate('nobody')$$);
SELECT wf_terminate('nobody', missing_ok => true);
SELECT raises($$SELECT wf_terminate('late', run_id => '00000000-0000-7000-8000-000000000000')$$);
SELECT wf_terminate('late', run_id => '00000000-0000-7000-8000-000000000000', missing_ok => true);
SELECT raises($$SELECT wf_terminate('late', run_id => run_id_of('idle'))$$);
SELECT raises($$SELECT wf_terminate('late', run_id => run_id_of('late'))$$);
SELECT raises($$SELECT wf_terminate('late', first_execution_run_id => run_id_of('late'))$$);
SELECT h('late/2');
SELECT wf_terminate('late', 'chain', run_id => run_id_of('late'), first_execution_run_id => run_id_of('late/2'));
SELECT h('late/2');

-- Many at once.
SELECT count(named('b' || i, wf_start('b' || i, 'Batch'))) FROM generate_series(1, 50) i;
SELECT count(wf_terminate('b' || i)) FROM generate_series(1, 5) i;
SELECT wf_terminate(workflow_id, 'cleanup', missing_ok => true) AS terminated, count(*) FROM wf.execution
	WHERE namespace = 'test_terminate' AND workflow_type = 'Batch' GROUP BY 1 ORDER BY 1;
SELECT status, count(*) FROM wf.execution WHERE workflow_type = 'Batch' GROUP BY 1;

SELECT test_end();
