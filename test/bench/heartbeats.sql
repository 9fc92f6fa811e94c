-- For the heartbeats: calls that do nothing, with the arguments of
-- wf_heartbeat(); one in PL/pgSQL that also returns such a row, and one in C
-- that returns any value.

CREATE FUNCTION twin.nothing_plpgsql(
	task_token text,
	details jsonb DEFAULT NULL,
	identity text DEFAULT NULL,
	OUT cancel_requested boolean,
	OUT activity_paused boolean,
	OUT activity_reset boolean
) RETURNS record LANGUAGE plpgsql AS $$
BEGIN
	cancel_requested := false;
	activity_paused := false;
	activity_reset := false;
END
$$;

CREATE FUNCTION twin.nothing_c(
	task_token text,
	details jsonb DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS integer LANGUAGE internal AS 'pg_backend_pid';

-- A thousand activities of ten runs, which a worker has taken.
SELECT count(wf_start('run-' || i, 'bench', task_queue => 'bench')) FROM generate_series(1, 10) i;
SELECT count(wf_respond_workflow_task_completed(task_token,
	(SELECT jsonb_agg(jsonb_build_object(
		'command_type', 'ScheduleActivityTask',
		'activity_id', 'step-' || i,
		'activity_type', 'step',
		'task_queue', 'heartbeats',
		'start_to_close_timeout', '1 day',
		'heartbeat_timeout', '1 hour'))
	FROM generate_series(1, 100) i)))
FROM wf_poll_workflow_task('bench', 10);

CREATE TABLE twin.token AS
SELECT row_number() OVER () - 1 AS number, task_token FROM wf_poll_activity_task('heartbeats', 1000);
