-- Commands of a workflow task, one by one: their events, what is wrong with
-- them, and what a refused reply leaves behind.
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_commands');

-- CompleteWorkflowExecution
SELECT new_polled('complete');
SELECT reply('complete', '[{"command_type": "CompleteWorkflowExecution", "result": {"total": 12.50}}]');
SELECT h('complete');
SELECT ev('complete', 4);
SELECT is_current, close_time IS NOT NULL, close_time = (SELECT event_time FROM wf.event v WHERE v.run_id = e.run_id AND event_id = 5)
	FROM wf.execution e WHERE run_id = run_id_of('complete');
SELECT new_polled('complete0');
SELECT reply('complete0', '[{"command_type": "CompleteWorkflowExecution"}]');
SELECT ev('complete0', 5);

-- FailWorkflowExecution
SELECT new_polled('fail');
SELECT reply('fail', '[{"command_type": "FailWorkflowExecution", "failure": {"message": "no stock", "type": "Stock",
	"non_retryable": true, "details": [1, 2], "cause": {"message": "deeper"}}}]');
SELECT h('fail');
SELECT ev('fail', 5);

-- CancelWorkflowExecution
SELECT new_polled('cancel');
SELECT reply('cancel', '[{"command_type": "CancelWorkflowExecution", "details": ["rolled back"]}]');
SELECT h('cancel');
SELECT ev('cancel', 5);
SELECT new_polled('cancel0');
SELECT reply('cancel0', '[{"command_type": "CancelWorkflowExecution"}]');
SELECT ev('cancel0', 5);

-- RecordMarker
SELECT new_polled('marker');
SELECT reply('marker', '[{"command_type": "RecordMarker", "marker_name": "m", "details": {"k": [1]}},
	{"command_type": "RecordMarker", "marker_name": "m", "failure": {"message": "f"}},
	{"command_type": "RecordMarker", "marker_name": "m"}]');
SELECT h('marker');
SELECT ev('marker', 5);

-- StartTimer, CancelTimer
SELECT new_polled('timer');
SELECT reply('timer', '[{"command_type": "StartTimer", "timer_id": "t1", "start_to_fire_timeout": "1 hour"},
	{"command_type": "StartTimer", "timer_id": "t2", "start_to_fire_timeout": "90s"},
	{"command_type": "StartTimer", "timer_id": "t3", "start_to_fire_timeout": "0.25s"},
	{"command_type": "CancelTimer", "timer_id": "t1"},
	{"command_type": "CancelTimer", "timer_id": "t3"},
	{"command_type": "StartTimer", "timer_id": "t1", "start_to_fire_timeout": "1 day"}]');
SELECT h('timer');
SELECT ev('timer', 5);
SELECT timer_id, fire_time = event_time + CASE timer_id WHEN 't1' THEN interval '24 hours' ELSE interval '90 seconds' END
	FROM wf.timer t JOIN wf.event v USING (shard, run_id)
	WHERE run_id = run_id_of('timer') AND event_id = started_event_id ORDER BY timer_id;

-- UpsertWorkflowSearchAttributes, ModifyWorkflowProperties: merged by key
SELECT named('props', wf_start('props', 'Type', task_queue => 'props', memo => '{"a": 1, "b": {"x": 1}}', search_attributes => '{"City": "Bonn"}')),
	poll('props');
SELECT reply('props', '[{"command_type": "UpsertWorkflowSearchAttributes", "search_attributes": {"City": "Kiel", "Zip": 24103}},
	{"command_type": "ModifyWorkflowProperties", "upserted_memo": {"b": {"y": 2}, "c": "new"}}]');
SELECT h('props');
SELECT ev('props', 5);
SELECT memo, search_attributes FROM wf.execution WHERE run_id = run_id_of('props');
SELECT new_polled('props0');
SELECT reply('props0', '[{"command_type": "UpsertWorkflowSearchAttributes", "search_attributes": {"City": "Ulm"}},
	{"command_type": "ModifyWorkflowProperties", "upserted_memo": {"a": 1}},
	{"command_type": "CompleteWorkflowExecution"}]');
SELECT h('props0');
SELECT memo, search_attributes FROM wf.execution WHERE run_id = run_id_of('props0');

-- The order of the events is that of the commands; all in the batch of WtDone.
SELECT new_polled('order');
SELECT reply('order', commands(c_marker('1'), c_timer('2', '1 hour'), c_cancel_timer('2'), c_marker('4'), c_complete()));
SELECT h('order');
-- No command, no event.
SELECT new_polled('empty');
SELECT reply('empty', '[]');
SELECT h('empty');

-- What is wrong with a command fails the workflow task: nothing of the reply
-- is kept, the next attempt comes at once.
CREATE FUNCTION pg_temp.bad(command jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	wid text := (SELECT 'bad ' || count(*) FROM pg_temp.known_run);
BEGIN
	PERFORM new_polled(wid);
	PERFORM reply(wid, commands(c_timer('t', '1 hour')), true);
	PERFORM poll(wid);
	RETURN NEXT reply(wid, commands(c_marker('lost'), c_timer('lost', '1 hour'), command));
	RETURN NEXT h(wid);
	RETURN NEXT (SELECT (attributes ->> 'cause') || ' ' || clean((attributes - 'cause')::text) FROM wf.event
		WHERE run_id = run_id_of(wid) AND event_type = 'WorkflowTaskFailed');
	IF (SELECT string_agg(timer_id, ' ') FROM wf.timer WHERE run_id = run_id_of(wid)) <> 't' THEN
		RETURN NEXT 'TIMERS CHANGED';
	END IF;
	IF poll(wid) NOT LIKE '% attempt 2, previous 3, started 10: %' THEN
		RETURN NEXT 'NO SECOND ATTEMPT';
	END IF;
END $$;
SELECT pg_temp.bad('{"command_type": "CancelTimer", "timer_id": "unknown"}');
SELECT pg_temp.bad('{"command_type": "CancelTimer"}');
SELECT pg_temp.bad('{"command_type": "CancelTimer", "timer_id": ""}');
SELECT pg_temp.bad('{"command_type": "StartTimer", "timer_id": "t", "start_to_fire_timeout": "1s"}');
SELECT pg_temp.bad('{"command_type": "StartTimer", "start_to_fire_timeout": "1s"}');
SELECT pg_temp.bad('{"command_type": "StartTimer", "timer_id": "", "start_to_fire_timeout": "1s"}');
SELECT pg_temp.bad(jsonb_build_object('command_type', 'StartTimer', 'timer_id', repeat('x', 1001), 'start_to_fire_timeout', '1s'));
SELECT pg_temp.bad('{"command_type": "StartTimer", "timer_id": "x", "start_to_fire_timeout": "-1s"}');
SELECT pg_temp.bad('{"command_type": "StartTimer", "timer_id": "x", "start_to_fire_timeout": "soon"}');
SELECT pg_temp.bad('{"command_type": "StartTimer", "timer_id": "x", "start_to_fire_timeout": {"seconds": 1}}');
SELECT pg_temp.bad('{"command_type": "StartTimer", "timer_id": "x", "start_to_fire_timeout": "infinity"}');
SELECT pg_temp.bad('{"command_type": "StartTimer", "timer_id": "x", "start_to_fire_timeout": "1000000000000 years"}');
SELECT pg_temp.bad('{"command_type": "ScheduleActivityTask", "activity_id": "x", "activity_type": "x", "start_to_close_timeout": "soon"}');
SELECT pg_temp.bad('{"command_type": "ScheduleActivityTask", "activity_id": "x", "activity_type": "x", "start_to_close_timeout": "1s", "retry_policy": {"maximum_interval": true}}');
SELECT pg_temp.bad('{"command_type": "RecordMarker"}');
SELECT pg_temp.bad('{"command_type": "RecordMarker", "marker_name": ""}');
SELECT pg_temp.bad('{"command_type": "FailWorkflowExecution"}');
SELECT pg_temp.bad('{"command_type": "UpsertWorkflowSearchAttributes"}');
SELECT pg_temp.bad('{"command_type": "UpsertWorkflowSearchAttributes", "search_attributes": {}}');
SELECT pg_temp.bad('{"command_type": "ModifyWorkflowProperties"}');
SELECT pg_temp.bad('{"command_type": "ModifyWorkflowProperties", "upserted_memo": {}}');
-- Ids of 1,000 characters are fine.
SELECT new_polled('long');
SELECT reply('long', commands(c_timer(repeat('x', 1000), '1 hour'), c_cancel_timer(repeat('x', 1000))));
SELECT h('long');

-- A timer that fired, or was canceled before, is finished.
SELECT new_polled('done');
SELECT reply('done', commands(c_timer('t', '1 hour'), c_cancel_timer('t'), c_cancel_timer('t')));
SELECT h('done');

-- With events buffered: they follow the failed task, as always.
SELECT new_polled('buffered');
SELECT wf_signal('buffered', 's');
SELECT reply('buffered', commands(c_cancel_timer('unknown')));
SELECT h('buffered');

-- From the second attempt on nothing is written and the task goes on: it
-- times out, or the worker thinks of something better.
SELECT new_transient('second');
SELECT reply('second', commands(c_cancel_timer('unknown')));
SELECT h('second'), shown('second');
SELECT reply('second', commands(c_cancel_timer('unknown')));
SELECT reply('second', commands(c_marker('better')));
SELECT h('second');
SELECT new('third', task_timeout => '1 millisecond'), poll('third'), wait_for('third', 'WtTimedOut');
BEGIN;
SELECT wait_poll('third');
SELECT reply('third', commands(c_cancel_timer('unknown')));
COMMIT;
SELECT wait_poll('third');
SELECT h('third');

-- The order within a reply decides which problem is reported.
SELECT new_polled('which');
SELECT reply('which', '[{"command_type": "RecordMarker"}, {"command_type": "CancelTimer", "timer_id": "y"}]');
SELECT new_polled('which2');
SELECT reply('which2', '[{"command_type": "CancelTimer", "timer_id": "y"}, {"command_type": "RecordMarker"}]');
SELECT attributes ->> 'cause' FROM wf.event WHERE run_id IN (run_id_of('which'), run_id_of('which2')) AND event_type = 'WorkflowTaskFailed' ORDER BY 1;

-- Not offered yet.
SELECT new_polled('later');
SELECT split_part(c, ' ', 1), raises(format('SELECT reply(''later'', %L)', jsonb_build_array(jsonb_build_object('command_type', c))))
	FROM unnest(ARRAY['ContinueAsNewWorkflowExecution',
		'StartChildWorkflowExecution', 'RequestCancelExternalWorkflowExecution', 'SignalExternalWorkflowExecution']) c;
SELECT raises($$SELECT reply('later', '[{"command_type": "RecordMarker", "marker_name": "m"}, {"command_type": "StartChildWorkflowExecution"}]')$$);

-- Not commands at all: an error, and the task goes on.
SELECT raises($$SELECT reply('later', NULL)$$);
SELECT raises($$SELECT reply('later', 'null')$$);
SELECT raises($$SELECT reply('later', '{}')$$);
SELECT raises($$SELECT reply('later', '"CompleteWorkflowExecution"')$$);
SELECT raises($$SELECT reply('later', '[null]')$$);
SELECT raises($$SELECT reply('later', '["CompleteWorkflowExecution"]')$$);
SELECT raises($$SELECT reply('later', '[[]]')$$);
SELECT raises($$SELECT reply('later', '[{}]')$$);
SELECT raises($$SELECT reply('later', '[{"command_type": null}]')$$);
SELECT raises($$SELECT reply('later', '[{"command_type": 1}]')$$);
SELECT raises($$SELECT reply('later', '[{"command_type": "NoSuchCommand"}]')$$);
SELECT raises($$SELECT reply('later', '[{"command_type": "completeworkflowexecution"}]')$$);
SELECT raises($$SELECT reply('later', '[{"command_type": "RecordMarker", "marker_name": "m"}, 7]')$$);
SELECT h('later');
SELECT reply('later', commands(c_complete()));
SELECT h('later');

SELECT test_end();
