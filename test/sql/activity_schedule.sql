-- ScheduleActivityTask: attributes, time-outs, retry policies, limits
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_activity_schedule');

-- The event has what the command says; the policy is filled in.
SELECT new_polled('a');
SELECT reply('a', '[{"command_type": "ScheduleActivityTask", "activity_id": "1", "activity_type": "charge", "task_queue": "elsewhere",
	"input": {"n": 1}, "header": {"trace": "x"}, "schedule_to_close_timeout": "600s", "schedule_to_start_timeout": "60s",
	"start_to_close_timeout": "30s", "heartbeat_timeout": "5s",
	"retry_policy": {"initial_interval": "2s", "backoff_coefficient": 1.5, "maximum_interval": "20s", "maximum_attempts": 3,
		"non_retryable_error_types": ["Fatal", "TemporalTimeout:Heartbeat"]}}]');
SELECT h('a');
SELECT ev('a', 5);
SELECT activity_id, activity_type, task_queue, state, attempt, scheduled_event_id,
		scheduled_time = event_time, first_scheduled_time = event_time, started_time, last_heartbeat_time, heartbeat_details,
		cancel_requested, last_failure, last_worker_identity,
		schedule_to_close_timeout, schedule_to_start_timeout, start_to_close_timeout, heartbeat_timeout
	FROM wf.activity a JOIN wf.event v USING (shard, run_id) WHERE run_id = run_id_of('a') AND event_id = scheduled_event_id;
SELECT a.retry_policy = v.attributes -> 'retry_policy'
	FROM wf.activity a JOIN wf.event v USING (shard, run_id) WHERE run_id = run_id_of('a') AND event_id = scheduled_event_id;
SELECT pending_activities FROM wf.execution WHERE run_id = run_id_of('a');
-- No workflow task comes of it.
SELECT poll('a');
-- As little as possible: the workflow's task queue, the default policy.
SELECT new_polled('b');
SELECT reply('b', '[{"command_type": "ScheduleActivityTask", "activity_id": "1", "activity_type": "charge", "start_to_close_timeout": "30s"}]');
SELECT ev('b', 5);
SELECT apoll('b');

SELECT new_polled('b2');
SELECT reply('b2', commands(c_act('1', '{"task_queue": ""}'))), apoll('b2');

-- Several, in the order of the commands, among others.
SELECT new_polled('many');
SELECT reply('many', commands(c_act('x'), c_marker('m'), c_act('y'), c_timer('t', '1 hour'), c_act('z')), true);
SELECT h('many');
SELECT activity_id, scheduled_event_id FROM wf.activity WHERE run_id = run_id_of('many') ORDER BY 2;
SELECT apoll('many'), apoll('many'), apoll('many'), apoll('many');
-- With the end of the run: there is nothing left to do.
SELECT new_polled('end');
SELECT reply('end', commands(c_act('1'), c_complete()));
SELECT h('end'), acts('end'), apoll('end');

-- Time-outs: what is missing is filled in, what is too long is cut.
CREATE FUNCTION pg_temp.timeouts(wid text, options jsonb, run_timeout interval DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	event text;
	stored text;
BEGIN
	PERFORM new(wid, run_timeout => run_timeout), poll(wid);
	IF reply(wid, commands('{"command_type": "ScheduleActivityTask", "activity_id": "1", "activity_type": "Act"}' || options)) <> 'accepted' THEN
		RETURN h(wid) || ' ' || (SELECT attributes ->> 'cause' FROM wf.event WHERE run_id = run_id_of(wid) AND event_id = 4);
	END IF;
	SELECT concat_ws(' ', 'stc=' || (attributes ->> 'schedule_to_close_timeout'), 'sts=' || (attributes ->> 'schedule_to_start_timeout'),
			'close=' || (attributes ->> 'start_to_close_timeout'), 'beat=' || (attributes ->> 'heartbeat_timeout'))
		INTO event FROM wf.event WHERE run_id = run_id_of(wid) AND event_id = 5;
	SELECT concat_ws(' ', 'stc=' || extract(epoch FROM schedule_to_close_timeout)::float || 's', 'sts=' || extract(epoch FROM schedule_to_start_timeout)::float || 's',
			'close=' || extract(epoch FROM start_to_close_timeout)::float || 's', 'beat=' || extract(epoch FROM heartbeat_timeout)::float || 's')
		INTO stored FROM wf.activity WHERE run_id = run_id_of(wid);
	RETURN event || CASE WHEN regexp_replace(event, '(\.\d*?)0+s', '\1s', 'g') <> stored THEN ' BUT STORED ' || stored ELSE '' END;
END $$;
SELECT pg_temp.timeouts('t1', '{"schedule_to_close_timeout": "60s"}');
SELECT pg_temp.timeouts('t2', '{"schedule_to_close_timeout": "60s", "schedule_to_start_timeout": "10s"}');
SELECT pg_temp.timeouts('t3', '{"schedule_to_close_timeout": "60s", "start_to_close_timeout": "10s"}');
SELECT pg_temp.timeouts('t4', '{"start_to_close_timeout": "60s"}');
SELECT pg_temp.timeouts('t5', '{"start_to_close_timeout": "60s", "schedule_to_start_timeout": "10s"}');
SELECT pg_temp.timeouts('t6', '{"start_to_close_timeout": "60s"}', '1 hour');
SELECT pg_temp.timeouts('t7', '{"start_to_close_timeout": "60s", "schedule_to_start_timeout": "10s"}', '1 hour');
SELECT pg_temp.timeouts('t8', '{"schedule_to_close_timeout": "7200s"}', '1 hour');
SELECT pg_temp.timeouts('t9', '{"schedule_to_close_timeout": "7200s", "schedule_to_start_timeout": "7200s", "start_to_close_timeout": "7200s", "heartbeat_timeout": "7200s"}', '1 hour');
SELECT pg_temp.timeouts('t10', '{"start_to_close_timeout": "60s", "heartbeat_timeout": "90s"}');
SELECT pg_temp.timeouts('t11', '{"schedule_to_close_timeout": "60s", "heartbeat_timeout": "90s"}');
SELECT pg_temp.timeouts('t12', '{"start_to_close_timeout": "60s", "heartbeat_timeout": "5s"}');
SELECT pg_temp.timeouts('t13', '{"start_to_close_timeout": "0.25s"}');
-- Nothing, or nought, is no time-out.
SELECT pg_temp.timeouts('t14', '{"start_to_close_timeout": "60s", "schedule_to_close_timeout": "0s", "schedule_to_start_timeout": "0s", "heartbeat_timeout": "0s"}');
-- A far future.
SELECT pg_temp.timeouts('t18', '{"start_to_close_timeout": "90 years", "schedule_to_close_timeout": "90 years"}');
-- One of two is necessary.
SELECT pg_temp.timeouts('t15', '{}');
SELECT pg_temp.timeouts('t16', '{"schedule_to_start_timeout": "60s", "heartbeat_timeout": "5s"}', '1 hour');
SELECT pg_temp.timeouts('t17', '{"start_to_close_timeout": "0s", "schedule_to_close_timeout": "0s"}');

-- What is wrong with the command fails the workflow task.
CREATE FUNCTION pg_temp.bad(options jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	wid text := (SELECT 'bad ' || count(*) FROM pg_temp.known_run);
BEGIN
	PERFORM new_act(wid, force => true);
	PERFORM poll(wid);
	SET LOCAL client_min_messages = error;
	RETURN NEXT reply(wid, commands(c_marker('lost'), c_act('lost'), jsonb_strip_nulls(c_act('2', options))));
	IF h(wid) <> 'Running: 1 WfStarted 2 WtSched | 3 WtStarted | 4 WtDone 5 ActivityTaskScheduled 6 WtSched | 7 WtStarted | 8 WtFailed' THEN
		RETURN NEXT h(wid);
	END IF;
	IF acts(wid) <> '1: Scheduled attempt 1' THEN
		RETURN NEXT acts(wid);
	END IF;
	IF apoll(wid) NOT LIKE '1 of %' OR apoll(wid) <> 'nothing' THEN
		RETURN NEXT 'A TASK IS THERE';
	END IF;
	IF poll(wid) NOT LIKE '% attempt 2, previous 3, started 10: %' THEN
		RETURN NEXT 'NO SECOND ATTEMPT';
	END IF;
END $$;
SELECT pg_temp.bad('{"activity_id": null}');
SELECT pg_temp.bad('{"activity_id": ""}');
SELECT pg_temp.bad(jsonb_build_object('activity_id', repeat('x', 1001)));
SELECT pg_temp.bad('{"activity_type": null}');
SELECT pg_temp.bad('{"activity_type": ""}');
SELECT pg_temp.bad(jsonb_build_object('activity_type', repeat('x', 1001)));
SELECT pg_temp.bad(jsonb_build_object('task_queue', repeat('x', 1001)));
SELECT pg_temp.bad('{"start_to_close_timeout": "-1s"}');
SELECT pg_temp.bad('{"schedule_to_close_timeout": "-1s"}');
SELECT pg_temp.bad('{"schedule_to_start_timeout": "-1s", "start_to_close_timeout": "5s"}');
SELECT pg_temp.bad('{"heartbeat_timeout": "-1s", "start_to_close_timeout": "5s"}');
SELECT pg_temp.bad('{"retry_policy": {"initial_interval": "-1s"}}');
SELECT pg_temp.bad('{"retry_policy": {"backoff_coefficient": 0.5}}');
SELECT pg_temp.bad('{"retry_policy": {"backoff_coefficient": 1e400}}');
SELECT pg_temp.bad('{"retry_policy": {"maximum_attempts": 1e400}}');
SELECT pg_temp.bad('{"retry_policy": {"maximum_interval": "-1s"}}');
SELECT pg_temp.bad('{"retry_policy": {"initial_interval": "10s", "maximum_interval": "5s"}}');
SELECT pg_temp.bad('{"retry_policy": {"maximum_attempts": -1}}');
-- The same id twice: pending, or in one reply.
SELECT pg_temp.bad('{"activity_id": "1"}');
SELECT pg_temp.bad('{"activity_id": "lost"}');
SELECT attributes ->> 'cause', count(*) FROM wf.event WHERE event_type = 'WorkflowTaskFailed'
	AND run_id IN (SELECT run_id FROM pg_temp.known_run WHERE name LIKE 'bad%') GROUP BY 1 ORDER BY 1;
-- One in full.
SELECT new_polled('bad');
SELECT reply('bad', commands(c_act('')));
SELECT ev('bad', 4);
-- From the second attempt on nothing is written.
SELECT poll('bad');
SELECT reply('bad', commands(c_act('')));
SELECT h('bad'), shown('bad');
SELECT reply('bad', commands(c_act('1')));
SELECT h('bad'), acts('bad');
-- An id is free again when its activity is closed.
SELECT apoll('bad'), done('1@bad'), work('bad');
SELECT reply('bad', commands(c_act('1')));
SELECT h('bad'), acts('bad');
-- ... even while the end waits in the buffer.
SELECT work('bad');
SELECT apoll('bad'), done('1@bad');
SELECT reply('bad', commands(c_act('1')));
SELECT h('bad'), acts('bad');
-- Ids of 1,000 characters are fine.
SELECT new_polled('long');
SELECT reply('long', commands(c_act(repeat(chr(233), 1000), jsonb_build_object('activity_type', repeat(chr(233), 1000), 'task_queue', repeat(chr(233), 1000)))));
SELECT length(activity_id), length(activity_type) FROM wf_poll_activity_task(repeat(chr(233), 1000));
SELECT wf_respond_activity_task_completed_by_id('long', repeat(chr(233), 1000));
SELECT h('long');

-- Retry policies: nought and nothing stand for the defaults, an initial
-- interval stretches the maximum.
CREATE FUNCTION pg_temp.policy(wid text, policy jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM new_act(wid, CASE WHEN policy IS NULL THEN '{}' ELSE jsonb_build_object('retry_policy', policy) END);
	RETURN (SELECT attributes -> 'retry_policy' FROM wf.event WHERE run_id = run_id_of(wid) AND event_id = 5);
END $$;
SELECT pg_temp.policy('p1', NULL);
SELECT pg_temp.policy('p2', '{}');
SELECT pg_temp.policy('p3', '{"initial_interval": "5s"}');
SELECT pg_temp.policy('p4', '{"backoff_coefficient": 1}');
SELECT pg_temp.policy('p5', '{"maximum_attempts": 7, "non_retryable_error_types": ["A", "B"]}');
SELECT pg_temp.policy('p6', '{"maximum_interval": "10s"}');
SELECT pg_temp.policy('p7', '{"initial_interval": "0.1s", "maximum_interval": "0.1s"}');
SELECT pg_temp.policy('p8', '{"maximum_attempts": 0, "non_retryable_error_types": []}');

-- Values of another kind: the reply fails in either way.
CREATE FUNCTION pg_temp.shape(command jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM new_polled('shape');
	SET LOCAL client_min_messages = error;
	BEGIN
		result := reply('shape', commands(command));
	EXCEPTION WHEN data_exception THEN
		result := 'refused, ' || SQLERRM;
	END;
	PERFORM wf_terminate('shape');
	RETURN CASE WHEN starts_with(result, 'refused, ') THEN 'refused' ELSE result || ' ' || (SELECT string_agg(e, ' ') FROM ev(current_run('shape'), 5, 5) e) END;
END $$;
SELECT o, pg_temp.shape(c_act('1', o)) FROM unnest(ARRAY[
	'{"activity_id": 1}', '{"activity_type": {}}', '{"task_queue": []}', '{"start_to_close_timeout": "soon"}', '{"start_to_close_timeout": []}',
	'{"schedule_to_close_timeout": {}}', '{"heartbeat_timeout": true}', '{"schedule_to_start_timeout": "x"}',
	'{"retry_policy": 1}', '{"retry_policy": []}', '{"retry_policy": {"initial_interval": "soon"}}', '{"retry_policy": {"maximum_interval": []}}',
	'{"retry_policy": {"maximum_attempts": "many"}}', '{"retry_policy": {"maximum_attempts": 1.5}}', '{"retry_policy": {"maximum_attempts": 99999999999}}',
	'{"retry_policy": {"maximum_attempts": -1e300}}', '{"retry_policy": {"backoff_coefficient": "x"}}', '{"retry_policy": {"backoff_coefficient": -1}}',
	'{"retry_policy": {"non_retryable_error_types": "x"}}', '{"retry_policy": {"non_retryable_error_types": [1]}}', '{"retry_policy": {"non_retryable_error_types": {"a": 1}}}'
	]::jsonb[]) o;
-- Beyond all calendars: no overflow.
SELECT new_act('far', '{"start_to_close_timeout": "290000 years", "heartbeat_timeout": "178000000 years", "schedule_to_start_timeout": "178000000 years",
	"retry_policy": {"initial_interval": "178000000 years", "maximum_interval": "178000000 years", "backoff_coefficient": 1e300}}');
SELECT apoll('far'), beat('1@far'), failed('1@far');
SELECT state, scheduled_time > now() + interval '90 years' FROM wf.activity WHERE run_id = run_id_of('far');
SELECT let_pass('far', '2 milliseconds');

-- How many may be pending.
SELECT current_setting('workflow_interrupt.max_pending_activities');
SET workflow_interrupt.max_pending_activities = 3;
SELECT new_act('limit', n => 3, force => true);
SELECT poll('limit');
SELECT reply('limit', commands(c_marker('lost'), c_act('4')));
SELECT h('limit'), acts('limit');
SELECT ev('limit', 10);
-- One less, one more.
SELECT apoll('limit'), done('1@limit');
SELECT poll('limit');
SELECT reply('limit', commands(c_act('4')));
SELECT h('limit'), acts('limit');
-- In one reply.
SELECT new_polled('limit2');
SELECT reply('limit2', commands(c_act('1'), c_act('2'), c_act('3'), c_act('4')));
SELECT h('limit2'), acts('limit2');
SET workflow_interrupt.max_pending_activities = 0;
SELECT reply('limit2', (SELECT jsonb_agg(c_act(i::text)) FROM generate_series(1, 10) i)) FROM poll('limit2');
SELECT pending_activities FROM wf.execution WHERE run_id = run_id_of('limit2');
RESET workflow_interrupt.max_pending_activities;

-- An input over the limit ends the run.
SET workflow_interrupt.payload_size_limit = '1kB';
SELECT new_act('payload', force => true), poll('payload') <> 'nothing', wf_signal('payload', 's');
SELECT reply('payload', commands(c_act('2', jsonb_build_object('input', repeat('x', 1100)))));
SELECT h('payload'), acts('payload');
SELECT ev('payload', 8);
SELECT new_polled('payload2');
SELECT reply('payload2', commands(c_act('1', jsonb_build_object('input', repeat('x', 900)))));
SELECT h('payload2');
RESET workflow_interrupt.payload_size_limit;
-- Payloads are stored as they are given.
SELECT new_polled('inputs');
SELECT reply('inputs', commands(c_act('1', '{"input": null}'), c_act('2', '{"input": [1.50, {"b": 2, "a": null}]}'), c_act('3', '{"input": {"payloads": [1, 2]}}'), c_act('4')));
SELECT event_id, attributes ? 'input', attributes -> 'input' FROM wf.event WHERE run_id = run_id_of('inputs') AND event_id > 4 ORDER BY 1;

SELECT activity_end();
