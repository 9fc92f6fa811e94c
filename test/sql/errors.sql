-- Arguments that make no sense: an error, and nothing is written.
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_errors');
SELECT new_polled('a');

-- NULL where there must be a value.
SELECT raises($$SELECT wf_start(NULL, 'Type')$$);
SELECT raises($$SELECT wf_start('x', NULL)$$);
SELECT raises($$SELECT wf_signal(NULL, 's')$$);
SELECT raises($$SELECT wf_signal('a', NULL)$$);
SELECT raises($$SELECT wf_signal_with_start(NULL, 'Type', 's')$$);
SELECT raises($$SELECT wf_signal_with_start('x', NULL, 's')$$);
SELECT raises($$SELECT wf_signal_with_start('x', 'Type', NULL)$$);
SELECT raises($$SELECT wf_cancel(NULL)$$);
SELECT raises($$SELECT wf_terminate(NULL)$$);
SELECT raises($$SELECT wf_pause(NULL)$$);
SELECT raises($$SELECT wf_unpause(NULL)$$);
SELECT raises($$SELECT wf_history(NULL)$$);
SELECT raises($$SELECT wf_describe(NULL)$$);
SELECT raises($$SELECT wf_result(NULL)$$);
SELECT raises($$SELECT wf_poll_workflow_task(NULL)$$);
SELECT raises($$SELECT wf_respond_workflow_task_completed(NULL)$$);
SELECT raises($$SELECT wf_respond_workflow_task_failed(NULL)$$);
-- NULL elsewhere is the default.
SELECT named('nulls', wf_start('nulls', 'Type', NULL, run_timeout => NULL, task_timeout => NULL, start_delay => NULL,
	memo => NULL, search_attributes => NULL, request_id => NULL, namespace => NULL, identity => NULL));
SELECT ev('nulls', 1, 1);
SELECT wf_signal('nulls', 's', NULL, NULL, NULL, NULL, NULL);
SELECT wf_cancel('nulls', NULL, NULL, NULL, NULL, false, NULL, NULL);
SELECT wf_pause('nulls', NULL, NULL, NULL, NULL, NULL);
SELECT wf_unpause('nulls', NULL, NULL, NULL, NULL, NULL);
SELECT wf_terminate('nulls', NULL, NULL, NULL, NULL, false, NULL, NULL);
SELECT h('nulls');

-- Empty.
SELECT raises($$SELECT wf_start('', 'Type')$$);
SELECT raises($$SELECT wf_start('x', '')$$);
SELECT raises($$SELECT wf_start('x', 'Type', task_queue => '')$$);
SELECT raises($$SELECT wf_signal('', 's')$$);
SELECT raises($$SELECT wf_signal('a', '')$$);
SELECT raises($$SELECT wf_signal_with_start('', 'Type', 's')$$);
SELECT raises($$SELECT wf_signal_with_start('x', '', 's')$$);
SELECT raises($$SELECT wf_signal_with_start('x', 'Type', '')$$);
SELECT raises($$SELECT wf_cancel('')$$);
SELECT raises($$SELECT wf_terminate('')$$);
SELECT raises($$SELECT wf_pause('')$$);
SELECT raises($$SELECT wf_unpause('')$$);
SELECT raises($$SELECT wf_history('')$$);
SELECT raises($$SELECT wf_describe('')$$);
SELECT raises($$SELECT wf_result('')$$);
SELECT raises($$SELECT wf_poll_workflow_task('')$$);

-- Too long: 1,000 characters are the most, and 2,000 bytes, which fit an index.
SELECT named('long', wf_start(repeat(chr(233), 1000), repeat('t', 1000), task_queue => repeat('q', 1000), request_id => repeat('r', 1000)));
SELECT wf_signal(repeat(chr(233), 1000), repeat('s', 1000), request_id => repeat('r', 1000));
SELECT wf_cancel(repeat(chr(233), 1000), request_id => repeat('r', 1000));
SELECT length(workflow_id), count(*) FROM wf_poll_workflow_task(repeat('q', 1000)) GROUP BY 1;
SELECT wf_terminate(repeat(chr(233), 1000));
SELECT h('long');
SELECT raises($$SELECT wf_start(repeat('x', 1001), 'Type')$$);
SELECT raises($$SELECT wf_start(repeat(chr(8364), 700), 'Type')$$);
SELECT wf_create_namespace(repeat(chr(233), 1000));
SELECT raises($$SELECT wf_start((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 31) i), 'Type', namespace => repeat(chr(233), 1000))$$);
SELECT raises($$SELECT wf_signal_with_start(repeat(chr(233), 301), 'Type', 's', namespace => repeat(chr(233), 1000))$$);
SELECT wf_drop_namespace(repeat(chr(233), 1000));
SELECT raises($$SELECT wf_start('x', repeat('x', 1001))$$);
SELECT raises($$SELECT wf_start('x', 'Type', task_queue => repeat('x', 1001))$$);
SELECT raises($$SELECT wf_start('x', 'Type', request_id => repeat('x', 1001))$$);
SELECT raises($$SELECT wf_signal(repeat('x', 1001), 's')$$);
SELECT raises($$SELECT wf_signal('a', repeat('x', 1001))$$);
SELECT raises($$SELECT wf_signal('a', 's', request_id => repeat('x', 1001))$$);
SELECT raises($$SELECT wf_signal_with_start(repeat('x', 1001), 'Type', 's')$$);
SELECT raises($$SELECT wf_signal_with_start('x', 'Type', repeat('x', 1001))$$);
SELECT raises($$SELECT wf_cancel(repeat('x', 1001))$$);
SELECT raises($$SELECT wf_cancel('a', request_id => repeat('x', 1001))$$);
SELECT raises($$SELECT wf_terminate(repeat('x', 1001))$$);
SELECT raises($$SELECT wf_pause(repeat('x', 1001))$$);
SELECT raises($$SELECT wf_pause('a', request_id => repeat('x', 1001))$$);
SELECT raises($$SELECT wf_unpause(repeat('x', 1001))$$);
SELECT raises($$SELECT wf_history(repeat('x', 1001))$$);
SELECT raises($$SELECT wf_poll_workflow_task(repeat('x', 1001))$$);
SELECT raises($$SELECT wf_start(repeat('x', 1000000), 'Type')$$);

-- Intervals.
SELECT raises($$SELECT wf_start('x', 'Type', execution_timeout => '-1 second')$$);
SELECT raises($$SELECT wf_start('x', 'Type', run_timeout => '-1 second')$$);
SELECT raises($$SELECT wf_start('x', 'Type', task_timeout => '-1 second')$$);
SELECT raises($$SELECT wf_start('x', 'Type', start_delay => '-1 second')$$);
SELECT raises($$SELECT wf_signal_with_start('x', 'Type', 's', run_timeout => '-1 second')$$);
SELECT raises($$SELECT wf_start('x', 'Type', run_timeout => '1 day -25 hours')$$);
-- Far away is not an overflow.
SELECT raises($$SELECT wf_start('x', 'Type', start_delay => '178000000 years')$$);
SELECT raises($$SELECT wf_start('x', 'Type', run_timeout => '290000 years')$$);
SELECT named('far', wf_start('far', 'Type', execution_timeout => '90 years', run_timeout => '90 years', start_delay => '90 years'));
SELECT h('far');

-- Policies.
SELECT raises($$SELECT wf_start('x', 'Type', id_reuse_policy => 'Sometimes')$$);
SELECT raises($$SELECT wf_start('x', 'Type', id_reuse_policy => 'allowduplicate')$$);
SELECT raises($$SELECT wf_start('x', 'Type', id_conflict_policy => 'Sometimes')$$);
SELECT raises($$SELECT wf_start('x', 'Type', id_reuse_policy => '')$$);
SELECT raises($$SELECT wf_signal_with_start('x', 'Type', 's', id_conflict_policy => 'Fail')$$);
-- ... also when they would not matter.
SELECT raises($$SELECT wf_start('a', 'Type', id_reuse_policy => 'Sometimes')$$);

-- Objects that are none.
SELECT raises($$SELECT wf_start('x', 'Type', memo => '[]')$$);
SELECT raises($$SELECT wf_start('x', 'Type', memo => '"m"')$$);
SELECT raises($$SELECT wf_start('x', 'Type', search_attributes => '[1]')$$);
SELECT raises($$SELECT wf_start('x', 'Type', search_attributes => 'null')$$);
SELECT raises($$SELECT wf_signal_with_start('x', 'Type', 's', memo => '1')$$);

-- Commands with values of the wrong kind: whatever it is called, the reply
-- is not accepted and nothing of it is kept.
CREATE FUNCTION pg_temp.odd(command jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	wid text := (SELECT 'odd ' || count(*) FROM pg_temp.known_run);
	result text;
BEGIN
	PERFORM new_polled(wid);
	BEGIN
		result := reply(wid, jsonb_build_array(command));
	EXCEPTION WHEN data_exception THEN
		result := 'refused';
	END;
	RETURN split_part(result, ',', 1) || CASE WHEN h(wid) ~ '3 WtStarted( \| 4 WtFailed)?$' THEN '' ELSE ' ' || h(wid) END;
END $$;
SELECT pg_temp.odd('{"command_type": "StartTimer", "timer_id": 1, "start_to_fire_timeout": "1s"}');
SELECT pg_temp.odd('{"command_type": "StartTimer", "timer_id": {}, "start_to_fire_timeout": "1s"}');
SELECT pg_temp.odd('{"command_type": "StartTimer", "timer_id": "t", "start_to_fire_timeout": "soon"}');
SELECT pg_temp.odd('{"command_type": "StartTimer", "timer_id": "t", "start_to_fire_timeout": ""}');
SELECT pg_temp.odd('{"command_type": "StartTimer", "timer_id": "t", "start_to_fire_timeout": ["1s"]}');
SELECT pg_temp.odd('{"command_type": "CancelTimer", "timer_id": ["t"]}');
SELECT pg_temp.odd('{"command_type": "RecordMarker", "marker_name": 1}');
SELECT pg_temp.odd('{"command_type": "FailWorkflowExecution", "failure": "text"}');
SELECT pg_temp.odd('{"command_type": "FailWorkflowExecution", "failure": []}');
SELECT pg_temp.odd('{"command_type": "UpsertWorkflowSearchAttributes", "search_attributes": [1]}');
SELECT pg_temp.odd('{"command_type": "ModifyWorkflowProperties", "upserted_memo": "x"}');
-- Deep and wide.
SELECT raises(format('SELECT reply(''a'', %L)', repeat('[', 5000) || repeat(']', 5000)));
SELECT reply('a', (SELECT jsonb_agg(c_marker('m' || i)) FROM generate_series(1, 5000) i));
SELECT next_event_id FROM wf.execution WHERE run_id = run_id_of('a');

-- Failures of workflow tasks.
SELECT new_polled('f');
SELECT raises($$SELECT wt_fail('f', failure => '[]')$$);
SELECT raises($$SELECT wt_fail('f', failure => 'null')$$);
SELECT raises($$SELECT wt_fail('f', failure => '1')$$);
SELECT wt_fail('f', failure => '{}');
SELECT ev('f', 4);

-- How an error looks to a client.
\set VERBOSITY terse
SELECT wf_signal('nobody', 's');
SELECT wf_start('f', 'Type');
\set VERBOSITY sqlstate
SELECT wf_signal('nobody', 's');
SELECT wf_start('f', 'Type');
SELECT wf_cancel('nobody');
SELECT wf_respond_workflow_task_completed('x');

SELECT test_end();
