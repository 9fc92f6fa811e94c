-- wf_history(), wf_describe(), wf_result()
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_describe');

-- History: in order, of the current run or of the one named.
SELECT named('a', wf_start('a', 'Order', '{"n": 1}', task_queue => 'a', task_timeout => '2 minutes', run_timeout => '1 hour',
	execution_timeout => '2 hours', memo => '{"note": "x"}', search_attributes => '{"City": "Bonn"}', identity => 'client'));
SELECT run_id = run_id_of('a'), event_id, event_type, event_time IS NOT NULL, clean(attributes::text) FROM wf_history('a');
SELECT wf_terminate('a', 'r');
SELECT new('a');
SELECT count(*) FROM wf_history('a');
SELECT count(*) FROM wf_history('a', run_id_of('a'));
SELECT event_type FROM wf_history('a', run_id => run_id_of('a')) ORDER BY event_id DESC LIMIT 1;
SELECT raises($$SELECT * FROM wf_history('nobody')$$);
SELECT raises($$SELECT * FROM wf_history('a', '00000000-0000-7000-8000-000000000000')$$);
SELECT raises($$SELECT * FROM wf_history(NULL)$$);
-- What is buffered is not in it, what is transient is.
SELECT new_transient('tr'), wf_signal('tr', 's');
SELECT shown('tr');
-- Event times never go back.
SELECT bool_and(event_time >= before) FROM (SELECT event_time, lag(event_time, 1, '-infinity') OVER (ORDER BY event_id) AS before
	FROM wf_history('tr')) x;

-- Describe.
SELECT clean(jsonb_pretty(wf_describe('a', run_id_of('a'))));
SELECT clean(jsonb_pretty(wf_describe('a')));
-- Timers, a cancel request not yet acted upon, a task on its third attempt.
SELECT new_polled('d'), reply('d', commands(c_timer('t1', '1 hour'), c_timer('t2', '2 hours')));
SELECT wf_cancel('d', 'stop'), poll('d'), wt_fail('d'), poll('d'), wt_fail('d');
SELECT clean(jsonb_pretty(wf_describe('d')));
SELECT poll('d');
SELECT wf_describe('d') -> 'pending_workflow_task' ->> 'state', wf_describe('d') -> 'pending_workflow_task' ->> 'attempt';
-- Paused; delayed.
SELECT wf_pause('a', 'incident', identity => 'operator');
SELECT wf_describe('a') -> 'workflow_execution_info' ->> 'status';
SELECT new('later', start_delay => '1 hour');
SELECT (d ->> 'execution_time')::timestamptz - (d ->> 'start_time')::timestamptz
	FROM (SELECT wf_describe('later') -> 'workflow_execution_info') x (d);
SELECT raises($$SELECT wf_describe('nobody')$$);
SELECT raises($$SELECT wf_describe('a', '00000000-0000-7000-8000-000000000000')$$);
SELECT raises($$SELECT wf_describe(NULL)$$);

-- Result: NULL while open.
SELECT new_polled('r');
SELECT wf_result('r') IS NULL;
SELECT reply('r', commands(c_complete('{"total": 12.50}')));
SELECT wf_result('r');
SELECT wf_result('r', run_id_of('r'));
SELECT new_polled('none'), reply('none', '[{"command_type": "CompleteWorkflowExecution"}]');
SELECT wf_result('none') IS NULL;
SELECT new_polled('null'), reply('null', commands(c_complete('null')));
SELECT wf_result('null');
-- Of the other endings an error of its own.
SELECT new_polled('failed'), reply('failed', '[{"command_type": "FailWorkflowExecution", "failure": {"message": "no stock", "type": "Stock"}}]');
SELECT raises($$SELECT wf_result('failed')$$);
SELECT new_polled('canceled'), reply('canceled', commands(c_cancel('"rolled back"')));
SELECT raises($$SELECT wf_result('canceled')$$);
SELECT new('terminated'), wf_terminate('terminated', 'wrong input');
SELECT raises($$SELECT wf_result('terminated')$$);
SELECT new('timed out', run_timeout => '1 millisecond');
SELECT wait_for('timed out', 'WfTimedOut');
SELECT raises($$SELECT wf_result('timed out')$$);
-- Another start is another chain.
SELECT new('r');
SELECT wf_result('r') IS NULL;
SELECT wf_result('r', run_id_of('r'));
SELECT raises($$SELECT wf_result('nobody')$$);
SELECT raises($$SELECT wf_result('r', '00000000-0000-7000-8000-000000000000')$$);
SELECT raises($$SELECT wf_result(NULL)$$);
-- It can be told apart.
DO $$
BEGIN
	PERFORM wf_result('terminated');
EXCEPTION WHEN SQLSTATE 'WF014' THEN
	RAISE NOTICE 'terminated';
END $$;

-- They only read.
BEGIN TRANSACTION READ ONLY;
SELECT count(*) FROM wf_history('r', run_id_of('r'));
SELECT wf_describe('r') IS NOT NULL, wf_result('r') IS NULL;
COMMIT;

SELECT test_end();
