-- Helpers of the files about reset
SET search_path = test, public;
SET check_function_bodies = off;

-- Reset a workflow: the rows that come back, under the new run's name.
CREATE FUNCTION reset(workflow_id text, event_id bigint, reason text DEFAULT 'fix', run text DEFAULT NULL,
	exclude text[] DEFAULT '{}', signals jsonb DEFAULT NULL, request_id text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	events wf.event[];
	result text;
	runs int;
BEGIN
	SELECT named(workflow_id, (array_agg(r.run_id))[1]) || ': ' || string_agg(r.event_id || ' ' || short(r.event_type::text), ' ' ORDER BY r.n),
		array_agg(ROW(0, r.run_id, r.event_id, 0, r.event_time, r.event_type, r.attributes)::wf.event ORDER BY r.n), count(DISTINCT r.run_id)
		INTO result, events, runs
		FROM wf_reset(workflow_id, event_id, reason, CASE WHEN run IS NOT NULL THEN run_id_of(run) END, exclude, signals, request_id,
			identity => 'operator') WITH ORDINALITY r (run_id, event_id, event_time, event_type, attributes, n);
	IF runs <> 1 OR EXISTS (SELECT FROM (SELECT e.run_id, e.event_id, e.event_time, e.event_type, e.attributes FROM unnest(events) e) r
			FULL JOIN (SELECT v.run_id, v.event_id, v.event_time, v.event_type, v.attributes FROM wf.event v WHERE v.run_id = events[1].run_id) s
			USING (run_id, event_id, event_time, event_type, attributes) WHERE r.event_id IS NULL OR s.event_id IS NULL) THEN
		RETURN 'THE ROWS ARE NOT THE EVENTS: ' || result;
	END IF;
	RETURN result;
END $$;

-- Is what was kept the same in both runs, down to the batches and times?
CREATE FUNCTION kept(run text) RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT CASE WHEN count(*) = e.last_copied_event_id AND bool_and(
			(v.batch_id, v.event_time, v.event_type, v.attributes) IS NOT DISTINCT FROM (b.batch_id, b.event_time, b.event_type, b.attributes))
		THEN format('1 to %s', e.last_copied_event_id) ELSE 'OTHERS THAN THE BASE''S' END
	FROM wf.execution e JOIN wf.event v ON v.shard = e.shard AND v.run_id = e.run_id AND v.event_id <= e.last_copied_event_id
	LEFT JOIN wf.event b ON b.shard = e.shard AND b.run_id = e.base_run_id AND b.event_id = v.event_id
	WHERE e.run_id = run_id_of(run) GROUP BY e.last_copied_event_id
$$;

-- Where a run comes from and what came of it.
CREATE FUNCTION lineage(run text) RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT concat_ws(', ', e.status, CASE WHEN e.is_current THEN 'current' END,
		'base ' || named('?', e.base_run_id) || ' to ' || e.last_copied_event_id, 'reset run ' || named('?', e.reset_run_id),
		'original ' || named('?', e.original_execution_run_id), 'first ' || named('?', e.first_execution_run_id),
		CASE WHEN e.workflow_was_reset THEN 'was reset' END, 'by ' || e.reset_identity, 'request ' || e.reset_request_id)
	FROM wf.execution e WHERE e.run_id = run_id_of(run)
$$;

CREATE FUNCTION points(workflow_id text, run text DEFAULT NULL) RETURNS SETOF text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT concat_ws(' ', event_id, short(event_type::text), kind, 'children ' || pending_children, 'signals ' || signals_after, '(' || description || ')')
	FROM wf_reset_points(workflow_id, CASE WHEN run IS NOT NULL THEN run_id_of(run) END)
$$;

-- A plan, without changing anything.
CREATE FUNCTION plan(workflow_id text, event_id bigint, run text DEFAULT NULL, exclude text[] DEFAULT '{}', signals jsonb DEFAULT NULL)
	RETURNS SETOF text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	before text := digest();
BEGIN
	RETURN QUERY SELECT concat_ws(' ', p.kind, p.action, named('?', p.run_id), p.event_id, p.name, '(' || clean(p.description) || ')')
		FROM wf_reset_plan(workflow_id, event_id, CASE WHEN run IS NOT NULL THEN run_id_of(run) END, exclude, signals) p;
	IF digest() IS DISTINCT FROM before THEN
		RETURN NEXT 'SOMETHING WAS WRITTEN';
	END IF;
END $$;

-- The signals in a history: id, name, input, request id.
CREATE FUNCTION signals(run text) RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT string_agg(concat_ws(' ', v.event_id, v.attributes ->> 'signal_name', v.attributes -> 'input', '[' || (v.attributes ->> 'request_id') || ']'),
		', ' ORDER BY v.event_id)
	FROM wf.event v WHERE v.run_id = run_id_of(run) AND v.event_type = 'WorkflowExecutionSignaled'
$$;

-- The history: two activities, both running, a timer, two
-- signals of which the second waits for the started workflow task.
CREATE FUNCTION new_example(workflow_id text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	run text := new(workflow_id);
BEGIN
	PERFORM poll(workflow_id);
	PERFORM reply(workflow_id, commands(c_act('a'), c_timer('t', '1 hour')));
	PERFORM wf_signal(workflow_id, 's1', '1', identity => 'client');
	PERFORM poll(workflow_id);
	PERFORM reply(workflow_id, commands(c_act('b')));
	PERFORM wf_cancel(workflow_id, 'stop', identity => 'client');
	PERFORM poll(workflow_id);
	PERFORM apoll(workflow_id);
	PERFORM apoll(workflow_id);
	PERFORM wf_signal(workflow_id, 's2', '2', identity => 'client');
	RETURN h(run);
END $$;
