-- Our functions, called while one of them is at work: somebody may put a
-- trigger on our tables.  Nobody gains rights by that, and nothing is lost.
SET search_path = test, public;
\pset format unaligned
\pset tuples_only on
SELECT test_begin('test_refused');
-- An error that keeps one run's task from being started does not keep the
-- session from the others in that queue.
SELECT count(wf_start('refused ' || i, 'Type', task_queue => 'refusals')) FROM generate_series(1, 3) i;
SELECT named('refused', run_id) FROM wf.execution WHERE workflow_id = 'refused 1';
CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.workflow_id = 'refused 1' THEN
		RAISE EXCEPTION 'not this one' USING ERRCODE = current_setting('test.refusal');
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON wf.execution FOR EACH ROW EXECUTE FUNCTION test.refuse();
SET test.refusal = '53200';
SELECT raises($$SELECT * FROM wf_poll_workflow_task('refusals', 3)$$);
-- Some errors pass, and soon there may be none.
SET test.refusal = 'P0001';
DO $$
DECLARE
	context text;
BEGIN
	PERFORM wf_poll_workflow_task('refusals', 3);
EXCEPTION WHEN raise_exception THEN
	GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
	RAISE NOTICE '% (context: %)', SQLERRM, clean(substring(context from 'start of a task of run "[-0-9a-f]+"'));
END $$;
SELECT workflow_id FROM wf_poll_workflow_task('refusals', 3);
SELECT count(*) FROM wf_poll_workflow_task('refusals', 3);
DROP TRIGGER refuse ON wf.execution;
DROP FUNCTION test.refuse();
-- That one is left to other sessions, and to later.
\c
SET search_path = test, public;
SELECT workflow_id FROM wf_poll_workflow_task('refusals', 3, 'test_refused');

SELECT test_begin('test_nested');

CREATE ROLE regress_wfi_nested;
GRANT EXECUTE ON FUNCTION wf_start, wf_signal TO regress_wfi_nested;
SELECT wf_start('log', 'Type') IS NOT NULL;
CREATE FUNCTION test.log_start() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.workflow_id <> 'log' THEN
		PERFORM public.wf_signal('log', 'started', to_jsonb(NEW.workflow_id));
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER log_start AFTER INSERT ON wf.execution FOR EACH ROW EXECUTE FUNCTION test.log_start();

SET ROLE regress_wfi_nested;
SELECT public.wf_start('a', 'Type') IS NOT NULL, current_user;
SELECT current_user;
-- An error inside, caught outside.
DO $$
BEGIN
	PERFORM public.wf_start('a', 'Type');
EXCEPTION WHEN SQLSTATE 'WF004' THEN
	RAISE NOTICE 'started already, says %', current_user;
END $$;
SELECT public.wf_start('b', 'Type') IS NOT NULL, current_user;
SELECT current_user;
RESET ROLE;

DROP TRIGGER log_start ON wf.execution;
DROP FUNCTION test.log_start();
-- What acts on the very run that is being written fails, and nothing is done.
CREATE FUNCTION test.act() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.event_type <> 'WorkflowExecutionSignaled' THEN
		PERFORM public.wf_signal(e.workflow_id, 'again') FROM wf.execution e WHERE e.run_id = NEW.run_id;
	END IF;
	RETURN NULL;
END $$;
SELECT new('same');
CREATE TRIGGER act AFTER INSERT ON wf.event FOR EACH ROW EXECUTE FUNCTION test.act();
SELECT raises($$SELECT wf_cancel('same')$$);
SELECT raises($$SELECT wf_start('same 2', 'Type')$$);
SELECT raises($$SELECT * FROM wf_poll_workflow_task('same')$$);
DROP TRIGGER act ON wf.event;
-- A trigger that is deferred may.
CREATE CONSTRAINT TRIGGER act AFTER INSERT ON wf.event INITIALLY DEFERRED FOR EACH ROW
	WHEN (NEW.event_type = 'WorkflowExecutionCancelRequested') EXECUTE FUNCTION test.act();
SELECT wf_cancel('same');
SELECT h('same');
DROP TRIGGER act ON wf.event;
DROP FUNCTION test.act();
SELECT event_type, attributes -> 'input' FROM wf_history('log') WHERE event_type = 'WorkflowExecutionSignaled';
REVOKE ALL ON FUNCTION wf_start, wf_signal FROM regress_wfi_nested;
DROP ROLE regress_wfi_nested;
SELECT test_end();
