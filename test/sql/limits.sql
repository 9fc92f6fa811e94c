-- Limits: what is refused, and what ends a run
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_limits');

-- Defaults.
SELECT name, current_setting('workflow_interrupt.' || name) FROM unnest(ARRAY['history_count_limit', 'history_size_limit',
	'state_size_limit', 'payload_size_limit', 'max_buffered_events', 'max_buffered_size', 'max_signals', 'max_id_length']) name;

-- Events in a history: the operation that finds the limit exceeded is
-- undone and the run terminated.
CREATE FUNCTION pg_temp.with_20_events(wid text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM new_polled(wid);
	PERFORM reply(wid, (SELECT jsonb_agg(c_marker('m')) FROM generate_series(1, 14)));
	PERFORM wf_signal(wid, 's');
	RETURN h(wid);
END $$;
SELECT pg_temp.with_20_events('c' || n) FROM generate_series(1, 4) n;
SET workflow_interrupt.history_count_limit = 20;
SELECT wf_signal('c1', 'one more');
SELECT wf_signal('c1', 'too many', request_id => 'r1');
SELECT h('c1');
SELECT ev('c1', 21);
SELECT raises($$SELECT wf_signal('c1', 's')$$);
-- The same for other callers: the answer says that it was not done.
SELECT wf_signal('c2', 'one more'), wf_cancel('c2', 'why');
SELECT h('c2');
SELECT cancel_requested FROM wf.execution WHERE run_id = run_id_of('c2');
-- Terminating is always possible.
SELECT wf_signal('c3', 'one more'), wf_terminate('c3', 'enough');
SELECT ev('c3', 21);
-- A reply with too many events: none of them is kept.
SELECT new_polled('r');
SELECT reply('r', (SELECT jsonb_agg(c_marker('m' || i)) FROM generate_series(1, 30) i));
SELECT h('r');
SELECT ev('r', 4);
RESET workflow_interrupt.history_count_limit;

-- Bytes of a history.
SET workflow_interrupt.history_size_limit = '200kB';
SELECT new_idle('b');
SELECT wf_signal('b', 's1', to_jsonb(repeat('x', 80 * 1024))), wf_signal('b', 's2', to_jsonb(repeat('x', 80 * 1024)));
SELECT h('b');
DO $$
BEGIN
	SET LOCAL client_min_messages = error;
	FOR i IN 1 .. 2 LOOP
		EXIT WHEN NOT wf_signal('b', 'more', to_jsonb(repeat('x', 80 * 1024)));
	END LOOP;
END $$;
SELECT status FROM wf.execution WHERE run_id = run_id_of('b');
SELECT attributes FROM wf.event WHERE run_id = run_id_of('b') AND event_type = 'WorkflowExecutionTerminated';
RESET workflow_interrupt.history_size_limit;

-- Bytes of state: what is buffered counts.
SET workflow_interrupt.state_size_limit = '400kB';
SELECT new_polled('s');
SELECT wf_signal('s', 's' || i, to_jsonb(repeat('x', 100 * 1024))) FROM generate_series(1, 3) i;
SELECT wf_signal('s', 's4', to_jsonb(repeat('x', 100 * 1024)));
SELECT h('s');
SELECT ev('s', 8);
-- When nothing has to be buffered history takes it all.
SELECT new('s');
SELECT bool_and(wf_signal('s', 's' || i, to_jsonb(repeat('x', 100 * 1024)))) FROM generate_series(1, 10) i;
-- So does the memo.
SELECT new_polled('m');
SELECT reply('m', jsonb_build_array(jsonb_build_object('command_type', 'ModifyWorkflowProperties',
	'upserted_memo', jsonb_build_object('a', repeat('x', 500 * 1024)))));
SELECT h('m');
SELECT ev('m', 4);
RESET workflow_interrupt.state_size_limit;

-- One payload: refused with nothing written.
SELECT new_idle('p');
CREATE FUNCTION pg_temp.payload(size int) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(repeat('x', size)) $$;
SELECT wf_signal('p', 's', pg_temp.payload(2 * 1024 * 1024 - 100));
SELECT raises($$SELECT wf_signal('p', 's', pg_temp.payload(2 * 1024 * 1024 + 100))$$);
SELECT raises($$SELECT wf_signal('p', 's', pg_temp.payload(100 * 1024 * 1024))$$);
SELECT raises($$SELECT wf_terminate('p', details => pg_temp.payload(2 * 1024 * 1024 + 100))$$);
SELECT raises($$SELECT wf_start('p2', 'Type', pg_temp.payload(2 * 1024 * 1024 + 100))$$);
SELECT raises($$SELECT wf_start('p2', 'Type', memo => jsonb_build_object('a', pg_temp.payload(2 * 1024 * 1024 + 100)))$$);
SELECT raises($$SELECT wf_signal_with_start('p2', 'Type', 's', pg_temp.payload(2 * 1024 * 1024 + 100))$$);
SELECT raises($$SELECT wf_signal_with_start('p2', 'Type', 's', input => pg_temp.payload(2 * 1024 * 1024 + 100))$$);
SELECT h('p');
SELECT octet_length(attributes ->> 'input') FROM wf.event WHERE run_id = run_id_of('p') AND event_type = 'WorkflowExecutionSignaled';
SET workflow_interrupt.payload_size_limit = '1kB';
SELECT wf_signal('p', 's', pg_temp.payload(900));
SELECT raises($$SELECT wf_signal('p', 's', pg_temp.payload(1100))$$);
-- In a command it ends the run: the failed task, what was buffered, the end.
SELECT new_polled('k1'), wf_signal('k1', 's');
SELECT reply('k1', jsonb_build_array(c_marker('m'), jsonb_build_object('command_type', 'RecordMarker', 'marker_name', 'm', 'details', pg_temp.payload(1100))));
SELECT h('k1');
SELECT ev('k1', 4);
SELECT raises($$SELECT reply('k1')$$);
-- ... unless the reply is refused for the buffered events anyway.
SELECT new_polled('k0'), wf_signal('k0', 's');
SELECT reply('k0', commands(c_complete(pg_temp.payload(1100))));
SELECT h('k0');
SELECT new_polled('k' || n) FROM generate_series(2, 6) n;
SELECT reply('k2', commands(c_cancel(pg_temp.payload(1100))));
SELECT reply('k3', commands(c_fail(repeat('x', 1100))));
SELECT reply('k4', jsonb_build_array(jsonb_build_object('command_type', 'RecordMarker', 'marker_name', 'm', 'details', pg_temp.payload(1100))));
SELECT reply('k5', jsonb_build_array(jsonb_build_object('command_type', 'UpsertWorkflowSearchAttributes',
	'search_attributes', jsonb_build_object('a', pg_temp.payload(1100)))));
SELECT reply('k6', jsonb_build_array(jsonb_build_object('command_type', 'ModifyWorkflowProperties',
	'upserted_memo', jsonb_build_object('a', pg_temp.payload(1100)))));
SELECT h('k' || n) FROM generate_series(2, 6) n;
SELECT attributes ->> 'cause' FROM wf.event WHERE run_id IN (SELECT run_id_of('k' || n) FROM generate_series(2, 6) n)
	AND event_type = 'WorkflowTaskFailed' ORDER BY 1;
-- From the second attempt on only an answer, and nothing written.
SELECT new_transient('k7');
SELECT reply('k7', commands(c_complete(pg_temp.payload(1100))));
SELECT h('k7'), shown('k7');
RESET workflow_interrupt.payload_size_limit;
SELECT reply('k7', commands(c_complete()));
SELECT h('k7');
-- At the default.
SELECT new_polled('k8');
SELECT reply('k8', commands(c_complete(pg_temp.payload(2 * 1024 * 1024 + 100))));
SELECT h('k8');
SELECT new_polled('k9');
SELECT reply('k9', commands(c_complete(pg_temp.payload(2 * 1024 * 1024 - 100))));
SELECT h('k9');

-- All events of one operation.
SELECT new_polled('tx');
SELECT reply('tx', (SELECT jsonb_agg(jsonb_build_object('command_type', 'RecordMarker', 'marker_name', 'm', 'details', pg_temp.payload(1900 * 1024)))
	FROM generate_series(1, 3)));
SELECT h('tx');
SELECT ev('tx', 4);
-- What was buffered counts when it gets its place in the history.
SET workflow_interrupt.transaction_size_limit = '300kB';
SELECT new_polled('tx2');
SELECT bool_and(wf_signal('tx2', 's', pg_temp.payload(100 * 1024))) FROM generate_series(1, 4) i;
SELECT h('tx2');
SELECT reply('tx2', commands(c_marker('m')));
SELECT h('tx2');
RESET workflow_interrupt.transaction_size_limit;
-- A memo.
SET workflow_interrupt.memo_size_limit = '1kB';
SELECT named('memo', wf_start('memo', 'Type', memo => jsonb_build_object('a', pg_temp.payload(900))));
SELECT raises($$SELECT wf_start('memo2', 'Type', memo => jsonb_build_object('a', pg_temp.payload(1100)))$$);
-- What commands make of it, too.
SELECT new_polled('merged');
SELECT reply('merged', jsonb_build_array(jsonb_build_object('command_type', 'ModifyWorkflowProperties', 'upserted_memo', jsonb_build_object('a', pg_temp.payload(600))),
	jsonb_build_object('command_type', 'ModifyWorkflowProperties', 'upserted_memo', jsonb_build_object('a', pg_temp.payload(700)))));
SELECT h('merged');
SELECT new_polled('merged2');
SELECT reply('merged2', jsonb_build_array(jsonb_build_object('command_type', 'ModifyWorkflowProperties', 'upserted_memo', jsonb_build_object('a', pg_temp.payload(600))),
	jsonb_build_object('command_type', 'ModifyWorkflowProperties', 'upserted_memo', jsonb_build_object('b', pg_temp.payload(600)))));
SELECT h('merged2');
RESET workflow_interrupt.memo_size_limit;

-- Long before, workers are told to continue as new.
SET workflow_interrupt.history_count_suggest = 10;
SELECT new_polled('sug');
SELECT reply('sug', (SELECT jsonb_agg(c_marker('m' || i)) FROM generate_series(1, 7) i), true), poll('sug');
SELECT event_id, attributes - 'identity' - 'history_size_bytes' FROM wf.event WHERE run_id = run_id_of('sug') AND event_type = 'WorkflowTaskStarted' ORDER BY 1;
RESET workflow_interrupt.history_count_suggest;

-- Signals in a run.
SET workflow_interrupt.max_signals = 3;
SELECT new('n');
SELECT wf_signal('n', 's1'), poll('n') <> 'nothing', wf_signal('n', 's2'), wf_signal('n', 's3', request_id => 'r3');
SELECT raises($$SELECT wf_signal('n', 's4')$$);
SELECT raises($$SELECT wf_signal_with_start('n', 'Type', 's4')$$);
SELECT wf_signal('n', 's3', request_id => 'r3');
SELECT reply('n');
SELECT raises($$SELECT wf_signal('n', 's4')$$);
SELECT h('n');
SET workflow_interrupt.max_signals = 0;
SELECT wf_signal('n', 's4');
RESET workflow_interrupt.max_signals;

-- Length of ids.
SET workflow_interrupt.max_id_length = 100;
SELECT named('hundred', wf_start(repeat('x', 100), repeat('y', 100), task_queue => repeat('q', 100), request_id => repeat('r', 100)));
SELECT raises($$SELECT wf_start(repeat('x', 101), 'Type')$$);
SELECT raises($$SELECT wf_start('x', repeat('y', 101))$$);
RESET workflow_interrupt.max_id_length;

SELECT test_end();
