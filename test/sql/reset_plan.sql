-- Reset: of many histories, made by chance, every event is tried as a point:
-- what wf_reset_points() and wf_reset_plan() say is what wf_reset() does
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SET check_function_bodies = off;
SELECT test_begin('test_reset_plan');

-- Chance that is the same in every run of the suite: 0 to n - 1.
CREATE FUNCTION dice(seed text, n int) RETURNS int LANGUAGE sql IMMUTABLE AS
	$$ SELECT ('x' || substr(md5(seed), 1, 7))::bit(28)::int % n $$;

-- A reply by chance: something new, something pending that is not needed any more.
CREATE FUNCTION any_commands(workflow_id text, seed text) RETURNS jsonb LANGUAGE sql SET search_path = public, test AS $$
	WITH e AS (SELECT * FROM wf.execution e WHERE e.workflow_id = any_commands.workflow_id AND e.is_current)
	SELECT coalesce(jsonb_agg(c), '[]') FROM (
		SELECT c_act(seed) WHERE dice(seed || 'act', 2) = 0
		UNION ALL SELECT c_timer(seed, CASE dice(seed || 'after', 3) WHEN 0 THEN '1 us' ELSE '1 hour' END) WHERE dice(seed || 'timer', 2) = 0
		UNION ALL SELECT '{"command_type": "ModifyWorkflowProperties"}'::jsonb || jsonb_build_object('upserted_memo', jsonb_build_object('seed', seed))
			WHERE dice(seed || 'memo', 4) = 0
		UNION ALL SELECT (SELECT c_cancel_act(min(a.scheduled_event_id)) FROM wf.activity a JOIN e USING (shard, run_id) WHERE NOT a.cancel_requested)
			WHERE dice(seed || 'cancel', 3) = 0
		UNION ALL SELECT (SELECT c_cancel_timer(min(t.timer_id)) FROM wf.timer t JOIN e USING (shard, run_id)) WHERE dice(seed || 'untime', 4) = 0
		UNION ALL SELECT c_complete() WHERE dice(seed || 'end', 12) = 0) x (c)
	WHERE c ? 'activity_id' OR c ? 'timer_id' AND c ->> 'timer_id' IS NOT NULL OR c ? 'upserted_memo' OR c ? 'result'
		OR c ->> 'scheduled_event_id' IS NOT NULL
$$;

-- Something happens.  What the state of the run does not allow is no news.
CREATE FUNCTION happen(workflow_id text, seed text) RETURNS text LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	current record;
BEGIN
	SELECT * INTO current FROM wf.execution e WHERE e.workflow_id = happen.workflow_id AND e.is_current;
	CASE dice(seed, 16)
		WHEN 0, 1, 2 THEN RETURN poll(workflow_id);
		WHEN 3, 4, 5, 6 THEN RETURN reply(workflow_id, any_commands(workflow_id, seed), dice(seed || 'force', 2) = 0);
		WHEN 7 THEN RETURN wt_fail(workflow_id);
		WHEN 8, 9 THEN RETURN wf_signal(workflow_id, seed, to_jsonb(seed), request_id => CASE dice(seed || 'id', 2) WHEN 0 THEN seed END);
		WHEN 10 THEN
			IF dice(seed || 'rare', 3) = 0 THEN
				RETURN wf_cancel(workflow_id);
			END IF;
			RETURN let_pass(current_run(workflow_id), '1 ms');
		WHEN 11 THEN RETURN apoll(workflow_id);
		WHEN 12 THEN RETURN done((SELECT w.name FROM pg_temp.worker_token w WHERE w.name LIKE '%@' || workflow_id ORDER BY dice(seed || w.name, 1000) LIMIT 1));
		WHEN 13 THEN RETURN failed((SELECT w.name FROM pg_temp.worker_token w WHERE w.name LIKE '%@' || workflow_id ORDER BY dice(seed || w.name, 1000) LIMIT 1),
			jsonb_build_object('message', 'bad', 'non_retryable', dice(seed || 'final', 2) = 0));
		WHEN 14 THEN
			IF current.status = 'Paused' THEN
				RETURN wf_unpause(workflow_id);
			ELSIF dice(seed || 'rare', 3) = 0 THEN
				RETURN wf_pause(workflow_id);
			END IF;
		ELSE
			-- the current run again, or an older one
			SELECT e.* INTO current FROM wf.execution e WHERE e.workflow_id = happen.workflow_id
				AND (e.is_current OR dice(seed || 'older', 3) = 0)
				ORDER BY dice(seed || named(e.workflow_id, e.run_id), 1000) LIMIT 1;
			RETURN (SELECT count(r.event_id) FROM
				(SELECT p.event_id FROM wf_reset_points(workflow_id, current.run_id) p ORDER BY dice(seed || p.event_id::text, 1000) LIMIT 1) p,
				wf_reset(workflow_id, p.event_id, seed, current.run_id) r);
	END CASE;
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'WF003' OR SQLSTATE 'WF005' OR SQLSTATE 'WF010' OR object_not_in_prerequisite_state OR no_data_found THEN
	RETURN NULL;
END $$;

-- The tail that a reset gives a history, by the rules.
CREATE FUNCTION tail(base uuid, point bigint, signals bigint) RETURNS text LANGUAGE sql SET search_path = public, test AS $$
	SELECT concat_ws(' ',
		(SELECT CASE v.event_type WHEN 'WorkflowTaskScheduled' THEN 'WtStarted' WHEN 'WorkflowTaskStarted' THEN NULL
				ELSE 'WtSched WtStarted' END
			FROM wf.event v WHERE v.run_id = base AND v.event_id < point AND v.event_type::text LIKE 'WorkflowTask%'
			ORDER BY v.event_id DESC LIMIT 1),
		'WtFailed', nullif(rtrim(repeat('Signaled ', signals::int)), ''), 'WtSched')
$$;

-- Everything that the plan says, and everything that came of it, side by side.
CREATE FUNCTION kept_promises(workflow_id text, base uuid, point bigint, exclude text[], signals jsonb) RETURNS SETOF text
LANGUAGE plpgsql SET search_path = public, test AS $$
#variable_conflict use_column
DECLARE
	plan jsonb;
	open_before uuid[];
	new record;
	said jsonb;
	came jsonb;
BEGIN
	SELECT coalesce(jsonb_agg(to_jsonb(p) ORDER BY n), '[]') INTO plan
		FROM wf_reset_plan(workflow_id, point, base, exclude, signals) WITH ORDINALITY p (kind, action, run_id, event_id, name, description, n);
	open_before := ARRAY(SELECT run_id FROM wf.execution e WHERE e.workflow_id = kept_promises.workflow_id AND e.status IN ('Running', 'Paused'));
	BEGIN
		PERFORM wf_reset(workflow_id, point, 'promise', base, exclude, signals);
		SELECT * INTO STRICT new FROM wf.execution e WHERE e.workflow_id = kept_promises.workflow_id AND is_current;
		SELECT jsonb_build_object('sound', true, 'status', 'Running',
				'kept', (SELECT jsonb_agg(p -> 'event_id') FROM jsonb_array_elements(plan) p WHERE p ->> 'kind' = 'Events'),
				'terminated', (SELECT jsonb_agg(p -> 'run_id') FROM jsonb_array_elements(plan) p WHERE p ->> 'kind' = 'Run' AND p ->> 'action' = 'Terminated'),
				'activities', (SELECT jsonb_agg(p -> 'name' ORDER BY p -> 'event_id') FROM jsonb_array_elements(plan) p
					WHERE p ->> 'kind' = 'Activity' AND p ->> 'action' = 'RunsAgain'),
				'results', (SELECT jsonb_agg(p -> 'event_id' ORDER BY p -> 'event_id') FROM jsonb_array_elements(plan) p
					WHERE p ->> 'kind' = 'Activity' AND p ->> 'action' = 'KeepsResult'),
				'timers', (SELECT jsonb_agg(p -> 'name' ORDER BY p -> 'event_id') FROM jsonb_array_elements(plan) p
					WHERE p ->> 'kind' = 'Timer' AND p ->> 'action' IN ('KeepsFireTime', 'FiresAtOnce')),
				'forgotten', (SELECT jsonb_agg(p -> 'event_id' ORDER BY p -> 'event_id') FROM jsonb_array_elements(plan) p WHERE p ->> 'action' = 'Forgotten'),
				'signals', (SELECT jsonb_agg(p -> 'name' ORDER BY n) FROM jsonb_array_elements(plan) WITH ORDINALITY p (p, n)
					WHERE p ->> 'kind' = 'Signal' AND p ->> 'action' IN ('Reapplied', 'Delivered')),
				'cancel', EXISTS (SELECT FROM jsonb_array_elements(plan) p WHERE p ->> 'kind' = 'CancelRequest' AND p ->> 'action' = 'Kept'),
				'tail', tail(base, point, (SELECT count(*) FROM jsonb_array_elements(plan) p
					WHERE p ->> 'kind' = 'Signal' AND p ->> 'action' IN ('Reapplied', 'Delivered'))))
			INTO said;
		SELECT jsonb_build_object('sound', NOT EXISTS (SELECT FROM wf_check(workflow_id)), 'status', new.status,
				'kept', (SELECT jsonb_agg(n.event_id) FROM wf.event n JOIN wf.event b USING (event_id, batch_id, event_time, event_type, attributes)
					WHERE n.run_id = new.run_id AND b.run_id = base AND n.event_id = new.last_copied_event_id AND n.event_id < point
					AND (SELECT count(*) FROM wf.event n JOIN wf.event b USING (event_id, batch_id, event_time, event_type, attributes)
						WHERE n.run_id = new.run_id AND b.run_id = base AND event_id < point) = point - 1),
				'terminated', (SELECT jsonb_agg(run_id) FROM wf.execution WHERE run_id = ANY (open_before) AND status = 'Terminated'),
				'activities', (SELECT jsonb_agg(activity_id ORDER BY scheduled_event_id) FROM wf.activity WHERE run_id = new.run_id
					AND attempt = 1 AND started_time IS NULL AND dispatched AND scheduled_time = new.start_time),
				'results', (SELECT jsonb_agg(event_id ORDER BY event_id) FROM wf.event v WHERE run_id = new.run_id AND event_type = 'ActivityTaskScheduled'
					AND NOT EXISTS (SELECT FROM wf.activity a WHERE a.run_id = v.run_id AND a.scheduled_event_id = v.event_id)),
				'timers', (SELECT jsonb_agg(timer_id ORDER BY started_event_id) FROM wf.timer WHERE run_id = new.run_id),
				'forgotten', (SELECT jsonb_agg(event_id ORDER BY event_id) FROM wf.event v WHERE run_id = base AND event_id >= point
					AND event_type IN ('ActivityTaskScheduled', 'TimerStarted')),
				'signals', (SELECT jsonb_agg(attributes -> 'signal_name' ORDER BY event_id) FROM wf.event WHERE run_id = new.run_id AND event_id >= point
					AND event_type = 'WorkflowExecutionSignaled'),
				'cancel', new.cancel_requested,
				'tail', (SELECT string_agg(short(event_type::text), ' ' ORDER BY event_id) FROM wf.event WHERE run_id = new.run_id AND event_id >= point))
			INTO came;
		RAISE transaction_rollback;
	EXCEPTION WHEN transaction_rollback THEN
	END;
	RETURN QUERY SELECT format('%s to %s: %s: %s, but %s', h(named(workflow_id, base)), point, s.key, s.value, came -> s.key)
		FROM jsonb_each(said) s WHERE s.value IS DISTINCT FROM came -> s.key;
END $$;

-- Is an event no point?  Both must say so.
CREATE FUNCTION refused(workflow_id text, base uuid, point bigint) RETURNS SETOF text LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	statement text;
	message text;
BEGIN
	FOREACH statement IN ARRAY ARRAY['wf_reset(%L, %s, run_id => %L)', 'wf_reset_plan(%L, %s, run_id => %L)'] LOOP
		message := raises(format('SELECT ' || statement, workflow_id, point, base));
		IF message NOT LIKE 'WF008 %' OR message LIKE '%SOMETHING%' THEN
			RETURN NEXT format('%s to %s: %s', h(named(workflow_id, base)), point, message);
		END IF;
	END LOOP;
END $$;

-- Make a workflow, and look at all events of all its runs.
CREATE FUNCTION try_all(workflow_id text, length int) RETURNS SETOF text LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	run record;
	point record;
BEGIN
	PERFORM new(workflow_id), poll(workflow_id), reply(workflow_id, any_commands(workflow_id, workflow_id), true);
	FOR i IN 1..length LOOP
		PERFORM happen(workflow_id, workflow_id || ' ' || i);
	END LOOP;
	PERFORM let_pass(current_run(workflow_id), '1 ms');
	FOR run IN SELECT e.* FROM wf.execution e WHERE e.workflow_id = try_all.workflow_id LOOP
		FOR point IN SELECT i.i AS event_id, p.event_id AS legal, p.signals_after
			FROM generate_series(0, run.next_event_id) i LEFT JOIN wf_reset_points(workflow_id, run.run_id) p ON p.event_id = i.i LOOP
			IF point.legal IS NULL THEN
				RETURN QUERY SELECT * FROM refused(workflow_id, run.run_id, point.event_id);
				CONTINUE;
			END IF;
			RETURN QUERY SELECT * FROM kept_promises(workflow_id, run.run_id, point.event_id, '{}', NULL);
			RETURN QUERY SELECT * FROM kept_promises(workflow_id, run.run_id, point.event_id,
				CASE dice(workflow_id || point.event_id, 2) WHEN 0 THEN '{Signal}' ELSE '{}' END::text[],
				jsonb_build_array('{"signal_name": "given"}'::jsonb, jsonb_build_object('signal_name', 'again', 'request_id',
					coalesce((SELECT min(r.request_id) FROM wf.signal_request r WHERE r.run_id = run.run_id), 'id'))));
			RETURN QUERY SELECT format('%s to %s: %s signals after it, %s in the plan', h(named(workflow_id, run.run_id)), point.event_id,
					point.signals_after, count(*))
				FROM wf_reset_plan(workflow_id, point.event_id, run.run_id) p WHERE p.kind = 'Signal' AND p.action = 'Reapplied'
				HAVING count(*) <> point.signals_after;
		END LOOP;
	END LOOP;
END $$;

SET client_min_messages = error;
SELECT try_all('w' || i, 12 + i) FROM generate_series(1, 20) i;
RESET client_min_messages;

-- Chance has made enough of everything.
SELECT count(*) > 20 AS runs, count(*) FILTER (WHERE base_run_id IS NOT NULL) > 5 AS resets, count(*) FILTER (WHERE pending_timers > 0) > 0 AS timers,
	count(*) FILTER (WHERE buffered_count > 0) > 0 AS buffers, count(*) FILTER (WHERE status = 'Completed') > 0 AS completed FROM wf.execution;
SELECT string_agg(short(t::text), ' ' ORDER BY t) FROM unnest(enum_range(NULL::wf.event_type)) t WHERE EXISTS (SELECT FROM wf.event v WHERE v.event_type = t);

DROP FUNCTION dice, any_commands, happen, tail, kept_promises, refused, try_all;
SELECT activity_end();
