-- Helpers for the tests of workflows and activities written in SQL.
--
-- Types are registered for as long as wf_work() runs and no longer, so that
-- no background worker ever sees them and everything happens in one order.
SET search_path = test, public;
SET check_function_bodies = off;

CREATE TABLE registration (kind text, name text, function text, task_queue text, UNIQUE (kind, name, task_queue));

-- A type to register, of kind workflow or activity.
CREATE FUNCTION type(kind text, name text, function text, task_queue text DEFAULT 'default') RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	INSERT INTO registration VALUES (kind, name, function, task_queue) ON CONFLICT DO NOTHING;
	SELECT name
$$;

-- wf_work(), with all types registered.
CREATE FUNCTION do_work(task_queue text DEFAULT 'default', max_tasks int DEFAULT 1000) RETURNS int
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	result int;
BEGIN
	PERFORM CASE r.kind WHEN 'workflow' THEN wf_register_workflow(r.name, r.function, r.task_queue)
		ELSE wf_register_activity(r.name, r.function, r.task_queue) END FROM registration r;
	result := wf_work(task_queue, max_tasks);
	PERFORM CASE r.kind WHEN 'workflow' THEN wf_unregister_workflow(r.name, r.task_queue)
		ELSE wf_unregister_activity(r.name, r.task_queue) END FROM registration r;
	RETURN result;
END $$;

-- Make a workflow type of that body, in PL/pgSQL.
CREATE FUNCTION flow(type text, body text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION test.%I(input jsonb) RETURNS jsonb LANGUAGE plpgsql'
		' SET search_path = public, test AS %L', 'flow_' || type, body);
	RETURN type('workflow', type, format('test.%I(jsonb)', 'flow_' || type));
END $$;

-- The same for an activity type.
CREATE FUNCTION act(type text, body text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION test.%I(input jsonb) RETURNS jsonb LANGUAGE plpgsql'
		' SET search_path = public, test AS %L', 'act_' || type, body);
	RETURN type('activity', type, format('test.%I(jsonb)', 'act_' || type));
END $$;

-- Start a workflow, by default with its type for an id.
CREATE FUNCTION run(type text, input jsonb DEFAULT NULL, workflow_id text DEFAULT NULL) RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT named(coalesce(workflow_id, type), wf_start(coalesce(workflow_id, type), type, input,
		task_timeout => '2 minutes', identity => 'client'))
$$;

-- Do all there is to do, and show what became of a run.
CREATE FUNCTION go(run text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	WHILE do_work() > 0 LOOP
	END LOOP;
	RETURN h(run);
END $$;

-- Let time pass until the run has so many events of a kind, and work.
CREATE FUNCTION go_after(run text, event text, n int DEFAULT 1) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	PERFORM wait_for(run, event, n);
	RETURN go(run);
END $$;

-- Start a workflow, do all there is to do, and show its history.
CREATE FUNCTION flow_run(type text, input jsonb DEFAULT NULL, workflow_id text DEFAULT NULL) RETURNS text
LANGUAGE sql SET search_path = public, test AS $$
	SELECT go(run(type, input, workflow_id))
$$;

-- A failure without the context of errors, whose words depend on the server.
CREATE FUNCTION plain(failure jsonb) RETURNS jsonb
LANGUAGE sql AS $$
	SELECT replace(regexp_replace(failure::text, '"context": "([^"\\]|\\.)*"(, )?', '', 'g'), ', }', '}')::jsonb
$$;

-- How a run ended: its last event's attributes, without what is generated.
CREATE FUNCTION ended(run text) RETURNS jsonb
LANGUAGE sql SET search_path = public, test AS $$
	SELECT plain(v.attributes - 'workflow_task_completed_event_id' - 'retry_state')
	FROM wf.event v WHERE v.run_id = run_id_of(run) ORDER BY v.event_id DESC LIMIT 1
$$;

-- The failure in an event, the last of its kind (short name).
CREATE FUNCTION failure(run text, event text) RETURNS jsonb
LANGUAGE sql SET search_path = public, test AS $$
	SELECT plain(v.attributes -> 'failure')
	FROM wf.event v WHERE v.run_id = run_id_of(run) AND short(v.event_type::text) = event
	ORDER BY v.event_id DESC LIMIT 1
$$;

-- End a file.
CREATE FUNCTION code_end() RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	DELETE FROM registration;
	RETURN activity_end();
END $$;
