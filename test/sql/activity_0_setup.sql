-- Helpers that the files about activities share.
--
-- Workflows and their activities use the task queue that is named like the
-- workflow.  Tokens of activities are kept as those of workflow tasks are,
-- under the names ACTIVITY@QUEUE and, when one is given, a name for good.
SET search_path = test, public;
SET check_function_bodies = off;

-- Commands, in short.  Without options an activity may run for an hour.
CREATE FUNCTION c_act(id text, options jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT '{"command_type": "ScheduleActivityTask", "activity_type": "Act"}'
		|| CASE WHEN options ?| ARRAY['start_to_close_timeout', 'schedule_to_close_timeout'] THEN '{}'
			ELSE '{"start_to_close_timeout": "3600s"}'::jsonb END
		|| jsonb_build_object('activity_id', id) || options
$$;
CREATE FUNCTION c_cancel_act(scheduled_event_id bigint) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('command_type', 'RequestCancelActivityTask', 'scheduled_event_id', scheduled_event_id)
$$;

-- An activity's task from the queue; the earlier of two that wait first.
CREATE FUNCTION apoll(queue text, token text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	t record;
	result text;
BEGIN
	FOR t IN SELECT * FROM wf_poll_activity_task(queue, identity => 'worker') LOOP
		INSERT INTO pg_temp.worker_token AS w
			SELECT n, t.task_token FROM unnest(ARRAY[t.activity_id || '@' || queue, token]) n WHERE n IS NOT NULL
			ON CONFLICT (name) DO UPDATE SET task_token = excluded.task_token;
		result := concat_ws('; ', result, format('%s of %s attempt %s', t.activity_id, named(t.workflow_id, t.run_id), t.attempt)
			|| coalesce(', input ' || t.input::text, '') || coalesce(', details ' || t.heartbeat_details::text, ''));
	END LOOP;
	RETURN coalesce(result, 'nothing');
END $$;

-- Let time pass until there is something to poll.
CREATE FUNCTION wait_apoll(queue text, token text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	give_up timestamptz := clock_timestamp() + interval '1 minute';
	result text;
BEGIN
	LOOP
		PERFORM wf_tick();
		result := apoll(queue, token);
		EXIT WHEN result <> 'nothing' OR clock_timestamp() > give_up;
	END LOOP;
	RETURN result;
END $$;

-- What the worker of an activity has to say.
CREATE FUNCTION done(token text, result jsonb DEFAULT '"ok"') RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	PERFORM wf_respond_activity_task_completed(token_of(token), result, identity => 'worker');
	RETURN 'completed';
END $$;
CREATE FUNCTION failed(token text, failure jsonb DEFAULT '{"message": "bad", "type": "Bad"}', details jsonb DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	PERFORM wf_respond_activity_task_failed(token_of(token), failure, details, identity => 'worker');
	RETURN 'failed';
END $$;
CREATE FUNCTION canceled(token text, details jsonb DEFAULT '"cleaned up"') RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	PERFORM wf_respond_activity_task_canceled(token_of(token), details, identity => 'worker');
	RETURN 'canceled';
END $$;
CREATE FUNCTION beat(token text, details jsonb DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	r record;
BEGIN
	SELECT * INTO r FROM wf_heartbeat(token_of(token), details, identity => 'worker');
	RETURN concat_ws(', ', CASE WHEN r.cancel_requested THEN 'cancel' WHEN r.cancel_requested IS NULL THEN 'NULL' END,
		CASE WHEN r.activity_paused THEN 'paused' WHEN r.activity_paused IS NULL THEN 'NULL' END,
		CASE WHEN r.activity_reset THEN 'reset' WHEN r.activity_reset IS NULL THEN 'NULL' END, 'go on');
END $$;

-- Runs with activities 1 to N scheduled: ... 4 WtDone 5 ActivityTaskScheduled
CREATE FUNCTION new_act(workflow_id text, options jsonb DEFAULT '{}', n int DEFAULT 1, force boolean DEFAULT false,
	run_timeout interval DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	run text := new(workflow_id, run_timeout => run_timeout);
BEGIN
	PERFORM poll(workflow_id);
	PERFORM reply(workflow_id, (SELECT jsonb_agg(c_act(i::text, options)) FROM generate_series(1, n) i), force);
	RETURN h(run);
END $$;
-- ... 1 is started as well
CREATE FUNCTION new_started(workflow_id text, options jsonb DEFAULT '{}', n int DEFAULT 1, force boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	PERFORM new_act(workflow_id, options, n, force);
	RETURN apoll(workflow_id);
END $$;
-- ... 1 has failed and waits, for an hour if not told otherwise, for attempt 2
CREATE FUNCTION new_waiting(workflow_id text, options jsonb DEFAULT '{"retry_policy": {"initial_interval": "3600s"}}',
	failure jsonb DEFAULT '{"message": "bad", "type": "Bad"}', details jsonb DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	PERFORM new_started(workflow_id, options);
	PERFORM failed('1@' || workflow_id, failure, details);
	RETURN acts(workflow_id);
END $$;
-- ... and a worker has the next workflow task.
CREATE FUNCTION work(workflow_id text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	IF poll(workflow_id) = 'nothing' THEN
		PERFORM wf_signal(workflow_id, 'work');
		PERFORM poll(workflow_id);
	END IF;
	RETURN h(workflow_id);
END $$;

-- The activities that are pending.
CREATE FUNCTION acts(run text) RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT coalesce(string_agg(format('%s: %s attempt %s', a.activity_id, a.state, a.attempt), ', ' ORDER BY a.scheduled_event_id), 'none')
	FROM wf.activity a WHERE a.run_id = run_id_of(run)
$$;

-- Close events in short: retry state, type of time-out or message.
CREATE FUNCTION outcome(run text, n int DEFAULT 1) RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT string_agg(x, '; ' ORDER BY event_id) FROM (
		SELECT v.event_id, concat_ws(' ', v.event_id, short(v.event_type::text), v.attributes ->> 'retry_state',
			v.attributes #>> '{failure,timeout_type}', '(' || (v.attributes #>> '{failure,message}') || ')',
			'after attempt ' || (SELECT s.attributes ->> 'attempt' FROM wf.event s WHERE s.shard = v.shard AND s.run_id = v.run_id
				AND s.event_id = (v.attributes ->> 'started_event_id')::bigint)) AS x
		FROM wf.event v WHERE v.run_id = run_id_of(run)
		AND v.event_type IN ('ActivityTaskCompleted', 'ActivityTaskFailed', 'ActivityTaskTimedOut', 'ActivityTaskCanceled')) y
$$;

-- How long attempt N has to wait, to half a minute.
CREATE FUNCTION waits(run text) RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT a.attempt || ' in ' || round(extract(epoch FROM a.scheduled_time - clock_timestamp()) / 30) * 30 || ' s'
	FROM wf.activity a WHERE a.run_id = run_id_of(run)
$$;

-- Everything stored about activities counts, too, when an error must not
-- leave anything behind; but for what heartbeats said, which a driver may
-- write at any time.
ALTER FUNCTION digest() RENAME TO digest_without_activities;
CREATE FUNCTION digest() RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT concat_ws(' ', digest_without_activities(),
		(SELECT count(*) || md5(string_agg((to_jsonb(a) - '{last_heartbeat_time,heartbeat_details,last_worker_identity}'::text[])::text, ''
			ORDER BY a.run_id, a.scheduled_event_id)) FROM wf.activity a))
$$;

-- Rules that hold for every activity at any time.
CREATE FUNCTION activity_inconsistencies() RETURNS SETOF text
LANGUAGE sql SET search_path = public, test AS $$
	WITH v AS (
		SELECT e.namespace, e.workflow_id, e.status, v.*,
			(v.attributes ->> 'scheduled_event_id')::bigint AS scheduled_event_id,
			(v.attributes ->> 'started_event_id')::bigint AS started_event_id
		FROM wf.event v JOIN wf.execution e USING (shard, run_id) WHERE v.event_type::text ~ '^ActivityTask'
	), closing AS (
		SELECT * FROM v WHERE event_type IN ('ActivityTaskCompleted', 'ActivityTaskFailed', 'ActivityTaskTimedOut', 'ActivityTaskCanceled')
	)
	-- Events refer to those that they follow from.
	SELECT format('%s %s event %s: %s of nothing', namespace, workflow_id, event_id, event_type) FROM v
		WHERE event_type <> 'ActivityTaskScheduled' AND NOT EXISTS (SELECT FROM v s WHERE s.shard = v.shard AND s.run_id = v.run_id
			AND s.event_type = 'ActivityTaskScheduled' AND s.event_id = v.scheduled_event_id AND s.event_id < v.event_id)
	UNION ALL
	SELECT format('%s %s event %s: started event', namespace, workflow_id, event_id) FROM closing c
		WHERE coalesce(started_event_id, 0) <> coalesce((SELECT max(s.event_id) FROM v s
			WHERE s.shard = c.shard AND s.run_id = c.run_id AND s.event_type = 'ActivityTaskStarted'
			AND s.scheduled_event_id = c.scheduled_event_id AND s.event_id < c.event_id), 0)
		OR c.event_type IN ('ActivityTaskCompleted', 'ActivityTaskFailed') AND coalesce(started_event_id, 0) = 0
	UNION ALL
	SELECT format('%s %s event %s: workflow task', namespace, workflow_id, event_id) FROM v
		WHERE event_type IN ('ActivityTaskScheduled', 'ActivityTaskCancelRequested') AND NOT EXISTS (SELECT FROM wf.event t
			WHERE t.shard = v.shard AND t.run_id = v.run_id AND t.event_type = 'WorkflowTaskCompleted' AND t.batch_id = v.batch_id
			AND t.event_id = (v.attributes ->> 'workflow_task_completed_event_id')::bigint)
	UNION ALL
	SELECT format('%s %s event %s: order or time', namespace, workflow_id, event_id) FROM v
		WHERE event_type = 'ActivityTaskStarted' AND NOT EXISTS (SELECT FROM wf.event b, wf.event s
			WHERE b.shard = v.shard AND b.run_id = v.run_id AND b.event_id = v.event_id - 1
			AND v.batch_id IN (v.event_id, b.batch_id)
			AND s.shard = v.shard AND s.run_id = v.run_id AND s.event_id = v.scheduled_event_id AND s.event_time <= v.event_time)
	UNION ALL
	-- Each kind at most once; started only together with the end.
	SELECT format('%s %s activity %s: %s %s times', namespace, workflow_id, scheduled_event_id, event_type, count(*))
		FROM v WHERE event_type IN ('ActivityTaskStarted', 'ActivityTaskCancelRequested')
		GROUP BY namespace, workflow_id, shard, run_id, scheduled_event_id, event_type HAVING count(*) > 1
	UNION ALL
	SELECT format('%s %s activity %s: closed %s times', namespace, workflow_id, scheduled_event_id, count(*))
		FROM closing GROUP BY namespace, workflow_id, shard, run_id, scheduled_event_id HAVING count(*) > 1
	UNION ALL
	SELECT format('%s %s event %s: started before it ended', namespace, workflow_id, event_id) FROM v
		WHERE event_type = 'ActivityTaskStarted' AND NOT EXISTS (SELECT FROM closing c WHERE c.shard = v.shard AND c.run_id = v.run_id
			AND c.started_event_id = v.event_id AND c.batch_id = v.batch_id)
	UNION ALL
	SELECT format('%s %s event %s: cancel request', namespace, workflow_id, event_id) FROM closing c
		WHERE event_type = 'ActivityTaskCanceled' AND NOT EXISTS (SELECT FROM v s WHERE s.shard = c.shard AND s.run_id = c.run_id
			AND s.event_type = 'ActivityTaskCancelRequested' AND s.scheduled_event_id = c.scheduled_event_id
			AND s.event_id = (c.attributes ->> 'latest_cancel_requested_event_id')::bigint)
	UNION ALL
	-- Pending is what was scheduled and has no end, of open runs.
	SELECT format('%s %s: activity %s is pending: %s, should be %s', s.namespace, s.workflow_id, s.event_id, p.pending, p.should)
		FROM v s CROSS JOIN LATERAL (SELECT
			EXISTS (SELECT FROM wf.activity a WHERE a.shard = s.shard AND a.run_id = s.run_id AND a.scheduled_event_id = s.event_id) AS pending,
			s.status IN ('Running', 'Paused')
			AND NOT EXISTS (SELECT FROM closing c WHERE c.shard = s.shard AND c.run_id = s.run_id AND c.scheduled_event_id = s.event_id)
			AND NOT EXISTS (SELECT FROM wf.buffered_event b WHERE b.shard = s.shard AND b.run_id = s.run_id
				AND b.event_type::text ~ '^ActivityTask(Completed|Failed|TimedOut|Canceled)$'
				AND (b.attributes ->> 'scheduled_event_id')::bigint = s.event_id) AS should) p
		WHERE s.event_type = 'ActivityTaskScheduled' AND p.pending <> p.should
	UNION ALL
	SELECT format('activity %s of an unknown run', a.activity_id) FROM wf.activity a
		WHERE NOT EXISTS (SELECT FROM v s WHERE s.shard = a.shard AND s.run_id = a.run_id AND s.event_id = a.scheduled_event_id
			AND s.event_type = 'ActivityTaskScheduled' AND s.attributes ->> 'activity_id' = a.activity_id)
	UNION ALL
	SELECT format('%s %s: %s activities, %s counted', e.namespace, e.workflow_id, a.n, e.pending_activities)
		FROM wf.execution e CROSS JOIN LATERAL (SELECT count(*) AS n FROM wf.activity a
			WHERE a.shard = e.shard AND a.run_id = e.run_id) a
		WHERE a.n <> e.pending_activities
	UNION ALL
	SELECT format('%s %s: activity %s is twice pending', e.namespace, e.workflow_id, activity_id)
		FROM wf.activity a JOIN wf.execution e USING (shard, run_id)
		GROUP BY e.namespace, e.workflow_id, a.shard, a.run_id, a.activity_id HAVING count(*) > 1
	UNION ALL
	SELECT format('%s %s activity %s: state %s', e.namespace, e.workflow_id, a.activity_id, a.state)
		FROM wf.activity a JOIN wf.execution e USING (shard, run_id)
		WHERE a.state <> CASE WHEN a.cancel_requested THEN 'CancelRequested'
			WHEN a.paused THEN CASE WHEN a.started_time IS NULL THEN 'Paused' ELSE 'PauseRequested' END
			WHEN a.started_time IS NULL THEN 'Scheduled' ELSE 'Started' END
		OR a.cancel_requested <> EXISTS (SELECT FROM v WHERE v.shard = a.shard AND v.run_id = a.run_id
			AND v.scheduled_event_id = a.scheduled_event_id AND v.event_type = 'ActivityTaskCancelRequested')
		OR a.cancel_requested AND a.started_time IS NULL
	UNION ALL
	-- What is due for a worker is in the queue.
	SELECT format('%s %s activity %s: not in the queue', e.namespace, e.workflow_id, a.activity_id)
		FROM wf.activity a JOIN wf.execution e USING (shard, run_id)
		WHERE a.started_time IS NULL AND a.dispatched AND NOT a.paused AND e.status = 'Running'
		AND NOT EXISTS (SELECT FROM wf.task t WHERE t.shard = a.shard AND t.run_id = a.run_id AND t.kind = 'a'
			AND t.scheduled_event_id = a.scheduled_event_id AND t.attempt = a.attempt AND t.task_queue = a.task_queue)
$$;

-- End of a file about activities.  Of what the other rules say, what they do
-- not know is left out: what event ids of activities refer to, and that the
-- time of ActivityTaskStarted is that of the start.
CREATE FUNCTION activity_end() RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	result text;
BEGIN
	SELECT string_agg(i, E'\n' ORDER BY i COLLATE "C") INTO result FROM (
		SELECT i FROM activity_inconsistencies() i
		UNION SELECT i FROM findings() i
		UNION SELECT i FROM inconsistencies() i
			WHERE NOT EXISTS (SELECT FROM wf.event v JOIN wf.execution e USING (shard, run_id)
				WHERE (v.event_type::text ~ '^ActivityTask' AND i ~ '(scheduled|started)_event_id refers to'
					OR v.event_type = 'ActivityTaskStarted' AND i ~ ' order, batch or time$')
				AND starts_with(i, format('%s %s event %s:', e.namespace, e.workflow_id, v.event_id)))) x (i);
	DELETE FROM wf.activity;
	DELETE FROM wf.event;
	PERFORM test_end();
	RETURN coalesce(result, 'consistent');
END $$;
