-- Cancel: a request that the engine records and the worker acts upon
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_cancel');

-- Idle: the request and a workflow task.
SELECT new_idle('idle');
SELECT wf_cancel('idle', 'not needed', request_id => 'r1', identity => 'operator');
SELECT h('idle');
SELECT ev('idle', 5);
SELECT cancel_requested, status FROM wf.execution WHERE run_id = run_id_of('idle');
-- Once: neither another reason nor another request id makes a second event.
SELECT wf_cancel('idle', 'not needed', request_id => 'r1');
SELECT wf_cancel('idle', 'other reason', request_id => 'r2');
SELECT h('idle');
-- The worker cancels the workflow.
SELECT poll('idle');
SELECT reply('idle', commands(c_cancel('{"at": "step 2"}')));
SELECT h('idle');
SELECT ev('idle', 7);
-- Closed: a success that changes nothing.
SELECT digest() AS before \gset
SELECT wf_cancel('idle', 'again');
SELECT wf_cancel('idle', run_id => run_id_of('idle'));
-- ... checked before all else, so that not even another chain is an error.
SELECT wf_cancel('idle', first_execution_run_id => '00000000-0000-7000-8000-000000000000');
SELECT digest() = :'before';

-- No reason, no cause.
SELECT new_idle('why');
SELECT wf_cancel('why');
SELECT ev('why', 5);

-- A workflow task is scheduled: no second one.
SELECT new('sched');
SELECT wf_cancel('sched');
SELECT h('sched');
-- The first poll gives start and cancel at once.
SELECT poll('sched');
SELECT reply('sched', commands(c_cancel()));
SELECT h('sched');

-- A signal and a cancel, worker offline: one task with both, in order.
SELECT new_idle('both');
SELECT wf_signal('both', 's'), wf_cancel('both');
SELECT h('both');
SELECT poll('both');
SELECT h('both');

-- A workflow task is started: buffered until it ends.
SELECT new_polled('started');
SELECT wf_cancel('started');
SELECT h('started'), cancel_requested FROM wf.execution WHERE run_id = run_id_of('started');
SELECT wf_cancel('started');
SELECT reply('started', commands(c_marker('m')));
SELECT h('started');
-- ... by failure,
SELECT new_polled('failed');
SELECT wf_cancel('failed'), wt_fail('failed');
SELECT h('failed');
-- ... by time-out.
BEGIN;
SELECT new_polled('timeout', '1 millisecond');
SELECT wf_cancel('timeout');
SELECT wait_for('timeout', 'WtTimedOut');
COMMIT;

-- A transient workflow task is scheduled: the event, and when the task is
-- started it is a normal one, after the event.
SELECT new_polled('ts');
SELECT wt_fail('ts');
SELECT wf_cancel('ts');
SELECT h('ts');
SELECT poll('ts');
SELECT h('ts');
-- A transient workflow task is started: buffered.
SELECT new_transient('tt');
SELECT wf_cancel('tt');
SELECT h('tt');
SELECT reply('tt');
SELECT h('tt');

-- Start delay: the rest of it is dropped.
SELECT new('delay', start_delay => '1 hour');
SELECT wf_cancel('delay');
SELECT h('delay');
SELECT poll('delay');
SELECT reply('delay', commands(c_cancel()));
SELECT h('delay');
-- A signal before does not change that.
SELECT new('delay2', start_delay => '1 hour');
SELECT wf_signal('delay2', 's'), wf_cancel('delay2'), wf_cancel('delay2');
SELECT h('delay2');
-- The delay's end has then nothing to do.
BEGIN;
SELECT new('delay3', start_delay => '1 millisecond');
SELECT wf_cancel('delay3');
SELECT poll('delay3'), reply('delay3');
SELECT let_pass('delay3', '2 milliseconds');
COMMIT;

-- Paused: the request only; the task comes with unpause.
SELECT new_idle('paused');
SELECT wf_pause('paused');
SELECT wf_cancel('paused');
SELECT h('paused');
SELECT poll('paused');
SELECT wf_unpause('paused');
SELECT h('paused');

-- A closing reply does not fit: it is thrown away, whatever closes.
SELECT new_polled('u' || n), wf_cancel('u' || n) FROM generate_series(1, 3) n;
SELECT reply('u1', commands(c_complete()));
SELECT reply('u2', commands(c_marker('lost'), c_fail()));
SELECT reply('u3', commands(c_cancel()));
SELECT h('u' || n) FROM generate_series(1, 3) n;
SELECT ev('u1', 4);
SELECT poll('u1');
SELECT reply('u1', commands(c_complete('"in spite of it"')));
SELECT h('u1');

-- After a request the worker may complete, fail, or go on for ever.
SELECT new_idle('e' || n), wf_cancel('e' || n), poll('e' || n) FROM generate_series(1, 3) n;
SELECT reply('e1', commands(c_complete()));
SELECT reply('e2', commands(c_fail()));
SELECT reply('e3');
SELECT h('e' || n), cancel_requested FROM generate_series(1, 3) n JOIN wf.execution ON workflow_id = 'e' || n
	AND namespace = 'test_cancel' ORDER BY n;
SELECT wf_cancel('e3');
-- Code may cancel itself unasked.
SELECT new_polled('self');
SELECT reply('self', commands(c_cancel()));
SELECT h('self'), cancel_requested FROM wf.execution WHERE run_id = run_id_of('self');
-- Tasks that keep failing: the request stands, the run stays.
SELECT new_polled('stuck');
SELECT wf_cancel('stuck'), wt_fail('stuck'), poll('stuck'), wt_fail('stuck'), poll('stuck'), wt_fail('stuck');
SELECT h('stuck'), cancel_requested FROM wf.execution WHERE run_id = run_id_of('stuck');

-- The request belongs to the run: a successor starts without.
SELECT new('self');
SELECT cancel_requested FROM wf.execution WHERE run_id = run_id_of('self/2');

-- Which run.
SELECT wf_cancel('self', run_id => run_id_of('self'));
SELECT h('self/2');
SELECT raises($$SELECT wf_cancel('nobody')$$);
SELECT wf_cancel('nobody', missing_ok => true);
SELECT raises($$SELECT wf_cancel('self', run_id => '00000000-0000-7000-8000-000000000000')$$);
SELECT raises($$SELECT wf_cancel('self', run_id => run_id_of('idle'))$$);
SELECT wf_cancel('self', run_id => '00000000-0000-7000-8000-000000000000', missing_ok => true);
-- The chain: must be that of the current run; a run id is then ignored.
SELECT raises($$SELECT wf_cancel('self', first_execution_run_id => run_id_of('self'))$$);
SELECT raises($$SELECT wf_cancel('self', first_execution_run_id => run_id_of('self'), run_id => run_id_of('self/2'))$$);
SELECT raises($$SELECT wf_cancel('nobody', first_execution_run_id => run_id_of('self'))$$);
SELECT wf_cancel('self', 'chain', run_id => run_id_of('self'), first_execution_run_id => run_id_of('self/2'));
SELECT h('self/2');

-- Many at once, those that changed meanwhile included.
SELECT count(named('batch' || i, wf_start('batch' || i, CASE WHEN i % 2 = 0 THEN 'Even' ELSE 'Odd' END)))
	FROM generate_series(1, 100) i;
SELECT count(wf_terminate('batch' || i)) FROM generate_series(1, 10) i;
SELECT wf_cancel(workflow_id, 'bad deploy') AS canceled, count(*) FROM wf.execution
	WHERE namespace = 'test_cancel' AND workflow_type IN ('Even', 'Odd') GROUP BY 1 ORDER BY 1;
SELECT h('batch1');
SELECT count(*) FROM wf.event WHERE event_type = 'WorkflowExecutionCancelRequested' AND attributes ->> 'cause' = 'bad deploy';

SELECT test_end();
