-- Events that come from outside while a workflow task is started wait,
-- without an id and invisible, until it ends.
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_buffer');

-- Completed: WtDone, events of the commands, the buffer in order of arrival,
-- then the next workflow task; all one batch.
SELECT new_polled('a');
SELECT wf_signal('a', 's1', '1'), wf_cancel('a', 'why'), wf_signal('a', 's2', '2');
SELECT h('a'), shown('a');
SELECT next_event_id, cancel_requested FROM wf.execution WHERE run_id = run_id_of('a');
SELECT reply('a', commands(c_marker('m1'), c_timer('t', '1 hour'), c_marker('m2')));
SELECT h('a');
SELECT ev('a', 4);
-- The ids count on from there; the buffer is empty.
SELECT poll('a');
SELECT reply('a');
SELECT h('a');

-- Nothing buffered, nothing demanded: no further workflow task.
SELECT poll('a');
SELECT wf_signal('a', 's3');
SELECT h('a');

-- Failed: WtFailed, the buffer, the next workflow task.
SELECT new_polled('f');
SELECT wf_signal('f', 's1'), wf_signal('f', 's2');
SELECT wt_fail('f');
SELECT h('f');

-- Forced next task and buffer: one task.
SELECT new_polled('force');
SELECT wf_signal('force', 's');
SELECT reply('force', '[]', true);
SELECT h('force');

-- A timer that fires meanwhile.
BEGIN;
SELECT new_idle('t');
SELECT wf_signal('t', 'go');
SELECT poll('t');
SELECT reply('t', commands(c_timer('t1', '0.3s'), c_timer('t2', '1 hour')));
SELECT wf_signal('t', 'again');
SELECT poll('t');
SELECT wf_signal('t', 'before');
SELECT let_pass('t', '0.3s');
SELECT wf_signal('t', 'after');
SELECT h('t');
SELECT reply('t', commands(c_marker('m')));
COMMIT;
SELECT h('t');
SELECT ev('t', 14);

-- Cancel once only, also when the first request is still buffered.
SELECT new_polled('c');
SELECT wf_cancel('c', 'first'), wf_cancel('c', 'second');
SELECT reply('c');
SELECT h('c');

-- Terminated: after the failed workflow task.
SELECT new_polled('x');
SELECT wf_signal('x', 's1'), wf_cancel('x'), wf_signal('x', 's2');
SELECT wf_terminate('x');
SELECT h('x');

-- The worker sees in its next task what it had not seen.
SELECT new_polled('see');
SELECT wf_signal('see', 's', '{"k": "v"}');
SELECT reply('see');
SELECT jsonb_path_query_first(history, '$[*] ? (@.event_type == "WorkflowExecutionSignaled").attributes.input')
	FROM wf_poll_workflow_task('see');

-- More than 100 events: the started workflow task is failed by the engine,
-- the buffer becomes history, a new task follows.
SELECT new_polled('n');
SELECT count(*) FILTER (WHERE wf_signal('n', 's' || i)) FROM generate_series(1, 100) i;
SELECT h('n');
SELECT wf_signal('n', 's101');
SELECT count(*), min(event_id), max(event_id), count(DISTINCT batch_id) FROM wf.event
	WHERE run_id = run_id_of('n') AND event_type = 'WorkflowExecutionSignaled';
SELECT string_agg(attributes ->> 'signal_name', ' ' ORDER BY event_id) =
	(SELECT string_agg('s' || i, ' ' ORDER BY i) FROM generate_series(1, 101) i)
	FROM wf.event WHERE run_id = run_id_of('n') AND event_type = 'WorkflowExecutionSignaled';
SELECT ev('n', 4, 4);
SELECT ev('n', 106);
SELECT batch_id FROM wf.event WHERE run_id = run_id_of('n') AND event_id IN (4, 5, 106);
-- The worker's reply comes too late.
SELECT raises($$SELECT reply('n')$$);
SELECT left(poll('n'), 60);
SELECT reply('n', commands(c_complete()));

-- The same with a limit of our own, and of bytes.
SET workflow_interrupt.max_buffered_events = 2;
SELECT new_polled('n2');
SELECT wf_signal('n2', 's1'), wf_cancel('n2'), h('n2');
SELECT wf_signal('n2', 's2');
SELECT h('n2');
-- The failed task is the reason for a transient one in other cases; here
-- events came, so a first attempt is scheduled.
SELECT poll('n2');
RESET workflow_interrupt.max_buffered_events;
SET workflow_interrupt.max_buffered_size = '100kB';
SELECT new_polled('b');
SELECT wf_signal('b', 's1', to_jsonb(repeat('x', 40 * 1024))), wf_signal('b', 's2', to_jsonb(repeat('x', 40 * 1024)));
SELECT h('b');
SELECT wf_signal('b', 's3', to_jsonb(repeat('x', 40 * 1024)));
SELECT h('b');
RESET workflow_interrupt.max_buffered_size;
SHOW workflow_interrupt.max_buffered_events;
SHOW workflow_interrupt.max_buffered_size;
-- At the default of 2 MB.
SELECT new_polled('mb');
SELECT wf_signal('mb', 's' || i, to_jsonb(repeat('x', 700 * 1024))) FROM generate_series(1, 2) i;
SELECT h('mb');
SELECT wf_signal('mb', 's3', to_jsonb(repeat('x', 700 * 1024)));
SELECT h('mb');
-- A transient workflow task: nothing is written for the task itself.
SET workflow_interrupt.max_buffered_events = 1;
SELECT new_transient('tr');
SELECT wf_signal('tr', 's1');
SELECT h('tr');
SELECT wf_signal('tr', 's2');
SELECT h('tr');
SELECT raises($$SELECT reply('tr')$$);
RESET workflow_interrupt.max_buffered_events;

SELECT test_end();
