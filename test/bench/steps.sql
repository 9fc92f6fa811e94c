-- For workflows in SQL that are nothing but steps: activities one after the
-- other, each of which says who it was, or when.

CREATE SCHEMA steps;

-- A step that writes a row, as a useful one does.
CREATE TABLE steps.done (workflow text, step int);
CREATE FUNCTION steps.step(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO steps.done VALUES (input ->> 'workflow', (input ->> 'step')::int);
	RETURN input -> 'step';
END
$$;

-- One that returns the time at which it began.
CREATE FUNCTION steps.clock(input jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT to_jsonb(clock_timestamp())
$$;

-- One that notes, every 50 steps, the CPU time that the extension's processes
-- have used so far.
CREATE TABLE steps.cpu (workflow text, step int, ns bigint);
CREATE FUNCTION steps.meter(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF (input -> 'step')::int % 50 = 0 THEN
		INSERT INTO steps.cpu
		SELECT input ->> 'workflow', (input ->> 'step')::int,
			sum(split_part(pg_read_file('/proc/' || pid || '/schedstat', 0, 100, true), ' ', 1)::bigint)
		FROM pg_stat_activity WHERE backend_type LIKE 'workflow_interrupt%';
	END IF;
	RETURN input -> 'step';
END
$$;

-- So many steps of one kind; the input of each is the workflow's and its number.
CREATE FUNCTION steps.assigning(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	result jsonb;
BEGIN
	FOR i IN 1..(input -> 'steps')::int LOOP
		result := wf_activity(input ->> 'activity', jsonb_build_object('workflow', input -> 'workflow', 'step', i));
	END LOOP;
	RETURN result;
END
$$;

-- The same with a statement of SQL for each.
CREATE FUNCTION steps.performing(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..(input -> 'steps')::int LOOP
		PERFORM wf_activity(input ->> 'activity', jsonb_build_object('workflow', input -> 'workflow', 'step', i));
	END LOOP;
	RETURN NULL;
END
$$;

-- Waits until no workflow is running any more.
CREATE PROCEDURE steps.finish() LANGUAGE plpgsql AS $$
DECLARE
	patience timestamptz := clock_timestamp() + interval '5 min';
BEGIN
	WHILE EXISTS (SELECT FROM wf.execution WHERE status = 'Running') LOOP
		ASSERT clock_timestamp() < patience, 'workflows do not end';
		ASSERT NOT EXISTS (SELECT FROM wf.activity WHERE last_failure IS NOT NULL), 'a step failed';
		PERFORM pg_sleep(0.05);
		COMMIT;
	END LOOP;
END
$$;

SELECT wf_register_activity('step', 'steps.step(jsonb)'),
	wf_register_activity('clock', 'steps.clock(jsonb)'),
	wf_register_activity('meter', 'steps.meter(jsonb)'),
	wf_register_workflow('assigning', 'steps.assigning(jsonb)'),
	wf_register_workflow('performing', 'steps.performing(jsonb)');
