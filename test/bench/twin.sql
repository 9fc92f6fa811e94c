-- The naive twin of the engine that "make bench" compares with: tables of the
-- same columns, constraints, indexes and storage parameters, and functions in
-- PL/pgSQL that write the same rows, the way a careful application developer
-- would, one statement a table and a NOTIFY at the end.
--
-- A function does what the plain call does.  What the engine does beyond that
-- (policies, buffering while a workflow task is started, limits) is not
-- imitated: where it would be needed, the twin raises an error.

CREATE SCHEMA twin;

DO $$
DECLARE
	source record;
BEGIN
	FOR source IN
		SELECT relname, reloptions FROM pg_class
		WHERE relnamespace = 'wf'::regnamespace AND relkind = 'r'
	LOOP
		EXECUTE format('CREATE TABLE twin.%I (LIKE wf.%I INCLUDING ALL)',
			source.relname, source.relname);
		IF source.reloptions IS NOT NULL THEN
			EXECUTE format('ALTER TABLE twin.%I SET (%s)', source.relname,
				array_to_string(source.reloptions, ', '));
		END IF;
	END LOOP;
END
$$;

CREATE SEQUENCE twin.task_id_seq AS bigint CACHE 32 OWNED BY twin.task.task_id;
ALTER TABLE twin.task ALTER COLUMN task_id SET DEFAULT nextval('twin.task_id_seq');
INSERT INTO twin.namespace SELECT * FROM wf.namespace;

CREATE FUNCTION twin.start(
	workflow_id text,
	workflow_type text,
	input jsonb,
	task_queue text DEFAULT 'default',
	namespace text DEFAULT 'default',
	notify boolean DEFAULT true
) RETURNS uuid LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	new_shard integer := wf.shard_of(namespace, workflow_id);
	new_run_id uuid := gen_random_uuid();
	now timestamptz := clock_timestamp();
	task_timeout interval := '10s';
	started jsonb;
	scheduled jsonb;
	old record;
BEGIN
	SELECT e.run_id, e.status INTO old FROM twin.execution e
	WHERE e.shard = new_shard AND e.workflow_id = start.workflow_id
		AND e.namespace = start.namespace AND e.is_current
	FOR UPDATE;
	IF FOUND THEN
		IF old.status IN ('Running', 'Paused') THEN
			RAISE EXCEPTION 'workflow execution already started: it is running'
				USING ERRCODE = 'WF004';
		END IF;
		UPDATE twin.execution e SET is_current = false
		WHERE e.shard = new_shard AND e.run_id = old.run_id;
	END IF;
	IF NOT EXISTS (SELECT FROM twin.namespace n WHERE n.name = start.namespace) THEN
		RAISE EXCEPTION 'namespace "%" not found', namespace USING ERRCODE = 'WF002';
	END IF;

	started := jsonb_build_object(
		'workflow_type', workflow_type,
		'workflow_id', workflow_id,
		'task_queue', task_queue,
		'input', input,
		'identity', session_user,
		'workflow_task_timeout', extract(epoch FROM task_timeout)::integer || 's',
		'attempt', 1,
		'original_execution_run_id', new_run_id,
		'first_execution_run_id', new_run_id);
	scheduled := jsonb_build_object(
		'task_queue', task_queue,
		'start_to_close_timeout', extract(epoch FROM task_timeout)::integer || 's',
		'attempt', 1);

	INSERT INTO twin.execution (shard, run_id, first_execution_run_id,
		original_execution_run_id, next_event_id, history_size, start_time,
		execution_time, last_event_time, task_scheduled_event_id,
		task_scheduled_time, task_original_scheduled_time, status, is_current,
		task_timeout, namespace, workflow_id, workflow_type, task_queue)
	VALUES (new_shard, new_run_id, new_run_id, new_run_id, 3,
		pg_column_size(started) + pg_column_size(scheduled) + 2 * 48, now,
		now, now, 2, now, now, 'Running', true, task_timeout, start.namespace,
		start.workflow_id, start.workflow_type, start.task_queue);
	INSERT INTO twin.event (shard, run_id, event_id, batch_id, event_time,
		event_type, attributes)
	VALUES (new_shard, new_run_id, 1, 1, now, 'WorkflowExecutionStarted',
		started);
	INSERT INTO twin.event (shard, run_id, event_id, batch_id, event_time,
		event_type, attributes)
	VALUES (new_shard, new_run_id, 2, 1, now, 'WorkflowTaskScheduled',
		scheduled);
	INSERT INTO twin.task (queue_id, shard, run_id, scheduled_event_id,
		attempt, created_time, kind, namespace, task_queue, type)
	VALUES (hashtextextended('w' || start.namespace || start.task_queue, 0),
		new_shard, new_run_id, 2, 1, now, 'w', start.namespace,
		start.task_queue, start.workflow_type);
	IF notify THEN
		PERFORM pg_notify('wf_workflow_' || start.task_queue,
			json_build_object('task_queue', start.task_queue,
				'shard', new_shard)::text);
	END IF;
	RETURN new_run_id;
END
$$;

CREATE FUNCTION twin.cancel(
	workflow_id text,
	reason text,
	namespace text DEFAULT 'default',
	notify boolean DEFAULT true
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	run record;
	now timestamptz;
	requested jsonb;
	scheduled jsonb;
BEGIN
	SELECT e.shard, e.run_id, e.status, e.cancel_requested, e.next_event_id,
		e.history_size, e.last_event_time, e.task_scheduled_event_id,
		e.task_started_event_id, e.task_attempt, e.task_timeout, e.task_queue,
		e.workflow_type
	INTO run FROM twin.execution e
	WHERE e.shard = wf.shard_of(cancel.namespace, cancel.workflow_id)
		AND e.workflow_id = cancel.workflow_id
		AND e.namespace = cancel.namespace AND e.is_current
	FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'workflow not found for ID: %', cancel.workflow_id
			USING ERRCODE = 'WF002';
	END IF;
	IF run.status NOT IN ('Running', 'Paused') OR run.cancel_requested THEN
		RETURN false;
	END IF;
	IF run.task_scheduled_event_id <> 0 OR run.status = 'Paused' THEN
		RAISE EXCEPTION 'the twin handles idle runs only';
	END IF;

	now := greatest(clock_timestamp(), run.last_event_time);
	requested := jsonb_build_object('cause', reason, 'identity', session_user);
	scheduled := jsonb_build_object(
		'task_queue', run.task_queue,
		'start_to_close_timeout',
			extract(epoch FROM run.task_timeout)::integer || 's',
		'attempt', run.task_attempt);

	INSERT INTO twin.event (shard, run_id, event_id, batch_id, event_time,
		event_type, attributes)
	VALUES (run.shard, run.run_id, run.next_event_id, run.next_event_id, now,
		'WorkflowExecutionCancelRequested', requested);
	INSERT INTO twin.event (shard, run_id, event_id, batch_id, event_time,
		event_type, attributes)
	VALUES (run.shard, run.run_id, run.next_event_id + 1, run.next_event_id,
		now, 'WorkflowTaskScheduled', scheduled);
	UPDATE twin.execution e SET
		next_event_id = run.next_event_id + 2,
		history_size = run.history_size + pg_column_size(requested) +
			pg_column_size(scheduled) + 2 * 48,
		last_event_time = now,
		cancel_requested = true,
		task_scheduled_event_id = run.next_event_id + 1,
		task_scheduled_time = now,
		task_original_scheduled_time = now
	WHERE e.shard = run.shard AND e.run_id = run.run_id;
	INSERT INTO twin.task (queue_id, shard, run_id, scheduled_event_id,
		attempt, created_time, kind, namespace, task_queue, type)
	VALUES (hashtextextended('w' || cancel.namespace || run.task_queue, 0),
		run.shard, run.run_id, run.next_event_id + 1, run.task_attempt, now,
		'w', cancel.namespace, run.task_queue, run.workflow_type);
	IF notify THEN
		PERFORM pg_notify('wf_workflow_' || run.task_queue,
			json_build_object('task_queue', run.task_queue,
				'shard', run.shard)::text);
	END IF;
	RETURN true;
END
$$;

CREATE FUNCTION twin.signal(
	workflow_id text,
	signal_name text,
	input jsonb,
	namespace text DEFAULT 'default',
	notify boolean DEFAULT true
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	run record;
	now timestamptz;
	signaled jsonb;
	scheduled jsonb;
BEGIN
	SELECT e.shard, e.run_id, e.status, e.signal_count, e.next_event_id,
		e.history_size, e.last_event_time, e.task_scheduled_event_id,
		e.task_started_event_id, e.task_attempt, e.task_timeout, e.task_queue,
		e.workflow_type
	INTO run FROM twin.execution e
	WHERE e.shard = wf.shard_of(signal.namespace, signal.workflow_id)
		AND e.workflow_id = signal.workflow_id
		AND e.namespace = signal.namespace AND e.is_current
	FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'workflow not found for ID: %', signal.workflow_id
			USING ERRCODE = 'WF002';
	END IF;
	IF run.status NOT IN ('Running', 'Paused') THEN
		RAISE EXCEPTION 'workflow execution already completed'
			USING ERRCODE = 'WF003';
	END IF;
	IF run.signal_count >= 10000 THEN
		RAISE EXCEPTION 'exceeded workflow execution limit for signal events'
			USING ERRCODE = 'WF009';
	END IF;
	IF run.task_scheduled_event_id <> 0 OR run.status = 'Paused' THEN
		RAISE EXCEPTION 'the twin handles idle runs only';
	END IF;

	now := greatest(clock_timestamp(), run.last_event_time);
	signaled := jsonb_build_object('signal_name', signal_name, 'input', input,
		'identity', session_user);
	scheduled := jsonb_build_object(
		'task_queue', run.task_queue,
		'start_to_close_timeout',
			extract(epoch FROM run.task_timeout)::integer || 's',
		'attempt', run.task_attempt);

	INSERT INTO twin.event (shard, run_id, event_id, batch_id, event_time,
		event_type, attributes)
	VALUES (run.shard, run.run_id, run.next_event_id, run.next_event_id, now,
		'WorkflowExecutionSignaled', signaled);
	INSERT INTO twin.event (shard, run_id, event_id, batch_id, event_time,
		event_type, attributes)
	VALUES (run.shard, run.run_id, run.next_event_id + 1, run.next_event_id,
		now, 'WorkflowTaskScheduled', scheduled);
	UPDATE twin.execution e SET
		next_event_id = run.next_event_id + 2,
		history_size = run.history_size + pg_column_size(signaled) +
			pg_column_size(scheduled) + 2 * 48,
		last_event_time = now,
		signal_count = run.signal_count + 1,
		task_scheduled_event_id = run.next_event_id + 1,
		task_scheduled_time = now,
		task_original_scheduled_time = now
	WHERE e.shard = run.shard AND e.run_id = run.run_id;
	INSERT INTO twin.task (queue_id, shard, run_id, scheduled_event_id,
		attempt, created_time, kind, namespace, task_queue, type)
	VALUES (hashtextextended('w' || signal.namespace || run.task_queue, 0),
		run.shard, run.run_id, run.next_event_id + 1, run.task_attempt, now,
		'w', signal.namespace, run.task_queue, run.workflow_type);
	IF notify THEN
		PERFORM pg_notify('wf_workflow_' || run.task_queue,
			json_build_object('task_queue', run.task_queue,
				'shard', run.shard)::text);
	END IF;
	RETURN true;
END
$$;

-- Nobody needs to be told of a run that is over.
CREATE FUNCTION twin.terminate(
	workflow_id text,
	reason text,
	namespace text DEFAULT 'default'
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	run record;
	now timestamptz;
	terminated jsonb;
BEGIN
	SELECT e.shard, e.run_id, e.status, e.next_event_id, e.history_size,
		e.last_event_time, e.task_started_event_id, e.wakeup_time
	INTO run FROM twin.execution e
	WHERE e.shard = wf.shard_of(terminate.namespace, terminate.workflow_id)
		AND e.workflow_id = terminate.workflow_id
		AND e.namespace = terminate.namespace AND e.is_current
	FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'workflow not found for ID: %', terminate.workflow_id
			USING ERRCODE = 'WF002';
	END IF;
	IF run.status NOT IN ('Running', 'Paused') THEN
		RAISE EXCEPTION 'workflow execution already completed'
			USING ERRCODE = 'WF003';
	END IF;
	IF run.task_started_event_id <> 0 THEN
		RAISE EXCEPTION 'the twin handles idle runs only';
	END IF;

	now := greatest(clock_timestamp(), run.last_event_time);
	terminated := jsonb_build_object('reason', reason, 'identity', session_user);

	INSERT INTO twin.event (shard, run_id, event_id, batch_id, event_time,
		event_type, attributes)
	VALUES (run.shard, run.run_id, run.next_event_id, run.next_event_id, now,
		'WorkflowExecutionTerminated', terminated);
	UPDATE twin.execution e SET
		next_event_id = run.next_event_id + 1,
		history_size = run.history_size + pg_column_size(terminated) + 48,
		last_event_time = now,
		close_time = now,
		status = 'Terminated',
		task_scheduled_event_id = 0,
		wakeup_time = NULL
	WHERE e.shard = run.shard AND e.run_id = run.run_id;
	IF run.wakeup_time IS NOT NULL THEN
		DELETE FROM twin.wakeup w
		WHERE w.shard = run.shard AND w.run_id = run.run_id
			AND w.due_time = run.wakeup_time;
	END IF;
	RETURN true;
END
$$;

-- A worker's reply that completes the run; the token comes as its parts, so
-- that they need no parsing.
CREATE FUNCTION twin.complete(
	shard integer,
	run_id uuid,
	task_token uuid,
	result jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	run record;
	now timestamptz;
	task_completed jsonb;
	completed jsonb;
BEGIN
	SELECT e.status, e.next_event_id, e.history_size, e.last_event_time,
		e.task_scheduled_event_id, e.task_started_event_id, e.task_token,
		e.buffered_count, e.wakeup_time
	INTO run FROM twin.execution e
	WHERE e.shard = complete.shard AND e.run_id = complete.run_id
	FOR UPDATE;
	IF NOT FOUND OR run.status NOT IN ('Running', 'Paused') OR
		run.task_token IS DISTINCT FROM complete.task_token THEN
		RAISE EXCEPTION 'workflow task not found' USING ERRCODE = 'WF005';
	END IF;
	IF run.buffered_count <> 0 THEN
		RAISE EXCEPTION 'the twin handles runs without buffered events only';
	END IF;

	now := greatest(clock_timestamp(), run.last_event_time);
	task_completed := jsonb_build_object(
		'scheduled_event_id', run.task_scheduled_event_id,
		'started_event_id', run.task_started_event_id,
		'identity', session_user);
	completed := jsonb_build_object(
		'workflow_task_completed_event_id', run.next_event_id,
		'result', result);

	INSERT INTO twin.event (shard, run_id, event_id, batch_id, event_time,
		event_type, attributes)
	VALUES (complete.shard, complete.run_id, run.next_event_id,
		run.next_event_id, now, 'WorkflowTaskCompleted', task_completed);
	INSERT INTO twin.event (shard, run_id, event_id, batch_id, event_time,
		event_type, attributes)
	VALUES (complete.shard, complete.run_id, run.next_event_id + 1,
		run.next_event_id, now, 'WorkflowExecutionCompleted', completed);
	UPDATE twin.execution e SET
		next_event_id = run.next_event_id + 2,
		history_size = run.history_size + pg_column_size(task_completed) +
			pg_column_size(completed) + 2 * 48,
		last_event_time = now,
		close_time = now,
		status = 'Completed',
		previous_started_event_id = run.task_started_event_id,
		task_scheduled_event_id = 0,
		task_started_event_id = 0,
		task_token = NULL,
		task_attempt = 1,
		task_identity = NULL,
		wakeup_time = NULL
	WHERE e.shard = complete.shard AND e.run_id = complete.run_id;
	IF run.wakeup_time IS NOT NULL THEN
		DELETE FROM twin.wakeup w
		WHERE w.shard = complete.shard AND w.run_id = complete.run_id
			AND w.due_time = run.wakeup_time;
	END IF;
	RETURN true;
END
$$;

-- What all figures are net of: a call that does nothing.
CREATE FUNCTION twin.nothing(text, text) RETURNS boolean
	LANGUAGE internal VOLATILE STRICT AS 'texteq';

-- CPU time that backends have used, see Slices.pm.
CREATE UNLOGGED TABLE twin.cpu (pid integer, n bigint, ns bigint);

-- The secret of the started workflow task that is copied, see twin.fill(), and
-- the token of a copy.  The tables of the engine hold only a hash of it, which
-- is what the twin uses as its token.
CREATE TABLE twin.secret (secret text NOT NULL);

CREATE FUNCTION twin.token(run wf.execution) RETURNS text LANGUAGE sql AS $$
	SELECT format('w1.%s.%s.%s.%s.%s.%s', run.shard, run.run_id, run.task_scheduled_event_id,
		run.task_started_event_id, run.task_attempt, secret) FROM twin.secret
$$;

-- New runs to be copies of another: numbers from first + 1 on, whose workflow
-- ids are the prefix and the number; run ids in order of time, as the engine's
-- are.
CREATE FUNCTION twin.copies(prefix text, n integer, first integer DEFAULT 0)
RETURNS TABLE (number integer, new_workflow_id text, new_shard integer, new_run_id uuid)
LANGUAGE sql AS $$
	SELECT i, prefix || i, wf.shard_of('default', prefix || i),
		(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') ||
			'7' || substr(md5(random()::text), 1, 19))::uuid
	FROM generate_series(first + 1, first + n) i
$$;

-- The columns of a table of the engine, those that tell to which run a row
-- belongs, and where rows are, being that of the copy.
CREATE FUNCTION twin.copied_columns(source text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE
		WHEN attname = 'shard' THEN 'new_shard'
		WHEN attname = 'workflow_id' THEN 'new_workflow_id'
		WHEN attname ~ '^(first_execution_|original_execution_|)run_id$' THEN 'new_run_id'
		WHEN attname = 'task_id' THEN 'new_task_id'
		WHEN attname ~ '^(run|activity|event)_tid$' THEN format(
			'(SELECT ctid FROM wf.%I t WHERE shard = new_shard AND run_id = new_run_id%s)',
			CASE attname WHEN 'run_tid' THEN 'execution' ELSE split_part(attname, '_', 1) END,
			CASE attname WHEN 'activity_tid' THEN ' AND t.scheduled_event_id = copy.scheduled_event_id'
				WHEN 'event_tid' THEN ' AND t.event_id = copy.scheduled_event_id' ELSE '' END)
		ELSE quote_ident(attname) END, ', ' ORDER BY attnum)
	FROM pg_attribute
	WHERE attrelid = ('wf.' || source)::regclass AND attnum > 0 AND NOT attisdropped
$$;

-- Makes both sides' tables hold n same runs, named by the prefix and numbers
-- from first + 1 on, copies of the one that the engine has under the name of
-- the template.
CREATE FUNCTION twin.fill(prefix text, n integer, template text,
	first integer DEFAULT 0) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	template_id uuid := (SELECT run_id FROM wf.execution WHERE workflow_id = template);
	source text;
BEGIN
	CREATE TEMPORARY TABLE filler ON COMMIT DROP AS SELECT * FROM twin.copies(prefix, n, first);
	FOREACH source IN ARRAY ARRAY['execution', 'event'] LOOP
		EXECUTE format('INSERT INTO wf.%1$I
			SELECT %2$s FROM filler CROSS JOIN wf.%1$I WHERE run_id = %3$L
			ORDER BY new_run_id', source, twin.copied_columns(source), template_id);
		EXECUTE format('INSERT INTO twin.%1$I
			SELECT * FROM wf.%1$I WHERE run_id IN (SELECT new_run_id FROM filler)
			ORDER BY run_id', source);
	END LOOP;
END
$$;

-- The rows of one workflow in either schema, without what must differ: run
-- ids and times, and the ids of queues and tasks.
CREATE FUNCTION twin.rows_of(schema text, workflow_id text)
RETURNS TABLE (source text, content text) LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	FOR name IN
		SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relnamespace = 'wf'::regnamespace AND c.relkind = 'r'
			AND a.attname = 'run_id'
	LOOP
		RETURN QUERY EXECUTE format(
			'SELECT %L, regexp_replace(regexp_replace(
				(to_jsonb(t) - ''{queue_id,task_id,run_tid,activity_tid,event_tid}''::text[])::text,
				''[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'', ''<id>'', ''g''),
				''\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.0-9]*[-+]\d\d:\d\d'', ''<time>'', ''g'')
			FROM %I.%I t WHERE run_id IN
				(SELECT run_id FROM %I.execution e WHERE e.workflow_id = %L)',
			name, schema, name, schema, workflow_id);
	END LOOP;
END
$$;

-- Complains unless a workflow's rows are the same on both sides.
CREATE FUNCTION twin.check(workflow_id text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	report text;
BEGIN
	SELECT string_agg(format('%s %s %s', side, source, content), E'\n' ORDER BY source, side)
	INTO report
	FROM ((SELECT 'wf', * FROM twin.rows_of('wf', workflow_id)
			EXCEPT ALL SELECT 'wf', * FROM twin.rows_of('twin', workflow_id))
		UNION ALL
		(SELECT 'twin', * FROM twin.rows_of('twin', workflow_id)
			EXCEPT ALL SELECT 'twin', * FROM twin.rows_of('wf', workflow_id))
	) AS d(side, source, content);
	IF report IS NOT NULL THEN
		RAISE EXCEPTION 'the twin does not write the rows of the engine'
			USING DETAIL = report;
	END IF;
	IF NOT EXISTS (SELECT FROM twin.rows_of('twin', workflow_id)) THEN
		RAISE EXCEPTION 'the twin has no rows of workflow "%"', workflow_id;
	END IF;
END
$$;
