-- For the claims: a queue of many activities, the same on both sides, and the
-- twin's ways to take one.

-- Makes both sides have so many runs with n / runs pending activities each,
-- whose tasks wait in queue "claims".  They are copies of a run that the
-- engine has made.  Neighbors in the queue belong to different runs, as they
-- do when many runs are at work.
CREATE FUNCTION twin.fill_queue(n integer, runs integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	template_id uuid;
	source text;
BEGIN
	PERFORM wf_start('template', 'bench', '{"order": 4711, "customer": "c-17"}', 'bench');
	PERFORM wf_respond_workflow_task_completed(task_token,
		(SELECT jsonb_agg(jsonb_build_object(
			'command_type', 'ScheduleActivityTask',
			'activity_id', 'step-' || i,
			'activity_type', 'step',
			'task_queue', 'claims',
			'input', '{"order": 4711, "customer": "c-17"}'::jsonb,
			'schedule_to_close_timeout', '1 day') ORDER BY i)
		FROM generate_series(1, n / runs) i))
	FROM wf_poll_workflow_task('bench');
	template_id := (SELECT run_id FROM wf.execution WHERE workflow_id = 'template');

	CREATE TEMPORARY TABLE filler ON COMMIT DROP AS SELECT * FROM twin.copies('run-', runs);
	FOREACH source IN ARRAY ARRAY['execution', 'event', 'activity', 'task'] LOOP
		EXECUTE format('INSERT INTO wf.%1$I SELECT %2$s FROM (
				SELECT *, row_number() OVER (ORDER BY %3$s) AS new_task_id
				FROM filler CROSS JOIN wf.%1$I WHERE run_id = %4$L) AS copy
			ORDER BY new_task_id',
			source, twin.copied_columns(source),
			CASE source
				WHEN 'activity' THEN 'scheduled_event_id, number'
				WHEN 'task' THEN 'task_id, number'
				WHEN 'event' THEN 'number, event_id'
				ELSE 'number' END, template_id);
		EXECUTE format('DELETE FROM wf.%I WHERE run_id = %L', source, template_id);
		EXECUTE format('INSERT INTO twin.%1$I SELECT * FROM wf.%1$I', source);
	END LOOP;
	PERFORM setval('wf.task_id_seq', n);
END
$$;

-- What a poll returns, and does: take a task out of the queue, lock its run,
-- mark the activity as started by whoever holds the new token, read its input.
-- The task is the first one that nobody else has locked; or, as the floor, the
-- one with the key that is given.  The queue comes as its number, so that it
-- need not be looked up.
CREATE FUNCTION twin.poll(
	queue bigint,
	key bigint DEFAULT NULL,
	identity text DEFAULT session_user,
	OUT task_token text,
	OUT workflow_id text,
	OUT run_id uuid,
	OUT workflow_type text,
	OUT activity_id text,
	OUT activity_type text,
	OUT attempt integer,
	OUT input jsonb,
	OUT heartbeat_details jsonb,
	OUT scheduled_time timestamptz,
	OUT started_time timestamptz,
	OUT schedule_to_close_timeout interval,
	OUT start_to_close_timeout interval,
	OUT heartbeat_timeout interval
) RETURNS SETOF record LANGUAGE plpgsql ROWS 1 AS $$
#variable_conflict use_column
DECLARE
	secret uuid := gen_random_uuid();
	task record;
	run record;
BEGIN
	IF key IS NULL THEN
		DELETE FROM twin.task t USING (
			SELECT h.queue_id, h.task_id, h.shard FROM twin.task h
			WHERE h.queue_id = queue
			ORDER BY h.queue_id, h.task_id, h.shard LIMIT 1
			FOR UPDATE SKIP LOCKED) AS head
		WHERE t.queue_id = head.queue_id AND t.task_id = head.task_id AND t.shard = head.shard
		RETURNING t.shard, t.run_id, t.scheduled_event_id, t.attempt INTO task;
	ELSE
		DELETE FROM twin.task t WHERE t.queue_id = queue AND t.task_id = key
		RETURNING t.shard, t.run_id, t.scheduled_event_id, t.attempt INTO task;
	END IF;
	IF NOT FOUND THEN
		RETURN;
	END IF;

	SELECT e.workflow_id, e.workflow_type, e.status, e.last_event_time INTO run
	FROM twin.execution e
	WHERE e.shard = task.shard AND e.run_id = task.run_id
	FOR NO KEY UPDATE SKIP LOCKED;
	IF NOT FOUND OR run.status <> 'Running' THEN
		RAISE EXCEPTION 'the twin takes activities of running runs only that nobody has locked';
	END IF;

	UPDATE twin.activity a SET
		state = 'Started',
		started_time = greatest(clock_timestamp(), run.last_event_time),
		token = encode(substr(sha256(uuid_send(secret)), 1, 16), 'hex')::uuid,
		identity = poll.identity,
		last_worker_identity = poll.identity
	WHERE a.shard = task.shard AND a.run_id = task.run_id
		AND a.scheduled_event_id = task.scheduled_event_id
		AND a.attempt = task.attempt AND a.started_time IS NULL AND NOT a.paused
	RETURNING a.activity_id, a.activity_type, a.attempt, a.heartbeat_details,
		a.first_scheduled_time, a.started_time, a.schedule_to_close_timeout,
		a.start_to_close_timeout, a.heartbeat_timeout
	INTO STRICT activity_id, activity_type, attempt, heartbeat_details, scheduled_time,
		started_time, schedule_to_close_timeout, start_to_close_timeout, heartbeat_timeout;

	SELECT e.attributes -> 'input' INTO STRICT input FROM twin.event e
	WHERE e.shard = task.shard AND e.run_id = task.run_id
		AND e.event_id = task.scheduled_event_id;
	workflow_id := run.workflow_id;
	workflow_type := run.workflow_type;
	run_id := task.run_id;
	task_token := format('a1.%s.%s.%s.%s.%s.%s', task.shard, task.run_id,
		task.scheduled_event_id, 0, attempt, secret);
	RETURN NEXT;
END
$$;
