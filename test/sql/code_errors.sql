-- Errors in workflow code: which it can catch, and what the others lead to.
SET search_path = test, public;
SET check_function_bodies = off;
\pset tuples_only on
\pset format unaligned
SELECT test_begin('test_code_errors');

SELECT act('echo', $$ BEGIN RETURN input; END $$);
SELECT act('decline', $$
BEGIN
	RAISE EXCEPTION 'card declined' USING ERRCODE = 'CARD1', DETAIL = 'limit reached', HINT = 'Try another one.';
END $$);

-- an activity's failure can be caught, and looked into
SELECT flow('caught', $$
DECLARE
	d text;
BEGIN
	PERFORM wf_activity('decline', retry_policy => '{"maximum_attempts": 1}');
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'WF011' THEN
	GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
	RETURN jsonb_build_object('sqlstate', SQLSTATE, 'message', SQLERRM, 'failure', d::jsonb);
END $$);
SELECT flow_run('caught');
SELECT jsonb_pretty(plain(wf_result('caught')));
-- not caught, it is the cause of the workflow's failure
SELECT flow('uncaught', $$ BEGIN RETURN wf_activity('decline', retry_policy => '{"maximum_attempts": 1}'); END $$);
SELECT flow_run('uncaught');
SELECT jsonb_pretty(ended('uncaught'));
SELECT attributes #>> '{failure,details,context}' LIKE '%flow_uncaught(jsonb) line 1 at RETURN',
	attributes #>> '{failure,cause,details,context}' LIKE 'PL/pgSQL function act_decline(jsonb) line 3 at RAISE%'
	FROM wf.event WHERE run_id = run_id_of('uncaught') AND event_type = 'WorkflowExecutionFailed';
-- the same when it is raised again
SELECT flow('reraised', $$
BEGIN
	RETURN wf_activity('decline', retry_policy => '{"maximum_attempts": 1}');
EXCEPTION WHEN OTHERS THEN
	PERFORM wf_activity('echo', '"compensated"');
	RAISE;
END $$);
SELECT flow_run('reraised');
SELECT ended('reraised') #>> '{failure,cause,type}';
-- time-outs
SELECT flow('time_out', $$ BEGIN RETURN wf_activity('x', schedule_to_start_timeout => '1 ms', task_queue => 'nobody'); END $$);
SELECT flow_run('time_out');
SELECT go_after('time_out', 'ActivityTaskTimedOut');
SELECT ended('time_out') #>> '{failure,message}', ended('time_out') #> '{failure,cause,timeout_type}';

-- the code's own errors keep their SQLSTATE, message, detail and hint
SELECT flow('own', $$
BEGIN
	RAISE EXCEPTION 'no such order' USING ERRCODE = 'ORD42', DETAIL = 'It is order 7.', HINT = 'Look again.';
END $$);
SELECT flow_run('own');
SELECT ended('own');
DO $$
DECLARE
	d text;
BEGIN
	PERFORM wf_result('own');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '% %: %', SQLSTATE, SQLERRM, plain(d::jsonb);
END $$;
SELECT flow('division', $$ BEGIN RETURN to_jsonb(1 / (input::int - 1)); END $$);
SELECT flow_run('division', '1');
SELECT ended('division') -> 'failure' ->> 'type';

-- WHEN OTHERS does not catch what ends the code while it waits, in nested
-- blocks and loops neither, and not in a handler
SELECT flow('others', $$
DECLARE
	n int := 0;
	trace text[] := '{}';
BEGIN
	FOR i IN 1..3 LOOP
		BEGIN
			BEGIN
				PERFORM wf_activity(CASE WHEN i = 2 THEN 'decline' ELSE 'echo' END, to_jsonb(i),
					retry_policy => '{"maximum_attempts": 1}');
				n := n + i;
				RAISE 'thrown %', i;
			EXCEPTION WHEN division_by_zero THEN
				trace := trace || 'never'::text;
			END;
		EXCEPTION WHEN OTHERS THEN
			trace := trace || SQLERRM;
			PERFORM wf_activity('echo', to_jsonb(SQLERRM));
		END;
	END LOOP;
	RETURN to_jsonb(trace || n::text);
EXCEPTION WHEN OTHERS THEN
	RETURN to_jsonb('outer ' || SQLSTATE || SQLERRM);
END $$);
SELECT flow_run('others');
SELECT wf_result('others');
-- who catches it by its name cannot go on
SELECT flow('stubborn', $$
DECLARE
	r jsonb;
BEGIN
	FOR i IN 1..3 LOOP
		BEGIN
			r := wf_activity('echo', to_jsonb(i));
			EXIT;
		EXCEPTION WHEN query_canceled THEN
			NULL;
		END;
	END LOOP;
	BEGIN
		PERFORM wf_now();
	EXCEPTION WHEN query_canceled THEN
		NULL;
	END;
	RETURN coalesce(r, '"gave up"');
END $$);
SELECT flow_run('stubborn');
SELECT wf_result('stubborn');

-- workflow code may read but not write
CREATE TABLE t (n int);
INSERT INTO t VALUES (5);
CREATE SEQUENCE s;
SELECT flow('reads', $$ BEGIN RETURN (SELECT to_jsonb(n) FROM t); END $$);
SELECT flow_run('reads');
SELECT wf_result('reads');
SELECT flow('writes', $$ BEGIN INSERT INTO t VALUES (1); RETURN NULL; END $$);
SELECT flow_run('writes');
SELECT ended('writes');
SELECT flow('tries', $$
DECLARE
	statement text;
	result text[] := '{}';
	hint text;
BEGIN
	FOREACH statement IN ARRAY ARRAY['INSERT INTO test.t VALUES (1)', 'UPDATE test.t SET n = 1', 'DELETE FROM test.t',
			'CREATE TABLE test.t2 ()', 'SELECT nextval(''test.s'')', 'SELECT wf_signal(''x'', ''y'')', 'SELECT wf_work()',
			'SET transaction_read_only = off', 'SELECT wf_start(''x'', ''y'')'] LOOP
		BEGIN
			EXECUTE statement;
			result := result || (statement || ': no error');
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
			result := result || concat_ws(' ', statement || ':', SQLSTATE, SQLERRM, CASE WHEN hint LIKE '%activity%' THEN '(hint)' END);
		END;
	END LOOP;
	RETURN to_jsonb(result);
END $$);
SELECT flow_run('tries');
SELECT jsonb_array_elements_text(wf_result('tries'));
TABLE t;
-- settings and temporary objects do not outlive the code
SELECT flow('sets', $$ BEGIN PERFORM set_config('work_mem', '77kB', false); RETURN NULL; END $$);
SELECT flow_run('sets');
SHOW work_mem;
-- and afterwards the session can write
INSERT INTO t VALUES (6);

-- The workflow task fails, not the workflow, when it is not the code's doing.
-- Of further attempts, which are left to their time-out, only a warning tells.
SELECT flow('trouble', $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = 'deadlock_detected'; END $$);
SELECT flow_run('trouble');
SELECT failure('trouble', 'WtFailed');
SELECT attributes ->> 'cause' FROM wf.event WHERE run_id = run_id_of('trouble') AND event_id = 4;
SELECT flow('interrupted', $$ BEGIN RAISE EXCEPTION 'stop' USING ERRCODE = 'query_canceled'; END $$);
SELECT flow_run('interrupted');

-- a function that is gone
SELECT flow('gone', $$ BEGIN RETURN wf_activity('echo', '"there"'); END $$);
SELECT run('gone');
BEGIN;
SELECT wf_register_workflow('gone', 'test.flow_gone(jsonb)');
ALTER FUNCTION test.flow_gone(jsonb) RENAME TO flow_away;
SELECT wf_work(), h('gone');
SELECT failure('gone', 'WtFailed');
ROLLBACK;
SELECT go('gone');
-- one that its role may not run any more; and code needs the privilege to
-- call our functions
CREATE ROLE wfi_code_role;
GRANT USAGE ON SCHEMA test, public TO wfi_code_role;
GRANT EXECUTE ON FUNCTION wf_work, wf_register_workflow TO wfi_code_role;
SELECT flow('denied', $$ BEGIN PERFORM wf_now(); RETURN NULL; END $$);
SELECT named('denied', wf_start('denied', 'denied', task_queue => 'its'));
BEGIN;
SET LOCAL ROLE wfi_code_role;
SELECT wf_register_workflow('denied', 'test.flow_denied(jsonb)', task_queue => 'its');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION test.flow_denied FROM PUBLIC;
SAVEPOINT a;
SET LOCAL ROLE wfi_code_role;
SELECT wf_work('its');
RESET ROLE;
SELECT failure('denied', 'WtFailed');
ROLLBACK TO a;
GRANT EXECUTE ON FUNCTION test.flow_denied TO wfi_code_role;
SET LOCAL ROLE wfi_code_role;
SELECT wf_work('its');
RESET ROLE;
SELECT ended('denied') -> 'failure' ->> 'message';
ROLLBACK;
DROP OWNED BY wfi_code_role;
DROP ROLE wfi_code_role;

-- a local activity that is not there
SELECT flow('no_local', $$ BEGIN RETURN wf_local_activity('nowhere'); END $$);
SELECT flow_run('no_local');
SELECT failure('no_local', 'WtFailed');

-- one of another role: it would run with the rights of the workflow's
CREATE ROLE wfi_code_role;
GRANT USAGE ON SCHEMA test, public TO wfi_code_role;
GRANT EXECUTE ON FUNCTION wf_register_activity TO wfi_code_role;
SELECT flow('foreign_local', $$ BEGIN RETURN wf_local_activity('foreign'); END $$);
SELECT run('foreign_local');
BEGIN;
SET LOCAL ROLE wfi_code_role;
SELECT wf_register_activity('foreign', 'test.act_echo(jsonb)');
RESET ROLE;
SELECT wf_register_workflow('foreign_local', 'test.flow_foreign_local(jsonb)');
SELECT wf_work(), failure('foreign_local', 'WtFailed');
ROLLBACK;
DROP OWNED BY wfi_code_role;
DROP ROLE wfi_code_role;
SELECT wf_terminate('foreign_local');
-- one that meets with trouble: what was written before it is gone, too
SELECT act('write', $$ BEGIN INSERT INTO test.t VALUES (7); RETURN NULL; END $$);
SELECT act('trouble', $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = 'deadlock_detected'; END $$);
SELECT flow('local_trouble', $$ BEGIN PERFORM wf_local_activity('write'), wf_local_activity('trouble'); RETURN NULL; END $$);
SELECT flow_run('local_trouble'), failure('local_trouble', 'WtFailed');
SELECT count(*) FROM t WHERE n = 7;

-- who interrupts the session in which the code runs means all of the statement
SELECT flow('sleepy', $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$);
SELECT run('sleepy');
\set VERBOSITY terse
SET statement_timeout = '200ms';
SELECT do_work();
RESET statement_timeout;
\set VERBOSITY default
SELECT h('sleepy'), wf_terminate('sleepy');
-- who handles that in its own subtransaction finds it as it was, although
-- there was one for local activities within
SELECT flow('sleepy_local', $$ BEGIN PERFORM wf_local_activity('write'), pg_sleep(60); RETURN NULL; END $$);
SELECT run('sleepy_local');
SET statement_timeout = '500ms';
DO $$
BEGIN
	INSERT INTO t VALUES (8);
	BEGIN
		INSERT INTO t VALUES (9);
		PERFORM do_work();
	EXCEPTION WHEN query_canceled THEN
		RAISE NOTICE '%', SQLERRM;
	END;
END $$;
RESET statement_timeout;
SELECT array_agg(n ORDER BY n) FROM t WHERE n > 6;
SELECT h('sleepy_local'), wf_terminate('sleepy_local');
-- what a local activity sets is gone after it: it is not run when the code is
-- replayed
SELECT act('set', $$ BEGIN RETURN to_jsonb(set_config('work_mem', '77kB', false)); END $$);
SELECT flow('settled', $$ BEGIN RETURN to_jsonb(wf_local_activity('set')::text || current_setting('work_mem')); END $$);
SELECT flow_run('settled');
SELECT wf_result('settled');

-- one that signals its own workflow: the signal would have to be seen before
-- the end, and is undone when the reply is refused for that
SELECT act('signal', $$ BEGIN RETURN to_jsonb(wf_signal(input #>> '{}', 's')); END $$);
SELECT flow('self', $$ BEGIN RETURN wf_local_activity('signal', '"self"'); END $$);
SELECT run('self');
SELECT do_work();
SELECT h('self'), wf_terminate('self');
-- ... in time it is seen
SELECT flow('self', $$ BEGIN PERFORM wf_local_activity('signal', '"self-2"'); RETURN wf_signal_receive('s'); END $$);
SELECT flow_run('self', NULL, 'self-2');
-- a reply that is refused takes back what local activities wrote
SELECT flow('refused', $$
BEGIN
	PERFORM wf_local_activity('write');
	PERFORM wf_activity_start('echo', activity_id => 'same', task_queue => 'nobody');
	RETURN wf_activity('echo', activity_id => 'same', task_queue => 'nobody');
END $$);
SELECT run('refused');
SELECT do_work(max_tasks => 1), h('refused');
SELECT failure('refused', 'WtFailed') ->> 'message';
SELECT count(*) FROM t WHERE n = 7;

SELECT code_end();
