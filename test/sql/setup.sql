-- The extension, and helpers that the other files share.
--
-- The helpers print what a run's history says in a form that is the same in
-- every run of the suite: runs have names instead of ids, times and other
-- generated values are replaced by placeholders.
--
-- Each file works in a namespace of its own, names its workflows freely and
-- gives each a task queue of the same name, so that a poll gets the task it
-- means to.
--
-- A driver may or may not serve the database.  What falls due is therefore
-- awaited in loops that look for the effect, whoever brings it about, and no
-- result of wf_tick() that depends on it is printed.
CREATE EXTENSION workflow_interrupt;
CREATE SCHEMA test;
SET search_path = test, public;
SET check_function_bodies = off;

-- Begin a file: its namespace, and which runs and task tokens have a name.
CREATE FUNCTION test_begin(namespace text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	PERFORM wf_create_namespace(namespace);
	PERFORM set_config('workflow_interrupt.namespace', namespace, false);
	CREATE TEMP TABLE known_run (n serial, run_id uuid PRIMARY KEY, name text UNIQUE);
	CREATE TEMP TABLE worker_token (name text PRIMARY KEY, task_token text);
	RETURN 'namespace ' || namespace;
END $$;

-- Give a run a name: NAME, or NAME/2 for the second run of that name, ...
-- A run that has a name keeps it.
CREATE FUNCTION named(name text, run_id uuid) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	found_name text;
	i int := 1;
BEGIN
	IF run_id IS NULL THEN
		RETURN NULL;
	END IF;
	SELECT k.name INTO found_name FROM pg_temp.known_run k WHERE k.run_id = named.run_id;
	IF found_name IS NOT NULL THEN
		RETURN found_name;
	END IF;
	found_name := named.name;
	WHILE EXISTS (SELECT FROM pg_temp.known_run k WHERE k.name = found_name) LOOP
		i := i + 1;
		found_name := named.name || '/' || i;
	END LOOP;
	INSERT INTO pg_temp.known_run (run_id, name) VALUES (named.run_id, found_name);
	RETURN found_name;
END $$;

CREATE FUNCTION run_id_of(name text) RETURNS uuid
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	result uuid;
BEGIN
	SELECT k.run_id INTO STRICT result FROM pg_temp.known_run k WHERE k.name = run_id_of.name;
	RETURN result;
END $$;

-- The current run of a workflow, under its name.
CREATE FUNCTION current_run(workflow_id text) RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT named(e.workflow_id, e.run_id)
	FROM wf.execution e
	WHERE e.namespace = current_setting('workflow_interrupt.namespace')
	AND e.workflow_id = current_run.workflow_id AND e.is_current
$$;

-- Text without ids of runs, other UUIDs, times and the like.
CREATE FUNCTION clean(t text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	k record;
BEGIN
	FOR k IN SELECT run_id, name FROM pg_temp.known_run LOOP
		t := replace(t, k.run_id::text, '<' || k.name || '>');
	END LOOP;
	t := regexp_replace(t, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', '<uuid>', 'g');
	t := regexp_replace(t, '\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d(:\d\d)?)', '<time>', 'g');
	t := regexp_replace(t, '("history_size_bytes": )\d+', '\1<n>', 'g');
	t := replace(t, to_json(session_user::text)::text, '"<me>"');
	RETURN t;
END $$;

-- Events under short names: Wf for WorkflowExecution, Wt for WorkflowTask.
CREATE FUNCTION short(event_type text) RETURNS text
LANGUAGE sql AS $$
	SELECT CASE event_type
		WHEN 'WorkflowExecutionCancelRequested' THEN 'CancelReq'
		WHEN 'WorkflowExecutionSignaled' THEN 'Signaled'
		WHEN 'WorkflowExecutionPaused' THEN 'Paused'
		WHEN 'WorkflowExecutionUnpaused' THEN 'Unpaused'
		WHEN 'WorkflowTaskScheduled' THEN 'WtSched'
		WHEN 'WorkflowTaskCompleted' THEN 'WtDone'
		WHEN 'MarkerRecorded' THEN 'Marker'
		WHEN 'UpsertWorkflowSearchAttributes' THEN 'SearchAttributes'
		WHEN 'WorkflowPropertiesModified' THEN 'Properties'
		ELSE regexp_replace(regexp_replace(event_type, '^WorkflowExecution', 'Wf'), '^WorkflowTask', 'Wt')
		END
$$;

-- A stored history in one line, after the status: ids and short names,
-- batches separated by bars.
CREATE FUNCTION h(run text) RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT e.status || ': ' || string_agg(
		CASE WHEN v.event_id = 1 THEN '' WHEN v.batch_id = v.event_id THEN ' | ' ELSE ' ' END
		|| v.event_id || ' ' || short(v.event_type::text), '' ORDER BY v.event_id)
	FROM wf.execution e JOIN wf.event v USING (shard, run_id)
	WHERE e.run_id = run_id_of(run)
	GROUP BY e.status
$$;

-- What wf_history() shows; rows that are not stored have a star.
CREATE FUNCTION shown(run text) RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT string_agg(
		v.event_id || CASE WHEN EXISTS (SELECT FROM wf.event s
				WHERE s.run_id = v.run_id AND s.event_id = v.event_id) THEN '' ELSE '*' END
		|| ' ' || short(v.event_type::text), ' ' ORDER BY v.event_id)
	FROM wf.execution e, wf_history(e.workflow_id, e.run_id, e.namespace) v
	WHERE e.run_id = run_id_of(run)
$$;

-- Stored events in full, from one event id on (to another).
CREATE FUNCTION ev(run text, first bigint DEFAULT 1, last bigint DEFAULT 1000000) RETURNS SETOF text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT v.event_id || ' ' || short(v.event_type::text) || ' ' || clean(v.attributes::text)
	FROM wf.event v
	WHERE v.run_id = run_id_of(run) AND v.event_id BETWEEN first AND last
	ORDER BY v.event_id
$$;

-- Attributes of events that are only shown.
CREATE FUNCTION shown_ev(run text, first bigint DEFAULT 1) RETURNS SETOF text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT v.event_id || ' ' || short(v.event_type::text) || ' ' || clean(v.attributes::text)
	FROM wf.execution e, wf_history(e.workflow_id, e.run_id, e.namespace) v
	WHERE e.run_id = run_id_of(run) AND v.event_id >= first
	ORDER BY v.event_id
$$;

-- Start a workflow; its task queue has the same name.
CREATE FUNCTION new(workflow_id text, task_timeout interval DEFAULT '2 minutes',
	start_delay interval DEFAULT NULL, run_timeout interval DEFAULT NULL,
	execution_timeout interval DEFAULT NULL) RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT named(workflow_id, wf_start(workflow_id, 'Type', task_queue => workflow_id,
		task_timeout => task_timeout, start_delay => start_delay, run_timeout => run_timeout,
		execution_timeout => execution_timeout, identity => 'client'))
$$;

-- Poll one workflow task from the queue; its token goes under the queue's
-- name, and under another one too when that is given.
CREATE FUNCTION poll(queue text, token text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	t record;
	result text;
BEGIN
	FOR t IN SELECT * FROM wf_poll_workflow_task(queue, identity => 'worker') LOOP
		INSERT INTO pg_temp.worker_token AS w
			SELECT n, t.task_token FROM unnest(ARRAY[queue, token]) n WHERE n IS NOT NULL
			ON CONFLICT (name) DO UPDATE SET task_token = excluded.task_token;
		SELECT concat_ws('; ', result, format('%s attempt %s, previous %s, started %s: %s',
				named(t.workflow_id, t.run_id), t.attempt, t.previous_started_event_id, t.started_event_id,
				string_agg((e ->> 'event_id') || ' ' || short(e ->> 'event_type'), ' ' ORDER BY n)))
			INTO result
			FROM jsonb_array_elements(t.history) WITH ORDINALITY x (e, n);
	END LOOP;
	RETURN coalesce(result, 'nothing');
END $$;

CREATE FUNCTION token_of(name text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	result text;
BEGIN
	SELECT w.task_token INTO STRICT result FROM pg_temp.worker_token w WHERE w.name = token_of.name;
	RETURN result;
END $$;

-- Reply to the workflow task polled last under that name.
CREATE FUNCTION reply(token text, commands jsonb DEFAULT '[]', force boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	r record;
BEGIN
	SELECT * INTO r FROM wf_respond_workflow_task_completed(token_of(token), commands,
		force_create_new_workflow_task => force, identity => 'worker');
	IF r.accepted THEN
		IF r.cause IS NOT NULL OR r.message IS NOT NULL THEN
			RETURN 'accepted, but cause ' || coalesce(r.cause, '?') || ', message ' || coalesce(r.message, '?');
		END IF;
		RETURN 'accepted';
	END IF;
	RETURN 'refused, ' || coalesce(r.cause, 'NO CAUSE') || ': ' || clean(coalesce(r.message, 'NO MESSAGE'));
END $$;

-- Fail the workflow task polled last under that name.
CREATE FUNCTION wt_fail(token text, cause text DEFAULT 'WorkflowWorkerUnhandledFailure',
	failure jsonb DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	PERFORM wf_respond_workflow_task_failed(token_of(token), cause, failure, identity => 'worker');
	RETURN 'failed';
END $$;

-- Commands, in short.
CREATE FUNCTION c_complete(result jsonb DEFAULT '"ok"') RETURNS jsonb LANGUAGE sql AS
	$$ SELECT jsonb_build_object('command_type', 'CompleteWorkflowExecution', 'result', result) $$;
CREATE FUNCTION c_fail(message text DEFAULT 'bad') RETURNS jsonb LANGUAGE sql AS
	$$ SELECT jsonb_build_object('command_type', 'FailWorkflowExecution', 'failure', jsonb_build_object('message', message)) $$;
CREATE FUNCTION c_cancel(details jsonb DEFAULT '"stopped"') RETURNS jsonb LANGUAGE sql AS
	$$ SELECT jsonb_build_object('command_type', 'CancelWorkflowExecution', 'details', details) $$;
CREATE FUNCTION c_marker(name text) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT jsonb_build_object('command_type', 'RecordMarker', 'marker_name', name) $$;
CREATE FUNCTION c_timer(id text, after text) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT jsonb_build_object('command_type', 'StartTimer', 'timer_id', id, 'start_to_fire_timeout', after) $$;
CREATE FUNCTION c_cancel_timer(id text) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT jsonb_build_object('command_type', 'CancelTimer', 'timer_id', id) $$;
CREATE FUNCTION commands(VARIADIC c jsonb[]) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT to_jsonb(c) $$;

-- A run whose first workflow task is started: ... 3 WtStarted.
CREATE FUNCTION new_polled(workflow_id text, task_timeout interval DEFAULT '2 minutes') RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	run text := new(workflow_id, task_timeout);
BEGIN
	PERFORM poll(workflow_id);
	RETURN h(run);
END $$;

-- A run that waits: ... 4 WtDone.
CREATE FUNCTION new_idle(workflow_id text, task_timeout interval DEFAULT '2 minutes') RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	run text := new(workflow_id, task_timeout);
BEGIN
	PERFORM poll(workflow_id);
	PERFORM reply(workflow_id);
	RETURN h(run);
END $$;

-- A run whose second workflow task is transient and started.
CREATE FUNCTION new_transient(workflow_id text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	run text := new(workflow_id);
BEGIN
	PERFORM poll(workflow_id);
	PERFORM wt_fail(workflow_id);
	PERFORM poll(workflow_id);
	RETURN shown(run);
END $$;

-- Let time pass until the run has so many events of a kind (short name).
CREATE FUNCTION wait_for(run text, event text, n int DEFAULT 1) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	give_up timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
	LOOP
		PERFORM wf_tick();
		IF (SELECT count(*) FROM wf.event v
				WHERE v.run_id = run_id_of(run) AND short(v.event_type::text) = event) >= n THEN
			RETURN h(run);
		END IF;
		IF clock_timestamp() > give_up THEN
			RETURN 'GAVE UP: ' || h(run);
		END IF;
	END LOOP;
END $$;

-- Let time pass until there is something to poll.
CREATE FUNCTION wait_poll(queue text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	give_up timestamptz := clock_timestamp() + interval '1 minute';
	result text;
BEGIN
	LOOP
		PERFORM wf_tick();
		result := poll(queue);
		EXIT WHEN result <> 'nothing' OR clock_timestamp() > give_up;
	END LOOP;
	RETURN result;
END $$;

-- Let so much time pass, do all that is due then, and show the run.
CREATE FUNCTION let_pass(run text, duration interval) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	until timestamptz := clock_timestamp() + duration;
BEGIN
	WHILE clock_timestamp() <= until LOOP
	END LOOP;
	until := clock_timestamp() + interval '1 minute';
	WHILE wf_tick() > 0 LOOP
		IF clock_timestamp() > until THEN
			RETURN 'NEVER DONE: ' || h(run);
		END IF;
	END LOOP;
	RETURN h(run);
END $$;

-- Everything stored about runs, as one value.
CREATE FUNCTION digest() RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT concat_ws(' ',
		(SELECT count(*) || md5(string_agg(e::text, '' ORDER BY e.run_id)) FROM wf.execution e),
		(SELECT count(*) FROM wf.event),
		(SELECT count(*) || md5(string_agg(b::text, '' ORDER BY b.run_id, b.position)) FROM wf.buffered_event b),
		(SELECT count(*) || md5(string_agg(t::text, '' ORDER BY t.run_id, t.timer_id)) FROM wf.timer t),
		(SELECT count(*) FROM wf.signal_request),
		(SELECT count(*) FROM wf.task),
		-- what is due now is the driver's business
		(SELECT count(*) FROM wf.wakeup WHERE due_time > now() + interval '1 minute'),
		(SELECT count(*) FROM wf.namespace))
$$;

-- The error a statement raises: SQLSTATE, message, detail.
CREATE FUNCTION raises(statement text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	before text := digest();
	state text;
	message text;
	detail text;
BEGIN
	BEGIN
		EXECUTE statement;
		RETURN 'NO ERROR';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
			detail = PG_EXCEPTION_DETAIL;
	END;
	RETURN state || ' ' || clean(message)
		|| CASE WHEN detail <> '' THEN ' -- ' || clean(detail) ELSE '' END
		|| CASE WHEN digest() IS DISTINCT FROM before THEN ' SOMETHING WAS WRITTEN' ELSE '' END;
END $$;

-- Rules that hold for every run at any time; what breaks one is listed.
CREATE FUNCTION inconsistencies() RETURNS SETOF text
LANGUAGE sql SET search_path = public, test AS $$
	WITH v AS (
		SELECT v.*, lag(event_id) OVER w AS before_id, lag(batch_id) OVER w AS before_batch,
			lag(event_type) OVER w AS before_type, lag(event_time) OVER w AS before_time
		FROM wf.event v WINDOW w AS (PARTITION BY shard, run_id ORDER BY event_id)
	), f AS (
		SELECT * FROM v WHERE event_id <> coalesce(before_id, 0) + 1
			OR batch_id NOT IN (event_id, before_batch)
			OR (event_id = 1) <> (event_type = 'WorkflowExecutionStarted')
			OR (before_type = 'WorkflowTaskStarted' AND batch_id <> event_id)
			OR event_time < before_time
	)
	SELECT format('%s %s event %s: order, batch or time', e.namespace, e.workflow_id, f.event_id)
		FROM f JOIN wf.execution e USING (shard, run_id)
	UNION ALL
	SELECT format('%s %s: next event id %s, last event %s', e.namespace, e.workflow_id, e.next_event_id, l.event_id)
		FROM wf.execution e LEFT JOIN LATERAL (SELECT max(event_id) AS event_id, max(event_time) AS event_time
			FROM wf.event v WHERE v.shard = e.shard AND v.run_id = e.run_id) l ON true
		WHERE e.next_event_id IS DISTINCT FROM l.event_id + 1 OR e.last_event_time < l.event_time
	UNION ALL
	SELECT format('%s %s: %s but last event %s', e.namespace, e.workflow_id, e.status, l.event_type)
		FROM wf.execution e JOIN wf.event l
			ON l.shard = e.shard AND l.run_id = e.run_id AND l.event_id = e.next_event_id - 1
		WHERE CASE WHEN e.status IN ('Running', 'Paused')
			THEN e.close_time IS NOT NULL OR l.event_type IN ('WorkflowExecutionCompleted', 'WorkflowExecutionFailed',
				'WorkflowExecutionTimedOut', 'WorkflowExecutionCanceled', 'WorkflowExecutionTerminated')
			ELSE l.event_type::text <> 'WorkflowExecution' || e.status::text
				OR e.close_time IS DISTINCT FROM l.event_time END
	UNION ALL
	SELECT format('%s %s: %s current runs, newest current: %s', namespace, workflow_id,
			count(*) FILTER (WHERE is_current), (array_agg(is_current ORDER BY start_time DESC))[1])
		FROM wf.execution GROUP BY shard, namespace, workflow_id
		HAVING count(*) FILTER (WHERE is_current) <> 1 OR NOT (array_agg(is_current ORDER BY start_time DESC))[1]
			OR count(*) FILTER (WHERE status IN ('Running', 'Paused')) > 1
	UNION ALL
	SELECT format('%s %s: shard %s', namespace, workflow_id, shard)
		FROM wf.execution WHERE shard <> wf.shard_of(namespace, workflow_id)
	UNION ALL
	SELECT format('%s: no such run in that shard', r) FROM (
		SELECT 'event' AS r, shard, run_id FROM wf.event
		UNION SELECT 'buffered_event', shard, run_id FROM wf.buffered_event
		UNION SELECT 'timer', shard, run_id FROM wf.timer
		UNION SELECT 'signal_request', shard, run_id FROM wf.signal_request) o
		WHERE NOT EXISTS (SELECT FROM wf.execution e WHERE e.shard = o.shard AND e.run_id = o.run_id)
	UNION ALL
	SELECT format('%s %s: %s buffered events, %s counted', e.namespace, e.workflow_id, b.n, e.buffered_count)
		FROM wf.execution e CROSS JOIN LATERAL (SELECT count(*) AS n FROM wf.buffered_event b
			WHERE b.shard = e.shard AND b.run_id = e.run_id) b
		WHERE b.n <> e.buffered_count OR b.n > 0 AND e.task_started_event_id = 0
	UNION ALL
	SELECT format('%s %s: %s timers, %s counted', e.namespace, e.workflow_id, t.n, e.pending_timers)
		FROM wf.execution e CROSS JOIN LATERAL (SELECT count(*) AS n FROM wf.timer t
			WHERE t.shard = e.shard AND t.run_id = e.run_id) t
		WHERE t.n <> e.pending_timers
	UNION ALL
	SELECT format('%s %s: %s signals, %s counted', e.namespace, e.workflow_id, s.n, e.signal_count)
		FROM wf.execution e CROSS JOIN LATERAL (SELECT
			(SELECT count(*) FROM wf.event v WHERE v.shard = e.shard AND v.run_id = e.run_id
				AND v.event_type = 'WorkflowExecutionSignaled')
			+ (SELECT count(*) FROM wf.buffered_event v WHERE v.shard = e.shard AND v.run_id = e.run_id
				AND v.event_type = 'WorkflowExecutionSignaled') AS n) s
		WHERE s.n <> e.signal_count
	UNION ALL
	SELECT format('%s %s: %s cancel requests, flag %s', e.namespace, e.workflow_id, c.n, e.cancel_requested)
		FROM wf.execution e CROSS JOIN LATERAL (SELECT
			(SELECT count(*) FROM wf.event v WHERE v.shard = e.shard AND v.run_id = e.run_id
				AND v.event_type = 'WorkflowExecutionCancelRequested')
			+ (SELECT count(*) FROM wf.buffered_event v WHERE v.shard = e.shard AND v.run_id = e.run_id
				AND v.event_type = 'WorkflowExecutionCancelRequested') AS n) c
		WHERE c.n <> e.cancel_requested::int
	UNION ALL
	SELECT format('%s %s: not a version 7 UUID', namespace, workflow_id)
		FROM wf.execution WHERE substr(run_id::text, 15, 1) <> '7' OR substr(run_id::text, 20, 1) !~ '[89ab]'
	UNION ALL
	SELECT format('%s %s event %s: %s refers to %s', e.namespace, e.workflow_id, v.event_id, r.key, r.value)
		FROM wf.event v JOIN wf.execution e USING (shard, run_id)
		CROSS JOIN LATERAL jsonb_each(v.attributes) r
		LEFT JOIN wf.event t ON t.shard = v.shard AND t.run_id = v.run_id
			AND t.event_id = CASE WHEN jsonb_typeof(r.value) = 'number' THEN r.value::bigint END
		WHERE r.key IN ('scheduled_event_id', 'started_event_id', 'workflow_task_completed_event_id')
		AND NOT (v.event_type = 'WorkflowTaskFailed' AND r.key = 'started_event_id' AND r.value = '0')
		AND CASE r.key
			WHEN 'scheduled_event_id' THEN t.event_type IS DISTINCT FROM 'WorkflowTaskScheduled'
			WHEN 'workflow_task_completed_event_id' THEN t.event_type IS DISTINCT FROM 'WorkflowTaskCompleted'
				OR t.batch_id <> v.batch_id
			ELSE t.event_type::text IS DISTINCT FROM
				CASE WHEN v.event_type IN ('TimerFired', 'TimerCanceled') THEN 'TimerStarted' ELSE 'WorkflowTaskStarted' END
			END
	UNION ALL
	SELECT format('%s %s: pending workflow task %s/%s attempt %s', e.namespace, e.workflow_id,
			e.task_scheduled_event_id, e.task_started_event_id, e.task_attempt)
		FROM wf.execution e
		LEFT JOIN wf.event s ON s.shard = e.shard AND s.run_id = e.run_id AND s.event_id = e.task_scheduled_event_id
		LEFT JOIN wf.event t ON t.shard = e.shard AND t.run_id = e.run_id AND t.event_id = e.task_started_event_id
		WHERE e.status IN ('Running', 'Paused')
		AND CASE WHEN e.task_scheduled_event_id > 0 AND e.task_attempt = 1
			THEN s.event_type IS DISTINCT FROM 'WorkflowTaskScheduled'
				OR e.task_started_event_id > 0 AND t.event_type IS DISTINCT FROM 'WorkflowTaskStarted'
			ELSE false END
$$;

-- What wf_check() finds anywhere.
CREATE FUNCTION findings() RETURNS SETOF text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT format('%s: %s, found: %s', concat_ws(' ', f.namespace, f.workflow_id, f.run_id::text,
			'event ' || f.event_id, f.check_name), f.expected, f.found)
	FROM wf_check() f
$$;

-- End a file: check all that is stored, then remove it.
CREATE FUNCTION test_end() RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	result text;
BEGIN
	SELECT string_agg(i, E'\n' ORDER BY i COLLATE "C") INTO result
		FROM (SELECT inconsistencies() UNION ALL SELECT findings()) x (i);
	DELETE FROM wf.event;
	DELETE FROM wf.buffered_event;
	DELETE FROM wf.timer;
	DELETE FROM wf.signal_request;
	DELETE FROM wf.task;
	DELETE FROM wf.wakeup;
	DELETE FROM wf.execution;
	RETURN coalesce(result, 'consistent');
END $$;
