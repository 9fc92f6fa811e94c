-- For resets: runs with long histories, made through the API.

-- Starts a workflow whose history is at least so long, and hardly longer, when
-- its last workflow task completes: replies that record markers and schedule as many activities,
-- which are done when the next task is taken.  With what surrounds them in the
-- history, attributes of an event have some 300 bytes.
CREATE PROCEDURE twin.make_history(id text, events integer) LANGUAGE plpgsql AS $$
DECLARE
	filling text := repeat('0123456789abcdef', 15);
	token text;
	many integer;
	length bigint := 0;
BEGIN
	PERFORM wf_start(id, 'bench', task_queue => 'bench');
	WHILE length < events LOOP
		many := greatest(1, least(500, (events - length - 3) / 4));
		SELECT task_token INTO STRICT token FROM wf_poll_workflow_task('bench');
		PERFORM wf_respond_workflow_task_completed(token,
			(SELECT jsonb_agg(jsonb_build_object('command_type', 'RecordMarker',
					'marker_name', 'step', 'details', jsonb_build_object('note', filling)))
				FROM generate_series(1, many)) ||
			(SELECT jsonb_agg(jsonb_build_object('command_type', 'ScheduleActivityTask',
					'activity_id', id || '-' || length + i, 'activity_type', 'step', 'task_queue', 'steps',
					'input', jsonb_build_object('number', i), 'schedule_to_close_timeout', '1 day'))
				FROM generate_series(1, many) i));
		PERFORM wf_respond_activity_task_completed(task_token, jsonb_build_object('note', filling))
		FROM wf_poll_activity_task('steps', 1000);
		SELECT next_event_id INTO STRICT length FROM wf.execution WHERE workflow_id = id;
	END LOOP;
	PERFORM wf_respond_workflow_task_completed(task_token) FROM wf_poll_workflow_task('bench');
END
$$;
