-- wf_check: nothing is found in what is sound, and what is planted by hand is
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_check');

-- What a statement breaks; it is undone.  A driver may look at any time, but
-- nothing is due.
CREATE FUNCTION pg_temp.breaks(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	n int;
	result text[];
BEGIN
	BEGIN
		EXECUTE statement;
		GET DIAGNOSTICS n = ROW_COUNT;
		IF n = 0 THEN
			RETURN NEXT 'NOTHING PLANTED';
		END IF;
		result := ARRAY(SELECT clean(concat_ws(' ', coalesce(named(f.workflow_id, f.run_id), f.workflow_id),
				'event ' || f.event_id, '[' || f.check_name || ']', f.expected, '-- found', f.found))
			FROM wf_check() f);
		RAISE EXCEPTION USING ERRCODE = 'UNDO1';
	EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
		NULL;
	END;
	RETURN QUERY SELECT * FROM unnest(result);
END $$;
-- Tables by the name of a run.
CREATE FUNCTION pg_temp.event(run text, id bigint, change text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_temp.breaks(format('UPDATE wf.event SET %s WHERE run_id = run_id_of(%L) AND event_id = %s', change, run, id))
$$;
CREATE FUNCTION pg_temp.run(run text, change text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_temp.breaks(format('UPDATE wf.execution SET %s WHERE run_id = run_id_of(%L)', change, run))
$$;
-- Attributes with a value changed, or without it.
CREATE FUNCTION pg_temp.attribute(run text, id bigint, name text, value jsonb) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_temp.event(run, id, CASE WHEN value IS NULL THEN format('attributes = attributes - %L', name)
		ELSE format('attributes = jsonb_set(attributes, ARRAY[%L], %L)', name, value) END)
$$;

--
-- Sound runs: busy has a bit of everything ...
--
SELECT named('busy', wf_start('busy', 'Type', task_queue => 'busy', memo => '{"a": 1}', search_attributes => '{"b": 2}',
	run_timeout => '1 day', execution_timeout => '2 days', task_timeout => '2 minutes', identity => 'client'));
SELECT poll('busy');
SELECT reply('busy', commands(c_timer('t', '1 hour'), c_timer('u', '2 hours'), c_marker('m'),
	'{"command_type": "ScheduleActivityTask", "activity_id": "a", "activity_type": "A", "start_to_close_timeout": "3600s"}',
	'{"command_type": "ScheduleActivityTask", "activity_id": "b", "activity_type": "B", "start_to_close_timeout": "3600s"}',
	'{"command_type": "ModifyWorkflowProperties", "upserted_memo": {"c": 3}}'));
SELECT wf_signal('busy', 's', request_id => 'r1');
SELECT poll('busy');
SELECT wf_signal('busy', 's', request_id => 'r2'), wf_cancel('busy', 'why');
SELECT reply('busy', commands(c_cancel_timer('t'), '{"command_type": "RequestCancelActivityTask", "scheduled_event_id": 9}'));
CREATE TEMP TABLE activity AS SELECT * FROM wf_poll_activity_task('busy', identity => 'worker');
SELECT wf_respond_activity_task_completed(task_token) IS NOT NULL FROM activity;
SELECT h('busy');
-- ... waiting has events in its buffer and an activity in a queue ...
SELECT new('waiting');
SELECT poll('waiting');
SELECT reply('waiting', commands(
	'{"command_type": "ScheduleActivityTask", "activity_id": "a", "activity_type": "A", "start_to_close_timeout": "3600s"}'));
SELECT wf_signal('waiting', 's0');
SELECT poll('waiting');
SELECT wf_signal('waiting', 's1', request_id => 'r'), wf_signal('waiting', 's2');
SELECT h('waiting');
-- ... and others are at other points of their lives.
SELECT new_idle('closed');
SELECT wf_terminate('closed', 'why');
SELECT new('closed');
SELECT new_transient('retry');
SELECT new('delayed', start_delay => '1 hour');
SELECT new_idle('paused');
SELECT wf_pause('paused', 'why');
SELECT new_polled('failing');
SELECT wt_fail('failing'), wf_signal('failing', 's');
SELECT poll('failing');
SELECT h('failing');
SELECT new_idle('again');
SELECT wf_signal('again', 's', request_id => 'r');
SELECT named('again', (SELECT run_id FROM wf_reset('again', 4, 'fix') LIMIT 1));
SELECT named('again', (SELECT run_id FROM wf_reset('again', 3, 'fix', run_id_of('again')) LIMIT 1));
SELECT h('again'), h('again/2'), h('again/3');

-- All are sound, alone and together.
SELECT count(*), count(DISTINCT status) FROM wf.execution;
SELECT * FROM wf_check();
SELECT * FROM wf_check(namespace => 'test_check');
SELECT e.workflow_id, c FROM wf.execution e, wf_check(e.workflow_id, e.run_id) c;
SELECT * FROM wf_check('closed');
SELECT c FROM wf_check(run_id => run_id_of('busy')) c;

--
-- Histories
--
-- Events that are missing, at the front, in the middle, at the end.
SELECT pg_temp.breaks($$DELETE FROM wf.event WHERE run_id = run_id_of('busy') AND event_id = 1$$);
SELECT pg_temp.breaks($$DELETE FROM wf.event WHERE run_id = run_id_of('busy') AND event_id IN (7, 8)$$);
SELECT pg_temp.breaks($$DELETE FROM wf.event WHERE run_id = run_id_of('busy') AND event_id >= 20$$);
SELECT pg_temp.breaks($$DELETE FROM wf.event WHERE run_id = run_id_of('closed')$$);
-- Too many.
SELECT pg_temp.breaks($$INSERT INTO wf.event SELECT shard, run_id, event_id + 1, batch_id, event_time, event_type, attributes
	FROM wf.event WHERE run_id = run_id_of('closed') AND event_id = 5$$);
SELECT pg_temp.run('busy', 'next_event_id = next_event_id - 1');

-- Batches: another one, one more, one less.
SELECT pg_temp.event('busy', 6, 'batch_id = 5');
SELECT pg_temp.event('busy', 1, 'batch_id = 0');
SELECT pg_temp.event('busy', 6, 'batch_id = 6');
SELECT pg_temp.event('busy', 4, 'batch_id = 3');
SELECT pg_temp.event('busy', 12, 'batch_id = 12');
SELECT pg_temp.event('busy', 20, 'batch_id = 20');
SELECT pg_temp.event('busy', 22, 'batch_id = 22');

-- Times: backwards, and other than that of the batch.
SELECT pg_temp.event('busy', 11, $$event_time = event_time - interval '1 day'$$);
SELECT pg_temp.event('busy', 3, $$event_time = event_time + interval '1 day'$$);
SELECT pg_temp.event('busy', 7, $$event_time = event_time + interval '1 microsecond'$$);
SELECT pg_temp.event('busy', 21, $$event_time = event_time - interval '1 day'$$);

-- What follows what.  An event that cannot stand there:
SELECT pg_temp.event('closed', 1, $$event_type = 'WorkflowExecutionPaused'$$);
SELECT pg_temp.event('paused', 5, $$event_type = 'WorkflowExecutionUnpaused'$$);
SELECT pg_temp.event('busy', 17, $$event_type = 'WorkflowExecutionCancelRequested'$$);
SELECT pg_temp.event('busy', 13, $$event_type = 'WorkflowTaskScheduled',
	attributes = attributes || '{"task_queue": "busy", "start_to_close_timeout": "1s", "attempt": 1}'$$);
SELECT pg_temp.event('busy', 12, $$event_type = 'WorkflowTaskStarted', attributes = attributes || '{"scheduled_event_id": 2}'$$);
-- exchanged with its neighbour (a command and an outside event; a closing and another event; an activity's start and end):
CREATE FUNCTION pg_temp.exchange(run text, a bigint, b bigint) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_temp.breaks(format('UPDATE wf.event v SET event_type = o.event_type, attributes = o.attributes FROM wf.event o
		WHERE v.run_id = run_id_of(%L) AND o.run_id = v.run_id AND (v.event_id, o.event_id) IN ((%2$s, %3$s), (%3$s, %2$s))', run, a, b))
$$;
SELECT pg_temp.exchange('busy', 16, 17);
SELECT pg_temp.exchange('busy', 18, 19);
SELECT pg_temp.exchange('busy', 21, 22);
SELECT pg_temp.exchange('busy', 11, 12);
-- behind the end of the run; behind the start of a workflow task:
CREATE FUNCTION pg_temp.appends(run text, type text, attributes jsonb) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_temp.breaks(format('WITH x AS (UPDATE wf.execution SET next_event_id = next_event_id + 1
			WHERE run_id = run_id_of(%L) RETURNING *)
		INSERT INTO wf.event SELECT shard, run_id, next_event_id - 1, next_event_id - 1, last_event_time, %L, %L FROM x', run, type, attributes))
$$;
SELECT pg_temp.appends('closed', 'WorkflowExecutionOptionsUpdated', '{}');
SELECT pg_temp.appends('waiting', 'WorkflowExecutionOptionsUpdated', '{}');
-- a second start, a start in an activity, and no end of it:
SELECT pg_temp.appends('busy', 'ActivityTaskStarted', '{"scheduled_event_id": 8, "attempt": 1}');
SELECT pg_temp.appends('busy', 'WorkflowTaskScheduled', '{"task_queue": "busy", "start_to_close_timeout": "1s", "attempt": 1}');
-- events of a retry that has not completed:
SELECT pg_temp.appends('retry', 'WorkflowTaskScheduled', '{"task_queue": "retry", "start_to_close_timeout": "1s", "attempt": 2}');
SELECT pg_temp.attribute('failing', 6, 'attempt', '2');
SELECT pg_temp.attribute('busy', 12, 'attempt', '2');
-- and a workflow task that nobody will ever tell of:
SELECT pg_temp.breaks($$WITH x AS (DELETE FROM wf.event v USING wf.execution e WHERE e.run_id = run_id_of('closed/2') AND v.run_id = e.run_id
	AND event_id = 2 RETURNING e.run_id, length(v.attributes::text)) UPDATE wf.execution SET next_event_id = 2, task_scheduled_event_id = 0
	WHERE run_id IN (SELECT run_id FROM x)$$);

-- What events must say, in the right form.
SELECT pg_temp.attribute('busy', 5, 'timer_id', NULL);
SELECT pg_temp.attribute('busy', 5, 'timer_id', '""');
SELECT pg_temp.attribute('busy', 5, 'start_to_fire_timeout', '"soon"');
SELECT pg_temp.attribute('busy', 5, 'start_to_fire_timeout', '"1.5s"');
SELECT pg_temp.attribute('busy', 10, 'upserted_memo', '[1]');
SELECT pg_temp.attribute('busy', 1, 'first_execution_run_id', '"mine"');
SELECT pg_temp.attribute('busy', 2, 'attempt', '1.5');
SELECT pg_temp.attribute('failing', 4, 'cause', NULL);
SELECT pg_temp.event('busy', 14, $$attributes = '[]'$$);

-- What they refer to: nothing, something later, another kind, one that is not pending.
SELECT pg_temp.attribute('busy', 5, 'workflow_task_completed_event_id', '14');
SELECT pg_temp.attribute('busy', 16, 'workflow_task_completed_event_id', '4');
SELECT pg_temp.attribute('busy', 13, 'scheduled_event_id', '2');
SELECT pg_temp.attribute('busy', 14, 'started_event_id', '12');
SELECT pg_temp.attribute('busy', 15, 'started_event_id', '6');
SELECT pg_temp.attribute('busy', 15, 'timer_id', '"v"');
SELECT pg_temp.attribute('busy', 16, 'scheduled_event_id', '7');
SELECT pg_temp.attribute('busy', 19, 'latest_cancel_requested_event_id', '-1');
SELECT pg_temp.attribute('busy', 21, 'scheduled_event_id', '9');
SELECT pg_temp.attribute('busy', 22, 'started_event_id', NULL);
SELECT pg_temp.attribute('busy', 22, 'scheduled_event_id', '9');
SELECT pg_temp.attribute('busy', 6, 'timer_id', '"t"');
SELECT pg_temp.attribute('busy', 9, 'activity_id', '"a"');
SELECT pg_temp.attribute('failing', 4, 'new_run_id', to_jsonb(run_id_of('failing')));

--
-- State
--
SELECT pg_temp.run('busy', $$status = 'Paused'$$);
SELECT pg_temp.run('busy', $$status = 'Completed', close_time = now()$$);
SELECT pg_temp.run('closed', $$status = 'Running', close_time = NULL$$);
SELECT pg_temp.run('busy', 'cancel_requested = false, cancel_request_id = NULL');
SELECT pg_temp.run('waiting', $$cancel_request_id = 'c'$$);
SELECT pg_temp.run('busy', 'history_size = history_size + 1, state_size = state_size - 1');
SELECT pg_temp.run('busy', 'signal_count = 1, pending_timers = 0, pending_activities = 1');
SELECT pg_temp.run('busy', $$last_event_time = last_event_time + interval '1 s'$$);
SELECT pg_temp.run('busy', $$start_time = start_time - interval '1 s', execution_time = execution_time - interval '1 s'$$);
SELECT pg_temp.run('busy', 'run_expiration_time = NULL');
SELECT pg_temp.run('busy', $$execution_timeout = '1 day', run_timeout = NULL, task_timeout = '1 s'$$);
SELECT pg_temp.run('delayed', $$first_task_time = first_task_time + interval '1 s'$$);
SELECT pg_temp.run('busy', $$memo = '{"a": "not shown"}'$$);
SELECT pg_temp.run('busy', 'search_attributes = NULL');
SELECT pg_temp.run('busy', $$workflow_type = 'Other'$$);
SELECT pg_temp.run('busy', $$task_queue = 'other'$$);
-- The workflow task.
SELECT pg_temp.run('busy', 'task_scheduled_event_id = 0');
SELECT pg_temp.run('busy', 'task_attempt = 2');
SELECT pg_temp.run('busy', 'previous_started_event_id = 3');
SELECT pg_temp.run('busy', 'close_attempted = true');
SELECT pg_temp.run('waiting', 'task_token = NULL');
SELECT pg_temp.run('waiting', $$task_identity = 'other', task_started_time = task_started_time - interval '1 s'$$);
SELECT pg_temp.run('retry', 'task_attempt = 1');
SELECT pg_temp.run('retry', 'task_scheduled_event_id = 4');
SELECT pg_temp.run('retry', 'task_scheduled_event_id = 0, task_started_event_id = 0, task_token = NULL');
SELECT pg_temp.run('closed', 'task_scheduled_event_id = 2');
-- Timers.
SELECT pg_temp.breaks($$DELETE FROM wf.timer$$);
SELECT pg_temp.breaks($$UPDATE wf.timer SET timer_id = 'v', fire_time = fire_time + interval '1 s'$$);
SELECT pg_temp.breaks($$INSERT INTO wf.timer SELECT shard, run_id, 't', 5, fire_time FROM wf.timer$$);
-- Activities.
SELECT pg_temp.breaks($$DELETE FROM wf.activity$$);
SELECT pg_temp.breaks($$UPDATE wf.activity SET activity_id = 'v', activity_type = 'V', attempt = 0,
	first_scheduled_time = first_scheduled_time + interval '1 s'$$);
SELECT pg_temp.breaks($$UPDATE wf.activity SET cancel_requested_event_id = 4, cancel_requested = true, state = 'CancelRequested'$$);
SELECT pg_temp.breaks($$UPDATE wf.activity SET cancel_requested = true$$);
SELECT pg_temp.breaks($$UPDATE wf.activity SET started_time = now()$$);
SELECT pg_temp.breaks($$UPDATE wf.activity SET pause_info = '{}'$$);
SELECT pg_temp.breaks($$UPDATE wf.activity SET scheduled_event_id = 4$$);
-- The buffer.
SELECT pg_temp.breaks($$DELETE FROM wf.buffered_event WHERE position = 0$$);
SELECT pg_temp.breaks($$UPDATE wf.buffered_event SET event_type = 'MarkerRecorded',
	attributes = '{"marker_name": "m", "workflow_task_completed_event_id": 4}' WHERE position = 0$$);
SELECT pg_temp.breaks($$UPDATE wf.buffered_event SET event_time = event_time - interval '1 day' WHERE position = 1$$);
SELECT pg_temp.breaks($$UPDATE wf.buffered_event SET attributes = '{}' WHERE position = 0$$);
SELECT pg_temp.breaks($$UPDATE wf.buffered_event SET run_id = run_id_of('paused'), shard = wf.shard_of('test_check', 'paused') WHERE position = 0$$);
-- Request ids of signals.
SELECT pg_temp.breaks($$DELETE FROM wf.signal_request WHERE request_id IN ('r', 'r1')$$);
SELECT pg_temp.breaks($$INSERT INTO wf.signal_request SELECT shard, run_id, 'r3' FROM wf.signal_request WHERE request_id = 'r2'$$);
SELECT pg_temp.attribute('busy', 17, 'request_id', '"r1"');
-- Tasks and wake-ups; those of a paused run may be gone.
SELECT pg_temp.breaks($$DELETE FROM wf.task$$);
SELECT pg_temp.breaks($$UPDATE wf.task SET queue_id = queue_id + 1, attempt = attempt + 1$$);
SELECT pg_temp.breaks($$DELETE FROM wf.wakeup$$);
SELECT pg_temp.breaks($$UPDATE wf.wakeup SET due_time = due_time + interval '1 day'$$);
-- Rows without a run.
SELECT pg_temp.breaks($$DELETE FROM wf.execution WHERE run_id = run_id_of('waiting')$$);
SELECT pg_temp.breaks($$UPDATE wf.timer SET shard = (shard + 1) % 1024$$);

--
-- Runs
--
SELECT pg_temp.run('delayed', $$namespace = 'nowhere'$$);
SELECT pg_temp.breaks($$UPDATE wf.execution SET shard = (shard + 1) % 1024 WHERE run_id = run_id_of('delayed')$$);
SELECT pg_temp.run('delayed', $$original_execution_run_id = run_id_of('busy'), first_execution_run_id = run_id_of('busy')$$);
-- The current run: none, another one, two.
SELECT pg_temp.run('closed/2', 'is_current = false');
SELECT pg_temp.breaks($$UPDATE wf.execution SET is_current = false WHERE run_id = run_id_of('closed/2');
	UPDATE wf.execution SET is_current = true WHERE run_id = run_id_of('closed')$$);
SELECT pg_temp.breaks($$DROP INDEX wf.execution_current_key;
	UPDATE wf.execution SET is_current = true WHERE run_id = run_id_of('closed')$$);
SELECT wf_terminate('closed');
SELECT pg_temp.breaks($$UPDATE wf.execution SET is_current = false WHERE run_id = run_id_of('closed/2');
	UPDATE wf.execution SET is_current = true WHERE run_id = run_id_of('closed')$$);
-- A reset run and its base: links, what was copied, who ended what.
SELECT pg_temp.run('again/2', 'base_run_id = NULL');
SELECT pg_temp.run('again/2', 'base_run_id = run_id_of($$paused$$)');
SELECT pg_temp.run('again/3', 'base_run_id = run_id_of($$again/2$$)');
SELECT pg_temp.run('again/2', 'last_copied_event_id = 0');
SELECT pg_temp.run('again/2', 'last_copied_event_id = 4');
SELECT pg_temp.run('again/3', 'original_execution_run_id = run_id, first_execution_run_id = run_id');
SELECT pg_temp.run('again', 'reset_run_id = NULL');
SELECT pg_temp.run('again', 'reset_run_id = run_id_of($$again/2$$)');
SELECT pg_temp.run('closed', 'reset_run_id = run_id_of($$closed/2$$)');
SELECT pg_temp.run('busy', 'workflow_was_reset = true');
SELECT pg_temp.attribute('again/2', 2, 'task_queue', '"other"');
SELECT pg_temp.attribute('again/2', 4, 'base_run_id', '"00000000-0000-7000-8000-000000000000"');
SELECT pg_temp.attribute('again/2', 4, 'new_run_id', '"00000000-0000-7000-8000-000000000000"');
SELECT pg_temp.attribute('again/2', 4, 'cause', '"WorkflowWorkerUnhandledFailure"');
-- A base that is gone is nothing to complain about.
SELECT pg_temp.breaks($$DELETE FROM wf.signal_request WHERE run_id = run_id_of('again'); DELETE FROM wf.event WHERE run_id = run_id_of('again');
	DELETE FROM wf.execution WHERE run_id = run_id_of('again')$$);
-- An id that the engine did not make.
CREATE FUNCTION pg_temp.other_id(run uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('UPDATE wf.%s SET run_id = %L WHERE run_id = %L', t, '01234567-89ab-4def-8123-456789abcdef', run), '; ')
	FROM unnest('{event,wakeup,execution}'::text[]) t
$$;
SELECT pg_temp.breaks(pg_temp.other_id(run_id_of('delayed')));

--
-- Arguments
--
SELECT raises($$SELECT wf_check('nothing')$$);
SELECT raises($$SELECT wf_check('busy', namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_check(namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_check('busy', run_id_of('paused'))$$);
SELECT raises($$SELECT wf_check(run_id => '00000000-0000-7000-8000-000000000000')$$);
SELECT raises($$SELECT wf_check(run_id => run_id_of('busy'), namespace => 'default')$$);
SELECT raises($$SELECT wf_check('')$$);
-- What is asked for is checked, and nothing else.
BEGIN;
UPDATE wf.execution SET signal_count = 7 WHERE workflow_id IN ('busy', 'closed');
DELETE FROM wf.execution WHERE workflow_id = 'delayed';
SELECT count(*), count(DISTINCT run_id), count(DISTINCT check_name) FROM wf_check();
SELECT count(*), count(DISTINCT run_id), count(DISTINCT check_name) FROM wf_check(namespace => 'test_check');
SELECT count(*) FROM wf_check(namespace => 'default');
SELECT count(*), count(DISTINCT run_id) FROM wf_check('closed', namespace => 'test_check');
SELECT count(*) FROM wf_check('closed', run_id_of('closed'));
SELECT count(*) FROM wf_check('waiting');
SELECT count(*) FROM wf_check(run_id => run_id_of('busy'));
ROLLBACK;
-- It works where nothing can be written.
BEGIN READ ONLY;
SELECT count(*) FROM wf_check();
COMMIT;
-- A row names the run, and what is where.
BEGIN;
UPDATE wf.event SET batch_id = 7 WHERE run_id = run_id_of('busy') AND event_id = 8;
SELECT namespace, workflow_id, run_id = run_id_of('busy'), event_id, check_name, expected, found FROM wf_check();
ROLLBACK;

-- Ids are used again when they are free, which a history may show only later;
-- one of a timer has nothing to do with one of an activity.
SELECT new('ids'), poll('ids'), reply('ids', commands(c_timer('x', '0.001 s'), c_act('x'), c_act('y')), force => true), poll('ids');
SELECT let_pass('ids', '2 milliseconds'), wf_respond_activity_task_completed_by_id('ids', 'x') IS NOT NULL;
SELECT reply('ids', commands(c_timer('x', '1 hour'), c_act('x'), c_timer('y', '1 hour'))), h('ids');
SELECT * FROM wf_check();

SELECT activity_end();
